"""The ends of the TLS certificates that the settings name."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from publisher.config import Settings
from publisher.tomlfile.validate import KeyPath

if TYPE_CHECKING:  # `check` reads certificates without a database
    from publisher.store.store import Store

CERTIFICATE_EXPIRING = "certificate_expiring"
"""Code of the alert; it is one for each file of a host."""
WARNING_TIME = timedelta(days=14)
"""How long before its end people are alerted: a new one may take an agency a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A file of certificates, the key of the settings that names it, and its end.

    The end is None for a file that has no certificate.
    """

    path: KeyPath
    file: Path
    ends_at: datetime | None

    def is_expiring(self, now: datetime) -> bool:
        return self.ends_at is not None and now > self.ends_at - WARNING_TIME

    def is_expired(self, now: datetime) -> bool:
        return self.ends_at is not None and now >= self.ends_at


def read_certificates(settings: Settings) -> Sequence[Certificate]:
    """Return the files that can be read.

    A chain ends with the first of its certificates, a list of trusted ones with the last.
    """
    found = []
    for path, name in (
        (("dashboard", "certificate"), settings.dashboard.certificate),
        (("alerts", "ca_file"), settings.alerts.ca_file),
    ):
        file = settings.workspace / (name or "")
        ends = read_ends(file) if name is not None else None
        if ends is not None:
            select_end = min if path[0] == "dashboard" else max
            ends_at = select_end(ends) if ends else None
            found.append(Certificate(path=path, file=file, ends_at=ends_at))
    return found


def read_ends(file: Path) -> Sequence[datetime] | None:
    """Return the ends of the certificates in a file; None for a file that cannot be read."""
    from cryptography import x509  # noqa: PLC0415 # slow import

    try:
        data = file.read_bytes()
    except OSError:
        return None
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError:
        return ()
    return [certificate.not_valid_after_utc for certificate in chain]


async def check_certificates(store: "Store", settings: Settings) -> int:
    """Keep an alert for each certificate that ends soon, or has ended. Return the number changed.

    Nothing changes while the clock is not confirmed.
    """
    now = store.runtime.now_if_confirmed()
    if now is None:
        return 0
    wanted = {}
    for certificate in await asyncio.to_thread(read_certificates, settings):
        ends_at = certificate.ends_at
        if ends_at is not None and certificate.is_expiring(now):
            # a notice of its own when it has ended
            began_at = (
                ends_at if certificate.is_expired(now) else ends_at - WARNING_TIME
            )
            wanted[str(certificate.file)] = {
                "file": str(certificate.file),
                "until": ends_at.isoformat(),
                "since": began_at.isoformat(),
            }
    return await store.system_alerts.keep_host_alerts(CERTIFICATE_EXPIRING, wanted)
