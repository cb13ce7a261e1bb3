"""Mistakes in the rules of the domain: states, plans and absence."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.domain import lifecycle, plan
from publisher.domain.delivery import (
    WAITING_STATES,
    Cancelled,
    Delivery,
    LeaseExpired,
    Revised,
    Role,
    State,
)
from publisher.domain.post import Occurrence, OneTimeTrigger, Post
from publisher.domain.results import CredentialExpired

from .patch import Patch

TRANSITIONS: Any = lifecycle.TRANSITIONS
BEIJING = timezone(timedelta(hours=8))


def expired_lease_is_due(patch: Patch) -> None:
    """A dead worker's call is made again: a post that may have been sent becomes due again.

    Breaks I7 (F09, F10, F13) and I12: a second attempt follows the first without any readback, so a
    post that was made appears twice (I1).
    """

    def due_again(
        delivery: Delivery, event: LeaseExpired, context: lifecycle.StepContext
    ) -> Delivery:
        return lifecycle.on_lease_expired_before_call(
            delivery, replace(event, has_worker_crashed=False), context
        )

    patch.put_step(TRANSITIONS, (State.SENDING, LeaseExpired), due_again)


def expired_token_is_final(patch: Patch) -> None:
    """A refused login ends the delivery like a refusal of its words.

    Breaks I9 and I12 (F40, F41, F42): one `expire_token` on a creating call, and the delivery is
    `failed` with the code of the token. It should be tried again at once; instead the account keeps
    working and the post is never there.
    """

    def fail(
        delivery: Delivery, event: CredentialExpired, _context: object
    ) -> Delivery:
        return replace(
            delivery, state=State.FAILED, reason=event.reason, next_action_at=None
        )

    patch.put_step(TRANSITIONS, (State.SENDING, CredentialExpired), fail, State.FAILED)


def edit_of_unknown_ignored(patch: Patch) -> None:
    """An edit reaches waiting deliveries only. Unknown, sending and held ones keep the old words.

    Breaks I4 (F70): a title is corrected, or an account removed from the post, while the outcome of
    a call is unknown. Once its absence is proven, the old words go out by themselves, or to the
    account that was removed.
    """

    def ignore(delivery: Delivery, _event: object, _context: object) -> Delivery:
        return delivery

    def ignore_the_schedule(
        delivery: Delivery, event: Cancelled, context: lifecycle.StepContext
    ) -> Delivery:
        is_planned = context.by.role is Role.PLANNER
        return (
            delivery
            if is_planned
            else lifecycle.record_cancellation(delivery, event, context)
        )

    for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN, State.HELD):
        patch.put_step(TRANSITIONS, (state, Revised), ignore)
        patch.put_step(TRANSITIONS, (state, Cancelled), ignore_the_schedule)


def edit_reaches_started(patch: Patch) -> None:
    """An edit reaches every waiting delivery, even if its occurrence was sent elsewhere or tried.

    Breaks I21 (F70): one account has the old words and another is `due` or in `retrying`. The
    edited file makes the second publish the new words instead of being `held` (edited). Two
    wordings of one occurrence are live.
    """

    def take_new_words(
        delivery: Delivery, event: Revised, context: lifecycle.StepContext
    ) -> Delivery:
        untried = replace(delivery, attempts=0)
        after = lifecycle.on_revised(
            untried, replace(event, has_started=False), context
        )
        if delivery.state is State.RETRYING:
            after = replace(
                after, state=State.RETRYING, next_action_at=delivery.next_action_at
            )
        return replace(after, attempts=delivery.attempts)

    for state in WAITING_STATES:
        patch.put_step(TRANSITIONS, (state, Revised), take_new_words)


def retry_extends_expiry(patch: Patch) -> None:
    """A post that waited for reasons not its own expires later by the same time.

    Breaks I6 (F26, F44, F73): every retry moves `expires_at` behind the next try. Calls reach the
    platform after the `expires` that staff wrote, and posts that should end `expired` are published
    late. The row itself looks consistent.
    """

    def with_more_time(step: Any) -> Any:
        def longer(
            delivery: Delivery, event: object, context: lifecycle.StepContext
        ) -> Delivery:
            after: Delivery = step(delivery, event, context)
            if after.state is not State.RETRYING or after.next_action_at is None:
                return after
            return replace(
                after,
                expires_at=max(
                    after.expires_at, after.next_action_at + after.max_delay
                ),
            )

        return longer

    for key, rule in list(TRANSITIONS.items()):
        if State.RETRYING in rule.targets and key[0] is State.SENDING:
            patch.put_step(TRANSITIONS, key, with_more_time(rule.step))


def edited_cron_planned_twice(patch: Patch) -> None:
    """Instants of an edited repeating post are named in Beijing time, and others in UTC.

    Breaks I17 (F62, F69): a repeating post is edited after its next instants are planned. Each of
    them is planned a second time under another name (`…+08:00` beside `…+00:00`).
    """

    def list_occurrences(
        post: Post,
        store: plan.StoredPost | None,
        window: plan.PlanWindow,
        moments: Sequence[datetime],
    ) -> list[Occurrence]:
        found = kept(post, store, window, moments)
        if (
            store is None
            or store.content_hash == post.content_hash
            or isinstance(post.trigger, OneTimeTrigger)
        ):
            return found
        labels = [one.due_at.astimezone(BEIJING).isoformat() for one in found]
        return [
            replace(one, key=replace(one.key, occurrence=label))
            for one, label in zip(found, labels, strict=True)
        ]

    kept = patch.put(plan, "list_occurrences", list_occurrences)
