"""Weibo's reads and deletions as data, and the proof by a list of the account's posts. Pure.

wiki 2/statuses/user_timeline, show, count, destroy and their twins in the business profile
(C/2/statuses/…/biz), and Oauth2/get_token_info.

An ordinary app is shown its five newest posts and no more, a business one a hundred. A list that
does not reach back to the baseline therefore does not prove that a post is absent. An empty list
proves it if Weibo itself counts no posts, and counted none before the call either. A list that
merely comes back empty, of an account that has posts, proves nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.weibo import api
from adapters.weibo.capabilities import API_URL
from adapters.weibo.codes import CODES, NO_SUCH_POST, WeiboErrorClass, to_message_key
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.post import SendRequest
from publisher.domain.post_list import (
    MAX_LIST_ENTRIES,
    ListedPost,
    covers_baseline,
    is_newest_first,
    match_list,
)
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    ObservedPost,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
    to_read_failure,
)

DELETION_UNCONFIRMED = Unknown(reason="weibo_deletion_unconfirmed")
"""Weibo reports that a post is deleted, or does not exist, and no read has shown it yet."""
MAX_COUNTED_POSTS = 100
"""Maximum posts with counts returned by one call."""
_MAX_LIFETIME_SECONDS = 10**9
"""A longer lifetime, over thirty years, is not believed."""
_FINAL_ERROR_CLASSES = frozenset({
    WeiboErrorClass.REJECTED, WeiboErrorClass.CREDENTIAL, WeiboErrorClass.ACCOUNT,
    WeiboErrorClass.CAPTCHA,
})  # fmt: skip
LIST_TOO_SHORT = Unknown(reason="weibo_list_too_short")
"""The result for a post that is missing from a list that does not reach back to the baseline."""
BEYOND_LIST = Unknown(reason="weibo_list_too_short", is_beyond_list=True)
"""The same, where the list holds as many posts as can be read, all of them newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboPostList:
    """The newest posts of the account, in the order given.

    `total` is how many the account has, as Weibo reports it.
    """

    items: tuple[ListedPost, ...]
    total: int | None

    @property
    def is_empty(self) -> bool:
        """True if the account has no posts: the list shows none, and Weibo counts none."""
        return not self.items and self.total == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNote:
    """The adapter's record of an account: whether a list has ever shown, or counted, a post.

    It is None until one is read. `empty_at` is the instant of the first read that showed it empty.
    No call with a later intent had been made by then.
    """

    has_posts: bool | None = None
    empty_at: datetime | None = None

    @classmethod
    def decode(cls, stored: str | None) -> "AccountNote":
        facts = json.loads(stored or "{}")
        at = facts.get("empty_at")
        return cls(
            has_posts=facts.get("has_posts"),
            empty_at=datetime.fromisoformat(at) if at else None,
        )

    def encode(self) -> str:
        facts = {
            "has_posts": self.has_posts,
            "empty_at": self.empty_at and self.empty_at.isoformat(),
        }
        return json.dumps(facts, separators=(",", ":"))

    def learn(self, timeline: WeiboPostList, at: datetime) -> "AccountNote":
        """Return the note after a list was read.

        Once the account had posts, it stays so, despite later lists.
        """
        if timeline.items or timeline.total:
            return replace(self, has_posts=True)
        is_first = self.has_posts is None and timeline.is_empty
        return AccountNote(has_posts=False, empty_at=at) if is_first else self

    def was_empty_before(self, request: SendRequest) -> bool:
        """True if the account had no posts before this attempt's call, and has shown none since.

        A post of ours that is known on the account proves the note, or an empty list, wrong.
        """
        if request.baseline.newest_id is not None or request.owned_ids:
            return False
        return (
            self.has_posts is False
            and self.empty_at is not None
            and self.empty_at <= request.intended_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboTokenInfo:
    """The owner of a token, its app, its remaining seconds, and the Unix time of its issue."""

    uid: str
    app_key: str | None
    remaining_seconds: int
    issued_at: int | None


def encode_timeline(endpoint: api.WeiboEndpoint, count: int) -> HttpRequest:
    """List the newest own posts, including manual ones.

    It has no `since_id`: the list must reach back.
    """
    return endpoint.build_get(
        endpoint.statuses_url("user_timeline"), count=str(count), page="1"
    )


def encode_show(endpoint: api.WeiboEndpoint, remote_id: str) -> HttpRequest:
    """Read one post; the business profile has no twin of this call."""
    return endpoint.build_get(
        endpoint.build_url(API_URL, "2/statuses/show.json"), id=remote_id
    )


def encode_counts(endpoint: api.WeiboEndpoint, ids: Sequence[str]) -> HttpRequest:
    """Read the counts of up to MAX_COUNTED_POSTS posts."""
    return endpoint.build_get(endpoint.statuses_url("count"), ids=",".join(ids))


def encode_destroy(endpoint: api.WeiboEndpoint, remote_id: str) -> HttpRequest:
    return endpoint.build_post(endpoint.statuses_url("destroy"), {"id": remote_id})


def encode_token_info(endpoint: api.WeiboEndpoint) -> HttpRequest:
    """Read the user of a token.

    This call takes the token in the body only.
    """
    return HttpRequest(
        method="POST",
        url=endpoint.build_url(API_URL, "oauth2/get_token_info"),
        form=(("access_token", endpoint.token),),
    )


def decode_timeline(
    response: api.ReadResponse, uid: str
) -> WeiboPostList | ReadFailure:
    """Return a list of own posts; an entry of another account makes the whole list worthless."""
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    return response.decode_cached(_decode_timeline, uid)


def _decode_timeline(response: HttpResponse, uid: str) -> WeiboPostList | ReadFailure:
    body = api.decode_object(response)
    if isinstance(body, ReadFailure):
        return body
    entries = body.get("statuses")
    if not isinstance(entries, list) or len(entries) > MAX_LIST_ENTRIES:
        return Unknown(reason="bad_response")
    items = []
    for entry in entries:
        item = _decode_listed_post(entry, uid)
        if isinstance(item, Unknown):
            return item
        items.append(item)
    total = body.get("total_number")
    return WeiboPostList(
        items=tuple(items), total=total if isinstance(total, int) else None
    )


def to_observed_posts(timeline: WeiboPostList) -> Sequence[ObservedPost]:
    """Return the posts of a list, newest first; in the list itself a pinned post comes first."""
    newest = sorted(timeline.items, key=lambda item: int(item.remote_id), reverse=True)
    return [
        ObservedPost(
            remote_id=item.remote_id,
            url=item.url,
            published_at=item.created_at,
            text=item.text,
        )
        for item in newest
    ]


def decode_show(
    response: api.ReadResponse, uid: str
) -> Published | Deleted | ReadFailure:
    """Return whether one own post exists, is deleted, or is not known."""
    body = api.decode_object(response)
    if isinstance(body, ReadFailure):
        return (
            Deleted() if api.get_reason(body) == to_message_key(NO_SUCH_POST) else body
        )
    item = _decode_listed_post(body, uid)
    if isinstance(item, Unknown):
        return item
    return Published(
        receipt=Receipt(
            remote_id=item.remote_id, url=item.url, published_at=item.created_at
        )
    )


def decode_counts(
    response: api.ReadResponse, ids: Sequence[str]
) -> Mapping[str, Reach] | ReadFailure:
    """Return the counts of posts; the response omits posts that no longer exist."""
    entries = api.decode_json(response)
    if isinstance(entries, ReadFailure):
        return entries
    if not isinstance(entries, list):
        return Unknown(reason="bad_response")
    posts = [
        (api.get_post_id(entry), entry) for entry in entries if isinstance(entry, dict)
    ]
    return {
        remote_id: Reach(
            reposts=api.to_int(post.get("reposts")),
            comments=api.to_int(post.get("comments")),
            likes=api.to_int(
                post.get("attitudes", post.get("likes"))
            ),  # `likes` in the business profile
        )
        for remote_id, post in posts
        if remote_id in set(ids)
    }


def decode_destroy(response: api.ReadResponse, remote_id: str) -> DeletionResult:
    """Return the result of a deletion call; DELETION_UNCONFIRMED where a read has to confirm it."""
    body = api.decode_object(response)
    if not isinstance(body, ReadFailure):
        return (
            DELETION_UNCONFIRMED
            if api.get_post_id(body) == remote_id
            else Unknown(reason="weibo_no_id")
        )
    if isinstance(body, RateLimited):
        return body
    if body.reason == to_message_key(NO_SUCH_POST):
        return DELETION_UNCONFIRMED
    listed = CODES.get(api.parse_reason_code(body.reason) or 0)
    if listed is not None and listed.error_class in _FINAL_ERROR_CLASSES:
        return Rejected(code=body.reason, reason=_get_response_message(response))
    return body


def _get_response_message(response: api.ReadResponse) -> str:
    return (
        api.get_error_message(api.parse_object(response))
        if isinstance(response, HttpResponse)
        else ""
    )


def decode_token_facts(response: api.ReadResponse) -> WeiboTokenInfo | ReadFailure:
    body = api.decode_object(response)
    if isinstance(body, ReadFailure):
        return body
    owner = api.to_text(body.get("uid"))
    # an older revision's name comes second
    seconds = api.to_text(body.get("expire_in", body.get("expires_in"))) or ""
    if owner is None or not api.is_number(seconds.removeprefix("-")):
        return Unknown(reason="bad_response")
    return WeiboTokenInfo(
        uid=owner,
        app_key=api.to_text(body.get("appkey")),
        remaining_seconds=min(int(seconds), _MAX_LIFETIME_SECONDS),
        issued_at=api.to_int(body.get("create_at")),
    )


def check_token(
    info: WeiboTokenInfo, uid: str, app_key: str | None
) -> Blocked | CredentialExpired | None:
    """Return the problem with a token, if any; `app_key` is compared if it is known."""
    if info.uid != uid:
        return Blocked(
            code="weibo_other_token",
            reason=info.uid,
            hold_reason=HoldReason.WRONG_SECRET,
        )
    if app_key is not None and info.app_key != app_key:
        return Blocked(
            code="weibo_wrong_app",
            reason=info.app_key or "",
        )
    return (
        CredentialExpired(reason="weibo_21327") if info.remaining_seconds <= 0 else None
    )


def decode_token_info(
    response: api.ReadResponse, uid: str, app_key: str | None, now: datetime
) -> HealthCheckResult:
    """Return whether the token works, is ours, and when it expires."""
    info = decode_token_facts(response)
    if isinstance(info, RateLimited):
        return info
    if isinstance(info, Unknown):
        code = api.parse_reason_code(info.reason)
        if code is None:
            return info
        outcome = api.interpret_error(
            code, _get_response_message(response), Ticket(payload=""), now
        )
        return outcome if isinstance(outcome, CredentialExpired | Blocked) else info
    expires_at = now + timedelta(seconds=info.remaining_seconds)
    return check_token(info, uid, app_key) or Healthy(credentials_expire_at=expires_at)


def _decode_listed_post(entry: object, uid: str) -> ListedPost | Unknown:
    if not isinstance(entry, dict):
        return Unknown(reason="bad_response")
    remote_id, owner = api.get_post_id(entry), api.get_owner_id(entry)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    if owner != uid:
        return Unknown(reason="weibo_wrong_account")
    links, annotations = entry.get("url_objects"), entry.get("annotations")
    others = (
        [str(link.get("url_ori", "")) for link in links if isinstance(link, dict)]
        if isinstance(links, list)
        else []
    )
    others += (
        [json.dumps(annotations)] if annotations else []
    )  # they return in varying forms
    receipt = api.make_receipt(
        remote_id,
        uid,
        api.parse_time(entry.get("created_at")) or api.decode_created_at(remote_id),
    )
    return ListedPost(
        remote_id=remote_id,
        url=receipt.url,
        created_at=receipt.published_at,
        text=str(entry.get("text", "")),
        other_texts=tuple(others),
    )


def interpret_timeline(
    timeline: WeiboPostList,
    criteria: api.WeiboMatchCriteria,
    uid: str,
    max_readable: int,
    *,
    was_empty: bool = False,
) -> ReadbackResult:
    """Return the state that a list of at most `max_readable` posts shows of our post.

    It is our post, a similar one, its absence, or nothing. The list is the whole account if it has
    fewer posts than are readable, and as many as Weibo reports for the account. By `was_empty` the
    account had no posts before the call.
    """
    items = timeline.items
    is_complete = len(items) < max_readable and timeline.total == len(
        {item.remote_id for item in items}
    )
    is_covered = (timeline.is_empty and was_empty) or covers_baseline(
        items,
        criteria.baseline,
        is_complete=is_complete,
        are_ids_ascending=True,
        may_begin_with_pinned=True,
    )
    found = match_list(items, criteria, is_covered=is_covered)
    if isinstance(found, Published) and criteria.is_article:
        receipt = found.receipt
        return replace(
            found,
            receipt=api.make_article_receipt(
                receipt.remote_id, uid, receipt.published_at
            ),
        )
    is_full = len(items) >= max_readable and is_newest_first(
        items[1:], are_ids_ascending=True
    )
    return found or (BEYOND_LIST if is_full else LIST_TOO_SHORT)
