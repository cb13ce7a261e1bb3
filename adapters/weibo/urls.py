"""What the number of a Weibo post says: its address, and the second at which it was made. Pure."""

from dataclasses import replace
from datetime import UTC, datetime

from publisher.domain.results import Receipt

_BASE62_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_EPOCH_SECONDS = 515_483_463
"""Seconds between 1970 and the zero of the time inside a post's number; fits the sample of wiki 2/statuses/share."""
_MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
_ARTICLE_FRAGMENT = "#article"


def make_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    return Receipt(remote_id=remote_id, url=f"https://weibo.com/{uid}/{encode_short_id(remote_id)}", published_at=at)


def make_article_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    """Give the receipt of a post that leads to an article; its address says so, for whoever takes it down."""
    found = make_receipt(remote_id, uid, at)
    return replace(found, url=f"{found.url}{_ARTICLE_FRAGMENT}")


def is_article_receipt(receipt: Receipt) -> bool:
    return receipt.url.endswith(_ARTICLE_FRAGMENT)


def encode_short_id(mid: str) -> str:
    """Spell a post's number as its address does: groups of seven digits from the right, each in base 62."""
    ends = range(len(mid), 0, -7)
    groups = [_to_base62(int(mid[max(end - 7, 0) : end])) for end in ends]
    padded = [group.rjust(4, "0") for group in groups[:-1]] + groups[-1:]
    return "".join(reversed(padded))


def decode_created_at(mid: str) -> datetime:
    """Read the second at which a post was made out of its number; a senseless number gives the end of the calendar."""
    return datetime.fromtimestamp(min((int(mid) >> 22) + _ID_EPOCH_SECONDS, _MAX_UNIX_SECONDS), UTC)


def _to_base62(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number, 62)
        letters = _BASE62_DIGITS[digit] + letters
    return letters or "0"
