"""Every known secret is redacted from every text."""

import base64
import html
import json
import re
import sys
from datetime import timedelta
from functools import partial
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.results import Busy
from publisher.engine.calls import call_adapter
from publisher.runtime import redaction
from publisher.runtime.logs import redact_event
from publisher.runtime.redaction import redact_text, register_secrets

SECRET = "canary~of/the+concealer=7d1f"
SPELLED = {
    "plain": SECRET,
    "address": quote(SECRET, safe=""),
    "hex": SECRET.encode().hex(),
    "base64": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "broken off": SECRET[:12],
}


@pytest.fixture(autouse=True)
def _known():
    register_secrets([SECRET])


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_i19_every_encoding_is_redacted(spelled):
    """Complete, or begun at the end of a text that was cut; the text before it is kept."""
    assert redact_text(f"the answer was {spelled}") == "the answer was …"


def test_i19_the_rest_of_a_text_is_kept():
    """The text around and between two secrets is kept, and so is a similar beginning."""
    assert redact_text(f"a {SECRET} b {SECRET} c") == "a … b … c"
    assert redact_text("canary~of an island") == "canary~of an island"


async def test_i19_a_platforms_message_passes_the_guard_without_secrets():
    """A platform's repetition of a secret reaches neither the database nor an alert."""

    async def answer():
        return Busy(code="x", reason=f"you sent {SECRET}")

    assert await call_adapter(answer(), timedelta(seconds=5)) == Busy(
        code="x", reason="you sent …"
    )


def test_i19_a_log_entry_is_searched_to_its_depth():
    """Lists and mappings within an entry are searched too."""
    reported = redact_event(
        None, "", {"event": "e", "headers": [{"cookie": f"BDUSS={SECRET}"}], "count": 1}
    )
    assert reported == {"event": "e", "headers": [{"cookie": "BDUSS=…"}], "count": 1}


@pytest.mark.long
@pytest.mark.usefixtures("_forgets")
def test_i19_no_secret_in_use_is_dropped():
    """I19: at 5,000 logins each present value is redacted.

    The number of values registered since does not matter.
    """
    secrets = [f"2.00{login:05}-of-a-login-{login:05}" for login in range(5000)]
    for login, secret in enumerate(secrets):
        register_secrets([secret, SECRET], holder=f"login {login}")
    register_secrets(f"another-secret-of-{number:06}" for number in range(2000))
    assert set(redact_text(" ".join(secrets)).split()) == {"…"}


@pytest.mark.usefixtures("_forgets")
def test_replaced_secrets_are_dropped(monkeypatch):
    """Values of no holder are dropped, the least recently registered one first.

    Memory stays bounded.
    """
    monkeypatch.setattr(redaction, "MAX_PAST_VALUES", 2)
    for number in range(10):
        register_secrets([SECRET, f"another-secret-of-{number:04}"], holder="login")
    register_secrets(["a-token-without-holder"])
    shown = [redact_text(f"another-secret-of-{number:04}") for number in (9, 8, 7)]
    assert shown == ["…", "…", "another-secret-of-0007"]
    assert redact_text(f"{SECRET} a-token-without-holder") == "… …"
    register_secrets([], holder="login")
    register_secrets(["a-second-token-without-holder", "a-third-token-without-holder"])
    assert redact_text(SECRET) == SECRET


def _percent(text):
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _units(text):
    return re.findall("....", text.encode("utf-16-be").hex())


def _entities(text, form):
    return "".join(form.format(ord(letter)) for letter in text)


def _named(text):
    names = ((letter, codepoint2name.get(ord(letter))) for letter in text)
    return "".join(f"&{name};" if name else letter for letter, name in names)


ENCODERS = {
    "plain": str,
    "address": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
    "lower percent": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "percent": _percent,
    "percent, lower": lambda text: _percent(text).lower(),
    "percent, every other": lambda text: "".join(
        _percent(letter) if number % 2 else quote(letter, safe="")
        for number, letter in enumerate(text)
    ),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, all": lambda text: "".join(f"\\u{unit}" for unit in _units(text)),
    "JSON, all upper": lambda text: "".join(
        f"\\u{unit.upper()}" for unit in _units(text)
    ),
    "JavaScript": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "HTML": html.escape,
    "HTML, decimal": lambda text: _entities(text, "&#{};"),
    "HTML, padded": lambda text: _entities(text, "&#{:07};"),
    "HTML, hex": lambda text: _entities(text, "&#x{:x};"),
    "HTML, named": _named,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, second": lambda text: base64.b64encode(
        b"x" + text.encode() + b"yz"
    ).decode(),
    "base64, third": lambda text: (
        base64.b64encode(b"xy" + text.encode() + b"z").decode().rstrip("=")
    ),
    "base64, URL-safe": lambda text: (
        base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    ),
    "hex": lambda text: text.encode().hex(),
    "hex, upper": lambda text: text.encode().hex().upper(),
    "hex, colons": lambda text: text.encode().hex(":"),
    "hex, spaces": lambda text: text.encode().hex(" ").upper(),
}


def _runs(decode, pattern, steps):
    """Decode each run of a pattern, from each of so many of its letters."""

    def decoding(text):
        found = [
            run[step:] for run in re.findall(pattern, text) for step in range(steps)
        ]
        return "\n".join(decode(run).decode("utf-8", "replace") for run in found)

    return decoding


def _base64(run):
    run = run.replace("-", "+").replace("_", "/")
    run = run[: len(run) - (len(run) % 4 == 1)]
    return base64.b64decode(run + "=" * (-len(run) % 4))


def _unescaped(text):
    pairs = re.sub(
        r"((?:\\u[0-9a-fA-F]{4})+)", lambda found: _from_units(found[0]), text
    )
    return re.sub(r"\\([^u])", r"\1", pairs)


def _from_units(text):
    return bytes.fromhex(text.replace("\\u", "")).decode("utf-16-be", "replace")


DECODERS = [
    str,
    unquote,
    unquote_plus,
    html.unescape,
    _unescaped,
    lambda text: bytes.fromhex("".join(re.findall(r"\\x(..)", text))).decode(
        "utf-8", "replace"
    ),
    _runs(_base64, "[A-Za-z0-9+/_-]+", 4),
    _runs(lambda run: bytes.fromhex(run[: len(run) // 2 * 2]), "[0-9A-Fa-f]+", 2),
    _runs(
        lambda run: bytes.fromhex(re.sub("[: ]", "", run)),
        "(?:[0-9A-Fa-f]{2}[: ])+[0-9A-Fa-f]{2}",
        1,
    ),
]
"""Decoders of a text, none of them publisher's own."""


@pytest.fixture
def calls_of():
    """Return a function that counts the lines of our own code that another function runs."""

    def counting(function):
        lines = 0

        def trace(frame, event, _argument):
            nonlocal lines
            if frame.f_code.co_filename != redaction.__file__:
                return None
            lines += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        finally:
            sys.settrace(before)
        return lines

    return counting


@pytest.fixture
def _forgets():
    """Forget the many secrets of a property test before the next test."""
    kept = list(redaction._INDEX.forms_by_value)
    yield
    _forget_all_but(kept)


def _forget_all_but(kept):
    for holder in list(redaction._INDEX.values_by_holder):
        register_secrets([], holder=holder)
    most, redaction.MAX_PAST_VALUES = redaction.MAX_PAST_VALUES, 0
    register_secrets([])
    redaction.MAX_PAST_VALUES = most
    register_secrets(kept)


@pytest.mark.parametrize("outer", ENCODERS)
def test_i19_a_secret_is_redacted_in_any_two_encodings(outer):
    """I19: one inside the other; the text around it is kept."""
    for inner, encode in ENCODERS.items():
        struck = redact_text(f"reply <{ENCODERS[outer](encode(SECRET))}> 警方")
        assert "…" in struck, inner
        assert struck.startswith("reply <"), inner
        assert struck.endswith("> 警方"), inner
        assert not _is_readable(SECRET, struck), inner


SECRETS = st.text(
    st.one_of(
        st.sampled_from("abcXYZ019-._~+/=%&\\\"'<>;:#?{}|! 密"),
        st.characters(min_codepoint=33, max_codepoint=126),
    ),
    min_size=16,
    max_size=60,
).filter(lambda secret: len(set(secret)) > 5 and secret == secret.strip())


@pytest.mark.usefixtures("_forgets")
@given(
    SECRETS,
    st.sampled_from(list(ENCODERS)),
    st.sampled_from(list(ENCODERS)),
    st.sampled_from(["", "a", "n=", '{"a":"', "密 "]),
)
def test_i19_no_decoding_of_the_rest_yields_the_secret(secret, inner, outer, before):
    """I19: no decoding in one or two steps leads back to a secret of any content."""
    _forget_all_but([secret])
    struck = redact_text(f'{before}{ENCODERS[outer](ENCODERS[inner](secret))}" z')
    assert not _is_readable(secret, struck)


def _is_readable(secret, text):
    once = [decode(text) for decode in DECODERS]
    return any(secret in decode(read) for read in once for decode in DECODERS)


@given(st.text(), st.binary())
def test_i19_any_text_is_accepted(text, raw):
    """I19: lone surrogates, broken escapes and raw bytes are accepted like any text.

    Nothing is raised or changed.
    """
    for each in (
        text,
        raw.decode("latin-1"),
        raw.decode("utf-8", "surrogateescape"),
        f"%u{text}\\u{text}&#x{text}",
    ):
        assert redact_text(each) == each or "…" in redact_text(each)


@pytest.mark.usefixtures("_forgets")
def test_i19_short_values_do_not_blank_everything():
    """I19: a password of a few letters would be found in every second word; it is left alone."""
    register_secrets(
        ["", "a", "abc", "abcde", "Ab1", "1234567", "1404376560", "beijing-weibo"]
    )
    text = "abcde 1234567 a b c: the abc of scams, Ab1, 1404376560 beijing-weibo"
    assert redact_text(text) == text


@pytest.mark.usefixtures("_forgets")
def test_i19_a_short_password_is_recognised_by_its_characters():
    """I19: lower-case and capital letters and digits: no word, and no account's id."""
    register_secrets(["Hunter2x"])
    assert (
        redact_text("you sent Hunter2x, in base64 SHVudGVyMng=")
        == "you sent …, in base64 …="
    )


@pytest.mark.usefixtures("_forgets")
def test_i19_many_secrets_that_begin_alike_cost_no_more_than_a_few(calls_of):
    """I19: tokens of one platform do; a reply full of their beginning is read as quickly as any."""
    text = "2.00same" * 2000

    def lines(number):
        register_secrets([f"2.00same-{each:020}" for each in range(number)])
        return calls_of(partial(redact_text, text))

    assert lines(1000) <= 1.5 * lines(10)


def test_i19_what_looks_like_a_secret_is_found_in_decoded_text():
    """I19: an unknown token is recognised by its name, in JSON within JSON or in an address."""
    assert (
        redact_text(r'{"said": "{\"access_token\":\"unknown-1\"}"}')
        == r'{"said": "{\"access_token\":\"…\"}"}'
    )
    assert (
        redact_text("to=http%3A%2F%2Fx%3Faccess_token%3Dunknown-2%26a=1")
        == "to=http%3A%2F%2Fx%3Faccess_token%3D…%26a=1"
    )
    assert redact_text("BDUSS&#61;unknown3 z") == "BDUSS&#61;… z"


@pytest.mark.parametrize(
    "spell",
    [
        ENCODERS["percent"],
        ENCODERS["base64"],
        ENCODERS["JSON, all"],
        ENCODERS["hex, colons"],
    ],
)
def test_i19_a_cut_secret_is_redacted_in_its_encoding(spell):
    """I19: of a reply that was cut in the middle of an encoded secret, its half is redacted."""
    spelled = spell(SECRET)
    struck = redact_text(f"said {spelled[: len(spelled) * 2 // 3]}")
    assert struck.startswith("said …")
    assert not _is_readable(SECRET[:10], struck)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "%",
        "%41",
        "\\",
        "\\u0041",
        "&#65;",
        "&",
        "QUFB",
        "41",
        "4:",
        "canary~o",
        "token",
        "sign=",
        "警惕 ",
        "\\u8b66",
    ],
)
def test_i19_reading_is_linear_in_the_length_of_a_text(piece, calls_of):
    """I19: a text of twice the length takes at most twice the work, for any content."""
    short, long = (
        calls_of(partial(redact_text, piece * number)) for number in (2000, 4000)
    )
    assert long <= 2.2 * short + 100


def test_i19_the_rest_of_an_oversized_text_is_redacted(monkeypatch):
    """I19: text that is not searched is not shown."""
    monkeypatch.setattr(redaction, "MAX_SCANNED_CHARACTERS", 10)
    assert redact_text("0123456789" + SECRET) == "0123456789…"
