"""Reads a folder of artefacts without interpretation. docs/checker.md names the files."""

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

Table = Mapping[str, Any]
Rows = Mapping[str, Sequence[Table]]
TABLES = {
    "delivery": "id",
    "attempt": "id",
    "readback": "id",
    "audit": "id",
    "alert": "id",
    "notice": "id",
    "rendered_post": "fingerprint",
    "schedule": "id",
    "media": "sha256",
    "observed_post": "account",
    "database_info": "key",
    "approvable_text": "fingerprint",
}
"""The tables that are read, and the column that orders each."""
DATABASE_FILE, DATABASE_URL = "publisher.db", "database.url"
JOURNALS, ANCHORS = "intents*.jsonl", "audit-anchors*.log"
LISTS = (
    "log",
    "actions",
    "timings",
    "metrics",
    "connections",
    "interruptions",
    "messages",
)
"""Artefacts with one JSON object a line. The simulator gives the log as one JSON array."""
DOCUMENTS = ("posts", "plan", "settings", "status", "instants", "earlier")
CANARIES = "canaries.txt"
REPLAY = "replay"
SHOWN = 4
"""So many letters of a found canary are reported."""


@dataclass(slots=True, kw_only=True)
class Artefacts:
    """The artefacts of a folder, with None for a missing one."""

    lists: dict[str, Sequence[Table]] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    rows: Rows | None = None
    journals: Sequence[Sequence[tuple[int, Table]]] | None = None
    """The whole lines of each, by their numbers."""
    leaks: Sequence[tuple[str, str]] | None = None
    replay: "Artefacts | None" = None


def read_folder(folder: Path) -> Artefacts:
    """Read the artefacts of a run. Raises ValueError naming a file that cannot be understood."""
    found = Artefacts(
        rows=_rows(folder), journals=_torn_files(folder, JOURNALS), leaks=_leaks(folder)
    )
    for name in LISTS:
        if (file := folder / f"{name}.jsonl").exists():
            found.lists[name] = _lines_or_array(file)
    for name in DOCUMENTS:
        if (file := folder / f"{name}.json").exists():
            found.documents[name] = _understood(file, file.read_text("utf-8"))
    if anchors := _torn_files(folder, ANCHORS):
        found.lists["anchors"] = [value for file in anchors for _line, value in file]
    if (folder / REPLAY).is_dir():
        found.replay = read_folder(folder / REPLAY)
    return found


def _rows(folder: Path) -> Rows | None:
    if (folder / DATABASE_FILE).exists():
        return rows_of_file(folder / DATABASE_FILE)
    if (folder / DATABASE_URL).exists():
        return rows_of_server((folder / DATABASE_URL).read_text("utf-8").strip())
    return None


def rows_of_file(file: Path) -> Rows:
    """Read a SQLite file without changing it. Raises ValueError when it is none."""
    with closing(
        sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    ) as connection:
        connection.row_factory = sqlite3.Row
        try:
            known = {
                row["name"]
                for row in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
            return {
                table: [
                    dict(row)
                    for row in connection.execute(
                        f"SELECT * FROM {table} ORDER BY {key}"  # noqa: S608
                    )
                ]
                for table, key in TABLES.items()
                if table in known
            }
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{file}: {error}") from error


def rows_of_server(url: str) -> Rows:
    """Read a PostgreSQL database. Raises ValueError when it cannot be read."""
    import psycopg  # noqa: PLC0415 # needed for this kind of database only
    from psycopg.rows import dict_row  # noqa: PLC0415 # same

    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.read_only = True
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            known = {row["tablename"] for row in found}
            return {
                table: connection.execute(
                    f"SELECT * FROM {table} ORDER BY {key}"  # noqa: S608
                ).fetchall()
                for table, key in TABLES.items()
                if table in known
            }
    except psycopg.Error as error:
        raise ValueError(f"PostgreSQL: {error}") from error


def _lines_or_array(file: Path) -> Sequence[Table]:
    text = file.read_text("utf-8")
    if text.lstrip().startswith("["):
        array: Sequence[Table] = _understood(file, text)
        return array
    return [_understood(file, line) for line in text.splitlines() if line.strip()]


def _understood(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _torn_files(
    folder: Path, names: str
) -> Sequence[Sequence[tuple[int, Table]]] | None:
    """Return the whole lines of each such file; one that a crash has torn was never finished."""
    return [[*whole_lines(file)] for file in sorted(folder.glob(names))] or None


def whole_lines(file: Path) -> Iterator[tuple[int, Table]]:
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield number, value


def _leaks(folder: Path) -> Sequence[tuple[str, str]] | None:
    """Search for planted secrets; None when the list does not name any, or any place."""
    file = folder / CANARIES
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    canaries = [
        line.removeprefix("canary:").strip()
        for line in lines
        if line.startswith("canary:")
    ]
    places = [
        folder / line.removeprefix("path:").strip()
        for line in lines
        if line.startswith("path:")
    ]
    if not canaries or not places:
        return None
    for place in places:
        if not place.exists():
            raise ValueError(f"{file}: no such path: {place}")
    spellings = [
        (canary, spelling) for canary in canaries for spelling in _spellings(canary)
    ]
    return sorted(
        {
            (canary[:SHOWN] + "…", str(path))
            for path in _files(places)
            for canary in _in(path, spellings)
        }
    )


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        yield from (path for path in [place, *place.rglob("*")] if path.is_file())


def _in(path: Path, spellings: Sequence[tuple[str, bytes]]) -> Iterator[str]:
    data = path.read_bytes()
    return (canary for canary, spelling in spellings if spelling in data)


def _spellings(canary: str) -> set[bytes]:
    """Return a secret as itself and in the common encodings of programs."""
    raw = canary.encode()
    coded = {
        base64.b64encode(b"\0" * shift + raw)[4 * bool(shift) : -4]
        for shift in range(3)
    }
    return {
        raw,
        quote(canary, safe="").encode(),
        json.dumps(canary)[1:-1].encode(),
        raw.hex().encode(),
        canary.encode("utf-16-le"),
        *(
            part for part in coded if len(part) >= 8
        ),  # shorter ones stand anywhere by chance
    }
