"""The sandbox of templates: they may read and lay out their variables, and nothing else.

Templates belong to a workspace, so they are trusted with text but not with time, memory or the
machine. Filters and calls are a short list, every string has a maximum length, and loops, calls and
includes share one budget of steps.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, cast

from jinja2 import (
    FunctionLoader,
    StrictUndefined,
    TemplateRuntimeError,
    nodes,
    pass_context,
)
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from publisher.domain.values import PrintedFigure, end_sentence

MAX_CHARACTERS: Final = 100_000
"""The longest text that a template may produce, in whole or in part."""
MAX_STEPS: Final = 20_000
MAX_SECONDS: Final = 1.0
"""Processor time of one rendering; waiting for a busy machine does not count."""
MAX_RANGE: Final = 1_000
MAX_NUMBER: Final = 10**30

BUDGET_VARIABLE: Final = "the budget"
"""The variable that holds a rendering's budget; no template can name it, because of the space."""

_ALLOWED_FILTERS = [
    "abs", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "reverse", "round", "safe", "select", "selectattr", "sort", "string", "trim", "unique", "upper",
]  # fmt: skip
_TEXT_FILTERS = ["e", "escape", "lower", "safe", "string", "trim", "upper"]
"""Filters that would turn any value into text."""
_TIME_CHECK_STEPS = 64


class BudgetExceededError(TemplateRuntimeError):
    """A template took more steps or more time than allowed."""


class OutputTooLargeError(TemplateRuntimeError):
    """A template produced more text than any platform takes."""


class FaultyIncludeError(TemplateRuntimeError):
    """A template includes a part with an unusable file; the message is the part's name."""


class UnprintableError(TemplateRuntimeError):
    """A template prints a value that is neither text nor number; the message is its type."""


class Budget:
    """The steps and the processor time that one rendering has left."""

    __slots__ = ("_ends_at", "_left")

    def __init__(self, steps: int = MAX_STEPS, seconds: float = MAX_SECONDS) -> None:
        self._left = steps
        self._ends_at = time.thread_time() + seconds

    def spend(self) -> None:
        """Take one step. Raises BudgetExceededError if none is left."""
        self._left -= 1
        if self._left < 0 or (
            self._left % _TIME_CHECK_STEPS == 0 and time.thread_time() > self._ends_at
        ):
            raise BudgetExceededError("endless")


class _MissingVariable(StrictUndefined):
    """A variable that a template uses but that does not exist; its message is the bare name.

    Its representation raises too: a list or table would print it.
    """

    __slots__ = ()
    __repr__ = StrictUndefined.__str__

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """A Jinja2 environment with limits on reach, time and output of templates."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self, load: Callable[[str], tuple[str, str, Callable[[], bool]] | None]
    ) -> None:
        super().__init__(
            loader=FunctionLoader(load),
            # constants are computed under a rendering's limits, not at compile time
            optimized=False,
            undefined=_MissingVariable,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
            # with a context, so that constants are checked when they are printed, not at compile
            # time
            finalize=pass_context(lambda _context, value: _require_printable(value)),
        )
        self.globals = {"range": _limited_range}
        self.filters = {name: FILTERS[name] for name in _ALLOWED_FILTERS}
        self.filters |= {name: _on_text(FILTERS[name]) for name in _TEXT_FILTERS}
        self.filters |= {
            "join": join_values,
            "moment": format_moment,
            "day": format_day,
            "sentence": _on_text(end_sentence),
        }
        self.filters |= {
            _PACED_LOOP_FILTER: _pace_loop,
            _COUNTED_INCLUDE_FILTER: _count_include,
        }
        self.concat = concat_limited  # type: ignore[method-assign] # joins the output of macros and blocks, with a limit

    def _parse(
        self, source: str, name: str | None, filename: str | None
    ) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in list(tree.find_all(nodes.Node)):
            if isinstance(node, nodes.For):
                node.iter = _filtered(node.iter, _PACED_LOOP_FILTER)
            elif isinstance(node, (nodes.Include, nodes.Import, nodes.FromImport)):
                node.template = _filtered(node.template, _COUNTED_INCLUDE_FILTER)
                node.with_context = True  # so that the budget is available
        # replace `a ~ b` by a join, which has a limit
        for parent in [
            tree,
            *tree.find_all(nodes.Node),
        ]:
            for field, value in parent.iter_fields():
                if isinstance(value, list):
                    value[:] = [_as_join(item) for item in value]
                else:
                    setattr(parent, field, _as_join(value))
        return tree

    def is_safe_callable(self, obj: object) -> bool:
        """Allow macros, loops, `super()`, and `range`; no method of any value."""
        if (
            isinstance(obj, (Macro, LoopContext, BlockReference))
            or obj is _limited_range
        ):
            return True
        return isinstance(getattr(obj, "__self__", None), LoopContext)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # Jinja2's own shape
        context.parent[BUDGET_VARIABLE].spend()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 # Jinja2's own shape
        """Allow `+`, `*` and `%` on numbers, and `+` on short texts and lists."""
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return super().call_binop(context, operator, left, right)
        if operator == "**" or (
            operator != "+" and not (_is_number(left) and _is_number(right))
        ):
            raise SecurityError(operator)
        result = super().call_binop(context, operator, left, right)
        if (
            (abs(result) > MAX_NUMBER)
            if _is_number(result)
            else (len(result) > MAX_CHARACTERS)
        ):
            raise OutputTooLargeError("huge")
        return result

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 # Jinja2's own shape
        """Read a key of a table; a key named like a method is still the key."""
        if isinstance(obj, Mapping):
            return (
                obj[attribute]
                if attribute in obj
                else self.undefined(obj=obj, name=attribute)
            )
        return super().getattr(obj, attribute)


_PACED_LOOP_FILTER = "paced loop"
_COUNTED_INCLUDE_FILTER = "counted include"


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(
        cast("nodes.Expr", node),
        name,
        [],
        [],
        None,
        None,
        lineno=node.lineno,
        environment=node.environment,
    )


def _as_join(value: object) -> object:
    if not isinstance(value, nodes.Concat):
        return value
    parts = nodes.List(
        [_as_join(part) for part in value.nodes],
        lineno=value.lineno,
        environment=value.environment,
    )
    return _filtered(parts, "join")


@pass_context
def _pace_loop(context: Context, items: Iterable[object]) -> Iterator[object]:
    if isinstance(items, Undefined):
        iter(items)
    budget: Budget = context.parent[BUDGET_VARIABLE]
    for item in items:
        budget.spend()
        yield item


@pass_context
def _count_include(context: Context, name: object) -> object:
    context.parent[BUDGET_VARIABLE].spend()
    return name


def _limited_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise BudgetExceededError("range")
    return numbers


def concat_limited(parts: Iterable[str]) -> str:
    """Join parts of an output.

    Raises OutputTooLargeError before they take more memory than a text may.
    """
    gathered, size = [], 0
    for part in parts:
        size += len(part)
        if size > MAX_CHARACTERS:
            raise OutputTooLargeError("huge")
        gathered.append(part)
    return "".join(gathered)


def join_values(items: Iterable[object], between: object = "") -> str:
    """Join texts and numbers.

    Raises OutputTooLargeError if the result is longer than a text may be.
    """
    parts = [_require_printable(item) for item in items]
    is_markup = any(hasattr(part, "__html__") for part in parts)
    texts = [str(Markup.escape(part) if is_markup else part) for part in parts]
    # of a Markup, join would escape all parts
    separator = str(Markup.escape(between) if is_markup else between)
    if sum(map(len, texts)) + len(separator) * (len(texts) - 1) > MAX_CHARACTERS:
        raise OutputTooLargeError("huge")
    joined = separator.join(texts)
    return Markup(joined) if is_markup else joined  # noqa: S704 # every part was escaped


def _on_text(change: Callable[..., object]) -> Callable[..., object]:
    return lambda value, *args, **kwargs: change(
        _require_printable(value), *args, **kwargs
    )


def _require_printable(value: object) -> object:
    """Return a text or number unchanged.

    Raises UndefinedError for a missing value in it, else UnprintableError.
    """
    if isinstance(value, str) or (_is_number(value) and not isinstance(value, bool)):
        return value
    if isinstance(value, PrintedFigure):
        return str(value)
    seen: set[int] = set()
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, Undefined):
            str(item)  # raises UndefinedError
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            left += item.values()
        elif isinstance(item, (list, tuple)):
            left += item
    raise UnprintableError(type(value).__name__)


def format_moment(when: datetime) -> str:
    """Format a time as in a Chinese notice: 2027年1月5日 09:00."""
    return f"{when.year}年{when.month}月{when.day}日 {when:%H:%M}"


def format_day(when: datetime) -> str:
    """Format the day of a time: 1月5日."""
    return f"{when.month}月{when.day}日"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
