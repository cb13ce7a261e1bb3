"""Templates: read, check and compile them once, before anything is rendered."""

import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from publisher.domain.account import Capabilities, Platform
from publisher.domain.characters import (
    describe_character,
    escape_forbidden,
    find_forbidden_characters,
)
from publisher.domain.contacts import Contacts
from publisher.domain.errors import InputError, Location, Problem
from publisher.domain.kinds import PostKind
from publisher.domain.post import RenderedImage
from publisher.domain.template_rules import RULES
from publisher.domain.values import FORM_EXAMPLES, FORM_TYPES, FieldForm
from publisher.i18n import Lang
from publisher.rendering.contact_list import read_contacts, shipped_contacts
from publisher.rendering.images import PictureFile, open_without_symlinks, read_picture
from publisher.rendering.jobs import (
    PLAIN_SUFFIX,
    SHARED_FOLDER,
    CompilePage,
    Renderer,
    TemplateFiles,
)
from publisher.rendering.layout import (
    SIGNATURE_KEYS,
    Outline,
    read_form,
    read_outline,
)
from publisher.tomlfile.positions import to_line_and_column
from publisher.tomlfile.read import ReadLimits, parse_toml

MAX_FILE_BYTES: Final = 64 * 1024
PAGE_SUFFIXES: Final = (PLAIN_SUFFIX, ".html")
_MAX_ODD_CHARACTERS: Final = 20
"""How many invisible characters of one file are reported."""

ProblemsByFile = dict[str, Sequence[Problem]]


SHARED_COVER_ALT: Final = "文章封面：深蓝底色上的柱状图与“公安发布”四字"
SHORT_TEXT_LIMIT: Final = 200
"""A platform that takes less than this gets the short page."""
SIGNATURE_USES: Final = {
    "source": ("提供事实的部门", "the office that the facts come from"),
    "editor": ("写这一稿的人", "who wrote this text"),
    "checker": ("最后批准的人", "who gives the last approval"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSample:
    """A template's sample.toml: its purpose, its fields with their uses and forms, and a sample post.

    The data keys are the ones that it needs or offers. `en` has the purpose (`about`) and the uses
    of data keys in English.
    """

    about: str = ""
    kinds: Sequence[str] = ()
    """The kinds of posts that may use it; any if there are none."""
    card: str = ""
    """The picture card of its posts; none if it is blank."""
    needs: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[str, FieldForm] = field(default_factory=dict)
    rules: Sequence[str] = ()
    outline: Outline = field(default_factory=Outline)
    has_outline: bool = False
    """True if the shared pages can print it."""
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

    def example(self, key: str) -> object:
        """Return a value of a field: the sample's, else one of its form; blank for a plain text."""
        form = self.forms.get(key)
        return self.data.get(key, FORM_EXAMPLES[form.type] if form else "")

    def example_toml(self, key: str) -> str:
        """Return a value of a field in TOML; of a list only its first item."""
        return _to_toml(self.example(key))

    @property
    def as_toml(self) -> Mapping[str, str]:
        """The sample's data in TOML; of a list only its first item."""
        return {key: _to_toml(value) for key, value in self.data.items()}

    def move_days(self, today: date) -> "TemplateSample":
        """Return the sample with its days in the week before today, each on its own weekday.

        A half of a year stays. So the sample is a post that could go out today.
        """
        keys = {key for key, form in self.forms.items() if form.type != "half-year"}
        days = [day for key in keys for day in _list_days(self.data.get(key))]
        if not days:
            return self
        weeks = (today - timedelta(days=1) - max(days)) // timedelta(days=7)
        shift = timedelta(days=7) * weeks
        data = {
            key: _move_days(value, shift) if key in keys else value
            for key, value in self.data.items()
        }
        return replace(self, data=data)

    def mismatched_keys(self, data: Mapping[str, object]) -> dict[str, str]:
        """Return the keys with values of another shape than the sample's, each with its sample.

        The sample is in TOML.
        """
        shown = {
            key: value
            for key, value in self.data.items()
            if key in data and key not in self.forms
        }
        return {
            key: _to_toml(value)
            for key, value in shown.items()
            if not _has_same_shape(data[key], value)
        }


_SAMPLE_KEYS: Final[Mapping[str, type]] = {
    **dict.fromkeys(
        ("about", "name", "contacts", "topic", "card", "title", "level", "body"), str
    ),
    **dict.fromkeys(("original", "cover"), str),
    **dict.fromkeys(("kinds", "must", "rules", "lead", "short", "section"), list),
    **dict.fromkeys(("needs", "offers", "forms", "data", "en"), dict),
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


def _list_days(value: object) -> list[date]:
    if isinstance(value, dict):
        return [day for each in value.values() for day in _list_days(each)]
    if isinstance(value, datetime):
        return [value.date()]
    return [value] if isinstance(value, date) else []


def _move_days(value: object, shift: timedelta) -> object:
    if isinstance(value, dict):
        return {key: _move_days(each, shift) for key, each in value.items()}
    return value + shift if isinstance(value, date) else value


def _to_toml(sample: object) -> str:
    """Format a sample in TOML; of a list only its first item."""
    match sample:
        case dict():
            return f"{{ {', '.join(f'{key} = {_to_toml(value)}' for key, value in sample.items())} }}"
        case [first, *_]:
            return f"[{_to_toml(first)}]"
        case date():
            return sample.isoformat()
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
    contacts: Contacts
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

    def page_for(
        self, template: str, platform: Platform, capabilities: Capabilities
    ) -> str | None:
        """Return the name of a template's page for a platform, else of its default page.

        A template without either is printed by the shared page for an article, a short or a plain
        text. Return None for one without an outline.
        """
        names = [
            f"{template}/{platform}.txt",
            f"{template}/{platform}.html",
            f"{template}/default.txt",
        ]
        if self.samples[template].has_outline:
            is_short = (
                capabilities.prefers_short or capabilities.text_limit < SHORT_TEXT_LIMIT
            )
            shared = (
                "article.html"
                if capabilities.is_article
                else "short.txt"
                if is_short
                else "plain.txt"
            )
            names.append(f"{SHARED_FOLDER}/{shared}")
        return next((name for name in names if name in self._pages), None)

    def cover(self, template: str) -> RenderedImage | None:
        """Return the cover for articles of posts without a picture: the template's or the shared one."""
        template = template if template in self._covers else SHARED_FOLDER
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
    folders: Sequence[Path],
    renderer: Renderer,
    pages: Iterable[Path] = (),
    contacts_file: Path | None = None,
) -> Templates:
    """Read and compile the templates of all folders, with the contacts that they print.

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
    contacts = shipped_contacts()
    if contacts_file is not None:
        contacts, found_in_list = read_contacts(contacts_file)
        if found_in_list:
            faults[contacts_file.name] = found_in_list
    texts = {
        name: text
        for name, path in paths.items()
        if path.suffix != ".png" and (text := _read_file(name, path, faults))
    }
    samples = {
        name: _read_sample(name, texts, paths, faults, tuple(contacts.topics))
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
        contacts=contacts,
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
    topics: Sequence[str],
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
    known = {
        key: value
        for key, value in table.items()
        if key in _SAMPLE_KEYS and isinstance(value, _SAMPLE_KEYS[key])
    }
    sample, wrong = _make_sample(known, topics)
    wrong += [key for key in table if key not in known]
    if wrong:
        faults[file] = [
            _problem("template_sample_key", files[file], name=key) for key in wrong
        ]
    return sample


def _make_sample(
    table: Mapping[str, Any], topics: Sequence[str]
) -> tuple[TemplateSample, list[str]]:
    """Return the sample of a table, and the keys that are wrong in it.

    The keys of the signature that it must have are needed, and the others are offered.
    """
    outline, found = read_outline(table, topics)
    wrong = [*found]
    forms = {}
    for key, value in table.get("forms", {}).items():
        form = read_form(value, FORM_TYPES)
        if form is None:
            wrong.append(f"forms.{key}")
        else:
            forms[key] = form
    for key, choices in (
        ("kinds", frozenset(PostKind)),
        ("must", SIGNATURE_KEYS.keys()),
        ("rules", RULES.keys()),
    ):
        if any(each not in list(choices) for each in table.get(key, ())):
            wrong.append(key)
    needs, offers, english = (
        dict(table.get(key, {})) for key in ("needs", "offers", "en")
    )
    if "must" in table and "must" not in wrong:
        for key, (chinese, in_english) in SIGNATURE_USES.items():
            (needs if key in table["must"] else offers).setdefault(key, chinese)
            english.setdefault(key, in_english)
    texts = {
        key: table[key]
        for key in ("about", "card", "title", "level", "body", "original", "cover")
        if key in table
    }
    sample = TemplateSample(
        needs=needs,
        offers=offers,
        en=english,
        forms=forms,
        kinds=tuple(table.get("kinds", ())) if "kinds" not in wrong else (),
        rules=tuple(table.get("rules", ())) if "rules" not in wrong else (),
        outline=outline,
        has_outline="lead" in table or "section" in table,
        data=table.get("data", {}),
        **texts,
    )
    return sample, wrong


def _read_covers(
    samples: Mapping[str, TemplateSample],
    paths: Mapping[str, Path],
    renderer: Renderer,
    faults: ProblemsByFile,
) -> dict[str, tuple[RenderedImage, bytes] | PictureFile]:
    covers: dict[str, tuple[RenderedImage, bytes] | PictureFile] = {}
    texts = {name: sample.cover for name, sample in samples.items()}
    for name, alt in {**texts, SHARED_FOLDER: SHARED_COVER_ALT}.items():
        path = paths.get(f"{name}/cover.png")
        if path is None:
            continue
        file = PictureFile(path=path, alt=alt, trusted_root=_template_root(path))
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
