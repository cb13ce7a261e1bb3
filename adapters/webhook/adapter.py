"""One account at one receiver: the order of its calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from adapters.webhook import api
from adapters.webhook.api import DEFAULT_COOLDOWN, Json, Refusal, WebhookPost, decode_post
from adapters.webhook.capabilities import get_capabilities
from adapters.webhook.codes import CODES, NO_SUCH_POST, WebhookErrorClass, to_message_key
from adapters.webhook.validation import find_problems, get_base_url
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import Account, Capabilities
from publisher.domain.errors import Problem
from publisher.domain.policy import parse_retry_after
from publisher.domain.rendered import RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    NotFound,
    ObservedPost,
    Outcome,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)

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


HTTP_OK, HTTP_CREATED, HTTP_CONFLICT = 200, 201, 409
"""What a receiver answers to a read, to a new post, and to a key that has its post already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAdapter:
    account: Account
    context: AdapterContext

    @property
    def capabilities(self) -> Capabilities:
        return get_capabilities(self.account)

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return find_problems(rendered, self.account)

    async def publish(self, request: SendRequest) -> Outcome:
        endpoint = self._get_endpoint()
        if not isinstance(endpoint, api.WebhookEndpoint):
            return endpoint
        now = self.context.now()
        response = await self.context.http.create(
            api.encode_post(endpoint, self.account.identity, request, now), request
        )
        if not isinstance(response, HttpResponse):
            return response
        answer = api.decode_response(response, HTTP_CREATED, HTTP_CONFLICT)
        if isinstance(answer, Unknown):
            return answer
        if isinstance(answer, api.Refusal):
            return interpret_refusal(answer, now)
        return interpret_created(
            answer, request, self.account.identity, now, is_existing=response.status == HTTP_CONFLICT
        )

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Ask for our key. No list is needed: whatever has the key is ours, and nothing else is."""
        answer = await self._fetch(partial(api.encode_read, name=request.marker.code))
        if isinstance(answer, ReadFailure):
            return answer
        if isinstance(answer, api.Refusal):
            return interpret_not_found(answer, request)
        return interpret_found(answer, request, self.account.identity, self.context.now())

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Read a post by its key or its id: how far it has come, or gone."""
        answer = await self._fetch(partial(api.encode_read, name=ticket.payload))
        if isinstance(answer, api.Refusal):
            return Deleted() if is_not_found(answer, ticket.payload) else Unknown(reason=to_message_key(answer.code))
        post = answer if isinstance(answer, ReadFailure) else api.decode_post(answer)
        if isinstance(post, ReadFailure):
            return post
        if ticket.payload not in {post.id, post.key}:
            return Unknown(reason="webhook_other_key")
        return interpret_state(post, self.account.identity, self.context.now(), has_seen_text=False)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Take a post down. An id that a person gave us may be wrong, so its absence proves nothing."""
        answer = await self._fetch(partial(api.encode_delete, name=receipt.remote_id))
        if isinstance(answer, ReadFailure):
            return answer
        if isinstance(answer, api.Refusal):
            return self._interpret_delete_refusal(answer, receipt)
        post = api.decode_post(answer)
        is_down = isinstance(post, api.WebhookPost) and post.id == receipt.remote_id and post.state == "removed"
        return Deleted() if is_down else Unknown(reason="bad_response")

    async def check_health(self) -> HealthCheckResult:
        endpoint = self._get_endpoint()
        if not isinstance(endpoint, api.WebhookEndpoint):
            return endpoint
        answer = await self._fetch(api.encode_health)
        if isinstance(answer, ReadFailure):
            return answer
        if isinstance(answer, api.Refusal):
            meant = interpret_refusal(answer, self.context.now())
            return (
                meant if isinstance(meant, CredentialExpired | Blocked) else Unknown(reason=to_message_key(answer.code))
            )
        owner = answer.get("account")
        if not isinstance(owner, str):
            return Unknown(reason="bad_response")
        if owner != self.account.identity:
            return Blocked(code="webhook_wrong_account", reason=owner[:80], hold_reason=HoldReason.WRONG_ACCOUNT)
        return Healthy(credentials_expire_at=api.get_key_expiry(answer))

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        ids = [receipt.remote_id for receipt in receipts]
        answer = await self._fetch_optional(partial(api.encode_reach, ids=ids))
        return answer if isinstance(answer, ReadFailure) else api.decode_reach(answer, self.account.identity, ids)

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        answer = await self._fetch_optional(api.encode_recent)
        return answer if isinstance(answer, ReadFailure) else api.decode_recent(answer, self.account.identity)

    async def _fetch_optional(
        self, encode: Callable[[api.WebhookEndpoint, datetime], HttpRequest]
    ) -> api.Json | ReadFailure:
        """Make a read that the receiver need not offer; a refusal tells nothing."""
        answer = await self._fetch(encode)
        return Unknown(reason=to_message_key(answer.code)) if isinstance(answer, api.Refusal) else answer

    async def _fetch(
        self, encode: Callable[[api.WebhookEndpoint, datetime], HttpRequest]
    ) -> api.Json | api.Refusal | ReadFailure:
        """Make a read or a removal; where the receiver wants no more calls for now, say so."""
        endpoint = self._get_endpoint()
        if not isinstance(endpoint, api.WebhookEndpoint):
            return Unknown(reason=endpoint.reason if isinstance(endpoint, CredentialExpired) else endpoint.code)
        answer = api.decode_response(await self.context.http.fetch(encode(endpoint, self.context.now())), HTTP_OK)
        meant = interpret_refusal(answer, self.context.now()) if isinstance(answer, api.Refusal) else None
        return meant if isinstance(meant, RateLimited) else answer

    def _interpret_delete_refusal(self, refusal: api.Refusal, receipt: Receipt) -> DeletionResult:
        if is_not_found(refusal, receipt.remote_id) and not receipt.is_manually_confirmed:
            return Deleted()
        meant = interpret_refusal(refusal, self.context.now())
        is_final = isinstance(meant, Rejected | Blocked | CredentialExpired)
        code = to_message_key(refusal.code)
        return Rejected(code=code, reason=refusal.message) if is_final else Unknown(reason=code)

    def _get_endpoint(self) -> api.WebhookEndpoint | CredentialExpired | Blocked:
        address, secret = get_base_url(self.account), self.context.secret().get("key")
        if address is None:
            return Blocked(code="webhook_no_address", reason=self.account.id, hold_reason=HoldReason.PERMISSION)
        return (
            api.WebhookEndpoint(base_url=address, secret=secret)
            if secret
            else CredentialExpired(reason="webhook_no_key")
        )
