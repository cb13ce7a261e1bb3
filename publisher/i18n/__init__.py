"""Message catalogue in Simplified Chinese and English. The core uses codes; all text for people is here.

Each `*.toml` beside this file holds one area. An entry is a code with its text in both languages, perhaps with a hint:

    [unknown_key]
    zh_CN = "没有“{key}”这一项"
    en = "there is no key {key}"
    hint.zh_CN = "…"
    hint.en = "…"

A hint says what to do. It is shown with problems, alerts and pauses; for a delivery the hint of its state is shown.

A command is written `publisher COMMAND …`, with all that it requires, and appears as this process was called.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Literal

from publisher.domain.errors import Problem

Lang = Literal["zh_CN", "en"]
LANGUAGES: tuple[Lang, ...] = ("zh_CN", "en")
PROGRAM = "publisher"
"""The name of the program where the shell finds it, and in the texts of the catalogue."""
COMMON_AREAS = ("cli.toml", "states.toml", "files.toml")
"""The areas of which most commands need an entry."""
_COMMAND_HEADER = re.compile(r"^\[cmd_(.+)\]$", re.MULTILINE)
"""The header of a command's entry: finding these is much quicker than parsing every area."""


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of one language."""

    lang: Lang = "zh_CN"
    program: str = PROGRAM
    """How this process was called, as a shell reads it; commands in messages begin with it."""
    workspace_option: str = ""
    """The option `-C DIR` that it was called with, if any; commands in messages have it too."""

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        return load_catalogue()

    def translate(self, code: str, /, **facts: object) -> str:
        """Return the message of a code. A code without an entry is returned as it is, so that nothing is hidden."""
        entry = self.entries.get(code)
        return self._format(entry[self.lang], facts) if entry else code

    def first_known(self, *codes: str) -> str:
        """Return the first code that has an entry, else the last."""
        return next((code for code in codes if code in self.entries), codes[-1])

    def platform_name(self, platform: str) -> str:
        """Return a platform's name for people. A platform without an entry is called by its code."""
        code = f"platform_{platform}"
        return self.translate(code) if code in self.entries else platform

    def hint(self, code: str, /, **facts: object) -> str:
        """Return what to do about a code; empty if the message already says it."""
        hint = self.entries.get(code, {}).get("hint")
        return self._format(hint[self.lang], facts) if hint else ""

    def format_problem(self, problem: Problem) -> str:
        """Format a problem on one line: FILE:LINE:COLUMN: key.path: message (hint)."""
        parts = []
        if location := problem.location:
            parts.append(f"{location.file}:{location.line}:{location.column}:")
            parts += [f"{location.path}:"] if location.path else []
        parts.append(self.translate(problem.code, **problem.facts))
        if hint := self.hint(problem.code, **problem.facts):
            parts.append(f"({hint})")
        return " ".join(parts)

    def _format(self, text: str, facts: Mapping[str, object]) -> str:
        if self.program != PROGRAM or self.workspace_option:
            program = self.program.replace("{", "{{").replace("}", "}}")
            option = self.workspace_option.replace("{", "{{").replace("}", "}}")

            def call(found: re.Match[str]) -> str:
                names_workspace = found[1] == "-C"
                return " ".join(filter(None, (program, "" if names_workspace else option, found[1])))

            text = command_pattern().sub(call, text)
        return text.format_map(_Facts(facts))


class _Facts(dict[str, object]):
    """Facts of a message; a name without a value stays as it is written."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


class _Catalogue(Mapping[str, Mapping[str, Any]]):
    """The entries of all areas. An area is parsed once a code is not in those before it: all of them take 0.04 s."""

    def __init__(self, areas: Sequence[str]) -> None:
        self.areas = areas

    def __getitem__(self, code: str) -> Mapping[str, Any]:
        for area in self.areas:
            if code in (entries := _load_area(area)):
                return entries[code]
        raise KeyError(code)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(_load_area, self.areas))

    def __len__(self) -> int:
        return sum(map(len, map(_load_area, self.areas)))


@cache
def _load_area(file_name: str) -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files(__package__).joinpath(file_name).read_text("utf-8"))


@cache
def command_pattern() -> re.Pattern[str]:
    """Return the pattern of a command in a text: the program, then -C or the name of a command as group 1."""
    texts = (area.read_text("utf-8") for area in files(__package__).iterdir() if area.name.endswith(".toml"))
    names = "|".join(chain.from_iterable(_COMMAND_HEADER.findall(text) for text in texts))
    return re.compile(rf"\b{PROGRAM} (-C|(?:{names})\b)")


@cache
def load_catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of all areas, those first that every command needs."""
    areas = [path.name for path in files(__package__).iterdir() if path.name.endswith(".toml")]
    return _Catalogue(sorted(areas, key=lambda name: (name not in COMMON_AREAS, name)))
