"""`approvals`, `approve`, `unapprove`, `duty`, and the `preview` for approvers."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, insert, make_url

from publisher.app.open_store import open_store
from publisher.config import load_settings
from publisher.domain.user import parse_grant, permissions_of
from publisher.engine.decisions import named_person
from publisher.runtime.clock import Runtime
from publisher.store.db.tables import SERVER_TIMELINE
from publisher.store.people.users import NewSignIn
from tests.cli.conftest import TO_WEIBO, publisher_command
from tests.cli.posts import warning, write_schedule

PEOPLE = {
    "root": "admin",
    "zhang": "author",
    "li": "approver:审核",
    "wang": "approver",
    "chen": "approver:终审",
    "north": "approver@beijing-wechat",
    "he": "operator",
    "city": "operator@region:110000",
}
REASON = ("--reason", "test")
HOUR = timedelta(hours=1)


def due_in(hours):
    at = datetime.now(ZoneInfo("Asia/Shanghai")).replace(
        microsecond=0, tzinfo=None
    ) + timedelta(hours=hours)
    return f"at = {at.isoformat()}"


@pytest.fixture
def approving(drill):
    """Return a drill with two approvals for each warning, and one post due in three hours."""
    settings = drill / "publisher.toml"
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    write_schedule(drill, warning("refund", due_in(3), TO_WEIBO))
    return drill


def add_users(folder):
    """Add the users to a workspace, and return the token of each."""

    async def add():
        issued = {}
        async with open_store(await load_settings(folder), Runtime()) as store:
            for name, grant in PEOPLE.items():
                link = await store.users.add(
                    name, [parse_grant(grant)], named_person("root")
                )
                user = await store.users.activate(
                    link, NewSignIn(password_hash="none"), named_person
                )
                issued[name] = await store.sign_ins.issue_token(
                    name, permissions_of(user), named_person("root")
                )
        return issued

    return asyncio.run(add())


def renew_token(folder, tokens, name):
    """Give a user a token for the present roles; the former token allows no more than before."""

    async def renew():
        async with open_store(await load_settings(folder), Runtime()) as store:
            scope = permissions_of(await store.users.get(name))
            tokens[name] = await store.sign_ins.issue_token(
                name, scope, named_person("root")
            )

    asyncio.run(renew())


@pytest.fixture
def tokens(approving):
    """Return the token of each user."""
    return add_users(approving)


@pytest.fixture
def ask(run, approving, tokens, monkeypatch):
    """Return a function that gives a command on the workspace, as a user if one is named."""

    def run_as(*arguments, by=None):
        monkeypatch.setenv("PUBLISHER_TOKEN", tokens.get(by, ""))
        return run(
            "-C", approving, "--lang", "en", *arguments, *(("--by", by) if by else ())
        )

    assert run_as("reload").code == 0
    return run_as


def fingerprint_of(ask, post="refund"):
    return ask("preview", post, "--json").json["fingerprint"]


def approve(ask, by, *more, fingerprint=None):
    return ask(
        "approve",
        "refund",
        "--fingerprint",
        fingerprint or fingerprint_of(ask),
        *more,
        by=by,
    )


def test_a_workspace_that_asks_for_approvals_does_not_load_without_users(
    run, approving
):
    """The error names the line that asks for approvals, and the way out.

    Commands that only read or stop work all the same.
    """
    refused = run("-C", approving, "--lang", "en", "reload")
    assert refused.code == 1
    assert "publisher.toml:1:1: approval_preset" in refused.err
    assert "publisher user add" in refused.err
    for works in (("status",), ("pause", "--by", "li"), ("approvals",)):
        assert run("-C", approving, *works).code == 0


@pytest.mark.long
def test_two_people_approve_what_preview_shows(ask):
    """Sixteen characters of the fingerprint suffice; the list and `why` show missing approvals."""
    whole = fingerprint_of(ask)
    [task] = ask("approvals", "--json").json["approvals"]
    assert (task["fingerprint"], task["stages"][0]["missing"], task["is_approved"]) == (
        whole,
        2,
        False,
    )
    first = approve(ask, "li", fingerprint=whole[:16])
    assert (first.code, "1 more" in first.out) == (0, True), first.err
    assert [
        item["post"]
        for item in ask("approvals", "--for", "wang", "--json").json["approvals"]
    ] == ["refund"]
    assert ask("approvals", "--for", "li", "--json").json["approvals"] == []
    assert "审核 by li" in ask("approvals").out
    why = ask("why", "refund").out
    assert "missing: 审核: 1 (approver)" in why
    assert "Once approved it is sent at" in why
    assert "Nothing to do" not in why
    last = approve(ask, "wang")
    assert (last.code, "is due at" in last.out) == (0, True)
    assert ask("approvals", "--json").json["approvals"][0]["is_approved"]


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("zhang", "may not run publisher approve"),
        ("chen", "waits for the stage"),
        ("north", "may not run publisher approve"),
        ("root", "may not run publisher approve"),
    ],
)
def test_i5_who_may_not_approve_is_refused(ask, by, reason):
    """The author, an approver of another stage or account, and an administrator are refused.

    Nothing is recorded.
    """
    refused = approve(ask, by)
    assert refused.code in {1, 3}
    assert reason in refused.err
    assert (
        ask("approvals", "--json").json["approvals"][0]["stages"][0]["approved_by"]
        == []
    )


@pytest.mark.long
def test_an_approver_decides_about_the_accounts_that_the_post_has_now(ask, approving):
    """An approver decides only about a post's present accounts.

    A removed account is none of them. An order refused before the edit is allowed after it.
    """
    write_schedule(
        approving, warning("refund", due_in(3), '["beijing-weibo", "beijing-wechat"]')
    )
    assert ask("reload").code == 0
    assert (refused := approve(ask, "north")).code == 3, refused.err
    write_schedule(approving, warning("refund", due_in(3), '["beijing-wechat"]'))
    assert ask("reload").code == 0
    assert (approved := approve(ask, "north")).code == 0, approved.err
    assert (ended := ask("unapprove", "refund", *REASON, by="north")).code == 0, (
        ended.err
    )


def test_i5_an_author_who_is_an_approver_too_cannot_approve_the_own_post(
    ask, approving, tokens
):
    """The role does not help: the name in the post does not count."""
    assert (
        ask(
            "user",
            "change",
            "zhang",
            "--role",
            "author",
            "--role",
            "approver",
            by="root",
        ).code
        == 0
    )
    renew_token(approving, tokens, "zhang")
    refused = approve(ask, "zhang")
    assert (refused.code, "zhang wrote refund or saved it" in refused.err) == (1, True)


def test_f69_an_edit_in_the_file_is_shown_as_changed_outside(ask, approving):
    """The old fingerprint fails with 1; earlier approvers see the lines that differ."""
    before = fingerprint_of(ask)
    assert approve(ask, "li").code == 0
    edited = warning("refund", due_in(3), TO_WEIBO).replace("不用转账", "不要转账")
    write_schedule(approving, edited)
    assert ask("reload").code == 0
    changed = approve(ask, "wang", fingerprint=before)
    assert (changed.code, "has changed" in changed.err) == (1, True)
    shown = ask("preview", "refund", by="li")
    assert "Changed since li approved it last" in shown.out
    assert any(
        line.startswith("-") and "不用转账" in line for line in shown.out.splitlines()
    )
    assert any(
        line.startswith("+") and "不要转账" in line for line in shown.out.splitlines()
    )
    assert "changed outside publisher" in shown.out
    [task] = ask("approvals", "--json").json["approvals"]
    assert (task["stages"][0]["approved_by"], task["is_edited"]) == ([], True)


def test_approvals_of_an_unknown_post_are_an_error(ask):
    """A misspelt name must not read as a post that waits for nobody."""
    asked = ask("approvals", "refnud")
    assert (asked.code, asked.out) == (4, "")
    assert "refund" in asked.err


def test_f105_a_refreshed_text_needs_its_approvals_again(ask, approving):
    """F105: approvals count only for the shown text; a refreshed text needs its own."""
    assert approve(ask, "li").code == 0
    settings = approving / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace(
            'tip_line = "110"', 'tip_line = "010-55550110"'
        ),
        "utf-8",
    )
    assert "publisher refresh refund" in ask("preview", "refund").out
    done = ask("refresh", "refund", by="zhang")
    assert (done.code, "must be approved again" in done.out + done.err) == (0, True)
    [task] = ask("approvals", "refund", "--json").json["approvals"]
    assert sum(stage["missing"] for stage in task["stages"]) == 2


def test_f105_a_post_without_stages_is_not_said_to_need_approvals(
    run, drill, monkeypatch
):
    """F105: rules for another kind ask for nothing here, so nobody waits for an approval of it."""
    settings = drill / "publisher.toml"
    text = settings.read_text("utf-8") + '\n[[approvals.update]]\nstage = "终审"\n'
    settings.write_text(text, "utf-8")
    write_schedule(drill, warning("refund", due_in(3), TO_WEIBO))
    issued = add_users(drill)
    assert run("-C", drill, "reload").code == 0
    settings.write_text(
        text.replace('tip_line = "110"', 'tip_line = "010-55550110"'), "utf-8"
    )
    monkeypatch.setenv("PUBLISHER_TOKEN", issued["zhang"])
    done = run("-C", drill, "--lang", "en", "refresh", "refund", "--by", "zhang")
    assert done.code == 0, done.err
    assert "must be approved again" not in done.out + done.err


def test_content_for_an_account_that_has_left_the_settings_is_not_previewed(
    ask, approving
):
    """An account that has left the settings is named: its length can no longer be counted.

    There is neither a traceback nor a preview without it.
    """
    settings = approving / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace('"beijing-weibo"', '"other-weibo"'), "utf-8"
    )
    shown = ask("preview", "refund")
    assert (shown.code, shown.out) == (4, ""), shown.err
    assert "beijing-weibo" in shown.err


def test_f72_an_approval_can_be_withdrawn(ask):
    """All of them end by it, and nothing is left to withdraw then."""
    assert [approve(ask, name).code for name in ("li", "wang")] == [0, 0]
    withdrawn = ask("unapprove", "refund", *REASON, by="li")
    assert (withdrawn.code, "withdrew approvals of refund: 2" in withdrawn.out) == (
        0,
        True,
    )
    assert ask("approvals", "--json").json["approvals"][0]["stages"][0]["missing"] == 2
    assert ask("unapprove", "refund", *REASON, by="li").code == 1


def test_f72_withdrawn_after_the_call_has_begun(ask, approving):
    """With the call begun the exit code is 1, but the approvals end.

    The possible next steps are printed. If the call has sent nothing, no call follows.
    """
    assert [approve(ask, name).code for name in ("li", "wang")] == [0, 0]
    with sqlite3.connect(approving / "var" / "publisher.db") as database:
        database.execute("UPDATE delivery SET state = 'unknown', attempts = 1")
    late = ask("unapprove", "refund", *REASON, by="li")
    assert (
        late.code,
        "cannot be stopped" in late.err,
        "publisher retract refund" in late.err,
    ) == (
        1,
        True,
        True,
    )
    assert ask("approvals", "--json").json["approvals"][0]["stages"][0]["missing"] == 2


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_instant_that_is_no_occurrence_is_not_previewed_as_the_next(
    ask, approving, is_stored
):
    """Exit 4 names the unknown instant; the next occurrence's instant works like the plain name."""
    due = ask("preview", "refund", "--json").json["due"]
    if not is_stored:
        write_schedule(
            approving,
            warning("refund", due_in(3), TO_WEIBO),
            warning("later", due_in(4), TO_WEIBO),
        )
        due = ask("preview", "later", "--json").json["due"]
    post = "refund" if is_stored else "later"
    other = ask("preview", f"{post}#2031-01-01T09:00")
    assert (other.code, f"no occurrence {post}#2031-01-01T09:00" in other.err) == (
        4,
        True,
    )
    assert ask("preview", f"{post}#{due}", "--json").json["due"] == due


def test_a_post_sent_from_a_file_can_be_previewed_and_needs_its_approvals(
    ask, approving, tokens
):
    """`send FILE` is due once approved; its sender has saved the text and may not approve it."""
    file = approving / "urgent.toml"
    file.write_text(warning("urgent", 'at = "asap"', TO_WEIBO), "utf-8")
    assert ask("send", str(file), by="wang").code == 3
    assert (
        ask(
            "user",
            "change",
            "wang",
            "--role",
            "author",
            "--role",
            "approver",
            by="root",
        ).code
        == 0
    )
    assert ask("send", str(file), by="wang").code == 3
    renew_token(approving, tokens, "wang")
    assert ask("send", str(file), by="wang").code == 0
    shown = ask("preview", "urgent", "--json").json
    assert (shown["post"], shown["approval"]["due"]) == ("urgent", None)
    own = ask("approve", "urgent", "--fingerprint", shown["fingerprint"], by="wang")
    assert (own.code, "wang wrote urgent or saved it" in own.err) == (1, True)
    [delivery] = ask("status", "urgent", "--json").json["deliveries"]
    assert (delivery["state"], delivery["reason"]) == ("pending", "awaiting_approval")
    assert "With its last approval it is sent at once" in ask("why", "urgent").out


@pytest.mark.long
def test_an_emergency_release_takes_the_author_and_another_officer(ask):
    """The author and another officer on duty release a post; the approvals remain to be given.

    Its alert cannot be dismissed before.
    """
    emergency = ("--emergency", *REASON)
    assert approve(ask, "li", *emergency).code == 1
    for name in ("zhang", "li"):
        assert ask("duty", "add", name, by="root").code == 0
    assert [item["name"] for item in ask("duty", "--json").json["officers"]] == [
        "li",
        "zhang",
    ]
    one = approve(ask, "li", *emergency)
    assert (one.code, "one more person" in one.out) == (0, True)
    assert not ask("approvals", "--json").json["approvals"][0]["is_approved"]
    assert approve(ask, "zhang", *emergency).code == 0
    [task] = ask("approvals", "--json").json["approvals"]
    assert (
        task["is_approved"],
        task["is_emergency"],
        task["stages"][0]["missing"],
    ) == (
        True,
        True,
        2,
    )
    [alert] = ask("alerts", "--json").json["alerts"]
    assert alert["code"] == "after_review_due"
    deadline = alert["message"].partition("follow until ")[2][:19]
    until = datetime.strptime(deadline, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 # local time
    now = datetime.now(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None)
    assert abs(until - now - timedelta(days=1)) < HOUR
    assert [approve(ask, name).code for name in ("li", "wang")] == [0, 0]
    assert ask("alerts", "--json").json["alerts"] == []


def test_an_emergency_release_takes_somebody_who_may_approve_besides_the_author(ask):
    """An operator on duty cannot approve, so cannot release either, as on the dashboard."""
    for name in ("zhang", "he"):
        assert ask("duty", "add", name, by="root").code == 0
    refused = approve(ask, "he", "--emergency", *REASON)
    assert (refused.code, "approve" in refused.err) == (3, True)
    assert approve(ask, "zhang", "--emergency", *REASON).code == 0


def test_an_officer_who_is_added_again_stays_on_duty_since_then(ask):
    """`duty add` again changes only a given telephone number; other actions refuse `--phone`."""
    add, since = ("duty", "add", "li"), set()
    for phone, shown in (("8112", "8112"), (None, "8112"), ("8113", "8113")):
        assert ask(*add, *(("--phone", phone) if phone else ()), by="root").code == 0
        [officer] = ask("duty", "--json").json["officers"]
        assert officer["phone"] == shown
        since.add(officer["since"])
    assert len(since) == 1
    refused = [
        ask("duty", "remove", "li", "--phone", "8112", by="root"),
        ask("duty", "--phone", "8112"),
    ]
    assert [
        (reported.code, "goes with add only" in reported.err) for reported in refused
    ] == [(2, True)] * 2
    assert len(ask("duty", "--json").json["officers"]) == 1


def test_who_is_disabled_or_has_left_cannot_be_on_duty(ask):
    """`duty add` is refused for a disabled person until enabled, and always for a departed one."""
    for action in ("disable", "leave"):
        assert ask("user", action, "li", by="root").code == 0
        refused = ask("duty", "add", "li", by="root")
        assert (refused.code, "cannot be on duty" in refused.err) == (1, True)
    assert ask("duty", "--json").json["officers"] == []


def test_without_a_database_the_list_of_officers_names_what_is_missing(run, approving):
    """A workspace that asks for approvals names the users to add; another says that it has none."""
    assert "publisher user add" in run("-C", approving, "--lang", "en", "duty").err
    settings = approving / "publisher.toml"
    settings.write_text(settings.read_text("utf-8").partition("\n")[2], "utf-8")
    assert "asks for no approvals" in run("-C", approving, "--lang", "en", "duty").err


def test_an_emergency_reason_that_is_spelt_like_a_code_stays_what_was_typed(
    ask, approving
):
    """The audit has it in quotation marks, so no page translates it."""
    for name in ("zhang", "li"):
        assert ask("duty", "add", name, by="root").code == 0
    assert approve(ask, "li", "--emergency", "--reason", "awaiting_approval").code == 0
    with sqlite3.connect(approving / "var" / "publisher.db") as database:
        [(detail,)] = database.execute(
            "SELECT detail FROM audit WHERE event = 'emergency_released'"
        )
    assert json.loads(detail)["reason"] == "“awaiting_approval”"


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_f87_no_command_relies_on_people_before_the_daemon_knows_the_new_server(
    run, approving, database_url, monkeypatch
):
    """Approving is refused until the daemon knows the new server; stopping works.

    The server may lack the end of an approval or of a token.
    """
    settings = approving / "publisher.toml"
    settings.write_text(
        f'database = "{database_url}"\n' + settings.read_text("utf-8"), "utf-8"
    )
    tokens = add_users(approving)
    monkeypatch.setenv("PUBLISHER_TOKEN", tokens["li"])
    assert run("-C", approving, "reload").code == 0
    fingerprint = run("-C", approving, "preview", "refund", "--json").json[
        "fingerprint"
    ]
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(
            insert(SERVER_TIMELINE).values(
                timeline="before", first_seen_at=datetime.now(UTC)
            )
        )
    engine.dispose()
    monkeypatch.setenv("PUBLISHER_TOKEN", tokens["root"])
    for command in (
        ("approve", "refund", "--fingerprint", fingerprint, "--by", "li"),
        ("retract", "refund", "--by", "root", "--reason", "why"),
        ("user", "add", "new", "--role", "viewer"),
        ("user", "token", "root", "--scope", "view"),
        ("duty", "add", "li", "--by", "root"),
        ("mode", "beijing-weibo", "off", "--by", "root", "--reason", "why"),
        ("offboard", "beijing-weibo", "--by", "root", "--reason", "why"),
    ):
        refused = run("-C", approving, "--lang", "en", *command)
        assert (
            refused.code,
            "another database server has just taken over" in refused.err,
        ) == (
            3,
            True,
        ), refused
    monkeypatch.setenv("PUBLISHER_TOKEN", tokens["li"])
    assert run("-C", approving, "pause", "--by", "li").code == 0


@pytest.mark.long
def test_i5_the_daemon_sends_nothing_before_the_last_approval(
    run, simulated_drill, simulator, monkeypatch
):
    """A run without the second approval makes no call, and the next run publishes.

    This test uses a real platform's interface.
    """
    settings = simulated_drill / "publisher.toml"
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    write_schedule(simulated_drill, warning("refund", 'at = "asap"', TO_WEIBO))
    tokens = add_users(simulated_drill)
    assert run("-C", simulated_drill, "reload").code == 0
    fingerprint = run("-C", simulated_drill, "preview", "refund", "--json").json[
        "fingerprint"
    ]

    def give(name):
        monkeypatch.setenv("PUBLISHER_TOKEN", tokens[name])
        return run(
            "-C",
            simulated_drill,
            "approve",
            "refund",
            "--fingerprint",
            fingerprint,
            "--by",
            name,
        ).code

    def state_after_run():
        finished = subprocess.run(
            publisher_command("-C", simulated_drill, "run", "--once"),
            capture_output=True,
            text=True,
            check=False,
        )
        deliveries = run("-C", simulated_drill, "status", "--json").json["deliveries"]
        return finished.returncode, {item["state"] for item in deliveries}

    assert give("li") == 0
    assert state_after_run() == (
        1,
        {"pending"},
    )  # an alert says that it needs approvals
    assert give("wang") == 0
    assert state_after_run() == (0, {"published"})


@pytest.mark.long
def test_f85_a_yes_in_an_older_file_copied_into_place_sends_nothing(
    run, simulated_drill, monkeypatch
):
    """An approval in an older copied database sends nothing, as it may be withdrawn since.

    The journal knows of no call. The checkpoint outside shows the possible withdrawal.
    """
    settings, file = (
        simulated_drill / "publisher.toml",
        simulated_drill / "var" / "publisher.db",
    )
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    write_schedule(simulated_drill, warning("refund", 'at = "asap"', TO_WEIBO))
    tokens = add_users(simulated_drill)
    assert run("-C", simulated_drill, "reload").code == 0
    fingerprint = run("-C", simulated_drill, "preview", "refund", "--json").json[
        "fingerprint"
    ]
    for name in ("li", "wang"):
        monkeypatch.setenv("PUBLISHER_TOKEN", tokens[name])
        given = run(
            "-C",
            simulated_drill,
            "approve",
            "refund",
            "--fingerprint",
            fingerprint,
            "--by",
            name,
        )
        assert given.code == 0, given.err
    older = sqlite3.connect(simulated_drill / "older.db")
    with (
        contextlib.closing(older),
        contextlib.closing(sqlite3.connect(file)) as current,
    ):
        current.backup(older)
    withdrawn = run(
        "-C",
        simulated_drill,
        "unapprove",
        "refund",
        "--by",
        "wang",
        "--reason",
        "wrong number",
    )
    assert withdrawn.code == 0, withdrawn.err
    for puts_older in (False, True):
        if puts_older:
            for suffix in ("-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            (simulated_drill / "older.db").replace(file)
        once = publisher_command("-C", simulated_drill, "run", "--once")
        finished = subprocess.run(once, capture_output=True, text=True, check=False)
        assert finished.returncode in {0, 1}, finished.stderr
        deliveries = run("-C", simulated_drill, "status", "--json").json["deliveries"]
        assert {item["state"] for item in deliveries} == {"pending"}


@pytest.mark.long
def test_an_evergreen_post_needs_its_yes_each_time_that_it_is_scheduled(ask, approving):
    """An evergreen post needs the approvals of its kind each time, and is due with the last."""
    write_schedule(approving, warning("drawer", "evergreen = true", TO_WEIBO))
    assert ask("reload").code == 0
    scheduled = ask("evergreen", "beijing-weibo", by="zhang")
    assert (scheduled.code, "once it is approved" in scheduled.out) == (0, True), (
        scheduled.err
    )
    [row] = ask("status", "drawer", "--json").json["deliveries"]
    assert row["state"] == "pending"
    fingerprint = fingerprint_of(ask, "drawer")
    for by in ("li", "wang"):
        assert ask("approve", "drawer", "--fingerprint", fingerprint, by=by).code == 0
    [row] = ask("status", "drawer", "--json").json["deliveries"]
    assert row["state"] == "due"
