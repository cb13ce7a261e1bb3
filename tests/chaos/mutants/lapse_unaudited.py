"""The end of a dead worker's lease changes the row and is not written into the audit: it is thought to be noise.

Breaks I18: after a kill, a delivery's row version grows by a step that has no entry; the chain itself still verifies.
The audit of such a delivery jumps from `sending` to what follows `unknown`.
"""

from collections.abc import Mapping, Sequence

from publisher.store import base
from publisher.store.audit.append import write_entries
from publisher.store.db.database import Transaction


def _write_what_matters(unit: Transaction, entries: Sequence[Mapping[str, object]]) -> None:
    write_entries(unit, [entry for entry in entries if entry["event"] != "lease_expired"])


def plant() -> None:
    base.write_entries = _write_what_matters
