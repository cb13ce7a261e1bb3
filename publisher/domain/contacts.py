"""Numbers and sites for readers, by topic: printed only where they belong. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

SITE_LINE: Final = "12377"
"""The line for harmful content online: it takes no reports of crimes."""
MAX_CONTACTS_AGE_DAYS: Final = 365
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_DEFAULT_NUMBERS: Final = {"hotline": "110", "anti_fraud": "96110"}
"""The numbers of a region that names no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactLine:
    """A number or site, and its purpose. `level`: only beside a level."""

    number: str
    use: str
    level: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicContacts:
    """The contacts of one topic: a sentence for short texts, and lines for long ones."""

    short: str
    lines: Sequence[ContactLine] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contacts:
    """The lists by topic, and the day on which somebody checked them.

    `phones` are the agency's own numbers: only these may be named as the contact of a post.
    """

    topics: Mapping[str, TopicContacts] = field(default_factory=dict)
    checked: date = date.min
    phones: Sequence[str] = ()


def names_number(text: str, number: str) -> bool:
    """True if a text has this number, not only within a longer one: 96110 does not name 110."""
    return re.search(rf"(?<!\d){re.escape(number)}(?!\d)", text) is not None


def choose_contacts(
    contacts: Contacts,
    topic: str,
    region: Mapping[str, str],
    *,
    contact: str = "",
    has_level: bool = False,
) -> dict[str, object]:
    """Return the contacts of a post for the pages: `short`, and `lines` of number and use.

    `contact` is the post's own, which services and appeals print. The region's line for tips is
    always among the lines of a topic.
    """
    police, tip_line = region.get("police", ""), region.get("tip_line", "")
    hotline = region.get("hotline", "110")
    if topic in {"none", "service"}:
        is_named = topic == "service" and contact
        return {"short": f"咨询：{contact}。" if is_named else "", "lines": []}
    if topic == "police":
        chosen = TopicContacts(short=f"报警请拨打{hotline}。")
    elif topic == "tips":
        where = contact or tip_line
        chosen = TopicContacts(
            short=f"线索请拨打{where}。",
            lines=[ContactLine(number=where, use="提供线索，举报人信息依法保密。")],
        )
    else:
        chosen = contacts.topics.get(topic) or contacts.topics["other"]
    lines = [
        [_fill(line.number, region), line.use]
        for line in chosen.lines
        if has_level or not line.level
    ]
    short, numbers = _fill(chosen.short, region), [number for number, _use in lines]
    if tip_line not in numbers:
        use = f"向{police}提供线索。"
        if tip_line == SITE_LINE:
            use = f"举报网上违法和不良信息，也可以登录{SITE_LINE}.cn。"
        elif tip_line == hotline:
            use = "紧急情况，请立即报警。"
        lines.append([tip_line, use])
    if not names_number(short, tip_line):
        matter = "举报不良信息" if tip_line == SITE_LINE else "举报线索"
        short = f"{short.rstrip('。')}，{matter}{tip_line}。"
    return {"short": short, "lines": lines}


def _fill(text: str, region: Mapping[str, str]) -> str:
    """Return a text with the numbers of a region, which may replace a line, not its purpose."""
    return _PLACEHOLDER.sub(
        lambda found: region.get(found[1]) or _DEFAULT_NUMBERS.get(found[1], ""), text
    )
