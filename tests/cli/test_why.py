"""`why`: the history of a delivery, its next step, and the work of a person."""

import re

import pytest

from publisher.domain.results import Blocked, HoldReason, Unknown
from tests.cli.conftest import BY, CAPTCHA, PUBLISHED, state_of
from tests.cli.posts import warning, write_schedule


@pytest.mark.long
def test_a_captcha_is_explained_and_resolved(run, due_post, deliver):
    """`why` on a held delivery gives the person and the exact commands; they queue it again."""
    deliver(CAPTCHA)
    reported = run("-C", due_post, "why", "refund@beijing-weibo").out
    assert "等待人工处理" in reported
    assert "publisher resume beijing-weibo" in reported
    assert "publisher resolve refund@beijing-weibo resend" in reported
    alerts = run("-C", due_post, "status", "--json").json["alerts"]
    assert {alert["code"] for alert in alerts} == {"account_paused"}
    assert all(alert["message"] and "held" not in alert["message"] for alert in alerts)
    resolved = run("-C", due_post, "resolve", "refund@beijing-weibo", "resend", *BY)
    assert resolved.code == 0
    assert "仍在暂停" in resolved.err
    assert run("-C", due_post, "resume", "beijing-weibo", "--by", "王").code == 0
    assert run("-C", due_post, "status", "--json").json["paused"] == []
    deliver(PUBLISHED)
    assert state_of(run, due_post) == "published"


def test_why_shows_the_history_of_an_unknown_outcome(run, due_post, deliver):
    """The history names the attempt, the cause of the unknown outcome, and the next read."""
    deliver(Unknown(reason="timeout"))
    reported = run("-C", due_post, "why", "refund").out
    assert "结果不明，正在核实" in reported
    assert "规定时间内没有收到完整的答复" in reported
    assert "请勿手工重发" in reported
    assert re.search(r"下一次在 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", reported)


@pytest.mark.parametrize(
    ("platform", "lang", "is_said"),
    [
        ("weibo", "zh_CN", False),
        ("wechat", "zh_CN", True),
        ("tieba", "en", False),
        ("wechat", "en", True),
    ],
)
def test_advice_of_one_platform_is_not_given_for_another(
    run, drill, deliver, platform, lang, *, is_said
):
    """Only an outcome on WeChat may be a mass send that still waits for its administrator."""
    write_schedule(drill, warning("refund", to=f'["platform:{platform}"]'))
    run("-C", drill, "send", "refund", "--by", "王")
    deliver(
        Blocked(code="weibo_20031", reason="verify", hold_reason=HoldReason.UNCHECKABLE)
    )
    reported = run("-C", drill, "--lang", lang, "why", "refund").out
    assert bool(re.search("群发若在等|A mass send that", reported)) is is_said
    assert "{" not in reported
