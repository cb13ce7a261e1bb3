"""The journal's lines wait in the process's own buffer until it closes; nothing is flushed or synced.

Breaks I3 and the detection of F85, F87 (and F16): after a kill, attempts in the database have no line in the journal,
and a restored older database is not noticed, so its calls are made again (I1).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from publisher.store.journal import Intent, Journal


def _append(journal: Journal, intents: Sequence[Intent]) -> None:
    lines = "".join(json.dumps(asdict(intent), separators=(",", ":")) + "\n" for intent in intents)
    journal._file.write(lines.encode())
    journal.last = intents[-1]


def plant() -> None:
    Journal.append = _append
