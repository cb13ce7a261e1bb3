"""Pruned texts: their display to people, and no resend of such a post by a restart or restore."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.daemon import Daemon
from publisher.domain.results import Published, Receipt
from publisher.i18n import Messages
from publisher.store.db.intent_journal import write_journal
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.posts import warning, write_schedule

AGO = timedelta(days=900)
BY = ("--by", "王")
AGED = """
UPDATE delivery SET state = 'removed', due_at = due_at - :ago, scheduled_at = scheduled_at - :ago,
    expires_at = expires_at - :ago, updated_at = updated_at - :ago,
    published_at = published_at - :ago;
UPDATE attempt SET baseline_at = baseline_at - :ago, intended_at = intended_at - :ago,
    ended_at = ended_at - :ago;
"""


@asynccontextmanager
async def daemon_of(folder):
    settings = await load_settings(folder)
    async with open_application(
        settings, make_confirmed_runtime(), can_send=True
    ) as opened:
        yield Daemon(
            opened, folder / "schedule.toml", Messages("zh_CN"), datetime.now(UTC)
        )


async def publish(folder):
    async with daemon_of(folder) as daemon:
        await daemon.read_schedule()
        application = daemon.application
        await application.store.maintenance.promote_due()
        for lease in await application.store.outbox.claim(10):
            await application.store.outbox.record_intent(lease)
            receipt = Receipt(
                remote_id="1",
                url="https://weibo.com/1/a",
                published_at=datetime.now(UTC),
            )
            await application.store.outbox.record_outcome(
                lease, Published(receipt=receipt)
            )


async def run_for_a_day(folder, *, prunes=False):
    """Start as a daemon does, and run each job that may call, file or report."""
    async with daemon_of(folder) as daemon:
        await daemon.load_initial_schedule()
        for job in (
            "plan",
            "run_maintenance",
            "send",
            "reconcile",
            "retract",
            *(["prune"] if prunes else []),
        ):
            await daemon.jobs[job].run()


@pytest.fixture
def aged(run, drill):
    """Return a drill with one post that was removed years ago and is still in the schedule."""
    write_schedule(
        drill, warning("refund", when='at = "asap"', to='["platform:weibo"]')
    )
    asyncio.run(publish(drill))
    with closing(sqlite3.connect(drill / "var" / "publisher.db")) as database, database:
        for statement in AGED.split(";")[:2]:
            database.execute(statement, {"ago": AGO // timedelta(microseconds=1)})
    write_journal(drill / "var" / "intents.jsonl", (), datetime.now(UTC))
    return drill


def state_of(folder):
    """Return the data that must never change: the deliveries, their calls and the metrics."""
    with closing(sqlite3.connect(folder / "var" / "publisher.db")) as database:
        deliveries = database.execute(
            "SELECT post, occurrence, account, state, remote_id, attempts FROM delivery"
        ).fetchall()
        return deliveries, database.execute(
            "SELECT delivery, number FROM attempt"
        ).fetchall()


def alerts(run, folder):
    return [
        alert["code"]
        for alert in run("-C", folder, "status", "--all", "--json").json["alerts"]
    ]


@pytest.mark.long
def test_i24_pruned_texts_are_explained(run, aged):
    """Once pruned, `why`, `reach` and `report` say so, and `status` shows the final state."""
    day = (datetime.now(UTC) - AGO).date()
    days = (
        "--from",
        str(day - timedelta(days=1)),
        "--to",
        str(day + timedelta(days=1)),
    )
    assert run("-C", aged, "report", *days, "--json").json["total"]["pruned"] == 0
    with capture_logs() as logged:
        asyncio.run(run_for_a_day(aged, prunes=True))
    assert [
        (entry["deliveries"], entry["texts"])
        for entry in logged
        if entry["event"] == "pruned"
    ] == [(1, 1)]
    reported = {
        command: run("-C", aged, *command).out
        for command in (("why", "refund"), ("reach", "refund"), ("report", *days))
    }
    assert all("days_kept" in words for words in reported.values()), reported
    total = run("-C", aged, "report", *days, "--json").json["total"]
    assert (
        total["planned"],
        total["removed"],
        total["pruned"],
        total["tip_line_asked"],
    ) == (
        1,
        1,
        1,
        0,
    )
    assert run("-C", aged, "reach", "refund", "--json").json == {
        "reach": [],
        "pruned": 1,
    }
    [row] = run("-C", aged, "status", "--all", "--json").json["deliveries"]
    assert (row["state"], row["remote_id"]) == ("removed", "1")
    assert run("-C", aged, "preview", "refund").code == 0
    assert run("-C", aged, "audit", "verify").code == 0


@pytest.mark.long
def test_i1_after_pruning_a_restart_or_a_restore_files_calls_and_reports_nothing(
    run, aged, tmp_path
):
    """The post stays in the schedule all the time; the backups are from before and from after."""
    before = state_of(aged)
    assert run("-C", aged, "backup", tmp_path / "before.db").code == 0
    asyncio.run(run_for_a_day(aged, prunes=True))
    asyncio.run(run_for_a_day(aged))
    assert (state_of(aged), alerts(run, aged)) == (before, [])
    assert run("-C", aged, "backup", tmp_path / "after.db").code == 0
    for backup in ("after.db", "before.db"):
        assert run("-C", aged, "restore", tmp_path / backup, *BY).code == 0
        assert run("-C", aged, "resume", *BY).code == 0
        asyncio.run(run_for_a_day(aged, prunes=True))
        assert state_of(aged) == before
        # of the entries that a restore loses, and of nothing else
        assert set(alerts(run, aged)) <= {"audit_broken"}
