"""The journal's lines wait in the process's memory until it closes; nothing is written or synced before.

Breaks I3 and the detection of F85, F87 (and F16): after a kill, attempts in the database have no line in the journal,
and a restored older database is not noticed, so its calls are made again (I1).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from publisher.store.journal import Intent, Journal

_close = Journal.close
_waiting: list[Intent] = []


def _remember(journal: Journal, intents: Sequence[Intent]) -> None:
    _waiting.extend(intents)
    journal.last = intents[-1]


def _write_and_close(journal: Journal) -> None:
    journal._file.write("".join(json.dumps(asdict(intent)) + "\n" for intent in _waiting).encode())
    _close(journal)


def plant() -> None:
    Journal.append = _remember
    Journal.close = _write_and_close
