"""publisher as its operator has it: a daemon that is started and killed, and commands."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artefacts import order
from kills import Kill
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

HERE = Path(__file__).parent
PUBLISHER = (str(Path(sys.executable).with_name("publisher")),)
BEGUN = b'"recovered"'
"""The daemon's first word in its log, once the database is its own."""
START_SECONDS = 60.0
PATIENCE = 4.0
"""Seconds of work after which a failpoint counts as not reached."""
GLANCE = 0.02
IN_SENDING = text("SELECT count(*) FROM delivery WHERE state = 'sending' AND worker = :worker")


class DaemonError(Exception):
    """The daemon ended by itself, or would not start or stop."""


@dataclass(slots=True)
class Publisher:
    """One workspace's publisher; `database` is the URL of one it shares, `mutant` names the rule its daemon breaks."""

    folder: Path
    database: str | None = None
    mutant: str | None = None
    starts: int = 0
    mark: int = 0
    orders: list[dict[str, str]] = field(default_factory=list)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "daemon.log"

    def die(self, kill: Kill) -> bool:
        """Run a daemon until it dies; returns whether it was at the failpoint, which may never be reached."""
        daemon = self.start(kill.switch)
        patience = PATIENCE if kill.point else kill.after
        self._await_begin(daemon)
        try:
            daemon.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            daemon.kill()
            is_reached = False
        else:
            is_reached = True
        if daemon.wait() != -signal.SIGKILL:
            raise DaemonError(f"ended by itself with {daemon.returncode}: {self._last_words()}")
        return is_reached

    def start(self, failpoints: str = "") -> subprocess.Popen[bytes]:
        self.starts += 1
        self.mark = self.log.stat().st_size if self.log.exists() else 0
        head = (sys.executable, str(HERE / "mutants.py"), self.mutant) if self.mutant else PUBLISHER
        with self.log.open("ab") as told:
            return subprocess.Popen(
                [*head, "-C", str(self.folder), "run"],
                stdout=told,
                stderr=told,
                env={**os.environ, "PUBLISHER_FAILPOINTS": failpoints},
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let a daemon run without harm; at the end it is asked to stop, and must do so in order."""
        daemon = self.start()
        try:
            self._await_begin(daemon)
            yield
            daemon.terminate()
            if daemon.wait(timeout=START_SECONDS) != 0:
                raise DaemonError(f"stopped with {daemon.returncode}: {self._last_words()}")
        finally:
            daemon.kill()

    def status(self) -> Sequence[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self._say("status", "--json"))["deliveries"]
        return rows

    def withdraw(self, post: str) -> None:
        self._order("withdraw", post=post)

    def retract(self, post: str, account: str) -> None:
        self._order("retract", post=post, account=account)

    def _order(self, kind: str, post: str, account: str | None = None) -> None:
        asked, more = time.time(), ("--account", account) if account else ()
        self._say(kind, post, *more, "--by", "wang", "--reason", "drill")
        self.orders.append(order(kind, asked, post=post, **({"account": account} if account else {})))

    def in_sending(self) -> int:
        """Count the calls that a kill has left open. For the statistics only: the verdict does not use it."""
        url = make_url(self.database or f"sqlite:///{self.folder / 'var' / 'publisher.db'}")
        mine = f"{socket.gethostname()}:{self.folder}"
        if self.database is None and not (self.folder / "var" / "publisher.db").exists():
            return 0
        engine = create_engine(url.set(drivername="postgresql+psycopg") if self.database else url)
        try:
            with engine.connect() as connection:
                return int(connection.execute(IN_SENDING, {"worker": mine}).scalar_one())
        except DBAPIError:  # killed before the first migration was through
            return 0
        finally:
            engine.dispose()

    def complaints(self) -> Sequence[str]:
        """Give what the daemons logged as going wrong, one line for each kind."""
        told: dict[str, str] = {}
        for line in self.log.read_text("utf-8", "replace").splitlines():
            if '"level": "error"' in line or "Traceback" in line:
                told.setdefault(line[:60], line[:2000])
        return list(told.values())

    def _say(self, *arguments: str) -> str:
        done = subprocess.run(
            [*PUBLISHER, "-C", str(self.folder), *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DaemonError(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def _await_begin(self, daemon: subprocess.Popen[bytes]) -> None:
        """Wait until a daemon that was just started works, or is dead."""
        until = time.monotonic() + START_SECONDS
        while daemon.poll() is None and time.monotonic() < until:
            with self.log.open("rb") as told:
                told.seek(self.mark)
                if BEGUN in told.read():
                    return
            time.sleep(GLANCE)

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:]
