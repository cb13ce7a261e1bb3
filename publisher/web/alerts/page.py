"""Alerts: the notifications to people, and the person that has taken on each of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.engine.notifier import page_of
from publisher.store.queries.queries import Alert
from publisher.web.kit.forms import read_number
from publisher.web.kit.frame import read_frame_facts
from publisher.web.kit.live_parts import Parts, item_id, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page, safe_path
from publisher.web.kit.recovery import describe_cause, find_recoveries
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor, name_post

MAX_ALERT_ID = 2**31 - 1
MAX_RESTORED = 10_000
"""So many alerts may one acknowledgement have ended: several times on 1,000 accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKind:
    """Several open alerts of one code that the visitor may acknowledge at once."""

    code: str
    alerts: Sequence[Alert]

    @property
    def newest(self) -> int:
        """Return the id of the newest one: later ones are not acknowledged unseen."""
        return max(alert.id for alert in self.alerts)


async def show_alerts(request: Request) -> Response:
    """List the alerts about the visitor's accounts and posts, and about publisher itself."""
    visitor = get_visitor(request)
    alerts, acknowledged = await read_alerts(visitor)
    visitor = request.state.visitor = await name_posts(visitor, alerts, acknowledged)
    facts = await read_frame_facts(visitor.site, visitor.audit_number)
    return await render_page(
        request,
        "alerts/alerts",
        stream=stream_path("alerts", map(alert_element, [*alerts, *acknowledged])),
        alerts=alerts,
        kinds=list_kinds(visitor, alerts),
        recoveries=find_recoveries(visitor, facts.pauses),
        describe_cause=partial(describe_cause, visitor),
        acknowledged=acknowledged,
        may_acknowledge=partial(may_acknowledge, visitor),
        page_of=page_of,
        element_of=alert_element,
    )


async def read_alerts(visitor: Visitor) -> tuple[Sequence[Alert], Sequence[Alert]]:
    """Return the open alerts and the acknowledged ones, as far as the visitor may see them."""
    queries = visitor.site.store.queries
    alerts, acknowledged = await queries.alerts(), await queries.acknowledged_alerts()
    named = {
        name_post(alert) for alert in (*alerts, *acknowledged) if "post" in alert.facts
    }
    posts = await visitor.find_visible(named)
    shown, known = (
        [one for one in found if visitor.sees_alert(one, posts)]
        for found in (alerts, acknowledged)
    )
    return shown, known


async def name_posts(visitor: Visitor, *alerts: Sequence[Alert]) -> Visitor:
    """Return the visitor with the titles of the posts that alerts name."""
    shown = [one.facts for one in chain(*alerts)]
    named = {PostId(facts.get("post", "").partition("#")[0]) for facts in shown}
    named |= {
        PostId(name) for facts in shown for name in facts.get("posts", "").split("、")
    }
    titles = await visitor.site.store.queries.titles(named)
    return replace(visitor, titles=titles)


def alert_element(alert: Alert) -> str:
    """Return the id of an alert's row on the page."""
    return item_id("alert", str(alert.id))


def may_acknowledge(visitor: Visitor, alert: Alert) -> bool:
    return visitor.may(Permission.OPERATE, accounts_of(visitor, alert))


def list_kinds(visitor: Visitor, alerts: Sequence[Alert]) -> Sequence[AlertKind]:
    """Return the codes that several of these alerts have, and the visitor may acknowledge."""
    by_code: dict[str, list[Alert]] = {}
    for alert in alerts:
        if may_acknowledge(visitor, alert):
            by_code.setdefault(alert.code, []).append(alert)
    return [
        AlertKind(code=code, alerts=each)
        for code, each in by_code.items()
        if len(each) > 1
    ]


async def read_live(
    visitor: Visitor, _page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the number of open alerts, and each alert with the person that has taken it on."""
    alerts, acknowledged = await read_alerts(visitor)
    visitor = await name_posts(visitor, alerts, acknowledged)
    make_row = load_macro(visitor, "alerts/parts", "alert_row")
    rows = {
        alert_element(alert): make_row(
            alert, alert_element(alert), page_of(alert), may_acknowledge(visitor, alert)
        )
        for alert in [*alerts, *acknowledged]
    }
    sentence = load_macro(visitor, "alerts/parts", "alert_sentence")(len(alerts))
    return Parts(
        fixed={"verdict": sentence},
        items=rows,
        wanted=[alert_element(alert) for alert in alerts],
    )


def is_about(alert: Alert, post: PostId) -> bool:
    """Return True if an alert names a post, or one of its times or accounts."""
    return "post" in alert.facts and name_post(alert) == post


async def acknowledge(request: Request) -> Response:
    """Acknowledge an alert: it is neither repeated nor escalated any more.

    Raises NoSuchItemError if it is not open.
    """
    store = get_site(request).store
    visitor = get_visitor(request)
    number = request.path_params["number"]
    alert = require_operable(visitor, (await read_alerts(visitor))[0], number)
    if not await store.actions.dismiss_alert(alert.id, visitor.actor):
        raise NoSuchItemError("alert", number)
    undo = f"/alerts/{number}/unacknowledge"
    return redirect(
        request,
        "/alerts",
        Notice(code="web_alert_acknowledged", facts={"number": number}, undo=undo),
    )


async def acknowledge_kind(request: Request) -> Response:
    """Acknowledge the alerts of one code up to the newest one on the visitor's page.

    Raises NoSuchItemError if there is none that the visitor may acknowledge.
    """
    store, visitor = get_site(request).store, get_visitor(request)
    code = request.path_params["code"]
    last = read_number(await request.form(), "newest")
    shown = [
        alert
        for alert in (await read_alerts(visitor))[0]
        if alert.code == code
        and alert.id <= min(last, MAX_ALERT_ID)
        and may_acknowledge(visitor, alert)
    ]
    done = 0
    for alert in shown:
        done += await store.actions.dismiss_alert(alert.id, visitor.actor)
    if not done:
        raise NoSuchItemError("alert", code)
    notice = Notice(code="web_alerts_kind_acknowledged", facts={"number": str(done)})
    return redirect(request, "/alerts", notice)


async def unacknowledge(request: Request) -> Response:
    """Take back one's own acknowledgement.

    Raises NoSuchItemError if there is none, or if the alert is over.
    """
    store = get_site(request).store
    visitor = get_visitor(request)
    number = request.path_params["number"]
    alert = require_operable(visitor, (await read_alerts(visitor))[1], number)
    if not await store.actions.restore_alert(alert.id, visitor.actor):
        raise NoSuchItemError("alert", number)
    return redirect(request, "/alerts")


async def acknowledge_end(request: Request) -> Response:
    """Say for everybody that one has seen what of a post was not published, or is removed.

    It ends the alerts that the visitor's page was drawn from, and no later one; with an account
    those of that alone. Raises NoSuchItemError if there is none any more.
    """
    store, visitor = get_site(request).store, get_visitor(request)
    post, form = PostId(request.path_params["post"]), await request.form()
    about, newest = str(form.get("about", "")), read_number(form, "newest")
    account = form.get("account")
    unseen = [
        one
        for one in await store.waiting.unseen(post)
        if (one.about, one.state.value) == (about, form.get("state"))
        and one.alert <= newest
        and account in {None, one.account}
        and visitor.may(Permission.VIEW, [one.account])
    ]
    if not unseen:
        raise NoSuchItemError("alert", about)
    visitor.require(Permission.SEND, [one.account for one in unseen])
    done = await store.actions.acknowledge_ends(
        [one.alert for one in unseen], visitor.actor
    )
    notice = Notice(
        code="web_seen_done",
        facts={"title": unseen[0].title},
        undo=f"/posts/{quote(post, safe='')}/unseen",
        undo_fields={"alerts": " ".join(map(str, done))},
    )
    return redirect(request, safe_path(str(form.get("back", "/inbox"))), notice)


async def restore_end(request: Request) -> Response:
    """Take back one's own word that one has seen it. Raises NoSuchItemError if there is none."""
    store, visitor = get_site(request).store, get_visitor(request)
    post, form = PostId(request.path_params["post"]), await request.form()
    typed = str(form.get("alerts", "")).split()[:MAX_RESTORED]
    numbers = {int(one) for one in typed if one.isdecimal() and len(one) < 10}
    theirs = [
        alert
        for alert in await store.queries.acknowledged_alerts()
        if alert.id in numbers and is_about(alert, post)
    ]
    for alert in theirs:
        visitor.require(Permission.SEND, accounts_of(visitor, alert))
    if not await store.actions.restore_ends(
        [alert.id for alert in theirs], visitor.actor
    ):
        raise NoSuchItemError("alert", post)
    return redirect(request, "/inbox")


def require_operable(visitor: Visitor, alerts: Collection[Alert], number: str) -> Alert:
    """Return the alert of a number among the shown ones. Raises NoSuchItemError, SignInError."""
    for alert in alerts:
        if str(alert.id) == number:
            visitor.require(Permission.OPERATE, accounts_of(visitor, alert))
            return alert
    raise NoSuchItemError("alert", number)


def accounts_of(visitor: Visitor, alert: Alert) -> Collection[AccountId]:
    """Return the account that an alert is about; all of them if it is about none."""
    account = alert.facts.get("account")
    return [AccountId(account)] if account else list(visitor.site.settings.accounts)
