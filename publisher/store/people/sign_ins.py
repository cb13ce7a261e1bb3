"""The sign-ins of users: browser sessions, and tokens for commands. Each is a row that can end.

The first sign-in begins with a one-time link.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    delete,
    func,
    insert,
    select,
    update,
)

from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.user import Permission, Principal, User, UserState, permissions_of
from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import keep_alert, write_audit
from publisher.store.db.tables import AUDIT
from publisher.store.db.user_tables import (
    AUTH_SESSION,
    AUTH_TOKEN,
    AUTH_USER,
    dump_scope,
    load_scope,
    to_user,
)
from publisher.store.people.users import (
    LINK_BYTES,
    LINK_LIFETIME,
    LINK_METHOD,
    LINK_OPENED_ELSEWHERE,
    has_open_link,
    hash_secret,
    require_current,
)

SESSION_BYTES = TOKEN_BYTES = 32
SESSION_IDLE_LIFETIME, SESSION_LIFETIME = timedelta(minutes=30), timedelta(hours=12)
"""A session ends when it is not used for so long, and so long after the sign-in at the latest."""
STEP_UP_LIFETIME = timedelta(minutes=10)
"""For how long a repeated second factor counts."""
TOKEN_IDLE_LIFETIME, TOKEN_LIFETIME = timedelta(days=30), timedelta(days=90)
TOKEN_PREFIX = "publisher-"  # noqa: S105 # so that a search for leaked secrets finds tokens
SEEN_INTERVAL = timedelta(minutes=1)
"""How often it is recorded at most that a session or token is in use."""

LINK_REFUSED, MAX_LINK_REFUSALS = "link_refused", 20
"""The audit's event of a link opened elsewhere, and its limit for a user.

The limit is within the life of a link.
"""
NEWEST_ENTRY = select(func.max(AUDIT.c.id)).scalar_subquery()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A valid session. `is_stepped_up`: the second factor was repeated a moment ago."""

    principal: Principal
    created_at: datetime
    expires_at: datetime
    is_stepped_up: bool
    audit_number: int = 0
    """Number of the newest audit entry when it was looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A valid session as its user sees it.

    `id` is the hash of the real id, and only good for ending the session.
    """

    id: str
    source: str
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """A valid token as its user sees it."""

    id: int
    scope: frozenset[Permission]
    created_at: datetime
    used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLink:
    """A one-time link that was opened, and the key of the browser that may go on.

    The key is empty before anybody has begun. `is_elsewhere` means that another browser has begun
    with it, so this one may not.
    """

    user: User
    browser: str = field(default="", repr=False)
    is_elsewhere: bool = False


class SignIns(StorePart):
    """The sessions and tokens. Only hashes of them are stored.

    Disabling or resetting a user ends all of them.
    """

    @in_transaction
    def start_session(
        self,
        transaction: Transaction,
        user: str,
        source: str,
        by: Actor,
        *,
        signed_in: User | None = None,
    ) -> str:
        """Start a session of a user that has just signed in, and return its new id.

        Raises SignInError if all sign-ins of `signed_in`, the user as the password was checked,
        have ended since.
        """
        now, session = self.runtime.now(), secrets.token_urlsafe(SESSION_BYTES)
        connection = transaction.connection
        if signed_in is not None:
            require_current(connection, signed_in)
        connection.execute(delete(AUTH_SESSION).where(AUTH_SESSION.c.expires_at <= now))
        row = {
            "id_hash": hash_secret(session),
            "user": user,
            "source": source,
            "created_at": now,
            "seen_at": now,
        }
        connection.execute(
            insert(AUTH_SESSION).values(**row, expires_at=now + SESSION_LIFETIME)
        )
        write_audit(
            transaction,
            now,
            by,
            event="session_started",
            subject=f"user:{user}",
            detail={"source": source},
        )
        return session

    async def find_session(
        self, session: str, *, is_use: bool = True
    ) -> Session | None:
        """Return a session that is valid now, or None. Record its use if `is_use`.

        None means that it has ended.
        """
        now, id_hash = self.runtime.now(), hash_secret(session)
        query = (
            select(AUTH_USER, AUTH_SESSION, NEWEST_ENTRY.label("audit_number"))
            .join(AUTH_SESSION, AUTH_SESSION.c.user == AUTH_USER.c.name)
            .where(
                AUTH_SESSION.c.id_hash == id_hash,
                AUTH_SESSION.c.expires_at > now,
                AUTH_SESSION.c.seen_at > now - SESSION_IDLE_LIFETIME,
                AUTH_USER.c.state == UserState.ENABLED.value,
            )
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).mappings().one_or_none()
        )
        if row is None:
            return None
        if is_use and row["seen_at"] <= now - SEEN_INTERVAL:
            is_this = AUTH_SESSION.c.id_hash == id_hash
            seen = update(AUTH_SESSION).where(is_this).values(seen_at=now)
            await self._record_use(seen)
        stepped_up_at = row["stepped_up_at"]
        return Session(
            principal=Principal(user=to_user(row), method="session"),
            created_at=row[AUTH_SESSION.c.created_at],
            expires_at=row["expires_at"],
            is_stepped_up=stepped_up_at is not None
            and stepped_up_at > now - STEP_UP_LIFETIME,
            audit_number=row["audit_number"] or 0,
        )

    @in_transaction
    def step_up(self, transaction: Transaction, session: str, by: Actor) -> str:
        """Record that the second factor was repeated, and return the session's new id.

        The old id has ended. Raises NoSuchItemError if the session has ended meanwhile.
        """
        now, replaced = self.runtime.now(), secrets.token_urlsafe(SESSION_BYTES)
        changed = update(AUTH_SESSION).where(
            AUTH_SESSION.c.id_hash == hash_secret(session),
            AUTH_SESSION.c.expires_at > now,
            AUTH_SESSION.c.seen_at > now - SESSION_IDLE_LIFETIME,
        )
        values = {
            "id_hash": hash_secret(replaced),
            "stepped_up_at": now,
            "seen_at": now,
        }
        user = transaction.connection.scalar(
            changed.values(values).returning(AUTH_SESSION.c.user)
        )
        if user is None:
            raise NoSuchItemError("session", "")
        write_audit(
            transaction, now, by, event="session_stepped_up", subject=f"user:{user}"
        )
        return replaced

    @in_transaction
    def end_session(self, transaction: Transaction, session: str, by: Actor) -> bool:
        """End a session at sign-out. Returns False if it had ended before."""
        ended = delete(AUTH_SESSION).where(
            AUTH_SESSION.c.id_hash == hash_secret(session)
        )
        user = transaction.connection.scalar(ended.returning(AUTH_SESSION.c.user))
        if user is not None:
            write_audit(
                transaction,
                self.runtime.now(),
                by,
                event="session_ended",
                subject=f"user:{user}",
            )
        return user is not None

    @in_transaction
    def issue_token(
        self,
        transaction: Transaction,
        user: str,
        scope: Collection[Permission],
        by: Actor,
        *,
        signed_in: User | None = None,
    ) -> str:
        """Return a new token of a user, limited to these permissions. Raises NoSuchItemError.

        Raises RefusedError for a permission that the user has nowhere: the token would grow with a
        later role. Raises SignInError as `start_session` does.
        """
        now, token = (
            self.runtime.now(),
            f"{TOKEN_PREFIX}{secrets.token_urlsafe(TOKEN_BYTES)}",
        )
        connection = transaction.connection
        if signed_in is not None:
            require_current(connection, signed_in)
        query = select(AUTH_USER).where(AUTH_USER.c.name == user).with_for_update()
        known = connection.execute(query).mappings().one_or_none()
        if known is None:
            raise NoSuchItemError(
                "user", user, connection.scalars(select(AUTH_USER.c.name)).all()
            )
        if missing := set(scope) - permissions_of(to_user(known)):
            raise RefusedError(
                "token_wider_than_roles", name=user, scope=", ".join(sorted(missing))
            )
        connection.execute(delete(AUTH_TOKEN).where(AUTH_TOKEN.c.expires_at <= now))
        row = {
            "token_hash": hash_secret(token),
            "user": user,
            "scope": dump_scope(scope),
        }
        times = {"created_at": now, "used_at": now, "expires_at": now + TOKEN_LIFETIME}
        connection.execute(insert(AUTH_TOKEN).values(**row, **times))
        detail = {"scope": dump_scope(scope)}
        write_audit(
            transaction,
            now,
            by,
            event="token_issued",
            subject=f"user:{user}",
            detail=detail,
        )
        return token

    async def find_token(self, token: str) -> Principal | None:
        """Return the owner of a token, and record its use.

        Return None if the token is unknown or has ended.
        """
        now = self.runtime.now()
        query = (
            select(AUTH_USER, AUTH_TOKEN)
            .join(AUTH_TOKEN, AUTH_TOKEN.c.user == AUTH_USER.c.name)
            .where(
                AUTH_TOKEN.c.token_hash == hash_secret(token),
                AUTH_TOKEN.c.expires_at > now,
                AUTH_TOKEN.c.used_at > now - TOKEN_IDLE_LIFETIME,
                AUTH_USER.c.state == UserState.ENABLED.value,
            )
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).mappings().one_or_none()
        )
        if row is None:
            return None
        if row["used_at"] <= now - SEEN_INTERVAL:
            is_this = AUTH_TOKEN.c.id == row["id"]
            used = update(AUTH_TOKEN).where(is_this).values(used_at=now)
            await self._record_use(used)
        return Principal(
            user=to_user(row),
            method=f"token {row['id']}",
            scope=load_scope(row["scope"]),
        )

    async def open_link(
        self, link: str, browser: str, source: str, *, begins: bool
    ) -> OpenedLink | None:
        """Return the user of a one-time link, or None if it is not open.

        `begins` binds the link to a browser, with a new key. `browser` is the key that the browser
        has, if any. Another browser than the first is refused, with an alert.
        """
        known = select(AUTH_USER.c.name).where(*self._is_link(link))
        if await self.database.read_scalar(known) is None:
            return None  # anybody may ask: nothing is locked for what is none
        return await self._open_known_link(link, browser, source, begins=begins)

    @in_transaction
    def _open_known_link(
        self,
        transaction: Transaction,
        link: str,
        browser: str,
        source: str,
        *,
        begins: bool,
    ) -> OpenedLink | None:
        now, connection = self.runtime.now(), transaction.connection
        is_it = self._is_link(link)
        row = (
            connection.execute(select(AUTH_USER).where(*is_it).with_for_update())
            .mappings()
            .one_or_none()
        )
        if row is None:
            return None
        user, holder = to_user(row), row["link_browser_hash"]
        by = Actor(role=Role.PERSON, name=user.name, sign_in=LINK_METHOD)
        subject = f"user:{user.name}"
        if holder is not None and holder != hash_secret(browser):
            if (
                _count_entries(connection, LINK_REFUSED, subject, now - LINK_LIFETIME)
                < MAX_LINK_REFUSALS
            ):
                write_audit(
                    transaction,
                    now,
                    by,
                    event=LINK_REFUSED,
                    subject=subject,
                    detail={"source": source},
                )
            keep_alert(
                transaction, now, LINK_OPENED_ELSEWHERE, subject, {"user": user.name}
            )
            return OpenedLink(user=user, is_elsewhere=True)
        if holder is None and begins:
            browser = secrets.token_urlsafe(LINK_BYTES)
            connection.execute(
                update(AUTH_USER)
                .where(*is_it)
                .values(link_browser_hash=hash_secret(browser))
            )
            write_audit(
                transaction,
                now,
                by,
                event="link_begun",
                subject=subject,
                detail={"source": source},
            )
        return OpenedLink(user=user, browser=browser)

    @in_transaction
    def _record_use(self, transaction: Transaction, statement: Update) -> None:
        transaction.connection.execute(statement)

    def _is_link(self, link: str) -> Sequence[ColumnElement[bool]]:
        return AUTH_USER.c.link_hash == hash_secret(link), *has_open_link(
            self.runtime.now()
        )

    async def sessions_of(self, user: str) -> Sequence[SessionEntry]:
        """Return a user's valid sessions, the one used last first."""
        query = select(AUTH_SESSION).where(
            *self._valid_sessions(), AUTH_SESSION.c.user == user
        )
        rows = await self.database.read(
            lambda connection: connection.execute(
                query.order_by(AUTH_SESSION.c.seen_at.desc())
            ).all()
        )
        return [
            SessionEntry(
                id=row.id_hash,
                source=row.source,
                created_at=row.created_at,
                seen_at=row.seen_at,
            )
            for row in rows
        ]

    async def tokens_of(self, user: str) -> Sequence[TokenEntry]:
        """Return a user's valid tokens, oldest first."""
        query = (
            select(AUTH_TOKEN)
            .where(*self._valid_tokens(), AUTH_TOKEN.c.user == user)
            .order_by(AUTH_TOKEN.c.id)
        )
        rows = await self.database.read_rows(query)
        return [
            TokenEntry(
                id=row.id,
                scope=load_scope(row.scope),
                created_at=row.created_at,
                used_at=row.used_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return the time of the last use of a session or token, for each user signed in."""
        sessions = select(AUTH_SESSION.c.user, AUTH_SESSION.c.seen_at.label("at"))
        used = sessions.union_all(
            select(AUTH_TOKEN.c.user, AUTH_TOKEN.c.used_at.label("at"))
        ).subquery()
        query = select(
            used.c.user, func.max(used.c.at, type_=AUTH_SESSION.c.seen_at.type)
        ).group_by(used.c.user)
        rows = await self.database.read_rows(query)
        return {row[0]: row[1] for row in rows}

    @in_transaction
    def end_session_of(
        self, transaction: Transaction, user: str, session: str, by: Actor
    ) -> bool:
        """End one of a user's sessions, by its entry. Returns False if it had ended before."""
        ended = delete(AUTH_SESSION).where(
            AUTH_SESSION.c.id_hash == session, AUTH_SESSION.c.user == user
        )
        is_ended = transaction.connection.execute(ended).rowcount > 0
        if is_ended:
            write_audit(
                transaction,
                self.runtime.now(),
                by,
                event="session_ended",
                subject=f"user:{user}",
            )
        return is_ended

    @in_transaction
    def end_token(
        self, transaction: Transaction, user: str, token: int, by: Actor
    ) -> bool:
        """End one of a user's tokens. Returns False if it had ended before."""
        ended = delete(AUTH_TOKEN).where(
            AUTH_TOKEN.c.id == token, AUTH_TOKEN.c.user == user
        )
        is_ended = transaction.connection.execute(ended).rowcount > 0
        if is_ended:
            detail = {"token": str(token)}
            now = self.runtime.now()
            write_audit(
                transaction,
                now,
                by,
                event="token_ended",
                subject=f"user:{user}",
                detail=detail,
            )
        return is_ended

    def _valid_sessions(self) -> tuple[ColumnElement[bool], ...]:
        now = self.runtime.now()
        return (
            AUTH_SESSION.c.expires_at > now,
            AUTH_SESSION.c.seen_at > now - SESSION_IDLE_LIFETIME,
        )

    def _valid_tokens(self) -> tuple[ColumnElement[bool], ...]:
        now = self.runtime.now()
        return (
            AUTH_TOKEN.c.expires_at > now,
            AUTH_TOKEN.c.used_at > now - TOKEN_IDLE_LIFETIME,
        )

    async def count_valid(self, user: str) -> tuple[int, int]:
        """Return how many sessions and how many tokens of a user are valid now."""
        sessions = select(func.count()).where(
            *self._valid_sessions(), AUTH_SESSION.c.user == user
        )
        tokens = select(func.count()).where(
            *self._valid_tokens(), AUTH_TOKEN.c.user == user
        )
        return await self.database.read(
            lambda connection: (
                connection.execute(sessions).scalar_one(),
                connection.execute(tokens).scalar_one(),
            )
        )


def _count_entries(
    connection: Connection, event: str, subject: str, since: datetime
) -> int:
    is_one = (AUDIT.c.subject == subject, AUDIT.c.event == event, AUDIT.c.at > since)
    return connection.execute(
        select(func.count()).select_from(AUDIT).where(*is_one)
    ).scalar_one()
