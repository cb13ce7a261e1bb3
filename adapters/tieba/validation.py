"""What Tieba would refuse in a rendition. Pure."""

import re
from collections.abc import Iterator, Sequence

from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedImage, RenderedPost

from .capabilities import CAPABILITIES, get_configured_forum_id

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 10 * 1024 * 1024
_MARKUP = re.compile(r"#\([^()]*\)")
"""What the platform takes for an emoticon, a mention, a picture or a link (official app; read 2026-11-24)."""


def find_problems(rendered: RenderedPost, account: Account) -> Sequence[Problem]:
    """Name all that the 2026 PC editor and its server refuse, and what the operator still owes."""
    return (*_check_account(account), *_check_texts(rendered), *_check_pictures(rendered.images))


def _check_account(account: Account) -> Iterator[Problem]:
    if not account.forum:
        yield Problem(code="tieba_no_forum_set", facts={"account": account.id})
    if "forum_id" in account.options and get_configured_forum_id(account) is None:
        yield Problem(code="tieba_forum_id", facts={"value": account.options["forum_id"]})
    if not account.has_accepted_risk:
        yield Problem(code="tieba_risk_not_accepted", facts={"account": account.id})


def _check_texts(rendered: RenderedPost) -> Iterator[Problem]:
    shortest, longest = CAPABILITIES.title_limits
    title = rendered.title.strip()
    length = (
        len(title) if len(title) < shortest else CAPABILITIES.count_text(title)
    )  # either way the less favourable count
    if not shortest <= length <= longest:
        facts = {"length": str(length), "shortest": str(shortest), "longest": str(longest)}
        yield Problem(code="tieba_title_length", facts=facts)
    size = max(CAPABILITIES.count_text(floor) for floor in rendered.all_parts)
    if size > CAPABILITIES.text_limit or len(rendered.extra_parts) > CAPABILITIES.max_extra_parts:
        facts = {"length": str(size), "limit": str(CAPABILITIES.text_limit), "more": str(CAPABILITIES.max_extra_parts)}
        yield Problem(code="tieba_text_too_long", facts=facts)
    if not all(floor.strip() for floor in rendered.all_parts):
        yield Problem(code="tieba_text_empty")
    whole = "\n".join(rendered.all_parts)
    if any(bracket in rendered.title + whole for bracket in "<>"):
        yield Problem(code="tieba_angle_brackets")
    if mark := _MARKUP.search(whole):
        yield Problem(code="tieba_markup", facts={"mark": mark.group()})


def _check_pictures(pictures: Sequence[RenderedImage]) -> Iterator[Problem]:
    if len(pictures) > CAPABILITIES.picture_limit:
        facts = {"count": str(len(pictures)), "limit": str(CAPABILITIES.picture_limit)}
        yield Problem(code="tieba_too_many_images", facts=facts)
    for picture in pictures:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            yield Problem(code="tieba_image_type", facts={"type": picture.media_type})
        if picture.size > MAX_PICTURE_BYTES:
            yield Problem(code="tieba_image_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})
