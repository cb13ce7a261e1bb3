"""What Weibo allows, and how it counts characters."""

import re
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities
from publisher.domain.policy import RateLimit, Timing

from .profiles import can_send_long_text, get_article_cover_url, get_profile

_HOST_AND_PATH = r"://(?:[A-Za-z0-9]+\.)+[A-Za-z0-9]+[A-Za-z0-9\-_$.+!*()/,:;@&=?~#%]*"
HTTP_LINK = re.compile("http" + _HOST_AND_PATH, re.IGNORECASE)
HTTP_OR_HTTPS_LINK = re.compile("https?" + _HOST_AND_PATH, re.IGNORECASE)
_OWN_LINK_PREFIXES = ("http://weibo.com", "http://weibo.cn", "http://t.sina.com.cn", "http://t.sina.cn")
_SHORT_LINK_PREFIX = "http://t.cn"

MAX_LATIN_1_CODE, MAX_ASCII_CODE = 0xFF, 0x80
"""The highest code unit that weighs one, in the two generations of the platform's counter."""
MAX_PLAIN_CHARACTERS = 130
"""The composer allows 140; clients met "too long" close to it, so ten are kept in reserve."""
MAX_LONG_CHARACTERS = 1900
"""wiki C/2/statuses/upload_url_text/biz, rev. 15836: up to 2000 for entitled users; a hundred are kept in reserve."""
MAX_ARTICLE_CHARACTERS = 20_000
"""wiki Toutiao/api: an older revision's limit; the current one allows 90 000 including HTML markup."""
DEFAULTS = PlatformDefaults(
    # wiki Rate-limiting, rev. 16512: 30 publishing calls an hour, 100 calls of any kind a day per user and app;
    # half of the day's calls are left for readback.
    rate_limit=RateLimit(min_interval=timedelta(seconds=30), per_hour=30, per_day=50),
    timing=Timing(
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=40),
        visibility_window=timedelta(minutes=10),
        first_check_after=timedelta(minutes=2),
    ),
)


def measure(text: str) -> int:
    """Return a text's length in Weibo's characters, by the least favourable of the published counters.

    The server's own count is not published; its web composer's counter is (Sina STK, `kit.extra.count`), in copies
    that differ on https links and on Latin-1.
    """
    return max(
        count_characters(text, links, narrow)
        for links in (HTTP_LINK, HTTP_OR_HTTPS_LINK)
        for narrow in (MAX_LATIN_1_CODE, MAX_ASCII_CODE)
    )


def count_characters(text: str, links: re.Pattern[str], max_narrow_code: int) -> int:
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
    units += sum(4 if ord(letter) > 0xFFFF else 2 if ord(letter) > max_narrow_code else 1 for letter in rest)
    return (units + 1) // 2


def get_post_limit(account: Account) -> int:
    """Return the longest text of a post that is not an article."""
    return MAX_LONG_CHARACTERS if can_send_long_text(account) else MAX_PLAIN_CHARACTERS


def get_capabilities(account: Account) -> Capabilities:
    profile = get_profile(account)
    return Capabilities(
        count_text=measure,
        text_limit=MAX_ARTICLE_CHARACTERS if get_article_cover_url(account) else get_post_limit(account),
        title_limits=(0, MAX_PLAIN_CHARACTERS),
        picture_limit=profile.picture_limit,
        server_delay=timedelta(minutes=5),
        listing_lag=timedelta(minutes=2),  # the text of code 20032 promises one to two minutes
        list_size=profile.max_readable_posts,
        can_resend=True,
        monitor_interval=timedelta(hours=1 if profile.max_optional_reads is None else 2),
        has_deletions_in_metrics=True,
    )
