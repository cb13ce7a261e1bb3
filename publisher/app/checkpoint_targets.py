"""Where the audit's head is written down outside the database, by the settings, and the key that signs it."""

from functools import partial
from pathlib import Path

from publisher.config import Settings
from publisher.engine.checkpoints import CheckpointTargets
from publisher.secrets import AuditKey, Vault, load_audit_key

SYSLOG_SOCKET = Path("/dev/log")


def build_checkpoint_targets(settings: Settings) -> CheckpointTargets:
    """Give the places outside the database where the audit's head is written down."""
    return CheckpointTargets(
        file=settings.workspace / settings.audit.checkpoint_file,
        newest_file=settings.workspace / "var" / "audit-anchors.newest",
        syslog_socket=SYSLOG_SOCKET if settings.audit.syslog else None,
        load_key=partial(load_workspace_audit_key, settings),
    )


def load_workspace_audit_key(settings: Settings, *, creates_missing: bool = True) -> AuditKey | None:
    """Read the workspace's key that signs anchors, and make one at the first use. Raises SecretError."""
    return load_audit_key(
        Vault(folder=settings.workspace / "var"), settings.secrets_dir, creates_missing=creates_missing
    )
