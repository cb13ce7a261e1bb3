"""Mutations of what people want and what the clock says: edits, pauses, retractions, expiry, missed instants."""

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker_tests.broken_runs import HOUR, MICRO, parts_of
from tests.chaos.checker_tests.mutation import (
    accept,
    add_row,
    attempts_of,
    audit_of,
    breaks,
    call_of,
    copy_of,
    duty_of,
    entry_of,
    row_of,
)


@breaks("I4")
def edited_and_forgotten(run: Artefacts) -> None:
    """Nobody was asked about the edit: absence was proven, and the old words went out."""
    [resolved] = audit_of(run, "edited-unknown", "resolved")
    [proven] = audit_of(run, "edited-unknown", "absence_proven")
    run.rows["audit"].remove(resolved)
    proven["after"] = "due"


@breaks("I4")
def asked_about_something_else(run: Artefacts) -> None:
    """A person let it go who was asked about a possible match, not about the edit."""
    [proven] = audit_of(run, "edited-unknown", "absence_proven")
    proven["detail"] = proven["detail"].replace('"edited"', '"not_published"')


@breaks("I4")
def called_where_left_out(run: Artefacts) -> None:
    """The account was taken out of the post before its only call."""
    text = f'[[post]]\nid = "busy"\ntitle = "{copy_of(run, "busy")["title"]}"\nto = ["weibo-a"]\n'
    accept(run, call_of(run, "busy")["t"] - 1.5, text)


@breaks("I4")
def called_when_removed(run: Artefacts) -> None:
    """The post was taken out of the schedule before its only call."""
    accept(run, call_of(run, "busy")["t"] - 1.5, '[[post]]\nid = "another"\ntitle = "another"\nto = []\n')


@breaks("I4")
def repeating_edit_forgotten(run: Artefacts) -> None:
    """A repeating post was edited before an instant of it, which went out with the old title."""
    text = '[[post]]\nid = "missed"\ntitle = "another"\nto = ["weibo-a"]\n'
    accept(run, row_of(run, "missed", 1)["due_at"] / MICRO - 1, text)


def expire_on_the_way(run: Artefacts) -> None:
    """The head of the call came before the post expired, its body after."""
    call = call_of(run, "busy")
    duty_of(run, "busy")["expires"] = call["t"] - 1
    call["began"] = call["t"] - 2


def pause_on_the_way(run: Artefacts) -> None:
    """The head of the call came before a pause, its body under it."""
    call = call_of(run, "paused")
    [paused] = (one for one in run.rows["audit"] if (one["event"], one["subject"]) == ("paused", "post:paused"))
    call["began"] = paused["at"] / MICRO - 1
    resumed_later(run)


@breaks("I14")
def resumed_later(run: Artefacts) -> None:
    """The audit says that the pause lasted a minute longer, and so does the order that ended it."""
    [resumed] = (one for one in run.rows["audit"] if (one["event"], one["subject"]) == ("resumed", "post:paused"))
    resumed["at"] += 60 * MICRO
    for order in run.lists["orders"]:
        if (order["kind"], order.get("scope")) == ("resume", "post:paused"):
            order.update(asked_at=resumed["at"] / MICRO, at=resumed["at"] / MICRO)


@breaks("I14")
def began_under_a_pause(run: Artefacts) -> None:
    pause_on_the_way(run)
    call_of(run, "paused")["began"] = call_of(run, "paused")["t"]


@breaks("I14")
def ordered_pause_forgotten(run: Artefacts) -> None:
    """The order alone is known; the database has forgotten it."""
    order = {"kind": "pause", "at": call_of(run, "busy")["t"] - 10, "by": "wang", "scope": "post:busy"}
    run.lists["orders"].append(order)


@breaks("I6")
def began_after_its_expiry(run: Artefacts) -> None:
    expire_on_the_way(run)
    call_of(run, "busy")["began"] = call_of(run, "busy")["t"]


@breaks("I6")
def missed_and_made_up_for(run: Artefacts) -> None:
    """The outage covered another instant after the one that went out."""
    newer = row_of(run, "missed", 1)
    add_row(run, "delivery", newer, due_at=newer["due_at"] + MICRO, occurrence="2026-11-25T09:00:00Z", attempts=0)


@breaks("I10")
def no_alert_about_the_missed(run: Artefacts) -> None:
    """The alert that stands for the missed instants is about another post."""
    next(one for one in run.rows["alert"] if one["code"] == "occurrences_missed")["subject"] = "plain"


@breaks("I16")
def called_after_the_retraction(run: Artefacts) -> None:
    """The order was given before the call, by its own record."""
    [order] = (one for one in run.lists["orders"] if (one["kind"], one.get("post")) == ("retract", "retracted"))
    order.update(asked_at=call_of(run, "retracted")["t"] - 5, at=call_of(run, "retracted")["t"] - 5)
    audit_of(run, "retracted", "planned")[0]["at"] -= round(HOUR * MICRO)


@breaks("I16")
def called_after_the_cancellation(run: Artefacts) -> None:
    """The cancellation was written before the call, while the intent stood already."""
    like = audit_of(run, "busy", "claimed")[0]
    add_row(run, "audit", like, event="cancelled", before="sending", after="sending", at=like["at"] - 2 * MICRO)


@breaks("I16")
def part_after_the_retraction(run: Artefacts) -> None:
    """The thread is deleted as ordered, only one part came too late."""
    copy_of(run, "parts").update(removed=True, visible=False)
    call = entry_of(run, parts_of(run)[-1], "act")
    run.lists["orders"].append({"kind": "retract", "at": call["t"] - 2, "by": "wang", "post": "parts"})


@breaks("I16")
def never_deleted(run: Artefacts) -> None:
    copy_of(run, "retracted").update(removed=False, visible=True)


# --- what shows only where the true instant of each row is known ---


def true_at(run: Artefacts, act: dict) -> float:
    return run.documents["instants"]["audit"][str(act["id"])]["at"]


def intend_after(run: Artefacts, name: str, act: dict) -> None:
    """Let the first intent of a delivery have been written just after an entry of the audit."""
    attempt = attempts_of(run, name)[0]
    run.documents["instants"]["attempt"][str(attempt["id"])]["intended_at"] = true_at(run, act) + 0.1


def intended_under_a_pause(run: Artefacts) -> None:
    """The call itself came within the second that is granted."""
    [paused] = (one for one in run.rows["audit"] if (one["event"], one["subject"]) == ("paused", "post:paused"))
    intend_after(run, "paused", paused)


def intended_after_the_retraction(run: Artefacts) -> None:
    intend_after(run, "retracted", audit_of(run, "retracted", "retraction_requested")[0])


def an_older_entry(run: Artefacts) -> None:
    """Nobody has set the clock back, and an entry is older than the one before it."""
    run.lists["interruptions"] = [one for one in run.lists["interruptions"] if one["kind"] != "clock"]


EXACT = {
    "I14": intended_under_a_pause,
    "I16": intended_after_the_retraction,
    "I18": an_older_entry,
}
"""Mutations of a run with true instants, by the invariant that each breaks."""
