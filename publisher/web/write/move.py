"""Give a post of the schedule another time, as dragging an entry of the calendar does."""

from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.engine.post_change import InvalidEdit, SavedEdit
from publisher.engine.schedule_editor import wait_until_accepted
from publisher.web.kit.page import redirect, safe_path
from publisher.web.kit.site import Notice, Site, get_site, get_visitor
from publisher.web.write.post_form import fill_instant, first
from publisher.web.write.uploads import describe_failure
from publisher.web.write.write import (
    ACCEPTED_WITHIN_SECONDS,
    fill_edit,
    make_change,
    make_form,
    read_visible_entry,
    save_change,
    show_form,
    show_result,
)


async def move_post(request: Request) -> Response:
    """Save the new time as an edit would be saved, and offer an undo if it has ended no approval.

    `was` is the time that the calendar showed. Raises RefusedError if the post has another one by
    now.
    """
    site, visitor, sent = get_site(request), get_visitor(request), await request.form()
    post, zone = PostId(str(request.path_params["post"])), site.settings.timezone
    was, at = (read_local(str(sent.get(name, ""))) for name in ("was", "at"))
    schedule, base = await read_visible_entry(request, post)
    fields = fill_edit(schedule, base, zone)
    if (
        first(fields, "when") != "once"
        or {**fields, **fill_instant("at", was, zone)} != fields
    ):
        raise RefusedError("web_move_changed", title=str(base.get("title", post)))
    form = await make_form(
        request, {**fields, **fill_instant("at", at, zone), "tried": ["1"]}
    )
    approvals = await count_approvals(site, post)
    try:
        result = await save_change(request, make_change(form))
    except OSError as error:
        return await show_form(
            request,
            form,
            status=409,
            refused=InvalidEdit(own=[describe_failure(error)]),
        )
    if not isinstance(result, SavedEdit):
        return await show_result(request, form, result)
    is_accepted = await wait_until_accepted(site.store, result, ACCEPTED_WITHIN_SECONDS)
    ended = approvals - await count_approvals(site, post) if is_accepted else approvals
    back = safe_path(str(sent.get("back", "")))
    facts = {
        "title": base.get("title", ""),
        "at": visitor.clock.when(at.replace(tzinfo=zone)),
        "number": ended,
    }
    code = "web_move_done_unapproved" if ended else "web_move_done"
    undo_fields = {"was": at.isoformat(), "at": was.isoformat(), "back": back}
    notice = Notice(
        code=code if is_accepted else "web_move_done_waiting",
        facts=facts,
        undo=""
        if ended
        else f"/posts/{post}/move",  # moving it back may not bring the approvals back
        undo_fields=undo_fields,
    )
    return redirect(request, back, notice)


async def count_approvals(site: Site, post: PostId) -> int:
    """Return how many approvals of a post count, at its present time."""
    return sum(
        len(task.status.counted) for task in await site.store.approvals.tasks(post)
    )


def read_local(text: str) -> datetime:
    """Return a time of the workspace's zone, such as 2027-01-11T09:00.

    Raises HTTPException for anything else.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise HTTPException(400) from None
