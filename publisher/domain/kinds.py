"""The table of post kinds: each kind with its code, names and traits. Pure.

A new kind is a member of `PostKind`, its row in `KINDS`, and the template of its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Texts = Mapping[str, str]
"""A text in each language, `zh_CN` and `en`."""


class PostKind(StrEnum):
    """The codes of the kinds, as they are stored and as staff write them."""

    WARNING = "warning"
    UPDATE = "update"
    ALL_CLEAR = "all-clear"
    BULLETIN = "bulletin"
    CORRECTION = "correction"
    NOTICE = "notice"
    RUMOUR = "rumour"
    APPEAL = "appeal"

    @property
    def traits(self) -> "KindTraits":
        return KINDS[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTraits:
    """The row of one kind.

    `name`, `sign` and `hint` are for people. The sign is the one character of a tile, and the hint
    stands below the name where staff choose.
    """

    name: Texts
    sign: Texts
    hint: Texts
    needs_original: bool = False
    """It follows an earlier post, and is sent only where that one is published."""
    stops_original: bool = False
    """The earlier post is wrong, and is not sent any more."""
    names_tip_line: bool = True
    """Its text must contain the region's line for reports."""
    needs_two: bool = False
    """Two people approve it: a forged or wrong one does great harm."""
    topic: Literal["fraud", "other", "emergency", "netcrime"] | None = None
    """The topic of every post of this kind: it decides the telephone numbers in the texts.

    With None a post may give one in `data.topic`, and has `fraud` if it gives none. The template
    of such a kind must render with `summary` alone, unless the kind names no tip line.
    """
    tone: Literal["plain", "green"] = "plain"
    """The colour of an article without a level."""


KINDS: Final[Mapping[PostKind, KindTraits]] = {
    PostKind.WARNING: KindTraits(
        name={"zh_CN": "预警", "en": "warning"},
        sign={"zh_CN": "警", "en": "W"},
        hint={"zh_CN": "骗局或违法活动", "en": "a scam or an offence"},
    ),
    PostKind.UPDATE: KindTraits(
        name={"zh_CN": "后续", "en": "update"},
        sign={"zh_CN": "续", "en": "U"},
        hint={"zh_CN": "接着讲一条旧的", "en": "news on an earlier post"},
        needs_original=True,
    ),
    PostKind.ALL_CLEAR: KindTraits(
        name={"zh_CN": "解除", "en": "all-clear"},
        sign={"zh_CN": "解", "en": "A"},
        hint={"zh_CN": "某条预警已过去", "en": "a notice is over"},
        needs_original=True,
        topic="emergency",
        tone="green",
    ),
    PostKind.BULLETIN: KindTraits(
        name={"zh_CN": "通报", "en": "bulletin"},
        sign={"zh_CN": "通", "en": "B"},
        hint={"zh_CN": "例行工作、活动、典型案例", "en": "regular work, events, cases"},
    ),
    PostKind.CORRECTION: KindTraits(
        name={"zh_CN": "更正", "en": "correction"},
        sign={"zh_CN": "正", "en": "C"},
        hint={"zh_CN": "前面哪条写错了", "en": "an earlier post was wrong"},
        needs_original=True,
        stops_original=True,
        names_tip_line=False,
    ),
    PostKind.NOTICE: KindTraits(
        name={"zh_CN": "警情", "en": "incident"},
        sign={"zh_CN": "情", "en": "N"},
        hint={"zh_CN": "警情通报，一段话", "en": "a notice of an incident"},
        needs_two=True,
        names_tip_line=False,
    ),
    PostKind.RUMOUR: KindTraits(
        name={"zh_CN": "辟谣", "en": "refutation"},
        sign={"zh_CN": "谣", "en": "R"},
        hint={"zh_CN": "网上的说法不实", "en": "a rumour is false"},
        topic="netcrime",
    ),
    PostKind.APPEAL: KindTraits(
        name={"zh_CN": "征集", "en": "appeal"},
        sign={"zh_CN": "征", "en": "P"},
        hint={"zh_CN": "请群众提供线索", "en": "the public is asked for tips"},
    ),
}

CORRECTING_KINDS: Final = frozenset(
    kind for kind in PostKind if kind.traits.stops_original
)
"""The kinds that say that their original is wrong, and stop it."""


def list_kinds() -> str:
    """Return the kinds in a line for staff, as `warning 预警、update 后续`."""
    return "、".join(f"{kind} {traits.name['zh_CN']}" for kind, traits in KINDS.items())
