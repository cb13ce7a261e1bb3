"""The log: its reader may be slow, stuck or gone; the daemon does not wait for it."""

import io
import json
import os
import subprocess
import sys
import threading
from zoneinfo import ZoneInfo

import pytest
import structlog

from publisher.app.format import Formatter
from publisher.cli.commands.run import format_log_event
from publisher.i18n import Messages
from publisher.runtime.logs import (
    LogSink,
    configure_command_logging,
    configure_logging,
    dropped_line_count,
    log,
)
from publisher.store.system_alerts import SystemAlerts
from tests.wait import PATIENCE_SECONDS


class Stuck:
    """A stream with a stopped reader, until it continues."""

    def __init__(self):
        self.taken, self.goes_on, self.is_stuck = (
            [],
            threading.Event(),
            threading.Event(),
        )

    def write(self, line):
        self.is_stuck.set()
        assert self.goes_on.wait(PATIENCE_SECONDS)
        self.taken.append(line)

    def flush(self):
        pass


def test_f91_a_stuck_log_makes_nobody_wait_and_dropped_lines_are_counted():
    """F91: lines beyond the buffer are dropped and counted; the others are written in order.

    They are written once the log is read.
    """
    stream, before = Stuck(), dropped_line_count()
    sink = LogSink(stream, max_lines=10)
    sink.write("0")
    assert stream.is_stuck.wait(PATIENCE_SECONDS)
    for number in range(1, 16):
        sink.write(str(number))
    assert dropped_line_count() - before == 5
    stream.goes_on.set()
    sink.close()
    assert "".join(stream.taken) == "".join(str(number) for number in range(11))


def test_f91_a_log_that_cannot_be_written_is_counted():
    """F91: a full disk, or a reader that is gone, costs lines and nothing else."""
    before = dropped_line_count()
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stream:
        sink = LogSink(stream)
        for _ in range(3):
            sink.write("line\n")
        sink.close()
        assert dropped_line_count() - before == 3
        with pytest.raises(BrokenPipeError):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


LINES = [
    (
        {
            "event": "attempt_finished",
            "post": "p",
            "account": "a",
            "state": "held",
            "reason": "captcha",
        },
        "p to a: waiting for a person (",
    ),
    (
        {
            "event": "attempt_finished",
            "post": "p",
            "account": "a",
            "state": "published",
            "reason": None,
        },
        "p to a: published",
    ),
    (
        {
            "event": "attempt_finished",
            "post": "p",
            "account": "a",
            "state": "submitted",
            "is_manual": True,
        },
        "p to a: to be posted manually",
    ),
    (
        {"event": "readback_done", "post": "p", "account": "a", "state": "published"},
        "p on a, after a look: published",
    ),
    (
        {
            "event": "alert_raised",
            "code": "failed",
            "subject": "p",
            "facts": {"post": "p", "account": "a", "reason": "expired"},
        },
        "Alert: p failed on a: past its expiry. What to do: publisher why p@a",
    ),
    (
        {"event": "database_unavailable", "job": "send"},
        "The database cannot be reached",
    ),
    (
        {"event": "job_failed", "level": "error", "error": "KeyError"},
        "Internal fault: job_failed (KeyError)",
    ),
    ({"event": "readback_done", "post": "p", "account": "a", "state": "unknown"}, None),
    ({"event": "own_leases_expired", "leases": 0}, None),
]


@pytest.mark.parametrize(
    ("event", "line"), LINES, ids=[event["event"] for event, _line in LINES]
)
def test_an_event_is_a_line_for_people_or_none(event, line):
    """On a terminal an event is one line in the operator's language and local time, or none."""
    formatter = Formatter(messages=Messages("en"), timezone=ZoneInfo("Asia/Shanghai"))
    whole = {"level": "info", "timestamp": "2026-11-27T01:02:03.5Z", **event}
    shown = format_log_event(whole, formatter)
    assert (
        shown is None
        if line is None
        else shown.startswith(f"2026-11-27 09:02:03  {line}")
    )


def test_a_rendered_log_has_the_lines_alone(log_as_before):
    """Events that the renderer drops are not written; it sees events with secrets redacted."""
    stream = io.StringIO()
    configure_logging(
        stream,
        lambda event: (
            f"{event['event']} {event.get('said', '')}" if "said" in event else None
        ),
    )
    log.info("shown", said=f"access_token={SECRET}")
    log.info("dropped")
    structlog.get_config()["logger_factory"]()._file.close()  # waits for its thread
    assert stream.getvalue().startswith("shown access_token=")
    assert SECRET not in stream.getvalue()
    assert "dropped" not in stream.getvalue()


def test_a_line_that_cannot_be_rendered_is_written_as_json(log_as_before):
    """A mistake in a text for people loses no log line."""
    stream = io.StringIO()
    configure_logging(stream, lambda event: event["missing"])
    log.info("shown", number=1)
    structlog.get_config()["logger_factory"]()._file.close()
    assert json.loads(stream.getvalue())["event"] == "shown"


def test_a_line_that_the_stream_cannot_encode_is_lost_alone():
    """Of lines that are written together the others are there."""
    bytes_written, before = io.BytesIO(), dropped_line_count()
    sink = LogSink(io.TextIOWrapper(bytes_written, encoding="gbk", write_through=True))
    for line in ("一\n", "\N{GRINNING FACE}\n", "三\n"):
        sink.write(line)
    sink.close()
    assert bytes_written.getvalue().decode("gbk") == "一\n三\n"
    assert dropped_line_count() == before + 1


async def test_f91_dropped_lines_are_alerted(open_store, runtime):
    """F91: people are alerted how many lines are missing on which host, once."""
    store = await open_store()
    system_alerts = SystemAlerts(store)
    system_alerts.reported_lines -= 7
    for _ in range(2):
        await system_alerts.update()
    [alert] = await store.queries.alerts()
    facts = {"host": "worker-1", "number": "7"}
    assert (alert.code, alert.facts) == ("log_lines_dropped", facts)


def test_a_line_beside_an_answer_goes_to_the_present_standard_error(
    log_as_before, monkeypatch
):
    """A stream that took an earlier line may be closed by now; the next line does not go there."""
    configure_logging(io.StringIO())
    configure_command_logging()
    for event in ("first", "second"):
        with io.StringIO() as answer:
            monkeypatch.setattr(sys, "stderr", answer)
            log.warning(event)
            assert event in answer.getvalue()


SECRET = "2.00secretsecretsecret"
CRASH = """
import threading, warnings
from pathlib import Path
from publisher.cli.terminal import Terminal
from publisher.i18n import Messages
from publisher.runtime.logs import configure_logging, install_hooks

class Broken:
    def __del__(self):
        raise ValueError("in a finalizer")

def fail():
    raise ValueError("in a thread")

install_hooks()
configure_logging()
warnings.warn("an old call")
broken = Broken()
del broken
thread = threading.Thread(target=fail)
thread.start()
thread.join()
terminal = Terminal(messages=Messages("en"), workspace=Path())
terminal.print_note("web_listening", address=Path("/run"))
terminal.print_error("refused", "do that", "code_of_it")
raise KeyError("nobody catches this: access_token=2.00secretsecretsecret")
"""


def result(script):
    """Return the standard output and error of a process."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_every_line_of_a_log_is_json_with_its_level():
    """Warnings, notes, refusals and errors that nobody catches are events, without secrets."""
    done = subprocess.run(
        [sys.executable, "-c", CRASH], capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [(line["event"], line["level"]) for line in lines] == [
        ("library", "warning"),
        ("exception_ignored", "error"),
        ("thread_crashed", "error"),
        ("web_listening", "info"),
        ("code_of_it", "error"),
        ("crashed", "critical"),
    ]
    assert "an old call" in lines[0]["said"]
    assert (lines[3]["address"], lines[4]["hint"]) == ("/run", "do that")
    assert "KeyError" in lines[5]["exception"]
    assert SECRET not in done.stderr


def test_messages_of_libraries_are_log_lines_without_secrets():
    """An error known only to a library, such as of an unawaited task, shows no secret."""
    _out, reported = result(
        "import logging; from publisher.runtime.logs import configure_logging; configure_logging();"
        "logging.getLogger('httpx').error("
        f"'refused: access_token={SECRET}', exc_info=ValueError('x'))"
    )
    line = json.loads(reported)
    assert (line["event"], line["logger"], line["level"]) == (
        "library",
        "httpx",
        "error",
    )
    assert "ValueError: x" in line["exception"]
    assert "refused" in line["said"]
    assert SECRET not in reported


def test_a_malformed_log_call_does_not_stop_a_library():
    """A message that cannot be formatted costs one line, and is counted; the library goes on."""
    out, _reported = result(
        "import logging; from publisher.runtime.logs import dropped_line_count, configure_logging;"
        " configure_logging();"
        "logging.getLogger('x').error('%d', 'no number'); print(dropped_line_count())"
    )
    assert out == "1\n"


def test_i19_a_failure_in_a_command_is_reported_beside_its_answer_without_secrets():
    """I19: a command without a log reports a failure on standard error, without any variable."""
    out, reported = result(
        "from publisher.runtime.logs import log\n"
        f"token = 'access_token={SECRET}'\n"
        "try:\n    raise ValueError(token)\n"
        "except ValueError:\n    log.exception('adapter_failed', said=token)\n"
    )
    assert out == ""
    assert "adapter_failed" in reported
    assert "ValueError" in reported
    assert SECRET not in reported


def test_a_command_logs_no_event_beside_its_answer(log_as_before, capsys):
    """A command's output says its result; of the log only warnings and errors stand beside it."""
    configure_command_logging()
    log.info("alert_raised", code="retracting")
    log.warning("audit_late")
    shown = capsys.readouterr().err
    assert "alert_raised" not in shown
    assert "audit_late" in shown
