"""Logins are probed, and people are alerted in time, once for each thing they must act on."""

from collections import deque
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, Mode
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Healthy,
    HoldReason,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due
from publisher.store.db.rows import raise_alert
from publisher.store.monitor.login_health import PROBE_INTERVAL, PROBER
from publisher.testing.builders import make_policy
from publisher.testing.fakes import START_TIME, FakeAdapter


class ScriptedHealth(FakeAdapter):
    """An adapter with scripted health."""

    answers: deque

    async def check_health(self):
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


async def health_checks(open_store, *answers, accounts=("a",), login="one"):
    store = await open_store(*(make_policy(name, login=login) for name in accounts))
    scripted = ScriptedHealth(now=store.runtime.now)
    scripted.answers = deque(answers)
    return store.login_health, dict.fromkeys(store.policies, scripted), store.queries


async def reported(queries):
    return [(alert.code, alert.facts.get("days")) for alert in await queries.alerts()]


async def test_each_login_is_probed_once_however_many_accounts_share_it(
    open_store, runtime
):
    """One probe for two accounts of one login, and the next after six hours."""
    checkups, adapters, _queries = await health_checks(
        open_store, Healthy(), accounts=("a", "b")
    )
    assert [await check_logins_due(checkups.store, adapters, 10) for _ in range(2)] == [
        1,
        0,
    ]
    runtime.advance_time(PROBE_INTERVAL)
    assert await check_logins_due(checkups.store, adapters, 10) == 1
    assert {type(item.health) for item in await checkups.list_accounts()} == {Healthy}


async def test_f43_a_refused_login_is_alerted_at_once_and_cleared_when_it_works_again(
    open_store, runtime
):
    """F43: one alert for any number of refusals; a probe without a result changes nothing."""
    checkups, adapters, queries = await health_checks(
        open_store,
        CredentialExpired(reason="weibo_21327"),
        Unknown(reason="timeout"),
        CredentialExpired(reason="weibo_21327"),
        Healthy(),
    )
    for expected in (1, 1, 1, 0):
        await check_logins_due(checkups.store, adapters, 10)
        assert len(await queries.alerts()) == expected
        runtime.advance_time(PROBE_INTERVAL)


async def test_f98_a_secret_of_another_account_is_no_restriction_by_the_platform(
    open_store,
):
    """F98: the alert asks for the right secret, not for a look at the platform's console."""
    foreign = Blocked(
        code="weibo_other_token", reason="2", hold_reason=HoldReason.WRONG_SECRET
    )
    checkups, adapters, queries = await health_checks(open_store, foreign)
    await check_logins_due(checkups.store, adapters, 10)
    [alert] = await queries.alerts()
    assert (alert.code, alert.facts["reason"]) == ("login_refused", "weibo_other_token")


async def test_a_paused_account_is_alerted_once(open_store):
    """F43: the alert of the pause names the expired login.

    The probe that meets it too adds no second one.
    """
    checkups, adapters, queries = await health_checks(
        open_store, CredentialExpired(reason="weibo_21327"), Healthy()
    )
    account = checkups.store.policies[AccountId("a")].account
    await checkups.store.actions.pause_account(account, PROBER, "weibo_21327")
    await check_logins_due(checkups.store, adapters, 10)
    assert [alert.code for alert in await queries.alerts()] == ["account_paused"]


async def test_another_alert_of_the_account_hides_no_refused_login(open_store):
    """F43: a refused login is alerted beside an unauthorized post.

    The unauthorized post has an alert of its own.
    """
    checkups, adapters, queries = await health_checks(
        open_store, CredentialExpired(reason="weibo_21327")
    )
    now = checkups.runtime.now()
    await checkups.database.write(
        lambda unit: raise_alert(unit, now, "unauthorized_post", "account:a", {})
    )
    await check_logins_due(checkups.store, adapters, 10)
    assert sorted(alert.code for alert in await queries.alerts()) == [
        "login_refused",
        "unauthorized_post",
    ]


async def test_after_a_person_has_signed_in_again_the_probe_comes_at_once(open_store):
    """F43: the alert ends with the next round of probes, and not after the probe interval."""
    checkups, adapters, queries = await health_checks(
        open_store, CredentialExpired(reason="weibo_21327"), Healthy()
    )
    await check_logins_due(checkups.store, adapters, 10)
    assert len(await queries.alerts()) == 1
    await checkups.request_probe(checkups.store.policies[AccountId("a")].account)
    assert await check_logins_due(checkups.store, adapters, 10) == 1
    assert await queries.alerts() == []


async def test_the_alert_of_a_blocked_account_quotes_the_platform(open_store):
    """F50: the alert quotes the platform's message."""
    checkups, adapters, queries = await health_checks(
        open_store, Blocked(code="wechat_40164", reason="1.2.3.4 not in whitelist")
    )
    await check_logins_due(checkups.store, adapters, 10)
    [alert] = await queries.alerts()
    assert (alert.code, alert.facts["said"]) == (
        "account_blocked",
        "1.2.3.4 not in whitelist",
    )


async def test_expiring_credentials_are_alerted_at_14_7_3_and_1_days(
    open_store, runtime
):
    """Each warning replaces the one before; none comes while there is plenty of time."""
    checkups, adapters, queries = await health_checks(
        open_store, Healthy(credentials_expire_at=START_TIME + timedelta(days=20))
    )
    seen = []
    for _ in range(20 * 4):
        await check_logins_due(checkups.store, adapters, 10)
        alerts = await reported(queries)
        assert len(alerts) <= 1
        if alerts and alerts != seen[-1:]:
            seen += alerts
        runtime.advance_time(PROBE_INTERVAL)
    assert seen == [("credentials_expiring", days) for days in ("14", "7", "3", "1")]


async def test_quota_left_counts_what_was_sent_today(open_store):
    """An account that never sent has its whole quota left, and nothing verified."""
    checkups, _adapters, _queries = await health_checks(open_store, Healthy())
    [checkup] = await checkups.list_accounts()
    assert (checkup.quota_left, checkup.activity, checkup.health) == (10000, None, None)


@pytest.mark.parametrize(
    ("mode", "ordered", "is_asked"),
    [
        (Mode.ASSISTED, Mode.API, True),
        (Mode.API, Mode.ASSISTED, False),
        (Mode.API, Mode.OFF, False),
    ],
)
async def test_the_mode_in_force_decides_which_accounts_are_probed(
    open_store, mode, ordered, is_asked
):
    """Modes set at run time decide on probes, not the modes of the settings."""
    policy = make_policy("a")
    store = await open_store(
        replace(policy, account=replace(policy.account, mode=mode))
    )
    await store.actions.set_mode(AccountId("a"), ordered, named_person("li"), "test")
    checkups = store.login_health
    assert [account.id for account in await checkups.claim_due_probes(10)] == (
        ["a"] if is_asked else []
    )
    [checkup] = await checkups.list_accounts()
    assert checkup.mode is ordered
    watched = await store.monitoring.claim_due_accounts(10)
    assert list(watched) == ([] if ordered is Mode.OFF else ["a"])
