"""The application, and the path of one call.

Receive, serve with or without faults, log, respond.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from . import tieba, wechat, weibo
from .control import make_control_routes
from .faults import REFUSAL_KINDS, Fault
from .feed_pages import make_feed_routes
from .log import to_json
from .platform import Platform
from .request import JSON_CONTENT_TYPE, ApiRequest, ApiResponse, parse_query
from .state import SimulatedPost, SimulatorState
from .transport import Transport, read_body

PLATFORMS = {
    each.name: each for each in (weibo.PLATFORM, wechat.PLATFORM, tieba.PLATFORM)
}
PLATFORM_BY_PREFIX = {
    "2": weibo.PLATFORM,
    "oauth2": weibo.PLATFORM,
    "proxy": weibo.PLATFORM,
    "cgi-bin": wechat.PLATFORM,
    "datacube": wechat.PLATFORM,
    "c": tieba.PLATFORM,
    "dc": tieba.PLATFORM,
    "f": tieba.PLATFORM,
}
NESTED_KEYS = ("data", "item", "list", "statuses", "thread_info")
ERROR_PAGE = (
    b"<!DOCTYPE html><html><head><title>Error</title></head>"
    b"<body><h1>The page cannot be shown</h1></body></html>"
)


class Simulator(Starlette):
    """The ASGI application.

    Platform calls bypass the router, as it would slow down their large number.
    """

    def __init__(self, state: SimulatorState) -> None:
        self.simulator_state = state

        def finish_review(post: SimulatedPost) -> None:
            if finish := PLATFORMS[post.platform].finish_review:
                finish(state, post)

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            state.run_due()
            yield
            state.files.close()

        state.on_review_end = finish_review
        super().__init__(
            routes=[*make_control_routes(state, PLATFORMS), *make_feed_routes(state)],
            lifespan=lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sim"):
            await _serve_platform_call(self.simulator_state, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    state_dir: Path | None = None,
    account_names: Mapping[tuple[str, str], str] | None = None,
) -> Starlette:
    """Create an application with an empty state, or with the state last kept in `state_dir`."""
    return Simulator(SimulatorState(state_dir, account_names))


async def _serve_platform_call(
    state: SimulatorState, scope: Scope, receive: Receive, send: Send
) -> None:
    path: str = scope["path"]
    platform = PLATFORM_BY_PREFIX.get(path.lstrip("/").split("/", 1)[0])
    transport = Transport(receive, send, state.now)
    if platform is None:
        await transport.send(ApiResponse(b"404 Not Found", 404, "text/plain"))
        return
    received_at = state.now()
    body = await read_body(receive)
    if body is None:
        return
    query = (
        parse_query(scope["query_string"].decode("latin-1"))
        if scope["query_string"]
        else {}
    )
    request = ApiRequest(
        platform.name,
        path,
        scope["method"],
        {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
        },
        query,
        body,
        peer_address=str(scope["client"][0]) if scope.get("client") else "",
        received_at=received_at,
    )
    state.run_due()
    request.account = platform.identify_caller(state, request)
    request.faults = state.fault_rules.collect_faults(
        request.platform, request.account, request.endpoint
    )
    request.event_number = state.record_event("recv", None, request)
    if request.faults:
        await _respond_with_faults(state, request, platform, transport)
        return
    response = _serve(state, request, platform)
    state.record_event("reply", None, request, response.status)
    await state.files.wait_synced()
    await transport.send(response)


def _serve(
    state: SimulatorState, request: ApiRequest, platform: Platform
) -> ApiResponse:
    handler = platform.endpoints.get(request.endpoint)
    response = (
        handler(state, request)
        if handler
        else platform.refuse(request, platform.unknown_endpoint_code, None)
    )
    return (
        platform.vary_response(state, response) if platform.vary_response else response
    )


async def _respond_with_faults(
    state: SimulatorState, request: ApiRequest, platform: Platform, transport: Transport
) -> None:
    async def apply_delay(fault: Fault) -> None:
        await state.files.wait_synced()
        await asyncio.sleep(float(fault.get("seconds", 1)))

    if late := request.get_fault("act_late"):
        due = state.now() + float(late.get("seconds", 5))
        state.schedule(due, lambda: _serve(state, request, platform))
    if late or request.get_fault("drop_before"):
        await state.files.wait_synced()
        await transport.reset()
        return
    delay = request.get_fault("delay")
    if delay and delay.get("when") == "before":
        await apply_delay(delay)
    response = _serve_with_faults(state, request, platform)
    if delay and delay.get("when") != "before":
        await apply_delay(delay)
    if request.get_fault("drop_after"):
        await state.files.wait_synced()
        await transport.reset()
        return
    state.record_event("reply", None, request, response.status)
    await state.files.wait_synced()
    if cut := request.get_fault("truncate"):
        await transport.truncate(
            response, int(cut.get("bytes", len(response.body) // 2))
        )
    elif slow := request.get_fault("drip"):
        await transport.drip(
            response,
            float(slow.get("bytes_per_second") or 1),
            complete=bool(slow.get("complete")),
        )
    else:
        await transport.send(response)


def _serve_with_faults(
    state: SimulatorState, request: ApiRequest, platform: Platform
) -> ApiResponse:
    refusal = next(
        (fault for fault in request.faults if fault["kind"] in REFUSAL_KINDS), None
    )
    response = (
        _refuse(state, request, platform, refusal)
        if refusal
        else _serve(state, request, platform)
    )
    own = request.account
    for fault in request.faults:
        if fault["kind"] == "bad_json":
            response = replace(response, body=response.body[:-1] + b',"')
        elif fault["kind"] == "no_id" and response.body[:1] in (b"{", b"["):
            # anything else is a page, or a message from which the platform has removed
            # the ids itself
            body = _remove_keys(json.loads(response.body), platform.id_keys)
            response = ApiResponse(
                to_json(body), response.status, response.content_type
            )
        elif fault["kind"] == "wrong_account" and own:
            other = str(
                fault.get("to") or (own[:-1] + ("1" if own[-1:] != "1" else "2"))
            )
            response = replace(
                response, body=response.body.replace(own.encode(), other.encode())
            )
    return response


def _refuse(
    state: SimulatorState, request: ApiRequest, platform: Platform, fault: Fault
) -> ApiResponse:
    """Return the response that a fault puts in place of the platform's own.

    With `acts`, the call runs all the same.
    """
    if fault["kind"] == "expire_token":
        return platform.expire_token(state, request) or _serve(state, request, platform)
    code = str(fault.get("code", platform.fault_codes.get(fault["kind"], "")))
    is_http = fault["kind"] in ("status", "html")
    if fault.get("acts", not is_http and code in platform.delayed_success_codes):
        _serve(state, request, platform)
    if not is_http:
        response = platform.refuse(request, code, fault.get("message"))
        return (
            platform.vary_response(state, response)
            if platform.vary_response
            else response
        )
    is_page, body = fault["kind"] == "html", fault.get("body")
    return ApiResponse(
        body.encode() if isinstance(body, str) else (ERROR_PAGE if is_page else b""),
        int(fault.get("code", 200 if is_page else 503)),
        "text/html; charset=utf-8" if is_page else JSON_CONTENT_TYPE,
        {str(name): str(value) for name, value in (fault.get("headers") or {}).items()},
    )


def _remove_keys(value: object, keys: frozenset[str]) -> object:
    """Remove keys at the top level, from a list's items, and in the platforms' nested posts."""
    if isinstance(value, list):
        return [_remove_keys(each, keys) for each in value]
    if not isinstance(value, dict):
        return value
    remaining = {key: each for key, each in value.items() if key not in keys}
    return {
        key: _remove_keys(each, keys) if key in NESTED_KEYS else each
        for key, each in remaining.items()
    }
