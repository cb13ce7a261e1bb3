"""A platform whose answers cannot be understood any more gets no creating calls until it can be read again."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, bindparam, delete, insert, select, update

from publisher.domain.account import Account, Platform
from publisher.domain.delivery import parse_manual_task
from publisher.domain.events import Actor
from publisher.domain.results import HealthCheckResult, Healthy, NotSent, Submitted, Unknown
from publisher.store.audit.append import clear_alerts, raise_alert, write_audit
from publisher.store.db.database import Transaction
from publisher.store.db.mappers import ATTEMPT, LOGIN_HEALTH, PAUSE, CallResult, load_result
from publisher.store.store import Store

FAILURE_THRESHOLD = 5
"""So many creating answers in a row that nobody understands stop a platform."""
OPEN_DURATION = timedelta(minutes=15)
"""For so long at least; then a probe that the platform answers well ends the stop, if no person has."""
RESPONSES_UNREADABLE = "responses_unreadable"
_NO_RESPONSE_REASONS = frozenset({"timeout", "reset", "response_truncated", "server_error"})
"""Reasons of doubts that say nothing about the shape of answers: there was none, or the platform was in trouble."""
_WINDOW_ATTEMPTS = 40
_LAST_RESULTS = (
    select(ATTEMPT.c.outcome, ATTEMPT.c.detail)
    .where(ATTEMPT.c.account.in_(bindparam("accounts", expanding=True)), ATTEMPT.c.outcome.is_not(None))
    .order_by(ATTEMPT.c.id.desc())
    .limit(_WINDOW_ATTEMPTS)
)


def is_unreadable(result: CallResult) -> bool:
    """Whether an answer came and could not be understood."""
    return isinstance(result, Unknown) and not result.is_duplicate and result.reason not in _NO_RESPONSE_REASONS


def trip_breakers(store: Store, transaction: Transaction, platforms: Iterable[Platform], by: Actor) -> None:
    """Stop those of these platforms whose newest answers were all puzzling, tell people, and have them probed later."""
    for platform in platforms:
        accounts = [key for key, terms in store.policies.items() if terms.account.platform == platform]
        heard = list(
            _platform_results(transaction.connection.execute(_LAST_RESULTS, {"accounts": accounts}).mappings())
        )[:FAILURE_THRESHOLD]
        if len(heard) == FAILURE_THRESHOLD and all(is_unreadable(answer) for answer in heard):
            _open_breaker(store, transaction, platform, by)


def _platform_results(rows: Iterable[RowMapping]) -> Iterator[CallResult]:
    """Give those answers that a platform itself gave, newest first."""
    for row in rows:
        answer = load_result(row["outcome"], row["detail"])
        is_silence = isinstance(answer, NotSent) or (
            isinstance(answer, Unknown) and answer.reason in _NO_RESPONSE_REASONS
        )
        is_by_hand = isinstance(answer, Submitted) and parse_manual_task(answer.ticket) is not None
        if not (is_silence or is_by_hand):
            yield answer


def _open_breaker(store: Store, transaction: Transaction, platform: Platform, by: Actor) -> None:
    now, scope = store.runtime.now(), f"platform:{platform}"
    if transaction.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope)).first() is not None:
        return
    transaction.connection.execute(insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=RESPONSES_UNREADABLE))
    write_audit(transaction, now, by, event="paused", subject=scope, detail={"reason": RESPONSES_UNREADABLE})
    raise_alert(
        transaction, now, "circuit_breaker_open", scope, {"platform": platform, "number": str(FAILURE_THRESHOLD)}
    )
    for login in {terms.account.login for terms in store.policies.values() if terms.account.platform == platform}:
        turn = {"next_action_at": now + OPEN_DURATION}
        if not transaction.connection.execute(
            update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == login).values(turn)
        ).rowcount:
            transaction.connection.execute(insert(LOGIN_HEALTH).values(login=login, **turn))


def update_breaker(
    transaction: Transaction, account: Account, health: HealthCheckResult, at: datetime, by: Actor
) -> None:
    """Lift the stop of a platform that answers a probe well, if it has rested; else have it probed again.

    What a person has paused stays so.
    """
    scope = f"platform:{account.platform}"
    stop = transaction.connection.execute(
        select(PAUSE.c.at).where(PAUSE.c.scope == scope, PAUSE.c.reason == RESPONSES_UNREADABLE)
    ).first()
    if stop is None:
        return
    if isinstance(health, Healthy) and stop.at <= at - OPEN_DURATION:
        transaction.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        clear_alerts(transaction, scope, at)
        write_audit(transaction, at, by, event="resumed", subject=scope, detail={"reason": "probed"})
    else:
        again = update(LOGIN_HEALTH).where(LOGIN_HEALTH.c.login == account.login)
        transaction.connection.execute(again.values(next_action_at=at + OPEN_DURATION))
