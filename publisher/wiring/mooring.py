"""Where the audit's head is written down outside the database, by the settings, and the key that signs it."""

from functools import partial
from pathlib import Path

from publisher.anchoring import Mooring
from publisher.settings import Settings
from publisher.vault import AuditKey, Vault, audit_key

SYSTEM_LOG = Path("/dev/log")


def mooring_of(settings: Settings) -> Mooring:
    """Give the places outside the database where the audit's head is written down."""
    return Mooring(
        file=settings.workspace / settings.audit.checkpoint_file,
        newest=settings.workspace / "var" / "audit-anchors.newest",
        syslog=SYSTEM_LOG if settings.audit.syslog else None,
        key=partial(audit_key_of, settings),
    )


def audit_key_of(settings: Settings, *, makes_one: bool = True) -> AuditKey | None:
    """Read the workspace's key that signs anchors, and make one at the first use. Raises SecretError."""
    return audit_key(Vault(folder=settings.workspace / "var"), settings.secrets_dir, makes_one=makes_one)
