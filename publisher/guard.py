"""The wall round an adapter: whatever escapes it is a bug, and costs certainty, never the daemon."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from publisher.domain.outcome import Unknown
from publisher.telemetry import log

A = TypeVar("A")


async def guarded(answer: Awaitable[A], most: timedelta) -> A | Unknown:
    """Wait for an adapter's answer, at most so long. Never raises."""
    try:
        async with asyncio.timeout(most.total_seconds()):
            return await answer
    except TimeoutError:
        return Unknown(reason="timeout")
    except Exception as error:  # noqa: BLE001 # an adapter's bug must not cost the truth about its call
        log.exception("adapter_failed", error=type(error).__name__)
        return Unknown(reason="adapter_failed")
