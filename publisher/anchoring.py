"""The head of the audit is written down outside the database, so that a cut or rewritten audit shows."""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.domain.chain import Anchor, IsOurs
from publisher.domain.excerpt import read_anchor, signed_text, spell_anchor
from publisher.store.audit import Audit
from publisher.store.ledger import AUDIT_BROKEN
from publisher.telemetry import log
from publisher.vault import AuditKey, SecretError, bears_signature

TAIL_BYTES = 64 * 1024
"""How much of the end of a file is compared with the audit each time."""
MOST_LOST = 100
"""So many anchors that the database does not know are kept beside the newest one."""
LONGEST_LINE = 4096
UNSIGNED = "audit_key"
"""Why an anchor was not written: the key that signs it is not to be had."""
NOTICE = 85
"""Syslog's number for a notice of the security facility that ordinary users do not read."""


@dataclass(slots=True, kw_only=True)
class Mooring:
    """Where anchors go: a file, and the system log's socket where the operator wants them there as well.

    `newest` is a file beside with the newest anchor, and those that the database does not know: what they prove
    outlives the loss of the first. `key` gives the key that signs them, and raises SecretError; None leaves them
    unsigned. `logged` is what the system log has taken last, as it cannot be read back.
    """

    file: Path
    newest: Path | None = None
    syslog: Path | None = None
    key: Callable[[], AuditKey | None] = lambda: None
    logged: Anchor | None = None


def own_files(mooring: Mooring) -> Sequence[Path]:
    """Give the files of ours that know anchors; the one beside only where the first has lost some. Raises OSError."""
    beside = _identities(_beside(mooring))
    is_needed = not set(beside) <= set(_identities(recent_anchors(mooring.file)))
    files = [mooring.file, *([mooring.newest] if mooring.newest and is_needed else [])]
    return [file for file in files if file.is_file()]


async def anchor(audit: Audit, mooring: Mooring) -> None:
    """Write the audit's head down outside if it has moved; trouble with that, or with the audit, is told."""
    head = await audit.head()
    try:
        key = await asyncio.to_thread(mooring.key)
        recent = await asyncio.to_thread(_known_anchors, mooring)
        against = await audit.against(recent, ours(key))
        if against:  # told first: the next anchor agrees again
            log.error("audit_broken", sequence=against[-1].sequence)
            await audit.tell(AUDIT_BROKEN, str(against[-1].sequence))
        if head is not None:
            newest = [*against[-MOST_LOST:], signed(head, key)]
            written = await asyncio.gather(  # trouble with one keeps nothing from the other
                asyncio.to_thread(write_head, mooring, head, key),
                asyncio.to_thread(_keep_newest, mooring, newest),
                return_exceptions=True,
            )
            for trouble in filter(None, written):
                raise trouble
    except SecretError as error:
        log.error("audit_anchor_failed", error=error.code, number=None)
        await audit.tell("audit_anchor_failed", UNSIGNED)
        return
    except OSError as error:
        log.error("audit_anchor_failed", error=type(error).__name__, number=error.errno)
        await audit.tell("audit_anchor_failed", error.strerror or type(error).__name__)
        return
    await audit.calm("audit_anchor_failed")


def ours(key: AuditKey | None, others: Collection[str] = ()) -> IsOurs:
    """Give what knows the signatures of a key, and of others' public keys."""
    publics = [*([key.public] if key else []), *others]
    return lambda text, signature: bears_signature(text, signature, publics)


def signed(head: Anchor, key: AuditKey | None) -> Anchor:
    """Sign an anchor, where there is a key."""
    return head if key is None else replace(head, signature=key.sign(signed_text(head)))


def last_anchor(file: Path) -> Anchor | None:
    """Read the last whole anchor of a file; None where there is none. Raises OSError."""
    return next(reversed(recent_anchors(file)), None)


def recent_anchors(file: Path) -> Sequence[Anchor]:
    """Read the anchors at the end of a file, oldest first. Raises OSError."""
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - TAIL_BYTES))
        lines = opened.read().decode("utf-8", "replace").split("\n")
    return [found for line in lines if (found := read_anchor(line))]


def _known_anchors(mooring: Mooring) -> Sequence[Anchor]:
    """Read what our own files know, the anchors of the one beside first. Raises OSError."""
    return [*_beside(mooring), *recent_anchors(mooring.file)]


def _beside(mooring: Mooring) -> Sequence[Anchor]:
    return recent_anchors(mooring.newest) if mooring.newest is not None else []


def _keep_newest(mooring: Mooring, anchors: Sequence[Anchor]) -> None:
    """Put these anchors in place of those in the file beside, if they are others. Raises OSError."""
    path, anchors = mooring.newest, list({each.hash: each for each in anchors}.values())
    if path is None or _identities(_beside(mooring)) == _identities(anchors):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    with aside.open("w", encoding="utf-8") as file:
        file.writelines(f"{spell_anchor(each)}\n" for each in anchors)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _identities(anchors: Sequence[Anchor]) -> list[tuple[str, int, str]]:
    return [(each.chain, each.sequence, each.hash) for each in anchors]


def anchors_of(file: Path) -> Iterator[Anchor]:
    """Read a file's anchors, oldest first, passing over what is none: a death may have torn a line. Raises OSError."""
    with file.open("r", encoding="utf-8-sig", errors="replace") as opened:
        while line := opened.readline(LONGEST_LINE):
            if found := read_anchor(line):
                yield found


def write_head(mooring: Mooring, head: Anchor, key: AuditKey | None) -> None:
    """Tell each place of a head that it does not have yet, signed. Raises OSError."""
    line = spell_anchor(signed(head, key))
    if _has_moved(last_anchor(mooring.file), head):
        _add(mooring.file, line)
    if mooring.syslog is not None and _has_moved(mooring.logged, head):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.sendto(f"<{NOTICE}>publisher: audit anchor {line}".encode(), str(mooring.syslog))
        mooring.logged = head


def _has_moved(last: Anchor | None, head: Anchor) -> bool:
    return last is None or (last.chain, last.hash) != (head.chain, head.hash)


def _add(path: Path, line: str) -> None:
    """Add one line and sync it; a line that a death has torn is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_torn = file.read() not in {b"", b"\n"}
        file.write(b"\n" * is_torn + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
