"""The Today page: one sentence on the state of all, the next posts, and each post's progress."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import quote, urlencode

from publisher.config import Environment
from publisher.domain.account import AccountId, Platform
from publisher.domain.glyph import Glyph
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.user import Permission
from publisher.store.approvals.guard import name_occurrence
from publisher.store.queries.dashboard import BoardRow, FrameFacts
from publisher.store.queries.occurrences import (
    OccurrenceSummary,
    group_families,
    join_families,
    join_members,
)
from publisher.web.kit.frame import Moment
from publisher.web.kit.live_parts import item_id, stream_path, unlisted_id
from publisher.web.kit.seats import AccountNames, SeatMap, map_seats, name_accounts
from publisher.web.kit.site import Site, Visitor
from publisher.web.kit.todo import MAX_SHOWN, TodoItem, TodoKind, list_missing

SOON = timedelta(minutes=30)
"""A person's item that is due within this time makes the verdict red."""
FOLDED_AFTER = timedelta(hours=1)
"""How long after its time a post that needs nothing more stands among the others."""
OPEN_GLYPHS = frozenset({Glyph.ACTION, Glyph.CHECKING, Glyph.SENDING, Glyph.WAITING})
TABS = ("all", "eventful", "finished")
EVENTFUL_GLYPHS = frozenset({Glyph.ACTION, Glyph.FAILED})
MAX_NEXT = 6
MAX_LISTED = 6
"""So many things to do stand on Today; the inbox has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first sentence: its tone, the sentence, and a line of counts."""

    tone: str
    icon: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TodayRow:
    """A post of the day. `element` is the id by which a live page finds its row.

    `missing` are the stages that it lacks.
    """

    element: str
    path: str
    summary: OccurrenceSummary
    day: date
    """The day of its due time."""
    maps: Sequence[SeatMap]
    sentence: str
    missing: TodoItem | None = None
    is_approved: bool = False

    @property
    def coming_element(self) -> str:
        """The id of its line among the coming posts, where it stands under its day."""
        key = self.summary.key
        return item_id("coming", key.post, key.occurrence, self.day.isoformat())

    @property
    def is_over(self) -> bool:
        """True if it is not to be sent any more."""
        return self.summary.glyph is Glyph.ENDED

    @property
    def is_folded(self) -> bool:
        """True if the row is finished. The page folds finished rows with a time long past."""
        return not OPEN_GLYPHS.union(EVENTFUL_GLYPHS).intersection(
            self.summary.by_glyph
        )

    @property
    def is_pressing(self) -> bool:
        """True if the row is urgent and not finished, or was released without its approvals."""
        is_urgent = self.summary.is_urgent and not self.is_folded
        return is_urgent or (self.missing is not None and self.missing.is_review)

    def is_under(self, tab: str) -> bool:
        """Return True if the row is listed under a tab."""
        if tab == "finished":
            return self.is_folded
        return tab != "eventful" or not EVENTFUL_GLYPHS.isdisjoint(
            self.summary.by_glyph
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """One day, as one visitor sees it."""

    day: date
    is_today: bool
    verdict: Verdict
    mine: Sequence[TodoItem]
    others: Sequence[TodoItem]
    coming: Sequence[tuple[datetime, Sequence[TodayRow]]]
    """The posts due from now until the end of tomorrow, by day."""
    rows: Sequence[TodayRow]
    folded: Sequence[TodayRow]
    tabs: Mapping[str, int]
    next_post: OccurrenceSummary | None
    feeds: str
    """Where the posts of a drill can be read; empty where there is no simulator."""
    stream: str
    """The address of the changes while the page is open."""

    @property
    def is_folded_verified(self) -> bool:
        """True if all that is folded away is published, so that nothing in it was given up."""
        return all(
            row.summary.by_glyph.keys() == {Glyph.PUBLISHED} for row in self.folded
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The sources of rows besides the database: names, missing approvals, and the language."""

    visitor: Visitor
    names: AccountNames
    missing: Mapping[str, TodoItem]
    """The stages that an occurrence lacks, by its name."""

    def make_row(self, row: BoardRow) -> TodayRow:
        """Return the row of a post with its maps."""
        ordered = sorted(row.seats, key=self._order)
        maps = [
            map_seats(platform, row.seats[platform], self.names) for platform in ordered
        ]
        return self._make(row.summary, maps, self.describe(row))

    def make_line(self, summary: OccurrenceSummary) -> TodayRow:
        """Return a post that is still to come, without maps."""
        return self._make(summary, (), "")

    def find_missing(self, summary: OccurrenceSummary) -> TodoItem | None:
        """Return the approvals that an occurrence lacks, or a member of a family."""
        found = (
            self.missing.get(name_occurrence(one.key))
            for one in summary.members or (summary,)
        )
        return next(filter(None, found), None)

    def _make(
        self, summary: OccurrenceSummary, maps: Sequence[SeatMap], sentence: str
    ) -> TodayRow:
        missing = self.find_missing(summary)
        rules = self.visitor.site.settings.approval_rules
        return TodayRow(
            element=row_element(summary.key),
            path=post_path(summary),
            summary=summary,
            day=summary.due_at.astimezone(self.visitor.site.settings.timezone).date(),
            maps=maps,
            sentence=sentence,
            missing=missing,
            is_approved=bool(rules.chain_for(summary.kind)) and not missing,
        )

    def _order(self, platform: Platform) -> tuple[int, str]:
        known = self.names.platforms
        return (known.index(platform) if platform in known else len(known)), platform

    def describe(self, row: BoardRow) -> str:
        """Return the next step of a post, in one or two sentences."""
        translate, counts = self.visitor.messages.translate, row.summary.by_glyph
        said = []
        missing = self.find_missing(row.summary)
        if missing:
            code = "web_next_review" if missing.is_review else "web_next_unapproved"
            said.append(translate(code, stages=missing.text))
        elif counts.get(Glyph.ACTION):
            said.append(translate("web_next_action", number=counts[Glyph.ACTION]))
        if counts.get(Glyph.CHECKING):
            at = row.next_check_at
            code = "web_next_checking_at" if at else "web_next_checking"
            shown = self.visitor.clock.when(at) if at else ""
            said.append(translate(code, number=counts[Glyph.CHECKING], at=shown))
        if counts.get(Glyph.SENDING):
            said.append(translate("web_next_sending", number=counts[Glyph.SENDING]))
        if counts.get(Glyph.FAILED):
            said.append(translate("web_next_failed", number=counts[Glyph.FAILED]))
        if not said and counts.keys() == {Glyph.PUBLISHED}:
            said.append(translate("web_next_done"))
        return translate("sentence_break").join(said)


def row_element(key: OccurrenceKey) -> str:
    """Return the id of the row of an occurrence in the page."""
    return item_id("row", key.post, key.occurrence)


def post_path(summary: OccurrenceSummary) -> str:
    """Return the address of an occurrence's page."""
    if summary.members:
        return f"/posts?{urlencode({'family': summary.name})}"
    path = f"/posts/{quote(summary.key.post, safe='')}"
    return (
        f"{path}/{quote(summary.key.occurrence, safe='')}"
        if summary.is_repeating
        else path
    )


def day_bounds(site: Site, day: date) -> tuple[datetime, datetime]:
    """Return when a day begins and ends in the workspace's time zone."""
    zone = site.settings.timezone
    return datetime.combine(day, time(), zone), datetime.combine(
        day + timedelta(days=1), time(), zone
    )


async def read_board(
    visitor: Visitor,
    day: date,
    missing: Mapping[str, TodoItem],
    posts: Collection[PostId] | None = None,
) -> Sequence[TodayRow]:
    """Return the rows of a day, or of some posts, by their time."""
    start, end = day_bounds(visitor.site, day)
    if posts is not None:
        posts = await visitor.site.store.queries.with_members(posts)
    found = await visitor.site.store.dashboard.board(
        start, end, visitor.reach(Permission.VIEW), posts
    )
    board = make_board(visitor, missing)
    return [board.make_row(row) for row in join_rows(found)]


def join_rows(rows: Sequence[BoardRow]) -> Sequence[BoardRow]:
    """Return rows with one for the members of a family, with the accounts of all."""
    by_key = {row.summary.key: row for row in rows}
    joined = []
    for group in group_families(row.summary for row in rows):
        members = [by_key[summary.key] for summary in group]
        seats: dict[Platform, dict[AccountId, Glyph]] = {}
        for member in members:
            for platform, glyphs in member.seats.items():
                seats.setdefault(platform, {}).update(glyphs)
        checks = [member.next_check_at for member in members]
        joined.append(
            BoardRow(
                summary=join_members(group),
                seats=seats,
                next_check_at=min(filter(None, checks), default=None),
            )
        )
    return joined


def make_board(visitor: Visitor, missing: Mapping[str, TodoItem]) -> Board:
    names = name_accounts(visitor.site.settings, visitor.messages)
    return Board(visitor=visitor, names=names, missing=missing)


async def read_today(visitor: Visitor, moment: Moment, day: date, tab: str) -> Today:
    """Return a visitor's view of a day."""
    site = visitor.site
    now = site.runtime.now().astimezone(site.settings.timezone)
    is_today = day == now.date()
    items, facts = moment.todo, moment.facts
    missing = list_missing(items)
    rows = await read_board(visitor, day, missing)
    coming = await read_coming(visitor) if is_today else ()
    mine = [item for item in items if item.is_mine]
    others = [item for item in items if not item.is_mine]
    shown = [row for row in rows if row.is_under(tab)]
    folded = [
        row
        for row in shown
        if tab == "all"
        and row.is_folded
        and not row.is_pressing
        and row.summary.due_at < now - FOLDED_AFTER
    ]
    board = make_board(visitor, missing)
    lines = [board.make_line(summary) for summary in coming]
    by_day: dict[date, list[TodayRow]] = {}
    for line in lines[:MAX_NEXT]:
        by_day.setdefault(line.day, []).append(line)
    return Today(
        day=day,
        is_today=is_today,
        verdict=decide_verdict(
            visitor, facts, rows, mine, others, coming[0] if coming else None
        ),
        mine=mine,
        others=others,
        coming=[(day_bounds(site, each)[0], lines) for each, lines in by_day.items()],
        rows=sorted(
            [
                row
                for row in shown
                if row.element not in {row.element for row in folded}
            ],
            key=lambda row: (
                not row.is_pressing,
                row.summary.glyph.rank,
                abs(row.summary.due_at - now),
            ),
        ),
        folded=folded,
        tabs=count_tabs(rows),
        next_post=coming[0] if coming else None,
        feeds=find_feeds(site),
        stream=stream_path(
            "today",
            [
                *(row.element for row in shown),
                *(item.element for item in [*mine[:MAX_LISTED], *others[:MAX_SHOWN]]),
                *(unlisted_id(item.element) for item in mine[MAX_LISTED:MAX_SHOWN]),
                *(line.coming_element for line in lines[:MAX_NEXT]),
                *(
                    unlisted_id(line.coming_element)
                    for line in lines[MAX_NEXT:]
                    if line.day > day
                ),
            ],
            day=day.isoformat(),
            tab=tab,
            **({"is_today": "1"} if is_today else {}),
        ),
    )


def count_tabs(rows: Sequence[TodayRow]) -> Mapping[str, int]:
    """Return how many rows are listed under each tab."""
    return {name: sum(row.is_under(name) for row in rows) for name in TABS}


async def read_coming(visitor: Visitor) -> Sequence[OccurrenceSummary]:
    """Return the posts to send from now until the end of tomorrow, by their time."""
    site, now = visitor.site, visitor.site.runtime.now()
    today = now.astimezone(site.settings.timezone).date()
    _start, end = day_bounds(site, today + timedelta(days=1))
    found = await site.store.occurrences.between(
        now, end, visitor.reach(Permission.VIEW)
    )
    return sorted(
        (item for item in join_families(found) if item.glyph is not Glyph.ENDED),
        key=lambda item: (item.due_at, item.key),
    )


STUCK_KINDS = frozenset({TodoKind.RESOLVE, TodoKind.ACCOUNT})
"""What is not on its way until a person has decided: nothing is fine meanwhile."""


def decide_verdict(  # noqa: PLR0913, PLR0917 # everything that decides
    visitor: Visitor,
    facts: FrameFacts,
    rows: Sequence[TodayRow],
    mine: Sequence[TodoItem],
    others: Sequence[TodoItem],
    following: OccurrenceSummary | None,
) -> Verdict:
    """Return the first sentence of Today, the gravest that is true."""
    translate, now = visitor.messages.translate, visitor.site.runtime.now()
    daemon = facts.daemon
    text = count_line(visitor, rows, following)
    if not daemon.is_running:
        title = translate("web_verdict_stopped", number=daemon.waiting)
        return Verdict(tone="danger", icon="siren", title=title, text=text)
    if facts.pause is not None:
        title = translate("web_verdict_paused", number=daemon.waiting)
        return Verdict(tone="danger", icon="circle-pause", title=title, text=text)
    if mine:
        first = min(
            (item.until for item in mine if item.until is not None), default=None
        )
        is_soon = first is not None and first - now <= SOON
        due = (
            visitor.clock.when(first)
            if first and first - now < timedelta(hours=24)
            else ""
        )
        title = translate(
            "web_verdict_mine_by" if due else "web_verdict_mine",
            number=len(mine),
            due=due,
        )
        return Verdict(
            tone="danger" if is_soon else "warn", icon="bell", title=title, text=text
        )
    if failed := [item for item in others if item.kind is TodoKind.FAILED]:
        number = sum(item.number for item in failed)
        title = translate("web_verdict_failed", number=number)
        return Verdict(tone="warn", icon="circle-alert", title=title, text=text)
    stuck = [item for item in others if item.kind in STUCK_KINDS]
    if stuck or (others and needs_a_person(rows, others)):
        code = "web_verdict_stuck" if stuck else "web_verdict_others"
        title = translate(code, number=len(stuck or others))
        return Verdict(tone="warn", icon="circle-alert", title=title, text=text)
    code = "web_verdict_others" if others else "web_verdict_calm"
    return Verdict(
        tone="fine", icon="check", title=translate(code, number=len(others)), text=text
    )


def needs_a_person(rows: Sequence[TodayRow], others: Sequence[TodoItem]) -> bool:
    """True if a post of the day has the sign of it, or one that was released lacks its approvals."""
    return any(item.is_review for item in others) or any(
        row.summary.by_glyph.get(Glyph.ACTION) for row in rows
    )


def count_line(
    visitor: Visitor, rows: Sequence[TodayRow], following: OccurrenceSummary | None
) -> str:
    """Return the counts of the day in one line, and the next post."""
    translate, comma = (
        visitor.messages.translate,
        visitor.messages.translate("web_comma"),
    )
    counts: Counter[Glyph] = sum(
        (Counter(row.summary.by_glyph) for row in rows), Counter()
    )
    said = []
    if rows:
        parts = [
            translate(f"web_count_{glyph}", number=counts[glyph])
            for glyph in reversed(Glyph)
            if counts[glyph]
        ]
        said.append(
            translate(
                "web_counts",
                posts=len(rows),
                number=counts.total(),
                parts=comma.join(parts),
            )
        )
    if following is not None and not counts[Glyph.SENDING]:
        due = visitor.clock.when(following.due_at)
        said.append(
            translate(
                "web_following", due=due, title=following.title, number=following.total
            )
        )
    return " ".join(said)


def find_feeds(site: Site) -> str:
    """Return where the posts of a drill can be read, on the simulator."""
    if site.settings.environment is not Environment.DRILL:
        return ""
    addresses = [
        account.base_url
        for account in site.settings.accounts.values()
        if account.base_url
    ]
    return f"{addresses[0]}/_sim/" if addresses else ""
