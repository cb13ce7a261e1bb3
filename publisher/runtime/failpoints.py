"""Failpoints: named places at which a test kills, freezes or fails the process."""

import os
import signal
from collections.abc import Mapping

from publisher.domain.errors import PublisherError

FAILPOINT_NAMES = frozenset({
    "reload.after_read",
    "reload.before_commit",
    "plan.after_insert",
    "claim.after_commit",
    "token.after_refresh",
    "media.after_upload",
    "step.after_commit",
    "intent.before_commit",
    "intent.after_commit",
    "journal.after_append",
    "http.after_connect",
    "http.mid_body",
    "http.after_body",
    "http.after_reply",
    "outcome.before_commit",
    "outcome.after_commit",
    "submitted.after_poll",
    "reconcile.before_read",
    "reconcile.after_read",
    "reconcile.before_commit",
    "retract.before_call",
    "retract.after_call",
    "audit.before_append",
    "migrate.mid",
    "backup.before_rename",
    "restore.before_commit",
    "restore.after_commit",
    "restore.mid",
})  # fmt: skip
"""Every failpoint, at which a test may kill, freeze or fail the process."""


class FailpointRaisedError(PublisherError):
    """A failpoint with the action `raise` was hit."""


class FailpointSyntaxError(PublisherError):
    """PUBLISHER_FAILPOINTS is not `NAME:kill|freeze|raise@N,…` with known names."""


def trigger_failpoint(action: str, name: str) -> None:
    """Kill or freeze this process, or raise FailpointRaisedError."""
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            signal.raise_signal(signal.SIGSTOP)  # to this very thread, which must not get any further
        case _:
            raise FailpointRaisedError(name)


def parse_failpoints(text: str) -> Mapping[str, tuple[str, int]]:
    """Parse `intent.after_commit:kill@3,http.mid_body:freeze@1` to name, action and count of the hit that acts.

    Raises FailpointSyntaxError if a name or an action is unknown.
    """
    points = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = item.partition(":")
        action, _, count = rest.partition("@")
        if name not in FAILPOINT_NAMES or action not in {"kill", "freeze", "raise"} or not (count or "1").isdigit():
            raise FailpointSyntaxError(item)
        points[name] = (action, int(count or "1"))
    return points
