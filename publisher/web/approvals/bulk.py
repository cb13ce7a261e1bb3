"""Approve several posts at once: their texts on one page, and one code."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.post import PostId, RenderedPost
from publisher.engine.approvals import approve_content, waits_for
from publisher.store.approvals.guard import name_occurrence
from publisher.store.approvals.tasks import ApprovalTask
from publisher.web.approvals.approve import (
    describe_repeats,
    keep_visible,
    read_instant,
    require_approval,
)
from publisher.web.kit.access import step_up
from publisher.web.kit.bulk import do_each, explain_refusal, read_ticked
from publisher.web.kit.forms import (
    ActionForm,
    ActionItem,
    ItemText,
    show_action_form,
)
from publisher.web.kit.frame import read_moment
from publisher.web.kit.page import redirect
from publisher.web.kit.site import Visitor, get_site, get_visitor
from publisher.web.kit.todo import approval_path, make_visitor_approver
from publisher.web.posts.texts import compare_texts


async def show_bulk(request: Request) -> Response:
    """Show the texts of the ticked posts that wait for the visitor's approval."""
    ticked = read_ticked(request.query_params.getlist("item"))
    return await render_bulk(request, ticked)


async def render_bulk(
    request: Request, names: Sequence[str], code_problem: str = ""
) -> Response:
    """Show the present content of occurrences. Raises RefusedError if none waits."""
    visitor = get_visitor(request)
    moment = await read_moment(visitor)
    approver = make_visitor_approver(visitor)
    tasks = [
        task
        for task in moment.waiting.tasks
        if name_occurrence(task.key) in names
        and visitor.sees_any(task.accounts)
        and waits_for(task, approver)
    ]
    if not tasks:
        raise RefusedError("web_bulk_nothing")
    chosen = {name_occurrence(task.key) for task in tasks}
    seen = {
        name_occurrence(task.key)
        for task in moment.waiting.tasks
        if visitor.sees_any(task.accounts)
    }
    left_out = [
        await explain_refusal(
            visitor,
            name,
            RefusedError(
                "web_bulk_not_yours" if name in seen else "web_bulk_not_waiting"
            ),
        )
        for name in names
        if name not in chosen
    ]
    form = replace(await make_form(visitor, tasks), left_out=left_out)
    return await show_action_form(
        request,
        form,
        422 if code_problem else 200,
        code_problem=code_problem,
        moment=moment,
    )


async def make_form(visitor: Visitor, tasks: Sequence[ApprovalTask]) -> ActionForm:
    t, number = visitor.messages.translate, len(tasks)
    repeats = await describe_repeats(visitor, [task.key.post for task in tasks])
    return ActionForm(
        verb="approve-all",
        path="/bulk/approve",
        back="/inbox",
        label=t("web_bulk_approve", number=number),
        title=t("web_bulk_approve_title", number=number),
        texts=[t("web_bulk_approve_says")],
        items=[
            await describe_task(visitor, task, repeats.get(task.key.post, ""))
            for task in tasks
        ],
        confirm=t("web_bulk_approve", number=number),
        keep=t("web_bulk_keep"),
        icon="circle-check",
        asks_code=not visitor.is_stepped_up,
    )


async def describe_task(
    visitor: Visitor, task: ApprovalTask, repeat: str
) -> ActionItem:
    """Return an occurrence with a text of each platform, as an approval's page shows them.

    `repeat` says that its words are published already, if they are.
    A text is followed by the number of the platform's accounts, and of the texts among them.
    """
    contents = keep_visible(
        visitor,
        await visitor.site.store.approvals.contents(task.key, task.status.fingerprint),
    )
    by_platform: dict[str, list[RenderedPost]] = {}
    for rendered in contents:
        by_platform.setdefault(rendered.platform, []).append(rendered)
    policies = visitor.site.store.policies
    at, t = task.status.scheduled_at, visitor.messages.translate
    when = visitor.clock.when(task.due_at) if task.due_at else t("web_approve_asap")
    return ActionItem(
        value=f"{name_occurrence(task.key)} {task.status.fingerprint} "
        f"{at.isoformat() if at else ''}".strip(),
        title=task.post.title,
        path=approval_path(task.key),
        facts=f"{when}　{t('web_accounts', number=len(task.accounts))}",
        problem=repeat,
        texts=[
            ItemText(
                rendered=of_platform[0],
                capabilities=policies[of_platform[0].account].capabilities,
                accounts=len(of_platform),
                variants=compare_texts(of_platform, visitor.site.settings).number,
            )
            for of_platform in by_platform.values()
            if of_platform[0].account in policies
        ],
    )


async def give_approvals(request: Request) -> Response:
    """Record an approval of each shown content. What has changed meanwhile is refused."""
    site, form = get_site(request), await request.form()
    ticked = read_ticked(form.getlist("item"))
    if not get_visitor(request).is_stepped_up:
        try:
            await step_up(request, str(form.get("code", "")))
        except SignInError as error:
            translate = get_visitor(request).messages.translate
            names = [item.partition(" ")[0] for item in ticked]
            return await render_bulk(
                request, names, translate(error.code, **error.facts)
            )
    visitor = get_visitor(request)
    approver = make_visitor_approver(visitor)

    async def approve(item: str) -> None:
        name, fingerprint, at = (*item.split(" "), "", "")[:3]
        post = PostId(name.partition("#")[0])
        async with visitor.hiding(post):
            await approve_content(
                site.store,
                post,
                fingerprint,
                approver,
                visitor.actor,
                read_instant(at),
                partial(require_approval, visitor),
            )

    notice = await do_each(visitor, "web_bulk_approved", ticked, approve)
    return redirect(request, "/inbox", notice)
