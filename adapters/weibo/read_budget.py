"""How many reads a day a login has made, where the platform gives few."""

from dataclasses import dataclass

from publisher.contract import AdapterContext
from publisher.domain.rate_limit import BEIJING

_STATE_KEY = "reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBudget:
    """The count of Beijing's present day. Watching and measuring stop at `spare`; ending a doubt never does.

    Reads that wait together and are answered by one call count as often as they were wanted.
    """

    context: AdapterContext
    max_optional_reads: int | None

    async def try_take(self, *, is_optional: bool) -> bool:
        """Count one read, and say whether it may be made."""
        if self.max_optional_reads is None:
            return True
        made = await self._count_today()
        if is_optional and made >= self.max_optional_reads:
            return False
        await self.context.state.set(_STATE_KEY, f"{self._today} {made + 1}")
        return True

    async def _count_today(self) -> int:
        day, _, made = (await self.context.state.get(_STATE_KEY) or "").partition(" ")
        return int(made) if day == self._today else 0

    @property
    def _today(self) -> str:
        return self.context.now().astimezone(BEIJING).date().isoformat()
