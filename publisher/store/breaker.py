"""A platform whose answers cannot be understood any more gets no creating calls until it can be read again."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, bindparam, delete, insert, select, update

from publisher.domain.account import Account, Platform
from publisher.domain.events import Actor
from publisher.domain.outcome import Health, NotSent, Ready, Submitted, Unknown
from publisher.domain.task import task_of
from publisher.store.books import Books
from publisher.store.engine import Unit
from publisher.store.ledger import clear_alerts, tell, write_audit
from publisher.store.rows import ATTEMPT, HEALTH, PAUSE, Answer, read_answer

IN_A_ROW = 5
"""So many creating answers in a row that nobody understands stop a platform."""
REST = timedelta(minutes=15)
"""For so long at least; then a probe that the platform answers well ends the stop, if no person has."""
PUZZLING = "answers_unreadable"
_SILENT = frozenset({"timeout", "reset", "reply_cut", "server_error"})
"""Reasons of doubts that say nothing about the shape of answers: there was none, or the platform was in trouble."""
_WINDOW = 40
_LAST = (
    select(ATTEMPT.c.outcome, ATTEMPT.c.detail)
    .where(ATTEMPT.c.account.in_(bindparam("accounts", expanding=True)), ATTEMPT.c.outcome.is_not(None))
    .order_by(ATTEMPT.c.id.desc())
    .limit(_WINDOW)
)


def is_puzzling(answer: Answer) -> bool:
    """Whether an answer came and could not be understood."""
    return isinstance(answer, Unknown) and not answer.is_duplicate and answer.reason not in _SILENT


def trip(books: Books, unit: Unit, platforms: Iterable[Platform], by: Actor) -> None:
    """Stop those of these platforms whose newest answers were all puzzling, tell people, and have them probed later."""
    for platform in platforms:
        accounts = [key for key, terms in books.terms.items() if terms.account.platform == platform]
        heard = list(_heard(unit.connection.execute(_LAST, {"accounts": accounts}).mappings()))[:IN_A_ROW]
        if len(heard) == IN_A_ROW and all(is_puzzling(answer) for answer in heard):
            _stop(books, unit, platform, by)


def _heard(rows: Iterable[RowMapping]) -> Iterator[Answer]:
    """Give those answers that a platform itself gave, newest first."""
    for row in rows:
        answer = read_answer(row["outcome"], row["detail"])
        is_silence = isinstance(answer, NotSent) or (isinstance(answer, Unknown) and answer.reason in _SILENT)
        is_by_hand = isinstance(answer, Submitted) and task_of(answer.ticket) is not None
        if not (is_silence or is_by_hand):
            yield answer


def _stop(books: Books, unit: Unit, platform: Platform, by: Actor) -> None:
    now, scope = books.world.now(), f"platform:{platform}"
    if unit.connection.execute(select(PAUSE.c.scope).where(PAUSE.c.scope == scope)).first() is not None:
        return
    unit.connection.execute(insert(PAUSE).values(scope=scope, at=now, by=by.name, reason=PUZZLING))
    write_audit(unit, now, by, event="paused", subject=scope, detail={"reason": PUZZLING})
    tell(unit, now, "platform_unreadable", scope, {"platform": platform, "number": str(IN_A_ROW)})
    for login in {terms.account.login for terms in books.terms.values() if terms.account.platform == platform}:
        turn = {"next_at": now + REST}
        if not unit.connection.execute(update(HEALTH).where(HEALTH.c.login == login).values(turn)).rowcount:
            unit.connection.execute(insert(HEALTH).values(login=login, **turn))


def hear_probe(unit: Unit, account: Account, health: Health, at: datetime, by: Actor) -> None:
    """Lift the stop of a platform that answers a probe well, if it has rested; else have it probed again.

    What a person has paused stays so.
    """
    scope = f"platform:{account.platform}"
    stop = unit.connection.execute(select(PAUSE.c.at).where(PAUSE.c.scope == scope, PAUSE.c.reason == PUZZLING)).first()
    if stop is None:
        return
    if isinstance(health, Ready) and stop.at <= at - REST:
        unit.connection.execute(delete(PAUSE).where(PAUSE.c.scope == scope))
        clear_alerts(unit, scope, at)
        write_audit(unit, at, by, event="resumed", subject=scope, detail={"reason": "probed"})
    else:
        again = update(HEALTH).where(HEALTH.c.login == account.login)
        unit.connection.execute(again.values(next_at=at + REST))
