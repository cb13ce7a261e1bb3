"""A platform's word that it has these words already is taken for a refusal of them.

Breaks I9 and I11 (F37): after `duplicate` the delivery ends `failed` although a copy of it is live; nobody
reads the account, and the live post belongs to a delivery that is said never to have appeared.
"""

from collections.abc import Awaitable
from datetime import timedelta

from publisher.domain.results import Outcome, Rejected, Unknown
from publisher.engine import sender

_call = sender.call_adapter


async def _call_without_doubt(call: Awaitable[Outcome], time_limit: timedelta) -> Outcome:
    outcome = await _call(call, time_limit)
    if isinstance(outcome, Unknown) and outcome.is_duplicate:
        return Rejected(code=outcome.reason, reason="duplicate")
    return outcome


def plant() -> None:
    sender.call_adapter = _call_without_doubt
