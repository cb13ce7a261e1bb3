"""What Tieba allows and would refuse, as far as clients in use have found out; none of it is published. Pure."""

import re
from collections.abc import Sequence
from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, Mode, RateLimit, Timing
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 10 * 1024 * 1024
_MARKUP = re.compile(r"#\([^()]*\)")
"""What the platform takes for an emoticon, a mention, a picture or a link (official app; read 2026-11-24)."""


def measure(text: str) -> int:
    """Return the length in UTF-16 code units, as a page's own script counts; an emoji takes two.

    Whether the server counts so is not published; of the two counts this is the less favourable.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def get_configured_forum_id(account: Account) -> int | None:
    """Return the forum's number that the operator configured for when it cannot be looked up."""
    given = account.options.get("forum_id", "")
    return int(given) if given.isascii() and given.isdigit() and int(given) else None


CAPABILITIES = Capabilities(
    count_text=measure,
    # The limits of the 2026 PC editor (ming1231231212-lang/jm-workbench, read 2026-11-24). Another client cuts titles
    # at 80 only; the shorter limit counts.
    text_limit=2000,
    max_extra_parts=4,  # our own choice: hurried replies in one thread cost accounts, and nobody reads a fifth part
    title_limits=(5, 31),
    picture_limit=9,  # code 230809
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=10),
    list_size=None,
    can_resend=False,  # a review may hide a thread for longer than we check, and duplicates cost the account
)

DEFAULTS = PlatformDefaults(
    # No limits are published. Accounts were banned for hurried writes, so one thread in ten minutes and five a day;
    # tools that reply wait one to three minutes between replies (MoeNetwork/wmzz_post, read 2026-11-24).
    rate_limit=RateLimit(min_interval=timedelta(minutes=10), per_hour=2, per_day=5, part_interval=timedelta(minutes=2)),
    timing=Timing(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=20),
        first_check_after=timedelta(seconds=20),
    ),
)


def get_capabilities(_account: Account) -> Capabilities:
    return CAPABILITIES


def find_problems(account: Account, rendered: RenderedPost) -> Sequence[Problem]:  # noqa: C901 # a list of guards
    """Return all that the 2026 PC editor and its server refuse, and what the operator still has to configure."""
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    if not account.forum:
        report("tieba_no_forum_set", account=account.id)
    if "forum_id" in account.options and get_configured_forum_id(account) is None:
        report("tieba_forum_id", value=account.options["forum_id"])
    if not account.has_accepted_risk and account.mode is not Mode.ASSISTED:
        report("tieba_risk_not_accepted", account=account.id)

    shortest, longest = CAPABILITIES.title_limits
    title = rendered.title.strip()
    # whether the server counts characters or code units is unknown: take the less favourable count at either limit
    length = len(title) if len(title) < shortest else CAPABILITIES.count_text(title)
    if not shortest <= length <= longest:
        report("tieba_title_length", length=str(length), shortest=str(shortest), longest=str(longest))
    length = max(CAPABILITIES.count_text(part) for part in rendered.all_parts)
    limit, more = CAPABILITIES.text_limit, CAPABILITIES.max_extra_parts
    if length > limit or len(rendered.extra_parts) > more:
        report("tieba_text_too_long", length=str(length), limit=str(limit), more=str(more))
    if not all(part.strip() for part in rendered.all_parts):
        report("tieba_text_empty")
    text = "\n".join(rendered.all_parts)
    if any(bracket in rendered.title + text for bracket in "<>"):
        report("tieba_angle_brackets")
    if markup := _MARKUP.search(text):
        report("tieba_markup", mark=markup.group())

    if len(rendered.images) > CAPABILITIES.picture_limit:
        report("tieba_too_many_images", count=str(len(rendered.images)), limit=str(CAPABILITIES.picture_limit))
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("tieba_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("tieba_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
    return tuple(problems)
