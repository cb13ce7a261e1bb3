"""The renderer's process: it reads batches of jobs from standard input, and writes results.

The results go to the former standard output. Its argument is the processor time that a job may use,
in seconds.

It can open no file, no connection and no process, even if an attacker takes it over. All modules
that it needs are imported before.
"""

import contextlib
import faulthandler
import importlib
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from traceback import walk_tb
from typing import Final

from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from markupsafe import Markup
from PIL import Image, MpoImagePlugin, TiffImagePlugin  # noqa: F401 # imported by Pillow for some JPEG files

from publisher.domain.errors import InputError, Location, Problem
from publisher.rendering.image_formats import MAX_PICTURE_BYTES, clean_picture
from publisher.rendering.jobs import (
    PLAIN_SUFFIX,
    STYLESHEET,
    CleanedPicture,
    CleanPicture,
    CompilePage,
    FindLine,
    JobResult,
    PageCompiled,
    ReadBody,
    RenderedText,
    RenderJob,
    RenderPage,
    ShrinkPicture,
    ShrunkPicture,
    TemplateFiles,
    TemplateLine,
    decode_batch,
    encode_result,
    read_frame,
    write_frame,
)
from publisher.rendering.markdown import (
    MAX_DEPTH,
    body_html,
    body_text,
    is_too_deep,
    sanitize_html,
    text_html,
    tidy,
    visible_text,
)
from publisher.rendering.picture_shrinker import shrink_picture
from publisher.rendering.sandbox import (
    BUDGET_VARIABLE,
    MAX_CHARACTERS,
    Budget,
    BudgetExceededError,
    FaultyIncludeError,
    OutputTooLargeError,
    TemplateSandbox,
    UnprintableError,
    concat_limited,
)

MAX_MEMORY_BYTES: Final = 1024**3
"""Address space; the biggest picture takes a third of it."""
_PRELOADED_CODECS: Final = (
    "ascii", "cp437", "idna", "latin_1", "punycode", "raw_unicode_escape", "unicode_escape",
    "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_8_sig",
)  # fmt: skip
"""Python imports a codec when it is first used; links with Chinese hosts need some of these."""
MAX_STACK_BYTES: Final = 8 * 1024**2
MAX_BATCH_BYTES: Final = 2**30
MAX_STDERR_BYTES: Final = 64 * 1024
"""Limit of standard error, the only file it has."""
_TEMPLATE_ERRORS: Final = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Exceptions that a faulty template may raise while it runs."""


def main(seconds: int) -> None:
    """Run jobs until standard input ends."""
    # sent to all processes of a service; the parent ends this one
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):
        signal.signal(number, signal.SIG_IGN)
    _preload_lazy_imports()
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.enable()
    limit_resources()
    missed: list[str] = []
    sys.addaudithook(
        lambda event, facts: missed.append(str(facts[0])) if event == "import" else None
    )
    worker = RenderWorker()
    write_frame(results, b"")  # signals that it is ready
    while True:
        try:
            files, jobs = decode_batch(read_frame(sys.stdin.buffer, MAX_BATCH_BYTES))
        except EOFError:
            return
        if files is not None:
            worker.load(files)
        for job in jobs:
            used = resource.getrusage(resource.RUSAGE_SELF)
            # beyond it the system ends this process
            cpu_limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(
                    resource.RLIMIT_CPU,
                    (cpu_limit, resource.getrlimit(resource.RLIMIT_CPU)[1]),
                )
            result = worker.run_job(job)
            if missed:
                # a library that fails to import its own part may go on without it, with another
                # result
                result = Problem(
                    code="rendering_failed",
                    facts={"reason": f"not imported: {missed[0]}"},
                )
                missed.clear()
            write_frame(results, encode_result(result))
        if worker.ran_out_of_memory:  # what fills it would fail later posts
            return


def _preload_lazy_imports() -> None:
    """Run a job of each kind, some with errors.

    Libraries import some of their parts only on first use.
    """
    texts = {
        "warm/up.html": "{{ '\\n'|upper }}{{ body_html }}",
        "warm/fails.txt": "{{ none }}",
        "warm/broken.txt": "{{",
    }
    for codec in _PRELOADED_CODECS:
        importlib.import_module(f"encodings.{codec}")
    worker = RenderWorker()
    worker.load(TemplateFiles(texts=texts, paths=texts))
    worker.run([CompilePage(page=page) for page in texts])
    worker.run(
        [
            RenderPage(page=page, variables={}, body="**a**", is_article=True)
            for page in texts
        ]
    )
    for kind in ("PNG", "JPEG", "GIF"):
        buffer, exif = BytesIO(), Image.Exif()
        exif[0x0112] = 6  # lies on its side
        Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
        data = buffer.getvalue()
        shrunk = ShrinkPicture(data=data, max_bytes=MAX_PICTURE_BYTES, max_pixels=16)
        worker.run([CleanPicture(data=data), shrunk])


def limit_resources() -> None:
    """Limit the resources of this process."""
    faulthandler.register(signal.SIGXCPU, chain=True)
    for number, max_value in (
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_STACK, MAX_STACK_BYTES),
        (resource.RLIMIT_FSIZE, MAX_STDERR_BYTES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(number)[1]
        limit = max_value if hard == resource.RLIM_INFINITY else min(max_value, hard)
        with contextlib.suppress(
            ValueError, OSError
        ):  # macOS has some of them by name only
            resource.setrlimit(number, (limit, limit))


class RenderWorker:
    """A renderer in this process. Not thread-safe."""

    def __init__(self) -> None:
        self.ran_out_of_memory = False
        self.load(TemplateFiles(texts={}, paths={}))

    def load(self, files: TemplateFiles) -> None:
        """Use these templates from now on; each page is compiled when it is first needed."""
        self._files = files
        self._faulty = set(files.faulty)
        self._sandbox = TemplateSandbox(self._load_source)

    def run(self, jobs: Sequence[RenderJob]) -> list[JobResult]:
        return [self.run_job(job) for job in jobs]

    def run_job(self, job: RenderJob) -> JobResult:
        """Run one job; an error becomes a Problem, for any content."""
        try:
            match job:
                case CompilePage(page=page):
                    return self._compile(page)
                case ReadBody(body=body):
                    return RenderedText(text=body_text(body))
                case RenderPage():
                    return self._render(job)
                case CleanPicture(data=data):
                    found = clean_picture(data)
                    return CleanedPicture(
                        format=found.format,
                        width=found.width,
                        height=found.height,
                        data=found.data,
                    )
                case ShrinkPicture():
                    return _shrink(job)
                case FindLine(page=page, compiled_line=line):
                    return TemplateLine(
                        line=self._sandbox.get_template(page).get_corresponding_lineno(
                            line
                        )
                    )
        except InputError as error:
            return error.problems[0]
        except (MemoryError, RecursionError) as error:
            self.ran_out_of_memory |= isinstance(error, MemoryError)
            return Problem(code="rendering_too_expensive")
        except Exception as error:  # noqa: BLE001 # a library's bug, met by one post, must not stop the others
            return Problem(
                code="rendering_failed",
                facts={"reason": f"{type(error).__name__}: {error}"},
            )

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def _load_source(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        """Return the source of a page, or of a part that it includes. Raises FaultyIncludeError."""
        if name in self._faulty:
            raise FaultyIncludeError(name)
        text = self._files.texts.get(name)
        return None if text is None else (text, self._files.paths[name], lambda: True)

    def _compile(self, name: str) -> PageCompiled | Problem:
        line = 1
        try:
            self._sandbox.get_template(name)
        except TemplateSyntaxError as error:
            line, reason = error.lineno, error.message or ""
        # of Python's compiler: too deep
        except (
            SyntaxError,
            RecursionError,
            ValueError,
            OverflowError,
        ) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            return PageCompiled()
        self._faulty.add(name)
        return Problem(
            code="template_syntax",
            location=Location(file=self._files.paths[name], line=line),
            facts={"reason": reason},
        )

    def _render(self, job: RenderPage) -> RenderedText | Problem:
        page = self._sandbox.get_template(job.page)
        variables = {**job.variables, "body": job.body, BUDGET_VARIABLE: Budget()}
        if job.is_article:
            html = body_html(job.body, self._stylesheet)
            variables["body_html"] = Markup(html)  # noqa: S704 # sanitised
        try:
            source = concat_limited(page.generate(variables))
        except _TEMPLATE_ERRORS as error:
            self.ran_out_of_memory |= isinstance(error, MemoryError)
            code, facts = _template_problem(error)
            files = set(self._files.paths.values())
            lines = [
                (frame.f_code.co_filename, line)
                for frame, line in walk_tb(error.__traceback__)
            ]
            place = next(
                (
                    Location(file=file, line=line)
                    for file, line in reversed(lines)
                    if file in files
                ),
                None,
            )
            # at the innermost line of a template
            return Problem(code=code, location=place, facts=facts)
        if not job.is_article:
            text = tidy(source)
            return RenderedText(text=text.replace("\n", job.line_ending))
        is_plain = job.page.endswith(
            PLAIN_SUFFIX
        )  # the account's platform has no page of its own
        html = text_html(tidy(source)) if is_plain else source
        if is_too_deep(html):
            return Problem(
                code="rendered_nesting_too_deep", facts={"limit": str(MAX_DEPTH)}
            )
        text = sanitize_html(html, self._stylesheet)
        return RenderedText(text=text, visible=visible_text(text))

    @property
    def _stylesheet(self) -> str:
        return self._files.texts.get(STYLESHEET, "")


def _shrink(job: ShrinkPicture) -> ShrunkPicture:
    found, original_size = shrink_picture(job.data, job.max_bytes, job.max_pixels)
    return ShrunkPicture(
        format=found.format,
        width=found.width,
        height=found.height,
        data=found.data,
        original_width=original_size[0],
        original_height=original_size[1],
    )


def _template_problem(error: Exception) -> tuple[str, Mapping[str, str]]:
    match error:
        case UndefinedError():
            return "template_undefined", {"name": str(error.message)}
        case SecurityError():
            return "template_forbidden", {"reason": str(error.message)}
        case BudgetExceededError() | RecursionError():
            return "template_too_slow", {}
        case FaultyIncludeError():
            return "template_part_invalid", {"part": str(error.message)}
        case UnprintableError():
            return "template_unprintable", {"kind": str(error.message)}
        case OutputTooLargeError() | MemoryError():
            return "template_output_too_large", {"limit": str(MAX_CHARACTERS)}
        case _:
            return "template_failed", {"reason": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main(int(sys.argv[1]))
