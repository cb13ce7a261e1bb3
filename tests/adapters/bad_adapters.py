"""Adapters with one planted bug each.

Each must fail the conformance kit; `test_conformance_kit.py` runs this file.
"""

import json
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx

from adapters._http import FreshConnections
from adapters.webhook import WebhookFactory
from adapters.webhook.adapter import WebhookAdapter
from adapters.webhook.api import sign_headers
from adapters.weibo import WeiboFactory
from adapters.weibo.adapter import WeiboAdapter
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Deleted,
    Healthy,
    NotFound,
    NotSent,
    Published,
    ReadFailure,
    Receipt,
    Unknown,
)
from publisher.domain.verification import is_similar
from publisher.testing.conformance.harness import MemoryAdapterState
from tests.adapters.receiver import ACCOUNT, receiving
from tests.adapters.simulated import SimulatedPlatformAccount
from tests.adapters.test_conformance import TestWebhook as Sound
from tests.adapters.test_conformance import TestWeiboBiz as SoundBiz

LOST = {"timeout", "reset", "response_truncated"}
PAGE = 10


def make_factory(adapter, **capabilities):
    """Return the webhook's factory, with another adapter or other capabilities."""

    class BadAdapterFactory(WebhookFactory):
        def create(self, account, context):
            return adapter(account=account, context=context)

        def capabilities(self, account):
            return replace(super().capabilities(account), **capabilities)

    return BadAdapterFactory()


@dataclass(frozen=True)
class ChangedHttp:
    """A client that changes the creating requests and the responses of reads."""

    inner: object
    change_request: object = None
    change_response: object = None

    async def fetch(self, request):
        response = await self.inner.fetch(request)
        is_changed = self.change_response and isinstance(response, HttpResponse)
        return self.change_response(response) if is_changed else response

    async def create(self, request, send_request):
        request = self.change_request(request) if self.change_request else request
        return await self.inner.create(request, send_request)


def claim_own_account(response):
    """Return a response in the account's own name, as if nobody had compared it."""
    body = re.sub(
        rb'"account":"[^"]*"', b'"account":"' + ACCOUNT.encode() + b'"', response.body
    )
    return replace(response, body=body)


def over(adapter, **changes):
    """Return an adapter of the same kind over a client that changes something."""
    return replace(
        adapter,
        context=replace(
            adapter.context, http=ChangedHttp(adapter.context.http, **changes)
        ),
    )


class Hasty(WebhookAdapter):
    """Reports a lost reply as not sent, so that the post would be sent again."""

    async def publish(self, request):
        outcome = await super().publish(request)
        is_connection_lost = isinstance(outcome, Unknown) and outcome.reason in LOST
        return NotSent(reason=outcome.reason) if is_connection_lost else outcome


class Opaque(WebhookAdapter):
    """Reports a server error as a response that it cannot read."""

    async def publish(self, request):
        outcome = await super().publish(request)
        return (
            Unknown(reason="bad_response")
            if outcome == Unknown(reason="server_error")
            else outcome
        )


class Greedy(WebhookAdapter):
    """Takes the newest post for its own, and the end of the first page for the end of the list."""

    async def find_post(self, request):
        page = await self.list_recent()
        if isinstance(page, ReadFailure):
            return page
        for sighting in page[:PAGE]:
            if sighting.published_at > request.baseline.taken_at:
                receipt = Receipt(
                    remote_id=sighting.remote_id,
                    url=sighting.url,
                    published_at=sighting.published_at,
                )
                return Published(receipt=receipt)
        return NotFound(covered_since=request.baseline.taken_at)


class Fooled(WebhookAdapter):
    """Takes any post with the words of ours for ours, regardless of its marker."""

    async def find_post(self, request):
        finding = await super().find_post(request)
        page = await self.list_recent() if isinstance(finding, NotFound) else ()
        for sighting in page if not isinstance(page, ReadFailure) else ():
            is_new = not request.baseline.includes(
                sighting.remote_id, sighting.published_at
            )
            if is_new and is_similar((request.text,), (sighting.text,), request.marker):
                receipt = Receipt(
                    remote_id=sighting.remote_id,
                    url=sighting.url,
                    published_at=sighting.published_at,
                )
                return Published(receipt=receipt)
        return finding


class BlindInList(WebhookAdapter):
    """Does not compare the account when it looks for its post."""

    async def find_post(self, request):
        return await WebhookAdapter.find_post(
            over(self, change_response=claim_own_account), request
        )


class BlindInRecent(WebhookAdapter):
    """Does not compare the account in the list of the newest posts."""

    async def list_recent(self):
        return await WebhookAdapter.list_recent(
            over(self, change_response=claim_own_account)
        )


class BlindInProbe(WebhookAdapter):
    """Does not compare the account of its login."""

    async def check_health(self):
        return await WebhookAdapter.check_health(
            over(self, change_response=claim_own_account)
        )


class BlindInTicket(WebhookAdapter):
    """Does not compare the account of the post that it follows."""

    async def check_ticket(self, ticket):
        return await WebhookAdapter.check_ticket(
            over(self, change_response=claim_own_account), ticket
        )


class Forgetful(WebhookAdapter):
    """Sends another idempotency key with each attempt."""

    async def publish(self, request):
        def change(call):
            return replace(
                call, headers={**call.headers, "idempotency-key": secrets.token_hex(4)}
            )

        return await WebhookAdapter.publish(over(self, change_request=change), request)


class Trusting(WebhookAdapter):
    """Takes any 404 on a deletion for the post's absence."""

    async def retract(self, receipt):
        statuses = []

        def note(response):
            statuses.append(response.status)
            return response

        result = await WebhookAdapter.retract(over(self, change_response=note), receipt)
        return Deleted() if statuses[-1:] == [404] else result


class Plain(WebhookAdapter):
    """Leaves out the pictures."""

    async def publish(self, request):
        return await super().publish(
            replace(request, images=(), rendered=replace(request.rendered, images=()))
        )


class Thrifty(WebhookAdapter):
    """Sends the first picture alone."""

    async def publish(self, request):
        rendered = replace(request.rendered, images=request.rendered.images[:1])
        return await super().publish(
            replace(request, images=request.images[:1], rendered=rendered)
        )


class Wordless(WebhookAdapter):
    """Sends the marker, and none of the words."""

    async def publish(self, request):
        return await super().publish(
            replace(
                request,
                rendered=replace(
                    request.rendered,
                    text=request.marker.code,
                    title=request.marker.code,
                ),
            )
        )


class Unlinked(WebhookAdapter):
    """Leaves out the links."""

    async def publish(self, request):
        text = re.sub(r"https?://\S+", "", request.text)
        return await super().publish(
            replace(request, rendered=replace(request.rendered, text=text))
        )


class Private(WebhookAdapter):
    """Publishes for the account alone."""

    async def publish(self, request):
        def change(call):
            body = json.dumps(
                {**json.loads(call.content), "private": True}, ensure_ascii=False
            ).encode()
            key = self.context.secret()["key"]
            signature = sign_headers(
                key, call.method, call.url, body, self.context.now()
            )
            return replace(call, content=body, headers={**call.headers, **signature})

        return await WebhookAdapter.publish(over(self, change_request=change), request)


class Nostalgic(WebhookAdapter):
    """Takes a post from before its attempt for its own."""

    async def find_post(self, request):
        long_ago = Baseline(newest_id=None, taken_at=datetime(2000, 1, 1, tzinfo=UTC))
        return await super().find_post(replace(request, baseline=long_ago))


class Willful(WebhookAdapter):
    """Reads with its own client, without limits and without a deadline."""

    async def find_post(self, request):
        own = OwnHttp()
        return await WebhookAdapter.find_post(
            replace(self, context=replace(self.context, http=own)), request
        )


class OwnHttp:
    async def fetch(self, request):
        async with httpx.AsyncClient(transport=FreshConnections()) as client:
            try:
                response = await client.request(
                    request.method, request.url, headers=request.headers
                )
            except (OSError, httpx.TransportError):
                return Unknown(reason="reset")
        return HttpResponse(
            status=response.status_code,
            headers=dict(response.headers),
            body=response.content,
        )


class Talkative(WebhookAdapter):
    """Quotes its key in a result."""

    async def check_health(self):
        health = await super().check_health()
        key = self.context.secret().get("key")
        return (
            Unknown(reason=f"refused with {key}")
            if isinstance(health, Healthy) and key
            else health
        )


class Creative(WebhookAdapter):
    """Publishes once more while it looks for its post."""

    async def find_post(self, request):
        await self.publish(request)
        return await super().find_post(request)


class Careless(WeiboAdapter):
    """Goes on without the pictures when one cannot be stored."""

    async def _prepare_post_request(self, endpoint, request):
        prepared = await super()._prepare_post_request(endpoint, request)
        if isinstance(prepared, HttpRequest):
            return prepared
        bare = replace(
            request, images=(), rendered=replace(request.rendered, images=())
        )
        return await super()._prepare_post_request(endpoint, bare)


class CarelessFactory(WeiboFactory):
    def create(self, account, context):
        return Careless(account=account, context=context)


class WastefulFactory(WeiboFactory):
    """Makes adapters that forget the pictures they have stored."""

    def create(self, account, context):
        return super().create(account, replace(context, state=MemoryAdapterState()))


class Defective(SimulatedPlatformAccount):
    """A test platform that promises faults and makes none."""

    async def inject_fault(self, spot, kind, **facts):
        return True


class Lying(Defective):
    """A test platform that makes no faults, and reports that it did."""

    async def fault_count(self):
        return 1


class TestHasty(Sound):
    factory = make_factory(Hasty)


class TestOpaque(Sound):
    factory = make_factory(Opaque)


class TestGreedy(Sound):
    factory = make_factory(Greedy)


class TestFooled(Sound):
    factory = make_factory(Fooled)


class TestBlindInList(Sound):
    factory = make_factory(BlindInList)


class TestBlindInRecent(Sound):
    factory = make_factory(BlindInRecent)


class TestBlindInProbe(Sound):
    factory = make_factory(BlindInProbe)


class TestBlindInTicket(Sound):
    factory = make_factory(BlindInTicket)


class TestForgetful(Sound):
    factory = make_factory(Forgetful)


class TestTrusting(Sound):
    factory = make_factory(Trusting)


class TestPlain(Sound):
    factory = make_factory(Plain)


class TestThrifty(Sound):
    factory = make_factory(Thrifty)


class TestWordless(Sound):
    factory = make_factory(Wordless)


class TestUnlinked(Sound):
    factory = make_factory(Unlinked)


class TestPrivate(Sound):
    factory = make_factory(Private)


class TestNostalgic(Sound):
    factory = make_factory(Nostalgic)


class TestWillful(Sound):
    factory = make_factory(Willful)


class TestTalkative(Sound):
    factory = make_factory(Talkative)


class TestCreative(Sound):
    factory = make_factory(Creative)


class TestLinkless(Sound):
    """Counts links as nothing."""

    factory = make_factory(
        WebhookAdapter, count_text=lambda text: len(re.sub(r"https?://\S+", "", text))
    )


class TestImpatient(Sound):
    """Declares delays that its visibility window does not cover."""

    factory = make_factory(WebhookAdapter, server_delay=timedelta(hours=1))


class TestCareless(SoundBiz):
    factory = CarelessFactory()


class TestWasteful(SoundBiz):
    factory = WastefulFactory()


class TestDefective(Sound):
    """A sound adapter over a double that ignores the faults it is asked for."""

    def open_platform(self):
        return receiving(Defective)


class TestLying(Sound):
    """A sound adapter over a double that only pretends to make faults."""

    def open_platform(self):
        return receiving(Lying)


del Sound, SoundBiz  # run by test_conformance_kit.py, not collected here
