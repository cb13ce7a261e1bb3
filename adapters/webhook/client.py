"""One account at one receiver: the order of its calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from publisher.contract import AdapterKit, Call, Reply
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    Blocked,
    CredentialExpired,
    Finding,
    Gone,
    Health,
    HoldReason,
    Outcome,
    RateLimited,
    Reach,
    Ready,
    Receipt,
    Rejected,
    Removal,
    Sighting,
    Ticket,
    Unknown,
    Unread,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Rendition

from . import wire
from .checking import address_of, problems_of
from .codes import name
from .judging import is_no_such_post, judge_absent, judge_created, judge_found, judge_refusal, judge_state
from .traits import traits_of

FINE, CREATED, EARLIER = 200, 201, 409
"""What a receiver answers to a read, to a new post, and to a key that has its post already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAdapter:
    account: Account
    kit: AdapterKit

    @property
    def traits(self) -> Traits:
        return traits_of(self.account)

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return problems_of(rendition, self.account)

    async def publish(self, parcel: Parcel) -> Outcome:
        key = self._key()
        if not isinstance(key, wire.Key):
            return key
        now = self.kit.now()
        reply = await self.kit.http.create(wire.encode_post(key, self.account.identity, parcel, now), parcel)
        if not isinstance(reply, Reply):
            return reply
        answer = wire.decode(reply, CREATED, EARLIER)
        if isinstance(answer, Unknown):
            return answer
        if isinstance(answer, wire.Refusal):
            return judge_refusal(answer, now)
        return judge_created(answer, parcel, self.account.identity, now, is_earlier=reply.status == EARLIER)

    async def find(self, parcel: Parcel) -> Finding:
        """Ask for our key. No list is needed: whatever has the key is ours, and nothing else is."""
        answer = await self._ask(partial(wire.encode_read, name=parcel.marker.code))
        if isinstance(answer, Unread):
            return answer
        if isinstance(answer, wire.Refusal):
            return judge_absent(answer, parcel)
        return judge_found(answer, parcel, self.account.identity, self.kit.now())

    async def follow_up(self, ticket: Ticket) -> Finding:
        """Read a post by its key or its id: how far it has come, or gone."""
        answer = await self._ask(partial(wire.encode_read, name=ticket.number))
        if isinstance(answer, wire.Refusal):
            return Gone() if is_no_such_post(answer, ticket.number) else Unknown(reason=name(answer.code))
        post = answer if isinstance(answer, Unread) else wire.decode_post(answer)
        if isinstance(post, Unread):
            return post
        if ticket.number not in {post.id, post.key}:
            return Unknown(reason="webhook_other_key")
        return judge_state(post, self.account.identity, self.kit.now(), has_seen_text=False)

    async def retract(self, receipt: Receipt) -> Removal:
        """Take a post down. An id that a person gave us may be wrong, so its absence proves nothing."""
        answer = await self._ask(partial(wire.encode_delete, name=receipt.remote_id))
        if isinstance(answer, Unread):
            return answer
        if isinstance(answer, wire.Refusal):
            return self._not_removed(answer, receipt)
        post = wire.decode_post(answer)
        is_down = isinstance(post, wire.Post) and post.id == receipt.remote_id and post.state == "removed"
        return Gone() if is_down else Unknown(reason="bad_reply")

    async def probe(self) -> Health:
        key = self._key()
        if not isinstance(key, wire.Key):
            return key
        answer = await self._ask(wire.encode_health)
        if isinstance(answer, Unread):
            return answer
        if isinstance(answer, wire.Refusal):
            meant = judge_refusal(answer, self.kit.now())
            return meant if isinstance(meant, CredentialExpired | Blocked) else Unknown(reason=name(answer.code))
        owner = answer.get("account")
        if not isinstance(owner, str):
            return Unknown(reason="bad_reply")
        if owner != self.account.identity:
            return Blocked(code="webhook_wrong_account", reason=owner[:80], hold=HoldReason.WRONG_ACCOUNT)
        return Ready(until=wire.until_of(answer))

    async def measure_reach(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | Unread:
        ids = [receipt.remote_id for receipt in receipts]
        answer = await self._told(partial(wire.encode_reach, ids=ids))
        return answer if isinstance(answer, Unread) else wire.decode_reach(answer, self.account.identity, ids)

    async def recent(self) -> Sequence[Sighting] | Unread:
        answer = await self._told(wire.encode_recent)
        return answer if isinstance(answer, Unread) else wire.decode_recent(answer, self.account.identity)

    async def _told(self, encode: Callable[[wire.Key, datetime], Call]) -> wire.Json | Unread:
        """Make a read that the receiver need not offer; a refusal tells nothing."""
        answer = await self._ask(encode)
        return Unknown(reason=name(answer.code)) if isinstance(answer, wire.Refusal) else answer

    async def _ask(self, encode: Callable[[wire.Key, datetime], Call]) -> wire.Json | wire.Refusal | Unread:
        """Make a read or a removal; where the receiver wants no more calls for now, say so."""
        key = self._key()
        if not isinstance(key, wire.Key):
            return Unknown(reason=key.reason if isinstance(key, CredentialExpired) else key.code)
        answer = wire.decode(await self.kit.http.ask(encode(key, self.kit.now())), FINE)
        meant = judge_refusal(answer, self.kit.now()) if isinstance(answer, wire.Refusal) else None
        return meant if isinstance(meant, RateLimited) else answer

    def _not_removed(self, refusal: wire.Refusal, receipt: Receipt) -> Removal:
        if is_no_such_post(refusal, receipt.remote_id) and not receipt.is_by_word:
            return Gone()
        meant = judge_refusal(refusal, self.kit.now())
        is_final = isinstance(meant, Rejected | Blocked | CredentialExpired)
        code = name(refusal.code)
        return Rejected(code=code, reason=refusal.words) if is_final else Unknown(reason=code)

    def _key(self) -> wire.Key | CredentialExpired | Blocked:
        address, secret = address_of(self.account), self.kit.secret().get("key")
        if address is None:
            return Blocked(code="webhook_no_address", reason=self.account.id, hold=HoldReason.PERMISSION)
        return wire.Key(base=address, secret=secret) if secret else CredentialExpired(reason="webhook_no_key")
