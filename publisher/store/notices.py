"""The outbox of notices: the notices to people about each alert, and their state by channel.

An alert is its own order to notify people. It is written in the transaction of its cause, and stays
unsettled until people have been notified that it is over. So no notice is lost with a process. A
notice is sent again only after a crash.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from publisher.domain.alert_classes import (
    ALERT_CLASSES,
    ROUTINE_CODES,
    Urgency,
    classify,
)
from publisher.domain.delivery import State
from publisher.settings_file import AlertsEntry
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED, NOTICE
from publisher.store.db.database import Transaction, in_transaction, try_lock
from publisher.store.db.filters import in_state
from publisher.store.db.rows import (
    EXTERNAL_POST,
    clear_alerts,
    keep_alert,
)
from publisher.store.db.tables import DELIVERY
from publisher.store.queries.queries import (
    MAX_STATUS_AGE,
    Alert,
    is_past,
    is_shown,
    is_shown_since,
    needs_person_now,
    to_alert,
)

CHANNEL_FAILING = "alert_channel_failing"
"""Code of the alert that notices do not reach a channel; the others report it."""
CHANNEL_REFUSED = "channel_refused"
"""Code of the problem that a channel works, and does not accept this message."""
NOTICE_LOCK = "notices"
PLAN_BATCH_SIZE = 200
"""How many alerts are handled in one transaction."""
MAX_CLAIMED = 1000
"""How many notices of a channel are claimed at once: one message is about all of them."""
MESSAGE_WINDOW = timedelta(minutes=1)
CLOSE_DELAY = timedelta(minutes=2)
"""The time that an alert must be over before people are notified of its end.

The time doubles each time that the alert has come back.
"""
MAX_CLOSE_DELAY = timedelta(days=1)
UNNOTICED_PERIOD = timedelta(hours=1)
"""An alert over for this long is left out if nobody was notified of it, for lack of a channel."""
NOTICE_LEASE = timedelta(seconds=30)
"""For how long one host alone sends a message: three times as long as a channel may take."""
FIRST_RETRY_DELAY, MAX_RETRY_DELAY = timedelta(seconds=5), timedelta(minutes=15)
FAILURES_BEFORE_CHANNEL_ALERT = 3
REFUSED_ALONE = "notice_refused"
"""Code of the failure of a notice that a channel refuses, while it accepts others."""
WAITS_FOR_DUTY = frozenset(
    code for code, known in ALERT_CLASSES.items() if known.urgency is not Urgency.URGENT
)
"""The alerts that wait for the next duty hours."""
GIVE_UP_AFTER = timedelta(days=1)
"""How long a notice is tried that no open alert needs."""
REPORT_PERIOD = timedelta(days=1)


class NoticeKind(StrEnum):
    """Why people are notified. The codes are stored."""

    OPENED = "opened"
    REPEATED = "repeated"
    RETURNED = "returned"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    DIGEST = "digest"
    CHECKPOINT = "checkpoint"


_ABOUT_OPEN_ALERTS = frozenset(
    {
        NoticeKind.OPENED,
        NoticeKind.REPEATED,
        NoticeKind.RETURNED,
        NoticeKind.ESCALATED,
    }
)


def _limit(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=ALERT.c.at.type)


def _may_need_notice() -> ColumnElement[bool]:
    """Return the condition for `next_notice`, without the delay of alerts that come back."""
    is_new = or_(
        ALERT.c.notice.in_(["", NoticeKind.CLOSED.value]), ALERT.c.noticed_at.is_(None)
    )
    is_acknowledged = and_(
        IS_ACKNOWLEDGED, ALERT.c.notice != NoticeKind.ACKNOWLEDGED.value
    )
    is_repeated = ALERT.c.noticed_at <= _limit("noticed_by")
    is_escalated = and_(
        bindparam("has_second", type_=Boolean),
        ALERT.c.escalated_at.is_(None),
        ALERT.c.at <= _limit("escalated_by"),
    )
    is_pressing = and_(
        is_shown_since(_limit("shown_since")),
        ALERT.c.code.not_in(ROUTINE_CODES),
        or_(is_repeated, is_escalated),
    )
    is_open = and_(
        ALERT.c.cleared_at.is_(None), or_(is_new, is_acknowledged, is_pressing)
    )
    return and_(
        ~ALERT.c.is_settled, or_(ALERT.c.cleared_at <= _limit("over_since"), is_open)
    )


_MAY_NEED_NOTICE = select(ALERT).where(_may_need_notice()).order_by(ALERT.c.id)
_MAY_BE_SENT = or_(
    bindparam("is_on_duty", type_=Boolean),
    NOTICE.c.kind == NoticeKind.CHECKPOINT.value,
    NOTICE.c.alert.in_(
        select(ALERT.c.id).where(ALERT.c.code.not_in(sorted(WAITS_FOR_DUTY)))
    ),
)
_IS_DUE = and_(
    NOTICE.c.ended_at.is_(None),
    _MAY_BE_SENT,
    or_(
        NOTICE.c.next_action_at <= _limit("now"),
        NOTICE.c.next_action_at > _limit("wrong_from"),
    ),
)
_DUE_CHANNELS = (
    select(NOTICE.c.channel, func.min(NOTICE.c.next_action_at).label("since"))
    .where(_IS_DUE)
    .group_by(NOTICE.c.channel)
)
_DUE = (
    select(NOTICE.c.id)
    .where(NOTICE.c.channel == bindparam("channel"), _IS_DUE)
    .order_by(NOTICE.c.id)
)
_DUE = _DUE.limit(bindparam("most", type_=Integer))


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyStatus:
    """Whether all notices may be sent now, or the urgent ones only.

    `since` is the begin of the present or last duty hours, and None without such hours.
    """

    is_on: bool = True
    since: datetime | None = None


ALWAYS_ON_DUTY = DutyStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingNotice:
    """A claimed notice for one channel. `detail` is the text of one that is about no alert.

    `last_error` is the code of the failure before this attempt.
    """

    id: int
    key: str
    kind: NoticeKind
    at: datetime
    attempts: int
    detail: str = ""
    alert: Alert | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestFacts:
    """The facts of a daily digest: open alerts, and deliveries of the last and the next day."""

    alerts: Sequence[Alert]
    published: int
    unpublished: int
    due: int


class NoticeStore(StorePart):
    """The notices of all hosts. Every method is one transaction."""

    async def plan(self, rules: AlertsEntry, duty: DutyStatus = ALWAYS_ON_DUTY) -> int:
        """Write the due notices. Return the number of alerts. Most runs write nothing.

        The number counts the alerts that the notices are about.
        """
        now = self.runtime.now()
        if not rules.first or not await self.database.read(find_due, rules, now, duty):
            return 0
        return await self.database.write(write_due, rules, now, duty)

    @in_transaction
    def add(
        self,
        transaction: Transaction,
        kind: NoticeKind,
        name: str,
        channels: Collection[str],
        detail: str = "",
    ) -> bool:
        """Write a notice about no alert, unless one of this name exists. True if it is new."""
        is_same = NOTICE.c.key.startswith(f"{name}@", autoescape=True)
        if (
            transaction.connection.scalar(select(NOTICE.c.id).where(is_same).limit(1))
            is not None
        ):
            return False
        older = (NOTICE.c.kind == kind.value, NOTICE.c.ended_at.is_(None))
        now = self.runtime.now()
        transaction.connection.execute(
            update(NOTICE).where(*older).values(ended_at=now)
        )
        _insert_notice(
            transaction, name=name, kind=kind, channels=channels, at=now, detail=detail
        )
        return True

    async def forget_channels(self, kept: Collection[str]) -> None:
        """End the notices for channels that the settings no longer name, and the alerts about them.

        A notice that no other channel has been given is planned again, for the channels that the
        settings name now. While they name none, the notice that an alert is over is left out.
        """
        if await self.database.read(names_others, kept):
            await self.database.write(end_others, kept, self.runtime.now())

    async def due_channels(
        self, duty: DutyStatus = ALWAYS_ON_DUTY
    ) -> Mapping[str, datetime]:
        """Return the channels with a due notice, each with the instant since which it is due."""
        limits = _due_limits(self.runtime.now(), duty)
        rows = await self.database.read_rows(_DUE_CHANNELS, limits)
        return {row.channel: row.since for row in rows}

    async def claim(
        self, channel: str, duty: DutyStatus = ALWAYS_ON_DUTY
    ) -> Sequence[PendingNotice]:
        """Claim the notices that are due on a channel, oldest first, for NOTICE_LEASE."""
        now = self.runtime.now()
        due = {"channel": channel, "most": MAX_CLAIMED, **_due_limits(now, duty)}
        if not await self.database.read_scalars(_DUE, due):
            return []
        return await self.database.write(lease_due, due, now + NOTICE_LEASE)

    async def count_messages(self, channel: str) -> int:
        """Return how many messages a channel has accepted within MESSAGE_WINDOW.

        The notices of one message ended at one instant.
        """
        now = self.runtime.now()
        of_window = (
            NOTICE.c.channel == channel,
            NOTICE.c.is_sent,
            NOTICE.c.ended_at > now - MESSAGE_WINDOW,
            NOTICE.c.ended_at
            <= now,  # a clock that was ahead may have dated some later
        )
        query = select(func.count(NOTICE.c.ended_at.distinct())).where(*of_window)
        return await self.database.read(lambda one: one.scalar(query) or 0)

    @in_transaction
    def release(
        self, transaction: Transaction, notices: Sequence[PendingNotice]
    ) -> None:
        """Return claimed notices that were not tried: they are due at once."""
        by_error: dict[str, list[int]] = {}
        for notice in notices:
            by_error.setdefault(notice.last_error, []).append(notice.id)
        for error, ids in by_error.items():
            values = {
                "next_action_at": self.runtime.now(),
                "attempts": NOTICE.c.attempts - 1,
                "error": error,
            }
            transaction.connection.execute(
                update(NOTICE).where(NOTICE.c.id.in_(ids)).values(values)
            )

    @in_transaction
    def record_sent(
        self,
        transaction: Transaction,
        channel: str,
        notices: Sequence[PendingNotice],
        refusal: str = "",
        *,
        has_refused_words: bool = False,
    ) -> None:
        """End notices that a channel has accepted.

        Notices that the channel has failed to send are due at once, because it works. With
        `has_refused_words` the one that it has refused is to blame itself, and waits. People are
        alerted to a `refusal` of some recipients.
        """
        now, ids = self.runtime.now(), [notice.id for notice in notices]
        transaction.connection.execute(
            update(NOTICE)
            .where(NOTICE.c.id.in_(ids))
            .values(ended_at=now, is_sent=True)
        )
        waiting = (NOTICE.c.channel == channel, NOTICE.c.ended_at.is_(None))
        if has_refused_words:
            transaction.connection.execute(
                update(NOTICE)
                .where(*waiting, NOTICE.c.error == CHANNEL_REFUSED)
                .values(error=REFUSED_ALONE)
            )
        have_failed = NOTICE.c.error.not_in(["", REFUSED_ALONE])
        transaction.connection.execute(
            update(NOTICE).where(*waiting, have_failed).values(next_action_at=now)
        )
        subject = f"channel:{channel}"
        if refusal:
            facts = {"channel": channel, "reason": refusal}
            keep_alert(transaction, now, CHANNEL_FAILING, subject, facts)
        else:
            clear_alerts(transaction, subject, now)

    @in_transaction
    def record_failure(  # noqa: PLR0913 # the facts of a failure
        self,
        transaction: Transaction,
        channel: str,
        notices: Sequence[PendingNotice],
        code: str,
        reason: str,
        *,
        wait: timedelta | None = None,
        failures: int = 0,
    ) -> None:
        """Let notices be tried again later: after `wait`, or at growing intervals.

        Alert people to a channel that goes on failing: with one of these notices, or with this
        number of `failures` in a row.
        """
        now = self.runtime.now()
        for notice in notices:
            values: dict[str, object] = {"error": code}
            if (
                notice.kind not in _ABOUT_OPEN_ALERTS
                and now >= notice.at + GIVE_UP_AFTER
            ):
                values["ended_at"] = now
            delay = wait or FIRST_RETRY_DELAY * 2 ** min(notice.attempts - 1, 10)
            values["next_action_at"] = now + min(delay, MAX_RETRY_DELAY)
            transaction.connection.execute(
                update(NOTICE).where(NOTICE.c.id == notice.id).values(values)
            )
        attempts = max(notice.attempts for notice in notices)
        if max(attempts, failures) >= FAILURES_BEFORE_CHANNEL_ALERT:
            facts = {"channel": channel, "reason": reason}
            keep_alert(transaction, now, CHANNEL_FAILING, f"channel:{channel}", facts)

    async def digest(self) -> DigestFacts:
        """Return the facts of the daily digest."""
        now = self.runtime.now()
        ended = and_(DELIVERY.c.due_at > now - REPORT_PERIOD, DELIVERY.c.due_at <= now)
        published = in_state(DELIVERY, State.PUBLISHED)
        unpublished = in_state(
            DELIVERY, State.HELD, State.FAILED, State.EXPIRED, State.REMOVED
        )
        coming = and_(
            DELIVERY.c.due_at > now,
            DELIVERY.c.due_at <= now + REPORT_PERIOD,
            in_state(DELIVERY, State.PENDING),
        )

        def read(connection: Connection) -> DigestFacts:
            def count(condition: ColumnElement[bool]) -> int:
                return (
                    connection.scalar(
                        select(func.count()).select_from(DELIVERY).where(condition)
                    )
                    or 0
                )

            alerts = select(ALERT).where(is_shown(now)).order_by(ALERT.c.id.desc())
            rows = connection.execute(alerts).mappings()
            return DigestFacts(
                alerts=sort_by_urgency([to_alert(row) for row in rows], now),
                published=count(and_(ended, published)),
                unpublished=count(and_(ended, unpublished)),
                due=count(coming),
            )

        return await self.database.read(read)


def sort_by_urgency(alerts: Sequence[Alert], now: datetime) -> Sequence[Alert]:
    """Return alerts with the most urgent first, and in their order where equally urgent.

    Alerts that need a person now come first, those that can wait for a working hour last.
    """
    return sorted(
        alerts,
        key=lambda alert: (
            alert.code in ROUTINE_CODES,
            not needs_person_now(alert, now),
            alert.code in WAITS_FOR_DUTY,
        ),
    )


def find_failing_others(connection: Connection, kept: Collection[str]) -> set[str]:
    """Return the subjects of the open alerts about channels other than these."""
    failing = select(ALERT.c.subject).where(
        ALERT.c.code == CHANNEL_FAILING, ALERT.c.cleared_at.is_(None)
    )
    return set(connection.scalars(failing)) - {f"channel:{channel}" for channel in kept}


def names_others(connection: Connection, kept: Collection[str]) -> bool:
    """Return True if an alert or an unsent notice names a channel other than these."""
    unsent = select(NOTICE.c.id).where(*_unsent_by_others(kept)).limit(1)
    return (
        bool(find_failing_others(connection, kept))
        or connection.scalar(unsent) is not None
    )


def end_others(transaction: Transaction, kept: Collection[str], now: datetime) -> None:
    """End the notices for channels other than these, and the alerts about them."""
    unsent = _unsent_by_others(kept)
    for subject in sorted(find_failing_others(transaction.connection, kept)):
        clear_alerts(transaction, subject, now)
    other = NOTICE.alias()
    is_kept = or_(
        other.c.is_sent, and_(other.c.channel.in_(kept), other.c.ended_at.is_(None))
    )
    lost = select(NOTICE.c.alert).where(
        *unsent, ~exists().where(other.c.key == NOTICE.c.key, is_kept)
    )
    kinds = {
        NoticeKind.OPENED.value: "",
        NoticeKind.ACKNOWLEDGED.value: NoticeKind.OPENED.value,
    }
    unnoticed: dict[str, object] = {
        "notice": case(kinds, value=ALERT.c.notice, else_=ALERT.c.notice),
        "noticed_at": None,
        "is_settled": False if kept else ALERT.c.is_settled,
    }
    transaction.connection.execute(
        update(ALERT).where(ALERT.c.id.in_(lost)).values(unnoticed)
    )
    transaction.connection.execute(update(NOTICE).where(*unsent).values(ended_at=now))


def _unsent_by_others(kept: Collection[str]) -> Sequence[ColumnElement[bool]]:
    return NOTICE.c.channel.not_in(kept), NOTICE.c.ended_at.is_(None)


def find_due(
    connection: Connection, rules: AlertsEntry, now: datetime, duty: DutyStatus
) -> list[RowMapping]:
    """Return the alerts that people should now get a notice about, at most a batch of them."""
    limits = {
        "over_since": now - CLOSE_DELAY,
        "noticed_by": now - rules.repeat_every,
        "escalated_by": now - rules.escalate_after,
        "shown_since": now - MAX_STATUS_AGE,
        "has_second": bool(rules.second),
    }
    rows = connection.execute(_MAY_NEED_NOTICE, limits).mappings()
    due = [row for row in rows if next_notice(row, rules, now, duty)]
    return due[:PLAN_BATCH_SIZE]


def write_due(
    transaction: Transaction, rules: AlertsEntry, now: datetime, duty: DutyStatus
) -> int:
    """Write the due notices. Return the number of alerts that they are about."""
    if not try_lock(transaction, NOTICE_LOCK):
        return 0
    due = find_due(transaction.connection, rules, now, duty)
    for row in due:
        write_notice(transaction, row, rules, now, duty)
    return len(due)


def lease_due(
    transaction: Transaction, due: Mapping[str, object], until: datetime
) -> Sequence[PendingNotice]:
    """Claim the notices that `_DUE` finds, up to an instant."""
    if not try_lock(transaction, NOTICE_LOCK):
        return []
    connection = transaction.connection
    ids = connection.scalars(_DUE, due).all()
    query = select(NOTICE).where(NOTICE.c.id.in_(ids)).order_by(NOTICE.c.id)
    rows = connection.execute(query).mappings().all()
    leased = {
        "next_action_at": until,
        "attempts": NOTICE.c.attempts + 1,
        "error": "",
    }
    connection.execute(update(NOTICE).where(NOTICE.c.id.in_(ids)).values(leased))
    about = select(ALERT).where(
        ALERT.c.id.in_([row["alert"] for row in rows if row["alert"] is not None])
    )
    alerts = {row["id"]: to_alert(row) for row in connection.execute(about).mappings()}
    return [
        PendingNotice(
            id=row["id"],
            key=row["key"],
            kind=NoticeKind(row["kind"]),
            at=row["at"],
            attempts=row["attempts"] + 1,
            detail=row["detail"],
            alert=alerts.get(row["alert"]),
            last_error=row["error"],
        )
        for row in rows
    ]


def next_notice(
    row: RowMapping,
    rules: AlertsEntry,
    now: datetime,
    duty: DutyStatus = ALWAYS_ON_DUTY,
) -> NoticeKind | None:
    """Return the notice that people should now get about an alert, if any."""
    waits_for_duty = row["code"] in WAITS_FOR_DUTY
    if waits_for_duty and not duty.is_on:
        return None
    if row["cleared_at"] is not None:
        delay = min(CLOSE_DELAY * 2 ** min(row["reopenings"], 20), MAX_CLOSE_DELAY)
        return NoticeKind.CLOSED if now >= row["cleared_at"] + delay else None
    if not row["notice"]:
        return NoticeKind.OPENED
    if row["notice"] == NoticeKind.CLOSED:
        return NoticeKind.REPEATED
    if row["dismissed_at"] is not None and row["returned_at"] is None:
        return (
            None
            if row["notice"] == NoticeKind.ACKNOWLEDGED
            else NoticeKind.ACKNOWLEDGED
        )
    if row["noticed_at"] is None:
        return NoticeKind.RETURNED if row["returned_at"] else NoticeKind.REPEATED
    if row["code"] in ROUTINE_CODES:
        return None
    known_since = row["returned_at"] or row["at"]
    if waits_for_duty and duty.since is not None:
        known_since = max(known_since, duty.since)
    if (
        rules.second
        and row["escalated_at"] is None
        and now >= known_since + rules.escalate_after
    ):
        return NoticeKind.ESCALATED
    return (
        NoticeKind.REPEATED if now >= row["noticed_at"] + rules.repeat_every else None
    )


def choose_channels(
    row: RowMapping, rules: AlertsEntry, kind: NoticeKind
) -> Sequence[str]:
    """Return the channels of a notice: those of its audience, and the second list if escalated.

    The alert about a channel goes to others.
    """
    first = rules.channels_for(classify(row["code"]).audience)
    if kind is NoticeKind.ESCALATED:
        chosen = list(rules.second)
    else:
        is_escalated = row["escalated_at"] is not None
        chosen = [*first, *(rules.second if is_escalated else ())]
    if row["code"] != CHANNEL_FAILING:
        return list(dict.fromkeys(chosen))
    own = row["subject"].removeprefix("channel:")
    if chosen == [own]:
        chosen = [*rules.second, *rules.first]
    return [channel for channel in dict.fromkeys(chosen) if channel != own]


def write_notice(
    transaction: Transaction,
    row: RowMapping,
    rules: AlertsEntry,
    now: datetime,
    duty: DutyStatus,
) -> None:
    """Write the notice that an alert calls for. It replaces the unsent notices about it."""
    kind = next_notice(row, rules, now, duty)
    if kind is None:
        return
    is_closed = kind is NoticeKind.CLOSED
    is_forgotten = False
    if is_closed and not row["notice"]:
        could_know = max(row["cleared_at"], duty.since or row["cleared_at"])
        is_forgotten = now >= could_know + UNNOTICED_PERIOD
    channels = choose_channels(row, rules, kind)
    values: dict[str, object] = {
        "noticed_at": now,
        "notice": kind.value,
        "is_settled": is_closed,
    }
    if kind is NoticeKind.ESCALATED:
        values["escalated_at"] = now
    if not (is_forgotten or (is_closed and row["code"] == EXTERNAL_POST)):
        values["notices"] = row["notices"] + 1
        unsent = (
            NOTICE.c.alert == row["id"],
            NOTICE.c.channel.in_(channels),
            NOTICE.c.ended_at.is_(None),
        )
        transaction.connection.execute(
            update(NOTICE).where(*unsent).values(ended_at=now)
        )
        name = f"{row['id']}-{row['notices'] + 1}"
        _insert_notice(
            transaction,
            name=name,
            kind=kind,
            channels=channels,
            at=now,
            alert=row["id"],
        )
    transaction.connection.execute(
        update(ALERT).where(ALERT.c.id == row["id"]).values(values)
    )


def _insert_notice(  # noqa: PLR0913 # the columns of a notice
    transaction: Transaction,
    *,
    name: str,
    kind: NoticeKind,
    channels: Collection[str],
    at: datetime,
    alert: int | None = None,
    detail: str = "",
) -> None:
    key = f"{name}@{at.isoformat()}"  # after a restore of an older backup the name is used again
    columns = {
        "key": key,
        "kind": kind.value,
        "alert": alert,
        "at": at,
        "next_action_at": at,
        "detail": detail,
    }
    if rows := [{**columns, "channel": channel} for channel in dict.fromkeys(channels)]:
        transaction.connection.execute(insert(NOTICE), rows)


def _due_limits(now: datetime, duty: DutyStatus) -> Mapping[str, object]:
    """Return the parameters of `_IS_DUE`.

    A time that lies further ahead than any retry was written by a wrong clock.
    """
    wrong_from = now + MAX_RETRY_DELAY + NOTICE_LEASE
    return {"now": now, "wrong_from": wrong_from, "is_on_duty": duty.is_on}


def prune_notices(transaction: Transaction, before: datetime) -> int:
    """Delete the notices that ended before an instant. Return how many."""
    return transaction.connection.execute(
        delete(NOTICE).where(NOTICE.c.ended_at < before)
    ).rowcount


def prune_alerts(transaction: Transaction, now: datetime, before: datetime) -> int:
    """Delete the alerts that ended before an instant, unless a notice is unsent. Return the number.

    An ended alert that is not shown any more counts as over, and is settled. No run looks at it
    again.
    """
    connection = transaction.connection
    connection.execute(
        update(ALERT).where(~ALERT.c.is_settled, is_past(now)).values(is_settled=True)
    )
    is_over = or_(ALERT.c.cleared_at < before, and_(is_past(now), ALERT.c.at < before))
    is_unsent = exists().where(
        NOTICE.c.alert == ALERT.c.id, NOTICE.c.ended_at.is_(None)
    )
    return connection.execute(delete(ALERT).where(is_over, ~is_unsent)).rowcount
