"""Mastodon's calls as data. Pure.

`encode_…` makes a request, `decode_…` reads a response and never raises.

Source, unless a line says otherwise: docs.joinmastodon.org, methods/statuses, methods/accounts,
methods/media and api/rate-limits, read on 2026-11-29; and the answers of snac 2.75 on that day.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.post import RenderedImage, SendRequest
from publisher.domain.post_list import ListedPost
from publisher.domain.results import NotSent, RateLimited, ReadFailure, Unknown

Json = Mapping[str, Any]
Response = HttpResponse | NotSent | Unknown

PAGE_SIZE = 40
"""The most statuses that one page of an account's list has; without `limit` it has 20."""
PUBLIC_VISIBILITIES = frozenset({"public", "unlisted"})
"""Anybody can see these; `unlisted` is only left out of the public timelines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MastodonLogin:
    """Where calls go, in whose name, and with which token."""

    base_url: str
    identity: str
    token: str = field(repr=False)

    @property
    def username(self) -> str:
        return self.identity.partition("@")[0]

    def is_owner(self, account: object) -> bool:
        """True if an Account of the API is ours.

        Mastodon writes `acct` without the host for an account of its own; snac writes it with the
        host in statuses.
        """
        if not isinstance(account, Mapping):
            return False
        acct = str(account.get("acct", "")).casefold()
        return acct in {self.username.casefold(), self.identity.casefold()}

    def build(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> HttpRequest:
        signed = {"authorization": f"Bearer {self.token}"} | dict(headers or {})
        return HttpRequest(method=method, url=f"{self.base_url}{path}", headers=signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A complete response with a 4xx status. `message` is the server's own, in its own language."""

    status: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One post of our account, as the API shows it.

    The text in `listed` is `content` without its HTML.
    """

    listed: ListedPost
    is_public: bool
    picture_count: int
    reblogs: int | None = None
    replies: int | None = None
    favourites: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An uploaded picture; without an id where the response does not repeat it."""

    id: str
    is_processed: bool


def encode_account(login: MastodonLogin) -> HttpRequest:
    """Read whose token it is."""
    return login.build("GET", "/api/v1/accounts/verify_credentials")


def encode_list(
    login: MastodonLogin, account_id: str, before: str | None = None
) -> HttpRequest:
    """Read a page of the account's own posts, newest first.

    `before` is the last id of the page above.
    """
    query = (
        ("limit", str(PAGE_SIZE)),
        ("exclude_reblogs", "true"),
        *((("max_id", before),) if before else ()),
    )
    return replace(
        login.build("GET", f"/api/v1/accounts/{quote(account_id, safe='')}/statuses"),
        query=query,
    )


def encode_read(login: MastodonLogin, status_id: str) -> HttpRequest:
    return login.build("GET", f"/api/v1/statuses/{quote(status_id, safe='')}")


def encode_delete(login: MastodonLogin, status_id: str) -> HttpRequest:
    return login.build("DELETE", f"/api/v1/statuses/{quote(status_id, safe='')}")


def encode_picture(
    login: MastodonLogin, picture: RenderedImage, data: bytes
) -> HttpRequest:
    """Upload a picture with its alternative text; one that no post shows is removed after a day."""
    name = f"{picture.sha256[:16]}.{picture.file_suffix}"
    upload = Upload(
        name="file", filename=name, media_type=picture.media_type, data=data
    )
    form = (("description", picture.alt),)
    return replace(
        login.build("POST", "/api/v2/media"),
        form=form,
        uploads=(upload,),
        is_idempotent=False,
    )


def encode_picture_state(login: MastodonLogin, media_id: str) -> HttpRequest:
    """Ask whether an uploaded picture can be attached: 200 if so, 206 while it is processed."""
    return login.build("GET", f"/api/v1/media/{quote(media_id, safe='')}")


def encode_status(
    login: MastodonLogin, request: SendRequest, media_ids: Sequence[str], language: str
) -> HttpRequest:
    """Make the post.

    A server that knows `Idempotency-Key` returns the first post for an hour when the call comes
    again. The key is that of the delivery, so it also covers a call that took effect after its
    absence was proven. Nothing relies on it: snac ignores it.
    """
    content = {
        "status": request.text,
        "visibility": "public",
        "language": language,
        "media_ids": list(media_ids),
    }
    headers = {
        "content-type": "application/json",
        "idempotency-key": f"{request.marker.code}-{request.resend_after_attempt}",
    }
    body = json.dumps(content, ensure_ascii=False).encode()
    return replace(
        login.build("POST", "/api/v1/statuses", headers),
        content=body,
        is_idempotent=False,
    )


def decode_limit(response: Response, now: datetime) -> RateLimited | None:
    """Return the rate limit of a 429.

    Mastodon gives its end in `X-RateLimit-Reset`, other servers in `Retry-After`.
    """
    if not isinstance(response, HttpResponse):
        return None
    limit = response.to_rate_limited("mastodon_429", now)
    if limit is None or limit.until is not None:
        return limit
    reset = parse_time(response.headers.get("x-ratelimit-reset"))
    return RateLimited(
        code="mastodon_429", until=reset if reset and reset > now else None
    )


def decode_json(response: Response) -> Any | Refusal | Unknown:  # noqa: ANN401 # any JSON
    """Return the JSON of a 200 or 202, what a 4xx refuses, else Unknown."""
    if not isinstance(response, HttpResponse):
        return Unknown(reason=response.reason)
    if response.status >= 500:
        return Unknown(reason="server_error")
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        body = None
    if 400 <= response.status < 500:
        message = body.get("error") if isinstance(body, dict) else None
        return Refusal(
            status=response.status, message=message if isinstance(message, str) else ""
        )
    if response.status not in {200, 202} or body is None:
        return Unknown(reason="bad_response")
    return body


def decode_account(response: Response, login: MastodonLogin) -> str | Refusal | Unknown:
    """Return the id of our account; Unknown `mastodon_wrong_account` if the token is another's."""
    body = decode_json(response)
    if isinstance(body, Refusal | Unknown):
        return body
    account_id = body.get("id") if isinstance(body, dict) else None
    if not isinstance(account_id, str) or not account_id:
        return Unknown(reason="bad_response")
    return (
        account_id if login.is_owner(body) else Unknown(reason="mastodon_wrong_account")
    )


def decode_media(response: Response | RateLimited) -> Media | Refusal | ReadFailure:
    """Return an uploaded picture: processed at 200, in process at 202 and 206.

    The body of a 206 may be empty.
    """
    if isinstance(response, HttpResponse) and response.status == 206:
        return Media(id="", is_processed=False)
    body = response if isinstance(response, RateLimited) else decode_json(response)
    if isinstance(body, Refusal | ReadFailure):
        return body
    media_id = body.get("id") if isinstance(body, dict) else None
    if not isinstance(media_id, str) or not media_id:
        return Unknown(reason="bad_response")
    return Media(
        id=media_id,
        is_processed=isinstance(response, HttpResponse) and response.status == 200,
    )


def decode_list(
    response: Response, login: MastodonLogin
) -> Sequence[Status] | Refusal | Unknown:
    """Return a page of our posts; a boost is not a post.

    An entry that is not ours makes the page worthless.
    """
    body = decode_json(response)
    if isinstance(body, Refusal | Unknown):
        return body
    if not isinstance(body, list):
        return Unknown(reason="bad_response")
    statuses = []
    for entry in body:
        if isinstance(entry, dict) and entry.get("reblog") is not None:
            continue
        status = decode_status(entry, login)
        if isinstance(status, Unknown):
            return status
        statuses.append(status)
    return statuses


def decode_status(entry: object, login: MastodonLogin) -> Status | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_response")
    status_id, created_at, content = (
        entry.get("id"),
        parse_time(entry.get("created_at")),
        entry.get("content"),
    )
    if (
        not isinstance(status_id, str)
        or not status_id
        or created_at is None
        or not isinstance(content, str)
    ):
        return Unknown(reason="mastodon_no_id")
    if not login.is_owner(entry.get("account")):
        return Unknown(reason="mastodon_wrong_account")
    media = entry.get("media_attachments")
    return Status(
        listed=ListedPost(
            remote_id=status_id,
            url=str(entry.get("url") or entry.get("uri") or ""),
            created_at=created_at,
            text=to_plain_text(content),
        ),
        is_public=entry.get("visibility") in PUBLIC_VISIBILITIES,
        picture_count=len(media) if isinstance(media, list) else 0,
        reblogs=_to_count(entry.get("reblogs_count")),
        replies=_to_count(entry.get("replies_count")),
        favourites=_to_count(entry.get("favourites_count")),
    )


def parse_time(text: object) -> datetime | None:
    """Parse an ISO 8601 time; one without an offset is UTC."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def to_plain_text(content: str) -> str:
    """Return the text of a status.

    `content` is HTML, and Mastodon also splits long links in it into spans.
    """
    parser = _TextParser()
    parser.feed(content)
    parser.close()
    return "".join(parser.parts).strip()


def to_failure(answer: Refusal | ReadFailure) -> ReadFailure:
    """Return a read without a result; a refusal becomes `mastodon_STATUS`."""
    return (
        Unknown(reason=f"mastodon_{answer.status}")
        if isinstance(answer, Refusal)
        else answer
    )


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in {"br", "p"}:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _to_count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
