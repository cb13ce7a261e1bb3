"""Conditions on deliveries that several queries share."""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, String, case, exists, literal, literal_column, or_, select

from publisher.domain.account import Mode
from publisher.domain.delivery import State
from publisher.domain.post import ONCE
from publisher.store.rows import DELIVERY, MODE, PAUSE


def stands(row: Any, *states: State) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether a delivery is in one of these states, spelled out: a bound value would hide which index fits."""
    spelled = [literal_column(f"'{state.value}'", String) for state in states]
    state: ColumnElement[str] = row.c.state
    return state == spelled[0] if len(spelled) == 1 else state.in_(spelled)


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


def is_off(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether people have switched the delivery's account off at run time."""
    return exists().where(MODE.c.account == row.c.account, MODE.c.mode == Mode.OFF.value)


def ordered_mode(row: Any) -> ScalarSelect[str | None]:  # noqa: ANN401 # a table or an alias of it
    """Give the mode that people ordered for the delivery's account at run time, if any."""
    return select(MODE.c.mode).where(MODE.c.account == row.c.account).scalar_subquery()


def original_is_live(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether the post it follows, if any, is live on the same account."""
    original = DELIVERY.alias("followed")
    live = exists().where(
        original.c.post == row.c.follows,
        original.c.account == row.c.account,
        stands(original, State.PUBLISHED),
    )
    return or_(row.c.follows.is_(None), live)


def subject_column() -> ColumnElement[str]:
    """Name a delivery as the audit does."""
    instant = case((DELIVERY.c.label == ONCE, ""), else_=literal("#").concat(DELIVERY.c.label))
    return DELIVERY.c.post.concat(instant).concat(literal("@")).concat(DELIVERY.c.account)
