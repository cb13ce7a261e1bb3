"""The exhaustive walk: under the product's rules no promise breaks.

With one rule changed, a promise breaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from publisher.domain.approval import ApprovalStatus
from publisher.domain.delivery import (
    AbsenceProven,
    Attempt,
    Cancelled,
    Delivery,
    DesiredState,
    Expired,
    LeaseExpired,
    Readback,
    Resolved,
    Restored,
    RetractionRequested,
    Revised,
    State,
)
from publisher.domain.lifecycle import advance
from publisher.domain.results import NotFound, Published, Rejected, Unknown
from publisher.domain.verification import proves_absent
from tests.unit.domain.model_state import (
    ANOTHERS,
    LONG_AGO,
    NOT_APPROVED,
    VISIBILITY_WINDOW,
    Rules,
)
from tests.unit.domain.walk import Promise, walk


@pytest.mark.long(seconds=30)
def test_a_delivery_makes_one_post_at_most_and_its_record_is_true():
    """F25: no order of crashes, late replies or posts, wrong reads or orders breaks a promise.

    All states occur.
    """
    walked = walk(Rules())
    assert walked.breach is None, "\n".join(walked.way)
    assert walked.states == frozenset(State)
    assert walked.snapshots > 40_000


@pytest.mark.extra
@pytest.mark.long(seconds=90)
def test_a_text_of_two_parts_is_published_completely_or_a_person_knows():
    """With a further part nothing is doubled and nothing published is lost.

    No incomplete text counts as complete.
    """
    walked = walk(Rules(parts=1))
    assert walked.breach is None, "\n".join(walked.way)
    assert walked.states == frozenset(State)
    assert walked.snapshots > 90_000


REVIEW = 1
"""The time in ticks that a review hides its post."""


@pytest.mark.extra
@pytest.mark.long(seconds=50)
def test_a_review_that_hides_its_post_makes_no_second_one():
    """F47: no promise breaks where no list shows a post under review.

    Absence counts once the longest review is over.
    """
    walked = walk(Rules(review=REVIEW, visibility_window=VISIBILITY_WINDOW + REVIEW))
    assert walked.breach is None, "\n".join(walked.way)
    assert walked.states == frozenset(State)


def changed_rules(
    then: Callable[[Delivery, Delivery, Any], Delivery | None], parts: int = 0
) -> Rules:
    """Return rules that apply `then` to the results of `advance`, unless it returns None."""

    def step(delivery: Delivery, event: Any, **rest: Any) -> Delivery:
        after = advance(delivery, event, **rest)
        return then(delivery, after, event) or after

    return Rules(advance=step, parts=parts)


def lapsed_call_is_due_again(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_call = before.state is State.SENDING and isinstance(event, LeaseExpired)
    return replace(after, state=State.DUE) if is_call else None


def unknown_is_retried(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_unknown = before.state is State.SENDING and isinstance(event, Unknown)
    return replace(after, state=State.RETRYING) if is_unknown else None


def resends_again_and_again(
    _before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    return (
        replace(after, was_resent=False) if isinstance(event, AbsenceProven) else None
    )


def called_comes_back(delivery: Delivery, event: Any, **rest: Any) -> Delivery:
    """Restore any ended delivery, as if it had never been called."""
    if not isinstance(event, Restored):
        return advance(delivery, event, **rest)
    untouched = replace(
        delivery, attempts=0, receipt=None, desired=DesiredState.AS_PLANNED
    )
    return replace(advance(untouched, event, **rest), attempts=delivery.attempts)


def stop_is_forgotten(
    before: Delivery, after: Delivery, _event: object
) -> Delivery | None:
    is_stopped = before.state is State.SENDING and after.state is State.CANCELLED
    return replace(after, state=State.RETRYING) if is_stopped else None


def review_is_believed_absent(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_review = (
        before.state is State.UNKNOWN
        and before.ticket is not None
        and isinstance(event, AbsenceProven)
    )
    return (
        replace(after, state=State.DUE, was_resent=True)
        if is_review and event.can_resend
        else None
    )


def retracting_review_is_believed_absent(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_review = before.state is State.RETRACTING and isinstance(event, AbsenceProven)
    return replace(after, state=State.RETRACTED) if is_review else None


def review_never_closes(
    before: Delivery, after: Delivery, _event: object
) -> Delivery | None:
    is_closed = (
        before.state is State.RETRACTING
        and after.state is State.RETRACTED
        and before.ticket is not None
    )
    return (
        replace(after, state=State.RETRACTING, ticket=before.ticket)
        if is_closed
        else None
    )


def confirmation_is_no_proof(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_word = (
        before.state is State.HELD
        and isinstance(event, Resolved)
        and event.to is State.PUBLISHED
    )
    return replace(after, receipt=None) if is_word else None


def incomplete_is_enough(
    _before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_incomplete = isinstance(event, Published) and after.state is State.DUE
    return replace(after, state=State.PUBLISHED) if is_incomplete else None


def parts_receipt_is_kept(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_part = isinstance(event, Published) and before.is_incomplete
    return replace(after, receipt=event.receipt) if is_part else None


def checkpoint_is_lost(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_lapsed = before.state is State.CLAIMED and isinstance(event, LeaseExpired)
    return replace(after, parts_done=0) if is_lapsed else None


def edit_is_forgotten(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_remembered = (
        before.state is not State.HELD
        and after.desired is DesiredState.EDITED
        and isinstance(event, Revised)
    )
    return (
        replace(after, desired=DesiredState.AS_PLANNED)
        if is_remembered and after.state is before.state
        else None
    )


def refusal_forgets_the_edit(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_edited = before.desired is DesiredState.EDITED and isinstance(event, Rejected)
    return replace(after, state=State.FAILED) if is_edited else None


def begun_counts_as_unbegun(
    before: Delivery, after: Delivery, event: object
) -> Delivery | None:
    is_call = (
        before.state is State.SENDING
        and isinstance(event, LeaseExpired)
        and after.state is State.UNKNOWN
    )
    return replace(after, state=State.DUE) if is_call else None


def incomplete_ends(
    event_type: type, state: State
) -> Callable[[Delivery, Delivery, Any], Delivery | None]:
    def then(before: Delivery, after: Delivery, event: object) -> Delivery | None:
        is_incomplete = (
            before.is_incomplete
            and isinstance(event, event_type)
            and before.state is not State.HELD
        )
        return (
            replace(after, state=state)
            if is_incomplete and after.state in {State.HELD, State.RETRACTING}
            else None
        )

    return then


def one_readback(
    readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool
) -> bool:
    return proves_absent([*readbacks, *readbacks], attempt, is_window_over=True)


def early_readbacks(
    readbacks: Sequence[Readback], attempt: Attempt, *, is_window_over: bool
) -> bool:
    return proves_absent(readbacks, attempt, is_window_over=True)


def one_report(
    readbacks: Sequence[Readback],
    predicate: Callable[[Readback], bool],
    _min_span: object,
) -> bool:
    return predicate(readbacks[-1])


def fingerprint_of_one_account(status: ApprovalStatus) -> bool:
    """Keep the approvals after a change on another account.

    The fingerprint is treated as if it were that of our own text.
    """
    elsewhere = NOT_APPROVED["other text on the other account"].approvals
    given = [
        replace(each, fingerprint=status.fingerprint) if each in elsewhere else each
        for each in status.approvals
    ]
    return replace(status, approvals=given).is_approved


def changed_text_keeps_approvals(status: ApprovalStatus) -> bool:
    given = [replace(each, fingerprint=status.fingerprint) for each in status.approvals]
    return replace(status, approvals=given).is_approved


def moved_forward_keeps_approvals(status: ApprovalStatus) -> bool:
    return replace(status, scheduled_at=None).is_approved


def author_counts(status: ApprovalStatus) -> bool:
    return replace(status, barred=frozenset()).is_approved


def person_counts_twice(status: ApprovalStatus) -> bool:
    given = [
        replace(each, person=f"{each.person} {number}")
        for number, each in enumerate(status.approvals)
    ]
    return replace(
        status, approvals=given, barred=frozenset({f"{status.author} 1"})
    ).is_approved


def one_person_is_enough(status: ApprovalStatus) -> bool:
    return bool(status.approvals)


MUTANTS = {
    "lapsed lease in sending is due again": (
        changed_rules(lapsed_call_is_due_again),
        Promise.AT_MOST_ONE,
    ),
    "unknown outcome is retried": (
        changed_rules(unknown_is_retried),
        Promise.AT_MOST_ONE,
    ),
    "one readback is believed": (
        Rules(shows_absence=one_readback),
        Promise.AT_MOST_ONE,
    ),
    "one reported deletion is believed": (
        Rules(is_confirmed=one_report),
        Promise.AN_END_IS_TRUE,
    ),
    "readbacks before the window ends are believed": (
        Rules(shows_absence=early_readbacks),
        Promise.AT_MOST_ONE,
    ),
    "visibility window too short": (
        Rules(visibility_window=VISIBILITY_WINDOW - 1),
        Promise.AT_MOST_ONE,
    ),
    "hidden review is not waited for": (Rules(review=REVIEW), Promise.AT_MOST_ONE),
    "page one counts as all": (
        Rules(incomplete_readback=lambda: NotFound(covered_since=LONG_AGO)),
        Promise.AT_MOST_ONE,
    ),
    "frozen worker starts its call": (
        Rules(may_start=lambda _left: True),
        Promise.AT_MOST_ONE,
    ),
    "call starts at the end of its lease": (
        Rules(may_start=lambda left: left >= 0),
        Promise.AT_MOST_ONE,
    ),
    "outcome of an old fencing token is believed": (
        Rules(
            accepts_outcome=lambda *, is_current, state: (
                is_current or state is State.SENDING
            )
        ),
        Promise.AT_MOST_ONE,
    ),
    "review is believed absent": (
        changed_rules(review_is_believed_absent),
        Promise.AT_MOST_ONE,
    ),
    "newest item is adopted": (
        Rules(possible_match=lambda: Published(receipt=ANOTHERS)),
        Promise.PUBLISHED_IS_TRUE,
    ),
    "second resend after absence": (
        changed_rules(resends_again_and_again),
        Promise.ONE_RESEND,
    ),
    "cancellation is forgotten": (
        changed_rules(stop_is_forgotten),
        Promise.CANCELLATION_HOLDS,
    ),
    "what was called comes back": (
        Rules(advance=called_comes_back),
        Promise.AN_END_STAYS,
    ),
    "retraction is forgotten": (
        changed_rules(stop_is_forgotten),
        Promise.RETRACTION_HOLDS,
    ),
    "edit while unknown is forgotten": (
        changed_rules(edit_is_forgotten),
        Promise.EDIT_HOLDS,
    ),
    "a refusal forgets an edit": (
        changed_rules(refusal_forgets_the_edit),
        Promise.EDIT_HOLDS,
    ),
    "begun call counts as not begun": (
        changed_rules(begun_counts_as_unbegun),
        Promise.AT_MOST_ONE,
    ),
    "retracted while under review": (
        changed_rules(retracting_review_is_believed_absent),
        Promise.AN_END_IS_TRUE,
    ),
    "refused while retracting stays open": (
        changed_rules(review_never_closes),
        Promise.AN_END_COMES,
    ),
    "published by a person without a receipt": (
        changed_rules(confirmation_is_no_proof),
        Promise.PUBLISHED_IS_TRUE,
    ),
    "unknown part is sent again": (
        changed_rules(unknown_is_retried, parts=1),
        Promise.AT_MOST_ONE,
    ),
    "checkpoint is lost": (
        changed_rules(checkpoint_is_lost, parts=1),
        Promise.AT_MOST_ONE,
    ),
    "incomplete counts as complete": (
        changed_rules(incomplete_is_enough, parts=1),
        Promise.PUBLISHED_IS_WHOLE,
    ),
    "part's receipt is kept": (
        changed_rules(parts_receipt_is_kept, parts=1),
        Promise.PUBLISHED_IS_TRUE,
    ),
    "incomplete expires": (
        changed_rules(incomplete_ends(Expired, State.EXPIRED), parts=1),
        Promise.AN_END_IS_TRUE,
    ),
    "incomplete is cancelled": (
        changed_rules(incomplete_ends(Cancelled, State.CANCELLED), parts=1),
        Promise.AN_END_IS_TRUE,
    ),
    "refused part fails it": (
        changed_rules(incomplete_ends(Rejected, State.FAILED), parts=1),
        Promise.AN_END_IS_TRUE,
    ),
    "incomplete is retracted by a person": (
        changed_rules(incomplete_ends(RetractionRequested, State.CANCELLED), parts=1),
        Promise.AN_END_IS_TRUE,
    ),
    "approvals are read at the claim": (
        Rules(reads_approvals_at_claim=True),
        Promise.APPROVED,
    ),
    "ended approvals are honoured": (
        Rules(reads_ended_approvals=True),
        Promise.APPROVED,
    ),
    "fingerprint of one account only": (
        Rules(is_approved=fingerprint_of_one_account),
        Promise.APPROVED,
    ),
    "changed text keeps its approvals": (
        Rules(is_approved=changed_text_keeps_approvals),
        Promise.APPROVED,
    ),
    "brought forward it keeps its approvals": (
        Rules(is_approved=moved_forward_keeps_approvals),
        Promise.APPROVED,
    ),
    "author's approval counts": (Rules(is_approved=author_counts), Promise.APPROVED),
    "one person approves twice": (
        Rules(is_approved=person_counts_twice),
        Promise.APPROVED,
    ),
    "one person is enough": (Rules(is_approved=one_person_is_enough), Promise.APPROVED),
}


IN_CI = 8
"""One changed rule of so many is tried in CI; scripts/test-extra tries the others."""


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.extra if place % IN_CI else ())
        for place, name in enumerate(MUTANTS)
    ],
)
def test_a_changed_rule_breaks_a_promise(name):
    """The walk shows the purpose of each rule: without it, a promise is broken."""
    rules, promise = MUTANTS[name]
    walked = walk(rules, {promise})
    assert walked.breach == promise, "\n".join((name, *walked.way))
