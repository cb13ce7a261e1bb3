"""Pause everything, in two clicks from anywhere, and resume."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.open_store import check_command_access
from publisher.domain.errors import SignInError
from publisher.domain.user import Permission
from publisher.store.db.filters import SCOPE_ALL
from publisher.web.kit.access import step_up
from publisher.web.kit.forms import read_paused_at, read_reason
from publisher.web.kit.page import redirect, render_page, safe_path
from publisher.web.kit.site import Notice, get_site, get_visitor


async def show_pause(request: Request) -> Response:
    following = safe_path(request.query_params.get("next", ""))
    return await render_page(
        request, "accounts/pause", next=following, sending=await count_sending(request)
    )


async def count_sending(request: Request) -> int:
    """Return how many calls are under way. A pause does not stop them."""
    return await get_site(request).store.dashboard.count_sending()


async def pause_all(request: Request) -> Response:
    """Stop all new calls, with no second question.

    Stopping is always allowed to a person responsible for posts.
    """
    visitor, form = get_visitor(request), await request.form()
    visitor.require_everywhere(Permission.STOP)
    site, reason = get_site(request), read_reason(form)
    at = await site.store.actions.pause(SCOPE_ALL, visitor.actor, reason)
    site.caches.frame_facts.clear()
    following = safe_path(str(form.get("next", "")))
    undo = "/resume" if visitor.may_everywhere(Permission.OPERATE) else ""
    done = Notice(
        code="web_done_paused", undo=undo, undo_fields={"paused_at": at.isoformat()}
    )
    return redirect(request, following, done)


async def show_resume(request: Request) -> Response:
    facts = await get_site(request).store.dashboard.frame_facts()
    return await render_page(
        request,
        "accounts/resume_all",
        pause=facts.pause,
        daemon=facts.daemon,
        problem="",
    )


async def resume_all(request: Request) -> Response:
    """Let calls begin again, after the second factor was repeated.

    Raises RefusedError if the pause has changed.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    visitor.require_everywhere(Permission.OPERATE)
    paused_at = read_paused_at(form)
    if not visitor.is_stepped_up:
        try:
            await step_up(request, str(form.get("code", "")))
        except SignInError as error:
            facts = await site.store.dashboard.frame_facts()
            problem = visitor.messages.translate(error.code, **error.facts)
            values: dict[str, Any] = {
                "pause": facts.pause,
                "daemon": facts.daemon,
                "problem": problem,
            }
            return await render_page(
                request, "accounts/resume_all", status=422, **values
            )
    await check_command_access(site.store, site.settings)
    await site.store.actions.resume(SCOPE_ALL, get_visitor(request).actor, paused_at)
    site.caches.frame_facts.clear()
    return redirect(request, "/today", Notice(code="web_done_resumed"))
