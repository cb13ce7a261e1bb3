"""One post: the progress of each account, its approvals, its texts and its reach."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from publisher.config import Settings
from publisher.domain.account import AccountId, Platform
from publisher.domain.delivery import Delivery, State
from publisher.domain.differences import compare_sequences
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId, RenderedPost
from publisher.domain.reports import METRIC_NAMES
from publisher.domain.user import Permission
from publisher.store.queries.queries import Alert, MetricsPoint
from publisher.web.alerts.page import is_about
from publisher.web.kit.checks import read_checks
from publisher.web.kit.frame import Moment, read_moment
from publisher.web.kit.live_parts import NO_PARTS, Parts, RenderedItems, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.site import Visitor, get_site, get_visitor
from publisher.web.kit.todo import seen_path
from publisher.web.posts.deliveries import (
    DeliveryView,
    delivery_path,
    explain,
    list_forms,
    mark_refused,
    place_of,
    view_delivery,
)
from publisher.web.posts.post_actions import list_buttons
from publisher.web.posts.posts import (
    DeliveryLine,
    PostView,
    load_post_view,
    name_related,
    read_post_view,
)
from publisher.web.posts.texts import compare_texts

TABS = ("action", "checking", "all")
MAX_ALIKE = 24
"""So many accounts stand in a list where all say the same; more are folded below the map."""
MAX_LINES = 120
"""How many accounts one page of a post lists."""
CHART_WIDTH, CHART_HEIGHT = 280, 56
"""In pixels."""


async def show_post(request: Request) -> Response:
    """Show a post: before its time the texts first, afterwards how far each account is."""
    site, visitor, query = get_site(request), get_visitor(request), request.query_params
    moment = await read_moment(visitor)
    if (view := await find_view(request, moment)) is None:
        family = quote(request.path_params["post"], safe="")
        return redirect(request, f"/posts?family={family}")
    details = view.details
    visitor = await name_related(visitor, details.post, details.corrected_by)
    request.state.visitor = visitor
    if (
        sitting := find_seat(view, query.get("platform", ""), query.get("seat", ""))
    ) is not None:
        return redirect(request, delivery_path(sitting))
    platform = find_platform(view, query.get("platform", ""))
    tab = next((tab for tab in TABS if tab == query.get("tab")), None)
    if tab is None:
        tab = next((tab for tab in TABS if view.lines_of(tab, platform)), "all")
    lines = view.lines_of(tab, platform)
    opened = next(
        (line for line in lines if line.delivery.account == query.get("open")), None
    )
    if opened is None and tab == "action" and "open" not in query:
        opened = next(iter(lines), None)
    opened_view = (
        await mark_refused(visitor, view_opened(visitor, view, opened))
        if opened
        else None
    )
    first = find_first(lines, query.get("from", ""), opened)
    shown = lines[first : first + MAX_LINES]
    # a post on more accounts than fit says nothing of the ones that come and go beyond
    cut = {"cut": "1"} if len(shown) < len(lines) else {}
    rendered_posts = view.rendered
    checked = list_checked(visitor, view)
    alerts = await site.store.queries.alerts()
    buttons = [
        button for button in list_buttons(visitor, view, alerts) if button.is_offered
    ]
    related = await site.store.occurrences.related(
        view.details.post, visitor.reach(Permission.VIEW)
    )
    figures = sum_reach(await site.store.queries.metrics_series(view.key.post), view)
    return await render_page(
        request,
        "posts/post",
        moment=moment,
        stream=stream_path(
            "post",
            [
                *(line.element for line in shown),
                *(button.element for button in buttons),
                *(button.form.dialog for button in buttons if button.form),
            ],
            post=view.key.post,
            occurrence=view.named,
            tab=tab,
            platform=platform,
            open=opened.delivery.account if opened else "",
            **cut,
        ),
        view=view,
        post=view.details.post,
        tab=tab,
        tabs=TABS,
        platform=platform,
        lines=shown,
        first=first,
        number_of_lines=len(lines),
        max_lines=MAX_LINES,
        opened=opened,
        explanation=await explain(visitor, opened_view, alerts)
        if opened_view
        else None,
        opened_forms=list_forms(visitor, opened_view) if opened_view else (),
        place_of=partial(place_of, site.settings),
        places=list_places(site.settings, view),
        buttons=buttons,
        previews=choose_previews(rendered_posts, view, query.get("account", "")),
        preview_choices=list_preview_choices(rendered_posts, view),
        comparison=compare_texts(rendered_posts, site.settings),
        policies=site.store.policies,
        figures=figures,
        reach_until=max((points[-1][0] for points in figures.values()), default=None),
        draw=draw_steps,
        checks=await read_checks(visitor, details.post, checked, related)
        if checked
        else None,
        number_checked=len(checked),
        unseen=[
            item for item in moment.todo if item.seen_at == seen_path(view.key.post)
        ],
        folds_lines=tab != "action"
        and opened is None
        and not first
        and are_alike(lines),
        alerts=list_alerts(visitor, view.key.post, alerts),
        related=related,
    )


async def find_view(request: Request, moment: Moment) -> PostView | None:
    """Return the post of the path; None for a family with a region that the visitor sees.

    Raises NoSuchItemError.
    """
    try:
        return await load_post_view(request, moment, has_texts=True)
    except NoSuchItemError:
        visitor, name = get_visitor(request), request.path_params["post"]
        members = await visitor.site.store.queries.find_posts(name)
        if not members or not await visitor.find_visible(members):
            raise
        return None


def are_alike(lines: Sequence[DeliveryLine]) -> bool:
    """Return True if many lines say the same of each account."""
    return len(lines) > MAX_ALIKE and len({line.state for line in lines}) == 1


def list_alerts(
    visitor: Visitor, post: PostId, alerts: Sequence[Alert]
) -> Sequence[tuple[Alert, int]]:
    """Return the first alert about a post of each code and reason, and how many are like it."""
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        if is_about(alert, post) and visitor.sees_alert(alert, [post]):
            key = (alert.code, alert.facts.get("reason", ""))
            groups.setdefault(key, []).append(alert)
    return [(found[0], len(found) - 1) for found in groups.values()]


def find_first(
    lines: Sequence[DeliveryLine], typed: str, opened: DeliveryLine | None
) -> int:
    """Return the number of lines before the shown ones, a multiple of MAX_LINES.

    The opened line decides, else the number in the address.
    """
    if opened is not None:
        number = lines.index(opened)
    else:
        number = int(typed) if re.fullmatch("[0-9]{1,6}", typed) else 0
    last = max(len(lines) - 1, 0)
    return min(number, last) // MAX_LINES * MAX_LINES


def list_places(settings: Settings, view: PostView) -> Sequence[tuple[str, str]]:
    """Return the name and the address of each account where a post is published."""
    published = sorted(
        (item for item in view.deliveries if item.state is State.PUBLISHED),
        key=lambda item: view.names.order(item.account),
    )
    places = [
        (view.names.name(item.account), place_of(settings, item)) for item in published
    ]
    return [(name, place) for name, place in places if place]


def view_opened(visitor: Visitor, view: PostView, line: DeliveryLine) -> DeliveryView:
    """Return the view of a line's delivery."""
    [filed] = [item for item in view.filed if item.delivery.id == line.delivery.id]
    return view_delivery(visitor, view.progress, filed, view.pauses, view.unapproved)


def list_checked(visitor: Visitor, view: PostView) -> Sequence[AccountId]:
    """Return the accounts to check a post for; none if it is not in the schedule."""
    if not view.details.is_in_force:
        return ()
    known = visitor.site.settings.accounts
    return [
        key
        for key in view.details.post.accounts
        if key in known and visitor.may(Permission.VIEW, [key])
    ]


def find_seat(view: PostView, platform: str, seat: str) -> Delivery | None:
    """Return the delivery of a seat on a platform's map.

    It is the worst one if a place has several accounts.
    """
    found = (
        line.delivery
        for line in view.lines
        if line.delivery.platform == platform
        and str(view.names.order(line.delivery.account)[0]) == seat
    )
    return next(found, None)


def find_platform(view: PostView, name: str) -> str:
    """Return the platform of this name if the post is on it, else the empty text."""
    return next(
        (
            line.delivery.platform
            for line in view.lines
            if line.delivery.platform == name
        ),
        "",
    )


async def read_live(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return each account's progress, facts, counts, approvals, and the opened account's words."""
    post, tab, opened = (
        PostId(page.get("post", "")),
        page.get("tab", "all"),
        page.get("open", ""),
    )
    if posts is not None and post not in posts:
        return NO_PARTS
    try:
        view = await read_post_view(visitor, post, page.get("occurrence", ""))
    except NoSuchItemError:
        return NO_PARTS
    details = view.details
    visitor = await name_related(visitor, details.post, details.corrected_by)
    platform = find_platform(view, page.get("platform", ""))
    row = load_macro(visitor, "posts/parts", "delivery_row")
    alerts = await visitor.site.store.queries.alerts()

    def make_row(line: DeliveryLine) -> str:
        return row(line, view, tab, platform, line.delivery.account == opened)

    fixed = {
        "post-facts": load_macro(visitor, "posts/parts", "post_facts")(view),
        "post-chips": load_macro(visitor, "posts/parts", "post_chips")(view),
        "delivery-tabs": load_macro(visitor, "posts/parts", "delivery_tabs")(
            view, tab, TABS, platform
        ),
        "delivery-maps": load_macro(visitor, "posts/parts", "delivery_maps")(view),
        "post-places": load_macro(visitor, "posts/parts", "post_places")(
            list_places(visitor.site.settings, view)
        ),
        "post-alerts": load_macro(visitor, "posts/parts", "post_alerts")(
            list_alerts(visitor, post, alerts)
        ),
    }
    if view.tasks or view.approvals:
        fixed["post-approvals"] = load_macro(visitor, "posts/parts", "approvals")(view)
    for line in (line for line in view.lines if line.delivery.account == opened):
        words = await explain(visitor, view_opened(visitor, view, line), alerts)
        fixed["why-words"] = load_macro(visitor, "posts/why", "why_words")(
            line.delivery, words
        )
    return Parts(
        fixed=fixed,
        items=RenderedItems(make_row, {line.element: line for line in view.lines}),
        wanted=[line.element for line in view.lines_of(tab, platform)],
    )


def choose_previews(
    rendered_posts: Sequence[RenderedPost], view: PostView, account: str
) -> Sequence[RenderedPost]:
    """Return one text of each platform: of the chosen account's region, else of the first."""
    seat = (
        view.names.order(AccountId(account))[0] if account in view.names.seats else None
    )
    chosen: dict[Platform, RenderedPost] = {}
    for rendered in sorted(
        rendered_posts, key=lambda item: view.names.order(item.account)
    ):
        if (
            rendered.platform not in chosen
            or view.names.order(rendered.account)[0] == seat
        ):
            chosen[rendered.platform] = rendered
    return [
        chosen[platform] for platform in sorted(chosen, key=view.names.platform_order)
    ]


def list_preview_choices(
    rendered_posts: Sequence[RenderedPost], view: PostView
) -> Mapping[AccountId, str]:
    """Return one account of each region with a text of the post, and the region's name."""
    accounts = sorted((item.account for item in rendered_posts), key=view.names.order)
    seats = {view.names.order(account)[0]: account for account in reversed(accounts)}
    return {
        account: view.names.list_regions([account])[0]
        for _seat, account in sorted(seats.items())
    }


def sum_reach(
    series: Sequence[MetricsPoint], view: PostView
) -> Mapping[str, Sequence[tuple[datetime, int]]]:
    """Return each figure of an occurrence over time as a sum over its accounts.

    A figure that no platform gives is left out.
    """
    accounts, latest = (
        {item.id for item in view.deliveries},
        dict[str, dict[int, int]](),
    )
    figures: dict[str, list[tuple[datetime, int]]] = {}
    for point in sorted(series, key=lambda item: item.at):
        if point.delivery.id not in accounts:
            continue
        for name in METRIC_NAMES:
            value = getattr(point.reach, name)
            if value is not None:
                latest.setdefault(name, {})[point.delivery.id] = value
                figures.setdefault(name, []).append(
                    (point.at, sum(latest[name].values()))
                )
    return figures


def draw_steps(points: Sequence[tuple[datetime, int]]) -> str:
    """Return the path of a figure over time: a step at each reading, no guess between two."""
    start, end = points[0][0], points[-1][0]
    span, top = (
        (end - start).total_seconds() or 1.0,
        max(value for _at, value in points) or 1,
    )
    places = [
        (
            round(CHART_WIDTH * (at - start).total_seconds() / span),
            round(CHART_HEIGHT * (1 - value / top)),
        )
        for at, value in points
    ]
    return f"M{places[0][0]} {places[0][1]}" + "".join(
        f"H{x}V{y}" for x, y in places[1:]
    )


async def show_texts(request: Request) -> Response:
    """Show each distinct text of an occurrence once, with its accounts, and two side by side."""
    site, query = get_site(request), request.query_params
    moment = await read_moment(get_visitor(request))
    view = await load_post_view(request, moment, has_texts=True)
    rendered_posts = {item.account: item for item in view.rendered}
    shown = [item.account for item in view.deliveries if item.account in rendered_posts]
    pair = [
        rendered_posts[AccountId(query[name])]
        for name in ("a", "b")
        if query.get(name) in shown
    ]
    return await render_page(
        request,
        "posts/texts",
        moment=moment,
        view=view,
        post=view.details.post,
        comparison=compare_texts(
            [rendered_posts[account] for account in shown], site.settings
        ),
        accounts=sorted(shown, key=view.names.order),
        pair=pair,
        changes=list(compare_lines(*pair)) if len(pair) == 2 else [],
        policies=site.store.policies,
    )


def compare_lines(
    first: RenderedPost, second: RenderedPost
) -> Iterator[tuple[str, str]]:
    """Yield the lines of two texts, each with a prefix.

    The prefix is `-` for the first alone, `+` for the second alone, or a space.
    """
    before, after = (
        [item.title, *"\n".join(item.all_parts).splitlines()]
        for item in (first, second)
    )
    for span in compare_sequences(before, after):
        if span.is_same:
            yield from ((" ", line) for line in before[span.before])
        else:
            yield from (("-", line) for line in before[span.before])
            yield from (("+", line) for line in after[span.after])
