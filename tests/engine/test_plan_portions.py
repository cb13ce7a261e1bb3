"""A large plan is filed in portions, between which another change gets its turn."""

import asyncio

import pytest
from PIL import Image

from publisher.domain import portions
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.errors import ScheduleError
from publisher.domain.post import PostId
from publisher.engine import planner as planner_module
from publisher.engine.decisions import named_person
from publisher.engine.planner import active_schedule, apply_schedule, plan_window
from publisher.store.db.database import ConcurrentUpdateError
from tests.engine.test_planner import (  # noqa: F401 # a fixture
    cron,
    deliveries,
    entry,
    planner,
)

FILE = "schedule.toml"
REPEATED = cron("repeated", "0 */4 * * *")
"""Has twelve occurrences in two days, of two texts."""
EDITED = REPEATED.replace("退款诈骗", "刷单诈骗")
PORTION, ALL = 10, 2 * 12


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch):
    monkeypatch.setattr(planner_module, "MAX_PORTION_TEXTS", PORTION)


async def plan_rest(planner):  # noqa: F811 # the fixture
    version = await planner.store.posts.schedule_version()
    return await plan_window(planner, await active_schedule(planner, FILE), version)


async def contents(planner):  # noqa: F811 # the fixture
    """Return the contents of all texts that may still be sent."""
    texts = await planner.store.occurrences.filed_texts()
    return {item.content_hash for item in texts}


async def test_i22_a_repeating_post_is_filed_in_portions_with_its_next_times_first(
    planner,  # noqa: F811 # the fixture
):
    """The version comes into force with the first portion, and the plan is then completed."""
    one_time = entry("once", at="2026-11-26T09:00:00")
    applied = await apply_schedule(planner, REPEATED + one_time, FILE)
    assert applied.filed == PORTION
    assert len(await deliveries(planner, post="once")) == 2
    first = await deliveries(planner, post="repeated")
    assert await plan_rest(planner) == ALL - len(first)
    filed = await deliveries(planner, post="repeated")
    assert len(filed) == len({(item.key, item.account) for item in filed}) == ALL
    assert {item.due_at for item in first} == set(
        sorted({item.due_at for item in filed})[: len(first) // 2]
    )
    assert await plan_rest(planner) == 0


async def test_i14_an_urgent_post_waits_for_one_portion_of_a_large_plan(
    planner,  # noqa: F811 # the fixture
):
    """A version that is saved while the plan goes on is planned before its rest."""
    await apply_schedule(planner, REPEATED, FILE)
    planning = asyncio.create_task(plan_rest(planner))
    urgent = entry("urgent", extra="urgent = true")
    saving = asyncio.create_task(apply_schedule(planner, REPEATED + urgent, FILE))
    await asyncio.wait([planning, saving])
    with pytest.raises(ConcurrentUpdateError):
        planning.result()
    assert len(await deliveries(planner, post="urgent")) == 2
    assert len(await deliveries(planner, post="repeated")) <= 3 * PORTION
    await plan_rest(planner)
    assert len(await deliveries(planner, post="repeated")) == ALL


async def test_i22_an_edit_of_a_repeating_post_withdraws_its_later_texts_until_its_turn(
    planner,  # noqa: F811 # the fixture
):
    """The next occurrences have the new words at once; nothing can go out with the old ones."""
    await apply_schedule(planner, REPEATED, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, EDITED, FILE)
    edited = await planner.store.posts.get_post(PostId("repeated"))
    filed = await deliveries(planner, post="repeated")
    waiting = [item for item in filed if item.state is State.PENDING]
    assert len(waiting) == PORTION
    assert {item.state for item in filed} == {State.PENDING, State.CANCELLED}
    assert max(item.due_at for item in waiting) < min(
        item.due_at for item in filed if item.state is State.CANCELLED
    )
    assert await contents(planner) == {edited.content_hash}
    assert await plan_rest(planner) == 0
    filed = await deliveries(planner, post="repeated")
    assert {item.state for item in filed} == {State.PENDING}
    assert len(filed) == ALL
    assert await contents(planner) == {edited.content_hash}
    assert await plan_rest(planner) == 0


async def test_i22_a_second_edit_overtakes_the_rest_of_the_first(
    planner,  # noqa: F811 # the fixture
):
    """What the first one has withdrawn comes back with the words of the second."""
    await apply_schedule(planner, REPEATED, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, EDITED, FILE)
    await apply_schedule(planner, REPEATED.replace("退款诈骗", "贷款诈骗"), FILE)
    await plan_rest(planner)
    edited = await planner.store.posts.get_post(PostId("repeated"))
    filed = await deliveries(planner, post="repeated")
    assert [item.state for item in filed] == [State.PENDING] * ALL
    assert await contents(planner) == {edited.content_hash}


async def test_i16_what_a_person_takes_down_during_an_edit_stays_away(
    planner,  # noqa: F811 # the fixture
):
    """Also the occurrences that wait for their new words; the other account gets them."""
    await apply_schedule(planner, REPEATED, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, EDITED, FILE)
    person = named_person("王")
    await planner.store.actions.retract(
        PostId("repeated"), AccountId("a"), person, "撤下"
    )
    await plan_rest(planner)
    filed = await deliveries(planner, post="repeated")
    assert {(item.account, item.state) for item in filed} == {
        ("a", State.CANCELLED),
        ("b", State.PENDING),
    }
    assert await plan_rest(planner) == 0


async def test_i22_a_post_that_leaves_during_its_edit_stays_away(
    planner,  # noqa: F811 # the fixture
):
    """Its withdrawn occurrences do not come back."""
    other = entry("other")
    await apply_schedule(planner, REPEATED + other, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, EDITED + other, FILE)
    await apply_schedule(planner, other, FILE, confirmed_removals=None)
    await plan_rest(planner)
    filed = await deliveries(planner, post="repeated")
    assert {item.state for item in filed} == {State.CANCELLED}


async def test_i14_an_urgent_post_waits_for_one_portion_of_a_large_edit(
    planner,  # noqa: F811 # the fixture
):
    """A version that is saved while the edit goes on is planned before its rest."""
    await apply_schedule(planner, REPEATED, FILE)
    await plan_rest(planner)
    await apply_schedule(planner, EDITED, FILE)
    urgent = entry("urgent", extra="urgent = true")
    await apply_schedule(planner, EDITED + urgent, FILE)
    assert len(await deliveries(planner, post="urgent")) == 2
    filed = await deliveries(planner, post="repeated")
    assert sum(item.state is State.PENDING for item in filed) <= 2 * PORTION
    await plan_rest(planner)
    filed = await deliveries(planner, post="repeated")
    assert [item.state for item in filed] == [State.PENDING] * ALL


async def test_a_long_text_counts_as_several(
    planner,  # noqa: F811 # the fixture
    monkeypatch,
):
    """Portions are small where each text takes long: this one has the next occurrence alone."""
    monkeypatch.setattr(portions, "LONG_TEXT", 1)
    await apply_schedule(planner, REPEATED, FILE)
    assert len(await deliveries(planner, post="repeated")) == 2


async def test_i20_texts_that_cannot_be_sent_do_not_end_the_plan_of_the_others(
    planner,  # noqa: F811 # the fixture
    tmp_path,
):
    """They fill more than a portion, and are reported once everything else is filed."""
    (tmp_path / "media").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "media" / "x.png")
    images = 'images = [{ file = "media/x.png", alt = "x" }]'
    pictured = cron("pictured", "0 */4 * * *").replace(
        "[post.data]", f"{images}\n[post.data]"
    )
    await apply_schedule(planner, pictured + REPEATED, FILE)
    (tmp_path / "media" / "x.png").unlink()
    before = await deliveries(planner, post="pictured")
    with pytest.raises(ScheduleError):
        await plan_rest(planner)
    assert len(await deliveries(planner, post="repeated")) == ALL
    assert await deliveries(planner, post="pictured") == before
