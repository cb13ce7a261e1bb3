"""`init`, `check` and `preview`: nothing is sent, everything is reported."""

import hashlib
import re
import sqlite3
import subprocess
import sys
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from publisher.cli.errors import quote_line
from publisher.cli.terminal import display_path, text_width
from publisher.i18n import Messages, load_catalogue
from tests.cli.conftest import PUBLIC_IP
from tests.cli.posts import in_days, warning, write_schedule

HEAVY = ("sqlmodel", "sqlalchemy", "httpx", "jinja2")
LINE = re.compile(r"^\S+:\d+:\d+: (\S+: )?\S.*$")


def loaded(*arguments, of=HEAVY):
    """Return the heavy libraries loaded by a command, or libraries with other names."""
    command = list(map(str, arguments))
    code = (
        "import sys; from publisher.cli import run_command; "
        f"run_command({command!r}); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name for name in of if name in done.stdout.split()}


def test_a_new_workspace_passes_its_own_check_and_publishes_nothing(run, tmp_path):
    """`init` makes a workspace without account, post or picture; its examples are comments."""
    assert run("init", tmp_path / "w").code == 0
    checked = run("-C", tmp_path / "w", "--lang", "en", "check", "--json")
    assert checked.json == {"ok": True, "problems": [], "next": {}}
    assert "Posts: 0, accounts: 0" in checked.err
    assert list((tmp_path / "w" / "media").iterdir()) == []


def uncomment(path):
    """Remove the `# ` before each line of a new workspace's examples, as its comment says."""
    text = re.sub(
        r"^# (?=[\w\[]+(?:\]| = |\.))", "", path.read_text("utf-8"), flags=re.MULTILINE
    )
    path.write_text(text, "utf-8")


def test_the_examples_of_a_new_workspace_are_refused_until_they_are_changed(
    run, tmp_path
):
    """Each place with an example's value is named with file, line and key, in both files."""
    run("init", tmp_path / "w")
    uncomment(tmp_path / "w" / "schedule.toml")
    (refused,) = [
        problem
        for problem in run("-C", tmp_path / "w", "check", "--json").json["problems"]
        if problem["path"] == "post[0].id"
    ]
    assert (refused["code"], refused["severity"]) == ("placeholder_id", "error")
    uncomment(tmp_path / "w" / "publisher.toml")
    checked = run("-C", tmp_path / "w", "check", "--json")
    assert checked.code == 1
    lines = (tmp_path / "w" / "publisher.toml").read_text("utf-8").splitlines()
    found = [
        problem
        for problem in checked.json["problems"]
        if problem["code"] == "placeholder_left"
    ]
    assert [problem["path"] for problem in found] == [
        "region.110000.police",
        "account[0].identity",
        "account[1].identity",
        "account[2].identity",
    ]
    assert all("change-me" in lines[problem["line"] - 1] for problem in found)


def test_check_names_example_hosts_and_missing_secrets(run, workspace):
    """Example hosts and unreadable secrets of a live workspace are warnings at their lines."""
    (workspace / "secrets" / "weibo-tianjin").unlink()
    settings = workspace / "publisher.toml"
    text = settings.read_text("utf-8").replace(
        "https://tips.beijing.gov.cn/n/", "https://www.example.gov.cn/n/"
    )
    settings.write_text(text, "utf-8")
    write_schedule(
        workspace,
        warning("one").replace("正规退款", "请看 http://192.0.2.7/x 正规退款"),
    )
    found = {
        problem["code"]: problem
        for problem in run("-C", workspace, "check", "--json").json["problems"]
    }
    assert found.keys() == {"example_host", "secret_missing"}
    assert {problem["severity"] for problem in found.values()} == {"warning"}
    assert found["secret_missing"]["path"] == "account[3].secret"
    assert "weibo-tianjin" in text.splitlines()[found["secret_missing"]["line"] - 1]
    shown = run("-C", workspace, "--lang", "en", "check").out
    assert (
        "account[0].link_template: warning:"
        " www.example.gov.cn in link_template is an address for examples" in shown
    )
    assert (
        "post 1 (one), data.summary: warning: 192.0.2.7 in summary is an address for examples"
        in shown
    )


def test_a_new_drill_passes_its_own_check_and_hides_its_secrets(run, tmp_path):
    """`init --demo` writes a valid drill, and its secrets can be read by their owner only."""
    assert run("init", "--demo", tmp_path / "w").code == 0
    assert run("check", "-C", tmp_path / "w").code == 0
    secrets = list((tmp_path / "w" / "secrets").iterdir())
    assert secrets
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_init_overwrites_nothing(run, tmp_path):
    """If any of its files exists, `init` names it, exits with 1 and writes nothing at all."""
    (tmp_path / "schedule.toml").write_text("mine", "utf-8")
    refused = run("init", tmp_path)
    assert refused.code == 1
    assert "schedule.toml" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["schedule.toml"]
    assert (tmp_path / "schedule.toml").read_text("utf-8") == "mine"


def test_check_reads_the_schedule_in_the_staffs_folder(run, workspace):
    """Posts and pictures are found in the staff's own folder, even by faulty settings."""
    staff, settings = workspace / "staff", workspace / "publisher.toml"
    staff.mkdir()
    for name in ("schedule.toml", "media"):
        (workspace / name).rename(staff / name)
    settings.write_text(f'staff_dir = "staff"\n{settings.read_text("utf-8")}', "utf-8")
    assert run("-C", workspace, "check", "--json").code == 0
    (staff / "schedule.toml").write_text("post = [\n", "utf-8")
    settings.write_text(f"plan_days = 0\n{settings.read_text('utf-8')}", "utf-8")
    found = run("-C", workspace, "check", "--json").json["problems"]
    assert {problem["file"] for problem in found} == {
        str(settings),
        str(staff / "schedule.toml"),
    }


def test_check_lists_all_problems_in_order(run, workspace):
    """One run checks settings, schedule and final texts; each problem has line, column and key."""
    broken = warning("two").replace('level = "orange"', 'levle = "orange"')
    write_schedule(workspace, warning("one", to='["nobody"]'), broken)
    found = run("-C", workspace, "check")
    assert found.code == 1
    heads = [line for line in found.out.splitlines() if not line.startswith("    ")]
    assert len(heads) == 2
    assert all(LINE.match(line) for line in heads)
    assert "schedule.toml:10:7: 第 1 条 one 的 to 第 1 项: " in heads[0]
    assert "schedule.toml:22:1: 第 2 条 two 的 levle: " in heads[1]
    assert any(line.startswith("    ") for line in found.out.splitlines())


def test_weibo_needs_the_public_address(run, workspace):
    """Without the machine's public address the check passes with a warning."""
    settings = workspace / "publisher.toml"
    settings.write_text(settings.read_text("utf-8").replace(PUBLIC_IP, ""), "utf-8")
    checked = run("-C", workspace, "check", "--json")
    reported = {item["code"]: item["severity"] for item in checked.json["problems"]}
    assert (checked.code, checked.json["ok"], reported["weibo_public_ip_missing"]) == (
        0,
        True,
        "warning",
    )


def test_check_reports_settings_and_syntax_errors_together(run, workspace):
    """A broken publisher.toml does not hide a broken schedule.toml."""
    (workspace / "publisher.toml").write_text('environment = "drll"\n', "utf-8")
    write_schedule(workspace, "[[post]\n")
    files = {
        problem["file"].rpartition("/")[2]
        for problem in run("-C", workspace, "check", "--json").json["problems"]
    }
    assert files == {"publisher.toml", "schedule.toml"}


def test_check_judges_the_final_text(run, workspace):
    """A text over a platform's limit is an error at the text that makes it too long."""
    write_schedule(
        workspace, warning().replace("正规退款原路退回", "正规退款原路退回" * 30)
    )
    problems = run("-C", workspace, "check", "--json").json["problems"]
    assert "weibo_text_too_long" in {problem["code"] for problem in problems}
    assert {
        (problem["line"], problem["column"], problem["path"]) for problem in problems
    } == {(12, 11, "post[0].data.summary")}
    assert all(
        problem["message"] and problem["severity"] == "error" for problem in problems
    )
    (excess,) = [
        problem["excess"]
        for problem in problems
        if problem["code"] == "weibo_text_too_long"
    ]
    assert f"超出 {excess} 个字；模板加上的" in run("-C", workspace, "check").out


def test_check_reports_problems_of_every_kind_in_one_run(run, workspace):
    """Problems of the file do not hide problems of the final texts, in the same post or another."""
    first = warning("one", to='["all", "nobody"]').replace(
        'level = "orange"', 'levle = "orange"'
    )
    first = first.replace("正规退款原路退回", "正规退款原路退回" * 30)
    pictured = warning("two").replace(
        "[post.data]",
        'images = [\n  { file = "media/none.png", alt = "图" },\n]\n[post.data]',
    )
    write_schedule(workspace, first, pictured, warning("two"))
    problems = run("-C", workspace, "check", "--json").json["problems"]
    assert {
        (problem["line"], problem["path"], problem["code"]) for problem in problems
    } >= {
        (7, "post[0].levle", "unknown_key"),
        (10, "post[0].to[1]", "unknown_recipient"),
        (12, "post[0].data.summary", "weibo_text_too_long"),
        (27, "post[1].images[0].file", "image_file_missing"),
        (36, "post[2].id", "duplicate_id"),
    }


def test_f75_check_names_the_line_and_the_file_of_a_picture_that_is_refused(
    run, workspace
):
    """F75: an animated picture is a problem at its key, with reason and remedy in two languages."""
    frames = [Image.new("L", (40, 40), 99)]
    Image.new("L", (40, 40)).save(
        workspace / "media" / "moving.gif", save_all=True, append_images=frames
    )
    images = 'images = [{ file = "media/moving.gif", alt = "图" }]\n[post.data]'
    write_schedule(workspace, warning("one").replace("[post.data]", images))
    [found] = run("-C", workspace, "check", "--json").json["problems"]
    assert (found["path"], found["code"]) == (
        "post[0].images[0].file",
        "image_animated",
    )
    line = (
        (workspace / "schedule.toml").read_text("utf-8").splitlines()[found["line"] - 1]
    )
    assert "media/moving.gif" in line
    for lang, words in (
        ("zh_CN", "图片 media/moving.gif 是动图"),
        ("en", "picture media/moving.gif is animated"),
    ):
        assert words in run("-C", workspace, "--lang", lang, "check").out


def test_check_goes_on_after_a_broken_template(run, workspace):
    """A template that does not compile is reported together with the problems of the schedule."""
    folder = workspace / "templates" / "own"
    folder.mkdir()
    (folder / "weibo.txt").write_text("{% if %}", "utf-8")
    write_schedule(workspace, warning(to='["nobody"]'))
    codes = {
        problem["code"]
        for problem in run("-C", workspace, "check", "--json").json["problems"]
    }
    assert codes == {"template_syntax", "unknown_recipient"}


def test_a_past_time_is_an_error_only_for_a_post_that_the_database_does_not_know(
    run, workspace
):
    """A past time is a warning without a database; with one it is an error unless filed.

    The post must be filed in the database.
    """
    write_schedule(workspace, warning("old", "at = 2026-01-05T09:00:00"))
    checked = run("-C", workspace, "check", "--json")
    assert (
        checked.code,
        [problem["severity"] for problem in checked.json["problems"]],
    ) == (
        0,
        ["warning"],
    )
    connection = make_database(workspace)
    assert run("-C", workspace, "check").code == 1
    connection.execute("INSERT INTO post VALUES ('old', 1, 0, NULL)")
    connection.commit()
    connection.close()
    assert run("-C", workspace, "check", "--json").json == {
        "ok": True,
        "problems": [],
        "next": {},
    }


def make_database(workspace):
    """Make the tables that `check` reads, without a row."""
    connection = sqlite3.connect(workspace / "var" / "publisher.db")
    connection.execute(
        "CREATE TABLE post (id TEXT, is_scheduled BOOLEAN, is_cancelled BOOLEAN, corrected_by TEXT)"
    )
    connection.execute(
        "CREATE TABLE delivery (post TEXT, occurrence TEXT, state TEXT, desired TEXT)"
    )
    connection.commit()
    return connection


def warnings_of(run, workspace, *posts):
    """Return the warnings of `check` in a schedule of these posts.

    Each is given by code, with the path and the whole problem.
    """
    write_schedule(workspace, *posts)
    checked = run("-C", workspace, "check", "--json")
    assert checked.code == 0
    return {problem["code"]: problem for problem in checked.json["problems"]}


SUMMARY = "正规退款原路退回，不用转账"


def test_a_repeating_post_shows_its_next_dates(run, workspace):
    """The next three times are printed, and are in the JSON with their offset.

    Times that never come are warned of.
    """
    weekly = warning("weekly", 'cron = "0 9 * * mon"')
    never = warning(
        "never",
        'cron = "0 9 1 1 *"\nfrom = 2097-02-01T00:00:00\nuntil = 2097-12-31T00:00:00',
    )
    write_schedule(workspace, weekly, never.replace(SUMMARY, "另一条"))
    shown = run("-C", workspace, "check", "--json").json
    assert {post: len(times) for post, times in shown["next"].items()} == {
        "weekly": 3,
        "never": 0,
    }
    assert all(
        datetime.fromisoformat(time).isoweekday() == 1
        for time in shown["next"]["weekly"]
    )
    assert {
        problem["path"]
        for problem in shown["problems"]
        if problem["code"] == "cron_never"
    } == {"post[1].cron"}
    line = next(
        line
        for line in run("-C", workspace, "check").out.splitlines()
        if line.startswith("weekly")
    )
    assert line.count("09:00") == 3


def test_a_year_far_ahead_is_written_out(run, workspace):
    """An instant more than a year ahead is accepted, and its date is named."""
    found = warnings_of(
        run,
        workspace,
        warning("far", "at = 2062-01-05T09:00:00\nexpires = 2062-01-06T09:00:00"),
    )
    assert found.keys() == {"far_future"}
    assert (
        found["far_future"]["path"],
        "2062 年 1 月 5 日" in found["far_future"]["message"],
    ) == (
        "post[0].at",
        True,
    )


@pytest.mark.parametrize(
    ("other", "is_reported"),
    [
        ({"when": in_days(39)}, True),
        ({"when": in_days(98)}, False),
        ({"to": '["tianjin-weibo"]'}, False),
    ],
)
def test_the_same_text_twice_on_an_account_is_reported(
    run, workspace, other, *, is_reported
):
    """Two posts with the same text are named if they are within a month on the same account."""
    twin = {"when": in_days(37), "to": '["beijing-weibo", "beijing-wechat"]', **other}
    found = warnings_of(
        run, workspace, warning("one", to='["beijing-weibo"]'), warning("two", **twin)
    )
    assert ("same_text" in found) is is_reported
    if is_reported:
        assert found["same_text"]["path"] == "post[1].id"
        assert {"one", "two", "beijing-weibo"} <= set(
            found["same_text"]["message"].split()
        )


def test_data_and_accounts_without_effect_are_reported(run, workspace):
    """An unused key, a misplaced key, and a follow-up to other accounts are reported.

    The misplaced key belongs to the post and stands below its data. The follow-up goes to an
    account that its original does not.
    """
    slips = 'adviec = ["慢一点"]\nurgent = true\n'
    original = warning("one", to='["beijing-weibo"]') + slips
    follow_up = warning(
        "two", f'follows = "one"\n{in_days(37)}', '["beijing-weibo", "tianjin-weibo"]'
    )
    follow_up = (
        follow_up.replace('"warning"', '"update"')
        .replace("signs", "# signs")
        .replace(SUMMARY, "三人被抓获")
        .replace("警惕", "再次警惕")
    )
    found = warnings_of(run, workspace, original, follow_up)
    assert {code: problem["path"] for code, problem in found.items()} == {
        "data_not_used": "post[0].data.adviec",
        "key_of_post": "post[0].data.urgent",
        "follows_elsewhere": "post[1].to",
    }
    assert "advice" in found["data_not_used"]["hint"]
    assert "tianjin-weibo" in found["follows_elsewhere"]["message"]


def test_images_that_a_platform_leaves_out_are_reported(run, workspace):
    """Weibo shows the first image only."""
    images = ", ".join(
        f'{{ file = "media/refund.png", alt = "图{number}" }}' for number in (1, 2)
    )
    post = warning(to='["platform:weibo"]').replace(
        "[post.data]", f"images = [{images}]\n[post.data]"
    )
    found = warnings_of(run, workspace, post)
    assert (found.keys(), found["images_left_out"]["path"]) == (
        {"images_left_out"},
        "post[0].images",
    )


def test_too_many_images_are_reported_at_the_images(run, workspace):
    """An article has at most ten; a number of images is no number of characters."""
    images = ", ".join(
        f'{{ file = "media/refund.png", alt = "图{number}" }}' for number in range(11)
    )
    write_schedule(
        workspace,
        warning(to='["beijing-wechat"]').replace(
            "[post.data]", f"images = [{images}]\n[post.data]"
        ),
    )
    [problem] = run("-C", workspace, "check", "--json").json["problems"]
    assert (problem["code"], problem["path"], "excess" in problem) == (
        "wechat_too_many_images",
        "post[0].images",
        False,
    )


def test_a_misspelt_header_is_the_only_problem(run, workspace):
    """The missing content of a misspelt header is not reported as well."""
    write_schedule(workspace, warning("one").replace("[post.data]", "[post.date]"))
    assert [
        problem["code"]
        for problem in run("-C", workspace, "check", "--json").json["problems"]
    ] == ["unknown_key"]


def test_a_post_that_follows_itself_has_one_problem(run, workspace):
    """Its text is not rendered with its own number as that of an earlier bulletin."""
    write_schedule(workspace, warning("one", f'follows = "one"\n{in_days(36)}'))
    assert [
        problem["code"]
        for problem in run("-C", workspace, "check", "--json").json["problems"]
    ] == ["follows_itself"]


@pytest.mark.parametrize(
    "text", ["post = 3\n", "post = [1]\n", "[post]\nid = 1\n", "[[posts]]\n"]
)
def test_a_file_of_the_wrong_structure_is_reported_whatever_the_database_knows(
    run, workspace, text
):
    """Where there are no tables of posts, no check of them fails."""
    make_database(workspace).close()
    (workspace / "schedule.toml").write_text(text, "utf-8")
    assert run("-C", workspace, "check").code == 1


def test_a_post_that_is_over_has_only_errors(run, workspace):
    """A past post without open deliveries has only errors, so no warning hides the others."""
    past = warning("past", "at = 2026-01-05T09:00:00") + 'unused = "x"\n'
    connection = make_database(workspace)
    connection.execute("INSERT INTO post VALUES ('past', 1, 0, NULL)")
    connection.execute(
        "INSERT INTO delivery VALUES ('past', 'once', 'unknown', 'as_planned')"
    )
    connection.commit()
    assert warnings_of(run, workspace, past).keys() == {"data_not_used"}
    connection.execute("UPDATE delivery SET state = 'published'")
    connection.commit()
    assert warnings_of(run, workspace, past).keys() == set()
    connection.close()


@pytest.mark.parametrize(("kept", "is_reported"), [(2, True), (3, False)])
def test_a_removal_that_the_daemon_will_refuse_is_announced(
    run, workspace, kept, *, is_reported
):
    """Dropping over three open posts and over a fifth is warned of, with the confirming command."""
    connection = make_database(workspace)
    names = [f"p{number}" for number in range(6)]
    connection.executemany(
        "INSERT INTO post VALUES (?, 1, 0, NULL)", [(name,) for name in names]
    )
    rows = [(name, "once", "pending", "as_planned") for name in names]
    connection.executemany("INSERT INTO delivery VALUES (?, ?, ?, ?)", rows)
    connection.execute("INSERT INTO post VALUES ('gone', 1, 1, NULL)")
    connection.commit()
    connection.close()
    posts = [
        warning(name, in_days(days))
        for days, name in zip((36, 96, 156), names[:kept], strict=False)
    ]
    found = warnings_of(run, workspace, *posts)
    assert ("large_removal_ahead" in found) is is_reported
    if is_reported:
        assert (
            "publisher reload --confirm-removals 4"
            in found["large_removal_ahead"]["hint"]
        )


def test_a_file_with_a_post_to_come_removes_nothing(run, drill):
    """A file that is not the schedule is not compared: posts only in the schedule stay filed."""
    names = [f"p{number}" for number in range(6)]
    write_schedule(
        drill,
        *(warning(name, in_days(30 + number)) for number, name in enumerate(names)),
    )
    assert run("-C", drill, "reload").code == 0
    schedule, single = drill / "schedule.toml", drill / "new.toml"
    single.write_text(warning("new", in_days(3)), "utf-8")
    alone = run("-C", drill, "check", single, "--json").json
    assert "plan" not in alone
    assert not {problem["code"] for problem in alone["problems"]} & {
        "large_removal_ahead",
        "removal_ahead",
    }
    schedule.write_text(single.read_text("utf-8"), "utf-8")
    found = run("-C", drill, "check", schedule, "--json").json
    assert "plan" in found
    assert "large_removal_ahead" in {problem["code"] for problem in found["problems"]}


def test_errors_come_first_with_their_source_line(run, workspace):
    """Errors precede warnings, with the mark below their column; full-width characters take two."""
    unused = warning("one") + 'unused = "x"\n'
    wrong = warning("two").replace('to = ["all"]', 'to = ["北京", "beijng-weibo"]')
    write_schedule(workspace, unused, wrong)
    lines = run("-C", workspace, "check").out.splitlines()
    heads = [line for line in lines if "schedule.toml:" in line]
    assert [
        "第 2 条 two 的 to 第 1 项" in heads[0],
        "第 2 条 two 的 to 第 2 项" in heads[1],
    ] == [
        True,
        True,
    ]
    assert "第 1 条 one 的 data.unused: 提醒：" in heads[2]
    quoted, mark = lines[lines.index(heads[1]) + 1 :][:2]
    assert quoted.strip() == 'to = ["北京", "beijng-weibo"]'
    assert text_width(mark) - 1 == text_width(quoted[: quoted.index('"beijng')])
    named = run("-C", workspace, "check", "--json").json["problems"][0]
    assert (named["post"], named["id"], named["severity"]) == (2, "two", "error")


def test_a_line_that_is_no_toml_is_quoted_too(run, workspace):
    """An unparsable line is quoted, cut around the place, unless it has a secret."""
    write_schedule(workspace, f'[[post]]\ntitle = "{"长" * 80}" "短"\n')
    head, quoted, mark, *_ = run("-C", workspace, "check").out.splitlines()
    assert ":2:92: " in head
    assert len(quote_line("长" * 4_000_000, 2_000_000)[0]) < 100
    assert quote_line('note = "access_token=abcdefgh12345678" x', 39) == []
    assert (quoted.strip()[0], text_width(quoted) < 100) == ("…", True)
    assert text_width(mark) - 1 == text_width(quoted[: quoted.index('"短')])


def test_json_is_alone_on_standard_output(run, workspace):
    """With --json standard output is one document; the summary goes to standard error."""
    checked = run("--lang", "en", "-C", workspace, "check", "--json")
    assert checked.json["ok"]
    assert "Passed" in checked.err


def test_a_missing_workspace_is_reported(run, tmp_path):
    """Where there is no publisher.toml the file is named, and the exit code is 1."""
    reported = run("-C", tmp_path, "status")
    assert reported.code == 1
    assert "publisher.toml" in reported.err


@pytest.mark.long
def test_commands_load_only_what_they_need(workspace):
    """Help loads no heavy library; `check` loads no database and no network code.

    It renders in another process.
    """
    assert loaded("--help", of=(*HEAVY, "pydantic")) == set()
    assert loaded("check", "--help") == set()
    assert loaded("-C", workspace, "check") == set()


def test_the_renderer_loads_only_what_it_renders_with():
    """The renderer, started by every check, loads neither settings nor the domain's types."""
    code = "import sys, publisher.rendering.child; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert {"pydantic", "sqlalchemy", "publisher.domain.post", "publisher.i18n"} & set(
        done.stdout.split()
    ) == set()


def test_a_message_of_every_command_needs_only_the_first_areas():
    """The entries of the adapters are parsed once one of them is needed."""
    code = (
        "import sys, tomllib; parse, parsed = tomllib.loads, []; "
        "tomllib.loads = lambda text: parsed.append(text) or parse(text); "
        "from publisher.i18n import Messages; "
        "print(Messages('en').translate('daemon_stopped'), len(parsed)); "
        "print(Messages('en').translate('no such code'), len(parsed) > 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert (first.endswith(" 1"), second) == (True, "no such code True")


def test_preview_shows_the_exact_bytes(run, workspace):
    """The hash that preview shows is the hash of the text between its rules."""
    shown = run(
        "-C", workspace, "preview", "refund-scam-2027-01", "--account", "beijing-weibo"
    ).out
    text = shown.split("─" * 60 + "\n")[1].removesuffix("\n")
    assert (
        re.search(r"SHA-256：([0-9a-f]{64})", shown)[1]
        == hashlib.sha256(text.encode()).hexdigest()
    )


def test_preview_of_an_article_shows_its_text(run, workspace):
    """The preview of an article has lines without tags and entities; the JSON has the HTML sent."""
    shown = run(
        "-C", workspace, "preview", "refund-scam-2027-01", "--account", "beijing-wechat"
    ).out
    text = shown.split("─" * 60 + "\n")[1]
    assert not re.search(r"</?\w+|&\w+;", text)
    assert "正规退款原路退回" in text
    assert len(text.splitlines()) > 5
    assert "publisher preview refund-scam-2027-01 --open" in shown
    [sent] = run(
        "-C",
        workspace,
        "preview",
        "refund-scam-2027-01",
        "--account",
        "beijing-wechat",
        "--json",
    ).json["rendered_posts"]
    assert "</p>" in sent["text"]


def test_preview_as_json_has_every_account(run, workspace):
    """For each account the document has text, length, limit, marker and pictures."""
    shown = run("-C", workspace, "preview", "refund-scam-2027-01", "--json").json[
        "rendered_posts"
    ]
    assert [item["platform"] for item in shown] == [
        "weibo",
        "wechat",
        "weibo",
        "wechat",
    ]
    for item in shown:
        assert item["length"] <= item["limit"]
        assert item["sha256"] == hashlib.sha256(item["text"].encode()).hexdigest()
        assert item["marker"] in item["text"]
        assert item["pictures"][0]["alt"]


def test_a_platform_without_a_name_is_called_by_its_code(
    run, workspace, tmp_path, monkeypatch
):
    """Page and terminal agree on the code of a platform without a name.

    This includes a platform with an adapter that is not ours.
    """
    entries = {
        code: entry
        for code, entry in load_catalogue().items()
        if code != "platform_weibo"
    }
    monkeypatch.setattr("publisher.i18n.load_catalogue", cache(lambda: entries))
    write_schedule(workspace, warning(to='["platform:weibo"]'))
    shown = run(
        "-C",
        workspace,
        "--lang",
        "en",
        "preview",
        "refund",
        "--html",
        tmp_path / "page.html",
    ).out
    assert "-weibo (weibo)" in shown
    assert "-weibo · weibo</h2>" in (tmp_path / "page.html").read_text("utf-8")
    assert Messages().platform_name("days") == "days"


def test_preview_page_is_safe_and_whole(run, workspace, tmp_path):
    """The page escapes staff's text, frames articles without rights, and loads nothing remote."""
    write_schedule(
        workspace, warning().replace("警惕“退款客服”诈骗", "警惕 <b>诈骗</b>")
    )
    run("-C", workspace, "preview", "refund", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<b>" not in page
    assert page.count("<iframe sandbox ") == 2
    assert not re.search(r'(?:src|href)="(?!data:)', page)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nothing"], 4),
        (["refund-scam-2027-01", "--account", "no-one"], 4),
        (["open-day-2027-01"], 0),
    ],
)
def test_preview_of_an_unknown_post(run, workspace, arguments, code):
    """An unknown post or account exits with 4."""
    assert run("-C", workspace, "preview", *arguments).code == code


def test_i19_a_link_to_a_secret_is_neither_checked_through_nor_previewed(
    run, workspace
):
    """I19: a link to a secret is reported with its place, and none of its target is shown.

    It is not previewed, either.
    """
    secret = workspace.parent / "weibo-beijing"
    secret.write_text('{"app_secret": "canary-of-a-linked-secret"}', "utf-8")
    part = workspace / "templates" / "_shared" / "part.txt"
    part.parent.mkdir()
    part.symlink_to(secret)
    page = workspace / "templates" / "warning" / "weibo.txt"
    page.parent.mkdir()
    page.write_text(
        "{{ marker }} {{ region.tip_line }} {% include '_shared/part.txt' %}", "utf-8"
    )
    write_schedule(workspace, warning("one"))
    found = run("-C", workspace, "check", "--json")
    assert found.code == 1
    assert {"file_is_link", "template_part_invalid"} <= {
        problem["code"] for problem in found.json["problems"]
    }
    assert (
        "canary-of"
        not in found.out + found.err + run("-C", workspace, "preview", "one").out
    )


def test_i19_check_refuses_a_post_with_an_accounts_secret(run, workspace, monkeypatch):
    """I19: `check` reports a pasted secret of the workspace at its key, without repeating it."""
    monkeypatch.setenv(
        "PUBLISHER_SECRET_WEIBO_BEIJING", '{"app_secret": "canary-of-a-pasted-secret"}'
    )
    write_schedule(
        workspace,
        warning("one").replace("正规退款", "canary-of-a-pasted-secret 正规退款"),
    )
    found = run("-C", workspace, "check", "--json")
    (problem,) = [
        each
        for each in found.json["problems"]
        if each["code"] == "rendered_with_secret"
    ]
    assert problem["path"] == "post[0].data.summary"
    assert "canary-of" not in found.out


@pytest.mark.parametrize(
    ("current", "shown"),
    [("/", "/srv/w/publisher.toml"), ("/srv/w", "publisher.toml")],
)
def test_a_file_is_shown_with_its_slash(monkeypatch, current, shown):
    """From the root folder a path is absolute: without its slash it would lead elsewhere."""
    monkeypatch.setattr(Path, "cwd", lambda: Path(current))
    assert display_path("/srv/w/publisher.toml") == shown
