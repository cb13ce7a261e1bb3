"""Spoilings of what people want and what the clock says: edits, pauses, expiry, missed instants, wrong clocks, ends."""

import json

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker_tests.pieces import (
    acts_on,
    attempts_of,
    breaks,
    call_of,
    copy_of,
    duty_of,
    entry_of,
    reported,
    row_of,
)
from tests.chaos.checker_tests.run_builder import BEGAN, EARLIER, iso

AHEAD = 8 * 3600.0
"""Seconds by which the hosts' clock is ahead for a while."""


@breaks("I4")
def edited_and_forgotten(run: Artefacts) -> None:
    """Nobody was asked about the edit: absence was shown, and the old words went out."""
    row = row_of(run, "edited in doubt")
    [ruled] = acts_on(run, "edited in doubt", "resolved")
    [shown] = acts_on(run, "edited in doubt", "absence_proven")
    run.rows["audit"].remove(ruled)
    shown["after"], row["reason"] = "due", None


@breaks("I4")
def asked_about_something_else(run: Artefacts) -> None:
    """A person let it go who was asked about a likeness, not about the edit."""
    [shown] = acts_on(run, "edited in doubt", "absence_proven")
    shown["detail"] = shown["detail"].replace('"edited"', '"not_published"')


@breaks("I4")
def called_where_left_out(run: Artefacts) -> None:
    """The account was taken out of the post before its only call."""
    row, call = row_of(run, "busy"), call_of(run, "busy")
    version = run.rows["schedule"][-1]
    others = [name for name in ("weibo-north", "weibo-south") if name != row["account"]]
    text = f'[[post]]\nid = "{row["post"]}"\ntitle = "警惕诈骗 {row["post"]}"\nto = {json.dumps(others)}\n'
    run.rows["schedule"].append({**version, "text": text, "accepted_at": round((call["t"] - 3) * 1e6)})
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])


@breaks("I4")
def called_when_struck(run: Artefacts) -> None:
    """The post was taken out of the schedule before its only call."""
    version = {**run.rows["schedule"][-1], "text": '[[post]]\nid = "another"\ntitle = "another"\nto = []\n'}
    run.rows["schedule"].append({**version, "accepted_at": round((call_of(run, "busy")["t"] - 3) * 1e6)})
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])


@breaks("I6")
def began_after_its_expiry(run: Artefacts) -> None:
    call_of(run, "expired on its way")["began"] = call_of(run, "expired on its way")["t"]


@breaks("I14")
def began_under_a_pause(run: Artefacts) -> None:
    call_of(run, "paused on its way")["began"] = call_of(run, "paused on its way")["t"]


@breaks("I6")
def missed_and_made_up_for(run: Artefacts) -> None:
    """The outage covered another instant after the one that went out."""
    name = f"{reported('missed')}-daily"
    newer = [one for one in run.rows["delivery"] if one["post"] == name][-1]
    newest = {"due_at": newer["due_at"] + 1_000_000, "occurrence": iso(newer["due_at"] / 1e6 + 1), "attempts": 0}
    run.rows["delivery"].append({**newer, **newest, "id": len(run.rows["delivery"]) + 1})


@breaks("I10")
def nobody_told_of_the_missed(run: Artefacts) -> None:
    """The alert that stands for the missed instants is of another post."""
    alert = next(one for one in run.rows["alert"] if one["code"] == "occurrences_missed")
    alert["subject"] = reported("missed")


@breaks("I16")
def called_though_withdrawn(run: Artefacts) -> None:
    """The withdrawal was written before the call, while the intent stood already."""
    act = {**acts_on(run, "busy", "claimed")[0], "event": "cancelled", "before": "sending", "after": "sending"}
    call = call_of(run, "busy")
    run.rows["audit"].append({**act, "id": len(run.rows["audit"]) + 1, "at": round((call["t"] - 2) * 1e6)})


@breaks("I7")
def believed_a_clock_set_ahead(run: Artefacts) -> None:
    """By the hosts' clock hours lie between the two calls, by the platform's three seconds."""
    first, second = attempts_of(run, "clock set ahead")[:2]
    made = call_of(run, "clock set ahead")
    heard = [one for one in run.lists["log"] if one["kind"] == "recv" and one["account"] == made["account"]]
    earlier = max(one["t"] for one in heard if one["t"] < made["t"] and one["fault"] == "drop_before")
    sooner = made["t"] - earlier - 3.0
    for line in run.lists["log"]:
        if made["seq"] in {line["seq"], line.get("call")}:
            line["t"] -= sooner
            line["began"] = line["t"]
    for name in ("baseline_at", "intended_at", "ended_at"):
        second[name] -= round(sooner * 1e6)
    for line in (one for _number, one in run.journal or () if one["attempt"] == 2):
        if line["delivery"] == second["delivery"]:
            line["at"] = iso(second["intended_at"] / 1e6)
    looks = [one for one in run.rows["readback"] if (one["delivery"], one["attempt"]) == (first["delivery"], 1)]
    looks[-1]["at"] = looks[0]["at"] + 1000


@breaks("I4")
def repeating_edit_forgotten(run: Artefacts) -> None:
    """A repeating post was edited before an instant of it, which went out with the old title."""
    name = f"{reported('missed')}-daily"
    newer = [one for one in run.rows["delivery"] if one["post"] == name][-1]
    text = f'[[post]]\nid = "{name}"\ntitle = "another"\nto = ["{newer["account"]}"]\n'
    version = {**run.rows["schedule"][-1], "text": text, "accepted_at": newer["due_at"] - 1_000_000}
    run.rows["schedule"].append(version)
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])


@breaks("I8")
def deleted_and_published(run: Artefacts) -> None:
    """A call of ours has deleted it."""
    entry = {**entry_of(run, copy_of(run, "busy"), "act"), "kind": "removed", "seq": len(run.lists["log"]) + 1}
    run.lists["log"].append({**entry, "endpoint": "/2/statuses/destroy.json"})


@breaks("I8")
def held_as_absent_and_live(run: Artefacts) -> None:
    row_of(run, "busy").update(state="held", reason="not_published", remote_id=None)


@breaks("I8")
def believed_in_anothers_name(run: Artefacts) -> None:
    seq = call_of(run, "not_sent")["seq"]
    reply = next(one for one in run.lists["log"] if one["kind"] == "reply" and one["call"] == seq)
    reply["fault"] = "list_late+wrong_account"
    attempts_of(run, "not_sent")[1]["outcome"] = "published"


@breaks("I9")
def failed_unasked_without_a_refusal(run: Artefacts) -> None:
    """No duty says how it was to end."""
    duty_of(run, "refused")["end"] = None
    attempts_of(run, "refused")[0]["outcome"] = "busy"


@breaks("I9")
def ended_for_no_later_instant(run: Artefacts) -> None:
    name = f"{reported('missed')}-daily"
    run.rows["delivery"].remove([one for one in run.rows["delivery"] if one["post"] == name][-1])


@breaks("I9")
def too_late_though_tried(run: Artefacts) -> None:
    """It found no way in time; nothing has kept the daemon from another try."""
    [act] = acts_on(run, "expired", "expired")
    act["detail"] = act["detail"].replace('"reason": "expired"', '"reason": "too_late"')
    row = row_of(run, "expired")
    like = {
        **attempts_of(run, "plain")[0],
        "id": 9000,
        "delivery": row["id"],
        "outcome": "not_sent",
        "ended_at": act["at"],
    }
    run.rows["attempt"].append({**like, "intended_at": act["at"] - 2_000_000, "detail": '{"reason": "connect"}'})


@breaks("I9")
def newest_missed_left_out(run: Artefacts) -> None:
    """Neither of the instants that the outage has covered went out after it."""
    name = f"{reported('missed')}-daily"
    newer = [one for one in run.rows["delivery"] if one["post"] == name][-1]
    newer.update(state="expired", reason="too_late")


@breaks("I9")
def cancelled_by_no_version(run: Artefacts) -> None:
    duty_of(run, "left out in doubt")["end"] = "published"
    row_of(run, "left out in doubt")["reason"] = "removed_from_schedule"


@breaks("I9")
def cancelled_where_it_may_expire(run: Artefacts) -> None:
    """Of several ends that are allowed it has none."""
    duty_of(run, "busy")["end"] = "published|expired"
    row_of(run, "busy").update(state="cancelled", reason="target_removed")


@breaks("I12")
def changed_after_its_end(run: Artefacts) -> None:
    """What had ended before the run is live again."""
    next(one for one in run.rows["delivery"] if one["id"] == EARLIER)["state"] = "published"


def with_instants(run: Artefacts) -> Artefacts:
    """Add the true instant of each row, whatever the hosts' clock showed."""
    columns = {
        "attempt": ("intended_at", "ended_at"),
        "audit": ("at",),
        "readback": ("at",),
        "schedule": ("accepted_at",),
        "alert": ("at",),
    }
    run.documents["instants"] = {
        table: {str(row["id"]): {name: _true(row[name]) for name in names if row[name]} for row in run.rows[table]}
        for table, names in columns.items()
    }
    run.documents["plan"]["clocks"] = []
    return run


def _true(stamp: int) -> float:
    at = stamp / 1e6
    return at - AHEAD if at > BEGAN + AHEAD / 2 else at


@breaks("I14")
def announced_under_a_pause(run: Artefacts) -> None:
    """The call itself came within the second that is granted."""
    instants = with_instants(run).documents["instants"]
    paused = next(one for one in run.rows["audit"] if one["event"] == "paused" and one["role"] == "person")
    attempt = attempts_of(run, "paused")[0]
    instants["attempt"][str(attempt["id"])]["intended_at"] = paused["at"] / 1e6 + 0.1


@breaks("I16")
def announced_after_the_retraction(run: Artefacts) -> None:
    instants = with_instants(run).documents["instants"]
    [act] = acts_on(run, "retracted", "retraction_requested")
    instants["attempt"][str(attempts_of(run, "retracted")[0]["id"])]["intended_at"] = act["at"] / 1e6 + 0.1


@breaks("I18")
def an_entry_of_yesterday(run: Artefacts) -> None:
    """No clock was set, and an entry is older than the one before it."""
    with_instants(run)
    run.rows["audit"][5]["at"] -= 86_400_000_000


@breaks("I22")
def left_out_of_a_large_version(run: Artefacts) -> None:
    """Of a version that asks for very much the rest may follow, but must."""
    run.documents["settings"]["together"] = 1
    run.rows["delivery"].remove(row_of(run, "later"))
