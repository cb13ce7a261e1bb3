"""What the kit needs of a platform's double: to see what was made there, and to let it misbehave."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol


class FaultTarget(StrEnum):
    """Which calls a fault is about."""

    CREATE = "create"  # the creating call
    LIST = "list"  # what `find` reads
    RETRACT = "retract"  # the call that takes a post down
    PROBE = "probe"  # what `probe` reads
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPost:
    """One post that was ever made on the account, as the platform itself knows it."""

    remote_id: str
    is_published: bool
    text: str = field(repr=False)


class PlatformDouble(Protocol):
    """A platform with one account on it, listening on this machine.

    The kinds of faults and their facts are those of publisher's simulator (docs/simulator.md); a double that has no
    such fault answers False, and that check is skipped.
    """

    @property
    def base_url(self) -> str: ...

    async def posts(self) -> Sequence[PlatformPost]:
        """Give every post ever made on the account, those taken down too."""
        ...

    async def inject_fault(self, target: FaultTarget, kind: str, **facts: object) -> bool:
        """Let every such call go wrong until `heal`; False where this double cannot."""
        ...

    async def clear_faults(self) -> None:
        """Let every call succeed again."""
        ...

    async def remove(self, remote_id: str) -> None:
        """Take a post down, as the platform does it to its users."""
        ...

    async def post_manually(self, title: str, text: str) -> str:
        """Post as a person would, and give the post's id."""
        ...

    async def advance_time(self, duration: timedelta) -> None:
        """Move the platform's clock on, and do what has become due."""
        ...
