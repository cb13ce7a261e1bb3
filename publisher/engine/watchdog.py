"""The watchdog: a process beside the daemon that notices its silence. It only reads the database.

Its state is a file of its own. Each fault is reported once, then again after an interval, and once
when it is over.
"""

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from publisher.config import Settings
from publisher.domain.account import Mode
from publisher.domain.delivery import WorkerId
from publisher.domain.errors import RefusedError
from publisher.runtime.redaction import redact_text
from publisher.store.db.rows import subject_of
from publisher.store.queries.health import read_health

DAEMON_SILENT_AFTER = timedelta(seconds=25)
"""Five heartbeats.

With a watchdog every 30 seconds people hear of a dead daemon within a minute.
"""
OVER_AFTER = timedelta(minutes=2)
"""How long a fault must be gone before it is over.

A daemon that dies at every start is one fault.
"""
MAX_NAMED_DELIVERIES = 5
STATE_FILE_BYTES = 4096
"""The file keeps this size, so that it can be rewritten on a disk that is full."""


class Fault(StrEnum):
    DATABASE_UNREADABLE = "database_unreadable"
    DAEMON_SILENT = "daemon_silent"
    DELIVERY_STUCK = "delivery_stuck"
    SETTINGS_UNREADABLE = "settings_unreadable"


FAULTS_IN_DATABASE = frozenset({Fault.DAEMON_SILENT, Fault.DELIVERY_STUCK})
"""Faults with an unknown state while the database cannot be read."""


Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The present faults with their facts, and the faults with an unknown state."""

    faults: Mapping[Fault, Facts]
    unknown: Collection[Fault] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """A fault in the state file: since when it is known, when it was last seen and last reported.

    `is_escalated`: the second list of channels has heard of it.
    """

    since: datetime
    seen_at: datetime
    facts: Facts
    reported_at: datetime | None = None
    is_escalated: bool = False


State = Mapping[Fault, FaultRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report to people: a fault, or its end, and whether the second list of channels gets it too.

    `id` is the same each time that a fault is reported.
    """

    fault: Fault
    record: FaultRecord
    is_over: bool = False
    is_escalated: bool = False

    @property
    def id(self) -> str:
        return f"{self.fault}@{self.record.since.isoformat()}"


def find_faults(settings: Settings, worker: WorkerId, now: datetime) -> Findings:
    """Look at the database. Never raises for its faults. Blocks for seconds if a server is away."""
    accounts = [
        key
        for key, account in settings.accounts.items()
        if account.mode is not Mode.OFF
    ]
    try:
        reading = read_health(settings.database, worker, accounts, now)
    except (SQLAlchemyError, RefusedError, OSError) as error:
        words = str(getattr(error, "orig", None) or error).strip().splitlines()
        facts = {"reason": redact_text(words[0]) if words else type(error).__name__}
        found = {Fault.DATABASE_UNREADABLE: facts}
        return Findings(faults=found, unknown=FAULTS_IN_DATABASE)
    faults: dict[Fault, Facts] = {}
    # a heartbeat that lies ahead is one of before the clock was set back
    if (
        reading.heartbeat_at is None
        or abs(now - reading.heartbeat_at) > DAEMON_SILENT_AFTER
    ):
        faults[Fault.DAEMON_SILENT] = (
            {"since": reading.heartbeat_at.isoformat()} if reading.heartbeat_at else {}
        )
    if reading.stuck:
        names = [
            subject_of(delivery) for delivery in reading.stuck[:MAX_NAMED_DELIVERIES]
        ]
        due = reading.stuck[0].due_at.isoformat()
        faults[Fault.DELIVERY_STUCK] = {
            "number": str(len(reading.stuck)),
            "names": ", ".join(names),
            "due": due,
        }
    return Findings(faults=faults)


def plan_reports(
    state: State,
    findings: Findings,
    now: datetime,
    repeat_every: timedelta,
    escalate_after: timedelta | None = None,
) -> tuple[State, Sequence[Report]]:
    """Return the state with the present findings, and the due reports. Pure.

    The second list of channels, if there is one, hears of a fault that lasts for `escalate_after`.
    """
    records: dict[Fault, FaultRecord] = dict(state)
    for fault, facts in findings.faults.items():
        known = records.get(fault, FaultRecord(since=now, seen_at=now, facts=facts))
        records[fault] = replace(known, seen_at=now, facts=facts)
    reports = []
    for fault, record in records.items():
        if fault in findings.unknown:
            continue
        if fault not in findings.faults:
            if abs(now - record.seen_at) >= OVER_AFTER:
                reports.append(
                    Report(
                        fault=fault,
                        record=record,
                        is_over=True,
                        is_escalated=record.is_escalated,
                    )
                )
            continue
        lasts = escalate_after is not None and now - record.since >= escalate_after
        # also by a clock set back
        is_due = (
            record.reported_at is None or abs(now - record.reported_at) >= repeat_every
        )
        if is_due or (lasts and not record.is_escalated):
            reports.append(Report(fault=fault, record=record, is_escalated=lasts))
    return records, reports


def record_reports(state: State, sent: Sequence[Report], now: datetime) -> State:
    """Return the state after these reports were sent. An unsent one is due at the next look."""
    records = dict(state)
    for report in sent:
        if report.is_over:
            del records[report.fault]
        else:
            is_escalated = report.record.is_escalated or report.is_escalated
            records[report.fault] = replace(
                report.record, reported_at=now, is_escalated=is_escalated
            )
    return records


def state_file(settings: Settings) -> Path:
    return settings.workspace / "var" / "watchdog.json"


def spare_state_file(settings: Settings) -> Path:
    """Return the place of the state while the workspace's disk takes none.

    It is in memory: in the unit's runtime directory, which systemd names, or in shared memory.
    """
    memory = "/dev/shm"  # noqa: S108 # the file's owner is checked, and links are not followed
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        folder = memory if Path(memory).is_dir() else tempfile.gettempdir()
    workspace = sha256(os.fsencode(settings.workspace)).hexdigest()[:16]
    return Path(folder, f"publisher-watchdog-{os.geteuid()}-{workspace}.json")


def load_last_state(settings: Settings) -> State:
    """Read the state from the spare place, if it is there, as it is the newer one then."""
    spare = spare_state_file(settings)
    with contextlib.suppress(OSError):
        status = spare.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            return load_state(spare)
    return load_state(state_file(settings))


def keep_state(settings: Settings, state: State) -> None:
    """Write the state, or, on a disk that takes none, to the spare place. Raises OSError.

    A fault that is noted nowhere would be reported at each look.
    """
    spare = spare_state_file(settings)
    try:
        save_state(state_file(settings), state)
    except OSError:
        save_state(spare, state, is_shared_folder=True)
    else:
        spare.unlink(missing_ok=True)


def load_state(file: Path) -> State:
    """Read the state; empty if it cannot be read. Each fault is then reported once more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return {
            Fault(name): _load_record(entry)
            for name, entry in json.loads(file.read_text("utf-8")).items()
        }
    return {}


def _load_record(entry: Mapping[str, Any]) -> FaultRecord:
    reported_at = entry["reported_at"]
    return FaultRecord(
        since=datetime.fromisoformat(entry["since"]),
        seen_at=datetime.fromisoformat(entry["seen_at"]),
        facts={str(name): str(fact) for name, fact in entry["facts"].items()},
        reported_at=datetime.fromisoformat(reported_at) if reported_at else None,
        is_escalated=bool(entry["is_escalated"]),
    )


def save_state(file: Path, state: State, *, is_shared_folder: bool = False) -> None:
    """Rewrite the state in place, with the same size as before. Raises OSError.

    In a folder that is shared with other users, a link or another user's file is an error.
    """
    entries = {
        fault.value: {
            "since": record.since.isoformat(),
            "seen_at": record.seen_at.isoformat(),
            "facts": record.facts,
            "reported_at": record.reported_at.isoformat()
            if record.reported_at
            else None,
            "is_escalated": record.is_escalated,
        }
        for fault, record in state.items()
    }
    data = json.dumps(entries, ensure_ascii=False).encode().ljust(STATE_FILE_BYTES)
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_NOFOLLOW if is_shared_folder else 0)
    with os.fdopen(os.open(file, flags, 0o600), "wb", buffering=0) as opened:
        owner = os.fstat(opened.fileno()).st_uid
        if is_shared_folder and owner != os.geteuid():
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(file))
        if opened.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        opened.truncate(len(data))
        os.fsync(opened.fileno())
