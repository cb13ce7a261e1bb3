"""Posts as pages list them: each occurrence with its delivery counts by platform and sign."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Select,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)

from publisher.domain.account import AccountId, LoginId, Platform
from publisher.domain.approval import AWAITING_APPROVAL, LAST_REMINDER_LEAD
from publisher.domain.delivery import (
    OPEN_STATES,
    WAITING_STATES,
    Delivery,
    Readback,
    State,
)
from publisher.domain.glyph import GLYPHS, Glyph, choose_glyph, worst_glyph
from publisher.domain.post import (
    MEMBER_MARK,
    ONCE_OCCURRENCE,
    DeliveryId,
    FiledTexts,
    OccurrenceKey,
    Post,
    PostId,
    RenderedPost,
    find_family,
    is_same_in_any_form,
    normalize,
)
from publisher.store.approvals.guard import APPROVAL_ALERTS
from publisher.store.base import StorePart
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.approval_tables import APPROVAL
from publisher.store.db.filters import (
    in_open_state,
    in_state,
    is_in_force,
    is_named,
    is_paused,
)
from publisher.store.db.monitor_tables import OBSERVED_POST
from publisher.store.db.tables import (
    DELIVERY,
    MEDIA,
    POST,
    READBACK,
    RENDERED_POST,
    load_post,
    load_rendered_post,
    read_deliveries,
    to_delivery,
    to_readback,
)
from publisher.store.queries.known_posts import FILED_TEXTS_QUERY, group_filed_texts

PAGE_SIZE = 50
MAX_FOREIGN_POSTS = 500
"""Posts of others on a page."""
MAX_ACCOUNTS_PER_PAGE = 20_000
"""The maximum number of deliveries read for one page of the list, newest first.

The cost of a page must not grow for years.
"""
MAX_KEYS_PER_PAGE = 5_000
"""The most occurrences read for one page of the list: members of families."""
MARKER_LENGTH = 8
_APPROVAL_COLUMNS = (
    "stage", "person", "at", "fingerprint", "is_emergency", "ended_at", "ended_by", "ended_reason",
)  # fmt: skip
_OPEN_TASK = '"done_at":null'
"""Found in the stored ticket of a manual task that nobody has reported done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OccurrenceSummary:
    """One occurrence of a post, with the number of its deliveries by sign and platform."""

    key: OccurrenceKey
    title: str
    kind: str
    level: str | None
    author: str
    due_at: datetime
    expires_at: datetime
    is_urgent: bool
    is_repeating: bool
    follows: PostId | None
    counts: Mapping[Platform, Mapping[Glyph, int]]
    members: Sequence["OccurrenceSummary"] = ()
    """Of a family: its occurrences at one instant, one for each region."""

    @property
    def name(self) -> str:
        """The id of the post, or the name of the family."""
        return find_family(self.key.post) if self.members else self.key.post

    @property
    def regions(self) -> Mapping[Glyph, int]:
        """The number of members by their worst sign, the worst first."""
        found = Counter(member.glyph for member in self.members)
        return {glyph: found[glyph] for glyph in Glyph if found[glyph]}

    @property
    def total(self) -> int:
        """The number of accounts."""
        return sum(sum(numbers.values()) for numbers in self.counts.values())

    @property
    def by_glyph(self) -> Mapping[Glyph, int]:
        """The number of accounts by sign, the worst first."""
        whole = sum(
            (Counter(numbers) for numbers in self.counts.values()), Counter[Glyph]()
        )
        return {glyph: whole[glyph] for glyph in Glyph if whole[glyph]}

    @property
    def glyph(self) -> Glyph:
        """The worst sign of any account."""
        return worst_glyph(self.by_glyph)


@dataclass(frozen=True, slots=True, kw_only=True)
class OccurrenceFilter:
    """The filter of listed occurrences. `text` is in a post's id or words."""

    text: str = ""
    spelt: Collection[PostId] = ()
    """More posts that count as having the text: it spells their titles."""
    family: str = ""
    """The name of a family, or of a post that was none before."""
    kind: str = ""
    level: str = ""
    glyph: Glyph | None = None
    before: datetime | None = None
    accounts: Collection[AccountId] | None = None
    """The accounts that count; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPostDetails:
    """A post as it is in force, its saver, and its presence in the schedule."""

    post: Post
    saved_by: str | None
    file_owner: str | None
    is_scheduled: bool
    is_cancelled: bool
    corrected_by: PostId | None = None

    @property
    def is_in_force(self) -> bool:
        """True if the schedule has the post, and people have neither cancelled nor corrected it."""
        return self.is_scheduled and not self.is_cancelled and self.corrected_by is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedPost:
    """A post that another one follows (`is_original`), or that follows it."""

    post: Post
    is_original: bool
    is_in_force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenApproval:
    """A person's approval of an occurrence, and the person or cause that ended it, if any."""

    stage: str
    person: str
    at: datetime
    fingerprint: str
    is_emergency: bool
    ended_at: datetime | None
    ended_by: str | None
    ended_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCounts:
    """The open deliveries of an account, and when the next one is due."""

    is_open: int = 0
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCounts:
    """How many deliveries of a post are published, may be, and are not sent yet."""

    published: int
    doubtful: int
    unsent: int
    taken_down: int
    """Deleted by people or being deleted, on all accounts of the post."""

    @property
    def maybe_published(self) -> int:
        """The number that a retraction deletes, or has to look for."""
        return self.published + self.doubtful


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPost:
    """A post on an account that is none of ours."""

    account: AccountId
    url: str
    published_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Several deliveries of one login at one instant: they can only leave after each other."""

    due_at: datetime
    logins: int
    number: int


class OccurrenceQueries(StorePart):
    """Grouped queries for pages: a few statements each, however many accounts there are."""

    async def find(
        self, wanted: OccurrenceFilter, limit: int = PAGE_SIZE
    ) -> Sequence[OccurrenceSummary]:
        """Return occurrences, latest due first."""
        return await self.database.read(self._find, wanted, limit)

    async def find_families(
        self, wanted: OccurrenceFilter, limit: int = PAGE_SIZE
    ) -> Sequence[OccurrenceSummary]:
        """Return occurrences as `find` does; those of a family at one instant count as one."""

        def read(connection: Connection) -> list[OccurrenceSummary]:
            rows = connection.execute(self._newest_keys(wanted, MAX_KEYS_PER_PAGE))
            families: dict[tuple[str, str], int] = defaultdict(int)
            for row in rows:
                name = (find_family(row.post), row.occurrence)
                if len(families) == limit and name not in families:
                    break
                families[name] += 1
            return join_families(self._find(connection, wanted, sum(families.values())))

        return await self.database.read(read)

    def _find(
        self, connection: Connection, wanted: OccurrenceFilter, limit: int
    ) -> list[OccurrenceSummary]:
        keys = self._newest_keys(wanted, limit)
        return self._summaries(connection, keys.subquery(), wanted.accounts)

    def _newest_keys(self, wanted: OccurrenceFilter, limit: int) -> Select[Any]:
        newest = (
            select(DELIVERY.c.post, DELIVERY.c.occurrence, DELIVERY.c.due_at)
            .where(*list_conditions(wanted, self.runtime.now()))
            .order_by(DELIVERY.c.due_at.desc())
            .limit(MAX_ACCOUNTS_PER_PAGE)
            .subquery()
        )
        return (
            select(newest.c.post, newest.c.occurrence)
            .group_by(newest.c.post, newest.c.occurrence)
            .order_by(func.max(newest.c.due_at).desc(), newest.c.post)
            .limit(limit)
        )

    async def between(
        self,
        start: datetime,
        end: datetime,
        accounts: Collection[AccountId] | None = None,
        posts: Collection[PostId] | None = None,
    ) -> Sequence[OccurrenceSummary]:
        """Return the occurrences due from `start` until before `end`, latest first.

        If given, return only the occurrences of these posts, and only these accounts.
        """
        is_due = (
            DELIVERY.c.is_pruned.in_([False, True]),
            DELIVERY.c.due_at >= start,
            DELIVERY.c.due_at < end,
        )
        keys = select(DELIVERY.c.post, DELIVERY.c.occurrence).where(*is_due).distinct()
        if posts is not None:
            keys = keys.where(DELIVERY.c.post.in_(posts))

        def read(connection: Connection) -> list[OccurrenceSummary]:
            return self._summaries(connection, keys.subquery(), accounts)

        return await self.database.read(read)

    async def of_post(
        self,
        post: PostId,
        accounts: Collection[AccountId] | None = None,
        limit: int = PAGE_SIZE,
    ) -> Sequence[OccurrenceSummary]:
        """Return the occurrences of a post, latest due first; on these accounts, if given."""

        def read(connection: Connection) -> list[OccurrenceSummary]:
            keys = (
                select(DELIVERY.c.post, DELIVERY.c.occurrence)
                .where(DELIVERY.c.post == post)
                .group_by(DELIVERY.c.post, DELIVERY.c.occurrence)
                .order_by(func.max(DELIVERY.c.due_at).desc())
                .limit(limit)
            )
            return self._summaries(connection, keys.subquery(), accounts)

        return await self.database.read(read)

    def _summaries(
        self,
        connection: Connection,
        keys: FromClause,
        accounts: Collection[AccountId] | None,
    ) -> list[OccurrenceSummary]:
        """Return the summaries of the occurrences that a query names.

        If given, they are of these accounts. It takes two statements.
        """
        is_key = and_(
            DELIVERY.c.post == keys.c.post, DELIVERY.c.occurrence == keys.c.occurrence
        )
        groups: dict[OccurrenceKey, list[Row[Any]]] = defaultdict(list)
        counts = (
            count_by_state(self.runtime.now()).join(keys, is_key).where(is_on(accounts))
        )
        for row in connection.execute(counts):
            groups[
                OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence)
            ].append(row)
        posts = select(POST.c.id, POST.c.body).where(
            POST.c.id.in_(sorted({key.post for key in groups}))
        )
        bodies = {row.id: json.loads(row.body) for row in connection.execute(posts)}
        found = [summarize(key, bodies[key.post], rows) for key, rows in groups.items()]
        return sorted(found, key=lambda item: (item.due_at, item.key), reverse=True)

    async def post(self, post: PostId) -> StoredPostDetails | None:
        """Return a post as it is in force; None if it was never accepted."""
        query = select(POST).where(POST.c.id == post)
        row = await self.database.read(
            lambda connection: connection.execute(query).one_or_none()
        )
        if row is None:
            return None
        return StoredPostDetails(
            post=load_post(row.body),
            saved_by=row.saved_by,
            file_owner=row.file_owner,
            is_scheduled=row.is_scheduled,
            is_cancelled=row.is_cancelled,
            corrected_by=PostId(row.corrected_by) if row.corrected_by else None,
        )

    async def planned_posts(self, start: datetime, end: datetime) -> Sequence[Post]:
        """Return the scheduled posts that repeat, or are due in a time span's months.

        They may be filed or not.
        """
        days = [
            start - timedelta(days=1) + timedelta(days=number)
            for number in range((end - start).days + 3)
        ]
        months = sorted({f"{day:%Y-%m}" for day in days})
        marks = [*(f'"at":"{month}-' for month in months), '"text":']
        may_be_due = or_(*map(POST.c.body.contains, marks))
        query = select(POST.c.body).where(is_in_force(), may_be_due)
        bodies = await self.database.read_scalars(query)
        return [load_post(body) for body in bodies]

    async def related(
        self, post: Post, accounts: Collection[AccountId] | None = None
    ) -> Sequence[RelatedPost]:
        """Return the post that a post follows, and its followers; on these accounts, if given.

        Followers may name it by another id of its family.
        """
        prefix = f'"follows":{json.dumps(find_family(post.id))}'.removesuffix('"')
        follows = POST.c.body.contains(prefix, autoescape=True)
        is_filed = exists().where(DELIVERY.c.post == POST.c.id, is_on(accounts))
        query = (
            select(
                POST.c.body,
                is_filed.label("is_filed"),
                is_in_force().label("is_in_force"),
            )
            .where(or_(POST.c.id == post.follows, follows))
            .order_by(POST.c.id)
        )
        rows = await self.database.read_rows(query)
        found = []
        for row in rows:
            other = load_post(row.body)
            is_follower = is_same_in_any_form(other.follows or "", post.id)
            if not (is_follower or other.id == post.follows):
                continue
            if not (row.is_filed or accounts is None or is_for_any(other, accounts)):
                continue
            found.append(
                RelatedPost(
                    post=other,
                    is_original=other.id == post.follows,
                    is_in_force=row.is_in_force,
                )
            )
        return found

    async def deliveries(self, key: OccurrenceKey) -> Sequence[Delivery]:
        """Return the deliveries of an occurrence."""
        query = select(DELIVERY).where(
            DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence
        )
        return await self.database.read(read_deliveries, query)

    async def delivery(self, key: OccurrenceKey, account: AccountId) -> Delivery | None:
        """Return one delivery, if there is one."""
        names = (DELIVERY.c.post, DELIVERY.c.occurrence, DELIVERY.c.account)
        query = select(DELIVERY).where(
            tuple_(*names) == tuple_(key.post, key.occurrence, account)
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).mappings().one_or_none()
        )
        return to_delivery(row) if row else None

    async def renditions(self, key: OccurrenceKey) -> Sequence[RenderedPost]:
        """Return the final texts of an occurrence by account, as far as they are still kept."""
        query = (
            select(RENDERED_POST.c.body)
            .join(DELIVERY, DELIVERY.c.rendered_hash == RENDERED_POST.c.fingerprint)
            .where(DELIVERY.c.post == key.post, DELIVERY.c.occurrence == key.occurrence)
            .order_by(DELIVERY.c.account)
        )
        bodies = await self.database.read_scalars(query)
        return [load_rendered_post(body) for body in bodies]

    async def filed_texts(self) -> Sequence[FiledTexts]:
        """Return the texts of all occurrences that wait for calls, by due time."""
        rows = await self.database.read(
            lambda connection: connection.exec_driver_sql(FILED_TEXTS_QUERY).all()
        )
        return group_filed_texts(rows)

    async def rendition(self, fingerprint: str) -> RenderedPost | None:
        """Return the final text with this fingerprint, if it is still kept."""
        query = select(RENDERED_POST.c.body).where(
            RENDERED_POST.c.fingerprint == fingerprint
        )
        body = await self.database.read_scalar(query)
        return load_rendered_post(body) if body else None

    async def concerned(
        self, posts: Collection[PostId], accounts: Collection[AccountId] | None
    ) -> Collection[PostId]:
        """Return the posts that concern one of the accounts; see `find_concerned`."""
        return await self.database.read(find_concerned, posts, accounts)

    async def is_on_any(
        self, post: PostId, accounts: Collection[AccountId] | None
    ) -> bool:
        """Return True if a post concerns one of the accounts; for None always."""
        return bool(await self.concerned([post], accounts))

    async def given_approvals(self, key: OccurrenceKey) -> Sequence[GivenApproval]:
        """Return every approval of an occurrence, oldest first, including ended ones."""
        query = select(*(APPROVAL.c[name] for name in _APPROVAL_COLUMNS)).where(
            APPROVAL.c.post == key.post, APPROVAL.c.occurrence == key.occurrence
        )
        rows = await self.database.read(
            lambda connection: (
                connection.execute(query.order_by(APPROVAL.c.id)).mappings().all()
            )
        )
        return [GivenApproval(**row) for row in rows]

    async def media(self, sha256: str) -> tuple[str, bytes] | None:
        """Return the type and the bytes of a stored picture, if it is still kept."""
        query = select(MEDIA.c.media_type, MEDIA.c.data).where(MEDIA.c.sha256 == sha256)
        row = await self.database.read(
            lambda connection: connection.execute(query).one_or_none()
        )
        return (row.media_type, row.data) if row else None

    async def newest_readbacks(self, post: PostId) -> Mapping[DeliveryId, Readback]:
        """Return the newest readback of each delivery of a post that has any."""
        of_post = select(DELIVERY.c.id).where(DELIVERY.c.post == post)
        newest = (
            select(func.max(READBACK.c.id))
            .where(READBACK.c.delivery.in_(of_post))
            .group_by(READBACK.c.delivery)
        )
        query = select(READBACK).where(READBACK.c.id.in_(newest))
        rows = await self.database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return {DeliveryId(row["delivery"]): to_readback(row) for row in rows}

    async def find_marker(self, typed: str) -> tuple[OccurrenceKey, AccountId] | None:
        """Return the delivery with a bulletin number, typed in any way; None if there is none."""
        code = normalize(typed).upper()
        query = select(
            DELIVERY.c.post, DELIVERY.c.occurrence, DELIVERY.c.account
        ).where(
            DELIVERY.c.marker
            == f"{code[: MARKER_LENGTH // 2]}-{code[MARKER_LENGTH // 2 :]}"
        )
        row = await self.database.read(
            lambda connection: connection.execute(query).first()
        )
        return (
            (
                OccurrenceKey(post=PostId(row.post), occurrence=row.occurrence),
                AccountId(row.account),
            )
            if row
            else None
        )

    async def open_counts(self) -> Mapping[AccountId, OpenCounts]:
        """Return the work of each account."""
        waits = in_state(DELIVERY, *WAITING_STATES)
        due_at = case((waits, DELIVERY.c.due_at), else_=None)
        query = (
            select(
                DELIVERY.c.account,
                func.count().label("is_open"),
                func.min(due_at, type_=DELIVERY.c.due_at.type).label("next_due_at"),
            )
            .where(in_open_state(DELIVERY, *OPEN_STATES))
            .group_by(DELIVERY.c.account)
        )
        rows = await self.database.read_rows(query)
        return {
            row.account: OpenCounts(
                is_open=row.is_open,
                next_due_at=row.next_due_at,
            )
            for row in rows
        }

    async def foreign_posts(
        self, since: datetime, account: AccountId | None = None
    ) -> Sequence[ForeignPost]:
        """Return the newest posts that others have published on the accounts, newest first."""
        names = ("account", "url", "published_at", "seen_at")
        query = select(*(OBSERVED_POST.c[name] for name in names)).where(
            OBSERVED_POST.c.published_at >= since, ~OBSERVED_POST.c.predates_monitoring
        )
        if account is not None:
            query = query.where(OBSERVED_POST.c.account == account)
        query = query.order_by(OBSERVED_POST.c.published_at.desc()).limit(
            MAX_FOREIGN_POSTS
        )
        rows = await self.database.read(
            lambda connection: connection.execute(query).mappings().all()
        )
        return [ForeignPost(**row) for row in rows]

    async def clashes(
        self,
        start: datetime,
        end: datetime,
        accounts: Collection[AccountId] | None = None,
        logins: Collection[LoginId] | None = None,
    ) -> Sequence[Clash]:
        """Return the instants at which logins have several unsent deliveries, earliest first.

        The deliveries are still to be sent. If accounts are given, only their deliveries count. If
        logins are given, only these are considered.
        """
        crowded = (
            select(DELIVERY.c.login, DELIVERY.c.due_at, func.count().label("number"))
            .where(
                in_state(DELIVERY, *WAITING_STATES),
                DELIVERY.c.due_at >= start,
                DELIVERY.c.due_at < end,
            )
            .where(is_on(accounts), is_by(logins))
            .group_by(DELIVERY.c.login, DELIVERY.c.due_at)
            .having(func.count() > 1)
            .subquery()
        )
        query = (
            select(
                crowded.c.due_at,
                func.count().label("logins"),
                func.max(crowded.c.number).label("number"),
            )
            .group_by(crowded.c.due_at)
            .order_by(crowded.c.due_at)
        )
        rows = await self.database.read_rows(query)
        return [
            Clash(due_at=row.due_at, logins=row.logins, number=row.number)
            for row in rows
        ]

    async def busiest_logins(
        self,
        start: datetime,
        end: datetime,
        accounts: Collection[AccountId] | None = None,
        logins: Collection[LoginId] | None = None,
    ) -> Mapping[Platform, tuple[LoginId, int]]:
        """Return for each platform the login with the most posts due in a time span.

        Their number is returned too. If accounts are given, only their posts count. If logins are
        given, only these are considered.
        """
        unsent = (
            DELIVERY.c.state != State.CANCELLED.value,
            DELIVERY.c.due_at >= start,
            DELIVERY.c.due_at < end,
        )
        query = (
            select(DELIVERY.c.platform, DELIVERY.c.login, func.count().label("number"))
            .where(
                DELIVERY.c.is_pruned.in_([False, True]),
                *unsent,
                is_on(accounts),
                is_by(logins),
            )
            .group_by(DELIVERY.c.platform, DELIVERY.c.login)
            .order_by(func.count(), DELIVERY.c.login.desc())
        )
        rows = await self.database.read_rows(query)
        return {
            Platform(row.platform): (LoginId(row.login), row.number) for row in rows
        }


def is_on(accounts: Collection[AccountId] | None) -> ColumnElement[bool]:
    """True if a delivery is on one of the accounts; for None always."""
    return true() if accounts is None else DELIVERY.c.account.in_(accounts)


def is_by(logins: Collection[LoginId] | None) -> ColumnElement[bool]:
    """True if a delivery is sent by one of the logins; for None always."""
    return true() if logins is None else DELIVERY.c.login.in_(logins)


def is_for_any(post: Post, accounts: Collection[AccountId]) -> bool:
    """True if a post is for one of the accounts."""
    return not set(accounts).isdisjoint(post.accounts)


def find_concerned(
    connection: Connection,
    posts: Collection[PostId],
    accounts: Collection[AccountId] | None,
) -> Collection[PostId]:
    """Return the posts that are for one of the accounts, or have or had a delivery there.

    For None, return all of them.
    """
    if accounts is None:
        return frozenset(posts)
    filed = (
        select(DELIVERY.c.post)
        .where(DELIVERY.c.post.in_(posts), is_on(accounts))
        .distinct()
    )
    rows = connection.execute(
        select(POST.c.id, POST.c.body).where(POST.c.id.in_(posts))
    )
    planned = [
        row.id
        for row in rows
        if not set(accounts).isdisjoint(load_post(row.body).accounts)
    ]
    return frozenset([*connection.scalars(filed), *planned])


def list_conditions(
    wanted: OccurrenceFilter, now: datetime
) -> list[ColumnElement[bool]]:
    """Return the conditions on deliveries of a filter."""
    conditions: list[ColumnElement[bool]] = [is_on(wanted.accounts)]
    if wanted.before is not None:
        conditions.append(DELIVERY.c.due_at < wanted.before)
    if wanted.family:
        conditions.append(is_named(DELIVERY.c.post, wanted.family))
    if wanted.kind:
        conditions.append(DELIVERY.c.kind == wanted.kind)
    if wanted.level:
        is_of_level = POST.c.body.contains(
            f'"level":{json.dumps(wanted.level)}', autoescape=True
        )
        conditions.append(DELIVERY.c.post.in_(select(POST.c.id).where(is_of_level)))
    if wanted.text:
        words = or_(
            *(
                column.icontains(wanted.text, autoescape=True)
                for column in (POST.c.id, POST.c.body)
            ),
            POST.c.id.in_(wanted.spelt),
        )
        conditions.append(DELIVERY.c.post.in_(select(POST.c.id).where(words)))
    if wanted.glyph is Glyph.ACTION:
        conditions += [in_open_state(DELIVERY, *OPEN_STATES), needs_person(now)]
    elif wanted.glyph is not None:
        conditions.append(
            in_state(
                DELIVERY, *(state for state in State if GLYPHS[state] is wanted.glyph)
            )
        )
    return conditions


def needs_person(now: datetime) -> ColumnElement[bool]:
    """True if a person has to act on a delivery: the one meaning of Glyph.ACTION on all pages.

    It is held, or a manual task is open, or it is due while a pause covers it. A missing approval
    counts LAST_REMINDER_LEAD before the time: until then an approver has time.
    """
    at = literal(now, DELIVERY.c.due_at.type)
    name = case(
        (DELIVERY.c.occurrence == ONCE_OCCURRENCE, DELIVERY.c.post),
        else_=DELIVERY.c.post.concat("#").concat(DELIVERY.c.occurrence),
    )
    is_unapproved = or_(
        DELIVERY.c.reason == AWAITING_APPROVAL,
        exists().where(
            ALERT.c.subject == name,
            ALERT.c.code.in_(APPROVAL_ALERTS),
            ALERT.c.cleared_at.is_(None),
        ),
    )
    soon = literal(now + LAST_REMINDER_LEAD, DELIVERY.c.due_at.type)
    is_soon = DELIVERY.c.due_at <= soon
    return case(  # no subquery is run for what is not due soon
        (in_state(DELIVERY, State.HELD), true()),
        (
            in_state(DELIVERY, State.SUBMITTED),
            func.coalesce(DELIVERY.c.ticket, "").contains(_OPEN_TASK),
        ),
        (
            and_(in_state(DELIVERY, *WAITING_STATES), is_soon),
            or_(
                func.coalesce(is_unapproved, false()),
                and_(DELIVERY.c.due_at <= at, is_paused(DELIVERY)),
            ),
        ),
        else_=false(),
    )


def count_by_state(now: datetime) -> Select[Any]:
    """Return the query of delivery counts by occurrence, platform, state, and need of a person."""
    is_action = needs_person(now).label("is_action")
    by = (
        DELIVERY.c.post,
        DELIVERY.c.occurrence,
        DELIVERY.c.platform,
        DELIVERY.c.state,
        is_action,
    )
    return select(
        *by,
        func.count().label("number"),
        func.min(DELIVERY.c.due_at, type_=DELIVERY.c.due_at.type).label("due_at"),
        func.max(DELIVERY.c.expires_at, type_=DELIVERY.c.expires_at.type).label(
            "expires_at"
        ),
        func.max(cast(DELIVERY.c.is_urgent, Integer)).label("is_urgent"),
        func.max(DELIVERY.c.follows).label("follows"),
    ).group_by(*by)


def sign_of(row: Row[Any]) -> Glyph:
    """Return the sign of a group of `count_by_state`."""
    state = (
        State(row.state) if row.state in frozenset(State) else State.HELD
    )  # of a newer release
    return choose_glyph(state, needs_person=bool(row.is_action))


def summarize(
    key: OccurrenceKey, body: Mapping[str, Any], rows: Iterable[Row[Any]]
) -> OccurrenceSummary:
    counts: dict[Platform, Counter[Glyph]] = defaultdict(Counter)
    found = list(rows)
    for row in found:
        counts[Platform(row.platform)][sign_of(row)] += row.number
    return OccurrenceSummary(
        key=key,
        title=body["title"],
        kind=body["kind"],
        level=body["level"],
        author=body["author"],
        due_at=min(row.due_at for row in found),
        expires_at=max(row.expires_at for row in found),
        is_urgent=any(row.is_urgent for row in found),
        is_repeating="text" in body["trigger"],
        follows=PostId(found[0].follows) if found[0].follows else None,
        counts={platform: counts[platform] for platform in sorted(counts)},
    )


def group_families(
    summaries: Iterable[OccurrenceSummary],
) -> Sequence[Sequence[OccurrenceSummary]]:
    """Return occurrences in groups: the members of a family at one instant, or one alone."""
    groups: dict[tuple[str, str], list[OccurrenceSummary]] = defaultdict(list)
    for summary in summaries:
        key = summary.key
        name = find_family(key.post) if MEMBER_MARK in key.post else f"={key.post}"
        groups[name, key.occurrence].append(summary)
    return list(groups.values())


def join_families(summaries: Iterable[OccurrenceSummary]) -> list[OccurrenceSummary]:
    """Return occurrences with one for the members of a family at one instant."""
    return [join_members(group) for group in group_families(summaries)]


def join_members(members: Sequence[OccurrenceSummary]) -> OccurrenceSummary:
    """Return the occurrence of a family, with the deliveries of all members; of one, itself."""
    if len(members) == 1:
        return members[0]
    counts: dict[Platform, Counter[Glyph]] = defaultdict(Counter)
    for member in members:
        for platform, numbers in member.counts.items():
            counts[platform].update(numbers)
    first = min(members, key=lambda member: member.key)
    return replace(
        first,
        due_at=min(member.due_at for member in members),
        expires_at=max(member.expires_at for member in members),
        is_urgent=any(member.is_urgent for member in members),
        counts={platform: counts[platform] for platform in sorted(counts)},
        members=sorted(members, key=lambda member: member.key),
    )
