"""The creations on the platforms: I1, I3, I4, I8, I11, I13, I21."""

import hashlib
import json
import tomllib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any

from .history import (
    BEFORE_CALL,
    ENDED,
    MICRO,
    History,
    NotJudgedError,
    PublishedCopy,
    RecordedDelivery,
    ScheduleVersion,
    Sighting,
    SimulatorLogEntry,
    Violation,
    Words,
)
from .trace import (
    KEYED,
    CreatingCall,
    Creation,
    live_copies,
    received_words,
    recovered_calls,
    sent_words,
    trace_of,
)

JOURNAL_RETENTION = 90 * 86400.0
"""Seconds that each line of a journal is kept, even if the journal says otherwise."""
EXTERNAL_POSTS = frozenset({"unauthorized_post", "external_post"})
"""Codes of the alerts that explain a post nobody here made."""
EDIT_GRACE = 1.0
"""Seconds until an accepted edit must take effect."""
Posts = Mapping[str, Mapping[str, Any]]
FOREIGN = "wrong_account"
"""The fault of an answer that names another account."""
NOT_MADE = frozenset({"not_published", "captcha", "poison"})
"""Holds of deliveries that were never made."""
LEFT_OUT = "posts_left_out"
"""The code of the alert that names the posts that stay as planned, even if the schedule differs."""
OPEN = frozenset({"sending", "unknown", "submitted", "retracting"})
"""States with a post on the account that may come from a call, with any words on a list."""
LATE = 60.0
"""Most seconds of delay, beyond its interval, in the monitor's reads of an account."""


def at_most_one(history: History) -> Iterator[Violation]:
    """I1: each delivery has at most one creation, unless it was gone and a person ordered another.

    A post that a review has refused was never a post.
    """
    made: dict[int, list[Creation]] = defaultdict(list)
    for creation in trace_of(history).creations:
        keys = {owner.id for owner in (creation.by_marker, creation.by_text) if owner}
        if len(keys) > 1:
            yield Violation(
                _subjects(history, keys),
                "marker and text of one post belong to two deliveries",
                (creation.where, *(f"delivery:{key}" for key in sorted(keys))),
            )
        is_refused = creation.copy is not None and creation.copy.state == "refused"
        if not is_refused and not creation.is_part:
            for key in keys or _by_call(creation):
                made[key].append(creation)
    for key, creations in made.items():
        for earlier, later in pairwise(creations):
            if not _may_follow(history, history.deliveries[key], earlier, later):
                subject, count = history.deliveries[key].subject, len(creations)
                yield Violation(
                    subject, f"made {count} times", (earlier.where, later.where)
                )
    yield from _doubled_parts(history)


def _subjects(history: History, keys: set[int]) -> str:
    return " and ".join(history.deliveries[key].subject for key in sorted(keys))


def _by_call(creation: Creation) -> set[int]:
    """Return the delivery of an attempt's call, for a post without our marker and text."""
    return (
        {creation.call.attempt.delivery}
        if creation.call and creation.call.attempt
        else set()
    )


def _may_follow(
    history: History, delivery: RecordedDelivery, earlier: Creation, later: Creation
) -> bool:
    gone = [
        e
        for e in history.log
        if e.kind == "removed"
        and e.post_id == earlier.act.post_id
        and e.at <= later.act.at
    ]
    acts = history.acts_on.get(delivery.subject, ())
    return any(
        act.role == "person"
        and act.event == "resolved"
        and entry.at <= act.at <= later.act.at
        for act in acts
        for entry in gone
    )


def _doubled_parts(history: History) -> Iterator[Violation]:
    parts: dict[tuple[str, str], list[Creation]] = defaultdict(list)
    for creation in trace_of(history).creations:
        if creation.copy and creation.copy.thread:
            parts[creation.copy.thread, creation.copy.text].append(creation)
    for (thread, _text), same in parts.items():
        if len(same) > 1:
            owner = same[0].owner
            yield Violation(
                owner.subject if owner else f"thread {thread}",
                f"one part was made {len(same)} times",
                tuple(creation.where for creation in same),
            )
    _require_parts(history)


def _require_parts(history: History) -> None:
    if any(
        creation.is_part and creation.copy is None
        for creation in trace_of(history).creations
    ):
        raise NotJudgedError(
            "posts.json lacks parts that were made: it takes GET /_sim/posts?floors=1"
        )


def intent_before_call(history: History) -> Iterator[Violation]:
    """I3: each creating call has an earlier intent and a journal line, for the same delivery.

    The intent is committed before the call. A line may be missing where each journal has been
    compacted since then: nobody knows the journal that had it.
    """
    journal = {(line.rendition, line.stamp) for line in history.journal}
    latest = max((act.at for act in history.audit), default=0.0)
    kept_since = min(
        [*history.journals_kept_since, round((latest - JOURNAL_RETENTION) * MICRO)]
    )
    trace = trace_of(history)
    for call in trace.calls:
        attempt = call.attempt
        if attempt is None or (call.is_resend and call.recv.endpoint not in KEYED):
            again = (
                f"; attempt:{attempt.id} had made its call already" if attempt else ""
            )
            yield Violation(
                _account(call), f"a call without an attempt{again}", (call.where,)
            )
        elif (attempt.rendition, attempt.stamp) not in journal and (
            attempt.ended is None or attempt.stamp > kept_since
        ):
            subject = history.deliveries[attempt.delivery].subject
            yield Violation(
                subject, "a call not in the journal", (call.where, attempt.row)
            )
    for creation in trace.creations:
        attempt = creation.call.attempt if creation.call else None
        if attempt and creation.owner and attempt.delivery != creation.owner.id:
            yield Violation(
                creation.owner.subject,
                "made by another's attempt",
                (creation.where, attempt.row),
            )
    yield from _forgotten(history)


def _forgotten(history: History) -> Iterator[Violation]:
    """Yield facts of the journal and the attempts that the database lacks or knows otherwise."""
    known = {
        (one.delivery, one.number, one.fencing_token, one.rendition, one.part)
        for one in history.attempts
    }
    recovered = recovered_calls(history)
    for line in history.journal:
        delivery = history.deliveries.get(line.delivery)
        evidence = (f"journal:{line.line}", f"delivery:{line.delivery}")
        if (line.rendition, line.stamp) in recovered:
            continue
        if (
            line.delivery,
            line.attempt,
            line.fencing_token,
            line.rendition,
            line.part,
        ) not in known:
            what = f"the journal announces attempt {line.attempt}, the database does not know it"
            yield Violation(f"delivery {line.delivery}", what, evidence)
        elif (
            line.key
            and delivery
            and line.key != (delivery.post, delivery.label, delivery.account)
        ):
            yield Violation(delivery.subject, "another's name in the journal", evidence)
    for attempt in history.attempts:
        if attempt.delivery not in history.deliveries:
            yield Violation(
                f"delivery {attempt.delivery}",
                "an attempt for what is not in the database",
                (attempt.row,),
            )


def _account(call: CreatingCall) -> str:
    return f"{call.recv.platform} {call.recv.account}"


def sent_as_frozen(history: History) -> Iterator[Violation]:
    """I4: the posted words and pictures are the attempt's frozen ones, and these never change.

    Once an edit was accepted, no call uses the old words without a person's decision.
    """
    yield from _edits_are_kept(history)
    for frozen in history.words.values():
        if _fingerprint(frozen.body) != frozen.fingerprint:
            where = (f"rendered_post:{frozen.fingerprint}",)
            yield Violation(
                frozen.account, "frozen words do not fit their fingerprint", where
            )
    for name, digest in history.media.items():
        if name != digest:
            yield Violation(
                name, "kept bytes do not fit their hash", (f"media:{name}",)
            )
    for creation in trace_of(history).creations:
        attempt = creation.call.attempt if creation.call else None
        words = history.words.get(attempt.rendition) if attempt else None
        if attempt and words and creation.copy:
            delivery = history.deliveries[attempt.delivery]
            for what in _differences(creation, creation.copy, words, attempt.part):
                evidence = (
                    creation.where,
                    attempt.row,
                    f"rendered_post:{words.fingerprint}",
                )
                yield Violation(delivery.subject, what, evidence)
            yield from _unasked(history, delivery, words, creation, creation.copy)
    _require_parts(history)


def _differences(
    creation: Creation, copy: PublishedCopy, words: Words, part: int
) -> Iterator[str]:
    if not copy.is_rewritten and received_words(copy) != sent_words(words, part):
        yield "the text that arrived is not the frozen one"
    # such a picture never reaches us as bytes
    is_by_address = "upload_url_text" in (creation.act.endpoint or "")
    if not is_by_address and set(copy.images) != set(() if part else words.pictures):
        yield "the pictures that arrived are not the frozen ones"


def _unasked(
    history: History,
    delivery: RecordedDelivery,
    words: Words,
    creation: Creation,
    copy: PublishedCopy,
) -> Iterator[Violation]:
    """Yield differences from the words and pictures that the makers of the run asked for."""
    duty = history.duty_of(delivery)
    evidence = (creation.where, f"rendered_post:{words.fingerprint}")
    if duty and duty.text_sha256 not in {
        None,
        hashlib.sha256(words.text.encode()).hexdigest(),
    }:
        yield Violation(delivery.subject, "not the text that was asked for", evidence)
    if duty and duty.images is not None and set(duty.images) != set(words.pictures):
        yield Violation(
            delivery.subject, "not the pictures that were asked for", evidence
        )
    arrived = f"{copy.title}\n{copy.text}\n{copy.html}"
    if duty and not copy.is_rewritten and not creation.is_part:
        for said in (said for said in duty.says if said not in arrived):
            yield Violation(
                delivery.subject, f"what arrived does not say: {said}", evidence
            )


def _fingerprint(body: Mapping[str, Any]) -> str:
    """Return the hash of the frozen words: their JSON with sorted keys and without spaces."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _edits_are_kept(history: History) -> Iterator[Violation]:
    """No call uses words that have left the schedule, unless a person was asked and wants them.

    A post ordered again has words of its own instant. Of a repeating post only instants after the
    version are judged.
    """
    versions = [
        (version, posts)
        for version in history.versions
        if (posts := _posts_of(version)) is not None
    ]
    since = [version.at for version, _posts in versions]
    for call in trace_of(history).calls:
        delivery = (
            history.deliveries.get(call.attempt.delivery) if call.attempt else None
        )
        if delivery is None or "." in delivery.label:
            continue
        slack, began = history.settings.tolerance, call.recv.began
        felt = bisect_left(since, began - EDIT_GRACE - slack)
        accepted = bisect_left(since, began + slack)
        if not any(delivery.post in posts for _version, posts in versions[:felt]):
            continue
        if delivery.label != "once" and since[felt - 1] > delivery.due:
            continue
        if _stays_as_planned(history, delivery, began):
            continue
        judged = [
            list(_differs_from(history, call, delivery, versions[:last]))
            for last in range(felt, max(felt, accepted) + 1)
        ]
        if all(judged):  # a version of the last second may be followed or not
            yield from judged[0]


def _stays_as_planned(history: History, delivery: RecordedDelivery, at: float) -> bool:
    """True if people were alerted that the schedule asks for an impossible change of this post."""
    return any(
        delivery.post in alert.facts["posts"].split("、")
        for alert in history.alerts
        if alert.code == LEFT_OUT
        and alert.at <= at
        and (alert.cleared is None or alert.cleared >= at)
    )


def _differs_from(
    history: History,
    call: CreatingCall,
    delivery: RecordedDelivery,
    known: Sequence[tuple[ScheduleVersion, Posts]],
) -> Iterator[Violation]:
    """Hold one call against the newest of these versions."""
    version, posts = known[-1]
    post = posts.get(delivery.post)
    words = history.words.get(call.attempt.rendition if call.attempt else "")
    evidence = (call.where, f"schedule:{version.id}")
    if post is None:
        yield Violation(
            delivery.subject, "a call for what was taken out of the schedule", evidence
        )
    elif _is_left_out(history, delivery, post):
        yield Violation(
            delivery.subject,
            "a call where the schedule names the account no more",
            evidence,
        )
    elif words and post.get("title") != words.title:
        edited = _edited_at(delivery.post, words.title, known)
        if not _was_wanted(history, delivery, edited, call.recv.began):
            yield Violation(
                delivery.subject,
                f"a call says “{words.title}”, which was edited",
                evidence,
            )


def _posts_of(version: ScheduleVersion) -> Posts | None:
    """Give the posts of a version by their ids; None for a text that is no schedule."""
    try:
        posts = tomllib.loads(version.text)["post"]
        return {member["id"]: member for post in posts for member in _members_of(post)}
    except (ValueError, KeyError, TypeError):
        return None


def _members_of(post: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Give a post, or one for each region with words of its own."""
    return [
        {**post, **words, "id": f"{post['id']}.{code}"}
        for code, words in post.get("region", {}).items()
    ] or [post]


def _is_left_out(
    history: History, delivery: RecordedDelivery, post: Mapping[str, Any]
) -> bool:
    """Whether a post that names all its accounts one by one does not name this one."""
    named = set(post.get("to", ()))
    return (
        bool(named)
        and named <= history.settings.accounts.keys()
        and delivery.account not in named
    )


def _edited_at(
    post: str, title: str, known: Sequence[tuple[ScheduleVersion, Posts]]
) -> float:
    """Give since when the schedule has another title than this."""
    last = max(
        (
            place
            for place, (_version, posts) in enumerate(known)
            if _title(posts, post) == title
        ),
        default=-1,
    )
    return next(
        version.at
        for version, posts in known[last + 1 :]
        if _title(posts, post) != title
    )


def _title(posts: Posts, post: str) -> object:
    return posts.get(post, {}).get("title")


def _was_wanted(
    history: History, delivery: RecordedDelivery, since: float, until: float
) -> bool:
    """True if a person, asked about the edit, has released the old words."""
    asked, slack = None, history.settings.tolerance
    for act in history.acts_on.get(delivery.subject, ()):
        if (
            act.event == "resolved"
            and asked == "edited"
            and since - slack <= act.at <= until + slack
        ):
            return True
        if act.after is not None:
            asked = act.detail.get("reason") if act.after == "held" else None
    return False


def published_is_true(history: History) -> Iterator[Violation]:
    """I8: a published row names its own post, on its account, with its marker. Only it is live."""
    marked = {
        creation.copy.id: creation.owner
        for creation in trace_of(history).creations
        if creation.copy and creation.owner and not creation.is_part
    }
    for delivery in history.deliveries.values():
        if delivery.state != "published" or delivery.is_manually_confirmed:
            continue
        copy = history.copies.get(delivery.remote_id or "")
        if copy is None or (copy.platform, copy.account) != history.identity_of(
            delivery
        ):
            what = (
                f"published as {delivery.remote_id}, which was not made on this account"
            )
            yield Violation(delivery.subject, what, (delivery.row,))
        elif marked.get(copy.id, delivery).id != delivery.id:
            what = f"published as {copy.id}, which is {marked[copy.id].subject}"
            yield Violation(delivery.subject, what, (delivery.row, f"posts:{copy.id}"))
        elif deleted := next(
            (
                one
                for one in history.log
                if one.post_id == copy.id and _is_our_deletion(one)
            ),
            None,
        ):
            what = f"published as {copy.id}, which a call of ours has deleted"
            yield Violation(
                delivery.subject, what, (delivery.row, f"log:{deleted.seq}")
            )
    yield from _shared_ids(history)
    yield from _denied(history)
    for call in trace_of(history).calls:
        is_foreign = call.reply is not None and FOREIGN in (
            call.reply.fault or ""
        ).split("+")
        if is_foreign and call.attempt and call.attempt.outcome == "published":
            what = "an answer that named another account was believed"
            yield Violation(_account(call), what, (call.where, call.attempt.row))


def _is_our_deletion(entry: SimulatorLogEntry) -> bool:
    return entry.kind == "removed" and entry.endpoint is not None


def _denied(history: History) -> Iterator[Violation]:
    """Yield deliveries that ended unpublished, or are held as never made, but have a live post.

    A delivery held with an id is held for a further part that was never made.
    """
    for delivery in history.deliveries.values():
        is_absent = (
            delivery.state == "held"
            and delivery.reason in NOT_MADE
            and delivery.remote_id is None
        )
        is_ended = delivery.state in ENDED or is_absent
        acts = history.acts_on.get(delivery.subject, ())
        if not is_ended or any(
            act.event == "resolved" and act.role == "person" for act in acts
        ):
            continue
        for creation in live_copies(history, delivery):
            what = f"{delivery.state} ({delivery.reason}), and {creation.act.post_id} is live"
            yield Violation(delivery.subject, what, (delivery.row, creation.where))


def _shared_ids(history: History) -> Iterator[Violation]:
    owned = [
        (history.identity_of(one), one.remote_id, one)
        for one in history.deliveries.values()
        if one.remote_id
    ]
    counts = Counter((identity, remote_id) for identity, remote_id, _one in owned)
    for identity, remote_id, delivery in owned:
        if counts[identity, remote_id] > 1:
            what = f"{remote_id} belongs to {counts[identity, remote_id]} deliveries"
            yield Violation(delivery.subject, what, (delivery.row,))


def live_is_explained(history: History) -> Iterator[Violation]:
    """I11: each live post belongs to a published or open delivery, or people were alerted to it."""
    began, ended = history.plan.began, history.plan.ended
    if began is None or ended is None:
        raise NotJudgedError("plan.json does not say when the run began and ended")
    accounts = defaultdict(list)
    for policy in history.settings.accounts.values():
        accounts[policy.platform, policy.identity].append(policy)
    made = [creation for creation in trace_of(history).creations if creation.copy]
    owners = {
        creation.act.post_id: creation.owner or creation.by_call for creation in made
    }
    live = (one for one in history.deliveries.values() if one.state != "removed")
    owned = {(history.identity_of(one), one.remote_id) for one in live}
    for copy in history.copies.values():
        ours = accounts.get((copy.platform, copy.account), [])
        # a part goes with it
        is_removed = (
            copy.is_removed or history.copies.get(copy.thread or "", copy).is_removed
        )
        if not ours or is_removed or not copy.is_visible or copy.created < began:
            continue
        is_ours = (
            (copy.platform, copy.account),
            copy.thread or copy.id,
        ) in owned or _is_open(owners.get(copy.id))
        if not is_ours and not _is_explained(history, copy, ended):
            yield Violation(
                f"{copy.platform} {copy.account}",
                "a live post is not explained",
                (f"posts:{copy.id}",),
            )


def _is_open(owner: RecordedDelivery | None) -> bool:
    """True if a post may come from the delivery's open outcome, or a person vouches for it."""
    if owner is None:
        return False
    is_vouched = owner.state == "published" and owner.is_manually_confirmed
    return is_vouched or owner.state in {
        "sending",
        "unknown",
        "submitted",
        "retracting",
        "held",
    }


def _is_explained(history: History, copy: PublishedCopy, ended: float) -> bool:
    """True if a post was seen in time and alerted to, or is known as history.

    It is also true for a foreign post that is not due to be seen, or is pushed off the list.
    """
    names = [
        name
        for name, policy in history.settings.accounts.items()
        if policy.identity == copy.account
    ]
    seen = [
        one
        for one in history.sightings
        if one.account in names and one.remote_id == copy.id
    ]
    watched = _watched_within(history, copy) + LATE
    latest = _open_until(history, names, copy.created) + watched
    latest += sum(
        one.ends - one.begins for one in history.plan.outages if one.ends > copy.created
    )
    reported = any(one.seen <= latest and _is_alerted(history, one) for one in seen)
    is_made_here = any(
        entry.post_id == copy.id and entry.kind == "act" and entry.endpoint
        for entry in history.log
    )
    is_unseen = not is_made_here and (
        ended < latest or _is_pushed_off(history, copy, latest)
    )
    return any(one.predates_monitoring for one in seen) or reported or is_unseen


def _open_until(history: History, names: Sequence[str], made: float) -> float:
    """Return the end of the doubt whether a call of these accounts made a post.

    The call began before the instant `made`, and the post was made then.
    """
    ends = [made]
    for delivery in (
        one for one in history.deliveries.values() if one.account in names
    ):
        moves = [
            act
            for act in history.acts_on.get(delivery.subject, ())
            if act.after is not None
        ]
        before = [act for act in moves if act.at <= made + history.settings.tolerance]
        if before and before[-1].after in OPEN:
            ends.append(
                next(
                    (act.at for act in moves[len(before) :] if act.after not in OPEN),
                    inf,
                )
            )
    return max(ends)


def _is_pushed_off(history: History, copy: PublishedCopy, latest: float) -> bool:
    """True if by then a full list of later posts stood on the account. No look shows this one."""
    size = max(
        one.listed or inf
        for one in history.settings.accounts.values()
        if one.identity == copy.account
    )
    same = [
        one
        for one in history.copies.values()
        if (one.platform, one.account) == (copy.platform, copy.account)
    ]
    threads = sorted(
        (one for one in same if one.thread is None), key=lambda one: one.created
    )
    later = threads[threads.index(copy) + 1 :] if copy in threads else ()
    return (
        sum(
            one.created <= latest and (one.is_visible or one.is_removed)
            for one in later
        )
        >= size
    )


def _watched_within(history: History, copy: PublishedCopy) -> float:
    """Return the longest time, in seconds, between two reads of a copy's account by the monitor."""
    own = [
        one
        for one in history.settings.accounts.values()
        if one.identity == copy.account
    ]
    return max((one.watch_every or 0 for one in own), default=0.0)


def _is_alerted(history: History, sighting: Sighting) -> bool:
    """True if a sighting was reported at once. One alert covers all sightings of one read."""
    return any(
        alert.code in EXTERNAL_POSTS
        and alert.subject.split("/")[0] == f"account:{sighting.account}"
        and abs(alert.at - sighting.seen) <= history.settings.tolerance
        for alert in history.alerts
    )


def one_sender(history: History) -> Iterator[Violation]:
    """I13: attempts are numbered 1, 2, 3 under growing epochs. A delivery's calls never overlap."""
    for key, delivery in history.deliveries.items():
        attempts, subject = history.attempts_of.get(key, ()), delivery.subject
        if [one.number for one in attempts] != list(range(1, delivery.attempts + 1)):
            evidence = (delivery.row, *(one.row for one in attempts))
            yield Violation(subject, "attempts are not numbered 1, 2, 3", evidence)
        for first, second in pairwise(attempts):
            if (
                second.fencing_token <= first.fencing_token
                or (first.ended or second.intended) > second.intended
            ):
                yield Violation(
                    subject,
                    "two attempts at once, or under one epoch",
                    (first.row, second.row),
                )
    yield from _overlapping(history)


def _overlapping(history: History) -> Iterator[Violation]:
    calls: dict[int, list[CreatingCall]] = defaultdict(list)
    for call in trace_of(history).calls:
        if call.attempt:
            calls[call.attempt.delivery].append(call)
    for key, made in calls.items():
        for first, second in pairwise(made):
            if first.reply and second.recv.seq < first.reply.seq:
                yield Violation(
                    history.deliveries[key].subject,
                    "two calls at once",
                    (first.where, second.where),
                )


def one_text(history: History) -> Iterator[Violation]:
    """I21: live copies of an occurrence are of one revision, unless a person ruled otherwise."""
    live: dict[tuple[str, str], list[RecordedDelivery]] = defaultdict(list)
    for delivery in history.deliveries.values():
        acts = history.acts_on.get(delivery.subject, ())
        is_ruled = any(act.event == "resolved" and act.role == "person" for act in acts)
        if delivery.remote_id and delivery.state not in BEFORE_CALL and not is_ruled:
            live[delivery.post, delivery.label].append(delivery)
    for (post, label), deliveries in live.items():
        if not set.intersection(*(_revisions(history, one) for one in deliveries)):
            evidence = tuple(one.row for one in deliveries)
            yield Violation(
                f"{post} {label}", "copies of different revisions are live", evidence
            )


def _revisions(history: History, delivery: RecordedDelivery) -> set[str]:
    """Return the last revision that a delivery was compared with, and that of its frozen words.

    An edit of one account's words makes a new revision for all, though the others' words stay the
    same.
    """
    attempts = history.attempts_of.get(delivery.id, ())
    words = history.words.get(
        attempts[-1].rendition if attempts else delivery.rendition
    )
    return {delivery.revision, words.revision} if words else {delivery.revision}
