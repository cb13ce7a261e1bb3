"""Every interaction of a delivery, a platform, crashing workers and people, walked to the end.

The database is changed by the product's own `advance` and `shows_absence`; the platform, the
workers and the lease are a model with a discrete clock. Ages are capped where nothing depends on
them any more, so the set of states is finite. The walk is exhaustive for any length of time, within
three attempts.

Assumptions about the platform, and no others:

- A call acts within `DEADLINE + SERVER_DELAY` of its start, within `SERVER_DELAY` of the end of
  its connection.
- A completely read list shows a published post at the latest `LISTING_LAG` after it was made, and
  may before.
- A post under review without a ticket in our hands is in that list too; otherwise nobody could
  know of it.
- A published post that is recorded as such may be removed by the platform at any time.
- A read may report a post as deleted that is published or in review, but not twice in a row:
  between two wrong reads there is a right one.
- A part is removed with its post, and none can be made under a removed post.

With `Rules.parts` the text continues in that many further parts, each a call of its own under the
published post.

Reads and expiry happen at any instant, so all values of `next_look` and the clock are covered.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from publisher.domain.delivery import (
    DESIRED_BY_PERSON,
    FINAL_STATES,
    DesiredState,
    State,
)
from tests.unit.domain.model_moves import ALIKE, Moves
from tests.unit.domain.model_state import (
    OURS,
    ModelSnapshot,
    Rules,
    can_still_act,
    is_any_live,
)


class Promise(StrEnum):
    """A rule that no step may break."""

    AT_MOST_ONE = "at most one post"
    ONE_RESEND = "at most one resend of a part without a person"
    PUBLISHED_IS_TRUE = "published is true"
    PUBLISHED_IS_WHOLE = "published is whole, unless a person gave the rest up"
    AN_END_IS_TRUE = "an end is true"
    CANCELLATION_HOLDS = "no call after a withdrawal"
    RETRACTION_HOLDS = "no call after a retraction"
    EDIT_HOLDS = (
        "no call with the old words after an edit, nor an end by their refusal, "
        "unless a person decides so"
    )
    AN_END_STAYS = "what was called, or ended by a person, does not come back"
    APPROVED = "no intent without all valid approvals"
    AN_END_COMES = "an end comes, or a person is asked"


UNWANTED = frozenset(
    {
        DesiredState.NOT_TARGETED,
        DesiredState.CORRECTED,
        DesiredState.CANCELLED,
        DesiredState.RETRACTED,
    }
)
"""After any of these orders no call may begin."""
Trail = dict[ModelSnapshot, tuple[str, ModelSnapshot] | None]
"""Each snapshot reached, and the step and snapshot it was first reached by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """The number of snapshots reached, and the states of a delivery in them.

    It also holds the shortest way to a broken promise.
    """

    snapshots: int
    states: frozenset[State]
    breach: Promise | None = None
    way: tuple[str, ...] = ()


def walk(rules: Rules, promises: Collection[Promise] = frozenset(Promise)) -> Walked:
    """Visit every snapshot once, nearest first; stop at the first that breaks a promise.

    Only the given promises are checked.
    """
    moves = Moves(rules)
    start = ModelSnapshot()
    trail: Trail = {start: None}
    leads_on: dict[ModelSnapshot, list[ModelSnapshot]] = {}
    queue = deque([start])
    while queue:
        snapshot = queue.popleft()
        for label, after in moves.of(snapshot):
            if not label.startswith("person") and not label.endswith("PossibleMatch"):
                leads_on.setdefault(after, []).append(snapshot)
            is_known = after in trail
            if is_known and snapshot.recorded.state not in FINAL_STATES:
                continue
            if not is_known:
                trail[after] = (label, snapshot)
                queue.append(after)
            broken = {
                *_broken_promises(after, rules),
                *_broken_steps(snapshot, after, label, rules),
            }.intersection(promises)
            if broken:
                return _walked(trail, broken.pop(), after)
    stuck = next(iter(trail.keys() - _can_rest(trail, leads_on)), None)
    return _walked(
        trail,
        Promise.AN_END_COMES if stuck and Promise.AN_END_COMES in promises else None,
        stuck or start,
    )


def _broken_promises(snapshot: ModelSnapshot, rules: Rules) -> Iterator[Promise]:
    """Yield the promises that a snapshot breaks.

    A copy that a person saw deleted before a resend is not in it any more.
    """
    recorded = snapshot.recorded
    if len([copy for copy in snapshot.copies if copy.status != "refused"]) > 1:
        yield Promise.AT_MOST_ONE
    if snapshot.resends > 1:
        yield Promise.ONE_RESEND
    if snapshot.is_sent_unapproved:
        yield Promise.APPROVED
    if recorded.state is State.PUBLISHED and not _is_proven(snapshot):
        yield Promise.PUBLISHED_IS_TRUE
    if recorded.state in FINAL_STATES and (
        is_any_live(snapshot) or can_still_act(snapshot, rules)
    ):
        yield Promise.AN_END_IS_TRUE


def _broken_steps(
    before: ModelSnapshot, after: ModelSnapshot, label: str, rules: Rules
) -> Iterator[Promise]:
    """Yield the promises that a step breaks.

    No call for a part may be open when the part counts as published: it could double it.
    """
    is_back = (
        before.recorded.state in FINAL_STATES
        and after.recorded.state not in FINAL_STATES
    )
    if is_back and (
        before.recorded.attempts or before.recorded.desired in DESIRED_BY_PERSON
    ):
        yield Promise.AN_END_STAYS
    is_counted = before.recorded.parts_done < after.recorded.parts_done
    if is_counted and rules.parts and can_still_act(before, rules):
        yield Promise.AT_MOST_ONE
    if (
        label == "intent"
        and before.beneath == "live"
        and not before.recorded.parts_done
    ):
        yield Promise.AT_MOST_ONE
    is_published = (
        after.recorded.state is State.PUBLISHED
        and before.recorded.state is not State.PUBLISHED
    )
    if (
        is_published
        and after.recorded.parts_done <= rules.parts
        and label != f"person: rules {State.CANCELLED}"
    ):
        yield Promise.PUBLISHED_IS_WHOLE
    if (
        is_counted
        and not any(copy.status in {"live", "removed"} for copy in before.copies)
        and not before.beneath
    ):
        yield Promise.PUBLISHED_IS_TRUE
    is_refused = after.recorded.state is State.FAILED and not label.startswith("person")
    if before.is_edited and (label == "intent" or is_refused):
        yield Promise.EDIT_HOLDS
    if label == "intent" and before.recorded.desired in UNWANTED:
        yield (
            Promise.RETRACTION_HOLDS
            if before.recorded.desired is DesiredState.RETRACTED
            else Promise.CANCELLATION_HOLDS
        )


def _is_proven(snapshot: ModelSnapshot) -> bool:
    made = snapshot.beneath or any(
        copy.status in {"live", "removed"} for copy in snapshot.copies
    )
    return bool(made) and snapshot.recorded.receipt == OURS.remote_id


def _can_rest(
    trail: Trail, leads_on: dict[ModelSnapshot, list[ModelSnapshot]]
) -> set[ModelSnapshot]:
    """Return the snapshots with a sure way to an end, a published post or a hold.

    The product takes this way without luck.
    """
    can = {snapshot for snapshot in trail if _rests(snapshot)}
    queue = deque(can)
    while queue:
        for before in leads_on.get(queue.popleft(), ()):
            if before not in can:
                can.add(before)
                queue.append(before)
    return can


def _rests(snapshot: ModelSnapshot) -> bool:
    """Return True if the delivery has ended, is published, or is shown red.

    A retraction with a possible match is also shown red.
    """
    state = snapshot.recorded.state
    is_red = state is State.HELD or (
        state is State.RETRACTING and ALIKE in snapshot.readbacks
    )
    return is_red or state in FINAL_STATES | {State.PUBLISHED}


def _walked(trail: Trail, broken: Promise | None, last: ModelSnapshot) -> Walked:
    states = frozenset(snapshot.recorded.state for snapshot in trail)
    return Walked(
        snapshots=len(trail),
        states=states,
        breach=broken,
        way=_way(trail, last) if broken else (),
    )


def _way(trail: Trail, snapshot: ModelSnapshot) -> tuple[str, ...]:
    labels: list[str] = []
    step = trail[snapshot]
    while step is not None:
        labels.append(step[0])
        step = trail[step[1]]
    return tuple(reversed(labels))
