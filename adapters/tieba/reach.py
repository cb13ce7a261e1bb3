"""How far a thread has come, and what stands on the account, as reads give it. Pure."""

from collections.abc import Mapping, Sequence

from publisher.contract import Reply
from publisher.domain.outcome import Gone, Reach, Sighting, Unread

from .reading import Asked, Listing, read_page, url_of
from .wire import Trouble, as_number, part

MOST_MEASURED = 10
"""So many threads are read at one time; each costs a call, and hurried reads are noticed."""
OF_ONE_THREAD = frozenset({"tieba_other_page", "tieba_wrong_account"})
"""What is strange about one thread and says nothing of the next."""


def decode_reach(reply: Reply | Trouble, asked: Asked) -> Reach | Gone | Unread:
    """Read a thread's figures as anybody is shown them; replies may or may not count the first floor."""
    body = read_page(reply, asked)
    if not isinstance(body, Mapping):
        return body
    thread = part(body, "thread")
    return Reach(
        reads=_most(body.get("thread_freq_num"), thread.get("view_num")),
        reposts=_most(thread.get("share_num")),
        comments=_most(thread.get("reply_num")),
        likes=_most(thread.get("agree_num"), part(thread, "agree").get("agree_num")),
    )


def sightings(listing: Listing, fid: int) -> Sequence[Sighting]:
    """Give the threads in one forum that others are shown too, newest first."""
    shown = [item for item in listing.items if item.fid == fid and item.is_shown]
    newest = sorted(shown, key=lambda item: (item.at, int(item.tid)), reverse=True)
    return [
        Sighting(remote_id=item.tid, url=url_of(item.tid), live_at=item.at, text=f"{item.title}\n{item.abstract}")
        for item in newest
    ]


def _most(*values: object) -> int | None:
    """Give the largest figure told: the app's readers take views from one place, the site's from another."""
    figures = [figure for value in values if (figure := as_number(value)) is not None and figure >= 0]
    return max(figures, default=None)
