"""Compare a schedule with the stored posts."""

from zoneinfo import ZoneInfo

from publisher.domain.families import keep_members
from publisher.domain.plan import CRON_LOOKBACK, Plan, PlanWindow, StoredPosts, plan
from publisher.domain.post import OneTimeTrigger, Schedule
from publisher.schedule.cron import list_cron_times


def compare_schedule(
    schedule: Schedule, known: StoredPosts, window: PlanWindow, timezone: ZoneInfo
) -> Plan:
    """Compare a schedule with the stored posts."""
    now, cron_times = window.now, {}
    for post in schedule.posts:
        if not isinstance(post.trigger, OneTimeTrigger):
            stored = known.get(post.id)
            since = max(stored.active_since, now - CRON_LOOKBACK) if stored else now
            until = window.end_for(post) or window.until
            cron_times[post.id] = list_cron_times(post, since, until, timezone)
    return keep_members(plan(schedule, known, window, cron_times), schedule, known)
