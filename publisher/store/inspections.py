"""What the books hold of a stretch of time, for the inspection report."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select

from publisher.domain.account import AccountId
from publisher.domain.inspection import FIGURES, Case
from publisher.domain.outcome import Reach
from publisher.domain.post import Kind
from publisher.store.books import Books
from publisher.store.rows import DELIVERY, POST, REACH, RENDITION, read_post, read_rendition, to_delivery

_NEWEST = select(func.max(REACH.c.id).label("id")).group_by(REACH.c.delivery).subquery()
_CASES = (
    select(DELIVERY, RENDITION.c.body, *(REACH.c[name].label(f"its_{name}") for name in ("id", *FIGURES)))
    .outerjoin(RENDITION, RENDITION.c.fingerprint == DELIVERY.c.rendition)
    .outerjoin(REACH, (REACH.c.delivery == DELIVERY.c.id) & REACH.c.id.in_(select(_NEWEST.c.id)))
    .order_by(DELIVERY.c.due_at, DELIVERY.c.id)
)
_KINDS = select(POST.c.id, POST.c.body)


class Inspections:
    """Reading the books for those who inspect."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def cases(self, since: datetime, until: datetime, tip_lines: Mapping[AccountId, str]) -> Sequence[Case]:
        """Give every delivery due from `since` until before `until`; `tip_lines` are what its text should name."""
        due = (DELIVERY.c.due_at >= since, DELIVERY.c.due_at < until)
        posts = _KINDS.where(POST.c.id.in_(select(DELIVERY.c.post).where(*due)))

        def read(connection: Connection) -> list[Case]:
            kinds = {row.id: read_post(row.body).kind for row in connection.execute(posts)}
            return [_case(row, kinds, tip_lines) for row in connection.execute(_CASES.where(*due)).mappings()]

        return await self.books.database.read(read)


def _case(row: RowMapping, kinds: Mapping[str, Kind], tip_lines: Mapping[AccountId, str]) -> Case:
    delivery = to_delivery(row)
    tip_line = tip_lines.get(delivery.account) if row["body"] is not None else None
    return Case(
        delivery=delivery,
        kind=kinds[delivery.key.post],
        reach=None if row["its_id"] is None else Reach(**{name: row[f"its_{name}"] for name in FIGURES}),
        names_tip_line=tip_line in read_rendition(row["body"]).text if tip_line else None,
    )
