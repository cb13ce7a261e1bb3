"""An adapter from another package, from installation to a published post.

The core knows nothing of its platform.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.domain.account import AccountId
from publisher.engine.planner import apply_schedule
from publisher.engine.sender import send_due
from publisher.testing.fakes import FakeRuntime
from tests.adapters.receiver import ACCOUNT, receiving

PACKAGE = """
from dataclasses import dataclass, replace

from publisher.contract import PlatformDefaults
from publisher.testing.builders import TEST_RATE_LIMIT, TEST_TIMING
from publisher.testing.fakes import TEST_CAPABILITIES, FakeAdapter

POSTS = {}


@dataclass(frozen=True)
class Factory:
    contract = 1
    defaults = PlatformDefaults(rate_limit=TEST_RATE_LIMIT, timing=TEST_TIMING)

    def capabilities(self, account):
        is_article = account.options.get("form") == "article"
        return replace(TEST_CAPABILITIES, text_limit=20_000, is_article=is_article)

    def validate(self, account, rendered):
        return ()

    def create(self, account, context):
        return FakeAdapter(now=context.now, posts=POSTS)


CITY = Factory()
"""
SETTINGS = """
environment = "drill"
secrets_dir = "secrets"
[limits.citysite]
per_hour = 100
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
"""
SCHEDULE = """
[[post]]
id = "p"
kind = "warning"
template = "warning"
author = "zhang"
title = "警惕退款诈骗"
at = "asap"
to = ["platform:citysite", "hook"]
[post.data]
summary = "退款不用转账"
[post.text]
citysite = "本市居民请注意"
"""


def account(name: str, platform: str, base_url: str, more: str = "") -> str:
    return f"""
[[account]]
id = "{name}"
platform = "{platform}"
identity = "{ACCOUNT if platform == "webhook" else name}"
region = "110000"
secret = "s"
base_url = "{base_url}"
{more}
"""


def install(folder) -> None:
    """Write a package into the folder, as an installer would."""
    (folder / "city_site.py").write_text(PACKAGE)
    facts = folder / "city_site-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: city-site\nVersion: 1.0\n"
    )
    (facts / "entry_points.txt").write_text(
        "[publisher.adapters]\ncitysite = city_site:CITY\n"
    )


async def test_a_post_is_sent_through_an_adapter_of_another_package(
    tmp_path, monkeypatch
):
    """A post is sent through an adapter of another package, as text and as an article.

    The package is installed, named in publisher.toml, and addressed as a platform.
    """
    packages, workspace = tmp_path / "site-packages", tmp_path / "workspace"
    (workspace / "secrets").mkdir(parents=True)
    packages.mkdir()
    install(packages)
    monkeypatch.syspath_prepend(packages)
    async with receiving() as (receiver, secret):
        (workspace / "secrets" / "s").write_text(json.dumps(secret))
        accounts = (
            account("text", "citysite", receiver.base_url),
            account(
                "article",
                "citysite",
                receiver.base_url,
                'options = { form = "article" }',
            ),
            account("hook", "webhook", receiver.base_url),
        )
        (workspace / "publisher.toml").write_text(SETTINGS + "".join(accounts))
        settings = await load_settings(workspace)
        runtime = FakeRuntime(clock=datetime.now(UTC))
        async with open_application(settings, runtime, can_send=True) as application:
            assert (
                await apply_schedule(application.planner, SCHEDULE, "schedule.toml")
            ).filed == 3
            await application.store.maintenance.promote_due()
            assert (
                await send_due(
                    application.store, application.adapters, 8, asyncio.Event()
                )
                == 3
            )
            filed = await application.store.queries.deliveries()
            assert {(item.account, item.state) for item in filed} == {
                (AccountId(name), "published") for name in ("text", "article", "hook")
            }
        posts = sys.modules.pop("city_site").POSTS.values()
        words = {
            send_request.account: send_request.rendered.text for send_request in posts
        }
        assert words["text"].startswith("预警提示｜北京市公安局 ")
        assert "\n\n本市居民请注意。" in words["text"]
        assert words["article"].startswith('<section style="')
        assert "本市居民请注意。</p>" in words["article"]
        [made] = await receiver.posts()
        assert "退款不用转账" in made.text
