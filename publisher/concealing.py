"""Secrets are struck out of what is kept or shown: those that are known, in any spelling, and what looks like one."""

import base64
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 16
"""Shorter values are no platform's secret, and might be a word that people need."""
MOST_KNOWN = 2000
"""So many values are known at a time; those that nobody has used for longest are forgotten first."""
STRUCK = "…"
_GRAM = 8
"""By so many first letters a spelling is found; where a text breaks off, so many give a secret away."""
_LOOKS_SECRET = re.compile(
    r"((?:access_token|secret|BDUSS|STOKEN|token|tbs|sign)[\"']?\s*[=:]\s*[\"']?)[^&\s\"',}]+", re.IGNORECASE
)
_known: OrderedDict[str, frozenset[str]] = OrderedDict()
_spelled: dict[str, frozenset[str]] = {}
"""All spellings, by their first letters."""
_changing = threading.Lock()


def know_secrets(values: Iterable[str]) -> None:
    """Let these values never be shown again."""
    with _changing:
        for value in values:
            if value in _known:
                _known.move_to_end(value)
            elif len(value) >= SHORTEST:
                _learn(value)
        while len(_known) > MOST_KNOWN:
            _forget(*_known.popitem(last=False))


def conceal(text: str) -> str:
    """Strike out every secret of a text."""
    return _LOOKS_SECRET.sub(rf"\1{STRUCK}", "".join(_pieces(text)) if _spelled else text)


def _learn(value: str) -> None:
    _known[value] = spellings = frozenset(_spellings(value))
    for spelling in spellings:
        start = spelling[:_GRAM]
        _spelled[start] = _spelled.get(start, frozenset()) | {spelling}


def _forget(_value: str, spellings: frozenset[str]) -> None:
    for spelling in spellings:
        start = spelling[:_GRAM]
        _spelled[start] -= {spelling}
        if not _spelled[start]:
            del _spelled[start]


def _spellings(value: str) -> Iterator[str]:
    """Spell a value as addresses, forms, JSON, headers and dumps do."""
    raw = value.encode()
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    yield raw.hex()
    yield raw.hex().upper()


def _pieces(text: str) -> Iterator[str]:
    done = position = 0
    while position <= len(text) - _GRAM:
        length = _secret_at(text, position)
        if length:
            yield text[done:position] + STRUCK
            done = position = position + length
        else:
            position += 1
    yield text[done:]


def _secret_at(text: str, position: int) -> int:
    """Tell how long the secret is that begins here, whole or broken off by the text's end; 0 for none."""
    spellings = _spelled.get(text[position : position + _GRAM], ())
    rest = len(text) - position
    whole = [len(each) for each in spellings if text.startswith(each, position)]
    cut = [rest for each in spellings if rest < len(each) and each.startswith(text[position:])]
    return max(whole + cut, default=0)
