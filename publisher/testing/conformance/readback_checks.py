"""What every adapter's reads must keep: looks, removals, probes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.contract import Adapter, AdapterFactory
from publisher.domain.rendered import SendRequest
from publisher.domain.results import (
    CredentialExpired,
    Deleted,
    Healthy,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.testing.conformance.faults import (
    FAILED_READ_FAULTS,
    TEXT_REWRITES,
    TRUNCATED_LIST_FAULTS,
    UNREADABLE_LIST_FAULTS,
    AdapterFault,
)
from publisher.testing.conformance.harness import Harness
from publisher.testing.conformance.rules import ConformanceRule, require_rule
from publisher.testing.conformance.test_server import FaultTarget
from publisher.testing.conformance.verdicts import publish_once, verify_readback

RATE_LIMIT_PERIOD = timedelta(minutes=2)
"""For so long a platform wants no call."""


class ReadChecks:
    """Rules of the calls that bring certainty."""

    open_harness: Callable[[], AbstractAsyncContextManager[Harness]]
    factory: AdapterFactory
    later_post_count: int = 30
    """So many posts push ours off the first page."""

    @pytest.mark.parametrize("how", TEXT_REWRITES)
    async def test_knows_its_post_by_the_marker(self, how: str) -> None:
        """What the platform does to the words does not hide the post."""
        async with self.open_harness() as harness:
            await harness.inject_fault(FaultTarget.CREATE, "rewrite", how=how)
            request = harness.make_request()
            await publish_once(harness, harness.build_adapter(), request)
            await _wait_until_visible(harness)
            [made] = await harness.created_posts()
            finding = await harness.find_post(request)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == made.remote_id
            require_rule(
                ConformanceRule.MARKER_SURVIVES,
                is_found,
                f"rewritten ({how}), {made.remote_id} is live, but {finding!r}",
            )

    async def test_finds_its_post_behind_many(self) -> None:
        """A post that was pushed off the first page is found, or not denied."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            await self._add_later_posts(harness)
            finding = await harness.find_post(request)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_honest = is_found or isinstance(finding, Unknown)
            require_rule(ConformanceRule.FIND_PAST_BASELINE, is_honest, f"{receipt.remote_id} is live, but {finding!r}")
            is_paged = harness.build_adapter().capabilities.list_size is None
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE, is_found or not is_paged, f"the list has no end, but {finding!r}"
            )

    async def test_ignores_external_posts(self) -> None:
        """What people posted meanwhile is not ours, however new it is."""
        async with self.open_harness() as harness:
            request = harness.make_request()
            await harness.inject_fault(FaultTarget.CREATE, "drop_before")
            await publish_once(harness, harness.build_adapter(), request)
            await harness.platform.clear_faults()
            await harness.post_manually("别人的新消息", "这是别人刚刚发布的消息，与本条无关。")
            await _wait_until_visible(harness)
            await verify_readback(harness, request, harness.build_adapter().capabilities)

    async def test_absence_needs_the_whole_list(self) -> None:
        """Where the list does not reach back past the baseline, absence is not claimed."""
        async with self.open_harness() as harness:
            request = harness.make_request()
            await self._add_later_posts(harness)
            finding = await harness.find_post(request)
            require_rule(
                ConformanceRule.ADOPTS_ITS_OWN_ONLY,
                isinstance(finding, NotFound | Unknown),
                f"ours was never sent, {finding!r}",
            )
            reaches = not isinstance(finding, NotFound) or finding.covered_since <= request.baseline.taken_at
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE,
                reaches,
                f"{finding!r} does not reach back to {request.baseline.taken_at}",
            )
            readable = harness.build_adapter().capabilities.list_size
            is_far = readable is None or readable > self.later_post_count
            is_honest = is_far or isinstance(finding, Unknown)
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE,
                is_honest,
                f"only {readable} of {self.later_post_count} can be read, but {finding!r}",
            )

    async def test_ignores_posts_of_other_deliveries(self) -> None:
        """A post that is another delivery's proof is never adopted."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            adapter = harness.build_adapter()
            finding = await adapter.find_post(replace(request, owned_ids=frozenset({receipt.remote_id})))
            is_other = not isinstance(finding, Published | Submitted)
            require_rule(
                ConformanceRule.ADOPTS_ITS_OWN_ONLY, is_other, f"{receipt.remote_id} is another's, but {finding!r}"
            )

    @pytest.mark.parametrize("fault", UNREADABLE_LIST_FAULTS, ids=str)
    async def test_a_list_that_cannot_be_read_proves_nothing(self, fault: AdapterFault) -> None:
        """As long as a post stands, no spoiled list lets it be denied."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            await harness.inject_fault(FaultTarget.LIST, fault.kind, **fault.facts)
            finding = await harness.find_post(request)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_honest = is_found or isinstance(finding, Unknown)
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE, is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}"
            )
            await harness.platform.clear_faults()
            await verify_readback(harness, request, harness.build_adapter().capabilities)

    @pytest.mark.parametrize("fault", TRUNCATED_LIST_FAULTS, ids=str)
    async def test_a_list_that_cuts_its_words_denies_nothing(self, fault: AdapterFault) -> None:
        """A post of which a list shows the beginning alone is found, or like ours, or in doubt."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            await harness.inject_fault(FaultTarget.LIST, fault.kind, **fault.facts)
            finding = await harness.find_post(request)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_alike = isinstance(finding, PossibleMatch) and finding.remote_id == receipt.remote_id
            is_honest = is_found or is_alike or isinstance(finding, Unknown)
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE, is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}"
            )

    @pytest.mark.parametrize("fault", FAILED_READ_FAULTS, ids=str)
    async def test_a_silent_platform_is_unknown(self, fault: AdapterFault) -> None:
        """Reads that bring nothing say so, all of them."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            adapter = harness.build_adapter()
            await harness.advance_time(adapter.capabilities.first_metrics_after + timedelta(days=1))
            await harness.inject_fault(FaultTarget.ANY, fault.kind, **fault.facts)
            answers = {
                "find": await adapter.find_post(request),
                "follow_up": await adapter.check_ticket(Ticket(payload=receipt.remote_id)),
                "probe": await adapter.check_health(),
                "recent": await adapter.list_recent(),
                "measure_reach": await adapter.read_metrics([receipt]),
                "retract": await adapter.retract(receipt),
            }
            wrong = {name: answer for name, answer in answers.items() if not isinstance(answer, Unknown)}
            require_rule(ConformanceRule.READS_OR_SAYS_SO, not wrong, f"{fault}, but {wrong!r}")

    async def test_says_when_the_platform_wants_fewer_calls(self) -> None:
        """A read that is answered with 429 is a limit with its end, and no further call is made meanwhile."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            await harness.advance_time(harness.build_adapter().capabilities.first_metrics_after + timedelta(days=1))
            await harness.inject_fault(
                FaultTarget.ANY, "status", code=429, headers={"retry-after": str(RATE_LIMIT_PERIOD.seconds)}
            )
            reads: dict[str, Callable[[Adapter], Awaitable[object]]] = {
                "find": lambda adapter: adapter.find_post(request),
                "probe": lambda adapter: adapter.check_health(),
                "recent": lambda adapter: adapter.list_recent(),
                "measure_reach": lambda adapter: adapter.read_metrics([receipt]),
                "retract": lambda adapter: adapter.retract(receipt),
            }
            for name, read in reads.items():
                before, calls = harness.now(), len(harness.call_tally.requests)
                answer = await read(harness.build_adapter())
                is_limit = isinstance(answer, RateLimited) and answer.until is not None
                require_rule(
                    ConformanceRule.READS_OR_SAYS_SO, is_limit, f"{name} was answered with 429, but says {answer!r}"
                )
                until = answer.until if isinstance(answer, RateLimited) else None
                is_kept = until is not None and until >= before + RATE_LIMIT_PERIOD
                require_rule(
                    ConformanceRule.READS_OR_SAYS_SO,
                    is_kept,
                    f"{name} must rest for {RATE_LIMIT_PERIOD}, but says {answer!r}",
                )
                made = len(harness.call_tally.requests) - calls
                require_rule(
                    ConformanceRule.READS_OR_SAYS_SO,
                    made == 1,
                    f"{name} made {made} calls though the first was limited",
                )

    async def test_sees_that_the_platform_took_it_down(self) -> None:
        """A post that was taken down is not called live any more."""
        async with self.open_harness() as harness:
            request, receipt = await _publish_visible(harness)
            await harness.platform.remove(receipt.remote_id)
            finding = await harness.find_post(request)
            is_gone = isinstance(finding, Deleted | NotFound | Unknown | Rejected)
            require_rule(ConformanceRule.FIND_PAST_BASELINE, is_gone, f"taken down, but find says {finding!r}")

    async def test_retracts_and_confirms(self) -> None:
        """A post is taken down once, confirmed, and taking it down again changes nothing."""
        async with self.open_harness() as harness:
            _parcel, receipt = await _publish_visible(harness)
            for _ in range(2):
                removal = await harness.build_adapter().retract(receipt)
                require_rule(
                    ConformanceRule.RETRACTION_CONFIRMED, isinstance(removal, Deleted), f"taken down, but {removal!r}"
                )
                live = [post.remote_id for post in await harness.platform.posts() if post.is_published]
                require_rule(
                    ConformanceRule.RETRACTION_CONFIRMED,
                    receipt.remote_id not in live,
                    f"{removal!r}, but it is still live",
                )

    @pytest.mark.parametrize(
        "fault", [*FAILED_READ_FAULTS, AdapterFault(kind="drop_after"), AdapterFault(kind="truncate")], ids=str
    )
    async def test_unknown_removal_is_not_claimed(self, fault: AdapterFault) -> None:
        """Gone is said only of what is gone, Rejected only of what stands."""
        async with self.open_harness() as harness:
            _parcel, receipt = await _publish_visible(harness)
            await harness.inject_fault(FaultTarget.RETRACT, fault.kind, **fault.facts)
            removal = await harness.build_adapter().retract(receipt)
            is_live = receipt.remote_id in {
                post.remote_id for post in await harness.platform.posts() if post.is_published
            }
            is_honest = isinstance(removal, (Unknown, Rejected if is_live else Deleted))
            require_rule(
                ConformanceRule.RETRACTION_CONFIRMED, is_honest, f"{fault}: live is {is_live}, but {removal!r}"
            )
            await harness.platform.clear_faults()
            again = await harness.build_adapter().retract(receipt)
            require_rule(
                ConformanceRule.RETRACTION_CONFIRMED,
                isinstance(again, Deleted),
                f"repeated after {fault}, but {again!r}",
            )

    async def test_waits_out_what_the_platform_does_late(self) -> None:
        """The settle time covers the longest late act and the longest listing lag, and one deadline as a margin.

        When a call is given up, its request may still stand in a queue of the platform's.
        """
        async with self.open_harness() as harness:
            capabilities, timing = harness.build_adapter().capabilities, self.factory.defaults.timing
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE,
                timing.has_valid_order,
                f"not request_timeout < lease_timeout < visibility_window: {timing!r}",
            )
            least = capabilities.server_delay + capabilities.listing_lag + timing.request_timeout
            require_rule(
                ConformanceRule.FIND_PAST_BASELINE,
                timing.visibility_window >= least,
                f"visibility_window {timing.visibility_window} is under {least}",
            )

    async def test_probe_tells_whether_the_login_works(self) -> None:
        """Ready with a login that works, CredentialExpired without credentials and with refused ones."""
        async with self.open_harness() as harness:
            health = await harness.build_adapter().check_health()
            require_rule(ConformanceRule.PROBE_TELLS, isinstance(health, Healthy), f"the login works, but {health!r}")
            health = await harness.build_adapter(secret={}).check_health()
            require_rule(
                ConformanceRule.PROBE_TELLS, isinstance(health, CredentialExpired), f"no credentials, but {health!r}"
            )
            await harness.inject_fault(FaultTarget.PROBE, "expire_token")
            health = await harness.build_adapter().check_health()
            require_rule(
                ConformanceRule.PROBE_TELLS, isinstance(health, CredentialExpired), f"a refused sign-in, but {health!r}"
            )

    async def _add_later_posts(self, harness: Harness) -> None:
        for number in range(self.later_post_count):
            await harness.post_manually(f"别人的第{number}条消息", f"这是别人随后发布的第{number}条消息。")
        await _wait_until_visible(harness)


async def _publish_visible(harness: Harness) -> tuple[SendRequest, Receipt]:
    """Publish a post and wait until everybody sees it."""
    request = harness.make_request()
    outcome = await publish_once(harness, harness.build_adapter(), request)
    require_rule(
        ConformanceRule.HONEST_OUTCOME, isinstance(outcome, Published | Submitted), f"nothing is wrong, but {outcome!r}"
    )
    await _wait_until_visible(harness)
    finding = await harness.find_post(request)
    require_rule(
        ConformanceRule.FIND_PAST_BASELINE,
        isinstance(finding, Published),
        f"our post is live, but find says {finding!r}",
    )
    return request, _require_receipt(finding)


def _require_receipt(finding: object) -> Receipt:
    if not isinstance(finding, Published):
        raise TypeError(finding)
    return finding.receipt


async def _wait_until_visible(harness: Harness) -> None:
    """Let all come true that a platform may still do late."""
    capabilities = harness.build_adapter().capabilities
    await harness.platform.clear_faults()
    await harness.advance_time(capabilities.server_delay + capabilities.listing_lag)
