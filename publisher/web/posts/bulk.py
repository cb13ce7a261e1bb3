"""Take several posts down at once, and rule on several accounts of a post at once."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.open_store import check_command_access
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import DeliveryId, PostId
from publisher.domain.user import Permission
from publisher.engine.decisions import Resolution, decide
from publisher.web.kit.bulk import (
    BulkError,
    do_each,
    explain_refusal,
    read_ticked,
)
from publisher.web.kit.forms import (
    ActionForm,
    ActionItem,
    parse_number,
    read_reason,
    seen_state,
    show_action_form,
)
from publisher.web.kit.page import redirect
from publisher.web.kit.site import Visitor, get_site, get_visitor
from publisher.web.posts.deliveries import delivery_path
from publisher.web.posts.post_actions import (
    PERMISSIONS,
    confirm_retraction,
    explain_correction,
    list_resolvable,
    needs_code,
    post_path,
    takes_code,
)
from publisher.web.posts.posts import PostView, load_post_view, read_post_view

RULINGS = (Resolution.NOT_PUBLISHED, Resolution.RESEND, Resolution.CANCEL)
"""The rulings on several accounts. Each published post has an address of its own."""


async def read_view(visitor: Visitor, post: PostId) -> PostView:
    """Return a post.

    Raises NoSuchItemError, and SignInError without the permission to take it down everywhere.
    """
    view = await read_post_view(visitor, post, "")
    visitor.require(PERMISSIONS["retract"], view.progress.accounts)
    return view


def require_live(view: PostView) -> PostView:
    """Return a post that is or may be published. Raises RefusedError for any other."""
    if not view.stops.maybe_published:
        raise RefusedError("web_bulk_not_live")
    return view


async def read_views(
    visitor: Visitor, posts: Sequence[PostId]
) -> tuple[Sequence[PostView], Sequence[str]]:
    """Return the posts that can be taken down, and which of the others cannot and why.

    Raises the reason of the first one if none can.
    """
    views, left_out, errors = list[PostView](), list[str](), list[BulkError]()
    for post in dict.fromkeys(posts):
        try:
            views.append(require_live(await read_view(visitor, post)))
        except (NoSuchItemError, RefusedError) as error:
            errors.append(error)
            left_out.append(await explain_refusal(visitor, post, error))
    if not views:
        raise errors[0]
    return views, left_out


def retract_form(
    visitor: Visitor, views: Sequence[PostView], left_out: Sequence[str] = ()
) -> ActionForm:
    t, number = visitor.messages.translate, len(views)
    accounts = sum(view.stops.maybe_published for view in views)
    return ActionForm(
        verb="retract-all",
        path="/bulk/retract",
        back="/posts",
        label=t("web_bulk_retract", number=number),
        title=t("web_bulk_retract_title", number=number, accounts=accounts),
        texts=[t("pages_retract_for_good")],
        items=[
            ActionItem(
                value=f"{view.key.post} {view.newest}",
                title=" ".join(filter(None, [view.region, view.details.post.title])),
                path=post_path(view),
                facts=" ".join(
                    [
                        t(
                            "pages_retract_says",
                            live=view.stops.published,
                            doubtful=view.stops.doubtful,
                        ),
                        *explain_correction(visitor, view),
                    ]
                ),
            )
            for view in views
        ],
        left_out=left_out,
        confirm=t("web_bulk_retract", number=number),
        keep=t("pages_retract_keep"),
        icon="trash-2",
        reason="required",
        asks_code=needs_code([view.stops for view in views])
        and not visitor.is_stepped_up,
        style="danger",
    )


async def show_retract(request: Request) -> Response:
    """Ask whether the ticked posts are to be taken down, each on all of its accounts."""
    ticked = read_ticked(request.query_params.getlist("item"))
    visitor = get_visitor(request)
    posts = [PostId(name.partition("#")[0]) for name in ticked]
    views, left_out = await read_views(visitor, posts)
    visitor = await name_corrections(visitor, views)
    return await show_action_form(request, retract_form(visitor, views, left_out))


async def name_corrections(visitor: Visitor, views: Sequence[PostView]) -> Visitor:
    """Return the visitor with the titles of the corrections of some posts."""
    names = [view.details.corrected_by for view in views if view.details.corrected_by]
    visible = await visitor.find_visible(names) if names else ()
    titles = await visitor.site.store.queries.titles(visible) if visible else {}
    return replace(visitor, titles=titles)


async def retract(request: Request) -> Response:
    """Order that each shown post is taken down everywhere."""
    site, form = get_site(request), await request.form()
    ticked, reason = read_ticked(form.getlist("item")), read_reason(form)
    newest = {
        PostId(post): number
        for post, _space, number in (item.partition(" ") for item in ticked)
    }
    views = [await read_view(get_visitor(request), post) for post in newest]
    shown = [view for view in views if view.stops.maybe_published]
    if not shown:
        raise RefusedError("web_bulk_nothing")
    if not reason:
        visitor = get_visitor(request)
        problem = visitor.messages.translate("pages_reason_needed")
        return await show_action_form(
            request, retract_form(visitor, shown), 422, problem=problem
        )
    accounts = {account for view in shown for account in view.progress.accounts}
    async with site.retractions:
        stops = [view.stops for view in shown]
        if await takes_code(get_visitor(request), stops) and (
            problem := await confirm_retraction(request, shown[0].key.post, accounts)
        ):
            asked = retract_form(get_visitor(request), shown)
            return await show_action_form(
                request, asked, 422, code_problem=problem, reason=reason
            )
        visitor = get_visitor(request)

        async def act(post: str) -> None:
            number = DeliveryId(parse_number(newest[PostId(post)]))
            await site.store.actions.retract(
                PostId(post), None, visitor.actor, reason, number
            )

        notice = await do_each(visitor, "web_bulk_retracting", list(newest), act)
    return redirect(request, "/posts", notice)


def resolve_form(visitor: Visitor, view: PostView) -> ActionForm:
    """Ask for one ruling on several accounts. Raises RefusedError if there is none."""
    found, t = list_resolvable(visitor, view), visitor.messages.translate
    if not found:
        raise RefusedError("web_bulk_nothing")
    states = {line.delivery.id: line.text for line in view.lines}
    return ActionForm(
        verb="resolve-all",
        path=f"/posts/{view.key.post}/resolve",
        back=post_path(view),
        label=t("web_bulk_resolve", number=len(found)),
        title=t("web_bulk_resolve_title", title=view.details.post.title),
        texts=[t("web_bulk_resolve_says")],
        choices={ruling.value: t(f"pages_rule_{ruling}") for ruling in RULINGS},
        items=[
            ActionItem(
                value=f"{item.key.occurrence} {item.account} {seen_state(item)}",
                title=view.names.name(item.account),
                path=delivery_path(item),
                facts=states[item.id],
                is_ticked=True,
            )
            for item in found
        ],
        confirm=t("web_bulk_resolve", number=len(found)),
        counted=t("web_bulk_resolve", number="{number}"),
        keep=t("pages_rule_keep"),
        reason="required",
    )


async def show_resolve(request: Request) -> Response:
    view = await load_post_view(request)
    return await show_action_form(request, resolve_form(get_visitor(request), view))


async def resolve(request: Request) -> Response:
    """Carry out one ruling on each ticked account, in the state that the form has shown."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    view, reason, ruling = (
        await load_post_view(request),
        read_reason(form),
        str(form.get("ruling", "")),
    )
    if not reason or ruling not in RULINGS:
        code = "web_bulk_ruling_needed" if reason else "pages_reason_needed"
        problem = visitor.messages.translate(code)
        asked = resolve_form(visitor, view)
        return await show_action_form(
            request, asked, 422, problem=problem, reason=reason
        )
    ticked = read_ticked(form.getlist("item"))
    if ruling != Resolution.CANCEL:
        await check_command_access(site.store, site.settings)

    async def act(item: str) -> None:
        occurrence, account, seen = (*item.split(" ", 2), "", "", "")[:3]
        visitor.require(Permission.OPERATE, [AccountId(account)])
        shown = [
            each
            for each in view.deliveries
            if (each.key.occurrence, each.account) == (occurrence, account)
        ]
        if not shown:
            raise NoSuchItemError("delivery", f"{view.key.post}@{account}")
        if seen_state(shown[0]) != seen:
            subject = f"{view.key.post}@{account}"
            raise RefusedError(
                "changed_meanwhile", subject=subject, state=shown[0].state.value
            )
        await decide(
            site.store,
            shown[0],
            ruling,
            by=visitor.actor,
            reason=reason,
            version=shown[0].version,
        )

    def name(item: str) -> str:
        return view.names.name(AccountId((*item.split(" ", 2), "", "")[1]))

    notice = await do_each(visitor, "web_bulk_resolved", ticked, act, name)
    return redirect(request, post_path(view), notice)
