"""Mutations of a good run: one small change for each way to break an invariant."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker_tests.mutation import (
    MUTATIONS,
    Row,
    add_entry,
    add_row,
    alert_of,
    attempts_of,
    audit_of,
    breaks,
    call_of,
    copy_of,
    duty_of,
    entry_of,
    readbacks_of,
    reply_to,
    row_of,
    status_of,
    words_of,
)

HOUR = 3600.0
MICRO = 1_000_000
LISTS = ("/2/statuses/user_timeline.json", "/2/statuses/user_timeline/biz.json")


def again(run: Artefacts, name: str, **changes: Any) -> None:
    """Let the platform make it twice in one call."""
    run.documents["posts"].append({**copy_of(run, name), "id": "twice", **changes})
    add_entry(run, entry_of(run, copy_of(run, name), "act"), post_id="twice")


@breaks("I1")
def made_twice_and_removed_unseen(run: Artefacts) -> None:
    """One copy was removed before any list had shown it: it was made all the same."""
    again(run, "plain", removed=True, visible=False, state="removed")
    add_entry(run, run.lists["log"][-1], kind="removed")


@breaks("I1")
def says_another_marker(run: Artefacts) -> None:
    """The words of one delivery carry what is another's marker: the two keys disagree."""
    mine = row_of(run, "busy")
    other = next(one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine)
    marker = json.loads(words_of(run, mine)["body"])["marker"]
    for row, code in ((mine, "0000-0000"), (other, marker["code"])):
        words = words_of(run, row)
        words["body"] = json.dumps({**json.loads(words["body"]), "marker": {"code": code}}, ensure_ascii=False)


def parts_of(run: Artefacts) -> list[Row]:
    """Return the further parts of the thread that has several, as they stand on the platform."""
    thread = copy_of(run, "parts")["id"]
    return [post for post in run.documents["posts"] if post["extra"].get("thread") == thread]


@breaks("I1")
def part_made_twice(run: Artefacts) -> None:
    part = parts_of(run)[0]
    run.documents["posts"].append({**part, "id": "twice"})
    add_entry(run, entry_of(run, part, "act"), post_id="twice")


@breaks("I2")
def hidden_hold(run: Artefacts) -> None:
    alert_of(run, "poison")["cleared_at"] = alert_of(run, "poison")["at"]


@breaks("I2")
def left_unknown(run: Artefacts) -> None:
    row_of(run, "found")["state"] = "unknown"
    status_of(run, "found")["state"] = "unknown"


@breaks("I2")
def read_for_ever(run: Artefacts) -> None:
    """A readback is no progress."""
    left_unknown(run)
    row_of(run, "found")["updated_at"] = round(run.documents["plan"]["ended_at"] * MICRO)


@breaks("I3")
def part_without_an_intent(run: Artefacts) -> None:
    attempt = attempts_of(run, "parts")[-1]
    run.rows["attempt"].remove(attempt)
    named = (attempt["delivery"], attempt["number"])
    run.journals = [[line for line in run.journals[0] if (line[1].get("delivery"), line[1].get("attempt")) != named]]


@breaks("I3")
def not_in_the_journal(run: Artefacts) -> None:
    mine = row_of(run, "found")["id"]
    run.journals = [[line for line in run.journals[0] if line[1].get("delivery") != mine]]


@breaks("I3")
def removed_from_the_journal_too_early(run: Artefacts) -> None:
    """The journal says that it was compacted up to its newest line; all of them are younger than 90 days."""
    run.journals = [[(1, {"kept_since": run.journals[0][-1][1]["at"]})]]


@breaks("I3")
def recovered_otherwise(run: Artefacts) -> None:
    """Only the very calls that the audit says were recovered are excused."""
    run.rows["attempt"].remove(attempts_of(run, "absent-twice")[-1])
    detail = json.dumps({"calls": [{"rendered_hash": "0" * 64, "at": run.documents["plan"]["began_at"]}]})
    add_row(run, "audit", run.rows["audit"][0], event="attempts_recovered", detail=detail)


@breaks("I4")
def arrived_changed(run: Artefacts) -> None:
    copy_of(run, "busy")["text"] += "！"


@breaks("I4")
def part_arrived_changed(run: Artefacts) -> None:
    parts_of(run)[-1]["text"] += "！"


@breaks("I4")
def frozen_words_changed(run: Artefacts) -> None:
    words = words_of(run, row_of(run, "later"))
    words["body"] = words["body"].replace("诈骗", "骗局")


@breaks("I5")
def approval_withdrawn(run: Artefacts) -> None:
    approval_of(run)["ended_at"] = attempts_of(run, "busy")[0]["intended_at"] / MICRO - 1


def approval_of(run: Artefacts) -> Row:
    wanted = attempts_of(run, "busy")[0]["rendered_hash"]
    return next(one for one in run.lists["approvals"] if one["rendition"] == wanted)


def first_readbacks(run: Artefacts) -> list[Row]:
    """Return those that proved the absence of the first call of two."""
    return [one for one in readbacks_of(run, "absent-twice") if one["attempt"] == 1]


@breaks("I7")
def sent_again_after_one_readback(run: Artefacts) -> None:
    for readback in first_readbacks(run)[:-1]:
        run.rows["readback"].remove(readback)


@breaks("I7")
def sent_again_before_the_settle_time(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["settle"] = 60


@breaks("I7")
def read_not_far_back(run: Artefacts) -> None:
    for readback in first_readbacks(run):
        at = datetime.fromtimestamp(readback["at"] / MICRO, UTC)
        readback["detail"] = json.dumps({"covered_since": at.isoformat()})


@breaks("I7")
def sent_again_though_found(run: Artefacts) -> None:
    add_row(run, "readback", first_readbacks(run)[-1], result="possible_match", detail="{}")


def empty_lists(run: Artefacts, number: int, fault: str) -> None:
    """Let the lists that one of these readbacks read have come empty."""
    begins = first_readbacks(run)[number]["at"]
    ends = next(one["at"] for one in [*readbacks_of(run, "absent-twice"), {"at": begins + MICRO}] if one["at"] > begins)
    for entry in run.lists["log"]:
        is_its = entry["endpoint"] in LISTS and entry["account"] == copy_of(run, "found")["account"]
        if is_its and begins <= entry["t"] * MICRO < ends:
            entry["fault"] = fault


@breaks("I7")
def sent_again_after_an_emptied_list(run: Artefacts) -> None:
    empty_lists(run, -1, "empty_list")


@breaks("I7")
def sent_again_after_a_list_emptied_among_others(run: Artefacts) -> None:
    """The last readback read a whole list, the first one did not."""
    empty_lists(run, 0, "empty_list+list_late")


@breaks("I7")
def sent_again_where_none_may(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["may_resend"] = False


@breaks("I7")
def resolved_by_nobody(run: Artefacts) -> None:
    audit_of(run, "alike-resend", "resolved")[0]["event"] = "late_outcome_recorded"


@breaks("I7")
def part_sent_again_without_readbacks(run: Artefacts) -> None:
    next(one for one in attempts_of(run, "parts") if one["outcome"] == "busy")["outcome"] = "unknown"


@breaks("I7")
def part_before_the_last_was_published(run: Artefacts) -> None:
    [found] = [one for one in readbacks_of(run, "parts") if (one["attempt"], one["result"]) == (2, "published")]
    run.rows["readback"].remove(found)


@breaks("I7")
def believed_a_clock_set_ahead(run: Artefacts) -> None:
    """By the hosts' clock hours lie between the two calls, by the platform's three seconds."""
    first, second = attempts_of(run, "absent")
    made = call_of(run, "absent")
    sooner = made["t"] - first["ended_at"] / MICRO - 3.0
    for entry in (one for one in run.lists["log"] if made["seq"] in {one["seq"], one.get("call")}):
        entry["t"] -= sooner
    made["began"] = made["t"]
    ahead = {"from": first["ended_at"] / MICRO, "to": made["t"] + 10.0, "ahead": 8 * HOUR}
    run.documents["plan"]["clocks"].append(ahead)
    later = round((8 * HOUR - sooner) * MICRO)
    second |= {name: second[name] + later for name in ("baseline_at", "intended_at", "ended_at")}
    for readback in (one for one in readbacks_of(run, "absent") if one["attempt"] == 1):
        readback["at"] = first["ended_at"] + round(8 * HOUR * MICRO)


@breaks("I8")
def one_id_twice(run: Artefacts) -> None:
    mine = row_of(run, "found")
    theirs = [one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine]
    next(one for one in theirs if one["remote_id"])["remote_id"] = mine["remote_id"]


@breaks("I8")
def deleted_and_published(run: Artefacts) -> None:
    """A call of ours has deleted it."""
    made = entry_of(run, copy_of(run, "busy"), "act")
    add_entry(run, made, kind="removed", endpoint="/2/statuses/destroy.json")


@breaks("I8")
def believed_in_anothers_name(run: Artefacts) -> None:
    reply_to(run, call_of(run, "busy"))["fault"] = "list_late+wrong_account"


@breaks("I9")
def expired_without_an_outage(run: Artefacts) -> None:
    run.documents["plan"]["outages"] = []
    duty_of(run, "expired").update(end="published", expires=row_of(run, "expired")["expires_at"] / MICRO + HOUR)


@breaks("I9")
def failed_unasked_without_a_refusal(run: Artefacts) -> None:
    """No duty says how it was to end."""
    duty_of(run, "refused")["end"] = None
    attempts_of(run, "refused")[0]["outcome"] = "busy"


@breaks("I9")
def too_late_though_tried(run: Artefacts) -> None:
    """It found no way in time; nothing has kept the daemon from another try."""
    [act] = audit_of(run, "expired", "expired")
    act["detail"] = act["detail"].replace('"reason": "expired"', '"reason": "too_late"')
    facts = {"outcome": "not_sent", "detail": '{"reason": "connect"}', "ended_at": act["at"]}
    like = {**attempts_of(run, "plain")[0], "delivery": row_of(run, "expired")["id"], **facts}
    add_row(run, "attempt", like, intended_at=act["at"] - 2 * MICRO)


@breaks("I9")
def cancelled_by_no_version(run: Artefacts) -> None:
    """It is said to have been removed from the schedule, but that it came back was never refused."""
    duty_of(run, "left-out")["end"] = "published"
    row_of(run, "left-out")["reason"] = "removed_from_schedule"
    run.rows["alert"] = [one for one in run.rows["alert"] if one["code"] != "reload_refused"]


@breaks("I9")
def cancelled_where_it_may_expire(run: Artefacts) -> None:
    """Of several ends that are allowed it has none."""
    duty_of(run, "busy")["end"] = "published|expired"
    row_of(run, "busy").update(state="cancelled", reason="target_removed")


@breaks("I11")
def unknown_post_on_the_account(run: Artefacts) -> None:
    """Nobody here made it, and the monitor has not seen it for longer than its interval."""
    words = {"text": "不明内容", "html": "", "title": ""}
    run.documents["posts"].append({**copy_of(run, "plain"), "id": "unknown", **words})


def external_post(run: Artefacts) -> tuple[Row, Row]:
    """Return what the monitor has seen of a post that somebody else made, and the alert about it."""
    seen = next(one for one in run.rows["observed_post"] if not one["predates_monitoring"])
    subject = f"account:{seen['account']}/by-hand"
    return seen, next(one for one in run.rows["alert"] if one["subject"] == subject)


@breaks("I11")
def alert_about_another(run: Artefacts) -> None:
    """The alert is older than what it would have to report."""
    external_post(run)[1]["at"] -= MICRO


@breaks("I11")
def seen_too_late(run: Artefacts) -> None:
    seen, alert = external_post(run)
    seen["seen_at"] += round(2 * HOUR * MICRO)
    alert["at"] = seen["seen_at"]


@breaks("I12")
def removed_after_one_readback(run: Artefacts) -> None:
    for readback in readbacks_of(run, "removed")[:-1]:
        run.rows["readback"].remove(readback)


@breaks("I12")
def version_skipped(run: Artefacts) -> None:
    act = audit_of(run, "paused", "claimed")[0]
    act["detail"] = act["detail"].replace('"version": 3', '"version": 4')


@breaks("I12")
def believed_unseen(run: Artefacts) -> None:
    for readback in readbacks_of(run, "found"):
        if readback["result"] == "published":
            run.rows["readback"].remove(readback)


@breaks("I13")
def one_fencing_token_twice(run: Artefacts) -> None:
    first, second = attempts_of(run, "signed-out")
    second["fencing_token"] = first["fencing_token"]


@breaks("I13")
def two_calls_at_once(run: Artefacts) -> None:
    """The first reply comes only after the second call."""
    first = attempts_of(run, "busy")[0]
    where = ("recv", "/2/statuses/share.json", copy_of(run, "busy")["account"])
    calls = [one for one in run.lists["log"] if (one["kind"], one["endpoint"], one["account"]) == where]
    call = next(one for one in calls if first["intended_at"] <= one["t"] * MICRO <= first["ended_at"])
    reply_to(run, call)["seq"] = run.lists["log"][-1]["seq"] + 1


@breaks("I15")
def before_the_cooldown_was_over(run: Artefacts) -> None:
    first, second = attempts_of(run, "rate-limited")
    until = datetime.fromtimestamp(second["intended_at"] / MICRO + 30, UTC)
    first["detail"] = json.dumps({"until": until.isoformat()})


@breaks("I17")
def filed_twice(run: Artefacts) -> None:
    """One instant has two names."""
    first = row_of(run, "missed")
    label = datetime.fromisoformat(first["occurrence"]).astimezone(timezone(timedelta(hours=1))).isoformat()
    add_row(run, "delivery", first, occurrence=label, remote_id=None)


@breaks("I17")
def filed_unasked(run: Artefacts) -> None:
    run.documents["plan"]["duties"].remove(duty_of(run, "later"))


@breaks("I21")
def two_revisions_published(run: Artefacts) -> None:
    row = row_of(run, "plain")
    row["revision_hash"] = words_of(run, row)["revision_hash"] = "another"


@breaks("I22")
def filed_from_no_version(run: Artefacts) -> None:
    for version in run.documents["plan"]["versions"]:
        version["duties"] = [key for key in version["duties"] if key[0] != "later"]


@breaks("I22")
def left_out_of_a_large_version(run: Artefacts) -> None:
    """Of a version that asks for very much the rest may follow, but must."""
    run.documents["settings"]["together"] = 1
    run.rows["delivery"].remove(row_of(run, "later"))


for invariant, changes in {
    "I1": {
        "made_twice": lambda run: again(run, "plain"),
        # By its text alone it would be another post; the marker shows whose it is.
        "made_twice_reworded": lambda run: again(run, "rewritten", text=f"转发 {copy_of(run, 'rewritten')['text']}"),
        # A person's decision does not excuse a copy while the first one is published.
        "made_again_after_a_decision": lambda run: again(run, "alike-resend"),
    },
    "I2": {
        "ended_without_reason": lambda run: row_of(run, "refused").update(reason=None),
        "never_filed": lambda run: run.documents["plan"]["duties"].append({**duty_of(run, "plain"), "post": "lost"}),
        "shown_otherwise": lambda run: status_of(run, "poison").update(state="published"),
    },
    "I3": {
        "called_twice_in_one_attempt": lambda run: add_entry(run, call_of(run, "found-after-death")),
        "intended_for_another_part": lambda run: attempts_of(run, "parts")[-1].update(part=1),
        "intended_after_the_call": lambda run: attempts_of(run, "found")[0].update(
            intended_at=round((call_of(run, "found")["t"] + 1) * MICRO)
        ),
        "intended_and_forgotten": lambda run: run.rows["attempt"].remove(attempts_of(run, "absent-twice")[-1]),
        "intended_under_another_name": lambda run: run.journals[0][0][1].update(post="another"),
        "attempted_for_nobody": lambda run: add_row(run, "attempt", attempts_of(run, "found")[0], delivery=9999),
    },
    "I4": {
        "arrived_with_another_picture": lambda run: copy_of(run, "busy").update(images=["0" * 64]),
        "not_what_was_asked": lambda run: duty_of(run, "busy").update(text_sha256="0" * 64),
        "arrived_without_the_words": lambda run: duty_of(run, "busy").update(says=["第2区公安"]),
        "kept_picture_changed": lambda run: run.rows["media"].append({"sha256": "0" * 64, "data": b"other"}),
    },
    "I5": {
        "one_approval_short": lambda run: run.lists["approvals"].remove(approval_of(run)),
        "approved_by_its_author": lambda run: approval_of(run).update(by="zhang"),
        "approved_twice_by_one": lambda run: approval_of(run).update(by="wang"),
    },
    "I6": {
        "called_too_early": lambda run: duty_of(run, "busy").update(due=call_of(run, "busy")["t"] + 60),
        "called_after_expiry": lambda run: duty_of(run, "busy").update(expires=call_of(run, "busy")["t"] - 1),
        "called_too_late": lambda run: duty_of(run, "plain").update(max_delay=-10),
    },
    "I7": {
        "sent_though_recorded_as_not_sent": lambda run: attempts_of(run, "found")[0].update(outcome="not_sent"),
    },
    "I8": {
        "claims_what_was_not_made": lambda run: row_of(run, "found").update(remote_id="nowhere"),
        "claims_anothers_post": lambda run: row_of(run, "found").update(remote_id=copy_of(run, "paused")["id"]),
        "failed_and_live": lambda run: row_of(run, "busy").update(state="failed", remote_id=None),
        "held_as_absent_and_live": lambda run: row_of(run, "busy").update(
            state="held", reason="not_published", remote_id=None
        ),
    },
    "I9": {
        "lost_after_a_decision_to_send": lambda run: row_of(run, "blocked").update(state="expired", reason="expired"),
        "failed_without_a_refusal": lambda run: attempts_of(run, "refused")[0].update(outcome="busy"),
        "held_without_a_rule": lambda run: row_of(run, "signed-out").update(reason="too_busy"),
        "held_as_absent_where_another_call_is_allowed": lambda run: row_of(run, "signed-out").update(
            reason="not_published"
        ),
        "held_for_one_crash": lambda run: run.lists["interruptions"].pop(0),
        "ended_for_no_later_instant": lambda run: run.rows["delivery"].remove(row_of(run, "missed", 1)),
        # Neither of the instants that the outage has covered went out after it.
        "newest_missed_left_out": lambda run: row_of(run, "missed", 1).update(state="expired", reason="too_late"),
    },
    "I10": {
        "no_alert": lambda run: run.rows["alert"].remove(alert_of(run, "refused")),
        "alert_too_late": lambda run: alert_of(run, "expired").update(at=alert_of(run, "expired")["at"] + 61 * MICRO),
    },
    "I11": {
        "removed_yet_live": lambda run: copy_of(run, "removed").update(removed=False, visible=True),
        "cancelled_yet_live": lambda run: row_of(run, "not-sent").update(state="cancelled", remote_id=None),
    },
    "I12": {
        "no_such_transition": lambda run: audit_of(run, "plain", "became_due")[0].update(event="published"),
        "brought_by_nobody_allowed": lambda run: audit_of(run, "plain", "became_due")[0].update(role="planner"),
        "an_end_reverted": lambda run: audit_of(run, "paused", "claimed")[0].update(before="expired"),
        "changed_after_its_end": lambda run: row_of(run, "earlier").update(state="published"),
    },
    "I13": {
        "last_attempt_lost": lambda run: run.rows["attempt"].remove(attempts_of(run, "absent-twice")[-1]),
        "number_skipped": lambda run: attempts_of(run, "absent-twice")[-1].update(number=3),
    },
    "I15": {
        "over_the_hour": lambda run: run.documents["settings"]["platforms"]["weibo"].update(per_hour=2),
        "over_the_day": lambda run: run.documents["settings"]["platforms"]["weibo"].update(per_day=2),
        "under_the_gap": lambda run: run.documents["settings"]["platforms"]["weibo"].update(gap=60),
        "called_within_the_wait_of_a_429": lambda run: run.documents["settings"].update(retry_after=60),
    },
    "I18": {
        "an_entry_lost": lambda run: run.rows["audit"].remove(audit_of(run, "plain", "claimed")[0]),
        "last_entry_lost": lambda run: run.rows["audit"].remove(audit_of(run, "poison", "lease_expired")[-1]),
        "an_entry_rewritten": lambda run: audit_of(run, "plain", "claimed")[0].update(name="somebody"),
        "another_chain": lambda run: run.lists["anchors"][0].update(chain="0" * 64),
        "the_end_cut_off": lambda run: run.lists["anchors"][-1].update(sequence=len(run.rows["audit"]) + 1),
        "an_order_not_recorded": lambda run: run.lists["orders"].append(
            {"kind": "cancel", "at": run.documents["plan"]["ended_at"], "by": "chen", "post": "later"}
        ),
    },
    "I19": {
        "a_secret_found": lambda run: run.leaks.append(("cana…", "daemon.log")),
    },
    "I20": {
        "delayed_by_others": lambda run: run.lists["timings"].append({"delay": 7.0, "during_fault": True}),
    },
    "I22": {
        "left_out_of_a_version": lambda run: audit_of(run, "plain", "planned")[0].update(
            at=audit_of(run, "plain", "planned")[0]["at"] + 2 * MICRO
        ),
        "in_force_what_nobody_gave": lambda run: run.rows["schedule"][0].update(text="[[post]]"),
    },
    "I23": {
        "called_elsewhere": lambda run: run.lists["connections"].append({"host": "api.weibo.com", "port": 443}),
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
