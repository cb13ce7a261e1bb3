"""Inbox: what waits for the visitor by deadline, and what he has approved in the last seven days."""

from collections import Counter
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from publisher.web.page import render_page
from publisher.web.site import get_site, get_visitor
from publisher.web.todo import TodoKind, approval_path, read_todo

DONE_PERIOD = timedelta(days=7)
SHOWN_ENDINGS = frozenset({"changed", "unapproved", "returned"})
"""Why a yes has ended, where that is said; of the others only that it has."""


async def show_inbox(request: Request) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    items = await read_todo(visitor)
    mine = [item for item in items if item.is_mine]
    chosen = next((kind for kind in TodoKind if kind == request.query_params.get("kind")), None)
    done = await site.store.approvals.given_by(visitor.user.name, site.runtime.now() - DONE_PERIOD)
    return await render_page(
        request,
        "inbox",
        items=[item for item in mine if chosen in {None, item.kind}],
        others=[item for item in items if not item.is_mine and chosen in {None, item.kind}],
        counts=Counter(item.kind for item in mine),
        kinds=list(TodoKind),
        chosen=chosen,
        total=len(mine),
        done=done if chosen in {None, TodoKind.APPROVE} else [],
        approval_path=approval_path,
        endings=SHOWN_ENDINGS,
    )
