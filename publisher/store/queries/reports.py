"""What the books hold of a stretch of time, for the inspection report."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select

from publisher.domain.account import AccountId
from publisher.domain.post import PostKind
from publisher.domain.reports import METRIC_NAMES, ReportRow
from publisher.domain.results import Reach
from publisher.store.db.mappers import DELIVERY, POST, REACH, RENDERED_POST, load_post, load_rendered_post, to_delivery
from publisher.store.store import Store

_NEWEST_METRICS = select(func.max(REACH.c.id).label("id")).group_by(REACH.c.delivery).subquery()
_REPORT_ROWS = (
    select(DELIVERY, RENDERED_POST.c.body, *(REACH.c[name].label(f"its_{name}") for name in ("id", *METRIC_NAMES)))
    .outerjoin(RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash)
    .outerjoin(REACH, (REACH.c.delivery == DELIVERY.c.id) & REACH.c.id.in_(select(_NEWEST_METRICS.c.id)))
    .order_by(DELIVERY.c.due_at, DELIVERY.c.id)
)
_POST_BODIES = select(POST.c.id, POST.c.body)


class ReportQueries:
    """Reading the books for those who inspect."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def report_rows(
        self, since: datetime, until: datetime, tip_lines: Mapping[AccountId, str]
    ) -> Sequence[ReportRow]:
        """Give every delivery due from `since` until before `until`; `tip_lines` are what its text should name."""
        due = (DELIVERY.c.due_at >= since, DELIVERY.c.due_at < until)
        posts = _POST_BODIES.where(POST.c.id.in_(select(DELIVERY.c.post).where(*due)))

        def read(connection: Connection) -> list[ReportRow]:
            kinds = {row.id: load_post(row.body).kind for row in connection.execute(posts)}
            return [
                _report_row(row, kinds, tip_lines) for row in connection.execute(_REPORT_ROWS.where(*due)).mappings()
            ]

        return await self.store.database.read(read)


def _report_row(row: RowMapping, kinds: Mapping[str, PostKind], tip_lines: Mapping[AccountId, str]) -> ReportRow:
    delivery = to_delivery(row)
    tip_line = tip_lines.get(delivery.account) if row["body"] is not None else None
    return ReportRow(
        delivery=delivery,
        kind=kinds[delivery.key.post],
        reach=None if row["its_id"] is None else Reach(**{name: row[f"its_{name}"] for name in METRIC_NAMES}),
        has_tip_line=tip_line in load_rendered_post(row["body"]).text if tip_line else None,
    )
