"""schedule.toml, written by staff; accepted or rejected as a whole."""

from publisher.schedule.cron import find_next_occurrence, list_cron_times
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    ScheduleContext,
    locate_problems,
    make_schedule_context,
    parse_leniently,
    parse_schedule,
)
from publisher.schedule.model import schedule_schema
from publisher.schedule.warnings import find_capacity_warnings, find_overdue_posts, find_warnings

__all__ = [
    "SCHEDULE_READ_LIMITS",
    "ScheduleContext",
    "find_capacity_warnings",
    "find_next_occurrence",
    "find_overdue_posts",
    "find_warnings",
    "list_cron_times",
    "locate_problems",
    "make_schedule_context",
    "parse_leniently",
    "parse_schedule",
    "schedule_schema",
]
