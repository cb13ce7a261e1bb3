"""One day of 150 accounts, in a world whose clock is hurried: everything ends, or waits for a person with a reason."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

import pytest

from publisher.cli.format import Formatter, message_args
from publisher.domain.delivery import State
from publisher.domain.rendered import derive_marker
from publisher.i18n import LANGUAGES, Messages
from tests.e2e.day_scenario import END, MORNING, ZONE, Evening, live

ENDED = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED, State.RETRACTED, State.REMOVED})
REPORTED = frozenset({State.HELD, State.FAILED, State.EXPIRED, State.REMOVED})
LIVE, UNFOLLOWED = "published", "cancelled original_not_published"
EXPECTED = {
    "review_passes": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "review_refuses": {"refund": "failed wechat_refused_4", "news": UNFOLLOWED, "loan": "failed wechat_refused_4"},
    "review_never_ends": {
        "refund": "held review_timeout",
        "news": "expired expired_original",
        "loan": "held review_timeout",
    },
    "review_passed_by_hand": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "token_dies": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "day_used_up": {"refund": "expired expired_rate_limited", "news": UNFOLLOWED, "loan": LIVE, "clear": UNFOLLOWED},
    "mass": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "mass_lost": {"refund": LIVE, "urgent": "held uncheckable", "news": LIVE, "loan": LIVE, "clear": LIVE},
    "sign_in_gone": {"refund": "held auth", "urgent": "expired expired_paused", "loan": "expired expired_paused"},
    "signs_in_again": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "hour_used_up": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "words_refused": {"refund": "failed weibo_20021", "urgent": LIVE, "news": UNFOLLOWED, "loan": LIVE},
    "server_fails": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE, "clear": LIVE},
    "captcha": {"refund": "held captcha", "urgent": "expired expired_paused", "loan": "expired expired_paused"},
    "captcha_solved": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE},
    "thread_reviewed": {"refund": LIVE, "urgent": LIVE, "news": LIVE, "loan": LIVE},
    "thread_refused": {"refund": "held review_timeout", "urgent": LIVE, "loan": LIVE},
}
"""What each trouble must come to, by post."""


@pytest.fixture(scope="module")
def evening(tmp_path_factory) -> Evening:
    """Live through the day once, for all that is asked of it."""
    return asyncio.run(live(tmp_path_factory.mktemp("day"), seed=1))


def test_every_delivery_is_settled_or_with_a_person(evening):
    """I2: after a day nothing waits, works or asks any more, but for a removal that a review keeps up, in red."""
    unending = {account.id for account in evening.troubles["review_never_ends"]}
    kept_up = {row.account for row in evening.rows if row.key.post == "wrong"} & unending
    assert {row.account for row in evening.rows if row.state is State.RETRACTING} == kept_up
    assert {alert.subject for alert in evening.alerts if alert.code == "retracting"} == {
        f"wrong@{name}" for name in kept_up
    }
    assert {row.state for row in evening.rows} <= {State.PUBLISHED, State.HELD, State.RETRACTING} | ENDED
    assert evening.complaints == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_did_not_stay_live_has_an_alert_and_words_to_act_on(evening, language):
    """I10: held, failed, expired, removed: each has its alert, its reason and what to do, without a blank left open."""
    narrator = Formatter(messages=Messages(language), timezone=ZONE)
    alerts = {(alert.subject, alert.code): alert for alert in evening.alerts}
    stopped = [row for row in evening.rows if row.state in REPORTED]
    assert {row.state for row in stopped} == REPORTED
    for row in stopped:
        alert = alerts[narrator.subject(row), f"{row.state}.{row.reason}"]
        code = f"hold_{row.reason}" if row.state is State.HELD else f"state_{row.state}"
        marker = derive_marker(row.key, row.account).code
        advice = narrator.messages.hint(code, **message_args(row, narrator), marker=marker)
        reason = narrator.reason(row.reason)
        assert reason != row.reason
        assert "publisher " in advice
        assert "{" not in narrator.alert(alert) + advice + reason


def test_nothing_was_made_twice_and_what_is_published_is_live(evening):
    """I1, I8, I11: one creation per post and account; live posts and published deliveries are the same ones."""
    assert max(Counter(evening.made).values()) == 1
    reported = {(evening.identities[row.account], row.key.post) for row in evening.rows if row.state is State.PUBLISHED}
    lost = {(account.identity, "urgent") for account in evening.troubles["mass_lost"]}
    assert evening.live == reported | lost


@pytest.mark.parametrize("trouble", EXPECTED)
def test_each_trouble_comes_to_its_own_end(evening, trouble):
    """Reviews, dead tokens, used-up quotas, refusals and captchas end as they must, and end nothing else."""
    came_to = {post: evening.fates(evening.troubles[trouble], post) for post in EXPECTED[trouble]}
    assert came_to == {post: {fate} for post, fate in EXPECTED[trouble].items()}


def test_i20_the_others_notice_nothing(evening):
    """I9, I20: where only replies were lost all is published; Tieba's sixth thread of a day exceeds its quota."""
    others = (
        *evening.troubles.others,
        *evening.troubles["shared"],
        *evening.troubles["exclusive"],
    )
    on_tieba = [account for account in others if account.platform == "tieba"]
    elsewhere = [account for account in others if account.platform != "tieba"]
    assert any("drop_after" in (entry["fault"] or ()) for entry in evening.log)
    removed = "removed removed_on_platform"
    for post in ("urgent", "talk", "loan"):
        assert evening.fates(others, post) == {LIVE}
    assert evening.fates(others, "refund") == {LIVE, removed}
    assert evening.fates(others, "news") <= {LIVE, UNFOLLOWED}
    assert evening.fates(elsewhere, "clear") == {LIVE, UNFOLLOWED}
    assert evening.fates(on_tieba, "clear") == {"expired expired_rate_limited", UNFOLLOWED}


def test_f48_f57_what_others_did_on_the_accounts_is_told(evening):
    """F48, F57: each deleted post is removed, each external post reported, red where nobody else may post."""
    assert {row.id for row in evening.rows if row.state is State.REMOVED} == evening.removed
    reported = {(alert.code, alert.subject) for alert in evening.alerts if alert.subject.startswith("account:")}
    shared = {("external_post", f"account:{account.id}/by-hand") for account in evening.troubles["shared"]}
    alone = {("unauthorized_post", f"account:{account.id}") for account in evening.troubles["exclusive"]}
    stopped = (*evening.troubles["sign_in_gone"], *evening.troubles["captcha"])
    assert reported == shared | alone | {("account_paused", f"account:{account.id}") for account in stopped}


def test_i16_what_a_person_took_back_is_gone(evening):
    """I16: no copy of the retracted post is live, nor comes to be."""
    assert "wrong" not in {post for _account, post in evening.live}
    states = Counter(row.state for row in evening.rows if row.key.post == "wrong")
    assert states[State.RETRACTED] >= 10
    assert set(states) <= {State.RETRACTED, State.RETRACTING, State.CANCELLED, State.FAILED, State.EXPIRED}


def test_f40_tokens_were_renewed_before_they_ended(evening):
    """F40: WeChat's tokens of two hours are fetched again all day on every account, and no post fails for them."""
    fetched = Counter(entry["account"] for entry in evening.log if _is_call(entry, "/cgi-bin/stable_token"))
    accounts = {row.account for row in evening.rows if row.platform == "wechat"}
    assert all(fetched[evening.identities[account]] >= (END - MORNING) // 2 - 1 for account in accounts)
    assert not [row for row in evening.rows if row.platform == "wechat" and row.reason == "auth"]


def test_i15_the_platforms_limits_were_kept(evening):
    """I15: no Weibo user's day has more than a hundred calls; Tieba's threads are ten minutes apart, five a day."""
    calls = Counter(entry["account"] for entry in evening.log if entry["kind"] == "recv" and entry["account"])
    assert max(calls[account] for account in _identities(evening, "weibo")) <= 100
    threads = defaultdict(list)
    for entry in evening.log:
        if _is_call(entry, "/c/c/thread/add_pc"):
            threads[entry["account"]].append(entry["t"])
    for moments in threads.values():
        assert all(later - sooner >= 600 for sooner, later in pairwise(moments))
        assert all(later - sooner >= 86400 for sooner, later in zip(moments, moments[5:], strict=False))


def _is_call(entry: Mapping, endpoint: str) -> bool:
    return entry["kind"] == "recv" and entry["endpoint"] == endpoint


def _identities(evening: Evening, platform: str) -> set[str]:
    return {evening.identities[row.account] for row in evening.rows if row.platform == platform}
