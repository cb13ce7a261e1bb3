"""From the second attempt on a few letters are added, so that a platform's duplicate filter lets the post through.

Breaks I4 (F37): the text of a later attempt ends in words that are in no approved rendition; its hash at the platform
differs from the attempt's. Any refusal for now, or a proven absence, shows it.
"""

from dataclasses import replace

from sqlalchemy import Connection, RowMapping

from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.post import SendRequest
from publisher.store.deliveries import intents
from publisher.store.deliveries.intents import build_request
from publisher.store.store import Store

ADDED = "（重发）"


def _reworded(
    store: Store, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> SendRequest | None:
    parcel = build_request(store, connection, delivery, attempt, facts)
    if parcel is None or attempt.number == 1:
        return parcel
    return replace(parcel, rendered=replace(parcel.rendered, text=parcel.rendered.text + ADDED))


def plant() -> None:
    intents.build_request = _reworded
