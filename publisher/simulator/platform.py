"""The interface of a platform to the application and the control endpoints."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .request import ApiRequest, ApiResponse
from .state import SimulatedPost, SimulatorState

Handler = Callable[[SimulatorState, ApiRequest], ApiResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    name: str
    endpoints: Mapping[str, Handler]
    identify_caller: Callable[[SimulatorState, ApiRequest], str]
    """Return the identity that a call claims, unchecked; empty if it claims none."""
    refuse: Callable[[ApiRequest, str, str | None], ApiResponse]
    """Return the platform's response for an error code, with an optional message of its own."""
    unknown_endpoint_code: str
    expire_token: Callable[[SimulatorState, ApiRequest], ApiResponse | None]
    """Expire the caller's credentials; return a response if the call need not run."""
    fault_codes: Mapping[str, str]
    """The error codes of the faults `duplicate` and `captcha`."""
    id_keys: frozenset[str]
    """The keys that the fault `no_id` removes."""
    make_external_post: Callable[[SimulatorState, Mapping[str, Any]], SimulatedPost]
    """Return a post as if a person had written it on the platform's own site."""
    get_public_url: Callable[[SimulatedPost], str]
    """Return the post's URL on the real platform."""
    make_secret: Callable[[str], dict[str, str]]
    """Return invented credentials of an identity, in the format of the secret.

    They are the same each time.
    """
    delayed_success_codes: frozenset[str] = frozenset()
    """Error codes that mean: done, but not visible yet."""
    vary_response: Callable[[SimulatorState, ApiResponse], ApiResponse] | None = None
    """Apply the settings that vary the format of a response."""
    finish_review: Callable[[SimulatorState, SimulatedPost], None] | None = None
    """React to the end of a post's review."""
    register_callback: (
        Callable[[SimulatorState, Mapping[str, Any]], Awaitable[dict[str, Any]]] | None
    ) = None
    """Register a URL for events; raises ValueError for an invalid registration."""
