"""Whether an answer claims more than the platform knows to be true."""

from publisher.contract import Adapter
from publisher.domain.account import Traits
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    Missing,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.domain.rendition import Parcel
from publisher.testing.conformance.rules import Rule, require
from publisher.testing.conformance.stage import Stage

DENIALS = (Rejected, RateLimited, Busy, NotSent, CredentialExpired)
"""Answers that say: nothing was made."""
MADE = (HoldReason.WRONG_ACCOUNT, HoldReason.HIDDEN)
"""Where a person is asked about something that was made."""


async def publish(stage: Stage, adapter: Adapter, parcel: Parcel) -> Outcome:
    """Make one attempt. Raises BrokenRuleError where it makes more than one call or one post."""
    calls, made = stage.tally.creates, len(await stage.made())
    outcome = await adapter.publish(parcel)
    require(Rule.ONE_CREATE, stage.tally.creates - calls <= 1, f"{stage.tally.creates - calls} creating calls")
    require(Rule.ONE_CREATE, len(await stage.made()) - made <= 1, "one attempt made more than one post")
    return outcome


async def judge(stage: Stage, adapter: Adapter, parcel: Parcel, outcome: Outcome) -> None:
    """Wait until all has come true that may, and hold it against the answer; then look for the post.

    Raises BrokenRuleError.
    """
    await stage.double.heal()
    await stage.pass_time(adapter.traits.server_delay)
    made = await stage.made()
    require(Rule.ONE_CREATE, len(made) <= 1, f"{len(made)} posts stand where one was wanted")
    if isinstance(outcome, DENIALS) or (isinstance(outcome, Blocked) and outcome.hold not in MADE):
        require(Rule.HONEST_OUTCOME, not made, f"{outcome!r}, but the platform made the post")
    if isinstance(outcome, Published | Submitted):
        require(Rule.HONEST_OUTCOME, made, f"{outcome!r}, but the platform made nothing")
    if isinstance(outcome, Published):
        ids = {post.remote_id for post in made}
        require(Rule.HONEST_OUTCOME, outcome.receipt.remote_id in ids, f"{outcome!r}, but the post is {ids}")
    await stage.pass_time(adapter.traits.listing_lag)
    await judge_look(stage, parcel, adapter.traits)


async def judge_look(stage: Stage, parcel: Parcel, traits: Traits) -> None:
    """Hold what a complete look finds against what stands there. Raises BrokenRuleError."""
    made = await stage.made()
    live = [post.remote_id for post in made if post.is_live]
    finding = await stage.look(parcel)
    if live:
        is_found = isinstance(finding, Published) and finding.receipt.remote_id in live
        require(Rule.FIND_PAST_BASELINE, is_found, f"{live} is live, but find says {finding!r}")
        return
    is_honest = isinstance(finding, Missing | Unknown | Rejected if made else Missing | Unknown)
    require(Rule.ADOPTS_ITS_OWN_ONLY, is_honest, f"nothing of ours is live, but find says {finding!r}")
    is_certain = made or not traits.may_resend or isinstance(finding, Missing)
    require(Rule.FIND_PAST_BASELINE, is_certain, f"the list is short and whole, but find says {finding!r}")
