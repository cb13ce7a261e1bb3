"""A receiver of webhook posts, as one more platform of the simulator.

The simulator adds the faults.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest

from publisher.simulator.app import PLATFORM_BY_PREFIX, PLATFORMS
from publisher.simulator.platform import Platform
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState
from tests.adapters.simulated import SimulatedPlatformAccount, simulated

ACCOUNT, KEY = "police-site", "a-key-that-nobody-else-knows"
MAX_AGE_SECONDS = 300
STATUSES = {"bad_signature": 401, "person_needed": 403, "no_such_post": 404}


def identify_caller(_state: SimulatorState, request: ApiRequest) -> str:
    """Name the call as adapters/webhook/api.py does.

    Faults and handlers are found by that name.
    """
    first, _, name = request.endpoint.strip("/").partition("/")
    request.query |= {"path": request.endpoint, "name": unquote(name)}
    request.endpoint = f"{request.method} /{first}" + ("/NAME" if name else "")
    return ACCOUNT


def refuse(_request: ApiRequest, code: str, _message: str | None = None) -> ApiResponse:
    if code == "duplicate":
        return ApiResponse.from_json({"account": ACCOUNT}, 409)
    return ApiResponse.from_json(
        {"error": code if code in STATUSES else f"e_{code}"}, STATUSES.get(code, 422)
    )


def is_signed(request: ApiRequest) -> bool:
    at = request.headers.get("publisher-timestamp", "0")
    message = b"\n".join(
        [
            at.encode(),
            request.method.encode(),
            request.query["path"].encode(),
            request.body,
        ]
    )
    wanted = f"v1={hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()}"
    is_fresh = abs(request.received_at - int(at)) < MAX_AGE_SECONDS
    return is_fresh and hmac.compare_digest(
        wanted, request.headers.get("publisher-signature", "")
    )


def serve(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    if not is_signed(request):
        return refuse(request, "bad_signature")
    posts = state.get_posts("webhook", ACCOUNT)
    match request.endpoint:
        case "POST /posts":
            return create(state, request)
        case "GET /posts":
            return ApiResponse.from_json(
                {
                    "account": ACCOUNT,
                    "posts": [describe(post) for post in reversed(posts)],
                }
            )
        case "GET /health":
            return ApiResponse.from_json({"account": ACCOUNT})
        case "GET /reach":
            reach = {
                post.id: {"reads": 7, "likes": 1}
                for post in posts
                if post.state == "live"
            }
            return ApiResponse.from_json({"account": ACCOUNT, "reach": reach})
    if request.get_fault("empty_list"):
        return ApiResponse(b"", 404)
    name = request.query["name"]
    found = [post for post in posts if name in (post.id, post.extra["key"])]
    shown = state.apply_list_faults(request, found)
    if not shown:
        return ApiResponse.from_json({"error": "no_such_post", "name": name}, 404)
    if request.method == "DELETE":
        state.remove_post(found[0], "owner", request)
    return ApiResponse.from_json(describe(state.apply_read_faults(request, shown[0])))


def create(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields, key = request.parse_json() or {}, request.headers["idempotency-key"]
    for post in state.get_posts("webhook", ACCOUNT):
        if post.extra["idempotency_key"] == key:
            return ApiResponse.from_json(describe(post), 409)
    post = make_post(
        state, {**fields, "key": fields.get("marker", key), "idempotency_key": key}
    )
    return ApiResponse.from_json(describe(state.create_post(request, post)), 201)


def make_post(state: SimulatorState, fields: Mapping[str, Any]) -> SimulatedPost:
    number = str(state.take_number("webhook", 1001))
    key = fields.get("key", f"by-hand-{number}")
    text, title = fields["text"], fields["title"]
    images = [
        state.store_media(base64.b64decode(picture["data"]))
        for picture in fields.get("pictures", ())
    ]
    extra = {"key": key, "idempotency_key": fields.get("idempotency_key", key)}
    if fields.get("private"):
        extra["private"] = True
    return SimulatedPost(
        number, "webhook", ACCOUNT, state.now(), text, title, images=images, extra=extra
    )


def describe(post: SimulatedPost) -> dict[str, Any]:
    return {
        "id": post.id,
        "key": post.extra["key"],
        "account": ACCOUNT,
        "state": "pending" if post.state == "review" else post.state,
        "at": datetime.fromtimestamp(post.created, UTC).isoformat(),
        "url": f"https://site.example/{post.id}",
        "title": post.title,
        "text": post.text,
    }


ENDPOINTS = (
    "POST /posts",
    "GET /posts",
    "GET /posts/NAME",
    "DELETE /posts/NAME",
    "GET /health",
    "GET /reach",
)
RECEIVER = Platform(
    name="webhook",
    endpoints=dict.fromkeys(ENDPOINTS, serve),
    identify_caller=identify_caller,
    refuse=refuse,
    unknown_endpoint_code="no_such_post",
    expire_token=lambda _state, request: refuse(request, "bad_signature"),
    fault_codes={"duplicate": "duplicate", "captcha": "person_needed"},
    id_keys=frozenset({"id"}),
    make_external_post=make_post,
    get_public_url=lambda post: f"https://site.example/{post.id}",
    make_secret=lambda _identity: {"key": KEY},
)


@asynccontextmanager
async def receiving(
    kind: type[SimulatedPlatformAccount] = SimulatedPlatformAccount,
) -> AsyncIterator[tuple[SimulatedPlatformAccount, dict[str, str]]]:
    """Serve an empty receiver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLATFORMS, "webhook", RECEIVER)
        for prefix in ("posts", "health", "reach"):
            patch.setitem(PLATFORM_BY_PREFIX, prefix, RECEIVER)
        async with simulated("webhook", ACCOUNT, kind=kind) as served:
            yield served
