"""schedule.toml: what staff write, read as a whole or refused as a whole."""

from publisher.schedule.crowding import crowding_of
from publisher.schedule.desk import Desk, desk_for
from publisher.schedule.loading import SCHEDULE_LIMITS, examine_schedule, parse_schedule, with_places
from publisher.schedule.model import schedule_schema
from publisher.schedule.times import cron_moments, next_occurrence
from publisher.schedule.warning import past_posts, warnings_of

__all__ = [
    "SCHEDULE_LIMITS",
    "Desk",
    "cron_moments",
    "crowding_of",
    "desk_for",
    "examine_schedule",
    "next_occurrence",
    "parse_schedule",
    "past_posts",
    "schedule_schema",
    "warnings_of",
    "with_places",
]
