"""Print what planting each mutant changes in the running program: one JSON object, mutant to names."""

import json
import sys
from collections.abc import Iterator, MutableMapping
from types import ModuleType
from typing import Any

from tests.chaos.mutants import BUGS

Place = tuple[Any, str]
"""A module, class or table, and a name or key in it."""


def places() -> Iterator[tuple[str, Place, object]]:
    """Give everything that can be patched: what modules hold, what their classes hold, what their tables hold."""
    ours = [name for name in sys.modules if name.split(".")[0] in {"publisher", "adapters"}]
    for module in (sys.modules[name] for name in ours):
        for name, value in list(vars(module).items()):
            yield f"{module.__name__}.{name}", (module, name), value
            if isinstance(value, type) and value.__module__ == module.__name__:
                for own, inner in list(vars(value).items()):
                    yield f"{module.__name__}.{name}.{own}", (value, own), inner
            if isinstance(value, dict) and not name.startswith("__"):
                for key, inner in list(value.items()):
                    yield f"{module.__name__}.{name}[{key}]", (value, key), inner


def changes(bug: ModuleType) -> list[str]:
    """Plant a bug, see what is another object than before, and put it back."""
    before = {id(place[0]): {} for _name, place, _value in places()}
    for _name, (owner, key), value in places():
        before[id(owner)][key] = value
    bug.plant()
    changed = [
        (name, place) for name, place, value in places() if before.get(id(place[0]), {}).get(place[1]) is not value
    ]
    for _name, (owner, key) in changed:
        _put(owner, key, before[id(owner)][key])
    return sorted(name for name, _place in changed)


def _put(owner: Any, key: Any, value: object) -> None:
    if isinstance(owner, MutableMapping):
        owner[key] = value
    else:
        setattr(owner, key, value)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: changes(bug) for name, bug in BUGS.items()}) + "\n")
