"""What a list has cut short is taken for another's words: only a text of some length can be like ours.

Breaks I1 (F54), I8 and I16: where a call's reply is lost and lists show no more than twenty-odd characters, without the
marker, two looks count as absence. A second copy goes out; or what is to be taken down counts as gone, and is live.
"""

from collections.abc import Sequence

from adapters.wechat import reading
from adapters.weibo import timeline
from publisher.domain.likeness import TELLING, is_alike
from publisher.domain.rendition import Marker


def _is_long_enough(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
    return len(" ".join(theirs)) >= TELLING and is_alike(ours, theirs, marker)


def plant() -> None:
    reading.is_alike = _is_long_enough
    timeline.is_alike = _is_long_enough
