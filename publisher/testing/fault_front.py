"""The fault front: a reverse proxy that spoils the responses of a platform.

The platform is real or simulated. The front loses, delays and changes its responses.

    async with open_fault_front("http://127.0.0.1:8080") as front:
        fault = front.inject("drop_after", applies_to=lambda request: request.method == "POST")
        ...  # an adapter with an account with base_url = front.base_url
        assert fault.count == 1

Kinds of faults, with their facts; `RESPONSE_KINDS` need a `ResponseFormat`:

drop_before, drop_after     the connection is reset, before or after the platform acts
act_late                    reset now; the platform gets the call at `settle`
delay                       seconds (until the client leaves); acts at once, with `when: before`
                            only afterwards
drip                        bytes_per_second (10); acts, the last byte never comes
truncate                    acts, half of the announced body comes
html, status                code (200, 503), headers, body, acts (false)
bad_json                    acts, the JSON is broken
wrong_account               own: the identity that is replaced in the response; acts
api_error, captcha, duplicate, expire_token     the platform's refusal; acts (false)
no_id                       acts, the ids are missing
empty_list, reorder         the response's lists are empty, or in another order: how (reverse,
                            twice, again)
rewrite                     how (spaces, emoji, tail, punctuation, width, excerpt), characters
                            (30), ending (…), torn (false: with true an excerpt ends in half an
                            emoji)
"""

import asyncio
import json
import re
import socket
import ssl
import struct
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from http.client import responses
from typing import Any

import h11
import httpx

TAG_HEADER = "publisher-fault-front-tag"
"""A header with a client's name for its calls.

The front removes it.
"""
TRANSPORT_KINDS = frozenset(
    {"drop_before", "drop_after", "act_late", "delay", "drip", "truncate"}
)
PLAIN_KINDS = frozenset({"html", "status", "bad_json", "wrong_account"})
REFUSAL_KINDS = frozenset({"api_error", "captcha", "duplicate", "expire_token"})
RESPONSE_KINDS = REFUSAL_KINDS | {"no_id", "empty_list", "reorder", "rewrite"}
MAX_HOLD_SECONDS = 60.0
"""How long a response is held back at most, if the client does not leave."""
_LINGER_RESET = struct.pack("ii", 1, 0)
_READ_BYTES = 65536
_HOP_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_ERROR_PAGE = (
    b"<!DOCTYPE html><html><body><h1>The page cannot be shown</h1></body></html>"
)
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRequest:
    """One request as the front received it.

    `target` is path and query; `headers` have lower-case names.
    """

    method: str
    target: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    tag: str = ""

    @classmethod
    async def read_from(cls, reader: asyncio.StreamReader) -> "FrontRequest | None":
        """Read one request; None if the client leaves before its end, or does not speak HTTP."""
        connection, head, body = h11.Connection(h11.SERVER), None, bytearray()
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_READ_BYTES))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
        except (h11.RemoteProtocolError, OSError):
            return None
        if head is None or not isinstance(event, h11.EndOfMessage):
            return None
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in head.headers
        ]
        return cls(
            method=head.method.decode(),
            target=head.target.decode("latin-1"),
            headers=tuple(
                (name, value) for name, value in headers if name != TAG_HEADER
            ),
            body=bytes(body),
            tag=dict(headers).get(TAG_HEADER, ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontResponse:
    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def from_json(cls, status: int, value: object) -> "FrontResponse":
        return cls(
            status=status,
            headers=(("content-type", "application/json"),),
            body=_to_json(value),
        )

    def encode_head(self) -> bytes:
        """Return the status line and the headers, with the length of the whole body."""
        has_body = self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        length = [("content-length", str(len(self.body)))] if has_body else []
        headers = [*self.headers, *length, ("connection", "close")]
        lines = [
            f"HTTP/1.1 {self.status} {responses.get(self.status, '')}",
            *(f"{name}: {value}" for name, value in headers),
            "",
            "",
        ]
        return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """The format of a platform's JSON, for the front to invent refusals and change lists.

    `refusals` are responses by the kind of fault, as far as the platform has such a refusal.
    `api_error` is one with a code that no documentation lists. `id_keys` name the fields with a
    post's id, `text_keys` the fields with its words. `identity` is the account's name there, if it
    is not the account's identity in publisher.toml.
    """

    refusals: Mapping[str, FrontResponse]
    id_keys: frozenset[str]
    text_keys: frozenset[str]
    identity: str = ""


@dataclass(eq=False, slots=True, kw_only=True)
class InjectedFault:
    """A fault in force.

    `count` is how many calls it has changed. `held` is set once a response is held back.
    """

    kind: str
    facts: Mapping[str, object]
    applies_to: Callable[[FrontRequest], bool]
    count: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def make_response(self) -> FrontResponse:
        """Return the page, or the bare status, that stands in for the platform's response."""
        is_page = self.kind == "html"
        body = self.facts.get("body")
        headers = self.facts.get("headers")
        return FrontResponse(
            status=int(str(self.facts.get("code", 200 if is_page else 503))),
            headers=(
                (
                    "content-type",
                    "text/html; charset=utf-8" if is_page else "application/json",
                ),
                *(
                    (str(name), str(value))
                    for name, value in (
                        headers.items() if isinstance(headers, Mapping) else ()
                    )
                ),
            ),
            body=str(body).encode()
            if body is not None
            else _ERROR_PAGE
            if is_page
            else b"",
        )


class FaultFront:
    """The proxy.

    `requests` are all requests that came. `exchanges` are the ones that reached the platform, with
    its responses.
    """

    def __init__(
        self,
        platform_url: str,
        response_format: ResponseFormat | None,
        ssl_context: ssl.SSLContext,
    ) -> None:
        self.base_url = ""
        self.requests: list[FrontRequest] = []
        self.exchanges: list[tuple[FrontRequest, FrontResponse]] = []
        self._platform_url = platform_url.rstrip("/")
        self._format = response_format
        self._upstream = httpx.AsyncHTTPTransport(verify=ssl_context, trust_env=False)
        self._faults: list[InjectedFault] = []
        self._late: list[FrontRequest] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: set[asyncio.Task[Any]] = set()

    def can(self, kind: str) -> bool:
        """True if this front has such a fault."""
        if kind in REFUSAL_KINDS:
            return self._format is not None and kind in self._format.refusals
        return kind in TRANSPORT_KINDS | PLAIN_KINDS or (
            kind in RESPONSE_KINDS and self._format is not None
        )

    def inject(
        self,
        kind: str,
        *,
        applies_to: Callable[[FrontRequest], bool] = lambda _request: True,
        **facts: object,
    ) -> InjectedFault:
        """Apply a fault to the requests that `applies_to` accepts, until `clear`.

        Raises ValueError unless it `can`.
        """
        if not self.can(kind):
            raise ValueError(kind)
        fault = InjectedFault(kind=kind, facts=facts, applies_to=applies_to)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults; held-back responses stay so until the client leaves."""
        self._faults.clear()

    async def settle(self) -> None:
        """Let the platform act on late calls, and wait until no call is left."""
        while self._late:
            await self._forward(self._late.pop(0))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve one connection, for one request."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 # a coroutine always runs in one
        self._connections.add(task)
        try:
            request = await FrontRequest.read_from(reader)
            if request is not None:
                self._tasks.add(task)
                self.requests.append(request)
                await self._respond(request, reader, writer)
        except (OSError, httpx.TransportError):  # a side has left: so does the other
            _reset(writer)
        finally:
            self._tasks.discard(task)
            self._connections.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._upstream.aclose()

    async def _respond(
        self,
        request: FrontRequest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        fault = next(
            (fault for fault in self._faults if fault.applies_to(request)), None
        )
        if fault is None:
            await _send(writer, await self._forward(request))
        elif fault.kind in TRANSPORT_KINDS:
            await self._fail_transport(fault, request, reader, writer)
        else:
            response = await self._change_response(fault, request)
            await _send(writer, response)

    async def _fail_transport(
        self,
        fault: InjectedFault,
        request: FrontRequest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        fault.count += 1
        if fault.kind == "act_late":
            self._late.append(request)
        if fault.kind in ("drop_before", "act_late"):
            _reset(writer)
            return
        hold = partial(_hold, fault, reader, fault.facts.get("seconds"))
        if fault.kind == "delay" and fault.facts.get("when") == "before":
            await hold()
        response = await self._forward(request)
        match fault.kind:
            case "drop_after":
                _reset(writer)
            case "truncate":
                writer.write(
                    response.encode_head() + response.body[: len(response.body) // 2]
                )
                await writer.drain()
            case "drip":
                await _drip(fault, response, reader, writer)
            case _:
                if fault.facts.get("when") != "before":
                    await hold()
                await _send(writer, response)

    async def _change_response(
        self, fault: InjectedFault, request: FrontRequest
    ) -> FrontResponse:
        """Return the response in place of the platform's.

        The fault counts if it has changed something.
        """
        if fault.kind in REFUSAL_KINDS | {"html", "status"}:
            fault.count += 1
            if fault.facts.get("acts"):
                await self._forward(request)
            refusals = self._format.refusals if self._format else {}
            return refusals.get(fault.kind) or fault.make_response()
        response = await self._forward(request)
        body = change_body(fault.kind, fault.facts, self._format, response.body)
        fault.count += body != response.body
        return replace(response, body=body)

    async def _forward(self, request: FrontRequest) -> FrontResponse:
        """Make the call at the platform. Raises httpx.TransportError."""
        headers = [
            (name, value) for name, value in request.headers if name not in _HOP_HEADERS
        ]
        response = await self._upstream.handle_async_request(
            httpx.Request(
                request.method,
                self._platform_url + request.target,
                headers=[*headers, ("connection", "close")],
                content=request.body,
            )
        )
        try:
            body = b"".join([chunk async for chunk in response.aiter_raw()])
        finally:
            await response.aclose()
        raw = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in response.headers.raw
        ]
        kept = tuple((name, value) for name, value in raw if name not in _HOP_HEADERS)
        if "date" not in response.headers:  # a proxy adds it: RFC 9110, 6.6.1
            kept = (*kept, ("date", formatdate(usegmt=True)))
        answer = FrontResponse(status=response.status_code, headers=kept, body=body)
        self.exchanges.append((request, answer))
        return answer


@asynccontextmanager
async def open_fault_front(
    platform_url: str,
    *,
    response_format: ResponseFormat | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[FaultFront]:
    """Serve a front for the platform at this address, on a free port of this machine.

    `ssl_context` is for a platform over TLS with a certificate that the system does not trust.
    """
    if ssl_context is None:
        # loading the system's certificates takes a while
        is_secure = platform_url.startswith("https:")
        ssl_context = (
            ssl.create_default_context()
            if is_secure
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    front = FaultFront(platform_url, response_format, ssl_context)
    server = await asyncio.start_server(front.handle, "127.0.0.1", 0)
    front.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield front
    finally:
        server.close()
        await front.close()
        await server.wait_closed()


async def _send(writer: asyncio.StreamWriter, response: FrontResponse) -> None:
    writer.write(response.encode_head() + response.body)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()


async def _hold(
    fault: InjectedFault, reader: asyncio.StreamReader, seconds: object = None
) -> None:
    """Wait for some seconds, or until the client leaves."""
    fault.held.set()
    await _has_left(
        reader, float(str(seconds)) if seconds is not None else MAX_HOLD_SECONDS
    )


async def _drip(
    fault: InjectedFault,
    response: FrontResponse,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    pause = 1 / float(str(fault.facts.get("bytes_per_second", 10)))
    writer.write(response.encode_head())
    for at in range(len(response.body) - 1):
        writer.write(response.body[at : at + 1])
        await writer.drain()
        fault.held.set()
        if await _has_left(reader, pause):
            return
    await _hold(fault, reader)


async def _has_left(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return not await reader.read(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def change_body(
    kind: str,
    facts: Mapping[str, Any],
    response_format: ResponseFormat | None,
    body: bytes,
) -> bytes:
    """Return a response's body as a fault leaves it.

    It is the same bytes if there is nothing to change.
    """
    if kind == "bad_json":
        return body[:-1] + b',"'
    if kind == "wrong_account":
        own = (response_format.identity if response_format else "") or str(facts["own"])
        other = own[:-1] + ("1" if own[-1:] != "1" else "2")
        return re.sub(
            rb"(?<!\w)" + re.escape(own.encode()) + rb"(?!\w)", other.encode(), body
        )
    try:
        value = json.loads(body)
    except ValueError:
        return body
    if response_format is None:
        return body
    id_keys = response_format.id_keys
    match kind:
        case "no_id":
            changed = _map_posts(
                value,
                lambda post: {k: each for k, each in post.items() if k not in id_keys},
            )
        case "empty_list":
            changed = _map_lists(value, id_keys, lambda _posts: [])
        case "reorder":
            changed = _map_lists(
                value, id_keys, _ORDERS[str(facts.get("how", "reverse"))]
            )
        case _:
            changed = _map_texts(
                value, response_format.text_keys, partial(rewrite_text, **facts)
            )
    return body if changed == value else _to_json(changed)


_ORDERS: Mapping[str, Callable[[Sequence[Any]], list[Any]]] = {
    "reverse": lambda posts: list(posts[::-1]),
    "twice": lambda posts: [post for post in posts for _ in range(2)],
    "again": lambda posts: [*posts, *posts],
}


def _map_posts(value: object, change: Callable[[dict[str, Any]], object]) -> object:
    """Change the object of a response and the objects of its lists, not the contents of these."""
    if isinstance(value, list):
        return [_map_posts(each, change) for each in value]
    if not isinstance(value, dict):
        return value
    return change(
        {
            key: _map_posts(each, change) if isinstance(each, list) else each
            for key, each in value.items()
        }
    )


def _map_lists(
    value: object, id_keys: frozenset[str], change: Callable[[Sequence[Any]], list[Any]]
) -> object:
    """Change the lists of posts: the lists with entries that have an id."""
    if isinstance(value, dict):
        return {key: _map_lists(each, id_keys, change) for key, each in value.items()}
    if (
        isinstance(value, list)
        and value
        and all(isinstance(each, dict) and id_keys & each.keys() for each in value)
    ):
        return change(value)
    return value


def _map_texts(
    value: object, text_keys: frozenset[str], change: Callable[[str], str]
) -> object:
    if isinstance(value, list):
        return [_map_texts(each, text_keys, change) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: change(each)
        if key in text_keys and isinstance(each, str)
        else _map_texts(each, text_keys, change)
        for key, each in value.items()
    }


def rewrite_text(
    text: str,
    *,
    how: str = "spaces",
    characters: int = 30,
    ending: str = "…",
    torn: bool = False,
) -> str:
    """Return a text as a platform may change it. Raises ValueError for an unknown `how`."""
    match how:
        case "spaces":
            return re.sub(r"\s+", " ", text).strip()
        case "emoji":
            return "".join(
                each
                for each in text
                if ord(each) < 0x1F000 and each not in "\ufe0f\u200d"
            )
        case "tail":
            return text and text + " 网页链接 "
        case "punctuation":
            return text.translate(str.maketrans(",!?：，", "，！？:,"))
        case "width":
            return unicodedata.normalize("NFKC", text)
        case "excerpt":
            return (
                text
                if len(text) <= characters
                else text[:characters] + ("\ud83d" if torn else ending)
            )
    raise ValueError(how)


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )
