"""Alerts on a page: what is open, who has taken it on."""

from publisher.store.db.rows import raise_alert


async def raise_two(site):
    """Raise an alert about an account, and one about the machine."""
    now = site.runtime.now()

    def write(unit):
        facts = {"account": "beijing-weibo", "days": "3", "until": "2026-12-02"}
        raise_alert(unit, now, "credentials_expiring", "login:weibo/x", facts)
        raise_alert(unit, now, "disk_full", "machine", {})

    await site.store.database.write(write)
    return [alert.id for alert in await site.store.queries.alerts()]


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


async def test_only_who_may_operate_on_the_account_takes_an_alert_on(site):
    """An operator of another region, and a viewer, see no button and are refused."""
    _disk, credentials = await raise_two(site)
    viewer = await site.signed_in("viewer")
    assert "acknowledge" not in (await viewer.get("/alerts")).text
    other = await site.signed_in("operator@shanghai-weibo", name="李")
    assert "acknowledge" not in (await other.get("/alerts")).text
    assert (await other.post(f"/alerts/{credentials}/acknowledge")).status_code == 403
