"""What Mastodon's documents and snac say, and what the conformance kit has no rule for."""

from datetime import UTC, datetime, timedelta

import pytest
from publisher_mastodon import api
from publisher_mastodon.api import MastodonLogin, Media
from publisher_mastodon.capabilities import count_text

from publisher.contract import HttpResponse

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LOGIN = MastodonLogin(
    base_url="https://social.example", identity="police@social.example", token="t"
)


def response(status, body=b"{}", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=named, body=body)


def test_a_limit_ends_when_mastodon_says():
    """Mastodon has no Retry-After: the end is in X-RateLimit-Reset; a past one is no end."""
    limit = api.decode_limit(
        response(429, x_ratelimit_reset="2026-11-29T12:05:00.000000Z"), NOW
    )
    assert limit.until == NOW + timedelta(minutes=5)
    assert (
        api.decode_limit(
            response(429, x_ratelimit_reset="2026-11-29T11:00:00Z"), NOW
        ).until
        is None
    )
    assert api.decode_limit(response(200), NOW) is None


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("一二三", 3),
        (
            "见 https://tips.example/a/very/long/path?with=a&query=of-many-characters",
            2 + 23,
        ),
        ("https://a.example", 23),
        ("（https://a.example/x）。", 2 + 23 + 1),
        ("http://a.example/x http://b.example/y", 23 + 1 + 23),
    ],
)
def test_each_link_counts_as_23(text, length):
    """A link ends before Chinese punctuation, and counts the same whatever its length."""
    assert count_text(text) == length


def test_html_becomes_what_people_read():
    """Paragraphs and breaks become lines, entities characters, a link split into spans one link."""
    content = (
        '<p>甲&amp;乙<br />二</p><p><a href="https://a.example/x"><span class="invisible">https://</span>'
        '<span class="ellipsis">a.example</span><span class="invisible">/x</span></a></p>'
    )
    assert api.to_plain_text(content) == "甲&乙\n二\nhttps://a.example/x"


@pytest.mark.parametrize(
    ("account", "is_ours"),
    [
        ({"acct": "police"}, True),
        ({"acct": "Police@social.example"}, True),
        ({"acct": "police@other.example"}, False),
        ({"acct": "somebody"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_account_is_ours_by_name_and_server(account, is_ours):
    """The same name on another server is another account."""
    assert LOGIN.is_owner(account) is is_ours


def test_a_picture_is_processed_at_200_only():
    """202 and 206, which may have no body, mean that the server still works on it."""
    assert api.decode_media(response(200, b'{"id": "7"}')) == Media(
        id="7", is_processed=True
    )
    assert api.decode_media(response(202, b'{"id": "7"}')) == Media(
        id="7", is_processed=False
    )
    assert api.decode_media(response(206, b"")) == Media(id="", is_processed=False)
