"""Two people approve on phone-sized pages of a real browser, and one of them approves a change."""

import asyncio
import contextlib
import socket
from datetime import timedelta

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from publisher.engine.planner import apply_schedule
from tests.cli.posts import warning
from tests.e2e.test_browser import BROWSER, SILENT
from tests.wait import PATIENCE_SECONDS, eventually
from tests.web.test_approve import TO_ALL, approving, write  # noqa: F401 # a fixture
from tests.web.test_bulk import plan_more

pytestmark = pytest.mark.long
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1440, "height": 900}
VIEWPORTS = [
    pytest.param(PHONE, id="phone"),
    pytest.param(DESK, id="desk", marks=pytest.mark.extra),
]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PATIENCE_MS = PATIENCE_SECONDS * 1000


@contextlib.asynccontextmanager
async def serving(app, port=0):
    """Serve a dashboard on a port, by default a free one; yield its address."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    running = asyncio.create_task(server.serve([listener]))
    await eventually(lambda: server.started, 60.0, "the server")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


@contextlib.asynccontextmanager
async def browsers(site, address):
    """Yield a function that opens an own browser profile.

    The profile is signed in by a new user's one-time link.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=SILENT)

        async def enter(name, grant, viewport, scheme="light"):
            context = await browser.new_context(viewport=viewport, color_scheme=scheme)
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            await page.goto(f"{address}/setup#{await site.add_user(name, grant)}")
            await page.get_by_test_id("act-begin").click()
            await page.get_by_test_id("act-enter").click()
            await expect(page.get_by_test_id("page-today")).to_be_visible(
                timeout=PATIENCE_MS
            )
            return page

        try:
            yield enter
        finally:
            await browser.close()


async def complaints(page):
    """Return the violations that axe finds on a page."""
    found = await Axe().run(page, options=WCAG)
    return [
        (violation["id"], violation["nodes"][0]["target"])
        for violation in found.response["violations"]
    ]


async def approve_from_inbox(page):
    """Open the inbox, the card and the text, and say yes, as with a thumb."""
    await page.get_by_test_id("menu-inbox").click()
    await page.get_by_test_id("act-open-refund").click()
    await page.get_by_test_id("act-approve").click()
    await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.skipif(
    BROWSER is None,
    reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
)
async def test_two_people_approve_a_text_and_its_change_on_a_phone(approving):  # noqa: F811 # the fixture
    """Four touches lead from Today to an approval on a phone.

    After an edit the second look shows the change alone. Axe has no complaint.
    """
    store = approving.store
    async with serving(approving.app) as address, browsers(approving, address) as enter:
        author, li = (
            await enter("zhang", "author", DESK),
            await enter("李", "approver", PHONE),
        )
        wang = await enter("王", "approver", PHONE, "dark")

        await author.goto(f"{address}/approve/refund")
        await expect(author.get_by_test_id("refusal")).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert await author.get_by_test_id("act-approve").count() == 0
        assert await complaints(author) == []

        await approve_from_inbox(li)
        [task] = await store.approvals.tasks("refund")
        assert [one.person for one in task.status.counted] == ["李"]

        await wang.get_by_test_id("menu-inbox").click()
        assert await complaints(wang) == []
        await wang.get_by_test_id("act-open-refund").click()
        assert await complaints(wang) == []
        await write(approving, words={"先挂断": "请先挂断"})
        await wang.get_by_test_id("act-approve").click()
        await expect(wang.get_by_test_id("problem-approve")).to_be_visible(
            timeout=PATIENCE_MS
        )
        [task] = await store.approvals.tasks("refund")
        assert task.status.counted == []

        await li.goto(f"{address}/approve/refund/changes")
        assert await li.locator(".words ins").first.inner_text() == "请"
        assert await complaints(li) == []
        await li.get_by_test_id("act-approve").click()
        await expect(li.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        await wang.get_by_test_id("act-approve").click()
        await expect(wang.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        [task] = await store.approvals.tasks("refund")
        assert (
            task.status.is_approved,
            [one.person for one in task.status.counted],
        ) == (
            True,
            ["李", "王"],
        )


async def test_a_second_tap_does_not_approve_the_next_post(approving):  # noqa: F811 # the fixture
    """After an approval the next text is shown: a tap at the same place decides nothing there."""
    await plan_more(approving)
    async with serving(approving.app) as address, browsers(approving, address) as enter:
        li = await enter("李", "approver", PHONE)
        await li.goto(f"{address}/approve/refund")
        button = li.get_by_test_id("act-approve")
        await expect(button).to_be_enabled(timeout=PATIENCE_MS)
        box = await button.bounding_box()
        place = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await li.mouse.click(*place)
        await li.wait_for_url(f"{address}/approve/p", wait_until="load")
        await li.mouse.click(*place)
        await expect(button).to_be_enabled(timeout=PATIENCE_MS)
        assert li.url == f"{address}/approve/p"
    tasks = await approving.store.approvals.tasks()
    counted = {task.key.post: len(task.status.counted) for task in tasks}
    assert counted == {"refund": 1, "p": 0, "q": 0}


@pytest.mark.skipif(
    BROWSER is None,
    reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
)
async def test_a_remark_is_written_on_a_phone_and_read_in_the_form(approving):  # noqa: F811 # the fixture
    """By keyboard alone: open the passages, the third one's remark, and send it back."""
    async with serving(approving.app) as address, browsers(approving, address) as enter:
        author, li = (
            await enter("zhang", "author", DESK),
            await enter("李", "approver", PHONE),
        )
        await li.goto(f"{address}/approve/refund")
        await li.locator("[data-testid=passages] > summary").press("Enter")
        await li.get_by_test_id("act-remark-3").press("Enter")
        await li.keyboard.press("Tab")
        await li.keyboard.type("请写明报警电话")
        assert await complaints(li) == []
        width = await li.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        await li.get_by_test_id("act-return-remarks").press("Enter")
        await expect(li.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        [task] = await approving.store.approvals.tasks("refund")
        [remark] = task.returned.remarks
        assert remark.text == "请写明报警电话"
        await author.goto(f"{address}/approve/refund")
        await author.get_by_test_id("act-edit").click()
        shown = author.get_by_test_id(f"remark-{remark.field}")
        await expect(shown).to_contain_text("请写明报警电话")
        assert await complaints(author) == []
        await author.get_by_test_id("field-signs").fill("来电能说出您的订单")
        await expect(shown).to_be_hidden(timeout=PATIENCE_MS)


async def test_what_is_ticked_is_counted_and_approved_at_once(approving):  # noqa: F811 # the fixture
    """The button says how many are ticked; one page has their texts. Axe has no complaint."""
    due = f"at = {approving.runtime.now() + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}Z"
    text = "\n".join(warning(name, due, TO_ALL) for name in ("refund", "p"))
    await apply_schedule(approving.application.planner, text, "schedule.toml")
    async with serving(approving.app) as address, browsers(approving, address) as enter:
        li = await enter("李", "approver", DESK)
        await li.goto(f"{address}/inbox")
        button = li.get_by_test_id("act-bulk-approve")
        await expect(button).to_be_disabled()
        for number, name in enumerate(("refund", "p"), 1):
            await li.get_by_test_id(f"tick-{name}").check()
            await expect(button).to_have_text(f"批准 {number} 条")
        assert await complaints(li) == []
        await button.click()
        await expect(li.get_by_test_id("confirm-approve-all")).to_contain_text(
            "批准 2 条"
        )
        assert await complaints(li) == []
        await li.get_by_test_id("confirm-approve-all").click()
        await expect(li.get_by_test_id("notice")).to_contain_text("已批准 2 条")
    tasks = await approving.store.approvals.tasks()
    assert [len(task.status.counted) for task in tasks] == [1, 1]
