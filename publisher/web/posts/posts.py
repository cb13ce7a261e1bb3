"""Posts: the list, and the building blocks of pages about one post."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.format import (
    PENDING_UNAPPROVED,
    Formatter,
    is_pause_of,
    manual_task_code,
    message_args,
    pauses_covering,
)
from publisher.domain.account import AccountId, Platform
from publisher.domain.delivery import (
    CHECKED_STATES,
    OPEN_STATES,
    WAITING_STATES,
    Delivery,
    State,
)
from publisher.domain.errors import NoSuchItemError
from publisher.domain.glyph import Glyph
from publisher.domain.kinds import PostKind
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
    WarningLevel,
    find_family,
)
from publisher.domain.user import Permission
from publisher.store.approvals.guard import name_occurrence
from publisher.store.approvals.tasks import ApprovalTask, list_unapproved
from publisher.store.queries.occurrences import (
    PAGE_SIZE,
    GivenApproval,
    OccurrenceFilter,
    OccurrenceSummary,
    StopCounts,
    StoredPostDetails,
)
from publisher.store.queries.progress import FiledDelivery, PostProgress
from publisher.store.queries.queries import Pause
from publisher.web.kit.frame import Moment, read_moment
from publisher.web.kit.live_parts import item_id
from publisher.web.kit.page import render_page
from publisher.web.kit.pinyin import contains, read_letters
from publisher.web.kit.seats import AccountNames, SeatMap, map_seats, name_accounts
from publisher.web.kit.site import Site, Visitor, get_site, get_visitor
from publisher.web.kit.todo import list_missing

MAX_QUERY_CHARACTERS = 100
MAX_SPELT_TITLES = 2_000
"""How many titles are searched by their pinyin, the newest first."""


async def show_posts(request: Request) -> Response:
    """List occurrences, latest due first."""
    visitor, query = get_visitor(request), request.query_params
    glyph = next((glyph for glyph in Glyph if glyph == query.get("state")), None)
    text = query.get("q", "").strip()[:MAX_QUERY_CHARACTERS]
    wanted = OccurrenceFilter(
        text=text,
        spelt=await find_spelt(get_site(request), text),
        family=query.get("family", "")[:MAX_QUERY_CHARACTERS],
        kind=next((kind for kind in PostKind if kind == query.get("kind")), ""),
        level=next(
            (level for level in WarningLevel if level == query.get("level")), ""
        ),
        glyph=glyph,
        before=parse_instant(query.get("before", "")),
        accounts=visitor.reach(Permission.VIEW),
    )
    moment = await read_moment(visitor)
    found = await get_site(request).store.occurrences.find_families(
        wanted, PAGE_SIZE + 1
    )
    shown = found[:PAGE_SIZE]
    following = shown[-1].due_at.isoformat() if len(found) > PAGE_SIZE else ""
    return await render_page(
        request,
        "posts/posts",
        moment=moment,
        posts=shown,
        missing=list_missing(moment.todo),
        name_occurrence=name_occurrence,
        wanted=wanted,
        following=following,
        members=list_members(shown) if wanted.family else (),
        kinds=list(PostKind),
        levels=list(WarningLevel),
        glyphs=list(Glyph),
        may_approve=visitor.may(Permission.APPROVE),
        may_retract=visitor.may(Permission.RETRACT),
        may_write=visitor.may(Permission.WRITE),
    )


def list_members(
    summaries: Sequence[OccurrenceSummary],
) -> Sequence[OccurrenceSummary]:
    """Return the occurrences of listed families, one for each region."""
    return [member for summary in summaries for member in summary.members]


async def find_spelt(site: Site, typed: str) -> Sequence[PostId]:
    """Return the posts with a title that typed pinyin spells, of the newest MAX_SPELT_TITLES."""
    letters = read_letters(typed)
    if not letters:
        return ()
    titles = await site.store.queries.newest_titles(MAX_SPELT_TITLES)
    return await asyncio.to_thread(
        lambda: [post for post, title in titles.items() if contains(title, letters)]
    )


def parse_instant(text: str) -> datetime | None:
    """Return an instant of a query, with its offset.

    None for anything else, or if it is too far away to convert.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo and 2000 <= instant.year <= 2200 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """A delivery in a table: its sign, its state in words, and its history in one sentence."""

    delivery: Delivery
    glyph: Glyph
    state: str
    text: str
    until: datetime | None

    @property
    def element(self) -> str:
        """The id of its row on a page."""
        return item_id("line", self.delivery.account)

    @property
    def element_of_time(self) -> str:
        """The id of its row on a page that has an account once for each time it was sent."""
        return item_id("time", self.delivery.key.occurrence, self.delivery.account)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostView:
    """One visitor's view of one occurrence of a post. Actions are drawn from the id `newest`.

    `named` is the occurrence as the address names it. It is empty for the one that matters now.
    """

    details: StoredPostDetails
    named: str
    key: OccurrenceKey
    names: AccountNames
    summary: OccurrenceSummary | None
    occurrences: Sequence[OccurrenceSummary]
    lines: Sequence[DeliveryLine]
    accounts: Sequence[AccountId]
    """The accounts of the lines; before there are any, the accounts of the post."""
    maps: Sequence[SeatMap]
    tasks: Sequence[ApprovalTask]
    unapproved: Collection[OccurrenceKey]
    """The occurrences of the post that are not sent without another approval."""
    approvals: Sequence[GivenApproval]
    pause: Pause | None
    pauses: Sequence[Pause]
    newest: int
    stops: StopCounts
    """The counts for stopping the post, in all its occurrences."""
    progress: PostProgress
    filed: Sequence[FiledDelivery]
    """The deliveries of the lines, by id."""
    rewritten: Mapping[AccountId, PostId]
    """The copies that people have written for accounts that refused the post."""
    region: str
    """The region of a member of a family; empty for an ordinary post."""
    siblings: Sequence[PostId]
    """The posts of the other regions that the visitor sees."""

    @property
    def rendered(self) -> Sequence[RenderedPost]:
        """The final texts, by account, as far as they were read and are still kept."""
        of_key = [item.rendered for item in self.filed if item.delivery.key == self.key]
        return sorted(filter(None, of_key), key=lambda item: item.account)

    @property
    def family(self) -> str:
        """The name of the post's family; the id of an ordinary post."""
        return find_family(self.key.post)

    @property
    def path(self) -> str:
        """The address of the page."""
        return "/posts/" + "/".join(
            quote(name, safe="") for name in (self.key.post, self.named) if name
        )

    @property
    def deliveries(self) -> Sequence[Delivery]:
        return [line.delivery for line in self.lines]

    @property
    def by_glyph(self) -> Mapping[Glyph, int]:
        """The number of accounts by sign, the worst first."""
        counts = Counter(line.glyph for line in self.lines)
        return {glyph: counts[glyph] for glyph in Glyph if counts[glyph]}

    @property
    def next_check_at(self) -> datetime | None:
        """The time of the next read of an account to find out the outcome of a call."""
        times = (
            item.next_action_at
            for item in self.deliveries
            if item.state in CHECKED_STATES
        )
        return min(filter(None, times), default=None)

    @property
    def is_before_its_time(self) -> bool:
        """True while nothing was sent: the texts matter most then."""
        return all(
            delivery.state in {State.PENDING, State.CANCELLED}
            for delivery in self.deliveries
        )

    def lines_of(self, tab: str, platform: str = "") -> Sequence[DeliveryLine]:
        """Return the lines under a tab, of one platform if it is named, the worst first."""
        wanted = {
            "action": {Glyph.ACTION, Glyph.FAILED},
            "checking": {Glyph.CHECKING, Glyph.SENDING},
        }.get(tab)
        return [
            line
            for line in self.lines
            if (wanted is None or line.glyph in wanted)
            and platform in {"", line.delivery.platform}
        ]


async def load_post_view(
    request: Request, moment: Moment | None = None, *, has_texts: bool = False
) -> PostView:
    """Return the post of the path, with its named occurrence or else the current one.

    The current one is the one that matters now. Raises NoSuchItemError.
    """
    params = request.path_params
    post, named = PostId(params["post"]), params.get("occurrence", "")
    return await read_post_view(
        get_visitor(request), post, named, moment=moment, has_texts=has_texts
    )


async def name_related(
    visitor: Visitor, post: Post, corrected_by: PostId | None = None
) -> Visitor:
    """Return the visitor with the titles of a post, of its original and of its correction."""
    others = [name for name in (post.follows, corrected_by) if name]
    visible = await visitor.find_visible(others) if others else ()
    titles = await visitor.site.store.queries.titles(visible) if visible else {}
    return replace(visitor, titles={post.id: post.title, **titles})


async def read_post_view(
    visitor: Visitor,
    post: PostId,
    named: str,
    *,
    moment: Moment | None = None,
    has_texts: bool = False,
) -> PostView:
    """Return a post with the named occurrence, else with the one that matters now.

    It is that of a moment, if that was read. Raises NoSuchItemError.
    """
    site, reach = visitor.site, visitor.reach(Permission.VIEW)
    progress = await read_progress(visitor, post)
    occurrences = progress.occurrences
    summary = choose_occurrence(occurrences, named, site.runtime.now())
    if named and summary is None:
        raise NoSuchItemError("post", f"{post}#{named}")
    key = (
        summary.key if summary else OccurrenceKey(post=post, occurrence=ONCE_OCCURRENCE)
    )
    # what was sent again is the same post to people
    is_whole = not named and key.occurrence == ONCE_OCCURRENCE
    filed = await site.store.progress.deliveries(
        post, None if is_whole else key.occurrence, has_texts=has_texts
    )
    filed = [item for item in filed if reach is None or item.delivery.account in reach]
    shown = keep_newest(filed) if is_whole else filed
    accounts = [item.delivery.account for item in shown] or [
        account
        for account in progress.details.post.accounts
        if reach is None or account in reach
    ]
    tasks, pauses = await read_rest(visitor, post, moment)
    unapproved = list_unapproved(tasks)
    tasks = [task for task in tasks if task.key == key]
    names = name_accounts(site.settings, visitor.messages)
    formatter = visitor.formatter
    lines = [
        describe_delivery(
            formatter, item, pauses, is_unapproved=item.delivery.key in unapproved
        )
        for item in shown
    ]
    return PostView(
        details=progress.details,
        named=named,
        key=key,
        names=names,
        summary=summary,
        occurrences=occurrences,
        lines=sorted(
            lines,
            key=lambda line: (line.glyph.rank, names.order(line.delivery.account)),
        ),
        accounts=accounts,
        maps=map_platforms(lines, names),
        tasks=tasks,
        unapproved=unapproved,
        approvals=await site.store.occurrences.given_approvals(key),
        pause=next((pause for pause in pauses if is_pause_of(pause, post)), None),
        pauses=pauses,
        newest=progress.newest,
        stops=progress.count_stops(),
        progress=progress,
        filed=filed,
        rewritten=await read_rewritten(visitor, post, filed),
        region=visitor.name_region(post),
        siblings=await find_siblings(visitor, post),
    )


async def find_siblings(visitor: Visitor, post: PostId) -> Sequence[PostId]:
    """Return the other members of a post's family that the visitor sees, by id."""
    if MEMBER_MARK not in post:
        return ()
    found = await visitor.site.store.queries.find_posts(find_family(post))
    others = {one for one in found if MEMBER_MARK in one} - {post}
    return sorted(await visitor.find_visible(others))


async def read_rewritten(
    visitor: Visitor, post: PostId, filed: Sequence[FiledDelivery]
) -> Mapping[AccountId, PostId]:
    """Return the copies of a post for accounts that refused it, as far as the visitor sees them."""
    if all(item.delivery.state is not State.FAILED for item in filed):
        return {}
    found = await visitor.site.store.progress.rewritten(post)
    return {
        account: copy for account, copy in found.items() if visitor.sees_any([account])
    }


async def read_progress(visitor: Visitor, post: PostId) -> PostProgress:
    """Return how far a post is. Raises NoSuchItemError, also for one the visitor does not see."""
    reach = visitor.reach(Permission.VIEW)
    progress = await visitor.site.store.progress.post(post, reach)
    if progress is None or not (reach is None or reach & progress.accounts):
        raise NoSuchItemError("post", post)
    return progress


async def read_rest(
    visitor: Visitor, post: PostId, moment: Moment | None
) -> tuple[Sequence[ApprovalTask], Sequence[Pause]]:
    """Return the occurrences of a post that people approve, and all pauses."""
    if moment is not None:
        return moment.waiting.tasks_of(post), moment.facts.pauses
    store = visitor.site.store
    tasks = await store.approvals.tasks(post) if store.approval_rules.is_active else ()
    return tasks, await store.queries.pauses()


def choose_occurrence(
    occurrences: Sequence[OccurrenceSummary], named: str, now: datetime
) -> OccurrenceSummary | None:
    """Return the occurrence of this name; without a name the newest due planned one, else the next.

    An occurrence that a person ordered has a fraction of a second in its name.
    """
    if named:
        return next(
            (item for item in occurrences if item.key.occurrence == named), None
        )
    planned = [
        item for item in occurrences if "." not in item.key.occurrence
    ] or occurrences
    due = [item for item in planned if item.due_at <= now]
    return due[0] if due else planned[-1] if planned else None


def keep_newest(filed: Sequence[FiledDelivery]) -> Sequence[FiledDelivery]:
    """Return the newest delivery of each account.

    A post that was sent again to an account has an earlier one, too.
    """
    newest: dict[AccountId, FiledDelivery] = {}
    for item in sorted(filed, key=lambda item: item.delivery.id):
        newest[item.delivery.account] = item
    return list(newest.values())


def map_platforms(
    lines: Sequence[DeliveryLine], names: AccountNames
) -> Sequence[SeatMap]:
    """Return a seat map for each platform that has deliveries."""
    glyphs: dict[Platform, dict[AccountId, Glyph]] = {}
    for line in lines:
        glyphs.setdefault(line.delivery.platform, {})[line.delivery.account] = (
            line.glyph
        )
    return [
        map_seats(platform, glyphs[platform], names)
        for platform in sorted(glyphs, key=names.platform_order)
    ]


def describe_delivery(
    formatter: Formatter,
    filed: FiledDelivery,
    pauses: Sequence[Pause],
    *,
    is_unapproved: bool = False,
) -> DeliveryLine:
    """Return a delivery as one line of a table.

    `is_unapproved`: it is not sent without another approval.
    """
    delivery, glyph = filed.delivery, filed.glyph
    messages, covering = formatter.messages, pauses_covering(pauses, delivery)
    if glyph is Glyph.ACTION and covering and delivery.state in WAITING_STATES:
        text = formatter.pause("pages_paused", covering[0])
    elif delivery.reason:
        text = formatter.reason(delivery.reason)
    elif glyph is Glyph.ACTION and delivery.manual_task is not None:
        text = messages.translate(
            "pages_task_open", at=formatter.time(delivery.manual_task.assigned_at)
        )
    elif delivery.state is State.PUBLISHED and delivery.receipt is not None:
        text = (
            messages.translate(
                "manually_confirmed"
                if delivery.receipt.is_manually_confirmed
                else "is_verified"
            )
            if delivery.verified_at or delivery.receipt.is_manually_confirmed
            else ""
        )
    else:
        code = manual_task_code(delivery) or f"state_{delivery.state}"
        if is_unapproved and delivery.state is State.PENDING:
            code = PENDING_UNAPPROVED
        text = messages.hint(code, **message_args(delivery, formatter))
    is_open = delivery.state in OPEN_STATES
    return DeliveryLine(
        delivery=delivery,
        glyph=glyph,
        state=formatter.status(delivery),
        text=text,
        until=delivery.expires_at if is_open else None,
    )
