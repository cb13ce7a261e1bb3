"""Tieba's refusals of a rendered post. Pure."""

import re
from collections.abc import Sequence

from publisher.domain.account import Account, Mode
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

from .capabilities import CAPABILITIES, get_configured_forum_id

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 10 * 1024 * 1024
_MARKUP = re.compile(r"#\([^()]*\)")
"""Text that the platform takes for an emoticon, a mention, a picture or a link.

The source is the official app, read 2026-11-24.
"""


def find_account_problems(account: Account) -> Sequence[Problem]:
    """Return the settings that the operator still has to configure."""
    problems = []
    if not account.forum:
        problems.append(Problem(code="tieba_no_forum_set", facts={"key": "forum"}))
    if "forum_id" in account.options and get_configured_forum_id(account) is None:
        facts = {"key": "options.forum_id", "value": account.options["forum_id"]}
        problems.append(Problem(code="tieba_forum_id", facts=facts))
    if not account.has_accepted_risk and account.mode is Mode.API:
        problems.append(
            Problem(code="tieba_risk_not_accepted", facts={"key": "accept_risk"})
        )
    return problems


def find_problems(_account: Account, rendered: RenderedPost) -> Sequence[Problem]:  # noqa: C901 # a list of guards
    """Return all that the 2026 PC editor and its server refuse."""
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    shortest, longest = CAPABILITIES.title_limits
    title = rendered.title.strip()
    # whether the server counts characters or code units is unknown:
    # take the less favourable count at either limit
    length = len(title) if len(title) < shortest else CAPABILITIES.count_text(title)
    if not shortest <= length <= longest:
        report(
            "tieba_title_length",
            length=str(length),
            shortest=str(shortest),
            longest=str(longest),
        )
    first_limit = CAPABILITIES.text_limit_beside(len(rendered.images))
    more = CAPABILITIES.max_extra_parts
    limits = (first_limit, *(CAPABILITIES.text_limit for _ in rendered.extra_parts))
    lengths = [CAPABILITIES.count_text(part) for part in rendered.all_parts]
    length, limit = max(
        zip(lengths, limits, strict=True), key=lambda pair: pair[0] - pair[1]
    )
    if length > limit or len(rendered.extra_parts) > more:
        report(
            "tieba_text_too_long", length=str(length), limit=str(limit), more=str(more)
        )
    if not all(part.strip() for part in rendered.all_parts):
        report("tieba_text_empty")
    text = "\n".join(rendered.all_parts)
    if any(bracket in rendered.title + text for bracket in "<>"):
        report("tieba_angle_brackets")
    if markup := _MARKUP.search(text):
        report("tieba_markup", mark=markup.group())

    if len(rendered.images) > CAPABILITIES.picture_limit:
        report(
            "tieba_too_many_images",
            count=str(len(rendered.images)),
            limit=str(CAPABILITIES.picture_limit),
        )
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("tieba_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("tieba_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
    return tuple(problems)
