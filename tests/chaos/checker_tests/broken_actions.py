"""Mutations of actions and times: edits, pauses, retractions, expiry, missed instants."""

from tests.chaos.checker_tests.mutation import HOUR, MICRO, Row, SampleRun, breaks


@breaks("I4")
def edited_and_forgotten(run: SampleRun) -> None:
    """Nobody was asked about the edit: absence was proven, and the old words went out."""
    [resolved] = run.audit("edited-unknown", "resolved")
    [proven] = run.audit("edited-unknown", "absence_proven")
    run.rows["audit"].remove(resolved)
    proven["after"] = "due"


@breaks("I4")
def asked_about_something_else(run: SampleRun) -> None:
    """The person that released it was asked about a possible match, not about the edit."""
    [proven] = run.audit("edited-unknown", "absence_proven")
    proven["detail"] = proven["detail"].replace('"edited"', '"not_published"')


@breaks("I4")
def called_where_left_out(run: SampleRun) -> None:
    """The account was taken out of the post before its only call."""
    text = f'[[post]]\nid = "busy"\ntitle = "{run.copy("busy")["title"]}"\nto = ["weibo-a"]\n'
    run.accept(text, run.call("busy")["t"] - 2, run.call("busy")["t"] + 2)


@breaks("I4")
def called_when_removed(run: SampleRun) -> None:
    """The post was taken out of the schedule before its only call."""
    text = '[[post]]\nid = "another"\ntitle = "another"\nto = []\n'
    run.accept(text, run.call("busy")["t"] - 2, run.call("busy")["t"] + 2)


@breaks("I4")
def repeating_edit_forgotten(run: SampleRun) -> None:
    """A repeating post was edited before an instant of it, and went out with the old title."""
    text = '[[post]]\nid = "missed"\ntitle = "another"\nto = ["weibo-a"]\n'
    due = run.row("missed", 1)["due_at"] / MICRO
    run.accept(text, due - 1, due + 300)


def expire_on_the_way(run: SampleRun) -> None:
    """The head of the call came before the post expired, its body after."""
    call = run.call("busy")
    run.duty("busy")["expires"] = call["t"] - 1
    call["began"] = call["t"] - 2


def pause_on_the_way(run: SampleRun) -> None:
    """The head of the call came before a pause, its body under it."""
    call = run.call("paused")
    [paused] = run.audit("post:paused", "paused")
    call["began"] = paused["at"] / MICRO - 1
    resumed_later(run)


@breaks("I14")
def resumed_later(run: SampleRun) -> None:
    """The audit says that the pause lasted a minute longer, and so does the action to resume."""
    [resumed] = run.audit("post:paused", "resumed")
    resumed["at"] += 60 * MICRO
    for action in run.lists["actions"]:
        if (action["kind"], action.get("scope")) == ("resume", "post:paused"):
            action.update(asked_at=resumed["at"] / MICRO, at=resumed["at"] / MICRO)


@breaks("I14")
def began_under_a_pause(run: SampleRun) -> None:
    pause_on_the_way(run)
    run.call("paused")["began"] = run.call("paused")["t"]


@breaks("I14")
def ordered_pause_forgotten(run: SampleRun) -> None:
    """The action alone is known; the database has forgotten it."""
    action = {
        "kind": "pause",
        "at": run.call("busy")["t"] - 10,
        "by": "wang",
        "scope": "post:busy",
    }
    run.lists["actions"].append(action)


@breaks("I6")
def began_after_its_expiry(run: SampleRun) -> None:
    expire_on_the_way(run)
    run.call("busy")["began"] = run.call("busy")["t"]


@breaks("I6")
def missed_and_made_up_for(run: SampleRun) -> None:
    """The outage covered another instant after the one that went out."""
    newer = run.row("missed", 1)
    run.add_row(
        "delivery",
        newer,
        due_at=newer["due_at"] + MICRO,
        occurrence="2026-11-25T09:00:00Z",
        attempts=0,
    )


@breaks("I10")
def no_alert_about_the_missed(run: SampleRun) -> None:
    """The alert that stands for the missed instants is about another post."""
    next(one for one in run.rows["alert"] if one["code"] == "occurrences_missed")[
        "subject"
    ] = "plain"


@breaks("I16")
def called_after_the_retraction(run: SampleRun) -> None:
    """The action was given before the call, by its own record."""
    [action] = (
        one
        for one in run.lists["actions"]
        if (one["kind"], one.get("post")) == ("retract", "retracted")
    )
    action.update(
        asked_at=run.call("retracted")["t"] - 5, at=run.call("retracted")["t"] - 5
    )
    run.audit("retracted", "planned")[0]["at"] -= round(HOUR * MICRO)


@breaks("I16")
def called_after_the_cancellation(run: SampleRun) -> None:
    """The cancellation was written before the call, while the intent stood already."""
    like = run.audit("busy", "claimed")[0]
    run.add_row(
        "audit",
        like,
        event="cancelled",
        before="sending",
        after="sending",
        at=like["at"] - 2 * MICRO,
    )


@breaks("I16")
def part_after_the_retraction(run: SampleRun) -> None:
    """The thread is deleted as ordered, only one part came too late."""
    run.copy("parts").update(removed=True, visible=False)
    call = run.entry(run.parts()[-1], "act")
    run.lists["actions"].append(
        {"kind": "retract", "at": call["t"] - 2, "by": "wang", "post": "parts"}
    )


# --- what shows only where the true instant of each row is known ---


def true_at(run: SampleRun, act: Row) -> float:
    return run.documents["instants"]["audit"][str(act["id"])]["at"]


def intend_after(run: SampleRun, name: str, act: Row) -> None:
    """Let the first intent of a delivery have been written just after an entry of the audit."""
    attempt = run.attempts(name)[0]
    run.documents["instants"]["attempt"][str(attempt["id"])]["intended_at"] = (
        true_at(run, act) + 0.1
    )


def intended_under_a_pause(run: SampleRun) -> None:
    """The call itself came within the second that is granted."""
    [paused] = run.audit("post:paused", "paused")
    intend_after(run, "paused", paused)


def intended_after_the_retraction(run: SampleRun) -> None:
    intend_after(run, "retracted", run.audit("retracted", "retraction_requested")[0])


def an_older_entry(run: SampleRun) -> None:
    """Nobody has set the clock back, and an entry is older than the one before it."""
    run.lists["interruptions"] = [
        one for one in run.lists["interruptions"] if one["kind"] != "clock"
    ]


EXACT = {
    "I14": intended_under_a_pause,
    "I16": intended_after_the_retraction,
    "I18": an_older_entry,
}
"""Mutations of a run with true instants, by the invariant that each breaks."""
