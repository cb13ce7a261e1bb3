"""Health of the logins: the result of the last probe, the remaining quota, and their alerts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    String,
    bindparam,
    func,
    insert,
    literal_column,
    null,
    select,
    union_all,
    update,
)

from publisher.domain.account import (
    DAY,
    MAX_COOLDOWN,
    Account,
    AccountId,
    AccountPolicy,
    LoginId,
    Mode,
)
from publisher.domain.delivery import SENDER, Actor, Role
from publisher.domain.results import (
    RESULT_CODES,
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    HoldReason,
    RateLimited,
    ReadFailure,
    Unknown,
    result_code,
)
from publisher.domain.silence import AccountActivity, SilenceClock, read_silence_clock
from publisher.store.base import BaseStore, StorePart
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import counts_against_quota
from publisher.store.db.monitor_tables import CREDENTIAL, LOGIN_HEALTH
from publisher.store.db.rows import (
    ACCOUNT_PAUSED,
    RENEWAL,
    open_alerts,
    pause_account,
    replace_alerts,
    write_audit,
    write_row,
)
from publisher.store.db.tables import (
    ATTEMPT,
    DATABASE_INFO,
    LOGIN,
    MODE_OVERRIDE,
    PAUSE,
)
from publisher.store.deliveries.cooldowns import (
    logins_in_cooldown,
    start_login_cooldown,
    update_circuit_breaker,
)
from publisher.store.modes import active_modes
from publisher.store.monitor.silence import read_activities
from publisher.store.presences import claim_presence, record_reported
from publisher.store.queries.queries import ModeOverride, Pause
from publisher.store.system_alerts import JobRunner

CREDENTIAL_KEY = "credential_key"
"""Key of the database's key for hashes of secrets."""
SAME_ACCOUNT = "same_account"
"""The pause reason of an account that is another account by another spelling.

The other account is one of the settings, or a stored one.
"""
PROBER = Actor(role=Role.RECONCILER, name="login_checker")
PROBE_INTERVAL = timedelta(hours=6)
"""How often each login is probed."""
EXPIRY_WARNING_DAYS = (1, 3, 7, 14)
"""The days before expiry on which an alert about credentials is raised, and raised again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHealth:
    """One account: mode, its login's last probe and remaining quota today, and its last post.

    Until `cooldown_until` the platform accepts no call of the login at all. `activity` is None for
    an account that the database does not know yet.
    """

    account: Account
    mode: Mode
    quota_left: int
    probed_at: datetime | None = None
    health: HealthCheckResult | None = None
    activity: AccountActivity | None = None
    cooldown_until: datetime | None = None
    override: ModeOverride | None = None

    @property
    def is_being_checked(self) -> bool:
        """True if a check was requested after the last one, and has no result yet."""
        return self.probed_at is not None and self.health is None

    def read_clock(self, now: datetime, timezone: tzinfo) -> SilenceClock | None:
        """Return the account's silence; None for one that is off, or not known yet."""
        if self.activity is None or self.mode is Mode.OFF:
            return None
        return read_silence_clock(self.activity, now, timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretState:
    """An account's secret before a call: the last one verified, and if a call is made at all."""

    verified: str | None
    is_used: bool


class LoginHealthStore(StorePart):
    """The stored health of the logins. Every method is one transaction."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__(store)
        self.jobs = JobRunner(store)

    @in_transaction
    def claim_due_probes(
        self, transaction: Transaction, limit: int
    ) -> Sequence[Account]:
        """Claim the logins with a due probe, one account each.

        They are due again after the probe interval.
        """
        if not try_lock(transaction, "check_logins"):
            return []
        now, connection = self.runtime.now(), transaction.connection
        rows = connection.execute(
            select(LOGIN_HEALTH.c.login, LOGIN_HEALTH.c.next_action_at)
        )
        due_at = {row.login: row.next_action_at for row in rows}
        modes = active_modes(self.store, connection)
        skipped = logins_in_cooldown(connection, now)
        accounts = {
            policy.account.login: policy.account
            for account, policy in self.store.policies.items()
            if modes[account]
            is Mode.API  # where people post by hand, nobody has to be able to log in
        }
        self.jobs.clear_other_alerts(
            transaction, "check_login", [account.id for account in accounts.values()]
        )
        due = [
            login
            for login in accounts
            if login not in skipped and due_at.get(login, now) <= now
        ][:limit]
        for login in due:
            _write_health(
                connection, login, now, {"next_action_at": now + PROBE_INTERVAL}
            )
        return [accounts[login] for login in due]

    @in_transaction
    def request_probe(
        self, transaction: Transaction, account: Account, by: Actor | None = None
    ) -> None:
        """Let an account's login be probed at the next occasion.

        The cause is a change, or a request by a person. Until then no earlier result says that the
        login works.
        """
        now, connection = self.runtime.now(), transaction.connection
        _write_health(connection, account.login, now, {"next_action_at": now})
        connection.execute(
            update(LOGIN_HEALTH)
            .where(LOGIN_HEALTH.c.login == account.login)
            .where(LOGIN_HEALTH.c.kind == RESULT_CODES[Healthy])
            .values(kind=None)
        )
        if by is not None:
            subject = f"account:{account.id}"
            write_audit(
                transaction,
                now,
                by,
                event="login_check_requested",
                subject=subject,
                detail={},
            )

    async def readable_accounts(self) -> Sequence[Account]:
        """Return one account of each login that may be read.

        It is preferably one that publisher itself posts on.
        """
        modes = await self.database.read(
            lambda connection: active_modes(self.store, connection)
        )
        by_login: dict[LoginId, Account] = {}
        for mode in (Mode.API, Mode.ASSISTED):
            for account, policy in self.store.policies.items():
                if modes[account] is mode:
                    by_login.setdefault(policy.account.login, policy.account)
        return list(by_login.values())

    async def logins_in_cooldown(self) -> frozenset[LoginId]:
        """Return the logins that may not be called yet, as far as an unconfirmed clock shows."""
        now = self.runtime.now()
        stored = await self.database.read(logins_in_cooldown, now, now + MAX_COOLDOWN)
        return stored | self.store.rate_limited_logins()

    @in_transaction
    def record_probe(
        self, transaction: Transaction, account: Account, health: HealthCheckResult
    ) -> None:
        """Store the result of a probe.

        An alert stays open, and is not repeated, until the result changes.
        """
        now, connection, result = self.runtime.now(), transaction.connection, health
        if isinstance(result, RateLimited):
            usual = self.store.timing(account.id).first_check_after
            result = start_login_cooldown(
                self.store, transaction, account.login, result, usual
            )
        reason, until = None, None
        match result:
            case Healthy():
                until = result.credentials_expire_at
            case CredentialExpired() | Unknown():
                reason = result.reason
            case Blocked():
                reason = result.code
            case RateLimited():
                reason, until = result.code, result.until
        values = {
            "at": now,
            "kind": result_code(result),
            "reason": reason,
            "until": until,
        }
        _write_health(connection, account.login, now, values)
        update_circuit_breaker(self.store, transaction, account, result, PROBER)
        if isinstance(result, ReadFailure):
            return  # nothing was learned, so an open alert stays
        subject, alert = f"login:{account.login}", _alert_for(result, now)
        is_paused = ACCOUNT_PAUSED in dict(
            open_alerts(connection, f"account:{account.id}")
        )
        if is_paused and isinstance(result, CredentialExpired | Blocked):
            alert = None  # the alert of the account's pause says so already
        facts = {"account": account.id, **alert[1]} if alert else {}
        if (
            alert is not None
            and (alert[0], facts) in open_alerts(connection, subject)[:1]
        ):
            return
        replace_alerts(transaction, now, alert[0] if alert else None, subject, facts)

    async def credential_key(self) -> bytes:
        """Return the key of the hashes that identify secrets. Each database has its own."""
        query = select(DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key == CREDENTIAL_KEY
        )
        key = await self.database.read(
            lambda connection: connection.execute(query).scalar_one()
        )
        return bytes.fromhex(key)

    async def read_secret_state(self, account: Account) -> SecretState:
        """Return the fingerprint of the secret verified last for an account's present settings."""

        def read(connection: Connection) -> SecretState:
            is_same = (
                CREDENTIAL.c.account == account.id,
                CREDENTIAL.c.identity == account.identity,
            )
            return SecretState(
                verified=connection.scalar(
                    select(CREDENTIAL.c.fingerprint).where(*is_same)
                ),
                is_used=active_modes(self.store, connection)[account.id] is Mode.API,
            )

        return await self.database.read(read)

    @in_transaction
    def record_verified(
        self,
        transaction: Transaction,
        account: Account,
        fingerprint: str,
        reported: str | None,
    ) -> AccountId | None:
        """Record that a secret is this account's. The platform may have `reported` its identity.

        The reported identity is in the platform's own spelling. Return the other account with this
        identity, if any. Then nothing is verified, and this account is paused.
        """
        connection, now = transaction.connection, self.runtime.now()
        spelled, other = self.store.policies[account.id].presence, None
        if reported is not None:
            presence = replace(spelled, identity=reported)
            other = claim_presence(
                self.store, connection, account.id, presence, now, spelled.identity
            )
            if other is None:
                record_reported(connection, account.id, spelled, presence.identity)
        values = {
            "fingerprint": "" if other else fingerprint,
            "identity": account.identity,
            "reported": reported,
            "checked_at": now,
        }
        write_row(connection, CREDENTIAL, {"account": account.id}, values)
        if other is not None:
            pause_account(
                transaction,
                account.id,
                at=now,
                by=PROBER,
                reason=SAME_ACCOUNT,
                message=other,
            )
        return other

    @in_transaction
    def record_refused(
        self, transaction: Transaction, account: Account, refusal: Blocked
    ) -> None:
        """Pause an account before anything is sent by it.

        Its secret is not its own, or its platform refuses it.
        """
        now = self.runtime.now()
        pause_account(
            transaction,
            account.id,
            at=now,
            by=PROBER,
            reason=refusal.code,
            message=refusal.reason,
        )

    async def read_renewable_pauses(self, login: LoginId) -> Sequence[Pause]:
        """Return the pauses by publisher of a login's accounts that a renewed secret ends."""
        scopes = [
            f"account:{policy.account.id}"
            for policy in self.store.policies.values()
            if policy.account.login == login
        ]

        def read(connection: Connection) -> Sequence[Pause]:
            own = select(PAUSE).where(
                PAUSE.c.scope.in_(scopes), PAUSE.c.by == SENDER.name
            )
            return [
                Pause(scope=row.scope, at=row.at, by=row.by, reason=row.reason)
                for row in connection.execute(own)
                if dict(open_alerts(connection, row.scope))
                .get(ACCOUNT_PAUSED, {})
                .get("ends_with")
                == RENEWAL
            ]

        return await self.database.read(read)

    async def read_modes(self) -> Mapping[AccountId, Mode]:
        """Return the mode of each account that is in force."""
        return await self.database.read(
            lambda connection: active_modes(self.store, connection)
        )

    async def list_accounts(self) -> Sequence[AccountHealth]:
        """Return the health of every account, in the order of the settings, in two statements."""

        def read(connection: Connection) -> list[AccountHealth]:
            now = self.runtime.now()
            parts: dict[str, dict[str, Row[Any]]] = {
                name: {} for name in ("cooldown", "probe", "used", "mode")
            }
            for row in connection.execute(_HEALTH, {"now": now, "since": now - DAY}):
                parts[row.part][row.name] = row
            activities = read_activities(connection)
            return [
                to_health(policy, parts, activities.get(policy.account.id))
                for policy in self.store.policies.values()
            ]

        return await self.database.read(read)


def _health_part(name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    labels = ("name", "at", "code", "detail", "by", "until", "number")
    named = [column.label(label) for column, label in zip(columns, labels, strict=True)]
    return select(literal_column(f"'{name}'", String).label("part"), *named)


_EMPTY, _NONE, _ZERO = (
    literal_column("''", String),
    null(),
    literal_column("0", Integer),
)
_HEALTH = union_all(
    _health_part(
        "probe",
        LOGIN_HEALTH.c.login,
        LOGIN_HEALTH.c.at,
        LOGIN_HEALTH.c.kind,
        LOGIN_HEALTH.c.reason,
        _EMPTY,
        LOGIN_HEALTH.c.until,
        _ZERO,
    ),
    _health_part(
        "cooldown",
        LOGIN.c.id,
        LOGIN.c.reads_cooldown_until,
        _EMPTY,
        _EMPTY,
        _EMPTY,
        _NONE,
        _ZERO,
    ).where(LOGIN.c.reads_cooldown_until > bindparam("now")),
    _health_part(
        "used", ATTEMPT.c.login, _NONE, _EMPTY, _EMPTY, _EMPTY, _NONE, func.count()
    )
    .where(ATTEMPT.c.intended_at > bindparam("since"), counts_against_quota())
    .group_by(ATTEMPT.c.login),
    _health_part(
        "mode",
        MODE_OVERRIDE.c.account,
        MODE_OVERRIDE.c.at,
        MODE_OVERRIDE.c.mode,
        MODE_OVERRIDE.c.reason,
        MODE_OVERRIDE.c.by,
        _NONE,
        _ZERO,
    ),
)
"""What is known of logins, by login, and the modes set by people, by account."""


def to_health(
    policy: AccountPolicy,
    parts: Mapping[str, Mapping[str, Row[Any]]],
    activity: AccountActivity | None,
) -> AccountHealth:
    account, login = policy.account, policy.account.login
    probe, used = parts["probe"].get(login), parts["used"].get(login)
    cooldown, override = parts["cooldown"].get(login), None
    if (row := parts["mode"].get(account.id)) is not None:
        override = ModeOverride(
            account=account.id,
            mode=Mode(row.code),
            at=row.at,
            by=row.by,
            reason=row.detail,
        )
    return AccountHealth(
        account=account,
        mode=override.mode if override else account.mode,
        override=override,
        probed_at=probe.at if probe else None,
        health=_load_health(probe.code, probe.detail, probe.until)
        if probe and probe.code
        else None,
        quota_left=max(0, policy.rate_limit.per_day - (used.number if used else 0)),
        activity=activity,
        cooldown_until=cooldown.at if cooldown else None,
    )


def _write_health(
    connection: Connection, login: LoginId, now: datetime, values: Mapping[str, object]
) -> None:
    """Update a login's row, or insert it with its first probe due after the probe interval."""
    updated = connection.execute(
        update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == login).values(values)
    )
    if not updated.rowcount:
        row = {"login": login, "next_action_at": now + PROBE_INTERVAL, **values}
        connection.execute(insert(LOGIN_HEALTH).values(row))


def _alert_for(
    health: HealthCheckResult, now: datetime
) -> tuple[str, Mapping[str, str]] | None:
    """Return the code and the facts of the alert that a probe's result calls for, if any."""
    match health:
        case CredentialExpired(reason=reason):
            return "login_refused", {"reason": reason}
        case Blocked(code=code, hold_reason=HoldReason.WRONG_SECRET):
            return "login_refused", {"reason": code}
        case Blocked(code=code, reason=said):
            return "account_blocked", {"reason": code, "said": said}
        case Healthy(credentials_expire_at=datetime() as until):
            days = next(
                (
                    days
                    for days in EXPIRY_WARNING_DAYS
                    if until - now <= timedelta(days=days)
                ),
                None,
            )
            return (
                None
                if days is None
                else (
                    "credentials_expiring",
                    {"days": str(days), "until": f"{until:%Y-%m-%d}"},
                )
            )
        case _:
            return None


def _load_health(
    kind: str, reason: str | None, until: datetime | None
) -> HealthCheckResult:
    match kind:
        case "healthy":
            return Healthy(credentials_expire_at=until)
        case "credential_expired":
            return CredentialExpired(reason=reason or "")
        case "blocked":
            return Blocked(code=reason or "", reason="")
        case "rate_limited":
            return RateLimited(code=reason or "", until=until)
        case _:
            return Unknown(reason=reason or "")
