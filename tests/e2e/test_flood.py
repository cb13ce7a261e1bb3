"""A small flood of the dashboard: nobody is shut out, and a post that falls due in it leaves."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.flood.main import Noticed, Outcome, Size, make_address, run

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
    streams=60,
    min_share=0.3,
    max_late_seconds=20,
    max_pause_seconds=10,
    max_page_seconds=15,
    max_sign_in_seconds=100,
)
"""The times are bounds for a machine that is busy with other work: `scripts/flood` measures."""


@pytest.mark.long(seconds=60)
@pytest.mark.parametrize(
    "is_proxied", [False, pytest.param(True, marks=pytest.mark.extra)]
)
def test_f90_a_flooded_dashboard_shuts_nobody_out_and_delays_no_post(is_proxied):
    """F90: a flooded dashboard shuts nobody out and delays no post.

    People soon pause, read and sign in, every live page goes on, and a due post leaves in time.
    """
    said = []
    outcome = run(replace(SMALL, is_proxied=is_proxied), said.append)
    assert outcome.quiet.failed == outcome.flooded.failed == []
    assert [
        figure.as_line()
        for figure in outcome.figures(SMALL)
        if figure.verdict == "MISSED"
    ] == []
    assert outcome.counts["sign-ins sent"] > SMALL.addresses
    assert outcome.counts["streams answered 200"] > 0


def test_what_a_flood_has_stopped_altogether_is_missed():
    """Without a single call, pause, page or sign-in there are figures.

    None of them meets its goal.
    """
    nothing = Outcome(
        quiet=Noticed(late=[1.0]), flooded=Noticed(), live=0, reconnections=0, counts={}
    )
    verdicts = {figure.name: figure.verdict for figure in nothing.figures(SMALL)}
    assert verdicts.pop("requests of people that failed") == "met"
    assert set(verdicts.values()) == {"MISSED"}


def test_each_sign_in_of_a_long_flood_comes_from_an_address_of_its_own():
    """However long it lasts, the addresses are addresses of this machine, and none comes twice."""
    addresses = [ip_address(make_address(number)) for number in range(10_000)]
    assert len(set(addresses)) == 10_000
    assert all(address in ip_network("127.0.0.0/16") for address in addresses)


@pytest.mark.parametrize(
    "place", ["no-such-file", ""], ids=["no-such-file", "not-writable"]
)
def test_a_flood_begins_where_it_cannot_give_way(place, tmp_path):
    """A process that leads a group already, on a system without priorities of sessions, goes on."""
    code = (
        "import sys; from pathlib import Path; from tests.flood import clients as c; "
    )
    code += "c.SESSION_NICENESS = Path(sys.argv[1]); c.give_way(); print('begins')"
    command = [sys.executable, "-c", code, tmp_path / place]
    ended = subprocess.run(
        command,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("begins\n", "")
