"""Live pages: one stream a page. What has changed is rendered once, and sent to all who may see it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.user import Permission
from publisher.web.frame import Banner, choose_banner, read_frame_facts
from publisher.web.page import render
from publisher.web.pages.calendar import parse_day
from publisher.web.site import Site, Visitor, get_site, get_visitor
from publisher.web.today import TodayRow, decide_verdict, list_missing, read_board
from publisher.web.todo import TodoItem, read_todo

FRAME_SECONDS = 1.0
"""Changes are gathered for so long, and sent together."""
BEAT_FRAMES = 5
"""Every so many frames the time since the last heartbeat is sent, and the first sentence is looked at."""
SESSION_FRAMES = 60
"""Every so many frames it is checked whether the session has ended."""
PING_SECONDS = 20
MAX_GAP = 2_000
"""After more audit entries than this the whole board is sent, not what each was about."""


@dataclass(slots=True, kw_only=True)
class Viewer:
    """One open page: whose it is, which day it shows, and up to which audit entry."""

    site: Site
    visitor: Visitor
    day: date | None
    number: int
    banner: Banner | None = None
    items: Collection[TodoItem] = ()
    waiting: Collection[object] = ()
    """The version of what waits for people, as it was last."""
    verdict: str = ""

    async def next_frame(self, frame: int) -> str:
        """Return the parts of the page that have changed since the last frame; empty if none has."""
        facts = await read_frame_facts(self.site)
        parts = []
        if (banner := choose_banner(self.visitor, facts)) != self.banner:
            self.banner = banner
            parts.append(render(self.visitor, "live_banner.html", banner=banner))
        if self.day is None:
            self.number = facts.audit_number
            return "".join(parts)
        if facts.audit_number != self.number:
            parts.append(await self.render_rows(facts.audit_number))
            self.number = facts.audit_number
        if frame % BEAT_FRAMES == 0:
            parts.append(await self.render_verdict(self.day))
        return "".join(parts)

    async def render_rows(self, until: int) -> str:
        """Return the rows of the posts that audit entries since the last frame are about."""
        since, day, visitor = self.number, self.day, self.visitor
        reach = visitor.reach(Permission.VIEW)

        async def make() -> str:
            posts = None if until - since > MAX_GAP else await self.site.store.dashboard.changed_posts(since, until)
            if day is None or (posts is not None and not posts):
                return ""
            rows = await read_board(visitor, day, list_missing(tuple(self.items)), posts)
            return render(visitor, "live_rows.html", rows=rows)

        return await self.site.shared.get(("rows", visitor.lang, reach, day, since, until), make)

    async def render_verdict(self, day: date) -> str:
        """Return the first sentence if it has changed, with a line if there is something new for the visitor."""
        site, visitor = self.site, self.visitor
        facts, parts = await read_frame_facts(site), []
        reach = visitor.reach(Permission.VIEW)
        waiting = await site.shared.get(("waiting", facts.audit_number), site.store.dashboard.todo_version)
        if waiting != self.waiting:
            items, known = await read_todo(visitor), {item.subject for item in self.items if item.is_mine}
            if self.waiting and any(item.is_mine and item.subject not in known for item in items):
                parts.append(render(visitor, "live_news.html"))
            self.items, self.waiting = items, waiting
        mine = [item for item in self.items if item.is_mine]
        others = [item for item in self.items if not item.is_mine]
        key = ("board", visitor.lang, reach, day, facts.audit_number)
        rows: Sequence[TodayRow] = await site.shared.get(key, partial(read_board, visitor, day, {}))
        verdict = render(
            visitor,
            "live_verdict.html",
            verdict_of_day=decide_verdict(visitor, facts, rows, mine, others, None),
        )
        if verdict != self.verdict:
            parts.append(verdict if self.verdict else "")
            self.verdict = verdict
        return "".join(parts)


async def show_events(request: Request) -> Response:
    """Stream the changes of a page: `view` is `today` with a day, or `frame` for what stands round every page."""
    site, visitor, query = get_site(request), get_visitor(request), request.query_params
    facts = await read_frame_facts(site)
    seen = request.headers.get("last-event-id") or query.get("since", "")
    viewer = Viewer(
        site=site,
        visitor=visitor,
        day=parse_day(query.get("day", "")) if query.get("view") == "today" else None,
        number=int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else facts.audit_number,
        banner=choose_banner(visitor, facts),
    )
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return EventSourceResponse(follow(viewer), ping=PING_SECONDS, headers=headers)


async def follow(viewer: Viewer) -> AsyncIterator[ServerSentEvent]:
    """Yield a frame a second at most, and the beat, until the visitor's session or this process ends."""
    site, frame = viewer.site, 0
    while not site.stopping.is_set():
        if data := await viewer.next_frame(frame):
            yield ServerSentEvent(data=data, id=str(viewer.number))
        if frame % BEAT_FRAMES == 0:
            beat = (await read_frame_facts(site)).daemon.heartbeat_at
            seconds = "" if beat is None else str(max(0, int((site.runtime.now() - beat).total_seconds())))
            yield ServerSentEvent(data=seconds, event="beat", id=str(viewer.number))
        frame += 1
        if frame % SESSION_FRAMES == 0 and not await renew_visitor(viewer):
            return
        await asyncio.sleep(FRAME_SECONDS)


async def renew_visitor(viewer: Viewer) -> bool:
    """Take over what roles the visitor has by now; return False if the session has ended. This is no use of it."""
    session = await viewer.site.store.sign_ins.find_session(viewer.visitor.session_id, is_use=False)
    viewer.visitor = replace(viewer.visitor, session=session)
    return session is not None
