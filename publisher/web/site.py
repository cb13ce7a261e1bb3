"""What handlers of pages work with: the site, which lives as long as the process, and the visitor of one request."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

from starlette.requests import HTTPConnection, Request

from publisher.app.application import Application
from publisher.app.format import Formatter
from publisher.app.offline import describe_loaded_files
from publisher.config import Settings
from publisher.domain.account import AccountId, LoadedFiles
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import SignInError
from publisher.domain.post import PostId
from publisher.domain.user import Permission, Principal, User, UserRole, list_members, may_somewhere
from publisher.engine.authentication import LoadUserKey, SecondFactor
from publisher.i18n import LANGUAGES, Lang, Messages
from publisher.runtime.clock import Runtime
from publisher.secrets import Vault, load_user_key
from publisher.store.people.sign_ins import Session
from publisher.store.queries.dashboard import FrameFacts
from publisher.store.store import Store
from publisher.web.limits import Limits
from publisher.web.preview import Articles

LANG_COOKIE, THEME_COOKIE, SIZE_COOKIE = "publisher_lang", "publisher_theme", "publisher_size"
KEYS_COOKIE = "publisher_keys"
PREFERENCES: Mapping[str, tuple[str, Collection[str]]] = {
    "lang": (LANG_COOKIE, LANGUAGES),
    "theme": (THEME_COOKIE, ("light", "dark", "system")),
    "size": (SIZE_COOKIE, ("normal", "large")),
    "keys": (KEYS_COOKIE, ("on", "off")),
}
"""How a visitor likes to see pages: the name in a query, the cookie that keeps it, and the values there are."""
PENDING_LIFETIME = timedelta(minutes=5)
"""How long a sign-in may wait for its second factor."""
SETUP_LIFETIME = timedelta(hours=1)
"""How long a new second factor is kept while its user sets it up."""
MAX_PENDING, MAX_PENDING_OF_USER = 1_000, 5
MAX_SHARED = 128
BEAT_SECONDS = 5
"""How often live pages get the time since the last heartbeat, and what waits for their visitor."""
BEATS_PER_REFRESH = 6
"""Every so many beats live pages read all that they show, for what time alone changes."""
SESSION_METHOD = "session"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSignIn:
    """A user whose password was right, and who must still give a code; then he goes on to `next`.

    `resumed` are the fields of a form that was posted after an earlier session had ended.
    """

    user: User
    until: datetime
    next: str
    resumed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSetup:
    """The second factor shown to the holder of a one-time link, before a code of it was typed."""

    factor: SecondFactor = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What was done, for the page that is shown next. `undo` is the path of the action that takes it back, if any."""

    code: str
    facts: Mapping[str, object] = field(default_factory=dict)
    undo: str = ""
    undo_fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_secret(self) -> bool:
        """True if it shows a one-time link or a token, which no browser may keep."""
        return not {"link", "token"}.isdisjoint(self.facts)


@dataclass(slots=True)
class Shared:
    """What was made of late, by what it was made from: those who need the same share it."""

    _kept: OrderedDict[tuple[object, ...], asyncio.Task[object]] = field(default_factory=OrderedDict)

    async def get(self, key: tuple[object, ...], make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what is kept under a key, or make it. What fails is made again the next time."""
        task = self._kept.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._kept[key] = asyncio.create_task(make())
            while len(self._kept) > MAX_SHARED:
                self._kept.popitem(last=False)
        return cast("T", await asyncio.shield(task))


MAX_STREAMS_PER_SESSION, MAX_STREAMS_PER_USER, MAX_STREAMS = 12, 24, 1024
"""A page has a stream while it is visible. All streams take half of the connections: the rest is for requests."""
MAX_HELD_PER_USER = 2 * MAX_STREAMS_PER_USER
"""With those that were displaced a moment ago, and hold their connections for a second at most."""


@dataclass(slots=True, kw_only=True, eq=False)
class OpenStream:
    """The stream of one open page. One that is displaced ends, to make room for a newer one.

    `ending` is set once it has to look whether its session has ended: it ends then at once.
    """

    user: str
    session_id: str = field(repr=False)
    is_displaced: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Streams:
    """The open streams of each user, the oldest first."""

    by_user: dict[str, list[OpenStream]] = field(default_factory=dict)

    def is_full_for(self, user: str) -> bool:
        """True if a user may open no other stream before some of their own have ended."""
        return len(self.by_user.get(user, ())) >= MAX_HELD_PER_USER

    def add(self, stream: OpenStream) -> None:
        """Add a stream. Where there are too many, displace the oldest of its session, its user or the user with most.

        Nobody who opens many pages takes the place of others.
        """
        own = self.by_user.setdefault(stream.user, [])
        own.append(stream)
        of_user = [each for each in own if not each.is_displaced]
        of_session = [each for each in of_user if each.session_id == stream.session_id]
        if len(of_session) > MAX_STREAMS_PER_SESSION:
            of_session[0].is_displaced = True
        elif len(of_user) > MAX_STREAMS_PER_USER:
            of_user[0].is_displaced = True
        elif sum(map(len, self.by_user.values())) > MAX_STREAMS:
            open_streams = ([each for each in held if not each.is_displaced] for held in self.by_user.values())
            max(open_streams, key=len)[0].is_displaced = True

    def end_session(self, session_id: str) -> None:
        """Let the streams of a session look whether it has ended."""
        for stream in (each for own in self.by_user.values() for each in own if each.session_id == session_id):
            stream.ending.set()

    def end_user(self, user: str) -> None:
        """Let the streams of a user look whether their sessions have ended, or what roles there are by now."""
        for stream in self.by_user.get(user, ()):
            stream.ending.set()

    def remove(self, stream: OpenStream) -> None:
        own = self.by_user[stream.user]
        own.remove(stream)
        if not own:
            del self.by_user[stream.user]


@dataclass(slots=True, kw_only=True)
class Site:
    """What this process knows. All of it may be lost: people then sign in, or set up, once more."""

    application: Application
    limits: Limits = field(default_factory=Limits)
    pending_sign_ins: dict[str, PendingSignIn] = field(default_factory=dict)
    pending_setups: dict[str, PendingSetup] = field(default_factory=dict)
    notices: dict[str, Notice] = field(default_factory=dict)
    articles: Articles = field(default_factory=Articles)
    members: Mapping[str, Collection[AccountId]] = field(init=False)
    loaded_files: LoadedFiles = field(init=False)
    """What this process has read at its start."""
    pages: Mapping[str, Permission] = field(default_factory=dict)
    """What the pages in the table of routes need, by path."""
    metrics: bytes | None = None
    metrics_at: float = 0.0
    """When they were read, in monotonic seconds."""
    frame_facts: FrameFacts | None = None
    frame_facts_at: float = 0.0
    """When they were read, in monotonic seconds."""
    shared: Shared = field(default_factory=Shared)
    """What live pages have read and rendered."""
    checks: Shared = field(default_factory=Shared)
    """What the checks of posts have found, for some minutes."""
    todo: Shared = field(default_factory=Shared)
    """What waits for people, by user."""
    lane_openings: dict[PostId, dict[str, datetime]] = field(default_factory=dict)
    """When which officer on duty has first opened an urgent post that waits for a release."""
    reaches: OrderedDict[tuple[Principal, Permission], frozenset[AccountId]] = field(default_factory=OrderedDict)
    """The accounts on which users may do something, as open pages ask for them all the time."""
    has_users: bool = False
    """True once there are users; there never are none again."""
    streams: Streams = field(default_factory=Streams)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.members = list_members(self.settings.accounts.values(), self.settings.groups)
        self.loaded_files = describe_loaded_files(self.settings)

    @property
    def settings(self) -> Settings:
        return self.application.settings

    @property
    def store(self) -> Store:
        return self.application.store

    @property
    def runtime(self) -> Runtime:
        return self.application.runtime

    @property
    def beat(self) -> int:
        """The number of the beat: all live pages read at the same time, and so share what is read."""
        return int(self.runtime.monotonic() // BEAT_SECONDS)

    @property
    def is_secure(self) -> bool:
        """True if people reach the pages by TLS: cookies are then never sent without it."""
        return self.settings.dashboard.is_secure

    @property
    def load_user_key(self) -> LoadUserKey:
        vault = Vault(folder=self.settings.workspace / "var")
        return partial(load_user_key, vault, self.settings.secrets_dir, creates_missing=True)

    def note_opening(self, post: PostId, name: str) -> None:
        """Note that an officer on duty has opened an urgent post; the oldest posts are forgotten."""
        self.lane_openings.setdefault(post, {}).setdefault(name, self.runtime.now())
        while len(self.lane_openings) > MAX_SHARED:
            self.lane_openings.pop(next(iter(self.lane_openings)))

    async def require_users(self) -> bool:
        """Return True once there is a user."""
        self.has_users = self.has_users or await self.store.users.exist()
        return self.has_users


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks for a page, in which language. Without a session nobody has signed in."""

    site: Site = field(repr=False)
    lang: Lang
    theme: str = "system"
    size: str = "normal"
    keys: str = "on"
    """Whether single keys lead to pages."""
    source: str = ""
    """Where the request comes from."""
    session_id: str = field(default="", repr=False)
    session: Session | None = None
    audit_number: int = 0
    """That of the newest audit entry before anything else was read: what a page shows is no older."""

    @property
    def messages(self) -> Messages:
        return Messages(self.lang, names_buttons=True)

    @property
    def formatter(self) -> Formatter:
        return Formatter(messages=self.messages, timezone=self.site.settings.timezone)

    @property
    def clock(self) -> "Clock":
        return Clock(self)

    @property
    def principal(self) -> Principal:
        """Return who has signed in. Raises SignInError if nobody has."""
        if self.session is None:
            raise SignInError("web_sign_in_needed")
        return self.session.principal

    @property
    def user(self) -> User:
        """Return the user who has signed in. Raises SignInError if nobody has."""
        return self.principal.user

    @property
    def actor(self) -> Actor:
        """Return the person who acts, for the audit. Raises SignInError if nobody has signed in."""
        return Actor(role=Role.PERSON, name=self.user.name, sign_in=SESSION_METHOD)

    @property
    def is_stepped_up(self) -> bool:
        """True if the second factor was repeated a moment ago, or if there is none that could be."""
        return self.session is not None and (self.session.is_stepped_up or not self.user.has_second_factor)

    @property
    def role(self) -> UserRole:
        """Return the role that a user is called by: the first of those granted, `viewer` last."""
        roles = [grant.role for grant in self.user.grants if grant.role is not UserRole.VIEWER]
        return min(roles, key=list(UserRole).index, default=UserRole.VIEWER)

    def may(self, permission: Permission, accounts: Collection[AccountId] | None = None) -> bool:
        """Return True if the visitor may do something on all of these accounts; without any, on some account."""
        if self.session is None:
            return False
        if accounts is None:
            return may_somewhere(self.user, permission)
        return self.session.principal.may(permission, accounts, self.site.members)

    def reach(self, permission: Permission) -> frozenset[AccountId] | None:
        """Return the accounts on which the visitor may do something; None for all, those that have left included."""
        if self.may_everywhere(permission):
            return None
        if self.session is None:
            return frozenset()
        known, key = self.site.reaches, (self.session.principal, permission)
        if key not in known:
            known[key] = frozenset(name for name in self.site.settings.accounts if self.may(permission, [name]))
            while len(known) > MAX_SHARED:
                known.popitem(last=False)
        return known[key]

    def sees_any(self, accounts: Iterable[AccountId]) -> bool:
        """Return True if the visitor may see what concerns at least one of these accounts, or everything."""
        return self.may_everywhere(Permission.VIEW) or any(self.may(Permission.VIEW, [key]) for key in accounts)

    async def find_visible(self, posts: Collection[PostId]) -> Collection[PostId]:
        """Return those of the posts that concern an account which the visitor may see."""
        return await self.site.store.occurrences.concerned(posts, self.reach(Permission.VIEW))

    def may_everywhere(self, permission: Permission) -> bool:
        """Return True if the visitor may do something in the whole workspace."""
        return self.session is not None and self.session.principal.may(permission)

    def require(self, permission: Permission, accounts: Collection[AccountId]) -> None:
        """Raise SignInError unless the visitor may do something on all of these accounts."""
        if not self.may(permission, accounts):
            raise SignInError("web_not_permitted", permission=self.messages.translate(f"web_may_{permission}"))

    def require_everywhere(self, permission: Permission) -> None:
        """Raise SignInError unless the visitor may do something in the whole workspace."""
        if not self.may_everywhere(permission):
            raise SignInError("web_not_permitted", permission=self.messages.translate(f"web_may_{permission}"))


class Clock:
    """How a page writes instants, in the workspace's time zone."""

    def __init__(self, visitor: Visitor) -> None:
        self.timezone = visitor.site.settings.timezone
        self.translate = visitor.messages.translate
        self.now = visitor.site.runtime.now().astimezone(self.timezone)

    def when(self, instant: datetime) -> str:
        """Return today's instants as 08:30, those within a week with the day, others with the date."""
        local = instant.astimezone(self.timezone)
        clock = f"{local:%H:%M}"
        days = (local.date() - self.now.date()).days
        if days == 0:
            return clock
        if days in {-1, 1}:
            return f"{self.translate('web_tomorrow' if days == 1 else 'web_yesterday')} {clock}"
        if 1 < days < 7:
            return f"{self.translate(f'web_{WEEKDAYS[local.weekday()]}')} {clock}"
        code = "web_date" if local.year == self.now.year else "web_date_year"
        return f"{self.translate(code, year=local.year, month=local.month, day=local.day)} {clock}"

    def day_name(self, instant: datetime) -> str:
        """Return a day with its weekday, such as 1月11日 星期一."""
        local = instant.astimezone(self.timezone)
        weekday = self.translate(f"web_{WEEKDAYS[local.weekday()]}_long")
        return self.translate("web_day", month=local.month, day=local.day, weekday=weekday)

    def time_left(self, instant: datetime) -> str:
        """Return how long there is until an instant within the next two hours, else the empty text."""
        left = instant - self.now
        if not timedelta(0) <= left <= timedelta(hours=2):
            return ""
        minutes = int(left.total_seconds()) // 60
        return self.translate("web_minutes_left", minutes=minutes) if minutes else self.translate("web_under_a_minute")


def get_site(connection: HTTPConnection) -> Site:
    site: Site = connection.app.state.site
    return site


def get_visitor(request: Request) -> Visitor:
    """Return the visitor of a request that has passed the table of routes."""
    visitor: Visitor = request.state.visitor
    return visitor
