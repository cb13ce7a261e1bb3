"""Mutated runs: each has one small fault, and the check of its invariant must find it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.chaos.artefacts import LISTED
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import INVARIANTS, judge_invariant
from tests.chaos.checker_tests.broken_actions import EXACT
from tests.chaos.checker_tests.mutation import (
    HOUR,
    MICRO,
    MUTATIONS,
    Row,
    SampleRun,
    breaks,
)

pytestmark = pytest.mark.long
LISTS = ("/2/statuses/user_timeline.json", "/2/statuses/user_timeline/biz.json")


def settings_of(run: SampleRun, platform: str) -> Row:
    settings: Row = run.documents["settings"]["platforms"][platform]
    return settings


@breaks("I1")
def made_twice_and_removed_unseen(run: SampleRun) -> None:
    """One copy was removed before any list had shown it: it was made all the same."""
    run.make_twice(run.copy("plain"), removed=True, visible=False, state="removed")
    run.add_entry(run.lists["log"][-1], kind="removed")


@breaks("I1")
def says_another_marker(run: SampleRun) -> None:
    """The words of one delivery carry another delivery's marker: the two keys disagree."""
    mine = run.row("busy")
    other = next(
        one
        for one in run.rows["delivery"]
        if one["account"] == mine["account"] and one is not mine
    )
    marker = json.loads(run.words(mine)["body"])["marker"]
    for row, code in ((mine, "0000-0000"), (other, marker["code"])):
        words = run.words(row)
        words["body"] = json.dumps(
            {**json.loads(words["body"]), "marker": {"code": code}}, ensure_ascii=False
        )


@breaks("I2")
def left_unknown(run: SampleRun) -> None:
    run.row("found")["state"] = "unknown"
    run.status("found")["state"] = "unknown"


@breaks("I2")
def read_for_ever(run: SampleRun) -> None:
    """A readback is no progress."""
    left_unknown(run)
    run.row("found")["updated_at"] = round(run.documents["plan"]["ended_at"] * MICRO)


@breaks("I3")
def part_without_an_intent(run: SampleRun) -> None:
    attempt = run.attempts("parts")[-1]
    run.rows["attempt"].remove(attempt)
    named = (attempt["delivery"], attempt["number"])
    run.journals = [
        [
            line
            for line in run.journals[0]
            if (line[1].get("delivery"), line[1].get("attempt")) != named
        ]
    ]


@breaks("I3")
def not_in_the_journal(run: SampleRun) -> None:
    mine = run.row("found")["id"]
    run.journals = [
        [line for line in run.journals[0] if line[1].get("delivery") != mine]
    ]


@breaks("I3")
def removed_from_the_journal_too_early(run: SampleRun) -> None:
    """The journal claims compaction up to its newest line, but all are younger than 90 days."""
    run.journals = [[(1, {"kept_since": run.journals[0][-1][1]["at"]})]]


@breaks("I3")
def recovered_otherwise(run: SampleRun) -> None:
    """Only the very calls that the audit says were recovered are excused."""
    run.rows["attempt"].remove(run.attempts("absent-twice")[-1])
    detail = json.dumps(
        {
            "calls": [
                {"rendered_hash": "0" * 64, "at": run.documents["plan"]["began_at"]}
            ]
        }
    )
    run.add_row(
        "audit", run.rows["audit"][0], event="attempts_recovered", detail=detail
    )


@breaks("I4")
def frozen_words_changed(run: SampleRun) -> None:
    words = run.words(run.row("later"))
    words["body"] = words["body"].replace("诈骗", "骗局")


def yes_of(run: SampleRun) -> Row:
    """Return the second of the two yeses to a post."""
    return run.audit("busy", "approval_given")[1]


@breaks("I5")
def approved_what_one_account_gets(run: SampleRun) -> None:
    """The fingerprint is that of one text of four."""
    text = next(one for one in run.rows["approvable_text"] if one["post"] == "plain")
    shown = json.loads(text["rendered_hashes"])
    text["rendered_hashes"] = json.dumps(dict([*shown.items()][:1]))


@breaks("I5")
def approved_by_who_wrote_it_before_another_saved(run: SampleRun) -> None:
    """The words were in force by the time of the yes; the last to save was somebody else."""
    wrote, moved, accepted = [
        row for row in run.rows["audit"] if row["event"] == "planned"
    ][:3]
    for entry, name in ((wrote, "wang"), (moved, "sun")):
        entry.update(
            event="post_saved",
            name=name,
            subject="busy",
            detail=json.dumps({"schedule": name}),
        )
    accepted.update(
        event="schedule_accepted",
        subject="schedule",
        detail=json.dumps({"sha256": "sun"}),
    )


@breaks("I5")
def approved_for_a_later_time(run: SampleRun) -> None:
    """F101: nobody had approved that it goes out five hours before the time that they saw."""
    for entry in run.audit("busy", "approval_given"):
        detail = json.loads(entry["detail"])
        later = datetime.fromisoformat(detail["scheduled_at"]) + timedelta(hours=5)
        entry["detail"] = json.dumps({**detail, "scheduled_at": later.isoformat()})


@breaks("I5")
def sent_after_it_was_unapproved(run: SampleRun) -> None:
    """The action was answered as done, but the older database does not know it."""
    at = run.call("busy")["t"] - 1
    run.lists["actions"].append(
        {"kind": "unapprove", "by": "li", "post": "busy", "asked_at": at, "at": at}
    )


@breaks("I5")
def published_by_one_persons_word(run: SampleRun) -> None:
    run.row("busy")["is_manually_confirmed"] = True
    published = run.audit("busy", "published")[0]
    run.add_row(
        "audit",
        published,
        event="resolved",
        role="person",
        name="li",
        after="published",
    )


def first_readbacks(run: SampleRun) -> list[Row]:
    """Return the readbacks that proved the absence of the first of two calls."""
    return [one for one in run.readbacks("absent-twice") if one["attempt"] == 1]


@breaks("I7")
def sent_again_after_one_readback(run: SampleRun) -> None:
    for readback in first_readbacks(run)[:-1]:
        run.rows["readback"].remove(readback)


@breaks("I7")
def read_not_far_back(run: SampleRun) -> None:
    for readback in first_readbacks(run):
        at = datetime.fromtimestamp(readback["at"] / MICRO, UTC)
        readback["detail"] = json.dumps({"covered_since": at.isoformat()})


def empty_lists(run: SampleRun, number: int, fault: str) -> None:
    """Let the lists that one of these readbacks read have come empty."""
    begins = first_readbacks(run)[number]["at"]
    ends = next(
        one["at"]
        for one in [*run.readbacks("absent-twice"), {"at": begins + MICRO}]
        if one["at"] > begins
    )
    for entry in run.lists["log"]:
        is_its = (
            entry["endpoint"] in LISTS
            and entry["account"] == run.copy("found")["account"]
        )
        if is_its and begins <= entry["t"] * MICRO < ends:
            entry["fault"] = fault


@breaks("I7")
def part_before_the_last_was_published(run: SampleRun) -> None:
    [found] = [
        one
        for one in run.readbacks("parts")
        if (one["attempt"], one["result"]) == (2, "published")
    ]
    run.rows["readback"].remove(found)


@breaks("I7")
def believed_a_clock_set_ahead(run: SampleRun) -> None:
    """By the hosts' clock hours lie between the two calls, by the platform's three seconds."""
    first, second = run.attempts("absent")
    made = run.call("absent")
    sooner = made["t"] - first["ended_at"] / MICRO - 3.0
    for entry in (
        one for one in run.lists["log"] if made["seq"] in {one["seq"], one.get("call")}
    ):
        entry["t"] -= sooner
    made["began"] = made["t"]
    ahead = {
        "from": first["ended_at"] / MICRO,
        "to": made["t"] + 10.0,
        "ahead": 8 * HOUR,
    }
    run.documents["plan"]["clocks"].append(ahead)
    later = round((8 * HOUR - sooner) * MICRO)
    second |= {
        name: second[name] + later
        for name in ("baseline_at", "intended_at", "ended_at")
    }
    for readback in (one for one in run.readbacks("absent") if one["attempt"] == 1):
        readback["at"] = first["ended_at"] + round(8 * HOUR * MICRO)


@breaks("I8")
def one_id_twice(run: SampleRun) -> None:
    mine = run.row("found")
    theirs = [
        one
        for one in run.rows["delivery"]
        if one["account"] == mine["account"] and one is not mine
    ]
    next(one for one in theirs if one["remote_id"])["remote_id"] = mine["remote_id"]


@breaks("I9")
def held_for_a_review_that_it_outlives(run: SampleRun) -> None:
    """A delivery is held for a review that it outlives.

    It was not urgent, its call was the newest, and it could have waited for the end of the longest
    review.
    """
    last = run.attempts("absent")[-1]
    last["intended_at"] = (
        max(attempt["intended_at"] for attempt in run.rows["attempt"]) + MICRO
    )
    last["ended_at"] = last["intended_at"] + MICRO
    expires_at = last["ended_at"] + round(HOUR * MICRO)
    run.row("absent").update(
        state="held", reason="review_possible", remote_id=None, expires_at=expires_at
    )


@breaks("I9")
def left_to_expire_while_a_review_may_hide_it(run: SampleRun) -> None:
    """F47: it was found absent in time, and nobody was asked before it expired."""
    settings_of(run, "weibo")["review"] = 60.0
    run.audit("absent", "absence_proven")[0]["after"] = "expired"
    run.row("absent")["expires_at"] = run.attempts("absent")[0]["ended_at"] + 50 * MICRO


@breaks("I9")
def expired_without_an_outage(run: SampleRun) -> None:
    run.documents["plan"]["outages"] = []
    run.duty("expired").update(
        end="published", expires=run.row("expired")["expires_at"] / MICRO + HOUR
    )


@breaks("I9")
def failed_unasked_without_a_refusal(run: SampleRun) -> None:
    """No duty says how it was to end."""
    run.duty("refused")["end"] = None
    run.attempts("refused")[0]["outcome"] = "busy"


@breaks("I9")
def too_late_though_tried(run: SampleRun) -> None:
    """It found no way in time; nothing has kept the daemon from another try."""
    [act] = run.audit("expired", "expired")
    act["detail"] = act["detail"].replace('"reason": "expired"', '"reason": "too_late"')
    facts = {
        "outcome": "not_sent",
        "detail": '{"reason": "connect"}',
        "ended_at": act["at"],
    }
    like = {**run.attempts("plain")[0], "delivery": run.row("expired")["id"], **facts}
    run.add_row("attempt", like, intended_at=act["at"] - 2 * MICRO)


@breaks("I9")
def cancelled_by_no_version(run: SampleRun) -> None:
    """It is recorded as removed from the schedule, but its return was never refused."""
    run.duty("left-out")["end"] = "published"
    run.row("left-out")["reason"] = "removed_from_schedule"
    run.rows["alert"] = [
        one for one in run.rows["alert"] if one["code"] != "reload_refused"
    ]


@breaks("I9")
def cancelled_where_it_may_expire(run: SampleRun) -> None:
    """Of several ends that are allowed it has none."""
    run.duty("busy")["end"] = "published|expired"
    run.row("busy").update(state="cancelled", reason="target_removed")


def external_post(run: SampleRun) -> tuple[Row, Row]:
    """Return the monitor's sighting of a foreign post, and the alert about it."""
    seen = next(
        one for one in run.rows["observed_post"] if not one["predates_monitoring"]
    )
    subject = f"account:{seen['account']}/by-hand"
    return seen, next(one for one in run.rows["alert"] if one["subject"] == subject)


@breaks("I11")
def made_by_an_unknown_call(run: SampleRun) -> None:
    """No list shows it any more; a call of ours has made it, and no delivery says so."""
    run.add_unknown_post(later=LISTED["weibo"])
    run.add_entry(run.entry(run.copy("plain"), "act"), post_id="unknown")


@breaks("I11")
def seen_too_late(run: SampleRun) -> None:
    seen, alert = external_post(run)
    seen["seen_at"] += round(2 * HOUR * MICRO)
    alert["at"] = seen["seen_at"]


@breaks("I12")
def removed_after_one_readback(run: SampleRun) -> None:
    for readback in run.readbacks("removed")[:-1]:
        run.rows["readback"].remove(readback)


@breaks("I12")
def version_skipped(run: SampleRun) -> None:
    act = run.audit("paused", "claimed")[0]
    detail = json.loads(act["detail"])
    act["detail"] = json.dumps({**detail, "version": detail["version"] + 1})


@breaks("I12")
def believed_unseen(run: SampleRun) -> None:
    for readback in run.readbacks("found"):
        if readback["result"] == "published":
            run.rows["readback"].remove(readback)


@breaks("I12")
def came_back_after_a_call(run: SampleRun) -> None:
    """Only a delivery without any call comes back when its post is put back."""
    [act] = run.audit("expired", "expired")
    detail = json.dumps({**json.loads(act["detail"]), "attempt": 1})
    run.add_row(
        "audit",
        act,
        role="planner",
        event="reinstated",
        before="expired",
        after="pending",
        detail=detail,
    )


@breaks("I12")
def came_back_against_a_person(run: SampleRun) -> None:
    """A delivery that a person has ended stays ended, even if the file says otherwise."""
    [act] = run.audit("expired", "expired")
    act.update(role="person", event="resolved")
    run.add_row(
        "audit",
        act,
        role="planner",
        event="reinstated",
        before="expired",
        after="pending",
    )


@breaks("I13")
def two_calls_at_once(run: SampleRun) -> None:
    """The first reply comes only after the second call."""
    first = run.attempts("busy")[0]
    where = ("recv", "/2/statuses/share.json", run.copy("busy")["account"])
    calls = [
        one
        for one in run.lists["log"]
        if (one["kind"], one["endpoint"], one["account"]) == where
    ]
    call = next(
        one
        for one in calls
        if first["intended_at"] <= one["t"] * MICRO <= first["ended_at"]
    )
    run.reply(call)["seq"] = run.lists["log"][-1]["seq"] + 1


@breaks("I15")
def before_the_cooldown_was_over(run: SampleRun) -> None:
    first, second = run.attempts("rate-limited")
    until = datetime.fromtimestamp(second["intended_at"] / MICRO + 30, UTC)
    first["detail"] = json.dumps({"until": until.isoformat()})


@breaks("I17")
def planned_twice(run: SampleRun) -> None:
    """One instant has two names."""
    first = run.row("missed")
    label = (
        datetime.fromisoformat(first["occurrence"])
        .astimezone(timezone(timedelta(hours=1)))
        .isoformat()
    )
    run.add_row("delivery", first, occurrence=label, remote_id=None)


@breaks("I21")
def two_revisions_published(run: SampleRun) -> None:
    row = run.row("plain")
    row["revision_hash"] = run.words(row)["revision_hash"] = "another"


@breaks("I22")
def planned_from_no_version(run: SampleRun) -> None:
    for version in run.documents["plan"]["versions"]:
        version["duties"] = [key for key in version["duties"] if key[0] != "later"]


@breaks("I22")
def left_out_of_a_large_version(run: SampleRun) -> None:
    """Of a version that asks for very much the rest may follow, but must."""
    run.documents["settings"]["together"] = 1
    run.rows["delivery"].remove(run.row("later"))


@breaks("I22")
def left_out_without_an_alert(run: SampleRun) -> None:
    """An account was added too late to a post, but people were not alerted to that."""
    run.rows["alert"] = [
        one for one in run.rows["alert"] if one["code"] != "accounts_added_late"
    ]


@breaks("I22")
def left_out_in_time(run: SampleRun) -> None:
    """An alert says that an account was added too late, but the post had not begun."""
    [alert] = (one for one in run.rows["alert"] if one["code"] == "accounts_added_late")
    run.add_row(
        "alert", alert, subject="later", at=run.rows["schedule"][0]["accepted_at"]
    )
    for version in run.documents["plan"]["versions"]:
        if any(duty[0] == "later" for duty in version["duties"]):
            version["duties"].append(["later", "once", "weibo-b"])


for invariant, changes in {
    "I1": {
        "part_made_twice": lambda run: run.make_twice(run.parts()[0]),
        "made_twice": lambda run: run.make_twice(run.copy("plain")),
        # By its text alone it would be another post; the marker shows whose it is.
        "made_twice_reworded": lambda run: run.make_twice(
            run.copy("rewritten"), text=f"转发 {run.copy('rewritten')['text']}"
        ),
        # A person's decision does not excuse a copy while the first one is published.
        "made_again_after_a_decision": lambda run: run.make_twice(
            run.copy("alike-resend")
        ),
    },
    "I2": {
        "hidden_hold": lambda run: run.alert("poison").update(
            cleared_at=run.alert("poison")["at"]
        ),
        "ended_without_reason": lambda run: run.row("refused").update(reason=None),
        "never_planned": lambda run: run.documents["plan"]["duties"].append(
            {**run.duty("plain"), "post": "lost"}
        ),
        "shown_otherwise": lambda run: run.status("poison").update(state="published"),
    },
    "I3": {
        "called_twice_in_one_attempt": lambda run: run.add_entry(
            run.call("found-after-death")
        ),
        "intended_for_another_part": lambda run: run.attempts("parts")[-1].update(
            part=1
        ),
        "intended_after_the_call": lambda run: run.attempts("found")[0].update(
            intended_at=round((run.call("found")["t"] + 1) * MICRO)
        ),
        "intended_and_forgotten": lambda run: run.rows["attempt"].remove(
            run.attempts("absent-twice")[-1]
        ),
        "intended_under_another_name": lambda run: run.journals[0][0][1].update(
            post="another"
        ),
        "attempted_for_nobody": lambda run: run.add_row(
            "attempt", run.attempts("found")[0], delivery=9999
        ),
    },
    "I4": {
        "arrived_changed": lambda run: run.copy("busy").update(text="不明内容"),
        "part_arrived_changed": lambda run: run.parts()[-1].update(text="不明内容"),
        "arrived_with_another_picture": lambda run: run.copy("busy").update(
            images=["0" * 64]
        ),
        "not_what_was_asked": lambda run: run.duty("busy").update(text_sha256="0" * 64),
        "arrived_without_the_words": lambda run: run.duty("busy").update(
            says=["第2区公安"]
        ),
        "kept_picture_changed": lambda run: run.rows["media"].append(
            {"sha256": "0" * 64, "data": b"other"}
        ),
    },
    "I5": {
        "approval_ended": lambda run: yes_of(run).update(event="unapproved"),
        "one_approval_short": lambda run: run.rows["audit"].remove(yes_of(run)),
        "approved_by_its_author": lambda run: yes_of(run).update(name="zhang"),
        "approved_by_who_saved_it": lambda run: [
            text.update(saved_by="wang")
            for text in run.rows["approvable_text"]
            if text["post"] == "busy"
        ],
        "approved_twice_by_one": lambda run: yes_of(run).update(name="Ｌi "),
        "approved_by_anybody": lambda run: yes_of(run).update(name="sun"),
        "restored_meanwhile": lambda run: yes_of(run).update(event="restored"),
        "other_words_approved": lambda run: run.attempts("busy")[0].update(
            rendered_hash="0" * 64
        ),
    },
    "I6": {
        "called_too_early": lambda run: run.duty("busy").update(
            due=run.call("busy")["t"] + 60
        ),
        "called_after_expiry": lambda run: run.duty("busy").update(
            expires=run.call("busy")["t"] - 1
        ),
        "called_too_late": lambda run: run.duty("plain").update(max_delay=-10),
    },
    "I7": {
        "sent_again_within_the_visibility_window": lambda run: settings_of(
            run, "weibo"
        ).update(visibility_window=60),
        "sent_again_where_none_may": lambda run: settings_of(run, "weibo").update(
            may_resend=False
        ),
        "sent_again_as_another_account": lambda run: run.attempts("absent")[1].update(
            identity="another"
        ),
        "sent_again_in_another_way": lambda run: [
            attempt.update(method=method)
            for attempt, method in zip(
                run.attempts("absent"), ("share", "update"), strict=True
            )
        ],
        "part_sent_as_another_account": lambda run: [
            attempt.update(identity="another")
            for attempt in run.attempts("parts")
            if attempt["part"]
        ],
        "sent_again_though_found": lambda run: run.add_row(
            "readback", first_readbacks(run)[-1], result="possible_match"
        ),
        "sent_again_after_an_emptied_list": lambda run: empty_lists(
            run, -1, "empty_list"
        ),
        # The last readback read a whole list, the first one did not.
        "sent_again_after_a_list_emptied_among_others": lambda run: empty_lists(
            run, 0, "empty_list+list_late"
        ),
        "resolved_by_nobody": lambda run: run.audit("alike-resend", "resolved")[
            0
        ].update(event="late_outcome_recorded"),
        "part_sent_again_without_readbacks": lambda run: run.attempts("parts")[
            -2
        ].update(outcome="unknown"),
        "sent_though_recorded_as_not_sent": lambda run: run.attempts("found")[0].update(
            outcome="not_sent"
        ),
    },
    "I8": {
        # A call of ours has deleted it.
        "deleted_and_published": lambda run: run.add_entry(
            run.entry(run.copy("busy"), "act"),
            kind="removed",
            endpoint="/2/statuses/destroy.json",
        ),
        "believed_in_anothers_name": lambda run: run.reply(run.call("busy")).update(
            fault="list_late+wrong_account"
        ),
        "claims_what_was_not_made": lambda run: run.row("found").update(
            remote_id="nowhere"
        ),
        "claims_anothers_post": lambda run: run.row("found").update(
            remote_id=run.copy("paused")["id"]
        ),
        "failed_and_live": lambda run: run.row("busy").update(
            state="failed", remote_id=None
        ),
        "held_as_absent_and_live": lambda run: run.row("busy").update(
            state="held", reason="not_published", remote_id=None
        ),
    },
    "I9": {
        "lost_after_a_decision_to_send": lambda run: run.row("blocked").update(
            state="expired", reason="expired"
        ),
        "failed_without_a_refusal": lambda run: run.attempts("refused")[0].update(
            outcome="busy"
        ),
        "held_without_a_rule": lambda run: run.row("signed-out").update(
            reason="too_busy"
        ),
        "held_as_absent_where_another_call_is_allowed": lambda run: run.row(
            "signed-out"
        ).update(reason="not_published"),
        "held_for_one_crash": lambda run: run.lists["interruptions"].pop(0),
        "ended_for_no_later_instant": lambda run: run.rows["delivery"].remove(
            run.row("missed", 1)
        ),
        # Neither of the instants that the outage has covered went out after it.
        "newest_missed_left_out": lambda run: run.row("missed", 1).update(
            state="expired", reason="too_late"
        ),
    },
    "I10": {
        "no_alert": lambda run: run.rows["alert"].remove(run.alert("refused")),
        "alert_too_late": lambda run: run.alert("expired").update(
            at=run.alert("expired")["at"] + 61 * MICRO
        ),
    },
    "I11": {
        # The alert is older than what it would have to report.
        "alert_about_another": lambda run: external_post(run)[1].update(
            at=external_post(run)[1]["at"] - MICRO
        ),
        # Nobody here made it, and the monitor has not seen it for longer than its interval.
        "unknown_post_on_the_account": lambda run: run.add_unknown_post(),
        "seen_too_late_after_the_outcome": lambda run: run.see_late(2 * HOUR + 90),
        # One more would have pushed it off.
        "unknown_post_still_on_the_list": lambda run: run.add_unknown_post(
            later=LISTED["weibo"] - 1
        ),
        "removed_yet_live": lambda run: run.copy("removed").update(
            removed=False, visible=True
        ),
        "cancelled_yet_live": lambda run: run.row("not-sent").update(
            state="cancelled", remote_id=None
        ),
    },
    "I12": {
        "no_such_transition": lambda run: run.audit("plain", "became_due")[0].update(
            event="published"
        ),
        "brought_by_nobody_allowed": lambda run: run.audit("plain", "became_due")[
            0
        ].update(role="planner"),
        "an_end_reverted": lambda run: run.audit("paused", "claimed")[0].update(
            before="expired"
        ),
        "changed_after_its_end": lambda run: run.row("earlier").update(
            state="published"
        ),
    },
    "I13": {
        "one_fencing_token_twice": lambda run: run.attempts("signed-out")[1].update(
            fencing_token=run.attempts("signed-out")[0]["fencing_token"]
        ),
        "last_attempt_lost": lambda run: run.rows["attempt"].remove(
            run.attempts("absent-twice")[-1]
        ),
        "number_skipped": lambda run: run.attempts("absent-twice")[-1].update(number=3),
    },
    "I15": {
        "over_the_hour": lambda run: settings_of(run, "weibo").update(per_hour=2),
        "over_the_day": lambda run: settings_of(run, "weibo").update(per_day=2),
        "under_the_min_interval": lambda run: settings_of(run, "weibo").update(
            min_interval=60
        ),
        "called_within_the_wait_of_a_429": lambda run: run.documents["settings"].update(
            retry_after=60
        ),
    },
    "I16": {
        "never_deleted": lambda run: run.copy("retracted").update(
            removed=False, visible=True
        ),
    },
    "I17": {
        "planned_unasked": lambda run: run.documents["plan"]["duties"].remove(
            run.duty("later")
        ),
    },
    "I18": {
        "an_entry_lost": lambda run: run.rows["audit"].remove(
            run.audit("plain", "claimed")[0]
        ),
        "last_entry_lost": lambda run: run.rows["audit"].remove(
            run.audit("poison", "lease_expired")[-1]
        ),
        "an_entry_rewritten": lambda run: run.audit("plain", "claimed")[0].update(
            name="somebody"
        ),
        "another_chain": lambda run: run.lists["anchors"][0].update(chain="0" * 64),
        "the_end_cut_off": lambda run: run.lists["anchors"][-1].update(
            sequence=len(run.rows["audit"]) + 1
        ),
        "an_action_not_recorded": lambda run: run.lists["actions"].append(
            {
                "kind": "cancel",
                "at": run.documents["plan"]["ended_at"],
                "by": "chen",
                "post": "later",
            }
        ),
    },
    "I19": {
        "a_secret_found": lambda run: run.leaks.append(("cana…", "daemon.log")),
    },
    "I20": {
        "delayed_by_others": lambda run: run.lists["timings"].append(
            {"delay": 7.0, "during_fault": True}
        ),
    },
    "I22": {
        "left_out_of_a_version": lambda run: run.audit("plain", "planned")[0].update(
            at=run.audit("plain", "planned")[0]["at"] + 2 * MICRO
        ),
        "in_force_what_nobody_gave": lambda run: run.rows["schedule"][0].update(
            text="[[post]]"
        ),
    },
    "I23": {
        "called_elsewhere": lambda run: run.lists["connections"].append(
            {"host": "api.weibo.com", "port": 443}
        ),
        "stamped_otherwise": lambda run: next(
            one for one in run.rows["database_info"] if one["key"] == "environment"
        ).update(value="live"),
    },
    "I24": {
        "grown_too_large": lambda run: run.lists["metrics"][-1].update(rss=200_000),
    },
    "I25": {
        "replayed_otherwise": lambda run: run.replay.lists["log"].pop(),
    },
}.items():
    MUTATIONS[invariant] |= changes

CASES = [
    (invariant, name)
    for invariant, mutations in MUTATIONS.items()
    for name in mutations
]


def violations_of(run, number):
    """Return the violations of an invariant, as far as they name a subject and evidence."""
    [invariant] = (one for one in INVARIANTS if one.id == number)
    found = judge_invariant(invariant, history_of(run)).violations
    return (
        []
        if not all(one.subject and one.what and one.evidence for one in found)
        else found
    )


IN_CI = 3
"""One mutation of so many is judged in CI; scripts/test-extra has the others judged."""


@pytest.mark.parametrize(
    ("invariant", "name"),
    [
        pytest.param(*case, marks=pytest.mark.extra if place % IN_CI else ())
        for place, case in enumerate(CASES)
    ],
)
def test_each_mutation_is_found_by_the_check_of_its_invariant(run, invariant, name):
    """Each sound run violates the invariant after the mutation, with a subject and evidence."""
    MUTATIONS[invariant][name](run)
    assert violations_of(run, invariant)


@pytest.mark.parametrize("invariant", EXACT)
def test_each_mutation_of_true_instants_is_found(exact_run, invariant):
    """With the true instant of each row, the order of intents and of actions is judged exactly."""
    EXACT[invariant](exact_run)
    assert violations_of(exact_run, invariant)


def test_every_invariant_can_be_broken():
    """A check that no mutation could trip would be worth nothing (I1-I25)."""
    assert MUTATIONS.keys() == {invariant.id for invariant in INVARIANTS}
