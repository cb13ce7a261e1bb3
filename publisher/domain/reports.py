"""What an inspection asks: how much was to be published, what became of it, how late, and how far it came."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

from publisher.domain.delivery import FINAL_STATES, OPEN_STATES, Delivery, State
from publisher.domain.post import PostKind
from publisher.domain.results import Reach

METRIC_NAMES = ("reads", "reposts", "comments", "likes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One delivery as it stands, with what the books know around it.

    `reach` is its last measurement. `names_tip_line` is None where the region has no tip line, or the text is no longer
    kept.
    """

    delivery: Delivery
    kind: PostKind
    reach: Reach | None = None
    has_tip_line: bool | None = None

    @property
    def was_published(self) -> bool:
        """Whether it was live once: a receipt proves it."""
        return self.delivery.receipt is not None

    @property
    def lateness(self) -> timedelta | None:
        """How long after its due time it went live. People's word names no instant, so it counts for nothing."""
        receipt = self.delivery.receipt
        if receipt is None or receipt.is_manually_confirmed:
            return None
        return max(timedelta(0), receipt.published_at - self.delivery.due_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTotals:
    """Figures over some deliveries. `published` are live now; `verified` those of them whose text a read has confirmed.

    `corrections` are those live posts that correct others. Lateness is None where nothing went live, a reach None
    where no platform told it. Of `tip_line_asked` posts that went live `tip_line_named` name their region's tip line.
    Neither counts `pruned` deliveries, whose texts and figures are no longer kept.
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
"""States whose reasons are counted."""


def summarize(rows: Sequence[ReportRow]) -> ReportTotals:
    """Count deliveries, measure how late they went live, and add up how far they came."""
    states = Counter(case.delivery.state for case in rows)
    live = [case for case in rows if case.delivery.state is State.PUBLISHED]
    late = [lateness.total_seconds() for case in rows if (lateness := case.lateness) is not None]
    asked = [case.has_tip_line for case in rows if case.was_published and case.has_tip_line is not None]
    return ReportTotals(
        planned=len(rows),
        published=len(live),
        verified=sum(case.delivery.verified_at is not None for case in live),
        waiting=sum(states[state] for state in OPEN_STATES - {State.HELD, State.RETRACTING}),
        held=states[State.HELD],
        failed=states[State.FAILED],
        expired=states[State.EXPIRED],
        cancelled=states[State.CANCELLED],
        corrections=sum(case.kind is PostKind.CORRECTION for case in live),
        retracted=states[State.RETRACTED],
        retracting=states[State.RETRACTING],
        removed=states[State.REMOVED],
        median_lateness=timedelta(seconds=median(late)) if late else None,
        longest_lateness=timedelta(seconds=max(late)) if late else None,
        reach=_add_metrics(case.reach for case in rows if case.reach is not None),
        tip_line_named=sum(asked),
        tip_line_asked=len(asked),
        pruned=sum(case.delivery.is_pruned for case in rows),
        reasons={state: reasons for state in STATES_WITH_REASONS if (reasons := _count_reasons(rows, state))},
    )


def _add_metrics(readings: Iterable[Reach]) -> Reach:
    """Add up readings; what nobody told stays untold."""
    told = list(readings)
    values = {
        name: [value for reading in told if (value := getattr(reading, name)) is not None] for name in METRIC_NAMES
    }
    return Reach(**{name: sum(figures) if figures else None for name, figures in values.items()})


def _count_reasons(rows: Sequence[ReportRow], state: State) -> Mapping[str, int]:
    counts = Counter(case.delivery.reason or "" for case in rows if case.delivery.state is state)
    return dict(counts.most_common())


_IDLE_STATES = frozenset({State.PENDING, State.DUE, State.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """The deliveries of an account that have not ended.

    `unresolved` are in flight or in doubt: something of them is live or may be, and the platform is still to be read.
    `waiting` have left nothing anywhere. `live` stay where they are.
    """

    unresolved: tuple[Delivery, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    published: tuple[Delivery, ...] = ()


def collect_open_work(deliveries: Sequence[Delivery]) -> OpenWork:
    """Sort what an account still has in hand."""
    waiting = tuple(delivery for delivery in deliveries if is_not_started(delivery))
    live = tuple(delivery for delivery in deliveries if delivery.state is State.PUBLISHED)
    settled = {delivery.id for delivery in (*waiting, *live)}
    return OpenWork(
        waiting=waiting,
        published=live,
        unresolved=tuple(item for item in deliveries if item.state not in FINAL_STATES and item.id not in settled),
    )


def is_not_started(delivery: Delivery) -> bool:
    """Whether it waits, and nothing of it can be live: no call in flight or in doubt, no person's claim."""
    never_called = not delivery.attempts and delivery.reported_url is None
    return delivery.state in _IDLE_STATES or (delivery.state is State.HELD and never_called)
