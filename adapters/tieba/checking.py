"""What Tieba would refuse in a rendition. Pure."""

import re
from collections.abc import Iterator, Sequence

from publisher.domain.account import Account
from publisher.domain.problem import Problem
from publisher.domain.rendition import Picture, Rendition

from .traits import TRAITS, forum_id

PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
PICTURE_BYTES = 10 * 1024 * 1024
_MARK = re.compile(r"#\([^()]*\)")
"""What the platform takes for an emoticon, a mention, a picture or a link (official app; read 2026-11-24)."""


def problems_of(rendition: Rendition, account: Account) -> Sequence[Problem]:
    """Name all that the 2026 PC editor and its server refuse, and what the operator still owes."""
    return (*_account(account), *_words(rendition), *_pictures(rendition.pictures))


def _account(account: Account) -> Iterator[Problem]:
    if not account.forum:
        yield Problem(code="tieba_no_forum_set", facts={"account": account.id})
    if "forum_id" in account.options and forum_id(account) is None:
        yield Problem(code="tieba_forum_id", facts={"value": account.options["forum_id"]})
    if not account.has_accepted_risk:
        yield Problem(code="tieba_risk_not_accepted", facts={"account": account.id})


def _words(rendition: Rendition) -> Iterator[Problem]:
    shortest, longest = TRAITS.title_limits
    title = rendition.title.strip()
    length = len(title) if len(title) < shortest else TRAITS.measure(title)  # either way the less favourable count
    if not shortest <= length <= longest:
        facts = {"length": str(length), "shortest": str(shortest), "longest": str(longest)}
        yield Problem(code="tieba_title_length", facts=facts)
    size = max(TRAITS.measure(floor) for floor in rendition.all_floors)
    if size > TRAITS.text_limit or len(rendition.floors) > TRAITS.most_floors:
        facts = {"length": str(size), "limit": str(TRAITS.text_limit), "more": str(TRAITS.most_floors)}
        yield Problem(code="tieba_text_too_long", facts=facts)
    if not all(floor.strip() for floor in rendition.all_floors):
        yield Problem(code="tieba_text_empty")
    whole = "\n".join(rendition.all_floors)
    if any(bracket in rendition.title + whole for bracket in "<>"):
        yield Problem(code="tieba_angle_brackets")
    if mark := _MARK.search(whole):
        yield Problem(code="tieba_mark", facts={"mark": mark.group()})


def _pictures(pictures: Sequence[Picture]) -> Iterator[Problem]:
    if len(pictures) > TRAITS.picture_limit:
        facts = {"count": str(len(pictures)), "limit": str(TRAITS.picture_limit)}
        yield Problem(code="tieba_too_many_pictures", facts=facts)
    for picture in pictures:
        if picture.media_type not in PICTURE_TYPES:
            yield Problem(code="tieba_picture_type", facts={"type": picture.media_type})
        if picture.size > PICTURE_BYTES:
            yield Problem(code="tieba_picture_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})
