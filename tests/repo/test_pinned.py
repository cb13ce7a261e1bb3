"""The pinned files are complete: the set-up uses `--no-deps` and adds no missing package."""

import contextlib
import importlib.util
import json
import re
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def read_pins(file):
    """Return the pinned versions by package."""
    return {
        canonicalize_name(name): pin
        for name, pin in PIN.findall((ROOT / file).read_text("utf-8"))
    }


def needed(
    package: str,
    extras: frozenset[str],
    met: dict[tuple[str, frozenset[str]], list[Requirement]],
) -> None:
    """Add to `met` the requirements of a package with these extras, and theirs in turn."""
    if (package, extras) in met:
        return
    candidates = [Requirement(line) for line in requires(package) or ()]
    met[package, extras] = [
        one
        for one in candidates
        if not one.marker
        or any(one.marker.evaluate({"extra": e}) for e in extras | {""})
    ]
    for one in met[package, extras]:
        needed(canonicalize_name(one.name), frozenset(one.extras), met)


def needed_by(lines):
    """Return these requirements, and all that they need in turn."""
    wanted = [Requirement(line) for line in lines]
    met: dict[tuple[str, frozenset[str]], list[Requirement]] = {}
    for one in wanted:
        needed(canonicalize_name(one.name), frozenset(one.extras), met)
    return wanted + [one for requirements in met.values() for one in requirements]


@pytest.mark.parametrize(
    ("file", "extras"), [("constraints.txt", set()), ("constraints-test.txt", {"test"})]
)
def test_every_package_that_is_needed_is_pinned(file, extras):
    """Every requirement of publisher and its packages is pinned in a version that satisfies it.

    Extras are included.
    """
    pins = read_pins(file)
    optional = [
        line
        for extra in sorted(extras)
        for line in PROJECT["optional-dependencies"][extra]
    ]
    wanted = needed_by(
        [*PROJECT["dependencies"], *optional]
    )  # not of an older installation
    assert {canonicalize_name(one.name) for one in wanted} - pins.keys() == set()
    assert [
        str(one)
        for one in wanted
        if pins[canonicalize_name(one.name)] not in one.specifier
    ] == []


def test_what_only_builds_publisher_is_not_installed_to_run_it():
    """Tools are pinned apart, complete, in agreeing versions, and no running package needs them."""
    builders = {
        canonicalize_name(one.name)
        for one in needed_by(SETTINGS["dependency-groups"]["build"])
    }
    runs = {canonicalize_name(one.name) for one in needed_by(PROJECT["dependencies"])}
    pins, run_pins, test_pins = map(
        read_pins, ("constraints-build.txt", "constraints.txt", "constraints-test.txt")
    )
    assert pins.keys() == builders
    assert (builders - runs) & run_pins.keys() == set()
    assert [
        name for name in pins.keys() & run_pins.keys() if pins[name] != run_pins[name]
    ] == []
    assert [
        name for name in pins.keys() & test_pins.keys() if pins[name] != test_pins[name]
    ] == []


def test_the_notices_name_what_is_installed_and_served():
    """Every package that runs and every vendored file is there with its licence.

    `scripts/notices.py` writes it.
    """
    notices = load_script("notices")
    assert notices.NOTICES.read_text("utf-8") == notices.format_notices()
    assert "THIRD_PARTY_NOTICES.md" in PROJECT["license-files"]


class OpenDatabase(BaseHTTPRequestHandler):
    """Answers as the public database does: one of the requested packages has an advisory."""

    answer = staticmethod(
        lambda query: (
            {"vulns": [{"id": "CVE-1"}]} if query["package"]["name"] == "jinja2" else {}
        )
    )

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))[
            "queries"
        ]
        content = json.dumps(
            {"results": [self.answer(query) for query in asked]}
        ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments):
        pass


@contextlib.contextmanager
def served(handler):
    """Serve a database on this machine; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class CleanDatabase(OpenDatabase):
    answer = staticmethod(lambda _query: {})


class OtherAnswers(OpenDatabase):
    answer = staticmethod(lambda _query: "busy")


@pytest.mark.parametrize(
    ("database", "code", "words"),
    [
        (OpenDatabase, 1, "jinja2"),
        (CleanDatabase, 0, ""),
        (OtherAnswers, 3, "NOT CHECKED"),
    ],
)
def test_known_advisories_are_reported(capsys, database, code, words):
    """One exit code each for an advisory, for none, and for an answer that cannot be read."""
    with served(database) as address:
        assert load_script("advisories").main([address]) == code
    shown = capsys.readouterr()
    assert words in shown.out + shown.err
    assert ("CVE-1" in shown.out) is (code == 1)


def test_a_check_without_a_network_says_that_it_did_not_run(capsys):
    """Silence would be taken for an answer."""
    assert load_script("advisories").main(["http://127.0.0.1:9"]) == 3
    assert "NOT CHECKED" in capsys.readouterr().err


def load_script(name):
    """Return a script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
