"""Accounts, secrets and metrics at the command line."""

import json
from datetime import UTC, datetime

import pytest

from publisher.domain.results import (
    CredentialExpired,
    Healthy,
    Published,
    Reach,
    Receipt,
)
from publisher.runtime.clock import Runtime
from tests.cli.posts import warning, write_schedule

CANARY = "2.00canaryTOKEN"
RECEIPT = Receipt(
    remote_id="1",
    url="https://weibo.com/1/a",
    published_at=datetime(2026, 11, 1, tzinfo=UTC),
)


def test_accounts_before_anything_ran_shows_them_all_and_makes_no_database(run, drill):
    """Every account is listed unchecked, with its whole day's quota, and nothing is written."""
    shown = run("-C", drill, "accounts", "--json").json["accounts"]
    assert [row["health"] for row in shown] == [None] * len(shown)
    assert all(row["quota_left"] > 0 for row in shown)
    assert list((drill / "var").iterdir()) == []
    assert "还没有检查结果" in run("-C", drill, "accounts").out


def test_accounts_shows_the_last_probe(run, drill, run_on_database):
    """Health, days left, and the reason in words."""

    async def probe(application):
        by_platform = {
            policy.account.platform: policy.account
            for policy in application.store.outbox.store.policies.values()
        }
        soon = datetime.fromtimestamp(Runtime().now().timestamp() + 5.5 * 86400, UTC)
        await application.store.login_health.record_probe(
            by_platform["weibo"], Healthy(credentials_expire_at=soon)
        )
        await application.store.login_health.record_probe(
            by_platform["wechat"], CredentialExpired(reason="wechat_40125")
        )

    run_on_database(probe)
    shown = {
        row["platform"]: row
        for row in run("-C", drill, "accounts", "--json").json["accounts"]
    }
    assert (shown["weibo"]["health"], shown["weibo"]["days_left"]) == ("healthy", 5)
    assert shown["wechat"]["health"] == "credential_expired"
    reported = run("-C", drill, "accounts").out
    assert "5 天" in reported
    assert "登录不了：" in reported
    assert [
        alert["code"] for alert in run("-C", drill, "status", "--json").json["alerts"]
    ] == [
        "login_refused",
        "credentials_expiring",
    ]


def test_doctor_names_what_does_not_answer_and_where_to_act(run, drill):
    """`doctor` lists every unserved login with a place to check, and exits 1."""
    reported = run("-C", drill, "doctor")
    assert reported.code == 1
    assert reported.out.count("无法确认") == reported.out.count("处理：") == 3


def test_reach_shows_the_newest_figures_and_the_whole_series(
    run, drill, run_on_database
):
    """The table has the newest reading, JSON has all; an unreported figure is not a zero."""
    write_schedule(drill, warning("refund", to='["platform:weibo"]'))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    assert "还没有传播数据" in run("-C", drill, "reach").out

    async def publish(application):
        await application.store.maintenance.promote_due()
        [lease] = await application.store.outbox.claim(10)
        await application.store.outbox.record_intent(lease)
        await application.store.outbox.record_outcome(lease, Published(receipt=RECEIPT))
        for reposts in (5, 812):
            await application.store.monitoring.record_metrics(
                {lease.delivery: Reach(reposts=reposts, comments=7)}
            )

    run_on_database(publish)
    shown = run("-C", drill, "reach", "refund")
    assert "812" in shown.out
    assert "—" in shown.out
    [row] = run("-C", drill, "reach", "--json").json["reach"]
    assert (row["post"], row["url"]) == ("refund", RECEIPT.url)
    assert [
        (point["reads"], point["reposts"], point["comments"]) for point in row["series"]
    ] == [
        (None, 5, 7),
        (None, 812, 7),
    ]
    assert run("-C", drill, "reach", "nothing").code == 4


def test_a_secret_is_taken_from_standard_input_and_never_shown(run, drill, typed):
    """I19: set, list, rotate and remove show names only, and the stored file is encrypted."""
    typed(json.dumps({"app_key": "1", "access_token": CANARY}))
    answers = [
        run("-C", drill, "secret", "set", "weibo-new"),
        run("-C", drill, "secret", "list"),
        run("-C", drill, "secret", "rotate"),
        run("-C", drill, "secret", "remove", "weibo-new"),
        run("-C", drill, "secret", "remove", "weibo-new"),
    ]
    assert [answer.code for answer in answers] == [0, 0, 0, 0, 4]
    assert "没有账号使用密钥 weibo-new" in answers[0].err
    assert answers[1].out.split() == ["weibo-new"]
    assert not any(CANARY in answer.out + answer.err for answer in answers)
    assert not any(
        CANARY.encode() in file.read_bytes() for file in (drill / "var").iterdir()
    )


@pytest.mark.parametrize(
    "text", ["", CANARY, f'["{CANARY}"]', f'{{"token": ["{CANARY}"]}}']
)
def test_a_malformed_secret_is_refused_without_repeating_it(run, drill, typed, text):
    """I19: a wrong format is reported, without the content that may be a secret."""
    typed(text)
    reported = run("-C", drill, "secret", "set", "weibo-new")
    assert reported.code == 1
    assert CANARY not in reported.out + reported.err
    assert run("-C", drill, "secret", "set").code == 2


@pytest.mark.parametrize(
    "token", [{}, {"access_token": CANARY}], ids=["without token", "with token"]
)
def test_a_secret_without_its_token_names_the_command_that_gets_it(
    run, drill, typed, token
):
    """The owner's fields are stored; the token comes with a sign-in, unless it was entered too."""
    (
        drill / "secrets" / "beijing-weibo"
    ).unlink()  # it would be used before the encrypted store
    typed(json.dumps({"app_key": "1", "app_secret": "2", **token}))
    stored = run("-C", drill, "secret", "set", "beijing-weibo")
    assert stored.code == 0
    assert ("publisher login beijing-weibo" in stored.err) is (not token)


def test_a_secret_of_an_alert_channel_is_used_and_needs_an_address(run, drill, typed):
    """A secret that a channel uses is not called unused, and is not stored without its address."""
    with (drill / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(
            '\n[alerts]\nfirst = ["duty"]\n[alerts.channels]\nduty = "alert-duty"\n'
        )
    typed('{"address": "json://127.0.0.1:9/"}')
    refused = run("-C", drill, "secret", "set", "alert-duty")
    typed('{"url": "json://127.0.0.1:9/"}')
    stored = run("-C", drill, "secret", "set", "alert-duty")
    assert (refused.code, stored.code) == (1, 0)
    assert "url" in refused.err
    assert "没有账号使用" not in stored.err


@pytest.mark.parametrize(
    "text", ["x", "{}", '{"app_key": "1"}', '{"app_key": "1", "app_secret": ""}']
)
def test_a_secret_without_the_fields_of_its_platform_is_not_stored(
    run, drill, typed, text
):
    """A missing field is named, with the form that the platform of its accounts needs."""
    typed(text)
    refused = run("-C", drill, "secret", "set", "beijing-weibo")
    assert refused.code == 1
    assert "app_secret" in refused.err
    assert '{"app_key": "…", "app_secret": "…"}' in refused.err
    assert run("-C", drill, "secret", "list").out == "加密库里还没有密钥\n"


@pytest.mark.parametrize(
    ("lang", "words"), [("zh_CN", "不是一个 JSON 对象"), ("en", "no JSON object")]
)
def test_a_secret_that_is_no_json_is_called_so(run, drill, typed, lang, words):
    """No field is reported missing from content that could not be read at all."""
    typed("oops")
    refused = run("-C", drill, "--lang", lang, "secret", "set", "beijing-weibo")
    assert (refused.code, words in refused.err, "oops" in refused.err) == (
        1,
        True,
        False,
    )


def test_a_new_secret_names_the_account_that_is_still_paused(
    run, drill, due_post, typed
):
    """The command that lifts the pause is printed; other accounts' pauses are not."""
    for account in ("beijing-weibo", "beijing-tieba"):
        run("-C", drill, "pause", account, "--by", "王")
    (drill / "secrets" / "beijing-weibo").unlink()
    typed('{"app_key": "1", "app_secret": "2"}')
    stored = run("-C", drill, "secret", "set", "beijing-weibo", "--by", "王")
    assert (stored.code, stored.err.count("publisher resume")) == (0, 1)
    assert "publisher resume beijing-weibo --by" in stored.err


def test_a_secret_that_another_place_overrides_is_an_error(run, drill, typed):
    """An overridden secret is stored, and the exit code shows that it has no effect.

    The error alone reports it: no message of success comes before. A broken
    publisher.toml prevents neither.
    """
    typed('{"app_key": "1", "app_secret": "2"}')
    overridden = run("-C", drill, "secret", "set", "beijing-weibo")
    assert (overridden.code, overridden.out) == (1, "")
    assert str(drill / "secrets" / "beijing-weibo") in overridden.err
    assert run("-C", drill, "secret", "list").out.split() == ["beijing-weibo"]
    (drill / "publisher.toml").write_text("[", "utf-8")
    typed('{"app_key": "3", "app_secret": "4"}')
    assert "已加密保存" in run("-C", drill, "secret", "set", "beijing-weibo").out


@pytest.mark.parametrize(
    ("account", "code", "words"),
    [
        ("nobody", 4, "nobody"),
        ("beijing-wechat", 1, "不用浏览器授权"),
        ("beijing-weibo", 1, "移进加密库"),
    ],
)
def test_login_says_why_it_cannot_begin(run, drill, account, code, words):
    """`login` names the cause: an unknown account, no browser login, or a useless secret place.

    A new token would not be used in such a place.
    """
    reported = run("-C", drill, "login", account)
    assert reported.code == code
    assert words in reported.err
