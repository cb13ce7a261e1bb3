"""The 14-day clock of accounts: from the last verified post, with one rising alert.

The severity of the alert rises.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import Unknown
from publisher.engine.decisions import named_person
from publisher.engine.monitor import monitor_due
from publisher.engine.sender import send_due
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import FakeAdapter

BEIJING = ZoneInfo("Asia/Shanghai")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class HiddenListPlatform(FakeAdapter):
    """A platform with a list that can be hidden."""

    is_hidden = False

    async def list_recent(self):
        return (
            Unknown(reason="timeout") if self.is_hidden else await super().list_recent()
        )


async def publish(store, adapters, post):
    """Send a post and let the list confirm it."""
    await enqueue_posts(store.posts, make_post(post, ["a"], store.runtime.now()))
    await store.maintenance.run()
    await send_due(store, adapters, 50, asyncio.Event())
    store.runtime.advance_time(HOUR)
    await monitor_due(store, adapters, 10)


async def silent_account(open_store):
    """Return a store that has just come to know an account, its adapters and the platform."""
    store = await open_store(make_policy("a"))
    fake = HiddenListPlatform(now=store.runtime.now)
    await store.silence.update(BEIJING)
    return store, dict.fromkeys(store.policies, fake), fake


async def codes(store):
    return [alert.code for alert in await store.queries.alerts()]


async def days_of(store):
    return (await store.silence.clocks(BEIJING))[AccountId("a")].days


async def test_one_alert_rises_from_notice_to_red_and_ends_with_a_verified_post(
    open_store, runtime
):
    """Each day has at most one open alert, and every level is raised once.

    A verified post closes the alert.
    """
    store, adapters, _fake = await silent_account(open_store)
    seen = []
    for _day in range(20):
        await store.silence.update(BEIJING)
        found = await codes(store)
        assert len(found) <= 1
        seen += [code for code in found if code not in seen]
        runtime.advance_time(DAY)
    assert seen == ["silence_notice", "silence_alarm", "silence_red"]
    await publish(store, adapters, "p")
    assert (
        await store.silence.update(BEIJING),
        await codes(store),
        await days_of(store),
    ) == (
        1,
        [],
        0,
    )


async def test_an_alert_is_raised_once_however_often_it_is_looked_for(
    open_store, runtime
):
    """A week of looking every hour at an account that stays silent raises nothing twice."""
    store, _adapters, _fake = await silent_account(open_store)
    runtime.advance_time(14 * DAY)
    assert [await store.silence.update(BEIJING) for _hour in range(3)] == [1, 0, 0]
    raised = [alert.id for alert in await store.queries.alerts()]
    for _hour in range(7 * 24):
        runtime.advance_time(HOUR)
        await store.silence.update(BEIJING)
    assert [alert.id for alert in await store.queries.alerts()] == raised


async def test_a_post_counts_only_once_a_read_has_confirmed_it(open_store, runtime):
    """Only a post in the platform's list resets the clock.

    A post that the platform only says to have taken does not.
    """
    store, adapters, fake = await silent_account(open_store)
    runtime.advance_time(9 * DAY)
    fake.is_hidden = True
    await publish(store, adapters, "p")
    assert await days_of(store) == 9
    fake.is_hidden = False
    runtime.advance_time(2 * HOUR)
    await monitor_due(store, adapters, 10)
    assert await days_of(store) == 0


async def test_reading_an_old_post_again_does_not_reset_the_clock(open_store, runtime):
    """Only the time of publication counts, though the list confirms a post every hour."""
    store, adapters, _fake = await silent_account(open_store)
    await publish(store, adapters, "p")
    for _day in range(10):
        runtime.advance_time(DAY)
        await monitor_due(store, adapters, 10)
    await store.silence.update(BEIJING)
    assert (await days_of(store), await codes(store)) == (10, ["silence_notice"])


async def test_a_removed_post_moves_the_clock_back_to_the_one_before(
    open_store, runtime
):
    """The day of the post before counts again once the platform has removed the newest."""
    store, adapters, fake = await silent_account(open_store)
    await publish(store, adapters, "first")
    runtime.advance_time(11 * DAY)
    await publish(store, adapters, "second")
    await store.silence.update(BEIJING)
    assert (await days_of(store), await codes(store)) == (0, [])
    del fake.posts["2"]
    for _look in range(3):
        runtime.advance_time(HOUR)
        await monitor_due(store, adapters, 10)
    [second] = await store.queries.deliveries(post=PostId("second"))
    assert second.state is State.REMOVED
    await store.silence.update(BEIJING)
    assert (await days_of(store), sorted(await codes(store))) == (
        11,
        ["removed.removed_on_platform", "silence_notice"],
    )


@pytest.mark.parametrize(
    "is_in_settings", [True, False], ids=["settings", "at run time"]
)
async def test_an_account_that_is_off_has_no_clock(open_store, runtime, is_in_settings):
    """No days are counted where nobody publishes.

    An open alert ends when the account is switched off.
    """
    policy = make_policy("a")
    if is_in_settings:
        policy = replace(policy, account=replace(policy.account, mode=Mode.OFF))
    store = await open_store(policy)
    await store.silence.update(BEIJING)
    runtime.advance_time(14 * DAY)
    await store.silence.update(BEIJING)
    assert await codes(store) == ([] if is_in_settings else ["silence_red"])
    if not is_in_settings:
        await store.actions.set_mode(
            AccountId("a"), Mode.OFF, named_person("li"), "test"
        )
    await store.silence.update(BEIJING)
    assert (dict(await store.silence.clocks(BEIJING)), await codes(store)) == ({}, [])


async def test_an_account_that_leaves_the_settings_leaves_no_alert_behind(
    open_store, runtime
):
    """The next daemon does not know the account, and closes the open alerts about it."""
    store, _adapters, _fake = await silent_account(open_store)
    runtime.advance_time(14 * DAY)
    await store.silence.update(BEIJING)
    other = await open_store(make_policy("b"))
    await other.silence.update(BEIJING)
    assert await codes(other) == []


async def test_nothing_is_counted_by_a_clock_that_nobody_vouches_for(
    open_store, runtime
):
    """A machine that starts in the wrong year alerts nobody about years of silence."""
    store, _adapters, _fake = await silent_account(open_store)
    runtime.jump_clock(timedelta(days=800))
    runtime.mark_clock_unconfirmed()
    await store.silence.update(BEIJING)
    assert await codes(store) == []
