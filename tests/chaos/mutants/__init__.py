"""Mistakes that colleagues could make, planted on purpose: each breaks one promise, and a good campaign finds it.

A mutant is a function named for what it does. Its docstring names what it breaks and how that shows; it patches the
running program, never a file of it. In a run without faults none of them shows.
"""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from .patch import Patch

NONE = "nothing"
"""What a sweep calls a daemon without any mistake."""


def _functions() -> Iterator[tuple[str, str, str]]:
    """Give the name, module and docstring of each mutant without loading the program that it patches."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if is_public and [argument.arg for argument in node.args.args] == ["patch"]:
                yield node.name, file.stem, ast.get_docstring(node) or ""


MODULES = {name: module for name, module, _docstring in _functions()}
"""The module of each mutant, by its name."""


def broken_by(name: str) -> frozenset[str]:
    """Give the invariants that a mutant says it breaks."""
    docstring = next(docstring for mutant, _module, docstring in _functions() if mutant == name)
    return frozenset(re.findall(r"\bI\d{1,2}\b", docstring.partition("Breaks ")[2].partition(":")[0]))


def plant(name: str) -> Patch:
    """Plant a mutant; it stays until the patch is undone, or its context ends."""
    patch = Patch()
    getattr(import_module(f"{__name__}.{MODULES[name]}"), name)(patch)
    return patch
