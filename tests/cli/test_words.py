"""Every code of the database and every message of the command line has a text in both languages."""

import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from publisher.app.format import Formatter
from publisher.app.history import format_event
from publisher.app.previews import NOT_SUPPORTED
from publisher.cli import COMMANDS, run_command
from publisher.cli.terminal import text_width, wrap_text
from publisher.domain.delivery import EVENT_CODES, ReminderKind, State
from publisher.domain.results import HoldReason, TransportReason
from publisher.engine.checkpoints import MISSING_KEY_REASON
from publisher.i18n import LANGUAGES, Messages, load_catalogue
from publisher.secrets import FIELDS_MISSING, SecretErrorCode
from publisher.store.deliveries.sweeps import EXPIRED
from publisher.store.monitor import previews
from publisher.store.queries.queries import Alert, AuditLine, Pause
from tests.cli.reasons import find_reasons

ROOT = Path(__file__).parents[2]
CORE = [
    *(ROOT / "publisher" / "store").rglob("*.py"),
    *(ROOT / "publisher" / "domain").glob("*.py"),
]
CORE_TEXT = "".join(path.read_text("utf-8") for path in CORE)
RECORDED = {
    *EVENT_CODES.values(),
    *re.findall(r'event="(\w+)"', CORE_TEXT),
    "planned",
    "resend_requested",
    "correction_requested",
    "removals_confirmed",
}
UNSHOWN = {
    "app_id", "changed", "failover", "moved", "older", "probed", "returned",
    "user_changed", "user_disabled", "user_left", "user_reset",
}  # fmt: skip
"""Recorded as a reason in the audit log or beside a code, and part of no text that people read."""
REASONS = {
    *find_reasons(
        "publisher/domain", "publisher/store", "publisher/engine", "adapters"
    ),
    *TransportReason,
    *EXPIRED,
    MISSING_KEY_REASON,
    FIELDS_MISSING,
    previews.EXPIRED,
    previews.INTERRUPTED,
    previews.PAUSED,
    NOT_SUPPORTED,
    *(set(get_args(SecretErrorCode)) - {"audit_key_bad"}),
    "login_not_by_browser",  # why the link for a sign-in could not be used
    "login_secret_elsewhere",
} - UNSHOWN
OF_THE_CLOCK = {
    "clock_jumped_back",
    "clock_jumped_ahead",
    "clock_unconfirmed",
    "clock_wrong",
}
ALERTS = {
    *OF_THE_CLOCK,
    *(f"held.{reason.value}" for reason in HoldReason),
    "failed.weibo_20012",
    "failed.weibo_99999",
    "failed.ruled by a person",
    "expired.expired",
    "expired.too_late",
    "removed.removed_on_platform",
    "account_identity_changed",
    "account_paused",
    "review_overdue",
    "cannot_send",
    *(reminder.value for reminder in ReminderKind),
    *re.findall(
        r'raise_delivery_alert\(\s*transaction,\s*[^,]+,\s*"([\w.]+)"', CORE_TEXT
    ),
    *re.findall(
        r'(?:raise_alert|replace_alerts)\(\s*transaction,[^"{]+"(\w+)"', CORE_TEXT
    ),
}
ABOUT_THE_WHOLE = {
    "reload_refused", "database_restored", "waiting_for_journal", "circuit_breaker_open",
    "templates_invalid", "clock_skew", "approvals_voided", "users_suspended", *OF_THE_CLOCK,
}  # fmt: skip
"""Alerts that concern no single post or account."""
INSTANT = datetime(2027, 1, 5, 1, 0, tzinfo=UTC)


@pytest.fixture(params=LANGUAGES)
def narrator(request):
    return Formatter(
        messages=Messages(request.param), timezone=ZoneInfo("Asia/Shanghai")
    )


def test_the_lists_are_not_empty():
    """The searches above still find the codes in the source."""
    assert {"paused", "planned", "cancelled", "late_outcome_recorded"} <= RECORDED
    assert {
        "cancelled_by_person",
        "original_not_published",
        "timeout",
        "id_owned_by_another",
    } <= REASONS
    assert {
        "account_paused",
        "cancelled.original_not_published",
        "review_overdue",
        "retraction_refused",
        "reload_refused",
    } <= ALERTS


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_name_and_a_next_step(narrator, state):
    """Each state has a name and a sentence about its next step."""
    assert narrator.state(state) != f"state_{state.value}"
    assert narrator.messages.hint(f"state_{state.value}")


@pytest.mark.parametrize("reason", HoldReason)
def test_every_hold_reason_says_what_to_do(narrator, reason):
    """Each hold reason says why, and shows commands that can be typed."""
    assert narrator.reason(reason.value) != reason.value
    hint = narrator.messages.hint(f"hold_{reason.value}", subject="p@a", account="a")
    assert "publisher" in hint
    assert "{subject}" not in hint


@pytest.mark.parametrize("event", sorted(RECORDED))
def test_every_audit_event_has_a_text(narrator, event):
    """Each kind of audit entry has a text, for every kind of actor."""
    for role in ("sender", "reconciler", "person"):
        entry = AuditLine(
            at=INSTANT,
            role=role,
            name="王",
            event=event,
            before="due",
            after="claimed",
            detail={"attempt": 1, "reason": None, "correction": "fix", "to": "wang"},
        )
        words = format_event(entry, narrator)
        assert "event_" not in words
        assert "{" not in words


@pytest.mark.parametrize("words", ["days", "nothing", "page_title"])
def test_a_persons_reason_is_shown_as_it_is(narrator, words):
    """A person's text is no message code, even if a message has that code."""
    pause = Pause(scope="all", at=INSTANT, by="王", reason=words)
    assert narrator.reason(words) == words
    assert words in narrator.pause("paused_line", pause)


def test_every_reason_has_a_text(narrator):
    """Each reason of the core, the HTTP client or an adapter has a text of its own.

    The text has no placeholder.
    """
    texts = {reason: narrator.reason(reason) for reason in REASONS}
    unlisted = {
        reason: narrator.messages.translate("reason_unlisted", code=reason)
        for reason in REASONS
    }
    assert [
        reason
        for reason, text in texts.items()
        if text in {reason, unlisted[reason]} or "{" in text
    ] == []


@pytest.mark.parametrize("reason", TransportReason)
def test_a_hint_of_the_transport_claims_no_outcome(narrator, reason):
    """A transport reason's hint names the calls with a read of the account.

    Uploads and login checks have these reasons too.
    """
    hint = narrator.messages.hint(f"reason_{reason}")
    assert hint
    if re.search("读取账号|account is read|on the account", hint):
        assert re.search("可能已经发出的|something may have been sent", hint)


def test_no_text_is_for_a_reason_that_nothing_gives():
    """The source gives every reason that has a text, and the search for reasons misses none.

    No text is left over.
    """
    texts = {
        code.removeprefix("reason_")
        for code in load_catalogue()
        if code.startswith("reason_")
    }
    assert texts - {"none", "unlisted"} - REASONS == set()


@pytest.mark.parametrize("code", sorted(ALERTS))
def test_every_alert_has_a_text(narrator, code):
    """Each alert has a text that names the post or the account."""
    facts = {} if code.startswith("reload") else {"account": "beijing-weibo"}
    if code in {
        "unauthorized_post",
        "external_post",
        "retraction_refused",
        "occurrences_missed",
    }:
        facts |= {"number": "2", "url": "https://weibo.com/1/a"}
    if code in {
        "attempt_assumed",
        "attempt_recovered",
        "attempt_orphaned",
        "database_restored",
        "response_late",
    }:
        facts |= {
            "post": "p",
            "url": "",
            "since": "2027-01-05T09:00:00+08:00",
            "by": "王",
        }
    if code.endswith("identity_changed"):
        facts |= {"sent_as": "1000", "identity": "2000", "number": "2"}
    if code == "job_failing":
        facts |= {
            "job": "monitor_account",
            "event": "monitor_failed",
            "host": "host",
            "number": "3",
            "since": "2027-01-05",
        }
    facts |= (
        {
            "worker": "host:/workspace",
            "seconds": "30",
            "host": "host",
            "platform": "weibo",
            "number": "5",
        }
        if code in ABOUT_THE_WHOLE
        else {}
    )
    reported = narrator.alert(
        Alert(
            id=1,
            at=INSTANT,
            code=code,
            subject="p@beijing-weibo",
            facts={"reason": "timeout", **facts},
        )
    )
    assert code not in reported
    assert "beijing-weibo" in reported or code in ABOUT_THE_WHOLE
    assert "{" not in reported


def test_every_job_has_a_text(narrator):
    """An alert about any job of the daemon, or a job of one account, names the failing job."""
    beats = [
        name
        for path in ("daemon.py", "app/checks.py")
        for name in re.findall(
            r"Job\(\s*\"(\w+)\",", (ROOT / "publisher" / path).read_text("utf-8")
        )
    ]
    assert len(beats) == 33
    for job in [*beats, "monitor_account", "check_login"]:
        facts = {
            "job": job,
            "event": "job_failed",
            "host": "host",
            "number": "3",
            "since": "2027-01-05T01:00:00+00:00",
        }
        reported = narrator.alert(
            Alert(
                id=1,
                at=INSTANT,
                code="job_failing",
                subject="job",
                facts={**facts, "account": "a"},
            )
        )
        assert f"job_{job}" not in reported
        assert "{" not in reported
        assert "2027-01-05 09:00:00" in reported


def test_an_unlisted_code_and_a_persons_text_stay_readable(narrator):
    """A platform code without an entry is named as such; a person's text stays as it is."""
    assert "weibo_99999" in narrator.reason("weibo_99999")
    assert narrator.reason("weibo_99999") != "weibo_99999"
    assert narrator.reason("已电话核实") == "已电话核实"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_in_the_chosen_language(capsys, command, lang):
    """Every help page is in its language, without a bare code or text of the library."""
    assert run_command(["--lang", lang, *filter(None, [command]), "--help"]) == 0
    page = capsys.readouterr().out
    assert not re.search(r"\b(?:opt|cmd)_\w+|options_blank|command_blank", page)
    if lang == "zh_CN":
        assert not re.search(r"Usage|Options|Commands|Show this|required|OPTIONS", page)
        assert page.startswith("用法：")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], "没有命令“chekc”，您要的是不是 check"),
        (["check", "a", "b"], "多出了参数：b"),
        (["check", "--jsn"], "没有选项 --jsn，您要的是不是 --json"),
        (["preview"], "缺少 POST"),
        (["cancel", "p"], "缺少 --by"),
        (["cancel", "p", "--by"], "选项 --by 后面要写一个值"),
        (["check", "--json=1"], "选项 --json 后面不写值"),
        (["cancel", "p", "--by", " ", "--reason", "r"], "--by 不能空着"),
        (["demo", "--regions", "51"], "1 到 50"),
        (["simulate", "--listen", "here"], "地址:端口"),
        (["resolve", "p", "cancel", "--by", "a", "--reason", "r"], "要写明账号"),
        (["resolve", "p@a", "burn", "--by", "a", "--reason", "r"], "只能是"),
        (["resolve", "p@a", "published", "--by", "a", "--reason", "r"], "要写网址"),
        (["resolve", "p@a", "cancel", "u", "--by", "a", "--reason", "r"], "不写网址"),
        (["resolve", "p@a", "confirm", "u", "--by", "a", "--reason", "r"], "不写网址"),
        (["why", "p#yesterday@a"], "无法识别"),
        (["reload", "--confirm-removals", "3"], "要写明 --by"),
        (["--lang", "fr", "check"], "--lang 只能是"),
    ],
)
def test_wrong_usage_is_reported_in_chinese(capsys, arguments, words):
    """Wrong usage exits 2 and describes the fault and the help in Chinese."""
    assert run_command(arguments) == 2
    reported = capsys.readouterr()
    assert reported.out == ""
    assert words in reported.err
    assert "--help" in reported.err


def test_no_command_shows_the_help(capsys):
    """Without a command the help is shown, and the exit code says that nothing was done."""
    assert run_command([]) == 2
    assert "preview" in capsys.readouterr().err


def test_the_environment_chooses_the_language(capsys, monkeypatch):
    """PUBLISHER_LANG sets the language, and --lang overrules it."""
    monkeypatch.setenv("PUBLISHER_LANG", "en")
    assert run_command(["chekc"]) == 2
    assert "there is no command" in capsys.readouterr().err
    assert run_command(["--lang=zh_CN", "chekc"]) == 2
    assert "没有命令" in capsys.readouterr().err


@pytest.mark.parametrize("width", [17, 24, 40])
def test_wrapping_counts_columns(width):
    """No line is wider than requested, no letter is lost, and no line begins with a comma."""
    text = (
        "一次列出所有问题，写明文件、行、列和改法。FILE 默认为工作区的 schedule.toml。"
    )
    lines = list(wrap_text(text, width))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(text_width(line) <= width + 2 for line in lines if " " not in line)
    assert not any(line.startswith(("，", "。", "、")) for line in lines)


def test_every_code_of_the_preview_page_has_a_text():
    """Every code that the page of `preview --html` uses is in the catalogue."""
    page = (files("publisher.cli") / "preview.html").read_text("utf-8")
    codes = re.findall(r'(?:say|translate)\("(\w+)"[,)]', page)
    assert codes
    assert [code for code in codes if code not in Messages().entries] == []
