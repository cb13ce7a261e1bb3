"""`status`: the state of the daemon, of deliveries, pauses and alerts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from publisher.cli.context import (
    StatusSnapshot,
    has_database,
    load_workspace_settings,
    open_command_store,
    take_snapshot,
)
from publisher.cli.format import STATE_STYLES, Formatter, format_counts, pauses_covering, reason_code
from publisher.cli.framework import command, json_option, one_line
from publisher.cli.target import require_post
from publisher.cli.terminal import Terminal, echo
from publisher.domain.delivery import Delivery, State
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.store.queries.queries import MAX_STATUS_AGE, ModeOverride, Pause, WorkerStatus


@command("status")
@click.argument("post", metavar="[POST]", required=False, type=one_line)
@click.option("--all", "shows_all", is_flag=True, help="opt_all")
@json_option
async def status(terminal: Terminal, post: PostId | None, *, shows_all: bool, as_json: bool) -> None:
    settings = await load_workspace_settings(terminal)
    if has_database(settings):
        async with open_command_store(settings) as store:
            queries = store.queries
            if post is not None:
                await require_post(queries, post)
            snapshot = await take_snapshot(queries, post, shows_all=shows_all)
    elif post is not None:
        raise NoSuchItemError("post", post)
    else:
        snapshot = StatusSnapshot(now=datetime.now(settings.timezone))
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json(snapshot_as_json(snapshot, formatter))
    else:
        _print_status(terminal, snapshot, formatter)


def snapshot_as_json(snapshot: StatusSnapshot, formatter: Formatter) -> dict[str, Any]:
    def worker_as_json(worker: WorkerStatus) -> dict[str, Any]:
        started, beat = formatter.iso(worker.started_at), formatter.iso(worker.heartbeat_at)
        is_alive = snapshot.is_alive(worker)
        return {"running": is_alive, "host": worker.host, "pid": worker.pid, "started": started, "beat": beat}

    def action_as_json(action: Pause | ModeOverride) -> dict[str, Any]:
        return {"at": formatter.iso(action.at), "by": action.by, "reason": action.reason}

    latest = snapshot.latest_worker
    daemon: dict[str, Any] = worker_as_json(latest) if latest else {"running": False}
    if others := [worker_as_json(worker) for worker in snapshot.workers if worker is not latest]:
        daemon["others"] = others
    rows = [delivery_as_json(delivery, snapshot.pauses, formatter) for delivery in snapshot.deliveries]
    return {
        "daemon": daemon,
        "paused": [{"scope": pause.scope, **action_as_json(pause)} for pause in snapshot.pauses],
        "deliveries": rows,
        "missed": [row for row in rows if row["state"] == State.EXPIRED.value],
        "alerts": [formatter.alert_as_json(alert) for alert in snapshot.alerts],
        "modes": [
            {"account": override.account, "mode": override.mode.value, **action_as_json(override)}
            for override in snapshot.mode_overrides
        ],
        "has_older": snapshot.has_older,
    }


def delivery_as_json(delivery: Delivery, pauses: Sequence[Pause], formatter: Formatter) -> dict[str, Any]:
    receipt = delivery.receipt
    return {
        **formatter.key_as_json(delivery),
        "state": delivery.state.value,
        "reason": reason_code(delivery, pauses),
        "attempts": delivery.attempts,
        "remote_id": receipt.remote_id if receipt else None,
        "url": receipt.url if receipt else None,
        "due": formatter.iso(delivery.due_at),
        "updated": formatter.iso(delivery.updated_at),
        "next_try": formatter.iso(delivery.next_action_at),
        "verified_at": formatter.iso(delivery.verified_at),
        "gone_at": formatter.iso(delivery.updated_at) if delivery.state is State.RETRACTED else None,
        "is_still_live": is_still_published(delivery),
        "floors": {"live": delivery.parts_done, "total": delivery.extra_parts + 1} if delivery.extra_parts else None,
    }


def is_still_published(delivery: Delivery) -> bool:
    """True if a retraction was requested and is not confirmed."""
    is_held = delivery.state is State.HELD and delivery.is_retraction_requested
    return delivery.receipt is not None and (is_held or delivery.state is State.RETRACTING)


def _print_status(terminal: Terminal, snapshot: StatusSnapshot, formatter: Formatter) -> None:
    for worker in filter(snapshot.is_alive, snapshot.workers):
        terminal.print_message(
            "daemon_running", host=worker.host, pid=worker.pid, beat=formatter.time(worker.heartbeat_at)
        )
    if not snapshot.is_running:
        terminal.print_message("daemon_stopped")
    for pause in snapshot.pauses:
        echo(formatter.pause("paused_line", pause))
    for override in snapshot.mode_overrides:
        echo(formatter.mode("mode_override", override))
    if not snapshot.deliveries and not snapshot.has_older:
        terminal.print_message("nothing_planned")
    elif snapshot.deliveries:
        rows = [
            (
                delivery.key.post,
                delivery.account,
                formatter.status(delivery),
                str(delivery.attempts),
                formatter.time(delivery.due_at),
                format_details(delivery, snapshot.pauses, formatter),
            )
            for delivery in snapshot.deliveries
        ]
        styles = [STATE_STYLES.get(delivery.state, "") for delivery in snapshot.deliveries]
        columns = ("post", "account", "state", "attempts", "due", "remarks")
        terminal.print_table(columns, rows, styled_column="state", styles=styles)
        counts = "counts_listed" if snapshot.has_older else "counts_line"
        terminal.print_message(
            counts, total=len(snapshot.deliveries), counts=format_counts(snapshot.deliveries, formatter)
        )
    if snapshot.has_older:
        terminal.print_message("older_line", days=MAX_STATUS_AGE.days)
    if snapshot.alerts:
        terminal.print_message("alerts_title")
    for alert in snapshot.alerts:
        echo(f"  {formatter.time(alert.at)}  {formatter.alert(alert)}")


def format_details(delivery: Delivery, pauses: Sequence[Pause], formatter: Formatter) -> str:
    translate, receipt, parts = formatter.messages.translate, delivery.receipt, formatter.parts_progress(delivery)
    if delivery.state is State.PUBLISHED and receipt:
        code = "manually_confirmed" if receipt.is_manually_confirmed else "is_verified" if delivery.verified_at else ""
        return " ".join(filter(None, [receipt.url, translate(code) if code else "", parts]))
    details = []
    if is_still_published(delivery) and receipt:
        details.append(translate("still_published", url=receipt.url))
    if delivery.state is State.RETRACTED:
        details.append(translate("deleted_at", at=formatter.time(delivery.updated_at)))
    if parts:
        details.append(parts)
    if delivery.reason:
        details.append(formatter.reason(delivery.reason))
    if delivery.state is State.DUE:
        details += [formatter.pause("blocked_by_pause", pause) for pause in pauses_covering(pauses, delivery)]
    if delivery.next_action_at and delivery.state is not State.PENDING:
        details.append(translate("next_at", at=formatter.time(delivery.next_action_at)))
    return translate("list_comma").join(details)
