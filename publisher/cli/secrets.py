"""`secret`: the encrypted store."""

import sys
from collections.abc import Mapping

import click

from publisher.cli.shape import OneOf, Said, WordedUsageError, command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.vault import Vault, parse_fields

LONGEST = 64 * 1024


@command("secret")
@click.argument("deed", metavar="set|list|rotate|remove", type=OneOf("set", "list", "rotate", "remove"))
@click.argument("name", metavar="[NAME]", required=False, type=Said())
def secret(terminal: Terminal, deed: str, name: str | None) -> int:
    vault = Vault(folder=terminal.workspace / "var")
    if deed in {"set", "remove"} and name is None:
        raise WordedUsageError("missing_parameter", name="NAME")
    match deed:
        case "set":
            vault.write(name or "", _ask(terminal))
            terminal.say("secret_stored", name=name, file=vault.file, key=vault.key_place)
        case "remove":
            terminal.say("secret_removed" if vault.remove(name or "") else "secret_not_there", name=name)
        case "rotate":
            terminal.say("secrets_resealed", number=vault.rotate(), key=vault.key_place)
        case _:
            click.echo("\n".join(vault.names()) or terminal.words("no_secrets"))
    return 0


def _ask(terminal: Terminal) -> Mapping[str, str]:
    """Read the secret's JSON from standard input, where no other user of the machine sees it."""
    if sys.stdin.isatty():
        terminal.note("secret_wanted")
    fields = parse_fields(sys.stdin.read(LONGEST))
    if fields is None:
        raise FailedError("secret_not_json", name="stdin", places="stdin")
    return fields
