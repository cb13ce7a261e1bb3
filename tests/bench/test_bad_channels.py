"""Bad alert channels cost no due post: half a minute of scripts/bad-channels."""

import pytest

from tests.bench.bad_channels import BAD, measure

SECONDS = 30
MAX_DELAY_SECONDS = {"median": 2.0, "p99": 5.0}
"""A fifth, and half, of a channel's limit, on any busy machine. An hour has lower limits."""


@pytest.mark.extra
def test_bad_channels_delay_no_post_and_lose_no_alert():
    """Posts beside four bad channels wait for none, and each channel gets every alert at last.

    The channels hang, drip, fail and redirect.
    """
    result = measure(SECONDS)
    assert result.calls >= len(BAD)
    assert result.alerts
    assert result.lost == []
    assert all(
        result.delays[name] < most for name, most in MAX_DELAY_SECONDS.items()
    ), result.rows()
