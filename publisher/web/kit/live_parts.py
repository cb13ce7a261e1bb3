"""The shared parts of a page and its stream: they change while it is open, by element id."""

from collections import defaultdict
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from publisher.domain.post import PostId
from publisher.web.kit.site import Visitor

ID_DIGITS, HEXADECIMAL = 10, frozenset("0123456789abcdef")
MAX_FOLLOWED = 1_000
"""How many items of a page are followed at most.

The address of its stream has to fit into the head of a request.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a page as they are now, each by the id of its element.

    `items` stand in lists. An open page may lack some of them. Of the missing ones, a reload would
    show the `wanted` ones.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    wanted: Collection[str] = ()


NO_PARTS = Parts()


class RenderedItems(Mapping[str, str]):
    """The items of a list, each rendered once, when a page that shows it asks for it."""

    def __init__(self, make: Callable[[Any], str], items: Mapping[str, Any]) -> None:
        self._make = make
        self._items = items
        self._made: dict[str, str] = {}

    def __getitem__(self, element: str) -> str:
        if element not in self._made:
            self._made[element] = self._make(self._items[element])
        return self._made[element]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


ReadParts = Callable[
    [Visitor, Mapping[str, str], Collection[PostId] | None], Coroutine[Any, Any, Parts]
]
"""Reads parts for a visitor, by the description of the page in the address of the stream.

If posts are given, nothing else has changed. Parts that show none of them may be left out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """Some parts of a page, and how they are read. `kinds` are the kinds of its items.

    Of the description of the page its reading takes the `parameters`. Others in an address must not
    cost a reading of their own.

    A part with `is_own` differs between visitors even if they may see the same accounts. An item of
    the kind `fading` turns grey where it stands, once it is gone. It then shows the doer's name,
    else the message `gone`.
    """

    read: ReadParts
    parameters: Collection[str] = ()
    kinds: Collection[str] = ()
    is_own: bool = False
    fading: str = ""
    gone: str = "web_over"


def item_id(kind: str, *names: str) -> str:
    """Return the id of the element of an item."""
    return f"{kind}-{sha256('#'.join(names).encode()).hexdigest()[:ID_DIGITS]}"


def unlisted_id(item: str) -> str:
    """Return the stream's id of an item that existed at the load, but is not listed on the page."""
    return f"unlisted-{item.rpartition('-')[2]}"


def stream_path(view: str, items: Iterable[str] = (), **page: str) -> str:
    """Return the address of a page's stream: the view, its subject, and the items of the page.

    If there are more than MAX_FOLLOWED items, the first are followed. The address then says that it
    does not name all.
    """
    known: dict[str, str] = defaultdict(str)
    followed = list(items)
    for item in followed[:MAX_FOLLOWED]:
        kind, _, digits = item.rpartition("-")
        known[kind] += digits
    cut = {"cut": "1"} if len(followed) > MAX_FOLLOWED else {}
    return f"/events?{urlencode({'view': view, **page, **cut, **known})}"


def read_items(kind: str, digits: str) -> Collection[str]:
    """Return the ids of the items of a kind that an address names, by hexadecimal digits."""
    if set(digits) - HEXADECIMAL:
        return set()
    return {
        f"{kind}-{digits[start : start + ID_DIGITS]}"
        for start in range(0, len(digits), ID_DIGITS)
    }
