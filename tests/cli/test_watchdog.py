"""`watchdog` notices, from a process of its own, that the daemon does nothing."""

import contextlib
import json
import resource
import signal
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.engine import watchdog
from publisher.engine.watchdog_settings import keep_settings, load_kept_settings
from tests.alerts.receivers import Webhook, serving
from tests.cli.posts import write_schedule
from tests.cli.test_run import daemon
from tests.engine.settings import make_settings
from tests.wait import wait_until


@pytest.fixture
def watched(simulated_drill, monkeypatch):
    """Return a drill with a daemon that is silent after two missed heartbeats, for a quick test."""
    monkeypatch.setattr(watchdog, "DAEMON_SILENT_AFTER", timedelta(seconds=11))
    return simulated_drill


@pytest.fixture
def hooks(drill):
    """Yield the receivers of a drill's first and second list, with no daemon ever run."""
    with contextlib.ExitStack() as stack:
        served = {
            name: stack.enter_context(serving(Webhook())) for name in ("duty", "chief")
        }
        for name, hook in served.items():
            (drill / "secrets" / name).write_text(
                json.dumps({"url": hook.url}), "utf-8"
            )
        rules = (
            '[alerts]\nfirst = ["duty"]\nsecond = ["chief"]\n'
            '[alerts.channels]\nduty = "duty"\nchief = "chief"\n'
        )
        settings = drill / "publisher.toml"
        settings.write_text(settings.read_text("utf-8") + rules, "utf-8")
        write_schedule(drill)
        yield served


def look_until(run, drill, words):
    """Look again and again until the watchdog says something; return its answer."""

    def answer():
        said = run("-C", drill, "watchdog", "--once")
        return said if words in said.out else None

    return wait_until(answer, what=words)


def kill(process, _drill):
    process.kill()
    process.wait()


def freeze(process, _drill):
    process.send_signal(signal.SIGSTOP)


def fill_disk(process, _drill):
    """Let no file of the daemon grow: its writes fail as on a full disk."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def test_a_fault_reaches_the_channels_of_alerts_once(run, drill, hooks):
    """A fault goes once to the first list, with remedy and number; a second look is silent."""
    assert run("-C", drill, "reload").code == 0
    looks = [run("-C", drill, "watchdog", "--once").code for _ in range(3)]
    [message] = hooks["duty"].accepted
    assert looks == [1, 1, 1]
    assert "还从来没有运行过" in message["message"]
    assert "systemctl start publisher" in message["message"]
    assert " check " in message["message"], "it may refuse to start"
    assert message["ids"][0].startswith("daemon_silent@")
    assert message["title"].startswith(f"[紧急] publisher {drill.name}（告急）：主机 ")
    assert hooks["chief"].accepted == []


def test_broken_settings_are_reported_over_the_channels_of_the_last_good_look(
    run, drill, hooks, monkeypatch
):
    """A typo in publisher.toml is one report and its end, and it silences no watchdog.

    The kept settings hold no secret value. Before the first good look there are none.
    """
    monkeypatch.setattr(watchdog, "OVER_AFTER", timedelta())
    assert run("-C", drill, "reload").code == 0
    settings = drill / "publisher.toml"
    right = settings.read_text("utf-8")
    wrong = right + '\n[[account]\nsecret = "x"\n'
    settings.write_text(wrong, "utf-8")
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert hooks["duty"].requests == []
    settings.write_text(right, "utf-8")
    assert run("-C", drill, "watchdog", "--once").code == 1
    kept = drill / "var" / "watchdog-settings.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert hooks["duty"].url not in kept.read_text("utf-8")
    settings.write_text(wrong, "utf-8")
    looks = [run("-C", drill, "watchdog", "--once") for _ in range(2)]
    assert [look.code for look in looks] == [1, 1]
    assert "publisher.toml" in looks[0].err
    [_silent, message] = hooks["duty"].accepted
    assert "publisher.toml" in message["message"]
    assert message["ids"][0].startswith("settings_unreadable@")
    settings.write_text(right, "utf-8")
    run("-C", drill, "watchdog", "--once")
    assert hooks["duty"].accepted[-1]["ids"] == message["ids"]
    assert "已经恢复" in hooks["duty"].accepted[-1]["message"]


def test_with_unreadable_settings_the_watchdog_looks_at_the_last_database(
    run, drill, hooks
):
    """A database that is lost after a typo in publisher.toml is reported all the same."""
    assert run("-C", drill, "reload").code == 0
    run("-C", drill, "watchdog", "--once")
    with (drill / "publisher.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[[account]\n")
    looked = run("-C", drill, "watchdog", "--once")
    assert "publisher.toml 读不了" in looked.out
    assert "守护进程" in looked.out
    (drill / "var" / "publisher.db").unlink()
    assert "数据库读不出来" in run("-C", drill, "watchdog", "--once").out
    faults = [message["ids"][0].partition("@")[0] for message in hooks["duty"].accepted]
    assert faults == ["daemon_silent", "settings_unreadable", "database_unreadable"]


def test_an_address_with_a_password_is_not_kept(tmp_path):
    """Then only the error in publisher.toml is reported."""
    for address, kept in (
        ("postgresql://li:hidden@db/x", ""),
        ("postgresql://li@db/x?password=hidden", ""),
        ("postgresql://li@db/x", "postgresql://li@db/x"),
    ):
        settings = replace(make_settings(tmp_path), database=address)
        keep_settings(settings)
        assert load_kept_settings(tmp_path).database == kept


def test_a_report_that_no_channel_of_the_first_list_accepts_goes_to_the_second(
    run, drill, hooks
):
    """A report refused by the first list goes to the second, and the operator sees the refusal.

    It counts as sent and is not repeated at each look.
    """
    assert run("-C", drill, "reload").code == 0
    hooks["duty"].answer = "error"
    refused = run("-C", drill, "watchdog", "--once")
    assert "duty" in refused.err
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert (len(hooks["duty"].requests), len(hooks["chief"].accepted)) == (1, 1)


def test_a_report_goes_by_the_route_of_the_operators(run, drill, hooks):
    """A dead daemon is the operators' matter; if their channel fails, it goes to the first list.

    The report says whom it means.
    """
    assert run("-C", drill, "reload").code == 0
    settings = drill / "publisher.toml"
    written = settings.read_text("utf-8").replace('second = ["chief"]\n', "")
    routed = f'{written}[alerts.routes]\noperators = ["chief"]\n'
    settings.write_text(routed, "utf-8")
    assert run("-C", drill, "watchdog", "--once").code == 1
    [message] = hooks["chief"].accepted
    assert message["message"].startswith("给：值班运维\n")
    assert hooks["duty"].requests == []
    (drill / "var" / "watchdog.json").unlink()
    hooks["chief"].answer = "error"
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert len(hooks["duty"].accepted) == 1


def test_a_report_that_nobody_accepts_is_sent_again_under_the_same_number(
    run, drill, hooks
):
    """A refused report is sent again under the same number once a channel works.

    No look in between loses it.
    """
    assert run("-C", drill, "reload").code == 0
    for hook in hooks.values():
        hook.answer = "error"
    assert run("-C", drill, "watchdog", "--once").code == 1
    hooks["duty"].answer = "accept"
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert hooks["duty"].ids() == hooks["chief"].requests[0]["ids"]


def test_a_fault_is_reported_once_where_the_state_cannot_be_kept(
    run, drill, hooks, tmp_path, monkeypatch
):
    """The state is kept in memory then, and on the disk again once that takes it."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert run("-C", drill, "reload").code == 0
    state = drill / "var" / "watchdog.json"
    state.mkdir()
    looks = [run("-C", drill, "watchdog", "--once").code for _ in range(3)]
    [spare] = tmp_path.glob("publisher-watchdog-*.json")
    assert (looks, len(hooks["duty"].accepted)) == ([1, 1, 1], 1)
    state.rmdir()
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert len(hooks["duty"].accepted) == 1
    assert (state.is_file(), spare.exists()) == (True, False)


def test_a_full_disk_is_not_said_to_repeat_reports(
    run, drill, hooks, tmp_path, monkeypatch
):
    """The state is kept in memory; only the settings of a good look cannot be noted."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert run("-C", drill, "reload").code == 0
    for name in ("watchdog.json", "watchdog-settings.json"):
        (drill / "var" / name).mkdir()
    looked = run("-C", drill, "--lang", "en", "watchdog", "--once")
    assert "watchdog-settings.json" in looked.err
    assert "again and again" not in looked.err
    assert len(hooks["duty"].accepted) == 1


def test_a_link_in_the_spare_place_is_not_followed(
    run, drill, hooks, tmp_path, monkeypatch
):
    """Another user may put a link or a file of their own into a folder that all share."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert run("-C", drill, "reload").code == 0
    (drill / "var" / "watchdog.json").mkdir()
    run("-C", drill, "watchdog", "--once")
    [spare] = tmp_path.glob("publisher-watchdog-*.json")
    spare.unlink()
    (tmp_path / "victim").write_text("kept", "utf-8")
    spare.symlink_to(tmp_path / "victim")
    assert run("-C", drill, "watchdog", "--once").code == 1
    assert (tmp_path / "victim").read_text("utf-8") == "kept"


@pytest.mark.long
@pytest.mark.parametrize(
    "fault", [kill, freeze, pytest.param(fill_disk, marks=pytest.mark.extra)]
)
def test_a_daemon_that_does_nothing_is_reported(run, watched, fault):
    """A killed, frozen or full-disk daemon is reported: the watchdog ends with 1.

    It says that nothing is published.
    """
    with daemon(watched) as process:
        assert look_until(run, watched, "守护进程有心跳").code == 0
        fault(process, watched)
        silent = look_until(run, watched, "守护进程没有动静")
    assert silent.code == 1
    assert (watched / "var" / "watchdog.json").is_file()


@pytest.mark.long
def test_a_database_that_is_gone_is_reported(run, watched):
    """The running daemon still has the file open; a process that is started now has nothing."""
    with daemon(watched):
        look_until(run, watched, "守护进程有心跳")
        (watched / "var" / "publisher.db").rename(watched / "var" / "gone.db")
        gone = run("-C", watched, "watchdog", "--once")
    assert gone.code == 1
    assert "数据库读不出来" in gone.out
    assert not (watched / "var" / "publisher.db").exists()
