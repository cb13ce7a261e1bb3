"""A run's artefacts, written into a folder as docs/checker.md says."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.chaos.checker.artefacts import Artefacts

KINDS = {int: "BIGINT", bool: "BOOLEAN", bytes: "BLOB"}


def write_run(run: Artefacts, folder: Path) -> Path:
    """Write everything but the database and the canaries; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in run.lists.items():
        file = "audit-anchors.log" if name == "anchors" else f"{name}.jsonl"
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for name, document in run.documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
    lines = [json.dumps(line) for _number, line in run.journal or ()]
    (folder / "intents.jsonl").write_text("\n".join([*lines, '{"delivery":1,"att']), "utf-8")
    if run.replay:
        write_run(run.replay, folder / "replay")
        write_sqlite(run.replay, folder / "replay" / "publisher.db")
    return folder


def tables_of(run: Artefacts, blob: str = "BLOB") -> list[tuple[str, str, list[str], list[tuple[object, ...]]]]:
    """Give each table as its name, how it is made, its columns, and its rows."""
    found = []
    for table, rows in (run.rows or {}).items():
        columns = list(rows[0]) if rows else []
        kinds = [_kind([row[name] for row in rows], blob) for name in columns]
        made = ", ".join(f'"{name}" {kind}' for name, kind in zip(columns, kinds, strict=True))
        found.append((table, f'CREATE TABLE "{table}" ({made})', columns, [tuple(row.values()) for row in rows]))
    return [item for item in found if item[2]]


def _kind(values: list[object], blob: str) -> str:
    first = next((value for value in values if value is not None), None)
    return blob if isinstance(first, bytes) else KINDS.get(type(first), "TEXT")


def write_sqlite(run: Artefacts, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        for table, made, columns, rows in tables_of(run):
            connection.execute(made)
            places = ", ".join("?" for _ in columns)
            connection.executemany(f'INSERT INTO "{table}" VALUES ({places})', rows)  # noqa: S608 # our own names
