"""Planted mistakes that colleagues could make: each breaks a promise, and good campaigns find it.

A mutant is a function named for its change. Its docstring names the broken promise and its signs.
It patches the running program, never a file of it. In a run without faults none of them shows.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from .patch import Patch

NONE = "nothing"
"""The name of a daemon without any mistake in a sweep."""


def _functions() -> Iterator[tuple[str, str, str]]:
    """Yield the name, module and docstring of each mutant, without importing the program."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith(
                "_"
            )
            if is_public and [argument.arg for argument in node.args.args] == ["patch"]:
                yield node.name, file.stem, ast.get_docstring(node) or ""


MODULES = {name: module for name, module, _docstring in _functions()}
"""The module of each mutant, by its name."""


def broken_by(name: str) -> frozenset[str]:
    """Give the invariants that a mutant says it breaks."""
    docstring = next(
        docstring for mutant, _module, docstring in _functions() if mutant == name
    )
    return frozenset(
        re.findall(r"\bI\d{1,2}\b", docstring.partition("Breaks ")[2].partition(":")[0])
    )


def plant(name: str) -> Patch:
    """Plant a mutant; it stays until the patch is undone, or its context ends."""
    patch = Patch()
    getattr(import_module(f"{__name__}.{MODULES[name]}"), name)(patch)
    return patch
