"""A copy of a post for the accounts where its platform has refused it, and for no other."""

from collections.abc import Collection, Iterable, Mapping

from starlette.requests import Request

from publisher.domain.account import AccountId
from publisher.domain.delivery import OPEN_STATES, Delivery, State
from publisher.domain.errors import Problem, RefusedError
from publisher.domain.post import PostId
from publisher.engine.post_change import find_accounts
from publisher.schedule.edit import Entry
from publisher.web.kit.site import get_site, get_visitor

REFUSED = "refused"
"""The value of the field `only` of such a copy, in addresses and in the form."""


def list_refused(
    deliveries: Iterable[Delivery], rewritten: Collection[AccountId]
) -> Collection[AccountId]:
    """Return the accounts where the newest delivery of a post was refused, and none is open.

    On the `rewritten` ones a copy stands in its place.
    """
    newest: dict[AccountId, Delivery] = {}
    is_open: set[AccountId] = set()
    for delivery in sorted(deliveries, key=lambda one: (one.due_at, one.id)):
        newest[delivery.account] = delivery
        if delivery.state in OPEN_STATES:
            is_open.add(delivery.account)
    return {
        account
        for account, delivery in newest.items()
        if delivery.state is State.FAILED
        and account not in is_open
        and account not in rewritten
    }


async def read_refused(request: Request, post: PostId) -> Collection[AccountId]:
    """Return the accounts for which a post may be written once more, as the visitor sees them.

    What is not due yet, of a post that repeats, does not count.
    """
    site, visitor = get_site(request), get_visitor(request)
    now = site.runtime.now()
    deliveries = [
        one
        for one in await site.store.queries.deliveries(post)
        if one.state is not State.PENDING or one.due_at <= now
    ]
    refused = list_refused(deliveries, await site.store.progress.rewritten(post))
    return {account for account in refused if visitor.sees_any([account])}


async def list_refusals(request: Request, post: PostId) -> Mapping[str, str]:
    """Return why a platform has refused a post, by the name of each account that may get it again."""
    visitor = get_visitor(request)
    refused = await read_refused(request, post)
    return {
        visitor.site.account_names[visitor.lang].name(one.account): (
            visitor.formatter.reason(one.reason)
        )
        for one in await visitor.site.store.queries.deliveries(post)
        if one.account in refused and one.state is State.FAILED
    }


async def choose_refused(request: Request, post: PostId) -> list[str]:
    """Return the recipients of the copy. Raises RefusedError if nothing is left to send."""
    if not (refused := await read_refused(request, post)):
        raise RefusedError("web_rewrite_nothing", post=post)
    return sorted(refused)


async def find_excess(request: Request, entry: Entry, post: PostId) -> Problem | None:
    """Return the problem of a copy with an account where its original was not refused."""
    context = get_site(request).application.planner.schedule_context
    excess = set(find_accounts(entry, context)) - set(await read_refused(request, post))
    if not excess:
        return None
    facts = {"field": "to", "accounts": "、".join(sorted(excess))}
    return Problem(code="web_rewrite_elsewhere", facts=facts)
