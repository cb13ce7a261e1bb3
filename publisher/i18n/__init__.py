"""Message catalogue in Simplified Chinese and English, with all text for people.

The core uses codes. Each `*.toml` beside this file holds one area. An entry is a code with its text
in both languages, perhaps with a hint:

    [unknown_key]
    zh_CN = "没有“{key}”这一项"
    en = "there is no key {key}"
    hint.zh_CN = "…"
    hint.en = "…"

The texts of the kinds of posts come from their table, `domain/kinds.py`.

A page has forms in place of files: `page` and `page_hint` are the text and the hint there, where
these differ.

A hint says how to act. It is shown with problems, alerts and pauses; for a delivery the hint of its
state is shown.

A command is written `publisher COMMAND …`, with all that it requires. It appears as this process
was called.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Literal, Protocol

from publisher.domain.errors import Problem
from publisher.domain.kinds import KINDS
from publisher.domain.results import REFUSED_HOLD_REASONS
from publisher.i18n.plain import leave_out_commands, name_files

Lang = Literal["zh_CN", "en"]
LANGUAGES: tuple[Lang, ...] = ("zh_CN", "en")
PROGRAM = "publisher"
"""The name of the program where the shell finds it, and in the texts of the catalogue."""
PLATFORM_TEXTS = (
    "platform",
    "short",
    "place",
    "revoke",
    "take_down",
    "renewal",
    "late",
    "assist_note",
    "tile",
    "preview",
)
"""Texts about a platform as a whole: the platform's name follows."""
COMMON_AREAS = ("cli.toml", "states.toml", "files.toml")
"""The areas with an entry needed by most commands."""
POSITION_FACTS = frozenset({"post", "account", "key", "template"})
"""Facts that give the place of a problem, and not its kind."""
LIST_FACTS = frozenset({"accounts", "posts", "hosts", "writers"})
"""Facts that list ids or names, separated by `、`; none of these contains it."""
LABELLED_KEYS = frozenset(
    {"days", "follows", "from", "id", "kind", "max_delay", "template", "until"}
)
"""Keys of the schedule with a label that is named like the key itself."""
ACCOUNT_FACTS = ("account", "accounts")
POST_FACTS = ("name", "post", "posts", "follows")
"""The facts of messages that are ids of accounts, or may be ids of posts."""
_CODE = re.compile(r"[\w-]+")
_POST_PATH = re.compile(r"post\[(\d+)\](?:\.|$)")
_BLANK = r"(?:\{\w+\}|[A-Z]+\b|更正(?:稿)?编号|更正|编号|账号|网址)"
_BUTTON_COMMAND = re.compile(
    rf"{PROGRAM} ([a-z]+(?:-[a-z]+)*)"
    r"((?: (?:--(?:all|now|open|today|cancel)\b"
    r"""|--[a-z]+(?:-[a-z]+)* (?:"[^"]*"|[^\s，。；：;,.()（）]+)"""
    rf"|(?:platform:)?{_BLANK}(?:@{_BLANK})?"
    r"|(?:published|not-published|resend|cancel|confirm|done|settings|off)\b))*)"
)
"""A command in a text of the catalogue: its name, then its arguments, as they are written there."""
_COMMAND_HEADER = re.compile(r"^\[cmd_(.+)\]$", re.MULTILINE)
"""The header of a command's entry: finding these is much quicker than parsing every area."""


class PlatformTexts(Protocol):
    """The texts that adapters bring. The catalogue knows no platform itself."""

    def names(self) -> Collection[str]:
        """Return the names of all platforms."""
        ...

    def load(self, platform: str) -> Mapping[str, Mapping[str, Any]]:
        """Return a platform's texts, in the form of the catalogue's own."""
        ...


_platform_texts: list[Callable[[], PlatformTexts]] = []


def use_platform_texts(find: Callable[[], PlatformTexts]) -> None:
    """Show the texts of the platforms that `find` returns from now on.

    It is called once one of them may be needed.
    """
    _platform_texts[:] = [cache(find)]
    load_catalogue.cache_clear()


def _find_owner(code: str) -> tuple[PlatformTexts, str] | None:
    """Return the platform of a code.

    If several names begin the code, it is the platform with the longest name.
    """
    for find in _platform_texts:
        texts = find()
        if owners := [
            platform for platform in texts.names() if is_platform_code(platform, code)
        ]:
            return texts, max(owners, key=len)
    return None


def is_platform_code(platform: str, code: str) -> bool:
    """True if a code belongs to a platform.

    Its name and `_` come first, or it is a text about the platform.
    """
    return code.startswith((f"{platform}_", f"reason_{platform}_")) or code in {
        f"{name}_{platform}" for name in PLATFORM_TEXTS
    }


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of one language."""

    lang: Lang = "zh_CN"
    program: str = PROGRAM
    """How this process was called, as a shell reads it; commands in messages begin with it."""
    workspace_option: str = ""
    """The option `-C DIR` that it was called with, if any; commands in messages have it too."""
    names_buttons: bool = False
    """True on pages: a command that has a button there is called by the button's name.

    A key of the schedule is called by the label of its field.
    """
    names_host: bool = True
    """False on pages of staff: neither commands nor files of the host are named."""
    name_account: Callable[[str], str] | None = None
    """The name of an account on pages. A text with a command keeps the ids."""
    name_post: Callable[[str], str] | None = None
    """The title of a post on pages that know it. A text with a command keeps the ids."""

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        return load_catalogue()

    def translate(self, code: str, /, **facts: object) -> str:
        """Return the message of a code.

        A code without an entry is returned as it is, so that nothing is hidden.
        """
        entry = self.entries.get(code)
        if not entry:
            return code
        text = entry.get("page", entry) if self.names_buttons else entry
        return self._format(text[self.lang], facts)

    def describe(self, problem: Problem) -> str:
        """Return the message of a problem.

        A problem without an entry is shown by its code and its facts.
        """
        if problem.code in self.entries:
            return self.translate(problem.code, **problem.facts)
        facts = [
            f"{name}={value}"
            for name, value in problem.facts.items()
            if name not in POSITION_FACTS
        ]
        return f"{problem.code} ({', '.join(facts)})" if facts else problem.code

    def is_reason_of_platform(self, reason: str) -> bool:
        """True if a reason is a platform's code, listed or not, and not a person's words."""
        return bool(_CODE.fullmatch(reason)) and _find_owner(reason) is not None

    def first_known(self, *codes: str) -> str:
        """Return the first code that has an entry, else the last."""
        return next((code for code in codes if code in self.entries), codes[-1])

    def platform_name(self, platform: str) -> str:
        """Return a platform's name for people, or its code if it has no entry."""
        code = f"platform_{platform}"
        return self.translate(code) if code in self.entries else platform

    def platform_short_name(self, platform: str) -> str:
        """Return a platform's short name, for a page with little room."""
        code = f"short_{platform}"
        return (
            self.translate(code)
            if code in self.entries
            else self.platform_name(platform)
        )

    def hint(self, code: str, /, **facts: object) -> str:
        """Return the advice about a code, or an empty text if the message already says it."""
        entry = self.entries.get(code, {})
        hint = entry.get("hint")
        if self.names_buttons:
            hint = entry.get("page_hint", hint)
        is_refused = code.removeprefix("hold_") in REFUSED_HOLD_REASONS
        return (
            self._format(hint[self.lang], facts, is_refused=is_refused) if hint else ""
        )

    def name_key(self, path: str, posts: Sequence[str] = ()) -> str:
        """Return the path of a key in words where it is in one of `posts`.

        An example is `post 8 (mist-1), to item 2`.
        """
        named = find_post(path, posts)
        if named is None:
            return path
        key = re.sub(
            r"\[(\d+)\](\.?)",
            lambda item: (
                self.translate("problem_item", number=int(item[1]) + 1)
                + item[2].replace(".", " ")
            ),
            path.partition("].")[2],
        )
        return self.translate(
            "problem_key" if key else "problem_post",
            number=named[0],
            post=named[1],
            key=key,
        )

    def format_problem(self, problem: Problem, posts: Sequence[str] = ()) -> str:
        """Format a problem on one line: FILE:LINE:COLUMN: key: message (hint).

        `posts` are the ids of its file.
        """
        parts = []
        if location := problem.location:
            file = location.file
            if not self.names_host:
                file = name_files(file, self.lang)
            parts.append(f"{file}:{location.line}:{location.column}:")
            parts += (
                [f"{self.name_key(location.path, posts)}:"] if location.path else []
            )
        parts.append(self.describe(problem))
        if hint := self.hint(problem.code, **problem.facts):
            parts.append(f"({hint})")
        return " ".join(parts)

    def _format(
        self, text: str, facts: Mapping[str, object], *, is_refused: bool = False
    ) -> str:
        if self.names_buttons:
            text = _name_buttons(text, self.lang, is_refused=is_refused)
            facts = {**facts, **self._name_fields(facts)}
        if not self.names_host:
            text = self._leave_out_host(text)
        if not command_pattern().search(text):
            for keys, name in (
                (ACCOUNT_FACTS, self.name_account),
                (POST_FACTS, self.name_post),
            ):
                facts = {**facts, **name_facts(facts, keys, name)} if name else facts
        if self.program != PROGRAM or self.workspace_option:
            program = self.program.replace("{", "{{").replace("}", "}}")
            option = self.workspace_option.replace("{", "{{").replace("}", "}}")

            def call(found: re.Match[str]) -> str:
                names_workspace = found[1] == "-C"
                return " ".join(
                    filter(None, (program, "" if names_workspace else option, found[1]))
                )

            text = command_pattern().sub(call, text)
        if "platform" in facts:
            facts = {
                "platform_name": self.platform_name(str(facts["platform"])),
                **facts,
            }
        if self.lang == "en":
            facts = {
                name: _separate_in_english(name, value) for name, value in facts.items()
            }
        return text.format_map(_Facts(facts))

    def _name_fields(self, facts: Mapping[str, object]) -> Mapping[str, str]:
        """Return the facts of a problem that are keys, with the labels of the form."""
        keys = ["key", *(["name"] if "template" in facts else [])]
        named = {
            name: self.name_field(str(facts[name])) for name in keys if name in facts
        }
        kind = f"kind_{facts.get('kind', '')}"
        if kind in _load_kinds():
            named["kind"] = self.translate(kind)
        return named

    def name_field(self, key: str) -> str:
        """Return the label of a key of the schedule in the form; the key if it has none."""
        field = key.partition("[")[0]
        for code in (
            f"web_write_field_{field}",
            f"web_write_data_{field.removeprefix('data.')}",
            f"web_write_{field}" if field in LABELLED_KEYS else "",
        ):
            if code in self.entries:
                return self.translate(code)
        return key

    def _leave_out_host(self, text: str) -> str:
        """Return a text for staff. What needs the host is left to the operators."""
        text = name_files(text, self.lang)
        kept = leave_out_commands(text, command_pattern())
        if kept is None:
            return text
        ask = str(self.entries["ask_operators"][self.lang])
        if not kept:
            return ask
        is_ended = kept.endswith(("。", "."))
        separator = str(self.entries["sentence_break"][self.lang])
        return f"{kept}{separator.strip('。.') if is_ended else separator}{ask}"


def name_facts(
    facts: Mapping[str, object], keys: Collection[str], name: Callable[[str], str]
) -> Mapping[str, str]:
    """Return the facts of a message that are ids, with the name of each."""
    return {
        key: "、".join(map(name, str(facts[key]).split("、")))
        for key in keys
        if key in facts
    }


@cache
def _name_buttons(text: str, lang: Lang, *, is_refused: bool) -> str:
    """Return a message of the catalogue with the name of a button for each command that has one.

    `is_refused`: it is about a delivery whose account was refused, which has a button of its own.
    """
    entries = load_catalogue()

    def name_button(command: re.Match[str]) -> str:
        words = command[2].split()
        if is_refused and "resend" in words:
            words.insert(0, "refused")
        codes = [
            *(f"button_{command[1]}_{word}" for word in words),
            f"button_{command[1]}",
        ]
        button = next((entries[code] for code in codes if code in entries), None)
        return command[0] if button is None else str(button[lang])

    return _BUTTON_COMMAND.sub(name_button, text)


def find_post(path: str, posts: Sequence[str]) -> tuple[int, str] | None:
    """Return the number, from 1, and the id of the post with a key's path.

    Return None outside the posts.
    """
    found = _POST_PATH.match(path)
    if found is None or int(found[1]) >= len(posts):
        return None
    return int(found[1]) + 1, posts[int(found[1])]


def _separate_in_english(name: str, value: object) -> object:
    """Return the value of a fact; the ids in a list are separated as in English."""
    return (
        value.replace("、", ", ")
        if name in LIST_FACTS and isinstance(value, str)
        else value
    )


class _Facts(dict[str, object]):
    """Facts of a message; a name without a value stays as it is written."""

    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


def is_fillable(text: str) -> bool:
    """True if facts can be filled into a message.

    Each brace in it belongs to the plain name of a fact.
    """
    try:
        text.format_map(_Facts())
    except (ValueError, TypeError, AttributeError, LookupError):
        return False
    return True


class _Catalogue(Mapping[str, Mapping[str, Any]]):
    """The entries of all areas.

    An area is parsed once a code is not in the areas before it: all of them take 0.04 s. The codes
    of a platform are looked up in the texts that its adapter brings. Of two platforms with names
    that begin alike, the one with the longer name has its own codes.
    """

    def __init__(self, areas: Sequence[str]) -> None:
        self.areas = areas
        self.found: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, code: str) -> Mapping[str, Any]:
        if code not in self.found:
            self.found[code] = self.find(code)
        return self.found[code]

    def find(self, code: str) -> Mapping[str, Any]:
        """Return an entry. Raises KeyError."""
        if entry := _load_kinds().get(code):
            return entry
        for area in self.areas:
            if code in (entries := _load_area(area)):
                return entries[code]
        if owner := _find_owner(
            code
        ):  # last: finding the platforms takes longer than all areas
            texts, platform = owner
            return texts.load(platform)[code]
        raise KeyError(code)

    def __iter__(self) -> Iterator[str]:
        yield from _load_kinds()
        yield from chain.from_iterable(map(_load_area, self.areas))
        for find in _platform_texts:
            yield from chain.from_iterable(map(find().load, find().names()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _load_area(file_name: str) -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files(__package__).joinpath(file_name).read_text("utf-8"))


@cache
def _load_kinds() -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of the table of post kinds: name, sign and hint of each."""
    entries: dict[str, Mapping[str, Any]] = {}
    for kind, traits in KINDS.items():
        entries[f"kind_{kind}"] = traits.name
        entries[f"kind_{kind}_sign"] = traits.sign
        entries[f"kind_{kind}_hint"] = traits.hint
    return entries


@cache
def command_pattern() -> re.Pattern[str]:
    """Return the pattern of a command in a text.

    It is the program, then -C or the name of a command as group 1.
    """
    texts = (
        area.read_text("utf-8")
        for area in files(__package__).iterdir()
        if area.name.endswith(".toml")
    )
    names = "|".join(
        chain.from_iterable(_COMMAND_HEADER.findall(text) for text in texts)
    )
    return re.compile(rf"\b{PROGRAM} (-C|(?:{names})\b)")


@cache
def load_catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of all areas, starting with the ones that every command needs."""
    areas = [
        path.name
        for path in files(__package__).iterdir()
        if path.name.endswith(".toml")
    ]
    return _Catalogue(sorted(areas, key=lambda name: (name not in COMMON_AREAS, name)))
