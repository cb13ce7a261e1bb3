"""`why`: what happened, what happens next, and who must act where."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from publisher.cli.looking import Snapshot, snapshot_of
from publisher.cli.narrating import Narrator, covering, facts_of, task_code
from publisher.cli.shape import command
from publisher.cli.target import Target, TargetType, deliveries_of
from publisher.cli.terminal import Terminal, echo
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.delivery import OPEN, UNWANTED, WAITING, Delivery, Desired, State
from publisher.domain.errors import NoSuchError
from publisher.domain.outcome import Gone, HoldReason, Missing, Rejected
from publisher.domain.rendition import floor_sign, marker_for
from publisher.store.board import Alert, Board, Entry, Story

_READERS = frozenset({"reconciler", "retractor"})
"""Roles whose entries tell what a read showed, not what a call was answered."""
_STEP = re.compile(r"(?<=[；;])\s*(?=\d\. )")
"""Where the next of several numbered steps begins."""
_ABOUT_POST = frozenset({"cancelled", "retraction_requested", "sent_now", "correction_ordered"})


@command("why")
@click.argument("target", metavar="POST[@ACCOUNT]", type=TargetType())
def why(terminal: Terminal, target: Target) -> int:
    echo("\n\n".join(asyncio.run(_explain(terminal, target))))
    return 0


async def _explain(terminal: Terminal, target: Target) -> Sequence[str]:
    settings = await settings_of(terminal)
    if not has_books(settings):
        raise NoSuchError("post", target.post)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    async with books_of(settings) as books:
        board = Board(books)
        deliveries = await deliveries_of(board, target, settings.timezone, lambda _: False)
        if not deliveries:
            return [terminal.words("why_not_filed", post=target.post, days=settings.plan_days)]
        orders = [entry for entry in await board.history(target.post) if entry.event in _ABOUT_POST]
        snapshot = await snapshot_of(board, target.post)
        stories = [await board.story(delivery) for delivery in deliveries]
        return ["\n".join(_tale(story, orders, snapshot, narrator)) for story in stories]


def _tale(story: Story, orders: Sequence[Entry], snapshot: Snapshot, narrator: Narrator) -> Iterator[str]:
    """Tell one delivery, line by line."""
    delivery, say = story.delivery, narrator.messages.say
    yield say("why_head", subject=narrator.subject(delivery), state=narrator.standing(delivery))
    due, expires = narrator.time(delivery.due_at), narrator.time(delivery.expires_at)
    yield say("why_times", due=due, expires=expires, attempts=delivery.attempts)
    if delivery.reason:
        yield say("why_reason", reason=narrator.reason(delivery.reason))
    if delivery.receipt:
        yield say("why_url" if delivery.receipt.url else "why_url_untold", url=delivery.receipt.url)
    yield from _taken_down(story, narrator)
    if floors := narrator.floors(delivery):
        yield say("why_floors", floors=floors)
    if delivery.verified_at:
        yield say("why_verified", at=narrator.time(delivery.verified_at))
    yield say("why_past")
    told = {(entry.event, entry.name, entry.detail.get("reason")) for entry in story.entries}
    since = [
        entry
        for entry in orders
        if story.entries
        and entry.at >= story.entries[0].at
        and (entry.event, entry.name, entry.detail.get("reason")) not in told
    ]
    yield from _past(sorted([*story.entries, *since], key=lambda entry: entry.at), narrator)
    if story.looks:
        yield say("why_looks", number=len(story.looks), at=narrator.time(story.looks[-1].at))
    if delivery.is_pruned:
        yield say("why_pruned")
    yield say("why_do" if delivery.state is State.HELD else "why_next")
    yield from (f"    {line}" for line in _ahead(delivery, snapshot, narrator))


def _taken_down(story: Story, narrator: Narrator) -> Iterator[str]:
    """Tell the proof that a retraction is done; else that the post is still live, and what a person can do."""
    delivery, say = story.delivery, narrator.messages.say
    shown = story.looks[-1].finding if story.looks else None
    if delivery.state is State.RETRACTED and not delivery.attempts:
        yield say("why_gone_unsent")
    elif delivery.state is State.RETRACTED:
        codes = {Missing: "why_gone_absent", Rejected: "why_gone_refused", Gone: "why_gone_read"}
        yield say(codes.get(type(shown), "why_gone_by_word"), at=narrator.time(delivery.updated_at))
    elif delivery.state is State.RETRACTING and delivery.receipt:
        is_refused = isinstance(shown, Rejected)
        yield say("why_still_live" if is_refused else "why_maybe_live", url=delivery.receipt.url)
        if is_refused:
            yield f"  {narrator.take_down(delivery.platform, delivery.receipt.url)}"


def _past(entries: Sequence[Entry], narrator: Narrator) -> Iterator[str]:
    """Tell the audit; what repeats itself is told once, with its number."""
    for words, group in groupby(entries, key=lambda entry: event_words(entry, narrator)):
        told = list(group)
        times = narrator.messages.say("event_times", words=words, times=len(told)) if len(told) > 1 else words
        yield f"    {narrator.time(told[0].at)}  {times}"


def event_words(entry: Entry, narrator: Narrator) -> str:
    """Put one entry of the audit into words."""
    messages = narrator.messages
    code = f"event_{entry.event}"
    if entry.role in _READERS and f"{code}_read" in messages.entries:
        code = f"{code}_read"
    after = narrator.state(State(entry.after)) if entry.after in frozenset(State) else ""
    reason = entry.detail.get("reason")
    facts = {**entry.detail, "reason": narrator.reason(str(reason) if reason else None), "after": after}
    words = messages.say(code, **facts)
    return messages.say("event_by", words=words, name=entry.name) if entry.role == "person" else words


_REMARKS = {
    **{(Desired.TAKEN_DOWN, state): "why_is_retracting" for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)},
    **{(Desired.EDITED, state): "why_is_edited" for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)},
    **{(Desired.NOT_HERE, state): "why_is_dropped" for state in (State.SENDING, State.SUBMITTED, State.UNKNOWN)},
    (Desired.EDITED, State.PUBLISHED): "why_edited_live",
    **{(desired, State.PUBLISHED): "why_withdrawn_live" for desired in UNWANTED},
}
"""What people want that differs from what happens, for those who ask about a delivery."""


def _ahead(delivery: Delivery, snapshot: Snapshot, narrator: Narrator) -> Iterator[str]:
    """Tell what comes next, and what a person has to do."""
    messages, facts = narrator.messages, facts_of(delivery, narrator)
    marker = marker_for(delivery.key, delivery.account)
    number, total = delivery.floors_done + 1, delivery.floors + 1
    known = floor_sign(marker, number, total) if delivery.is_incomplete else marker.code
    if delivery.state is State.HELD:
        yield from _STEP.split(messages.hint(f"hold_{delivery.reason}", **facts, marker=known))
        if delivery.is_incomplete and delivery.reason != HoldReason.INCOMPLETE:
            yield messages.hint("floor_at", **facts, number=number)
    elif delivery.is_incomplete and delivery.state in WAITING:
        yield messages.say("why_next_floor", **facts, number=number)
    else:
        yield messages.hint(task_code(delivery) or f"state_{delivery.state.value}", **facts)
    if delivery.state in WAITING | {State.HELD}:
        for pause in covering(snapshot.pauses, delivery):
            yield narrator.pause("why_paused", pause)
            yield from filter(
                None, (_remedy(alert, narrator) for alert in snapshot.stops if alert.subject == pause.scope)
            )
        yield from (narrator.mode("why_mode", order) for order in snapshot.modes if order.account == delivery.account)
    if delivery.state in WAITING and delivery.follows:
        yield messages.say("why_follows", follows=delivery.follows)
    if remark := _REMARKS.get((delivery.desired, delivery.state)):
        yield messages.say(remark, **facts)
    if delivery.state in OPEN - {State.HELD} and not snapshot.is_running:
        yield messages.say("why_no_daemon")


def _remedy(alert: Alert, narrator: Narrator) -> str:
    """Say what ends the trouble for which an account was stopped."""
    return narrator.remedy(alert.facts.get("reason"), alert.facts.get("said", ""))
