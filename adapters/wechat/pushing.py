"""Mass sends: the key announced before the call, the way read afterwards, the page taken down."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from publisher.contract import AdapterKit
from publisher.domain.outcome import (
    Finding,
    Gone,
    Published,
    Receipt,
    Rejected,
    Removal,
    Unknown,
    Unread,
)
from publisher.domain.rendition import DeliveryId, Parcel

from .codes import doubt_of
from .mass import FAILURES, MassId, decode_mass_status, encode_mass_delete, encode_mass_status, key_of, read_mass_id
from .sign_in import Failed, SignIn
from .wire import decode_done

KEY_LASTS = timedelta(hours=23)
"""An hour less than WeChat remembers a key."""
DELETED_BEFORE = 40060
"""Users got this code for a deletion that worked: what counts is the status after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushing:
    """Follows the mass sends of one account.

    A delivery keeps the key of the attempt that announced it first, as long as WeChat remembers keys: a second call
    under it cannot make a second mass send.
    """

    sign_in: SignIn
    kit: AdapterKit

    async def key(self, parcel: Parcel) -> str:
        """Give the key under which a delivery is mass-sent; it is noted before the call, always."""
        now = self.kit.now().timestamp()
        noted = json.loads(await self.kit.notes.recall(_key(parcel.delivery)) or "{}")
        if noted and now - noted["since"] < KEY_LASTS.total_seconds():
            return str(noted["key"])
        key = key_of(parcel)
        await self.kit.notes.remember(_key(parcel.delivery), json.dumps({"key": key, "since": now}))
        return key

    async def follow(self, mass: MassId, delivery: DeliveryId, still_working: Callable[[], Finding]) -> Finding:
        """Read how far a mass send has come; what is live is noted, for no list will ever show it."""
        finding = await self._read(mass, still_working)
        if isinstance(finding, Published):
            await self.kit.notes.remember(_sent(delivery), mass.remote_id)
        return finding

    async def noted(self, delivery: DeliveryId) -> MassId | None:
        """Give the mass send that was seen live for a delivery."""
        return read_mass_id(await self.kit.notes.recall(_sent(delivery)) or "")

    async def look(self, mass: MassId) -> Finding:
        """Read whether a mass send that was live still is."""
        return await self._read(mass, lambda: Unknown(reason="wechat_unknown_status"))

    async def retract(self, mass: MassId) -> Removal:
        """Delete the page, and believe it when the status after that says so. The card stays in followers' chats."""
        deleted = await self.sign_in.ask(lambda token: encode_mass_delete(self.sign_in.base, token, mass), decode_done)
        if isinstance(deleted, Failed) and deleted.code != DELETED_BEFORE:
            outcome = deleted.outcome
            return outcome if isinstance(outcome, Rejected) else doubt_of(outcome)
        after = await self.look(mass)
        return after if isinstance(after, Gone | Unread) else Unknown(reason="wechat_still_live")

    async def _read(self, mass: MassId, still_working: Callable[[], Finding]) -> Finding:
        status = await self.sign_in.ask(
            lambda token: encode_mass_status(self.sign_in.base, token, mass), decode_mass_status
        )
        match status:
            case Failed(outcome=outcome):
                return doubt_of(outcome)
            case "SEND_SUCCESS":
                return Published(receipt=Receipt(remote_id=mass.remote_id, url="", live_at=self.kit.now()))
            case "SENDING":
                return still_working()
            case "SEND_FAIL":
                return await self._failed(mass)
            case "DELETE":
                return Gone()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def _failed(self, mass: MassId) -> Rejected:
        """Put a failure into words: the status has none, but the event at its end may have told why."""
        said = await self.kit.notes.recall(f"said:{replace(mass, data_id=None).remote_id}")
        return Rejected(code=f"wechat_mass_{said}" if said in FAILURES else "wechat_mass_failed", reason=mass.msg_id)


def _key(delivery: DeliveryId) -> str:
    return f"mass:{delivery}"


def _sent(delivery: DeliveryId) -> str:
    return f"sent:{delivery}"
