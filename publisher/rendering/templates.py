"""Templates are read, checked and compiled once, before anything is rendered with them."""

import errno
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from jinja2 import Template, TemplateSyntaxError

from publisher.domain.account import Platform
from publisher.domain.characters import name_of, odd_characters, odd_within, visible
from publisher.domain.errors import InputError
from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Picture
from publisher.file_access import open_unlinked
from publisher.rendering.pictures import read_picture
from publisher.rendering.sandbox import FaultyPartError, Sandbox

SHARED: Final = "_shared"
"""The folder of parts that templates include; it is no template itself."""
STYLESHEET: Final = f"{SHARED}/article.css"
MAX_FILE: Final = 64 * 1024
PLAIN: Final = ".txt"
_PAGES: Final = (PLAIN, ".html")
_MOST_ODD: Final = 20
"""Odd characters of one file that are named."""
_SPOT: Final = re.compile(r"\(at line (\d+), column (\d+)\)")

Faults = dict[str, Sequence[Problem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a template's sample.toml says: its purpose, the data keys it takes and why, and a post to show it with."""

    about: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    level: str | None = None
    body: str = ""
    original: str | None = None
    cover: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    def lacking(self, data: Mapping[str, object]) -> list[str]:
        """Give the needed keys that are missing or blank."""
        return [key for key in self.needs if not str(data.get(key, "")).strip()]

    @property
    def written(self) -> Mapping[str, str]:
        """Give the sample's data as it is written in TOML, of a list its first member."""
        return {key: _written(value) for key, value in self.data.items()}

    def misfits(self, data: Mapping[str, object]) -> dict[str, str]:
        """Give the keys whose values are not of the sample's kind, with the sample as it would be written."""
        shown = {key: value for key, value in self.data.items() if key in data}
        return {key: _written(value) for key, value in shown.items() if not _is_like(data[key], value)}


_SAMPLE_KEYS: Final = {
    name: dict if name in {"needs", "offers", "data"} else str for name in Sample.__dataclass_fields__
}


def _is_like(value: object, sample: object) -> bool:
    match sample:
        case dict():
            return isinstance(value, dict) and all(key in value and _is_like(value[key], sample[key]) for key in sample)
        case [first, *_]:
            return isinstance(value, list) and all(_is_like(item, first) for item in value)
        case _:
            return type(value) is type(sample)


def _written(sample: object) -> str:
    """Write a sample in TOML, of a list its first member."""
    match sample:
        case dict():
            return f"{{ {', '.join(f'{key} = {_written(value)}' for key, value in sample.items())} }}"
        case [first, *_]:
            return f"[{_written(first)}]"
        case _:
            return json.dumps(sample, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """All templates of a workspace and the shipped ones, compiled; nothing of it changes or touches a disk again.

    `faults` says what is wrong with a file, by its name below the folder of templates: whatever needs it is refused.
    """

    samples: Mapping[str, Sample]
    stylesheet: str
    faults: Mapping[str, Sequence[Problem]]
    _pages: Mapping[str, Template]
    _covers: Mapping[str, tuple[Picture, bytes]]
    _places: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Name the templates, those with faults included."""
        return tuple(sorted(self.samples))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Give all that is wrong with any file."""
        return tuple(chain.from_iterable(self.faults.values()))

    def faults_of(self, template: str) -> tuple[Problem, ...]:
        """Give all that is wrong with the files of a template."""
        return tuple(chain.from_iterable(found for name, found in self.faults.items() if _folder(name) == template))

    def page(self, template: str, platform: Platform) -> Template | None:
        """Give the page for a platform, else the template's page for any other, else None."""
        pages = self._pages
        return (
            pages.get(f"{template}/{platform}.txt")
            or pages.get(f"{template}/{platform}.html")
            or pages.get(f"{template}/default.txt")
        )

    def cover(self, template: str) -> Picture | None:
        """Give the cover of articles whose post brings no picture."""
        found = self._covers.get(template)
        return found[0] if found else None

    def image(self, sha256: str) -> bytes | None:
        """Give the bytes of a cover by their hash."""
        return next((data for picture, data in self._covers.values() if picture.sha256 == sha256), None)

    def files(self, template: str) -> Mapping[str, Path]:
        """Say where each file of a template lies: some may be the workspace's own, the rest those shipped."""
        places = {name.partition("/"): place for name, place in self._places.items()}
        return {file: Path(place) for (folder, _, file), place in places.items() if folder == template}

    def has_file(self, file: str) -> bool:
        """Whether a file is one of the pages."""
        return file in self._places.values()

    def place(self, name: str, line: int = 1) -> Place:
        """Say where a page lies, for a problem in it."""
        return Place(file=self._places.get(name, name), line=line)


def shipped_templates() -> Path:
    """Find the templates that come with the program: inside the package, or beside it in a source tree."""
    package = Path(__file__).parent.parent
    packaged = package / "_templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def load_templates(folders: Sequence[Path]) -> Templates:
    """Read and compile the templates of all folders; a file in an earlier folder stands in for the same in a later one.

    A folder that does not exist has no templates. A file that cannot be used is among the faults.
    """
    files = _gather(folders)
    faults: Faults = {}
    texts = {
        name: text for name, path in files.items() if path.suffix != ".png" and (text := _read(name, path, faults))
    }
    sandbox = Sandbox(partial(_find, texts, files, faults))
    samples = {name: _sample(name, texts, files, faults) for name in sorted({_folder(page) for page in files})}
    samples.pop(SHARED, None)
    written = [name for name in texts if name.endswith(_PAGES)]
    pages = {name: page for name in written if (page := _compile(sandbox, name, files, faults))}
    covers = {name: cover for name in samples if (cover := _cover(name, samples[name].cover, files, faults))}
    return Templates(
        samples=samples,
        stylesheet=texts.get(STYLESHEET, ""),
        faults=faults,
        _pages=pages,
        _covers=covers,
        _places={name: str(path) for name, path in files.items()},
    )


def _folder(name: str) -> str:
    return name.partition("/")[0]


def _gather(folders: Iterable[Path]) -> Mapping[str, Path]:
    """Name each file by its template and file name; the first folder that has it wins."""
    found: dict[str, Path] = {}
    for path in chain.from_iterable(sorted(folder.glob("*/*")) for folder in folders):
        is_ours = path.suffix in {*_PAGES, ".toml", ".css", ".png"} and not path.name.startswith(".")
        if is_ours and _may_be_file(path):
            found.setdefault(f"{path.parent.name}/{path.name}", path)
    return found


def _may_be_file(path: Path) -> bool:
    """Return False for folders and the like; a link, and what a folder's rights hide, is told when it is read."""
    try:
        return path.is_symlink() or path.is_file()
    except OSError:
        return True


def _read(name: str, path: Path, faults: Faults) -> str | None:
    try:
        with open_unlinked(path, _root(path)) as file:
            data = file.read(MAX_FILE + 1)
        if len(data) <= MAX_FILE:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
            if odd := [*_odd_in_name(name, path), *_odd_in_text(text, path)]:
                faults[name] = odd
                return None
            return text
        faults[name] = [_problem("template_too_big", path, limit=f"{MAX_FILE // 1024}")]
    except UnicodeDecodeError as error:
        faults[name] = [_problem("template_not_utf8", path, line=data.count(b"\n", 0, error.start) + 1)]
    except OSError as error:
        code = "file_is_link" if error.errno == errno.ELOOP else "template_unreadable"
        faults[name] = [_problem(code, path, file=path.name, reason=error.strerror or "")]
    return None


def _odd_in_name(name: str, path: Path) -> Iterable[Problem]:
    for position in odd_characters(name):
        yield _problem("template_name_odd", path, file=visible(name), character=name_of(name[position]))


def _odd_in_text(text: str, path: Path) -> Iterable[Problem]:
    for position in islice(odd_characters(text), _MOST_ODD):
        place = Place(
            file=str(path),
            line=text.count("\n", 0, position) + 1,
            column=position - text.rfind("\n", 0, position),
        )
        yield Problem(code="odd_character", place=place, facts={"character": name_of(text[position])})


def _find(
    texts: Mapping[str, str], files: Mapping[str, Path], faults: Faults, name: str
) -> tuple[str, str, Callable[[], bool]] | None:
    """Give the text of a page or of a part that it asks for. Raises FaultyPartError."""
    if name in faults:
        raise FaultyPartError(name)
    return (texts[name], str(files[name]), lambda: True) if name in texts else None


def _compile(sandbox: Sandbox, name: str, files: Mapping[str, Path], faults: Faults) -> Template | None:
    try:
        return sandbox.get_template(name)
    except TemplateSyntaxError as error:
        faults[name] = [_problem("template_syntax", files[name], line=error.lineno, reason=error.message or "")]
    except (
        SyntaxError,
        RecursionError,
        ValueError,
        OverflowError,
    ) as error:  # what Python makes of it, nested too deep
        faults[name] = [_problem("template_syntax", files[name], reason=f"{type(error).__name__}: {error}")]
    return None


def _sample(name: str, texts: Mapping[str, str], files: Mapping[str, Path], faults: Faults) -> Sample:
    file = f"{name}/sample.toml"
    try:
        table: dict[str, Any] = tomllib.loads(texts.get(file, ""))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        spot = _SPOT.search(str(error))
        line = int(spot[1]) if spot else 1
        faults[file] = [_problem("template_sample_broken", files[file], line=line, reason=str(error))]
        return Sample()
    odd = [key for key, value in table.items() if key not in _SAMPLE_KEYS or not isinstance(value, _SAMPLE_KEYS[key])]
    if odd:
        faults[file] = [_problem("template_sample_key", files[file], name=key) for key in odd]
    if hidden := list(islice(odd_within(table), _MOST_ODD)):
        faults[file] = [
            _problem(
                "template_sample_odd", files[file], name=".".join(map(visible, map(str, way))), character=name_of(sign)
            )
            for way, sign in hidden
        ]
        return Sample()
    return Sample(**{key: value for key, value in table.items() if key not in odd})


def _cover(name: str, alt: str, files: Mapping[str, Path], faults: Faults) -> tuple[Picture, bytes] | None:
    path = files.get(f"{name}/cover.png")
    try:
        return read_picture(path, alt, below=_root(path)) if path else None
    except InputError as error:
        faults[f"{name}/cover.png"] = error.problems
    return None


def _root(path: Path) -> Path:
    """Give the folder of templates that a file belongs to: it may be reached by links, what it holds may not."""
    return path.parent.parent


def _problem(code: str, path: Path, line: int = 1, **facts: str) -> Problem:
    return Problem(code=code, place=Place(file=str(path), line=line), facts=facts)
