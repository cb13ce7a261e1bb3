"""The log: one JSON line per event, with fields, without secrets and without the words of posts."""

import atexit
import logging
import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

from publisher.concealing import conceal
from publisher.domain.characters import visible

if TYPE_CHECKING:
    import structlog
    from structlog.typing import Processor

MOST_WAITING = 10_000
"""So many lines wait for whoever reads the log; more are dropped."""
LAST_WORDS = 2.0
"""Seconds that the last lines are given at the end."""
_counting = threading.Lock()
_dropped = 0


@cache
def _logger() -> "structlog.stdlib.BoundLogger":
    import structlog  # noqa: PLC0415 # it brings rich: a tenth of what a command takes that logs nothing

    if not structlog.is_configured():
        _set_aside()
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


class _Log:
    """The log, which is made ready once something is written into it: beside a command's answer, unless `set_up`."""

    def __getattr__(self, level: str) -> object:
        return getattr(_logger(), level)


log = cast("structlog.stdlib.BoundLogger", _Log())


class Sink:
    """A stream that never makes its writer wait: lines that nobody takes are dropped, and counted."""

    def __init__(self, stream: TextIO, most: int = MOST_WAITING) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._pour, name="log", daemon=True)
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
            self._lines.put(None, timeout=LAST_WORDS)
        except queue.Full:
            return
        self._thread.join(LAST_WORDS)

    def _pour(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):  # its disk is full, or whoever read it is gone
                _count_dropped()


class _Relay(logging.Handler):
    """Brings what libraries have to say into the log: in its form, and without secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno // 10 * 10
        try:
            log.log(level, "library", logger=record.name, said=record.getMessage(), exc_info=record.exc_info)
        except (KeyError, TypeError, ValueError):  # a library that logs in a wrong way must not be stopped by that
            _count_dropped()


def _count_dropped() -> None:
    global _dropped  # noqa: PLW0603 # the log is the process's own, and so is this count
    with _counting:
        _dropped += 1


def lines_dropped() -> int:
    """Tell how many lines of the log this process could not write."""
    return _dropped


def set_up(stream: TextIO | None = None) -> None:
    """Write events as JSON lines to a stream, standard error unless another is given; nobody waits for it."""
    import structlog  # noqa: PLC0415 # as above

    for chatty in ("httpx", "httpcore", "apscheduler", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    logging.basicConfig(handlers=[_Relay()])
    sink = Sink(stream or sys.stderr)
    atexit.register(sink.close)
    lines = structlog.PrintLogger(cast("TextIO", sink))
    _configure(structlog.processors.JSONRenderer(ensure_ascii=False), lambda *_: lines)


def _set_aside() -> None:
    """Write events beside a command's answer: to whatever standard error is at that moment."""
    import structlog  # noqa: PLC0415 # as above

    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    _configure(plain, lambda *_: structlog.PrintLogger(sys.stderr))


def _configure(render: "Processor", lines_of: Callable[..., "structlog.PrintLogger"]) -> None:
    import structlog  # noqa: PLC0415 # as above

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            render,
        ],
        logger_factory=lines_of,
    )


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Strike secrets out of every field, however deep, and spell out what a terminal would obey."""
    for name, value in event.items():
        event[name] = _redacted(value)
    return event


def _redacted(value: object) -> object:
    match value:
        case str():
            return visible(conceal(value))
        case Mapping():
            return {_redacted(key) if isinstance(key, str) else key: _redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case None | bool() | int() | float():
            return value
        case _:  # the log would write what it does not know just so
            return visible(conceal(repr(value)))
