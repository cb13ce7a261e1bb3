"""The service manager that started this process, such as systemd: the protocol of sd_notify(3)."""

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from publisher.runtime.logs import log

ADDRESS_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLES = ("WATCHDOG_USEC", "WATCHDOG_PID")


@dataclass(slots=True)
class ServiceManager:
    """Tells the service manager the state of this process; without one it does nothing.

    `watchdog_seconds` is the longest silence before the service manager restarts the process.
    """

    address: str = ""
    watchdog_seconds: float | None = None

    @classmethod
    def take_from(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """Return the service manager that an environment names, and remove it from there.

        So no child process speaks for this one.
        """
        address = environment.pop(ADDRESS_VARIABLE, "")
        microseconds, process = (
            environment.pop(name, "") for name in WATCHDOG_VARIABLES
        )
        is_watched = (
            microseconds.isdecimal()
            and int(microseconds) > 0
            and process in {"", str(os.getpid())}
        )
        return cls(address, int(microseconds) / 1_000_000 if is_watched else None)

    def report_ready(self) -> None:
        self._send("READY=1")

    def report_stopping(self) -> None:
        self._send("STOPPING=1")

    def report_alive(self) -> None:
        """Say that this process works, if the service manager waits for that."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self.address:
            return
        # a name that begins with @ is in the abstract namespace of Linux
        address = f"\0{self.address[1:]}" if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_manager:
                to_manager.settimeout(0)
                to_manager.sendto(state.encode(), address)
        except OSError as error:
            log.warning("service_manager_unreachable", state=state, reason=str(error))
