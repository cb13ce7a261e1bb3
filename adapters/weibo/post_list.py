"""Weibo's reads and deletions as data, and what a list of the account's own posts proves. Pure.

wiki 2/statuses/user_timeline, show, count, destroy and their twins in the business profile (C/2/statuses/…/biz), and
Oauth2/get_token_info.

An ordinary app is shown its five newest posts and no more, a business one a hundred, so a list that does not reach back
to the baseline does not prove that a post is absent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from adapters.weibo import api
from adapters.weibo.capabilities import API_URL
from adapters.weibo.codes import CODES, NO_SUCH_POST, WeiboErrorClass, to_message_key
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import Baseline, normalize
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    NotFound,
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
"""Weibo reports that a post is deleted, or does not exist, and no read has shown it yet."""
MAX_COUNTED_POSTS = 100
"""The most posts whose counts one call returns."""
_MAX_LIFETIME_SECONDS = 10**9
"""A longer lifetime, over thirty years, is not believed."""
_FINAL_ERROR_CLASSES = frozenset({
    WeiboErrorClass.REJECTED, WeiboErrorClass.CREDENTIAL, WeiboErrorClass.ACCOUNT, WeiboErrorClass.PERMISSION,
    WeiboErrorClass.CAPTCHA,
})  # fmt: skip
LIST_TOO_SHORT = Unknown(reason="weibo_list_too_short")
"""The result for a post that is missing from a list that does not reach back to the baseline."""
BEYOND_LIST = Unknown(reason="weibo_list_too_short", is_beyond_list=True)
"""The same, where the list holds as many posts as can be read, all of them newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboListedPost:
    """One post of a list. `texts` are its text, the URLs behind its links, and its annotations.

    `normalized_texts` are the same without what the platform may change, to search for markers.
    """

    id: str
    created_at: datetime
    texts: tuple[str, ...] = field(repr=False)
    normalized_texts: tuple[str, ...] = field(repr=False)

    def is_before(self, baseline: Baseline) -> bool:
        return baseline.includes(self.id, self.created_at, are_ids_ascending=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboPostList:
    """The newest posts of the account, in the order given; `total` is how many the account has, as Weibo reports it."""

    items: tuple[WeiboListedPost, ...]
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboTokenInfo:
    """The owner of a token, its app, its remaining seconds, and the Unix time of its issue."""

    uid: str
    app_key: str | None
    remaining_seconds: int
    issued_at: int | None


def encode_timeline(endpoint: api.WeiboEndpoint, count: int) -> HttpRequest:
    """List the newest own posts, including manual ones. Without `since_id`: the list must reach back."""
    return endpoint.build_get(endpoint.statuses_url("user_timeline"), count=str(count), page="1")


def encode_show(endpoint: api.WeiboEndpoint, remote_id: str) -> HttpRequest:
    """Read one post; the business profile has no twin of this call."""
    return endpoint.build_get(endpoint.build_url(API_URL, "2/statuses/show.json"), id=remote_id)


def encode_counts(endpoint: api.WeiboEndpoint, ids: Sequence[str]) -> HttpRequest:
    """Read the counts of up to MAX_COUNTED_POSTS posts."""
    return endpoint.build_get(endpoint.statuses_url("count"), ids=",".join(ids))


def encode_destroy(endpoint: api.WeiboEndpoint, remote_id: str) -> HttpRequest:
    return endpoint.build_post(endpoint.statuses_url("destroy"), {"id": remote_id})


def encode_token_info(endpoint: api.WeiboEndpoint) -> HttpRequest:
    """Read whose token it is. This call takes the token in the body only."""
    return HttpRequest(
        method="POST",
        url=endpoint.build_url(API_URL, "oauth2/get_token_info"),
        form=(("access_token", endpoint.token),),
    )


def decode_timeline(response: api.ReadResponse, uid: str) -> WeiboPostList | ReadFailure:
    """Return a list of own posts; an entry of another account makes the whole list worthless."""
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    return response.decode_cached(_decode_timeline, uid)


def _decode_timeline(response: HttpResponse, uid: str) -> WeiboPostList | ReadFailure:
    body = api.decode_object(response)
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
    """Return the posts of a list, newest first; in the list itself a pinned post comes first."""
    newest = sorted(timeline.items, key=lambda item: int(item.id), reverse=True)
    return [
        ObservedPost(
            remote_id=item.id,
            url=api.make_receipt(item.id, uid, item.created_at).url,
            published_at=item.created_at,
            text=item.texts[0],
        )
        for item in newest
    ]


def decode_show(response: api.ReadResponse, uid: str) -> Published | Deleted | ReadFailure:
    """Return whether one own post exists, is deleted, or is not known."""
    body = api.decode_object(response)
    if isinstance(body, ReadFailure):
        return Deleted() if api.get_reason(body) == to_message_key(NO_SUCH_POST) else body
    item = _decode_listed_post(body, uid)
    return item if isinstance(item, Unknown) else Published(receipt=api.make_receipt(item.id, uid, item.created_at))


def decode_counts(response: api.ReadResponse, ids: Sequence[str]) -> Mapping[str, Reach] | ReadFailure:
    """Return the counts of posts; the response omits posts that no longer exist."""
    entries = api.decode_json(response)
    if isinstance(entries, ReadFailure):
        return entries
    if not isinstance(entries, list):
        return Unknown(reason="bad_response")
    posts = [(api.get_post_id(entry), entry) for entry in entries if isinstance(entry, dict)]
    return {
        remote_id: Reach(
            reposts=api.to_int(post.get("reposts")),
            comments=api.to_int(post.get("comments")),
            likes=api.to_int(post.get("attitudes", post.get("likes"))),  # `likes` in the business profile
        )
        for remote_id, post in posts
        if remote_id in set(ids)
    }


def decode_destroy(response: api.ReadResponse, remote_id: str) -> DeletionResult:
    """Return the result of a deletion call; DELETION_UNCONFIRMED where a read has to confirm it."""
    body = api.decode_object(response)
    if not isinstance(body, ReadFailure):
        return DELETION_UNCONFIRMED if api.get_post_id(body) == remote_id else Unknown(reason="weibo_no_id")
    if isinstance(body, RateLimited):
        return body
    if body.reason == to_message_key(NO_SUCH_POST):
        return DELETION_UNCONFIRMED
    listed = CODES.get(api.parse_reason_code(body.reason) or 0)
    if listed is not None and listed.error_class in _FINAL_ERROR_CLASSES:
        return Rejected(code=body.reason, reason=_get_response_message(response))
    return body


def _get_response_message(response: api.ReadResponse) -> str:
    return api.get_error_message(api.parse_object(response)) if isinstance(response, HttpResponse) else ""


def decode_token_facts(response: api.ReadResponse) -> WeiboTokenInfo | ReadFailure:
    body = api.decode_object(response)
    if isinstance(body, ReadFailure):
        return body
    owner = api.to_text(body.get("uid"))
    seconds = api.to_text(body.get("expire_in", body.get("expires_in"))) or ""  # an older revision's name comes second
    if owner is None or not api.is_number(seconds.removeprefix("-")):
        return Unknown(reason="bad_response")
    return WeiboTokenInfo(
        uid=owner,
        app_key=api.to_text(body.get("appkey")),
        remaining_seconds=min(int(seconds), _MAX_LIFETIME_SECONDS),
        issued_at=api.to_int(body.get("create_at")),
    )


def check_token(info: WeiboTokenInfo, uid: str, app_key: str | None) -> Blocked | CredentialExpired | None:
    """Return what is wrong with a token, if anything; `app_key` is compared where it is known."""
    if info.uid != uid:
        return Blocked(code="weibo_wrong_account", reason=info.uid, hold_reason=HoldReason.WRONG_ACCOUNT)
    if app_key is not None and info.app_key != app_key:
        return Blocked(code="weibo_wrong_app", reason=info.app_key or "", hold_reason=HoldReason.PERMISSION)
    return CredentialExpired(reason="weibo_21327") if info.remaining_seconds <= 0 else None


def decode_token_info(response: api.ReadResponse, uid: str, app_key: str | None, now: datetime) -> HealthCheckResult:
    """Return whether the token works, is ours, and when it expires."""
    info = decode_token_facts(response)
    if isinstance(info, RateLimited):
        return info
    if isinstance(info, Unknown):
        code = api.parse_reason_code(info.reason)
        if code is None:
            return info
        outcome = api.interpret_error(code, _get_response_message(response), Ticket(payload=""), now)
        return outcome if isinstance(outcome, CredentialExpired | Blocked) else info
    expires_at = now + timedelta(seconds=info.remaining_seconds)
    return check_token(info, uid, app_key) or Healthy(credentials_expire_at=expires_at)


def _decode_listed_post(entry: object, uid: str) -> WeiboListedPost | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_response")
    remote_id, owner = api.get_post_id(entry), api.get_owner_id(entry)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Unknown(reason="weibo_wrong_account")
    at = api.parse_time(entry.get("created_at")) or api.decode_created_at(remote_id)
    texts = [str(entry.get("text", ""))]
    links, annotations = entry.get("url_objects"), entry.get("annotations")
    texts += (
        [str(link.get("url_ori", "")) for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    )
    texts += [json.dumps(annotations)] if annotations else []  # they return in varying forms
    return WeiboListedPost(
        id=remote_id, created_at=at, texts=tuple(texts), normalized_texts=tuple(map(normalize, texts))
    )


def interpret_timeline(
    timeline: WeiboPostList, criteria: api.WeiboMatchCriteria, uid: str, max_readable: int
) -> ReadbackResult:
    """Return what a list of at most `max_readable` posts shows: our post, a similar one, its absence, or nothing."""
    foreign = [item for item in timeline.items if item.id not in criteria.owned_ids]
    code = criteria.marker.normalized
    marked = [item for item in foreign if any(code in text for text in item.normalized_texts)]
    ours = [item for item in marked if not item.is_before(criteria.baseline)]
    if ours:
        first = min(ours, key=lambda item: int(item.id))
        make = api.make_article_receipt if criteria.is_article else api.make_receipt
        return Published(
            receipt=make(first.id, uid, first.created_at), is_text_confirmed=code in first.normalized_texts[0]
        )
    similar = [
        item
        for item in foreign
        if criteria.text is not None
        and not item.is_before(criteria.baseline)
        and is_similar((criteria.text,), (item.texts[0],), criteria.marker)
    ]
    for item in marked or similar:
        return PossibleMatch(remote_id=item.id, url=api.make_receipt(item.id, uid, item.created_at).url)
    if covers_baseline(timeline, criteria.baseline, max_readable):
        return NotFound(covered_since=criteria.baseline.taken_at)
    is_full = len(timeline.items) >= max_readable and _is_newest_first(timeline.items[1:])
    return BEYOND_LIST if is_full else LIST_TOO_SHORT


def covers_baseline(timeline: WeiboPostList, baseline: Baseline, max_readable: int) -> bool:
    """True if no post newer than the baseline can be missing from a list.

    Its end must be older than the baseline and its order newest first, each post once, else posts may be missing in
    between; the first one may be out of order or repeated, as an account can pin a post. Or the list is the whole
    account: fewer posts than are readable, at least one, and as many as Weibo reports for the account. An empty list
    proves nothing.
    """
    items = timeline.items
    if not items or not _is_newest_first(items[1:]):
        return False
    is_whole = len(items) < max_readable and timeline.total == len({item.id for item in items})
    return is_whole or items[-1].is_before(baseline)


def _is_newest_first(items: Sequence[WeiboListedPost]) -> bool:
    return all(int(newer.id) > int(older.id) for newer, older in pairwise(items))
