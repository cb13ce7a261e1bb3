"""Builders for posts and deliveries, and for a store that contains them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from publisher.domain.account import (
    Account,
    AccountId,
    AccountPolicy,
    Capabilities,
    Platform,
    RateLimit,
    Timing,
)
from publisher.domain.kinds import PostKind
from publisher.domain.plan import Plan, PlannedDeliveries
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    OneTimeTrigger,
    Post,
    PostId,
    RenderedPost,
    RenderedRevision,
    derive_marker,
    format_part_prefix,
    make_occurrence,
)
from publisher.store.approvals.tasks import Approver
from publisher.store.plan.batches import RenderedOccurrence
from publisher.store.plan.posts import PlanCommit, PostStore
from publisher.testing.fakes import TEST_CAPABILITIES

TEST_TIMING = Timing(platform_clock_tolerance=timedelta(seconds=2))
TEST_RATE_LIMIT = RateLimit(min_interval=timedelta(0), per_hour=1000, per_day=10000)


def make_policy(  # noqa: PLR0913 # each field that a test may set, with its default
    name: str,
    *,
    login: str | None = None,
    identity: str | None = None,
    capabilities: Capabilities = TEST_CAPABILITIES,
    rate_limit: RateLimit = TEST_RATE_LIMIT,
    timing: Timing = TEST_TIMING,
) -> AccountPolicy:
    """Return the policy of an account on a fake platform.

    Its login and identity are its own unless given.
    """
    account = Account(
        id=AccountId(name),
        platform=Platform("fake"),
        identity=identity or name,
        secret=login or name,
    )
    return AccountPolicy(
        account=account, capabilities=capabilities, rate_limit=rate_limit, timing=timing
    )


def unlimited_approver(name: str) -> Approver:
    """Return an approver with roles that allow everything."""
    return Approver(
        name=name,
        may_take=lambda _stage, _accounts: True,
        may=lambda _permission, _accounts: True,
    )


def make_post(  # noqa: PLR0913 # each field that a test may set, with its default
    name: str,
    accounts: Sequence[str],
    at: datetime,
    *,
    title: str = "警惕诈骗",
    follows: str | None = None,
    is_urgent: bool = False,
    expires_at: datetime | None = None,
) -> Post:
    """Return a one-off post."""
    return Post(
        id=PostId(name),
        kind=PostKind.UPDATE if follows else PostKind.WARNING,
        template="warning",
        author="zhang",
        title=title,
        trigger=OneTimeTrigger(at=at),
        accounts=tuple(AccountId(account) for account in accounts),
        content_hash=f"{name}/{title}",
        follows=PostId(follows) if follows else None,
        is_urgent=is_urgent,
        expires_at=expires_at,
    )


def make_rendered_delivery(
    post: Post,
    at: datetime,
    *,
    is_new: bool = True,
    occurrence_id: str = ONCE_OCCURRENCE,
    parts: int = 0,
) -> RenderedOccurrence:
    """Return a post's occurrence with a plain text and `parts` further parts for each account."""
    occurrence = make_occurrence(post, occurrence_id, at)
    rendered_posts = []
    for account in post.accounts:
        marker = derive_marker(occurrence.key, account)
        text = f"{post.title}〔{marker.code}〕"
        more = tuple(
            f"{format_part_prefix(marker, number, parts + 1)}其{number}"
            for number in range(2, parts + 2)
        )
        named = RenderedPost(
            account=account,
            platform=Platform("fake"),
            marker=marker,
            title=post.title,
            text=text,
        )
        rendered_posts.append(replace(named, extra_parts=more))
    planned = PlannedDeliveries(
        post=post, occurrence=occurrence, accounts=post.accounts, is_new=is_new
    )
    revision = RenderedRevision(
        content_hash=post.content_hash, rendered_posts=tuple(rendered_posts)
    )
    return RenderedOccurrence(planned=planned, revision=revision)


async def enqueue_posts(
    post_store: PostStore, *posts: Post, text: str | None = None, parts: int = 0
) -> int:
    """Store one-off posts as if a schedule contained them.

    Return the number of new deliveries.
    """
    dated = [
        (post, post.trigger.at)
        for post in posts
        if isinstance(post.trigger, OneTimeTrigger) and post.trigger.at
    ]
    drafts = [make_rendered_delivery(post, at, parts=parts) for post, at in dated]
    plan = Plan(planned=tuple(draft.planned for draft in drafts))
    return await post_store.commit_plan(
        PlanCommit(plan=plan, rendered=drafts, posts=posts, schedule_text=text)
    )
