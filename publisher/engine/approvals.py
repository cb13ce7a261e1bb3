"""Rules of approval: the permitted approvers."""

import contextlib
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime

from publisher.domain.account import AccountId
from publisher.domain.approval import Stage, hash_family
from publisher.domain.delivery import Actor
from publisher.domain.errors import ApprovalError
from publisher.domain.post import Fingerprint, PostId, find_family
from publisher.domain.user import Permission, Principal, RefusalKind, User, holds_role
from publisher.store.approvals.tasks import (
    ApprovalTask,
    Approver,
    CheckTask,
    SeenContent,
    allow_task,
    find_refusal,
)
from publisher.store.store import Store

REFUSALS_OF_PERSON = frozenset(
    {"approval_barred", "approval_wrong_stage", "release_not_allowed"}
)
"""Approvals that are refused because of the person, not because of a change in the meantime."""


def make_approver(
    principal: Principal, members: Mapping[str, Collection[AccountId]]
) -> Approver:
    """Return a user as an approver, with the rights of roles and sign-in.

    `members` is from `list_members`.
    """

    def may_take(stage: Stage, accounts: Collection[AccountId]) -> bool:
        if Permission.APPROVE not in principal.scope:
            return False
        return holds_role(principal.user, stage.role, accounts, members, stage.name)

    def may(permission: Permission, accounts: Collection[AccountId]) -> bool:
        return principal.may(permission, accounts, members)

    return Approver(name=principal.user.name, may_take=may_take, may=may)


def waits_for(task: ApprovalTask, approver: Approver) -> bool:
    """Return True if a person may give the next approval of an occurrence."""
    return find_refusal(task, approver) is None


def list_approvers(
    task: ApprovalTask,
    users: Iterable[User],
    members: Mapping[str, Collection[AccountId]],
) -> Sequence[str]:
    """Return the names of the users with a right to the next approval of an occurrence."""
    people = [Principal(user=user, method="") for user in users]
    return [
        person.user.name
        for person in people
        if waits_for(task, make_approver(person, members))
    ]


async def approve_content(  # noqa: PLR0913, PLR0917 # who approves what, and the time that they have seen
    store: Store,
    post: PostId,
    fingerprint: str,
    approver: Approver,
    by: Actor,
    seen_at: datetime | None = None,
    check: CheckTask = allow_task,
) -> ApprovalTask:
    """Record an approval, and make due the work that waited for it. Raises ApprovalError.

    This does not wait for the daemon.
    """
    async with _noting_refusal(store, by):
        task = await store.approvals.approve(
            post, fingerprint, approver, by, seen_at, check
        )
    if task.status.is_approved:
        await store.maintenance.promote_requested([task.key.post])
    return task


def list_waiting_members(
    tasks: Iterable[ApprovalTask], approver: Approver
) -> Sequence[ApprovalTask]:
    """Return the occurrences of a family that one yes of a person is about.

    They miss approvals, the person may approve on their accounts, and has not done so.
    """
    waiting = {  # one of several chains is enough: all have the same content
        task.key: task
        for task in tasks
        if task.status.missing
        and approver.may(Permission.APPROVE, task.accounts)
        and not task.status.has_approved(approver.name)
    }
    return list(waiting.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFamily:
    """The occurrences of a family at one instant, for one yes to all their contents."""

    members: Sequence[ApprovalTask]

    @property
    def family(self) -> str:
        return find_family(self.members[0].key.post)

    @property
    def fingerprint(self) -> Fingerprint:
        """The hash of all contents."""
        return hash_family(
            (task.name, task.status.fingerprint) for task in self.members
        )


def group_members(tasks: Iterable[ApprovalTask]) -> Sequence[WaitingFamily]:
    """Return the families of occurrences that wait for approvals, of several members each.

    What was returned waits for its author.
    """
    groups: dict[tuple[str, str], list[ApprovalTask]] = defaultdict(list)
    for task in tasks:
        if task.returned is None and task.status.missing:
            groups[find_family(task.key.post), task.key.occurrence].append(task)
    return [
        WaitingFamily(members=members)
        for members in groups.values()
        if len({task.key.post for task in members}) > 1
    ]


async def approve_members(  # noqa: PLR0913, PLR0917 # as `approve_content`
    store: Store,
    family: str,
    contents: Sequence[SeenContent],
    approver: Approver,
    by: Actor,
    check: CheckTask = allow_task,
) -> Sequence[ApprovalTask]:
    """Record one yes to members of a family, as `approve_content` does to one post."""
    async with _noting_refusal(store, by):
        tasks = await store.approvals.approve_members(
            family, contents, approver, by, check
        )
    approved = [task.key.post for task in tasks if task.status.is_approved]
    await store.maintenance.promote_requested(approved)
    return tasks


async def release_in_emergency(  # noqa: PLR0913, PLR0917 # who releases what, and why
    store: Store,
    family: str,
    contents: Sequence[SeenContent],
    approver: Approver,
    by: Actor,
    reason: str,
    check: CheckTask = allow_task,
) -> Sequence[ApprovalTask]:
    """Record one emergency release of members of a family, or of an ordinary post."""
    async with _noting_refusal(store, by):
        tasks = await store.approvals.release_in_emergency(
            family, contents, approver, by, reason, check
        )
    await store.maintenance.promote_requested([task.key.post for task in tasks])
    return tasks


@contextlib.asynccontextmanager
async def _noting_refusal(store: Store, by: Actor) -> AsyncIterator[None]:
    """Note that an approval was refused because of the person.

    A change in the meantime is no refusal.
    """
    try:
        yield
    except ApprovalError as error:
        if error.code in REFUSALS_OF_PERSON:
            await store.users.attempts.note_refusal(
                RefusalKind.APPROVAL, by.name, by.sign_in or ""
            )
        raise
