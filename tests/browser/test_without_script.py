"""A real browser without running scripts."""

import pytest
from playwright.async_api import async_playwright, expect

from publisher.domain.delivery import State
from tests.browser.test_approval_story import PATIENCE_MS, serving
from tests.e2e.test_browser import BROWSER, SILENT
from tests.web.posts import POST, plan

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


async def test_everything_works_without_script(site):  # the fixture
    """Buttons that open dialogs lead to pages with the same form."""
    await plan(site, POST)
    client = await site.signed_in("operator", name="王")
    cookie = {"name": "publisher_session", "value": client.cookies["publisher_session"]}
    async with serving(site.app) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=SILENT)
        context = await browser.new_context(java_script_enabled=False)
        await context.add_cookies([{**cookie, "url": address}])
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{address}/posts/refund")
        await page.get_by_test_id("act-cancel").click()
        await expect(page.get_by_test_id("page-cancel")).to_be_visible()
        await (
            page.get_by_test_id("page-cancel")
            .get_by_test_id("field-reason")
            .fill("不需要了")
        )
        await page.get_by_test_id("confirm-cancel").click()
        await expect(page.get_by_test_id("notice")).to_contain_text(
            "已撤回，4 个不再发"
        )
        await browser.close()
    assert {item.state for item in await site.store.queries.deliveries("refund")} == {
        State.CANCELLED
    }


async def test_a_one_time_link_is_pasted_without_script(site):
    """The page of the link has a field for it.

    The part behind # reaches no server by itself.
    """
    link = await site.add_user("作者", "author")
    async with serving(site.app) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=SILENT)
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{address}/setup#{link}")
        await page.get_by_test_id("field-link").fill(f"{address}/setup#{link}")
        await page.get_by_test_id("act-open-link").click()
        await page.get_by_test_id("act-begin").click()
        await expect(page.get_by_test_id("recovery-codes")).to_be_attached()
        assert link not in page.url
        await browser.close()
