"""The traces of a person that leaves, and the secrets to replace."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from publisher.config import Settings
from publisher.secrets import AUDIT_KEY_NAME, USER_KEY_NAME, open_vault
from publisher.store.people.users import PersonTraces
from publisher.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A person's traces, and the secrets that they know or could read.

    `is_owner`: they have used the system user that owns the workspace, and could read all of them.
    """

    traces: PersonTraces
    secrets: Sequence[str]
    is_owner: bool


async def read_touched(
    store: Store, settings: Settings, name: str, *, has_secrets: bool = True
) -> Touched:
    """Return a person's traces in the audit.

    Without `has_secrets` the daemon's report names the stored secrets. Raises SecretError if the
    encrypted store cannot be read.
    """
    traces = await store.users.read_traces(name)
    is_owner = any(is_system_owner(settings.workspace, uid) for uid in traces.uids)
    stored: Sequence[str] = ()
    if is_owner and has_secrets:
        stored = await asyncio.to_thread(open_vault(settings.workspace).list_names)
    elif is_owner and (report := await store.kept_secrets.read_report()) is not None:
        stored = report.stored
    return Touched(
        traces=traces,
        secrets=find_seen_secrets(settings, traces, stored, is_owner=is_owner),
        is_owner=is_owner,
    )


def is_system_owner(workspace: Path, uid: int) -> bool:
    """Return True if a system user owns the workspace's folder."""
    return workspace.stat().st_uid == uid


def find_seen_secrets(
    settings: Settings, traces: PersonTraces, stored: Sequence[str], *, is_owner: bool
) -> Sequence[str]:
    """Return the secrets that a person knows or could read; a workspace owner could read them all.

    The workspace's own keys are left out: no platform replaces them, and a new one ends everybody's
    second factor.
    """
    if not is_owner:
        return sorted(traces.secrets)
    replaceable = set(stored) - {AUDIT_KEY_NAME, USER_KEY_NAME}
    return sorted(
        {
            *traces.secrets,
            *replaceable,
            *(account.secret for account in settings.accounts.values()),
        }
    )
