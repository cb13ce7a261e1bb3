"""One act on several posts or accounts: what was ticked, each act by itself, and the result."""

from collections.abc import Awaitable, Callable, Sequence

from publisher.domain.errors import (
    ApprovalError,
    NoSuchItemError,
    RefusedError,
)
from publisher.web.kit.site import Notice, Visitor

MAX_TICKED = 100
"""The most that one act takes: each is done by itself, while its person waits."""
MAX_REASONS = 3


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
) -> Notice:
    """Act on each item under the rules of the single act; return how many it was done for.

    A refused item stops no other. The notice has the first reasons.
    """
    translate, refused = visitor.messages.translate, list[str]()
    for item in ticked:
        try:
            await act(item)
        except (RefusedError, ApprovalError) as error:
            refused.append(translate(error.code, **error.facts))
        except NoSuchItemError:
            refused.append(translate("web_bulk_gone"))
    done = len(ticked) - len(refused)
    if not refused:
        return Notice(code=code, facts={"number": done})
    reasons = list(dict.fromkeys(refused))[:MAX_REASONS]
    facts = {
        "done": translate(code, number=done),
        "number": len(refused),
        "reasons": translate("list_comma").join(reasons),
    }
    return Notice(code="web_bulk_refused", facts=facts, is_partial=True)
