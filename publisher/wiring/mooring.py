"""Where the audit's head is written down outside the database, by the settings."""

from pathlib import Path

from publisher.anchoring import Mooring
from publisher.settings import Settings

SYSTEM_LOG = Path("/dev/log")


def mooring_of(settings: Settings) -> Mooring:
    """Give the places outside the database where the audit's head is written down."""
    return Mooring(
        file=settings.workspace / settings.audit.anchors, syslog=SYSTEM_LOG if settings.audit.syslog else None
    )
