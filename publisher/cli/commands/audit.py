"""`audit`: verify the audit chain, export parts of it, accept a loss, show the public key."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import click

from publisher.app.open_store import journal_path
from publisher.cli.authentication import authenticate_offline
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.errors import EXIT_FAILED, CommandFailedError, report_error
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    json_option,
    keep_typed_reason,
    one_line,
    person_name,
)
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.config import Settings
from publisher.domain.audit_chain import (
    RESTORED_EVENT,
    AcceptedDataLoss,
    Checkpoint,
    checkpoint_signing_text,
    format_time,
)
from publisher.domain.audit_verifier import (
    ChainBreak,
    ChainDefect,
    ChainVerifier,
    verify_export,
)
from publisher.domain.characters import escape_forbidden
from publisher.engine.checkpoints import (
    build_checkpoint_targets,
    load_workspace_audit_key,
    own_checkpoint_files,
    own_signature_check,
    read_checkpoints,
)
from publisher.secrets import SecretError, is_public_key, is_signed_by
from publisher.store.db.intent_journal import read_records

STDOUT_NAME = "-"
MAX_LINE_CHARACTERS = 2**20


def time_or_day(value: str) -> tuple[datetime, bool]:
    """Parse a day or an instant, as ISO 8601. True for a day.

    Without an offset it is in the workspace's zone.
    """
    try:
        return datetime.fromisoformat(value), len(value) <= len("2026-11-25")
    except ValueError as error:
        raise LocalizedUsageError("not_a_time", value=value) from error


def public_key(value: str) -> str:
    """Parse a public key, given as text or as a file. Raises LocalizedUsageError, OSError."""
    given = one_line(value)
    if is_public_key(given):
        return given
    text = (
        Path(given).read_text("utf-8-sig", errors="replace").strip()
        if Path(given).is_file()
        else ""
    )
    if not is_public_key(text):
        raise LocalizedUsageError("not_a_public_key", value=given)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """The options of `audit`. Each subcommand takes some of them."""

    target: str | None
    anchors: Sequence[str]
    keys: Sequence[str]
    file: str | None
    since: tuple[datetime, bool] | None
    until: tuple[datetime, bool] | None
    by: str | None
    reason: str | None
    as_json: bool

    def require_valid(self, subcommand: str) -> None:
        """Raise LocalizedUsageError if an option is missing, or is of another subcommand."""
        required, optional, code = OPTIONS_OF_SUBCOMMAND[subcommand]
        given = {item.name for item in fields(self) if getattr(self, item.name)}
        if not required <= given <= required | optional:
            raise LocalizedUsageError(code)


OPTIONS_OF_SUBCOMMAND: Mapping[str, tuple[AbstractSet[str], AbstractSet[str], str]] = {
    "export": ({"target"}, {"since", "until"}, "audit_export_usage"),
    "key": (set(), set(), "audit_key_usage"),
    "accept": ({"anchors", "by", "reason"}, {"keys"}, "audit_accept_usage"),
    "verify": (set(), {"anchors", "keys", "file", "as_json"}, "audit_verify_usage"),
}
"""The required options of each subcommand, the others that it takes, and its usage error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCheckpoints:
    """Checkpoints to compare with, and the ones with a signature that is not ours."""

    checkpoints: Sequence[Checkpoint]
    forged: Sequence[Checkpoint]
    unsigned: int


@command("audit")
@click.argument(
    "subcommand",
    metavar="verify|export|accept|key",
    type=choice("verify", "export", "accept", "key"),
)
@click.argument("target", metavar="[FILE|-]", required=False, type=one_line)
@click.option(
    "--anchors", metavar="FILE", multiple=True, type=one_line, help="opt_checkpoints"
)
@click.option(
    "--key",
    "keys",
    metavar="PUBLIC",
    multiple=True,
    type=public_key,
    help="opt_audit_key",
)
@click.option("--file", "file", metavar="FILE", type=one_line, help="opt_export_file")
@click.option("--from", "since", metavar="TIME", type=time_or_day, help="opt_from")
@click.option("--to", "until", metavar="TIME", type=time_or_day, help="opt_to")
@click.option("--by", metavar="NAME", type=person_name, help="opt_by_accept")
@click.option(
    "--reason",
    metavar="TEXT",
    type=one_line,
    callback=keep_typed_reason,
    help="opt_reason_accept",
)
@json_option
async def audit(terminal: Terminal, subcommand: str, **given: Any) -> int:  # noqa: ANN401 # the options by name
    options = AuditOptions(**given)
    options.require_valid(subcommand)
    match subcommand:
        case "export":
            await _export(terminal, options)
            return 0
        case "key":
            key = await asyncio.to_thread(
                load_workspace_audit_key, await load_workspace_settings(terminal)
            )
            echo(key.public if key else "")
            terminal.print_note("audit_key_shown")
            return 0
        case "accept":
            return await _accept_loss(terminal, options)
    zone: tzinfo | None = None
    if options.file:
        verification, checked = verify_exported(terminal, Path(options.file), options)
    else:
        verification, checked, settings = await verify_database(terminal, options)
        zone = settings.timezone
    is_empty = not (options.file or verification.entry_count)
    is_good = verification.is_sound and not is_empty
    if options.as_json:
        report = build_report(terminal, verification, checked, zone)
        terminal.print_json({**report, "ok": is_good})
    elif verification.is_sound and is_empty:
        terminal.print_message("audit_empty")
    else:
        _print_verification(terminal, verification, zone)
    return 0 if is_good else EXIT_FAILED


async def verify_database(
    terminal: Terminal, options: AuditOptions
) -> tuple[ChainVerifier, CheckedCheckpoints, Settings]:
    """Verify the workspace's database against its own checkpoints and the given ones."""
    settings = await load_workspace_settings(terminal)
    targets = build_checkpoint_targets(settings)
    files = [*own_checkpoint_files(targets), *map(Path, options.anchors)]
    if not files:
        terminal.print_note("audit_no_checkpoints", file=display_path(targets.file))
    known = list(options.keys)
    try:
        if key := await asyncio.to_thread(
            load_workspace_audit_key, settings, creates_missing=False
        ):
            known.insert(0, key.public)
    except SecretError as error:
        report_error(error, terminal)
    checked = await asyncio.to_thread(check_signatures, terminal, files, known)
    is_own_signature = own_signature_check(None, known)
    if not has_database(settings):
        verification = ChainVerifier(
            genesis="",
            checkpoints=checked.checkpoints,
            is_own_signature=is_own_signature,
        ).verify(())
    else:
        intents = await asyncio.to_thread(read_records, journal_path(settings))
        async with open_command_store(settings) as store:
            verification = await store.audit.verify(
                checked.checkpoints, intents, is_own_signature
            )
    for checkpoint in checked.forged:
        verification.report_forged_checkpoint(checkpoint)
    return verification, checked, settings


def verify_exported(
    terminal: Terminal, file: Path, options: AuditOptions
) -> tuple[ChainVerifier, CheckedCheckpoints]:
    """Verify an export, without workspace or database. Raise CommandFailedError, OSError."""
    checked = check_signatures(terminal, list(map(Path, options.anchors)), options.keys)
    with file.open(
        "r", encoding="utf-8", errors="surrogateescape", newline="\n"
    ) as opened:
        lines = iter(lambda: opened.readline(MAX_LINE_CHARACTERS), "")
        verification = verify_export(
            lines, checked.checkpoints, own_signature_check(None, options.keys)
        )
    if verification is None:
        raise CommandFailedError("audit_not_an_export", file=display_path(file))
    for checkpoint in checked.forged:
        verification.report_forged_checkpoint(checkpoint)
    return verification, checked


def check_signatures(
    terminal: Terminal, files: Sequence[Path], publics: Sequence[str]
) -> CheckedCheckpoints:
    """Read the files' checkpoints and check the signatures, with a note for a file without any.

    A checkpoint without a signature is accepted, unless it comes after a signed one in its file.
    Raises OSError.
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


async def _accept_loss(terminal: Terminal, options: AuditOptions) -> int:
    """Record as a signed audit entry that a named holder of checkpoints accepts a loss."""
    by, reason = options.by or "", options.reason or ""
    person = await authenticate_offline(
        terminal, await load_workspace_settings(terminal), command="audit accept", by=by
    )
    verification, _checked, settings = await verify_database(terminal, options)
    targets = build_checkpoint_targets(settings)
    own = [
        file
        for file in (targets.file, targets.newest_file)
        if file is not None and file.exists()
    ]
    if not any(
        next(read_checkpoints(file), None)
        for file in map(Path, options.anchors)
        if not any(map(file.samefile, own))
    ):
        raise LocalizedUsageError("audit_accept_usage")
    lost = [item for item in verification.breaks if item.loss is not None]
    if not lost or not has_database(settings):
        raise CommandFailedError("audit_nothing_to_accept")
    key = await asyncio.to_thread(load_workspace_audit_key, settings)
    # a forged entry may name an instant far ahead: nothing later than now is accepted
    now = datetime.now(UTC).isoformat()
    losses = [
        replace(item.loss, at=min(item.loss.at, now))
        for item in lost
        if item.loss is not None
    ]
    acceptance = AcceptedDataLoss(name=by, reason=reason, losses=losses)
    signature = key.sign(acceptance.signing_text) if key else ""
    is_all = len(lost) == len(verification.breaks) + verification.unlisted_breaks
    async with open_command_store(settings) as store:
        await store.audit.record_acceptance(
            replace(acceptance, signature=signature),
            person,
            is_everything_accepted=is_all,
        )
    for item in lost:
        echo(f"- {format_break(terminal, item, settings.timezone)}")
    terminal.print_message("audit_accepted", number=len(lost), name=by)
    if not is_all:
        terminal.print_message("audit_next_steps")
    return 0 if is_all else EXIT_FAILED


def build_report(
    terminal: Terminal,
    verification: ChainVerifier,
    checked: CheckedCheckpoints,
    zone: tzinfo | None,
) -> Mapping[str, object]:
    """Return the result of a verification as JSON."""
    errors = [
        {
            "code": item.defect.value,
            "sequence": item.sequence,
            "last_sequence": item.until,
            "other": item.other,
            **_localize_times(item.facts, zone),
            "message": format_break(terminal, item, zone),
        }
        for item in verification.breaks
    ]
    return {
        "ok": verification.is_sound,
        **_summarize(verification),
        "signed": len(checked.checkpoints) - checked.unsigned,
        "unsigned": checked.unsigned,
        "errors": errors,
        "unreported": verification.unlisted_breaks,
        "accepted": _list_accepted(verification, zone),
    }


def _summarize(verification: ChainVerifier) -> Mapping[str, object]:
    last, digest = verification.head
    return {
        "entries": verification.entry_count,
        "last": last,
        "hash": digest,
        "anchored": verification.last_confirmed,
    }


def _list_accepted(
    verification: ChainVerifier, zone: tzinfo | None
) -> Sequence[Mapping[str, Any]]:
    """Return the losses that a person has accepted."""
    return [
        {
            **_localize_times({**entry.facts, "until": loss.at}, zone),
            "sequence": loss.sequence,
            "last_sequence": loss.until,
            "reason": entry.accepted_loss.reason,
        }
        for entry in verification.accepted_losses
        for loss in entry.accepted_loss.losses
    ]


def _print_verification(
    terminal: Terminal, verification: ChainVerifier, zone: tzinfo | None
) -> None:
    broken, unreported = verification.breaks, verification.unlisted_breaks
    facts = _summarize(verification)
    for loss in _list_accepted(verification, zone):
        terminal.print_message("audit_loss_accepted", **_with_system_user(loss))
    if verification.is_sound:
        is_confirmed = bool(verification.last_confirmed)
        code = "audit_sound" if is_confirmed else "audit_sound_without_checkpoints"
        terminal.print_message(code, **facts)
        return
    terminal.print_message(
        "audit_broken_head", number=len(broken) + unreported, **facts
    )
    for item in broken:
        echo(f"- {format_break(terminal, item, zone)}")
    if unreported:
        terminal.print_message("audit_not_listed", number=unreported)
    terminal.print_message("audit_next_steps")
    if any(item.loss for item in broken):
        terminal.print_message("audit_accept_how")


def format_break(terminal: Terminal, item: ChainBreak, zone: tzinfo | None) -> str:
    code = f"damage_{item.defect.value}{'_many' if item.until > item.sequence else ''}"
    facts = _with_system_user(_localize_times(item.facts, zone))
    words = terminal.translate(
        code,
        sequence=item.sequence,
        last_sequence=item.until,
        other=item.other,
        **facts,
    )
    if "since" in facts:
        words += terminal.translate(
            "damage_between", **{**facts, "since": facts["since"] or "?"}
        )
    match item.defect:
        case ChainDefect.LOST if facts.get("event") == RESTORED_EVENT and item.loss:
            return words + terminal.translate("damage_restored", **facts)
        case ChainDefect.LOST if "database" in facts:
            return words + terminal.translate("damage_other_chain", **facts)
        case _ if "event" not in facts:
            return words
        case ChainDefect.LOST:
            return words + terminal.translate("damage_entry_before", **facts)
        case _:
            return words + terminal.translate("damage_entry_now", **facts)


def _localize_times(facts: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """Return the facts with times in the workspace's zone, else this machine's.

    Invalid times stay.
    """
    localized = dict(facts)
    for name in {"at", "since", "until"} & facts.keys():
        with suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(format_time(facts[name]))
            localized[name] = instant.astimezone(zone).isoformat(timespec="seconds")
    return localized


def _with_system_user(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the facts with the system user beside the name, as a name is only claimed."""
    return (
        {**facts, "name": f"{facts['name']} [{facts['system']}]"}
        if facts.get("system")
        else facts
    )


async def _export(terminal: Terminal, options: AuditOptions) -> None:
    target = options.target or STDOUT_NAME
    settings = await load_workspace_settings(terminal)
    if not has_database(settings):
        raise CommandFailedError("audit_nothing_yet")

    def in_zone(instant: datetime) -> datetime:
        return instant if instant.tzinfo else instant.replace(tzinfo=settings.timezone)

    def write_line(line: str) -> None:
        shown = escape_forbidden(line) if stream.isatty() else line
        stream.write(shown.encode("utf-8", "surrogateescape"))

    start = end = None
    if options.since:
        start = in_zone(options.since[0])
    if options.until:
        until, is_day = options.until
        # a day is exported as a whole
        end = in_zone(until) + (timedelta(days=1) if is_day else timedelta())
    with ExitStack() as stack:
        stream = sys.stdout.buffer
        if target != STDOUT_NAME:
            stream = stack.enter_context(
                await asyncio.to_thread(Path(target).open, "xb")
            )
        async with open_command_store(settings) as store:
            number = await store.audit.export(write_line, start, end)
        stream.flush()
    terminal.print_note("audit_exported", number=number, file=target)
