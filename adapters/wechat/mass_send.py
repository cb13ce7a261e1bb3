"""Mass sends: the key announced before the call, the way read afterwards, the page taken down."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from publisher.contract import AdapterContext
from publisher.domain.rendered import DeliveryId, SendRequest
from publisher.domain.results import (
    Deleted,
    DeletionResult,
    Published,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Unknown,
)

from .api import decode_success
from .auth import FailedCall, WeChatAuth
from .codes import to_unread
from .mass_api import (
    MASS_FAILURE_CODES,
    MassSendId,
    decode_mass_status,
    encode_mass_delete,
    encode_mass_status,
    make_idempotency_key,
    parse_mass_send_id,
)

KEY_LIFETIME = timedelta(hours=23)
"""An hour less than WeChat remembers a key."""
ALREADY_DELETED_CODE = 40060
"""Users got this code for a deletion that worked: what counts is the status after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassSender:
    """Follows the mass sends of one account.

    A delivery keeps the key of the attempt that announced it first, as long as WeChat remembers keys: a second call
    under it cannot make a second mass send.
    """

    auth: WeChatAuth
    context: AdapterContext

    async def reserve_idempotency_key(self, request: SendRequest) -> str:
        """Give the key under which a delivery is mass-sent; it is noted before the call, always."""
        now = self.context.now().timestamp()
        noted = json.loads(await self.context.state.get(_build_key_state_key(request.delivery)) or "{}")
        if noted and now - noted["since"] < KEY_LIFETIME.total_seconds():
            return str(noted["key"])
        key = make_idempotency_key(request)
        await self.context.state.set(_build_key_state_key(request.delivery), json.dumps({"key": key, "since": now}))
        return key

    async def check_mass_send(
        self, mass_send_id: MassSendId, delivery: DeliveryId, on_working: Callable[[], ReadbackResult]
    ) -> ReadbackResult:
        """Read how far a mass send has come; what is live is noted, for no list will ever show it."""
        finding = await self._read_status(mass_send_id, on_working)
        if isinstance(finding, Published):
            await self.context.state.set(_build_sent_state_key(delivery), mass_send_id.remote_id)
        return finding

    async def get_published(self, delivery: DeliveryId) -> MassSendId | None:
        """Give the mass send that was seen live for a delivery."""
        return parse_mass_send_id(await self.context.state.get(_build_sent_state_key(delivery)) or "")

    async def check_published(self, mass_send_id: MassSendId) -> ReadbackResult:
        """Read whether a mass send that was live still is."""
        return await self._read_status(mass_send_id, lambda: Unknown(reason="wechat_unknown_status"))

    async def retract(self, mass_send_id: MassSendId) -> DeletionResult:
        """Delete the page, and believe it when the status after that says so. The card stays in followers' chats."""
        deleted = await self.auth.fetch(
            lambda token: encode_mass_delete(self.auth.base_url, token, mass_send_id), decode_success
        )
        if isinstance(deleted, FailedCall) and deleted.code != ALREADY_DELETED_CODE:
            outcome = deleted.outcome
            return outcome if isinstance(outcome, Rejected) else to_unread(outcome)
        after = await self.check_published(mass_send_id)
        return after if isinstance(after, Deleted | ReadFailure) else Unknown(reason="wechat_deletion_unconfirmed")

    async def _read_status(self, mass_send_id: MassSendId, on_working: Callable[[], ReadbackResult]) -> ReadbackResult:
        status = await self.auth.fetch(
            lambda token: encode_mass_status(self.auth.base_url, token, mass_send_id), decode_mass_status
        )
        match status:
            case FailedCall(outcome=outcome):
                return to_unread(outcome)
            case "SEND_SUCCESS":
                return Published(
                    receipt=Receipt(remote_id=mass_send_id.remote_id, url="", published_at=self.context.now())
                )
            case "SENDING":
                return on_working()
            case "SEND_FAIL":
                return await self._interpret_failure(mass_send_id)
            case "DELETE":
                return Deleted()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def _interpret_failure(self, mass_send_id: MassSendId) -> Rejected:
        """Put a failure into words: the status has none, but the event at its end may have told why."""
        said = await self.context.state.get(f"said:{replace(mass_send_id, data_id=None).remote_id}")
        return Rejected(
            code=f"wechat_mass_{said}" if said in MASS_FAILURE_CODES else "wechat_mass_failed",
            reason=mass_send_id.msg_id,
        )


def _build_key_state_key(delivery: DeliveryId) -> str:
    return f"mass:{delivery}"


def _build_sent_state_key(delivery: DeliveryId) -> str:
    return f"sent:{delivery}"
