"""`templates`: which there are, where each comes from, and how a post for it is written."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from publisher.cli.shape import Said, command, json_option
from publisher.cli.terminal import Terminal, echo, shown_path
from publisher.cli.trouble import told
from publisher.cli.widths import in_columns
from publisher.cli.workplace import settings_of
from publisher.domain.errors import NoSuchError
from publisher.domain.post import Kind
from publisher.rendering import Sample, Templates, load_templates, shipped_templates
from publisher.rendering.process import RenderProcess

PAGES = (".txt", ".html")


@command("templates")
@click.argument("name", metavar="[TEMPLATE]", required=False, type=Said())
@json_option
def templates(terminal: Terminal, name: str | None, *, as_json: bool) -> int:
    own = asyncio.run(settings_of(terminal)).workspace / "templates"
    found = load_templates([own, shipped_templates()], RenderProcess())
    if name is not None and name not in found.names:
        raise NoSuchError("template", name)
    names = found.names if name is None else (name,)
    if as_json:
        terminal.show({"templates": [_as_document(each, found, own) for each in names]})
    elif name is None:
        echo("\n".join(in_columns(list(_rows(terminal, found, own)))))
        terminal.say("templates_more")
    else:
        _show(terminal, name, found, own)
    faults = found.problems if name is None else found.faults_of(name)
    if faults:
        echo(told(faults, terminal.messages), err=True)
    return int(bool(faults))


def _as_document(name: str, found: Templates, own: Path) -> dict[str, Any]:
    sample = found.samples[name]
    return {
        "name": name,
        "about": sample.about,
        "files": {file: str(place) for file, place in found.files(name).items()},
        "own": _own_files(name, found, own),
        "needs": dict(sample.needs),
        "offers": dict(sample.offers),
        "sample": _entry(name, sample),
    }


def _own_files(name: str, found: Templates, own: Path) -> list[str]:
    """Name the files of a template that are the workspace's own."""
    return sorted(file for file, place in found.files(name).items() if place.is_relative_to(own))


def _rows(terminal: Terminal, found: Templates, own: Path) -> Iterator[tuple[str, ...]]:
    yield tuple(terminal.words(f"column_{column}") for column in ("template", "about", "origin", "needs"))
    for name in found.names:
        sample = found.samples[name]
        yield name, sample.about, _origin(terminal, name, found, own), ", ".join(sample.needs)


def _origin(terminal: Terminal, name: str, found: Templates, own: Path) -> str:
    ours = _own_files(name, found, own)
    if not ours:
        return terminal.words("template_shipped")
    is_whole = len(ours) == len(found.files(name))
    return terminal.words("template_own" if is_whole else "template_mixed", files=", ".join(ours))


def _show(terminal: Terminal, name: str, found: Templates, own: Path) -> None:
    sample = found.samples[name]
    echo(f"{name}  {sample.about}".rstrip())
    terminal.say("template_files", origin=_origin(terminal, name, found, own))
    echo("\n".join(f"    {shown_path(place)}" for file, place in found.files(name).items()))
    for code, keys in (("template_needs", sample.needs), ("template_offers", sample.offers)):
        if keys:
            terminal.say(code)
            echo("\n".join(in_columns([(f"    data.{key}", use) for key, use in keys.items()])))
    terminal.say("template_sample")
    echo(f"\n{_entry(name, sample)}", nl=False)


def _entry(name: str, sample: Sample) -> str:
    """Write a post for the template, ready to be put into schedule.toml and changed."""
    kind = Kind(name) if name in frozenset(Kind) else Kind.BULLETIN
    told: Mapping[str, str | None] = {
        "id": "id",
        "kind": kind.value,
        "template": name,
        "author": "zhang",
        "follows": "id-of-the-original" if kind.needs_original else None,
        "level": sample.level,
        "title": sample.title or name,
        "body": sample.body or None,
        "at": "asap",
    }
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in told.items() if value is not None]
    data = [f"{key} = {value}" for key, value in sample.written.items()]
    return "\n".join(["[[post]]", *lines, 'to = ["all"]', "[post.data]", *data, ""])
