"""What a list has cut short is taken for another's words: only a text of some length can be like ours.

Breaks I1 (F54), I8 and I16: where a call's reply is lost and lists show no more than twenty-odd characters, without the
marker, two looks count as absence. A second copy goes out; or what is to be taken down counts as gone, and is live.
"""

from collections.abc import Sequence

from adapters.wechat import post_list
from adapters.weibo import post_list as timeline
from publisher.domain.post import Marker
from publisher.domain.verification import DISTINCTIVE_PREFIX_CHARS, is_similar


def _is_long_enough(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
    return len(" ".join(theirs)) >= DISTINCTIVE_PREFIX_CHARS and is_similar(ours, theirs, marker)


def plant() -> None:
    post_list.is_similar = _is_long_enough
    timeline.is_similar = _is_long_enough
