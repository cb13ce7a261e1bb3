"""`approve`: a person's yes to exactly the content that has a fingerprint."""

from collections.abc import Collection, Sequence

import click

from publisher.app.format import Formatter
from publisher.app.open_store import AccessMode
from publisher.cli.authentication import (
    ActingPerson,
    accounts_of_post,
    identify,
    is_permitted,
    require_permission,
)
from publisher.cli.context import (
    load_workspace_settings,
    open_command_store,
    warn_about_daemon,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    by_option,
    command,
    keep_typed_reason,
    one_line,
)
from publisher.cli.target import DeliveryTarget, find_posts, post_target
from publisher.cli.terminal import Terminal
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.approval import is_fingerprint_of
from publisher.domain.characters import is_same_name
from publisher.domain.errors import ApprovalError
from publisher.domain.post import Fingerprint, PostId
from publisher.domain.user import Permission, list_members
from publisher.engine.approvals import (
    approve_content,
    approve_members,
    group_members,
    list_waiting_members,
    make_approver,
    release_in_emergency,
)
from publisher.store.approvals.tasks import ApprovalTask, SeenContent
from publisher.store.store import Store


@command("approve")
@click.argument("target", metavar="POST", type=post_target)
@click.option(
    "--fingerprint", metavar="F", required=True, type=one_line, help="opt_fingerprint"
)
@by_option
@click.option("--emergency", "is_emergency", is_flag=True, help="opt_emergency")
@click.option(
    "--reason",
    metavar="TEXT",
    type=one_line,
    callback=keep_typed_reason,
    help="opt_emergency_reason",
)
async def approve(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    target: DeliveryTarget,
    fingerprint: str,
    by: str,
    *,
    is_emergency: bool,
    reason: str | None,
) -> None:
    if is_emergency != bool(reason):
        raise LocalizedUsageError("emergency_needs_reason")
    settings = await load_workspace_settings(terminal)
    async with open_command_store(settings, AccessMode.COMMAND) as store:
        await find_posts(store.queries, target.post)
        person = await identify(terminal, settings, store, "approve", by)
        family = await store.approvals.tasks(target.post)
        same = [
            task
            for task in family
            if is_fingerprint_of(fingerprint, task.status.fingerprint)
        ]
        if not (is_emergency and _may_release_own(person, settings, same or family)):
            accounts = [task.accounts for task in same or family]
            await _require_approval(store, person, settings, target.post, accounts)
        if not settings.approval_rules.is_active:
            raise CommandFailedError("approvals_not_asked")
        if person.principal is None:  # a workspace that asks for approvals has users
            raise CommandFailedError("duty_no_users")
        approver = make_approver(
            person.principal, list_members(settings.accounts.values(), settings.groups)
        )
        done: Sequence[ApprovalTask]
        asked = family if is_emergency else list_waiting_members(family, approver)
        members = find_members(target.post, family, asked, fingerprint)
        if is_emergency and reason:
            alone = SeenContent(post=target.post, fingerprint=Fingerprint(fingerprint))
            done = await release_in_emergency(
                store,
                target.post,
                members or [alone],
                approver,
                person.actor,
                reason,
            )
        elif members:
            done = await approve_members(
                store, target.post, members, approver, person.actor
            )
        else:
            done = [
                await approve_content(
                    store, target.post, fingerprint, approver, person.actor
                )
            ]
        formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
        for task in done:
            _print_result(terminal, formatter, task, by)
        if any(task.status.is_approved for task in done):
            await warn_about_daemon(terminal, settings, store.queries)


def find_members(
    family: PostId,
    tasks: Sequence[ApprovalTask],
    waiting: Sequence[ApprovalTask],
    fingerprint: str,
) -> Sequence[SeenContent]:
    """Return the contents of the waiting members that have this hash together, if any have.

    `tasks` has all members. Raises ApprovalError for a family with no such content, naming the
    member changed last.
    """
    for one in group_members(waiting):
        if is_fingerprint_of(fingerprint, one.fingerprint):
            return [task.content for task in one.members]
    if len(waiting) > 1 and not any(
        is_fingerprint_of(fingerprint, task.status.fingerprint) for task in tasks
    ):
        saved = {task.saved_at: task.key.post for task in waiting if task.saved_at}
        newest = saved[max(saved)] if saved else family
        raise ApprovalError("approval_changed", post=newest)
    return ()


def _may_release_own(
    person: ActingPerson, settings: Settings, tasks: Sequence[ApprovalTask]
) -> bool:
    """Return True if a person wrote one of the occurrences, and may write on all accounts."""
    accounts = {account for task in tasks for account in task.accounts}
    return any(
        is_same_name(task.status.author, person.actor.name) for task in tasks
    ) and is_permitted(person, settings, Permission.WRITE, accounts)


async def _require_approval(
    store: Store,
    person: ActingPerson,
    settings: Settings,
    post: PostId,
    waiting: Sequence[Collection[AccountId]],
) -> None:
    """Raise an error unless a person may approve on the accounts of an occurrence that waits."""
    targets = waiting or [await accounts_of_post(store, post)]
    permitted = (
        accounts
        for accounts in targets
        if is_permitted(person, settings, Permission.APPROVE, accounts)
    )
    accounts = next(permitted, targets[0])
    await require_permission(store, person, settings, "approve", accounts)


def _print_result(
    terminal: Terminal, formatter: Formatter, task: ApprovalTask, by: str
) -> None:
    """Print the approved content, and the next person to act or the time of sending."""
    status = task.status
    given = status.approvals[-1]
    proofread = any(
        stage.includes_proofreading
        for stage in status.chain
        if stage.name == given.stage
    )
    code = (
        "approve_emergency"
        if given.is_emergency
        else "approve_proofread"
        if proofread
        else "approve_done"
    )
    terminal.print_message(
        code,
        post=task.name,
        by=by,
        stage=given.stage,
        fingerprint=status.fingerprint[:16],
    )
    if status.is_approved:
        due = formatter.time(task.due_at) if task.due_at else None
        terminal.print_message(
            "approve_complete_at" if due else "approve_complete_now",
            post=task.name,
            due=due,
        )
    elif given.is_emergency:
        terminal.print_message(
            "approve_emergency_next", post=task.name, author=status.author
        )
    else:
        following = status.missing[0]
        facts = {
            "stage": following.stage.name,
            "people": following.people,
            "role": following.stage.role,
        }
        terminal.print_message("approve_next", post=task.name, **facts)
