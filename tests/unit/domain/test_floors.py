"""A text of several parts: one delivery, a checkpoint after each call, and no half that is forgotten."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.delivery import (
    AbsenceProven,
    AttemptStarted,
    BecameDue,
    Cancelled,
    Claimed,
    DesiredState,
    Expired,
    Held,
    LeaseExpired,
    Resolved,
    RetractionRequested,
    State,
)
from publisher.domain.post import Marker, derive_part_marker, format_part_prefix
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotSent,
    Published,
    Receipt,
    Rejected,
    Unknown,
)
from tests.unit.domain.test_lifecycle import NOW, RECEIPT, SUBMITTED, after, in_state

A_FLOORS = Receipt(remote_id="43", url="https://example.gov.cn/42#43", published_at=NOW)
LIVE, FLOOR_LIVE = Published(receipt=RECEIPT, is_text_confirmed=True), Published(receipt=A_FLOORS)
SENT = (Claimed(), AttemptStarted())
WAITED = (State.DUE, State.CLAIMED, State.RETRYING)


def half(state, **changes):
    """Give a delivery of three parts whose first is live."""
    return in_state(state, extra_parts=2, parts_done=1, receipt=RECEIPT, **changes)


def test_floors_follow_each_other_as_attempts_of_one_delivery():
    """Each part that is live makes the next one due; the last makes the whole published, under the post's receipt."""
    delivery = in_state(State.SENDING, extra_parts=2, unknown_since=NOW, readbacks=3, was_resent=True, failures=2)
    first = after(delivery, LIVE)
    assert (first.state, first.parts_done, first.receipt, first.next_action_at) == (State.DUE, 1, RECEIPT, None)
    assert (first.unknown_since, first.readbacks, first.was_resent, first.failures) == (None, 0, False, 0)
    second = after(first, *SENT, SUBMITTED, FLOOR_LIVE)
    assert (second.state, second.parts_done, second.attempts, second.ticket) == (State.DUE, 2, 2, None)
    last = after(second, *SENT, Unknown(reason="lost"), FLOOR_LIVE)
    assert (last.state, last.parts_done, last.attempts, last.receipt) == (State.PUBLISHED, 3, 3, RECEIPT)


def test_what_has_no_floors_is_published_at_once():
    """A delivery as they nearly all are, and every one from before there were parts, knows no half."""
    published = after(in_state(State.SENDING), LIVE)
    assert (published.state, published.parts_done, published.is_incomplete) == (State.PUBLISHED, 1, False)


def test_a_floor_that_was_not_sent_is_tried_again_by_itself():
    """A refusal that did nothing waits and keeps the checkpoint."""
    waits = after(half(State.SENDING), Busy(code="busy", reason=""), BecameDue())
    assert (waits.state, waits.parts_done, waits.receipt) == (State.DUE, 1, RECEIPT)


@pytest.mark.parametrize("state", WAITED)
@pytest.mark.parametrize("event", [Cancelled(reason="not wanted"), Expired()])
def test_a_half_never_ends_by_itself(state, event):
    """F72, F73: withdrawn or too late, something stands there, so a person is asked what becomes of it."""
    held = after(half(state), event)
    assert (held.state, held.reason, held.receipt) == (State.HELD, HoldReason.INCOMPLETE, RECEIPT)
    assert (held.desired is DesiredState.CANCELLED) is isinstance(event, Cancelled)
    assert after(in_state(state, extra_parts=2), event).state in {State.CANCELLED, State.EXPIRED}


def test_a_floor_that_is_refused_leaves_a_half():
    """F45: the words of a part may be refused for good; what is live already is not called failed."""
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN):
        held = after(half(state), Rejected(code="content", reason=""))
        assert (held.state, held.reason) == (State.HELD, HoldReason.INCOMPLETE)
    assert after(half(State.DUE), Held(reason=HoldReason.IMAGE_MISSING)).reason == HoldReason.IMAGE_MISSING


def test_a_withdrawal_stops_before_the_next_floor():
    """F72: withdrawn while a part is in doubt: what is live stays, nothing more goes out, and a person is asked."""
    doubted = after(half(State.SENDING), Cancelled(reason="no"), Unknown(reason="lost"))
    assert after(doubted, FLOOR_LIVE).reason == HoldReason.INCOMPLETE
    assert after(doubted, AbsenceProven(can_resend=True)).reason == HoldReason.INCOMPLETE
    last = after(replace(doubted, parts_done=2), FLOOR_LIVE)
    assert last.state is State.PUBLISHED


@pytest.mark.parametrize("state", [*WAITED, State.SUBMITTED, State.UNKNOWN, State.HELD])
def test_a_half_can_be_taken_down(state):
    """F77: from wherever it waits, an order takes the post down, and its parts with it."""
    ordered = after(half(state), RetractionRequested(reason="wrong"))
    assert (ordered.state, ordered.next_action_at, ordered.receipt) == (State.RETRACTING, NOW, RECEIPT)
    assert after(ordered, Deleted()).state is State.RETRACTED


@pytest.mark.parametrize(
    "outcome",
    [
        FLOOR_LIVE,
        SUBMITTED,
        NotSent(reason="dns"),
        Rejected(code="content", reason=""),
        Blocked(code="captcha", reason=""),
        Unknown(reason="lost"),
        LeaseExpired(),
    ],
)
def test_an_order_to_take_down_outlasts_any_outcome_of_a_floor(outcome):
    """F77: ordered while a part is being sent, the post is taken down whatever became of the part."""
    ordered = after(half(State.SENDING), RetractionRequested(reason="wrong"), outcome)
    assert (ordered.state, ordered.receipt) == (State.RETRACTING, RECEIPT)


def test_a_sign_in_refused_twice_does_not_keep_a_half_from_being_taken_down():
    """F43, F77: the order is older than the question."""
    refused = after(
        half(State.SENDING, auth_failures=1, desired=DesiredState.RETRACTED), CredentialExpired(reason="token")
    )
    assert refused.state is State.RETRACTING


def test_an_order_to_take_down_what_only_waits_cancels_it():
    """Nothing is live of it: there is nothing to take down, and nothing more to send."""
    for state in WAITED:
        assert after(in_state(state), RetractionRequested(reason="wrong")).state is State.CANCELLED
    with pytest.raises(KeyError):
        after(in_state(State.PENDING), RetractionRequested(reason="wrong"))


def test_a_floor_is_never_sent_again_where_the_platform_forbids_it():
    """Absence that is shown asks a person; where the platform allows it the part, not the post, goes out again."""
    doubted = half(State.UNKNOWN, unknown_since=NOW - timedelta(minutes=20))
    assert after(doubted, AbsenceProven(can_resend=False)).reason == HoldReason.NOT_PUBLISHED
    again = after(doubted, AbsenceProven(can_resend=True))
    assert (again.state, again.parts_done, again.was_resent) == (State.DUE, 1, True)
    late = after(replace(doubted, expires_at=NOW), AbsenceProven(can_resend=True))
    assert (late.state, late.reason) == (State.HELD, HoldReason.INCOMPLETE)


def test_rulings_speak_of_the_floor():
    """`resend` sends the part, `live` counts it, `not-published` leaves the question, `cancel` gives the rest up."""
    held = half(State.HELD, unknown_since=NOW, reason=HoldReason.NOT_PUBLISHED.value)
    resent = after(held, Resolved(to=State.DUE, reason="not there"))
    assert (resent.state, resent.parts_done) == (State.DUE, 1)
    seen = after(held, Resolved(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (seen.state, seen.parts_done, seen.receipt, seen.reason) == (State.DUE, 2, RECEIPT, "seen")
    last = after(replace(held, parts_done=2), Resolved(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (last.state, last.parts_done, last.receipt) == (State.PUBLISHED, 3, RECEIPT)
    asked = after(held, Resolved(to=State.FAILED, reason="not there"))
    assert (asked.state, asked.reason) == (State.HELD, HoldReason.INCOMPLETE)
    given_up = after(asked, Resolved(to=State.CANCELLED, reason="enough"))
    assert (given_up.state, given_up.parts_done, given_up.reason) == (State.PUBLISHED, 1, "enough")


def test_a_withdrawn_half_is_not_sent_on_by_a_ruling():
    """F72: `resend` and `live` do not undo a withdrawal; the question stays."""
    held = half(State.HELD, desired=DesiredState.CANCELLED)
    assert after(held, Resolved(to=State.DUE, reason="go on")).reason == HoldReason.INCOMPLETE
    seen = after(held, Resolved(to=State.PUBLISHED, reason="seen", receipt=A_FLOORS))
    assert (seen.state, seen.reason, seen.parts_done) == (State.HELD, HoldReason.INCOMPLETE, 2)


def test_a_claim_of_a_half_that_lapses_goes_back_to_its_floor():
    """F01: a death between two parts costs nothing but time."""
    lapsed = after(half(State.CLAIMED), LeaseExpired())
    assert (lapsed.state, lapsed.parts_done, lapsed.receipt) == (State.DUE, 1, RECEIPT)


def test_a_floor_is_known_by_its_sign():
    """The sign holds the part's number and the post's own marker, and no other part's marker is found in it."""
    marker = Marker(code="K7QM-4R2T")
    sign = format_part_prefix(marker, 2, 3)
    assert sign == "（接上层，2/3）〔K7QM-4R2T〕"
    assert derive_part_marker(marker, 2, 3).is_in("(接上层,2/3)〔k7qm 4r2t〕3000元")
    assert not derive_part_marker(marker, 3, 3).is_in(sign)
    assert not derive_part_marker(marker, 2, 3).is_in("〔K7QM-4R2T〕23日，接上层")
    assert marker.is_in(sign)
