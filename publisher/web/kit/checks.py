"""The findings of `check` for a stored post, kept for some minutes."""

from collections.abc import Sequence
from typing import Final

from publisher.domain.account import AccountId
from publisher.domain.errors import Problem
from publisher.domain.post import Post
from publisher.engine.post_check import check_stored
from publisher.store.db.tables import dump_post
from publisher.store.queries.occurrences import RelatedPost
from publisher.web.kit.site import Visitor

CHECKS_KEPT_SECONDS: Final = 300


async def read_checks(
    visitor: Visitor,
    post: Post,
    accounts: Sequence[AccountId],
    related: Sequence[RelatedPost],
) -> Sequence[Problem]:
    """Return the findings for a post on these accounts, at most CHECKS_KEPT_SECONDS old.

    Templates, pictures and settings change.
    """
    site = visitor.site

    async def make() -> Sequence[Problem]:
        async with site.render_turns.take(visitor.user.name):
            return await check_stored(site.application.planner, post, accounts, related)

    period = site.runtime.now().timestamp() // CHECKS_KEPT_SECONDS
    return await site.caches.checks.get(
        (dump_post(post), tuple(accounts), period), make
    )
