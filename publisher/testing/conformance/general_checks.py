"""What every adapter must keep besides: lengths, renewals, reach, silence about secrets."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from publisher.contract import Adapter
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedPost
from publisher.domain.results import Published, ReadFailure, Submitted, Ticket
from publisher.testing.conformance.harness import Harness
from publisher.testing.conformance.rules import ConformanceRule, require_rule
from publisher.testing.conformance.test_server import FaultTarget
from publisher.testing.conformance.verdicts import publish_once

MIN_SECRET_CHARACTERS = 8
"""A secret's field that is shorter is nothing to hide."""


class GeneralChecks:
    """Rules that hold beside the calls."""

    open_harness: Callable[[], AbstractAsyncContextManager[Harness]]
    public_fields: frozenset[str] = frozenset()
    """Fields of the secret that name the account and are no secret."""

    def lengthen(self, rendered: RenderedPost, by: int) -> RenderedPost:
        """Make a text longer by so many full-width characters, without breaking what the platform wants of it."""
        return replace(rendered, text="公" * by + rendered.text)

    async def test_takes_texts_up_to_the_limit(self) -> None:
        """A text of exactly the limit is taken, the next longer one refused, counted as the platform counts."""
        async with self.open_harness() as harness:
            adapter = harness.build_adapter()
            sample = harness.make_request().rendered
            require_rule(
                ConformanceRule.LENGTH_MEASURED,
                not _errors(adapter, sample),
                f"the sample has {_errors(adapter, sample)}",
            )
            full = self._fill_text(adapter, sample)
            require_rule(
                ConformanceRule.LENGTH_MEASURED,
                not _errors(adapter, full),
                f"at the limit, but {_errors(adapter, full)}",
            )
            over = self.lengthen(full, 1)
            what = f"one over the limit of {adapter.capabilities.text_limit}, but nothing is said"
            require_rule(ConformanceRule.LENGTH_MEASURED, _errors(adapter, over), what)

    async def test_takes_pictures_up_to_the_limit(self) -> None:
        """One picture more than the platform takes is refused."""
        async with self.open_harness() as harness:
            adapter = harness.build_adapter()
            sample = harness.make_request().rendered
            if not sample.images:
                pytest.skip("NOT OFFERED: the sample has no picture")
            limit = adapter.capabilities.picture_limit
            for count in (limit, limit + 1):
                errors = _errors(adapter, replace(sample, images=sample.images[:1] * count))
                is_right = bool(errors) == (count > limit)
                require_rule(ConformanceRule.LENGTH_MEASURED, is_right, f"{count} of {limit} pictures, but {errors}")

    async def test_renews_a_sign_in_once_for_a_call(self) -> None:
        """However often it is refused, one call renews its sign-in once at most."""
        async with self.open_harness() as harness:
            request = harness.make_request()
            adapter = harness.build_adapter()
            outcome = await publish_once(harness, adapter, request)
            await harness.inject_fault(FaultTarget.ANY, "expire_token")
            calls = (
                lambda: adapter.find_post(request),
                lambda: adapter.check_ticket(Ticket(payload="1")),
                adapter.check_health,
                adapter.list_recent,
                lambda: adapter.publish(harness.make_request()),
            )
            for call in calls:
                before = harness.call_tally.renewal_count
                answer = await call()
                often = harness.call_tally.renewal_count - before
                require_rule(
                    ConformanceRule.ONE_REFRESH, often <= 1, f"{often} renewals for {answer!r}, after {outcome!r}"
                )

    async def test_measures_reach(self) -> None:
        """Reach is told of posts that were asked for, or is Unknown."""
        async with self.open_harness() as harness:
            adapter, request = harness.build_adapter(), harness.make_request()
            await publish_once(harness, adapter, request)
            await harness.advance_time(adapter.capabilities.server_delay + adapter.capabilities.listing_lag)
            finding = await harness.find_post(request)
            receipts = [finding.receipt] if isinstance(finding, Published) else []
            reach = await adapter.read_metrics(receipts)
            if isinstance(reach, Mapping):
                strange = set(reach) - {receipt.remote_id for receipt in receipts}
                require_rule(
                    ConformanceRule.READS_OR_SAYS_SO, not strange, f"reach of posts that nobody asked for: {strange}"
                )
            else:
                require_rule(
                    ConformanceRule.READS_OR_SAYS_SO,
                    isinstance(reach, ReadFailure),
                    f"neither reach nor Unknown: {reach!r}",
                )

    async def test_shows_what_is_new(self) -> None:
        """The newest posts are those of the account, newest first, ours among them; or they are Unknown."""
        async with self.open_harness() as harness:
            adapter, request = harness.build_adapter(), harness.make_request()
            await publish_once(harness, adapter, request)
            await harness.advance_time(adapter.capabilities.server_delay + adapter.capabilities.listing_lag)
            sightings = await adapter.list_recent()
            if isinstance(sightings, ReadFailure):
                return
            live = {post.remote_id for post in await harness.platform.posts() if post.is_published}
            seen = [sighting.remote_id for sighting in sightings]
            require_rule(
                ConformanceRule.READS_OR_SAYS_SO, set(seen) <= live, f"{set(seen) - live} is shown, but not live"
            )
            missing = {post.remote_id for post in await harness.created_posts()} - set(seen)
            require_rule(ConformanceRule.READS_OR_SAYS_SO, not missing, f"the newest post {missing} is not shown")
            at = [sighting.published_at for sighting in sightings]
            require_rule(ConformanceRule.READS_OR_SAYS_SO, at == sorted(at, reverse=True), f"not newest first: {at}")

    @pytest.mark.parametrize("kind", [None, "drop_after", "html", "api_error", "expire_token"])
    async def test_never_leaks_a_secret(self, kind: str | None, caplog: pytest.LogCaptureFixture) -> None:
        """No secret and no token stands in an answer, an address, a log or a representation."""
        caplog.set_level(logging.DEBUG)
        async with self.open_harness() as harness:
            adapter, request = harness.build_adapter(), harness.make_request()
            if kind is not None:
                await harness.inject_fault(FaultTarget.ANY, kind, **({"code": 999_999} if kind == "api_error" else {}))
            outcome = await publish_once(harness, adapter, request)
            found = [await adapter.find_post(request), await adapter.check_health(), await adapter.list_recent()]
            if isinstance(outcome, Submitted):
                found.append(await adapter.check_ticket(outcome.ticket))
            output = "\n".join(
                [
                    repr([adapter, outcome, *found]),
                    str([adapter, outcome, *found]),
                    repr(harness.call_tally.requests),
                    repr(harness.adapter_state),
                    caplog.text,
                ]
            )
            hidden = {name: value for name, value in harness.secret.items() if name not in self.public_fields}
            kept = {**hidden, **{f"token {number}": value for number, value in enumerate(harness.call_tally.tokens)}}
            shown = [name for name, value in kept.items() if len(value) >= MIN_SECRET_CHARACTERS and value in output]
            require_rule(ConformanceRule.SECRETS_STAY, not shown, f"told in the open: {', '.join(shown)}")

    def _fill_text(self, adapter: Adapter, sample: RenderedPost) -> RenderedPost:
        """Fill a text up to its limit."""
        limit, measure = adapter.capabilities.text_limit, adapter.capabilities.count_text
        lower, upper = 0, limit
        while lower < upper:
            middle = (lower + upper + 1) // 2
            if measure(self.lengthen(sample, middle).text) <= limit:
                lower = middle
            else:
                upper = middle - 1
        return self.lengthen(sample, lower)


def _errors(adapter: Adapter, rendered: RenderedPost) -> Sequence[Problem]:
    return [problem for problem in adapter.validate(rendered) if problem.is_error]
