"""Click commands with all texts from the message catalogue; help texts are given as codes."""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from publisher.cli.terminal import ColumnHelp, Terminal
from publisher.domain.characters import find_invisible
from publisher.i18n import LANGUAGES, Messages

_MAYBE_CODE = re.compile(r"[a-z0-9_.-]+")


class LocalizedUsageError(click.BadParameter):
    """A usage error with a code and its facts, instead of click's English text.

    Click adds the parameter, if any.
    """

    def __init__(
        self, code: str, ctx: click.Context | None = None, **facts: object
    ) -> None:
        super().__init__(code, ctx)
        self.code = code
        self.facts = facts


def get_messages(ctx: click.Context) -> Messages:
    """Return the messages of the chosen language."""
    terminal: Terminal = ctx.find_root().obj
    return terminal.messages


class HelpContext(click.Context):
    formatter_class = ColumnHelp


class LocalizedHelp(click.Command):
    """Help in the chosen language, for commands and groups."""

    context_class = HelpContext

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = self.collect_usage_pieces(ctx)
        formatter.write_usage(
            ctx.command_path,
            " ".join(pieces),
            f"{get_messages(ctx).translate('usage')} ",
        )

    def format_help_text(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        messages = get_messages(ctx)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(messages.translate(self.help or ""))
            if hint := messages.hint(self.help or ""):
                formatter.write_paragraph()
                formatter.write_text(hint)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        messages = get_messages(ctx)
        rows = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or not isinstance(param, click.Option):
                continue
            code = (
                "opt_help" if param is self.get_help_option(ctx) else param.help or ""
            )
            needed = messages.translate("needed") if param.required else ""
            rows.append((record[0], f"{messages.translate(code)}{needed}"))
        with formatter.section(messages.translate("options")):
            formatter.write_dl(rows)

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 # click's signature
        return self.help or ""


class LocalizedCommand(LocalizedHelp):
    allow_extra_args = True

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [
            get_messages(ctx).translate("options_blank"),
            *super().collect_usage_pieces(ctx)[1:],
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise LocalizedUsageError(
                "extra_arguments", ctx, arguments=" ".join(map(str, ctx.args))
            )
        return rest


def int_range(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return the type of a parameter that is a whole number."""

    def parse_int(value: str) -> int:
        if value.isascii() and value.isdigit() and minimum <= int(value) <= maximum:
            return int(value)
        raise LocalizedUsageError(
            "not_a_number", value=value, least=minimum, most=maximum
        )

    return parse_int


def choice(*choices: str) -> Callable[[str], str]:
    """Return the type of a parameter that is one of some words."""

    def parse_choice(value: str) -> str:
        if value in choices:
            return value
        raise LocalizedUsageError(
            "not_a_choice", value=value, choices=", ".join(choices)
        )

    return parse_choice


def one_line(value: str) -> str:
    """Parse a name or a reason: one line that is not blank."""
    stripped = value.strip()
    if stripped and stripped.isprintable():
        return stripped
    raise LocalizedUsageError("text_missing")


def keep_typed_reason(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> str | None:
    """Put a reason that is spelt like one of our codes into quotation marks.

    So it stays the text that the person typed.
    """
    if value is None or not _MAYBE_CODE.fullmatch(value):
        return value
    from publisher.app.format import quote_typed_reason  # noqa: PLC0415 # help needs none

    return quote_typed_reason(value)


def person_name(value: str) -> str:
    """Parse the name of a person. It has no invisible characters."""
    if found := find_invisible(value.strip(" ")):
        place, letter = found
        raise LocalizedUsageError(
            "name_invisible_character", place=place, character=f"U+{ord(letter):04X}"
        )
    return one_line(value)


def host_port(value: str) -> tuple[str, int]:
    """Parse an address to listen on, as `host:port`; port 0 picks a free one."""
    host, separator, port = value.rpartition(":")
    if separator and host and port.isascii() and port.isdigit() and int(port) < 2**16:
        return host.strip("[]"), int(port)
    raise LocalizedUsageError("not_an_address", value=value)


def option_name(param: click.Parameter | None) -> str:
    """Return a parameter's name as it is typed."""
    if isinstance(param, click.Option):
        return param.opts[-1]
    return (param.metavar or param.name or "") if param else ""


def shared_options() -> list[click.Parameter]:
    """Return the options of every command.

    `--lang` is only declared: detect_language() reads it before parsing.
    """

    def set_workspace(
        ctx: click.Context, _param: click.Parameter, value: str | None
    ) -> None:
        if value is not None:
            ctx.obj = replace(ctx.obj, workspace=Path(value))

    return [
        click.Option(
            ["-C", "workspace"],
            metavar="DIR",
            help="opt_workspace",
            expose_value=False,
            callback=set_workspace,
        ),
        click.Option(
            ["--lang"],
            metavar="|".join(LANGUAGES),
            type=choice(*LANGUAGES),
            help="opt_lang",
            expose_value=False,
        ),
    ]


def command(name: str) -> Callable[[Callable[..., Any]], LocalizedCommand]:
    """Make a command of a function, sync or async, with the Terminal as its first argument.

    The function returns the exit code; None stands for 0.
    """

    def decorate(function: Callable[..., Any]) -> LocalizedCommand:
        @functools.wraps(function)
        def run_async(*args: Any, **kwargs: Any) -> int | None:  # noqa: ANN401 # whatever the command takes
            import asyncio  # noqa: PLC0415 # help needs none

            exit_code: int | None = asyncio.run(function(*args, **kwargs))
            return exit_code

        take_terminal = click.make_pass_decorator(Terminal)
        call = run_async if inspect.iscoroutinefunction(function) else function
        made = click.command(name, cls=LocalizedCommand, help=f"cmd_{name}")(
            take_terminal(call)
        )
        made.params += shared_options()
        return made

    return decorate


by_option = click.option(
    "--by", "by", metavar="NAME", required=True, type=person_name, help="opt_by"
)
reason_option = click.option(
    "--reason",
    metavar="TEXT",
    required=True,
    type=one_line,
    callback=keep_typed_reason,
    help="opt_reason",
)
json_option = click.option("--json", "as_json", is_flag=True, help="opt_json")
