"""People post by hand, and accounts change modes at run time: the daemon against the simulator."""

import json
import re
from datetime import datetime, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = {at}
to = {to}
body = "接到**退款**电话，请先挂断。"
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""
LI = ("--by", "李", "--reason", "试验")


def in_seconds(seconds):
    """Format the instant so many seconds from now as staff do, without offset."""
    return (
        datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(seconds=seconds)
    ).strftime("%Y-%m-%dT%H:%M:%S")


def let_people_post(workspace, city):
    """Set all accounts of a city to manual posting."""
    file = workspace.folder / "publisher.toml"
    text = file.read_text("utf-8")
    file.write_text(
        re.sub(rf'(?m)^id = "{city}-.*$', r'\g<0>\nmode = "assisted"', text), "utf-8"
    )


def tasks_of(workspace):
    return {
        row["account"]: row
        for row in json.loads(workspace.publisher("assist", "--json"))["tasks"]
    }


def deliveries_of(workspace):
    return {row["account"]: row for row in workspace.status()["deliveries"]}


def test_manual_posts_are_verified(workspace, simulator, wait_until):
    """Where the settings leave posting to people no call is made.

    The posts of people are found on every platform.
    """
    let_people_post(workspace, "beijing")
    workspace.write_schedule(POST.format(id="p", at='"asap"', to='["all"]'))
    workspace.start()
    wait_until(
        lambda: (
            sorted(workspace.states().values()) == ["published"] * 3 + ["submitted"] * 3
        )
    )
    assert {item["account"] for item in simulator.get("/_sim/posts")} == {
        f"shanghai-{platform}" for platform in ("weibo", "wechat", "tieba")
    }
    for account, task in tasks_of(workspace).items():
        early = workspace.publisher(
            "assist", "done", f"p@{account}", "https://example.com/early", "--by", "李"
        )
        assert account in early
        words = {
            name: task[name]
            for name in ("platform", "account", "title", "text", "forum")
        }
        made = simulator.post("/_sim/posts", words)
        workspace.publisher(
            "assist",
            "done",
            f"p@{account}",
            str(made.get("url") or simulator.url),
            "--by",
            "李",
        )
    wait_until(lambda: set(workspace.states().values()) == {"published"})
    assert all(
        deliveries_of(workspace)[f"beijing-{platform}"]["verified_at"]
        for platform in ("weibo", "tieba")
    )
    assert (tasks_of(workspace), len(simulator.get("/_sim/posts"))) == ({}, 6)


def test_a_report_without_a_post_is_detected(workspace, simulator, wait_until):
    """A report without a post alerts people, and the one task stays open."""
    let_people_post(workspace, "beijing")
    workspace.write_schedule(POST.format(id="p", at='"asap"', to='["beijing-weibo"]'))
    workspace.start()
    simulator.post("/_sim/clock", {"shift": -3600})
    simulator.post(
        "/_sim/posts",
        {
            "platform": "weibo",
            "account": "beijing-weibo",
            "text": "早前的",
            "title": "",
        },
    )
    simulator.post("/_sim/clock", {"shift": 3600})
    wait_until(lambda: "beijing-weibo" in tasks_of(workspace))
    workspace.publisher(
        "assist", "done", "p@beijing-weibo", "https://weibo.com/1/none", "--by", "李"
    )
    wait_until(
        lambda: any(
            alert["code"] == "manual_task_not_seen"
            for alert in workspace.status()["alerts"]
        )
    )
    assert workspace.states() == {"p@beijing-weibo": "submitted"}
    assert list(tasks_of(workspace)) == ["beijing-weibo"]


def test_switching_around_the_instants_gives_one_post_or_one_task_each(
    workspace, simulator, wait_until
):
    """A running daemon obeys each order at once.

    In any order of modes, no post is lost or doubled.
    """
    names = [f"p{number}" for number in range(10)]
    posts = [
        POST.format(id=name, at=in_seconds(8 + number), to='["beijing-weibo"]')
        for number, name in enumerate(names)
    ]
    workspace.write_schedule("".join(posts))
    workspace.start()
    wait_until(lambda: len(workspace.states()) == len(names))
    for order in list(permutations(("api", "assisted", "off")))[:5]:
        for mode in order:
            workspace.publisher("mode", "beijing-weibo", mode, *LI)
    workspace.publisher("mode", "beijing-weibo", "settings", *LI)
    wait_until(lambda: set(workspace.states().values()) <= {"published", "submitted"})
    tasks = [
        row["post"]
        for row in json.loads(workspace.publisher("assist", "--json"))["tasks"]
    ]
    live = [
        row["url"]
        for row in workspace.status()["deliveries"]
        if row["state"] == "published"
    ]
    assert sorted(item["url"] for item in simulator.get("/_sim/posts")) == sorted(live)
    assert len(live) + len(tasks) == len(names)
    assert {row["attempts"] for row in workspace.status()["deliveries"]} == {1}
