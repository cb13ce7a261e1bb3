"""What must hold at the end of a run, asked of the platforms' record, the database and the audit by plain reading.

Nothing here calls the product: what both sides got wrong would stay hidden.
"""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.chaos.checker.shaping import post_id
from tests.simulation.platforms import EPOCH
from tests.simulation.record import (
    HASHED,
    PREFIX,
    Version,
    attempts,
    begun,
    calls,
    calls_for,
    deliveries,
    is_ruled,
    looked,
    name_of,
    over,
    past_of,
    story,
    words_of,
    written,
)
from tests.simulation.simulation import ENDED, Outage, Simulation, following_held
from tests.simulation.workspace import GAP

STOPPED = 1.0
"""Within so many seconds of a pause, a retraction or an edit no further call starts."""
HEARD = 0.2
"""Seconds that a first byte may take to arrive."""
CLOCK_OFF = 2.0
"""Seconds by which a clock that is right may be wrong all the same."""
RECOVERY = 900.0
"""Seconds after an outage within which what is due has been tried again."""
TOLD_WITHIN = 60.0
HOUR = 3600.0
GAPS = frozenset({"died", "down", "frozen", "clock", "pause"})
"""What happens to a daemon between two tries, so that the next one may be too late."""
ROOMY = 100
"""So many calls in an hour are never too few for a run."""
STEPS: Mapping[str, set[str]] = {
    "pending": {"pending", "due", "cancelled", "expired", "held"},
    "due": {"due", "pending", "claimed", "cancelled", "expired", "held"},
    "claimed": {"claimed", "pending", "due", "sending", "cancelled", "expired", "held"},
    "retrying": {"retrying", "pending", "due", "cancelled", "expired", "held"},
    "sending": {
        "sending", "published", "submitted", "failed", "retrying", "held", "unknown", "retracting", "cancelled",
        "due",
    },
    "submitted": {"submitted", "published", "failed", "removed", "held", "retracting", "unknown", "due", "cancelled"},
    "unknown": {
        "unknown", "published", "submitted", "failed", "removed", "held", "due", "expired", "cancelled", "retracting",
    },
    "held": {
        "held", "due", "retrying", "submitted", "unknown", "published", "retracting", "retracted", "removed",
        "failed", "expired", "cancelled",
    },
    "published": {"retracting", "removed"},
    "retracting": {"retracting", "retracted", "held", "cancelled"},
}  # fmt: skip
"""Where each state may lead; the ended ones lead nowhere."""

Check = Callable[[Simulation], Iterator[str]]


def violations(simulation: Simulation) -> list[str]:
    """Give all that is wrong, each with the number of the promise that is broken."""
    found = [f"life: {trouble}" for trouble in simulation.wrong]
    for name, check in CHECKS:
        found += [f"{name}: {trouble}" for trouble in check(simulation)]
    return found


def i1_at_most_one(simulation: Simulation) -> Iterator[str]:
    """One creation for each delivery, unless an earlier copy was gone and a person ordered another.

    What a review refused before anybody could see it was never a post.
    """
    gone = {line["post_id"]: line["t"] for line in simulation.log if line["kind"] == "removed"}
    seen = {line["post_id"] for line in simulation.log if line["kind"] == "visible"}
    for row in deliveries(simulation):
        copies = [post for post in simulation.copies(row) if post.id in seen or post.state != "refused"]
        for first, second in pairwise(copies):
            ruled = [entry for entry in story(simulation, row) if entry["event"] == "resolved"]
            between = [entry for entry in ruled if first.created < written(simulation, entry) < second.created]
            if not (gone.get(first.id, float("inf")) <= second.created and between):
                yield f"{name_of(row)} was made twice: {first.id} and {second.id}"


def i2_no_silent_end(simulation: Simulation) -> Iterator[str]:
    """Whatever has not ended is with a person, who has been reported, or waits for what is."""
    rows = deliveries(simulation)
    for row in rows:
        if row["state"] == "held" or simulation.is_left_red(row):
            if not _alerts(simulation, row, only_open=True):
                yield f"{name_of(row)} is {row['state']} ({row['reason']}) and nobody was told"
        elif row["id"] in following_held(rows):
            continue
        elif row["state"] not in ENDED:
            yield f"{name_of(row)} is still {row['state']} ({row['reason']})"
        elif row["state"] != "published" and not row["reason"] and row["state"] != "retracted":
            yield f"{name_of(row)} ended {row['state']} without a reason"


def i3_intent_before_call(simulation: Simulation) -> Iterator[str]:
    """Each call has an announcement of its own, committed before it came, whose lease had not ended when it left."""
    used: set[int] = set()
    for call in calls(simulation):
        if call["attempt"] is None or call["attempt"]["id"] in used:
            yield f"a call reached {call['account']} at {call['t']} that nobody had announced"
        else:
            used.add(call["attempt"]["id"])


def i4_what_was_filed_is_what_was_sent(simulation: Simulation) -> Iterator[str]:
    """The words that arrived are those of the rendition that an attempt names, and no others."""
    for row in deliveries(simulation):
        wanted = []
        for attempt in attempts(simulation, row["id"]):
            if words := words_of(simulation, attempt["rendered_hash"]):
                wanted.append(words)
            else:
                yield f"{name_of(row)} has lost the words of its attempt {attempt['number']}"
        for post in simulation.copies(row):
            if post.extra.get("rewritten"):
                continue
            said = _plain(f"{post.extra.get('sent', '')}{post.title}{post.text}{post.html}")
            parts = ([_plain(body[part] or "") for part in ("title", "text", "summary")] for body in wanted)
            if not any(_says_only(said, *words) for words in parts):
                yield f"{name_of(row)}: {post.id} does not say what was filed"


def _says_only(said: str, title: str, text: str, summary: str) -> bool:
    """Whether these words stand there and nothing beside them but the summary, which may be empty."""
    return title in said and text in said and not said.replace(text, "").replace(title, "").replace(summary, "")


def i4_an_edit_is_kept(simulation: Simulation) -> Iterator[str]:
    """Soon after a version is accepted no call says what it does not say, unless a person wants the old words."""
    versions = [Version(simulation, row) for row in simulation.rows("SELECT * FROM schedule ORDER BY id")]
    for call, row in calls_for(simulation):
        felt = sum(version.since < call["t"] - STOPPED - HEARD for version in versions)
        accepted = sum(version.since < call["t"] for version in versions)
        if not felt or "." in row["occurrence"]:
            continue
        if row["occurrence"] != "once" and versions[felt - 1].since > row["due_at"] / 1e6:
            continue
        found = [_breaks_edit(simulation, call, row, versions[:last]) for last in range(felt, accepted + 1)]
        if all(found):  # a version of the last second may be followed or not
            yield f"{name_of(row)} {found[0]}"


def _breaks_edit(simulation: Simulation, call: Mapping[str, Any], row: Any, versions: Sequence[Version]) -> str | None:
    """Say what is wrong with a call by the newest of these versions, if anything is."""
    title, now = (
        words_of(simulation, call["attempt"]["rendered_hash"]).get("title"),
        versions[-1].posts.get(row["post"]),
    )
    if now is None or row["account"] not in now["to"]:
        return f"went out at {call['t']}, though the schedule did not name it any more"
    if now["title"] == title:
        return None
    since = max((one.since for one in versions if one.title(row["post"]) == title), default=0.0)
    edited = min(one.since for one in versions if one.since > since and one.title(row["post"]) != title)
    if _kept_by_a_person(simulation, row, edited, call["t"]):
        return None
    return f"went out as {title} at {call['t']}, though it was to be {now['title']}"


def _kept_by_a_person(simulation: Simulation, row: Any, since: float, until: float) -> bool:
    """Whether a person was asked about the edit, and said meanwhile that the old words shall go."""
    reason = None
    for entry in story(simulation, row):
        if entry["event"] == "resolved" and reason == "edited" and since < written(simulation, entry) < until:
            return True
        reason = json.loads(entry["detail"]).get("reason") if entry["after"] == "held" else None
    return False


def i6_only_in_its_window(simulation: Simulation) -> Iterator[str]:
    """No call before its instant, after its expiry or, at first, later than allowed, by the clock on the wall."""
    for row in deliveries(simulation):
        for attempt in attempts(simulation, row["id"]) if row["post"] not in simulation.workspace.moved else ():
            if attempt["intended_at"] < row["due_at"]:
                yield f"{name_of(row)} was sent before it was due"
            if attempt["intended_at"] >= row["expires_at"]:
                yield f"{name_of(row)} was sent after its expiry"
    started: set[int] = set()
    for call, row in calls_for(simulation):
        is_first = row["id"] not in started
        started.add(row["id"])
        if row["post"] in simulation.workspace.moved:
            continue
        due, expires, most = row["due_at"] / 1e6, row["expires_at"] / 1e6, row["max_delay"] / 1e6
        if call["t"] < due - CLOCK_OFF and "." not in row["occurrence"]:
            yield f"a call for {name_of(row)} came {due - call['t']:.0f} s before it was due"
        if call["t"] > expires + CLOCK_OFF + HEARD:
            yield f"a call for {name_of(row)} came {call['t'] - expires:.1f} s after its expiry"
        if is_first and call["t"] > due + most + CLOCK_OFF + HEARD and not _kept_back(simulation, row, due, call["t"]):
            yield f"a first call for {name_of(row)} came {call['t'] - due:.0f} s late, {most:.0f} are allowed"


def _kept_back(simulation: Simulation, row: Any, since: float, until: float) -> bool:
    """Whether a person let it go so late, or limits, a doubt on its login or the way there kept it back meanwhile."""
    if any(begun(simulation, one) < until for one in _unsent(simulation, row)):
        return True
    on_login = simulation.rows("SELECT * FROM attempt WHERE login = ?", row["login"])
    limited = [one for one in on_login if one["outcome"] not in ("not_sent", "published", "submitted")]
    is_limited = simulation.shape.per_hour < ROOMY or any(begun(simulation, one) < until for one in limited)
    return is_limited or is_ruled(simulation, row) or since < EPOCH


def _unsent(simulation: Simulation, row: Any) -> list[Any]:
    """Give the attempts whose call never left, although nobody died over it."""
    return [
        one
        for one in attempts(simulation, row["id"])
        if one["outcome"] == "not_sent" and json.loads(one["detail"])["reason"] != "never_started"
    ]


def i6_only_the_newest_missed(simulation: Simulation) -> Iterator[str]:
    """Of the instants of a repeating post that an outage has covered no more than the newest goes out (F63)."""
    first: dict[int, float] = {}
    for call, row in calls_for(simulation):
        first.setdefault(row["id"], call["t"])
    for outage in simulation.outages:
        for rows in _missed(simulation, outage).values():
            for older, newer in pairwise(rows):
                called = first.get(older["id"], 0.0)
                if called > newer["due_at"] / 1e6 + CLOCK_OFF and not is_ruled(simulation, older):
                    yield f"{name_of(older)} was missed and sent, though {newer['occurrence']} was missed as well"


def _missed(simulation: Simulation, outage: Outage) -> Mapping[tuple[str, str], Sequence[Any]]:
    """Give the occurrences of repeating posts that an outage has covered, by post and account, oldest first."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in sorted(deliveries(simulation), key=lambda one: one["due_at"]):
        entry = simulation.workspace.every.get(row["post"])
        if (
            entry
            and entry.cron
            and "." not in row["occurrence"]
            and outage.begins <= row["due_at"] / 1e6 <= outage.ends
        ):
            found[row["post"], row["account"]].append(row)
    return found


def i7_unknown_is_never_retried_blind(simulation: Simulation) -> Iterator[str]:
    """Between a call in doubt and the next lies proven absence, or a person's decision."""
    for row in deliveries(simulation):
        tries = attempts(simulation, row["id"])
        for first, second in pairwise(tries):
            if first["outcome"] in ("not_sent", "rate_limited", "busy", "credential_expired"):
                continue
            acts = [entry for entry in story(simulation, row) if entry["event"] == "resolved"]
            if any(begun(simulation, first) < written(simulation, one) < begun(simulation, second) for one in acts):
                continue
            looks = simulation.rows(
                "SELECT * FROM readback WHERE delivery = ? AND attempt = ? AND result = 'not_found'",
                row["id"],
                first["number"],
            )
            looks = [look for look in looks if looked(simulation, look) < begun(simulation, second)]
            until = over(simulation, first) + simulation.shape.waits.settle - CLOCK_OFF
            settled = first["ended_at"] is not None and any(looked(simulation, look) > until for look in looks)
            if len(looks) < 2 or not settled:
                yield f"{name_of(row)}: attempt {second['number']} follows a doubt, blindly"
        resent = [entry for entry in story(simulation, row) if entry["event"] == "absence_proven"]
        if sum(entry["after"] == "due" for entry in resent) > 1:
            yield f"{name_of(row)} was sent again twice without a person"


def i8_published_is_true(simulation: Simulation) -> Iterator[str]:
    """A published row names a post of that account, with its own words, that no other row names."""
    owners: dict[tuple[str, str], str] = {}
    for row in deliveries(simulation):
        if row["remote_id"] is None:
            if row["state"] == "published":
                yield f"{name_of(row)} is published, but names no post"
            continue
        key = (row["account"], row["remote_id"])
        if key in owners:
            yield f"{row['remote_id']} belongs to {owners[key]} and to {name_of(row)}"
        owners[key] = name_of(row)
        if row["is_manually_confirmed"]:
            continue
        if post_id(row["remote_id"]) not in {post.id for post in simulation.copies(row)}:
            yield f"{name_of(row)} names {row['remote_id']}, which is not its post"
    for row in deliveries(simulation):
        standing = [post for post in simulation.copies(row) if post.state == "live"]
        if standing and row["state"] in ENDED - {"published"} and not is_ruled(simulation, row):
            yield f"{name_of(row)} is {row['state']}, but {standing[0].id} is live"


def i9_no_loss(simulation: Simulation) -> Iterator[str]:
    """What nobody stopped, refused or limited in time has been published."""
    workspace = simulation.workspace
    people = {
        reported.subject.partition("@")[0] for reported in simulation.reported if reported.what in ("cancel", "retract")
    }
    for row in deliveries(simulation):
        entry = workspace.every.get(row["post"])
        is_decided = row["state"] in ("published", "held", "retracted", "removed") or is_ruled(simulation, row)
        if entry is None or is_decided:
            continue
        touched = row["post"] in people | workspace.edited | workspace.removed
        followed = row["follows"] is not None
        if row["state"] == "failed" and not _was_refused(simulation, row):
            yield f"{name_of(row)} failed ({row['reason']}), though no platform refused it"
        if row["state"] == "expired" and not (entry.is_tight or touched or _was_overtaken(simulation, row)):
            yield f"{name_of(row)} expired ({row['reason']}), though there was time"
        if row["state"] == "cancelled" and not (touched or followed or _was_told_of_return(simulation, row)):
            yield f"{name_of(row)} was cancelled ({row['reason']}), though nobody wanted that"
    shape = simulation.shape
    if not (shape.create or shape.read or shape.orders or shape.appointed or shape.chance_of_death or shape.kills):
        for row in deliveries(simulation):
            if row["state"] != "published":
                yield f"{name_of(row)} is {row['state']}, though nothing happened"


def _was_overtaken(simulation: Simulation, row: Any) -> bool:
    """Whether it was an instant of a repeating post, of which a later one had come before it expired for that."""
    if row["reason"] != "superseded":
        return False
    ended = [written(simulation, one) for one in story(simulation, row) if one["after"] == "expired"]
    same = (one for one in deliveries(simulation) if (one["post"], one["account"]) == (row["post"], row["account"]))
    until = (ended[-1] + CLOCK_OFF) * 1e6
    return any(row["due_at"] < one["due_at"] <= until for one in same if one["occurrence"] != "once")


def i9_an_outage_makes_nobody_late(simulation: Simulation) -> Iterator[str]:
    """What was tried in time, and found no way there, is not too late for that as long as the daemon lives.

    While the machine cannot write its journal nothing is tried: that is as if no daemon ran.
    """
    for row in deliveries(simulation):
        tries = [
            one for one in _unsent(simulation, row) if json.loads(one["detail"])["reason"] != "journal_write_failed"
        ]
        tried = [begun(simulation, one) for one in tries]
        ended = [written(simulation, one) for one in story(simulation, row) if one["after"] == "expired"]
        if row["reason"] != "too_late" or not tried or not ended:
            continue
        if not any(
            tried[0] < EPOCH + reported.at < ended[-1] for reported in simulation.reported if reported.what in GAPS
        ):
            yield f"{name_of(row)} was tried in time, and expired as too late"


def i9_what_is_held_for_deaths_has_seen_them(simulation: Simulation) -> Iterator[str]:
    """Only what a daemon has died over, twice, is held as its killer."""
    died = [EPOCH + reported.at for reported in simulation.reported if reported.what == "died"]
    for row in deliveries(simulation):
        for entry in story(simulation, row):
            is_blamed = entry["after"] == "held" and json.loads(entry["detail"]).get("reason") == "poison"
            if is_blamed and sum(at < written(simulation, entry) for at in died) < 2:
                yield f"{name_of(row)} is held for deaths that never were"


def i9_the_newest_missed_is_made_up_for(simulation: Simulation) -> Iterator[str]:
    """After an outage the newest instant that it has covered goes out if it may, unless the next one is there."""
    for outage in simulation.outages:
        for (post, account), rows in _missed(simulation, outage).items():
            newest = rows[-1]
            later = [row for row in deliveries(simulation) if (row["post"], row["account"]) == (post, account)]
            later = [row for row in later if 0 <= row["due_at"] / 1e6 - newest["due_at"] / 1e6 <= RECOVERY + HOUR / 3]
            may_go = outage.ends + RECOVERY < (newest["due_at"] + newest["max_delay"]) / 1e6
            if may_go and not any(row["state"] in ("published", "held") for row in later):
                yield f"{name_of(newest)} was missed and is {newest['state']} ({newest['reason']})"


def i10_trouble_is_told(simulation: Simulation) -> Iterator[str]:
    """Each end that is not a person's wish has an alert of the same minute."""
    for row in deliveries(simulation):
        for entry in story(simulation, row):
            if entry["after"] not in ("held", "failed", "expired") or entry["after"] == entry["before"]:
                continue
            own = [one for one in _alerts(simulation, row) if one["code"].split(".")[0] == entry["after"]]
            reported = [*own, *(_alerts_of_missed(simulation, row) if entry["after"] == "expired" else ())]
            if entry["role"] != "person" and not any(
                0 <= one["at"] - entry["at"] <= TOLD_WITHIN * 1e6 for one in reported
            ):
                yield f"{name_of(row)} became {entry['after']} and nobody was told"


def i12_legal_steps_only(simulation: Simulation) -> Iterator[str]:
    """States follow one another as the table says; versions count the steps; what has ended stays so."""
    for row in deliveries(simulation):
        state, version = None, None
        for entry in story(simulation, row):
            if entry["after"] is None:
                continue
            if entry["event"] == "planned":
                state = entry["after"]
                continue
            detail = json.loads(entry["detail"])
            if entry["before"] != state:
                yield f"{name_of(row)}: {entry['event']} began at {entry['before']}, not at {state}"
            if entry["after"] not in STEPS.get(entry["before"], set()):
                yield f"{name_of(row)}: {entry['before']} -> {entry['after']} by {entry['event']}"
            if version is not None and detail["version"] != version + 1:
                yield f"{name_of(row)}: version {version} was followed by {detail['version']}"
            state, version = entry["after"], detail["version"]
        if state != row["state"]:
            yield f"{name_of(row)} is {row['state']}, the audit says {state}"


def i12_what_has_ended_stays(simulation: Simulation) -> Iterator[str]:
    """Nothing of what ended before the run is other than it was."""
    now = {row["id"]: tuple(row) for row in past_of(simulation)}
    for before in simulation.remembered:
        if now.get(before["id"]) != tuple(before):
            yield f"{name_of(before)} of the past was {tuple(before)} and is {now.get(before['id'])}"


def i13_one_sender(simulation: Simulation) -> Iterator[str]:
    """Attempts are numbered without gaps, each by an epoch of its own, and one is over before the next begins."""
    for row in deliveries(simulation):
        tries = attempts(simulation, row["id"])
        if [attempt["number"] for attempt in tries] != list(range(1, row["attempts"] + 1)):
            yield f"{name_of(row)} has attempts {[attempt['number'] for attempt in tries]}"
        for first, second in pairwise(tries):
            if first["fencing_token"] >= second["fencing_token"]:
                yield f"{name_of(row)}: attempts {first['number']} and {second['number']} share an epoch"
            if first["ended_at"] is None or over(simulation, first) > begun(simulation, second):
                yield f"{name_of(row)}: attempt {second['number']} began before the one before it was over"


def i14_pause_holds(simulation: Simulation) -> Iterator[str]:
    """No call is announced in a paused scope, and no first byte of one announced before comes later than a second."""
    entries = simulation.rows("SELECT * FROM audit WHERE event IN ('paused', 'resumed') ORDER BY id")
    heard = calls_for(simulation)
    for entry in (entry for entry in entries if entry["event"] == "paused"):
        began, scope = written(simulation, entry), entry["subject"]
        resumed = (one for one in entries if one["event"] == "resumed" and one["subject"] == scope)
        ends = next((written(simulation, one) for one in resumed if one["id"] > entry["id"]), float("inf"))
        for row in (row for row in deliveries(simulation) if scope in _scopes(row)):
            if any(began + 0.001 < begun(simulation, one) < ends for one in attempts(simulation, row["id"])):
                yield f"{name_of(row)} was announced while {scope} was paused"
        for call, row in heard:
            if scope in _scopes(row) and began + STOPPED + HEARD < call["t"] < ends:
                late = call["t"] - began
                yield f"a call for {name_of(row)} came {late:.1f} s after {scope} was paused"


def i15_limits_are_kept(simulation: Simulation) -> Iterator[str]:
    """Between two calls of a login lies its gap, and whatever rest the platform asked for; no hour holds too many."""
    logins = simulation.rows("SELECT DISTINCT login FROM attempt ORDER BY login")
    for login in logins:
        query = "SELECT * FROM attempt WHERE login = ? AND outcome IS NOT 'not_sent' ORDER BY intended_at"
        found = simulation.rows(query, login["login"])
        tries = [one for one in found if begun(simulation, one)]
        for first, last in zip(tries, tries[simulation.shape.per_hour :], strict=False):
            if begun(simulation, last) - begun(simulation, first) < HOUR - CLOCK_OFF:
                yield f"{login['login']} made more than {simulation.shape.per_hour} calls within an hour"
        for first, second in pairwise(tries):
            rest = begun(simulation, second) - begun(simulation, first)
            if rest < GAP - HEARD:
                yield f"{login['login']} spoke twice within {rest:.1f} s"
            reported = json.loads(first["detail"] or "{}")
            if first["outcome"] == "rate_limited" and reported.get("until"):
                until = datetime.fromisoformat(reported["until"]).timestamp()
                until -= simulation.ahead_at(over(simulation, first))
                if begun(simulation, second) < until - HEARD:
                    yield f"{login['login']} spoke before the platform allowed"


def i16_retract_wins(simulation: Simulation) -> Iterator[str]:
    """After a retraction or a cancellation no call starts for the post; what is live of it is shown red."""
    heard = calls_for(simulation)
    for row in deliveries(simulation):
        entries = [one for one in story(simulation, row) if one["event"] in ("retraction_requested", "cancelled")]
        for entry in entries[:1]:
            ordered, event = written(simulation, entry), entry["event"]
            if any(begun(simulation, one) > ordered for one in attempts(simulation, row["id"])):
                yield f"{name_of(row)} was announced after {event}"
            for call, mine in heard:
                if mine["id"] == row["id"] and call["t"] > ordered + STOPPED + HEARD:
                    yield f"a call for {name_of(row)} came {call['t'] - ordered:.1f} s after {event}"
        standing = [post for post in simulation.copies(row) if post.state == "live"]
        is_ordered = any(entry["event"] == "retraction_requested" for entry in entries)
        if is_ordered and standing and row["state"] not in ("retracting", "held") and not row["is_manually_confirmed"]:
            yield f"{name_of(row)} was to be taken down, is {row['state']}, and {standing[0].id} is live"


def i17_one_occurrence_once(simulation: Simulation) -> Iterator[str]:
    """A repeating post has one occurrence for each of its instants, a one-off post one and what people ordered."""
    for row in deliveries(simulation):
        entry = simulation.workspace.every.get(row["post"])
        if entry is None or row["post"] in simulation.workspace.edited:
            continue
        if (
            entry.cron is None
            and row["occurrence"] != "once"
            and not any(
                reported.what == "resend" and reported.subject == f"{row['post']}@{row['account']}"
                for reported in simulation.reported
            )
        ):
            yield f"{name_of(row)} is an occurrence that nobody planned"
        if (
            entry.period is not None
            and row["scheduled_at"] % (entry.period * 60_000_000)
            and "." not in row["occurrence"]
        ):
            yield f"{name_of(row)} falls on no instant of its own"


def i18_the_audit_is_whole(simulation: Simulation) -> Iterator[str]:
    """Entries are numbered without gaps, each hash covers the row and the hash before it."""
    entries = simulation.rows("SELECT * FROM audit ORDER BY id")
    for number, entry in enumerate(entries, 1):
        if entry["id"] != number:
            yield f"entry {number} is missing"
            return
        spelled = json.dumps([number, *(entry[name] for name in HASHED)], separators=(",", ":"))
        if hashlib.sha256(PREFIX + spelled.encode()).hexdigest() != entry["hash"]:
            yield f"entry {number} is not what was hashed"
    for first, second in pairwise(entries):
        if second["previous"] != first["hash"]:
            yield f"entry {second['id']} is not bound to the one before"
        if first["at"] > second["at"] + 1e6 and not simulation.clocks:
            yield f"entry {second['id']} is older than the one before"
    if len({entry["hash"] for entry in entries}) != len(entries):
        yield "two entries share a hash"


def i21_one_occurrence_one_text(simulation: Simulation) -> Iterator[str]:
    """Live copies of one occurrence have one title, unless a person decided otherwise."""
    titles: dict[tuple[str, str], set[Any]] = defaultdict(set)
    for row in deliveries(simulation):
        if is_ruled(simulation, row) or row["state"] != "published":
            continue
        for attempt in attempts(simulation, row["id"])[-1:]:
            titles[row["post"], row["occurrence"]].add(words_of(simulation, attempt["rendered_hash"]).get("title"))
    for key, found in titles.items():
        if len(found) > 1:
            yield f"{key} went out as {sorted(found)}"


def i22_reload_is_all_or_nothing(simulation: Simulation) -> Iterator[str]:
    """Every one-off post of the schedule in force stands in the database for each of its accounts, or was withdrawn."""
    versions = [Version(simulation, row) for row in simulation.rows("SELECT * FROM schedule ORDER BY id")]
    known = {row["id"]: row for row in simulation.rows("SELECT * FROM post")}
    filed = {(row["post"], row["account"]) for row in simulation.rows("SELECT post, account FROM delivery")}
    ever = {post for version in versions for post in version.posts}
    for post, row in known.items():
        if post not in ever:
            yield f"{post} is known, but stood in no accepted schedule"
        entry = simulation.workspace.every.get(post)
        if (
            entry is None
            or row["is_cancelled"]
            or entry.cron
            or post in simulation.workspace.edited | simulation.workspace.removed
        ):
            continue
        for account in entry.accounts:
            if (post, account) not in filed and versions and post in versions[-1].posts:
                yield f"{post}@{account} stands in the schedule, but was never filed"


CHECKS: Sequence[tuple[str, Check]] = (
    ("I1", i1_at_most_one),
    ("I2", i2_no_silent_end),
    ("I3", i3_intent_before_call),
    ("I4", i4_what_was_filed_is_what_was_sent),
    ("I4", i4_an_edit_is_kept),
    ("I6", i6_only_in_its_window),
    ("I6", i6_only_the_newest_missed),
    ("I7", i7_unknown_is_never_retried_blind),
    ("I8", i8_published_is_true),
    ("I9", i9_no_loss),
    ("I9", i9_an_outage_makes_nobody_late),
    ("I9", i9_what_is_held_for_deaths_has_seen_them),
    ("I9", i9_the_newest_missed_is_made_up_for),
    ("I10", i10_trouble_is_told),
    ("I12", i12_legal_steps_only),
    ("I12", i12_what_has_ended_stays),
    ("I13", i13_one_sender),
    ("I14", i14_pause_holds),
    ("I15", i15_limits_are_kept),
    ("I16", i16_retract_wins),
    ("I17", i17_one_occurrence_once),
    ("I18", i18_the_audit_is_whole),
    ("I21", i21_one_occurrence_one_text),
    ("I22", i22_reload_is_all_or_nothing),
)


def _alerts(simulation: Simulation, row: Any, *, only_open: bool = False) -> list[Any]:
    found = simulation.rows("SELECT * FROM alert WHERE subject = ?", name_of(row))
    return [alert for alert in found if alert["cleared_at"] is None or not only_open]


def _alerts_of_missed(simulation: Simulation, row: Any) -> list[Any]:
    """Give the alerts that stand for all missed instants of a repeating post."""
    query = "SELECT * FROM alert WHERE subject = ? AND code = 'occurrences_missed'"
    return simulation.rows(query, row["post"]) if row["occurrence"] != "once" else []


def _was_told_of_return(simulation: Simulation, row: Any) -> bool:
    """Whether a half-saved file took the post out, and the whole one was refused in words that name it."""
    reported = simulation.rows("SELECT facts FROM alert WHERE code = 'reload_refused'")
    return row["reason"] == "removed_from_schedule" and any(row["post"] in alert["facts"] for alert in reported)


def _scopes(row: Any) -> set[str]:
    return {"all", f"platform:{row['platform']}", f"account:{row['account']}", f"post:{row['post']}"}


def _was_refused(simulation: Simulation, row: Any) -> bool:
    said = [attempt["outcome"] for attempt in attempts(simulation, row["id"])]
    looks = simulation.rows("SELECT result FROM readback WHERE delivery = ?", row["id"])
    return "rejected" in said or any(look["result"] == "rejected" for look in looks)


def _plain(text: str) -> str:
    bare = re.sub(r"<[^>]+>|media:\w+|https?://\S+", "", text)
    return "".join(letter for letter in unicodedata.normalize("NFKC", bare) if letter.isalnum())
