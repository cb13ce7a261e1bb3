"""The last scene of a campaign with approvals: a restored, unapproved post is not sent.

The post was approved, backed up, unapproved and restored. The scene has a workspace and platforms
of its own, as a restore takes away data that the checker needs of a campaign. Posts that people
approve again after the restore go out, so the daemon could have sent the rest as well.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

from tests.chaos.approvers import WAITING, enrol, issue_token
from tests.chaos.artefacts import save
from tests.chaos.campaign import MICRO, Campaign
from tests.chaos.findings import CampaignFinding, check
from tests.chaos.options import CampaignOptions
from tests.chaos.people import ADMIN, APPROVERS, OPERATOR
from tests.chaos.platforms import start_platforms
from tests.chaos.publisher_process import DaemonError, PublisherProcess
from tests.chaos.workspace import design
from tests.wait import wait_until

DELIVERIES, POSTS = 12, 2
"""Of three posts with four accounts each, so many are kept."""
SPREAD = timedelta(seconds=5)
"""The spread of their due times.

Posts without approval wait, so a slow host changes nothing.
"""
MAX_WAIT_SECONDS = 120.0
LOST = (f"unapprove by {APPROVERS[0]} is not in the audit", "is not what was anchored")
"""Parts of the findings after any restore.

The audit ends where the backup did, and a checkpoint shows it.
"""
RESTING = """SELECT count(*) FROM delivery WHERE post LIKE 'post-%' AND due_at <= {now}
AND (state IN ('published', 'held') OR (state = 'pending' AND reason = 'awaiting_approval'))"""
BEGUN = "SELECT count(*) FROM delivery WHERE post = '{post}' AND attempts > 0"


class RestoreCampaign(Campaign):
    """A few posts, one unapproved after a backup that is then restored."""

    def run(self) -> None:
        del self.workspace.entries[POSTS:]
        for entry in self.workspace.entries:
            entry.withdrawn, entry.follows = False, None
        self.workspace.write_wave(0, SPREAD, self.dice)
        self.wanted = {
            (entry.id, name): "published"
            for entry in self.workspace.entries
            for name in entry.accounts
        }
        unapproved = self.workspace.entries[0]
        self.wanted |= {
            (unapproved.id, name): "cancelled" for name in unapproved.accounts
        }
        enrol(self.publisher)
        if not self.publisher.file(MAX_WAIT_SECONDS, 0.0):
            raise DaemonError("the schedule of the posts to be restored was refused")
        self._approve_waiting()
        self._restore_what_was_unapproved(unapproved.id)
        with self.publisher.running():
            self.people.clear_up()
            self.calm_since = time.time()
            self._approve_waiting(besides=unapproved.id)
            wait_until(
                self._is_resting, MAX_WAIT_SECONDS, "posts at rest after a restore"
            )
            if not self.publisher.store.count(BEGUN.format(post=unapproved.id)):
                self.publisher.withdraw(unapproved.id)

    def _restore_what_was_unapproved(self, post: str) -> None:
        """Back up, unapprove and restore.

        Then the owner of the workspace enables the later users, and they sign in again.
        """
        backup = str(self.workspace.folder.with_name("kept.db"))
        self.publisher.say("backup", backup)
        if not self.publisher.unapprove(post, by=APPROVERS[0]):
            raise DaemonError(f"{post} could not be unapproved, though no daemon runs")
        self.publisher.say("restore", backup, "--by", OPERATOR, acts_as=OPERATOR)
        for name in (OPERATOR, *APPROVERS):
            self.publisher.say("user", "enable", name, "--by", ADMIN)
            issue_token(self.publisher, name)

    def _approve_waiting(self, besides: str = "") -> None:
        posts = {entry.id for entry in self.workspace.entries} - {besides}
        for post, _occurrence, fingerprint in self.publisher.store.rows(WAITING):
            for name in APPROVERS if post in posts else ():
                self.publisher.approve(post, fingerprint, by=name)

    def _is_resting(self) -> bool:
        return self.publisher.store.count(
            RESTING.format(now=round(time.time() * MICRO))
        ) == len(self.wanted)


def restore_unapproved(
    folder: Path, bug: str | None = None
) -> Sequence[CampaignFinding]:
    """Play the scene in a folder, with a named planted mistake if any. Return its findings."""
    folder.mkdir()
    dice = Random(1)  # noqa: S311 # repeatable on purpose
    workspace = design([folder / "worker-1"], DELIVERIES, 1, dice, is_rough=False)
    platforms = start_platforms(folder / "platforms", 1, 0.0)
    try:
        platforms.furnish(workspace.accounts.values(), (), accepts_repeats=False)
        workspace.needs_approval = True
        workspace.prepare(platforms.base_url, None)
        workspace.allow_long_calls()
        campaign = RestoreCampaign(
            workspace=workspace,
            publishers=[PublisherProcess(workspace.folder, mutant=bug)],
            platforms=platforms,
            dice=dice,
            options=CampaignOptions(
                kills=0, deliveries=DELIVERIES, plain=True, approvals=True, bug=bug
            ),
            waves=1,
        )
        campaign.run()
        save(folder / "artefacts", campaign)
    finally:
        platforms.close()
    found = check(folder / "artefacts", needs_approval=True)
    return [one for one in found if not any(part in one.what for part in LOST)]
