"""One small spoiling of a good run for each way to break an invariant."""

import json
from collections.abc import Callable
from typing import Any

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker.decoder import seconds
from tests.chaos.checker_tests import broken_actions as orders
from tests.chaos.checker_tests.pieces import (
    acts_on,
    add_entry,
    attempts_of,
    call_of,
    copy_of,
    duty_of,
    entry_of,
    reported,
    row_of,
    status_of,
)
from tests.chaos.checker_tests.run_builder import BEGAN, Row, iso

Spoil = Callable[[Artefacts], None]
HOUR = 3600_000_000


def again(run: Artefacts, name: str, **changes: Any) -> Row:
    """Let the platform make it twice in one call."""
    post = {**copy_of(run, name), "id": "twice", **changes}
    run.documents["posts"].append(post)
    add_entry(run, entry_of(run, copy_of(run, name), "act"), post_id="twice")
    return post


def made_twice(run: Artefacts) -> None:
    again(run, "plain")


def made_twice_reworded(run: Artefacts) -> None:
    """By its text alone it would be another post; the marker reports."""
    again(run, "rewritten", text=f"转发 {copy_of(run, 'rewritten')['text']}")


def made_again_after_a_ruling(run: Artefacts) -> None:
    """A person's word does not excuse a copy while the first one stands."""
    again(run, "lookalike to due")


def said_as_another(run: Artefacts) -> None:
    """The words of one delivery carry what is another's marker: the two keys disagree."""
    mine = row_of(run, "busy")
    other = next(one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine)
    frozen = {one["fingerprint"]: one for one in run.rows["rendered_post"]}
    marker = json.loads(frozen[mine["rendered_hash"]]["body"])["marker"]
    for row, code in ((mine, "0000-0000"), (other, marker["code"])):
        body = json.loads(frozen[row["rendered_hash"]]["body"])
        frozen[row["rendered_hash"]]["body"] = json.dumps({**body, "marker": {"code": code}}, ensure_ascii=False)


def floor_twice(run: Artefacts) -> None:
    part = next((post for post in run.documents["posts"] if post["extra"].get("thread")), None)
    assert part, "the run has a thread with floors"
    run.documents["posts"].append({**part, "id": "twice"})
    add_entry(run, entry_of(run, part, "act"), post_id="twice")


def floors_of(run: Artefacts) -> list[Row]:
    thread = copy_of(run, "parts")["id"]
    return [post for post in run.documents["posts"] if post["extra"].get("thread") == thread]


def floor_without_an_intent(run: Artefacts) -> None:
    attempt = attempts_of(run, "parts")[-1]
    run.rows["attempt"].remove(attempt)
    announced = (attempt["delivery"], attempt["number"])
    run.journal = [item for item in run.journal or () if (item[1]["delivery"], item[1]["attempt"]) != announced]


def announced_for_another_floor(run: Artefacts) -> None:
    attempts_of(run, "parts")[-1]["part"] = 1


def floor_arrived_changed(run: Artefacts) -> None:
    floors_of(run)[-1]["text"] += "！"


def floor_sent_again_without_looks(run: Artefacts) -> None:
    next(one for one in attempts_of(run, "parts") if one["outcome"] == "busy")["outcome"] = "unknown"


def floor_before_the_last_was_live(run: Artefacts) -> None:
    thread, part, *_more = attempts_of(run, "parts")
    seen = (thread["delivery"], part["number"], "published")
    looks = run.rows["readback"]
    looks.remove(next(one for one in looks if (one["delivery"], one["attempt"], one["result"]) == seen))


def floor_after_the_retraction(run: Artefacts) -> None:
    """The thread is taken down as ordered, only one part came too late."""
    copy_of(run, "parts").update(removed=True, visible=False)
    call = entry_of(run, floors_of(run)[-1], "act")
    order = {"kind": "retract", "at": iso(call["t"] - 2), "by": "wang", "post": reported("parts")}
    run.lists["orders"].append(order)


def hidden_hold(run: Artefacts) -> None:
    held = row_of(run, "poison")
    for alert in run.rows["alert"]:
        if alert["subject"].startswith(f"{held['post']}@"):
            alert["cleared_at"] = alert["at"]


def left_in_doubt(run: Artefacts) -> None:
    row_of(run, "found")["state"] = "unknown"
    status_of(run, "found")["state"] = "unknown"


def looked_at_for_ever(run: Artefacts) -> None:
    """A look is no progress."""
    ended = seconds(run.documents["plan"]["ended_at"]) or 0.0
    row_of(run, "found").update(state="unknown", updated_at=round(ended * 1e6))
    status_of(run, "found")["state"] = "unknown"


def ended_without_reason(run: Artefacts) -> None:
    row_of(run, "refused")["reason"] = None


def never_filed(run: Artefacts) -> None:
    run.documents["plan"]["duties"].append({**duty_of(run, "plain"), "post": "forgotten"})


def shown_otherwise(run: Artefacts) -> None:
    next(one for one in run.documents["status"] if one["post"] == reported("poison"))["state"] = "published"


def not_in_the_journal(run: Artefacts) -> None:
    attempt = attempts_of(run, "found")[0]
    run.journal = [item for item in run.journal or () if item[1]["delivery"] != attempt["delivery"]]


def intended_after_the_call(run: Artefacts) -> None:
    attempt = attempts_of(run, "found")[0]
    attempt["intended_at"] += 1_000_000


def announced_and_forgotten(run: Artefacts) -> None:
    attempt = attempts_of(run, "absent twice")[-1]
    run.rows["attempt"].remove(attempt)


def announced_under_another_name(run: Artefacts) -> None:
    assert run.journal
    run.journal[0][1].update(post="another", occurrence="once", account=run.rows["delivery"][0]["account"])


def attempted_for_nobody(run: Artefacts) -> None:
    run.rows["attempt"].append({**attempts_of(run, "found")[0], "id": 9999, "delivery": 9999})


def brought_back_otherwise(run: Artefacts) -> None:
    """Only the very calls that the audit says were brought back are excused."""
    announced_and_forgotten(run)
    number, detail = len(run.rows["audit"]) + 1, json.dumps({"calls": [{"rendered_hash": "0" * 64, "at": iso(BEGAN)}]})
    run.rows["audit"].append({**run.rows["audit"][0], "id": number, "event": "attempts_recovered", "detail": detail})


def called_twice_in_one_attempt(run: Artefacts) -> None:
    add_entry(run, call_of(run, "found after death"))


def arrived_changed(run: Artefacts) -> None:
    copy_of(run, "busy")["text"] += "！"
    copy_of(run, "busy")["html"] = copy_of(run, "busy")["html"].replace("编号", "号")


def arrived_with_another_picture(run: Artefacts) -> None:
    copy_of(run, "busy")["images"] = ["0" * 64]


def frozen_words_changed(run: Artefacts) -> None:
    words = next(
        one for one in run.rows["rendered_post"] if one["fingerprint"] == row_of(run, "later")["rendered_hash"]
    )
    words["body"] = words["body"].replace("诈骗", "骗局")


def not_what_was_asked(run: Artefacts) -> None:
    duty_of(run, "busy")["text_sha256"] = "0" * 64


def arrived_without_the_words(run: Artefacts) -> None:
    duty_of(run, "busy")["says"] = ["第2区公安"]


def kept_picture_changed(run: Artefacts) -> None:
    run.rows["media"].append({"sha256": "0" * 64, "media_type": "image/png", "data": b"other"})


def one_approval_short(run: Artefacts) -> None:
    run.lists["approvals"].remove(_approval(run))


def approved_by_its_author(run: Artefacts) -> None:
    _approval(run)["by"] = "zhang"


def approved_twice_by_one(run: Artefacts) -> None:
    _approval(run)["by"] = "wang"


def approval_taken_back(run: Artefacts) -> None:
    _approval(run)["ended_at"] = iso(attempts_of(run, "busy")[0]["intended_at"] / 1e6 - 1)


def _approval(run: Artefacts) -> Row:
    wanted = attempts_of(run, "busy")[0]["rendered_hash"]
    return next(one for one in run.lists["approvals"] if one["rendition"] == wanted)


def called_too_early(run: Artefacts) -> None:
    duty_of(run, "busy")["due"] = iso(call_of(run, "busy")["t"] + 60)


def called_after_expiry(run: Artefacts) -> None:
    duty_of(run, "busy")["expires"] = iso(call_of(run, "busy")["t"] - 1)


def called_too_late(run: Artefacts) -> None:
    duty_of(run, "busy")["max_delay"] = -10


def sent_again_after_one_look(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    run.rows["readback"].remove(looks[0])


def sent_again_before_the_settle_time(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["settle"] = 60
    run.documents["settings"]["platforms"]["wechat"]["settle"] = 60


def looked_not_far_back(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    looks[1]["detail"] = f'{{"covered_since": "{iso(looks[1]["at"] / 1e6)}"}}'


def sent_again_though_seen(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    run.rows["readback"].append(
        {**looks[1], "id": len(run.rows["readback"]) + 1, "result": "possible_match", "detail": "{}"}
    )


def sent_again_after_an_emptied_list(run: Artefacts) -> None:
    looks = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]]
    like = {**call_of(run, "plain"), "endpoint": "/2/statuses/user_timeline.json", "fault": "empty_list"}
    row = row_of(run, "absent twice")
    add_entry(run, like, platform=row["platform"], account=f"id-{row['account']}", t=looks[1]["at"] / 1e6)


def sent_again_after_a_list_emptied_among_others(run: Artefacts) -> None:
    """The second look read a whole list, the first one did not."""
    first, second = [one for one in run.rows["readback"] if one["delivery"] == row_of(run, "absent twice")["id"]][:2]
    row = row_of(run, "absent twice")
    like = {**call_of(run, "plain"), "endpoint": "/2/statuses/user_timeline.json", "fault": None}
    where = {"platform": row["platform"], "account": f"id-{row['account']}"}
    add_entry(run, like, **where, t=first["at"] / 1e6, fault="empty_list+list_late")
    add_entry(run, like, **where, t=second["at"] / 1e6)


def sent_again_where_none_may(run: Artefacts) -> None:
    for platform in run.documents["settings"]["platforms"].values():
        platform["may_resend"] = False


def sent_though_written_as_not_sent(run: Artefacts) -> None:
    attempts_of(run, "found")[0]["outcome"] = "not_sent"


def ruled_by_nobody(run: Artefacts) -> None:
    acts_on(run, "lookalike to due", "resolved")[0]["event"] = "late_outcome_recorded"


def claims_what_was_not_made(run: Artefacts) -> None:
    row_of(run, "found")["remote_id"] = "nowhere"


def claims_anothers_post(run: Artefacts) -> None:
    row_of(run, "found")["remote_id"] = copy_of(run, "busy")["id"]


def one_id_twice(run: Artefacts) -> None:
    mine = row_of(run, "found")
    theirs = [one for one in run.rows["delivery"] if one["account"] == mine["account"] and one is not mine]
    next(one for one in theirs if one["remote_id"])["remote_id"] = mine["remote_id"]


def lost_without_an_outage(run: Artefacts) -> None:
    run.documents["plan"]["outages"] = []
    duty_of(run, "expired")["expires"] = iso(row_of(run, "expired")["expires_at"] / 1e6 + 3600)


def failed_without_a_refusal(run: Artefacts) -> None:
    attempts_of(run, "refused")[0]["outcome"] = "busy"


def held_without_a_rule(run: Artefacts) -> None:
    row_of(run, "edited")["reason"] = "too_busy"


def held_as_absent_where_another_call_is_allowed(run: Artefacts) -> None:
    row_of(run, "edited")["reason"] = "not_published"


def lost_after_a_ruling_to_send(run: Artefacts) -> None:
    row_of(run, "blocked").update(state="expired", reason="expired")


def nobody_told(run: Artefacts) -> None:
    alert = next(one for one in run.rows["alert"] if one["subject"].startswith(f"{reported('refused')}@"))
    run.rows["alert"].remove(alert)


def told_too_late(run: Artefacts) -> None:
    alert = next(one for one in run.rows["alert"] if one["subject"].startswith(f"{reported('expired')}@"))
    alert["at"] += 61_000_000


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


def told_of_another(run: Artefacts) -> None:
    """The alert is older than what it would have to report."""
    _seen, alert = _by_hand(run)
    alert["at"] -= 1_000_000


def seen_too_late(run: Artefacts) -> None:
    for one in _by_hand(run):
        one["seen_at" if "seen_at" in one else "at"] += HOUR + 61_000_000


def cancelled_yet_live(run: Artefacts) -> None:
    row_of(run, "not_sent").update(state="cancelled", remote_id=None, reason="cancelled_by_person")


def removed_yet_live(run: Artefacts) -> None:
    copy_of(run, "removed").update(removed=False, visible=True)


def removed_after_one_word(run: Artefacts) -> None:
    mine = row_of(run, "removed")["id"]
    run.rows["readback"].remove(
        next(one for one in run.rows["readback"] if (one["delivery"], one["result"]) == (mine, "deleted"))
    )


def no_such_step(run: Artefacts) -> None:
    acts_on(run, "plain", "became_due")[0]["event"] = "published"


def brought_by_nobody_allowed(run: Artefacts) -> None:
    acts_on(run, "plain", "became_due")[0]["role"] = "planner"


def an_end_reverted(run: Artefacts) -> None:
    acts_on(run, "paused", "claimed")[0]["before"] = "expired"


def a_version_left_out(run: Artefacts) -> None:
    act = acts_on(run, "paused", "claimed")[0]
    act["detail"] = act["detail"].replace('"version": 3', '"version": 4')


def believed_unseen(run: Artefacts) -> None:
    mine = row_of(run, "found")["id"]
    run.rows["readback"] = [
        one for one in run.rows["readback"] if (one["delivery"], one["result"]) != (mine, "published")
    ]


def number_left_out(run: Artefacts) -> None:
    attempts_of(run, "absent twice")[-1]["number"] += 1


def last_attempt_lost(run: Artefacts) -> None:
    run.rows["attempt"].remove(attempts_of(run, "absent twice")[-1])


def one_epoch_twice(run: Artefacts) -> None:
    first, second = attempts_of(run, "signed out")
    second["fencing_token"] = first["fencing_token"]


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


def called_under_a_pause(run: Artefacts) -> None:
    """The audit says that the pause stood four seconds longer, and so do those who lifted it."""
    for act in run.rows["audit"]:
        if act["event"] == "resumed":
            act["at"] += 60_000_000
    for order in run.lists["orders"]:
        if order["kind"] == "resume":
            order.update(asked_at=None, at=iso(call_of(run, "paused")["t"] + 50))


def ordered_pause_forgotten(run: Artefacts) -> None:
    """The order alone is known; the database has forgotten it."""
    when = iso(call_of(run, "busy")["t"] - 10)
    run.lists["orders"].append({"kind": "pause", "at": when, "by": "wang", "scope": f"post:{reported('busy')}"})


def over_the_hour(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["per_hour"] = 2


def over_the_day(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["per_day"] = 2


def under_the_gap(run: Artefacts) -> None:
    run.documents["settings"]["platforms"]["weibo"]["gap"] = 60


def before_the_rest_was_over(run: Artefacts) -> None:
    first, second, *_floors = attempts_of(run, "rate_limited")
    first["detail"] = f'{{"until": "{iso(second["intended_at"] / 1e6 + 30)}"}}'


def called_after_the_retraction(run: Artefacts) -> None:
    """The order was given before the call, by its own record."""
    order = next(
        one for one in run.lists["orders"] if one["kind"] == "retract" and one["post"] == reported("retracted")
    )
    order.update(at=iso(call_of(run, "retracted")["t"] - 5), asked_at=None)
    acts_on(run, "retracted", "planned")[0]["at"] -= HOUR


def never_taken_down(run: Artefacts) -> None:
    copy_of(run, "retracted").update(removed=False, visible=True)


def filed_twice(run: Artefacts) -> None:
    first = next(one for one in run.rows["delivery"] if one["occurrence"] != "once")
    same = first["occurrence"].replace("+00:00", "").split(".")
    hours = f"{(int(same[0][11:13]) + 1) % 24:02}"
    label = f"{same[0][:11]}{hours}{same[0][13:]}{'.' + same[1] if len(same) > 1 else ''}+01:00"
    run.rows["delivery"].append({**first, "id": len(run.rows["delivery"]) + 1, "occurrence": label, "remote_id": None})


def filed_unasked(run: Artefacts) -> None:
    duties = run.documents["plan"]["duties"]
    duties.remove(duty_of(run, "later"))


def an_entry_lost(run: Artefacts) -> None:
    run.rows["audit"].remove(acts_on(run, "plain", "claimed")[0])


def last_entry_lost(run: Artefacts) -> None:
    run.rows["audit"].remove(acts_on(run, "poison", "lease_expired")[-1])


def an_order_not_written(run: Artefacts) -> None:
    run.lists["orders"].append({"kind": "cancel", "at": iso(1_790_000_100), "by": "chen", "post": reported("later")})


def an_entry_rewritten(run: Artefacts) -> None:
    acts_on(run, "plain", "claimed")[0]["name"] = "somebody"


def the_end_cut_off(run: Artefacts) -> None:
    run.lists["anchors"][0]["sequence"] += 1


def another_chain(run: Artefacts) -> None:
    run.lists["anchors"][0]["chain"] = "0" * 64


def a_secret_found(run: Artefacts) -> None:
    run.leaks = [("cana…", "daemon.log")]


def delayed_by_others(run: Artefacts) -> None:
    for one in run.lists["timings"]:
        one["delay"] += 6 * one["during_fault"]


def two_revisions_live(run: Artefacts) -> None:
    row = row_of(run, "plain")
    words = next(one for one in run.rows["rendered_post"] if one["fingerprint"] == row["rendered_hash"])
    row["revision_hash"] = words["revision_hash"] = "another"


def left_out_of_a_version(run: Artefacts) -> None:
    acts_on(run, "plain", "planned")[0]["at"] += 2_000_000


def in_force_what_nobody_gave(run: Artefacts) -> None:
    run.rows["schedule"][0]["text"] += "#"


def filed_from_no_version(run: Artefacts) -> None:
    for issue in run.documents["plan"]["versions"]:
        issue["duties"] = [key for key in issue["duties"] if key[0] != reported("later")]


def called_elsewhere(run: Artefacts) -> None:
    run.lists["connections"].append({"host": "api.weibo.com", "port": 443})


def stamped_otherwise(run: Artefacts) -> None:
    run.rows["database_info"][0]["value"] = "live"


def grown_too_large(run: Artefacts) -> None:
    run.lists["metrics"][-1]["rss"] = 200_000


def replayed_otherwise(run: Artefacts) -> None:
    assert run.replay
    run.replay.lists["log"].pop()


SPOILED: dict[str, tuple[Spoil, ...]] = {
    "I1": (made_twice, made_twice_reworded, made_again_after_a_ruling, said_as_another, floor_twice),
    "I2": (hidden_hold, left_in_doubt, looked_at_for_ever, ended_without_reason, never_filed, shown_otherwise),
    "I3": (
        not_in_the_journal,
        intended_after_the_call,
        announced_and_forgotten,
        announced_under_another_name,
        attempted_for_nobody,
        brought_back_otherwise,
        called_twice_in_one_attempt,
        floor_without_an_intent,
        announced_for_another_floor,
    ),
    "I4": (
        arrived_changed,
        arrived_with_another_picture,
        frozen_words_changed,
        not_what_was_asked,
        arrived_without_the_words,
        kept_picture_changed,
        floor_arrived_changed,
        orders.edited_and_forgotten,
        orders.asked_about_something_else,
        orders.called_where_left_out,
        orders.called_when_struck,
        orders.repeating_edit_forgotten,
    ),
    "I5": (one_approval_short, approved_by_its_author, approved_twice_by_one, approval_taken_back),
    "I6": (
        called_too_early,
        called_after_expiry,
        called_too_late,
        orders.began_after_its_expiry,
        orders.missed_and_made_up_for,
    ),
    "I7": (
        sent_again_after_one_look,
        sent_again_before_the_settle_time,
        looked_not_far_back,
        sent_again_though_seen,
        sent_again_after_an_emptied_list,
        sent_again_after_a_list_emptied_among_others,
        sent_again_where_none_may,
        orders.believed_a_clock_set_ahead,
        sent_though_written_as_not_sent,
        ruled_by_nobody,
        floor_sent_again_without_looks,
        floor_before_the_last_was_live,
    ),
    "I8": (
        claims_what_was_not_made,
        claims_anothers_post,
        one_id_twice,
        orders.deleted_and_published,
        orders.failed_and_live,
        orders.held_as_absent_and_live,
        orders.believed_in_anothers_name,
    ),
    "I9": (
        lost_without_an_outage,
        lost_after_a_ruling_to_send,
        failed_without_a_refusal,
        held_without_a_rule,
        held_as_absent_where_another_call_is_allowed,
        orders.failed_unasked_without_a_refusal,
        orders.held_for_one_crash,
        orders.ended_for_no_later_instant,
        orders.too_late_though_tried,
        orders.newest_missed_left_out,
        orders.cancelled_by_no_version,
        orders.cancelled_where_it_may_expire,
    ),
    "I10": (nobody_told, told_too_late, orders.nobody_told_of_the_missed),
    "I11": (a_stranger_on_the_account, told_of_another, seen_too_late, cancelled_yet_live, removed_yet_live),
    "I12": (
        no_such_step,
        brought_by_nobody_allowed,
        an_end_reverted,
        a_version_left_out,
        believed_unseen,
        removed_after_one_word,
        orders.changed_after_its_end,
    ),
    "I13": (number_left_out, last_attempt_lost, one_epoch_twice, two_calls_at_once),
    "I14": (called_under_a_pause, ordered_pause_forgotten, orders.began_under_a_pause, orders.announced_under_a_pause),
    "I15": (
        over_the_hour,
        over_the_day,
        under_the_gap,
        before_the_rest_was_over,
        orders.called_within_the_wait_of_a_429,
    ),
    "I16": (
        called_after_the_retraction,
        orders.called_though_withdrawn,
        never_taken_down,
        floor_after_the_retraction,
        orders.announced_after_the_retraction,
    ),
    "I17": (filed_twice, filed_unasked),
    "I18": (
        an_entry_lost,
        last_entry_lost,
        an_order_not_written,
        an_entry_rewritten,
        the_end_cut_off,
        another_chain,
        orders.an_entry_of_yesterday,
    ),
    "I19": (a_secret_found,),
    "I20": (delayed_by_others,),
    "I21": (two_revisions_live,),
    "I22": (
        left_out_of_a_version,
        in_force_what_nobody_gave,
        filed_from_no_version,
        orders.left_out_of_a_large_version,
    ),
    "I23": (called_elsewhere, stamped_otherwise),
    "I24": (grown_too_large,),
    "I25": (replayed_otherwise,),
}
"""For each invariant, the spoilings that its own check must see."""
