"""One day of 108 accounts on a fast clock.

Every delivery ends, or waits for a person with a reason.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

import pytest

from publisher.app.format import Formatter, message_args
from publisher.domain.delivery import State
from publisher.domain.post import derive_marker
from publisher.i18n import LANGUAGES, Messages
from publisher.store.db.rows import ACCOUNT_PAUSED
from tests.e2e.day_scenario import END, MORNING, ZONE, DayResult, run_day

pytestmark = [pytest.mark.extra, pytest.mark.long(seconds=180)]

ENDED = frozenset(
    {State.FAILED, State.EXPIRED, State.CANCELLED, State.RETRACTED, State.REMOVED}
)
REPORTED = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
LIVE, UNFOLLOWED = "published", "cancelled original_not_published"
EXPECTED = {
    "review_passes": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "review_refuses": {
        "refund": "failed wechat_refused_4",
        "news": UNFOLLOWED,
        "loan": "failed wechat_refused_4",
    },
    "review_never_ends": {
        "refund": "held review_timeout",
        "news": "expired expired_original",
        "loan": "held review_timeout",
    },
    "review_passed_by_hand": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "token_dies": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "day_used_up": {
        "refund": "expired expired_rate_limited",
        "news": UNFOLLOWED,
        "loan": LIVE,
        "clear": UNFOLLOWED,
    },
    "mass": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "mass_lost": {
        "refund": LIVE,
        "urgent": "held uncheckable",
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "sign_in_gone": {
        "refund": "held auth",
        "urgent": "expired expired_paused",
        "loan": "expired expired_paused",
    },
    "signs_in_again": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "hour_used_up": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "words_refused": {
        "refund": "failed weibo_20021",
        "urgent": LIVE,
        "news": UNFOLLOWED,
        "loan": LIVE,
    },
    "server_fails": {
        "refund": LIVE,
        "urgent": LIVE,
        "news": LIVE,
        "loan": LIVE,
        "clear": LIVE,
    },
    "captcha": {
        "refund": "held captcha",
        "urgent": "expired expired_paused",
        "loan": "expired expired_paused",
    },
    "captcha_solved": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE},
    "thread_reviewed": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE},
    "thread_refused": {"refund": "held review_timeout", "urgent": LIVE, "loan": LIVE},
}
"""How each fault must end, by post."""


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> DayResult:
    """Run the day once for all tests."""
    return asyncio.run(run_day(tmp_path_factory.mktemp("day"), seed=1))


def test_every_delivery_has_ended_or_waits_for_a_person(day):
    """I2: after a day every delivery has ended or waits for a person.

    The exception is a removal that a review delays, with a red alert.
    """
    unending = {account.id for account in day.troubles["review_never_ends"]}
    kept_up = {row.account for row in day.rows if row.key.post == "wrong"} & unending
    assert {row.account for row in day.rows if row.state is State.RETRACTING} == kept_up
    assert {alert.subject for alert in day.alerts if alert.code == "retracting"} == {
        f"wrong@{name}" for name in kept_up
    }
    assert {row.state for row in day.rows} <= {
        State.PUBLISHED,
        State.HELD,
        State.RETRACTING,
    } | ENDED
    assert day.complaints == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_did_not_stay_published_has_an_alert_and_advice(day, language):
    """I10: each held, failed, expired or removed delivery has its alert, reason and advice.

    None of these has an empty placeholder.
    """
    narrator = Formatter(messages=Messages(language), timezone=ZONE)
    alerts = {(alert.subject, alert.code): alert for alert in day.alerts}
    stopped = [row for row in day.rows if row.state in REPORTED]
    assert {row.state for row in stopped} == REPORTED
    for row in stopped:
        about = (narrator.subject(row), f"{row.state}.{row.reason}")
        pause = (f"account:{row.account}", ACCOUNT_PAUSED)
        # what pauses an account is one alert of it
        is_counted = row.state is State.HELD and pause in alerts
        alert = alerts[pause if is_counted else about]
        assert not is_counted or int(alert.facts["held"]) > 0
        code = f"hold_{row.reason}" if row.state is State.HELD else f"state_{row.state}"
        marker = derive_marker(row.key, row.account).code
        advice = narrator.messages.hint(
            code, **message_args(row, narrator), marker=marker
        )
        reason = narrator.reason(row.reason)
        assert reason != row.reason
        assert "publisher " in advice
        assert "{" not in narrator.alert(alert) + advice + reason


def test_nothing_was_made_twice_and_what_is_published_is_visible(day):
    """I1, I8, I11: there is one creation per post and account.

    Visible posts and published deliveries are the same ones.
    """
    assert max(Counter(day.made).values()) == 1
    reported = {
        (day.identities[row.account], row.key.post)
        for row in day.rows
        if row.state is State.PUBLISHED
    }
    lost = {(account.identity, "urgent") for account in day.troubles["mass_lost"]}
    assert day.visible == reported | lost


@pytest.mark.parametrize("trouble", EXPECTED)
def test_each_fault_ends_as_expected(day, trouble):
    """Each fault ends as expected, and affects nothing else.

    The faults are reviews, dead tokens, used-up quotas, rejections and captchas.
    """
    came_to = {
        post: day.outcomes(day.troubles[trouble], post) for post in EXPECTED[trouble]
    }
    assert came_to == {post: {outcomes} for post, outcomes in EXPECTED[trouble].items()}


def test_i20_the_other_accounts_are_not_affected(day):
    """I9, I20: accounts that only lose replies publish all posts.

    Tieba's sixth thread of a day exceeds its quota.
    """
    others = (
        *day.troubles.others,
        *day.troubles["shared"],
        *day.troubles["exclusive"],
    )
    on_tieba = [account for account in others if account.platform == "tieba"]
    elsewhere = [account for account in others if account.platform != "tieba"]
    assert any("drop_after" in (entry["fault"] or ()) for entry in day.log)
    removed = "removed removed_on_platform"
    for post in ("urgent", "talk", "loan"):
        assert day.outcomes(others, post) == {LIVE}
    assert day.outcomes(others, "refund") == {LIVE, removed}
    assert day.outcomes(others, "news") <= {LIVE, UNFOLLOWED}
    assert day.outcomes(elsewhere, "clear") == {LIVE, UNFOLLOWED}
    assert day.outcomes(on_tieba, "clear") == {
        "expired expired_rate_limited",
        UNFOLLOWED,
    }


def test_f48_f57_changes_by_others_are_reported(day):
    """F48, F57: each deleted post is marked removed, and each external post is reported.

    The report is red on exclusive accounts.
    """
    assert {row.id for row in day.rows if row.state is State.REMOVED} == day.removed
    reported = {
        (alert.code, alert.subject)
        for alert in day.alerts
        if alert.subject.startswith("account:")
    }
    shared = {
        ("external_post", f"account:{account.id}/by-hand")
        for account in day.troubles["shared"]
    }
    alone = {
        ("unauthorized_post", f"account:{account.id}")
        for account in day.troubles["exclusive"]
    }
    stopped = (*day.troubles["sign_in_gone"], *day.troubles["captcha"])
    assert reported == shared | alone | {
        ("account_paused", f"account:{account.id}") for account in stopped
    }


def test_i16_a_retracted_post_is_gone(day):
    """I16: no copy of the retracted post is published, nor appears later."""
    assert "wrong" not in {post for _account, post in day.visible}
    states = Counter(row.state for row in day.rows if row.key.post == "wrong")
    assert states[State.RETRACTED] >= 10
    assert set(states) <= {
        State.RETRACTED,
        State.RETRACTING,
        State.CANCELLED,
        State.FAILED,
        State.EXPIRED,
    }


def test_f40_tokens_were_renewed_before_they_ended(day):
    """F40: WeChat's two-hour tokens are renewed all day on every account.

    No post fails because of them.
    """
    fetched = Counter(
        entry["account"]
        for entry in day.log
        if _is_call(entry, "/cgi-bin/stable_token")
    )
    accounts = {row.account for row in day.rows if row.platform == "wechat"}
    assert all(
        fetched[day.identities[account]] >= (END - MORNING) // 2 - 1
        for account in accounts
    )
    assert not [
        row for row in day.rows if row.platform == "wechat" and row.reason == "auth"
    ]


def test_i15_the_platforms_limits_were_kept(day):
    """I15: no Weibo user's day has more than a hundred calls.

    Tieba's threads are ten minutes apart, five a day.
    """
    calls = Counter(
        entry["account"]
        for entry in day.log
        if entry["kind"] == "recv" and entry["account"]
    )
    assert max(calls[account] for account in _identities(day, "weibo")) <= 100
    threads = defaultdict(list)
    for entry in day.log:
        if _is_call(entry, "/c/c/thread/add_pc"):
            threads[entry["account"]].append(entry["t"])
    for moments in threads.values():
        assert all(later - sooner >= 600 for sooner, later in pairwise(moments))
        assert all(
            later - sooner >= 86400
            for sooner, later in zip(moments, moments[5:], strict=False)
        )


def _is_call(entry: Mapping, endpoint: str) -> bool:
    return entry["kind"] == "recv" and entry["endpoint"] == endpoint


def _identities(day: DayResult, platform: str) -> set[str]:
    return {day.identities[row.account] for row in day.rows if row.platform == platform}
