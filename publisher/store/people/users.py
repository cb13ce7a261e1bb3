"""Users: their roles, their one-time links, passwords and second factors."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from publisher.domain.account import AccountId
from publisher.domain.audit_chain import SYSTEM_USER_KEY
from publisher.domain.characters import name_skeleton
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import NoSuchItemError, RefusedError, SignInError
from publisher.domain.user import (
    NAME_BREAKING_CHARACTERS,
    Grant,
    SignInFactor,
    User,
    UserChange,
    UserChangeKind,
    UserState,
    is_trusted,
    is_usable_name,
)
from publisher.store.approvals.duty import end_duty
from publisher.store.approvals.guard import end_approvals_of
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import (
    batches,
    clear_alerts,
    raise_alert,
    replace_alerts,
    write_audit,
)
from publisher.store.db.tables import AUDIT, DELIVERY, POST, load_post
from publisher.store.db.user_tables import (
    AUTH_SESSION,
    AUTH_TOKEN,
    AUTH_USER,
    DRAFT,
    RECOVERY_CODE,
    USER_REQUEST,
    dump_grants,
    to_user,
)
from publisher.store.people.attempts import Attempts, forget_codes
from publisher.store.secret_reports import is_removed, read_hashes, read_used_hashes

LINK_LIFETIME = timedelta(hours=24)
LINK_BYTES = 32
MAX_NAMES_PER_QUERY = 500
LINK_METHOD = "one-time link"
"""The audit's sign-in method of a person that set up the sign-in with a one-time link."""
LINK_OPENED_ELSEWHERE = "link_opened_elsewhere"
"""Code of the alert that a one-time link was opened a second time, in another browser."""
NO_LINK: Mapping[str, object] = {
    "link_hash": None,
    "link_expires_at": None,
    "link_browser_hash": None,
}
"""The columns of a user without a one-time link."""
NO_SECOND_FACTOR: Mapping[str, object] = {"totp_secret": None, "totp_step": 0}
NO_SIGN_IN: Mapping[str, object] = {
    "password_hash": None, "awaits_second_factor": False, **NO_SECOND_FACTOR, **NO_LINK,
}  # fmt: skip
"""The columns of a user with nothing to sign in with."""
SECRET_EVENTS = frozenset({"secret_stored", "secret_read"})
"""Audit events of people that had a secret before their eyes."""
ROTATION_DUE = "rotation_due"
"""The code of the alert that a person that has left knows a secret."""
SIGN_IN_RESET = "sign_in_reset"
"""The code of the alert about a reset sign-in of a user with a trusted role.

Such a user writes, approves, operates or administers.
"""
NOBODY = "—"
"""Stands in that alert for the second administrator where there was none."""
BREAK_GLASS = "break_glass"
"""The code of the alert that a person acted without sign-in.

The person acted as the system user that owns the workspace.
"""


def end_rotations(transaction: Transaction, now: datetime) -> None:
    """End the alerts about secrets that no running daemon uses any more as the person knew them.

    A secret is replaced, or it is gone: no running daemon has one of its name.
    """
    connection = transaction.connection
    for subject, facts in _open_rotations(connection):
        secret, known = facts["secret"], set(facts["hashes"].split())
        used = read_used_hashes(connection, secret, now)
        is_over = (
            known.isdisjoint(used) if used else is_removed(connection, secret, now)
        )
        if known and is_over:
            clear_alerts(transaction, subject, now, ROTATION_DUE)


def end_unreported_rotation(
    transaction: Transaction, secret: str, now: datetime
) -> None:
    """End the alert about a secret that was replaced or removed, if no daemon has reported it."""
    for subject, facts in _open_rotations(transaction.connection):
        if subject == secret and not facts["hashes"]:
            clear_alerts(transaction, subject, now, ROTATION_DUE)


def _open_rotations(connection: Connection) -> Sequence[tuple[str, Mapping[str, str]]]:
    is_due = ALERT.c.code == ROTATION_DUE, ALERT.c.cleared_at.is_(None)
    rows = connection.execute(select(ALERT.c.subject, ALERT.c.facts).where(*is_due))
    return [(row.subject, json.loads(row.facts)) for row in rows]


def hash_secret(text: str) -> str:
    """Return the stored form of a link, token, session or recovery code.

    All are random, so no slow hash is needed.
    """
    return sha256(
        text.encode("utf-8", "surrogatepass")
    ).hexdigest()  # what is typed may be no UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInProofs:
    """The proofs that a user must give at sign-in. The second factor is encrypted."""

    user: User
    password_hash: str | None = field(repr=False)
    totp_secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignIn:
    """The setup of a user by a one-time link. A second-factor code of `totp_step` was used.

    A value of None stays as it is. The user has proved to have it.
    """

    password_hash: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    totp_step: int = 0
    recovery_codes: Collection[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTraces:
    """A person's actions, seen secrets, and used system users."""

    accounts: frozenset[AccountId]
    secrets: frozenset[str]
    uids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The items that ended when a user left."""

    sessions: int
    tokens: int
    approvals: Sequence[str]


class Users(StorePart):
    """The users. Each change by a person has its audit entry in the same transaction."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.attempts = Attempts(store)

    async def exist(self) -> bool:
        """Return True once there is a user. From then on, an acting person must sign in."""
        query = select(AUTH_USER.c.name).limit(1)
        return await self.database.read(
            lambda connection: connection.execute(query).first() is not None
        )

    async def list(self) -> Sequence[User]:
        """Return all users, including the departed ones."""
        query = select(AUTH_USER).order_by(AUTH_USER.c.name)
        return await self.database.read(
            lambda connection: list(map(to_user, connection.execute(query).mappings()))
        )

    async def get(self, name: str) -> User:
        """Return a user. Raises NoSuchItemError."""
        row = await self.database.read(_get_row, name)
        return to_user(row)

    def apply(
        self,
        transaction: Transaction,
        change: UserChange,
        by: Actor,
        *,
        requested_by: str = "",
        breaks_glass: bool = False,
    ) -> str:
        """Make a change, and return the one-time link if it makes one.

        The permission for it is up to the caller.
        """
        if breaks_glass:
            subject = f"user:{change.user}"
            action = f"user {'confirm' if requested_by else change.kind}"
            record_break_glass(transaction, self.runtime.now(), by, subject, action)
        facts = {"requested_by": requested_by} if requested_by else {}
        match change.kind:
            case UserChangeKind.ADD:
                return self._add(transaction, change, by, facts)
            case UserChangeKind.CHANGE:
                return self._change_grants(
                    transaction, change, by, facts, is_alerted=not breaks_glass
                )
            case UserChangeKind.RESET:
                return self._reset(
                    transaction, change, by, facts, is_alerted=not breaks_glass
                )

    @in_transaction
    def add(
        self, transaction: Transaction, name: str, grants: Collection[Grant], by: Actor
    ) -> str:
        """Add a user and return a one-time link. A returning user is the same one with new grants.

        No second administrator is asked: that is `UserChanges.submit`. Raises RefusedError for a
        name that looks like the name of another user or that breaks addresses. Raises RefusedError
        if the first user is no administrator.
        """
        return self.apply(
            transaction,
            UserChange(kind=UserChangeKind.ADD, user=name, grants=tuple(grants)),
            by,
        )

    def _add(
        self,
        transaction: Transaction,
        change: UserChange,
        by: Actor,
        facts: Mapping[str, str],
    ) -> str:
        now, connection, name = self.runtime.now(), transaction.connection, change.user
        known = lock_users(connection)
        require_possible(change, known)
        values = {
            "grants": dump_grants(change.grants),
            "state": UserState.ENABLED.value,
        }
        if any(row["name"] == name for row in known):
            connection.execute(
                update(AUTH_USER).where(AUTH_USER.c.name == name).values(values)
            )
        else:
            key = {
                "name": name,
                "name_skeleton": name_skeleton(name),
                "created_at": now,
            }
            connection.execute(insert(AUTH_USER).values(**key, **values))
        detail = {"roles": dump_grants(change.grants), **facts}
        write_audit(
            transaction,
            now,
            by,
            event="user_added",
            subject=f"user:{name}",
            detail=detail,
        )
        return self._issue_link(transaction, name, now)

    @in_transaction
    def change_grants(
        self, transaction: Transaction, name: str, grants: Collection[Grant], by: Actor
    ) -> None:
        """Replace a user's grants. The loss of one ends approvals of unsent content.

        No second administrator is asked: that is `UserChanges.submit`. Raises the errors of
        `disable`.
        """
        self.apply(
            transaction,
            UserChange(kind=UserChangeKind.CHANGE, user=name, grants=tuple(grants)),
            by,
        )

    def _change_grants(
        self,
        transaction: Transaction,
        change: UserChange,
        by: Actor,
        facts: Mapping[str, str],
        *,
        is_alerted: bool,
    ) -> str:
        name, grants = change.user, change.grants
        row, now = _get_row(transaction.connection, name), self.runtime.now()
        _require_present(row)
        link = ""
        if facts.get("requested_by") and change.gives_first_trust(to_user(row)):
            # Before the roles count: at no time does anybody hold them with the sign-in of before.
            link = self._reset(transaction, change, by, facts, is_alerted=is_alerted)
        self._change_user(transaction, name, {"grants": dump_grants(grants)})
        detail: dict[str, object] = {"roles": dump_grants(grants), **facts}
        if set(to_user(row).grants) - set(grants):
            detail["approvals_ended"] = end_approvals_of(
                transaction, now, name, by, "user_changed"
            )
        write_audit(
            transaction,
            now,
            by,
            event="user_changed",
            subject=f"user:{name}",
            detail=detail,
        )
        return link

    @in_transaction
    def disable(self, transaction: Transaction, name: str, by: Actor) -> None:
        """Disable a user. End the sessions, tokens, link, duty, and approvals of unsent content.

        Raises NoSuchItemError, or RefusedError for a departed user and for the last administrator.
        """
        _require_present(_get_row(transaction.connection, name))
        self._change_user(transaction, name, {"state": UserState.DISABLED.value})
        end_sign_ins(transaction.connection, name)
        now = self.runtime.now()
        end_duty(transaction, now, name, by)
        ended = end_approvals_of(transaction, now, name, by, "user_disabled")
        detail = {"approvals_ended": ended} if ended else {}
        write_audit(
            transaction,
            now,
            by,
            event="user_disabled",
            subject=f"user:{name}",
            detail=detail,
        )

    async def read_traces(self, name: str) -> PersonTraces:
        """Return a person's actions and seen secrets, according to the audit."""
        query = select(AUDIT.c.event, AUDIT.c.subject, AUDIT.c.detail).where(
            AUDIT.c.role == Role.PERSON.value, AUDIT.c.name == name
        )

        def read(connection: Connection) -> PersonTraces:
            accounts, posts, secrets_seen, uids = set(), set(), set(), set()
            for event, subject, detail in connection.execute(query):
                kind, _, rest = subject.partition(":")
                if kind == "secret" and event in SECRET_EVENTS:
                    secrets_seen.add(rest)
                elif kind == "account" or "@" in subject:
                    accounts.add(
                        rest if kind == "account" else subject.rpartition("@")[2]
                    )
                else:
                    posts.add(rest if kind == "post" else subject.partition("#")[0])
                if system := json.loads(detail).get(SYSTEM_USER_KEY):
                    uids.add(system["uid"])
            for names in batches(sorted(posts), MAX_NAMES_PER_QUERY):
                of_posts = (
                    select(DELIVERY.c.account)
                    .where(DELIVERY.c.post.in_(names))
                    .distinct()
                )
                accounts.update(connection.scalars(of_posts))
                for body in connection.scalars(
                    select(POST.c.body).where(POST.c.id.in_(names))
                ):
                    # what is not planned yet has no delivery
                    accounts.update(load_post(body).accounts)
            return PersonTraces(
                accounts=frozenset(map(AccountId, accounts)),
                secrets=frozenset(secrets_seen),
                uids=frozenset(uids),
            )

        return await self.database.read(read)

    @in_transaction
    def leave(
        self,
        transaction: Transaction,
        name: str,
        secrets_seen: Collection[str],
        by: Actor,
    ) -> Departure:
        """Mark a user as left: sessions, tokens, link, drafts, open approvals and duty end at once.

        An alert for each secret that the user has seen stays until it is replaced. Raises
        NoSuchItemError, or RefusedError for the last administrator.
        """
        now, connection = self.runtime.now(), transaction.connection
        _get_row(connection, name)
        self._change_user(
            transaction, name, {"state": UserState.LEFT.value, **NO_SIGN_IN}
        )
        connection.execute(delete(RECOVERY_CODE).where(RECOVERY_CODE.c.user == name))
        connection.execute(delete(DRAFT).where(DRAFT.c.user == name))
        sessions, tokens = end_sign_ins(connection, name)
        end_duty(transaction, now, name, by)
        approvals = end_approvals_of(transaction, now, name, by, "user_left")
        for secret in sorted(secrets_seen):
            known = " ".join(sorted(read_hashes(connection, secret)))
            facts = {"secret": secret, "user": name, "hashes": known}
            replace_alerts(transaction, now, ROTATION_DUE, f"secret:{secret}", facts)
        detail = {"approvals": approvals, "secrets": sorted(secrets_seen)}
        write_audit(
            transaction,
            now,
            by,
            event="user_left",
            subject=f"user:{name}",
            detail=detail,
        )
        return Departure(sessions=sessions, tokens=tokens, approvals=approvals)

    @in_transaction
    def enable(
        self,
        transaction: Transaction,
        name: str,
        by: Actor,
        *,
        breaks_glass: bool = False,
    ) -> None:
        """Enable a disabled or suspended user, with the old password.

        Raises the errors of `reset`.
        """
        now, connection = self.runtime.now(), transaction.connection
        _require_present(_get_row(connection, name))
        connection.execute(
            update(AUTH_USER)
            .where(AUTH_USER.c.name == name)
            .values(state=UserState.ENABLED.value)
        )
        write_audit(transaction, now, by, event="user_enabled", subject=f"user:{name}")
        if breaks_glass:
            record_break_glass(transaction, now, by, f"user:{name}", "user enable")

    @in_transaction
    def reset(
        self,
        transaction: Transaction,
        name: str,
        by: Actor,
        factors: Collection[SignInFactor] = frozenset(SignInFactor),
    ) -> str:
        """Take away a user's sign-in, sessions and tokens, and return a new one-time link.

        A factor that is left must be proved when the link is used. Approvals of unsent content end
        too, because another person may have given them. A disabled or suspended user is enabled by
        it.

        No second administrator is asked: that is `UserChanges.submit`. Raises NoSuchItemError, or
        RefusedError for a departed user.
        """
        change = UserChange(
            kind=UserChangeKind.RESET, user=name, factors=frozenset(factors)
        )
        return self.apply(transaction, change, by)

    def _reset(
        self,
        transaction: Transaction,
        change: UserChange,
        by: Actor,
        facts: Mapping[str, str],
        *,
        is_alerted: bool,
    ) -> str:
        """Take away the factors that a reset names, or all of them with a first trusted role.

        Only a reset enables the user.
        """
        now, connection, name = self.runtime.now(), transaction.connection, change.user
        row = _get_row(connection, name)
        _require_present(row)
        is_reset = change.kind is UserChangeKind.RESET
        factors = change.factors if is_reset else frozenset(SignInFactor)
        values: dict[str, object] = (
            {"state": UserState.ENABLED.value} if is_reset else {}
        )
        if SignInFactor.PASSWORD in factors:
            values["password_hash"] = None
        if SignInFactor.SECOND_FACTOR in factors:
            awaits = row["awaits_second_factor"] or row["totp_secret"] is not None
            values |= {**NO_SECOND_FACTOR, "awaits_second_factor": awaits}
            connection.execute(
                delete(RECOVERY_CODE).where(RECOVERY_CODE.c.user == name)
            )
        self._update_user(transaction, name, values)
        end_sign_ins(connection, name)
        detail: dict[str, object] = {"factors": sorted(factors), **facts}
        if ended := end_approvals_of(transaction, now, name, by, "user_reset"):
            detail["approvals_ended"] = ended
        write_audit(
            transaction,
            now,
            by,
            event="user_reset",
            subject=f"user:{name}",
            detail=detail,
        )
        if is_alerted and is_trusted((*to_user(row).grants, *change.grants)):
            requested_by = facts.get("requested_by", "")
            alert = {
                "user": name,
                "by": requested_by or by.name,
                "second": by.name if requested_by else NOBODY,
            }
            raise_alert(transaction, now, SIGN_IN_RESET, f"user:{name}", alert)
        return self._issue_link(transaction, name, now)

    async def find_link(self, link: str) -> User | None:
        """Return the user of a one-time link, if it is still open. To use it is `activate`.

        `link` is a link that no browser has begun with, or the key of the browser that has.
        """
        query = select(AUTH_USER).where(
            _is_usable(link), *has_open_link(self.runtime.now())
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).mappings().one_or_none()
        )
        return None if row is None else to_user(row)

    @in_transaction
    def activate(
        self,
        transaction: Transaction,
        link: str,
        sign_in: NewSignIn,
        by: Callable[[str], Actor],
    ) -> User:
        """Use up a one-time link, and store the password and second factor if they are new.

        The link is one that `find_link` knows. `by` makes an actor of the name. Earlier sessions
        and tokens end. Raises RefusedError for a link that is unknown, used or expired.
        """
        now, connection = self.runtime.now(), transaction.connection
        used = update(AUTH_USER).where(_is_usable(link), *has_open_link(now))
        values = dict(NO_LINK)
        if sign_in.password_hash is not None:
            values["password_hash"] = sign_in.password_hash
        if sign_in.totp_secret is not None:
            factor = {
                "totp_secret": sign_in.totp_secret,
                "totp_step": sign_in.totp_step,
            }
            values |= {**factor, "awaits_second_factor": False}
        name = connection.scalar(used.values(values).returning(AUTH_USER.c.name))
        if name is None:
            raise RefusedError("link_invalid")
        if sign_in.totp_secret is not None:
            connection.execute(
                delete(RECOVERY_CODE).where(RECOVERY_CODE.c.user == name)
            )
        for code in sign_in.recovery_codes:
            connection.execute(
                insert(RECOVERY_CODE).values(user=name, code_hash=hash_secret(code))
            )
        end_sign_ins(connection, name)
        detail = {"second_factor": str(sign_in.totp_secret is not None).lower()}
        write_audit(
            transaction,
            now,
            by(name),
            event="user_activated",
            subject=f"user:{name}",
            detail=detail,
        )
        return to_user(_get_row(connection, name))

    @in_transaction
    def change_password(
        self, transaction: Transaction, user: User, password_hash: str, by: Actor
    ) -> None:
        """Replace the password of a user just signed in with the old one. End sessions and tokens.

        Raises SignInError if all sign-ins of the user have ended since, as by a reset.
        """
        connection = transaction.connection
        require_current(connection, user)
        connection.execute(
            update(AUTH_USER)
            .where(AUTH_USER.c.name == user.name)
            .values(password_hash=password_hash)
        )
        end_sign_ins(connection, user.name)
        write_audit(
            transaction,
            self.runtime.now(),
            by,
            event="password_changed",
            subject=f"user:{user.name}",
        )

    async def read_proofs(self, name: str) -> SignInProofs | None:
        """Return the proofs that a sign-in is checked against; None for an unknown user."""
        query = select(AUTH_USER).where(AUTH_USER.c.name == name)
        row = await self.database.read(
            lambda connection: connection.execute(query).mappings().one_or_none()
        )
        if row is None:
            return None
        return SignInProofs(
            user=to_user(row),
            password_hash=row["password_hash"],
            totp_secret=row["totp_secret"],
        )

    @in_transaction
    def use_totp_step(self, transaction: Transaction, name: str, step: int) -> bool:
        """Use up a time step of the second factor.

        Return False if this one or a later one was used already.
        """
        is_new = (AUTH_USER.c.name == name, AUTH_USER.c.totp_step < step)
        return (
            transaction.connection.execute(
                update(AUTH_USER).where(*is_new).values(totp_step=step)
            ).rowcount
            == 1
        )

    @in_transaction
    def use_recovery_code(self, transaction: Transaction, name: str, code: str) -> bool:
        """Use up a recovery code. Returns False if it is none, or was used already."""
        is_code = (
            RECOVERY_CODE.c.user == name,
            RECOVERY_CODE.c.code_hash == hash_secret(code),
        )
        return (
            transaction.connection.execute(
                delete(RECOVERY_CODE).where(*is_code)
            ).rowcount
            == 1
        )

    @in_transaction
    def record_break_glass(
        self, transaction: Transaction, by: Actor, command: str
    ) -> None:
        """Record a command that was given without sign-in, with a red alert."""
        record_break_glass(
            transaction, self.runtime.now(), by, f"command:{command}", command
        )

    async def mark_unproved(self, by: Actor, command: str) -> None:
        """Do the work of `record_break_glass` if nobody could sign in and there are users.

        Nobody could sign in before the command.
        """
        if by.sign_in is None and await self.exist():
            await self.record_break_glass(by, command)

    def _change_user(
        self, transaction: Transaction, name: str, values: Mapping[str, object]
    ) -> None:
        """Change a user's row. Raises RefusedError if no administrator would be left."""
        had_admins, has_admins = self._update_user(transaction, name, values)
        if had_admins and not has_admins:
            raise RefusedError("last_admin", name=name)

    def _update_user(
        self, transaction: Transaction, name: str, values: Mapping[str, object]
    ) -> tuple[Collection[str], Collection[str]]:
        """Change a user's row. Return the names of user administrators before and after it.

        These users can administer users.
        """
        connection = transaction.connection
        before = _list_admins(connection)
        connection.execute(
            update(AUTH_USER).where(AUTH_USER.c.name == name).values(values)
        )
        after = _list_admins(connection)
        _note_ended_admins(connection, before - after, self.runtime.now())
        return before, after

    def _issue_link(self, transaction: Transaction, name: str, now: datetime) -> str:
        """Store and return a new one-time link. It ends the one before."""
        link = secrets.token_urlsafe(LINK_BYTES)
        values = {
            **NO_LINK,
            "link_hash": hash_secret(link),
            "link_expires_at": now + LINK_LIFETIME,
        }
        transaction.connection.execute(
            update(AUTH_USER).where(AUTH_USER.c.name == name).values(values)
        )
        clear_alerts(transaction, f"user:{name}", now, LINK_OPENED_ELSEWHERE)
        return link


def record_break_glass(
    transaction: Transaction, at: datetime, by: Actor, subject: str, action: str
) -> None:
    """Record an action without sign-in.

    The name is claimed, so the alert names the system user beside it.
    """
    user = "?" if by.system is None else by.system.user or f"uid {by.system.uid}"
    write_audit(
        transaction,
        at,
        by,
        event=BREAK_GLASS,
        subject=subject,
        detail={"action": action},
    )
    raise_alert(
        transaction,
        at,
        BREAK_GLASS,
        subject,
        {"user": user, "by": by.name, "action": action},
    )


def end_sign_ins(connection: Connection, user: str | None = None) -> tuple[int, int]:
    """End the sessions and tokens of a user, or of all, and return the number of each.

    Steps that only lead to a sign-in end too: a one-time link, and a password that waits for its
    code.
    """
    ended = (
        update(AUTH_USER)
        if user is None
        else update(AUTH_USER).where(AUTH_USER.c.name == user)
    )
    connection.execute(ended.values({**NO_LINK, "epoch": AUTH_USER.c.epoch + 1}))
    forget_codes(connection, user)
    sessions, tokens = (
        connection.execute(
            delete(table) if user is None else delete(table).where(table.c.user == user)
        ).rowcount
        for table in (AUTH_SESSION, AUTH_TOKEN)
    )
    return sessions, tokens


def require_current(connection: Connection, user: User) -> None:
    """Raise SignInError if all sign-ins of a user have ended since the password check.

    The row is locked.
    """
    is_current = (AUTH_USER.c.name == user.name, AUTH_USER.c.epoch == user.epoch)
    query = select(AUTH_USER.c.name).where(
        *is_current, AUTH_USER.c.state == UserState.ENABLED.value
    )
    if connection.scalar(query.with_for_update()) is None:
        raise SignInError("sign_in_ended", name=user.name)


def suspend_all(connection: Connection, now: datetime) -> int:
    """End all sessions, tokens and links, and suspend all users until each is enabled by name.

    Return the number of users. It is for a database that may be older than the last change of its
    users.
    """
    end_sign_ins(connection)
    connection.execute(delete(USER_REQUEST))
    _note_ended_admins(connection, _list_admins(connection), now)
    suspended = update(AUTH_USER).where(AUTH_USER.c.state == UserState.ENABLED.value)
    return connection.execute(
        suspended.values(state=UserState.SUSPENDED.value)
    ).rowcount


def require_possible(change: UserChange, known: Sequence[RowMapping]) -> None:
    """Raise RefusedError or NoSuchItemError for a change that could never be made."""
    name = change.user
    if change.kind is not UserChangeKind.ADD:
        row = next((row for row in known if row["name"] == name), None)
        if row is None:
            raise NoSuchItemError("user", name, [row["name"] for row in known])
        _require_present(row)
        return
    same = next(
        (row for row in known if row["name_skeleton"] == name_skeleton(name)), None
    )
    if same is not None and (same["name"] != name or same["state"] != UserState.LEFT):
        raise RefusedError("user_exists", name=name, other=same["name"])
    if same is None and not is_usable_name(name):
        raise RefusedError(
            "user_name_unusable",
            name=name,
            characters=" ".join(NAME_BREAKING_CHARACTERS),
        )
    if (
        not known
        and not User(name=name, grants=change.grants, has_password=True).is_active_admin
    ):
        raise RefusedError("first_user_admin")


def _list_admins(connection: Connection) -> frozenset[str]:
    """Return the names of the users that can administer users, with all users locked."""
    return frozenset(
        row["name"] for row in lock_users(connection) if to_user(row).is_active_admin
    )


def _note_ended_admins(
    connection: Connection, names: Collection[str], now: datetime
) -> None:
    connection.execute(
        update(AUTH_USER).where(AUTH_USER.c.name.in_(names)).values(admin_ended_at=now)
    )


def _get_row(connection: Connection, name: str) -> RowMapping:
    row = (
        connection.execute(select(AUTH_USER).where(AUTH_USER.c.name == name))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NoSuchItemError(
            "user", name, connection.scalars(select(AUTH_USER.c.name)).all()
        )
    return row


def has_open_link(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a user with a one-time link that has not expired."""
    return (
        AUTH_USER.c.link_expires_at > now,
        AUTH_USER.c.state == UserState.ENABLED.value,
    )


def _is_usable(link: str) -> ColumnElement[bool]:
    """Return the condition of a user with this unused one-time link, or this browser key.

    An unused link is one that no browser has begun with.
    """
    hashed = hash_secret(link)
    is_unbegun = and_(
        AUTH_USER.c.link_hash == hashed, AUTH_USER.c.link_browser_hash.is_(None)
    )
    return or_(is_unbegun, AUTH_USER.c.link_browser_hash == hashed)


def _require_present(row: RowMapping) -> None:
    if row["state"] == UserState.LEFT:
        raise RefusedError("user_has_left", name=row["name"])


def lock_users(connection: Connection) -> Sequence[RowMapping]:
    """Return all users, locked.

    Of two administrators that disable each other, one must fail.
    """
    return (
        connection.execute(
            select(AUTH_USER).order_by(AUTH_USER.c.name).with_for_update()
        )
        .mappings()
        .all()
    )
