"""SQL conditions on deliveries shared by queries. `row` is the delivery table or an alias of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    String,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from publisher.domain.account import Mode
from publisher.domain.delivery import DesiredState, State
from publisher.domain.post import MEMBER_MARK, ONCE_OCCURRENCE
from publisher.domain.results import RESULT_CODES, NotSent
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MODE_OVERRIDE,
    PAUSE,
    POST,
)

SCOPE_ALL = "all"
"""The scope of a pause that covers everything."""
SqlInstant = datetime | ColumnElement[datetime]
_DELIVERY_LOGIN = LOGIN.alias("delivery_login")
_NEWER = DELIVERY.alias("newer")
_FOLLOWED = DELIVERY.alias("followed")
"""Aliases of tables, made once.

An alias takes longer to make than the conditions that use it. The daemon builds the conditions each
second.
"""


def _text_literal(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'", String)


def in_state(row: FromClause, *states: State) -> ColumnElement[bool]:
    """True if a delivery is in one of these states.

    The states are literals: with bound values no partial index is used.
    """
    literals = [_text_literal(state) for state in states]
    state: ColumnElement[str] = row.c.state
    return state == literals[0] if len(literals) == 1 else state.in_(literals)


def in_open_state(row: FromClause, *states: State) -> ColumnElement[bool]:
    """True if a delivery is in one of these open states.

    The condition is written so that the index of open states is used.
    """
    ended = [_text_literal(name) for name in ("published", "cancelled", "expired")]
    return and_(row.c.state.not_in(ended), in_state(row, *states))


def is_named(post: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """True if the id of a post is this name, or that of a member of the family of this name."""
    start = f"{name}{MEMBER_MARK}"
    is_post = post == name
    if MEMBER_MARK in name:
        return is_post
    return or_(is_post, func.substr(post, 1, len(start)) == start)


LOGIN_IDLE_AFTER = timedelta(minutes=1)
"""The time since the last cooldown of a login after which it was idle. One call takes less."""


def may_call(
    row: FromClause, now: SqlInstant, due_by: SqlInstant | None = None
) -> ColumnElement[bool]:
    """True if a call that creates a post may begin at `now`. This is the one condition for it.

    It is checked at the claim, at the intent, and again right before the first byte. A delivery
    must be due by `due_by`. This is later than `now` when it is prepared ahead of its instant.
    """
    return and_(
        row.c.desired == _text_literal(DesiredState.AS_PLANNED.value),
        row.c.due_at <= (now if due_by is None else due_by),
        row.c.expires_at > now,
        ~is_late(row, now),
        ~is_superseded(row, now),
        ~is_paused(row),
        ~is_switched_off(row),
        original_is_published(row),
    )


def is_late(row: FromClause, now: SqlInstant) -> ColumnElement[bool]:
    """True if the first call would begin later than `max_delay` allows.

    Time in which a quota or a rate limit blocks the login does not count. From its end the whole
    `max_delay` runs again. A delivery that was too late before the login became busy stays too
    late. So does a delivery with a `max_delay` shorter than LOGIN_IDLE_AFTER.
    """
    is_over = _login_was_free(
        row,
        row.c.first_attempt_deadline,
        lambda free_since: free_since + row.c.max_delay < now,
    )
    is_tight = row.c.max_delay < literal(LOGIN_IDLE_AFTER, row.c.max_delay.type)
    return and_(
        row.c.first_attempt_deadline.is_not(None),
        row.c.first_attempt_deadline < now,
        or_(is_tight, is_over),
    )


def _login_was_free(
    row: FromClause,
    at: ColumnElement[Any],
    is_match: Callable[[ColumnElement[datetime]], ColumnElement[bool]],
) -> ColumnElement[bool]:
    """True if a delivery's login was not busy yet at an instant, or the cooldown end matches."""
    login = _DELIVERY_LOGIN
    free_since = case(
        (
            or_(
                row.c.is_urgent.is_(True),
                login.c.cooldown_until > login.c.routine_cooldown_until,
            ),
            login.c.cooldown_until,
        ),
        else_=login.c.routine_cooldown_until,
    )
    was_free = exists().where(
        login.c.id == row.c.login, or_(login.c.busy_since > at, is_match(free_since))
    )
    # by itself it would correlate with the innermost query only
    return was_free.correlate_except(login)


def is_superseded(row: FromClause, now: SqlInstant) -> ColumnElement[bool]:
    """True if this instant of a recurring post was missed: a later one is due, and it is uncalled.

    An instant blocked by a quota or a rate limit was not missed, unless the later one has been
    called already.
    """
    newer = _NEWER
    was_free = _login_was_free(
        row, row.c.due_at, lambda free_since: free_since <= newer.c.due_at
    )
    overtakes = exists().where(
        newer.c.post == row.c.post,
        newer.c.account == row.c.account,
        _is_recurring(newer),
        newer.c.due_at > row.c.due_at,
        newer.c.due_at <= now,
        newer.c.state != _text_literal(State.CANCELLED.value),
        newer.c.desired.in_(
            [
                _text_literal(desired)
                for desired in (DesiredState.AS_PLANNED, DesiredState.EDITED)
            ]
        ),
        or_(was_free, newer.c.first_attempt_deadline.is_(None)),
    )
    return and_(
        _is_recurring(row), row.c.first_attempt_deadline.is_not(None), overtakes
    )


def _is_recurring(row: FromClause) -> ColumnElement[bool]:
    """True for an instant of a recurring post.

    The occurrence of a resend has fractions of a second instead.
    """
    return and_(
        row.c.occurrence != _text_literal(ONCE_OCCURRENCE),
        ~row.c.occurrence.contains("."),
    )


def _is_of(post: ColumnElement[str], named: ColumnElement[str]) -> ColumnElement[bool]:
    """True if a post has this id, or is a member of the family of this name."""
    start = named.concat(MEMBER_MARK)
    return or_(post == named, func.substr(post, 1, func.length(start)) == start)


_IS_OF_POST = func.substr(PAUSE.c.scope, 1, len("post:")) == "post:"
_ANY_PAUSE = PAUSE.alias("any_pause")
_ANY_POST_PAUSED = exists().where(
    func.substr(_ANY_PAUSE.c.scope, 1, len("post:")) == "post:"
)


def is_paused(row: FromClause) -> ColumnElement[bool]:
    """True if a pause covers the delivery.

    A pause of a post covers it in every form: as an ordinary post, and as a family of regions. One
    of a single region covers the ordinary post on the region's accounts, and no other region.
    """
    post = literal("post:").concat(row.c.post)
    is_covered = exists().where(
        or_(
            PAUSE.c.scope == SCOPE_ALL,
            PAUSE.c.scope == literal("platform:").concat(row.c.platform),
            PAUSE.c.scope == literal("account:").concat(row.c.account),
            PAUSE.c.scope == post,
        )
    )
    paused = func.substr(PAUSE.c.scope, len("post:") + 1)
    in_another_form = exists().where(_IS_OF_POST, _is_form_of(row, paused))
    # without a pause of a post, which is rare, no pauses are gone through for each delivery
    return or_(is_covered, and_(_ANY_POST_PAUSED, in_another_form))


def _is_form_of(row: FromClause, name: ColumnElement[str]) -> ColumnElement[bool]:
    """True if a pause of this post covers a delivery, under whatever id of its family."""
    account = literal('"').concat(row.c.account).concat('"')
    is_for_account = (
        exists()
        .where(POST.c.id == name, POST.c.body.contains(account))
        .correlate_except(POST)
    )
    return or_(_is_of(row.c.post, name), and_(_is_of(name, row.c.post), is_for_account))


def is_in_scope(row: FromClause, scope: str) -> ColumnElement[bool]:
    """True if a pause of this scope would cover the delivery."""
    kind, _, name = scope.partition(":")
    if kind == "post":
        return _is_form_of(row, literal(name))
    columns = {"platform": row.c.platform, "account": row.c.account}
    return columns[kind] == name if kind in columns else literal(scope == SCOPE_ALL)


def counts_against_quota() -> ColumnElement[bool]:
    """True for an attempt that counts against its login's quota.

    A further part does not, nor does a manual post, or a call that never left.
    """
    return and_(
        ATTEMPT.c.part == literal_column("0"),
        ~ATTEMPT.c.is_manual,
        or_(
            ATTEMPT.c.outcome.is_(None),
            ATTEMPT.c.outcome != _text_literal(RESULT_CODES[NotSent]),
        ),
    )


def is_in_cooldown(now: SqlInstant) -> ColumnElement[bool]:
    """True if the delivery's login is in cooldown, by its quota or by a platform rate limit."""
    cooldowns = or_(
        LOGIN.c.cooldown_until > now,
        and_(~DELIVERY.c.is_urgent, LOGIN.c.routine_cooldown_until > now),
    )
    return exists().where(LOGIN.c.id == DELIVERY.c.login, cooldowns)


def is_switched_off(row: FromClause) -> ColumnElement[bool]:
    """True if a person has switched the delivery's account off at run time."""
    return exists().where(
        MODE_OVERRIDE.c.account == row.c.account, MODE_OVERRIDE.c.mode == Mode.OFF.value
    )


def mode_override(row: FromClause) -> ColumnElement[str | None]:
    """Return the mode that a person set for the delivery's account at run time, if any."""
    return (
        select(MODE_OVERRIDE.c.mode)
        .where(MODE_OVERRIDE.c.account == row.c.account)
        .scalar_subquery()
    )


def original_is_published(row: FromClause) -> ColumnElement[bool]:
    """True if the delivery follows no post, or that post is published on the same account.

    A post also counts as published if the platform has refused to delete it.
    """
    original = _FOLLOWED
    is_undeletable = and_(
        in_state(original, State.RETRACTING),
        original.c.remote_id.is_not(None),
        exists().where(
            ALERT.c.subject == subject_column(original),
            ALERT.c.code == "retraction_refused",
            ALERT.c.cleared_at.is_(None),
        ),
    )
    is_published = exists().where(
        original.c.post == row.c.follows,
        original.c.account == row.c.account,
        or_(in_state(original, State.PUBLISHED), is_undeletable),
    )
    return or_(row.c.follows.is_(None), is_published)


def is_in_force() -> ColumnElement[bool]:
    """True if the schedule has a post, and people have neither cancelled nor corrected it."""
    return and_(
        POST.c.is_scheduled, ~POST.c.is_cancelled, POST.c.corrected_by.is_(None)
    )


def subject_column(row: FromClause = DELIVERY) -> ColumnElement[str]:
    """Return a delivery's name as the audit spells it."""
    instant = case(
        (row.c.occurrence == ONCE_OCCURRENCE, ""),
        else_=literal("#").concat(row.c.occurrence),
    )
    name: ColumnElement[str] = (
        row.c.post.concat(instant).concat(literal("@")).concat(row.c.account)
    )
    return name
