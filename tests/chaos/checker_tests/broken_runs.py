"""One small spoiling of a good run for each way to break an invariant."""

import json
from collections.abc import Mapping
from typing import Any

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker.decoder import seconds
from tests.chaos.checker_tests.pieces import (
    SPOILED,
    Spoil,
    acts_on,
    add_entry,
    attempts_of,
    breaks,
    call_of,
    copy_of,
    duty_of,
    entry_of,
    reported,
    row_of,
    status_of,
)
from tests.chaos.checker_tests.run_builder import BEGAN, Row, iso

HOUR = 3600_000_000


def again(run: Artefacts, name: str, **changes: Any) -> Row:
    """Let the platform make it twice in one call."""
    post = {**copy_of(run, name), "id": "twice", **changes}
    run.documents["posts"].append(post)
    add_entry(run, entry_of(run, copy_of(run, name), "act"), post_id="twice")
    return post


@breaks("I1")
def said_as_another(run: Artefacts) -> None:
    """The words of one delivery carry what is another's marker: the two keys disagree."""
    mine = row_of(run, "busy")
    other = next(one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine)
    frozen = {one["fingerprint"]: one for one in run.rows["rendered_post"]}
    marker = json.loads(frozen[mine["rendered_hash"]]["body"])["marker"]
    for row, code in ((mine, "0000-0000"), (other, marker["code"])):
        body = json.loads(frozen[row["rendered_hash"]]["body"])
        frozen[row["rendered_hash"]]["body"] = json.dumps({**body, "marker": {"code": code}}, ensure_ascii=False)


@breaks("I1")
def floor_twice(run: Artefacts) -> None:
    part = next((post for post in run.documents["posts"] if post["extra"].get("thread")), None)
    assert part, "the run has a thread with several parts"
    run.documents["posts"].append({**part, "id": "twice"})
    add_entry(run, entry_of(run, part, "act"), post_id="twice")


def floors_of(run: Artefacts) -> list[Row]:
    thread = copy_of(run, "parts")["id"]
    return [post for post in run.documents["posts"] if post["extra"].get("thread") == thread]


@breaks("I3")
def floor_without_an_intent(run: Artefacts) -> None:
    attempt = attempts_of(run, "parts")[-1]
    run.rows["attempt"].remove(attempt)
    announced = (attempt["delivery"], attempt["number"])
    run.journal = [item for item in run.journal or () if (item[1]["delivery"], item[1]["attempt"]) != announced]


@breaks("I4")
def floor_arrived_changed(run: Artefacts) -> None:
    floors_of(run)[-1]["text"] += "！"


@breaks("I7")
def floor_sent_again_without_looks(run: Artefacts) -> None:
    next(one for one in attempts_of(run, "parts") if one["outcome"] == "busy")["outcome"] = "unknown"


@breaks("I7")
def floor_before_the_last_was_live(run: Artefacts) -> None:
    thread, part, *_more = attempts_of(run, "parts")
    seen = (thread["delivery"], part["number"], "published")
    looks = run.rows["readback"]
    looks.remove(next(one for one in looks if (one["delivery"], one["attempt"], one["result"]) == seen))


@breaks("I16")
def floor_after_the_retraction(run: Artefacts) -> None:
    """The thread is taken down as ordered, only one part came too late."""
    copy_of(run, "parts").update(removed=True, visible=False)
    call = entry_of(run, floors_of(run)[-1], "act")
    order = {"kind": "retract", "at": iso(call["t"] - 2), "by": "wang", "post": reported("parts")}
    run.lists["orders"].append(order)


@breaks("I2")
def hidden_hold(run: Artefacts) -> None:
    held = row_of(run, "poison")
    for alert in run.rows["alert"]:
        if alert["subject"].startswith(f"{held['post']}@"):
            alert["cleared_at"] = alert["at"]


@breaks("I2")
def left_in_doubt(run: Artefacts) -> None:
    row_of(run, "found")["state"] = "unknown"
    status_of(run, "found")["state"] = "unknown"


@breaks("I2")
def looked_at_for_ever(run: Artefacts) -> None:
    """A look is no progress."""
    ended = seconds(run.documents["plan"]["ended_at"]) or 0.0
    row_of(run, "found").update(state="unknown", updated_at=round(ended * 1e6))
    status_of(run, "found")["state"] = "unknown"


@breaks("I2")
def never_filed(run: Artefacts) -> None:
    run.documents["plan"]["duties"].append({**duty_of(run, "plain"), "post": "forgotten"})


@breaks("I2")
def shown_otherwise(run: Artefacts) -> None:
    next(one for one in run.documents["status"] if one["post"] == reported("poison"))["state"] = "published"


@breaks("I3")
def not_in_the_journal(run: Artefacts) -> None:
    attempt = attempts_of(run, "found")[0]
    run.journal = [item for item in run.journal or () if item[1]["delivery"] != attempt["delivery"]]


@breaks("I3")
def intended_after_the_call(run: Artefacts) -> None:
    attempt = attempts_of(run, "found")[0]
    attempt["intended_at"] += 1_000_000


@breaks("I3")
def announced_and_forgotten(run: Artefacts) -> None:
    attempt = attempts_of(run, "absent twice")[-1]
    run.rows["attempt"].remove(attempt)


@breaks("I3")
def announced_under_another_name(run: Artefacts) -> None:
    assert run.journal
    run.journal[0][1].update(post="another", occurrence="once", account=run.rows["delivery"][0]["account"])


@breaks("I3")
def attempted_for_nobody(run: Artefacts) -> None:
    run.rows["attempt"].append({**attempts_of(run, "found")[0], "id": 9999, "delivery": 9999})


@breaks("I3")
def brought_back_otherwise(run: Artefacts) -> None:
    """Only the very calls that the audit says were brought back are excused."""
    announced_and_forgotten(run)
    number, detail = len(run.rows["audit"]) + 1, json.dumps({"calls": [{"rendered_hash": "0" * 64, "at": iso(BEGAN)}]})
    run.rows["audit"].append({**run.rows["audit"][0], "id": number, "event": "attempts_recovered", "detail": detail})


@breaks("I4")
def arrived_changed(run: Artefacts) -> None:
    copy_of(run, "busy")["text"] += "！"
    copy_of(run, "busy")["html"] = copy_of(run, "busy")["html"].replace("编号", "号")


@breaks("I4")
def frozen_words_changed(run: Artefacts) -> None:
    words = next(
        one for one in run.rows["rendered_post"] if one["fingerprint"] == row_of(run, "later")["rendered_hash"]
    )
    words["body"] = words["body"].replace("诈骗", "骗局")


@breaks("I4")
def kept_picture_changed(run: Artefacts) -> None:
    run.rows["media"].append({"sha256": "0" * 64, "media_type": "image/png", "data": b"other"})


@breaks("I5")
def approval_taken_back(run: Artefacts) -> None:
    _approval(run)["ended_at"] = iso(attempts_of(run, "busy")[0]["intended_at"] / 1e6 - 1)


def _approval(run: Artefacts) -> Row:
    wanted = attempts_of(run, "busy")[0]["rendered_hash"]
    return next(one for one in run.lists["approvals"] if one["rendition"] == wanted)


@breaks("I7")
def sent_again_after_one_look(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    run.rows["readback"].remove(looks[0])


@breaks("I7")
def sent_again_before_the_settle_time(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["settle"] = 60
    run.documents["settings"]["platforms"]["wechat"]["settle"] = 60


@breaks("I7")
def looked_not_far_back(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    looks[1]["detail"] = f'{{"covered_since": "{iso(looks[1]["at"] / 1e6)}"}}'


@breaks("I7")
def sent_again_though_seen(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    run.rows["readback"].append(
        {**looks[1], "id": len(run.rows["readback"]) + 1, "result": "possible_match", "detail": "{}"}
    )


@breaks("I7")
def sent_again_after_an_emptied_list(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    like = {**call_of(run, "plain"), "endpoint": "/2/statuses/user_timeline.json", "fault": "empty_list"}
    row = row_of(run, "absent twice")
    add_entry(run, like, platform=row["platform"], account=f"id-{row['account']}", t=looks[1]["at"] / 1e6)


@breaks("I7")
def sent_again_after_a_list_emptied_among_others(run: Artefacts) -> None:
    """The second look read a whole list, the first one did not."""
    first, second = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]][:2]
    row = row_of(run, "absent twice")
    like = {**call_of(run, "plain"), "endpoint": "/2/statuses/user_timeline.json", "fault": None}
    where = {"platform": row["platform"], "account": f"id-{row['account']}"}
    add_entry(run, like, **where, t=first["at"] / 1e6, fault="empty_list+list_late")
    add_entry(run, like, **where, t=second["at"] / 1e6)


@breaks("I7")
def sent_again_where_none_may(run: Artefacts) -> None:
    for platform in run.documents["settings"]["platforms"].values():
        platform["may_resend"] = False


@breaks("I7")
def ruled_by_nobody(run: Artefacts) -> None:
    acts_on(run, "lookalike to due", "resolved")[0]["event"] = "late_outcome_recorded"


@breaks("I8")
def one_id_twice(run: Artefacts) -> None:
    mine = row_of(run, "found")
    theirs = [one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine]
    next(one for one in theirs if one["remote_id"])["remote_id"] = mine["remote_id"]


@breaks("I9")
def lost_without_an_outage(run: Artefacts) -> None:
    run.documents["plan"]["outages"] = []
    duty_of(run, "expired")["expires"] = iso(row_of(run, "expired")["expires_at"] / 1e6 + 3600)


@breaks("I9")
def held_as_absent_where_another_call_is_allowed(run: Artefacts) -> None:
    row_of(run, "edited")["reason"] = "not_published"


@breaks("I10")
def nobody_told(run: Artefacts) -> None:
    alert = next(one for one in run.rows["alert"] if one["subject"].startswith(f"{reported('refused')}@"))
    run.rows["alert"].remove(alert)


@breaks("I10")
def told_too_late(run: Artefacts) -> None:
    alert = next(one for one in run.rows["alert"] if one["subject"].startswith(f"{reported('expired')}@"))
    alert["at"] += 61_000_000


@breaks("I11")
def a_stranger_on_the_account(run: Artefacts) -> None:
    began = call_of(run, "plain")["t"]
    post = {
        **copy_of(run, "plain"),
        "id": "stranger",
        "text": "不明内容",
        "html": "",
        "title": "",
        "created": began - 7200,
    }
    run.documents["posts"].append(post)
    run.documents["plan"]["began_at"] = iso(began - 7300)


def _by_hand(run: Artefacts) -> tuple[Row, Row]:
    """What was seen of a post by hand, and the alert that alerted to it, in a run that goes on for long enough."""
    run.documents["plan"]["ended_at"] = iso((seconds(run.documents["plan"]["ended_at"]) or 0.0) + 7200)
    seen = next(one for one in run.rows["observed_post"] if not one["predates_monitoring"])
    subject = f"account:{seen['account']}/by-hand"
    return seen, next(one for one in run.rows["alert"] if one["subject"] == subject)


@breaks("I11")
def told_of_another(run: Artefacts) -> None:
    """The alert is older than what it would have to report."""
    _seen, alert = _by_hand(run)
    alert["at"] -= 1_000_000


@breaks("I11")
def seen_too_late(run: Artefacts) -> None:
    for one in _by_hand(run):
        one["seen_at" if "seen_at" in one else "at"] += HOUR + 61_000_000


@breaks("I11")
def cancelled_yet_live(run: Artefacts) -> None:
    row_of(run, "not_sent").update(state="cancelled", remote_id=None, reason="cancelled_by_person")


@breaks("I12")
def removed_after_one_word(run: Artefacts) -> None:
    mine = row_of(run, "removed")["id"]
    run.rows["readback"].remove(
        next(one for one in run.rows["readback"] if (one["delivery"], one["result"]) == (mine, "deleted"))
    )


@breaks("I12")
def a_version_left_out(run: Artefacts) -> None:
    act = acts_on(run, "paused", "claimed")[0]
    act["detail"] = act["detail"].replace('"version": 3', '"version": 4')


@breaks("I12")
def believed_unseen(run: Artefacts) -> None:
    mine = row_of(run, "found")["id"]
    run.rows["readback"] = [
        one for one in run.rows["readback"] if (one["delivery"], one["result"]) != (mine, "published")
    ]


@breaks("I13")
def number_left_out(run: Artefacts) -> None:
    attempts_of(run, "absent twice")[-1]["number"] += 1


@breaks("I13")
def one_epoch_twice(run: Artefacts) -> None:
    first, second = attempts_of(run, "signed out")
    second["fencing_token"] = first["fencing_token"]


@breaks("I13")
def two_calls_at_once(run: Artefacts) -> None:
    """The first reply comes only after the second call."""
    seqs = [
        one["seq"]
        for one in run.lists["log"]
        if one["kind"] == "recv" and one["account"] == _identity(run, "signed out")
    ]
    attempts = attempts_of(run, "signed out")
    mine = [
        one
        for one in run.lists["log"]
        if one["seq"] in seqs and any(a["intended_at"] / 1e6 <= one["t"] <= a["ended_at"] / 1e6 for a in attempts)
    ]
    reply = next(one for one in run.lists["log"] if one.get("call") == mine[0]["seq"] and one["kind"] == "reply")
    reply["seq"] = len(run.lists["log"]) + 1


def _identity(run: Artefacts, name: str) -> str:
    return f"id-{row_of(run, name)['account']}"


@breaks("I14")
def called_under_a_pause(run: Artefacts) -> None:
    """The audit says that the pause stood four seconds longer, and so do those who lifted it."""
    for act in run.rows["audit"]:
        if act["event"] == "resumed":
            act["at"] += 60_000_000
    for order in run.lists["orders"]:
        if order["kind"] == "resume":
            order.update(asked_at=None, at=iso(call_of(run, "paused")["t"] + 50))


@breaks("I14")
def ordered_pause_forgotten(run: Artefacts) -> None:
    """The order alone is known; the database has forgotten it."""
    when = iso(call_of(run, "busy")["t"] - 10)
    run.lists["orders"].append({"kind": "pause", "at": when, "by": "wang", "scope": f"post:{reported('busy')}"})


@breaks("I15")
def before_the_rest_was_over(run: Artefacts) -> None:
    first, second, *_floors = attempts_of(run, "rate_limited")
    first["detail"] = f'{{"until": "{iso(second["intended_at"] / 1e6 + 30)}"}}'


@breaks("I16")
def called_after_the_retraction(run: Artefacts) -> None:
    """The order was given before the call, by its own record."""
    order = next(
        one for one in run.lists["orders"] if one["kind"] == "retract" and one["post"] == reported("retracted")
    )
    order.update(at=iso(call_of(run, "retracted")["t"] - 5), asked_at=None)
    acts_on(run, "retracted", "planned")[0]["at"] -= HOUR


@breaks("I17")
def filed_twice(run: Artefacts) -> None:
    first = next(one for one in run.rows["delivery"] if one["occurrence"] != "once")
    same = first["occurrence"].replace("+00:00", "").split(".")
    hours = f"{(int(same[0][11:13]) + 1) % 24:02}"
    label = f"{same[0][:11]}{hours}{same[0][13:]}{'.' + same[1] if len(same) > 1 else ''}+01:00"
    run.rows["delivery"].append({**first, "id": len(run.rows["delivery"]) + 1, "occurrence": label, "remote_id": None})


@breaks("I17")
def filed_unasked(run: Artefacts) -> None:
    duties = run.documents["plan"]["duties"]
    duties.remove(duty_of(run, "later"))


@breaks("I18")
def an_order_not_written(run: Artefacts) -> None:
    run.lists["orders"].append({"kind": "cancel", "at": iso(1_790_000_100), "by": "chen", "post": reported("later")})


@breaks("I18")
def the_end_cut_off(run: Artefacts) -> None:
    run.lists["anchors"][0]["sequence"] += 1


@breaks("I19")
def a_secret_found(run: Artefacts) -> None:
    run.leaks = [("cana…", "daemon.log")]


@breaks("I20")
def delayed_by_others(run: Artefacts) -> None:
    for one in run.lists["timings"]:
        one["delay"] += 6 * one["during_fault"]


@breaks("I21")
def two_revisions_live(run: Artefacts) -> None:
    row = row_of(run, "plain")
    words = next(one for one in run.rows["rendered_post"] if one["fingerprint"] == row["rendered_hash"])
    row["revision_hash"] = words["revision_hash"] = "another"


@breaks("I22")
def left_out_of_a_version(run: Artefacts) -> None:
    acts_on(run, "plain", "planned")[0]["at"] += 2_000_000


@breaks("I22")
def in_force_what_nobody_gave(run: Artefacts) -> None:
    run.rows["schedule"][0]["text"] += "#"


@breaks("I22")
def filed_from_no_version(run: Artefacts) -> None:
    for issue in run.documents["plan"]["versions"]:
        issue["duties"] = [key for key in issue["duties"] if key[0] != reported("later")]


@breaks("I25")
def replayed_otherwise(run: Artefacts) -> None:
    assert run.replay
    run.replay.lists["log"].pop()


SMALL: Mapping[str, Mapping[str, Spoil]] = {
    "I1": {
        "made_twice": lambda run: again(run, "plain"),
        # By its text alone it would be another post; the marker reports.
        "made_twice_reworded": lambda run: again(run, "rewritten", text=f"转发 {copy_of(run, 'rewritten')['text']}"),
        # A person's word does not excuse a copy while the first one stands.
        "made_again_after_a_ruling": lambda run: again(run, "lookalike to due"),
    },
    "I2": {
        "ended_without_reason": lambda run: row_of(run, "refused").update(reason=None),
    },
    "I3": {
        "called_twice_in_one_attempt": lambda run: add_entry(run, call_of(run, "found after death")),
        "announced_for_another_floor": lambda run: attempts_of(run, "parts")[-1].update(part=1),
    },
    "I4": {
        "arrived_with_another_picture": lambda run: copy_of(run, "busy").update(images=["0" * 64]),
        "not_what_was_asked": lambda run: duty_of(run, "busy").update(text_sha256="0" * 64),
        "arrived_without_the_words": lambda run: duty_of(run, "busy").update(says=["第2区公安"]),
    },
    "I5": {
        "one_approval_short": lambda run: run.lists["approvals"].remove(_approval(run)),
        "approved_by_its_author": lambda run: _approval(run).update(by="zhang"),
        "approved_twice_by_one": lambda run: _approval(run).update(by="wang"),
    },
    "I6": {
        "called_too_early": lambda run: duty_of(run, "busy").update(due=iso(call_of(run, "busy")["t"] + 60)),
        "called_after_expiry": lambda run: duty_of(run, "busy").update(expires=iso(call_of(run, "busy")["t"] - 1)),
        "called_too_late": lambda run: duty_of(run, "busy").update(max_delay=-10),
    },
    "I7": {
        "sent_though_written_as_not_sent": lambda run: attempts_of(run, "found")[0].update(outcome="not_sent"),
    },
    "I8": {
        "claims_what_was_not_made": lambda run: row_of(run, "found").update(remote_id="nowhere"),
        "claims_anothers_post": lambda run: row_of(run, "found").update(remote_id=copy_of(run, "busy")["id"]),
        "failed_and_live": lambda run: row_of(run, "busy").update(state="failed", remote_id=None),
    },
    "I9": {
        "lost_after_a_ruling_to_send": lambda run: row_of(run, "blocked").update(state="expired", reason="expired"),
        "failed_without_a_refusal": lambda run: attempts_of(run, "refused")[0].update(outcome="busy"),
        "held_without_a_rule": lambda run: row_of(run, "edited").update(reason="too_busy"),
        "held_for_one_crash": lambda run: run.lists["interruptions"].pop(0),
    },
    "I11": {
        "removed_yet_live": lambda run: copy_of(run, "removed").update(removed=False, visible=True),
    },
    "I12": {
        "no_such_step": lambda run: acts_on(run, "plain", "became_due")[0].update(event="published"),
        "brought_by_nobody_allowed": lambda run: acts_on(run, "plain", "became_due")[0].update(role="planner"),
        "an_end_reverted": lambda run: acts_on(run, "paused", "claimed")[0].update(before="expired"),
    },
    "I13": {
        "last_attempt_lost": lambda run: run.rows["attempt"].remove(attempts_of(run, "absent twice")[-1]),
    },
    "I15": {
        "over_the_hour": lambda run: run.documents["settings"]["platforms"]["weibo"].update(per_hour=2),
        "over_the_day": lambda run: run.documents["settings"]["platforms"]["weibo"].update(per_day=2),
        "under_the_gap": lambda run: run.documents["settings"]["platforms"]["weibo"].update(gap=60),
        "called_within_the_wait_of_a_429": lambda run: run.documents["settings"].update(retry_after=60),
    },
    "I16": {
        "never_taken_down": lambda run: copy_of(run, "retracted").update(removed=False, visible=True),
    },
    "I18": {
        "an_entry_lost": lambda run: run.rows["audit"].remove(acts_on(run, "plain", "claimed")[0]),
        "last_entry_lost": lambda run: run.rows["audit"].remove(acts_on(run, "poison", "lease_expired")[-1]),
        "an_entry_rewritten": lambda run: acts_on(run, "plain", "claimed")[0].update(name="somebody"),
        "another_chain": lambda run: run.lists["anchors"][0].update(chain="0" * 64),
    },
    "I23": {
        "called_elsewhere": lambda run: run.lists["connections"].append({"host": "api.weibo.com", "port": 443}),
        "stamped_otherwise": lambda run: run.rows["database_info"][0].update(value="live"),
    },
    "I24": {
        "grown_too_large": lambda run: run.lists["metrics"][-1].update(rss=200_000),
    },
}
"""What breaks an invariant by one change."""
for invariant, changes in SMALL.items():
    SPOILED[invariant] |= changes
