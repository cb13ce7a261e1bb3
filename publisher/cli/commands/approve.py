"""`approve`: a person's yes to exactly the content that has a fingerprint."""

from collections.abc import Collection

import click

from publisher.app.format import Formatter
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import ActingPerson, accounts_of_post, identify, require_permission
from publisher.cli.context import load_workspace_settings, open_command_store, warn_if_no_daemon
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, by_option, command, keep_typed_reason, one_line
from publisher.cli.target import DeliveryTarget, post_target, require_post
from publisher.cli.terminal import Terminal
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.approval import Stage
from publisher.domain.user import Permission, holds_role, list_members
from publisher.store.approvals import ApprovalTask, Approver


@command("approve")
@click.argument("target", metavar="POST", type=post_target)
@click.option("--fingerprint", metavar="F", required=True, type=one_line, help="opt_fingerprint")
@by_option
@click.option("--emergency", "is_emergency", is_flag=True, help="opt_emergency")
@click.option("--reason", metavar="TEXT", type=one_line, callback=keep_typed_reason, help="opt_emergency_reason")
async def approve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal, target: DeliveryTarget, fingerprint: str, by: str, *, is_emergency: bool, reason: str | None
) -> None:
    if is_emergency != bool(reason):
        raise LocalizedUsageError("emergency_needs_reason")
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        await require_post(store.queries, target.post)
        person = await identify(terminal, settings, store, "approve", by)
        accounts = await accounts_of_post(store, target.post)
        if not (is_emergency and _may_send(person, settings, accounts)):  # its author need be no approver
            require_permission(person, settings, "approve", accounts)
        if not settings.approval_rules.is_active:
            raise CommandFailedError("approvals_not_asked")
        approver = _make_approver(person, settings)
        if is_emergency and reason:
            task = await store.approvals.release_in_emergency(target.post, fingerprint, approver, person.actor, reason)
        else:
            task = await store.approvals.approve(target.post, fingerprint, approver, person.actor)
        await store.maintenance.promote_requested([target.post])  # no need to wait for the daemon's next check
        _print_result(terminal, Formatter(messages=terminal.messages, timezone=settings.timezone), task, by)
        if task.status.is_approved:
            await warn_if_no_daemon(terminal, store.queries)


def _may_send(person: ActingPerson, settings: Settings, accounts: Collection[AccountId]) -> bool:
    members = list_members(settings.accounts.values(), settings.groups)
    return person.principal is not None and person.principal.may(Permission.SEND, accounts, members)


def _make_approver(person: ActingPerson, settings: Settings) -> Approver:
    """Return who approves, and what the roles and the sign-in of this person allow."""
    members = list_members(settings.accounts.values(), settings.groups)

    def may_take(stage: Stage, accounts: Collection[AccountId]) -> bool:
        principal = person.principal
        if principal is None or Permission.APPROVE not in principal.scope:
            return False
        return holds_role(principal.user, stage.role, accounts, members, stage.name)

    return Approver(name=person.actor.name, may_take=may_take)


def _print_result(terminal: Terminal, formatter: Formatter, task: ApprovalTask, by: str) -> None:
    """Print what was approved, and who must act next or when it is sent."""
    status = task.status
    given = status.approvals[-1]
    proofread = any(stage.includes_proofreading for stage in status.chain if stage.name == given.stage)
    code = "approve_emergency" if given.is_emergency else "approve_proofread" if proofread else "approve_done"
    terminal.print_message(code, post=task.name, by=by, stage=given.stage, fingerprint=status.fingerprint[:16])
    if status.is_approved:
        due = formatter.time(task.due_at) if task.due_at else None
        terminal.print_message("approve_complete_at" if due else "approve_complete_now", post=task.name, due=due)
    elif given.is_emergency:
        terminal.print_message("approve_emergency_next", post=task.name, author=status.author)
    else:
        following = status.missing[0]
        facts = {"stage": following.stage.name, "people": following.people, "role": following.stage.role}
        terminal.print_message("approve_next", post=task.name, **facts)
