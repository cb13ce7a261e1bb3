"""F100, F102: posts that the settings remove are named and need a confirmation.

They come back with the settings.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import State, WorkerId
from publisher.domain.errors import RefusedError
from publisher.engine.planner import (
    active_schedule,
    apply_schedule,
    confirm_settings,
    plan_window,
)
from publisher.store.db.tables import WORKER, WORKER_STATE
from publisher.testing.fakes import START_TIME
from tests.engine.test_planner import deliveries, entry, planner  # noqa: F401 # a fixture

AT = "2026-11-25T12:00:00"
TO_GROUP = '["north"]'


def with_group(planner, *accounts):  # noqa: F811 # the fixture's value
    """Return the planner of a daemon with these accounts in its group `north`."""
    context = replace(
        planner.schedule_context, groups={"north": tuple(map(AccountId, accounts))}
    )
    return replace(planner, schedule_context=context)


def posts(number, *, to=TO_GROUP):
    return "".join(entry(f"p{index:02}", at=AT, to=to) for index in range(number))


async def plan(planner):  # noqa: F811 # as above
    schedule = await active_schedule(planner, "schedule.toml")
    await plan_window(planner, schedule, await planner.store.posts.schedule_version())


async def open_accounts(planner):  # noqa: F811 # as above
    return sorted(
        {
            item.account
            for item in await deliveries(planner)
            if item.state is State.PENDING
        }
    )


async def alert_codes(planner):  # noqa: F811 # as above
    return [
        alert.code
        for alert in await planner.store.queries.alerts()
        if alert.subject.startswith("schedule:")
    ]


async def test_f100_a_group_that_loses_an_account_is_named_and_put_right(planner):  # noqa: F811
    """A few posts lose an account by a slip in the settings: one alert names them.

    The account comes back at once.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    await apply_schedule(both, posts(2), "schedule.toml")
    before = await deliveries(planner)
    await plan(one)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a"],
        ["posts_removed"],
    )
    [alert] = [
        alert
        for alert in await planner.store.queries.alerts()
        if alert.code == "posts_removed"
    ]
    assert alert.facts["posts"] == "p00、p01"
    await plan(both)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        [],
    )
    after = await deliveries(planner)
    assert [replace(item, version=0) for item in after] == [
        replace(item, version=0) for item in before
    ]


async def test_f100_much_that_settings_take_waits_for_a_person(planner):  # noqa: F811
    """If more than a few posts lose an account, a person must confirm it first.

    New posts are filed.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    await apply_schedule(both, posts(4), "schedule.toml")
    await plan(one)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        ["removals_waiting"],
    )
    applied = await apply_schedule(
        one, posts(4) + entry("urgent", extra="urgent = true"), "schedule.toml"
    )
    assert (applied.filed, list(applied.withheld)) == (2, ["p00", "p01", "p02", "p03"])
    assert await open_accounts(planner) == ["a", "b"]
    schedule = await active_schedule(one, "schedule.toml")
    version = await planner.store.posts.schedule_version()
    with pytest.raises(RefusedError, match="settings_removal"):
        await confirm_settings(one, schedule, version, 3, ())
    with pytest.raises(RefusedError, match="settings_removal"):
        await apply_schedule(one, posts(5), "schedule.toml", confirmed_removals=1)
    assert await alert_codes(planner) == ["removals_waiting"]
    await confirm_settings(one, schedule, version, 4, ())
    left = [
        item.account
        for item in await deliveries(planner)
        if item.key.post != "urgent" and item.state is State.PENDING
    ]
    assert left == ["a"] * 4
    await plan(one)
    assert await alert_codes(planner) == []


async def test_f100_an_edit_of_the_words_takes_nothing_that_the_settings_have_taken(
    planner,  # noqa: F811
):
    """An edit of the titles is no confirmation of a removal by the settings.

    Four posts wait for the word of a person. The person puts their titles right meanwhile.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    await apply_schedule(both, posts(4), "schedule.toml")
    edited = "".join(
        entry(f"p{index:02}", at=AT, to=TO_GROUP, title="新的标题")
        for index in range(4)
    )
    applied = await apply_schedule(one, edited, "schedule.toml")
    assert (list(applied.taken), list(applied.withheld)) == (
        [],
        ["p00", "p01", "p02", "p03"],
    )
    await plan(one)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        ["removals_waiting"],
    )
    elsewhere = "".join(
        entry(f"p{index:02}", at=AT, to='["a"]', title="新的标题") for index in range(4)
    )
    assert list((await apply_schedule(one, elsewhere, "schedule.toml")).withheld) == []
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a"],
        ["posts_removed"],
    )


async def test_f100_a_number_that_answers_no_question_changes_nothing(planner):  # noqa: F811
    """F100: a confirmation without a waiting removal is refused and confirms nothing.

    A few posts lose an account, so no confirmation is needed.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    await apply_schedule(both, posts(2), "schedule.toml")
    schedule = await active_schedule(one, "schedule.toml")
    version = await planner.store.posts.schedule_version()
    for number in (2, 5):
        with pytest.raises(RefusedError, match="no_removal_waits"):
            await confirm_settings(one, schedule, version, number, ())
        with pytest.raises(RefusedError, match="no_removal_waits"):
            await apply_schedule(
                one, posts(2) + entry("new"), "schedule.toml", confirmed_removals=number
            )
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        [],
    )


async def test_f100_one_number_confirms_one_removal(planner):  # noqa: F811
    """F65, F100: posts that the settings take still wait after a confirmation of the others.

    The others are equally many posts that the schedule drops.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    dropped = "".join(entry(f"q{index}", at=AT, to='["a"]') for index in range(4))
    await apply_schedule(both, posts(4) + dropped, "schedule.toml")
    applied = await apply_schedule(one, posts(4), "schedule.toml", confirmed_removals=4)
    assert list(applied.taken) == ["q0", "q1", "q2", "q3"]
    assert list(applied.withheld) == ["p00", "p01", "p02", "p03"]
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        ["removals_waiting"],
    )


async def test_f100_what_goes_beside_a_confirmed_removal_is_named(planner):  # noqa: F811
    """F65, F100: a few posts that settings take beside a confirmed removal are alerted to.

    A person confirms the removal by the schedule.
    """
    both, one = with_group(planner, "a", "b"), with_group(planner, "a")
    dropped = "".join(entry(f"q{index}", at=AT, to='["a"]') for index in range(5))
    await apply_schedule(both, posts(2) + dropped, "schedule.toml")
    applied = await apply_schedule(one, posts(2), "schedule.toml", confirmed_removals=5)
    assert list(applied.taken) == ["p00", "p01", "q0", "q1", "q2", "q3", "q4"]
    [alert] = [
        alert
        for alert in await planner.store.queries.alerts()
        if alert.code == "posts_removed"
    ]
    assert alert.facts["posts"] == "p00、p01"


async def test_f100_settings_that_take_all_that_is_open_wait_for_a_person(planner):  # noqa: F811
    """Settings that take the only open post wait for a person, however few posts that is.

    The group of the post is emptied.
    """
    await apply_schedule(with_group(planner, "a", "b"), posts(1), "schedule.toml")
    await plan(with_group(planner))
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        ["removals_waiting"],
    )
    await plan(with_group(planner, "a", "b"))
    assert await alert_codes(planner) == []


async def test_f100_what_is_filed_for_an_account_that_left_the_settings_stays(planner):  # noqa: F811
    """Neither a plan nor an edit cancels a delivery of an account without settings.

    Nobody can send it here, and the account may come back.
    """
    await apply_schedule(planner, posts(1, to='["all"]'), "schedule.toml")
    accounts = {
        name: one
        for name, one in planner.schedule_context.accounts.items()
        if name != "b"
    }
    without = replace(
        planner, schedule_context=replace(planner.schedule_context, accounts=accounts)
    )
    await plan(without)
    for title in ("新的标题", "又一个标题"):
        await apply_schedule(without, entry("p00", at=AT, title=title), "schedule.toml")
        version = {item.account: item.version for item in await deliveries(planner)}
        await plan(without)
        assert {
            item.account: item.version for item in await deliveries(planner)
        } == version
    assert await open_accounts(planner) == ["a", "b"]


async def run_elsewhere(planner, config_hash):  # noqa: F811 # as above
    """Let another daemon run that has planned with these settings, or with none."""
    worker = WorkerId("other:/srv/publisher")

    def write(transaction):
        connection = transaction.connection
        connection.execute(WORKER.delete())
        connection.execute(WORKER_STATE.delete())
        beat = {
            "started_at": START_TIME,
            "heartbeat_at": START_TIME + timedelta(days=1),
        }
        connection.execute(
            WORKER.insert().values(id=worker, host="other", pid=1, **beat)
        )
        connection.execute(
            WORKER_STATE.insert().values(worker=worker, config_hash=config_hash)
        )

    await planner.store.database.write(write)


async def test_f102_hosts_with_different_settings_take_nothing_from_each_other(planner):  # noqa: F811
    """In a rolling restart, a removal by the new settings waits for the other host.

    The posts stay filed until the other host has the new settings too.
    """
    old, new = with_group(planner, "a", "b"), with_group(planner, "a")
    await apply_schedule(old, posts(2), "schedule.toml")
    await run_elsewhere(planner, old.config_hash)
    await plan(new)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a", "b"],
        ["settings_differ"],
    )
    await run_elsewhere(planner, new.config_hash)
    await plan(new)
    assert (await open_accounts(planner), await alert_codes(planner)) == (
        ["a"],
        ["posts_removed"],
    )
    await plan(old)
    assert await open_accounts(planner) == ["a"]
    assert "settings_differ" in await alert_codes(planner)
