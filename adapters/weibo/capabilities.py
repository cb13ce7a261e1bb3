"""Weibo's grants to an account: the calls of its login, lengths and limits. Pure.

The open platform's wiki pages of the calls state the apps that may call them. An app's own console
shows its grants. Nothing is probed: a call that was not granted returns 10014, and the account
stops.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, RateLimit, Timing
from publisher.domain.post import RenderedPost

API_URL = "https://api.weibo.com"
UPLOAD_URL = "https://upload.api.weibo.com"
BUSINESS_API_URL = "https://c.api.weibo.com"
PLATFORM_URLS = (API_URL, UPLOAD_URL, BUSINESS_API_URL)

_HOST_AND_PATH = r"://(?:[A-Za-z0-9]+\.)+[A-Za-z0-9]+[A-Za-z0-9\-_$.+!*()/,:;@&=?~#%]*"
HTTP_LINK = re.compile("http" + _HOST_AND_PATH, re.IGNORECASE)
HTTP_OR_HTTPS_LINK = re.compile("https?" + _HOST_AND_PATH, re.IGNORECASE)
_OWN_LINK_PREFIXES = (
    "http://weibo.com",
    "http://weibo.cn",
    "http://t.sina.com.cn",
    "http://t.sina.cn",
)
_SHORT_LINK_PREFIX = "http://t.cn"
HALF_WIDTH_LATIN_1, HALF_WIDTH_ASCII = (
    re.compile("[\x00-\xff]+"),
    re.compile("[\x00-\x80]+"),
)
"""Runs of code units that weigh one, in the two generations of the platform's counter."""
MAX_PLAIN_CHARACTERS = 130
"""The composer allows 140; clients met "too long" close to it, so ten are kept in reserve."""
MAX_LONG_CHARACTERS = 1900
"""wiki C/2/statuses/upload_url_text/biz, rev. 15836: up to 2000 for entitled users.

A hundred are kept in reserve.
"""
MAX_ARTICLE_CHARACTERS = 20_000
"""wiki Toutiao/api: an older revision's limit.

The current one allows 90 000 including HTML markup.
"""
MAX_TITLE_LENGTH = 32
MAX_LEAD_LENGTH = 1900
"""The wiki page's limit for the post that leads to an article, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboProfile:
    """One set of calls.

    `path_suffix` ends their paths. `list_sizes` is how many posts a list requests, at first and
    then. A strict profile requires a link on a domain bound to the app, and drops topic marks.
    `max_optional_reads` is how many reads a day may be made before the rest is reserved for
    resolving unknown outcomes; None where calls abound.
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
    # wiki Rate-limiting, rev. 16512, read 2026-11-24: an ordinary app has 100 calls of any kind
    # a day for each user. The core may publish 50 times, so 25 optional reads leave as many for
    # resolving unknown outcomes.
    max_optional_reads=25,
)
UPDATE = replace(SHARE, name="update", is_strict=False)
"""wiki 2/statuses/update and 2/statuses/upload, read 2026-11-25: by permission only since 2017."""
BIZ = WeiboProfile(
    # wiki C/2/statuses/upload_url_text/biz, rev. 15836, read 2026-11-25:
    # up to nine uploaded pictures
    name="biz",
    base_url=BUSINESS_API_URL,
    path_suffix="/biz.json",
    is_strict=False,
    picture_limit=9,
    max_readable_posts=100,
    list_sizes=(20, 100),
    max_optional_reads=None,
)
MAX_PICTURE_BYTES = 5 * 1024 * 1024 - 1
"""Less than 5 MB: wiki 2/statuses/share, read 2026-11-24."""
ARTICLE = "article"
"""The method of an attempt that published an article, under any profile."""
PROFILES: Mapping[str, WeiboProfile] = {
    profile.name: profile for profile in (SHARE, UPDATE, BIZ)
}


def get_profile(account: Account) -> WeiboProfile:
    """Return the calls that an account may make.

    A profile that does not exist is reported, and permits the fewest.
    """
    return PROFILES.get(account.profile or SHARE.name, SHARE)


def get_article_cover_url(account: Account) -> str | None:
    """Return the URL of the cover of headline articles.

    An account without one sends no articles.
    """
    return account.options.get("article_cover")


LONGEST_REVIEW = timedelta(hours=6)
"""How long an absent post may be under review.

Code 20053 promises minutes, but no page states the longest time. Nothing that we read says that the
account's own list shows such a post. Six hours are our own choice.
"""
DEFAULTS = PlatformDefaults(
    # wiki Rate-limiting, rev. 16512: 30 publishing calls an hour, 100 calls of any kind a day
    # per user and app; half of the day's calls are left for readback.
    rate_limit=RateLimit(min_interval=timedelta(seconds=30), per_hour=30, per_day=50),
    timing=Timing(
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=40),
        visibility_window=timedelta(minutes=10),
        review_window=LONGEST_REVIEW,
        first_check_after=timedelta(minutes=2),
    ),
)


def measure(text: str) -> int:
    """Return a text's length in Weibo's characters, by the least favourable published counter.

    The server's own count is not published. Its web composer's counter is (Sina STK,
    `kit.extra.count`), in copies that differ on https links and on Latin-1.
    """
    return max(
        count_characters(text, links, HALF_WIDTH_ASCII)  # never less than with Latin-1
        for links in (HTTP_LINK, HTTP_OR_HTTPS_LINK)
    )


def count_characters(
    text: str, links: re.Pattern[str], half_width: re.Pattern[str]
) -> int:
    """Return the length by one generation of the counter: two half-width units make one character.

    A link has a weight of its own; a letter outside the basic plane is two wide code units.
    """
    rest = text.replace("\r\n", "\n")
    units = 0
    for link in links.findall(rest):
        if not link.lower().startswith(_SHORT_LINK_PREFIX):
            size = len(link)
            is_own = size <= 41 and link.lower().startswith(_OWN_LINK_PREFIXES)
            units += size if is_own else 20 if size <= 140 else size - 120
            rest = rest.replace(link, "", 1)
    units += len(rest.encode("utf-16-le", "surrogatepass")) - sum(
        map(len, half_width.findall(rest))
    )
    return (units + 1) // 2


def get_post_limit(account: Account) -> int:
    """Return the longest text of a post that is not an article.

    The platform grants longer ones to single users.
    """
    may_be_long = (
        get_profile(account) is BIZ and account.options.get("long_text") == "true"
    )
    return MAX_LONG_CHARACTERS if may_be_long else MAX_PLAIN_CHARACTERS


def get_capabilities(account: Account) -> Capabilities:
    profile = get_profile(account)
    return Capabilities(
        count_text=measure,
        text_limit=MAX_ARTICLE_CHARACTERS
        if get_article_cover_url(account)
        else get_post_limit(account),
        title_limits=(0, MAX_PLAIN_CHARACTERS),
        picture_limit=profile.picture_limit,
        max_picture_bytes=MAX_PICTURE_BYTES,
        server_delay=timedelta(minutes=5),
        listing_lag=timedelta(
            minutes=2
        ),  # the text of code 20032 promises one to two minutes
        list_size=profile.max_readable_posts,
        can_resend=True,
        monitor_interval=timedelta(
            hours=1 if profile.max_optional_reads is None else 2
        ),
        has_deletions_in_metrics=True,
        longest_review=LONGEST_REVIEW,
        account_url=f"https://weibo.com/u/{account.identity}",
        posting_url="https://weibo.com/",
        prefers_short=True,
    )


def is_article(account: Account, rendered: RenderedPost) -> bool:
    """True if the text is sent as an article.

    The account sends articles, and a plain post cannot hold the text.
    """
    return get_article_cover_url(account) is not None and measure(
        rendered.text
    ) > get_post_limit(account)


def get_call_method(
    account: Account,
    rendered: RenderedPost,
    *,
    is_urgent: bool,  # noqa: ARG001
) -> str:
    """Return the call that would publish a post now.

    It is an article's call, or a call of the account's profile.
    """
    return ARTICLE if is_article(account, rendered) else get_profile(account).name


def render_lead(rendered: RenderedPost) -> str:
    """Return the post that leads to the article.

    It is the article's first lines up to the marker, then the link.
    """
    lines: list[str] = []
    for line in rendered.text.splitlines():
        lines.append(line)
        if rendered.marker.is_in("\n".join(lines)):
            break
    lead = "\n".join(lines)
    return (
        lead
        if not rendered.link or rendered.link in lead
        else f"{lead} {rendered.link}"
    )
