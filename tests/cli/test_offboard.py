"""Offboarding of an account at the command line."""

import asyncio
import json
import re

import pytest

from publisher.config import load_settings
from publisher.domain.delivery import RECONCILER, State
from publisher.domain.results import CredentialExpired, Published, Receipt, Unknown
from publisher.runtime.clock import Runtime
from publisher.secrets import Vault
from publisher.store.deliveries.intents import PendingReadback
from tests.cli.conftest import CAPTCHA, TO_WEIBO
from tests.cli.posts import warning, write_schedule

WHO = "beijing-weibo"
ORDER = ("offboard", WHO, "--by", "王", "--reason", "移交宣传科")
LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://weibo.example/1", published_at=Runtime().now()
    )
)
DOUBT = Unknown(reason="timeout")


@pytest.fixture
def sent(run, drill, deliver):
    """Return a function that sends one post on Weibo with an outcome; without one it only waits."""

    def send(name, outcome=None):
        file = drill / "schedule.toml"
        old = file.read_text("utf-8").replace("post = []\n", "")
        write_schedule(drill, old, warning(name, to=TO_WEIBO))
        assert run("-C", drill, "send", name, "--by", "王").code == 0
        if outcome is not None:
            deliver(outcome)

    return send


@pytest.fixture
def secret(drill):
    """Move the account's secret into the encrypted store, and return both.

    The second result is the secret's name.
    """
    settings = asyncio.run(load_settings(drill))
    name = settings.accounts[WHO].secret
    vault = Vault(folder=drill / "var")
    file = settings.secrets_dir / name
    vault.write(name, json.loads(file.read_text("utf-8")))
    file.unlink()
    return vault, name


def states(run, drill):
    return [
        row["state"] for row in run("-C", drill, "status", "--json").json["deliveries"]
    ]


def test_an_idle_account_is_offboarded_at_once(
    run, drill, sent, secret, run_on_database
):
    """An offboarded account is off and without its secret; published posts stay.

    Two steps remain: its entry, and the console.
    """
    vault, name = secret
    sent("refund", LIVE)

    async def expire(application):
        await application.store.login_health.record_probe(
            application.settings.accounts[WHO], CredentialExpired(reason="weibo_21327")
        )

    run_on_database(expire)
    reported = run("-C", drill, *ORDER)
    assert reported.code == 0
    assert "已发布的 1 条留在平台上" in reported.out
    assert f"密钥 {name} 已从加密库删除" in reported.out
    assert re.search(r"1\. 从 publisher\.toml 删去", reported.out)
    assert re.search(r"2\. 收回授权：用这个账号登录 weibo\.com", reported.out)
    assert vault.list_names() == []
    status = run("-C", drill, "status", "--json").json
    assert [(mode["account"], mode["mode"]) for mode in status["modes"]] == [
        (WHO, "off")
    ]
    assert status["alerts"] == []
    assert states(run, drill) == ["published"]


def test_an_unknown_outcome_comes_first_and_keeps_the_secret(
    run, drill, sent, secret, run_on_database
):
    """An unknown outcome is shown and keeps the secret for its read; later the command succeeds."""
    vault, name = secret
    sent("refund", DOUBT)
    reported = run("-C", drill, *ORDER)
    assert reported.code == 1
    assert f"refund@{WHO}" in reported.out
    assert "再运行一次" in reported.out
    assert "守护进程没有运行" in reported.err
    assert vault.list_names() == [name]

    async def resolve(application):
        [unknown] = await application.store.queries.deliveries(
            "refund", states=[State.UNKNOWN]
        )
        await application.store.outbox.record_readback(
            PendingReadback(delivery=unknown, request=None),
            LIVE,
            RECONCILER,
            Runtime().monotonic(),
        )

    run_on_database(resolve)
    assert run("-C", drill, *ORDER).code == 0
    assert vault.list_names() == []


def test_waiting_posts_are_listed_and_cancelled_on_demand(run, drill, sent, secret):
    """`--cancel` ends a waiting post and a held one, so neither keeps an account for ever.

    The held post is held before any call.
    """
    vault, _name = secret
    sent("held", CAPTCHA)
    sent("waiting")
    assert states(run, drill) == ["held", "due"]
    reported = run("-C", drill, *ORDER)
    assert reported.code == 1
    assert "--cancel" in reported.out
    assert states(run, drill) == ["held", "due"]
    assert vault.list_names() != []
    reported = run("-C", drill, *ORDER, "--cancel")
    assert "已取消 1 个" in reported.out
    assert reported.code == 1
    assert states(run, drill) == ["held", "cancelled"]
    assert f"held@{WHO}" in reported.out


def test_a_login_that_others_use_keeps_its_secret(run, drill, secret):
    """The secret stays while another account uses the login, and nobody is asked to revoke it."""
    vault, name = secret
    file = drill / "publisher.toml"
    entry = re.search(
        rf'\[\[account\]\]\nid = "{WHO}"\n.*?(?=\n\[|\Z)',
        file.read_text("utf-8"),
        re.DOTALL,
    )[0]
    other = re.sub(
        r'identity = "[^"]*"',
        'identity = "another"',
        entry.replace(f'id = "{WHO}"', 'id = "other-weibo"'),
    )
    file.write_text(f"{file.read_text('utf-8')}\n{other}\n", "utf-8")
    reported = run("-C", drill, *ORDER)
    assert reported.code == 0
    assert "还有别的账号在用，没有删除：other-weibo" in reported.out
    assert "收回授权" not in reported.out
    assert vault.list_names() == [name]


def test_a_secret_kept_elsewhere_is_named_for_removal(run, drill):
    """An operator's file or variable is shown; offboarding is incomplete until it is gone."""
    reported = run("-C", drill, *ORDER)
    assert reported.code == 1
    place = re.search(r"1\. 删除密钥 \S+，它现在放在 (\S+)", reported.out)
    assert place
    asyncio.run(load_settings(drill)).secrets_dir.joinpath(
        place[1].rsplit("/", 1)[-1]
    ).unlink()
    assert run("-C", drill, *ORDER).code == 0


def test_an_account_is_stopped_though_the_encrypted_store_is_damaged(
    run, drill, sent, secret
):
    """The account is off and its posts are cancelled; the damage is reported.

    The secret is left to the next time.
    """
    vault, name = secret
    sent("waiting")
    content = vault.file.read_bytes()
    vault.file.write_bytes(b"{")
    reported = run("-C", drill, *ORDER, "--cancel")
    assert reported.code == 1
    assert "加密库的文件已损坏或被改动" in reported.err
    assert [
        mode["mode"] for mode in run("-C", drill, "status", "--json").json["modes"]
    ] == ["off"]
    assert states(run, drill) == ["cancelled"]
    vault.file.write_bytes(content)
    assert vault.list_names() == [name]
    assert run("-C", drill, *ORDER).code == 0
    assert vault.list_names() == []


def test_repeating_it_after_the_entry_is_gone_ends_it(run, drill, sent, secret):
    """Once its entry is gone the database still knows the account; the console step is left."""
    sent("refund", LIVE)
    run("-C", drill, *ORDER)
    file = drill / "publisher.toml"
    entry = re.search(
        rf'\[\[account\]\]\nid = "{WHO}"\n.*?(?=\n\[\[|\Z)',
        file.read_text("utf-8"),
        re.DOTALL,
    )[0]
    file.write_text(
        file.read_text("utf-8")
        .replace(entry, "")
        .replace(f'"{WHO}", ', "")
        .replace(f'"{WHO}"', ""),
        "utf-8",
    )
    reported = run("-C", drill, *ORDER)
    assert reported.code == 0
    assert "删去" not in reported.out
    assert "收回授权" in reported.out
    assert (
        run("-C", drill, "offboard", "nobody", "--by", "王", "--reason", "x").code == 4
    )
