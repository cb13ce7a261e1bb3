"""The audit entry of an action that happens outside the database, such as storing a secret."""

from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.terminal import Terminal
from publisher.config import SETTINGS_FILE
from publisher.domain.errors import InputError, RefusedError
from publisher.engine.decisions import named_person
from publisher.runtime.system_user import read_system_user
from publisher.store.plan.actions import OperatorActions


async def record_action(terminal: Terminal, event: str, subject: str, by: str | None) -> bool:
    """Record a finished action where there is a database; without a name it is the system user's.

    Such an action must not wait for the database. Return False, with a note, if the entry could not be written.
    """
    user = read_system_user()
    try:
        if not (terminal.workspace / SETTINGS_FILE).is_file():  # nothing else runs here
            return True
        settings = await load_workspace_settings(terminal)
        if has_database(settings):
            person = named_person(by or user.user or f"uid {user.uid}")
            async with open_command_store(settings) as store:
                await OperatorActions(store).record_action(event, subject, person, {})
    except (InputError, CommandFailedError, RefusedError):
        terminal.print_note("audit_not_written")
        return False
    return True
