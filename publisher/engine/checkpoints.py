"""The head of the audit is written down outside the database, so that a cut or rewritten audit shows."""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from publisher.config import Settings
from publisher.domain.audit_chain import Checkpoint, SignatureCheck
from publisher.domain.audit_export import checkpoint_signing_text, format_checkpoint, parse_checkpoint
from publisher.runtime.logs import log
from publisher.secrets import AuditKey, SecretError, Vault, is_signed_by, load_audit_key
from publisher.store.audit.append import AUDIT_BROKEN
from publisher.store.queries.audit_log import AuditLog

TAIL_BYTES = 64 * 1024
"""How much of the end of a file is compared with the audit each time."""
MAX_LOST_CHECKPOINTS = 100
"""So many anchors that the database does not know are kept beside the newest one."""
MAX_LINE_CHARACTERS = 4096
MISSING_KEY_REASON = "audit_key"
"""Why an anchor was not written: the key that signs it is not to be had."""
SYSLOG_PRIORITY = 85
"""Syslog's number for a notice of the security facility that ordinary users do not read."""


@dataclass(slots=True, kw_only=True)
class CheckpointTargets:
    """Where anchors go: a file, and the system log's socket where the operator wants them there as well.

    `newest` is a file beside with the newest anchor, and those that the database does not know: what they prove
    outlives the loss of the first. `key` gives the key that signs them, and raises SecretError; None leaves them
    unsigned. `logged` is what the system log has taken last, as it cannot be read back.
    """

    file: Path
    newest_file: Path | None = None
    syslog_socket: Path | None = None
    load_key: Callable[[], AuditKey | None] = lambda: None
    last_logged: Checkpoint | None = None


def own_checkpoint_files(targets: CheckpointTargets) -> Sequence[Path]:
    """Give the files of ours that know anchors; the one beside only where the first has lost some. Raises OSError."""
    beside = _identities(_newest_file_checkpoints(targets))
    is_needed = not set(beside) <= set(_identities(recent_checkpoints(targets.file)))
    files = [targets.file, *([targets.newest_file] if targets.newest_file and is_needed else [])]
    return [file for file in files if file.is_file()]


async def write_checkpoint(audit: AuditLog, targets: CheckpointTargets) -> None:
    """Write the audit's head down outside if it has moved; trouble with that, or with the audit, is told."""
    head = await audit.read_checkpoint()
    try:
        key = await asyncio.to_thread(targets.load_key)
        recent = await asyncio.to_thread(_known_checkpoints, targets)
        contradicting = await audit.mismatched_checkpoints(recent, own_signature_check(key))
        if contradicting:  # told first: the next anchor agrees again
            log.error("audit_broken", sequence=contradicting[-1].sequence)
            await audit.raise_alert_once(AUDIT_BROKEN, str(contradicting[-1].sequence))
        if head is not None:
            newest = [*contradicting[-MAX_LOST_CHECKPOINTS:], sign_checkpoint(head, key)]
            written = await asyncio.gather(  # trouble with one keeps nothing from the other
                asyncio.to_thread(append_checkpoint, targets, head, key),
                asyncio.to_thread(_save_newest, targets, newest),
                return_exceptions=True,
            )
            for failure in filter(None, written):
                raise failure
    except SecretError as error:
        log.error("audit_checkpoint_failed", error=error.code, number=None)
        await audit.raise_alert_once("audit_checkpoint_failed", MISSING_KEY_REASON)
        return
    except OSError as error:
        log.error("audit_checkpoint_failed", error=type(error).__name__, number=error.errno)
        await audit.raise_alert_once("audit_checkpoint_failed", error.strerror or type(error).__name__)
        return
    await audit.clear_alert("audit_checkpoint_failed")


def own_signature_check(key: AuditKey | None, others: Collection[str] = ()) -> SignatureCheck:
    """Give what knows the signatures of a key, and of others' public keys."""
    publics = [*([key.public] if key else []), *others]
    return lambda text, signature: is_signed_by(text, signature, publics)


def sign_checkpoint(head: Checkpoint, key: AuditKey | None) -> Checkpoint:
    """Sign an anchor, where there is a key."""
    return head if key is None else replace(head, signature=key.sign(checkpoint_signing_text(head)))


def last_checkpoint(file: Path) -> Checkpoint | None:
    """Read the last whole anchor of a file; None where there is none. Raises OSError."""
    return next(reversed(recent_checkpoints(file)), None)


def recent_checkpoints(file: Path) -> Sequence[Checkpoint]:
    """Read the anchors at the end of a file, oldest first. Raises OSError."""
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - TAIL_BYTES))
        lines = opened.read().decode("utf-8", "replace").split("\n")
    return [found for line in lines if (found := parse_checkpoint(line))]


def _known_checkpoints(targets: CheckpointTargets) -> Sequence[Checkpoint]:
    """Read what our own files know, the anchors of the one beside first. Raises OSError."""
    return [*_newest_file_checkpoints(targets), *recent_checkpoints(targets.file)]


def _newest_file_checkpoints(targets: CheckpointTargets) -> Sequence[Checkpoint]:
    return recent_checkpoints(targets.newest_file) if targets.newest_file is not None else []


def _save_newest(targets: CheckpointTargets, checkpoints: Sequence[Checkpoint]) -> None:
    """Put these anchors in place of those in the file beside, if they are others. Raises OSError."""
    path, checkpoints = targets.newest_file, list({each.hash: each for each in checkpoints}.values())
    if path is None or _identities(_newest_file_checkpoints(targets)) == _identities(checkpoints):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    with aside.open("w", encoding="utf-8") as file:
        file.writelines(f"{format_checkpoint(each)}\n" for each in checkpoints)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _identities(checkpoints: Sequence[Checkpoint]) -> list[tuple[str, int, str]]:
    return [(each.chain, each.sequence, each.hash) for each in checkpoints]


def read_checkpoints(file: Path) -> Iterator[Checkpoint]:
    """Read a file's anchors, oldest first, passing over what is none: a death may have torn a line. Raises OSError."""
    with file.open("r", encoding="utf-8-sig", errors="replace") as opened:
        while line := opened.readline(MAX_LINE_CHARACTERS):
            if found := parse_checkpoint(line):
                yield found


def append_checkpoint(targets: CheckpointTargets, head: Checkpoint, key: AuditKey | None) -> None:
    """Tell each place of a head that it does not have yet, signed. Raises OSError."""
    line = format_checkpoint(sign_checkpoint(head, key))
    if _has_new_head(last_checkpoint(targets.file), head):
        _append_line(targets.file, line)
    if targets.syslog_socket is not None and _has_new_head(targets.last_logged, head):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.sendto(f"<{SYSLOG_PRIORITY}>publisher: audit anchor {line}".encode(), str(targets.syslog_socket))
        targets.last_logged = head


def _has_new_head(last: Checkpoint | None, head: Checkpoint) -> bool:
    return last is None or (last.chain, last.hash) != (head.chain, head.hash)


def _append_line(path: Path, line: str) -> None:
    """Add one line and sync it; a line that a death has torn is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_torn = file.read() not in {b"", b"\n"}
        file.write(b"\n" * is_torn + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


SYSLOG_SOCKET = Path("/dev/log")


def build_checkpoint_targets(settings: Settings) -> CheckpointTargets:
    """Give the places outside the database where the audit's head is written down."""
    return CheckpointTargets(
        file=settings.workspace / settings.audit.checkpoint_file,
        newest_file=settings.workspace / "var" / "audit-anchors.newest",
        syslog_socket=SYSLOG_SOCKET if settings.audit.syslog else None,
        load_key=partial(load_workspace_audit_key, settings),
    )


def load_workspace_audit_key(settings: Settings, *, creates_missing: bool = True) -> AuditKey | None:
    """Read the workspace's key that signs anchors, and make one at the first use. Raises SecretError."""
    return load_audit_key(
        Vault(folder=settings.workspace / "var"), settings.secrets_dir, creates_missing=creates_missing
    )
