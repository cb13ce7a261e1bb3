"""`templates`: list the templates with their origin, or show one with a sample post."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from publisher.cli.context import load_workspace_settings
from publisher.cli.errors import format_problems
from publisher.cli.framework import command, json_option, one_line
from publisher.cli.terminal import Terminal, align_columns, display_path, echo
from publisher.domain.errors import NoSuchItemError
from publisher.domain.kinds import PostKind
from publisher.rendering.process import RenderProcess
from publisher.rendering.templates import (
    Templates,
    TemplateSample,
    load_templates,
    shipped_templates,
)
from publisher.tomlfile.validate import PLACEHOLDER

SAMPLE_EXPIRY = timedelta(days=30)
"""How long the sample of an appeal asks for tips."""


@command("templates")
@click.argument("name", metavar="[TEMPLATE]", required=False, type=one_line)
@json_option
def templates(terminal: Terminal, name: str | None, *, as_json: bool) -> int:
    lang = terminal.messages.lang
    own_folder = asyncio.run(load_workspace_settings(terminal)).workspace / "templates"
    found = load_templates([own_folder, shipped_templates()], RenderProcess())
    if name is not None and name not in found.names:
        raise NoSuchItemError("template", name, found.names)
    if as_json:
        names = [name] if name else found.names
        listed = [
            {
                "name": each,
                "about": found.samples[each].explain("about", lang),
                "files": {
                    file: str(path) for file, path in found.file_paths(each).items()
                },
                "own": own_files(each, found, own_folder),
                "needs": {
                    key: found.samples[each].explain(key, lang)
                    for key in found.samples[each].needs
                },
                "offers": {
                    key: found.samples[each].explain(key, lang)
                    for key in found.samples[each].offers
                },
                "sample": sample_entry(terminal, each, found.samples[each]),
            }
            for each in names
        ]
        terminal.print_json({"templates": listed})
    elif name is None:
        rows = []
        for each in found.names:
            sample = found.samples[each]
            rows.append(
                (
                    each,
                    sample.explain("about", lang),
                    _origin(terminal, each, found, own_folder),
                    ", ".join(sample.needs),
                )
            )
        terminal.print_table(("template", "about", "origin", "needs"), rows)
        terminal.print_message("templates_more")
    else:
        _print_template(terminal, name, found, own_folder)
    problems = found.problems if name is None else found.problems_of(name)
    if problems:
        echo(format_problems(problems, terminal.messages), err=True)
    return int(bool(problems))


def own_files(name: str, found: Templates, own_folder: Path) -> list[str]:
    """Return the files of a template that are the workspace's own."""
    return sorted(
        file
        for file, path in found.file_paths(name).items()
        if path.is_relative_to(own_folder)
    )


def _origin(terminal: Terminal, name: str, found: Templates, own_folder: Path) -> str:
    files = own_files(name, found, own_folder)
    if not files:
        return terminal.translate("template_shipped")
    is_whole = len(files) == len(found.file_paths(name))
    return terminal.translate(
        "template_own" if is_whole else "template_mixed", files=", ".join(files)
    )


def _print_template(
    terminal: Terminal, name: str, found: Templates, own_folder: Path
) -> None:
    """Print a template's purpose and fields, as comments.

    All of it may then be appended to schedule.toml.
    """
    sample, lang, translate = (
        found.samples[name],
        terminal.messages.lang,
        terminal.translate,
    )
    lines = [
        f"{name}  {sample.explain('about', lang)}".rstrip(),
        translate("template_files", origin=_origin(terminal, name, found, own_folder)),
        *(f"    {display_path(path)}" for path in found.file_paths(name).values()),
    ]
    for code, keys in (
        ("template_needs", sample.needs),
        ("template_offers", sample.offers),
    ):
        if keys:
            lines += [
                translate(code),
                *align_columns(
                    [(f"    data.{key}", sample.explain(key, lang)) for key in keys]
                ),
            ]
    echo("\n".join(f"# {line}" for line in [*lines, translate("template_sample")]))
    echo(f"\n{sample_entry(terminal, name, sample)}", nl=False)


def _as_toml(text: str) -> str:
    """Return a text as TOML, one of several lines as staff would write it."""
    quoted = json.dumps(text, ensure_ascii=False)
    return (
        f'"""\n{text.strip()}\n"""'
        if "\n" in text and "\\" not in quoted.replace("\\n", "")
        else quoted
    )


def sample_entry(terminal: Terminal, name: str, sample: TemplateSample) -> str:
    """Return a sample post for the template, to be pasted into schedule.toml and changed.

    As it is, `check` and the daemon refuse it: its id is a placeholder, and it goes to nobody.
    """
    now = datetime.now(UTC)
    sample = sample.move_days(now.date())
    kinds = [kind for kind in (name, *sample.kinds) if kind in frozenset(PostKind)]
    kind = PostKind(kinds[0]) if kinds else PostKind.BULLETIN
    entry: Mapping[str, str | None] = {
        "id": PLACEHOLDER,
        "kind": kind.value,
        "template": name,
        "author": PLACEHOLDER,
        "follows": "id-of-the-original" if kind.traits.needs_original else None,
        "level": sample.level,
        "title": sample.title or name,
        "body": sample.body or None,
        "at": "asap",
    }
    lines = [
        f"{key} = {_as_toml(value)}"
        for key, value in entry.items()
        if value is not None
    ]
    if "end" in sample.rules:
        lines.append(f"expires = {(now + SAMPLE_EXPIRY).date()}T09:00:00")
    data = [f"{key} = {value}" for key, value in sample.as_toml.items()]
    recipients = f"to = []  # {terminal.translate('template_to')}"
    return "\n".join(["[[post]]", *lines, recipients, "[post.data]", *data, ""])
