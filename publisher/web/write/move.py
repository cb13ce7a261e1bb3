"""Give a post of the schedule another time, as dragging an entry of the calendar does."""

from datetime import datetime
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.approval import Rendition, hash_renditions
from publisher.domain.characters import is_same_name
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.engine.post_change import InvalidEdit, SavedEdit
from publisher.engine.post_check import check_entry
from publisher.engine.schedule_editor import wait_until_accepted
from publisher.web.kit.forms import ActionForm, read_number, show_action_form
from publisher.web.kit.page import redirect, safe_path
from publisher.web.kit.site import Notice, Site, Visitor, get_site, get_visitor
from publisher.web.write.post_form import fill_instant, first
from publisher.web.write.uploads import describe_failure
from publisher.web.write.write import (
    ACCEPTED_WITHIN_SECONDS,
    Form,
    fill_edit,
    make_change,
    make_form,
    read_own_entry,
    save_change,
    show_form,
    show_result,
)


async def move_post(request: Request) -> Response:
    """Save the new time as an edit would be saved, and offer an undo if it has ended no approval.

    If approvals would end, the number of them is asked about first. `was` is the time that the
    calendar showed. Raises RefusedError if the post has another one by now.
    """
    site, visitor, sent = get_site(request), get_visitor(request), await request.form()
    post, zone = PostId(str(request.path_params["post"])), site.settings.timezone
    was, at = (read_local(str(sent.get(name, ""))) for name in ("was", "at"))
    schedule, base = await read_own_entry(request, post)
    fields = fill_edit(site, schedule, base)
    if (
        first(fields, "when") != "once"
        or {**fields, **fill_instant("at", was, zone)} != fields
    ):
        raise RefusedError("web_move_changed", title=str(base.get("title", post)))
    form = await make_form(
        request, {**fields, **fill_instant("at", at, zone), "tried": ["1"]}
    )
    back = safe_path(str(sent.get("back", "")))
    ending = await count_ending(visitor, form)
    if ending and read_number(sent, "ending") != ending:
        question = move_form(visitor, form, was=was, at=at, back=back, number=ending)
        return await show_action_form(request, question, 422)
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


def move_form(  # noqa: PLR0913 # a move, and what it costs
    visitor: Visitor,
    form: Form,
    *,
    was: datetime,
    at: datetime,
    back: str,
    number: int,
) -> ActionForm:
    """Ask whether to move a post although that ends approvals."""
    t, post = visitor.messages.translate, quote(make_change(form).post, safe="")
    zone = visitor.site.settings.timezone
    facts = {
        "title": form.entry.get("title", ""),
        "at": visitor.clock.when(at.replace(tzinfo=zone)),
        "number": number,
    }
    return ActionForm(
        verb="move",
        path=f"/posts/{post}/move",
        back=back,
        label=t("web_move_title", **facts),
        title=t("web_move_title", **facts),
        texts=[t("web_move_ends", **facts)],
        confirm=t("web_move_confirm", **facts),
        keep=t("web_move_keep"),
        fields={
            "was": was.isoformat(),
            "at": at.isoformat(),
            "back": back,
            "ending": str(number),
        },
    )


async def count_ending(visitor: Visitor, form: Form) -> int:
    """Return how many approvals of a post would end with a form's time.

    They end if the time changes a text, or is much earlier than approved. So does the writer's own.
    A form with errors ends none: its save is refused.
    """
    site, ending = visitor.site, 0
    tasks = [
        task
        for task in await site.store.approvals.tasks(make_change(form).post)
        if task.status.counted
    ]
    if not tasks:
        return 0
    planner = site.application.planner
    async with site.render_turns.take(visitor.user.name, is_save=True):
        check = await check_entry(planner, form.entry, None, is_new=False)
    if check.post is None or check.errors:
        return 0
    content = hash_renditions(
        Rendition(
            account=rendered.account,
            kind=check.post.kind,
            rendered_hash=rendered.fingerprint,
        )
        for rendered in check.result.rendered_posts
    )
    for task in tasks:
        is_changed = content != task.status.fingerprint
        ending += sum(
            is_changed
            or not approval.covers_time(check.due_at)
            or is_same_name(approval.person, visitor.user.name)
            for approval in task.status.counted
        )
    return ending


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
