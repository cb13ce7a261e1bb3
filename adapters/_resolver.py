"""How the name of a host becomes addresses: a name server that hangs costs only the calls that need that name."""

import asyncio
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Thread

LOOKUP_TIMEOUT_SECONDS = 8.0
"""How long a call waits for a name: longer than the 5 s after which the system turns to its second name server."""
MAX_LOOKUPS_PER_HOST = 4
"""Threads that may hang on one name: a lookup cannot be stopped, and a new one may succeed where an old one hangs."""


class LookupTimeoutError(TimeoutError):
    """The name was not resolved in time."""


@dataclass(eq=False, slots=True)
class _Lookup:
    """One question to the system's resolver; the process's end does not wait for its thread."""

    host: str
    started_at: float = field(default_factory=time.monotonic)
    addresses: Future[Sequence[str]] = field(default_factory=Future)

    def start(self) -> None:
        self.addresses.set_running_or_notify_cancel()  # a caller who gives up leaves it to the others
        Thread(target=self._run, name=f"resolver {self.host}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 # it goes to those who wait
            self.addresses.set_exception(error)
        else:
            self.addresses.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))


_pending_lookups: dict[str, list[_Lookup]] = {}
"""The lookups of each host that have not ended, oldest first, whichever login asked."""


async def resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host, best first; one that is an address already is returned as it is.

    Raises LookupTimeoutError after LOOKUP_SECONDS, or OSError as the system gives it.
    """
    if _is_address(host):
        return [host]
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
            return await asyncio.wrap_future(_get_or_start_lookup(host).addresses)
    except TimeoutError:
        raise LookupTimeoutError(host) from None


def _get_or_start_lookup(host: str) -> _Lookup:
    """Return the newest lookup of a host; start one where there is none, or where it hangs and few others do."""
    lookups = [lookup for lookup in _pending_lookups.get(host, ()) if not lookup.addresses.done()]
    hangs = bool(lookups) and time.monotonic() - lookups[-1].started_at >= LOOKUP_TIMEOUT_SECONDS
    if not lookups or (hangs and len(lookups) < MAX_LOOKUPS_PER_HOST):
        lookup = _Lookup(host)
        lookup.start()
        lookups.append(lookup)
    _pending_lookups[host] = lookups
    return lookups[-1]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
