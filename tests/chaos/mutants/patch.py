"""Replaces parts of the running program for a while."""

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Patch:
    """Replaces parts of the program, and restores the originals.

    A missing place raises AttributeError or KeyError, and a function that cannot be called as the
    original is raises TypeError: a mutant that no longer applies must not look harmless.
    """

    def __init__(self) -> None:
        self.replaced: list[tuple[Any, Any, object, object]] = []
        """Owner, name, original value, and present value."""

    def put(self, owner: Any, name: Any, value: object) -> Any:
        """Replace an attribute of a module or class, or an entry of a table; return the old one."""
        kept = (
            owner[name]
            if isinstance(owner, dict)
            else inspect.getattr_static(owner, name)
        )
        if inspect.isfunction(kept) and inspect.isfunction(value):
            _check_call(kept, value)
        self.replaced.append((owner, name, kept, value))
        _set(owner, name, value)
        return kept

    def put_step(
        self,
        table: dict[Any, Any],
        key: object,
        step: Callable[..., Any],
        *targets: object,
    ) -> None:
        """Replace the step of a transition, with these states as further targets."""
        rule = table[key]
        self.put(
            table,
            key,
            type(rule)(step=step, roles=rule.roles, targets=rule.targets | {*targets}),
        )

    def undo(self) -> None:
        for owner, name, kept, _value in reversed(self.replaced):
            _set(owner, name, kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: object,
        _trace: TracebackType | None,
    ) -> None:
        self.undo()


def _set(owner: Any, name: Any, value: object) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def _check_call(original: Callable[..., Any], value: Callable[..., Any]) -> None:
    """Raise TypeError if a function does not take all arguments of the original."""
    arguments = inspect.signature(original).parameters.values()
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    inspect.signature(value).bind(
        *(a for a in arguments if a.kind not in named),
        **{a.name: a for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY},
    )
