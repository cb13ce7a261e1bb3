"""The alert channels of one host: since when each has its address, and whether it ever worked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from publisher.store.base import StorePart
from publisher.store.db.database import Transaction, in_transaction
from publisher.store.db.rows import write_row
from publisher.store.db.tables import DATABASE_INFO

CHANNEL_UNTESTED = "channel_untested"
"""Code of the alert; it is one for each channel of a host."""
UNTESTED_AFTER = timedelta(hours=1)
"""The time in which a person who configures a channel may test it."""
KEY_PREFIX = "channel:"
"""Begins the key of a channel's record, before the worker and the channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelProof:
    """The keyed hash of a channel's address, since when it is known, and whether it worked."""

    address: str
    since: str
    is_proven: bool = False


class ChannelProofs(StorePart):
    """The records of one host's channels. An address that changes has to prove itself again."""

    async def update(self, addresses: Mapping[str, str]) -> int:
        """Note the hashes of the channels' addresses, and keep the alerts. Return the number changed.

        Nothing changes while the clock is not confirmed.
        """
        now = self.runtime.now_if_confirmed()
        if now is None:
            return 0
        known = await self.database.read(self._read)
        addresses = fill_unread(addresses, known)
        if {name: proof.address for name, proof in known.items()} != dict(addresses):
            known = await self._note(addresses)
        wanted = {
            name: {"channel": name, "since": proof.since}
            for name, proof in known.items()
            if not proof.is_proven
            and now - datetime.fromisoformat(proof.since) >= UNTESTED_AFTER
        }
        return await self.keep_host_alerts(CHANNEL_UNTESTED, wanted)

    async def prove(self, channel: str, address: str) -> None:
        """Record that an address has accepted a message. Its alert ends with the next update."""
        known = (await self.database.read(self._read)).get(channel)
        if known is None or known.address != address or not known.is_proven:
            await self._write_proven(channel, address)

    @in_transaction
    def _note(
        self, transaction: Transaction, addresses: Mapping[str, str]
    ) -> Mapping[str, ChannelProof]:
        connection, now = transaction.connection, self.runtime.now().isoformat()
        known = self._read(connection)
        addresses = fill_unread(addresses, known)
        for name in known.keys() - addresses.keys():
            gone = DATABASE_INFO.c.key == self._prefix + name
            connection.execute(delete(DATABASE_INFO).where(gone))
        current = {
            name: known[name]
            if name in known and known[name].address == address
            else ChannelProof(address=address, since=now)
            for name, address in addresses.items()
        }
        for name, proof in current.items():
            if proof != known.get(name):
                self._write(connection, name, proof)
        return current

    @in_transaction
    def _write_proven(
        self, transaction: Transaction, channel: str, address: str
    ) -> None:
        since = self.runtime.now().isoformat()
        proof = ChannelProof(address=address, since=since, is_proven=True)
        self._write(transaction.connection, channel, proof)

    def _read(self, connection: Connection) -> Mapping[str, ChannelProof]:
        query = select(DATABASE_INFO.c.key, DATABASE_INFO.c.value).where(
            DATABASE_INFO.c.key.startswith(self._prefix, autoescape=True)
        )
        return {
            row.key.removeprefix(self._prefix): ChannelProof(**json.loads(row.value))
            for row in connection.execute(query)
        }

    def _write(self, connection: Connection, channel: str, proof: ChannelProof) -> None:
        key = {"key": self._prefix + channel}
        value = json.dumps(asdict(proof))
        write_row(connection, DATABASE_INFO, key, {"value": value})

    @property
    def _prefix(self) -> str:
        return f"{KEY_PREFIX}{self.store.worker}:"


def fill_unread(
    addresses: Mapping[str, str], known: Mapping[str, ChannelProof]
) -> Mapping[str, str]:
    """Return the addresses, with the known one for each that could not be read this time.

    A secret that is unreadable for a moment changes no address.
    """
    return {
        name: address or (known[name].address if name in known else "")
        for name, address in addresses.items()
    }
