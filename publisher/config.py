"""The operator's settings: publisher.toml, read once and immutable."""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from publisher.domain.account import (
    Account,
    AccountId,
    Mode,
    Platform,
    RateLimit,
    RegionCode,
    Timing,
)
from publisher.domain.addresses import (
    POSTGRES_SCHEMES,
    is_ip,
    is_link_template,
    is_listen_address,
    is_loopback,
    is_postgres_url,
    parse_host,
    split_host_port,
)
from publisher.domain.alert_classes import Audience
from publisher.domain.approval import (
    NO_APPROVALS,
    PRESET_CHAINS,
    ApprovalPreset,
    ApprovalRules,
    Stage,
)
from publisher.domain.errors import Problem, SettingsError
from publisher.runtime.shared_files import resolve_own_links
from publisher.settings_file import (
    AccountEntry,
    AlertsEntry,
    AuditEntry,
    CallbacksEntry,
    DashboardEntry,
    LimitEntry,
    SettingsFile,
    StageEntry,
)
from publisher.tomlfile.read import ReadLimits, TomlDocument, parse_toml, read_toml
from publisher.tomlfile.region_rows import REGIONS_FILE, read_regions
from publisher.tomlfile.validate import (
    KeyPath,
    UnlocatedProblem,
    find_placeholders,
    suggest_closest,
    validate_table,
)

SETTINGS_FILE, SCHEDULE_FILE, MEDIA_FOLDER = "publisher.toml", "schedule.toml", "media"


SETTINGS_READ_LIMITS = ReadLimits(max_bytes=2**20)


BEIJING_ZONE = "Asia/Shanghai"
BEIJING_NAME = re.compile(
    r"[\u4e00-\u9fff]|beijing|peking|china|shanghai|\bcst\b|\+0?8(:?00)?$",
    re.IGNORECASE,
)
"""Other names of Beijing's time, none of which is a time zone."""


MIN_ALERT_INTERVAL = timedelta(minutes=5)
"""The least time between two notices of one alert that the operator may choose."""


class Environment(StrEnum):
    LIVE = "live"
    DRILL = "drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An accepted publisher.toml. `database` is an absolute URL.

    It may contain a password, so the repr omits it. The platforms, and their requirements for
    accounts, are checked where adapters are loaded. `document` gives the lines.
    """

    workspace: Path
    timezone: ZoneInfo
    database: str = field(repr=False)
    environment: Environment = Environment.LIVE
    plan_days: int = 2
    days_kept: int = 400
    backup_max_age: timedelta = timedelta(hours=48)
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    limits: Mapping[Platform, LimitEntry] = field(default_factory=dict)
    staff_dir: Path | None = None
    secrets_dir: Path | None = None
    dashboard: DashboardEntry = field(default_factory=DashboardEntry)
    callbacks: CallbacksEntry = field(default_factory=CallbacksEntry)
    audit: AuditEntry = field(default_factory=AuditEntry)
    alerts: AlertsEntry = field(default_factory=AlertsEntry)
    approval_rules: ApprovalRules = NO_APPROVALS
    approve_days: int = 7
    users_needed: Problem | None = None
    """The problem to report where approvals are asked for and there are no users."""
    lang: Literal["zh_CN", "en"] = "zh_CN"
    document: TomlDocument | None = field(default=None, repr=False, compare=False)

    @property
    def staff_folder(self) -> Path:
        """The folder of the staff's files, the schedule and its pictures.

        By default it is the workspace itself.
        """
        return self.staff_dir or self.workspace

    @property
    def schedule_file(self) -> Path:
        return self.staff_folder / SCHEDULE_FILE

    def locate_problems(
        self, problems: Iterable[UnlocatedProblem]
    ) -> tuple[Problem, ...]:
        """Return problems with line and column, where the file is known."""
        if self.document is not None:
            return self.document.locate_problems(problems)
        return tuple(
            Problem(code=problem.code, facts=problem.facts) for problem in problems
        )


def suggest_timezone(name: str) -> str:
    """Return the most similar time zone; Beijing's for its other names, and for any other text.

    CST, Chinese words and offsets of eight hours are such names.
    """
    if BEIJING_NAME.search(name):
        return BEIJING_ZONE
    suggested = suggest_closest(name, available_timezones())
    return BEIJING_ZONE if "," in suggested else suggested


def find_global_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the problems of settings that concern all accounts."""
    try:
        ZoneInfo(file.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        choices = suggest_timezone(file.timezone)
        facts = {"value": file.timezone, "choices": choices}
        yield UnlocatedProblem(path=("timezone",), code="unknown_timezone", facts=facts)
    if resolve_database_url(file.database, Path("/")) is None:
        yield UnlocatedProblem(path=("database",), code="bad_database")
    yield from find_dashboard_problems(file.dashboard)
    if file.callbacks.listen is not None and not is_listen_address(
        file.callbacks.listen
    ):
        yield UnlocatedProblem(
            path=("callbacks", "listen"),
            code="bad_listen",
            facts={"value": file.callbacks.listen},
        )
    if file.public_ip and not is_ip(file.public_ip):
        yield UnlocatedProblem(
            path=("public_ip",), code="bad_ip", facts={"value": file.public_ip}
        )
    if file.backup_max_age == timedelta(0):
        yield UnlocatedProblem(
            path=("backup_max_age",), code="not_zero", facts={"key": "backup_max_age"}
        )
    yield from find_stage_problems(file)
    for platform, limits in file.limits.items():
        yield from find_limit_problems(platform, limits)


def find_staff_problems(
    file: SettingsFile, workspace: Path
) -> Iterator[UnlocatedProblem]:
    """Yield the problem of a staff's folder that holds, or lies in, a place staff may not write."""
    if file.staff_dir is None:
        return
    database = (resolve_database_url(file.database, workspace) or "").removeprefix(
        "sqlite:///"
    )
    kept = [
        "var",
        "templates",
        file.secrets_dir or None,
        file.dashboard.key,
        file.dashboard.certificate,
    ]
    kept += [
        file.audit.checkpoint_file,
        str(Path(database).parent) if database.startswith("/") else None,
    ]
    staff, own, *paths = (
        Path(os.path.realpath(workspace / name))
        for name in (file.staff_dir, "", *kept)
        if name is not None
    )
    overlaps = any(
        path == staff or path in staff.parents or staff in path.parents
        for path in paths
    )
    if staff != own and (overlaps or staff in own.parents):
        yield UnlocatedProblem(
            path=("staff_dir",), code="bad_staff_dir", facts={"value": file.staff_dir}
        )


def find_dashboard_problems(entry: DashboardEntry) -> Iterator[UnlocatedProblem]:
    """Yield the problems of the dashboard's address.

    A public address needs TLS, by files of ours or by a proxy.
    """
    if not is_listen_address(entry.listen):
        yield UnlocatedProblem(
            path=("dashboard", "listen"),
            code="bad_listen",
            facts={"value": entry.listen},
        )
    elif not is_loopback(split_host_port(entry.listen)[0]) and not entry.is_secure:
        yield UnlocatedProblem(
            path=("dashboard", "listen"),
            code="dashboard_unprotected",
            facts={"value": entry.listen},
        )
    if (entry.certificate is None) is not (entry.key is None):
        given = "key" if entry.certificate is None else "certificate"
        missing = "certificate" if entry.certificate is None else "key"
        yield UnlocatedProblem(
            path=("dashboard", given),
            code="dashboard_tls_incomplete",
            facts={"key": missing},
        )
    if entry.proxy is not None and not is_ip(entry.proxy):
        yield UnlocatedProblem(
            path=("dashboard", "proxy"),
            code="dashboard_bad_proxy",
            facts={"value": entry.proxy},
        )
    if entry.proxy is not None and entry.url is None:
        yield UnlocatedProblem(
            path=("dashboard", "proxy"), code="dashboard_proxy_without_url"
        )
    if entry.url is not None:
        host = parse_host(entry.url)
        if host is None or urlsplit(entry.url).path.strip("/"):
            yield UnlocatedProblem(
                path=("dashboard", "url"),
                code="dashboard_bad_url",
                facts={"value": entry.url},
            )
        elif (urlsplit(entry.url).scheme == "https") is not entry.is_secure:
            code = (
                "dashboard_url_needs_tls"
                if entry.url.startswith("https")
                else "dashboard_url_not_https"
            )
            yield UnlocatedProblem(
                path=("dashboard", "url"), code=code, facts={"value": entry.url}
            )


def find_stage_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the stages with the name of another stage of the same kind."""
    for kind, stages in file.approvals.items():
        names = [stage.stage for stage in stages]
        for index, name in enumerate(names):
            if name in names[:index]:
                path = ("approvals", kind, index, "stage")
                yield UnlocatedProblem(
                    path=path,
                    code="duplicate_stage",
                    facts={"stage": name, "kind": kind},
                )


def find_limit_problems(
    platform: str, limits: LimitEntry
) -> Iterator[UnlocatedProblem]:
    for name in (
        "request_timeout",
        "lease_timeout",
        "visibility_window",
        "first_check_after",
        "retry_first",
    ):
        if getattr(limits, name) == timedelta(0):
            yield UnlocatedProblem(
                path=("limits", platform, name), code="not_zero", facts={"key": name}
            )
    given = [
        (name, value)
        for name in ("request_timeout", "lease_timeout", "visibility_window")
        if (value := getattr(limits, name)) is not None
    ]
    for (shorter, lower), (longer, upper) in pairwise(given):
        if lower >= upper:
            facts = {"shorter": shorter, "longer": longer}
            yield UnlocatedProblem(
                path=("limits", platform, longer), code="wrong_order", facts=facts
            )
    if limits.per_hour and limits.per_day and limits.per_hour > limits.per_day:
        facts = {"shorter": "per_hour", "longer": "per_day"}
        yield UnlocatedProblem(
            path=("limits", platform, "per_hour"), code="hour_over_day", facts=facts
        )


def find_account_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the problems of each account.

    Accounts with one identity are found where adapters are loaded.
    """
    ids: dict[str, int] = {}
    for index, item in enumerate(file.account):
        path = ("account", index)
        if (first := ids.setdefault(item.id, index)) != index:
            facts, lines = {"account": item.id}, {"first": ("account", first, "id")}
            yield UnlocatedProblem(
                path=(*path, "id"),
                code="duplicate_account",
                facts=facts,
                line_facts=lines,
            )
        if item.region and item.region not in file.region:
            facts = {
                "value": item.region,
                "choices": suggest_closest(item.region, file.region),
            }
            yield UnlocatedProblem(
                path=(*path, "region"), code="unknown_region", facts=facts
            )
        if item.link_template is not None and not is_link_template(item.link_template):
            facts = {"account": item.id}
            yield UnlocatedProblem(
                path=(*path, "link_template"), code="bad_link_template", facts=facts
            )
        yield from find_address_problems(item, path, file)


def find_address_problems(
    item: AccountEntry, path: KeyPath, file: SettingsFile
) -> Iterator[UnlocatedProblem]:
    """Yield problems of the platform's address and of our public address."""
    facts, is_drill = {"account": item.id}, file.environment == "drill"
    code, host = None, parse_host(item.base_url) if item.base_url is not None else None
    if item.base_url is None:
        code = "drill_needs_base_url" if is_drill else None
    elif host is None:
        code = "bad_base_url"
    elif is_drill and not is_loopback(host):
        code = "drill_not_loopback"
    elif urlsplit(item.base_url).scheme != "https" and not is_loopback(host):
        code = "base_url_not_https"
    if code is not None:
        yield UnlocatedProblem(
            path=(*path, "base_url"),
            code=code,
            facts={**facts, "host": host} if host else facts,
        )
    if item.public_ip and not is_ip(item.public_ip):
        yield UnlocatedProblem(
            path=(*path, "public_ip"), code="bad_ip", facts={"value": item.public_ip}
        )


def find_group_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the problems of group names and group members."""
    accounts = [item.id for item in file.account]
    for name, members in file.groups.items():
        if name in accounts or name == "all" or ":" in name:
            yield UnlocatedProblem(
                path=("groups", name),
                code="bad_group_name",
                facts={"value": name},
                is_at_key=True,
            )
        counts = Counter(members)
        for position, member in enumerate(members):
            if member not in accounts:
                facts = {
                    "value": member,
                    "group": name,
                    "choices": suggest_closest(member, accounts),
                }
                yield UnlocatedProblem(
                    path=("groups", name, position), code="unknown_member", facts=facts
                )
            elif counts[member] > 1 and members.index(member) != position:
                facts = {"value": member, "group": name}
                yield UnlocatedProblem(
                    path=("groups", name, position),
                    code="duplicate_member",
                    facts=facts,
                )


def find_alert_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the problems of the alerts' channels: unknown ones, none at all, bad addresses."""
    alerts = file.alerts
    lists: dict[tuple[str, ...], list[str]] = {
        ("alerts", "first"): alerts.first,
        ("alerts", "second"): alerts.second,
        ("alerts", "checkpoints"): alerts.checkpoints,
    }
    lists |= {
        ("alerts", "routes", audience): getattr(alerts.routes, audience)
        for audience in Audience
    }
    for path, named in lists.items():
        for position, channel in enumerate(named):
            if channel not in alerts.channels:
                facts = {
                    "value": channel,
                    "choices": suggest_closest(channel, alerts.channels),
                }
                yield UnlocatedProblem(
                    path=(*path, position), code="unknown_channel", facts=facts
                )
    if alerts.channels and not alerts.first:
        yield UnlocatedProblem(
            path=("alerts", "channels"), code="no_first_channel", is_at_key=True
        )
    for name in ("escalate_after", "repeat_every"):
        if getattr(alerts, name) < MIN_ALERT_INTERVAL:
            facts = {
                "key": name,
                "minutes": str(MIN_ALERT_INTERVAL // timedelta(minutes=1)),
            }
            yield UnlocatedProblem(
                path=("alerts", name), code="alerts_too_often", facts=facts
            )
    for name in ("dashboard", "proxy"):
        url = getattr(alerts, name)
        if url is not None and parse_host(url) is None:
            yield UnlocatedProblem(
                path=("alerts", name),
                code="bad_alert_address",
                facts={"key": name, "value": url},
            )
    proxy_host = parse_host(alerts.proxy) if alerts.proxy else None
    if proxy_host and file.environment == "drill" and not is_loopback(proxy_host):
        yield UnlocatedProblem(
            path=("alerts", "proxy"),
            code="drill_proxy_not_loopback",
            facts={"host": proxy_host},
        )


async def load_settings(workspace: Path) -> Settings:
    """Read a workspace's publisher.toml. Raises SettingsError with every Problem."""

    def load() -> Settings:
        root = workspace.absolute()
        document = read_toml(root / SETTINGS_FILE, SETTINGS_READ_LIMITS, SettingsError)
        return _make_settings(document, root, read_regions(root / REGIONS_FILE))

    return await asyncio.to_thread(load)


def find_schedule_file(workspace: Path) -> Path:
    """Return where the schedule is, by settings that need not be right otherwise."""
    try:
        folder = read_toml(
            workspace / SETTINGS_FILE, SETTINGS_READ_LIMITS, SettingsError
        ).data.get("staff_dir")
    except SettingsError:
        folder = None
    return (
        Path(os.path.normpath(workspace / (folder if isinstance(folder, str) else "")))
        / SCHEDULE_FILE
    )


def load_database_settings(workspace: Path) -> Settings:
    """Read where the database is, from a publisher.toml that may have mistakes elsewhere.

    Raises SettingsError if it is no TOML, or has a mistake there.
    """
    data = read_toml(
        workspace / SETTINGS_FILE, SETTINGS_READ_LIMITS, SettingsError
    ).data
    lines = [
        f"{key} = {json.dumps(data[key])}"
        for key in ("environment", "timezone", "database")
        if isinstance(data.get(key), str)
    ]
    return parse_settings("\n".join(lines), workspace=workspace.absolute())


def parse_settings(
    text: str, *, workspace: Path, file: str = SETTINGS_FILE
) -> Settings:
    """Parse the text of a publisher.toml. Raises SettingsError."""
    return _make_settings(
        parse_toml(text, file, SETTINGS_READ_LIMITS, SettingsError), workspace
    )


def apply_overrides(
    rate_limit: RateLimit, timing: Timing, limits: LimitEntry
) -> tuple[RateLimit, Timing]:
    """Apply the operator's limits to an adapter's defaults.

    A lease timeout that is not set keeps its ratio to the request timeout, up to halfway between
    request timeout and visibility window. So if the request timeout is below the window, the order
    of the three stays valid.
    """
    given = limits.model_dump(exclude_none=True)
    rate_names = {"min_interval", "per_hour", "per_day"}
    rate_limit = replace(
        rate_limit,
        **{name: value for name, value in given.items() if name in rate_names},
    )
    result = replace(
        timing,
        **{name: value for name, value in given.items() if name not in rate_names},
    )
    if limits.lease_timeout is None and (
        limits.request_timeout or limits.visibility_window
    ):
        scaled = result.request_timeout * (
            timing.lease_timeout / timing.request_timeout
        )
        result = replace(
            result,
            lease_timeout=min(
                scaled, (result.request_timeout + result.visibility_window) / 2
            ),
        )
    return rate_limit, result


def _make_settings(
    document: TomlDocument,
    workspace: Path,
    regions: Mapping[str, Mapping[str, str]] | None = None,
) -> Settings:
    """Make the settings; a fact in publisher.toml replaces the same fact of `regions`."""
    entry = validate_table(SettingsFile, document.data)
    if isinstance(entry, list):
        raise SettingsError(document.locate_problems(entry))
    merged = {code: dict(facts) for code, facts in (regions or {}).items()}
    for code, facts in entry.region.items():
        merged[code] = {**merged.get(code, {}), **facts}
    entry = entry.model_copy(update={"region": merged})
    problems = [
        *find_global_problems(entry),
        *find_staff_problems(entry, workspace),
        *find_account_problems(entry),
        *find_group_problems(entry),
        *find_alert_problems(entry),
        *(
            found
            for found in find_placeholders(document.data)
            if found.code == "placeholder_left"
        ),
    ]
    if problems:
        raise SettingsError(document.locate_problems(problems))
    accounts = [
        Account(
            id=AccountId(item.id),
            platform=Platform(item.platform),
            identity=item.identity,
            secret=item.secret,
            region=RegionCode(item.region) if item.region else None,
            mode=Mode(item.mode),
            forum=item.forum,
            link_template=item.link_template,
            base_url=item.base_url.rstrip("/") if item.base_url else None,
            public_ip=item.public_ip or entry.public_ip,
            has_accepted_risk=item.has_accepted_risk,
            profile=item.profile,
            is_exclusive=item.exclusive,
            options=item.options,
        )
        for item in entry.account
    ]
    rules = make_approval_rules(entry)
    return Settings(
        workspace=workspace,
        timezone=ZoneInfo(entry.timezone),
        database=resolve_database_url(entry.database, workspace) or entry.database,
        environment=Environment(entry.environment),
        plan_days=entry.plan_days,
        days_kept=entry.days_kept,
        backup_max_age=entry.backup_max_age,
        accounts={account.id: account for account in accounts},
        regions=entry.region,
        groups={
            name: tuple(AccountId(member) for member in members)
            for name, members in entry.groups.items()
        },
        limits={Platform(name): item for name, item in entry.limits.items()},
        staff_dir=Path(os.path.normpath(workspace / entry.staff_dir))
        if entry.staff_dir
        else None,
        secrets_dir=workspace / entry.secrets_dir if entry.secrets_dir else None,
        dashboard=entry.dashboard,
        callbacks=entry.callbacks,
        audit=entry.audit,
        alerts=entry.alerts,
        approval_rules=rules,
        approve_days=entry.approve_days,
        users_needed=document.locate_problems([find_missing_users(entry)])[0]
        if rules.is_active
        else None,
        document=document,
    )


def make_approval_rules(file: SettingsFile) -> ApprovalRules:
    """Return the chains of a file: its kinds' own, and for all others the preset's."""

    def make_stage(item: StageEntry) -> Stage:
        return Stage(
            name=item.stage,
            role=item.role,
            people=item.people,
            includes_proofreading=item.proofread,
        )

    return ApprovalRules(
        default=PRESET_CHAINS[ApprovalPreset(file.approval_preset)],
        by_kind={
            kind.value: tuple(map(make_stage, stages))
            for kind, stages in file.approvals.items()
        },
    )


def find_missing_users(file: SettingsFile) -> UnlocatedProblem:
    """Return the problem that nobody could approve, at the setting that asks for it."""
    kind = next((kind for kind, stages in file.approvals.items() if stages), None)
    path: KeyPath = ("approvals", kind) if kind else ("approval_preset",)
    return UnlocatedProblem(path=path, code="approvals_need_users", is_at_key=True)


def resolve_database_url(url: str, workspace: Path) -> str | None:
    """Return the URL with an absolute SQLite path; None if it is no valid database URL.

    Links are resolved, so that one file has one name: its lock, journal and call record are named
    after it. A link that another user may have put in the file's place is not resolved. The code
    that opens the database refuses it.
    """
    if url.startswith(POSTGRES_SCHEMES):
        return url if is_postgres_url(url) else None
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith((":memory:", "file:")):
        return None
    return f"sqlite:///{resolve_own_links(workspace / path)}"
