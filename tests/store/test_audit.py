"""The audit log is one append-only chain, written with each change, with checkpoints outside."""

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DatabaseError

from publisher.domain.audit_chain import (
    Checkpoint,
    checkpoint_signing_text,
    format_checkpoint,
    hash_entry,
)
from publisher.domain.audit_verifier import ChainDefect
from publisher.domain.delivery import State, WorkerId
from publisher.domain.results import Published, Receipt
from publisher.engine.checkpoints import (
    CheckpointTargets,
    last_checkpoint,
    read_checkpoints,
    write_checkpoint,
)
from publisher.engine.decisions import named_person
from publisher.runtime.clock import FailpointRaisedError
from publisher.secrets import Vault, is_signed_by, load_audit_key
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal, read_records
from publisher.store.db.tables import AUDIT
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeRuntime

ACCOUNTS = ("a", "b", "c")
LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)


async def work(store, posts=2):
    """File posts, send one of each account, and give an order."""
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ACCOUNTS, START_TIME) for number in range(posts)),
    )
    await store.maintenance.promote_due()
    for lease in await store.outbox.claim(10):
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(lease, LIVE)
    await store.actions.pause("all", named_person("王"), "演练")


async def open_with_entries(open_store):
    store = await open_store(*map(make_policy, ACCOUNTS))
    await work(store)
    return store


async def test_every_entry_is_chained_to_the_one_before(open_store):
    """Everything the store writes verifies from the first entry to the head, without a gap."""
    store = await open_with_entries(open_store)
    verification = await store.audit.verify(())
    assert verification.is_sound
    head = await store.audit.read_checkpoint()
    assert verification.head == (head.sequence, head.hash)
    assert verification.entry_count == head.sequence > 20
    assert len(head.chain) == 64


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET name = 'x' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE id = 2",
        "TRUNCATE audit",
    ],
)
async def test_the_database_itself_refuses_changes(open_store, statement):
    """Entries cannot be changed, replaced or deleted by plain SQL, and the error says why."""
    store = await open_with_entries(open_store)
    is_sqlite = store.database.engine.dialect.name == "sqlite"
    if ("TRUNCATE" in statement) is is_sqlite or (
        "REPLACE" in statement and not is_sqlite
    ):
        pytest.skip("not a statement of this database")
    with pytest.raises(DatabaseError, match="the audit is only ever added to"):
        await store.database.write(
            lambda unit: unit.connection.execute(text(statement))
        )
    assert (await store.audit.verify(())).is_sound


async def test_a_change_and_its_entry_come_together_or_not_at_all(open_store, runtime):
    """A kill right before the entry leaves neither the change nor a gap in the chain."""
    store = await open_with_entries(open_store)
    head = await store.audit.read_checkpoint()
    runtime.failpoints = {"audit.before_append": ("raise", 1)}
    runtime._hit_counts.clear()  # the failpoint counts from here
    with pytest.raises(FailpointRaisedError):
        await store.actions.resume("all", named_person("王"))
    assert [pause.scope for pause in await store.queries.pauses()] == ["all"]
    assert (await store.audit.read_checkpoint()).sequence == head.sequence
    await store.actions.resume("all", named_person("王"))
    assert (await store.audit.verify(())).head[0] == head.sequence + 1


async def test_f83_a_full_disk_at_the_outcome_leaves_it_unknown_and_stops_claiming(
    tmp_path,
):
    """Without disk space for the entry, the delivery stays in sending and is later unknown.

    Nothing more is claimed meanwhile.
    """
    runtime, disk = FakeRuntime(), SmallDisk()
    url = f"sqlite:///{tmp_path / 'publisher.db'}"
    await prepare_database(url, "drill", tmp_path / "intents.jsonl", runtime)
    database = Database(open_engine(url), runtime)
    event.listen(database.engine, "begin", disk.limit)
    policies = {item.account.id: item for item in map(make_policy, ACCOUNTS)}
    store = Store(database=database, policies=policies, worker=WorkerId("worker-1"))
    await store.posts.register_logins()
    await enqueue_posts(
        store.posts,
        *(make_post(f"p{number}", ACCOUNTS, START_TIME) for number in range(2)),
    )
    await store.maintenance.promote_due()
    leases = await store.outbox.claim(2)
    for lease in leases:
        await store.outbox.record_intent(lease)
    await disk.fill(store)
    with pytest.raises(DatabaseError, match="full"):
        await store.outbox.record_outcome(leases[0], LIVE)
    with pytest.raises(DatabaseError, match="full"):
        await store.outbox.claim(10)
    queries = store.queries
    assert Counter(item.state for item in await queries.deliveries()) == {
        State.DUE: 4,
        State.SENDING: 2,
    }
    disk.pages = disk.PLENTY
    runtime.advance_time(timedelta(hours=1))
    assert await store.maintenance.expire_leases() == 2
    assert Counter(item.state for item in await queries.deliveries()) == {
        State.DUE: 4,
        State.UNKNOWN: 2,
    }
    assert (await store.audit.verify(())).is_sound
    await database.close()


class SmallDisk:
    """A disk that limits the database to a number of pages."""

    PLENTY = 2**30

    def __init__(self):
        self.pages = self.PLENTY

    def limit(self, connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self.pages}")

    async def fill(self, store):
        """Leave no room for one more audit entry."""
        self.pages = await store.database.read(
            lambda connection: connection.exec_driver_sql(
                "PRAGMA page_count"
            ).scalar_one()
        )
        for size in (1000, 100, 10, 0):
            with suppress(DatabaseError):
                while True:
                    await store.actions.record_action(
                        "Filled",
                        "disk",
                        named_person("x"),
                        {"x": "x" * size} if size else {},
                    )


WRITER = """
import asyncio, sys
from publisher.engine.decisions import named_person
from publisher.store.store import Store
from publisher.store.db.database import Database, open_engine
from publisher.store.plan.actions import OperatorActions
from publisher.runtime.clock import Runtime

async def main(url, name):
    store = Store(database=Database(open_engine(url), Runtime()), policies={}, worker=name)
    await store.actions.record_action("Said", name, named_person(name), {})
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(30):
        actions, by = store.actions, named_person(name)
        await asyncio.gather(*(\
actions.record_action("Said", f"{name}/{number}", by, {}) for _ in range(3)))
    await store.database.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "database_url",
    [pytest.param("sqlite", marks=pytest.mark.extra), "postgres"],
    indirect=True,
)
async def test_several_processes_write_one_chain(database_url, tmp_path):
    """Concurrent processes neither fork the chain, nor lose an entry, nor leave a gap."""
    await prepare_database(
        database_url, "drill", tmp_path / "intents.jsonl", FakeRuntime()
    )
    names = [f"w{number}" for number in range(4)]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    command_of = partial(
        asyncio.create_subprocess_exec,
        sys.executable,
        "-c",
        WRITER,
        database_url,
        **pipes,
    )
    writers = await asyncio.gather(*map(command_of, names))
    assert (
        await asyncio.gather(*(writer.stdout.readline() for writer in writers))
        == [b"ready\n"] * 4
    )
    for writer in writers:
        writer.stdin.write(b"go\n")
    assert await asyncio.gather(*(writer.wait() for writer in writers)) == [0] * 4
    store = Store(
        database=Database(open_engine(database_url), FakeRuntime()),
        policies={},
        worker=WorkerId("w"),
    )
    verification = await store.audit.verify(())
    assert (verification.is_sound, verification.entry_count) == (True, 4 * 91)
    changes = select(AUDIT.c.name).order_by(AUDIT.c.id)
    order = await store.database.read(
        lambda connection: list(connection.scalars(changes))
    )
    assert sum(one != other for one, other in pairwise(order[4:])) > 3, (
        "they wrote at the same time"
    )
    await store.database.close()


@pytest.fixture
async def copy(tmp_path):
    """Return an open copy of a used SQLite database, its audit log, checkpoints and intents.

    The copy has no triggers.
    """
    runtime = FakeRuntime()
    url = f"sqlite:///{tmp_path / 'true.db'}"
    journal = tmp_path / "intents.jsonl"
    await prepare_database(url, "drill", journal, runtime)
    policies = {item.account.id: item for item in map(make_policy, ACCOUNTS)}
    store = Store(
        database=Database(open_engine(url), runtime, IntentJournal(journal)),
        policies=policies,
        worker=WorkerId("w"),
    )
    await store.posts.register_logins()
    targets = CheckpointTargets(file=tmp_path / "anchors.log")
    for number in range(3):
        await work(store, posts=1) if number == 1 else await store.actions.pause(
            "all", named_person("王"), "演练"
        )
        await store.actions.resume("all", named_person("王"))
        await write_checkpoint(store.audit, targets)
    await store.database.close()
    shutil.copy(tmp_path / "true.db", tmp_path / "publisher.db")
    with sqlite3.connect(tmp_path / "publisher.db") as connection:
        for name in ("update", "delete", "replace"):
            connection.execute(f"DROP TRIGGER audit_no_{name}")
    store = Store(
        database=Database(
            open_engine(f"sqlite:///{tmp_path / 'publisher.db'}"), runtime
        ),
        policies={},
        worker="w",
    )
    yield AttackedDatabase(
        store, list(read_checkpoints(targets.file)), read_records(journal), connection
    )
    connection.close()
    await store.database.close()


class AttackedDatabase:
    """A database that an attacker may change at will."""

    def __init__(self, store, anchors, intents, connection):
        self.store, self.anchors, self.intents, self.connection = (
            store,
            anchors,
            intents,
            connection,
        )

    def tamper(self, script):
        self.connection.executescript(script)

    def cut(self, last):
        self.connection.execute("DELETE FROM audit WHERE id > ?", [last])
        self.connection.commit()

    async def find(self, anchors=(), intents=()):
        verification = await self.store.audit.verify(anchors, intents)
        return [
            (item.defect, item.sequence, item.until) for item in verification.breaks
        ]


async def test_an_unchanged_copy_is_complete(copy):
    """Checkpoints and journal agree with an unchanged database."""
    assert [item.sequence for item in copy.anchors] == sorted(
        {item.sequence for item in copy.anchors}
    )
    assert len(copy.anchors) == len(copy.intents) == 3
    assert await copy.find(copy.anchors, copy.intents) == []


CLOSE_UP = """
    DELETE FROM audit WHERE id = 7;
    UPDATE audit SET id = 1 - id WHERE id > 7;
    UPDATE audit SET id = -id WHERE id < 0;
"""
SWAP = """
    UPDATE audit SET id = -7 WHERE id = 7;
    UPDATE audit SET id = 7 WHERE id = 11;
    UPDATE audit SET id = 11 WHERE id = -7;
"""
PUT_IN = """
    UPDATE audit SET id = -1 - id WHERE id >= 7;
    UPDATE audit SET id = -id WHERE id < 0;
    INSERT INTO audit
        SELECT 7, at, role, name, event, 'elsewhere', before, after, detail, previous, hash
        FROM audit WHERE id = 8;
"""


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("UPDATE audit SET name = '李' WHERE id = 7", (ChainDefect.ALTERED, 7, 7)),
        ("UPDATE audit SET at = at + 1 WHERE id = 7", (ChainDefect.ALTERED, 7, 7)),
        ("UPDATE audit SET at = 'soon' WHERE id = 7", (ChainDefect.ALTERED, 7, 7)),
        (
            "UPDATE audit SET detail = CAST(detail AS BLOB) WHERE id = 7",
            (ChainDefect.ALTERED, 7, 7),
        ),
        (
            "UPDATE audit SET detail = CAST(x'ff' || detail AS TEXT) WHERE id = 7",
            (ChainDefect.ALTERED, 7, 7),
        ),
        ("UPDATE audit SET hash = previous WHERE id = 7", (ChainDefect.ALTERED, 7, 7)),
        ("DELETE FROM audit WHERE id = 7", (ChainDefect.LOST, 7, 7)),
        ("DELETE FROM audit WHERE id BETWEEN 3 AND 6", (ChainDefect.LOST, 3, 6)),
        (CLOSE_UP, (ChainDefect.ALTERED, 7, None)),
        (PUT_IN, (ChainDefect.ALTERED, 7, None)),
        (
            "UPDATE database_info SET value = '00' WHERE key = 'audit_genesis'",
            (ChainDefect.ALTERED, 1, 1),
        ),
    ],
)
async def test_each_kind_of_tampering_is_named_with_its_place(copy, script, found):
    """Every change by plain SQL is detected from the database alone.

    Where rows were moved up or down, every one from there on is out of its place.
    """
    copy.tamper(script)
    [last] = copy.connection.execute("SELECT max(id) FROM audit").fetchone()
    damage, begin, end = found
    assert await copy.find() == [(damage, begin, end or last)]


async def test_entries_that_changed_places_are_named(copy):
    """Both places are named."""
    copy.tamper(SWAP)
    assert await copy.find() == [
        (ChainDefect.ALTERED, 7, 7),
        (ChainDefect.ALTERED, 11, 11),
    ]


async def test_a_cut_end_is_detected_by_checkpoints_and_by_the_journal(copy):
    """The rest is consistent; the records outside prove that there was more."""
    last = copy.anchors[-1].sequence
    copy.cut(copy.anchors[0].sequence)
    assert await copy.find() == []
    assert await copy.find(copy.anchors) == [
        (ChainDefect.LOST, copy.anchors[0].sequence + 1, last)
    ]
    assert [damage for damage, _from, _to in await copy.find((), copy.intents)] == [
        ChainDefect.UNKNOWN_ATTEMPT
    ] * 3


async def test_a_recomputed_chain_is_detected_by_checkpoints(copy):
    """A chain recomputed from some entry on contradicts the first checkpoint after it."""
    first, second, _third = (item.sequence for item in copy.anchors)
    rows = copy.connection.execute("SELECT * FROM audit ORDER BY id").fetchall()
    previous = copy.anchors[0].hash
    for number, at, role, _name, *rest in rows[first:]:
        fields = (at, role, "李", *rest[:-2])
        digest = hash_entry(number, fields, previous)
        parts = ("李", previous, digest, number)
        copy.connection.execute(
            "UPDATE audit SET name = ?, previous = ?, hash = ? WHERE id = ?", parts
        )
        previous = digest
    copy.connection.commit()
    assert await copy.find() == []
    assert await copy.find(copy.anchors) == [(ChainDefect.LOST, first + 1, second)]


async def test_a_replaced_database_is_detected_by_checkpoints(copy):
    """A chain with another beginning contradicts every checkpoint."""
    genesis, previous = "11" * 32, "11" * 32
    for number, *fields, _previous, _hash in copy.connection.execute(
        "SELECT * FROM audit ORDER BY id"
    ).fetchall():
        digest = hash_entry(number, fields, previous)
        parts = (previous, digest, number)
        copy.connection.execute(
            "UPDATE audit SET previous = ?, hash = ? WHERE id = ?", parts
        )
        previous = digest
    copy.connection.execute(
        "UPDATE database_info SET value = ? WHERE key = 'audit_genesis'", [genesis]
    )
    copy.connection.commit()
    assert await copy.find() == []
    assert {damage for damage, _from, _to in await copy.find(copy.anchors)} == {
        ChainDefect.LOST
    }


async def test_a_checkpoint_is_written_when_the_head_has_moved(open_store, tmp_path):
    """One line for each new head, none for an old one, in the file and in the system log."""
    store = await open_with_entries(open_store)
    audit, log = store.audit, tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(log))
        targets = CheckpointTargets(
            file=tmp_path / "elsewhere" / "anchors.log", syslog_socket=log
        )
        await write_checkpoint(audit, targets)
        await write_checkpoint(audit, targets)
        await store.actions.resume("all", named_person("王"))
        await write_checkpoint(audit, targets)
        listener.settimeout(5)
        heard = [listener.recv(4096).decode() for _ in range(2)]
    lines = list(read_checkpoints(targets.file))
    assert [line.sequence for line in lines] == [
        lines[1].sequence - 1,
        lines[1].sequence,
    ]
    assert lines[1].hash == (await audit.read_checkpoint()).hash
    assert heard[1].startswith("<85>publisher: audit anchor ")
    logged = tmp_path / "messages"
    logged.write_text(
        "".join(f"Nov 26 04:00:00 host1 {line[len('<85>') :]}\n" for line in heard),
        encoding="utf-8",
    )
    assert list(read_checkpoints(logged)) == lines
    assert "://" not in targets.file.read_text()
    assert (await audit.verify(lines)).last_confirmed == lines[1].sequence


async def test_a_torn_checkpoint_line_is_skipped(open_store, tmp_path):
    """A kill in the middle of a line costs only that line."""
    store = await open_with_entries(open_store)
    file = tmp_path / "anchors.log"
    file.write_text('{"database":"d","cha', encoding="utf-8")
    await write_checkpoint(store.audit, CheckpointTargets(file=file))
    assert [item.sequence for item in read_checkpoints(file)] == [
        (await store.audit.read_checkpoint()).sequence
    ]
    assert last_checkpoint(file) == next(read_checkpoints(file))


async def test_f16_a_new_checkpoint_file_is_found_after_a_power_cut(
    open_store, tmp_path, monkeypatch
):
    """F16: not only its contents are synced, but also the folder that holds its name."""
    store, synced, fsync = await open_with_entries(open_store), set(), os.fsync

    def record_sync(descriptor):
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_sync)
    file, newest = tmp_path / "one" / "anchors.log", tmp_path / "other" / "newest"
    await write_checkpoint(
        store.audit, CheckpointTargets(file=file, newest_file=newest)
    )
    assert {file, file.parent, newest.parent} <= synced


def test_only_checkpoint_lines_are_read_whatever_an_editor_put_around_them(tmp_path):
    """A file with a byte order mark, other text or no checkpoint is read.

    The other text stands before the line.
    """
    head = Checkpoint(
        database="公安.db",
        chain="c" * 64,
        sequence=7,
        hash="d" * 64,
        at="2026-11-25T01:00:00+00:00",
    )
    line, file = format_checkpoint(head), tmp_path / "saved.txt"
    for words, found in (
        (f"\ufeff{line}", [head]),
        (f"你好\r\n\r\n{line}\r\n", [head]),
        ("你好\n{", []),
        ("", []),
        ('{"database":' + "[" * 9000, []),
    ):
        file.write_bytes(words.encode())
        assert list(read_checkpoints(file)) == found


async def test_a_failure_of_one_checkpoint_target_does_not_affect_the_other(
    open_store, tmp_path
):
    """Without a system log the file is still written, and without the file the system log."""
    store = await open_with_entries(open_store)
    file, newest = tmp_path / "anchors.log", tmp_path / "newest"
    await write_checkpoint(
        store.audit,
        CheckpointTargets(
            file=file, newest_file=newest, syslog_socket=tmp_path / "none"
        ),
    )
    assert len(list(read_checkpoints(file))) == len(list(read_checkpoints(newest))) == 1
    assert await alerts(store) == ["audit_checkpoint_failed"]


async def alerts(store):
    return [alert.code for alert in await store.queries.alerts()]


async def test_a_checkpoint_that_cannot_be_written_is_alerted_until_it_can(
    open_store, tmp_path
):
    """The alert comes once, and ends by itself."""
    store = await open_with_entries(open_store)
    (tmp_path / "file").write_text("")
    blocked = CheckpointTargets(file=tmp_path / "file" / "anchors.log")
    await write_checkpoint(store.audit, blocked)
    await write_checkpoint(store.audit, blocked)
    assert (await alerts(store)).count("audit_checkpoint_failed") == 1
    await write_checkpoint(
        store.audit, CheckpointTargets(file=tmp_path / "anchors.log")
    )
    assert "audit_checkpoint_failed" not in await alerts(store)


async def test_no_checkpoint_is_written_unsigned_while_the_key_is_missing(
    open_store, tmp_path
):
    """While the key is missing an alert stands and no checkpoint is written.

    An unsigned line would look forged.
    """
    store = await open_with_entries(open_store)
    vault = Vault(folder=tmp_path, environment={})
    targets = CheckpointTargets(
        file=tmp_path / "anchors.log", load_key=partial(load_audit_key, vault)
    )
    vault.write("audit-key", {"private": "no key"})
    await write_checkpoint(store.audit, targets)
    assert (await alerts(store), targets.file.exists()) == (
        ["audit_checkpoint_failed"],
        False,
    )
    vault.remove("audit-key")
    await write_checkpoint(store.audit, targets)
    [line] = read_checkpoints(targets.file)
    assert await alerts(store) == []
    assert is_signed_by(
        checkpoint_signing_text(line), line.signature, [load_audit_key(vault).public]
    )
    other = load_audit_key(Vault(folder=tmp_path / "other", environment={}))
    assert not is_signed_by(
        checkpoint_signing_text(line), line.signature, [other.public]
    )


async def test_the_daemon_detects_an_audit_log_that_contradicts_its_checkpoint(
    copy, tmp_path
):
    """The next checkpoint reports a last one missing from the audit log, without a command."""
    targets = CheckpointTargets(file=tmp_path / "anchors.log")
    await write_checkpoint(copy.store.audit, targets)
    assert [alert.code for alert in await copy.store.queries.alerts()].count(
        "audit_broken"
    ) == 0
    copy.cut(copy.anchors[-1].sequence - 2)
    await write_checkpoint(copy.store.audit, targets)
    assert [alert.code for alert in await copy.store.queries.alerts()].count(
        "audit_broken"
    ) == 1


async def test_a_head_that_the_system_log_did_not_accept_is_alerted_until_it_does(
    open_store, tmp_path
):
    """A head refused by the system log is sent again, and its alert stands until it is accepted.

    The file has the head already.
    """
    store = await open_with_entries(open_store)
    audit, log = store.audit, tmp_path / "log"
    targets = CheckpointTargets(file=tmp_path / "anchors.log", syslog_socket=log)
    for _ in range(2):
        await write_checkpoint(audit, targets)
        assert "audit_checkpoint_failed" in await alerts(store)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(log))
        listener.settimeout(5)
        await write_checkpoint(audit, targets)
        heard = listener.recv(4096).decode()
    assert (await audit.read_checkpoint()).hash in heard
    assert "audit_checkpoint_failed" not in await alerts(store)
    assert len(list(read_checkpoints(targets.file))) == 1
