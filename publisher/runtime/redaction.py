"""Secrets are struck out of what is kept or shown: those that are known, in any spelling, and what looks like one.

A text is read as whoever gets it may read it: as it stands, with its escapes undone once and again, and with what may
be base64 or hexadecimal decoded, one inside the other. What is found in any reading is struck out of the text itself.
"""

import binascii
import html
import re
import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

MIN_SECRET_BYTES: Final = 16
"""Bytes. A shorter value is seldom a platform's secret, and may be a word that people need, or an account's id."""
MIN_PASSWORD_BYTES: Final = 8
"""Bytes. So short a value is a secret if it is made as passwords are: of small and capital letters and digits."""
MAX_REGISTERED_SECRETS = 2000
"""So many values are known at a time; those that nobody has used for longest are forgotten first."""
MAX_SCANNED_CHARACTERS = 2**20
"""Characters of a text that are read: about a second of work at the worst. What is beyond them is struck out."""
REDACTION_MARK = "…"
_PREFIX_BYTES: Final = 8
"""By so many first bytes a secret is found; where a text breaks off, so many give it away."""
_MAX_ESCAPE_LAYERS: Final = 6
"""So often are escapes undone."""
_MAX_ENCODING_DEPTH: Final = 2
"""So many encodings such as base64 are undone, one inside the other."""
_WORD_BYTES: Final = 4
"""A text is searched in steps of so many bytes: wherever a secret begins, one step falls on one of its first words."""

_SECRET_PATTERN: Final = re.compile(
    rb"(?:access_token|secret|bduss|stoken|token|tbs|sign)[\"']?\s*[=:]\s*[\"']?([^&\s\"',}]+)"
)
"""Finds its places in a text in small letters: a pattern that ignores case takes ten times as long."""
_ESCAPE_SIGN: Final = re.compile(rb"[%\\&]")
_ESCAPE: Final = re.compile(
    rb"(?P<cut>(?:%[0-9A-Fa-f]?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&(?:\#[xX]?)?[0-9A-Za-z]{0,8})\Z)"
    rb"|(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    rb"|(?P<hex>(?:\\x[0-9A-Fa-f]{2})+)"
    rb"|(?P<ascii>(?:[\\%]u00[0-7][0-9A-Fa-f])+)"
    rb"|(?P<wide>(?:[\\%]u(?!00[0-7])[0-9A-Fa-f]{4})+)"
    rb"|\\u\{(?P<braced>[0-9A-Fa-f]{1,5})\}"
    rb"|\\(?P<octal>[0-3][0-7]{2})"
    rb"|\\(?P<quoted>.)"
    rb"|(?P<entity>&(?:\#(?:[xX][0-9A-Fa-f]{1,32}|[0-9]{1,32})|[A-Za-z][A-Za-z0-9]{1,31});?)",
    re.DOTALL,
)
"""Escapes of addresses, forms, JSON, JavaScript, Python, C and HTML; those of one length as long runs."""
_QUOTED_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"a": b"\a"}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_SEPARATED_HEX: Final = re.compile(
    rb"[0-9A-Fa-f]{2}(?P<sign>[:., +-]|,? ?0x)[0-9A-Fa-f]{2}(?:(?P=sign)[0-9A-Fa-f]{2}){6,}"
)
_PIECE_SEPARATOR: Final = b"\xff"
"""Stands between the pieces of a reading; no UTF-8 has it, so that nothing is found across."""

Span = tuple[int, int]

_registered: OrderedDict[str, frozenset[bytes]] = OrderedDict()
"""What is known, with the forms in which a reading may show it."""
_words: dict[int, frozenset[tuple[int, bytes]]] = {}
"""The first words of all forms: how far from its beginning each stands, and with what first bytes that begins."""
_forms_by_start: dict[bytes, tuple[frozenset[int], frozenset[bytes]]] = {}
"""All forms by their first bytes, with the lengths that occur: however many begin alike, few places are compared."""
_lock = threading.Lock()


def register_secrets(values: Iterable[str]) -> None:
    """Let these values never be shown again."""
    with _lock:
        for value in values:
            if value in _registered:
                _registered.move_to_end(value)
            elif forms := _forms(value):
                _registered[value] = forms
                for form in forms:
                    _index_form(form)
        while len(_registered) > MAX_REGISTERED_SECRETS:
            _value, forms = _registered.popitem(last=False)
            for form in forms.difference(*_registered.values()):
                _unindex_form(form)


def redact_text(text: str) -> str:
    """Strike out every secret of a text, however it is spelled there. Linear; never raises."""
    data = text[:MAX_SCANNED_CHARACTERS].encode("utf-8", "surrogatepass")
    spans = sorted(_secret_spans(data, _MAX_ENCODING_DEPTH))
    if len(text) > MAX_SCANNED_CHARACTERS:
        spans.append((len(data), len(data)))
    if not spans:
        return text
    pieces: list[bytes] = []
    done = 0
    for start, end in spans:
        if start > done or not pieces:
            pieces += [data[done:start], REDACTION_MARK.encode()]
        done = max(done, end)
    return b"".join([*pieces, data[done:]]).decode("utf-8", "surrogatepass")


def _forms(value: str) -> frozenset[bytes]:
    """Give a value as it is, and with its own escapes undone: a reading may undo them along with others."""
    raw = value.encode("utf-8", "surrogatepass")
    layer = raw if len(raw) >= MIN_SECRET_BYTES or _is_password(value) else None
    forms: set[bytes] = set()
    for _ in range(_MAX_ESCAPE_LAYERS):
        if layer is None or len(layer) < MIN_PASSWORD_BYTES:
            break
        forms.add(_with_plus_as_space(layer))
        view = _unescaped(layer)
        layer = view.data if view else None
    return frozenset(forms)


def _is_password(value: str) -> bool:
    return all(any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit))


def _with_plus_as_space(data: bytes) -> bytes:
    """Take a plus for the space that a form makes of it, on both sides."""
    return data.replace(b"+", b" ")


def _index_form(form: bytes) -> None:
    start = form[:_PREFIX_BYTES]
    for offset in range(_WORD_BYTES):
        word = _word_at(start, offset)
        _words[word] = _words.get(word, frozenset()) | {(offset, start)}
    lengths, forms = _forms_by_start.get(start, (frozenset(), frozenset()))
    _forms_by_start[start] = lengths | {len(form)}, forms | {form}


def _unindex_form(form: bytes) -> None:
    start = form[:_PREFIX_BYTES]
    _lengths, forms = _forms_by_start[start]
    if left := forms - {form}:
        _forms_by_start[start] = frozenset(map(len, left)), left
        return
    del _forms_by_start[start]
    for offset in range(_WORD_BYTES):
        word = _word_at(start, offset)
        _words[word] -= {(offset, start)}
        if not _words[word]:
            del _words[word]


def _word_at(form: bytes, offset: int) -> int:
    return int.from_bytes(form[offset : offset + _WORD_BYTES], sys.byteorder)


@dataclass(slots=True)
class _DecodedView:
    """A reading of some bytes, and where each of its pieces came from."""

    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    starts: list[int] = field(default_factory=list)
    sources: list[tuple[int, int, int, int]] = field(default_factory=list)
    """For each piece its span, and how many source bytes make how many of the piece: 4 to 3. With 0 it is one whole."""

    def add_separated(self, piece: bytes, source: Span, ratio: tuple[int, int]) -> None:
        """Add a piece that nothing of those before it runs into."""
        if self.length:
            self.add(_PIECE_SEPARATOR, (source[0], source[0]), (0, 1))
        self.add(piece, source, ratio)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    def add(self, piece: bytes, source: Span, ratio: tuple[int, int]) -> None:
        self.starts.append(self.length)
        self.sources.append((*source, *ratio))
        self.parts.append(piece)
        self.length += len(piece)

    def source_span(self, span: Span) -> Span:
        """Give the bytes that a part of the reading came from."""
        start, end = span
        first, last = (bisect_right(self.starts, place) - 1 for place in (start, end - 1))
        source, _end, per, makes = self.sources[first]
        begin = source + (start - self.starts[first]) * per // makes
        source, stop, per, makes = self.sources[last]
        return begin, min(stop, source + -((self.starts[last] - end) * per // makes)) if per else stop


def _secret_spans(data: bytes, depth: int) -> Iterator[Span]:
    """Yield where secrets stand, in any reading of the data."""
    trail: list[_DecodedView] = []
    for _ in range(_MAX_ESCAPE_LAYERS):
        for span in _layer_spans(data, depth):
            for view in reversed(trail):
                span = view.source_span(span)  # noqa: PLW2901 # step by step back to where the text stands
            yield span
        unescaped = _unescaped(data)
        if unescaped is None:
            return
        trail.append(unescaped)
        data = unescaped.data


def _layer_spans(data: bytes, depth: int) -> Iterator[Span]:
    """Yield where secrets stand in one layer, escapes as they are."""
    yield from _known_spans(_with_plus_as_space(data))
    yield from (found.span(1) for found in _SECRET_PATTERN.finditer(data.lower()))
    if depth:
        for view in (*_decode_base64(data), *_decode_hex(data)):
            yield from map(view.source_span, _secret_spans(view.data, depth - 1))


def _known_spans(data: bytes) -> Iterator[Span]:
    words = memoryview(data)[: len(data) // _WORD_BYTES * _WORD_BYTES].cast("I")
    if _words.keys().isdisjoint(words):
        return
    for number, word in enumerate(words):
        for offset, start in _words.get(word, ()):
            position = number * _WORD_BYTES - offset
            if position >= 0 and data.startswith(start, position):
                length = _secret_length_at(data, position, start)
                if length:
                    yield position, position + length


def _secret_length_at(data: bytes, position: int, start: bytes) -> int:
    """Tell how long the secret is that begins there, whole or broken off by the end; 0 for none."""
    lengths, forms = _forms_by_start.get(start, (frozenset(), frozenset()))
    whole = [length for length in lengths if data[position : position + length] in forms]
    rest = data[position : position + max(lengths, default=0)]
    if not whole and position + len(rest) == len(data) and any(form.startswith(rest) for form in forms):
        return len(rest)
    return max(whole, default=0)


def _unescaped(data: bytes) -> _DecodedView | None:
    """Undo the escapes once; None where there are none."""
    view, done = _DecodedView(), 0
    for found in _escapes(data):
        plain, per = _decode_escape(found)
        if plain == found[0]:
            continue
        start, end = found.span()
        if start > done:
            view.add(data[done:start], (done, start), (1, 1))
        view.add(plain, (start, end), (per, 1))
        done = end
    if not done:
        return None
    if done < len(data):
        view.add(data[done:], (done, len(data)), (1, 1))
    return view


def _escapes(data: bytes) -> Iterator[re.Match[bytes]]:
    """Find the escapes by the signs that they begin with, which is soon done where there are none."""
    at = 0
    while sign := _ESCAPE_SIGN.search(data, at):
        found = _ESCAPE.match(data, sign.start())
        if found:
            yield found
        at = (found or sign).end()


def _decode_escape(match: re.Match[bytes]) -> tuple[bytes, int]:
    """Give what an escape stands for, and how many of its bytes make one; 0 where it is one whole."""
    text, kind = match[0], match.lastgroup
    match kind:
        case "percent":
            return bytes.fromhex(text.replace(b"%", b"").decode()), 3
        case "hex":
            return bytes.fromhex(text.replace(b"\\x", b"").decode()), 4
        case "ascii":
            return bytes.fromhex(text.replace(b"%u00", b"").replace(b"\\u00", b"").decode()), 6
        case "wide":
            units = bytes.fromhex(text.replace(b"%u", b"").replace(b"\\u", b"").decode())
            return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass"), 0
        case "braced":
            return chr(int(match["braced"], 16)).encode("utf-8", "surrogatepass"), 0
        case "octal":
            return bytes([int(match["octal"], 8)]), 0
        case "quoted":
            return _QUOTED_ESCAPES.get(match["quoted"], match["quoted"]), 0
        case "entity":
            return _decode_entity(text), 0
        case _:
            return b"", 0


@lru_cache(maxsize=4096)
def _decode_entity(text: bytes) -> bytes:
    return html.unescape(text.decode()).encode("utf-8", "surrogatepass")


def _decode_base64(data: bytes) -> Iterator[_DecodedView]:
    """Decode what may be base64, of either alphabet, from each of the four letters at which it may begin."""
    runs = [found.span() for found in _BASE64.finditer(data)]
    if not runs:
        return
    translated = data.translate(_URL_SAFE)
    for phase in range(4):
        view = _DecodedView()
        for start, end in runs:
            first = start + phase
            last = end - ((end - first) % 4 == 1)
            piece = binascii.a2b_base64(translated[first:last] + b"=" * (-(last - first) % 4))
            view.add_separated(piece, (first, end), (4, 3))
        yield view


def _decode_hex(data: bytes) -> Iterator[_DecodedView]:
    """Decode what may be hexadecimal: pairs in a row, from either digit, and pairs with signs between them."""
    runs = [found.span() for found in _HEX.finditer(data)]
    for phase in range(2) if runs else ():
        view = _DecodedView()
        for start, end in runs:
            first = start + phase
            last = end - (end - first) % 2
            view.add_separated(bytes.fromhex(data[first:last].decode()), (first, end), (2, 1))
        yield view
    view = _DecodedView()
    for found in _SEPARATED_HEX.finditer(data):
        pairs: Sequence[bytes] = found[0].split(found["sign"])
        piece = bytes.fromhex(b"".join(pairs).decode())
        view.add_separated(piece, found.span(), (2 + len(found["sign"]), 1))
    if view.length:
        yield view
