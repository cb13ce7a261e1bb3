"""The report of a period at the command line."""

import asyncio
import csv
from datetime import timedelta

import pytest
from sqlalchemy import update

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.domain.results import Published, Reach, Receipt, Rejected
from publisher.store.db.monitor_tables import KNOWN_ACCOUNT
from publisher.store.db.tables import DELIVERY
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.posts import warning, write_schedule

DAYS = ("--from", "2026-01-01", "--to", "2099-12-31")


@pytest.fixture
def reported(run, drill):
    """Return a drill with one post on three platforms.

    It is published on Weibo and Tieba and read twice there. WeChat has rejected it.
    """

    async def happen():
        async with open_application(
            await load_settings(drill), make_confirmed_runtime(), can_send=True
        ) as application:
            await application.store.maintenance.promote_due()
            for lease in await application.store.outbox.claim(10):
                await application.store.outbox.record_intent(lease)
                platform = application.settings.accounts[lease.account].platform
                live_at = lease.due_at + timedelta(seconds=3)
                receipt = Receipt(
                    remote_id=f"{lease.delivery}",
                    url="https://x.example/1",
                    published_at=live_at,
                )
                live = Published(receipt=receipt, is_text_confirmed=platform == "tieba")
                refused = Rejected(code="wechat_45166", reason="bad content")
                await application.store.outbox.record_outcome(
                    lease, refused if platform == "wechat" else live
                )
                if platform == "weibo":
                    for reposts in (5, 812):
                        await application.store.monitoring.record_metrics(
                            {lease.delivery: Reach(reposts=reposts)}
                        )

    write_schedule(drill, warning("refund"))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    asyncio.run(happen())
    return drill


def test_the_report_counts_account_by_account(run, reported):
    """Per account the report has counts, read-backs, reasons, lateness, metrics and tip line.

    The counts are planned, published and failed. The metrics are the last ones.
    """
    shown = run("-C", reported, "report", *DAYS, "--json").json
    assert {row["account"]: row["published"] for row in shown["accounts"]} == {
        "beijing-tieba": 1,
        "beijing-wechat": 0,
        "beijing-weibo": 1,
    }
    assert [row["platform"] for row in shown["platforms"]] == [
        "tieba",
        "wechat",
        "weibo",
    ]
    total = shown["total"]
    assert (
        total["planned"],
        total["published"],
        total["verified"],
        total["failed"],
    ) == (
        3,
        2,
        1,
        1,
    )
    assert (total["median_late"], total["max_delay"]) == (3.0, 3.0)
    assert total["reach"] == {
        "reads": None,
        "reposts": 812,
        "comments": None,
        "likes": None,
    }
    assert total["reasons"] == {"failed": {"wechat_45166": 1}}
    assert (total["tip_line_named"], total["tip_line_asked"]) == (2, 2)


@pytest.mark.parametrize(
    ("lang", "words"),
    [("zh_CN", ("计划", "812", "2/2")), ("en", ("Planned", "812", "2/2"))],
)
def test_the_report_is_a_table_in_both_languages(run, reported, lang, words):
    """The terminal shows the same figures with the reasons in words."""
    shown = run("-C", reported, "--lang", lang, "report", *DAYS)
    assert shown.code == 0
    assert all(word in shown.out for word in words)
    assert "wechat_45166" not in shown.out


def test_the_report_is_a_spreadsheet_too(run, reported, tmp_path):
    """One line per account, with a heading; JSON stays alone on standard output."""
    file = tmp_path / "report.csv"
    shown = run("-C", reported, "report", *DAYS, "--csv", file, "--json")
    assert shown.json["total"]["planned"] == 3
    with file.open(encoding="utf-8-sig", newline="") as stream:
        heading, *rows = csv.reader(stream)
    assert [row[0] for row in rows] == [
        "beijing-tieba",
        "beijing-wechat",
        "beijing-weibo",
    ]
    assert dict(zip(heading, rows[2], strict=True))["转发"] == "812"


def test_days_are_the_workspaces_and_both_count(run, reported):
    """A day without due posts says so; an invalid day or an early end is wrong usage.

    An early end is an end before the start.
    """
    assert (
        "没有计划发布的内容"
        in run(
            "-C", reported, "report", "--from", "2020-01-01", "--to", "2020-01-01"
        ).out
    )
    assert (
        run("-C", reported, "report", "--from", "2020-01-02", "--to", "2020-01-01").code
        == 2
    )
    assert (
        run("-C", reported, "report", "--from", "yesterday", "--to", "2020-01-01").code
        == 2
    )


def test_a_workspace_that_never_ran_has_an_empty_report(run, drill):
    """Reporting creates no database."""
    assert run("-C", drill, "report", *DAYS, "--json").json["total"]["planned"] == 0
    assert list((drill / "var").iterdir()) == []


@pytest.fixture
def silent(reported):
    """Return the drill a month later: two posts are verified, one account has published nothing."""

    async def note_and_verify():
        async with open_application(
            await load_settings(reported), make_confirmed_runtime(), can_send=True
        ) as app:
            await app.store.silence.update(app.settings.timezone)
            long_ago = app.runtime.now() - timedelta(days=20)
            is_live = DELIVERY.c.remote_id.is_not(None)

            def age(transaction):
                transaction.connection.execute(
                    update(KNOWN_ACCOUNT).values(since=long_ago - timedelta(days=10))
                )
                values = {"published_at": long_ago, "verified_at": long_ago}
                transaction.connection.execute(
                    update(DELIVERY).where(is_live).values(values)
                )

            await app.store.database.write(age)

    asyncio.run(note_and_verify())
    return reported


def test_the_report_has_the_figures_of_inspections(run, silent, tmp_path):
    """The report has accounts, posts and silent accounts for each platform.

    An account that published nothing is among them.
    """
    shown = run("-C", silent, "report", *DAYS, "--json").json
    days = {row["account"]: row["silence"] for row in shown["accounts"]}
    assert days["beijing-weibo"] == {"longest": 20, "red_days": 7, "days_now": 20}
    assert days["beijing-wechat"] == {"longest": 30, "red_days": 17, "days_now": 30}
    weibo, everything = (shown["inspection"][index] for index in (2, -1))
    assert weibo == {
        "platform": "weibo", "accounts": 1, "posts": 1,
        "silent_accounts": 1, "silent_now": 1, "removed": 0,
    }  # fmt: skip
    assert (
        everything["platform"],
        everything["accounts"],
        everything["silent_now"],
    ) == ("", 3, 3)
    file = tmp_path / "report.csv"
    table = run("-C", silent, "--lang", "en", "report", *DAYS, "--csv", file)
    assert all(
        words in table.out
        for words in ("Longest silence", "Silent in the period", "30")
    )
    with file.open(encoding="utf-8-sig", newline="") as stream:
        heading, *rows = csv.reader(stream)
    assert dict(zip(heading, rows[1], strict=True))["Longest silence (days)"] == "30"
