"""In live use, calls go only to the hosts that an adapter names or to the account's own address."""

import ast
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters import BUILT_IN_ADAPTERS
from publisher.app.adapters import load_factories
from publisher.app.application import build_host_filter, open_application
from publisher.config import load_settings, parse_settings
from publisher.contract import HttpRequest
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.results import NotSent
from publisher.testing.fakes import FakeAdapter, FakeRuntime

ADAPTERS = Path(__file__).parents[2] / "adapters"
PAGES = {"https://api.weibo.com/oauth2/default.html"}
"""Addresses that only a person's browser opens."""
LIVE = """
environment = "live"
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
[[account]]
id = "a"
platform = "weibo"
identity = "1"
region = "110000"
secret = "s"
link_template = "https://example.gov.cn/n/{marker}"
"""
ELSEWHERE = ("evil.example", "127.0.0.1", "api.weibo.com.evil.example", "weibo.com", "")


def account(platform, **facts):
    return Account(
        id=AccountId(platform),
        platform=Platform(platform),
        identity="1",
        secret="s",
        **facts,
    )


def settings(tmp_path, environment="live"):
    return parse_settings(f'environment = "{environment}"', workspace=tmp_path)


def factory_of(platform):
    account = Account(
        id=AccountId("a"), platform=Platform(platform), identity="1", secret="s"
    )
    return load_factories([account])[account.platform]


def named_in(platform):
    """Return the hosts of every address in an adapter's code."""
    trees = [
        ast.parse(path.read_text("utf-8"))
        for path in sorted((ADAPTERS / platform).glob("*.py"))
    ]
    values = [node.value.value for tree in trees for node in tree.body if is_text(node)]
    return {
        urlsplit(value).hostname
        for value in values
        if value.startswith("https://") and value not in PAGES
    }


def is_text(node):
    return isinstance(node, ast.Assign) and isinstance(
        getattr(node.value, "value", None), str
    )


@pytest.mark.parametrize("platform", sorted(set(BUILT_IN_ADAPTERS) - {"webhook"}))
def test_each_platform_is_called_at_its_own_hosts_only(tmp_path, platform):
    """Every address in the adapter's code may be called, and no other."""
    is_host_allowed = build_host_filter(
        [account(platform)], settings(tmp_path), factory_of(platform)
    )
    assert named_in(platform)
    assert all(map(is_host_allowed, named_in(platform)))
    assert not any(map(is_host_allowed, ELSEWHERE))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://hook.example.gov.cn/in", "hook.example.gov.cn"),
        ("https://HOOK.example:8443", "hook.example"),
        ("https://xn--bcher-kva.example", "bücher.example"),
        ("https://[2001:db8::1]/", "2001:db8::1"),
    ],
)
def test_an_address_of_an_accounts_own_is_the_only_one(tmp_path, address, host):
    """An account's own address is the only host it may call, in any spelling of the host.

    The address is in `base_url` of any platform, or in a receiver's options.
    """
    for one in (
        account("weibo", base_url=address),
        account("webhook", options={"url": address}),
    ):
        is_host_allowed = build_host_filter(
            [one], settings(tmp_path), factory_of(one.platform)
        )
        assert is_host_allowed(host)
        assert not any(map(is_host_allowed, (*ELSEWHERE, "api.weibo.com")))


@pytest.mark.parametrize("address", [None, "https://[", "ftp", ""])
def test_a_receiver_without_a_valid_address_is_never_called(tmp_path, address):
    """`check` reports the settings; no call is made, and nothing else stops."""
    one = account("webhook", options={"url": address} if address is not None else {})
    assert not any(
        map(
            build_host_filter([one], settings(tmp_path), factory_of("webhook")),
            ELSEWHERE,
        )
    )


def test_accounts_that_share_a_login_each_reach_their_own_host(tmp_path):
    """Accounts that share a login share one HTTP client.

    The client may call all of their addresses.
    """
    accounts = [
        account("webhook", options={"url": f"https://{name}.example"})
        for name in ("a", "b")
    ]
    is_host_allowed = build_host_filter(
        accounts, settings(tmp_path), factory_of("webhook")
    )
    assert [
        is_host_allowed(host) for host in ("a.example", "b.example", "c.example")
    ] == [
        True,
        True,
        False,
    ]


async def test_a_live_account_calls_no_other_host(tmp_path):
    """A live account does not even look up a host name outside its platform.

    The test uses the running application.
    """
    (tmp_path / "publisher.toml").write_text(LIVE, "utf-8")
    async with open_application(
        await load_settings(tmp_path), FakeRuntime(), can_send=True
    ) as application:
        http = application.adapters[AccountId("a")].context.http
        for url in (
            "https://evil.example/2/statuses/share.json",
            "http://127.0.0.1:9/",
            "https://weibo.com/",
        ):
            assert await http.fetch(HttpRequest(method="GET", url=url)) == NotSent(
                reason="host_not_allowed"
            )


class HostlessFactory:
    """The factory of a package that names no address."""

    def create(self, _account, context):
        return FakeAdapter(now=context.now)


def test_an_adapter_that_names_no_address_may_call_any(tmp_path):
    """Packages of older versions keep working; a drill still reaches this machine only."""
    assert build_host_filter(
        [account("citysite")], settings(tmp_path), HostlessFactory()
    )("city.example")
    is_host_allowed = build_host_filter(
        [account("weibo")], settings(tmp_path, "drill"), factory_of("weibo")
    )
    assert [is_host_allowed(host) for host in ("127.0.0.1", "api.weibo.com")] == [
        True,
        False,
    ]
