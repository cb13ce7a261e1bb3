"""Callbacks of platforms: each account has a path. A message there only causes an early check."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from publisher.app.adapters import get_hook, load_factories
from publisher.app.application import Application
from publisher.config import Settings
from publisher.contract import CallbackEvent, CallbackRequest, PlatformCallbacks
from publisher.domain.account import Account, AccountId, Mode
from publisher.domain.addresses import split_host_port
from publisher.domain.characters import is_storable, replace_unstorable
from publisher.domain.errors import Problem
from publisher.runtime.bounded_dict import BoundedDict
from publisher.runtime.logs import log
from publisher.secrets import SecretError, open_vault, read_secret
from publisher.store.deliveries.outbox import Outbox
from publisher.store.monitor.adapter_state import StoredAdapterState
from publisher.store.store import Store
from publisher.web.http.server import (
    HttpServer,
    ServerRequest,
    ServerResponse,
    ThrottledLog,
)

MAX_NONCES = 10_000
"""How many messages are remembered. An older one is rejected by its own timestamp."""
CHECK_NOW_INTERVAL = timedelta(seconds=10)
"""A job is checked early at most once in this time, for any number of messages.

The regular checks go on.
"""
FORBIDDEN_RESPONSE = (403, "")
"""The one reply to every unauthenticated message, so that it does not reveal existing accounts."""
SECRET_CACHE_SECONDS = 1.0
"""How long a secret is cached, so that forged messages do not make us read it every time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEndpoint:
    """One account, its platform's callbacks and its secret."""

    account: Account
    callbacks: PlatformCallbacks
    secret: Mapping[str, str] = field(repr=False)

    def verify(self, query: Mapping[str, str], now: datetime) -> str | Problem:
        return self.callbacks.verify(self.account, self.secret, query, now)

    def verify_endpoint(
        self, callback: CallbackRequest, now: datetime
    ) -> str | Problem:
        return self.callbacks.verify_endpoint(self.account, self.secret, callback, now)

    def parse(
        self, callback: CallbackRequest, now: datetime
    ) -> CallbackEvent | Problem | None:
        return self.callbacks.parse(self.account, self.secret, callback, now)


def make_endpoint_finder(
    settings: Settings, clock: Callable[[], float] = time.monotonic
) -> Callable[[str, str], CallbackEndpoint | None]:
    """Return a function that finds an account's endpoint by platform and name, from any sender.

    It returns None for an account that does not exist or is off. It also returns None if the
    platform sends no callbacks, or if the secret has nothing to verify them with. The secret is
    read again after SECRET_CACHE_SECONDS, measured by `clock`.
    """
    accounts = {
        key: account
        for key, account in settings.accounts.items()
        if account.mode is not Mode.OFF
    }
    factories = load_factories(accounts.values())
    endpoints: dict[AccountId, tuple[float, CallbackEndpoint | None]] = {}

    def find(platform: str, name: str) -> CallbackEndpoint | None:
        account = accounts.get(AccountId(name))
        if account is None or account.platform != platform:
            return None
        callbacks: PlatformCallbacks | None = get_hook(
            factories[account.platform], "callbacks"
        )
        if callbacks is None:
            return None
        read_at, endpoint = endpoints.get(account.id, (-SECRET_CACHE_SECONDS, None))
        if clock() - read_at >= SECRET_CACHE_SECONDS:
            endpoint = read_endpoint(account, callbacks)
            endpoints[account.id] = clock(), endpoint
        return endpoint

    def read_endpoint(
        account: Account, callbacks: PlatformCallbacks
    ) -> CallbackEndpoint | None:
        try:
            secret = read_secret(
                account.secret,
                secrets_dir=settings.secrets_dir,
                vault=open_vault(settings.workspace),
            )
        except SecretError:
            return None
        if not callbacks.is_configured(secret):
            return None
        return CallbackEndpoint(account=account, callbacks=callbacks, secret=secret)

    return find


async def note_event(
    store: Store, endpoint: CallbackEndpoint, event: CallbackEvent
) -> int:
    """Schedule the check of an event's delivery for now, and record that an event has come."""
    checked = await check_now(store.outbox, endpoint, event)
    await store.callback_arrivals.note(endpoint.account.id)
    return checked


async def check_callbacks(application: Application, since: datetime) -> int:
    """Keep an alert for each account that should have caused callbacks. Return the changes.

    Only posts since an instant count.
    """
    settings = application.settings

    def list_receiving() -> list[AccountId]:
        find = make_endpoint_finder(settings)
        return [
            account.id
            for account in settings.accounts.values()
            if account.mode is Mode.API and find(account.platform, account.id)
        ]

    accounts: list[AccountId] = []
    if settings.callbacks.listen is not None:
        accounts = await asyncio.to_thread(list_receiving)
    return await application.store.callback_arrivals.update(accounts, since)


async def check_now(
    outbox: Outbox, endpoint: CallbackEndpoint, event: CallbackEvent
) -> int:
    """Schedule the check of an event's delivery for now, and save the platform's reason."""
    if event.reason and is_storable(event.job_id):
        state = StoredAdapterState(
            database=outbox.database, login=endpoint.account.login
        )
        await state.set(f"said:{event.job_id}", replace_unstorable(event.reason))
    return await outbox.check_now(
        endpoint.account.id, partial(endpoint.callbacks.matches, event)
    )


@dataclass(slots=True)
class SeenNonces:
    """When each nonce of an account was seen; the newest MAX_NONCES."""

    _instants: BoundedDict[tuple[str, str], datetime] = field(
        default_factory=lambda: BoundedDict(MAX_NONCES)
    )

    def seen_at(self, account: str, name: str) -> datetime | None:
        return self._instants.get((account, name))

    def add(self, account: str, name: str, at: datetime) -> None:
        self._instants[account, name] = at

    def discard(self, account: str, name: str) -> None:
        self._instants.pop((account, name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackHandler:
    """Handles messages. Unauthenticated and repeated ones change nothing.

    `check_now` schedules the check of the event's deliveries for now, and returns the number of
    deliveries.
    """

    find_endpoint: Callable[[str, str], CallbackEndpoint | None]
    check_now: Callable[[CallbackEndpoint, CallbackEvent], Awaitable[int]]
    now: Callable[[], datetime]
    nonces: SeenNonces = field(default_factory=SeenNonces)
    recent_checks: SeenNonces = field(default_factory=SeenNonces)
    rejection_log: ThrottledLog = field(default_factory=ThrottledLog)

    async def handle(self, request: ServerRequest) -> ServerResponse:
        """Reply to a request. Its body is read only if its query is signed, fresh and new."""
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
            echo = endpoint.verify_endpoint(
                CallbackRequest(query=request.query), self.now()
            )
            return (
                self._refuse(endpoint, echo)
                if isinstance(echo, Problem)
                else (200, echo)
            )
        accepted = 200, endpoint.callbacks.acknowledgement
        # a refusal would count as a failure, and it would be sent again
        if self._is_repeated(endpoint, nonce):
            return accepted
        body = await request.body()
        if self._is_repeated(endpoint, nonce):  # it arrived on two connections at once
            return accepted
        self.nonces.add(endpoint.account.id, nonce, self.now())
        event = endpoint.parse(
            CallbackRequest(query=request.query, body=body), self.now()
        )
        if isinstance(event, Problem):
            return self._refuse(endpoint, event)
        if event is not None:
            await self._handle_event(endpoint, nonce, event)
        return accepted

    def _is_repeated(self, endpoint: CallbackEndpoint, nonce: str) -> bool:
        if self.nonces.seen_at(endpoint.account.id, nonce) is None:
            return False
        self.rejection_log.warn(
            "callback_replayed", "callback_replayed", account=endpoint.account.id
        )
        return True

    async def _handle_event(
        self, endpoint: CallbackEndpoint, nonce: str, event: CallbackEvent
    ) -> None:
        """Check the deliveries of an event, unless that was done recently.

        If it fails, the message may be repeated.
        """
        account, now = endpoint.account.id, self.now()
        last = self.recent_checks.seen_at(account, event.job_id)
        if last is not None and timedelta(0) <= now - last < CHECK_NOW_INTERVAL:
            self.rejection_log.warn(
                "callback_too_soon", "callback_too_soon", account=account
            )
            return
        self.recent_checks.add(account, event.job_id, now)
        try:
            checked = await self.check_now(endpoint, event)
        # a cancellation too: the message counts as unseen, and the platform sends it again
        except BaseException:
            self.nonces.discard(account, nonce)
            self.recent_checks.discard(account, event.job_id)
            raise
        log.info(
            "callback_received", account=account, number=event.job_id, checked=checked
        )

    def _refuse(self, endpoint: CallbackEndpoint, problem: Problem) -> ServerResponse:
        self.rejection_log.warn(
            "callback_refused", problem.code, account=endpoint.account.id
        )
        return FORBIDDEN_RESPONSE


LISTEN_BACKLOG = 4096
"""Connections that wait in the kernel, at no cost to us.

At 1000 a second the last one waits 4 s. Platforms wait 5 s.
"""


@contextlib.asynccontextmanager
async def serve_callbacks(
    application: Application, report: Callable[..., None]
) -> AsyncIterator[None]:
    """Listen for platforms' messages, if the settings name an address.

    `report` is called with a message code and the address. If listening fails, nothing stops: the
    regular checks find everything without callbacks.
    """
    listen = application.settings.callbacks.listen
    set_alert = application.store.system_alerts.set_callbacks_alert
    if listen is None:
        await set_alert("")
        yield
        return
    try:
        listening_socket = await asyncio.to_thread(bind_socket, listen)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        log.error("callbacks_listen_failed", listen=listen, error=reason)
        report("callbacks_listen_failed", address=listen)
        await set_alert(f"{listen}: {reason}")
        yield
        return
    report("callbacks_listening", address=listen)
    await set_alert("")
    handler = CallbackHandler(
        find_endpoint=make_endpoint_finder(application.settings),
        check_now=partial(note_event, application.store),
        now=application.runtime.now,
    )
    async with HttpServer(
        listening_socket=listening_socket, handler=handler.handle
    ).serving():
        try:
            yield
        finally:
            handler.rejection_log.close()


def bind_socket(listen: str) -> socket.socket:
    """Bind the address at once, so that an error is known early. Raises OSError."""
    family, kind, _protocol, _name, address = socket.getaddrinfo(
        *split_host_port(listen), type=socket.SOCK_STREAM
    )[0]
    listening_socket = socket.socket(family, kind)
    try:
        listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening_socket.bind(address)
        listening_socket.listen(LISTEN_BACKLOG)
    except OSError:
        listening_socket.close()
        raise
    return listening_socket
