"""The path of one call through a platform: receive, serve with or without faults, log, respond."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from .faults import REFUSAL_KINDS, Fault
from .log import to_json
from .platform import Platform
from .request import JSON_CONTENT_TYPE, ApiRequest, ApiResponse, parse_form
from .state import SimulatorState
from .transport import Transport, read_body

PLATFORM_BY_PREFIX = {
    "2": "weibo",
    "oauth2": "weibo",
    "proxy": "weibo",
    "cgi-bin": "wechat",
    "datacube": "wechat",
    "c": "tieba",
    "dc": "tieba",
    "f": "tieba",
}
NESTED_KEYS = ("data", "statuses")
ERROR_PAGE = (
    b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>The page cannot be shown</h1></body></html>"
)


class Gateway:
    """The ASGI application in front of the platforms."""

    def __init__(self, state: SimulatorState, platforms: Mapping[str, Platform]) -> None:
        self.state = state
        self.platforms = platforms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        platform = self.platforms.get(PLATFORM_BY_PREFIX.get(path.lstrip("/").split("/", 1)[0], ""))
        transport = Transport(receive, send, self.state.now)
        if platform is None:
            await transport.send(ApiResponse(b"404 Not Found", 404, "text/plain"))
            return
        received_at = self.state.now()
        body = await read_body(receive)
        if body is None:
            return
        query = parse_form(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}
        request = ApiRequest(
            platform.name,
            path,
            scope["method"],
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            query,
            body,
            peer_address=str(scope["client"][0]) if scope.get("client") else "",
            received_at=received_at,
        )
        state = self.state
        state.run_due()
        request.account = platform.identify_caller(request)
        request.faults = state.fault_rules.collect_faults(request.platform, request.account, request.endpoint)
        request.event_number = state.record_event("recv", None, request)
        if request.faults:
            await self._serve_with_faults(request, platform, transport)
            return
        response = self._serve(request, platform)
        state.record_event("reply", None, request, response.status)
        await state.files.wait_synced()
        await transport.send(response)

    def _serve(self, request: ApiRequest, platform: Platform) -> ApiResponse:
        handler = platform.endpoints.get(request.endpoint)
        return handler(request) if handler else platform.refuse_unknown(request)

    async def _serve_with_faults(self, request: ApiRequest, platform: Platform, transport: Transport) -> None:
        if late := request.get_fault("act_late"):
            due = self.state.now() + float(late.get("seconds", 5))
            self.state.schedule(due, lambda: self._serve(request, platform))
        if late or request.get_fault("drop_before"):
            await self._reset_connection(transport)
            return
        delay = request.get_fault("delay")
        if delay and delay.get("when") == "before":
            await self._apply_delay(delay)
        response = self._apply_faults(request, platform)
        if delay and delay.get("when") != "before":
            await self._apply_delay(delay)
        if request.get_fault("drop_after"):
            await self._reset_connection(transport)
            return
        self.state.record_event("reply", None, request, response.status)
        await self.state.files.wait_synced()
        if cut := request.get_fault("truncate"):
            await transport.truncate(response, int(cut.get("bytes", len(response.body) // 2)))
        elif slow := request.get_fault("drip"):
            rate = float(slow.get("bytes_per_second") or slow.get("rate") or 1)
            await transport.drip(response, rate, complete=bool(slow.get("complete")))
        else:
            await transport.send(response)

    async def _reset_connection(self, transport: Transport) -> None:
        await self.state.files.wait_synced()
        await transport.reset()

    async def _apply_delay(self, fault: Fault) -> None:
        await self.state.files.wait_synced()
        await asyncio.sleep(float(fault.get("seconds", 1)))

    def _apply_faults(self, request: ApiRequest, platform: Platform) -> ApiResponse:
        refusal = next((fault for fault in request.faults if fault["kind"] in REFUSAL_KINDS), None)
        response = self._refuse_by_fault(request, platform, refusal) if refusal else self._serve(request, platform)
        own = request.account
        for fault in request.faults:
            if fault["kind"] == "bad_json":
                response = replace(response, body=response.body[:-1] + b',"')
            elif fault["kind"] == "no_id" and response.body[:1] in (b"{", b"["):
                # anything else is a page, or a message from which the platform has removed the ids itself
                body = _remove_keys(json.loads(response.body), platform.id_keys)
                response = ApiResponse(to_json(body), response.status, response.content_type)
            elif fault["kind"] == "wrong_account" and own:
                other = str(fault.get("to") or (own[:-1] + ("1" if own[-1:] != "1" else "2")))
                response = replace(response, body=response.body.replace(own.encode(), other.encode()))
        return response

    def _refuse_by_fault(self, request: ApiRequest, platform: Platform, fault: Fault) -> ApiResponse:
        if fault["kind"] == "expire_token":
            return platform.expire_token(request) or self._serve(request, platform)
        code = str(fault.get("code", platform.fault_codes.get(fault["kind"], "")))
        is_http = fault["kind"] in ("status", "html")
        if fault.get("acts", not is_http and code in platform.delayed_success_codes):
            self._serve(request, platform)
        if not is_http:
            return platform.refuse(request, code, fault.get("message"))
        is_page, body = fault["kind"] == "html", fault.get("body")
        return ApiResponse(
            body.encode() if isinstance(body, str) else (ERROR_PAGE if is_page else b""),
            int(fault.get("code", 200 if is_page else 503)),
            "text/html; charset=utf-8" if is_page else str(fault.get("type", JSON_CONTENT_TYPE)),
            {str(name): str(value) for name, value in (fault.get("headers") or {}).items()},
        )


def _remove_keys(value: object, keys: frozenset[str]) -> object:
    """Remove keys at the top level, from the items of a list, and where Tieba (`data`) and Weibo (`statuses`) nest."""
    if isinstance(value, list):
        return [_remove_keys(each, keys) for each in value]
    if not isinstance(value, dict):
        return value
    remaining = {key: each for key, each in value.items() if key not in keys}
    return {key: _remove_keys(each, keys) if key in NESTED_KEYS else each for key, each in remaining.items()}
