"""A shared database restored from a dump: how it is noticed, and how hosts are waited for."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import delete, text, update

from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.engine.decisions import named_person
from publisher.store.comparison import accept_restored
from publisher.store.database_identity import (
    IDENTITY_KEY,
    accepted_until,
    current_identity,
    is_original_database,
    workers_to_compare,
)
from publisher.store.db.tables import DATABASE_INFO, WORKER_STATE
from publisher.store.deliveries.intents import Declined
from publisher.store.recovery.backup import last_known_at
from publisher.store.recovery.setup import (
    check_against_journal,
    check_awaited_journal,
    check_journals_compared,
)
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def restore_dump(store):
    """Leave the database as pg_restore does: the stored identity names other tables."""
    with store.database.engine.begin() as connection:
        connection.execute(
            update(DATABASE_INFO)
            .where(DATABASE_INFO.c.key == IDENTITY_KEY)
            .values(value="1/2/3")
        )


async def accept(store, *, awaits_others=True):
    """Accept it, as a person does."""

    def operation(unit):
        begins_at = last_known_at(unit.connection) or START_TIME
        accept_restored(
            unit,
            store.worker,
            store.runtime.now(),
            begins_at,
            awaits_others=awaits_others,
        )

    await store.database.write(operation)


async def send_heartbeats(*shared):
    """Let these workers send a heartbeat, do something and stop in order."""
    for store in shared:
        await store.actions.register_worker()
        await store.actions.pause(f"post:{store.worker}", named_person("li"), "")
        await store.actions.deregister_worker()


async def has_own_identity(store):
    return await store.database.read(partial(is_original_database, store.database))


async def alerts(store):
    return [
        (alert.code, alert.facts.get("worker"))
        for alert in await store.queries.alerts()
    ]


async def test_f85_on_a_restored_dump_nobody_starts_and_nobody_calls(
    database_url, open_store, tmp_path
):
    """A daemon running during a restore neither claims nor calls until the dump is accepted.

    A person accepts it. Then the daemon goes on.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(store.posts, make_post("p", ["a", "b"], START_TIME))
    await store.maintenance.promote_due()
    check_against_journal(database_url, tmp_path / "none.jsonl")
    [lease] = await store.outbox.claim(1)
    restore_dump(store)
    with pytest.raises(RefusedError) as refused:
        check_against_journal(database_url, tmp_path / "none.jsonl")
    assert refused.value.code == "database_replaced"
    assert await store.outbox.claim(5) == []
    assert await store.outbox.record_intent(lease) == Declined(
        guard="database_replaced"
    )
    await accept(store)
    check_against_journal(database_url, tmp_path / "none.jsonl")
    assert len(await store.outbox.claim(5)) == 1


@pytest.mark.parametrize(
    "action", ["register_worker", "heartbeat", "deregister_worker"]
)
async def test_f85_a_process_from_before_the_restore_leaves_the_heartbeats_as_they_were(
    open_bare_store, runtime, action
):
    """A process from before the restore leaves the heartbeats as they were.

    The heartbeats show up to when the dump knew the sent posts.
    """
    store = open_bare_store()
    actions = store.actions
    await actions.register_worker()
    restore_dump(store)
    runtime.advance_time(timedelta(hours=1))
    await getattr(actions, action)()
    assert [worker.heartbeat_at for worker in await store.queries.workers()] == [
        START_TIME
    ]


async def test_f85_a_database_without_identity_is_refused(open_bare_store):
    """A database without identity is refused.

    A running pg_restore leaves such a database, because it fills one table after the other.
    """
    store = open_bare_store()
    with store.database.engine.begin() as connection:
        connection.execute(
            delete(DATABASE_INFO).where(DATABASE_INFO.c.key == IDENTITY_KEY)
        )
    assert not await has_own_identity(store)


async def test_a_daemon_killed_long_ago_has_not_stopped(open_bare_store, runtime):
    """A daemon that was killed counts as not stopped, after its time in the status too."""
    store = open_bare_store()
    await store.actions.register_worker()
    runtime.advance_time(timedelta(days=8))
    assert await store.queries.workers() == []
    assert await store.queries.has_unstopped_worker()
    await store.actions.register_worker()
    await store.actions.deregister_worker()
    assert not await store.queries.has_unstopped_worker()


async def test_f85_a_dump_is_not_accepted_while_another_host_works(
    open_bare_store, runtime
):
    """A dump is not accepted while another host works with the data from before.

    The accepting host, and stopped or silent hosts, do not prevent it.
    """
    mine = open_bare_store()
    other = open_bare_store(worker="other")
    stopped = open_bare_store(worker="stopped")
    await send_heartbeats(stopped)
    for store in (mine, other):
        await store.actions.register_worker()
    restore_dump(mine)
    with pytest.raises(RefusedError) as refused:
        await accept(mine)
    assert (refused.value.code, refused.value.facts["workers"]) == (
        "workers_running",
        "other",
    )
    assert not await has_own_identity(mine)
    runtime.advance_time(timedelta(minutes=2))
    await accept(mine)
    assert await has_own_identity(mine)


async def test_f85_sending_waits_until_every_host_has_compared_its_journal(
    database_url, open_store, runtime
):
    """Sending waits for every host's journal, but for no host silent beyond a journal's reach.

    Once a journal is lost, no host is waited for.
    """
    mine, other = await open_store(), await open_store(worker="other")
    await send_heartbeats(await open_store(worker="retired"))
    runtime.advance_time(timedelta(days=91))
    await send_heartbeats(mine, other)
    await accept(mine)
    assert await alerts(mine) == [("waiting_for_journal", "other")]
    with pytest.raises(RefusedError) as refused:
        check_journals_compared(database_url)
    assert (refused.value.code, refused.value.facts["workers"]) == (
        "waiting_for_workers",
        "other",
    )
    await mine.outbox.claim(1)
    assert await mine.database.read(workers_to_compare) == ["other"]
    await other.outbox.claim(1)
    check_journals_compared(database_url)
    assert await alerts(mine) == []
    await accept(mine)
    await accept(mine, awaits_others=False)
    check_journals_compared(database_url)
    assert await alerts(mine) == []


async def test_f85_accepted_again_a_dump_knows_no_more_than_it_did(open_store, runtime):
    """Paused work in between does not make it younger; once a person has resumed it, it is."""
    mine, other = await open_store(), await open_store(worker="other")
    await send_heartbeats(mine, other)
    runtime.advance_time(timedelta(hours=1))
    await accept(mine)
    runtime.advance_time(timedelta(hours=1))
    await send_heartbeats(mine)
    await other.outbox.claim(1)
    assert await mine.database.read(last_known_at) == START_TIME
    await accept(mine)
    assert await mine.database.read(accepted_until) == START_TIME
    await mine.actions.resume("all", named_person("li"))
    assert await mine.database.read(last_known_at) == START_TIME + timedelta(hours=2)


async def test_f85_a_process_from_before_the_restore_never_works_on_it(open_bare_store):
    """Its memory is of the tables before, even if they have been accepted since."""
    outlived, mine = open_bare_store(worker="outlived"), open_bare_store()
    outlived.database.expected_identity = await outlived.database.read(current_identity)
    assert await has_own_identity(outlived)
    outlived.database.expected_identity = "1/2/3"
    await accept(mine)
    assert await has_own_identity(mine)
    assert not await has_own_identity(outlived)


async def test_f85_no_delivery_ends_while_a_host_may_bring_its_calls(
    open_store, runtime
):
    """An expired post may be published: its host reports, and then the post is read."""
    mine, other = await open_store(), await open_store(worker="other")
    await send_heartbeats(mine, other)
    await enqueue_posts(mine.posts, make_post("p", ["a"], START_TIME))
    await mine.maintenance.promote_due()
    await accept(mine)
    runtime.advance_time(timedelta(days=30))
    await mine.maintenance.run()
    [delivery] = await mine.queries.deliveries()
    assert (delivery.state, await mine.outbox.claim(1)) == (State.DUE, [])
    await other.outbox.claim(1)
    await mine.maintenance.run()
    [delivery] = await mine.queries.deliveries()
    assert delivery.state is State.EXPIRED


@pytest.mark.parametrize(
    ("left", "code"),
    [(None, "journal_missing"), ("", "journal_mismatch"), ("x\n", "journal_damaged")],
)
async def test_f85_a_host_whose_journal_is_lost_does_not_count_as_compared(
    database_url, open_store, tmp_path, left, code
):
    """A host waited for without its journal of intents is refused at its start."""
    mine, other = await open_store(), await open_store(worker="other")
    await enqueue_posts(other.posts, make_post("p", ["a"], START_TIME))
    await other.maintenance.promote_due()
    [lease] = await other.outbox.claim(1)
    await other.outbox.record_intent(lease)
    await send_heartbeats(mine, other)
    journal = tmp_path / "other.jsonl"
    check_awaited_journal(database_url, other.worker, journal, START_TIME)
    await accept(mine)
    check_awaited_journal(
        database_url, other.worker, tmp_path / "intents.jsonl", START_TIME
    )
    if left is not None:
        journal.write_text(left)
    with pytest.raises(RefusedError) as refused:
        check_awaited_journal(database_url, other.worker, journal, START_TIME)
    assert refused.value.code == code
    check_awaited_journal(database_url, mine.worker, journal, START_TIME)


async def test_f87_a_host_whose_journal_is_lost_does_not_start_once_another_server_has_taken_over(
    database_url, open_store, tmp_path
):
    """After a takeover, a host without its journal is refused while others wait for its report.

    Nobody else could report sent posts that the new server does not know. Without a takeover
    nothing is lost.
    """
    store = await open_store()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    lost, kept = tmp_path / "lost.jsonl", tmp_path / "intents.jsonl"
    check_awaited_journal(database_url, store.worker, lost, START_TIME)
    with store.database.engine.begin() as connection:
        connection.execute(update(WORKER_STATE).values(compared_timeline="00000000"))
    with pytest.raises(RefusedError) as refused:
        check_awaited_journal(database_url, store.worker, lost, START_TIME)
    check_awaited_journal(
        database_url, store.worker, lost, START_TIME + timedelta(minutes=1)
    )
    assert refused.value.code == "journal_missing"
    check_awaited_journal(database_url, store.worker, kept, START_TIME)


async def test_an_ordinary_role_can_read_the_identity_of_the_database(open_bare_store):
    """publisher's own role need not be a superuser."""
    store = open_bare_store()
    with store.database.engine.connect() as connection:
        connection.execute(text("CREATE ROLE plain_reader"))
        connection.execute(text("GRANT SELECT ON database_info TO plain_reader"))
        connection.execute(text("SET LOCAL ROLE plain_reader"))
        assert is_original_database(store.database, connection)
