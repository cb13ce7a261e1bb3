"""Waits grow, stay bounded, and never sleep past the end of the settle time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import Timing, compute_jitter, next_check_at, next_retry_at

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PATIENCE = Timing()

counts = st.integers(0, 1000)
jitters = st.floats(0, 1, exclude_max=True)
seconds = st.integers(0, 3600).map(lambda number: number * SECOND)
patiences = st.builds(Timing, visibility_window=st.integers(1, 7200).map(lambda number: number * SECOND))


@given(counts, jitters)
def test_a_retryings_at_least_the_first_pause_and_never_much_more_than_the_longest(failures, jitter):
    """F27: the wait lies between the first pause and the longest one plus a quarter."""
    wait = next_retry_at(PATIENCE, failures, NOW, jitter) - NOW
    assert PATIENCE.retry_first <= wait <= PATIENCE.max_retry_delay * 1.25


@given(counts, jitters)
def test_retries_grow_further_apart(failures, jitter):
    """One more failure never shortens the wait."""
    assert next_retry_at(PATIENCE, failures, NOW, jitter) <= next_retry_at(PATIENCE, failures + 1, NOW, jitter)


@given(st.integers(), counts)
def test_jitter_is_steady_and_below_one(seed, count):
    """The same delivery and try always wait the same, and jitter stays in [0, 1)."""
    assert compute_jitter(seed, count) == compute_jitter(seed, count)
    assert 0 <= compute_jitter(seed, count) < 1


@given(patiences, counts, seconds)
def test_a_look_never_skips_the_end_of_the_settle_time(timing, looks, age):
    """Before the settle time is over, the next look comes at the latest right after it; always later than now."""
    since, settled_at = NOW - age, NOW - age + timing.visibility_window
    look_at = next_check_at(timing, looks, since, NOW)
    assert look_at > NOW
    if settled_at >= NOW:
        assert look_at - settled_at <= timedelta(milliseconds=1)


@given(patiences, counts, seconds, seconds)
def test_later_looks_come_later(timing, looks, age, more):
    """More looks taken, or a later now, never bring the next look forward."""
    since = NOW - age
    look_at = next_check_at(timing, looks, since, NOW)
    assert look_at <= next_check_at(timing, looks + 1, since, NOW)
    assert look_at <= next_check_at(timing, looks, since, NOW + more)


@given(patiences)
def test_obeying_the_looks_leads_past_the_settle_time_in_a_few_steps(timing):
    """From the start of a doubt, two looks are taken and one of them after the settle time, within a dozen looks."""
    at, taken = next_check_at(timing, 0, NOW, NOW), []
    while len(taken) < 2 or taken[-1] <= NOW + timing.visibility_window:
        taken.append(at)
        at = next_check_at(timing, len(taken), NOW, at)
    assert len(taken) <= 20


@given(patiences, counts, seconds)
def test_after_the_settle_time_a_list_that_could_be_read_is_read_again_within_a_minute(timing, looks, age):
    """Reads that failed for long do not put off the second look once the platform can be read again."""
    since = NOW - timing.visibility_window - SECOND - age
    assert next_check_at(timing, looks, since, NOW, was_read=True) <= NOW + timedelta(minutes=1)
    assert next_check_at(timing, 16, since, NOW) == NOW + timing.max_check_delay


def test_a_call_ends_before_its_lease_and_a_lease_before_the_settle_time():
    """The defaults are ordered; equal times are not."""
    assert PATIENCE.has_valid_order
    assert not Timing(request_timeout=PATIENCE.lease_timeout).has_valid_order
    assert not Timing(lease_timeout=PATIENCE.visibility_window).has_valid_order
