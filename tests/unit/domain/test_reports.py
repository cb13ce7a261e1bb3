"""The figures of the report."""

from dataclasses import replace
from datetime import timedelta

from publisher.domain.delivery import State
from publisher.domain.kinds import PostKind
from publisher.domain.reports import ReportRow, summarize
from publisher.domain.results import Reach, Receipt
from tests.unit.domain.model_state import BORN, NOW


def case(
    state,
    late=None,
    *,
    kind=PostKind.WARNING,
    reach=None,
    is_manually_confirmed=False,
    **changes,
):
    receipt = None
    if late is not None:
        live_at = NOW + timedelta(seconds=late)
        receipt = Receipt(
            remote_id="1",
            url="x",
            published_at=live_at,
            is_manually_confirmed=is_manually_confirmed,
        )
    tip_line = changes.pop("tip_line", None)
    delivery = replace(BORN, state=state, receipt=receipt, **changes)
    return ReportRow(delivery=delivery, kind=kind, reach=reach, has_tip_line=tip_line)


def test_no_delivery_gives_no_figures():
    """Without deliveries lateness and readbacks are missing, not zero seconds and zero reads."""
    found = summarize([])
    assert (found.planned, found.median_lateness, found.reach) == (0, None, Reach())


def test_every_delivery_is_counted_once():
    """A planned delivery in any state is in exactly one column."""
    found = summarize([case(state) for state in State])
    columns = (
        "published",
        "waiting",
        "held",
        "failed",
        "expired",
        "cancelled",
        "retracted",
        "retracting",
        "removed",
    )
    assert sum(getattr(found, name) for name in columns) == found.planned == len(State)


def test_lateness_is_from_due_to_published():
    """Lateness is given as median and longest.

    A platform's rounded clock is never early, and a person's confirmation has no instant.
    """
    found = summarize(
        [case(State.PUBLISHED, late) for late in (-0.4, 2, 9)]
        + [case(State.PUBLISHED, 99, is_manually_confirmed=True)]
    )
    assert (found.median_lateness, found.longest_lateness) == (
        timedelta(seconds=2),
        timedelta(seconds=9),
    )


def test_metrics_add_up_what_is_reported():
    """Missing metrics of one platform do not make the others' vanish."""
    found = summarize(
        [
            case(State.PUBLISHED, 0, reach=Reach(reads=5, likes=1)),
            case(State.REMOVED, 0, reach=Reach(likes=2)),
        ]
    )
    assert found.reach == Reach(reads=5, likes=3)


def test_reasons_and_tip_lines_are_counted():
    """The most frequent reason comes first; only published posts must have named the tip line."""
    found = summarize(
        [
            case(State.FAILED, reason="a", tip_line=True),
            *(case(State.FAILED, reason="b") for _ in range(2)),
            case(
                State.PUBLISHED,
                0,
                tip_line=True,
                kind=PostKind.CORRECTION,
                verified_at=NOW,
            ),
            case(State.PUBLISHED, 0, tip_line=False),
        ]
    )
    assert list(found.reasons[State.FAILED].items()) == [("b", 2), ("a", 1)]
    assert (found.tip_line_named, found.tip_line_asked) == (1, 2)
    assert (found.corrections, found.verified) == (1, 1)
