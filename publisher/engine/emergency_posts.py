"""Emergencies past the file: a post reaches its officers although the schedule cannot be saved."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from publisher.domain.post import PostId
from publisher.engine.planner import Planner, send_now
from publisher.engine.post_change import (
    EditConflict,
    EditResult,
    InvalidEdit,
    PostChange,
    ScheduleText,
    Writer,
)
from publisher.engine.save_limits import find_refusal
from publisher.engine.schedule_editor import (
    find_post_problems,
    make_record,
    prepare_edit,
    require_writer,
)
from publisher.store.plan.posts import AuditAction

FILE_REFUSALS: Final = frozenset({"schedule_locked", "schedule_owner_not_kept"})
"""Saves that the file refuses before anything is written."""


def is_file_faulty(result: EditResult) -> bool:
    """Return True if nothing was saved for an error in the rest of the file alone."""
    return isinstance(result, InvalidEdit) and bool(result.elsewhere) and not result.own


async def file_past_schedule(
    planner: Planner, file: Path, change: PostChange, writer: Writer
) -> PostId | InvalidEdit:
    """File a new post of the emergency lane as `send` does, and leave the schedule as it is.

    The same checks apply to it as to a save. Raises SignInError if the writer may not.
    """
    store = planner.store
    known = await store.queries.post_ids()
    context = replace(planner.schedule_context, known_posts=known)
    version = await store.posts.schedule_version()
    alone = ScheduleText(text="", file_text="", is_valid=True, version=version)
    prepared = await asyncio.to_thread(prepare_edit, alone, file, change, context)
    if isinstance(prepared, InvalidEdit):
        return prepared
    if isinstance(prepared, EditConflict):
        raise TypeError(prepared)  # a new post has no conflict
    require_writer(writer, change, prepared.accounts)
    if refusal := await find_refusal(planner, prepared, writer, file.name):
        return InvalidEdit(own=[refusal])
    if problems := await find_post_problems(planner, prepared, file):
        return InvalidEdit(own=problems)
    await store.saves.record(make_record(prepared), writer.actor)
    actions = [
        AuditAction(event="send_requested", subject=post.id, by=writer.actor)
        for post in prepared.members
    ]
    await send_now(planner, prepared.members, actions)
    return prepared.change.post
