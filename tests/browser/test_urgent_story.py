"""An emergency on two small phones: each officer reads the text, and then releases it."""

import pytest
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    PATIENCE_MS,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.conftest import ADMIN
from tests.web.test_urgent import POST, lane  # noqa: F401 # a fixture

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]
SMALL_PHONE = {"width": 375, "height": 667}
WORDS = "公安机关没有“安全账户”，请立即挂断"
TOP_AND_BOTTOM = """(element) => {
  const box = element.getBoundingClientRect();
  return [box.top + scrollY, box.bottom + scrollY];
}"""


async def is_read_first(page, button):
    """Return True if the first text begins on the first screen, and all end above the button."""
    texts = page.locator("figure.preview:visible .frame")
    edges = [
        await texts.nth(number).evaluate(TOP_AND_BOTTOM)
        for number in range(await texts.count())
    ]
    top, _bottom = await page.get_by_test_id(button).evaluate(TOP_AND_BOTTOM)
    is_begun = 0 < edges[0][0] < SMALL_PHONE["height"]
    return is_begun and all(bottom <= top for _top, bottom in edges)


async def test_two_officers_release_a_warning_on_small_phones(lane):  # noqa: F811 # the fixture
    """The text stands before the button on each page, and the urgent item leads to its release."""
    async with serving(lane.app) as address, browsers(lane, address) as enter:
        wang = await enter("王", "author", SMALL_PHONE)
        li = await enter("李", "approver", SMALL_PHONE, "dark")
        for name in ("王", "李"):
            await lane.store.duty.add(name, ADMIN, "内线 8112")
        await wang.goto(f"{address}/urgent")
        await wang.get_by_test_id("field-title").fill("假冒本局的转账电话")
        await wang.get_by_test_id("field-data.summary").fill(WORDS)
        await wang.get_by_test_id("field-topic-fraud").check(force=True)
        await wang.get_by_test_id("field-to-all").check()
        await wang.get_by_test_id("act-preview").click()
        await expect(wang.get_by_test_id("preview-weibo")).to_contain_text(
            WORDS, timeout=PATIENCE_MS
        )
        assert await is_read_first(wang, "act-send")
        assert await complaints(wang) == []
        await wang.get_by_test_id("act-send").click()
        await expect(wang.get_by_test_id("progress")).to_contain_text(
            "请 李", timeout=PATIENCE_MS
        )
        await li.get_by_test_id("menu-inbox").click()
        await expect(li.get_by_test_id("urgent").first).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert await complaints(li) == []
        await li.goto(f"{address}/approve/{POST}")
        assert await is_read_first(li, "act-release")
        assert await complaints(li) == []
        await li.get_by_test_id("act-release").click()
        await expect(li.get_by_test_id("page-urgent-release")).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert await is_read_first(li, "act-release")
        assert await complaints(li) == []
        await li.get_by_test_id("act-release").click()
        for page in (li, wang):
            await expect(page.get_by_test_id("progress")).to_contain_text(
                "补审", timeout=PATIENCE_MS
            )
