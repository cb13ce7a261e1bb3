"""The whole life of a post in the demo, by two people in two browsers.

They write, approve, see, delete and account for it.
"""

import asyncio
import contextlib
import re
import signal
from dataclasses import dataclass

import pytest
from playwright.async_api import Locator, async_playwright, expect

from tests.browser.test_approval_story import DESK, PATIENCE_MS, PHONE
from tests.cli.conftest import publisher_command
from tests.e2e.test_browser import BROWSER, SILENT

MAX_ACTIONS = 15
PATIENCE_SECONDS = 180
LINK, FEEDS = re.compile(r"(http://\S+/setup#\S+)"), re.compile(r"(http://\S+/_sim/)")
ENTRY = re.compile(r"person\s+(\S+)\s+([a-z_]+)\s")
PLATFORMS = ("weibo", "wechat", "tieba")
TITLE, REASON = "警惕刷单返利", "写错了电话"


@contextlib.asynccontextmanager
async def demo():
    """Run the demo; yield the links of the author and the approver, and the feeds' places.

    The links are one-time links. At the end the demo is interrupted, and ends in order.
    """
    command = publisher_command(
        "demo", "--no-open", "--port", "0", "--fast", "--regions", "1"
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    text = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            while not (feeds := FEEDS.search(text)):
                line = await process.stdout.readline()
                assert line, text
                text += line.decode()
            reading = asyncio.create_task(process.stdout.read())
            yield (*LINK.findall(text), feeds[1])
        finally:
            process.send_signal(signal.SIGINT)
            await process.wait()
    assert process.returncode == 0, text + (await reading).decode()


@dataclass(slots=True)
class Hands:
    """Counts the manual actions of people, in all their browsers together."""

    actions: int = 0

    async def press(self, place: Locator) -> None:
        self.actions += 1
        await place.click()

    async def type(self, place: Locator, text: str) -> None:
        self.actions += 1
        await place.fill(text)


async def enter(browser, link, viewport):
    """Sign in by a one-time link, in a browser profile of its own; return the page Today."""
    context = await browser.new_context(viewport=viewport)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(link)
    await page.get_by_test_id("act-begin").click()
    await page.get_by_test_id("act-enter").click()
    await expect(page.get_by_test_id("page-today")).to_be_visible(timeout=PATIENCE_MS)
    return page


@pytest.mark.long(seconds=30)
@pytest.mark.skipif(
    BROWSER is None,
    reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
)
async def test_two_people_publish_a_warning_and_take_it_down():
    """Two people publish a warning and take it down in 15 actions.

    It is written, approved on a phone, on all feeds, and deleted with proof. All of it is in the
    audit.
    """
    hands = Hands()
    async with (
        demo() as (author_link, approver_link, feeds),
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=SILENT)
        zhang = await enter(browser, author_link, DESK)
        li = await enter(browser, approver_link, PHONE)

        await hands.press(zhang.get_by_test_id("menu-write"))
        await hands.type(zhang.get_by_test_id("field-title"), TITLE)
        await hands.type(
            zhang.get_by_test_id("field-summary"), "先垫钱的兼职都是诈骗，不要转账"
        )
        await expect(zhang.get_by_test_id("field-to-all")).to_be_checked()
        await hands.press(zhang.get_by_test_id("act-save"))
        await expect(zhang.get_by_test_id("page-post")).to_be_visible(
            timeout=PATIENCE_MS
        )
        post = zhang.url.rpartition("/")[2]

        await hands.press(li.get_by_test_id("menu-inbox"))
        await hands.press(li.get_by_test_id(f"act-open-{post}"))
        await hands.press(li.get_by_test_id("act-approve"))
        await expect(li.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)

        await hands.press(zhang.get_by_test_id("menu-today"))
        row = zhang.get_by_test_id(f"row-{post}")
        await expect(row.locator(".chip.published")).to_contain_text(
            "3", timeout=PATIENCE_MS
        )
        async with zhang.expect_popup() as popup:
            await hands.press(zhang.get_by_test_id("act-feeds"))
        feed = await popup.value
        assert feed.url == feeds
        for platform in PLATFORMS:
            await expect(feed.get_by_test_id(f"platform-{platform}")).to_contain_text(
                TITLE, timeout=PATIENCE_MS
            )

        await hands.press(row.get_by_role("link", name=TITLE, exact=True))
        await hands.press(zhang.get_by_test_id("act-retract"))
        dialog = zhang.locator("dialog[open]")
        await hands.type(dialog.get_by_test_id("field-reason"), REASON)
        await hands.press(dialog.get_by_test_id("confirm-retract"))
        await expect(zhang.get_by_test_id("page-retraction")).to_be_visible(
            timeout=PATIENCE_MS
        )
        deleted = zhang.get_by_test_id("verdict").locator(
            ".chip.published"
        )  # the page is live
        await expect(deleted).to_contain_text("3", timeout=1000 * PATIENCE_SECONDS)
        proofs = [
            await zhang.get_by_test_id(f"delivery-{post}-beijing-{name}").inner_text()
            for name in PLATFORMS
        ]
        for platform in PLATFORMS:
            await expect(
                feed.get_by_test_id(f"platform-{platform}")
            ).not_to_contain_text(TITLE, timeout=PATIENCE_MS)

        await hands.press(zhang.get_by_test_id("menu-audit"))
        await expect(zhang.get_by_test_id("page-audit")).to_be_visible(
            timeout=PATIENCE_MS
        )
        entries = zhang.locator("[data-testid^=entry-]").filter(has_text=TITLE)
        found = {
            match.groups()
            for text in await entries.all_text_contents()
            if (match := ENTRY.search(text))
        }
        await browser.close()
    assert found >= {
        ("张", "post_saved"),
        ("李", "approval_given"),
        ("张", "retraction_requested"),
    }
    assert all("平台" in proof for proof in proofs), proofs
    assert hands.actions <= MAX_ACTIONS
