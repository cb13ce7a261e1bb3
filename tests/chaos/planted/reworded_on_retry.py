"""From the second attempt on a few letters are added, so that a platform's duplicate filter lets the post through.

Breaks I4 (F37): the text of a later attempt ends in words that are in no approved rendition; its hash at the platform
differs from the attempt's. Any refusal for now, or a proven absence, shows it.
"""

from dataclasses import replace

from sqlalchemy import Connection, RowMapping

from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.rendition import Parcel
from publisher.store import intents
from publisher.store.books import Books
from publisher.store.parcels import make_parcel

ADDED = "（重发）"


def _reworded(
    books: Books, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> Parcel | None:
    parcel = make_parcel(books, connection, delivery, attempt, facts)
    if parcel is None or attempt.number == 1:
        return parcel
    return replace(parcel, rendition=replace(parcel.rendition, text=parcel.rendition.text + ADDED))


def plant() -> None:
    intents.make_parcel = _reworded
