"""The docs describe everything that exists, and nothing else."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from adapters import BUILT_IN_ADAPTERS
from publisher.app.alert_addresses import PARSERS
from publisher.cli import COMMANDS
from publisher.domain.alert_classes import ALERT_CLASSES, EVENT_CODES, Audience
from publisher.domain.delivery import State
from publisher.domain.results import HoldReason
from publisher.schedule.model import schedule_schema
from publisher.settings_file import settings_schema
from publisher.simulator.faults import FAULT_KINDS
from publisher.store.base import ALERTED_STATES
from publisher.store.db.postgres import DATABASE_BUSY, DISK_FULL
from scripts.make_docs import STATEMENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("0*.md"))
CODE_PAGES = ("holds.md", "alerts.md", "refusals.md")
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 # git is on the PATH
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
).stdout.split()

QUALITY = {
    "sound": {
        "kit_passes",
        "codes_sourced",
        "one_create",
        "client_given",
        "one_refresh",
        "length_measured",
    },
    "steady": {
        "find_past_baseline",
        "marker_survives",
        "probe_at_start",
        "logs_once",
        "sign_in_documented",
    },
    "polished": {"retraction_confirmed", "limits_documented", "golden_pairs"},
}
MACHINES = re.compile(
    r"/(?:home|Users|root)/[\w.-]+/|\b[\w-]+\.(?:internal|corp|intranet|lan)\b|https?://[^\s\"]+\.(?:whl|tgz|tar\.gz)\b"
)
PRIVATE = re.compile(
    r"\b(?:10(?:\.\d{1,3}){3}|(?:192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2})\b"
)


def headings(page: str) -> list[str]:
    """Return a page's headings, without their marks."""
    return re.findall(r"^#+ (.+)$", (DOCS / page).read_text("utf-8"), re.MULTILINE)


def keys_of(schema: dict, table: dict | None = None, where: str = "") -> list[str]:
    """Return every key of a file, with dots for keys of inner tables."""
    found = []
    for key, entry in (table or schema)["properties"].items():
        found.append(f"{where}{key}")
        if inner := re.search(r"#/\$defs/(\w+)", str(entry)):
            deeper = schema["$defs"][inner[1]]
            if "properties" in deeper:
                found += keys_of(schema, deeper, f"{where}{key}.")
    return found


def alert_codes() -> set[str]:
    """Return the codes of all alerts that the store writes, as literals or by constants."""
    text = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "publisher" / "store").rglob("*.py")
    )
    constants = dict(re.findall(r'^([A-Z_]+) = "(\w+)"$', text, re.MULTILINE))
    arguments = re.findall(
        r"(?:raise_delivery_alert(?:_once)?|(?:raise|keep)_alert(?:_hourly)?|replace_alerts)"
        r'\(\s*transaction,\s+[\w.()]+,\s+("\w+"|[A-Z_]+)',
        text,
    )
    arguments += re.findall(
        r'(?:_set_alert|raise_alert_once)\(\s*("\w+"|[A-Z_]+)', text
    )
    codes = {name.strip('"') for name in arguments if name.startswith('"')}
    codes |= {constants[name] for name in arguments if name in constants}
    codes |= set(re.findall(r'alert="(\w+)"', text))
    codes |= set(re.findall(r'^ +code = "(\w+)"$', text, re.MULTILINE))
    return (
        codes | {state.value for state in ALERTED_STATES} | {DATABASE_BUSY, DISK_FULL}
    )


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("cli.md", set(COMMANDS)),
        ("states.md", set(State)),
        ("holds.md", set(HoldReason)),
        ("settings.md", set(keys_of(settings_schema()))),
        (
            "schedule.md",
            {key.removeprefix("post.") for key in keys_of(schedule_schema())}
            - {"post"},
        ),
        (
            "templates.md",
            {path.parent.name for path in (ROOT / "templates").glob("*/sample.toml")},
        ),
        ("adapters.md", set(BUILT_IN_ADAPTERS)),
        ("codes.md", set(BUILT_IN_ADAPTERS)),
    ],
)
def test_everything_has_a_heading(page, wanted):
    """Each command, state, hold reason, alert, key, template and adapter is described, once."""
    found = headings(page)
    assert {name: found.count(name) for name in wanted} == dict.fromkeys(wanted, 1)


def codes_described(page: str) -> list[str]:
    """Return the codes that have a section on a page."""
    return [
        heading for heading in headings(page) if re.fullmatch(r"[a-z][a-z_]*", heading)
    ]


def start_refusals() -> set[str]:
    """Return the codes of refusals to start, as the code raises them."""
    files = (
        "store/recovery/setup.py",
        "store/recovery/folder.py",
        "store/db/sqlite_files.py",
        "store/system_alerts.py",
        "app/open_store.py",
        "app/permissions.py",
    )
    text = "\n".join((ROOT / "publisher" / name).read_text("utf-8") for name in files)
    return set(re.findall(r'RefusedError\(\s*"(\w+)"', text))


def test_every_alert_has_a_class():
    """The urgency and the audience of each alert are decided, not left to the default."""
    described = {*codes_described("alerts.md"), *codes_described("refusals.md")}
    classified = {last_part(code) for code in ALERT_CLASSES}
    assert (alert_codes() | set(codes_described("alerts.md"))) - classified == set()
    assert classified - described == set()
    assert EVENT_CODES - ALERT_CLASSES.keys() == set()


def last_part(code: str) -> str:
    """Return the code under which an alert is described, such as a reason of cancellation."""
    return code.rpartition(".")[2]


def test_the_table_of_routes_has_the_classes():
    """Staff read who is notified of which code, and when, in the table that the code follows."""
    text = (DOCS / "monitoring.md").read_text("utf-8")
    routes = "|".join(audience.value for audience in Audience)
    rows = re.findall(
        rf"^\| `({routes})` \| \S+ (\w+) \| ([\w, ]+) \|$", text, re.MULTILINE
    )
    wanted: dict[tuple[str, str], list[str]] = {}
    for code, known in ALERT_CLASSES.items():
        key = known.audience.value, known.urgency.value
        wanted.setdefault(key, []).append(last_part(code))
    assert {(route, urgency): codes.split(", ") for route, urgency, codes in rows} == {
        key: sorted(codes) for key, codes in wanted.items()
    }


def test_every_alert_and_refusal_has_one_section():
    """An operator finds a code on one page: that of alerts or that of refusals to start."""
    described = [*codes_described("alerts.md"), *codes_described("refusals.md")]
    assert sorted(described) == sorted(set(described))
    assert alert_codes() - set(described) == set()
    assert start_refusals() - set(codes_described("refusals.md")) == set()


@pytest.mark.parametrize("page", CODE_PAGES)
def test_each_code_is_found_in_the_index(page):
    """Each code of a page is in its index by alphabet, with its message in both languages."""
    text = (DOCS / page).read_text("utf-8")
    rows = re.findall(
        r"^\| \[(\w+)\]\(#\1\) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE
    )
    assert [code for code, *_ in rows] == sorted(codes_described(page))
    assert [code for code, *messages in rows if code in messages] == []


@pytest.mark.parametrize("page", CODE_PAGES)
def test_each_code_has_three_statements_in_both_languages(page):
    """Of each code a page says what happened, what follows by itself, and what to do."""
    text = (DOCS / page).read_text("utf-8")
    sections = re.findall(
        r"^## ([a-z_]+)$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    labels = [label for both in STATEMENTS.values() for label in both]
    assert sections
    for code, section in sections:
        assert (
            re.findall(r"^- \*\*(.+?)\*\* \S", section, re.MULTILINE)[:6] == labels
        ), code


def test_every_fault_and_invariant_is_in_the_failure_model_once():
    """F01 to F106 and I1 to I25 each have their row, in order."""
    text = (DOCS / "failure-model.md").read_text("utf-8")
    assert re.findall(r"^\| ([FI]\d+) \|", text, re.MULTILINE) == [
        *(f"F{number:02}" for number in range(1, 107)),
        *(f"I{number}" for number in range(1, 26)),
    ]


def rows() -> list[list[str]]:
    """Return the failure model's rows, cell by cell."""
    lines = (DOCS / "failure-model.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if re.fullmatch(r"[FI]\d+", row[0])]


def names(file: str, number: str) -> bool:
    """Return True if a test file names a fault or invariant, as F07, f07 or within `F01-F11`."""
    text = (ROOT / "tests" / file).read_text("utf-8").replace("_", " ")
    ranges = re.findall(r"\b([FI])(\d+)(?:-| to )[FI](\d+)", text)
    return bool(re.search(rf"\b{number}(?!\d)", text, re.IGNORECASE)) or any(
        kind == number[0] and int(first) <= int(number[1:]) <= int(last)
        for kind, first, last in ranges
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_row_has_a_status_and_what_it_names_exists(row):
    """A row has a known status. An invariant's tests exist and, unless starred, name it."""
    number, status = row[0], row[4] if row[0].startswith("F") else row[2]
    assert re.match(r"(done|partly|later)(:|$)", status)
    for file, star in (
        re.findall(r"([\w/]+\.py)(\*?)", row[-1]) if number.startswith("I") else ()
    ):
        assert (ROOT / "tests" / file).is_file(), file
        assert star or names(file, number), f"{file} does not name {number}"


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_three_parts(path):
    """Context, decision and cost, in that order; its number is its file's."""
    text = path.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "What it costs",
    ]
    assert text.startswith(f"# {path.name[:4]}: ")
    assert f"({path.name})" in (DOCS / "decisions" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_have_targets(path):
    """Each link to a file leads to one, and each `#…` to a heading of it."""
    for target, fragment in re.findall(
        r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)", path.read_text("utf-8")
    ):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if fragment:
            anchors = [
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(
                    r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE
                )
            ]
            assert fragment in anchors, f"{target}#{fragment}"


def test_the_page_on_extending_names_files_that_exist():
    """Each path of the page is there. Words in capitals, as in `NAME.py`, stand for a new one."""
    text = (DOCS / "extending.md").read_text("utf-8")
    paths = re.findall(
        r"`((?:publisher|adapters|templates|tests|docs|scripts)/[^`\s]*)`", text
    )
    named = [path for path in paths if not re.search(r"[A-Z]{4}", path)]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("scheme", PARSERS)
def test_each_form_of_a_channels_address_is_in_the_table(scheme):
    """Operators find each scheme of an alert channel in docs/monitoring.md."""
    rows = re.findall(
        r"^\|.*", (DOCS / "monitoring.md").read_text("utf-8"), re.MULTILINE
    )
    assert any(f"`{scheme}://" in row for row in rows)


def test_pictures_are_few_and_small():
    """Files that every reader loads stay small."""
    sizes = [path.stat().st_size for path in (DOCS / "images").iterdir()]
    assert len(sizes) <= 6
    assert max(sizes) < 200_000


def test_the_simulators_page_names_every_fault_and_endpoint():
    """An author of a test finds each kind of fault and each control endpoint."""
    text = (DOCS / "simulator.md").read_text("utf-8")
    control = (ROOT / "publisher" / "simulator" / "control.py").read_text("utf-8")
    endpoints = re.findall(r'\("(GET|POST|DELETE)", "(/_sim/[^"]*)"', control)
    wanted = [
        *(f"`{kind}`" for kind in FAULT_KINDS),
        *(f"`{verb} {path}`" for verb, path in endpoints),
    ]
    assert [name for name in wanted if name not in text] == []


def test_the_simulators_page_names_every_client_as_it_is_pinned():
    """Each client that was run against the simulator is listed in the version that works on it."""
    tests = (
        path.read_text("utf-8")
        for path in sorted((ROOT / "tests" / "interop").glob("test_*_client*.py"))
    )
    pinned = {
        f"{name} {version}"
        for text in tests
        for name, version in re.findall(r'"([a-z-]+)==([^"]+)"', text)
    }
    rows = re.findall(
        r"^\| (?:Weibo|WeChat|Tieba) \| ([^|]+) \|",
        (DOCS / "simulator.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert set(rows) == pinned


def test_both_readmes_have_the_same_shape():
    """Both languages have the same number of sections, the same commands, pictures and pages."""
    english, chinese = (
        ROOT.joinpath(name).read_text("utf-8")
        for name in ("README.md", "README.zh-CN.md")
    )
    for pattern in (r"^## ", r"^!\[", r"^```"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(
            re.findall(pattern, chinese, re.MULTILINE)
        )
    assert set(re.findall(r"\]\((docs/[^)]+)\)", english)) == set(
        re.findall(r"\]\((docs/[^)]+)\)", chinese)
    )


def test_the_readme_links_every_page():
    """A page that nobody links is found by nobody; the Chinese ones have an English twin."""
    linked = set(
        re.findall(r"\]\(docs/([^)#]+)", (ROOT / "README.md").read_text("utf-8"))
    )
    pages = {
        path.name for path in DOCS.glob("*.md") if not path.name.endswith(".zh-CN.md")
    }
    assert pages - linked == set()


SECTIONS = {
    "Changed": "变更",
    "Added": "新增",
    "Not yet there": "尚未提供",
    "What you must do": "您要做的",
}
"""The sections of a release in the changelog, with their Chinese names."""


def test_both_changelogs_have_the_same_releases_and_sections():
    """The changelog has the same releases and sections, in the same order, in both languages."""
    english, chinese = (
        re.findall(
            r"^(##+) (.+)$", ROOT.joinpath(name).read_text("utf-8"), re.MULTILINE
        )
        for name in ("CHANGELOG.md", "CHANGELOG.zh-CN.md")
    )
    assert [(level, SECTIONS.get(title, title)) for level, title in english] == chinese


@pytest.mark.parametrize("platform", BUILT_IN_ADAPTERS)
def test_quality_is_answered_rule_by_rule(platform):
    """Each rule is done, todo or exempt, and says why; a kit that passes is one that is run."""
    quality = tomllib.loads(
        (ROOT / "adapters" / platform / "quality.toml").read_text("utf-8")
    )
    assert {level: set(rules) for level, rules in quality.items()} == QUALITY
    for rules in quality.values():
        for rule in rules.values():
            assert rule["answer"] in {"done", "todo", "exempt"}
            assert rule["comment"].strip()
    kit = (ROOT / "tests" / "adapters" / "test_conformance.py").read_text("utf-8")
    assert (
        quality["sound"]["kit_passes"]["answer"] != "done"
        or f'Platform("{platform}")' in kit
    )


def test_no_trace_of_a_machine():
    """No tracked file names a folder of a person's machine, a private host, or a download address.

    Addresses of private networks are allowed in tests, as input that must be refused.
    """
    if not TRACKED:
        pytest.skip("NO GIT: the list of tracked files cannot be had")
    traces = [
        MACHINES,
        re.compile(re.escape(f"{ROOT.parent}/")),
        re.compile(re.escape(f"{Path.home()}/")),
    ]
    found = []
    for name in TRACKED:
        path = ROOT / name
        if path.suffix != ".png" and path != Path(__file__) and path.is_file():
            patterns = traces if name.startswith("tests/") else [*traces, PRIVATE]
            text = path.read_text("utf-8", errors="replace")
            found += [
                f"{name}: {hit[0]}"
                for pattern in patterns
                for hit in pattern.finditer(text)
            ]
    assert found == []
