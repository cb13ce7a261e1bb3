"""What Weibo allows, and how it counts."""

import re
from datetime import timedelta

from publisher.contract import Defaults
from publisher.domain.account import Account, Traits
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota

from .profiles import article_cover, profile_of, takes_long_text

_HOST_AND_PATH = r"://(?:[A-Za-z0-9]+\.)+[A-Za-z0-9]+[A-Za-z0-9\-_$.+!*()/,:;@&=?~#%]*"
ONLY_HTTP = re.compile("http" + _HOST_AND_PATH, re.IGNORECASE)
WITH_HTTPS = re.compile("https?" + _HOST_AND_PATH, re.IGNORECASE)
_OWN = ("http://weibo.com", "http://weibo.cn", "http://t.sina.com.cn", "http://t.sina.cn")
_SHORT = "http://t.cn"

LATIN_1, ASCII = 0xFF, 0x80
"""The highest code unit that weighs one, in the two generations of the platform's counter."""


def measure(text: str) -> int:
    """Count a text in Weibo's characters, by the least favourable of the published counters.

    The server's own count is not published; its web composer's counter is (Sina STK, `kit.extra.count`), in copies
    that differ on https links and on Latin-1.
    """
    return max(count(text, links, narrow) for links in (ONLY_HTTP, WITH_HTTPS) for narrow in (LATIN_1, ASCII))


def count(text: str, links: re.Pattern[str], narrow: int) -> int:
    """Count by one generation of the counter: two half-width units make one character, a link has its own price."""
    rest = text.replace("\r\n", "\n")
    charged = 0
    for link in links.findall(rest):
        if not link.lower().startswith(_SHORT):
            charged += _price(link)
            rest = rest.replace(link, "", 1)
    return (charged + _units(rest, narrow) + 1) // 2


def _price(link: str) -> int:
    size = len(link)
    if size <= 41 and link.lower().startswith(_OWN):
        return size
    return 20 if size <= 140 else size - 120


def _units(text: str, narrow: int) -> int:
    """Weigh a text in half-width units; a letter outside the basic plane is two wide code units."""
    return sum(4 if ord(letter) > 0xFFFF else 2 if ord(letter) > narrow else 1 for letter in text)


PLAIN = 130
"""The composer allows 140; clients met "too long" close to it, so ten are kept back."""
LONG = 1900
"""wiki C/2/statuses/upload_url_text/biz, rev. 15836: up to 2000 for entitled users; a hundred are kept back."""
ARTICLE = 20_000
"""wiki Toutiao/api: an older revision's limit, the current one names 90 000 with all marks of HTML."""


def plain_limit(account: Account) -> int:
    """Give the longest text of a post that is no article."""
    return LONG if takes_long_text(account) else PLAIN


def traits_of(account: Account) -> Traits:
    profile = profile_of(account)
    return Traits(
        measure=measure,
        text_limit=ARTICLE if article_cover(account) else plain_limit(account),
        title_limits=(0, PLAIN),
        picture_limit=profile.picture_limit,
        server_delay=timedelta(minutes=5),
        listing_lag=timedelta(minutes=2),  # the text of code 20032 promises one to two minutes
        readable=profile.readable,
        may_resend=True,
        watch_every=timedelta(hours=1 if profile.spare_reads is None else 2),
        counts_show_removals=True,
    )


DEFAULTS = Defaults(
    # wiki Rate-limiting, rev. 16512: 30 publishing calls an hour, 100 calls of any kind a day per user and app;
    # half of the day's calls stay for reading back.
    quota=Quota(min_interval=timedelta(seconds=30), per_hour=30, per_day=50),
    patience=Patience(
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=40),
        visibility_window=timedelta(minutes=10),
        first_check_after=timedelta(minutes=2),
    ),
)
