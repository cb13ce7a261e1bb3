"""schedule + what is known -> filed deliveries."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from publisher.domain.account import AccountId
from publisher.domain.correction import Course, chart
from publisher.domain.delivery import OPEN, Delivery, State
from publisher.domain.errors import RefusedError, ScheduleError
from publisher.domain.events import Actor
from publisher.domain.plan import Filing, Known, KnownPost, Plan, Window, plan
from publisher.domain.post import ONCE, At, Post, Schedule, occurrence_of
from publisher.domain.problem import Problem
from publisher.domain.rendition import Revision
from publisher.rendering.press import Press
from publisher.schedule import Desk, cron_moments, next_occurrence, parse_schedule, past_posts, with_places
from publisher.store.board import Board
from publisher.store.engine import OvertakenError
from publisher.store.known import CRON_LOOKBACK
from publisher.store.orders import Orders
from publisher.store.portions import Draft
from publisher.store.registry import Acceptance, Act, Registry

Drafted = tuple[list[Draft], dict[str, tuple[str, bytes]], list[Problem]]
"""Filings with their final words, the bytes of their pictures by hash, and what speaks against the rest."""
MOST_ROUNDS = 3
"""How often a reload begins anew because another one was faster."""
FEW = 3
SHARE = 0.2
"""A reload may drop this many open posts, or this share of them, without being asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What planning works with: the books, the press, and how far ahead occurrences are filed."""

    registry: Registry
    press: Press
    desk: Desk
    plan_days: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One round at a time: another would file what this one is filing."""

    @property
    def now(self) -> datetime:
        return self.registry.books.world.now()

    @property
    def basis(self) -> str:
        """What tells the settings from which it is planned from others: whom a post goes to, and when."""
        desk = self.desk
        told = repr((desk.timezone, desk.accounts, desk.groups, self.plan_days))
        return hashlib.sha256(told.encode()).hexdigest()


async def reload(planner: Planner, text: str, file: str, accept: int | None = None, acts: Sequence[Act] = ()) -> int:
    """Put a new version of the schedule in force, whole or not at all. Returns how many deliveries are new.

    Of very many new deliveries the rest is filed in portions; what a death leaves of it is filed by `plan_ahead`.

    Raises ScheduleError with every Problem, or RefusedError `large_removal` when so many posts would vanish that a
    person must say their number in `accept`.
    """
    for _ in range(MOST_ROUNDS):
        with contextlib.suppress(OvertakenError):  # another version came into force while this one was being proved
            async with planner.turn:
                return await _reload(planner, text, file, accept, acts)
    raise RefusedError("reload_overtaken")


async def _reload(planner: Planner, text: str, file: str, accept: int | None, acts: Sequence[Act]) -> int:
    world = planner.registry.books.world
    based_on = await planner.registry.version()
    desk = await _desk(planner)
    schedule = await asyncio.to_thread(parse_schedule, text, file=file, desk=desk)
    known = await planner.registry.known(schedule.posts)
    posts = await _with_originals(planner, schedule.posts)
    problems = await asyncio.to_thread(_problems_of, planner, schedule, posts, known)
    if any(problem.is_error for problem in problems):
        raise ScheduleError(with_places(problems, text=text, file=file))
    await world.failpoint("reload.after_read")
    changes = await asyncio.to_thread(compare, planner, schedule, known)
    if changes.problems:
        raise ScheduleError(with_places(changes.problems, text=text, file=file))
    _guard_removal(changes, known, accept)
    drafts, media, problems = await _draft_all(planner, changes.filings, schedule.posts)
    if problems:
        raise ScheduleError(with_places(problems, text=text, file=file))
    return await planner.registry.accept(
        Acceptance(
            plan=changes,
            drafts=drafts,
            posts=schedule.posts,
            media=media,
            text=text,
            based_on=based_on,
            acts=acts,
        )
    )


async def plan_ahead(planner: Planner, schedule: Schedule, version: int) -> int:
    """File what has come within reach of that version of the schedule. Returns how many deliveries are new.

    Nothing is cancelled here because it is not named: only a reload does that. Raises OvertakenError, with nothing
    filed, when a newer version is in force; ScheduleError, when all else is filed, for posts whose words cannot be
    sent any more.
    """
    async with planner.turn:
        return await _plan_ahead(planner, schedule, version)


async def _plan_ahead(planner: Planner, schedule: Schedule, version: int) -> int:
    known = await planner.registry.known(schedule.posts)
    found = await asyncio.to_thread(compare, planner, schedule, known)
    ours = tuple(item for item in found.untargeted if set(item.accounts) <= set(planner.desk.accounts))
    changes = Plan(filings=found.filings, untargeted=ours)
    if not (changes.filings or changes.untargeted):
        return 0
    drafts, media, problems = await _draft_all(planner, changes.filings, schedule.posts)
    filed = await planner.registry.accept(Acceptance(plan=changes, drafts=drafts, media=media, based_on=version))
    if problems:
        raise ScheduleError(problems)
    return filed


async def schedule_in_force(planner: Planner, file: str) -> Schedule | None:
    """Read the last accepted schedule; None before the first.

    Raises ScheduleError when the settings have changed so much that it cannot be read any more. A template that is gone
    concerns only the posts that need it.
    """
    text = await planner.registry.schedule_text()
    if text is None:
        return None
    desk = replace(await _desk(planner), templates=None)
    return await asyncio.to_thread(parse_schedule, text, file=file, desk=desk)


async def _desk(planner: Planner) -> Desk:
    """A post may follow one that has left the schedule, if the database knows it."""
    return replace(planner.desk, known_posts=await planner.registry.post_ids())


async def _with_originals(planner: Planner, posts: Sequence[Post]) -> Sequence[Post]:
    """Add to these posts the ones they follow that have left the schedule, from the books."""
    ids = {post.id for post in posts}
    missing = sorted({post.follows for post in posts if post.follows is not None} - ids)
    found = [await planner.registry.post(post_id) for post_id in missing]
    return [*posts, *(post for post in found if post is not None)]


def _problems_of(planner: Planner, schedule: Schedule, posts: Sequence[Post], known: Known) -> list[Problem]:
    """Tell all that keeps a schedule's words from being sent in time. `posts` holds what they may follow as well.

    Words that are filed are frozen: what templates and pictures have become since does not concern them.
    """
    now, zone = planner.now, planner.desk.timezone
    late = [problem for problem in past_posts(schedule, now.astimezone(zone)) if problem.facts["post"] not in known]
    by_id = {post.id: post for post in posts}
    open_posts = [post for post in schedule.posts if not _is_frozen(post, known.get(post.id))]
    proofs = [planner.press.prove(post, next_occurrence(post, now, zone), post.accounts, by_id) for post in open_posts]
    return [*late, *(problem for proof in proofs for problem in proof.problems)]


def _is_frozen(post: Post, books: KnownPost | None) -> bool:
    """Whether all that a post will ever say is filed, just as the schedule words it."""
    if books is None or books.definition != post.definition or not isinstance(post.timing, At):
        return False
    filed = books.occurrences.get(ONCE)
    if filed is None or filed.is_over:
        return filed is not None
    is_worded = filed.definition == post.definition or not filed.open_accounts
    return is_worded and filed.accounts - filed.dropped_accounts >= set(post.accounts)


def compare(planner: Planner, schedule: Schedule, known: Known) -> Plan:
    """Compare a schedule with the books, as of now."""
    now = planner.now
    window = Window(now=now, until=now + timedelta(days=planner.plan_days))
    moments = {
        post.id: cron_moments(post, _since(post, known, now), window.until, planner.desk.timezone)
        for post in schedule.posts
        if not isinstance(post.timing, At)
    }
    return plan(schedule, known, window, moments)


def _since(post: Post, known: Known, now: datetime) -> datetime:
    books = known.get(post.id)
    return max(books.in_force_since, now - CRON_LOOKBACK) if books else now


def _guard_removal(changes: Plan, known: Known, accept: int | None) -> None:
    """A file cut short at a table border reads as a valid, shorter one: ask before many posts vanish."""
    open_posts = [
        post_id for post_id, books in known.items() if books.is_scheduled and not books.is_withdrawn and _is_open(books)
    ]
    vanishing = [post_id for post_id in changes.dropped if post_id in open_posts]
    if len(vanishing) > max(FEW, SHARE * len(open_posts)) and accept != len(vanishing):
        raise RefusedError("large_removal", number=str(len(vanishing)), posts="、".join(sorted(vanishing)[:20]))


def _is_open(books: KnownPost) -> bool:
    """Whether something of a post is still to come: filed and waiting, not filed yet, or repeating."""
    occurrences = books.occurrences
    return not occurrences or set(occurrences) != {ONCE} or any(held.open_accounts for held in occurrences.values())


async def _draft_all(planner: Planner, filings: Sequence[Filing], posts: Sequence[Post]) -> Drafted:
    known = await _with_originals(planner, posts)
    return await asyncio.to_thread(_draft, planner.press, filings, known)


def _draft(press: Press, filings: Sequence[Filing], posts: Sequence[Post]) -> Drafted:
    """Render filings; one with an error gives no draft, only its problems."""
    by_id = {post.id: post for post in posts}
    drafts: list[Draft] = []
    media: dict[str, tuple[str, bytes]] = {}
    problems: list[Problem] = []
    for filing in filings:
        proof = press.prove(filing.post, filing.occurrence, filing.accounts, by_id)
        errors = [problem for problem in proof.problems if problem.is_error]
        problems += errors
        if errors:
            continue
        media |= proof.media
        revision = Revision(definition=filing.post.definition, renditions=proof.renditions)
        drafts.append(Draft(filing=filing, revision=revision))
    return drafts, media, problems


async def send_now(planner: Planner, posts: Sequence[Post], acts: Sequence[Act] = ()) -> int:
    """File posts from outside the schedule, due now, all or none. Returns how many deliveries are new.

    Raises ScheduleError when their words cannot be sent.
    """
    filings = [
        Filing(post=post, occurrence=occurrence_of(post, ONCE, planner.now), accounts=post.accounts, is_new=True)
        for post in posts
    ]
    return await _file(planner, filings, posts, acts)


async def send_planned(planner: Planner, post: Post, act: Act) -> int:
    """Send a scheduled one-off post now. Returns how many deliveries are due by it.

    Its words carry this minute, not the planned one; if some account has been called already, the others get the same
    words as that one. Raises ScheduleError when the words cannot be sent.
    """
    books = planner.registry.books
    once = [item for item in await Board(books).deliveries(post.id) if item.key.label == ONCE]
    if any(map(_may_be_called, once)):
        return await Orders(books).send_now(post.id, act.by)
    waits = {item.account for item in once if item.state is State.PENDING}
    accounts = tuple(account for account in post.accounts if not once or account in waits)
    filing = _due_now(planner, post, accounts, is_new=not once)
    if filing.accounts:
        await _file(planner, [filing], acts=[act])
    return len(filing.accounts)


def _due_now(planner: Planner, post: Post, accounts: tuple[AccountId, ...], *, is_new: bool) -> Filing:
    """File a one-off post, or words in place of those filed, as due now; the schedule's own instant is remembered."""
    planned_at = post.timing.when if isinstance(post.timing, At) else None
    occurrence = occurrence_of(post, ONCE, planner.now)
    return Filing(post=post, occurrence=occurrence, accounts=accounts, is_new=is_new, planned_at=planned_at)


async def send_again(planner: Planner, post: Post, accounts: Sequence[AccountId], acts: Sequence[Act] = ()) -> int:
    """File one new occurrence of a post, due now, for these accounts. Returns how many deliveries are new.

    Raises ScheduleError when its words cannot be sent, or the post's own expiry has passed; RefusedError when it was
    withdrawn, or one of the accounts has it already, or still may get it.
    """
    now = planner.now
    for account in accounts:
        if hindrance := await planner.registry.why_not_again(post, account):
            raise RefusedError(hindrance, post=post.id, account=account)
    if post.expires_at is not None and post.expires_at <= now:
        raise ScheduleError([Problem(code="resend_expired", facts={"post": post.id})])
    occurrence = occurrence_of(post, now.isoformat(), now)
    filing = Filing(post=post, occurrence=occurrence, accounts=tuple(accounts), is_new=True)
    return await _file(planner, [filing], acts=acts, is_again=True)


async def correct(planner: Planner, correction: Post, by: Actor, *, is_new: bool) -> Course:
    """Send a correction at once wherever the post it follows is live or may be, whatever its own entry says of `to`.

    Where the outcome of that post is open, the correction waits for it. `is_new` says that the books do not know the
    correction yet. Raises ScheduleError when its words cannot be sent, or its own expiry has passed.
    """
    books, now = planner.registry.books, planner.now
    if correction.expires_at is not None and correction.expires_at <= now:
        raise ScheduleError([Problem(code="resend_expired", facts={"post": correction.id})])
    board, original = Board(books), str(correction.follows)
    filed = await board.deliveries(correction.id)
    originals = await board.deliveries(correction.follows)
    course = chart(originals, filed, addressed=correction.accounts, speaking=planner.press.accounts)
    sent = Act(event="sent_now", subject=correction.id, by=by)
    ordered = Act(event="correction_ordered", subject=original, by=by, detail={"correction": correction.id})
    filings = _filings_of(planner, correction, course, filed, is_new=is_new)
    if filings:
        await _file(planner, filings, [filings[0].post] if is_new else (), [sent], is_again=True)
    targets = [item.id for item in await board.deliveries(correction.id) if item.account in course.targets]
    if targets:
        await Orders(books).put_first(targets, correction, [ordered] if filings else [sent, ordered])
    return course


def _filings_of(
    planner: Planner, post: Post, course: Course, filed: Sequence[Delivery], *, is_new: bool
) -> list[Filing]:
    """File what is missing: where the entry names the account under its own occurrence, elsewhere under a new one.

    What is filed for later is filed again as due now, unless some account has been called with the words it has.
    """
    now = planner.now
    under_way = {delivery.account for delivery in filed if delivery.state in OPEN}
    used = {delivery.account for delivery in filed}
    missing = [account for account in course.targets if account not in under_way]
    if is_new:
        post = replace(post, accounts=course.targets)
    own = tuple(account for account in missing if account in post.accounts and account not in used)
    other = tuple(account for account in missing if account not in own)
    again = Filing(post=post, occurrence=occurrence_of(post, now.isoformat(), now), accounts=other, is_new=True)
    waits = {item.account for item in filed if item.state is State.PENDING and item.key.label == ONCE}
    pending = tuple(account for account in course.targets if account in waits)
    filings = (
        _due_now(planner, post, own, is_new=True),
        _due_now(planner, post, () if any(map(_may_be_called, filed)) else pending, is_new=False),
        again,
    )
    return [filing for filing in filings if filing.accounts]


def _may_be_called(delivery: Delivery) -> bool:
    """True if a creating call of it has begun, or may have."""
    return delivery.state is State.SENDING or (delivery.attempts > 0 and delivery.last_first_call_at is None)


async def _file(
    planner: Planner,
    filings: Sequence[Filing],
    new: Sequence[Post] = (),
    acts: Sequence[Act] = (),
    *,
    is_again: bool = False,
) -> int:
    drafts, media, problems = await _draft_all(planner, filings, [filing.post for filing in filings])
    if problems:
        raise ScheduleError(problems)
    return await planner.registry.accept(
        Acceptance(
            plan=Plan(filings=tuple(filings)),
            drafts=drafts,
            posts=new,
            media=media,
            is_scheduled=False,
            is_again=is_again,
            acts=acts,
        )
    )
