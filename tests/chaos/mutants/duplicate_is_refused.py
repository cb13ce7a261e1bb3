"""A platform's word that it has these words already is taken for a refusal of them.

Breaks I9 and I11 (F37): after `duplicate` the delivery ends `failed` although a copy of it is live; nobody
reads the account, and the live post belongs to a delivery that is said never to have appeared.
"""

from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.rendered import SendRequest
from publisher.domain.results import Outcome, Rejected, Unknown
from publisher.engine import sender

_call = sender.publish_once


async def _call_without_doubt(adapter: Adapter, parcel: SendRequest, deadline: timedelta) -> Outcome:
    outcome = await _call(adapter, parcel, deadline)
    if isinstance(outcome, Unknown) and outcome.is_duplicate:
        return Rejected(code=outcome.reason, reason="duplicate")
    return outcome


def plant() -> None:
    sender.publish_once = _call_without_doubt
