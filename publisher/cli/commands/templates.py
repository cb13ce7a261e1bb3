"""`templates`: which there are, where each comes from, and how a post for it is written."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import format_problems
from publisher.cli.framework import NonEmptyText, command, json_option
from publisher.cli.terminal import Terminal, display_path, echo
from publisher.cli.text_width import align_columns
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostKind
from publisher.rendering import Templates, TemplateSample, load_templates, shipped_templates
from publisher.rendering.process import RenderProcess

PAGE_SUFFIXES = (".txt", ".html")


@command("templates")
@click.argument("name", metavar="[TEMPLATE]", required=False, type=NonEmptyText())
@json_option
def templates(terminal: Terminal, name: str | None, *, as_json: bool) -> int:
    own = asyncio.run(load_workspace_settings(terminal)).workspace / "templates"
    found = load_templates([own, shipped_templates()], RenderProcess())
    if name is not None and name not in found.names:
        raise NoSuchItemError("template", name)
    names = found.names if name is None else (name,)
    if as_json:
        terminal.print_json({"templates": [_as_json(each, found, own) for each in names]})
    elif name is None:
        echo("\n".join(align_columns(list(_table_rows(terminal, found, own)))))
        terminal.print_message("templates_more")
    else:
        _print_template(terminal, name, found, own)
    faults = found.problems if name is None else found.problems_of(name)
    if faults:
        echo(format_problems(faults, terminal.messages), err=True)
    return int(bool(faults))


def _as_json(name: str, found: Templates, own: Path) -> dict[str, Any]:
    sample = found.samples[name]
    return {
        "name": name,
        "about": sample.about,
        "files": {file: str(place) for file, place in found.file_paths(name).items()},
        "own": _workspace_files(name, found, own),
        "needs": dict(sample.needs),
        "offers": dict(sample.offers),
        "sample": _sample_entry(name, sample),
    }


def _workspace_files(name: str, found: Templates, own: Path) -> list[str]:
    """Name the files of a template that are the workspace's own."""
    return sorted(file for file, place in found.file_paths(name).items() if place.is_relative_to(own))


def _table_rows(terminal: Terminal, found: Templates, own: Path) -> Iterator[tuple[str, ...]]:
    yield tuple(terminal.translate(f"column_{column}") for column in ("template", "about", "origin", "needs"))
    for name in found.names:
        sample = found.samples[name]
        yield name, sample.about, _origin(terminal, name, found, own), ", ".join(sample.needs)


def _origin(terminal: Terminal, name: str, found: Templates, own: Path) -> str:
    ours = _workspace_files(name, found, own)
    if not ours:
        return terminal.translate("template_shipped")
    is_whole = len(ours) == len(found.file_paths(name))
    return terminal.translate("template_own" if is_whole else "template_mixed", files=", ".join(ours))


def _print_template(terminal: Terminal, name: str, found: Templates, own: Path) -> None:
    sample = found.samples[name]
    echo(f"{name}  {sample.about}".rstrip())
    terminal.print_message("template_files", origin=_origin(terminal, name, found, own))
    echo("\n".join(f"    {display_path(place)}" for file, place in found.file_paths(name).items()))
    for code, keys in (("template_needs", sample.needs), ("template_offers", sample.offers)):
        if keys:
            terminal.print_message(code)
            echo("\n".join(align_columns([(f"    data.{key}", use) for key, use in keys.items()])))
    terminal.print_message("template_sample")
    echo(f"\n{_sample_entry(name, sample)}", nl=False)


def _sample_entry(name: str, sample: TemplateSample) -> str:
    """Write a post for the template, ready to be put into schedule.toml and changed."""
    kind = PostKind(name) if name in frozenset(PostKind) else PostKind.BULLETIN
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
    data = [f"{key} = {value}" for key, value in sample.as_toml.items()]
    return "\n".join(["[[post]]", *lines, 'to = ["all"]', "[post.data]", *data, ""])
