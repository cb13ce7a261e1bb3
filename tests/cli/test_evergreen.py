"""`evergreen` schedules a drawer post for one account, often, but never twice by mistake."""

from datetime import datetime, timedelta

import pytest

from tests.cli.conftest import PUBLISHED
from tests.cli.posts import warning, write_schedule

BY = ("--by", "王")


@pytest.fixture
def drawer(drill):
    """Return a drill with two evergreen posts for every account."""
    write_schedule(
        drill, *(warning(name, "evergreen = true") for name in ("elderly", "parcels"))
    )
    return drill


def deliveries(run, drill, *post):
    rows = run("-C", drill, "status", *post, "--json").json["deliveries"]
    return [(row["post"], row["account"], row["state"]) for row in rows]


def test_the_drawer_is_listed_and_nothing_of_it_is_due_by_itself(run, drawer):
    """Reading the schedule files no delivery; the list has posts and their number of accounts.

    The number is that of accounts with the post used on them.
    """
    assert "没有备用内容" in run("-C", drawer, "evergreen").out
    assert run("-C", drawer, "reload").code == 0
    listed = run("-C", drawer, "evergreen", "--json").json["posts"]
    assert [(item["post"], item["used_on"], item["last_used"]) for item in listed] == [
        ("elderly", [], None),
        ("parcels", [], None),
    ]
    assert "0/3" in run("-C", drawer, "evergreen").out
    assert deliveries(run, drawer) == []


def test_an_account_gets_one_after_the_other(run, drawer, deliver):
    """Each order is a delivery on this account alone; after all posts one must be named."""
    chosen = []
    for _ in range(2):
        assert run("-C", drawer, "evergreen", "beijing-weibo", *BY).code == 0
        [(post, account, _state)] = [
            row for row in deliveries(run, drawer) if row[2] == "due"
        ]
        chosen.append((post, account))
        receipt = PUBLISHED.receipt
        deliver(
            type(PUBLISHED)(
                receipt=type(receipt)(
                    remote_id=post, url=receipt.url, published_at=receipt.published_at
                )
            )
        )
    assert chosen == [("elderly", "beijing-weibo"), ("parcels", "beijing-weibo")]
    used_up = run("-C", drawer, "evergreen", "beijing-weibo", *BY)
    assert used_up.code == 3
    assert "发过全部备用内容" in used_up.err
    assert run("-C", drawer, "evergreen", "beijing-weibo", "elderly", *BY).code == 0
    assert len(deliveries(run, drawer, "elderly")) == 2


def test_a_second_click_schedules_nothing(run, drawer):
    """While one is under way on the account, neither the same post nor another one follows it."""
    assert run("-C", drawer, "evergreen", "beijing-weibo", *BY).code == 0
    assert run("-C", drawer, "evergreen", "beijing-weibo", *BY).code == 3
    assert run("-C", drawer, "evergreen", "beijing-weibo", "elderly", *BY).code == 3
    assert len(deliveries(run, drawer)) == 1
    assert run("-C", drawer, "evergreen", "beijing-wechat", *BY).code == 0


def test_it_may_be_scheduled_for_later_and_stays_when_the_schedule_is_read_again(
    run, drawer
):
    """A time of tomorrow is kept; reading a changed file neither moves, cancels nor repeats it."""
    tomorrow = (datetime.now().astimezone() + timedelta(days=1)).replace(microsecond=0)
    assert (
        run(
            "-C",
            drawer,
            "evergreen",
            "beijing-weibo",
            "--at",
            tomorrow.isoformat(),
            *BY,
        ).code
        == 0
    )
    write_schedule(
        drawer,
        *(warning(name, "evergreen = true") for name in ("elderly", "parcels", "rent")),
    )
    assert run("-C", drawer, "reload").code == 0
    [row] = run("-C", drawer, "status", "--json").json["deliveries"]
    assert (row["state"], datetime.fromisoformat(row["due"])) == ("pending", tomorrow)
    assert run("-C", drawer, "evergreen", "beijing-weibo", "elderly", *BY).code == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("beijing-weibo",), 2),
        (("--by", "王"), 2),
        (("nowhere", *BY), 4),
        (("beijing-weibo", "nothing", *BY), 4),
        (("beijing-weibo", "--at", "tomorrow", *BY), 2),
        (("beijing-weibo", "--at", "2020-01-01T09:00", *BY), 2),
    ],
)
def test_what_cannot_be_scheduled_is_refused(run, drawer, arguments, code):
    """A missing name, an unknown account or post, and a time that is none, or past."""
    assert run("-C", drawer, "evergreen", *arguments).code == code


@pytest.mark.parametrize(
    "key", ['at = "asap"', 'cron = "0 9 * * mon"', 'follows = "other"', 'days = "all"']
)
def test_an_evergreen_post_has_no_time_and_follows_nothing(run, drill, key):
    """`check` names the key that does not go with it."""
    write_schedule(drill, warning("other"), warning("p", f"evergreen = true\n{key}"))
    found = run("-C", drill, "check", "--json")
    assert found.code == 1
    problems = [
        (item["code"], item["path"])
        for item in found.json["problems"]
        if item["severity"] == "error"
    ]
    assert [path for _code, path in problems] == [f"post[1].{key.split()[0]}"]
