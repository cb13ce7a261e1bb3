"""Alerts of a daemon in a process of its own: they survive its death, and bad channels cost sending nothing."""

import json
import sqlite3
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from statistics import median

import tomlkit

from tests.alerts.receivers import MailServer, Webhook, serving
from tests.e2e.test_run import post

BAD = ("hang", "drip", "error", "redirect")
BROKEN_SCHEDULE = "[[post]]\nid = \n"
MAX_DELAY_SECONDS = 5.0
"""Half of what a channel may take: a post that waited for one would be later than that, however busy the machine."""


def add_channels(workspace, urls, first):
    """Write channels with these addresses into the settings."""
    file = workspace.folder / "publisher.toml"
    settings = tomlkit.parse(file.read_text("utf-8"))
    settings["alerts"] = {"first": list(first), "channels": {name: f"alert-{name}" for name in urls}}
    file.write_text(tomlkit.dumps(settings), "utf-8")
    for name, url in urls.items():
        secret = workspace.folder / "secrets" / f"alert-{name}"
        secret.write_text(json.dumps({"url": url}), "utf-8")
        secret.chmod(0o600)


def open_alerts(workspace):
    return [alert["code"] for alert in json.loads(workspace.publisher("alerts", "--json"))["alerts"]]


def test_no_alert_is_lost_by_a_kill_or_by_bad_channels(workspace, wait_until):
    """Killed while four channels misbehave, the daemon's successor brings each the alert once it works, with one id."""
    with ExitStack() as stack:
        hooks = {name: stack.enter_context(serving(Webhook(name))) for name in BAD}
        hooks["good"] = stack.enter_context(serving(Webhook()))
        mail = stack.enter_context(serving(MailServer()))
        add_channels(
            workspace, {**{name: hook.url for name, hook in hooks.items()}, "mail": mail.url}, [*hooks, "mail"]
        )
        workspace.write_schedule(BROKEN_SCHEDULE)
        daemon = workspace.start()
        wait_until(lambda: all(hook.requests for hook in hooks.values()) and mail.messages)
        assert "reload_refused" in open_alerts(workspace)
        daemon.kill()
        daemon.wait()
        for hook in hooks.values():
            hook.answer = "accept"
            hook.released.set()
        workspace.start()
        wait_until(lambda: all(hook.ids() for hook in hooks.values()))
        [first] = {hook.ids()[0] for name, hook in hooks.items()}
        wait_until(lambda: "alert_channel_failing" not in open_alerts(workspace))
        assert hooks["good"].ids().count(first) == 1


def test_bad_channels_do_not_delay_what_is_due(workspace, wait_until):
    """Posts due while four channels hang, drip, fail and redirect wait for none of them."""
    with ExitStack() as stack:
        hooks = {name: stack.enter_context(serving(Webhook(name))) for name in BAD}
        add_channels(workspace, {name: hook.url for name, hook in hooks.items()}, hooks)
        workspace.write_schedule("")
        workspace.start()
        wait_until(lambda: workspace.status()["daemon"]["running"])
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
        calm, troubled = ([f"{kind}-{number}" for number in range(8)] for kind in ("calm", "troubled"))
        times = {name: start + timedelta(seconds=number) for number, name in enumerate(calm)}
        times |= {name: start + timedelta(seconds=20 + number) for number, name in enumerate(troubled)}
        workspace.write_schedule("".join(post(name, at=at.isoformat()) for name, at in times.items()))
        wait_until(lambda: len(lateness(workspace, calm)) == 6 * len(calm))
        workspace.write_schedule(BROKEN_SCHEDULE)
        wait_until(lambda: all(hook.requests for hook in hooks.values()))
        wait_until(lambda: len(lateness(workspace, troubled)) == 6 * len(troubled))
        before, after = (lateness(workspace, names) for names in (calm, troubled))
    assert median(after) - median(before) < MAX_DELAY_SECONDS, (sorted(before), sorted(after))


def lateness(workspace, posts):
    """Return by how many seconds each delivery's call began after its time."""
    with closing(sqlite3.connect(workspace.folder / "var" / "publisher.db")) as database:
        rows = database.execute(
            "SELECT delivery.post, attempt.intended_at - delivery.due_at FROM attempt "
            "JOIN delivery ON delivery.id = attempt.delivery WHERE attempt.number = 1"
        ).fetchall()
    return [late / 1_000_000 for name, late in rows if name in posts]
