"""A plan that needs more than its accounts may send is detected beforehand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import (
    Account,
    AccountId,
    AccountPolicy,
    Capabilities,
    Mode,
    NotificationLimit,
    Platform,
    RateLimit,
    Timing,
)
from publisher.domain.post import PostId
from publisher.schedule.warnings import LimitKind, PlannedSend, find_overloads

ZONE = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 25, 4, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = NotificationLimit()


def policy_of(
    name,
    *,
    login=None,
    per_day=5,
    reserve=0.2,
    notices=NONE,
    notifies_followers=True,
    mode=Mode.API,
):
    traits = Capabilities(
        count_text=len,
        text_limit=100,
        title_limits=(1, 9),
        picture_limit=1,
        server_delay=HOUR,
        listing_lag=HOUR,
        list_size=None,
        can_resend=True,
        notifies_followers=notifies_followers,
        notification_limit=notices,
    )
    account = Account(
        id=AccountId(name),
        platform=Platform("p"),
        identity=name,
        secret=login or name,
        mode=mode,
    )
    quota = RateLimit(
        min_interval=timedelta(0), per_hour=100, per_day=per_day, urgent_share=reserve
    )
    return AccountPolicy(
        account=account, capabilities=traits, rate_limit=quota, timing=Timing()
    )


def planned_post(post, account="a", at=NOON, *, is_urgent=False):
    return PlannedSend(
        post=PostId(post), account=AccountId(account), due_at=at, is_urgent=is_urgent
    )


def find_excess(wishes, *policies):
    return find_overloads(
        wishes, {item.account.id: item for item in policies or [policy_of("a")]}, ZONE
    )


def test_a_day_holds_no_more_than_its_limit():
    """One post more than the daily limit is reported with the day, numbers and posts.

    The posts are in order.
    """
    urgent = [
        planned_post(f"p{number}", at=NOON + number * HOUR, is_urgent=True)
        for number in range(6)
    ]
    assert find_excess(urgent[:5]) == []
    [crowd] = find_excess(reversed(urgent))
    assert (crowd.limit, crowd.period, crowd.planned, crowd.allowed) == (
        LimitKind.DAY,
        "2026-11-25",
        6,
        5,
    )
    assert crowd.posts == ("p0", "p1", "p2", "p3", "p4", "p5")


def test_routine_posts_may_not_use_the_reserve_for_urgent_ones():
    """Routine posts may not use the reserve for urgent ones.

    Of five calls one is reserved: five routine posts are too many, four and an urgent one are not.
    """
    routine = [planned_post(f"p{number}") for number in range(5)]
    [crowd] = find_excess(routine)
    assert (crowd.limit, crowd.planned, crowd.allowed) == (LimitKind.ROUTINE, 5, 4)
    assert find_excess([*routine[:4], planned_post("u", is_urgent=True)]) == []


def test_days_are_those_of_the_zone():
    """Posts on both sides of midnight in Beijing are not one day, although they are one in UTC."""
    before = datetime(2026, 11, 25, 15, 59, tzinfo=UTC)
    after = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)
    assert (
        find_excess(
            [planned_post("p", at=before), planned_post("q", at=after)],
            policy_of("a", per_day=1),
        )
        == []
    )
    assert (
        len(
            find_excess(
                [planned_post("p", at=after), planned_post("q", at=after)],
                policy_of("a", per_day=1),
            )
        )
        == 1
    )


def test_accounts_of_one_login_share_its_calls():
    """Two accounts of one login are counted together; accounts with their own login are not."""
    wishes = [planned_post("p", account) for account in "ab"]
    shared = [policy_of(name, login="x", per_day=1) for name in "ab"]
    [crowd] = find_excess(wishes, *shared)
    assert (crowd.accounts, crowd.planned) == (("a", "b"), 2)
    assert find_excess(wishes, *(policy_of(name, per_day=1) for name in "ab")) == []


def test_notices_are_counted_by_account_day_and_month():
    """Only urgent posts use them, where the account notifies at all."""
    few = policy_of("a", notices=NotificationLimit(per_day=1, per_month=2), per_day=50)
    days = [
        planned_post(f"p{day}", at=NOON + timedelta(days=day), is_urgent=True)
        for day in range(3)
    ]
    [month] = find_excess(days, few)
    assert (month.limit, month.period, month.planned, month.allowed) == (
        LimitKind.NOTIFICATIONS_MONTH,
        "2026-11",
        3,
        2,
    )
    [day] = find_excess(
        [planned_post("p", is_urgent=True), planned_post("q", is_urgent=True)], few
    )
    assert (day.limit, day.period, day.planned, day.allowed) == (
        LimitKind.NOTIFICATIONS_DAY,
        "2026-11-25",
        2,
        1,
    )
    assert (
        find_excess(
            [planned_post("p", is_urgent=True), planned_post("q"), planned_post("r")],
            few,
        )
        == []
    )
    silent = policy_of(
        "a", notices=NotificationLimit(per_day=1), notifies_followers=False
    )
    assert (
        find_excess(
            [planned_post("p", is_urgent=True), planned_post("q", is_urgent=True)],
            silent,
        )
        == []
    )


def test_notices_go_by_the_platforms_own_calendar():
    """Notices are counted by the platform's own calendar.

    Two mass sends on two days of a workspace in another zone may be on one day of the platform.
    """
    before = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)
    after = datetime(2026, 11, 24, 19, 0, tzinfo=UTC)
    wishes = [
        planned_post("p", at=before, is_urgent=True),
        planned_post("q", at=after, is_urgent=True),
    ]
    policy = policy_of("a", notices=NotificationLimit(per_day=1))
    [crowd] = find_overloads(
        wishes, {policy.account.id: policy}, ZoneInfo("Asia/Urumqi")
    )
    assert (crowd.limit, crowd.period) == (LimitKind.NOTIFICATIONS_DAY, "2026-11-25")


def test_manual_posts_use_no_calls():
    """An account with manual posting, or switched off, is never over its limit."""
    for mode in (Mode.ASSISTED, Mode.OFF):
        assert (
            find_excess(
                [planned_post(f"p{number}") for number in range(9)],
                policy_of("a", mode=mode),
            )
            == []
        )


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 40), st.booleans()), max_size=40
    )
)
def test_no_day_over_its_limit_is_missed(drawn):
    """For every plan, the reported days are exactly the days over their limit."""
    wishes = [
        planned_post(f"p{n}", "abc"[a], NOON + hour * HOUR, is_urgent=u)
        for n, (a, hour, u) in enumerate(drawn)
    ]
    reported = {
        (crowd.accounts, crowd.period)
        for crowd in find_excess(
            wishes, *(policy_of(name, reserve=0) for name in "abc")
        )
    }
    counted = {}
    for item in wishes:
        key = ((item.account,), f"{item.due_at.astimezone(ZONE):%Y-%m-%d}")
        counted[key] = counted.get(key, 0) + 1
    assert reported == {key for key, number in counted.items() if number > 5}
