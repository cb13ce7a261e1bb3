"""Templates: read, check and compile them once, before anything is rendered."""

import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Final

from publisher.domain.account import Platform
from publisher.domain.characters import (
    describe_character,
    escape_forbidden,
    find_forbidden_characters,
)
from publisher.domain.errors import InputError, Location, Problem
from publisher.domain.post import RenderedImage
from publisher.i18n import Lang
from publisher.rendering.images import PictureFile, open_without_symlinks, read_picture
from publisher.rendering.jobs import (
    PLAIN_SUFFIX,
    SHARED_FOLDER,
    CompilePage,
    Renderer,
    TemplateFiles,
)
from publisher.tomlfile.positions import to_line_and_column
from publisher.tomlfile.read import ReadLimits, parse_toml

MAX_FILE_BYTES: Final = 64 * 1024
PAGE_SUFFIXES: Final = (PLAIN_SUFFIX, ".html")
_MAX_ODD_CHARACTERS: Final = 20
"""How many invisible characters of one file are reported."""

ProblemsByFile = dict[str, Sequence[Problem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSample:
    """A template's sample.toml: its purpose, its data keys with the reasons, and a sample post.

    The data keys are the ones that it needs or offers. `en` has the purpose (`about`) and the uses
    of data keys in English.
    """

    about: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    level: str | None = None
    body: str = ""
    original: str | None = None
    cover: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    en: Mapping[str, str] = field(default_factory=dict)

    def explain(self, key: str, lang: Lang) -> str:
        """Return the purpose (`about`), or the use of a data key.

        It is in Chinese if there is no English text.
        """
        chinese = {"about": self.about, **self.needs, **self.offers}.get(key, "")
        return self.en.get(key, chinese) if lang == "en" else chinese

    def missing_keys(self, data: Mapping[str, object]) -> list[str]:
        """Return the needed keys that are missing or blank."""
        return [key for key in self.needs if not str(data.get(key, "")).strip()]

    @property
    def as_toml(self) -> Mapping[str, str]:
        """The sample's data in TOML; of a list only its first item."""
        return {key: _to_toml(value) for key, value in self.data.items()}

    def mismatched_keys(self, data: Mapping[str, object]) -> dict[str, str]:
        """Return the keys with values of another shape than the sample's, each with its sample.

        The sample is in TOML.
        """
        shown = {key: value for key, value in self.data.items() if key in data}
        return {
            key: _to_toml(value)
            for key, value in shown.items()
            if not _has_same_shape(data[key], value)
        }


_SAMPLE_KEYS: Final = {
    name: dict if name in {"needs", "offers", "data", "en"} else str
    for name in TemplateSample.__dataclass_fields__
}


def _has_same_shape(value: object, sample: object) -> bool:
    match sample:
        case dict():
            return isinstance(value, dict) and all(
                key in value and _has_same_shape(value[key], sample[key])
                for key in sample
            )
        case [first, *_]:
            return isinstance(value, list) and all(
                _has_same_shape(item, first) for item in value
            )
        case _:
            return type(value) is type(sample)


def _to_toml(sample: object) -> str:
    """Format a sample in TOML; of a list only its first item."""
    match sample:
        case dict():
            return f"{{ {', '.join(f'{key} = {_to_toml(value)}' for key, value in sample.items())} }}"
        case [first, *_]:
            return f"[{_to_toml(first)}]"
        case _:
            return json.dumps(sample, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """All templates of a workspace and the shipped ones. Immutable.

    `faults` holds the problems of files, by their name below the templates folder: posts that need
    one are refused. `renderer` has the templates loaded.
    """

    samples: Mapping[str, TemplateSample]
    faults: Mapping[str, Sequence[Problem]]
    renderer: Renderer
    _pages: frozenset[str]
    _covers: dict[str, tuple[RenderedImage, bytes] | PictureFile]
    """A cover, or its file if no renderer could be started to clean it."""
    _paths: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all templates, including faulty ones."""
        return tuple(sorted(self.samples))

    @property
    def data_keys(self) -> Mapping[str, frozenset[str]]:
        """The keys of data that each template's sample names."""
        return {
            name: frozenset({*sample.needs, *sample.offers, *sample.data})
            for name, sample in self.samples.items()
        }

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of all files."""
        return tuple(chain.from_iterable(self.faults.values()))

    def problems_of(self, template: str) -> tuple[Problem, ...]:
        """Return the problems of a template's files."""
        return tuple(
            chain.from_iterable(
                found
                for name, found in self.faults.items()
                if _folder(name) == template
            )
        )

    def page_for(self, template: str, platform: Platform) -> str | None:
        """Return the name of a template's page for a platform.

        Return its default page, else None, if there is none for the platform.
        """
        names = (
            f"{template}/{platform}.txt",
            f"{template}/{platform}.html",
            f"{template}/default.txt",
        )
        return next((name for name in names if name in self._pages), None)

    def cover(self, template: str) -> RenderedImage | None:
        """Return the cover for articles of posts without a picture."""
        cover = self._covers.get(template)
        if isinstance(cover, PictureFile):
            found = read_picture(cover, self.renderer)
            if isinstance(found, Problem):
                return None
            cover = self._covers[template] = found
        return cover[0] if cover else None

    def cover_bytes(self, sha256: str) -> bytes | None:
        """Return the bytes of a cover by their hash."""
        covers = (
            cover
            for cover in self._covers.values()
            if not isinstance(cover, PictureFile)
        )
        return next(
            (data for picture, data in covers if picture.sha256 == sha256), None
        )

    def file_paths(self, template: str) -> Mapping[str, Path]:
        """Return the path of each file of a template.

        Some files may be the workspace's, the others shipped.
        """
        places = {name.partition("/"): place for name, place in self._paths.items()}
        return {
            file: Path(place)
            for (folder, _, file), place in places.items()
            if folder == template
        }

    def location(self, name: str) -> Location:
        """Return the location of a page, for a problem in it."""
        return Location(file=self._paths.get(name, name), line=1)


def shipped_templates() -> Path:
    """Return the folder of the shipped templates.

    It is inside the package, or beside it in a source tree.
    """
    package = Path(__file__).parent.parent
    packaged = package / "_templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def list_template_files(folder: Path) -> Sequence[Path]:
    """Return the files that make up the templates of a folder.

    Notes beside them and an editor's copies are left out.
    """
    return sorted(filter(_is_template_file, folder.glob("*/*")))


def load_templates(
    folders: Sequence[Path], renderer: Renderer, pages: Iterable[Path] = ()
) -> Templates:
    """Read and compile the templates of all folders.

    A file in an earlier folder replaces the same file in a later one. A folder that does not exist
    has no templates. A file that cannot be used is among the faults. `pages` belong to adapters'
    packages. They stand in for pages that no folder has.
    """
    paths: dict[str, Path] = {}
    for path in chain(
        chain.from_iterable(map(list_template_files, folders)),
        filter(_is_template_file, pages),
    ):
        paths.setdefault(f"{path.parent.name}/{path.name}", path)
    faults: ProblemsByFile = {}
    texts = {
        name: text
        for name, path in paths.items()
        if path.suffix != ".png" and (text := _read_file(name, path, faults))
    }
    samples = {
        name: _read_sample(name, texts, paths, faults)
        for name in sorted({_folder(page) for page in paths})
    }
    samples.pop(SHARED_FOLDER, None)
    places = {name: str(path) for name, path in paths.items()}
    files = TemplateFiles(texts=texts, paths=places, faulty=sorted(faults))
    renderer.load(files)
    written = [name for name in texts if name.endswith(PAGE_SUFFIXES)]
    broken: ProblemsByFile = {}
    for name in written:
        [found] = renderer.run([CompilePage(page=name)])
        # each post reports errors that may pass
        if isinstance(found, Problem) and found.code == "template_syntax":
            broken[name] = [found]
    if broken:
        faults |= broken
        renderer.load(replace(files, faulty=sorted(faults)))
    return Templates(
        samples=samples,
        faults=faults,
        renderer=renderer,
        _pages=frozenset(written) - broken.keys(),
        _covers=_read_covers(samples, paths, renderer, faults),
        _paths=places,
    )


def _folder(name: str) -> str:
    return name.partition("/")[0]


def _is_template_file(path: Path) -> bool:
    is_named_so = path.suffix in {
        *PAGE_SUFFIXES,
        ".toml",
        ".css",
        ".png",
    } and not path.name.startswith(".")
    return is_named_so and _may_be_file(path)


def _may_be_file(path: Path) -> bool:
    """Return False for folders and the like.

    Links and unreadable files are reported when they are read.
    """
    try:
        return path.is_symlink() or path.is_file()
    except OSError:
        return True


def _read_file(name: str, path: Path, faults: ProblemsByFile) -> str | None:
    """Return the text of a file.

    A file is a fault if it cannot be used, or has characters that readers would not see.
    """
    try:
        with open_without_symlinks(path, _template_root(path)) as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = (
            data.decode("utf-8-sig").replace("\r\n", "\n")
            if len(data) <= MAX_FILE_BYTES
            else ""
        )
    except UnicodeDecodeError as error:
        faults[name] = [
            _problem(
                "template_not_utf8", path, line=data.count(b"\n", 0, error.start) + 1
            )
        ]
        return None
    except OSError as error:
        code = "file_is_link" if error.errno == errno.ELOOP else "template_unreadable"
        faults[name] = [
            _problem(code, path, file=path.name, reason=error.strerror or "")
        ]
        return None
    problems = []
    if len(data) > MAX_FILE_BYTES:
        problems.append(
            _problem("template_too_big", path, limit=f"{MAX_FILE_BYTES // 1024}")
        )
    for position in find_forbidden_characters(name):
        code, character = (
            "template_name_invisible_character",
            describe_character(name[position]),
        )
        problems.append(
            _problem(code, path, file=escape_forbidden(name), character=character)
        )
    for position in islice(find_forbidden_characters(text), _MAX_ODD_CHARACTERS):
        line, column = to_line_and_column(text, position)
        place = Location(file=str(path), line=line, column=column)
        facts = {"character": describe_character(text[position])}
        problems.append(
            Problem(code="invisible_character", location=place, facts=facts)
        )
    if problems:
        faults[name] = problems
    return None if problems else text


def _read_sample(
    name: str,
    texts: Mapping[str, str],
    files: Mapping[str, Path],
    faults: ProblemsByFile,
) -> TemplateSample:
    file = f"{name}/sample.toml"
    text = texts.get(file, "")
    try:
        toml = (
            parse_toml(text, str(files[file]), ReadLimits(max_bytes=MAX_FILE_BYTES))
            if text.strip()
            else None
        )
    except InputError as error:
        faults[file] = error.problems
        return TemplateSample()
    table = toml.data if toml else {}
    unknown = [
        key
        for key, value in table.items()
        if key not in _SAMPLE_KEYS or not isinstance(value, _SAMPLE_KEYS[key])
    ]
    if unknown:
        faults[file] = [
            _problem("template_sample_key", files[file], name=key) for key in unknown
        ]
    return TemplateSample(
        **{key: value for key, value in table.items() if key not in unknown}
    )


def _read_covers(
    samples: Mapping[str, TemplateSample],
    paths: Mapping[str, Path],
    renderer: Renderer,
    faults: ProblemsByFile,
) -> dict[str, tuple[RenderedImage, bytes] | PictureFile]:
    covers: dict[str, tuple[RenderedImage, bytes] | PictureFile] = {}
    for name, sample in samples.items():
        path = paths.get(f"{name}/cover.png")
        if path is None:
            continue
        file = PictureFile(
            path=path, alt=sample.cover, trusted_root=_template_root(path)
        )
        found = read_picture(file, renderer)
        if not isinstance(found, Problem):
            covers[name] = found
        elif found.code == "renderer_not_started":
            covers[name] = file
        else:
            faults[f"{name}/cover.png"] = [found]
    return covers


def _template_root(path: Path) -> Path:
    """Return the templates folder of a file.

    The folder may be reached by links, but nothing below it may be one.
    """
    return path.parent.parent


def _problem(code: str, path: Path, line: int = 1, **facts: str) -> Problem:
    return Problem(code=code, location=Location(file=str(path), line=line), facts=facts)
