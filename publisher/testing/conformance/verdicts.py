"""Checks of an outcome against the posts that exist on the platform."""

import re
from html import unescape

from publisher.contract import Adapter
from publisher.domain.post import SendRequest, normalize
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
from publisher.testing.conformance.harness import Harness, PlatformPost, count_pictures
from publisher.testing.conformance.rules import ConformanceRule

DENIAL_TYPES = (Rejected, RateLimited, Busy, NotSent, CredentialExpired)
"""Outcomes that state that nothing was created."""
CREATED_HOLD_REASONS = (HoldReason.WRONG_ACCOUNT, HoldReason.HIDDEN)
"""Hold reasons of a post that was created."""
FOREIGN_LOGIN_REASONS = (HoldReason.WRONG_SECRET, HoldReason.WRONG_ACCOUNT)
"""Hold reasons of a login that is another account's."""
MAX_EXCERPT_CHARACTERS = 200
"""How much of a text a failure quotes."""
_TAG = re.compile(r"<[^<>]+>")
_LINK = re.compile(r"https?://[^\s<>\"']+")


def is_found_as(finding: object, remote_id: str) -> bool:
    return isinstance(finding, Published) and finding.receipt.remote_id == remote_id


async def publish_once(
    harness: Harness, adapter: Adapter, request: SendRequest
) -> Outcome:
    """Make one attempt. Raises BrokenRuleError for more than one creating call or post."""
    calls, count = harness.call_tally.create_count, len(await harness.created_posts())
    outcome = await adapter.publish(request)
    ConformanceRule.ONE_CREATE.require(
        harness.call_tally.create_count - calls <= 1,
        f"{harness.call_tally.create_count - calls} creating calls",
    )
    ConformanceRule.ONE_CREATE.require(
        len(await harness.created_posts()) - count <= 1,
        "one attempt created more than one post",
    )
    return outcome


async def publish_well(
    harness: Harness, adapter: Adapter, request: SendRequest
) -> Outcome:
    """Make one attempt with nothing in its way.

    Raises BrokenRuleError unless it succeeds.
    """
    outcome = await publish_once(harness, adapter, request)
    ConformanceRule.HONEST_OUTCOME.require(
        isinstance(outcome, Published | Submitted), f"nothing is wrong, but {outcome!r}"
    )
    return outcome


def verify_content(harness: Harness, request: SendRequest, post: PlatformPost) -> None:
    """Check that a post has the title, all words, a link for each link, and each picture.

    Raises BrokenRuleError. The platform may have replaced links by short ones.
    """
    rendered, shown = request.rendered, _to_words(post.text)
    title = rendered.title if harness.capabilities.title_limits[1] else ""
    for words in (title, *_LINK.split(request.text)):
        missing, whole = (
            words[:MAX_EXCERPT_CHARACTERS],
            post.text[:MAX_EXCERPT_CHARACTERS],
        )
        ConformanceRule.WHOLE_CONTENT.require(
            _to_words(words) in shown, f"{missing!r} is missing in {whole!r}"
        )
    wanted, links = len(_LINK.findall(request.text)), len(_LINK.findall(post.text))
    ConformanceRule.WHOLE_CONTENT.require(links >= wanted, f"{links} of {wanted} links")
    ConformanceRule.WHOLE_CONTENT.require(
        post.picture_count == len(rendered.images),
        f"{post.picture_count} of {len(rendered.images)} pictures",
    )


def count_uploads(harness: Harness, *, since: int) -> int:
    """Return how many pictures were sent before creating calls, from that request on."""
    tally = harness.call_tally
    calls = [
        call
        for call in tally.requests[since:]
        if not any(call is created for created in tally.created_by)
    ]
    return sum(count_pictures(call, harness.images) for call in calls)


def _to_words(text: str) -> str:
    return normalize(unescape(_TAG.sub("", text)))


async def verify_outcome(
    harness: Harness, request: SendRequest, outcome: Outcome
) -> None:
    """Wait for late effects, check the outcome by the created posts, then check the readback.

    The effects are the platform's. Raises BrokenRuleError.
    """
    await harness.advance_time(harness.capabilities.server_delay)
    created = await harness.created_posts()
    ConformanceRule.ONE_CREATE.require(
        len(created) <= 1, f"{len(created)} posts exist instead of one"
    )
    if isinstance(outcome, DENIAL_TYPES) or (
        isinstance(outcome, Blocked) and outcome.hold_reason not in CREATED_HOLD_REASONS
    ):
        ConformanceRule.HONEST_OUTCOME.require(
            not created, f"{outcome!r}, but the platform created the post"
        )
    if isinstance(outcome, Published | Submitted):
        ConformanceRule.HONEST_OUTCOME.require(
            created, f"{outcome!r}, but the platform created nothing"
        )
    if isinstance(outcome, Published):
        ids = {post.remote_id for post in created}
        ConformanceRule.HONEST_OUTCOME.require(
            outcome.receipt.remote_id in ids, f"{outcome!r}, but the post is {ids}"
        )
    await harness.advance_time(harness.capabilities.listing_lag)
    await verify_readback(harness, request)


async def verify_readback(harness: Harness, request: SendRequest) -> None:
    """Check a complete readback against the created posts. Raises BrokenRuleError."""
    created = await harness.created_posts()
    live = [post.remote_id for post in created if post.is_published]
    finding = await harness.find_post(request)
    if live:
        is_found = any(is_found_as(finding, remote_id) for remote_id in live)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_found, f"{live} is live, but find says {finding!r}"
        )
        return
    is_honest = isinstance(
        finding, NotFound | Unknown | Rejected if created else NotFound | Unknown
    )
    ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
        is_honest, f"nothing of ours is live, but find says {finding!r}"
    )
    is_certain = (
        created or not harness.capabilities.can_resend or isinstance(finding, NotFound)
    )
    ConformanceRule.FIND_PAST_BASELINE.require(
        is_certain, f"the list is short and whole, but find says {finding!r}"
    )
