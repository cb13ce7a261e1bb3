"""How many reads a day a login has made, where the platform gives few."""

from dataclasses import dataclass

from publisher.contract import AdapterKit
from publisher.domain.quota import BEIJING

_KEY = "reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """The count of Beijing's present day. Watching and measuring stop at `spare`; ending a doubt never does.

    Reads that wait together and are answered by one call count as often as they were wanted.
    """

    kit: AdapterKit
    spare: int | None

    async def take(self, *, is_spare: bool) -> bool:
        """Count one read, and say whether it may be made."""
        if self.spare is None:
            return True
        made = await self._made()
        if is_spare and made >= self.spare:
            return False
        await self.kit.notes.remember(_KEY, f"{self._day} {made + 1}")
        return True

    async def _made(self) -> int:
        day, _, made = (await self.kit.notes.recall(_KEY) or "").partition(" ")
        return int(made) if day == self._day else 0

    @property
    def _day(self) -> str:
        return self.kit.now().astimezone(BEIJING).date().isoformat()
