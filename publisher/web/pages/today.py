"""Today: is all well, must I act, what comes next, and how far each post is."""

from starlette.requests import Request
from starlette.responses import Response

from publisher.web.page import redirect, render_page


async def show_root(request: Request) -> Response:
    return redirect(request, "/today")


async def show_today(request: Request) -> Response:
    return await render_page(request, "today")
