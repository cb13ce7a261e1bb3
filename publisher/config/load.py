"""From publisher.toml to Settings, or to all its Problems at once."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from publisher.config.addresses import resolve_database_url
from publisher.config.model import AuditSettings, CallbackSettings, Environment, LimitSettings, Settings
from publisher.config.rules import BUILT_IN_PLATFORMS, find_account_problems, find_global_problems, find_group_problems
from publisher.config.schema import AccountEntry, SettingsFile
from publisher.domain.account import Account, AccountId, Mode, Platform, RegionCode
from publisher.domain.errors import SettingsError
from publisher.domain.rate_limit import RateLimit
from publisher.domain.timing import Timing
from publisher.tomlfile import ReadLimits, TomlDocument, parse_toml, read_toml, validate_table

SETTINGS_FILE = "publisher.toml"
SETTINGS_READ_LIMITS = ReadLimits(max_bytes=2**20)


async def load_settings(workspace: Path) -> Settings:
    """Read a workspace's publisher.toml. Raises SettingsError with every Problem."""
    return await asyncio.to_thread(_load, workspace)


def parse_settings(
    text: str, *, workspace: Path, file: str = SETTINGS_FILE, platforms: Collection[str] = BUILT_IN_PLATFORMS
) -> Settings:
    """Read the text of a publisher.toml; `platforms` are those with an adapter. Raises SettingsError."""
    return _make_settings(parse_toml(text, file, SETTINGS_READ_LIMITS, SettingsError), workspace, platforms)


def apply_overrides(rate_limit: RateLimit, timing: Timing, limits: LimitSettings) -> tuple[RateLimit, Timing]:
    """Put the operator's limits over an adapter's defaults.

    A lease timeout that is not given keeps its share of the request timeout, and never reaches more than halfway to
    the visibility window: with the first under the last, the order of the three stays.
    """
    rate_limit = replace(rate_limit, **_set_limits(limits, "min_interval", "per_hour", "per_day"))
    wanted = replace(
        timing,
        **_set_limits(
            limits,
            "request_timeout",
            "lease_timeout",
            "visibility_window",
            "first_check_after",
            "retry_first",
            "platform_clock_tolerance",
        ),
    )
    if limits.lease_timeout is None and (limits.request_timeout or limits.visibility_window):
        share = wanted.request_timeout * (timing.lease_timeout / timing.request_timeout)
        wanted = replace(wanted, lease_timeout=min(share, (wanted.request_timeout + wanted.visibility_window) / 2))
    return rate_limit, wanted


def _set_limits(limits: LimitSettings, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(limits, name)) is not None}


def _load(workspace: Path) -> Settings:
    workspace = workspace.absolute()
    toml = read_toml(workspace / SETTINGS_FILE, SETTINGS_READ_LIMITS, SettingsError)
    installed = {entry.name for entry in entry_points(group="publisher.adapters")}
    return _make_settings(toml, workspace, BUILT_IN_PLATFORMS | installed)


def _make_settings(document: TomlDocument, workspace: Path, platforms: Collection[str]) -> Settings:
    entry = validate_table(SettingsFile, document.data)
    if isinstance(entry, list):
        raise SettingsError(document.locate_problems(entry))
    flaws = [*find_global_problems(entry, platforms), *find_account_problems(entry, platforms)]
    if flaws := [*flaws, *find_group_problems(entry)]:
        raise SettingsError(document.locate_problems(flaws))
    return Settings(
        workspace=workspace,
        timezone=ZoneInfo(entry.timezone),
        database=resolve_database_url(entry.database, workspace) or entry.database,
        environment=Environment(entry.environment),
        plan_days=entry.plan_days,
        days_kept=entry.days_kept,
        accounts={AccountId(item.id): _make_account(item, entry) for item in entry.account},
        regions=entry.region,
        groups={name: tuple(AccountId(member) for member in members) for name, members in entry.groups.items()},
        limits={Platform(name): LimitSettings(**item.model_dump()) for name, item in entry.limits.items()},
        secrets_dir=workspace / entry.secrets_dir if entry.secrets_dir else None,
        callbacks=CallbackSettings(listen=entry.callbacks.listen),
        audit=AuditSettings(checkpoint_file=entry.audit.checkpoint_file, syslog=entry.audit.syslog),
    )


def _make_account(item: AccountEntry, file: SettingsFile) -> Account:
    return Account(
        id=AccountId(item.id),
        platform=Platform(item.platform),
        identity=item.identity,
        secret=item.secret,
        region=RegionCode(item.region) if item.region else None,
        mode=Mode(item.mode),
        forum=item.forum,
        link_template=item.link_template,
        base_url=item.base_url.rstrip("/") if item.base_url else None,
        public_ip=item.public_ip or file.public_ip,
        has_accepted_risk=item.accept_risk,
        profile=item.profile,
        is_exclusive=item.exclusive,
        options=item.options,
    )
