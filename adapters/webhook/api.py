"""The calls to a receiver and its responses as data. Pure.

    POST   /posts         a post, with an `Idempotency-Key` header: 201 with the post,
                          409 with the one that has the key
    GET    /posts/NAME    200 with the post, 404 with `{"error": "no_such_post", "name": NAME}`;
                          NAME is key or id
    DELETE /posts/NAME    200 with the post, now removed; 404 as above
    GET    /posts         200 with `{"account", "posts"}`, newest first; optional
    GET    /reach?ids=…   200 with `{"account", "reach": {ID: {"reads", "reposts", "comments",
                          "likes"}}}`; optional
    GET    /health        200 with `{"account"}`, and `until` where the key expires

A post is `{"id", "key", "account", "state", "at"}` with `url` and `text` where there are any; its
state is live, pending, refused or removed. All bodies are JSON; a refusal is `{"error": CODE,
"message"?}`.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import SendRequest
from publisher.domain.results import NotSent, ObservedPost, Reach, Unknown

DEFAULT_COOLDOWN = timedelta(minutes=10)
LIST_SIZE = 50
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
POST_STATES = frozenset({"live", "pending", "refused", "removed"})
Json = Mapping[str, Any]
TransportFailure = NotSent | Unknown


def sign_headers(
    key: str, method: str, url: str, body: bytes, now: datetime
) -> Mapping[str, str]:
    """Return the headers that sign a call.

    They hold an HMAC-SHA256 over time, method, path and body, joined by line feeds. The query is
    left out, as proxies rewrite it. The path is the one of the URL as it is called.
    """
    at = str(int(now.timestamp()))
    message = b"\n".join(
        [at.encode(), method.encode(), urlsplit(url).path.encode(), body]
    )
    digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return {"publisher-timestamp": at, "publisher-signature": f"v1={digest}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where an account's calls go, and the secret that signs them."""

    base_url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPost:
    """One post as the receiver reports it."""

    id: str
    key: str
    account: str
    state: str
    created_at: datetime
    url: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A complete refusal.

    `requested_name` is the name that it repeats, `retry_after` the header of that name.
    """

    status: int
    code: str
    message: str
    requested_name: str | None
    retry_after: str | None


def encode_post(
    endpoint: WebhookEndpoint, account: str, request: SendRequest, now: datetime
) -> HttpRequest:
    """Build the creating call. Its key is the marker, the same for every attempt of a delivery."""
    url, rendered = f"{endpoint.base_url}/posts", request.rendered
    post = {
        "account": account,
        "marker": request.marker.code,
        "title": rendered.title,
        "text": rendered.text,
        "summary": rendered.summary,
        "link": rendered.link,
        "pictures": [
            {
                "sha256": picture.sha256,
                "media_type": picture.media_type,
                "alt": picture.alt,
                "data": base64.b64encode(data).decode(),
            }
            for picture, data in zip(rendered.images, request.images, strict=True)
        ],
    }
    body = json.dumps(post, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "idempotency-key": request.marker.code,
        **sign_headers(endpoint.secret, "POST", url, body, now),
    }
    return HttpRequest(method="POST", url=url, content=body, headers=headers)


def encode_read(endpoint: WebhookEndpoint, now: datetime, name: str) -> HttpRequest:
    return _build_signed_request(endpoint, "GET", f"/posts/{quote(name, safe='')}", now)


def encode_delete(endpoint: WebhookEndpoint, now: datetime, name: str) -> HttpRequest:
    return _build_signed_request(
        endpoint, "DELETE", f"/posts/{quote(name, safe='')}", now
    )


def encode_recent(endpoint: WebhookEndpoint, now: datetime) -> HttpRequest:
    return _build_signed_request(endpoint, "GET", "/posts", now, limit=str(LIST_SIZE))


def encode_reach(
    endpoint: WebhookEndpoint, now: datetime, ids: Sequence[str]
) -> HttpRequest:
    return _build_signed_request(endpoint, "GET", "/reach", now, ids=",".join(ids))


def encode_health(endpoint: WebhookEndpoint, now: datetime) -> HttpRequest:
    return _build_signed_request(endpoint, "GET", "/health", now)


def decode_response(
    response: HttpResponse | TransportFailure, *expected_statuses: int
) -> Json | Refusal | Unknown:
    """Return the object of a response with an expected status.

    Otherwise return its refusal, or why it proves nothing.
    """
    if not isinstance(response, HttpResponse):
        return Unknown(reason=response.reason)
    if response.status >= 500:
        return Unknown(reason="server_error")
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        body = None
    if response.status in expected_statuses:
        return body if isinstance(body, dict) else Unknown(reason="bad_response")
    body = body if isinstance(body, dict) else {}
    code = body.get("error")
    if code is None and response.status == 429:
        code = "rate_limited"
    if (
        response.status < 400
        or not isinstance(code, str)
        or not _ERROR_CODE.fullmatch(code)
    ):
        return Unknown(reason="bad_response")
    name = body.get("name")
    return Refusal(
        status=response.status,
        code=code,
        message=str(body.get("message") or "")[:200],
        requested_name=name if isinstance(name, str) else None,
        retry_after=response.headers.get("retry-after"),
    )


def decode_post(body: Json) -> WebhookPost | Unknown:
    """Return one post, or Unknown where a field is missing."""
    values = {name: body.get(name) for name in ("id", "key", "account", "state")}
    at = parse_time(body.get("at"))
    if (
        not all(isinstance(value, str) and value for value in values.values())
        or at is None
    ):
        return Unknown(reason="webhook_incomplete")
    if values["state"] not in POST_STATES:
        return Unknown(reason="webhook_unknown_state")
    texts = {name: str(body.get(name) or "") for name in ("url", "text")}
    return WebhookPost(
        **{name: str(value) for name, value in values.items()}, created_at=at, **texts
    )


def decode_recent(body: Json, account: str) -> Sequence[ObservedPost] | Unknown:
    """Return the listed live posts, newest first.

    An entry of another account makes the whole list worthless.
    """
    entries = body.get("posts")
    if body.get("account") != account or not isinstance(entries, list):
        return Unknown(
            reason="bad_response"
            if body.get("account") == account
            else "webhook_wrong_account"
        )
    posts = []
    for entry in entries:
        post = (
            decode_post(entry)
            if isinstance(entry, dict)
            else Unknown(reason="bad_response")
        )
        if isinstance(post, Unknown):
            return post
        if post.account != account:
            return Unknown(reason="webhook_wrong_account")
        if post.state == "live":
            posts.append(
                ObservedPost(
                    remote_id=post.id,
                    url=post.url,
                    published_at=post.created_at,
                    text=post.text,
                )
            )
    return sorted(posts, key=lambda post: post.published_at, reverse=True)


def decode_reach(
    body: Json, account: str, ids: Sequence[str]
) -> Mapping[str, Reach] | Unknown:
    reach = body.get("reach")
    if body.get("account") != account or not isinstance(reach, dict):
        return Unknown(
            reason="bad_response"
            if body.get("account") == account
            else "webhook_wrong_account"
        )
    return {
        name: Reach(
            reads=_parse_count(entry.get("reads")),
            reposts=_parse_count(entry.get("reposts")),
            comments=_parse_count(entry.get("comments")),
            likes=_parse_count(entry.get("likes")),
        )
        for name in ids
        if isinstance(entry := reach.get(name), dict)
    }


def _build_signed_request(
    endpoint: WebhookEndpoint, method: str, path: str, now: datetime, **query: str
) -> HttpRequest:
    url = f"{endpoint.base_url}{path}"
    return HttpRequest(
        method=method,
        url=url,
        query=tuple(query.items()),
        headers=sign_headers(endpoint.secret, method, url, b"", now),
    )


def parse_time(value: object) -> datetime | None:
    """Return a time that has an offset, otherwise None."""
    try:
        at = datetime.fromisoformat(str(value))
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _parse_count(value: object) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else None
    )
