"""The table of states: its content, its limits, and the data that its steps store.

No other step is possible.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from publisher.domain.account import (
    CRASH_RETRY_SPREAD,
    AccountId,
    LoginId,
    Platform,
    Timing,
)
from publisher.domain.delivery import (
    CHECKED_STATES,
    FINAL_STATES,
    OPEN_STATES,
    RESTORABLE_STATES,
    REVISABLE_STATES,
    WAITING_STATES,
    AbsenceProven,
    Actor,
    ApprovalMissing,
    Approved,
    AttemptStarted,
    BecameDue,
    Cancelled,
    Claimed,
    Delivery,
    DesiredState,
    Event,
    Expired,
    Held,
    LeaseExpired,
    Released,
    Resolved,
    Restored,
    RetractionRequested,
    ReviewPossible,
    Revised,
    Role,
    SignInRenewed,
    State,
)
from publisher.domain.errors import IllegalTransitionError
from publisher.domain.lifecycle import MAX_WORKER_CRASHES, TRANSITIONS, advance
from publisher.domain.post import DeliveryId, Fingerprint, OccurrenceKey, PostId
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotFound,
    NotSent,
    PossibleMatch,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
PATIENCE = Timing()
RECEIPT = Receipt(remote_id="42", url="https://example.gov.cn/42", published_at=NOW)
TICKET = Ticket(payload="7")

REVISED = Revised(
    rendered_hash=Fingerprint("new"),
    due_at=NOW + MINUTE,
    expires_at=NOW + 60 * MINUTE,
    max_delay=MINUTE,
    is_urgent=True,
    has_started=False,
)
EDITED = replace(REVISED, has_started=True)
SUBMITTED = Submitted(ticket=TICKET, check_again_at=NOW + MINUTE)
POSSIBLE_MATCH = PossibleMatch(remote_id="43", url="https://example.gov.cn/43")
EVENTS: tuple[Any, ...] = (
    BecameDue(),
    REVISED,
    Restored(content=REVISED),
    ApprovalMissing(until=NOW + MINUTE),
    Approved(expires_at=NOW + 30 * MINUTE),
    Claimed(),
    AttemptStarted(),
    Released(),
    LeaseExpired(),
    Cancelled(reason="not wanted"),
    Expired(),
    Held(reason=HoldReason.POISON),
    AbsenceProven(can_resend=True),
    ReviewPossible(),
    RetractionRequested(reason="wrong"),
    Resolved(to=State.FAILED, reason="not live"),
    SignInRenewed(),
    Published(receipt=RECEIPT),
    SUBMITTED,
    Rejected(code="content", reason=""),
    RateLimited(code="often", until=NOW + 30 * MINUTE),
    Busy(code="busy", reason=""),
    CredentialExpired(reason="token"),
    Blocked(code="captcha", reason="", hold_reason=HoldReason.CAPTCHA),
    NotSent(reason="cannot_connect"),
    Unknown(reason="timeout"),
    NotFound(covered_since=NOW),
    POSSIBLE_MATCH,
    Deleted(),
)
PAIRS = [(state, event) for state in State for event in EVENTS]


def name_of(value: Any) -> str:
    return value.value if isinstance(value, State) else type(value).__name__


def in_state(state: State, **changes: Any) -> Delivery:
    delivery = Delivery(
        id=DeliveryId(1),
        key=OccurrenceKey(post=PostId("post"), occurrence="once"),
        account=AccountId("account"),
        platform=Platform("weibo"),
        login=LoginId("weibo/secret"),
        state=state,
        version=7,
        rendered_hash=Fingerprint("old"),
        due_at=NOW - MINUTE,
        expires_at=NOW + 60 * MINUTE,
        max_delay=30 * MINUTE,
        updated_at=NOW - MINUTE,
        attempts=0 if state in RESTORABLE_STATES else 1,
        desired=DesiredState.RETRACTED
        if state is State.RETRACTING
        else DesiredState.AS_PLANNED,
    )
    return replace(delivery, **changes)


def after(delivery: Delivery, *events: Any) -> Delivery:
    """Apply the events one by one, each by the first role that may."""
    for event in events:
        rule = TRANSITIONS[delivery.state, type(event)]
        role = min(rule.roles)
        delivery = advance(
            delivery, event, by=Actor(role=role, name=role), now=NOW, timing=PATIENCE
        )
    return delivery


def rule_of(state: State, event: Any) -> Any:
    return TRANSITIONS.get((state, type(event)))


def test_the_table_matches_its_snapshot(snapshot):
    """Every line of the table, as text: a change of it appears in review."""
    lines = [
        f"{state:<10}  {event.__name__:<17} -> {_targets(state)[event]:<40}  "
        f"{', '.join(sorted(rule.roles))}"
        for (state, event), rule in sorted(
            TRANSITIONS.items(),
            key=lambda line: (order(line[0][0]), line[0][1].__name__),
        )
    ]
    assert "\n".join(lines) == snapshot


def _targets(state: State) -> dict[type, str]:
    return {
        event: ", ".join(sorted(rule.targets))
        if len(rule.targets) < 10
        else "all but " + ", ".join(sorted(set(State) - rule.targets))
        for (source, event), rule in TRANSITIONS.items()
        if source is state
    }


def order(state: State) -> int:
    return list(State).index(state)


def test_the_groups_of_states_fit_together():
    """Waiting, unknown, ended and the rest cover all states and do not overlap."""
    assert len(WAITING_STATES) + len(CHECKED_STATES) + len(FINAL_STATES) + len(
        {State.SENDING, State.HELD, State.PUBLISHED}
    ) == len(State)
    assert {State.PUBLISHED} | OPEN_STATES | FINAL_STATES == set(State)


def test_every_kind_of_event_is_tested_here():
    """The list of this file holds each event of the domain once."""
    assert {type(event) for event in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in PAIRS if not rule_of(*pair)], ids=name_of
)
def test_unlisted_events_are_refused(state, event):
    """An event without a line raises, for every role; so ended states never change."""
    for role in Role:
        with pytest.raises(IllegalTransitionError):
            advance(
                in_state(state),
                event,
                by=Actor(role=role, name=role),
                now=NOW,
                timing=PATIENCE,
            )


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in PAIRS if rule_of(*pair)], ids=name_of
)
def test_listed_events_lead_to_their_state_and_need_their_role(state, event):
    """A listed event leads to a listed state, one version on; a wrong role raises."""
    rule = rule_of(state, event)
    for role in Role:
        actor = Actor(role=role, name=role)
        if role not in rule.roles:
            with pytest.raises(IllegalTransitionError):
                advance(in_state(state), event, by=actor, now=NOW, timing=PATIENCE)
            continue
        stepped = advance(in_state(state), event, by=actor, now=NOW, timing=PATIENCE)
        assert stepped.state in rule.targets
        assert (stepped.version, stepped.updated_at) == (8, NOW)


def test_an_end_is_left_for_what_was_never_called_alone():
    """I12: only the schedule leads out of an end, for a lost delivery that was never called."""
    ways_out = {
        (state, event): rule.roles
        for (state, event), rule in TRANSITIONS.items()
        if state in FINAL_STATES
    }
    assert ways_out == {
        (state, Restored): {Role.PLANNER} for state in RESTORABLE_STATES
    }


def test_f100_what_was_never_called_comes_back_as_it_was():
    """F100: a removed or expired delivery waits again with its time and its deadline.

    A rate limit had extended the deadline.
    """
    lost = in_state(State.PENDING, attempts=0, first_attempt_deadline=NOW + 45 * MINUTE)
    same = replace(
        REVISED,
        due_at=lost.due_at,
        max_delay=lost.max_delay,
        expires_at=lost.expires_at,
        is_urgent=False,
    )
    content = replace(same, rendered_hash=lost.rendered_hash)
    for end in (Cancelled(reason="removed"), Expired()):
        role = Role.PLANNER if isinstance(end, Cancelled) else Role.MAINTENANCE
        ended = advance(
            lost, end, by=Actor(role=role, name=role), now=NOW, timing=PATIENCE
        )
        back = after(ended, Restored(content=content))
        assert replace(
            back, version=lost.version, updated_at=lost.updated_at
        ) == replace(lost, next_action_at=lost.due_at)


def test_f100_what_comes_back_with_another_text_than_was_sent_is_held():
    """I21: a delivery that comes back with another text than was sent is held.

    Another account has the old text already. A person decides on the text for this account.
    """
    back = after(in_state(State.CANCELLED), Restored(content=EDITED))
    assert (back.state, back.reason, back.rendered_hash) == (
        State.HELD,
        HoldReason.EDITED,
        "old",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"attempts": 1},
        {"desired": DesiredState.CANCELLED},
        {"desired": DesiredState.RETRACTED},
        {"receipt": RECEIPT},
        {"reported_url": "https://example.gov.cn/42"},
    ],
    ids=", ".join,
)
def test_f100_what_was_called_or_ended_by_a_person_does_not_come_back(changes):
    """I1: an edit of a file undoes neither a possible publication nor a person's word.

    The publication is possible after a call.
    """
    for state in RESTORABLE_STATES:
        with pytest.raises(IllegalTransitionError):
            after(in_state(state, **changes), Restored(content=REVISED))


def test_f100_a_persons_end_of_a_held_delivery_is_remembered():
    """A person's end of a held delivery is final.

    A follow-up that ended for want of its original may come back.
    """
    held = in_state(State.HELD, attempts=0)
    for to in RESTORABLE_STATES:
        assert (
            after(held, Resolved(to=to, reason="no")).desired is DesiredState.CANCELLED
        )
    maintenance = Actor(role=Role.MAINTENANCE, name="maintenance")
    due = in_state(State.DUE, attempts=0)
    orphaned = advance(
        due, Cancelled(reason="original"), by=maintenance, now=NOW, timing=PATIENCE
    )
    assert orphaned.desired is DesiredState.AS_PLANNED


def test_an_expired_lease_is_due_before_the_intent_and_unknown_after_it():
    """F01, F02: a claim goes back, a call becomes unknown; neither is lost."""
    claimed, sending = in_state(State.CLAIMED), in_state(State.SENDING)
    assert after(claimed, LeaseExpired()).state is State.DUE
    unknown = after(sending, LeaseExpired())
    assert (
        unknown.state,
        unknown.reason,
        unknown.unknown_since,
        unknown.worker_crashes,
    ) == (
        State.UNKNOWN,
        "worker_lost",
        NOW,
        1,
    )


def test_a_post_that_crashes_its_worker_is_held():
    """F89: after the last allowed crash a person decides; a resend starts the count again."""
    poison = after(
        in_state(State.CLAIMED, worker_crashes=MAX_WORKER_CRASHES - 1), LeaseExpired()
    )
    assert (poison.state, poison.reason) == (State.HELD, HoldReason.POISON)
    assert after(poison, Resolved(to=State.DUE, reason="looked at")).worker_crashes == 0


def test_f89_a_delivery_that_crashed_with_other_suspects_is_not_held():
    """Several suspects of a crash come back further apart, until one is alone.

    With several suspects the cause of the crash is unknown.
    """
    claimed = in_state(State.CLAIMED, worker_crashes=1)
    again = after(claimed, LeaseExpired(is_only_suspect=False))
    assert (again.state, again.worker_crashes) == (State.DUE, 2)
    assert after(again, Claimed(), LeaseExpired()).reason == HoldReason.POISON


def test_f89_deliveries_of_one_crash_are_tried_again_at_different_times():
    """The deliveries of a crashed worker come back one by one.

    The one at fault then crashes alone.
    """
    waits = {
        after(
            in_state(State.CLAIMED, fencing_token=fencing_token), LeaseExpired()
        ).next_action_at
        for fencing_token in range(1, 9)
    }
    assert len(waits) == 8
    assert all(NOW <= (instant or NOW) <= NOW + CRASH_RETRY_SPREAD for instant in waits)


def test_f89_an_answered_call_resets_the_crashes():
    """Only crashes since the last answer count.

    A worker with an answer was not crashed by that call.
    """
    for outcome in (
        NotSent(reason="dns"),
        Busy(code="busy", reason=""),
        Published(receipt=RECEIPT),
    ):
        assert (
            after(in_state(State.SENDING, worker_crashes=1), outcome).worker_crashes
            == 0
        )


def test_a_resend_order_is_stored_with_the_attempt_before_it():
    """A resend order is stored with its previous attempt, and no own step changes it.

    The data that an adapter had prepared for that attempt may be used up.
    """
    held = in_state(State.HELD, attempts=3, unknown_since=NOW)
    ordered = after(held, Resolved(to=State.DUE, reason="looked, not there"))
    assert ordered.resend_after_attempt == 3
    assert (
        after(
            ordered, Claimed(), AttemptStarted(), NotSent(reason="dns")
        ).resend_after_attempt
        == 3
    )
    assert (
        after(
            in_state(State.UNKNOWN, attempts=3), AbsenceProven(can_resend=True)
        ).resend_after_attempt
        == 0
    )


@pytest.mark.parametrize("state", [State.CLAIMED, State.SENDING])
def test_f82_failed_writes_of_a_running_worker_are_no_crash(state):
    """It is due again at once, however often that happens."""
    again = after(
        in_state(state, worker_crashes=MAX_WORKER_CRASHES - 1),
        LeaseExpired(may_have_started=False, has_worker_crashed=False),
    )
    assert (again.state, again.worker_crashes, again.next_action_at) == (
        State.DUE,
        MAX_WORKER_CRASHES - 1,
        None,
    )


def test_f02_a_call_that_provably_never_began_is_not_unknown():
    """The delivery is due again, is not late because of it, and has not used up its second call."""
    announced = in_state(State.SENDING, first_attempt_deadline=NOW + MINUTE)
    again = after(announced, LeaseExpired(may_have_started=False))
    assert (
        again.state,
        again.worker_crashes,
        again.was_resent,
        again.first_attempt_deadline,
    ) == (
        State.DUE,
        1,
        False,
        NOW + MINUTE,
    )
    cancelled = after(
        announced, Cancelled(reason="no"), LeaseExpired(may_have_started=False)
    )
    assert cancelled.state is State.CANCELLED


def test_a_login_refused_twice_in_a_row_is_held():
    """F40, F43: one refusal is tried again at once, the second in a row needs a person."""
    once = after(in_state(State.SENDING), CredentialExpired(reason="token"))
    assert (once.state, once.next_action_at) == (State.RETRYING, NOW)
    twice = after(
        once,
        BecameDue(),
        Claimed(),
        AttemptStarted(),
        CredentialExpired(reason="token"),
    )
    assert (twice.state, twice.reason) == (State.HELD, HoldReason.AUTH)
    between = after(
        once, BecameDue(), Claimed(), AttemptStarted(), Busy(code="busy", reason="")
    )
    assert between.auth_failures == 0


def test_a_rate_limit_is_waited_out():
    """F26: a rate limit is waited out until the later of the platform's instant and ours.

    Our instant counts where the platform's is in the past.
    """
    limited = after(
        in_state(State.SENDING), RateLimited(code="often", until=NOW + 30 * MINUTE)
    )
    assert limited.next_action_at == NOW + 30 * MINUTE
    past = after(in_state(State.SENDING), RateLimited(code="often", until=NOW - MINUTE))
    assert past.next_action_at > NOW


def test_a_busy_platform_says_when_to_come_back():
    """The platform's instant counts where it is later than ours, for a day at most."""
    sending = in_state(State.SENDING)
    assert (
        after(
            sending, Busy(code="busy", reason="", until=NOW + 30 * MINUTE)
        ).next_action_at
        == NOW + 30 * MINUTE
    )
    assert (
        after(
            sending, Busy(code="busy", reason="", until=NOW + 60000 * MINUTE)
        ).next_action_at
        == NOW + 1440 * MINUTE
    )
    soonest = after(sending, Busy(code="busy", reason="")).next_action_at
    assert (
        after(sending, Busy(code="busy", reason="", until=NOW - MINUTE)).next_action_at
        == soonest
    )


def test_what_the_platform_still_prepares_is_no_failure():
    """The next attempt comes at the platform's instant, however often; it makes no post late."""
    delivery = in_state(State.SENDING, failures=3, first_attempt_deadline=NOW + MINUTE)
    for minutes in (1, 5, 9):
        waiting = after(
            delivery, NotSent(reason="video_in_work", until=NOW + minutes * MINUTE)
        )
        assert (waiting.state, waiting.next_action_at) == (
            State.RETRYING,
            NOW + minutes * MINUTE,
        )
        assert (waiting.reason, waiting.failures) == ("video_in_work", 3)
        assert (
            waiting.first_attempt_deadline
            == NOW + minutes * MINUTE + delivery.max_delay
        )
    assert after(delivery, NotSent(reason="x", until=NOW - MINUTE)).next_action_at > NOW
    assert (
        after(delivery, NotSent(reason="x", until=NOW + 60000 * MINUTE)).next_action_at
        == NOW + 1440 * MINUTE
    )


@pytest.mark.parametrize("state", [State.UNKNOWN, State.SUBMITTED, State.RETRACTING])
@pytest.mark.parametrize("receipt", [None, RECEIPT])
def test_a_rate_limited_read_is_taken_again_no_sooner_than_allowed_f26(state, receipt):
    """F26: a rate-limited read shows nothing, changes nothing and waits for the limit.

    Our own backoff may make the wait longer.
    """
    asked = in_state(state, unknown_since=NOW, receipt=receipt)
    limited = after(asked, RateLimited(code="often", until=NOW + 30 * MINUTE))
    assert (limited.state, limited.reason, limited.next_action_at) == (
        state,
        "rate_limited",
        NOW + 30 * MINUTE,
    )
    for until in (None, NOW - MINUTE):
        assert (
            after(asked, RateLimited(code="often", until=until)).next_action_at
            == after(asked, Unknown(reason="timeout")).next_action_at
        )


def test_absence_allows_one_second_call_only():
    """Due once; then held; held at once where the platform allows none; expired past the expiry."""
    unknown = in_state(State.UNKNOWN, unknown_since=NOW - 20 * MINUTE)
    due = after(unknown, AbsenceProven(can_resend=True))
    assert (due.state, due.was_resent) == (State.DUE, True)
    again = after(
        due,
        Claimed(),
        AttemptStarted(),
        Unknown(reason="timeout"),
        AbsenceProven(can_resend=True),
    )
    assert (again.state, again.reason) == (State.HELD, HoldReason.NOT_PUBLISHED)
    assert (
        after(unknown, AbsenceProven(can_resend=False)).reason
        == HoldReason.NOT_PUBLISHED
    )
    assert (
        after(replace(unknown, expires_at=NOW), AbsenceProven(can_resend=True)).state
        is State.EXPIRED
    )


def test_a_resend_out_of_an_unknown_outcome_is_the_second_call():
    """After a person's resend of an unknown outcome, no absence causes a third call."""
    resent = after(
        in_state(State.HELD, unknown_since=NOW),
        Resolved(to=State.DUE, reason="not live"),
    )
    assert resent.was_resent
    unknown = after(resent, Claimed(), AttemptStarted(), Unknown(reason="timeout"))
    assert (
        after(unknown, AbsenceProven(can_resend=True)).reason
        == HoldReason.NOT_PUBLISHED
    )
    resolved = after(
        in_state(State.HELD), Resolved(to=State.DUE, reason="signed in again")
    )
    assert not resolved.was_resent


def test_a_ticket_takes_precedence_over_absence():
    """A delivery under review is neither sent again nor called deleted after any list.

    The post may still be published.
    """
    looked_for = in_state(State.UNKNOWN, ticket=TICKET)
    assert after(looked_for, AbsenceProven(can_resend=True)).state is State.HELD
    retracting = in_state(State.RETRACTING, ticket=TICKET)
    assert after(retracting, AbsenceProven(can_resend=True)).state is State.RETRACTING
    submitted = in_state(State.SUBMITTED, ticket=TICKET)
    assert after(submitted, AbsenceProven(can_resend=True)).state is State.SUBMITTED


def test_a_rejecting_review_ends_a_retraction():
    """Without a receipt a rejection is the post's, and ends its retraction.

    Nothing is published then. With a receipt the rejection is the deletion's, and the delivery
    stays red.
    """
    waiting = in_state(State.RETRACTING, ticket=TICKET)
    assert after(waiting, Rejected(code="review", reason="")).state is State.RETRACTED
    live = in_state(State.RETRACTING, receipt=RECEIPT)
    stuck = after(live, Rejected(code="denied", reason=""))
    assert (stuck.state, stuck.reason) == (State.RETRACTING, "denied")
    assert stuck.next_action_at > NOW


def test_a_cancellation_is_stored_while_a_call_is_unknown():
    """F72: a cancellation leads back to no wait, and a published post stays published."""
    for outcome in (
        NotSent(reason="dns"),
        Busy(code="busy", reason=""),
        RateLimited(code="often", until=None),
    ):
        assert (
            after(in_state(State.SENDING), Cancelled(reason="no"), outcome).state
            is State.CANCELLED
        )
    unknown = after(in_state(State.UNKNOWN), Cancelled(reason="no"))
    assert after(unknown, AbsenceProven(can_resend=True)).state is State.CANCELLED
    assert (
        after(unknown, REVISED, AbsenceProven(can_resend=True)).state is State.CANCELLED
    )
    assert after(unknown, Published(receipt=RECEIPT)).state is State.PUBLISHED
    held = after(in_state(State.HELD), Cancelled(reason="no"))
    assert after(held, Resolved(to=State.DUE, reason="resend")).state is State.CANCELLED


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (state, event)
        for state, event in PAIRS
        if state
        in {State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD, State.PUBLISHED}
        and rule_of(state, event)
        and not isinstance(event, Cancelled | RetractionRequested)
    ],
    ids=name_of,
)
def test_f104_a_corrected_delivery_goes_where_a_cancelled_one_does(state, event):
    """F104: a corrected delivery reaches no call that a cancelled one would not reach."""
    cancelled, corrected = (
        after(in_state(state, desired=desired), event)
        for desired in (DesiredState.CANCELLED, DesiredState.CORRECTED)
    )
    assert (
        replace(corrected, desired=cancelled.desired, reason=cancelled.reason)
        == cancelled
    )
    assert corrected.reason == cancelled.reason or (
        corrected.reason,
        cancelled.reason,
    ) == (
        "corrected",
        "cancelled_by_person",
    )


@pytest.mark.parametrize("state", sorted(REVISABLE_STATES))
def test_f104_a_correction_ends_the_wish_to_publish_its_original(state):
    """F104: a correction ends a waiting original, and is stored while a call is out.

    A later cancellation or retraction replaces it.
    """
    corrected = after(in_state(state), Cancelled(reason="corrected", is_corrected=True))
    assert corrected.desired is DesiredState.CORRECTED
    assert corrected.state is (State.CANCELLED if state in WAITING_STATES else state)
    assert corrected.can_be_resent is (state in WAITING_STATES)
    if state not in WAITING_STATES:
        assert (
            after(corrected, Cancelled(reason="no")).desired is DesiredState.CANCELLED
        )


def test_a_retraction_is_stored_while_a_call_is_unknown():
    """F77: a retraction leads to retracting or to an end after any outcome, never to a call."""
    ordered = after(in_state(State.SENDING), RetractionRequested(reason="wrong"))
    for outcome in (
        Published(receipt=RECEIPT),
        SUBMITTED,
        Unknown(reason="timeout"),
        LeaseExpired(),
    ):
        assert after(ordered, outcome).state is State.RETRACTING
    assert after(ordered, NotSent(reason="dns")).state is State.CANCELLED
    assert after(ordered, Rejected(code="content", reason="")).state is State.FAILED
    held = after(ordered, Blocked(code="captcha", reason=""))
    for to in (State.UNKNOWN, State.SUBMITTED, State.RETRACTING):
        assert after(held, Resolved(to=to, reason="readback")).state is State.RETRACTING
    assert (
        after(held, Resolved(to=State.PUBLISHED, reason="seen", receipt=RECEIPT)).state
        is State.RETRACTING
    )
    assert after(held, Resolved(to=State.DUE, reason="resend")).state is State.CANCELLED


@pytest.mark.parametrize(
    "findings",
    [
        (SUBMITTED, Deleted()),
        (SUBMITTED, Published(receipt=RECEIPT), Deleted()),
        (SUBMITTED, AbsenceProven(can_resend=True), SUBMITTED, Deleted()),
    ],
)
def test_a_retraction_from_a_review_keeps_the_persons_reason(findings):
    """The final reason is the person's reason for the deletion, for any reads on the way."""
    delivery = after(
        in_state(State.SUBMITTED), RetractionRequested(reason="写错了电话")
    )
    for finding in findings:
        delivery = after(delivery, finding)
    assert (delivery.state, delivery.reason) == (State.RETRACTED, "写错了电话")


def test_a_retraction_during_a_call_keeps_the_persons_reason():
    """The order is stored with its reason, for any answer of the call."""
    ordered = after(in_state(State.SENDING), RetractionRequested(reason="写错了电话"))
    for answer in (SUBMITTED, Published(receipt=RECEIPT)):
        assert after(after(ordered, answer), Deleted()).reason == "写错了电话"


def test_a_retracted_post_rejected_by_its_review_has_the_platforms_reason():
    """Nothing is left to delete, and the platform says why."""
    ordered = after(in_state(State.SUBMITTED), RetractionRequested(reason="写错了电话"))
    refused = after(ordered, Rejected(code="wechat_refused_2", reason=""))
    assert (refused.state, refused.reason) == (State.RETRACTED, "wechat_refused_2")


def test_a_resolution_to_retract_lasts():
    """A held delivery that a person retracts is deleted when it is found published."""
    ruled = after(
        in_state(State.HELD), Resolved(to=State.RETRACTING, reason="take down")
    )
    found = after(ruled, Published(receipt=RECEIPT))
    assert (found.state, found.receipt) == (State.RETRACTING, RECEIPT)
    assert after(found, Deleted()).state is State.RETRACTED


def test_retracting_a_delivery_that_was_never_sent_just_ends():
    """A delivery without attempt and reported address ends without deletion and search."""
    held = in_state(State.HELD, attempts=0)
    assert after(held, RetractionRequested(reason="wrong")).state is State.CANCELLED
    assert (
        after(held, Resolved(to=State.RETRACTING, reason="wrong")).state
        is State.CANCELLED
    )
    by_hand = Resolved(
        to=State.RETRACTING, reason="posted by hand", url="https://example.gov.cn/1"
    )
    assert after(held, by_hand).state is State.RETRACTING


def test_published_by_a_person_needs_a_receipt():
    """A resolution `published` without an address or id is refused."""
    with pytest.raises(IllegalTransitionError):
        after(in_state(State.HELD), Resolved(to=State.PUBLISHED, reason="seen"))
    ruled = after(
        in_state(State.HELD),
        Resolved(to=State.PUBLISHED, reason="seen", receipt=RECEIPT),
    )
    assert (ruled.state, ruled.receipt, ruled.reason) == (
        State.PUBLISHED,
        RECEIPT,
        "seen",
    )


@pytest.mark.parametrize("to", [State.PENDING, State.CLAIMED, State.SENDING])
def test_no_person_resolves_a_delivery_into_a_working_state(to):
    """Pending, claimed and sending are reached by their own steps only."""
    with pytest.raises(IllegalTransitionError):
        after(in_state(State.HELD), Resolved(to=to, reason="now"))


def test_an_edit_before_any_call_replaces_the_text_and_after_one_holds():
    """F69, F70: pending with the new text and times, or held(edited) with the old."""
    revised = after(in_state(State.DUE, attempts=0), REVISED)
    assert (revised.state, revised.rendered_hash, revised.next_action_at) == (
        State.PENDING,
        Fingerprint("new"),
        NOW + MINUTE,
    )
    assert (revised.max_delay, revised.is_urgent) == (MINUTE, True)
    for state in (State.PENDING, State.DUE, State.CLAIMED, State.RETRYING):
        started = after(in_state(state), EDITED)
        assert (started.state, started.reason, started.rendered_hash) == (
            State.HELD,
            HoldReason.EDITED,
            Fingerprint("old"),
        )


@pytest.mark.parametrize(
    "state", [State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD]
)
def test_f70_an_edit_during_an_unknown_outcome_is_stored(state):
    """The old text is never sent again automatically.

    An outcome that leads back to waiting leads to a person instead.
    """
    edited = after(in_state(state, reason="auth"), EDITED)
    assert (edited.state, edited.rendered_hash, edited.desired) == (
        state,
        Fingerprint("old"),
        DesiredState.EDITED,
    )
    ways_back = {
        State.SENDING: (
            NotSent(reason="dns"),
            RateLimited(code="often", until=None),
            LeaseExpired(may_have_started=False),
        ),
        State.UNKNOWN: (AbsenceProven(can_resend=True),),
        State.HELD: (Resolved(to=State.DUE, reason="signed in again"),),
    }
    for event in ways_back.get(state, ()):
        held = after(edited, event)
        assert (held.state, held.reason) == (State.HELD, HoldReason.EDITED)
        chosen = after(held, Resolved(to=State.DUE, reason="the old words will do"))
        assert (chosen.state, chosen.desired) == (State.DUE, DesiredState.AS_PLANNED)
    assert (
        after(edited, EDITED, replace(EDITED, rendered_hash=Fingerprint("old"))).desired
        is DesiredState.AS_PLANNED
    )


def test_f70_an_account_may_be_removed_and_added_during_an_unknown_outcome():
    """An account removed during an unknown outcome is cancelled once absence is proven.

    It is not cancelled if the schedule names it in `to` again before.
    """
    planner = Actor(role=Role.PLANNER, name="planner")
    unknown = in_state(State.UNKNOWN)
    gone = advance(
        unknown,
        Cancelled(reason="target_removed"),
        by=planner,
        now=NOW,
        timing=PATIENCE,
    )
    assert (gone.state, gone.desired) == (State.UNKNOWN, DesiredState.NOT_TARGETED)
    ended = after(gone, AbsenceProven(can_resend=True))
    assert (ended.state, ended.reason) == (State.CANCELLED, "target_removed")
    back = after(gone, replace(EDITED, rendered_hash=Fingerprint("old")))
    assert after(back, AbsenceProven(can_resend=True)).state is State.DUE


def test_an_edit_of_a_delivery_held_before_any_call_replaces_the_text():
    """A delivery that waits for a picture, say, gets the new text, and stays held."""
    held = after(in_state(State.HELD, reason="image_missing", attempts=0), REVISED)
    assert (held.state, held.reason, held.rendered_hash) == (
        State.HELD,
        "image_missing",
        Fingerprint("new"),
    )
    assert (
        after(held, Resolved(to=State.DUE, reason="picture is there")).state
        is State.DUE
    )


@pytest.mark.parametrize("state", [State.UNKNOWN, State.SUBMITTED])
def test_f52_a_person_may_resolve_what_no_read_can(state):
    """An unknown outcome and a review end by a named person's resolution, as a hold does."""
    asked = in_state(state, ticket=TICKET)
    assert (
        after(asked, Resolved(to=State.FAILED, reason="not there")).state
        is State.FAILED
    )
    assert (
        after(asked, Resolved(to=State.CANCELLED, reason="not wanted")).state
        is State.CANCELLED
    )
    again = after(asked, Resolved(to=State.DUE, reason="not there"))
    assert (again.state, again.ticket) == (State.DUE, None)
    seen = after(
        asked, Resolved(to=State.UNKNOWN, reason="seen", url="https://example.gov.cn/1")
    )
    assert (seen.state, seen.reported_url) == (
        State.UNKNOWN,
        "https://example.gov.cn/1",
    )


def test_f77_a_person_may_end_a_retraction_of_a_post_that_never_appears():
    """A retraction of a post in review that never appears ends by a named person's resolution."""
    waiting = in_state(State.RETRACTING, ticket=TICKET)
    assert (
        after(
            waiting, Resolved(to=State.FAILED, reason="refused by the platform")
        ).state
        is State.RETRACTED
    )


def test_the_visibility_window_neither_restarts_nor_shortens():
    """F08: readbacks, a review and a retraction keep the start of the visibility window.

    A new call resets it.
    """
    since = NOW - 5 * MINUTE
    unknown = in_state(State.UNKNOWN, unknown_since=since)
    for event in (
        NotFound(covered_since=NOW),
        Unknown(reason="unreadable"),
        SUBMITTED,
        RetractionRequested(reason="wrong"),
    ):
        assert after(unknown, event).unknown_since == since
    due = after(unknown, AbsenceProven(can_resend=True))
    assert after(due, Claimed(), AttemptStarted()).unknown_since is None


def test_a_new_attempt_starts_with_new_clocks():
    """A new attempt raises the number by one and drops the last attempt's data.

    The data are readbacks, ticket and the review's clock.
    """
    worked = in_state(
        State.CLAIMED, readbacks=5, ticket=TICKET, submitted_at=NOW - 90 * MINUTE
    )
    sending = after(worked, AttemptStarted())
    assert (
        sending.attempts,
        sending.readbacks,
        sending.ticket,
        sending.submitted_at,
    ) == (
        2,
        0,
        None,
        None,
    )


def test_only_a_reading_of_the_text_verifies():
    """A reply to our own call is no reading; a found post is."""
    assert (
        after(in_state(State.SENDING), Published(receipt=RECEIPT)).verified_at is None
    )
    assert (
        after(in_state(State.UNKNOWN), Published(receipt=RECEIPT)).verified_at is None
    )
    assert (
        after(
            in_state(State.UNKNOWN), Published(receipt=RECEIPT, is_text_confirmed=True)
        ).verified_at
        == NOW
    )


def test_a_possible_match_is_never_adopted():
    """F54, F56: a possible match is held, with the address that a person should check."""
    held = after(in_state(State.UNKNOWN), POSSIBLE_MATCH)
    assert (held.state, held.reason, held.receipt) == (
        State.HELD,
        HoldReason.POSSIBLE_MATCH,
        None,
    )
    assert held.reported_url == "https://example.gov.cn/43"


def test_a_released_claim_waits_until_its_instant():
    """The next claim waits for the instant of the release; without one it is due at once."""
    assert (
        after(in_state(State.CLAIMED), Released(until=NOW + MINUTE)).next_action_at
        == NOW + MINUTE
    )
    assert after(in_state(State.CLAIMED), Released()).next_action_at is None


def test_f63_only_a_first_call_can_be_too_late():
    """Only a call drops the latest instant for a first call.

    A claim and a call that was not sent keep it.
    """
    latest = NOW + MINUTE
    claimed = after(in_state(State.DUE, first_attempt_deadline=latest), Claimed())
    assert claimed.first_attempt_deadline == latest
    sending = after(claimed, AttemptStarted())
    assert (
        after(sending, LeaseExpired(may_have_started=False)).first_attempt_deadline
        == latest
    )
    for outcome in (
        Busy(code="busy", reason=""),
        Unknown(reason="timeout"),
        Published(receipt=RECEIPT),
        LeaseExpired(),
    ):
        assert after(sending, outcome).first_attempt_deadline is None
    assert (
        after(
            in_state(State.HELD, first_attempt_deadline=latest),
            Resolved(to=State.DUE, reason="go"),
        ).first_attempt_deadline
        is None
    )


def test_f18_a_post_tried_in_time_is_not_late_because_of_failed_calls():
    """After a call that was not sent, the time for the first call restarts at the next try."""
    tried = after(
        in_state(State.SENDING, first_attempt_deadline=NOW, max_delay=MINUTE),
        NotSent(reason="dns"),
    )
    assert tried.next_action_at is not None
    assert tried.first_attempt_deadline == tried.next_action_at + MINUTE
    assert (
        after(
            in_state(State.SENDING, first_attempt_deadline=None), NotSent(reason="dns")
        ).first_attempt_deadline
        is None
    )
    now_or_never = in_state(
        State.SENDING, first_attempt_deadline=NOW, max_delay=MINUTE / 2
    )
    assert after(now_or_never, NotSent(reason="dns")).first_attempt_deadline == NOW


def test_f44_a_post_delayed_by_a_quota_or_an_unknown_one_is_not_late():
    """A release that extends the deadline gives the whole time from its instant on.

    The delivery is not to blame for such a wait.
    """
    claimed = in_state(State.CLAIMED, first_attempt_deadline=NOW)
    kept = after(claimed, Released(until=NOW + 60 * MINUTE, extends_deadline=True))
    assert kept.first_attempt_deadline == NOW + 90 * MINUTE
    assert (
        after(claimed, Released(until=NOW + 60 * MINUTE)).first_attempt_deadline == NOW
    )


def test_a_revision_resets_the_time_for_the_first_call():
    """A new text at a new instant has that instant's time."""
    late = in_state(State.DUE, attempts=0, first_attempt_deadline=NOW - MINUTE)
    assert (
        after(late, REVISED).first_attempt_deadline
        == REVISED.due_at + REVISED.max_delay
    )


@pytest.mark.parametrize(
    "answer",
    [Rejected(code="weibo_10014", reason="no permission"), Unknown(reason="timeout")],
)
def test_a_failing_deletion_uses_few_calls_a_day(answer):
    """A failing deletion is tried about ten times on the first day, then four times a day."""
    receipt = Receipt(remote_id="1", url="", published_at=NOW)
    delivery = in_state(
        State.RETRACTING, receipt=receipt, desired=DesiredState.RETRACTED, attempts=1
    )
    asked: list[datetime] = []
    now = NOW
    while now < NOW + 3 * DAY:
        delivery = advance(
            delivery,
            answer,
            by=Actor(role=Role.RETRACTOR, name="r"),
            now=now,
            timing=PATIENCE,
        )
        assert delivery.next_action_at is not None
        asked.append(now)
        now = delivery.next_action_at
    assert asked[1] - NOW <= MINUTE
    assert sum(at < NOW + DAY for at in asked) <= 12
    assert sum(at >= NOW + DAY for at in asked) <= 9
