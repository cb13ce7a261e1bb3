"""`alerts`: how an alert is listed, dismissed and ended."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from publisher.domain.results import CredentialExpired, Rejected
from tests.alerts.receivers import Webhook, serving
from tests.cli.conftest import BY, CAPTCHA, PUBLISHED, TO_WEIBO
from tests.cli.posts import warning, write_schedule

REFUSED = Rejected(code="weibo_20012", reason="too long")


@pytest.fixture
def alerts(run, due_post):
    """Return a function that lists the alerts by their numbers."""
    return lambda: {
        alert["id"]: alert["code"]
        for alert in run("-C", due_post, "alerts", "--json").json["alerts"]
    }


def test_without_a_database_there_are_no_alerts(run, drill):
    """Nothing is created, and dismissing one is exit code 4."""
    assert run("-C", drill, "alerts").out == "没有提醒。\n"
    assert run("-C", drill, "alerts", "dismiss", "1", "--by", "王").code == 4
    assert list((drill / "var").iterdir()) == []


def test_the_alerts_are_listed_as_status_shows_them(run, due_post, deliver, alerts):
    """Each has a number, its time and its text, and the command that dismisses it is named."""
    deliver(REFUSED)
    [(number, code)] = alerts().items()
    assert code == "failed.weibo_20012"
    listed = run("-C", due_post, "alerts").out.splitlines()
    assert listed[0].split()[0] == str(number)
    assert "publisher alerts dismiss" in listed[-1]
    status = run("-C", due_post, "status", "--json").json
    assert status["alerts"] == run("-C", due_post, "alerts", "--json").json["alerts"]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "zh_CN",
            (
                "微博令牌已过期。1 条因此等待人工处理。"
                "请账号管理员用这个账号重新授权。处理好之后"
            ),
        ),
        (
            "en",
            (
                "the Weibo token has ended. Deliveries held for it: 1."
                " Have the account's administrator authorise again. Once"
            ),
        ),
    ],
)
def test_the_alert_of_a_pause_is_in_whole_sentences(
    run, due_post, deliver, lang, words
):
    """The reason, its remedy and the command that ends the pause have one full stop each."""
    for _ in range(2):
        deliver(CredentialExpired(reason="weibo_21327"))
    shown = run("-C", due_post, "--lang", lang, "alerts", "--json").json["alerts"]
    [message] = [
        alert["message"] for alert in shown if alert["code"] == "account_paused"
    ]
    assert words in message


@pytest.mark.long
def test_an_expired_login_is_one_alert_at_a_time(run, due_post, deliver, alerts):
    """While its account is paused, an alert counts the post that met it.

    After `resume` the post has an alert of its own.
    """
    for _ in range(2):
        deliver(CredentialExpired(reason="weibo_21327"))
    assert [*alerts().values()] == ["account_paused"]
    assert "1 条因此等待人工处理" in run("-C", due_post, "alerts").out
    of_post = run("-C", due_post, "status", "refund", "--json").json["alerts"]
    assert [alert["code"] for alert in of_post] == ["held.auth"]
    assert run("-C", due_post, "resume", "beijing-weibo", "--by", "王").code == 0
    assert [*alerts().values()] == ["held.auth"]


def test_a_refused_sign_in_names_the_command_that_renews_it(run, due_post, deliver):
    """The first step of `why` can be given as it stands, for the account's platform."""
    for _ in range(2):
        deliver(CredentialExpired(reason="weibo_21327"))
    assert re.search(
        "1\\. .*publisher login beijing-weibo；",
        run("-C", due_post, "why", "refund").out,
    )


def test_a_dismissed_alert_is_no_longer_shown(run, due_post, deliver, alerts):
    """A dismissed alert leaves `alerts` and `status`, and a second dismissal finds none.

    The audit names the person.
    """
    deliver(REFUSED)
    [number] = alerts()
    assert run("-C", due_post, "alerts", "dismiss", str(number), "--by", "王").code == 0
    assert alerts() == {}
    assert run("-C", due_post, "status", "--json").json["alerts"] == []
    assert "有人看过提醒，让它不再显示" in run("-C", due_post, "why", "refund").out
    assert run("-C", due_post, "alerts", "dismiss", str(number), "--by", "王").code == 4


@pytest.mark.long
def test_a_dismissed_alert_that_lasts_is_listed_again(
    run, due_post, deliver, alerts, run_on_database
):
    """It names the person that has acknowledged it, and when it came back."""
    deliver(CAPTCHA)
    [number] = alerts()
    assert run("-C", due_post, "alerts", "dismiss", str(number), "--by", "王").code == 0
    assert number not in alerts()
    three_hours = timedelta(hours=3) // timedelta(microseconds=1)
    long_ago = f"UPDATE alert SET dismissed_at = dismissed_at - {three_hours}"  # noqa: S608 # a number
    with closing(sqlite3.connect(due_post / "var" / "publisher.db")) as connection:
        connection.execute(long_ago)
        connection.commit()
    run_on_database(lambda application: application.store.acknowledgements.expire())
    [alert] = run("-C", due_post, "alerts", "--json").json["alerts"]
    assert (alert["id"], alert["acknowledged_by"]) == (number, "王")
    assert alert["acknowledged"] < alert["returned"]
    assert "仍未解决" in run("-C", due_post, "alerts").out


@pytest.mark.long
@pytest.mark.parametrize(
    ("lang", "words"), [("zh_CN", "怎么做："), ("en", "What to do: ")]
)
def test_an_alert_about_a_repeating_post_names_its_occurrence(
    run, drill, deliver, lang, words
):
    """An alert names the occurrence as `status` and `why` do, with a command for it alone."""
    write_schedule(drill, warning("weekly", 'cron = "0 9 * * mon"', TO_WEIBO))
    for _ in range(2):
        assert run("-C", drill, "send", "weekly", "--by", "王").code == 0
        deliver(REFUSED)
    row = next(
        row
        for row in run("-C", drill, "status", "--json").json["deliveries"]
        if row["state"] == "failed"
    )
    name = f"weekly#{row['occurrence']}@{row['account']}"
    [message] = [
        alert["message"]
        for alert in run("-C", drill, "--lang", lang, "alerts", "--json").json["alerts"]
        if row["occurrence"] in alert["message"]
    ]
    assert message.startswith(f"weekly#{row['occurrence']} ")
    assert message.endswith(f"{words}publisher why {name}")
    heads = [
        line
        for line in run("-C", drill, "why", name).out.splitlines()
        if line.startswith("weekly#")
    ]
    assert [head.partition("：")[0] for head in heads] == [name]


@pytest.mark.parametrize(
    "arguments",
    [["dismiss"], ["dismiss", "1"], ["dismiss", "x", "--by", "王"], ["close", "1"]],
)
def test_what_is_incomplete_is_a_usage_error(run, drill, arguments):
    """Number and name are needed."""
    assert run("-C", drill, "alerts", *arguments).code == 2


@pytest.mark.long
def test_a_refusal_is_over_when_the_post_is_published_by_a_resend(
    run, due_post, deliver, alerts
):
    """The alert of the first delivery ends with the publication of the second."""
    deliver(REFUSED)
    assert run("-C", due_post, "resend", "refund@beijing-weibo", *BY).code == 0
    assert len(alerts()) == 1
    deliver(PUBLISHED)
    assert alerts() == {}


def test_the_alert_of_one_instant_stays_when_another_is_published(
    run, due_post, deliver, alerts
):
    """Of a repeating post each instant is a matter of its own."""
    deliver(REFUSED)
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        database.execute(
            "UPDATE alert SET subject = 'refund#2027-01-01T00:00:00+00:00@beijing-weibo'"
        )
    assert run("-C", due_post, "resend", "refund@beijing-weibo", *BY).code == 0
    deliver(PUBLISHED)
    assert len(alerts()) == 1


def test_a_refusal_is_over_when_the_post_is_cancelled(run, due_post, deliver, alerts):
    """Nobody wants it to be published any more."""
    deliver(REFUSED)
    assert run("-C", due_post, "cancel", "refund", *BY).code == 0
    assert alerts() == {}


def test_a_dismissed_problem_is_not_raised_again_while_it_lasts(
    run, due_post, deliver, alerts, run_on_database
):
    """The account stays paused, and a probe that meets the same refusal adds no alert."""
    deliver(CAPTCHA)
    for code in ("account_paused", f"held.{CAPTCHA.hold_reason}"):
        [(number, shown)] = alerts().items()
        assert shown == code
        run("-C", due_post, "alerts", "dismiss", str(number), "--by", "王")

    async def probe(application):
        account = application.settings.accounts["beijing-weibo"]
        await application.store.login_health.record_probe(account, CAPTCHA)

    run_on_database(probe)
    assert alerts() == {}


def add_channels(folder, **urls):
    """Add channels with these addresses to the settings."""
    names = "\n".join(f'{name} = "alert-{name}"' for name in urls)
    with (folder / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(
            f"\n[alerts]\nfirst = {json.dumps(list(urls))}\n[alerts.channels]\n{names}\n"
        )
    for name, url in urls.items():
        (folder / "secrets" / f"alert-{name}").write_text(
            json.dumps({"url": url}), "utf-8"
        )


def test_a_test_message_goes_to_each_channel(run, drill):
    """The answer of each channel is printed, and a channel that refuses makes the exit code 1."""
    with serving(Webhook()) as good, serving(Webhook("error")) as bad:
        add_channels(drill, duty=good.url, chief=bad.url)
        done = run("-C", drill, "alerts", "test")
        assert done.code == 1
        assert done.out == "duty：对方已接受\nchief：对方没有接受（500 ）\n"
        assert run("-C", drill, "alerts", "test", "duty").code == 0
    assert [message["title"] for message in good.accepted] == ["publisher 试发"] * 2


def test_an_accepted_test_is_on_record(run, due_post):
    """The database knows the address that worked, by a keyed hash, and no other one."""
    with serving(Webhook()) as good, serving(Webhook("error")) as bad:
        add_channels(due_post, duty=good.url, chief=bad.url)
        run("-C", due_post, "alerts", "test")
    with closing(sqlite3.connect(due_post / "var" / "publisher.db")) as connection:
        rows = connection.execute(
            "SELECT key, value FROM database_info WHERE key LIKE 'channel:%'"
        ).fetchall()
    [(key, value)] = rows
    assert (key.rpartition(":")[2], json.loads(value)["is_proven"]) == ("duty", True)
    assert good.url not in value


def test_a_channel_can_be_tested_while_the_database_cannot_be_read(run, due_post):
    """Just then people need to know whether notices reach them."""
    (due_post / "var" / "publisher.db").write_bytes(b"no database" * 2000)
    with serving(Webhook()) as good:
        add_channels(due_post, duty=good.url)
        assert run("-C", due_post, "alerts", "test").code == 0
    assert len(good.accepted) == 1


def test_a_channel_that_is_unknown_or_missing_is_named(run, drill):
    """An unknown one is exit code 4; without any, the message says where to add one."""
    assert run("-C", drill, "alerts", "test").code == 1
    add_channels(drill, duty="json://127.0.0.1:9/")
    assert run("-C", drill, "alerts", "test", "dutty").code == 4


def test_who_acknowledged_what_is_shown_on_request(run, due_post, deliver, alerts):
    """`--all` lists acknowledged alerts that are not over, with the person and the time."""
    deliver(REFUSED)
    [number] = alerts()
    assert run("-C", due_post, "alerts", "dismiss", str(number), "--by", "王").code == 0
    [shown] = run("-C", due_post, "alerts", "--all", "--json").json["alerts"]
    assert (shown["acknowledged_by"], shown["escalated"], shown["notified"]) == (
        "王",
        None,
        None,
    )
    assert shown["acknowledged"] is not None
    assert re.search("王 .* 确认", run("-C", due_post, "alerts", "--all").out)
    assert run("-C", due_post, "alerts").out == "没有提醒。\n"


def test_check_names_the_line_of_a_wrong_channel(run, drill):
    """In a drill only this machine can be reached; the line is that of the channel."""
    add_channels(drill, duty="jsons://police.cn/hook")
    shown = run("-C", drill, "check", "--json").json
    [problem] = [
        found for found in shown["problems"] if found["code"] == "channel_not_loopback"
    ]
    text = (drill / "publisher.toml").read_text("utf-8").splitlines()
    assert text[problem["line"] - 1] == 'duty = "alert-duty"'


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ('first = ["chief"]\n[alerts.channels]\nduty = "x"', "unknown_channel"),
        ('[alerts.channels]\nduty = "x"', "no_first_channel"),
        ('repeat_every = "10s"', "alerts_too_often"),
        ('dashboard = "publisher"', "bad_alert_address"),
        ('proxy = "http://proxy.police.cn:3128"', "drill_proxy_not_loopback"),
    ],
)
def test_check_names_what_is_wrong_with_the_settings_of_alerts(run, drill, lines, code):
    """Each mistake has its code and its line."""
    with (drill / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[alerts]\n{lines}\n")
    problems = run("-C", drill, "check", "--json").json["problems"]
    assert code in [problem["code"] for problem in problems]
