"""What every adapter's `publish` must keep."""

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    HoldReason,
    NotSent,
    Published,
    Submitted,
    Unknown,
)
from publisher.testing.conformance.double import Spot
from publisher.testing.conformance.faults import DOUBTS, LATE, TOLD, Fault
from publisher.testing.conformance.judging import judge, publish
from publisher.testing.conformance.rules import Rule, require
from publisher.testing.conformance.stage import SHORT, Stage


class Publishing:
    """Rules of the one call that cannot be taken back."""

    stage: Callable[[], AbstractAsyncContextManager[Stage]]

    async def test_publishes_once(self) -> None:
        """An undisturbed attempt is one creating call and one post, and its answer says so."""
        async with self.stage() as stage:
            adapter, parcel = stage.adapter(), stage.parcel()
            outcome = await publish(stage, adapter, parcel)
            require(
                Rule.HONEST_OUTCOME, isinstance(outcome, Published | Submitted), f"nothing is wrong, but {outcome!r}"
            )
            require(Rule.ONE_CREATE, stage.tally.creates == 1, f"{stage.tally.creates} creating calls")
            require(Rule.ONE_CREATE, len(await stage.made()) == 1, "the platform did not make the one post")
            await judge(stage, adapter, parcel, outcome)

    @pytest.mark.parametrize("fault", DOUBTS, ids=str)
    async def test_a_doubt_stays_a_doubt(self, fault: Fault) -> None:
        """Where nobody can tell whether the post was made, the answer is Unknown, and a look finds what there is."""
        async with self.stage() as stage:
            await stage.spoil(Spot.CREATE, fault.kind, **fault.facts)
            adapter, parcel = stage.adapter(), stage.parcel()
            outcome = await publish(stage, adapter, parcel)
            require(Rule.HONEST_OUTCOME, isinstance(outcome, Unknown), f"after {fault} comes {outcome!r}, not Unknown")
            await judge(stage, adapter, parcel, outcome)

    @pytest.mark.parametrize("fault", LATE, ids=str)
    async def test_a_reply_after_the_deadline_is_a_doubt(self, fault: Fault) -> None:
        """What has not been answered in time may have been done."""
        async with self.stage() as stage:
            await stage.spoil(Spot.CREATE, fault.kind, **fault.facts)
            adapter, parcel = stage.adapter(deadline=SHORT), stage.parcel()
            outcome = await publish(stage, adapter, parcel)
            require(Rule.HONEST_OUTCOME, isinstance(outcome, Unknown), f"after {fault} comes {outcome!r}, not Unknown")
            await judge(stage, stage.adapter(), parcel, outcome)

    @pytest.mark.parametrize("fault", TOLD, ids=str)
    async def test_never_says_more_than_was_told(self, fault: Fault) -> None:
        """Whatever the platform says, no answer denies a post that was made, or claims one that was not."""
        async with self.stage() as stage:
            await stage.spoil(Spot.CREATE, fault.kind, **fault.facts)
            adapter, parcel = stage.adapter(), stage.parcel()
            outcome = await publish(stage, adapter, parcel)
            if fault.kind == "wrong_account":
                is_careful = not isinstance(outcome, Published)
                require(Rule.HONEST_OUTCOME, is_careful, f"the reply names another account, but {outcome!r}")
            if fault.kind == "duplicate":
                is_evidence = isinstance(outcome, Published) or (isinstance(outcome, Unknown) and outcome.is_duplicate)
                require(Rule.HONEST_OUTCOME, is_evidence, f"said to be a duplicate, but {outcome!r}")
            await judge(stage, adapter, parcel, outcome)

    @pytest.mark.parametrize("trouble", ["refused", "dns", "tls"])
    async def test_what_never_left_is_not_sent(self, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no connection comes about, nothing was made, and the answer is NotSent."""
        async with self.stage() as stage:
            base_url = _unreachable(trouble, stage.double.base_url, monkeypatch)
            adapter = stage.adapter(base_url=base_url, deadline=SHORT)
            outcome = await publish(stage, adapter, stage.parcel())
            require(Rule.NOT_SENT_IS_PROVEN, isinstance(outcome, NotSent), f"{trouble}, but {outcome!r}")
            require(Rule.NOT_SENT_IS_PROVEN, not await stage.made(), "NotSent, but the platform made the post")

    async def test_nothing_goes_when_the_lease_is_over(self) -> None:
        """After its lease an attempt makes nothing, and says so."""
        async with self.stage() as stage:
            outcome = await publish(stage, stage.adapter(), stage.parcel(start_by=0.0))
            require(Rule.NOT_SENT_IS_PROVEN, isinstance(outcome, NotSent), f"the lease was over, but {outcome!r}")
            require(Rule.NOT_SENT_IS_PROVEN, not await stage.made(), "a post was made after the lease")

    async def test_goes_only_by_the_way_it_was_given(self) -> None:
        """An adapter whose way is closed reaches its platform by no other."""
        async with self.stage() as stage:
            outcome = await publish(stage, stage.adapter(is_closed=True), stage.parcel())
            require(Rule.CLIENT_GIVEN, isinstance(outcome, NotSent), f"the way is closed, but {outcome!r}")
            require(Rule.CLIENT_GIVEN, stage.tally.calls, "not even an attempt came by the way that was given")
            require(Rule.CLIENT_GIVEN, not await stage.made(), "a post was made past the way that was given")

    async def test_says_nothing_without_credentials(self) -> None:
        """Without its secret an adapter makes nothing and asks for a person."""
        async with self.stage() as stage:
            outcome = await publish(stage, stage.adapter(secret={}), stage.parcel())
            is_auth = isinstance(outcome, CredentialExpired) or (
                isinstance(outcome, Blocked) and outcome.hold is HoldReason.AUTH
            )
            require(Rule.PROBE_TELLS, is_auth, f"there are no credentials, but {outcome!r}")
            require(Rule.HONEST_OUTCOME, not await stage.made(), "a post was made without credentials")

    async def test_goes_on_after_a_refused_sign_in(self) -> None:
        """A refused sign-in costs one renewal at most, and the next attempt makes the one post."""
        async with self.stage() as stage:
            parcel = stage.parcel()
            await stage.spoil(Spot.CREATE, "expire_token")
            await publish(stage, stage.adapter(), parcel)
            require(Rule.ONE_REFRESH, stage.tally.renewals <= 1, f"{stage.tally.renewals} renewals in one call")
            await stage.double.heal()
            if await stage.made():
                return
            outcome = await publish(stage, stage.adapter(), replace(parcel, attempt=2))
            is_taken = isinstance(outcome, Published | Submitted)
            require(Rule.ONE_REFRESH, is_taken, f"the sign-in works again, but {outcome!r}")
            await judge(stage, stage.adapter(), parcel, outcome)

    async def test_a_second_attempt_makes_no_second_post_of_its_own(self) -> None:
        """An attempt that follows a lost reply still makes one post at most, and denies none."""
        async with self.stage() as stage:
            parcel = stage.parcel()
            await stage.spoil(Spot.CREATE, "drop_before")
            await publish(stage, stage.adapter(), parcel)
            await stage.double.heal()
            await stage.pass_time(timedelta(minutes=10))
            outcome = await publish(stage, stage.adapter(), replace(parcel, attempt=2))
            await judge(stage, stage.adapter(), parcel, outcome)


def _unreachable(trouble: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an address to which no connection comes about."""
    match trouble:
        case "tls":
            return base_url.replace("http://", "https://")
        case "dns":

            def fail(*_args: object, **_facts: object) -> None:
                raise socket.gaierror(socket.EAI_NONAME, "no such host")

            monkeypatch.setattr(socket, "getaddrinfo", fail)
            return "http://platform.invalid"
        case _:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            return f"http://127.0.0.1:{port}"
