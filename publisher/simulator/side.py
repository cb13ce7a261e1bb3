"""What each platform hands to the front door and to the control endpoints."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .call import Answer, Call
from .world import Post


@dataclass(frozen=True, slots=True)
class Side:
    """One platform, as the front door needs to know it."""

    name: str
    endpoints: Mapping[str, Callable[[Call], Answer]]
    who: Callable[[Call], str]
    """The identity a call claims, without judging it; empty when it claims none."""
    refuse: Callable[[Call, str, str | None], Answer]
    """The platform's own words for an error code, with a message of one's choice."""
    unknown: Callable[[Call], Answer]
    expire: Callable[[Call], Answer | None]
    """Make the caller's sign-in worthless; an answer when the call need not run any more."""
    codes: Mapping[str, str]
    """The code behind the faults `duplicate` and `captcha`."""
    id_keys: frozenset[str]
    """What the fault `no_id` leaves out."""
    by_hand: Callable[[Mapping[str, Any]], Post]
    """A post as if a person had written it on the platform's own site."""
    address: Callable[[Post], str]
    """Where the public reads a post on the real platform."""
    secret: Callable[[str], dict[str, str]]
    """Made-up credentials of an identity, the same each time, in the secret's shape."""
    late_success: frozenset[str] = frozenset()
    """Codes that mean: done, but you cannot see it yet."""
    listen: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None
    """Take an address that wants to be told of events; ValueError says why it is not taken."""
