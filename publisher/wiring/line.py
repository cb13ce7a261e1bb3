"""The way to a platform for whoever tries an adapter without a daemon; it is the same one."""

from collections.abc import Callable
from datetime import timedelta

from adapters._http import LoginHttp
from publisher.contract import Http


def open_line(*, deadline: timedelta, monotonic: Callable[[], float], allow: Callable[[str], bool]) -> Http:
    """Give a login's way to its platform; `allow` is asked with each host's name. What is repeated does not wait."""
    return LoginHttp(deadline=deadline, monotonic=monotonic, failpoint=_nothing, allow=allow, sleep=_no_wait)


def _nothing(_name: str) -> None:
    return


async def _no_wait(_seconds: float) -> None:
    return
