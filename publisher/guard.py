"""The wall round an adapter: whatever escapes it is a bug, and costs certainty, never the daemon."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, cast

from publisher.concealing import conceal
from publisher.domain.outcome import Unknown
from publisher.telemetry import log

A = TypeVar("A")


async def guarded(answer: Awaitable[A], most: timedelta) -> A | Unknown:
    """Wait for an adapter's answer, at most so long, and take it without secrets. Never raises.

    Its reason may be the platform's own words, and a platform, or a proxy on the way, may repeat what it was sent.
    """
    try:
        async with asyncio.timeout(most.total_seconds()):
            return _without_secrets(await answer)
    except TimeoutError:
        return Unknown(reason="timeout")
    except Exception as error:  # noqa: BLE001 # an adapter's bug must not cost the truth about its call
        log.exception("adapter_failed", error=type(error).__name__)
        return Unknown(reason="adapter_failed")


def _without_secrets(answer: A) -> A:
    reason = getattr(answer, "reason", None)
    if not isinstance(reason, str):
        return answer
    return cast("A", replace(cast("Any", answer), reason=conceal(reason)))
