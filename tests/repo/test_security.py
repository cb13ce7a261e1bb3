"""docs/security.md names existing tests. The code is checked where no test can run."""

import ast
import re
import ssl
from functools import cache
from pathlib import Path

import pytest

from adapters import _http

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SOURCES = sorted(
    path for room in ("publisher", "adapters") for path in (ROOT / room).rglob("*.py")
)
CONTROL = re.compile(r"^\| (\d+\.\d+\.\d+) \|(.*)\|$", re.MULTILINE)
ROWS = {
    number: [cell.strip() for cell in cells.split("|")]
    for number, cells in CONTROL.findall(
        (ROOT / "docs" / "security.md").read_text("utf-8")
    )
}
DYNAMIC = {"eval", "exec", "system", "popen", "create_subprocess_shell"}
UNSAFE = re.compile(r"^\s*(?:import|from) (?:pickle|marshal|shelve)\b", re.MULTILINE)
STATEMENTS = {
    "text",
    "execute",
    "executemany",
    "scalar",
    "scalars",
    "exec_driver_sql",
    "executescript",
    "DDL",
}


@cache
def calls(path):
    """Return every call in a file, with the last part of its name."""
    nodes = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    return [
        (getattr(node.func, "attr", getattr(node.func, "id", "")), node)
        for node in nodes
    ]


@pytest.mark.long
def test_no_shell_is_started():
    """No command line is built for a shell, and no text is run as code."""
    found = [
        f"{path.name}:{node.lineno} {name}"
        for path in SOURCES
        for name, node in calls(path)
        if name in DYNAMIC or any(keyword.arg == "shell" for keyword in node.keywords)
    ]
    assert found == []
    assert [
        path.name for path in SOURCES if UNSAFE.search(path.read_text("utf-8"))
    ] == []


def is_built(argument):
    """Return True for a text with inserted values, except one from `quote_identifier`."""
    parts = [
        part.value
        for part in getattr(argument, "values", ())
        if isinstance(part, ast.FormattedValue)
    ]
    quoted = all(
        isinstance(part, ast.Call)
        and getattr(part.func, "id", "") == "quote_identifier"
        for part in parts
    )
    return isinstance(argument, ast.BinOp) or bool(parts and not quoted)


def test_no_statement_is_built_from_values():
    """SQL is written by SQLAlchemy or is a constant in the code. No value is part of its text."""
    built = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        if "migrations" not in path.parts
        for name, node in calls(path)
        if name in STATEMENTS and any(map(is_built, node.args))
    ]
    assert built == []


def test_sqlite_opens_no_file_unchecked():
    """One function checks files of other users beside a database before each opening."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, node in calls(path)
        if name in {"connect", "create_engine"} and "sqlite" in ast.unparse(node)
    }
    assert found == {
        "publisher/store/db/database.py",
        "publisher/store/db/sqlite_files.py",
        "publisher/store/recovery/setup.py",
    }


def test_no_old_tls_is_used():
    """No platform is called with less than TLS 1.2, or without checking its certificate."""
    context = _http.load_tls_context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("control", ROWS)
def test_each_control_has_a_status_and_a_test_that_exists(control):
    """A row has requirement, measure, status and test. Rows with `later` and `no` need no test."""
    *_words, status, named = ROWS[control]
    assert len(ROWS[control]) == 4
    assert status in {"done", "partly", "later", "no"}
    tests = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", named)
    assert tests or status in {"later", "no"}
    for file, name in tests:
        text = (TESTS / file).read_text("utf-8")
        assert not name or f"def {name}(" in text, f"{file} has no {name}"


def test_the_controls_are_in_order():
    """Each control has one row, in the order of the standard."""
    numbers = [
        number
        for number, _cells in CONTROL.findall(
            (ROOT / "docs" / "security.md").read_text("utf-8")
        )
    ]
    assert numbers == sorted(
        set(numbers), key=lambda number: [int(part) for part in number.split(".")]
    )
