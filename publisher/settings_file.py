"""The format of publisher.toml: every key, its default and its meaning."""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from publisher.domain.alert_classes import Audience
from publisher.domain.kinds import PostKind
from publisher.tomlfile.validate import (
    DurationValue,
    FileSchema,
    Identifier,
    SingleLine,
    StrictModel,
)

DEFAULT_DATABASE = "sqlite:///var/publisher.db"


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
        """Return the address of the pages for people, without a slash at its end.

        Where the pages listen on all addresses, it has the name of this machine.
        """
        if self.url is not None:
            return self.url.rstrip("/")
        host, _, port = self.listen.rpartition(":")
        if host in {"0.0.0.0", "[::]"}:  # noqa: S104 # compared, not listened on
            host = socket.gethostname()
        return f"{'https' if self.is_secure else 'http'}://{host}:{port}"

    def make_setup_link(self, link: str) -> str:
        """Return the address at which the person of a one-time link sets up a sign-in.

        A browser sends the part behind `#` to no server, so no proxy logs it.
        """
        return f"{self.address}/setup#{link}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyHours:
    """The hours of each day, by the workspace's zone, in which all notices are sent.

    An `end` before `begin` is on the next day.
    """

    begin: time
    end: time

    def last_begin(self, now: datetime) -> datetime:
        """Return the instant at which the hours have begun last. `now` is local."""
        today = datetime.combine(now.date(), self.begin, now.tzinfo)
        if today <= now:
            return today
        yesterday = now.date() - timedelta(days=1)
        return datetime.combine(yesterday, self.begin, now.tzinfo)

    def include(self, now: datetime) -> bool:
        """Return True if a local time is within the hours."""
        clock = now.time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end


def parse_duty_hours(value: object) -> DutyHours:
    """Return the hours that a text such as `08:00-20:00` names."""
    form = r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)"
    match = re.fullmatch(form, value) if isinstance(value, str) else None
    if match is None or match[1] + match[2] == match[3] + match[4]:
        raise PydanticCustomError("not_duty_hours", "")
    return DutyHours(
        begin=time(int(match[1]), int(match[2])), end=time(int(match[3]), int(match[4]))
    )


DutyHoursValue = Annotated[
    DutyHours,
    PlainValidator(parse_duty_hours),
    WithJsonSchema({"type": "string", "pattern": r"^\d{2}:\d{2}-\d{2}:\d{2}$"}),
]


class AlertRoutesEntry(StrictModel):
    editors: list[SingleLine] = Field(
        default_factory=list, description="内容、审批、人工任务的提醒，通知到哪些通道"
    )
    operators: list[SingleLine] = Field(
        default_factory=list,
        description="登录、账号、主机、数据库、时钟的提醒，通知到哪些通道",
    )
    security: list[SingleLine] = Field(
        default_factory=list, description="登录发布台、用户、审计的提醒，通知到哪些通道"
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
    routes: AlertRoutesEntry = Field(
        default_factory=AlertRoutesEntry,
        description="按提醒的种类分开通知；没有写的种类通知 first",
    )
    duty_hours: DutyHoursValue | None = Field(
        default=None,
        description="值班时间，如 08:00-20:00；其余时间只通知紧急的，别的等到值班开始",
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
        default=None,
        description="代替系统自带证书的证书文件（PEM），代理会换证书时才需要；邮件不用它",
    )

    def channels_for(self, audience: Audience) -> Sequence[str]:
        """Return the channels that get the alerts of an audience first."""
        return getattr(self.routes, audience.value) or self.first


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
    backup_max_age: DurationValue = Field(
        default=timedelta(hours=48),
        description="最近一次备份最多多久以前；超过就提醒（backup_overdue），只在正式环境",
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
        description="提醒通知到哪里：群机器人、邮件、网址",
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
        **SettingsFile.model_json_schema(schema_generator=FileSchema),
    }
