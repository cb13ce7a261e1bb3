"""What a page and its stream share: the parts that change while it is open, by the ids of their elements."""

from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from publisher.domain.post import PostId
from publisher.web.site import Visitor

ID_DIGITS = 10
MAX_FOLLOWED = 1_000
"""So many items of a page are followed at most: the address of its stream has to fit into the head of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a page as they are now, each by the id of its element.

    `items` stand in lists. A page that is open may lack some: of those, a reload would show the ones that are `wanted`.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    wanted: Collection[str] = ()


NO_PARTS = Parts()
ReadParts = Callable[[Visitor, Mapping[str, str], Collection[PostId] | None], Coroutine[Any, Any, Parts]]
"""Reads parts for a visitor, by what the address of the stream says of the page.

If posts are given, nothing else has changed: parts that show none of them may be left out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """Some parts of a page, and how they are read. `kinds` are those of its items.

    What `is_own` differs between visitors who may see the same accounts. An item of the kind `fading` that is no longer
    there turns grey where it stands, with the name of who has done it, else with the message `gone`.
    """

    read: ReadParts
    kinds: Collection[str] = ()
    is_own: bool = False
    fading: str = ""
    gone: str = "web_over"


def item_id(kind: str, *names: str) -> str:
    """Return the id of the element of an item."""
    return f"{kind}-{sha256('#'.join(names).encode()).hexdigest()[:ID_DIGITS]}"


def unlisted_id(item: str) -> str:
    """Return by which id the stream knows an item that was there at the load, though the page does not list it."""
    return f"unlisted-{item.rpartition('-')[2]}"


def stream_path(view: str, items: Iterable[str] = (), **page: str) -> str:
    """Return the address of a page's stream: which view, what it is about, and which items the page has.

    Of more than MAX_FOLLOWED items the first are followed; the address then says that it does not name all.
    """
    known: dict[str, str] = defaultdict(str)
    followed = list(items)
    for item in followed[:MAX_FOLLOWED]:
        kind, _, digits = item.rpartition("-")
        known[kind] += digits
    cut = {"cut": "1"} if len(followed) > MAX_FOLLOWED else {}
    return f"/events?{urlencode({'view': view, **page, **cut, **known})}"


def read_items(kind: str, digits: str) -> Collection[str]:
    """Return the ids of the items of a kind that an address names."""
    return {f"{kind}-{digits[start : start + ID_DIGITS]}" for start in range(0, len(digits), ID_DIGITS)}
