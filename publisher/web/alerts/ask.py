"""A message to the operators from people who cannot do it themselves, with a remark or without."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.user import Permission
from publisher.store.plan.actions import HELP_WANTED
from publisher.web.alerts.page import read_alerts
from publisher.web.kit.forms import read_reason
from publisher.web.kit.page import redirect
from publisher.web.kit.site import Notice, get_site, get_visitor


async def ask_about_account(request: Request) -> Response:
    """Ask the operators to see to an account. Raises NoSuchItemError if the visitor sees none."""
    account = AccountId(request.path_params["account"])
    if account not in get_site(request).settings.accounts or not get_visitor(
        request
    ).may(Permission.VIEW, [account]):
        raise NoSuchItemError("account", account)
    facts = {"account": account, "about": account}
    return await _ask(request, f"account:{account}", facts, f"/accounts/{account}")


async def ask_about_alert(request: Request) -> Response:
    """Ask the operators to see to an alert. Raises NoSuchItemError if the visitor sees none.

    An alert that is itself such a message raises no other.
    """
    number = str(request.path_params["number"])
    for alert in (await read_alerts(get_visitor(request)))[0]:
        if str(alert.id) == number:
            if alert.code == HELP_WANTED:
                facts = {"about": f"#{number}"}
                asked = Notice(code="web_asked_operators_before", facts=facts)
                return redirect(request, "/alerts", asked)
            account = alert.facts.get("account")
            facts = {"about": f"#{number}"} | ({"account": account} if account else {})
            return await _ask(request, f"alert:{number}", facts, "/alerts")
    raise NoSuchItemError("alert", number)


async def _ask(
    request: Request, about: str, facts: Mapping[str, str], back: str
) -> Response:
    """Raise the alert of the request, unless it was raised within the last hour."""
    typed = read_reason(await request.form())
    remark = typed or get_visitor(request).messages.translate("web_asked_remark")
    is_new = await get_site(request).store.actions.ask_operators(
        about, {**facts, "reason": remark}, get_visitor(request).actor
    )
    code = "web_asked_operators" if is_new else "web_asked_operators_before"
    return redirect(request, back, Notice(code=code, facts={"about": facts["about"]}))
