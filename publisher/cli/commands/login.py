"""`login`: authorise an account again, in a browser."""

import sys
from datetime import UTC, datetime

import click

from publisher.app.application import start_login
from publisher.cli.authentication import authenticate_offline
from publisher.cli.context import (
    load_workspace_settings,
    record_action,
    require_use,
)
from publisher.cli.errors import EXIT_FAILED, CommandFailedError
from publisher.cli.framework import command, one_line, person_name
from publisher.cli.terminal import Terminal, hidden_input
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError, Problem
from publisher.runtime.clock import Runtime
from publisher.secrets import read_secret


@command("login")
@click.argument("account", metavar="ACCOUNT", type=one_line)
@click.option(
    "--by", "by", metavar="NAME", type=person_name, help="opt_by_or_system_user"
)
async def login(terminal: Terminal, account: AccountId, by: str | None) -> int:
    settings = await load_workspace_settings(terminal)
    if (known := settings.accounts.get(account)) is None:
        raise NoSuchItemError("account", account, settings.accounts)
    person = await authenticate_offline(
        terminal, settings, command="login", by=by, accounts=[account]
    )
    session = start_login(settings, known, Runtime())
    if isinstance(session, Problem):
        raise CommandFailedError(session.code, **session.facts)
    secret = f"secret:{known.secret}"
    await record_action(terminal, "secret_read", secret, person)
    terminal.print_message("login_open", account=account, address=session.consent_url)
    with hidden_input():
        terminal.print_note("login_paste")
        answer = (
            sys.stdin.readline()
        )  # in this thread, which ^C interrupts; nothing else runs here
    if problem := await session.finish(answer.strip()):
        if (
            reason := f"reason_{problem.code}"
        ) in terminal.messages.entries:  # of a call, which was made for a sign-in
            raise CommandFailedError(
                "login_failed", account=account, reason=terminal.translate(reason)
            )
        raise CommandFailedError(problem.code, **problem.facts)
    ends_at = read_secret(session.account.secret, vault=session.vault).get(
        "access_token_ends_at"
    )
    days = (
        str((datetime.fromisoformat(ends_at) - datetime.now(UTC)).days)
        if ends_at
        else "?"
    )
    terminal.print_message("login_done", account=account, days=days)
    await record_action(terminal, "secret_stored", secret, person)
    is_recorded = await record_action(
        terminal, "signed_in", f"account:{account}", person, [known]
    )
    if not is_recorded:
        return EXIT_FAILED
    await require_use(terminal, settings, known.secret)
    return 0
