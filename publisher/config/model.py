"""Accepted settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from publisher.domain.account import Account, AccountId, Platform


class Environment(StrEnum):
    LIVE = "live"
    DRILL = "drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """The operator's limits for a platform; None keeps the adapter's default."""

    min_interval: timedelta | None = None
    per_hour: int | None = None
    per_day: int | None = None
    request_timeout: timedelta | None = None
    lease_timeout: timedelta | None = None
    visibility_window: timedelta | None = None
    first_check_after: timedelta | None = None
    retry_first: timedelta | None = None
    platform_clock_tolerance: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """Where callbacks of platforms are received, as `host:port`; None disables them."""

    listen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Where checkpoints of the audit are written: a file, relative to the workspace, and optionally the system log."""

    checkpoint_file: str = "var/audit-anchors.log"
    syslog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An accepted publisher.toml. `database` is an absolute URL; it may contain a password, so the repr omits it."""

    workspace: Path
    timezone: ZoneInfo
    database: str = field(repr=False)
    environment: Environment = Environment.LIVE
    plan_days: int = 2
    days_kept: int = 400
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    limits: Mapping[Platform, LimitSettings] = field(default_factory=dict)
    secrets_dir: Path | None = None
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    lang: Literal["zh_CN", "en"] = "zh_CN"
