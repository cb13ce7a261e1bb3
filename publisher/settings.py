"""What the operator decides: publisher.toml, read once and frozen."""

import asyncio
import ipaddress
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from publisher.domain.account import Account, AccountId, Mode, Platform, RegionCode
from publisher.domain.errors import SettingsError
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota
from publisher.tomlfile import (
    Duration,
    Flaw,
    Identifier,
    Limits,
    Line,
    Table,
    TomlFile,
    check,
    close_to,
    parse_toml,
    read_toml,
)

FILE = "publisher.toml"
BUILT_IN: frozenset[str] = frozenset({"weibo", "wechat", "tieba", "webhook"})
WEIBO_PROFILES = ("share", "update", "biz")
"""The sets of calls that Weibo grants; a profile of another platform is its adapter's own matter."""
SETTINGS_LIMITS = Limits(size=2**20)
DEFAULT_DATABASE = "sqlite:///var/publisher.db"
MARKER_BLANK = "{marker}"
"""Where a safe link takes the marker."""


class Environment(StrEnum):
    LIVE = "live"
    DRILL = "drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What the operator sets instead of an adapter's defaults; None leaves the default."""

    gap: timedelta | None = None
    per_hour: int | None = None
    per_day: int | None = None
    deadline: timedelta | None = None
    lease: timedelta | None = None
    settle: timedelta | None = None
    look_first: timedelta | None = None
    retry_first: timedelta | None = None
    clock_margin: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """Where platforms' messages are listened for, as `host:port`; None for nowhere."""

    listen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Whom the audit's head is mailed to, and by which server, `host:port`; `secret` names that of its login."""

    to: str
    sender: str
    server: str
    user: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Where the audit's head is written down: a file, as a path from the workspace, and maybe system log and mail."""

    anchors: str = "var/audit-anchors.log"
    syslog: bool = False
    mail: MailSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An accepted publisher.toml. `database` is an absolute URL and may carry a password, so it is not shown."""

    workspace: Path
    timezone: ZoneInfo
    database: str = field(repr=False)
    environment: Environment = Environment.LIVE
    days_ahead: int = 2
    accounts: Mapping[AccountId, Account] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    groups: Mapping[str, tuple[AccountId, ...]] = field(default_factory=dict)
    limits: Mapping[Platform, LimitSettings] = field(default_factory=dict)
    secrets_dir: Path | None = None
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    lang: Literal["zh_CN", "en"] = "zh_CN"


def _read_secret_name(value: object) -> str:
    """Take the name of a secret. What else stands there may be the secret itself, and is repeated nowhere."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", value):
        raise PydanticCustomError("not_a_secret_name", "")
    return value


SecretName = Annotated[
    str, PlainValidator(_read_secret_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,80}$"})
]


_SERVERS = ("postgresql://", "postgresql+psycopg://")
_SERVER = re.compile(r"[^:]+://([^@]*@)?(\[[^\]@]*\]|[^@:/?\[\]]*)(:\d+)?([/?].*)?")
"""What is read as host or port may be named in errors, and must not be a part of the password."""
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


class AccountEntry(Table):
    id: Identifier = Field(description="账号代号，全文件唯一；字母、数字、- 和 _，最多 80 个字符")
    platform: Line = Field(description="平台：weibo、wechat、tieba、webhook，或已安装的其他适配器的名称")
    identity: Line = Field(description="平台上的身份：微博 uid、公众号 AppID、贴吧 portrait 或用户名")
    secret: SecretName = Field(description="密钥的名称（不是密钥本身）；同平台同名的账号共用一个登录和一份额度")
    region: Line | None = Field(default=None, description="所属地区的代码，须在 [region.代码] 中写明")
    mode: Literal["api", "assisted", "off"] = Field(
        default="api", description="api 自动发布；assisted 人工代发，publisher 备稿并核实；off 停用"
    )
    forum: Line | None = Field(default=None, description="贴吧的吧名，不带“吧”字；仅贴吧账号使用")
    accept_risk: bool = Field(default=False, description="贴吧没有官方发帖接口；自动发布须由运营方确认风险")
    safe_link: Line | None = Field(default=None, description="微博分享接口要求的安全域名链接，须含 {marker}")
    base_url: Line | None = Field(default=None, description="替换该平台全部地址：演练模拟器或代理")
    public_ip: Line | None = Field(default=None, description="本账号对外的公网 IPv4；默认用全局的 public_ip")
    profile: Line | None = Field(
        default=None,
        description="平台授予本登录的接口。微博：share（默认）、update、biz；"
        "微信：publish（默认，不通知关注者）、mass（紧急内容群发）",
    )
    exclusive: bool = Field(default=False, description="本账号只由 publisher 发布；出现别的帖子就告警")
    options: dict[str, Line] = Field(default_factory=dict, description="某个适配器自己的选项，见该适配器的说明")


Positive = Annotated[int, Field(ge=1)]


class LimitEntry(Table):
    gap: Duration | None = Field(default=None, description="同一登录两次发布的最短间隔")
    per_hour: Positive | None = Field(default=None, description="任意一小时内最多发布几条")
    per_day: Positive | None = Field(default=None, description="任意一天内最多发布几条")
    deadline: Duration | None = Field(default=None, description="一次调用最长多久")
    lease: Duration | None = Field(default=None, description="一次任务的占用时间；须大于 deadline、小于 settle")
    settle: Duration | None = Field(default=None, description="多久之后平台的结果一定可见")
    look_first: Duration | None = Field(default=None, description="结果不明时，第一次回查前等多久")
    retry_first: Duration | None = Field(default=None, description="第一次重试前等多久")
    clock_margin: Duration | None = Field(default=None, description="本机与平台时钟的最大误差")


class DashboardEntry(Table):
    listen: Line = Field(default="127.0.0.1:8700", description="监听地址，写成 地址:端口")


class CallbacksEntry(Table):
    listen: Line | None = Field(
        default=None, description="监听地址，写成 地址:端口，如 127.0.0.1:8701；不写就不接收。须由反向代理从公网转来"
    )


class MailEntry(Table):
    to: Line = Field(description="收件人，一个邮箱地址；收件人应当动不了数据库")
    sender: Line = Field(alias="from", description="发件人的邮箱地址")
    server: Line = Field(description="邮件服务器，写成 地址:端口；465 用 TLS，其他端口用 STARTTLS，都验证证书")
    user: Line | None = Field(default=None, description="登录名；不需要登录的服务器不写")
    secret: SecretName | None = Field(
        default=None, description="登录密码的密钥名称（不是密码本身），内容的字段是 password"
    )


class AuditEntry(Table):
    anchors: Line = Field(
        default=AuditSettings().anchors, description="审计锚点文件；路径从工作区算起，最好放在另一块盘或只能追加的地方"
    )
    syslog: bool = Field(default=False, description="锚点同时写入系统日志（/dev/log），便于转到另一台主机保存")
    mail: MailEntry | None = Field(default=None, description="锚点每天用邮件发出一次（有新记录时）；不写就不发")


class SettingsFile(Table):
    environment: Literal["live", "drill"] = Field(
        default="live", description="live 正式；drill 演练，只能连接本机的模拟器"
    )
    timezone: Line = Field(default="Asia/Shanghai", description="时区；文件中不带时差的时间都按它理解")
    database: Line = Field(default=DEFAULT_DATABASE, description="数据库：sqlite:///路径 或 postgresql://…")
    days_ahead: Annotated[int, Field(ge=1, le=366)] = Field(default=2, description="提前几天把要发的内容登记入库")
    secrets_dir: Line | None = Field(default=None, description="存放密钥文件的文件夹，一个密钥一个文件")
    public_ip: Line | None = Field(default=None, description="本机对外的公网 IPv4；正式环境的微博账号必需")
    dashboard: DashboardEntry = Field(default_factory=DashboardEntry, description="管理页面")
    callbacks: CallbacksEntry = Field(
        default_factory=CallbacksEntry, description="接收平台的事件推送（微信），让审核结果早几分钟知道"
    )
    audit: AuditEntry = Field(default_factory=AuditEntry, description="审计链的锚点写到哪里")
    approvals: dict[str, list[dict[str, Any]]] = Field(default_factory=dict, description="审批环节；本版本尚不支持")
    limits: dict[str, LimitEntry] = Field(default_factory=dict, description="按平台的限额和等待时间")
    region: dict[str, dict[str, str]] = Field(default_factory=dict, description="地区资料，供模板使用；键可自定")
    groups: dict[str, list[Line]] = Field(default_factory=dict, description="账号分组")
    account: list[AccountEntry] = Field(default_factory=list, description="账号")


async def load_settings(workspace: Path) -> Settings:
    """Read a workspace's publisher.toml. Raises SettingsError with every Problem."""
    return await asyncio.to_thread(_load, workspace)


def parse_settings(text: str, *, workspace: Path, file: str = FILE, platforms: Collection[str] = BUILT_IN) -> Settings:
    """Read the text of a publisher.toml; `platforms` are those with an adapter. Raises SettingsError."""
    return _settings(parse_toml(text, file, SETTINGS_LIMITS, SettingsError), workspace, platforms)


def settings_schema() -> dict[str, Any]:
    """Describe publisher.toml as a JSON Schema, for editors."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", **SettingsFile.model_json_schema()}


def overlay(quota: Quota, patience: Patience, limits: LimitSettings) -> tuple[Quota, Patience]:
    """Put the operator's limits over an adapter's defaults.

    A lease that is not given keeps its share of the deadline, and never reaches more than halfway to the settle time:
    with deadline < settle the order deadline < lease < settle stays.
    """
    quota = replace(quota, **_given(limits, "gap", "per_hour", "per_day"))
    wanted = replace(
        patience, **_given(limits, "deadline", "lease", "settle", "look_first", "retry_first", "clock_margin")
    )
    if limits.lease is None and (limits.deadline or limits.settle):
        share = wanted.deadline * (patience.lease / patience.deadline)
        wanted = replace(wanted, lease=min(share, (wanted.deadline + wanted.settle) / 2))
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
    flaws = [*_general_flaws(entry, platforms), *_mail_flaws(entry), *_account_flaws(entry, platforms)]
    if flaws := [*flaws, *_group_flaws(entry)]:
        raise SettingsError(toml.problems(flaws))
    return Settings(
        workspace=workspace,
        timezone=ZoneInfo(entry.timezone),
        database=_database(entry.database, workspace) or entry.database,
        environment=Environment(entry.environment),
        days_ahead=entry.days_ahead,
        accounts={AccountId(item.id): _account(item, entry) for item in entry.account},
        regions=entry.region,
        groups={name: tuple(AccountId(member) for member in members) for name, members in entry.groups.items()},
        limits={Platform(name): LimitSettings(**item.model_dump()) for name, item in entry.limits.items()},
        secrets_dir=workspace / entry.secrets_dir if entry.secrets_dir else None,
        callbacks=CallbackSettings(listen=entry.callbacks.listen),
        audit=AuditSettings(anchors=entry.audit.anchors, syslog=entry.audit.syslog, mail=_mail(entry.audit.mail)),
    )


def _mail(entry: MailEntry | None) -> MailSettings | None:
    return MailSettings(**entry.model_dump()) if entry else None


def _account(item: AccountEntry, file: SettingsFile) -> Account:
    return Account(
        id=AccountId(item.id),
        platform=Platform(item.platform),
        identity=item.identity,
        secret=item.secret,
        region=RegionCode(item.region) if item.region else None,
        mode=Mode(item.mode),
        forum=item.forum,
        safe_link=item.safe_link,
        base_url=item.base_url.rstrip("/") if item.base_url else None,
        public_ip=item.public_ip or file.public_ip,
        has_accepted_risk=item.accept_risk,
        profile=item.profile,
        is_exclusive=item.exclusive,
        options=item.options,
    )


def _general_flaws(file: SettingsFile, platforms: Collection[str]) -> Iterator[Flaw]:
    if not _is_zone(file.timezone):
        facts = {"value": file.timezone, "choices": close_to(file.timezone, ["Asia/Shanghai", *available_timezones()])}
        yield Flaw(loc=("timezone",), code="unknown_timezone", facts=facts)
    if _database(file.database, Path("/")) is None:
        yield Flaw(loc=("database",), code="bad_database")
    if not _is_address(file.dashboard.listen):
        yield Flaw(loc=("dashboard", "listen"), code="bad_listen", facts={"value": file.dashboard.listen})
    if file.callbacks.listen is not None and not _is_address(file.callbacks.listen):
        yield Flaw(loc=("callbacks", "listen"), code="bad_listen", facts={"value": file.callbacks.listen})
    if file.public_ip and not _is_ip(file.public_ip):
        yield Flaw(loc=("public_ip",), code="bad_ip", facts={"value": file.public_ip})
    for kind, stages in file.approvals.items():
        if stages:
            yield Flaw(loc=("approvals", kind), code="approvals_not_available", facts={"kind": kind})
    for platform, limits in file.limits.items():
        if platform not in platforms:
            facts = {"value": platform, "choices": close_to(platform, sorted(platforms))}
            yield Flaw(loc=("limits", platform), code="unknown_platform", facts=facts, at_key=True)
        yield from _limit_flaws(platform, limits)


def _mail_flaws(file: SettingsFile) -> Iterator[Flaw]:
    here, mail = ("audit", "mail"), file.audit.mail
    if mail is None:
        return
    for key, address in (("to", mail.to), ("from", mail.sender)):
        if not _MAILBOX.fullmatch(address):
            yield Flaw(loc=(*here, key), code="bad_mailbox", facts={"value": address})
    if not _is_address(mail.server):
        yield Flaw(loc=(*here, "server"), code="bad_mail_server")
    elif file.environment == "drill" and not is_loopback(host_and_port(mail.server)[0]):
        yield Flaw(loc=(*here, "server"), code="drill_mail_not_loopback", facts={"value": mail.server})
    if (mail.user is None) != (mail.secret is None):
        yield Flaw(loc=(*here, "user" if mail.secret is None else "secret"), code="half_a_mail_login", at_key=True)


def _limit_flaws(platform: str, limits: LimitEntry) -> Iterator[Flaw]:
    for name in ("deadline", "lease", "settle", "look_first", "retry_first"):
        if getattr(limits, name) == timedelta(0):
            yield Flaw(loc=("limits", platform, name), code="not_zero", facts={"key": name})
    given = [(name, value) for name in ("deadline", "lease", "settle") if (value := getattr(limits, name)) is not None]
    for (shorter, least), (longer, most) in pairwise(given):
        if least >= most:
            facts = {"shorter": shorter, "longer": longer}
            yield Flaw(loc=("limits", platform, longer), code="wrong_order", facts=facts)
    if limits.per_hour and limits.per_day and limits.per_hour > limits.per_day:
        facts = {"shorter": "per_hour", "longer": "per_day"}
        yield Flaw(loc=("limits", platform, "per_hour"), code="hour_over_day", facts=facts)


def _account_flaws(file: SettingsFile, platforms: Collection[str]) -> Iterator[Flaw]:
    ids: dict[str, int] = {}
    voices: dict[tuple[str, str, str | None], int] = {}
    for index, item in enumerate(file.account):
        here = ("account", index)
        if (first := ids.setdefault(item.id, index)) != index:
            lines = {"first": ("account", first, "id")}
            yield Flaw(loc=(*here, "id"), code="double_account", facts={"account": item.id}, lines=lines)
        voice = (item.platform, item.identity, item.forum)
        if (first := voices.setdefault(voice, index)) != index:
            facts = {"account": item.id, "other": file.account[first].id}
            lines = {"first": ("account", first, "identity")}
            yield Flaw(loc=(*here, "identity"), code="same_identity", facts=facts, lines=lines)
        if item.platform not in platforms:
            facts = {"value": item.platform, "choices": close_to(item.platform, sorted(platforms))}
            yield Flaw(loc=(*here, "platform"), code="unknown_platform", facts=facts)
        if item.region and item.region not in file.region:
            facts = {"value": item.region, "choices": close_to(item.region, file.region)}
            yield Flaw(loc=(*here, "region"), code="unknown_region", facts=facts)
        yield from _mode_flaws(item, index)
        yield from _address_flaws(item, index, is_drill=file.environment == "drill")
        yield from _public_ip_flaws(item, index, file)


def _mode_flaws(item: AccountEntry, index: int) -> Iterator[Flaw]:
    facts = {"account": item.id}
    if item.forum and item.platform in BUILT_IN - {"tieba"}:
        yield Flaw(loc=("account", index, "forum"), code="forum_only_on_tieba", facts=facts, at_key=True)
    if item.safe_link is not None and not _is_safe_link(item.safe_link):
        yield Flaw(loc=("account", index, "safe_link"), code="bad_safe_link", facts=facts)
    if item.platform == "weibo" and item.profile not in {None, *WEIBO_PROFILES}:
        choices = {"value": item.profile or "", "choices": ", ".join(WEIBO_PROFILES)}
        yield Flaw(loc=("account", index, "profile"), code="weibo_profile_unknown", facts={**facts, **choices})
    if item.mode != "off" and item.platform == "tieba" and not item.forum:
        yield Flaw(loc=("account", index, "forum"), code="forum_missing", facts=facts)
    if item.mode == "api":
        platform, profile = Platform(item.platform), item.profile
        for key, code in _lacks(platform, profile, has_accepted_risk=item.accept_risk, safe_link=item.safe_link):
            yield Flaw(loc=("account", index, key), code=code, facts=facts)


def why_not_api(account: Account) -> str | None:
    """Give the code of what the settings of an account lack for automatic posting; None where nothing is missing."""
    lacks = _lacks(
        account.platform, account.profile, has_accepted_risk=account.has_accepted_risk, safe_link=account.safe_link
    )
    return next((code for _key, code in lacks), None)


def _lacks(
    platform: Platform, profile: str | None, *, has_accepted_risk: bool, safe_link: str | None
) -> Iterator[tuple[str, str]]:
    if platform == "tieba" and not has_accepted_risk:
        yield "accept_risk", "risk_not_accepted"
    if platform == "weibo" and profile in {None, "share"} and safe_link is None:
        yield "safe_link", "safe_link_missing"


def _address_flaws(item: AccountEntry, index: int, *, is_drill: bool) -> Iterator[Flaw]:
    facts = {"account": item.id}
    if item.base_url is None:
        if is_drill:
            yield Flaw(loc=("account", index, "base_url"), code="drill_needs_base_url", facts=facts)
    elif (host := _host(item.base_url)) is None:
        yield Flaw(loc=("account", index, "base_url"), code="bad_base_url", facts=facts)
    elif is_drill and not is_loopback(host):
        yield Flaw(loc=("account", index, "base_url"), code="drill_not_loopback", facts={**facts, "host": host})
    elif urlsplit(item.base_url).scheme != "https" and not is_loopback(host):
        yield Flaw(loc=("account", index, "base_url"), code="base_url_in_clear", facts={**facts, "host": host})


def _public_ip_flaws(item: AccountEntry, index: int, file: SettingsFile) -> Iterator[Flaw]:
    """Name an address that is none, or that Weibo would not take in earnest: it wants a public IPv4."""
    address = item.public_ip or file.public_ip
    if item.public_ip and not _is_ip(item.public_ip):
        yield Flaw(loc=("account", index, "public_ip"), code="bad_ip", facts={"value": item.public_ip})
    elif address and _is_ip(address) and not _is_public_ipv4(address):
        loc = ("account", index, "public_ip") if item.public_ip else ("public_ip",)
        if file.environment == "live" and item.platform == "weibo" and item.mode == "api":
            yield Flaw(loc=loc, code="ip_not_public", facts={"value": address, "account": item.id})


def _group_flaws(file: SettingsFile) -> Iterator[Flaw]:
    accounts = [item.id for item in file.account]
    for name, members in file.groups.items():
        if name in accounts or name == "all" or ":" in name:
            yield Flaw(loc=("groups", name), code="bad_group_name", facts={"value": name}, at_key=True)
        counts = Counter(members)
        for position, member in enumerate(members):
            if member not in accounts:
                facts = {"value": member, "group": name, "choices": close_to(member, accounts)}
                yield Flaw(loc=("groups", name, position), code="unknown_member", facts=facts)
            elif counts[member] > 1 and members.index(member) != position:
                facts = {"value": member, "group": name}
                yield Flaw(loc=("groups", name, position), code="double_member", facts=facts)


def _database(url: str, workspace: Path) -> str | None:
    """Make the path of an SQLite URL absolute; None for what is no database of ours."""
    if url.startswith(_SERVERS):
        return url if is_server(url) else None
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith((":memory:", "file:")):
        return None
    return f"sqlite:///{workspace / path}"


def is_server(url: str) -> bool:
    """Whether this is a PostgreSQL address, spelled so that nothing of its password is taken for host or port."""
    return url.startswith(_SERVERS) and _SERVER.fullmatch(url) is not None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _is_safe_link(link: str) -> bool:
    return link.count(MARKER_BLANK) == 1 and _split_host(link.replace(MARKER_BLANK, "K7QM-4R2T")) is not None


def _host(url: str) -> str | None:
    """Give the host of an address that can stand in front of a path, or None."""
    return None if set("?#@{} ") & set(url) else _split_host(url)


def _split_host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        has_sound_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} and has_sound_port else None


def host_and_port(address: str) -> tuple[str, int]:
    """Part an accepted `host:port`."""
    parts = urlsplit(f"//{address}")
    return str(parts.hostname), int(parts.port or 0)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_public_ipv4(value: str) -> bool:
    address = ipaddress.ip_address(value)
    return address.version == 4 and address.is_global


def _is_address(listen: str) -> bool:
    try:
        parts = urlsplit(f"//{listen}")
        return bool(parts.hostname) and parts.port is not None and parts.netloc == listen and "@" not in listen
    except ValueError:
        return False
