"""The wall round an adapter: whatever escapes it is a bug, and costs certainty, never the daemon."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, cast

from publisher.domain.results import Unknown
from publisher.runtime.logs import log
from publisher.runtime.redaction import redact_text

A = TypeVar("A")


async def call_adapter(call: Awaitable[A], time_limit: timedelta) -> A | Unknown:
    """Wait for an adapter's answer, at most so long, and take it without secrets. Never raises.

    Its reason may be the platform's own words, and a platform, or a proxy on the way, may repeat what it was sent.
    """
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            return _redact_reason(await call)
    except TimeoutError:
        return Unknown(reason="time_limit")
    except Exception as error:  # noqa: BLE001 # an adapter's bug must not cost the truth about its call
        log.exception("adapter_failed", error=type(error).__name__)
        return Unknown(reason="adapter_failed")


def _redact_reason(answer: A) -> A:
    reason = getattr(answer, "reason", None)
    if not isinstance(reason, str):
        return answer
    return cast("A", replace(cast("Any", answer), reason=redact_text(reason)))
