"""The rules that the kit can show by running, and what breaking one looks like."""

from enum import StrEnum


class ConformanceRule(StrEnum):
    """What an adapter must keep, whatever its platform does."""

    ONE_CREATE = "one_create"
    HONEST_OUTCOME = "honest_outcome"
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


class BrokenRuleError(AssertionError):
    """An adapter broke a rule; the message begins with the rule's name."""

    def __init__(self, rule: ConformanceRule, what: str) -> None:
        super().__init__(f"{rule.value}: {what}")
        self.rule = rule


def require_rule(rule: ConformanceRule, claim: object, what: str) -> None:
    """Demand what a rule asks. Raises BrokenRuleError."""
    if not claim:
        raise BrokenRuleError(rule, what)
