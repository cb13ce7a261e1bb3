"""The settings of a drill: accounts of the simulator, and demo values for all waits and limits."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

import tomlkit
from tomlkit.items import AoT


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A city with its code (GB/T 2260), and what its police call themselves."""

    code: str
    name: str
    slug: str
    agency: str
    forum: str
    hotline: str
    tip_line: str
    tip_link: str


def read_regions() -> Sequence[Region]:
    """Give all regions, the capital first."""
    text = (files("publisher.cli.demo") / "regions.toml").read_text("utf-8")
    return [Region(**table) for table in tomllib.loads(text)["region"]]


TIMEZONE = "Asia/Shanghai"
PLATFORMS = ("weibo", "wechat", "tieba")
CALLBACK_SIGNING_KEY = "drill"
"""What messages of the simulated WeChat are signed with."""
NORTHERN_PROVINCES = ("11", "12", "13", "14", "15", "21", "22", "23")
"""GB/T 2260: the first two digits of the provinces of the north."""
DEMO_LIMITS = {
    "min_interval": "200ms",
    "per_hour": 10000,
    "per_day": 20000,
    "request_timeout": "5s",
    "lease_timeout": "12s",
    "visibility_window": "15s",
    "first_check_after": "500ms",
    "retry_first": "300ms",
    "platform_clock_tolerance": "1s",
}
"""So short that a doubt ends while one watches; no real platform settles so soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """An account of the simulator."""

    id: str
    platform: str
    identity: str
    region: Region

    @property
    def secret(self) -> Mapping[str, str]:
        """Give credentials that the simulator takes as they are: they name the account themselves."""
        match self.platform:
            case "weibo":
                return {"app_key": "1000000000", "app_secret": "drill", "access_token": self.identity}
            case "wechat":
                return {"app_id": self.identity, "app_secret": "drill", "callback_token": CALLBACK_SIGNING_KEY}
            case _:
                return {"BDUSS": self.identity, "STOKEN": "drill"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoWorkspace:
    """A drill in some regions, against the simulator at an address; its messages are heard at `listen`, if anywhere."""

    regions: Sequence[Region]
    simulator_url: str
    callback_listen: str | None = None

    @property
    def accounts(self) -> Sequence[DemoAccount]:
        return [account for region in self.regions for account in _region_accounts(region)]


def demo_files(demo_workspace: DemoWorkspace) -> dict[str, bytes]:
    """Give the files by which a drill's workspace differs from another."""
    secrets = {f"secrets/{account.id}": json.dumps(account.secret).encode() for account in demo_workspace.accounts}
    return {"publisher.toml": tomlkit.dumps(_settings(demo_workspace)).encode(), **secrets}


def _region_accounts(region: Region) -> Iterator[DemoAccount]:
    identities = (f"1{region.code}001", f"wx{region.code}0000000000", f"tb.1.{region.slug}")
    for platform, identity in zip(PLATFORMS, identities, strict=True):
        yield DemoAccount(id=f"{region.slug}-{platform}", platform=platform, identity=identity, region=region)


def _settings(demo_workspace: DemoWorkspace) -> Mapping[str, Any]:
    north = [account.id for account in demo_workspace.accounts if account.region.code.startswith(NORTHERN_PROVINCES)]
    return {
        "environment": "drill",
        "timezone": TIMEZONE,
        "secrets_dir": "secrets",
        **({"callbacks": {"listen": demo_workspace.callback_listen}} if demo_workspace.callback_listen else {}),
        "limits": dict.fromkeys(PLATFORMS, DEMO_LIMITS),
        "region": {
            region.code: {
                "name": region.name,
                "hotline": region.hotline,
                "tip_line": region.tip_line,
                "tip_link": region.tip_link,
            }
            for region in demo_workspace.regions
        },
        "groups": {"north": north},
        "account": [_account_entry(account, demo_workspace.simulator_url) for account in demo_workspace.accounts],
    }


def _account_entry(account: DemoAccount, address: str) -> Mapping[str, Any]:
    entry: dict[str, Any] = {
        "id": account.id,
        "platform": account.platform,
        "identity": account.identity,
        "region": account.region.code,
        "secret": account.id,
        "base_url": address,
    }
    if account.platform == "weibo":
        entry["link_template"] = "https://example.gov.cn/n/{marker}"
    if account.platform == "tieba":
        entry |= {"forum": account.region.forum, "accept_risk": True}
    return entry


REPLACED_TIME_KEYS = ("cron", "from", "until", "days", "expires")
"""Keys that belong to the times which a demonstration replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSchedule:
    """When the posts of a demonstration are due: the first at `start`, the last `spread` later.

    `start` is a time of the workspace's zone, without offset. With `only_warning` just one warning to all remains.
    """

    start: datetime
    spread: timedelta
    is_single_warning: bool = False


def shift_schedule(text: str, demo_schedule: DemoSchedule) -> str:
    """Rewrite a schedule to a timetable. The order of its posts stays: follow-ups come after their originals."""
    document = tomlkit.parse(text)
    posts = document["post"]
    if not isinstance(posts, AoT):
        raise TypeError(posts)
    if demo_schedule.is_single_warning:
        _keep_first_warning(posts)
    step = demo_schedule.spread / max(len(posts) - 1, 1)
    for position, post in enumerate(posts):
        for key in REPLACED_TIME_KEYS:
            post.pop(key, None)
        post["at"] = (demo_schedule.start + step * position).replace(microsecond=0)
    return tomlkit.dumps(document)


def _keep_first_warning(posts: AoT) -> None:
    """Leave the first warning that goes to all."""
    kept_index = next(index for index, post in enumerate(posts) if post["kind"] == "warning" and post["to"] == ["all"])
    for index in reversed(range(len(posts))):
        if index != kept_index:
            del posts[index]
