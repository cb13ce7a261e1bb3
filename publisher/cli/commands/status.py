"""`status`: the state of the daemon, of deliveries, pauses and alerts."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import click

from publisher.app.format import Formatter, format_counts, pauses_covering, reason_code
from publisher.cli.context import (
    find_changed_since_start,
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.errors import EXIT_FAILED
from publisher.cli.framework import LocalizedUsageError, command, json_option, one_line
from publisher.cli.target import find_posts
from publisher.cli.terminal import STATE_STYLES, Terminal, echo, shorten
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.approval import AWAITING_APPROVAL
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.store.approvals.tasks import list_unapproved
from publisher.store.base import name_host
from publisher.store.queries.queries import (
    MAX_STATUS_AGE,
    ModeOverride,
    Pause,
    WorkerStatus,
)
from publisher.store.queries.snapshot import StatusSnapshot, take_snapshot

PROBLEM_STATES = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
"""A person is needed, or a planned post is not on the platform."""
WATCH_SECONDS = 2.0
MAX_TITLE_WIDTH = 24
"""In columns of the terminal: twelve Chinese characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFilter:
    """The choice of deliveries to show.

    Without any choice people see open ones. Programs also see recently ended ones.
    """

    post: PostId | None = None
    account: AccountId | None = None
    has_problem: bool = False
    is_today: bool = False
    shows_all: bool = False

    @property
    def includes_ended(self) -> bool:
        return (
            self.post is not None or self.has_problem or self.is_today or self.shows_all
        )

    def covers(self, delivery: Delivery, now: datetime) -> bool:
        return (
            (self.account is None or delivery.account == self.account)
            and (not self.has_problem or delivery.state in PROBLEM_STATES)
            and (
                not self.is_today
                or delivery.due_at.astimezone(now.tzinfo).date() == now.date()
            )
        )


@command("status")
@click.argument("post", metavar="[POST]", required=False, type=one_line)
@click.option("--problems", "has_problem", is_flag=True, help="opt_problems")
@click.option("--today", "is_today", is_flag=True, help="opt_today")
@click.option("--account", metavar="ACCOUNT", type=one_line, help="opt_status_account")
@click.option("--all", "shows_all", is_flag=True, help="opt_all")
@click.option("--watch", "repeats", is_flag=True, help="opt_watch")
@click.option("--exit-code", "is_check", is_flag=True, help="opt_exit_code")
@json_option
async def status(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    post: PostId | None,
    account: AccountId | None,
    *,
    has_problem: bool,
    is_today: bool,
    shows_all: bool,
    repeats: bool,
    is_check: bool,
    as_json: bool,
) -> int:
    if repeats and (as_json or is_check):
        raise LocalizedUsageError("watch_alone")
    chosen = StatusFilter(
        post=post,
        account=account,
        has_problem=has_problem,
        is_today=is_today,
        shows_all=shows_all,
    )
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    while True:
        snapshot = await _read_status(settings, chosen)
        if as_json:
            terminal.print_json(snapshot_as_json(snapshot, formatter))
        else:
            if repeats:
                click.clear()
            _print_status(
                terminal, snapshot, formatter, includes_ended=chosen.includes_ended
            )
        if not repeats:
            break
        await asyncio.sleep(WATCH_SECONDS)
    is_held = any(delivery.state is State.HELD for delivery in snapshot.deliveries)
    return EXIT_FAILED if is_check and (is_held or not snapshot.is_running) else 0


async def _read_status(settings: Settings, chosen: StatusFilter) -> StatusSnapshot:
    """Read the chosen deliveries.

    Raises NoSuchItemError for a post or an account that does not exist.
    """
    if chosen.account is not None and chosen.account not in settings.accounts:
        raise NoSuchItemError("account", chosen.account, settings.accounts)
    now = datetime.now(settings.timezone)
    if not has_database(settings):
        if chosen.post is not None:
            raise NoSuchItemError("post", chosen.post)
        return StatusSnapshot(now=now)
    async with open_command_store(settings, policies={}) as store:
        posts = (
            await find_posts(store.queries, chosen.post)
            if chosen.post is not None
            else None
        )
        snapshot = await take_snapshot(store.queries, posts, shows_all=chosen.shows_all)
        is_any_due = any(item.state is State.DUE for item in snapshot.deliveries)
        tasks = (
            await store.approvals.tasks(chosen.post)
            if settings.approval_rules.is_active and is_any_due
            else ()
        )
        own = next(
            (
                one
                for one in snapshot.workers
                if one.id == store.worker and snapshot.is_alive(one)
            ),
            None,
        )
        changed = (
            await find_changed_since_start(settings, own) if own is not None else {}
        )
    shown = [item for item in snapshot.deliveries if chosen.covers(item, now)]
    return replace(
        snapshot,
        deliveries=shown,
        changed_files={own.id: changed} if own is not None else {},
        unapproved=list_unapproved(tasks),
    )


def snapshot_as_json(snapshot: StatusSnapshot, formatter: Formatter) -> dict[str, Any]:
    def worker_as_json(worker: WorkerStatus) -> dict[str, Any]:
        started, beat = (
            formatter.iso(worker.started_at),
            formatter.iso(worker.heartbeat_at),
        )
        changed = {
            name: formatter.iso(at)
            for name, at in snapshot.changed_files.get(worker.id, {}).items()
        }
        return {
            "running": snapshot.is_alive(worker),
            "host": worker.host,
            "pid": worker.pid,
            "started": started,
            "beat": beat,
            "changed_since": changed,
        }

    def action_as_json(action: Pause | ModeOverride) -> dict[str, Any]:
        return {
            "at": formatter.iso(action.at),
            "by": action.by,
            "reason": action.reason,
        }

    latest = snapshot.latest_worker
    daemon: dict[str, Any] = worker_as_json(latest) if latest else {"running": False}
    if others := [
        worker_as_json(worker) for worker in snapshot.workers if worker is not latest
    ]:
        daemon["others"] = others
    rows = [
        {
            **delivery_as_json(item, snapshot, formatter),
            "title": snapshot.titles.get(item.key.post),
        }
        for item in snapshot.deliveries
    ]
    return {
        "daemon": daemon,
        "paused": [
            {"scope": pause.scope, **action_as_json(pause)} for pause in snapshot.pauses
        ],
        "deliveries": rows,
        "missed": [row for row in rows if row["state"] == State.EXPIRED.value],
        "alerts": [formatter.alert_as_json(alert) for alert in snapshot.alerts],
        "modes": [
            {
                "account": override.account,
                "mode": override.mode.value,
                **action_as_json(override),
            }
            for override in snapshot.mode_overrides
        ],
        "has_older": snapshot.has_older,
    }


def delivery_as_json(
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> dict[str, Any]:
    receipt = delivery.receipt
    return {
        **formatter.key_as_json(delivery),
        "state": delivery.state.value,
        "reason": reason_code(delivery, snapshot.pauses),
        "attempts": delivery.attempts,
        "remote_id": receipt.remote_id if receipt else None,
        "url": receipt.url if receipt else None,
        "due": formatter.iso(delivery.due_at),
        "updated": formatter.iso(delivery.updated_at),
        "next_try": formatter.iso(
            delivery.next_action_at or snapshot.waits_until(delivery)
        ),
        "verified_at": formatter.iso(delivery.verified_at),
        "gone_at": formatter.iso(delivery.updated_at)
        if delivery.state is State.RETRACTED
        else None,
        "is_still_live": is_still_published(delivery),
        "floors": {"live": delivery.parts_done, "total": delivery.extra_parts + 1}
        if delivery.extra_parts
        else None,
    }


def is_still_published(delivery: Delivery) -> bool:
    """True if a retraction was requested and is not confirmed."""
    is_held = delivery.state is State.HELD and delivery.is_retraction_requested
    return delivery.receipt is not None and (
        is_held or delivery.state is State.RETRACTING
    )


def _print_status(
    terminal: Terminal,
    snapshot: StatusSnapshot,
    formatter: Formatter,
    *,
    includes_ended: bool,
) -> None:
    if snapshot.alerts:
        terminal.print_message("alerts_title")
    for alert in snapshot.alerts:
        echo(f"  {formatter.time(alert.at)}  {formatter.alert(alert)}")
    hosts = [each.host for each in snapshot.workers if each.stopped_at is None]
    for worker in filter(snapshot.is_alive, snapshot.workers):
        terminal.print_message(
            "daemon_running",
            host=name_host(worker.id, worker.host, hosts),
            pid=worker.pid,
            beat=formatter.time(worker.heartbeat_at),
        )
        if note := formatter.newer_files(
            snapshot.changed_files.get(worker.id, {}), worker.started_at
        ):
            echo(note)
    if not snapshot.is_running:
        echo(formatter.absent_daemon("daemon_stopped", snapshot.silent_since))
    for pause in snapshot.pauses:
        echo(formatter.pause("paused_line", pause))
    for override in snapshot.mode_overrides:
        echo(formatter.mode("mode_override", override))
    _print_deliveries(terminal, snapshot, formatter, includes_ended=includes_ended)


def _print_deliveries(
    terminal: Terminal,
    snapshot: StatusSnapshot,
    formatter: Formatter,
    *,
    includes_ended: bool,
) -> None:
    shown = [
        item
        for item in snapshot.deliveries
        if includes_ended or item.state in OPEN_STATES
    ]
    if shown:
        rows = [
            (
                item.key.post,
                shorten(snapshot.titles.get(item.key.post, ""), MAX_TITLE_WIDTH),
                item.account,
                formatter.status(item),
                str(item.attempts),
                formatter.time(item.due_at),
                format_details(item, snapshot, formatter),
            )
            for item in shown
        ]
        columns = ("post", "title", "account", "state", "attempts", "due", "remarks")
        styles = [STATE_STYLES.get(item.state, "") for item in shown]
        terminal.print_table(columns, rows, styled_column="state", styles=styles)
    elif includes_ended:
        terminal.print_message("nothing_found")
    else:
        is_empty = not snapshot.deliveries and not snapshot.has_older
        terminal.print_message("nothing_planned" if is_empty else "nothing_open")
    if snapshot.deliveries:
        counts = "counts_listed" if snapshot.has_older else "counts_line"
        terminal.print_message(
            counts,
            total=len(snapshot.deliveries),
            counts=format_counts(snapshot.deliveries, formatter),
        )
    if len(shown) < len(snapshot.deliveries):
        terminal.print_message(
            "ended_line", number=len(snapshot.deliveries) - len(shown)
        )
    elif snapshot.has_older:
        terminal.print_message("older_line", days=MAX_STATUS_AGE.days)


def format_details(
    delivery: Delivery, snapshot: StatusSnapshot, formatter: Formatter
) -> str:
    translate = formatter.messages.translate
    receipt = delivery.receipt
    parts = formatter.parts_progress(delivery)
    if delivery.state is State.PUBLISHED and receipt:
        code = (
            "manually_confirmed"
            if receipt.is_manually_confirmed
            else "is_verified"
            if delivery.verified_at
            else ""
        )
        return " ".join(
            filter(None, [receipt.url, translate(code) if code else "", parts])
        )
    details = []
    if is_still_published(delivery) and receipt:
        details.append(translate("still_published", url=receipt.url))
    if delivery.state is State.RETRACTED:
        details.append(translate("deleted_at", at=formatter.time(delivery.updated_at)))
    if parts:
        details.append(parts)
    if delivery.reason:
        text = formatter.reason(delivery.reason)
        details.append(
            translate("typed_reason", reason=text) if text == delivery.reason else text
        )
    if snapshot.awaits_approval(delivery) and delivery.reason != AWAITING_APPROVAL:
        details.append(formatter.reason(AWAITING_APPROVAL))
    if delivery.state is State.DUE:
        details += [
            formatter.pause("blocked_by_pause", pause)
            for pause in pauses_covering(snapshot.pauses, delivery)
        ]
    if until := snapshot.waits_until(delivery):
        details.append(translate("sent_from", at=formatter.time(until)))
    if delivery.next_action_at and delivery.state is not State.PENDING:
        details.append(translate("next_at", at=formatter.time(delivery.next_action_at)))
    return translate("list_comma").join(details)
