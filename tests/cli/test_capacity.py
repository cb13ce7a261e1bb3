"""`check` warns beforehand where the coming days need more than the accounts may send."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.cli.posts import warning, write_schedule

TOMORROW = (datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(days=1)).replace(
    microsecond=0, tzinfo=None
)
DAY = f"{TOMORROW:%Y-%m-%d}"


def at(hour, more=""):
    return f"at = {DAY}T{hour:02}:00:00\n{more}"


def check_of(run, drill, lang="zh_CN"):
    found = run("-C", drill, "--lang", lang, "check", "--json").json["problems"]
    return [problem for problem in found if problem["code"].startswith("overloaded_")]


@pytest.fixture
def narrow(drill):
    """Limit every login to two posts a day, and make every WeChat account mass-send."""
    file = drill / "publisher.toml"
    text = re.sub(
        r"per_day = \d+",
        "per_day = 2",
        re.sub(r"per_hour = \d+", "per_hour = 2", file.read_text("utf-8")),
    )
    file.write_text(
        text.replace(
            'platform = "wechat"\n', 'platform = "wechat"\nprofile = "mass"\n'
        ),
        "utf-8",
    )
    return drill


def test_too_many_posts_on_a_day_are_reported_at_the_last(run, narrow):
    """Too many posts on a day are a warning at the last one, not an error.

    The warning has the accounts, the day, the numbers, the posts and the line of the last post.
    """
    urgent = "urgent = true"
    posts = [
        warning(f"p{hour}", at(hour, urgent), '["platform:weibo"]')
        for hour in (8, 9, 10)
    ]
    file = write_schedule(narrow, *posts)
    [problem] = check_of(run, narrow)
    assert (problem["code"], problem["severity"], problem["path"]) == (
        "overloaded_day",
        "warning",
        "post[2].at",
    )
    assert (
        file.read_text("utf-8")
        .splitlines()[problem["line"] - 1]
        .startswith(f"at = {DAY}T10")
    )
    for result in (DAY, "3 条", "2 条", "p8, p9, p10", "-weibo"):
        assert result in problem["message"]
    assert run("-C", narrow, "check").code == 0
    assert "may send 2 a day" in check_of(run, narrow, "en")[0]["message"]


def test_repeating_posts_count_too(run, narrow):
    """Every due instant of the month ahead counts; equal days are one warning with their number."""
    often = warning(
        "often", 'cron = "0 */8 * * *"\nurgent = true', '["platform:tieba"]'
    )
    write_schedule(narrow, often)
    found = check_of(run, narrow)
    assert [(problem["code"], problem["path"]) for problem in found] == [
        ("overloaded_day", "post[0].cron")
    ]
    assert found[0]["similar"] >= 29
    assert f"同样的提醒还有 {found[0]['similar']} 个" in run("-C", narrow, "check").out
    write_schedule(
        narrow, warning("seldom", 'cron = "0 8 * * *"', '["platform:tieba"]')
    )
    assert check_of(run, narrow) == []


def test_a_second_mass_send_on_a_day_is_reported(run, narrow):
    """Two urgent posts on a WeChat account that may notify once a day; an option changes that."""
    posts = [
        warning(f"p{hour}", at(hour, "urgent = true"), '["platform:wechat"]')
        for hour in (8, 9)
    ]
    write_schedule(narrow, *posts)
    [problem] = check_of(run, narrow)
    assert problem["code"] == "overloaded_notices_day"
    assert "2 次" in problem["message"]
    assert "1 次" in problem["message"]
    file = narrow / "publisher.toml"
    text = file.read_text("utf-8")
    more = 'profile = "mass"\noptions = { mass_per_day = "2", mass_per_month = "1" }\n'
    file.write_text(text.replace('profile = "mass"\n', more), "utf-8")
    assert [problem["code"] for problem in check_of(run, narrow)] == [
        "overloaded_notices_month"
    ]
    file.write_text(
        text.replace(
            'profile = "mass"\n',
            'profile = "mass"\noptions = { mass_per_day = "一" }\n',
        ),
        "utf-8",
    )
    found = run("-C", narrow, "check", "--json").json["problems"]
    assert "wechat_mass_quota_invalid" in {problem["code"] for problem in found}


def test_past_posts_are_not_counted(run, narrow):
    """Past instants use no quota any more."""
    past = (TOMORROW - timedelta(days=2)).isoformat()
    write_schedule(
        narrow,
        *(
            warning(f"p{number}", f"at = {past}", '["platform:weibo"]')
            for number in range(3)
        ),
    )
    assert check_of(run, narrow) == []
