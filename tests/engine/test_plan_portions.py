"""A large plan is filed in portions, between which another change gets its turn."""

import asyncio

import pytest
from PIL import Image

from publisher.domain.errors import ScheduleError
from publisher.domain.post import PostId
from publisher.engine import planner as planner_module
from publisher.engine.planner import active_schedule, apply_schedule, plan_window
from publisher.store.db.database import ConcurrentUpdateError
from tests.engine.test_planner import (  # noqa: F401 # a fixture
    cron,
    deliveries,
    entry,
    planner,
)

FILE = "schedule.toml"
HOURLY = cron("hourly", "0 * * * *")
"""Has an occurrence at each hour of two days, of two texts."""
PORTION, ALL = 10, 2 * 49


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch):
    monkeypatch.setattr(planner_module, "MAX_PORTION_TEXTS", PORTION)


async def plan_rest(planner):  # noqa: F811 # the fixture
    version = await planner.store.posts.schedule_version()
    return await plan_window(planner, await active_schedule(planner, FILE), version)


async def test_i22_a_repeating_post_is_filed_in_portions_with_its_next_times_first(
    planner,  # noqa: F811 # the fixture
):
    """The version comes into force with the first portion, and the plan is then completed."""
    one_time = entry("once", at="2026-11-26T09:00:00")
    applied = await apply_schedule(planner, HOURLY + one_time, FILE)
    assert applied.filed == PORTION
    assert len(await deliveries(planner, post="once")) == 2
    first = await deliveries(planner, post="hourly")
    assert await plan_rest(planner) == ALL - len(first)
    filed = await deliveries(planner, post="hourly")
    assert len(filed) == len({(item.key, item.account) for item in filed}) == ALL
    assert {item.due_at for item in first} == set(
        sorted({item.due_at for item in filed})[: len(first) // 2]
    )
    assert await plan_rest(planner) == 0


async def test_i14_an_urgent_post_waits_for_one_portion_of_a_large_plan(
    planner,  # noqa: F811 # the fixture
):
    """A version that is saved while the plan goes on is planned before its rest."""
    await apply_schedule(planner, HOURLY, FILE)
    planning = asyncio.create_task(plan_rest(planner))
    urgent = entry("urgent", extra="urgent = true")
    saving = asyncio.create_task(apply_schedule(planner, HOURLY + urgent, FILE))
    await asyncio.wait([planning, saving])
    with pytest.raises(ConcurrentUpdateError):
        planning.result()
    assert len(await deliveries(planner, post="urgent")) == 2
    assert len(await deliveries(planner, post="hourly")) <= 3 * PORTION
    await plan_rest(planner)
    assert len(await deliveries(planner, post="hourly")) == ALL


async def test_an_edit_of_a_repeating_post_changes_all_that_is_filed_of_it(
    planner,  # noqa: F811 # the fixture
):
    """However large it is: nothing goes out with the replaced words."""
    await apply_schedule(planner, HOURLY, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, HOURLY.replace("退款诈骗", "刷单诈骗"), FILE)
    edited = await planner.store.posts.get_post(PostId("hourly"))
    texts = await planner.store.occurrences.filed_texts()
    assert len(texts) == ALL // 2
    assert {item.content_hash for item in texts} == {edited.content_hash}


async def test_i20_texts_that_cannot_be_sent_do_not_end_the_plan_of_the_others(
    planner,  # noqa: F811 # the fixture
    tmp_path,
):
    """They fill more than a portion, and are reported once everything else is filed."""
    (tmp_path / "media").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "media" / "x.png")
    images = 'images = [{ file = "media/x.png", alt = "x" }]'
    pictured = cron("pictured", "0 * * * *").replace(
        "[post.data]", f"{images}\n[post.data]"
    )
    await apply_schedule(planner, pictured + HOURLY, FILE)
    (tmp_path / "media" / "x.png").unlink()
    before = await deliveries(planner, post="pictured")
    with pytest.raises(ScheduleError):
        await plan_rest(planner)
    assert len(await deliveries(planner, post="hourly")) == ALL
    assert await deliveries(planner, post="pictured") == before
