"""The post that another one follows: which ones there are, and their accounts."""

from collections.abc import Mapping, Sequence
from typing import Final

from publisher.domain.post import PostId, find_family
from publisher.domain.user import Permission
from publisher.store.queries.occurrences import OccurrenceFilter
from publisher.web.kit.site import Visitor

MAX_ORIGINALS: Final = 100


async def list_originals(
    visitor: Visitor, own: str, follows: str
) -> Mapping[PostId, str]:
    """Return the titles and times of the posts that the post `own` may follow, the latest due first.

    The chosen one, `follows`, is among them, however old it is.
    """
    store = visitor.site.store
    wanted = OccurrenceFilter(accounts=visitor.reach(Permission.VIEW))
    found: dict[PostId, str] = {}
    for item in await store.occurrences.find(wanted, MAX_ORIGINALS):
        post = PostId(find_family(item.key.post))
        if post != own:
            name = f"{item.title}　{visitor.clock.when(item.due_at)}"
            found.setdefault(post, name)
    chosen = PostId(find_family(follows))
    if chosen and chosen not in found:
        visible = await visitor.find_visible([chosen])
        titles = await store.queries.titles(visible)
        found[chosen] = titles.get(chosen, chosen)
    return found


async def choose_followed(visitor: Visitor, original: PostId) -> Sequence[str]:
    """Return the recipients of a follow-up: the accounts of the followed post, or of its family.

    It does nothing on other accounts.
    """
    site = visitor.site
    posts = await site.store.posts.family_posts(original)
    visible = await visitor.find_visible([post.id for post in posts])
    accounts = {
        account for post in posts if post.id in visible for account in post.accounts
    }
    known = accounts & site.settings.accounts.keys()
    is_all = known == site.settings.accounts.keys()
    return sorted(known) if known and not is_all else ["all"]
