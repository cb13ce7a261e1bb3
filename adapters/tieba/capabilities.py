"""What Tieba allows, as far as clients in use have found out; nothing of it is published."""

from datetime import timedelta

from publisher.contract import PlatformDefaults
from publisher.domain.account import Account, Capabilities
from publisher.domain.policy import RateLimit, Timing


def measure(text: str) -> int:
    """Count as a page's own script does: in units of UTF-16, of which a picture sign takes two.

    Whether the server does so is not published; of the two counts this is the less favourable.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def get_configured_forum_id(account: Account) -> int | None:
    """Give the forum's number that the operator has set for when it cannot be looked up."""
    given = account.options.get("forum_id", "")
    return int(given) if given.isascii() and given.isdigit() and int(given) else None


CAPABILITIES = Capabilities(
    count_text=measure,
    # What the 2026 PC editor takes (ming1231231212-lang/jm-workbench, read 2026-11-24). Another client cuts titles at
    # 80 only; the shorter limit counts.
    text_limit=2000,
    max_extra_parts=4,  # our own measure: hurried replies in one thread cost accounts, and nobody reads a fifth part
    title_limits=(5, 31),
    picture_limit=9,  # code 230809
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=10),
    list_size=None,
    can_resend=False,  # a review queue may hide a thread for longer than any look, and doubles cost the account
)

DEFAULTS = PlatformDefaults(
    # No numbers are published. Accounts were banned for hurried writes: one thread in ten minutes and five a day; tools
    # that reply wait one to three minutes in between (MoeNetwork/wmzz_post, read 2026-11-24).
    rate_limit=RateLimit(min_interval=timedelta(minutes=10), per_hour=2, per_day=5, part_interval=timedelta(minutes=2)),
    timing=Timing(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=20),
        first_check_after=timedelta(seconds=20),
    ),
)
