"""Structured logging: one JSON line per event, without secrets and without the text of posts."""

import atexit
import json
import logging
import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast

from publisher.domain.characters import escape_forbidden
from publisher.runtime.redaction import redact_text

if TYPE_CHECKING:
    import structlog
    from structlog.typing import Processor

MAX_QUEUED_LINES = 10_000
"""The number of lines that wait for a slow reader of the log; further lines are dropped."""
MAX_LINES_PER_WRITE = 100
CLOSE_TIMEOUT_SECONDS = 2.0
"""How long closing waits for the last lines."""
_dropped_lock = threading.Lock()
_dropped_count = 0


class _LazyLog:
    """A logger that imports and configures structlog at first use.

    It is for a command, unless `configure_logging` ran.
    """

    describe: "Callable[[Mapping[str, Any]], str | None] | None" = None
    owns_stderr = False
    """True while standard error has one JSON document a line, and nothing else."""
    sink: "LogSink | None" = None

    @property
    def _logger(self) -> "structlog.stdlib.BoundLogger":
        import structlog  # noqa: PLC0415 # a tenth of the time of a command that logs nothing

        if not structlog.is_configured():
            configure_command_logging()
        logger: structlog.stdlib.BoundLogger = structlog.get_logger()
        return logger

    def __getattr__(self, level: str) -> object:
        return getattr(self._logger, level)


_lazy_log = _LazyLog()
log = cast("structlog.stdlib.BoundLogger", _lazy_log)


def describe_command_log(describe: Callable[[Mapping[str, Any]], str | None]) -> None:
    """Give the log of a command on a terminal a line for people for each event.

    `describe` returns the line, or None.
    """
    _lazy_log.describe = describe
    _lazy_log.owns_stderr = False


def is_stderr_json() -> bool:
    """True if everything for standard error has to be an event of the log."""
    return _lazy_log.owns_stderr


def close_log() -> None:
    """Wait until the lines of this process are written, up to CLOSE_TIMEOUT_SECONDS."""
    if _lazy_log.sink is not None:
        _lazy_log.sink.close()
        _lazy_log.sink = None


def install_hooks() -> None:
    """Log what Python itself would print to standard error, while that has JSON lines only.

    These are the errors that nobody catches: in the program, a thread or a finalizer.
    """

    def log_crash(
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        if not is_stderr_json():
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("crashed", error=kind.__name__, exc_info=(kind, error, trace))

    def log_thread_crash(crash: threading.ExceptHookArgs) -> None:
        if not is_stderr_json():
            threading.__excepthook__(crash)
            return
        log.error(
            "thread_crashed",
            thread=crash.thread.name if crash.thread else None,
            error=crash.exc_type.__name__,
            exc_info=crash.exc_value or True,
        )

    def log_unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        if not is_stderr_json():
            sys.__unraisablehook__(ignored)
            return
        log.error(
            "exception_ignored",
            error=ignored.exc_type.__name__,
            where=repr(ignored.object),
            exc_info=ignored.exc_value or True,
        )

    sys.excepthook = log_crash
    threading.excepthook = log_thread_crash
    sys.unraisablehook = log_unraisable


class LogSink:
    """A stream that never blocks its writer: lines above the limit are dropped and counted.

    The standard library's QueueListener does not fit: its `stop` waits for a stuck stream without
    limit.
    """

    def __init__(self, stream: TextIO, max_lines: int = MAX_QUEUED_LINES) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(max_lines)
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            _count_dropped()

    def flush(self) -> None:
        """Do nothing: no writer waits for the stream."""

    def close(self) -> None:
        """Wait up to CLOSE_TIMEOUT_SECONDS for the last lines to be written."""
        try:
            self._lines.put(None, timeout=CLOSE_TIMEOUT_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _drain(self) -> None:
        is_open = True
        while is_open:
            more = min(self._lines.qsize(), MAX_LINES_PER_WRITE)
            waiting = [
                self._lines.get(),
                *(self._lines.get_nowait() for _ in range(more - 1)),
            ]
            lines = [line for line in waiting if line is not None]
            is_open = len(lines) == len(waiting)
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (
                UnicodeEncodeError
            ):  # one line has what the stream's encoding has not
                self._write_each(lines)
            except (OSError, ValueError):  # the disk is full, or the reader is gone
                _count_dropped(len(lines))

    def _write_each(self, lines: Sequence[str]) -> None:
        for line in lines:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                _count_dropped()


class _LibraryLogHandler(logging.Handler):
    """Writes the log records of libraries into our log, in its format and without secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno // 10 * 10
        try:
            log.log(
                level,
                "library",
                logger=record.name,
                said=record.getMessage(),
                exc_info=record.exc_info,
            )
        except (
            KeyError,
            TypeError,
            ValueError,
        ):  # a library's malformed log call must not fail
            _count_dropped()


def _count_dropped(number: int = 1) -> None:
    global _dropped_count  # noqa: PLW0603 # one log per process, so one count
    with _dropped_lock:
        _dropped_count += number


def dropped_line_count() -> int:
    """Return the number of log lines that this process could not write."""
    return _dropped_count


def configure_logging(
    stream: TextIO | None = None,
    render: Callable[[Mapping[str, Any]], str | None] | None = None,
) -> None:
    """Write events as JSON lines to a stream, by default standard error, without blocking.

    With `render`, a line is the text that it returns for an event. The event has its level and
    timestamp by then. None drops it.
    """
    import structlog  # noqa: PLC0415 # as above

    for library in ("httpx", "httpcore", "apscheduler", "uvicorn"):
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.basicConfig(handlers=[_LibraryLogHandler()])
    logging.captureWarnings(capture=True)
    is_watched = sys.stderr.isatty()
    _lazy_log.owns_stderr = stream is None and render is None and not is_watched
    sink = _lazy_log.sink = LogSink(stream or sys.stderr)
    atexit.register(sink.close)
    lines = structlog.PrintLogger(cast("TextIO", sink))

    def render_or_drop(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> str:
        try:
            line = render(event) if render else None
        except Exception:  # noqa: BLE001 # a line that cannot be made must not stop what is logged
            return json.dumps(event, ensure_ascii=False, default=str)
        if line is None:
            raise structlog.DropEvent
        return line

    json_lines = structlog.processors.JSONRenderer(ensure_ascii=False)
    _configure_structlog(render_or_drop if render else json_lines, lambda *_: lines)


def configure_command_logging() -> None:
    """Write warnings and errors to the current standard error, beside a command's output.

    On a terminal they are for people. Elsewhere they are plain text for developers.
    """
    import structlog  # noqa: PLC0415 # as above

    def render_warning(
        logger: object, method: str, event: MutableMapping[str, Any]
    ) -> str:
        if event["level"] in {"debug", "info"}:  # what a command did is its output
            raise structlog.DropEvent
        if _lazy_log.describe is None or not sys.stderr.isatty():
            return plain(logger, method, event)
        line = _lazy_log.describe(event)
        if line is None:
            raise structlog.DropEvent
        return line

    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    _configure_structlog(render_warning, lambda *_: structlog.PrintLogger(sys.stderr))


def _configure_structlog(
    renderer: "Processor", logger_factory: Callable[..., "structlog.PrintLogger"]
) -> None:
    import structlog  # noqa: PLC0415 # as above

    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,
            redact_event,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=logger_factory,
    )


def redact_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact secrets in every field, at any depth, and escape characters that a terminal obeys.

    The name of the event stays as it is, as it is a word of our own code.
    """
    for name, value in event.items():
        if name != "event":
            event[name] = _redact_value(value)
    return event


def _redact_value(value: object) -> object:
    match value:
        case str():
            return escape_forbidden(redact_text(value))
        case Mapping():
            return {
                _redact_value(key) if isinstance(key, str) else key: _redact_value(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redact_value(item) for item in value]
        case None | bool() | int() | float():
            return value
        case PurePath():
            return escape_forbidden(redact_text(str(value)))
        case _:  # the renderer would write its repr unredacted
            return escape_forbidden(redact_text(repr(value)))
