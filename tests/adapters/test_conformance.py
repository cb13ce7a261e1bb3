"""Every adapter passes the conformance kit against its platform's test server."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

import pytest

from adapters.tieba import TIEBA
from adapters.webhook import WEBHOOK
from adapters.wechat import WECHAT
from adapters.weibo import WEIBO
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import RenderedImage, RenderedPost
from publisher.testing.conformance import (
    AdapterConformance,
    FaultTarget,
    FrontResponse,
    ResponseFormat,
)
from tests.adapters.receiver import ACCOUNT, receiving
from tests.adapters.simulated import SimulatedPlatformAccount, simulated

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
WORDS = "近期有人冒充电商客服，以退款为由诱导群众转账。📞举报平台：12377"


class TestWeibo(AdapterConformance):
    """Weibo, over the simulator."""

    factory = WEIBO
    account = Account(
        id=AccountId("beijing-weibo"), platform=Platform("weibo"), identity="1404376560",
        secret="w", public_ip="203.0.113.7",
    )  # fmt: skip
    images = (PNG,)
    public_fields = frozenset({"app_key"})

    @staticmethod
    def render_sample(marker):
        link = f"https://police.example/t?n={marker.code}"
        text = f"【{TITLE}】〔{marker.code}〕{WORDS} {link}"
        return RenderedPost(
            account=AccountId("beijing-weibo"), platform=Platform("weibo"), marker=marker,
            title=TITLE, text=text, link=link, images=(PICTURE,),
        )  # fmt: skip

    def open_platform(self):
        return simulated("weibo", "1404376560", name="平安发布")


@pytest.mark.long
class TestWeiboUpdate(TestWeibo):
    """Weibo by the calls that need a permission: the picture is sent with the text."""

    account = replace(TestWeibo.account, profile="update")

    def open_platform(self):
        granted = {"weibo_grants": {"1404376560": ["update"]}}
        return simulated(
            "weibo", "1404376560", way="update", settings=granted, name="平安发布"
        )


@pytest.mark.long
class TestWeiboBiz(TestWeibo):
    """Weibo by the business calls: pictures are uploaded before the post."""

    account = replace(TestWeibo.account, profile="biz")
    later_post_count = 120

    def open_platform(self):
        granted = {"weibo_grants": {"1404376560": ["biz"]}}
        return simulated(
            "weibo", "1404376560", way="biz", settings=granted, name="平安发布"
        )


class TestWeChat(AdapterConformance):
    """WeChat, over the simulator."""

    factory = WECHAT
    account = Account(
        id=AccountId("beijing-wechat"),
        platform=Platform("wechat"),
        identity="wx0123456789abcdef",
        secret="w",
    )
    images = (PNG,)
    public_fields = frozenset({"app_id"})

    @staticmethod
    def render_sample(marker):
        return RenderedPost(
            account=AccountId("beijing-wechat"), platform=Platform("wechat"), marker=marker,
            title=TITLE, text=f"<p>{WORDS}〔{marker.code}〕</p>", summary=f"{WORDS[:40]}",
            link=f"https://police.example/t?n={marker.code}", images=(PICTURE,),
        )  # fmt: skip

    not_shown: ClassVar = {
        f"wrong_account on {target}": (
            "WeChat's responses name no account; the AppID is in the request"
        )
        for target in ("create", "list", "recent", "ticket", "probe")
    }

    def open_platform(self):
        refused = {
            (FaultTarget.PROBE, "expire_token"): {"kind": "api_error", "code": 40125}
        }
        return simulated("wechat", "wx0123456789abcdef", refused, name="平安发布")


class TestTieba(AdapterConformance):
    """Tieba, over the simulator."""

    factory = TIEBA
    account = Account(
        id=AccountId("beijing-tieba"), platform=Platform("tieba"), identity="tb.1.beijing",
        secret="t", forum="天气", has_accepted_risk=True,
    )  # fmt: skip
    images = (PNG,)

    @staticmethod
    def render_sample(marker):
        return RenderedPost(
            account=AccountId("beijing-tieba"), platform=Platform("tieba"), marker=marker,
            title=TITLE, text=f"预警提示｜通报编号 {marker.code}\r\n{WORDS}", images=(PICTURE,),
        )  # fmt: skip

    not_shown: ClassVar = {
        "duplicate on create": "Tieba has no code with that meaning",
        "wrong_account on create": (
            "the response to a thread names no account; its page is read afterwards"
        ),
        "media_stored_once": "how long a picture stays that no thread shows is not documented",
    }

    def open_platform(self):
        return simulated("tieba", "tb.1.beijing", name="平安发布", forums=["天气"])


class TestWebhook(AdapterConformance):
    """The webhook, over a receiver that the simulator serves."""

    factory = WEBHOOK
    account = Account(
        id=AccountId("site"), platform=Platform("webhook"), identity=ACCOUNT, secret="h"
    )
    images = (PNG,)

    @staticmethod
    def render_sample(marker):
        return RenderedPost(
            account=AccountId("site"), platform=Platform("webhook"), marker=marker, title=TITLE,
            text=f"预警提示｜通报编号 {marker.code}\n{WORDS} https://police.example/tips",
            images=(PICTURE,),
        )  # fmt: skip

    has_idempotency_key = True
    not_shown: ClassVar = {
        "reorder on list": "a post is read by its key, not in a list"
    }

    def open_platform(self):
        return receiving()


@dataclass
class RealReceiver:
    """A receiver as a real server would be: its clock cannot be moved, and it makes no faults."""

    served: SimulatedPlatformAccount

    @property
    def base_url(self):
        return self.served.base_url

    async def posts(self):
        return await self.served.posts()

    async def remove(self, remote_id):
        await self.served.remove(remote_id)

    async def post_manually(self, title, text):
        return await self.served.post_manually(title, text)


@pytest.mark.extra
class TestWebhookOnARealServer(TestWebhook):
    """The webhook against a receiver with only its own calls; the fault front makes all faults."""

    settle_time = timedelta(milliseconds=50)
    response_format = ResponseFormat(
        refusals={
            "api_error": FrontResponse.from_json(422, {"error": "e_999999"}),
            "captcha": FrontResponse.from_json(403, {"error": "person_needed"}),
            "duplicate": FrontResponse.from_json(409, {"account": ACCOUNT}),
            "expire_token": FrontResponse.from_json(401, {"error": "bad_signature"}),
        },
        id_keys=frozenset({"id"}),
        text_keys=frozenset({"title", "text"}),
    )
    not_shown: ClassVar = {
        "review on create": "a receiver has no call to put a post under review",
        "list_late on create": "a receiver has no call to list a post late",
        "empty_list on list": "a post is read by its key, not in a list",
        **TestWebhook.not_shown,
    }

    @asynccontextmanager
    async def open_platform(self):
        async with receiving() as (served, secret):
            yield RealReceiver(served), secret
