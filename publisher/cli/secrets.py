"""`secret`: the encrypted store."""

import sys
from collections.abc import Mapping

import click

from publisher.cli.recording import record
from publisher.cli.shape import OneOf, PersonName, Said, WordedUsageError, command
from publisher.cli.terminal import Terminal, echo, unechoed_input
from publisher.cli.trouble import FAILED, FailedError
from publisher.vault import Vault, parse_fields

LONGEST = 64 * 1024
EVENTS = {"set": "secret_stored", "remove": "secret_removed", "rotate": "secrets_rotated"}


@command("secret")
@click.argument("deed", metavar="set|list|rotate|remove", type=OneOf("set", "list", "rotate", "remove"))
@click.argument("name", metavar="[NAME]", required=False, type=Said())
@click.option("--by", "by", metavar="NAME", type=PersonName(), help="opt_by_keeper")
def secret(terminal: Terminal, deed: str, name: str | None, by: str | None) -> int:
    vault = Vault(folder=terminal.workspace / "var")
    if deed in {"set", "remove"} and name is None:
        raise WordedUsageError("missing_parameter", name="NAME")
    match deed:
        case "set":
            vault.write(name or "", _ask(terminal, name or ""))
            terminal.say("secret_stored", name=name, file=vault.file, key=vault.key_place)
        case "remove":
            if not vault.remove(name or ""):
                terminal.say("secret_not_there", name=name)
                return 0
            terminal.say("secret_removed", name=name)
        case "rotate":
            terminal.say("secrets_resealed", number=vault.rotate(), key=vault.key_place)
        case _:
            echo("\n".join(vault.names()) or terminal.words("no_secrets"))
            return 0
    is_recorded = record(terminal, EVENTS[deed], f"secret:{name or '*'}", by)
    return 0 if is_recorded else FAILED


def _ask(terminal: Terminal, name: str) -> Mapping[str, str]:
    """Read the secret's JSON from standard input, where no other user of the machine sees it, nor who looks on."""
    with unechoed_input():
        if sys.stdin.isatty():
            terminal.note("secret_wanted")
        fields = parse_fields(sys.stdin.read(LONGEST))
    if fields is None:
        raise FailedError("secret_not_json", name=name, places="stdin")
    return fields
