"""Tieba's limits and calls, as found by clients in use; none of it is published. Pure."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities, RateLimit, Timing


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
    # The limits of the 2026 PC editor (ming1231231212-lang/jm-workbench, read 2026-11-24).
    # Another client cuts titles at 80 only; the shorter limit counts.
    text_limit=2000,
    # our own choice: hurried replies in one thread cost accounts, and nobody reads a fifth part
    max_extra_parts=4,
    title_limits=(5, 31),
    picture_limit=9,  # code 230809
    picture_length=4,  # its markup counts as two, and so does the line break before it
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=10),
    list_size=None,
    line_ending="\r\n",
    # a review may hide a thread for longer than we check, and duplicates cost the account
    can_resend=False,
)

DEFAULTS = PlatformDefaults(
    # No limits are published. Accounts were banned for hurried writes, so one thread in ten minutes
    # and five a day; tools that reply wait one to three minutes between replies
    # (MoeNetwork/wmzz_post, read 2026-11-24).
    rate_limit=RateLimit(
        min_interval=timedelta(minutes=10),
        per_hour=2,
        per_day=5,
        part_interval=timedelta(minutes=2),
    ),
    timing=Timing(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=20),
        first_check_after=timedelta(seconds=20),
    ),
)


def get_capabilities(account: Account) -> Capabilities:
    """Return the limits of Tieba, and the page of the account's forum."""
    query = urlencode({"kw": account.forum or "", "ie": "utf-8"})
    page = f"https://tieba.baidu.com/f?{query}" if account.forum else None
    return replace(CAPABILITIES, posting_url=page)
