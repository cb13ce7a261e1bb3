"""The messages about alerts: title and text in the workspace's language, grouped by cause."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from publisher.domain.account import AccountId
from publisher.domain.alert_classes import Audience, classify
from publisher.domain.results import REFUSED_HOLD_REASONS
from publisher.engine.notice_groups import NoticeGroup
from publisher.i18n import Messages
from publisher.runtime.redaction import redact_text
from publisher.store.db.rows import ACCOUNT_PAUSED, LINK_FACT
from publisher.store.notices import DigestFacts, NoticeKind
from publisher.store.people.users import NOBODY
from publisher.store.queries.queries import Alert

MAX_MESSAGE_BYTES = 1800
"""WeCom cuts off a text after 2,048 bytes of UTF-8; the title needs some of them."""
MAX_TITLE_CHARACTERS = 75
MAX_ALERT_CHARACTERS = 400
MAX_GROUPED_CHARACTERS = 160
"""How much is quoted of an alert where a message is about several causes."""
MAX_NAMES = 5
"""How many accounts, hosts or channels of a group are named."""
SUBJECT_FACTS = ("account", "host", "channel")
"""Facts of alerts that name the subject: those of a group are counted and named."""
MAX_DIGEST_ALERTS = 5
MAX_DIGEST_CHARACTERS = 80
PERSON_FACTS = ("user", "by", "second")
"""Facts of alerts that are people's names: these stay on this machine."""
FREE_TEXT_CODES = frozenset({"help_wanted", "reload_refused", "templates_invalid"})
"""Alerts with a reason that quotes words of staff. These words may be about people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedMessage:
    """A message. `shown` groups are described in it; it only counts the others."""

    title: str
    body: str
    shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeWriter:
    """Writes messages in the workspace's language.

    They are without secrets, names of people, or words of a platform.
    """

    messages: Messages
    dashboard: str | None
    describe: Callable[[Alert], str]
    name_cause: Callable[[Alert], str]
    """Returns the cause of an alert in a few words."""
    format_time: Callable[[datetime], str]
    workspace: str
    """The name of the workspace that the titles give."""
    platform_of: Callable[[AccountId], str]

    def compose(
        self, groups: Sequence[NoticeGroup], limit: int | None = None
    ) -> ComposedMessage:
        """Return a message about the first `limit` groups, or about all without a limit.

        Groups without room become one line that counts them; with a limit they are left out. The
        first time takes a twentieth of a second, as all texts are read: not for the thread that
        sends posts.
        """
        described = groups if limit is None else groups[:limit]
        most = MAX_ALERT_CHARACTERS if len(described) == 1 else MAX_GROUPED_CHARACTERS
        entries = [self.entry(group, most) for group in described]
        room = MAX_MESSAGE_BYTES
        shown = count_fitting(entries, room)
        if shown < len(entries):
            shown = count_fitting(entries, room - len(self._more(groups, 1).encode()))
        lines = entries[:shown]
        if limit is None and shown < len(groups):
            lines.append(self._more(groups, shown))
        title = self.title(groups[:shown])
        return ComposedMessage(title=title, body="\n\n".join(lines), shown=shown)

    def _more(self, groups: Sequence[NoticeGroup], shown: int) -> str:
        number = sum(len(group.notices) for group in groups[shown:])
        return self.messages.translate("notice_more", number=number)

    def entry(self, group: NoticeGroup, most: int = MAX_ALERT_CHARACTERS) -> str:
        """Return the message text of one group, with at most so many characters of its alert."""
        translate, alert = self.messages.translate, group.first.alert
        if alert is None:
            return group.first.detail
        kind = translate(f"notice_{group.first.kind}")
        text = shorten(self._describe_safely(alert), most)
        if len(group.notices) > 1:
            text = translate(
                "notice_group", subjects=self.list_subjects(group), text=text
            )
        lines = [
            name_audience(self.messages, classify(alert.code).audience),
            translate("notice_entry", number=alert.id, kind=kind, text=text),
        ]
        if group.first.kind is NoticeKind.RETURNED and alert.dismissed_at is not None:
            since, at = map(self.format_time, (alert.at, alert.dismissed_at))
            lines.append(translate("notice_since", since=since, at=at))
        lines += [
            translate("notice_sign_in", url=address)
            for address in group.values_of(LINK_FACT)
        ]
        if self.dashboard:
            url = f"{self.dashboard.rstrip('/')}/alerts#alert-{alert.id}"
            lines.append(translate("notice_link", url=url))
        if group.is_problem:
            lines += self.list_commands(group, alert)
        return redact_text("\n".join(lines))

    def list_subjects(self, group: NoticeGroup) -> str:
        """Return the number of a group's subjects with the first names, or that of its alerts."""
        translate, (fact, subjects) = self.messages.translate, find_subjects(group)
        if len(subjects) < 2:
            return translate("notice_number", number=len(group.notices))
        number = translate(f"notice_{fact}_number", number=len(subjects))
        names = translate("list_comma").join(subjects[:MAX_NAMES])
        is_complete = len(subjects) <= MAX_NAMES
        code = "notice_subjects_all" if is_complete else "notice_subjects"
        return translate(code, number=number, names=names)

    def list_commands(self, group: NoticeGroup, alert: Alert) -> list[str]:
        """Return the commands that end a group's problem, and that acknowledge it."""
        translate = self.messages.translate
        if len(group.notices) == 1:
            return [translate("notice_acknowledge", number=alert.id)]
        lines, posts = [], group.values_of("post")
        if alert.code == ACCOUNT_PAUSED and group.platform:
            reason = alert.facts.get("reason", "")
            lines.append(
                translate("notice_resume", platform=group.platform, reason=reason)
            )
        elif (
            alert.code.removeprefix("held.") in REFUSED_HOLD_REASONS and len(posts) == 1
        ):
            lines.append(translate("notice_resend", post=posts[0]))
        return [*lines, translate("notice_acknowledge_all", number=alert.id)]

    def title(self, groups: Sequence[NoticeGroup]) -> str:
        """Return the subject of a message: urgency, workspace, account, and cause.

        It names the first group, and counts the others.
        """
        group, translate = groups[0], self.messages.translate
        alert = group.first.alert
        if alert is None:
            said = translate(f"notice_title_{group.first.kind}")
            return shorten(f"{said} {self.workspace}", MAX_TITLE_CHARACTERS)
        fact, subjects = find_subjects(group)
        if len(subjects) > 1:
            subject = translate(f"notice_{fact}_number", number=len(subjects))
        else:
            subject = next(iter(subjects), "")
        more = (
            translate("notice_title_more", number=len(groups) - 1)
            if len(groups) > 1
            else ""
        )
        head = translate(
            "notice_title",
            urgency=translate(f"urgency_{group.urgency}"),
            workspace=self.workspace,
            kind=translate(f"notice_{group.first.kind}"),
        )
        cause = self.name_cause(self._hide_words(alert))
        colon = translate("notice_colon")
        if cause.startswith(
            (f"{subject}{colon}", f"{subject} ")
        ):  # it names its host itself
            subject = ""
        said = colon.join(filter(None, [head, subject, cause]))
        room = MAX_TITLE_CHARACTERS - len(more)
        return redact_text(shorten(said, room) + more)

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
        safe = self._hide_words(alert)
        hint = self.messages.hint(safe.code, **safe.facts)
        return self.messages.translate("sentence_break").join(
            filter(None, [self.describe(safe), hint])
        )

    def _hide_words(self, alert: Alert) -> Alert:
        """Return an alert without names of people and words of others."""
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
        return replace(alert, facts=facts)


def find_subjects(group: NoticeGroup) -> tuple[str, Sequence[str]]:
    """Return the fact that names the subjects of a group's alerts, and their names, if any.

    It is the first one that has several names, or else the first one that has a name.
    """
    named = [(fact, group.values_of(fact)) for fact in SUBJECT_FACTS]
    several = [(fact, names) for fact, names in named if len(names) > 1]
    return next(iter([*several, *(item for item in named if item[1])]), ("", []))


def name_audience(messages: Messages, audience: Audience) -> str:
    """Return the line that says whom a message concerns."""
    return messages.translate(
        "notice_for", people=messages.translate(f"audience_{audience}")
    )


def name_workspace(folder: Path) -> str:
    """Return the name of a workspace in titles: its folder's, or else this host's."""
    return folder.resolve().name or socket.gethostname()


def count_fitting(entries: Sequence[str], room: int) -> int:
    """Return how many of the entries, one at least, `room` bytes hold."""
    sizes = accumulate(len(entry.encode()) + 2 for entry in entries)
    return max(1, sum(size <= room for size in sizes))


def shorten(words: str, limit: int = MAX_ALERT_CHARACTERS) -> str:
    """Return a text on one line, cut off after `limit` characters."""
    line = " ".join(words.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
