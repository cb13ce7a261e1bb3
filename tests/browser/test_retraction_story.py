"""A post is taken down in a real browser, with proof for each account, and found in the audit."""

import pytest
from playwright.async_api import async_playwright, expect

from publisher.domain.delivery import State
from publisher.domain.results import Deleted
from publisher.store.db.rows import write_readback
from tests.browser.test_approval_story import DESK, PATIENCE_MS, PHONE, browsers, complaints, serving
from tests.e2e.test_browser import BROWSER, SILENT
from tests.web.conftest import regions, site  # noqa: F401 # fixtures
from tests.web.posts import POST, plan, set_state

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none"),
]


async def delete_everything(store):
    """Let the platform confirm that every post is gone."""
    for delivery in await store.queries.deliveries(states=[State.RETRACTING]):
        at, gone = store.runtime.now(), Deleted()
        await store.database.write(
            lambda unit, delivery=delivery, at=at, gone=gone: write_readback(unit, delivery.id, 1, at, gone)
        )


async def test_a_post_is_taken_down_in_three_clicks_and_found_in_the_audit(site):  # noqa: F811 # the fixture
    """The post, the button, the number in it; then the proof of each account, and the entry with name and reason."""
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.goto(f"{address}/posts/refund")
        await page.get_by_test_id("act-retract").click()
        dialog = page.locator("#dialog-retract")
        await expect(dialog).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await page.get_by_test_id("act-retract").click()
        await dialog.get_by_test_id("field-reason").fill("写错了电话")
        await dialog.get_by_test_id("confirm-retract").click()

        await expect(page.get_by_test_id("page-retraction")).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_test_id("verdict")).to_contain_text("确认中 4")
        await delete_everything(site.store)
        await set_state(site, State.RETRACTED)
        await page.get_by_test_id("act-reload").click()
        await expect(page.get_by_test_id("verdict")).to_contain_text("已删 4", timeout=PATIENCE_MS)
        row = page.get_by_test_id("delivery-refund-beijing-weibo")
        proof = await row.inner_text()
        assert await complaints(page) == []

        await page.get_by_test_id("menu-audit").first.click()
        entry = page.locator("[data-testid^=entry-]").first
        await expect(entry).to_contain_text("写错了电话", timeout=PATIENCE_MS)
        assert "王" in await entry.inner_text()
        assert await complaints(page) == []
        assert "平台" in proof


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_pages_fit_their_screen_in_both_themes(site, viewport):  # noqa: F811 # the fixture
    """No page is wider than its screen, in either language, and axe has no complaint."""
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    paths = ("/posts/refund", "/deliveries/refund/once/beijing-tieba", "/accounts", "/calendar", "/audit", "/help")
    found = []
    async with serving(site.app) as address, browsers(site, address) as enter:
        for scheme, lang, name in (("light", "zh_CN", "王"), ("dark", "en", "李")):
            page = await enter(name, "author", viewport, scheme)
            for path in paths:
                await page.goto(f"{address}{path}{'&' if '?' in path else '?'}lang={lang}")
                width = await page.evaluate("document.documentElement.scrollWidth")
                found += [(path, scheme, "wide", width)] if width > viewport["width"] else []
                found += [(path, scheme, *complaint) for complaint in await complaints(page)]
    assert found == []


async def test_everything_works_without_script(site):  # noqa: F811 # the fixture
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
        await page.get_by_test_id("page-cancel").get_by_test_id("field-reason").fill("不需要了")
        await page.get_by_test_id("confirm-cancel").click()
        await expect(page.get_by_test_id("notice")).to_contain_text("已撤回，4 个不再发")
        await browser.close()
    assert {item.state for item in await site.store.queries.deliveries("refund")} == {State.CANCELLED}
