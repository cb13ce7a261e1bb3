"""Notify people of alerts by the settings' channels, at least once, while an alert is open."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from typing import Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from publisher.domain.audit_chain import Checkpoint, format_checkpoint
from publisher.domain.errors import Problem
from publisher.i18n import Messages
from publisher.runtime.logs import log
from publisher.runtime.redaction import redact_text
from publisher.settings_file import AlertsEntry
from publisher.store.notices import (
    MAX_NOTICES_OF_A_MESSAGE,
    NOTICE_LEASE,
    REFUSED_ALONE,
    DigestFacts,
    NoticeKind,
    PendingNotice,
)
from publisher.store.people.users import NOBODY
from publisher.store.queries.queries import Alert
from publisher.store.store import Store

MAX_MESSAGE_BYTES = 1800
"""WeCom cuts off a text after 2,048 bytes of UTF-8; the title needs some of them."""
CHANNEL_REFUSED = "channel_refused"
"""Code of the problem that a channel works, and does not accept this message."""
CHANNEL_PARTLY_REFUSED = "channel_partly_refused"
"""Code of the problem that a channel accepts a message for some of its recipients alone."""
MAX_ALERT_CHARACTERS = 400
MAX_DIGEST_ALERTS = 5
MAX_DIGEST_CHARACTERS = 80
MAX_LATENESS = timedelta(hours=3)
"""How late the daily digest may still be sent, by a daemon that did not run at its hour."""
PROBLEM_KINDS = frozenset(
    {NoticeKind.OPENED, NoticeKind.REPEATED, NoticeKind.ESCALATED}
)
PERSON_FACTS = ("user", "by", "second")
"""Facts of alerts that are people's names: these stay on this machine."""
FREE_TEXT_CODES = frozenset({"reload_refused", "templates_invalid"})
"""Alerts with a reason that quotes words of staff. These words may be about people."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWriter:
    """Writes messages in the workspace's language.

    They are without secrets, names of people, or words of a platform.
    """

    messages: Messages
    dashboard: str | None
    describe: Callable[[Alert], str]

    def compose(self, notices: Sequence[PendingNotice]) -> tuple[str, str, int]:
        """Return title and text of a message about these notices, and how many it covers.

        It covers all of them, or the first ones. The first time takes a twentieth of a second, as
        all texts are read: not for the thread that sends posts.
        """
        entries = [self.entry(notice) for notice in notices]
        number = count_fitting(entries)
        return self.title(notices[:number]), "\n\n".join(entries[:number]), number

    def entry(self, notice: PendingNotice) -> str:
        """Return the message text of one notice."""
        alert, translate = notice.alert, self.messages.translate
        if alert is None:
            return notice.detail
        kind, text = (
            translate(f"notice_{notice.kind}"),
            shorten(self._describe_safely(alert)),
        )
        lines = [translate("notice_entry", number=alert.id, kind=kind, text=text)]
        if self.dashboard:
            lines.append(
                translate(
                    "notice_link",
                    url=f"{self.dashboard.rstrip('/')}/alerts#alert-{alert.id}",
                )
            )
        if notice.kind in PROBLEM_KINDS:
            lines.append(translate("notice_acknowledge", number=alert.id))
        return redact_text("\n".join(lines))

    def title(self, notices: Sequence[PendingNotice]) -> str:
        """Return the title of a message about these notices."""
        first, translate = notices[0], self.messages.translate
        if len(notices) > 1:
            return translate("notice_titles", number=len(notices))
        if first.alert is None:
            return translate(f"notice_title_{first.kind}")
        return translate(
            "notice_title",
            number=first.alert.id,
            kind=translate(f"notice_{first.kind}"),
        )

    def digest(self, facts: DigestFacts) -> str:
        """Return the text of a daily digest: counts of posts, and the most urgent alerts."""
        listed = [
            self.messages.translate(
                "digest_entry",
                number=alert.id,
                text=shorten(words, MAX_DIGEST_CHARACTERS),
            )
            for alert in facts.alerts[:MAX_DIGEST_ALERTS]
            if (words := self._describe_safely(alert))
        ]
        counts = {
            "published": facts.published,
            "unpublished": facts.unpublished,
            "due": facts.due,
        }
        head = self.messages.translate(
            "digest_counts", **counts, alerts=len(facts.alerts)
        )
        link = (
            [self.messages.translate("notice_link", url=self.dashboard)]
            if self.dashboard
            else []
        )
        return redact_text("\n".join([head, *listed, *link]))

    def _describe_safely(self, alert: Alert) -> str:
        """Return an alert's text and remedy, without names of people and words of others."""
        named = [
            name for name in PERSON_FACTS if alert.facts.get(name, NOBODY) != NOBODY
        ]
        hidden = dict.fromkeys(named, self.messages.translate("notice_person"))
        if alert.code in FREE_TEXT_CODES:
            hidden["reason"] = self.messages.translate("notice_free_text")
        facts = {
            name: value
            for name, value in {**alert.facts, **hidden}.items()
            if name != "said"
        }
        hint = self.messages.hint(alert.code, **facts)
        return self.messages.translate("sentence_break").join(
            filter(None, [self.describe(replace(alert, facts=facts)), hint])
        )


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
    _reported_day: date | None = None
    """The day of the last written digest and checkpoint."""
    _has_forgotten: bool = False
    """False while there may be notices for channels that the settings no longer name."""

    async def run(self) -> int:
        """Write the due notices, and send the unsent ones, on all channels at once.

        Return how many.
        """
        if not self._has_forgotten:
            await self.store.notices.forget_channels(self.rules.channels)
            self._has_forgotten = True
        if not self.rules.channels:
            return 0
        await self.store.notices.plan(self.rules)
        await self.plan_daily()
        due = await self.store.notices.due_channels()
        # a host that has other settings would have claimed it
        unclaimed = self.store.runtime.now() - NOTICE_LEASE
        self._has_forgotten = all(
            since > unclaimed
            for name, since in due.items()
            if name not in self.rules.channels
        )
        return sum(
            await asyncio.gather(
                *(
                    self.send_to(channel)
                    for channel in self.rules.channels
                    if channel in due
                )
            )
        )

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

    async def send_to(self, channel: str) -> int:
        """Send a channel's due notices, several in one message, until all are sent or it fails.

        When the channel refuses several, one of them is sent alone, another one at each attempt. If
        that is accepted, each goes alone. A notice that the channel refuses for its words then
        keeps no other waiting.
        """
        store, sent, is_alone = self.store.notices, 0, False
        while claimed := await store.claim(
            channel, 1 if is_alone else MAX_NOTICES_OF_A_MESSAGE
        ):
            notices, problem = await self._send_message(channel, claimed)
            if (
                problem is not None
                and problem.code == CHANNEL_REFUSED
                and len(notices) > 1
            ):
                one = notices[claimed[0].attempts % len(notices)]
                notices, problem = await self._send_message(channel, [one])
                is_alone = problem is None
            refusal = ""
            if problem is not None and problem.code == CHANNEL_PARTLY_REFUSED:
                refusal = self.writer.messages.translate(problem.code, **problem.facts)
                log.warning("notice_partly_refused", channel=channel, reason=refusal)
                problem = (
                    None  # another message would come twice to the other recipients
                )
            if problem is None:
                await store.record_sent(channel, notices, refusal)
                await store.release(
                    [notice for notice in claimed if notice not in notices]
                )
                sent += len(notices)
                continue
            reason = self.writer.messages.translate(problem.code, **problem.facts)
            failure = {"code": problem.code, "reason": reason, "notices": len(claimed)}
            log.warning("notice_not_sent", channel=channel, **failure)
            is_refused = is_alone and problem.code == CHANNEL_REFUSED
            await store.record_failure(
                channel, claimed, REFUSED_ALONE if is_refused else problem.code, reason
            )
            if not is_refused:
                break
        return sent

    async def _send_message(
        self, channel: str, claimed: Sequence[PendingNotice]
    ) -> tuple[Sequence[PendingNotice], Problem | None]:
        """Send as many of these notices as one message holds.

        Return the sent notices, and why the message is not accepted.
        """
        title, body, number = await asyncio.to_thread(self.writer.compose, claimed)
        notices = claimed[:number]
        is_problem = any(notice.kind in PROBLEM_KINDS for notice in notices)
        keys = [notice.key for notice in notices]
        return notices, await self.send(
            channel, ids=keys, title=title, body=body, is_problem=is_problem
        )


def count_fitting(entries: Sequence[str]) -> int:
    """Return how many of the entries, one at least, one message has room for."""
    sizes = accumulate(len(entry.encode()) + 2 for entry in entries)
    return max(1, sum(size <= MAX_MESSAGE_BYTES for size in sizes))


def shorten(words: str, limit: int = MAX_ALERT_CHARACTERS) -> str:
    """Return a text on one line, cut off after `limit` characters."""
    line = " ".join(words.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def page_of(alert: Alert) -> str:
    """Return the path of the page about an alert's post or account."""
    if post := alert.facts.get("post"):
        return "/posts/" + quote(post.partition("#")[0].partition("@")[0], safe="")
    account = alert.facts.get("account")
    return f"/accounts/{quote(account, safe='')}" if account else "/alerts"
