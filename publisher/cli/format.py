"""Codes of the books in words: states, reasons, alerts, scopes, instants."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.config import BUILT_IN_PLATFORMS
from publisher.domain.delivery import FINAL_STATES, Delivery, State, parse_manual_task
from publisher.domain.events import Role
from publisher.domain.post import ONCE_OCCURRENCE
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    HoldReason,
    RateLimited,
    Unknown,
)
from publisher.i18n import Messages
from publisher.store.plan.actions import ModeOverride
from publisher.store.queries.queries import Alert, Pause

NO_VALUE = "—"
"""Stands where nothing is known."""
_PLATFORM_CODE = re.compile(rf"(?:{'|'.join(sorted(BUILT_IN_PLATFORMS))})_-?\w+")


STATE_STYLES: Mapping[State, str] = {
    State.PUBLISHED: "green",
    State.HELD: "bold yellow",
    State.UNKNOWN: "yellow",
    State.RETRACTING: "bold red",
    State.FAILED: "bold red",
    State.EXPIRED: "red",
    State.REMOVED: "red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """Speaks one language, in the workspace's zone."""

    messages: Messages
    timezone: ZoneInfo

    def state(self, state: State) -> str:
        return self.messages.translate(f"state_{state.value}")

    def status(self, delivery: Delivery) -> str:
        """Say where a delivery stands; one in a person's hands is not in the platform's."""
        return self.messages.translate(manual_task_code(delivery) or f"state_{delivery.state.value}")

    def parts_progress(self, delivery: Delivery) -> str | None:
        """Say how far a text of several floors has come; None for what has only one."""
        if not delivery.extra_parts or delivery.state in FINAL_STATES:
            return None
        is_left = delivery.is_incomplete and delivery.state is State.PUBLISHED
        code = (
            "parts_abandoned"
            if is_left
            else "parts_all_published"
            if delivery.parts_done > delivery.extra_parts
            else "part_at"
        )
        number = delivery.parts_done + (code == "part_at")
        return self.messages.translate(code, number=number, total=delivery.extra_parts + 1)

    def reason(self, reason: str | None) -> str:
        """Put a reason into words. What a person wrote is no code and stays as it is."""
        entries = self.messages.entries
        if not reason:
            return self.messages.translate("reason_none")
        if reason in frozenset(HoldReason):
            return self.messages.translate(f"hold_{reason}")
        if f"reason_{reason}" in entries:
            return self.messages.translate(f"reason_{reason}")
        if reason not in entries and _PLATFORM_CODE.fullmatch(reason):
            return self.messages.translate("reason_unlisted", code=reason)
        return self.messages.translate(reason)

    def alert(self, alert: Alert) -> str:
        """Put an alert into words; `held.captcha` and the like are a state and a reason."""
        state, separator, reason = alert.code.partition(".")
        reason_text = self.reason(reason if separator else alert.facts.get("reason"))
        if platform_message := alert.facts.get("said"):
            reason_text = " ".join(
                filter(
                    None,
                    [reason_text, self.remedy(alert.facts.get("reason"), platform_message), f"({platform_message})"],
                )
            )
        facts = {"post": alert.subject, "account": alert.subject, **alert.facts, "reason": reason_text}
        if job := alert.facts.get("job"):
            since = self.time(datetime.fromisoformat(alert.facts["since"]))
            facts |= {"work": self.messages.translate(f"job_{job}", **alert.facts), "since": since}
        named = f"alert_{state}"
        return self.messages.translate(named if named in self.messages.entries else alert.code, **facts)

    def remedy(self, code: str | None, platform_message: str) -> str:
        """Say what a person must do about a platform's refusal, with the address that its words name, if any."""
        return self.messages.hint(code or "", address=self.ip_address(platform_message))

    def ip_address(self, platform_message: str) -> str:
        """Give the IP address that a platform's words name: this machine's, as the platform sees it."""
        return _find_ip_address(platform_message) or self.messages.translate("address_unknown")

    def platform(self, platform: str) -> str:
        code = f"platform_{platform}"
        return self.messages.translate(code) if code in self.messages.entries else platform

    def sign_in_place(self, platform: str) -> str:
        """Say where a person signs in."""
        code = f"place_{platform}"
        return self.messages.translate(code if code in self.messages.entries else "place_other")

    def removal_steps(self, platform: str, url: str) -> str:
        """Say how a person takes a post down where publisher may not."""
        code = f"take_down_{platform}"
        return self.messages.translate(code if code in self.messages.entries else "take_down_other", url=url)

    def mode(self, code: str, override: ModeOverride) -> str:
        """Put a mode ordered at run time into the words of `code`."""
        facts = {
            "account": override.account,
            "by": override.by,
            "at": self.time(override.at),
            "reason": override.reason,
        }
        return self.messages.translate(code, mode=self.messages.translate(f"mode_{override.mode}"), **facts)

    def scope(self, scope: str) -> str:
        kind, _, name = scope.partition(":")
        return self.messages.translate(f"scope_{kind}", name=name)

    def pause(self, code: str, pause: Pause) -> str:
        """Put a pause into the words of `code`."""
        return self.messages.translate(
            code,
            scope=self.scope(pause.scope),
            argument=scope_argument(pause.scope),
            by=self.messages.translate("by_publisher") if pause.by in frozenset(Role) else pause.by,
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
        label = delivery.key.occurrence
        return (
            label if label == ONCE_OCCURRENCE else datetime.fromisoformat(label).astimezone(self.timezone).isoformat()
        )

    def subject(self, delivery: Delivery) -> str:
        """Name a delivery as it is typed."""
        occurrence = self.occurrence(delivery)
        instant = "" if occurrence == ONCE_OCCURRENCE else f"#{occurrence}"
        return f"{delivery.key.post}{instant}@{delivery.account}"


def _find_ip_address(platform_message: str) -> str | None:
    """Find the first IP address in a platform's words."""
    for word in re.split(r"[^0-9A-Fa-f:.]+", platform_message):
        try:
            return str(ipaddress.ip_address(word.strip(".")))
        except ValueError:
            continue
    return None


def manual_task_code(delivery: Delivery) -> str | None:
    """Give the code of where a task in a person's hands stands; None for what is none."""
    task = parse_manual_task(delivery.ticket)
    if task is None or delivery.state is not State.SUBMITTED:
        return None
    return "manual_task_checking" if task.done_at else "manual_task_open"


def reason_code(delivery: Delivery, pauses: Iterable[Pause]) -> str | None:
    """Return the code of why a delivery stands where it does: what is due and covered by a pause waits for that."""
    if delivery.state is State.DUE and pauses_covering(pauses, delivery):
        return "paused"
    return manual_task_code(delivery) or delivery.reason


def scope_argument(scope: str) -> str:
    """Give what one types to name a scope."""
    return scope.removeprefix("account:").removeprefix("post:")


def pauses_covering(pauses: Iterable[Pause], delivery: Delivery) -> list[Pause]:
    """Give the pauses that keep a delivery from being sent."""
    scopes = {"all", f"platform:{delivery.platform}", f"account:{delivery.account}", f"post:{delivery.key.post}"}
    return [pause for pause in pauses if pause.scope in scopes]


def message_args(delivery: Delivery, formatter: Formatter) -> Mapping[str, object]:
    """Give what the words about a state may name."""
    receipt = delivery.receipt
    return {
        "subject": formatter.subject(delivery),
        "post": delivery.key.post,
        "account": delivery.account,
        "place": formatter.sign_in_place(delivery.platform),
        "secret": delivery.login.partition("/")[2],
        "due": formatter.time(delivery.due_at),
        "next": formatter.time(delivery.next_action_at),
        "expires": formatter.time(delivery.expires_at),
        "url": delivery.reported_url or (receipt.url if receipt else "—"),
    }


def format_counts(deliveries: Iterable[Delivery], formatter: Formatter) -> str:
    """Count deliveries by state, in words."""
    counts = Counter(delivery.state for delivery in deliveries)
    shown = [f"{formatter.state(state)} {counts[state]}" for state in State if counts[state]]
    return formatter.messages.translate("list_comma").join(shown)


def credential_days_left(health: HealthCheckResult | None, now: datetime) -> int | None:
    """Say for how many whole days the credentials last, where the platform tells."""
    return (
        (health.credentials_expire_at - now).days
        if isinstance(health, Healthy) and health.credentials_expire_at
        else None
    )


def format_health(health: HealthCheckResult | None, formatter: Formatter) -> str:
    """Put a probe's answer into words."""
    match health:
        case None:
            return formatter.messages.translate("health_never")
        case Healthy():
            return formatter.messages.translate("health_ready")
        case CredentialExpired(reason=reason):
            return formatter.messages.translate("health_expired", reason=formatter.reason(reason))
        case Blocked(code=reason):
            return formatter.messages.translate("health_blocked", reason=formatter.reason(reason))
        case RateLimited(until=until):
            return formatter.messages.translate("health_rate_limited", until=formatter.time(until))
        case Unknown(reason=reason):
            return formatter.messages.translate("health_unknown", reason=formatter.reason(reason))
