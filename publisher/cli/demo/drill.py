"""The settings of a drill: accounts of the simulator, and demo values for all waits and limits."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit

from publisher.cli.regions import Region

TIMEZONE = "Asia/Shanghai"
PLATFORMS = ("weibo", "wechat", "tieba")
SIGNED_WITH = "drill"
"""What messages of the simulated WeChat are signed with."""
NORTH = ("11", "12", "13", "14", "15", "21", "22", "23")
"""GB/T 2260: the first two digits of the provinces of the north."""
WAITS = {
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
class DrillAccount:
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
                return {"app_id": self.identity, "app_secret": "drill", "callback_token": SIGNED_WITH}
            case _:
                return {"BDUSS": self.identity, "STOKEN": "drill"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A drill in some regions, against the simulator at an address; its messages are heard at `listen`, if anywhere."""

    regions: Sequence[Region]
    address: str
    listen: str | None = None

    @property
    def accounts(self) -> Sequence[DrillAccount]:
        return [account for region in self.regions for account in _accounts_of(region)]


def drill_files(drill: Drill) -> dict[str, bytes]:
    """Give the files by which a drill's workspace differs from another."""
    secrets = {f"secrets/{account.id}": json.dumps(account.secret).encode() for account in drill.accounts}
    return {"publisher.toml": tomlkit.dumps(_settings(drill)).encode(), **secrets}


def _accounts_of(region: Region) -> Iterator[DrillAccount]:
    identities = (f"1{region.code}001", f"wx{region.code}0000000000", f"tb.1.{region.slug}")
    for platform, identity in zip(PLATFORMS, identities, strict=True):
        yield DrillAccount(id=f"{region.slug}-{platform}", platform=platform, identity=identity, region=region)


def _settings(drill: Drill) -> Mapping[str, Any]:
    north = [account.id for account in drill.accounts if account.region.code.startswith(NORTH)]
    return {
        "environment": "drill",
        "timezone": TIMEZONE,
        "secrets_dir": "secrets",
        **({"callbacks": {"listen": drill.listen}} if drill.listen else {}),
        "limits": dict.fromkeys(PLATFORMS, WAITS),
        "region": {
            region.code: {
                "name": region.name,
                "hotline": region.hotline,
                "tip_line": region.tip_line,
                "tip_link": region.tip_link,
            }
            for region in drill.regions
        },
        "groups": {"north": north},
        "account": [_entry(account, drill.address) for account in drill.accounts],
    }


def _entry(account: DrillAccount, address: str) -> Mapping[str, Any]:
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
