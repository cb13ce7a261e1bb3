"""Whether each alert channel has ever accepted a message since it has its present address."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from publisher.app.alert_channels import URL_FIELD, AlertChannels, read_channel_url
from publisher.config import Settings
from publisher.domain.errors import Problem
from publisher.engine.notifier import CHANNEL_PARTLY_REFUSED
from publisher.runtime.logs import log
from publisher.secrets import SecretError, hash_fields
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvingChannels:
    """The channels of a workspace; the store learns of each that accepts a message."""

    store: Store
    settings: Settings

    async def send(
        self,
        channel: str,
        *,
        ids: Sequence[str],
        title: str,
        body: str,
        is_problem: bool = True,
    ) -> Problem | None:
        """Send a message, as AlertChannels does.

        The record never keeps a message from being sent. An error after it was sent would have it
        sent twice. What cannot be recorded is recorded with the next message.
        """
        addresses: Mapping[str, str] = {}
        with _tolerate_errors(channel):
            addresses = await hash_addresses(self.store, self.settings, channel)
        channels = AlertChannels(self.settings)
        problem = await channels.send(
            channel, ids=ids, title=title, body=body, is_problem=is_problem
        )
        is_accepted = problem is None or problem.code == CHANNEL_PARTLY_REFUSED
        if is_accepted and channel in addresses:
            with _tolerate_errors(channel):
                await self.store.channel_proofs.prove(channel, addresses[channel])
        return problem


@contextlib.contextmanager
def _tolerate_errors(channel: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 # any error of the database
        name = type(error).__name__
        log.warning("channel_proof_not_written", channel=channel, error=name)


async def check_channels(store: Store, settings: Settings) -> int:
    """Keep the alerts about channels without a proof. Return the number changed."""
    names = settings.alerts.channels
    return await store.channel_proofs.update(
        await hash_addresses(store, settings, *names)
    )


async def hash_addresses(
    store: Store, settings: Settings, *names: str
) -> Mapping[str, str]:
    """Return the keyed hash of each channel's address, empty for one that cannot be read."""
    key = await store.login_health.credential_key() if names else b""

    def read() -> Mapping[str, str]:
        hashes = dict.fromkeys(names, "")
        for name in names:
            with contextlib.suppress(SecretError, OSError):
                fields = {URL_FIELD: read_channel_url(settings, name)}
                hashes[name] = hash_fields(fields, key)
        return hashes

    return await asyncio.to_thread(read)
