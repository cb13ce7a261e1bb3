"""Due times of repeating posts: cron expressions in the workspace's zone.

They may be limited to working days only.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import import_module
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from publisher.domain.post import (
    ONCE_OCCURRENCE,
    CronTrigger,
    EvergreenTrigger,
    Occurrence,
    OneTimeTrigger,
    Post,
    make_occurrence,
    name_ordered_occurrence,
)
from publisher.tomlfile.validate import KeyPath, UnlocatedProblem

_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_VALIDATION_START = datetime(2026, 1, 1, tzinfo=UTC)
MAX_TIMES_PER_DAY = 24
"""More is a slip, such as `* 9 * * *` for once a day at nine: sixty posts in an hour."""
MAX_OCCURRENCE_LOOKAHEAD = timedelta(days=400)
"""How far ahead the next occurrence of a repeating post is searched."""
LEAP_DAY_LOOKAHEAD = timedelta(days=8 * 366)
"""How far ahead the first times of a repeating post are searched.

Two leap days may be eight years apart.
"""


def check_cron(text: str, path: KeyPath) -> UnlocatedProblem | None:
    """Return the problem of a cron expression, with its invalid field.

    Sunday is 0 or 7; names like mon are allowed.
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return UnlocatedProblem(
            path=path, code="cron_fields", facts={"number": str(len(parts))}
        )
    try:
        next(CronSim(text, _VALIDATION_START), None)
    except CronSimError as error:
        position = next(
            (index for index, name in enumerate(_FIELDS) if str(error).endswith(name)),
            0,
        )
        facts = {
            "position": str(position + 1),
            "part": parts[position],
            "month": parts[3],
        }
        if position == _FIELDS.index("day-of-month") and is_cron(
            [*parts[:3], "*", *parts[4:]]
        ):
            return UnlocatedProblem(path=path, code="cron_no_such_day", facts=facts)
        return UnlocatedProblem(path=path, code="bad_cron", facts=facts)
    return None


def check_frequency(
    text: str, since: datetime | None, until: datetime | None, path: KeyPath
) -> UnlocatedProblem | None:
    """Return the problem of a valid cron expression that comes too often in a day.

    It may come so often if few times lie between `since` and `until`.
    """
    cron = CronSim(text, (since or _VALIDATION_START) - timedelta(microseconds=1))
    number = len(cron.minutes) * len(cron.hours)
    if number <= MAX_TIMES_PER_DAY:
        return None
    if since is not None and until is not None:
        times = islice(
            takewhile(lambda moment: moment <= until, cron), MAX_TIMES_PER_DAY + 1
        )
        if sum(1 for _ in times) <= MAX_TIMES_PER_DAY:
            return None
    facts = {"number": str(number), "most": str(MAX_TIMES_PER_DAY)}
    return UnlocatedProblem(path=path, code="cron_too_often", facts=facts)


def is_cron(parts: Sequence[str]) -> bool:
    """True if these are the fields of a cron expression that comes at some time."""
    try:
        CronSim(" ".join(parts), _VALIDATION_START)
    except CronSimError:
        return False
    return True


def list_cron_times(
    post: Post, start: datetime, end: datetime, tz: ZoneInfo
) -> list[datetime]:
    """Return the due times of a repeating post from `start` to `end`, in UTC, oldest first.

    Both ends are included.
    """
    return (
        list(_iterate_cron_times(post.trigger, start, end, tz))
        if isinstance(post.trigger, CronTrigger)
        else []
    )


def count_times(post: Post, start: datetime, end: datetime, tz: ZoneInfo) -> int:
    """Return how often a post comes.

    A repeating post is counted for as long as from `start` to `end`, from its first time on. Any
    other is counted at any time ahead.
    """
    match post.trigger:
        case OneTimeTrigger(at=at):
            return int(at is None or at >= start)
        case EvergreenTrigger():
            return 0
    begins = max(start, post.trigger.since or start)
    ahead = _iterate_cron_times(post.trigger, begins, begins + LEAP_DAY_LOOKAHEAD, tz)
    first = next(ahead, begins)
    return len(list_cron_times(post, first, first + (end - start), tz))


def list_next_times(
    post: Post, now: datetime, tz: ZoneInfo, number: int = 3
) -> list[datetime]:
    """Return the next due times of a repeating post before it ends or expires.

    There are at most `number`, in UTC.
    """
    if not isinstance(post.trigger, CronTrigger):
        return []
    end = min(now + LEAP_DAY_LOOKAHEAD, post.expires_at or now + LEAP_DAY_LOOKAHEAD)
    return list(islice(_iterate_cron_times(post.trigger, now, end, tz), number))


def find_next_occurrence(post: Post, now: datetime, tz: ZoneInfo) -> Occurrence:
    """Return the occurrence for a preview: the only one, or the next of a repeating post.

    Return now if none is near.
    """
    if isinstance(post.trigger, OneTimeTrigger):
        return make_occurrence(post, ONCE_OCCURRENCE, post.trigger.at or now)
    if isinstance(post.trigger, EvergreenTrigger):
        return make_occurrence(post, name_ordered_occurrence(now), now)
    start = max(now, post.trigger.since or now)
    moment = next(
        _iterate_cron_times(post.trigger, start, start + MAX_OCCURRENCE_LOOKAHEAD, tz),
        now,
    )
    return make_occurrence(post, moment.isoformat(), moment)


def find_years_without_holidays(
    post: Post, start: datetime, end: datetime, tz: ZoneInfo
) -> list[int]:
    """Return the years without known holidays for a post that needs working days.

    The holidays are not announced or not installed.
    """
    if not isinstance(post.trigger, CronTrigger) or post.trigger.days != "working":
        return []
    first, last = (
        max(start, post.trigger.since or start),
        min(end, post.trigger.until or end),
    )
    years = range(first.astimezone(tz).year, last.astimezone(tz).year + 1)
    return [year for year in years if _working_calendar(year) is None]


def is_working_day(day: date) -> bool:
    """True if offices in China work: no holiday, or a make-up weekend day.

    If the holidays are not announced, the plain weekdays count.
    """
    calendar = _working_calendar(day.year)
    if calendar is None:
        return day.weekday() < 5
    holidays, make_up_days = calendar
    return day in make_up_days or (day.weekday() < 5 and day not in holidays)


class DayMark(StrEnum):
    """The difference of a day from its weekday's rule."""

    HOLIDAY = "holiday"
    MAKE_UP = "make_up"


def mark_day(day: date) -> DayMark | None:
    """Return whether a day is a public holiday or a working weekend day.

    Offices work on a working weekend day. Return None for a plain day.
    """
    calendar = _working_calendar(day.year)
    if calendar is None:
        return None
    holidays, make_up_days = calendar
    if day in make_up_days:
        return DayMark.MAKE_UP
    return DayMark.HOLIDAY if day in holidays else None


def _iterate_cron_times(
    cron: CronTrigger, start: datetime, end: datetime, tz: ZoneInfo
) -> Iterator[datetime]:
    first = max(start, cron.since) if cron.since else start
    last = min(end, cron.until) if cron.until else end
    for moment in CronSim(
        cron.text, (first - timedelta(microseconds=1)).astimezone(tz)
    ):
        if moment > last:
            return
        if cron.days == "all" or is_working_day(moment.date()):
            yield moment.astimezone(UTC)


@cache
def _working_calendar(year: int) -> tuple[frozenset[date], frozenset[date]] | None:
    """Return the holidays and make-up days of a year, or None if the data lacks them.

    The yearly arrangement always moves some days. A year without make-up days is therefore not
    announced yet.
    """
    # slow import: half a second
    calendar = import_module("holidays").country_holidays("CN", years=year)
    make_up_days = frozenset(
        day for day in calendar.weekend_workdays if day.year == year
    )
    if not make_up_days:
        return None
    return frozenset(calendar) | _find_weekends(calendar, make_up_days), make_up_days


def _find_weekends(
    holidays: Collection[date], make_up_days: Collection[date]
) -> frozenset[date]:
    """Return the weekends next to holidays: an announced break counts them, the data does not."""
    found = set()
    for holiday in holidays:
        for step in (timedelta(days=1), timedelta(days=-1)):
            day = holiday + step
            while day.weekday() >= 5 and day not in make_up_days:
                found.add(day)
                day += step
    return frozenset(found)


def has_holidays(year: int) -> bool:
    """Return whether the holidays of a year are announced, as far as the data knows."""
    return _working_calendar(year) is not None
