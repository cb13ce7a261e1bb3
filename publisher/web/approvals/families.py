"""Approve or return a family: one text in full, the differences of the others, one yes."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.approval import Approval
from publisher.domain.errors import ApprovalError, NoSuchItemError, SignInError
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    Marker,
    OccurrenceKey,
    PostId,
    RenderedPost,
    find_family,
)
from publisher.domain.user import Permission
from publisher.engine.approvals import (
    WaitingFamily,
    approve_members,
    group_members,
    list_waiting_members,
    release_in_emergency,
)
from publisher.engine.content_changes import ContentChanges, compare_contents
from publisher.store.approvals.tasks import ApprovalTask, SeenContent, find_refusal
from publisher.store.queries.todo import Waiting
from publisher.web.approvals import approve
from publisher.web.kit.access import step_up
from publisher.web.kit.bulk import do_each, read_ticked
from publisher.web.kit.forms import read_reason
from publisher.web.kit.frame import read_moment
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.kit.todo import (
    approval_path,
    make_visitor_approver,
    may_release,
    require_release,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a family: its texts, and their differences from the shown texts."""

    task: ApprovalTask
    contents: Sequence[RenderedPost]
    region: str
    repeat: str = ""
    """A sentence on the same words that are published already; empty if there is none."""
    changes: ContentChanges | None = None

    @property
    def path(self) -> str:
        """The address of the member's own page."""
        return approval_path(self.task.key)

    @property
    def links(self) -> Sequence[str]:
        """The tip links of the member, which are no difference to the shown texts."""
        links = (rendered.link for rendered in self.contents)
        return list(dict.fromkeys(link for link in links if link))

    @property
    def item(self) -> str:
        """What a form carries: the member, its content, and its time."""
        status = self.task.status
        at = status.scheduled_at.isoformat() if status.scheduled_at else ""
        return f"{self.task.key.post} {status.fingerprint} {at}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyPage:
    """One decision on the `members` of a family; `refusal` says why there is no yes."""

    key: OccurrenceKey
    members: Sequence[Member]
    names: AccountNames
    refusal: str
    may_release: bool
    """True if a release of all by the visitor counts."""

    @property
    def first(self) -> Member:
        """The member with the text that is shown in full."""
        return self.members[0]

    @property
    def others(self) -> Sequence[Member]:
        return self.members[1:]

    @property
    def shown(self) -> Mapping[str, RenderedPost]:
        """The texts that are shown in full, by platform."""
        return choose_shown(self.members)

    @property
    def regions(self) -> Sequence[str]:
        """The names of the members' regions."""
        return self.names.list_regions(
            account for member in self.members for account in member.task.accounts
        )

    @property
    def number_of_accounts(self) -> int:
        return sum(len(member.task.accounts) for member in self.members)

    @property
    def is_urgent(self) -> bool:
        return any(member.task.post.is_urgent for member in self.members)

    @property
    def is_sent(self) -> bool:
        """True if all were released, so that their approvals come afterwards."""
        return all(member.task.status.is_emergency for member in self.members)

    @property
    def releases(self) -> Sequence[Approval]:
        """The releases of the first member that count."""
        return [one for one in self.first.task.status.in_time if one.is_emergency]

    @property
    def path(self) -> str:
        return approval_path(self.key)

    @property
    def release_path(self) -> str:
        return approval_path(self.key, "/release")

    @property
    def return_path(self) -> str:
        return approval_path(self.key, "/return")


def choose_shown(members: Sequence[Member]) -> Mapping[str, RenderedPost]:
    """Return for each platform the text of the first member that has one there."""
    contents = [rendered for member in members for rendered in member.contents]
    return {rendered.platform: rendered for rendered in reversed(contents)}


def find_family_of(request: Request, waiting: Waiting) -> WaitingFamily | None:
    """Return the members that wait together under the address of a family, if it is one.

    They wait for the visitor's yes, else they are all that the visitor sees.
    """
    name, at = request.path_params["post"], request.query_params.get("at", "")
    visitor = get_visitor(request)
    if MEMBER_MARK in name:
        return None
    tasks = [
        task
        for task in waiting.tasks
        if find_family(task.key.post) == name
        and at in {"", task.key.occurrence}
        and visitor.sees_any(task.accounts)
    ]
    mine = list_waiting_members(tasks, make_visitor_approver(visitor))
    return next(iter(group_members(mine) or group_members(tasks)), None)


async def show_approve(request: Request) -> Response:
    """Show a family with one button, a member of it that waits alone, or an ordinary post."""
    moment = await read_moment(get_visitor(request))
    if family := find_family_of(request, moment.waiting):
        return await render_family(request, family)
    if alone := find_lone_member(request, moment.waiting):
        return redirect(request, approval_path(alone.key))
    return await approve.show_approve(request)


def find_lone_member(request: Request, waiting: Waiting) -> ApprovalTask | None:
    """Return the first occurrence of a family that the visitor sees."""
    name, visitor = request.path_params["post"], get_visitor(request)
    return next(
        (
            task
            for task in waiting.tasks
            if task.key.post != name
            and find_family(task.key.post) == name
            and visitor.sees_any(task.accounts)
        ),
        None,
    )


async def render_family(
    request: Request,
    family: WaitingFamily,
    problem: str = "",
    *,
    status: int = 200,
    code_problem: str = "",
) -> Response:
    visitor = get_visitor(request)
    page = await describe_family(request, family)
    return await render_page(
        request,
        "approvals/approve_family",
        status=status,
        moment=await read_moment(visitor),
        page=page,
        policies=get_site(request).store.policies,
        problem=problem,
        asks_code=bool(code_problem) or "code" in request.query_params,
        code_problem=code_problem,
        return_reasons=approve.RETURN_REASONS,
    )


async def describe_family(request: Request, family: WaitingFamily) -> FamilyPage:
    site, visitor = get_site(request), get_visitor(request)
    names = name_accounts(site.settings, visitor.messages)
    found = await site.store.approvals.contents_of(
        {task.key: task.status.fingerprint for task in family.members}
    )
    repeats = await approve.describe_repeats(
        visitor, [task.key.post for task in family.members]
    )
    members = [
        Member(
            task=task,
            contents=sorted(
                approve.keep_visible(visitor, found[task.key]),
                key=lambda one: names.order(one.account),
            ),
            region=names.region(task.accounts[0]),
            repeat=repeats.get(task.key.post, ""),
        )
        for task in family.members
    ]
    members.sort(key=lambda one: names.order(one.task.accounts[0]))
    articles = {
        name
        for name, policy in site.store.policies.items()
        if policy.capabilities.is_article
    }
    key, on_duty = members[0].task.key, (await read_moment(visitor)).facts.officers
    return FamilyPage(
        key=replace(key, post=PostId(family.family)),
        members=await asyncio.to_thread(compare_members, members, articles),
        names=names,
        refusal=await explain_refusal(request, [one.task for one in members]),
        may_release=all(may_release(visitor, one.task, on_duty) for one in members),
    )


def compare_members(
    members: Sequence[Member], articles: Collection[AccountId]
) -> Sequence[Member]:
    """Return the members with their differences from the shown texts.

    The first has some too, if several of its accounts are on one platform. A number and a link are
    an account's own, and no difference.
    """
    shown = {
        platform: without_number(one) for platform, one in choose_shown(members).items()
    }
    return [
        replace(
            member,
            changes=compare_contents(
                [
                    replace(shown[one.platform], account=one.account)
                    for one in member.contents
                ],
                map(without_number, member.contents),
                articles,
            ),
        )
        for member in members
    ]


def without_number(rendered: RenderedPost) -> RenderedPost:
    """Return a text without its link, and with dots for its number."""

    def strip(text: str) -> str:
        number = rendered.marker.code
        return text.replace(rendered.link or "\0", "").replace(number, "…")

    return replace(
        rendered,
        text=strip(rendered.text),
        extra_parts=tuple(map(strip, rendered.extra_parts)),
        link=None,
        marker=Marker(code=""),
    )


async def explain_refusal(request: Request, tasks: Sequence[ApprovalTask]) -> str:
    """Return why the visitor may not approve a member, with its region; empty if all may be."""
    approver = make_visitor_approver(get_visitor(request))
    for task in tasks:
        if refusal := find_refusal(task, approver):
            reason = await approve.explain_refusal(request, task, refusal)
            return name_problem(
                get_visitor(request), "web_family_refusal", task.key.post, reason
            )
    return ""


def name_problem(visitor: Visitor, code: str, post: str, reason: str) -> str:
    """Return a problem of one member for people."""
    name = visitor.name_region(post) or post
    return visitor.messages.translate(code, post=name, reason=reason)


async def give_approval(request: Request) -> Response:
    """Record one yes to all members of the form, or the yes to an ordinary post."""
    form = await request.form()
    if "item" not in form:
        return await approve.give_approval(request)
    site, contents = get_site(request), await read_contents(request, form)
    if said := await check_code(request, form):
        return await show_again(request, code_problem=said)
    visitor = get_visitor(request)
    try:
        done = await approve_members(
            site.store,
            request.path_params["post"],
            contents,
            make_visitor_approver(visitor),
            visitor.actor,
            partial(approve.require_approval, visitor),
        )
    except ApprovalError as error:
        return await show_again(request, explain_error(visitor, error))
    facts = {
        "title": done[0].post.title,
        "number": len(done),
        "stage": done[0].status.approvals[-1].stage,
    }
    notice = Notice(code="web_done_approved_family", facts=facts)
    return redirect(request, await approve.find_next_path(request), notice)


async def check_code(request: Request, form: FormData) -> str:
    """Return the problem of the typed code; empty if it is right or not asked for."""
    if get_visitor(request).is_stepped_up:
        return ""
    try:
        await step_up(request, str(form.get("code", "")))
    except SignInError as error:
        return get_visitor(request).messages.translate(error.code, **error.facts)
    return ""


async def release(request: Request) -> Response:
    """Record the emergency release of all members of the form, and show how far it is."""
    form = await request.form()
    contents = await read_contents(request, form)
    if said := await check_code(request, form):
        return await show_again(request, code_problem=said)
    visitor = get_visitor(request)
    try:
        done = await release_in_emergency(
            get_site(request).store,
            request.path_params["post"],
            contents,
            make_visitor_approver(visitor),
            visitor.actor,
            read_reason(form) or visitor.messages.translate("web_urgent_title"),
            partial(require_release, visitor),
        )
    except ApprovalError as error:
        return await show_again(request, explain_error(visitor, error))
    code = (
        "web_done_sent_family"
        if done[0].status.is_emergency
        else "web_done_released_family"
    )
    facts = {"title": done[0].post.title, "number": len(done)}
    return redirect(
        request,
        approval_path(replace(done[0].key, post=PostId(find_family(done[0].key.post)))),
        Notice(code=code, facts=facts),
    )


async def read_contents(request: Request, form: FormData) -> Sequence[SeenContent]:
    """Return the members of a form, each once.

    Raises NoSuchItemError if there is none, or for one that the visitor does not see.
    """
    found = {
        content.post: content
        for content in map(read_content, map(str, form.getlist("item")))
    }
    visible = await get_visitor(request).find_visible(found)
    for post in found.keys() - set(visible):
        raise NoSuchItemError("post", post)
    if not found:
        raise NoSuchItemError("post", request.path_params["post"])
    return list(found.values())


def read_content(item: str) -> SeenContent:
    """Return a member as the form was drawn with it."""
    post, content, at = (*item.split(" "), "", "")[:3]
    return SeenContent(
        post=PostId(post), fingerprint=content, scheduled_at=approve.read_instant(at)
    )


def explain_error(visitor: Visitor, error: ApprovalError) -> str:
    """Return why nothing was recorded, with the member."""
    code = {"approval_changed": "web_family_changed"}.get(error.code, error.code)
    reason = visitor.messages.translate(code, **error.facts)
    post = error.facts.get("post", "")
    return name_problem(visitor, "web_family_problem", post, reason)


async def show_again(
    request: Request, problem: str = "", code_problem: str = ""
) -> Response:
    """Show the present contents of a family, with the problem."""
    moment = await read_moment(get_visitor(request))
    family = find_family_of(request, moment.waiting)
    if family is None:
        raise ApprovalError("approval_nothing_waits", post=request.path_params["post"])
    status = 422 if code_problem else 409
    return await render_family(
        request, family, problem, status=status, code_problem=code_problem
    )


async def show_return(request: Request) -> Response:
    """Show the page of a family, which has the form of the return, or an ordinary post's."""
    moment = await read_moment(get_visitor(request))
    if family := find_family_of(request, moment.waiting):
        return await render_family(request, family)
    return await approve.show_return(request)


async def return_text(request: Request) -> Response:
    """Send all members of the form back to their author, or an ordinary post."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    if "item" not in form:
        return await approve.return_text(request)
    contents = await read_contents(request, form)
    ready, translate = str(form.get("ready", "")), visitor.messages.translate
    words = [translate(ready) if ready in approve.RETURN_REASONS else ""]
    said = translate("list_comma").join(filter(None, [*words, read_reason(form)]))
    if not said:
        return await show_again(request, translate("web_return_needs_reason"))
    try:
        tasks = await site.store.approvals.return_members(
            request.path_params["post"],
            contents,
            visitor.actor,
            said,
            partial(approve.require_approval, visitor),
        )
    except ApprovalError as error:
        return await show_again(request, explain_error(visitor, error))
    facts = {"title": tasks[0].post.title, "author": tasks[0].status.author}
    notice = Notice(code="web_done_returned", facts=facts)
    return redirect(request, await approve.find_next_path(request), notice)


async def end_approvals(request: Request) -> Response:
    """End the visitor's own approvals of the members of the form, or those of an ordinary post."""
    form = await request.form()
    if "item" not in form:
        return await approve.end_approvals(request)
    visitor, posts = get_visitor(request), read_ticked(form.getlist("item"))
    visible = await visitor.find_visible([PostId(post) for post in posts])
    for post in posts:
        if post not in visible or find_family(post) != request.path_params["post"]:
            raise NoSuchItemError("post", post)
    at = request.query_params.get("at", ONCE_OCCURRENCE)

    async def act(post: str) -> None:
        result = await visitor.site.store.approvals.unapprove(
            PostId(post),
            at,
            visitor.actor,
            visitor.messages.translate("web_end_reason"),
            visitor.user.name,
            partial(visitor.require, Permission.STOP),
        )
        if result.is_too_late:
            raise ApprovalError("web_end_too_late", title=visitor.name_region(post))

    notice = await do_each(
        visitor, "web_done_ended_family", posts, act, visitor.name_region
    )
    return redirect(request, "/inbox", notice)
