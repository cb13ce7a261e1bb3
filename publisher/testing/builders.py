"""Books with deliveries in them, in few words."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from publisher.domain.account import Account, AccountId, Platform, Traits
from publisher.domain.patience import Patience
from publisher.domain.plan import Filing, Plan
from publisher.domain.post import ONCE, At, Kind, Post, PostId, occurrence_of
from publisher.domain.quota import Quota
from publisher.domain.rendition import Rendition, Revision, floor_sign, marker_for
from publisher.domain.terms import Terms
from publisher.store.portions import Draft
from publisher.store.registry import Acceptance, Registry
from publisher.testing.fakes import TRAITS

PATIENCE = Patience(platform_clock_tolerance=timedelta(seconds=2))
QUOTA = Quota(min_interval=timedelta(0), per_hour=1000, per_day=10000)


def terms_of(
    name: str, *, login: str | None = None, traits: Traits = TRAITS, quota: Quota = QUOTA, patience: Patience = PATIENCE
) -> Terms:
    """Give the terms of an account on a fake platform; its login is its own unless named."""
    account = Account(id=AccountId(name), platform=Platform("fake"), identity=name, secret=login or name)
    return Terms(account=account, traits=traits, quota=quota, patience=patience)


def post_of(  # noqa: PLR0913 # what a test may care about, each with its default
    name: str,
    accounts: Sequence[str],
    at: datetime,
    *,
    title: str = "警惕诈骗",
    follows: str | None = None,
    is_urgent: bool = False,
    expires_at: datetime | None = None,
) -> Post:
    """Give a one-off post."""
    return Post(
        id=PostId(name),
        kind=Kind.UPDATE if follows else Kind.WARNING,
        template="warning",
        author="zhang",
        title=title,
        timing=At(when=at),
        accounts=tuple(AccountId(account) for account in accounts),
        definition=f"{name}/{title}",
        follows=PostId(follows) if follows else None,
        is_urgent=is_urgent,
        expires_at=expires_at,
    )


def draft_of(post: Post, at: datetime, *, is_new: bool = True, label: str = ONCE, floors: int = 0) -> Draft:
    """Give a post's occurrence with plain words for each account, which go on in so many further floors."""
    occurrence = occurrence_of(post, label, at)
    renditions = []
    for account in post.accounts:
        marker = marker_for(occurrence.key, account)
        text = f"{post.title}〔{marker.code}〕"
        more = tuple(f"{floor_sign(marker, number, floors + 1)}其{number}" for number in range(2, floors + 2))
        named = Rendition(account=account, platform=Platform("fake"), marker=marker, title=post.title, text=text)
        renditions.append(replace(named, floors=more))
    filing = Filing(post=post, occurrence=occurrence, accounts=post.accounts, is_new=is_new)
    revision = Revision(definition=post.definition, renditions=tuple(renditions))
    return Draft(filing=filing, revision=revision)


async def file_posts(registry: Registry, *posts: Post, text: str | None = None, floors: int = 0) -> int:
    """File one-off posts as if a schedule held them. Returns how many deliveries are new."""
    dated = [(post, post.timing.when) for post in posts if isinstance(post.timing, At) and post.timing.when]
    drafts = [draft_of(post, at, floors=floors) for post, at in dated]
    plan = Plan(filings=tuple(draft.filing for draft in drafts))
    return await registry.accept(Acceptance(plan=plan, drafts=drafts, posts=posts, text=text))
