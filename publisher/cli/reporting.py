"""`report`: the inspection report over some days."""

import asyncio
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from publisher.cli.narrating import NOT_TOLD, Narrator
from publisher.cli.shape import Kind, WordedUsageError, command, json_option
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.widths import in_columns
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.account import AccountId
from publisher.domain.characters import visible
from publisher.domain.inspection import FIGURES, Case, Findings, sum_up
from publisher.settings import Settings
from publisher.store.inspections import Inspections

COUNTS = ("planned", "published", "verified", "waiting", "held", "failed", "expired", "cancelled")
AFTERWARDS = ("corrections", "retracted", "retracting", "removed")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
Spoken = tuple[str, str, Findings]
"""A line of the report: the account and its platform, blank where the line stands for all of them; the figures."""


class DayType(Kind):
    """Reads a day."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:  # noqa: ANN401, ARG002
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise WordedUsageError("not_a_day", ctx, value=value) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of whole days, both ends included: by platform, by account, and in all."""

    first: date
    last: date
    platforms: Sequence[Spoken]
    accounts: Sequence[Spoken]
    total: Findings

    @property
    def lines(self) -> Sequence[Spoken]:
        return (*self.accounts, *self.platforms, ("", "", self.total))


@command("report")
@click.option("--from", "first", metavar="DAY", required=True, type=DayType(), help="opt_first_day")
@click.option("--to", "last", metavar="DAY", required=True, type=DayType(), help="opt_last_day")
@click.option("--csv", "file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="opt_csv")
@json_option
def report(terminal: Terminal, first: date, last: date, *, file: Path | None, as_json: bool) -> int:
    if last < first:
        raise WordedUsageError("days_reversed", first=first, last=last)
    settings, cases = asyncio.run(_read(terminal, first, last))
    drawn = _report(first, last, cases)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    if file is not None:
        _write_csv(file, drawn, narrator)
        terminal.note("report_written", file=shown_path(file.absolute()))
    if as_json:
        terminal.show(_as_document(drawn))
    elif cases:
        echo("\n".join(_in_words(drawn, narrator)))
    else:
        terminal.say("report_empty", first=first, last=last)
    return 0


async def _read(terminal: Terminal, first: date, last: date) -> tuple[Settings, Sequence[Case]]:
    settings = await settings_of(terminal)
    if not has_books(settings):
        return settings, ()
    since, until = (datetime.combine(day, time(), settings.timezone) for day in (first, last + timedelta(days=1)))
    async with books_of(settings) as books:
        return settings, await Inspections(books).cases(since, until, _tip_lines(settings))


def _tip_lines(settings: Settings) -> Mapping[AccountId, str]:
    """Give the tip line of each account's region, where it has one."""
    lines = {key: settings.regions.get(account.region or "", {}) for key, account in settings.accounts.items()}
    return {key: region["tip_line"] for key, region in lines.items() if region.get("tip_line")}


def _report(first: date, last: date, cases: Sequence[Case]) -> Report:
    accounts = sorted({(case.delivery.platform, case.delivery.account) for case in cases})
    return Report(
        first=first,
        last=last,
        platforms=[
            ("", platform, sum_up([case for case in cases if case.delivery.platform == platform]))
            for platform in sorted({platform for platform, _account in accounts})
        ],
        accounts=[
            (account, platform, sum_up([case for case in cases if case.delivery.account == account]))
            for platform, account in accounts
        ],
        total=sum_up(cases),
    )


def _as_document(drawn: Report) -> dict[str, Any]:
    return {
        "from": drawn.first.isoformat(),
        "to": drawn.last.isoformat(),
        "total": _figures(drawn.total),
        "platforms": [{"platform": platform, **_figures(found)} for _all, platform, found in drawn.platforms],
        "accounts": [
            {"account": account, "platform": platform, **_figures(found)} for account, platform, found in drawn.accounts
        ],
    }


def _figures(found: Findings) -> dict[str, Any]:
    """Give figures for machines; lateness in seconds."""
    return {
        **{name: getattr(found, name) for name in (*COUNTS, *AFTERWARDS)},
        "median_late": _seconds(found.median_lateness),
        "max_delay": _seconds(found.longest_lateness),
        "reach": {name: getattr(found.reach, name) for name in FIGURES},
        "tip_line_named": found.tip_line_named,
        "tip_line_asked": found.tip_line_asked,
        "pruned": found.pruned,
        "reasons": {state.value: dict(reasons) for state, reasons in found.reasons.items()},
    }


def _seconds(lateness: timedelta | None) -> float | None:
    return None if lateness is None else round(lateness.total_seconds(), 3)


def _in_words(drawn: Report, narrator: Narrator) -> Iterator[str]:
    """Lay the report out as two tables, and the reasons below them."""
    say = narrator.messages.say
    yield say("report_head", first=drawn.first, last=drawn.last)
    yield ""
    yield from in_columns([_heading(narrator, COUNTS), *(_row(line, narrator, _counts) for line in drawn.lines)])
    yield ""
    names = (*AFTERWARDS, "median_late", "max_delay", *FIGURES, "tip_line")
    yield from in_columns([_heading(narrator, names), *(_row(line, narrator, _afterwards) for line in drawn.lines)])
    if drawn.total.pruned:
        yield ""
        yield say("report_pruned", number=drawn.total.pruned)
    for state, reasons in drawn.total.reasons.items():
        yield ""
        yield say("report_reasons", state=narrator.state(state))
        yield from (f"  {number}  {narrator.reason(reason)}" for reason, number in reasons.items())


def _heading(narrator: Narrator, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(narrator.messages.say(f"column_{name}") for name in ("account", "platform", *names))


def _row(line: Spoken, narrator: Narrator, figures: Callable[[Findings], tuple[str, ...]]) -> tuple[str, ...]:
    account, platform, found = line
    whole = narrator.messages.say("report_all")
    return (account or whole, narrator.platform(platform) if platform else whole, *figures(found))


def _counts(found: Findings) -> tuple[str, ...]:
    return tuple(str(getattr(found, name)) for name in COUNTS)


def _afterwards(found: Findings) -> tuple[str, ...]:
    lateness = (_shown(_seconds(found.median_lateness)), _shown(_seconds(found.longest_lateness)))
    reach = tuple(_shown(getattr(found.reach, name)) for name in FIGURES)
    counts = tuple(str(getattr(found, name)) for name in AFTERWARDS)
    return (*counts, *lateness, *reach, f"{found.tip_line_named}/{found.tip_line_asked}")


def _shown(figure: float | None) -> str:
    return NOT_TOLD if figure is None else f"{figure:g}" if isinstance(figure, float) else str(figure)


def _write_csv(file: Path, drawn: Report, narrator: Narrator) -> None:
    """Write one line an account; the mark at the start makes spreadsheets read it as UTF-8."""
    names = (*COUNTS, *AFTERWARDS, "median_late", "max_delay", *FIGURES, "tip_line_named", "tip_line_asked")
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(_heading(narrator, names))
        for account, platform, found in drawn.accounts:
            told = _figures(found)
            figures = {**told, **told["reach"]}
            table.writerow(
                [_cell(account), _cell(platform), *("" if figures[name] is None else figures[name] for name in names)]
            )


def _cell(text: str) -> str:
    """Spell out what nobody would see, and put a mark before what a spreadsheet would take for a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(FORMULA_STARTS) else shown
