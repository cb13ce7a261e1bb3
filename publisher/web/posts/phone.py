"""A post as a phone shows it: this page opened on one's own phone, or the platform's preview."""

from collections.abc import Collection, Mapping

import segno
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId, Mode
from publisher.domain.characters import remove_forbidden_characters
from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.post import PostId, RenderedPost
from publisher.domain.user import Permission
from publisher.store.monitor.previews import PreviewOrder
from publisher.web.kit.access import step_up
from publisher.web.kit.live_parts import NO_PARTS, Parts, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, Site, Visitor, get_site, get_visitor
from publisher.web.write.renditions import load_rendition

MAX_NAME_CHARACTERS = 64
"""Longer than any name on a platform."""


def may_send_preview(visitor: Visitor, account: AccountId) -> bool:
    """Return True if the visitor writes, sends or approves posts on an account."""
    return any(
        visitor.may(permission, [account])
        for permission in (Permission.WRITE, Permission.SEND, Permission.APPROVE)
    )


async def show_phone(request: Request) -> Response:
    return await _render_phone(request, await load_rendition(request))


async def _render_phone(
    request: Request,
    rendered: RenderedPost,
    *,
    to: str = "",
    problem: str = "",
    code_problem: str = "",
) -> Response:
    """Show a text at the width of a phone, with a code that opens this page on one."""
    site, visitor = get_site(request), get_visitor(request)
    policy = site.store.policies.get(rendered.account)
    is_sendable = await has_preview(site, rendered.account) and may_send_preview(
        visitor, rendered.account
    )
    order = await site.store.previews.find(visitor.user.name)
    base = site.settings.dashboard.url or str(request.base_url)
    address = f"{base.rstrip('/')}{request.url.path}"
    code = segno.make(address, error="m").svg_data_uri(
        scale=4, border=2, dark="#18212f", light="#ffffff"
    )
    return await render_page(
        request,
        "posts/phone",
        status=422 if problem or code_problem else 200,
        stream=stream_path("phone", fingerprint=rendered.fingerprint),
        rendered=rendered,
        policy=policy,
        name=name_accounts(site.settings, visitor.messages).name(rendered.account),
        code=code,
        is_sendable=is_sendable,
        order=find_own(order, rendered.fingerprint),
        to=to or (order.to if order is not None else ""),
        problem=problem,
        code_problem=code_problem,
    )


async def has_preview(site: Site, account: AccountId) -> bool:
    """Return True if the platform has a preview, and posts of the account go through its API."""
    policy = site.store.policies.get(account)
    modes = await site.store.login_health.read_modes()
    return (
        policy is not None
        and policy.capabilities.has_preview
        and modes.get(account) is Mode.API
    )


def find_own(order: PreviewOrder | None, fingerprint: str) -> PreviewOrder | None:
    """Return a person's newest preview if it is of this text."""
    return order if order is not None and order.fingerprint == fingerprint else None


async def read_live(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return how far the visitor's preview of the open page's text is."""
    order = await visitor.site.store.previews.find(visitor.user.name)
    own = find_own(order, page.get("fingerprint", ""))
    if own is None:
        return NO_PARTS
    show = load_macro(visitor, "posts/phone_parts", "preview_step")
    return Parts(fixed={"preview-step": show(own)})


async def send_preview(request: Request) -> Response:
    """Order the platform's preview to the name that was typed. The daemon sends it.

    It takes the second factor: words that nobody has approved leave in the account's name.
    """
    site, visitor = get_site(request), get_visitor(request)
    rendered = await load_rendition(request)
    account = rendered.account
    if not may_send_preview(visitor, account):
        raise SignInError(
            "web_not_permitted",
            permission=visitor.messages.translate(f"web_may_{Permission.SEND}"),
        )
    if not await has_preview(site, account):
        raise RefusedError("pages_phone_not_by_platform")
    form = await request.form()
    typed = str(form.get("to", ""))
    to = remove_forbidden_characters("".join(typed.split()))[:MAX_NAME_CHARACTERS]
    if not to:
        problem = visitor.messages.translate("pages_phone_name_missing")
        return await _render_phone(request, rendered, problem=problem)
    if not visitor.is_stepped_up:
        try:
            await step_up(request, str(form.get("code", "")))
        except SignInError as error:
            problem = visitor.messages.translate(error.code, **error.facts)
            return await _render_phone(request, rendered, to=to, code_problem=problem)
    is_new = await site.store.previews.order(rendered, to, visitor.actor)
    code = "pages_phone_ordered" if is_new else "pages_phone_ordered_before"
    done = Notice(code=code, facts={"to": to})
    return redirect(request, f"/phone/{rendered.fingerprint}", done)
