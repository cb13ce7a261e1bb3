"""A worker does not ask before the first byte whether its lease is still its own.

Breaks I3, I1, I7 and I13 (F15): a process that was frozen between intent and first byte for longer than its lease
makes its call after it wakes, when others have long moved the delivery to `unknown` or made the next attempt. The
platform receives a call that no attempt under way announces; where the next one was made, the post stands there twice.
"""

import math
from dataclasses import replace

from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.post import SendRequest
from publisher.store.deliveries import intents as requests
from publisher.store.deliveries.outbox import Outbox
from publisher.store.store import Store

_parcel = requests._build


def _without_end(store: Store, delivery: Delivery, attempt: Attempt, newest: str | None, body: str) -> SendRequest:
    return replace(_parcel(store, delivery, attempt, newest, body), start_by=math.inf)


async def _may_go_on(_outbox: Outbox, _parcel: SendRequest) -> bool:
    return True


def plant() -> None:
    requests._build = _without_end
    Outbox.may_still_send = _may_go_on
