"""`audit`: computing the audit's chain again, and handing out parts of it."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta, tzinfo
from itertools import chain
from pathlib import Path
from typing import Any

import click

from publisher.anchoring import anchors_of
from publisher.cli.shape import Kind, OneOf, Said, WordedUsageError, command, json_option
from publisher.cli.terminal import Terminal, shown_path
from publisher.cli.trouble import FAILED, FailedError
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.chain import Anchor, Break, Cut, Damage, Verification
from publisher.domain.excerpt import time_of, verify_excerpt
from publisher.settings import Settings
from publisher.store.audit import Audit
from publisher.store.journal import newest_intents
from publisher.wiring.books import journal_path
from publisher.wiring.mooring import mooring_of

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


@command("audit")
@click.argument("deed", metavar="verify|export", type=OneOf("verify", "export"))
@click.argument("target", metavar="[FILE|-]", required=False, type=Said())
@click.option("--anchors", metavar="FILE", multiple=True, type=Said(), help="opt_anchors")
@click.option("--file", "file", metavar="FILE", type=Said(), help="opt_excerpt")
@click.option("--from", "since", metavar="TIME", type=MomentType(), help="opt_from")
@click.option("--to", "until", metavar="TIME", type=MomentType(), help="opt_to")
@json_option
def audit(  # noqa: PLR0913, PLR0917 # one argument an option
    terminal: Terminal,
    deed: str,
    target: str | None,
    anchors: Sequence[str],
    file: str | None,
    since: tuple[datetime, bool] | None,
    until: tuple[datetime, bool] | None,
    *,
    as_json: bool,
) -> int:
    if deed == "export":
        if target is None or anchors or file or as_json:
            raise WordedUsageError("export_wants_file")
        asyncio.run(_export(terminal, target, since, until))
        return 0
    if target is not None or since or until:
        raise WordedUsageError("verify_wants_options")
    named = [Path(name) for name in anchors]
    zone: tzinfo | None = None
    if file:
        verification = _verify_file(terminal, Path(file), named)
    else:
        verification, zone = asyncio.run(_verify(terminal, named))
    _tell(terminal, verification, zone, as_json=as_json)
    return 0 if verification.is_sound else FAILED


async def _verify(terminal: Terminal, named: Sequence[Path]) -> tuple[Verification, tzinfo]:
    """Verify the workspace's own database, with its own anchors first; give the zone for its times as well."""
    settings = await settings_of(terminal)
    own = mooring_of(settings).file
    files = [*([own] if own.is_file() else []), *named]
    if not files:
        terminal.note("audit_no_anchors", file=shown_path(own))
    anchors = await asyncio.to_thread(_read_anchors, terminal, files)
    if not has_books(settings):
        return Verification(genesis="", anchors=anchors).walk(()), settings.timezone
    intents = await asyncio.to_thread(newest_intents, journal_path(settings))
    async with books_of(settings) as books:
        return await Audit(books).verify(anchors, intents), settings.timezone


def _verify_file(terminal: Terminal, file: Path, named: Sequence[Path]) -> Verification:
    """Verify an exported part, which needs neither workspace nor database. Raises FailedError, OSError."""
    anchors = _read_anchors(terminal, named)
    with file.open("r", encoding="utf-8", errors="surrogateescape", newline="\n") as opened:
        lines = iter(lambda: opened.readline(LONGEST_LINE), "")
        verification = verify_excerpt(lines, anchors)
    if verification is None:
        raise FailedError("audit_no_excerpt", file=shown_path(file))
    return verification


def _read_anchors(terminal: Terminal, files: Sequence[Path]) -> list[Anchor]:
    """Read every file's anchors; one that has none proves nothing, and that is said. Raises OSError."""
    found = {file: list(anchors_of(file)) for file in files}
    for file, anchors in found.items():
        if not anchors:
            terminal.note("audit_anchors_unread", file=shown_path(file))
    return list(chain.from_iterable(found.values()))


def _tell(terminal: Terminal, verification: Verification, zone: tzinfo | None, *, as_json: bool) -> None:
    number, digest = verification.head
    facts = {"entries": verification.seen, "last": number, "hash": digest, "anchored": verification.agreed}
    if as_json:
        breaks = [_as_document(terminal, item, zone) for item in verification.breaks]
        cuts = [{"sequence": cut.sequence, "until": cut.until, **_facts(cut, zone)} for cut in verification.cuts]
        told = {"breaks": breaks, "untold": verification.untold, "restored": cuts}
        terminal.show({"ok": verification.is_sound, **facts, **told})
        return
    for cut in verification.cuts:
        terminal.say("audit_cut_announced", sequence=cut.sequence, until=cut.until, **_shown(cut, zone))
    if verification.is_sound:
        terminal.say("audit_sound" if verification.agreed else "audit_sound_alone", **facts)
        return
    terminal.say("audit_broken_head", number=len(verification.breaks) + verification.untold, **facts)
    for item in verification.breaks:
        click.echo(f"- {_words(terminal, item, zone)}")
    if verification.untold:
        terminal.say("audit_untold", number=verification.untold)
    terminal.say("audit_what_now")


def _words(terminal: Terminal, item: Break, zone: tzinfo | None) -> str:
    code = f"damage_{item.damage.value}{'_many' if item.until > item.sequence else ''}"
    facts = _shown(item, zone)
    words = terminal.words(code, sequence=item.sequence, until=item.until, other=item.other, **facts)
    about = "damage_behind" if item.damage in {Damage.MISSING, Damage.CUT} else "damage_about"
    return words + (terminal.words(about, **facts) if "event" in facts else "")


def _facts(item: Break | Cut, zone: tzinfo | None) -> dict[str, str]:
    return {name: _time(fact, zone) if name == "at" else fact for name, fact in item.facts.items()}


def _shown(item: Break | Cut, zone: tzinfo | None) -> dict[str, str]:
    """Give the facts for a line of text: a name is only claimed, so the system user stands with it."""
    facts = _facts(item, zone)
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
        **_facts(item, zone),
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
                lambda line: stream.write(line.encode("utf-8", "surrogateescape")),
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
