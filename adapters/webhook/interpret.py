"""What a receiver's answers mean for the call that may create, and for the reads. Pure."""

from datetime import datetime, timedelta

from publisher.domain.rendered import SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotFound,
    Outcome,
    PossibleMatch,
    Published,
    RateLimited,
    ReadbackResult,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.domain.retry_after import parse_retry_after

from .api import DEFAULT_COOLDOWN, Json, Refusal, WebhookPost, decode_post
from .codes import CODES, NO_SUCH_POST, WebhookErrorClass, to_message_key

VISIBLE_AFTER = timedelta(seconds=30)
_TIMESTAMP_TOLERANCE = timedelta(seconds=1)
"""Receivers may keep whole seconds; the baseline carries fractions of one."""


def interpret_created(body: Json, request: SendRequest, account: str, now: datetime, *, is_existing: bool) -> Outcome:
    """Say what a post that a creating call brought proves; `is_earlier` says that it stood there under this key."""
    owner = body.get("account")
    if isinstance(owner, str) and owner and owner != account:
        return Blocked(code="webhook_wrong_account", reason=owner[:80], hold_reason=HoldReason.WRONG_ACCOUNT)
    post = decode_post(body)
    if isinstance(post, Unknown):
        return Unknown(reason=post.reason, is_duplicate=is_existing)
    if post.key != request.marker.code:
        return Unknown(reason="webhook_other_key", is_duplicate=is_existing)
    if is_existing and (
        is_before_baseline(post, request) or post.id in request.owned_ids or post.state in {"refused", "removed"}
    ):
        return Unknown(reason="webhook_key_used", is_duplicate=True)
    match post.state:
        case "live":
            return Published(receipt=make_receipt(post))
        case "pending":
            return Submitted(ticket=Ticket(payload=post.key), check_again_at=now + VISIBLE_AFTER)
        case _:
            return Unknown(reason="webhook_unknown_state")


def interpret_refusal(refusal: Refusal, now: datetime) -> Outcome:
    """Say what a refusal means for a creating call; a code that is not listed is a doubt."""
    listed = CODES.get(refusal.code)
    code = to_message_key(refusal.code)
    match listed.error_class if listed else None:
        case None:
            return Unknown(reason=code)
        case WebhookErrorClass.REJECTED:
            return Rejected(code=code, reason=refusal.message)
        case WebhookErrorClass.RATE_LIMITED:
            return RateLimited(code=code, until=parse_retry_after(refusal.retry_after, now) or now + DEFAULT_COOLDOWN)
        case WebhookErrorClass.BUSY:
            return Busy(code=code, reason=refusal.message)
        case WebhookErrorClass.CREDENTIAL:
            return CredentialExpired(reason=code)
        case (WebhookErrorClass.ACCOUNT | WebhookErrorClass.PERMISSION | WebhookErrorClass.CAPTCHA) as kind:
            return Blocked(code=code, reason=refusal.message, hold_reason=HoldReason(kind.value))


def interpret_found(body: Json, request: SendRequest, account: str, now: datetime) -> ReadbackResult:
    """Say what a read by our key shows of our post."""
    post = decode_post(body)
    if isinstance(post, Unknown):
        return post
    if post.key != request.marker.code:
        return Unknown(reason="webhook_other_key")
    if post.account == account and (is_before_baseline(post, request) or post.id in request.owned_ids):
        return PossibleMatch(remote_id=post.id, url=post.url)
    return interpret_state(post, account, now, has_seen_text=request.marker.is_in(post.text))


def interpret_state(post: WebhookPost, account: str, now: datetime, *, has_seen_text: bool) -> ReadbackResult:
    """Say how far one post has come."""
    if post.account != account:
        return Unknown(reason="webhook_wrong_account")
    match post.state:
        case "live":
            return Published(receipt=make_receipt(post), is_text_confirmed=has_seen_text)
        case "pending":
            return Submitted(ticket=Ticket(payload=post.key), check_again_at=now + VISIBLE_AFTER)
        case "refused":
            return Rejected(code="webhook_refused", reason=post.id)
        case _:
            return Deleted()


def interpret_not_found(refusal: Refusal, request: SendRequest) -> NotFound | Unknown:
    """Say whether a refused read proves that nothing has our key."""
    if is_not_found(refusal, request.marker.code):
        return NotFound(covered_since=request.baseline.taken_at)
    return Unknown(reason=to_message_key(refusal.code))


def is_not_found(refusal: Refusal, requested_name: str) -> bool:
    """Whether a receiver says outright that what was asked for is not there; any other 404 may be a proxy's."""
    return refusal.status == 404 and refusal.code == NO_SUCH_POST and refusal.requested_name == requested_name


def is_before_baseline(post: WebhookPost, request: SendRequest) -> bool:
    """Whether a post stood there before the call."""
    return post.id == request.baseline.newest_id or post.created_at <= request.baseline.taken_at - _TIMESTAMP_TOLERANCE


def make_receipt(post: WebhookPost) -> Receipt:
    return Receipt(remote_id=post.id, url=post.url, published_at=post.created_at)
