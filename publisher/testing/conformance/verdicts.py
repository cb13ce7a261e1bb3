"""The rules that the kit checks, and checks of an outcome against the posts that exist on the platform."""

from enum import StrEnum

from publisher.contract import Adapter
from publisher.domain.post import SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotFound,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.testing.conformance.harness import Harness


class ConformanceRule(StrEnum):
    """The rules of an adapter, whatever its platform does."""

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

    def require(self, claim: object, what: str) -> None:
        """Raise BrokenRuleError unless the claim holds; `what` describes the breach."""
        if not claim:
            raise BrokenRuleError(self, what)


class BrokenRuleError(AssertionError):
    """An adapter broke a rule; the message begins with the rule's name."""

    def __init__(self, rule: ConformanceRule, what: str) -> None:
        super().__init__(f"{rule.value}: {what}")
        self.rule = rule


DENIAL_TYPES = (Rejected, RateLimited, Busy, NotSent, CredentialExpired)
"""Outcomes that state that nothing was created."""
CREATED_HOLD_REASONS = (HoldReason.WRONG_ACCOUNT, HoldReason.HIDDEN)
"""Hold reasons of a post that was created."""


def is_found_as(finding: object, remote_id: str) -> bool:
    return isinstance(finding, Published) and finding.receipt.remote_id == remote_id


async def publish_once(harness: Harness, adapter: Adapter, request: SendRequest) -> Outcome:
    """Make one attempt. Raises BrokenRuleError for more than one creating call or post."""
    calls, count = harness.call_tally.create_count, len(await harness.created_posts())
    outcome = await adapter.publish(request)
    ConformanceRule.ONE_CREATE.require(
        harness.call_tally.create_count - calls <= 1, f"{harness.call_tally.create_count - calls} creating calls"
    )
    ConformanceRule.ONE_CREATE.require(
        len(await harness.created_posts()) - count <= 1, "one attempt created more than one post"
    )
    return outcome


async def verify_outcome(harness: Harness, request: SendRequest, outcome: Outcome) -> None:
    """Wait for late effects of the platform, check the outcome against the created posts, then check the readback.

    Raises BrokenRuleError.
    """
    await harness.platform.clear_faults()
    await harness.advance_time(harness.capabilities.server_delay)
    created = await harness.created_posts()
    ConformanceRule.ONE_CREATE.require(len(created) <= 1, f"{len(created)} posts exist instead of one")
    if isinstance(outcome, DENIAL_TYPES) or (
        isinstance(outcome, Blocked) and outcome.hold_reason not in CREATED_HOLD_REASONS
    ):
        ConformanceRule.HONEST_OUTCOME.require(not created, f"{outcome!r}, but the platform created the post")
    if isinstance(outcome, Published | Submitted):
        ConformanceRule.HONEST_OUTCOME.require(created, f"{outcome!r}, but the platform created nothing")
    if isinstance(outcome, Published):
        ids = {post.remote_id for post in created}
        ConformanceRule.HONEST_OUTCOME.require(outcome.receipt.remote_id in ids, f"{outcome!r}, but the post is {ids}")
    await harness.advance_time(harness.capabilities.listing_lag)
    await verify_readback(harness, request)


async def verify_readback(harness: Harness, request: SendRequest) -> None:
    """Check a complete readback against the created posts. Raises BrokenRuleError."""
    created = await harness.created_posts()
    live = [post.remote_id for post in created if post.is_published]
    finding = await harness.find_post(request)
    if live:
        is_found = any(is_found_as(finding, remote_id) for remote_id in live)
        ConformanceRule.FIND_PAST_BASELINE.require(is_found, f"{live} is live, but find says {finding!r}")
        return
    is_honest = isinstance(finding, NotFound | Unknown | Rejected if created else NotFound | Unknown)
    ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(is_honest, f"nothing of ours is live, but find says {finding!r}")
    is_certain = created or not harness.capabilities.can_resend or isinstance(finding, NotFound)
    ConformanceRule.FIND_PAST_BASELINE.require(is_certain, f"the list is short and whole, but find says {finding!r}")
