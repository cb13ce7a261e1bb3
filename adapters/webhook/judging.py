"""What a receiver's answers mean for the call that may create, and for the reads. Pure."""

from datetime import datetime, timedelta

from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Finding,
    Gone,
    HoldReason,
    Lookalike,
    Missing,
    Outcome,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.rendition import Parcel
from publisher.domain.retry_after import retry_at

from .codes import CODES, NO_SUCH_POST, Kind, name
from .wire import REST, Json, Post, Refusal, decode_post

SHOWN_AFTER = timedelta(seconds=30)
_GRACE = timedelta(seconds=1)
"""Receivers may keep whole seconds; the baseline carries fractions of one."""


def judge_created(body: Json, parcel: Parcel, account: str, now: datetime, *, is_earlier: bool) -> Outcome:
    """Say what a post that a creating call brought proves; `is_earlier` says that it stood there under this key."""
    owner = body.get("account")
    if isinstance(owner, str) and owner and owner != account:
        return Blocked(code="webhook_wrong_account", reason=owner[:80], hold=HoldReason.WRONG_ACCOUNT)
    post = decode_post(body)
    if isinstance(post, Unknown):
        return Unknown(reason=post.reason, is_duplicate=is_earlier)
    if post.key != parcel.marker.code:
        return Unknown(reason="webhook_other_key", is_duplicate=is_earlier)
    if is_earlier and (is_old(post, parcel) or post.id in parcel.owned_ids or post.state in {"refused", "removed"}):
        return Unknown(reason="webhook_key_used", is_duplicate=True)
    match post.state:
        case "live":
            return Published(receipt=receipt_of(post))
        case "pending":
            return Submitted(ticket=Ticket(number=post.key), look_again_at=now + SHOWN_AFTER)
        case _:
            return Unknown(reason="webhook_unknown_state")


def judge_refusal(refusal: Refusal, now: datetime) -> Outcome:
    """Say what a refusal means for a creating call; a code that is not listed is a doubt."""
    listed = CODES.get(refusal.code)
    code = name(refusal.code)
    match listed.kind if listed else None:
        case None:
            return Unknown(reason=code)
        case Kind.REFUSED:
            return Rejected(code=code, reason=refusal.words)
        case Kind.REST:
            return RateLimited(code=code, until=retry_at(refusal.retry_after, now) or now + REST)
        case Kind.BUSY:
            return Busy(code=code, reason=refusal.words)
        case Kind.SIGN_IN:
            return CredentialExpired(reason=code)
        case (Kind.ACCOUNT | Kind.PERMISSION | Kind.CAPTCHA) as kind:
            return Blocked(code=code, reason=refusal.words, hold=HoldReason(kind.value))


def judge_found(body: Json, parcel: Parcel, account: str, now: datetime) -> Finding:
    """Say what a read by our key shows of our post."""
    post = decode_post(body)
    if isinstance(post, Unknown):
        return post
    if post.key != parcel.marker.code:
        return Unknown(reason="webhook_other_key")
    if post.account == account and (is_old(post, parcel) or post.id in parcel.owned_ids):
        return Lookalike(remote_id=post.id, url=post.url)
    return judge_state(post, account, now, has_seen_text=parcel.marker.is_in(post.text))


def judge_state(post: Post, account: str, now: datetime, *, has_seen_text: bool) -> Finding:
    """Say how far one post has come."""
    if post.account != account:
        return Unknown(reason="webhook_wrong_account")
    match post.state:
        case "live":
            return Published(receipt=receipt_of(post), has_seen_text=has_seen_text)
        case "pending":
            return Submitted(ticket=Ticket(number=post.key), look_again_at=now + SHOWN_AFTER)
        case "refused":
            return Rejected(code="webhook_refused", reason=post.id)
        case _:
            return Gone()


def judge_absent(refusal: Refusal, parcel: Parcel) -> Missing | Unknown:
    """Say whether a refused read proves that nothing has our key."""
    if is_no_such_post(refusal, parcel.marker.code):
        return Missing(back_to=parcel.baseline.since)
    return Unknown(reason=name(refusal.code))


def is_no_such_post(refusal: Refusal, asked: str) -> bool:
    """Whether a receiver says outright that what was asked for is not there; any other 404 may be a proxy's."""
    return refusal.status == 404 and refusal.code == NO_SUCH_POST and refusal.names == asked


def is_old(post: Post, parcel: Parcel) -> bool:
    """Whether a post stood there before the call."""
    return post.id == parcel.baseline.newest_id or post.at <= parcel.baseline.since - _GRACE


def receipt_of(post: Post) -> Receipt:
    return Receipt(remote_id=post.id, url=post.url, live_at=post.at)
