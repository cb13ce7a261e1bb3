"""The accounts that a correction is sent to."""

from dataclasses import replace

import pytest

from publisher.domain.account import AccountId
from publisher.domain.correction import SkipReason, plan_correction
from publisher.domain.delivery import DesiredState, State
from tests.unit.domain.model_state import BORN

A, B = AccountId("a"), AccountId("b")


def course(*originals, corrections=(), targeted=(A,), speaking=(A, B)):
    return plan_correction(originals, corrections, targeted=targeted, active=speaking)


def at(state, account=A, **changes):
    return replace(BORN, state=state, account=account, **changes)


@pytest.mark.parametrize("state", State)
def test_every_state_of_the_original_has_its_effect(state):
    """A published original sends the correction, a possible one delays it.

    Any other state skips it for one reason.
    """
    drawn = course(at(state, attempts=1))
    if state is State.PUBLISHED:
        assert drawn.send_now == (A,)
    elif state in {
        State.SENDING,
        State.SUBMITTED,
        State.UNKNOWN,
        State.RETRACTING,
        State.HELD,
    }:
        assert drawn.waiting == (A,)
    else:
        assert not drawn.targets
        assert list(drawn.skipped.values()) == [(A,)]


@pytest.mark.parametrize(
    "state", [State.PENDING, State.DUE, State.CLAIMED, State.RETRYING, State.HELD]
)
def test_f104_the_original_is_stopped_where_it_is_not_out(state):
    """F104: an original that cannot have been called is stopped, as nothing needs a correction."""
    assert course(at(state, attempts=0)).stopped == (A,)
    assert course(at(State.CANCELLED, desired=DesiredState.CORRECTED)).stopped == (A,)


def test_an_original_of_which_some_parts_are_out_is_in_doubt():
    """A correction waits until a person has decided about a text that is published in part."""
    partly = at(State.RETRYING, attempts=2, parts_done=1, extra_parts=2)
    assert course(partly).waiting == (A,)


def test_one_published_copy_is_enough():
    """A published occurrence on an account counts first, then a possible, then a future one."""
    assert course(at(State.FAILED), at(State.PUBLISHED)).send_now == (A,)
    assert course(at(State.RETRACTED), at(State.UNKNOWN)).waiting == (A,)
    assert course(at(State.REMOVED), at(State.FAILED)).skipped == {
        SkipReason.DELETED: (A,)
    }


def test_the_correction_is_sent_to_no_account_twice():
    """Where it is published already, nothing is sent and nothing is skipped."""
    drawn = course(
        at(State.PUBLISHED),
        at(State.PUBLISHED, B),
        corrections=[at(State.PUBLISHED, B)],
    )
    assert (drawn.send_now, drawn.corrected, drawn.skipped) == ((A,), (B,), {})


def test_accounts_that_are_off_or_were_never_targeted_are_named():
    """A disabled account is named for correction by hand.

    An account that never got the original needs nothing.
    """
    drawn = course(at(State.PUBLISHED), targeted=(A, B), speaking=(B,))
    assert drawn.skipped == {
        SkipReason.SWITCHED_OFF: (A,),
        SkipReason.NOT_TARGETED: (B,),
    }
