"""A double of a Mastodon server with one account on it, as the documents of the API describe it.

It shares no code with the adapter: a mistake that both had would stay hidden.
Faults are the kit's own.
"""

import asyncio
import contextlib
import html
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from publisher.testing.conformance import PlatformPost

USERNAME, HOST, TOKEN = "police", "social.example", "a-token-that-nobody-else-has"
IDENTITY = f"{USERNAME}@{HOST}"
ACCOUNT_ID = "109302436954721982"
MAX_CHARACTERS, LINK_CHARACTERS, MAX_PICTURES = 500, 23, 4
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(kw_only=True)
class StoredStatus:
    """A status, and what has become of it."""

    id: str
    created_at: datetime
    text: str
    visibility: str = "public"
    media_ids: list[str] = field(default_factory=list)
    is_deleted: bool = False


class MastodonDouble:
    """The state of the server, its handlers, and the kit's hooks; the kit can move its clock."""

    def __init__(self) -> None:
        self.base_url = ""
        self.shift = timedelta(0)
        self.statuses: list[StoredStatus] = []
        self.status_by_key: dict[str, StoredStatus] = {}
        self.media: dict[str, str] = {}
        self.is_processing = False
        """Whether uploaded files are still being processed."""

    def build_app(self) -> Starlette:
        handlers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/api/v1/accounts/verify_credentials", self.show_account),
            ("GET", "/api/v1/accounts/{id}/statuses", self.list_statuses),
            ("POST", "/api/v2/media", self.upload),
            ("GET", "/api/v1/media/{id}", self.show_media),
            ("POST", "/api/v1/statuses", self.create),
            ("GET", "/api/v1/statuses/{id}", self.show),
            ("DELETE", "/api/v1/statuses/{id}", self.delete),
        )
        return Starlette(
            routes=[
                Route(path, with_token(each), methods=[method])
                for method, path, each in handlers
            ]
        )

    async def show_account(self, _request: Request) -> Response:
        return JSONResponse({**describe_owner(), "source": {"privacy": "public"}})

    async def list_statuses(self, request: Request) -> Response:
        if request.path_params["id"] != ACCOUNT_ID:
            return refuse(404, "Record not found")
        before, limit = (
            request.query_params.get("max_id"),
            request.query_params.get("limit", "20"),
        )
        listed = [
            status
            for status in reversed(self.statuses)
            if not status.is_deleted
            and (before is None or int(status.id) < int(before))
        ]
        return JSONResponse(
            [self.describe(status) for status in listed[: min(int(limit), 40)]]
        )

    async def upload(self, request: Request) -> Response:
        form = await request.form()
        if not hasattr(form.get("file"), "read"):
            return refuse(422, "Validation failed: File can't be blank")
        media_id = str(22348641 + len(self.media))
        self.media[media_id] = str(form.get("description") or "")
        return JSONResponse(
            self.describe_media(media_id), 202 if self.is_processing else 200
        )

    async def show_media(self, request: Request) -> Response:
        media_id = request.path_params["id"]
        if media_id not in self.media:
            return refuse(404, "Record not found")
        return JSONResponse(
            self.describe_media(media_id), 206 if self.is_processing else 200
        )

    async def create(self, request: Request) -> Response:
        content, key = (
            json.loads(await request.body()),
            request.headers.get("idempotency-key"),
        )
        if key in self.status_by_key:
            return JSONResponse(self.describe(self.status_by_key[key]))
        text, media_ids = content.get("status", ""), content.get("media_ids", [])
        words = [
            "x" * LINK_CHARACTERS if word.startswith("http") else word
            for word in text.split(" ")
        ]
        if len(" ".join(words)) > MAX_CHARACTERS:
            return refuse(
                422,
                f"Validation failed: Text character limit of {MAX_CHARACTERS} exceeded",
            )
        if not text.strip() and not media_ids:
            return refuse(422, "Validation failed: Text can't be blank")
        used = {media_id for status in self.statuses for media_id in status.media_ids}
        if (
            len(media_ids) > MAX_PICTURES
            or not set(media_ids) <= self.media.keys() - used
        ):
            return refuse(422, "Validation failed: Cannot attach these files")
        status = self.store(
            text, visibility=content.get("visibility", "public"), media_ids=media_ids
        )
        if key:
            self.status_by_key[key] = status
        return JSONResponse(self.describe(status))

    async def show(self, request: Request) -> Response:
        found = self.find(request.path_params["id"])
        return (
            JSONResponse(self.describe(found))
            if found
            else refuse(404, "Record not found")
        )

    async def delete(self, request: Request) -> Response:
        found = self.find(request.path_params["id"])
        if found is None:
            return refuse(404, "Record not found")
        found.is_deleted = True
        return JSONResponse({**self.describe(found), "text": found.text})

    def find(self, status_id: str) -> StoredStatus | None:
        return next(
            (
                each
                for each in self.statuses
                if each.id == status_id and not each.is_deleted
            ),
            None,
        )

    def store(
        self,
        text: str,
        *,
        visibility: str = "public",
        media_ids: list[str] | None = None,
    ) -> StoredStatus:
        """Store a status. Ids grow with time, as Mastodon's do: milliseconds, then a number."""
        now = datetime.now(UTC) + self.shift
        status_id = str((int(now.timestamp() * 1000) << 16) + len(self.statuses))
        status = StoredStatus(
            id=status_id,
            created_at=now,
            text=text,
            visibility=visibility,
            media_ids=media_ids or [],
        )
        self.statuses.append(status)
        return status

    def describe(self, status: StoredStatus) -> dict[str, Any]:
        paragraphs = html.escape(status.text).split("\n\n")
        return {
            "id": status.id,
            "created_at": status.created_at.isoformat(timespec="milliseconds").replace(
                "+00:00", "Z"
            ),
            "visibility": status.visibility,
            "url": f"https://{HOST}/@{USERNAME}/{status.id}",
            "content": "".join(
                f"<p>{part.replace(chr(10), '<br />')}</p>" for part in paragraphs
            ),
            "account": describe_owner(),
            "media_attachments": [
                self.describe_media(media_id) for media_id in status.media_ids
            ],
            "reblog": None,
            "reblogs_count": 2,
            "replies_count": 0,
            "favourites_count": 5,
        }

    def describe_media(self, media_id: str) -> dict[str, Any]:
        return {"id": media_id, "type": "image", "description": self.media[media_id]}

    async def posts(self) -> list[PlatformPost]:
        return [
            PlatformPost(
                remote_id=status.id,
                is_published=not status.is_deleted,
                is_public=not status.is_deleted and status.visibility == "public",
                picture_count=len(status.media_ids),
                text=status.text,
            )
            for status in self.statuses
        ]

    async def remove(self, remote_id: str) -> None:
        for status in self.statuses:
            status.is_deleted |= status.id == remote_id

    async def post_manually(self, title: str, text: str) -> str:
        return self.store(f"{title}\n\n{text}").id

    async def advance_time(self, duration: timedelta) -> None:
        self.shift += duration


def with_token(handler: Handler) -> Handler:
    """Return a handler that refuses a call without the account's token."""

    async def guarded(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return refuse(401, "The access token is invalid")
        return await handler(request)

    return guarded


def describe_owner() -> dict[str, Any]:
    return {
        "id": ACCOUNT_ID,
        "username": USERNAME,
        "acct": USERNAME,
        "url": f"https://{HOST}/@{USERNAME}",
    }


def refuse(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


class QuietServer(uvicorn.Server):
    """A server that leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def open_double() -> AsyncIterator[tuple[MastodonDouble, dict[str, str]]]:
    """Serve a double; yield it and the secret of its account."""
    double = MastodonDouble()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        double.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = QuietServer(
            uvicorn.Config(double.build_app(), log_level="warning", lifespan="off")
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield double, {"access_token": TOKEN}
        finally:
            server.should_exit = True
            await serving
