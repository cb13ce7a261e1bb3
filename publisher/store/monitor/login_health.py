"""How the logins are: what their last probe said, what is left to them, and what people must be told of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.events import Actor, Role
from publisher.domain.policy import DAY, MAX_COOLDOWN
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    RateLimited,
    ReadFailure,
    Unknown,
    result_code,
)
from publisher.store.audit.append import clear_alerts, raise_alert
from publisher.store.db.database import Transaction, try_lock
from publisher.store.db.filters import counts_against_quota
from publisher.store.db.mappers import ALERT, ATTEMPT, DELIVERY, LOGIN, LOGIN_HEALTH
from publisher.store.deliveries.circuit_breaker import update_breaker
from publisher.store.deliveries.cooldowns import logins_in_cooldown, start_login_cooldown
from publisher.store.jobs import JobRunner
from publisher.store.plan.actions import active_modes
from publisher.store.store import Store

PROBER = Actor(role=Role.RECONCILER, name="login_checker")
PROBE_INTERVAL = timedelta(hours=6)
"""How often each login is probed."""
EXPIRY_WARNING_DAYS = (1, 3, 7, 14)
"""At so many days before credentials end people are told, and told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHealth:
    """One account: its mode, what its login's last probe said and when, what is left today, and what was verified.

    Until `rests_until` its platform wants no call of the login at all.
    """

    account: Account
    mode: Mode
    quota_left: int
    probed_at: datetime | None = None
    health: HealthCheckResult | None = None
    verified_at: datetime | None = None
    cooldown_until: datetime | None = None


class LoginHealthStore:
    """The books of logins. Every method is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs = JobRunner(store)

    async def claim_due_probes(self, limit: int) -> Sequence[Account]:
        """Take the logins whose probe is due, each by one of its accounts; it comes again after a while."""
        return await self.store.database.write(lambda transaction: self._claim_due_probes(transaction, limit))

    def _claim_due_probes(self, transaction: Transaction, limit: int) -> list[Account]:
        if not try_lock(transaction, "check_logins"):
            return []
        now = self.store.runtime.now()
        known = {
            row.login: row.next_action_at
            for row in transaction.connection.execute(select(LOGIN_HEALTH.c.login, LOGIN_HEALTH.c.next_action_at))
        }
        modes, resting = (
            active_modes(self.store, transaction.connection),
            logins_in_cooldown(transaction.connection, now),
        )
        speakers = {
            terms.account.login: terms.account
            for key, terms in self.store.policies.items()
            if modes[key] is Mode.API  # where people post by hand, nobody need be able to sign in
        }
        self.jobs.clear_other_alerts(transaction, "check_login", [account.id for account in speakers.values()])
        due = {
            login: account
            for login, account in speakers.items()
            if login not in resting and known.get(login, now) <= now
        }
        taken = list(due.items())[:limit]
        for login, _account in taken:
            if login in known:
                transaction.connection.execute(
                    update(LOGIN_HEALTH)
                    .where(LOGIN_HEALTH.c.login == login)
                    .values(next_action_at=now + PROBE_INTERVAL)
                )
            else:
                transaction.connection.execute(
                    insert(LOGIN_HEALTH).values(login=login, next_action_at=now + PROBE_INTERVAL)
                )
        return [account for _login, account in taken]

    async def readable_accounts(self) -> Sequence[Account]:
        """Give one account of each login that may be read, those first that publisher itself posts on."""
        modes = await self.store.database.read(lambda connection: active_modes(self.store, connection))
        by_login: dict[LoginId, Account] = {}
        for mode in (Mode.API, Mode.ASSISTED):
            for key, terms in self.store.policies.items():
                if modes[key] is mode:
                    by_login.setdefault(terms.account.login, terms.account)
        return list(by_login.values())

    async def logins_in_cooldown(self) -> frozenset[LoginId]:
        """Name the logins that no platform wants to be called yet, as far as a clock in doubt can say."""
        now = self.store.runtime.now()
        kept = await self.store.database.read(
            lambda connection: logins_in_cooldown(connection, now, now + MAX_COOLDOWN)
        )
        return kept | self.store.rate_limited_logins()

    async def record_probe(self, account: Account, health: HealthCheckResult) -> None:
        """Write down what a probe said, and tell people what they must act on, once until it changes."""
        await self.store.database.write(lambda transaction: self._record_probe(transaction, account, health))

    def _record_probe(self, transaction: Transaction, account: Account, health: HealthCheckResult) -> None:
        now = self.store.runtime.now()
        if isinstance(health, RateLimited):
            usual = self.store.timing(account.id).first_check_after
            health = start_login_cooldown(self.store, transaction, account.login, health, usual)
        values = {"at": now, "kind": result_code(health), "reason": _reason_of(health), "until": _until_of(health)}
        done = transaction.connection.execute(
            update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == account.login).values(values)
        )
        if not done.rowcount:
            transaction.connection.execute(
                insert(LOGIN_HEALTH).values(login=account.login, next_action_at=now + PROBE_INTERVAL, **values)
            )
        update_breaker(transaction, account, health, now, PROBER)
        if isinstance(health, ReadFailure):
            return  # nothing was learnt; what was told before still stands
        self._set_login_alert(transaction, f"login:{account.login}", account.id, _alert_for(health, now))

    def _set_login_alert(
        self, transaction: Transaction, subject: str, account: AccountId, alert: tuple[str, Mapping[str, str]] | None
    ) -> None:
        """Let one alert at most stand about a login, and leave one alone that says the same."""
        now = self.store.runtime.now()
        row = transaction.connection.execute(
            select(ALERT.c.code, ALERT.c.facts).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))
        ).first()
        facts = {"account": account, **alert[1]} if alert else {}
        if alert is not None and row is not None and (row.code, json.loads(row.facts)) == (alert[0], facts):
            return
        clear_alerts(transaction, subject, now)
        if alert is not None:
            raise_alert(transaction, now, alert[0], subject, facts)

    async def list_accounts(self) -> Sequence[AccountHealth]:
        """Give every account's standing, in the order of the settings."""
        return await self.store.database.read(self._list_accounts)

    def _list_accounts(self, connection: Connection) -> list[AccountHealth]:
        now = self.store.runtime.now()
        since = now - DAY
        rests = select(LOGIN.c.id, LOGIN.c.reads_cooldown_until).where(LOGIN.c.reads_cooldown_until > now)
        resting = {row.id: row.reads_cooldown_until for row in connection.execute(rests)}
        rows = {row.login: row for row in connection.execute(select(LOGIN_HEALTH))}
        sent = (
            select(ATTEMPT.c.login, func.count().label("number"))
            .where(ATTEMPT.c.intended_at > since, counts_against_quota())
            .group_by(ATTEMPT.c.login)
        )
        seen = select(DELIVERY.c.account, func.max(DELIVERY.c.verified_at).label("at")).group_by(DELIVERY.c.account)
        spent = {row.login: row.number for row in connection.execute(sent)}
        verified = {row.account: row.at for row in connection.execute(seen)}
        modes = active_modes(self.store, connection)
        return [
            AccountHealth(
                account=terms.account,
                mode=modes[terms.account.id],
                probed_at=row.at if row else None,
                health=_to_health(row.kind, row.reason, row.until) if row and row.kind else None,
                quota_left=max(0, terms.rate_limit.per_day - spent.get(terms.account.login, 0)),
                verified_at=verified.get(terms.account.id),
                cooldown_until=resting.get(terms.account.login),
            )
            for terms in self.store.policies.values()
            for row in [rows.get(terms.account.login)]
        ]


def _alert_for(health: HealthCheckResult, now: datetime) -> tuple[str, Mapping[str, str]] | None:
    """Give the code and the facts of what people must be told, if anything."""
    match health:
        case CredentialExpired(reason=reason):
            return "login_refused", {"reason": reason}
        case Blocked(code=code, reason=said):
            return "account_blocked", {"reason": code, "said": said}
        case Healthy(credentials_expire_at=datetime() as until):
            days = next((most for most in EXPIRY_WARNING_DAYS if until - now <= timedelta(days=most)), None)
            return None if days is None else ("credentials_expiring", {"days": str(days), "until": f"{until:%Y-%m-%d}"})
        case _:
            return None


def _reason_of(health: HealthCheckResult) -> str | None:
    match health:
        case CredentialExpired(reason=reason) | Unknown(reason=reason):
            return reason
        case Blocked(code=code) | RateLimited(code=code):
            return code
        case _:
            return None


def _until_of(health: HealthCheckResult) -> datetime | None:
    match health:
        case Healthy(credentials_expire_at=until) | RateLimited(until=until):
            return until
        case _:
            return None


def _to_health(kind: str, reason: str | None, until: datetime | None) -> HealthCheckResult:
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
