"""Rules for every adapter's `publish`."""

import socket
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.contract import HttpRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HoldReason,
    NotSent,
    Published,
    Submitted,
    Unknown,
)
from publisher.testing.conformance.faults import (
    ANSWERED_FAULTS,
    SERVER_ERROR_FAULTS,
    UNKNOWN_OUTCOME_FAULTS,
    UPLOAD_FAULTS,
    AdapterFault,
    make_fault,
)
from publisher.testing.conformance.harness import (
    FaultTarget,
    Harness,
    MemoryAdapterState,
)
from publisher.testing.conformance.rules import ConformanceRule
from publisher.testing.conformance.verdicts import (
    count_uploads,
    publish_once,
    publish_well,
    verify_content,
    verify_outcome,
)


class PublishChecks:
    """Checks of the one call that cannot be undone."""

    has_idempotency_key: bool = False
    """True if the platform recognises a second attempt by a key, and creates nothing then."""

    def get_idempotency_key(self, request: HttpRequest) -> str | None:
        """Return the key that a creating call carries; None if it has none."""
        return {name.lower(): value for name, value in request.headers.items()}.get(
            "idempotency-key"
        )

    async def test_publishes_once(self, harness: Harness) -> None:
        """An attempt without faults is one creating call and one post, and its outcome says so."""
        adapter, request = harness.build_adapter(), harness.make_request()
        outcome = await publish_well(harness, adapter, request)
        ConformanceRule.ONE_CREATE.require(
            harness.call_tally.create_count == 1,
            f"{harness.call_tally.create_count} creating calls",
        )
        ConformanceRule.ONE_CREATE.require(
            len(await harness.created_posts()) == 1,
            "the platform did not make the one post",
        )
        await verify_outcome(harness, request, outcome)

    async def test_publishes_all_of_it_for_all(self, harness: Harness) -> None:
        """Anybody can read the post, with all its words and pictures."""
        request = harness.make_request()
        await publish_well(harness, harness.build_adapter(), request)
        await harness.wait_until_visible()
        [post] = await harness.created_posts()
        verify_content(harness, request, post)
        ConformanceRule.VISIBLE_TO_ALL.require(
            post.is_public, f"{post.remote_id} is live, but not for everybody"
        )

    async def test_publishes_every_picture(self, harness: Harness) -> None:
        """A post with two pictures is published with both."""
        capabilities, request = harness.capabilities, harness.make_request()
        if (
            not request.images
            or capabilities.picture_limit == 1
            or capabilities.is_article
        ):
            pytest.skip(
                "NOT APPLICABLE: one picture at most, or an article, whose text names its pictures"
            )
        first, data = request.rendered.images[0], request.images[0]
        second = replace(first, sha256="1" * len(first.sha256), size=first.size + 1)
        other = data + b"\0"
        rendered = replace(request.rendered, images=(first, second))
        request = replace(request, rendered=rendered, images=(data, other))
        await publish_well(harness, harness.build_adapter(), request)
        await harness.wait_until_visible()
        [post] = await harness.created_posts()
        verify_content(harness, request, post)

    @pytest.mark.parametrize("fault", UPLOAD_FAULTS, ids=str)
    async def test_publishes_nothing_without_its_pictures(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """If a picture cannot be stored, nothing is published without it."""
        await publish_well(harness, harness.build_adapter(), harness.make_request())
        if not count_uploads(harness, since=0):
            pytest.skip(
                "NOT APPLICABLE: the creating call carries the pictures, or the sample has none"
            )
        await harness.wait_until_visible()
        earlier = {post.remote_id for post in await harness.created_posts()}
        request, state = harness.make_request(), MemoryAdapterState()
        async with harness.fault(FaultTarget.UPLOAD, fault):
            await publish_once(harness, harness.build_adapter(state=state), request)
        await harness.wait_until_visible()
        for post in await harness.created_posts():
            if post.remote_id not in earlier:
                verify_content(harness, request, post)

    @pytest.mark.parametrize("fault", UNKNOWN_OUTCOME_FAULTS, ids=str)
    async def test_unknown_outcome_stays_unknown(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """If the creation is unknowable, the outcome is Unknown, and a readback finds the post."""
        adapter, request = harness.build_adapter(), harness.make_request()
        async with harness.fault(FaultTarget.CREATE, fault):
            outcome = await publish_once(harness, adapter, request)
        ConformanceRule.HONEST_OUTCOME.require(
            isinstance(outcome, Unknown),
            f"after {fault} comes {outcome!r}, not Unknown",
        )
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("fault", ANSWERED_FAULTS, ids=str)
    async def test_never_claims_more_than_the_reply(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """No outcome denies a created post or claims a missing one, for any platform response."""
        adapter, request = harness.build_adapter(), harness.make_request()
        async with harness.fault(FaultTarget.CREATE, fault):
            outcome = await publish_once(harness, adapter, request)
        if fault.kind == "wrong_account":
            is_careful = not isinstance(outcome, Published)
            ConformanceRule.HONEST_OUTCOME.require(
                is_careful, f"the reply names another account, but {outcome!r}"
            )
        if fault.kind == "duplicate":
            is_evidence = isinstance(outcome, Published) or (
                isinstance(outcome, Unknown) and outcome.is_duplicate
            )
            ConformanceRule.HONEST_OUTCOME.require(
                is_evidence, f"said to be a duplicate, but {outcome!r}"
            )
        await verify_outcome(harness, request, outcome)

    @pytest.mark.parametrize("fault", SERVER_ERROR_FAULTS, ids=str)
    async def test_a_server_error_is_no_changed_interface(
        self, harness: Harness, fault: AdapterFault
    ) -> None:
        """A server error does not count as an unreadable response.

        Five unreadable responses pause a platform.
        """
        async with harness.fault(FaultTarget.CREATE, fault):
            outcome = await publish_once(
                harness, harness.build_adapter(), harness.make_request()
            )
        ConformanceRule.SERVER_ERROR_NAMED.require(
            outcome == Unknown(reason="server_error"),
            f"after {fault} comes {outcome!r}, not Unknown(reason='server_error')",
        )

    @pytest.mark.parametrize("failure", ["refused", "dns", "tls"])
    async def test_what_never_left_is_not_sent(
        self, harness: Harness, failure: str
    ) -> None:
        """Without a connection nothing is created, and the outcome is NotSent."""
        with pytest.MonkeyPatch.context() as patch:
            adapter = harness.build_adapter(
                base_url=_make_unreachable(failure, harness.front.base_url, patch)
            )
            outcome = await adapter.publish(harness.make_request())
        ConformanceRule.NOT_SENT_IS_PROVEN.require(
            isinstance(outcome, NotSent), f"{failure}, but {outcome!r}"
        )
        ConformanceRule.NOT_SENT_IS_PROVEN.require(
            not await harness.created_posts(), "NotSent, but the platform made the post"
        )

    async def test_sends_nothing_after_the_lease(self, harness: Harness) -> None:
        """After its lease an attempt creates nothing, and its outcome is NotSent."""
        outcome = await publish_once(
            harness, harness.build_adapter(), harness.make_request(start_by=0.0)
        )
        ConformanceRule.NOT_SENT_IS_PROVEN.require(
            isinstance(outcome, NotSent), f"the lease was over, but {outcome!r}"
        )
        ConformanceRule.NOT_SENT_IS_PROVEN.require(
            not await harness.created_posts(), "a post was made after the lease"
        )

    async def test_uses_only_the_given_client(self, harness: Harness) -> None:
        """An adapter with a closed HTTP client uses no other.

        Each check sees calls past the client as well.
        """
        outcome = await publish_once(
            harness, harness.build_adapter(is_closed=True), harness.make_request()
        )
        ConformanceRule.CLIENT_GIVEN.require(
            isinstance(outcome, NotSent), f"the client is closed, but {outcome!r}"
        )
        ConformanceRule.CLIENT_GIVEN.require(
            harness.call_tally.requests, "not even an attempt used the given client"
        )
        ConformanceRule.CLIENT_GIVEN.require(
            not await harness.created_posts(),
            "a post was made without the given client",
        )

    async def test_needs_credentials(self, harness: Harness) -> None:
        """Without its secret an adapter creates nothing and needs a person."""
        outcome = await publish_once(
            harness, harness.build_adapter(secret={}), harness.make_request()
        )
        is_auth = isinstance(outcome, CredentialExpired) or (
            isinstance(outcome, Blocked) and outcome.hold_reason is HoldReason.AUTH
        )
        ConformanceRule.PROBE_TELLS.require(
            is_auth, f"there are no credentials, but {outcome!r}"
        )
        ConformanceRule.HONEST_OUTCOME.require(
            not await harness.created_posts(), "a post was made without credentials"
        )

    async def test_goes_on_after_a_refused_sign_in(self, harness: Harness) -> None:
        """A refused sign-in costs one renewal at most; the next attempt creates the one post."""
        request = harness.make_request()
        async with harness.fault(FaultTarget.CREATE, make_fault("expire_token")):
            await publish_once(harness, harness.build_adapter(), request)
        ConformanceRule.ONE_REFRESH.require(
            harness.call_tally.renewal_count <= 1,
            f"{harness.call_tally.renewal_count} renewals in one call",
        )
        if await harness.created_posts():
            return
        outcome = await publish_once(
            harness, harness.build_adapter(), replace(request, attempt=2)
        )
        is_taken = isinstance(outcome, Published | Submitted)
        ConformanceRule.ONE_REFRESH.require(
            is_taken, f"the sign-in works again, but {outcome!r}"
        )
        await verify_outcome(harness, request, outcome)

    async def test_a_second_attempt_makes_no_second_post_of_its_own(
        self, harness: Harness
    ) -> None:
        """An attempt after a lost reply creates at most one post, and denies none."""
        request = harness.make_request()
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_before")):
            await publish_once(harness, harness.build_adapter(), request)
        await harness.advance_time(timedelta(minutes=10))
        outcome = await publish_once(
            harness, harness.build_adapter(), replace(request, attempt=2)
        )
        await verify_outcome(harness, request, outcome)

    async def test_all_attempts_carry_one_key(self, harness: Harness) -> None:
        """The idempotency key of a delivery is the same in each attempt.

        This holds even if a database has lost all state.
        """
        request, created_by = harness.make_request(), harness.call_tally.created_by
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_after")):
            await publish_once(harness, harness.build_adapter(), request)
        again = harness.build_adapter(state=MemoryAdapterState())
        await again.publish(replace(request, attempt=2))
        await harness.build_adapter().publish(harness.make_request())
        keys = [self.get_idempotency_key(call) for call in created_by]
        if not self.has_idempotency_key and keys[0] is None:
            pytest.skip("NOT APPLICABLE: the platform has no idempotency key")
        ConformanceRule.ONE_KEY.require(
            None not in keys, f"a creating call carries no key: {keys}"
        )
        first, second, other = [*keys, None, None][:3]
        ConformanceRule.ONE_KEY.require(
            first == second, f"two attempts of one delivery carry {first} and {second}"
        )
        ConformanceRule.ONE_KEY.require(
            first != other, f"two deliveries carry the same key {first}"
        )
        count = len(await harness.created_posts())
        is_recognised = count == 2 or not self.has_idempotency_key
        ConformanceRule.ONE_KEY.require(
            is_recognised, f"two deliveries, three attempts, and {count} posts"
        )

    async def test_stores_its_pictures_once(self, harness: Harness) -> None:
        """A second attempt uses the pictures that the first one has stored, after restarts too."""
        harness.skip_where_not_shown(ConformanceRule.MEDIA_STORED_ONCE)
        request = harness.make_request()
        async with harness.fault(FaultTarget.CREATE, make_fault("drop_before")):
            await publish_once(harness, harness.build_adapter(), request)
        first = count_uploads(harness, since=0)
        if not first:
            pytest.skip(
                "NOT APPLICABLE: the creating call carries the pictures, or the sample has none"
            )
        seen = len(harness.call_tally.requests)
        await harness.advance_time(timedelta(minutes=10))
        await publish_once(
            harness, harness.build_adapter(), replace(request, attempt=2)
        )
        again = count_uploads(harness, since=seen)
        ConformanceRule.MEDIA_STORED_ONCE.require(
            not again,
            f"{again} of {first} pictures were stored again for the second attempt",
        )


def _make_unreachable(
    failure: str, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> str:
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
