"""Who speaks where, and what a platform lets them say."""

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
    """How many posts that notify followers a platform takes from an account; None is no limit.

    Days and months are those of `zone`, the platform's own, wherever the workspace is.
    """

    per_day: int | None = None
    per_month: int | None = None
    zone: tzinfo = BEIJING


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One identity speaking in one place; for Tieba, in one forum.

    `profile` names the set of calls that the platform has granted the login. On an exclusive account nobody posts but
    publisher. `options` are an adapter's own, for platforms that need more than all share.
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
        """The credentials behind the account; accounts that share them share a quota and one call at a time."""
        return LoginId(f"{self.platform}/{self.secret}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a platform allows, and how long its truth takes to show.

    `measure` counts text as the platform does. `server_delay` is the longest a call may act after its reply was
    lost, `listing_lag` the longest until a list shows the post. `readable` is how many of the newest posts a list
    gives, None when it can be paged without end. `may_resend` says whether a proven absence allows a second call.
    `reach_after` is how long after going live the first figures of reach are worth a read, `watch_every` how often
    the account's list may be read to see that what is live still stands.
    `most_floors` is in how many further floors a text that is too long for one may go on, each a call of its own.
    `notifies` says whether followers are told of a new post; where not, an urgent one goes out in silence. `notices`
    says how many urgent posts may do so.
    `counts_show_removals` says whether a post that the platform leaves out of its figures of reach may be gone, so that
    it is worth asking for by itself.
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
