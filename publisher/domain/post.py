"""What staff write: posts, and when they are due."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType

from publisher.domain.account import AccountId, Platform

PostId = NewType("PostId", str)

ONCE_OCCURRENCE = "once"
"""The label of a one-off post's only occurrence; a repeating one's label is its instant."""


def format_delivery_name(post: str, occurrence: str, account: str) -> str:
    """Name what an account gets the way people type it: POST@ACCOUNT, with the instant of a repeating post."""
    instant = "" if occurrence == ONCE_OCCURRENCE else f"#{occurrence}"
    return f"{post}{instant}@{account}"


class PostKind(StrEnum):
    WARNING = "warning"
    UPDATE = "update"
    ALL_CLEAR = "all-clear"
    BULLETIN = "bulletin"
    CORRECTION = "correction"

    @property
    def needs_original(self) -> bool:
        """Whether a post of this kind answers an earlier one, and is sent only where that one is live."""
        return self in {PostKind.UPDATE, PostKind.ALL_CLEAR, PostKind.CORRECTION}


class WarningLevel(StrEnum):
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeTrigger:
    """Due once: at `when`, or as soon as it is filed when `when` is None."""

    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger:
    """Due again and again, by cron text read in the workspace's zone."""

    text: str
    since: datetime | None = None
    until: datetime | None = None
    days: Literal["all", "working"] = "all"


Trigger = OneTimeTrigger | CronTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PostImage:
    """A picture named by a post: a file of the workspace and the words for those who cannot see it."""

    file: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An entry of schedule.toml. `accounts` is `to`, resolved; `definition` is the hash of all that staff wrote."""

    id: PostId
    kind: PostKind
    template: str
    author: str
    title: str
    trigger: Trigger
    accounts: tuple[AccountId, ...]
    content_hash: str
    body: str = ""
    level: WarningLevel | None = None
    follows: PostId | None = None
    expires_at: datetime | None = None
    max_delay: timedelta = timedelta(minutes=30)
    is_urgent: bool = False
    images: tuple[PostImage, ...] = ()
    text_by_platform: Mapping[Platform, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All posts of one accepted file, in the file's order."""

    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OccurrenceKey:
    """Names one due instant of a post: `once`, or the instant itself in ISO 8601, UTC."""

    post: PostId
    occurrence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One due instant. `due_at` may move before the first intent of a one-off; the key never does."""

    key: OccurrenceKey
    due_at: datetime
    expires_at: datetime


DEFAULT_LIFETIME = timedelta(hours=24)


def make_occurrence(post: Post, occurrence: str, due_at: datetime) -> Occurrence:
    """Give the occurrence of a post at an instant; it expires when the post says, else a day later."""
    return Occurrence(
        key=OccurrenceKey(post=post.id, occurrence=occurrence),
        due_at=due_at,
        expires_at=post.expires_at or due_at + DEFAULT_LIFETIME,
    )
