"""All that may happen next in a scene: time, keeper, planner, people, workers, platform, readers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product

from publisher.domain.delivery import (
    CHECKED_STATES,
    DESIRED_NO_SEND,
    FINAL_STATES,
    WAITING_STATES,
    AbsenceProven,
    Actor,
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
    RetractionRequested,
    Revised,
    Role,
    State,
)
from publisher.domain.errors import IllegalTransitionError
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
    A_FLOORS,
    ANOTHERS,
    BEFORE_CALL,
    BORN,
    DEADLINE,
    JUST_NOW,
    LATER,
    LEASE,
    LISTING_LAG,
    LONG_AGO,
    MOST_ATTEMPTS,
    NOW,
    OURS,
    PATIENCE,
    RECEIPTS,
    SERVER_DELAY,
    SETTLED,
    TICKET,
    Copy,
    Rules,
    Scene,
    StoreReader,
    Worker,
    can_still_act,
    is_any_live,
    is_live,
)

Step = tuple[str, Scene]

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
    RateLimited(code="often", until=None),
    Busy(code="busy", reason=""),
    CredentialExpired(reason="token"),
    Blocked(code="captcha", reason="", hold_reason=HoldReason.CAPTCHA),
)
KEEPER_EVENTS: tuple[Event, ...] = (BecameDue(), Expired(), Held(reason=HoldReason.UNCHECKABLE))
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
ORDERS: tuple[Event, ...] = (Cancelled(reason="not wanted"), RetractionRequested(reason="wrong"))


class Moves:
    """The steps that lead out of a scene under some rules; what `advance` said once is remembered."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._advanced: dict[tuple[StoreReader, Event, Role, bool], StoreReader | None] = {}
        self._absent: dict[tuple[bool, tuple[str, ...], str, bool], bool] = {}
        self._may_do_harm = rules.may_start(-1) or rules.settles(is_current=False, state=State.SENDING)

    def of(self, scene: Scene) -> Iterator[Step]:
        if scene.recorded.state in FINAL_STATES:
            return
        for label, after in self._all(scene):
            yield label, self._plain(after)

    def _all(self, scene: Scene) -> Iterator[Step]:
        yield "tick", _tick(scene)
        yield from self._keep(scene)
        yield from self._order(scene)
        yield from self._rule(scene)
        yield from self._work(scene)
        yield from self._oversleep(scene)
        yield from _platform(scene)
        yield from self._reconcile(scene)
        yield from self._retract(scene)

    def _plain(self, scene: Scene) -> Scene:
        """Forget what can matter no more, so that scenes with one future are one scene."""
        if scene.beneath == "removed":  # nothing that is sent there can come into being any more
            scene = scene._replace(fuses=())
        if scene.sleeper and not self._may_do_harm:
            scene = _forgotten(scene)
        state = scene.recorded.state
        if state is not State.SENDING:
            scene = scene._replace(is_unbegun=False)
        if state is State.PUBLISHED or scene.recorded.desired in DESIRED_NO_SEND:
            scene = scene._replace(is_edited=False)
        if state in WAITING_STATES or state is State.PUBLISHED:
            looks = (GONE,) if state is State.PUBLISHED and GONE in scene.looks else ()
            return scene._replace(looks=looks, ended=SETTLED if scene.recorded.attempts else None)
        return scene

    def _bring(self, scene: Scene, event: Event, role: Role, *, is_expired: bool = False) -> Scene | None:
        """Let the delivery take an event; None where the table does not allow it."""
        key = (scene.recorded, event, role, is_expired)
        if key not in self._advanced:
            self._advanced[key] = self._advance(
                scene.recorded, event, role, BORN.due_at if is_expired else BORN.expires_at
            )
        recorded = self._advanced[key]
        if recorded is None:
            return None
        has_published_parts = scene.recorded.parts_done == 0 < recorded.parts_done <= self.rules.parts
        return (_begun(scene) if has_published_parts else scene)._replace(recorded=recorded)

    def _advance(self, recorded: StoreReader, event: Event, role: Role, expires_at: datetime) -> StoreReader | None:
        before = _delivery(recorded, expires_at, self.rules.parts)
        actor = Actor(role=role, name=role.value)
        try:
            after = self.rules.advance(before, event, by=actor, now=NOW, timing=PATIENCE)
        except IllegalTransitionError:
            return None
        assert after.version == before.version + 1
        assert after.fencing_token == before.fencing_token + isinstance(event, Claimed)
        assert after.attempts == before.attempts + isinstance(event, AttemptStarted)
        return _books(after)

    def _keep(self, scene: Scene) -> Iterator[Step]:
        for event in KEEPER_EVENTS:
            if after := self._bring(scene, event, Role.MAINTENANCE):
                yield f"keeper: {type(event).__name__}", _tidy(after)
        for has_begun in (True, False) if scene.is_unbegun else (True,):
            lapsed = LeaseExpired(may_have_started=has_begun)
            if scene.lease == 0 and (after := self._bring(scene, lapsed, Role.MAINTENANCE)):
                is_call = scene.recorded.state is State.SENDING
                yield f"keeper: LeaseExpired, begun {has_begun}", _overtake(after, ended=0 if is_call else scene.ended)

    def _order(self, scene: Scene) -> Iterator[Step]:
        for event in REVISIONS:
            if after := self._bring(scene, event, Role.PLANNER):
                keeps_words = event.has_started or scene.recorded.state in {
                    State.SENDING,
                    State.SUBMITTED,
                    State.UNKNOWN,
                }
                yield f"planner: Revised, started {event.has_started}", _tidy(after)._replace(is_edited=keeps_words)
        for order in ORDERS:
            if after := self._bring(scene, order, Role.PERSON):
                yield f"person: {type(order).__name__}", _tidy(after)

    def _rule(self, scene: Scene) -> Iterator[Step]:
        """Rulings are true to the platform; only the wish to look again needs no knowledge."""
        if scene.recorded.state not in {State.HELD, *CHECKED_STATES}:
            return
        acts, live = can_still_act(scene, self.rules), is_live(scene)
        if scene.recorded.desired is DesiredState.RETRACTED:  # then a person is asked for all of it, not for a part
            live = is_any_live(scene)
        wishes = [State.UNKNOWN, State.RETRACTING] + [State.SUBMITTED] * scene.recorded.has_ticket
        if live:
            wishes.append(State.PUBLISHED)
        if not live and not acts:
            wishes += [State.FAILED, State.CANCELLED, State.DUE]
        for to in wishes:
            ruling = Resolved(to=to, reason="seen", receipt=_receipt(scene) if to is State.PUBLISHED else None)
            if after := self._bring(scene, ruling, Role.PERSON):
                is_chosen = to is State.DUE and scene.recorded.asks_about_edit
                after = after._replace(is_edited=scene.is_edited and not is_chosen)
                yield f"person: rules {to}", _resent_by_person(after) if to is State.DUE else after
        if (live and not acts) and (after := self._bring(scene, Resolved(to=State.DUE, reason="removed"), Role.PERSON)):
            is_edited = scene.is_edited and not scene.recorded.asks_about_edit
            yield "person: removes by hand, rules due", _resent_by_person(after)._replace(is_edited=is_edited)

    def _work(self, scene: Scene) -> Iterator[Step]:
        recorded, worker = scene.recorded, scene.worker
        if recorded.attempts < MOST_ATTEMPTS and (after := self._bring(scene, Claimed(), Role.SENDER)):
            yield "claim", after._replace(worker=Worker("claimed"), lease=LEASE)
        if worker is None:
            return
        yield "worker dies", _without_worker(scene)
        if worker.step == "claimed":
            yield from self._intend(scene)
        elif worker.step == "intended":
            if self.rules.may_start(scene.lease):
                yield "call starts", scene._replace(worker=_calling(), is_unbegun=False)
            yield from self._settle(scene, NotSent(reason="start_by"))
        else:
            yield from self._call(scene, worker)

    def _intend(self, scene: Scene) -> Iterator[Step]:
        if after := self._bring(scene, Released(), Role.SENDER):
            yield "release", _tidy(after)
        if after := self._bring(scene, AttemptStarted(), Role.SENDER):
            copies = tuple(copy for copy in scene.copies if copy.status != "refused")
            announced = after._replace(worker=Worker("intended"), looks=(), ended=None, copies=copies, is_unbegun=True)
            yield "intent", announced

    def _call(self, scene: Scene, worker: Worker) -> Iterator[Step]:
        if worker.step == "answered":
            if is_live(scene):
                yield from self._settle(scene, Published(receipt=_receipt(scene)))
            yield from self._settle(scene, SUBMITTED)
            yield from self._settle(scene, LOST)
            return
        for made in _acts(scene, worker.fuse):
            copies = (*scene.copies, made)
            yield f"platform acts, {made.status}", scene._replace(worker=Worker("answered"), copies=copies)
        dead = scene._replace(worker=worker._replace(fuse=0))
        for outcome in (*NOTHING_DONE, LOST):
            yield from self._settle(dead, outcome)
        if worker.fuse:
            yield from self._settle(scene, LOST)

    def _settle(self, scene: Scene, outcome: Outcome) -> Iterator[Step]:
        """Book what the worker brings, if it is believed; the connection ends either way."""
        left = _without_worker(scene)
        if not self.rules.settles(is_current=True, state=scene.recorded.state):
            yield "outcome kept as evidence", left
        elif after := self._bring(left, outcome, Role.SENDER):
            heard = _told(after) if isinstance(outcome, Submitted) else after
            yield f"settles {type(outcome).__name__}", heard._replace(lease=0, ended=0)

    def _oversleep(self, scene: Scene) -> Iterator[Step]:
        """A worker that was overtaken wakes: it may not start a call, and what it brings is evidence."""
        sleeper = scene.sleeper
        if sleeper is None:
            return
        yield "sleeper gives up", _without_sleeper(scene)
        if sleeper.step == "intended" and self.rules.may_start(-1):
            yield "sleeper starts its call", scene._replace(sleeper=_calling(), is_unbegun=False)
        if sleeper.step == "calling":
            for made in _acts(scene, sleeper.fuse):
                copies = (*scene.copies, made)
                yield "platform acts for the sleeper", scene._replace(sleeper=Worker("answered"), copies=copies)
        if sleeper.step != "intended" and self.rules.settles(is_current=False, state=scene.recorded.state):
            for outcome in (RateLimited(code="often", until=None), LOST):
                if after := self._bring(_without_sleeper(scene), outcome, Role.SENDER):
                    yield f"late {type(outcome).__name__} believed", _overtake(after, ended=0)

    def _reconcile(self, scene: Scene) -> Iterator[Step]:
        state = scene.recorded.state
        if state in {State.UNKNOWN, State.SUBMITTED}:
            for finding in self._list(scene):
                yield from self._found(scene, finding, Role.RECONCILER)
            for finding in _follow_up(scene):
                yield from self._found(scene, finding, Role.RECONCILER)
        if state is State.PUBLISHED:
            is_removed = _is_removed(scene) or scene.beneath == "removed"
            for finding in (Deleted(),) if is_removed else _misread(scene):
                yield from self._found(scene, finding, Role.RECONCILER)
            if GONE in scene.looks and not is_removed:
                yield "list shows it", scene._replace(looks=())

    def _retract(self, scene: Scene) -> Iterator[Step]:
        if scene.recorded.state is not State.RETRACTING:
            return
        if scene.recorded.receipt == OURS.remote_id:
            gone = _all_gone(scene)
            yield from self._found(gone, Deleted(), Role.RETRACTOR)
            for doubted in (gone, scene):
                yield from self._found(doubted, LOST, Role.RETRACTOR)
            yield from self._found(scene, Rejected(code="denied", reason=""), Role.RETRACTOR)
            return
        for finding in (*self._list(scene), *_follow_up(scene)):
            yield from self._found(scene, finding, Role.RETRACTOR)
        lost = Held(reason=HoldReason.UNDELETABLE)  # what has a ticket is not handed over
        if not scene.recorded.has_ticket and (after := self._bring(scene, lost, Role.RETRACTOR)):
            yield "out of sight", after

    def _list(self, scene: Scene) -> Iterator[ReadbackResult]:
        """Whatever one read of the account may show."""
        yield UNREADABLE
        yield LIMITED
        yield self.rules.incomplete_look()
        yield self.rules.lookalike()
        if scene.beneath == "removed":
            yield Deleted()
        yield from _misread(scene)
        yield from _shown(scene.copies[0], _receipt(scene)) if scene.copies else (NotFound(covered_since=LONG_AGO),)

    def _found(self, scene: Scene, finding: ReadbackResult, role: Role) -> Iterator[Step]:
        """Store the look, then book it; absence is booked in its place once the looks show it."""
        looked = scene._replace(looks=_stored(scene, finding))
        if isinstance(finding, NotFound) and self._shows_absence(scene, finding):
            for may_resend, is_expired in product((True, False), repeat=2):
                shown = AbsenceProven(can_resend=may_resend)
                if after := self._bring(looked, shown, role, is_expired=is_expired):
                    is_resent = after.recorded.state is State.DUE
                    yield f"absence shown, may resend {may_resend}", after._replace(resends=scene.resends + is_resent)
        elif isinstance(finding, Deleted) and not self._is_gone(scene):
            yield "gone, once", self._bring(looked, GONE_ONCE, role) or looked
        elif after := self._bring(_told(looked) if isinstance(finding, Submitted) else looked, finding, role):
            yield f"{role} finds {type(finding).__name__}", after

    def _is_gone(self, scene: Scene) -> bool:
        """Ask the rule about the word that it is gone, unless that is the answer to our own deletion."""
        if scene.recorded.state is State.RETRACTING and scene.recorded.receipt:
            return True
        said = [NOW - LAG, NOW] if GONE in scene.looks else [NOW]
        looks = [Readback(attempt=1, at=at, result=Deleted()) for at in said]
        return self.rules.is_confirmed(looks, lambda look: isinstance(look.result, Deleted), LAG / 2)

    def _shows_absence(self, scene: Scene, finding: NotFound) -> bool:
        """Ask the rule about the looks so far and the newest one, which is settled by the time since the call's end."""
        newest, is_settled = _kind_of(finding), scene.ended is not None and scene.ended > self.rules.settle
        key = (scene.ended is None, scene.looks, newest, is_settled)
        if key not in self._absent:
            ended_at = None if scene.ended is None else NOW
            attempt = Attempt(
                number=1, fencing_token=1, intended_at=BEFORE_CALL, ended_at=ended_at, baseline_at=BEFORE_CALL
            )
            looks = [_look(kind) for kind in (*scene.looks, newest)]
            self._absent[key] = self.rules.shows_absence(looks, attempt, is_window_over=is_settled)
        return self._absent[key]


def _begun(scene: Scene) -> Scene:
    """The post counts as live, and its parts begin; what stands there twice, or may yet, is not forgotten."""
    status = "removed" if _is_removed(scene) else "live"
    more = scene.copies[1:]
    return scene._replace(copies=more, looks=(), resends=0, beneath=status)


def _is_removed(scene: Scene) -> bool:
    return any(copy.status == "removed" for copy in scene.copies)


def _all_gone(scene: Scene) -> Scene:
    """The post is taken down, and its parts with it."""
    if scene.beneath:
        return scene._replace(copies=(), beneath="removed")
    return scene._replace(copies=tuple(_removed(copy) for copy in scene.copies))


def _delivery(recorded: StoreReader, expires_at: datetime, parts: int) -> Delivery:
    return Delivery(
        **{name: getattr(BORN, name) for name in ("id", "key", "account", "platform", "login", "rendered_hash")},
        state=recorded.state,
        version=7,
        due_at=NOW,
        expires_at=expires_at,
        max_delay=BORN.max_delay,
        updated_at=LONG_AGO,
        fencing_token=recorded.attempts,
        attempts=recorded.attempts,
        auth_failures=recorded.auth_failures,
        was_resent=recorded.was_resent,
        desired=recorded.desired,
        reason=HoldReason.EDITED.value if recorded.asks_about_edit else None,
        ticket=TICKET if recorded.has_ticket else None,
        receipt=RECEIPTS[recorded.receipt] if recorded.receipt else None,
        unknown_since=NOW if recorded.is_doubted else None,
        extra_parts=parts,
        parts_done=recorded.parts_done,
    )


def _books(delivery: Delivery) -> StoreReader:
    return StoreReader(
        state=delivery.state,
        attempts=delivery.attempts,
        auth_failures=delivery.auth_failures,
        was_resent=delivery.was_resent,
        desired=delivery.desired,
        asks_about_edit=delivery.state is State.HELD and delivery.reason == HoldReason.EDITED,
        has_ticket=delivery.ticket is not None,
        receipt=delivery.receipt.remote_id if delivery.receipt else "",
        is_doubted=delivery.unknown_since is not None,
        parts_done=delivery.parts_done,
    )


def _tick(scene: Scene) -> Scene:
    return scene._replace(
        worker=_older(scene.worker),
        sleeper=_older(scene.sleeper),
        lease=max(scene.lease - 1, 0),
        fuses=tuple(fuse - 1 for fuse in scene.fuses if fuse > 1),
        copies=tuple(copy._replace(lag=max(copy.lag - 1, 0)) for copy in scene.copies),
        ended=None if scene.ended is None else min(scene.ended + 1, SETTLED),
    )


def _older(worker: Worker | None) -> Worker | None:
    return worker and worker._replace(fuse=max(worker.fuse - 1, 0))


def _calling() -> Worker:
    return Worker("calling", DEADLINE + SERVER_DELAY + 1)


def _left_alone(worker: Worker | None) -> tuple[int, ...]:
    """A call that nobody listens to any more may still act for the platform's delay."""
    return (min(worker.fuse, SERVER_DELAY + 1),) if worker and worker.step == "calling" and worker.fuse else ()


def _without_worker(scene: Scene) -> Scene:
    return scene._replace(worker=None, fuses=tuple(sorted((*scene.fuses, *_left_alone(scene.worker)))))


def _without_sleeper(scene: Scene) -> Scene:
    return scene._replace(sleeper=None, fuses=tuple(sorted((*scene.fuses, *_left_alone(scene.sleeper)))))


def _forgotten(scene: Scene) -> Scene:
    """The sleeper is not followed any further, its call is: the platform may still hear it out."""
    heard = (scene.sleeper.fuse,) if scene.sleeper and scene.sleeper.fuse else ()
    return scene._replace(sleeper=None, fuses=tuple(sorted((*scene.fuses, *heard))))


def _overtake(scene: Scene, ended: int | None) -> Scene:
    """The worker may live, but its right is over; of two sleepers the later one is followed."""
    if scene.worker and scene.worker.step != "claimed":
        scene = _forgotten(scene)._replace(sleeper=scene.worker)
    return scene._replace(worker=None, lease=0, ended=ended)


def _tidy(scene: Scene) -> Scene:
    """A worker whose claim is void finds so when it tries to write its intent: nothing more comes of it."""
    if scene.worker and scene.worker.step == "claimed" and scene.recorded.state is not State.CLAIMED:
        return scene._replace(worker=None, lease=0)
    return scene


def _resent_by_person(scene: Scene) -> Scene:
    """The person has seen that nothing is live: copies removed or refused count no more."""
    return scene._replace(copies=(), resends=0)


def _acts(scene: Scene, fuse: int) -> tuple[Copy, ...]:
    """What a call may make while the platform still hears it; under a post that is removed, nothing."""
    is_heard = fuse and scene.beneath != "removed"
    return (Copy("live", LISTING_LAG + 1), Copy("review", LISTING_LAG + 1)) if is_heard else ()


def _removed(copy: Copy) -> Copy:
    return Copy("removed") if copy.status == "live" else copy


def _told(scene: Scene) -> Scene:
    return scene._replace(copies=tuple(copy._replace(is_told=copy.status == "review") for copy in scene.copies))


def _platform(scene: Scene) -> Iterator[Step]:
    """What the platform does without being asked."""
    for index, fuse in enumerate(scene.fuses):
        left = scene.fuses[:index] + scene.fuses[index + 1 :]
        for made in _acts(scene, fuse):
            yield f"platform acts late, {made.status}", scene._replace(fuses=left, copies=(*scene.copies, made))
    for copy in scene.copies[:1]:
        if copy.status == "review":
            lag = LISTING_LAG + 1 if copy.is_told else copy.lag
            yield "review passes", scene._replace(copies=(Copy("live", lag),))
            yield "review refuses", scene._replace(copies=(Copy("refused"),))
        if copy.status == "live" and scene.recorded.receipt == OURS.remote_id and not scene.beneath:
            yield "platform removes", scene._replace(copies=(Copy("removed"),))
    if scene.beneath == "live":
        yield "platform removes", _all_gone(scene)


def _receipt(scene: Scene) -> Receipt:
    return A_FLOORS if scene.beneath else OURS


def _shown(copy: Copy, receipt: Receipt) -> tuple[ReadbackResult, ...]:
    """What a whole list may show of a copy."""
    missing = NotFound(covered_since=LONG_AGO)
    match copy.status:
        case "live":
            seen: ReadbackResult = Published(receipt=receipt)
        case "review":
            seen = SUBMITTED
        case "refused":
            seen = Rejected(code="review", reason="")
        case _:
            return Deleted(), missing
    must_show = copy.lag == 0 and not (copy.is_told and copy.status == "review") and copy.status != "refused"
    return (seen,) if must_show else (seen, missing)


def _misread(scene: Scene) -> tuple[ReadbackResult, ...]:
    """A read that calls gone what is not, unless the last one did."""
    is_there = scene.beneath == "live" or any(copy.status in {"live", "review"} for copy in scene.copies)
    return (Deleted(),) if is_there and scene.beneath != "removed" and GONE not in scene.looks else ()


def _follow_up(scene: Scene) -> tuple[ReadbackResult, ...]:
    """What asking after the ticket may show."""
    if not scene.recorded.has_ticket or not scene.copies:
        return ()
    match scene.copies[0].status:
        case "live":
            return Published(receipt=_receipt(scene)), UNREADABLE
        case "review":
            return SUBMITTED, UNREADABLE
        case "refused":
            return Rejected(code="review", reason=""), UNREADABLE
        case _:
            return Deleted(), UNREADABLE


def _kind_of(finding: NotFound) -> str:
    return WHOLE if finding.covered_since <= BEFORE_CALL else PARTIAL


def _stored(scene: Scene, finding: ReadbackResult) -> tuple[str, ...]:
    """Keep of all looks what can matter: whether there were one or two whole ones, a partial one, or a telling one."""
    telling = {look for look in scene.looks if look in {ALIKE, OTHER}}
    if isinstance(finding, Deleted):
        return tuple(sorted({*telling, OTHER, GONE}))
    if not isinstance(finding, NotFound | ReadFailure):
        return tuple(sorted({*telling, ALIKE if isinstance(finding, PossibleMatch) else OTHER}))
    before = scene.looks if isinstance(finding, ReadFailure) else tuple(look for look in scene.looks if look != GONE)
    if isinstance(finding, ReadFailure) or scene.ended is None or telling:
        return before
    kind = _kind_of(finding)
    same = [look for look in before if look == kind]
    others = [look for look in before if look != kind]
    kept = [*same, kind][-2 if kind == WHOLE else -1 :]
    return tuple(sorted([*others, *kept]))


def _look(kind: str) -> Readback:
    findings: dict[str, ReadbackResult] = {
        WHOLE: NotFound(covered_since=LONG_AGO),
        PARTIAL: NotFound(covered_since=JUST_NOW),
        ALIKE: PossibleMatch(remote_id=ANOTHERS.remote_id, url=ANOTHERS.url),
        OTHER: Published(receipt=OURS),
        GONE: Deleted(),
    }
    return Readback(attempt=1, at=NOW, result=findings[kind])
