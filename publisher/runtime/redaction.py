"""Redact secrets in stored or shown text: registered values, and text that looks secret.

Registered values are found in any encoding. A text is searched in every form that a reader may
decode it to. It is searched as it is, with escapes undone repeatedly, and with possible base64 or
hexadecimal decoded, also nested. A match in any form is redacted in the text itself.
"""

import binascii
import html
import re
import sys
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

MIN_SECRET_BYTES: Final = 16
"""Minimum length of a platform's secret.

A shorter value may be a word that people need, or an account's id.
"""
MIN_PASSWORD_BYTES: Final = 8
"""Minimum length of a value that looks like a password.

It has lower-case and capital letters and digits, and is taken for a secret.
"""
MAX_PAST_VALUES = 2000
"""Maximum number of values without a holder.

Above this number the least recently registered ones are dropped.
"""
MAX_SCANNED_CHARACTERS = 2**20
"""Maximum characters of a text that are scanned, about a second in the worst case.

The rest is redacted.
"""
REDACTION_MARK = "…"
_PREFIX_BYTES: Final = 8
"""The length of the prefix that finds a secret.

A truncated text that ends in such a prefix is redacted too.
"""
_MAX_ESCAPE_LAYERS: Final = 6
_MAX_ENCODING_DEPTH: Final = 2
"""How many nested encodings such as base64 are decoded."""
_WORD_BYTES: Final = 4
"""The step of the search.

From any start of a secret, one step falls on one of the words of its prefix.
"""

_SECRET_PATTERN: Final = re.compile(
    rb"(?:access_token|secret|bduss|stoken|token|tbs|sign)[\"']?\s*[=:]\s*[\"']?([^&\s\"',}]+)"
)
"""Applied to lower-cased text: a pattern that ignores case takes ten times as long."""
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
"""Escapes of URLs, forms, JSON, JavaScript, Python, C and HTML.

Escapes of one length match as runs.
"""
_QUOTED_ESCAPES: Final = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
    b"a": b"\a",
}
_MIN_ENCODED_BYTES: Final = 11
"""The shortest base64 or hexadecimal that is decoded: eight bytes in base64 without padding."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % _MIN_ENCODED_BYTES)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_SEPARATED_HEX: Final = re.compile(
    rb"[0-9A-Fa-f]{2}(?P<sign>[:., +-]|,? ?0x)[0-9A-Fa-f]{2}(?:(?P=sign)[0-9A-Fa-f]{2}){6,}"
)
_PIECE_SEPARATOR: Final = b"\xff"
"""Separates the pieces of a decoded view. It occurs in no UTF-8, so nothing matches across it."""

Span = tuple[int, int]

_forms_by_value: dict[str, frozenset[bytes]] = {}
"""All redacted values, each with the forms that a decoded text may have."""
_values_by_holder: dict[str, frozenset[str]] = {}
"""The present values of each holder, such as a login's secret."""
_holder_counts: Counter[str] = Counter()
"""The number of holders of each value."""
_past_values: OrderedDict[str, None] = OrderedDict()
"""The values without a holder, the least recently registered one first."""
_form_counts: Counter[bytes] = Counter()
"""The number of values that have each form."""
_words: dict[int, frozenset[tuple[int, bytes]]] = {}
"""The words in the prefixes of all forms, each with its offset and the prefix."""
_forms_by_start: dict[bytes, "_FormsOfPrefix"] = {}
"""All forms by prefix. Readers take no lock: they copy the data that they iterate over."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _FormsOfPrefix:
    """The forms that begin alike, and how many have each length.

    Few slices are compared, however many forms there are.
    """

    forms: set[bytes] = field(default_factory=set)
    lengths: Counter[int] = field(default_factory=Counter)


def register_secrets(values: Iterable[str], holder: str | None = None) -> None:
    """Redact these values from now on.

    The values of a holder are redacted at least until it registers others: however many secrets are
    in use, none is dropped. All others, such as a token that was replaced, are kept up to
    MAX_PAST_VALUES.
    """
    present = frozenset(values)
    if holder is not None and _values_by_holder.get(holder) == present:
        return
    with _lock:
        for value in present:
            if value not in _forms_by_value:
                _index_value(value)
        replaced: frozenset[str] = frozenset()
        if holder is not None:
            replaced = _values_by_holder.get(holder, frozenset())
            _values_by_holder[holder] = present
            _holder_counts.update(present)
            _holder_counts.subtract(replaced)
        for value in present | replaced:
            _past_values.pop(value, None)
            if not _holder_counts[value]:
                _past_values[value] = None
        while len(_past_values) > MAX_PAST_VALUES:
            _drop_value(_past_values.popitem(last=False)[0])


def redact_text(text: str) -> str:
    """Redact every secret in a text, in any encoding. Linear; never raises."""
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
    """Return a value as it is and with its own escapes undone.

    Decoding a text may undo them along with others.
    """
    raw = value.encode("utf-8", "surrogatepass")
    is_password = all(
        any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit)
    )
    layer = raw if len(raw) >= MIN_SECRET_BYTES or is_password else None
    forms: set[bytes] = set()
    for _ in range(_MAX_ESCAPE_LAYERS):
        if layer is None or len(layer) < MIN_PASSWORD_BYTES:
            break
        forms.add(_with_plus_as_space(layer))
        view = _unescaped(layer)
        layer = view.data if view else None
    return frozenset(forms)


def _with_plus_as_space(data: bytes) -> bytes:
    """Replace plus by space, in secrets and in texts, as a form encodes one as the other."""
    return data.replace(b"+", b" ")


def _index_value(value: str) -> None:
    _forms_by_value[value] = forms = _forms(value)
    _form_counts.update(forms)
    for form in forms:
        prefix = form[:_PREFIX_BYTES]
        if prefix not in _forms_by_start:
            _forms_by_start[prefix] = _FormsOfPrefix()
            for offset in range(_WORD_BYTES):
                word = _word_at(prefix, offset)
                _words[word] = _words.get(word, frozenset()) | {(offset, prefix)}
        if _form_counts[form] == 1:
            _forms_by_start[prefix].forms.add(form)
            _forms_by_start[prefix].lengths[len(form)] += 1


def _drop_value(value: str) -> None:
    del _holder_counts[value]
    for form in _forms_by_value.pop(value):
        _form_counts[form] -= 1
        if not _form_counts[form]:
            del _form_counts[form]
            _unindex_form(form)


def _unindex_form(form: bytes) -> None:
    prefix = form[:_PREFIX_BYTES]
    alike = _forms_by_start[prefix]
    alike.forms.remove(form)
    alike.lengths.subtract([len(form)])
    if alike.forms:
        return
    del _forms_by_start[prefix]
    for offset in range(_WORD_BYTES):
        word = _word_at(prefix, offset)
        _words[word] -= {(offset, prefix)}
        if not _words[word]:
            del _words[word]


def _word_at(prefix: bytes, offset: int) -> int:
    return int.from_bytes(prefix[offset : offset + _WORD_BYTES], sys.byteorder)


@dataclass(slots=True)
class _DecodedView:
    """Decoded bytes, and the source position of each of their pieces."""

    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    starts: list[int] = field(default_factory=list)
    sources: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Source span of each piece, and how many source bytes give how many decoded bytes.

    The numbers are such as 4 to 3. A ratio that starts with 0 marks a piece that can only be
    redacted as a whole.
    """

    def add_separated(self, piece: bytes, source: Span, ratio: tuple[int, int]) -> None:
        """Add a piece so that nothing matches across its start."""
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
        """Return the source span of a span of the view."""
        start, end = span
        first, last = (
            bisect_right(self.starts, position) - 1 for position in (start, end - 1)
        )
        source, _end, per, makes = self.sources[first]
        begin = source + (start - self.starts[first]) * per // makes
        source, stop, per, makes = self.sources[last]
        return begin, min(
            stop, source + -((self.starts[last] - end) * per // makes)
        ) if per else stop


def _secret_spans(data: bytes, depth: int) -> Iterator[Span]:
    """Yield the spans of secrets in any decoding of the data."""
    trail: list[_DecodedView] = []
    for _ in range(_MAX_ESCAPE_LAYERS):
        spans = [
            *_known_spans(_with_plus_as_space(data)),
            *(one.span(1) for one in _SECRET_PATTERN.finditer(data.lower())),
        ]
        if depth and len(data) >= _MIN_ENCODED_BYTES:
            runs = [found.span() for found in _BASE64.finditer(data)]
            for decoded in (*_decode_base64(data, runs), *_decode_hex(data, runs)):
                spans += map(
                    decoded.source_span, _secret_spans(decoded.data, depth - 1)
                )
        for span in spans:
            for view in reversed(trail):
                span = view.source_span(span)  # noqa: PLW2901 # layer by layer back to the original text
            yield span
        unescaped = _unescaped(data)
        if unescaped is None:
            return
        trail.append(unescaped)
        data = unescaped.data


def _known_spans(data: bytes) -> Iterator[Span]:
    """Yield the spans of registered secrets, whole or truncated by the end of the data."""
    words = memoryview(data)[: len(data) // _WORD_BYTES * _WORD_BYTES].cast("I")
    if _words.keys().isdisjoint(words):
        return
    for number, word in enumerate(words):
        for offset, prefix in _words.get(word, ()):
            position = number * _WORD_BYTES - offset
            if position < 0 or not data.startswith(prefix, position):
                continue
            alike = _forms_by_start.get(prefix, _FormsOfPrefix())
            lengths = [
                length for length, count in tuple(alike.lengths.items()) if count
            ]
            whole = [
                length
                for length in lengths
                if data[position : position + length] in alike.forms
            ]
            rest = data[position : position + max(lengths, default=0)]
            if whole:
                yield position, position + max(whole)
            elif (
                rest
                and position + len(rest) == len(data)
                and _begins_a_form(rest, alike)
            ):
                yield position, len(data)


def _begins_a_form(rest: bytes, alike: _FormsOfPrefix) -> bool:
    return any(form.startswith(rest) for form in tuple(alike.forms))


def _unescaped(data: bytes) -> _DecodedView | None:
    """Undo one layer of escapes. Return None if there are none."""
    view, done, position = _DecodedView(), 0, 0
    # The search for escape characters is fast in a text without any; the pattern alone is not.
    while sign := _ESCAPE_SIGN.search(data, position):
        found = _ESCAPE.match(data, sign.start())
        position = (found or sign).end()
        if found is None:
            continue
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


def _decode_escape(match: re.Match[bytes]) -> tuple[bytes, int]:
    """Return the decoded bytes of an escape, and how many of its bytes give one byte.

    It is 0 if the escape is one whole.
    """
    text = match[0]
    match match.lastgroup:
        case "percent":
            return bytes.fromhex(text.replace(b"%", b"").decode()), 3
        case "hex":
            return bytes.fromhex(text.replace(b"\\x", b"").decode()), 4
        case "ascii":
            return bytes.fromhex(
                text.replace(b"%u00", b"").replace(b"\\u00", b"").decode()
            ), 6
        case "wide":
            units = bytes.fromhex(
                text.replace(b"%u", b"").replace(b"\\u", b"").decode()
            )
            return units.decode("utf-16-be", "surrogatepass").encode(
                "utf-8", "surrogatepass"
            ), 0
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


def _decode_base64(data: bytes, runs: Sequence[Span]) -> Iterator[_DecodedView]:
    """Decode possible base64, of either alphabet.

    Decoding starts at each of the four characters that it may begin at.
    """
    if not runs:
        return
    translated = data.translate(_URL_SAFE)
    for phase in range(4):
        view = _DecodedView()
        for start, end in runs:
            first = start + phase
            last = end - ((end - first) % 4 == 1)
            piece = binascii.a2b_base64(
                translated[first:last] + b"=" * (-(last - first) % 4)
            )
            view.add_separated(piece, (first, end), (4, 3))
        yield view


def _decode_hex(data: bytes, base64_runs: Sequence[Span]) -> Iterator[_DecodedView]:
    """Decode possible hexadecimal: consecutive pairs, from either digit, and pairs with separators.

    Consecutive pairs might be base64 as well.
    """
    runs = [found.span() for run in base64_runs for found in _HEX.finditer(data, *run)]
    for phase in range(2) if runs else ():
        view = _DecodedView()
        for start, end in runs:
            first = start + phase
            last = end - (end - first) % 2
            view.add_separated(
                bytes.fromhex(data[first:last].decode()), (first, end), (2, 1)
            )
        yield view
    view = _DecodedView()
    for found in _SEPARATED_HEX.finditer(data):
        pairs: Sequence[bytes] = found[0].split(found["sign"])
        piece = bytes.fromhex(b"".join(pairs).decode())
        view.add_separated(piece, found.span(), (2 + len(found["sign"]), 1))
    if view.length:
        yield view
