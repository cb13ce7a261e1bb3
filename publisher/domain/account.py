"""Accounts, and the capabilities of their platforms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone, tzinfo
from enum import StrEnum
from typing import NewType

Platform = NewType("Platform", str)
AccountId = NewType("AccountId", str)
LoginId = NewType("LoginId", str)
RegionCode = NewType("RegionCode", str)


class Mode(StrEnum):
    API = "api"
    ASSISTED = "assisted"
    OFF = "off"


BEIJING = timezone(timedelta(hours=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLimit:
    """How many posts that notify followers a platform accepts from an account; None means no limit.

    Days and months are counted in `zone`, the platform's time zone, not the workspace's.
    """

    per_day: int | None = None
    per_month: int | None = None
    zone: tzinfo = BEIJING


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One identity that posts in one place; for Tieba, in one forum.

    `profile` names the set of API calls that the platform has granted the login. On an exclusive account only publisher
    posts. `options` are specific to the adapter.
    """

    id: AccountId
    platform: Platform
    identity: str
    secret: str
    region: RegionCode | None = None
    mode: Mode = Mode.API
    forum: str | None = None
    link_template: str | None = None
    base_url: str | None = None
    public_ip: str | None = None
    has_accepted_risk: bool = False
    profile: str | None = None
    is_exclusive: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def login(self) -> LoginId:
        """The credentials of the account. Accounts that share them share a rate limit and one call at a time."""
        return LoginId(f"{self.platform}/{self.secret}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a platform allows, and how long its results take to become visible.

    `count_text` counts text as the platform does. `server_delay` is the longest a call may take effect after its
    response was lost, `listing_lag` the longest until a list shows the post. `list_size` is how many of the newest
    posts a list returns, None if it can be paged without end. `can_resend`: proven absence allows a second call.
    `first_metrics_after` is how long after publishing the metrics are first worth reading, `monitor_interval` how often
    the account's list may be read to check that published posts still exist.
    `max_extra_parts` is the number of further parts that a long text may be split into, each a call of its own.
    `notifies_followers`: followers are notified of a new post; if not, an urgent post is published silently.
    `notification_limit` bounds the urgent posts that notify.
    `has_deletions_in_metrics`: a post that the platform leaves out of its metrics may be deleted, so it is worth
    checking by itself.
    """

    count_text: Callable[[str], int]
    text_limit: int
    title_limits: tuple[int, int]
    picture_limit: int
    server_delay: timedelta
    listing_lag: timedelta
    list_size: int | None
    can_resend: bool
    is_article: bool = False
    max_extra_parts: int = 0
    notifies_followers: bool = True
    notification_limit: NotificationLimit = field(default_factory=NotificationLimit)
    first_metrics_after: timedelta = timedelta(hours=1)
    monitor_interval: timedelta = timedelta(hours=1)
    has_deletions_in_metrics: bool = False
