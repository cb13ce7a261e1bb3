"""A scripted WeChat, and an adapter that calls it through the real HTTP client."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import respx

from adapters.wechat import WECHAT
from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import (
    Baseline,
    DeliveryId,
    Marker,
    RenderedImage,
    RenderedPost,
    SendRequest,
)
from publisher.testing.conformance.harness import MemoryAdapterState
from tests.adapters.conftest import Tokens, context_over

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=2)
HOST = "api.weixin.qq.com"
BASE = f"https://{HOST}"
MARKER = Marker(code="K7QM-4R2T")
LINK = "https://example.gov.cn/n/K7QM-4R2T"
APP_ID = "wx0000000000000001"
COVER = b"\x89PNG\r\n\x1a\n cover"
INSIDE = b"\x89PNG\r\n\x1a\n inside"


def picture(data: bytes, **changes: object) -> RenderedImage:
    facts = {
        "media_type": "image/png",
        "size": len(data),
        "width": 900,
        "height": 383,
        "alt": "图",
    }
    return RenderedImage(sha256=hashlib.sha256(data).hexdigest(), **(facts | changes))


def article(**changes: object) -> RenderedPost:
    inside = picture(INSIDE)
    facts = {
        "account": AccountId("beijing-wechat"),
        "platform": Platform("wechat"),
        "marker": MARKER,
        "title": "警惕“退款客服”诈骗",
        "text": (
            "<section>客服&nbsp;"
            f'<img alt="示意 a>b" src="media:{inside.sha256}" width="10"></section>'
        ),
        "summary": "冒充客服退款的骗局近期多发",
        "link": LINK,
        "images": (picture(COVER), inside),
    }
    return RenderedPost(**(facts | changes))


def send_request(**changes: object) -> SendRequest:
    facts = {
        "delivery": DeliveryId(7),
        "attempt": 1,
        "account": AccountId("beijing-wechat"),
        "rendered": article(),
        "images": (COVER, INSIDE),
        "baseline": Baseline(newest_id=None, taken_at=SINCE),
        "intended_at": NOW,
        "start_by": 100.0,
        "method": "mass" if changes.get("is_urgent") else "freepublish",
    }
    return SendRequest(**(facts | changes))


def item(
    name: str, *, at: datetime = NOW, key: str = "article_id", **changes: object
) -> dict[str, object]:
    """Return one item of a list, ours by default."""
    news = {
        "title": "警惕“退款客服”诈骗",
        "digest": "冒充客服退款的骗局近期多发",
        "content_source_url": LINK,
        "url": f"http://mp.weixin.qq.com/s?mid={name}",
        "is_deleted": False,
    }
    seconds = int(at.timestamp())
    return {
        key: name,
        "content": {
            "news_item": [news | changes],
            "create_time": seconds,
            "update_time": seconds,
        },
        "update_time": seconds,
    }


def other(name: str, *, at: datetime = NOW) -> dict[str, object]:
    """Return one published article that has nothing to do with ours."""
    return item(
        name, at=at, title=f"反诈周报 {name}", digest="一周要闻", content_source_url=""
    )


def page(*items: Mapping[str, object], total: int | None = None) -> dict[str, object]:
    return {
        "total_count": len(items) if total is None else total,
        "item_count": len(items),
        "item": list(items),
    }


def error(code: int, message: str = "said the platform") -> dict[str, object]:
    return {"errcode": code, "errmsg": message}


def drafted(draft: str, *, ordered_after: int = 0) -> str:
    """Return the stored record of a delivery's draft, for the attempts after a person's order."""
    return json.dumps({"draft": draft, "ordered_after": ordered_after})


class DeathError(Exception):
    """The process was killed at a failpoint."""


def _full(path: str) -> str:
    return path if path.startswith("datacube/") else f"cgi-bin/{path}"


@dataclass
class WeChatScene:
    """An account, a scripted platform, and everything that survives a crash of the process."""

    tokens: Tokens = field(default_factory=lambda: Tokens("T1"))
    state: MemoryAdapterState = field(default_factory=MemoryAdapterState)
    router: respx.MockRouter = field(
        default_factory=lambda: respx.MockRouter(assert_all_called=False)
    )
    secret: dict[str, str] = field(
        default_factory=lambda: {"app_id": APP_ID, "app_secret": "canary-secret"}
    )
    reads_secret: Callable[[], Mapping[str, str]] | None = None
    now: datetime = NOW
    dies_at: str | None = None
    passed: list[str] = field(default_factory=list)
    profile: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def adapter(self) -> Adapter:
        account = Account(
            id=AccountId("beijing-wechat"),
            platform=Platform("wechat"),
            identity=APP_ID,
            secret="wechat-beijing",
            profile=self.profile,
            options=self.options,
        )
        context = context_over(
            httpx.MockTransport(self._answer),
            self.reads_secret or (lambda: self.secret),
            host=HOST,
            tokens=self.tokens,
            state=self.state,
            now=lambda: self.now,
            failpoint=self._failpoint,
        )
        return WECHAT.create(account, context)

    def answers(
        self, path: str, *bodies: Mapping[str, object] | httpx.Response | Exception
    ) -> None:
        """Script the answers of a path, one after the other; the last answer is repeated."""
        script = [
            body if not isinstance(body, Mapping) else httpx.Response(200, json=body)
            for body in bodies
        ]

        def reply(_request: httpx.Request) -> httpx.Response:
            answer = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.router.post(url__startswith=f"{BASE}/{_full(path)}").mock(
            side_effect=reply
        )

    def works(self) -> None:
        """Let all calls of a publication succeed."""
        self.answers("stable_token", {"access_token": "T1", "expires_in": 7200})
        self.answers(
            "material/add_material",
            {"media_id": "COVER", "url": "http://mmbiz.qpic.cn/c", "item": []},
        )
        self.answers("media/uploadimg", {"url": "http://mmbiz.qpic.cn/x?a=1&b=2"})
        self.answers("draft/add", {"media_id": "DRAFT", "item": []})
        self.answers(
            "draft/get",
            {"news_item": item("")["content"]["news_item"], "update_time": 1764000000},
        )
        self.answers("draft/batchget", page())
        self.answers(
            "freepublish/submit",
            {"errcode": 0, "errmsg": "ok", "publish_id": 2650100001},
        )
        self.answers("freepublish/batchget", page())
        self.answers(
            "message/mass/sendall",
            {"errcode": 0, "msg_id": 3147400001, "msg_data_id": 2455800001},
        )

    def asked(self, path: str) -> list[httpx.Request]:
        """Return the requests that a path received."""
        return [
            call.request
            for call in self.router.calls
            if call.request.url.path == f"/{_full(path)}"
        ]

    def bodies(self, path: str) -> list[dict[str, object]]:
        return [json.loads(request.content) for request in self.asked(path)]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        """Answer from the script, with a new copy of each error.

        The router would chain a reused error to itself.
        """
        try:
            return await self.router.async_handler(request)
        except httpx.TransportError as error:
            fresh = type(error)(str(error))
        raise fresh

    async def _failpoint(self, name: str) -> None:
        self.passed.append(name)
        if name == self.dies_at:
            raise DeathError(name)
