"""What has been accepted: versions of the schedule, posts, and the deliveries filed for them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN, REVISABLE, Delivery, Desired, State
from publisher.domain.errors import RefusedError
from publisher.domain.events import PLANNER, Actor, Revised, Role, Withdrawn
from publisher.domain.outcome import CODES, NotSent
from publisher.domain.plan import Known, Plan
from publisher.domain.post import At, Post, PostId, name_at
from publisher.domain.rendition import Fingerprint, Rendition
from publisher.domain.terms import Terms
from publisher.store.books import Books
from publisher.store.engine import OvertakenError, Unit
from publisher.store.home import set_worker_state
from publisher.store.known import DROPPED, read_known, rows_of
from publisher.store.ledger import clear_alerts, entry, take_turn, tell, write_audit, write_entries
from publisher.store.lost_time import doubt_filed, is_new_doubted, trust_new
from publisher.store.portions import Draft, in_portions
from publisher.store.recovery import place, unplaced
from publisher.store.rows import (
    ALERT,
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MEDIA,
    POST,
    RENDITION,
    SCHEDULE,
    WORKER_STATE,
    read_post,
    to_delivery,
    write_post,
    write_rendition,
)
from publisher.store.tables import EPOCH

NEWEST = select(func.coalesce(func.max(SCHEDULE.c.id), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a person ordered, for the audit: it is written together with what comes of it."""

    event: str
    subject: str
    by: Actor
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """All that one planning round writes.

    `text` is the schedule's, when it is a new version; `posts` are its posts; `media` holds picture bytes with their
    type, by hash. `is_scheduled` is False for posts sent from outside the schedule. `based_on` is the version that
    the plan was made from, where it was made from one. `is_again`: people ordered these deliveries besides those of the
    plan, so nothing of their posts may be under way on their accounts.
    """

    plan: Plan
    drafts: Sequence[Draft] = ()
    posts: Sequence[Post] = ()
    media: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    text: str | None = None
    is_scheduled: bool = True
    based_on: int | None = None
    is_again: bool = False
    acts: Sequence[Act] = ()


Portions = Sequence[Sequence[Draft]]
_STARTED = (
    select(ATTEMPT.c.id)
    .join(DELIVERY, DELIVERY.c.id == ATTEMPT.c.delivery)
    .where(or_(ATTEMPT.c.outcome.is_(None), ATTEMPT.c.outcome != CODES[NotSent]))
    .limit(1)
)
"""Attempts whose creating call has begun, or may have."""


class Registry:
    """The accepted schedule, its posts, and their deliveries as first filed."""

    def __init__(self, books: Books) -> None:
        self.books = books

    async def version(self) -> int:
        """Give the number of the schedule in force, 0 before the first."""
        return await self.books.database.read(lambda connection: connection.scalar(NEWEST) or 0)

    async def basis(self) -> str | None:
        """Give by what the settings are known from which this worker last planned; None before the first time."""
        written = select(WORKER_STATE.c.config_hash).where(WORKER_STATE.c.worker == self.books.worker)
        return await self.books.database.read(lambda connection: connection.scalar(written))

    async def note_basis(self, basis: str) -> None:
        """Write down from which settings all was planned."""
        if await self.basis() == basis:
            return
        await self.books.database.write(
            lambda unit: set_worker_state(unit.connection, self.books.worker, config_hash=basis)
        )

    async def schedule_text(self) -> str | None:
        """Give the schedule in force, or None before the first."""
        newest = select(SCHEDULE.c.text).order_by(SCHEDULE.c.id.desc()).limit(1)
        text: str | None = await self.books.database.read(lambda connection: connection.scalar(newest))
        return text

    async def is_superseded(self, text: str) -> bool:
        """Whether this text was in force once, on books that several workers share, and another one is now.

        A worker that starts with such a file has an old copy; whoever means to go back changes the file.
        """
        digest = sha256(text.encode()).hexdigest()
        query = select(SCHEDULE.c.id).where(SCHEDULE.c.sha256 == digest).limit(1)
        database = self.books.database
        return database.is_shared and await database.read(lambda connection: connection.scalar(query)) is not None

    async def post(self, post: PostId) -> Post | None:
        """Give a post as last accepted."""
        query = select(POST.c.body).where(POST.c.id == post)
        body: str | None = await self.books.database.read(lambda connection: connection.scalar(query))
        return read_post(body) if body else None

    async def why_not_again(self, post: Post, account: AccountId) -> str | None:
        """Say what forbids a new occurrence: a withdrawal, a delivery under way, a one-off that is live or may be."""
        now = self.books.world.now()
        return await self.books.database.read(lambda connection: _why_not_again(connection, post, account, now))

    async def known(self, posts: Sequence[Post] = ()) -> Known:
        """Give what the database holds of the posts in the schedule in force and of `posts`, to compare with these."""
        now = self.books.world.now()
        return await self.books.database.read(lambda connection: read_known(connection, posts, now))

    async def post_ids(self) -> frozenset[PostId]:
        """Name each post ever accepted."""
        ids = await self.books.database.read(lambda connection: connection.scalars(select(POST.c.id)).all())
        return frozenset(map(PostId, ids))

    async def is_withdrawn(self, post: PostId) -> bool:
        """Whether people have withdrawn a post."""
        query = select(POST.c.id).where(POST.c.id == post, POST.c.is_withdrawn)
        return await self.books.database.read(lambda connection: connection.scalar(query)) is not None

    async def accept(self, acceptance: Acceptance, by: Actor = PLANNER) -> int:
        """Write a planning round. Returns how many deliveries are new. Doing it twice changes nothing.

        What was planned from a version of the schedule is written in portions, of which the first holds all but new
        occurrences: others get their turn in between. Filing ends when a newer version comes into force meanwhile.

        Raises OvertakenError when another version of the schedule came into force since the plan was made, and
        RefusedError when somebody else has ordered the same new occurrence meanwhile.
        """
        portions = in_portions(acceptance.drafts) if acceptance.based_on is not None else [acceptance.drafts]
        write = self.books.database.write
        filed, version, portions = await write(partial(self._accept, acceptance, portions, by))
        for drafts in portions:
            rest = Acceptance(plan=Plan(), drafts=drafts, media=acceptance.media, based_on=version)
            try:
                filed += (await write(partial(self._accept, rest, [drafts], by)))[0]
            except OvertakenError:  # the newer version knows what is not filed yet
                break
        return filed

    def _accept(self, acceptance: Acceptance, portions: Portions, by: Actor, unit: Unit) -> tuple[int, int, Portions]:
        """Write a round with its first portion; give how many deliveries are new, in which version, and what is left.

        All is written together as long as what is new in the schedule may have been sent in a time that is lost.
        """
        now = self.books.world.now()
        take_turn(unit)
        if acceptance.based_on is not None and acceptance.based_on != unit.connection.scalar(NEWEST):
            raise OvertakenError(acceptance.based_on)
        drafts, left = (acceptance.drafts, ()) if is_new_doubted(unit) else (portions[0], portions[1:])
        if acceptance.is_again:
            _guard_against_doubles(unit, drafts, now)
        for act in acceptance.acts:
            write_audit(unit, now, act.by, event=act.event, subject=act.subject, detail=act.detail)
        self._write_version(unit, acceptance, now, by)
        _write_media(unit, acceptance.media, drafts)
        filed = 0
        withdrawn = {row.id for row in rows_of(unit.connection, _posts_of(drafts)) if row.is_withdrawn}
        for draft in drafts:
            if draft.filing.post.id in withdrawn:
                continue
            _write_renditions(unit, draft)
            if draft.filing.is_new:
                filed += self._file(unit, draft, now)
            else:
                self._revise(unit, draft)
        new = [draft.filing for draft in drafts if draft.filing.is_new]
        place(self.books, unit)
        keys = [(filing.post, filing.occurrence.key.label) for filing in new]
        doubt_filed(self.books, unit, keys, is_new_version=acceptance.text is not None)
        self.books.world.die_here("plan.after_insert")
        self._drop(unit, acceptance.plan)
        self.books.world.die_here("reload.before_commit")
        return filed, unit.connection.execute(NEWEST).scalar_one(), left

    async def refuse(self, reason: str) -> None:
        """Tell, once for each reason, that a new version of the schedule was refused."""

        def operation(unit: Unit) -> None:
            standing = select(ALERT.c.facts).where(ALERT.c.code == "reload_refused", ALERT.c.cleared_at.is_(None))
            told = [json.loads(row.facts)["reason"] for row in unit.connection.execute(standing)]
            if reason not in told:
                clear_alerts(unit, "schedule", self.books.world.now())
                facts = {"reason": reason}
                tell(unit, self.books.world.now(), "reload_refused", "schedule", facts)

        await self.books.database.write(operation)

    async def confirm(self) -> None:
        """Take back what `refuse` told: the file says again what is in force."""

        def operation(unit: Unit) -> None:
            clear_alerts(unit, "schedule", self.books.world.now())
            trust_new(unit)

        await self.books.database.write(operation)

    async def enrol(self) -> None:
        """Give every login of the settings its row."""

        def operation(unit: Unit) -> None:
            logins = {terms.account.login for terms in self.books.terms.values()}
            known = {row.id for row in unit.connection.execute(select(LOGIN.c.id))}
            new = [{"id": login, "rests_until": EPOCH, "routine_until": EPOCH} for login in sorted(logins - known)]
            if new:
                unit.connection.execute(insert(LOGIN), new)

        await self.books.database.write(operation)

    def _write_version(self, unit: Unit, acceptance: Acceptance, now: datetime, by: Actor) -> None:
        if acceptance.text is not None:
            digest = sha256(acceptance.text.encode()).hexdigest()
            unit.connection.execute(insert(SCHEDULE).values(accepted_at=now, sha256=digest, text=acceptance.text))
            write_audit(unit, now, by, event="schedule_accepted", subject="schedule", detail={"sha256": digest})
            clear_alerts(unit, "schedule", now)
        held = {row.id: row for row in rows_of(unit.connection, [post.id for post in acceptance.posts])}
        new = []
        for post in acceptance.posts:
            if post.id in held:
                _rewrite_post(unit, post, held[post.id], now, is_scheduled=acceptance.is_scheduled)
            else:
                row = {"id": post.id, "definition": post.definition, "body": write_post(post), "in_force_since": now}
                new.append({**row, "is_scheduled": acceptance.is_scheduled, "is_withdrawn": False})
        if new:
            unit.connection.execute(insert(POST), new)

    def _file(self, unit: Unit, draft: Draft, now: datetime) -> int:
        filing = draft.filing
        key = filing.occurrence.key
        held = unit.connection.execute(
            select(DELIVERY.c.account).where(DELIVERY.c.post == key.post, DELIVERY.c.label == key.label)
        )
        known = {row.account for row in held}
        new = [rendition for rendition in draft.revision.renditions if rendition.account not in known]
        revision = draft.revision.id
        rows = [_delivery_row(draft, revision, rendition, self.books.terms, now) for rendition in new]
        if rows:
            unit.connection.execute(insert(DELIVERY), rows)
            write_entries(unit, [_filed_entry(row, now) for row in rows])
        return len(rows)

    def _revise(self, unit: Unit, draft: Draft) -> None:
        """Bring an edit to each delivery that may still lead to a call.

        The occurrence is locked first: another host's intent comes before the question whether it has started, or
        finds the new words.
        """
        filing, occurrence = draft.filing, draft.filing.occurrence
        key = occurrence.key
        is_its = (DELIVERY.c.post == key.post, DELIVERY.c.label == key.label)
        locked = select(DELIVERY).where(*is_its).order_by(DELIVERY.c.id).with_for_update()
        rows = {row["account"]: row for row in unit.connection.execute(locked).mappings()}
        has_started = unit.connection.execute(_STARTED.where(*is_its)).first() is not None
        revision = draft.revision.id
        for rendition in draft.revision.renditions:
            row = rows.get(rendition.account)
            if row is None or row["state"] not in REVISABLE:
                continue
            delivery = to_delivery(row)
            was_sent_ahead = filing.planned_at is None and row["due_at"] < row["planned_at"] == occurrence.due_at
            event = Revised(
                rendition=rendition.fingerprint,
                due_at=delivery.due_at if was_sent_ahead else occurrence.due_at,
                expires_at=delivery.expires_at if was_sent_ahead else occurrence.expires_at,
                max_delay=filing.post.max_delay,
                is_urgent=filing.post.is_urgent,
                has_started=has_started,
                floors=len(rendition.floors),
            )
            after = self.books.change(unit, delivery, event, PLANNER)
            _mark_revised(unit, draft, after, revision if after.rendition == rendition.fingerprint else None)

    def _drop(self, unit: Unit, plan: Plan) -> None:
        for post in plan.dropped:
            withdraw_where(self.books, unit, {"post": post}, PLANNER, reason=DROPPED[0])
            unit.connection.execute(update(POST).where(POST.c.id == post).values(is_scheduled=False))
        for untargeted in plan.untargeted:
            for account in untargeted.accounts:
                target = {"post": untargeted.key.post, "label": untargeted.key.label, "account": account}
                withdraw_where(self.books, unit, target, PLANNER, reason=DROPPED[1])


def _why_not_again(
    connection: Connection, post: Post, account: AccountId, now: datetime, label: str | None = None
) -> str | None:
    """Say what forbids it; an announced call that fits no delivery is no hindrance where `label` is its own."""
    states = [state.value for state in (OPEN | {State.PUBLISHED} if isinstance(post.timing, At) else OPEN)]
    mine = select(DELIVERY.c.id).where(
        DELIVERY.c.post == post.id, DELIVERY.c.account == account, DELIVERY.c.state.in_(states)
    )
    if not isinstance(post.timing, At):  # its later instants are no hindrance
        mine = mine.where(DELIVERY.c.due_at <= now)
    if connection.scalar(select(POST.c.id).where(POST.c.id == post.id, POST.c.is_withdrawn)) is not None:
        return "resend_withdrawn"
    if connection.scalar(mine) is not None:
        return "resend_not_needed"
    calls = [call for call in unplaced(connection) if (call.post, call.account) == (post.id, account)]
    return "resend_call_unplaced" if any(call.label != label for call in calls) else None


def _guard_against_doubles(unit: Unit, drafts: Sequence[Draft], now: datetime) -> None:
    """Ask once more inside the transaction: two people may have ordered the same thing in the same second."""
    for draft in (draft for draft in drafts if draft.filing.is_new):
        post, label = draft.filing.post, draft.filing.occurrence.key.label
        for account in draft.filing.accounts:
            if hindrance := _why_not_again(unit.connection, post, account, now, label):
                raise RefusedError(hindrance, post=post.id, account=account)


def withdraw_where(books: Books, unit: Unit, target: Mapping[str, str], by: Actor, *, reason: str) -> int:
    """Withdraw every delivery that matches, may still lead to a call, and is not withdrawn yet. Returns how many."""
    conditions = [DELIVERY.c[column] == value for column, value in target.items()]
    weaker = [Desired.AS_FILED.value, Desired.EDITED.value]
    if by.role is not Role.PLANNER:
        weaker.append(Desired.NOT_HERE.value)
    rows = unit.connection.execute(
        select(DELIVERY).where(
            *conditions,
            DELIVERY.c.state.in_([state.value for state in REVISABLE]),
            DELIVERY.c.desired.in_(weaker),
        )
    )
    deliveries = [to_delivery(row) for row in rows.mappings()]
    for delivery in deliveries:
        books.change(unit, delivery, Withdrawn(reason=reason), by)
    return len(deliveries)


def _delivery_row(
    draft: Draft, revision: Fingerprint, rendition: Rendition, terms: Mapping[AccountId, Terms], now: datetime
) -> dict[str, object]:
    post, occurrence = draft.filing.post, draft.filing.occurrence
    return {
        "post": post.id,
        "label": occurrence.key.label,
        "account": rendition.account,
        "platform": rendition.platform,
        "login": terms[rendition.account].account.login,
        "state": State.PENDING.value,
        "version": 1,
        "revision": revision,
        "definition": draft.revision.definition,
        "rendition": rendition.fingerprint,
        "planned_at": draft.filing.planned_at or occurrence.due_at,
        "due_at": occurrence.due_at,
        "next_at": occurrence.due_at,
        "expires_at": occurrence.expires_at,
        "max_delay": post.max_delay,
        "last_first_call_at": occurrence.due_at + post.max_delay,
        "updated_at": now,
        "is_urgent": post.is_urgent,
        "follows": post.follows,
        "floors": len(rendition.floors),
    }


def _filed_entry(row: Mapping[str, object], now: datetime) -> dict[str, object]:
    subject = name_at(str(row["post"]), str(row["label"]), str(row["account"]))
    return entry(now, PLANNER, event="filed", subject=subject, after=State.PENDING.value)


def _mark_revised(unit: Unit, draft: Draft, delivery: Delivery, revision: str | None) -> None:
    """Note which wording a delivery was compared with; one that is called, or held for the edit, keeps its own.

    `revision` is that of the new words where the delivery has taken them.
    """
    values: dict[str, object] = {
        "definition": draft.revision.definition,
        "planned_at": draft.filing.planned_at or draft.filing.occurrence.due_at,
        "follows": draft.filing.post.follows,
    }
    if revision is not None:
        values["revision"] = revision
    unit.connection.execute(update(DELIVERY).where(DELIVERY.c.id == delivery.id).values(values))


def _rewrite_post(unit: Unit, post: Post, held: Row[Any], now: datetime, *, is_scheduled: bool) -> None:
    body = write_post(post)
    if held.body == body and held.is_scheduled == is_scheduled:
        return
    values: dict[str, object] = {"definition": post.definition, "body": body, "is_scheduled": is_scheduled}
    if read_post(held.body).timing != post.timing:
        values["in_force_since"] = now
    unit.connection.execute(update(POST).where(POST.c.id == post.id).values(values))


def _posts_of(drafts: Sequence[Draft]) -> list[PostId]:
    return [draft.filing.post.id for draft in drafts]


def _write_media(unit: Unit, media: Mapping[str, tuple[str, bytes]], drafts: Sequence[Draft]) -> None:
    """Write the pictures that these drafts show, and for how long they are needed."""
    until: dict[str, datetime] = {}
    for draft in drafts:
        expires_at = draft.filing.occurrence.expires_at
        for picture in (picture for rendition in draft.revision.renditions for picture in rendition.pictures):
            until[picture.sha256] = max(expires_at, until.get(picture.sha256, expires_at))
    for digest, expires_at in sorted(until.items()):
        is_it = MEDIA.c.sha256 == digest
        held = unit.connection.scalar(select(MEDIA.c.shown_until).where(is_it))
        if held is None:
            media_type, data = media[digest]
            row = {"sha256": digest, "media_type": media_type, "data": data, "shown_until": expires_at}
            unit.connection.execute(insert(MEDIA), [row])
        elif held < expires_at:
            unit.connection.execute(update(MEDIA).where(is_it).values(shown_until=expires_at))


def _write_renditions(unit: Unit, draft: Draft) -> None:
    key, revision = draft.filing.occurrence.key, draft.revision
    name = revision.id
    rows = [
        {
            "fingerprint": rendition.fingerprint,
            "revision": name,
            "post": key.post,
            "label": key.label,
            "account": rendition.account,
            "body": write_rendition(rendition),
        }
        for rendition in revision.renditions
    ]
    wanted = [row["fingerprint"] for row in rows]
    query = select(RENDITION.c.fingerprint).where(RENDITION.c.fingerprint.in_(wanted))
    held = set(unit.connection.scalars(query))
    if new := [row for row in rows if row["fingerprint"] not in held]:
        unit.connection.execute(insert(RENDITION), new)
