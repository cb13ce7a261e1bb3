"""Staff notify the operators by a button where only these can help."""

from datetime import timedelta

import pytest

from publisher.domain.results import CredentialExpired
from publisher.engine.notifier import page_of
from tests.web.test_alerts import raise_two

ACCOUNT = "/accounts/beijing-weibo"


async def expire(site):
    """Let the token of an account be refused."""
    account = site.application.settings.accounts["beijing-weibo"]
    refused = CredentialExpired(reason="weibo_21327")
    await site.store.login_health.record_probe(account, refused)


async def asked(site):
    """Return the subjects of the messages to the operators, and what people have added."""
    return [
        (alert.subject, alert.facts["by"], alert.facts["reason"])
        for alert in await site.store.queries.alerts()
        if alert.code == "help_wanted"
    ]


@pytest.mark.long
async def test_a_button_notifies_the_operators_once_an_hour(site):
    """The account's page has it with a remark. The same within the hour is no second alert.

    It leads to the account, and is in the audit under the name of the person.
    """
    await expire(site)
    client = await site.signed_in("author", name="王")
    assert f'action="{ACCOUNT}/ask"' in (await client.get(ACCOUNT)).text
    for remark in ("09:00 要发", "快一点"):
        answer = await client.post(f"{ACCOUNT}/ask", data={"reason": remark})
        assert answer.headers["location"] == ACCOUNT
    assert await asked(site) == [("help:account:beijing-weibo", "王", "09:00 要发")]
    assert "一小时内已经通知过" in (await client.get(ACCOUNT)).text
    [alert] = [
        one for one in await site.store.queries.alerts() if one.code == "help_wanted"
    ]
    assert page_of(alert) == ACCOUNT
    entries = await site.store.queries.audit_history("account:beijing-weibo")
    assert [(entry.event, entry.name) for entry in entries] == [("help_wanted", "王")]

    site.runtime.advance_time(timedelta(hours=1, seconds=1))
    later = await site.signed_in("author", name="李")
    await later.post(f"{ACCOUNT}/ask")
    assert len(await asked(site)) == 2
    operator = await site.signed_in("operator")
    assert "王 请运维人员处理 beijing-weibo" in (await operator.get("/alerts")).text


async def test_an_alert_has_the_button_for_who_cannot_work_on_the_host(site):
    """Staff have it beside each alert, operators have the command in its place."""
    number, *_others = await raise_two(site)
    client, operator = await site.signed_in("viewer"), await site.signed_in("operator")
    pages = [(await one.get("/alerts")).text for one in (client, operator)]
    assert [f'action="/alerts/{number}/ask"' in page for page in pages] == [True, False]
    await client.post(f"/alerts/{number}/ask")
    [(subject, by, _remark)] = await asked(site)
    assert (subject, by) == (f"help:alert:{number}", "viewer")


async def test_f90_a_message_to_the_operators_is_no_subject_of_another(site):
    """Nobody fills the list of alerts by asking about each message that they have sent."""
    client = await site.signed_in("viewer")
    await client.post(f"{ACCOUNT}/ask")
    [sent] = [
        one for one in await site.store.queries.alerts() if one.code == "help_wanted"
    ]
    await client.post(f"/alerts/{sent.id}/ask")
    assert "一小时内已经通知过" in (await client.get("/alerts")).text
    assert len(await asked(site)) == 1


@pytest.mark.parametrize("path", ["/accounts/beijing-weibo/ask", "/alerts/1/ask"])
async def test_nobody_asks_about_what_they_do_not_see(site, path):
    """An account, or an alert about an account, of another region is no such thing."""
    await expire(site)
    client = await site.signed_in("author@region:310000", name="沪")
    assert (await client.post(path)).status_code == 404
    assert await asked(site) == []
