"""What a renderer is asked to do, what it answers, and how both go from one process to another.

A renderer works on what people write: pages of templates, Markdown and pictures. The process it runs in may be damaged
by what it was given, so an answer is taken only if it is exactly one of the results.
"""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time
from typing import IO, Final, Protocol

from publisher.domain.problem import Place, Problem

_LENGTH: Final = struct.Struct(">I")
_TAG: Final = "\0"
"""Names, in a table, the type of a value that JSON has none for; no key that staff write has this character."""
_OF_THE_PARENT: Final = frozenset({"code", "place", "post", "account", "template"})
"""Facts of a problem that only the parent knows."""
PICTURE_FORMATS: Final = frozenset({"PNG", "JPEG", "GIF"})
_TIMES: Final = {kind.__name__: kind for kind in (datetime, date, time)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFiles:
    """The texts of all templates, and where each file lies, by names such as warning/weibo.txt.

    What is named in `faulty` must not be used.
    """

    texts: Mapping[str, str]
    places: Mapping[str, str]
    faulty: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilePage:
    """Say whether a page can be used: Done, or a problem with its file and line."""

    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBody:
    """Make plain text of a Markdown body: a Text."""

    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPage:
    """Render a page: a Text, of an article its HTML. Lines end in CR LF where `has_crlf` says so."""

    page: str
    variables: Mapping[str, object]
    body: str
    is_article: bool = False
    has_crlf: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPicture:
    """Clean the bytes of a picture file: a CleanedPicture."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FindLine:
    """Give the template's line for a line of what a page was compiled to: a Line."""

    page: str
    compiled_line: int


Job = CompilePage | ReadBody | RenderPage | CleanPicture | FindLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """There is nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """`text` is the result; of an article's HTML, `visible` is what readers see of it, entities still written out."""

    text: str
    visible: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedPicture:
    """A picture that may go out: its format as Pillow names it, its size in pixels, its bytes."""

    format: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The number of a line, counted from 1."""

    line: int


Result = Done | Text | CleanedPicture | Line | Problem
"""A Problem says why there is no other result; the post and account it concerns are not among its facts."""


class Renderer(Protocol):
    """Whoever works on what people write."""

    def load(self, files: TemplateFiles) -> None:
        """Use these templates from now on."""
        ...

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Do all jobs and return a result for each, in order. No job keeps the others from it, whatever its content."""
        ...

    def close(self) -> None:
        """End at once, in the middle of a batch as well."""
        ...


class NotAResultError(ValueError):
    """An answer is not a result."""


_JOBS: Final = {kind.__name__: kind for kind in (CompilePage, ReadBody, RenderPage, CleanPicture, FindLine)}
_RESULTS: Final[Mapping[type[Job], type[Done | Text | CleanedPicture | Line]]] = {
    CompilePage: Done,
    ReadBody: Text,
    RenderPage: Text,
    CleanPicture: CleanedPicture,
    FindLine: Line,
}


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Write a message with its length before it."""
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes], most: int) -> bytes:
    """Read one message. Raises EOFError where there is no whole one, ValueError where it has more than `most` bytes."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > most:
        raise ValueError(length)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def batch_bytes(files: TemplateFiles | None, jobs: Sequence[Job]) -> bytes:
    """Write a batch: templates to be used from now on, if there are new ones, and jobs."""
    return _to_json({"files": files and _members(files), "jobs": [_named(job) for job in jobs]})


def read_batch(data: bytes) -> tuple[TemplateFiles | None, list[Job]]:
    """Read what batch_bytes() wrote."""
    batch = json.loads(data, object_hook=_from_tagged)
    files = batch["files"] and TemplateFiles(**batch["files"])
    return files, [_JOBS[job.pop("kind")](**job) for job in batch["jobs"]]


def result_bytes(result: Result) -> bytes:
    if isinstance(result, Problem):
        place = result.place and asdict(result.place)
        return _to_json({"kind": "Problem", "code": result.code, "place": place, "facts": dict(result.facts)})
    return _to_json(_named(result))


def read_result(data: bytes, job: Job) -> Result:
    """Read what result_bytes() wrote. Raises NotAResultError for anything but a problem, or what the job results in."""
    try:
        members = json.loads(data, object_hook=_from_tagged)
        kind = members.pop("kind")
        if kind == "Problem":
            return _read_problem(**members)
        expected = _RESULTS[type(job)]
        if kind != expected.__name__:
            raise NotAResultError(kind)
        result = expected(**members)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotAResultError(type(error).__name__) from None
    if any(type(getattr(result, each.name)) is not each.type for each in fields(result)):
        raise NotAResultError(kind)
    if isinstance(result, CleanedPicture) and result.format not in PICTURE_FORMATS:
        raise NotAResultError(result.format)
    return result


def _read_problem(code: str, place: Mapping[str, object] | None, facts: Mapping[str, str]) -> Problem:
    if not all(isinstance(text, str) for text in (code, *facts, *facts.values())) or _OF_THE_PARENT & facts.keys():
        raise NotAResultError("Problem")
    if place is None:
        return Problem(code=code, facts=facts)
    file, line = place["file"], place["line"]
    if not (isinstance(file, str) and isinstance(line, int)):
        raise NotAResultError("Place")
    return Problem(code=code, place=Place(file=file, line=line), facts=facts)


def _named(value: object) -> Mapping[str, object]:
    return {"kind": type(value).__name__, **_members(value)}


def _members(value: object) -> Mapping[str, object]:
    return {each.name: getattr(value, each.name) for each in fields(value)}  # type: ignore[arg-type] # jobs and results


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_tagged).encode("utf-8", "surrogatepass")


def _tagged(value: object) -> object:
    if isinstance(value, bytes):
        return {_TAG: "bytes", "value": base64.b64encode(value).decode()}
    if isinstance(value, (datetime, date, time)):
        return {_TAG: type(value).__name__, "value": value.isoformat()}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _from_tagged(table: dict[str, object]) -> object:
    kind, value = table.get(_TAG), table.get("value")
    if kind is None:
        return table
    if kind == "bytes":
        return base64.b64decode(str(value), validate=True)
    return _TIMES[str(kind)].fromisoformat(str(value))
