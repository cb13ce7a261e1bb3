"""In a real browser: an expired token is renewed by its owner, from the button to the new token."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from publisher.app.sign_in_links import carry_out_links
from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    PHONE,
    browsers,
    complaints,
    serving,
)
from tests.browser.test_every_page import advance
from tests.e2e.test_browser import BROWSER
from tests.ports import free_port
from tests.web.test_plain_words import find_jargon
from tests.web.test_sign_in_links import (  # noqa: F401 # a fixture
    ACCOUNT,
    OLD_TOKEN,
    UID,
    site,
    stored_token,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]
SCREENS = os.environ.get("PUBLISHER_SCREENS")


@pytest.fixture
def port():
    """Return the port of the dashboard, which the settings of the account name."""
    return free_port()


@pytest.fixture
def redirect_uri(port):
    """Return the page of the dashboard that takes the platform's answer."""
    return f"http://localhost:{port}/authorised"


async def look(page, name):
    """Keep a picture of a page, and check that axe has no complaint about it."""
    assert await complaints(page) == []
    if SCREENS:
        await page.screenshot(path=Path(SCREENS, f"{name}.png"), full_page=True)


@pytest.mark.parametrize(
    ("viewport", "theme"),
    [
        pytest.param(PHONE, "dark", id="phone"),
        pytest.param(DESK, "light", id="desk", marks=pytest.mark.extra),
    ],
)
async def test_the_owner_of_an_account_renews_it_by_the_link(
    site,  # noqa: F811 # the fixture
    port,
    viewport,
    theme,
):
    """An operator sends the link, the owner consents, and the open page says that it is renewed.

    The owner needs no account of the dashboard.
    """
    name = f"renewal-{viewport['width']}-{theme}"
    async with serving(site.app, port) as address, browsers(site, address) as enter:
        page = await enter("王", "operator", viewport, theme)
        await page.goto(f"{address}/accounts/{ACCOUNT}")
        card = page.get_by_test_id("sign-in")
        await expect(card).to_be_visible(timeout=PATIENCE_MS)
        await look(page, f"{name}-before")
        await card.get_by_test_id(f"act-sign-in-{ACCOUNT}").click()
        await carry_out_links(site.application)
        await page.reload()
        await expect(card).to_contain_text("前有效，只能用一次", timeout=PATIENCE_MS)
        assert find_jargon(await card.inner_text()) == []
        await look(page, f"{name}-sent")

        link = await card.get_by_test_id("act-open-sign-in").get_attribute("href")
        opened = await page.context.new_page()
        await opened.goto(address + link)
        location = opened.url
        owner = await page.context.browser.new_page(
            viewport=viewport, color_scheme=theme
        )
        await owner.goto(location)
        await owner.get_by_test_id("other").fill(UID)
        await owner.get_by_test_id("allow").click()
        await expect(owner.get_by_test_id("act-take-answer")).to_be_visible(
            timeout=PATIENCE_MS
        )
        assert owner.url.startswith(f"http://localhost:{port}/authorised?")
        await look(owner, f"{name}-answer")
        await owner.get_by_test_id("act-take-answer").click()
        await expect(owner.get_by_role("heading", name="已收到")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await look(owner, f"{name}-taken")
        await carry_out_links(site.application)
        await advance(site, card.get_by_text("已重新授权").count)
        await expect(card).to_contain_text("已重新授权", timeout=PATIENCE_MS)
        await look(page, f"{name}-renewed")
    assert stored_token(site) != OLD_TOKEN
