"""How urgent each alert is, and which people it concerns: one table, by the code of the alert.

Also how long an acknowledgement of it holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Urgency(StrEnum):
    """How soon people must know of an alert. The codes are stored; most urgent first."""

    URGENT = "urgent"
    """A post is stopped, doubtful or wrong, or publishing as a whole is: by day and by night."""
    IMPORTANT = "important"
    """A person is needed within the working day."""
    ROUTINE = "routine"
    """It can wait for the next working hour: neither repeated nor escalated, but in the digest."""


class Audience(StrEnum):
    """The people that an alert concerns. The names are keys of `[alerts.routes]`."""

    EDITORS = "editors"
    """Posts, approvals and manual tasks."""
    OPERATORS = "operators"
    """Logins, accounts, hosts, the database and clocks."""
    SECURITY = "security"
    """Sign-ins, users and the audit."""


ACKNOWLEDGEMENT_PERIODS: Mapping[Urgency, timedelta] = {
    Urgency.URGENT: timedelta(hours=2),
    Urgency.IMPORTANT: timedelta(hours=24),
    Urgency.ROUTINE: timedelta(hours=24),
}
"""How long an acknowledged alert stays quiet while its cause lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClass:
    """The class of an alert's code."""

    urgency: Urgency
    audience: Audience
    is_about_event: bool = False
    """True if nothing is left to watch once a person has seen the alert."""

    @property
    def acknowledgement_period(self) -> timedelta | None:
        """How long an acknowledgement holds while the cause lasts; None for good."""
        return None if self.is_about_event else ACKNOWLEDGEMENT_PERIODS[self.urgency]


_CODES: Mapping[tuple[Urgency, Audience], str] = {
    (Urgency.URGENT, Audience.EDITORS): """
        held failed expired removed cannot_send after_review_overdue attempt_orphaned
        blocked_by_unknown manual_task_expiring original_in_doubt picture_unreadable
        published_after_cancellation published_after_edit response_late
        response_redirected response_too_large retracting retraction_refused save_lost
        urgent_approval_needed urgent_not_seen urgent_paused
    """,
    (Urgency.URGENT, Audience.OPERATORS): """
        account_blocked account_circuit_breaker_open account_identity_changed
        account_paused alert_channel_failing circuit_breaker_open clock_jumped_ahead
        clock_jumped_back clock_skew clock_unconfirmed clock_wrong database_restored
        disk_full disk_low job_failing journal_unwritable login_refused platform_unreachable
        settings_differ sign_in_wanted unauthorized_post waiting_for_journal worker_lost
    """,
    (Urgency.URGENT, Audience.SECURITY): """
        audit_broken break_glass codes_refused link_opened_elsewhere sign_in_reset
    """,
    (Urgency.IMPORTANT, Audience.EDITORS): """
        after_review_due appeal_over approval_needed manual_task_half_time manual_task_not_seen
        manual_task_uncheckable cancelled.original_not_published posts_left_out posts_removed
        quota_short reload_refused removals_waiting review_overdue silence_red
        text_outdated
    """,
    (Urgency.IMPORTANT, Audience.OPERATORS): """
        account_left_settings approvals_voided callbacks_off dashboard_failing help_wanted
        replication_behind rights_missing
        settings_outdated templates_invalid
    """,
    (
        Urgency.IMPORTANT,
        Audience.SECURITY,
    ): "audit_checkpoint_failed users_suspended",
    (Urgency.ROUTINE, Audience.EDITORS): """
        accounts_added_late attempt_assumed attempt_recovered backlog external_post manual_task_waiting
        occurrences_missed silence_alarm silence_notice
    """,
    (Urgency.ROUTINE, Audience.OPERATORS): """
        backup_overdue callbacks_silent certificate_expiring channel_untested
        credentials_expiring database_busy log_lines_dropped
    """,
    (Urgency.ROUTINE, Audience.SECURITY): """
        actions_refused approvals_refused rotation_due sign_ins_refused tokens_refused
    """,
}
_EVENTS = """
    account_identity_changed accounts_added_late after_review_due after_review_overdue
    appeal_over approvals_voided attempt_orphaned break_glass cancelled.original_not_published
    clock_jumped_ahead clock_jumped_back expired external_post failed
    help_wanted link_opened_elsewhere log_lines_dropped occurrences_missed posts_removed
    published_after_cancellation published_after_edit removed response_late save_lost
    sign_in_reset
    unauthorized_post users_suspended
"""
EVENT_CODES = frozenset(_EVENTS.split())
"""The alerts about an event that is over, or that a person may leave as it is.

A review that is still to be done cannot be acknowledged at all.
"""


def list_classes() -> Iterator[tuple[str, AlertClass]]:
    for (urgency, audience), codes in _CODES.items():
        for code in codes.split():
            yield (
                code,
                AlertClass(
                    urgency=urgency,
                    audience=audience,
                    is_about_event=code in EVENT_CODES,
                ),
            )


ALERT_CLASSES: Mapping[str, AlertClass] = dict(list_classes())
"""The class of each code."""
UNKNOWN_CLASS = AlertClass(urgency=Urgency.URGENT, audience=Audience.OPERATORS)
"""The class of a code that another version has written: too early is better than too late."""
ROUTINE_CODES = frozenset(
    code for code, known in ALERT_CLASSES.items() if known.urgency is Urgency.ROUTINE
)


def classify(code: str) -> AlertClass:
    """Return the class of an alert's code, or of the first part of one such as `held.captcha`."""
    known = ALERT_CLASSES.get(code) or ALERT_CLASSES.get(code.partition(".")[0])
    return known or UNKNOWN_CLASS
