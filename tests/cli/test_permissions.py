"""Access of other users to the workspace's files, for reading and changing."""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.app.permissions import find_unsafe_permissions
from publisher.app.rights import find_missing_rights, is_mounted, require_rights
from publisher.config import parse_settings
from publisher.domain.errors import RefusedError
from publisher.engine.schedule_editor import write_temporary
from publisher.secrets import Vault
from tests.cli.conftest import make_drill, publisher_command
from tests.cli.posts import warning, write_schedule

SHARED = (
    "schedule.toml",
    "templates",
    "templates/README.md",
    "media",
    "media/refund.png",
)
CLOSED = ("publisher.toml", "secrets/beijing-weibo", "var/vault.json", "var/vault-key")


@pytest.fixture
def drill(simulated_drill):
    """Return a drill served by the simulator, with a secrets file per account and one more."""
    Vault(folder=simulated_drill / "var").write(
        "spare", {"password": "canary-of-the-vault"}
    )
    return simulated_drill


@pytest.fixture
def live(drill):
    """Return the same workspace in live operation."""
    settings = drill / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace('"drill"', '"live"'), "utf-8"
    )
    return drill


def findings(reported, key):
    return {
        (each["code"], each["hint"], each["severity"])
        for each in reported.json[key]
        if each["code"].endswith("able")
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "mode", "change"),
    [
        *((name, 0o620, "go-w") for name in CLOSED),
        *((name, 0o602, "go-w") for name in CLOSED),
        *((name, 0o604, "o-r") for name in CLOSED[1:]),
        ("schedule.toml", 0o646, "o-w"),
        ("templates", 0o757, "-R o-w"),
        ("media/refund.png", 0o646, "-R o-w"),
        (".", 0o775, "go-w"),
        ("secrets", 0o770, "go-w"),
        ("var", 0o703, "go-w"),
    ],
)
def test_i19_a_live_daemon_does_not_start_on_files_that_others_can_read(
    run, live, name, mode, change
):
    """I19: run and check show the file and the fix; nothing is created or sent before that."""
    (live / name).chmod(mode)
    target = live / (name.split("/")[0] if change.startswith("-R") else name)
    refused = run("-C", live, "--lang", "en", "run", "--once")
    assert refused.code == 3
    assert str(live / name) in refused.err
    assert f"Run chmod {change} {target}" in refused.err
    assert not (live / "var" / "publisher.db").exists()
    checked = run("-C", live, "--lang", "en", "check", "--json")
    assert checked.code == 1
    (found,) = findings(checked, "problems")
    assert found[1:] == (f"run chmod {change} {target}", "error")


def test_a_group_may_write_what_staff_write(run, live):
    """The group may change schedule, templates and pictures, and all may read settings."""
    for name in SHARED:
        (live / name).chmod(0o775)
    (live / "publisher.toml").chmod(0o644)
    live.chmod(0o1775)
    assert findings(run("-C", live, "check", "--json"), "problems") == set()


def test_i19_settings_with_a_password_are_a_secret(run, live):
    """I19: a publisher.toml with a database password may not be read by others."""
    settings = live / "publisher.toml"
    url = "postgresql://u:canary-of-a-password@127.0.0.1:1/d"
    settings.write_text(
        f"database = {json.dumps(url)}\n{settings.read_text('utf-8')}", "utf-8"
    )
    settings.chmod(0o644)
    refused = run("-C", live, "run", "--once")
    assert (refused.code, f"chmod o-r {settings}" in refused.err) == (3, True)
    assert "canary-of" not in refused.err


def test_a_drill_is_warned_and_runs(run, drill):
    """A drill starts nevertheless; check and doctor show the file as a warning, and do not fail."""
    (drill / "publisher.toml").chmod(0o666)
    expected = {
        ("file_changeable", f"run chmod go-w {drill / 'publisher.toml'}", "warning")
    }
    checked = run("-C", drill, "--lang", "en", "check", "--json")
    assert (checked.code, findings(checked, "problems")) == (0, expected)
    examined = run("-C", drill, "--lang", "en", "doctor", "--json")
    assert (examined.code, findings(examined, "files")) == (0, expected)
    assert f"chmod go-w {drill / 'publisher.toml'}" in run("-C", drill, "doctor").out


@pytest.mark.long
def test_i19_files_of_publisher_are_private_to_its_user(tmp_path, simulator):
    """I19: no workspace, database, journal, store or backup file is open to others.

    This holds for any umask of the shell.
    """
    folder = make_drill(tmp_path / "drill", simulator.url)
    write_schedule(folder, warning("refund", when='at = "asap"'))
    (folder / "var").rmdir()

    def publisher(*arguments, **how):
        command = publisher_command("-C", folder, *arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, umask=0, **how
        )
        assert done.returncode == 0, done.stderr

    publisher("init", str(tmp_path / "new"))
    publisher("run", "--once")
    publisher("secret", "set", "spare", input='{"password": "x"}')
    publisher("backup", str(tmp_path / "backup.db"))
    written = [
        *(tmp_path / "new").rglob("*"),
        *(folder / "var").rglob("*"),
        tmp_path / "backup.db",
    ]
    assert {
        "publisher.db",
        "intents.jsonl",
        "vault.json",
        "vault-key",
        "backup.db",
        "publisher.toml",
    } <= {path.name for path in written}
    for path in (tmp_path / "new", folder / "var", *written):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_system_without_modes_has_no_loose_files(live):
    """Where modes mean nothing, nothing is reported."""
    (live / "publisher.toml").chmod(0o666)
    settings = parse_settings(
        (live / "publisher.toml").read_text("utf-8"), workspace=live
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "name", "nt")
        found = find_unsafe_permissions(settings)
    assert (found, len(find_unsafe_permissions(settings))) == ((), 1)


OTHER_USER, GROUP = 61002, 61003


@contextmanager
def as_other_user():
    """Be a user with one group in common with the files' owner, until the end."""
    groups = os.getgroups()
    os.setgroups([GROUP])
    os.setresgid(GROUP, GROUP, 0)
    os.setresuid(OTHER_USER, OTHER_USER, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@pytest.fixture
def installed():
    """Yield the settings of a workspace that a second user may use as a dashboard's does."""
    if os.geteuid() != 0:
        pytest.skip("NO ROOT: nobody else can be become")
    folder = Path(tempfile.mkdtemp())  # others can reach it
    for name in ("staff/media", "var/db", "secrets"):
        (folder / name).mkdir(parents=True)
    for name in ("staff/schedule.toml", "var/db/publisher.db", "var/intents.jsonl"):
        (folder / name).touch()
    (folder / "secrets" / "user-key").write_text('{"key": "%s="}' % ("A" * 43), "utf-8")
    for path in [folder, *folder.rglob("*")]:
        is_written = "staff" in path.parts or "db" in path.parts
        os.chown(path, 0, GROUP)
        path.chmod(
            (0o2770 if is_written else 0o2750)
            if path.is_dir()
            else 0o660
            if is_written
            else 0o640
        )
    (folder / "var" / "vault.json").write_text("{}", "ascii")
    (folder / "var" / "vault.json").chmod(0o600)
    text = 'staff_dir = "staff"\nsecrets_dir = "secrets"\ndatabase = "sqlite:///var/db/publisher.db"\n'
    settings = parse_settings(text, workspace=folder)
    # all is loaded now that another user might not be able to load
    assert find_missing_rights(settings) == []
    yield settings
    shutil.rmtree(folder)


def find_as_other(settings):
    with as_other_user():
        return [
            (problem.code, problem.facts["user"])
            for problem in find_missing_rights(settings)
        ]


@pytest.mark.parametrize(
    ("name", "mode", "codes"),
    [
        ("staff", 0o2770, []),
        ("staff", 0o2750, ["right_missing_save"]),
        ("staff", 0o3770, ["schedule_not_shared"]),
        ("staff/schedule.toml", 0o640, ["schedule_not_shared"]),
        ("staff/media", 0o2750, ["right_missing_pictures"]),
        ("secrets/user-key", 0o600, ["right_missing_key"]),
        ("var/db", 0o2750, ["right_missing_database"]),
        ("var/db/publisher.db", 0o640, ["right_missing_database"]),
        ("var/intents.jsonl", 0o600, ["right_missing_journal"]),
    ],
)
def test_a_right_that_the_dashboards_user_lacks_is_found(installed, name, mode, codes):
    """Each cause has its own words, with the folder and the user; nothing is written to find it."""
    (installed.workspace / name).chmod(mode)
    assert find_as_other(installed) == [(code, str(OTHER_USER)) for code in codes]


@pytest.mark.parametrize(
    ("group", "folder_group", "codes"),
    [(GROUP, GROUP, []), (0, GROUP, ["schedule_not_shared"]), (0, 0, [])],
    ids=["a group of theirs", "another group", "the group of the folder"],
)
def test_a_file_of_the_dashboards_own_needs_its_group_too(
    installed, group, folder_group, codes
):
    """A save would not be able to keep the group of the file, and would be refused."""
    os.chown(installed.schedule_file, OTHER_USER, group)
    os.chown(installed.staff_folder, OTHER_USER, folder_group)
    installed.staff_folder.chmod(0o2770)
    assert find_as_other(installed) == [(code, str(OTHER_USER)) for code in codes]
    if codes:
        with (
            as_other_user(),
            pytest.raises(RefusedError, match="schedule_owner_not_kept"),
        ):
            write_temporary(installed.schedule_file, "")
    else:
        with as_other_user():
            write_temporary(installed.schedule_file, "")


def test_pictures_need_their_folder_where_the_schedule_is_shared(installed):
    """A pictures folder made later would be closed to the daemon, or to staff.

    The service may set no setgid bit.
    """
    (installed.staff_folder / "media").rmdir()
    assert [code for code, _user in find_as_other(installed)] == [
        "right_missing_pictures"
    ]


@pytest.mark.parametrize(
    ("can_send", "changed", "code"),
    [
        (True, "var", "right_missing_var"),
        (False, "var/db", "right_missing_database"),
        (False, "var", None),
    ],
)
def test_nothing_starts_that_cannot_write_what_it_must(
    installed, can_send, changed, code
):
    """The daemon writes var and the database, the dashboard the database alone."""
    (installed.workspace / "var").chmod(0o2770)
    (installed.workspace / "var" / "intents.jsonl").chmod(0o660)
    with as_other_user():
        require_rights(installed, can_send=True)
    (installed.workspace / changed).chmod(0o2750)
    with as_other_user():
        if code is None:
            require_rights(installed, can_send=can_send)
        else:
            with pytest.raises(RefusedError, match=code):
                require_rights(installed, can_send=can_send)


def test_a_server_needs_no_folder_of_a_database(installed):
    """With PostgreSQL the journal alone is written, by the daemon."""
    (installed.workspace / "var" / "db").chmod(0o700)
    shared = replace(installed, database="postgresql://u@h/d")
    assert find_as_other(shared) == []


def test_a_single_file_that_is_mounted_is_recognised(tmp_path):
    """No rename puts a new file in its place."""
    assert is_mounted(Path("/proc"))
    assert not is_mounted(tmp_path)
