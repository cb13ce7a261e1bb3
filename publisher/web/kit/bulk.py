"""One act on several posts or accounts: what was ticked, each act by itself, and the result."""

from collections.abc import Awaitable, Callable, Sequence

from publisher.domain.errors import ApprovalError, NoSuchItemError, RefusedError
from publisher.domain.post import PostId
from publisher.web.kit.site import Notice, Visitor

MAX_TICKED = 100
"""The most that one act takes: each is done by itself, while its person waits."""
MAX_NAMED = 10
"""So many of the refused are named in a notice."""
BulkError = RefusedError | ApprovalError | NoSuchItemError
"""Why an act is not possible on one item."""


def read_ticked(values: Sequence[object]) -> Sequence[str]:
    """Return what was ticked, each once. Raises RefusedError for nothing, and for too much."""
    ticked = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    if not ticked:
        raise RefusedError("web_bulk_nothing")
    if len(ticked) > MAX_TICKED:
        raise RefusedError("web_bulk_many", limit=str(MAX_TICKED))
    return ticked


async def do_each(
    visitor: Visitor,
    code: str,
    ticked: Sequence[str],
    act: Callable[[str], Awaitable[object]],
    name: Callable[[str], str] | None = None,
) -> Notice:
    """Act on each item under the rules of the single act; return how many it was done for.

    A refused item stops no other. The notice names the first of them, each with the reason: by
    `name`, or as the post that an item begins with.
    """
    translate, refused = visitor.messages.translate, list[str]()
    for item in ticked:
        try:
            await act(item)
        except (RefusedError, ApprovalError, NoSuchItemError) as error:
            refused.append(await explain_refusal(visitor, item, error, name))
    done = len(ticked) - len(refused)
    if not refused:
        return Notice(code=code, facts={"number": done})
    reasons = refused[:MAX_NAMED] + (["…"] if len(refused) > MAX_NAMED else [])
    facts = {
        "done": translate(code, number=done),
        "number": len(refused),
        "reasons": translate("web_bulk_between").join(reasons),
    }
    return Notice(code="web_bulk_refused", facts=facts, is_partial=True)


async def explain_refusal(
    visitor: Visitor,
    item: str,
    error: BulkError,
    name: Callable[[str], str] | None = None,
) -> str:
    """Return which item an act is not possible on, and why."""
    translate = visitor.messages.translate
    title = await find_title(visitor, item) if name is None else name(item)
    reason = (
        translate("web_bulk_gone")
        if isinstance(error, NoSuchItemError)
        else translate(error.code, **error.facts)
    )
    return translate("web_bulk_not", title=title, reason=reason)


async def find_title(visitor: Visitor, item: str) -> str:
    """Return the title of the post that an item begins with.

    A post that the visitor does not see keeps the name that they have sent.
    """
    name = item.partition(" ")[0]
    post = PostId(name.partition("#")[0])
    if post not in await visitor.find_visible([post]):
        return name
    found = await visitor.site.store.posts.get_post(post)
    return name if found is None else found.title
