"""`secret`: the encrypted store of secrets."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from publisher.app.adapters import get_hook, load_factories
from publisher.app.alert_channels import URL_FIELD
from publisher.cli.authentication import authenticate_offline, system_user_name
from publisher.cli.context import (
    load_workspace_settings,
    record_action,
    require_use,
)
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    one_line,
    person_name,
)
from publisher.cli.terminal import Terminal, echo, hidden_input
from publisher.config import Settings
from publisher.domain.account import Account
from publisher.domain.errors import InputError, NoSuchItemError
from publisher.engine.decisions import named_person
from publisher.secrets import (
    AUDIT_KEY_NAME,
    USER_KEY_NAME,
    open_vault,
    parse_fields,
)

MAX_SECRET_CHARACTERS = 64 * 1024
AUDIT_EVENTS = {
    "set": "secret_stored",
    "remove": "secret_removed",
    "rotate": "secrets_rotated",
}


@command("secret")
@click.argument(
    "action",
    metavar="set|list|rotate|remove",
    type=choice("set", "list", "rotate", "remove"),
)
@click.argument("name", metavar="[NAME]", required=False, type=one_line)
@click.option(
    "--file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="opt_secret_file",
)
@click.option(
    "--by", "by", metavar="NAME", type=person_name, help="opt_by_or_system_user"
)
async def secret(
    terminal: Terminal, action: str, name: str | None, file: Path | None, by: str | None
) -> int:
    require_fitting_arguments(action, name, file)
    text = None if file is None else _read_file(file)
    vault = open_vault(terminal.workspace)
    settings = None
    fields: Mapping[str, str] = {}
    # a leaked secret can be replaced whatever is wrong in publisher.toml
    with suppress(InputError, CommandFailedError):
        settings = await load_workspace_settings(terminal)
    users = (
        [account for account in settings.accounts.values() if account.secret == name]
        if settings
        else []
    )
    person = named_person(by or system_user_name())
    if settings is not None and action != "list":
        accounts, command_name = [account.id for account in users], f"secret {action}"
        person = await authenticate_offline(
            terminal, settings, command=command_name, by=by, accounts=accounts
        )
    match action:
        case "set":
            needed = list_needed_fields(settings, name or "", users)
            fields = _read_secret(terminal, name or "", needed, file, text)
            vault.write(name or "", fields)
        case "remove":
            if not vault.remove(name or ""):
                raise NoSuchItemError("secret", name or "", vault.list_names())
            terminal.print_message("secret_removed", name=name)
        case "rotate":
            terminal.print_message(
                "secrets_reencrypted", number=vault.rotate(), key=vault.key_source
            )
        case _:
            echo("\n".join(vault.list_names()) or terminal.translate("no_secrets"))
            return 0
    is_recorded = await record_action(
        terminal,
        AUDIT_EVENTS[action],
        f"secret:{name or '*'}",
        person,
        users if action == "set" else (),
    )
    if action == "set" and settings is not None:
        report_use(terminal, settings, name or "", users, fields)
        if is_recorded:
            await require_use(terminal, settings, name or "")
    if action == "set":  # last: a secret that has no effect is an error instead
        terminal.print_message(
            "secret_stored", name=name, file=vault.file, key=vault.key_source
        )
    return 0 if is_recorded else EXIT_FAILED


def list_needed_fields(
    settings: Settings | None, name: str, users: Sequence[Account]
) -> Sequence[str]:
    """Return the fields that a secret must have: its platform's, and the one of a channel."""
    needed = [
        field
        for factory in load_factories(users).values()
        for field in get_hook(factory, "secret_fields")
    ]
    if settings is not None and name in settings.alerts.channels.values():
        needed.append(URL_FIELD)
    return needed


def require_fitting_arguments(action: str, name: str | None, file: Path | None) -> None:
    """Raise LocalizedUsageError for an action without its name, or with another's file."""
    if action in {"set", "remove"} and name is None:
        raise LocalizedUsageError("missing_parameter", name="NAME")
    if file is not None and action != "set":
        raise LocalizedUsageError("secret_takes_no_file", action=action)


def report_use(
    terminal: Terminal,
    settings: Settings,
    name: str,
    users: Sequence[Account],
    fields: Mapping[str, str],
) -> None:
    """Print the missing parts of a stored secret: its use, or a sign-in's token."""
    own_keys = {AUDIT_KEY_NAME, USER_KEY_NAME}
    if not users and name not in {*settings.alerts.channels.values(), *own_keys}:
        terminal.print_note("secret_unused", name=name)
    for account in users[:1]:  # the others share its sign-in
        factory = load_factories([account])[account.platform]
        if get_hook(factory, "sign_in") and fields.keys() <= set(
            get_hook(factory, "secret_fields")
        ):
            terminal.print_note("secret_needs_login", account=account.id)


def _read_file(file: Path) -> str:
    """Return the text of a secret's file; "", which is no JSON, if it is not in UTF-8."""
    with file.open("rb") as opened:
        data = opened.read(MAX_SECRET_CHARACTERS)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""


def _read_input(terminal: Terminal) -> str:
    """Read a secret from standard input, hidden from other users of the machine and onlookers."""
    with hidden_input():
        if sys.stdin.isatty():
            terminal.print_note("secret_prompt")
        return sys.stdin.read(MAX_SECRET_CHARACTERS)


def _read_secret(
    terminal: Terminal,
    name: str,
    needed: Sequence[str],
    file: Path | None,
    text: str | None,
) -> Mapping[str, str]:
    """Return the secret of a file's text, or else that of standard input.

    Raises CommandFailedError, without the secret in it, unless it has the needed fields.
    """
    place = terminal.translate("standard_input") if file is None else file
    example = json.dumps(dict.fromkeys(needed, "…"), ensure_ascii=False)
    fields = parse_fields(_read_input(terminal) if text is None else text)
    if fields is None:
        code = "secret_no_json" if needed else "secret_not_json"
        raise CommandFailedError(code, name=name, places=place, example=example)
    if missing := [field for field in needed if field not in fields]:
        raise CommandFailedError(
            "secret_incomplete", name=name, missing=", ".join(missing), example=example
        )
    return fields
