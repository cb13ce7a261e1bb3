"""Spoilings of what people want and what the clock says: edits, pauses, expiry, missed instants, wrong clocks."""

import json

from tests.chaos.checker.reading import Artefacts
from tests.chaos.checker_tests.pieces import acts_on, attempts_of, call_of, reported, row_of
from tests.chaos.checker_tests.run_builder import iso


def edited_and_forgotten(run: Artefacts) -> None:
    """Nobody was asked about the edit: absence was shown, and the old words went out."""
    row = row_of(run, "edited in doubt")
    [ruled] = acts_on(run, "edited in doubt", "resolved")
    [shown] = acts_on(run, "edited in doubt", "absence_proven")
    run.rows["audit"].remove(ruled)
    shown["after"], row["reason"] = "due", None


def asked_about_something_else(run: Artefacts) -> None:
    """A person let it go who was asked about a likeness, not about the edit."""
    [shown] = acts_on(run, "edited in doubt", "absence_proven")
    shown["detail"] = shown["detail"].replace('"edited"', '"not_published"')


def called_where_left_out(run: Artefacts) -> None:
    """The account was taken out of the post before its only call."""
    row, call = row_of(run, "busy"), call_of(run, "busy")
    version = run.rows["schedule"][-1]
    others = [name for name in ("weibo-north", "weibo-south") if name != row["account"]]
    text = f'[[post]]\nid = "{row["post"]}"\ntitle = "警惕诈骗 {row["post"]}"\nto = {json.dumps(others)}\n'
    run.rows["schedule"].append({**version, "text": text, "accepted_at": round((call["t"] - 3) * 1e6)})
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])


def called_when_struck(run: Artefacts) -> None:
    """The post was taken out of the schedule before its only call."""
    version = {**run.rows["schedule"][-1], "text": '[[post]]\nid = "another"\ntitle = "another"\nto = []\n'}
    run.rows["schedule"].append({**version, "accepted_at": round((call_of(run, "busy")["t"] - 3) * 1e6)})
    run.rows["schedule"].sort(key=lambda one: one["accepted_at"])


def began_after_its_expiry(run: Artefacts) -> None:
    call_of(run, "expired on its way")["began"] = call_of(run, "expired on its way")["t"]


def began_under_a_pause(run: Artefacts) -> None:
    call_of(run, "paused on its way")["began"] = call_of(run, "paused on its way")["t"]


def missed_and_made_up_for(run: Artefacts) -> None:
    """The outage covered another instant after the one that went out."""
    name = f"{reported('missed')}-daily"
    newer = [one for one in run.rows["delivery"] if one["post"] == name][-1]
    newest = {"due_at": newer["due_at"] + 1_000_000, "occurrence": iso(newer["due_at"] / 1e6 + 1), "attempts": 0}
    run.rows["delivery"].append({**newer, **newest, "id": len(run.rows["delivery"]) + 1})


def nobody_told_of_the_missed(run: Artefacts) -> None:
    """The alert that stands for the missed instants is of another post."""
    alert = next(one for one in run.rows["alert"] if one["code"] == "occurrences_missed")
    alert["subject"] = reported("missed")


def called_though_withdrawn(run: Artefacts) -> None:
    """The withdrawal was written before the call, while the intent stood already."""
    act = {**acts_on(run, "busy", "claimed")[0], "event": "cancelled", "before": "sending", "after": "sending"}
    call = call_of(run, "busy")
    run.rows["audit"].append({**act, "id": len(run.rows["audit"]) + 1, "at": round((call["t"] - 2) * 1e6)})


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
