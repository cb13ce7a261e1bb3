"""No window holds more calls than allowed when the quota is kept."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import DAY, HOUR, RateLimit

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

quotas = st.builds(
    RateLimit,
    min_interval=st.integers(0, 20).map(lambda minutes: minutes * MINUTE),
    per_hour=st.integers(1, 6),
    per_day=st.integers(1, 12),
    urgent_share=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
wishes = st.lists(st.tuples(st.integers(0, 90), st.booleans()), max_size=25)


def send_by_quota(
    quota: RateLimit, wishes: list[tuple[int, bool]]
) -> list[tuple[datetime, bool]]:
    """Send each post after its pause, as early as the quota allows; oldest first."""
    sent: list[tuple[datetime, bool]] = []
    now = NOW
    for pause, is_urgent in wishes:
        newest_first = [at for at, _ in reversed(sent)]
        now = quota.next_allowed_at(
            newest_first, now + pause * MINUTE, is_urgent=is_urgent
        )
        sent.append((now, is_urgent))
    return sent


@given(quotas, wishes)
def test_no_window_ever_holds_more_than_allowed(quota, wishes):
    """Wherever an hour or a day starts, it holds at most the allowed number of calls."""
    sent = [at for at, _ in send_by_quota(quota, wishes)]
    for start in sent:
        assert len([at for at in sent if start <= at < start + HOUR]) <= quota.per_hour
        assert len([at for at in sent if start <= at < start + DAY]) <= quota.per_day


@given(quotas, wishes)
def test_two_calls_keep_their_interval(quota, wishes):
    """No two calls follow each other faster than the minimum interval."""
    sent = [at for at, _ in send_by_quota(quota, wishes)]
    assert all(
        later - earlier >= quota.min_interval for earlier, later in pairwise(sent)
    )


@given(quotas, wishes)
def test_the_reserve_is_left_to_urgent_posts(quota, wishes):
    """F44: a window that ends with a routine call has at most the share of routine posts."""
    sent = send_by_quota(quota, wishes)
    for window, most in ((HOUR, quota.per_hour), (DAY, quota.per_day)):
        for number, (last, is_urgent) in enumerate(sent, 1):
            held = [at for at, _ in sent[:number] if last - window < at]
            assert is_urgent or len(held) <= most - quota.reserved_for_urgent(most)


@given(quotas, wishes, st.booleans())
def test_a_call_is_never_allowed_in_the_past_and_urgent_ones_never_later(
    quota, wishes, is_urgent
):
    """The answer is at or after now, and urgency never costs time."""
    newest_first = [at for at, _ in reversed(send_by_quota(quota, wishes))]
    now = NOW + 30 * MINUTE
    assert quota.next_allowed_at(newest_first, now, is_urgent=is_urgent) >= now
    urgent = quota.next_allowed_at(newest_first, now, is_urgent=True)
    assert urgent <= quota.next_allowed_at(newest_first, now, is_urgent=False)


def test_an_urgent_post_overtakes_a_full_ordinary_share():
    """With the hour's routine share used up, an urgent post is sent and a routine one waits."""
    quota = RateLimit(min_interval=MINUTE, per_hour=5, per_day=100)
    sent = [NOW - minutes * MINUTE for minutes in (10, 20, 30, 40)]
    assert quota.next_allowed_at(sent, NOW, is_urgent=True) == NOW
    assert quota.next_allowed_at(sent, NOW, is_urgent=False) == NOW + 20 * MINUTE


def test_one_call_is_always_left_for_ordinary_posts():
    """Even a quota of one, or a reserve of everything, leaves routine posts a call."""
    assert (
        RateLimit(min_interval=MINUTE, per_hour=1, per_day=1).reserved_for_urgent(1)
        == 0
    )
    assert (
        RateLimit(
            min_interval=MINUTE, per_hour=3, per_day=3, urgent_share=1.0
        ).reserved_for_urgent(3)
        == 2
    )
