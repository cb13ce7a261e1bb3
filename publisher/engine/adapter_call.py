"""Call an adapter with a timeout. Any exception becomes Unknown, so an adapter bug cannot crash the daemon."""

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
    """Await an adapter's call for at most `time_limit`, and return its result with secrets redacted. Never raises.

    The result's reason may be the platform's own text, and a platform, or a proxy, may repeat what it was sent.
    """
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            result = await call
        reason = getattr(result, "reason", None)
        return (
            cast("A", replace(cast("Any", result), reason=redact_text(reason))) if isinstance(reason, str) else result
        )
    except TimeoutError:
        return Unknown(reason="time_limit")
    except Exception as error:  # noqa: BLE001 # an adapter's bug must not cost the truth about its call
        log.exception("adapter_failed", error=type(error).__name__)
        return Unknown(reason="adapter_failed")
