"""Weibo's reads and removals as data. Pure.

wiki 2/statuses/user_timeline, show, count, destroy and their twins among the business calls (C/2/statuses/…/biz), and
Oauth2/get_token_info.

What a list of own posts proves about one parcel. Pure.

An ordinary app is shown its five newest posts and no more, a business one a hundred, so a list that does not reach back
to the baseline proves nothing by what it lacks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from adapters.weibo.api import (
    Json,
    WeiboEndpoint,
    decode_created_at,
    decode_list,
    decode_object,
    get_error_message,
    get_owner_id,
    get_post_id,
    get_reason,
    interpret_error,
    is_number,
    make_article_receipt,
    make_receipt,
    parse_object,
    parse_reason_code,
    parse_time,
    to_int,
    to_text,
)
from adapters.weibo.codes import CODES, NO_SUCH_POST, WeiboErrorClass, to_message_key
from adapters.weibo.profiles import API_URL
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.rendered import Baseline, Marker, SendRequest, normalize
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    NotFound,
    NotSent,
    ObservedPost,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Rejected,
    Ticket,
    Unknown,
    to_read_failure,
)
from publisher.domain.verification import is_similar

DELETION_UNCONFIRMED = Unknown(reason="weibo_deletion_unconfirmed")
"""The answer that a post is taken down, or not there, before a read has shown it."""
MAX_COUNTED_POSTS = 100
"""How many posts are counted in one call."""
_MAX_LIFETIME_SECONDS = 10**9
"""Seconds; a token that claims to live longer than thirty years is believed for thirty."""
_FINAL_ERROR_CLASSES = frozenset(
    {
        WeiboErrorClass.ACCOUNT,
        WeiboErrorClass.PERMISSION,
        WeiboErrorClass.CAPTCHA,
        WeiboErrorClass.CREDENTIAL,
        WeiboErrorClass.REJECTED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboListedPost:
    """One post of a list. `texts` are its words, the addresses behind its links, and the note that stays with it.

    `folded` is what of them the platform leaves alone, to look for markers in.
    """

    id: str
    created_at: datetime
    texts: tuple[str, ...] = field(repr=False)
    normalized_texts: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboPostList:
    """The newest posts of the account, in the order given; `total` is how many the account is said to have."""

    items: tuple[WeiboListedPost, ...]
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboTokenInfo:
    """Whose token it is, for which app, for how many seconds more, and when it was made."""

    uid: str
    app_key: str | None
    remaining_seconds: int
    issued_at: int | None


def encode_timeline(endpoint: WeiboEndpoint, count: int) -> HttpRequest:
    """List the newest own posts, those made by hand included. Without `since_id`: the list must reach back."""
    query = {"count": str(count), "page": "1"}
    return HttpRequest(method="GET", url=endpoint.statuses_url("user_timeline"), query=query, headers=endpoint.headers)


def encode_show(endpoint: WeiboEndpoint, remote_id: str) -> HttpRequest:
    """Read one post; the business calls have no twin of this."""
    url = endpoint.build_url(API_URL, "2/statuses/show.json")
    return HttpRequest(method="GET", url=url, query={"id": remote_id}, headers=endpoint.headers)


def encode_counts(endpoint: WeiboEndpoint, ids: Sequence[str]) -> HttpRequest:
    """Ask how far up to a hundred posts have come, in one call."""
    return HttpRequest(
        method="GET", url=endpoint.statuses_url("count"), query={"ids": ",".join(ids)}, headers=endpoint.headers
    )


def encode_destroy(endpoint: WeiboEndpoint, remote_id: str) -> HttpRequest:
    return HttpRequest(
        method="POST", url=endpoint.statuses_url("destroy"), form={"id": remote_id}, headers=endpoint.headers
    )


def encode_token_info(endpoint: WeiboEndpoint) -> HttpRequest:
    """Ask whose token it is. This call takes the token in the body only."""
    return HttpRequest(
        method="POST", url=endpoint.build_url(API_URL, "oauth2/get_token_info"), form={"access_token": endpoint.token}
    )


def decode_timeline(response: HttpResponse | NotSent | ReadFailure, uid: str) -> WeiboPostList | ReadFailure:
    """Read a list of own posts; one entry of somebody else makes the whole list worthless."""
    return (
        response.decode_cached(_decode_timeline, uid)
        if isinstance(response, HttpResponse)
        else to_read_failure(response)
    )


def _decode_timeline(response: HttpResponse, uid: str) -> WeiboPostList | ReadFailure:
    body = decode_object(response)
    if isinstance(body, ReadFailure):
        return body
    entries = body.get("statuses")
    if not isinstance(entries, list):
        return Unknown(reason="bad_response")
    items = []
    for entry in entries:
        item = _decode_listed_post(entry, uid)
        if isinstance(item, Unknown):
            return item
        items.append(item)
    total = body.get("total_number")
    return WeiboPostList(items=tuple(items), total=total if isinstance(total, int) else None)


def to_observed_posts(timeline: WeiboPostList, uid: str) -> Sequence[ObservedPost]:
    """Give the posts of a list, newest first: a pinned one stands on top in the list itself."""
    newest = sorted(timeline.items, key=lambda item: int(item.id), reverse=True)
    return [
        ObservedPost(
            remote_id=item.id,
            url=make_receipt(item.id, uid, item.created_at).url,
            published_at=item.created_at,
            text=item.texts[0],
        )
        for item in newest
    ]


def decode_show(response: HttpResponse | NotSent | ReadFailure, uid: str) -> Published | Deleted | ReadFailure:
    """Read one own post: there, gone, or not to be known."""
    body = decode_object(response)
    if isinstance(body, ReadFailure):
        return Deleted() if get_reason(body) == to_message_key(NO_SUCH_POST) else body
    item = _decode_listed_post(body, uid)
    return item if isinstance(item, Unknown) else Published(receipt=make_receipt(item.id, uid, item.created_at))


def decode_counts(
    response: HttpResponse | NotSent | ReadFailure, ids: Sequence[str]
) -> Mapping[str, Reach] | ReadFailure:
    """Read the counts of posts; those that do not exist any more are left out of the answer."""
    entries = decode_list(response)
    if isinstance(entries, ReadFailure):
        return entries
    found = [(get_post_id(entry), entry) for entry in entries if isinstance(entry, dict)]
    return {remote_id: _decode_reach_entry(entry) for remote_id, entry in found if remote_id in set(ids)}


def decode_destroy(response: HttpResponse | NotSent | ReadFailure, remote_id: str) -> DeletionResult:
    """Read what a call to take a post down has led to; ASKED_DOWN where a read has to show whether the post is gone."""
    body = decode_object(response)
    if not isinstance(body, ReadFailure):
        return DELETION_UNCONFIRMED if get_post_id(body) == remote_id else Unknown(reason="weibo_no_id")
    if isinstance(body, RateLimited):
        return body
    if body.reason == to_message_key(NO_SUCH_POST):
        return DELETION_UNCONFIRMED
    listed = CODES.get(parse_reason_code(body.reason) or 0)
    if listed is not None and listed.error_class in _FINAL_ERROR_CLASSES:
        return Rejected(
            code=body.reason,
            reason=get_error_message(parse_object(response)) if isinstance(response, HttpResponse) else "",
        )
    return body


def decode_token_facts(response: HttpResponse | NotSent | ReadFailure) -> WeiboTokenInfo | ReadFailure:
    body = decode_object(response)
    if isinstance(body, ReadFailure):
        return body
    owner, seconds = to_text(body.get("uid")), _get_remaining_seconds(body)
    if owner is None or seconds is None:
        return Unknown(reason="bad_response")
    return WeiboTokenInfo(
        uid=owner,
        app_key=to_text(body.get("appkey")),
        remaining_seconds=seconds,
        issued_at=to_int(body.get("create_at")),
    )


def check_token(facts: WeiboTokenInfo, uid: str, app_key: str | None) -> Blocked | CredentialExpired | None:
    """Say what is wrong with a token, if anything; `app_key` is compared where it is known."""
    if facts.uid != uid:
        return Blocked(code="weibo_wrong_account", reason=facts.uid, hold_reason=HoldReason.WRONG_ACCOUNT)
    if app_key is not None and facts.app_key != app_key:
        return Blocked(code="weibo_wrong_app", reason=facts.app_key or "", hold_reason=HoldReason.PERMISSION)
    return CredentialExpired(reason="weibo_21327") if facts.remaining_seconds <= 0 else None


def decode_token_info(
    response: HttpResponse | NotSent | ReadFailure, uid: str, app_key: str | None, now: datetime
) -> HealthCheckResult:
    """Read whether the token works, is ours, and how long it lives."""
    facts = decode_token_facts(response)
    if isinstance(facts, RateLimited):
        return facts
    if isinstance(facts, Unknown):
        return _interpret_token_error(
            facts, get_error_message(parse_object(response)) if isinstance(response, HttpResponse) else "", now
        )
    return check_token(facts, uid, app_key) or Healthy(
        credentials_expire_at=now + timedelta(seconds=facts.remaining_seconds)
    )


def _interpret_token_error(trouble: Unknown, words: str, now: datetime) -> HealthCheckResult:
    code = parse_reason_code(trouble.reason)
    meant = trouble if code is None else interpret_error(code, words, Ticket(payload=""), now)
    return meant if isinstance(meant, CredentialExpired | Blocked) else trouble


def _decode_listed_post(entry: object, uid: str) -> WeiboListedPost | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_response")
    remote_id, owner = get_post_id(entry), get_owner_id(entry)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Unknown(reason="weibo_wrong_account")
    at = parse_time(entry.get("created_at")) or decode_created_at(remote_id)
    texts = (str(entry.get("text", "")), *_collect_hidden_texts(entry))
    return WeiboListedPost(id=remote_id, created_at=at, texts=texts, normalized_texts=tuple(map(normalize, texts)))


def _collect_hidden_texts(entry: Json) -> Sequence[str]:
    """Give what belongs to a post without standing in its words; the form in which notes come back varies."""
    given = entry.get("url_objects")
    links = given if isinstance(given, list) else []
    addresses = [str(link.get("url_ori", "")) for link in links if isinstance(link, dict)]
    note = entry.get("annotations")
    return [*addresses, json.dumps(note)] if note else addresses


def _decode_reach_entry(entry: Json) -> Reach:
    """Read one post's counts; likes are called `likes` by the business calls."""
    return Reach(
        reposts=to_int(entry.get("reposts")),
        comments=to_int(entry.get("comments")),
        likes=to_int(entry.get("attitudes", entry.get("likes"))),
    )


def _get_remaining_seconds(body: Json) -> int | None:
    """Give the token's seconds to live; an older revision of the page names the key `expires_in`."""
    text = to_text(body.get("expire_in", body.get("expires_in"))) or ""
    return min(int(text), _MAX_LIFETIME_SECONDS) if is_number(text.removeprefix("-")) else None


_TIMESTAMP_TOLERANCE = timedelta(seconds=1)
"""Posts carry whole seconds; the baseline carries fractions of one."""
LIST_TOO_SHORT = Unknown(reason="weibo_list_too_short")
"""What a list that does not reach back shows of a post that is not in it."""
BEYOND_LIST = Unknown(reason="weibo_list_too_short", is_beyond_list=True)
"""The same, where the list holds as many posts as can be read, all of them newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboMatchCriteria:
    """By what a post of ours is known again: its marker, and what stood before it."""

    marker: Marker
    baseline: Baseline
    owned_ids: frozenset[str] = frozenset()
    text: str | None = None
    is_article: bool = False


def make_criteria(request: SendRequest, text: str, *, is_article: bool) -> WeiboMatchCriteria:
    """Give what a look needs; `text` is what was said in the list's post."""
    return WeiboMatchCriteria(
        marker=request.marker, baseline=request.baseline, owned_ids=request.owned_ids, text=text, is_article=is_article
    )


def encode_ticket(request: SendRequest, *, is_article: bool) -> Ticket:
    """Write down all that a later look needs, as the platform gives no number for a post that is not visible yet."""
    facts = {
        "marker": request.marker.code,
        "newest_id": request.baseline.newest_id,
        "since": request.baseline.taken_at.isoformat(),
        **({"article": True} if is_article else {}),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":")))


def decode_ticket(ticket: Ticket) -> WeiboMatchCriteria | str:
    """Read a ticket: the trace of an unseen post, or the plain number of a post that was seen."""
    if not ticket.payload.startswith("{"):
        return ticket.payload
    facts = json.loads(ticket.payload)
    baseline = Baseline(newest_id=facts["newest_id"], taken_at=datetime.fromisoformat(facts["since"]))
    return WeiboMatchCriteria(
        marker=Marker(code=facts["marker"]), baseline=baseline, is_article=facts.get("article", False)
    )


def interpret_timeline(
    timeline: WeiboPostList, criteria: WeiboMatchCriteria, uid: str, readable: int
) -> ReadbackResult:
    """Say what a list of at most `readable` posts shows of ours: it, its like, its absence, or nothing certain."""
    foreign = [item for item in timeline.items if item.id not in criteria.owned_ids]
    code = criteria.marker.normalized
    marked = [item for item in foreign if any(code in text for text in item.normalized_texts)]
    ours = [item for item in marked if not _is_before_baseline(item, criteria.baseline)]
    if ours:
        first = min(ours, key=lambda item: int(item.id))
        found = make_article_receipt if criteria.is_article else make_receipt
        return Published(
            receipt=found(first.id, uid, first.created_at), is_text_confirmed=code in first.normalized_texts[0]
        )
    alike = marked or [item for item in foreign if _is_alike(item, criteria)]
    if alike:
        likeness = make_receipt(alike[0].id, uid, alike[0].created_at)
        return PossibleMatch(remote_id=likeness.remote_id, url=likeness.url)
    if _covers_baseline(timeline, criteria.baseline, readable):
        return NotFound(covered_since=criteria.baseline.taken_at)
    is_full = len(timeline.items) >= readable and _is_newest_first(timeline.items[1:])
    return BEYOND_LIST if is_full else LIST_TOO_SHORT


def _is_alike(item: WeiboListedPost, criteria: WeiboMatchCriteria) -> bool:
    return (
        criteria.text is not None
        and not _is_before_baseline(item, criteria.baseline)
        and is_similar((criteria.text,), (item.texts[0],), criteria.marker)
    )


def _is_before_baseline(item: WeiboListedPost, baseline: Baseline) -> bool:
    """Whether a post stood on the account before the call."""
    newest = baseline.newest_id or ""
    if newest.isdigit() and int(item.id) <= int(newest):
        return True
    return item.created_at <= baseline.taken_at - _TIMESTAMP_TOLERANCE


def _covers_baseline(timeline: WeiboPostList, baseline: Baseline, readable: int) -> bool:
    """Whether nothing newer than the baseline can be missing from a list.

    Its end must be older than the baseline and its order newest first, each post once, else posts may have fallen out
    in between; the first one may be out of order or come again, as an account can pin a post. Or the list is the whole
    account: fewer posts than are readable, at least one, and as many as the account is said to have. An empty list
    proves nothing.
    """
    items = timeline.items
    if not items or not _is_newest_first(items[1:]):
        return False
    is_whole = len(items) < readable and timeline.total == len({item.id for item in items})
    return is_whole or _is_before_baseline(items[-1], baseline)


def _is_newest_first(items: Sequence[WeiboListedPost]) -> bool:
    return all(int(newer.id) > int(older.id) for newer, older in pairwise(items))
