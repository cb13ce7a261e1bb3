"""Weibo's reads and removals as data. Pure.

wiki 2/statuses/user_timeline, show, count, destroy and their twins among the business calls (C/2/statuses/…/biz), and
Oauth2/get_token_info.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from publisher.contract import Call, Reply
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Gone,
    Health,
    HoldReason,
    NotSent,
    Published,
    RateLimited,
    Reach,
    Ready,
    Rejected,
    Removal,
    Sighting,
    Ticket,
    Unknown,
    Unread,
    unread,
)
from publisher.domain.rendition import fold

from .address import made_at, receipt
from .codes import CODES, NO_SUCH_POST, Kind, name
from .fields import (
    Json,
    code_in,
    id_of,
    is_number,
    moment,
    number,
    object_of,
    owner_of,
    read_answer,
    read_list,
    whole,
    word_for,
    words_of,
)
from .profiles import API
from .wire import Site, refusal

ASKED_DOWN = Unknown(reason="weibo_still_shown")
"""The answer that a post is taken down, or not there, before a read has shown it."""
MOST_COUNTED = 100
"""How many posts are counted in one call."""
_LONGEST_LIFE = 10**9
"""Seconds; a token that claims to live longer than thirty years is believed for thirty."""
_FINAL = frozenset({Kind.ACCOUNT, Kind.PERMISSION, Kind.CAPTCHA, Kind.SIGN_IN, Kind.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One post of a list. `texts` are its words, the addresses behind its links, and the note that stays with it.

    `folded` is what of them the platform leaves alone, to look for markers in.
    """

    id: str
    at: datetime
    texts: tuple[str, ...] = field(repr=False)
    folded: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The newest posts of the account, in the order given; `total` is how many the account is said to have."""

    items: tuple[Item, ...]
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """Whose token it is, for which app, for how many seconds more, and when it was made."""

    uid: str
    app_key: str | None
    seconds: int
    made: int | None


def encode_timeline(site: Site, count: int) -> Call:
    """List the newest own posts, those made by hand included. Without `since_id`: the list must reach back."""
    query = {"count": str(count), "page": "1"}
    return Call(method="GET", url=site.statuses("user_timeline"), query=query, headers=site.headers)


def encode_show(site: Site, remote_id: str) -> Call:
    """Read one post; the business calls have no twin of this."""
    url = site.at(API, "2/statuses/show.json")
    return Call(method="GET", url=url, query={"id": remote_id}, headers=site.headers)


def encode_counts(site: Site, ids: Sequence[str]) -> Call:
    """Ask how far up to a hundred posts have come, in one call."""
    return Call(method="GET", url=site.statuses("count"), query={"ids": ",".join(ids)}, headers=site.headers)


def encode_destroy(site: Site, remote_id: str) -> Call:
    return Call(method="POST", url=site.statuses("destroy"), form={"id": remote_id}, headers=site.headers)


def encode_token_info(site: Site) -> Call:
    """Ask whose token it is. This call takes the token in the body only."""
    return Call(method="POST", url=site.at(API, "oauth2/get_token_info"), form={"access_token": site.token})


def decode_timeline(reply: Reply | NotSent | Unread, uid: str) -> Timeline | Unread:
    """Read a list of own posts; one entry of somebody else makes the whole list worthless."""
    return reply.read_once(_timeline, uid) if isinstance(reply, Reply) else unread(reply)


def _timeline(reply: Reply, uid: str) -> Timeline | Unread:
    body = read_answer(reply)
    if isinstance(body, Unread):
        return body
    entries = body.get("statuses")
    if not isinstance(entries, list):
        return Unknown(reason="bad_reply")
    items = []
    for entry in entries:
        item = _item(entry, uid)
        if isinstance(item, Unknown):
            return item
        items.append(item)
    total = body.get("total_number")
    return Timeline(items=tuple(items), total=total if isinstance(total, int) else None)


def sightings(timeline: Timeline, uid: str) -> Sequence[Sighting]:
    """Give the posts of a list, newest first: a pinned one stands on top in the list itself."""
    newest = sorted(timeline.items, key=lambda item: int(item.id), reverse=True)
    return [
        Sighting(remote_id=item.id, url=receipt(item.id, uid, item.at).url, live_at=item.at, text=item.texts[0])
        for item in newest
    ]


def decode_show(reply: Reply | NotSent | Unread, uid: str) -> Published | Gone | Unread:
    """Read one own post: there, gone, or not to be known."""
    body = read_answer(reply)
    if isinstance(body, Unread):
        return Gone() if word_for(body) == name(NO_SUCH_POST) else body
    item = _item(body, uid)
    return item if isinstance(item, Unknown) else Published(receipt=receipt(item.id, uid, item.at))


def decode_counts(reply: Reply | NotSent | Unread, ids: Sequence[str]) -> Mapping[str, Reach] | Unread:
    """Read the counts of posts; those that do not exist any more are left out of the answer."""
    entries = read_list(reply)
    if isinstance(entries, Unread):
        return entries
    found = [(id_of(entry), entry) for entry in entries if isinstance(entry, dict)]
    return {remote_id: _reach(entry) for remote_id, entry in found if remote_id in set(ids)}


def decode_destroy(reply: Reply | NotSent | Unread, remote_id: str) -> Removal:
    """Read what a call to take a post down has led to; ASKED_DOWN where a read has to show whether the post is gone."""
    body = read_answer(reply)
    if not isinstance(body, Unread):
        return ASKED_DOWN if id_of(body) == remote_id else Unknown(reason="weibo_no_id")
    if isinstance(body, RateLimited):
        return body
    if body.reason == name(NO_SUCH_POST):
        return ASKED_DOWN
    listed = CODES.get(code_in(body.reason) or 0)
    if listed is not None and listed.kind in _FINAL:
        return Rejected(code=body.reason, reason=words_of(object_of(reply)) if isinstance(reply, Reply) else "")
    return body


def decode_token_facts(reply: Reply | NotSent | Unread) -> TokenFacts | Unread:
    body = read_answer(reply)
    if isinstance(body, Unread):
        return body
    owner, seconds = number(body.get("uid")), _seconds(body)
    if owner is None or seconds is None:
        return Unknown(reason="bad_reply")
    return TokenFacts(uid=owner, app_key=number(body.get("appkey")), seconds=seconds, made=whole(body.get("create_at")))


def judge_token(facts: TokenFacts, uid: str, app_key: str | None) -> Blocked | CredentialExpired | None:
    """Say what is wrong with a token, if anything; `app_key` is compared where it is known."""
    if facts.uid != uid:
        return Blocked(code="weibo_wrong_account", reason=facts.uid, hold=HoldReason.WRONG_ACCOUNT)
    if app_key is not None and facts.app_key != app_key:
        return Blocked(code="weibo_wrong_app", reason=facts.app_key or "", hold=HoldReason.PERMISSION)
    return CredentialExpired(reason="weibo_21327") if facts.seconds <= 0 else None


def decode_token_info(reply: Reply | NotSent | Unread, uid: str, app_key: str | None, now: datetime) -> Health:
    """Read whether the token works, is ours, and how long it lives."""
    facts = decode_token_facts(reply)
    if isinstance(facts, RateLimited):
        return facts
    if isinstance(facts, Unknown):
        return _health(facts, words_of(object_of(reply)) if isinstance(reply, Reply) else "", now)
    return judge_token(facts, uid, app_key) or Ready(until=now + timedelta(seconds=facts.seconds))


def _health(trouble: Unknown, words: str, now: datetime) -> Health:
    code = code_in(trouble.reason)
    meant = trouble if code is None else refusal(code, words, Ticket(number=""), now)
    return meant if isinstance(meant, CredentialExpired | Blocked) else trouble


def _item(entry: object, uid: str) -> Item | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_reply")
    remote_id, owner = id_of(entry), owner_of(entry)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Unknown(reason="weibo_wrong_account")
    at = moment(entry.get("created_at")) or made_at(remote_id)
    texts = (str(entry.get("text", "")), *_unseen(entry))
    return Item(id=remote_id, at=at, texts=texts, folded=tuple(map(fold, texts)))


def _unseen(entry: Json) -> Sequence[str]:
    """Give what belongs to a post without standing in its words; the form in which notes come back varies."""
    given = entry.get("url_objects")
    links = given if isinstance(given, list) else []
    addresses = [str(link.get("url_ori", "")) for link in links if isinstance(link, dict)]
    note = entry.get("annotations")
    return [*addresses, json.dumps(note)] if note else addresses


def _reach(entry: Json) -> Reach:
    """Read one post's counts; likes are called `likes` by the business calls."""
    return Reach(
        reposts=whole(entry.get("reposts")),
        comments=whole(entry.get("comments")),
        likes=whole(entry.get("attitudes", entry.get("likes"))),
    )


def _seconds(body: Json) -> int | None:
    """Give the token's seconds to live; an older revision of the page names the key `expires_in`."""
    text = number(body.get("expire_in", body.get("expires_in"))) or ""
    return min(int(text), _LONGEST_LIFE) if is_number(text.removeprefix("-")) else None
