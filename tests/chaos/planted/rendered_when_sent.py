"""The words are made anew from post, template and settings when they are sent, not taken as they were frozen.

Breaks I4 (F69, F74): where a template, a region's telephone number or the post changed between filing and sending, the
platform gets words that no stored rendition holds, and the attempt's own hash does not fit them.
"""

from dataclasses import replace

from sqlalchemy import Connection, RowMapping, select

from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.post import occurrence_of
from publisher.domain.rendition import Parcel
from publisher.rendering.press import Press
from publisher.store import intents
from publisher.store.books import Books
from publisher.store.parcels import make_parcel
from publisher.store.rows import POST, read_post
from publisher.wiring import studio

_presses: list[Press] = []


def _press(**parts: object) -> Press:
    _presses.append(Press(**parts))
    return _presses[-1]


def _fresh_words(
    books: Books, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> Parcel | None:
    parcel = make_parcel(books, connection, delivery, attempt, facts)
    posts = {row.id: read_post(row.body) for row in connection.execute(select(POST.c.id, POST.c.body))}
    post = posts.get(delivery.key.post)
    if parcel is None or post is None:
        return parcel
    occurrence = occurrence_of(post, delivery.key.label, delivery.due_at)
    proof = _presses[-1].prove(post, occurrence, [delivery.account], posts)
    words = next(iter(proof.renditions), parcel.rendition)
    return replace(parcel, rendition=replace(words, pictures=parcel.rendition.pictures))


def plant() -> None:
    studio.Press = _press
    intents.make_parcel = _fresh_words
