"""Further rules for every adapter: lengths, renewals, metrics, no leaked secrets."""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest

from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost
from publisher.domain.results import Published, ReadFailure, Submitted, Ticket
from publisher.testing.conformance.faults import UNLISTED_ERROR_CODE, make_fault
from publisher.testing.conformance.harness import FaultTarget, Harness
from publisher.testing.conformance.rules import ConformanceRule
from publisher.testing.conformance.verdicts import (
    MAX_EXCERPT_CHARACTERS,
    publish_once,
    verify_content,
)
from publisher.testing.fault_front import PLAIN_KINDS, RESPONSE_KINDS, TRANSPORT_KINDS

MIN_SECRET_CHARACTERS = 8
"""Shorter fields of a secret are not searched for."""
STORED_KINDS = frozenset({"review", "list_late"})
"""Faults that only the platform itself can make."""
DECLARABLE_RULES = frozenset({ConformanceRule.MEDIA_STORED_ONCE})
LINK = "https://police.example/t?n=K7QM-4R2T"


class GeneralChecks:
    """Checks that concern no single call."""

    public_fields: frozenset[str] = frozenset()
    """Fields of the secret that only name the account."""
    not_shown: Mapping[str, str] = {}
    """The limits of this platform, as `KIND on TARGET` or a rule, and why.

    Checks of these are skipped.
    """

    async def test_declares_only_what_is_checked(self) -> None:
        """Each entry of `not_shown` names a declarable fault or rule, and gives a reason.

        A fault is named on a target.
        """
        kinds = TRANSPORT_KINDS | PLAIN_KINDS | RESPONSE_KINDS | STORED_KINDS
        known = {
            f"{kind} on {target}" for kind in kinds for target in FaultTarget
        } | DECLARABLE_RULES
        unknown = set(self.not_shown) - known
        ConformanceRule.FAULT_BITES.require(
            not unknown, f"not_shown has {unknown}, which no check would skip"
        )
        ConformanceRule.FAULT_BITES.require(
            all(self.not_shown.values()), "not_shown gives no reason"
        )

    def lengthen(self, rendered: RenderedPost, by: int) -> RenderedPost:
        """Lengthen a text by so many full-width characters.

        The platform's rules for the text are kept.
        """
        return replace(rendered, text="公" * by + rendered.text)

    def _lengthen_to_limit(
        self, harness: Harness, sample: RenderedPost
    ) -> RenderedPost:
        limit = harness.capabilities.text_limit_beside(len(sample.images))
        count_text = harness.capabilities.count_text
        spare = bisect_right(
            range(limit + 1),
            limit,
            key=lambda by: count_text(self.lengthen(sample, by).text),
        )
        return self.lengthen(sample, max(spare - 1, 0))

    async def test_takes_texts_up_to_the_limit(self, harness: Harness) -> None:
        """A text of exactly the limit is valid, the next longer one is not.

        It is counted as the platform counts.
        """
        sample = harness.make_request().rendered
        ConformanceRule.LENGTH_MEASURED.require(
            not _errors(harness, sample), f"the sample has {_errors(harness, sample)}"
        )
        full = self._lengthen_to_limit(harness, sample)
        ConformanceRule.LENGTH_MEASURED.require(
            not _errors(harness, full), f"at the limit, but {_errors(harness, full)}"
        )
        over = self.lengthen(full, 1)
        what = f"one over the limit of {harness.capabilities.text_limit}, but nothing is said"
        ConformanceRule.LENGTH_MEASURED.require(_errors(harness, over), what)

    async def test_the_platform_takes_texts_up_to_the_limit(
        self, harness: Harness
    ) -> None:
        """A text of exactly the limit, by the adapter's count, is published with all its words."""
        request = harness.make_request()
        request = replace(
            request, rendered=self._lengthen_to_limit(harness, request.rendered)
        )
        outcome = await publish_once(harness, harness.build_adapter(), request)
        ConformanceRule.LENGTH_MEASURED.require(
            isinstance(outcome, Published | Submitted),
            f"at the limit by the adapter's count, but {outcome!r}",
        )
        await harness.wait_until_visible()
        [post] = await harness.created_posts()
        verify_content(harness, request, post)

    async def test_counts_links(self, harness: Harness) -> None:
        """A link in a text counts, by its own length or by that of the platform's short link."""
        count_text = harness.capabilities.count_text
        without, having = count_text("公告"), count_text(f"公告 {LINK}")
        ConformanceRule.LENGTH_MEASURED.require(
            having > without + 1, f"{LINK} adds {having - without} to a text"
        )

    async def test_takes_pictures_up_to_the_limit(self, harness: Harness) -> None:
        """One picture above the platform's limit is refused."""
        sample = harness.make_request().rendered
        if not sample.images:
            pytest.skip("NOT OFFERED: the sample has no picture")
        limit = harness.capabilities.picture_limit
        for count in (limit, limit + 1):
            errors = _errors(harness, replace(sample, images=sample.images[:1] * count))
            is_right = bool(errors) == (count > limit)
            ConformanceRule.LENGTH_MEASURED.require(
                is_right, f"{count} of {limit} pictures, but {errors}"
            )

    async def test_renews_a_sign_in_once_for_a_call(self, harness: Harness) -> None:
        """However often it is refused, one call renews its sign-in at most once."""
        request = harness.make_request()
        adapter = harness.build_adapter()
        outcome = await publish_once(harness, adapter, request)
        calls = (
            lambda: adapter.find_post(request),
            lambda: adapter.check_ticket(Ticket(payload="1")),
            adapter.check_health,
            adapter.list_recent,
            lambda: adapter.publish(harness.make_request()),
        )
        async with harness.fault(FaultTarget.ANY, make_fault("expire_token")):
            for call in calls:
                before = harness.call_tally.renewal_count
                answer = await call()
                often = harness.call_tally.renewal_count - before
                ConformanceRule.ONE_REFRESH.require(
                    often <= 1, f"{often} renewals for {answer!r}, after {outcome!r}"
                )

    async def test_measures_reach(self, harness: Harness) -> None:
        """Metrics cover only the requested posts, or are Unknown."""
        adapter, request = harness.build_adapter(), harness.make_request()
        await publish_once(harness, adapter, request)
        await harness.wait_until_visible()
        finding = await harness.find_post(request)
        receipts = [finding.receipt] if isinstance(finding, Published) else []
        metrics = await adapter.read_metrics(receipts)
        if isinstance(metrics, Mapping):
            unrequested = set(metrics) - {receipt.remote_id for receipt in receipts}
            ConformanceRule.READS_OR_SAYS_SO.require(
                not unrequested,
                f"metrics of posts that nobody asked for: {unrequested}",
            )
        else:
            ConformanceRule.READS_OR_SAYS_SO.require(
                isinstance(metrics, ReadFailure),
                f"neither metrics nor Unknown: {metrics!r}",
            )

    async def test_shows_what_is_new(self, harness: Harness) -> None:
        """The recent posts are live, newest first, with ours among them; or they are Unknown."""
        adapter, request = harness.build_adapter(), harness.make_request()
        await publish_once(harness, adapter, request)
        await harness.wait_until_visible()
        recent = await adapter.list_recent()
        if isinstance(recent, ReadFailure):
            return
        live = {
            post.remote_id
            for post in await harness.platform.posts()
            if post.is_published
        }
        seen = [post.remote_id for post in recent]
        ConformanceRule.READS_OR_SAYS_SO.require(
            set(seen) <= live, f"{set(seen) - live} is shown, but not live"
        )
        missing = {post.remote_id for post in await harness.created_posts()} - set(seen)
        ConformanceRule.READS_OR_SAYS_SO.require(
            not missing, f"the newest post {missing} is not shown"
        )
        at = [post.published_at for post in recent]
        ConformanceRule.READS_OR_SAYS_SO.require(
            at == sorted(at, reverse=True), f"not newest first: {at}"
        )

    @pytest.mark.parametrize(
        "kind", [None, "drop_after", "html", "api_error", "expire_token"]
    )
    async def test_never_leaks_a_secret(
        self, harness: Harness, kind: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No outcome, URL, log, adapter state or representation has a secret or a token."""
        caplog.set_level(logging.DEBUG)
        adapter, request = harness.build_adapter(), harness.make_request()
        facts = {"code": UNLISTED_ERROR_CODE} if kind == "api_error" else {}
        async with (
            harness.fault(FaultTarget.ANY, make_fault(kind, **facts))
            if kind
            else nullcontext()
        ):
            outcome = await publish_once(harness, adapter, request)
            found = {
                "the outcome of publish": outcome,
                "the result of find_post": await adapter.find_post(request),
                "the result of check_health": await adapter.check_health(),
                "the result of list_recent": await adapter.list_recent(),
            }
            if isinstance(outcome, Submitted):
                found["the result of check_ticket"] = await adapter.check_ticket(
                    outcome.ticket
                )
        places = {
            **{place: f"{value!r} {value}" for place, value in found.items()},
            "the adapter's repr": f"{adapter!r} {adapter}",
            "the adapter's state": repr(harness.adapter_state),
            **{
                f"the repr of a {call.method} request": repr(call)
                for call in harness.call_tally.requests
            },
            **{
                f"the log of {record.name}": record.getMessage()
                for record in caplog.records
            },
        }
        hidden = {
            name: value
            for name, value in harness.secret.items()
            if name not in self.public_fields
        }
        kept = {
            **hidden,
            **{
                f"token {number}": value
                for number, value in enumerate(harness.call_tally.tokens)
            },
        }
        shown = [
            f"{name} is in {place}: {text.replace(value, '…')[:MAX_EXCERPT_CHARACTERS]}"
            for name, value in kept.items()
            if len(value) >= MIN_SECRET_CHARACTERS
            for place, text in places.items()
            if value in text
        ]
        ConformanceRule.SECRETS_STAY.require(not shown, "; ".join(shown))


def _errors(harness: Harness, rendered: RenderedPost) -> Sequence[Problem]:
    problems = harness.factory.validate(harness.account, rendered)
    return [problem for problem in problems if problem.is_error]
