"""Approve: the content for every account, the changes since one's last approval, the approval."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId, AccountPolicy, Platform
from publisher.domain.approval import Approval, Stage
from publisher.domain.characters import remove_forbidden_characters
from publisher.domain.errors import ApprovalError, SignInError
from publisher.domain.kinds import CORRECTING_KINDS
from publisher.domain.post import Post, PostId, RenderedPost, find_family
from publisher.domain.remark import (
    MAX_REMARK_CHARACTERS,
    MAX_REMARKS,
    Passage,
    Remark,
    list_passages_of,
)
from publisher.domain.user import Permission
from publisher.engine.approvals import approve_content, list_approvers, waits_for
from publisher.engine.content_changes import ContentChanges, compare_contents
from publisher.engine.post_check import find_misquotation
from publisher.schedule.edit import find_block, find_post_spans
from publisher.schedule.load import to_utc
from publisher.store.approvals.tasks import ApprovalTask, Return, find_refusal
from publisher.store.queries.todo import Waiting
from publisher.web.kit.access import REMARK_PREFIX, step_up
from publisher.web.kit.forms import name_field, read_reason
from publisher.web.kit.frame import Moment, read_moment
from publisher.web.kit.live_parts import Parts, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.kit.todo import (
    approval_path,
    list_todo,
    make_visitor_approver,
    may_release,
    release_path,
)
from publisher.web.posts.texts import compare_texts

RETURN_REASONS = ("web_return_facts", "web_return_words", "web_return_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The post that a correction is about, and sentences on words that it misquotes."""

    post: PostId
    title: str
    problems: Sequence[str]


WORD_FIELDS: Final = frozenset({"title", "summary", "text"})
"""The fields with words that people read; a picture or a layout is to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """The preview of one account, its platform's accounts, and the number of distinct texts.

    Texts that differ only in number, link and facts of the region count as one.
    """

    rendered: RenderedPost
    policy: AccountPolicy
    choices: Sequence[AccountId]
    variants: int

    @property
    def accounts(self) -> int:
        return len(self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage:
    """The values that the pages of an occurrence share.

    `place` is the number of the occurrence among the `places` that wait for the visitor. `last` is
    the visitor's last approval if it covers other content. `refusal` says why there is no button.
    """

    task: ApprovalTask
    accounts: Sequence[AccountId]
    names: AccountNames
    place: int | None
    places: int
    last: Approval | None
    refusal: str
    may_end: bool
    may_release: bool
    passages: Sequence[tuple[str, Passage]]
    """The passages of the post with the names of their fields, for remarks."""
    typed: Mapping[str, str]
    """The remarks that were sent, by the key of their passage."""
    return_reasons: Sequence[str] = RETURN_REASONS

    @property
    def stream(self) -> str:
        return stream_path(
            "approve",
            post=self.task.key.post,
            occurrence=self.task.key.occurrence,
            fingerprint=self.task.status.fingerprint,
        )

    @property
    def stage(self) -> Stage | None:
        """Return the first stage that misses an approval."""
        missing = self.task.status.missing
        return missing[0].stage if missing else None

    @property
    def page_path(self) -> str:
        return approval_path(self.task.key)

    @property
    def changes_path(self) -> str:
        return approval_path(self.task.key, "/changes")

    @property
    def return_path(self) -> str:
        return approval_path(self.task.key, "/return")

    @property
    def release_path(self) -> str:
        return release_path(self.task.key)

    @property
    def is_urgent(self) -> bool:
        """True for an urgent post that is not sent yet."""
        return self.task.post.is_urgent and not self.task.status.is_approved

    @property
    def end_path(self) -> str:
        return approval_path(self.task.key, "/end")


async def show_approve(request: Request) -> Response:
    """Show the content that an approval covers. A stale address leads to the current one."""
    moment = await read_moment(get_visitor(request))
    task = await find_task(request, moment.waiting)
    if task is None:
        return await render_none(request, moment)
    return await render_task(request, moment, task)


async def render_none(request: Request, moment: Moment) -> Response:
    """Say that nothing of a post waits for an approval."""
    post = request.path_params["post"]
    return await render_page(
        request, "approvals/approve_none", status=404, moment=moment, post=post
    )


async def show_changes(request: Request) -> Response:
    """Show only the differences from the visitor's last approved content."""
    store, visitor = get_site(request).store, get_visitor(request)
    moment = await read_moment(visitor)
    task = await find_task(request, moment.waiting)
    if task is None:
        return await render_none(request, moment)
    last = await store.approvals.last_approved(task.key, visitor.user.name)
    if last is not None and not is_outdated(last, task):
        return redirect(request, approval_path(task.key))
    earlier = last or await find_return(visitor, task)
    if earlier is None:
        return redirect(request, approval_path(task.key))
    before = await store.approvals.contents(task.key, earlier.fingerprint)
    after = await store.approvals.contents(task.key, task.status.fingerprint)
    articles = {
        name
        for name, policy in store.policies.items()
        if policy.capabilities.is_article
    }
    page = await describe_task(request, moment, task, last)
    changes = await asyncio.to_thread(
        compare_contents,
        keep_visible(visitor, before),
        keep_visible(visitor, after),
        articles,
    )
    return await render_page(
        request,
        "approvals/approve_changes",
        moment=moment,
        page=page,
        stream=page.stream,
        times=await list_times(request, task, last) if last is not None else (),
        earlier_return=earlier if isinstance(earlier, Return) else None,
        changes=changes,
        whole=choose_whole(keep_visible(visitor, after), changes),
        policies=store.policies,
        sees_all=visitor.may(
            Permission.VIEW, [rendered.account for rendered in (*before, *after)]
        ),
    )


def choose_whole(
    contents: Sequence[RenderedPost], changes: ContentChanges
) -> Sequence[RenderedPost]:
    """Return the texts of new accounts, and of changes that no difference of words can show.

    There is one of each platform.
    """
    named = {
        account
        for change in changes.texts
        if not WORD_FIELDS.issuperset(change.fields)
        for account in change.accounts
    }
    unseen = named.union(changes.added_accounts)
    found = [rendered for rendered in contents if rendered.account in unseen]
    return list({rendered.platform: rendered for rendered in reversed(found)}.values())


async def find_return(visitor: Visitor, task: ApprovalTask) -> Return | None:
    """Return the last request for a change of an earlier text of an occurrence, if there was one."""
    if not task.is_edit:
        return None
    found = await visitor.site.store.approvals.last_returned(task.key)
    is_earlier = found is not None and found.fingerprint != task.status.fingerprint
    return found if is_earlier else None


def is_outdated(last: Approval, task: ApprovalTask) -> bool:
    """Return True if a yes was for another content, or for a later time than the present one."""
    status = task.status
    return last.fingerprint != status.fingerprint or not last.covers_time(
        status.scheduled_at
    )


async def list_times(
    request: Request, task: ApprovalTask, last: Approval
) -> Sequence[tuple[str, datetime | None, datetime | None]]:
    """Return the changed times since a yes: the name of each, the time before, and the present."""
    text = await get_site(request).store.posts.schedule_text_at(last.at)
    zone, post = get_site(request).settings.timezone, task.key.post

    def read_expiry() -> datetime | None:
        block = (
            find_block(text, find_post_spans(text), find_family(post)) if text else None
        )
        if block is None:
            return task.post.expires_at
        expiry = block.entry.get("expires")
        return to_utc(expiry, zone) if isinstance(expiry, datetime) else None

    found = [
        ("at", last.scheduled_at, task.status.scheduled_at),
        ("expires", await asyncio.to_thread(read_expiry), task.post.expires_at),
    ]
    return [
        (name, before, after)
        for name, before, after in found
        if to_minute(before) != to_minute(after)
    ]


def to_minute(at: datetime | None) -> datetime | None:
    return at.replace(second=0, microsecond=0) if at is not None else None


def keep_visible(
    visitor: Visitor, contents: Sequence[RenderedPost]
) -> Sequence[RenderedPost]:
    """Return the texts of the accounts that a visitor sees."""
    return [
        rendered
        for rendered in contents
        if visitor.may(Permission.VIEW, [rendered.account])
    ]


async def find_task(request: Request, waiting: Waiting) -> ApprovalTask | None:
    """Return the occurrence of an address: the one that waits for the visitor, else the first.

    Raises NoSuchItemError for a post on no account visible to the visitor.
    """
    post, at = PostId(request.path_params["post"]), request.query_params.get("at", "")
    visitor = get_visitor(request)
    tasks = [
        task
        for task in waiting.tasks_of(post)
        if at in {"", task.key.occurrence} and visitor.sees_any(task.accounts)
    ]
    if not tasks:
        await visitor.require_visible(post)
    approver = make_visitor_approver(visitor)
    return next(
        (task for task in tasks if waits_for(task, approver)),
        next(
            (task for task in tasks if task.status.missing), tasks[0] if tasks else None
        ),
    )


async def load_task(request: Request, waiting: Waiting) -> ApprovalTask:
    """Return the occurrence of an address. Raises ApprovalError, and SignInError without a role."""
    task = await find_task(request, waiting)
    if task is None:
        raise ApprovalError("approval_nothing_waits", post=request.path_params["post"])
    get_visitor(request).require(Permission.APPROVE, task.accounts)
    return task


async def render_task(  # noqa: PLR0913 # what is wrong with what was sent
    request: Request,
    moment: Moment,
    task: ApprovalTask,
    problem: str = "",
    *,
    status: int = 200,
    code_problem: str = "",
) -> Response:
    store, visitor = get_site(request).store, get_visitor(request)
    last = await store.approvals.last_approved(task.key, visitor.user.name)
    names = name_accounts(get_site(request).settings, visitor.messages)
    contents = sorted(
        keep_visible(
            visitor, await store.approvals.contents(task.key, task.status.fingerprint)
        ),
        key=lambda one: names.order(one.account),
    )
    order = [
        account.platform for account in get_site(request).settings.accounts.values()
    ]
    there = dict.fromkeys(rendered.platform for rendered in contents)
    platforms = [
        *(name for name in dict.fromkeys(order) if name in there),
        *(name for name in there if name not in order),
    ]
    wanted = request.query_params.get("platform")
    chosen = next(
        (name for name in platforms if name == wanted),
        platforms[0] if platforms else None,
    )
    page = await describe_task(request, moment, task, last)
    return await render_page(
        request,
        "approvals/approve",
        page=page,
        stream=page.stream,
        status=status,
        moment=moment,
        problem=problem,
        asks_code=bool(code_problem) or "code" in request.query_params,
        code_problem=code_problem,
        platforms=platforms,
        platform=chosen,
        shown=describe_text(request, contents, chosen) if chosen else None,
        at=request.query_params.get("at", ""),
        earlier_return=await find_return(visitor, task) if last is None else None,
        original=await read_original(visitor, task.post, task.accounts),
        repeat=(await describe_repeats(visitor, [task.key.post])).get(task.key.post),
        number_of_texts=len(contents),
        number_of_pictures=len(
            {image.sha256 for rendered in contents for image in rendered.images}
        ),
    )


async def describe_task(
    request: Request, moment: Moment, task: ApprovalTask, last: Approval | None
) -> ApprovalPage:
    """Return the values that the pages show of an occurrence."""
    visitor = get_visitor(request)
    approver = make_visitor_approver(visitor)
    mine = [item for item in moment.todo if item.can_be_approved]
    refusal = find_refusal(task, approver)
    return ApprovalPage(
        task=task,
        accounts=[
            account
            for account in task.accounts
            if visitor.may(Permission.VIEW, [account])
        ],
        names=name_accounts(get_site(request).settings, visitor.messages),
        place=next(
            (
                number
                for number, item in enumerate(mine, 1)
                if task.name in (item.members or (item.subject,))
            ),
            None,
        ),
        places=len(mine),
        last=last if last is not None and is_outdated(last, task) else None,
        refusal=await explain_refusal(request, task, refusal)
        if refusal is not None
        else "",
        may_end=bool(task.status.approvals)
        and visitor.may(Permission.STOP, task.accounts),
        may_release=may_release(visitor, task, moment.facts.officers),
        passages=[
            (name_field(visitor.messages, passage.field), passage)
            for passage in list_passages_of(task.post)[:MAX_REMARKS]
        ],
        typed=read_remarks(await request.form() if request.method == "POST" else {}),
    )


async def read_live(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the banner over an open page's buttons, if the text has changed by now."""
    store, occurrence = visitor.site.store, page.get("occurrence", "")
    tasks = [
        task
        for task in await store.approvals.tasks(PostId(page.get("post", "")))
        if task.key.occurrence == occurrence and visitor.sees_any(task.accounts)
    ]
    is_same = any(task.status.fingerprint == page.get("fingerprint") for task in tasks)
    changed = tasks[0] if tasks and not is_same else None
    path = approval_path(changed.key, "/changes") if changed else ""
    return Parts(
        fixed={"stale": load_macro(visitor, "approvals/parts", "stale")(changed, path)}
    )


async def read_original(
    visitor: Visitor, post: Post, accounts: Sequence[AccountId]
) -> Original | None:
    """Return the post that a correction is about, if it is one and the visitor sees that post."""
    site = visitor.site
    if post.follows is None or post.kind not in CORRECTING_KINDS:
        return None
    found = await site.store.posts.get_post(post.follows)
    if found is None or not visitor.sees_any(found.accounts):
        return None
    async with site.render_turns.take(visitor.user.name):
        problems = await asyncio.to_thread(
            find_misquotation, site.application.planner, post, found, accounts
        )
    return Original(
        post=found.id,
        title=found.title,
        problems=[visitor.messages.describe(problem) for problem in problems],
    )


async def describe_repeats(
    visitor: Visitor, posts: Collection[PostId]
) -> Mapping[PostId, str]:
    """Return a sentence for each post with words that are published on its accounts already."""
    found = await visitor.site.store.approvals.repeats(posts)
    return {
        post: visitor.messages.translate(
            "web_approve_repeat",
            post=repeat.post,
            at=visitor.clock.when(repeat.at),
            number=len(repeat.accounts),
        )
        for post, repeat in found.items()
        if visitor.sees_any(repeat.accounts)
    }


async def explain_refusal(
    request: Request, task: ApprovalTask, refusal: ApprovalError
) -> str:
    """Return the reason why there is no button.

    It describes the person's role, not the reply of a command.
    """
    site, translate = get_site(request), get_visitor(request).messages.translate
    comma = translate("list_names")
    approvers = list_approvers(task, await site.store.users.list(), site.members)
    facts = {
        **refusal.facts,
        "stages": comma.join(item.stage.name for item in task.status.missing),
        "approvers": comma.join(approvers) or translate("web_approve_nobody"),
    }
    return translate(f"web_{refusal.code}", **facts)


def describe_text(
    request: Request, contents: Sequence[RenderedPost], platform: Platform
) -> ShownText | None:
    """Return the preview of the visitor's chosen account, else of a platform's first account."""
    of_platform = [rendered for rendered in contents if rendered.platform == platform]
    wanted = request.query_params.get("account")
    shown = next(
        (rendered for rendered in of_platform if rendered.account == wanted),
        of_platform[0],
    )
    policy = get_site(request).store.policies.get(shown.account)
    if policy is None:
        return None
    return ShownText(
        rendered=shown,
        policy=policy,
        choices=[rendered.account for rendered in of_platform],
        variants=compare_texts(of_platform, get_site(request).settings).number,
    )


async def give_approval(request: Request) -> Response:
    """Record an approval of the content of the form, and go on to the next one that waits."""
    site, form = get_site(request), await request.form()
    post, fingerprint = (
        PostId(request.path_params["post"]),
        str(form.get("fingerprint", "")),
    )
    if not get_visitor(request).is_stepped_up:
        try:
            await step_up(request, str(form.get("code", "")))
        except SignInError as error:
            return await ask_for_code(request, error)
    visitor = get_visitor(request)
    try:
        approver = make_visitor_approver(visitor)
        seen_at = read_instant(str(form.get("scheduled_at", "")))
        async with visitor.hiding(post):
            done = await approve_content(
                site.store,
                post,
                fingerprint,
                approver,
                visitor.actor,
                seen_at,
                partial(require_approval, visitor),
            )
    except ApprovalError as error:
        return await render_stale(request, error)
    facts = {"title": done.post.title, "stage": done.status.approvals[-1].stage}
    is_due = done.due_at is None or done.due_at <= site.runtime.now()
    code = "web_done_approved_now" if is_due else "web_done_approved_last"
    if done.status.missing:
        code = "web_done_approved"
    elif done.status.is_emergency:
        code = "web_done_reviewed"
    notice = Notice(
        code=code,
        facts=facts,
        undo=approval_path(done.key, "/end"),
        undo_fields={"own": "1"},
    )
    return redirect(request, await find_next_path(request), notice)


def require_approval(visitor: Visitor, task: ApprovalTask) -> None:
    """Raise SignInError unless the visitor may approve an occurrence, at any stage."""
    visitor.require(Permission.APPROVE, task.accounts)


async def ask_for_code(request: Request, error: SignInError) -> Response:
    """Show the content again, with what was wrong with the second factor."""
    visitor = get_visitor(request)
    moment = await read_moment(visitor)
    task = await load_task(request, moment.waiting)
    problem = visitor.messages.translate(error.code, **error.facts)
    return await render_task(request, moment, task, code_problem=problem, status=422)


def read_instant(text: str) -> datetime | None:
    """Return the time that the form was drawn with; None if it has none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


async def render_stale(request: Request, error: ApprovalError) -> Response:
    """Show the content to approve now, not the seen one, or why the visitor may not approve."""
    if error.code not in {"approval_barred", "approval_changed"}:
        raise error
    moment = await read_moment(get_visitor(request))
    task = await load_task(request, moment.waiting)
    if error.code == "approval_barred":
        return await render_task(request, moment, task, status=409)
    problem = get_visitor(request).messages.translate(
        "web_changed_meanwhile",
        by=task.saved_by or task.file_owner or task.status.author,
    )
    return await render_task(request, moment, task, problem, status=409)


async def find_next_path(request: Request) -> str:
    """Return where to go after an approval: to the next one that waits for the visitor."""
    visitor = get_visitor(request)
    items = list_todo(visitor, await visitor.site.store.waiting.read(), (), ())
    return next(
        (item.path for item in items if item.can_be_approved),
        "/inbox",
    )


async def show_return(request: Request) -> Response:
    """Ask why a text is sent back. Without script, this page is the target of the button."""
    moment = await read_moment(get_visitor(request))
    task = await find_task(request, moment.waiting)
    if task is None:
        return await render_none(request, moment)
    page = await describe_task(request, moment, task, None)
    return await render_page(
        request,
        "approvals/approve_return",
        moment=moment,
        page=page,
        stream=page.stream,
    )


async def return_text(request: Request) -> Response:
    """Send a text back to its author with the wanted changes. Its approvals end."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    post, ready = PostId(request.path_params["post"]), str(form.get("ready", ""))
    words = [visitor.messages.translate(ready) if ready in RETURN_REASONS else ""]
    words.append(read_reason(form))
    try:
        remarks = await find_remarks(request, read_remarks(form))
    except ApprovalError as error:
        return await render_stale(request, error)
    if remarks:
        words.append(
            visitor.messages.translate("web_return_remarks", number=len(remarks))
        )
    said = visitor.messages.translate("list_comma").join(filter(None, words))
    if not said:
        moment = await read_moment(visitor)
        task = await load_task(request, moment.waiting)
        problem = visitor.messages.translate("web_return_needs_reason")
        return await render_task(request, moment, task, problem, status=422)
    check = partial(require_approval, visitor)
    try:
        async with visitor.hiding(post):
            task = await site.store.approvals.return_text(
                post,
                str(form.get("fingerprint", "")),
                visitor.actor,
                said,
                check,
                remarks,
            )
    except ApprovalError as error:
        return await render_stale(request, error)
    facts = {"title": task.post.title, "author": task.status.author}
    # no one gives others' yeses back
    undo = "" if task.status.counted else approval_path(task.key, "/return/undo")
    undo_fields = {"fingerprint": task.status.fingerprint}
    done = Notice(
        code="web_done_returned", facts=facts, undo=undo, undo_fields=undo_fields
    )
    return redirect(request, await find_next_path(request), done)


def read_remarks(form: Mapping[str, object]) -> Mapping[str, str]:
    """Return the typed remarks of a form, each on one line, by the key of their passage."""
    typed = {
        name.removeprefix(REMARK_PREFIX): remove_forbidden_characters(
            " ".join(str(value)[: 2 * MAX_REMARK_CHARACTERS].split())
        )[:MAX_REMARK_CHARACTERS]
        for name, value in form.items()
        if name.startswith(REMARK_PREFIX)
    }
    return {key: text for key, text in typed.items() if text}


async def find_remarks(request: Request, typed: Mapping[str, str]) -> Sequence[Remark]:
    """Return typed remarks with their passages. Raises ApprovalError if the post has changed."""
    if not typed:
        return ()
    site, post = get_site(request), PostId(request.path_params["post"])
    stored = await site.store.posts.get_post(post)
    passages = {one.key: one for one in list_passages_of(stored)} if stored else {}
    if len(typed) > MAX_REMARKS or not typed.keys() <= passages.keys():
        raise ApprovalError("approval_changed", post=post)
    return [
        Remark(field=passage.field, quote=passage.quote, text=typed[key])
        for key, passage in passages.items()
        if key in typed
    ]


async def undo_return(request: Request) -> Response:
    """Take back one's own return, so that the text waits for approvals again."""
    visitor, form = get_visitor(request), await request.form()
    post, fingerprint = (
        PostId(request.path_params["post"]),
        str(form.get("fingerprint", "")),
    )
    async with visitor.hiding(post):
        task = await get_site(request).store.approvals.undo_return(
            post, fingerprint, visitor.actor, partial(require_approval, visitor)
        )
    return redirect(
        request, approval_path(task.key), Notice(code="web_done_return_undone")
    )


async def end_approvals(request: Request) -> Response:
    """End the approvals of the unsent part of an occurrence: the visitor's own alone, or all.

    If nothing is left to stop, go to the post and say so there.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    task = await find_task(request, await site.store.waiting.read())
    if task is None:
        return await report_too_late(request, "web_end_nothing")
    visitor.require(Permission.STOP, task.accounts)
    reason = read_reason(form) or visitor.messages.translate("web_end_reason")
    try:
        result = await site.store.approvals.unapprove(
            task.key.post,
            task.key.occurrence,
            visitor.actor,
            reason,
            visitor.user.name if form.get("own") else None,
            partial(visitor.require, Permission.STOP),
        )
    except ApprovalError:
        return await report_too_late(request, "web_end_nothing")
    if result.is_too_late:
        return await report_too_late(request, "web_end_too_late")
    notice = Notice(
        code="web_done_ended",
        facts={"title": task.post.title, "number": result.approvals},
    )
    return redirect(request, approval_path(task.key), notice)


async def report_too_late(request: Request, code: str) -> Response:
    """Lead to a post that is visible to the visitor, with the reason why no approval has ended."""
    name = PostId(request.path_params["post"])
    post = await get_site(request).store.posts.get_post(name)
    facts = {"title": post.title if post else name}
    notice = Notice(code=code, facts=facts, is_partial=True)
    return redirect(request, f"/posts/{quote(name, safe='')}", notice)
