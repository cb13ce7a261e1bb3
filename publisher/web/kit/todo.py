"""Items that wait for a visitor, by deadline.

These are approvals, rulings, posts to place by hand, and accounts that hold posts back.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, urlencode

from publisher.domain.account import AccountId
from publisher.domain.approval import AFTER_REVIEW_PERIOD
from publisher.domain.characters import is_same_name
from publisher.domain.delivery import State
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    OccurrenceKey,
    PostId,
    find_family,
)
from publisher.domain.results import REFUSED_HOLD_REASONS, HoldReason
from publisher.domain.user import Permission
from publisher.engine.approvals import make_approver, waits_for
from publisher.store.approvals.duty import DutyOfficer
from publisher.store.approvals.guard import name_occurrence
from publisher.store.approvals.tasks import ApprovalTask, Approver
from publisher.store.queries.queries import HELD_WITH_ACCOUNT, Pause
from publisher.store.queries.todo import UnseenEnd, Waiting, WaitingDelivery
from publisher.web.kit.live_parts import item_id
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Visitor

ACCOUNT_SCOPE = "account:"
MAX_SHOWN = 100
"""Most items in a list on a page: an author may have planned a thousand occurrences."""


class TodoKind(StrEnum):
    """The kinds, as in the query of the page."""

    APPROVE = "approve"
    RESOLVE = "resolve"
    ASSIST = "assist"
    ACCOUNT = "account"
    FAILED = "failed"
    """Not published, or removed: nothing can be decided, and somebody has to know of it."""


HAVE_HAD_THEIR_TIME = frozenset({TodoKind.FAILED, TodoKind.APPROVE})
"""The kinds of items that are due at once if they have no deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TodoItem:
    """One thing to do. `until` is its deadline, None without one; `is_mine`: the visitor may do it.

    `subject` names it in addresses and tests, `about` in the audit. `reason` is the reason of a
    hold. `kind_of_post` and `level` make its sign.
    """

    kind: TodoKind
    subject: str
    about: str
    title: str
    text: str
    path: str
    is_mine: bool
    reason: str = ""
    until: datetime | None = None
    kind_of_post: str = ""
    level: str | None = None
    is_review: bool = False
    """True for an emergency release: it is sent, and its approvals are still due."""
    is_urgent: bool = False
    """True for an urgent post that waits for people."""
    is_returned: bool = False
    """True for a text that an approver wants changed: its author's matter, and no approval."""
    is_release: bool = False
    """True if the visitor's release in an emergency is the quickest way."""
    stages: str = ""
    """The names of the missing approvals."""
    number: int = 1
    """The number of deliveries that it is about."""
    members: Sequence[str] = ()
    """The names of the occurrences of a family that it is about."""
    seen_at: str = ""
    """The path at which a person says to have seen it; empty where that ends nothing."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What that is drawn from."""
    renews: str = ""
    """The account with a sign-in that its owner renews by a link, if the visitor may send it."""

    @property
    def verb(self) -> str:
        """The visitor's action on it, as a part of the codes of messages."""
        if self.kind is TodoKind.RESOLVE and self.reason in REFUSED_HOLD_REASONS:
            return "refused"  # nothing was sent, so that there is nothing to recognise
        if self.is_returned:
            return "returned"
        return "release" if self.is_release else self.kind

    @property
    def can_be_approved(self) -> bool:
        """True if the visitor may give it an approval, among others at once."""
        return self.is_mine and self.kind is TodoKind.APPROVE and not self.is_returned

    @property
    def element(self) -> str:
        """The id of its element on pages."""
        return todo_id(self.kind, self.about, self.reason)


def todo_id(kind: TodoKind, about: str, reason: str = "") -> str:
    """Return the element id of a thing to do.

    It stays the same while the item lasts, for any number of accounts.
    """
    return item_id("todo", kind, about, reason)


def list_todo(
    visitor: Visitor,
    waiting: Waiting,
    pauses: Sequence[Pause],
    on_duty: Sequence[DutyOfficer],
) -> Sequence[TodoItem]:
    """Return everybody's waiting items: urgent posts first, items without deadline last.

    What was not published has had its time, and a post without a time of its own is due once it
    is approved: both come before what is due later.
    """
    paused = {
        AccountId(pause.scope.removeprefix(ACCOUNT_SCOPE))
        for pause in pauses
        if pause.scope.startswith(ACCOUNT_SCOPE)
    }
    to_decide = [one for one in waiting.to_decide if not is_held_by_pause(one, paused)]
    found = [
        *join_families(visitor, list_approvals(visitor, waiting.tasks, on_duty)),
        *_list_deliveries(visitor, to_decide),
        *list_unseen(visitor, waiting.unseen),
        *_list_accounts(visitor, pauses, waiting.by_account),
    ]
    now = visitor.site.runtime.now()
    return sorted(
        found,
        key=lambda item: (
            not item.is_urgent,
            item.until is None and item.kind not in HAVE_HAD_THEIR_TIME,
            item.until or now,
            item.subject,
        ),
    )


def is_held_by_pause(delivery: WaitingDelivery, paused: Collection[AccountId]) -> bool:
    """Return True if a delivery waits for its account, which is an item of its own.

    It is one itself once the account is resumed.
    """
    return (
        delivery.account in paused
        and delivery.state is State.HELD
        and f"held.{delivery.reason}" in HELD_WITH_ACCOUNT
    )


def list_missing(items: Sequence[TodoItem]) -> Mapping[str, TodoItem]:
    """Return the waiting items of the occurrences that lack an approval, by their names.

    Every page that says so asks here. A family's item is there under each member's name.
    """
    return {
        name: item
        for item in items
        if item.kind is TodoKind.APPROVE
        for name in (item.subject, *item.members)
    }


def join_families(visitor: Visitor, items: Sequence[TodoItem]) -> Sequence[TodoItem]:
    """Return the waiting approvals, with one item for the members of a family that wait alike.

    What was returned, or waits for other people, is about a member alone. A release of several
    stands on the page of their approval.
    """
    groups: dict[tuple[str, ...], list[TodoItem]] = defaultdict(list)
    for item in items:
        post, _, occurrence = item.subject.partition("#")
        is_joined = MEMBER_MARK in post and (
            item.is_release or item.path.startswith("/approve/")
        )
        alike = (find_family(post), occurrence, item.text, str(item.is_mine))
        key = alike if is_joined else (item.subject,)
        groups[key].append(item)
    return [
        _join_items(visitor, group)
        if len(group) > 1
        else name_region_of(visitor, group[0])
        for group in groups.values()
    ]


def name_region_of(visitor: Visitor, item: TodoItem) -> TodoItem:
    """Return an item with its region in its title, if it is about one member of a family."""
    post = PostId(item.subject.partition("#")[0])
    if MEMBER_MARK not in post:
        return item
    return replace(item, title=f"{visitor.name_region(post)}　{item.title}".strip())


def _join_items(visitor: Visitor, members: Sequence[TodoItem]) -> TodoItem:
    first, translate = members[0], visitor.messages.translate
    post, mark, occurrence = first.subject.partition("#")
    family = find_family(post)
    return replace(
        first,
        subject=f"{family}{mark}{occurrence}",
        about=f"{family}{mark}{occurrence}",
        text=translate("web_todo_family", number=len(members), text=first.text),
        path=approval_path(
            OccurrenceKey(post=PostId(family), occurrence=occurrence or ONCE_OCCURRENCE)
        ),
        members=[item.subject for item in members],
        number=sum(item.number for item in members),
    )


def count_mine(items: Sequence[TodoItem]) -> Mapping[str, int]:
    """Return how many things wait for the visitor, by the name of the page that lists them."""
    mine = [item.kind for item in items if item.is_mine]
    return {"inbox": len(mine), "assist": mine.count(TodoKind.ASSIST)}


def list_approvals(
    visitor: Visitor, tasks: Sequence[ApprovalTask], on_duty: Sequence[DutyOfficer]
) -> Sequence[TodoItem]:
    """Return the occurrences without an approval, and the visitor's own returned posts.

    An urgent one that the visitor may release is to be released.
    """
    approver, items = make_visitor_approver(visitor), []
    reach = visitor.reach(Permission.VIEW)
    for task in tasks:
        if not (task.status.missing and visitor.sees_any(task.accounts)):
            continue
        returned, is_author = task.returned, task.status.is_barred(visitor.user.name)
        released = [one.at for one in task.status.in_time if one.is_emergency]
        is_returned, is_review = returned is not None, task.status.is_emergency
        is_release = (
            task.post.is_urgent
            and not is_returned
            and may_release(visitor, task, on_duty)
        )
        is_mine = is_author if is_returned else waits_for(task, approver)
        path = release_path(task.key) if is_release else approval_path(task.key)
        if is_returned and is_review:
            path = f"/posts/{quote(task.key.post, safe='')}"
        items.append(
            TodoItem(
                kind=TodoKind.APPROVE,
                subject=task.name,
                about=task.name,
                title=task.post.title,
                text=describe_approval(visitor, task, is_release=is_release),
                path=path,
                is_mine=is_mine or is_release,
                until=max(released) + AFTER_REVIEW_PERIOD if is_review else task.due_at,
                kind_of_post=task.post.kind,
                level=task.post.level,
                is_review=is_review,
                is_returned=is_returned,
                is_urgent=task.post.is_urgent and not task.status.is_approved,
                is_release=is_release,
                number=sum(reach is None or key in reach for key in task.accounts),
                stages=name_missing(visitor, task),
            )
        )
    return items


def name_missing(visitor: Visitor, task: ApprovalTask) -> str:
    """Return the names of the approvals that an occurrence lacks."""
    names = [missing.stage.name for missing in task.status.missing]
    return visitor.messages.translate("list_names").join(names)


def describe_approval(
    visitor: Visitor, task: ApprovalTask, *, is_release: bool = False
) -> str:
    """Return what an occurrence waits for, in a sentence."""
    translate, stages = visitor.messages.translate, name_missing(visitor, task)
    returned, is_review = task.returned, task.status.is_emergency
    if is_review and returned is None:
        return translate("web_todo_review", stages=stages)
    if is_release and is_same_name(task.status.author, visitor.user.name):
        code = "web_todo_release_own" if visitor.is_stepped_up else "web_todo_code"
        return translate(code)
    if is_release:
        return translate("web_todo_release", author=task.status.author)
    if returned is not None:
        code = "web_todo_returned_sent" if is_review else "web_todo_returned"
        return translate(code, by=returned.by, reason=returned.reason)
    if task.is_edit:
        by = task.saved_by or task.file_owner or "?"
        return translate("web_todo_changed", by=by, stages=stages)
    return translate("web_todo_approve", author=task.status.author, stages=stages)


def may_release(
    visitor: Visitor, task: ApprovalTask, on_duty: Sequence[DutyOfficer]
) -> bool:
    """Return True if a release by the visitor counts: on duty, with the right, and not given yet.

    Nothing is released that is approved or released already.
    """
    name = visitor.user.name
    given = [one.person for one in task.status.in_time if one.is_emergency]
    is_author = is_same_name(task.status.author, name)
    needed = Permission.WRITE if is_author else Permission.APPROVE
    return (
        not task.status.is_approved
        and any(is_same_name(officer.name, name) for officer in on_duty)
        and not any(is_same_name(person, name) for person in given)
        and visitor.may(needed, task.accounts)
    )


def require_release(visitor: Visitor, task: ApprovalTask) -> None:
    """Raise SignInError unless the visitor may release an occurrence: as its author, or another."""
    is_author = is_same_name(task.status.author, visitor.user.name)
    visitor.require(
        Permission.WRITE if is_author else Permission.APPROVE, task.accounts
    )


def release_path(key: OccurrenceKey) -> str:
    """Return the address of a post's page in the emergency lane."""
    return f"/urgent/{quote(key.post, safe='')}"


def make_visitor_approver(visitor: Visitor) -> Approver:
    """Return the visitor as an approver."""
    return make_approver(visitor.principal, visitor.site.members)


def approval_path(key: OccurrenceKey, part: str = "") -> str:
    """Return the address of an occurrence's approval page, or of a part of it."""
    query = (
        ""
        if key.occurrence == ONCE_OCCURRENCE
        else f"?{urlencode({'at': key.occurrence})}"
    )
    return f"/approve/{quote(key.post, safe='')}{part}{query}"


def _list_deliveries(
    visitor: Visitor, deliveries: Sequence[WaitingDelivery]
) -> Sequence[TodoItem]:
    """Return held posts, a card for each occurrence and reason, and posts to place by hand."""
    groups: dict[tuple[TodoKind, OccurrenceKey, str], list[WaitingDelivery]] = (
        defaultdict(list)
    )
    for delivery in deliveries:
        if not visitor.sees_any([delivery.account]):
            continue
        if delivery.state is State.HELD:
            groups[TodoKind.RESOLVE, delivery.key, delivery.reason or ""].append(
                delivery
            )
        else:
            groups[TodoKind.ASSIST, delivery.key, delivery.account].append(delivery)
    names = name_accounts(visitor.site.settings, visitor.messages)
    return [
        _to_item(visitor, names, kind, group)
        for (kind, _key, _part), group in groups.items()
    ]


def _to_item(
    visitor: Visitor,
    names: AccountNames,
    kind: TodoKind,
    group: Sequence[WaitingDelivery],
) -> TodoItem:
    first, formatter = group[0], visitor.formatter
    permission = Permission.OPERATE if kind is TodoKind.RESOLVE else Permission.ASSIST
    place = "/".join(
        quote(part, safe="")
        for part in (first.key.post, first.key.occurrence, first.account)
    )
    path = f"/assist/{place}" if kind is TodoKind.ASSIST else f"/deliveries/{place}"
    if len(group) > 1:
        path = "/posts/" + "/".join(
            quote(part, safe="") for part in (first.key.post, first.key.occurrence)
        )
    accounts = (
        names.name(first.account)
        if len(group) == 1
        else visitor.messages.translate("web_accounts", number=len(group))
    )
    said = (
        formatter.reason(first.reason)
        if kind is TodoKind.RESOLVE
        else visitor.messages.translate("web_todo_assist")
    )
    occurrence = formatter.occurrence_name(first.key.post, first.key.occurrence)
    return TodoItem(
        kind=kind,
        subject=f"{occurrence}@{first.account}" if len(group) == 1 else first.key.post,
        about=first.name if kind is TodoKind.ASSIST else name_occurrence(first.key),
        title=first.title,
        text=visitor.messages.translate("web_todo_on", accounts=accounts, reason=said),
        path=path,
        is_mine=visitor.may(permission, [delivery.account for delivery in group]),
        reason=first.reason or "" if kind is TodoKind.RESOLVE else "",
        until=first.expires_at,
        kind_of_post=first.kind,
        renews=first.account
        if first.reason == HoldReason.AUTH and visitor.may_renew(first.account)
        else "",
    )


def list_unseen(visitor: Visitor, unseen: Sequence[UnseenEnd]) -> Sequence[TodoItem]:
    """Return what was not published or is removed: a card for each occurrence and state."""
    groups: dict[tuple[str, State], list[UnseenEnd]] = defaultdict(list)
    for one in unseen:
        if visitor.sees_any([one.account]):
            groups[one.about, one.state].append(one)
    names = name_accounts(visitor.site.settings, visitor.messages)
    return [_to_unseen_item(visitor, names, group) for group in groups.values()]


def seen_path(post: PostId) -> str:
    """Return the address at which somebody says to have seen what of a post was not published."""
    return f"/posts/{quote(post, safe='')}/seen"


def _to_unseen_item(
    visitor: Visitor, names: AccountNames, group: Sequence[UnseenEnd]
) -> TodoItem:
    first, translate = group[0], visitor.messages.translate
    number, post = sum(one.number for one in group), quote(first.key.post, safe="")
    if first.is_of_post:
        where, path = translate("web_todo_times", number=number), f"/posts/{post}"
    elif len(group) > 1:
        where = translate("web_accounts", number=number)
        path = f"/posts/{post}/{quote(first.key.occurrence, safe='')}"
    else:
        where = names.name(first.account)
        place = "/".join(
            quote(part, safe="") for part in (first.key.occurrence, first.account)
        )
        path = f"/deliveries/{post}/{place}"
    reasons = dict.fromkeys(visitor.formatter.reason(one.reason) for one in group)
    occurrence = visitor.formatter.occurrence_name(first.key.post, first.key.occurrence)
    is_one = len(group) == 1 and not first.is_of_post
    return TodoItem(
        kind=TodoKind.FAILED,
        subject=f"{occurrence}@{first.account}" if is_one else first.about,
        about=first.about,
        title=first.title,
        text=translate(
            "web_todo_ended",
            accounts=where,
            state=translate(f"state_{first.state}"),
            reason=translate("list_names").join(reasons),
        ),
        path=path,
        is_mine=visitor.may(Permission.SEND, [one.account for one in group]),
        reason=first.state.value,
        kind_of_post=first.kind,
        level=first.level,
        number=number,
        seen_at=seen_path(first.key.post),
        fields={
            "about": first.about,
            "state": first.state.value,
            "newest": str(max(one.alert for one in group)),
        },
    )


def _list_accounts(
    visitor: Visitor, pauses: Sequence[Pause], held: Mapping[AccountId, int]
) -> Sequence[TodoItem]:
    """Return the accounts that are paused, with the number of deliveries held back with each."""
    translate = visitor.messages.translate
    names, items = name_accounts(visitor.site.settings, visitor.messages), []
    for pause in pauses:
        account = AccountId(pause.scope.removeprefix(ACCOUNT_SCOPE))
        if not pause.scope.startswith(ACCOUNT_SCOPE) or not visitor.sees_any([account]):
            continue
        said = [visitor.formatter.pause("web_todo_paused", pause)]
        if account in held:
            said.append(translate("web_todo_holds", number=held[account]))
        items.append(
            TodoItem(
                kind=TodoKind.ACCOUNT,
                subject=account,
                about=pause.scope,
                title=names.name(account),
                text=translate("list_comma").join(said),
                path=f"/accounts/{quote(account, safe='')}",
                is_mine=visitor.may(Permission.OPERATE, [account]),
                renews=account
                if pause.is_renewable and visitor.may_renew(account)
                else "",
            )
        )
    return items
