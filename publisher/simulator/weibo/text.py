"""How Weibo counts and rewrites a text.

The count is that of the platform's own composer (Sina's STK front end, module kit.extra.count).
"""

import re
import zlib

URL_CHARACTERS = r"[A-Za-z0-9\-_$.+!*()/,:;@&=?~#%]"
COUNTED_LINK = re.compile(
    rf"https?://(?:[A-Za-z0-9]+\.)+[A-Za-z0-9]+{URL_CHARACTERS}*", re.IGNORECASE
)
LINK = re.compile(rf"https?://[A-Za-z0-9]{URL_CHARACTERS}*", re.IGNORECASE)
OWN_LINK = re.compile(
    r"http://(?:[A-Za-z0-9]+\.)*(?:weibo\.com|weibo\.cn|t\.sina\.com\.cn|t\.sina\.cn)",
    re.IGNORECASE,
)
TOPIC = re.compile(r"#([^#\n]+)#")
LINK_WEIGHT = 20
MAX_FIXED_WEIGHT_LINK_LENGTH = 140
MAX_SHORT_OWN_LINK_LENGTH = 41
BASE62_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def count_half_width_units(text: str) -> int:
    """Return the length in half-width units: a UTF-16 code unit above U+00FF counts as two."""
    units = 0
    for each in text:
        code = ord(each)
        units += 1 if code <= 0xFF else 2 if code <= 0xFFFF else 4
    return units


def count_characters(text: str) -> int:
    """Return the number of characters as the composer shows it; 140 are allowed."""
    text = text.replace("\r\n", "\n")
    if "http" not in text:
        return (count_half_width_units(text) + 1) // 2
    rest, link_units = text, 0
    for match in COUNTED_LINK.finditer(text):
        link = match.group()
        if link.lower().startswith("http://t.cn"):
            continue
        if OWN_LINK.match(link) and len(link) <= MAX_SHORT_OWN_LINK_LENGTH:
            link_units += len(link)
        else:
            link_units += LINK_WEIGHT + max(0, len(link) - MAX_FIXED_WEIGHT_LINK_LENGTH)
        rest = rest.replace(link, "", 1)
    return (link_units + count_half_width_units(rest) + 1) // 2


def to_base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = BASE62_DIGITS[digit] + digits
    return digits.rjust(width, "0")


def shorten_links(text: str) -> tuple[str, list[dict[str, str]]]:
    """Return the text with its links as t.cn codes, and the link behind each code."""
    if "http" not in text:
        return text, []
    found: dict[str, str] = {}

    def short(match: re.Match[str]) -> str:
        link = match.group()
        if link.startswith("http://t.cn/"):
            return link
        code = f"http://t.cn/A6{to_base62(zlib.crc32(link.encode()), 6)[-6:]}"
        found[code] = link
        return code

    return LINK.sub(short, text), [
        {"url_short": code, "url_ori": link} for code, link in found.items()
    ]


def strip_topics(text: str) -> str:
    """Remove the marks of each `#topic#`; marks inside a link are not topics."""
    if "#" not in text:
        return text
    pieces, end = [], 0
    for link in LINK.finditer(text):
        pieces += [TOPIC.sub(r"\1", text[end : link.start()]), link.group()]
        end = link.end()
    return "".join([*pieces, TOPIC.sub(r"\1", text[end:])])
