"""A platform with a list that answers 429.

No call of that login reaches it again before the Retry-After is over.
"""

from datetime import UTC, datetime

from tests.e2e.test_shortened_lists import ACCOUNTS, CREATES, LISTS, POST

REST = 6
CLOCKS = 0.05
"""Tolerance in seconds for a call that seems early.

The answer is still on its way when the platform logs it.
"""
ANONYMOUS = "/c/f/pb/page_pc"
"""Tieba's threads are read without a session."""


def test_f26_i15_after_a_429_on_a_list_the_next_call_of_that_login_comes_not_before(
    workspace, simulator, wait_until
):
    """F26, I15: after a 429 on a list no readback, post or probe comes too soon.

    None comes before the Retry-After is over. Unknown outcomes end afterwards, and nothing is sent
    twice.
    """
    for platform, path in LISTS.items():
        lost = {
            "platform": platform,
            "endpoint": CREATES[platform],
            "times": 1,
            "fault": {"kind": "drop_after"},
        }
        many = {"kind": "status", "code": 429, "headers": {"Retry-After": str(REST)}}
        simulator.post("/_sim/faults", lost)
        ours = {"platform": platform, "account": f"beijing-{platform}"}
        simulator.post(
            "/_sim/faults", {**ours, "endpoint": path, "times": 1, "fault": many}
        )
    workspace.write_schedule(
        POST.format(at=datetime.now(UTC), to=str(ACCOUNTS).replace("'", '"'))
    )
    workspace.start()
    wait_until(lambda: set(workspace.states().values()) == {"published"}, seconds=90)
    log = simulator.get("/_sim/log")
    for platform in LISTS:
        ours = [
            item
            for item in log
            if item["platform"] == platform and _is_ours(item, f"beijing-{platform}")
        ]
        [limited] = [
            item["t"]
            for item in ours
            if item["kind"] == "reply" and item["status"] == 429
        ]
        after = [
            item["t"] - limited
            for item in ours
            if item["kind"] == "recv" and item["t"] > limited
        ]
        assert min(after) >= REST - CLOCKS, platform
    assert sorted(post["account"] for post in simulator.get("/_sim/posts")) == sorted(
        ACCOUNTS
    )


def _is_ours(item, account):
    return item["account"] == account or item["endpoint"] == ANONYMOUS
