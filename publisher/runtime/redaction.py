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
from operator import attrgetter
from typing import Final, NamedTuple

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


class _FormsOfPrefix:
    """The forms of secrets that begin alike.

    Readers take no lock: they copy the data that they iterate over.
    """

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()
        """The number of values that have each form."""
        self.lengths: Counter[int] = Counter()
        """The number of forms of each length: few slices are compared, however many there are."""

    def add(self, form: bytes) -> None:
        self.lengths[len(form)] += form not in self.counts
        self.counts[form] += 1

    def remove(self, form: bytes) -> None:
        self.counts[form] -= 1
        if not self.counts[form]:
            del self.counts[form]
            self.lengths[len(form)] -= 1

    def find_end(self, data: bytes, start: int) -> int | None:
        """Return the end of the longest form that begins here; None if none does.

        The end of the data may cut a form off.
        """
        lengths = [length for length, count in tuple(self.lengths.items()) if count]
        found = [n for n in lengths if data[start : start + n] in self.counts]
        if found:
            return start + max(found)
        rest = data[start : start + max(lengths, default=0)]
        if not rest or start + len(rest) < len(data):
            return None
        is_cut = any(form.startswith(rest) for form in tuple(self.counts))
        return len(data) if is_cut else None


class _SecretIndex:
    """All registered values. They are found by the first bytes of their forms.

    A form is a value as a decoded text may have it. Data are searched in steps of a word, and one
    of the steps falls into the prefix of any form in them.
    """

    def __init__(self) -> None:
        self.forms_by_value: dict[str, frozenset[bytes]] = {}
        self.values_by_holder: dict[str, frozenset[str]] = {}
        """The present values of each holder, such as a login's secret."""
        self._holder_counts: Counter[str] = Counter()
        """The number of holders of each value."""
        self._past_values: OrderedDict[str, None] = OrderedDict()
        """The values without a holder, the least recently registered one first."""
        self._forms_by_prefix: dict[bytes, _FormsOfPrefix] = {}
        self._prefixes_by_word: dict[int, frozenset[tuple[int, bytes]]] = {}
        """The prefixes that have each word, with its offset in them."""
        self._lock = threading.Lock()

    def register(self, present: frozenset[str], holder: str | None) -> None:
        with self._lock:
            for value in present - self.forms_by_value.keys():
                self._add(value)
            replaced: frozenset[str] = frozenset()
            if holder is not None:
                replaced = self.values_by_holder.get(holder, frozenset())
                self.values_by_holder[holder] = present
                self._holder_counts.update(present)
                self._holder_counts.subtract(replaced)
            for value in present | replaced:
                self._past_values.pop(value, None)
                if not self._holder_counts[value]:
                    self._past_values[value] = None
            while len(self._past_values) > MAX_PAST_VALUES:
                self._drop(self._past_values.popitem(last=False)[0])

    def find(self, data: bytes) -> Iterator[Span]:
        """Yield the spans of registered values, whole or cut off by the end of the data."""
        words = memoryview(data)[: len(data) // _WORD_BYTES * _WORD_BYTES].cast("I")
        if self._prefixes_by_word.keys().isdisjoint(words):
            return
        for number, word in enumerate(words):
            for offset, prefix in self._prefixes_by_word.get(word, ()):
                start = number * _WORD_BYTES - offset
                if start < 0 or not data.startswith(prefix, start):
                    continue
                forms = self._forms_by_prefix.get(prefix)
                end = forms.find_end(data, start) if forms else None
                if end is not None:
                    yield start, end

    def _add(self, value: str) -> None:
        self.forms_by_value[value] = _make_forms(value)
        for form in self.forms_by_value[value]:
            prefix = form[:_PREFIX_BYTES]
            if prefix not in self._forms_by_prefix:
                self._forms_by_prefix[prefix] = _FormsOfPrefix()
                for word, place in _words_of(prefix):
                    places = self._prefixes_by_word.get(word, frozenset())
                    self._prefixes_by_word[word] = places | {place}
            self._forms_by_prefix[prefix].add(form)

    def _drop(self, value: str) -> None:
        del self._holder_counts[value]
        for form in self.forms_by_value.pop(value):
            prefix = form[:_PREFIX_BYTES]
            forms = self._forms_by_prefix[prefix]
            forms.remove(form)
            if forms.counts:
                continue
            del self._forms_by_prefix[prefix]
            for word, place in _words_of(prefix):
                self._prefixes_by_word[word] -= {place}
                if not self._prefixes_by_word[word]:
                    del self._prefixes_by_word[word]


_INDEX: Final = _SecretIndex()


def register_secrets(values: Iterable[str], holder: str | None = None) -> None:
    """Redact these values from now on.

    The values of a holder are redacted at least until it registers others: however many secrets are
    in use, none is dropped. All others, such as a token that was replaced, are kept up to
    MAX_PAST_VALUES.
    """
    present = frozenset(values)
    if holder is None or _INDEX.values_by_holder.get(holder) != present:
        _INDEX.register(present, holder)


def redact_text(text: str) -> str:
    """Redact every secret in a text, in any encoding. Linear; never raises."""
    data = text[:MAX_SCANNED_CHARACTERS].encode("utf-8", "surrogatepass")
    spans = sorted(_find_secrets(data, _MAX_ENCODING_DEPTH))
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


def _make_forms(value: str) -> frozenset[bytes]:
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


def _words_of(prefix: bytes) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Yield the words in a prefix, each with its place: its offset, and the prefix."""
    for offset in range(_WORD_BYTES):
        word = prefix[offset : offset + _WORD_BYTES]
        yield int.from_bytes(word, sys.byteorder), (offset, prefix)


class _Piece(NamedTuple):
    """A piece of decoded bytes: its start among them, and its span in the source.

    `per` bytes of the source give `makes` decoded bytes, such as 4 to 3. If `per` is 0, the piece
    can only be redacted as a whole.
    """

    start: int
    source: Span
    per: int
    makes: int


@dataclass(slots=True)
class _DecodedView:
    """Decoded bytes, and the source position of each of their pieces."""

    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    pieces: list[_Piece] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)

    def add(self, part: bytes, source: Span, per: int, makes: int) -> None:
        self.pieces.append(_Piece(self.length, source, per, makes))
        self.parts.append(part)
        self.length += len(part)

    def add_separated(self, part: bytes, source: Span, per: int, makes: int) -> None:
        """Add a piece so that nothing matches across its start."""
        if self.length:
            self.add(_PIECE_SEPARATOR, (source[0], source[0]), 0, 1)
        self.add(part, source, per, makes)

    def source_span(self, span: Span) -> Span:
        """Return the source span of a span of the view."""
        start, end = span
        first, last = self._piece_at(start), self._piece_at(end - 1)
        begin = first.source[0] + (start - first.start) * first.per // first.makes
        if not last.per:
            return begin, last.source[1]
        length = -((last.start - end) * last.per // last.makes)  # rounded up
        return begin, min(last.source[1], last.source[0] + length)

    def _piece_at(self, position: int) -> _Piece:
        number = bisect_right(self.pieces, position, key=attrgetter("start"))
        return self.pieces[number - 1]


def _find_secrets(data: bytes, depth: int) -> Iterator[Span]:
    """Yield the spans of secrets in the data, and with its escapes undone layer by layer."""
    layers: list[_DecodedView] = []
    for _ in range(_MAX_ESCAPE_LAYERS):
        for span in _find_in_layer(data, depth):
            for view in reversed(layers):
                span = view.source_span(span)  # noqa: PLW2901 # layer by layer back to the original text
            yield span
        unescaped = _unescaped(data)
        if unescaped is None:
            return
        layers.append(unescaped)
        data = unescaped.data


def _find_in_layer(data: bytes, depth: int) -> Iterator[Span]:
    """Yield the spans of secrets in the data, and in up to `depth` encodings within it."""
    yield from _INDEX.find(_with_plus_as_space(data))
    for found in _SECRET_PATTERN.finditer(data.lower()):
        yield found.span(1)
    if depth and len(data) >= _MIN_ENCODED_BYTES:
        runs = [found.span() for found in _BASE64.finditer(data)]
        for decoded in (*_decode_base64(data, runs), *_decode_hex(data, runs)):
            spans = _find_secrets(decoded.data, depth - 1)
            yield from map(decoded.source_span, spans)


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
            view.add(data[done:start], (done, start), 1, 1)
        view.add(plain, (start, end), per, 1)
        done = end
    if not done:
        return None
    if done < len(data):
        view.add(data[done:], (done, len(data)), 1, 1)
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
            view.add_separated(piece, (first, end), 4, 3)
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
                bytes.fromhex(data[first:last].decode()), (first, end), 2, 1
            )
        yield view
    view = _DecodedView()
    for found in _SEPARATED_HEX.finditer(data):
        pairs: Sequence[bytes] = found[0].split(found["sign"])
        piece = bytes.fromhex(b"".join(pairs).decode())
        view.add_separated(piece, found.span(), 2 + len(found["sign"]), 1)
    if view.length:
        yield view
