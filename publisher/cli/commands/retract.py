"""`retract`: take published posts down."""

import click

from publisher.cli.context import is_daemon_running, load_workspace_settings, open_command_store
from publisher.cli.framework import by_option, command, one_line, reason_option
from publisher.cli.terminal import Terminal
from publisher.domain.account import AccountId
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from publisher.store.plan.actions import OperatorActions
from publisher.store.queries.queries import Queries


@command("retract")
@click.argument("post", metavar="POST", type=one_line)
@click.option("--account", metavar="ACCOUNT", type=one_line, help="opt_account")
@by_option
@reason_option
async def retract(terminal: Terminal, post: str, account: str | None, by: str, reason: str) -> None:
    post_id, only_account = PostId(post), AccountId(account) if account else None
    async with open_command_store(await load_workspace_settings(terminal)) as store:
        queries = Queries(store)
        if not await queries.has_post(post_id):
            raise NoSuchItemError("post", post)
        if only_account is not None and not await queries.deliveries(post_id, only_account):
            raise NoSuchItemError("delivery", f"{post}@{account}")
        number = len(await OperatorActions(store).retract(post_id, only_account, named_person(by), reason))
        runs = await is_daemon_running(queries)
    terminal.print_message("retract_done" if number else "retract_nothing", post=post, number=number)
    if number and not runs:
        terminal.print_note("no_daemon_hint")
