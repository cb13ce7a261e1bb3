"""A post that becomes a family of regions, or is one no more, stays one post.

What people ordered of it, and what was sent of it, counts under every id that it had.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import named_person
from publisher.engine.planner import (
    active_schedule,
    apply_schedule,
    plan_window,
    resend_post,
    schedule_evergreen,
)
from publisher.store.db.filters import is_paused
from publisher.store.db.tables import DELIVERY, POST
from tests.engine.test_families import (  # noqa: F401 # fixtures
    CHANGED,
    LATER,
    ORDINARY,
    WORDS,
    approving,
    barred,
    family,
    find_states,
    planner,
    reload,
    send_one,
)
from tests.engine.test_planner import entry

BY = named_person("li")
DAILY = entry("p").replace('at = "asap"', 'cron = "0 10 * * *"')
EVERGREEN = entry("p").replace('at = "asap"', "evergreen = true")
TITLE = "李的标题"


def write_correction(at=None):
    """Return a correction of `p` for one account, now or `at` a time."""
    when = {} if at is None else {"at": at}
    fix = entry("fix", **when, to='["c"]', extra='follows = "p"')
    return fix.replace('kind = "warning"', 'kind = "correction"')


async def plan_days(planner, days):  # noqa: F811 # the fixture
    """Let days pass; return the numbers of deliveries filed on each."""
    filed = []
    for _ in range(days):
        planner.store.runtime.advance_time(timedelta(days=1))
        schedule = await active_schedule(planner, "schedule.toml")
        version = await planner.store.posts.schedule_version()
        filed.append(await plan_window(planner, schedule, version))
    return filed


@pytest.mark.parametrize(
    ("text", "days", "filed"),
    [
        pytest.param(DAILY + WORDS, 2, [2, 2], id="daily"),
        pytest.param(family(at="2026-11-28T09:00:00"), 2, [2, 0], id="later"),
    ],
)
async def test_a_cancelled_region_stops_no_other(planner, text, days, filed):  # noqa: F811
    """The other regions' instants are filed as their time comes."""
    await reload(planner, text)
    await planner.store.actions.cancel_post(PostId("p.310000"), BY, "错了")
    assert await plan_days(planner, days) == filed


async def test_a_correction_of_a_region_stops_no_other(planner):  # noqa: F811
    """The region's account got the wrong words under the common id; the others go on."""
    await reload(planner, DAILY)
    runtime = planner.store.runtime
    first = min(one.due_at for one in await planner.store.queries.deliveries())
    runtime.advance_time(first - runtime.now())
    await send_one(planner, "c")
    await reload(planner, DAILY + WORDS)
    await reload(planner, DAILY + WORDS + write_correction())
    columns = select(POST.c.id, POST.c.corrected_by)
    rows = await planner.store.database.read_rows(columns)
    assert {row.id for row in rows if row.corrected_by} == {"p.310000"}
    assert await plan_days(planner, 2) == [2, 2]


async def test_a_correction_of_a_post_stops_what_it_was_as_a_family(planner):  # noqa: F811
    """Each region's own id is corrected too, and nothing of it can be sent any more."""
    await reload(planner, CHANGED)
    await send_one(planner)
    await reload(planner, ORDINARY + write_correction())
    columns = select(POST.c.id, POST.c.corrected_by)
    rows = await planner.store.database.read_rows(columns)
    corrected = {row.id for row in rows if row.corrected_by}
    assert corrected == {"p", "p.110000", "p.310000"}


async def test_a_region_added_to_a_cancelled_post_is_cancelled_for_good(planner):  # noqa: F811
    """Also in a later version, when only its own entry is planned."""
    await reload(planner, ORDINARY)
    await planner.store.actions.cancel_post(PostId("p"), BY, "错了")
    await reload(planner, family(at="2026-11-28T09:00:00"))
    assert await plan_days(planner, 3) == [0, 0, 0]


async def test_i5_words_keep_their_writers_in_every_form(approving, tmp_path):  # noqa: F811
    """I5: who wrote words in the file approves them nowhere, wherever an edit moves them."""
    file = tmp_path / "schedule.toml"

    async def write(text, owner):
        file.write_text(text, "utf-8")
        await apply_schedule(approving, text, file.name, file_owner=owner)

    own = '[post.region.110000]\nbody = "北京"\n'
    await write(family("q", at=LATER), "ops")
    await write(family("q", at=LATER, title=TITLE), "李")
    assert "李" not in await barred(approving, "q.310000")
    await write(family("q", at=LATER, title=TITLE, words=own), "ops")
    assert "李" in await barred(approving, "q.310000")
    await write(entry("q", at=LATER, title=TITLE), "ops")
    assert "李" in await barred(approving, "q")


async def test_a_cancelled_evergreen_post_is_in_no_drawer(planner):  # noqa: F811
    """Neither it nor its regions are chosen, and no order sends them."""
    await reload(planner, EVERGREEN)
    await schedule_evergreen(planner, "a", BY)
    await send_one(planner)
    await planner.store.actions.cancel_post(PostId("p"), BY, "错了")
    await reload(planner, EVERGREEN + WORDS)
    with pytest.raises(RefusedError, match="evergreen_used_up"):
        await schedule_evergreen(planner, "a", BY)
    post = await planner.store.posts.get_post(PostId("p.110000"))
    with pytest.raises(RefusedError, match="resend_cancelled"):
        await resend_post(planner, post, ["a"])


async def test_a_used_evergreen_post_is_used_in_every_form(planner):  # noqa: F811
    """An account that had it is given no second one when it gets words for regions."""
    await reload(planner, EVERGREEN)
    await schedule_evergreen(planner, "a", BY)
    await send_one(planner)
    await reload(planner, EVERGREEN + WORDS)
    with pytest.raises(RefusedError, match="evergreen_used_up"):
        await schedule_evergreen(planner, "a", BY)


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_correction_goes_where_its_original_was_sent(planner, is_new):  # noqa: F811
    """Sent now, it reaches the account that has the original under the common id."""
    await reload(planner, ORDINARY)
    await send_one(planner, "c")
    await reload(planner, CHANGED + write_correction(LATER))
    fix = await planner.store.posts.get_post(PostId("fix.310000"))
    if is_new:
        fix = replace(fix, id=PostId("now.310000"))
    plan = await send_correction(planner, fix, BY, is_new=is_new)
    assert plan.send_now == ("c",)
    assert (await find_states(planner))[f"{fix.id}@c"] is State.PENDING


async def test_the_pause_of_a_region_holds_no_other(planner):  # noqa: F811
    """It holds the ordinary post on the region's accounts, and nowhere else."""
    await reload(planner, CHANGED)
    await planner.store.actions.pause("post:p.310000", BY, "错了")
    await reload(planner, ORDINARY)
    query = select(DELIVERY.c.post, DELIVERY.c.account).where(is_paused(DELIVERY))
    rows = await planner.store.database.read_rows(query)
    assert {tuple(row) for row in rows} == {("p", "c"), ("p.310000", "c")}
