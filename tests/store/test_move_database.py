"""From SQLite to PostgreSQL: all or nothing, compared, and safe to repeat."""

from dataclasses import replace

import pytest
from sqlalchemy import func, insert, select

from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import State, WorkerId
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.domain.results import Published, Receipt
from publisher.engine.decisions import named_person
from publisher.runtime.clock import FailpointRaisedError
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.db.tables import DELIVERY, MEDIA
from publisher.store.recovery.move_database import copy_to_postgres
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    unlimited_approver,
)
from publisher.testing.fakes import START_TIME, FakeRuntime

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
LI = named_person("li")


RULES = ApprovalRules(default=(Stage(name="one"),))


class Moving:
    """An old database with content, and the steps that the tests share."""

    def __init__(self, folder, target):
        self.source, self.target = f"sqlite:///{folder / 'publisher.db'}", target
        self.journal = folder / "intents.jsonl"
        self.runtime = FakeRuntime()

    async def open(self, url):
        await prepare_database(url, "drill", self.journal, self.runtime)
        database = Database(open_engine(url), self.runtime, IntentJournal(self.journal))
        return Store(
            database=database,
            policies={"a": make_policy("a"), "b": make_policy("b")},
            worker=WorkerId("w"),
        )

    async def fill(self):
        store = await self.open(self.source)
        post_store, outbox = store.posts, store.outbox
        await post_store.register_logins()
        await enqueue_posts(
            post_store,
            make_post("p", ["a", "b"], START_TIME, title="警惕“退款”诈骗"),
            text="schedule",
        )
        picture = {
            "sha256": "0" * 64,
            "media_type": "image/png",
            "data": bytes(range(256)),
        }
        await store.database.write(
            lambda unit: unit.connection.execute(insert(MEDIA).values(picture))
        )
        await store.maintenance.promote_due()
        [lease, _other] = await outbox.claim(2)
        await outbox.record_intent(lease)
        receipt = Receipt(
            remote_id="1", url="https://fake.example/1", published_at=START_TIME
        )
        await outbox.record_outcome(lease, Published(receipt=receipt))
        await store.database.close()

    async def go(self, *, is_newest=False):
        for url in (self.source, self.target):
            await prepare_database(url, "drill", self.journal, self.runtime)
        return await copy_to_postgres(
            self.source, self.target, self.runtime, LI, is_newest=is_newest
        )

    async def deliveries(self, url):
        store = await self.open(url)
        found = await store.queries.deliveries()
        await store.database.close()
        return found


@pytest.fixture
async def moving(tmp_path, database_url):
    made = Moving(tmp_path, database_url)
    await made.fill()
    return made


async def test_everything_moves_and_the_old_database_is_closed(moving):
    """The new database has the same deliveries and ids; the old one refuses and names it."""
    before = await moving.deliveries(moving.source)
    counts = await moving.go()
    assert await moving.deliveries(moving.target) == before
    assert (counts["delivery"], counts["attempt"], counts["media"]) == (2, 1, 1)
    with pytest.raises(RefusedError) as refused:
        await moving.open(moving.source)
    assert refused.value.code == "database_moved"
    assert moving.target.rsplit("/", 1)[1].split("?")[0] in refused.value.facts["to"]


async def test_an_order_that_waited_for_the_move_is_refused(moving):
    """A write of a process that opened it before the move would be read by nobody: it fails."""
    store = await moving.open(moving.source)
    await moving.go()
    with pytest.raises(RefusedError) as refused:
        await enqueue_posts(store.posts, make_post("late", ["a"], START_TIME))
    await store.database.close()
    assert refused.value.code == "database_moved"


async def test_no_password_in_the_new_address_is_written_down(moving):
    """Wherever it is in the address, the old database names the new one without it."""
    moving.target += f"{'&' if '?' in moving.target else '?'}password=geheim"
    await moving.go()
    with pytest.raises(RefusedError) as refused:
        await moving.open(moving.source)
    assert "geheim" not in refused.value.facts["to"]


@pytest.mark.long
async def test_the_audit_goes_on_as_one_chain_and_says_who_moved_it(moving):
    """Entries chained on SQLite verify on PostgreSQL, with the move as the newest entry."""
    await moving.go()
    store = await moving.open(moving.target)
    entries = await store.queries.audit_history("database")
    verification = await store.audit.verify(())
    await store.database.close()
    assert [(entry.name, entry.event) for entry in entries] == [
        ("li", "database_moved")
    ]
    assert verification.breaks == []


async def test_work_goes_on_in_the_new_database(moving):
    """New rows are numbered after the moved ones, and leases are expired by the next daemon."""
    await moving.go()
    store = await moving.open(moving.target)
    await enqueue_posts(store.posts, make_post("q", ["a"], START_TIME))
    assert await store.maintenance.expire_own_leases() == 1
    states = {
        item.key.post: item.state
        for item in await store.queries.deliveries()
        if item.account == "a"
    }
    highest = await store.database.read(
        lambda connection: connection.scalar(select(func.max(DELIVERY.c.id)))
    )
    await store.database.close()
    assert states["q"] is State.PENDING
    assert highest == 3


@pytest.mark.long
async def test_a_move_killed_before_the_old_database_is_closed_is_repeated(moving):
    """After a kill between the two commits, the same command compares its copy and finishes.

    It finds its own copy, and closes the old database.
    """
    moving.runtime.failpoints = {"migrate.mid": ("raise", 1)}
    for url in (moving.source, moving.target):
        await prepare_database(url, "drill", moving.journal, FakeRuntime())
    with pytest.raises(FailpointRaisedError):
        await copy_to_postgres(moving.source, moving.target, moving.runtime, LI)
    moving.runtime.failpoints = {}
    assert len(await moving.deliveries(moving.source)) == 2
    assert (await moving.go())["delivery"] == 2
    with pytest.raises(RefusedError):
        await moving.open(moving.source)


async def test_a_target_that_holds_something_is_refused_and_nothing_changes(moving):
    """Databases are never mixed: the old one stays open, the target as it was."""
    store = await moving.open(moving.target)
    await enqueue_posts(store.posts, make_post("theirs", ["a"], START_TIME))
    await store.database.close()
    with pytest.raises(RefusedError) as refused:
        await moving.go()
    assert refused.value.code == "target_not_empty"
    assert [item.key.post for item in await moving.deliveries(moving.target)] == [
        "theirs"
    ]
    assert len(await moving.deliveries(moving.source)) == 2


@pytest.mark.parametrize("is_newest", [True, False])
async def test_a_move_keeps_approvals_of_the_newest_database_alone(
    tmp_path, database_url, *, is_newest
):
    """A file put in the place of the newest one may lack that an approval was withdrawn."""
    moving = Moving(tmp_path, database_url)
    store = replace(await moving.open(moving.source), approval_rules=RULES)
    await store.posts.register_logins()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    [task] = await store.approvals.tasks()
    approver = unlimited_approver("li")
    await store.approvals.approve(PostId("p"), task.status.fingerprint, approver, LI)
    await store.database.close()
    await moving.go(is_newest=is_newest)
    moved = replace(await moving.open(moving.target), approval_rules=RULES)
    [task] = await moved.approvals.tasks()
    assert [given.person for given in task.status.approvals] == ["li"] * is_newest
    await moved.database.close()
