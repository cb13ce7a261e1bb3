"""Templates are read, checked and compiled once, before anything is rendered with them."""

import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Final

from publisher.domain.account import Platform
from publisher.domain.characters import name_of, odd_characters, visible
from publisher.domain.errors import InputError
from publisher.domain.problem import Place, Problem
from publisher.domain.rendition import Picture
from publisher.file_access import open_unlinked
from publisher.rendering.jobs import CompilePage, Renderer, TemplateFiles
from publisher.rendering.pictures import PictureFile, read_pictures
from publisher.tomlfile import Limits, parse_toml

SHARED: Final = "_shared"
"""The folder of parts that templates include; it is no template itself."""
STYLESHEET: Final = f"{SHARED}/article.css"
MAX_FILE: Final = 64 * 1024
PLAIN: Final = ".txt"
_PAGES: Final = (PLAIN, ".html")
_MOST_ODD: Final = 20
"""Odd characters of one file that are named."""

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
    """All templates of a workspace and the shipped ones; nothing of it changes.

    `faults` says what is wrong with a file, by its name below the folder of templates: whatever needs it is refused.
    `renderer` has them loaded, and renders their pages.
    """

    samples: Mapping[str, Sample]
    faults: Mapping[str, Sequence[Problem]]
    renderer: Renderer
    _pages: frozenset[str]
    _covers: dict[str, tuple[Picture, bytes] | PictureFile]
    """A cover, or its file while no renderer could be started to clean it."""
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

    def page(self, template: str, platform: Platform) -> str | None:
        """Name the page for a platform, else the template's page for any other, else None."""
        names = (f"{template}/{platform}.txt", f"{template}/{platform}.html", f"{template}/default.txt")
        return next((name for name in names if name in self._pages), None)

    def cover(self, template: str) -> Picture | None:
        """Give the cover of articles whose post brings no picture."""
        cover = self._covers.get(template)
        if isinstance(cover, PictureFile):
            [found] = read_pictures([cover], self.renderer)
            if isinstance(found, Problem):
                return None
            cover = self._covers[template] = found
        return cover[0] if cover else None

    def image(self, sha256: str) -> bytes | None:
        """Give the bytes of a cover by their hash."""
        covers = (cover for cover in self._covers.values() if not isinstance(cover, PictureFile))
        return next((data for picture, data in covers if picture.sha256 == sha256), None)

    def files(self, template: str) -> Mapping[str, Path]:
        """Say where each file of a template lies: some may be the workspace's own, the rest those shipped."""
        places = {name.partition("/"): place for name, place in self._places.items()}
        return {file: Path(place) for (folder, _, file), place in places.items() if folder == template}

    def place(self, name: str, line: int = 1) -> Place:
        """Say where a page lies, for a problem in it."""
        return Place(file=self._places.get(name, name), line=line)


def shipped_templates() -> Path:
    """Find the templates that come with the program: inside the package, or beside it in a source tree."""
    package = Path(__file__).parent.parent
    packaged = package / "_templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def load_templates(folders: Sequence[Path], renderer: Renderer) -> Templates:
    """Read and compile the templates of all folders; a file in an earlier folder stands in for the same in a later one.

    A folder that does not exist has no templates. A file that cannot be used is among the faults.
    """
    paths = _gather(folders)
    faults: Faults = {}
    texts = {
        name: text for name, path in paths.items() if path.suffix != ".png" and (text := _read(name, path, faults))
    }
    samples = {name: _sample(name, texts, paths, faults) for name in sorted({_folder(page) for page in paths})}
    samples.pop(SHARED, None)
    places = {name: str(path) for name, path in paths.items()}
    files = TemplateFiles(texts=texts, places=places, faulty=sorted(faults))
    renderer.load(files)
    written = [name for name in texts if name.endswith(_PAGES)]
    results = [renderer.run([CompilePage(page=name)])[0] for name in written]
    broken = {
        name: [found]
        for name, found in zip(written, results, strict=True)
        if isinstance(found, Problem) and found.code == "template_syntax"  # all else may pass, and is told of each post
    }
    if broken:
        faults |= broken
        renderer.load(replace(files, faulty=sorted(faults)))
    return Templates(
        samples=samples,
        faults=faults,
        renderer=renderer,
        _pages=frozenset(written) - broken.keys(),
        _covers=_covers(samples, paths, renderer, faults),
        _places=places,
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


def _sample(name: str, texts: Mapping[str, str], files: Mapping[str, Path], faults: Faults) -> Sample:
    file = f"{name}/sample.toml"
    text = texts.get(file, "")
    try:
        toml = parse_toml(text, str(files[file]), Limits(size=MAX_FILE)) if text.strip() else None
    except InputError as error:
        faults[file] = error.problems
        return Sample()
    table = toml.data if toml else {}
    odd = [key for key, value in table.items() if key not in _SAMPLE_KEYS or not isinstance(value, _SAMPLE_KEYS[key])]
    if odd:
        faults[file] = [_problem("template_sample_key", files[file], name=key) for key in odd]
    return Sample(**{key: value for key, value in table.items() if key not in odd})


def _covers(
    samples: Mapping[str, Sample], paths: Mapping[str, Path], renderer: Renderer, faults: Faults
) -> dict[str, tuple[Picture, bytes] | PictureFile]:
    covers: dict[str, tuple[Picture, bytes] | PictureFile] = {}
    for name, sample in samples.items():
        path = paths.get(f"{name}/cover.png")
        if path is None:
            continue
        file = PictureFile(path=path, alt=sample.cover, below=_root(path))
        [found] = read_pictures([file], renderer)
        if not isinstance(found, Problem):
            covers[name] = found
        elif found.code == "renderer_not_started":
            covers[name] = file
        else:
            faults[f"{name}/cover.png"] = [found]
    return covers


def _root(path: Path) -> Path:
    """Give the folder of templates that a file belongs to: it may be reached by links, what it holds may not."""
    return path.parent.parent


def _problem(code: str, path: Path, line: int = 1, **facts: str) -> Problem:
    return Problem(code=code, place=Place(file=str(path), line=line), facts=facts)
