"""A daemon with older settings, accounts that left them, and everything that keeps posts back."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from publisher.app.application import open_application
from publisher.app.offline import describe_loaded_files
from publisher.config import load_settings
from publisher.domain.account import LoadedFiles
from publisher.domain.delivery import MAINTENANCE
from publisher.domain.results import CredentialExpired, Unknown
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME
from tests.cli.conftest import make_confirmed_runtime
from tests.cli.posts import in_days, warning, write_schedule

BY = ("--by", "王")
WHY = (*BY, "--reason", "test")
BOTH = '["beijing-weibo", "beijing-wechat"]'


@asynccontextmanager
async def running_daemon(folder):
    """Enter an application on the workspace that is registered as a running daemon."""
    settings = await load_settings(folder)
    async with open_application(
        settings, make_confirmed_runtime(), can_send=True
    ) as application:
        await application.store.actions.register_worker(describe_loaded_files(settings))
        yield application


@pytest.fixture
def started(drill):
    """Return the drill with a daemon that counts as started just now."""

    async def start():
        async with running_daemon(drill):
            pass

    asyncio.run(start())
    return drill


def change_settings(folder):
    settings = folder / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace('tip_line = "110"', 'tip_line = "96110"'),
        "utf-8",
    )


def without_account(folder, account):
    """Take an account out of publisher.toml, and out of its groups."""
    settings = folder / "publisher.toml"
    head, *entries = settings.read_text("utf-8").split("[[account]]")
    kept = [entry for entry in entries if f'id = "{account}"' not in entry]
    assert len(kept) == len(entries) - 1
    text = "[[account]]".join([head, *kept])
    settings.write_text(
        text.replace(f'"{account}", ', "").replace(f', "{account}"', ""), "utf-8"
    )


def test_f106_commands_and_status_say_that_the_daemon_runs_with_older_settings(
    run, started
):
    """F106: equal settings are silent; after a change each planning or sending command says so."""
    write_schedule(
        started, warning("refund", in_days(1), BOTH), warning("other", in_days(1), BOTH)
    )
    assert "重启" not in run("-C", started, "reload").err
    assert run("-C", started, "status", "--json").json["daemon"]["changed_since"] == {}
    change_settings(started)
    assert [
        *run("-C", started, "status", "--json").json["daemon"]["changed_since"]
    ] == ["publisher.toml"]
    assert "publisher.toml" in run("-C", started, "status").out
    for command in (("reload",), ("send", "refund", *BY), ("refresh", "other", *BY)):
        said = run("-C", started, *command)
        assert said.code == 0
        assert "请重启守护进程" in said.err


def test_f106_send_names_what_keeps_a_post_back(run, started, run_on_database):
    """F106: a paused account, an unknown one and one that cannot sign in are named at once.

    The daemon does not know the unknown one.
    """
    settings = started / "publisher.toml"
    entry = (
        settings.read_text("utf-8")
        .split("[[account]]")[1]
        .replace('id = "', 'id = "new-', 1)
    )
    entry = entry.replace('identity = "', 'identity = "9', 1)
    settings.write_text(settings.read_text("utf-8") + "\n[[account]]" + entry, "utf-8")
    new = entry.split('id = "')[1].partition('"')[0]
    write_schedule(
        started,
        warning(
            "refund", 'at = "asap"', f'["beijing-weibo", "beijing-wechat", "{new}"]'
        ),
    )
    run("-C", started, "pause", "beijing-wechat", *BY)

    async def refuse(application):
        account = application.settings.accounts["beijing-weibo"]
        await application.store.login_health.record_probe(
            account, CredentialExpired(reason="weibo_21327")
        )

    run_on_database(refuse)
    said = run("-C", started, "send", "refund", *BY)
    assert said.code == 0
    assert "publisher resume beijing-wechat" in said.err
    assert f"{new} 不在运行中的守护进程的设置里" in said.err
    assert "beijing-weibo 现在不能登录" in said.err


def test_f106_send_names_accounts_that_the_settings_switch_off(run, started):
    """F106: accounts switched off get nothing, but are named."""
    write_schedule(started, warning("refund", in_days(1), BOTH))
    run("-C", started, "reload")
    without_account(started, "beijing-wechat")
    said = run("-C", started, "send", "refund", *BY)
    assert said.code == 0
    assert "beijing-wechat 在 publisher.toml 里已停用或不再有" in said.err


def test_f106_open_deliveries_of_an_account_that_left_the_settings_raise_an_alert(
    run, drill, deliver
):
    """F106: the daemon alerts at its start, and `why` says that nothing happens.

    The alert ends with the deliveries.
    """
    write_schedule(
        drill,
        warning("refund", 'at = "asap"', BOTH),
        warning("later", in_days(1), BOTH),
    )
    assert run("-C", drill, "send", "refund", *BY).code == 0
    deliver(Unknown(reason="timeout"))
    without_account(drill, "beijing-wechat")

    async def start():
        async with running_daemon(drill) as application:
            await application.store.preflight.run()

    asyncio.run(start())
    [alert] = [
        one
        for one in run("-C", drill, "status", "--json").json["alerts"]
        if one["code"] == "account_left_settings"
    ]
    assert "beijing-wechat" in alert["message"]
    assert "2 个" in alert["message"]
    words = run("-C", drill, "why", "refund@beijing-wechat").out
    assert "不会发送，也不会核实或删除" in words
    assert (
        run("-C", drill, "resolve", "refund@beijing-wechat", "not-published", *WHY).code
        == 0
    )
    assert run("-C", drill, "cancel", "later", *WHY).code == 0
    asyncio.run(start())
    codes = [one["code"] for one in run("-C", drill, "status", "--json").json["alerts"]]
    assert "account_left_settings" not in codes


def test_f106_why_is_true_without_a_daemon_and_preview_leaves_out_the_account_that_left(
    run, drill
):
    """F106: without a daemon `why` names the departed account; `preview` shows the other text.

    The next daemon will not have the account either.
    """
    write_schedule(drill, warning("refund", in_days(1), BOTH))
    assert run("-C", drill, "reload").code == 0
    assert (
        "不在守护进程的设置里"
        not in run("-C", drill, "why", "refund@beijing-wechat").out
    )
    without_account(drill, "beijing-wechat")
    words = run("-C", drill, "why", "refund@beijing-wechat").out
    assert "不在守护进程的设置里" in words
    assert "publisher offboard beijing-wechat --cancel --by" in words
    assert (
        "不在守护进程的设置里"
        not in run("-C", drill, "why", "refund@beijing-weibo").out
    )
    shown = run("-C", drill, "preview", "refund", "--json")
    assert (shown.code, [one["account"] for one in shown.json["rendered_posts"]]) == (
        0,
        ["beijing-weibo"],
    )
    assert "beijing-wechat" in shown.err
    assert run("-C", drill, "preview", "refund", "--account", "beijing-weibo").err == ""
    assert (
        run("-C", drill, "preview", "refund", "--account", "beijing-wechat").code == 4
    )


async def test_f106_an_account_of_another_running_daemon_has_not_left(open_store):
    """F102, F106: an account served by a host with other settings raises no warning."""
    one = await open_store(make_policy("a"), make_policy("b"), worker="one")
    await enqueue_posts(one.posts, make_post("p", ["a", "b"], START_TIME))
    two = await open_store(make_policy("a"), worker="two")
    await two.preflight.run()
    assert [alert.code for alert in await two.queries.alerts()] == [
        "account_left_settings"
    ]
    loaded = LoadedFiles(settings="s", templates="t", accounts=frozenset({"a", "b"}))
    await one.actions.register_worker(loaded)
    await one.actions.record_action("noted", "a", MAINTENANCE, {})
    await two.preflight.run()
    assert await two.queries.alerts() == []
