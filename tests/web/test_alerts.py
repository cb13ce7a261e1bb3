"""Alerts on a page: the open ones, and the person responsible for each."""

import re
from datetime import datetime, timedelta

import pytest

from publisher.app.checks import build_checks
from publisher.domain.account import AccountId
from publisher.i18n import Messages, load_catalogue
from publisher.store.db.rows import raise_alert
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.kit.site import GENERAL_ALERTS, Clock, Visitor
from tests.web.posts import POST, plan
from tests.web.test_plain_words import visible


async def raise_two(site):
    """Raise an alert about an account, and one about the machine."""
    now = site.runtime.now()

    def write(unit):
        facts = {"account": "beijing-weibo", "days": "3", "until": "2026-12-02"}
        raise_alert(unit, now, "credentials_expiring", "login:weibo/x", facts)
        raise_alert(unit, now, "disk_full", "machine", {})

    await site.store.database.write(write)
    return [alert.id for alert in await site.store.queries.alerts()]


@pytest.mark.parametrize("code", sorted(GENERAL_ALERTS))
def test_what_everybody_sees_names_nobody(code):
    """An alert about publisher itself names nobody in its text and hint.

    They have no place for a person, a post or an account.
    """
    catalogue = load_catalogue()[code]
    texts = [*catalogue.values(), *catalogue.get("hint", {}).values()]
    named = {
        name
        for text in texts
        if isinstance(text, str)
        for name in re.findall(r"\{(\w+)\}", text)
    }
    assert (
        named
        & {
            "by",
            "second",
            "user",
            "name",
            "post",
            "posts",
            "account",
            "accounts",
            "login",
            "source",
        }
        == set()
    )


async def test_an_alert_is_acknowledged_once(site):
    """It moves below, with the name; a second time there is nothing to acknowledge."""
    disk, credentials = await raise_two(site)
    client = await site.signed_in("operator", name="王")
    page = (await client.get("/alerts")).text
    assert "2 条提醒还没有人处理" in page
    assert "/accounts/beijing-weibo" in page
    assert "正在核实。请清出空间" in page
    done = await client.post(f"/alerts/{disk}/acknowledge", follow_redirects=True)
    assert f"提醒 {disk} 有人在处理" in done.text
    assert [alert.id for alert in await site.store.queries.alerts()] == [credentials]
    [taken] = await site.store.queries.acknowledged_alerts()
    assert taken.dismissed_by == "王"
    assert (await client.post(f"/alerts/{disk}/acknowledge")).status_code == 404


async def test_an_acknowledged_alert_comes_back_with_the_name(site):
    """After a day it is open again, with the person that has acknowledged it and when."""
    _disk, credentials = await raise_two(site)
    client = await site.signed_in("operator", name="王")
    path = f"/alerts/{credentials}/acknowledge"
    await client.post(path)
    site.runtime.advance_time(timedelta(hours=24))
    jobs = {job.name: job for job in build_checks(site.application, Messages("zh_CN"))}
    assert await jobs["return_alerts"].run() == 1
    client = await site.signed_in("operator", name="李")
    page = (await client.get("/alerts")).text
    [row] = re.findall(rf'<li[^>]*id="alert-{credentials}".*?</li>', page)
    assert re.search("王 .*? 确认，仍未解决，.*? 重新提醒", row)
    assert f"act-acknowledge-{credentials}" in row
    assert (await client.post(path)).status_code == 303
    [taken] = await site.store.queries.acknowledged_alerts()
    assert taken.dismissed_by == "李"


async def test_an_acknowledgement_is_taken_back_by_who_gave_it(site):
    """The notice offers it; the alert is open again as before."""
    disk, credentials = await raise_two(site)
    wang = await site.signed_in("operator", name="王")
    li = await site.signed_in("operator", name="李")
    done = await wang.post(f"/alerts/{disk}/acknowledge", follow_redirects=True)
    undo = f"/alerts/{disk}/unacknowledge"
    assert f'action="{undo}"' in done.text
    assert (await li.post(undo)).status_code == 404
    assert (await wang.post(undo)).status_code == 303
    assert {alert.id for alert in await site.store.queries.alerts()} == {
        disk,
        credentials,
    }


async def test_only_who_may_operate_on_the_account_takes_an_alert_on(site):
    """A viewer sees no button, and to an operator of another region there is no such alert."""
    _disk, credentials = await raise_two(site)
    viewer = await site.signed_in("viewer")
    assert "acknowledge-" not in (await viewer.get("/alerts")).text
    other = await site.signed_in("operator@shanghai-weibo", name="李")
    assert "acknowledge-" not in (await other.get("/alerts")).text
    assert (await other.post(f"/alerts/{credentials}/acknowledge")).status_code == 404


async def test_alerts_about_other_regions_are_not_shown(site):
    """A viewer of some accounts sees only alerts about them, their posts, and the machine."""
    disk, credentials = await raise_two(site)
    await enqueue_posts(
        site.store.posts,
        make_post("south", [AccountId("shanghai-weibo")], site.runtime.now()),
    )
    await enqueue_posts(
        site.store.posts,
        make_post("north", [AccountId("beijing-weibo")], site.runtime.now()),
    )

    def write(unit):
        for post in ("south", "north"):
            raise_alert(
                unit,
                site.runtime.now(),
                "occurrences_missed",
                post,
                {"post": post, "number": "1"},
            )

    await site.store.database.write(write)
    north, south = [
        alert.id
        for alert in await site.store.queries.alerts()
        if alert.subject in {"south", "north"}
    ]
    south_operator = await site.signed_in("operator@shanghai-weibo", name="李")
    page = (await south_operator.get("/alerts")).text
    assert set(map(int, re.findall(r'id="alert-(\d+)"', page))) == {disk, south}
    everyone = (await (await site.signed_in("operator")).get("/alerts")).text
    assert set(map(int, re.findall(r'id="alert-(\d+)"', everyone))) == {
        disk,
        credentials,
        south,
        north,
    }


async def test_f50_all_alerts_of_a_kind_are_acknowledged_at_once(site):
    """F50: one button for many alerts of one cause; a later one is not acknowledged unseen.

    An operator of one account acknowledges only that account's.
    """
    now = site.runtime.now()

    async def raise_for(*accounts):
        def write(unit):
            for account in accounts:
                facts = {"account": account, "reason": "weibo_21327"}
                raise_alert(unit, now, "login_refused", f"login:{account}", facts)

        await site.store.database.write(write)

    await raise_for("beijing-weibo", "shanghai-weibo")
    client = await site.signed_in("operator", name="王")
    other = await site.signed_in("operator@shanghai-weibo", name="李")
    page = (await client.get("/alerts")).text
    [newest] = re.findall(r'name="newest" value="(\d+)"', page)
    assert "act-acknowledge-kind-login_refused" in page
    await raise_for("shanghai-weibo")
    path, form = "/alerts/kinds/login_refused/acknowledge", {"newest": newest}
    done = await other.post(path, data=form, follow_redirects=True)
    assert "1 条同一类的提醒有人在处理" in done.text
    done = await client.post(path, data=form, follow_redirects=True)
    assert "1 条同一类的提醒有人在处理" in done.text
    [left] = await site.store.queries.alerts()
    assert left.id > int(newest)
    assert (await client.post(path, data=form)).status_code == 404
    viewer = await site.signed_in("viewer")
    assert "acknowledge-" not in (await viewer.get("/alerts")).text


async def test_alerts_name_posts_by_their_titles(site):
    """The page of alerts and that of the post write neither an id nor an instant of the file."""
    await plan(site, POST)
    due = (site.runtime.now() - timedelta(hours=2)).isoformat()

    def write(unit):
        facts = {"post": "refund", "account": "beijing-weibo", "reason": "weibo_21327"}
        again = {**facts, "occurrence": due, "reason": "weibo_20021"}
        for subject, each in {"refund": facts, "refund#1": again}.items():
            raise_alert(unit, site.runtime.now(), "failed", subject, each)

    await site.store.database.write(write)
    li = await site.signed_in("operator", name="李")
    clock = Clock(Visitor(site=site.app.state.site, lang="zh_CN"))
    at = clock.when(datetime.fromisoformat(due))
    for path in ("/alerts", "/posts/refund"):
        text = visible((await li.get(path)).text)
        assert "《警惕“退款客服”诈骗》 未能发到 北京 · 微博" in text
        assert f"《警惕“退款客服”诈骗》{at} 未能发到 北京 · 微博" in text
        assert "refund 未能" not in text
