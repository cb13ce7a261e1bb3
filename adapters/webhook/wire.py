"""The calls to a receiver and its answers as data. Pure.

    POST   /posts         a post, `Idempotency-Key` in its head: 201 with the post, 409 with the one that has the key
    GET    /posts/NAME    200 with the post, 404 with `{"error": "no_such_post", "name": NAME}`; NAME is key or id
    DELETE /posts/NAME    200 with the post, now removed; 404 as above
    GET    /posts         200 with `{"account", "posts"}`, newest first; may be missing
    GET    /reach?ids=…   200 with `{"account", "reach": {ID: {"reads", "reposts", "comments", "likes"}}}`; likewise
    GET    /health        200 with `{"account"}`, and `until` where the key ends some day

A post is `{"id", "key", "account", "state", "at"}` with `url` and `text` where there are any; its state is live,
pending, refused or removed. Everything in JSON; a refusal is `{"error": CODE, "message"?}`.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from publisher.contract import Call, Reply
from publisher.domain.outcome import NotSent, Reach, Sighting, Unknown
from publisher.domain.rendition import Parcel, Rendition

from .signing import signed

REST = timedelta(minutes=10)
LISTED = 50
_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
STATES = frozenset({"live", "pending", "refused", "removed"})

Json = Mapping[str, Any]
Trouble = NotSent | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What signs an account's calls, and where they go."""

    base: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One post as the receiver tells of it."""

    id: str
    key: str
    account: str
    state: str
    at: datetime
    url: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A complete refusal; `names` is what it says was asked for, `retry_after` the header of that name."""

    status: int
    code: str
    words: str
    names: str | None
    retry_after: str | None


def encode_post(key: Key, account: str, parcel: Parcel, now: datetime) -> Call:
    """Make the call that publishes. Its key is the marker, the same for every attempt of a delivery."""
    url = f"{key.base}/posts"
    body = json.dumps(_words_of(account, parcel), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "idempotency-key": parcel.marker.code,
        **signed(key.secret, "POST", url, body, now),
    }
    return Call(method="POST", url=url, content=body, headers=headers)


def encode_read(key: Key, now: datetime, name: str) -> Call:
    return _bare(key, "GET", f"/posts/{quote(name, safe='')}", now)


def encode_delete(key: Key, now: datetime, name: str) -> Call:
    return _bare(key, "DELETE", f"/posts/{quote(name, safe='')}", now)


def encode_recent(key: Key, now: datetime) -> Call:
    return _bare(key, "GET", "/posts", now, limit=str(LISTED))


def encode_reach(key: Key, now: datetime, ids: Sequence[str]) -> Call:
    return _bare(key, "GET", "/reach", now, ids=",".join(ids))


def encode_health(key: Key, now: datetime) -> Call:
    return _bare(key, "GET", "/health", now)


def decode(reply: Reply | Trouble, *good: int) -> Json | Refusal | Unknown:
    """Read any answer: what it brings with one of the good statuses, what it refuses, or why it proves nothing."""
    if not isinstance(reply, Reply):
        return Unknown(reason=reply.reason)
    if reply.status >= 500:
        return Unknown(reason="server_error")
    body = _object(reply)
    if reply.status not in good and 400 <= reply.status < 500:
        return _refusal(reply, body)
    return Unknown(reason="bad_reply") if body is None or reply.status not in good else body


def decode_post(body: Json) -> Post | Unknown:
    """Read one post; whatever it lacks makes it worthless."""
    values = {name: body.get(name) for name in ("id", "key", "account", "state")}
    at = _moment(body.get("at"))
    if not all(isinstance(value, str) and value for value in values.values()) or at is None:
        return Unknown(reason="webhook_incomplete")
    if values["state"] not in STATES:
        return Unknown(reason="webhook_unknown_state")
    texts = {name: str(body.get(name) or "") for name in ("url", "text")}
    return Post(**{name: str(value) for name, value in values.items()}, at=at, **texts)


def decode_recent(body: Json, account: str) -> Sequence[Sighting] | Unknown:
    """Read the newest live posts; one entry of somebody else makes the whole list worthless."""
    entries = body.get("posts")
    if body.get("account") != account or not isinstance(entries, list):
        return Unknown(reason="bad_reply" if body.get("account") == account else "webhook_wrong_account")
    posts = [decode_post(entry) if isinstance(entry, dict) else Unknown(reason="bad_reply") for entry in entries]
    sightings = []
    for post in posts:
        if isinstance(post, Unknown):
            return post
        if post.account != account:
            return Unknown(reason="webhook_wrong_account")
        if post.state == "live":
            sightings.append(Sighting(remote_id=post.id, url=post.url, live_at=post.at, text=post.text))
    return sorted(sightings, key=lambda sighting: sighting.live_at, reverse=True)


def decode_reach(body: Json, account: str, ids: Sequence[str]) -> Mapping[str, Reach] | Unknown:
    told = body.get("reach")
    if body.get("account") != account or not isinstance(told, dict):
        return Unknown(reason="bad_reply" if body.get("account") == account else "webhook_wrong_account")
    return {name: _reach(entry) for name in ids if isinstance(entry := told.get(name), dict)}


def until_of(body: Json) -> datetime | None:
    """Give when the key ends, where the receiver says so."""
    return _moment(body.get("until"))


def _words_of(account: str, parcel: Parcel) -> Json:
    rendition = parcel.rendition
    return {
        "account": account,
        "marker": parcel.marker.code,
        "title": rendition.title,
        "text": rendition.text,
        "summary": rendition.summary,
        "link": rendition.link,
        "pictures": _pictures(rendition, parcel.images),
    }


def _pictures(rendition: Rendition, images: Sequence[bytes]) -> Sequence[Json]:
    return [
        {
            "sha256": picture.sha256,
            "media_type": picture.media_type,
            "alt": picture.alt,
            "data": base64.b64encode(data).decode(),
        }
        for picture, data in zip(rendition.pictures, images, strict=True)
    ]


def _bare(key: Key, method: str, path: str, now: datetime, **query: str) -> Call:
    url = f"{key.base}{path}"
    return Call(method=method, url=url, query=query, headers=signed(key.secret, method, url, b"", now))


def _refusal(reply: Reply, body: Json | None) -> Refusal | Unknown:
    code = body.get("error") if body else None
    if code is None and reply.status == 429:
        code = "rate_limited"
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return Unknown(reason="bad_reply")
    body = body or {}
    names = body.get("name")
    return Refusal(
        status=reply.status,
        code=code,
        words=str(body.get("message") or "")[:200],
        names=names if isinstance(names, str) else None,
        retry_after=reply.headers.get("retry-after"),
    )


def _object(reply: Reply) -> Json | None:
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _moment(value: object) -> datetime | None:
    """Read an instant with its offset; without one it is none."""
    try:
        at = datetime.fromisoformat(str(value))
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _reach(entry: Json) -> Reach:
    return Reach(
        reads=_count(entry.get("reads")),
        reposts=_count(entry.get("reposts")),
        comments=_count(entry.get("comments")),
        likes=_count(entry.get("likes")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
