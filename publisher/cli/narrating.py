"""Codes of the books in words: states, reasons, alerts, scopes, instants."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.domain.delivery import ENDED, Delivery, State
from publisher.domain.events import Role
from publisher.domain.outcome import HoldReason
from publisher.domain.post import ONCE
from publisher.domain.task import task_of
from publisher.messages import Messages
from publisher.settings import BUILT_IN
from publisher.store.board import Alert, Pause
from publisher.store.modes import OrderedMode

NOT_TOLD = "—"
"""Stands where nothing is known."""
_PLATFORM_CODE = re.compile(rf"(?:{'|'.join(sorted(BUILT_IN))})_-?\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrator:
    """Speaks one language, in the workspace's zone."""

    messages: Messages
    timezone: ZoneInfo

    def state(self, state: State) -> str:
        return self.messages.say(f"state_{state.value}")

    def standing(self, delivery: Delivery) -> str:
        """Say where a delivery stands; one in a person's hands is not in the platform's."""
        return self.messages.say(task_code(delivery) or f"state_{delivery.state.value}")

    def floors(self, delivery: Delivery) -> str | None:
        """Say how far a text of several floors has come; None for what has only one."""
        if not delivery.floors or delivery.state in ENDED:
            return None
        is_left = delivery.is_incomplete and delivery.state is State.PUBLISHED
        code = "floors_left" if is_left else "floors_whole" if delivery.floors_done > delivery.floors else "floor_at"
        number = delivery.floors_done + (code == "floor_at")
        return self.messages.say(code, number=number, total=delivery.floors + 1)

    def reason(self, reason: str | None) -> str:
        """Put a reason into words. What a person wrote is no code and stays as it is."""
        entries = self.messages.entries
        if not reason:
            return self.messages.say("reason_none")
        if reason in frozenset(HoldReason):
            return self.messages.say(f"hold_{reason}")
        if f"reason_{reason}" in entries:
            return self.messages.say(f"reason_{reason}")
        if reason not in entries and _PLATFORM_CODE.fullmatch(reason):
            return self.messages.say("reason_unlisted", code=reason)
        return self.messages.say(reason)

    def alert(self, alert: Alert) -> str:
        """Put an alert into words; `held.captcha` and the like are a state and a reason."""
        state, separator, reason = alert.code.partition(".")
        told = self.reason(reason if separator else alert.facts.get("reason"))
        if said := alert.facts.get("said"):
            told = " ".join(filter(None, [told, self.remedy(alert.facts.get("reason"), said), f"({said})"]))
        facts = {"post": alert.subject, "account": alert.subject, **alert.facts, "reason": told}
        if job := alert.facts.get("job"):
            since = self.time(datetime.fromisoformat(alert.facts["since"]))
            facts |= {"work": self.messages.say(f"job_{job}", **alert.facts), "since": since}
        named = f"alert_{state}"
        return self.messages.say(named if named in self.messages.entries else alert.code, **facts)

    def remedy(self, code: str | None, said: str) -> str:
        """Say what a person must do about a platform's refusal, with the address that its words name, if any."""
        return self.messages.hint(code or "", address=self.address(said))

    def address(self, said: str) -> str:
        """Give the IP address that a platform's words name: this machine's, as the platform sees it."""
        return _address_in(said) or self.messages.say("address_unread")

    def platform(self, platform: str) -> str:
        code = f"platform_{platform}"
        return self.messages.say(code) if code in self.messages.entries else platform

    def place(self, platform: str) -> str:
        """Say where a person signs in."""
        code = f"place_{platform}"
        return self.messages.say(code if code in self.messages.entries else "place_other")

    def take_down(self, platform: str, url: str) -> str:
        """Say how a person takes a post down where publisher may not."""
        code = f"take_down_{platform}"
        return self.messages.say(code if code in self.messages.entries else "take_down_other", url=url)

    def mode(self, code: str, order: OrderedMode) -> str:
        """Put a mode ordered at run time into the words of `code`."""
        facts = {"account": order.account, "by": order.by, "at": self.time(order.at), "reason": order.reason}
        return self.messages.say(code, mode=self.messages.say(f"mode_{order.mode}"), **facts)

    def scope(self, scope: str) -> str:
        kind, _, name = scope.partition(":")
        return self.messages.say(f"scope_{kind}", name=name)

    def pause(self, code: str, pause: Pause) -> str:
        """Put a pause into the words of `code`."""
        return self.messages.say(
            code,
            scope=self.scope(pause.scope),
            argument=argument_of(pause.scope),
            by=self.messages.say("by_itself") if pause.by in frozenset(Role) else pause.by,
            at=self.time(pause.at),
            reason=self.reason(pause.reason),
        )

    def time(self, instant: datetime | None) -> str:
        """Write an instant for people."""
        return f"{instant.astimezone(self.timezone):%Y-%m-%d %H:%M:%S}" if instant else "—"

    def iso(self, instant: datetime | None) -> str | None:
        """Write an instant for machines, with its offset."""
        return instant.astimezone(self.timezone).isoformat() if instant else None

    def occurrence(self, delivery: Delivery) -> str:
        """Name an occurrence: `once`, or the instant."""
        label = delivery.key.label
        return label if label == ONCE else datetime.fromisoformat(label).astimezone(self.timezone).isoformat()

    def subject(self, delivery: Delivery) -> str:
        """Name a delivery as it is typed."""
        occurrence = self.occurrence(delivery)
        instant = "" if occurrence == ONCE else f"#{occurrence}"
        return f"{delivery.key.post}{instant}@{delivery.account}"


def _address_in(said: str) -> str | None:
    """Find the first IP address in a platform's words."""
    for word in re.split(r"[^0-9A-Fa-f:.]+", said):
        try:
            return str(ipaddress.ip_address(word.strip(".")))
        except ValueError:
            continue
    return None


def task_code(delivery: Delivery) -> str | None:
    """Give the code of where a task in a person's hands stands; None for what is none."""
    task = task_of(delivery.ticket)
    if task is None or delivery.state is not State.SUBMITTED:
        return None
    return "task_checking" if task.done_at else "task_open"


def reason_code(delivery: Delivery, pauses: Iterable[Pause]) -> str | None:
    """Return the code of why a delivery stands where it does: what is due and covered by a pause waits for that."""
    if delivery.state is State.DUE and covering(pauses, delivery):
        return "paused"
    return task_code(delivery) or delivery.reason


def argument_of(scope: str) -> str:
    """Give what one types to name a scope."""
    return scope.removeprefix("account:").removeprefix("post:")


def covering(pauses: Iterable[Pause], delivery: Delivery) -> list[Pause]:
    """Give the pauses that keep a delivery from being sent."""
    scopes = {"all", f"platform:{delivery.platform}", f"account:{delivery.account}", f"post:{delivery.key.post}"}
    return [pause for pause in pauses if pause.scope in scopes]


def facts_of(delivery: Delivery, narrator: Narrator) -> Mapping[str, object]:
    """Give what the words about a state may name."""
    receipt = delivery.receipt
    return {
        "subject": narrator.subject(delivery),
        "post": delivery.key.post,
        "account": delivery.account,
        "place": narrator.place(delivery.platform),
        "secret": delivery.login.partition("/")[2],
        "due": narrator.time(delivery.due_at),
        "next": narrator.time(delivery.next_at),
        "expires": narrator.time(delivery.expires_at),
        "url": delivery.claimed_url or (receipt.url if receipt else "—"),
    }
