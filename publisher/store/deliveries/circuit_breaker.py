"""The circuit breaker: a platform whose responses are unreadable gets no sends until a health check succeeds."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select, update

from publisher.domain.account import Account, Platform
from publisher.domain.delivery import parse_manual_task
from publisher.domain.events import Actor
from publisher.domain.results import HealthCheckResult, Healthy, NotSent, Submitted, Unknown
from publisher.store.audit.append import clear_alerts, raise_alert, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import ATTEMPT, LOGIN_HEALTH, PAUSE, CallResult, load_result
from publisher.store.store import Store

FAILURE_THRESHOLD = 5
"""How many unreadable responses to sends, in a row, pause a platform."""
OPEN_DURATION = timedelta(minutes=15)
"""The pause lasts at least this long; after that, a successful health check ends it, if no person has."""
RESPONSES_UNREADABLE = "responses_unreadable"
_NO_RESPONSE_REASONS = frozenset({"timeout", "reset", "response_truncated", "server_error"})
"""Reasons of unknown outcomes that show no response format: there was none, or the platform had a fault."""
_LAST_RESULTS = (
    select(ATTEMPT.c.outcome, ATTEMPT.c.detail)
    .where(ATTEMPT.c.account.in_(bindparam("accounts", expanding=True)), ATTEMPT.c.outcome.is_not(None))
    .order_by(ATTEMPT.c.id.desc())
    .limit(40)
)


def is_unreadable(result: CallResult) -> bool:
    """Return True if a response came and could not be interpreted."""
    return isinstance(result, Unknown) and not result.is_duplicate and result.reason not in _NO_RESPONSE_REASONS


def trip_breakers(store: Store, transaction: Transaction, platforms: Iterable[Platform], by: Actor) -> None:
    """Pause those platforms whose newest responses were all unreadable, alert staff, and schedule health checks.

    Only what the platform itself answered counts: no timeouts, no calls that never left, no manual posts.
    """
    now = store.runtime.now()
    for platform in platforms:
        policies = {key: policy for key, policy in store.policies.items() if policy.account.platform == platform}
        responses: list[CallResult] = []
        for row in transaction.connection.execute(_LAST_RESULTS, {"accounts": list(policies)}).mappings():
            result = load_result(row["outcome"], row["detail"])
            has_no_response = isinstance(result, NotSent) or (
                isinstance(result, Unknown) and result.reason in _NO_RESPONSE_REASONS
            )
            is_manual = isinstance(result, Submitted) and parse_manual_task(result.ticket) is not None
            if not (has_no_response or is_manual):
                responses.append(result)
        newest, scope = responses[:FAILURE_THRESHOLD], f"platform:{platform}"
        if len(newest) < FAILURE_THRESHOLD or not all(map(is_unreadable, newest)):
            continue
        if transaction.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope)).first() is not None:
            continue
        pause = {"scope": scope, "at": now, "by": by.name, "reason": RESPONSES_UNREADABLE}
        transaction.connection.execute(insert(PAUSE).values(pause))
        write_audit(transaction, now, by, event="paused", subject=scope, detail={"reason": RESPONSES_UNREADABLE})
        facts = {"platform": platform, "number": str(FAILURE_THRESHOLD)}
        raise_alert(transaction, now, "circuit_breaker_open", scope, facts)
        next_check = {"next_action_at": now + OPEN_DURATION}
        for login in {policy.account.login for policy in policies.values()}:
            postpone = update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == login).values(next_check)
            if not transaction.connection.execute(postpone).rowcount:
                transaction.connection.execute(insert(LOGIN_HEALTH).values(login=login, **next_check))


def update_breaker(
    transaction: Transaction, account: Account, health: HealthCheckResult, at: datetime, by: Actor
) -> None:
    """Resume a platform after a successful health check, once OPEN_DURATION has passed; else schedule another check.

    A pause that a person ordered stays.
    """
    scope = f"platform:{account.platform}"
    pause = transaction.connection.execute(
        select(PAUSE.c.at).where(PAUSE.c.scope == scope, PAUSE.c.reason == RESPONSES_UNREADABLE)
    ).first()
    if pause is None:
        return
    if isinstance(health, Healthy) and pause.at <= at - OPEN_DURATION:
        transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        clear_alerts(transaction, scope, at)
        write_audit(transaction, at, by, event="resumed", subject=scope, detail={"reason": "probed"})
    else:
        schedule = update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == account.login)
        transaction.connection.execute(schedule.values(next_action_at=at + OPEN_DURATION))
