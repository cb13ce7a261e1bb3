"""The call record: proof that a call with an intent never began, and the limits of that proof."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.domain.delivery import State
from publisher.domain.post import DeliveryId
from publisher.domain.results import NotSent, Unknown
from publisher.store.db.intent_journal import MAX_CALL_RECORD_BYTES, CallRecord
from publisher.store.db.tables import ATTEMPT, load_result
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

ONE, OTHER = DeliveryId(1), DeliveryId(2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.log"


def record_of(path, boot="boot-1"):
    """Open the record as a daemon does at its start: it knows the lines of the daemon before."""
    return CallRecord(path, boot)


def written(path, boot="boot-1"):
    """Let a process write two intents, begin one of the calls, and die."""
    record = record_of(path, boot)
    record.reset()
    record.record_pending([(ONE, 1), (OTHER, 1)])
    record.record_start(ONE, 1)
    record.close()


def test_f02_after_a_kill_a_call_without_a_second_line_never_began(path):
    """Of two calls with an intent, the one that began is distinguished from the other."""
    written(path)
    found = record_of(path)
    assert found.may_have_started(ONE, 1)
    assert not found.may_have_started(OTHER, 1)


def test_f16_after_another_boot_nothing_is_proven(path):
    """A power cut may have lost the line of a call that began."""
    written(path)
    assert record_of(path, "boot-2").may_have_started(OTHER, 1)
    assert CallRecord(path, None).may_have_started(OTHER, 1)


def test_a_call_without_an_intent_here_is_not_proven(path):
    """Another attempt, another worker's call, or one from before a restore may have begun."""
    written(path)
    assert record_of(path).may_have_started(OTHER, 2)
    assert record_of(path).may_have_started(DeliveryId(3), 1)


@pytest.mark.parametrize(
    ("old", "new"), [("boot", "b00t"), ("intended 2", "inten"), ("started", "began")]
)
def test_an_unreadable_record_proves_nothing(path, old, new):
    """A foreign head, a line torn by a full disk, an unknown word: every call may have begun."""
    written(path)
    path.write_text(path.read_text("ascii").replace(old, new, 1), "ascii")
    assert record_of(path).may_have_started(OTHER, 1)


def test_a_torn_last_line_is_of_a_call_that_did_not_begin(path):
    """The first byte is sent only after its line is written completely."""
    written(path)
    path.write_text(path.read_text("ascii") + "started 2 ", "ascii")
    assert not record_of(path).may_have_started(OTHER, 1)


def test_i24_the_record_stays_small(path):
    """Ended calls are left out once the file has grown; open ones stay proven."""
    record = record_of(path)
    record.reset()
    record.record_pending([(ONE, 1)])
    record.record_pending((DeliveryId(number), 1) for number in range(10, 80_000))
    for number in range(10, 80_000):
        record.forget(DeliveryId(number), 1)
    assert path.stat().st_size > MAX_CALL_RECORD_BYTES
    record.record_pending([(OTHER, 1)])
    record.close()
    assert path.stat().st_size < 1000
    assert not record_of(path).may_have_started(ONE, 1)


async def test_f02_a_daemon_killed_before_the_first_byte_leaves_no_unknown_outcome(
    open_store, path, runtime
):
    """The next start finds that the call never began, and the delivery is due again.

    Its attempt counts for nothing.
    """
    store = await open_store(make_policy("a"), make_policy("b"), calls=record_of(path))
    await store.maintenance.expire_own_leases()
    await enqueue_posts(store.posts, make_post("p", ["a", "b"], START_TIME))
    await store.maintenance.promote_due()
    requests = [
        await store.outbox.record_intent(lease)
        for lease in await store.outbox.claim(10)
    ]
    store.call_record.record_start(requests[0].delivery, requests[0].fencing_token)
    again = await open_store(make_policy("a"), make_policy("b"), calls=record_of(path))
    assert await again.maintenance.expire_own_leases() == 2
    found = {item.id: item for item in await again.queries.deliveries()}
    assert found[requests[0].delivery].state is State.UNKNOWN
    assert found[requests[1].delivery].state is State.DUE
    ended = select(ATTEMPT.c.outcome).where(ATTEMPT.c.delivery == requests[1].delivery)
    assert (
        await again.database.read(lambda connection: connection.scalar(ended))
        == "not_sent"
    )
    runtime.advance_time(timedelta(minutes=1))
    [lease] = await again.outbox.claim(10)
    assert (await again.outbox.record_intent(lease)).attempt == 2


async def expire_before_call(open_store, path, runtime):
    """Write the intent of a call that never begins, and let its lease expire in this process."""
    store = await open_store(calls=record_of(path))
    await store.maintenance.expire_own_leases()
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    runtime.advance_time(timedelta(minutes=2))
    assert await store.maintenance.expire_leases() == 1
    return store, lease


async def test_f82_a_lease_that_ends_without_a_call_leaves_no_unknown_outcome_in_the_same_process(
    open_store, path, runtime
):
    """A call that was not written to the journal did not begin, and is tried after its lease.

    It could not be written.
    """
    store, _lease = await expire_before_call(open_store, path, runtime)
    [delivery] = await store.queries.deliveries()
    assert delivery.state is State.DUE


async def test_f15_a_late_unknown_does_not_overrule_the_proof(
    open_store, path, runtime
):
    """A late Unknown does not overrule the record: the call never began.

    It has less information than the record, so nothing is unknown.
    """
    store, lease = await expire_before_call(open_store, path, runtime)
    assert (
        await store.outbox.record_outcome(lease, Unknown(reason="timeout"))
    ).state is State.DUE
    ended = select(ATTEMPT.c.outcome, ATTEMPT.c.detail)
    [(outcome, detail)] = await store.database.read(
        lambda connection: connection.execute(ended).all()
    )
    assert load_result(outcome, detail) == NotSent(reason="never_started")


def test_f82_a_record_that_cannot_be_written_leaves_no_older_one_behind(path):
    """A record of another process is not taken for the missing line of this one."""
    written(path)
    path.with_name("calls.log.new").mkdir()
    assert not record_of(path).reset()
    assert not path.exists()
    assert record_of(path).may_have_started(OTHER, 1)


def test_a_call_does_not_begin_once_its_record_is_closed(path):
    """Without its line it would count as never begun."""
    record = record_of(path)
    record.reset()
    record.record_pending([(ONE, 1)])
    record.close()
    with pytest.raises(OSError, match="closed"):
        record.record_start(ONE, 1)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_f15_a_record_proves_nothing_about_another_hosts_call(
    open_store, path, runtime
):
    """A call that failed here and was made elsewhere is unknown when the other host dies.

    The call has an intent.
    """
    one = await open_store(make_policy("a"), calls=record_of(path))
    await one.maintenance.expire_own_leases()
    other = await open_store(make_policy("a"), worker="w2")
    await enqueue_posts(one.posts, make_post("p", ["a"], START_TIME))
    await one.maintenance.promote_due()
    [lease] = await other.outbox.claim(10)
    request = await other.outbox.record_intent(lease)
    one.call_record.record_pending([(request.delivery, request.fencing_token)])
    runtime.advance_time(timedelta(minutes=2))
    assert await one.maintenance.expire_leases() == 1
    [delivery] = await one.queries.deliveries()
    assert delivery.state is State.UNKNOWN
