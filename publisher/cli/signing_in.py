"""`login`: authorise an account anew, in a browser."""

import asyncio
import sys
from datetime import UTC, datetime

import click

from publisher.cli.recording import record
from publisher.cli.shape import PersonName, Said, command
from publisher.cli.terminal import Terminal, unechoed_input
from publisher.cli.trouble import FAILED, FailedError
from publisher.cli.workplace import settings_of
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchError
from publisher.domain.problem import Problem
from publisher.vault import read_secret
from publisher.wiring.signing_in import Session, begin
from publisher.world import World


@command("login")
@click.argument("account", metavar="ACCOUNT", type=Said())
@click.option("--by", "by", metavar="NAME", type=PersonName(), help="opt_by_keeper")
def login(terminal: Terminal, account: str, by: str | None) -> int:
    asyncio.run(_login(terminal, AccountId(account)))
    is_recorded = record(terminal, "SignedIn", f"account:{account}", by)
    return 0 if is_recorded else FAILED


async def _login(terminal: Terminal, name: AccountId) -> None:
    settings = await settings_of(terminal)
    if name not in settings.accounts:
        raise NoSuchError("account", name)
    session = begin(settings, settings.accounts[name], World())
    if isinstance(session, Problem):
        raise FailedError(session.code, **session.facts)
    terminal.say("login_open", account=name, address=session.address)
    with unechoed_input():
        terminal.note("login_paste")
        answer = await asyncio.to_thread(sys.stdin.readline)
    if problem := await session.finish(answer.strip()):
        raise FailedError(problem.code, **problem.facts)
    terminal.say("login_done", account=name, days=_days_left(session))


def _days_left(session: Session) -> str:
    ends_at = read_secret(session.account.secret, vault=session.vault).get("access_token_ends_at")
    return str((datetime.fromisoformat(ends_at) - datetime.now(UTC)).days) if ends_at else "?"
