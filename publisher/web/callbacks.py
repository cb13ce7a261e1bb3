"""Callbacks of platforms: each account has a path, and a message there only makes us check earlier."""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from publisher.app.application import Application
from publisher.app.callbacks import CallbackEndpoint, check_now, make_endpoint_finder
from publisher.config import split_host_port
from publisher.contract import CallbackEvent, CallbackRequest
from publisher.domain.errors import Problem
from publisher.runtime.logs import log
from publisher.web.server import HttpServer, ServerRequest, ServerResponse, ThrottledLog

MAX_NONCES = 10_000
"""How many messages are remembered. An older one is rejected by its own timestamp."""
CHECK_NOW_INTERVAL = timedelta(seconds=10)
"""A job is checked early at most once in this time, however many messages arrive; the regular checks go on."""
ACKNOWLEDGEMENT = "success"
"""The reply that WeChat expects."""
REPLAY_RESPONSE = (200, ACKNOWLEDGEMENT)
"""The reply to a repeated message: a refusal would count as a failure, and WeChat would send it again."""
FORBIDDEN_RESPONSE = (403, "")
"""The one reply to all that is not authenticated, so that it does not reveal which accounts exist."""
LOG_INTERVAL_SECONDS = 60.0
"""Interval of log lines about refused messages."""

FindEndpoint = Callable[[str, str], CallbackEndpoint | None]
CheckNow = Callable[[CallbackEndpoint, CallbackEvent], Awaitable[int]]
"""Schedules the check of what an event refers to for now; returns the number of deliveries."""


@dataclass(slots=True)
class SeenNonces:
    """When each nonce of an account was seen; the newest MAX_NONCES."""

    _instants: OrderedDict[tuple[str, str], datetime] = field(default_factory=OrderedDict)

    def seen_at(self, account: str, name: str) -> datetime | None:
        return self._instants.get((account, name))

    def add(self, account: str, name: str, at: datetime) -> None:
        self._instants[account, name] = at
        self._instants.move_to_end((account, name))
        while len(self._instants) > MAX_NONCES:
            self._instants.popitem(last=False)

    def discard(self, account: str, name: str) -> None:
        self._instants.pop((account, name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackHandler:
    """Handles messages. Unauthenticated and repeated ones change nothing."""

    find_endpoint: FindEndpoint
    check_now: CheckNow
    now: Callable[[], datetime]
    nonces: SeenNonces = field(default_factory=SeenNonces)
    recent_checks: SeenNonces = field(default_factory=SeenNonces)
    rejection_log: ThrottledLog = field(default_factory=lambda: ThrottledLog(LOG_INTERVAL_SECONDS))

    async def handle(self, request: ServerRequest) -> ServerResponse:
        """Reply to a request. Its body is read only if its query is signed, fresh and not seen before."""
        endpoint = None
        match request.path.split("/"):
            case ["", "callback", platform, account]:
                endpoint = self.find_endpoint(platform, account)
        if endpoint is None or request.method not in {"GET", "POST"}:
            self.rejection_log.warn("callback_refused", "unknown_address")
            return FORBIDDEN_RESPONSE
        nonce = endpoint.verify(request.query, self.now())
        if isinstance(nonce, Problem):
            return self._refuse(endpoint, nonce)
        if request.method == "GET":
            echo = endpoint.verify_endpoint(CallbackRequest(query=request.query), self.now())
            return self._refuse(endpoint, echo) if isinstance(echo, Problem) else (200, echo)
        if self._is_repeated(endpoint, nonce):
            return REPLAY_RESPONSE
        body = await request.body()
        if self._is_repeated(endpoint, nonce):  # it arrived on two connections at once
            return REPLAY_RESPONSE
        self.nonces.add(endpoint.account.id, nonce, self.now())
        event = endpoint.parse(CallbackRequest(query=request.query, body=body), self.now())
        if isinstance(event, Problem):
            return self._refuse(endpoint, event)
        if event is not None:
            await self._handle_event(endpoint, nonce, event)
        return 200, ACKNOWLEDGEMENT

    def _is_repeated(self, endpoint: CallbackEndpoint, nonce: str) -> bool:
        if self.nonces.seen_at(endpoint.account.id, nonce) is None:
            return False
        self.rejection_log.warn("callback_replayed", "callback_replayed", account=endpoint.account.id)
        return True

    async def _handle_event(self, endpoint: CallbackEndpoint, nonce: str, event: CallbackEvent) -> None:
        """Check what an event refers to, unless that was done recently. If it fails, the message may be repeated."""
        account, now = endpoint.account.id, self.now()
        last = self.recent_checks.seen_at(account, event.job_id)
        if last is not None and timedelta(0) <= now - last < CHECK_NOW_INTERVAL:
            self.rejection_log.warn("callback_too_soon", "callback_too_soon", account=account)
            return
        self.recent_checks.add(account, event.job_id, now)
        try:
            checked = await self.check_now(endpoint, event)
        except BaseException:  # a cancellation too: the message counts as unseen, and the platform sends it again
            self.nonces.discard(account, nonce)
            self.recent_checks.discard(account, event.job_id)
            raise
        log.info("callback_received", account=account, number=event.job_id, checked=checked)

    def _refuse(self, endpoint: CallbackEndpoint, problem: Problem) -> ServerResponse:
        self.rejection_log.warn("callback_refused", problem.code, account=endpoint.account.id)
        return FORBIDDEN_RESPONSE


LISTEN_BACKLOG = 4096
"""Connections that wait in the kernel, at no cost to us: at 1000 a second the last waits four seconds, WeChat five."""


@contextlib.asynccontextmanager
async def serve_callbacks(application: Application, report: Callable[..., None]) -> AsyncIterator[None]:
    """Listen for platforms' messages, if the settings name an address.

    `report` is called with a message code and the address. If listening fails, nothing stops: the regular checks find
    everything without callbacks.
    """
    listen = application.settings.callbacks.listen
    if listen is None:
        yield
        return
    try:
        listening_socket = await asyncio.to_thread(bind_socket, listen)
    except OSError as error:
        log.error("callbacks_listen_failed", listen=listen, error=error.strerror or type(error).__name__)
        report("callbacks_listen_failed", address=listen)
        yield
        return
    report("callbacks_listening", address=listen)
    handler = CallbackHandler(
        find_endpoint=make_endpoint_finder(application.settings),
        check_now=partial(check_now, application.store.outbox),
        now=application.runtime.now,
    )
    async with HttpServer(listening_socket=listening_socket, handler=handler.handle).serving():
        try:
            yield
        finally:
            handler.rejection_log.close()


def bind_socket(listen: str) -> socket.socket:
    """Bind the address at once, so that an error is known before anything depends on it. Raises OSError."""
    family, kind, _protocol, _name, address = socket.getaddrinfo(*split_host_port(listen), type=socket.SOCK_STREAM)[0]
    listening_socket = socket.socket(family, kind)
    try:
        listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening_socket.bind(address)
        listening_socket.listen(LISTEN_BACKLOG)
    except OSError:
        listening_socket.close()
        raise
    return listening_socket
