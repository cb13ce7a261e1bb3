"""Renewing a sign-in from a page: a link goes to the account's owner, whose consent comes back."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from publisher.domain.account import Account, AccountId
from publisher.domain.alert_classes import Audience
from publisher.domain.errors import Problem, RefusedError
from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.store.monitor.sign_in_links import SignInLink
from publisher.web.kit.forms import find_account
from publisher.web.kit.live_parts import NO_PARTS, Parts
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor

MAX_ANSWER_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInView:
    """The renewal of an account's sign-in, for a visitor who may order it."""

    account: Account
    link: SignInLink | None
    is_open: bool
    channels: str
    """The names of the channels that the link goes to; empty without any."""
    problem: str = ""

    @property
    def path(self) -> str:
        return f"/accounts/{self.account.id}/sign-in"


async def view_sign_in(
    visitor: Visitor, account: Account, *, is_needed: bool
) -> SignInView | None:
    """Return the renewal on an account's page; None where there is none and none is needed."""
    if not visitor.may_renew(account.id):
        return None
    link = await visitor.site.store.sign_in_links.find(account.id)
    if link is not None and link.is_past(visitor.site.runtime.now()):
        link = None
    return describe_sign_in(visitor, account, link) if link or is_needed else None


def describe_sign_in(
    visitor: Visitor, account: Account, link: SignInLink | None
) -> SignInView:
    messages = visitor.messages
    channels = visitor.site.settings.alerts.channels_for(Audience.OPERATORS)
    problem = ""
    if link is not None and link.problem:
        found = Problem(code=link.problem, facts=dict(link.facts))
        reason = f"reason_{link.problem}"
        is_for_host = visitor.works_on_host and link.problem in messages.entries
        problem = (
            messages.translate(reason)
            if reason in messages.entries and not is_for_host
            else messages.describe(found)
        )
    return SignInView(
        account=account,
        link=link,
        is_open=link is not None and link.is_open(visitor.site.runtime.now()),
        channels=messages.translate("list_names").join(channels),
        problem=problem,
    )


async def read_live(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the steps of the renewal on the open page of an account."""
    account = visitor.site.settings.accounts.get(AccountId(page.get("account", "")))
    view = (
        await view_sign_in(visitor, account, is_needed=False)
        if account is not None
        else None
    )
    if view is None:
        return NO_PARTS
    show = load_macro(visitor, "accounts/sign_in_parts", "sign_in_steps")
    return Parts(fixed={"sign-in-steps": show(view)})


async def send_link(request: Request) -> Response:
    """Order the link for an account. The daemon makes and sends it."""
    site, visitor = get_site(request), get_visitor(request)
    account = find_account(request, Permission.CREDENTIALS)
    if not visitor.may_renew(account.id):
        raise RefusedError("pages_sign_in_not_by_link")
    is_new = await site.store.sign_in_links.order(account.id, visitor.actor)
    code = "pages_sign_in_ordered" if is_new else "pages_sign_in_ordered_before"
    done = Notice(code=code, facts={"name": name_of(visitor, account.id)})
    return redirect(request, f"/accounts/{account.id}", done)


async def open_link(request: Request) -> Response:
    """Go to the platform's page of an open link, for a person who owns the account."""
    account = find_account(request, Permission.CREDENTIALS)
    site = get_site(request)
    link = await site.store.sign_in_links.find(account.id)
    if link is None or not link.is_open(site.runtime.now()):
        return redirect(request, f"/accounts/{account.id}")
    return RedirectResponse(link.address, status_code=303)


async def show_answer(request: Request) -> Response:
    """Show the one button that takes the platform's answer; opening the page uses nothing up."""
    query = request.url.query[:MAX_ANSWER_CHARACTERS]
    answer = f"?{query}" if query else ""
    return await render_page(request, "accounts/sign_in", answer=answer, step="ask")


async def take_answer(request: Request) -> Response:
    """Take the platform's answer to an open link.

    Its state alone decides: the owner of an account needs no sign-in here.
    """
    site, visitor = get_site(request), get_visitor(request)
    answer = str((await request.form()).get("answer", "")).strip()
    state = read_state(answer)
    links = site.store.sign_in_links
    link = await links.answer(state, answer) if await links.is_open(state) else None
    if link is None:
        return await render_page(
            request, "accounts/sign_in", status=404, answer="", step="over"
        )
    if visitor.may(Permission.VIEW, [link.account]):
        done = Notice(
            code="pages_sign_in_answered",
            facts={"name": name_of(visitor, link.account)},
        )
        return redirect(request, f"/accounts/{link.account}", done)
    return await render_page(request, "accounts/sign_in", answer="", step="done")


def name_of(visitor: Visitor, account: AccountId) -> str:
    return name_accounts(visitor.site.settings, visitor.messages).name(account)


def read_state(answer: str) -> str:
    """Return the state in an address that a browser has ended on; empty if there is none."""
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return ""
    try:
        return parse_qs(urlsplit(answer).query).get("state", [""])[0]
    except ValueError:
        return ""
