"""Bad channels of alerts cost no post that is due meanwhile: half a minute of what scripts/bad-channels runs."""

import pytest

from tests.bench.bad_channels import BAD, measure

SECONDS = 30
MAX_DELAY_SECONDS = {"median": 2.0, "p99": 5.0}
"""A fifth, and half of what a channel may take, however busy the machine; an hour is held against less."""


@pytest.mark.extra
def test_bad_channels_delay_no_post_and_lose_no_alert():
    """Posts beside four channels that hang, drip, fail and redirect wait for none; each gets every alert in the end."""
    result = measure(SECONDS)
    assert result.calls >= len(BAD)
    assert result.alerts
    assert result.lost == []
    assert all(result.delays[name] < most for name, most in MAX_DELAY_SECONDS.items()), result.rows()
