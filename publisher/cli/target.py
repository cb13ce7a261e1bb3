"""Command-line names of deliveries and pause scopes.

A delivery is POST, POST@ACCOUNT, or POST#INSTANT@ACCOUNT.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, one_line
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.errors import ApprovalError, NoSuchItemError, RefusedError
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    PostId,
    find_family,
    format_delivery_name,
)
from publisher.store.db.filters import SCOPE_ALL
from publisher.store.queries.queries import Queries
from publisher.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTarget:
    """A post or a family, optionally one account and one instant.

    An instant without offset is in the workspace's zone.
    """

    text: str
    post: PostId
    account: AccountId | None = None
    instant: datetime | None = None


def post_target(value: str) -> DeliveryTarget:
    """Parse a target, with or without an account."""
    named, _, account = one_line(value).partition("@")
    post, separator, instant = named.partition("#")
    if not post or ("@" in value and not account):
        raise LocalizedUsageError("bad_target", value=value)
    try:
        when = (
            datetime.fromisoformat(instant)
            if separator and instant != ONCE_OCCURRENCE
            else None
        )
    except ValueError:
        raise LocalizedUsageError("bad_target", value=value) from None
    return DeliveryTarget(
        text=value,
        post=PostId(post),
        account=AccountId(account) if account else None,
        instant=when,
    )


def delivery_target(value: str) -> DeliveryTarget:
    """Parse a target that names an account."""
    target = post_target(value)
    if target.account is None:
        raise LocalizedUsageError("account_needed", value=value)
    return target


def in_zone(instant: datetime, timezone: ZoneInfo) -> datetime:
    """Return an instant as it was typed; without an offset it is of this zone."""
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone)


async def find_posts(queries: Queries, name: str) -> Sequence[PostId]:
    """Return the post of a name, and all members of a family.

    Raises NoSuchItemError for a name that was never accepted, and RefusedError for one that only
    the journal knows.
    """
    if posts := await queries.find_posts(name):
        return posts
    if lost := await queries.lost_accounts(name):
        raise RefusedError("post_lost", post=name, accounts=", ".join(lost))
    known = await queries.post_ids()
    raise NoSuchItemError("post", name, {*known, *map(find_family, known)})


async def do_each(
    posts: Iterable[PostId], act: Callable[[PostId], Awaitable[T]]
) -> list[T]:
    """Do something with each post, and return the results of the permitted ones.

    Raises the last refusal if all refuse it: in a family some members may be over.
    """
    results, refusal = [], None
    for post in posts:
        try:
            results.append(await act(post))
        except (ApprovalError, CommandFailedError, RefusedError) as error:
            refusal = error
    if refusal is not None and not results:
        raise refusal
    return results


async def find_deliveries(
    queries: Queries,
    target: DeliveryTarget,
    timezone: ZoneInfo,
    is_wanted: Callable[[Delivery], bool],
) -> Sequence[Delivery]:
    """Return one delivery for each post and account that a target names. Raise NoSuchItemError.

    Without an instant it is the newest wanted one, else the newest that is due, else the next.
    """
    posts = await find_posts(queries, target.post)
    found = [
        delivery
        for post in posts
        for delivery in await queries.deliveries(post, target.account)
    ]
    if (instant := target.instant) is not None:
        occurrence = in_zone(instant, timezone).astimezone(UTC).isoformat()
        found = [
            delivery for delivery in found if delivery.key.occurrence == occurrence
        ]
    if not found and (target.account or target.instant):
        names = {
            format_delivery_name(each.key.post, each.key.occurrence, each.account)
            for post in posts
            for each in await queries.deliveries(post)
        }
        raise NoSuchItemError("delivery", target.text, names)
    groups: dict[tuple[PostId, AccountId], list[Delivery]] = {}
    for delivery in found:
        name = (delivery.key.post, delivery.account)
        groups.setdefault(name, []).append(delivery)
    now = queries.runtime.now()
    chosen = []
    for group in groups.values():  # oldest first
        wanted = [delivery for delivery in group if is_wanted(delivery)]
        due = [delivery for delivery in group if delivery.due_at <= now]
        chosen.append(wanted[-1] if wanted else due[-1] if due else group[0])
    return chosen


async def find_delivery(
    queries: Queries,
    target: DeliveryTarget,
    timezone: ZoneInfo,
    is_wanted: Callable[[Delivery], bool],
) -> Delivery:
    """Return the one delivery of an account that a target names, as `find_deliveries` does.

    An account may have deliveries under several ids of a family.
    """
    found = await find_deliveries(queries, target, timezone, is_wanted)
    return next(filter(is_wanted, reversed(found)), found[-1])


async def list_scopes(scope: str, queries: Queries) -> Sequence[str]:
    """Return a scope, and for a family those of its members, for people of single regions.

    The family's own scope covers its future members too.
    """
    kind, _, name = scope.partition(":")
    posts = await queries.find_posts(name) if kind == "post" else ()
    return list(dict.fromkeys([scope, *(f"post:{post}" for post in posts)]))


async def resolve_scope(name: str, settings: Settings, store: Store) -> str:
    """Return the scope for a name. A paused scope can be named even if it has left the settings.

    Raises NoSuchItemError, or LocalizedUsageError for a name that is an account and a post.
    """
    queries = store.queries
    kind, _, rest = name.partition(":")
    is_account = (rest if kind == "account" else name) in settings.accounts
    is_post = bool(await queries.find_posts(rest if kind == "post" else name))
    paused = {pause.scope for pause in await queries.pauses()}
    if name == SCOPE_ALL or name in paused:
        return name
    if kind == "platform":
        platforms = {account.platform for account in settings.accounts.values()}
        if rest not in platforms:
            raise NoSuchItemError("platform", rest, platforms)
        return name
    if is_account and is_post:
        raise LocalizedUsageError("scope_ambiguous", name=name)
    if is_account or f"account:{name}" in paused:
        return name if kind == "account" else f"account:{name}"
    if is_post:
        return name if kind == "post" else f"post:{name}"
    scopes = {f"platform:{account.platform}" for account in settings.accounts.values()}
    raise NoSuchItemError(
        "scope", name, [*settings.accounts, *scopes, *await queries.post_ids()]
    )
