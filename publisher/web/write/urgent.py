"""The emergency lane: a warning as a title and a sentence, its previews, and its release.

Two officers on duty release it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.format import find_pauses
from publisher.domain.characters import is_same_name
from publisher.domain.errors import (
    ApprovalError,
    NoSuchItemError,
    Problem,
    RefusedError,
    SignInError,
)
from publisher.domain.kinds import PostKind
from publisher.domain.post import Fingerprint, Post, PostId
from publisher.domain.user import Permission
from publisher.engine.approvals import list_approvers, release_in_emergency
from publisher.engine.emergency_posts import (
    FILE_REFUSALS,
    file_past_schedule,
    is_file_faulty,
)
from publisher.engine.post_change import (
    EditConflict,
    EditResult,
    InvalidEdit,
    PostChange,
    SavedEdit,
)
from publisher.engine.schedule_editor import wait_until_accepted
from publisher.store.approvals.tasks import ApprovalTask, SeenContent
from publisher.store.queries.queries import Pause
from publisher.web.kit.access import step_up
from publisher.web.kit.checks import read_checks
from publisher.web.kit.forms import read_reason
from publisher.web.kit.frame import read_frame_facts
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.kit.todo import (
    make_visitor_approver,
    may_release,
    require_release,
)
from publisher.web.write.uploads import describe_failure
from publisher.web.write.write import (
    ACCEPTED_WITHIN_SECONDS,
    NOT_YOURS,
    describe_save,
    make_change,
    make_writer,
    name_account,
    read_sent_form,
    save_change,
    show_form,
    suggest_fields,
)
from publisher.web.write.write import make_form as make_post_form

URGENT_FIELDS: Mapping[str, list[str]] = {
    "kind": [PostKind.WARNING],
    "when": ["asap"],
    "urgent": ["1"],
}
"""The form fields of a post of this lane: a warning that is due with its release and goes first."""
TOPIC_FIELD = "data.topic"
TOPICS = ("emergency", "traffic", "missing", "fraud")
"""The topics to choose from. One without a choice gets no number for fraud: the first counts."""


async def show_urgent(request: Request) -> Response:
    """Show the short form. Nobody writes to all accounts by default: most emergencies are local."""
    suggested = suggest_fields(request)
    to = [name for name in suggested["to"] if name != "all"]
    fields = {**suggested, "to": to, **URGENT_FIELDS}
    return await show_form(
        request, await make_post_form(request, fields), lane=await read_lane(request)
    )


async def send_urgent(request: Request) -> Response:
    """Show each platform's preview, and then save the post for its release."""
    form = await read_sent_form(request)
    form = await make_post_form(
        request,
        {
            TOPIC_FIELD: [TOPICS[0]],
            **{
                name: texts
                for name, texts in form.fields.items()
                if not name.startswith("region.")
            },
            **URGENT_FIELDS,
            "tried": ["1"],
        },
    )
    step = form.fields.get("do", ["preview"])[0]
    lane = await read_lane(request)
    if step == "edit":
        return await show_form(
            request, replace(form, fields={**form.fields, "tried": []}), lane=lane
        )
    if step != "save":
        return await show_form(request, form, lane={**lane, "is_preview": True})
    site = get_site(request)
    try:
        result = await save_emergency(request, make_change(form))
    except SignInError:
        return await show_form(
            request, form, status=422, refused=InvalidEdit(own=[NOT_YOURS]), lane=lane
        )
    except (RefusedError, OSError) as error:
        invalid = InvalidEdit(own=[describe_failure(error)])
        return await show_form(request, form, status=409, refused=invalid, lane=lane)
    if isinstance(result, InvalidEdit | EditConflict):
        return await show_form(request, form, status=422, refused=result, lane=lane)
    if form.kept_draft:
        await site.store.drafts.delete(form.kept_draft, get_visitor(request).user.name)
    if not isinstance(result, SavedEdit):
        await _release_own(request, result)
        notice = Notice(code="web_urgent_past_schedule", is_partial=True)
        return redirect(request, f"/urgent/{result}", notice)
    if not await wait_until_accepted(site.store, result, ACCEPTED_WITHIN_SECONDS):
        return redirect(request, "/today", describe_save(site, form, is_accepted=False))
    await _release_own(request, result.id)
    return redirect(request, f"/urgent/{result.id}")


async def save_emergency(request: Request, change: PostChange) -> EditResult | PostId:
    """Save a post of this lane. Past a schedule that cannot be saved, and then return its id.

    Raises the errors of `save_post`.
    """
    try:
        result = await save_change(request, change)
        if change.base is not None or not is_file_faulty(result):
            return result
    except RefusedError as error:
        if change.base is not None or error.code not in FILE_REFUSALS:
            raise
    site, visitor = get_site(request), get_visitor(request)
    async with site.render_turns.take(visitor.user.name, is_save=True):
        return await file_past_schedule(
            site.application.planner,
            site.settings.schedule_file,
            change,
            make_writer(visitor),
        )


async def read_lane(request: Request) -> dict[str, Any]:
    """Return the officers to release the visitor's post of this lane."""
    site, visitor = get_site(request), get_visitor(request)
    on_duty = (await read_frame_facts(site, visitor.audit_number)).officers
    officers = visitor.limit_officers(on_duty)
    return {
        "is_preview": False,
        "has_roster": bool(on_duty),
        "is_on_duty": any(
            is_same_name(officer.name, visitor.user.name) for officer in on_duty
        ),
        "others": [
            officer.label
            for officer in officers
            if not is_same_name(officer.name, visitor.user.name)
        ],
        "officers": officers,
        "chain": site.store.approval_rules.chain_for(PostKind.WARNING),
        "topics": TOPICS,
    }


async def _release_own(request: Request, post: PostId) -> None:
    """Give the author's own release at once, if they are on duty and have proved their identity.

    A post of another author is saved by this form too, after a conflict. Another person may have
    changed the words since. The release of both takes the page that shows them, as does one that
    comes too late: the post is saved, and the page shows its state.
    """
    visitor = get_visitor(request)
    if not visitor.is_stepped_up or not (await read_lane(request))["is_on_duty"]:
        return
    for task in await get_site(request).store.approvals.tasks(post):
        names = (task.status.author, task.saved_by or "")
        if all(is_same_name(name, visitor.user.name) for name in names):
            words = visitor.messages.translate("web_urgent_title")
            with contextlib.suppress(ApprovalError, SignInError):
                await _release(request, post, task.status.fingerprint, words)


async def _release(
    request: Request, post: PostId, fingerprint: str, reason: str
) -> None:
    store, visitor = get_site(request).store, get_visitor(request)
    await release_in_emergency(
        store,
        post,
        [SeenContent(post=post, fingerprint=Fingerprint(fingerprint))],
        make_visitor_approver(visitor),
        visitor.actor,
        reason,
        partial(require_release, visitor),
    )


async def show_release(request: Request) -> Response:
    """Show how far a post of this lane is, and to an officer on duty the content to release."""
    return await render_release(request)


async def render_release(
    request: Request,
    problem: str = "",
    *,
    status: int = 200,
    code_problem: str = "",
    reason: str = "",
) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    post = PostId(str(request.path_params["post"]))
    stored = await site.store.posts.get_post(post)
    if stored is None or not visitor.sees_any(stored.accounts):
        raise NoSuchItemError("post", post)
    tasks = await site.store.approvals.tasks(post)
    task = tasks[0] if tasks else None
    released = (
        [item for item in task.status.in_time if item.is_emergency] if task else []
    )
    contents = (
        await site.store.approvals.contents(task.key, task.status.fingerprint)
        if task
        else ()
    )
    contents = [
        rendered
        for rendered in contents
        if visitor.may(Permission.VIEW, [rendered.account])
    ]
    shown = {rendered.platform: rendered for rendered in reversed(contents)}
    lane = await read_lane(request)
    facts = await read_frame_facts(site, visitor.audit_number)
    on_duty = facts.officers
    is_author = task is not None and is_same_name(task.status.author, visitor.user.name)
    asks_release = task is not None and may_release(visitor, task, on_duty)
    if asks_release and not is_author:
        site.note_opening(post, visitor.user.name)
    done = [visitor.user.name, *(item.person for item in released)]
    return await render_page(
        request,
        "write/urgent_release",
        status=status,
        post=stored,
        task=task,
        released=released,
        awaited=[
            one.label
            for one in lane["officers"]
            if not any(is_same_name(one.name, name) for name in done)
        ],
        opened=site.lane_openings.get(post, {}),
        lane=lane,
        asks_release=asks_release,
        is_author=is_author,
        approvers=list_approvers(task, await site.store.users.list(), site.members)
        if task is not None
        else (),
        shown=[
            rendered
            for rendered in shown.values()
            if rendered.account in site.store.policies
        ],
        policies=site.store.policies,
        summaries=await site.store.occurrences.of_post(post),
        problem=problem,
        code_problem=code_problem,
        reason=reason,
        account_name=partial(name_account, site),
        names=name_accounts(site.settings, visitor.messages),
        pauses=list_pauses(visitor, task, facts.pauses) if task is not None else (),
        checks=await read_release_checks(visitor, stored, task)
        if task is not None and asks_release
        else (),
    )


def list_pauses(
    visitor: Visitor, task: ApprovalTask, pauses: Sequence[Pause]
) -> Sequence[str]:
    """Return a sentence for each account that the visitor sees and a pause keeps from the post."""
    accounts, translate = visitor.site.settings.accounts, visitor.messages.translate
    found = {
        account: find_pauses(pauses, task.key.post, account, accounts[account].platform)
        for account in task.accounts
        if account in accounts and visitor.may(Permission.VIEW, [account])
    }
    return [
        translate(
            "web_urgent_paused",
            account=name_account(visitor.site, account),
            pause=visitor.formatter.pause("pages_paused", covering[0]),
        )
        for account, covering in found.items()
        if covering
    ]


async def read_release_checks(
    visitor: Visitor, post: Post, task: ApprovalTask
) -> Sequence[Problem]:
    """Return the findings of `check` for a post to release, on the visitor's accounts."""
    reach = visitor.reach(Permission.VIEW)
    accounts = [one for one in task.accounts if reach is None or one in reach]
    related = await visitor.site.store.occurrences.related(post, reach)
    return await read_checks(visitor, post, accounts, related)


async def release(request: Request) -> Response:
    """Record the release by an officer on duty.

    It is the author's own, or that of another officer, and the latter sends the post.
    """
    form = await request.form()
    post, fingerprint = (
        PostId(str(request.path_params["post"])),
        str(form.get("fingerprint", "")),
    )
    if not get_visitor(request).is_stepped_up:
        try:
            await step_up(request, str(form.get("code", "")))
        except SignInError as error:
            problem = get_visitor(request).messages.translate(error.code, **error.facts)
            return await render_release(
                request, status=422, code_problem=problem, reason=read_reason(form)
            )
    visitor = get_visitor(request)
    try:
        async with visitor.hiding(post):
            words = read_reason(form) or visitor.messages.translate("web_urgent_title")
            await _release(request, post, fingerprint, words)
    except ApprovalError as error:
        if error.code == "approval_nothing_waits":
            raise
        problem = visitor.messages.translate(error.code, **error.facts)
        return await render_release(request, problem, status=409)
    return redirect(request, f"/urgent/{post}", Notice(code="web_urgent_done_released"))
