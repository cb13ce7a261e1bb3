"""One instant of the walk: the state of database, workers and platform.

The rules that change it are here as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from publisher.domain.account import AccountId, LoginId, Platform, Timing
from publisher.domain.approval import (
    MAX_ADVANCE,
    PRESET_CHAINS,
    Approval,
    ApprovalPreset,
    ApprovalStatus,
    Rendition,
    hash_chain,
    hash_renditions,
)
from publisher.domain.delivery import Delivery, DesiredState, State
from publisher.domain.lifecycle import advance
from publisher.domain.post import DeliveryId, Fingerprint, OccurrenceKey, PostId
from publisher.domain.results import NotFound, PossibleMatch, Published, Receipt, Ticket
from publisher.domain.verification import is_confirmed, proves_absent

DEADLINE, LEASE, SERVER_DELAY, LISTING_LAG, VISIBILITY_WINDOW = 1, 2, 2, 1, 3
MOST_ATTEMPTS = 3

TICK = timedelta(minutes=1)
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
BEFORE_CALL = NOW - 400 * TICK
LONG_AGO, JUST_NOW, LATER = NOW - 500 * TICK, NOW, NOW + 100 * TICK
PATIENCE = Timing(
    request_timeout=DEADLINE * TICK,
    lease_timeout=LEASE * TICK,
    visibility_window=VISIBILITY_WINDOW * TICK,
)

OURS = Receipt(remote_id="ours", url="https://example.gov.cn/ours", published_at=NOW)
ANOTHERS = Receipt(
    remote_id="another's", url="https://example.gov.cn/another", published_at=NOW
)
PART_RECEIPT = Receipt(
    remote_id="a part's", url="https://example.gov.cn/ours#2", published_at=NOW
)
ANOTHERS_MATCH = PossibleMatch(remote_id=ANOTHERS.remote_id, url=ANOTHERS.url)
RECEIPTS = {receipt.remote_id: receipt for receipt in (OURS, ANOTHERS, PART_RECEIPT)}
TICKET = Ticket(payload="1")
BORN = Delivery(
    id=DeliveryId(1),
    key=OccurrenceKey(post=PostId("post"), occurrence="once"),
    account=AccountId("account"),
    platform=Platform("weibo"),
    login=LoginId("weibo/secret"),
    state=State.PENDING,
    version=1,
    rendered_hash=Fingerprint("r"),
    due_at=NOW,
    expires_at=NOW + 1000 * TICK,
    max_delay=1000 * TICK,
    updated_at=NOW,
)

CHAIN = PRESET_CHAINS[ApprovalPreset.TWO_PERSONS]
AUTHOR = "zhang"
RENDITIONS = [
    Rendition(account=AccountId(name), kind="warning", rendered_hash=Fingerprint("r"))
    for name in ("account", "other")
]
CONTENT = hash_renditions(RENDITIONS)
CHANGED_ELSEWHERE = hash_renditions(
    [RENDITIONS[0], replace(RENDITIONS[1], rendered_hash=Fingerprint("r2"))]
)
"""The same text on our account, another one on the other account of the occurrence."""


def _approved_by(
    *people: str, content: Fingerprint = CONTENT, at: datetime = NOW
) -> ApprovalStatus:
    """Return an occurrence that these people have approved, for some content and some time."""
    chain = hash_chain(CHAIN)
    approvals = [
        Approval(
            person=person,
            stage=CHAIN[0].name,
            chain=chain,
            fingerprint=content,
            at=BEFORE_CALL,
            scheduled_at=at,
        )
        for person in people
    ]
    return ApprovalStatus(
        fingerprint=CONTENT,
        chain=CHAIN,
        approvals=approvals,
        author=AUTHOR,
        barred=frozenset({AUTHOR}),
        scheduled_at=NOW,
    )


APPROVED = _approved_by("li", "wang")
NOT_APPROVED = {
    "nobody": _approved_by(),
    "one person": _approved_by("li"),
    "one person twice": _approved_by("li", "li"),
    "the author": _approved_by("li", AUTHOR),
    "other text on our account": _approved_by(
        "li", "wang", content=hash_renditions(RENDITIONS[1:])
    ),
    "other text on the other account": _approved_by(
        "li", "wang", content=CHANGED_ELSEWHERE
    ),
    "another time, long after": _approved_by("li", "wang", at=NOW + MAX_ADVANCE + TICK),
}
"""The statuses of an occurrence that lacks a valid approval, as a store may find them.

The store does not read approvals that were ended.
"""


class ModelDelivery(NamedTuple):
    """The part of a delivery that decides its future, without counters that only lengthen waits."""

    state: State = State.PENDING
    attempts: int = 0
    auth_failures: int = 0
    was_resent: bool = False
    desired: DesiredState = DesiredState.AS_PLANNED
    asks_about_edit: bool = False
    has_ticket: bool = False
    receipt: str = ""
    is_unknown: bool = False
    parts_done: int = 0


class Worker(NamedTuple):
    """A process that has leased the delivery; one that does nothing while time passes is frozen.

    `step` is claimed, intended, calling (the platform may still act, for `fuse` ticks) or answered
    (it has acted). `was_approved` is remembered from the claim under a broken rule only.
    """

    step: str
    fuse: int = 0
    was_approved: bool = False


class ModelCopy(NamedTuple):
    """A post of one of our attempts: live, review, refused or removed.

    Lists must show it after `lag` ticks.
    """

    status: str
    lag: int = 0
    is_announced: bool = False


class ModelSnapshot(NamedTuple):
    """The whole state at one instant.

    `sleeper` is a worker that was overtaken, `fuses` are calls that nobody waits for.

    `copies` are of the part that is being sent. `beneath` is the state of the post with that part:
    live or removed; without it the part is the post itself. `is_unbegun`: the call of the last
    intent has not started. `is_edited`: the schedule has another text by now, and no person has
    chosen the old one. `is_approved`: all required approvers have approved the content, and no
    approval was ended. This is followed only while the delivery waits for its call.
    `is_sent_unapproved`: an intent was written without that.
    """

    recorded: ModelDelivery = ModelDelivery()
    worker: Worker | None = None
    sleeper: Worker | None = None
    lease: int = 0
    fuses: tuple[int, ...] = ()
    copies: tuple[ModelCopy, ...] = ()
    ended: int | None = None
    readbacks: tuple[str, ...] = ()
    resends: int = 0
    beneath: str = ""
    is_unbegun: bool = False
    is_edited: bool = False
    is_approved: bool = False
    is_sent_unapproved: bool = False


Advance = Callable[..., Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The product's rules as the walk applies them; a mutant replaces one.

    `parts` is the number of further parts of a text.

    `review` is the time in ticks that a review keeps its post out of the list; `visibility_window` then
    includes it.

    `may_start`: a call is over before its lease; the argument is the time left of the lease.
    `accepts_outcome`: an outcome is accepted only under the current fencing token while sending.
    `incomplete_readback` did not reach back past the attempt. `possible_match` found the same text
    without our marker. `is_approved` is asked in the transaction of the intent, unless approvals
    are read at the claim. The store does not read approvals that were ended.
    """

    parts: int = 0
    review: int = 0
    advance: Advance = advance
    shows_absence: Callable[..., bool] = proves_absent
    is_confirmed: Callable[..., bool] = is_confirmed
    visibility_window: int = VISIBILITY_WINDOW
    may_start: Callable[[int], bool] = lambda lease: lease >= DEADLINE
    accepts_outcome: Callable[..., bool] = lambda *, is_current, state: (
        is_current and state is State.SENDING
    )
    incomplete_readback: Callable[[], NotFound] = lambda: NotFound(
        covered_since=JUST_NOW
    )
    possible_match: Callable[[], PossibleMatch | Published] = lambda: ANOTHERS_MATCH
    is_approved: Callable[[ApprovalStatus], bool] = lambda status: status.is_approved
    reads_ended_approvals: bool = False
    reads_approvals_at_claim: bool = False

    @property
    def max_age(self) -> int:
        """Ages of an attempt's end are equal from here on."""
        return max(self.visibility_window, VISIBILITY_WINDOW) + 1


def can_still_act(snapshot: ModelSnapshot, rules: Rules) -> bool:
    """Return True if a call may yet create a post, or a review may yet publish one.

    Under a deleted post neither is possible.
    """
    if snapshot.beneath == "removed":
        return False
    leases = ((snapshot.worker, snapshot.lease), (snapshot.sleeper, -1))
    return (
        any(snapshot.fuses)
        or any(copy.status == "review" for copy in snapshot.copies)
        or any(hand.step == "calling" and hand.fuse for hand, _ in leases if hand)
        or any(
            hand.step == "intended" and rules.may_start(lease)
            for hand, lease in leases
            if hand
        )
    )


def is_live(snapshot: ModelSnapshot) -> bool:
    """Return True if the part that is being sent is published, or the post itself."""
    return any(copy.status == "live" for copy in snapshot.copies)


def is_any_live(snapshot: ModelSnapshot) -> bool:
    return snapshot.beneath == "live" or is_live(snapshot)
