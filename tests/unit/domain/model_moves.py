"""All possible next steps of a snapshot.

They come from time, maintenance, planner, people, workers, platform and reads.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Literal

from publisher.domain.delivery import (
    CHECKED_STATES,
    DESIRED_NO_SEND,
    FINAL_STATES,
    WAITING_STATES,
    AbsenceProven,
    Actor,
    ApprovalMissing,
    Approved,
    Attempt,
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
    Readback,
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
from publisher.domain.lifecycle import MAX_AUTH_FAILURES
from publisher.domain.post import Fingerprint
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotFound,
    NotSent,
    Outcome,
    PossibleMatch,
    Published,
    RateLimited,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Submitted,
    Unknown,
)
from tests.unit.domain.model_state import (
    ANOTHERS_MATCH,
    APPROVED,
    BEFORE_CALL,
    BORN,
    DEADLINE,
    JUST_NOW,
    LATER,
    LEASE,
    LISTING_LAG,
    LONG_AGO,
    MOST_ATTEMPTS,
    NOT_APPROVED,
    NOW,
    OURS,
    PART_RECEIPT,
    PATIENCE,
    RECEIPTS,
    SERVER_DELAY,
    TICKET,
    VISIBILITY_WINDOW,
    ModelCopy,
    ModelDelivery,
    ModelSnapshot,
    Rules,
    Worker,
    can_still_act,
    is_any_live,
    is_live,
)

Step = tuple[str, ModelSnapshot]

WHOLE, PARTIAL, ALIKE, OTHER, GONE = "whole", "partial", "alike", "other", "gone"
LAG = timedelta(minutes=1)
LOST = Unknown(reason="lost")
GONE_ONCE = Unknown(reason="deletion_unconfirmed")
UNREADABLE = Unknown(reason="unreadable")
LIMITED = RateLimited(code="often", until=None)
SUBMITTED = Submitted(ticket=TICKET, check_again_at=LATER)
NOTHING_DONE: tuple[Outcome, ...] = (
    NotSent(reason="cannot_connect"),
    Rejected(code="content", reason=""),
    LIMITED,
    Busy(code="busy", reason=""),
    CredentialExpired(reason="token"),
    Blocked(code="captcha", reason="", hold_reason=HoldReason.CAPTCHA),
)
AWAITS_APPROVAL = ApprovalMissing(until=LATER)
KEEPER_EVENTS: tuple[Event, ...] = (
    BecameDue(),
    Expired(),
    Held(reason=HoldReason.UNCHECKABLE),
    AWAITS_APPROVAL,
)
REVISIONS = tuple(
    Revised(
        rendered_hash=Fingerprint("r2"),
        due_at=NOW,
        expires_at=BORN.expires_at,
        max_delay=BORN.max_delay,
        is_urgent=False,
        has_started=started,
    )
    for started in (False, True)
)
CALLED_STATES = frozenset({State.SENDING, State.SUBMITTED, State.UNKNOWN})
PERSON_EVENTS: tuple[Event, ...] = (
    Cancelled(reason="not wanted"),
    RetractionRequested(reason="wrong"),
)


class Moves:
    """The steps that lead out of a snapshot under some rules; results of `advance` are cached."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._advanced: dict[
            tuple[ModelDelivery, Event, Role, bool], ModelDelivery | None
        ] = {}
        self._absent: dict[tuple[bool, tuple[str, ...], str, bool], bool] = {}
        self._counts_unapproved = (
            any(map(rules.is_approved, NOT_APPROVED.values()))
            or rules.reads_ended_approvals
        )
        self._counts_approved = rules.is_approved(APPROVED)
        self._may_do_harm = rules.may_start(-1) or rules.accepts_outcome(
            is_current=False, state=State.SENDING
        )

    def of(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        moves = (
            self._restore(snapshot)
            if snapshot.recorded.state in FINAL_STATES
            else self._all(snapshot)
        )
        for label, after in moves:
            yield label, self._plain(after)

    def _all(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        yield "tick", _tick(snapshot, self.rules.max_age)
        yield from self._maintain(snapshot)
        yield from self._order(snapshot)
        yield from self._approve(snapshot)
        yield from self._resolve(snapshot)
        yield from self._work(snapshot)
        yield from self._wake(snapshot)
        yield from _platform(snapshot, self.rules.review)
        yield from self._reconcile(snapshot)
        yield from self._retract(snapshot)

    def _plain(self, snapshot: ModelSnapshot) -> ModelSnapshot:
        """Drop all data that cannot matter any more, so that snapshots with one future are equal.

        Most snapshots have nothing to drop. A copy of each would take a third of the walk's time.
        """
        # no open call can create a post any more
        if snapshot.fuses and snapshot.beneath == "removed":
            snapshot = snapshot._replace(fuses=())
        if snapshot.sleeper and not self._may_do_harm:
            snapshot = _forgotten(snapshot)
        state = snapshot.recorded.state
        if snapshot.is_unbegun and state is not State.SENDING:
            snapshot = snapshot._replace(is_unbegun=False)
        # what people say then, they may as well say later
        if snapshot.is_approved and state not in WAITING_STATES:
            snapshot = snapshot._replace(is_approved=False)
        if snapshot.is_edited and (
            state is State.PUBLISHED or snapshot.recorded.desired in DESIRED_NO_SEND
        ):
            snapshot = snapshot._replace(is_edited=False)
        if state in WAITING_STATES or state is State.PUBLISHED:
            readbacks = (
                (GONE,)
                if state is State.PUBLISHED and GONE in snapshot.readbacks
                else ()
            )
            ended = self.rules.max_age if snapshot.recorded.attempts else None
            if (readbacks, ended) != (snapshot.readbacks, snapshot.ended):
                return snapshot._replace(readbacks=readbacks, ended=ended)
        return snapshot

    def _apply(
        self,
        snapshot: ModelSnapshot,
        event: Event,
        role: Role,
        *,
        is_expired: bool = False,
    ) -> ModelSnapshot | None:
        """Apply an event to the delivery; None where the table does not allow it."""
        key = (snapshot.recorded, event, role, is_expired)
        if key not in self._advanced:
            self._advanced[key] = self._advance(
                snapshot.recorded,
                event,
                role,
                BORN.due_at if is_expired else BORN.expires_at,
            )
        recorded = self._advanced[key]
        if recorded is None:
            return None
        has_published_parts = (
            snapshot.recorded.parts_done == 0 < recorded.parts_done <= self.rules.parts
        )
        return (_begun(snapshot) if has_published_parts else snapshot)._replace(
            recorded=recorded
        )

    def _advance(
        self, recorded: ModelDelivery, event: Event, role: Role, expires_at: datetime
    ) -> ModelDelivery | None:
        before = _delivery(recorded, expires_at, self.rules.parts)
        actor = Actor(role=role, name=role.value)
        try:
            after = self.rules.advance(
                before, event, by=actor, now=NOW, timing=PATIENCE
            )
        except IllegalTransitionError:
            return None
        assert after.version == before.version + 1
        assert after.fencing_token == before.fencing_token + isinstance(event, Claimed)
        assert after.attempts == before.attempts + isinstance(event, AttemptStarted)
        return _stored_reader(after)

    def _maintain(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        for event in KEEPER_EVENTS:
            if after := self._apply(snapshot, event, Role.MAINTENANCE):
                yield f"keeper: {type(event).__name__}", _without_void_claim(after)
        for has_begun in (True, False) if snapshot.is_unbegun else (True,):
            lapsed = LeaseExpired(may_have_started=has_begun)
            if snapshot.lease == 0 and (
                after := self._apply(snapshot, lapsed, Role.MAINTENANCE)
            ):
                ended = (
                    0 if snapshot.recorded.state is State.SENDING else snapshot.ended
                )
                yield (
                    f"keeper: LeaseExpired, begun {has_begun}",
                    _overtake(after, ended),
                )

    def _order(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        for event in REVISIONS:
            if after := self._apply(snapshot, event, Role.PLANNER):
                after = _without_void_claim(after)
                keeps_words = (
                    event.has_started or snapshot.recorded.state in CALLED_STATES
                )
                after = after._replace(
                    is_edited=keeps_words, is_approved=after.is_approved and keeps_words
                )
                yield f"planner: Revised, started {event.has_started}", after
        for event in PERSON_EVENTS:
            if after := self._apply(snapshot, event, Role.PERSON):
                yield f"person: {type(event).__name__}", _without_void_claim(after)
        if after := self._apply(snapshot, Cancelled(reason="removed"), Role.PLANNER):
            yield "planner: Cancelled", _without_void_claim(after)

    def _restore(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        """Let the schedule restore a delivery that it had removed, or an expired one."""
        for content in REVISIONS:
            if after := self._apply(snapshot, Restored(content=content), Role.PLANNER):
                yield (
                    f"planner: Restored, started {content.has_started}",
                    after._replace(is_edited=content.has_started),
                )

    def _approve(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        """Let the last approver approve, or somebody end an approval, at any instant.

        A restore or a failover ends all approvals.
        """
        if snapshot.recorded.state not in WAITING_STATES:
            return
        if snapshot.is_approved:
            yield "person: ends an approval", snapshot._replace(is_approved=False)
        else:
            released = self._apply(
                snapshot, Approved(expires_at=BORN.expires_at), Role.PERSON
            )
            yield "person: approves", (released or snapshot)._replace(is_approved=True)

    def _resolve(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        """Resolutions are true to the platform; only a request to read again needs no knowledge."""
        if snapshot.recorded.state not in {State.HELD, *CHECKED_STATES}:
            return
        acts, live = can_still_act(snapshot, self.rules), is_live(snapshot)
        if not (acts or live) and (
            after := self._apply(snapshot, SignInRenewed(), Role.RECONCILER)
        ):
            yield "reconciler: the sign-in works again", after
        # a person decides on the whole text, not on a part
        if snapshot.recorded.desired is DesiredState.RETRACTED:
            live = is_any_live(snapshot)
        wishes = [State.UNKNOWN, State.RETRACTING] + [
            State.SUBMITTED
        ] * snapshot.recorded.has_ticket
        if live:
            wishes.append(State.PUBLISHED)
        if not live and not acts:
            wishes += [State.FAILED, State.CANCELLED, State.DUE]
        for to in wishes:
            ruling = Resolved(
                to=to,
                reason="seen",
                receipt=_receipt(snapshot) if to is State.PUBLISHED else None,
            )
            if after := self._apply(snapshot, ruling, Role.PERSON):
                is_chosen = to is State.DUE and snapshot.recorded.asks_about_edit
                after = after._replace(is_edited=snapshot.is_edited and not is_chosen)
                yield (
                    f"person: rules {to}",
                    _resent_by_person(after) if to is State.DUE else after,
                )
        if (live and not acts) and (
            after := self._apply(
                snapshot, Resolved(to=State.DUE, reason="removed"), Role.PERSON
            )
        ):
            is_edited = snapshot.is_edited and not snapshot.recorded.asks_about_edit
            yield (
                "person: removes by hand, rules due",
                _resent_by_person(after)._replace(is_edited=is_edited),
            )

    def _work(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        recorded, worker = snapshot.recorded, snapshot.worker
        if recorded.attempts < MOST_ATTEMPTS and (
            after := self._apply(snapshot, Claimed(), Role.SENDER)
        ):
            was_approved = self.rules.reads_approvals_at_claim and snapshot.is_approved
            yield (
                "claim",
                after._replace(
                    worker=Worker("claimed", was_approved=was_approved), lease=LEASE
                ),
            )
        if worker is None:
            return
        yield "worker dies", _without(snapshot, "worker")
        if worker.step == "claimed":
            yield from self._intend(snapshot, worker)
        elif worker.step == "intended":
            if self.rules.may_start(snapshot.lease):
                yield (
                    "call starts",
                    snapshot._replace(worker=_calling(), is_unbegun=False),
                )
            yield from self._record_outcome(snapshot, NotSent(reason="start_by"))
        else:
            yield from self._call(snapshot, worker)

    def _intend(self, snapshot: ModelSnapshot, worker: Worker) -> Iterator[Step]:
        if after := self._apply(snapshot, Released(), Role.SENDER):
            yield "release", _without_void_claim(after)
        if not (self._finds_approved(snapshot) or worker.was_approved):
            if after := self._apply(snapshot, AWAITS_APPROVAL, Role.SENDER):
                yield "approval is missing", _without_void_claim(after)
            return
        if after := self._apply(snapshot, AttemptStarted(), Role.SENDER):
            copies = tuple(copy for copy in snapshot.copies if copy.status != "refused")
            announced = after._replace(
                worker=Worker("intended"),
                readbacks=(),
                ended=None,
                copies=copies,
                is_unbegun=True,
            )
            yield (
                "intent",
                announced._replace(is_sent_unapproved=not snapshot.is_approved),
            )

    def _finds_approved(self, snapshot: ModelSnapshot) -> bool:
        """Return True if the rule accepts the approvals that the store may find.

        An approval may be lacking in any way.
        """
        return (
            self._counts_approved if snapshot.is_approved else self._counts_unapproved
        )

    def _call(self, snapshot: ModelSnapshot, worker: Worker) -> Iterator[Step]:
        if worker.step == "answered":
            if is_live(snapshot):
                yield from self._record_outcome(
                    snapshot, Published(receipt=_receipt(snapshot))
                )
            yield from self._record_outcome(snapshot, SUBMITTED)
            yield from self._record_outcome(snapshot, LOST)
            return
        for made in _acts(snapshot, worker.fuse, self.rules.review):
            copies = (*snapshot.copies, made)
            yield (
                f"platform acts, {made.status}",
                snapshot._replace(worker=Worker("answered"), copies=copies),
            )
        dead = snapshot._replace(worker=worker._replace(fuse=0))
        for outcome in (*NOTHING_DONE, LOST):
            yield from self._record_outcome(dead, outcome)
        if worker.fuse:
            yield from self._record_outcome(snapshot, LOST)

    def _record_outcome(
        self, snapshot: ModelSnapshot, outcome: Outcome
    ) -> Iterator[Step]:
        """Record the worker's outcome, if it is accepted; the connection ends either way."""
        left = _without(snapshot, "worker")
        if not self.rules.accepts_outcome(
            is_current=True, state=snapshot.recorded.state
        ):
            yield "outcome kept as evidence", left
        elif after := self._apply(left, outcome, Role.SENDER):
            heard = _alerted(after) if isinstance(outcome, Submitted) else after
            yield f"records {type(outcome).__name__}", heard._replace(lease=0, ended=0)

    def _wake(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        """Wake an overtaken worker: it may not start a call, its outcome is only evidence."""
        sleeper = snapshot.sleeper
        if sleeper is None:
            return
        yield "sleeper gives up", _without(snapshot, "sleeper")
        if sleeper.step == "intended" and self.rules.may_start(-1):
            yield (
                "sleeper starts its call",
                snapshot._replace(sleeper=_calling(), is_unbegun=False),
            )
        if sleeper.step == "calling":
            for made in _acts(snapshot, sleeper.fuse, self.rules.review):
                copies = (*snapshot.copies, made)
                yield (
                    "platform acts for the sleeper",
                    snapshot._replace(sleeper=Worker("answered"), copies=copies),
                )
        if sleeper.step != "intended" and self.rules.accepts_outcome(
            is_current=False, state=snapshot.recorded.state
        ):
            for outcome in (LIMITED, LOST):
                if after := self._apply(
                    _without(snapshot, "sleeper"), outcome, Role.SENDER
                ):
                    yield (
                        f"late {type(outcome).__name__} believed",
                        _overtake(after, ended=0),
                    )

    def _reconcile(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        state = snapshot.recorded.state
        if state in {State.UNKNOWN, State.SUBMITTED}:
            for finding in self._list(snapshot):
                yield from self._found(snapshot, finding, Role.RECONCILER)
            for finding in _follow_up(snapshot):
                yield from self._found(snapshot, finding, Role.RECONCILER)
        if state is State.PUBLISHED:
            is_removed = _is_removed(snapshot) or snapshot.beneath == "removed"
            for finding in (Deleted(),) if is_removed else _misread(snapshot):
                yield from self._found(snapshot, finding, Role.RECONCILER)
            if GONE in snapshot.readbacks and not is_removed:
                yield "list shows it", snapshot._replace(readbacks=())

    def _retract(self, snapshot: ModelSnapshot) -> Iterator[Step]:
        if snapshot.recorded.state is not State.RETRACTING:
            return
        if snapshot.recorded.receipt == OURS.remote_id:
            gone = _all_gone(snapshot)
            yield from self._found(gone, Deleted(), Role.RETRACTOR)
            for unknown in (gone, snapshot):
                yield from self._found(unknown, LOST, Role.RETRACTOR)
            yield from self._found(
                snapshot, Rejected(code="denied", reason=""), Role.RETRACTOR
            )
            return
        for finding in (*self._list(snapshot), *_follow_up(snapshot)):
            yield from self._found(snapshot, finding, Role.RETRACTOR)
        # a delivery with a ticket is not handed over to a person
        lost = Held(reason=HoldReason.UNDELETABLE)
        if not snapshot.recorded.has_ticket and (
            after := self._apply(snapshot, lost, Role.RETRACTOR)
        ):
            yield "out of sight", after

    def _list(self, snapshot: ModelSnapshot) -> Iterator[ReadbackResult]:
        """Yield all results that one read of the account may give."""
        yield UNREADABLE
        yield LIMITED
        yield self.rules.incomplete_readback()
        yield self.rules.possible_match()
        if snapshot.beneath == "removed":
            yield Deleted()
        yield from _misread(snapshot)
        yield from (
            _shown(snapshot.copies[0], _receipt(snapshot))
            if snapshot.copies
            else (NotFound(covered_since=LONG_AGO),)
        )

    def _found(
        self, snapshot: ModelSnapshot, finding: ReadbackResult, role: Role
    ) -> Iterator[Step]:
        """Store the readback, then record it.

        Once the readbacks prove absence, the absence is recorded in its place.
        """
        looked = snapshot._replace(readbacks=_stored(snapshot, finding))
        if isinstance(finding, NotFound) and self._shows_absence(
            snapshot, finding, self.rules.visibility_window
        ):
            for may_resend, is_expired in product((True, False), repeat=2):
                shown = AbsenceProven(can_resend=may_resend)
                if after := self._apply(looked, shown, role, is_expired=is_expired):
                    resends = snapshot.resends + (after.recorded.state is State.DUE)
                    yield (
                        f"absence shown, may resend {may_resend}",
                        after._replace(resends=resends),
                    )
        elif isinstance(finding, NotFound) and self._may_be_hidden(snapshot, finding):
            if after := self._apply(looked, ReviewPossible(), role):
                yield "absence shown, but for a review", after
        elif isinstance(finding, Deleted) and not self._is_gone(snapshot):
            yield "gone, once", self._apply(looked, GONE_ONCE, role) or looked
        elif after := self._apply(
            _alerted(looked) if isinstance(finding, Submitted) else looked,
            finding,
            role,
        ):
            yield f"{role} finds {type(finding).__name__}", after

    def _is_gone(self, snapshot: ModelSnapshot) -> bool:
        """Return True if the rule takes the post as deleted.

        An answer to our own deletion counts without the rule.
        """
        if snapshot.recorded.state is State.RETRACTING and snapshot.recorded.receipt:
            return True
        said = [NOW - LAG, NOW] if GONE in snapshot.readbacks else [NOW]
        readbacks = [Readback(attempt=1, at=at, result=Deleted()) for at in said]
        return self.rules.is_confirmed(
            readbacks, lambda readback: isinstance(readback.result, Deleted), LAG / 2
        )

    def _may_be_hidden(self, snapshot: ModelSnapshot, finding: NotFound) -> bool:
        """Return True if only a review can still hide the post.

        A delivery with a ticket is already known to be under review.
        """
        is_searched = snapshot.recorded.state in {State.UNKNOWN, State.RETRACTING}
        return (
            bool(self.rules.review)
            and is_searched
            and self._shows_absence(snapshot, finding, VISIBILITY_WINDOW)
        )

    def _shows_absence(
        self, snapshot: ModelSnapshot, finding: NotFound, visibility_window: int
    ) -> bool:
        """Return True if the rule sees absence in the readbacks so far and the newest one.

        The window is over by the time since the call's end.
        """
        newest = _kind_of(finding)
        is_window_over = (
            snapshot.ended is not None and snapshot.ended > visibility_window
        )
        key = (snapshot.ended is None, snapshot.readbacks, newest, is_window_over)
        if key not in self._absent:
            ended_at = None if snapshot.ended is None else NOW
            attempt = Attempt(
                number=1,
                fencing_token=1,
                intended_at=BEFORE_CALL,
                ended_at=ended_at,
                baseline_at=BEFORE_CALL,
            )
            readbacks = [_readback(kind) for kind in (*snapshot.readbacks, newest)]
            self._absent[key] = self.rules.shows_absence(
                readbacks, attempt, is_window_over=is_window_over
            )
        return self._absent[key]


def _begun(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Count the post as published and begin its parts.

    Copies that exist twice, or may yet, are kept.
    """
    status = "removed" if _is_removed(snapshot) else "live"
    more = snapshot.copies[1:]
    return snapshot._replace(copies=more, readbacks=(), resends=0, beneath=status)


def _is_removed(snapshot: ModelSnapshot) -> bool:
    return any(copy.status == "removed" for copy in snapshot.copies)


def _all_gone(snapshot: ModelSnapshot) -> ModelSnapshot:
    """The post is deleted, and its parts with it."""
    if snapshot.beneath:
        return snapshot._replace(copies=(), beneath="removed")
    copies = (
        ModelCopy("removed") if copy.status == "live" else copy
        for copy in snapshot.copies
    )
    return snapshot._replace(copies=tuple(copies))


def _reason(recorded: ModelDelivery) -> str | None:
    """Return the reason of a hold, as far as something follows from it."""
    if recorded.asks_about_edit:
        return HoldReason.EDITED.value
    is_refused = recorded.auth_failures >= MAX_AUTH_FAILURES
    return (
        HoldReason.AUTH.value if recorded.state is State.HELD and is_refused else None
    )


def _delivery(recorded: ModelDelivery, expires_at: datetime, parts: int) -> Delivery:
    return replace(
        BORN,
        state=recorded.state,
        expires_at=expires_at,
        updated_at=LONG_AGO,
        fencing_token=recorded.attempts,
        attempts=recorded.attempts,
        auth_failures=recorded.auth_failures,
        was_resent=recorded.was_resent,
        desired=recorded.desired,
        reason=_reason(recorded),
        ticket=TICKET if recorded.has_ticket else None,
        receipt=RECEIPTS[recorded.receipt] if recorded.receipt else None,
        unknown_since=NOW if recorded.is_unknown else None,
        extra_parts=parts,
        parts_done=recorded.parts_done,
    )


def _stored_reader(delivery: Delivery) -> ModelDelivery:
    return ModelDelivery(
        state=delivery.state,
        attempts=delivery.attempts,
        auth_failures=delivery.auth_failures,
        was_resent=delivery.was_resent,
        desired=delivery.desired,
        asks_about_edit=delivery.state is State.HELD
        and delivery.reason == HoldReason.EDITED,
        has_ticket=delivery.ticket is not None,
        receipt=delivery.receipt.remote_id if delivery.receipt else "",
        is_unknown=delivery.unknown_since is not None,
        parts_done=delivery.parts_done,
    )


def _tick(snapshot: ModelSnapshot, max_age: int) -> ModelSnapshot:
    return snapshot._replace(
        worker=_older(snapshot.worker),
        sleeper=_older(snapshot.sleeper),
        lease=max(snapshot.lease - 1, 0),
        fuses=tuple(fuse - 1 for fuse in snapshot.fuses if fuse > 1),
        copies=tuple(
            copy._replace(lag=max(copy.lag - 1, 0)) for copy in snapshot.copies
        ),
        ended=None if snapshot.ended is None else min(snapshot.ended + 1, max_age),
    )


def _older(worker: Worker | None) -> Worker | None:
    return worker and worker._replace(fuse=max(worker.fuse - 1, 0))


def _calling() -> Worker:
    return Worker("calling", DEADLINE + SERVER_DELAY + 1)


def _left_alone(worker: Worker | None) -> tuple[int, ...]:
    """A call that nobody waits for any more may still act for the platform's delay."""
    return (
        (min(worker.fuse, SERVER_DELAY + 1),)
        if worker and worker.step == "calling" and worker.fuse
        else ()
    )


def _without(
    snapshot: ModelSnapshot, name: Literal["worker", "sleeper"]
) -> ModelSnapshot:
    """The worker, or the sleeper, waits for its call no longer."""
    fuses = tuple(sorted((*snapshot.fuses, *_left_alone(getattr(snapshot, name)))))
    return snapshot._replace(**{name: None}, fuses=fuses)


def _forgotten(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Stop following the frozen worker, but keep its call.

    The platform may still complete the call.
    """
    heard = (
        (snapshot.sleeper.fuse,) if snapshot.sleeper and snapshot.sleeper.fuse else ()
    )
    return snapshot._replace(
        sleeper=None, fuses=tuple(sorted((*snapshot.fuses, *heard)))
    )


def _overtake(snapshot: ModelSnapshot, ended: int | None) -> ModelSnapshot:
    """End the lease of a worker that may still live.

    Of two frozen workers the later one is followed.
    """
    if snapshot.worker and snapshot.worker.step != "claimed":
        snapshot = _forgotten(snapshot)._replace(sleeper=snapshot.worker)
    return snapshot._replace(worker=None, lease=0, ended=ended)


def _without_void_claim(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Drop a worker with a void claim.

    It finds its claim void when it tries to write its intent, and nothing more happens.
    """
    if (
        snapshot.worker
        and snapshot.worker.step == "claimed"
        and snapshot.recorded.state is not State.CLAIMED
    ):
        return snapshot._replace(worker=None, lease=0)
    return snapshot


def _resent_by_person(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Drop the copies: a person has seen that nothing is published.

    Deleted or rejected copies do not count any more.
    """
    return snapshot._replace(copies=(), resends=0)


def _acts(snapshot: ModelSnapshot, fuse: int, review: int) -> tuple[ModelCopy, ...]:
    """Return the copies that a call may create while the platform still receives it.

    Under a deleted post there are none. A review hides its post for `review` ticks at most.
    """
    is_heard = fuse and snapshot.beneath != "removed"
    return (
        (
            ModelCopy("live", LISTING_LAG + 1),
            ModelCopy("review", LISTING_LAG + 1 + review),
        )
        if is_heard
        else ()
    )


def _alerted(snapshot: ModelSnapshot) -> ModelSnapshot:
    return snapshot._replace(
        copies=tuple(
            copy._replace(is_announced=copy.status == "review")
            for copy in snapshot.copies
        )
    )


def _platform(snapshot: ModelSnapshot, review: int) -> Iterator[Step]:
    """Yield the steps that the platform may take by itself."""
    for index, fuse in enumerate(snapshot.fuses):
        left = snapshot.fuses[:index] + snapshot.fuses[index + 1 :]
        for made in _acts(snapshot, fuse, review):
            yield (
                f"platform acts late, {made.status}",
                snapshot._replace(fuses=left, copies=(*snapshot.copies, made)),
            )
    for copy in snapshot.copies[:1]:
        if copy.status == "review":
            lag = (
                LISTING_LAG + 1 if copy.is_announced else min(copy.lag, LISTING_LAG + 1)
            )
            yield "review passes", snapshot._replace(copies=(ModelCopy("live", lag),))
            yield "review refuses", snapshot._replace(copies=(ModelCopy("refused"),))
        if (
            copy.status == "live"
            and snapshot.recorded.receipt == OURS.remote_id
            and not snapshot.beneath
        ):
            yield "platform removes", snapshot._replace(copies=(ModelCopy("removed"),))
    if snapshot.beneath == "live":
        yield "platform removes", _all_gone(snapshot)


def _receipt(snapshot: ModelSnapshot) -> Receipt:
    return PART_RECEIPT if snapshot.beneath else OURS


def _seen(copy: ModelCopy, receipt: Receipt) -> ReadbackResult:
    """Return the result of a read that finds a copy."""
    match copy.status:
        case "live":
            return Published(receipt=receipt)
        case "review":
            return SUBMITTED
        case "refused":
            return Rejected(code="review", reason="")
        case _:
            return Deleted()


def _shown(copy: ModelCopy, receipt: Receipt) -> tuple[ReadbackResult, ...]:
    """Return the results that a complete list may give for a copy."""
    must_show = copy.lag == 0 and (
        copy.status == "live" or (copy.status == "review" and not copy.is_announced)
    )
    return (
        (_seen(copy, receipt),)
        if must_show
        else (_seen(copy, receipt), NotFound(covered_since=LONG_AGO))
    )


def _misread(snapshot: ModelSnapshot) -> tuple[ReadbackResult, ...]:
    """Return a read that wrongly reports a deletion, unless the last one did."""
    is_there = snapshot.beneath == "live" or any(
        copy.status in {"live", "review"} for copy in snapshot.copies
    )
    return (
        (Deleted(),)
        if is_there and snapshot.beneath != "removed" and GONE not in snapshot.readbacks
        else ()
    )


def _follow_up(snapshot: ModelSnapshot) -> tuple[ReadbackResult, ...]:
    """Return the results that a read by the ticket may give."""
    is_known = snapshot.recorded.has_ticket and snapshot.copies
    return (
        (_seen(snapshot.copies[0], _receipt(snapshot)), UNREADABLE) if is_known else ()
    )


def _kind_of(finding: NotFound) -> str:
    return WHOLE if finding.covered_since <= BEFORE_CALL else PARTIAL


def _stored(snapshot: ModelSnapshot, finding: ReadbackResult) -> tuple[str, ...]:
    """Keep only the readbacks that can matter.

    They are one or two complete ones, a partial one, or one with a finding.
    """
    telling = {
        readback for readback in snapshot.readbacks if readback in {ALIKE, OTHER}
    }
    if isinstance(finding, Deleted):
        return tuple(sorted({*telling, OTHER, GONE}))
    if not isinstance(finding, NotFound | ReadFailure):
        return tuple(
            sorted({*telling, ALIKE if isinstance(finding, PossibleMatch) else OTHER})
        )
    if isinstance(finding, ReadFailure):
        return snapshot.readbacks
    before = tuple(readback for readback in snapshot.readbacks if readback != GONE)
    if snapshot.ended is None or telling:
        return before
    kind = _kind_of(finding)
    same = [readback for readback in before if readback == kind]
    others = [readback for readback in before if readback != kind]
    kept = [*same, kind][-2 if kind == WHOLE else -1 :]
    return tuple(sorted([*others, *kept]))


def _readback(kind: str) -> Readback:
    findings: dict[str, ReadbackResult] = {
        WHOLE: NotFound(covered_since=LONG_AGO),
        PARTIAL: NotFound(covered_since=JUST_NOW),
        ALIKE: ANOTHERS_MATCH,
        OTHER: Published(receipt=OURS),
        GONE: Deleted(),
    }
    return Readback(attempt=1, at=NOW, result=findings[kind])
