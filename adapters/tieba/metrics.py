"""How far a thread has come, and what stands on the account, as reads give it. Pure."""

from collections.abc import Mapping, Sequence

from publisher.contract import HttpResponse
from publisher.domain.results import Deleted, ObservedPost, Reach, ReadFailure

from .api import RequestFailure, get_object, to_int
from .post_list import ThreadQuery, TiebaThreadList, build_thread_url, decode_thread_page

MAX_MEASURED_THREADS = 10
"""So many threads are read at one time; each costs a call, and hurried reads are noticed."""
THREAD_ONLY_REASONS = frozenset({"tieba_other_page", "tieba_wrong_account"})
"""What is strange about one thread and says nothing of the next."""


def decode_reach(response: HttpResponse | RequestFailure, query: ThreadQuery) -> Reach | Deleted | ReadFailure:
    """Read a thread's figures as anybody is shown them; replies may or may not count the first floor."""
    body = decode_thread_page(response, query)
    if not isinstance(body, Mapping):
        return body
    thread = get_object(body, "thread")
    return Reach(
        reads=_find_largest(body.get("thread_freq_num"), thread.get("view_num")),
        reposts=_find_largest(thread.get("share_num")),
        comments=_find_largest(thread.get("reply_num")),
        likes=_find_largest(thread.get("agree_num"), get_object(thread, "agree").get("agree_num")),
    )


def to_observed_posts(listing: TiebaThreadList, fid: int) -> Sequence[ObservedPost]:
    """Give the threads in one forum that others are shown too, newest first."""
    shown = [item for item in listing.items if item.fid == fid and item.is_visible]
    newest = sorted(shown, key=lambda item: (item.created_at, int(item.tid)), reverse=True)
    return [
        ObservedPost(
            remote_id=item.tid,
            url=build_thread_url(item.tid),
            published_at=item.created_at,
            text=f"{item.title}\n{item.abstract}",
        )
        for item in newest
    ]


def _find_largest(*values: object) -> int | None:
    """Give the largest figure told: the app's readers take views from one place, the site's from another."""
    figures = [figure for value in values if (figure := to_int(value)) is not None and figure >= 0]
    return max(figures, default=None)
