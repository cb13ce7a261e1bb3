"""Corrections that people send now, wherever their original is or may be."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from publisher.domain.account import AccountId
from publisher.domain.correction import CorrectionPlan, plan_correction
from publisher.domain.delivery import OPEN_STATES, Actor, Delivery, State
from publisher.domain.errors import Problem, ScheduleError
from publisher.domain.plan import PlannedDeliveries
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    Post,
    PostId,
    find_family,
    make_occurrence,
    name_ordered_occurrence,
)
from publisher.engine.planner import Planner, enqueue, plan_due_now
from publisher.store.deliveries.cancellations import OrderedCorrection
from publisher.store.plan.posts import AuditAction


async def send_correction(
    planner: Planner, correction: Post, by: Actor, *, is_new: bool
) -> CorrectionPlan:
    """Send a correction now to every account where the original is or may be published.

    Its own `to` makes no difference. Where the original is not out, it is stopped in the same
    transaction. Where its outcome is open, no further call of it follows, and the correction waits
    for it. `is_new`: the correction is not stored yet. Raises ScheduleError if its text cannot be
    sent, or it has expired.
    """
    if correction.expires_at is not None and correction.expires_at <= planner.now:
        raise ScheduleError(
            [Problem(code="resend_expired", facts={"post": correction.id})]
        )
    original = PostId(str(correction.follows))
    order: OrderedCorrection | None = OrderedCorrection(
        original=original, correction=correction.id, by=by
    )
    handled: set[AccountId] = set()
    while True:
        filed = await planner.store.queries.deliveries(correction.id)
        correction_plan = plan_correction(
            await _list_originals(planner, correction),
            filed,
            targeted=correction.accounts,
            active=planner.post_renderer.accounts,
        )
        post = (
            replace(correction, accounts=correction_plan.targets)
            if is_new
            else correction
        )
        targets = [
            account for account in correction_plan.targets if account not in handled
        ]
        planned = _missing_deliveries(planner, post, targets, filed)
        if not planned and order is None:
            break
        sent = (
            [AuditAction(event="send_requested", subject=correction.id, by=by)]
            if targets
            else []
        )
        await enqueue(
            planner,
            planned,
            [post] if is_new and planned else (),
            sent,
            is_resend=True,
            corrects=order,
        )
        # it is stopped by now: where a call began before that, the correction is filed by the next
        # round
        order = None
        handled.update(targets)
    if prioritized := [
        item.id for item in filed if item.account in correction_plan.targets
    ]:
        await planner.store.actions.prioritize(prioritized, correction)
    return correction_plan


async def _list_originals(planner: Planner, correction: Post) -> Sequence[Delivery]:
    """Return the deliveries of a correction's original.

    Its accounts, and those of the correction, may have it under another id of its family.
    """
    original = PostId(str(correction.follows))
    forms = await planner.store.posts.family_posts(find_family(original))
    accounts = {
        *correction.accounts,
        *chain.from_iterable(form.accounts for form in forms if form.id == original),
    }
    return [
        delivery
        for form in sorted({original, *(form.id for form in forms)})
        for delivery in await planner.store.queries.deliveries(form)
        if form == original or delivery.account in accounts
    ]


def _missing_deliveries(
    planner: Planner,
    post: Post,
    targets: Sequence[AccountId],
    filed: Sequence[Delivery],
) -> list[PlannedDeliveries]:
    """Plan the missing deliveries.

    Accounts of the entry are planned under its own occurrence, others under a new one. Deliveries
    filed for later are planned again as due now, unless a call with their present text may have
    started.
    """
    now = planner.now
    under_way = {
        delivery.account for delivery in filed if delivery.state in OPEN_STATES
    }
    used = {delivery.account for delivery in filed}
    missing = [account for account in targets if account not in under_way]
    own = tuple(
        account
        for account in missing
        if account in post.accounts and account not in used
    )
    other = tuple(account for account in missing if account not in own)
    pending: tuple[AccountId, ...] = ()
    if not any(item.may_have_been_called for item in filed):
        once = [item for item in filed if item.key.occurrence == ONCE_OCCURRENCE]
        waiting = {item.account for item in once if item.state is State.PENDING}
        pending = tuple(account for account in targets if account in waiting)
    occurrence = make_occurrence(post, name_ordered_occurrence(now), now)
    planned = (
        plan_due_now(planner, post, own, is_new=True),
        plan_due_now(planner, post, pending, is_new=False),
        PlannedDeliveries(
            post=post, occurrence=occurrence, accounts=other, is_new=True
        ),
    )
    return [item for item in planned if item.accounts]
