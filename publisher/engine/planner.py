"""schedule + what is known -> filed deliveries."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.errors import Problem, RefusedError, ScheduleError
from publisher.domain.events import Actor
from publisher.domain.plan import (
    CorrectionPlan,
    Plan,
    PlannedDeliveries,
    PlanWindow,
    StoredPost,
    StoredPosts,
    plan,
    plan_correction,
)
from publisher.domain.post import ONCE_OCCURRENCE, OneTimeTrigger, Post, Schedule, make_occurrence
from publisher.domain.rendered import RenderedRevision
from publisher.rendering.renderer import PostRenderer
from publisher.schedule import (
    ScheduleContext,
    find_next_occurrence,
    find_overdue_posts,
    list_cron_times,
    locate_problems,
    parse_schedule,
)
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.plan.actions import OperatorActions
from publisher.store.plan.posts import AuditAction, PlanCommit, PostStore, RenderedOccurrence
from publisher.store.plan.stored_posts import CRON_LOOKBACK
from publisher.store.queries.queries import Queries

RenderedBatch = tuple[list[RenderedOccurrence], dict[str, tuple[str, bytes]], list[Problem]]
"""Filings with their final words, the bytes of their pictures by hash, and what speaks against the rest."""
MAX_APPLY_ATTEMPTS = 3
"""How often a reload begins anew because another one was faster."""
FREE_REMOVALS = 3
FREE_REMOVAL_SHARE = 0.2
"""A reload may drop this many open posts, or this share of them, without being asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What planning works with: the books, the press, and how far ahead occurrences are filed."""

    post_store: PostStore
    post_renderer: PostRenderer
    schedule_context: ScheduleContext
    plan_days: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One round at a time: another would file what this one is filing."""

    @property
    def now(self) -> datetime:
        return self.post_store.store.runtime.now()

    @property
    def config_hash(self) -> str:
        """What tells the settings from which it is planned from others: whom a post goes to, and when."""
        context = self.schedule_context
        settings_text = repr((context.timezone, context.accounts, context.groups, self.plan_days))
        return hashlib.sha256(settings_text.encode()).hexdigest()


async def apply_schedule(
    planner: Planner, text: str, file: str, confirmed_removals: int | None = None, actions: Sequence[AuditAction] = ()
) -> int:
    """Put a new version of the schedule in force, whole or not at all. Returns how many deliveries are new.

    Of very many new deliveries the rest is filed in portions; what a death leaves of it is filed by `plan_ahead`.

    Raises ScheduleError with every Problem, or RefusedError `large_removal` when so many posts would vanish that a
    person must say their number in `accept`.
    """
    for _ in range(MAX_APPLY_ATTEMPTS):
        with contextlib.suppress(
            ConcurrentUpdateError
        ):  # another version came into force while this one was being proved
            async with planner.lock:
                return await _apply_schedule(planner, text, file, confirmed_removals, actions)
    raise RefusedError("reload_conflict")


async def _apply_schedule(
    planner: Planner, text: str, file: str, confirmed_removals: int | None, actions: Sequence[AuditAction]
) -> int:
    runtime = planner.post_store.store.runtime
    based_on = await planner.post_store.schedule_version()
    context = await _schedule_context(planner)
    schedule = await asyncio.to_thread(parse_schedule, text, file=file, context=context)
    known = await planner.post_store.stored_posts(schedule.posts)
    posts = await _with_originals(planner, schedule.posts)
    problems = await asyncio.to_thread(_schedule_problems, planner, schedule, posts, known)
    if any(problem.is_error for problem in problems):
        raise ScheduleError(locate_problems(problems, text=text, file=file))
    await runtime.hit_failpoint("reload.after_read")
    changes = await asyncio.to_thread(diff_schedule, planner, schedule, known)
    if changes.problems:
        raise ScheduleError(locate_problems(changes.problems, text=text, file=file))
    _require_confirmation(changes, known, confirmed_removals)
    drafts, media, problems = await _render_all(planner, changes.planned, schedule.posts)
    if problems:
        raise ScheduleError(locate_problems(problems, text=text, file=file))
    return await planner.post_store.commit_plan(
        PlanCommit(
            plan=changes,
            rendered=drafts,
            posts=schedule.posts,
            media=media,
            schedule_text=text,
            base_version=based_on,
            actions=actions,
        )
    )


async def plan_window(planner: Planner, schedule: Schedule, version: int) -> int:
    """File what has come within reach of that version of the schedule. Returns how many deliveries are new.

    Nothing is cancelled here because it is not named: only a reload does that. Raises OvertakenError, with nothing
    filed, when a newer version is in force; ScheduleError, when all else is filed, for posts whose words cannot be
    sent any more.
    """
    async with planner.lock:
        return await _plan_window(planner, schedule, version)


async def _plan_window(planner: Planner, schedule: Schedule, version: int) -> int:
    known = await planner.post_store.stored_posts(schedule.posts)
    found = await asyncio.to_thread(diff_schedule, planner, schedule, known)
    removable = tuple(
        item for item in found.removed_targets if set(item.accounts) <= set(planner.schedule_context.accounts)
    )
    changes = Plan(planned=found.planned, removed_targets=removable)
    if not (changes.planned or changes.removed_targets):
        return 0
    drafts, media, problems = await _render_all(planner, changes.planned, schedule.posts)
    filed = await planner.post_store.commit_plan(
        PlanCommit(plan=changes, rendered=drafts, media=media, base_version=version)
    )
    if problems:
        raise ScheduleError(problems)
    return filed


async def active_schedule(planner: Planner, file: str) -> Schedule | None:
    """Read the last accepted schedule; None before the first.

    Raises ScheduleError when the settings have changed so much that it cannot be read any more. A template that is gone
    concerns only the posts that need it.
    """
    text = await planner.post_store.active_schedule_text()
    if text is None:
        return None
    context = replace(await _schedule_context(planner), templates=None)
    return await asyncio.to_thread(parse_schedule, text, file=file, context=context)


async def _schedule_context(planner: Planner) -> ScheduleContext:
    """A post may follow one that has left the schedule, if the database knows it."""
    return replace(planner.schedule_context, known_posts=await planner.post_store.post_ids())


async def _with_originals(planner: Planner, posts: Sequence[Post]) -> Sequence[Post]:
    """Add to these posts the ones they follow that have left the schedule, from the books."""
    ids = {post.id for post in posts}
    missing = sorted({post.follows for post in posts if post.follows is not None} - ids)
    found = [await planner.post_store.get_post(post_id) for post_id in missing]
    return [*posts, *(post for post in found if post is not None)]


def _schedule_problems(
    planner: Planner, schedule: Schedule, posts: Sequence[Post], known: StoredPosts
) -> list[Problem]:
    """Tell all that keeps a schedule's words from being sent in time. `posts` holds what they may follow as well.

    Words that are filed are frozen: what templates and pictures have become since does not concern them.
    """
    now, zone = planner.now, planner.schedule_context.timezone
    overdue = [
        problem for problem in find_overdue_posts(schedule, now.astimezone(zone)) if problem.facts["post"] not in known
    ]
    by_id = {post.id: post for post in posts}
    open_posts = [post for post in schedule.posts if not _is_final(post, known.get(post.id))]
    results = [
        planner.post_renderer.render(post, find_next_occurrence(post, now, zone), post.accounts, by_id)
        for post in open_posts
    ]
    return [*overdue, *(problem for result in results for problem in result.problems)]


def _is_final(post: Post, stored: StoredPost | None) -> bool:
    """Whether all that a post will ever say is filed, just as the schedule words it."""
    if stored is None or stored.content_hash != post.content_hash or not isinstance(post.trigger, OneTimeTrigger):
        return False
    filed = stored.occurrences.get(ONCE_OCCURRENCE)
    if filed is None or filed.is_finished:
        return filed is not None
    is_worded = filed.content_hash == post.content_hash or not filed.open_accounts
    return is_worded and filed.accounts - filed.cancelled_accounts >= set(post.accounts)


def diff_schedule(planner: Planner, schedule: Schedule, known: StoredPosts) -> Plan:
    """Compare a schedule with the books, as of now."""
    now = planner.now
    window = PlanWindow(now=now, until=now + timedelta(days=planner.plan_days))
    cron_times = {
        post.id: list_cron_times(post, _cron_since(post, known, now), window.until, planner.schedule_context.timezone)
        for post in schedule.posts
        if not isinstance(post.trigger, OneTimeTrigger)
    }
    return plan(schedule, known, window, cron_times)


def _cron_since(post: Post, known: StoredPosts, now: datetime) -> datetime:
    stored = known.get(post.id)
    return max(stored.active_since, now - CRON_LOOKBACK) if stored else now


def _require_confirmation(changes: Plan, known: StoredPosts, confirmed_removals: int | None) -> None:
    """A file cut short at a table border reads as a valid, shorter one: ask before many posts vanish."""
    open_posts = [
        post_id
        for post_id, store in known.items()
        if store.is_scheduled and not store.is_cancelled and _has_open_deliveries(store)
    ]
    removed = [post_id for post_id in changes.removed_posts if post_id in open_posts]
    if len(removed) > max(FREE_REMOVALS, FREE_REMOVAL_SHARE * len(open_posts)) and confirmed_removals != len(removed):
        raise RefusedError("large_removal", number=str(len(removed)), posts="、".join(sorted(removed)[:20]))


def _has_open_deliveries(stored: StoredPost) -> bool:
    """Whether something of a post is still to come: filed and waiting, not filed yet, or repeating."""
    occurrences = stored.occurrences
    return (
        not occurrences
        or set(occurrences) != {ONCE_OCCURRENCE}
        or any(occurrence.open_accounts for occurrence in occurrences.values())
    )


async def _render_all(planner: Planner, planned: Sequence[PlannedDeliveries], posts: Sequence[Post]) -> RenderedBatch:
    known = await _with_originals(planner, posts)
    return await asyncio.to_thread(_render_deliveries, planner.post_renderer, planned, known)


def _render_deliveries(
    post_renderer: PostRenderer, planned: Sequence[PlannedDeliveries], posts: Sequence[Post]
) -> RenderedBatch:
    """Render filings; one with an error gives no draft, only its problems."""
    by_id = {post.id: post for post in posts}
    drafts: list[RenderedOccurrence] = []
    media: dict[str, tuple[str, bytes]] = {}
    problems: list[Problem] = []
    for one in planned:
        result = post_renderer.render(one.post, one.occurrence, one.accounts, by_id)
        errors = [problem for problem in result.problems if problem.is_error]
        problems += errors
        if errors:
            continue
        media |= result.media
        revision = RenderedRevision(content_hash=one.post.content_hash, rendered_posts=result.rendered_posts)
        drafts.append(RenderedOccurrence(planned=one, revision=revision))
    return drafts, media, problems


async def send_now(planner: Planner, posts: Sequence[Post], actions: Sequence[AuditAction] = ()) -> int:
    """File posts from outside the schedule, due now, all or none. Returns how many deliveries are new.

    Raises ScheduleError when their words cannot be sent.
    """
    planned = [
        PlannedDeliveries(
            post=post,
            occurrence=make_occurrence(post, ONCE_OCCURRENCE, planner.now),
            accounts=post.accounts,
            is_new=True,
        )
        for post in posts
    ]
    return await _enqueue(planner, planned, posts, actions)


async def send_scheduled_now(planner: Planner, post: Post, action: AuditAction) -> int:
    """Send a scheduled one-off post now. Returns how many deliveries are due by it.

    Its words carry this minute, not the planned one; if some account has been called already, the others get the same
    words as that one. Raises ScheduleError when the words cannot be sent.
    """
    store = planner.post_store.store
    once = [item for item in await Queries(store).deliveries(post.id) if item.key.occurrence == ONCE_OCCURRENCE]
    if any(map(_may_have_started, once)):
        return await OperatorActions(store).send_now(post.id, action.by)
    waits = {item.account for item in once if item.state is State.PENDING}
    accounts = tuple(account for account in post.accounts if not once or account in waits)
    planned = _plan_due_now(planner, post, accounts, is_new=not once)
    if planned.accounts:
        await _enqueue(planner, [planned], actions=[action])
    return len(planned.accounts)


def _plan_due_now(planner: Planner, post: Post, accounts: tuple[AccountId, ...], *, is_new: bool) -> PlannedDeliveries:
    """File a one-off post, or words in place of those filed, as due now; the schedule's own instant is remembered."""
    planned_at = post.trigger.at if isinstance(post.trigger, OneTimeTrigger) else None
    occurrence = make_occurrence(post, ONCE_OCCURRENCE, planner.now)
    return PlannedDeliveries(
        post=post, occurrence=occurrence, accounts=accounts, is_new=is_new, scheduled_at=planned_at
    )


async def resend_post(
    planner: Planner, post: Post, accounts: Sequence[AccountId], actions: Sequence[AuditAction] = ()
) -> int:
    """File one new occurrence of a post, due now, for these accounts. Returns how many deliveries are new.

    Raises ScheduleError when its words cannot be sent, or the post's own expiry has passed; RefusedError when it was
    withdrawn, or one of the accounts has it already, or still may get it.
    """
    now = planner.now
    for account in accounts:
        if blocker := await planner.post_store.resend_blocker(post, account):
            raise RefusedError(blocker, post=post.id, account=account)
    if post.expires_at is not None and post.expires_at <= now:
        raise ScheduleError([Problem(code="resend_expired", facts={"post": post.id})])
    occurrence = make_occurrence(post, now.isoformat(), now)
    planned = PlannedDeliveries(post=post, occurrence=occurrence, accounts=tuple(accounts), is_new=True)
    return await _enqueue(planner, [planned], actions=actions, is_resend=True)


async def send_correction(planner: Planner, correction: Post, by: Actor, *, is_new: bool) -> CorrectionPlan:
    """Send a correction at once wherever the post it follows is live or may be, whatever its own entry says of `to`.

    Where the outcome of that post is open, the correction waits for it. `is_new` says that the books do not know the
    correction yet. Raises ScheduleError when its words cannot be sent, or its own expiry has passed.
    """
    store, now = planner.post_store.store, planner.now
    if correction.expires_at is not None and correction.expires_at <= now:
        raise ScheduleError([Problem(code="resend_expired", facts={"post": correction.id})])
    queries, original = Queries(store), str(correction.follows)
    filed = await queries.deliveries(correction.id)
    originals = await queries.deliveries(correction.follows)
    correction_plan = plan_correction(
        originals, filed, targeted=correction.accounts, active=planner.post_renderer.accounts
    )
    sent = AuditAction(event="send_requested", subject=correction.id, by=by)
    ordered = AuditAction(event="correction_requested", subject=original, by=by, detail={"correction": correction.id})
    planned = _missing_deliveries(planner, correction, correction_plan, filed, is_new=is_new)
    if planned:
        await _enqueue(planner, planned, [planned[0].post] if is_new else (), [sent], is_resend=True)
    targets = [item.id for item in await queries.deliveries(correction.id) if item.account in correction_plan.targets]
    if targets:
        await OperatorActions(store).prioritize(targets, correction, [ordered] if planned else [sent, ordered])
    return correction_plan


def _missing_deliveries(
    planner: Planner, post: Post, correction_plan: CorrectionPlan, filed: Sequence[Delivery], *, is_new: bool
) -> list[PlannedDeliveries]:
    """File what is missing: where the entry names the account under its own occurrence, elsewhere under a new one.

    What is filed for later is filed again as due now, unless some account has been called with the words it has.
    """
    now = planner.now
    under_way = {delivery.account for delivery in filed if delivery.state in OPEN_STATES}
    used = {delivery.account for delivery in filed}
    missing = [account for account in correction_plan.targets if account not in under_way]
    if is_new:
        post = replace(post, accounts=correction_plan.targets)
    own = tuple(account for account in missing if account in post.accounts and account not in used)
    other = tuple(account for account in missing if account not in own)
    repeated = PlannedDeliveries(
        post=post, occurrence=make_occurrence(post, now.isoformat(), now), accounts=other, is_new=True
    )
    waits = {item.account for item in filed if item.state is State.PENDING and item.key.occurrence == ONCE_OCCURRENCE}
    pending = tuple(account for account in correction_plan.targets if account in waits)
    planned = (
        _plan_due_now(planner, post, own, is_new=True),
        _plan_due_now(planner, post, () if any(map(_may_have_started, filed)) else pending, is_new=False),
        repeated,
    )
    return [planned for planned in planned if planned.accounts]


def _may_have_started(delivery: Delivery) -> bool:
    """True if a creating call of it has begun, or may have."""
    return delivery.state is State.SENDING or (delivery.attempts > 0 and delivery.first_attempt_deadline is None)


async def _enqueue(
    planner: Planner,
    planned: Sequence[PlannedDeliveries],
    new: Sequence[Post] = (),
    actions: Sequence[AuditAction] = (),
    *,
    is_resend: bool = False,
) -> int:
    drafts, media, problems = await _render_all(planner, planned, [planned.post for planned in planned])
    if problems:
        raise ScheduleError(problems)
    return await planner.post_store.commit_plan(
        PlanCommit(
            plan=Plan(planned=tuple(planned)),
            rendered=drafts,
            posts=new,
            media=media,
            is_scheduled=False,
            is_resend=is_resend,
            actions=actions,
        )
    )
