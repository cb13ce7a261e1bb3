"""One account at one receiver: the order of its calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import Account, Capabilities
from publisher.domain.problem import Problem
from publisher.domain.rendered import RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    ObservedPost,
    Outcome,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
)

from . import api
from .capabilities import get_capabilities
from .codes import to_message_key
from .interpret import (
    interpret_created,
    interpret_found,
    interpret_not_found,
    interpret_refusal,
    interpret_state,
    is_not_found,
)
from .validation import find_problems, get_base_url

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
