"""Conditions on deliveries that several queries share."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, String, and_, case, exists, literal, literal_column, or_, select

from publisher.domain.account import Mode
from publisher.domain.delivery import State
from publisher.domain.post import ONCE
from publisher.store.rows import ALERT, DELIVERY, LOGIN, MODE, PAUSE


def stands(row: Any, *states: State) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a delivery is in one of these states, spelled out: a bound value would hide which index fits."""
    spelled = [literal_column(f"'{state.value}'", String) for state in states]
    state: ColumnElement[str] = row.c.state
    return state == spelled[0] if len(spelled) == 1 else state.in_(spelled)


def stands_open(row: Any, *states: State) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a delivery is in one of these states that are neither live nor over, spelled so that their index fits."""
    ended = [literal_column(f"'{name}'", String) for name in ("published", "cancelled", "expired")]
    return and_(row.c.state.not_in(ended), stands(row, *states))


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


def is_resting(now: datetime) -> ColumnElement[bool]:
    """Whether the delivery's login may not speak yet, by its own quota or the platform's word."""
    rests = or_(LOGIN.c.rests_until > now, and_(~DELIVERY.c.is_urgent, LOGIN.c.routine_until > now))
    return exists().where(LOGIN.c.id == DELIVERY.c.login, rests)


def is_off(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether people have switched the delivery's account off at run time."""
    return exists().where(MODE.c.account == row.c.account, MODE.c.mode == Mode.OFF.value)


def ordered_mode(row: Any) -> ScalarSelect[str | None]:  # noqa: ANN401 # a table or an alias of it
    """Give the mode that people ordered for the delivery's account at run time, if any."""
    return select(MODE.c.mode).where(MODE.c.account == row.c.account).scalar_subquery()


def original_is_live(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether the post it follows, if any, is live on the same account: published, or not to be taken down."""
    original = DELIVERY.alias("followed")
    stays = and_(
        stands(original, State.RETRACTING),
        original.c.remote_id.is_not(None),
        exists().where(
            ALERT.c.subject == subject_column(original), ALERT.c.code == "retract_refused", ALERT.c.cleared_at.is_(None)
        ),
    )
    live = exists().where(
        original.c.post == row.c.follows,
        original.c.account == row.c.account,
        or_(stands(original, State.PUBLISHED), stays),
    )
    return or_(row.c.follows.is_(None), live)


def subject_column(row: Any = DELIVERY) -> ColumnElement[str]:  # noqa: ANN401 # a table or an alias of it
    """Name a delivery as the audit does."""
    instant = case((row.c.label == ONCE, ""), else_=literal("#").concat(row.c.label))
    name: ColumnElement[str] = row.c.post.concat(instant).concat(literal("@")).concat(row.c.account)
    return name
