"""A lost reply, and a list that shows only the beginning of every text.

A person decides, and nothing is sent twice.
"""

from datetime import UTC, datetime

import pytest

CREATES = {
    "weibo": "/2/statuses/share.json",
    "wechat": "/cgi-bin/freepublish/submit",
    "tieba": "/c/c/thread/add_pc",
}
LISTS = {
    "weibo": "/2/statuses/user_timeline.json",
    "wechat": "/cgi-bin/freepublish/batchget",
    "tieba": "/c/u/feed/myThread",
}
ACCOUNTS = [f"beijing-{platform}" for platform in LISTS]
POST = """
[[post]]
id = "refund"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
at = {at:%Y-%m-%dT%H:%M:%S}Z
max_delay = "6h"
to = {to}
body = "退款原路退回，不用转账，不用共享屏幕。"
[post.data]
summary = "冒充客服退款的骗局近期多发，请勿转账。"
"""


@pytest.mark.parametrize(
    ("length", "ending"), [pytest.param(12, "", marks=pytest.mark.extra), (6, "… 全文")]
)
def test_a_copy_of_which_a_list_shows_the_beginning_is_never_doubled(
    workspace, simulator, wait_until, length, ending
):
    """F54, I1, I7: a copy with only its beginning in a list is held as a possible match.

    This holds on each platform, and there is one copy.
    """
    # the platform's duplicate check must not be needed
    simulator.post("/_sim/settings", {"weibo_duplicates": "off"})
    before = set()
    for platform, path in LISTS.items():
        old = {
            "platform": platform,
            "account": f"beijing-{platform}",
            "title": "旧闻",
            "text": "旧的内容",
            "forum": "示例",
        }
        before.add(simulator.post("/_sim/posts", old)["id"])
        lost = {
            "platform": platform,
            "endpoint": CREATES[platform],
            "times": 1,
            "fault": {"kind": "drop_after"},
        }
        cut = {
            "kind": "rewrite",
            "how": "excerpt",
            "characters": length,
            "ending": ending,
        }
        simulator.post("/_sim/faults", lost)
        simulator.post(
            "/_sim/faults", {"platform": platform, "endpoint": path, "fault": cut}
        )
    workspace.write_schedule(
        POST.format(at=datetime.now(UTC), to=str(ACCOUNTS).replace("'", '"'))
    )
    workspace.start()
    wait_until(lambda: set(workspace.states().values()) == {"held"}, seconds=60)
    reasons = {
        item["account"]: item["reason"] for item in workspace.status()["deliveries"]
    }
    assert reasons == dict.fromkeys(ACCOUNTS, "possible_match")
    made = [
        post["account"]
        for post in simulator.get("/_sim/posts")
        if post["id"] not in before
    ]
    assert sorted(made) == sorted(ACCOUNTS)
