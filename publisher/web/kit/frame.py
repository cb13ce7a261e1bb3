"""The frame of every page: the menu, the state of the system, and the one banner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from publisher.store.approvals.duty import DutyOfficer
from publisher.store.queries.dashboard import FrameFacts
from publisher.store.queries.todo import Waiting
from publisher.web.kit.site import Site, Visitor
from publisher.web.kit.todo import TodoItem, count_mine, list_todo

FACTS_LIFETIME_SECONDS = 1.0
"""How long facts that all visitors share are kept.

Many open pages then ask the database no more often than one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """A page in the menu. `group` sets the lines between entries.

    An entry with `is_main` is among the five on a phone.
    """

    name: str
    path: str
    icon: str
    group: int
    is_main: bool = False


MENU: Sequence[MenuEntry] = (
    MenuEntry(name="write", path="/write", icon="pencil", group=0),
    MenuEntry(name="today", path="/today", icon="sun", group=1, is_main=True),
    MenuEntry(name="inbox", path="/inbox", icon="inbox", group=1, is_main=True),
    MenuEntry(
        name="calendar", path="/calendar", icon="calendar-days", group=1, is_main=True
    ),
    MenuEntry(name="posts", path="/posts", icon="file-text", group=1),
    MenuEntry(name="accounts", path="/accounts", icon="shield-check", group=2),
    MenuEntry(name="assist", path="/assist", icon="hand", group=2),
    MenuEntry(name="alerts", path="/alerts", icon="bell", group=2),
    MenuEntry(name="audit", path="/audit", icon="scroll-text", group=3),
    MenuEntry(name="people", path="/people", icon="users", group=3),
)
"""Each entry is shown once its page is in the table of routes, if the visitor may open it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The one banner: its kind (also its test id), its severity, and its words."""

    kind: str
    tone: str
    icon: str
    title: str
    text: str = ""
    action: str = ""
    """The path that the banner's button leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    menu: Sequence[MenuEntry]
    facts: FrameFacts
    officers: Sequence[DutyOfficer]
    """The officers on duty that the visitor may see."""
    banner: Banner | None
    beat_seconds: int | None
    """Seconds since the last heartbeat; None if there never was one."""
    badges: Mapping[str, int]
    """How many things wait for the visitor, by the name of the page that lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The state of all at one moment: the frame's facts, and what waits for people.

    A page that shows some of it reads it once, and hands it on to its frame.
    """

    facts: FrameFacts
    waiting: Waiting
    todo: Sequence[TodoItem]
    """The items that wait, as the visitor sees them."""


async def read_moment(visitor: Visitor) -> Moment:
    """Return the state of all for a visitor, in three statements at most."""
    facts = await read_facts_now(visitor.site)
    waiting = await read_waiting(visitor.site, facts)
    todo = list_todo(visitor, waiting, facts.pauses, facts.officers)
    return Moment(facts=facts, waiting=waiting, todo=todo)


async def read_waiting(site: Site, facts: FrameFacts) -> Waiting:
    """Return what waits for people, no older than these facts, nor than a beat.

    It is read once for all pages: nothing but the time changes it without an audit entry.
    """
    key = ("waiting", facts.audit_number, site.beat)
    return await site.caches.live.get(key, site.store.waiting.read)


async def read_frame(
    site: Site, visitor: Visitor, moment: Moment | None = None
) -> Frame:
    """Return the frame of a signed-in visitor; at the moment of the page, if it has read that."""
    number = visitor.audit_number
    facts = await read_frame_facts(site, number) if moment is None else moment.facts
    badges = (
        await read_badges(visitor, facts) if moment is None else count_mine(moment.todo)
    )
    beat = facts.daemon.heartbeat_at
    return Frame(
        menu=[
            entry
            for entry in MENU
            if (needed := site.pages.get(entry.path)) is not None
            and visitor.may(needed)
        ],
        facts=facts,
        officers=visitor.limit_officers(facts.officers),
        banner=choose_banner(visitor, facts),
        beat_seconds=None
        if beat is None
        else max(0, int((site.runtime.now() - beat).total_seconds())),
        badges=badges,
    )


async def read_badges(visitor: Visitor, facts: FrameFacts) -> Mapping[str, int]:
    """Return the numbers in the menu. They are counted again only once something has changed."""
    site = visitor.site

    async def count() -> Mapping[str, int]:
        waiting = await read_waiting(site, facts)
        return count_mine(list_todo(visitor, waiting, facts.pauses, facts.officers))

    return await site.caches.todo.get(
        ("badges", visitor.principal, visitor.audit_number), count
    )


async def read_live_todo(visitor: Visitor) -> Sequence[TodoItem]:
    """Return the waiting items for everybody, for an open page.

    They are read again once something begins or ceases to wait.
    """
    site = visitor.site
    facts = await read_frame_facts(site)
    version = await site.caches.live.get(
        ("todo", facts.audit_number, site.beat), site.store.dashboard.todo_version
    )
    waiting = await site.caches.live.get(("waiting", *version), site.store.waiting.read)

    async def make() -> Sequence[TodoItem]:
        return list_todo(visitor, waiting, facts.pauses, facts.officers)

    on_duty = tuple(officer.name for officer in facts.officers)
    seen_by = (visitor.principal, visitor.lang, visitor.is_stepped_up)
    return await site.caches.todo.get(("items", *seen_by, on_duty, *version), make)


async def read_frame_facts(site: Site, at_least: int = 0) -> FrameFacts:
    """Return the facts of every page, no older than FACTS_LIFETIME_SECONDS or an audit entry.

    So the next page shows a person their own last action.
    """
    kept = site.caches.frame_facts.get(None, FACTS_LIFETIME_SECONDS)
    if kept is None or kept.audit_number < at_least:
        return await read_facts_now(site)
    return kept


async def read_facts_now(site: Site) -> FrameFacts:
    """Return the facts as they are, and keep them for open pages: they are no older than a page."""
    facts = await site.store.dashboard.frame_facts()
    kept = site.caches.frame_facts.get(None)
    if kept is None or facts.audit_number >= kept.audit_number:
        site.caches.frame_facts.set(None, facts)
    return facts


def choose_banner(visitor: Visitor, facts: FrameFacts) -> Banner | None:
    """Return the most severe matter that concerns everybody, if there is any."""
    translate, formatter, daemon = (
        visitor.messages.translate,
        visitor.formatter,
        facts.daemon,
    )
    waiting = ""
    if daemon.waiting and daemon.next_due_at is not None:
        due = visitor.clock.when(daemon.next_due_at)
        waiting = translate("web_banner_waiting", number=daemon.waiting, due=due)
    if not daemon.is_running:
        text = " ".join(filter(None, [waiting, translate("web_banner_stopped_call")]))
        return Banner(
            kind="stopped",
            tone="danger",
            icon="siren",
            title=describe_stop(visitor, facts),
            text=text,
        )
    if facts.pause is not None:
        title = translate("web_banner_paused")
        said = formatter.pause("web_banner_paused_by", facts.pause)
        text = " ".join(filter(None, [said, waiting]))
        return Banner(
            kind="paused",
            tone="danger",
            icon="circle-pause",
            title=title,
            text=text,
            action="/resume",
        )
    if facts.alerts:
        alert = facts.alerts[0]
        tone = "danger" if alert.code == "audit_broken" else "warn"
        title = translate(f"web_banner_{alert.code}")
        # the title says enough
        text = formatter.alert(alert) if visitor.sees_alert(alert, ()) else ""
        return Banner(
            kind=alert.code, tone=tone, icon="triangle-alert", title=title, text=text
        )
    return None


def describe_stop(visitor: Visitor, facts: FrameFacts) -> str:
    beat = facts.daemon.heartbeat_at
    if beat is None:
        return visitor.messages.translate("web_banner_never_started")
    minutes = (visitor.site.runtime.now() - beat) // timedelta(minutes=1)
    return visitor.messages.translate("web_banner_stopped", minutes=max(minutes, 1))
