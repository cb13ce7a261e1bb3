"""Match the list of an account's posts against a send request. Pure.

Only this module decides if a post is ours. An adapter turns its platform's list into `ListedPost`s
and its request into `MatchCriteria`. Their joint proof is decided here, for every platform alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from publisher.domain.characters import is_storable
from publisher.domain.post import Baseline, Marker, normalize
from publisher.domain.results import (
    Deleted,
    NotFound,
    PossibleMatch,
    Published,
    Receipt,
)
from publisher.domain.verification import is_similar

MAX_LIST_ENTRIES = 500
"""More entries than any platform is asked for at once. A longer list proves nothing."""


@dataclass(frozen=True, kw_only=True)
class ListedPost:
    """One post in a list of the account's own posts, as the platform shows it.

    `created_at` is the time of its creation, or of its last change where the list has no other.
    `title` and `text` may be cut. `other_texts` are further places that may contain our marker,
    such as links, annotations or a key. `is_deleted` marks a post that is listed although nobody
    can see it any more.
    """

    remote_id: str
    url: str
    created_at: datetime
    title: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    other_texts: tuple[str, ...] = field(default=(), repr=False)
    is_deleted: bool = False

    @cached_property
    def normalized_texts(self) -> tuple[str, ...]:
        """All texts in the form used to search markers, title and text first.

        One list may resolve many outcomes.
        """
        return tuple(map(normalize, (self.title, self.text, *self.other_texts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCriteria:
    """How our post is recognised: by its marker, and by the account's posts before it.

    `owned_ids` are posts of other deliveries. `title` and `text` are the parts of our post that the
    list would show. `title` is None where posts have none, and without a `text` nothing is similar.
    `are_ids_ascending`: the platform's ids are numbers, and a later post has a higher one.
    """

    marker: Marker
    baseline: Baseline
    owned_ids: frozenset[str] = frozenset()
    title: str | None = None
    text: str | None = None
    are_ids_ascending: bool = False

    def is_before(self, post: ListedPost) -> bool:
        """True if a post existed before our call."""
        return self.baseline.includes(
            post.remote_id, post.created_at, are_ids_ascending=self.are_ids_ascending
        )


def match_list(
    posts: Sequence[ListedPost], criteria: MatchCriteria, *, is_covered: bool
) -> Published | Deleted | PossibleMatch | NotFound | None:
    """Return the proof that a list, newest first, gives about our post; None if it is uncertain.

    Our post has our marker, did not exist before our call, and belongs to no other delivery. If
    there are several, it is the oldest one. It is Deleted only if the list is complete back to the
    baseline. A post is a PossibleMatch if it has our marker but is not ours, or has our words but
    not our marker. A person then decides. NotFound takes a list that is complete back to the
    baseline, by `is_covered`; see `covers_baseline`. A list with a damaged id is a damaged reply,
    and it proves nothing missing.
    """
    is_covered = is_covered and all(is_storable(post.remote_id) for post in posts)
    free = [post for post in posts if post.remote_id not in criteria.owned_ids]
    code = criteria.marker.normalized
    marked = [
        post for post in free if any(code in text for text in post.normalized_texts)
    ]
    ours = [post for post in marked if not criteria.is_before(post)]
    visible = [post for post in ours if not post.is_deleted]
    if visible:
        oldest = min(  # of posts of one instant the one listed last
            reversed(visible),
            key=lambda post: (
                int(post.remote_id)
                if criteria.are_ids_ascending
                else post.created_at.timestamp()
            ),
        )
        receipt = Receipt(
            remote_id=oldest.remote_id, url=oldest.url, published_at=oldest.created_at
        )
        is_text_confirmed = any(code in text for text in oldest.normalized_texts[:2])
        return Published(receipt=receipt, is_text_confirmed=is_text_confirmed)
    if ours:
        return Deleted() if is_covered else None
    for post in marked or (post for post in free if is_alike(post, criteria)):
        return PossibleMatch(remote_id=post.remote_id, url=post.url)
    return NotFound(covered_since=criteria.baseline.taken_at) if is_covered else None


def covers_baseline(
    posts: Sequence[ListedPost],
    baseline: Baseline,
    *,
    is_complete: bool,
    are_ids_ascending: bool = False,
    may_begin_with_pinned: bool = False,
) -> bool:
    """Return True if no post newer than the baseline can be missing from a list, as read so far.

    The list must be newest first, with each post once. Either its last post is older than the
    baseline, or the platform states by `is_complete` that there are no more. An empty list proves
    nothing. With `may_begin_with_pinned` the first post may be out of order or repeated. It then
    proves nothing about the posts after it.
    """
    in_order = posts[1:] if may_begin_with_pinned else posts
    if not posts or not is_newest_first(in_order, are_ids_ascending=are_ids_ascending):
        return False
    if is_complete or not in_order:
        return is_complete
    last = in_order[-1]
    return baseline.includes(
        last.remote_id, last.created_at, are_ids_ascending=are_ids_ascending
    )


def is_newest_first(posts: Sequence[ListedPost], *, are_ids_ascending: bool) -> bool:
    """Return True if times never rise, ids that ascend always fall, and no post is there twice."""
    return len({post.remote_id for post in posts}) == len(posts) and all(
        newer.created_at >= older.created_at
        and not (are_ids_ascending and int(newer.remote_id) <= int(older.remote_id))
        for newer, older in pairwise(posts)
    )


def is_alike(post: ListedPost, criteria: MatchCriteria) -> bool:
    """Return True if a visible post newer than the baseline has our title or our words.

    The words match as far as the post shows them. If ids do not ascend, the baseline's own newest
    post counts again if it was changed since.
    """
    was_changed = (
        not criteria.are_ids_ascending and post.created_at > criteria.baseline.taken_at
    )
    if (
        criteria.text is None
        or post.is_deleted
        or (criteria.is_before(post) and not was_changed)
    ):
        return False
    if is_similar((criteria.text,), (post.text,), criteria.marker):
        return True
    return criteria.title is not None and (
        normalize(post.title) == normalize(criteria.title)
        or is_similar(
            (criteria.title, criteria.text), (post.title, post.text), criteria.marker
        )
    )
