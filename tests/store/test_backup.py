"""Backups and restores: no post that may be published is sent again, and nothing is lost."""

import asyncio
import os
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.domain.audit_verifier import ChainDefect
from publisher.domain.delivery import State, WorkerId
from publisher.domain.errors import RefusedError
from publisher.domain.results import Blocked, HoldReason, Unknown
from publisher.engine.checkpoints import (
    CheckpointTargets,
    last_checkpoint,
    read_checkpoints,
    write_checkpoint,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import reconcile_due
from publisher.engine.sender import send_due
from publisher.runtime.clock import FailpointRaisedError, Runtime
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import (
    JOURNAL_RETENTION,
    IntentJournal,
    JournalRecord,
    read_journal,
    read_records,
    write_journal,
)
from publisher.store.db.tables import ATTEMPT
from publisher.store.recovery.backup import (
    BackupInfo,
    _checksum_of,
    checkpoints_to_compare,
    copy_database,
    finish_restore,
    make_backup,
    read_backup_info,
    read_intents,
    stage_copy,
)
from publisher.store.recovery.setup import (
    check_integrity,
    commit_swap,
    finish_swaps,
    migrate,
    prepare_database,
)
from publisher.store.retention import compact_journal
from publisher.store.store import Store
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter, FakeRuntime

LI = named_person("li")
A = AccountId("a")
PAST_VISIBILITY_WINDOW = timedelta(minutes=11)


class BackupWorkspace:
    """A workspace's database, journal and checkpoints, and the platform of its one account."""

    def __init__(self, folder):
        self.file, self.journal = folder / "publisher.db", folder / "intents.jsonl"
        self.backup, self.targets = (
            folder / "backup.db",
            CheckpointTargets(file=folder / "anchors.log"),
        )
        self.runtime = FakeRuntime()
        self.fake = FakeAdapter(now=self.runtime.now)
        self.store = None

    @property
    def url(self):
        return f"sqlite:///{self.file}"

    async def open(self):
        await prepare_database(self.url, "drill", self.journal, self.runtime)
        self.use(
            Database(open_engine(self.url), self.runtime, IntentJournal(self.journal))
        )
        await self.post_store.register_logins()
        return self

    def use(self, database):
        self.store = Store(
            database=database, policies={A: make_policy("a")}, worker=WorkerId("w")
        )
        self.outbox, self.post_store, self.queries = (
            self.store.outbox,
            self.store.posts,
            self.store.queries,
        )

    async def enqueue_posts(self, *names, at=START_TIME):
        await enqueue_posts(
            self.post_store, *(make_post(name, ["a"], at) for name in names)
        )

    async def send(self):
        """Send everything that is due, one after the other."""
        for _ in range(9):
            await self.store.maintenance.promote_due()
            await send_due(self.store, {A: self.fake}, 5, asyncio.Event())

    async def read(self):
        """Read the platform until no outcome is unknown any more."""
        await self.store.maintenance.expire_own_leases()
        for _ in range(6):
            self.runtime.advance_time(PAST_VISIBILITY_WINDOW)
            await reconcile_due(self.store, {A: self.fake}, 9)

    async def states(self):
        return {
            item.key.post: item.state.value for item in await self.queries.deliveries()
        }

    async def close(self):
        await self.store.database.close()

    def copy(self):
        return make_backup(self.file, self.backup, self.journal, self.runtime)

    async def restore_backup(self, source, *, is_incomplete_fine=False):
        """Restore as the command does."""
        cut = last_checkpoint(self.targets.file)
        incoming, label = stage_copy(
            source, self.file, "drill", cut.chain if cut else None
        )
        anchors = checkpoints_to_compare([cut] if cut else [], self.file)
        url = f"sqlite:///{incoming}"
        migrate(url, "drill", None, self.runtime)
        self.use(Database(open_engine(url), self.runtime))
        memory = read_intents(
            self.journal, label, START_TIME, allows_incomplete=is_incomplete_fine
        )
        restored = await self.store.database.write(
            finish_restore, self.store, memory, label, anchors, LI
        )
        await self.close()
        self.kept = commit_swap(incoming, self.file, self.runtime.now())
        finish_swaps(self.file, self.journal, self.runtime)
        return restored

    def posts_on_platform(self):
        """Count the posts on the platform by their marker."""
        return Counter(request.marker.code for request in self.fake.posts.values())


@pytest.fixture
def workspace(tmp_path):
    return BackupWorkspace(tmp_path)


async def test_a_backup_is_made_while_others_write_and_names_itself(workspace):
    """A backup has everything committed, passes its own check and is private to its owner.

    It needs no other file.
    """
    await workspace.open()
    await workspace.enqueue_posts("p")
    await workspace.send()
    label = workspace.copy()
    await workspace.store.actions.pause("all", LI, "later")
    assert read_backup_info(workspace.backup) == label
    assert (label.environment, label.newest_record) == (
        "drill",
        read_records(workspace.journal)[-1],
    )
    assert [path.name for path in workspace.backup.parent.glob("backup*")] == [
        "backup.db"
    ]
    assert workspace.backup.stat().st_mode & 0o077 == 0
    await workspace.close()


async def test_a_backup_is_dated_to_the_beginning_of_its_creation(
    workspace, monkeypatch
):
    """Changes during a slow backup may be missing in it."""
    await workspace.open()

    def copy_slowly(source, target):
        copy_database(source, target)
        workspace.runtime.advance_time(timedelta(minutes=10))

    monkeypatch.setattr("publisher.store.recovery.backup.copy_database", copy_slowly)
    began_at = workspace.runtime.now()
    assert workspace.copy().at == began_at.isoformat()
    await workspace.close()


async def test_a_restored_database_is_readable_only_by_its_owner(workspace):
    """A restored database is private, regardless of the permissions of the replaced file."""
    await workspace.open()
    workspace.copy()
    await workspace.close()
    await workspace.restore_backup(workspace.backup)
    assert workspace.file.stat().st_mode & 0o077 == 0


async def test_a_backup_never_overwrites(workspace):
    """An existing file stays as it is, and a kill leaves nothing under that name."""
    await workspace.open()
    dying = FakeRuntime(failpoints={"backup.before_rename": ("raise", 1)})
    with pytest.raises(FailpointRaisedError):
        make_backup(workspace.file, workspace.backup, workspace.journal, dying)
    assert not workspace.backup.exists()
    workspace.copy()
    before = workspace.backup.read_bytes()
    with pytest.raises(FileExistsError):
        workspace.copy()
    assert workspace.backup.read_bytes() == before
    await workspace.close()


@pytest.mark.parametrize("position", [40, 5000, -3000])
async def test_f84_a_damaged_backup_is_detected_by_any_byte(workspace, position):
    """Damage in a header, in a page, or within a post's text: the backup is never restored."""
    await workspace.open()
    await workspace.enqueue_posts("p")
    workspace.copy()
    await workspace.close()
    data = bytearray(workspace.backup.read_bytes())
    data[position] ^= 0xFF
    data[data.rindex("警惕诈骗".encode())] ^= 0x01
    workspace.backup.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        read_backup_info(workspace.backup)
    assert refused.value.code in {"backup_damaged", "not_a_backup"}


@pytest.mark.parametrize(
    "code",
    [
        "CREATE TRIGGER evil AFTER INSERT ON audit BEGIN DELETE FROM pause; END",
        "CREATE TRIGGER audit_no_delete AFTER INSERT ON audit BEGIN DELETE FROM pause; END",
        "CREATE VIEW evil AS SELECT 1",
        "CREATE TABLE evil (id INTEGER)",
        "ALTER TABLE pause ADD COLUMN evil INTEGER GENERATED ALWAYS AS (NULL) VIRTUAL",
        "ALTER TABLE auth_user ADD COLUMN evil INTEGER CHECK (state != 'suspended')",
    ],
)
async def test_a_database_with_code_of_others_is_neither_restored_nor_opened(
    workspace, code
):
    """A database with a foreign trigger or column is neither restored nor opened.

    Such code would undo the safety steps of a restore: the pause, and the end of all approvals.
    """
    await workspace.open()
    workspace.copy()
    await workspace.close()
    for file in (workspace.backup, workspace.file):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(f"DROP TRIGGER IF EXISTS {code.split()[2]}")
            connection.execute(code)
    with pytest.raises(RefusedError, match=r"database_(foreign_code|schema_differs)"):
        read_backup_info(workspace.backup)
    with pytest.raises(RefusedError, match=r"database_(foreign_code|schema_differs)"):
        await prepare_database(
            workspace.url, "drill", workspace.journal, workspace.runtime
        )


def test_a_table_with_a_name_that_is_half_a_statement_is_read_as_a_table(tmp_path):
    """A table named like half a statement is sealed too, and no other is read in its place.

    A file from elsewhere may contain anything.
    """
    file = tmp_path / "hostile.db"
    seals = set()
    label = BackupInfo(
        at="",
        database="",
        environment="",
        chain="",
        entries=0,
        newest_record=None,
        checksum="",
    )
    for word in ("a", "b"):
        with sqlite3.connect(file) as connection:
            connection.execute('CREATE TABLE IF NOT EXISTS "audit"(x)')
            connection.execute('CREATE TABLE IF NOT EXISTS "audit"" --"(x)')
            connection.execute('INSERT INTO "audit"" --" VALUES (?)', [word])
            seals.add(_checksum_of(connection, label))
        connection.close()
    assert len(seals) == 2


async def test_a_database_that_was_only_copied_is_no_backup(workspace):
    """A copy without metadata does not say when it was made."""
    await workspace.open()
    await workspace.close()
    shutil.copy(workspace.file, workspace.backup)
    with pytest.raises(RefusedError) as refused:
        read_backup_info(workspace.backup)
    assert refused.value.code == "not_a_backup"


async def test_f85_posts_sent_after_the_backup_are_read_and_not_sent_again(workspace):
    """Each post around a backup is published once in the end, and explained.

    One was known to the backup and sent since. One was filed and sent since. One was never sent.
    """
    await workspace.open()
    await workspace.enqueue_posts("before")
    await workspace.send()
    await workspace.enqueue_posts("waiting", at=START_TIME + timedelta(minutes=1))
    workspace.copy()
    workspace.runtime.advance_time(timedelta(minutes=1))
    await workspace.send()
    await workspace.enqueue_posts("since", at=workspace.runtime.now())
    workspace.fake.script.append(workspace.fake.lose_reply)
    await workspace.send()
    await workspace.close()
    assert len(workspace.posts_on_platform()) == 3

    restored = await workspace.restore_backup(workspace.backup)
    assert (restored.recovered, restored.orphaned) == (2, 1)
    await workspace.open()
    assert await workspace.states() == {"before": "published", "waiting": "unknown"}
    assert sorted(item.code for item in await workspace.queries.alerts()) == [
        "attempt_orphaned", "attempt_recovered", "database_restored",
    ]  # fmt: skip
    await workspace.enqueue_posts("since", "new", at=workspace.runtime.now())
    assert (await workspace.states())["since"] == "unknown"
    await workspace.send()
    assert len(workspace.posts_on_platform()) == 3
    await workspace.read()
    await workspace.store.actions.resume("all", LI)
    await workspace.enqueue_posts("newer", at=workspace.runtime.now())
    await workspace.send()
    states = await workspace.states()
    assert {states[name] for name in ("before", "waiting", "since", "newer")} == {
        "published"
    }
    assert set(workspace.posts_on_platform().values()) == {1}
    assert "attempt_orphaned" not in [
        item.code for item in await workspace.queries.alerts()
    ]
    await workspace.close()


async def test_f85_a_call_after_a_resend_that_the_backup_does_not_know_is_the_unknown_one(
    workspace,
):
    """A resend that the backup does not know is waited for, for its own time.

    Before the backup the outcome was unknown, and since then a second call has resolved it.
    """
    await workspace.open()
    await workspace.enqueue_posts("p")
    workspace.fake.script.append(Unknown(reason="reset"))
    await workspace.send()
    assert await workspace.states() == {"p": "unknown"}
    workspace.copy()
    await workspace.read()
    workspace.fake.script.append(workspace.fake.lose_reply)
    await workspace.send()
    await workspace.close()
    await workspace.restore_backup(workspace.backup)
    await workspace.open()
    [delivery] = await workspace.queries.deliveries()
    assert (delivery.state, delivery.attempts, delivery.was_resent) == (
        State.UNKNOWN,
        2,
        True,
    )
    await workspace.read()
    assert await workspace.states() == {"p": "published"}
    assert workspace.posts_on_platform().total() == 1
    await workspace.close()


async def test_f85_without_a_journal_whatever_may_be_published_is_read_first(workspace):
    """Without a journal, posts due before start as unknown; later posts do not.

    Without the option the restore is refused.
    """
    await workspace.open()
    await workspace.enqueue_posts("p", "later", at=START_TIME + timedelta(minutes=1))
    workspace.copy()
    workspace.runtime.advance_time(timedelta(minutes=1))
    await workspace.enqueue_posts("since", at=workspace.runtime.now())
    await workspace.send()
    await workspace.close()
    workspace.journal.unlink()
    with pytest.raises(RefusedError) as refused:
        await workspace.restore_backup(workspace.backup)
    assert refused.value.code == "journal_missing"
    await workspace.close()
    workspace.runtime.advance_time(timedelta(minutes=5))
    restored = await workspace.restore_backup(workspace.backup, is_incomplete_fine=True)
    assert restored.unresolved == 2
    workspace.journal.touch()
    await workspace.open()
    assert {item.code for item in await workspace.queries.alerts()} == {
        "attempt_assumed", "database_restored",
    }  # fmt: skip
    await workspace.enqueue_posts("since", at=START_TIME + timedelta(minutes=1))
    assert set((await workspace.states()).values()) == {"unknown"}
    await workspace.read()
    assert set((await workspace.states()).values()) == {"published"}
    assert set(workspace.posts_on_platform().values()) == {1}
    await workspace.enqueue_posts(
        "fresh", at=workspace.runtime.now() + timedelta(minutes=1)
    )
    assert (await workspace.states())["fresh"] == "pending"
    await workspace.close()


# docs/faults.md has this name
async def test_f85_without_a_journal_held_deliveries_may_have_been_resolved_since_and_are_read_first(
    workspace,
):
    """A repeated resolution finds no held delivery; after a read a person decides again.

    A person is asked only if the account does not show the post.
    """
    await workspace.open()
    workspace.fake.script.extend(
        Blocked(code="x", reason="x", hold_reason=HoldReason.CAPTCHA) for _ in range(2)
    )
    for name in ("ruled", "left"):
        await workspace.enqueue_posts(name)
        await workspace.send()
        await workspace.store.actions.resume("account:a", LI)
    workspace.copy()
    [ruled] = await workspace.queries.deliveries("ruled")
    await resolve_delivery(
        workspace.store,
        ruled,
        Resolution.RESEND,
        by=named_person("li"),
        reason="solved",
    )
    await workspace.send()
    assert await workspace.states() == {"ruled": "published", "left": "held"}
    await workspace.close()
    workspace.journal.unlink()
    workspace.runtime.advance_time(timedelta(minutes=5))
    restored = await workspace.restore_backup(workspace.backup, is_incomplete_fine=True)
    assert restored.unresolved == 2
    workspace.journal.touch()
    await workspace.open()
    [ruled] = await workspace.queries.deliveries("ruled")
    with pytest.raises(RefusedError) as refused:
        await resolve_delivery(
            workspace.store,
            ruled,
            Resolution.RESEND,
            by=named_person("li"),
            reason="given again",
        )
    assert refused.value.code == "not_read_yet"
    await workspace.read()
    await workspace.store.actions.resume("all", LI)
    await workspace.send()
    assert await workspace.states() == {"ruled": "published", "left": "held"}
    assert workspace.posts_on_platform().total() == 1
    await workspace.close()


async def test_f85_without_a_journal_a_known_unknown_outcome_keeps_its_own_baseline(
    workspace,
):
    """Its post is older than the data-loss window, and is still distinguished from older posts."""
    await workspace.open()
    await workspace.enqueue_posts("first")
    await workspace.send()
    await workspace.enqueue_posts("p")
    workspace.fake.script.append(workspace.fake.lose_reply)
    await workspace.send()
    workspace.runtime.advance_time(PAST_VISIBILITY_WINDOW)
    workspace.copy()
    await workspace.close()
    workspace.journal.unlink()
    await workspace.restore_backup(workspace.backup, is_incomplete_fine=True)
    workspace.journal.touch()
    await workspace.open()
    query = (
        select(ATTEMPT.c.newest_id, ATTEMPT.c.baseline_at)
        .where(ATTEMPT.c.delivery == 2)
        .order_by(ATTEMPT.c.number)
    )
    known, doubted = await workspace.store.database.read(
        lambda connection: connection.execute(query).all()
    )
    assert known.newest_id == "1"
    assert known.baseline_at < workspace.runtime.now() - PAST_VISIBILITY_WINDOW
    assert doubted == known
    await workspace.close()


async def test_f85_another_journal_is_no_journal(workspace):
    """A journal without the newest line of the backup's time cannot show later calls."""
    await workspace.open()
    await workspace.enqueue_posts("p")
    await workspace.send()
    workspace.copy()
    await workspace.close()
    workspace.journal.write_bytes(b"")
    with pytest.raises(RefusedError) as refused:
        await workspace.restore_backup(workspace.backup)
    assert refused.value.code == "journal_mismatch"
    await workspace.close()


async def test_f85_a_backup_restored_by_hand_is_recognised_even_if_nothing_was_sent_since(
    workspace,
):
    """Its metadata says so at the next start, and it can be accepted as it is."""
    await workspace.open()
    workspace.copy()
    await workspace.close()
    shutil.copy(workspace.backup, workspace.file)
    with pytest.raises(RefusedError) as refused:
        await workspace.open()
    assert refused.value.code == "database_is_copy"
    await workspace.restore_backup(None)
    await workspace.open()
    assert [pause.reason for pause in await workspace.queries.pauses()] == ["restored"]
    await workspace.close()


async def test_f95_a_drill_backup_is_not_restored_live_nor_another_workspaces(
    workspace, tmp_path
):
    """The environment and the audit chain in the file identify its workspace."""
    await workspace.open()
    workspace.copy()
    await workspace.close()
    with pytest.raises(RefusedError) as refused:
        stage_copy(workspace.backup, workspace.file, "live", None)
    assert refused.value.code == "other_environment"
    (tmp_path / "other").mkdir()
    other = await BackupWorkspace(tmp_path / "other").open()
    await other.close()
    before = other.file.read_bytes()
    with pytest.raises(RefusedError) as refused:
        stage_copy(workspace.backup, other.file, "drill", None)
    assert refused.value.code == "backup_of_another"
    assert other.file.read_bytes() == before


@pytest.mark.parametrize("passing", [1, 2])
async def test_a_killed_restore_is_finished_by_the_next_start(workspace, passing):
    """After a killed restore, only the new database is found; the old one is kept complete.

    The kill is between the decision and the end of the restore.
    """
    await workspace.open()
    workspace.copy()
    await workspace.store.actions.pause("all", LI, "newer than the backup")
    shutil.copy(workspace.file, workspace.file.with_name("publisher.db.incoming"))
    wal = workspace.file.with_name("publisher.db-wal").read_bytes()
    incoming, _label = stage_copy(workspace.backup, workspace.file, "drill", None)
    await workspace.close()
    workspace.file.with_name("publisher.db-wal").write_bytes(wal)
    kept = commit_swap(incoming, workspace.file, workspace.runtime.now())
    if passing == 2:
        with pytest.raises(FailpointRaisedError):
            finish_swaps(
                workspace.file,
                workspace.journal,
                Runtime(failpoints={"restore.mid": ("raise", 1)}),
            )
        assert not workspace.file.exists()
    with pytest.raises(RefusedError) as refused:
        await workspace.open()
    assert refused.value.code == "database_is_copy"
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT count(*) FROM pause").fetchone() == (1,)
    connection.close()


async def test_a_recorded_restore_is_distinguished_from_a_silent_cut(workspace):
    """`restored` names the checkpoint that it cut off; a silent cut has no such name.

    Both are losses that nobody has accepted.
    """
    await workspace.open()
    await workspace.enqueue_posts("p")
    workspace.copy()
    await workspace.store.actions.pause("all", LI, "cut off")
    await write_checkpoint(workspace.store.audit, workspace.targets)
    await workspace.close()
    shutil.copy(workspace.backup, workspace.file.with_name("silent.db"))
    await workspace.restore_backup(workspace.backup)
    await workspace.open()
    await write_checkpoint(workspace.store.audit, workspace.targets)
    anchors = list(read_checkpoints(workspace.targets.file))
    found = await workspace.store.audit.verify(anchors, read_records(workspace.journal))
    assert [(item.defect, item.facts["name"]) for item in found.breaks] == [
        (ChainDefect.LOST, "li")
    ]
    assert [item.code for item in await workspace.queries.alerts()].count(
        "audit_broken"
    ) == 1
    beyond = replace(anchors[0], sequence=99, hash="f" * 64)
    found = await workspace.store.audit.verify([beyond, *anchors])
    assert [item.defect for item in found.breaks] == [
        ChainDefect.LOST,
        ChainDefect.LOST,
    ]
    await workspace.close()
    await workspace.restore_backup(workspace.backup)
    await workspace.open()
    found = await workspace.store.audit.verify(anchors)
    assert [(item.defect, item.facts["name"]) for item in found.breaks] == [
        (ChainDefect.LOST, "li")
    ]
    await workspace.close()
    silent = Database(
        open_engine(f"sqlite:///{workspace.file.with_name('silent.db')}"),
        workspace.runtime,
    )
    workspace.use(silent)
    found = await workspace.store.audit.verify(anchors)
    assert ChainDefect.LOST in {item.defect for item in found.breaks}
    await workspace.close()


async def test_f84_damage_in_the_middle_of_a_database_is_found_at_the_start(workspace):
    """A page that nobody has read yet stops the daemon's start, and the file stays as it is."""
    await workspace.open()
    await workspace.enqueue_posts(*(f"p{number}" for number in range(60)))
    await workspace.close()
    data = bytearray(workspace.file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    workspace.file.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        check_integrity(workspace.url)
    assert refused.value.code == "database_corrupt"
    assert workspace.file.read_bytes() == data


async def test_f84_a_damaged_database_keeps_the_log_that_a_kill_left_beside_it(
    workspace,
):
    """The refusal of a damaged database changes neither it nor the log of a killed daemon.

    The killed daemon left its newest commits in that separate file.
    """
    await workspace.open()
    await workspace.enqueue_posts(*(f"p{number}" for number in range(60)))
    await workspace.close()
    dead = workspace.file.with_name("dead")
    dead.mkdir()
    with closing(sqlite3.connect(workspace.file)) as connection:
        connection.execute("INSERT INTO database_info VALUES ('left', 'by a death')")
        connection.commit()
        for left in workspace.file.parent.glob("publisher.db*"):
            shutil.copy(left, dead)
        [(page,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'delivery'"
        )
    data = bytearray((dead / workspace.file.name).read_bytes())
    data[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    (dead / workspace.file.name).write_bytes(data)
    before = {
        left.name: left.read_bytes()
        for left in dead.glob("*.db*")
        if left.suffix != ".db-shm"
    }
    assert len(before) > 1
    url = f"sqlite:///{dead / workspace.file.name}"
    with pytest.raises(RefusedError) as refused:
        await prepare_database(
            url, "drill", workspace.journal, workspace.runtime, checks_integrity=True
        )
    assert refused.value.code == "database_corrupt"
    assert {name: (dead / name).read_bytes() for name in before} == before


async def test_a_damaged_line_in_the_journal_is_refused_and_a_torn_end_is_not(
    workspace,
):
    """A kill leaves half a line only at the very end; in the middle an intent may be lost."""
    await workspace.open()
    await workspace.enqueue_posts("p", "q", "r")
    await workspace.send()
    await workspace.close()
    whole = workspace.journal.read_bytes()
    workspace.journal.write_bytes(whole + b'{"delivery":9,"att')
    await workspace.open()
    await workspace.close()
    lines = whole.splitlines(keepends=True)
    workspace.journal.write_bytes(lines[0] + b"\x00" * 40 + b"\n" + lines[2])
    with pytest.raises(RefusedError) as refused:
        await workspace.open()
    assert (refused.value.code, refused.value.facts["line"]) == ("journal_damaged", "2")


async def test_a_missing_journal_is_refused(workspace):
    """Where calls were made there must be a journal."""
    await workspace.open()
    await workspace.enqueue_posts("p")
    await workspace.send()
    await workspace.close()
    workspace.journal.unlink()
    with pytest.raises(RefusedError) as refused:
        await workspace.open()
    assert refused.value.code == "journal_missing"


async def test_old_lines_leave_the_journal_once_their_calls_are_over(workspace):
    """Only lines of completed old calls leave the journal.

    Lines of unknown outcomes, of young calls and the newest line stay. Lines appended meanwhile are
    not lost.
    """
    await workspace.open()
    await workspace.enqueue_posts("over", "doubt")
    workspace.fake.script.extend([workspace.fake.lose_reply, workspace.fake.lose_reply])
    await workspace.send()
    await workspace.store.database.write(
        lambda unit: unit.connection.execute(
            ATTEMPT.update().where(ATTEMPT.c.delivery == 2).values(ended_at=None)
        )
    )
    workspace.runtime.advance_time(JOURNAL_RETENTION + timedelta(days=1))
    await workspace.read()
    await workspace.enqueue_posts("young", at=workspace.runtime.now())
    await workspace.send()
    assert await compact_journal(workspace.store) == 1
    assert await compact_journal(workspace.store) == 0
    await workspace.enqueue_posts("next", at=workspace.runtime.now())
    await workspace.send()
    posts = [line.post for line in read_records(workspace.journal)]
    assert posts == ["doubt", "young", "next"]
    assert read_journal(workspace.journal).complete_since == START_TIME
    await workspace.close()
    await workspace.open()
    attempts = await workspace.store.database.read(
        lambda connection: len(connection.execute(select(ATTEMPT)).all())
    )
    assert attempts == 4
    await workspace.close()


@pytest.mark.parametrize(
    ("kept_since", "newest", "wanted"),
    [
        (None, "in it", None),
        (None, "not in it", "journal_mismatch"),
        (START_TIME - timedelta(hours=1), "not in it", "journal_mismatch"),
        (START_TIME + timedelta(minutes=1), "not in it", None),
        (START_TIME + timedelta(hours=2), "in it", "journal_mismatch"),
        (None, None, None),
    ],
)
async def test_a_shortened_journal_is_accepted_as_long_as_it_reaches_back_to_the_backup(
    workspace, kept_since, newest, wanted
):
    """Removed lines must be older than the backup, or a call since then would be lost."""
    line = JournalRecord(
        delivery=1,
        attempt=1,
        fencing_token=1,
        rendered_hash="f",
        at=START_TIME.isoformat(),
        post="p",
        occurrence="once",
        account="a",
        part=0,
        identity="a",
        method="",
    )
    label = BackupInfo(
        at=(START_TIME + timedelta(hours=1)).isoformat(),
        database="publisher.db",
        environment="drill",
        chain="",
        entries=1,
        newest_record=line if newest else None,
        checksum="",
    )
    held = [line] if newest == "in it" else []
    write_journal(workspace.journal, [*held, replace(line, attempt=2)], kept_since)
    try:
        read_intents(workspace.journal, label, START_TIME, allows_incomplete=False)
        found = None
    except RefusedError as refused:
        found = refused.code
    assert found == wanted
