"""`doctor` checks every login by a real call to the simulated platforms."""

import asyncio
import contextlib
import io
import re
import shutil
import sqlite3

import pytest

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.domain.errors import Problem
from publisher.domain.user import Grant, UserRole
from publisher.engine.decisions import named_person
from publisher.engine.secret_report import report_secrets
from publisher.runtime.clock import Runtime
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.posts import warning, write_schedule


@pytest.fixture
def drill(simulated_drill):
    """Return a drill workspace with platforms served by the simulator."""
    return simulated_drill


def examined(run, drill):
    reported = run("-C", drill, "doctor", "--json")
    return reported.code, {row["platform"]: row for row in reported.json["logins"]}


def test_all_is_well(run, drill):
    """Each login is probed: its address is accepted, posts are left today, nothing is to do."""
    code, logins = examined(run, drill)
    assert code == 0
    assert {row["health"] for row in logins.values()} == {"healthy"}
    assert all(
        row["quota_left"] > 0 and row["to_do"] == []
        for row in logins.values()
        if row["platform"] != "weibo"
    )
    shown = run("-C", drill, "doctor")
    assert shown.code == 0
    assert "平台接受本机地址" in shown.out
    assert "3 个登录都正常" in shown.out


def test_an_address_that_is_not_on_the_list_names_the_console(run, drill, simulator):
    """F50: the platform's message shows address, allowlist and console.

    The other logins are healthy.
    """
    simulator.post("/_sim/settings", {"wechat_addresses": ["203.0.113.7"]})
    code, logins = examined(run, drill)
    assert code == 1
    assert logins["wechat"]["health"] == "blocked"
    steps = " ".join(logins["wechat"]["to_do"])
    assert "127.0.0.1" in steps
    assert "白名单" in steps
    assert "mp.weixin.qq.com" in steps
    assert logins["tieba"]["to_do"] == []
    reported = run("-C", drill, "--lang", "en", "doctor")
    assert "act here" in reported.out
    assert "mp.weixin.qq.com" in reported.out


def test_a_spent_quota_and_a_pause_are_shown(run, drill):
    """A login that may send nothing more today, or is paused by people, is not called healthy."""
    text = (drill / "publisher.toml").read_text("utf-8")
    assert "per_day" in text
    settings = asyncio.run(load_settings(drill))
    write_schedule(
        drill,
        *(
            warning(f"p{number}", 'at = "asap"', '["platform:tieba"]')
            for number in range(2)
        ),
    )

    async def spend():
        async with open_application(
            settings, make_confirmed_runtime(), can_send=True
        ) as application:
            await application.store.maintenance.promote_due()
            [lease] = await application.store.outbox.claim(1)
            await application.store.outbox.record_intent(lease)

    run("-C", drill, "send", "p0", "--by", "王")
    asyncio.run(spend())
    lines = [line for line in text.splitlines() if not line.startswith("per_")]
    limits = [
        line + "\nper_hour = 1\nper_day = 1" if line == "[limits.tieba]" else line
        for line in lines
    ]
    (drill / "publisher.toml").write_text("\n".join(limits), "utf-8")
    run("-C", drill, "pause", "beijing-wechat", "--by", "王")
    code, logins = examined(run, drill)
    assert code == 1
    assert any("额度已用完" in step for step in logins["tieba"]["to_do"])
    assert any(
        "publisher resume beijing-wechat" in step for step in logins["wechat"]["to_do"]
    )


def test_a_missing_secret_is_shown_with_the_commands_that_add_it(run, drill):
    """Without credentials no login works: the commands to add them are shown, filled in."""
    settings = asyncio.run(load_settings(drill))
    for platform in ("weibo", "tieba"):
        (
            settings.secrets_dir / settings.accounts[f"beijing-{platform}"].secret
        ).unlink()
    code, logins = examined(run, drill)
    assert code == 1
    steps = {
        platform: "\n".join(logins[platform]["to_do"])
        for platform in ("weibo", "tieba")
    }
    assert "publisher login beijing-weibo" in steps["weibo"]
    assert "publisher secret set beijing-tieba" in steps["tieba"]
    assert "publisher login" not in steps["tieba"]


@pytest.mark.parametrize(
    ("lang", "words"),
    [("zh_CN", "账号 beijing-weibo 的密钥不能用"), ("en", "beijing-weibo cannot be")],
)
def test_no_line_for_developers_reaches_a_terminal(
    run, drill, monkeypatch, lang, words
):
    """Log lines are in the person's language, without an event's name or the time in UTC."""
    (drill / "secrets" / "beijing-weibo").unlink()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = run("-C", drill, "--lang", lang, "doctor").err
    assert words in shown
    assert not re.search("secret_unreadable|error|[0-9]Z", shown)


@pytest.fixture
def unsynchronised(monkeypatch):
    """Make the kernel report an unsynchronised clock on any machine."""
    monkeypatch.setattr(Runtime, "is_kernel_clock_synchronized", lambda _runtime: False)


def test_f61_a_clock_that_differs_from_the_platforms_is_shown(
    run, drill, simulator, unsynchronised
):
    """F60, F61: the difference and the remedy are shown; a login's problem is shown separately."""
    reported = run("-C", drill, "doctor", "--json")
    assert (reported.code, reported.json["clock"]) == (
        0,
        {"confirmed": True, "apart": None},
    )
    simulator.post("/_sim/clock", {"shift": -90})
    reported = run("-C", drill, "doctor", "--json")
    assert (reported.code, reported.json["clock"]["confirmed"]) == (1, False)
    assert 89 <= reported.json["clock"]["apart"] <= 92
    shown = run("-C", drill, "--lang", "en", "doctor")
    assert "differs from the platforms' by +9" in shown.out
    assert "timedatectl set-ntp true" in shown.out
    assert "--confirm-clock" not in shown.out


def confirmations(drill):
    with contextlib.closing(
        sqlite3.connect(drill / "var" / "publisher.db")
    ) as connection:
        return connection.execute(
            "SELECT role, name FROM audit WHERE event = 'clock_confirmed'"
        ).fetchall()


@pytest.mark.parametrize(
    "shift", [pytest.param(90, id="F60-behind"), pytest.param(-90, id="F61-ahead")]
)
def test_a_person_cannot_confirm_a_clock_that_a_platform_contradicts(
    run, drill, simulator, unsynchronised, shift
):
    """F60, F61: the confirmation is refused with the difference and remedy, and not recorded."""
    simulator.post("/_sim/clock", {"shift": shift})
    refused = run(
        "-C", drill, "--lang", "en", "doctor", "--confirm-clock", "--by", "王"
    )
    assert (refused.code, refused.out) == (3, "")
    assert re.search(rf"by {'-' if shift > 0 else r'[+]'}(89|9[01]) s", refused.err)
    assert "timedatectl set-ntp true" in refused.err
    assert confirmations(drill) == []


@pytest.mark.long
@pytest.mark.parametrize("is_reachable", [True, False])
def test_a_person_confirms_the_clock(
    run, drill, simulator, unsynchronised, is_reachable
):
    """A confirmed clock is audited; without a platform's time the limits of the word are shown.

    The word is that of the person alone.
    """
    if not is_reachable:
        settings = drill / "publisher.toml"
        settings.write_text(
            settings.read_text("utf-8").replace(simulator.url, "http://127.0.0.1:9"),
            "utf-8",
        )
    assert run("-C", drill, "doctor", "--confirm-clock").code == 2
    assert run("-C", drill, "doctor", "--by", "王").code == 2
    reported = run("-C", drill, "doctor", "--confirm-clock", "--by", "王")
    assert (reported.code, "王 确认本机时钟正确" in reported.out) == (0, True)
    assert ("只有人的话" in reported.out) is not is_reachable
    assert confirmations(drill) == [("person", "王")]
    assert ("只有人确认过" in run("-C", drill, "doctor").out) is not is_reachable


def test_f26_a_login_in_cooldown_is_not_probed(run, drill, simulator):
    """F26, I15: a 429 on the probe is shown with its end; until then no call is made.

    The other logins are healthy.
    """
    limit = {"kind": "status", "code": 429, "headers": {"Retry-After": "600"}}
    simulator.post(
        "/_sim/faults",
        {"platform": "tieba", "endpoint": "/dc/common/tbs", "fault": limit},
    )
    for _ in range(2):
        code, logins = examined(run, drill)
        assert (code, logins["tieba"]["health"], logins["wechat"]["health"]) == (
            1,
            "rate_limited",
            "healthy",
        )
        assert "不用处理" in logins["tieba"]["to_do"][0]
    log = simulator.get("/_sim/log")
    calls = [
        item for item in log if item["kind"] == "recv" and item["platform"] == "tieba"
    ]
    assert [item["endpoint"] for item in calls] == ["/dc/common/tbs"]
    assert "平台要求放慢" in run("-C", drill, "accounts").out


def test_a_right_that_the_dashboard_lacks_is_named(run, run_on_database, drill):
    """Doctor shows a right that the dashboard's user lacked at its start.

    The dashboard may have a user of its own.
    """
    problem = Problem(
        code="right_missing_save",
        facts={"file": "/srv/publisher/staff", "user": "publisher-web"},
    )
    run_on_database(
        lambda application: application.store.system_alerts.set_rights_alert([problem])
    )
    reported = run("-C", drill, "--lang", "en", "doctor", "--json")
    assert reported.code == 1
    [found] = reported.json["files"]
    assert found["message"].endswith(
        "user publisher-web may not write in the folder /srv/publisher/staff"
    )
    assert "发布台保存不了文稿" in run("-C", drill, "doctor").out
    assert "/srv/publisher/staff" in run("-C", drill, "status").out
    run_on_database(
        lambda application: application.store.system_alerts.set_rights_alert([])
    )
    assert run("-C", drill, "doctor", "--json").json["files"] == []


def report_of_daemon(workspace, monkeypatch, folder):
    """Let a daemon with systemd's credentials in a folder report its secrets."""

    async def report():
        settings = await load_settings(workspace)
        async with open_application(
            settings, make_confirmed_runtime(), can_send=True
        ) as application:
            await application.store.actions.register_worker()
            await report_secrets(application.store, settings)

    with monkeypatch.context() as unit:
        unit.setenv("CREDENTIALS_DIRECTORY", str(folder))
        asyncio.run(report())


def test_a_secret_that_only_the_daemon_reads_elsewhere_is_named(
    run, drill, tmp_path, monkeypatch
):
    """A value in the encrypted store is none of the daemon's while systemd gives it another.

    `doctor` says so, and its result ends no alert about the daemon's value; `secret set` fails.
    """
    credentials = tmp_path / "credentials"
    shutil.copytree(drill / "secrets", credentials)
    placed = (drill / "secrets" / "beijing-weibo").read_text("utf-8")
    (credentials / "beijing-weibo").write_text('{"access_token": "old"}', "utf-8")
    for secret in ("beijing-weibo", "beijing-wechat", "beijing-tieba"):
        (drill / "secrets" / secret).unlink(missing_ok=True)
    report_of_daemon(drill, monkeypatch, credentials)
    monkeypatch.setattr("sys.stdin", io.StringIO(placed))
    stored = run("-C", drill, "secret", "set", "beijing-weibo", "--by", "王")
    assert (stored.code, str(credentials / "beijing-weibo") in stored.err) == (1, True)
    code, logins = examined(run, drill)
    assert (code, logins["weibo"]["health"]) == (1, "healthy")
    assert str(credentials / "beijing-weibo") in logins["weibo"]["to_do"][0]
    accounts = run("-C", drill, "accounts", "--json").json["accounts"]
    assert {row["health"] for row in accounts if row["platform"] == "weibo"} == {None}


def test_a_stored_secret_names_the_hosts_that_have_another_value(
    run, drill, monkeypatch, typed
):
    """A new value is stored on one host; the daemon of another goes on with the former one."""
    file = drill / "secrets" / "beijing-weibo"
    former = file.read_text("utf-8")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "gate2")
        report_of_daemon(drill, elsewhere, drill / "secrets")
    file.unlink()
    stored = []
    for value in ('{"app_key": "1", "app_secret": "2", "access_token": "3"}', former):
        typed(value)
        stored.append(run("-C", drill, "secret", "set", "beijing-weibo"))
    assert [(one.code, "gate2" in one.err) for one in stored] == [(0, True), (0, False)]


def test_doctor_does_not_ask_to_wait_for_a_daemon(run, drill):
    """Its own checks are made at once; that no daemon runs is said for another reason."""
    shown = run("-C", drill, "--lang", "en", "doctor").err
    assert "nothing is sent; what follows was checked just now" in shown


@pytest.mark.parametrize("is_used", [True, False])
def test_a_known_secret_is_due_until_the_daemon_uses_another(
    run, drill, monkeypatch, tmp_path, *, is_used
):
    """The alert about a person that knows a secret does not end by a value that nobody uses."""
    folder = drill / "secrets"
    if not is_used:
        folder = tmp_path / "credentials"
        shutil.copytree(drill / "secrets", folder)
    report_of_daemon(drill, monkeypatch, folder)

    async def leave():
        settings = await load_settings(drill)
        async with open_application(settings, Runtime(), can_send=False) as application:
            users = application.store.users
            for name in ("wang", "li"):
                await users.add(
                    name, [Grant(role=UserRole.ADMIN)], named_person("wang")
                )
            await users.leave("li", ["beijing-weibo"], named_person("wang"))

    asyncio.run(leave())
    (drill / "secrets" / "beijing-weibo").write_text('{"access_token": "new"}', "utf-8")
    report_of_daemon(drill, monkeypatch, folder)
    codes = {
        alert["code"] for alert in run("-C", drill, "alerts", "--json").json["alerts"]
    }
    assert ("rotation_due" in codes) is not is_used
