"""What every adapter must keep besides: lengths, renewals, reach, silence about secrets."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from publisher.contract import Adapter
from publisher.domain.outcome import Published, Submitted, Ticket, Unread
from publisher.domain.problem import Problem
from publisher.domain.rendition import Rendition
from publisher.testing.conformance.double import Spot
from publisher.testing.conformance.judging import publish
from publisher.testing.conformance.rules import Rule, require
from publisher.testing.conformance.stage import Stage

LEAST = 8
"""A secret's field that is shorter is nothing to hide."""


class Manners:
    """Rules that hold beside the calls."""

    stage: Callable[[], AbstractAsyncContextManager[Stage]]
    public: frozenset[str] = frozenset()
    """Fields of the secret that name the account and are no secret."""

    def lengthen(self, rendition: Rendition, by: int) -> Rendition:
        """Make a text longer by so many full-width characters, without breaking what the platform wants of it."""
        return replace(rendition, text="公" * by + rendition.text)

    async def test_takes_texts_up_to_the_limit(self) -> None:
        """A text of exactly the limit is taken, the next longer one refused, counted as the platform counts."""
        async with self.stage() as stage:
            adapter = stage.adapter()
            sample = stage.parcel().rendition
            require(Rule.LENGTH_MEASURED, not _errors(adapter, sample), f"the sample has {_errors(adapter, sample)}")
            full = self._filled(adapter, sample)
            require(Rule.LENGTH_MEASURED, not _errors(adapter, full), f"at the limit, but {_errors(adapter, full)}")
            over = self.lengthen(full, 1)
            what = f"one over the limit of {adapter.traits.text_limit}, but nothing is said"
            require(Rule.LENGTH_MEASURED, _errors(adapter, over), what)

    async def test_takes_pictures_up_to_the_limit(self) -> None:
        """One picture more than the platform takes is refused."""
        async with self.stage() as stage:
            adapter = stage.adapter()
            sample = stage.parcel().rendition
            if not sample.pictures:
                pytest.skip("NOT OFFERED: the sample has no picture")
            most = adapter.traits.picture_limit
            for count in (most, most + 1):
                errors = _errors(adapter, replace(sample, pictures=sample.pictures[:1] * count))
                is_right = bool(errors) == (count > most)
                require(Rule.LENGTH_MEASURED, is_right, f"{count} of {most} pictures, but {errors}")

    async def test_renews_a_sign_in_once_for_a_call(self) -> None:
        """However often it is refused, one call renews its sign-in once at most."""
        async with self.stage() as stage:
            parcel = stage.parcel()
            adapter = stage.adapter()
            outcome = await publish(stage, adapter, parcel)
            await stage.spoil(Spot.ANY, "expire_token")
            calls = (
                lambda: adapter.find(parcel),
                lambda: adapter.follow_up(Ticket(number="1")),
                adapter.probe,
                adapter.recent,
                lambda: adapter.publish(stage.parcel()),
            )
            for call in calls:
                before = stage.tally.renewals
                answer = await call()
                often = stage.tally.renewals - before
                require(Rule.ONE_REFRESH, often <= 1, f"{often} renewals for {answer!r}, after {outcome!r}")

    async def test_measures_reach(self) -> None:
        """Reach is told of posts that were asked for, or is Unknown."""
        async with self.stage() as stage:
            adapter, parcel = stage.adapter(), stage.parcel()
            await publish(stage, adapter, parcel)
            await stage.pass_time(adapter.traits.server_delay + adapter.traits.listing_lag)
            finding = await stage.look(parcel)
            receipts = [finding.receipt] if isinstance(finding, Published) else []
            reach = await adapter.measure_reach(receipts)
            if isinstance(reach, Mapping):
                strange = set(reach) - {receipt.remote_id for receipt in receipts}
                require(Rule.READS_OR_SAYS_SO, not strange, f"reach of posts that nobody asked for: {strange}")
            else:
                require(Rule.READS_OR_SAYS_SO, isinstance(reach, Unread), f"neither reach nor Unknown: {reach!r}")

    async def test_shows_what_is_new(self) -> None:
        """The newest posts are those of the account, newest first, ours among them; or they are Unknown."""
        async with self.stage() as stage:
            adapter, parcel = stage.adapter(), stage.parcel()
            await publish(stage, adapter, parcel)
            await stage.pass_time(adapter.traits.server_delay + adapter.traits.listing_lag)
            sightings = await adapter.recent()
            if isinstance(sightings, Unread):
                return
            live = {post.remote_id for post in await stage.double.posts() if post.is_live}
            seen = [sighting.remote_id for sighting in sightings]
            require(Rule.READS_OR_SAYS_SO, set(seen) <= live, f"{set(seen) - live} is shown, but not live")
            missing = {post.remote_id for post in await stage.made()} - set(seen)
            require(Rule.READS_OR_SAYS_SO, not missing, f"the newest post {missing} is not shown")
            at = [sighting.live_at for sighting in sightings]
            require(Rule.READS_OR_SAYS_SO, at == sorted(at, reverse=True), f"not newest first: {at}")

    @pytest.mark.parametrize("kind", [None, "drop_after", "html", "api_error", "expire_token"])
    async def test_never_tells_a_secret(self, kind: str | None, caplog: pytest.LogCaptureFixture) -> None:
        """No secret and no token stands in an answer, an address, a log or a representation."""
        caplog.set_level(logging.DEBUG)
        async with self.stage() as stage:
            adapter, parcel = stage.adapter(), stage.parcel()
            if kind is not None:
                await stage.spoil(Spot.ANY, kind, **({"code": 999_999} if kind == "api_error" else {}))
            outcome = await publish(stage, adapter, parcel)
            found = [await adapter.find(parcel), await adapter.probe(), await adapter.recent()]
            if isinstance(outcome, Submitted):
                found.append(await adapter.follow_up(outcome.ticket))
            told = "\n".join(
                [
                    repr([adapter, outcome, *found]),
                    str([adapter, outcome, *found]),
                    repr(stage.tally.calls),
                    repr(stage.notes),
                    caplog.text,
                ]
            )
            hidden = {name: value for name, value in stage.secret.items() if name not in self.public}
            kept = {**hidden, **{f"token {number}": value for number, value in enumerate(stage.tally.tokens)}}
            shown = [name for name, value in kept.items() if len(value) >= LEAST and value in told]
            require(Rule.SECRETS_STAY, not shown, f"told in the open: {', '.join(shown)}")

    def _filled(self, adapter: Adapter, sample: Rendition) -> Rendition:
        """Fill a text up to its limit."""
        limit, measure = adapter.traits.text_limit, adapter.traits.measure
        least, most = 0, limit
        while least < most:
            middle = (least + most + 1) // 2
            if measure(self.lengthen(sample, middle).text) <= limit:
                least = middle
            else:
                most = middle - 1
        return self.lengthen(sample, least)


def _errors(adapter: Adapter, rendition: Rendition) -> Sequence[Problem]:
    return [problem for problem in adapter.check(rendition) if problem.is_error]
