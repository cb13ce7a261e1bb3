"""Rules for every adapter's readbacks, deletions and health checks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.contract import Adapter, AdapterFactory
from publisher.domain.post import SendRequest
from publisher.domain.results import (
    Blocked,
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
    UNCONFIRMED_DELETION_FAULTS,
    UNREADABLE_LIST_FAULTS,
    AdapterFault,
    make_fault,
)
from publisher.testing.conformance.harness import FaultTarget, Harness
from publisher.testing.conformance.rules import BrokenRuleError, ConformanceRule
from publisher.testing.conformance.verdicts import (
    FOREIGN_LOGIN_REASONS,
    is_found_as,
    publish_once,
    publish_well,
    verify_readback,
)
from publisher.testing.fault_front import rewrite_text

RATE_LIMIT_PERIOD = timedelta(minutes=2)
"""The time of refused calls."""
NOT_ADOPTED = (PossibleMatch, NotFound, Unknown)
"""Possible results of a readback for a post that is not its own."""
LOOKALIKE_NUMBER = 10_000
"""The number of the delivery with a marker that a lookalike of our post carries."""


class ReadChecks:
    """Checks of the calls that resolve an unknown outcome."""

    factory: AdapterFactory
    later_post_count: int = 30
    """The number of posts that push ours off the first page."""

    @pytest.mark.parametrize("how", TEXT_REWRITES)
    async def test_knows_its_post_by_the_marker(
        self, harness: Harness, how: str
    ) -> None:
        """The platform's changes to the text do not hide the post."""
        request = harness.make_request()
        if rewrite_text(request.text, how=how) == request.text:
            pytest.skip(
                f"NOT APPLICABLE: the sample has nothing that changes with {how}"
            )
        async with harness.fault(FaultTarget.CREATE, make_fault("rewrite", how=how)):
            await publish_once(harness, harness.build_adapter(), request)
            await harness.wait_until_visible()
            [post] = await harness.created_posts()
            finding = await harness.find_post(request)
        is_found = is_found_as(finding, post.remote_id)
        ConformanceRule.MARKER_SURVIVES.require(
            is_found, f"rewritten ({how}), {post.remote_id} is live, but {finding!r}"
        )

    async def test_finds_its_post_behind_many(self, harness: Harness) -> None:
        """A post beyond the first page is found, or not denied."""
        request, receipt = await _publish_visible(harness)
        await self._add_later_posts(harness)
        finding = await harness.find_post(request)
        is_found = is_found_as(finding, receipt.remote_id)
        is_honest = is_found or isinstance(finding, Unknown)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest, f"{receipt.remote_id} is live, but {finding!r}"
        )
        is_paged = harness.capabilities.list_size is None
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_found or not is_paged, f"the list has no end, but {finding!r}"
        )

    async def test_ignores_external_posts(self, harness: Harness) -> None:
        """External posts are not ours, however new they are."""
        request = harness.make_request()
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_before")):
            await publish_once(harness, harness.build_adapter(), request)
        await harness.post_manually(
            "别人的新消息", "这是别人刚刚发布的消息，与本条无关。"
        )
        await harness.wait_until_visible()
        await verify_readback(harness, request)

    @pytest.mark.parametrize("number", ["another's", "none"])
    async def test_ignores_lookalikes(self, harness: Harness, number: str) -> None:
        """A post with our words, but without our marker, is at most a possible match."""
        request, code = (
            harness.make_request(),
            harness.make_marker(LOOKALIKE_NUMBER).code,
        )
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_before")):
            await publish_once(harness, harness.build_adapter(), request)
        title, text = (
            words.replace(request.marker.code, code if number == "another's" else "")
            for words in (request.rendered.title, request.text)
        )
        remote_id = await harness.post_manually(title, text)
        await harness.wait_until_visible()
        finding = await harness.find_post(request)
        ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
            isinstance(finding, NOT_ADOPTED),
            f"{remote_id} has our words with {number} marker, but find says {finding!r}",
        )

    async def test_ignores_lookalikes_in_a_list_that_cuts_its_words(
        self, harness: Harness
    ) -> None:
        """A post that begins like ours is at most a possible match if the list has no marker."""
        request, code = (
            harness.make_request(),
            harness.make_marker(LOOKALIKE_NUMBER).code,
        )
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_before")):
            await publish_once(harness, harness.build_adapter(), request)
        title, text = (
            words.replace(request.marker.code, code)
            for words in (request.rendered.title, request.text)
        )
        remote_id = await harness.post_manually(title, text)
        await harness.wait_until_visible()
        async with harness.fault(
            FaultTarget.LIST,
            make_fault("rewrite", how="excerpt", characters=12),
            is_needed=False,
        ):
            finding = await harness.find_post(request)
        ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
            isinstance(finding, NOT_ADOPTED),
            f"{remote_id} only begins like ours, but find says {finding!r}",
        )

    @pytest.mark.parametrize(
        "is_newest_known", [True, False], ids=["newest known", "newest unknown"]
    )
    async def test_ignores_posts_from_before_the_baseline(
        self, harness: Harness, *, is_newest_known: bool
    ) -> None:
        """A post that was there before the attempt is not its post, even with its marker."""
        request, receipt = await _publish_visible(harness)
        baseline = await harness.take_baseline()
        if not is_newest_known:
            baseline = replace(baseline, newest_id=None)
        finding = await harness.find_post(
            replace(request, baseline=baseline, intended_at=harness.now())
        )
        ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
            isinstance(finding, NOT_ADOPTED),
            f"{receipt.remote_id} is older than the attempt, but find says {finding!r}",
        )

    async def test_a_list_of_another_account_proves_nothing(
        self, harness: Harness
    ) -> None:
        """If the lists name another account, `find_post` is Unknown."""
        request, _ = await _publish_visible(harness)
        async with harness.fault(FaultTarget.LIST, make_fault("wrong_account")):
            finding = await harness.build_adapter().find_post(request)
        ConformanceRule.RIGHT_ACCOUNT.require(
            isinstance(finding, Unknown),
            f"the list is another account's, but find says {finding!r}",
        )

    async def test_recent_posts_of_another_account_are_not_shown(
        self, harness: Harness
    ) -> None:
        """If the newest posts name another account, `list_recent` is Unknown."""
        await _publish_visible(harness)
        async with harness.fault(FaultTarget.RECENT, make_fault("wrong_account")):
            recent = await harness.build_adapter().list_recent()
        ConformanceRule.RIGHT_ACCOUNT.require(
            isinstance(recent, Unknown),
            f"the list is another account's, but it says {recent!r}",
        )

    async def test_a_post_of_another_account_is_not_followed(
        self, harness: Harness
    ) -> None:
        """If the read of a post names another account, `check_ticket` is Unknown."""
        _, receipt = await _publish_visible(harness)
        async with harness.fault(FaultTarget.TICKET, make_fault("wrong_account")):
            finding = await harness.build_adapter().check_ticket(
                Ticket(payload=receipt.remote_id)
            )
        ConformanceRule.RIGHT_ACCOUNT.require(
            isinstance(finding, Unknown),
            f"the post is another account's, but it says {finding!r}",
        )

    async def test_a_login_of_another_account_is_blocked(
        self, harness: Harness
    ) -> None:
        """If the login belongs to another account, the health check is Blocked as such."""
        async with harness.fault(FaultTarget.PROBE, make_fault("wrong_account")):
            health = await harness.build_adapter().check_health()
        is_noticed = (
            isinstance(health, Blocked) and health.hold_reason in FOREIGN_LOGIN_REASONS
        )
        ConformanceRule.RIGHT_ACCOUNT.require(
            is_noticed, f"the login is another account's, but it says {health!r}"
        )

    async def test_a_known_post_is_followed_by_its_id(self, harness: Harness) -> None:
        """A ticket with the plain remote id reads that post.

        The post is published, then deleted, or Unknown.
        """
        _, receipt = await _publish_visible(harness)
        ticket = Ticket(payload=receipt.remote_id)
        finding = await harness.build_adapter().check_ticket(ticket)
        is_honest = is_found_as(finding, receipt.remote_id) or isinstance(
            finding, Unknown
        )
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest, f"{receipt.remote_id} is live, but {finding!r}"
        )
        await harness.platform.remove(receipt.remote_id)
        finding = await harness.build_adapter().check_ticket(ticket)
        is_honest = isinstance(finding, Deleted | Unknown)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest, f"{receipt.remote_id} was removed, but {finding!r}"
        )

    async def test_absence_needs_the_whole_list(self, harness: Harness) -> None:
        """If the list does not reach back past the baseline, absence is not claimed."""
        request = harness.make_request()
        await self._add_later_posts(harness)
        finding = await harness.find_post(request)
        ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
            isinstance(finding, NotFound | Unknown), f"ours was never sent, {finding!r}"
        )
        reaches = (
            not isinstance(finding, NotFound)
            or finding.covered_since <= request.baseline.taken_at
        )
        ConformanceRule.FIND_PAST_BASELINE.require(
            reaches, f"{finding!r} does not reach back to {request.baseline.taken_at}"
        )
        readable = harness.capabilities.list_size
        is_far = readable is None or readable > self.later_post_count
        is_honest = is_far or isinstance(finding, Unknown)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest,
            f"only {readable} of {self.later_post_count} can be read, but {finding!r}",
        )

    async def test_ignores_posts_of_other_deliveries(self, harness: Harness) -> None:
        """A post that belongs to another delivery is never matched."""
        request, receipt = await _publish_visible(harness)
        adapter = harness.build_adapter()
        finding = await adapter.find_post(
            replace(request, owned_ids=frozenset({receipt.remote_id}))
        )
        is_other = not isinstance(finding, Published | Submitted)
        ConformanceRule.ADOPTS_ITS_OWN_ONLY.require(
            is_other, f"{receipt.remote_id} is another's, but {finding!r}"
        )

    @pytest.mark.parametrize("fault", UNREADABLE_LIST_FAULTS, ids=str)
    async def test_a_list_that_cannot_be_read_proves_nothing(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """As long as a post exists, no faulty list leads to its denial."""
        request, receipt = await _publish_visible(harness)
        async with harness.fault(FaultTarget.LIST, fault):
            finding = await harness.find_post(request)
        is_found = is_found_as(finding, receipt.remote_id)
        is_honest = is_found or isinstance(finding, Unknown)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}"
        )
        await verify_readback(harness, request)

    @pytest.mark.parametrize("fault", TRUNCATED_LIST_FAULTS, ids=str)
    async def test_a_list_that_cuts_its_words_denies_nothing(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """A post with only its beginning in a list is found, a possible match, or Unknown."""
        request, receipt = await _publish_visible(harness)
        async with harness.fault(FaultTarget.LIST, fault):
            finding = await harness.find_post(request)
        is_found = is_found_as(finding, receipt.remote_id)
        is_alike = (
            isinstance(finding, PossibleMatch)
            and finding.remote_id == receipt.remote_id
        )
        is_honest = is_found or is_alike or isinstance(finding, Unknown)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}"
        )

    @pytest.mark.parametrize("fault", FAILED_READ_FAULTS, ids=str)
    async def test_a_silent_platform_is_unknown(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """All reads report a failed read as Unknown."""
        request, receipt = await _publish_visible(harness)
        await harness.advance_time(
            harness.capabilities.first_metrics_after + timedelta(days=1)
        )
        adapter = harness.build_adapter()
        async with harness.fault(FaultTarget.ANY, fault):
            answers = {
                name: await read(adapter)
                for name, read in _get_reads(harness, request, receipt).items()
            }
        wrong = {
            name: answer
            for name, answer in answers.items()
            if not isinstance(answer, Unknown)
        }
        ConformanceRule.READS_OR_SAYS_SO.require(not wrong, f"{fault}, but {wrong!r}")

    async def test_says_when_the_platform_wants_fewer_calls(
        self, harness: Harness
    ) -> None:
        """A read refused with 429 is RateLimited with its end, and makes no further call."""
        request, receipt = await _publish_visible(harness)
        await harness.advance_time(
            harness.capabilities.first_metrics_after + timedelta(days=1)
        )
        headers = {"retry-after": str(RATE_LIMIT_PERIOD.seconds)}
        async with harness.fault(
            FaultTarget.ANY, make_fault("status", code=429, headers=headers)
        ):
            for name, read in _get_reads(harness, request, receipt).items():
                before, calls = harness.now(), len(harness.call_tally.requests)
                answer = await read(harness.build_adapter())
                if (
                    isinstance(answer, Unknown)
                    and len(harness.call_tally.requests) == calls
                ):
                    continue  # the platform has no such read
                until = answer.until if isinstance(answer, RateLimited) else None
                ConformanceRule.READS_OR_SAYS_SO.require(
                    until, f"{name} was answered with 429, but says {answer!r}"
                )
                is_kept = until is not None and until >= before + RATE_LIMIT_PERIOD
                ConformanceRule.READS_OR_SAYS_SO.require(
                    is_kept,
                    f"{name} must wait for {RATE_LIMIT_PERIOD}, but says {answer!r}",
                )
                count = len(harness.call_tally.requests) - calls
                ConformanceRule.READS_OR_SAYS_SO.require(
                    count == 1,
                    f"{name} made {count} calls though the first was limited",
                )

    async def test_sees_that_the_platform_took_it_down(self, harness: Harness) -> None:
        """A deleted post is no longer reported as live."""
        request, receipt = await _publish_visible(harness)
        await harness.platform.remove(receipt.remote_id)
        finding = await harness.find_post(request)
        is_gone = isinstance(finding, Deleted | NotFound | Unknown | Rejected)
        ConformanceRule.FIND_PAST_BASELINE.require(
            is_gone, f"taken down, but find says {finding!r}"
        )

    async def test_retracts_and_confirms(self, harness: Harness) -> None:
        """A post is deleted with confirmation, and deleting it again changes nothing."""
        _skip_without_deletion(harness)
        _, receipt = await _publish_visible(harness)
        for _ in range(2):
            result = await harness.build_adapter().retract(receipt)
            ConformanceRule.RETRACTION_CONFIRMED.require(
                isinstance(result, Deleted), f"taken down, but {result!r}"
            )
            live = [
                post.remote_id
                for post in await harness.platform.posts()
                if post.is_published
            ]
            ConformanceRule.RETRACTION_CONFIRMED.require(
                receipt.remote_id not in live, f"{result!r}, but it is still live"
            )

    @pytest.mark.parametrize("fault", UNCONFIRMED_DELETION_FAULTS, ids=str)
    async def test_unknown_result_is_not_claimed(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """Deleted is reported only of a deleted post, Rejected only of a live one."""
        _skip_without_deletion(harness)
        _, receipt = await _publish_visible(harness)
        async with harness.fault(FaultTarget.RETRACT, fault):
            result = await harness.build_adapter().retract(receipt)
        is_live = receipt.remote_id in {
            post.remote_id
            for post in await harness.platform.posts()
            if post.is_published
        }
        is_honest = isinstance(result, (Unknown, Rejected if is_live else Deleted))
        ConformanceRule.RETRACTION_CONFIRMED.require(
            is_honest, f"{fault}: live is {is_live}, but {result!r}"
        )
        again = await harness.build_adapter().retract(receipt)
        ConformanceRule.RETRACTION_CONFIRMED.require(
            isinstance(again, Deleted), f"repeated after {fault}, but {again!r}"
        )

    async def test_waits_out_what_the_platform_does_late(
        self, harness: Harness
    ) -> None:
        """The visibility window covers the longest server delay and listing lag, and one timeout.

        The timeout is a margin: after it the request may still wait in a queue of the platform.
        """
        capabilities, timing = harness.capabilities, self.factory.defaults.timing
        ConformanceRule.FIND_PAST_BASELINE.require(
            timing.has_valid_order,
            f"not request_timeout < lease_timeout < visibility_window: {timing!r}",
        )
        least = (
            capabilities.server_delay
            + capabilities.listing_lag
            + timing.request_timeout
        )
        ConformanceRule.FIND_PAST_BASELINE.require(
            timing.visibility_window >= least,
            f"visibility_window {timing.visibility_window} is under {least}",
        )

    async def test_probe_tells_whether_the_login_works(self, harness: Harness) -> None:
        """The health check is Healthy for a valid login, else CredentialExpired.

        It is CredentialExpired without credentials or with refused ones.
        """
        health = await harness.build_adapter().check_health()
        ConformanceRule.PROBE_TELLS.require(
            isinstance(health, Healthy), f"the login works, but {health!r}"
        )
        health = await harness.build_adapter(secret={}).check_health()
        ConformanceRule.PROBE_TELLS.require(
            isinstance(health, CredentialExpired), f"no credentials, but {health!r}"
        )
        async with harness.fault(FaultTarget.PROBE, make_fault("expire_token")):
            health = await harness.build_adapter().check_health()
        ConformanceRule.PROBE_TELLS.require(
            isinstance(health, CredentialExpired), f"a refused sign-in, but {health!r}"
        )

    async def _add_later_posts(self, harness: Harness) -> None:
        for number in range(self.later_post_count):
            await harness.post_manually(
                f"别人的第{number}条消息", f"这是别人随后发布的第{number}条消息。"
            )
        await harness.wait_until_visible()


def _get_reads(
    harness: Harness, request: SendRequest, receipt: Receipt
) -> Mapping[str, Callable[[Adapter], Awaitable[object]]]:
    """Return all reads of an adapter, by name; the deletion among them where there is one."""
    reads: dict[str, Callable[[Adapter], Awaitable[object]]] = {
        "find_post": lambda adapter: adapter.find_post(request),
        "check_ticket": lambda adapter: adapter.check_ticket(
            Ticket(payload=receipt.remote_id)
        ),
        "check_health": lambda adapter: adapter.check_health(),
        "list_recent": lambda adapter: adapter.list_recent(),
        "read_metrics": lambda adapter: adapter.read_metrics([receipt]),
    }
    if harness.capabilities.can_retract:
        reads["retract"] = lambda adapter: adapter.retract(receipt)
    return reads


def _skip_without_deletion(harness: Harness) -> None:
    if not harness.capabilities.can_retract:
        pytest.skip(
            "NOT APPLICABLE: the platform has no call that deletes a post (can_retract)"
        )


async def _publish_visible(harness: Harness) -> tuple[SendRequest, Receipt]:
    """Publish a post and wait until it is visible."""
    request = harness.make_request()
    await publish_well(harness, harness.build_adapter(), request)
    await harness.wait_until_visible()
    finding = await harness.find_post(request)
    if not isinstance(finding, Published):
        raise BrokenRuleError(
            ConformanceRule.FIND_PAST_BASELINE,
            f"our post is live, but find says {finding!r}",
        )
    return request, finding.receipt
