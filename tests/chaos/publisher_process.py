"""publisher as its operator has it: a daemon that is started and killed, and commands."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kills import Kill

HERE = Path(__file__).parent
PUBLISHER = (str(Path(sys.executable).with_name("publisher")),)
BEGUN = b'"recovered"'
"""The daemon's first word in its log, once the database is its own."""
START_SECONDS = 60.0
PATIENCE = 4.0
"""Seconds of work after which a failpoint counts as not reached."""
GLANCE = 0.02


class DaemonError(Exception):
    """The daemon ended by itself, or would not start or stop."""


@dataclass(slots=True)
class Publisher:
    """One workspace's publisher; `mutant` names the rule that its daemon breaks."""

    folder: Path
    mutant: str | None = None
    starts: int = 0
    mark: int = 0
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
        self._say("withdraw", post, "--by", "wang", "--reason", "drill")

    def retract(self, post: str, account: str) -> None:
        self._say("retract", post, "--account", account, "--by", "wang", "--reason", "drill")

    def in_sending(self) -> int:
        """Count the calls that a kill has left open. For the statistics only: the verdict does not use it."""
        database = self.folder / "var" / "publisher.db"
        if not database.exists():
            return 0
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            (count,) = connection.execute("SELECT count(*) FROM delivery WHERE state = 'sending'").fetchone()
        except sqlite3.OperationalError:  # killed before the first migration was through
            return 0
        finally:
            connection.close()
        return int(count)

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
