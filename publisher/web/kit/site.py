"""Context of page handlers: the site of the whole process, and the visitor of one request."""

import asyncio
import contextlib
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial

from starlette.requests import HTTPConnection, Request

from publisher.app.adapters import get_hook
from publisher.app.application import Application
from publisher.app.format import Formatter
from publisher.app.offline import describe_loaded_files
from publisher.config import Settings
from publisher.domain.account import AccountId, LoadedFiles
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import ApprovalError, NoSuchItemError, SignInError
from publisher.domain.post import MEMBER_MARK, PostId
from publisher.domain.user import (
    Grant,
    Permission,
    Principal,
    User,
    UserRole,
    limit_grants,
    list_members,
    may_somewhere,
)
from publisher.engine.authentication import LoadUserKey, SecondFactor
from publisher.i18n import LANGUAGES, Lang, Messages
from publisher.runtime.bounded_dict import BoundedDict
from publisher.runtime.clock import Runtime
from publisher.secrets import load_user_key, open_vault
from publisher.store.approvals.duty import DutyOfficer
from publisher.store.people.sign_ins import Session
from publisher.store.people.users import hash_secret
from publisher.store.queries.queries import Alert
from publisher.store.store import Store
from publisher.web.kit.caches import MAX_CACHED, PageCaches, TimedCache
from publisher.web.kit.limits import Limits
from publisher.web.kit.preview import Articles, RenderTurns
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.streams import Streams

LANG_COOKIE, THEME_COOKIE, SIZE_COOKIE = (
    "publisher_lang",
    "publisher_theme",
    "publisher_size",
)
KEYS_COOKIE = "publisher_keys"
PREFERENCES: Mapping[str, tuple[str, Collection[str]]] = {
    "lang": (LANG_COOKIE, LANGUAGES),
    "theme": (THEME_COOKIE, ("light", "dark", "system")),
    "size": (SIZE_COOKIE, ("normal", "large")),
    "keys": (KEYS_COOKIE, ("on", "off")),
}
"""A visitor's display preferences: the query name, the cookie that keeps it, and its values."""
PENDING_LIFETIME_SECONDS = 300
"""How long a sign-in may wait for its second factor."""
SETUP_LIFETIME_SECONDS = 3600
"""How long a new second factor is kept while its user sets it up."""
MAX_PENDING, MAX_PENDING_OF_USER = 1_000, 5
MAX_KNOWN_SESSIONS = 10_000
MAX_AUDIT_READERS = 2
BEAT_SECONDS = 5
"""How often live pages get the time since the last heartbeat, and the visitor's waiting items."""
BEATS_PER_REFRESH = 6
"""How many beats pass until live pages read all their contents.

Some contents change with time alone.
"""
SESSION_METHOD = "session"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GENERAL_ALERTS = frozenset({
    "approvals_voided", "audit_broken", "audit_checkpoint_failed", "circuit_breaker_open",
    "clock_jumped_ahead", "clock_jumped_back", "clock_skew", "clock_unconfirmed", "clock_wrong",
    "database_busy", "disk_full", "journal_unwritable", "log_lines_dropped", "settings_outdated",
    "waiting_for_journal",
})  # fmt: skip
"""Alerts about publisher itself that name no post, account or person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSignIn:
    """A user with a correct password and a code still to give. The user then goes on to `next`.

    `resumed` are the fields of a form that was posted after an earlier session had ended.
    """

    user: User
    next: str
    resumed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The action done, for the next page. `undo` is the path of the reverse action, if any.

    An action with `is_partial` has left something undone.
    """

    code: str
    facts: Mapping[str, object] = field(default_factory=dict)
    undo: str = ""
    undo_fields: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False


class KnownSessions:
    """The users of sessions that were valid at the last look-up, by hash of the session id."""

    def __init__(self) -> None:
        self._users: BoundedDict[str, str] = BoundedDict(MAX_KNOWN_SESSIONS)

    def note(self, session_id: str, user: str) -> None:
        """Note the user of a session; empty for one that is not valid, or no longer."""
        key = hash_secret(session_id)
        if user:
            self._users[key] = user
        else:
            self._users.pop(key, None)

    def find_user(self, session_id: str) -> str | None:
        return self._users.get(hash_secret(session_id))


class SignInMemory:
    """Sign-ins that are under way, and the sessions that were looked up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.pending: TimedCache[str, PendingSignIn] = TimedCache(clock, MAX_PENDING)
        """The sign-ins without their second factor, by hash of the browser's key."""
        self.setups: TimedCache[str, SecondFactor] = TimedCache(clock, MAX_PENDING)
        """The second factors shown to holders of one-time links, before a code of it was typed."""
        self.known = KnownSessions()
        self.notices: dict[str, Notice] = {}
        """What the next page of a session reports."""

    def add_pending(self, key: str, sign_in: PendingSignIn) -> None:
        """Add a sign-in, and drop the oldest ones of its user above MAX_PENDING_OF_USER.

        Anybody with one known password must not push out other users' sign-ins.
        """
        self.pending.set(key, sign_in)
        name = sign_in.user.name
        own = self.pending.find_keys(lambda each: each.user.name == name)
        for old in own[:-MAX_PENDING_OF_USER]:
            self.pending.drop(old)


@dataclass(slots=True, kw_only=True, eq=False)
class Site:
    """The memory of this process.

    All of it may be lost: people then sign in, or set up, once more.
    """

    application: Application
    pages: Mapping[str, Permission] = field(default_factory=dict)
    """The permissions of the pages in the table of routes, by path."""
    members: Mapping[str, Collection[AccountId]] = field(init=False)
    account_names: Mapping[Lang, AccountNames] = field(init=False)
    loaded_files: LoadedFiles = field(init=False)
    """The files that this process has read at its start."""
    has_users: bool = False
    """True once there are users; there never are none again."""
    limits: Limits = field(default_factory=Limits)
    render_turns: RenderTurns = field(default_factory=RenderTurns)
    audit_readers: asyncio.Semaphore = field(
        default_factory=partial(asyncio.Semaphore, MAX_AUDIT_READERS)
    )
    """A search of a long audit may take seconds: most readers of the database are left to others."""
    retractions: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One retraction at a time: each counts the ones before it."""
    sign_ins: SignInMemory = field(init=False)
    caches: PageCaches = field(init=False)
    articles: Articles = field(default_factory=Articles)
    lane_openings: BoundedDict[PostId, dict[str, datetime]] = field(
        default_factory=lambda: BoundedDict(MAX_CACHED)
    )
    """When each officer on duty has first opened an urgent post that waits for a release."""
    streams: Streams = field(default_factory=Streams)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.members = list_members(
            self.settings.accounts.values(), self.settings.groups
        )
        self.account_names = {
            lang: name_accounts(self.settings, Messages(lang)) for lang in LANGUAGES
        }
        self.loaded_files = describe_loaded_files(self.settings)
        self.sign_ins = SignInMemory(self.runtime.monotonic)
        self.caches = PageCaches(self.runtime.monotonic)

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
        """The number of the beat.

        All live pages read at the same time, and so share the data.
        """
        return int(self.runtime.monotonic() // BEAT_SECONDS)

    @property
    def is_secure(self) -> bool:
        """True if people reach the pages by TLS: cookies are then never sent without it."""
        return self.settings.dashboard.is_secure

    @property
    def load_user_key(self) -> LoadUserKey:
        vault = open_vault(self.settings.workspace)
        return partial(
            load_user_key, vault, self.settings.secrets_dir, creates_missing=True
        )

    def note_opening(self, post: PostId, name: str) -> None:
        """Note that an officer on duty has opened an urgent post."""
        self.lane_openings.setdefault(post, {}).setdefault(name, self.runtime.now())

    async def require_users(self) -> bool:
        """Return True once there is a user."""
        self.has_users = self.has_users or await self.store.users.exist()
        return self.has_users


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The requester of a page, and the language. Without a session nobody has signed in."""

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
    titles: Mapping[PostId, str] = field(default_factory=dict, repr=False)
    """The titles of the posts that messages on the page name, by their ids."""

    @property
    def audit_number(self) -> int:
        """Number of the newest audit entry before anything else was read.

        So the contents of a page are no older.
        """
        return 0 if self.session is None else self.session.audit_number

    @property
    def messages(self) -> Messages:
        return Messages(
            self.lang,
            names_buttons=True,
            names_host=self.works_on_host,
            name_account=self.site.account_names[self.lang].name,
            name_post=self.name_post if self.titles else None,
        )

    def name_post(self, name: str) -> str:
        """Return the title of a post, or of one of its occurrences; without one it stays an id."""
        post, _, occurrence = name.partition("#")
        if (title := self.titles.get(PostId(post))) is None:
            return name
        at = self.clock.when(datetime.fromisoformat(occurrence)) if occurrence else ""
        return f"《{title}》{at}"

    @property
    def works_on_host(self) -> bool:
        """True for operators and administrators: only to them commands and files mean anything."""
        return self.may(Permission.OPERATE) or self.may(Permission.ADMINISTER)

    @property
    def formatter(self) -> Formatter:
        return Formatter(
            messages=self.messages,
            timezone=self.site.settings.timezone,
            when=self.clock.when,
        )

    @property
    def clock(self) -> "Clock":
        return Clock(self)

    @property
    def principal(self) -> Principal:
        """Return the signed-in principal. Raises SignInError if nobody has signed in."""
        if self.session is None:
            raise SignInError("web_sign_in_needed")
        return self.session.principal

    @property
    def user(self) -> User:
        """Return the signed-in user. Raises SignInError if nobody has signed in."""
        return self.principal.user

    @property
    def actor(self) -> Actor:
        """Return the acting person, for the audit. Raises SignInError without a sign-in."""
        return Actor(role=Role.PERSON, name=self.user.name, sign_in=SESSION_METHOD)

    @property
    def is_stepped_up(self) -> bool:
        """True if the second factor was just repeated, or if there is none to repeat."""
        return self.session is not None and (
            self.session.is_stepped_up or not self.user.has_second_factor
        )

    @property
    def role(self) -> UserRole:
        """Return the role that a user is called by: the first granted one, `viewer` last."""
        roles = [
            grant.role
            for grant in self.user.grants
            if grant.role is not UserRole.VIEWER
        ]
        return min(roles, key=list(UserRole).index, default=UserRole.VIEWER)

    def name_region(self, post: str) -> str:
        """Return the region of a member of a family; empty for an ordinary post."""
        _, mark, code = post.partition(MEMBER_MARK)
        if not mark:
            return ""
        facts = self.site.settings.regions.get(code, {})
        return facts.get("name") or self.messages.translate("web_no_region")

    def may(
        self, permission: Permission, accounts: Collection[AccountId] | None = None
    ) -> bool:
        """Return True if the visitor may do something on all of these accounts.

        Without accounts it is True if they may do it on some account.
        """
        if self.session is None:
            return False
        if accounts is None:
            return may_somewhere(self.user, permission)
        return self.session.principal.may(permission, accounts, self.site.members)

    def may_renew(self, account: AccountId) -> bool:
        """Return True if the visitor may send the link by which an account's owner signs in.

        Not every platform has one.
        """
        known = self.site.settings.accounts.get(account)
        if known is None or not self.may(Permission.CREDENTIALS, [account]):
            return False
        factories = self.site.application.planner.post_renderer.factories
        return get_hook(factories[known.platform], "sign_in") is not None

    def reach(self, permission: Permission) -> frozenset[AccountId] | None:
        """Return the accounts on which the visitor may do something.

        None means all, including the accounts that have left.
        """
        return (
            frozenset()
            if self.session is None
            else find_reach(self.site, self.session.principal, permission)
        )

    def sees_any(self, accounts: Iterable[AccountId]) -> bool:
        """Return True if the visitor may see one of these accounts, or everything."""
        return self.may_everywhere(Permission.VIEW) or any(
            self.may(Permission.VIEW, [key]) for key in accounts
        )

    async def find_visible(self, posts: Collection[PostId]) -> Collection[PostId]:
        """Return the posts that concern an account visible to the visitor."""
        return await self.site.store.occurrences.concerned(
            posts, self.reach(Permission.VIEW)
        )

    async def require_visible(self, post: PostId) -> None:
        """Raise NoSuchItemError for a post on no account visible to the visitor.

        The error is the same as for a missing post. All code that reads a post by its id asks here:
        others must not learn that it exists.
        """
        if post not in await self.find_visible(
            [post]
        ) or not await self.site.store.queries.has_post(post):
            raise NoSuchItemError("post", post)

    @contextlib.asynccontextmanager
    async def hiding(self, post: PostId) -> AsyncIterator[None]:
        """Let a refusal about a post that the visitor does not see say that there is none."""
        try:
            yield
        except (ApprovalError, SignInError):
            await self.require_visible(post)
            raise

    def limit_grants(self, grants: Iterable[Grant]) -> tuple[Grant, ...]:
        """Return a person's roles on accounts that the visitor may see; none for unrelated people.

        People and their telephones are shown to users that share an account with them.
        """
        reach = self.reach(Permission.VIEW)
        return (
            tuple(grants)
            if reach is None
            else limit_grants(grants, reach, self.site.members)
        )

    def limit_person(self, user: User) -> User | None:
        """Return a person as the visitor may see them, None if not at all."""
        grants = self.limit_grants(user.grants)
        return (
            replace(user, grants=grants)
            if grants or self.may_everywhere(Permission.VIEW)
            else None
        )

    def limit_officers(self, officers: Iterable[DutyOfficer]) -> Sequence[DutyOfficer]:
        """Return the officers on duty that the visitor may see."""
        is_limited = not self.may_everywhere(Permission.VIEW)
        return [
            one for one in officers if not is_limited or self.limit_grants(one.grants)
        ]

    def sees_alert(self, alert: Alert, posts: Collection[PostId]) -> bool:
        """Return True if the visitor may see an alert. `posts` are the visible ones of its posts.

        An alert about publisher itself may name anything. Without access to all accounts, people
        see such alerts only if they are on a list.
        """
        if self.may_everywhere(Permission.VIEW):
            return True
        facts = alert.facts
        named = [
            *filter(None, [facts.get("account")]),
            *filter(None, facts.get("accounts", "").split("、")),
        ]
        if named:
            return all(self.may(Permission.VIEW, [AccountId(name)]) for name in named)
        return (
            name_post(alert) in posts
            if "post" in facts
            else alert.code in GENERAL_ALERTS
        )

    def may_everywhere(self, permission: Permission) -> bool:
        """Return True if the visitor may do something in the whole workspace."""
        return self.session is not None and self.session.principal.may(permission)

    def require(self, permission: Permission, accounts: Collection[AccountId]) -> None:
        """Raise SignInError unless the visitor may do something on all of these accounts."""
        if not self.may(permission, accounts):
            raise SignInError(
                "web_not_permitted",
                permission=self.messages.translate(f"web_may_{permission}"),
            )

    def require_everywhere(self, permission: Permission) -> None:
        """Raise SignInError unless the visitor may do something in the whole workspace."""
        if not self.may_everywhere(permission):
            raise SignInError(
                "web_not_permitted",
                permission=self.messages.translate(f"web_may_{permission}"),
            )


@lru_cache(MAX_CACHED)  # open pages ask all the time
def find_reach(
    site: Site, principal: Principal, permission: Permission
) -> frozenset[AccountId] | None:
    """Return the accounts a user may act on; None for all.

    All includes the accounts that have left.
    """
    if principal.may(permission):
        return None
    return frozenset(
        name
        for name in site.settings.accounts
        if principal.may(permission, [name], site.members)
    )


def name_post(alert: Alert) -> PostId:
    """Return the post of an alert, from the alert's facts."""
    return PostId(alert.facts["post"].partition("#")[0].partition("@")[0])


class Clock:
    """How a page writes instants, in the workspace's time zone."""

    def __init__(self, visitor: Visitor) -> None:
        self.timezone = visitor.site.settings.timezone
        self.translate = visitor.messages.translate
        self.now = visitor.site.runtime.now().astimezone(self.timezone)

    def when(self, instant: datetime) -> str:
        """Return an instant: today's as 08:30, within a week with the day, else with the date."""
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
        return self.translate(
            "web_day", month=local.month, day=local.day, weekday=weekday
        )

    def time_left(self, instant: datetime) -> str:
        """Return the time until an instant within the next two hours, else the empty text."""
        left = instant - self.now
        if not timedelta(0) <= left <= timedelta(hours=2):
            return ""
        minutes = int(left.total_seconds()) // 60
        return (
            self.translate("web_minutes_left", minutes=minutes)
            if minutes
            else self.translate("web_under_a_minute")
        )

    def duration(self, length: timedelta) -> str:
        """Return a length of time, such as 1 天 6 小时. A fraction of a second is left out."""
        minutes, seconds = divmod(length.seconds, 60)
        numbers = {
            "web_days": length.days,
            "web_hours": minutes // 60,
            "web_minutes": minutes % 60,
            "web_seconds": seconds,
        }
        words = [
            self.translate(code, number=number)
            for code, number in numbers.items()
            if number
        ]
        return " ".join(words) or self.translate("web_seconds", number=0)


def cookie_name(site: Site, name: str) -> str:
    """Return the name of a cookie. TLS binds it to this host; on loopback that is not possible."""
    return f"__Host-{name}" if site.is_secure else name


def get_site(connection: HTTPConnection) -> Site:
    site: Site = connection.app.state.site
    return site


def get_visitor(request: Request) -> Visitor:
    """Return the visitor of a request that has passed the table of routes."""
    visitor: Visitor = request.state.visitor
    return visitor
