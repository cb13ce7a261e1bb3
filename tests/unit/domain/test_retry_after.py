"""A server's Retry-After is understood in both its formats."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import MAX_RETRY_AFTER, parse_retry_after

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("120", timedelta(minutes=2)),
        (" 120 ", timedelta(minutes=2)),
        ("9" * 20, MAX_RETRY_AFTER),
        ("Wed, 25 Nov 2026 01:05:00 GMT", timedelta(minutes=5)),
        ("Wed, 25 Nov 2426 01:05:00 GMT", MAX_RETRY_AFTER),
        ("Wed, 25 Nov 2020 01:05:00 GMT", None),
        ("0", None),
        ("²", None),
        ("soon", None),
        ("9" * 30, None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_f26_f27(header, after):
    """F26 F27: seconds and dates are understood; past, unreadable and absent ones name no time."""
    assert parse_retry_after(header, NOW) == (NOW + after if after else None)


@given(st.text())
def test_no_header_makes_it_raise(header):
    """Any header of a server gives an instant within the coming year, or none."""
    until = parse_retry_after(header, NOW)
    assert until is None or NOW < until <= NOW + MAX_RETRY_AFTER
