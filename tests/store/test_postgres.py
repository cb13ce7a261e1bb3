"""Several hosts on one PostgreSQL: claims, dead processes, and lost connections."""

import asyncio
from concurrent.futures import wait
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import delete, event, func, insert, select, text, update

from publisher.config import parse_settings
from publisher.daemon import run
from publisher.domain.account import CRASH_RETRY_SPREAD, AccountId
from publisher.domain.delivery import RECONCILER, State, WorkerId
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId, SendRequest
from publisher.domain.results import NotFound, Published, RateLimited, Receipt, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.reconciler import reconcile_due
from publisher.store.base import HEARTBEAT_TIMEOUT
from publisher.store.db import postgres as link
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal, read_records
from publisher.store.db.tables import (
    ATTEMPT,
    AUDIT,
    DATABASE_INFO,
    DELIVERY,
    LOGIN,
    SERVER_TIMELINE,
    WORKER_STATE,
)
from publisher.store.deliveries.intents import Declined
from publisher.store.recovery.folder import lock_process
from publisher.store.recovery.setup import (
    NEWEST_MIGRATION,
    migration_of,
    prepare_database,
)
from publisher.store.store import Store
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter, make_confirmed_runtime
from tests.engine.test_planner import SETTINGS

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
LEASE = timedelta(seconds=41)


class PostgresHost:
    """One host: its own connections, its own journal."""

    def __init__(self, url, folder, runtime, policies, name):
        self.journal = folder / name / "intents.jsonl"
        self.database = Database(open_engine(url), runtime, IntentJournal(self.journal))
        self.store = Store(
            database=self.database,
            policies={item.account.id: item for item in policies},
            worker=WorkerId(name),
        )
        self.outbox, self.maintenance = self.store.outbox, self.store.maintenance
        self.post_store, self.actions, self.queries = (
            self.store.posts,
            self.store.actions,
            self.store.queries,
        )


@pytest.fixture
async def open_host(database_url, tmp_path, runtime):
    """Return a function that starts one more host."""
    await prepare_database(database_url, "drill", tmp_path / "none.jsonl", runtime)
    async with AsyncExitStack() as stack:

        async def opening(name, *policies):
            host = PostgresHost(
                database_url, tmp_path, runtime, policies or (make_policy("a"),), name
            )
            stack.push_async_callback(host.database.close)
            await host.post_store.register_logins()
            await host.actions.register_worker()
            return host

        yield opening


@pytest.mark.long
async def test_f80_a_machine_whose_name_is_taken_does_not_start(
    open_host, runtime, monkeypatch
):
    """F80: cloned machines with one name do not start.

    Each would take the other's leases and journal for its own.
    """
    boots = iter(["one boot", "one boot", "another boot", "another boot", "one boot"])
    monkeypatch.setattr(type(runtime), "boot_id", lambda _runtime: next(boots))
    first = await open_host("host")
    assert await first.actions.register_worker(), "a restart on the same machine"
    with pytest.raises(RefusedError) as refused:
        await open_host("host")
    assert refused.value.code == "worker_name_taken"
    runtime.advance_time(HEARTBEAT_TIMEOUT)
    await open_host("host")
    with pytest.raises(RefusedError):
        await first.actions.heartbeat()


@pytest.mark.long
@pytest.mark.parametrize("seconds", [-60, 60])
async def test_f60_f61_a_host_whose_clock_is_not_the_servers_does_not_start(
    database_url, tmp_path, runtime, seconds
):
    """F60, F61: a clock wrong from the start is found by the server's, before any change.

    It does not jump.
    """
    settings = parse_settings(
        f'database = "{database_url}"\n{SETTINGS}', workspace=tmp_path
    )
    runtime.clock = datetime.now(UTC) + timedelta(seconds=seconds)
    with pytest.raises(RefusedError) as refused:
        await run(settings, runtime)
    assert refused.value.code == "clock_skew"
    assert abs(int(refused.value.facts["seconds"]) - seconds) < 30


@pytest.mark.long
async def test_f60_f61_a_host_starts_by_itself_once_its_clock_is_the_servers(
    database_url, tmp_path, runtime
):
    """F60, F61: each start tries again; one alert stands until the clock is right."""
    settings = parse_settings(
        f'database = "{database_url}"\n{SETTINGS}', workspace=tmp_path
    )
    (tmp_path / "schedule.toml").write_text("# none\n", "utf-8")
    runtime.clock = datetime.now(UTC) - timedelta(days=300)
    for _ in range(3):
        with pytest.raises(RefusedError):
            await run(settings, runtime)
    database = Database(open_engine(database_url), runtime)
    queries = Store(database=database, policies={}, worker=WorkerId("one")).queries
    [alert] = await queries.alerts()
    await run(settings, make_confirmed_runtime(), once=True)
    assert alert.code == "clock_skew"
    assert abs(alert.at - datetime.now(UTC)) < timedelta(minutes=2)
    assert "clock_skew" not in [alert.code for alert in await queries.alerts()]
    await database.close()


async def claim_and_intend(host):
    await host.maintenance.promote_due()
    [lease] = await host.outbox.claim(1)
    return lease, await host.outbox.record_intent(lease)


async def only(host):
    [delivery] = await host.queries.deliveries()
    return delivery


def published():
    return Published(
        receipt=Receipt(
            remote_id="1", url="https://fake.example/1", published_at=START_TIME
        )
    )


async def test_maintenance_leaves_what_another_host_is_changing(open_host, runtime):
    """An outcome that is being committed neither delays nor fails maintenance.

    The next run sees the outcome.
    """
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    await claim_and_intend(first)
    runtime.advance_time(LEASE)
    with first.database.engine.connect() as another:
        another.execute(update(DELIVERY).values(version=DELIVERY.c.version + 1))
        assert await asyncio.wait_for(second.maintenance.expire_leases(), 60) == 0
    assert await second.maintenance.expire_leases() == 1


async def test_hosts_that_start_together_make_one_database(
    database_url, tmp_path, runtime
):
    """Each waits for the migrations of the first, and finds them done."""
    starts = (
        prepare_database(database_url, "drill", tmp_path / f"{number}.jsonl", runtime)
        for number in range(4)
    )
    await asyncio.gather(*starts)
    assert migration_of(database_url) == NEWEST_MIGRATION


async def test_f80_hosts_that_claim_at_once_never_share_a_login(open_host):
    """Of many due deliveries of one login, one is leased at a time by any host; no claim fails."""
    policies = [
        make_policy(f"a{number}", login=f"login-{number % 3}") for number in range(9)
    ]
    hosts = [await open_host(f"host-{number}", *policies) for number in range(4)]
    names = [f"a{number}" for number in range(9)]
    await enqueue_posts(
        hosts[0].post_store,
        make_post("p", names, START_TIME),
        make_post("q", names, START_TIME, is_urgent=True),
    )
    await hosts[0].maintenance.promote_due()
    maintenance = await asyncio.gather(
        *(host.outbox.claim(9) for host in hosts for _ in range(3))
    )
    logins = [lease.login for leases in maintenance for lease in leases]
    assert len(logins) == len(set(logins))
    assert len(logins) + len(await hosts[0].outbox.claim(9)) == 3


async def test_a_host_that_starts_expires_its_own_leases_and_no_others(open_host):
    """A starting host ends its own leases at once; leases of a living host stay.

    Its own claim is due again, and its own call is unknown.
    """
    policies = [make_policy(name) for name in "abcd"]
    first, second = (
        await open_host("first", *policies),
        await open_host("second", *policies),
    )
    await enqueue_posts(first.post_store, make_post("p", list("abcd"), START_TIME))
    await first.maintenance.promote_due()
    mine, theirs = await first.outbox.claim(2), await second.outbox.claim(2)
    await first.outbox.record_intent(mine[0])
    await second.outbox.record_intent(theirs[0])
    assert (
        await (await open_host("first", *policies)).maintenance.expire_own_leases() == 2
    )
    states = {item.id: item.state for item in await first.queries.deliveries()}
    assert [states[lease.delivery] for lease in mine] == [State.UNKNOWN, State.DUE]
    assert [states[lease.delivery] for lease in theirs] == [
        State.SENDING,
        State.CLAIMED,
    ]


async def test_f15_leases_of_a_dead_or_frozen_host_are_taken_over_after_they_expire(
    open_host, runtime
):
    """Another host ends expired leases; a later result of the frozen host is only evidence.

    No second call is made.
    """
    policies = [make_policy("a"), make_policy("b")]
    sleeper, other = (
        await open_host("sleeper", *policies),
        await open_host("other", *policies),
    )
    await enqueue_posts(sleeper.post_store, make_post("p", ["a", "b"], START_TIME))
    await sleeper.maintenance.promote_due()
    called, claimed = await sleeper.outbox.claim(2)
    await sleeper.outbox.record_intent(called)
    assert await other.maintenance.expire_leases() == 0
    runtime.advance_time(LEASE)
    assert await other.maintenance.expire_leases() == 2
    runtime.advance_time(CRASH_RETRY_SPREAD)
    assert [lease.delivery for lease in await other.outbox.claim(2)] == [
        claimed.delivery
    ]
    after = await sleeper.outbox.record_outcome(called, published())
    assert after.state is State.UNKNOWN
    assert not isinstance(await sleeper.outbox.record_intent(claimed), SendRequest)


async def test_f26_a_cooldown_is_not_shortened_by_another_hosts_intent(
    open_host, runtime
):
    """F26, I15: a 429's Retry-After stays if the other host writes an intent by older data.

    The 429 arrives during that write.
    """
    policies = [make_policy(name, login="shared") for name in "ab"]
    first, second = (
        await open_host("first", *policies),
        await open_host("second", *policies),
    )
    await enqueue_posts(
        first.post_store,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["b"], START_TIME),
    )
    slow, _request = await claim_and_intend(first)
    runtime.advance_time(LEASE)
    assert await second.maintenance.expire_leases() == 1
    [lease] = await second.outbox.claim(1)
    until = runtime.now() + timedelta(hours=1)
    loop, hearing = asyncio.get_running_loop(), []

    def hear(_connection, _cursor, statement, *_rest):
        if "FROM delivery JOIN rendered_post" in statement and not hearing:
            limit = first.outbox.record_outcome(
                slow, RateLimited(code="429", until=until)
            )
            hearing.append(asyncio.run_coroutine_threadsafe(limit, loop))
            wait(hearing, timeout=60)

    event.listen(second.database.engine, "after_cursor_execute", hear)
    assert isinstance(await second.outbox.record_intent(lease), SendRequest)
    assert (await asyncio.wrap_future(hearing[0])).state is State.UNKNOWN
    rest = await first.database.read(
        lambda connection: connection.execute(select(LOGIN)).one()
    )
    assert (
        rest.cooldown_until,
        rest.routine_cooldown_until,
        rest.parts_cooldown_until,
    ) == (
        until,
        until,
        until,
    )


async def test_an_unknown_outcome_is_read_by_one_host_at_a_time(open_host, runtime):
    """A delivery that one host reads is given to no other until that read has had its time."""
    hosts = [await open_host("first"), await open_host("second")]
    await enqueue_posts(hosts[0].post_store, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(hosts[0])
    await hosts[0].outbox.record_outcome(lease, Unknown(reason="reset"))
    runtime.advance_time(LEASE)
    taken = await asyncio.gather(
        *(host.outbox.due_readbacks([State.UNKNOWN], 5) for host in hosts)
    )
    assert sorted(map(len, taken)) == [0, 1]
    [unknown] = [item for found in taken for item in found]
    after = await hosts[0].outbox.record_readback(
        unknown,
        NotFound(covered_since=unknown.request.baseline.taken_at),
        RECONCILER,
        runtime.monotonic(),
    )
    assert (after.state, after.readbacks) == (State.UNKNOWN, 1)
    runtime.advance_time(timedelta(hours=1))
    assert len(await hosts[1].outbox.due_readbacks([State.UNKNOWN], 5)) == 1


async def test_hosts_share_monitoring_and_probing(open_host):
    """Each account that is due goes to one host."""
    policies = [make_policy(name) for name in "abc"]
    hosts = [await open_host(f"host-{number}", *policies) for number in range(3)]
    watched = await asyncio.gather(
        *(host.store.monitoring.claim_due_accounts(9) for host in hosts)
    )
    probed = await asyncio.gather(
        *(host.store.login_health.claim_due_probes(9) for host in hosts)
    )
    assert sorted(account for accounts in watched for account in accounts) == [
        "a",
        "b",
        "c",
    ]
    assert sorted(account.id for accounts in probed for account in accounts) == [
        "a",
        "b",
        "c",
    ]


async def test_maintenance_runs_on_one_host_at_a_time(open_host):
    """A second host neither waits nor repeats the work; it maintains in a later run."""
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    with host.database.engine.begin() as rival:
        rival.execute(
            text("SELECT pg_advisory_xact_lock(hashtext('publisher/maintenance'))")
        )
        assert await host.maintenance.promote_due() == 0
    assert await host.maintenance.promote_due() == 1


async def test_a_second_daemon_in_the_same_workspace_is_refused(database_url, tmp_path):
    """Hosts share the database, never a workspace: its journal and its name are one daemon's."""
    occupation = lock_process(database_url, tmp_path)
    with pytest.raises(RefusedError) as refused:
        lock_process(database_url, tmp_path)
    assert refused.value.code == "second_daemon"
    occupation.release()
    lock_process(database_url, tmp_path).release()


async def test_an_old_copy_of_the_schedule_is_recognised(open_host):
    """A version once in force and no longer so counts as superseded; a new text does not."""
    host = await open_host("first")
    for body in ("one", "two"):
        await enqueue_posts(host.post_store, text=body)
    assert await host.post_store.is_old_schedule("one")
    assert not await host.post_store.is_old_schedule("three")


async def test_every_session_commits_to_disk_whatever_the_server_says(database_url):
    """A server that would acknowledge commits early or compile queries is overruled.

    Lock waits are bounded.
    """
    engine = open_engine(database_url)
    with engine.connect() as admin:
        admin.execute(
            text(f'ALTER DATABASE "{engine.url.database}" SET synchronous_commit = off')
        )
        admin.execute(text(f'ALTER DATABASE "{engine.url.database}" SET jit = on'))
        admin.commit()
    engine.dispose()
    with engine.connect() as session:
        asked = (
            "synchronous_commit",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "jit",
        )
        assert [session.scalar(text(f"SHOW {name}")) for name in asked] == [
            "on",
            "10s",
            "10s",
            "off",
        ]
    engine.dispose()


def cut(engine, *, before):
    """Let the next commit lose its connection before it is done, or before its answer arrives."""
    commit = engine.dialect.do_commit

    def commit_and_lose(raw):
        engine.dialect.do_commit = commit
        if not before:
            commit(raw)
        raw.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    engine.dialect.do_commit = commit_and_lose


@pytest.mark.long
@pytest.mark.parametrize("before", [True, False])
async def test_f86_a_commit_whose_answer_was_lost_is_read_back(open_host, before):
    """With or without the commit there is one attempt, one journal line and one request."""
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    await host.maintenance.promote_due()
    [lease] = await host.outbox.claim(1)
    cut(host.database.engine, before=before)
    assert isinstance(await host.outbox.record_intent(lease), SendRequest)
    cut(host.database.engine, before=before)
    after = await host.outbox.record_outcome(lease, published())
    assert (after.state, after.attempts) == (State.PUBLISHED, 1)
    assert len(read_records(host.journal)) == 1
    count = select(func.count()).select_from(ATTEMPT)
    assert await host.database.read(lambda connection: connection.scalar(count)) == 1


async def test_f87_an_order_is_not_taken_for_done_by_the_number_of_another_commit(
    open_host,
):
    """A commit counts as done by its number only if its written rows are there as well.

    After a takeover a server gives the same numbers again.
    """
    host = await open_host("first")
    await host.actions.pause("all", named_person("li"), "drill")
    engine = host.database.engine
    [head] = await host.database.read(
        lambda connection: connection.execute(select(AUDIT.c.id, AUDIT.c.hash)).all()
    )
    with engine.begin() as connection:
        connection.execute(insert(DATABASE_INFO).values(key="other", value="host"))
        mark = link.read_transaction_id(connection, (head.id, "0" * 64))
    assert not link.did_commit(engine, mark)
    assert link.did_commit(engine, replace(mark, chain_head=tuple(head)))


@pytest.fixture
def outage(database_url):
    """Return a function that makes the database unavailable, or available again."""
    admin = open_engine(database_url).execution_options(isolation_level="AUTOCOMMIT")
    name = admin.url.database
    elsewhere = open_engine(
        admin.url.set(database="postgres", drivername="postgresql").render_as_string()
    )

    def switch(*, is_away):
        with elsewhere.execution_options(
            isolation_level="AUTOCOMMIT"
        ).connect() as server:
            server.execute(
                text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {not is_away}')
            )
            if is_away:
                server.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = :name"
                    ),
                    {"name": name},
                )

    yield switch
    switch(is_away=False)
    elsewhere.dispose()


async def test_f86_no_call_starts_while_the_database_is_away(
    open_host, outage, monkeypatch
):
    """An intent that cannot be committed gives an error and no journal line.

    Later the work goes on as before.
    """
    monkeypatch.setattr(link, "OUTAGE_SECONDS", 0.2)
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.05)
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    await host.maintenance.promote_due()
    [lease] = await host.outbox.claim(1)
    outage(is_away=True)
    with pytest.raises(Exception) as failed:  # noqa: PT011 # whatever the driver calls it
        await host.outbox.record_intent(lease)
    assert link.is_connection_lost(failed.value)
    assert read_records(host.journal) == []
    outage(is_away=False)
    assert isinstance(await host.outbox.record_intent(lease), SendRequest)


async def test_f86_an_outcome_waits_for_the_database_and_is_written_once(
    open_host, outage, monkeypatch
):
    """The outcome of a call outlives an outage that is longer than any retry."""
    monkeypatch.setattr(link, "OUTAGE_SECONDS", 0.1)
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.05)
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    lease, _request = await claim_and_intend(host)
    tried, tries, loop = asyncio.Event(), [], asyncio.get_running_loop()

    def count(*_connecting):
        tries.append(1)
        if len(tries) > 5:
            loop.call_soon_threadsafe(tried.set)

    event.listen(host.database.engine, "do_connect", count)
    outage(is_away=True)
    waiting = asyncio.create_task(host.outbox.record_outcome(lease, published()))
    await tried.wait()
    assert not waiting.done()
    outage(is_away=False)
    assert (await waiting).state is State.PUBLISHED


async def lose_commits(host, *, since):
    """Undo the newest commits about the only delivery, as a server that lost them at a takeover."""
    with host.database.engine.begin() as connection:
        connection.execute(delete(ATTEMPT))
        connection.execute(
            update(DELIVERY).values(since) if since else delete(DELIVERY)
        )


async def row_of(host):
    return dict(
        await host.database.read(
            lambda connection: connection.execute(select(DELIVERY)).mappings().one()
        )
    )


@pytest.mark.long
async def test_i16_a_call_of_another_host_during_a_retraction_is_not_left_published(
    open_host,
):
    """A call is either refused, as its delivery is cancelled already, or its post is deleted."""
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    await first.maintenance.promote_due()
    [lease] = await second.outbox.claim(1)
    loop, announcing = asyncio.get_running_loop(), []

    def announce(_connection, _cursor, statement, *_rest):
        if "FROM delivery" in statement and not announcing:
            announcing.append(
                asyncio.run_coroutine_threadsafe(
                    second.outbox.record_intent(lease), loop
                )
            )
            wait(announcing, timeout=1)

    event.listen(first.database.engine, "after_cursor_execute", announce)
    await first.actions.retract(PostId("p"), None, named_person("li"), "wrong")
    answer = await asyncio.wrap_future(announcing[0])
    delivery = await only(first)
    assert (
        isinstance(answer, Declined)
        if delivery.state is State.CANCELLED
        else delivery.is_retraction_requested
    )


async def test_f87_a_call_that_the_database_has_lost_is_recovered_as_unknown(
    open_host, runtime
):
    """The host with the call in its journal makes no second claim, and a read gives one receipt."""
    host = await open_host("first")
    fake = FakeAdapter(now=runtime.now)
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    before = await row_of(host)
    _lease, request = await claim_and_intend(host)
    fake.add_post(request)
    await lose_commits(host, since=before)
    assert (await only(host)).state is State.PENDING
    await host.maintenance.promote_due()
    assert await host.outbox.claim(5) == []
    delivery = await only(host)
    assert (delivery.state, delivery.attempts, delivery.reason) == (
        State.UNKNOWN,
        1,
        "worker_lost",
    )
    assert "attempt_recovered" in [alert.code for alert in await host.queries.alerts()]
    runtime.advance_time(LEASE)
    await reconcile_due(host.store, {AccountId("a"): fake}, 5)
    assert (await only(host)).state is State.PUBLISHED
    assert await host.queries.alerts() == []
    story = await host.queries.delivery_history(await only(host))
    events = [entry.event for entry in story.audit_lines]
    assert events[-5:] == [
        "claimed",
        "attempt_started",
        "lease_expired",
        "attempts_recovered",
        "published",
    ]


async def test_f87_an_outcome_of_a_lost_call_recovers_it_and_is_kept_as_evidence(
    open_host, runtime
):
    """An outcome before the loss is noticed recovers the call; nothing is sent again.

    The outcome is evidence. Absence cannot be shown any more.
    """
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    before = await row_of(host)
    lease, _request = await claim_and_intend(host)
    await lose_commits(host, since=before)
    after = await host.outbox.record_outcome(lease, published())
    assert after.state is State.UNKNOWN
    story = await host.queries.delivery_history(after)
    assert [type(look.result) for look in story.readbacks] == [Published]
    assert len(story.attempts) == 1


async def test_f87_nothing_is_claimed_before_every_living_host_has_compared_its_journal(
    open_host, runtime
):
    """After a takeover, a host waits for the others' journals, for a minute at most."""
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    await first.maintenance.promote_due()
    assert await second.outbox.claim(0) == []
    older = (
        update(WORKER_STATE)
        .where(WORKER_STATE.c.worker == "second")
        .values(compared_timeline="00000000")
    )
    await first.database.write(lambda unit: unit.connection.execute(older))
    assert await first.outbox.claim(1) == []
    await second.outbox.claim(0)
    assert len(await first.outbox.claim(1)) == 1


async def take_over(host):
    """Leave the database as after a takeover by another server."""
    with host.database.engine.begin() as connection:
        connection.execute(update(WORKER_STATE).values(compared_timeline="00000000"))
        connection.execute(delete(SERVER_TIMELINE))


async def test_f87_a_host_that_is_dead_is_not_waited_for_for_ever(open_host, runtime):
    """A minute after the first has come to the new server the others go on."""
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    await first.maintenance.promote_due()
    await second.outbox.claim(0)
    await take_over(first)
    assert await first.outbox.claim(1) == []
    runtime.advance_time(timedelta(seconds=61))
    assert len(await first.outbox.claim(1)) == 1


async def test_f87_a_host_that_stops_in_order_leaves_nothing_unreported(
    open_host, runtime
):
    """Nobody waits for it any more, so it compares its journal before it stops."""
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    before = await row_of(first)
    await claim_and_intend(second)
    await lose_commits(second, since=before)
    await take_over(first)
    await first.maintenance.promote_due()
    await second.actions.deregister_worker()
    assert await first.outbox.claim(1) == []
    assert (await only(first)).state is State.UNKNOWN


async def test_f87_hosts_that_could_not_send_a_heartbeat_are_waited_for(
    open_host, runtime
):
    """The first host to come back waits for the others' journals, after any time without server."""
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    before = await row_of(first)
    await claim_and_intend(second)
    await lose_commits(second, since=before)
    await take_over(first)
    runtime.advance_time(timedelta(minutes=10))
    await first.maintenance.promote_due()
    assert await first.outbox.claim(1) == []
    assert await second.outbox.claim(1) == []
    assert await first.outbox.claim(1) == []
    assert (await only(first)).state is State.UNKNOWN


async def test_f85_a_pause_before_the_first_start_keeps_a_host_from_what_anothers_journal_knows(
    open_host,
):
    """After a restored older dump nothing is sent until every host has compared.

    Everything is paused.
    """
    first, second = await open_host("first"), await open_host("second")
    await enqueue_posts(first.post_store, make_post("p", ["a"], START_TIME))
    before = await row_of(first)
    await claim_and_intend(second)
    await lose_commits(second, since=before)
    await first.actions.pause("all", named_person("li"), "an older dump")
    await first.maintenance.promote_due()
    assert await first.outbox.claim(1) == []
    assert (await only(first)).state is State.DUE
    assert await second.outbox.claim(1) == []
    await first.actions.resume("all", named_person("li"))
    assert await first.outbox.claim(1) == []
    assert (await only(first)).state is State.UNKNOWN


async def test_f87_a_call_without_a_delivery_is_alerted_once_and_stops_nothing(
    open_host, runtime
):
    """Where the delivery itself was lost, a person decides; other posts are sent."""
    host = await open_host("first")
    await enqueue_posts(host.post_store, make_post("p", ["a"], START_TIME))
    await claim_and_intend(host)
    await lose_commits(host, since=None)
    await enqueue_posts(host.post_store, make_post("q", ["a"], START_TIME))
    await host.maintenance.promote_due()
    assert len(await host.outbox.claim(5)) == 1
    assert await host.outbox.claim(5) == []
    assert [alert.code for alert in await host.queries.alerts()] == ["attempt_orphaned"]


async def test_a_session_that_was_lost_between_two_runs_is_replaced(open_host, outage):
    """After a restart of the database the next read and the next write reconnect."""
    host = await open_host("first")
    await host.queries.deliveries()
    outage(is_away=True)
    outage(is_away=False)
    assert await host.queries.deliveries() == []
    await host.database.write(
        lambda unit: unit.connection.execute(
            insert(DATABASE_INFO).values(key="k", value="v")
        )
    )
