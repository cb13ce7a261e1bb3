"""What each platform hands to the front door and to the control endpoints."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .request import ApiRequest, ApiResponse
from .state import SimulatedPost


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform, as the front door needs to know it."""

    name: str
    endpoints: Mapping[str, Callable[[ApiRequest], ApiResponse]]
    identify_caller: Callable[[ApiRequest], str]
    """The identity a call claims, without judging it; empty when it claims none."""
    refuse: Callable[[ApiRequest, str, str | None], ApiResponse]
    """The platform's own words for an error code, with a message of one's choice."""
    refuse_unknown: Callable[[ApiRequest], ApiResponse]
    expire_token: Callable[[ApiRequest], ApiResponse | None]
    """Make the caller's sign-in worthless; an answer when the call need not run any more."""
    fault_codes: Mapping[str, str]
    """The code behind the faults `duplicate` and `captcha`."""
    id_keys: frozenset[str]
    """What the fault `no_id` leaves out."""
    make_external_post: Callable[[Mapping[str, Any]], SimulatedPost]
    """A post as if a person had written it on the platform's own site."""
    get_public_url: Callable[[SimulatedPost], str]
    """Where the public reads a post on the real platform."""
    make_secret: Callable[[str], dict[str, str]]
    """Made-up credentials of an identity, the same each time, in the secret's shape."""
    delayed_success_codes: frozenset[str] = frozenset()
    """Codes that mean: done, but you cannot see it yet."""
    register_callback: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None
    """Take an address that wants to be told of events; ValueError says why it is not taken."""
