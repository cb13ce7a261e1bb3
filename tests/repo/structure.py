"""Prints figures of readable code: files, names, sizes, words. `test_structure.py` checks them.

`scripts/structure` runs it. The files of one delivery are measured by sending one post to an
account.
"""

import ast
import asyncio
import contextlib
import functools
import gc
import io
import json
import re
import sys
import threading
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from publisher.cli import COMMANDS
from publisher.engine.sender import send_delivery
from tests.bench.database import accept_schedule, application, promote_all
from tests.bench.platform import run_platform
from tests.bench.workspace import format_posts, workspace, write_schedule

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("publisher", "adapters")
MIGRATIONS = "publisher/store/db/migrations/"
APART = ("publisher/simulator/", "publisher/testing/", MIGRATIONS)
"""Not counted as files of the product: the simulator, test support, and migrations."""

SEARCH_WORDS = {
    "queue or outbox": ("queue", "outbox"),
    "worker": ("worker",),
    "job": ("job",),
    "claim": ("claim",),
    "lease": ("lease",),
    "heartbeat": ("heartbeat",),
    "retry": ("retry",),
    "backoff": ("backoff",),
    "timeout": ("timeout",),
    "rate limit": ("ratelimit", "rate_limit"),
    "quota": ("quota",),
    "circuit breaker": ("circuit_breaker", "circuitbreaker"),
    "maintenance": ("maintenance",),
    "health": ("health",),
    "metric": ("metric",),
    "alert": ("alert",),
    "audit": ("audit",),
    "checkpoint": ("checkpoint",),
    "backup": ("backup",),
    "restore": ("restore",),
    "idempotency": ("idempot",),
    "fencing": ("fencing",),
    "transaction": ("transaction",),
    "reconcile": ("reconcil",),
    "monitor": ("monitor",),
    "capacity": ("capacity",),
    "manual": ("manual",),
    "crash": ("crash",),
    "skew": ("skew",),
    "policy": ("policy", "policies"),
}
"""Search words of an engineer, and their spellings in names of modules, classes or functions."""

BANNED_WORDS = (
    "anew",
    "in hand",
    "in earnest",
    "by and by",
    "at one stroke",
    "heed(?:s|ed)?",
    "hasten(?:s|ed)?",
    "mend(?:s|ed)?",
    "the dead",
    "strangers?",
    "whoever",
    "of age",
    "tells?",
    "told",
    "books",
    "floors?",
    "filing",
)
"""Words of an older English, or of a private vocabulary.

They are allowed in quotes and as others' attributes: Tieba calls its replies `floor`.
"""

BANNED_TEST_NAMES = frozenset({
    "filing", "floor", "floors", "gap", "gaps", "orders", "settle", "settled", "settles",
    "terms", "world",
})  # fmt: skip
"""Words with another word for the same thing in the product.

It has actions and events, a visibility window, a minimum interval, policies, parts and plans.
"""
INTERFACE_NAMES = frozenset({"is_settled", "settle_time"})
"""Names with such a word in the product: a column of an alert, an option of the conformance kit."""

NOUNLESS_CLAUSE = re.compile(r"\b(?:what|who|whose|those|which)\b", re.IGNORECASE)
"""Begins a clause where a noun could stand."""
LAYOUT = frozenset({
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE,
    tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
})  # fmt: skip
"""Tokens that are no code."""
_BANNED = re.compile(
    rf"(?<![\w./\"'`?-])(?:{'|'.join(BANNED_WORDS)})(?![\w-])", re.IGNORECASE
)
_TEXT_FILES = ("*.py", "*.md", "*.toml", "*.html", "*.sh")
_NOT_OURS = frozenset({"THIRD_PARTY_NOTICES.md"})
"""The licences of others, word for word."""
_SECTIONS = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The result of `measure`. Paths are relative to the repository; shares are between 0 and 1."""

    files: int
    lines: int
    private_called_once: float
    classes_defined_twice: dict[str, list[str]]
    gerund_modules: list[str]
    commands_without_file: list[str]
    words_not_found: list[str]
    banned_words: list[str]
    banned_test_names: list[str]
    glossary_rows: int
    longest_html_line: int
    largest_functions: dict[str, int]
    largest_files: dict[str, int]
    median_function: int
    ninth_decile_function: int
    tokens: int
    tokens_per_line: float
    """Lines without blank ones, comments and docstrings."""
    nounless_clauses: float
    """In 1,000 words of docstrings."""


def measure() -> Structure:
    with _no_collections():
        return _measure()


def _measure() -> Structure:
    tests = _test_trees()
    trees = {path: ast.parse(path.read_text("utf-8")) for path in product_files()}
    counted = [
        path
        for path in trees
        if not relative(path).startswith(APART) and trees[path].body[1:]
    ]
    sized = {
        path: tree
        for path, tree in trees.items()
        if not relative(path).startswith(MIGRATIONS)
    }
    functions = {
        f"{relative(path)}:{function.name}:{function.lineno}": count_statements(
            function.body
        )
        for path, tree in sized.items()
        for function in _functions(tree)
    }
    sizes = sorted(functions.values())
    tokens, lines = map(sum, zip(*map(_count_tokens, sized.items()), strict=True))
    docstrings = [text for tree in sized.values() for text in _docstrings(tree)]
    words = sum(len(text.split()) for text in docstrings)
    return Structure(
        files=len(counted),
        lines=sum(_line_count(path) for path in trees),
        private_called_once=_share_called_once(trees),
        classes_defined_twice=_classes_defined_twice(trees | tests),
        gerund_modules=[
            relative(path)
            for path in trees
            if path.stem.endswith("ing") and path.stem != "string"
        ],
        commands_without_file=_commands_without_file(),
        words_not_found=_words_not_found(trees),
        banned_words=list(banned_words()),
        banned_test_names=list(banned_test_names(tests)),
        glossary_rows=_glossary_rows(),
        longest_html_line=max(
            len(line)
            for path in (ROOT / "publisher" / "web").rglob("*.html")
            for line in path.read_text("utf-8").splitlines()
        ),
        largest_functions=_largest(functions),
        largest_files=_largest(
            {
                relative(path): count_statements(tree.body)
                for path, tree in sized.items()
            }
        ),
        median_function=sizes[len(sizes) // 2],
        ninth_decile_function=sizes[len(sizes) * 9 // 10],
        tokens=tokens,
        tokens_per_line=tokens / lines,
        nounless_clauses=1000
        * sum(len(NOUNLESS_CLAUSE.findall(text)) for text in docstrings)
        / words,
    )


def product_files() -> Iterator[Path]:
    for package in PRODUCT:
        yield from sorted((ROOT / package).rglob("*.py"))


def _test_trees() -> dict[Path, ast.Module]:
    files = sorted((ROOT / "tests").rglob("*.py"))
    return {path: ast.parse(path.read_text("utf-8")) for path in files}


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Keep millions of new nodes from being searched for garbage again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def banned_words() -> Iterator[str]:
    """Find banned words in product, docs, scripts and tests."""
    for path in _text_files():
        text = path.read_text("utf-8")
        if not _BANNED.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            yield from (
                f"{relative(path)}:{number}: {found[0]}"
                for found in _BANNED.finditer(line)
            )


def _text_files() -> Iterator[Path]:
    """Yield the texts of the repository, without environments and licences of others."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
    for pattern in _TEXT_FILES:
        for path in sorted(ROOT.glob(pattern)):
            if path.name not in _NOT_OURS and path.name[0] != ".":
                yield path
        for folder in sorted(folders):
            yield from sorted(folder.rglob(pattern))


def banned_test_names(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Find given names in tests with a word that the product does not use for it.

    The name of a test function is a sentence, with each word in its plain sense.
    """
    banned = re.compile("|".join(BANNED_TEST_NAMES), re.IGNORECASE)
    for path, tree in trees.items():
        if not banned.search(path.read_text("utf-8")):
            continue
        for node in ast.walk(tree):
            name = _given_name(node)
            if not name or name.startswith("test_") or name in INTERFACE_NAMES:
                continue
            if BANNED_TEST_NAMES & set(_split_name(name)):
                yield f"{relative(path)}:{node.lineno}: {name}"


def _given_name(node: ast.AST) -> str | None:
    """Return the name that a node gives to a function, class, parameter or variable."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case ast.arg():
            return node.arg
        case ast.Name(ctx=ast.Store()):
            return node.id
        case ast.Attribute(ctx=ast.Store()):
            return node.attr
        case _:
            return None


def _split_name(name: str) -> list[str]:
    """Return the words of a name in lower case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def _count_tokens(item: tuple[Path, ast.Module]) -> tuple[int, int]:
    """Return the tokens of a file's code, and the lines that they stand on."""
    path, tree = item
    documented = {
        number
        for node in _walk(tree)
        if isinstance(node, ast.stmt) and _is_docstring(node)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens, lines = 0, set[int]()
    for token in tokenize.generate_tokens(
        io.StringIO(path.read_text("utf-8")).readline
    ):
        if token.type not in LAYOUT and token.start[0] not in documented:
            tokens += 1
            lines.update(range(token.start[0], token.end[0] + 1))
    return tokens, len(lines)


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in _walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def _line_count(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def count_statements(body: list[ast.stmt]) -> int:
    """Count statements, also inside others, without imports and docstrings.

    Imports and docstrings make nothing harder to follow.
    """
    return sum(
        not isinstance(statement, ast.Import | ast.ImportFrom)
        and not _is_docstring(statement)
        for statement in _walk_statements(body)
    )


@functools.cache
def _walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Return all nodes of a tree; walking it takes far longer than reading them again."""
    return tuple(ast.walk(tree))


def _walk_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, also inside others. No expression contains any."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        waiting += [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case)
        ]


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _largest(sizes: dict[str, int], count: int = 10) -> dict[str, int]:
    """Return the largest entries, the largest first."""
    return dict(sorted(sizes.items(), key=lambda item: item[1], reverse=True)[:count])


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node
        for node in _walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _share_called_once(trees: dict[Path, ast.Module]) -> float:
    """Return the share of private functions and methods named only once in their module."""
    private, once = 0, 0
    for tree in trees.values():
        uses = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in _walk(tree)
            if isinstance(node, ast.Name | ast.Attribute)
        )
        for function in _functions(tree):
            if function.name.startswith("_") and not function.name.startswith("__"):
                private += 1
                once += uses[function.name] == 1
    return once / private


def _classes_defined_twice(trees: dict[Path, ast.Module]) -> dict[str, list[str]]:
    places = defaultdict(list)
    for path, tree in trees.items():
        for node in _walk_statements(tree.body):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{relative(path)}:{node.lineno}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def _commands_without_file() -> list[str]:
    folder = ROOT / "publisher" / "cli" / "commands"
    return [
        name
        for name in COMMANDS
        if not (folder / f"{name.replace('-', '_')}.py").is_file()
    ]


def _words_not_found(trees: dict[Path, ast.Module]) -> list[str]:
    names = {path.stem.lower() for path in trees}
    for tree in trees.values():
        names |= {function.name.lower() for function in _functions(tree)}
        names |= {
            node.name.lower() for node in _walk(tree) if isinstance(node, ast.ClassDef)
        }
    return [
        word
        for word, spellings in SEARCH_WORDS.items()
        if not any(spelling in name for name in names for spelling in spellings)
    ]


def _glossary_rows() -> int:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    parts = _SECTIONS.split(text)
    glossary = parts[parts.index("Glossary") + 1]
    return sum(line.startswith("| ") for line in glossary.splitlines()) - 2


def files_of_one_delivery() -> list[str]:
    """Send one post to one Weibo account. Return the files run from its claim to its receipt."""
    files: set[str] = set()
    roots = tuple(str(ROOT / package) for package in PRODUCT)
    is_recording = threading.Event()

    def record(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and is_recording.is_set():
            files.add(frame.f_code.co_filename)

    async def send_one(folder: Path) -> None:
        await accept_schedule(folder)
        async with application(folder, can_send=True) as opened:
            await promote_all(opened)
            for adapter in (
                opened.adapters.values()
            ):  # the daemon reads every account at its start
                await adapter.list_recent()
            is_recording.set()
            [lease] = await opened.store.outbox.claim(1)
            await send_delivery(lease, opened.store, opened.adapters, asyncio.Event())
            is_recording.clear()
            assert (
                Counter(item.state for item in await opened.store.queries.deliveries())[
                    "published"
                ]
                == 1
            )

    with run_platform() as platform, workspace(1, platform.base_url) as folder:
        write_schedule(folder, format_posts(1, None))
        threading.setprofile(record)
        sys.setprofile(record)
        try:
            asyncio.run(send_one(folder))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return sorted(relative(Path(file)) for file in files if file.startswith(roots))


def main(show: Callable[[str], None] = print) -> None:
    delivery = files_of_one_delivery()
    show(
        json.dumps(
            {**asdict(measure()), "files_of_one_delivery": delivery},
            indent=2,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
