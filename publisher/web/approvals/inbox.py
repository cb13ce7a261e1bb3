"""Inbox: the visitor's waiting items by deadline, and their decisions of the last seven days."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.post import PostId, find_family
from publisher.store.approvals.decisions import OwnApproval
from publisher.store.queries.audit_log import AuditFilter, AuditRecord
from publisher.web.audit.page import AuditSentence, make_sentences
from publisher.web.kit.frame import read_live_todo, read_moment
from publisher.web.kit.live_parts import Parts, stream_path
from publisher.web.kit.page import load_macro, render_page
from publisher.web.kit.site import Visitor, get_visitor
from publisher.web.kit.todo import MAX_SHOWN, TodoItem, TodoKind, approval_path

DONE_PERIOD = timedelta(days=7)
SHOWN_ENDINGS = frozenset({"changed", "unapproved", "returned"})
"""Why a yes has ended, where that is said; of the others only that it has."""
DECISIONS: Mapping[TodoKind, frozenset[str]] = {
    TodoKind.APPROVE: frozenset({"returned", "return_undone"}),
    TodoKind.RESOLVE: frozenset(
        {
            "resolved",
            "resend_requested",
            "confirmation_requested",
            "cancelled",
            "retraction_requested",
        }
    ),
    TodoKind.ASSIST: frozenset({"manual_task_done", "manual_task_cancelled"}),
    TodoKind.FAILED: frozenset(
        {"alert_dismissed", "alert_restored", "resend_requested"}
    ),
    TodoKind.ACCOUNT: frozenset(
        {"paused", "resumed", "mode_changed", "evergreen_scheduled", "alert_dismissed"}
    ),
}
"""The audit entries of a person's decisions, by subject; approvals are stored by themselves."""
ORDER_GAP = timedelta(seconds=2)
"""The longest time between two audit entries of one order.

The entries of one order on many deliveries are written one after the other.
"""
MAX_ENTRIES = 5_000
"""Several orders on 1,000 accounts, each with an entry for every delivery."""
MAX_DONE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneItem:
    """A decision of the visitor: an approval, or one order as its audit entry says it."""

    at: datetime
    approval: OwnApproval | None = None
    sentence: AuditSentence | None = None
    number: int = 0
    """On how many deliveries."""
    members: Sequence[PostId] = ()
    """Of one yes to a family: its posts, where there are several."""
    end_path: str = ""
    """The address at which the approval is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneList:
    """The visitor's decisions, newest first. It lists all that may be taken back.

    `has_more`: there are more than the listed ones.
    """

    items: Sequence[DoneItem]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxView:
    """The items that wait for the visitor, of all kinds or of the `chosen` one, and for others.

    A page shows MAX_SHOWN of each, by deadline.
    """

    items: Sequence[TodoItem]
    chosen: TodoKind | None

    @property
    def mine(self) -> Sequence[TodoItem]:
        return [item for item in self.items if item.is_mine]

    @property
    def is_urgent(self) -> bool:
        return any(item.is_urgent for item in self.mine)

    @property
    def listed(self) -> Sequence[TodoItem]:
        return [item for item in self.mine if self.chosen in {None, item.kind}]

    @property
    def shown(self) -> Sequence[TodoItem]:
        return self.listed[:MAX_SHOWN]

    @property
    def shown_others(self) -> Sequence[TodoItem]:
        return self.others[:MAX_SHOWN]

    @property
    def others(self) -> Sequence[TodoItem]:
        return [
            item
            for item in self.items
            if not item.is_mine and self.chosen in {None, item.kind}
        ]

    @property
    def tabs(self) -> Mapping[TodoKind, int]:
        """How many things of each kind wait for the visitor."""
        return {kind: sum(item.kind is kind for item in self.mine) for kind in TodoKind}


async def show_inbox(request: Request) -> Response:
    visitor = get_visitor(request)
    chosen = next(
        (kind for kind in TodoKind if kind == request.query_params.get("kind")), None
    )
    moment = await read_moment(visitor)
    view = InboxView(items=moment.todo, chosen=chosen)
    return await render_page(
        request,
        "approvals/inbox",
        moment=moment,
        stream=stream_path(
            "inbox",
            [item.element for item in [*view.shown, *view.shown_others]],
            kind=chosen or "",
        ),
        view=view,
        done=await read_done(visitor, chosen),
        endings=SHOWN_ENDINGS,
    )


async def read_done(visitor: Visitor, chosen: TodoKind | None) -> DoneList:
    """Return the visitor's recent decisions, of all kinds or of the chosen one."""
    store, since = visitor.site.store, visitor.site.runtime.now() - DONE_PERIOD
    events = (
        frozenset().union(*DECISIONS.values()) if chosen is None else DECISIONS[chosen]
    )
    wanted = AuditFilter(by=visitor.user.name, events=events, since=since)
    entries = await store.audit.search(wanted, MAX_ENTRIES)
    orders = group_orders(entries)
    sentences = await make_sentences(
        visitor, [summarize_order(order) for order in orders[:MAX_DONE]]
    )
    done = [
        DoneItem(
            at=sentence.record.at,
            sentence=sentence,
            number=sum("@" in entry.subject for entry in order),
        )
        for sentence, order in zip(sentences, orders, strict=False)
    ]
    if chosen in {None, TodoKind.APPROVE}:
        given = await store.approvals.given_by(visitor.user.name, since)
        done += join_given(given)
    done.sort(key=lambda item: item.at, reverse=True)
    listed = done[:MAX_DONE] + [
        one for one in done[MAX_DONE:] if one.approval and one.approval.can_be_ended
    ]
    has_more = (
        len(entries) == MAX_ENTRIES or len(orders) > MAX_DONE or len(done) > len(listed)
    )
    return DoneList(items=listed, has_more=has_more)


def join_given(given: Sequence[OwnApproval]) -> Sequence[DoneItem]:
    """Return a person's approvals, newest first; those of one yes to a family are one item."""
    groups: list[list[OwnApproval]] = []
    for one in given:
        if groups and is_of_same_yes(groups[-1][-1], one):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [describe_yes(group) for group in groups]


def is_of_same_yes(one: OwnApproval, other: OwnApproval) -> bool:
    """Return True if two neighbours are approvals of one family, given and ended together."""

    def describe(given: OwnApproval) -> tuple[object, ...]:
        family, stage = find_family(given.key.post), given.approval.stage
        return (
            family,
            given.key.occurrence,
            stage,
            given.ended_reason,
            given.can_be_ended,
        )

    is_alike = describe(one) == describe(other) and one.key != other.key
    return is_alike and abs(one.approval.at - other.approval.at) < ORDER_GAP


def describe_yes(group: Sequence[OwnApproval]) -> DoneItem:
    first, members = group[0], [one.key.post for one in group]
    is_whole = len(group) > 1
    key = (
        replace(first.key, post=PostId(find_family(first.key.post)))
        if is_whole
        else first.key
    )
    return DoneItem(
        at=first.approval.at,
        approval=first,
        members=members if is_whole else (),
        end_path=approval_path(key, "/end"),
    )


def group_orders(entries: Sequence[AuditRecord]) -> Sequence[Sequence[AuditRecord]]:
    """Group audit entries of one person by order, with a post and its deliveries together.

    The entries keep their order.
    """
    orders: list[list[AuditRecord]] = []
    for entry in entries:
        if orders and is_of_same_order(orders[-1][-1], entry):
            orders[-1].append(entry)
        else:
            orders.append([entry])
    return orders


def is_of_same_order(one: AuditRecord, other: AuditRecord) -> bool:
    """Return True if two neighbours say the same of a post, or of its deliveries, in sequence."""
    is_alike = (one.event, one.subject.partition("@")[0]) == (
        other.event,
        other.subject.partition("@")[0],
    )
    return is_alike and abs(one.at - other.at) < ORDER_GAP


def summarize_order(entries: Sequence[AuditRecord]) -> AuditRecord:
    """Return the entry that represents one order: the one about the post, with the person's reason.

    Without one it is that of the only delivery, or one of several with the post as its subject.
    """
    about_post = next((entry for entry in entries if "@" not in entry.subject), None)
    if about_post is not None or len(entries) == 1:
        return about_post or entries[0]
    return replace(entries[0], subject=entries[0].subject.partition("@")[0])


async def read_live(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return how many things wait, and each of them."""
    chosen = next((kind for kind in TodoKind if kind == page.get("kind")), None)
    view = InboxView(items=await read_live_todo(visitor), chosen=chosen)
    make_item = load_macro(visitor, "approvals/inbox_parts", "inbox_item")
    return Parts(
        fixed={
            "verdict": load_macro(visitor, "approvals/inbox_parts", "inbox_sentence")(
                view
            ),
            "inbox-tabs": load_macro(visitor, "approvals/inbox_parts", "inbox_tabs")(
                view
            ),
        },
        items={
            item.element: make_item(item, item in view.listed[:1])
            for item in [*view.shown, *view.shown_others]
        },
        wanted=[item.element for item in view.shown],
    )
