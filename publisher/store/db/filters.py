"""Conditions on deliveries that several queries share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, String, and_, case, exists, literal, literal_column, or_, select

from publisher.domain.account import Mode
from publisher.domain.delivery import DesiredState, State
from publisher.domain.post import ONCE_OCCURRENCE
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.db.mappers import ALERT, ATTEMPT, DELIVERY, LOGIN, MODE_OVERRIDE, PAUSE


def in_state(row: Any, *states: State) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a delivery is in one of these states, spelled out: a bound value would hide which index fits."""
    spelled = [literal_column(f"'{state.value}'", String) for state in states]
    state: ColumnElement[str] = row.c.state
    return state == spelled[0] if len(spelled) == 1 else state.in_(spelled)


def in_open_state(row: Any, *states: State) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a delivery is in one of these states that are neither live nor over, spelled so that their index fits."""
    ended = [literal_column(f"'{name}'", String) for name in ("published", "cancelled", "expired")]
    return and_(row.c.state.not_in(ended), in_state(row, *states))


LOGIN_IDLE_AFTER = timedelta(minutes=1)
"""A login whose last wait ended longer ago than this was free meanwhile; that is longer than one call takes."""


def may_call(row: Any, now: Any, due_by: Any = None) -> ColumnElement[bool]:  # noqa: ANN401 # tables, bound instants
    """Return the one condition on which a creating call may begin at `now`.

    It is asked at the claim, at the intent, and again right before the first byte. `due_by`: until when it must be due,
    where that is not `now`, as what is due in a moment is prepared before.
    """
    return and_(
        row.c.desired == literal_column(f"'{DesiredState.AS_PLANNED.value}'", String),
        row.c.due_at <= (now if due_by is None else due_by),
        row.c.expires_at > now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_paused(row),
        ~is_switched_off(row),
        original_is_published(row),
    )


def is_late(row: Any, now: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it, a bound instant
    """True if the first creating call would begin later than staff allowed.

    While a quota or a rate limit keeps the login back the time does not run: from its end on there is as much again.
    But what was too late before the login became busy stays too late, and so does what may be late by less than a break
    in which the login still counts as busy.
    """
    is_over = _login_was_free(row, row.c.first_attempt_deadline, lambda free_since: free_since + row.c.max_delay < now)
    is_tight = row.c.max_delay < literal(LOGIN_IDLE_AFTER, row.c.max_delay.type)
    return and_(row.c.first_attempt_deadline.is_not(None), row.c.first_attempt_deadline < now, or_(is_tight, is_over))


def _login_was_free(
    row: Any,  # noqa: ANN401 # a table or an alias of it
    at: ColumnElement[Any],
    is_match: Callable[[ColumnElement[datetime]], ColumnElement[bool]],
) -> ColumnElement[bool]:
    """True if a delivery's login was not yet busy at an instant, or something holds of when it is free again."""
    login = LOGIN.alias("speaker")
    free_since = case(
        (
            or_(row.c.is_urgent.is_(True), login.c.cooldown_until > login.c.routine_cooldown_until),
            login.c.cooldown_until,
        ),
        else_=login.c.routine_cooldown_until,
    )
    return exists().where(login.c.id == row.c.login, or_(login.c.busy_since > at, is_match(free_since)))


def is_superseded(row: Any, now: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias, a bound instant
    """True if this instant of a repeating post was missed: a later one is due, and this one has not been called yet.

    What a quota or a limit kept back was not missed, unless the later one has been called already.
    """
    newer = DELIVERY.alias("newer")
    was_free = _login_was_free(row, row.c.due_at, lambda free_since: free_since <= newer.c.due_at)
    overtakes = exists().where(
        newer.c.post == row.c.post,
        newer.c.account == row.c.account,
        _is_recurring(newer),
        newer.c.due_at > row.c.due_at,
        newer.c.due_at <= now,
        newer.c.state != literal_column(f"'{State.CANCELLED.value}'", String),
        newer.c.desired.in_(
            [literal_column(f"'{one.value}'", String) for one in (DesiredState.AS_PLANNED, DesiredState.EDITED)]
        ),
        or_(was_free, newer.c.first_attempt_deadline.is_(None)),
    )
    return and_(_is_recurring(row), row.c.first_attempt_deadline.is_not(None), overtakes)


def _is_recurring(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """True for an instant of a repeating post; what a person orders again is labelled by the moment, with fractions."""
    return and_(row.c.occurrence != literal_column(f"'{ONCE_OCCURRENCE}'", String), ~row.c.occurrence.contains("."))


def is_paused(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a pause covers the delivery."""
    return exists().where(
        or_(
            PAUSE.c.scope == "all",
            PAUSE.c.scope == literal("platform:").concat(row.c.platform),
            PAUSE.c.scope == literal("account:").concat(row.c.account),
            PAUSE.c.scope == literal("post:").concat(row.c.post),
        )
    )


def is_in_scope(row: Any, scope: str) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """True if a pause of this scope would cover the delivery."""
    kind, _, name = scope.partition(":")
    columns = {"platform": row.c.platform, "account": row.c.account, "post": row.c.post}
    return columns[kind] == name if kind in columns else literal(scope == "all")


def counts_against_quota() -> ColumnElement[bool]:
    """True for an attempt that counts against its login's quota.

    Neither a further floor does, nor a post that a person makes, nor a call that never left.
    """
    return and_(
        ATTEMPT.c.part == literal_column("0"),
        ~ATTEMPT.c.is_manual,
        or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome != literal_column(f"'{RESULT_CODES[NotSent]}'", String)),
    )


def is_in_cooldown(now: datetime) -> ColumnElement[bool]:
    """Whether the delivery's login may not speak yet, by its own quota or the platform's word."""
    cooldowns = or_(LOGIN.c.cooldown_until > now, and_(~DELIVERY.c.is_urgent, LOGIN.c.routine_cooldown_until > now))
    return exists().where(LOGIN.c.id == DELIVERY.c.login, cooldowns)


def is_switched_off(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether people have switched the delivery's account off at run time."""
    return exists().where(MODE_OVERRIDE.c.account == row.c.account, MODE_OVERRIDE.c.mode == Mode.OFF.value)


def mode_override(row: Any) -> ScalarSelect[str | None]:  # noqa: ANN401 # a table or an alias of it
    """Give the mode that people ordered for the delivery's account at run time, if any."""
    return select(MODE_OVERRIDE.c.mode).where(MODE_OVERRIDE.c.account == row.c.account).scalar_subquery()


def original_is_published(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether the post it follows, if any, is live on the same account: published, or not to be taken down."""
    original = DELIVERY.alias("followed")
    stays = and_(
        in_state(original, State.RETRACTING),
        original.c.remote_id.is_not(None),
        exists().where(
            ALERT.c.subject == subject_column(original),
            ALERT.c.code == "retraction_refused",
            ALERT.c.cleared_at.is_(None),
        ),
    )
    live = exists().where(
        original.c.post == row.c.follows,
        original.c.account == row.c.account,
        or_(in_state(original, State.PUBLISHED), stays),
    )
    return or_(row.c.follows.is_(None), live)


def subject_column(row: Any = DELIVERY) -> ColumnElement[str]:  # noqa: ANN401 # a table or an alias of it
    """Name a delivery as the audit does."""
    instant = case((row.c.occurrence == ONCE_OCCURRENCE, ""), else_=literal("#").concat(row.c.occurrence))
    name: ColumnElement[str] = row.c.post.concat(instant).concat(literal("@")).concat(row.c.account)
    return name
