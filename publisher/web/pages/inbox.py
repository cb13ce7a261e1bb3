"""Inbox: what waits for the visitor by deadline, and what he has approved in the last seven days."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.post import PostId
from publisher.web.frame import read_live_todo
from publisher.web.live_parts import Parts, stream_path
from publisher.web.page import load_macro, render_page
from publisher.web.site import Visitor, get_site, get_visitor
from publisher.web.todo import TodoItem, TodoKind, approval_path, read_todo

DONE_PERIOD = timedelta(days=7)
SHOWN_ENDINGS = frozenset({"changed", "unapproved", "returned"})
"""Why a yes has ended, where that is said; of the others only that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxView:
    """What waits for the visitor, of all kinds or of the `chosen` one, and for others."""

    items: Sequence[TodoItem]
    chosen: TodoKind | None

    @property
    def mine(self) -> Sequence[TodoItem]:
        return [item for item in self.items if item.is_mine]

    @property
    def listed(self) -> Sequence[TodoItem]:
        return [item for item in self.mine if self.chosen in {None, item.kind}]

    @property
    def others(self) -> Sequence[TodoItem]:
        return [item for item in self.items if not item.is_mine and self.chosen in {None, item.kind}]

    @property
    def tabs(self) -> Mapping[TodoKind, int]:
        """How many things of each kind wait for the visitor."""
        return {kind: sum(item.kind is kind for item in self.mine) for kind in TodoKind}


async def show_inbox(request: Request) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    chosen = next((kind for kind in TodoKind if kind == request.query_params.get("kind")), None)
    view = InboxView(items=await read_todo(visitor), chosen=chosen)
    done = await site.store.approvals.given_by(visitor.user.name, site.runtime.now() - DONE_PERIOD)
    return await render_page(
        request,
        "inbox",
        stream=stream_path("inbox", [item.element for item in [*view.listed, *view.others]], kind=chosen or ""),
        view=view,
        done=done if chosen in {None, TodoKind.APPROVE} else [],
        approval_path=approval_path,
        endings=SHOWN_ENDINGS,
    )


async def read_live(visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None) -> Parts:
    """Return how many things wait, and each of them."""
    chosen = next((kind for kind in TodoKind if kind == page.get("kind")), None)
    view = InboxView(items=await read_live_todo(visitor), chosen=chosen)
    make_item = load_macro(visitor, "todo", "inbox_item")
    return Parts(
        fixed={
            "verdict": load_macro(visitor, "todo", "inbox_sentence")(view),
            "inbox-tabs": load_macro(visitor, "todo", "inbox_tabs")(view),
        },
        items={item.element: make_item(item, item in view.listed[:1]) for item in [*view.listed, *view.others]},
        wanted=[item.element for item in view.listed],
    )
