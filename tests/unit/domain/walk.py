"""Every way in which a delivery, a platform, crashing workers and people can meet, walked to the end.

The database are moved by the product's own `advance` and `shows_absence`; the platform, the workers and the lease are a
model with a discrete clock. Ages are capped where nothing depends on them any more, so the set of states is finite
and the walk is exhaustive for any length of time, within three attempts.

What is assumed of the platform, and nothing more:

- A call acts within `DEADLINE + SERVER_DELAY` of its start, within `SERVER_DELAY` of the end of its connection.
- A list that is read whole shows a live post at the latest `LISTING_LAG` after it was made, and may before.
- A post under review whose ticket we were never given stands in that list too; otherwise nobody could know of it.
- A live post that our databases know may be removed by the platform at any time.
- A read may say that a post is gone which is live or in review, but not twice on end: a read that shows something else
  lies between two that are wrong.
- A part goes with its post, and none can be made under a post that is gone.

With `Rules.parts` the text goes on in that many further parts, each a call of its own under the post that is live.

Reads and expiry happen at any instant: whatever `next_look` and the clock say is among them.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from publisher.domain.delivery import DESIRED_NO_SEND, FINAL_STATES, DesiredState, State
from tests.unit.domain.model_moves import ALIKE, Moves
from tests.unit.domain.model_state import OURS, Rules, Scene, can_still_act, is_any_live

AT_MOST_ONE = "at most one post"
ONE_RESEND = "at most one resend of a floor without a person"
PUBLISHED_IS_TRUE = "published is true"
PUBLISHED_IS_WHOLE = "published is whole, unless a person gave the rest up"
AN_END_IS_TRUE = "an end is true"
WITHDRAWAL_HOLDS = "no call after a withdrawal"
RETRACTION_HOLDS = "no call after a retraction"
EDIT_HOLDS = "no call with the old words after an edit, unless a person decides so"
AN_END_COMES = "an end comes, or a person is asked"
PROMISES = frozenset({
    AT_MOST_ONE,
    ONE_RESEND,
    PUBLISHED_IS_TRUE,
    PUBLISHED_IS_WHOLE,
    AN_END_IS_TRUE,
    WITHDRAWAL_HOLDS,
    RETRACTION_HOLDS,
    EDIT_HOLDS,
    AN_END_COMES,
})  # fmt: skip

Trail = dict[Scene, tuple[str, Scene] | None]
"""Each scene reached, and the step and scene it was first reached by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """How many scenes were reached, in which states of a delivery, and the shortest way to the first broken promise."""

    scenes: int
    states: frozenset[State]
    breach: str | None = None
    way: tuple[str, ...] = ()


def walk(rules: Rules, promises: frozenset[str] = PROMISES) -> Walked:
    """Visit every scene once, nearest first; stop at the first that breaks one of the promises."""
    moves = Moves(rules)
    start = Scene()
    trail: Trail = {start: None}
    leads_on: dict[Scene, list[Scene]] = {}
    queue = deque([start])
    while queue:
        scene = queue.popleft()
        for label, after in moves.of(scene):
            if not label.startswith("person") and not label.endswith("PossibleMatch"):
                leads_on.setdefault(after, []).append(scene)
            if after in trail:
                continue
            trail[after] = (label, scene)
            queue.append(after)
            broken = {*_broken_promises(after, rules), *_broken_steps(scene, after, label, rules)} & promises
            if broken:
                return _walked(trail, broken.pop(), after)
    stuck = next(iter(trail.keys() - _can_rest(trail, leads_on)), None)
    return _walked(trail, AN_END_COMES if stuck and AN_END_COMES in promises else None, stuck or start)


def _broken_promises(scene: Scene, rules: Rules) -> Iterator[str]:
    """Name what a scene breaks. Copies that a person saw gone before ordering a resend are not in it any more."""
    recorded = scene.recorded
    if len([copy for copy in scene.copies if copy.status != "refused"]) > 1:
        yield AT_MOST_ONE
    if scene.resends > 1:
        yield ONE_RESEND
    if recorded.state is State.PUBLISHED and not _is_proven(scene):
        yield PUBLISHED_IS_TRUE
    if recorded.state in FINAL_STATES and (is_any_live(scene) or can_still_act(scene, rules)):
        yield AN_END_IS_TRUE


def _broken_steps(before: Scene, after: Scene, label: str, rules: Rules) -> Iterator[str]:
    """Name what a step breaks. No call for a part may be open when it counts as live: it could double it later."""
    is_counted = before.recorded.parts_done < after.recorded.parts_done
    if is_counted and rules.parts and can_still_act(before, rules):
        yield AT_MOST_ONE
    if label == "intent" and before.beneath == "live" and not before.recorded.parts_done:
        yield AT_MOST_ONE
    is_published = after.recorded.state is State.PUBLISHED and before.recorded.state is not State.PUBLISHED
    if is_published and after.recorded.parts_done <= rules.parts and label != f"person: rules {State.CANCELLED}":
        yield PUBLISHED_IS_WHOLE
    if is_counted and not any(copy.status in {"live", "removed"} for copy in before.copies) and not before.beneath:
        yield PUBLISHED_IS_TRUE
    if label == "intent" and before.is_edited:
        yield EDIT_HOLDS
    if label == "intent" and before.recorded.desired in DESIRED_NO_SEND:
        yield RETRACTION_HOLDS if before.recorded.desired is DesiredState.RETRACTED else WITHDRAWAL_HOLDS


def _is_proven(scene: Scene) -> bool:
    made = scene.beneath or any(copy.status in {"live", "removed"} for copy in scene.copies)
    return bool(made) and scene.recorded.receipt == OURS.remote_id


def _can_rest(trail: Trail, leads_on: dict[Scene, list[Scene]]) -> set[Scene]:
    """All scenes from which the product alone, and no chance find, leads to an end, a live post or a person."""
    can = {scene for scene in trail if _rests(scene)}
    queue = deque(can)
    while queue:
        for before in leads_on.get(queue.popleft(), ()):
            if before not in can:
                can.add(before)
                queue.append(before)
    return can


def _rests(scene: Scene) -> bool:
    """Whether it has ended, is live, or is shown red: also a retraction that has met a lookalike."""
    state = scene.recorded.state
    is_red = state is State.HELD or (state is State.RETRACTING and ALIKE in scene.looks)
    return is_red or state in FINAL_STATES | {State.PUBLISHED}


def _walked(trail: Trail, broken: str | None, last: Scene) -> Walked:
    states = frozenset(scene.recorded.state for scene in trail)
    return Walked(scenes=len(trail), states=states, breach=broken, way=_way(trail, last) if broken else ())


def _way(trail: Trail, scene: Scene) -> tuple[str, ...]:
    labels: list[str] = []
    step = trail[scene]
    while step is not None:
        labels.append(step[0])
        step = trail[step[1]]
    return tuple(reversed(labels))
