"""Queries over the whole past: the daemon's jobs have none, however long the past is."""

import re
from datetime import UTC, timedelta

import pytest
from sqlalchemy import event

from publisher.daemon import WORK_AHEAD
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.results import Published, Receipt
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

LIVE = Published(
    receipt=Receipt(
        remote_id="1", url="https://fake.example/1", published_at=START_TIME
    )
)


async def deliver(store):
    """Claim the due delivery, and record its intent and its outcome."""
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    await store.outbox.record_outcome(lease, LIVE)


JOBS = {
    "maintenance": lambda store: store.maintenance.run(),
    "question": lambda store: store.maintenance.has_work(WORK_AHEAD),
    "claim": lambda store: store.outbox.claim(10),
    "delivery": deliver,
    "next instant": lambda store: store.outbox.next_due_at(),
    "readbacks": lambda store: store.outbox.due_readbacks(
        [State.UNKNOWN, State.SUBMITTED], 10
    ),
    "monitor": lambda store: store.monitoring.compare_list(AccountId("a"), []),
    "preflight": lambda store: store.preflight.run(),
    "silence": lambda store: store.silence.update(UTC),
    "metrics": lambda store: store.monitoring.deliveries_to_measure(AccountId("a")),
    "status": lambda store: store.queries.current_deliveries(),
}
GROWING_TABLES = ("delivery", "attempt", "readback", "rendered_post", "published")
"""The growing tables, and the alias with the past of an account in the guards' queries."""
PARTIAL_INDEXES_OF_THE_PAST = (
    "recurring_by_account",
    "published_by_account",
    "one_owner_per_remote_id",
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
async def test_no_job_reads_the_whole_past(open_store, runtime, job):
    """SQLite plans no job's statement as a scan of all deliveries, or of all of some past kind."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a"], START_TIME),
        make_post("q", ["a"], START_TIME),
    )
    runtime.advance_time(timedelta(seconds=1))
    engine, scans = store.database.engine, []

    def explain(connection, _cursor, statement, parameters, _context, is_many):
        if statement.startswith(("SELECT", "UPDATE")):
            values = parameters[0] if is_many else parameters
            plan = connection.connection.driver_connection.execute(
                f"EXPLAIN QUERY PLAN {statement}", values
            )
            steps = [
                row[3]
                for row in plan
                if re.match(rf"SCAN ({'|'.join(GROWING_TABLES)})\b", row[3])
            ]
            scans.extend(
                (step, statement)
                for step in steps
                if "INDEX" not in step
                or any(name in step for name in PARTIAL_INDEXES_OF_THE_PAST)
            )

    event.listen(engine, "before_cursor_execute", explain)
    await job(store)
    event.remove(engine, "before_cursor_execute", explain)
    assert scans == []
