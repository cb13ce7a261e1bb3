"""The renderer itself: works on templates, Markdown and pictures, and opens no file and no connection."""

from collections.abc import Callable, Mapping, Sequence
from traceback import walk_tb
from typing import Final

from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from publisher.domain.errors import InputError, Location, Problem
from publisher.rendering.image_formats import clean_picture
from publisher.rendering.jobs import (
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
    TemplateFiles,
    TemplateLine,
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
from publisher.rendering.sandbox import (
    BUDGET_VARIABLE,
    MAX_CHARACTERS,
    Budget,
    BudgetExceededError,
    FaultyIncludeError,
    OutputTooLargeError,
    TemplateSandbox,
    UnprintableError,
)
from publisher.rendering.templates import PLAIN_SUFFIX, STYLESHEET

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
"""What a faulty template may raise while it runs."""


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
        """Run one job. Whatever its content, an error becomes a Problem."""
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
                    return CleanedPicture(format=found.format, width=found.width, height=found.height, data=found.data)
                case FindLine(page=page, compiled_line=line):
                    return TemplateLine(line=self._sandbox.get_template(page).get_corresponding_lineno(line))
        except InputError as error:
            return error.problems[0]
        except (MemoryError, RecursionError) as error:
            self.ran_out_of_memory |= isinstance(error, MemoryError)
            return Problem(code="rendering_too_expensive")
        except Exception as error:  # noqa: BLE001 # a library's bug, met by one post, must not stop the others
            return Problem(code="rendering_failed", facts={"reason": f"{type(error).__name__}: {error}"})

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
        except (
            SyntaxError,
            RecursionError,
            ValueError,
            OverflowError,
        ) as error:  # raised by Python's compiler, e.g. if nested too deep
            reason = f"{type(error).__name__}: {error}"
        else:
            return PageCompiled()
        self._faulty.add(name)
        return Problem(
            code="template_syntax", location=Location(file=self._files.paths[name], line=line), facts={"reason": reason}
        )

    def _render(self, job: RenderPage) -> RenderedText | Problem:
        page = self._sandbox.get_template(job.page)
        variables = {**job.variables, "body": job.body, "body_text": body_text(job.body), BUDGET_VARIABLE: Budget()}
        if job.is_article:
            html = body_html(job.body, self._stylesheet)
            variables["body_html"] = Markup(html)  # noqa: S704 # sanitised
        try:
            parts, size = [], 0
            for part in page.generate(variables):
                size += len(part)
                if size > MAX_CHARACTERS:
                    raise OutputTooLargeError("huge")
                parts.append(part)
            source = "".join(parts)
        except _TEMPLATE_ERRORS as error:
            self.ran_out_of_memory |= isinstance(error, MemoryError)
            code, facts = _template_problem(error)
            files = set(self._files.paths.values())
            lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
            place = next((Location(file=file, line=line) for file, line in reversed(lines) if file in files), None)
            return Problem(code=code, location=place, facts=facts)  # at the innermost line of a template
        if not job.is_article:
            text = tidy(source)
            return RenderedText(text=text.replace("\n", "\r\n") if job.uses_crlf else text)
        html = (
            text_html(tidy(source)) if job.page.endswith(PLAIN_SUFFIX) else source
        )  # the account's platform has no page of its own
        if is_too_deep(html):
            return Problem(code="rendered_nesting_too_deep", facts={"limit": str(MAX_DEPTH)})
        text = sanitize_html(html, self._stylesheet)
        return RenderedText(text=text, visible=visible_text(text))

    @property
    def _stylesheet(self) -> str:
        return self._files.texts.get(STYLESHEET, "")


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
