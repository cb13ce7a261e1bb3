"""What people type to name deliveries: POST, POST@ACCOUNT, POST#INSTANT@ACCOUNT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from publisher.cli.framework import LocalizedParam, LocalizedUsageError
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import ONCE_OCCURRENCE, PostId
from publisher.store.plan.actions import SCOPE_ALL
from publisher.store.queries.queries import Queries
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTarget:
    """A post; maybe one account of it, and one instant. An instant without an offset is the workspace's."""

    text: str
    post: PostId
    account: AccountId | None = None
    instant: datetime | None = None

    def occurrence(self, timezone: ZoneInfo) -> str | None:
        """Give the occurrence's label in the books, None for any."""
        if self.instant is None:
            return None
        aware = self.instant if self.instant.tzinfo else self.instant.replace(tzinfo=timezone)
        return aware.astimezone(UTC).isoformat()


class TargetParam(LocalizedParam):
    """Reads a target; with `wants_account` it must name one."""

    name = "target"

    def __init__(self, *, wants_account: bool = False) -> None:
        self.wants_account = wants_account

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DeliveryTarget:  # noqa: ANN401, ARG002
        if isinstance(value, DeliveryTarget):
            return value
        named, _, account = value.partition("@")
        post, separator, instant = named.partition("#")
        if not post or ("@" in value and not account):
            raise LocalizedUsageError("bad_target", ctx, value=value)
        if self.wants_account and not account:
            raise LocalizedUsageError("account_needed", ctx, value=value)
        when = _parse_instant(instant) if separator and instant != ONCE_OCCURRENCE else None
        if separator and instant != ONCE_OCCURRENCE and when is None:
            raise LocalizedUsageError("bad_target", ctx, value=value)
        return DeliveryTarget(
            text=value, post=PostId(post), account=AccountId(account) if account else None, instant=when
        )


def _parse_instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


async def find_deliveries(
    queries: Queries, target: DeliveryTarget, timezone: ZoneInfo, is_wanted: Callable[[Delivery], bool]
) -> Sequence[Delivery]:
    """Give one delivery for each account that a target names.

    Without an instant that is the newest `wanted` one, else the newest that has come due, else the next. Raises
    NoSuchError.
    """
    if not await queries.has_post(target.post):
        raise NoSuchItemError("post", target.post)
    found = await queries.deliveries(target.post, target.account)
    occurrence = target.occurrence(timezone)
    if occurrence is not None:
        found = [delivery for delivery in found if delivery.key.occurrence == occurrence]
    if not found and (target.account or occurrence):
        raise NoSuchItemError("delivery", target.text)
    by_account: dict[AccountId, list[Delivery]] = {}
    for delivery in found:
        by_account.setdefault(delivery.account, []).append(delivery)
    now = queries.store.runtime.now()
    return [_pick(group, now, is_wanted) for group in by_account.values()]


def _pick(group: Sequence[Delivery], now: datetime, is_wanted: Callable[[Delivery], bool]) -> Delivery:
    """Choose among the occurrences of one account, oldest first."""
    fitting = [delivery for delivery in group if is_wanted(delivery)]
    due = [delivery for delivery in group if delivery.due_at <= now]
    return fitting[-1] if fitting else due[-1] if due else group[0]


async def resolve_scope(name: str, settings: Settings, store: Store) -> str:
    """Find out what a name stands for. What is paused now can always be named, even if it is gone from the settings."""
    queries = Queries(store)
    kind, _, rest = name.partition(":")
    is_account = (rest if kind == "account" else name) in settings.accounts
    is_post = await queries.has_post(PostId(rest if kind == "post" else name))
    paused = {pause.scope for pause in await queries.pauses()}
    if name == SCOPE_ALL or name in paused:
        return name
    if kind == "platform":
        if rest not in {account.platform for account in settings.accounts.values()}:
            raise NoSuchItemError("platform", rest)
        return name
    if is_account and is_post:
        raise LocalizedUsageError("scope_ambiguous", name=name)
    if is_account or f"account:{name}" in paused:
        return name if kind == "account" else f"account:{name}"
    if is_post:
        return name if kind == "post" else f"post:{name}"
    raise NoSuchItemError("scope", name)
