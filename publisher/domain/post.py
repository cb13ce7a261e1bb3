"""Posts as staff write them, and their due times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType

from publisher.domain.account import AccountId, Platform

PostId = NewType("PostId", str)

ONCE_OCCURRENCE = "once"
"""The name of a one-time post's only occurrence; an occurrence of a repeating post is named by its due time."""


def format_delivery_name(post: str, occurrence: str, account: str) -> str:
    """Return the name of a delivery as people type it: POST@ACCOUNT, or POST#TIME@ACCOUNT for a repeating post."""
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
        """True if a post of this kind follows an earlier one, and is sent only where that one is published."""
        return self in {PostKind.UPDATE, PostKind.ALL_CLEAR, PostKind.CORRECTION}


class WarningLevel(StrEnum):
    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeTrigger:
    """Due once: at `at`, or as soon as it is stored if `at` is None."""

    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger:
    """Due repeatedly, by a cron expression in the workspace's time zone."""

    text: str
    since: datetime | None = None
    until: datetime | None = None
    days: Literal["all", "working"] = "all"


Trigger = OneTimeTrigger | CronTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PostImage:
    """An image of a post: a file of the workspace and its alternative text."""

    file: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An entry of schedule.toml. `accounts` is `to`, resolved; `content_hash` covers everything that staff wrote."""

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
    """All posts of one accepted file, in file order."""

    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OccurrenceKey:
    """Identifies one occurrence of a post: `once`, or the due time in ISO 8601, UTC."""

    post: PostId
    occurrence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One occurrence. `due_at` of a one-time post may change before its first intent; the key never does."""

    key: OccurrenceKey
    due_at: datetime
    expires_at: datetime


DEFAULT_LIFETIME = timedelta(hours=24)


def make_occurrence(post: Post, occurrence: str, due_at: datetime) -> Occurrence:
    """Return an occurrence that expires when the post says, else a day after it is due."""
    return Occurrence(
        key=OccurrenceKey(post=post.id, occurrence=occurrence),
        due_at=due_at,
        expires_at=post.expires_at or due_at + DEFAULT_LIFETIME,
    )
