"""Whether calls say what the schedule in force says: the part of I4 that edits are about."""

import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .history import Delivery, History, Version, Violation
from .tracing import Call, trace_of

GRACE = 1.0
"""Seconds within which an accepted edit must be felt."""
Posts = Mapping[str, Mapping[str, Any]]


def edits_are_kept(history: History) -> Iterator[Violation]:
    """No call says what the schedule does not say any more, unless a person was asked and wants the old words.

    What repeats, and what was ordered again, has words of its own instant; only posts that go out once are judged.
    """
    versions = [(version, posts) for version in history.versions if (posts := _posts_of(version)) is not None]
    since = [version.at for version, _posts in versions]
    for call in trace_of(history).calls:
        delivery = history.deliveries.get(call.attempt.delivery) if call.attempt else None
        if delivery is None or delivery.label != "once":
            continue
        slack, began = history.settings.tolerance, call.recv.began
        felt, accepted = bisect_left(since, began - GRACE - slack), bisect_left(since, began + slack)
        if not any(delivery.post in posts for _version, posts in versions[:felt]):
            continue
        judged = [
            list(_judged(history, call, delivery, versions[:last])) for last in range(felt, max(felt, accepted) + 1)
        ]
        if all(judged):  # a version of the last second may be followed or not
            yield from judged[0]


def _judged(
    history: History, call: Call, delivery: Delivery, known: Sequence[tuple[Version, Posts]]
) -> Iterator[Violation]:
    """Hold one call against the newest of these versions."""
    version, posts = known[-1]
    post, words = posts.get(delivery.post), history.words.get(call.attempt.rendition if call.attempt else "")
    evidence = (call.where, f"schedule:{version.id}")
    if post is None:
        yield Violation(
            subject=delivery.subject, what="a call for what was taken out of the schedule", evidence=evidence
        )
    elif _is_left_out(history, delivery, post):
        yield Violation(
            subject=delivery.subject, what="a call where the schedule names the account no more", evidence=evidence
        )
    elif words and post.get("title") != words.title:
        edited = _edited_at(delivery.post, words.title, known)
        if not _was_wanted(history, delivery, edited, call.recv.began):
            what = f"a call says “{words.title}”, which was edited"
            yield Violation(subject=delivery.subject, what=what, evidence=evidence)


def _posts_of(version: Version) -> Posts | None:
    """Give the posts of a version by their ids; None for a text that is no schedule."""
    try:
        return {post["id"]: post for post in tomllib.loads(version.text).get("post", ())}
    except (ValueError, KeyError, TypeError):
        return None


def _is_left_out(history: History, delivery: Delivery, post: Mapping[str, Any]) -> bool:
    """Whether a post that names all its accounts one by one does not name this one."""
    named = set(post.get("to", ()))
    return bool(named) and named <= history.settings.accounts.keys() and delivery.account not in named


def _edited_at(post: str, title: str, known: Sequence[tuple[Version, Posts]]) -> float:
    """Give since when the schedule has another title than this."""
    last = max((place for place, (_version, posts) in enumerate(known) if _title(posts, post) == title), default=-1)
    return next(version.at for version, posts in known[last + 1 :] if _title(posts, post) != title)


def _title(posts: Posts, post: str) -> object:
    return posts.get(post, {}).get("title")


def _was_wanted(history: History, delivery: Delivery, since: float, until: float) -> bool:
    """Whether a person who was asked about the edit has let the old words go."""
    asked, slack = None, history.settings.tolerance
    for act in history.acts_on.get(delivery.subject, ()):
        if act.event == "resolved" and asked == "edited" and since - slack <= act.at <= until + slack:
            return True
        if act.after is not None:
            asked = act.detail.get("reason") if act.after == "held" else None
    return False
