"""`status`: where everything stands."""

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from publisher.cli.narrating import Narrator, covering, reason_code
from publisher.cli.shape import Said, command, json_option
from publisher.cli.terminal import Terminal, echo
from publisher.cli.widths import in_columns
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.delivery import Delivery, State
from publisher.domain.errors import NoSuchError
from publisher.domain.post import PostId
from publisher.settings import Settings
from publisher.store.board import STATUS_AGE, Alert, Board, Pause, Worker
from publisher.store.modes import Modes, OrderedMode

ALIVE = timedelta(seconds=15)
"""A daemon signs every few seconds; one that is silent for longer does not run."""
STYLES: Mapping[State, str] = {
    State.PUBLISHED: "green",
    State.HELD: "bold yellow",
    State.UNKNOWN: "yellow",
    State.RETRACTING: "bold red",
    State.FAILED: "bold red",
    State.EXPIRED: "red",
    State.REMOVED: "red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the books show at one moment."""

    now: datetime
    workers: Sequence[Worker] = ()
    pauses: Sequence[Pause] = ()
    deliveries: Sequence[Delivery] = ()
    alerts: Sequence[Alert] = ()
    stops: Sequence[Alert] = ()
    modes: Sequence[OrderedMode] = ()
    has_older: bool = False
    """Whether deliveries that ended long ago are left out."""

    @property
    def worker(self) -> Worker | None:
        """The daemon that was last seen."""
        return max(self.workers, key=lambda worker: (self.is_alive(worker), worker.beat_at), default=None)

    @property
    def is_running(self) -> bool:
        """Whether a daemon gave a sign of life just now."""
        return any(map(self.is_alive, self.workers))

    def is_alive(self, worker: Worker) -> bool:
        return worker.stopped_at is None and self.now - worker.beat_at < ALIVE


@command("status")
@click.argument("post", metavar="[POST]", required=False, type=Said())
@click.option("--all", "shows_all", is_flag=True, help="opt_all")
@json_option
def status(terminal: Terminal, post: str | None, *, shows_all: bool, as_json: bool) -> int:
    settings, snapshot = asyncio.run(_look(terminal, PostId(post) if post else None, shows_all=shows_all))
    narrator = Narrator(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.show(as_document(snapshot, narrator))
    else:
        _print(terminal, snapshot, narrator)
    return 0


async def _look(terminal: Terminal, post: PostId | None, *, shows_all: bool) -> tuple[Settings, Snapshot]:
    settings = await settings_of(terminal)
    if not has_books(settings):
        if post is not None:
            raise NoSuchError("post", post)
        return settings, Snapshot(now=datetime.now(settings.timezone))
    async with books_of(settings) as books:
        board = Board(books)
        if post is not None and not await board.has_post(post):
            raise NoSuchError("post", post)
        return settings, await snapshot_of(board, post, shows_all=shows_all)


async def snapshot_of(board: Board, post: PostId | None = None, *, shows_all: bool = False) -> Snapshot:
    """Look at the books, or at what concerns one post in them; without one, at what ended long ago only if asked to."""
    alerts, is_whole = await board.alerts(), shows_all or post is not None
    return Snapshot(
        now=board.books.world.now(),
        workers=await board.workers(),
        pauses=await board.pauses(),
        deliveries=await (board.deliveries(post) if is_whole else board.current()),
        has_older=not is_whole and await board.has_older(),
        alerts=[alert for alert in alerts if post is None or alert.facts.get("post") == post],
        stops=[alert for alert in alerts if alert.code == "account_paused"],
        modes=await Modes(board.books).ordered(),
    )


async def is_running(board: Board) -> bool:
    """Whether a daemon gave a sign of life just now."""
    return Snapshot(now=board.books.world.now(), workers=await board.workers()).is_running


def as_document(snapshot: Snapshot, narrator: Narrator) -> dict[str, Any]:
    """Give a snapshot for machines."""
    rows = [_row(delivery, snapshot.pauses, narrator) for delivery in snapshot.deliveries]
    worker = snapshot.worker
    daemon: dict[str, Any] = {"running": snapshot.is_running}
    if worker is not None:
        daemon |= _signs(worker, narrator)
    if others := [one for one in snapshot.workers if one is not worker]:
        daemon["others"] = [{"running": snapshot.is_alive(one), **_signs(one, narrator)} for one in others]
    return {
        "daemon": daemon,
        "paused": [
            {"scope": pause.scope, "at": narrator.iso(pause.at), "by": pause.by, "reason": pause.reason}
            for pause in snapshot.pauses
        ],
        "deliveries": rows,
        "missed": [row for row in rows if row["state"] == State.EXPIRED.value],
        "alerts": [
            {
                "code": alert.code,
                "message": narrator.alert(alert),
                "subject": alert.subject,
                "at": narrator.iso(alert.at),
            }
            for alert in snapshot.alerts
        ],
        "modes": [
            {
                "account": order.account,
                "mode": order.mode.value,
                "at": narrator.iso(order.at),
                "by": order.by,
                "reason": order.reason,
            }
            for order in snapshot.modes
        ],
        "has_older": snapshot.has_older,
    }


def _signs(worker: Worker, narrator: Narrator) -> dict[str, Any]:
    return {
        "host": worker.host,
        "pid": worker.pid,
        "started": narrator.iso(worker.started_at),
        "beat": narrator.iso(worker.beat_at),
    }


def _row(delivery: Delivery, pauses: Sequence[Pause], narrator: Narrator) -> dict[str, Any]:
    receipt = delivery.receipt
    return {
        "post": delivery.key.post,
        "occurrence": narrator.occurrence(delivery),
        "account": delivery.account,
        "platform": delivery.platform,
        "state": delivery.state.value,
        "reason": reason_code(delivery, pauses),
        "attempts": delivery.attempts,
        "remote_id": receipt.remote_id if receipt else None,
        "url": receipt.url if receipt else None,
        "due": narrator.iso(delivery.due_at),
        "updated": narrator.iso(delivery.updated_at),
        "next_try": narrator.iso(delivery.next_at),
        "verified_at": narrator.iso(delivery.verified_at),
        "gone_at": narrator.iso(delivery.updated_at) if delivery.state is State.RETRACTED else None,
        "is_still_live": _is_still_live(delivery),
        "floors": {"live": delivery.floors_done, "total": delivery.floors + 1} if delivery.floors else None,
    }


def _is_still_live(delivery: Delivery) -> bool:
    """Whether it was ordered down and is not confirmed gone."""
    is_ordered = delivery.state is State.RETRACTING or (delivery.state is State.HELD and delivery.is_ordered_down)
    return is_ordered and delivery.receipt is not None


def _print(terminal: Terminal, snapshot: Snapshot, narrator: Narrator) -> None:
    for worker in filter(snapshot.is_alive, snapshot.workers):
        terminal.say("daemon_running", host=worker.host, pid=worker.pid, beat=narrator.time(worker.beat_at))
    if not snapshot.is_running:
        terminal.say("daemon_stopped")
    for pause in snapshot.pauses:
        echo(narrator.pause("paused_line", pause))
    for order in snapshot.modes:
        echo(narrator.mode("mode_line", order))
    if not snapshot.deliveries and not snapshot.has_older:
        terminal.say("nothing_filed")
    elif snapshot.deliveries:
        _show(snapshot, narrator)
        counts = "counts_listed" if snapshot.has_older else "counts_line"
        terminal.say(counts, total=len(snapshot.deliveries), counts=counts_of(snapshot.deliveries, narrator))
    if snapshot.has_older:
        terminal.say("older_line", days=STATUS_AGE.days)
    if snapshot.alerts:
        terminal.say("alerts_title")
    for alert in snapshot.alerts:
        echo(f"  {narrator.time(alert.at)}  {narrator.alert(alert)}")


def rows_of(snapshot: Snapshot, narrator: Narrator) -> list[tuple[str, ...]]:
    """Lay deliveries out in columns, under a heading."""
    columns = ("column_post", "column_account", "column_state", "column_due", "column_attempts", "column_more")
    heading = tuple(narrator.messages.say(column) for column in columns)
    return [
        heading,
        *(
            (
                delivery.key.post,
                delivery.account,
                narrator.standing(delivery),
                narrator.time(delivery.due_at),
                str(delivery.attempts or ""),
                _remark(delivery, snapshot.pauses, narrator),
            )
            for delivery in snapshot.deliveries
        ),
    ]


def _show(snapshot: Snapshot, narrator: Narrator) -> None:
    """Show a table to a person, plain columns to a program."""
    rows = rows_of(snapshot, narrator)
    if sys.stdout.isatty():
        from publisher.cli.table import show_table  # noqa: PLC0415 # loading rich takes longer than all else here

        show_table(rows, [STYLES.get(delivery.state, "") for delivery in snapshot.deliveries])
    else:
        echo("\n".join(in_columns(rows)))


def counts_of(deliveries: Sequence[Delivery], narrator: Narrator) -> str:
    """Count deliveries by state, in words."""
    counts = Counter(delivery.state for delivery in deliveries)
    told = [f"{narrator.state(state)} {counts[state]}" for state in State if counts[state]]
    return narrator.messages.say("list_comma").join(told)


def _remark(delivery: Delivery, pauses: Sequence[Pause], narrator: Narrator) -> str:
    floors = narrator.floors(delivery)
    if delivery.state is State.PUBLISHED and delivery.receipt:
        code = "by_word" if delivery.receipt.is_by_word else "is_verified" if delivery.verified_at else ""
        return " ".join(filter(None, [delivery.receipt.url, narrator.messages.say(code) if code else "", floors]))
    told = [*filter(None, [floors]), *([narrator.reason(delivery.reason)] if delivery.reason else [])]
    if delivery.state is State.DUE:
        told += [narrator.pause("kept_back", pause) for pause in covering(pauses, delivery)]
    if delivery.state is State.RETRACTED:
        told.insert(0, narrator.messages.say("gone_at", at=narrator.time(delivery.updated_at)))
    if _is_still_live(delivery) and delivery.receipt:
        told.insert(0, narrator.messages.say("still_live", url=delivery.receipt.url))
    if delivery.next_at and delivery.state is not State.PENDING:
        told.append(narrator.messages.say("next_at", at=narrator.time(delivery.next_at)))
    return narrator.messages.say("list_comma").join(told)
