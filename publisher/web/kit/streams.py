"""The open streams of live pages, and their limits."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

MAX_STREAMS_PER_SESSION, MAX_STREAMS_PER_USER, MAX_STREAMS = 12, 24, 1024
"""A page has a stream while it is visible.

All streams take half of the connections: the rest is for requests.
"""
MAX_HELD_PER_USER = 2 * MAX_STREAMS_PER_USER
"""This includes recently displaced streams. They hold their connections for a second at most."""
OPENING_SECONDS = 10.0
"""In this time a user opens MAX_STREAMS_PER_USER streams at most.

A new stream reads all contents of its page.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class OpenStream:
    """The stream of one open page. One that is displaced ends, to make room for a newer one.

    `ending` is set once it has to look whether its session has ended: it ends then at once.
    """

    user: str
    session_id: str = field(repr=False)
    is_displaced: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Streams:
    """The open streams of each user, oldest first, and the time of the user's last opening."""

    by_user: dict[str, list[OpenStream]] = field(default_factory=dict)
    openings: dict[str, deque[float]] = field(default_factory=dict)

    def is_full_for(self, user: str, now: float) -> bool:
        """True if a user may open no other stream now.

        First some of their own have to end, or some seconds have to pass.
        """
        openings = self.openings.get(user, deque[float]())
        is_hasty = (
            len(openings) == MAX_STREAMS_PER_USER
            and now - openings[0] < OPENING_SECONDS
        )
        return is_hasty or len(self.by_user.get(user, ())) >= MAX_HELD_PER_USER

    def add(self, stream: OpenStream, now: float) -> None:
        """Add a stream.

        If there are too many, displace the oldest one of its session, its user or the user with the
        most. Nobody who opens many pages takes the place of others.
        """
        self.openings.setdefault(
            stream.user, deque(maxlen=MAX_STREAMS_PER_USER)
        ).append(now)
        own = self.by_user.setdefault(stream.user, [])
        own.append(stream)
        of_user = [each for each in own if not each.is_displaced]
        of_session = [each for each in of_user if each.session_id == stream.session_id]
        if len(of_session) > MAX_STREAMS_PER_SESSION:
            of_session[0].is_displaced = True
        elif len(of_user) > MAX_STREAMS_PER_USER:
            of_user[0].is_displaced = True
        elif sum(map(len, self.by_user.values())) > MAX_STREAMS:
            open_streams = (
                [each for each in held if not each.is_displaced]
                for held in self.by_user.values()
            )
            max(open_streams, key=len)[0].is_displaced = True

    def end_session(self, session_id: str) -> None:
        """Let the streams of a session look whether it has ended."""
        for stream in (
            each
            for own in self.by_user.values()
            for each in own
            if each.session_id == session_id
        ):
            stream.ending.set()

    def end_user(self, user: str) -> None:
        """Let a user's streams check whether their sessions have ended, or roles have changed."""
        for stream in self.by_user.get(user, ()):
            stream.ending.set()

    def remove(self, stream: OpenStream) -> None:
        own = self.by_user[stream.user]
        own.remove(stream)
        if not own:
            del self.by_user[stream.user]
