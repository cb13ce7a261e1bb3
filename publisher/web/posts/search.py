"""Search over posts, accounts, regions and bulletin numbers; and help."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.account import AccountId
from publisher.domain.kinds import PostKind
from publisher.domain.post import normalize
from publisher.domain.user import Permission
from publisher.store.queries.occurrences import OccurrenceFilter
from publisher.web.kit.page import redirect, render_page
from publisher.web.kit.pinyin import begins_with, read_letters
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import get_site, get_visitor
from publisher.web.posts.posts import find_spelt

MAX_QUERY_CHARACTERS = 100
MAX_POSTS, MAX_ACCOUNTS = 20, 30


async def show_search(request: Request) -> Response:
    """Show the matches, posts first. A bulletin number leads straight to its delivery."""
    site, visitor = get_site(request), get_visitor(request)
    text = request.query_params.get("q", "").strip()[:MAX_QUERY_CHARACTERS]
    reach = visitor.reach(Permission.VIEW)
    found = await site.store.occurrences.find_marker(text) if text else None
    if found is not None and (reach is None or found[1] in reach):
        key, account = found
        return redirect(request, f"/deliveries/{key.post}/{key.occurrence}/{account}")
    names = name_accounts(site.settings, visitor.messages)
    wanted = OccurrenceFilter(
        text=text, spelt=await find_spelt(site, text), accounts=reach
    )
    posts = (
        await site.store.occurrences.find_families(wanted, MAX_POSTS) if text else ()
    )
    exact = sorted(posts, key=lambda post: post.name != text)
    accounts = [
        key
        for key in find_accounts(request, text, names)
        if reach is None or key in reach
    ]
    return await render_page(
        request,
        "posts/search",
        text=text,
        posts=exact,
        accounts=accounts[:MAX_ACCOUNTS],
        number=len(accounts),
        names=names,
    )


def find_accounts(
    request: Request, text: str, names: AccountNames
) -> Sequence[AccountId]:
    """Return the accounts with a text in their id, name, identity or region, in settings order.

    Spaces and punctuation do not count. A name is also found by its pinyin.
    """
    settings, wanted = get_site(request).settings, normalize(text)
    letters = read_letters(text)
    if not wanted:
        return ()
    return [
        key
        for key, account in settings.accounts.items()
        if (letters and begins_with(names.region(key), letters))
        or any(
            wanted in normalize(value)
            for value in (
                key,
                names.name(key),
                account.identity,
                account.forum or "",
                *settings.regions.get(account.region or "", {}).values(),
            )
        )
    ]


async def show_help(request: Request) -> Response:
    return await render_page(request, "posts/help", kinds=list(PostKind))
