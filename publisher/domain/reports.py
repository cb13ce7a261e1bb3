"""Report figures and open work. Pure.

The figures are planned and published deliveries, delays and metrics. The open work is of an
account.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

from publisher.domain.delivery import FINAL_STATES, OPEN_STATES, Delivery, State
from publisher.domain.kinds import PostKind
from publisher.domain.results import Reach

METRIC_NAMES = ("reads", "reposts", "comments", "likes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One delivery with its last metrics.

    `has_tip_line` is None for a correction, as it carries none. It is None also for a region
    without a tip line, and once the text is deleted.
    """

    delivery: Delivery
    kind: PostKind
    reach: Reach | None = None
    has_tip_line: bool | None = None

    @property
    def was_published(self) -> bool:
        """True if it was ever published: a receipt proves it."""
        return self.delivery.receipt is not None

    @property
    def lateness(self) -> timedelta | None:
        """The delay from due time to publication.

        None if manually confirmed, as that gives no time.
        """
        receipt = self.delivery.receipt
        if receipt is None or receipt.is_manually_confirmed:
            return None
        return max(timedelta(0), receipt.published_at - self.delivery.due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTotals:
    """Figures over deliveries: `published` now, and `verified` by a read that confirmed the text.

    `corrections` are published posts that correct others. Lateness is None if nothing was
    published, a metric None if no platform reported it. Of `tip_line_asked` published posts,
    `tip_line_named` contain their region's tip line. Neither includes `pruned` deliveries, as their
    texts and metrics are no longer stored.
    """

    planned: int
    published: int
    verified: int
    waiting: int
    held: int
    failed: int
    expired: int
    cancelled: int
    corrections: int
    retracted: int
    retracting: int
    removed: int
    median_lateness: timedelta | None
    longest_lateness: timedelta | None
    reach: Reach
    tip_line_named: int
    tip_line_asked: int
    pruned: int
    reasons: Mapping[State, Mapping[str, int]] = field(default_factory=dict)


STATES_WITH_REASONS = (State.FAILED, State.EXPIRED, State.HELD)


def summarize(rows: Sequence[ReportRow]) -> ReportTotals:
    """Count deliveries by state and reason, and total their delays and metrics."""
    states = Counter(row.delivery.state for row in rows)
    published = [row for row in rows if row.delivery.state is State.PUBLISHED]
    late = [
        lateness.total_seconds()
        for row in rows
        if (lateness := row.lateness) is not None
    ]
    asked = [
        row.has_tip_line
        for row in rows
        if row.was_published and row.has_tip_line is not None
    ]
    reasons = {
        state: Counter(
            row.delivery.reason or "" for row in rows if row.delivery.state is state
        )
        for state in STATES_WITH_REASONS
    }
    metrics = {
        name: [
            value
            for row in rows
            if row.reach is not None and (value := getattr(row.reach, name)) is not None
        ]
        for name in METRIC_NAMES
    }
    return ReportTotals(
        planned=len(rows),
        published=len(published),
        verified=sum(row.delivery.verified_at is not None for row in published),
        waiting=sum(
            states[state] for state in OPEN_STATES - {State.HELD, State.RETRACTING}
        ),
        held=states[State.HELD],
        failed=states[State.FAILED],
        expired=states[State.EXPIRED],
        cancelled=states[State.CANCELLED],
        corrections=sum(row.kind.traits.stops_original for row in published),
        retracted=states[State.RETRACTED],
        retracting=states[State.RETRACTING],
        removed=states[State.REMOVED],
        median_lateness=timedelta(seconds=median(late)) if late else None,
        longest_lateness=timedelta(seconds=max(late)) if late else None,
        reach=Reach(
            **{
                name: sum(values) if values else None
                for name, values in metrics.items()
            }
        ),
        tip_line_named=sum(asked),
        tip_line_asked=len(asked),
        pruned=sum(row.delivery.is_pruned for row in rows),
        reasons={
            state: dict(counts.most_common())
            for state, counts in reasons.items()
            if counts
        },
    )


_IDLE_STATES = frozenset({State.PENDING, State.DUE, State.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """The deliveries of an account that have not ended.

    `unresolved` are in flight or have an unknown outcome: they may be published, and the platform
    must still be read. `waiting` have sent nothing. `published` stay where they are.
    """

    unresolved: tuple[Delivery, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    published: tuple[Delivery, ...] = ()


def collect_open_work(deliveries: Sequence[Delivery]) -> OpenWork:
    """Sort the open deliveries of an account."""
    waiting = tuple(delivery for delivery in deliveries if is_not_started(delivery))
    published = tuple(
        delivery for delivery in deliveries if delivery.state is State.PUBLISHED
    )
    sorted_ids = {delivery.id for delivery in (*waiting, *published)}
    return OpenWork(
        waiting=waiting,
        published=published,
        unresolved=tuple(
            item
            for item in deliveries
            if item.state not in FINAL_STATES and item.id not in sorted_ids
        ),
    )


def is_not_started(delivery: Delivery) -> bool:
    """True if it waits and nothing can be published.

    No call is in flight or unknown, and no URL was reported by a person.
    """
    never_called = not delivery.attempts and delivery.reported_url is None
    return delivery.state in _IDLE_STATES or (
        delivery.state is State.HELD and never_called
    )
