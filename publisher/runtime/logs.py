"""The log: one JSON line per event, with fields, without secrets and without the words of posts."""

import atexit
import logging
import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

from publisher.domain.characters import escape_forbidden
from publisher.runtime.redaction import redact_text

if TYPE_CHECKING:
    import structlog
    from structlog.typing import Processor

MAX_QUEUED_LINES = 10_000
"""So many lines wait for whoever reads the log; more are dropped."""
CLOSE_TIMEOUT_SECONDS = 2.0
"""Seconds that the last lines are given at the end."""
_dropped_lock = threading.Lock()
_dropped_count = 0


@cache
def _logger() -> "structlog.stdlib.BoundLogger":
    import structlog  # noqa: PLC0415 # it brings rich: a tenth of what a command takes that logs nothing

    if not structlog.is_configured():
        _configure_for_command()
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


class _LazyLog:
    """The log, which is made ready once something is written into it: beside a command's answer, unless `set_up`."""

    def __getattr__(self, level: str) -> object:
        return getattr(_logger(), level)


log = cast("structlog.stdlib.BoundLogger", _LazyLog())


class LogSink:
    """A stream that never makes its writer wait: lines that nobody takes are dropped, and counted."""

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
        """Nothing waits for the stream."""

    def close(self) -> None:
        """Give the last lines a moment to be written."""
        try:
            self._lines.put(None, timeout=CLOSE_TIMEOUT_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _drain(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):  # its disk is full, or whoever read it is gone
                _count_dropped()


class _LibraryLogHandler(logging.Handler):
    """Brings what libraries have to say into the log: in its form, and without secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno // 10 * 10
        try:
            log.log(level, "library", logger=record.name, said=record.getMessage(), exc_info=record.exc_info)
        except (KeyError, TypeError, ValueError):  # a library that logs in a wrong way must not be stopped by that
            _count_dropped()


def _count_dropped() -> None:
    global _dropped_count  # noqa: PLW0603 # the log is the process's own, and so is this count
    with _dropped_lock:
        _dropped_count += 1


def dropped_line_count() -> int:
    """Tell how many lines of the log this process could not write."""
    return _dropped_count


def configure_logging(stream: TextIO | None = None) -> None:
    """Write events as JSON lines to a stream, standard error unless another is given; nobody waits for it."""
    import structlog  # noqa: PLC0415 # as above

    for chatty in ("httpx", "httpcore", "apscheduler", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.basicConfig(handlers=[_LibraryLogHandler()])
    sink = LogSink(stream or sys.stderr)
    atexit.register(sink.close)
    lines = structlog.PrintLogger(cast("TextIO", sink))
    _configure_structlog(structlog.processors.JSONRenderer(ensure_ascii=False), lambda *_: lines)


def _configure_for_command() -> None:
    """Write events beside a command's answer: to whatever standard error is at that moment."""
    import structlog  # noqa: PLC0415 # as above

    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    _configure_structlog(plain, lambda *_: structlog.PrintLogger(sys.stderr))


def _configure_structlog(renderer: "Processor", logger_factory: Callable[..., "structlog.PrintLogger"]) -> None:
    import structlog  # noqa: PLC0415 # as above

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact_event,
            renderer,
        ],
        logger_factory=logger_factory,
    )


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Strike secrets out of every field, however deep, and spell out what a terminal would obey."""
    for name, value in event.items():
        event[name] = _redact_value(value)
    return event


def _redact_value(value: object) -> object:
    match value:
        case str():
            return escape_forbidden(redact_text(value))
        case Mapping():
            return {
                _redact_value(key) if isinstance(key, str) else key: _redact_value(item) for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redact_value(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:  # the log would write what it does not know just so
            return escape_forbidden(redact_text(repr(value)))
