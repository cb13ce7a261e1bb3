"""A Retry-After is not read: every 429 waits as long as our own patience says, and no longer.

Breaks I15 (F26): after `status` 429 with `Retry-After: 60` the next creating call of that login reaches the platform
within seconds.
"""

from datetime import datetime

from adapters.wechat import codes
from publisher import contract


def _unread(_header: str | None, _now: datetime) -> datetime | None:
    return None


def plant() -> None:
    contract.parse_retry_after = _unread
    codes.parse_retry_after = _unread
