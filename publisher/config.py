"""The operator's settings: publisher.toml, read once and immutable."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

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
from publisher.domain.approval import (
    NO_APPROVALS,
    PRESET_CHAINS,
    ApprovalPreset,
    ApprovalRules,
    Stage,
)
from publisher.domain.errors import Problem, SettingsError
from publisher.domain.kinds import PostKind
from publisher.runtime.shared_files import resolve_own_links
from publisher.tomlfile.read import ReadLimits, TomlDocument, parse_toml, read_toml
from publisher.tomlfile.validate import (
    DurationValue,
    Identifier,
    KeyPath,
    SingleLine,
    StrictModel,
    UnlocatedProblem,
    find_placeholders,
    suggest_closest,
    validate_table,
)

SETTINGS_FILE, SCHEDULE_FILE, MEDIA_FOLDER = "publisher.toml", "schedule.toml", "media"
SETTINGS_READ_LIMITS = ReadLimits(max_bytes=2**20)
DEFAULT_DATABASE = "sqlite:///var/publisher.db"
MIN_ALERT_INTERVAL = timedelta(minutes=5)
"""The least time between two notices of one alert that the operator may choose."""


def parse_secret_name(value: object) -> str:
    """Validate the name of a secret.

    The error omits the value, as that may be the secret itself.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", value):
        raise PydanticCustomError("not_a_secret_name", "")
    return value


SecretName = Annotated[
    str,
    PlainValidator(parse_secret_name),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,80}$"}),
]


class AccountEntry(StrictModel):
    id: Identifier = Field(
        description="账号代号，全文件唯一；字母、数字、- 和 _，最多 80 个字符"
    )
    platform: SingleLine = Field(description="平台：自带的或已安装的适配器的名称")
    identity: SingleLine = Field(
        description="平台上的身份，如用户编号、AppID、用户名，见该平台的说明"
    )
    secret: SecretName = Field(
        description="密钥的名称（不是密钥本身）；同平台同名的账号共用一个登录和一份额度"
    )
    region: SingleLine | None = Field(
        default=None, description="所属地区的代码，须在 [region.代码] 中写明"
    )
    mode: Literal["api", "assisted", "off"] = Field(
        default="api",
        description="api 自动发布；assisted 人工代发，publisher 备稿并核实；off 停用",
    )
    forum: SingleLine | None = Field(
        default=None, description="平台分版块的，发在哪个版块；别的平台不写"
    )
    has_accepted_risk: bool = Field(
        default=False,
        alias="accept_risk",
        description="平台没有官方发布接口的，自动发布须由运营方确认风险",
    )
    link_template: SingleLine | None = Field(
        default=None,
        description="正文所带链接的样式，须含 {marker}；有的平台要求它在安全域名之下",
    )
    base_url: SingleLine | None = Field(
        default=None, description="替换该平台全部地址：演练模拟器或代理"
    )
    public_ip: SingleLine | None = Field(
        default=None, description="本账号对外的公网 IPv4；默认用全局的 public_ip"
    )
    profile: SingleLine | None = Field(
        default=None,
        description="平台授予本登录的接口，见该平台的说明",
    )
    exclusive: bool = Field(
        default=False, description="本账号只由 publisher 发布；出现别的内容就告警"
    )
    options: dict[str, SingleLine] = Field(
        default_factory=dict, description="某个适配器自己的选项，见该适配器的说明"
    )


PositiveInt = Annotated[int, Field(ge=1)]


class LimitEntry(StrictModel):
    # None keeps the adapter's default.
    min_interval: DurationValue | None = Field(
        default=None, description="同一登录两次发布的最短间隔"
    )
    per_hour: PositiveInt | None = Field(
        default=None, description="任意一小时内最多发布几条"
    )
    per_day: PositiveInt | None = Field(
        default=None, description="任意一天内最多发布几条"
    )
    request_timeout: DurationValue | None = Field(
        default=None, description="一次调用最长多久"
    )
    lease_timeout: DurationValue | None = Field(
        default=None,
        description="一次任务的占用时间；须大于 request_timeout、小于 visibility_window",
    )
    visibility_window: DurationValue | None = Field(
        default=None, description="多久之后平台的结果一定可见"
    )
    review_window: DurationValue | None = Field(
        default=None, description="平台审核最长会把内容藏多久；结果不明时，过了它才再发"
    )
    first_check_after: DurationValue | None = Field(
        default=None, description="结果不明时，第一次回查前等多久"
    )
    retry_first: DurationValue | None = Field(
        default=None, description="第一次重试前等多久"
    )
    platform_clock_tolerance: DurationValue | None = Field(
        default=None, description="本机与平台时钟的最大误差"
    )


class DashboardEntry(StrictModel):
    enabled: bool = Field(
        default=True,
        description="run 是否一起启动管理页面；别的主机已经有一个，或由自己的服务运行的，写 false",
    )
    listen: SingleLine = Field(
        default="127.0.0.1:8700",
        description="监听地址，写成 地址:端口；不是本机地址的，须写明 certificate 和 key，或 proxy",
    )
    certificate: SingleLine | None = Field(
        default=None,
        description="TLS 证书文件（PEM，含中间证书）；路径从工作区算起，与 key 一起写",
    )
    key: SingleLine | None = Field(
        default=None, description="TLS 私钥文件（PEM）；路径从工作区算起"
    )
    proxy: SingleLine | None = Field(
        default=None,
        description="反向代理的 IP 地址：由它提供 TLS，只相信它转来的客户端地址；须写明 url",
    )
    url: SingleLine | None = Field(
        default=None,
        description="大家打开管理页面用的网址，如 https://fabu.example.gov.cn；不写就按监听地址",
    )

    @property
    def is_secure(self) -> bool:
        """True if people reach the pages by TLS."""
        return self.certificate is not None or self.proxy is not None

    @property
    def address(self) -> str:
        """Return the address of the pages for people, without a slash at its end."""
        if self.url is not None:
            return self.url.rstrip("/")
        return f"{'https' if self.is_secure else 'http'}://{self.listen}"


class CallbacksEntry(StrictModel):
    listen: SingleLine | None = Field(
        default=None,
        description=(
            "监听地址，写成 地址:端口，如 127.0.0.1:8701；不写就不接收。须由反向代理从公网转来"
        ),
    )


class AuditEntry(StrictModel):
    checkpoint_file: SingleLine = Field(
        default="var/audit-anchors.log",
        description="审计锚点文件；路径从工作区算起，最好放在另一块盘或只能追加的地方",
    )
    syslog: bool = Field(
        default=False,
        description="锚点同时写入系统日志（/dev/log），便于转到另一台主机保存",
    )


class AlertsEntry(StrictModel):
    channels: dict[Identifier, SecretName] = Field(
        default_factory=dict,
        description="通道：名称 = 密钥的名称；密钥的 url 一项是通道的地址（也是密钥）",
    )
    first: list[SingleLine] = Field(
        default_factory=list, description="先通知的通道；有通道就必须写"
    )
    second: list[SingleLine] = Field(
        default_factory=list, description="没有人确认时，再通知的通道"
    )
    checkpoints: list[SingleLine] = Field(
        default_factory=list, description="每天把审计锚点发到的通道，一般是外单位的邮箱"
    )
    escalate_after: DurationValue = Field(
        default=timedelta(minutes=15),
        description="提醒多久没有人确认（alerts dismiss），就通知 second",
    )
    repeat_every: DurationValue = Field(
        default=timedelta(hours=4), description="没有人确认的提醒，每隔多久再通知一次"
    )
    digest_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        default=8, description="每天几点发一份汇总，0 到 23"
    )
    dashboard: SingleLine | None = Field(
        default=None,
        description="管理页面的地址，写在通知里，如 https://publisher.example.gov.cn",
    )
    proxy: SingleLine | None = Field(
        default=None,
        description="通道经过的代理，如 http://proxy.example.gov.cn:3128；环境变量里的不用",
    )
    ca_file: SingleLine | None = Field(
        default=None, description="另外信任的证书文件（PEM），代理会换证书时才需要"
    )


PostKindName = Annotated[
    PostKind,
    Field(strict=False),
    WithJsonSchema({"type": "string", "enum": [kind.value for kind in PostKind]}),
]


class StageEntry(StrictModel):
    stage: SingleLine = Field(description="环节的名称，同一类内容里不能重复，如 初审")
    role: Literal["approver"] = Field(
        default="approver",
        description="哪种角色的人可以审批；一个审批人可以只管某几个环节",
    )
    people: Annotated[int, Field(ge=1, le=9)] = Field(
        default=1, description="这个环节要几个人"
    )
    proofread: bool = Field(default=False, description="审批的人同时确认校对过文字")


class SettingsFile(StrictModel):
    environment: Literal["live", "drill"] = Field(
        default="live", description="live 正式；drill 演练，只能连接本机的模拟器"
    )
    timezone: SingleLine = Field(
        default="Asia/Shanghai", description="时区；文件中不带时差的时间都按它理解"
    )
    database: SingleLine = Field(
        default=DEFAULT_DATABASE, description="数据库：sqlite:///路径 或 postgresql://…"
    )
    plan_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=2, description="提前几天把要发的内容登记入库"
    )
    days_kept: Annotated[int, Field(ge=180, le=36500)] = Field(
        default=400,
        description="结束多少天之后，删去文字、图片、读取记录和阅读数；谁收到了什么、结果和审计永久保留",
    )
    staff_dir: SingleLine | None = Field(
        default=None,
        description=(
            "撰稿人的文件夹：schedule.toml 和 media/ 在其中；不写就是工作区，路径从工作区算起"
        ),
    )
    secrets_dir: SingleLine | None = Field(
        default=None, description="存放密钥文件的文件夹，一个密钥一个文件"
    )
    public_ip: SingleLine | None = Field(
        default=None, description="本机对外的公网 IPv4；有的平台发布时必需"
    )
    dashboard: DashboardEntry = Field(
        default_factory=DashboardEntry, description="管理页面"
    )
    callbacks: CallbacksEntry = Field(
        default_factory=CallbacksEntry,
        description="接收平台的事件推送，让审核结果早几分钟知道",
    )
    audit: AuditEntry = Field(
        default_factory=AuditEntry, description="审计链的锚点写到哪里"
    )
    alerts: AlertsEntry = Field(
        default_factory=AlertsEntry,
        description="提醒通知到哪里：企业微信、钉钉、飞书、邮件、网址",
    )
    approval_preset: Literal["none", "two persons", "三审三校"] = Field(
        default="none", description="没有单独写明环节的各类内容，用哪一套审批环节"
    )
    approve_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=7, description="重复发布的内容，提前几天生成终稿供审批"
    )
    approvals: dict[PostKindName, list[StageEntry]] = Field(
        default_factory=dict,
        description="某一类内容的审批环节，按顺序；写空的一类不需要审批",
    )
    limits: dict[str, LimitEntry] = Field(
        default_factory=dict, description="按平台的限额和等待时间"
    )
    region: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="地区资料，供模板使用；项可自定"
    )
    groups: dict[str, list[SingleLine]] = Field(
        default_factory=dict, description="账号分组"
    )
    account: list[AccountEntry] = Field(default_factory=list, description="账号")


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema of publisher.toml, for editors."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **SettingsFile.model_json_schema(),
    }


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


def find_global_problems(file: SettingsFile) -> Iterator[UnlocatedProblem]:
    """Yield the problems of settings that concern all accounts."""
    try:
        ZoneInfo(file.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        choices = suggest_closest(
            file.timezone, ["Asia/Shanghai", *available_timezones()]
        )
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
    for name in ("first", "second", "checkpoints"):
        for position, channel in enumerate(getattr(alerts, name)):
            if channel not in alerts.channels:
                facts = {
                    "value": channel,
                    "choices": suggest_closest(channel, alerts.channels),
                }
                yield UnlocatedProblem(
                    path=("alerts", name, position), code="unknown_channel", facts=facts
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
        return _make_settings(document, root)

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


def _make_settings(document: TomlDocument, workspace: Path) -> Settings:
    entry = validate_table(SettingsFile, document.data)
    if isinstance(entry, list):
        raise SettingsError(document.locate_problems(entry))
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
