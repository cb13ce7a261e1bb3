"""What people type to name deliveries: POST, POST@ACCOUNT, POST#INSTANT@ACCOUNT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from publisher.cli.shape import Kind, WordedUsageError
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchError
from publisher.domain.post import ONCE, PostId
from publisher.store.board import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A post; maybe one account of it, and one instant. An instant without an offset is the workspace's."""

    text: str
    post: PostId
    account: AccountId | None = None
    instant: datetime | None = None

    def label(self, timezone: ZoneInfo) -> str | None:
        """Give the occurrence's label in the books, None for any."""
        if self.instant is None:
            return None
        aware = self.instant if self.instant.tzinfo else self.instant.replace(tzinfo=timezone)
        return aware.astimezone(UTC).isoformat()


class TargetType(Kind):
    """Reads a target; with `wants_account` it must name one."""

    name = "target"

    def __init__(self, *, wants_account: bool = False) -> None:
        self.wants_account = wants_account

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:  # noqa: ANN401, ARG002
        if isinstance(value, Target):
            return value
        named, _, account = value.partition("@")
        post, separator, instant = named.partition("#")
        if not post or ("@" in value and not account):
            raise WordedUsageError("bad_target", ctx, value=value)
        if self.wants_account and not account:
            raise WordedUsageError("wants_account", ctx, value=value)
        when = _instant(instant) if separator and instant != ONCE else None
        if separator and instant != ONCE and when is None:
            raise WordedUsageError("bad_target", ctx, value=value)
        return Target(text=value, post=PostId(post), account=AccountId(account) if account else None, instant=when)


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


async def deliveries_of(
    board: Board, target: Target, timezone: ZoneInfo, wanted: Callable[[Delivery], bool]
) -> Sequence[Delivery]:
    """Give one delivery for each account that a target names.

    Without an instant that is the newest `wanted` one, else the newest that has come due, else the next. Raises
    NoSuchError.
    """
    if not await board.has_post(target.post):
        raise NoSuchError("post", target.post)
    found = await board.deliveries(target.post, target.account)
    label = target.label(timezone)
    if label is not None:
        found = [delivery for delivery in found if delivery.key.label == label]
    if not found and (target.account or label):
        raise NoSuchError("delivery", target.text)
    by_account: dict[AccountId, list[Delivery]] = {}
    for delivery in found:
        by_account.setdefault(delivery.account, []).append(delivery)
    now = board.books.world.now()
    return [_pick(group, now, wanted) for group in by_account.values()]


def _pick(group: Sequence[Delivery], now: datetime, wanted: Callable[[Delivery], bool]) -> Delivery:
    """Choose among the occurrences of one account, oldest first."""
    fitting = [delivery for delivery in group if wanted(delivery)]
    due = [delivery for delivery in group if delivery.due_at <= now]
    return fitting[-1] if fitting else due[-1] if due else group[0]
