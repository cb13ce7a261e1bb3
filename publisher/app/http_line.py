"""The way to a platform for whoever tries an adapter without a daemon; it is the same one."""

from collections.abc import Callable
from datetime import timedelta

from adapters._http import LoginHttp
from publisher.contract import Http


def http_for_login(
    *, timeout: timedelta, monotonic: Callable[[], float], is_host_allowed: Callable[[str], bool]
) -> Http:
    """Give a login's way to its platform; `allow` is asked with each host's name. What is repeated does not wait."""
    return LoginHttp(
        request_timeout=timeout,
        monotonic=monotonic,
        failpoint=_ignore_failpoint,
        is_host_allowed=is_host_allowed,
        sleep=_no_wait,
    )


def _ignore_failpoint(_name: str) -> None:
    return


async def _no_wait(_seconds: float) -> None:
    return
