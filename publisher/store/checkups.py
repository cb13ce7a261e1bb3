"""How the logins are: what their last probe said, what is left to them, and what people must be told of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from publisher.domain.account import Account, AccountId, LoginId, Mode
from publisher.domain.events import Actor, Role
from publisher.domain.outcome import Blocked, CredentialExpired, Health, RateLimited, Ready, Unknown, Unread, code_of
from publisher.domain.quota import DAY
from publisher.domain.retry_after import LONGEST_REST
from publisher.store.books import Books
from publisher.store.breaker import hear_probe
from publisher.store.conditions import spends_quota
from publisher.store.engine import Unit
from publisher.store.jobs import Jobs
from publisher.store.ledger import clear_alerts, tell
from publisher.store.modes import modes_in_force
from publisher.store.rests import keep_back_calls, resting_logins
from publisher.store.rows import ALERT, ATTEMPT, DELIVERY, HEALTH, LOGIN
from publisher.store.turns import has_turn

PROBER = Actor(role=Role.RECONCILER, name="prober")
PACE = timedelta(hours=6)
"""How often each login is probed."""
WARNINGS = (1, 3, 7, 14)
"""At so many days before credentials end people are told, and told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """One account: its mode, what its login's last probe said and when, what is left today, and what was verified.

    Until `rests_until` its platform wants no call of the login at all.
    """

    account: Account
    mode: Mode
    quota_left: int
    at: datetime | None = None
    health: Health | None = None
    verified_at: datetime | None = None
    rests_until: datetime | None = None


class Checkups:
    """The books of logins. Every method is one transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.jobs = Jobs(books)

    async def take(self, limit: int) -> Sequence[Account]:
        """Take the logins whose probe is due, each by one of its accounts; it comes again after a while."""
        return await self.books.database.write(lambda unit: self._take(unit, limit))

    def _take(self, unit: Unit, limit: int) -> list[Account]:
        if not has_turn(unit, "probing"):
            return []
        now = self.books.world.now()
        known = {row.login: row.next_at for row in unit.connection.execute(select(HEALTH.c.login, HEALTH.c.next_at))}
        modes, resting = modes_in_force(self.books, unit.connection), resting_logins(unit.connection, now)
        speakers = {
            terms.account.login: terms.account
            for key, terms in self.books.terms.items()
            if modes[key] is Mode.API  # where people post by hand, nobody need be able to sign in
        }
        self.jobs.retain(unit, "probe_account", [account.id for account in speakers.values()])
        due = {
            login: account
            for login, account in speakers.items()
            if login not in resting and known.get(login, now) <= now
        }
        taken = list(due.items())[:limit]
        for login, _account in taken:
            if login in known:
                unit.connection.execute(update(HEALTH).where(HEALTH.c.login == login).values(next_at=now + PACE))
            else:
                unit.connection.execute(insert(HEALTH).values(login=login, next_at=now + PACE))
        return [account for _login, account in taken]

    async def readable(self) -> Sequence[Account]:
        """Give one account of each login that may be read, those first that publisher itself posts on."""
        modes = await self.books.database.read(lambda connection: modes_in_force(self.books, connection))
        by_login: dict[LoginId, Account] = {}
        for mode in (Mode.API, Mode.ASSISTED):
            for key, terms in self.books.terms.items():
                if modes[key] is mode:
                    by_login.setdefault(terms.account.login, terms.account)
        return list(by_login.values())

    async def resting(self) -> frozenset[LoginId]:
        """Name the logins that no platform wants to be called yet, as far as a clock in doubt can say."""
        now = self.books.world.now()
        kept = await self.books.database.read(lambda connection: resting_logins(connection, now, now + LONGEST_REST))
        return kept | self.books.limited_logins()

    async def write(self, account: Account, health: Health) -> None:
        """Write down what a probe said, and tell people what they must act on, once until it changes."""
        await self.books.database.write(lambda unit: self._write(unit, account, health))

    def _write(self, unit: Unit, account: Account, health: Health) -> None:
        now = self.books.world.now()
        if isinstance(health, RateLimited):
            usual = self.books.patience(account.id).first_check_after
            health = keep_back_calls(self.books, unit, account.login, health, usual)
        values = {"at": now, "kind": code_of(health), "reason": _reason(health), "until": _until(health)}
        done = unit.connection.execute(update(HEALTH).where(HEALTH.c.login == account.login).values(values))
        if not done.rowcount:
            unit.connection.execute(insert(HEALTH).values(login=account.login, next_at=now + PACE, **values))
        hear_probe(unit, account, health, now, PROBER)
        if isinstance(health, Unread):
            return  # nothing was learnt; what was told before still stands
        self._tell(unit, f"login:{account.login}", account.id, _alert(health, now))

    def _tell(self, unit: Unit, subject: str, account: AccountId, told: tuple[str, Mapping[str, str]] | None) -> None:
        """Let one alert at most stand about a login, and leave one alone that says the same."""
        now = self.books.world.now()
        row = unit.connection.execute(
            select(ALERT.c.code, ALERT.c.facts).where(ALERT.c.subject == subject, ALERT.c.cleared_at.is_(None))
        ).first()
        facts = {"account": account, **told[1]} if told else {}
        if told is not None and row is not None and (row.code, json.loads(row.facts)) == (told[0], facts):
            return
        clear_alerts(unit, subject, now)
        if told is not None:
            tell(unit, now, told[0], subject, facts)

    async def all(self) -> Sequence[Checkup]:
        """Give every account's standing, in the order of the settings."""
        return await self.books.database.read(self._all)

    def _all(self, connection: Connection) -> list[Checkup]:
        now = self.books.world.now()
        since = now - DAY
        rests = select(LOGIN.c.id, LOGIN.c.reads_until).where(LOGIN.c.reads_until > now)
        resting = {row.id: row.reads_until for row in connection.execute(rests)}
        rows = {row.login: row for row in connection.execute(select(HEALTH))}
        sent = (
            select(ATTEMPT.c.login, func.count().label("number"))
            .where(ATTEMPT.c.intended_at > since, spends_quota())
            .group_by(ATTEMPT.c.login)
        )
        seen = select(DELIVERY.c.account, func.max(DELIVERY.c.verified_at).label("at")).group_by(DELIVERY.c.account)
        spent = {row.login: row.number for row in connection.execute(sent)}
        verified = {row.account: row.at for row in connection.execute(seen)}
        modes = modes_in_force(self.books, connection)
        return [
            Checkup(
                account=terms.account,
                mode=modes[terms.account.id],
                at=row.at if row else None,
                health=_health(row.kind, row.reason, row.until) if row and row.kind else None,
                quota_left=max(0, terms.quota.per_day - spent.get(terms.account.login, 0)),
                verified_at=verified.get(terms.account.id),
                rests_until=resting.get(terms.account.login),
            )
            for terms in self.books.terms.values()
            for row in [rows.get(terms.account.login)]
        ]


def _alert(health: Health, now: datetime) -> tuple[str, Mapping[str, str]] | None:
    """Give the code and the facts of what people must be told, if anything."""
    match health:
        case CredentialExpired(reason=reason):
            return "sign_in_refused", {"reason": reason}
        case Blocked(code=code, reason=said):
            return "account_blocked", {"reason": code, "said": said}
        case Ready(until=datetime() as until):
            days = next((most for most in WARNINGS if until - now <= timedelta(days=most)), None)
            return None if days is None else ("credentials_end", {"days": str(days), "until": f"{until:%Y-%m-%d}"})
        case _:
            return None


def _reason(health: Health) -> str | None:
    match health:
        case CredentialExpired(reason=reason) | Unknown(reason=reason):
            return reason
        case Blocked(code=code) | RateLimited(code=code):
            return code
        case _:
            return None


def _until(health: Health) -> datetime | None:
    return health.until if isinstance(health, Ready | RateLimited) else None


def _health(kind: str, reason: str | None, until: datetime | None) -> Health:
    match kind:
        case "healthy":
            return Ready(until=until)
        case "credential_expired":
            return CredentialExpired(reason=reason or "")
        case "blocked":
            return Blocked(code=reason or "", reason="")
        case "rate_limited":
            return RateLimited(code=reason or "", until=until)
        case _:
            return Unknown(reason=reason or "")
