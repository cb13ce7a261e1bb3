"""A text of several floors: one delivery, a checkpoint after each call, and no half that is forgotten."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import Desired, State
from publisher.domain.events import (
    AbsenceShown,
    Claimed,
    ExpiryPassed,
    IntentWritten,
    LeaseLapsed,
    RetractOrdered,
    Ripened,
    Ruled,
    Stopped,
    Withdrawn,
)
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Gone,
    HoldReason,
    NotSent,
    Published,
    Receipt,
    Rejected,
    Unknown,
)
from publisher.domain.rendition import Marker, floor_marker, floor_sign
from tests.domain.test_lifecycle import NOW, RECEIPT, SUBMITTED, after, in_state

A_FLOORS = Receipt(remote_id="43", url="https://example.gov.cn/42#43", live_at=NOW)
LIVE, FLOOR_LIVE = Published(receipt=RECEIPT, has_seen_text=True), Published(receipt=A_FLOORS)
SENT = (Claimed(), IntentWritten())
WAITED = (State.DUE, State.CLAIMED, State.RETRYING)


def half(state, **changes):
    """Give a delivery of three floors whose first is live."""
    return in_state(state, floors=2, floors_done=1, receipt=RECEIPT, **changes)


def test_floors_follow_each_other_as_attempts_of_one_delivery():
    """Each floor that is live makes the next one due; the last makes the whole published, under the post's receipt."""
    delivery = in_state(State.SENDING, floors=2, doubt_since=NOW, looks=3, was_resent=True, failures=2)
    first = after(delivery, LIVE)
    assert (first.state, first.floors_done, first.receipt, first.next_at) == (State.DUE, 1, RECEIPT, None)
    assert (first.doubt_since, first.looks, first.was_resent, first.failures) == (None, 0, False, 0)
    second = after(first, *SENT, SUBMITTED, FLOOR_LIVE)
    assert (second.state, second.floors_done, second.attempts, second.ticket) == (State.DUE, 2, 2, None)
    last = after(second, *SENT, Unknown(reason="lost"), FLOOR_LIVE)
    assert (last.state, last.floors_done, last.attempts, last.receipt) == (State.PUBLISHED, 3, 3, RECEIPT)


def test_what_has_no_floors_is_published_at_once():
    """A delivery as they nearly all are, and every one from before there were floors, knows no half."""
    published = after(in_state(State.SENDING), LIVE)
    assert (published.state, published.floors_done, published.is_incomplete) == (State.PUBLISHED, 1, False)


def test_a_floor_that_was_not_sent_is_tried_again_by_itself():
    """A refusal that did nothing waits and keeps the checkpoint."""
    waits = after(half(State.SENDING), Busy(code="busy", reason=""), Ripened())
    assert (waits.state, waits.floors_done, waits.receipt) == (State.DUE, 1, RECEIPT)


@pytest.mark.parametrize("state", WAITED)
@pytest.mark.parametrize("event", [Withdrawn(reason="not wanted"), ExpiryPassed()])
def test_a_half_never_ends_by_itself(state, event):
    """F72, F73: withdrawn or too late, something stands there, so a person is asked what becomes of it."""
    held = after(half(state), event)
    assert (held.state, held.reason, held.receipt) == (State.HELD, HoldReason.INCOMPLETE, RECEIPT)
    assert (held.desired is Desired.CANCELLED) is isinstance(event, Withdrawn)
    assert after(in_state(state, floors=2), event).state in {State.CANCELLED, State.EXPIRED}


def test_a_floor_that_is_refused_leaves_a_half():
    """F45: the words of a floor may be refused for good; what is live already is not called failed."""
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN):
        held = after(half(state), Rejected(code="content", reason=""))
        assert (held.state, held.reason) == (State.HELD, HoldReason.INCOMPLETE)
    assert after(half(State.DUE), Stopped(reason=HoldReason.IMAGE_MISSING)).reason == HoldReason.IMAGE_MISSING


def test_a_withdrawal_stops_before_the_next_floor():
    """F72: withdrawn while a floor is in doubt: what is live stays, nothing more goes out, and a person is asked."""
    doubted = after(half(State.SENDING), Withdrawn(reason="no"), Unknown(reason="lost"))
    assert after(doubted, FLOOR_LIVE).reason == HoldReason.INCOMPLETE
    assert after(doubted, AbsenceShown(may_resend=True)).reason == HoldReason.INCOMPLETE
    last = after(replace(doubted, floors_done=2), FLOOR_LIVE)
    assert last.state is State.PUBLISHED


@pytest.mark.parametrize("state", [*WAITED, State.SUBMITTED, State.UNKNOWN, State.HELD])
def test_a_half_can_be_taken_down(state):
    """F77: from wherever it waits, an order takes the post down, and its floors with it."""
    ordered = after(half(state), RetractOrdered(reason="wrong"))
    assert (ordered.state, ordered.next_at, ordered.receipt) == (State.RETRACTING, NOW, RECEIPT)
    assert after(ordered, Gone()).state is State.RETRACTED


@pytest.mark.parametrize(
    "outcome",
    [
        FLOOR_LIVE,
        SUBMITTED,
        NotSent(reason="dns"),
        Rejected(code="content", reason=""),
        Blocked(code="captcha", reason=""),
        Unknown(reason="lost"),
        LeaseLapsed(),
    ],
)
def test_an_order_to_take_down_outlasts_any_outcome_of_a_floor(outcome):
    """F77: ordered while a floor is being sent, the post is taken down whatever became of the floor."""
    ordered = after(half(State.SENDING), RetractOrdered(reason="wrong"), outcome)
    assert (ordered.state, ordered.receipt) == (State.RETRACTING, RECEIPT)


def test_a_sign_in_refused_twice_does_not_keep_a_half_from_being_taken_down():
    """F43, F77: the order is older than the question."""
    refused = after(half(State.SENDING, refusals=1, desired=Desired.TAKEN_DOWN), CredentialExpired(reason="token"))
    assert refused.state is State.RETRACTING


def test_an_order_to_take_down_what_only_waits_cancels_it():
    """Nothing is live of it: there is nothing to take down, and nothing more to send."""
    for state in WAITED:
        assert after(in_state(state), RetractOrdered(reason="wrong")).state is State.CANCELLED
    with pytest.raises(KeyError):
        after(in_state(State.PENDING), RetractOrdered(reason="wrong"))


def test_a_floor_is_never_sent_again_where_the_platform_forbids_it():
    """Absence that is shown asks a person; where the platform allows it the floor, not the post, goes out again."""
    doubted = half(State.UNKNOWN, doubt_since=NOW - timedelta(minutes=20))
    assert after(doubted, AbsenceShown(may_resend=False)).reason == HoldReason.ABSENT
    again = after(doubted, AbsenceShown(may_resend=True))
    assert (again.state, again.floors_done, again.was_resent) == (State.DUE, 1, True)
    late = after(replace(doubted, expires_at=NOW), AbsenceShown(may_resend=True))
    assert (late.state, late.reason) == (State.HELD, HoldReason.INCOMPLETE)


def test_rulings_speak_of_the_floor():
    """`resend` sends the floor, `live` counts it, `not-published` leaves the question, `cancel` gives the rest up."""
    held = half(State.HELD, doubt_since=NOW, reason=HoldReason.ABSENT.value)
    resent = after(held, Ruled(to=State.DUE, reason="not there"))
    assert (resent.state, resent.floors_done) == (State.DUE, 1)
    seen = after(held, Ruled(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (seen.state, seen.floors_done, seen.receipt, seen.reason) == (State.DUE, 2, RECEIPT, "seen")
    last = after(replace(held, floors_done=2), Ruled(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (last.state, last.floors_done, last.receipt) == (State.PUBLISHED, 3, RECEIPT)
    asked = after(held, Ruled(to=State.FAILED, reason="not there"))
    assert (asked.state, asked.reason) == (State.HELD, HoldReason.INCOMPLETE)
    given_up = after(asked, Ruled(to=State.CANCELLED, reason="enough"))
    assert (given_up.state, given_up.floors_done, given_up.reason) == (State.PUBLISHED, 1, "enough")


def test_a_withdrawn_half_is_not_sent_on_by_a_ruling():
    """F72: `resend` and `live` do not undo a withdrawal; the question stays."""
    held = half(State.HELD, desired=Desired.CANCELLED)
    assert after(held, Ruled(to=State.DUE, reason="go on")).reason == HoldReason.INCOMPLETE
    seen = after(held, Ruled(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (seen.state, seen.reason, seen.floors_done) == (State.HELD, HoldReason.INCOMPLETE, 2)


def test_a_claim_of_a_half_that_lapses_goes_back_to_its_floor():
    """F01: a death between two floors costs nothing but time."""
    lapsed = after(half(State.CLAIMED), LeaseLapsed())
    assert (lapsed.state, lapsed.floors_done, lapsed.receipt) == (State.DUE, 1, RECEIPT)


def test_a_floor_is_known_by_its_sign():
    """The sign holds the floor's number and the post's own marker, and no other floor's marker is found in it."""
    marker = Marker(code="K7QM-4R2T")
    sign = floor_sign(marker, 2, 3)
    assert sign == "（接上层，2/3）〔K7QM-4R2T〕"
    assert floor_marker(marker, 2, 3).is_in("(接上层,2/3)〔k7qm 4r2t〕3000元")
    assert not floor_marker(marker, 3, 3).is_in(sign)
    assert not floor_marker(marker, 2, 3).is_in("〔K7QM-4R2T〕23日，接上层")
    assert marker.is_in(sign)
