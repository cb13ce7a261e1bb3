"""`send`, `cancel`, `retract`, `resolve`, `resend`, `pause` and `reload`, without a daemon."""

import re
import sqlite3
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from publisher.domain.results import Rejected
from tests.cli.conftest import (
    BY,
    CAPTCHA,
    NOTHING_CLAIMED,
    PUBLISHED,
    TO_WEIBO,
    state_of,
)
from tests.cli.posts import in_days, warning, write_schedule

NOW = datetime(2026, 11, 25)  # noqa: DTZ001 # a TOML time without offset
REFUSED = Rejected(code="weibo_20012", reason="too long")


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "nothing"),
        ("why", "nothing"),
        ("why", "refund@no-one"),
        ("why", "refund#2027-01-01T00:00:00@beijing-weibo"),
        ("cancel", "nothing", *BY),
        ("retract", "nothing", *BY),
        ("retract", "refund", "--account", "beijing-wechat", *BY),
        ("resolve", "refund@no-one", "cancel", *BY),
        ("resend", "nothing@beijing-weibo", *BY),
        ("pause", "nothing", "--by", "王"),
        ("pause", "platform:myspace", "--by", "王"),
        ("send", "nothing", "--by", "王"),
    ],
)
def test_an_unknown_target_exits_4(run, due_post, arguments):
    """An unknown post, account, platform or delivery is named, and the exit code is 4."""
    reported = run("-C", due_post, *arguments)
    assert reported.code == 4
    assert reported.out == ""
    assert re.search("没有", reported.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ("why", "refund\udcff"),
        ("preview", "refund\udcff"),
        ("resend", "refund@bj\udcff", "--by", "li", "--reason", "x"),
        (
            "resolve",
            "refund@bj",
            "published",
            "https://x.example/\udcff",
            "--by",
            "li",
            "--reason",
            "x",
        ),
        ("assist", "done", "refund@bj", "https://x.example/\udcff", "--by", "li"),
    ],
)
def test_a_byte_that_is_no_text_is_wrong_usage(run, due_post, arguments):
    """A byte of another encoding is refused with the remedy, and stored nowhere."""
    result = run("-C", due_post, *arguments)
    assert (result.code, "Traceback" in result.err) == (2, False), result.err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("pause", "beijing-wiebo", "--by", "王"), "beijing-weibo"),
        (("pause", "refnud", "--by", "王"), "refund"),
        (("pause", "platfrom:weibo", "--by", "王"), "platform:weibo"),
        (("pause", "platform:wiebo", "--by", "王"), "weibo"),
        (("resume", "beijing-wiebo", "--by", "王"), "beijing-weibo"),
        (("status", "refnud"), "refund"),
        (("status", "--account", "beijing-wiebo"), "beijing-weibo"),
        (("why", "refund@beijing-wiebo"), "refund@beijing-weibo"),
        (("cancel", "refnud", *BY), "refund"),
        (
            ("retract", "refund", "--account", "beijing-wiebo", *BY),
            "refund@beijing-weibo",
        ),
        (("resolve", "refund@beijing-wiebo", "cancel", *BY), "refund@beijing-weibo"),
        (("send", "refnud", "--by", "王"), "refund"),
        (("preview", "refnud"), "refund"),
        (("preview", "refund", "--account", "beijing-wiebo"), "beijing-weibo"),
        (("mode", "beijing-wiebo", "off", *BY), "beijing-weibo"),
        (("templates", "waring"), "warning"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(
    run, due_post, arguments, meant
):
    """The hint names an existing similar name; a name like no other has none."""
    reported = run("-C", due_post, "--lang", "en", *arguments)
    assert (reported.code, reported.out) == (4, "")
    hint = reported.err.splitlines()[-1]
    assert hint.startswith("    You may have meant: ")
    assert meant in hint.removeprefix("    You may have meant: ").split(", ")
    assert (
        "meant"
        not in run("-C", due_post, "--lang", "en", "pause", "@@@", "--by", "王").err
    )


@pytest.mark.parametrize("reason", ["expired", "captcha", "weibo_20012"])
def test_a_reason_that_is_spelt_like_a_code_stays_as_it_was_typed(
    run, due_post, deliver, reason
):
    """A reason spelled like a code of a state, a hold or a platform stays as it was typed."""
    deliver(PUBLISHED)
    assert (
        run("-C", due_post, "retract", "refund", "--by", "王", "--reason", reason).code
        == 0
    )
    assert (
        run(
            "-C", due_post, "pause", "beijing-tieba", "--by", "王", "--reason", reason
        ).code
        == 0
    )
    assert f"要求删帖：“{reason}”（王）" in run("-C", due_post, "why", "refund").out
    assert f"“{reason}”）。恢复" in run("-C", due_post, "status").out


@pytest.mark.parametrize(
    ("lang", "words"), [("zh_CN", "原因：改为明天发"), ("en", "reason: 改为明天发")]
)
def test_status_says_that_what_a_person_typed_is_a_reason(
    run, due_post, deliver, lang, words
):
    """A code's text explains itself; a person's reason is introduced."""
    deliver(CAPTCHA)
    decision = (
        "resolve",
        "refund@beijing-weibo",
        "cancel",
        "--by",
        "王",
        "--reason",
        "改为明天发",
    )
    assert run("-C", due_post, *decision).code == 0
    assert words in run("-C", due_post, "--lang", lang, "status", "refund").out


def test_resuming_an_account_names_what_is_not_sent_by_itself(run, due_post, deliver):
    """A post refused before the pause still needs its decision, and its command is printed."""
    deliver(CAPTCHA)
    resumed = run("-C", due_post, "resume", "beijing-weibo", "--by", "王")
    assert (resumed.code, "publisher why refund@beijing-weibo" in resumed.err) == (
        0,
        True,
    )
    assert (
        "why" not in run("-C", due_post, "resume", "beijing-wechat", "--by", "王").err
    )


def test_a_reason_in_words_is_kept_as_it_is(run, due_post, deliver):
    """A reason that is no code gets no quotation marks; a pause's may be absent, but not blank."""
    deliver(PUBLISHED)
    assert (
        run("-C", due_post, "retract", "refund", "--by", "王", "--reason", "oops").code
        == 0
    )
    assert "要求删帖：oops（王）" in run("-C", due_post, "why", "refund").out
    assert run("-C", due_post, "pause", "--by", "王").code == 0
    assert run("-C", due_post, "pause", "--by", "王", "--reason", " ").code == 2


def test_sending_what_has_ended_leaves_no_trace_in_its_history(run, due_post, deliver):
    """The command fails, and `why` does not say that the post was to be sent at once."""
    deliver(PUBLISHED)
    before = run("-C", due_post, "why", "refund").out
    assert run("-C", due_post, "send", "refund", "--by", "李").code == 1
    assert run("-C", due_post, "why", "refund").out == before


def test_each_resolution_ends_in_its_state(run, due_post, deliver):
    """`not-published` fails it; a second resolution finds nothing held and exits 1."""
    deliver(CAPTCHA)
    assert (
        run(
            "-C", due_post, "resolve", "refund@beijing-weibo", "not-published", *BY
        ).code
        == 0
    )
    assert state_of(run, due_post) == "failed"
    assert (
        run("-C", due_post, "resolve", "refund@beijing-weibo", "cancel", *BY).code == 1
    )


def test_published_without_proof_takes_two_people(run, due_post, deliver):
    """The first person stores a request without confirming it; the second one publishes it.

    It is published without proof.
    """
    deliver(CAPTCHA)
    target = ("resolve", "refund@beijing-weibo")
    confirm = (*target, "confirm", "--reason", "试验", "--by")
    assert run("-C", due_post, *confirm, "李").code == 1
    assert (
        run("-C", due_post, *target, "published", "https://weibo.com/1/b", *BY).code
        == 0
    )
    assert run("-C", due_post, *confirm, "王").code == 3
    assert run("-C", due_post, *confirm, "李").code == 0
    assert run("-C", due_post, *confirm, "李").code == 1
    assert state_of(run, due_post) == "published"
    assert "由人确认" in run("-C", due_post, "status", "refund").out


def test_two_people_confirm_what_was_posted_without_any_call(run, due_post):
    """Without a call, the first person's word changes nothing; the second makes it published."""
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        database.execute("UPDATE delivery SET state = 'held', reason = 'poison'")
    target = ("resolve", "refund@beijing-weibo")
    assert (
        run("-C", due_post, *target, "published", "https://weibo.com/1/b", *BY).code
        == 0
    )
    assert state_of(run, due_post) == "held"
    assert (
        run("-C", due_post, *target, "confirm", "--reason", "试验", "--by", "李").code
        == 0
    )
    [delivery] = run("-C", due_post, "status", "--json").json["deliveries"]
    assert (delivery["state"], delivery["url"]) == (
        "published",
        "https://weibo.com/1/b",
    )


def test_a_second_person_confirms_nothing_about_an_earlier_call(run, due_post, deliver):
    """The first person's word about one call says nothing about the next."""
    deliver(CAPTCHA)
    target = ("resolve", "refund@beijing-weibo")
    assert (
        run("-C", due_post, *target, "published", "https://weibo.com/1/b", *BY).code
        == 0
    )
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        database.execute("UPDATE delivery SET state = 'due', next_action_at = NULL")
        database.execute("DELETE FROM pause")
    deliver(CAPTCHA)
    refused = run("-C", due_post, *target, "confirm", "--reason", "试验", "--by", "李")
    assert (refused.code, state_of(run, due_post)) == (1, "held")


@pytest.mark.parametrize("second", ["Zhang", "ZHANG", "ｚｈａｎｇ", "zhаng", "zh ang"])
def test_another_spelling_is_no_second_person(run, due_post, deliver, second):
    """Case, width, spaces and look-alike letters make no second person of the first."""
    deliver(CAPTCHA)
    target, reason = ("resolve", "refund@beijing-weibo"), ("--reason", "试验")
    assert (
        run(
            "-C",
            due_post,
            *target,
            "published",
            "https://weibo.com/1/b",
            *reason,
            "--by",
            "zhang",
        ).code
        == 0
    )
    reported = run("-C", due_post, *target, "confirm", *reason, "--by", second)
    assert (reported.code, "不能还是" in reported.err) == (3, True)
    assert state_of(run, due_post) == "unknown"


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_name_has_no_invisible_characters(run, due_post, lang):
    """An invisible or control character in a name is wrong usage, with position and code point."""
    for letter, number in (
        ("\u200b", "U+200B"),
        ("\u3164", "U+3164"),
        ("\u202e", "U+202E"),
        ("\x1b", "U+001B"),
    ):
        reported = run("-C", due_post, "--lang", lang, "pause", "--by", f"王{letter}力")
        assert (reported.code, reported.out) == (2, "")
        assert number in reported.err
        assert letter not in reported.err
    assert run("-C", due_post, "status", "--json").json["paused"] == []


def test_published_by_one_person_is_checked_by_reading(run, due_post, deliver):
    """One person's confirmation only makes publisher read the account."""
    deliver(CAPTCHA)
    assert (
        run(
            "-C",
            due_post,
            "resolve",
            "refund@beijing-weibo",
            "published",
            "https://weibo.com/1/b",
            *BY,
        ).code
        == 0
    )
    assert state_of(run, due_post) == "unknown"


def test_resend_files_a_new_occurrence(run, due_post, deliver):
    """A failed post can be sent again, as an occurrence of its own; a published one cannot."""
    deliver(REFUSED)
    assert run("-C", due_post, "resend", "refund@beijing-weibo", *BY).code == 0
    rows = run("-C", due_post, "status", "--json").json["deliveries"]
    assert [row["state"] for row in rows] == ["failed", "pending"]
    assert rows[1]["occurrence"].endswith("+08:00")
    deliver(PUBLISHED)
    subject = f"refund#{rows[1]['occurrence']}@beijing-weibo"
    refused = run("-C", due_post, "resend", subject, *BY)
    assert refused.code == 1
    assert "已发布" in refused.err
    assert subject in run("-C", due_post, "why", subject).out


def test_resend_sends_to_an_account_that_was_added_late(run, due_post, deliver):
    """`reload` names the account and the command; an account without an entry is unknown."""
    deliver(PUBLISHED)
    write_schedule(
        due_post, warning("refund", to='["beijing-weibo", "beijing-wechat"]')
    )
    answer = run("-C", due_post, "reload")
    assert answer.code == 0
    assert "publisher resend refund@账号" in answer.err
    assert "beijing-wechat" in answer.err
    assert run("-C", due_post, "resend", "refund@beijing-wechat", *BY).code == 0
    rows = run("-C", due_post, "status", "--json").json["deliveries"]
    assert [
        (row["account"], row["state"])
        for row in rows
        if row["account"] != "beijing-weibo"
    ] == [("beijing-wechat", "pending")]
    assert run("-C", due_post, "resend", "refund@beijing-tieba", *BY).code == 4


def test_resend_is_refused_where_the_account_gets_it_in_time(run, drill):
    """Before a post is due an added account gets it with the others; a resend would double it."""
    write_schedule(drill, warning("refund", when=in_days(1), to=TO_WEIBO))
    assert run("-C", drill, "reload").code == 0
    write_schedule(
        drill,
        warning("refund", when=in_days(1), to='["beijing-weibo", "beijing-wechat"]'),
    )
    text = (drill / "schedule.toml").read_text("utf-8")
    with sqlite3.connect(drill / "var" / "publisher.db") as connection:
        connection.execute("UPDATE schedule SET text = ?", (text,))
    refused = run("-C", drill, "resend", "refund@beijing-wechat", *BY)
    assert refused.code == 1
    assert "还没有到时间" in refused.err


def test_f101_check_says_what_the_daemon_would_leave_out(run, due_post, deliver):
    """F101: an edited old post, and a filed one moved into the past, are errors with a place.

    The place is file, line and key.
    """
    deliver(PUBLISHED)
    planned = warning("planned", when=in_days(1), to=TO_WEIBO)
    write_schedule(due_post, warning("refund", to=TO_WEIBO), planned)
    assert run("-C", due_post, "reload").code == 0
    assert run("-C", due_post, "check").code == 0
    edited = warning("refund", to=TO_WEIBO).replace("退款", "退货")
    write_schedule(due_post, edited, warning("planned", when=in_days(-1), to=TO_WEIBO))
    checked = run("-C", due_post, "check", "--json")
    assert checked.code == 1
    found = {
        problem["code"]: problem
        for problem in checked.json["problems"]
        if problem["severity"] == "error"
    }
    assert found.keys() == {"edited_after_end", "moved_into_past"}
    assert {problem["file"] for problem in found.values()} == {
        str(due_post / "schedule.toml")
    }
    assert {(problem["line"] > 1, problem["column"]) for problem in found.values()} == {
        (True, 6)
    }
    assert (found["moved_into_past"]["path"], found["edited_after_end"]["id"]) == (
        "post[1].at",
        "refund",
    )
    left_out = run("-C", due_post, "reload")
    assert left_out.code == 1
    assert "按原来登记的办：planned、refund\n" in left_out.err


def test_an_original_behind_its_follow_up_is_a_warning_where_the_daemon_accepts_it(
    run, drill
):
    """A new follow-up before its original is an error; one that the daemon has stays as it is."""
    follow_up = (
        warning("two", f'follows = "one"\n{in_days(2)}', TO_WEIBO)
        .replace('"warning"', '"update"')
        .replace("signs", "# signs")
        .replace("警惕", "再次警惕")
    )
    write_schedule(drill, warning("one", in_days(3), TO_WEIBO), follow_up)
    refused = run("-C", drill, "check", "--json")
    write_schedule(drill, warning("one", in_days(1), TO_WEIBO), follow_up)
    assert (refused.code, run("-C", drill, "reload").code) == (1, 0)
    write_schedule(drill, warning("one", in_days(3), TO_WEIBO), follow_up)
    checked = run("-C", drill, "check", "--json")
    found = {problem["code"]: problem for problem in checked.json["problems"]}
    assert (checked.code, found["follows_too_early"]["severity"]) == (0, "warning")
    assert run("-C", drill, "reload").code == 0


def test_cancel_stops_and_retract_deletes(run, due_post, deliver):
    """Cancelling affects nothing that is published; retracting orders its deletion."""
    deliver(PUBLISHED)
    assert run("-C", due_post, "cancel", "refund", *BY).code == 0
    assert state_of(run, due_post) == "published"
    retracted = run(
        "-C", due_post, "retract", "refund", "--account", "beijing-weibo", *BY
    )
    assert (retracted.code, state_of(run, due_post)) == (0, "retracting")
    assert "正在删帖" in run("-C", due_post, "why", "refund").out


def test_a_cancelled_post_is_not_sent(run, drill):
    """A cancelled post cannot be sent by name any more."""
    write_schedule(drill, warning("refund", to=TO_WEIBO))
    assert run("-C", drill, "reload").code == 0
    assert run("-C", drill, "cancel", "refund", *BY).code == 0
    assert run("-C", drill, "send", "refund", "--by", "王").code == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ((), "all"),
        (("all",), "all"),
        (("platform:weibo",), "platform:weibo"),
        (("beijing-weibo",), "account:beijing-weibo"),
        (("refund",), "post:refund"),
        (("post:refund",), "post:refund"),
    ],
)
def test_pause_finds_its_scope(run, due_post, deliver, name, scope):
    """A pause finds its scope from its argument, stops calls, and is lifted by it again."""
    assert run("-C", due_post, "pause", *name, "--by", "王").code == 0
    assert [
        pause["scope"]
        for pause in run("-C", due_post, "status", "--json").json["paused"]
    ] == [scope]
    with pytest.raises(pytest.fail.Exception, match=NOTHING_CLAIMED):
        deliver(PUBLISHED)
    assert state_of(run, due_post) == "due"
    assert "publisher resume" in run("-C", due_post, "why", "refund").out
    assert run("-C", due_post, "resume", *name, "--by", "王").code == 0
    deliver(PUBLISHED)
    assert state_of(run, due_post) == "published"


def test_the_kill_switch_works_with_broken_templates(run, due_post):
    """Neither a broken template nor a broken schedule keeps a person from reading or pausing."""
    (due_post / "templates" / "own").mkdir()
    (due_post / "templates" / "own" / "weibo.txt").write_text("{% if %}", "utf-8")
    (due_post / "schedule.toml").write_text("[[post]\n", "utf-8")
    for command in (
        ("status",),
        ("why", "refund"),
        ("pause", "--by", "王"),
        ("cancel", "refund", *BY),
    ):
        assert run("-C", due_post, *command).code == 0


def test_a_file_is_sent_at_once_and_only_once(run, drill, tmp_path):
    """A post from a file is due now despite its time; the same id again is refused."""
    file = tmp_path / "night.toml"
    file.write_text(warning("night", to=TO_WEIBO), "utf-8")
    assert run("-C", drill, "send", file, "--by", "王").code == 0
    assert [
        row["post"] for row in run("-C", drill, "status", "--json").json["deliveries"]
    ] == ["night"]
    again = run("-C", drill, "send", file, "--by", "王")
    assert again.code == 1
    assert "night" in again.err


ASAP = 'at = "asap"'


def test_f100_check_says_what_the_daemon_would_do(run, drill):
    """F100: `check` counts additions and cancellations, and names posts that return if put back."""
    file = write_schedule(drill, warning("refund", ASAP, to=TO_WEIBO))
    assert run("-C", drill, "reload").code == 0
    before = file.read_text("utf-8")
    write_schedule(drill, warning("second", ASAP, to=TO_WEIBO))
    found = run("-C", drill, "check", "--json").json
    assert found["plan"] == {"added": 1, "changed": 0, "cancelled": 1}
    [removal] = [
        problem for problem in found["problems"] if problem["code"] == "removal_ahead"
    ]
    assert "refund" in removal["message"]
    reloaded = run("-C", drill, "reload")
    assert (reloaded.code, "refund" in reloaded.err) == (0, True)
    file.write_text(before + warning("second", ASAP, to=TO_WEIBO), "utf-8")
    assert run("-C", drill, "check", "--json").json["plan"] == {
        "added": 0,
        "changed": 1,
        "cancelled": 0,
    }
    assert run("-C", drill, "reload").code == 0
    states = {
        row["post"]: row["state"]
        for row in run("-C", drill, "status", "--json").json["deliveries"]
    }
    assert states == {"refund": "pending", "second": "pending"}


def test_a_bad_file_is_refused_with_its_lines(run, drill, tmp_path):
    """Problems of a file to be sent are reported by line, and nothing is filed."""
    file = tmp_path / "night.toml"
    file.write_text(
        warning("night", to=TO_WEIBO).replace(
            "正规退款原路退回", "正规退款原路退回" * 30
        ),
        "utf-8",
    )
    refused = run("-C", drill, "send", file, "--by", "王")
    assert refused.code == 1
    assert re.search(r"night\.toml:12:11: post\[0\]\.data\.summary: ", refused.err)
    assert run("-C", drill, "status", "--json").json["deliveries"] == []


def test_sending_ahead_leaves_the_schedule_acceptable(run, drill):
    """A post sent before its time does not make the next version of the schedule unacceptable."""
    file = write_schedule(drill, warning("refund", to=TO_WEIBO))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    file.write_text(file.read_text("utf-8") + warning("second", to=TO_WEIBO), "utf-8")
    assert run("-C", drill, "reload").code == 0
    assert run("-C", drill, "reload").out.strip() == "计划没有变化。"


@pytest.mark.parametrize("days", [1, 365])
def test_a_post_sent_before_its_time_carries_the_minute_of_the_order(run, drill, days):
    """An article never names a future date, whether it was filed already or not."""
    now = datetime.now(ZoneInfo("Asia/Shanghai"))
    planned = (now + timedelta(days=days)).replace(microsecond=0)
    write_schedule(drill, warning("refund", f"at = {planned.isoformat()}", '["all"]'))
    assert run("-C", drill, "reload").code == 0
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    with sqlite3.connect(drill / "var" / "publisher.db") as connection:
        query = (
            "SELECT body FROM rendered_post"
            " JOIN delivery ON rendered_post.fingerprint = delivery.rendered_hash"
        )
        words = " ".join(body for (body,) in connection.execute(query))
    connection.close()
    assert f"{now.year}年{now.month}月{now.day}日" in words
    assert f"{planned.year}年{planned.month}月{planned.day}日" not in words
    assert run("-C", drill, "reload").out.strip() == "计划没有变化。"


@pytest.mark.long
def test_a_large_removal_needs_its_number(run, drill):
    """A removal of many open posts is refused, as `check` says, with the confirming command."""
    soon = f"at = {NOW + timedelta(days=3650):%Y-%m-%dT%H:%M:%S}"
    write_schedule(
        drill, *(warning(f"p{number}", soon, TO_WEIBO) for number in range(6))
    )
    assert run("-C", drill, "reload").code == 0
    for number in range(6):
        assert run("-C", drill, "send", f"p{number}", "--by", "王").code == 0
    write_schedule(drill, warning("p0", soon, TO_WEIBO))
    announced = {
        each["code"]: each
        for each in run("-C", drill, "check", "--json").json["problems"]
    }
    assert (
        "publisher reload --confirm-removals 5 --by"
        in announced["large_removal_ahead"]["hint"]
    )
    refused = run("-C", drill, "reload")
    assert refused.code == 1
    assert "publisher reload --confirm-removals 5 --by" in refused.err
    confirmed = run("-C", drill, "reload", "--confirm-removals", "5", "--by", "王")
    assert confirmed.code == 0
    assert "p1、p2、p3、p4、p5" in confirmed.err
    again = run("-C", drill, "reload", "--confirm-removals", "5", "--by", "王")
    assert (again.code, again.out) == (1, "")
    assert "没有等待确认的移除" in again.err
    assert "confirm-removals" not in run("-C", drill, "check").out


def test_every_order_names_its_person(run, due_post, deliver):
    """The audit log holds the person of each action, its content and its reason."""
    deliver(REFUSED)
    run("-C", due_post, "resend", "refund@beijing-weibo", *BY)
    run("-C", due_post, "pause", "--by", "李", "--reason", "演练")
    database = sqlite3.connect(due_post / "var" / "publisher.db")
    entries = database.execute(
        "SELECT event, name, detail FROM audit WHERE role = 'person' ORDER BY id"
    ).fetchall()
    database.close()
    assert [(event, name) for event, name, _ in entries] == [
        ("send_requested", "王"),
        ("resend_requested", "王"),
        ("paused", "李"),
    ]
    assert "试验" in entries[1][2]
    assert "演练" in entries[2][2]


def test_a_follow_up_is_not_sent_before_its_original(run, drill):
    """A follow-up before its original would be cancelled, so it is refused; later it is sent."""
    update = warning("news", in_days(39), TO_WEIBO).replace(
        'kind = "warning"', 'kind = "update"'
    )
    update = update.replace(
        'template = "warning"', 'template = "update"\nfollows = "refund"'
    ).replace("警惕", "再次警惕")
    write_schedule(drill, warning(to=TO_WEIBO), update)
    refused = run("-C", drill, "send", "news", "--by", "王")
    assert refused.code == 1
    assert "publisher send refund" in refused.err
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    assert run("-C", drill, "send", "news", "--by", "王").code == 0


def test_a_post_sent_early_expires_early(run, due_post):
    """A post sent now expires a day from now, not long after its planned time."""
    deliveries = run("-C", due_post, "status", "--json").json["deliveries"]
    assert deliveries
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        occurrences = {
            expires - due
            for due, expires in database.execute(
                "SELECT due_at, expires_at FROM delivery"
            )
        }
    assert occurrences == {timedelta(days=1) // timedelta(microseconds=1)}


def test_the_audit_gives_the_reason_that_a_person_gave(run, due_post, deliver):
    """Cancelling a held delivery is not recorded with the hold's reason as the person's own."""
    deliver(CAPTCHA)
    assert (
        run("-C", due_post, "cancel", "refund", "--by", "李", "--reason", "不发了").code
        == 0
    )
    with sqlite3.connect(due_post / "var" / "publisher.db") as database:
        reasons = {
            text
            for (text,) in database.execute(
                "SELECT detail FROM audit WHERE event = 'cancelled'"
            )
        }
    assert any("不发了" in text for text in reasons)
    assert not any("captcha" in text for text in reasons)
