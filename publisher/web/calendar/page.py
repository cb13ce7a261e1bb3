"""The calendar: a month's posts, clashes, accounts that will fall silent, and a day's quota."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.glyph import Glyph
from publisher.domain.post import ONCE_OCCURRENCE, OneTimeTrigger, Post
from publisher.domain.user import Permission
from publisher.schedule.cron import (
    DayMark,
    has_holidays,
    list_cron_times,
    mark_day,
)
from publisher.store.approvals.guard import name_occurrence
from publisher.store.queries.occurrences import Clash, OccurrenceSummary
from publisher.web.kit.frame import Moment, read_frame_facts, read_moment
from publisher.web.kit.page import render_page
from publisher.web.kit.recipients import list_recipients
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import get_site, get_visitor
from publisher.web.kit.todo import TodoItem, list_missing

WEEK_DAYS = 7
LIST_DAYS = 31
MAX_ENTRIES = 4
"""More posts on one day are counted, and listed on the page of that day."""
DAY_HOURS = range(8, 18)
"""Hours that a week always shows.

Of the others it shows the hours with a post. The gaps between them take one line.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarEntry:
    """An occurrence on its day, filed or not yet.

    `can_be_moved`: it is due once, and nothing of it was sent.
    """

    at: datetime
    title: str
    kind: str
    level: str | None
    path: str
    total: int
    glyph: Glyph
    done: int = 0
    missing: TodoItem | None = None
    """The approvals that it lacks."""
    can_be_moved: bool = False

    @property
    def is_over(self) -> bool:
        return self.glyph in {Glyph.PUBLISHED, Glyph.ENDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """A day with its posts, earliest first, and the notes about it."""

    day: date
    is_in_month: bool
    is_today: bool
    mark: DayMark | None
    entries: Sequence[CalendarEntry]
    clash: Clash | None = None
    silent: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """The entries of an hour, for each day of a week.

    A row without any day is the gap of several empty hours.
    """

    start: int
    end: int
    days: Sequence[tuple[date, Sequence[CalendarEntry]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentAccount:
    """An account that reaches the limit of inspections on a day if nothing is published before."""

    account: AccountId
    name: str
    on: date
    is_paused: bool


def read_reach(request: Request) -> Collection[AccountId] | None:
    """Return the accounts of the calendar: the chosen ones among the visitor's accounts."""
    site = get_site(request)
    reach = get_visitor(request).reach(Permission.VIEW)
    chosen = read_chosen(request)
    if not chosen:
        return reach
    members = site.members.get(chosen, frozenset({AccountId(chosen)}))
    return members if reach is None else reach.intersection(members)


def read_logins(request: Request) -> Collection[LoginId] | None:
    """Return the logins of the chosen accounts that the visitor may see; None if none were chosen.

    Other visible accounts of such a login count too: its accounts share one queue and one quota.
    """
    accounts = get_site(request).settings.accounts
    return (
        {accounts[key].login for key in read_reach(request) or ()}
        if read_chosen(request)
        else None
    )


def read_chosen(request: Request) -> str:
    """Return the chosen accounts: a platform, a group, a region or one account; empty for all."""
    site, chosen = get_site(request), request.query_params.get("to", "")
    return chosen if chosen in site.members or chosen in site.settings.accounts else ""


def list_choices(request: Request) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """Return the visitor's names of accounts to choose from, by kind, each with its label."""
    site, visitor = get_site(request), get_visitor(request)
    reach, names = (
        visitor.reach(Permission.VIEW),
        name_accounts(site.settings, visitor.messages),
    )
    accounts = [key for key in site.settings.accounts if reach is None or key in reach]
    return [
        (sort, [(key, names.name(key)) for key in sorted(accounts, key=names.order)])
        if sort == "account"
        else (
            sort,
            [
                (key, label)
                for key, label, _number in found
                if not set(accounts).isdisjoint(site.members[key])
            ],
        )
        for sort, found in list_recipients(site, visitor)
    ]


async def render_calendar(
    request: Request,
    template: str,
    start: date,
    end: date,
    **values: Any,  # noqa: ANN401 # whatever the template shows
) -> Response:
    """Return a view of the calendar of some days, with the common values of all views."""
    zone, chosen = get_site(request).settings.timezone, read_chosen(request)
    today = get_site(request).runtime.now().astimezone(zone).date()
    years = range(max(start, today).year, end.year + 1)
    return await render_page(
        request,
        template,
        chosen=chosen,
        unknown_years=[year for year in years if not has_holidays(year)],
        only=urlencode({"to": chosen}) if chosen else "",
        choices=list_choices(request),
        max_entries=MAX_ENTRIES,
        local=lambda instant: instant.astimezone(zone),
        **values,
    )


async def read_entries(
    request: Request, moment: Moment, start: datetime, end: datetime
) -> tuple[Sequence[CalendarEntry], Mapping[AccountId, datetime]]:
    """Return the entries of a time span, and the time of each account's next unfiled post."""
    site, visitor = get_site(request), get_visitor(request)
    now, reach, may_write = (
        site.runtime.now(),
        read_reach(request),
        visitor.may(Permission.WRITE),
    )
    filed = await site.store.occurrences.between(start, end, reach)
    posts = await site.store.occurrences.planned_posts(start, end)
    zone, missing = site.settings.timezone, list_missing(moment.todo)

    def expand() -> tuple[Sequence[CalendarEntry], Mapping[AccountId, datetime]]:
        known = {(item.key.post, item.key.occurrence) for item in filed}
        entries = [
            make_entry(
                item,
                missing.get(name_occurrence(item.key)),
                can_be_moved=may_write and is_movable(item, now),
            )
            for item in filed
        ]
        upcoming: dict[AccountId, datetime] = {}
        for post in posts:
            accounts = [key for key in post.accounts if reach is None or key in reach]
            times = (
                list_unfiled(post, max(start, now), end, zone, known)
                if accounts
                else []
            )
            can_be_moved = may_write and isinstance(post.trigger, OneTimeTrigger)
            entries += [
                make_planned_entry(post, at, len(accounts), can_be_moved=can_be_moved)
                for at in times
            ]
            for account in accounts if times else ():
                upcoming[account] = min(upcoming.get(account, times[0]), times[0])
        return sorted(entries, key=lambda entry: entry.at), upcoming

    return await asyncio.to_thread(expand)


def list_unfiled(
    post: Post,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    known: Collection[tuple[str, str]],
) -> list[datetime]:
    """Return the instants of a post in a time span that have nothing filed yet."""
    if isinstance(post.trigger, OneTimeTrigger):
        at = post.trigger.at
        is_due = (
            at is not None
            and start <= at < end
            and (post.id, ONCE_OCCURRENCE) not in known
        )
        return [at] if at is not None and is_due else []
    times = list_cron_times(post, start, end - timedelta(seconds=1), zone)
    return [at for at in times if (post.id, at.isoformat()) not in known]


def is_movable(item: OccurrenceSummary, now: datetime) -> bool:
    """Return True if a post is due once, later, and nothing of it was sent or stopped."""
    return (
        not item.is_repeating
        and item.due_at > now
        and set(item.by_glyph) <= {Glyph.WAITING, Glyph.ACTION}
    )


def make_entry(
    item: OccurrenceSummary, missing: TodoItem | None, *, can_be_moved: bool
) -> CalendarEntry:
    return CalendarEntry(
        at=item.due_at,
        title=item.title,
        kind=item.kind,
        level=item.level,
        path=f"/posts/{item.key.post}"
        + (f"/{item.key.occurrence}" if item.is_repeating else ""),
        total=item.total,
        glyph=item.glyph,
        done=item.by_glyph.get(Glyph.PUBLISHED, 0),
        missing=missing,
        can_be_moved=can_be_moved,
    )


def make_planned_entry(
    post: Post, at: datetime, total: int, *, can_be_moved: bool
) -> CalendarEntry:
    return CalendarEntry(
        at=at,
        title=post.title,
        kind=post.kind.value,
        level=post.level.value if post.level else None,
        path=f"/posts/{post.id}",
        total=total,
        glyph=Glyph.WAITING,
        can_be_moved=can_be_moved,
    )


async def find_silent(
    request: Request, start: date, end: date, upcoming: Mapping[AccountId, datetime]
) -> Sequence[SilentAccount]:
    """Return the accounts that reach the limit of inspections in a time span, without a post."""
    site, visitor = get_site(request), get_visitor(request)
    zone, names = site.settings.timezone, name_accounts(site.settings, visitor.messages)
    counts, reach = await site.store.occurrences.open_counts(), read_reach(request)
    facts = await read_frame_facts(site, visitor.audit_number)
    paused = {pause.scope for pause in facts.pauses}
    found = []
    for account, clock in (await site.store.silence.clocks(zone)).items():
        if not start <= clock.red_on <= end or (
            reach is not None and account not in reach
        ):
            continue
        filed = counts[account].next_due_at if account in counts else None
        following = min(
            (at for at in (filed, upcoming.get(account)) if at is not None),
            default=None,
        )
        is_paused = f"account:{account}" in paused
        if (
            is_paused
            or following is None
            or following.astimezone(zone).date() > clock.red_on
        ):
            found.append(
                SilentAccount(
                    account=account,
                    name=names.name(account),
                    on=clock.red_on,
                    is_paused=is_paused,
                )
            )
    return sorted(found, key=lambda item: (item.on, names.order(item.account)))


async def read_days(
    request: Request, moment: Moment, first: date, last: date, month: date
) -> tuple[Sequence[CalendarDay], Sequence[SilentAccount]]:
    """Return the days from `first` to the one before `last`, and the accounts falling silent."""
    site, reach = get_site(request), get_visitor(request).reach(Permission.VIEW)
    zone = site.settings.timezone
    today = site.runtime.now().astimezone(zone).date()
    start, end = midnight(first, zone), midnight(last, zone)
    entries, upcoming = await read_entries(request, moment, start, end)
    silent = await find_silent(request, max(first, today), last, upcoming)
    clashes = await site.store.occurrences.clashes(
        start, end, reach, read_logins(request)
    )
    await asyncio.to_thread(mark_day, month)  # the holidays are slow to load
    by_day = await asyncio.to_thread(group_by_day, entries, zone)
    days = [first + timedelta(days=number) for number in range((last - first).days)]
    return [
        make_day(day, month, today, by_day.get(day, ()), zone, clashes, silent)
        for day in days
    ], silent


def group_by_day(
    entries: Sequence[CalendarEntry], zone: ZoneInfo
) -> Mapping[date, Sequence[CalendarEntry]]:
    """Return the entries of each day, in their order. There may be thousands."""
    by_day: dict[date, list[CalendarEntry]] = defaultdict(list)
    for entry in entries:
        by_day[entry.at.astimezone(zone).date()].append(entry)
    return by_day


async def show_calendar(request: Request) -> Response:
    """Show a month, Monday first; on a narrow screen its days below each other."""
    site, query = get_site(request), request.query_params
    zone = site.settings.timezone
    today = site.runtime.now().astimezone(zone).date()
    month = parse_month(query.get("month", "")) or today.replace(day=1)
    following = (month + timedelta(days=31)).replace(day=1)
    first = month - timedelta(days=month.weekday())
    moment = await read_moment(get_visitor(request))
    days, silent = await read_days(
        request,
        moment,
        first,
        following + timedelta(days=-following.weekday() % WEEK_DAYS),
        month,
    )
    day = parse_day(query.get("day", "")) or (
        today if month <= today < following else month
    )
    return await render_calendar(
        request,
        "calendar/calendar",
        days[0].day,
        days[-1].day,
        moment=moment,
        month=month,
        weeks=[
            days[number : number + WEEK_DAYS]
            for number in range(0, len(days), WEEK_DAYS)
        ],
        before=(month - timedelta(days=1)).strftime("%Y-%m"),
        after=following.strftime("%Y-%m"),
        today=today,
        silent=silent,
        day=day,
        quotas=await read_quotas(request, day),
    )


def make_day(  # noqa: PLR0913, PLR0917 # all that a day shows
    day: date,
    month: date,
    today: date,
    entries: Sequence[CalendarEntry],
    zone: ZoneInfo,
    clashes: Sequence[Clash],
    silent: Sequence[SilentAccount],
) -> CalendarDay:
    return CalendarDay(
        day=day,
        is_in_month=(day.year, day.month) == (month.year, month.month),
        is_today=day == today,
        mark=mark_day(day),
        entries=entries,
        clash=next(
            (clash for clash in clashes if clash.due_at.astimezone(zone).date() == day),
            None,
        ),
        silent=[item.name for item in silent if item.on == day],
    )


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the beginning of a day, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def parse_month(text: str) -> date | None:
    """Return the first day of a month such as `2027-01`.

    None for anything else, or if it is too far away to add to.
    """
    return parse_day(f"{text}-01")


def parse_day(text: str) -> date | None:
    """Return the day of a query such as `2027-01-11`.

    None for anything else, or if it is too far away to add to.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None


async def read_quotas(
    request: Request, day: date
) -> Sequence[tuple[Platform, int, int]]:
    """Return the used and the allowed posts of each platform's fullest login on a day.

    The tightest platform comes first.
    """
    site, reach = get_site(request), get_visitor(request).reach(Permission.VIEW)
    start = midnight(day, site.settings.timezone)
    busiest = await site.store.occurrences.busiest_logins(
        start, start + timedelta(days=1), reach, read_logins(request)
    )
    limits = {
        policy.account.login: policy.rate_limit.per_day
        for policy in site.store.policies.values()
    }
    quotas = [
        (platform, number, limits[login])
        for platform, (login, number) in busiest.items()
        if login in limits
    ]
    return sorted(quotas, key=lambda quota: (-quota[1] / quota[2], quota[0]))


async def show_week(request: Request) -> Response:
    """Show the hours of a week, Monday first."""
    zone = get_site(request).settings.timezone
    today = get_site(request).runtime.now().astimezone(zone).date()
    chosen = parse_day(request.query_params.get("from", "")) or today
    first = chosen - timedelta(days=chosen.weekday())
    last = first + timedelta(days=WEEK_DAYS)
    moment = await read_moment(get_visitor(request))
    days, _silent = await read_days(request, moment, first, last, first)
    return await render_calendar(
        request,
        "calendar/calendar_week",
        first,
        last,
        moment=moment,
        days=days,
        rows=make_rows(days, zone),
        first=first,
        before=first - timedelta(days=WEEK_DAYS),
        after=last,
    )


def make_rows(days: Sequence[CalendarDay], zone: ZoneInfo) -> Sequence[HourRow]:
    """Return the hours of a week. Consecutive empty hours outside of DAY_HOURS make up one gap."""
    cells: dict[tuple[date, int], list[CalendarEntry]] = defaultdict(list)
    for day in days:
        for entry in day.entries:
            cells[day.day, entry.at.astimezone(zone).hour].append(entry)
    used = {hour for _day, hour in cells} | set(DAY_HOURS)
    rows: list[HourRow] = []
    for is_shown, group in groupby(range(24), used.__contains__):
        hours = list(group)
        if is_shown:
            filled = [
                [(day.day, cells[day.day, hour]) for day in days] for hour in hours
            ]
            rows += [
                HourRow(start=hour, end=hour + 1, days=row)
                for hour, row in zip(hours, filled, strict=True)
            ]
        else:
            rows.append(HourRow(start=hours[0], end=hours[-1] + 1, days=()))
    return rows


async def show_list(request: Request) -> Response:
    """Show a list of the days from one on, without the days that have no post."""
    zone = get_site(request).settings.timezone
    today = get_site(request).runtime.now().astimezone(zone).date()
    first = parse_day(request.query_params.get("from", "")) or today
    last = first + timedelta(days=LIST_DAYS)
    moment = await read_moment(get_visitor(request))
    days, _silent = await read_days(request, moment, first, last, first)
    return await render_calendar(
        request,
        "calendar/calendar_list",
        first,
        last,
        moment=moment,
        days=[day for day in days if day.entries or day.silent],
        first=first,
        before=first - timedelta(days=LIST_DAYS),
        after=last,
    )
