"""Whether an answer claims more than the platform knows to be true."""

from publisher.contract import Adapter
from publisher.domain.account import Capabilities
from publisher.domain.rendered import SendRequest
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
from publisher.testing.conformance.rules import ConformanceRule, require_rule

DENIAL_TYPES = (Rejected, RateLimited, Busy, NotSent, CredentialExpired)
"""Answers that say: nothing was made."""
CREATED_HOLD_REASONS = (HoldReason.WRONG_ACCOUNT, HoldReason.HIDDEN)
"""Where a person is asked about something that was made."""


async def publish_once(harness: Harness, adapter: Adapter, request: SendRequest) -> Outcome:
    """Make one attempt. Raises BrokenRuleError where it makes more than one call or one post."""
    calls, made = harness.call_tally.create_count, len(await harness.created_posts())
    outcome = await adapter.publish(request)
    require_rule(
        ConformanceRule.ONE_CREATE,
        harness.call_tally.create_count - calls <= 1,
        f"{harness.call_tally.create_count - calls} creating calls",
    )
    require_rule(
        ConformanceRule.ONE_CREATE,
        len(await harness.created_posts()) - made <= 1,
        "one attempt made more than one post",
    )
    return outcome


async def verify_outcome(harness: Harness, adapter: Adapter, request: SendRequest, outcome: Outcome) -> None:
    """Wait until all has come true that may, and hold it against the answer; then look for the post.

    Raises BrokenRuleError.
    """
    await harness.platform.clear_faults()
    await harness.advance_time(adapter.capabilities.server_delay)
    made = await harness.created_posts()
    require_rule(ConformanceRule.ONE_CREATE, len(made) <= 1, f"{len(made)} posts stand where one was wanted")
    if isinstance(outcome, DENIAL_TYPES) or (
        isinstance(outcome, Blocked) and outcome.hold_reason not in CREATED_HOLD_REASONS
    ):
        require_rule(ConformanceRule.HONEST_OUTCOME, not made, f"{outcome!r}, but the platform made the post")
    if isinstance(outcome, Published | Submitted):
        require_rule(ConformanceRule.HONEST_OUTCOME, made, f"{outcome!r}, but the platform made nothing")
    if isinstance(outcome, Published):
        ids = {post.remote_id for post in made}
        require_rule(
            ConformanceRule.HONEST_OUTCOME, outcome.receipt.remote_id in ids, f"{outcome!r}, but the post is {ids}"
        )
    await harness.advance_time(adapter.capabilities.listing_lag)
    await verify_readback(harness, request, adapter.capabilities)


async def verify_readback(harness: Harness, request: SendRequest, capabilities: Capabilities) -> None:
    """Hold what a complete look finds against what stands there. Raises BrokenRuleError."""
    made = await harness.created_posts()
    live = [post.remote_id for post in made if post.is_published]
    finding = await harness.find_post(request)
    if live:
        is_found = isinstance(finding, Published) and finding.receipt.remote_id in live
        require_rule(ConformanceRule.FIND_PAST_BASELINE, is_found, f"{live} is live, but find says {finding!r}")
        return
    is_honest = isinstance(finding, NotFound | Unknown | Rejected if made else NotFound | Unknown)
    require_rule(ConformanceRule.ADOPTS_ITS_OWN_ONLY, is_honest, f"nothing of ours is live, but find says {finding!r}")
    is_certain = made or not capabilities.can_resend or isinstance(finding, NotFound)
    require_rule(
        ConformanceRule.FIND_PAST_BASELINE, is_certain, f"the list is short and whole, but find says {finding!r}"
    )
