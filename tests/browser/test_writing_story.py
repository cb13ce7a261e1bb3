"""Two people write in a real browser.

Both change one post, and a sign-in ends in the middle of a sentence.
"""

import asyncio
import tomllib
from datetime import timedelta

import pytest
from playwright.async_api import expect

from publisher.engine.planner import apply_schedule
from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    browsers,
    complaints,
    serving,
)
from tests.cli.posts import warning
from tests.e2e.test_browser import BROWSER
from tests.web.test_sign_in import PASSWORD, add_activated
from tests.web.test_write import FILE, file, without_waiting  # noqa: F401 # fixtures

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]


TYPE = """(field, words) => {
  field.value = `转账之前，先${words}`;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""
"""Changes a field as typing does, but for the focus."""


async def read_posts(path):
    return tomllib.loads(await asyncio.to_thread(path.read_text, "utf-8"))["post"]


async def see_each_preview(page):
    """See that the arrow keys go from one platform's preview to the next.

    A check takes the focus from nothing.
    """
    frames = [
        page.get_by_test_id(f"preview-{platform}") for platform in ("weibo", "wechat")
    ]
    await expect(frames[1]).to_be_hidden()
    await page.get_by_test_id("tab-weibo").focus()
    await page.keyboard.press("ArrowRight")
    for words in ("当面核实", "不要着急"):
        await page.get_by_test_id("field-summary").evaluate(TYPE, words)
        await expect(frames[0]).to_contain_text(words, timeout=PATIENCE_MS)
        await expect(page.get_by_test_id("tab-wechat")).to_be_focused()
        await expect(page.get_by_role("tab", selected=True)).to_have_text("公众号")
        assert [await frame.is_visible() for frame in frames] == [False, True]
    await frames[1].get_by_role("group").focus()
    await page.get_by_test_id("field-summary").evaluate(TYPE, "停一停")
    await expect(frames[0]).to_contain_text("停一停", timeout=PATIENCE_MS)
    await expect(frames[1].get_by_role("group")).to_be_focused()


async def test_two_people_change_one_post_and_settle_it(site, file):  # noqa: F811 # the fixtures
    """The second person sees the differences and chooses, and both changes are in the file.

    The right button of the second person is down.
    """
    async with serving(site.app) as address, browsers(site, address) as enter:
        wang, li = (
            await enter("王", "author", DESK),
            await enter("李", "author", PHONE, "dark"),
        )
        for page in (wang, li):
            await page.goto(f"{address}/posts/weekly/edit")
        await li.get_by_test_id("field-title").fill("李改过的标题")
        await li.get_by_test_id("act-save").click()
        await expect(li.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        await wang.get_by_test_id("field-title").hover()
        await wang.mouse.down(button="right")  # a menu may swallow that it is let go
        await wang.get_by_test_id("field-title").fill("王改过的标题")
        await wang.get_by_test_id("field-summary").fill("转账之前，先当面核实")
        await expect(wang.get_by_test_id("preview-weibo")).to_contain_text(
            "当面核实", timeout=PATIENCE_MS
        )
        await see_each_preview(wang)
        assert await complaints(wang) == []
        await wang.get_by_test_id("act-save").click()
        await expect(wang.get_by_test_id("page-conflict")).to_contain_text(
            "李", timeout=PATIENCE_MS
        )
        assert await complaints(wang) == []
        await wang.get_by_test_id("conflict-title").get_by_text("李改过的标题").click()
        await wang.get_by_test_id("act-save").click()
        await expect(wang.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
    [post] = await read_posts(file)
    assert (post["title"], post["data"]["summary"]) == (
        "李改过的标题",
        "转账之前，先停一停",
    )


async def test_a_sign_in_that_ends_while_somebody_writes_loses_no_word(site, file):  # noqa: F811 # the fixtures
    """The page says that the sign-in has ended, and keeps the form.

    A form sent then comes back after the sign-in, is read again, and is saved.
    """
    await add_activated(site, "王")
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("李", "author", PHONE)
        await page.get_by_test_id("menu-write").click()
        await page.get_by_text("尽快").click()
        await page.get_by_test_id("field-title").fill("警惕刷单返利")
        await expect(page.get_by_test_id("draft-status")).to_contain_text(
            "草稿已存", timeout=PATIENCE_MS
        )
        site.runtime.advance_time(timedelta(hours=13))
        await page.get_by_test_id("field-summary").fill("先垫钱的兼职都是诈骗")
        await expect(page.get_by_test_id("banner-signed-out")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await page.get_by_test_id("act-save").click()
        await page.get_by_test_id("field-name").fill("王")
        await page.get_by_test_id("field-password").fill(PASSWORD)
        await page.get_by_test_id("act-login").click()
        await page.get_by_test_id("act-resume-form").click()
        await expect(page.get_by_test_id("field-title")).to_have_value("警惕刷单返利")
        await page.get_by_test_id("act-save").click()
        await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
    [_weekly, post] = await read_posts(file)
    assert (post["title"], post["data"]["summary"]) == (
        "警惕刷单返利",
        "先垫钱的兼职都是诈骗",
    )


async def test_a_post_dragged_to_another_hour_is_saved_with_that_time(site, file):  # noqa: F811 # the fixtures
    """The mouse moves it to another cell of the week, and Undo moves it back."""
    text = f"{FILE}\n{warning('refund', when='at = 2026-11-26T10:00:00+08:00')}"
    await asyncio.to_thread(file.write_text, text, "utf-8")
    await apply_schedule(site.application.planner, text, file.name)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.goto(f"{address}/calendar/week?from=2026-11-26")
        entry = page.locator("table [data-at][href='/posts/refund']")
        await entry.drag_to(page.locator("[data-day='2026-11-27'][data-hour='14']"))
        await expect(page.get_by_test_id("notice")).to_contain_text(
            "14:00", timeout=PATIENCE_MS
        )
        [_weekly, moved] = await read_posts(file)
        await page.get_by_test_id("act-undo").click()
        await expect(page.get_by_test_id("notice")).to_contain_text(
            "10:00", timeout=PATIENCE_MS
        )
        [_weekly, undone] = await read_posts(file)
    assert [f"{post['at']:%d %H:%M}" for post in (moved, undone)] == [
        "27 14:00",
        "26 10:00",
    ]


async def test_a_lost_network_is_said_and_loses_no_word(site, file):  # noqa: F811 # the fixtures
    """A page without a network says so, sends nothing and stays; it says when the network is back.

    Neither a click on a link nor one on the button leaves the page with what was typed.
    """
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.goto(f"{address}/posts/weekly/edit")
        await page.get_by_test_id("field-title").fill("没有网时的标题")
        await page.context.set_offline(True)
        await expect(page.get_by_test_id("banner-offline")).to_be_visible(timeout=3_000)
        await page.get_by_test_id("field-summary").fill("先当面核实")
        await expect(page.get_by_test_id("beat")).to_be_hidden()
        for name in ("act-save", "menu-today"):
            await page.get_by_test_id(name).dispatch_event("click")
        await expect(page.get_by_test_id("act-save")).to_have_attribute(
            "aria-disabled", "true"
        )
        assert page.url == f"{address}/posts/weekly/edit"
        await page.context.set_offline(False)
        await expect(page.get_by_test_id("banner-back-online")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await expect(page.get_by_test_id("banner-offline")).to_be_hidden()
        await expect(page.get_by_test_id("field-title")).to_have_value("没有网时的标题")
        await page.get_by_test_id("act-save").click()
        await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
    [post] = await read_posts(file)
    assert (post["title"], post["data"]["summary"]) == (
        "没有网时的标题",
        "先当面核实",
    )


async def test_a_machine_without_a_network_still_reaches_its_own_dashboard(site):
    """What the browser says of the network counts for nothing while the dashboard answers."""
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        async with page.expect_response("**/healthz"):
            await page.evaluate("dispatchEvent(new Event('offline'))")
        await expect(page.get_by_test_id("banner-offline")).to_be_hidden()
