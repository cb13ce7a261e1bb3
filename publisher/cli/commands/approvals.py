"""`approvals`: the items that wait for an approval, their approvals, and the missing ones."""

from collections.abc import Sequence
from typing import Any

import click

from publisher.app.format import Formatter
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.framework import command, json_option, one_line, person_name
from publisher.cli.target import find_posts
from publisher.cli.terminal import Terminal, echo
from publisher.config import Settings
from publisher.domain.approval import MIN_FINGERPRINT_LENGTH
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import PostId
from publisher.domain.user import Principal, list_members
from publisher.engine.approvals import (
    WaitingFamily,
    group_members,
    list_approvers,
    make_approver,
    waits_for,
)
from publisher.store.approvals.tasks import ApprovalTask


@command("approvals")
@click.argument("post", metavar="[POST]", type=one_line, required=False)
@click.option(
    "--for", "approver", metavar="NAME", type=person_name, help="opt_for_approver"
)
@json_option
async def approvals(
    terminal: Terminal, post: PostId | None, approver: str | None, *, as_json: bool
) -> None:
    settings = await load_workspace_settings(terminal)
    tasks: Sequence[ApprovalTask] = ()
    paired: list[tuple[ApprovalTask, Sequence[str]]] = []
    if has_database(settings):
        async with open_command_store(settings, policies={}) as store:
            if post is not None:
                await find_posts(store.queries, post)
            tasks = await store.approvals.tasks(post)
            members = list_members(settings.accounts.values(), settings.groups)
            if approver is not None:
                user = await store.users.get(approver)
                person = make_approver(Principal(user=user, method=""), members)
                tasks = [task for task in tasks if waits_for(task, person)]
            users = await store.users.list()
            paired = [(task, list_approvers(task, users, members)) for task in tasks]
    elif post is not None:
        raise NoSuchItemError("post", post)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        terminal.print_json(
            {
                "approvals": [
                    {**task_as_json(task), "may_approve": people}
                    for task, people in paired
                ],
                "families": list(map(family_as_json, group_members(tasks))),
            }
        )
        return
    print_tasks(terminal, settings, formatter, paired)


def print_tasks(
    terminal: Terminal,
    settings: Settings,
    formatter: Formatter,
    paired: Sequence[tuple[ApprovalTask, Sequence[str]]],
) -> None:
    """Print occurrences with the people that may approve them, and how to do so."""
    tasks = [task for task, _approvers in paired]
    for task, approvers in paired:
        echo(format_task(task, formatter))
        if task.status.missing:
            people = terminal.messages.translate("list_comma").join(
                approvers
            ) or terminal.messages.translate("nothing")
            terminal.print_message("approvals_may_approve", approvers=people)
    if not tasks:
        is_asked = settings.approval_rules.is_active
        terminal.print_message("approvals_none" if is_asked else "approvals_not_asked")
    elif any(task.status.missing for task in tasks):
        terminal.print_message("approvals_how")
        for one in group_members(tasks):
            terminal.print_message(
                "approvals_family",
                family=one.family,
                number=len(one.members),
                fingerprint=one.fingerprint[:MIN_FINGERPRINT_LENGTH],
            )


def format_task(task: ApprovalTask, formatter: Formatter) -> str:
    """Return the lines about one occurrence."""
    translate, status = formatter.messages.translate, task.status
    comma = translate("list_comma")
    due = (
        formatter.time(task.due_at)
        if task.due_at
        else translate("approvals_due_when_approved")
    )
    given = [
        translate("approvals_given", stage=approval.stage, person=approval.person)
        for approval in status.counted
    ]
    missing = [
        translate(
            "approvals_missing",
            stage=item.stage.name,
            people=item.people,
            role=item.stage.role,
        )
        for item in status.missing
    ]
    lines = [
        translate(
            "approvals_head",
            post=task.name,
            title=task.post.title,
            due=due,
            accounts=len(task.accounts),
            fingerprint=status.fingerprint[:MIN_FINGERPRINT_LENGTH],
            author=status.author,
        ),
        translate(
            "approvals_stages",
            given=comma.join(given) or translate("nothing"),
            missing=comma.join(missing) or translate("nothing"),
        ),
    ]
    if status.missing:
        barred = sorted(status.barred | status.quoted)
        lines.append(translate("approvals_barred", barred=comma.join(barred)))
    if task.is_edit:
        code = "approvals_changed_by" if task.saved_by else "approvals_changed_outside"
        lines.append(
            translate(code, person=task.saved_by, owner=task.file_owner or "?")
        )
    if status.is_emergency:
        lines.append(translate("approvals_emergency"))
    return "\n".join(lines)


def family_as_json(family: WaitingFamily) -> dict[str, Any]:
    """Return the members that wait together for --json."""
    return {
        "family": family.family,
        "occurrence": family.members[0].key.occurrence,
        "fingerprint": family.fingerprint,
        "posts": [task.key.post for task in family.members],
    }


def task_as_json(task: ApprovalTask) -> dict[str, Any]:
    """Return an occurrence for --json."""
    status = task.status
    missing = {item.stage.name: item.people for item in status.missing}
    return {
        "post": task.key.post,
        "occurrence": task.key.occurrence,
        "title": task.post.title,
        "due": task.due_at.isoformat() if task.due_at else None,
        "accounts": list(task.accounts),
        "fingerprint": status.fingerprint,
        "author": status.author,
        "is_approved": status.is_approved,
        "is_emergency": status.is_emergency,
        "stages": [
            {
                "stage": stage.name,
                "role": stage.role,
                "people": stage.people,
                "proofread": stage.includes_proofreading,
                "approved_by": [
                    item.person for item in status.counted if item.stage == stage.name
                ],
                "missing": missing.get(stage.name, 0),
            }
            for stage in status.chain
        ],
        "may_not_approve": sorted(status.barred | status.quoted),
        "is_edited": task.is_edit,
        "saved_by": task.saved_by,
        "file_owner": task.file_owner,
    }
