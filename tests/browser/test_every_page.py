"""Every page in a real browser: axe finds nothing, none is wider than the screen, and open pages stay live."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from publisher.domain.delivery import Actor, Role
from publisher.domain.post import PostId
from publisher.domain.user import parse_grant
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.routes import ROUTES
from tests.browser.test_approval_story import DESK, PATIENCE_MS, PHONE, browsers, complaints, serving
from tests.e2e.test_browser import BROWSER

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none"),
]
SCREENS = Path(__file__).resolve().parents[2] / "build" / "screens"
ALL_ROLES = ("author", "approver", "operator", "auditor", "admin")
LOOKS = [
    (DESK, "light", "zh_CN"),
    (DESK, "dark", "en"),
    (PHONE, "light", "en"),
    (PHONE, "dark", "zh_CN"),
]
"""Each width, theme and language with each other one."""
NO_PAGES = {"/", "/events", "/audit/export"}
BY = Actor(role=Role.PERSON, name="值班")


def page_paths():
    """Return the pages that need no name of a thing."""
    found = {
        route.path
        for route in ROUTES
        if route.method == "GET" and route.permission is not None and "{" not in route.path
    }
    return sorted(found - NO_PAGES)


async def arrange(site):
    """File a post that is published soon, one that is due later, and an account that waits for a person."""
    accounts, now = list(site.store.policies), site.runtime.now()
    await enqueue_posts(
        site.store.posts,
        make_post("soon", accounts, now + timedelta(minutes=10), title="警惕冒充公检法诈骗", is_urgent=True),
        make_post("later", accounts[:1], now + timedelta(hours=5), title="每周反诈提示"),
    )
    await site.store.actions.register_worker()
    await site.store.actions.pause(f"account:{accounts[0]}", BY, "密码被改")


@pytest.mark.long(seconds=60)
@pytest.mark.parametrize(("viewport", "theme", "lang"), LOOKS)
async def test_no_page_shuts_anybody_out(site, viewport, theme, lang):
    """In this look axe (WCAG 2.2 AA) has no complaint about any page, and no page scrolls sideways."""
    await arrange(site)
    SCREENS.mkdir(parents=True, exist_ok=True)
    found, wide = {}, []
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("全", "viewer", viewport)
        await site.store.users.change_grants("全", [parse_grant(role) for role in ALL_ROLES], BY)
        for path in page_paths():
            await page.goto(f"{address}{path}?lang={lang}&theme={theme}")
            if complaint := await complaints(page):
                found[path] = complaint
            if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wide.append(path)
            name = path.strip("/").replace("/", "-")
            await page.screenshot(path=SCREENS / f"{name}-{viewport['width']}-{theme}-{lang}.png", full_page=True)
    assert found == {}
    assert wide == []


async def test_a_row_changes_without_a_reload(site):
    """What somebody else does appears on an open page in place, and the sign-in of its reader is not asked again."""
    await arrange(site)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("看", "viewer", DESK)
        row = page.get_by_test_id("row-later")
        await expect(row).to_contain_text("未到时间", timeout=PATIENCE_MS)
        await page.evaluate("window.isSamePage = true")
        await site.store.actions.cancel_post(PostId("later"), BY, "改期")
        await advance(site, lambda: row.get_by_text("已了结").count())
        await site.store.actions.pause("all", BY, "演练")
        await advance(site, page.get_by_test_id("banner-paused").count)
        assert await page.evaluate("window.isSamePage")


async def test_everything_is_paused_by_two_presses_of_a_key(site):
    """With the keyboard alone: the button opens the dialog with its reason focused, and Enter pauses."""
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.get_by_test_id("act-pause").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#pause-dialog [data-testid=field-reason]")).to_be_focused(timeout=PATIENCE_MS)
        assert await complaints(page) == []
        await page.keyboard.type("账号疑似被盗用")
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("banner-paused")).to_contain_text("账号疑似被盗用", timeout=PATIENCE_MS)
    [pause] = await site.store.queries.pauses()
    assert (pause.scope, pause.by) == ("all", "王")


async def advance(site, condition):
    """Let time pass, second by second, until something is on the page."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await condition():
            site.runtime.advance_time(timedelta(seconds=1))
            await site.store.actions.heartbeat()
            await asyncio.sleep(0.1)  # the browser does not say when its page has changed
