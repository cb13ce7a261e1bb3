"""A text of several parts: one delivery with a checkpoint after each call.

No incomplete text is forgotten.
"""

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

PART_RECEIPT = Receipt(
    remote_id="43", url="https://example.gov.cn/42#43", published_at=NOW
)
LIVE = Published(receipt=RECEIPT, is_text_confirmed=True)
PART_PUBLISHED = Published(receipt=PART_RECEIPT)
SENT = (Claimed(), AttemptStarted())
WAITED = (State.DUE, State.CLAIMED, State.RETRYING)


def incomplete(state, **changes):
    """Return a delivery of three parts with the first one published."""
    return in_state(state, extra_parts=2, parts_done=1, receipt=RECEIPT, **changes)


def test_parts_follow_each_other_as_attempts_of_one_delivery():
    """Each published part makes the next one due; the last one publishes the whole.

    The whole has the post's receipt.
    """
    delivery = in_state(
        State.SENDING,
        extra_parts=2,
        unknown_since=NOW,
        readbacks=3,
        was_resent=True,
        failures=2,
    )
    first = after(delivery, LIVE)
    assert (first.state, first.parts_done, first.receipt, first.next_action_at) == (
        State.DUE,
        1,
        RECEIPT,
        None,
    )
    assert (first.unknown_since, first.readbacks, first.was_resent, first.failures) == (
        None,
        0,
        False,
        0,
    )
    second = after(first, *SENT, SUBMITTED, PART_PUBLISHED)
    assert (second.state, second.parts_done, second.attempts, second.ticket) == (
        State.DUE,
        2,
        2,
        None,
    )
    last = after(second, *SENT, Unknown(reason="lost"), PART_PUBLISHED)
    assert (last.state, last.parts_done, last.attempts, last.receipt) == (
        State.PUBLISHED,
        3,
        3,
        RECEIPT,
    )


def test_a_text_without_further_parts_is_published_at_once():
    """A delivery without parts, as nearly all are, is never incomplete."""
    published = after(in_state(State.SENDING), LIVE)
    assert (published.state, published.parts_done, published.is_incomplete) == (
        State.PUBLISHED,
        1,
        False,
    )


def test_a_part_that_was_not_sent_is_tried_again_automatically():
    """A refusal without effect waits and keeps the progress."""
    waits = after(incomplete(State.SENDING), Busy(code="busy", reason=""), BecameDue())
    assert (waits.state, waits.parts_done, waits.receipt) == (State.DUE, 1, RECEIPT)


@pytest.mark.parametrize("state", WAITED)
@pytest.mark.parametrize("event", [Cancelled(reason="not wanted"), Expired()])
def test_an_incomplete_text_never_ends_by_itself(state, event):
    """F72, F73: cancelled or too late, something is published, so a person decides."""
    held = after(incomplete(state), event)
    assert (held.state, held.reason, held.receipt) == (
        State.HELD,
        HoldReason.INCOMPLETE,
        RECEIPT,
    )
    assert (held.desired is DesiredState.CANCELLED) is isinstance(event, Cancelled)
    assert after(in_state(state, extra_parts=2), event).state in {
        State.CANCELLED,
        State.EXPIRED,
    }


def test_a_rejected_part_leaves_an_incomplete_text():
    """F45: a part's text may be rejected for good, but published parts are not called failed."""
    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN):
        held = after(incomplete(state), Rejected(code="content", reason=""))
        assert (held.state, held.reason) == (State.HELD, HoldReason.INCOMPLETE)
    assert (
        after(incomplete(State.DUE), Held(reason=HoldReason.IMAGE_MISSING)).reason
        == HoldReason.IMAGE_MISSING
    )


def test_a_cancellation_stops_before_the_next_part():
    """F72: a cancellation while a part is unknown sends nothing more and asks a person.

    Published parts stay.
    """
    unknown = after(
        incomplete(State.SENDING), Cancelled(reason="no"), Unknown(reason="lost")
    )
    assert after(unknown, PART_PUBLISHED).reason == HoldReason.INCOMPLETE
    assert (
        after(unknown, AbsenceProven(can_resend=True)).reason == HoldReason.INCOMPLETE
    )
    last = after(replace(unknown, parts_done=2), PART_PUBLISHED)
    assert last.state is State.PUBLISHED


@pytest.mark.parametrize("state", [*WAITED, State.SUBMITTED, State.UNKNOWN, State.HELD])
def test_an_incomplete_text_can_be_retracted(state):
    """F77: from wherever it waits, an order deletes the post, and its parts with it."""
    ordered = after(incomplete(state), RetractionRequested(reason="wrong"))
    assert (ordered.state, ordered.next_action_at, ordered.receipt) == (
        State.RETRACTING,
        NOW,
        RECEIPT,
    )
    assert after(ordered, Deleted()).state is State.RETRACTED


@pytest.mark.parametrize(
    "outcome",
    [
        PART_PUBLISHED,
        SUBMITTED,
        NotSent(reason="dns"),
        Rejected(code="content", reason=""),
        Blocked(code="captcha", reason=""),
        Unknown(reason="lost"),
        LeaseExpired(),
    ],
)
def test_a_retraction_outlasts_any_outcome_of_a_part(outcome):
    """F77: a retraction while a part is being sent deletes the post after any outcome."""
    ordered = after(
        incomplete(State.SENDING), RetractionRequested(reason="wrong"), outcome
    )
    assert (ordered.state, ordered.receipt) == (State.RETRACTING, RECEIPT)


def test_a_login_refused_twice_does_not_prevent_a_retraction():
    """F43, F77: the order is older than the question."""
    refused = after(
        incomplete(State.SENDING, auth_failures=1, desired=DesiredState.RETRACTED),
        CredentialExpired(reason="token"),
    )
    assert refused.state is State.RETRACTING


def test_a_retraction_of_a_waiting_delivery_cancels_it():
    """Nothing of it is published: there is nothing to delete, and nothing more to send."""
    for state in WAITED:
        assert (
            after(in_state(state), RetractionRequested(reason="wrong")).state
            is State.CANCELLED
        )
    with pytest.raises(KeyError):
        after(in_state(State.PENDING), RetractionRequested(reason="wrong"))


def test_a_part_is_never_sent_again_where_the_platform_forbids_it():
    """Proven absence asks a person where the platform forbids a resend of a part.

    Where the platform allows it, the part is sent again, not the post.
    """
    unknown = incomplete(State.UNKNOWN, unknown_since=NOW - timedelta(minutes=20))
    assert (
        after(unknown, AbsenceProven(can_resend=False)).reason
        == HoldReason.NOT_PUBLISHED
    )
    again = after(unknown, AbsenceProven(can_resend=True))
    assert (again.state, again.parts_done, again.was_resent) == (State.DUE, 1, True)
    late = after(replace(unknown, expires_at=NOW), AbsenceProven(can_resend=True))
    assert (late.state, late.reason) == (State.HELD, HoldReason.INCOMPLETE)


def test_resolutions_apply_to_the_part():
    """The four resolutions apply to the part, not to the whole text.

    `resend` sends the part, `published` counts it, `not-published` keeps the question, `cancel`
    drops the rest.
    """
    held = incomplete(
        State.HELD, unknown_since=NOW, reason=HoldReason.NOT_PUBLISHED.value
    )
    resent = after(held, Resolved(to=State.DUE, reason="not there"))
    assert (resent.state, resent.parts_done) == (State.DUE, 1)
    seen = after(
        held, Resolved(to=State.PUBLISHED, reason="seen", receipt=PART_RECEIPT)
    )
    assert (seen.state, seen.parts_done, seen.receipt, seen.reason) == (
        State.DUE,
        2,
        RECEIPT,
        "seen",
    )
    last = after(
        replace(held, parts_done=2),
        Resolved(to=State.PUBLISHED, reason="seen", receipt=PART_RECEIPT),
    )
    assert (last.state, last.parts_done, last.receipt) == (State.PUBLISHED, 3, RECEIPT)
    asked = after(held, Resolved(to=State.FAILED, reason="not there"))
    assert (asked.state, asked.reason) == (State.HELD, HoldReason.INCOMPLETE)
    given_up = after(asked, Resolved(to=State.CANCELLED, reason="enough"))
    assert (given_up.state, given_up.parts_done, given_up.reason) == (
        State.PUBLISHED,
        1,
        "enough",
    )


def test_a_cancelled_incomplete_text_is_not_sent_by_a_resolution():
    """F72: `resend` and `published` do not undo a cancellation; the question stays."""
    held = incomplete(State.HELD, desired=DesiredState.CANCELLED)
    assert (
        after(held, Resolved(to=State.DUE, reason="go on")).reason
        == HoldReason.INCOMPLETE
    )
    seen = after(
        held, Resolved(to=State.PUBLISHED, reason="seen", receipt=PART_RECEIPT)
    )
    assert (seen.state, seen.reason, seen.parts_done) == (
        State.HELD,
        HoldReason.INCOMPLETE,
        2,
    )


def test_an_expired_claim_of_an_incomplete_text_goes_back_to_its_part():
    """F01: a kill between two parts costs nothing but time."""
    lapsed = after(incomplete(State.CLAIMED), LeaseExpired())
    assert (lapsed.state, lapsed.parts_done, lapsed.receipt) == (State.DUE, 1, RECEIPT)


def test_a_part_is_known_by_its_prefix():
    """The prefix holds the part's number and the post's own marker, and no other part's marker."""
    marker = Marker(code="K7QM-4R2T")
    sign = format_part_prefix(marker, 2, 3)
    assert sign == "（接上层，2/3）〔K7QM-4R2T〕"
    assert derive_part_marker(marker, 2, 3).is_in("(接上层,2/3)〔k7qm 4r2t〕3000元")
    assert not derive_part_marker(marker, 3, 3).is_in(sign)
    assert not derive_part_marker(marker, 2, 3).is_in("〔K7QM-4R2T〕23日，接上层")
    assert marker.is_in(sign)
