"""`backup` and `restore` for staff: exit codes, messages, and unchanged files."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing

import pytest

from publisher.store.recovery.folder import lock_process
from tests.cli.conftest import PUBLISHED
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王")
WORD = r"[a-z.-]+"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^+\d]"
"""An instant as people are shown it, without an offset."""


@pytest.fixture
def backed_up(run, drill, tmp_path):
    """Return a drill with content in its database, and its backup."""
    write_schedule(drill, warning("refund", to='["platform:weibo"]'))
    assert run("-C", drill, "send", "refund", *BY).code == 0
    assert run("-C", drill, "backup", tmp_path / "kept.db").code == 0
    assert run("-C", drill, "pause", *BY).code == 0
    (drill / "var" / "intents.jsonl").touch()  # as a daemon's first start does
    return drill


def store(folder):
    return folder / "var" / "publisher.db"


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_backup_names_its_file_and_what_else_to_keep(
    run, drill, backed_up, tmp_path, lang
):
    """A backup prints its file and all that it lacks; an existing file ends in 1, unchanged."""
    result = run("-C", drill, "--lang", lang, "backup", tmp_path / "second.db")
    assert re.search(TIME, result.out)
    assert (result.code, "second.db" in result.out, "vault.json" in result.err) == (
        0,
        True,
        True,
    )
    assert {"regions.csv", "contacts.toml", "data"} <= set(re.findall(WORD, result.err))
    before = digest(tmp_path / "second.db")
    assert run("-C", drill, "backup", tmp_path / "second.db").code == 1
    assert digest(tmp_path / "second.db") == before
    assert run("-C", drill, "backup", tmp_path / "nowhere" / "x.db").code == 1


def test_before_there_is_a_database_there_is_nothing_to_back_up(run, drill, tmp_path):
    """A backup without a database creates neither database nor file."""
    assert run("-C", drill, "backup", tmp_path / "kept.db").code == 1
    assert not (tmp_path / "kept.db").exists()
    assert run("-C", drill, "restore", "--accept-current", *BY).code == 3
    assert not store(drill).exists()


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_restore_pauses_everything_and_says_what_to_do_next(
    run, drill, backed_up, tmp_path, lang
):
    """A restore prints its steps and keeps the former database; resuming ends the alert.

    The person is in the audit log.
    """
    result = run("-C", drill, "--lang", lang, "restore", tmp_path / "kept.db", *BY)
    assert result.code == 0, result.err
    assert "publisher resume" in result.out
    assert re.search(TIME, result.out)
    assert len(list((drill / "var").glob("publisher.db.kept-*"))) == 1
    assert (
        list((drill / "var").glob("*incoming*"))
        == list((drill / "var").glob("*restoring*"))
        == []
    )
    shown = run("-C", drill, "status", "--json").json
    assert [
        (pause["scope"], pause["by"], pause["reason"]) for pause in shown["paused"]
    ] == [("all", "王", "restored")]
    assert sorted(alert["code"] for alert in shown["alerts"]) == [
        "audit_broken",
        "database_restored",
    ]
    assert "刚恢复过数据库" in run("-C", drill, "status").out
    assert run("-C", drill, "resume", *BY).code == 0
    assert [
        alert["code"] for alert in run("-C", drill, "status", "--json").json["alerts"]
    ] == ["audit_broken"]
    connection = sqlite3.connect(store(drill))
    assert connection.execute(
        "SELECT name FROM audit WHERE event = 'restored'"
    ).fetchall() == [("王",)]
    assert connection.execute(
        "SELECT count(*) FROM database_info WHERE key = 'backup'"
    ).fetchone() == (0,)
    connection.close()
    assert run("-C", drill, "audit", "verify").code == 1
    assert run("-C", drill, "restore", tmp_path / "kept.db", *BY).code == 0


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


def add_backup(folder, kept, name):
    """Put a good backup into a folder under an earlier name."""
    shutil.copy(kept, folder / name)
    return folder / name


def read_record(drill):
    """Return the place of the last backup on record, without its host; None without any."""
    with closing(sqlite3.connect(store(drill))) as connection:
        row = connection.execute(
            "SELECT value FROM database_info WHERE key = 'last_backup'"
        ).fetchone()
    return row and json.loads(row[0])["place"].partition(":")[2]


def test_a_backup_into_a_folder_is_named_by_its_time_and_is_on_record(
    run, backed_up, folder, tmp_path
):
    """A folder gets a file of its own for each backup, and the database knows the newest."""
    assert read_record(backed_up) == str(tmp_path / "kept.db")
    assert run("-C", backed_up, "backup", folder).code == 0
    [made] = folder.iterdir()
    assert re.fullmatch(r"publisher-\d{8}T\d{6}Z\.db", made.name)
    assert read_record(backed_up) == str(made)


def test_the_oldest_backups_of_this_database_are_removed_and_nothing_else(
    run, backed_up, folder, tmp_path
):
    """Only files with our names and with the label of this database count, and are removed.

    An interrupted backup's remains go after a day.
    """
    old = [
        add_backup(folder, tmp_path / "kept.db", f"publisher-2026010{day}T000000Z.db")
        for day in (1, 2, 3)
    ]
    named_otherwise = add_backup(folder, tmp_path / "kept.db", "before-upgrade.db")
    of_another_tool = folder / "publisher-20250101T000000Z.db"
    of_another_tool.write_bytes(b"anything")
    remains, in_work = (
        add_backup(folder, tmp_path / "kept.db", f"publisher-{day}T000000Z.db.part")
        for day in ("20260104", "20260105")
    )
    os.utime(remains, (0, 0))
    assert run("-C", backed_up, "backup", folder, "--keep", "2").code == 0
    expected = [old[2], named_otherwise, of_another_tool, in_work]
    left = set(folder.iterdir())
    assert set(expected) <= left
    assert len(left - set(expected)) == 1


def test_backups_of_another_database_in_the_folder_stay(
    run, backed_up, folder, tmp_path
):
    """Two workspaces with databases of one name can use one folder."""
    other = add_backup(folder, tmp_path / "kept.db", "publisher-20260101T000000Z.db")
    with closing(sqlite3.connect(other)) as connection, connection:
        [value] = connection.execute(
            "SELECT value FROM database_info WHERE key = 'backup'"
        ).fetchone()
        label = json.dumps({**json.loads(value), "chain": "another"})
        connection.execute(
            "UPDATE database_info SET value = ? WHERE key = 'backup'", (label,)
        )
    assert run("-C", backed_up, "backup", folder, "--keep", "1").code == 0
    assert other.exists()


def test_a_backup_that_fails_removes_no_earlier_one(run, backed_up, folder, tmp_path):
    """Earlier backups are removed only after the new one was checked."""
    kept = add_backup(folder, tmp_path / "kept.db", "publisher-20260101T000000Z.db")
    for suffix in ("-wal", "-shm"):
        store(backed_up).with_name(f"publisher.db{suffix}").unlink(missing_ok=True)
    store(backed_up).write_bytes(b"no database" * 2000)
    assert run("-C", backed_up, "backup", folder, "--keep", "1").code == 3
    assert list(folder.iterdir()) == [kept]


@pytest.mark.parametrize(
    "arguments",
    [["x.db", "--keep", "2"], [".", "--keep", "2", "--record"], [".", "--keep", "0"]],
)
def test_keep_needs_a_folder_and_a_new_backup(run, backed_up, arguments):
    assert run("-C", backed_up, "backup", *arguments).code == 2


def test_a_backup_of_another_tool_is_recorded_with_the_time_of_its_file(
    run, backed_up, tmp_path
):
    """An empty or missing file is refused; an older one replaces no newer record."""
    dump = tmp_path / "dump"
    assert run("-C", backed_up, "backup", "--record", dump).code == 1
    dump.touch()
    assert run("-C", backed_up, "backup", "--record", dump).code == 1
    dump.write_bytes(b"PGDMP")
    os.utime(dump, (0, 0))
    assert run("-C", backed_up, "backup", "--record", dump).code == 0
    assert read_record(backed_up) == str(tmp_path / "kept.db")
    dump.write_bytes(b"PGDMP")
    assert run("-C", backed_up, "backup", "--record", dump).code == 0
    assert read_record(backed_up) == str(dump)


def test_a_backup_that_cannot_be_recorded_is_good_and_ends_in_1(run, backed_up, folder):
    """A database that cannot be written keeps nobody from a backup of it."""
    with closing(sqlite3.connect(store(backed_up))) as connection, connection:
        connection.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON database_info"
            " WHEN NEW.key = 'last_backup' BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        connection.execute("DELETE FROM database_info WHERE key = 'last_backup'")
    result = run("-C", backed_up, "--lang", "en", "backup", folder)
    assert (result.code, "could not be recorded" in result.err) == (1, True)
    assert len(list(folder.iterdir())) == 1


def test_f84_a_damaged_database_is_refused_with_the_command_that_repairs_it(
    run, drill, backed_up, tmp_path
):
    """A damaged database stays unchanged to the byte until the backup replaces it.

    The refusal names the command. Then the damaged file is kept aside, unchanged.
    """
    for suffix in ("-wal", "-shm"):
        store(drill).with_name(f"publisher.db{suffix}").unlink(missing_ok=True)
    store(drill).write_bytes(b"no database" * 2000)
    before = digest(store(drill))
    result = run("-C", drill, "--lang", "en", "status")
    assert (result.code, "publisher restore FILE" in result.err) == (3, True)
    assert run("-C", drill, "backup", tmp_path / "second.db").code == 3
    assert run("-C", drill, "restore", "--accept-current", *BY).code == 3
    assert digest(store(drill)) == before
    assert run("-C", drill, "restore", tmp_path / "kept.db", *BY).code == 0
    [kept] = (drill / "var").glob("publisher.db.kept-*")
    assert digest(kept) == before
    assert "refund" in run("-C", drill, "status").out


def corrupt(file):
    """Change one letter of a post's text."""
    data = file.read_bytes()
    assert "不用转账".encode() in data
    file.write_bytes(data.replace("不用转账".encode(), "必须转账".encode(), 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda _kept, own, file: shutil.copy(own, file),
        lambda _kept, _own, file: file.write_text(
            "something else entirely " * 99, "utf-8"
        ),
        lambda _kept, _own, file: file.write_bytes(b""),
        lambda kept, _own, file: file.write_bytes(kept.read_bytes()[:20_000]),
        lambda kept, _own, file: (shutil.copy(kept, file), corrupt(file)),
    ],
)
def test_a_damaged_backup_or_another_file_is_refused(
    run, drill, backed_up, tmp_path, make
):
    """Exit code 3; neither the database nor the file is changed, and no other file is created."""
    file = tmp_path / "bad.db"
    make(tmp_path / "kept.db", store(drill), file)
    before = digest(file), digest(store(drill)), sorted(tmp_path.iterdir())
    assert run("-C", drill, "restore", file, *BY).code == 3
    assert (digest(file), digest(store(drill)), sorted(tmp_path.iterdir())) == before
    assert list((drill / "var").glob("*incoming*")) == []
    assert list((drill / "var").glob("*.kept-*")) == []


def test_while_a_daemon_runs_nothing_is_restored(run, drill, backed_up, tmp_path):
    """Exit code 3, with the process that holds the lock; a backup is still made."""
    held = lock_process(f"sqlite:///{store(drill)}", drill)
    result = run("-C", drill, "restore", tmp_path / "kept.db", *BY)
    assert (result.code, str(os.getpid()) in result.err) == (3, True)
    assert run("-C", drill, "backup", tmp_path / "second.db").code == 0
    held.release()


def test_f95_a_drill_is_not_restored_from_a_live_backup(
    run, drill, backed_up, tmp_path
):
    """The environment stored in the file decides."""
    connection = sqlite3.connect(store(drill))
    connection.execute(
        "UPDATE database_info SET value = 'live' WHERE key = 'environment'"
    )
    connection.commit()
    connection.close()
    assert run("-C", drill, "backup", tmp_path / "live.db").code == 0
    result = run("-C", drill, "restore", tmp_path / "live.db", *BY)
    assert (result.code, "live" in result.err) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [(), ("kept.db", "--accept-current", *BY), BY, ("--accept-current",), ("kept.db",)],
)
def test_wrong_usage_ends_in_2(run, drill, arguments):
    """One source, and a named person."""
    assert run("-C", drill, "restore", *arguments).code == 2


def test_for_postgresql_the_right_tool_is_named(run, drill, tmp_path):
    """Nothing is written, and no server is called."""
    settings = drill / "publisher.toml"
    settings.write_text(
        'database = "postgresql://nobody@127.0.0.1:9/none"\n'
        + settings.read_text("utf-8"),
        "utf-8",
    )
    assert "pg_dump" in run("-C", drill, "backup", tmp_path / "kept.db").err
    result = run("-C", drill, "restore", tmp_path / "kept.db", *BY)
    assert (result.code, "pg_restore" in result.err) == (1, True)


@pytest.fixture
def lost(run, drill, backed_up, deliver, tmp_path):
    """Return the file of a post that was published from it before an older database came back."""
    file = write_schedule(tmp_path, warning("later", to='["platform:weibo"]'))
    assert run("-C", drill, "resume", *BY).code == 0
    assert run("-C", drill, "send", file, *BY).code == 0
    for _post in ("refund", "later"):  # one login sends one after the other
        deliver(PUBLISHED)
    assert run("-C", drill, "restore", tmp_path / "kept.db", *BY).code == 0
    return file


@pytest.mark.parametrize("name", ["later", "later@beijing-weibo"])
@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_a_post_that_only_the_journal_knows_is_named_with_its_accounts(
    run, drill, lost, name, lang
):
    """No command says that such a post does not exist, and the file is not sent again."""
    why = run("-C", drill, "--lang", lang, "why", name)
    sent = run("-C", drill, "--lang", lang, "send", lost, *BY)
    assert (why.code, sent.code, why.err) == (3, 3, sent.err)
    assert "beijing-weibo" in sent.err
    assert "publisher status" in sent.err
    assert "publisher send" not in sent.err
    [alert] = [
        one
        for one in run("-C", drill, "status", "--json").json["alerts"]
        if one["code"] == "attempt_orphaned"
    ]
    assert alert["subject"] == "later@beijing-weibo"


def test_a_mistake_in_the_settings_does_not_stop_the_backup(run, backed_up, folder):
    """The mistake is named. Where the file cannot be read at all, the watchdog's copy counts."""
    assert run("-C", backed_up, "watchdog", "--once").code == 1  # no daemon has run
    settings = backed_up / "publisher.toml"
    right = settings.read_text("utf-8")
    for wrong in ('\n[alerts]\nescalate_after = "1m"\n', "\n[alerts\n"):
        settings.write_text(right + wrong, "utf-8")
        made = run("-C", backed_up, "backup", folder / f"{len(wrong)}.db")
        assert (made.code, "publisher.toml:" in made.err) == (0, True), made.err
        assert "备份照样做" in made.err
        assert read_record(backed_up) == str(folder / f"{len(wrong)}.db")
    (backed_up / "var" / "watchdog-settings.json").unlink()
    assert run("-C", backed_up, "backup", folder / "none.db").code == 1
    assert not (folder / "none.db").exists()
