"""Corrections and retractions at the command line, on databases without a daemon."""

import re

import pytest

from publisher.domain.delivery import RECONCILER, RETRACTOR, State
from publisher.domain.results import Deleted, Published, Receipt, Rejected, Unknown
from publisher.runtime.clock import Runtime
from publisher.store.deliveries.intents import PendingReadback
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王")
WHY = (*BY, "--reason", "有误")
ALL = ["beijing-tieba", "beijing-wechat", "beijing-weibo"]
CORRECTION = """
[[post]]
id = "{id}"
kind = "correction"
follows = "{follows}"
template = "correction"
author = "zhang"
title = "更正：退款客服电话有误"
{when}
to = {to}
[post.data]
summary = "此前提示中的电话有误，现予更正"
wrong = "95013"
right = "95188"
"""


def correction(name="fix", follows="refund", when='at = "asap"', to='["all"]'):
    return CORRECTION.format(id=name, follows=follows, when=when, to=to)


@pytest.fixture
def deliver_by_platform(run_on_database):
    """Return a function that makes the next call of each login, with outcomes by platform.

    Other logins are left alone.
    """

    def receipt(platform, delivery):
        return Receipt(
            remote_id=f"{platform}-{delivery}",
            url=f"https://{platform}.example/{delivery}",
            published_at=NOW,
        )

    def delivering(**outcomes):
        async def act(application):
            await application.store.maintenance.promote_due()
            for lease in await application.store.outbox.claim(10):
                platform = application.settings.accounts[lease.account].platform
                outcome = outcomes.get(platform)
                if outcome is None:
                    await application.store.outbox.release(lease)
                    continue
                await application.store.outbox.record_intent(lease)
                if outcome == "published":
                    outcome = Published(receipt=receipt(platform, lease.delivery))
                await application.store.outbox.record_outcome(lease, outcome)

        run_on_database(act)

    return delivering


NOW = Runtime().now()
REFUSED = Rejected(code="weibo_20012", reason="too long")
DOUBT = Unknown(reason="timeout")


@pytest.fixture
def due_everywhere(run, drill):
    """Return the drill with one post due on all three platforms."""
    write_schedule(
        drill,
        warning("refund", when='at = "asap"'),
        correction(when="at = 2030-01-05T09:00:00"),
    )
    assert run("-C", drill, "send", "refund", *BY).code == 0
    return drill


def states(run, drill, post):
    rows = run("-C", drill, "status", post, "--json").json["deliveries"]
    return {row["account"]: row["state"] for row in rows}


def test_a_correction_goes_where_the_original_is_published_and_waits_where_it_is_unknown(
    run, due_everywhere, deliver_by_platform, run_on_database
):
    """A correction is sent where the original is published, and waits where it is unknown.

    It skips an account that rejects.
    """
    deliver_by_platform(weibo="published", wechat=DOUBT, tieba=REFUSED)
    reported = run("-C", due_everywhere, "correct", "refund", "fix", *BY)
    assert reported.code == 0
    assert re.search(
        r"马上发到 1 个账号，原稿在那里已发布：beijing-weibo", reported.out
    )
    assert re.search(r"还有 1 个账号上原稿的结果还不明.*beijing-wechat", reported.out)
    assert re.search(
        r"不发 1 个账号（原稿没有在那里发布过）：beijing-tieba", reported.out
    )
    assert states(run, due_everywhere, "fix") == {
        "beijing-wechat": "due",
        "beijing-weibo": "due",
    }
    deliver_by_platform(weibo="published", wechat="published")
    assert states(run, due_everywhere, "fix") == {
        "beijing-wechat": "due",
        "beijing-weibo": "published",
    }

    async def resolve(application):
        [unknown] = await application.store.queries.deliveries(
            "refund", states=[State.UNKNOWN]
        )
        receipt = Receipt(
            remote_id="w1", url="https://wechat.example/1", published_at=NOW
        )
        await application.store.outbox.record_readback(
            PendingReadback(delivery=unknown, request=None),
            Published(receipt=receipt),
            RECONCILER,
            Runtime().monotonic(),
        )

    run_on_database(resolve)
    deliver_by_platform(wechat="published")
    assert states(run, due_everywhere, "fix")["beijing-wechat"] == "published"
    again = run("-C", due_everywhere, "correct", "refund", "fix", *BY)
    assert again.code == 0
    assert "2 个账号上更正已经发布" in again.out
    assert (
        "要求更正，用“fix”"
        in run("-C", due_everywhere, "why", "refund@beijing-weibo").out
    )


def test_a_correction_is_dropped_where_the_original_is_not_published(
    run, due_everywhere, deliver_by_platform, run_on_database
):
    """Where the original turns out to be unpublished, the correction is dropped with an alert."""
    deliver_by_platform(wechat=DOUBT)
    assert run("-C", due_everywhere, "correct", "refund", "fix", *BY).code == 0

    async def resolve(application):
        [unknown] = await application.store.queries.deliveries(
            "refund", states=[State.UNKNOWN]
        )
        await application.store.outbox.record_readback(
            PendingReadback(delivery=unknown, request=None),
            REFUSED,
            RECONCILER,
            Runtime().monotonic(),
        )
        await application.store.maintenance.promote_due()
        await application.store.maintenance.cancel_orphans()

    run_on_database(resolve)
    assert states(run, due_everywhere, "fix") == {"beijing-wechat": "cancelled"}
    alerts = run("-C", due_everywhere, "status", "--json").json["alerts"]
    assert "cancelled.original_not_published" in {alert["code"] for alert in alerts}


def test_f104_an_original_that_is_not_out_is_stopped(run, due_everywhere):
    """F104: with nothing to correct yet the original is stopped, and the text says so.

    Only single accounts get it again.
    """
    reported = run("-C", due_everywhere, "correct", "refund", "fix", *BY)
    assert reported.code == 0
    assert "已经停发" in reported.out
    assert states(run, due_everywhere, "refund") == dict.fromkeys(ALL, "cancelled")
    assert "由更正代替" in run("-C", due_everywhere, "why", "refund@beijing-weibo").out
    refused = run("-C", due_everywhere, "send", "refund", *BY)
    assert refused.code == 1
    assert "publisher resend refund@账号" in refused.err
    assert run("-C", due_everywhere, "resend", "refund@beijing-weibo", *WHY).code == 0
    assert run("-C", due_everywhere, "resend", "refund@beijing-weibo", *WHY).code == 3


def test_f104_people_are_asked_at_once_where_the_original_is_in_doubt(
    run, due_everywhere, deliver_by_platform
):
    """F104: the order raises an alert with the accounts; `why` says that no second call follows."""
    deliver_by_platform(weibo="published", wechat=DOUBT)
    assert run("-C", due_everywhere, "correct", "refund", "fix", *BY).code == 0
    [alert] = [
        one
        for one in run("-C", due_everywhere, "status", "refund", "--json").json[
            "alerts"
        ]
        if one["code"] == "original_in_doubt"
    ]
    assert "beijing-wechat" in alert["message"]
    assert "不再发" in run("-C", due_everywhere, "why", "refund@beijing-wechat").out


def test_a_correction_is_urgent_and_does_not_expire_while_it_waits(
    run, due_everywhere, deliver_by_platform, run_on_database
):
    """A correction overtakes, is due now despite its entry, and does not expire.

    It does not expire while an unknown outcome is resolved.
    """
    deliver_by_platform(wechat=DOUBT)
    run("-C", due_everywhere, "correct", "refund", "fix", *BY)

    async def read(application):
        return await application.store.queries.deliveries("fix")

    [delivery] = run_on_database(read)
    assert delivery.is_urgent
    assert delivery.due_at <= Runtime().now()
    assert delivery.due_at + delivery.max_delay >= delivery.expires_at


def test_a_correction_reaches_accounts_that_its_own_entry_does_not_name(
    run, drill, deliver_by_platform
):
    """It goes wherever the original is published; the next planning run keeps it."""
    write_schedule(drill, warning("refund", when='at = "asap"'))
    assert run("-C", drill, "send", "refund", *BY).code == 0
    deliver_by_platform(weibo="published", tieba="published")
    write_schedule(
        drill, warning("refund", when='at = "asap"'), correction(to='["beijing-weibo"]')
    )
    assert run("-C", drill, "correct", "refund", "fix", *BY).code == 0
    assert states(run, drill, "fix") == {"beijing-tieba": "due", "beijing-weibo": "due"}
    write_schedule(
        drill,
        warning("refund", when='at = "asap"'),
        correction(to='["beijing-weibo"]'),
        warning("other"),
    )
    assert run("-C", drill, "reload").code == 0
    deliver_by_platform(weibo="published", tieba="published")
    assert states(run, drill, "fix") == {
        "beijing-tieba": "published",
        "beijing-weibo": "published",
    }


def test_a_file_of_its_own_is_a_correction_too(
    run, due_everywhere, deliver_by_platform, tmp_path
):
    """A file with only the correction, outside the schedule, suffices, for any accounts in it."""
    deliver_by_platform(weibo="published")
    file = tmp_path / "night.toml"
    file.write_text(correction("night", to='["beijing-tieba"]'), "utf-8")
    reported = run("-C", due_everywhere, "correct", "refund", file, *BY)
    assert reported.code == 0
    assert re.search(
        r"2 个账号上原稿还没有发出，已经停发.*beijing-wechat", reported.out
    )
    assert states(run, due_everywhere, "night") == {"beijing-weibo": "due"}
    file.write_text(correction("one") + correction("two"), "utf-8")
    assert run("-C", due_everywhere, "correct", "refund", file, *BY).code == 1
    assert (
        run("-C", due_everywhere, "correct", "refund", tmp_path / "none.toml", *BY).code
        == 1
    )


def test_without_a_published_original_nothing_is_corrected(
    run, due_everywhere, deliver_by_platform
):
    """With the original published nowhere the command gives a reason per account and exits 1.

    It files nothing.
    """
    deliver_by_platform(weibo=REFUSED, wechat=REFUSED, tieba=REFUSED)
    reported = run("-C", due_everywhere, "correct", "refund", "fix", *BY)
    assert reported.code == 1
    assert "没有可发的地方" in reported.out
    assert "beijing-weibo" in reported.out
    assert states(run, due_everywhere, "fix") == {}


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (("refund", "other"), 1, "不是更正"),
        (("other", "fix"), 1, "更正的是“refund”"),
        (("refund", "weekly"), 1, "重复发布"),
        (("refund", "nothing"), 4, "nothing"),
        (("nothing", "fix"), 4, "nothing"),
    ],
)
def test_another_post_than_a_correction_of_it_is_refused(
    run, drill, names, code, words
):
    """A wrong kind, another original, a repeating entry and an unknown post are distinguished.

    Nothing is planned.
    """
    weekly = correction("weekly", when='cron = "0 9 * * mon"')
    write_schedule(
        drill,
        warning("refund", when='at = "asap"'),
        warning("other"),
        correction(),
        weekly,
    )
    assert run("-C", drill, "reload").code == 0
    refused = run("-C", drill, "correct", *names, *BY)
    assert refused.code == code
    assert words in refused.err


def test_a_delay_of_a_correction_is_reported(run, due_everywhere, deliver_by_platform):
    """A pause over a correction, or an account that is off, is shown with its lifting command.

    Other pauses and accounts are not shown.
    """
    deliver_by_platform(weibo="published", tieba="published")
    run("-C", due_everywhere, "pause", "beijing-weibo", *BY)
    run("-C", due_everywhere, "pause", "beijing-wechat", *BY)
    run("-C", due_everywhere, "mode", "beijing-tieba", "off", *WHY)
    reported = run("-C", due_everywhere, "correct", "refund", "fix", *BY)
    assert reported.code == 0
    assert "publisher resume beijing-weibo" in reported.err
    assert "publisher resume beijing-wechat" not in reported.err
    assert "beijing-tieba" in reported.err


def test_a_cancelled_correction_is_refused(run, due_everywhere, deliver_by_platform):
    """A cancelled post is not sent by another command."""
    deliver_by_platform(weibo="published")
    run("-C", due_everywhere, "cancel", "fix", *WHY)
    assert run("-C", due_everywhere, "correct", "refund", "fix", *BY).code == 1


@pytest.fixture
def answered(run_on_database):
    """Return a function that lets the platform answer a deletion."""

    def answering(removal):
        async def act(application):
            [delivery] = await application.store.queries.deliveries(
                "refund", states=[State.RETRACTING]
            )
            await application.store.outbox.record_readback(
                PendingReadback(delivery=delivery, request=None),
                removal,
                RETRACTOR,
                Runtime().monotonic(),
            )

        run_on_database(act)

    return answering


def test_a_retraction_shows_its_proof(
    run, due_everywhere, deliver_by_platform, answered
):
    """`status` and `why` show the instant of the read that confirmed the deletion."""
    deliver_by_platform(weibo="published")
    run("-C", due_everywhere, "retract", "refund", "--account", "beijing-weibo", *WHY)
    reported = run("-C", due_everywhere, "why", "refund@beijing-weibo").out
    assert "还没有确认删除，请当作仍然在线：https://weibo.example/" in reported
    answered(Deleted())
    reported = run("-C", due_everywhere, "why", "refund@beijing-weibo").out
    assert re.search(
        r"已确认删除：\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 读取平台，它已经不在了", reported
    )
    rows = {
        row["account"]: row
        for row in run("-C", due_everywhere, "status", "--json").json["deliveries"]
    }
    assert rows["beijing-weibo"]["gone_at"].endswith("+08:00")
    assert not rows["beijing-weibo"]["is_still_live"]
    assert "确认删除" in run("-C", due_everywhere, "status", "--today").out


def test_a_refused_retraction_says_still_published_and_what_a_person_can_do(
    run, due_everywhere, deliver_by_platform, answered
):
    """F78: a refusal has the address, the console and the next step; a correction can follow."""
    deliver_by_platform(weibo="published")
    run("-C", due_everywhere, "retract", "refund", "--account", "beijing-weibo", *WHY)
    assert run("-C", due_everywhere, "correct", "refund", "fix", *BY).code == 0
    deliver_by_platform(weibo="published")
    assert states(run, due_everywhere, "fix")["beijing-weibo"] == "due"
    answered(Rejected(code="weibo_10014", reason="Insufficient app permissions!"))
    reported = run("-C", due_everywhere, "why", "refund@beijing-weibo").out
    assert "仍然在线：https://weibo.example/" in reported
    assert "手工删除：用这个账号登录 weibo.com" in reported
    shown = run("-C", due_everywhere, "status", "--json").json
    assert next(row for row in shown["deliveries"] if row["state"] == "retracting")[
        "is_still_live"
    ]
    alert = next(
        alert for alert in shown["alerts"] if alert["code"] == "retraction_refused"
    )
    assert "https://weibo.example/" in alert["message"]
    assert "仍然在线 https://weibo.example/" in run("-C", due_everywhere, "status").out
    deliver_by_platform(weibo="published")
    assert states(run, due_everywhere, "fix")["beijing-weibo"] == "published"
