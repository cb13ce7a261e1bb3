"""`evergreen`: the drawer of posts for any time, and one of them for an account."""

from datetime import datetime
from zoneinfo import ZoneInfo

import click

from publisher.app.application import Application
from publisher.app.format import Formatter
from publisher.cli.application import (
    activate_schedule,
    open_command_application,
    print_obstacles,
)
from publisher.cli.authentication import authenticate
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import (
    LocalizedUsageError,
    command,
    json_option,
    one_line,
    person_name,
)
from publisher.cli.terminal import Terminal
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.evergreen import EvergreenPost
from publisher.domain.post import Post, PostId
from publisher.engine.planner import schedule_evergreen


@command("evergreen")
@click.argument("account", metavar="[ACCOUNT", type=one_line, required=False)
@click.argument("post", metavar="POST]", type=one_line, required=False)
@click.option("--at", metavar="TIME", type=one_line, help="opt_evergreen_at")
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_evergreen")
@json_option
async def evergreen(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    account: AccountId | None,
    post: PostId | None,
    at: str | None,
    by: str | None,
    *,
    as_json: bool,
) -> None:
    settings = await load_workspace_settings(terminal)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if account is None:
        if at or by:
            raise LocalizedUsageError("missing_parameter", name="ACCOUNT")
        await _list_drawer(terminal, settings, formatter, as_json=as_json)
        return
    if by is None:
        raise LocalizedUsageError("missing_parameter", name="--by")
    due_at = parse_time(at, settings.timezone) if at else None
    if account not in settings.accounts:
        raise NoSuchItemError("account", account, settings.accounts)
    async with open_command_application(settings) as application:
        scheduled = await _schedule(terminal, application, account, post, due_at, by)
        due = formatter.time(due_at or datetime.now(settings.timezone))
        is_approved = not application.store.approval_rules.chain_for(scheduled.kind)
        code = "evergreen_done" if is_approved else "evergreen_awaits_approval"
        if as_json:
            terminal.print_json(
                {
                    "post": scheduled.id,
                    "account": account,
                    "needs_approval": not is_approved,
                }
            )
        else:
            terminal.print_message(
                code, post=scheduled.id, title=scheduled.title, account=account, due=due
            )
        await print_obstacles(terminal, application, [scheduled.id])


async def _schedule(  # noqa: PLR0913, PLR0917 # what, where, when, by whom
    terminal: Terminal,
    application: Application,
    account: AccountId,
    post: PostId | None,
    due_at: datetime | None,
    by: str,
) -> Post:
    """Schedule a post of the drawer.

    It is taken from the present file if the database does not have the named one.
    """
    queries, settings = application.store.queries, application.settings
    drawer = await queries.evergreen_posts()
    if not drawer or (
        post is not None and all(item.post.id != post for item in drawer)
    ):
        await activate_schedule(application)
    person = await authenticate(
        terminal,
        settings,
        application.store,
        command="evergreen",
        by=by,
        accounts=[account],
    )
    scheduled = await schedule_evergreen(
        application.planner, account, person, post, due_at
    )
    await application.store.maintenance.promote_requested([scheduled.id])
    return scheduled


async def _list_drawer(
    terminal: Terminal, settings: Settings, formatter: Formatter, *, as_json: bool
) -> None:
    drawer: list[EvergreenPost] = []
    if has_database(settings):
        async with open_command_store(settings, policies={}) as store:
            drawer = list(await store.queries.evergreen_posts())
    if as_json:
        listed = [
            {
                "post": item.post.id,
                "title": item.post.title,
                "kind": item.post.kind.value,
                "accounts": list(item.post.accounts),
                "used_on": sorted({use.account for use in item.uses}),
                "last_used": formatter.iso(item.last_used_at),
            }
            for item in drawer
        ]
        terminal.print_json({"posts": listed})
        return
    if not drawer:
        terminal.print_message("evergreen_empty")
        return
    rows = []
    for item in drawer:
        used = {use.account for use in item.uses} & set(item.post.accounts)
        share = f"{len(used)}/{len(item.post.accounts)}"
        rows.append(
            (item.post.id, item.post.title, share, formatter.time(item.last_used_at))
        )
    terminal.print_table(("post", "title", "used_on", "last_used"), rows)


def parse_time(text: str, timezone: ZoneInfo) -> datetime:
    """Return a time that a person typed. It must be in the future.

    Without an offset it is in the workspace's zone.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise LocalizedUsageError("not_a_time", value=text) from None
    at = at if at.tzinfo else at.replace(tzinfo=timezone)
    if at <= datetime.now(timezone):
        raise LocalizedUsageError("time_is_past", value=text)
    return at
