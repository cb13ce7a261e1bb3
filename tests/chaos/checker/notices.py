"""The rules for notices: people are notified of alerts soon, once, and of their end (I10)."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter

from .history import (
    History,
    Interruption,
    Message,
    RecordedAlert,
    RecordedNotice,
    Violation,
)

NOTIFY_SECONDS = 60.0
"""Seconds until people must be notified of an alert, and until a due notice must be tried."""
LEASE_SECONDS = 30.0
"""Most seconds from a host's death after the first message to the second message.

The host had not yet noted that the first message was sent.
"""
CLOSE_SECONDS, MAX_CLOSE_SECONDS = 120.0, 86400.0
"""Seconds after the end of an alert until people are notified of it, doubled at each return."""
GIVE_UP_SECONDS = 86400.0
ABOUT_A_CHANNEL = "alert_channel_failing"
"""The alert that goes to the other channels only, where there are any."""
UNNOTICED_END = frozenset({"external_post"})
"""Alerts without a notice of their end."""
OPENED, CLOSED = "opened", "closed"
REPLACED_SECONDS = 1.0
"""Seconds after the end of an alert until another one about its subject no longer replaces it."""
UNNOTICED_SECONDS = 3600.0
"""Seconds after the end of an alert until a daemon notifies nobody of it."""


def people_are_notified(history: History) -> Iterator[Violation]:
    """I10: each alert is reported within a minute, once at its opening and by each notice.

    It is also reported at its end.
    """
    if "messages" not in history.given:
        return  # there were no channels
    notices_of = {
        alert: list(each) for alert, each in _grouped(history.notices, "alert")
    }
    for alert in history.alerts:
        notices = notices_of.get(alert.id, [])
        yield from _not_reported(history, alert, notices)
        yield from _not_closed(history, alert, notices)
        yield from _opened_twice(alert, notices)
    yield from _sent_twice(history)
    yield from _lost(history, notices_of)


def _not_reported(
    history: History, alert: RecordedAlert, notices: Sequence[RecordedNotice]
) -> Iterator[Violation]:
    """An alert that ends before anybody could be notified is reported at its end only."""
    limit = _working_until(history, alert.at, NOTIFY_SECONDS)
    is_short = alert.cleared is not None and alert.cleared <= limit
    if alert.code == ABOUT_A_CHANNEL or is_short or limit > _end(history):
        return
    if min((notice.at for notice in notices), default=limit + 1) > limit:
        yield _about(alert, "nobody was notified within a minute")


def _not_closed(
    history: History, alert: RecordedAlert, notices: Sequence[RecordedNotice]
) -> Iterator[Violation]:
    """An alert too short to be reported as new is reported as over, unless another replaced it."""
    if alert.cleared is None:
        return
    delay = min(CLOSE_SECONDS * 2.0**alert.reopenings, MAX_CLOSE_SECONDS)
    limit = _working_until(history, alert.cleared, delay + NOTIFY_SECONDS)
    is_replaced = alert.is_settled and any(
        other.id != alert.id
        and other.at <= alert.cleared + REPLACED_SECONDS
        and (other.cleared is None or other.cleared > alert.cleared)
        for other in history.alerts_on.get(alert.subject, ())
    )
    is_unnoticed = (
        alert.code == ABOUT_A_CHANNEL or limit >= alert.cleared + UNNOTICED_SECONDS
    )
    is_exempt = (
        is_replaced
        or (is_unnoticed and not notices)
        or alert.code in UNNOTICED_END
        or limit > _end(history)
    )
    if not is_exempt and not any(
        notice.kind == CLOSED and notice.at >= alert.cleared for notice in notices
    ):
        yield _about(alert, "over, and nobody was notified of that")


def _opened_twice(
    alert: RecordedAlert, notices: Sequence[RecordedNotice]
) -> Iterator[Violation]:
    if len({notice.key for notice in notices if notice.kind == OPENED}) > 1:
        yield _about(alert, "reported as new twice")


def _sent_twice(history: History) -> Iterator[Violation]:
    """Only a host that dies while it sends may cause a second message, with the same id."""
    accepted = [message for message in history.messages if message.is_accepted]
    for (channel, key), each in groupby(sorted(accepted, key=_by_key), key=_by_key):
        for first, second in pairwise(sorted(each, key=attrgetter("at"))):
            between = (
                one
                for one in history.interruptions
                if first.at - LEASE_SECONDS <= one.at <= second.at
            )
            if next(between, None) is None:
                yield Violation(
                    f"notice {key}",
                    f"sent twice to {channel}",
                    (f"messages:{second.line}",),
                )


def _lost(
    history: History, notices_of: dict[int | None, list[RecordedNotice]]
) -> Iterator[Violation]:
    """A notice ends when its channel accepts it, a later one replaces it, or a day has no alert."""
    accepted = {_by_key(message) for message in history.messages if message.is_accepted}
    for notice in history.notices:
        evidence = (f"notice:{notice.id}",)
        if notice.is_sent and (notice.channel, notice.key) not in accepted:
            yield Violation(
                f"notice {notice.key}",
                f"counts as sent, and {notice.channel} never got it",
                evidence,
            )
        if notice.ended is None:
            waits_since = max(notice.at, notice.next or 0.0)
            if _working_until(history, waits_since, NOTIFY_SECONDS) < _end(history):
                yield Violation(
                    f"notice {notice.key}",
                    f"due, and not sent to {notice.channel}",
                    evidence,
                )
        elif not notice.is_sent and notice.ended - notice.at < GIVE_UP_SECONDS:
            later = (
                other
                for other in notices_of.get(notice.alert, ())
                if other.at >= notice.ended
            )
            if (
                next(
                    (other for other in later if other.channel == notice.channel), None
                )
                is None
            ):
                yield Violation(
                    f"notice {notice.key}",
                    f"given up, and {notice.channel} got nothing else",
                    evidence,
                )


def _working_until(history: History, since: float, seconds: float) -> float:
    """Return the deadline of an action. Each interruption of a daemon starts the time again."""
    until = since + seconds + history.settings.tolerance
    for one in sorted(history.interruptions, key=attrgetter("at")):
        if one.at <= until and _end_of(history, one) >= since:
            until = max(until, _end_of(history, one) + seconds)
    return until


def _end_of(history: History, interruption: Interruption) -> float:
    """Give when a daemon could work again; of one that was stopped the plan knows for how long."""
    planned = (
        one.ends
        for one in history.plan.outages
        if one.begins <= interruption.at <= one.ends
    )
    return max(interruption.until, *planned, interruption.at)


def _end(history: History) -> float:
    return history.plan.ended if history.plan.ended is not None else float("inf")


def _by_key(message: Message) -> tuple[str, str]:
    return message.channel, message.key


def _grouped(
    notices: Sequence[RecordedNotice], name: str
) -> Iterator[tuple[int | None, Iterator[RecordedNotice]]]:
    ordered = sorted(
        notices,
        key=lambda one: (-1 if one.alert is None else one.alert, one.at, one.id),
    )
    return groupby(ordered, key=attrgetter(name))


def _about(alert: RecordedAlert, what: str) -> Violation:
    return Violation(
        f"{alert.code} about {alert.subject}", what, (f"alert:{alert.id}",)
    )
