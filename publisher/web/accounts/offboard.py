"""The off-boarding of an account: a list of the done and open steps. It may be left and resumed."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.user import Permission
from publisher.engine.offboard import (
    Offboarding,
    find_account,
    offboard_account,
    read_offboarding,
)
from publisher.store.monitor.kept_secrets import SecretRemoval
from publisher.store.store import Store
from publisher.web.kit.access import keep_form
from publisher.web.kit.forms import read_number, read_reason
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, get_site, get_visitor
from publisher.web.posts.deliveries import delivery_path

REMOVED_WITHIN_SECONDS, REMOVAL_POLL_SECONDS = 8.0, 0.2
"""How long the page waits for the daemon, and how often it looks.

The daemon looks for orders every few seconds.
"""


async def load_offboarding(request: Request) -> Offboarding:
    """Return the off-boarding state of the path's account.

    Raises NoSuchItemError, also for one outside the visitor's reach.
    """
    site, visitor = get_site(request), get_visitor(request)
    account = AccountId(request.path_params["account"])
    if not visitor.may(Permission.VIEW, [account]):
        raise NoSuchItemError("account", account)
    leaving = await find_account(site.store.queries, site.settings, account)
    return await read_offboarding(site.store, site.settings, leaving, has_secrets=False)


async def show_offboard(request: Request) -> Response:
    """Show the things that end, the steps left to publisher, and the steps left to people."""
    offboarding = await load_offboarding(request)
    get_visitor(request).require(Permission.CREDENTIALS, [offboarding.leaving.account])
    return await _render(request, offboarding)


async def _render(
    request: Request,
    offboarding: Offboarding,
    status: int = 200,
    problem: str = "",
    reason: str = "",
) -> Response:
    site, visitor, leaving = (
        get_site(request),
        get_visitor(request),
        offboarding.leaving,
    )
    history = await site.store.queries.audit_history(f"account:{leaving.account}")
    reasons = [
        str(entry.detail.get("reason", ""))
        for entry in history
        if entry.event == "offboarding_requested"
    ]
    platform = leaving.login.partition("/")[0]
    shared: list[str] = [
        key for key in leaving.shared_with if visitor.may(Permission.VIEW, [key])
    ]
    if hidden := len(leaving.shared_with) - len(shared):
        shared.append(visitor.messages.translate("web_accounts", number=hidden))
    return await render_page(
        request,
        "accounts/offboard",
        status=status,
        offboarding=offboarding,
        leaving=leaving,
        shared=shared,
        name=name_accounts(site.settings, visitor.messages).name(leaving.account),
        path=request.url.path,
        revoke=visitor.messages.first_known(f"revoke_{platform}", "revoke_other"),
        delivery_path=delivery_path,
        reason=reason or (reasons[-1] if reasons and offboarding.is_off else ""),
        newest=find_newest(offboarding),
        problem=problem,
        resume=keep_form(await request.form()),
    )


async def order_removal(store: Store, order: SecretRemoval) -> bool:
    """Have the daemon remove a secret, as this process cannot; return False if no answer comes.

    The wait lasts some seconds. The daemon may have answered without removing anything, as an open
    or shared item keeps a secret.
    """
    await store.kept_secrets.order(order)
    for _ in range(int(REMOVED_WITHIN_SECONDS / REMOVAL_POLL_SECONDS)):
        if order not in await store.kept_secrets.orders():
            return True
        await asyncio.sleep(REMOVAL_POLL_SECONDS)
    return False


def find_newest(offboarding: Offboarding) -> int:
    """Return the id of the newest waiting delivery, for the order to cancel; 0 without any."""
    return max((delivery.id for delivery in offboarding.open_work.waiting), default=0)


async def offboard(request: Request) -> Response:
    """Do the steps that are possible by now: each order goes on from the end of the last one."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    before, reason = await load_offboarding(request), read_reason(form)
    account = before.leaving.account
    visitor.require(Permission.CREDENTIALS, [account])
    if not visitor.is_stepped_up:
        return await _render(request, before, 422)
    if not reason:
        return await _render(
            request, before, 422, visitor.messages.translate("pages_reason_needed")
        )
    if "cancel" in form and read_number(form, "cancel") < find_newest(before):
        return await _render(
            request,
            before,
            409,
            visitor.messages.translate("pages_offboard_changed"),
            reason,
        )
    step = await offboard_account(
        site.store,
        site.settings,
        before.leaving,
        visitor.actor,
        reason,
        cancels="cancel" in form,
        has_secrets=False,
    )
    code = "pages_offboard_done" if step.after.is_done else "pages_offboard_begun"
    # it cannot be undone: only where the button says so
    if "remove" in form and step.after.may_remove_secret:
        order = SecretRemoval(
            account=account, name=visitor.actor.name, sign_in=visitor.actor.sign_in
        )
        is_answered = await order_removal(site.store, order)
        after = await read_offboarding(
            site.store, site.settings, before.leaving, has_secrets=False
        )
        left = "pages_offboard_kept" if is_answered else "pages_offboard_ordered"
        code = "pages_offboard_done" if after.is_done else left
    facts = {
        "name": name_accounts(site.settings, visitor.messages).name(account),
        "cancelled": step.cancelled,
    }
    return redirect(
        request, f"/accounts/{account}/offboard", Notice(code=code, facts=facts)
    )
