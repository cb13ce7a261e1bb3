"""In a real browser: a refused post is corrected and sent only where it failed."""

import pytest
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    PATIENCE_MS,
    VIEWPORTS,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.test_rewrite import refused  # noqa: F401 # a fixture
from tests.web.test_write import posts, without_waiting  # noqa: F401 # a fixture

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_refused_post_is_corrected_where_it_failed(refused, viewport):  # noqa: F811 # the fixture
    """One press leads to the text with the failed account chosen; the save touches no other."""
    async with (
        serving(refused.app) as address,
        browsers(refused, address) as enter,
    ):
        page = await enter("张", "author", viewport)
        await page.goto(f"{address}/posts/refund")
        await page.get_by_test_id("act-rewrite").click()
        await expect(page.get_by_test_id("banner-rewrite")).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert await complaints(page) == []
        await page.locator("[name=title]").fill("警惕假退款")
        await page.get_by_test_id("act-save").click()
        await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
    [_first, second] = posts(refused.application.settings.schedule_file)
    assert (second["title"], second["to"]) == ("警惕假退款", ["beijing-weibo"])
