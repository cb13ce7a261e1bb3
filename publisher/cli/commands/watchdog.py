"""`watchdog`: check from outside whether the daemon works, and report faults."""

import asyncio
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import click

from publisher.app.format import Formatter
from publisher.app.open_store import build_worker_id
from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import report_error
from publisher.cli.framework import command
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.alert_classes import Audience, Urgency
from publisher.domain.errors import SettingsError
from publisher.engine.notice_writer import name_audience, name_workspace
from publisher.engine.notifier import CHANNEL_PARTLY_REFUSED
from publisher.engine.watchdog import (
    FAULTS_IN_DATABASE,
    Facts,
    Fault,
    Findings,
    Report,
    find_faults,
    keep_state,
    load_last_state,
    plan_reports,
    record_reports,
    state_file,
)
from publisher.engine.watchdog_settings import (
    keep_settings,
    load_kept_settings,
    locate_error,
    settings_file,
)
from publisher.i18n import Messages

WATCHDOG_INTERVAL_SECONDS = 30.0


@command("watchdog")
@click.option("--once", is_flag=True, help="opt_watchdog_once")
async def watchdog(terminal: Terminal, *, once: bool) -> int:
    while True:
        exit_code = await _look(terminal)
        if once:
            return exit_code
        await asyncio.sleep(WATCHDOG_INTERVAL_SECONDS)


async def _look(terminal: Terminal) -> int:
    """Look once and report the due faults.

    Return 1 if there is a fault, or if a report could not be sent or noted.
    """
    now = datetime.now(UTC)
    try:
        settings = await load_workspace_settings(terminal)
    except SettingsError as error:
        kept = await asyncio.to_thread(load_kept_settings, terminal.workspace)
        if kept is None:
            raise
        report_error(error, terminal)
        findings = await asyncio.to_thread(_find_by_kept_settings, kept, error, now)
        return await _report_findings(terminal, kept, findings, now)
    findings = await asyncio.to_thread(
        find_faults, settings, build_worker_id(settings), now
    )
    try:
        await asyncio.to_thread(keep_settings, settings)
    except OSError as error:
        file = settings_file(settings.workspace)
        _print_unwritable(terminal, "watchdog_settings_unwritable", file, error)
    return await _report_findings(terminal, settings, findings, now)


def _find_by_kept_settings(
    kept: Settings, error: SettingsError, now: datetime
) -> Findings:
    """Look at the database of the last good look, as publisher.toml cannot be read.

    Its accounts are not known, so no delivery is known to be stuck. Without an address nothing is
    known.
    """
    unreadable = {Fault.SETTINGS_UNREADABLE: locate_error(error)}
    if not kept.database:
        unknown = [*FAULTS_IN_DATABASE, Fault.DATABASE_UNREADABLE]
        return Findings(faults=unreadable, unknown=unknown)
    found = find_faults(kept, build_worker_id(kept), now)
    return Findings(
        faults={**unreadable, **found.faults},
        unknown=[*found.unknown, Fault.DELIVERY_STUCK],
    )


async def _report_findings(
    terminal: Terminal, settings: Settings, findings: Findings, now: datetime
) -> int:
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    known = await asyncio.to_thread(load_last_state, settings)
    rules = settings.alerts
    escalate_after = rules.escalate_after if rules.second else None
    state, reports = plan_reports(
        known, findings, now, rules.repeat_every, escalate_after
    )
    sent = [
        report for report in reports if await send_report(terminal, settings, report)
    ]
    for fault, facts in findings.faults.items():
        echo(describe_fault(fault, facts, formatter))
    for report in filter(lambda report: report.is_over, reports):
        echo(describe_report(report, formatter))
    if not findings.faults:
        terminal.print_message("watchdog_fine")
    try:
        await asyncio.to_thread(keep_state, settings, record_reports(state, sent, now))
    except OSError as error:
        file = state_file(settings)
        _print_unwritable(terminal, "watchdog_state_unwritable", file, error)
        return 1
    return int(bool(findings.faults) or len(sent) < len(reports))


def _print_unwritable(
    terminal: Terminal, code: str, file: Path, error: OSError
) -> None:
    reason = error.strerror or type(error).__name__
    terminal.print_note(code, file=file, error=reason)


async def send_report(terminal: Terminal, settings: Settings, report: Report) -> bool:
    """Send a report to the alert channels; return True if one has accepted it, or there is none.

    It goes to the route of the operators, or else to the first list. The second list gets it as
    well if the fault lasts, or if nobody has accepted it yet. Where the operators have a route,
    the first list is the last resort.
    """
    from publisher.app.alert_channels import AlertChannels  # noqa: PLC0415 # most looks find nothing to send

    rules, channels = settings.alerts, AlertChannels(settings)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    title = write_title(terminal.messages, settings, is_over=report.is_over)
    for_whom = name_audience(terminal.messages, Audience.OPERATORS)
    body = f"{for_whom}\n{describe_report(report, formatter)}"
    tried: set[str] = set()

    async def send(channel: str) -> bool:
        problem = await channels.send(
            channel,
            ids=[report.id],
            title=title,
            body=body,
            is_problem=not report.is_over,
        )
        if problem is not None:
            reason = terminal.messages.describe(problem)
            terminal.print_note("watchdog_not_sent", channel=channel, reason=reason)
        return problem is None or problem.code == CHANNEL_PARTLY_REFUSED

    async def send_to(channels: Iterable[str]) -> bool:
        untried = [name for name in dict.fromkeys(channels) if name not in tried]
        tried.update(untried)
        return any(await asyncio.gather(*map(send, untried)))

    is_accepted = await send_to(rules.channels_for(Audience.OPERATORS))
    if report.is_escalated or not is_accepted:
        is_accepted = await send_to(rules.second) or is_accepted
    if not is_accepted:
        is_accepted = await send_to(rules.first)
    return is_accepted or not rules.channels


def write_title(messages: Messages, settings: Settings, *, is_over: bool) -> str:
    """Return the subject of a report, in the form of the notices: a fault is urgent."""
    kind = "watchdog_over_kind" if is_over else "watchdog_fault_kind"
    head = messages.translate(
        "notice_title",
        urgency=messages.translate(f"urgency_{Urgency.URGENT}"),
        workspace=name_workspace(settings.workspace),
        kind=messages.translate(kind),
    )
    host = messages.translate("watchdog_host", host=socket.gethostname())
    return messages.translate("notice_colon").join([head, host])


def describe_report(report: Report, formatter: Formatter) -> str:
    """Return the text for people: the fault or its end, the remedy, its start and number."""
    translate = formatter.messages.translate
    described = describe_fault(report.fault, report.record.facts, formatter)
    if report.is_over:
        described = translate("watchdog_over", fault=described)
    since = translate(
        "watchdog_since", at=formatter.time(report.record.since), id=report.id
    )
    hint = (
        ""
        if report.is_over
        else formatter.messages.hint(_code(report.fault, report.record.facts))
    )
    return "\n".join(filter(None, [described, hint, since]))


def describe_fault(fault: Fault, facts: Facts, formatter: Formatter) -> str:
    """Return the description of a fault."""
    instants = {name: facts[name] for name in ("since", "due") if name in facts}
    shown = {
        **facts,
        **{
            name: formatter.time(datetime.fromisoformat(at))
            for name, at in instants.items()
        },
    }
    return formatter.messages.translate(_code(fault, facts), **shown)


def _code(fault: Fault, facts: Facts) -> str:
    has_never_run = fault is Fault.DAEMON_SILENT and "since" not in facts
    return "fault_daemon_never" if has_never_run else f"fault_{fault.value}"
