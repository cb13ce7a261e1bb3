"""Several posts get another time at once: each is shown first, and each by its own rules."""

import html
import re
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.web.write import bulk_move
from publisher.web.write.bulk_move import read_items
from tests.cli.posts import warning, write_schedule
from tests.web.posts import LATER, SOON, plan, set_state
from tests.web.test_approve import (  # noqa: F401 # a fixture
    activate_schedule,
    approve,
    approving,
)


@pytest.fixture
def accepted(monkeypatch):
    """Let the daemon take up a save at once."""

    async def accept(*_arguments):
        return True

    monkeypatch.setattr(bulk_move, "wait_until_accepted", accept)


def fields_of(page):
    """Return the fields that the form of a page would send."""
    form = re.search(r'<form class="card sheet narrow".*?</form>', page, re.DOTALL)[0]
    found = {}
    for name, value in re.findall(
        r'name="(\w+)"(?: type="\w+")? value="([^"]*)"', form
    ):
        found.setdefault(name, []).append(html.unescape(value))
    return found


async def write_two(site):
    """Plan two posts at a time, one as soon as possible, and one that is published."""
    posts = [
        warning("refund", SOON),
        warning("second", LATER),
        warning("quick", 'at = "asap"'),
    ]
    write_schedule(site.application.settings.workspace, *posts)
    await plan(site, *posts)


def times(site):
    text = site.application.settings.schedule_file.read_text("utf-8")
    return re.findall(r"^at = (\S+)", text, re.MULTILINE)


@pytest.mark.long
async def test_several_posts_are_moved_by_some_days_or_to_one_day(site, accepted):
    """The new times are shown first, with the number in the button; a stale form moves nothing."""
    await write_two(site)
    author = await site.signed_in("author", name="王")
    listed = (await author.get("/posts")).text
    assert 'data-testid="act-bulk-move"' in listed
    query = "item=refund&item=second&item=quick&item=unknown"
    page = (await author.get(f"/bulk/move?{query}")).text
    left = re.search(r'data-testid="left-out".*?</div>', page, re.DOTALL)[0]
    assert len(re.findall("<li>", left)) == 2
    assert "没有一个时间可移" in left
    fields = fields_of(page)
    assert len(fields["item"]) == 2
    for days in ("", "0", "9" * 5000, "-9999"):
        nothing = await author.post("/bulk/move", data={**fields, "days": days})
        assert nothing.status_code == 422
    asked = await author.post("/bulk/move", data={**fields, "days": "2"})
    assert "移动 2 条" in asked.text
    before = times(site)
    done = await author.post("/bulk/move", data=fields_of(asked.text))
    assert done.status_code == 303
    assert [time[:10] for time in times(site)] == ["2026-11-27", "2026-11-28", '"asap"']
    assert [time[10:16] for time in times(site)[:2]] == [
        time[10:16] for time in before[:2]
    ]
    stale = await author.post("/bulk/move", data=fields_of(asked.text))
    assert (stale.status_code, times(site)[0][:10]) == (409, "2026-11-27")
    again = fields_of((await author.get("/bulk/move?item=refund&item=second")).text)
    asked = await author.post("/bulk/move", data={**again, "day": "2026-12-01"})
    await author.post("/bulk/move", data=fields_of(asked.text))
    assert [time[:10] for time in times(site)[:2]] == ["2026-12-01", "2026-12-01"]


def test_f90_each_post_is_moved_once():
    """Many spellings of one post are no work for many."""
    assert read_items([f"refund#{number}" for number in range(30)]) == ["refund#29"]


async def test_what_is_published_or_others_is_not_moved(site, accepted):
    """Neither a post that is out nor one of another region; a viewer has no such form."""
    await write_two(site)
    await set_state(site, State.PUBLISHED, attempts=1)
    author = await site.signed_in("author", name="王")
    page = (await author.get("/bulk/move?item=refund&item=second")).text
    assert "已经发出，或者正在发" in page
    assert len(fields_of(page)["item"]) == 1
    other = await site.signed_in("author@beijing-weibo", name="京")
    assert (await other.get("/bulk/move?item=second")).status_code == 403
    viewer = await site.signed_in("viewer")
    assert "act-bulk-move" not in (await viewer.get("/posts")).text
    assert (await viewer.get("/bulk/move?item=second")).status_code == 403


async def test_the_approvals_that_end_are_said_beforehand(approving, accepted):  # noqa: F811 # the fixture
    """The number stands at each post and in all; nothing is moved before that was seen."""
    li = await approving.signed_in("approver", name="李")
    zhang = await approving.signed_in("author", name="zhang")
    await approve(li)
    fields = fields_of((await zhang.get("/bulk/move?item=refund")).text)
    forged = {**fields, "days": "1", "confirmed": "1", "ending": "0"}
    asked = await zhang.post("/bulk/move", data=forged)
    assert asked.status_code == 200
    assert "1 个同意会作废" in asked.text
    [task] = await approving.store.approvals.tasks("refund")
    assert len(task.status.counted) == 1
    done = await zhang.post("/bulk/move", data=fields_of(asked.text))
    await activate_schedule(approving.application)
    [moved] = await approving.store.approvals.tasks("refund")
    assert (done.status_code, moved.status.counted) == (303, [])
    assert moved.due_at == task.due_at + timedelta(days=1)
