"""What may rightly become of a delivery: one function for each story, reported in the words of the database."""

from collections.abc import Callable

from tests.chaos.checker_tests.run_builder import LEASE, SETTLE, Row, Scene, iso

Story = Callable[[Scene, Row], None]


def _live(scene: Scene, row: Row, post: Row, role: str = "sender") -> None:
    """It is live, and goes on in all its parts."""
    _up(scene, row, post, role)
    if row["state"] == "due":
        _go(scene, row)


def _up(scene: Scene, row: Row, post: Row, role: str = "reconciler") -> None:
    """One part more is live; the next one is due, if there is one."""
    after = "due" if row["parts_done"] < row["extra_parts"] else "published"
    row["parts_done"] += 1
    scene.step(row, "published", after, role, remote_id=row["remote_id"] or post["id"], reason=None)


def _start(scene: Scene, row: Row) -> Row:
    scene.claim(row)
    return scene.intend(row)


def _go(scene: Scene, row: Row) -> Row:
    """One attempt that succeeds, the platform's own way; gives the post."""
    attempt = _start(scene, row)
    post = scene.call(row)
    if row["platform"] == "weibo":
        scene.end(attempt, "published")
        _live(scene, row, post)
        return post
    scene.end(attempt, "submitted")
    scene.step(row, "submitted", "submitted", "sender")
    scene.look(row, "submitted")
    scene.step(row, "submitted", "submitted", "reconciler")
    scene.look(row, "published")
    _live(scene, row, post, "reconciler")
    return post


def _ripe(scene: Scene, row: Row) -> None:
    scene.wait(max(0.0, row["due_at"] / 1e6 - scene.now) + 0.01)
    scene.step(row, "became_due", "due", "maintenance")


def plain(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    _go(scene, row)


def parts(scene: Scene, row: Row) -> None:
    """The replies to the thread and to its first further part are lost; the next is refused for now."""
    _ripe(scene, row)
    for _ in range(row["extra_parts"]):
        post = _lose(scene, row, acts=True)
        scene.look(row, "not_found")
        scene.step(row, "not_found", "unknown", "reconciler")
        scene.look(row, "published")
        _up(scene, row, post)
    _again(scene, row, "busy")


def rewritten(scene: Scene, row: Row) -> None:
    """The platform changes the words, but not the marker."""
    _ripe(scene, row)
    attempt = _start(scene, row)
    post = scene.call(row)
    post["extra"]["rewritten"] = True
    post["text"] = post["text"].replace("【", "[").replace("】", "] ")
    scene.end(attempt, "published")
    _live(scene, row, post)


def refused_for_now(outcome: str) -> Story:
    def story(scene: Scene, row: Row) -> None:
        _ripe(scene, row)
        _again(scene, row, outcome)

    return story


def _again(scene: Scene, row: Row, outcome: str) -> None:
    attempt, until = _start(scene, row), scene.now + 5
    if outcome != "not_sent":
        scene.call(row, acts=False, status=429 if outcome == "rate_limited" else 200)
    scene.end(attempt, outcome, **({"until": iso(until)} if outcome == "rate_limited" else {}))
    scene.step(row, outcome, "retrying", "sender", reason="for_now")
    scene.wait(max(0.1, until - scene.now + 0.1))
    scene.step(row, "became_due", "due", "maintenance")
    _go(scene, row)


def _lose(scene: Scene, row: Row, *, acts: bool, dies: bool = False) -> Row:
    attempt = _start(scene, row)
    post = scene.call(row, acts=acts, replies=False, fault="drop_after" if acts else "drop_before")
    if dies:
        scene.wait(LEASE)
        scene.end(attempt)
        scene.step(row, "lease_expired", "unknown", "maintenance", reason="worker_lost")
    else:
        scene.end(attempt, "unknown", reason="reset")
        scene.step(row, "unknown", "unknown", "sender", reason="reset")
    return post


def found_again(*, dies: bool) -> Story:
    def story(scene: Scene, row: Row) -> None:
        _ripe(scene, row)
        post = _lose(scene, row, acts=True, dies=dies)
        scene.look(row, "not_found")
        scene.step(row, "not_found", "unknown", "reconciler")
        scene.look(row, "unknown", reason="timeout")
        scene.step(row, "unknown", "unknown", "reconciler")
        scene.look(row, "rate_limited", code="weibo_429")
        scene.step(row, "rate_limited", "unknown", "reconciler", reason="rate_limited")
        scene.look(row, "published")
        _live(scene, row, post, "reconciler")

    return story


def held_up(scene: Scene, row: Row) -> None:
    """The network keeps a call until it counts as in doubt and the account's next post is under way."""
    _ripe(scene, row)
    attempt = _start(scene, row)
    scene.end(attempt, "unknown", reason="timeout")
    scene.step(row, "unknown", "unknown", "sender", reason="timeout")
    later = scene.draft(f"{row['post']}-later", row["account"], due=scene.now)
    scene.accept(f"version with {later['post']}", [later])
    _ripe(scene, later)
    another = _start(scene, later)
    post = scene.call(row, replies=False, fault="delay")
    found = scene.call(later)
    scene.end(another, "published")
    _live(scene, later, found)
    scene.look(row, "published")
    _live(scene, row, post, "reconciler")


def brought_back(scene: Scene, row: Row) -> None:
    """An older database knew the delivery under another number, and took the call back from the journal."""
    found_again(dies=True)(scene, row)
    line = scene.journal[-1]
    line["delivery"] += 500
    call = {name: line[name] for name in ("rendered_hash", "at")}
    scene.write("person", "wang", "attempts_recovered", scene.subject(row), {"calls": [call]})


def _absent(scene: Scene, row: Row, after: str, reason: str) -> None:
    scene.look(row, "not_found")
    scene.step(row, "not_found", "unknown", "reconciler")
    scene.wait(SETTLE + 1)
    scene.look(row, "not_found")
    scene.step(row, "absence_proven", after, "reconciler", reason=reason)


def absent(scene: Scene, row: Row) -> None:
    """Shown to be absent, and sent once more, where the platform allows it."""
    _ripe(scene, row)
    _lose(scene, row, acts=False)
    if row["platform"] == "tieba":
        _absent(scene, row, "held", "not_published")
        return
    _absent(scene, row, "due", "absence_proven")
    _go(scene, row)


def absent_twice(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    _lose(scene, row, acts=False, dies=True)
    if row["platform"] == "tieba":
        _absent(scene, row, "held", "not_published")
        return
    _absent(scene, row, "due", "absence_proven")
    _lose(scene, row, acts=False)
    _absent(scene, row, "held", "not_published_twice")


def refused(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    attempt = _start(scene, row)
    scene.call(row, acts=False)
    scene.end(attempt, "rejected", code="20012")
    scene.step(row, "rejected", "failed", "sender", reason="20012")


def refused_by_review(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    attempt = _start(scene, row)
    scene.take_down(row, scene.call(row), None)
    scene.end(attempt, "submitted")
    scene.step(row, "submitted", "submitted", "sender")
    scene.look(row, "rejected", code="4")
    scene.step(row, "rejected", "failed", "reconciler", reason="review")


def _pause_account(scene: Scene, row: Row) -> None:
    scene.pause(f"account:{row['account']}", "sender", "sender")
    scene.alert("account_paused", f"account:{row['account']}")
    scene.wait(3)
    scene.resume(f"account:{row['account']}")


def blocked(scene: Scene, row: Row) -> None:
    """A captcha: the account pauses, a person solves it and rules that it be sent again."""
    _ripe(scene, row)
    attempt = _start(scene, row)
    scene.call(row, acts=False)
    scene.end(attempt, "blocked", code="captcha")
    scene.step(row, "blocked", "held", "sender", reason="captcha")
    _pause_account(scene, row)
    scene.order("resolve", post=row["post"], account=row["account"])
    scene.step(row, "resolved", "due", "person", by="wang", reason="solved")
    scene.wait()
    _go(scene, row)


def signed_out(scene: Scene, row: Row) -> None:
    """The sign-in is refused twice in a row: held until a person has signed in, left so here."""
    _ripe(scene, row)
    for after in ("retrying", "held"):
        attempt = _start(scene, row)
        scene.call(row, acts=False)
        scene.end(attempt, "credential_expired", reason="expired")
        scene.step(row, "credential_expired", after, "sender", reason="auth")
        if after == "retrying":
            scene.step(row, "became_due", "due", "maintenance")
    _pause_account(scene, row)


def lookalike(to: str) -> Story:
    def story(scene: Scene, row: Row) -> None:
        _ripe(scene, row)
        _lose(scene, row, acts=False)
        scene.look(row, "possible_match", remote_id="other")
        scene.step(row, "possible_match", "held", "reconciler", reason="possible_match")
        scene.wait(2)
        scene.order("resolve", post=row["post"], account=row["account"])
        scene.step(row, "resolved", to, "person", by="wang", reason="seen")
        if to == "due":
            scene.wait()
            _go(scene, row)

    return story


def expired(scene: Scene, row: Row) -> None:
    """The account does not work until it is too late."""
    scene.outages.append(
        {"scope": f"account:{row['account']}", "from": iso(row["due_at"] / 1e6), "to": iso(scene.now + 99)}
    )
    row["expires_at"] = scene.micro + 2_000_000
    scene.duty(row)["expires"] = iso(row["expires_at"] / 1e6)
    _ripe(scene, row)
    scene.claim(row)
    scene.step(row, "released", "due", "sender")
    scene.wait(3)
    scene.step(row, "expired", "expired", "maintenance", reason="expired")


def poison(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    for after in ("due", "held"):
        scene.claim(row)
        scene.interruptions.append({"at": iso(scene.now), "kind": "killed"})
        scene.wait(LEASE)
        scene.step(row, "lease_expired", after, "maintenance", reason="poison" if after == "held" else None)


def withdrawn(scene: Scene, row: Row) -> None:
    """Withdrawn before its time; the order is for the whole post."""
    scene.order("cancel", post=row["post"])
    scene.write("person", "wang", "cancelled", row["post"], {"reason": "drill"})
    scene.step(row, "cancelled", "cancelled", "person", by="wang", reason="cancelled_by_person", desired="cancelled")


def _order_down(scene: Scene, row: Row) -> None:
    scene.wait(1)
    scene.order("retract", post=row["post"], account=row["account"])
    scene.write("person", "wang", "retraction_requested", row["post"], {"reason": "drill"})
    scene.step(row, "retraction_requested", "retracting", "person", by="wang", reason="drill", desired="taken_down")


def retracted(scene: Scene, row: Row) -> None:
    _ripe(scene, row)
    post = _go(scene, row)
    _order_down(scene, row)
    scene.wait()
    scene.take_down(row, post, "/2/statuses/destroy.json")
    scene.look(row, "deleted")
    scene.step(row, "deleted", "retracted", "retractor")


def retracted_in_doubt(scene: Scene, row: Row) -> None:
    """A retraction while the outcome is open: found first, then taken down, never sent again."""
    _ripe(scene, row)
    post = _lose(scene, row, acts=True)
    _order_down(scene, row)
    scene.look(row, "published")
    scene.step(row, "published", "retracting", "retractor", remote_id=post["id"])
    scene.wait()
    scene.take_down(row, post, "/2/statuses/destroy.json")
    scene.step(row, "deleted", "retracted", "retractor")


def stays_up(scene: Scene, row: Row) -> None:
    """The platform will not take it down: a person is asked, in red."""
    _ripe(scene, row)
    _go(scene, row)
    _order_down(scene, row)
    scene.look(row, "rejected", code="20112")
    scene.step(row, "rejected", "retracting", "retractor", reason="20112")
    scene.look(row, "possible_match", remote_id="other")
    scene.step(row, "possible_match", "held", "retractor", reason="possible_match")


def removed_and_sent_again(scene: Scene, row: Row) -> None:
    """Others take it down; a person orders a new occurrence."""
    _ripe(scene, row)
    scene.take_down(row, _go(scene, row), None)
    scene.look(row, "deleted")
    scene.wait(600)
    scene.look(row, "deleted")
    scene.step(row, "deleted", "removed", "reconciler", reason="removed_on_platform")
    scene.wait(5)
    scene.order("resend", post=row["post"], account=row["account"])
    scene.write("person", "wang", "resend_requested", scene.subject(row), {"reason": "drill"})
    again = scene.draft(row["post"], row["account"], due=scene.now, label=iso(scene.now))
    scene.file_again(again)
    _ripe(scene, again)
    _go(scene, again)


def removed_in_doubt(scene: Scene, row: Row) -> None:
    """What looked like ours is taken down by others, and then a person has it sent again: two copies, one standing."""
    _ripe(scene, row)
    post = _lose(scene, row, acts=True)
    scene.look(row, "possible_match", remote_id=post["id"])
    scene.step(row, "possible_match", "held", "reconciler", reason="possible_match")
    scene.wait(1)
    scene.take_down(row, post, None)
    scene.wait(1)
    scene.order("resolve", post=row["post"], account=row["account"])
    scene.step(row, "resolved", "due", "person", by="wang", reason="gone")
    _go(scene, row)


def mass_send(scene: Scene, row: Row) -> None:
    """The reply is lost, and the same attempt repeats its call under the platform's own key."""
    _ripe(scene, row)
    attempt, endpoint = _start(scene, row), "/cgi-bin/message/mass/sendall"
    post = scene.call(row, endpoint=endpoint, replies=False, fault="drop_after")
    scene.call(row, endpoint=endpoint, acts=False)
    scene.end(attempt, "submitted")
    scene.step(row, "submitted", "submitted", "sender")
    scene.look(row, "published")
    _live(scene, row, post, "reconciler")


def by_hand(scene: Scene, row: Row) -> None:
    """A person posts what publisher has prepared; a look proves it."""
    _ripe(scene, row)
    attempt = _start(scene, row)
    scene.end(attempt, "submitted")
    scene.step(row, "submitted", "submitted", "sender")
    scene.wait(2)
    post = scene.by_hand(row)
    scene.look(row, "published")
    _live(scene, row, post, "reconciler")


def paused(scene: Scene, row: Row) -> None:
    """The kill switch for a while; nothing starts under it."""
    _ripe(scene, row)
    scope = scene.dice.choice(
        ["all", f"platform:{row['platform']}", f"account:{row['account']}", f"post:{row['post']}"]
    )
    scene.pause(scope)
    scene.wait(4)
    scene.resume(scope)
    scene.wait()
    _go(scene, row)


def sent_sooner(scene: Scene, row: Row) -> None:
    """A person sends what would be due tomorrow: one entry for the post, and a new version of the row."""
    scene.wait()
    row.update(due_at=scene.micro, version=row["version"] + 1)
    scene.order("send", post=row["post"])
    scene.write("person", "wang", "send_requested", row["post"], {})
    _ripe(scene, row)
    _go(scene, row)


def edited(scene: Scene, row: Row) -> None:
    """An edit comes after another account had it: the rest is held."""
    _ripe(scene, row)
    scene.claim(row)
    scene.step(row, "revised", "held", "planner", reason="edited")


def edited_in_doubt(scene: Scene, row: Row) -> None:
    """An edit comes while nobody knows what became of the call: a person lets the old words go."""
    _ripe(scene, row)
    _lose(scene, row, acts=False)
    scene.edit(row, title=f"警惕诈骗 {row['post']}（改）")
    if row["platform"] == "tieba":
        _absent(scene, row, "held", "not_published")
        return
    _absent(scene, row, "held", "edited")
    scene.wait(2)
    scene.order("resolve", post=row["post"], account=row["account"])
    scene.step(row, "resolved", "due", "person", by="wang", reason="the old words")
    _go(scene, row)


def left_out_in_doubt(scene: Scene, row: Row) -> None:
    """Its account is taken out of the post while nobody knows what became of the call."""
    _ripe(scene, row)
    _lose(scene, row, acts=False)
    scene.edit(row, is_left_out=True)
    _absent(scene, row, "cancelled", "target_removed")


def missed(scene: Scene, row: Row) -> None:
    """Of two instants of a repeating post that an outage has covered only the newest goes out."""
    name, account = f"{row['post']}-daily", row["account"]
    dues = [scene.now + 1.0, scene.now + 3.0]
    older, newer = (scene.draft(name, account, due=due, label=iso(round(due, 6))) for due in dues)
    scene.accept(f"version with {name}", [older, newer])
    begins = scene.now
    scene.wait(6.0)
    scene.outages.append({"scope": "all", "from": iso(begins), "to": iso(scene.now)})
    scene.duty(older)["end"] = "expired"
    scene.step(older, "expired", "expired", "maintenance", reason="superseded")
    scene.rows["alert"][-1] |= {"code": "occurrences_missed", "subject": name}
    for one in (newer, row):
        _ripe(scene, one)
        _go(scene, one)


def on_its_way(stop: str) -> Story:
    """The first byte is there in time; the rest of it comes after a pause, or after the expiry."""

    def story(scene: Scene, row: Row) -> None:
        _ripe(scene, row)
        if stop == "expiry":
            row["expires_at"] = scene.micro + 3_000_000
            scene.duty(row)["expires"] = iso(row["expires_at"] / 1e6)
        attempt, began = _start(scene, row), scene.now + 0.1
        scene.wait(0.5)
        if stop == "pause":
            scene.pause(f"post:{row['post']}")
        scene.wait(3.5)
        post = scene.call(row, began=began)
        scene.end(attempt, "published")
        if stop == "pause":
            scene.resume(f"post:{row['post']}")
        row["extra_parts"] = 0
        _live(scene, row, post)

    return story


def clock_set_ahead(scene: Scene, row: Row) -> None:
    """The hosts' clock is hours ahead; the settle time is waited for all the same."""
    _ripe(scene, row)
    _lose(scene, row, acts=False)
    scene.set_clock(8 * 3600.0)
    if row["platform"] == "tieba":
        _absent(scene, row, "held", "not_published")
    else:
        _absent(scene, row, "due", "absence_proven")
        _go(scene, row)
    scene.set_clock(0.0)


def revised(scene: Scene, row: Row) -> None:
    """An edit before its time."""
    scene.step(row, "revised", "pending", "planner")
    _ripe(scene, row)
    _go(scene, row)


def kept_for_later(scene: Scene, row: Row) -> None:
    """Not due yet when the run ends."""


STORIES: dict[str, tuple[Story, str | None]] = {
    "plain": (plain, "published"),
    "rewritten": (rewritten, "published"),
    **{
        outcome: (refused_for_now(outcome), "published")
        for outcome in ("not_sent", "rate_limited", "busy", "credential_expired")
    },
    "found": (found_again(dies=False), "published"),
    "found after death": (found_again(dies=True), "published"),
    "held up": (held_up, "published"),
    "brought back": (brought_back, "published"),
    "absent": (absent, "published"),
    "absent twice": (absent_twice, "published"),
    "refused": (refused, "published"),
    "refused by review": (refused_by_review, "published"),
    "blocked": (blocked, "published"),
    "signed out": (signed_out, "published"),
    **{f"lookalike to {to}": (lookalike(to), "published") for to in ("due", "failed", "cancelled")},
    "expired": (expired, "published"),
    "poison": (poison, "published"),
    "withdrawn": (withdrawn, "cancelled"),
    "retracted": (retracted, "retracted"),
    "retracted in doubt": (retracted_in_doubt, "retracted"),
    "stays up": (stays_up, "retracted"),
    "removed": (removed_and_sent_again, "published"),
    "removed in doubt": (removed_in_doubt, "published"),
    "mass send": (mass_send, "published"),
    "by hand": (by_hand, "published"),
    "paused": (paused, "published"),
    "sent sooner": (sent_sooner, "published"),
    "edited": (edited, "published"),
    "revised": (revised, "published"),
    "later": (kept_for_later, None),
    "parts": (parts, "published"),
    "edited in doubt": (edited_in_doubt, "published"),
    "left out in doubt": (left_out_in_doubt, "cancelled"),
    "missed": (missed, "published"),
    "paused on its way": (on_its_way("pause"), "published"),
    "expired on its way": (on_its_way("expiry"), "published"),
    "clock set ahead": (clock_set_ahead, "published"),
}
"""Each story, and how it was meant to end."""
ONLY = {"rewritten": "weibo", "mass send": "wechat", "parts": "tieba"}
"""Stories that play on one platform only."""
TOMORROW = ("withdrawn", "sent sooner", "later")
"""Stories of what is not due within the run."""
