"""A citizen's view, in a real browser."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.test_run import post
from tests.wait import PATIENCE_SECONDS

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("PUBLISHER_CHROMIUM") or next(
    filter(None, map(shutil.which, NAMES)), None
)
SILENT = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]


@pytest.fixture
def page():
    """Yield a page of a headless browser; skip with a clear message where there is none."""
    if BROWSER is None or not Path(BROWSER).exists():
        pytest.skip(
            "NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=SILENT)
        yield browser.new_page()
        browser.close()


def test_each_platforms_page_shows_the_warning(workspace, simulator, page):
    """The feeds and the article show title, bulletin number and the way to report.

    There is no script error.
    """
    workspace.write_schedule(post("p"))
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 0, workspace.log()
    complaints = []
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type == "error" else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for platform in ("weibo", "wechat", "tieba"):
        page.goto(f"{simulator.url}/_sim/feed/{platform}/beijing-{platform}")
        assert page.get_by_text("警惕“退款客服”诈骗").first.is_visible()
        if platform == "wechat":
            page.get_by_text("警惕“退款客服”诈骗").first.click()
        words = page.locator("body").inner_text()
        assert "12377" in words
        assert "〔" in words or "编号" in words
    assert complaints == []
