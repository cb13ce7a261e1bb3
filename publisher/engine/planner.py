"""Plan: compare the schedule with the store, and file deliveries with their final texts."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, State
from publisher.domain.errors import (
    NoSuchItemError,
    Problem,
    RefusedError,
    ScheduleError,
)
from publisher.domain.evergreen import choose_evergreen
from publisher.domain.families import list_candidates, without_conflicts
from publisher.domain.plan import (
    LateAccounts,
    Plan,
    PlannedDeliveries,
    PlanWindow,
    StoredPosts,
)
from publisher.domain.portions import (
    take_portion,
    without_left_out_posts,
    without_occurrences,
)
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OccurrenceKey,
    OneTimeTrigger,
    Post,
    PostId,
    RenderedRevision,
    Schedule,
    find_family,
    format_delivery_name,
    make_occurrence,
    name_ordered_occurrence,
)
from publisher.domain.removals import (
    find_removals,
    without_settings_changes,
    without_unknown_accounts,
)
from publisher.rendering.renderer import PostRenderer
from publisher.schedule.compare import compare_schedule
from publisher.schedule.cron import find_next_occurrence, list_cron_times
from publisher.schedule.load import ScheduleContext, locate_problems, parse_schedule
from publisher.schedule.warnings import find_early_follow_ups, find_overdue_posts
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.deliveries.cancellations import OrderedCorrection
from publisher.store.plan.batches import RenderedOccurrence
from publisher.store.plan.plan_alerts import PlanAlerts, make_plan_alerts, name_posts
from publisher.store.plan.posts import AuditAction, PlanCommit
from publisher.store.store import Store

RenderedBatch = tuple[
    list[RenderedOccurrence], dict[str, tuple[str, bytes]], list[Problem]
]
"""Deliveries with their final texts, their pictures by hash, and the errors of the rest.

A picture has its media type and its bytes.
"""
MAX_PORTION_TEXTS = 500
"""How many texts are rendered before they are filed and another change gets its turn.

A large post alone may have more.
"""
MAX_APPLY_ATTEMPTS = 3
"""How often a new version is tried if another one was activated meanwhile."""
RECHECK_INTERVAL = timedelta(hours=1)
"""How often the schedule is compared with the database although neither has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedSchedule:
    """A version in force: the number of new deliveries, and the posts that it leaves as filed.

    Accounts were added to the posts of `late_accounts` too late to get them. Something of the posts
    `taken` was cancelled, confirmed or not. The settings would take something from the `withheld`
    posts, once a person confirms it or all `hosts` agree.
    """

    filed: int
    left_out: Sequence[Problem] = ()
    late_accounts: Sequence[LateAccounts] = ()
    taken: Sequence[str] = ()
    withheld: Sequence[str] = ()
    hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """The context of planning: store, renderer, and how many days ahead occurrences are filed."""

    store: Store
    post_renderer: PostRenderer
    schedule_context: ScheduleContext
    plan_days: int
    approve_days: int = 7
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One plan at a time: a second one would file the same deliveries."""
    sound_posts: dict[PostId, tuple[object, ...]] = field(
        default_factory=dict, init=False
    )
    """Dependencies of the last schedule's texts, for each post with only sound texts."""

    @property
    def now(self) -> datetime:
        return self.store.runtime.now()

    @property
    def config_hash(self) -> str:
        """Hash of the settings that decide a post's recipients and times."""
        context = self.schedule_context
        settings_text = repr(
            (context.timezone, context.accounts, context.groups, self.plan_days)
        )
        if self.store.approval_rules.is_active:
            settings_text += repr((self.store.approval_rules, self.approve_days))
        return hashlib.sha256(settings_text.encode()).hexdigest()


async def apply_schedule(  # noqa: PLR0913 # the text, where it comes from, and what people say about it
    planner: Planner,
    text: str,
    file: str,
    confirmed_removals: int | None = None,
    actions: Sequence[AuditAction] = (),
    *,
    file_owner: str | None = None,
) -> AppliedSchedule:
    """Activate a new schedule version as a whole, less the posts that cannot be changed to fit it.

    Very many new deliveries are filed in batches, and later occurrences of repeating posts are left
    to `plan_window`, as is the rest after a crash.
    `file` is the name in problems; its owner may approve nothing of it.

    Raises ScheduleError with every Problem. Raises RefusedError `large_removal` if too many posts
    would vanish: a person must then state their number in `confirmed_removals`. A number that fits
    no waiting removal is refused too.
    """
    for _ in range(MAX_APPLY_ATTEMPTS):
        # another version was activated while this one was checked
        with contextlib.suppress(ConcurrentUpdateError):
            async with planner.lock:
                return await _apply_schedule(
                    planner, text, file, confirmed_removals, actions, file_owner
                )
    raise RefusedError("reload_conflict")


async def _apply_schedule(  # noqa: PLR0913, PLR0917 # as above
    planner: Planner,
    text: str,
    file: str,
    confirmed_removals: int | None,
    actions: Sequence[AuditAction],
    file_owner: str | None,
) -> AppliedSchedule:
    post_store = planner.store.posts
    base_version = await post_store.schedule_version()
    if await planner.store.saves.is_superseded(text):
        await planner.store.saves.report_lost(text)
        raise RefusedError("save_superseded")
    context = await _schedule_context(planner)
    schedule = await asyncio.to_thread(parse_schedule, text, file=file, context=context)
    known = await post_store.stored_posts(schedule.posts)
    changes = await asyncio.to_thread(diff_schedule, planner, schedule, known)
    changed = without_left_out_posts(schedule, changes)
    posts = await with_originals(planner, changed.posts)
    names = await planner.store.saves.posts_saved_in(text)
    saved = frozenset(
        post
        for post in (*known, *(each.id for each in schedule.posts))
        if find_family(post) in names
    )
    accepted = saved.union(
        post.id
        for post in changed.posts
        if post.id in known and known[post.id].content_hash == post.content_hash
    )
    problems = await asyncio.to_thread(find_problems, planner, changed, posts, known)
    if _must_refuse(problems, accepted):
        raise ScheduleError(locate_problems(problems, text=text, file=file))
    await planner.store.runtime.hit_failpoint("reload.after_read")
    settled = await _settle_removals(
        planner, changes, known, confirmed_removals, saved=saved
    )
    settled = await settle_families(planner, settled, schedule, known)
    changes = take_portion(settled.changes, MAX_PORTION_TEXTS, planner.now)
    rendered, media, unsendable = await _render_all(
        planner, changes.planned, changed.posts
    )
    if _must_refuse(unsendable, accepted):
        raise ScheduleError(locate_problems(unsendable, text=text, file=file))
    filed = await post_store.commit_plan(
        PlanCommit(
            plan=changes,
            is_whole=changes == settled.changes,
            alerts=settled.alerts,
            taken=settled.unconfirmed,
            rendered=rendered,
            posts=changed.posts,
            media=media,
            schedule_text=text,
            base_version=base_version,
            actions=actions,
            file_owner=file_owner,
        )
    )
    left_out = locate_problems([*changes.left_out, *unsendable], text=text, file=file)
    return replace(settled.applied(filed), left_out=left_out)


def _must_refuse(problems: Sequence[Problem], accepted: AbstractSet[PostId]) -> bool:
    """Return True if problems keep a new version out of force.

    Problems of earlier accepted posts are found too late for that, by the dashboard or in the
    version in force. Such a post is late, or its text has a secret unknown to the dashboard, or is
    too long on some day. It expires, or waits until it is changed, and holds up no other post.
    """
    return any(
        problem.is_error and problem.facts.get("post") not in accepted
        for problem in problems
    )


async def plan_window(planner: Planner, schedule: Schedule, version: int) -> int:
    """File posts newly in the planning window of this version. Return the number of new deliveries.

    The remaining work of the version itself is done too, as after a crash. Raises
    ConcurrentUpdateError, with nothing filed, if a newer version is active. Raises ScheduleError,
    after all else is filed, for posts with a text that cannot be sent any more.
    """
    filed, problems = 0, list[Problem]()
    unsendable = frozenset[OccurrenceKey]()
    is_complete = False
    while not is_complete:
        portion = await _plan_portion(planner, schedule, version, unsendable)
        filed += portion.applied.filed
        problems += portion.problems
        unsendable |= portion.unsendable
        is_complete = portion.is_complete
    if problems:
        raise ScheduleError(problems)
    return filed


async def confirm_settings(
    planner: Planner,
    schedule: Schedule,
    version: int,
    confirmed_removals: int,
    actions: Sequence[AuditAction],
) -> AppliedSchedule:
    """Plan the active version, and cancel the confirmed number of posts that the settings affect.

    A person has confirmed that number. Raises RefusedError, with nothing changed, if it is another
    number, and the errors of `plan_window`, which completes a large plan.
    """
    portion = await _plan_portion(
        planner,
        schedule,
        version,
        confirmed_removals=confirmed_removals,
        actions=actions,
    )
    if portion.problems:
        raise ScheduleError(portion.problems)
    return portion.applied


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPortion:
    """A filed part of a plan; `unsendable` are its occurrences with a text that cannot be sent."""

    applied: AppliedSchedule
    problems: Sequence[Problem] = ()
    unsendable: frozenset[OccurrenceKey] = frozenset()
    is_complete: bool = True


async def _plan_portion(  # noqa: PLR0913 # what is planned, and what people say about it
    planner: Planner,
    schedule: Schedule,
    version: int,
    unsendable: AbstractSet[OccurrenceKey] = frozenset(),
    *,
    confirmed_removals: int | None = None,
    actions: Sequence[AuditAction] = (),
) -> PlannedPortion:
    """File the next portion of a version's plan, without the occurrences known as unsendable."""
    post_store = planner.store.posts
    async with planner.lock:
        known = await post_store.stored_posts(schedule.posts)
        found = await asyncio.to_thread(diff_schedule, planner, schedule, known)
        settled = await _settle_removals(
            planner, found, known, confirmed_removals, is_in_force=True
        )
        settled = await settle_families(planner, settled, schedule, known)
        await post_store.report_plan(settled.alerts, version)
        await post_store.report_late_accounts(settled.changes.late_accounts)
        sendable = without_occurrences(settled.changes, unsendable)
        changes = take_portion(sendable, MAX_PORTION_TEXTS, planner.now)
        if not (changes.planned or changes.removed_targets or changes.removed_posts):
            return PlannedPortion(applied=settled.applied(0))
        posts = without_left_out_posts(schedule, changes).posts
        rendered, media, problems = await _render_all(planner, changes.planned, posts)
        is_complete = changes == sendable
        filed = await post_store.commit_plan(
            PlanCommit(
                plan=changes,
                is_whole=is_complete,
                rendered=rendered,
                media=media,
                base_version=version,
                taken=settled.unconfirmed,
                actions=actions,
            )
        )
        sound = {item.planned.occurrence.key for item in rendered}
        return PlannedPortion(
            applied=settled.applied(filed),
            problems=problems,
            unsendable=frozenset(
                item.occurrence.key
                for item in changes.planned
                if item.occurrence.key not in sound
            ),
            is_complete=is_complete,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledPlan:
    """The part of a plan that needs no confirmation.

    `withheld` are the posts that settings would take something from. The plan takes something from
    the posts `taken`. A person has confirmed that, except of the `unconfirmed` ones.
    """

    changes: Plan
    taken: Sequence[str]
    unconfirmed: Sequence[str]
    withheld: Sequence[str]
    hosts: Sequence[str]

    @property
    def alerts(self) -> PlanAlerts:
        return make_plan_alerts(self.changes.left_out, self.withheld, self.hosts)

    def applied(self, filed: int) -> AppliedSchedule:
        return AppliedSchedule(
            filed=filed,
            left_out=self.changes.left_out,
            late_accounts=self.changes.late_accounts,
            taken=self.taken,
            withheld=self.withheld,
            hosts=self.hosts,
        )


async def _settle_removals(  # noqa: PLR0913 # the plan, and what people say about it
    planner: Planner,
    changes: Plan,
    known: StoredPosts,
    confirmed_removals: int | None,
    *,
    saved: AbstractSet[PostId] = frozenset(),
    is_in_force: bool = False,
) -> SettledPlan:
    """Ask before many posts vanish, and hold back removals by settings until they are confirmed.

    A file cut short at a table border is a valid, shorter schedule. Once it `is_in_force`, it was
    confirmed. Posts `saved` one by one on the dashboard are no such case: holding them back would
    hold back all saves after them. While another daemon plans with other settings, neither takes
    anything from the other. Raises RefusedError, also for a number other than that of the waiting
    removal: it answers another question than the present one.
    """
    changes = without_unknown_accounts(
        changes, frozenset(planner.schedule_context.accounts)
    )
    removals = find_removals(changes, known, saved)
    hosts = await planner.store.posts.hosts_with_other_settings(planner.config_hash)
    vanishing = (
        removals.by_schedule
        if removals.must_ask_about_schedule and not is_in_force
        else ()
    )
    must_wait = bool(hosts) or removals.must_ask_about_settings
    withheld = removals.by_settings if must_wait else ()
    # One number answers one question: that about the schedule comes first.
    asked, code = (
        (vanishing, "large_removal") if vanishing else (withheld, "settings_removal")
    )
    if confirmed_removals is not None and not asked:
        raise RefusedError("no_removal_waits", confirmed=str(confirmed_removals))
    if confirmed_removals != len(asked) and (
        vanishing or confirmed_removals is not None
    ):
        raise RefusedError(code, number=str(len(asked)), posts=name_posts(asked))
    confirmed = frozenset(asked if confirmed_removals is not None else ())
    if confirmed and not vanishing:
        must_wait, withheld = False, ()
    if must_wait:
        changes = without_settings_changes(changes, known)
    taken = find_removals(changes, known).taken
    return SettledPlan(
        changes=changes,
        taken=taken,
        unconfirmed=tuple(post for post in taken if post not in confirmed),
        withheld=withheld,
        hosts=hosts,
    )


async def settle_families(
    planner: Planner, settled: SettledPlan, schedule: Schedule, known: StoredPosts
) -> SettledPlan:
    """Leave out the deliveries that their accounts have under another id of the family."""
    found = settled.changes
    conflicts = await planner.store.posts.family_conflicts(
        list_candidates(found, schedule, planner.now), found
    )
    changes = without_conflicts(found, conflicts, known, planner.now)
    return replace(settled, changes=changes)


def find_next_planning(planner: Planner, schedule: Schedule) -> timedelta:
    """Return how long a plan of that schedule stays complete; RECHECK_INTERVAL at most.

    The time holds unless the database changes.
    """
    window, zone = find_window(planner), planner.schedule_context.timezone
    waits = [RECHECK_INTERVAL]
    for post in schedule.posts:
        window_end = window.end_for(post)
        if window_end is None:  # all of it is stored at once
            continue
        if not isinstance(post.trigger, OneTimeTrigger):
            following = list_cron_times(
                post,
                window_end + timedelta.resolution,
                window_end + RECHECK_INTERVAL,
                zone,
            )
            waits += [due_at - window_end for due_at in following[:1]]
        elif post.trigger.at is not None and post.trigger.at > window_end:
            waits.append(post.trigger.at - window_end)
    return min(waits)


async def active_schedule(planner: Planner, file: str) -> Schedule | None:
    """Parse the active schedule; None before the first.

    Raises ScheduleError if it is invalid under the present settings. A missing template concerns
    only its posts.
    """
    text = await planner.store.posts.active_schedule_text()
    if text is None:
        return None
    context = replace(await _schedule_context(planner), templates=None)
    return await asyncio.to_thread(parse_schedule, text, file=file, context=context)


async def _schedule_context(planner: Planner) -> ScheduleContext:
    """Return the context with all stored ids: a post may follow one that has left the schedule."""
    return replace(
        planner.schedule_context, known_posts=await planner.store.queries.post_ids()
    )


async def with_originals(planner: Planner, posts: Sequence[Post]) -> Sequence[Post]:
    """Return these posts with the posts that they follow, and note the latter's markers.

    The originals are included even if they have left the schedule.
    """
    ids = {post.id for post in posts}
    missing = sorted({post.follows for post in posts if post.follows is not None} - ids)
    found = [await planner.store.posts.get_post(post_id) for post_id in missing]
    followed = {post.follows for post in posts if post.follows is not None}
    planner.post_renderer.older_markers.update(
        await planner.store.accounts.markers_under_former_ids(followed)
    )
    return [*posts, *(post for post in found if post is not None)]


def find_problems(
    planner: Planner, schedule: Schedule, posts: Sequence[Post], known: StoredPosts
) -> list[Problem]:
    """Return all obstacles to sending a schedule's posts in time. `posts` includes their originals.

    Filed texts are frozen: later changes of templates and pictures do not concern them. Texts that
    were sound in the last version are not rendered again, if their post and pictures have not
    changed. Every text is rendered before it is filed.
    """
    now, zone = planner.now, planner.schedule_context.timezone
    families = set(map(find_family, known))
    problems = [
        problem
        for problem in find_overdue_posts(schedule, now.astimezone(zone))
        if find_family(problem.facts["post"]) not in families
    ]
    by_id = {post.id: post for post in posts}
    problems += find_early_follow_ups(schedule.posts, by_id)
    sound: dict[PostId, tuple[object, ...]] = {}
    unchecked = []
    for post in schedule.posts:
        stored = known.get(post.id)
        if stored is not None and stored.is_fully_planned(post):
            continue
        occurrence = find_next_occurrence(post, now, zone)
        original = by_id[post.follows].title if post.follows in by_id else None
        pictures = planner.post_renderer.find_picture_states(post)
        sound[post.id] = (
            post.content_hash,
            occurrence.due_at,
            post.accounts,
            original,
            pictures,
        )
        if planner.sound_posts.get(post.id) != sound[post.id]:
            unchecked.append((post, occurrence, post.accounts))
    results = planner.post_renderer.render_all(unchecked, by_id, with_media=False)
    for (post, _occurrence, _accounts), result in zip(unchecked, results, strict=True):
        problems += result.problems
        if result.problems:
            del sound[post.id]
    planner.sound_posts.clear()
    planner.sound_posts.update(sound)
    return problems


def diff_schedule(planner: Planner, schedule: Schedule, known: StoredPosts) -> Plan:
    """Compare a schedule with the store, as of now."""
    return compare_schedule(
        schedule, known, find_window(planner), planner.schedule_context.timezone
    )


def find_window(planner: Planner) -> PlanWindow:
    """Return the times up to which occurrences are planned now."""
    now = planner.now
    return PlanWindow(
        now=now,
        until=now + timedelta(days=planner.plan_days),
        approvable_until=now + timedelta(days=planner.approve_days),
        approval_rules=planner.store.approval_rules,
    )


async def _render_all(
    planner: Planner, planned: Sequence[PlannedDeliveries], posts: Sequence[Post]
) -> RenderedBatch:
    """Render planned deliveries; one with an error has no text, only its problems."""
    by_id = {post.id: post for post in await with_originals(planner, posts)}

    def render() -> RenderedBatch:
        rendered: list[RenderedOccurrence] = []
        media: dict[str, tuple[str, bytes]] = {}
        problems: list[Problem] = []
        items = [(item.post, item.occurrence, item.accounts) for item in planned]
        for item, result in zip(
            planned, planner.post_renderer.render_all(items, by_id), strict=True
        ):
            errors = [problem for problem in result.problems if problem.is_error]
            problems += errors
            if not errors:
                media |= result.media
                revision = RenderedRevision(
                    content_hash=item.post.content_hash,
                    rendered_posts=result.rendered_posts,
                )
                rendered.append(RenderedOccurrence(planned=item, revision=revision))
        return rendered, media, problems

    return await asyncio.to_thread(render)


async def send_now(
    planner: Planner, posts: Sequence[Post], actions: Sequence[AuditAction] = ()
) -> int:
    """File posts from outside the schedule, due now, all or none. Return the number of deliveries.

    The number is that of new deliveries. Raises ScheduleError if their texts cannot be sent.
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
    return await enqueue(planner, planned, posts, actions)


async def send_scheduled_now(planner: Planner, post: Post, action: AuditAction) -> int:
    """Send a scheduled one-off post now. Return how many deliveries become due.

    Its text carries this minute, not the scheduled one. If a call may have started for one account,
    the others get the same text. An approved text is sent as it is. Raises ScheduleError if the
    text cannot be sent.
    """
    once = [
        item
        for item in await planner.store.queries.deliveries(post.id)
        if item.key.occurrence == ONCE_OCCURRENCE
    ]
    tasks = (
        await planner.store.approvals.tasks(post.id)
        if planner.store.approval_rules.is_active
        else ()
    )
    is_approved = any(
        task.status.counted
        for task in tasks
        if task.key == OccurrenceKey(post=post.id, occurrence=ONCE_OCCURRENCE)
    )
    if is_approved or any(item.may_have_been_called for item in once):
        return await planner.store.actions.send_now(post.id, action.by)
    pending = {item.account for item in once if item.state is State.PENDING}
    accounts = tuple(
        account for account in post.accounts if not once or account in pending
    )
    planned = plan_due_now(planner, post, accounts, is_new=not once)
    if planned.accounts:
        await enqueue(planner, [planned], actions=[action])
    return len(planned.accounts)


def plan_due_now(
    planner: Planner, post: Post, accounts: tuple[AccountId, ...], *, is_new: bool
) -> PlannedDeliveries:
    """Plan a one-off post, or a new text for it, as due now; its scheduled time is kept."""
    return PlannedDeliveries(
        post=post,
        occurrence=make_occurrence(post, ONCE_OCCURRENCE, planner.now),
        accounts=accounts,
        is_new=is_new,
        scheduled_at=post.trigger.at
        if isinstance(post.trigger, OneTimeTrigger)
        else None,
    )


async def resend_post(
    planner: Planner,
    post: Post,
    accounts: Sequence[AccountId],
    actions: Sequence[AuditAction] = (),
    due_at: datetime | None = None,
) -> int:
    """File a new occurrence of a post for these accounts, due now or at `due_at`.

    Return how many deliveries are new. Raises ScheduleError if its text cannot be sent, or the post
    has expired. Raises RefusedError if it was cancelled, or if one of the accounts has it already,
    or may still get it.
    """
    now = planner.now
    for account in accounts:
        if blocker := await planner.store.posts.resend_blocker(post, account):
            raise RefusedError(blocker, post=post.id, account=account)
    due_at = due_at or now
    if post.expires_at is not None and post.expires_at <= due_at:
        raise ScheduleError([Problem(code="resend_expired", facts={"post": post.id})])
    occurrence = make_occurrence(post, name_ordered_occurrence(now), due_at)
    planned = PlannedDeliveries(
        post=post, occurrence=occurrence, accounts=tuple(accounts), is_new=True
    )
    return await enqueue(planner, [planned], actions=actions, is_resend=True)


async def schedule_evergreen(
    planner: Planner,
    account: AccountId,
    by: Actor,
    post_id: PostId | None = None,
    due_at: datetime | None = None,
) -> Post:
    """File an evergreen post for an account, due now or at `due_at`. Return the post.

    The approvals of its kind are still needed. Without `post_id` it is the least recently used one
    that the account has not had. Raises NoSuchItemError. Raises RefusedError if there is none left,
    if one is under way already, or if the post is not in the drawer. Also raises the errors of
    `resend_post`.
    """
    drawer = await planner.store.queries.evergreen_posts()
    if post_id is None:
        open_posts = [item.post.id for item in drawer if item.is_open_on(account)]
        if open_posts:
            raise RefusedError(
                "evergreen_under_way", account=account, post=open_posts[0]
            )
        post = choose_evergreen(drawer, account, due_at or planner.now)
        if post is None:
            raise RefusedError("evergreen_used_up", account=account)
    else:
        post = next((item.post for item in drawer if item.post.id == post_id), None)
        if post is None:
            raise NoSuchItemError(
                "evergreen_post", post_id, [item.post.id for item in drawer]
            )
        if account not in post.accounts:
            raise RefusedError(
                "evergreen_not_for_account", account=account, post=post.id
            )
    subject = format_delivery_name(post.id, ONCE_OCCURRENCE, account)
    action = AuditAction(event="evergreen_scheduled", subject=subject, by=by)
    await resend_post(planner, post, [account], [action], due_at)
    return post


async def enqueue(  # noqa: PLR0913 # what is filed, and by which orders
    planner: Planner,
    planned: Sequence[PlannedDeliveries],
    new: Sequence[Post] = (),
    actions: Sequence[AuditAction] = (),
    *,
    is_resend: bool = False,
    corrects: OrderedCorrection | None = None,
) -> int:
    """File deliveries that a person has ordered; return how many are new.

    The posts that are not stored yet are `new`. Raises ScheduleError if a text cannot be sent.
    """
    rendered, media, problems = await _render_all(
        planner, planned, [item.post for item in planned]
    )
    if problems:
        raise ScheduleError(problems)
    return await planner.store.posts.commit_plan(
        PlanCommit(
            plan=Plan(planned=tuple(planned)),
            rendered=rendered,
            posts=new,
            media=media,
            is_scheduled=False,
            is_resend=is_resend,
            actions=actions,
            saved_by=actions[0].by.name if new and actions else None,
            corrects=corrects,
        )
    )
