"""The bounds of one person's saves: accounts and amount."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import chain

from publisher.domain.account import AccountId
from publisher.domain.characters import is_same_name
from publisher.domain.errors import Location, Problem
from publisher.domain.post import MEMBER_MARK, OneTimeTrigger, Post, PostId, find_family
from publisher.engine.planner import Planner, find_window
from publisher.engine.post_change import (
    PostChange,
    PreparedEdit,
    ScheduleText,
    Writer,
    find_accounts,
)
from publisher.schedule.cron import count_times
from publisher.schedule.load import (
    NO_CHOICES,
    SCHEDULE_READ_LIMITS,
)
from publisher.tomlfile.read import count_bytes

EMERGENCY_BYTES = 2**19
MAX_SAVED_BYTES = SCHEDULE_READ_LIMITS.max_bytes - EMERGENCY_BYTES
"""The dashboard makes the file no larger, except for emergencies. The rest is kept for them."""
MAX_GROWTH, GROWTH_PERIOD = 2**20, timedelta(days=7)
"""By how much the saves of one person make the file larger in this time: nobody fills it alone."""
EMERGENCY_GROWTH = 2**17
MAX_SAVES_A_DAY, EMERGENCIES_A_DAY = 500, 100
"""How often one person saves in a day, and how often more in emergencies.

Every saved text is kept for long.
"""
MAX_AHEAD_PER_ACCOUNT, EMERGENCIES_PER_ACCOUNT = 500, 100
"""How often posts of one author may be planned for an account on the dashboard.

The second number is that of emergencies. All are rendered and wait for approvals.
"""
TIMING_FIELDS = frozenset({"at", "cron", "from", "until", "days", "to", "urgent"})


async def find_refusal(
    planner: Planner, prepared: PreparedEdit, writer: Writer, file: str
) -> Problem | None:
    """Return the problem of an edit that is not allowed, although the writer has its accounts."""
    if "follows" in prepared.fields and not await sees_followed(
        planner, prepared, writer.reach
    ):
        follows = str((prepared.change.entry or {}).get("follows", ""))
        facts = {"post": prepared.change.post, "value": follows, "choices": NO_CHOICES}
        return Problem(
            code="follows_unknown",
            location=Location(file=file, path="follows"),
            facts=facts,
        )
    if not writer.may_write(await find_earlier_accounts(planner, prepared)):
        return Problem(
            code="id_taken",
            location=Location(file=file, path="id"),
            facts={"post": prepared.change.post},
        )
    if not writer.may_write(await find_corrected_accounts(planner, prepared)):
        return Problem(
            code="correction_stops_others", location=Location(file=file, path="follows")
        )
    if await is_widened_before_its_correction(planner, prepared):
        return Problem(code="correction_ahead", location=Location(file=file, path="to"))
    if prepared.edit.text == prepared.schedule.file_text:
        return None
    if await is_repaired_before(planner, prepared):
        return Problem(code="repaired_before", location=Location(file=file, path="to"))
    if await has_used_room(planner, prepared, writer):
        facts = {"most": str(MAX_GROWTH // 1024), "days": str(GROWTH_PERIOD.days)}
        return Problem(code="room_used", location=Location(file=file), facts=facts)
    if await has_saved_too_often(planner, prepared, writer):
        return Problem(
            code="saves_used",
            location=Location(file=file),
            facts={"most": str(MAX_SAVES_A_DAY)},
        )
    return None


async def is_repaired_before(planner: Planner, prepared: PreparedEdit) -> bool:
    """Return True if another person has repaired the same refused post for one of the accounts."""
    refused = prepared.change.copied_from
    if not prepared.change.is_repair or refused is None:
        return False
    return await planner.store.progress.is_rewritten(refused, prepared.accounts)


async def find_earlier_accounts(
    planner: Planner, prepared: PreparedEdit
) -> Collection[AccountId]:
    """Return the edited post's accounts, and for a new one the accounts of an earlier post.

    Pauses and record belong to an id.
    """
    post = prepared.change.post
    earlier = (
        await planner.store.posts.family_posts(post)
        if prepared.change.base is None
        else ()
    )
    return {
        *prepared.accounts,
        *chain.from_iterable(one.accounts for one in earlier),
        *await find_filed_accounts(planner, [one.id for one in earlier]),
    }


async def find_filed_accounts(
    planner: Planner, posts: Collection[PostId]
) -> Collection[AccountId]:
    """Return the accounts with a delivery of one of these posts."""
    return {
        delivery.account
        for post in posts
        for delivery in await planner.store.queries.deliveries(post)
    }


async def is_widened_before_its_correction(
    planner: Planner, prepared: PreparedEdit
) -> bool:
    """Return True if a post gets further accounts although a correction of it waits for its time.

    The correction stops it everywhere then. Its writer was asked for the accounts that the post
    had.
    """
    corrected = {
        other.follows
        for other in prepared.posts.values()
        if other.kind.traits.stops_original
    }
    members = [post for post in prepared.members if post.id in corrected]
    if not members:
        return False
    stored = await planner.store.posts.family_posts(prepared.change.post)
    known = {
        *find_accounts(prepared.change.base or {}, planner.schedule_context),
        *await find_filed_accounts(planner, [post.id for post in stored]),
        *chain.from_iterable(post.accounts for post in stored),
    }
    return not known.issuperset(chain.from_iterable(post.accounts for post in members))


async def find_corrected_accounts(
    planner: Planner, prepared: PreparedEdit
) -> Collection[AccountId]:
    """Return the accounts where the edited post stops another one.

    A correction does so wherever the other one is not out.
    """
    originals = {
        post.follows
        for post in prepared.members
        if post.kind.traits.stops_original and post.follows is not None
    }
    accounts = {*prepared.accounts}
    for original in originals:
        family = await planner.store.posts.family_posts(find_family(original))
        stored = [
            post
            for post in family
            if MEMBER_MARK not in original or post.id == original
        ]
        known = [
            *stored,
            *(prepared.posts[one] for one in originals & prepared.posts.keys()),
        ]
        accounts |= {
            *await find_filed_accounts(planner, [post.id for post in stored]),
            *chain.from_iterable(post.accounts for post in known),
        }
    return accounts


async def has_used_room(
    planner: Planner, prepared: PreparedEdit, writer: Writer
) -> bool:
    """Return True if the writer's saves of late would make the file larger than one person may."""
    growth = count_bytes(prepared.text) - count_bytes(prepared.schedule.text)
    before = await planner.store.saves.growth_since(
        writer.actor.name, planner.now - GROWTH_PERIOD
    )
    most = MAX_GROWTH + (EMERGENCY_GROWTH if prepared.change.is_emergency else 0)
    return growth > 0 and before + growth > most


async def has_saved_too_often(
    planner: Planner, prepared: PreparedEdit, writer: Writer
) -> bool:
    """Return True if the writer has saved as often today as one person may."""
    most = MAX_SAVES_A_DAY + (EMERGENCIES_A_DAY if prepared.change.is_emergency else 0)
    return (
        await planner.store.saves.count_since(
            writer.actor.name, planner.now - timedelta(days=1)
        )
        >= most
    )


async def sees_followed(
    planner: Planner, prepared: PreparedEdit, reach: Collection[AccountId] | None
) -> bool:
    """Return True if the writer may see the post that theirs follows, in the file or in force."""
    if reach is None:
        return True
    followed = {post.follows for post in prepared.members if post.follows is not None}
    for follows in followed:
        in_file = prepared.posts.get(follows)
        if in_file is not None and not set(reach).isdisjoint(in_file.accounts):
            return True
        if await planner.store.occurrences.is_on_any(follows, reach):
            return True
    return not followed


def is_file_full(schedule: ScheduleText, text: str, change: PostChange) -> bool:
    """Return True if a text is too large to be saved. A change that makes it smaller is allowed."""
    size = count_bytes(text)
    most = MAX_SAVED_BYTES + (EMERGENCY_BYTES if change.is_emergency else 0)
    return size > most and size >= count_bytes(schedule.text)


async def find_full_account(
    planner: Planner, prepared: PreparedEdit
) -> Sequence[Problem]:
    """Return a problem if too many posts of the author would be planned for an account of a post.

    Posts of other authors do not count, nor does anything that is over. Emergencies count apart.
    """
    members, is_emergency = prepared.members, prepared.change.is_emergency
    if not members or TIMING_FIELDS.isdisjoint(prepared.fields):
        return ()
    own = [
        each
        for each in prepared.posts.values()
        if is_same_name(each.author, members[0].author)
        and is_due_at_once(each) is is_emergency
    ]
    over = await find_posts_over(planner, own)
    most = EMERGENCIES_PER_ACCOUNT if is_emergency else MAX_AHEAD_PER_ACCOUNT
    ahead = [each for each in own if each.id not in over]
    account, number = await asyncio.to_thread(find_fullest, planner, members, ahead)
    if number <= most:
        return ()
    facts = {"post": members[0].id, "key": "to", "account": account, "most": str(most)}
    return [Problem(code="account_full", facts=facts)]


def is_due_at_once(post: Post) -> bool:
    """Return True for an emergency: an urgent post without a time of its own."""
    return (
        post.is_urgent
        and isinstance(post.trigger, OneTimeTrigger)
        and post.trigger.at is None
    )


async def find_posts_over(
    planner: Planner, posts: Sequence[Post]
) -> Collection[PostId]:
    """Return the posts without a time of their own of which nothing more is sent."""
    at_once = [
        post
        for post in posts
        if isinstance(post.trigger, OneTimeTrigger) and post.trigger.at is None
    ]
    stored = await planner.store.posts.stored_posts(at_once) if at_once else {}
    return {
        name
        for name, found in stored.items()
        if found.occurrences
        and not any(each.open_accounts for each in found.occurrences.values())
    }


def find_fullest(
    planner: Planner, members: Sequence[Post], posts: Sequence[Post]
) -> tuple[str, int]:
    """Return the account of a post that these posts come to most often, and how often."""
    own = {account for post in members for account in post.accounts}
    window, zone = find_window(planner), planner.schedule_context.timezone
    numbers: Counter[str] = Counter()
    for each in posts:
        if accounts := own.intersection(each.accounts):
            until = window.end_for(each) or window.until
            times = count_times(each, window.now, until, zone)
            numbers.update(dict.fromkeys(accounts, times))
    return max(numbers.items(), key=lambda item: item[1], default=("", 0))
