"""Today: the state of the system, the needed actions, the next posts, and each post's progress."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.store.queries.occurrences import join_families
from publisher.web.calendar.page import parse_day
from publisher.web.kit.frame import read_frame_facts, read_live_todo, read_moment
from publisher.web.kit.live_parts import NO_PARTS, Parts, item_id
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import BEATS_PER_REFRESH, Visitor, get_site, get_visitor
from publisher.web.kit.todo import MAX_SHOWN, list_missing
from publisher.web.today.board import (
    MAX_LISTED,
    TABS,
    count_tabs,
    day_bounds,
    decide_verdict,
    make_board,
    read_board,
    read_coming,
    read_today,
)

MAX_ROWS = 12
"""More posts of a day are counted, and unfold."""


async def show_root(request: Request) -> Response:
    return redirect(request, "/today")


async def show_today(request: Request) -> Response:
    """Show a day: that of the query, else today."""
    site, query = get_site(request), request.query_params
    today = site.runtime.now().astimezone(site.settings.timezone).date()
    tab = read_tab(query)
    moment = await read_moment(get_visitor(request))
    day = parse_day(query.get("day", "")) or today
    view = await read_today(get_visitor(request), moment, day, tab)
    return await render_page(
        request,
        "today/today",
        moment=moment,
        stream=view.stream,
        view=view,
        tab=tab,
        max_listed=MAX_LISTED,
        max_others=MAX_SHOWN,
        max_rows=MAX_ROWS,
        names=name_accounts(site.settings, get_visitor(request).messages),
    )


def read_tab(query: Mapping[str, str]) -> str:
    """Return the tab of a query; `all` for anything else."""
    return next((tab for tab in TABS if tab == query.get("tab")), "all")


async def read_live_rows(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return the rows of the day."""
    day = parse_day(page.get("day", ""))
    if day is None:
        return NO_PARTS
    rows = await read_board(
        visitor, day, list_missing(await read_live_todo(visitor)), posts
    )
    make_row = load_macro(visitor, "today/parts", "post_row")
    return Parts(
        items={row.element: make_row(row) for row in rows},
        wanted=[row.element for row in rows if row.is_under(read_tab(page))],
    )


async def read_live_coming(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return the coming posts of the page. New ones of its first day have a row there."""
    site, day = visitor.site, parse_day(page.get("day", ""))
    if day is None or "is_today" not in page:
        return NO_PARTS
    start, end = day_bounds(site, day)[0], day_bounds(site, day + timedelta(days=1))[1]
    if posts is not None:
        posts = await site.store.queries.with_members(posts)
    found = await site.store.occurrences.between(
        start, end, visitor.reach(Permission.VIEW), posts
    )
    board = make_board(visitor, list_missing(await read_live_todo(visitor)))
    lines = [board.make_line(summary) for summary in join_families(found)]
    make_line = load_macro(visitor, "today/parts", "coming_line")
    return Parts(
        items={line.coming_element: make_line(line) for line in lines},
        wanted=[
            line.coming_element for line in lines if line.day > day and not line.is_over
        ],
    )


async def read_live_todo_parts(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the first sentence, and the waiting items. After midnight a new day is to be shown."""
    site, day = visitor.site, parse_day(page.get("day", ""))
    if day is None:
        return NO_PARTS
    items, facts = await read_live_todo(visitor), await read_frame_facts(site)
    mine = [item for item in items if item.is_mine]
    others = [item for item in items if not item.is_mine]
    key = (
        visitor.reach(Permission.VIEW),
        visitor.lang,
        facts.audit_number,
        site.beat // BEATS_PER_REFRESH,
    )
    rows = await site.caches.live.get(
        ("board", day, *key), partial(read_board, visitor, day, {})
    )
    coming = await site.caches.live.get(("coming", *key), partial(read_coming, visitor))
    is_today = day == site.runtime.now().astimezone(site.settings.timezone).date()
    following = next(iter(coming), None) if is_today else None
    verdict = decide_verdict(visitor, facts, rows, mine, others, following)
    make_item = load_macro(visitor, "today/parts", "todo_item")
    next_day = (
        [item_id("todo", "next day")] if "is_today" in page and not is_today else []
    )
    return Parts(
        fixed={
            "verdict": load_macro(visitor, "today/parts", "verdict")(verdict),
            "board-tabs": load_macro(visitor, "today/parts", "board_tabs")(
                count_tabs(rows), day, read_tab(page)
            ),
        },
        items={
            item.element: make_item(item, is_first=item is mine[0] if mine else False)
            for item in [*mine[:MAX_LISTED], *others[:MAX_SHOWN]]
        },
        wanted=[*next_day, *(item.element for item in mine[:MAX_LISTED])],
    )
