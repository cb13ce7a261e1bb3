"""The drawer of evergreen posts, and the choice of the next one for an account. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, State
from publisher.domain.post import Post

_UNUSED_STATES = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED})
"""End states of an occurrence that was never shown on the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvergreenUse:
    """One delivery of an evergreen post."""

    account: AccountId
    due_at: datetime
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class EvergreenPost:
    """A post of the drawer, with all its deliveries."""

    post: Post
    deliveries: Sequence[EvergreenUse] = ()

    @property
    def uses(self) -> Sequence[EvergreenUse]:
        """The uses that are on an account, or have been, or may still come there."""
        return [use for use in self.deliveries if use.state not in _UNUSED_STATES]

    @property
    def last_used_at(self) -> datetime | None:
        return max((use.due_at for use in self.uses), default=None)

    def is_open_on(self, account: AccountId) -> bool:
        """True if a delivery of it to the account has not ended."""
        return any(
            use.account == account and use.state in OPEN_STATES for use in self.uses
        )


def choose_evergreen(
    drawer: Sequence[EvergreenPost], account: AccountId, at: datetime
) -> Post | None:
    """Return the least recently used post that the account has not had, None if there is none.

    Among the posts never used, it is the first of the drawer. Posts that have expired by `at` are
    left out.
    """
    fitting = [
        item
        for item in drawer
        if account in item.post.accounts
        and not any(use.account == account for use in item.uses)
        and (item.post.expires_at is None or item.post.expires_at > at)
    ]
    oldest_first = sorted(
        fitting, key=lambda item: (item.last_used_at is not None, item.last_used_at)
    )
    return oldest_first[0].post if oldest_first else None
