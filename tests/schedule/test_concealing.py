"""What is known to be secret is struck out of every text."""

import base64
from datetime import timedelta
from urllib.parse import quote

import pytest

from publisher import concealing
from publisher.concealing import conceal, know_secrets
from publisher.domain.outcome import Busy
from publisher.guard import guarded
from publisher.telemetry import redact

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
    know_secrets([SECRET])


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_i19_every_spelling_is_struck_out(spelled):
    """Whole, or begun at the end of a text that was cut, and what stands before it is kept."""
    assert conceal(f"the answer was {spelled}") == "the answer was …"


def test_i19_the_rest_of_a_text_is_kept():
    """What stands round and between two secrets stays, and so does what only begins like one."""
    assert conceal(f"a {SECRET} b {SECRET} c") == "a … b … c"
    assert conceal("canary~of an island") == "canary~of an island"


async def test_i19_a_platforms_words_pass_the_guard_without_secrets():
    """What a platform repeats reaches neither the database nor an alert."""

    async def answer():
        return Busy(code="x", reason=f"you sent {SECRET}")

    assert await guarded(answer(), timedelta(seconds=5)) == Busy(code="x", reason="you sent …")


def test_i19_a_log_entry_is_searched_to_its_depth():
    """Lists and mappings within an entry are no hiding place."""
    told = redact(None, "", {"event": "e", "headers": [{"cookie": f"BDUSS={SECRET}"}], "count": 1})
    assert told == {"event": "e", "headers": [{"cookie": "BDUSS=…"}], "count": 1}


def test_what_nobody_uses_any_more_is_forgotten(monkeypatch):
    """Memory stays bounded: the value unused for longest goes, one in use stays."""
    monkeypatch.setattr(concealing, "MOST_KNOWN", 3)
    for number in range(10):
        know_secrets([SECRET, f"another-secret-of-{number:04}"])
    assert conceal(SECRET) == "…"
    assert conceal("another-secret-of-0009") == "…"
    assert conceal("another-secret-of-0001") == "another-secret-of-0001"
