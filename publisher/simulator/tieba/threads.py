"""Forums, threads, replies and comments, their ids, and the text of a post in pieces."""

import re
import zlib
from typing import Any

from publisher.simulator.state import SimulatedAccount, SimulatedPost, SimulatorState

FIRST_THREAD_ID = 10_990_000_001
FIRST_REPLY_ID = 160_000_000_001
FIRST_POST_ID_OFFSET = 139_010_000_000


def get_forum_id(name: str) -> int:
    """Return a forum's id, the same for the same name in every simulator."""
    return 1000 + zlib.crc32(name.encode()) % 90_000_000


def is_forum(state: SimulatorState, name: str) -> bool:
    """True for any name in open mode, else for the forums of the registered accounts."""
    if not name:
        return False
    return state.behaviour.open or any(
        name in each.forums
        for each in state.accounts.values()
        if each.platform == "tieba"
    )


def get_first_post_id(tid: str) -> str:
    """Return the id of a thread's first post."""
    return str(int(tid) + FIRST_POST_ID_OFFSET)


def get_uid(account: SimulatedAccount) -> int:
    return 1_000_000 + zlib.crc32(account.identity.encode()) % 5_000_000_000


REPLIES_TABLE = "tieba_floors"


def is_thread(post: SimulatedPost) -> bool:
    return post.platform == "tieba" and "thread" not in post.extra


def get_replies(state: SimulatorState, tid: str) -> list[SimulatedPost]:
    """Return the replies and comments of a thread, in order."""
    pids = (state.get_row(REPLIES_TABLE, tid) or {}).get("pids", [])
    return [state.posts[pid] for pid in pids if pid in state.posts]


def get_visible_replies(
    state: SimulatorState, tid: str, reader: str
) -> list[SimulatedPost]:
    """Return the replies and comments that a reader sees; a comment disappears with its reply."""
    visible = [each for each in get_replies(state, tid) if can_see(each, reader)]
    visible_ids = {get_first_post_id(tid), *(each.id for each in visible)}
    return [each for each in visible if each.extra.get("under", each.id) in visible_ids]


def reserve_reply_id(
    state: SimulatorState, thread: SimulatedPost, quoted: str
) -> tuple[str, dict[str, Any]]:
    """Reserve an id in a thread, or under the reply that `quoted` names.

    The id is for a post that is created at once.
    """
    known = state.get_row(REPLIES_TABLE, thread.id) or {"pids": [], "last": 1}
    extra = {
        "forum": thread.extra["forum"],
        "fid": thread.extra["fid"],
        "thread": thread.id,
    }
    if quoted:  # a comment on a comment belongs to the same reply
        quoted_post = state.posts.get(quoted)
        extra["under"] = (
            str(quoted_post.extra.get("under", quoted)) if quoted_post else quoted
        )
    else:
        known = {**known, "last": known["last"] + 1}
        extra["floor"] = known["last"]
    pid = str(state.take_number("tieba/reply", FIRST_REPLY_ID))
    state.put_row(REPLIES_TABLE, thread.id, {**known, "pids": [*known["pids"], pid]})
    return pid, extra


def can_see(post: SimulatedPost, account: str) -> bool:
    """True if the account sees the post: in review or hidden, only its author does."""
    if post.account == account:
        return post.state in ("live", "review")
    return post.state == "live" and not post.extra.get("hidden")


PICTURE_MARKUP = re.compile(r"#\(pic,([0-9]+),([0-9]+),([0-9]+)\)")
PICTURE_HOST = "http://tiebapic.baidu.com/forum/pic/item"

Piece = dict[str, Any]


def parse_markup(state: SimulatorState, text: str) -> list[Piece]:
    """Return the pieces of a text in order: type 0 is text, 3 a picture."""
    pieces: list[Piece] = []
    end = 0
    for match in PICTURE_MARKUP.finditer(text):
        pieces += _parse_text(text[end : match.start()])
        pieces.append(_parse_picture(state, match))
        end = match.end()
    return pieces + _parse_text(text[end:])


def get_picture_digests(state: SimulatorState, text: str) -> list[str]:
    """Return the digests of a text's pictures."""
    names = [match.group(1) for match in PICTURE_MARKUP.finditer(text)]
    return [
        found["sha256"]
        for name in names
        if (found := state.get_row("tieba_pictures", name))
    ]


def _parse_picture(state: SimulatorState, match: re.Match[str]) -> Piece:
    found = state.get_row("tieba_pictures", match.group(1)) or {"sha256": ""}
    source = f"{PICTURE_HOST}/{found['sha256']}.jpg"
    return {
        "type": 3,
        "src": source,
        "cdn_src": source,
        "big_cdn_src": source,
        "origin_src": source,
        "origin_size": len(state.read_media(found["sha256"]) or b""),
        "bsize": f"{match.group(2)},{match.group(3)}",
        "pic_id": match.group(1),
    }


def _parse_text(text: str) -> list[Piece]:
    stripped = text.strip("\r\n")
    return [{"type": 0, "text": stripped.replace("\r\n", "\n")}] if stripped else []
