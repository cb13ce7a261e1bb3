"""A WeChat draft is not remembered: every attempt makes its own, unless one of it still stands in the box.

Breaks I1 and I7 (F07): after a submission whose fate is open, `find` no longer asks whether the draft was taken, so
that a list which shows late proves absence; the next attempt submits a second draft.
"""

from adapters.wechat.drafts import DraftBox
from publisher.domain.post import SendRequest


async def _nothing_noted(_drafting: DraftBox, _parcel: SendRequest) -> tuple[str | None, int]:
    return None, 0


def plant() -> None:
    DraftBox._read_record = _nothing_noted
