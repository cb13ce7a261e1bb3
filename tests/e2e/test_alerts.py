"""Alerts of a daemon in a process of its own: they survive its death, and bad channels."""

import json
from contextlib import ExitStack

import tomlkit

from tests.alerts.receivers import MailServer, Webhook, serving

BAD = ("hang", "drip", "error", "redirect")
BROKEN_SCHEDULE = "[[post]]\nid = \n"


def add_channels(workspace, urls, first):
    """Write channels with these addresses into the settings."""
    file = workspace.folder / "publisher.toml"
    settings = tomlkit.parse(file.read_text("utf-8"))
    settings["alerts"] = {
        "first": list(first),
        "channels": {name: f"alert-{name}" for name in urls},
    }
    file.write_text(tomlkit.dumps(settings), "utf-8")
    for name, url in urls.items():
        secret = workspace.folder / "secrets" / f"alert-{name}"
        secret.write_text(json.dumps({"url": url}), "utf-8")
        secret.chmod(0o600)


def open_alerts(workspace):
    return [
        alert["code"]
        for alert in json.loads(workspace.publisher("alerts", "--json"))["alerts"]
    ]


def test_no_alert_is_lost_by_a_kill_or_by_bad_channels(workspace, wait_until):
    """No alert is lost by a kill or by bad channels.

    The daemon is killed while four channels misbehave. Its successor brings each channel the alert
    once it works, with one id.
    """
    with ExitStack() as stack:
        hooks = {name: stack.enter_context(serving(Webhook(name))) for name in BAD}
        hooks["good"] = stack.enter_context(serving(Webhook()))
        mail = stack.enter_context(serving(MailServer()))
        add_channels(
            workspace,
            {**{name: hook.url for name, hook in hooks.items()}, "mail": mail.url},
            [*hooks, "mail"],
        )
        workspace.write_schedule(BROKEN_SCHEDULE)
        daemon = workspace.start()
        wait_until(
            lambda: all(hook.requests for hook in hooks.values()) and mail.messages
        )
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
