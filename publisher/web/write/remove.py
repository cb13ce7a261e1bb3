"""Take a post that was not sent out of schedule.toml."""

import asyncio
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.errors import Problem
from publisher.domain.post import PostId
from publisher.engine.post_change import InvalidEdit, PostChange, SavedEdit
from publisher.engine.schedule_editor import wait_until_accepted
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.site import Notice, get_site, get_visitor
from publisher.web.write.post_form import dump_entry, load_entry
from publisher.web.write.uploads import describe_failure
from publisher.web.write.write import (
    ACCEPTED_WITHIN_SECONDS,
    read_own_entry,
    save_change,
)


async def show_remove(request: Request) -> Response:
    """Ask before a post is taken out of the schedule."""
    return await render_removal(request, {})


async def remove_post(request: Request) -> Response:
    """Take a post that was not sent out of schedule.toml."""
    site, form = get_site(request), await request.form()
    post = PostId(str(request.path_params["post"]))
    base = await asyncio.to_thread(load_entry, str(form.get("base", "")))
    if not base:
        return await render_removal(request, {}, status=422)
    change = PostChange(
        post=post, entry=None, base=base, base_sha256=str(form.get("base_sha256", ""))
    )
    try:
        result = await save_change(request, change)
    except OSError as error:
        return await render_removal(request, [describe_failure(error)], status=409)
    if isinstance(result, SavedEdit):
        is_accepted = await wait_until_accepted(
            site.store, result, ACCEPTED_WITHIN_SECONDS
        )
        code = (
            "web_write_done_removed"
            if is_accepted
            else "web_write_done_removed_waiting"
        )
        return redirect(
            request, "/today", Notice(code=code, facts={"title": base.get("title", "")})
        )
    problems = (
        [*result.own, *result.elsewhere] if isinstance(result, InvalidEdit) else []
    )
    return await render_removal(request, problems, status=409, is_changed=not problems)


async def render_removal(
    request: Request,
    problems: Collection[Problem],
    *,
    status: int = 200,
    is_changed: bool = False,
) -> Response:
    schedule, entry = await read_own_entry(
        request, PostId(str(request.path_params["post"]))
    )
    messages = get_visitor(request).messages
    return await render_page(
        request,
        "write/write_remove",
        status=status,
        entry=entry,
        base=dump_entry(entry),
        base_sha256=schedule.sha256,
        is_changed=is_changed,
        elsewhere=[messages.format_problem(problem) for problem in problems],
    )
