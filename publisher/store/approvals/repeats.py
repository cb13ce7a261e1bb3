"""Posts with the same words under another id, which a yes would publish a second time."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from publisher.domain.account import AccountId
from publisher.domain.delivery import MAYBE_PUBLISHED_STATES
from publisher.domain.post import PostId
from publisher.store.db.filters import in_state
from publisher.store.db.tables import DELIVERY, POST

REPEAT_PERIOD: Final = timedelta(days=30)
"""Words that were published longer ago may well be published again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """The post that has, or may have, published the same words on these accounts, last `at`."""

    post: PostId
    accounts: Sequence[AccountId]
    at: datetime


def find_repeats(
    connection: Connection, posts: Collection[PostId], now: datetime
) -> Mapping[PostId, Repeat]:
    """Return for each of these posts the last one with the same words on the same accounts."""
    new, old, sent = POST.alias("new"), POST.alias("old"), DELIVERY.alias("sent")
    at = func.coalesce(sent.c.published_at, sent.c.due_at)
    query = (
        select(new.c.id, old.c.id.label("earlier"), sent.c.account, at.label("at"))
        .join(old, old.c.words_hash == new.c.words_hash)
        .join(sent, sent.c.post == old.c.id)
        .join(
            DELIVERY,
            (DELIVERY.c.post == new.c.id) & (DELIVERY.c.account == sent.c.account),
        )
        .where(
            new.c.id.in_(posts),
            new.c.words_hash != "",
            old.c.id != new.c.id,
            in_state(sent, *MAYBE_PUBLISHED_STATES),
            at >= now - REPEAT_PERIOD,
        )
        .distinct()
    )
    found: dict[PostId, dict[PostId, list[tuple[datetime, AccountId]]]] = {}
    for row in connection.execute(query):
        earlier = found.setdefault(PostId(row.id), defaultdict(list))
        earlier[PostId(row.earlier)].append((row.at, AccountId(row.account)))
    repeats = {}
    for post, earlier in found.items():
        last = max(earlier, key=lambda name: max(earlier[name]))
        repeats[post] = Repeat(
            post=last,
            accounts=sorted(account for _at, account in earlier[last]),
            at=max(at for at, _account in earlier[last]),
        )
    return repeats
