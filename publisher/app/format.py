"""Texts for stored codes and values: states, reasons, alerts, scopes, instants."""

import contextlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from publisher.domain.account import AccountId, Platform
from publisher.domain.delivery import FINAL_STATES, Delivery, Role, State
from publisher.domain.errors import Problem
from publisher.domain.post import ONCE_OCCURRENCE, PostId, is_same_in_any_form
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    HoldReason,
    RateLimited,
    Unknown,
)
from publisher.domain.silence import SilenceClock, SilenceLevel
from publisher.domain.user import SignInFactor, UserChange
from publisher.i18n import Messages
from publisher.store.db.rows import ACCOUNT_PAUSED
from publisher.store.queries.queries import Alert, ModeOverride, Pause

if TYPE_CHECKING:
    from publisher.store.people.user_changes import SignInReset, UserRequest

NO_VALUE = "—"
PENDING_UNAPPROVED = "pending_unapproved"
"""Code of the words about a delivery that is not due, and not approved."""
"""Shown where nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formatter:
    """Formats values in one language and time zone."""

    messages: Messages
    timezone: ZoneInfo
    when: Callable[[datetime], str] | None = None
    """How a page writes an instant in a sentence; in full without one."""

    def state(self, state: State) -> str:
        return self.messages.translate(f"state_{state.value}")

    def status(self, delivery: Delivery) -> str:
        """Return the text for a delivery's state, or for its open manual task."""
        return self.messages.translate(
            manual_task_code(delivery) or f"state_{delivery.state.value}"
        )

    def parts_progress(self, delivery: Delivery) -> str | None:
        """Return how many parts of a long text are published.

        None for one part, or when the delivery has ended.
        """
        if not delivery.extra_parts or delivery.state in FINAL_STATES:
            return None
        number, total = delivery.parts_done, delivery.extra_parts + 1
        if delivery.is_incomplete and delivery.state is State.PUBLISHED:
            return self.messages.translate(
                "parts_abandoned", number=number, total=total
            )
        if number == total:
            return self.messages.translate(
                "parts_all_published", number=number, total=total
            )
        return self.messages.translate("part_at", number=number + 1, total=total)

    def user_change(self, change: UserChange) -> str:
        """Return the effect of a change on a user."""
        roles = ", ".join(map(str, change.grants))
        factor = f"_{self._factors(change.factors)}" if change.factors else ""
        return self.messages.translate(
            f"user_change_{change.kind}{factor}", name=change.user, roles=roles
        )

    def user_request(self, request: "UserRequest") -> str:
        """Return the effect of a requested change on a user and on their means of sign-in."""
        said = self.user_change(request.change)
        if not request.renews_sign_in:
            return said
        return self.messages.translate(
            "user_change_renews", change=said, name=request.change.user
        )

    def sign_in_reset(self, reset: "SignInReset") -> str:
        """Return the time and the author of a reset of a user's means of sign-in."""
        what = self.messages.translate(f"reset_{self._factors(reset.factors)}")
        code = "sign_in_reset_confirmed" if reset.confirmed_by else "sign_in_reset_by"
        facts = {
            "at": self.time(reset.at),
            "by": reset.by,
            "second": reset.confirmed_by,
        }
        return self.messages.translate(code, what=what, **facts)

    @staticmethod
    def _factors(factors: Collection[SignInFactor]) -> str:
        return next(iter(factors)).value if len(factors) == 1 else "all"

    def reason(self, reason: str | None) -> str:
        """Return the text for a reason code. A reason that a person wrote stays as it is.

        A code `x` has the message `reason_x`; a platform's code is a message of its own. No other
        message is a reason.
        """
        if not reason:
            return self.messages.translate("reason_none")
        if reason in frozenset(HoldReason):
            return self.messages.translate(f"hold_{reason}")
        if (code := f"reason_{reason}") in self.messages.entries:
            return self.messages.translate(code)
        if self.messages.is_reason_of_platform(reason):
            unlisted = (
                "reason_unlisted" if self.messages.names_host else "unlisted_answer"
            )
            return self.messages.translate(
                self.messages.first_known(reason, unlisted), code=reason
            )
        return reason

    def alert(self, alert: Alert) -> str:
        """Return the text for an alert; a code such as `held.captcha` is a state and a reason."""
        state, separator, reason = alert.code.partition(".")
        reason_text = self.reason(reason if separator else alert.facts.get("reason"))
        if reason == HoldReason.IDENTITY_CHANGED:
            sentences = [
                reason_text,
                self.messages.translate("identities", **alert.facts),
            ]
            reason_text = self.messages.translate("list_comma").join(sentences)
        platform_message = alert.facts.get("said")
        if platform_message or alert.code == ACCOUNT_PAUSED:
            said = f" ({platform_message})" if platform_message else ""
            held = (
                self.messages.translate("paused_holds", number=alert.facts["held"])
                if "held" in alert.facts
                else ""
            )
            # the message ends the last
            sentences = [
                reason_text + said,
                held,
                self.alert_remedy(alert).rstrip("。."),
            ]
            reason_text = self.messages.translate("sentence_break").join(
                filter(None, sentences)
            )
        if problems := alert.facts.get("problems"):
            reason_text = "\n".join(map(self._stored_problem, json.loads(problems)))
        if "\n" in reason_text or problems:  # one problem a line
            reason_text = "".join(f"\n    {line}" for line in reason_text.splitlines())
        facts = {
            "post": alert.subject,
            "account": alert.subject,
            "host": alert.subject,
            **alert.facts,
            "reason": reason_text,
        }
        facts["name"] = self.occurrence_name(
            facts["post"], alert.facts.get("occurrence", ONCE_OCCURRENCE)
        )
        instants = {
            key: alert.facts[key]
            for key in ("due", "until", "since")
            if "T" in alert.facts.get(key, "")  # some are days
        }
        if job := alert.facts.get("job"):
            facts["work"] = self.messages.translate(f"job_{job}", **alert.facts)
        facts |= {
            key: self.time(datetime.fromisoformat(instant))
            for key, instant in instants.items()
        }
        return self.messages.translate(
            self.messages.first_known(f"alert_{state}", alert.code), **facts
        )

    def cause(self, alert: Alert) -> str:
        """Return the reason of an alert if it is a known code, else the text of the alert."""
        _state, _separator, code = alert.code.partition(".")
        reason = code or alert.facts.get("reason", "")
        named = self.reason(reason) if reason else ""
        return named if named != reason else self.alert(alert)

    def newer_files(self, changed: Mapping[str, datetime], since: datetime) -> str:
        """Return the words about files changed after a daemon has read them; none without any."""
        if not changed:
            return ""
        names = [f"{name} ({self.time(at)})" for name, at in sorted(changed.items())]
        files = self.messages.translate("list_comma").join(names)
        return self.messages.translate(
            "daemon_files_changed", files=files, since=self.time(since)
        )

    def _stored_problem(self, facts: Mapping[str, str]) -> str:
        """Return text and hint of a problem that an alert has stored with its code and facts."""
        return self.messages.format_problem(Problem(code=facts["code"], facts=facts))

    def alert_as_json(self, alert: Alert) -> dict[str, str | int | None]:
        return {
            "id": alert.id,
            "code": alert.code,
            "message": self.alert(alert),
            "subject": alert.subject,
            "at": self.iso(alert.at),
            "notified": self.iso(alert.noticed_at),
            "escalated": self.iso(alert.escalated_at),
            "acknowledged": self.iso(alert.dismissed_at),
            "acknowledged_by": alert.dismissed_by,
            "returned": self.iso(alert.returned_at),
        }

    def alert_notes(self, alert: Alert) -> str:
        """Return an alert's notices, acknowledger and return with their times; empty without any."""
        instants = {
            "alert_notified": alert.noticed_at,
            "alert_escalated": alert.escalated_at,
            "alert_acknowledged": alert.dismissed_at,
            "alert_returned": alert.returned_at,
        }
        return self.messages.translate("list_comma").join(
            self.messages.translate(
                code, at=self.time(at), by=alert.dismissed_by or NO_VALUE
            )
            for code, at in instants.items()
            if at is not None
        )

    def alert_remedy(self, alert: Alert) -> str:
        """Return the remedy for an alert's reason.

        It has the IP address that the platform's message names, if any.
        """
        code = alert.facts.get("reason", "")
        message = self.messages.first_known(f"reason_{code}", code)
        address = self.ip_address(alert.facts.get("said", ""))
        return self.messages.hint(
            message, address=address, secret=alert.facts.get("secret", "")
        )

    def ip_address(self, platform_message: str) -> str:
        """Return the first IP address in a platform's message.

        It is this machine's, as the platform sees it.
        """
        for word in re.split(r"[^0-9A-Fa-f:.]+", platform_message):
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(word.strip(".")))
        return self.messages.translate("address_unknown")

    def sign_in_place(self, platform: str) -> str:
        """Return where a person signs in to the platform."""
        return self.messages.translate(
            self.messages.first_known(f"place_{platform}", "place_other")
        )

    def removal_steps(self, platform: str, url: str) -> str:
        """Return how a person deletes a post where publisher may not."""
        return self.messages.translate(
            self.messages.first_known(f"take_down_{platform}", "take_down_other"),
            url=url,
        )

    def mode(self, code: str, override: ModeOverride) -> str:
        """Return message `code` about a mode set at run time."""
        return self.messages.translate(
            code,
            mode=self.messages.translate(f"mode_{override.mode}"),
            account=override.account,
            by=override.by,
            at=self.time(override.at),
            reason=override.reason,
        )

    def scope(self, scope: str) -> str:
        kind, _, name = scope.partition(":")
        return self.messages.translate(f"scope_{kind}", name=name, account=name)

    def pause(self, code: str, pause: Pause) -> str:
        """Return message `code` about a pause."""
        return self.messages.translate(
            code,
            scope=self.scope(pause.scope),
            argument=scope_argument(pause.scope),
            by=self.messages.translate("by_publisher")
            if pause.by in frozenset(Role)
            else pause.by,
            at=self.time(pause.at),
            reason=self.reason(pause.reason),
        )

    def absent_daemon(self, code: str, silent_since: datetime | None) -> str:
        """Return message `code`: no daemon runs; or that it is not known, for a silent daemon."""
        if silent_since is not None:
            code = "daemon_silent"
        return self.messages.translate(code, at=self.time(silent_since))

    def time(self, instant: datetime | None) -> str:
        """Return an instant for people."""
        if instant is None:
            return NO_VALUE
        return self.when(instant) if self.when else self.full_time(instant)

    def full_time(self, instant: datetime) -> str:
        """Return an instant with its day and second, also on a page."""
        return f"{instant.astimezone(self.timezone):%Y-%m-%d %H:%M:%S}"

    def days_left(self, health: HealthCheckResult | None, now: datetime) -> str:
        """Return the days until the credentials expire, for people."""
        days = credential_days_left(health, now)
        return NO_VALUE if days is None else self.messages.translate("days", days=days)

    def silence(self, clock: SilenceClock | None) -> str:
        """Return the days of an account without a new post, and the level reached."""
        if clock is None:
            return NO_VALUE
        code = (
            "days" if clock.level is SilenceLevel.NONE else f"days_{clock.level.value}"
        )
        return self.messages.translate(code, days=clock.days)

    def iso(self, instant: datetime | None) -> str | None:
        """Return an instant for machines, with its offset."""
        return instant.astimezone(self.timezone).isoformat() if instant else None

    def occurrence(self, key: str) -> str:
        """Return `once` or the occurrence's instant."""
        return (
            key
            if key == ONCE_OCCURRENCE
            else datetime.fromisoformat(key).astimezone(self.timezone).isoformat()
        )

    def occurrence_name(self, post: PostId | str, key: str) -> str:
        """Return the name of an occurrence as it is typed: that of a one-off post is the post's."""
        return post if key == ONCE_OCCURRENCE else f"{post}#{self.occurrence(key)}"

    def key_as_json(self, delivery: Delivery) -> dict[str, str]:
        """Return the identifying fields of a delivery, for machines."""
        return {
            "post": delivery.key.post,
            "occurrence": self.occurrence(delivery.key.occurrence),
            "account": delivery.account,
            "platform": delivery.platform,
        }

    def subject(self, delivery: Delivery) -> str:
        """Return a delivery's name as it is typed."""
        return f"{self.occurrence_name(delivery.key.post, delivery.key.occurrence)}@{delivery.account}"

    def health(self, health: HealthCheckResult | None) -> str:
        translate = self.messages.translate
        match health:
            case None:
                return translate("health_never")
            case Healthy():
                return translate("health_ready")
            case CredentialExpired(reason=reason):
                return translate("health_expired", reason=self.reason(reason))
            case Blocked(code=reason):
                return translate("health_blocked", reason=self.reason(reason))
            case RateLimited(until=until):
                return translate("health_rate_limited", until=self.time(until))
            case Unknown(reason=reason):
                return translate("health_unknown", reason=self.reason(reason))


def quote_typed_reason(reason: str) -> str:
    """Return a reason as a person typed it.

    It is put in quotation marks if it is spelt like a code, so that it stays that.
    """
    formatter = Formatter(messages=Messages(), timezone=ZoneInfo("UTC"))
    return f"“{reason}”" if reason and formatter.reason(reason) != reason else reason


def manual_task_code(delivery: Delivery) -> str | None:
    """Return the message code for a delivery's manual task.

    None when it has none or has ended.
    """
    task = delivery.manual_task
    if task is None or delivery.state is not State.SUBMITTED:
        return None
    return "manual_task_checking" if task.done_at else "manual_task_open"


def reason_code(delivery: Delivery, pauses: Iterable[Pause]) -> str | None:
    """Return the code for a delivery's state: a pause, its manual task, or its own reason."""
    if delivery.state is State.DUE and pauses_covering(pauses, delivery):
        return "paused"
    return manual_task_code(delivery) or delivery.reason


def scope_argument(scope: str) -> str:
    """Return a scope as it is typed."""
    return scope.removeprefix("account:").removeprefix("post:")


def pauses_covering(pauses: Iterable[Pause], delivery: Delivery) -> list[Pause]:
    """Return the pauses that keep a delivery from being sent."""
    return find_pauses(pauses, delivery.key.post, delivery.account, delivery.platform)


def find_pauses(
    pauses: Iterable[Pause], post: PostId, account: AccountId, platform: Platform
) -> list[Pause]:
    """Return the pauses that keep a post from being sent on an account."""
    scopes = {"all", f"platform:{platform}", f"account:{account}"}
    return [
        pause for pause in pauses if pause.scope in scopes or is_pause_of(pause, post)
    ]


def is_pause_of(pause: Pause, post: str) -> bool:
    """Return True for a pause of a post, in any form of it."""
    kind, _, name = pause.scope.partition(":")
    return kind == "post" and is_same_in_any_form(name, post)


def message_args(delivery: Delivery, formatter: Formatter) -> Mapping[str, object]:
    """Return the facts that messages about a state may use."""
    receipt, late = delivery.receipt, f"late_{delivery.platform}"
    return {
        "subject": formatter.subject(delivery),
        "post": delivery.key.post,
        "account": delivery.account,
        "place": formatter.sign_in_place(delivery.platform),
        "late": formatter.messages.translate(late)
        if late in formatter.messages.entries
        else "",
        "secret": (secret := delivery.login.partition("/")[2]),
        "renewal": formatter.messages.translate(
            formatter.messages.first_known(
                f"renewal_{delivery.platform}", "renewal_other"
            ),
            account=delivery.account,
            name=secret,
        ),
        "due": formatter.time(delivery.due_at),
        "next": formatter.time(delivery.next_action_at),
        "expires": formatter.time(delivery.expires_at),
        "url": delivery.reported_url or (receipt.url if receipt else NO_VALUE),
    }


def format_counts(deliveries: Iterable[Delivery], formatter: Formatter) -> str:
    """Return the number of deliveries in each state, as text.

    An open manual task has the same name as in its row.
    """
    states = list(State)
    by_state = sorted(deliveries, key=lambda delivery: states.index(delivery.state))
    shown = [
        f"{status} {number}"
        for status, number in Counter(map(formatter.status, by_state)).items()
    ]
    return formatter.messages.translate("list_comma").join(shown)


def credential_days_left(health: HealthCheckResult | None, now: datetime) -> int | None:
    """Return the whole days until the credentials expire.

    None if the platform does not report it.
    """
    expires_at = health.credentials_expire_at if isinstance(health, Healthy) else None
    return (expires_at - now).days if expires_at else None
