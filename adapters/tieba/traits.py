"""What Tieba allows, as far as clients in use have found out; nothing of it is published."""

from datetime import timedelta

from publisher.contract import Defaults
from publisher.domain.account import Account, Traits
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota


def measure(text: str) -> int:
    """Count as a page's own script does: in units of UTF-16, of which a picture sign takes two.

    Whether the server does so is not published; of the two counts this is the less favourable.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def forum_id(account: Account) -> int | None:
    """Give the forum's number that the operator has set for when it cannot be looked up."""
    given = account.options.get("forum_id", "")
    return int(given) if given.isascii() and given.isdigit() and int(given) else None


TRAITS = Traits(
    measure=measure,
    # What the 2026 PC editor takes (ming1231231212-lang/jm-workbench, read 2026-11-24). Another client cuts titles at
    # 80 only; the shorter limit counts.
    text_limit=2000,
    most_floors=4,  # our own measure: hurried replies in one thread cost accounts, and nobody reads a fifth part
    title_limits=(5, 31),
    picture_limit=9,  # code 230809
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=10),
    readable=None,
    may_resend=False,  # a review queue may hide a thread for longer than any look, and doubles cost the account
)

DEFAULTS = Defaults(
    # No numbers are published. Accounts were banned for hurried writes: one thread in ten minutes and five a day; tools
    # that reply wait one to three minutes in between (MoeNetwork/wmzz_post, read 2026-11-24).
    quota=Quota(min_interval=timedelta(minutes=10), per_hour=2, per_day=5, floor_gap=timedelta(minutes=2)),
    patience=Patience(
        request_timeout=timedelta(seconds=30),
        lease_timeout=timedelta(seconds=60),
        visibility_window=timedelta(minutes=20),
        first_check_after=timedelta(seconds=20),
    ),
)
