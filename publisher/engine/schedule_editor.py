"""Save one post into schedule.toml for a person: fully checked, never over another's change.

The daemon puts the new file in force, as it does with any other change. The record made before the
file changes lets it know the author of the words.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
)

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor
from publisher.domain.errors import (
    Location,
    NoSuchItemError,
    Problem,
    RefusedError,
    ScheduleError,
    SignInError,
)
from publisher.domain.plan import StoredPosts
from publisher.domain.post import PostId, Schedule, find_family
from publisher.domain.user import Permission
from publisher.engine.planner import (
    Planner,
    diff_schedule,
    find_problems,
    with_originals,
)
from publisher.engine.post_change import (
    EditConflict,
    EditResult,
    InvalidEdit,
    PostChange,
    PreparedEdit,
    SavedEdit,
    ScheduleText,
    Writer,
    find_named_accounts,
    list_recipients,
)
from publisher.engine.save_limits import (
    MAX_SAVED_BYTES,
    find_full_account,
    find_refusal,
    is_file_full,
)
from publisher.runtime.file_locks import is_still_at, lock_now
from publisher.runtime.files import find_file_owner, put_in_place, write_beside
from publisher.schedule.edit import (
    Entry,
    PostBlock,
    PostSpans,
    add_post,
    edit_block,
    find_block,
    find_differences,
    find_post_spans,
    is_same_entry,
)
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    ScheduleContext,
    hide_names,
    list_post_ids,
    locate_problems,
    parse_schedule,
)
from publisher.store.people.saves import PostSave, hash_text
from publisher.store.store import Store
from publisher.tomlfile.read import parse_toml, read_unchanged, strip_editor_marks

LOCK_TIMEOUT_SECONDS = 10.0
"""How long a save waits for another one of this host to end; one takes two seconds at most."""
LOCK_POLL_SECONDS = 0.05
ACCEPTED_POLL_SECONDS = 0.1
NAMED_ID = re.compile(r"""^\s*(?:id|follows)\s*=\s*["']([^"'\n]+)""", re.MULTILINE)
"""Finds the ids of a schedule's posts and of their originals, in their usual form."""
MAX_ID_NUMBER = 9


async def read_schedule_text(planner: Planner, file: Path) -> ScheduleText:
    """Return the text that edits start from. Raises ScheduleError if the file cannot be read.

    On a shared database the file of this host may be older than the version that another host has
    put in force.
    """
    posts = planner.store.posts
    version = await posts.schedule_version()
    written = await asyncio.to_thread(
        read_unchanged, file, SCHEDULE_READ_LIMITS, ScheduleError
    )
    text, active = strip_editor_marks(written), await posts.active_schedule_text()
    if text == active:
        return ScheduleText(
            text=written, file_text=written, is_valid=True, version=version
        )
    if active is None or not (
        await posts.is_old_schedule(text)
        or await planner.store.saves.is_superseded(text)
    ):
        return ScheduleText(text=written, file_text=written, version=version)
    newline = "\r\n" if "\r\n" in written else "\n"
    mark = "\ufeff" if written.startswith("\ufeff") else ""
    text = mark + active.replace("\n", newline)
    return ScheduleText(
        text=text,
        file_text=written,
        is_file_outdated=True,
        is_valid=True,
        version=version,
    )


async def read_entry(schedule: ScheduleText, post: PostId) -> Entry:
    """Return a post as the text has it: for a member the entry of its family.

    Raises ScheduleError for an invalid text, NoSuchItemError and RefusedError.
    """

    def find() -> Entry:
        toml = parse_toml(
            schedule.text, "schedule.toml", SCHEDULE_READ_LIMITS, ScheduleError
        )
        written = find_family(post)
        if block := find_block(schedule.text, find_post_spans(schedule.text), written):
            return block.entry
        raise (
            RefusedError("post_not_editable", post=post)
            if written in list_post_ids(toml)
            else NoSuchItemError("post", post)
        )

    return await asyncio.to_thread(find)


async def save_post(
    planner: Planner, file: Path, change: PostChange, writer: Writer
) -> EditResult:
    """Write one post into the file, all or nothing.

    Raises SignInError if the writer may not, RefusedError if the file is locked for long, its owner
    cannot be kept, or a post to remove was sent, and OSError if the file cannot be written.
    """
    try:
        async with lock_schedule(file):
            result = await _save_locked(planner, file, change, writer)
    except ScheduleError as error:
        result = InvalidEdit(elsewhere=error.problems)
    if isinstance(result, InvalidEdit) and writer.reach is not None:
        elsewhere = (
            [Problem(code="schedule_invalid_elsewhere")] if result.elsewhere else []
        )
        return InvalidEdit(
            own=hide_names(result.own, writer.reach), elsewhere=elsewhere
        )
    return result


async def _save_locked(
    planner: Planner, file: Path, change: PostChange, writer: Writer
) -> EditResult:
    context = replace(
        planner.schedule_context, known_posts=await planner.store.queries.post_ids()
    )
    schedule = await read_schedule_text(planner, file)
    prepared = await asyncio.to_thread(prepare_edit, schedule, file, change, context)
    if isinstance(prepared, InvalidEdit):
        return prepared
    if isinstance(prepared, EditConflict):  # it shows what others have written
        accounts = find_named_accounts(prepared.theirs or change.base or {}, context)
    else:
        accounts = prepared.accounts
    require_writer(writer, change, accounts)
    if isinstance(prepared, EditConflict):
        return prepared
    if refusal := await find_refusal(planner, prepared, writer, file.name):
        return InvalidEdit(own=[refusal])
    if prepared.edit.text == schedule.file_text:
        return _make_result(prepared, schedule.sha256)
    if problems := await find_post_problems(planner, prepared, file):
        return InvalidEdit(own=problems)
    await _write(planner.store, file, prepared, writer.actor)
    return _make_result(prepared, hash_text(prepared.text))


def require_writer(
    writer: Writer, change: PostChange, accounts: Collection[AccountId]
) -> None:
    """Raise SignInError unless a person may write on these accounts and for the new recipients."""
    added = {*list_recipients(change.entry or {})}.difference(
        list_recipients(change.base or {})
    )
    if not writer.may_write(accounts) or not writer.may_target(added):
        facts = {
            "name": writer.actor.name,
            "command": "write",
            "permission": Permission.WRITE.value,
        }
        raise SignInError("not_permitted", **facts)


def _make_result(prepared: PreparedEdit, sha256: str) -> SavedEdit:
    return SavedEdit(
        id=prepared.change.post,
        edit=prepared.edit,
        sha256=sha256,
        base_version=prepared.schedule.version,
    )


def number_id(suggested: str, taken: Collection[str]) -> str:
    """Return an id that nobody has chosen, with a number if it is taken."""
    return next(each for each in list_numbered_ids(suggested) if each not in taken)


def list_numbered_ids(suggested: str) -> Iterator[str]:
    """Yield the ids that a post may get for a suggested one: numbered, and in the end at random."""
    yield suggested
    yield from (f"{suggested}-{number}" for number in range(2, MAX_ID_NUMBER + 1))
    while True:
        yield f"{suggested}-{secrets.token_hex(4)}"


def settle_suggested_id(
    schedule: ScheduleText, spans: PostSpans, change: PostChange, known: Collection[str]
) -> PostChange:
    """Give a new post a free id.

    The same post of the same author, sent again, is the existing one.
    """
    taken = {*known, *NAMED_ID.findall(schedule.text)}
    for name in list_numbered_ids(change.post):
        entry = {**(change.entry or {}), "id": name}
        if name not in taken:
            return replace(change, post=PostId(name), entry=entry)
        block = find_block(schedule.text, spans, name)
        if block is not None and is_same_entry(block.entry, entry):
            return replace(
                change,
                post=PostId(name),
                entry=entry,
                base=block.entry,
                base_sha256=schedule.sha256,
            )
    raise AssertionError(change.post)


def prepare_edit(
    schedule: ScheduleText, file: Path, change: PostChange, context: ScheduleContext
) -> PreparedEdit | EditConflict | InvalidEdit:
    """Make the new text and load it as the daemon will.

    Raises ScheduleError for errors elsewhere.
    """
    # nothing is wrong with an empty file yet
    if not schedule.is_valid and strip_editor_marks(schedule.text).strip():
        parse_toml(schedule.text, file.name, SCHEDULE_READ_LIMITS, ScheduleError)
    spans = find_post_spans(schedule.text)
    if change.is_id_suggested:
        change = settle_suggested_id(schedule, spans, change, context.known_posts)
    block = find_block(schedule.text, spans, change.post)
    if conflict := find_conflict(schedule, block, change):
        return conflict
    if change.base is None and change.entry is not None:
        edit, index = add_post(schedule.text, change.entry), len(spans)
    elif block is not None:
        edit, index = (
            edit_block(schedule.text, block, change.entry),
            spans.index(block.span),
        )
    else:
        raise RefusedError("post_not_editable", post=change.post)
    text = strip_editor_marks(edit.text)
    if is_file_full(schedule, text, change):
        facts = {"file": file.name, "most": str(MAX_SAVED_BYTES // 1024)}
        return InvalidEdit(
            own=[
                Problem(
                    code="schedule_full", location=Location(file=file.name), facts=facts
                )
            ]
        )
    try:
        posts = {
            post.id: post
            for post in parse_schedule(text, file=file.name, context=context).posts
        }
    except ScheduleError as error:
        return _split_problems(
            error.problems, index if change.entry is not None else None
        )
    before = change.base or {}
    members = [
        post
        for post in posts.values()
        if change.entry is not None and find_family(post.id) == change.post
    ]
    return PreparedEdit(
        schedule=schedule,
        change=change,
        edit=edit,
        text=text,
        members=members,
        posts=posts,
        accounts={
            *find_named_accounts(before, context),
            *find_named_accounts(change.entry or {}, context),
        },
        fields={
            item.key for item in find_differences(before, before, change.entry or {})
        },
    )


def find_conflict(
    schedule: ScheduleText, block: PostBlock | None, change: PostChange
) -> EditConflict | None:
    """Return the conflict if the post is not the writer's base, or the text changed by far."""
    theirs = block.entry if block is not None else None
    # it stands beside all others; an id that is taken is a problem of its own
    if change.base is None:
        return None
    is_unseen = schedule.is_file_outdated and change.base_sha256 != schedule.sha256
    is_same = (
        theirs is not None
        and change.entry is not None
        and is_same_entry(theirs, change.entry)
    )
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
    """Separate the problems of the post at an index from the problems of the rest of the file.

    Each problem of the post is under its own key.
    """
    own, elsewhere = [], []
    for problem in problems:
        place, own_path = problem.location, f"post[{index}]"
        if (
            index is not None
            and place is not None
            and f"{place.path}.".startswith(f"{own_path}.")
        ):
            path = place.path.removeprefix(own_path).removeprefix(".")
            own.append(replace(problem, location=replace(place, path=path)))
        else:
            elsewhere.append(problem)
    return InvalidEdit(own=own, elsewhere=elsewhere)


async def find_post_problems(
    planner: Planner, prepared: PreparedEdit, file: Path
) -> list[Problem]:
    """Return the obstacles to sending the edited post, as planning would find them.

    The rest has not changed. Raises RefusedError if a post that was sent would be removed.
    """
    family = prepared.change.post
    schedule = Schedule(posts=tuple(prepared.members))
    stored = await planner.store.posts.stored_posts(schedule.posts)
    known_one: StoredPosts = {
        key: found for key, found in stored.items() if find_family(key) == family
    }
    if not prepared.members:
        if any(
            occurrence.has_started
            for known in known_one.values()
            for occurrence in known.occurrences.values()
        ):
            raise RefusedError("post_was_sent", post=family)
        return []
    originals = [*prepared.members]
    for member in prepared.members:
        followed = prepared.posts.get(member.follows or PostId(""))
        originals += [followed] if followed is not None else []
    posts = await with_originals(planner, originals)
    alone = replace(
        planner
    )  # what a planner remembers of the last schedule is of all its posts
    problems = await asyncio.to_thread(find_problems, alone, schedule, posts, known_one)
    problems += (
        await asyncio.to_thread(diff_schedule, alone, schedule, known_one)
    ).left_out
    problems += await find_full_account(planner, prepared)
    located = locate_problems(
        [item for item in problems if item.is_error], text=prepared.text, file=file.name
    )
    index = list(dict.fromkeys(map(find_family, prepared.posts))).index(family)
    return list(_split_problems(located, index).own) if located else []


async def _write(store: Store, file: Path, prepared: PreparedEdit, by: Actor) -> None:
    """Replace the file in one step. After a crash at any moment it is the old or the new one."""
    owner = await asyncio.to_thread(find_file_owner, file)
    save = make_record(prepared, owner)
    temporary = await asyncio.to_thread(write_temporary, file, prepared.edit.text)
    await store.saves.record(save, by)
    await store.runtime.hit_failpoint("schedule.before_rename")
    try:
        await asyncio.to_thread(
            replace_file, temporary, file, prepared.schedule.file_text
        )
    except (OSError, RefusedError, ScheduleError) as error:
        await store.saves.record_failure(save.id, by, type(error).__name__)
        raise


def make_record(prepared: PreparedEdit, file_owner: str | None = None) -> PostSave:
    """Return the record of a save that is about to be made."""
    return PostSave(
        id=prepared.change.post,
        members=prepared.members,
        text=prepared.text,
        base_text=strip_editor_marks(prepared.schedule.text),
        base_version=prepared.schedule.version,
        fields=prepared.fields,
        file_owner=file_owner,
        copied_from=prepared.change.copied_from,
        copied_hash=prepared.change.copied_hash,
    )


def write_temporary(file: Path, text: str) -> Path:
    """Write a text beside the file, with the file's mode, owner and attributes, and sync it.

    Where the owner cannot stay, the group must, with the right to read and write. Raises
    RefusedError otherwise.
    """
    status = file.stat()

    def prepare(opened: BinaryIO) -> None:
        if not keep_owner(opened.fileno(), status):
            raise RefusedError(
                "schedule_owner_not_kept", file=file.name, uid=str(status.st_uid)
            )
        shutil.copystat(file, opened.name)

    return write_beside(file, text.encode(), prepare)


def keep_owner(descriptor: int, status: os.stat_result) -> bool:
    """Give a new file the old one's owner and group; return False if that owner loses rights.

    The rights of the group are enough for a former owner: staff, daemon and dashboard have one
    group in common.
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
    return is_group_kept and (
        made.st_uid == status.st_uid or status.st_mode & may_write == may_write
    )


def replace_file(temporary: Path, file: Path, expected: str) -> None:
    """Put the new file in the old one's place, unless that has changed since it was read."""
    if read_unchanged(file, SCHEDULE_READ_LIMITS, ScheduleError) != expected:
        temporary.unlink()
        raise RefusedError("schedule_changed_meanwhile", file=file.name)
    put_in_place(temporary, file)


@contextlib.asynccontextmanager
async def lock_schedule(file: Path) -> AsyncIterator[None]:
    """Keep out other saves of this host.

    Raises RefusedError after LOCK_TIMEOUT_SECONDS, ScheduleError without a file. The lock is asked
    for again and again: a thread that waits for it could not be called back.
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
    """Lock the file at a path, with no right except to read it; return its descriptor.

    Raises BlockingIOError if another save has it, or has just replaced it. Raises ScheduleError if
    it cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        read_unchanged(
            file, SCHEDULE_READ_LIMITS, ScheduleError
        )  # says what is wrong with it
        raise
    try:
        lock_now(descriptor)
        is_replaced = not is_still_at(descriptor, file)
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
        if await store.saves.is_in_force(saved.sha256, saved.base_version):
            return True
        await asyncio.sleep(ACCEPTED_POLL_SECONDS)
    return False
