"""One Weibo account: the order of its calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from publisher.contract import AdapterKit, Reply, Upload
from publisher.domain.account import Account, Traits
from publisher.domain.outcome import (
    CredentialExpired,
    Finding,
    Health,
    Outcome,
    Receipt,
    Rejected,
    Removal,
    Ticket,
    Unknown,
)
from publisher.domain.problem import Problem
from publisher.domain.rendition import Parcel, Rendition

from . import wire
from .checking import problems_of
from .timeline import Trace, judge, read_ticket, trace_of, write_ticket
from .traits import TRAITS

_NO_TOKEN = "weibo_no_token"  # noqa: S105 - the name of a message
_SUFFIX = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAdapter:
    account: Account
    kit: AdapterKit

    @property
    def traits(self) -> Traits:
        return TRAITS

    def check(self, rendition: Rendition) -> Sequence[Problem]:
        return problems_of(rendition)

    async def publish(self, parcel: Parcel) -> Outcome:
        token = self._token()
        if token is None:
            return CredentialExpired(reason=_NO_TOKEN)
        if len(parcel.images) > TRAITS.picture_limit:
            return Rejected(code="weibo_too_many_pictures", reason=str(len(parcel.images)))
        call = wire.encode_share(self._host, token, parcel.rendition.text, self.account.public_ip, _picture(parcel))
        answer = await self.kit.http.create(call, parcel)
        if not isinstance(answer, Reply):
            return answer
        return wire.decode_share(answer, self.account.identity, write_ticket(parcel), self.kit.now())

    async def find(self, parcel: Parcel) -> Finding:
        return await self._look(trace_of(parcel))

    async def follow_up(self, ticket: Ticket) -> Finding:
        """Look for the post of a ticket. A plain post number reads that post: live, or gone."""
        trace = read_ticket(ticket)
        if isinstance(trace, Trace):
            return await self._look(trace)
        token = self._token()
        if token is None:
            return Unknown(reason=_NO_TOKEN)
        reply = await self.kit.http.ask(wire.encode_show(self._host, token, trace))
        return wire.decode_show(reply, self.account.identity)

    async def retract(self, receipt: Receipt) -> Removal:
        token = self._token()
        if token is None:
            return Unknown(reason=_NO_TOKEN)
        reply = await self.kit.http.ask(wire.encode_destroy(self._host, token, receipt.remote_id))
        return wire.decode_destroy(reply, receipt.remote_id)

    async def probe(self) -> Health:
        token = self._token()
        if token is None:
            return CredentialExpired(reason=_NO_TOKEN)
        reply = await self.kit.http.ask(wire.encode_token_info(self._host, token))
        app_key = self.kit.secret().get("app_key")
        return wire.decode_token_info(reply, self.account.identity, app_key, self.kit.now())

    async def _look(self, trace: Trace) -> Finding:
        token = self._token()
        if token is None:
            return Unknown(reason=_NO_TOKEN)
        reply = await self.kit.http.ask(wire.encode_timeline(self._host, token))
        timeline = wire.decode_timeline(reply, self.account.identity)
        return timeline if isinstance(timeline, Unknown) else judge(timeline, trace, self.account.identity)

    def _token(self) -> str | None:
        return self.kit.secret().get("access_token") or None

    @property
    def _host(self) -> str:
        return (self.account.base_url or wire.HOST).rstrip("/")


def _picture(parcel: Parcel) -> Upload | None:
    for picture, data in zip(parcel.rendition.pictures, parcel.images, strict=True):
        suffix = _SUFFIX.get(picture.media_type, "bin")
        return Upload(name="pic", filename=f"picture.{suffix}", media_type=picture.media_type, data=data)
    return None
