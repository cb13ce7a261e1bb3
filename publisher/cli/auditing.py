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

from publisher.anchoring import anchors_of, ours, own_files
from publisher.cli.shape import Kind, OneOf, PersonName, Said, WordedUsageError, command, json_option
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.trouble import FAILED, FailedError, explain
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.chain import Accepted, Anchor, Break, Damage, Verification
from publisher.domain.characters import visible
from publisher.domain.excerpt import signed_text, time_of, verify_excerpt
from publisher.domain.loss import Acceptance, Loss
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.audit import Audit
from publisher.store.journal import newest_intents
from publisher.vault import SecretError, bears_signature, is_public_key
from publisher.wiring.books import journal_path
from publisher.wiring.mooring import audit_key_of, mooring_of

STDOUT = "-"
LONGEST_LINE = 2**20
DAY = timedelta(days=1)


class MomentType(Kind):
    """A day or an instant, as ISO 8601; without an offset it is the workspace's."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[datetime, bool]:  # noqa: ANN401, ARG002
        if isinstance(value, tuple):
            return value
        try:
            return datetime.fromisoformat(value), len(value) <= len("2026-11-25")
        except ValueError as error:
            raise WordedUsageError("not_a_time", ctx, value=value) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Anchors by what their signatures are worth: those to compare with, and those that cannot be ours."""

    anchors: Sequence[Anchor]
    forged: Sequence[Anchor]
    unsigned: int

    @property
    def signed(self) -> int:
        return len(self.anchors) - self.unsigned


@command("audit")
@click.argument("deed", metavar="verify|export|accept|key", type=OneOf("verify", "export", "accept", "key"))
@click.argument("target", metavar="[FILE|-]", required=False, type=Said())
@click.option("--anchors", metavar="FILE", multiple=True, type=Said(), help="opt_anchors")
@click.option("--key", "keys", metavar="PUBLIC", multiple=True, type=Said(), help="opt_audit_key")
@click.option("--file", "file", metavar="FILE", type=Said(), help="opt_excerpt")
@click.option("--from", "since", metavar="TIME", type=MomentType(), help="opt_from")
@click.option("--to", "until", metavar="TIME", type=MomentType(), help="opt_to")
@click.option("--by", metavar="NAME", type=PersonName(), help="opt_by_accept")
@click.option("--reason", metavar="TEXT", type=Said(), help="opt_reason_accept")
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
    _must_make_sense(
        deed,
        target,
        {"anchors": named, "keys": keys, "file": file, "since": since, "until": until},
        {"by": by, "reason": reason},
        as_json=as_json,
    )
    publics = [_public_key(key) for key in keys]
    match deed:
        case "export":
            asyncio.run(_export(terminal, target or STDOUT, since, until))
            return 0
        case "key":
            return asyncio.run(_show_key(terminal))
        case "accept":
            return asyncio.run(_accept(terminal, named, publics, by or "", reason or ""))
    zone: tzinfo | None = None
    if file:
        verification, checked = _verify_file(terminal, Path(file), named, publics)
    else:
        verification, checked, settings = asyncio.run(_verify(terminal, named, publics))
        zone = settings.timezone
    _tell(terminal, verification, checked, zone, as_json=as_json)
    return 0 if verification.is_sound else FAILED


def _must_make_sense(
    deed: str, target: str | None, options: Mapping[str, object], order: Mapping[str, str | None], *, as_json: bool
) -> None:
    """Refuse options that another deed takes. Raises WordedUsageError."""
    given = {name for name, value in {**options, **order}.items() if value}
    takes = {
        "export": {"since", "until"},
        "key": set(),
        "accept": {"anchors", "keys", "by", "reason"},
        "verify": {"anchors", "keys", "file"},
    }[deed]
    is_missing = (deed == "export" and target is None) or (
        deed == "accept" and not all(value for value in (options["anchors"], *order.values()))
    )
    is_too_much = given - takes or (target is not None and deed != "export") or (as_json and deed != "verify")
    if is_missing or is_too_much:
        codes = {"export": "export_wants_file", "key": "key_wants_nothing", "accept": "accept_wants_anchors"}
        raise WordedUsageError(codes.get(deed, "verify_wants_options"))


def _public_key(given: str) -> str:
    """Read a public key, which is given as it is or as a file that holds it. Raises WordedUsageError, OSError."""
    text = given if is_public_key(given) else ""
    if not text and Path(given).is_file():
        text = Path(given).read_text("utf-8-sig", errors="replace").strip()
    if not is_public_key(text):
        raise WordedUsageError("not_a_public_key", value=given)
    return text


async def _show_key(terminal: Terminal) -> int:
    settings = await settings_of(terminal)
    key = await asyncio.to_thread(audit_key_of, settings)
    echo(key.public if key else "")
    terminal.note("audit_key_shown")
    return 0


async def _verify(
    terminal: Terminal, named: Sequence[Path], publics: Sequence[str]
) -> tuple[Verification, Checked, Settings]:
    """Verify the workspace's own database, with its own anchors first."""
    settings = await settings_of(terminal)
    mooring = mooring_of(settings)
    files = [*own_files(mooring), *named]
    if not files:
        terminal.note("audit_no_anchors", file=shown_path(mooring.file))
    known = [*await asyncio.to_thread(_own_key, terminal, settings), *publics]
    checked = await asyncio.to_thread(_check, terminal, files, known)
    is_ours = ours(None, known)
    if not has_books(settings):
        verification = Verification(genesis="", anchors=checked.anchors, is_ours=is_ours).walk(())
    else:
        intents = await asyncio.to_thread(newest_intents, journal_path(settings))
        async with books_of(settings) as books:
            verification = await Audit(books).verify(checked.anchors, intents, is_ours)
    for anchor in checked.forged:
        verification.report_forged(anchor)
    return verification, checked, settings


def _own_key(terminal: Terminal, settings: Settings) -> Sequence[str]:
    """Give the workspace's own public key, if it has one that can be read."""
    try:
        key = audit_key_of(settings, makes_one=False)
    except SecretError as error:
        explain(error, terminal)
        return []
    return [key.public] if key else []


def _verify_file(
    terminal: Terminal, file: Path, named: Sequence[Path], publics: Sequence[str]
) -> tuple[Verification, Checked]:
    """Verify an exported part, which needs neither workspace nor database. Raises FailedError, OSError."""
    checked = _check(terminal, named, publics)
    with file.open("r", encoding="utf-8", errors="surrogateescape", newline="\n") as opened:
        lines = iter(lambda: opened.readline(LONGEST_LINE), "")
        verification = verify_excerpt(lines, checked.anchors, ours(None, publics))
    if verification is None:
        raise FailedError("audit_no_excerpt", file=shown_path(file))
    for anchor in checked.forged:
        verification.report_forged(anchor)
    return verification, checked


def _check(terminal: Terminal, files: Sequence[Path], publics: Sequence[str]) -> Checked:
    """Read every file's anchors, and check their signatures; a file that has none proves nothing, and that is said.

    One without a signature is taken as it is, unless it stands behind a signed one. Raises OSError.
    """
    anchors: list[Anchor] = []
    forged: list[Anchor] = []
    unsigned = 0
    for file in files:
        is_empty, is_signed = True, False
        for anchor in anchors_of(file):
            is_empty = False
            is_bare = anchor.signature is None or not publics
            is_proven = not is_bare and bears_signature(signed_text(anchor), anchor.signature or "", publics)
            if is_proven or (is_bare and not is_signed):
                anchors.append(anchor)
                unsigned += is_bare
            else:
                forged.append(anchor)
            is_signed = is_signed or is_proven
        if is_empty:
            terminal.note("audit_anchors_unread", file=shown_path(file))
    if unsigned:
        terminal.note("audit_unsigned", number=unsigned)
    return Checked(anchors=anchors, forged=forged, unsigned=unsigned)


async def _accept(terminal: Terminal, named: Sequence[Path], publics: Sequence[str], by: str, reason: str) -> int:
    """Let the holder of anchors accept what was lost, by name, as a signed entry of the audit."""
    verification, _checked, settings = await _verify(terminal, named, publics)
    mooring = mooring_of(settings)
    own = [file for file in (mooring.file, mooring.newest) if file is not None and file.exists()]
    if not any(next(anchors_of(file), None) for file in named if not any(map(file.samefile, own))):
        raise WordedUsageError("accept_wants_anchors")
    lost = [item for item in verification.breaks if item.loss is not None]
    if not lost or not has_books(settings):
        raise FailedError("audit_nothing_to_accept")
    key = await asyncio.to_thread(audit_key_of, settings)
    now = datetime.now(
        UTC
    ).isoformat()  # an entry that was forged may name an instant far ahead: nothing later is excused
    losses = [replace(item.loss, at=min(item.loss.at, now)) for item in lost if item.loss is not None]
    acceptance = Acceptance(name=by, reason=reason, losses=losses)
    signature = key.sign(acceptance.text) if key else ""
    is_all = len(lost) == len(verification.breaks) + verification.untold
    async with books_of(settings) as books:
        await Audit(books).accept(replace(acceptance, signature=signature), person(by), is_all=is_all)
    for item in lost:
        echo(f"- {_words(terminal, item, settings.timezone)}")
    terminal.say("audit_accepted", number=len(lost), name=by)
    if not is_all:
        terminal.say("audit_what_now")
    return 0 if is_all else FAILED


def _tell(
    terminal: Terminal, verification: Verification, checked: Checked, zone: tzinfo | None, *, as_json: bool
) -> None:
    number, digest = verification.head
    facts = {"entries": verification.seen, "last": number, "hash": digest, "anchored": verification.agreed}
    if as_json:
        breaks = [_as_document(terminal, item, zone) for item in verification.breaks]
        accepted = [_accepted(item, loss, zone) for item in verification.accepted for loss in item.acceptance.losses]
        signatures = {"signed": checked.signed, "unsigned": checked.unsigned}
        told = {"breaks": breaks, "untold": verification.untold, "accepted": accepted}
        terminal.show({"ok": verification.is_sound, **facts, **signatures, **told})
        return
    for item in verification.accepted:
        for loss in item.acceptance.losses:
            terminal.say("audit_loss_accepted", **_named(_accepted(item, loss, zone)))
    if verification.is_sound:
        terminal.say("audit_sound" if verification.agreed else "audit_sound_alone", **facts)
        return
    terminal.say("audit_broken_head", number=len(verification.breaks) + verification.untold, **facts)
    for broken in verification.breaks:
        echo(f"- {_words(terminal, broken, zone)}")
    if verification.untold:
        terminal.say("audit_untold", number=verification.untold)
    terminal.say("audit_what_now")
    if any(broken.loss for broken in verification.breaks):
        terminal.say("audit_accept_how")


def _accepted(item: Accepted, loss: Loss, zone: tzinfo | None) -> dict[str, Any]:
    told = {"sequence": loss.sequence, "until": loss.until, "till": loss.at, "reason": item.acceptance.reason}
    return _timed({**item.facts, **told}, zone)


def _words(terminal: Terminal, item: Break, zone: tzinfo | None) -> str:
    code = f"damage_{item.damage.value}{'_many' if item.until > item.sequence else ''}"
    facts = _named(_timed(item.facts, zone))
    words = terminal.words(code, sequence=item.sequence, until=item.until, other=item.other, **facts)
    if "since" in facts:
        words += terminal.words("damage_between", **{**facts, "since": facts["since"] or "?"})
    if item.damage is Damage.REPLACED or "event" not in facts:
        return words
    about = "damage_behind" if item.damage in {Damage.MISSING, Damage.CUT} else "damage_about"
    return words + terminal.words(about, **facts)


def _timed(facts: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    return {name: _time(fact, zone) if name in {"at", "since", "till"} else fact for name, fact in facts.items()}


def _named(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the system user beside the name, for a line of text: a name is only claimed."""
    return {**facts, "name": f"{facts['name']} [{facts['system']}]"} if facts.get("system") else facts


def _time(told: str, zone: tzinfo | None) -> str:
    """Give an instant in the workspace's zone, else this machine's; what is none stays as it is."""
    try:
        return datetime.fromisoformat(time_of(told)).astimezone(zone).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return told


def _as_document(terminal: Terminal, item: Break, zone: tzinfo | None) -> dict[str, Any]:
    return {
        "damage": item.damage.value,
        "sequence": item.sequence,
        "until": item.until,
        "other": item.other,
        **_timed(item.facts, zone),
        "message": _words(terminal, item, zone),
    }


async def _export(
    terminal: Terminal, target: str, since: tuple[datetime, bool] | None, until: tuple[datetime, bool] | None
) -> None:
    settings = await settings_of(terminal)
    if not has_books(settings):
        raise FailedError("audit_nothing_yet")
    with ExitStack() as stack:
        stream = sys.stdout.buffer
        if target != STDOUT:
            stream = stack.enter_context(await asyncio.to_thread(Path(target).open, "xb"))
        async with books_of(settings) as books:
            number = await Audit(books).export(
                lambda line: stream.write(
                    (visible(line) if stream.isatty() else line).encode("utf-8", "surrogateescape")
                ),
                _start(since, settings),
                _end(until, settings),
            )
        stream.flush()
    terminal.note("audit_exported", number=number, file=target)


def _start(moment: tuple[datetime, bool] | None, settings: Settings) -> datetime | None:
    if moment is None:
        return None
    instant = moment[0]
    return instant if instant.tzinfo else instant.replace(tzinfo=settings.timezone)


def _end(moment: tuple[datetime, bool] | None, settings: Settings) -> datetime | None:
    """A day is meant up to its end."""
    start = _start(moment, settings)
    return start + DAY if start is not None and moment is not None and moment[1] else start
