"""Live pages: one stream a page. What has changed is rendered once, and sent to all who may see it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.post import PostId
from publisher.domain.user import Permission
from publisher.store.queries.dashboard import Act
from publisher.web.frame import Banner, choose_banner, read_frame_facts, read_live_todo
from publisher.web.live_parts import LivePart, Parts, item_id, read_items
from publisher.web.page import load_macro
from publisher.web.pages import accounts, alerts, approve, assist, deliveries, inbox, post, post_actions, today
from publisher.web.site import BEATS_PER_REFRESH, Site, Visitor, get_visitor
from publisher.web.todo import TodoKind, count_mine

FRAME_SECONDS = 1.0
"""Changes are gathered for so long, and sent together."""
SESSION_FRAMES = 60
"""Every so many frames it is checked whether the session has ended."""
PING_SECONDS = 20
MAX_FRAME_CHARACTERS = 8_192
"""More waits for the next frame, but for the first one, which brings an old page up to date."""
MAX_NUMBER_DIGITS = 18


async def read_frame_parts(visitor: Visitor, _page: Mapping[str, str], _posts: Collection[PostId] | None) -> Parts:
    """Return what changes round every page: the banner, and the numbers in the menu."""
    banner = choose_banner(visitor, await read_frame_facts(visitor.site))
    badge, badges = load_macro(visitor, "frame", "badge"), count_mine(await read_live_todo(visitor))
    shown = {"banner": load_macro(visitor, "banner", "show_banner")(banner)}
    return Parts(fixed=shown | {f"badge-{name}": badge(name, number) for name, number in badges.items()})


FRAME = LivePart(read=read_frame_parts, is_own=True)
VIEWS: Mapping[str, Sequence[LivePart]] = {
    "frame": (FRAME,),
    "today": (
        FRAME,
        LivePart(read=today.read_live_todo_parts, kinds=("todo",), is_own=True, fading="todo"),
        LivePart(read=today.read_live_rows, kinds=("row",)),
    ),
    "inbox": (FRAME, LivePart(read=inbox.read_live, kinds=("todo",), is_own=True, fading="todo")),
    "approve": (FRAME, LivePart(read=approve.read_live, is_own=True)),
    "post": (FRAME, LivePart(read=post.read_live, kinds=("line",))),
    "delivery": (FRAME, LivePart(read=deliveries.read_live, kinds=("version",))),
    "retraction": (FRAME, LivePart(read=post_actions.read_live, kinds=("time",), is_own=True)),
    "accounts": (FRAME, LivePart(read=accounts.read_live, kinds=("cell", "card"), fading="card")),
    "assist": (FRAME, LivePart(read=assist.read_live, kinds=("task",), fading="task")),
    "alerts": (FRAME, LivePart(read=alerts.read_live, kinds=("alert",), is_own=True, fading="alert")),
}
"""The table of live pages: what of each changes while it is open."""


@dataclass(slots=True, kw_only=True)
class Viewer:
    """One open page: whose it is, what of it is live, which items it has, and up to which audit entry it is."""

    site: Site
    visitor: Visitor
    parts: Sequence[LivePart]
    page: Mapping[str, str]
    known: Collection[str]
    number: int
    loaded: int
    """The audit entry up to which the page was when it was loaded."""
    beat: int = -1
    banner: Banner | None = None
    sent: dict[str, str] = field(default_factory=dict)
    """The parts as the page has them, as far as it is known."""
    pending: dict[str, str] = field(default_factory=dict)
    lacking: dict[LivePart, Collection[str]] = field(default_factory=dict)

    async def next_frame(self) -> str:
        """Return the parts of the page that have changed since the last frame; empty if none has."""
        facts, beat = await read_frame_facts(self.site), self.site.beat
        banner, is_first = choose_banner(self.visitor, facts), self.beat < 0
        if facts.audit_number != self.number:
            await self.read_changes(facts.audit_number)
        if is_first or beat // BEATS_PER_REFRESH != self.beat // BEATS_PER_REFRESH:
            for part in self.parts:
                if not part.is_own:
                    await self.take(part, await self.read_shared(part, None, beat), is_full=True, is_baseline=True)
        if beat != self.beat or banner != self.banner:
            for part in self.parts:
                if part.is_own:
                    await self.take(part, await part.read(self.visitor, self.page, None), is_full=True)
            news = sum(map(len, self.lacking.values()))
            self.put("news", load_macro(self.visitor, "frame", "news")(news))
        self.beat, self.banner, self.number = beat, banner, facts.audit_number
        return self.take_frame(is_first=is_first)

    async def read_changes(self, until: int) -> None:
        """Read the parts that audit entries since the last frame are about."""
        posts = await self.site.shared.get(
            ("changed", self.number, until), partial(self.site.store.dashboard.changed_posts, self.number, until)
        )
        for part in self.parts:
            if not part.is_own and (posts is None or posts):
                found = await self.read_shared(part, posts, (self.number, until))
                await self.take(part, found, is_full=posts is None)

    async def read_shared(self, part: LivePart, posts: Collection[PostId] | None, when: object) -> Parts:
        """Return parts that are read and rendered once for all who may see the same of a page."""
        visitor = self.visitor
        key = (part, visitor.lang, visitor.reach(Permission.VIEW), tuple(self.page.items()), when)
        return await self.site.shared.get(key, partial(part.read, visitor, self.page, posts))

    async def take(self, part: LivePart, found: Parts, *, is_full: bool, is_baseline: bool = False) -> None:
        """Keep what differs from the page for the next frame; as a baseline, what the page was loaded with is so."""
        lacking = set(found.wanted) - set(self.known)
        self.lacking[part] = lacking if is_full else lacking.union(self.lacking.get(part, ()))
        shown = dict(found.fixed) | {key: html for key, html in found.items.items() if key in self.known}
        for key, html in shown.items():
            if is_baseline:
                self.sent.setdefault(key, html)
            self.put(key, html)
            self.sent.pop(f"over-{key}", None)
        if part.fading and is_full:
            faded = {key for key in self.known if key.startswith(f"{part.fading}-") and f"over-{key}" not in self.sent}
            gone = faded.difference(found.items)
            for key, html in (await describe_gone(self.visitor, gone, self.loaded) if gone else {}).items():
                self.put(f"over-{key}", html)
                self.sent.pop(key, None)

    def put(self, element: str, html: str) -> None:
        if self.sent.get(element) != html:
            self.sent[element] = self.pending[element] = html

    def take_frame(self, *, is_first: bool) -> str:
        """Return what is pending, as much as fits into a frame."""
        parts, size = list[str](), 0
        for element, html in list(self.pending.items()):
            part = f'<hx-partial hx-target="#{element}" hx-swap="outerMorph">{html}</hx-partial>'
            if parts and not is_first and size + len(part) > MAX_FRAME_CHARACTERS:
                break
            del self.pending[element]
            parts.append(part)
            size += len(part)
        return "".join(parts)


async def describe_gone(visitor: Visitor, gone: Collection[str], since: int) -> Mapping[str, str]:
    """Return for items that are no longer there who has done them, if a person has, in the place they keep for that."""
    doers = dict[str, Act]()
    for act in await visitor.site.store.dashboard.acts_since(since):  # the newest last
        names = {act.subject, act.subject.partition("@")[0]}
        for kind in {key.partition("-")[0] for key in gone}:
            parts = [(name,) for name in names] + [(each.value, name) for name in names for each in TodoKind]
            doers |= {item_id(kind, *each): act for each in parts}
    over = load_macro(visitor, "frame", "over")
    return {key: over(key, doers.get(key)) for key in gone}


async def show_events(request: Request) -> Response:
    """Stream the changes of a page: `view` is a row of VIEWS, and the rest of the query says what the page shows."""
    last_id = request.headers.get("last-event-id", "")
    viewer = await open_viewer(get_visitor(request), request.query_params, last_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return EventSourceResponse(follow(viewer), ping=PING_SECONDS, headers=headers)


async def open_viewer(visitor: Visitor, query: Mapping[str, str], last_id: str = "") -> Viewer:
    """Return the page that the address of a stream names, up to the last event that it has got, if it has got any."""
    number = (await read_frame_facts(visitor.site)).audit_number
    parts = VIEWS.get(query.get("view", ""), VIEWS["frame"])
    kinds = {kind for part in parts for kind in part.kinds}
    return Viewer(
        site=visitor.site,
        visitor=visitor,
        parts=parts,
        page={name: value for name, value in query.items() if name not in {"view", "since", *kinds}},
        known=frozenset(item for kind in kinds for item in read_items(kind, query.get(kind, ""))),
        number=read_number(last_id or query.get("since", ""), number),
        loaded=read_number(query.get("since", ""), number),
    )


def read_number(text: str, default: int) -> int:
    """Return the number of an audit entry in an address or header; the default for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER_DIGITS else default


async def follow(viewer: Viewer) -> AsyncIterator[ServerSentEvent]:
    """Yield a frame a second at most, and the beat, until the visitor's session or this process ends."""
    site, frame, beat = viewer.site, 0, -1
    while not site.stopping.is_set():
        number = viewer.number
        if data := await viewer.next_frame():
            yield ServerSentEvent(data=data, id=str(number if viewer.pending else viewer.number))
        if viewer.beat != beat:
            beat = viewer.beat
            beat_at = (await read_frame_facts(site)).daemon.heartbeat_at
            seconds = "" if beat_at is None else str(max(0, int((site.runtime.now() - beat_at).total_seconds())))
            yield ServerSentEvent(data=seconds, event="beat", id=str(number if viewer.pending else viewer.number))
        frame += 1
        if frame % SESSION_FRAMES == 0 and not await renew_visitor(viewer):
            return
        await asyncio.sleep(FRAME_SECONDS)


async def renew_visitor(viewer: Viewer) -> bool:
    """Take over what roles the visitor has by now; return False if the session has ended. This is no use of it."""
    session = await viewer.site.store.sign_ins.find_session(viewer.visitor.session_id, is_use=False)
    viewer.visitor = replace(viewer.visitor, session=session)
    return session is not None
