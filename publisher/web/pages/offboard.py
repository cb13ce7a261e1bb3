"""The off-boarding of an account: a list of what is done and what is left, which may be left and taken up again."""

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.offboard import Offboarding, find_account, offboard_account, read_offboarding
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.user import Permission
from publisher.web.forms import read_reason
from publisher.web.page import redirect, render_page
from publisher.web.pages.deliveries import delivery_path
from publisher.web.seats import name_accounts
from publisher.web.site import Notice, get_site, get_visitor


async def load_offboarding(request: Request) -> Offboarding:
    """Return how far the account of the path is. Raises NoSuchItemError, also for one outside the visitor's reach."""
    site, visitor = get_site(request), get_visitor(request)
    account = AccountId(request.path_params["account"])
    if not visitor.may(Permission.VIEW, [account]):
        raise NoSuchItemError("account", account)
    leaving = await find_account(site.store.queries, site.settings, account)
    return await read_offboarding(site.store, site.settings, leaving)


async def show_offboard(request: Request) -> Response:
    """Show what ends, what is left to publisher, and what is left to people."""
    offboarding = await load_offboarding(request)
    get_visitor(request).require(Permission.CREDENTIALS, [offboarding.leaving.account])
    return await _render(request, offboarding)


async def _render(request: Request, offboarding: Offboarding, status: int = 200, problem: str = "") -> Response:
    site, visitor, leaving = get_site(request), get_visitor(request), offboarding.leaving
    history = await site.store.queries.audit_history(f"account:{leaving.account}")
    reasons = [str(entry.detail.get("reason", "")) for entry in history if entry.event == "offboarding_requested"]
    platform = leaving.login.partition("/")[0]
    return await render_page(
        request,
        "offboard",
        status=status,
        offboarding=offboarding,
        leaving=leaving,
        name=name_accounts(site.settings, visitor.messages).name(leaving.account),
        path=request.url.path,
        revoke=visitor.messages.first_known(f"revoke_{platform}", "revoke_other"),
        delivery_path=delivery_path,
        reason=reasons[-1] if reasons and offboarding.is_off else "",
        problem=problem,
    )


async def offboard(request: Request) -> Response:
    """Do what can be done by now: each order goes on where the last one ended."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    before, reason = await load_offboarding(request), read_reason(form)
    account = before.leaving.account
    visitor.require(Permission.CREDENTIALS, [account])
    if not visitor.is_stepped_up:
        return await _render(request, before, 422)
    if not reason:
        return await _render(request, before, 422, visitor.messages.translate("pages_reason_needed"))
    if form.get("cancel") not in {None, str(len(before.open_work.waiting))}:
        return await _render(request, before, 409, visitor.messages.translate("pages_offboard_changed"))
    step = await offboard_account(
        site.store, site.settings, before.leaving, visitor.actor, reason, cancels="cancel" in form
    )
    code = "pages_offboard_done" if step.after.is_done else "pages_offboard_begun"
    facts = {"name": name_accounts(site.settings, visitor.messages).name(account), "cancelled": step.cancelled}
    return redirect(request, f"/accounts/{account}/offboard", Notice(code=code, facts=facts))
