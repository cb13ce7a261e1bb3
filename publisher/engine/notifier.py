"""Notify people of alerts by the settings' channels, at least once, while an alert is open."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from publisher.domain.audit_chain import Checkpoint, format_checkpoint
from publisher.domain.errors import Problem
from publisher.engine.notice_groups import NoticeGroup, group_notices
from publisher.engine.notice_writer import NoticeWriter
from publisher.runtime.logs import log
from publisher.settings_file import AlertsEntry
from publisher.store.notices import (
    CHANNEL_REFUSED,
    MESSAGE_WINDOW,
    NOTICE_LEASE,
    REFUSED_ALONE,
    DutyStatus,
    NoticeKind,
    PendingNotice,
)
from publisher.store.queries.queries import Alert
from publisher.store.store import Store

GATHER_PERIOD = timedelta(seconds=3)
"""How long a message waits after its first notice, so that others of its cause join it."""
MAX_MESSAGES = 3
"""How many messages a channel gets within MESSAGE_WINDOW."""
MAX_CALLS = 15
"""How many messages are tried within MESSAGE_WINDOW: a bot of WeCom or DingTalk allows 20."""
RATE_LIMIT_WAIT = timedelta(minutes=1)
"""How long a channel is left alone that has had too many messages."""
CHANNEL_RATE_LIMITED = "channel_rate_limited"
"""Code of the problem that a channel has had too many messages: nothing is wrong with this one."""
CHANNEL_PARTLY_REFUSED = "channel_partly_refused"
"""Code of the problem that a channel accepts a message for some of its recipients alone."""
MAX_LATENESS = timedelta(hours=3)
"""How late the daily digest may still be sent, by a daemon that did not run at its hour."""


class SendMessage(Protocol):
    """Sends a message to a channel."""

    async def __call__(
        self,
        channel: str,
        *,
        ids: Sequence[str],
        title: str,
        body: str,
        is_problem: bool = True,
    ) -> Problem | None:
        """Return why the channel has not accepted a message, or None.

        `ids` are the same when it is sent again.
        """
        ...


@dataclass(slots=True, kw_only=True)
class ChannelPace:
    """How often, and with how much, this process may call one channel."""

    calls: deque[tuple[float, bool]] = field(default_factory=deque)
    """The instants of the calls within MESSAGE_WINDOW, and whether each was accepted."""
    blocked_until: float = float("-inf")
    max_groups: int | None = None
    """How many groups the next message may have; None for all."""
    refusals: int = 0
    """How many times the channel has refused a group by itself since it has accepted one."""

    def may_call(self, now: float, accepted_by_others: int) -> bool:
        """Return True unless the channel has had its share. `now` is monotonic."""
        while self.calls and self.calls[0][0] <= now - MESSAGE_WINDOW.total_seconds():
            self.calls.popleft()
        accepted = sum(is_accepted for _at, is_accepted in self.calls)
        return (
            now >= self.blocked_until
            and len(self.calls) < MAX_CALLS
            and max(accepted, accepted_by_others) < MAX_MESSAGES
        )

    def record_accepted(self, left: int) -> None:
        """Let the next message have more groups. `left` groups still wait."""
        self.refusals = 0
        if self.max_groups is not None:
            doubled = self.max_groups * 2
            self.max_groups = doubled if doubled < left else None

    def record_refused(self, shown: int) -> None:
        """Let the next message have half of the groups.

        After one that was refused by itself it may have all again: the others may be fine. If the
        next one is refused too, it is the channel, and they go one by one.
        """
        if shown > 1:
            self.max_groups = shown // 2
        else:
            self.refusals += 1
            self.max_groups = None if self.refusals == 1 else 1


@dataclass(slots=True, kw_only=True)
class Notifier:
    """The job that notifies people.

    `read_checkpoint` returns the signed head of the audit, if there is one.
    """

    store: Store
    rules: AlertsEntry
    timezone: ZoneInfo
    writer: NoticeWriter
    send: SendMessage
    read_checkpoint: Callable[[], Awaitable[Checkpoint | None]]
    gather_period: timedelta = GATHER_PERIOD
    _paces: dict[str, ChannelPace] = field(default_factory=dict)
    _reported_day: date | None = None
    """The day of the last written digest and checkpoint."""
    _has_forgotten: bool = False
    """False while there may be notices for channels that the settings no longer name."""

    async def run(self, *, is_last: bool = False) -> int:
        """Write the due notices, and send the unsent ones, on all channels at once.

        Return how many. In the `last` run of a process they wait for no others.
        """
        if not self._has_forgotten:
            await self.store.notices.forget_channels(self.rules.channels)
            self._has_forgotten = True
        if not self.rules.channels:
            return 0
        duty = self.read_duty()
        await self.store.notices.plan(self.rules, duty)
        await self.plan_daily()
        due = await self.store.notices.due_channels(duty)
        now = self.store.runtime.now()
        # a host that has other settings would have claimed it
        unclaimed = now - NOTICE_LEASE
        self._has_forgotten = all(
            since > unclaimed
            for name, since in due.items()
            if name not in self.rules.channels
        )
        gathered = timedelta() if is_last else self.gather_period
        ready = [
            channel
            for channel in self.rules.channels
            if channel in due and not timedelta() <= now - due[channel] < gathered
        ]
        return sum(
            await asyncio.gather(*(self.send_to(channel, duty) for channel in ready))
        )

    def read_duty(self) -> DutyStatus:
        """Return whether it is within the settings' duty hours."""
        hours = self.rules.duty_hours
        if hours is None:
            return DutyStatus()
        local = self.store.runtime.now().astimezone(self.timezone)
        return DutyStatus(is_on=hours.include(local), since=hours.last_begin(local))

    async def plan_daily(self) -> None:
        """Write the digest and the checkpoint of this day, once its hour has come.

        Do nothing if the hour is long past.
        """
        now = self.store.runtime.now_if_confirmed()
        if now is None:
            return
        local = now.astimezone(self.timezone)
        is_time = (
            timedelta()
            <= local - local.replace(hour=self.rules.digest_hour, minute=0, second=0)
            < MAX_LATENESS
        )
        if not is_time or self._reported_day == local.date():
            return
        notices, day = self.store.notices, local.date()
        digest = await asyncio.to_thread(self.writer.digest, await notices.digest())
        await notices.add(NoticeKind.DIGEST, f"digest-{day}", self.rules.first, digest)
        head = await self.read_checkpoint() if self.rules.checkpoints else None
        if head is not None:
            await notices.add(
                NoticeKind.CHECKPOINT,
                f"checkpoint-{day}",
                self.rules.checkpoints,
                format_checkpoint(head),
            )
        self._reported_day = day

    async def send_to(self, channel: str, duty: DutyStatus) -> int:
        """Send a channel's due notices, in groups of one cause, until all are sent or it fails.

        When the channel refuses a message, the next one has half of its groups. A group that is
        refused by itself is tried again later, and keeps no other waiting.
        """
        store, sent = self.store.notices, 0
        pace = self._paces.setdefault(channel, ChannelPace())
        while pace.may_call(
            self.store.runtime.monotonic(), await store.count_messages(channel)
        ):
            claimed = await store.claim(channel, duty)
            if not claimed:
                break
            number = await self._send_message(channel, pace, claimed)
            if number is None:
                break
            sent += number
        return sent

    async def _send_message(
        self, channel: str, pace: ChannelPace, claimed: Sequence[PendingNotice]
    ) -> int | None:
        """Send as many of the claimed notices as one message holds. Return how many.

        Return None if the channel fails.
        """
        groups = self._choose_groups(claimed)
        message = await asyncio.to_thread(
            self.writer.compose, groups, limit=pace.max_groups
        )
        covered = groups if pace.max_groups is None else groups[: message.shown]
        notices = [notice for group in covered for notice in group.notices]
        problem = await self.send(
            channel,
            ids=[notice.key for notice in notices],
            title=message.title,
            body=message.body,
            is_problem=any(group.is_problem for group in covered),
        )
        refusal = ""
        if problem is not None and problem.code == CHANNEL_PARTLY_REFUSED:
            refusal = self.writer.messages.translate(problem.code, **problem.facts)
            log.warning("notice_partly_refused", channel=channel, reason=refusal)
            problem = None  # another message would come twice to the other recipients
        pace.calls.append((self.store.runtime.monotonic(), problem is None))
        left = _without(claimed, notices)
        if problem is None:
            has_refused = pace.refusals == 1
            pace.record_accepted(len(groups) - len(covered))
            await self.store.notices.record_sent(
                channel, notices, refusal, has_refused_words=has_refused
            )
            await self.store.notices.release(left)
            return len(notices)
        return await self._record_problem(
            channel, pace, claimed, groups[: message.shown], problem
        )

    async def _record_problem(
        self,
        channel: str,
        pace: ChannelPace,
        claimed: Sequence[PendingNotice],
        shown: Sequence[NoticeGroup],
        problem: Problem,
    ) -> int | None:
        """Record that a message was not accepted. Return 0 if others may be, None if not."""
        store, wait, failed = self.store.notices, None, claimed
        reason = self.writer.messages.translate(problem.code, **problem.facts)
        failure = {"code": problem.code, "reason": reason, "notices": len(claimed)}
        log.warning("notice_not_sent", channel=channel, **failure)
        code = problem.code
        if code == CHANNEL_REFUSED:
            pace.record_refused(len(shown))
            failed = shown[0].notices if len(shown) == 1 else ()
            if shown[0].first.last_error == REFUSED_ALONE:
                code = REFUSED_ALONE
        elif code == CHANNEL_RATE_LIMITED:
            wait = RATE_LIMIT_WAIT
            until = self.store.runtime.monotonic() + wait.total_seconds()
            pace.blocked_until = until
        if failed:
            await store.record_failure(
                channel, failed, code, reason, wait=wait, failures=pace.refusals
            )
        await store.release(_without(claimed, failed))
        return 0 if problem.code == CHANNEL_REFUSED else None

    def _choose_groups(self, claimed: Sequence[PendingNotice]) -> Sequence[NoticeGroup]:
        """Return the groups of the next message, the most severe first.

        A notice that the channel has refused for its words comes by itself, after the others.
        """
        is_alone = [notice.last_error == REFUSED_ALONE for notice in claimed]
        platform_of = self.writer.platform_of
        if all(is_alone):
            return group_notices(claimed, platform_of)[:1]
        others = [
            one for one, alone in zip(claimed, is_alone, strict=True) if not alone
        ]
        return group_notices(others, platform_of)


def _without(
    notices: Sequence[PendingNotice], others: Sequence[PendingNotice]
) -> Sequence[PendingNotice]:
    ids = {notice.id for notice in others}
    return [notice for notice in notices if notice.id not in ids]


def page_of(alert: Alert) -> str:
    """Return the path of the page about an alert's post or account."""
    if post := alert.facts.get("post"):
        return "/posts/" + quote(post.partition("#")[0].partition("@")[0], safe="")
    account = alert.facts.get("account")
    return f"/accounts/{quote(account, safe='')}" if account else "/alerts"
