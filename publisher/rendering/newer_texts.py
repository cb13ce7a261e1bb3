"""Compare filed texts with the texts that present templates and settings give."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from publisher.domain.account import AccountId
from publisher.domain.post import FiledTexts, Occurrence, Post, PostId
from publisher.rendering.renderer import PostRenderer


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerTexts:
    """The text to file now in place of a filed text.

    It differs on these accounts.
    """

    filed: FiledTexts
    accounts: tuple[AccountId, ...]


def find_newer_texts(
    renderer: PostRenderer, filed: Sequence[FiledTexts], posts: Mapping[PostId, Post]
) -> list[NewerTexts]:
    """Return the filed texts that would be different now, with their accounts.

    `posts` has their posts, and the posts that they follow. A text carries its minute: a text that
    was moved may be of either instant. Texts that cannot be rendered now are left out. Texts of an
    account that has left the settings are left out too, as is an edit that is not in force yet.
    """
    wanted = [
        one
        for one in filed
        if one.key.post in posts
        and posts[one.key.post].content_hash == one.content_hash
    ]
    found = []
    differing = list(_compare(renderer, wanted, posts, is_scheduled=False))
    moved = [
        one
        for one, accounts in differing
        if accounts and one.due_at != one.scheduled_at
    ]
    at_schedule = {
        id(one): accounts
        for one, accounts in _compare(renderer, moved, posts, is_scheduled=True)
    }
    for one, accounts in differing:
        if newer := accounts & at_schedule.get(id(one), accounts):
            found.append(NewerTexts(filed=one, accounts=tuple(sorted(newer))))
    return found


def _compare(
    renderer: PostRenderer,
    filed: Sequence[FiledTexts],
    posts: Mapping[PostId, Post],
    *,
    is_scheduled: bool,
) -> Iterator[tuple[FiledTexts, set[AccountId]]]:
    """Yield each filed text with the accounts for a different text now.

    It is compared at its due or its scheduled time.
    """
    items = []
    for one in filed:
        due_at = one.scheduled_at if is_scheduled else one.due_at
        occurrence = Occurrence(key=one.key, due_at=due_at, expires_at=one.expires_at)
        items.append(
            (
                posts[one.key.post],
                occurrence,
                [name for name in one.texts if name in renderer.accounts],
            )
        )
    for one, result in zip(filed, renderer.render_all(items, posts), strict=True):
        yield (
            one,
            {
                item.account
                for item in result.rendered_posts
                if item.fingerprint != one.texts[item.account]
            },
        )
