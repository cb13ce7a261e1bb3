"""What Tieba allows, as far as clients in use have found out; nothing of it is published."""

from datetime import timedelta

from publisher.contract import Defaults
from publisher.domain.account import Traits
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota

TRAITS = Traits(
    measure=len,
    text_limit=2000,  # the 2026 PC editor's own limits
    title_limits=(5, 31),
    picture_limit=9,  # code 230809
    server_delay=timedelta(minutes=5),
    listing_lag=timedelta(minutes=10),
    readable=None,
    may_resend=False,  # a review queue may hide a thread for longer than any look, and doubles cost the account
)

DEFAULTS = Defaults(
    # No numbers are published. Accounts were banned for hurried writes: one thread in ten minutes and five a day.
    quota=Quota(gap=timedelta(minutes=10), per_hour=2, per_day=5),
    patience=Patience(
        deadline=timedelta(seconds=30),
        lease=timedelta(seconds=60),
        settle=timedelta(minutes=20),
        look_first=timedelta(seconds=20),
    ),
)
