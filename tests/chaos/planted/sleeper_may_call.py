"""A worker does not ask before the first byte whether its lease is still its own.

Breaks I3, I1, I7 and I13 (F15): a process that was frozen between intent and first byte for longer than its lease
makes its call after it wakes, when others have long moved the delivery to `unknown` or made the next attempt. The
platform receives a call that no attempt under way announces; where the next one was made, the post stands there twice.
"""

import math
from dataclasses import replace

from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.rendition import Parcel
from publisher.store import parcels
from publisher.store.books import Books
from publisher.store.outbox import Outbox

_parcel = parcels._parcel


def _without_end(books: Books, delivery: Delivery, attempt: Attempt, newest: str | None, body: str) -> Parcel:
    return replace(_parcel(books, delivery, attempt, newest, body), start_by=math.inf)


async def _may_go_on(_outbox: Outbox, _parcel: Parcel) -> bool:
    return True


def plant() -> None:
    parcels._parcel = _without_end
    Outbox.may_go_on = _may_go_on
