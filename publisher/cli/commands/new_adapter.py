"""`new-adapter`: write a package for another platform: the adapter, its double, tests and CI."""

import keyword
import re
from importlib.resources import files

import click

from publisher.app.adapters import find_sources
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, command
from publisher.cli.terminal import Terminal

TEMPLATES = files("publisher.cli") / "adapter_package"
PLACES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
    "test.yml": ".github/workflows/test.yml",
    "src/__init__.py": "src/publisher_{name}/__init__.py",
    "src/adapter.py": "src/publisher_{name}/adapter.py",
    "src/api.py": "src/publisher_{name}/api.py",
    "src/capabilities.py": "src/publisher_{name}/capabilities.py",
    "src/messages.toml": "src/publisher_{name}/messages.toml",
    "tests/double.py": "tests/double.py",
    "tests/test_conformance.py": "tests/test_conformance.py",
    "tests/test_messages.py": "tests/test_messages.py",
}
"""Where each template goes. In the templates the platform is called `myplatform`."""
_NAME = re.compile(r"[a-z][a-z0-9]{1,29}")


@command("new-adapter")
@click.argument("name", metavar="NAME", type=str)
def new_adapter(terminal: Terminal, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise LocalizedUsageError("adapter_name_invalid", name=name)
    if name in find_sources():
        raise LocalizedUsageError("adapter_name_taken", name=name)
    folder = terminal.workspace / f"publisher-{name}"
    if folder.exists() or folder.is_symlink():
        raise CommandFailedError(
            "workspace_not_empty", folder=terminal.workspace, names=folder.name
        )
    for template, place in PLACES.items():
        text = TEMPLATES.joinpath(f"{template}.tmpl").read_text("utf-8")
        file = folder / place.format(name=name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(fill_in(text, name), "utf-8")
    terminal.print_message("adapter_made", folder=folder)


def fill_in(text: str, name: str) -> str:
    """Return a template's text for a platform of this name."""
    for stand_in, word in (
        ("myplatform", name),
        ("MyPlatform", name.capitalize()),
        ("MYPLATFORM", name.upper()),
    ):
        text = text.replace(stand_in, word)
    return text
