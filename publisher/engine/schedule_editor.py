"""Save one post into schedule.toml for a person: checked as a whole, and never over somebody else's change.

The daemon puts the new file in force, as it does with any other change. What is recorded before the file changes lets
it know whose words they are.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor
from publisher.domain.errors import Location, NoSuchItemError, Problem, RefusedError, ScheduleError, SignInError
from publisher.domain.plan import StoredPosts
from publisher.domain.post import Post, PostId, PostKind, Schedule
from publisher.domain.user import Permission
from publisher.engine.planner import Planner, diff_schedule, find_file_owner, find_problems, with_originals
from publisher.schedule.cron import count_times
from publisher.schedule.edit import (
    Entry,
    FieldDifference,
    PostBlock,
    TextEdit,
    add_post,
    edit_block,
    find_block,
    find_differences,
    find_post_spans,
    is_same_entry,
)
from publisher.schedule.load import (
    NO_CHOICES,
    SCHEDULE_READ_LIMITS,
    RecipientResolver,
    ScheduleContext,
    hide_names,
    list_post_ids,
    locate_problems,
    parse_schedule,
)
from publisher.store.people.saves import PostSave, hash_text
from publisher.store.store import Store
from publisher.tomlfile.read import count_bytes, parse_toml, read_unchanged, strip_editor_marks

LOCK_TIMEOUT_SECONDS = 10.0
"""How long a save waits for another one of this host to end; one takes two seconds at most."""
LOCK_POLL_SECONDS = 0.05
ACCEPTED_POLL_SECONDS = 0.1
EMERGENCY_BYTES = 2**19
MAX_SAVED_BYTES = SCHEDULE_READ_LIMITS.max_bytes - EMERGENCY_BYTES
"""The dashboard makes the file no larger, but for emergencies: the rest of the room is kept for them."""
MAX_GROWTH, GROWTH_PERIOD = 2**20, timedelta(days=7)
"""By how much the saves of one person make the file larger in this time: nobody fills it alone."""
EMERGENCY_GROWTH = 2**17
MAX_AHEAD_PER_ACCOUNT, EMERGENCIES_PER_ACCOUNT = 500, 100
"""So many times posts may be planned for an account on the dashboard, and so many more in emergencies: all are rendered
and wait for approvals."""
TIMING_FIELDS = frozenset({"at", "cron", "from", "until", "days", "to"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes. `may_write` returns True if they may write posts for all of these accounts.

    `reach` are the accounts that they may see, None for all: nothing of a save names another post or account.
    """

    actor: Actor
    may_write: Callable[[Collection[AccountId]], bool]
    reach: Collection[AccountId] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleText:
    """The text that an edit starts from: that of the file, or of the version in force if the file is older.

    `file_text` is the file's own. `is_valid`: it was loaded before, and is not parsed again. `version` is in force.
    """

    text: str
    file_text: str
    is_file_outdated: bool = False
    is_valid: bool = False
    version: int

    @property
    def sha256(self) -> str:
        return hash_text(strip_editor_marks(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PostChange:
    """What a person makes of a post. `entry` is None to remove it.

    `base` is the post as the person began with it, None for a new one, and `base_sha256` the hash of the whole text. A
    new one began as a copy of `copied_from`, if of any, with the content of this hash; empty if it was not in force.
    """

    post: PostId
    entry: Entry | None
    base: Entry | None
    base_sha256: str
    copied_from: PostId | None = None
    copied_hash: str = ""

    @property
    def is_emergency(self) -> bool:
        """True for an urgent post that is due at once."""
        entry = self.entry or {}
        return entry.get("urgent") is True and entry.get("at") == "asap"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedEdit:
    """The file is written; its text has this hash. `post` is None if it was removed.

    `base_version` was in force when it was written.
    """

    post: Post | None
    edit: TextEdit
    sha256: str
    base_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditConflict:
    """Nothing was saved: the post has changed meanwhile, or the file is older than the version in force.

    `theirs` is the post as it is now, None if it is gone; `sha256` is the hash of the text that has it.
    """

    differences: Sequence[FieldDifference]
    theirs: Entry | None
    sha256: str
    is_file_outdated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidEdit:
    """Nothing was saved: the post has problems, or the rest of the file has.

    The `path` of a problem of the post is its own key, such as `data.summary`.
    """

    own: Sequence[Problem] = ()
    elsewhere: Sequence[Problem] = ()


EditResult = SavedEdit | EditConflict | InvalidEdit


async def read_schedule_text(planner: Planner, file: Path) -> ScheduleText:
    """Return the text that edits start from. Raises ScheduleError if the file cannot be read.

    On a shared database the file of this host may be older than the version that another host has put in force.
    """
    posts = planner.store.posts
    version = await posts.schedule_version()
    written = await asyncio.to_thread(read_unchanged, file, SCHEDULE_READ_LIMITS, ScheduleError)
    text, active = strip_editor_marks(written), await posts.active_schedule_text()
    if text == active:
        return ScheduleText(text=written, file_text=written, is_valid=True, version=version)
    if active is None or not (await posts.is_old_schedule(text) or await planner.store.saves.is_superseded(text)):
        return ScheduleText(text=written, file_text=written, version=version)
    newline, mark = "\r\n" if "\r\n" in written else "\n", "\ufeff" if written.startswith("\ufeff") else ""
    text = mark + active.replace("\n", newline)
    return ScheduleText(text=text, file_text=written, is_file_outdated=True, is_valid=True, version=version)


async def read_entry(schedule: ScheduleText, post: PostId) -> Entry:
    """Return a post as the text has it. Raises ScheduleError for an invalid text, NoSuchItemError and RefusedError."""

    def find() -> Entry:
        toml = parse_toml(schedule.text, "schedule.toml", SCHEDULE_READ_LIMITS, ScheduleError)
        if block := find_block(schedule.text, find_post_spans(schedule.text), post):
            return block.entry
        raise (
            RefusedError("post_not_editable", post=post)
            if post in list_post_ids(toml)
            else NoSuchItemError("post", post)
        )

    return await asyncio.to_thread(find)


async def save_post(planner: Planner, file: Path, change: PostChange, writer: Writer) -> EditResult:
    """Write one post into the file, all or nothing.

    Raises SignInError if the writer may not, RefusedError if the file is locked for long, its owner cannot be kept, or
    a post to remove was sent, and OSError if the file cannot be written.
    """
    try:
        async with lock_schedule(file):
            result = await _save_locked(planner, file, change, writer)
    except ScheduleError as error:
        result = InvalidEdit(elsewhere=error.problems)
    if isinstance(result, InvalidEdit) and writer.reach is not None:
        elsewhere = [Problem(code="schedule_invalid_elsewhere")] if result.elsewhere else []
        return InvalidEdit(own=hide_names(result.own, writer.reach), elsewhere=elsewhere)
    return result


async def _save_locked(planner: Planner, file: Path, change: PostChange, writer: Writer) -> EditResult:
    context = replace(planner.schedule_context, known_posts=await planner.store.queries.post_ids())
    schedule = await read_schedule_text(planner, file)
    prepared = await asyncio.to_thread(prepare_edit, schedule, file, change, context)
    if isinstance(prepared, InvalidEdit):
        return prepared
    if isinstance(prepared, EditConflict):  # it shows what others have written
        accounts = find_accounts(prepared.theirs or change.base or {}, context)
    else:
        accounts = prepared.accounts
    if not writer.may_write(accounts):
        facts = {"name": writer.actor.name, "command": "write", "permission": Permission.WRITE.value}
        raise SignInError("not_permitted", **facts)
    if isinstance(prepared, EditConflict):
        return prepared
    if "follows" in prepared.fields and not await sees_followed(planner, prepared, writer.reach):
        facts = {"post": change.post, "value": str((change.entry or {}).get("follows", "")), "choices": NO_CHOICES}
        place = Location(file=file.name, path="follows")
        return InvalidEdit(own=[Problem(code="follows_unknown", location=place, facts=facts)])
    if not writer.may_write(await find_corrected_accounts(planner, prepared)):
        place = Location(file=file.name, path="follows")
        return InvalidEdit(own=[Problem(code="correction_stops_others", location=place)])
    if prepared.edit.text == schedule.file_text:
        return SavedEdit(post=prepared.post, edit=prepared.edit, sha256=schedule.sha256, base_version=schedule.version)
    if await has_used_room(planner, prepared, writer):
        facts = {"most": str(MAX_GROWTH // 1024), "days": str(GROWTH_PERIOD.days)}
        return InvalidEdit(own=[Problem(code="room_used", location=Location(file=file.name), facts=facts)])
    if problems := await find_post_problems(planner, change.post, prepared, file):
        return InvalidEdit(own=problems)
    await _write(planner.store, file, prepared, writer.actor)
    sha256 = hash_text(prepared.text)
    return SavedEdit(post=prepared.post, edit=prepared.edit, sha256=sha256, base_version=schedule.version)


async def find_corrected_accounts(planner: Planner, prepared: "PreparedEdit") -> Collection[AccountId]:
    """Return the accounts on which the edited post stops another, as a correction does wherever that is not out."""
    post = prepared.post
    if post is None or post.kind is not PostKind.CORRECTION or post.follows is None:
        return prepared.accounts
    known = filter(None, [prepared.posts.get(post.follows), await planner.store.posts.get_post(post.follows)])
    filed = {delivery.account for delivery in await planner.store.queries.deliveries(post.follows)}
    return {*prepared.accounts, *filed, *chain.from_iterable(one.accounts for one in known)}


async def has_used_room(planner: Planner, prepared: "PreparedEdit", writer: Writer) -> bool:
    """Return True if the writer's saves of late would make the file larger than one person may."""
    growth = count_bytes(prepared.text) - count_bytes(prepared.schedule.text)
    before = await planner.store.saves.growth_since(writer.actor.name, planner.now - GROWTH_PERIOD)
    most = MAX_GROWTH + (EMERGENCY_GROWTH if prepared.change.is_emergency else 0)
    return growth > 0 and before + growth > most


async def sees_followed(planner: Planner, prepared: "PreparedEdit", reach: Collection[AccountId] | None) -> bool:
    """Return True if the writer may see the post that theirs follows, in the file or in force."""
    follows = prepared.post.follows if prepared.post is not None else None
    if follows is None or reach is None:
        return True
    in_file = prepared.posts.get(follows)
    if in_file is not None and not set(reach).isdisjoint(in_file.accounts):
        return True
    return await planner.store.occurrences.is_on_any(follows, reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEdit:
    """An edit that the loader accepts. `accounts` are those of the post before and after; `text` is as it is loaded."""

    schedule: ScheduleText
    change: PostChange
    edit: TextEdit
    text: str
    post: Post | None
    posts: Mapping[PostId, Post]
    accounts: Collection[AccountId]
    fields: Collection[str]


def prepare_edit(
    schedule: ScheduleText, file: Path, change: PostChange, context: ScheduleContext
) -> PreparedEdit | EditConflict | InvalidEdit:
    """Make the new text and load it as the daemon will. Raises ScheduleError for what is wrong elsewhere."""
    if not schedule.is_valid and strip_editor_marks(schedule.text).strip():  # nothing is wrong with an empty file yet
        parse_toml(schedule.text, file.name, SCHEDULE_READ_LIMITS, ScheduleError)
    spans = find_post_spans(schedule.text)
    block = find_block(schedule.text, spans, change.post)
    if conflict := find_conflict(schedule, block, change):
        return conflict
    if change.base is None and change.entry is not None:
        edit, index = add_post(schedule.text, change.entry), len(spans)
    elif block is not None:
        edit, index = edit_block(schedule.text, block, change.entry), spans.index(block.span)
    else:
        raise RefusedError("post_not_editable", post=change.post)
    text = strip_editor_marks(edit.text)
    if is_file_full(schedule, text, change):
        facts = {"file": file.name, "most": str(MAX_SAVED_BYTES // 1024)}
        return InvalidEdit(own=[Problem(code="schedule_full", location=Location(file=file.name), facts=facts)])
    try:
        posts = {post.id: post for post in parse_schedule(text, file=file.name, context=context).posts}
    except ScheduleError as error:
        return _split_problems(error.problems, index if change.entry is not None else None)
    before = change.base or {}
    post = posts.get(change.post) if change.entry is not None else None
    return PreparedEdit(
        schedule=schedule,
        change=change,
        edit=edit,
        text=text,
        post=post,
        posts=posts,
        accounts={*find_accounts(before, context), *(post.accounts if post else ())},
        fields={item.key for item in find_differences(before, before, change.entry or {})},
    )


def is_file_full(schedule: ScheduleText, text: str, change: PostChange) -> bool:
    """Return True if a text is too large to be saved; a change that makes it smaller always may be."""
    size, most = count_bytes(text), MAX_SAVED_BYTES + (EMERGENCY_BYTES if change.is_emergency else 0)
    return size > most and size >= count_bytes(schedule.text)


def find_accounts(entry: Entry, context: ScheduleContext) -> Collection[AccountId]:
    """Return the accounts that a post of the file is for."""
    to = entry.get("to")
    return RecipientResolver(context).resolve(tuple(map(str, to))) if isinstance(to, list) else ()


def find_conflict(schedule: ScheduleText, block: PostBlock | None, change: PostChange) -> EditConflict | None:
    """Return the conflict if the post is not what the writer began with, or the whole text is another by far."""
    theirs = block.entry if block is not None else None
    if change.base is None:  # it stands beside all others; an id that is taken is a problem of its own
        return None
    is_unseen = schedule.is_file_outdated and change.base_sha256 != schedule.sha256
    is_same = theirs is not None and change.entry is not None and is_same_entry(theirs, change.entry)
    is_changed = theirs is None or not (is_same or is_same_entry(theirs, change.base))
    if not is_changed and not is_unseen:
        return None
    differences = list(find_differences(change.base, theirs or {}, change.entry or {}))
    return EditConflict(
        differences=differences,
        theirs=theirs,
        sha256=schedule.sha256,
        is_file_outdated=schedule.is_file_outdated,
    )


def _split_problems(problems: Sequence[Problem], index: int | None) -> InvalidEdit:
    """Part the problems of the post at an index, each under its own key, from those of the rest of the file."""
    own, elsewhere = [], []
    for problem in problems:
        place, own_path = problem.location, f"post[{index}]"
        if index is not None and place is not None and f"{place.path}.".startswith(f"{own_path}."):
            path = place.path.removeprefix(own_path).removeprefix(".")
            own.append(replace(problem, location=replace(place, path=path)))
        else:
            elsewhere.append(problem)
    return InvalidEdit(own=own, elsewhere=elsewhere)


async def find_post_problems(planner: Planner, post_id: PostId, prepared: PreparedEdit, file: Path) -> list[Problem]:
    """Return what prevents the edited post from being sent, as planning would find it; the rest has not changed.

    Raises RefusedError if a post that was sent would be removed.
    """
    if prepared.post is None:
        known = (await planner.store.posts.stored_posts()).get(post_id)
        if known is not None and any(occurrence.has_started for occurrence in known.occurrences.values()):
            raise RefusedError("post_was_sent", post=post_id)
        return []
    schedule = Schedule(posts=(prepared.post,))
    stored = await planner.store.posts.stored_posts(schedule.posts)
    known_one: StoredPosts = {key: found for key, found in stored.items() if key == post_id}
    originals = [prepared.posts[post_id], *filter(None, [prepared.posts.get(prepared.post.follows or PostId(""))])]
    posts = await with_originals(planner, originals)
    alone = replace(planner)  # what a planner remembers of the last schedule is of all its posts
    problems = await asyncio.to_thread(find_problems, alone, schedule, posts, known_one)
    problems += (await asyncio.to_thread(diff_schedule, alone, schedule, known_one)).left_out
    problems += await asyncio.to_thread(find_full_accounts, planner, prepared)
    located = locate_problems([item for item in problems if item.is_error], text=prepared.text, file=file.name)
    index = list(prepared.posts).index(post_id)
    return list(_split_problems(located, index).own) if located else []


def find_full_accounts(planner: Planner, prepared: PreparedEdit) -> Sequence[Problem]:
    """Return a problem if more would be planned for an account of the edited post than the dashboard plans."""
    post = prepared.post
    if post is None or TIMING_FIELDS.isdisjoint(prepared.fields):
        return ()
    now, zone = planner.now, planner.schedule_context.timezone
    until, numbers = now + timedelta(days=planner.plan_days), Counter[AccountId]()
    for each in prepared.posts.values():
        if accounts := set(post.accounts).intersection(each.accounts):
            numbers.update(dict.fromkeys(accounts, count_times(each, now, until, zone)))
    account, number = max(numbers.items(), key=lambda item: item[1], default=("", 0))
    if number <= MAX_AHEAD_PER_ACCOUNT + (EMERGENCIES_PER_ACCOUNT if prepared.change.is_emergency else 0):
        return ()
    facts = {"post": post.id, "key": "to", "account": account, "most": str(MAX_AHEAD_PER_ACCOUNT)}
    return [Problem(code="account_full", facts=facts)]


async def _write(store: Store, file: Path, prepared: PreparedEdit, by: Actor) -> None:
    """Replace the file in one step: after a crash at any moment it is the old one or the new one."""
    save = PostSave(
        id=prepared.change.post,
        post=prepared.post,
        text=prepared.text,
        base_text=strip_editor_marks(prepared.schedule.text),
        base_version=prepared.schedule.version,
        fields=prepared.fields,
        file_owner=await asyncio.to_thread(find_file_owner, file),
        copied_from=prepared.change.copied_from,
        copied_hash=prepared.change.copied_hash,
    )
    temporary = await asyncio.to_thread(write_temporary, file, prepared.edit.text)
    await store.saves.record(save, by)
    await store.runtime.hit_failpoint("schedule.before_rename")
    try:
        await asyncio.to_thread(replace_file, temporary, file, prepared.schedule.file_text)
    except (OSError, RefusedError, ScheduleError) as error:
        await store.saves.record_failure(save.id, by, type(error).__name__)
        raise


def write_temporary(file: Path, text: str) -> Path:
    """Write a text beside the file, with the file's mode, owner and attributes, and sync it.

    Where the owner cannot stay, the group must, with the right to read and write. Raises RefusedError otherwise.
    """
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)  # a crash may have left one; the lock keeps other saves out
    status = file.stat()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        if not keep_owner(descriptor, status):
            temporary.unlink()
            raise RefusedError("schedule_owner_not_kept", file=file.name, uid=str(status.st_uid))
        shutil.copystat(file, temporary)
        stream.write(text.encode())
        stream.flush()
        os.fsync(descriptor)
    return temporary


def keep_owner(descriptor: int, status: os.stat_result) -> bool:
    """Give a new file the owner and group of the one that it replaces; return False if that one's owner loses rights.

    The rights of the group are enough for a former owner: staff, daemon and dashboard have one group in common.
    """
    made = os.fstat(descriptor)
    with contextlib.suppress(OSError):
        if made.st_uid != status.st_uid:
            os.fchown(descriptor, status.st_uid, status.st_gid)
            return True
    with contextlib.suppress(OSError):
        if made.st_gid != status.st_gid:
            os.fchown(descriptor, -1, status.st_gid)
    is_group_kept = os.fstat(descriptor).st_gid == status.st_gid
    may_write = stat.S_IRGRP | stat.S_IWGRP
    return is_group_kept and (made.st_uid == status.st_uid or status.st_mode & may_write == may_write)


def replace_file(temporary: Path, file: Path, expected: str) -> None:
    """Put the new file in the old one's place, unless that has changed since it was read."""
    if read_unchanged(file, SCHEDULE_READ_LIMITS, ScheduleError) != expected:
        temporary.unlink()
        raise RefusedError("schedule_changed_meanwhile", file=file.name)
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def lock_schedule(file: Path) -> AsyncIterator[None]:
    """Keep other saves of this host out. Raises RefusedError after LOCK_TIMEOUT_SECONDS, ScheduleError without a file.

    The lock is asked for again and again: a thread that waits for it could not be called back.
    """
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(BlockingIOError),
            wait=wait_fixed(LOCK_POLL_SECONDS),
            stop=stop_after_delay(LOCK_TIMEOUT_SECONDS),
            reraise=True,
        ):
            with attempt:
                descriptor = lock_present_file(file)
    except BlockingIOError:
        raise RefusedError("schedule_locked") from None
    try:
        yield
    finally:
        os.close(descriptor)


def lock_present_file(file: Path) -> int:
    """Lock the file that a path leads to, which takes no right but to read it; return its descriptor.

    Raises BlockingIOError if another save has it, or has just replaced it; ScheduleError if it cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        read_unchanged(file, SCHEDULE_READ_LIMITS, ScheduleError)  # says what is wrong with it
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_replaced = not os.path.samestat(os.fstat(descriptor), file.stat())
    except BaseException:
        os.close(descriptor)
        raise
    if is_replaced:
        os.close(descriptor)
        raise BlockingIOError
    return descriptor


async def wait_until_accepted(store: Store, saved: SavedEdit, seconds: float) -> bool:
    """Wait until the daemon has put a save in force; return False if it has not by then."""
    for _ in range(int(seconds / ACCEPTED_POLL_SECONDS)):
        if await store.posts.is_accepted(saved.sha256, saved.base_version):
            return True
        await asyncio.sleep(ACCEPTED_POLL_SECONDS)
    return False
