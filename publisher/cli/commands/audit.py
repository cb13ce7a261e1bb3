"""`audit`: computing the audit's chain again, and handing out parts of it."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click

from publisher.app.open_store import journal_path
from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.errors import EXIT_FAILED, CommandFailedError, report_error
from publisher.cli.framework import (
    LocalizedChoice,
    LocalizedParam,
    LocalizedUsageError,
    NonEmptyText,
    PersonName,
    command,
    json_option,
)
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings
from publisher.domain.audit_chain import (
    AcceptedDataLoss,
    AcceptedLossEntry,
    ChainBreak,
    ChainDefect,
    ChainLoss,
    ChainVerifier,
    Checkpoint,
)
from publisher.domain.audit_export import checkpoint_signing_text, format_time, verify_export
from publisher.domain.characters import escape_forbidden
from publisher.engine.checkpoints import (
    build_checkpoint_targets,
    load_workspace_audit_key,
    own_checkpoint_files,
    own_signature_check,
    read_checkpoints,
)
from publisher.engine.decisions import named_person
from publisher.secrets import SecretError, is_public_key, is_signed_by
from publisher.store.db.intent_journal import read_records
from publisher.store.queries.audit_log import AuditLog

STDOUT_NAME = "-"
MAX_LINE_CHARACTERS = 2**20
ONE_DAY = timedelta(days=1)


class TimeParam(LocalizedParam):
    """A day or an instant, as ISO 8601; without an offset it is the workspace's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[datetime, bool]:  # noqa: ANN401, ARG002
        if isinstance(value, tuple):
            return value
        try:
            return datetime.fromisoformat(value), len(value) <= len("2026-11-25")
        except ValueError as error:
            raise LocalizedUsageError("not_a_time", ctx, value=value) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCheckpoints:
    """Anchors by what their signatures are worth: those to compare with, and those that cannot be ours."""

    checkpoints: Sequence[Checkpoint]
    forged: Sequence[Checkpoint]
    unsigned: int

    @property
    def signed(self) -> int:
        return len(self.checkpoints) - self.unsigned


@command("audit")
@click.argument("deed", metavar="verify|export|accept|key", type=LocalizedChoice("verify", "export", "accept", "key"))
@click.argument("target", metavar="[FILE|-]", required=False, type=NonEmptyText())
@click.option("--anchors", metavar="FILE", multiple=True, type=NonEmptyText(), help="opt_checkpoints")
@click.option("--key", "keys", metavar="PUBLIC", multiple=True, type=NonEmptyText(), help="opt_audit_key")
@click.option("--file", "file", metavar="FILE", type=NonEmptyText(), help="opt_export_file")
@click.option("--from", "since", metavar="TIME", type=TimeParam(), help="opt_from")
@click.option("--to", "until", metavar="TIME", type=TimeParam(), help="opt_to")
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by_accept")
@click.option("--reason", metavar="TEXT", type=NonEmptyText(), help="opt_reason_accept")
@json_option
def audit(  # noqa: PLR0913, PLR0917 # one argument an option
    terminal: Terminal,
    deed: str,
    target: str | None,
    anchors: Sequence[str],
    keys: Sequence[str],
    file: str | None,
    since: tuple[datetime, bool] | None,
    until: tuple[datetime, bool] | None,
    by: str | None,
    reason: str | None,
    *,
    as_json: bool,
) -> int:
    named = [Path(name) for name in anchors]
    _require_valid_options(
        deed,
        target,
        {"anchors": named, "keys": keys, "file": file, "since": since, "until": until},
        {"by": by, "reason": reason},
        as_json=as_json,
    )
    publics = [_read_public_key(key) for key in keys]
    match deed:
        case "export":
            asyncio.run(_export(terminal, target or STDOUT_NAME, since, until))
            return 0
        case "key":
            return asyncio.run(_show_key(terminal))
        case "accept":
            return asyncio.run(_accept_loss(terminal, named, publics, by or "", reason or ""))
    zone: tzinfo | None = None
    if file:
        verification, checked = _verify_export(terminal, Path(file), named, publics)
    else:
        verification, checked, settings = asyncio.run(_verify_database(terminal, named, publics))
        zone = settings.timezone
    _print_verification(terminal, verification, checked, zone, as_json=as_json)
    return 0 if verification.is_sound else EXIT_FAILED


def _require_valid_options(
    subcommand: str,
    target: str | None,
    options: Mapping[str, object],
    order: Mapping[str, str | None],
    *,
    as_json: bool,
) -> None:
    """Refuse options that another deed takes. Raises WordedUsageError."""
    given = {name for name, value in {**options, **order}.items() if value}
    takes = {
        "export": {"since", "until"},
        "key": set(),
        "accept": {"anchors", "keys", "by", "reason"},
        "verify": {"anchors", "keys", "file"},
    }[subcommand]
    is_missing = (subcommand == "export" and target is None) or (
        subcommand == "accept" and not all(value for value in (options["anchors"], *order.values()))
    )
    is_too_much = (
        given - takes or (target is not None and subcommand != "export") or (as_json and subcommand != "verify")
    )
    if is_missing or is_too_much:
        codes = {"export": "audit_export_usage", "key": "audit_key_usage", "accept": "audit_accept_usage"}
        raise LocalizedUsageError(codes.get(subcommand, "audit_verify_usage"))


def _read_public_key(given: str) -> str:
    """Read a public key, which is given as it is or as a file that holds it. Raises WordedUsageError, OSError."""
    text = given if is_public_key(given) else ""
    if not text and Path(given).is_file():
        text = Path(given).read_text("utf-8-sig", errors="replace").strip()
    if not is_public_key(text):
        raise LocalizedUsageError("not_a_public_key", value=given)
    return text


async def _show_key(terminal: Terminal) -> int:
    settings = await load_workspace_settings(terminal)
    key = await asyncio.to_thread(load_workspace_audit_key, settings)
    echo(key.public if key else "")
    terminal.print_note("audit_key_shown")
    return 0


async def _verify_database(
    terminal: Terminal, named: Sequence[Path], publics: Sequence[str]
) -> tuple[ChainVerifier, CheckedCheckpoints, Settings]:
    """Verify the workspace's own database, with its own anchors first."""
    settings = await load_workspace_settings(terminal)
    targets = build_checkpoint_targets(settings)
    files = [*own_checkpoint_files(targets), *named]
    if not files:
        terminal.print_note("audit_no_checkpoints", file=display_path(targets.file))
    known = [*await asyncio.to_thread(_own_public_key, terminal, settings), *publics]
    checked = await asyncio.to_thread(_check_signatures, terminal, files, known)
    is_own_signature = own_signature_check(None, known)
    if not has_database(settings):
        verification = ChainVerifier(
            genesis="", checkpoints=checked.checkpoints, is_own_signature=is_own_signature
        ).verify(())
    else:
        intents = await asyncio.to_thread(read_records, journal_path(settings))
        async with open_command_store(settings) as store:
            verification = await AuditLog(store).verify(checked.checkpoints, intents, is_own_signature)
    for checkpoint in checked.forged:
        verification.report_forged_checkpoint(checkpoint)
    return verification, checked, settings


def _own_public_key(terminal: Terminal, settings: Settings) -> Sequence[str]:
    """Give the workspace's own public key, if it has one that can be read."""
    try:
        key = load_workspace_audit_key(settings, creates_missing=False)
    except SecretError as error:
        report_error(error, terminal)
        return []
    return [key.public] if key else []


def _verify_export(
    terminal: Terminal, file: Path, named: Sequence[Path], publics: Sequence[str]
) -> tuple[ChainVerifier, CheckedCheckpoints]:
    """Verify an exported part, which needs neither workspace nor database. Raises FailedError, OSError."""
    checked = _check_signatures(terminal, named, publics)
    with file.open("r", encoding="utf-8", errors="surrogateescape", newline="\n") as opened:
        lines = iter(lambda: opened.readline(MAX_LINE_CHARACTERS), "")
        verification = verify_export(lines, checked.checkpoints, own_signature_check(None, publics))
    if verification is None:
        raise CommandFailedError("audit_not_an_export", file=display_path(file))
    for checkpoint in checked.forged:
        verification.report_forged_checkpoint(checkpoint)
    return verification, checked


def _check_signatures(terminal: Terminal, files: Sequence[Path], publics: Sequence[str]) -> CheckedCheckpoints:
    """Read every file's anchors, and check their signatures; a file that has none proves nothing, and that is said.

    One without a signature is taken as it is, unless it stands behind a signed one. Raises OSError.
    """
    checkpoints: list[Checkpoint] = []
    forged: list[Checkpoint] = []
    unsigned = 0
    for file in files:
        is_empty, is_signed = True, False
        for checkpoint in read_checkpoints(file):
            is_empty = False
            is_unsigned = checkpoint.signature is None or not publics
            is_proven = not is_unsigned and is_signed_by(
                checkpoint_signing_text(checkpoint), checkpoint.signature or "", publics
            )
            if is_proven or (is_unsigned and not is_signed):
                checkpoints.append(checkpoint)
                unsigned += is_unsigned
            else:
                forged.append(checkpoint)
            is_signed = is_signed or is_proven
        if is_empty:
            terminal.print_note("audit_checkpoints_unreadable", file=display_path(file))
    if unsigned:
        terminal.print_note("audit_unsigned", number=unsigned)
    return CheckedCheckpoints(checkpoints=checkpoints, forged=forged, unsigned=unsigned)


async def _accept_loss(terminal: Terminal, named: Sequence[Path], publics: Sequence[str], by: str, reason: str) -> int:
    """Let the holder of anchors accept what was lost, by name, as a signed entry of the audit."""
    verification, _checked, settings = await _verify_database(terminal, named, publics)
    targets = build_checkpoint_targets(settings)
    own = [file for file in (targets.file, targets.newest_file) if file is not None and file.exists()]
    if not any(next(read_checkpoints(file), None) for file in named if not any(map(file.samefile, own))):
        raise LocalizedUsageError("audit_accept_usage")
    lost = [item for item in verification.breaks if item.loss is not None]
    if not lost or not has_database(settings):
        raise CommandFailedError("audit_nothing_to_accept")
    key = await asyncio.to_thread(load_workspace_audit_key, settings)
    now = datetime.now(
        UTC
    ).isoformat()  # an entry that was forged may name an instant far ahead: nothing later is excused
    losses = [replace(item.loss, at=min(item.loss.at, now)) for item in lost if item.loss is not None]
    acceptance = AcceptedDataLoss(name=by, reason=reason, losses=losses)
    signature = key.sign(acceptance.signing_text) if key else ""
    is_all = len(lost) == len(verification.breaks) + verification.unlisted_breaks
    async with open_command_store(settings) as store:
        await AuditLog(store).record_acceptance(
            replace(acceptance, signature=signature), named_person(by), is_everything_accepted=is_all
        )
    for item in lost:
        echo(f"- {_format_break(terminal, item, settings.timezone)}")
    terminal.print_message("audit_accepted", number=len(lost), name=by)
    if not is_all:
        terminal.print_message("audit_next_steps")
    return 0 if is_all else EXIT_FAILED


def _print_verification(
    terminal: Terminal, verification: ChainVerifier, checked: CheckedCheckpoints, zone: tzinfo | None, *, as_json: bool
) -> None:
    number, digest = verification.head
    facts = {
        "entries": verification.entry_count,
        "last": number,
        "hash": digest,
        "anchored": verification.last_confirmed,
    }
    if as_json:
        breaks = [_break_as_json(terminal, item, zone) for item in verification.breaks]
        accepted = [
            _accepted_as_json(item, loss, zone)
            for item in verification.accepted_losses
            for loss in item.accepted_loss.losses
        ]
        signatures = {"signed": checked.signed, "unsigned": checked.unsigned}
        told = {"breaks": breaks, "untold": verification.unlisted_breaks, "accepted": accepted}
        terminal.print_json({"ok": verification.is_sound, **facts, **signatures, **told})
        return
    for item in verification.accepted_losses:
        for loss in item.accepted_loss.losses:
            terminal.print_message("audit_loss_accepted", **_with_system_user(_accepted_as_json(item, loss, zone)))
    if verification.is_sound:
        terminal.print_message(
            "audit_sound" if verification.last_confirmed else "audit_sound_without_checkpoints", **facts
        )
        return
    terminal.print_message("audit_broken_head", number=len(verification.breaks) + verification.unlisted_breaks, **facts)
    for broken in verification.breaks:
        echo(f"- {_format_break(terminal, broken, zone)}")
    if verification.unlisted_breaks:
        terminal.print_message("audit_not_listed", number=verification.unlisted_breaks)
    terminal.print_message("audit_next_steps")
    if any(broken.loss for broken in verification.breaks):
        terminal.print_message("audit_accept_how")


def _accepted_as_json(item: AcceptedLossEntry, loss: ChainLoss, zone: tzinfo | None) -> dict[str, Any]:
    told = {"sequence": loss.sequence, "until": loss.until, "till": loss.at, "reason": item.accepted_loss.reason}
    return _localize_times({**item.facts, **told}, zone)


def _format_break(terminal: Terminal, item: ChainBreak, zone: tzinfo | None) -> str:
    code = f"damage_{item.defect.value}{'_many' if item.until > item.sequence else ''}"
    facts = _with_system_user(_localize_times(item.facts, zone))
    words = terminal.translate(code, sequence=item.sequence, until=item.until, other=item.other, **facts)
    if "since" in facts:
        words += terminal.translate("damage_between", **{**facts, "since": facts["since"] or "?"})
    if item.defect is ChainDefect.REPLACED or "event" not in facts:
        return words
    about = "damage_entry_before" if item.defect in {ChainDefect.MISSING, ChainDefect.CUT} else "damage_entry_now"
    return words + terminal.translate(about, **facts)


def _localize_times(facts: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    return {
        name: _localize_time(fact, zone) if name in {"at", "since", "till"} else fact for name, fact in facts.items()
    }


def _with_system_user(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the system user beside the name, for a line of text: a name is only claimed."""
    return {**facts, "name": f"{facts['name']} [{facts['system']}]"} if facts.get("system") else facts


def _localize_time(instant: str, zone: tzinfo | None) -> str:
    """Give an instant in the workspace's zone, else this machine's; what is none stays as it is."""
    try:
        return datetime.fromisoformat(format_time(instant)).astimezone(zone).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return instant


def _break_as_json(terminal: Terminal, item: ChainBreak, zone: tzinfo | None) -> dict[str, Any]:
    return {
        "damage": item.defect.value,
        "sequence": item.sequence,
        "until": item.until,
        "other": item.other,
        **_localize_times(item.facts, zone),
        "message": _format_break(terminal, item, zone),
    }


async def _export(
    terminal: Terminal, target: str, since: tuple[datetime, bool] | None, until: tuple[datetime, bool] | None
) -> None:
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise CommandFailedError("audit_nothing_yet")
    with ExitStack() as stack:
        stream = sys.stdout.buffer
        if target != STDOUT_NAME:
            stream = stack.enter_context(await asyncio.to_thread(Path(target).open, "xb"))
        async with open_command_store(settings) as store:
            number = await AuditLog(store).export(
                lambda line: stream.write(
                    (escape_forbidden(line) if stream.isatty() else line).encode("utf-8", "surrogateescape")
                ),
                _parse_start(since, settings),
                _parse_end(until, settings),
            )
        stream.flush()
    terminal.print_note("audit_exported", number=number, file=target)


def _parse_start(value: tuple[datetime, bool] | None, settings: Settings) -> datetime | None:
    if value is None:
        return None
    instant = value[0]
    return instant if instant.tzinfo else instant.replace(tzinfo=settings.timezone)


def _parse_end(value: tuple[datetime, bool] | None, settings: Settings) -> datetime | None:
    """A day is meant up to its end."""
    start = _parse_start(value, settings)
    return start + ONE_DAY if start is not None and value is not None and value[1] else start
