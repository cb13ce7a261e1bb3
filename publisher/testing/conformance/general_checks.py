"""Further rules for every adapter: lengths, renewals, metrics, no leaked secrets."""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost
from publisher.domain.results import Published, ReadFailure, Submitted, Ticket
from publisher.testing.conformance.harness import FaultTarget, Harness
from publisher.testing.conformance.verdicts import ConformanceRule, publish_once

MIN_SECRET_CHARACTERS = 8
"""Shorter fields of a secret are not searched for."""


class GeneralChecks:
    """Checks that concern no single call."""

    public_fields: frozenset[str] = frozenset()
    """Fields of the secret that only name the account."""

    def lengthen(self, rendered: RenderedPost, by: int) -> RenderedPost:
        """Lengthen a text by so many full-width characters, without breaking the platform's rules for it."""
        return replace(rendered, text="公" * by + rendered.text)

    async def test_takes_texts_up_to_the_limit(self, harness: Harness) -> None:
        """A text of exactly the limit is valid, the next longer one is not, counted as the platform counts."""
        sample = harness.make_request().rendered
        ConformanceRule.LENGTH_MEASURED.require(
            not _errors(harness, sample), f"the sample has {_errors(harness, sample)}"
        )
        limit, count_text = harness.capabilities.text_limit, harness.capabilities.count_text
        spare = bisect_right(range(limit + 1), limit, key=lambda by: count_text(self.lengthen(sample, by).text))
        full = self.lengthen(sample, max(spare - 1, 0))
        ConformanceRule.LENGTH_MEASURED.require(
            not _errors(harness, full), f"at the limit, but {_errors(harness, full)}"
        )
        over = self.lengthen(full, 1)
        what = f"one over the limit of {harness.capabilities.text_limit}, but nothing is said"
        ConformanceRule.LENGTH_MEASURED.require(_errors(harness, over), what)

    async def test_takes_pictures_up_to_the_limit(self, harness: Harness) -> None:
        """One picture above the platform's limit is refused."""
        sample = harness.make_request().rendered
        if not sample.images:
            pytest.skip("NOT OFFERED: the sample has no picture")
        limit = harness.capabilities.picture_limit
        for count in (limit, limit + 1):
            errors = _errors(harness, replace(sample, images=sample.images[:1] * count))
            is_right = bool(errors) == (count > limit)
            ConformanceRule.LENGTH_MEASURED.require(is_right, f"{count} of {limit} pictures, but {errors}")

    async def test_renews_a_sign_in_once_for_a_call(self, harness: Harness) -> None:
        """However often it is refused, one call renews its sign-in at most once."""
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
            ConformanceRule.ONE_REFRESH.require(often <= 1, f"{often} renewals for {answer!r}, after {outcome!r}")

    async def test_measures_reach(self, harness: Harness) -> None:
        """Metrics cover only the requested posts, or are Unknown."""
        adapter, request = harness.build_adapter(), harness.make_request()
        await publish_once(harness, adapter, request)
        await harness.advance_time(harness.capabilities.server_delay + harness.capabilities.listing_lag)
        finding = await harness.find_post(request)
        receipts = [finding.receipt] if isinstance(finding, Published) else []
        metrics = await adapter.read_metrics(receipts)
        if isinstance(metrics, Mapping):
            unrequested = set(metrics) - {receipt.remote_id for receipt in receipts}
            ConformanceRule.READS_OR_SAYS_SO.require(
                not unrequested, f"metrics of posts that nobody asked for: {unrequested}"
            )
        else:
            ConformanceRule.READS_OR_SAYS_SO.require(
                isinstance(metrics, ReadFailure), f"neither metrics nor Unknown: {metrics!r}"
            )

    async def test_shows_what_is_new(self, harness: Harness) -> None:
        """The recent posts are live, newest first, with ours among them; or they are Unknown."""
        adapter, request = harness.build_adapter(), harness.make_request()
        await publish_once(harness, adapter, request)
        await harness.advance_time(harness.capabilities.server_delay + harness.capabilities.listing_lag)
        recent = await adapter.list_recent()
        if isinstance(recent, ReadFailure):
            return
        live = {post.remote_id for post in await harness.platform.posts() if post.is_published}
        seen = [post.remote_id for post in recent]
        ConformanceRule.READS_OR_SAYS_SO.require(set(seen) <= live, f"{set(seen) - live} is shown, but not live")
        missing = {post.remote_id for post in await harness.created_posts()} - set(seen)
        ConformanceRule.READS_OR_SAYS_SO.require(not missing, f"the newest post {missing} is not shown")
        at = [post.published_at for post in recent]
        ConformanceRule.READS_OR_SAYS_SO.require(at == sorted(at, reverse=True), f"not newest first: {at}")

    @pytest.mark.parametrize("kind", [None, "drop_after", "html", "api_error", "expire_token"])
    async def test_never_leaks_a_secret(
        self, harness: Harness, kind: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No secret and no token is in an outcome, a URL, a log or a representation."""
        caplog.set_level(logging.DEBUG)
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
        ConformanceRule.SECRETS_STAY.require(not shown, f"leaked: {', '.join(shown)}")


def _errors(harness: Harness, rendered: RenderedPost) -> Sequence[Problem]:
    problems = harness.factory.validate(harness.account, rendered)
    return [problem for problem in problems if problem.is_error]
