"""The daemons' reports of their secrets: the places, and a keyed hash of each present value.

No secret itself is stored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, select

from publisher.secrets import SecretError, SecretErrorCode
from publisher.store.base import HEARTBEAT_TIMEOUT
from publisher.store.db.tables import DATABASE_INFO, WORKER

REPORT_PREFIX = "secrets:"
"""Begins the key of a report, before the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReport:
    """A daemon's report of its secrets."""

    stored: Sequence[str] = ()
    """The names in the encrypted store."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """The places of secrets outside the encrypted store, by name. They come first."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """The keyed hashes of the values that the daemon reads now, by name."""
    vault_error: Sequence[str] = ()
    """Code, name and places of the error that makes the encrypted store unreadable."""

    def has_secret(self, name: str) -> bool:
        """Return True if the daemon has a secret, or may have it in a store that it cannot read."""
        places = {*self.stored, *self.elsewhere, *self.hashes}
        return name in places or bool(self.vault_error)

    @property
    def error(self) -> SecretError | None:
        """Why the encrypted store cannot be read, if so."""
        if not self.vault_error:
            return None
        code, name, *places = self.vault_error
        [known] = [each for each in get_args(SecretErrorCode) if each == code] or [
            "vault_unreadable"
        ]
        return SecretError(known, name, tuple(places))


def load_report(value: str) -> SecretReport:
    return SecretReport(**json.loads(value))


def read_hashes(connection: Connection, name: str) -> frozenset[str]:
    """Return the hashes of a secret in all reports."""
    return _collect_hashes(connection, name, _reports())


def read_used_hashes(
    connection: Connection, name: str, now: datetime
) -> frozenset[str]:
    """Return the hashes of a secret in the reports of the daemons that run."""
    return _collect_hashes(connection, name, _reports().where(*_is_running(now)))


def read_running_reports(
    connection: Connection, now: datetime
) -> Mapping[str, SecretReport]:
    """Return the reports of the daemons that run, by worker."""
    query = select(WORKER.c.id, DATABASE_INFO.c.value).where(*_is_running(now))
    return {worker: load_report(value) for worker, value in connection.execute(query)}


def is_removed(connection: Connection, name: str, now: datetime) -> bool:
    """Return True if daemons run with a report of their secrets, and none has this secret."""
    reports = read_running_reports(connection, now).values()
    return bool(reports) and not any(report.has_secret(name) for report in reports)


def _is_running(now: datetime) -> Sequence[ColumnElement[bool]]:
    return (
        DATABASE_INFO.c.key == REPORT_PREFIX + WORKER.c.id,
        WORKER.c.stopped_at.is_(None),
        WORKER.c.heartbeat_at > now - HEARTBEAT_TIMEOUT,
    )


def _reports() -> Select[Any]:
    return select(DATABASE_INFO.c.value).where(
        DATABASE_INFO.c.key.startswith(REPORT_PREFIX, autoescape=True)
    )


def _collect_hashes(
    connection: Connection, name: str, reports: Select[Any]
) -> frozenset[str]:
    found = (load_report(value) for value in connection.scalars(reports))
    return frozenset(report.hashes[name] for report in found if name in report.hashes)
