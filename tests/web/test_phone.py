"""A text on one's own phone: the platform's own preview, sent by the daemon, or a page with a code."""

import shutil
from datetime import timedelta

import pytest

from publisher.app.application import open_application
from publisher.app.previews import send_previews
from publisher.config import load_settings
from publisher.domain.account import AccountId, Mode
from publisher.engine.decisions import named_person
from publisher.testing.fakes import FakeRuntime
from publisher.web.dashboard import create_dashboard
from tests.cli.posts import warning
from tests.web.conftest import ADMIN, WebSite, make_workspace
from tests.web.posts import SOON, plan
from tests.web.test_approve import (
    SECRET,
    WRONG_CODE,
    code_of,
    is_said_at_the_code,
    start_session,
)

POST = warning("refund", to='["beijing-wechat", "beijing-weibo"]', when=SOON)
ACCOUNT = "beijing-wechat"


@pytest.fixture
async def site(tmp_path, sqlite_template, simulator):
    """Yield a dashboard with the adapters of the daemon, on the simulator."""
    folder = make_workspace(tmp_path / "drill")
    file = folder / "publisher.toml"
    file.write_text(
        file.read_text("utf-8").replace("http://127.0.0.1:9", simulator.url), "utf-8"
    )
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    settings, runtime = await load_settings(folder), FakeRuntime()
    async with open_application(
        settings, runtime, can_send=False, can_read=True
    ) as application:
        opened = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        await plan(opened, POST)
        yield opened
        for client in opened.clients:
            await client.aclose()


async def page_of(site, account):
    """Return the address of the text of an account on a phone."""
    [delivery] = [
        one
        for one in await site.store.queries.deliveries("refund")
        if one.account == account
    ]
    return f"/phone/{delivery.rendered_hash}"


def count_previews(simulator):
    return [
        entry["endpoint"]
        for entry in simulator.get("/_sim/log")
        if entry["kind"] == "recv" and "mass/preview" in entry["endpoint"]
    ]


@pytest.mark.long
async def test_the_platforms_preview_comes_to_ones_own_phone(site, simulator):
    """The daemon sends it once; the page says so, and knows the name the next time."""
    author = await site.signed_in("author", name="王")
    page = await page_of(site, ACCOUNT)
    shown = (await author.get("/posts/refund")).text
    assert f'href="{page}"' in shown
    assert 'data-testid="act-send-preview"' in (await author.get(page)).text
    for _ in range(2):
        answer = await author.post(page, data={"to": "wang_123"})
        assert (answer.status_code, answer.headers["location"]) == (303, page)
    assert "正在发给 wang_123" in (await author.get(page)).text
    await send_previews(site.application)
    assert "已发给 wang_123" in (await author.get(page)).text
    await send_previews(site.application)
    assert len(count_previews(simulator)) == 1
    assert 'value="wang_123"' in (await author.get(page)).text
    history = await site.store.queries.audit_history(f"refund@{ACCOUNT}")
    events = [(one.event, one.name) for one in history if "preview" in one.event]
    assert events == [("preview_requested", "王"), ("preview_sent", "王")]


async def test_a_refusal_and_a_daemon_that_is_not_running_are_said(site, simulator):
    """A name that WeChat does not know, and an order that nobody has taken up for minutes."""
    author = await site.signed_in("author", name="王")
    page = await page_of(site, ACCOUNT)
    assert (await author.post(page, data={"to": " "})).status_code == 422
    refusal = {"kind": "api_error", "code": 40132}
    rule = {"endpoint": "/cgi-bin/message/mass/preview", "nth": "every"}
    simulator.post("/_sim/faults", {"platform": "wechat", **rule, "fault": refusal})
    await author.post(page, data={"to": "nobody"})
    await send_previews(site.application)
    assert "没有发到 nobody" in (await author.get(page)).text
    await author.post(page, data={"to": "wang_123"})
    site.runtime.advance_time(timedelta(minutes=6))
    await send_previews(site.application)
    assert "发布系统没有在运行" in (await author.get(page)).text


async def test_an_interrupted_preview_is_not_sent_again(site, simulator):
    """A crash between the order and its answer may have sent it: a person decides."""
    author = await site.signed_in("author", name="王")
    page = await page_of(site, ACCOUNT)
    await author.post(page, data={"to": "wang_123"})
    before = len(count_previews(simulator))
    order = await site.store.previews.find("王")
    assert await site.store.previews.claim(order) is not None
    assert await site.store.previews.claim(order) is None
    await send_previews(site.application)
    assert "不知道有没有发到" in (await author.get(page)).text
    assert len(count_previews(simulator)) == before


async def test_other_platforms_have_the_page_and_its_code(site):
    """The code is the address of the page; only people of the account see either."""
    author = await site.signed_in("author@beijing-weibo", name="王")
    weibo, wechat = await page_of(site, "beijing-weibo"), await page_of(site, ACCOUNT)
    page = (await author.get(weibo)).text
    assert 'data-testid="phone-code"' in page
    assert "act-send-preview" not in page
    assert (await author.post(weibo, data={"to": "w"})).status_code == 409
    assert (await author.get(wechat)).status_code == 404
    assert (await author.post(wechat, data={"to": "w"})).status_code == 404
    viewer = await site.signed_in("viewer")
    assert "act-send-preview" not in (await viewer.get(wechat)).text
    assert (await viewer.post(wechat, data={"to": "w"})).status_code == 403


async def test_an_account_by_hand_gets_no_preview_through_its_platform(site, simulator):
    """Its secret is not checked, and may be another account's: neither page nor daemon use it."""
    author, page = (
        await site.signed_in("author", name="王"),
        await page_of(site, ACCOUNT),
    )
    await author.post(page, data={"to": "wang_123"})
    await site.store.actions.set_mode(
        AccountId(ACCOUNT), Mode.ASSISTED, named_person("李"), "改为代发"
    )
    await send_previews(site.application)
    assert (await author.post(page, data={"to": "wang_123"})).status_code == 409
    assert count_previews(simulator) == []


async def test_a_newer_order_is_kept_when_an_older_one_ends(site):
    """What the daemon says about the older one does not stop the newer."""
    author, page = (
        await site.signed_in("author", name="王"),
        await page_of(site, ACCOUNT),
    )
    await author.post(page, data={"to": "wang_123"})
    older = await site.store.previews.find("王")
    site.runtime.advance_time(timedelta(minutes=6))
    await author.post(page, data={"to": "wang_456"})
    await site.store.previews.finish(older, "preview_not_taken_up")
    newer = await site.store.previews.find("王")
    assert (newer.to, newer.status) == ("wang_456", "ordered")


async def test_a_preview_takes_the_second_factor(site, simulator):
    """A stolen session sends no unapproved words in an account's name; the typed name is kept."""
    client = site.client(
        {"publisher_session": await start_session(site, "李", "author")}
    )
    page = await page_of(site, ACCOUNT)
    for code in ("", WRONG_CODE):
        answer = await client.post(page, data={"to": "wang_123", "code": code})
        assert (answer.status_code, is_said_at_the_code(answer.text)) == (422, True)
        assert 'value="wang_123"' in answer.text
    assert await site.store.previews.list() == []
    code = code_of(SECRET, site.runtime)
    answer = await client.post(page, data={"to": "wang_123", "code": code})
    assert answer.status_code == 303
    await send_previews(site.application)
    assert len(count_previews(simulator)) == 1


@pytest.mark.parametrize("scope", ["all", f"account:{ACCOUNT}", "post:refund"])
async def test_a_pause_stops_previews_too(site, simulator, scope):
    """Neither a new one nor one that was ordered before goes out, and both pages say why."""
    author, page = (
        await site.signed_in("author", name="王"),
        await page_of(site, ACCOUNT),
    )
    await author.post(page, data={"to": "wang_123"})
    await site.store.actions.pause(scope, ADMIN, "")
    await send_previews(site.application)
    assert "没有发到 wang_123：已暂停发布" in (await author.get(page)).text
    answer = await author.post(page, data={"to": "wang_123"})
    assert (answer.status_code, "已暂停发布，预览也不发" in answer.text) == (409, True)
    assert count_previews(simulator) == []
