"""Every page in a real browser: axe finds nothing and open pages stay live.

No page is wider than the screen.
"""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from PIL import Image
from playwright.async_api import expect

from publisher.domain.delivery import MAINTENANCE, Actor, Role, State
from publisher.domain.post import PostId
from publisher.domain.user import parse_grant
from publisher.i18n import LANGUAGES
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.routes import ROUTES
from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    WCAG,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.posts import set_state
from tests.web.test_approve import approving, write  # noqa: F401 # a fixture

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]
SCREENS = os.environ.get("PUBLISHER_SCREENS")
"""A folder that keeps a picture of every page in every look, if it is set."""
ALL_ROLES = ("author", "approver", "operator", "auditor", "admin")
LOOKS = [[(DESK, "light"), (PHONE, "dark")], [(DESK, "dark"), (PHONE, "light")]]
"""Widths and themes that an open page takes in turn: each list has all of them."""
SUM_OF_SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 500);
})"""
"""The distance that parts of a page have moved since it was opened.

The half second of an observer's delay is included.
"""
LOAD_PICTURES = """() => {
  for (const each of document.querySelectorAll("details")) each.open = true;
  return Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode();
  }));
}"""
STRETCHED = """() => [...document.images]
  .map(({ width, height, naturalWidth, naturalHeight }) =>
    ({ width, height, ratio: (width / height) / (naturalWidth / naturalHeight) }))
  .filter(({ ratio }) => Math.abs(ratio - 1) > 0.02)"""
"""The pictures of a page that are not shown in their own ratio of width to height."""
SHIFT_OF_A_CLOCK = 0.0001
"""The limit of a shift by a time that changes a digit and moves the text beside it.

A line that moves is a hundred times as much.
"""
LOADED = """() => performance.getEntriesByType("resource")
  .filter((each) => each.transferSize > 0 && !each.name.includes("/events"))\
.map((each) => each.name)"""
"""The loads of a page besides itself and the stream.

Files kept by its browser do not count.
"""
NO_PAGES = {
    "root",
    "events",
    "open_sign_in_link",
    "export_audit",
    "healthz",
    "metrics",
    "draft_article",
    "draft_picture",
    "article",
    "media",
}
PAGES_WITH_PICTURES = (
    "/approve/refund",
    "/posts/refund",
    "/posts/refund/texts",
    "/posts/refund/edit",
    "/deliveries/refund/once/beijing-weibo",
)
SEEN_ELSEWHERE = {"draft", "occurrence", "occurrence_texts", "login_code"}
"""Pages that look as other, shown pages do."""
REFUSED = {
    "resolve_form",
    "resend_form",
    "evergreen_form",
    "bulk_approve",
    "bulk_retract",
    "bulk_move",
}
"""Forms that the state of the post does not allow, or without a ticked post.

The page of a refusal stands there.
"""
BY = Actor(role=Role.PERSON, name="值班")


def page_paths(names):
    """Return the paths of all pages, with the known name of each thing.

    The pages before a sign-in come last.
    """
    paths = [
        route
        for route in ROUTES
        if route.method == "GET" and route.name not in NO_PAGES | SEEN_ELSEWHERE
    ]
    paths.sort(key=lambda route: route.permission is None)
    return {route.path.format(**names): route for route in paths}


async def arrange(site):
    """File posts in several states, and an account that waits for a person."""
    accounts, now = list(site.store.policies), site.runtime.now()
    await enqueue_posts(
        site.store.posts,
        make_post(
            "soon",
            accounts,
            now + timedelta(minutes=10),
            title="警惕冒充公检法诈骗",
            is_urgent=True,
        ),
        make_post(
            "later", accounts[:1], now + timedelta(hours=5), title="每周反诈提示"
        ),
    )
    await site.store.actions.register_worker()
    await site.store.actions.pause(f"account:{accounts[0]}", BY, "密码被改")
    for policy in site.store.policies.values():
        if policy.account.platform == "wechat":
            await site.store.actions.pause_account(
                policy.account, MAINTENANCE, "wechat_40164"
            )


async def text_of(site, post, account):
    """Return the fingerprint of the text of a post on an account."""
    [delivery] = [
        one
        for one in await site.store.queries.deliveries(post)
        if one.account == account
    ]
    return delivery.rendered_hash


async def look_at(page, name, looks):
    """Return the faults of an open page in each look.

    The pictures of the looks have this name.
    """
    wrong = []
    await page.evaluate(Axe().axe_script)
    for viewport, theme in looks:
        await page.set_viewport_size(viewport)
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found = await page.evaluate(
            "options => axe.run(options)", {**WCAG, "resultTypes": ["violations"]}
        )
        look = f"{viewport['width']}-{theme}"
        wrong += [
            (look, each["id"], each["nodes"][0]["target"])
            for each in found["violations"]
        ]
        if await page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        ):
            wrong.append((look, "wide"))
        if SCREENS:
            await page.screenshot(
                path=Path(SCREENS, f"{name}-{look}.png"),
                full_page=True,
                animations="disabled",
            )
    return wrong


@pytest.mark.long(seconds=60)
@pytest.mark.parametrize(
    ("lang", "looks"),
    [
        pytest.param(lang, looks, marks=pytest.mark.extra if row + column else ())
        for row, lang in enumerate(LANGUAGES)
        for column, looks in enumerate(LOOKS)
    ],
)
async def test_no_page_shuts_anybody_out(approving, lang, looks):  # noqa: F811 # the fixture
    """In both themes and widths axe (WCAG 2.2 AA) has no complaint about any page.

    No page scrolls sideways.

    Each page takes two looks, which have each width and each theme once. The other language and
    looks are for releases.
    """
    site = approving
    await arrange(site)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    await set_state(site, State.RETRACTING, "beijing-wechat", attempts=1)
    names = {
        "post": "refund",
        "occurrence": "once",
        "account": "beijing-tieba",
        "platform": "wechat",
        "name": "全",
        "fingerprint": await text_of(site, "refund", "beijing-wechat"),
    }
    link = await site.add_user("新", "author")
    found, refused = {}, set()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("全", "viewer", DESK)
        await site.store.users.change_grants(
            "全", [parse_grant(role) for role in ALL_ROLES], BY
        )
        for path, route in page_paths(names).items():
            if route.permission is None:
                await page.context.clear_cookies()
            if route.name == "setup_form":
                await page.goto(f"{address}/setup#{link}")
                await page.get_by_test_id("act-begin").click()
                await expect(page.get_by_test_id("page-setup")).to_be_visible(
                    timeout=PATIENCE_MS
                )
            response = await page.goto(f"{address}{path}?lang={lang}")
            if not response.ok:
                refused.add(route.name)
            if wrong := await look_at(page, f"{route.name}-{lang}", looks):
                found[path] = wrong
    assert found == {}
    assert refused == REFUSED


@pytest.mark.long(seconds=15)
async def test_no_picture_is_stretched(approving):  # noqa: F811 # the fixture
    """A picture far wider than a phone keeps its ratio wherever a text is shown."""
    site = approving
    media = site.application.settings.workspace / "media"
    media.mkdir(exist_ok=True)
    Image.new("RGB", (3000, 1875), "navy").save(media / "wide.png")
    picture = 'images = [{ file = "media/wide.png", alt = "四个步骤" }]'
    await write(site, words={"[post.data]": f"{picture}\n[post.data]"})
    shown, stretched = 0, {}
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("批", "approver", DESK)
        for path in PAGES_WITH_PICTURES:
            await page.goto(f"{address}{path}")
            await page.evaluate(LOAD_PICTURES)
            shown += await page.evaluate("document.images.length")
            for viewport in (DESK, PHONE):
                await page.set_viewport_size(viewport)
                if wrong := await page.evaluate(STRETCHED):
                    stretched[path, viewport["width"]] = wrong
    assert shown > len(PAGES_WITH_PICTURES)
    assert stretched == {}


async def test_days_of_another_month_can_be_read(site):
    """Axe has no complaint about a post on a day of the next month, on any date.

    A month shows some days of the next one.
    """
    december = site.runtime.now() + timedelta(days=6)
    await enqueue_posts(
        site.store.posts, make_post("next", list(site.store.policies)[:1], december)
    )
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("看", "viewer", DESK)
        await page.goto(f"{address}/calendar")
        await expect(page.locator(".other .entry-of-day")).to_have_count(1)
        assert (
            await look_at(
                page, "calendar-december", [look for looks in LOOKS for look in looks]
            )
            == []
        )


async def test_a_row_changes_without_a_reload(site):
    """An action of another person appears on an open page in place.

    The sign-in of the page's reader is not asked again.
    """
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


async def test_a_page_loads_little_and_stays_where_it_is(site):
    """A first visit takes six requests, a later one takes one, the stream aside.

    No line moves once a page has loaded.
    """
    await arrange(site)
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("看", "viewer", DESK)
        visitor = await (await page.context.browser.new_context()).new_page()
        await visitor.goto(f"{address}/login", wait_until="load")
        await page.goto(f"{address}/today", wait_until="load")
        first, later = [await each.evaluate(LOADED) for each in (visitor, page)]
        shift = await page.evaluate(SUM_OF_SHIFTS)
    assert 0 < len(first) <= 5, first
    assert later == []
    assert shift < SHIFT_OF_A_CLOCK


async def test_everything_is_paused_by_two_presses_of_a_key(site):
    """The keyboard alone is enough to pause everything.

    The button opens the dialog with its reason focused, and Enter pauses.
    """
    await site.store.actions.register_worker()
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.get_by_test_id("act-pause").focus()
        await page.keyboard.press("Enter")
        await expect(
            page.locator("#pause-dialog [data-testid=field-reason]")
        ).to_be_focused(timeout=PATIENCE_MS)
        assert await complaints(page) == []
        await page.keyboard.type("账号疑似被盗用")
        await page.keyboard.press("Enter")
        await expect(page.get_by_test_id("banner-paused")).to_contain_text(
            "账号疑似被盗用", timeout=PATIENCE_MS
        )
    [pause] = await site.store.queries.pauses()
    assert (pause.scope, pause.by) == ("all", "王")


async def advance(site, condition):
    """Let time pass, second by second, until something is on the page."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await condition():
            site.runtime.advance_time(timedelta(seconds=1))
            await site.store.actions.heartbeat()
            await asyncio.sleep(
                0.1
            )  # the browser does not say when its page has changed


async def test_no_address_has_the_secret_of_a_one_time_link(site):
    """The script sends the link's secret in a form's body and clears it from the address.

    Opening the page again shows nothing.
    """
    link, asked = await site.add_user("新", "author"), []
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("全", "viewer", DESK)
        await page.context.clear_cookies()
        page.on(
            "request",
            lambda request: asked.append(
                (request.url, request.headers.get("referer", ""))
            ),
        )
        await page.goto(f"{address}/setup#{link}")
        await expect(page.get_by_test_id("act-begin")).to_have_text(
            "我是新，开始", timeout=PATIENCE_MS
        )
        await page.locator(".foot a").click()
        await expect(page.get_by_test_id("act-begin")).to_have_text(
            "I am 新, begin", timeout=PATIENCE_MS
        )
        await page.get_by_test_id("act-begin").click()
        await expect(page.get_by_test_id("page-setup")).to_be_visible(
            timeout=PATIENCE_MS
        )
    assert len(asked) > 4
    assert [place for place in asked for part in place if link in part] == []
