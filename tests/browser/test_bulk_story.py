"""In a real browser: ticked posts are moved together, with what it costs said before."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.test_bulk_move import (  # noqa: F401 # a fixture
    accepted,
    times,
    write_two,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]
SCREENS = os.environ.get("PUBLISHER_SCREENS")


@pytest.mark.parametrize(
    ("viewport", "theme"),
    [
        pytest.param(PHONE, "light", id="phone"),
        pytest.param(DESK, "dark", id="desk", marks=pytest.mark.extra),
    ],
)
async def test_ticked_posts_are_moved_by_two_days(site, accepted, viewport, theme):  # noqa: F811 # the fixture
    """The button has the number; what cannot be moved is named; the new times are shown first."""
    await write_two(site)
    name = f"bulk-move-{viewport['width']}-{theme}"

    async def look(page, step):
        assert await complaints(page) == []
        if SCREENS:
            await page.screenshot(
                path=Path(SCREENS, f"{name}-{step}.png"), full_page=True
            )

    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", viewport, theme)
        await page.goto(f"{address}/posts")
        await page.get_by_test_id("tick-all").check()
        boxes = await page.locator('input[name="item"]').count()
        move = page.get_by_test_id("act-bulk-move")
        await expect(move).to_have_text(f"移动 {boxes} 条")
        await page.mouse.wheel(0, 5000)
        await expect(move).to_be_in_viewport()
        await page.get_by_test_id("tick-all").uncheck()
        await expect(move).to_be_disabled()
        for post in ("refund", "second", "quick"):
            await page.get_by_test_id(f"tick-{post}").check()
        await expect(page.get_by_test_id("act-bulk-move")).to_have_text("移动 3 条")
        await look(page, "list")
        await page.get_by_test_id("act-bulk-move").click()
        await expect(page.get_by_test_id("left-out")).to_be_visible(timeout=PATIENCE_MS)
        await page.get_by_test_id("field-days").fill("2")
        await look(page, "ask")
        await page.get_by_test_id("confirm-move").click()
        await expect(page.get_by_test_id("confirm-move")).to_have_text("移动 2 条")
        await look(page, "times")
        await page.get_by_test_id("confirm-move").click()
        await expect(page.get_by_test_id("notice")).to_contain_text("已移动 2 条")
    assert [time[:10] for time in times(site)[:2]] == ["2026-11-27", "2026-11-28"]
