"""Actions of people on a post: stop it, take it down, pause and resume it, correct it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.history import format_retraction
from publisher.app.offline import find_newer_files
from publisher.app.open_store import check_command_access
from publisher.config import Environment
from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, Delivery, Readback, State
from publisher.domain.errors import NoSuchItemError, RefusedError, SignInError
from publisher.domain.kinds import CORRECTING_KINDS, PostKind
from publisher.domain.post import (
    MEMBER_MARK,
    DeliveryId,
    OneTimeTrigger,
    Post,
    PostId,
    is_same_in_any_form,
)
from publisher.domain.user import Permission
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import can_be_resolved
from publisher.engine.filed_texts import refresh_texts
from publisher.store.queries.audit_log import AuditFilter
from publisher.store.queries.occurrences import StopCounts
from publisher.store.queries.queries import Alert, DeliveryHistory
from publisher.store.system_alerts import TEXT_OUTDATED
from publisher.web.kit.access import step_up
from publisher.web.kit.forms import (
    ActionForm,
    read_number,
    read_paused_at,
    read_reason,
    show_action_form,
)
from publisher.web.kit.frame import Moment, read_frame_facts, read_moment
from publisher.web.kit.live_parts import NO_PARTS, Parts, item_id, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.posts.posts import (
    DeliveryLine,
    PostView,
    choose_occurrence,
    describe_delivery,
    load_post_view,
    name_related,
    read_post_view,
    read_progress,
)
from publisher.web.write.rewrite import REFUSED, list_refused

MAX_LISTED = 600
"""How many accounts the page of a retraction lists, the ones that need a person first."""
RETRACTIONS_TOGETHER = timedelta(hours=1)
"""Retractions by one person within this time count together."""


def post_path(view: PostView) -> str:
    """Return the path of the visitor's view of a post."""
    post = view.key.post
    return (
        f"/posts/{post}"
        if len(view.occurrences) < 2
        else f"/posts/{post}/{view.key.occurrence}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPost:
    """The post of an action that its visitor may take, and the page to go on to."""

    post: Post
    back: str


async def open_post(request: Request, action: str) -> OpenedPost:
    """Return the post of the path, for an action on it.

    Raises NoSuchItemError, and SignInError without the permission on all of its accounts.
    """
    site, visitor = get_site(request), get_visitor(request)
    progress = await read_progress(visitor, PostId(request.path_params["post"]))
    visitor.require(PERMISSIONS[action], progress.accounts)
    post, occurrences = progress.details.post, progress.occurrences
    shown, back = (
        choose_occurrence(occurrences, "", site.runtime.now()),
        f"/posts/{post.id}",
    )
    if shown is not None and len(occurrences) > 1:
        back += f"/{shown.key.occurrence}"
    return OpenedPost(post=post, back=back)


def cancel_form(visitor: Visitor, view: PostView) -> ActionForm:
    """Ask whether the rest of a post is not to be sent."""
    t, post, number = visitor.messages.translate, view.key.post, view.stops.unsent
    return ActionForm(
        verb="cancel",
        path=f"/posts/{post}/cancel",
        back=post_path(view),
        label=t("pages_cancel"),
        title=t("pages_cancel_title", number=number),
        texts=[
            *explain_region(visitor, view),
            t("pages_cancel_says", number=number, published=view.stops.maybe_published),
        ],
        confirm=t("pages_cancel_confirm", number=number),
        keep=t("pages_cancel_keep"),
        icon="x",
        reason="required",
        style="danger",
        fields={"newest": str(view.newest)},
    )


def retract_form(visitor: Visitor, view: PostView) -> ActionForm:
    """Ask whether to take a post down.

    The form gives the numbers of accounts where it is, may be and is not published.
    """
    t, post = visitor.messages.translate, view.key.post
    number, unsent = view.stops.maybe_published, view.stops.unsent
    return ActionForm(
        verb="retract",
        path=f"/posts/{post}/retract",
        back=post_path(view),
        label=t("pages_retract"),
        title=t("pages_retract_region_title", region=view.region, number=number)
        if view.region
        else t("pages_retract_title", number=number),
        texts=[
            *explain_region(visitor, view),
            t(
                "pages_retract_says",
                live=view.stops.published,
                doubtful=view.stops.doubtful,
            ),
            *([t("pages_retract_all_times")] if len(view.occurrences) > 1 else []),
            *([t("pages_retract_unsent", number=unsent)] if unsent else []),
            *explain_correction(visitor, view),
            t("pages_retract_for_good"),
        ],
        confirm=t("pages_retract_confirm", number=number),
        keep=t("pages_retract_keep"),
        icon="trash-2",
        reason="required",
        asks_code=needs_code([view.stops]) and not visitor.is_stepped_up,
        offers=[*offer_correction(visitor, view), *offer_whole(visitor, view)],
        style="danger",
        fields={"newest": str(view.newest)},
    )


def needs_code(stops: Sequence[StopCounts]) -> bool:
    """True if taking posts down is so much that nobody does it with an unlocked screen alone.

    The accounts that they were taken down from before count too, so that no post goes one by one.
    """
    return sum(each.maybe_published + each.taken_down for each in stops) > 1


async def takes_code(visitor: Visitor, stops: Sequence[StopCounts]) -> bool:
    """True if it is so much, or follows another retraction by the visitor in the last hour.

    Region by region, or post by post, an unlocked screen takes down no more than one.
    """
    site = visitor.site
    lately = AuditFilter(
        by=visitor.user.name,
        event="retraction_requested",
        since=site.runtime.now() - RETRACTIONS_TOGETHER,
    )
    return needs_code(stops) or bool(await site.store.audit.search(lately, 1))


def offer_correction(visitor: Visitor, view: PostView) -> Sequence[tuple[str, str]]:
    """Return the way to a correction: it reaches readers only while the original is there."""
    if not (view.stops.maybe_published and "/write" in visitor.site.pages):
        return ()
    if not visitor.may(PERMISSIONS["correct"], view.progress.accounts):
        return ()
    label = visitor.messages.translate("pages_retract_correct_first")
    return [(f"/posts/{view.key.post}/correct", label)]


def explain_region(visitor: Visitor, view: PostView) -> Sequence[str]:
    """Return the sentence that an act on a member of a family is about one region alone."""
    if not view.siblings:
        return ()
    facts = {"region": view.region, "number": len(view.siblings)}
    return [visitor.messages.translate("pages_region_alone", **facts)]


def explain_correction(visitor: Visitor, view: PostView) -> Sequence[str]:
    """Return the sentence that the correction of a post is not taken down with it."""
    if (correction := view.details.corrected_by) is None:
        return ()
    return [visitor.messages.translate("pages_retract_correction", post=correction)]


def offer_whole(visitor: Visitor, view: PostView) -> Sequence[tuple[str, str]]:
    """Return the way to take all members of a family down, which asks again."""
    posts = [view.key.post, *view.siblings]
    if not view.siblings or not visitor.may_everywhere(PERMISSIONS["retract"]):
        return ()
    label = visitor.messages.translate("pages_retract_whole", number=len(posts))
    return [(f"/bulk/retract?{urlencode({'item': posts}, doseq=True)}", label)]


async def confirm_retraction(
    request: Request, post: PostId, accounts: Collection[AccountId]
) -> str:
    """Return what is wrong with the code of a retraction that needs one; empty if nothing is.

    In live operation, raises RefusedError for an author without a second factor: it takes a second
    person then. In a drill people enter without one.
    """
    visitor = get_visitor(request)
    is_drill = visitor.site.settings.environment is Environment.DRILL
    is_proved = is_drill or visitor.user.has_second_factor
    if not is_proved and not visitor.may(Permission.OPERATE, accounts):
        raise RefusedError("web_retract_alone", post=post)
    if visitor.is_stepped_up:
        return ""
    try:
        await step_up(request, str((await request.form()).get("code", "")))
    except SignInError as error:
        return visitor.messages.translate(error.code, **error.facts)
    return ""


def refresh_form(visitor: Visitor, view: PostView) -> ActionForm:
    """Ask whether to replace the filed texts by the present output of templates and settings."""
    t, post = visitor.messages.translate, view.key.post
    return ActionForm(
        verb="refresh",
        path=f"/posts/{post}/refresh",
        back=post_path(view),
        label=t("pages_refresh"),
        title=t("pages_refresh_title"),
        texts=[
            t("pages_refresh_says"),
            *([t("pages_refresh_approvals")] if view.tasks else []),
        ],
        confirm=t("pages_refresh"),
        keep=t("pages_refresh_keep"),
        icon="repeat",
    )


def pause_form(visitor: Visitor, view: PostView) -> ActionForm:
    t, post = visitor.messages.translate, view.key.post
    return ActionForm(
        verb="pause-post",
        path=f"/posts/{post}/pause",
        back=post_path(view),
        label=t("pages_pause_post"),
        title=t("pages_pause_post_title"),
        texts=[t("pages_pause_post_says", number=view.stops.unsent)],
        confirm=t("pages_pause_post"),
        keep=t("pages_pause_keep"),
        icon="circle-pause",
        reason="optional",
    )


def resume_form(visitor: Visitor, view: PostView) -> ActionForm:
    t, post = visitor.messages.translate, view.key.post
    return ActionForm(
        verb="resume-post",
        path=f"/posts/{post}/resume",
        back=post_path(view),
        label=t("pages_resume_post"),
        title=t("pages_resume_post_title"),
        texts=[visitor.formatter.pause("pages_paused", view.pause)]
        if view.pause
        else [],
        confirm=t("pages_resume_post_confirm", number=view.stops.unsent),
        keep=t("pages_resume_keep"),
        fields={"paused_at": view.pause.at.isoformat() if view.pause else ""},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostButton:
    """A possible action on a post, as a link or as a form.

    `is_offered` is True if this visitor may do it now.
    """

    verb: str
    path: str
    label: str
    icon: str
    style: str = ""
    form: ActionForm | None = None
    is_offered: bool

    @property
    def element(self) -> str:
        """The id of the button."""
        return item_id("button", self.verb)


def list_buttons(
    visitor: Visitor, view: PostView, alerts: Sequence[Alert]
) -> Sequence[PostButton]:
    """Return all that may ever be done to a post, the likeliest first and danger last."""
    site, post, stops = visitor.site, view.details.post, view.stops
    accounts = view.progress.accounts

    def may(permission: Permission) -> bool:
        return visitor.may(permission, accounts)

    def link(
        verb: str, path: str, icon: str, style: str = "", *, is_offered: bool
    ) -> PostButton:
        label = visitor.messages.translate(f"pages_link_{verb}")
        return PostButton(
            verb=verb,
            path=path,
            label=label,
            icon=icon,
            style=style,
            is_offered=is_offered,
        )

    def ask(form: ActionForm, style: str = "", *, is_offered: bool) -> PostButton:
        path, label = form.path, form.label
        return PostButton(
            verb=form.verb,
            path=path,
            label=label,
            icon=form.icon,
            style=style,
            form=form,
            is_offered=is_offered,
        )

    writes = "/write" in site.pages and may(Permission.WRITE)
    refused = list_refused(view.deliveries, view.rewritten)
    is_in_force = view.details.is_in_force
    lacks_approval = (
        any(task.status.missing for task in view.tasks)
        and "/approve/{post}" in site.pages
    )
    is_paused, is_unsent = view.pause is not None, bool(stops.unsent)
    is_published = bool(stops.maybe_published)
    is_outdated = any(
        alert.code == TEXT_OUTDATED and alert.facts.get("post") == post.id
        for alert in alerts
    )
    return [
        link(
            "approve",
            f"/approve/{post.id}",
            "circle-check",
            "main",
            is_offered=lacks_approval and may(Permission.APPROVE),
        ),
        link(
            "rewrite",
            f"/write?like={post.id}&only={REFUSED}",
            "pencil",
            "main",
            is_offered="/write" in site.pages
            and bool(refused)
            and visitor.may(Permission.WRITE, refused),
        ),
        link(
            "resolve",
            f"/posts/{post.id}/resolve",
            "circle-alert",
            is_offered=len(list_resolvable(visitor, view)) > 1,
        ),
        link(
            "edit",
            f"/posts/{post.id}/edit",
            "pencil",
            is_offered=writes and is_in_force and "/posts/{post}/edit" in site.pages,
        ),
        ask(
            refresh_form(visitor, view), is_offered=is_outdated and may(Permission.SEND)
        ),
        link("copy", f"/write?like={post.id}", "copy", is_offered=writes),
        link(
            "correct",
            f"/posts/{post.id}/correct",
            "pencil",
            is_offered=writes and is_published,
        ),
        ask(
            resume_form(visitor, view),
            # that of a whole family holds others' regions too
            is_offered=view.pause is not None
            and view.pause.scope == f"post:{post.id}"
            and may(Permission.OPERATE),
        ),
        ask(
            pause_form(visitor, view),
            is_offered=is_unsent and not is_paused and may(Permission.STOP),
        ),
        ask(
            cancel_form(visitor, view),
            is_offered=is_unsent
            and not view.details.is_cancelled
            and may(Permission.STOP),
        ),
        ask(
            retract_form(visitor, view),
            "stop",
            is_offered=is_published and may(Permission.RETRACT),
        ),
    ]


def list_resolvable(visitor: Visitor, view: PostView) -> Sequence[Delivery]:
    """Return the held deliveries of a post that wait for a ruling of this visitor.

    One that publisher still checks takes a ruling too, but nobody is led to it.
    """
    return [
        item
        for item in view.deliveries
        if item.state is State.HELD
        and can_be_resolved(item)
        and visitor.may(Permission.OPERATE, [item.account])
    ]


async def read_live_buttons(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the buttons in the head of a post, and their dialogs.

    A button that is not offered any more keeps its place.
    """
    post, named = PostId(page.get("post", "")), page.get("occurrence", "")
    site = visitor.site
    number = (await read_frame_facts(site)).audit_number
    key = (
        "post",
        post,
        named,
        visitor.reach(Permission.VIEW),
        visitor.lang,
        number,
        site.beat,
    )
    try:
        view = await site.caches.live.get(
            key, partial(read_post_view, visitor, post, named)
        )
    except NoSuchItemError:
        return NO_PARTS
    buttons = list_buttons(visitor, view, await site.store.queries.alerts_about([post]))
    make_button, make_dialog = (
        load_macro(visitor, "parts/action", name)
        for name in ("post_button", "action_dialog")
    )
    forms = [
        button.form
        for button in buttons
        if button.form is not None and button.is_offered
    ]
    return Parts(
        items={button.element: make_button(button) for button in buttons}
        | {form.dialog: make_dialog(form) for form in forms},
        wanted=[button.element for button in buttons if button.is_offered],
    )


PERMISSIONS: Mapping[str, Permission] = {
    "cancel": Permission.STOP,
    "retract": Permission.RETRACT,
    "pause": Permission.STOP,
    "resume": Permission.OPERATE,
    "correct": Permission.SEND,
    "refresh": Permission.SEND,
}


async def open_view(request: Request, action: str, moment: Moment) -> PostView:
    """Return the post of an action, if the visitor may take it for all of the post's accounts.

    Messages of the page name it and its correction by their titles. Raises SignInError.
    """
    view, visitor = await load_post_view(request, moment), get_visitor(request)
    visitor.require(PERMISSIONS[action], view.progress.accounts)
    details = view.details
    request.state.visitor = await name_related(
        visitor, details.post, details.corrected_by
    )
    return view


async def open_form(
    request: Request,
    action: str,
    make: Callable[[Visitor, PostView], ActionForm],
    problem: str = "",
) -> Response:
    """Show the form of an action as a page of its own, if the visitor may take it.

    A `problem` is the code of what is wrong with what was sent.
    """
    moment = await read_moment(get_visitor(request))
    view = await open_view(request, action, moment)
    visitor = get_visitor(request)
    words, status = (
        visitor.messages.translate(problem) if problem else "",
        422 if problem else 200,
    )
    return await show_action_form(
        request, make(visitor, view), status, problem=words, moment=moment
    )


async def show_cancel(request: Request) -> Response:
    return await open_form(request, "cancel", cancel_form)


async def cancel(request: Request) -> Response:
    visitor, form = get_visitor(request), await request.form()
    reason, newest = read_reason(form), DeliveryId(read_number(form, "newest"))
    if not reason:
        return await open_form(request, "cancel", cancel_form, "pages_reason_needed")
    opened, actions = (
        await open_post(request, "cancel"),
        get_site(request).store.actions,
    )
    number = await actions.cancel_post(opened.post.id, visitor.actor, reason, newest)
    return redirect(
        request, opened.back, Notice(code="pages_cancelled", facts={"number": number})
    )


async def show_retract(request: Request) -> Response:
    """Ask for a reason. If a retraction was ordered, show its progress and proof by account."""
    moment = await read_moment(get_visitor(request))
    view = await open_view(request, "retract", moment)
    visitor = get_visitor(request)
    retraction = await read_retraction(visitor, view.key.post)
    if not retraction.lines or "again" in request.query_params:
        return await show_action_form(
            request, retract_form(visitor, view), moment=moment
        )
    needs_another = view.stops.maybe_published > len(retraction.groups["action"])
    return await render_page(
        request,
        "posts/retraction",
        moment=moment,
        stream=stream_path(
            "retraction",
            [line.element_of_time for line in retraction.lines],
            post=view.key.post,
        ),
        view=view,
        post=view.details.post,
        retraction=retraction,
        again=retract_form(visitor, view) if needs_another else None,
        offer=next(iter(offer_correction(visitor, view)), None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction:
    """The progress of a retraction on each account. The ones that need a person come first.

    `proofs` are by delivery.
    """

    groups: Mapping[str, Sequence[Delivery]]
    lines: Sequence[DeliveryLine]
    proofs: Mapping[DeliveryId, Sequence[str]]
    left_out: int


async def read_retraction(visitor: Visitor, post: PostId) -> Retraction:
    """Return how far taking a post down is; without a line if nobody has ordered it."""
    store = visitor.site.store
    filed = {
        item.delivery.id: item
        for item in await store.progress.deliveries(post)
        if is_retracted(item.delivery)
    }
    ordered = [item.delivery for item in filed.values()]
    readbacks, groups = (
        await store.occurrences.newest_readbacks(post),
        group_retracted(ordered),
    )
    shown = [delivery for found in groups.values() for delivery in found][:MAX_LISTED]
    return Retraction(
        groups=groups,
        lines=[
            describe_delivery(visitor.formatter, filed[item.id], ()) for item in shown
        ],
        proofs={
            item.id: list_proofs(item, readbacks.get(item.id), visitor)
            for item in shown
        },
        left_out=len(ordered) - len(shown),
    )


async def read_live(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return the progress of a retraction, for a visitor who may retract on all its accounts."""
    post = PostId(page.get("post", ""))
    if posts is not None and post not in posts:
        return NO_PARTS
    try:
        view = await read_post_view(visitor, post, "")
    except NoSuchItemError:
        return NO_PARTS
    if not visitor.may(PERMISSIONS["retract"], view.progress.accounts):
        return NO_PARTS
    retraction = await read_retraction(visitor, post)
    make_row = load_macro(visitor, "posts/retraction_parts", "retraction_row")
    rows = {
        line.element_of_time: make_row(line, retraction.proofs[line.delivery.id], view)
        for line in retraction.lines
    }
    chips = load_macro(visitor, "posts/retraction_parts", "retraction_chips")(
        retraction
    )
    return Parts(fixed={"verdict": chips}, items=rows, wanted=rows)


def group_retracted(deliveries: Sequence[Delivery]) -> Mapping[str, Sequence[Delivery]]:
    """Return the deliveries to take down, grouped by progress.

    The ones that need a person come first.
    """
    states = {
        "action": {State.HELD},
        "checking": {State.RETRACTING},
        "done": {State.RETRACTED},
        "unsent": {State.CANCELLED},
    }
    known = {state for found in states.values() for state in found}
    groups = {
        name: [item for item in deliveries if item.state in found]
        for name, found in states.items()
    }
    groups["checking"] += [item for item in deliveries if item.state not in known]
    return groups


def list_proofs(
    delivery: Delivery, newest: Readback | None, visitor: Visitor
) -> Sequence[str]:
    """Return the words about the proof that a post is gone, or about the missing proof."""
    readbacks = [newest] if newest else []
    history = DeliveryHistory(
        delivery=delivery, attempts=[], readbacks=readbacks, audit_lines=[]
    )
    return [text.strip() for text in format_retraction(history, visitor.formatter)]


def is_retracted(delivery: Delivery) -> bool:
    """True if people have ordered that a delivery is taken down, with any result."""
    return delivery.is_retraction_requested or delivery.state in {
        State.RETRACTING,
        State.RETRACTED,
    }


def needs_retraction(delivery: Delivery) -> bool:
    """True if a delivery is or may be published, and nobody has ordered that it is taken down."""
    return (
        delivery.state is State.PUBLISHED or delivery.state in OPEN_STATES
    ) and not is_retracted(delivery)


async def retract(request: Request) -> Response:
    """Order that a post is taken down everywhere."""
    form, actions = await request.form(), get_site(request).store.actions
    reason, newest = read_reason(form), DeliveryId(read_number(form, "newest"))
    if not reason:
        return await open_form(request, "retract", retract_form, "pages_reason_needed")
    moment = await read_moment(get_visitor(request))
    view = await open_view(request, "retract", moment)
    post = view.key.post
    async with get_site(request).retractions:
        if await takes_code(get_visitor(request), [view.stops]) and (
            problem := await confirm_retraction(request, post, view.progress.accounts)
        ):
            asked = retract_form(get_visitor(request), view)
            return await show_action_form(
                request, asked, 422, code_problem=problem, reason=reason, moment=moment
            )
        by = get_visitor(request).actor
        number = len(await actions.retract(post, None, by, reason, newest))
    done = Notice(code="pages_retracting", facts={"number": number})
    following = f"/posts/{post}/retract" if number else post_path(view)
    return redirect(request, following, done)


async def show_refresh(request: Request) -> Response:
    return await open_form(request, "refresh", refresh_form)


async def refresh(request: Request) -> Response:
    """Take over the present output of templates and settings.

    Raises RefusedError if this process has read older ones.
    """
    opened, site = await open_post(request, "refresh"), get_site(request)
    if await asyncio.to_thread(
        find_newer_files, site.settings.workspace, site.loaded_files
    ):
        raise RefusedError("refresh_files_changed")
    await check_command_access(site.store, site.settings)
    visitor = get_visitor(request)
    async with site.render_turns.take(visitor.user.name, is_save=True):
        number = await refresh_texts(
            site.application.planner, opened.post.id, visitor.actor
        )
    code = "pages_refreshed" if number else "pages_refresh_unchanged"
    return redirect(request, opened.back, Notice(code=code, facts={"number": number}))


async def show_pause(request: Request) -> Response:
    return await open_form(request, "pause", pause_form)


async def require_every_form(request: Request, action: str, post: Post) -> None:
    """Raise SignInError without the permission on all accounts that a pause of a post covers.

    A pause of an ordinary post covers what its regions have under ids of their own.
    """
    if MEMBER_MARK not in post.id:
        forms = await get_site(request).store.posts.family_posts(post.id)
        accounts = {account for form in forms for account in form.accounts}
        get_visitor(request).require(PERMISSIONS[action], accounts)


async def pause(request: Request) -> Response:
    opened, visitor = await open_post(request, "pause"), get_visitor(request)
    await require_every_form(request, "pause", opened.post)
    post, reason = opened.post, read_reason(await request.form())
    at = await get_site(request).store.actions.pause(
        f"post:{post.id}", visitor.actor, reason
    )
    may_undo = visitor.may(PERMISSIONS["resume"], post.accounts)
    undo = f"/posts/{post.id}/resume" if may_undo else ""
    done = Notice(
        code="pages_post_paused", undo=undo, undo_fields={"paused_at": at.isoformat()}
    )
    return redirect(request, opened.back, done)


async def show_resume(request: Request) -> Response:
    return await open_form(request, "resume", resume_form)


async def resume(request: Request) -> Response:
    """Lift the pause of a post. Raises RefusedError if the pause is not the shown one."""
    opened, site = await open_post(request, "resume"), get_site(request)
    await require_every_form(request, "resume", opened.post)
    paused_at, actor = read_paused_at(await request.form()), get_visitor(request).actor
    await check_command_access(site.store, site.settings)
    await site.store.actions.resume(f"post:{opened.post.id}", actor, paused_at)
    return redirect(request, opened.back, Notice(code="pages_post_resumed"))


async def show_correct(request: Request) -> Response:
    """Show the corrections of a post that are in the schedule, and the way to write one."""
    visitor = get_visitor(request)
    moment = await read_moment(visitor)
    view, reach = (
        await open_view(request, "correct", moment),
        visitor.reach(Permission.VIEW),
    )
    related = await get_site(request).store.occurrences.related(
        view.details.post, reach
    )
    corrections = [
        item.post
        for item in related
        if item.post.kind in CORRECTING_KINDS and not item.is_original
    ]
    post = view.details.post
    repeats = not isinstance(post.trigger, OneTimeTrigger)
    rules = get_site(request).store.approval_rules
    chain = rules.chain_for(PostKind.CORRECTION)
    return await render_page(
        request,
        "posts/correct",
        moment=moment,
        view=view,
        post=post,
        corrections=corrections,
        repeats=repeats,
        about_region=explain_region(visitor, view),
        stages=[stage.name for stage in chain],
    )


async def correct(request: Request) -> Response:
    """Send a correction from the schedule wherever the post is or may be published.

    Raises NoSuchItemError.
    """
    site, opened = get_site(request), await open_post(request, "correct")
    form = await request.form()
    visitor, name = get_visitor(request), PostId(str(form.get("correction", "")))
    await visitor.require_visible(name)
    correction = await site.store.posts.get_post(name)
    if (
        correction is None
        or not is_same_in_any_form(correction.follows or "", opened.post.id)
        or not correction.kind.traits.stops_original
    ):
        raise NoSuchItemError("post", name)
    visitor.require(Permission.SEND, correction.accounts)
    await check_command_access(site.store, site.settings)
    plan = await send_correction(
        site.application.planner, correction, visitor.actor, is_new=False
    )
    await site.store.maintenance.promote_requested([name])
    facts = {
        "number": len(plan.send_now),
        "waiting": len(plan.waiting),
        "stopped": len(plan.stopped),
    }
    return redirect(
        request,
        f"/posts/{name if plan.targets else opened.post.id}",
        Notice(code="pages_correction_sent", facts=facts),
    )
