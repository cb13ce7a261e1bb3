"""A picture is added in a real browser: what was typed stays, and so does the page."""

import json

import pytest
from PIL import Image
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.test_write import FILE, file, without_waiting  # noqa: F401 # fixtures

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


async def read_draft(page, site):
    """Return the fields of the draft that a page has in its address."""
    draft = await site.store.drafts.get(page.url.rpartition("/")[2], "李")
    return json.loads(draft.content)


async def test_an_added_picture_changes_nothing_else(site, file, tmp_path):  # noqa: F811 # the fixtures
    """The place, the preview and the last typed words stay, and the draft has the picture.

    Opening the page or choosing makes no draft. The list names the draft by its title.
    """
    Image.new("RGB", (3000, 1875), "navy").save(tmp_path / "wide.png")
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("李", "author", DESK)
        await page.goto(f"{address}/write")
        await page.get_by_text("尽快").click()
        await page.get_by_test_id("field-kind-bulletin").locator("..").click()
        async with page.expect_response("**/write/check"):
            await page.get_by_test_id("field-kind-warning").locator("..").click()
        assert await site.store.drafts.list("李") == []
        await page.get_by_test_id("field-title").fill("警惕刷单返利")
        await page.get_by_test_id("field-summary").fill("先垫钱的兼职都是诈骗")
        await expect(page.get_by_test_id("draft-status")).to_contain_text(
            "草稿已存", timeout=PATIENCE_MS
        )
        preview = page.get_by_test_id("preview-weibo")
        await page.get_by_test_id("field-picture").scroll_into_view_if_needed()
        await page.locator(".more-fields summary").click()
        await page.get_by_test_id("field-picture").scroll_into_view_if_needed()
        before = await page.evaluate("scrollY")
        assert before > 100
        await page.get_by_test_id("field-summary").evaluate(
            "(field) => { field.value = '最后一秒写的，先垫钱的兼职都是诈骗'; }"
        )
        await page.get_by_test_id("field-picture").set_input_files(
            tmp_path / "wide.png"
        )
        await expect(page.get_by_test_id("field-alt-1")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await expect(preview).to_contain_text("最后一秒写的")
        assert await page.evaluate("scrollY") == before
        kept = await read_draft(page, site)
        assert kept["data.summary"] == ["最后一秒写的，先垫钱的兼职都是诈骗"]
        assert len(kept["image_file"]) == 1
        await page.get_by_test_id("field-alt-1").fill("四个步骤")
        assert await complaints(page) == []
        # the page is left within a moment of the last word
        await page.goto(f"{address}/write")
        await page.locator(".drafts summary").click()
        await page.get_by_role("link", name="警惕刷单返利").click()
        await expect(page.get_by_test_id("field-alt-1")).to_have_value("四个步骤")
        await expect(page.get_by_test_id("preview-weibo")).to_contain_text("最后一秒")
        width = await page.locator(".thumbnail").evaluate(
            "(image) => image.decode().then(() => image.naturalWidth)"
        )
        assert width == 3000
