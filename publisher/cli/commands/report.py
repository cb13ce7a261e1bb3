"""`report`: the delivery report over some days."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from publisher.app.format import NO_VALUE, Formatter
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import LocalizedUsageError, command, json_option
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.domain.account import AccountId, Platform
from publisher.domain.characters import escape_forbidden
from publisher.domain.reports import METRIC_NAMES, ReportRow, ReportTotals, summarize
from publisher.domain.silence import RED_DAYS, SilenceFigures

KEY_COLUMNS = ("account", "platform")
COUNT_COLUMNS = (
    "planned",
    "published",
    "verified",
    "waiting",
    "held",
    "failed",
    "expired",
    "cancelled",
)
FOLLOW_UP_COLUMNS = ("corrections", "retracted", "retracting", "removed")
LATENESS_COLUMNS = ("median_late", "max_delay")
INSPECTION_COLUMNS = (
    "platform",
    "accounts",
    "posts",
    "silent_accounts",
    "silent_now",
    "removed",
)
"""Columns of inspection notices: accounts, their posts, neglected accounts, removed posts."""
SILENCE_COLUMNS = ("longest_silence", "red_days", "days_now")
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n")
ReportLine = tuple[str, str, ReportTotals]
"""A line of the report: account and platform, each blank for all of them, and the totals."""


def calendar_day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise LocalizedUsageError("not_a_day", value=value) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """The totals of whole days, `last` included, by platform, by account, and of all.

    The silence of accounts is included.
    """

    first: date
    last: date
    platforms: Sequence[ReportLine]
    accounts: Sequence[ReportLine]
    total: ReportTotals
    silence: Mapping[AccountId, SilenceFigures]


@command("report")
@click.option(
    "--from",
    "first",
    metavar="DAY",
    required=True,
    type=calendar_day,
    help="opt_first_day",
)
@click.option(
    "--to", "last", metavar="DAY", required=True, type=calendar_day, help="opt_last_day"
)
@click.option(
    "--csv",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="opt_csv",
)
@json_option
async def report(
    terminal: Terminal, first: date, last: date, *, file: Path | None, as_json: bool
) -> None:
    if last < first:
        raise LocalizedUsageError("days_reversed", first=first, last=last)
    settings = await load_workspace_settings(terminal)
    rows: Sequence[ReportRow] = ()
    silence: Mapping[AccountId, SilenceFigures] = {}
    if has_database(settings):
        since, until = (
            datetime.combine(day, time(), settings.timezone)
            for day in (first, last + timedelta(days=1))
        )
        regions = {
            key: settings.regions.get(account.region or "", {})
            for key, account in settings.accounts.items()
        }
        tip_lines = {
            key: region["tip_line"]
            for key, region in regions.items()
            if region.get("tip_line")
        }
        async with open_command_store(settings) as store:
            rows = await store.queries.report_rows(since, until, tip_lines)
            silence = await store.silence.figures(first, last, settings.timezone)
    platforms = {account: settings.accounts[account].platform for account in silence}
    delivery_report = build_report(first, last, rows, silence, platforms)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if file is not None:
        write_csv(file, delivery_report, formatter)
        terminal.print_note("report_written", file=display_path(file.absolute()))  # noqa: ASYNC240 # asks no disk
    if as_json:
        terminal.print_json(
            {
                "from": first.isoformat(),
                "to": last.isoformat(),
                "total": totals_as_json(delivery_report.total),
                "platforms": [
                    {"platform": platform, **totals_as_json(totals)}
                    for _all, platform, totals in delivery_report.platforms
                ],
                "accounts": [
                    {
                        "account": account,
                        "platform": platform,
                        **totals_as_json(totals),
                        "silence": silence_as_json(
                            delivery_report.silence.get(AccountId(account))
                        ),
                    }
                    for account, platform, totals in delivery_report.accounts
                ],
                "inspection": [
                    dict(zip(INSPECTION_COLUMNS, line, strict=True))
                    for line in inspection_lines(delivery_report)
                ],
            }
        )
    elif delivery_report.accounts:
        _print_report(terminal, delivery_report, formatter)
    else:
        terminal.print_message("report_empty", first=first, last=last)


def build_report(
    first: date,
    last: date,
    rows: Sequence[ReportRow],
    silence: Mapping[AccountId, SilenceFigures],
    platforms: Mapping[AccountId, Platform],
) -> DeliveryReport:
    """Build the report.

    An account without publications is in it, too, as inspections ask about it.
    """
    accounts = sorted(
        {(row.delivery.platform, row.delivery.account) for row in rows}
        | {(platform, account) for account, platform in platforms.items()}
    )
    return DeliveryReport(
        first=first,
        last=last,
        platforms=[
            (
                "",
                platform,
                summarize([row for row in rows if row.delivery.platform == platform]),
            )
            for platform in sorted({platform for platform, _account in accounts})
        ],
        accounts=[
            (
                account,
                platform,
                summarize([row for row in rows if row.delivery.account == account]),
            )
            for platform, account in accounts
        ],
        total=summarize(rows),
        silence=silence,
    )


def inspection_lines(
    delivery_report: DeliveryReport,
) -> Sequence[tuple[str | int, ...]]:
    """Return a line for each platform, and one with a blank name for all.

    The lines have the values of INSPECTION_COLUMNS.
    """
    lines: list[tuple[str | int, ...]] = []
    for _all, platform, totals in (
        *delivery_report.platforms,
        ("", "", delivery_report.total),
    ):
        accounts = [
            account
            for account, its_own, _ in delivery_report.accounts
            if platform in {"", its_own}
        ]
        figures = [
            found
            for account in accounts
            if (found := delivery_report.silence.get(AccountId(account)))
        ]
        silent = sum(found.red_days > 0 for found in figures)
        silent_now = sum(found.days_now >= RED_DAYS for found in figures)
        lines.append(
            (
                platform,
                len(accounts),
                totals.published,
                silent,
                silent_now,
                totals.removed,
            )
        )
    return lines


def silence_as_json(figures: SilenceFigures | None) -> dict[str, int] | None:
    """Return the days of an account's silence; None for one without a clock."""
    return (
        None
        if figures is None
        else {
            name: getattr(figures, name) for name in ("longest", "red_days", "days_now")
        }
    )


def totals_as_json(totals: ReportTotals) -> dict[str, Any]:
    """Return the totals for machines, lateness in seconds."""
    return {
        **{
            name: getattr(totals, name) for name in (*COUNT_COLUMNS, *FOLLOW_UP_COLUMNS)
        },
        "median_late": _seconds(totals.median_lateness),
        "max_delay": _seconds(totals.longest_lateness),
        "reach": {name: getattr(totals.reach, name) for name in METRIC_NAMES},
        "tip_line_named": totals.tip_line_named,
        "tip_line_asked": totals.tip_line_asked,
        "pruned": totals.pruned,
        "reasons": {
            state.value: dict(reasons) for state, reasons in totals.reasons.items()
        },
    }


def _seconds(lateness: timedelta | None) -> float | None:
    return None if lateness is None else round(lateness.total_seconds(), 3)


def _print_report(
    terminal: Terminal, delivery_report: DeliveryReport, formatter: Formatter
) -> None:
    """Print two tables with the reasons below."""
    total, every = delivery_report.total, terminal.translate("report_all")
    counts, follow_up = [], []
    for account, platform, totals in (
        *delivery_report.accounts,
        *delivery_report.platforms,
        ("", "", total),
    ):
        names = (
            account or every,
            formatter.messages.platform_name(platform) if platform else every,
        )
        lateness = (_seconds(totals.median_lateness), _seconds(totals.longest_lateness))
        metrics = (getattr(totals.reach, name) for name in METRIC_NAMES)
        counts.append((*names, *(str(getattr(totals, name)) for name in COUNT_COLUMNS)))
        follow_up.append(
            (
                *names,
                *(str(getattr(totals, name)) for name in FOLLOW_UP_COLUMNS),
                *(
                    NO_VALUE if seconds is None else f"{seconds:g}"
                    for seconds in lateness
                ),
                *(NO_VALUE if number is None else str(number) for number in metrics),
                f"{totals.tip_line_named}/{totals.tip_line_asked}",
            )
        )
    terminal.print_message(
        "report_head", first=delivery_report.first, last=delivery_report.last
    )
    echo()
    terminal.print_table((*KEY_COLUMNS, *COUNT_COLUMNS), counts)
    echo()
    terminal.print_table(
        (
            *KEY_COLUMNS,
            *FOLLOW_UP_COLUMNS,
            *LATENESS_COLUMNS,
            *METRIC_NAMES,
            "tip_line",
        ),
        follow_up,
    )
    echo()
    _print_silence(terminal, delivery_report, formatter)
    if total.pruned:
        echo()
        terminal.print_message("report_pruned", number=total.pruned)
    for state, reasons in total.reasons.items():
        echo()
        terminal.print_message("report_reasons", state=formatter.state(state))
        for reason, number in reasons.items():
            echo(f"  {number}  {formatter.reason(reason)}")


def _print_silence(
    terminal: Terminal, delivery_report: DeliveryReport, formatter: Formatter
) -> None:
    """Print the lines of the notices of inspections, and below them the silence of each account."""
    every, names = terminal.translate("report_all"), formatter.messages.platform_name
    lines = [
        (names(Platform(str(platform))) if platform else every, *map(str, figures))
        for platform, *figures in inspection_lines(delivery_report)
    ]
    terminal.print_message("report_inspection")
    terminal.print_table(INSPECTION_COLUMNS, lines)
    echo()
    silences = [
        (
            account,
            names(Platform(platform)),
            *(str(days) for days in (silence_as_json(found) or {}).values()),
        )
        for account, platform, _totals in delivery_report.accounts
        if (found := delivery_report.silence.get(AccountId(account)))
    ]
    if silences:
        terminal.print_table((*KEY_COLUMNS, *SILENCE_COLUMNS), silences)


def write_csv(
    file: Path, delivery_report: DeliveryReport, formatter: Formatter
) -> None:
    """Write one line an account, with a byte order mark, so that spreadsheets recognise UTF-8."""
    names = (
        *COUNT_COLUMNS,
        *FOLLOW_UP_COLUMNS,
        *LATENESS_COLUMNS,
        *METRIC_NAMES,
        "tip_line_named",
        "tip_line_asked",
    )
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        columns = (*KEY_COLUMNS, *names, *SILENCE_COLUMNS)
        table.writerow(
            formatter.messages.translate(f"column_{name}") for name in columns
        )
        for account, platform, totals in delivery_report.accounts:
            values = totals_as_json(totals)
            values |= values["reach"]
            figures = ("" if values[name] is None else values[name] for name in names)
            silence = silence_as_json(delivery_report.silence.get(AccountId(account)))
            days = silence.values() if silence else [""] * len(SILENCE_COLUMNS)
            table.writerow(
                [_escape_cell(account), _escape_cell(platform), *figures, *days]
            )


def _escape_cell(text: str) -> str:
    """Escape invisible characters, and prefix an apostrophe to a formula of a spreadsheet."""
    escaped = escape_forbidden(text)
    return f"'{escaped}" if escaped.startswith(FORMULA_PREFIXES) else escaped
