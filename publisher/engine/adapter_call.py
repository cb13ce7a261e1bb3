"""Call an adapter with a timeout, and look for posts that persons publish.

Any exception of an adapter becomes Unknown, so a bug in it cannot crash the daemon.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, cast

from publisher.contract import Adapter
from publisher.domain.rendered import SendRequest
from publisher.domain.results import Deleted, PossibleMatch, Published, RateLimited, ReadbackResult, Submitted, Unknown
from publisher.domain.verification import matches_text
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


async def find_post(adapter: Adapter, request: SendRequest) -> ReadbackResult:
    """Look for the post of a request on the account. A manual post must match our text too, not only carry our marker.

    A ticket of the platform proves no manual post: only what anybody can see does.
    """
    found = await adapter.find_post(request)
    if not request.is_manual:
        return found
    if isinstance(found, Submitted):
        found = await adapter.check_ticket(found.ticket)
        if not isinstance(found, Published | Deleted | RateLimited):
            return Unknown(reason="manual_task_in_review")
    if not isinstance(found, Published) or request.part:  # the adapter compares the text of a part
        return found
    recent = await adapter.list_recent()
    if isinstance(recent, RateLimited):
        return recent
    listed = () if isinstance(recent, Unknown) else recent
    texts = [item.text for item in listed if item.remote_id == found.receipt.remote_id]
    if not texts:
        return found
    rendered = request.rendered
    if matches_text((rendered.title, rendered.summary, rendered.text), texts[0], request.marker):
        return Published(receipt=found.receipt, is_text_confirmed=True)
    return PossibleMatch(remote_id=found.receipt.remote_id, url=found.receipt.url)
