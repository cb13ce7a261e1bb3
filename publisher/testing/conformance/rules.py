"""The rules that the kit checks."""

from enum import StrEnum


class ConformanceRule(StrEnum):
    """The rules of an adapter, for any behaviour of its platform."""

    ONE_CREATE = "one_create"
    HONEST_OUTCOME = "honest_outcome"
    SERVER_ERROR_NAMED = "server_error_is_named"
    NOT_SENT_IS_PROVEN = "not_sent_is_proven"
    CLIENT_GIVEN = "client_given"
    ONE_REFRESH = "one_refresh"
    LENGTH_MEASURED = "length_measured"
    FIND_PAST_BASELINE = "find_past_baseline"
    ADOPTS_ITS_OWN_ONLY = "matches_own_posts_only"
    MARKER_SURVIVES = "marker_survives"
    RETRACTION_CONFIRMED = "retraction_confirmed"
    PROBE_TELLS = "probe_reports_failure"
    READS_OR_SAYS_SO = "unreadable_is_reported"
    SECRETS_STAY = "no_secret_leaks"
    ONE_KEY = "one_idempotency_key"
    WHOLE_CONTENT = "whole_content"
    VISIBLE_TO_ALL = "visible_to_all"
    MEDIA_STORED_ONCE = "media_stored_once"
    RIGHT_ACCOUNT = "right_account_only"
    FAULT_BITES = "fault_has_effect"

    def require(self, claim: object, what: str) -> None:
        """Raise BrokenRuleError unless the claim holds; `what` describes the breach."""
        if not claim:
            raise BrokenRuleError(self, what)


class BrokenRuleError(AssertionError):
    """An adapter broke a rule; the message begins with the rule's name."""

    def __init__(self, rule: ConformanceRule, what: str) -> None:
        super().__init__(f"{rule.value}: {what}")
        self.rule = rule
