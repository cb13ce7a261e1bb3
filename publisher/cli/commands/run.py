"""`run`: the daemon. Its log is JSON, but on a terminal it prints lines for its watcher."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from publisher.app.format import Formatter
from publisher.cli.context import (
    load_workspace_settings,
    make_runtime,
    report_database_errors,
)
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal
from publisher.daemon import run as run_daemon
from publisher.domain.delivery import State
from publisher.runtime.logs import configure_logging
from publisher.store.queries.queries import Alert
from publisher.web.http.server import raise_descriptor_limit

WAITING = frozenset(
    {
        ("readback_done", State.UNKNOWN),
        ("readback_done", State.SUBMITTED),
        ("retraction_attempted", State.RETRACTING),
    }
)
"""Events that leave a delivery in its state. They come again and again."""


@command("run")
@click.option("--once", is_flag=True, help="opt_once")
async def run(terminal: Terminal, *, once: bool) -> int:
    is_watched = sys.stderr.isatty()
    if not is_watched:
        configure_logging()
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if is_watched:
        configure_logging(render=lambda event: format_log_event(event, formatter))
    raise_descriptor_limit()
    with report_database_errors(settings.database):
        exit_code = await run_daemon(
            settings, make_runtime(settings), once=once, report=terminal.print_note
        )
    if once:
        terminal.print_note("once_done_with_problems" if exit_code else "once_done")
    else:
        terminal.print_note("run_stopped")
    return exit_code


def format_log_event(event: Mapping[str, Any], formatter: Formatter) -> str | None:
    """Return a log event as a line for people, with its time.

    None if only developers need it.
    """
    line = describe_log_event(event, formatter)
    return (
        f"{formatter.time(datetime.fromisoformat(event['timestamp']))}  {line}"
        if line
        else None
    )


def describe_log_event(event: Mapping[str, Any], formatter: Formatter) -> str | None:
    """Return a log event in words for people; None for one that only developers need."""
    name = event["event"]
    messages = formatter.messages
    reason = event.get("reason") or event.get("code")
    if (name, event.get("state")) in WAITING:
        return None
    facts = {**event, "reason": formatter.reason(reason)}
    if state := event.get("state"):
        facts["state"] = (
            messages.translate("manual_task_open")
            if event.get("is_manual")
            else formatter.state(State(state))
        )
    if name == "alert_raised":
        at = datetime.fromisoformat(event["timestamp"])
        alert = Alert(
            id=0,
            at=at,
            code=event["code"],
            subject=event["subject"],
            facts=event["facts"],
        )
        facts["alert"] = formatter.alert(alert)
    code = messages.first_known(
        *([f"logged_{name}_why"] if reason else []), f"logged_{name}"
    )
    if code not in messages.entries:
        if event["level"] not in {"error", "critical"}:
            return None
        code, facts["error"] = "logged_error", event.get("error", event["level"])
    return messages.translate(code, **facts)
