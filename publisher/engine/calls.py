"""Calls with bounds: an adapter's call with a timeout, and concurrent work with a limit.

Any exception of an adapter becomes a result, so a bug in it cannot crash the daemon.
"""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from operator import is_
from typing import Any, TypeVar, cast

from publisher.contract import Adapter
from publisher.domain.characters import is_storable, replace_unstorable
from publisher.domain.errors import PublisherError
from publisher.domain.post import SendRequest
from publisher.domain.results import (
    Deleted,
    ObservedPost,
    PossibleMatch,
    Published,
    RateLimited,
    ReadbackResult,
    ReadFailure,
    Submitted,
    TransportReason,
    Unknown,
)
from publisher.domain.verification import matches_text
from publisher.runtime.logs import log
from publisher.runtime.redaction import redact_text
from publisher.secrets import TEMPORARY_ERRORS, SecretError
from publisher.store.system_alerts import is_outage

A = TypeVar("A")
TIME_LIMIT, ADAPTER_FAILED = "time_limit", "adapter_failed"
ABORT_REASONS = frozenset({TIME_LIMIT, ADAPTER_FAILED}) | TEMPORARY_ERRORS
"""Why an adapter's call ended without a result of its own."""
_PROSE_FIELDS = frozenset({"reason", "code", "text"})
"""Fields of results that no later call uses. A bad character in them can be replaced.

All other fields name something.
"""
_WEB_SCHEMES = ("https://", "http://")
"""Prefixes of a foreign post's address. A page and an alert lead people to it."""
_MAX_INTEGER = 2**31 - 1
"""The largest number that a column stores on every database."""


class _DamagedReplyError(PublisherError):
    """A platform's id, address, ticket or figure cannot be stored as it is."""


async def call_adapter(call: Awaitable[A], time_limit: timedelta) -> A | Unknown:
    """Await an adapter's call for up to `time_limit`; return its storable result. Never raises.

    Without a result this returns Unknown, with one of ABORT_REASONS. The result's reason may be the
    platform's own text. A platform, or a proxy, may repeat the data of the request in it.
    """
    try:
        async with asyncio.timeout(time_limit.total_seconds()):
            result = clean_result(await call)
        reason = getattr(result, "reason", None)
        return (
            cast("A", replace(cast("Any", result), reason=redact_text(reason)))
            if isinstance(reason, str)
            else result
        )
    except TimeoutError:
        return Unknown(reason=TIME_LIMIT)
    except SecretError as error:
        return Unknown(reason=error.code)
    except Exception as error:  # noqa: BLE001 # an adapter's bug must not cost the truth about its call
        # what an adapter keeps is in the database, whose outage is logged once
        if not is_outage(error):
            log.exception("adapter_failed", error=type(error).__name__)
        return Unknown(reason=ADAPTER_FAILED)


def clean_result(result: A) -> A | Unknown:
    """Return a result with every part storable; the same object if nothing is wrong with it.

    A platform that cuts its texts may leave half an emoji. It is replaced, and the proof by a code
    stays valid. An id, address, ticket or figure is used as it is or not at all: the reply is
    Unknown then.
    """
    try:
        return cast("A", _clean(result))
    except _DamagedReplyError:
        log.warning("reply_damaged", result=type(result).__name__)
        return Unknown(reason=TransportReason.BAD_RESPONSE)


def _clean(value: object, *, is_prose: bool = False) -> object:
    """Return a value with its prose cleaned.

    Raises _DamagedReplyError for anything else that cannot be stored.
    """
    match value:
        case str() if not is_storable(value):
            if not is_prose:
                raise _DamagedReplyError
            return replace_unstorable(value)
        case str() | bytes():
            return value
        case int() if abs(value) > _MAX_INTEGER:
            raise _DamagedReplyError
        case Mapping():
            # ids and figures: there is no prose to replace
            for item in (
                *value.keys(),
                *value.values(),
            ):
                _clean(item)
        case Sequence():
            cleaned = [_clean(item) for item in value]
            return value if all(map(is_, cleaned, value)) else cleaned
        case _ if is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: getattr(value, each.name) for each in fields(value)}
            changes = {
                name: _clean(part, is_prose=name in _PROSE_FIELDS)
                for name, part in parts.items()
            }
            if isinstance(value, ObservedPost) and not value.url.startswith(
                _WEB_SCHEMES
            ):
                changes["url"] = ""
            changed = {
                name: part for name, part in changes.items() if part is not parts[name]
            }
            return replace(value, **changed) if changed else value
    return value


async def find_post(adapter: Adapter, request: SendRequest) -> ReadbackResult:
    """Look for the post of a request on the account. A manual post must match our text and marker.

    A ticket of the platform proves no manual post: only a publicly visible post does. A post
    without its text in the present list proves nothing either.
    """
    found = await adapter.find_post(request)
    if not request.is_manual:
        return found
    if isinstance(found, Submitted):
        found = await adapter.check_ticket(found.ticket)
        if not isinstance(found, Published | Deleted | RateLimited):
            return Unknown(reason="manual_task_in_review")
    if (
        not isinstance(found, Published) or request.part
    ):  # the adapter compares the text of a part
        return found
    recent = await adapter.list_recent()
    if isinstance(recent, ReadFailure):
        return recent
    texts = [item.text for item in recent if item.remote_id == found.receipt.remote_id]
    if not texts:
        return Unknown(reason="manual_task_not_listed")
    rendered = request.rendered
    if matches_text(
        (rendered.title, rendered.summary, rendered.text), texts[0], request.marker
    ):
        return Published(receipt=found.receipt, is_text_confirmed=True)
    return PossibleMatch(remote_id=found.receipt.remote_id, url=found.receipt.url)


T = TypeVar("T")

REFILL_SECONDS, IDLE_SECONDS = 0.02, 0.1
"""How soon more work is taken while nothing ends.

REFILL applies if there may be more work than there was room for, else IDLE.
"""


async def run_bounded(
    take: Callable[[int], Awaitable[Sequence[T]]],
    work: Callable[[T], Coroutine[Any, Any, None]],
    limit: int,
    event: str,
    batch_size: int | None = None,
) -> int:
    """Take items and work on each, up to `limit` at once, until none is left. Return their number.

    At most `batch_size` are taken at a time, so that the first are worked on while others are still
    being taken. A finished item is replaced at once. If the last item was taken, it is replaced not
    sooner than REFILL_SECONDS later, together with the items that end meanwhile. Work that has
    begun is always awaited. A failure is logged as `event` and does not affect the others; that of
    a database that is away is logged once, by the job.

    Raises ExceptionGroup of the last failure once nothing is left to take. An error of `take` is
    raised at once.
    """
    running: set[asyncio.Task[None]] = set()
    taken = 0
    failure: Exception | None = None
    try:
        while True:
            room = min(limit - len(running), batch_size or limit)
            items = await take(room) if room else ()
            running |= {asyncio.create_task(work(item)) for item in items}
            taken += len(items)
            if not running:
                break
            timeout = REFILL_SECONDS
            if len(items) < room:
                await asyncio.sleep(REFILL_SECONDS)
                timeout = IDLE_SECONDS
            done, running = await asyncio.wait(
                running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            failure = _log_failures(event, done, failure)
    finally:
        if running:  # taking failed; work that has begun is still awaited
            done, _ = await asyncio.wait(running)
            _log_failures(event, done, failure)
    if failure is not None:
        raise ExceptionGroup(event, [failure])
    return taken


def _log_failures(
    event: str, done: Collection[asyncio.Task[None]], previous: Exception | None
) -> Exception | None:
    """Log failures and return the one to raise: the last, but a database outage only if alone.

    An outage is returned only if there is no other failure. Only one is kept, as each refers to
    everything that was in work when it was raised.
    """
    for error in filter(None, (task.exception() for task in done)):
        if not is_outage(error):
            log.error(event, exc_info=error)
        if isinstance(error, Exception) and (previous is None or not is_outage(error)):
            previous = error
    return previous
