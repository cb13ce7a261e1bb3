"""Requests begin in turns: each session has own places, and all without one share a few."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from publisher.web.http.middleware import find_peer

PLACES = 4
"""Requests of one session, and of all clients without one together, processed at once.

The rest is mostly waiting.
"""
PLACES_OF_USER = 3 * PLACES
"""More than one session has: the owner of a stolen session signs in again, and is served."""
LINGER_SECONDS = 0.5
LARGE_RESPONSE_BYTES, CHUNK_BYTES = 2**18, 2**16
"""A large response is sent in chunks, so that no more than a chunk waits in the connection."""
TURN = "publisher.turn"
"""The key of a request's scope that has its turn."""


@dataclass(slots=True)
class Places:
    """A number of places, of which a client has PLACES. If all are taken, clients get one in turns.

    The number of requests that a client has waiting makes no difference.
    """

    most: int = PLACES
    taken: Counter[str] = field(default_factory=Counter)
    """The places of each client."""
    waiting: OrderedDict[str, deque[asyncio.Future[bool]]] = field(
        default_factory=OrderedDict
    )

    def has_room(self, client: str) -> bool:
        return self.taken.total() < self.most and self.taken[client] < PLACES

    def take(self, client: str) -> asyncio.Future[bool]:
        """Return a future: True once there is a place, False if its client has gone before."""
        place = asyncio.get_running_loop().create_future()
        if self.has_room(client):
            self.taken[client] += 1
            place.set_result(True)
        else:
            self.waiting.setdefault(client, deque()).append(place)
        return place

    def give_back(self, client: str) -> None:
        """Give a place back, to the client with the next turn if any waits."""
        self.taken[client] -= 1
        self.taken = +self.taken  # without the clients that have none
        for following in list(self.waiting):
            requests = self.waiting[following]
            while requests and self.has_room(following):
                place = requests.popleft()
                self.waiting.move_to_end(following)
                if not place.done():
                    self.taken[following] += 1
                    place.set_result(True)
            if not requests:
                del self.waiting[following]


@dataclass(slots=True, kw_only=True)
class RequestTurn:
    """A request's place, which it lacks while its body is awaited and once its response begins.

    So slow clients hold up nobody: a response waits for a client that does not read. A live page
    takes a place again, until its first parts are shown. A large response to a session keeps its
    place until it is sent: else a user that does not read would fill the memory.
    """

    places: Places
    client: str
    is_own: bool
    """True if the places belong to one user."""
    is_body_missing: bool
    is_large: bool = False
    place: asyncio.Future[bool] | None = None

    @property
    def is_queued(self) -> bool:
        return self.place is not None and not self.place.done()

    async def begin(self) -> bool:
        """Wait for a place; return False if the client has gone."""
        self.place = self.places.take(self.client)
        return await self.place

    def end(self) -> None:
        """Give the place back, or wait no longer for one."""
        place, self.place = self.place, None
        if place is None or place.cancelled():
            return
        if not place.done():
            place.set_result(False)
        elif place.result():
            self.places.give_back(self.client)

    async def linger(self) -> None:
        """Keep a place of one user for a moment.

        A flood of requests to refuse then takes its time from that user.
        """
        if self.is_own:
            await asyncio.sleep(LINGER_SECONDS)

    async def receive(self, receive: Receive) -> Message:
        if not self.is_body_missing:
            return await receive()
        self.end()
        message = await receive()
        if not message.get("more_body", False):
            self.is_body_missing = False
            await self.begin()
        return message

    async def send(self, send: Send, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_large = self.is_own and find_length(message) > LARGE_RESPONSE_BYTES
        if not self.is_large:
            self.end()
        for part in split_body(message):
            await send(part)
        if message["type"] == "http.response.start" and is_stream(message):
            await self.begin()


def find_length(start: Message) -> int:
    """Return the length of a response that is announced at its start; 0 for a stream."""
    lengths = [value for name, value in start["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths else 0


def split_body(message: Message) -> Iterator[Message]:
    """Yield a message of a response in chunks."""
    body = message.get("body", b"")
    if len(body) <= CHUNK_BYTES:
        yield message
        return
    for start in range(0, len(body), CHUNK_BYTES):
        is_last = start + CHUNK_BYTES >= len(body)
        chunk = body[start : start + CHUNK_BYTES]
        more_body = message.get("more_body", False) or not is_last
        yield {**message, "body": chunk, "more_body": more_body}


def is_stream(start: Message) -> bool:
    """Return True if a response is a stream of events."""
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start["headers"]
    )


class FairTurns:
    """Lets requests begin in turns, so that a flood of one client waits for itself.

    `find_session` returns the session that a request names, empty without any. `find_known_user`
    returns the user that it is from, empty without a session, None for one that `find_user` has to
    look up.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        find_session: Callable[[Scope], str],
        find_known_user: Callable[[Scope], str | None],
        find_user: Callable[[Scope], Awaitable[str]],
    ) -> None:
        self.app = app
        self.find_session = find_session
        self.find_known_user = find_known_user
        self.find_user = find_user
        self.of_users: dict[str, Places] = {}
        self.of_others = Places()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_body_missing = scope["method"] not in {"GET", "HEAD"}
        turn = scope[TURN] = RequestTurn(
            places=self.of_others,
            client=find_peer(scope),
            is_own=False,
            is_body_missing=is_body_missing,
        )
        user = self.find_known_user(scope)
        try:
            if user is None:
                if not await turn.begin():
                    return
                if (
                    user := self.find_known_user(scope)
                ) is None:  # else another request of the session came first
                    user = await self.find_user(scope)
                turn.end()
            if user:
                turn.places = self.of_users.setdefault(user, Places(PLACES_OF_USER))
                turn.client, turn.is_own = self.find_session(scope), True
            if await turn.begin():
                await self.app(
                    scope, partial(turn.receive, receive), partial(turn.send, send)
                )
        finally:
            turn.end()
            if (
                user
                and not turn.places.taken.total()
                and self.of_users.get(user) is turn.places
            ):
                del self.of_users[user]
