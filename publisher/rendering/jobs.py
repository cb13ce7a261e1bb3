"""The jobs and results of a renderer, and their encoding between processes.

A renderer works on templates, Markdown and pictures that people write. Its process may be taken
over by them, so a result is accepted only if it is exactly one of the result types.
"""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time
from typing import IO, Final, Protocol

from publisher.domain.errors import Location, Problem
from publisher.domain.values import PrintedFigure

_LENGTH_HEADER: Final = struct.Struct(">I")
_TYPE_TAG: Final = "\0"
"""The key that names the type of a value that JSON lacks.

No key written by staff has this character.
"""
_PARENT_ONLY_FACTS: Final = frozenset({"code", "place", "post", "account", "template"})
"""Facts of a problem that only the parent process adds."""
SHARED_FOLDER: Final = "_shared"
"""The folder of parts that templates include; not a template itself."""
STYLESHEET: Final = f"{SHARED_FOLDER}/article.css"
PLAIN_SUFFIX: Final = ".txt"
MEDIA_TYPES: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif"}
"""The formats of pictures, as named by Pillow."""
_TIME_TYPES: Final = {kind.__name__: kind for kind in (datetime, date, time)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFiles:
    """The texts and paths of all templates, by names like warning/default.txt.

    Templates in `faulty` must not be used.
    """

    texts: Mapping[str, str]
    paths: Mapping[str, str]
    faulty: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilePage:
    """Check that a page compiles: PageCompiled, or a Problem with its file and line."""

    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBody:
    """Convert a Markdown body to plain text: RenderedText."""

    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPage:
    """Render a page to RenderedText; for an article, to its HTML.

    The lines of a text end in `line_ending`.
    """

    page: str
    variables: Mapping[str, object]
    body: str
    is_article: bool = False
    line_ending: str = "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPicture:
    """Clean the bytes of a picture file: CleanedPicture."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkPicture:
    """Clean the bytes of a picture file, and shrink it to these limits: ShrunkPicture."""

    data: bytes
    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindLine:
    """Find the line of a template for a line of its compiled code: TemplateLine."""

    page: str
    compiled_line: int


RenderJob = (
    CompilePage | ReadBody | RenderPage | CleanPicture | ShrinkPicture | FindLine
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCompiled:
    """The page compiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedText:
    """The `text` of a result.

    For an article's HTML, `visible` is its text for readers, with entities still escaped.
    """

    text: str
    visible: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedPicture:
    """A picture that may be sent: its format as named by Pillow, its size in pixels, its bytes."""

    format: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkPicture:
    """A picture within the limits of its job, and the upright size of its original in pixels.

    Both sizes are equal if it was not shrunk.
    """

    format: str
    width: int
    height: int
    data: bytes
    original_width: int
    original_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLine:
    """The number of a line, counted from 1."""

    line: int


AnyResult = PageCompiled | RenderedText | CleanedPicture | ShrunkPicture | TemplateLine
JobResult = AnyResult | Problem
"""A Problem explains why there is no other result.

Its facts do not include the post and the account.
"""


class Renderer(Protocol):
    """Runs jobs, in this process or in another one."""

    def load(self, files: TemplateFiles) -> None:
        """Use these templates from now on."""
        ...

    def run(self, jobs: Sequence[RenderJob]) -> list[JobResult]:
        """Run all jobs and return a result for each, in order.

        No job can prevent the others' results.
        """
        ...

    def close(self) -> None:
        """End at once, even in the middle of a batch."""
        ...


class InvalidResultError(ValueError):
    """Bytes from the renderer are not a valid result."""


_JOB_TYPES: Final = {
    kind.__name__: kind
    for kind in (
        CompilePage,
        ReadBody,
        RenderPage,
        CleanPicture,
        ShrinkPicture,
        FindLine,
    )
}
_RESULT_TYPES: Final[Mapping[type[RenderJob], type[AnyResult]]] = {
    CompilePage: PageCompiled,
    ReadBody: RenderedText,
    RenderPage: RenderedText,
    CleanPicture: CleanedPicture,
    ShrinkPicture: ShrunkPicture,
    FindLine: TemplateLine,
}


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Write data with its length before it."""
    stream.write(_LENGTH_HEADER.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes], max_bytes: int) -> bytes:
    """Read one message.

    Raises EOFError if there is no whole one, ValueError if it has more than `max_bytes`.
    """
    head = stream.read(_LENGTH_HEADER.size)
    if len(head) < _LENGTH_HEADER.size:
        raise EOFError
    (length,) = _LENGTH_HEADER.unpack(head)
    if length > max_bytes:
        raise ValueError(length)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def encode_batch(files: TemplateFiles | None, jobs: Sequence[RenderJob]) -> bytes:
    """Encode a batch: jobs, and the templates to load before them if there are new ones."""
    return _to_json(
        {
            "files": files and _field_values(files),
            "jobs": [_with_kind(job) for job in jobs],
        }
    )


def decode_batch(data: bytes) -> tuple[TemplateFiles | None, list[RenderJob]]:
    """Decode the result of encode_batch()."""
    batch = json.loads(data, object_hook=_decode_value)
    files = batch["files"] and TemplateFiles(**batch["files"])
    return files, [_JOB_TYPES[job.pop("kind")](**job) for job in batch["jobs"]]


def encode_result(result: JobResult) -> bytes:
    if isinstance(result, Problem):
        place = result.location and asdict(result.location)
        return _to_json(
            {
                "kind": "Problem",
                "code": result.code,
                "place": place,
                "facts": dict(result.facts),
            }
        )
    return _to_json(_with_kind(result))


def decode_result(data: bytes, job: RenderJob) -> JobResult:
    """Decode the result of encode_result().

    Raises InvalidResultError unless it is a Problem or of the job's type.
    """
    try:
        members = json.loads(data, object_hook=_decode_value)
        kind = members.pop("kind")
        if kind == "Problem":
            code, place, facts = (
                members.pop("code"),
                members.pop("place"),
                members.pop("facts"),
            )
            texts = (code, *facts, *facts.values())
            if (
                members
                or _PARENT_ONLY_FACTS & facts.keys()
                or not all(isinstance(text, str) for text in texts)
            ):
                raise InvalidResultError(kind)
            location = (
                None
                if place is None
                else Location(file=place["file"], line=place["line"])
            )
            if location and not (
                isinstance(location.file, str) and isinstance(location.line, int)
            ):
                raise InvalidResultError(kind)
            return Problem(code=code, location=location, facts=facts)
        expected = _RESULT_TYPES[type(job)]
        if kind != expected.__name__:
            raise InvalidResultError(kind)
        result = expected(**members)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidResultError(type(error).__name__) from None
    if any(
        type(getattr(result, each.name)) is not each.type for each in fields(result)
    ):
        raise InvalidResultError(kind)
    if (
        isinstance(result, CleanedPicture | ShrunkPicture)
        and result.format not in MEDIA_TYPES
    ):
        raise InvalidResultError(result.format)
    return result


def _with_kind(value: object) -> Mapping[str, object]:
    return {"kind": type(value).__name__, **_field_values(value)}


def _field_values(value: object) -> Mapping[str, object]:
    return {each.name: getattr(value, each.name) for each in fields(value)}  # type: ignore[arg-type] # jobs and results


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_encode_value).encode(
        "utf-8", "surrogatepass"
    )


def _encode_value(value: object) -> object:
    if isinstance(value, bytes):
        return {_TYPE_TAG: "bytes", "value": base64.b64encode(value).decode()}
    if isinstance(value, (datetime, date, time)):
        return {_TYPE_TAG: type(value).__name__, "value": value.isoformat()}
    if isinstance(value, PrintedFigure):
        return {_TYPE_TAG: "PrintedFigure", "value": _field_values(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _decode_value(table: dict[str, object]) -> object:
    kind, value = table.get(_TYPE_TAG), table.get("value")
    if kind is None:
        return table
    if kind == "bytes":
        return base64.b64decode(str(value), validate=True)
    if kind == "PrintedFigure" and isinstance(value, dict):
        return PrintedFigure(**value)
    return _TIME_TYPES[str(kind)].fromisoformat(str(value))
