"""From publisher.toml to Settings, or to all its Problems at once."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from publisher.domain.account import Account, AccountId, Mode, Platform, RegionCode
from publisher.domain.errors import SettingsError
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota
from publisher.settings.addresses import database_of
from publisher.settings.entries import AccountEntry, SettingsFile
from publisher.settings.model import AuditSettings, CallbackSettings, Environment, LimitSettings, Settings
from publisher.settings.rules import BUILT_IN, account_flaws, general_flaws, group_flaws
from publisher.tomlfile import Limits, TomlFile, check, parse_toml, read_toml

FILE = "publisher.toml"
SETTINGS_LIMITS = Limits(size=2**20)


async def load_settings(workspace: Path) -> Settings:
    """Read a workspace's publisher.toml. Raises SettingsError with every Problem."""
    return await asyncio.to_thread(_load, workspace)


def parse_settings(text: str, *, workspace: Path, file: str = FILE, platforms: Collection[str] = BUILT_IN) -> Settings:
    """Read the text of a publisher.toml; `platforms` are those with an adapter. Raises SettingsError."""
    return _settings(parse_toml(text, file, SETTINGS_LIMITS, SettingsError), workspace, platforms)


def overlay(quota: Quota, patience: Patience, limits: LimitSettings) -> tuple[Quota, Patience]:
    """Put the operator's limits over an adapter's defaults.

    A lease timeout that is not given keeps its share of the request timeout, and never reaches more than halfway to
    the visibility window: with the first under the last, the order of the three stays.
    """
    quota = replace(quota, **_given(limits, "min_interval", "per_hour", "per_day"))
    wanted = replace(
        patience,
        **_given(
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
        share = wanted.request_timeout * (patience.lease_timeout / patience.request_timeout)
        wanted = replace(wanted, lease_timeout=min(share, (wanted.request_timeout + wanted.visibility_window) / 2))
    return quota, wanted


def _given(limits: LimitSettings, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(limits, name)) is not None}


def _load(workspace: Path) -> Settings:
    workspace = workspace.absolute()
    toml = read_toml(workspace / FILE, SETTINGS_LIMITS, SettingsError)
    installed = {entry.name for entry in entry_points(group="publisher.adapters")}
    return _settings(toml, workspace, BUILT_IN | installed)


def _settings(toml: TomlFile, workspace: Path, platforms: Collection[str]) -> Settings:
    entry = check(SettingsFile, toml.data)
    if isinstance(entry, list):
        raise SettingsError(toml.problems(entry))
    flaws = [*general_flaws(entry, platforms), *account_flaws(entry, platforms)]
    if flaws := [*flaws, *group_flaws(entry)]:
        raise SettingsError(toml.problems(flaws))
    return Settings(
        workspace=workspace,
        timezone=ZoneInfo(entry.timezone),
        database=database_of(entry.database, workspace) or entry.database,
        environment=Environment(entry.environment),
        plan_days=entry.plan_days,
        days_kept=entry.days_kept,
        accounts={AccountId(item.id): _account(item, entry) for item in entry.account},
        regions=entry.region,
        groups={name: tuple(AccountId(member) for member in members) for name, members in entry.groups.items()},
        limits={Platform(name): LimitSettings(**item.model_dump()) for name, item in entry.limits.items()},
        secrets_dir=workspace / entry.secrets_dir if entry.secrets_dir else None,
        callbacks=CallbackSettings(listen=entry.callbacks.listen),
        audit=AuditSettings(checkpoint_file=entry.audit.checkpoint_file, syslog=entry.audit.syslog),
    )


def _account(item: AccountEntry, file: SettingsFile) -> Account:
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
