"""What the platform has granted a login: which calls it may make, and what those take. Pure.

Which app may call what stands on the open platform's wiki pages of the calls themselves; an app's own console shows
its grants. Nothing is probed: a call that was not granted answers 10014, and the account stops.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from publisher.domain.account import Account

API = "https://api.weibo.com"
UPLOAD = "https://upload.api.weibo.com"
BUSINESS = "https://c.api.weibo.com"
ADDRESSES = (API, UPLOAD, BUSINESS)
"""All that is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One set of calls. `suffix` ends their paths, `listed` is how many posts a list is asked for, at first and then.

    A `strict` profile demands a link on a domain bound to the app and strips the marks of topics. `spare_reads` is how
    many of a day's reads may be made before what is left is kept for ending doubts; None where calls abound.
    """

    name: str
    host: str
    suffix: str
    is_strict: bool
    picture_limit: int
    readable: int
    listed: tuple[int, ...]
    spare_reads: int | None


# wiki Rate-limiting, rev. 16512, read 2026-11-24: an ordinary app has 100 calls of any kind a day for each user. The
# core may publish 50 times, so 25 spare reads leave as many for ending doubts.
_SPARE = 25

SHARE = Profile(
    name="share",  # wiki 2/statuses/share, read 2026-11-24
    host=API,
    suffix=".json",
    is_strict=True,
    picture_limit=1,
    readable=5,
    listed=(20,),
    spare_reads=_SPARE,
)
UPDATE = Profile(
    name="update",  # wiki 2/statuses/update and 2/statuses/upload, read 2026-11-25: by permission only since 2017
    host=API,
    suffix=".json",
    is_strict=False,
    picture_limit=1,
    readable=5,
    listed=(20,),
    spare_reads=_SPARE,
)
BIZ = Profile(
    name="biz",  # wiki C/2/statuses/upload_url_text/biz, rev. 15836, read 2026-11-25: up to nine uploaded pictures
    host=BUSINESS,
    suffix="/biz.json",
    is_strict=False,
    picture_limit=9,
    readable=100,
    listed=(20, 100),
    spare_reads=None,
)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (SHARE, UPDATE, BIZ)}


def profile_of(account: Account) -> Profile:
    return PROFILES[account.profile or SHARE.name]


def takes_long_text(account: Account) -> bool:
    """Whether texts over the usual length may be sent as such; the platform grants that to single users."""
    return profile_of(account) is BIZ and account.options.get("long_text") == "true"


def article_cover(account: Account) -> str | None:
    """Give the address of the picture on top of headline articles, which are written where one is named."""
    return account.options.get("article_cover")
