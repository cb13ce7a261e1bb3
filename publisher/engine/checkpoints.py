"""Write the audit chain's head outside the database, to notice a truncated or rewritten audit."""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from publisher.config import Settings
from publisher.domain.audit_chain import (
    Checkpoint,
    SignatureCheck,
    checkpoint_signing_text,
    format_checkpoint,
    parse_checkpoint,
)
from publisher.runtime.files import put_in_place, sync, write_beside
from publisher.runtime.logs import log
from publisher.runtime.shared_files import share
from publisher.secrets import (
    AuditKey,
    SecretError,
    is_signed_by,
    load_audit_key,
    open_vault,
)
from publisher.store.db.rows import AUDIT_BROKEN
from publisher.store.queries.audit_log import AuditLog

TAIL_BYTES = 64 * 1024
"""How much of the end of a checkpoint file is compared with the audit each time."""
MAX_LOST_CHECKPOINTS = 100
"""How many checkpoints that the database does not know are kept besides the newest one."""
MAX_LINE_CHARACTERS = 4096
MISSING_KEY_REASON = "audit_key"
"""The reason in the alert if the signing key cannot be read."""
SYSLOG_PRIORITY = 85
"""Facility 10 (authpriv, not readable by ordinary users) and severity 5 (notice), by RFC 5424."""


@dataclass(slots=True, kw_only=True)
class CheckpointTargets:
    """The places of checkpoints: a file, and the system log's socket if the operator wants that.

    `newest_file` holds the newest checkpoint, and the ones that the database does not know, so that
    their proof survives the loss of `file`. `load_key` returns the signing key, or None to leave
    checkpoints unsigned; it raises SecretError. `last_logged` is the last checkpoint sent to the
    system log, because the log cannot be read back.
    """

    file: Path
    newest_file: Path | None = None
    syslog_socket: Path | None = None
    load_key: Callable[[], AuditKey | None] = lambda: None
    last_logged: Checkpoint | None = None


def own_checkpoint_files(targets: CheckpointTargets) -> Sequence[Path]:
    """Return our checkpoint files. Raises OSError.

    `newest_file` is included only if `file` has lost some of its checkpoints.
    """
    lost = set(_identities(_newest_file_checkpoints(targets))) - set(
        _identities(recent_checkpoints(targets.file))
    )
    files = [
        targets.file,
        *([targets.newest_file] if targets.newest_file and lost else []),
    ]
    return [file for file in files if file.is_file()]


async def void_authority_if_older(audit: AuditLog, targets: CheckpointTargets) -> None:
    """End sign-ins and approvals if a checkpoint knows entries that the database lacks.

    It needs no key, as an accepted loss has had this effect before. A file that cannot be read is
    only logged: the next `write_checkpoint` alerts people.
    """
    try:
        mismatched = await find_mismatched(audit, targets)
    except OSError as error:
        log.error(
            "audit_checkpoint_failed", error=type(error).__name__, number=error.errno
        )
        return
    if mismatched:
        await audit.void_authority_once(mismatched[-1])


async def find_mismatched(
    audit: AuditLog, targets: CheckpointTargets
) -> Sequence[Checkpoint]:
    """Return our recent checkpoints of entries that the database lacks. Raises OSError."""
    recent = await asyncio.to_thread(_recent_own_checkpoints, targets)
    return await audit.mismatched_checkpoints(recent)


async def write_checkpoint(audit: AuditLog, targets: CheckpointTargets) -> None:
    """Write the chain head outside if it has moved.

    Alert people if that fails, or if the audit does not match.
    """
    head = await audit.read_checkpoint()
    try:
        key = await asyncio.to_thread(targets.load_key)
        recent = await asyncio.to_thread(_recent_own_checkpoints, targets)
        mismatched = await audit.mismatched_checkpoints(
            recent, own_signature_check(key)
        )
        if mismatched:  # before the next checkpoint is written, which matches again
            log.error("audit_broken", sequence=mismatched[-1].sequence)
            await audit.raise_alert_once(AUDIT_BROKEN, str(mismatched[-1].sequence))
            await audit.void_authority_once(mismatched[-1])
        if head is not None:
            newest = [*mismatched[-MAX_LOST_CHECKPOINTS:], sign_checkpoint(head, key)]
            written = (
                await asyncio.gather(  # a failure of one must not prevent the other
                    asyncio.to_thread(append_checkpoint, targets, head, key),
                    asyncio.to_thread(_save_newest, targets, newest),
                    return_exceptions=True,
                )
            )
            for failure in filter(None, written):
                raise failure
    except SecretError as error:
        log.error("audit_checkpoint_failed", error=error.code, number=None)
        await audit.raise_alert_once("audit_checkpoint_failed", MISSING_KEY_REASON)
        return
    except OSError as error:
        log.error(
            "audit_checkpoint_failed", error=type(error).__name__, number=error.errno
        )
        await audit.raise_alert_once(
            "audit_checkpoint_failed", error.strerror or type(error).__name__
        )
        return
    await audit.clear_alert("audit_checkpoint_failed")


async def read_signed_checkpoint(
    audit: AuditLog, targets: CheckpointTargets
) -> Checkpoint | None:
    """Return the signed head of the chain, to be sent elsewhere.

    Returns None if there is none, or if the key cannot be read. `write_checkpoint` alerts people to
    the latter.
    """
    head = await audit.read_checkpoint()
    if head is None:
        return None
    try:
        return sign_checkpoint(head, await asyncio.to_thread(targets.load_key))
    except SecretError as error:
        log.error("audit_checkpoint_failed", error=error.code, number=None)
        return None


def own_signature_check(
    key: AuditKey | None, others: Collection[str] = ()
) -> SignatureCheck:
    """Return a check that accepts signatures of this key, and of others' public keys."""
    publics = [*([key.public] if key else []), *others]
    return lambda text, signature: is_signed_by(text, signature, publics)


def sign_checkpoint(head: Checkpoint, key: AuditKey | None) -> Checkpoint:
    """Return a checkpoint with its signature, or unchanged without a key."""
    return (
        head
        if key is None
        else replace(head, signature=key.sign(checkpoint_signing_text(head)))
    )


def last_checkpoint(file: Path) -> Checkpoint | None:
    """Read the last complete checkpoint of a file; None if there is none. Raises OSError."""
    return next(reversed(recent_checkpoints(file)), None)


def recent_checkpoints(file: Path) -> Sequence[Checkpoint]:
    """Read the checkpoints at the end of a file, oldest first. Raises OSError."""
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - TAIL_BYTES))
        lines = opened.read().decode("utf-8", "replace").split("\n")
    return [found for line in lines if (found := parse_checkpoint(line))]


def _newest_file_checkpoints(targets: CheckpointTargets) -> Sequence[Checkpoint]:
    return (
        recent_checkpoints(targets.newest_file)
        if targets.newest_file is not None
        else []
    )


def _recent_own_checkpoints(targets: CheckpointTargets) -> Sequence[Checkpoint]:
    return [*_newest_file_checkpoints(targets), *recent_checkpoints(targets.file)]


def _save_newest(targets: CheckpointTargets, checkpoints: Sequence[Checkpoint]) -> None:
    """Replace the checkpoints in `newest_file` if they differ. Raises OSError."""
    path = targets.newest_file
    checkpoints = list({item.hash: item for item in checkpoints}.values())
    if path is None or _identities(_newest_file_checkpoints(targets)) == _identities(
        checkpoints
    ):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{format_checkpoint(item)}\n" for item in checkpoints)
    new = write_beside(path, lines.encode())
    share(new)
    put_in_place(new, path)


def _identities(checkpoints: Sequence[Checkpoint]) -> list[tuple[str, int, str]]:
    return [(item.chain, item.sequence, item.hash) for item in checkpoints]


def read_checkpoints(file: Path) -> Iterator[Checkpoint]:
    """Yield a file's checkpoints, oldest first. Raises OSError.

    Invalid lines are skipped, as a crash may have torn one.
    """
    with file.open("r", encoding="utf-8-sig", errors="replace") as opened:
        while line := opened.readline(MAX_LINE_CHARACTERS):
            if found := parse_checkpoint(line):
                yield found


def append_checkpoint(
    targets: CheckpointTargets, head: Checkpoint, key: AuditKey | None
) -> None:
    """Write a signed chain head to each target that does not have it yet. Raises OSError."""
    line = format_checkpoint(sign_checkpoint(head, key))
    if _has_new_head(last_checkpoint(targets.file), head):
        targets.file.parent.mkdir(parents=True, exist_ok=True)
        with targets.file.open("a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            # a crash has torn the last line: end it first
            is_torn = file.read() not in {
                b"",
                b"\n",
            }
            file.write(b"\n" * is_torn + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        share(targets.file)
        sync(targets.file.parent)
    if targets.syslog_socket is not None and _has_new_head(targets.last_logged, head):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.sendto(
                f"<{SYSLOG_PRIORITY}>publisher: audit anchor {line}".encode(),
                str(targets.syslog_socket),
            )
        targets.last_logged = head


def _has_new_head(last: Checkpoint | None, head: Checkpoint) -> bool:
    return last is None or (last.chain, last.hash) != (head.chain, head.hash)


SYSLOG_SOCKET = Path("/dev/log")


def build_checkpoint_targets(settings: Settings) -> CheckpointTargets:
    """Return the targets that the settings name."""
    return CheckpointTargets(
        file=settings.workspace / settings.audit.checkpoint_file,
        newest_file=settings.workspace / "var" / "audit-anchors.newest",
        syslog_socket=SYSLOG_SOCKET if settings.audit.syslog else None,
        load_key=partial(load_workspace_audit_key, settings),
    )


def load_workspace_audit_key(
    settings: Settings, *, creates_missing: bool = True
) -> AuditKey | None:
    """Read the workspace's checkpoint signing key; create it on first use. Raises SecretError."""
    return load_audit_key(
        open_vault(settings.workspace),
        settings.secrets_dir,
        creates_missing=creates_missing,
    )
