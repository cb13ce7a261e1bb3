"""Open pages follow changes in a real browser: nothing loads again, and nothing moves."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from playwright.async_api import expect

from publisher.domain.delivery import State
from publisher.engine.decisions import named_person
from publisher.web import live
from publisher.web.kit.site import BEAT_SECONDS
from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    browsers,
    complaints,
    serving,
)
from tests.cli.posts import warning
from tests.e2e.test_browser import BROWSER
from tests.wait import PATIENCE_SECONDS, eventually
from tests.web.posts import POST, SOON, plan, set_state

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]
LI = named_person("李")
SAY_WHEN_HTMX_BEGAN = """
let htmx;
Object.defineProperty(window, "htmx", {
  get: () => htmx,
  set: (value) => { htmx = value; setTimeout(window.htmxBegan); },
});
"""
"""htmx sets a timer for its beginning; the timer set here fires after that one."""


async def open_live(page, address, test_id):
    """Open a page and mark it; return an element's distance from its top.

    By the mark a reload would be noticed.
    """
    async with page.expect_response(
        lambda answer: "/events" in answer.url, timeout=PATIENCE_MS
    ):
        await page.goto(address)
    await page.evaluate("window.isStillHere = true")
    box = await page.get_by_test_id(test_id).bounding_box()
    return box["y"]


async def test_open_pages_change_in_place(site):  # the fixture
    """A post's row, an account's cell and a thing to do change where they are.

    New things are announced below.
    """
    await plan(site, POST)
    await site.store.actions.register_worker()
    await site.store.actions.pause(
        "account:shanghai-weibo", named_person("王"), "换密码"
    )
    async with serving(site.app) as address, browsers(site, address) as enter:
        post = await enter("张", "operator", DESK)
        inbox, accounts = await post.context.new_page(), await post.context.new_page()
        row = "delivery-refund-beijing-tieba"
        task = "todo-account-shanghai-weibo"
        card = "account-shanghai-weibo"
        places = [
            await open_live(post, f"{address}/posts/refund?tab=all", row),
            await open_live(inbox, f"{address}/inbox", task),
            await open_live(accounts, f"{address}/accounts", card),
        ]
        site.runtime.advance_time(timedelta(seconds=1))
        await set_state(
            site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1
        )
        await site.store.actions.resume("account:shanghai-weibo", LI)
        await site.store.actions.pause("account:beijing-weibo", LI, "看一看")
        site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
        await expect(post.get_by_test_id(row)).to_contain_text(
            "等待人工处理", timeout=PATIENCE_MS
        )
        await expect(inbox.get_by_test_id(task)).to_contain_text(
            "李", timeout=PATIENCE_MS
        )
        await expect(inbox.get_by_test_id("act-news")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await expect(accounts.get_by_test_id(card)).to_contain_text(
            "李", timeout=PATIENCE_MS
        )
        await expect(accounts.get_by_test_id("act-news")).to_be_visible(
            timeout=PATIENCE_MS
        )
        shown = [(post, row), (inbox, task), (accounts, card)]
        assert [
            (await page.get_by_test_id(name).bounding_box())["y"]
            for page, name in shown
        ] == places
        assert [await page.evaluate("window.isStillHere") for page, _name in shown] == [
            True
        ] * 3
        assert [await complaints(page) for page, _name in shown] == [[], [], []]

        await inbox.get_by_test_id("act-news").click()
        await expect(inbox.get_by_test_id("todo-account-beijing-weibo")).to_be_visible(
            timeout=PATIENCE_MS
        )


async def test_a_list_that_was_empty_shows_what_comes(site):  # the fixture
    """An empty list does not stand below a number of things to do: it is loaded by itself."""
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        inbox = await enter("张", "operator", DESK)
        async with inbox.expect_response(
            lambda answer: "/events" in answer.url, timeout=PATIENCE_MS
        ):
            await inbox.goto(f"{address}/inbox")
        await expect(inbox.locator("[data-load-news]")).to_be_visible()
        await site.store.actions.pause(
            "account:shanghai-weibo", named_person("王"), "换密码"
        )
        site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
        task = inbox.get_by_test_id("todo-account-shanghai-weibo")
        await expect(task).to_be_visible(timeout=PATIENCE_MS)


async def test_a_slow_script_keeps_no_page_from_its_stream(site):  # the fixture
    """htmx waits for its extension, however late that comes."""
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        began = asyncio.Event()

        async def send_late(route):
            await began.wait()
            await route.continue_()

        await page.expose_function("htmxBegan", began.set)
        await page.add_init_script(SAY_WHEN_HTMX_BEGAN)
        await page.context.route("**/hx-sse.min.js", send_late)
        await open_live(page, f"{address}/inbox", "page-inbox")
        assert began.is_set()


async def test_an_open_page_says_that_it_is_not_kept_up_to_date(site):  # the fixture
    """An open page says that its first connection failed, and no more that the system runs.

    Once the session has ended, it asks the person to sign in again.
    """
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        cut_off, signed_out = (
            page.get_by_test_id(f"banner-{name}") for name in ("cut-off", "signed-out")
        )
        await page.route(
            "**/events?*", lambda route: route.fulfill(status=502, body="<p>proxy</p>")
        )
        await page.goto(f"{address}/today")
        await expect(cut_off).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_test_id("beat")).to_contain_text("情况不明")
        await page.unroute("**/events?*")
        await open_live(page, f"{address}/today", "verdict")
        await expect(cut_off).to_be_hidden()
        [cookie] = [
            each
            for each in await page.context.cookies()
            if each["name"].endswith("publisher_session")
        ]
        await site.store.sign_ins.end_session(cookie["value"], LI)
        site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
        await expect(signed_out).to_be_visible(timeout=PATIENCE_MS)
        await expect(cut_off).to_be_hidden()
        assert await complaints(page) == []


async def test_a_stream_that_falls_silent_is_opened_again(
    site, monkeypatch
):  # the fixture
    """A silent stream makes the page say so, and then show the present state.

    The connection stands, and nothing comes, not even a ping.
    """
    is_cut, sent = asyncio.Event(), list[str]()
    monkeypatch.setattr(live, "PING_SECONDS", 3600)
    monkeypatch.setattr(
        live, "follow", partial(follow_until, live.follow, is_cut, sent)
    )
    await plan(site, POST)
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        await page.clock.install()
        row = page.get_by_test_id("delivery-refund-beijing-tieba")
        cut_off = page.get_by_test_id("banner-cut-off")
        await open_live(
            page, f"{address}/posts/refund?tab=all", "delivery-refund-beijing-tieba"
        )
        await eventually(lambda: sent[-1] == "beat", PATIENCE_SECONDS, "the first beat")
        is_cut.set()
        streams = sent.count("stream")
        await set_state(
            site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1
        )
        await page.clock.fast_forward("00:31")
        await expect(cut_off).to_be_visible(timeout=PATIENCE_MS)
        await eventually(
            lambda: sent.count("stream") > streams,
            PATIENCE_SECONDS,
            "a stream that is as silent",
        )
        is_cut.clear()
        site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
        await expect(row).not_to_contain_text("等待人工处理")
        await page.clock.fast_forward("00:31")
        await expect(row).to_contain_text("等待人工处理", timeout=PATIENCE_MS)
        await expect(cut_off).to_be_hidden()
        assert await page.evaluate("window.isStillHere")
        assert await complaints(page) == []


async def follow_until(follow, is_cut, sent, *arguments, **options):
    """Stream the changes of a page and note the sent ones.

    Once the line is cut nothing comes any more, and no end.
    """
    sent.append("stream")
    async for event in follow(*arguments, **options):
        if is_cut.is_set():
            await asyncio.Event().wait()
        yield event
        sent.append(event.event or "frame")


async def test_a_dialog_that_is_open_keeps_what_is_typed(site):  # the fixture
    """An open dialog keeps its typed reason and its focus.

    Its numbers are the current ones. A button without further use keeps its place.
    """
    await plan(site, POST)
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        await open_live(page, f"{address}/posts/refund", "act-pause-post")
        place = await page.get_by_test_id("act-pause-post").bounding_box()
        await page.get_by_test_id("act-cancel").click()
        dialog = page.locator("dialog[open]")
        reason = dialog.get_by_test_id("field-reason")
        await reason.press_sequentially("写错")
        await set_state(site, State.PUBLISHED, "beijing-tieba", attempts=1)
        await site.store.actions.pause("post:refund", LI, "")
        site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
        await expect(dialog).to_contain_text("还没发的 3 个不再发", timeout=PATIENCE_MS)
        await reason.press_sequentially("了")
        await expect(reason).to_have_value("写错了")
        await expect(page.get_by_test_id("act-pause-post")).to_have_attribute(
            "aria-disabled", "true"
        )
        await page.keyboard.press("Escape")
        assert await page.get_by_test_id("act-pause-post").bounding_box() == place
        assert await complaints(page) == []


@pytest.mark.parametrize("regions", [13])
async def test_a_seat_says_its_name_and_leads_to_its_delivery(site):  # the fixture
    """The pointer and the arrow keys show the name of a seat.

    Enter opens the delivery, and a click opens the post on that platform.
    """
    await plan(site, warning("refund", when=SOON))
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(
        site, State.HELD, "shanghai-tieba", reason="uncheckable", attempts=1
    )
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        await page.goto(f"{address}/today")
        seats, hint = (
            page.get_by_test_id("map-refund-tieba"),
            page.locator("#seat-hint"),
        )
        await seats.hover(position={"x": 20, "y": 7})
        pointed = await hint.text_content()
        await page.mouse.move(0, 0)
        await expect(hint).to_be_hidden()
        await seats.focus()
        await page.keyboard.press("ArrowDown")
        first = await hint.text_content()
        for key in ("ArrowDown", "ArrowUp", "ArrowRight"):
            await page.keyboard.press(key)
        typed = await hint.text_content()
        assert pointed == typed == "上海　要人处理"
        assert first.startswith("北京")
        assert await complaints(page) == []
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("page-delivery")).to_contain_text(
            "上海", timeout=PATIENCE_MS
        )
        await page.go_back()
        await page.get_by_test_id("map-refund-tieba").click(position={"x": 3, "y": 3})
        await expect(page.get_by_test_id("page-post")).to_be_visible(
            timeout=PATIENCE_MS
        )


async def test_a_page_that_had_to_make_room_says_so(site):  # the fixture
    """Of too many open pages the oldest says that it is no longer kept up to date.

    It does not connect again.
    """
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("张", "operator", DESK)
        await open_live(page, f"{address}/today", "verdict")
        [[stream]] = site.app.state.site.streams.by_user.values()
        stream.is_displaced = True
        await expect(page.get_by_test_id("banner-displaced")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await expect(page.get_by_test_id("banner-cut-off")).to_be_hidden()
        assert site.app.state.site.streams.by_user == {}
        assert await complaints(page) == []
