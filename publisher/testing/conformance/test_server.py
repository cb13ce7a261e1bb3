"""The kit's interface to a test server: to see the created posts, and to inject faults."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol


class FaultTarget(StrEnum):
    """The calls that a fault applies to."""

    CREATE = "create"  # the creating call
    LIST = "list"  # the calls of `find_post`
    RETRACT = "retract"  # the call that deletes a post
    PROBE = "probe"  # the calls of `check_health`
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPost:
    """One post ever created on the account, as the platform itself knows it."""

    remote_id: str
    is_published: bool
    text: str = field(repr=False)


class PlatformDouble(Protocol):
    """A platform with one account on it, listening on this machine.

    Kinds of faults and their fields are those of the simulator (docs/simulator.md). A test server without such a fault
    returns False, and the check is skipped.
    """

    @property
    def base_url(self) -> str: ...

    async def posts(self) -> Sequence[PlatformPost]:
        """Return every post ever created on the account, deleted ones included."""

    async def inject_fault(self, target: FaultTarget, kind: str, **facts: object) -> bool:
        """Inject a fault into every such call until `clear_faults`; return False if this server cannot."""

    async def clear_faults(self) -> None:
        """Remove all faults."""

    async def remove(self, remote_id: str) -> None:
        """Delete a post as the platform does, not its author."""

    async def post_manually(self, title: str, text: str) -> str:
        """Create a post as a person would, and return its id."""

    async def advance_time(self, duration: timedelta) -> None:
        """Advance the platform's clock, and run what has become due."""
