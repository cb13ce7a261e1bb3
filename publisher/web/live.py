"""Live pages: one stream a page. A change is rendered once, and sent to every permitted viewer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.glyph import UNPUBLISHED_STATES
from publisher.domain.post import PostId
from publisher.domain.results import HoldReason
from publisher.domain.user import Permission
from publisher.store.queries.dashboard import Act
from publisher.web.accounts import accounts, sign_in_links
from publisher.web.alerts import page as alerts
from publisher.web.approvals import approve, inbox
from publisher.web.audit.page import split_subject
from publisher.web.kit.frame import (
    Banner,
    choose_banner,
    read_frame_facts,
    read_live_todo,
)
from publisher.web.kit.live_parts import (
    LivePart,
    Parts,
    item_id,
    read_items,
    unlisted_id,
)
from publisher.web.kit.page import load_macro
from publisher.web.kit.site import (
    BEATS_PER_REFRESH,
    Site,
    Visitor,
    get_visitor,
)
from publisher.web.kit.streams import OpenStream, Streams
from publisher.web.kit.todo import TodoKind, count_mine, todo_id
from publisher.web.kit.turns import TURN, RequestTurn
from publisher.web.manual import page as assist
from publisher.web.posts import deliveries, phone, post, post_actions
from publisher.web.today import page as today

FRAME_SECONDS = 1.0
"""Changes are gathered for so long, and sent together."""
PING_SECONDS = 20
MAX_FRAME_CHARACTERS = 8_192
"""More waits for the next frame. The first frame has no limit: it brings an old page up to date."""
MAX_NUMBER_DIGITS = 18
APPROVAL_ENDS = frozenset(
    {
        "approval_given",
        "emergency_released",
        "after_review_done",
        "returned",
        "cancelled",
    }
)
SEEN = frozenset({"alert_dismissed", "resend_requested", "cancelled"})
TASK_ENDS = frozenset({"manual_task_done", "manual_task_cancelled"})
ACCOUNT_ENDS = frozenset({"resumed", "mode_changed"})


async def read_frame_parts(
    visitor: Visitor, _page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the changing parts of the frame: the banner, and the numbers in the menu."""
    banner = choose_banner(visitor, await read_frame_facts(visitor.site))
    badge, badges = (
        load_macro(visitor, "parts/frame", "badge"),
        count_mine(await read_live_todo(visitor)),
    )
    shown = {"banner": load_macro(visitor, "parts/banner", "show_banner")(banner)}
    return Parts(
        fixed=shown
        | {f"badge-{name}": badge(name, number) for name, number in badges.items()}
    )


FRAME = LivePart(read=read_frame_parts, is_own=True)
VIEWS: Mapping[str, Sequence[LivePart]] = {
    "frame": (FRAME,),
    "today": (
        FRAME,
        LivePart(
            read=today.read_live_todo_parts,
            parameters=("day", "is_today"),
            kinds=("todo", "unlisted"),
            is_own=True,
            fading="todo",
        ),
        LivePart(read=today.read_live_rows, parameters=("day", "tab"), kinds=("row",)),
        LivePart(
            read=today.read_live_coming,
            parameters=("day", "is_today"),
            kinds=("coming",),
            fading="coming",
            gone="web_over_moved",
        ),
    ),
    "inbox": (
        FRAME,
        LivePart(
            read=inbox.read_live,
            parameters=("kind",),
            kinds=("todo",),
            is_own=True,
            fading="todo",
        ),
    ),
    "approve": (
        FRAME,
        LivePart(
            read=approve.read_live,
            parameters=("post", "occurrence", "fingerprint"),
            is_own=True,
        ),
    ),
    "post": (
        FRAME,
        LivePart(
            read=post.read_live,
            parameters=("post", "occurrence", "tab", "open", "platform"),
            kinds=("line",),
        ),
        LivePart(
            read=post_actions.read_live_buttons,
            parameters=("post", "occurrence"),
            kinds=("button", "dialog"),
            is_own=True,
        ),
    ),
    "delivery": (
        FRAME,
        LivePart(
            read=deliveries.read_live,
            parameters=("post", "occurrence", "account"),
            kinds=("version",),
        ),
    ),
    "phone": (
        FRAME,
        LivePart(read=phone.read_live, parameters=("fingerprint",), is_own=True),
    ),
    "retraction": (
        FRAME,
        LivePart(
            read=post_actions.read_live,
            parameters=("post",),
            kinds=("time",),
            is_own=True,
        ),
    ),
    "account": (
        FRAME,
        LivePart(read=sign_in_links.read_live, parameters=("account",), is_own=True),
    ),
    "accounts": (
        FRAME,
        LivePart(
            read=accounts.read_live,
            parameters=("platform", "status"),
            kinds=("cell",),
        ),
        LivePart(
            read=accounts.read_live_cards,
            parameters=("platform", "status"),
            kinds=("card",),
            is_own=True,
            fading="card",
        ),
    ),
    "assist": (FRAME, LivePart(read=assist.read_live, kinds=("task",), fading="task")),
    "alerts": (
        FRAME,
        LivePart(read=alerts.read_live, kinds=("alert",), is_own=True, fading="alert"),
    ),
}
"""The table of live pages: the parts of each that change while it is open."""


@dataclass(slots=True, kw_only=True)
class Viewer:
    """One open page: its visitor, its live parts, its items, and its latest audit entry.

    `is_new`: it has had no stream before, so that it is as it was loaded.
    """

    site: Site
    visitor: Visitor
    parts: Sequence[LivePart]
    page: Mapping[str, str]
    known: frozenset[str]
    number: int
    is_new: bool
    beat: int = -1
    banner: Banner | None = None
    sent: dict[str, str] = field(default_factory=dict)
    """The parts as the page has them, as far as it is known."""
    pending: dict[str, str] = field(default_factory=dict)
    lacking: dict[LivePart, Collection[str]] = field(default_factory=dict)
    read_up_to: dict[LivePart, int] = field(default_factory=dict)
    """The latest audit entry at the last full reading of each part."""

    @property
    def shared_parts(self) -> Sequence[LivePart]:
        return [part for part in self.parts if not part.is_own]

    async def next_frame(self) -> str:
        """Return the parts of the page that changed since the last frame; empty if none has."""
        facts, beat = await read_frame_facts(self.site), self.site.beat
        number = facts.audit_number
        banner = choose_banner(self.visitor, facts)
        is_first = self.beat < 0
        is_refresh = (
            is_first or beat // BEATS_PER_REFRESH != self.beat // BEATS_PER_REFRESH
        )
        if is_refresh:
            shared = [
                (part, await self.read_shared(part, None, ("all", number, beat)))
                for part in self.shared_parts
            ]
            is_as_loaded = (
                is_first
                and self.is_new
                and await self.site.store.dashboard.audit_number() == self.number
            )
            for part, found in shared:
                await self.take(part, found, up_to=number, is_on_page=is_as_loaded)
        elif number != self.number:
            await self.read_changes(number)
        if banner != self.banner or beat != self.beat:
            for part in self.parts:
                if part.is_own and (
                    is_refresh
                    or banner != self.banner
                    or self.read_up_to[part] != number
                ):
                    await self.take(
                        part,
                        await part.read(self.visitor, self.page, None),
                        up_to=number,
                    )
            news = sum(map(len, self.lacking.values()))
            self.put("news", load_macro(self.visitor, "parts/frame", "news")(news))
        self.beat, self.banner, self.number = beat, banner, number
        return self.take_frame(is_first=is_first)

    async def read_changes(self, until: int) -> None:
        """Read the parts that audit entries since the last frame are about."""
        posts = await self.site.caches.live.get(
            ("changed", self.number, until),
            partial(self.site.store.dashboard.changed_posts, self.number, until),
        )
        for part in self.shared_parts if posts is None or posts else ():
            found = await self.read_shared(part, posts, (self.number, until))
            await self.take(part, found, up_to=until if posts is None else None)

    async def read_shared(
        self, part: LivePart, posts: Collection[PostId] | None, when: object
    ) -> Parts:
        """Return parts that are read and rendered once for all visitors with the same view."""
        visitor = self.visitor
        key = (
            part,
            visitor.lang,
            visitor.reach(Permission.VIEW),
            tuple(self.page.get(name) for name in part.parameters),
            when,
        )
        return await self.site.caches.live.get(
            key, partial(part.read, visitor, self.page, posts)
        )

    async def take(
        self,
        part: LivePart,
        found: Parts,
        *,
        up_to: int | None,
        is_on_page: bool = False,
    ) -> None:
        """Keep the differences from the page for the next frame; nothing if the page has them all.

        `up_to` is the audit entry of the last full reading of the part. It is None after a partial
        reading.
        """
        # nobody knows which of them the page has
        wanted = () if "cut" in self.page else found.wanted
        lacking = {
            item for item in wanted if self.known.isdisjoint((item, unlisted_id(item)))
        }
        self.lacking[part] = lacking.union(
            self.lacking.get(part, ()) if up_to is None else ()
        )
        shown = dict(found.fixed) | {
            key: found.items[key] for key in found.items if key in self.known
        }
        for key, html in shown.items():
            if is_on_page:
                self.sent[key] = html
            else:
                self.put(key, html)
            self.sent.pop(f"over-{key}", None)
        if up_to is None:
            return
        since = self.read_up_to.get(part, self.number)
        self.read_up_to[part] = up_to
        if part.fading:
            faded = {
                key
                for key in self.known
                if key.startswith(f"{part.fading}-") and f"over-{key}" not in self.sent
            }
            gone = faded.difference(found.items)
            for key, html in (
                await describe_gone(self.visitor, gone, since, part.gone)
                if gone
                else {}
            ).items():
                self.put(f"over-{key}", html)
                self.sent.pop(key, None)

    def put(self, element: str, html: str) -> None:
        if self.sent.get(element) != html:
            self.sent[element] = self.pending[element] = html

    def take_frame(self, *, is_first: bool) -> str:
        """Return the pending parts that fit into a frame."""
        parts, size = list[str](), 0
        for element, html in list(self.pending.items()):
            part = f'<hx-partial hx-target="#{element}" hx-swap="outerMorph">{html}</hx-partial>'
            if parts and not is_first and size + len(part) > MAX_FRAME_CHARACTERS:
                break
            del self.pending[element]
            parts.append(part)
            size += len(part)
        return "".join(parts)


async def describe_gone(
    visitor: Visitor, gone: Collection[str], since: int, code: str
) -> Mapping[str, str]:
    """Return for each item that is gone the doer's name, in the place of the item.

    If nobody has done it, the message of this code stands there.
    """
    acts = await keep_visible_acts(
        visitor, await visitor.site.store.dashboard.acts_since(since)
    )
    doers = {item: act for act in acts for item in list_ended(act)}  # the newest last
    over = load_macro(visitor, "parts/frame", "over")
    return {key: over(key, code, doers.get(key)) for key in gone}


async def keep_visible_acts(visitor: Visitor, acts: Sequence[Act]) -> Sequence[Act]:
    """Return the acts on visible items: anybody may ask for any item by its name."""
    if visitor.may_everywhere(Permission.VIEW):
        return acts
    subjects = {act.subject: split_subject(act.subject) for act in acts}
    posts = await visitor.find_visible(
        {post for post, account in subjects.values() if post and not account}
    )

    def is_visible(post: PostId, account: AccountId) -> bool:
        return visitor.may(Permission.VIEW, [account]) if account else post in posts

    return [act for act in acts if is_visible(*subjects[act.subject])]


def list_ended(act: Act) -> Iterator[str]:
    """Yield the ids of the items that a person's act may have ended."""
    occurrence = act.subject.partition("@")[0]
    if act.event in APPROVAL_ENDS:
        yield todo_id(TodoKind.APPROVE, act.subject)
    if act.before == State.HELD:
        yield from (
            todo_id(TodoKind.RESOLVE, occurrence, reason) for reason in HoldReason
        )
    if act.event in SEEN:
        yield from (
            todo_id(TodoKind.FAILED, occurrence, state) for state in UNPUBLISHED_STATES
        )
    if act.event in TASK_ENDS or act.before == State.SUBMITTED:
        yield todo_id(TodoKind.ASSIST, act.subject)
        yield item_id("task", act.subject)
    if act.event in ACCOUNT_ENDS:
        yield todo_id(TodoKind.ACCOUNT, act.subject)
        yield item_id("card", act.subject)


async def show_events(request: Request) -> Response:
    """Stream the changes of a page: `view` is a row of VIEWS.

    The rest of the query names the contents of the page.
    """
    visitor, is_new = get_visitor(request), "last-event-id" not in request.headers
    streams, now = visitor.site.streams, visitor.site.runtime.monotonic()
    if streams.is_full_for(visitor.user.name, now):
        turn: RequestTurn = request.scope[TURN]
        await turn.linger()
        return Response(status_code=429, headers={"retry-after": "2"})
    stream = OpenStream(user=visitor.user.name, session_id=visitor.session_id)
    streams.add(
        stream, now
    )  # before anything is awaited: hundreds may be asked for at once
    return LiveResponse(
        streams, stream, follow(visitor, request.query_params, stream, is_new=is_new)
    )


class LiveResponse(EventSourceResponse):
    """A stream that counts for its user until its connection has ended, even if it never began."""

    def __init__(
        self,
        streams: Streams,
        stream: OpenStream,
        events: AsyncIterator[ServerSentEvent],
    ) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(events, ping=PING_SECONDS, headers=headers)
        self.streams = streams
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.streams.remove(self.stream)


async def open_viewer(
    visitor: Visitor, query: Mapping[str, str], *, is_new: bool = True
) -> Viewer:
    """Return the page that the address of a stream names.

    A page that has had a stream before gets all parts again.
    """
    number = (await read_frame_facts(visitor.site)).audit_number
    parts = VIEWS.get(query.get("view", ""), VIEWS["frame"])
    kinds = {kind for part in parts for kind in part.kinds}
    names = sorted({name for part in parts for name in part.parameters})
    return Viewer(
        site=visitor.site,
        visitor=visitor,
        parts=parts,
        page={name: query[name] for name in [*names, "cut"] if name in query},
        known=frozenset(
            item for kind in kinds for item in read_items(kind, query.get(kind, ""))
        ),
        number=read_number(query.get("since", ""), number),
        is_new=is_new,
    )


def read_number(text: str, default: int) -> int:
    """Return the number of an audit entry in an address; the default for anything else."""
    return (
        int(text)
        if text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER_DIGITS
        else default
    )


async def follow(
    visitor: Visitor,
    query: Mapping[str, str],
    stream: OpenStream,
    *,
    is_new: bool = True,
) -> AsyncIterator[ServerSentEvent]:
    """Yield at most one frame a second, and the beat.

    It ends when the session or the process ends, or when a newer page needs the place.
    """
    viewer = await open_viewer(visitor, query, is_new=is_new)
    site, beat, renewed_at = visitor.site, -1, viewer.number
    while not site.stopping.is_set():
        if stream.is_displaced:
            yield ServerSentEvent(data="", event="displaced")
            return
        number = (await read_frame_facts(site)).audit_number
        is_beat = site.beat != beat
        is_ending = stream.ending.is_set()
        stream.ending.clear()
        must_renew = (
            is_beat or is_ending or await concerns_user(viewer, renewed_at, number)
        )
        if must_renew and not await renew_visitor(
            viewer, None if is_ending else number
        ):
            return
        renewed_at = number
        if data := await viewer.next_frame():
            yield ServerSentEvent(data=data, id=str(viewer.number))
        if is_beat:
            beat = viewer.beat
            beat_at = (await read_frame_facts(site)).daemon.heartbeat_at
            seconds = (
                ""
                if beat_at is None
                else str(max(0, int((site.runtime.now() - beat_at).total_seconds())))
            )
            yield ServerSentEvent(data=seconds, event="beat", id=str(viewer.number))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stream.ending.wait(), FRAME_SECONDS)


async def concerns_user(viewer: Viewer, since: int, until: int) -> bool:
    """Return True if an audit entry is about the viewer's own user.

    Such entries are a sign-out, other roles, a reset, and a disabling.
    """
    if until == since:
        return False
    find = partial(viewer.site.store.dashboard.changed_users, since, until)
    return viewer.visitor.user.name in await viewer.site.caches.live.get(
        ("users", since, until), find
    )


async def renew_visitor(viewer: Viewer, number: int | None = None) -> bool:
    """Update the visitor's roles; return False if the session has ended. This is no use of it.

    At the same audit entry, the streams of a session share one reading. Without an entry the roles
    are read at once.
    """
    site, session_id = viewer.site, viewer.visitor.session_id
    find = partial(site.store.sign_ins.find_session, session_id, is_use=False)
    key = ("session", session_id, site.beat, number)
    session = await (find() if number is None else site.caches.live.get(key, find))
    if session is not None:
        viewer.visitor = replace(viewer.visitor, session=session)
    return session is not None
