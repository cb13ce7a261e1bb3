"""Colleagues' mistakes, planted on purpose: each module breaks one promise, and a good campaign finds it.

A bug is named for what it does. Its docstring names what it breaks and how that shows; `plant()` patches the running
program, never a file of it. On a day without faults none of them shows.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

BUGS: Mapping[str, ModuleType] = {
    found.name: import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
}
"""Every bug by its name; each has `plant()`."""
