"""Rules for every adapter's `publish`."""

import socket
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
from publisher.testing.conformance.harness import SHORT_TIMEOUT, FaultTarget, Harness
from publisher.testing.conformance.verdicts import ConformanceRule, publish_once, verify_outcome


class PublishChecks:
    """Checks of the one call that cannot be undone."""

    async def test_publishes_once(self, harness: Harness) -> None:
        """An attempt without faults is one creating call and one post, and its outcome says so."""
        adapter, request = harness.build_adapter(), harness.make_request()
        outcome = await publish_once(harness, adapter, request)
        ConformanceRule.HONEST_OUTCOME.require(
            isinstance(outcome, Published | Submitted), f"nothing is wrong, but {outcome!r}"
        )
        ConformanceRule.ONE_CREATE.require(
            harness.call_tally.create_count == 1, f"{harness.call_tally.create_count} creating calls"
        )
        ConformanceRule.ONE_CREATE.require(
            len(await harness.created_posts()) == 1, "the platform did not make the one post"
        )
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("fault", UNKNOWN_OUTCOME_FAULTS, ids=str)
    async def test_unknown_outcome_stays_unknown(self, harness: Harness, fault: AdapterFault) -> None:
        """If nobody can know whether the post was created, the outcome is Unknown, and a readback finds it."""
        await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
        adapter, request = harness.build_adapter(), harness.make_request()
        outcome = await publish_once(harness, adapter, request)
        ConformanceRule.HONEST_OUTCOME.require(
            isinstance(outcome, Unknown), f"after {fault} comes {outcome!r}, not Unknown"
        )
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("fault", LATE_REPLY_FAULTS, ids=str)
    async def test_late_reply_is_unknown(self, harness: Harness, fault: AdapterFault) -> None:
        """A call without a response in time may have created the post."""
        await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
        adapter, request = harness.build_adapter(timeout=SHORT_TIMEOUT), harness.make_request()
        outcome = await publish_once(harness, adapter, request)
        ConformanceRule.HONEST_OUTCOME.require(
            isinstance(outcome, Unknown), f"after {fault} comes {outcome!r}, not Unknown"
        )
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("fault", ANSWERED_FAULTS, ids=str)
    async def test_never_claims_more_than_the_reply(self, harness: Harness, fault: AdapterFault) -> None:
        """Whatever the platform responds, no outcome denies a created post or claims a missing one."""
        await harness.inject_fault(FaultTarget.CREATE, fault.kind, **fault.facts)
        adapter, request = harness.build_adapter(), harness.make_request()
        outcome = await publish_once(harness, adapter, request)
        if fault.kind == "wrong_account":
            is_careful = not isinstance(outcome, Published)
            ConformanceRule.HONEST_OUTCOME.require(is_careful, f"the reply names another account, but {outcome!r}")
        if fault.kind == "duplicate":
            is_evidence = isinstance(outcome, Published) or (isinstance(outcome, Unknown) and outcome.is_duplicate)
            ConformanceRule.HONEST_OUTCOME.require(is_evidence, f"said to be a duplicate, but {outcome!r}")
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("failure", ["refused", "dns", "tls"])
    async def test_what_never_left_is_not_sent(
        self, harness: Harness, failure: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a connection nothing is created, and the outcome is NotSent."""
        base_url = _make_unreachable(failure, harness.platform.base_url, monkeypatch)
        adapter = harness.build_adapter(base_url=base_url, timeout=SHORT_TIMEOUT)
        outcome = await publish_once(harness, adapter, harness.make_request())
        ConformanceRule.NOT_SENT_IS_PROVEN.require(isinstance(outcome, NotSent), f"{failure}, but {outcome!r}")
        ConformanceRule.NOT_SENT_IS_PROVEN.require(
            not await harness.created_posts(), "NotSent, but the platform made the post"
        )

    async def test_sends_nothing_after_the_lease(self, harness: Harness) -> None:
        """After its lease an attempt creates nothing, and its outcome is NotSent."""
        outcome = await publish_once(harness, harness.build_adapter(), harness.make_request(start_by=0.0))
        ConformanceRule.NOT_SENT_IS_PROVEN.require(isinstance(outcome, NotSent), f"the lease was over, but {outcome!r}")
        ConformanceRule.NOT_SENT_IS_PROVEN.require(not await harness.created_posts(), "a post was made after the lease")

    async def test_uses_only_the_given_client(self, harness: Harness) -> None:
        """An adapter whose HTTP client is closed uses no other."""
        outcome = await publish_once(harness, harness.build_adapter(is_closed=True), harness.make_request())
        ConformanceRule.CLIENT_GIVEN.require(isinstance(outcome, NotSent), f"the client is closed, but {outcome!r}")
        ConformanceRule.CLIENT_GIVEN.require(harness.call_tally.requests, "not even an attempt used the given client")
        ConformanceRule.CLIENT_GIVEN.require(
            not await harness.created_posts(), "a post was made without the given client"
        )

    async def test_needs_credentials(self, harness: Harness) -> None:
        """Without its secret an adapter creates nothing and needs a person."""
        outcome = await publish_once(harness, harness.build_adapter(secret={}), harness.make_request())
        is_auth = isinstance(outcome, CredentialExpired) or (
            isinstance(outcome, Blocked) and outcome.hold_reason is HoldReason.AUTH
        )
        ConformanceRule.PROBE_TELLS.require(is_auth, f"there are no credentials, but {outcome!r}")
        ConformanceRule.HONEST_OUTCOME.require(not await harness.created_posts(), "a post was made without credentials")

    async def test_goes_on_after_a_refused_sign_in(self, harness: Harness) -> None:
        """A refused sign-in costs at most one renewal, and the next attempt creates the one post."""
        request = harness.make_request()
        await harness.inject_fault(FaultTarget.CREATE, "expire_token")
        await publish_once(harness, harness.build_adapter(), request)
        ConformanceRule.ONE_REFRESH.require(
            harness.call_tally.renewal_count <= 1, f"{harness.call_tally.renewal_count} renewals in one call"
        )
        await harness.platform.clear_faults()
        if await harness.created_posts():
            return
        outcome = await publish_once(harness, harness.build_adapter(), replace(request, attempt=2))
        is_taken = isinstance(outcome, Published | Submitted)
        ConformanceRule.ONE_REFRESH.require(is_taken, f"the sign-in works again, but {outcome!r}")
        await verify_outcome(harness, request, outcome)

    async def test_a_second_attempt_makes_no_second_post_of_its_own(self, harness: Harness) -> None:
        """An attempt after a lost reply creates at most one post, and denies none."""
        request = harness.make_request()
        await harness.inject_fault(FaultTarget.CREATE, "drop_before")
        await publish_once(harness, harness.build_adapter(), request)
        await harness.platform.clear_faults()
        await harness.advance_time(timedelta(minutes=10))
        outcome = await publish_once(harness, harness.build_adapter(), replace(request, attempt=2))
        await verify_outcome(harness, request, outcome)


def _make_unreachable(failure: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a base URL that cannot be connected to."""
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
