"""How far a post and its deliveries are: the pages of one post read these."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    RowMapping,
    and_,
    case,
    exists,
    false,
    func,
    null,
    select,
    true,
)

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import (
    MAYBE_PUBLISHED_STATES,
    WAITING_STATES,
    Delivery,
    State,
)
from publisher.domain.glyph import Glyph, choose_glyph
from publisher.domain.post import DeliveryId, OccurrenceKey, PostId, RenderedPost
from publisher.store.base import StorePart
from publisher.store.db.approval_tables import DECISION_REQUEST
from publisher.store.db.filters import in_state
from publisher.store.db.rewritten import find_rewritten, has_waiting_copy
from publisher.store.db.tables import (
    ATTEMPT,
    DELIVERY,
    LOGIN,
    MODE_OVERRIDE,
    POST,
    RENDERED_POST,
    load_post,
    load_rendered_post,
    to_delivery,
)
from publisher.store.queries.dashboard import ACCOUNT_SEPARATOR
from publisher.store.queries.occurrences import (
    PAGE_SIZE,
    OccurrenceSummary,
    StopCounts,
    StoredPostDetails,
    count_by_state,
    is_on,
    needs_person,
    summarize,
)
from publisher.store.queries.queries import LoginCooldown, ModeOverride


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRequest:
    """One person's word that a post is published at an address."""

    url: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledDelivery:
    """A delivery with its final text, and with what concerns its account and login now.

    `rendered` is None if it was not asked for, or is no longer kept. `request` waits for a second
    person.
    """

    delivery: Delivery
    rendered: RenderedPost | None
    glyph: Glyph
    request: ConfirmationRequest | None
    override: ModeOverride | None
    cooldown: LoginCooldown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostProgress:
    """A post with its occurrences, latest due first, and the counts of all its deliveries."""

    details: StoredPostDetails
    occurrences: Sequence[OccurrenceSummary]
    """On the accounts that were asked for."""
    groups: Sequence[Row[Any]]

    @property
    def accounts(self) -> frozenset[AccountId]:
        """The accounts that have, or had, a delivery, and those of the post."""
        filed = (account for group in self.groups for account in list_accounts(group))
        return frozenset(filed) | frozenset(self.details.post.accounts)

    @property
    def newest(self) -> DeliveryId:
        """The highest id of a delivery; 0 if there are none. Higher ones were not there yet."""
        return DeliveryId(max((group.newest for group in self.groups), default=0))

    def count_stops(self, account: AccountId | None = None) -> StopCounts:
        """Return the effects of stopping the post: all occurrences, on all accounts or on one."""
        numbers: Counter[str] = Counter()
        for group in self.groups:
            name = name_stop(group)
            if account is None or name == "taken_down":
                numbers[name] += group.number
            else:
                numbers[name] += list_accounts(group).count(account)
        return StopCounts(
            published=numbers["published"],
            doubtful=numbers["doubtful"],
            unsent=numbers["unsent"],
            taken_down=numbers["taken_down"],
        )


def list_accounts(group: Row[Any]) -> list[AccountId]:
    """Return the accounts of a group's deliveries."""
    return [AccountId(name) for name in group.accounts.split(ACCOUNT_SEPARATOR)]


def name_stop(group: Row[Any]) -> str:
    """Return what a stop finds in a group of deliveries; empty for all that have ended."""
    if group.state == State.PUBLISHED:
        return "published"
    if group.state in {State.RETRACTING, State.RETRACTED}:
        return "taken_down"
    is_waiting = group.state in WAITING_STATES
    if group.state in MAYBE_PUBLISHED_STATES or (is_waiting and group.has_parts):
        return "doubtful"
    return "unsent" if is_waiting else ""


class ProgressQueries(StorePart):
    """Each query is one statement, for any number of accounts."""

    async def rewritten(self, post: PostId) -> Mapping[AccountId, PostId]:
        """Return the copies that people have written for the accounts that refused a post."""
        query = select(DELIVERY).where(
            DELIVERY.c.post == post, in_state(DELIVERY, State.FAILED)
        )
        found = await self.database.read(
            lambda connection: find_rewritten(connection, connection.execute(query))
        )
        return {account: copy for (_post, account), copy in found.items()}

    async def is_rewritten(self, post: PostId, accounts: Collection[AccountId]) -> bool:
        """Return True if a copy stands for one of these accounts, or is about to be in force."""
        if not (await self.rewritten(post)).keys().isdisjoint(accounts):
            return True
        return await self.database.read(has_waiting_copy, post)

    async def post(
        self, post: PostId, accounts: Collection[AccountId] | None = None
    ) -> PostProgress | None:
        """Return a post with its occurrences on these accounts, if given; None if unknown.

        It takes two statements.
        """
        stored = select(POST).where(POST.c.id == post)
        has_parts = case((DELIVERY.c.parts_done > 0, true()), else_=false()).label(
            "has_parts"
        )
        is_shown = case((is_on(accounts), true()), else_=false()).label("is_shown")
        names = func.aggregate_strings(DELIVERY.c.account, ACCOUNT_SEPARATOR).label(
            "accounts"
        )
        groups = (
            count_by_state(self.runtime.now())
            .add_columns(
                has_parts, is_shown, names, func.max(DELIVERY.c.id).label("newest")
            )
            .group_by(has_parts, is_shown)
            .where(DELIVERY.c.post == post)
        )

        def read(connection: Connection) -> PostProgress | None:
            row = connection.execute(stored).one_or_none()
            if row is None:
                return None
            found = connection.execute(groups).all()
            details = StoredPostDetails(
                post=load_post(row.body),
                saved_by=row.saved_by,
                file_owner=row.file_owner,
                is_scheduled=row.is_scheduled,
                is_cancelled=row.is_cancelled,
                corrected_by=PostId(row.corrected_by) if row.corrected_by else None,
            )
            shown = list_occurrences(row.body, found)
            return PostProgress(details=details, occurrences=shown, groups=found)

        return await self.database.read(read)

    async def deliveries(
        self,
        post: PostId,
        occurrence: str | None = None,
        account: AccountId | None = None,
        *,
        has_texts: bool = False,
    ) -> Sequence[FiledDelivery]:
        """Return deliveries of a post: all, or those of an occurrence, or on an account."""
        text = RENDERED_POST.c.body if has_texts else null()
        is_action = needs_person(self.runtime.now()).label("is_action")
        query = _FILED.add_columns(text.label("its_text"), is_action).where(
            DELIVERY.c.post == post
        )
        query = query.select_from(_WITH_TEXT if has_texts else _SURROUNDED)
        if occurrence is not None:
            query = query.where(DELIVERY.c.occurrence == occurrence)
        if account is not None:
            query = query.where(DELIVERY.c.account == account)
        query = query.order_by(DELIVERY.c.due_at, DELIVERY.c.id)

        def read(connection: Connection) -> list[FiledDelivery]:
            return [to_filed(row) for row in connection.execute(query).mappings()]

        return await self.database.read(read)


_WAS_SENT_SINCE = exists().where(
    ATTEMPT.c.delivery == DELIVERY.c.id, ATTEMPT.c.intended_at > DECISION_REQUEST.c.at
)
_REQUEST_NAMES = ("url", "by", "reason")
_OVERRIDE_NAMES = ("account", "mode", "at", "by", "reason")
_SURROUNDED = (
    DELIVERY.outerjoin(
        DECISION_REQUEST,
        and_(DECISION_REQUEST.c.delivery == DELIVERY.c.id, ~_WAS_SENT_SINCE),
    )
    .outerjoin(MODE_OVERRIDE, MODE_OVERRIDE.c.account == DELIVERY.c.account)
    .outerjoin(LOGIN, LOGIN.c.id == DELIVERY.c.login)
)
_WITH_TEXT = _SURROUNDED.outerjoin(
    RENDERED_POST, RENDERED_POST.c.fingerprint == DELIVERY.c.rendered_hash
)
_FILED = select(
    DELIVERY,
    *(DECISION_REQUEST.c[name].label(f"request_{name}") for name in _REQUEST_NAMES),
    *(MODE_OVERRIDE.c[name].label(f"override_{name}") for name in _OVERRIDE_NAMES),
    LOGIN.c.cooldown_until.label("urgent_until"),
    LOGIN.c.routine_cooldown_until.label("routine_until"),
)


def list_occurrences(
    body: str, groups: Sequence[Row[Any]]
) -> Sequence[OccurrenceSummary]:
    """Return the latest occurrences of shown groups, latest due first."""
    loaded, by_key = json.loads(body), defaultdict[OccurrenceKey, list[Row[Any]]](list)
    for group in groups:
        if group.is_shown:
            key = OccurrenceKey(post=PostId(group.post), occurrence=group.occurrence)
            by_key[key].append(group)
    found = [summarize(key, loaded, rows) for key, rows in by_key.items()]
    return sorted(found, key=lambda item: (item.due_at, item.key), reverse=True)[
        :PAGE_SIZE
    ]


def to_filed(row: RowMapping) -> FiledDelivery:
    request = {name: row[f"request_{name}"] for name in _REQUEST_NAMES}
    override = {name: row[f"override_{name}"] for name in _OVERRIDE_NAMES}
    if override["mode"] is not None:
        override |= {
            "account": AccountId(override["account"]),
            "mode": Mode(override["mode"]),
        }
    cooldown = None
    if row["routine_until"] is not None:
        cooldown = LoginCooldown(
            urgent_until=row["urgent_until"], routine_until=row["routine_until"]
        )
    delivery = to_delivery(row)
    return FiledDelivery(
        delivery=delivery,
        glyph=choose_glyph(delivery.state, needs_person=bool(row["is_action"])),
        rendered=load_rendered_post(row["its_text"]) if row["its_text"] else None,
        request=ConfirmationRequest(**request) if request["url"] is not None else None,
        override=ModeOverride(**override) if override["mode"] is not None else None,
        cooldown=cooldown,
    )
