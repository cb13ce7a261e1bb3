"""The command: a folder in, a verdict and an exit code out."""

import base64
import json
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.chaos.artefacts import write_rows
from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker.verdict import INVARIANTS, judge

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]
CANARY = "canary+S3cret/of the platform"


def verdict(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos.checker", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def write_run(run: Artefacts, folder: Path) -> None:
    """Write everything but the canaries; the journal ends in the middle of a line."""
    folder.mkdir(parents=True)
    for name, lines in run.lists.items():
        file = "audit-anchors.log" if name == "anchors" else f"{name}.jsonl"
        (folder / file).write_text(
            "".join(json.dumps(line) + "\n" for line in lines), "utf-8"
        )
    for name, document in run.documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
    lines = [json.dumps(line) for _number, line in run.journals[0]]
    (folder / "intents.jsonl").write_text(
        "\n".join([*lines, '{"delivery":1,"att']), "utf-8"
    )
    write_rows(folder / "publisher.db", run.rows or {})
    if run.replay:
        write_run(run.replay, folder / "replay")


@pytest.fixture
def folder(run, tmp_path):
    """Give the folder of a good run, with a clean log that may be searched for canaries."""
    write_run(run, tmp_path / "run")
    (tmp_path / "run" / "logs").mkdir()
    (tmp_path / "run" / "logs" / "daemon.log").write_text("nothing to see", "utf-8")
    (tmp_path / "run" / "canaries.txt").write_text(
        f"canary: {CANARY}\npath: logs\npath: publisher.db\n", "utf-8"
    )
    return tmp_path / "run"


def test_a_good_run_ends_with_0(folder):
    """With every artefact, all invariants are judged and kept. A torn journal line does no harm."""
    done = verdict(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "25 kept, 0 violated, 0 not judged"


def test_a_violation_ends_with_1_and_says_where(run, tmp_path):
    """The verdict names the invariant, the delivery and the log lines, for people and as JSON."""
    run.make_twice(run.copy("plain"))
    write_run(run, tmp_path / "run")
    done = verdict(tmp_path / "run", "--json")
    reported = json.loads(done.stdout)
    first = reported["invariants"][0]
    assert done.returncode == 1
    assert (reported["whole"], first["id"], first["verdict"]) == (
        False,
        "I1",
        "violated",
    )
    assert first["violations"][0]["subject"].startswith("plain@")
    assert all(where.startswith("log:") for where in first["violations"][0]["evidence"])
    assert "plain@" in verdict(tmp_path / "run").stdout


@pytest.mark.parametrize("arguments", [[], ["/nowhere"], ["--none"]])
def test_wrong_usage_ends_with_2(arguments):
    """No folder, one that is not there, an unknown option."""
    assert verdict(*arguments).returncode == 2


def test_what_cannot_be_understood_ends_with_2(tmp_path, folder):
    """An empty folder, a broken file, a wrong shape or a false database never gives a verdict."""
    assert verdict(tmp_path).returncode == 2
    for name, text in (
        ("plan.json", "{"),
        ("actions.jsonl", '{"kind": 1}\n'),
        ("publisher.db", "no database at all"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).write_text(text, "utf-8")
        done = verdict(folder)
        assert done.returncode == 2, name
        assert "Traceback" not in done.stderr
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize(
    "spelling",
    [
        CANARY,
        quote(CANARY, safe=""),
        base64.b64encode(f"x{CANARY}".encode()).decode(),
        CANARY.encode().hex(),
    ],
    ids=["plain", "quoted", "base64", "hex"],
)
def test_a_planted_secret_is_found_in_any_common_spelling(folder, spelling):
    """A canary in a searched file is a violation of I19, and the verdict does not repeat it."""
    (folder / "logs" / "daemon.log").write_text(f"token={spelling}&", "utf-8")
    done = verdict(folder)
    assert done.returncode == 1
    assert "I19  secrets stay secret                violated" in done.stdout
    assert CANARY not in done.stdout


def test_a_log_as_the_simulator_gives_it_is_read_too(folder):
    """One JSON array, as from the control endpoint, is the same as a line for each entry."""
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    (folder / "log.jsonl").write_text(f"[{','.join(lines)}]", "utf-8")
    assert judge(folder).is_whole


def test_a_run_on_postgresql_is_read_by_its_address(run, folder, postgres):
    """`database.url` stands in for the file; the verdict is the same."""
    psycopg = pytest.importorskip("psycopg")
    name = f"run_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    url = psycopg.conninfo.make_conninfo(postgres, dbname=name)
    with psycopg.connect(url) as connection:
        for table, rows in ((table, rows) for table, rows in run.rows.items() if rows):
            columns = ", ".join(
                f'"{name}" {_kind([row[name] for row in rows])}' for name in rows[0]
            )
            connection.execute(f'CREATE TABLE "{table}" ({columns})')
            places = ", ".join("%s" for _ in rows[0])
            values = [tuple(row.values()) for row in rows]
            connection.cursor().executemany(
                f'INSERT INTO "{table}" VALUES ({places})',  # noqa: S608 # our names
                values,
            )
    (folder / "publisher.db").unlink()
    (folder / "canaries.txt").write_text(f"canary: {CANARY}\npath: logs\n", "utf-8")
    (folder / "database.url").write_text(url, "utf-8")
    found = judge(folder)
    assert found.is_whole
    assert found.judged == len(INVARIANTS)
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _kind(values):
    first = next((value for value in values if value is not None), None)
    return {int: "BIGINT", bool: "BOOLEAN", bytes: "BYTEA"}.get(type(first), "TEXT")
