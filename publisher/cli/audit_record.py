"""The audit entry of an act that happens outside the database, such as keeping a secret."""

import asyncio

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.terminal import Terminal
from publisher.config import SETTINGS_FILE
from publisher.domain.errors import InputError, RefusedError
from publisher.engine.decisions import named_person
from publisher.runtime.system_user import read_system_user
from publisher.store.plan.actions import OperatorActions


def record_action(terminal: Terminal, event: str, subject: str, by: str | None) -> bool:
    """Write down such an act where there is a database, after it is done: none may wait for the books.

    Without a name it is that of the system's user. Returns False, and says so, where it could not be written.
    """
    try:
        asyncio.run(_record_action(terminal, event, subject, by or _system_user_name()))
    except (InputError, CommandFailedError, RefusedError):
        terminal.print_note("audit_not_written")
        return False
    return True


async def _record_action(terminal: Terminal, event: str, subject: str, by: str) -> None:
    if not (terminal.workspace / SETTINGS_FILE).is_file():
        return
    settings = await load_workspace_settings(terminal)
    if has_database(settings):
        async with open_command_store(settings) as store:
            await OperatorActions(store).record_action(event, subject, named_person(by), {})


def _system_user_name() -> str:
    user = read_system_user()
    return user.user or f"uid {user.uid}"
