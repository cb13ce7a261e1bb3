"""publisher as its operator has it: a daemon that is started and killed, and commands."""

import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.artefacts import action
from tests.chaos.checker.history import WrongClock
from tests.chaos.commands import give_command
from tests.chaos.kill_plan import Kill
from tests.chaos.store_reader import IN_SENDING, CampaignDatabase
from tests.chaos.workspace import NAME

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = (str(Path(sys.executable).with_name("publisher")),)
BEGUN = b'"own_leases_expired"'
"""The daemon's first word in its log, once the database is its own."""
START_SECONDS = 60.0
COMMAND_REFUSED = 1
FAILED, REFUSED = 1, 3
"""How a daemon ends that is to be started again by itself, and one that a person must see to."""
FAULTY_PAGE = "{% if title %}{{ title }}"
ACCEPTED, NOT_ACCEPTED = b'"schedule_accepted"', b'"reload_refused"'
"""Log entries of an accepted and of a refused version of the schedule."""
SLOWEST = 4.0
"""How much longer than usual a failpoint is waited for at most, on a host that is slow just now."""
USUAL_START_SECONDS = 1.5
"""How long a daemon needs to start on a host that does nothing else."""
GLANCE = 0.02
AFTERMATH = 1.5
"""Seconds that a daemon lives on after a sleep or a full disk, before it dies."""
TOUCHED_BY_FULL = (
    "Errno 27",
    "File too large",
    "disk I/O error",
    "database or disk is full",
    "[Errno 28]",
)
"""By these words a complaint is about the disk that a campaign has filled."""


class DaemonError(Exception):
    """The daemon ended by itself, or would not start or stop."""


def module_command(name: str, *arguments: str) -> Sequence[str]:
    """Return the command that runs a module of the campaign, in the root of the repository."""
    return (sys.executable, "-m", f"tests.chaos.{name}", *arguments)


@dataclass(slots=True)
class PublisherProcess:
    """The publisher of one workspace.

    `database` is the URL of a shared database, and `mutant` is the planted mistake.
    """

    folder: Path
    database: str | None = None
    mutant: str | None = None
    patience: float = 4.0
    starts: int = 0
    mark: int = 0
    actions: list[dict[str, str]] = field(default_factory=list)
    interruptions: list[dict[str, Any]] = field(default_factory=list)
    reported: dict[str, str] = field(default_factory=dict)
    measured: list[dict[str, float]] = field(default_factory=list)
    clocks: list[WrongClock] = field(default_factory=list)
    slowness: float = 1.0
    """How much longer than usual the last daemon needed to start, at least once."""
    slowest: float = 1.0
    """The same of the slowest."""
    tokens: dict[str, str] = field(default_factory=dict)
    """The sign-in tokens of the people, by their names."""
    log: Path = field(init=False)
    store: CampaignDatabase = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "daemon.log"
        self.store = CampaignDatabase(
            self.folder / "var" / "publisher.db", self.database
        )

    def die(
        self,
        kill: Kill,
        patience: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Run a daemon until it dies. Return True if it reached the failpoint, as it may never do.

        `meanwhile` is the action of somebody during its sleep.
        """
        began = time.time()
        page = self._break_template(kill.broken) if kill.broken else None
        daemon = self.start(kill.switch, kill.ahead, hangs=kill.deed == "name")
        try:
            self._await_begin(daemon)
            is_reached = self._live(
                daemon,
                kill,
                patience or self.patience * min(self.slowness, SLOWEST),
                meanwhile,
            )
        finally:
            self.measure(daemon)
            daemon.kill()
            self.interruptions += _interruptions(kill, began, time.time())
            if page is not None:
                shutil.rmtree(page.parent)
            if kill.ahead:
                self.clocks.append(
                    WrongClock(begins=began, ends=time.time(), ahead=kill.ahead)
                )
        is_full = kill.deed == "full"
        if daemon.wait() != -signal.SIGKILL and not is_full:
            raise DaemonError(
                f"ended by itself with {daemon.returncode}: {self._last_words()}"
            )
        self._listen(is_full=is_full)
        return is_reached

    def file(self, patience: float, after: float) -> bool:
        """Run a daemon until it accepts the schedule, and longer. Return False for a refusal."""
        daemon = self.start()
        try:
            self._await_begin(daemon)
            is_answered = self._await(daemon, patience, ACCEPTED, NOT_ACCEPTED)
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(timeout=after)
        finally:
            daemon.kill()
            self.interruptions.append({"at": time.time(), "kind": "killed"})
        if daemon.wait() != -signal.SIGKILL:
            raise DaemonError(
                f"ended by itself with {daemon.returncode}: {self._last_words()}"
            )
        if not is_answered:
            raise DaemonError(
                f"the schedule was not read within {patience:.0f} s: {self._last_words()}"
            )
        self._listen()
        return ACCEPTED in self._said()

    def _live(
        self,
        daemon: subprocess.Popen[bytes],
        kill: Kill,
        patience: float,
        meanwhile: Callable[[], None] | None,
    ) -> bool:
        if kill.deed == "full":
            return _fill_disk(daemon, kill)
        if kill.deed == "freeze":
            return _freeze(daemon, kill, patience, meanwhile)
        if kill.deed == "second":
            self._start_second(daemon.pid)
        if kill.deed == "copy":
            self._start_copy()
        try:
            daemon.wait(timeout=patience if kill.point else kill.after)
        except subprocess.TimeoutExpired:
            return False
        return True

    def fail_by_clock(self, ahead: float) -> None:
        """Start a daemon with a clock that is not the server's.

        It must end by itself, so that it is started again.
        """
        daemon = self.start(ahead=ahead)
        try:
            ended = daemon.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            ended = None
        finally:
            daemon.kill()
        if ended != FAILED:
            raise DaemonError(
                f"with a clock {ahead:.0f} s ahead of the server's it ended with {ended}"
            )

    def fail_by_settings(self, renamed: str) -> None:
        """Start a daemon with another id for an account.

        It must be refused, with the old id in its message.
        """
        command = [*self._program(), "-C", str(self.folder), "run"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise DaemonError(
                "a daemon works though an account has another id"
            ) from error
        if (
            done.returncode <= 0
            or "Traceback" in done.stderr
            or renamed not in done.stderr
        ):
            raise DaemonError(
                f"with another id for an account it ended with {done.returncode}: "
                f"{done.stderr[-2000:]}"
            )

    def _start_copy(self) -> None:
        """Start a daemon in a copy of the workspace, beside a running one. It must be refused."""
        copy = self.folder.with_name(f"{self.folder.name}-copy")
        copy_folder(self.folder, copy)
        try:
            done = subprocess.run(
                [*self._program(), "-C", str(copy), "run"],
                capture_output=True,
                text=True,
                check=False,
                timeout=START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise DaemonError(
                "a copy of the workspace works beside the original"
            ) from error
        finally:
            shutil.rmtree(copy)
        if done.returncode != REFUSED:
            raise DaemonError(
                f"a daemon in a copy ended with {done.returncode}: {done.stderr[-2000:]}"
            )

    def _start_second(self, first: int) -> None:
        """Start a daemon in another workspace that reaches the same databases by a symbolic link.

        It must be refused, in words that name the process of the first.
        """
        other = self.folder.with_name(f"{self.folder.name}-second")
        if not other.exists():
            shutil.copytree(self.folder / "secrets", other / "secrets")
            (other / "linked.db").symlink_to(self.folder / "var" / "publisher.db")
        settings = (self.folder / "publisher.toml").read_text("utf-8")
        (other / "publisher.toml").write_text(
            f'database = "sqlite:///{other}/linked.db"\n{settings}', "utf-8"
        )
        command = [*PUBLISHER, "-C", str(other), "run"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise DaemonError(
                "a second daemon works on the database of the first"
            ) from error
        if done.returncode != REFUSED or str(first) not in done.stderr:
            raise DaemonError(
                f"a second daemon ended with {done.returncode}: {done.stderr[-2000:]}"
            )

    def _break_template(self, name: str) -> Path:
        """Put a page that cannot be read in the place of one that is shipped."""
        page = self.folder / "templates" / name / "default.txt"
        page.parent.mkdir()
        page.write_text(FAULTY_PAGE, "utf-8")
        return page

    def start(
        self, failpoints: str = "", ahead: float = 0.0, *, hangs: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a daemon, on a host with a clock that is `ahead`, or with a hanging name server.

        The name server hangs for one platform.
        """
        self.starts += 1
        self.mark = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as reported:
            return subprocess.Popen(
                [*self._program(ahead, hangs=hangs), "-C", str(self.folder), "run"],
                stdout=reported,
                stderr=reported,
                env={**os.environ, "PUBLISHER_FAILPOINTS": failpoints},
            )

    def _program(self, ahead: float = 0.0, *, hangs: bool = False) -> Sequence[str]:
        """Return the command that starts this publisher, with its mistake and on such a host."""
        options = [f"--mutant={self.mutant}"] if self.mutant else []
        options += [f"--ahead={ahead}"] if ahead else []
        options += [f"--hang={NAME}"] if hangs else []
        return module_command("faulty_host", *options, "--") if options else PUBLISHER

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run a daemon without harm. At the end it is asked to stop, and must do so in order."""
        daemon = self.start()
        try:
            self._await_begin(daemon)
            yield
            self.measure(daemon)
            daemon.terminate()
            if daemon.wait(timeout=START_SECONDS) != 0:
                raise DaemonError(
                    f"stopped with {daemon.returncode}: {self._last_words()}"
                )
            self._listen()
        finally:
            daemon.kill()

    def status(self) -> Sequence[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(
            self.say("status", "--all", "--json", is_sound=True)
        )["deliveries"]
        return rows

    def withdraw(self, post: str) -> None:
        self._action("cancel", "--reason", "drill", post=post)

    def retract(self, post: str, account: str | None = None) -> None:
        more = {"account": account} if account else {}
        self._action(
            "retract",
            *(("--account", account) if account else ()),
            "--reason",
            "drill",
            post=post,
            **more,
        )

    def pause(self, scope: str) -> None:
        self._action("pause", "--reason", "drill", scope=scope)

    def resume(self, scope: str) -> None:
        self._action("resume", scope=scope)

    def approve(self, post: str, fingerprint: str, by: str) -> bool:
        """Say yes to a content; returns False where it is not there any more, or needs no yes."""
        asked = time.time()
        done = self._give(
            "approve", post, "--fingerprint", fingerprint, "--by", by, acts_as=by
        )
        return self._note("approve", asked, done, post=post, by=by)

    def unapprove(self, post: str, by: str) -> bool:
        """End the approvals of a post; returns False where it is too late."""
        asked = time.time()
        done = self._give(
            "unapprove", post, "--by", by, "--reason", "drill", acts_as=by
        )
        return self._note("unapprove", asked, done, post=post, by=by)

    def _note(
        self,
        kind: str,
        asked: float,
        done: "subprocess.CompletedProcess[str]",
        **target: str,
    ) -> bool:
        """Note the actions that were done. Raises DaemonError for one neither done nor refused."""
        if done.returncode not in {0, COMMAND_REFUSED} or "Traceback" in done.stderr:
            raise DaemonError(
                f"{kind} ended with {done.returncode}: {done.stderr[-2000:]}"
            )
        if done.returncode == 0:
            self.actions.append(action(kind, asked, **target))
        return done.returncode == 0

    def rule(self, post: str, account: str, ruling: str) -> None:
        asked = time.time()
        self.say(
            "resolve",
            f"{post}@{account}",
            ruling,
            "--by",
            "wang",
            "--reason",
            "drill",
            acts_as="wang",
        )
        self.actions.append(action("resolve", asked, post=post, account=account))

    def _action(self, kind: str, *more: str, **target: str) -> None:
        asked = time.time()
        self.say(
            kind,
            target.get("post") or target["scope"],
            *more,
            "--by",
            "wang",
            acts_as="wang",
        )
        self.actions.append(action(kind, asked, **target))

    def measure(self, daemon: subprocess.Popen[bytes]) -> None:
        """Note the most memory of a live daemon, in bytes, and the number of files it holds."""
        process = Path(f"/proc/{daemon.pid}")
        with contextlib.suppress(OSError):
            handles = len(list((process / "fd").iterdir()))
            most = re.search(
                r"VmHWM:\s+(\d+) kB", (process / "status").read_text("ascii")
            )
            if most:
                self.measured.append(
                    {"rss": float(most[1]) * 1024, "handles": float(handles)}
                )

    def in_sending(self) -> int:
        """Count the calls that a kill has left open.

        The count is for the statistics only: the verdict does not use it.
        """
        return self.store.count(IN_SENDING.format(worker=self.worker))

    @property
    def worker(self) -> str:
        """The name of the workers in this folder in the database."""
        return f"{socket.gethostname()}:{self.folder}"

    def complaints(self) -> Sequence[str]:
        """Return the faults that the daemons logged, one line for each kind."""
        return list(self.reported.values())

    def _listen(self, *, is_full: bool = False) -> None:
        """Note the last daemon's complaints. With a full disk it may complain of that."""
        lines = self._said().decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines):
            is_complaint = '"level": "error"' in line or (
                "Traceback" in line and not is_full
            )
            if is_complaint and not (
                is_full and any(words in line for words in TOUCHED_BY_FULL)
            ):
                self.reported.setdefault(line[:60], _with_trace(lines, number)[:4000])

    def _said(self) -> bytes:
        with self.log.open("rb") as reported:
            reported.seek(self.mark)
            return reported.read()

    def say(
        self,
        *arguments: str,
        is_sound: bool = False,
        acts_as: str = "",
        lines: Sequence[str] = (),
    ) -> str:
        """Give a command, with lines of standard input; return its output.

        Raises DaemonError if it fails. One that `is_sound` has no mistake planted in it.
        """
        done = self._give(*arguments, is_sound=is_sound, acts_as=acts_as, lines=lines)
        if done.returncode != 0:
            raise DaemonError(
                f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}"
            )
        return done.stdout

    def _give(
        self,
        *arguments: str,
        is_sound: bool = False,
        acts_as: str = "",
        lines: Sequence[str] = (),
    ) -> "subprocess.CompletedProcess[str]":
        signed_in = (
            {"PUBLISHER_TOKEN": self.tokens[acts_as]} if acts_as in self.tokens else {}
        )
        return give_command(
            ["-C", str(self.folder), *arguments],
            {**os.environ, **signed_in},
            "".join(f"{line}\n" for line in lines),
            None if is_sound else self.mutant,
        )

    def _await_begin(self, daemon: subprocess.Popen[bytes]) -> None:
        """Wait until a daemon that was just started works, or is dead."""
        began = time.monotonic()
        self._await(daemon, START_SECONDS, BEGUN)
        self.slowness = max(1.0, (time.monotonic() - began) / USUAL_START_SECONDS)
        self.slowest = max(self.slowest, self.slowness)

    def _await(
        self, daemon: subprocess.Popen[bytes], patience: float, *words: bytes
    ) -> bool:
        """Wait until a daemon logs any of these words.

        Return False if it has ended, or `patience` seconds have passed.
        """
        until = time.monotonic() + patience
        while daemon.poll() is None and time.monotonic() < until:
            said = self._said()
            if any(each in said for each in words):
                return True
            time.sleep(GLANCE)  # it speaks through its log alone
        return False

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:]


def copy_folder(folder: Path, copy: Path) -> None:
    """Copy a folder as `cp -a` does. Files may come and go in it."""
    with contextlib.suppress(shutil.Error):
        shutil.copytree(folder, copy, symlinks=True)


def _interruptions(kill: Kill, began: float, ended: float) -> Sequence[dict[str, Any]]:
    """Return the interruptions of a daemon as the checker names them: in its life, and since.

    The second kind begins at its end.
    """
    kinds = {"freeze": "frozen", "full": "down", "clock": "clock"}
    during = (
        [{"at": began, "until": ended, "kind": kinds[kill.deed]}]
        if kill.deed in kinds
        else []
    )
    return [*during, {"at": ended, "kind": "killed"}]


def _with_trace(lines: Sequence[str], number: int) -> str:
    """Return a line with Python's own output around it. Such lines are not entries of the log."""
    before = itertools.takewhile(_is_printed, reversed(lines[:number]))
    return "\n".join(
        [
            *reversed(list(before)),
            lines[number],
            *itertools.takewhile(_is_printed, lines[number + 1 :]),
        ]
    )


def _is_printed(line: str) -> bool:
    return not line.startswith("{")


def _freeze(
    daemon: subprocess.Popen[bytes],
    kill: Kill,
    patience: float,
    meanwhile: Callable[[], None] | None,
) -> bool:
    """Let it sleep where it falls asleep, or at its moment, then wake it, and let it live a little.

    It wakes in time even where the database are locked in its sleep, and an action has to wait for
    that.
    """
    after = kill.asleep_at - time.time() if kill.asleep_at else kill.after
    until = time.monotonic() + (patience if kill.point else after)
    while time.monotonic() < until and not _is_asleep(daemon.pid):
        time.sleep(GLANCE)  # it stops itself, without a word
    is_reached = kill.point is not None and _is_asleep(daemon.pid)
    if kill.point and not is_reached:
        return False
    daemon.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(meanwhile) if meanwhile else None
        time.sleep(kill.lasts)  # it sleeps past its leases
        daemon.send_signal(signal.SIGCONT)
        if acting:
            acting.result()
    _let_live(daemon, AFTERMATH)
    return is_reached


def _is_asleep(pid: int) -> bool:
    return (
        Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        == "T"
    )


def _fill_disk(daemon: subprocess.Popen[bytes], kill: Kill) -> bool:
    """Let no file of it grow for a while. Its writes fail as on a full disk, for any user."""
    _let_live(daemon, kill.after)
    if daemon.poll() is not None:
        return False
    _soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, hard))
    _let_live(daemon, kill.lasts)
    if daemon.poll() is None:
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
        _let_live(daemon, AFTERMATH)
    return True


def _let_live(daemon: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(timeout=seconds)
