"""Conditions on deliveries that several queries share."""

from typing import Any

from sqlalchemy import ColumnElement, exists, literal, or_

from publisher.domain.delivery import State
from publisher.store.rows import DELIVERY, PAUSE


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


def original_is_live(row: Any) -> ColumnElement[bool]:  # noqa: ANN401 # a table or an alias of it
    """Whether the post it follows, if any, is live on the same account."""
    original = DELIVERY.alias("followed")
    live = exists().where(
        original.c.post == row.c.follows,
        original.c.account == row.c.account,
        original.c.state == State.PUBLISHED.value,
    )
    return or_(row.c.follows.is_(None), live)


def subject_column() -> ColumnElement[str]:
    """Name a one-off delivery as the audit does."""
    return DELIVERY.c.post.concat(literal("@")).concat(DELIVERY.c.account)
