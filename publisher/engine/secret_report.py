"""The report of a host about its secrets: their places, and a keyed hash of each present value.

The dashboard and the commands have other sources than the daemon. They read here the places and
values that the daemon uses.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from publisher.config import Settings
from publisher.secrets import (
    SecretError,
    find_external_source,
    hash_fields,
    open_vault,
    read_secret,
)
from publisher.store.secret_reports import SecretReport
from publisher.store.store import Store


async def report_secrets(
    store: Store, settings: Settings, others: Collection[str] = ()
) -> None:
    """Record in the database where the secrets of this host are, and which values it uses.

    The names `others` are not in the settings any more.
    """
    key = await store.login_health.credential_key()
    report = await asyncio.to_thread(locate_secrets, settings, *others)
    hashes = await asyncio.to_thread(hash_secrets, settings, report, key)
    await store.kept_secrets.report(replace(report, hashes=hashes))


def locate_secrets(settings: Settings, *names: str) -> SecretReport:
    """Return the places of the settings' secrets, and of the secrets with these names."""
    stored: Sequence[str] = ()
    vault_error: Sequence[str] = ()
    try:
        stored = open_vault(settings.workspace).list_names()
    except SecretError as error:
        vault_error = error.code, error.name, *error.places
    places = {
        name: find_external_source(name, secrets_dir=settings.secrets_dir)
        for name in sorted({*names, *list_used_names(settings)})
    }
    elsewhere = {name: place for name, place in places.items() if place is not None}
    return SecretReport(
        stored=list(stored), elsewhere=elsewhere, vault_error=list(vault_error)
    )


async def find_other_places(store: Store, settings: Settings) -> Mapping[str, str]:
    """Return where this host's daemon has other values of secrets than this process, by name.

    A place that both read is left out: the daemon may not have reported its new value yet.
    """
    if (report := await store.kept_secrets.read_report()) is None:
        return {}
    key = await store.login_health.credential_key()
    own = await asyncio.to_thread(locate_secrets, settings)
    hashes = await asyncio.to_thread(hash_secrets, settings, own, key)
    vault = str(open_vault(settings.workspace).file)
    return {
        name: report.elsewhere.get(name, vault)
        for name, used in report.hashes.items()
        if hashes.get(name) != used
        and own.elsewhere.get(name, vault) != report.elsewhere.get(name, vault)
    }


async def find_hosts_with_other_value(
    store: Store, settings: Settings, name: str
) -> Sequence[str]:
    """Return the other hosts with a daemon that has another value of a secret than this one."""
    key = await store.login_health.credential_key()
    vault = open_vault(settings.workspace)
    fields = await asyncio.to_thread(
        read_secret, name, secrets_dir=settings.secrets_dir, vault=vault
    )
    return await store.kept_secrets.hosts_with_other_value(
        name, hash_fields(fields, key)
    )


def list_used_names(settings: Settings) -> Collection[str]:
    """Return the names of the secrets of accounts and alert channels."""
    logins = {account.secret for account in settings.accounts.values()}
    return logins.union(settings.alerts.channels.values())


def hash_secrets(
    settings: Settings, report: SecretReport, key: bytes
) -> Mapping[str, str]:
    """Return the keyed hash of each reported secret that can be read."""
    vault, hashes = open_vault(settings.workspace), {}
    for name in sorted({*report.stored, *report.elsewhere}):
        with contextlib.suppress(SecretError):
            fields = read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
            hashes[name] = hash_fields(fields, key)
    return hashes
