"""This server is not on WeChat's IP allowlist.

People get an alert with the address to add, and its place.
"""

from zoneinfo import ZoneInfo

import pytest

from publisher.app.format import Formatter
from publisher.i18n import Messages
from tests.e2e.test_callbacks import POST
from tests.wait import PATIENCE_SECONDS

PLACE = "IP 白名单"


def test_f50_the_address_to_add_is_named_everywhere(workspace, simulator):
    """Alert, `status`, `why` and `doctor` name the address to add and its place.

    It is the address that WeChat saw. Nothing was sent.
    """
    simulator.post("/_sim/settings", {"wechat_addresses": ["203.0.113.5"]})
    workspace.write_schedule(POST.format(extra=""))
    assert workspace.start("--once").wait(PATIENCE_SECONDS) == 1, workspace.log()
    # the check of the login pauses first, or the attempt
    assert set(workspace.states().values()) <= {
        "due",
        "held",
    }
    status = workspace.status()
    assert {pause["scope"] for pause in status["paused"]} == {
        f"account:{city}-wechat" for city in ("beijing", "shanghai")
    }
    alerts = [
        alert["message"]
        for alert in status["alerts"]
        if alert["code"] == "account_paused"
    ]
    printed = workspace.publisher("status")
    reported = [
        *alerts,
        printed,
        workspace.publisher("why", "p@beijing-wechat"),
        workspace.publisher("doctor", check=1),
    ]
    assert len(alerts) == 2
    for words in reported:
        assert "加入 127.0.0.1" in words
        assert PLACE in words
        assert "{" not in words
    assert "add 127.0.0.1" in workspace.publisher(
        "--lang", "en", "why", "p@beijing-wechat"
    )
    assert simulator.get("/_sim/posts") == []


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (
            "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 6655aa01-1-2",
            "203.0.113.9",
        ),
        ("invalid ip 2001:db8::7, not in whitelist", "2001:db8::7"),
        ("not in whitelist rid: 6655aa01-1234abcd-0badcafe", None),
        ("", None),
    ],
)
def test_the_address_is_read_from_the_platforms_message(said, address):
    """The first address in the platform's message counts.

    Without one, the advice reads well without an address.
    """
    formatter = Formatter(
        messages=Messages("zh_CN"), timezone=ZoneInfo("Asia/Shanghai")
    )
    assert formatter.ip_address(said) == (address or "本机的出口地址")
