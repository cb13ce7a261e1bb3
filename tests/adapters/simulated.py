"""The simulator as the test server of the conformance kit.

It is a real server, controlled by its control endpoints.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from publisher.simulator import create_app
from publisher.simulator.server import serve_app
from publisher.testing.conformance import FaultTarget, PlatformPost

ENDPOINTS = {
    "weibo": {
        FaultTarget.CREATE: "/2/statuses/share.json",
        FaultTarget.LIST: "/2/statuses/user_timeline.json",
        FaultTarget.RETRACT: "/2/statuses/destroy.json",
        FaultTarget.PROBE: "/oauth2/get_token_info",
    },
    "weibo update": {FaultTarget.CREATE: "/2/statuses/upload.json"},
    "weibo biz": {
        FaultTarget.CREATE: "/2/statuses/upload_url_text/biz.json",
        FaultTarget.LIST: "/2/statuses/user_timeline/biz.json",
        FaultTarget.RETRACT: "/2/statuses/destroy/biz.json",
    },
    "wechat": {
        FaultTarget.CREATE: "/cgi-bin/freepublish/submit",
        FaultTarget.LIST: "/cgi-bin/freepublish/batchget",
        FaultTarget.RETRACT: "/cgi-bin/freepublish/delete",
        FaultTarget.PROBE: "/cgi-bin/stable_token",
    },
    "tieba": {
        FaultTarget.CREATE: "/c/c/thread/add_pc",
        FaultTarget.LIST: "/c/u/feed/myThread",
        FaultTarget.RETRACT: "/c/c/bawu/delthread",
        FaultTarget.PROBE: "/dc/common/tbs",
    },
    "webhook": {
        FaultTarget.CREATE: "POST /posts",
        FaultTarget.LIST: "GET /posts/NAME",
        FaultTarget.RETRACT: "DELETE /posts/NAME",
        FaultTarget.PROBE: "GET /health",
    },
}

StandIns = Mapping[tuple[FaultTarget, str], dict[str, Any] | None]


@dataclass
class SimulatedPlatformAccount:
    """One account of one platform in the simulator.

    `stand_ins` maps a fault to the one with the same meaning on this platform, or to None where
    there is none.
    """

    base_url: str
    platform: str
    identity: str
    control: httpx.AsyncClient
    stand_ins: StandIns = field(default_factory=dict)
    way: str = ""

    @property
    def endpoints(self) -> Mapping[FaultTarget, str]:
        """Return the platform's endpoints.

        If `way` names the platform's second way of publishing, its endpoints take precedence.
        """
        return ENDPOINTS[self.platform] | ENDPOINTS.get(
            f"{self.platform} {self.way}", {}
        )

    async def posts(self) -> list[PlatformPost]:
        params = {"account": self.identity, "platform": self.platform}
        found = (await self.control.get("/_sim/posts", params=params)).json()
        return [
            PlatformPost(
                remote_id=post["id"],
                is_published=post["state"] == "live",
                is_public=post["state"] == "live"
                and not (post["extra"].keys() & {"hidden", "private"}),
                picture_count=len(post["images"]),
                text=f"{post['title']}\n{post['text']}\n{post['html']}",
            )
            for post in found
        ]

    async def inject_fault(self, spot: FaultTarget, kind: str, **facts: object) -> bool:
        fault = self.stand_ins.get((spot, kind), {"kind": kind, **facts})
        if fault is None:
            return False
        endpoint = self.endpoints.get(spot, "*")
        rule = {
            "platform": self.platform,
            "account": "*",
            "endpoint": endpoint,
            "fault": fault,
        }
        return (await self.control.post("/_sim/faults", json=rule)).is_success

    async def fault_count(self) -> int:
        return sum(
            rule["fired"] for rule in (await self.control.get("/_sim/faults")).json()
        )

    async def clear_faults(self) -> None:
        await self.control.delete("/_sim/faults")

    async def remove(self, remote_id: str) -> None:
        await self.control.delete(f"/_sim/posts/{remote_id}")

    async def post_manually(self, title: str, text: str) -> str:
        wanted = {
            "platform": self.platform,
            "account": self.identity,
            "title": title,
            "text": text,
        }
        return (await self.control.post("/_sim/posts", json=wanted)).json()["id"]

    async def advance_time(self, duration: timedelta) -> None:
        await self.control.post("/_sim/clock", json={"shift": duration.total_seconds()})


@asynccontextmanager
async def simulated(
    platform: str,
    identity: str,
    stand_ins: StandIns | None = None,
    *,
    way: str = "",
    settings: Mapping[str, Any] | None = None,
    kind: type[SimulatedPlatformAccount] = SimulatedPlatformAccount,
    **account: Any,
) -> AsyncIterator[tuple[SimulatedPlatformAccount, dict[str, str]]]:
    """Serve an empty simulator with one account on it."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = create_app()
    server = asyncio.create_task(serve_app(app, "127.0.0.1", 0, port.set_result))
    base_url = f"http://127.0.0.1:{await port}"
    try:
        async with httpx.AsyncClient(
            base_url=base_url, transport=httpx.ASGITransport(app=app)
        ) as control:
            wanted = {"platform": platform, "account": identity, **account}
            secret = (await control.post("/_sim/accounts", json=wanted)).json()
            await control.post("/_sim/settings", json=dict(settings or {}))
            yield (
                kind(base_url, platform, identity, control, stand_ins or {}, way),
                secret,
            )
    finally:
        for _ in range(2):  # the second signal ends the server's wait for open requests
            server.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await server
