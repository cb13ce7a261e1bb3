"""The choice of a post from the drawer for an account, and the limits of a schedule.

A schedule leaves some deliveries alone.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.evergreen import EvergreenPost, EvergreenUse, choose_evergreen
from publisher.domain.plan import PlanWindow, StoredOccurrence, StoredPost, plan
from publisher.domain.post import (
    CronTrigger,
    EvergreenTrigger,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
    name_ordered_occurrence,
)
from publisher.testing.builders import make_post
from publisher.testing.fakes import START_TIME

A, B = AccountId("a"), AccountId("b")
DAY = timedelta(days=1)


def evergreen(name, *uses, accounts=("a", "b"), expires_at=None):
    """Return a post of the drawer, used so many days ago on an account, with its outcome."""
    post = replace(
        make_post(name, accounts, START_TIME, expires_at=expires_at),
        trigger=EvergreenTrigger(),
    )
    deliveries = [
        EvergreenUse(account=on, due_at=START_TIME - days * DAY, state=state)
        for on, days, state in uses
    ]
    return EvergreenPost(post=post, deliveries=deliveries)


@pytest.mark.parametrize(
    ("drawer", "chosen"),
    [
        pytest.param([evergreen("x"), evergreen("y")], "x", id="first"),
        pytest.param(
            [evergreen("x", (A, 9, State.PUBLISHED)), evergreen("y")], "y", id="not had"
        ),
        pytest.param(
            [evergreen("x", (B, 3, State.PUBLISHED)), evergreen("y")],
            "y",
            id="never used",
        ),
        pytest.param(
            [
                evergreen("x", (B, 3, State.PUBLISHED)),
                evergreen("y", (B, 9, State.REMOVED)),
            ],
            "y",
            id="least recently",
        ),
        pytest.param([evergreen("x", (A, 3, State.FAILED))], "x", id="failed there"),
        pytest.param([evergreen("x", (A, 3, State.REMOVED))], None, id="removed there"),
        pytest.param([evergreen("x", accounts=("b",))], None, id="for others"),
        pytest.param([evergreen("x", expires_at=START_TIME)], None, id="expired"),
        pytest.param([], None, id="empty"),
    ],
)
def test_an_account_gets_what_it_has_not_had_and_what_was_used_least_recently(
    drawer, chosen
):
    """An account gets a post that it has not had, else the least recently used one.

    A failed use there counts as not had, a removed one as had.
    """
    found = choose_evergreen(drawer, A, START_TIME)
    assert (found and found.id) == chosen


def test_the_schedule_files_nothing_of_the_drawer_and_cancels_nothing_that_people_have_scheduled():
    """An occurrence of tomorrow stays at the next read of the schedule.

    It is not given to other accounts.
    """
    post = evergreen("x").post
    tomorrow = StoredOccurrence(
        due_at=START_TIME + DAY,
        content_hash="an earlier text",
        accounts=frozenset([A]),
        has_started=False,
        open_accounts=frozenset([A]),
    )
    window = PlanWindow(now=START_TIME, until=START_TIME + 2 * DAY)
    occurrences = {name_ordered_occurrence(START_TIME): tomorrow}
    stored = StoredPost(
        content_hash=post.content_hash, active_since=START_TIME, occurrences=occurrences
    )
    schedule = Schedule(posts=(post,))
    assert plan(schedule, {}, window, {}).planned == ()
    changes = plan(schedule, {PostId("x"): stored}, window, {})
    assert (changes.planned, changes.removed_targets, changes.left_out) == ((), (), ())


@pytest.mark.parametrize(
    "trigger",
    [
        EvergreenTrigger(),
        OneTimeTrigger(at=None),
        OneTimeTrigger(at=START_TIME),
        CronTrigger(text="0 9 * * *"),
    ],
)
def test_each_trigger_is_stored_as_what_it_is(trigger):
    """No trigger is read back as another, for any values of its fields."""
    adapter = TypeAdapter(Post)
    post = replace(make_post("p", ["a"], START_TIME), trigger=trigger)
    assert adapter.validate_json(adapter.dump_json(post)).trigger == trigger
