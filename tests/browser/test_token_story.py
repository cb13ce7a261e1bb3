"""In a real browser: an expired token is passed on to the operators by one press, in plain words."""

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
from tests.web.test_ask import asked, expire
from tests.web.test_plain_words import find_jargon

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_an_expired_token_is_passed_on_to_the_operators(site, viewport):
    """The account's page says what is wrong in words, and one press notifies the operators."""
    await expire(site)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "author", viewport)
        await page.goto(f"{address}/accounts/beijing-weibo")
        wrong = page.get_by_test_id("wrong")
        await expect(wrong).to_be_visible(timeout=PATIENCE_MS)
        assert find_jargon(await wrong.inner_text()) == []
        assert await complaints(page) == []
        await wrong.get_by_test_id("field-reason").fill("09:00 有一条要发")
        await wrong.get_by_test_id("act-ask").click()
        await expect(page.get_by_test_id("notice")).to_contain_text(
            "已通知运维人员", timeout=PATIENCE_MS
        )
        assert await complaints(page) == []
    assert [remark for _about, _by, remark in await asked(site)] == ["09:00 有一条要发"]
