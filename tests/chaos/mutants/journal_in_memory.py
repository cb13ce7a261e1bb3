"""The journal's lines wait in the process's memory until it closes; nothing is written or synced before.

Breaks I3 and the detection of F85, F87 (and F16): after a kill, attempts in the database has no line in the journal,
and a restored older database is not noticed, so its calls are made again (I1).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict

from publisher.store.db.intent_journal import IntentJournal, JournalRecord

_close = IntentJournal.close
_waiting: list[JournalRecord] = []


def _remember(journal: IntentJournal, intents: Sequence[JournalRecord]) -> None:
    _waiting.extend(intents)
    journal.last_record = intents[-1]


def _write_and_close(journal: IntentJournal) -> None:
    journal._file.write("".join(json.dumps(asdict(intent)) + "\n" for intent in _waiting).encode())
    _close(journal)


def plant() -> None:
    IntentJournal.append = _remember
    IntentJournal.close = _write_and_close
