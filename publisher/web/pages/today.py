"""Today: is all well, must I act, what comes next, and how far each post is."""

from starlette.requests import Request
from starlette.responses import Response

from publisher.web.page import redirect, render_page
from publisher.web.pages.calendar import parse_day
from publisher.web.site import get_site, get_visitor
from publisher.web.today import read_today

TABS = ("all", "eventful", "finished")


async def show_root(request: Request) -> Response:
    return redirect(request, "/today")


async def show_today(request: Request) -> Response:
    """Show a day: that of the query, else today."""
    site, query = get_site(request), request.query_params
    today = site.runtime.now().astimezone(site.settings.timezone).date()
    tab = query.get("tab", "all")
    view = await read_today(
        get_visitor(request), parse_day(query.get("day", "")) or today, tab if tab in TABS else "all"
    )
    return await render_page(request, "today", view=view, tab=tab)
