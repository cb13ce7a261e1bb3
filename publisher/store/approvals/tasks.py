"""Occurrences that need approvals, and the reasons why a person cannot give one."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from publisher.domain.account import AccountId
from publisher.domain.approval import ApprovalStatus, Stage
from publisher.domain.characters import is_same_name, name_skeleton
from publisher.domain.errors import ApprovalError
from publisher.domain.post import Fingerprint, OccurrenceKey, Post, PostId
from publisher.domain.remark import Remark
from publisher.domain.user import Permission
from publisher.store.approvals.guard import name_occurrence


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """The approver. `may_take` a stage, or `may` do something else, for all accounts.

    It is asked for all accounts of an occurrence.
    """

    name: str
    may_take: Callable[[Stage, Collection[AccountId]], bool]
    may: Callable[[Permission, Collection[AccountId]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A person's request for a change of the text `fingerprint` before anybody approves it.

    It has remarks at passages.
    """

    by: str
    at: datetime
    reason: str
    fingerprint: Fingerprint
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenContent:
    """The content of a post as a person has seen it, and its time, if they have seen one."""

    post: PostId
    fingerprint: str
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalTask:
    """An occurrence that needs approvals, its approvals, and the origin of its content.

    `due_at` is None for one that is due when approved. A named person saved the content, or it was
    read from a file of this owner. `is_edit` means that it replaced an earlier one. `returned` is
    the change that a person wants in it, if any.
    """

    key: OccurrenceKey
    post: Post
    accounts: Sequence[AccountId]
    due_at: datetime | None
    status: ApprovalStatus
    saved_by: str | None = None
    file_owner: str | None = None
    saved_at: datetime | None = None
    is_edit: bool = False
    returned: Return | None = None

    @property
    def name(self) -> str:
        return name_occurrence(self.key)

    @property
    def content(self) -> SeenContent:
        """The content, for an approval of exactly this."""
        return SeenContent(post=self.key.post, fingerprint=self.status.fingerprint)


def list_unapproved(tasks: Iterable[ApprovalTask]) -> frozenset[OccurrenceKey]:
    """Return the occurrences that are not sent without another approval."""
    return frozenset(task.key for task in tasks if not task.status.is_approved)


CheckTask = Callable[[ApprovalTask], None]
"""Raises an error where a person may not act on an occurrence."""


def allow_task(_task: ApprovalTask) -> None:
    """Raise nothing."""


def find_refusal(task: ApprovalTask, approver: Approver) -> ApprovalError | None:
    """Return why a person may not give the next approval of an occurrence, if so."""
    status, facts = task.status, {"post": task.name, "by": approver.name}
    if status.is_barred(approver.name):
        named = {
            "name": task.name,
            "post": task.key.post,
            "writers": "、".join(sorted(status.barred | status.quoted)),
        }
        return ApprovalError("approval_barred", by=approver.name, **named)
    if status.has_approved(approver.name):
        return ApprovalError("approval_given_already", **facts)
    if not status.missing:
        return ApprovalError("approval_complete", **facts)
    stage = status.missing[0].stage
    if not approver.may_take(stage, task.accounts):
        return ApprovalError(
            "approval_wrong_stage", stage=stage.name, role=stage.role, **facts
        )
    return find_checker_refusal(task, approver)


def find_checker_refusal(
    task: ApprovalTask, approver: Approver
) -> ApprovalError | None:
    """Return why the named checker of a text stands against an approval, if so.

    The last stage takes an approval of that person, who therefore gives none before. So no text
    names a checker that has not given the last approval.
    """
    checker, status = task.post.checker, task.status
    if not checker or status.has_approved(checker):
        return None
    missing = status.missing[0]
    is_last_stage = missing.stage == status.chain[-1]
    if is_same_name(checker, approver.name):
        code = "" if is_last_stage else "approval_checker_is_last"
    else:
        is_last = is_last_stage and missing.people == 1
        code = "approval_named_checker" if is_last else ""
    if not code:
        return None
    return ApprovalError(code, post=task.name, by=approver.name, checker=checker)


def find_release_refusal(
    task: ApprovalTask, approver: Approver, on_duty: Collection[str]
) -> ApprovalError | None:
    """Return the reason why a person cannot release an occurrence in an emergency, if any.

    `on_duty` has the skeletons of the officers' names.
    """
    status = task.status
    facts = {"post": task.name, "by": approver.name, "author": status.author}
    if status.is_approved:
        return ApprovalError("approval_complete", **facts)
    if task.post.checker:
        return ApprovalError(
            "release_named_checker", checker=task.post.checker, **facts
        )
    if name_skeleton(approver.name) not in on_duty:
        return ApprovalError("not_on_duty", **facts)
    if name_skeleton(status.author) not in on_duty:
        return ApprovalError("author_not_on_duty", **facts)
    is_author = is_same_name(status.author, approver.name)
    needed = Permission.WRITE if is_author else Permission.APPROVE
    if not approver.may(needed, task.accounts):
        return ApprovalError("release_not_allowed", **facts)
    releases = [item for item in status.in_time if item.is_emergency]
    if any(is_same_name(item.person, approver.name) for item in releases):
        return ApprovalError("approval_given_already", **facts)
    return None
