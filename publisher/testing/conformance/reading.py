"""What every adapter's reads must keep: looks, removals, probes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.contract import Adapter, AdapterFactory
from publisher.domain.outcome import (
    CredentialExpired,
    Gone,
    Lookalike,
    Missing,
    Published,
    RateLimited,
    Ready,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.rendition import Parcel
from publisher.testing.conformance.double import Spot
from publisher.testing.conformance.faults import REWRITINGS, SHORTENED, SILENT, UNREADABLE, Fault
from publisher.testing.conformance.judging import judge_look, publish
from publisher.testing.conformance.rules import Rule, require
from publisher.testing.conformance.stage import Stage

REST = timedelta(minutes=2)
"""For so long a platform wants no call."""


class Reading:
    """Rules of the calls that bring certainty."""

    stage: Callable[[], AbstractAsyncContextManager[Stage]]
    factory: AdapterFactory
    crowd: int = 30
    """So many posts push ours off the first page."""

    @pytest.mark.parametrize("how", REWRITINGS)
    async def test_knows_its_post_by_the_marker(self, how: str) -> None:
        """What the platform does to the words does not hide the post."""
        async with self.stage() as stage:
            await stage.spoil(Spot.CREATE, "rewrite", how=how)
            parcel = stage.parcel()
            await publish(stage, stage.adapter(), parcel)
            await _wait(stage)
            [made] = await stage.made()
            finding = await stage.look(parcel)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == made.remote_id
            require(Rule.MARKER_SURVIVES, is_found, f"rewritten ({how}), {made.remote_id} is live, but {finding!r}")

    async def test_finds_its_post_behind_many(self) -> None:
        """A post that was pushed off the first page is found, or not denied."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            await self._crowd_in(stage)
            finding = await stage.look(parcel)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_honest = is_found or isinstance(finding, Unknown)
            require(Rule.FIND_PAST_BASELINE, is_honest, f"{receipt.remote_id} is live, but {finding!r}")
            is_paged = stage.adapter().traits.readable is None
            require(Rule.FIND_PAST_BASELINE, is_found or not is_paged, f"the list has no end, but {finding!r}")

    async def test_adopts_no_post_of_others(self) -> None:
        """What people posted meanwhile is not ours, however new it is."""
        async with self.stage() as stage:
            parcel = stage.parcel()
            await stage.spoil(Spot.CREATE, "drop_before")
            await publish(stage, stage.adapter(), parcel)
            await stage.double.heal()
            await stage.post_by_hand("别人的新消息", "这是别人刚刚发布的消息，与本条无关。")
            await _wait(stage)
            await judge_look(stage, parcel, stage.adapter().traits)

    async def test_denies_nothing_it_cannot_see_past(self) -> None:
        """Where the list does not reach back past the baseline, absence is not claimed."""
        async with self.stage() as stage:
            parcel = stage.parcel()
            await self._crowd_in(stage)
            finding = await stage.look(parcel)
            require(
                Rule.ADOPTS_ITS_OWN_ONLY, isinstance(finding, Missing | Unknown), f"ours was never sent, {finding!r}"
            )
            reaches = not isinstance(finding, Missing) or finding.back_to <= parcel.baseline.since
            require(Rule.FIND_PAST_BASELINE, reaches, f"{finding!r} does not reach back to {parcel.baseline.since}")
            readable = stage.adapter().traits.readable
            is_far = readable is None or readable > self.crowd
            is_honest = is_far or isinstance(finding, Unknown)
            require(Rule.FIND_PAST_BASELINE, is_honest, f"only {readable} of {self.crowd} can be read, but {finding!r}")

    async def test_leaves_alone_what_another_delivery_owns(self) -> None:
        """A post that is another delivery's proof is never adopted."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            adapter = stage.adapter()
            finding = await adapter.find(replace(parcel, owned_ids=frozenset({receipt.remote_id})))
            is_other = not isinstance(finding, Published | Submitted)
            require(Rule.ADOPTS_ITS_OWN_ONLY, is_other, f"{receipt.remote_id} is another's, but {finding!r}")

    @pytest.mark.parametrize("fault", UNREADABLE, ids=str)
    async def test_a_list_that_cannot_be_read_proves_nothing(self, fault: Fault) -> None:
        """As long as a post stands, no spoiled list lets it be denied."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            await stage.spoil(Spot.LIST, fault.kind, **fault.facts)
            finding = await stage.look(parcel)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_honest = is_found or isinstance(finding, Unknown)
            require(Rule.FIND_PAST_BASELINE, is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}")
            await stage.double.heal()
            await judge_look(stage, parcel, stage.adapter().traits)

    @pytest.mark.parametrize("fault", SHORTENED, ids=str)
    async def test_a_list_that_cuts_its_words_denies_nothing(self, fault: Fault) -> None:
        """A post of which a list shows the beginning alone is found, or like ours, or in doubt."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            await stage.spoil(Spot.LIST, fault.kind, **fault.facts)
            finding = await stage.look(parcel)
            is_found = isinstance(finding, Published) and finding.receipt.remote_id == receipt.remote_id
            is_alike = isinstance(finding, Lookalike) and finding.remote_id == receipt.remote_id
            is_honest = is_found or is_alike or isinstance(finding, Unknown)
            require(Rule.FIND_PAST_BASELINE, is_honest, f"{fault}: {receipt.remote_id} is live, but {finding!r}")

    @pytest.mark.parametrize("fault", SILENT, ids=str)
    async def test_a_silent_platform_is_unknown(self, fault: Fault) -> None:
        """Reads that bring nothing say so, all of them."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            adapter = stage.adapter()
            await stage.pass_time(adapter.traits.reach_after + timedelta(days=1))
            await stage.spoil(Spot.ANY, fault.kind, **fault.facts)
            answers = {
                "find": await adapter.find(parcel),
                "follow_up": await adapter.follow_up(Ticket(number=receipt.remote_id)),
                "probe": await adapter.probe(),
                "recent": await adapter.recent(),
                "measure_reach": await adapter.measure_reach([receipt]),
                "retract": await adapter.retract(receipt),
            }
            wrong = {name: answer for name, answer in answers.items() if not isinstance(answer, Unknown)}
            require(Rule.READS_OR_SAYS_SO, not wrong, f"{fault}, but {wrong!r}")

    async def test_says_when_the_platform_wants_fewer_calls(self) -> None:
        """A read that is answered with 429 is a limit with its end, and no further call is made meanwhile."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            await stage.pass_time(stage.adapter().traits.reach_after + timedelta(days=1))
            await stage.spoil(Spot.ANY, "status", code=429, headers={"retry-after": str(REST.seconds)})
            reads: dict[str, Callable[[Adapter], Awaitable[object]]] = {
                "find": lambda adapter: adapter.find(parcel),
                "probe": lambda adapter: adapter.probe(),
                "recent": lambda adapter: adapter.recent(),
                "measure_reach": lambda adapter: adapter.measure_reach([receipt]),
                "retract": lambda adapter: adapter.retract(receipt),
            }
            for name, read in reads.items():
                before, calls = stage.now(), len(stage.tally.calls)
                answer = await read(stage.adapter())
                is_limit = isinstance(answer, RateLimited) and answer.until is not None
                require(Rule.READS_OR_SAYS_SO, is_limit, f"{name} was answered with 429, but says {answer!r}")
                until = answer.until if isinstance(answer, RateLimited) else None
                is_kept = until is not None and until >= before + REST
                require(Rule.READS_OR_SAYS_SO, is_kept, f"{name} must rest for {REST}, but says {answer!r}")
                made = len(stage.tally.calls) - calls
                require(Rule.READS_OR_SAYS_SO, made == 1, f"{name} made {made} calls though the first was limited")

    async def test_sees_that_the_platform_took_it_down(self) -> None:
        """A post that was taken down is not called live any more."""
        async with self.stage() as stage:
            parcel, receipt = await _live(stage)
            await stage.double.remove(receipt.remote_id)
            finding = await stage.look(parcel)
            is_gone = isinstance(finding, Gone | Missing | Unknown | Rejected)
            require(Rule.FIND_PAST_BASELINE, is_gone, f"taken down, but find says {finding!r}")

    async def test_retracts_and_confirms(self) -> None:
        """A post is taken down once, confirmed, and taking it down again changes nothing."""
        async with self.stage() as stage:
            _parcel, receipt = await _live(stage)
            for _ in range(2):
                removal = await stage.adapter().retract(receipt)
                require(Rule.RETRACTION_CONFIRMED, isinstance(removal, Gone), f"taken down, but {removal!r}")
                live = [post.remote_id for post in await stage.double.posts() if post.is_live]
                require(Rule.RETRACTION_CONFIRMED, receipt.remote_id not in live, f"{removal!r}, but it is still live")

    @pytest.mark.parametrize("fault", [*SILENT, Fault(kind="drop_after"), Fault(kind="truncate")], ids=str)
    async def test_a_removal_in_doubt_is_not_claimed(self, fault: Fault) -> None:
        """Gone is said only of what is gone, Rejected only of what stands."""
        async with self.stage() as stage:
            _parcel, receipt = await _live(stage)
            await stage.spoil(Spot.RETRACT, fault.kind, **fault.facts)
            removal = await stage.adapter().retract(receipt)
            is_live = receipt.remote_id in {post.remote_id for post in await stage.double.posts() if post.is_live}
            is_honest = isinstance(removal, (Unknown, Rejected if is_live else Gone))
            require(Rule.RETRACTION_CONFIRMED, is_honest, f"{fault}: live is {is_live}, but {removal!r}")
            await stage.double.heal()
            again = await stage.adapter().retract(receipt)
            require(Rule.RETRACTION_CONFIRMED, isinstance(again, Gone), f"repeated after {fault}, but {again!r}")

    async def test_waits_out_what_the_platform_does_late(self) -> None:
        """The settle time covers the longest late act and the longest listing lag, and one deadline as a margin.

        When a call is given up, its request may still stand in a queue of the platform's.
        """
        async with self.stage() as stage:
            traits, patience = stage.adapter().traits, self.factory.defaults.patience
            require(
                Rule.FIND_PAST_BASELINE,
                patience.is_ordered,
                f"not request_timeout < lease_timeout < visibility_window: {patience!r}",
            )
            least = traits.server_delay + traits.listing_lag + patience.request_timeout
            require(
                Rule.FIND_PAST_BASELINE,
                patience.visibility_window >= least,
                f"visibility_window {patience.visibility_window} is under {least}",
            )

    async def test_probe_tells_whether_the_login_works(self) -> None:
        """Ready with a login that works, CredentialExpired without credentials and with refused ones."""
        async with self.stage() as stage:
            health = await stage.adapter().probe()
            require(Rule.PROBE_TELLS, isinstance(health, Ready), f"the login works, but {health!r}")
            health = await stage.adapter(secret={}).probe()
            require(Rule.PROBE_TELLS, isinstance(health, CredentialExpired), f"no credentials, but {health!r}")
            await stage.spoil(Spot.PROBE, "expire_token")
            health = await stage.adapter().probe()
            require(Rule.PROBE_TELLS, isinstance(health, CredentialExpired), f"a refused sign-in, but {health!r}")

    async def _crowd_in(self, stage: Stage) -> None:
        for number in range(self.crowd):
            await stage.post_by_hand(f"别人的第{number}条消息", f"这是别人随后发布的第{number}条消息。")
        await _wait(stage)


async def _live(stage: Stage) -> tuple[Parcel, Receipt]:
    """Publish a post and wait until everybody sees it."""
    parcel = stage.parcel()
    outcome = await publish(stage, stage.adapter(), parcel)
    require(Rule.HONEST_OUTCOME, isinstance(outcome, Published | Submitted), f"nothing is wrong, but {outcome!r}")
    await _wait(stage)
    finding = await stage.look(parcel)
    require(Rule.FIND_PAST_BASELINE, isinstance(finding, Published), f"our post is live, but find says {finding!r}")
    return parcel, _receipt(finding)


def _receipt(finding: object) -> Receipt:
    if not isinstance(finding, Published):
        raise TypeError(finding)
    return finding.receipt


async def _wait(stage: Stage) -> None:
    """Let all come true that a platform may still do late."""
    traits = stage.adapter().traits
    await stage.double.heal()
    await stage.pass_time(traits.server_delay + traits.listing_lag)
