"""Approved, backed up, unapproved, restored: an ended approval does not send a post.

The approval exists only in the older database.
"""

import pytest

from publisher.app.restore import restore
from publisher.engine.decisions import named_person
from publisher.store.recovery.backup import make_backup
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import judge_history
from tests.chaos.mutants import plant
from tests.simulation.artefacts import artefacts_of
from tests.simulation.platforms import EPOCH
from tests.simulation.scenarios import TITLES
from tests.simulation.simulation import Shape, Simulation, opened
from tests.simulation.workspace import SchedulePost, instant

DUE_SECONDS, DOWN_SECONDS = 120.0, 20.0


async def put_back(simulation: Simulation) -> None:
    """Restore the backup, as `publisher restore` does."""
    workspace, runtime = simulation.workspace, simulation.new_runtime()
    by = named_person("zhao")
    await restore(
        simulation.settings,
        runtime,
        workspace.database,
        workspace.folder / "backup.db",
        by,
    )


async def back_up(simulation: Simulation) -> None:
    workspace = simulation.workspace
    target = workspace.folder / "backup.db"
    make_backup(workspace.database, target, workspace.journal, simulation.new_runtime())


def live() -> tuple[list[str], list[str]]:
    """Return the calls and the I5 violations after an unapproval and a restore.

    Approve, back up, unapprove and restore before a post is due.
    """
    shape = Shape(accounts=("weibo-a", "weibo-b"), storm=0.0, needs_approval=True)
    entry = SchedulePost(
        id="p1",
        title=f"{TITLES[0]}第1期",
        accounts=shape.accounts,
        at=instant(EPOCH + DUE_SECONDS),
    )
    with opened("restored", shape, [entry]) as simulation:
        simulation.pass_until(lambda: simulation.rows("SELECT id FROM delivery"), 60)
        simulation.approve_all()
        simulation.run_command(back_up(simulation))
        simulation.run_command(simulation.unapprove("p1"))
        simulation.stop_for(DOWN_SECONDS)
        simulation.run_command(put_back(simulation))
        simulation.pass_time(DOWN_SECONDS)
        simulation.resume_all()
        simulation.pass_time(DUE_SECONDS + 60)
        simulation.workspace.journal.touch()  # without an intent there may be none
        calls = [
            line["post_id"]
            for line in simulation.log
            if line["kind"] == "act" and line["endpoint"]
        ]
        finding = judge_history(history_of(artefacts_of(simulation))).of("I5")
        events = {row["event"] for row in simulation.rows("SELECT event FROM audit")}
        assert (finding.why_not, {"approval_given", "restored"} - events) == (
            None,
            set(),
        )
        return calls, [str(violation) for violation in finding.violations]


@pytest.mark.long
def test_i5_f85_what_was_unapproved_is_not_sent_by_an_older_database():
    """F85: an older database with ended approvals sends nothing, and I5 holds.

    It knows of both approvals and not of their end.
    """
    assert live() == ([], [])


@pytest.mark.long
def test_i5_an_older_database_that_is_believed_is_found():
    """With the planted mistake both posts leave.

    The order to unapprove shows that they must not.
    """
    with plant("restored_approval_honoured"):
        calls, violations = live()
    assert len(calls) == 2
    assert (
        sum(
            "sent after its approvals were ended" in violation
            for violation in violations
        )
        == 2
    )
