"""The audit entry of an act that happens outside the database, such as keeping a secret."""

import asyncio

from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import books_of, has_books, settings_of
from publisher.domain.errors import InputError, RefusedError
from publisher.reviewing import person
from publisher.settings import FILE
from publisher.store.orders import Orders
from publisher.system_user import system_user


def record(terminal: Terminal, event: str, subject: str, by: str | None) -> bool:
    """Write down such an act where there is a database, after it is done: none may wait for the books.

    Without a name it is that of the system's user. Returns False, and says so, where it could not be written.
    """
    try:
        asyncio.run(_record(terminal, event, subject, by or _system_name()))
    except (InputError, FailedError, RefusedError):
        terminal.note("audit_not_written")
        return False
    return True


async def _record(terminal: Terminal, event: str, subject: str, by: str) -> None:
    if not (terminal.workspace / FILE).is_file():
        return
    settings = await settings_of(terminal)
    if has_books(settings):
        async with books_of(settings) as books:
            await Orders(books).record(event, subject, person(by), {})


def _system_name() -> str:
    user = system_user()
    return user.user or f"uid {user.uid}"
