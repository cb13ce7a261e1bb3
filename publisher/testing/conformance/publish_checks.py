"""What every adapter's `publish` must keep."""

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.results import Blocked, CredentialExpired, HoldReason, NotSent, Published, Submitted, Unknown
from publisher.testing.conformance.faults import (
    ANSWERED_FAULTS,
    LATE_REPLY_FAULTS,
    UNKNOWN_OUTCOME_FAULTS,
    AdapterFault,
)
from publisher.testing.conformance.harness import SHORT_TIMEOUT, Harness
from publisher.testing.conformance.rules import ConformanceRule, require_rule
from publisher.testing.conformance.test_server import FaultTarget
from publisher.testing.conformance.verdicts import publish_once, verify_outcome


class PublishChecks:
    """Rules of the one call that cannot be taken back."""

    open_harness: Callable[[], AbstractAsyncContextManager[Harness]]

    async def test_publishes_once(self) -> None:
        """An undisturbed attempt is one creating call and one post, and its answer says so."""
        async with self.open_harness() as harness:
            adapter, request = harness.build_adapter(), harness.make_request()
            outcome = await publish_once(harness, adapter, request)
            require_rule(
                ConformanceRule.HONEST_OUTCOME,
                isinstance(outcome, Published | Submitted),
                f"nothing is wrong, but {outcome!r}",
            )
            require_rule(
                ConformanceRule.ONE_CREATE,
                harness.call_tally.create_count == 1,
                f"{harness.call_tally.create_count} creating calls",
            )
            require_rule(
                ConformanceRule.ONE_CREATE,
                len(await harness.created_posts()) == 1,
                "the platform did not make the one post",
            )
            await verify_outcome(harness, adapter, request, outcome)

    @pytest.mark.parametrize("fault", UNKNOWN_OUTCOME_FAULTS, ids=str)
    async def test_unknown_outcome_stays_unknown(self, fault: AdapterFault) -> None:
        """Where nobody can tell whether the post was made, the answer is Unknown, and a look finds what there is."""
        async with self.open_harness() as harness:
            await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
            adapter, request = harness.build_adapter(), harness.make_request()
            outcome = await publish_once(harness, adapter, request)
            require_rule(
                ConformanceRule.HONEST_OUTCOME,
                isinstance(outcome, Unknown),
                f"after {fault} comes {outcome!r}, not Unknown",
            )
            await verify_outcome(harness, adapter, request, outcome)

    @pytest.mark.parametrize("fault", LATE_REPLY_FAULTS, ids=str)
    async def test_late_reply_is_unknown(self, fault: AdapterFault) -> None:
        """What has not been answered in time may have been done."""
        async with self.open_harness() as harness:
            await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
            adapter, request = harness.build_adapter(timeout=SHORT_TIMEOUT), harness.make_request()
            outcome = await publish_once(harness, adapter, request)
            require_rule(
                ConformanceRule.HONEST_OUTCOME,
                isinstance(outcome, Unknown),
                f"after {fault} comes {outcome!r}, not Unknown",
            )
            await verify_outcome(harness, harness.build_adapter(), request, outcome)

    @pytest.mark.parametrize("fault", ANSWERED_FAULTS, ids=str)
    async def test_never_claims_more_than_the_reply(self, fault: AdapterFault) -> None:
        """Whatever the platform says, no answer denies a post that was made, or claims one that was not."""
        async with self.open_harness() as harness:
            await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
            adapter, request = harness.build_adapter(), harness.make_request()
            outcome = await publish_once(harness, adapter, request)
            if fault.kind == "wrong_account":
                is_careful = not isinstance(outcome, Published)
                require_rule(
                    ConformanceRule.HONEST_OUTCOME, is_careful, f"the reply names another account, but {outcome!r}"
                )
            if fault.kind == "duplicate":
                is_evidence = isinstance(outcome, Published) or (isinstance(outcome, Unknown) and outcome.is_duplicate)
                require_rule(ConformanceRule.HONEST_OUTCOME, is_evidence, f"said to be a duplicate, but {outcome!r}")
            await verify_outcome(harness, adapter, request, outcome)

    @pytest.mark.parametrize("failure", ["refused", "dns", "tls"])
    async def test_what_never_left_is_not_sent(self, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no connection comes about, nothing was made, and the answer is NotSent."""
        async with self.open_harness() as harness:
            base_url = _make_unreachable(failure, harness.platform.base_url, monkeypatch)
            adapter = harness.build_adapter(base_url=base_url, timeout=SHORT_TIMEOUT)
            outcome = await publish_once(harness, adapter, harness.make_request())
            require_rule(
                ConformanceRule.NOT_SENT_IS_PROVEN, isinstance(outcome, NotSent), f"{failure}, but {outcome!r}"
            )
            require_rule(
                ConformanceRule.NOT_SENT_IS_PROVEN,
                not await harness.created_posts(),
                "NotSent, but the platform made the post",
            )

    async def test_sends_nothing_after_the_lease(self) -> None:
        """After its lease an attempt makes nothing, and says so."""
        async with self.open_harness() as harness:
            outcome = await publish_once(harness, harness.build_adapter(), harness.make_request(start_by=0.0))
            require_rule(
                ConformanceRule.NOT_SENT_IS_PROVEN, isinstance(outcome, NotSent), f"the lease was over, but {outcome!r}"
            )
            require_rule(
                ConformanceRule.NOT_SENT_IS_PROVEN, not await harness.created_posts(), "a post was made after the lease"
            )

    async def test_uses_only_the_given_client(self) -> None:
        """An adapter whose way is closed reaches its platform by no other."""
        async with self.open_harness() as harness:
            outcome = await publish_once(harness, harness.build_adapter(is_closed=True), harness.make_request())
            require_rule(
                ConformanceRule.CLIENT_GIVEN, isinstance(outcome, NotSent), f"the way is closed, but {outcome!r}"
            )
            require_rule(
                ConformanceRule.CLIENT_GIVEN,
                harness.call_tally.requests,
                "not even an attempt came by the way that was given",
            )
            require_rule(
                ConformanceRule.CLIENT_GIVEN,
                not await harness.created_posts(),
                "a post was made past the way that was given",
            )

    async def test_needs_credentials(self) -> None:
        """Without its secret an adapter makes nothing and asks for a person."""
        async with self.open_harness() as harness:
            outcome = await publish_once(harness, harness.build_adapter(secret={}), harness.make_request())
            is_auth = isinstance(outcome, CredentialExpired) or (
                isinstance(outcome, Blocked) and outcome.hold_reason is HoldReason.AUTH
            )
            require_rule(ConformanceRule.PROBE_TELLS, is_auth, f"there are no credentials, but {outcome!r}")
            require_rule(
                ConformanceRule.HONEST_OUTCOME, not await harness.created_posts(), "a post was made without credentials"
            )

    async def test_goes_on_after_a_refused_sign_in(self) -> None:
        """A refused sign-in costs one renewal at most, and the next attempt makes the one post."""
        async with self.open_harness() as harness:
            request = harness.make_request()
            await harness.inject_fault(FaultTarget.CREATE, "expire_token")
            await publish_once(harness, harness.build_adapter(), request)
            require_rule(
                ConformanceRule.ONE_REFRESH,
                harness.call_tally.renewal_count <= 1,
                f"{harness.call_tally.renewal_count} renewals in one call",
            )
            await harness.platform.clear_faults()
            if await harness.created_posts():
                return
            outcome = await publish_once(harness, harness.build_adapter(), replace(request, attempt=2))
            is_taken = isinstance(outcome, Published | Submitted)
            require_rule(ConformanceRule.ONE_REFRESH, is_taken, f"the sign-in works again, but {outcome!r}")
            await verify_outcome(harness, harness.build_adapter(), request, outcome)

    async def test_a_second_attempt_makes_no_second_post_of_its_own(self) -> None:
        """An attempt that follows a lost reply still makes one post at most, and denies none."""
        async with self.open_harness() as harness:
            request = harness.make_request()
            await harness.inject_fault(FaultTarget.CREATE, "drop_before")
            await publish_once(harness, harness.build_adapter(), request)
            await harness.platform.clear_faults()
            await harness.advance_time(timedelta(minutes=10))
            outcome = await publish_once(harness, harness.build_adapter(), replace(request, attempt=2))
            await verify_outcome(harness, harness.build_adapter(), request, outcome)


def _make_unreachable(failure: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an address to which no connection comes about."""
    match failure:
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
