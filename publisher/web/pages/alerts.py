"""Alerts: what people were notified of, and who has taken it on."""

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.engine.notifier import page_of
from publisher.store.queries.queries import Alert
from publisher.web.page import redirect, render_page
from publisher.web.site import Notice, Visitor, get_site, get_visitor


async def show_alerts(request: Request) -> Response:
    """List the alerts about what the visitor may see, and about publisher itself."""
    queries, visitor = get_site(request).store.queries, get_visitor(request)
    alerts, acknowledged = await queries.alerts(), await queries.acknowledged_alerts()
    named = {name_post(alert) for alert in (*alerts, *acknowledged) if "post" in alert.facts}
    posts = await visitor.find_visible(named)

    def is_visible(alert: Alert) -> bool:
        if account := alert.facts.get("account"):
            return visitor.sees_any([AccountId(account)])
        return "post" not in alert.facts or name_post(alert) in posts

    return await render_page(
        request,
        "alerts",
        alerts=list(filter(is_visible, alerts)),
        acknowledged=list(filter(is_visible, acknowledged)),
        may_acknowledge=lambda alert: visitor.may(Permission.OPERATE, accounts_of(visitor, alert)),
        page_of=page_of,
    )


def name_post(alert: Alert) -> PostId:
    return PostId(alert.facts["post"].partition("#")[0].partition("@")[0])


async def acknowledge(request: Request) -> Response:
    """Take an alert on: it is neither repeated nor escalated any more. Raises NoSuchItemError if it is not open."""
    store, visitor, number = get_site(request).store, get_visitor(request), request.path_params["number"]
    alert = next((alert for alert in await store.queries.alerts() if str(alert.id) == number), None)
    if alert is None:
        raise NoSuchItemError("alert", number)
    visitor.require(Permission.OPERATE, accounts_of(visitor, alert))
    if not await store.actions.dismiss_alert(alert.id, visitor.actor):
        raise NoSuchItemError("alert", number)
    undo = f"/alerts/{number}/unacknowledge"
    return redirect(request, "/alerts", Notice(code="web_alert_acknowledged", facts={"number": number}, undo=undo))


async def unacknowledge(request: Request) -> Response:
    """Take back one's own acknowledgement. Raises NoSuchItemError if there is none, or the alert is over."""
    store, visitor, number = get_site(request).store, get_visitor(request), request.path_params["number"]
    alert = next((alert for alert in await store.queries.acknowledged_alerts() if str(alert.id) == number), None)
    if alert is None:
        raise NoSuchItemError("alert", number)
    visitor.require(Permission.OPERATE, accounts_of(visitor, alert))
    if not await store.actions.restore_alert(alert.id, visitor.actor):
        raise NoSuchItemError("alert", number)
    return redirect(request, "/alerts")


def accounts_of(visitor: Visitor, alert: Alert) -> Collection[AccountId]:
    """Return the account that an alert is about; all of them if it is about none."""
    account = alert.facts.get("account")
    return [AccountId(account)] if account else list(visitor.site.settings.accounts)
