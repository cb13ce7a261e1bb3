"""The daemon's questions to the database while nothing is due.

It notices due work soon.
"""

from datetime import timedelta

import pytest
from sqlalchemy import event, update

import publisher.daemon
from publisher.daemon import IDLE_INTERVAL_SECONDS, MAX_PLAN_ATTEMPTS, WORK_AHEAD
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.preflight import LAST_LEAD
from publisher.engine.decisions import named_person
from publisher.engine.planner import apply_schedule
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.db.tables import DELIVERY
from publisher.store.monitor.preflight import MAX_LOOK_AGE
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_failing_jobs import daemon_of
from tests.engine.test_planner import cron, entry

TOMORROW = START_TIME + timedelta(days=1)
WORK_JOBS = ("run_maintenance", "reconcile", "retract")


@pytest.fixture
async def daemon(tmp_path, runtime):
    async with daemon_of(tmp_path, runtime) as daemon:
        daemon.application.adapters["a"] = FakeAdapter(now=runtime.now)
        yield daemon


@pytest.fixture
async def idle_daemon(daemon):
    """Yield a daemon that has found that nothing is due before tomorrow."""
    await enqueue_posts(daemon.application.store.posts, make_post("p", ["a"], TOMORROW))
    await daemon.send()
    return daemon


async def statements_of(daemon, work):
    """Return the statements that some work sends to the database."""
    engine, statements = daemon.application.store.database.engine, []

    def count(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    await work
    event.remove(engine, "before_cursor_execute", count)
    return [
        statement
        for statement in statements
        if not statement.startswith(("BEGIN", "PRAGMA"))
    ]


async def deliveries_of(daemon, post):
    return await daemon.application.store.queries.deliveries(PostId(post))


@pytest.mark.parametrize(
    ("state", "due_in", "is_work"),
    [
        (State.PENDING, timedelta(days=1), False),
        (State.PENDING, WORK_AHEAD, True),
        (State.DUE, timedelta(days=1), True),
        (State.CLAIMED, timedelta(days=1), True),
        (State.SENDING, timedelta(days=1), True),
        (State.RETRYING, timedelta(days=1), False),
        (State.RETRYING, timedelta(0), True),
        (State.SUBMITTED, timedelta(days=1), False),
        (State.SUBMITTED, timedelta(0), True),
        (State.UNKNOWN, timedelta(0), True),
        (State.RETRACTING, timedelta(0), True),
        (State.HELD, timedelta(0), False),
        (State.PUBLISHED, timedelta(0), False),
    ],
)
async def test_there_is_work_if_a_job_could_change_a_delivery_soon(
    open_store, state, due_in, is_work
):
    """Each state that a job acts on is found, by its next instant where it has one.

    A delivery at rest is not found.
    """
    store = await open_store(make_policy("a"))
    await enqueue_posts(store.posts, make_post("p", ["a"], TOMORROW))
    values = {"state": state.value, "next_action_at": START_TIME + due_in}
    await store.database.write(
        lambda transaction: transaction.connection.execute(
            update(DELIVERY).values(values)
        )
    )
    assert await store.maintenance.has_work(WORK_AHEAD) is (
        is_work or store.database.is_shared
    )


async def test_there_is_work_when_a_waiting_delivery_expires(open_store):
    """An expired delivery is work, even if its next attempt is later."""
    store = await open_store(make_policy("a"))
    post = make_post("p", ["a"], TOMORROW, expires_at=TOMORROW + timedelta(hours=1))
    await enqueue_posts(store.posts, post)
    values = {"state": "retrying", "expires_at": START_TIME + WORK_AHEAD}
    await store.database.write(
        lambda transaction: transaction.connection.execute(
            update(DELIVERY).values(values)
        )
    )
    assert await store.maintenance.has_work(WORK_AHEAD)


async def test_an_idle_daemon_asks_one_question(idle_daemon, runtime):
    """While nothing is due, sending asks a single statement.

    The other jobs on deliveries hardly run.
    """
    jobs = idle_daemon.jobs
    assert len(await statements_of(idle_daemon, idle_daemon.send())) == 1
    assert {idle_daemon.interval_of(jobs[name]) for name in WORK_JOBS} == {
        IDLE_INTERVAL_SECONDS
    }
    runtime.advance_time(timedelta(seconds=IDLE_INTERVAL_SECONDS))
    assert len(await statements_of(idle_daemon, idle_daemon.send())) > 1


async def test_an_idle_daemon_sends_at_once_what_a_person_orders(idle_daemon):
    """A post that another process makes due is sent by the next run of one job."""
    store = idle_daemon.application.store
    await store.actions.send_now(PostId("p"), named_person("zhang"))
    await idle_daemon.send()
    [delivery] = await deliveries_of(idle_daemon, "p")
    assert delivery.state is State.PUBLISHED
    assert {idle_daemon.interval_of(idle_daemon.jobs[name]) for name in WORK_JOBS} == {
        1.0
    }


async def test_an_idle_daemon_wakes_before_a_post_is_due(idle_daemon, runtime):
    """The jobs run at their own intervals before the instant that makes a post due."""
    runtime.advance_time(timedelta(days=1) - WORK_AHEAD - timedelta(seconds=1))
    idle_daemon.last_sending = runtime.monotonic()
    await idle_daemon.send()
    assert not idle_daemon.has_work
    runtime.advance_time(timedelta(seconds=1))
    await idle_daemon.send()
    assert idle_daemon.has_work


async def plan_of(daemon, text):
    """Let a daemon accept a schedule, and plan until there is nothing to plan."""
    await apply_schedule(daemon.application.planner, text, str(daemon.schedule_file))
    await daemon.plan()
    await daemon.plan()


async def test_what_is_planned_is_not_compared_again_while_nothing_changes(
    daemon, runtime
):
    """With the same schedule and database, planning asks one question.

    This ends when the next occurrence comes within reach.
    """
    await plan_of(daemon, cron("p", "0 9 * * *"))
    first = len(await deliveries_of(daemon, "p"))
    runtime.advance_time(timedelta(minutes=1))
    assert len(await statements_of(daemon, daemon.plan())) == 1
    assert len(await deliveries_of(daemon, "p")) == first


@pytest.mark.parametrize(
    "text", [cron("p", "30 9 * * *"), entry("p", at="2026-11-27T09:30:00")]
)
async def test_an_occurrence_is_planned_once_it_comes_within_the_window(
    daemon, runtime, text
):
    """An occurrence that comes within reach in half an hour is filed then.

    Nothing else has changed.
    """
    await plan_of(daemon, text)
    before = len(await deliveries_of(daemon, "p"))
    runtime.advance_time(timedelta(minutes=29))
    await daemon.plan()
    assert len(await deliveries_of(daemon, "p")) == before
    runtime.advance_time(timedelta(minutes=1))
    await daemon.plan()
    assert len(await deliveries_of(daemon, "p")) == before + 2


async def test_a_plan_that_is_overtaken_again_and_again_is_left_to_the_next_run(
    daemon, monkeypatch
):
    """A run that newer versions overtake plans only a few times; then the next run plans."""
    tries = []

    async def be_overtaken(*_args):
        tries.append(1)
        raise ConcurrentUpdateError

    await apply_schedule(
        daemon.application.planner, entry("p"), str(daemon.schedule_file)
    )
    with monkeypatch.context() as patch:
        patch.setattr(publisher.daemon, "plan_window", be_overtaken)
        await daemon.plan()
    assert len(tries) == MAX_PLAN_ATTEMPTS
    await daemon.plan()
    assert daemon.planned_basis is not None


async def test_what_has_changed_in_the_database_is_compared(daemon, runtime):
    """A delivery lost from the database is filed again once the audit has a new entry."""
    await plan_of(daemon, entry("p", at="2026-11-26T09:30:00"))
    store = daemon.application.store
    await store.database.write(
        lambda transaction: transaction.connection.execute(DELIVERY.delete())
    )
    await store.actions.pause("post:q", named_person("zhang"), "")
    runtime.advance_time(timedelta(minutes=1))
    await daemon.plan()
    assert len(await deliveries_of(daemon, "p")) == 2


async def test_planning_that_failed_is_tried_again_soon(daemon, runtime, monkeypatch):
    """A plan counts only once it is complete: the next run makes it, not one an hour later."""
    await apply_schedule(
        daemon.application.planner, cron("every", "0 9 * * *"), "schedule.toml"
    )
    await daemon.plan()
    runtime.advance_time(timedelta(days=1))

    async def fail(*_arguments):
        raise OSError("busy")

    with monkeypatch.context() as broken:
        broken.setattr(publisher.daemon, "plan_window", fail)
        with pytest.raises(OSError, match="busy"):
            await daemon.plan()
    filed = len(await deliveries_of(daemon, "every"))
    await daemon.plan()
    assert len(await deliveries_of(daemon, "every")) > filed


async def test_checks_before_posts_ask_one_question_while_nothing_has_changed(
    idle_daemon, runtime
):
    """Ten thousand posts to come are read only after a change or after five minutes.

    They are also read when one of them has come near.
    """
    store = idle_daemon.application.store
    await store.preflight.run()
    assert len(await statements_of(idle_daemon, store.preflight.run())) == 1
    await enqueue_posts(store.posts, make_post("q", ["a"], TOMORROW))
    assert len(await statements_of(idle_daemon, store.preflight.run())) > 1
    assert len(await statements_of(idle_daemon, store.preflight.run())) == 1
    runtime.advance_time(MAX_LOOK_AGE)
    assert len(await statements_of(idle_daemon, store.preflight.run())) > 1
    runtime.advance_time(TOMORROW - LAST_LEAD - timedelta(seconds=30) - runtime.now())
    await store.preflight.run()
    assert len(await statements_of(idle_daemon, store.preflight.run())) == 1
    runtime.advance_time(timedelta(seconds=30))
    assert len(await statements_of(idle_daemon, store.preflight.run())) > 1
