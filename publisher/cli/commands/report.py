"""`report`: the inspection report over some days."""

import asyncio
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.format import NO_VALUE, Formatter
from publisher.cli.framework import LocalizedParam, LocalizedUsageError, command, json_option
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.cli.text_width import align_columns
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.characters import escape_forbidden
from publisher.domain.reports import METRIC_NAMES, ReportRow, ReportTotals, summarize
from publisher.store.queries.queries import ReportQueries

COUNT_COLUMNS = ("planned", "published", "verified", "waiting", "held", "failed", "expired", "cancelled")
FOLLOW_UP_COLUMNS = ("corrections", "retracted", "retracting", "removed")
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n")
ReportLine = tuple[str, str, ReportTotals]
"""A line of the report: the account and its platform, blank where the line stands for all of them; the figures."""


class DayParam(LocalizedParam):
    """Reads a day."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:  # noqa: ANN401, ARG002
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise LocalizedUsageError("not_a_day", ctx, value=value) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """The figures of whole days, both ends included: by platform, by account, and in all."""

    first: date
    last: date
    platforms: Sequence[ReportLine]
    accounts: Sequence[ReportLine]
    total: ReportTotals

    @property
    def lines(self) -> Sequence[ReportLine]:
        return (*self.accounts, *self.platforms, ("", "", self.total))


@command("report")
@click.option("--from", "first", metavar="DAY", required=True, type=DayParam(), help="opt_first_day")
@click.option("--to", "last", metavar="DAY", required=True, type=DayParam(), help="opt_last_day")
@click.option("--csv", "file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="opt_csv")
@json_option
def report(terminal: Terminal, first: date, last: date, *, file: Path | None, as_json: bool) -> int:
    if last < first:
        raise LocalizedUsageError("days_reversed", first=first, last=last)
    settings, cases = asyncio.run(_read(terminal, first, last))
    delivery_report = _build_report(first, last, cases)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if file is not None:
        _write_csv(file, delivery_report, formatter)
        terminal.print_note("report_written", file=display_path(file.absolute()))
    if as_json:
        terminal.print_json(_as_json(delivery_report))
    elif cases:
        echo("\n".join(_report_lines(delivery_report, formatter)))
    else:
        terminal.print_message("report_empty", first=first, last=last)
    return 0


async def _read(terminal: Terminal, first: date, last: date) -> tuple[Settings, Sequence[ReportRow]]:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        return settings, ()
    since, until = (datetime.combine(day, time(), settings.timezone) for day in (first, last + timedelta(days=1)))
    async with open_command_store(settings) as store:
        return settings, await ReportQueries(store).report_rows(since, until, _region_tip_lines(settings))


def _region_tip_lines(settings: Settings) -> Mapping[AccountId, str]:
    """Give the tip line of each account's region, where it has one."""
    lines = {key: settings.regions.get(account.region or "", {}) for key, account in settings.accounts.items()}
    return {key: region["tip_line"] for key, region in lines.items() if region.get("tip_line")}


def _build_report(first: date, last: date, cases: Sequence[ReportRow]) -> DeliveryReport:
    accounts = sorted({(case.delivery.platform, case.delivery.account) for case in cases})
    return DeliveryReport(
        first=first,
        last=last,
        platforms=[
            ("", platform, summarize([case for case in cases if case.delivery.platform == platform]))
            for platform in sorted({platform for platform, _account in accounts})
        ],
        accounts=[
            (account, platform, summarize([case for case in cases if case.delivery.account == account]))
            for platform, account in accounts
        ],
        total=summarize(cases),
    )


def _as_json(delivery_report: DeliveryReport) -> dict[str, Any]:
    return {
        "from": delivery_report.first.isoformat(),
        "to": delivery_report.last.isoformat(),
        "total": _totals_as_json(delivery_report.total),
        "platforms": [
            {"platform": platform, **_totals_as_json(found)} for _all, platform, found in delivery_report.platforms
        ],
        "accounts": [
            {"account": account, "platform": platform, **_totals_as_json(found)}
            for account, platform, found in delivery_report.accounts
        ],
    }


def _totals_as_json(totals: ReportTotals) -> dict[str, Any]:
    """Give figures for machines; lateness in seconds."""
    return {
        **{name: getattr(totals, name) for name in (*COUNT_COLUMNS, *FOLLOW_UP_COLUMNS)},
        "median_late": _seconds(totals.median_lateness),
        "max_delay": _seconds(totals.longest_lateness),
        "reach": {name: getattr(totals.reach, name) for name in METRIC_NAMES},
        "tip_line_named": totals.tip_line_named,
        "tip_line_asked": totals.tip_line_asked,
        "pruned": totals.pruned,
        "reasons": {state.value: dict(reasons) for state, reasons in totals.reasons.items()},
    }


def _seconds(lateness: timedelta | None) -> float | None:
    return None if lateness is None else round(lateness.total_seconds(), 3)


def _report_lines(delivery_report: DeliveryReport, formatter: Formatter) -> Iterator[str]:
    """Lay the report out as two tables, and the reasons below them."""
    say = formatter.messages.translate
    yield say("report_head", first=delivery_report.first, last=delivery_report.last)
    yield ""
    yield from align_columns(
        [
            _table_heading(formatter, COUNT_COLUMNS),
            *(_table_row(line, formatter, _format_counts) for line in delivery_report.lines),
        ]
    )
    yield ""
    names = (*FOLLOW_UP_COLUMNS, "median_late", "max_delay", *METRIC_NAMES, "tip_line")
    yield from align_columns(
        [
            _table_heading(formatter, names),
            *(_table_row(line, formatter, _format_follow_up) for line in delivery_report.lines),
        ]
    )
    if delivery_report.total.pruned:
        yield ""
        yield say("report_pruned", number=delivery_report.total.pruned)
    for state, reasons in delivery_report.total.reasons.items():
        yield ""
        yield say("report_reasons", state=formatter.state(state))
        yield from (f"  {number}  {formatter.reason(reason)}" for reason, number in reasons.items())


def _table_heading(formatter: Formatter, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(formatter.messages.translate(f"column_{name}") for name in ("account", "platform", *names))


def _table_row(
    line: ReportLine, formatter: Formatter, figures: Callable[[ReportTotals], tuple[str, ...]]
) -> tuple[str, ...]:
    account, platform, totals = line
    whole = formatter.messages.translate("report_all")
    return (account or whole, formatter.platform(platform) if platform else whole, *figures(totals))


def _format_counts(totals: ReportTotals) -> tuple[str, ...]:
    return tuple(str(getattr(totals, name)) for name in COUNT_COLUMNS)


def _format_follow_up(totals: ReportTotals) -> tuple[str, ...]:
    lateness = (_format_figure(_seconds(totals.median_lateness)), _format_figure(_seconds(totals.longest_lateness)))
    reach = tuple(_format_figure(getattr(totals.reach, name)) for name in METRIC_NAMES)
    counts = tuple(str(getattr(totals, name)) for name in FOLLOW_UP_COLUMNS)
    return (*counts, *lateness, *reach, f"{totals.tip_line_named}/{totals.tip_line_asked}")


def _format_figure(figure: float | None) -> str:
    return NO_VALUE if figure is None else f"{figure:g}" if isinstance(figure, float) else str(figure)


def _write_csv(file: Path, delivery_report: DeliveryReport, formatter: Formatter) -> None:
    """Write one line an account; the mark at the start makes spreadsheets read it as UTF-8."""
    names = (
        *COUNT_COLUMNS,
        *FOLLOW_UP_COLUMNS,
        "median_late",
        "max_delay",
        *METRIC_NAMES,
        "tip_line_named",
        "tip_line_asked",
    )
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(_table_heading(formatter, names))
        for account, platform, found in delivery_report.accounts:
            told = _totals_as_json(found)
            figures = {**told, **told["reach"]}
            table.writerow(
                [
                    _escape_cell(account),
                    _escape_cell(platform),
                    *("" if figures[name] is None else figures[name] for name in names),
                ]
            )


def _escape_cell(text: str) -> str:
    """Spell out what nobody would see, and put a mark before what a spreadsheet would take for a formula."""
    shown = escape_forbidden(text)
    return f"'{shown}" if shown.startswith(FORMULA_PREFIXES) else shown
