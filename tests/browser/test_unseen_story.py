"""In a real browser: what was not published is somebody's, and costly acts ask before they act."""

from datetime import timedelta

import pytest
from playwright.async_api import expect

from publisher.cli.application import activate_schedule
from publisher.domain.delivery import State
from publisher.web.write import move
from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    VIEWPORTS,
    browsers,
    complaints,
    serving,
)
from tests.cli.posts import warning, write_schedule
from tests.e2e.test_browser import BROWSER
from tests.web.posts import POST, plan, set_state
from tests.web.test_approve import TO_ALL, approving  # noqa: F401 # a fixture
from tests.web.test_unseen import miss

SUNDAY = 7
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_what_was_not_published_is_seen_by_one_press(site, viewport):
    """Today is amber until the author has pressed, then green; the press is taken back by one."""
    await miss(site, "p", accounts=list(site.store.policies))
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "author", viewport)
        await page.goto(f"{address}/today")
        verdict = page.get_by_test_id("verdict")
        await expect(verdict).to_have_class("verdict warn", timeout=PATIENCE_MS)
        await expect(page.get_by_test_id("todo-failed-p")).to_contain_text("6 个账号")
        assert await complaints(page) == []
        await page.get_by_test_id("act-seen-p").click()
        await expect(verdict).to_have_class("verdict fine", timeout=PATIENCE_MS)
        assert (await site.store.waiting.read()).unseen == []
        await page.get_by_test_id("act-undo").click()
        await expect(page.get_by_test_id("todo-failed-p")).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert await complaints(page) == []


async def test_a_post_dropped_on_another_day_keeps_its_time_until_one_agrees(
    approving,  # noqa: F811 # the fixture
    monkeypatch,
):
    """A drop that ends an approval asks first, with the number; the entry says what is missing."""
    site = approving

    async def accept(*_arguments):
        await activate_schedule(site.application)
        return True

    monkeypatch.setattr(move, "wait_until_accepted", accept)
    now = site.runtime.now().astimezone(site.application.settings.timezone)
    day = now.date() + timedelta(days=1)
    if day.isoweekday() == SUNDAY:  # the next day stands in another week
        day += timedelta(days=1)
    text = warning("refund", f"at = {day}T10:00:00+08:00", TO_ALL)
    write_schedule(site.application.settings.workspace, text)
    await activate_schedule(site.application)
    [planned] = await site.store.approvals.tasks("refund")
    async with serving(site.app) as address, browsers(site, address) as enter:
        li = await enter("李", "approver", PHONE)
        await li.goto(f"{address}/approve/refund")
        await li.get_by_test_id("act-approve").click()
        await expect(li.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        page = await enter("zhang", "author", DESK)
        await page.goto(f"{address}/calendar/week?from={day}")
        entry = page.locator("table.week a.entry-of-day")
        await expect(entry).to_contain_text("缺")
        following = day + timedelta(days=1)
        place = f'td[data-day="{following}"][data-hour="10"]'
        await entry.drag_to(page.locator(place))
        await expect(page.get_by_test_id("page-move")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await expect(page.locator("main")).to_contain_text("1 个同意会作废")
        [asked] = await site.store.approvals.tasks("refund")
        assert (asked.due_at, len(asked.status.counted)) == (planned.due_at, 1)
        assert await complaints(page) == []


async def test_a_deletion_from_all_accounts_offers_a_correction_first(site):
    """The question about a deletion has the way to a correction, and axe finds nothing wrong."""
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "author", DESK)
        await page.goto(f"{address}/posts/refund")
        await page.get_by_test_id("act-retract").click()
        dialog = page.locator("dialog[open]")
        await expect(dialog.get_by_test_id("act-offer")).to_be_visible()
        assert await complaints(page) == []
        await dialog.get_by_test_id("act-offer").click()
        await expect(page.get_by_test_id("page-correct")).to_be_visible(
            timeout=PATIENCE_MS
        )


async def test_it_is_seen_on_the_page_of_the_post(site):
    """The page of a post has the button too, and says on the same page that it is noted."""
    await miss(site, "p", accounts=list(site.store.policies))
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "author", PHONE)
        await page.goto(f"{address}/posts/p")
        await expect(page.get_by_test_id("unseen")).to_contain_text("6 个账号")
        assert await complaints(page) == []
        await page.get_by_test_id("act-seen-p").click()
        await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_test_id("page-post")).to_be_visible()
        await expect(page.get_by_test_id("unseen")).to_have_count(0)
        assert (await site.store.waiting.read()).unseen == []
