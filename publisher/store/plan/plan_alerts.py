"""The alerts about a plan: posts left out, open posts with losses, and waits."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from publisher.domain.errors import Problem
from publisher.domain.plan import LateAccounts
from publisher.domain.post import PostId, find_family
from publisher.store.db.alert_tables import ALERT, IS_ACKNOWLEDGED
from publisher.store.db.database import ConcurrentUpdateError, Transaction
from publisher.store.db.rows import (
    AlertContent,
    apply_alert_changes,
    clear_alerts,
    keep_alert,
    lock_planning,
    open_alerts,
)
from publisher.store.plan.versions import NEWEST_VERSION

ACCOUNTS_ADDED_LATE = "accounts_added_late"
"""The alert that accounts were added to a post too late to get it."""
POSTS_LEFT_OUT = "posts_left_out"
"""The alert that the version in force leaves posts as they are filed."""
POSTS_REMOVED = "posts_removed"
"""The alert that a new version, or other settings, have cancelled filed deliveries."""
REMOVALS_WAITING = "removals_waiting"
"""The alert that the settings take so much that a person must confirm it."""
SETTINGS_DIFFER = "settings_differ"
"""The alert that another daemon plans with other settings.

So neither takes anything from the other.
"""
LEFT_OUT_SUBJECT = "schedule:left_out"
REMOVED_SUBJECT = "schedule:removed"
SETTINGS_SUBJECT = "schedule:settings"
MAX_NAMED_POSTS = 20

PlanAlerts = Mapping[str, AlertContent | None]
"""The alert that must be open about each of these subjects; None for none."""


def make_plan_alerts(
    left_out: Sequence[Problem], withheld: Sequence[str], hosts: Sequence[str]
) -> PlanAlerts:
    """Return the alerts about a plan: posts that it leaves out, and posts that lose something.

    The settings would take something from the latter. `hosts` are the daemons with other settings.
    """
    facts = {"number": str(len(withheld)), "posts": name_posts(withheld)}
    settings: AlertContent | None = (REMOVALS_WAITING, facts) if withheld else None
    if hosts:
        settings = (SETTINGS_DIFFER, {"hosts": "、".join(hosts), **facts})
    return {
        LEFT_OUT_SUBJECT: (POSTS_LEFT_OUT, left_out_facts(left_out))
        if left_out
        else None,
        SETTINGS_SUBJECT: settings,
    }


def name_posts(posts: Collection[str]) -> str:
    """Return the ids of posts as text; many are cut short."""
    named = sorted(posts)
    return "、".join(named[:MAX_NAMED_POSTS]) + (
        "…" if len(named) > MAX_NAMED_POSTS else ""
    )


def left_out_facts(left_out: Sequence[Problem]) -> dict[str, str]:
    """Return the facts of the alert about posts that are left out, with each problem as JSON."""
    names = dict.fromkeys(
        problem.facts.get("name", problem.facts["post"]) for problem in left_out
    )
    problems = [{"code": problem.code, **problem.facts} for problem in left_out]
    return {
        "posts": name_posts(names),
        "problems": json.dumps(problems, ensure_ascii=False),
    }


def find_outdated(connection: Connection, alerts: PlanAlerts) -> PlanAlerts:
    """Return the alerts that are not open as they must be."""
    wanted = {
        subject: [content] if content else [] for subject, content in alerts.items()
    }
    return {
        subject: alerts[subject]
        for subject, found in wanted.items()
        if open_alerts(connection, subject) != found
    }


def write_plan_alerts(
    transaction: Transaction, alerts: PlanAlerts, version: int, now: datetime
) -> None:
    """Keep the alerts about the plan of a version as they must be.

    Raises ConcurrentUpdateError if a newer version is in force.
    """
    lock_planning(transaction)
    if version != transaction.connection.scalar(NEWEST_VERSION):
        raise ConcurrentUpdateError(version)
    outdated = find_outdated(transaction.connection, alerts)
    apply_alert_changes(transaction, now, outdated)


def report_removed(
    transaction: Transaction,
    now: datetime,
    taken: Collection[str],
    restored: Collection[PostId],
) -> None:
    """Keep one alert naming the posts with a loss, until it is back or seen by a person.

    Of a family it names the family.
    """
    is_open = (
        ALERT.c.subject == REMOVED_SUBJECT,
        ALERT.c.cleared_at.is_(None),
        ~IS_ACKNOWLEDGED,
    )
    if not taken and not restored:
        return
    facts = transaction.connection.scalar(select(ALERT.c.facts).where(*is_open))
    named = set(json.loads(json.loads(facts)["all"])) if facts else set()
    posts = sorted((named | set(taken)) - set(map(find_family, restored)))
    if posts == sorted(named):
        return
    if not posts:
        clear_alerts(transaction, REMOVED_SUBJECT, now)
        return
    content = {
        "number": str(len(posts)),
        "posts": name_posts(posts),
        "all": json.dumps(posts, ensure_ascii=False),
    }
    keep_alert(transaction, now, POSTS_REMOVED, REMOVED_SUBJECT, content)


def find_unreported(
    connection: Connection, late_accounts: Sequence[LateAccounts]
) -> list[LateAccounts]:
    """Return the posts with late accounts that no alert has named yet.

    An alert that is over counts as well.
    """
    query = select(ALERT.c.subject, ALERT.c.facts).where(
        ALERT.c.code == ACCOUNTS_ADDED_LATE
    )
    named: dict[str, set[str]] = defaultdict(set)
    for subject, facts in connection.execute(query) if late_accounts else ():
        named[subject] |= set(json.loads(facts)["accounts"].split("、"))
    return [
        late for late in late_accounts if not set(late.accounts) <= named[late.post]
    ]


def raise_late_account_alerts(
    transaction: Transaction, now: datetime, late_accounts: Sequence[LateAccounts]
) -> None:
    for late in find_unreported(transaction.connection, late_accounts):
        facts = {"post": late.post, "accounts": "、".join(late.accounts)}
        keep_alert(transaction, now, ACCOUNTS_ADDED_LATE, late.post, facts)
