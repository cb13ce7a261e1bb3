"""Accounts and posts by hand on pages."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.domain.account import Mode
from publisher.domain.delivery import MAINTENANCE, SENDER, State
from publisher.domain.results import (
    CredentialExpired,
    Healthy,
    ManualTask,
    RateLimited,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.store.db.rows import RENEWAL, pause_account, raise_alert
from publisher.store.db.tables import DELIVERY, changed_columns
from publisher.testing.fakes import START_TIME
from tests.cli.posts import warning
from tests.web.posts import POST, SOON, hidden_fields, plan, set_state

WANG = named_person("王")


async def hand_out(site, account):
    """Make the delivery on an account a manual task."""
    [before] = [
        item
        for item in await site.store.queries.deliveries("refund")
        if item.account == account
    ]
    ticket = Ticket(manual_task=ManualTask(assigned_at=START_TIME))
    columns = changed_columns(before, replace(before, ticket=ticket))
    await set_state(site, State.SUBMITTED, account, attempts=1, **columns)


async def test_accounts_that_need_somebody_stand_out(site):
    """A refused sign-in, a pause and a short authorisation are cards.

    A healthy account is a dot and two words. A visitor with the permission has a second button for
    the most frequent remedy.
    """
    accounts = site.application.settings.accounts
    expires_at = START_TIME + timedelta(days=3, hours=1)
    await site.store.login_health.record_probe(
        accounts["beijing-weibo"], Healthy(credentials_expire_at=expires_at)
    )
    await site.store.login_health.record_probe(
        accounts["shanghai-weibo"], CredentialExpired(reason="auth")
    )
    await site.store.actions.pause("account:beijing-wechat", WANG, "换密码")
    client = await site.signed_in("viewer")
    page = (await client.get("/accounts")).text
    assert "2 个地区，6 个账号：3 个正常，3 个要处理" in page
    cards = re.findall(r'data-testid="account-([\w-]+)"', page)
    assert set(cards) == {"beijing-weibo", "shanghai-weibo", "beijing-wechat"}
    assert cards[-1] == "beijing-weibo"
    assert "授权 3 天" in page
    assert "换密码" in page
    offered = r'data-testid="act-(mode-assisted|resume-account|pause-account)-([\w-]+)"'
    operator = (await (await site.signed_in("operator")).get("/accounts")).text
    assert re.findall(offered, page) == []
    assert set(re.findall(offered, operator)) == {
        ("mode-assisted", "shanghai-weibo"),
        ("resume-account", "beijing-wechat"),
    }
    regions = (await client.get("/accounts?status=action")).text
    assert (
        "/accounts/shanghai-weibo" in regions,
        "/accounts/shanghai-tieba" in regions,
    ) == (
        True,
        False,
    )
    listed = (await client.get("/accounts?view=list&status=action")).text
    assert (
        "/accounts/shanghai-weibo" in listed,
        "/accounts/shanghai-tieba" in listed,
    ) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("code", "is_normal"),
    [
        ("account_circuit_breaker_open", False),
        ("rights_missing", False),
        ("silence_notice", True),
    ],
)
async def test_an_account_with_an_open_alert_is_not_shown_as_normal(
    site, code, is_normal
):
    """Both views say so; what only counts in a digest makes no account abnormal."""
    client = await site.signed_in("viewer")
    facts = {"account": "beijing-weibo"}
    await site.store.database.write(
        lambda unit: raise_alert(unit, START_TIME, code, "login:x", facts)
    )
    regions = (await client.get("/accounts")).text
    listed = (await client.get("/accounts?view=list&status=fine")).text
    assert ("北京 · 微博 正常" in regions) is is_normal
    row = '<th scope="row"><a href="/accounts/beijing-weibo">'
    assert (row in listed) is is_normal


@pytest.mark.parametrize(
    "result", [Unknown(reason="timeout"), RateLimited(code="busy", until=None)]
)
async def test_an_account_that_cannot_be_read_is_not_shown_as_normal(site, result):
    """Nobody knows if its sign-in works; the next check that succeeds ends it."""
    account = site.application.settings.accounts["beijing-weibo"]
    client = await site.signed_in("viewer")
    shown = []
    for each in (result, Healthy()):
        await site.store.login_health.record_probe(account, each)
        shown.append("北京 · 微博 正常" in (await client.get("/accounts")).text)
    assert shown == [False, True]


async def test_an_account_paused_for_its_token_is_shown_without_codes(site):
    """A check from before the pause says no more that all is well; the renewal is offered."""
    account = site.application.settings.accounts["beijing-weibo"]
    health = Healthy(credentials_expire_at=START_TIME + timedelta(days=1824))
    await site.store.login_health.record_probe(account, health)
    site.runtime.advance_time(timedelta(minutes=12))
    now, client = site.runtime.now(), await site.signed_in("admin", "operator")
    before = (await client.get("/accounts/beijing-weibo")).text
    await site.store.database.write(
        lambda unit: pause_account(
            unit,
            account.id,
            at=now,
            by=MAINTENANCE,
            reason="weibo_21327",
            ends_with=RENEWAL,
        )
    )
    page = (await client.get("/accounts/beijing-weibo")).text
    assert "<span>正常</span>" in before
    assert "天</dd>" in before
    assert "<span>暂停以后还没有检查过</span>" in page
    assert "天</dd>" not in page
    assert 'data-testid="act-sign-in-beijing-weibo"' in page
    text = re.sub(r"<script.*?</script>|<[^>]*>", " ", page)
    wrong = ("beijing-weibo", "access_token", "api")
    clock = now.astimezone(site.application.settings.timezone)
    assert f"（账号 北京 · 微博，自动，{clock:%H:%M}）" in text
    assert [word for word in wrong if word in text] == []


async def test_an_account_is_paused_and_resumed(site):
    """Both ask first; a resumption that was drawn from another pause does nothing."""
    client = await site.signed_in("operator", name="王")
    done = await client.post(
        "/accounts/beijing-weibo/pause",
        data={"reason": "看一看"},
        follow_redirects=True,
    )
    assert "已暂停北京" in done.text
    fields = hidden_fields(done.text, "/accounts/beijing-weibo/resume")
    site.runtime.advance_time(timedelta(minutes=1))
    await site.store.actions.pause("account:beijing-weibo", WANG, "又一次")
    assert (
        await client.post("/accounts/beijing-weibo/resume", data=fields)
    ).status_code == 409
    assert [pause.reason for pause in await site.store.queries.pauses()] == ["又一次"]
    fields = hidden_fields(
        (await client.get("/accounts/beijing-weibo")).text,
        "/accounts/beijing-weibo/resume",
    )
    assert (
        await client.post("/accounts/beijing-weibo/resume", data=fields)
    ).status_code == 303
    assert await site.store.queries.pauses() == []


async def test_a_paused_account_is_one_thing_to_do(site):
    """The deliveries that it holds back are counted there, and are things to do once it is resumed."""
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-weibo", reason="auth", attempts=0)
    await set_state(site, State.HELD, "beijing-tieba", reason="auth", attempts=0)
    await plan(site, POST, warning("due", to='["beijing-weibo"]', when=SOON))
    due = update(DELIVERY).where(DELIVERY.c.post == "due")
    values = {"state": "due", "due_at": site.runtime.now()}
    await site.store.database.write(
        lambda unit: unit.connection.execute(due.values(**values))
    )
    await site.store.actions.pause("account:beijing-weibo", WANG, "令牌过期")
    client = await site.signed_in("operator")
    page = (await client.get("/inbox")).text
    items = re.findall(r'data-testid="todo-(\w+)-([\w@-]+)"', page)
    assert sorted(items) == [
        ("account", "beijing-weibo"),
        ("resolve", "refund@beijing-tieba"),
    ]
    assert "原因：令牌过期，压着 2 条" in page
    asked = (await client.get("/accounts/beijing-weibo/resume")).text
    assert "另有 1 条已转给人处理，不会自己发" in asked
    assert "没结束的 1 个任务，到时间的马上发" in asked
    fields = hidden_fields(asked, "/accounts/beijing-weibo/resume")
    await client.post("/accounts/beijing-weibo/resume", data=fields)
    after = (await client.get("/inbox")).text
    assert 'data-testid="todo-account-beijing-weibo"' not in after
    assert after.count('data-testid="todo-resolve-refund') == 1


async def test_a_resumed_account_is_not_called_fine_before_its_login_is_checked(site):
    """The result of an earlier check says nothing about a login that was refused after it."""
    [account] = [
        health.account
        for health in await site.store.login_health.list_accounts()
        if health.account.id == "beijing-weibo"
    ]
    await site.store.login_health.record_probe(account, Healthy())
    site.runtime.advance_time(timedelta(minutes=1))
    await site.store.actions.pause("account:beijing-weibo", SENDER, "auth")
    client = await site.signed_in("operator")
    path = "/accounts/beijing-weibo"
    fields = hidden_fields((await client.get(path)).text, f"{path}/resume")
    await client.post(f"{path}/resume", data=fields)
    assert "登录检查中" in (await client.get(path)).text
    await site.store.login_health.record_probe(account, Healthy())
    assert "登录检查中" not in (await client.get(path)).text


async def test_a_login_is_checked_when_somebody_asks(site):
    """A login is checked on request.

    Its next check is due at once, and the audit log has it. A visitor without the button is
    refused.
    """
    accounts = site.application.settings.accounts
    await site.store.login_health.record_probe(accounts["beijing-weibo"], Healthy())
    assert "beijing-weibo" not in [
        account.id for account in await site.store.login_health.claim_due_probes(99)
    ]
    operator, viewer = await site.signed_in("operator"), await site.signed_in("viewer")
    assert "act-probe" in (await operator.get("/accounts/beijing-weibo")).text
    assert "act-probe" not in (await viewer.get("/accounts/beijing-weibo")).text
    answers = [
        await client.post("/accounts/beijing-weibo/probe")
        for client in (viewer, operator)
    ]
    assert [answer.status_code for answer in answers] == [403, 303]
    assert "beijing-weibo" in [
        account.id for account in await site.store.login_health.claim_due_probes(99)
    ]
    [entry] = await site.store.queries.audit_history("account:beijing-weibo")
    assert (entry.event, entry.name) == ("login_check_requested", "operator")
    await site.store.actions.set_mode("beijing-weibo", Mode.ASSISTED, WANG, "手动")
    assert (await operator.post("/accounts/beijing-weibo/probe")).status_code == 409
    assert await site.store.login_health.claim_due_probes(99) == []


async def test_the_mode_of_an_account_is_changed_with_a_reason(site):
    """The mode of an account is changed with a reason.

    The page shows the person and the reason. A visitor without the permission for this account is
    refused.
    """
    client = await site.signed_in("operator@beijing-tieba", name="王")
    path = "/accounts/beijing-tieba"
    fields = hidden_fields((await client.get(path)).text, f"{path}/mode?mode=assisted")
    assert (await client.post(f"{path}/mode", data=fields)).status_code == 422
    done = await client.post(
        f"{path}/mode", data={**fields, "reason": "接口坏了"}, follow_redirects=True
    )
    assert "接口坏了" in done.text
    [override] = await site.store.queries.mode_overrides()
    assert (override.account, override.mode, override.by) == (
        "beijing-tieba",
        Mode.ASSISTED,
        "王",
    )
    assert (
        await client.post(f"{path}/mode", data={**fields, "reason": "再来"})
    ).status_code == 409
    other = {"mode": "off", "seen": "api", "reason": "x"}
    assert (
        await client.post("/accounts/shanghai-tieba/mode", data=other)
    ).status_code == 404
    assert (await client.get("/accounts/shanghai-tieba")).status_code == 404


async def test_a_post_by_hand_is_copied_and_reported(site):
    """A post by hand is copied and reported.

    The task has the exact text with its number. The report is checked, and a second one finds it
    recorded.
    """
    await plan(site, POST)
    await hand_out(site, "beijing-tieba")
    client = await site.signed_in("author", name="王")
    assert "beijing-tieba" in (await client.get("/assist")).text
    path = "/assist/refund/once/beijing-tieba"
    page = (await client.get(path)).text
    [rendered] = [
        item
        for item in await site.store.occurrences.renditions(
            (await site.store.queries.deliveries("refund"))[0].key
        )
        if item.account == "beijing-tieba"
    ]
    assert f"<mark>{rendered.marker.code}</mark>" in page
    fields = hidden_fields(page, f"{path}/done")
    assert (
        await client.post(f"{path}/done", data={**fields, "url": "javascript:x"})
    ).status_code == 422
    done = await client.post(
        f"{path}/done",
        data={**fields, "url": "https://example.com/1"},
        follow_redirects=True,
    )
    assert "王 说发好了，正在核实" in done.text
    [task] = await site.store.manual_tasks.list_open()
    assert (task.task.url, task.task.reported_by) == ("https://example.com/1", "王")
    await set_state(
        site,
        State.PUBLISHED,
        "beijing-tieba",
        remote_id="1",
        url="https://example.com/1",
        published_at=START_TIME,
    )
    late = await client.post(
        f"{path}/done",
        data={**fields, "url": "https://example.com/1"},
        follow_redirects=True,
    )
    assert "publisher 已经看到它了" in late.text


async def test_a_viewer_may_look_at_a_post_by_hand_only(site):
    """No form is shown, and a report is refused."""
    await plan(site, POST)
    await hand_out(site, "beijing-tieba")
    client = await site.signed_in("viewer")
    page = (await client.get("/assist/refund/once/beijing-tieba")).text
    assert "confirm-done" not in page
    answer = await client.post(
        "/assist/refund/once/beijing-tieba/done", data={"url": "https://example.com/1"}
    )
    assert answer.status_code == 403


async def test_an_evergreen_post_is_scheduled_by_one_click_and_not_by_two(site):
    """An evergreen post is scheduled by one click, and not by two.

    The page offers the next of the drawer. The same form sent again does nothing, also once that
    one has ended.
    """
    await plan(
        site, *(warning(name, "evergreen = true") for name in ("elderly", "parcels"))
    )
    client = await site.signed_in("author", name="王")
    path = "/accounts/beijing-weibo"
    fields = hidden_fields((await client.get(path)).text, f"{path}/evergreen")
    assert fields["post"] == "elderly"
    done = await client.post(f"{path}/evergreen", data=fields, follow_redirects=True)
    assert "已安排“警惕“退款客服”诈骗”" in done.text
    assert "act-evergreen" not in done.text
    assert (await client.post(f"{path}/evergreen", data=fields)).status_code == 409
    [filed] = await site.store.queries.deliveries()
    assert (filed.key.post, filed.account, filed.due_at) == (
        "elderly",
        "beijing-weibo",
        START_TIME,
    )
    ended = update(DELIVERY).values(
        state=State.PUBLISHED.value, remote_id="1", published_at=START_TIME, url=""
    )
    await site.store.database.write(lambda unit: unit.connection.execute(ended))
    assert (await client.post(f"{path}/evergreen", data=fields)).status_code == 409
    assert len(await site.store.queries.deliveries()) == 1


async def test_the_page_to_post_on_is_one_press_away(site):
    """In a drill it is the account's page on the simulator; no platform is opened."""
    await plan(site, POST)
    await hand_out(site, "beijing-tieba")
    client = await site.signed_in("author")
    page = (await client.get("/assist/refund/once/beijing-tieba")).text
    [address] = re.findall(
        r'href="([^"]*)" target="_blank" rel="noreferrer noopener" data-testid="act-open-platform"',
        page,
    )
    assert address.startswith("http://127.0.0.1:9/_sim/feed/tieba/")


@pytest.mark.parametrize(
    ("account", "page"),
    [
        ("beijing-weibo", "https://weibo.com/"),
        ("beijing-wechat", "https://mp.weixin.qq.com/"),
        (
            "beijing-tieba",
            "https://tieba.baidu.com/f?kw=%E5%8C%97%E4%BA%AC&ie=utf-8",
        ),
    ],
)
async def test_each_platform_names_its_page_to_post_on(site, account, page):
    """On Tieba it is that of the account's forum."""
    assert site.store.policies[account].capabilities.posting_url == page


@pytest.mark.parametrize("view", ["regions", "list"])
@pytest.mark.parametrize("typed", ["上", "shang", "上海"])
async def test_a_region_is_found_among_the_accounts(site, view, typed):
    """By a part of its name or its pinyin; nothing else is listed then."""
    client = await site.signed_in("viewer")
    page = (await client.get(f"/accounts?view={view}&q={typed}")).text
    found = re.findall(r'href="/accounts/(\w+)-\w+"', page)
    assert set(found) == {"shanghai"}
    assert f'value="{typed}"' in page
    none = (await client.get(f"/accounts?view={view}&q=拉萨")).text
    assert 'href="/accounts/beijing-weibo"' not in none


@pytest.mark.parametrize("regions", [3])
async def test_many_accounts_in_need_do_not_hide_the_board(site):
    """The first are cards, and the rest are folded with their number."""
    for key in site.application.settings.accounts:
        await site.store.actions.pause(f"account:{key}", WANG, "检修")
    client = await site.signed_in("viewer")
    page = (await client.get("/accounts")).text
    before, _, folded = page.partition('data-testid="more-cards"')
    kept = [part.count('data-testid="account-') for part in (before, folded)]
    assert kept == [6, 3]
    assert "还有 3 个账号要处理" in folded
