"""Backups, and older databases that take over: nothing that may be live is sent again, nothing is forgotten."""

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
from publisher.engine.checkpoints import CheckpointTargets, last_checkpoint, read_checkpoints, write_checkpoint
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import reconcile_due
from publisher.engine.sender import send_due
from publisher.runtime.clock import Runtime
from publisher.runtime.failpoints import FailpointRaisedError
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
from publisher.store.deliveries.retention import compact_journal
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
from publisher.store.recovery.setup import check_integrity, commit_swap, finish_swaps, migrate, prepare_database
from publisher.store.store import Store
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter, FakeRuntime

LI = named_person("li")
A = AccountId("a")
SETTLE = timedelta(minutes=11)


class Place:
    """A workspace's database, journal and anchors, and the platform of its one account."""

    def __init__(self, folder):
        self.file, self.journal = folder / "publisher.db", folder / "intents.jsonl"
        self.backup, self.targets = folder / "backup.db", CheckpointTargets(file=folder / "anchors.log")
        self.world = FakeRuntime()
        self.fake = FakeAdapter(now=self.world.now)
        self.store = None

    @property
    def url(self):
        return f"sqlite:///{self.file}"

    async def open(self):
        await prepare_database(self.url, "drill", self.journal, self.world)
        self.use(Database(open_engine(self.url), self.world, IntentJournal(self.journal)))
        await self.post_store.register_logins()
        return self

    def use(self, database):
        self.store = Store(database=database, policies={A: make_policy("a")}, worker=WorkerId("w"))
        self.outbox, self.post_store, self.queries = self.store.outbox, self.store.posts, self.store.queries

    async def enqueue_posts(self, *names, at=START_TIME):
        await enqueue_posts(self.post_store, *(make_post(name, ["a"], at) for name in names))

    async def send(self):
        """Let one after the other go out, whatever is due."""
        for _ in range(9):
            await self.store.maintenance.promote_due()
            await send_due(self.outbox, {A: self.fake}, 5, asyncio.Event())

    async def read(self):
        """Let the platform be read until nothing is in doubt any more."""
        await self.store.maintenance.expire_own_leases()
        for _ in range(6):
            self.world.advance_time(SETTLE)
            await reconcile_due(self.outbox, {A: self.fake}, 9)

    async def states(self):
        return {item.key.post: item.state.value for item in await self.queries.deliveries()}

    async def close(self):
        await self.store.database.close()

    def copy(self):
        return make_backup(self.file, self.backup, self.journal, self.world)

    async def put_back(self, source, *, is_incomplete_fine=False):
        """Restore as the command does."""
        cut = last_checkpoint(self.targets.file)
        incoming, label = stage_copy(source, self.file, "drill", cut.chain if cut else None)
        anchors = checkpoints_to_compare([cut] if cut else [], self.file)
        url = f"sqlite:///{incoming}"
        migrate(url, "drill", None, self.world)
        self.use(Database(open_engine(url), self.world))
        memory = read_intents(self.journal, label, START_TIME, allows_incomplete=is_incomplete_fine)
        settled = await self.store.database.write(
            lambda unit: finish_restore(self.store, unit, memory, label, anchors, LI)
        )
        await self.close()
        self.kept = commit_swap(incoming, self.file, self.world.now())
        finish_swaps(self.file, self.journal, self.world)
        return settled

    def made(self):
        """Count the posts on the platform by their marker."""
        return Counter(parcel.marker.code for parcel in self.fake.posts.values())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


async def test_a_backup_is_made_while_others_write_and_names_itself(place):
    """It holds what was committed, passes its own check, stands alone, and is nobody else's to read."""
    await place.open()
    await place.enqueue_posts("p")
    await place.send()
    label = place.copy()
    await place.store.actions.pause("all", LI, "later")
    assert read_backup_info(place.backup) == label
    assert (label.environment, label.newest_record) == ("drill", read_records(place.journal)[-1])
    assert [path.name for path in place.backup.parent.glob("backup*")] == ["backup.db"]
    assert place.backup.stat().st_mode & 0o077 == 0
    await place.close()


async def test_a_backup_is_of_the_instant_at_which_its_making_began(place, monkeypatch):
    """What is called while a slow copy is being made may be missing in it."""
    await place.open()

    def copy_slowly(source, target):
        copy_database(source, target)
        place.world.advance_time(timedelta(minutes=10))

    monkeypatch.setattr("publisher.store.recovery.backup.copy_database", copy_slowly)
    began_at = place.world.now()
    assert place.copy().at == began_at.isoformat()
    await place.close()


async def test_a_restored_database_is_its_owners_alone_to_read(place):
    """Whatever was allowed to others for the one before."""
    await place.open()
    place.copy()
    await place.close()
    await place.put_back(place.backup)
    assert place.file.stat().st_mode & 0o077 == 0


async def test_a_backup_never_overwrites(place):
    """A file that has the name already stays as it is, and a death leaves nothing under that name."""
    await place.open()
    dying = FakeRuntime(failpoints={"backup.before_rename": ("raise", 1)})
    with pytest.raises(FailpointRaisedError):
        make_backup(place.file, place.backup, place.journal, dying)
    assert not place.backup.exists()
    place.copy()
    before = place.backup.read_bytes()
    with pytest.raises(FileExistsError):
        place.copy()
    assert place.backup.read_bytes() == before
    await place.close()


@pytest.mark.parametrize("position", [40, 5000, -3000])
async def test_f84_a_damaged_backup_is_known_by_any_byte(place, position):
    """Damage in a header, in a page, or within the words of a post: it is never put in place."""
    await place.open()
    await place.enqueue_posts("p")
    place.copy()
    await place.close()
    data = bytearray(place.backup.read_bytes())
    data[position] ^= 0xFF
    data[data.rindex("警惕诈骗".encode())] ^= 0x01
    place.backup.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        read_backup_info(place.backup)
    assert refused.value.code in {"backup_damaged", "not_a_backup"}


def test_a_table_with_a_name_that_is_half_a_statement_is_read_as_a_table(tmp_path):
    """A file from elsewhere may hold anything: what such a table holds is sealed too, and no other is read for it."""
    file = tmp_path / "hostile.db"
    seals = set()
    label = BackupInfo(at="", database="", environment="", chain="", entries=0, newest_record=None, checksum="")
    for word in ("a", "b"):
        with sqlite3.connect(file) as connection:
            connection.execute('CREATE TABLE IF NOT EXISTS "audit"(x)')
            connection.execute('CREATE TABLE IF NOT EXISTS "audit"" --"(x)')
            connection.execute('INSERT INTO "audit"" --" VALUES (?)', [word])
            seals.add(_checksum_of(connection, label))
        connection.close()
    assert len(seals) == 2


async def test_a_database_that_was_only_copied_is_no_backup(place):
    """Nothing reports from when it is."""
    await place.open()
    await place.close()
    shutil.copy(place.file, place.backup)
    with pytest.raises(RefusedError) as refused:
        read_backup_info(place.backup)
    assert refused.value.code == "not_a_backup"


async def test_f85_what_went_out_after_the_backup_is_read_and_not_sent_again(place):
    """Known then and sent since; filed and sent since; never sent: each ends once on the platform, and is explained."""
    await place.open()
    await place.enqueue_posts("before")
    await place.send()
    await place.enqueue_posts("waiting", at=START_TIME + timedelta(minutes=1))
    place.copy()
    place.world.advance_time(timedelta(minutes=1))
    await place.send()
    await place.enqueue_posts("since", at=place.world.now())
    place.fake.script.append(place.fake.lose_reply)
    await place.send()
    await place.close()
    assert len(place.made()) == 3

    settled = await place.put_back(place.backup)
    assert (settled.recovered, settled.orphaned) == (2, 1)
    await place.open()
    assert await place.states() == {"before": "published", "waiting": "unknown"}
    assert sorted(item.code for item in await place.queries.alerts()) == [
        "attempt_orphaned", "attempt_recovered", "database_restored",
    ]  # fmt: skip
    await place.enqueue_posts("since", "new", at=place.world.now())
    assert (await place.states())["since"] == "unknown"
    await place.send()
    assert len(place.made()) == 3
    await place.read()
    await place.store.actions.resume("all", LI)
    await place.enqueue_posts("newer", at=place.world.now())
    await place.send()
    states = await place.states()
    assert {states[name] for name in ("before", "waiting", "since", "newer")} == {"published"}
    assert set(place.made().values()) == {1}
    assert "attempt_orphaned" not in [item.code for item in await place.queries.alerts()]
    await place.close()


async def test_f85_a_call_after_a_resend_that_the_backup_does_not_know_is_the_one_in_doubt(place):
    """A doubt of before the backup, answered since by a second call, waits for that call's own time."""
    await place.open()
    await place.enqueue_posts("p")
    place.fake.script.append(Unknown(reason="reset"))
    await place.send()
    assert await place.states() == {"p": "unknown"}
    place.copy()
    await place.read()
    place.fake.script.append(place.fake.lose_reply)
    await place.send()
    await place.close()
    await place.put_back(place.backup)
    await place.open()
    [delivery] = await place.queries.deliveries()
    assert (delivery.state, delivery.attempts, delivery.was_resent) == (State.UNKNOWN, 2, True)
    await place.read()
    assert await place.states() == {"p": "published"}
    assert place.made().total() == 1
    await place.close()


async def test_f85_without_a_journal_whatever_may_be_live_is_looked_for_first(place):
    """Refused unless asked for; then what was due starts as a doubt, and what comes later does not."""
    await place.open()
    await place.enqueue_posts("p", "later", at=START_TIME + timedelta(minutes=1))
    place.copy()
    place.world.advance_time(timedelta(minutes=1))
    await place.enqueue_posts("since", at=place.world.now())
    await place.send()
    await place.close()
    place.journal.unlink()
    with pytest.raises(RefusedError) as refused:
        await place.put_back(place.backup)
    assert refused.value.code == "journal_missing"
    await place.close()
    place.world.advance_time(timedelta(minutes=5))
    settled = await place.put_back(place.backup, is_incomplete_fine=True)
    assert settled.unresolved == 2
    place.journal.touch()
    await place.open()
    await place.enqueue_posts("since", at=START_TIME + timedelta(minutes=1))
    assert set((await place.states()).values()) == {"unknown"}
    await place.read()
    assert set((await place.states()).values()) == {"published"}
    assert set(place.made().values()) == {1}
    await place.enqueue_posts("fresh", at=place.world.now() + timedelta(minutes=1))
    assert (await place.states())["fresh"] == "pending"
    await place.close()


async def test_f85_without_a_journal_what_was_held_may_have_been_ruled_since_and_is_looked_for_first(place):
    """A ruling given again finds nothing that waits for it; what the account does not show waits for a person again."""
    await place.open()
    place.fake.script.extend(Blocked(code="x", reason="x", hold_reason=HoldReason.CAPTCHA) for _ in range(2))
    for name in ("ruled", "left"):
        await place.enqueue_posts(name)
        await place.send()
        await place.store.actions.resume("account:a", LI)
    place.copy()
    [ruled] = await place.queries.deliveries("ruled")
    await resolve_delivery(place.store, ruled, Resolution.RESEND, by="li", reason="solved")
    await place.send()
    assert await place.states() == {"ruled": "published", "left": "held"}
    await place.close()
    place.journal.unlink()
    place.world.advance_time(timedelta(minutes=5))
    settled = await place.put_back(place.backup, is_incomplete_fine=True)
    assert settled.unresolved == 2
    place.journal.touch()
    await place.open()
    [ruled] = await place.queries.deliveries("ruled")
    with pytest.raises(RefusedError) as refused:
        await resolve_delivery(place.store, ruled, Resolution.RESEND, by="li", reason="given again")
    assert refused.value.code == "not_read_yet"
    await place.read()
    await place.store.actions.resume("all", LI)
    await place.send()
    assert await place.states() == {"ruled": "published", "left": "held"}
    assert place.made().total() == 1
    await place.close()


async def test_f85_without_a_journal_a_call_that_is_known_to_be_in_doubt_keeps_its_own_baseline(place):
    """Its post is older than the lost time, and is still distinguished from what stood there before."""
    await place.open()
    await place.enqueue_posts("first")
    await place.send()
    await place.enqueue_posts("p")
    place.fake.script.append(place.fake.lose_reply)
    await place.send()
    place.world.advance_time(SETTLE)
    place.copy()
    await place.close()
    place.journal.unlink()
    await place.put_back(place.backup, is_incomplete_fine=True)
    place.journal.touch()
    await place.open()
    query = select(ATTEMPT.c.newest_id, ATTEMPT.c.baseline_at).where(ATTEMPT.c.delivery == 2).order_by(ATTEMPT.c.number)
    known, doubted = await place.store.database.read(lambda connection: connection.execute(query).all())
    assert known.newest_id == "1"
    assert known.baseline_at < place.world.now() - SETTLE
    assert doubted == known
    await place.close()


async def test_f85_another_journal_is_no_journal(place):
    """One that does not hold the newest line of the backup's time cannot report what came after."""
    await place.open()
    await place.enqueue_posts("p")
    await place.send()
    place.copy()
    await place.close()
    place.journal.write_bytes(b"")
    with pytest.raises(RefusedError) as refused:
        await place.put_back(place.backup)
    assert refused.value.code == "journal_mismatch"
    await place.close()


async def test_f85_a_backup_put_in_place_by_hand_is_known_even_if_nothing_was_sent_since(place):
    """Its own label says so at the next start, and it can be accepted as it is."""
    await place.open()
    place.copy()
    await place.close()
    shutil.copy(place.backup, place.file)
    with pytest.raises(RefusedError) as refused:
        await place.open()
    assert refused.value.code == "database_is_copy"
    await place.put_back(None)
    await place.open()
    assert [pause.reason for pause in await place.queries.pauses()] == ["restored"]
    await place.close()


async def test_f95_a_drill_backup_is_not_restored_live_nor_another_workspaces(place, tmp_path):
    """The stamp and the audit's chain say whose it is."""
    await place.open()
    place.copy()
    await place.close()
    with pytest.raises(RefusedError) as refused:
        stage_copy(place.backup, place.file, "live", None)
    assert refused.value.code == "other_environment"
    (tmp_path / "other").mkdir()
    other = await Place(tmp_path / "other").open()
    await other.close()
    before = other.file.read_bytes()
    with pytest.raises(RefusedError) as refused:
        stage_copy(place.backup, other.file, "drill", None)
    assert refused.value.code == "backup_of_another"
    assert other.file.read_bytes() == before


@pytest.mark.parametrize("passing", [1, 2])
async def test_an_exchange_that_a_death_interrupts_is_finished_by_the_next_start(place, passing):
    """Between the decision and its end nobody finds anything but the new database; the old one is kept whole."""
    await place.open()
    place.copy()
    await place.store.actions.pause("all", LI, "newer than the backup")
    shutil.copy(place.file, place.file.with_name("publisher.db.incoming"))
    wal = place.file.with_name("publisher.db-wal").read_bytes()
    incoming, _label = stage_copy(place.backup, place.file, "drill", None)
    await place.close()
    place.file.with_name("publisher.db-wal").write_bytes(wal)
    kept = commit_swap(incoming, place.file, place.world.now())
    if passing == 2:
        with pytest.raises(FailpointRaisedError):
            finish_swaps(place.file, place.journal, Runtime(failpoints={"restore.mid": ("raise", 1)}))
        assert not place.file.exists()
    with pytest.raises(RefusedError) as refused:
        await place.open()
    assert refused.value.code == "database_is_copy"
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT count(*) FROM pause").fetchone() == (1,)
    connection.close()


async def test_an_announced_restore_is_told_from_a_silent_cut(place):
    """`restored` names the anchor that it cut off, so the loss bears a name; both are losses that nobody accepted."""
    await place.open()
    await place.enqueue_posts("p")
    place.copy()
    await place.store.actions.pause("all", LI, "cut off")
    await write_checkpoint(place.store.audit, place.targets)
    await place.close()
    shutil.copy(place.backup, place.file.with_name("silent.db"))
    await place.put_back(place.backup)
    await place.open()
    await write_checkpoint(place.store.audit, place.targets)
    anchors = list(read_checkpoints(place.targets.file))
    found = await place.store.audit.verify(anchors, read_records(place.journal))
    assert [(item.defect, item.facts["name"]) for item in found.breaks] == [(ChainDefect.REPLACED, "li")]
    assert [item.code for item in await place.queries.alerts()].count("audit_broken") == 1
    beyond = replace(anchors[0], sequence=99, hash="f" * 64)
    found = await place.store.audit.verify([beyond, *anchors])
    assert [item.defect for item in found.breaks] == [ChainDefect.REPLACED, ChainDefect.CUT]
    await place.close()
    await place.put_back(place.backup)
    await place.open()
    found = await place.store.audit.verify(anchors)
    assert [(item.defect, item.facts["name"]) for item in found.breaks] == [(ChainDefect.REPLACED, "li")]
    await place.close()
    silent = Database(open_engine(f"sqlite:///{place.file.with_name('silent.db')}"), place.world)
    place.use(silent)
    found = await place.store.audit.verify(anchors)
    assert ChainDefect.CUT in {item.defect for item in found.breaks}
    await place.close()


async def test_f84_damage_in_the_middle_of_a_database_is_found_at_the_start(place):
    """A page that nobody has read yet stops the daemon's start, and the file stays as it is."""
    await place.open()
    await place.enqueue_posts(*(f"p{number}" for number in range(60)))
    await place.close()
    data = bytearray(place.file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    place.file.write_bytes(data)
    with pytest.raises(RefusedError) as refused:
        check_integrity(place.url)
    assert refused.value.code == "database_corrupt"
    assert place.file.read_bytes() == data


async def test_f84_a_damaged_database_keeps_what_a_death_has_left_beside_it(place):
    """A daemon that died left its newest commits in a file of their own: neither file changes by the refusal."""
    await place.open()
    await place.enqueue_posts(*(f"p{number}" for number in range(60)))
    await place.close()
    dead = place.file.with_name("dead")
    dead.mkdir()
    with closing(sqlite3.connect(place.file)) as connection:
        connection.execute("INSERT INTO database_info VALUES ('left', 'by a death')")
        connection.commit()
        for left in place.file.parent.glob("publisher.db*"):
            shutil.copy(left, dead)
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'delivery'")
    data = bytearray((dead / place.file.name).read_bytes())
    data[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    (dead / place.file.name).write_bytes(data)
    before = {left.name: left.read_bytes() for left in dead.glob("*.db*") if left.suffix != ".db-shm"}
    assert len(before) > 1
    url = f"sqlite:///{dead / place.file.name}"
    with pytest.raises(RefusedError) as refused:
        await prepare_database(url, "drill", place.journal, place.world, checks_integrity=True)
    assert refused.value.code == "database_corrupt"
    assert {name: (dead / name).read_bytes() for name in before} == before


async def test_a_damaged_line_in_the_journal_is_refused_and_a_torn_end_is_not(place):
    """Only at its very end a death leaves half a line; in the middle a call may be forgotten."""
    await place.open()
    await place.enqueue_posts("p", "q", "r")
    await place.send()
    await place.close()
    whole = place.journal.read_bytes()
    place.journal.write_bytes(whole + b'{"delivery":9,"att')
    await place.open()
    await place.close()
    lines = whole.splitlines(keepends=True)
    place.journal.write_bytes(lines[0] + b"\x00" * 40 + b"\n" + lines[2])
    with pytest.raises(RefusedError) as refused:
        await place.open()
    assert (refused.value.code, refused.value.facts["line"]) == ("journal_damaged", "2")


async def test_a_journal_that_is_gone_is_missed(place):
    """Where calls were made there must be one."""
    await place.open()
    await place.enqueue_posts("p")
    await place.send()
    await place.close()
    place.journal.unlink()
    with pytest.raises(RefusedError) as refused:
        await place.open()
    assert refused.value.code == "journal_missing"


async def test_old_lines_leave_the_journal_once_their_calls_are_over(place):
    """A call in doubt, a young one, and the newest stay; what is appended meanwhile is not lost; twice is as once."""
    await place.open()
    await place.enqueue_posts("over", "doubt")
    place.fake.script.extend([place.fake.lose_reply, place.fake.lose_reply])
    await place.send()
    await place.store.database.write(
        lambda unit: unit.connection.execute(ATTEMPT.update().where(ATTEMPT.c.delivery == 2).values(ended_at=None))
    )
    place.world.advance_time(JOURNAL_RETENTION + timedelta(days=1))
    await place.read()
    await place.enqueue_posts("young", at=place.world.now())
    await place.send()
    assert await compact_journal(place.store) == 1
    assert await compact_journal(place.store) == 0
    await place.enqueue_posts("next", at=place.world.now())
    await place.send()
    posts = [line.post for line in read_records(place.journal)]
    assert posts == ["doubt", "young", "next"]
    assert read_journal(place.journal).complete_since == START_TIME
    await place.close()
    await place.open()
    attempts = await place.store.database.read(lambda connection: len(connection.execute(select(ATTEMPT)).all()))
    assert attempts == 4
    await place.close()


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
async def test_a_shortened_journal_serves_as_long_as_it_reaches_back_to_the_backup(place, kept_since, newest, wanted):
    """Lines left out must be of before the backup, or a call since then would be forgotten."""
    line = JournalRecord(
        delivery=1, attempt=1, fencing_token=1, rendered_hash="f", at=START_TIME.isoformat(), post="p", account="a"
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
    write_journal(place.journal, [*held, replace(line, attempt=2)], kept_since)
    try:
        read_intents(place.journal, label, START_TIME, allows_incomplete=False)
        found = None
    except RefusedError as refused:
        found = refused.code
    assert found == wanted
