"""Pictures in a real browser: what was typed stays, covers are cut, others are chosen again."""

import json

import pytest
from PIL import Image
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    VIEWPORTS,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.test_library import PATHS, library  # noqa: F401 # the fixture
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
    draft = await site.store.drafts.get(
        page.url.rpartition("/")[2].partition("#")[0], "李"
    )
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
        await page.locator(".more-fields:not([data-testid=regions]) > summary").click()
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
        assert width < 400


async def add_pictures(page, folder, *sizes):
    """Add a picture of each size to the open form."""
    await page.locator(".more-fields:not([data-testid=regions]) > summary").click()
    for number, size in enumerate(sizes, 1):
        drawn = folder / f"{number}.png"
        Image.new("RGB", size, ("navy", "olive", "maroon")[number % 3]).save(drawn)
        await page.get_by_test_id("field-picture").set_input_files(drawn)
        await expect(page.locator(".picture-row")).to_have_count(
            number, timeout=PATIENCE_MS
        )


READ_BOX = """(svg) => {
  const { x, y, width, height } = svg.viewBox.baseVal;
  const shown = svg.clientWidth / svg.clientHeight / (width / height);
  return { box: [x, y, width, height].map(Math.round), isInRatio: Math.abs(shown - 1) < 0.02 };
}"""


@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_a_cover_is_cut_and_pictures_change_places(
    site,
    file,  # noqa: F811
    tmp_path,
    viewport,
):
    """Keys and a finger cut the first picture, and the draft has the cut and the order.

    Another picture becomes the cover by its button, without a mouse.
    """
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("李", "author", viewport)
        await page.goto(f"{address}/write")
        await page.get_by_test_id("field-title").fill("警惕刷单返利")
        await add_pictures(page, tmp_path, (800, 400), (400, 800))
        files = await page.locator("[name=image_file]").evaluate_all(
            "(all) => all.map((each) => each.value)"
        )
        await page.get_by_test_id("crop-1").locator("summary").click()
        wide = page.get_by_test_id("crop-1").get_by_test_id("cover-wide")
        square = page.get_by_test_id("crop-1").get_by_test_id("cover-square")
        assert (await wide.evaluate(READ_BOX)) == {
            "box": [0, 30, 800, 340],
            "isInRatio": True,
        }
        await page.get_by_test_id("field-wide-y-1").focus()
        await page.keyboard.press("Home")
        assert (await wide.evaluate(READ_BOX))["box"] == [0, 0, 800, 340]
        await square.scroll_into_view_if_needed()
        place = await square.bounding_box()
        middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        await page.mouse.move(*middle)
        await page.mouse.down()
        await page.mouse.move(middle[0] - 1000, middle[1])
        async with page.expect_response("**/write/check"):
            await page.mouse.up()
        assert (await square.evaluate(READ_BOX)) == {
            "box": [400, 0, 400, 400],
            "isInRatio": True,
        }
        await page.get_by_test_id("act-down-1").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("[name=image_file]").first).to_have_value(files[1])
        assert await page.evaluate("document.activeElement.name") == "move"
        await expect(page.get_by_test_id("crop-1")).to_be_hidden()
        await page.get_by_test_id("act-draft").click()
        await expect(page.locator("[name=image_file]").first).to_have_value(files[1])
        kept = await read_draft(page, site)
        assert kept["image_file"] == files[::-1]
        assert kept[f"crop.{files[0]}"] == ["50", "0", "100", "100", "50", "100"]
        assert await complaints(page) == []


async def test_a_picture_is_chosen_from_the_library(site, library):  # noqa: F811
    """The form is as it was when the writer comes back, with the picture in it."""
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("李", "author", PHONE)
        await page.goto(f"{address}/write")
        await page.get_by_test_id("field-title").fill("警惕刷单返利")
        await page.locator(".more-fields:not([data-testid=regions]) > summary").click()
        await page.get_by_test_id("act-library").click()
        await page.get_by_test_id("field-library").fill("冒充")
        await page.keyboard.press("Enter")
        await expect(page.locator(".library-picture")).to_have_count(1)
        assert await complaints(page) == []
        choose = page.get_by_test_id("act-choose")
        await expect(choose).to_be_disabled()
        await page.get_by_test_id("library-1").click()
        await expect(choose).to_have_text("加上这 1 张")
        await choose.click()
        await expect(page.get_by_test_id("field-alt-1")).to_have_value("冒充客服")
        await expect(page.get_by_test_id("field-title")).to_have_value("警惕刷单返利")
        assert (await read_draft(page, site))["image_file"] == [PATHS["shanghai"]]
