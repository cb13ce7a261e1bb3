"""The words are made again from post, template and settings when they are sent, not taken as they were frozen.

Breaks I4 (F69, F74): where a template, a region's telephone number or the post changed between filing and sending, the
platform gets words that no stored rendition holds, and the attempt's own hash does not fit them.
"""

from dataclasses import replace

from sqlalchemy import Connection, RowMapping, select

from publisher.app import offline
from publisher.domain.delivery import Attempt, Delivery
from publisher.domain.post import SendRequest, make_occurrence
from publisher.rendering.renderer import PostRenderer
from publisher.store.db.tables import POST, load_post
from publisher.store.deliveries import intents
from publisher.store.deliveries.intents import build_request
from publisher.store.store import Store

_presses: list[PostRenderer] = []


def _press(**parts: object) -> PostRenderer:
    _presses.append(PostRenderer(**parts))
    return _presses[-1]


def _fresh_words(
    store: Store, connection: Connection, delivery: Delivery, attempt: Attempt, facts: RowMapping
) -> SendRequest | None:
    parcel = build_request(store, connection, delivery, attempt, facts)
    posts = {row.id: load_post(row.body) for row in connection.execute(select(POST.c.id, POST.c.body))}
    post = posts.get(delivery.key.post)
    if parcel is None or post is None:
        return parcel
    occurrence = make_occurrence(post, delivery.key.occurrence, delivery.due_at)
    proof = _presses[-1].render(post, occurrence, [delivery.account], posts)
    words = next(iter(proof.rendered_posts), parcel.rendered)
    return replace(parcel, rendered=replace(words, images=parcel.rendered.images))


def plant() -> None:
    offline.PostRenderer = _press
    intents.build_request = _fresh_words
