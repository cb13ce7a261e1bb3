"""Reasons in the source: every string that becomes a delivery, result or audit entry reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS_WITH_CODE = {"Rejected", "Blocked", "Busy", "RateLimited"}
"""Results that give the delivery its reason by `code`; `reason` is the platform's own text."""


def find_reasons(*folders: str) -> set[str]:
    """Return the strings given as `reason` in the source, to a name, field, key or parameter.

    Constants of a module and the branches of a condition count. A string built at run time or
    returned by a function does not.
    """
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    constants = {name: value for tree in trees for name, value in _find_constants(tree)}
    positions = {
        name: position
        for tree in trees
        for name, position in _find_reason_parameters(tree)
    }
    return {
        node.value
        for tree in trees
        for expression in _find_expressions(tree, positions)
        for node in _find_results(expression, constants | dict(_find_constants(tree)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.isidentifier()
    }


def _find_constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.Assign(
                targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)
            ):
                yield from (
                    (name.id, value) for name, value in zip(names, values, strict=True)
                )


def _find_reason_parameters(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function that has a parameter `reason`, with its position in a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [
                argument.arg for argument in node.args.args if argument.arg != "self"
            ]
            if "reason" in names:
                yield node.name, names.index("reason")


def _find_expressions(
    tree: ast.Module, positions: dict[str, int]
) -> Iterator[ast.expr]:
    """Yield every expression with a value that becomes a reason."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.keyword(arg="reason", value=value)
                | ast.Assign(targets=[ast.Name(id="reason")], value=value)
            ):
                yield value
            case ast.AnnAssign(target=ast.Name(id="reason"), value=ast.expr() as value):
                yield value
            case ast.Dict(keys=keys, values=values):
                yield from (
                    value
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "reason"
                )
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name),
                args=arguments,
                keywords=keywords,
            ):
                if name in RESULTS_WITH_CODE:
                    yield from (
                        keyword.value for keyword in keywords if keyword.arg == "code"
                    )
                yield from (
                    arguments[positions[name] : positions[name] + 1]
                    if name in positions
                    else ()
                )


def _find_results(
    expression: ast.expr, constants: dict[str, ast.expr]
) -> Iterator[ast.expr]:
    """Yield the possible values of an expression: both branches, and a constant's own value."""
    match expression:
        case ast.IfExp(body=body, orelse=orelse):
            yield from _find_results(body, constants)
            yield from _find_results(orelse, constants)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _find_results(value, constants)
        case ast.Name(id=name) if name in constants:
            yield from _find_results(constants[name], {})
        case ast.Subscript(value=ast.Name(id=name)) if name in constants and isinstance(
            constants[name], ast.Tuple
        ):
            yield from constants[name].elts
        case _:
            yield expression
