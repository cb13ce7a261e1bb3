"""A WeChat draft is not remembered: every attempt makes its own, unless one of it still stands in the box.

Breaks I1 and I7 (F07): after a submission whose fate is open, `find` no longer asks whether the draft was taken, so
that a list which shows late proves absence; the next attempt submits a second draft.
"""

from adapters.wechat.drafting import Drafting
from publisher.domain.rendition import Parcel


async def _nothing_noted(_drafting: Drafting, _parcel: Parcel) -> tuple[str | None, int]:
    return None, 0


def plant() -> None:
    Drafting._note = _nothing_noted
