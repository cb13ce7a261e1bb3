"""A small flood of the dashboard: nobody is shut out, and a post that falls due in it leaves."""

import pytest

from tests.flood.main import Size, run

SMALL = Size(
    seconds=12,
    quiet_seconds=10,
    lead_seconds=4,
    accounts=10,
    live_pages=10,
    addresses=20,
    slow_heads=60,
    slow_forms=60,
    silent=30,
)


@pytest.mark.long(seconds=60)
def test_f90_a_flooded_dashboard_shuts_nobody_out_and_delays_no_post():
    """F90: in a flood people pause, read and sign in, every live page goes on, and each call of a due post leaves."""
    said = []
    outcome = run(SMALL, said.append)
    assert outcome.quiet.failed == outcome.flooded.failed == []
    assert outcome.live == SMALL.live_pages
    assert len(outcome.flooded.late) == SMALL.accounts
    assert min(len(outcome.flooded.pauses), len(outcome.flooded.pages), len(outcome.flooded.sign_ins)) > 0
    assert outcome.counts["sign-ins sent"] > 0
    assert outcome.counts["slow connections"] >= 150
