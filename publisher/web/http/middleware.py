"""Middleware for every request: response headers, checks of host and origin, bounded bodies."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from urllib.parse import urlsplit

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from publisher.config import Settings
from publisher.domain.addresses import is_loopback, split_host_port
from publisher.web.http.server import peer_key

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""A response that sets one of them keeps its own.

No browser stores the contents of pages about people and posts in its files.
"""
STRICT_TRANSPORT_SECURITY = "max-age=31536000"
MAX_BODY_BYTES, MAX_UPLOAD_BYTES = 2**20, 25 * 2**20
MAX_FORM_FIELDS = 2_000
"""A form of a post for all accounts has some hundred.

Parsing a megabyte of separators takes seconds.
"""
UPLOAD_PATHS = frozenset({"/write", "/write/check", "/urgent"})
MAX_UPLOADS, MAX_UPLOADS_WITHOUT_SESSION, MAX_UPLOADS_EACH = 16, 4, 4
"""How many bodies larger than MAX_BODY_BYTES may be received or processed at once, on the disk.

The limits are for all users, for all visitors without a session, and for one user. Visitors without
a session take no place of users.
"""
SMALL_BODY_BYTES = 2**14
MAX_UNFINISHED, MAX_UNFINISHED_EACH = 32, 8
"""How many bodies of more than SMALL_BODY_BYTES may be awaited to their end, in memory.

The limits are for all visitors without a session, and for each visitor.
"""
BODY_TIMEOUT_SECONDS = 60.0
"""The whole body of a request must arrive within this time."""
PROBES = frozenset({"/healthz", "/metrics"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that change nothing."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def security_headers(*, is_secure: bool) -> Mapping[str, str]:
    """Return the headers of every response. With TLS, the browser is to use nothing else."""
    return {
        **HEADERS,
        **(
            {"strict-transport-security": STRICT_TRANSPORT_SECURITY}
            if is_secure
            else {}
        ),
    }


class SecurityHeaders:
    """Adds the security headers to every response. It stands outside of every responder."""

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        self.app = app
        self.headers = security_headers(is_secure=is_secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class KnownHosts:
    """Refuses requests for another host, and on loopback requests of pages of other local ports.

    All ports of a host share their cookies. So a page of another local server would act for a user
    with a session here.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], is_on_loopback: bool
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.is_on_loopback = is_on_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (
            reason := self.find_refusal(Headers(scope=scope))
        ):
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def find_refusal(self, headers: Headers) -> str:
        """Return why a request is refused, or the empty text."""
        host = headers.get("host", "")
        if self.hosts and host_name(host) not in self.hosts:
            return "This is not the address of the dashboard."
        if not self.is_on_loopback:
            return ""
        is_from_other_port = headers.get("sec-fetch-site") == "same-site"
        origin = headers.get("origin")
        if is_from_other_port or (
            origin is not None and not is_origin_of(origin, host)
        ):
            return "Another server on this host may not use the dashboard."
        return ""


class SameOrigin:
    """Refuses requests that would change something for a page of another origin.

    A browser adds `Sec-Fetch-Site`, or where it does not trust the address, `Origin` alone. Other
    clients add neither, and no page can make them send a session's cookie.
    """

    def __init__(self, app: ASGIApp, *, trusted_origins: Collection[str]) -> None:
        self.app = app
        self.trusted_origins = trusted_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.is_allowed(
            scope["method"], Headers(scope=scope)
        ):
            await self.app(scope, receive, send)
        else:
            reason = "Another site may change nothing here."
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)

    def is_allowed(self, method: str, headers: Headers) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if method in SAFE_METHODS or origin in self.trusted_origins:
            return True
        if site is not None:
            return site in {"same-origin", "none"}
        return origin is None or is_origin_of(origin, headers.get("host", ""))


class ThroughProxy:
    """Refuses requests that did not come by TLS through the proxy, but for the probes.

    In clear anybody on the way reads passwords; without its client's address every attempt to sign
    in would count as the proxy's own. Any address may ask `/healthz` in clear, and `/metrics` with
    the token of a user.
    """

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        self.app = app
        self.url = url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_through = scope["type"] != "http" or (
            scope["scheme"] == "https" and "x-forwarded-for" in Headers(scope=scope)
        )
        if is_through or scope["path"] in PROBES:
            await self.app(scope, receive, send)
        else:
            reason = (
                f"Open {self.url}. "
                "The proxy has to send X-Forwarded-For, and X-Forwarded-Proto: https."
            )
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)


def host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_origin_of(origin: str, host: str) -> bool:
    """True if an origin, such as `https://host:port`, is of this host and port."""
    return bool(host) and origin.partition("://")[2] == host


def find_hosts(settings: Settings) -> tuple[Collection[str], bool]:
    """Return the hosts that requests may name, and whether only this machine can connect.

    No hosts means that any host is allowed.
    """
    host, _port = split_host_port(settings.dashboard.listen)
    is_on_loopback = is_loopback(host) and not settings.dashboard.is_secure
    own = (
        {urlsplit(settings.dashboard.url).hostname or ""}
        if settings.dashboard.url
        else set()
    )
    if is_on_loopback:
        return {*LOOPBACK_HOSTS, host, *own}, True
    return ({*own, host} if own else set()), False


class BoundedBodies:
    """Limits the size of a request's body, its time of arrival, and the number of large bodies.

    A large one is an upload of pictures. Anybody can send it: after a session has ended, its form
    is still kept. `find_user` returns the name of the signed-in user, empty for nobody.
    """

    def __init__(
        self, app: ASGIApp, *, find_user: Callable[[Scope], Awaitable[str]]
    ) -> None:
        self.app = app
        self.find_user = find_user
        self.uploads_of_users: Counter[str] = Counter()
        self.uploads_of_others: Counter[str] = Counter()
        self.unfinished_of_users: Counter[str] = Counter()
        self.unfinished_of_others: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        content_type, options = parse_options_header(
            Headers(scope=scope).get("content-type")
        )
        # its codec would read the fields, and some take the square of the length
        if options.get(b"charset", b"utf-8").lower() != b"utf-8":
            response = PlainTextResponse("Unsupported Media Type", status_code=415)
            await response(scope, receive, send)
            return
        body = BoundedBody(
            receive,
            limit=find_body_limit(scope),
            start_upload=partial(self.start_upload, scope),
            start_wait=partial(self.start_wait, scope),
            is_multipart=content_type.startswith(b"multipart/"),
        )
        try:
            await self.app(scope, body.receive, send)
        except BodyRefusedError as error:
            headers = {"retry-after": "30"} if error.status == 503 else None
            await PlainTextResponse(
                error.reason, status_code=error.status, headers=headers
            )(scope, receive, send)
        except TimeoutError:
            if body.is_complete:
                raise
            await PlainTextResponse("Request Timeout", status_code=408)(
                scope, receive, send
            )
        finally:
            body.end()

    async def start_upload(self, scope: Scope) -> Callable[[], None]:
        """Count a large body, and return a function that ends it.

        Raises BodyRefusedError if there are too many.
        """
        if user := await self.find_user(scope):
            return count_body(
                self.uploads_of_users, user, each=MAX_UPLOADS_EACH, most=MAX_UPLOADS
            )
        most = MAX_UPLOADS_WITHOUT_SESSION
        return count_body(
            self.uploads_of_others, find_peer(scope), each=MAX_UPLOADS_EACH, most=most
        )

    async def start_wait(self, scope: Scope) -> Callable[[], None]:
        """Count a body with a rest that is awaited, and return the end of it.

        Raises BodyRefusedError as above.
        """
        if user := await self.find_user(scope):
            return count_body(
                self.unfinished_of_users, user, each=MAX_UNFINISHED_EACH, most=None
            )
        peer, each = find_peer(scope), MAX_UNFINISHED_EACH
        return count_body(
            self.unfinished_of_others, peer, each=each, most=MAX_UNFINISHED
        )


def count_body(
    bodies: Counter[str], owner: str, *, each: int, most: int | None
) -> Callable[[], None]:
    """Count a body, and return the end of it. Raises BodyRefusedError if there are too many."""
    if bodies[owner] >= each or (most is not None and bodies.total() >= most):
        raise BodyRefusedError(503, "Too Many Uploads")
    bodies.update([owner])

    def end() -> None:
        bodies[owner] -= 1
        if not bodies[owner]:
            del bodies[owner]

    return end


class BoundedBody:
    """The body of one request as it arrives, up to a limit and a deadline.

    `start_upload` is called once it is larger than a form, and `start_wait` once it is not small
    and its rest has not come; each returns the end of it.
    """

    def __init__(
        self,
        receive: Receive,
        *,
        limit: int,
        start_upload: Callable[[], Awaitable[Callable[[], None]]],
        start_wait: Callable[[], Awaitable[Callable[[], None]]],
        is_multipart: bool,
    ) -> None:
        self._receive = receive
        self.limit = limit
        self.start_upload = start_upload
        self.start_wait = start_wait
        self.is_multipart = is_multipart
        self.separators = 0
        self.deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_SECONDS
        self.received = 0
        self.is_complete = False
        self.end_upload: Callable[[], None] | None = None
        self.end_wait: Callable[[], None] | None = None

    async def receive(self) -> Message:
        """Return the next message. Raises BodyRefusedError and TimeoutError."""
        if self.is_complete:
            return await self._receive()
        async with asyncio.timeout_at(self.deadline):
            message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
            self.separators += (
                0 if self.is_multipart else message.get("body", b"").count(b"&")
            )
        if self.received > self.limit or self.separators > MAX_FORM_FIELDS:
            raise BodyRefusedError(413, "Content Too Large")
        if self.received > MAX_BODY_BYTES and self.end_upload is None:
            self.end_upload = await self.start_upload()
        if self.is_complete:
            self._end_wait()
        elif self.received > SMALL_BODY_BYTES and self.end_wait is None:
            self.end_wait = await self.start_wait()
        return message

    def end(self) -> None:
        """Count it no more, as its request has ended."""
        self._end_wait()
        if self.end_upload is not None:
            self.end_upload()

    def _end_wait(self) -> None:
        if self.end_wait is not None:
            self.end_wait()
            self.end_wait = None


def find_body_limit(scope: Scope) -> int:
    has_files = (
        Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")
    )
    return (
        MAX_UPLOAD_BYTES
        if has_files and scope["path"] in UPLOAD_PATHS
        else MAX_BODY_BYTES
    )


def find_peer(scope: Scope) -> str:
    """Return the key that counts a peer's uploads together."""
    host = (scope.get("client") or ("",))[0]
    try:
        return peer_key(host)
    except ValueError:
        return str(host)


class BodyRefusedError(Exception):
    """A body is larger than any form of ours, or there are too many uploads at once."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
