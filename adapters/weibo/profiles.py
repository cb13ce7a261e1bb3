"""What the platform has granted a login: which calls it may make, and their parameters. Pure.

Which app may call what is stated on the open platform's wiki pages of the calls themselves; an app's own console shows
its grants. Nothing is probed: a call that was not granted returns 10014, and the account stops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from publisher.domain.account import Account

API_URL = "https://api.weibo.com"
UPLOAD_URL = "https://upload.api.weibo.com"
BUSINESS_API_URL = "https://c.api.weibo.com"
PLATFORM_URLS = (API_URL, UPLOAD_URL, BUSINESS_API_URL)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboProfile:
    """One set of calls.

    `path_suffix` ends their paths. `list_sizes` is how many posts a list requests, at first and then. A strict profile
    requires a link on a domain bound to the app, and drops topic marks. `max_optional_reads` is how many reads a day
    may be made before the rest is reserved for resolving unknown outcomes; None where calls abound.
    """

    name: str
    base_url: str
    path_suffix: str
    is_strict: bool
    picture_limit: int
    max_readable_posts: int
    list_sizes: tuple[int, ...]
    max_optional_reads: int | None


SHARE = WeiboProfile(
    name="share",  # wiki 2/statuses/share, read 2026-11-24
    base_url=API_URL,
    path_suffix=".json",
    is_strict=True,
    picture_limit=1,
    max_readable_posts=5,
    list_sizes=(20,),
    # wiki Rate-limiting, rev. 16512, read 2026-11-24: an ordinary app has 100 calls of any kind a day for each user.
    # The core may publish 50 times, so 25 optional reads leave as many for resolving unknown outcomes.
    max_optional_reads=25,
)
UPDATE = replace(SHARE, name="update", is_strict=False)
"""wiki 2/statuses/update and 2/statuses/upload, read 2026-11-25: by permission only since 2017."""
BIZ = WeiboProfile(
    name="biz",  # wiki C/2/statuses/upload_url_text/biz, rev. 15836, read 2026-11-25: up to nine uploaded pictures
    base_url=BUSINESS_API_URL,
    path_suffix="/biz.json",
    is_strict=False,
    picture_limit=9,
    max_readable_posts=100,
    list_sizes=(20, 100),
    max_optional_reads=None,
)
PROFILES: Mapping[str, WeiboProfile] = {profile.name: profile for profile in (SHARE, UPDATE, BIZ)}


def get_profile(account: Account) -> WeiboProfile:
    return PROFILES[account.profile or SHARE.name]


def can_send_long_text(account: Account) -> bool:
    """True if the account may send texts over the usual length; the platform grants that to single users."""
    return get_profile(account) is BIZ and account.options.get("long_text") == "true"


def get_article_cover_url(account: Account) -> str | None:
    """Return the URL of the cover of headline articles; an account without one sends no articles."""
    return account.options.get("article_cover")
