"""`secret`: the encrypted store of secrets."""

import sys

import click

from publisher.cli.context import record_action
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.framework import LocalizedUsageError, choice, command, one_line, person_name
from publisher.cli.terminal import Terminal, echo, hidden_input
from publisher.secrets import Vault, parse_fields

MAX_SECRET_CHARACTERS = 64 * 1024
AUDIT_EVENTS = {"set": "secret_stored", "remove": "secret_removed", "rotate": "secrets_rotated"}


@command("secret")
@click.argument("action", metavar="set|list|rotate|remove", type=choice("set", "list", "rotate", "remove"))
@click.argument("name", metavar="[NAME]", required=False, type=one_line)
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_or_system_user")
async def secret(terminal: Terminal, action: str, name: str | None, by: str | None) -> int:
    vault = Vault(folder=terminal.workspace / "var")
    if action in {"set", "remove"} and name is None:
        raise LocalizedUsageError("missing_parameter", name="NAME")
    match action:
        case "set":
            with hidden_input():
                if sys.stdin.isatty():
                    terminal.print_note("secret_prompt")
                # from standard input, so that neither other users of the machine nor onlookers see it
                fields = parse_fields(sys.stdin.read(MAX_SECRET_CHARACTERS))
            if fields is None:
                raise CommandFailedError("secret_not_json", name=name, places="stdin")
            vault.write(name or "", fields)
            terminal.print_message("secret_stored", name=name, file=vault.file, key=vault.key_source)
        case "remove":
            if not vault.remove(name or ""):
                terminal.print_message("secret_not_found", name=name)
                return 0
            terminal.print_message("secret_removed", name=name)
        case "rotate":
            terminal.print_message("secrets_reencrypted", number=vault.rotate(), key=vault.key_source)
        case _:
            echo("\n".join(vault.list_names()) or terminal.translate("no_secrets"))
            return 0
    is_recorded = await record_action(terminal, AUDIT_EVENTS[action], f"secret:{name or '*'}", by)
    return 0 if is_recorded else EXIT_FAILED
