"""What is live, read again: which account's turn it is, what stands there, and how far it has come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, select, update

from publisher.domain.absence import is_confirmed
from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import Delivery, Look, State
from publisher.domain.events import Actor, Role
from publisher.domain.outcome import Finding, Gone, Missing, RateLimited, Reach, Sighting
from publisher.domain.post import PostId
from publisher.domain.reach import OLDEST, is_worth_reading
from publisher.domain.rendition import DeliveryId, marker_for
from publisher.store.books import Books
from publisher.store.conditions import stands
from publisher.store.engine import Unit
from publisher.store.jobs import Jobs
from publisher.store.ledger import clear_alerts, read_row, tell, write_look
from publisher.store.modes import modes_in_force
from publisher.store.outbox import Doubt
from publisher.store.parcels import last_parcels
from publisher.store.rests import keep_back_calls, resting_logins
from publisher.store.rows import ATTEMPT, DELIVERY, LOOK, REACH, SIGHTING, WATCH, to_attempt, to_delivery, to_look
from publisher.store.tables import EPOCH
from publisher.store.turns import has_turn

WATCHER = Actor(role=Role.RECONCILER, name="watcher")
SHORTEST_LIST = 5
"""Every platform lists at least so many of an account's newest posts; a shorter list is all there is."""
MOST_ASKED = 3
"""How many missed posts of an account are asked about at one watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of one delivery's reach."""

    delivery: Delivery
    at: datetime
    reach: Reach


class Watches:
    """The books of what is live. Every method is one transaction."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.jobs = Jobs(books)

    async def take(self, limit: int) -> Sequence[AccountId]:
        """Take the accounts whose turn has come; each comes again after its platform's interval."""
        return await self.books.database.write(lambda unit: self._take(unit, limit))

    def _take(self, unit: Unit, limit: int) -> list[AccountId]:
        if not has_turn(unit, "watching"):
            return []
        now = self.books.world.now()
        known = {row.account: row.next_at for row in unit.connection.execute(select(WATCH))}
        modes = modes_in_force(self.books, unit.connection)
        resting = resting_logins(unit.connection, now)
        self.jobs.retain(unit, "watch_account", [account for account, mode in modes.items() if mode is not Mode.OFF])
        speaking = (
            account
            for account, mode in modes.items()
            if mode is not Mode.OFF and self.books.terms[account].account.login not in resting
        )
        due = [account for account in speaking if known.get(account, now) <= now][:limit]
        for account in due:
            turn = {"next_at": now + self.books.terms[account].traits.watch_every}
            if account in known:
                unit.connection.execute(update(WATCH).where(WATCH.c.account == account).values(turn))
            else:
                unit.connection.execute(insert(WATCH).values(account=account, **turn))
        return due

    async def keep_back(self, account: AccountId, limit: RateLimited) -> None:
        """Keep to a limit that a read of an account met."""
        login, usual = self.books.terms[account].account.login, self.books.patience(account).first_check_after
        await self.books.database.write(lambda unit: keep_back_calls(self.books, unit, login, limit, usual))

    async def worth_reading(self, account: AccountId) -> Sequence[Delivery]:
        """Give the live posts of an account whose reach should be read now."""
        now = self.books.world.now()
        first_after = self.books.terms[account].traits.reach_after
        last = select(func.max(REACH.c.at)).where(REACH.c.delivery == DELIVERY.c.id).scalar_subquery()
        query = select(DELIVERY, last.label("read_at")).where(*_live_on(account, now - OLDEST))
        rows = await self.books.database.read(lambda connection: connection.execute(query).mappings().all())
        return [to_delivery(row) for row in rows if is_worth_reading(row["live_at"], row["read_at"], now, first_after)]

    async def write_reach(self, readings: Mapping[DeliveryId, Reach]) -> None:
        """Add one point to each series; a live post whose address was not told before gets it now."""
        now = self.books.world.now()
        rows = [
            {
                "delivery": delivery,
                "at": now,
                "reads": reach.reads,
                "reposts": reach.reposts,
                "comments": reach.comments,
                "likes": reach.likes,
            }
            for delivery, reach in readings.items()
        ]
        addresses = {delivery: reach.url for delivery, reach in readings.items() if reach.url}

        def operation(unit: Unit) -> None:
            unit.connection.execute(insert(REACH), rows)
            for delivery, url in addresses.items():
                bare = (DELIVERY.c.id == delivery, DELIVERY.c.url == "", stands(DELIVERY, State.PUBLISHED))
                unit.connection.execute(update(DELIVERY).where(*bare).values(url=url))

        if rows:
            await self.books.database.write(operation)

    async def series(self, post: PostId | None = None) -> Sequence[Reading]:
        """Give all readings, or those of one post, oldest first."""
        query = select(DELIVERY, *(REACH.c[name].label(f"its_{name}") for name in _POINT)).join(
            REACH, REACH.c.delivery == DELIVERY.c.id
        )
        if post is not None:
            query = query.where(DELIVERY.c.post == post)
        query = query.order_by(DELIVERY.c.due_at, DELIVERY.c.id, REACH.c.at)
        rows = await self.books.database.read(lambda connection: connection.execute(query).mappings().all())
        return [_reading(row) for row in rows]

    async def compare(self, account: AccountId, seen: Sequence[Sighting]) -> Sequence[Doubt]:
        """Store what a read of the account showed; give our own live posts that should be on it and are not.

        The first read makes history of whatever nobody here sent. Later, such a post is told of: in red where the
        account is ours alone. What may be a post of ours whose outcome is open is not judged yet.
        """
        return await self.books.database.write(lambda unit: self._compare(unit, account, seen))

    def _compare(self, unit: Unit, account: AccountId, seen: Sequence[Sighting]) -> list[Doubt]:
        seen = list({item.remote_id: item for item in seen}.values())  # a list may show a post twice
        maybe_ours = _maybe_ours(unit, account)
        self._note_strangers(unit, account, [item for item in seen if not maybe_ours(item)])
        since = self._reaches_back_to(seen)
        texts = {item.remote_id: item.text for item in seen}
        rows = unit.connection.execute(select(DELIVERY).where(*_live_on(account, since))).mappings().all()
        self._note_verified(unit, [to_delivery(row) for row in rows if row["remote_id"] in texts], texts)
        unseen = [to_delivery(row) for row in rows if row["remote_id"] not in texts and row["live_at"] > since]
        missed = [item for item in unseen if not item.is_pruned]  # without its text there is nothing to look for
        asked = self._longest_unasked(unit, missed)
        parcels = last_parcels(self.books, unit.connection, asked)
        return [Doubt(delivery=item, parcel=parcel) for item, parcel in zip(asked, parcels, strict=True)]

    def _reaches_back_to(self, seen: Sequence[Sighting]) -> datetime:
        """Say from when on a list should show all; its oldest entry may be a pinned one, and proves nothing."""
        if len(seen) < SHORTEST_LIST:
            return self.books.world.now() - OLDEST
        return sorted(item.live_at for item in seen)[1]

    def _longest_unasked(self, unit: Unit, missed: Sequence[Delivery]) -> Sequence[Delivery]:
        """Choose a few of them, those first that were asked about longest ago: each question costs a call."""
        last = select(LOOK.c.delivery, func.max(LOOK.c.at).label("at")).group_by(LOOK.c.delivery)
        asked = unit.connection.execute(last.where(LOOK.c.delivery.in_([item.id for item in missed])))
        asked_at = {row.delivery: row.at for row in asked}
        return sorted(missed, key=lambda item: asked_at.get(item.id, EPOCH))[:MOST_ASKED]

    def _note_verified(self, unit: Unit, live: Sequence[Delivery], texts: Mapping[str, str]) -> None:
        """Note the posts of ours that were read there with their own number in the text."""
        ours = [
            delivery.id
            for delivery in live
            if delivery.receipt and marker_for(delivery.key, delivery.account).is_in(texts[delivery.receipt.remote_id])
        ]
        seen = {"verified_at": self.books.world.now()}
        unit.connection.execute(update(DELIVERY).where(DELIVERY.c.id.in_(ours)).values(seen))

    def _note_strangers(self, unit: Unit, account: AccountId, seen: Sequence[Sighting]) -> None:
        now = self.books.world.now()
        began_at = unit.connection.execute(select(WATCH.c.began_at).where(WATCH.c.account == account)).scalar()
        strangers = [item for item in seen if item.remote_id not in _known_ids(unit, account)]
        since = began_at or now  # what is older came into sight because something newer went, or because it was pinned
        rows = [
            {
                "account": account,
                "remote_id": item.remote_id,
                "url": item.url,
                "live_at": item.live_at,
                "seen_at": now,
                "is_history": item.live_at < since,
            }
            for item in strangers
        ]
        if rows:
            unit.connection.execute(insert(SIGHTING), rows)
        if began_at is None:
            unit.connection.execute(update(WATCH).where(WATCH.c.account == account).values(began_at=now))
        elif new := [item for item in strangers if item.live_at >= since]:
            self._tell_of(unit, account, new, now)

    def _tell_of(self, unit: Unit, account: AccountId, strangers: Sequence[Sighting], now: datetime) -> None:
        """Write one alert for all of them; on an account that people post on too, the last such notice is enough."""
        subject = f"account:{account}"
        facts = {"account": account, "number": str(len(strangers)), "url": strangers[0].url}
        if self.books.terms[account].account.is_exclusive:
            tell(unit, now, "unexplained_post", subject, facts)
            return
        clear_alerts(unit, f"{subject}/by-hand", now)
        tell(unit, now, "post_by_hand", f"{subject}/by-hand", facts)

    async def confirm_missing(self, doubt: Doubt, finding: Finding, asked_at: datetime) -> Delivery:
        """Store one more read for a live post that was not on the list; it counts as removed once several say so."""

        def operation(unit: Unit) -> Delivery:
            delivery = to_delivery(read_row(unit, doubt.delivery.id))
            write_look(unit, delivery.id, delivery.attempts, asked_at, finding)
            if isinstance(finding, RateLimited):
                usual = self.books.patience(delivery.account).first_check_after
                keep_back_calls(self.books, unit, delivery.login, finding, usual)
            if delivery.state is not State.PUBLISHED or delivery.version != doubt.delivery.version:
                return delivery
            if self._is_missed(unit, delivery):
                return self.books.change(unit, delivery, Gone(), WATCHER)
            return delivery

        return await self.books.database.write(operation)

    def _is_missed(self, unit: Unit, delivery: Delivery) -> bool:
        """Return True if the newest reads, taken far enough apart, all called it gone or should have shown it.

        Reads before a list showed it last, or had to show it, count for nothing.
        """
        attempts = unit.connection.execute(
            select(ATTEMPT).where(ATTEMPT.c.delivery == delivery.id, ATTEMPT.c.number == delivery.attempts)
        )
        attempt = to_attempt(attempts.mappings().one())
        rows = unit.connection.execute(select(LOOK).where(LOOK.c.delivery == delivery.id).order_by(LOOK.c.id))
        lag = self.books.terms[delivery.account].traits.listing_lag
        live_at = delivery.receipt.live_at if delivery.receipt else attempt.intended_at
        since = max(live_at + lag, delivery.verified_at or live_at)

        def misses(look: Look) -> bool:
            is_whole = isinstance(look.finding, Missing) and look.finding.back_to <= attempt.since
            return look.at > since and (is_whole or isinstance(look.finding, Gone))

        return is_confirmed([to_look(row) for row in rows.mappings()], misses, lag)


_POINT = ("at", "reads", "reposts", "comments", "likes")


def _maybe_ours(unit: Unit, account: AccountId) -> Callable[[Sighting], bool]:
    """Make the question whether a sighting may be what an open delivery of ours left there."""
    rows = unit.connection.execute(
        select(DELIVERY, ATTEMPT.c.since)
        .join(ATTEMPT, and_(ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.number == DELIVERY.c.attempts))
        .where(DELIVERY.c.account == account, DELIVERY.c.remote_id.is_(None))
        .where(stands(DELIVERY, State.SENDING, State.UNKNOWN, State.SUBMITTED, State.RETRACTING, State.HELD))
    ).mappings()
    found = [(to_delivery(row), row["since"]) for row in rows]
    codes = [marker_for(delivery.key, account).code for delivery, _since in found]
    since = min((since for delivery, since in found if delivery.state is not State.HELD), default=None)

    def maybe_ours(item: Sighting) -> bool:
        return any(code in item.text for code in codes) or (since is not None and item.live_at >= since)

    return maybe_ours


def _live_on(account: AccountId, since: datetime) -> tuple[ColumnElement[bool], ...]:
    return (DELIVERY.c.account == account, DELIVERY.c.live_at >= since, stands(DELIVERY, State.PUBLISHED))


def _known_ids(unit: Unit, account: AccountId) -> frozenset[str]:
    ours = select(DELIVERY.c.remote_id).where(DELIVERY.c.account == account, DELIVERY.c.remote_id.is_not(None))
    theirs = select(SIGHTING.c.remote_id).where(SIGHTING.c.account == account)
    return frozenset(unit.connection.scalars(ours.union(theirs)))


def _reading(row: RowMapping) -> Reading:
    point = {name: row[f"its_{name}"] for name in _POINT}
    return Reading(delivery=to_delivery(row), at=point.pop("at"), reach=Reach(**point))
