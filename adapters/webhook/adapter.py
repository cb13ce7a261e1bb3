"""The adapter of one account at one receiver."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from adapters.webhook import api
from adapters.webhook.api import (
    DEFAULT_COOLDOWN,
    Json,
    Refusal,
    WebhookPost,
    decode_post,
)
from adapters.webhook.capabilities import get_base_url
from adapters.webhook.codes import (
    CODES,
    NO_SUCH_POST,
    WebhookErrorClass,
    to_message_key,
)
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import Account, parse_retry_after
from publisher.domain.post import SendRequest
from publisher.domain.post_list import ListedPost, MatchCriteria, match_list
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
HTTP_OK, HTTP_CREATED, HTTP_CONFLICT = 200, 201, 409
"""The statuses of a read, of a new post, and of a key that has its post already."""


def interpret_created(
    body: Json, request: SendRequest, account: str, now: datetime, *, is_existing: bool
) -> Outcome:
    """Return the proof by the post in a creating call's response.

    `is_existing` means that it had this key before.
    """
    owner = body.get("account")
    if isinstance(owner, str) and owner and owner != account:
        return Blocked(
            code="webhook_wrong_account",
            reason=owner[:80],
            hold_reason=HoldReason.WRONG_ACCOUNT,
        )
    post = decode_post(body)
    if isinstance(post, Unknown):
        return Unknown(reason=post.reason, is_duplicate=is_existing)
    if post.key != request.marker.code:
        return Unknown(reason="webhook_other_key", is_duplicate=is_existing)
    if is_existing and (
        not _match(post, request) or post.state in {"refused", "removed"}
    ):
        return Unknown(reason="webhook_key_used", is_duplicate=True)
    match post.state:
        case "live":
            return Published(receipt=make_receipt(post))
        case "pending":
            return Submitted(
                ticket=Ticket(payload=post.key), check_again_at=now + VISIBLE_AFTER
            )
        case _:
            return Unknown(reason="webhook_unknown_state")


def interpret_refusal(refusal: Refusal, now: datetime) -> Outcome:
    """Return the outcome of a refused creating call; a code that is not listed makes it unknown."""
    listed = CODES.get(refusal.code)
    code = to_message_key(refusal.code)
    match listed.error_class if listed else None:
        case None:
            return Unknown(reason=code)
        case WebhookErrorClass.REJECTED:
            return Rejected(code=code, reason=refusal.message)
        case WebhookErrorClass.RATE_LIMITED:
            return RateLimited(
                code=code,
                until=parse_retry_after(refusal.retry_after, now)
                or now + DEFAULT_COOLDOWN,
            )
        case WebhookErrorClass.BUSY:
            return Busy(code=code, reason=refusal.message)
        case WebhookErrorClass.CREDENTIAL:
            return CredentialExpired(reason=code)
        case WebhookErrorClass.ACCOUNT | WebhookErrorClass.CAPTCHA as kind:
            return Blocked(
                code=code, reason=refusal.message, hold_reason=HoldReason(kind.value)
            )


def interpret_found(
    body: Json, request: SendRequest, account: str, now: datetime
) -> ReadbackResult:
    """Return the state of our post in a read by our key."""
    post = decode_post(body)
    if isinstance(post, Unknown):
        return post
    if post.key != request.marker.code:
        return Unknown(reason="webhook_other_key")
    ours = _match(post, request)
    if post.account == account and ours is None:
        return PossibleMatch(remote_id=post.id, url=post.url)
    return interpret_state(
        post, account, now, has_seen_text=ours is not None and ours.is_text_confirmed
    )


def interpret_state(
    post: WebhookPost, account: str, now: datetime, *, has_seen_text: bool
) -> ReadbackResult:
    """Return the result for a post's state."""
    if post.account != account:
        return Unknown(reason="webhook_wrong_account")
    match post.state:
        case "live":
            return Published(
                receipt=make_receipt(post), is_text_confirmed=has_seen_text
            )
        case "pending":
            return Submitted(
                ticket=Ticket(payload=post.key), check_again_at=now + VISIBLE_AFTER
            )
        case "refused":
            return Rejected(code="webhook_refused", reason=post.id)
        case _:
            return Deleted()


def is_not_found(refusal: Refusal, requested_name: str) -> bool:
    """True if the receiver states that the requested post does not exist.

    Any other 404 may come from a proxy.
    """
    return (
        refusal.status == 404
        and refusal.code == NO_SUCH_POST
        and refusal.requested_name == requested_name
    )


def _match(post: WebhookPost, request: SendRequest) -> Published | None:
    """Return the post with our key as ours.

    Return None if it existed before the call, or belongs to another delivery.
    """
    criteria = MatchCriteria(
        marker=request.marker, baseline=request.baseline, owned_ids=request.owned_ids
    )
    listed = ListedPost(
        remote_id=post.id,
        url=post.url,
        created_at=post.created_at,
        text=post.text,
        other_texts=(post.key,),
    )
    found = match_list((listed,), criteria, is_covered=False)
    return found if isinstance(found, Published) else None


def make_receipt(post: WebhookPost) -> Receipt:
    return Receipt(remote_id=post.id, url=post.url, published_at=post.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAdapter:
    account: Account
    context: AdapterContext

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
        body = api.decode_response(response, HTTP_CREATED, HTTP_CONFLICT)
        if isinstance(body, Unknown):
            return body
        if isinstance(body, Refusal):
            return interpret_refusal(body, now)
        return interpret_created(
            body,
            request,
            self.account.identity,
            now,
            is_existing=response.status == HTTP_CONFLICT,
        )

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Read the post that has our key.

        No list is needed: a post is ours if and only if it has the key.
        """
        body = await self._fetch(partial(api.encode_read, name=request.marker.code))
        if isinstance(body, ReadFailure):
            return body
        if not isinstance(body, Refusal):
            return interpret_found(
                body, request, self.account.identity, self.context.now()
            )
        if is_not_found(body, request.marker.code):
            return NotFound(covered_since=request.baseline.taken_at)
        return Unknown(reason=to_message_key(body.code))

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Read a post by its key or its id: its state, or deleted."""
        body = await self._fetch(partial(api.encode_read, name=ticket.payload))
        if isinstance(body, Refusal):
            return (
                Deleted()
                if is_not_found(body, ticket.payload)
                else Unknown(reason=to_message_key(body.code))
            )
        post = body if isinstance(body, ReadFailure) else decode_post(body)
        if isinstance(post, ReadFailure):
            return post
        if ticket.payload not in {post.id, post.key}:
            return Unknown(reason="webhook_other_key")
        return interpret_state(
            post, self.account.identity, self.context.now(), has_seen_text=False
        )

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete a post.

        An id that a person entered may be wrong, so its absence proves nothing.
        """
        body = await self._fetch(partial(api.encode_delete, name=receipt.remote_id))
        if isinstance(body, ReadFailure):
            return body
        if not isinstance(body, Refusal):
            post = decode_post(body)
            is_removed = (
                isinstance(post, WebhookPost)
                and post.id == receipt.remote_id
                and post.state == "removed"
            )
            return Deleted() if is_removed else Unknown(reason="bad_response")
        if is_not_found(body, receipt.remote_id) and not receipt.is_manually_confirmed:
            return Deleted()
        code = to_message_key(body.code)
        if isinstance(
            interpret_refusal(body, self.context.now()),
            Rejected | Blocked | CredentialExpired,
        ):
            return Rejected(code=code, reason=body.message)
        return Unknown(reason=code)

    async def check_health(self) -> HealthCheckResult:
        endpoint = self._get_endpoint()
        if not isinstance(endpoint, api.WebhookEndpoint):
            return endpoint
        body = await self._fetch(api.encode_health)
        if isinstance(body, ReadFailure):
            return body
        if isinstance(body, Refusal):
            outcome = interpret_refusal(body, self.context.now())
            if isinstance(outcome, CredentialExpired | Blocked):
                return outcome
            return Unknown(reason=to_message_key(body.code))
        owner = body.get("account")
        if not isinstance(owner, str):
            return Unknown(reason="bad_response")
        if owner != self.account.identity:
            return Blocked(
                code="webhook_other_account",
                reason=owner[:80],
                hold_reason=HoldReason.WRONG_SECRET,
            )
        return Healthy(credentials_expire_at=api.parse_time(body.get("until")))

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        ids = [receipt.remote_id for receipt in receipts]
        body = await self._fetch_optional(partial(api.encode_reach, ids=ids))
        return (
            body
            if isinstance(body, ReadFailure)
            else api.decode_reach(body, self.account.identity, ids)
        )

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        body = await self._fetch_optional(api.encode_recent)
        return (
            body
            if isinstance(body, ReadFailure)
            else api.decode_recent(body, self.account.identity)
        )

    async def _fetch_optional(
        self, encode: Callable[[api.WebhookEndpoint, datetime], HttpRequest]
    ) -> Json | ReadFailure:
        """Make a read that the receiver need not offer; a refusal proves nothing."""
        body = await self._fetch(encode)
        return (
            Unknown(reason=to_message_key(body.code))
            if isinstance(body, Refusal)
            else body
        )

    async def _fetch(
        self, encode: Callable[[api.WebhookEndpoint, datetime], HttpRequest]
    ) -> Json | Refusal | ReadFailure:
        """Make a read or a deletion; return RateLimited where the receiver limits the login."""
        endpoint = self._get_endpoint()
        if not isinstance(endpoint, api.WebhookEndpoint):
            return Unknown(
                reason=endpoint.reason
                if isinstance(endpoint, CredentialExpired)
                else endpoint.code
            )
        body = api.decode_response(
            await self.context.http.fetch(encode(endpoint, self.context.now())), HTTP_OK
        )
        outcome = (
            interpret_refusal(body, self.context.now())
            if isinstance(body, Refusal)
            else None
        )
        return outcome if isinstance(outcome, RateLimited) else body

    def _get_endpoint(self) -> api.WebhookEndpoint | CredentialExpired | Blocked:
        base_url, secret = get_base_url(self.account), self.context.secret().get("key")
        if base_url is None:
            return Blocked(
                code="webhook_no_address",
                reason=self.account.id,
            )
        if not secret:
            return CredentialExpired(reason="webhook_no_key")
        return api.WebhookEndpoint(base_url=base_url, secret=secret)
