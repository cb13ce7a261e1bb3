"""`resolve` and `resend`: what people decide about single deliveries."""

import asyncio
from collections.abc import Callable

import click

from publisher.cli.looking import is_running
from publisher.cli.narrating import Narrator, covering
from publisher.cli.shape import OneOf, PersonName, WordedUsageError, by_option, command, reason_option
from publisher.cli.target import Target, TargetType, deliveries_of
from publisher.cli.terminal import Terminal, echo
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import books_of, settings_of
from publisher.cli.workshop import application_of
from publisher.domain.delivery import OPEN, Delivery, State
from publisher.domain.errors import NoSuchError
from publisher.domain.outcome import HoldReason
from publisher.planning import send_again
from publisher.reviewing import Ruling, can_be_ruled, person
from publisher.reviewing import rule as apply_ruling
from publisher.settings import Settings
from publisher.store.board import Board
from publisher.store.outbox import Outbox
from publisher.store.registry import Act
from publisher.wiring.books import Use

ENDED_BADLY = frozenset({State.FAILED, State.EXPIRED, State.REMOVED})
"""What may be sent again as a new occurrence."""


@command("resolve")
@click.argument("target", metavar="POST@ACCOUNT", type=TargetType(wants_account=True))
@click.argument("ruling", metavar="|".join(Ruling), type=OneOf(*Ruling))
@click.argument("url", metavar="[URL]", required=False)
@by_option
@reason_option
@click.option("--second", metavar="NAME", type=PersonName(), help="opt_second")
def resolve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, target: Target, ruling: str, url: str | None, *, by: str, reason: str, second: str | None
) -> int:
    decided = Ruling(ruling)
    if decided is Ruling.PUBLISHED and not url:
        raise WordedUsageError("resolve_wants_url")
    if decided is not Ruling.PUBLISHED and url:
        raise WordedUsageError("resolve_wants_no_url", ruling=ruling)
    if decided is not Ruling.PUBLISHED and second:
        raise WordedUsageError("second_only_published")
    asyncio.run(_rule(terminal, target, decided, {"by": by, "reason": reason, "url": url, "second": second}))
    return 0


async def _rule(terminal: Terminal, target: Target, ruling: Ruling, order: dict[str, str | None]) -> None:
    """Carry out a ruling. Only `cancel` can lead to no post, whatever the books have forgotten: it always works."""
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    use = Use.LOOK if ruling is Ruling.CANCEL else Use.ORDER
    async with books_of(settings, use) as books:
        board = Board(books)
        held = await _one(board, target, settings, can_be_ruled)
        by, reason = order["by"] or "", order["reason"] or ""
        outbox = Outbox(books)
        after = await apply_ruling(outbox, held, ruling, by=by, reason=reason, url=order["url"], second=order["second"])
        pauses, runs = covering(await board.pauses(), after), await is_running(board)
    terminal.say(_answer(ruling, after, by_word=bool(order["second"])), subject=narrator.subject(after), **order)
    if ruling is Ruling.RESEND:
        for pause in pauses:
            echo(narrator.pause("still_paused", pause), err=True)
    if after.state in OPEN and not runs:
        terminal.note("no_daemon_hint")


def _answer(ruling: Ruling, after: Delivery, *, by_word: bool) -> str:
    """Name the words for what a ruling led to: after a retraction nothing is sent, and nothing counts as failed."""
    if after.state is State.HELD and after.reason == HoldReason.EDITED:
        return "ruled_edited"
    ended = {
        State.RETRACTED: "ruled_retracted",
        State.RETRACTING: "ruled_retracting",
        State.CANCELLED: "ruled_cancel",
    }
    return ended.get(after.state) or ("ruled_published_by_word" if by_word else f"ruled_{ruling.value}")


@command("resend")
@click.argument("target", metavar="POST@ACCOUNT", type=TargetType(wants_account=True))
@by_option
@reason_option
def resend(terminal: Terminal, target: Target, by: str, reason: str) -> int:
    asyncio.run(_resend(terminal, target, by, reason))
    return 0


async def _resend(terminal: Terminal, target: Target, by: str, reason: str) -> None:
    settings = await settings_of(terminal)
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    async with application_of(settings) as application:
        old = await _one(application.board, target, settings, lambda delivery: delivery.state in ENDED_BADLY)
        subject = narrator.subject(old)
        if old.state not in ENDED_BADLY:
            raise FailedError("resend_not_ended", subject=subject, state=narrator.state(old.state))
        if old.account not in application.planner.press.accounts:
            raise NoSuchError("account", old.account)
        post = await application.registry.post(old.key.post)
        if post is None:
            raise NoSuchError("post", old.key.post)
        act = Act(event="resend_ordered", subject=subject, by=person(by), detail={"reason": reason})
        await send_again(application.planner, post, [old.account], [act])
        runs = await is_running(application.board)
    terminal.say("resend_done", post=old.key.post, account=old.account)
    if not runs:
        terminal.note("no_daemon_hint")


async def _one(board: Board, target: Target, settings: Settings, wanted: Callable[[Delivery], bool]) -> Delivery:
    """Give the one delivery that is meant: the newest wanted one, where the target names no instant."""
    found = await deliveries_of(board, target, settings.timezone, wanted)
    return found[0]
