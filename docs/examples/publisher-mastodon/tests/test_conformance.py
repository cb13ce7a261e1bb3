"""The adapter passes the conformance kit against a double of a Mastodon server."""

import re
from types import MappingProxyType

import pytest
from double import IDENTITY, USERNAME, MastodonDouble, open_double
from publisher_mastodon import MASTODON

from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import RenderedImage, RenderedPost
from publisher.domain.results import NotSent, Published, Ticket, Unknown
from publisher.testing.conformance import (
    AdapterConformance,
    FrontResponse,
    ResponseFormat,
)

PNG = b"\x89PNG\r\n\x1a\n-picture-"
PICTURE = RenderedImage(
    sha256="0" * 64,
    media_type="image/png",
    size=len(PNG),
    width=640,
    height=360,
    alt="示意图",
)
TITLE = "警惕“退款客服”诈骗"
WORDS = "近期有人冒充电商客服🚨，以退款为由  诱导群众转账：不转账,不汇款！举报 https://police.example/tips/online/12377"


class TestMastodon(AdapterConformance):
    factory = MASTODON
    account = Account(
        id=AccountId("beijing"),
        platform=Platform("mastodon"),
        identity=IDENTITY,
        secret="m",
    )
    images = (PNG,)
    has_idempotency_key = True
    response_format = ResponseFormat(
        refusals={
            "api_error": FrontResponse.from_json(
                418, {"error": "no document lists this"}
            ),
            "captcha": FrontResponse.from_json(
                403, {"error": "Your login is currently disabled"}
            ),
            "expire_token": FrontResponse.from_json(
                401, {"error": "The access token is invalid"}
            ),
        },
        id_keys=frozenset({"id"}),
        text_keys=frozenset({"content"}),
        identity=USERNAME,
    )
    not_shown = MappingProxyType(
        {
            "duplicate on create": "a repeated call is answered with the first post, never refused",
            "review on create": "no post is reviewed before it is shown",
            "list_late on create": "the documents name no delay",
            "rewrite on list": (
                "lists have whole posts, in HTML, which the fault would cut within a tag"
            ),
        }
    )

    @staticmethod
    def render_sample(marker):
        return RenderedPost(
            account=AccountId("beijing"), platform=Platform("mastodon"), marker=marker, title=TITLE,
            text=f"{TITLE}\n\n{WORDS} \n\n通报编号 {marker.code}", images=(PICTURE,),
        )  # fmt: skip

    def open_platform(self):
        return open_double()

    async def test_a_post_behind_many_is_not_gone_for_a_proxys_404(self, harness):
        """An older post is not gone for a 404 to its read and its absence from the first page."""
        request = harness.make_request()
        outcome = await harness.build_adapter().publish(request)
        assert isinstance(outcome, Published)
        for number in range(45):
            await harness.post_manually("较新的消息", f"第 {number} 条")
        is_read = re.compile(r"/api/v1/statuses/\w+$").search
        harness.front.inject(
            "status",
            applies_to=lambda request: is_read(request.target) is not None,
            code=404,
        )
        ticket = Ticket(payload=outcome.receipt.remote_id)
        assert isinstance(await harness.build_adapter().check_ticket(ticket), Unknown)

    async def test_a_post_behind_short_pages_is_not_gone(self, harness, monkeypatch):
        """Pages with fewer posts than requested do not show that the list was read to its end."""
        request = harness.make_request()
        outcome = await harness.build_adapter().publish(request)
        assert isinstance(outcome, Published)
        for number in range(45):
            await harness.post_manually("较新的消息", f"第 {number} 条")
        monkeypatch.setattr("publisher_mastodon.adapter.MAX_PAGES", 1)
        monkeypatch.setattr(
            "publisher_mastodon.api.PAGE_SIZE", 80
        )  # the server gives at most 40
        is_read = re.compile(r"/api/v1/statuses/\w+$").search
        harness.front.inject(
            "status",
            applies_to=lambda request: is_read(request.target) is not None,
            code=404,
        )
        ticket = Ticket(payload=outcome.receipt.remote_id)
        assert isinstance(await harness.build_adapter().check_ticket(ticket), Unknown)

    async def test_a_post_waits_for_its_picture(self, harness):
        """Nothing is posted while a picture is processed; later attempts use the same upload."""
        if not isinstance(harness.platform, MastodonDouble):
            pytest.skip("NOT SHOWN: this server processes a picture at once")
        adapter, request = harness.build_adapter(), harness.make_request()
        harness.platform.is_processing = True
        for _ in range(2):
            outcome = await adapter.publish(request)
            assert isinstance(outcome, NotSent)
            assert outcome.until is not None
        harness.platform.is_processing = False
        assert isinstance(await adapter.publish(request), Published)
        assert (len(await harness.created_posts()), len(harness.platform.media)) == (
            1,
            1,
        )
