"""Filed texts when templates or settings are corrected later: shown, reported and taken over."""

import asyncio

import pytest

from publisher.app.application import open_application
from publisher.app.offline import describe_loaded_files, find_newer_files
from publisher.config import load_settings
from publisher.domain.results import Published, Receipt, Unknown
from publisher.engine.filed_texts import FiledTextCheck
from publisher.runtime.clock import Runtime
from tests.cli.posts import in_days, warning, write_schedule

BY = ("--by", "王")
WEIBO = '["beijing-weibo"]'
OLD, NEW = '"110"', '"96110"'


@pytest.fixture
def filed(run, drill):
    """Return the drill with one post, filed for tomorrow on two accounts."""
    write_schedule(
        drill, warning("refund", in_days(1), '["beijing-weibo", "beijing-wechat"]')
    )
    assert run("-C", drill, "reload").code == 0
    return drill


def put_right(folder):
    """Change the region's tip line, shown by every text."""
    settings = folder / "publisher.toml"
    text = settings.read_text("utf-8")
    assert 'tip_line = "110"' in text
    settings.write_text(
        text.replace('tip_line = "110"', 'tip_line = "010-55550110"'), "utf-8"
    )


def texts(run, folder, *more):
    shown = run("-C", folder, "preview", "refund", *more, "--json").json
    return {one["account"]: one["text"] for one in shown["rendered_posts"]}, shown


def test_f105_preview_shows_what_is_stored_and_says_that_another_text_would_come_now(
    run, filed
):
    """F105: the filed text is shown, byte for byte, beside the command for the present text."""
    before, shown = texts(run, filed)
    assert (shown["stored"], shown["newer"]["accounts"]) == (True, [])
    put_right(filed)
    after, shown = texts(run, filed)
    assert after == before
    assert shown["newer"] == {
        "accounts": ["beijing-wechat", "beijing-weibo"],
        "can_be_taken_over": True,
    }
    assert "publisher refresh refund --by" in run("-C", filed, "preview", "refund").out
    present, shown = texts(run, filed, "--now")
    assert not shown["stored"]
    assert all("96110" in text for text in present.values())


def test_f105_a_named_person_takes_the_present_text_over(run, filed):
    """F105: `refresh` stores the present text, with an audit entry; a repeat changes nothing."""
    put_right(filed)
    done = run("-C", filed, "refresh", "refund", *BY)
    assert done.code == 0
    assert "2" in done.out
    stored, shown = texts(run, filed)
    assert shown["newer"]["accounts"] == []
    assert all("96110" in text for text in stored.values())
    assert "换了 2 份文稿" in run("-C", filed, "why", "refund@beijing-weibo").out
    assert "还是一样" in run("-C", filed, "refresh", "refund", *BY).out
    assert run("-C", filed, "refresh", "nothing", *BY).code == 4


@pytest.mark.parametrize(
    "outcome", [Unknown(reason="timeout"), None], ids=["unknown", "published"]
)
def test_f105_nothing_is_replaced_once_a_call_has_begun(run, drill, deliver, outcome):
    """F105: after a call has begun no text is replaced, as copies of a post never differ.

    Copies that are not out can be stopped, and the others corrected.
    """
    write_schedule(
        drill, warning("refund", 'at = "asap"', '["beijing-weibo", "beijing-wechat"]')
    )
    assert run("-C", drill, "send", "refund", *BY).code == 0
    receipt = Receipt(
        remote_id="1", url="https://weibo.example/1", published_at=Runtime().now()
    )
    run("-C", drill, "pause", "beijing-wechat", *BY)
    deliver(outcome or Published(receipt=receipt))
    put_right(drill)
    refused = run("-C", drill, "refresh", "refund", *BY)
    assert refused.code == 3
    assert "publisher correct refund" in refused.err
    assert texts(run, drill)[1]["newer"] == {
        "accounts": ["beijing-wechat"],
        "can_be_taken_over": False,
    }


def test_f105_check_warns_of_filed_texts_that_would_be_others(run, filed):
    """F105: a warning at the post's line, with the command; an edit of the post itself is none."""

    def codes():
        return {
            problem["code"]
            for problem in run("-C", filed, "check", "--json").json["problems"]
        }

    assert "filed_text_differs" not in codes()
    schedule = filed / "schedule.toml"
    schedule.write_text(
        schedule.read_text("utf-8").replace("正规退款", "退款"), "utf-8"
    )
    assert "filed_text_differs" not in codes()
    said = run("-C", filed, "preview", "refund").out
    assert "没有生效" in said
    assert "publisher check" in said
    schedule.write_text(
        schedule.read_text("utf-8").replace("退款原路", "正规退款原路"), "utf-8"
    )
    put_right(filed)
    assert "filed_text_differs" in codes()


def test_f105_the_daemon_alerts_people_to_filed_texts_that_would_be_others(run, filed):
    """F105: the daemon compares all filed texts at its start and alerts people to outdated ones.

    `status` and `why` say so until the text is taken over.
    """

    async def compare(settings, *, is_current):
        async with open_application(settings, Runtime(), can_send=False) as application:
            check = FiledTextCheck(
                planner=application.planner, is_current=lambda: is_current
            )
            await check.run()
            await check.run()

    def codes():
        return [
            alert["code"]
            for alert in run("-C", filed, "status", "refund", "--json").json["alerts"]
        ]

    asyncio.run(compare(asyncio.run(load_settings(filed)), is_current=True))
    assert codes() == []
    put_right(filed)
    settings = asyncio.run(load_settings(filed))
    asyncio.run(compare(settings, is_current=False))
    assert codes() == []
    asyncio.run(compare(settings, is_current=True))
    assert codes() == ["text_outdated"]
    assert (
        "publisher refresh refund"
        in run("-C", filed, "why", "refund@beijing-weibo").out
    )
    run("-C", filed, "refresh", "refund", *BY)
    assert codes() == []


def test_f105_a_text_that_is_replaced_after_it_was_found_is_compared_again(run, filed):
    """F105: the daemon's alert ends with an edit of the post by anybody."""
    put_right(filed)

    async def compare_around_an_edit():
        async with open_application(
            await load_settings(filed), Runtime(), can_send=False
        ) as application:
            check = FiledTextCheck(planner=application.planner, is_current=lambda: True)
            await check.run()
            before = await application.store.queries.alerts()
            write_schedule(
                filed,
                warning("refund", in_days(2), '["beijing-weibo", "beijing-wechat"]'),
            )
            await asyncio.to_thread(run, "-C", filed, "reload")
            await check.run()
            return before, await application.store.queries.alerts()

    before, after = asyncio.run(compare_around_an_edit())
    assert [alert.code for alert in before] == ["text_outdated"]
    assert after == []


def test_f105_a_post_that_is_sent_ahead_keeps_the_text_of_its_time(run, filed):
    """F105: a moved occurrence keeps the minute of its rendering, and counts as unchanged."""
    assert run("-C", filed, "send", "refund", *BY).code == 0
    assert texts(run, filed)[1]["newer"]["accounts"] == []


def test_loaded_files_differ_by_what_they_say(drill):
    """Comments and line ends of publisher.toml are no difference.

    A setting, a template and a broken file are differences.
    """
    loaded = describe_loaded_files(asyncio.run(load_settings(drill)))
    settings = drill / "publisher.toml"
    text = settings.read_text("utf-8")
    settings.write_text("# a note\n" + text, "utf-8")
    assert find_newer_files(drill, loaded) == {}
    settings.write_text(text + '\n[region.990000]\nname = "别处"\n', "utf-8")
    assert [*find_newer_files(drill, loaded)] == ["publisher.toml"]
    settings.write_text("environment = ", "utf-8")
    assert [*find_newer_files(drill, loaded)] == ["publisher.toml"]
    settings.write_text(text, "utf-8")
    (drill / "templates" / "own").mkdir(parents=True)
    (drill / "templates" / "own" / "weibo.txt").write_text("…", "utf-8")
    assert [*find_newer_files(drill, loaded)] == ["templates"]


def test_f105_a_file_that_no_template_is_made_of_changes_nothing(drill):
    """F105: an editor's copy or a note beside the templates asks for no restart.

    It keeps no refresh back.
    """
    loaded = describe_loaded_files(asyncio.run(load_settings(drill)))
    folder = drill / "templates" / "own"
    folder.mkdir(parents=True)
    for name in (".weibo.txt.swp", "weibo.txt~", "README.md"):
        (folder / name).write_text("…", "utf-8")
    (drill / "templates" / "README.md").write_text("…", "utf-8")
    assert find_newer_files(drill, loaded) == {}
