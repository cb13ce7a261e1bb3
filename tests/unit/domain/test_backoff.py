"""Waits grow, stay bounded, and never last past the end of the visibility window."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import (
    Timing,
    compute_jitter,
    next_check_at,
    next_retry_at,
)

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PATIENCE = Timing()

counts = st.integers(0, 1000)
jitters = st.floats(0, 1, exclude_max=True)
seconds = st.integers(0, 3600).map(lambda number: number * SECOND)
patiences = st.builds(
    Timing, visibility_window=st.integers(1, 7200).map(lambda number: number * SECOND)
)


@given(counts, jitters)
def test_a_retry_waits_at_least_the_first_pause_and_never_much_more_than_the_longest(
    failures, jitter
):
    """F27: the wait is between the first pause and the longest one plus a quarter."""
    wait = next_retry_at(PATIENCE, failures, NOW, jitter) - NOW
    assert PATIENCE.retry_first <= wait <= PATIENCE.max_retry_delay * 1.25


@given(counts, jitters)
def test_retries_grow_further_apart(failures, jitter):
    """One more failure never shortens the wait."""
    assert next_retry_at(PATIENCE, failures, NOW, jitter) <= next_retry_at(
        PATIENCE, failures + 1, NOW, jitter
    )


@given(st.integers(), counts)
def test_jitter_is_steady_and_below_one(seed, count):
    """The same delivery and try always wait the same, and jitter stays in [0, 1)."""
    assert compute_jitter(seed, count) == compute_jitter(seed, count)
    assert 0 <= compute_jitter(seed, count) < 1


@given(patiences, counts, seconds)
def test_a_read_never_skips_the_end_of_the_visibility_window(timing, readbacks, age):
    """The next read comes at the latest right after the end of the visibility window.

    This holds for reads before the window ends. The next read is always later than now.
    """
    since, visible_at = NOW - age, NOW - age + timing.visibility_window
    look_at = next_check_at(timing, readbacks, since, NOW)
    assert look_at > NOW
    if visible_at >= NOW:
        assert look_at - visible_at <= timedelta(milliseconds=1)


@given(patiences, counts, seconds, seconds)
def test_later_reads_come_later(timing, readbacks, age, more):
    """More reads, or a later now, never bring the next read forward."""
    since = NOW - age
    look_at = next_check_at(timing, readbacks, since, NOW)
    assert look_at <= next_check_at(timing, readbacks + 1, since, NOW)
    assert look_at <= next_check_at(timing, readbacks, since, NOW + more)


@given(patiences)
def test_a_few_reads_lead_past_the_visibility_window(timing):
    """From the call on, two reads, one of them after the window, come within a dozen reads."""
    at, taken = next_check_at(timing, 0, NOW, NOW), []
    while len(taken) < 2 or taken[-1] <= NOW + timing.visibility_window:
        taken.append(at)
        at = next_check_at(timing, len(taken), NOW, at)
    assert len(taken) <= 20


@given(patiences, counts, seconds)
def test_after_the_visibility_window_a_readable_list_is_read_again_within_a_minute(
    timing, readbacks, age
):
    """Reads that failed for long do not delay the second read of a readable platform."""
    since = NOW - timing.visibility_window - SECOND - age
    assert next_check_at(
        timing, readbacks, since, NOW, was_read=True
    ) <= NOW + timedelta(minutes=1)
    assert next_check_at(timing, 16, since, NOW) == NOW + timing.max_check_delay


def test_a_call_ends_before_its_lease_and_a_lease_before_the_visibility_window():
    """The defaults are ordered; equal times are not."""
    assert PATIENCE.has_valid_order
    assert not Timing(request_timeout=PATIENCE.lease_timeout).has_valid_order
    assert not Timing(lease_timeout=PATIENCE.visibility_window).has_valid_order
