"""The keys of publisher.toml, each with its type and what it is for."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from publisher.config.model import AuditSettings
from publisher.tomlfile import DurationValue, Identifier, SingleLine, StrictModel

DEFAULT_DATABASE = "sqlite:///var/publisher.db"


def _read_secret_name(value: object) -> str:
    """Take the name of a secret. What else stands there may be the secret itself, and is repeated nowhere."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", value):
        raise PydanticCustomError("not_a_secret_name", "")
    return value


SecretName = Annotated[
    str, PlainValidator(_read_secret_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,80}$"})
]


class AccountEntry(StrictModel):
    id: Identifier = Field(description="账号代号，全文件唯一；字母、数字、- 和 _，最多 80 个字符")
    platform: SingleLine = Field(description="平台：weibo、wechat、tieba、webhook，或已安装的其他适配器的名称")
    identity: SingleLine = Field(description="平台上的身份：微博 uid、公众号 AppID、贴吧 portrait 或用户名")
    secret: SecretName = Field(description="密钥的名称（不是密钥本身）；同平台同名的账号共用一个登录和一份额度")
    region: SingleLine | None = Field(default=None, description="所属地区的代码，须在 [region.代码] 中写明")
    mode: Literal["api", "assisted", "off"] = Field(
        default="api", description="api 自动发布；assisted 人工代发，publisher 备稿并核实；off 停用"
    )
    forum: SingleLine | None = Field(default=None, description="贴吧的吧名，不带“吧”字；仅贴吧账号使用")
    accept_risk: bool = Field(default=False, description="贴吧没有官方发帖接口；自动发布须由运营方确认风险")
    link_template: SingleLine | None = Field(default=None, description="微博分享接口要求的安全域名链接，须含 {marker}")
    base_url: SingleLine | None = Field(default=None, description="替换该平台全部地址：演练模拟器或代理")
    public_ip: SingleLine | None = Field(default=None, description="本账号对外的公网 IPv4；默认用全局的 public_ip")
    profile: SingleLine | None = Field(
        default=None,
        description="平台授予本登录的接口。微博：share（默认）、update、biz；"
        "微信：publish（默认，不通知关注者）、mass（紧急内容群发）",
    )
    exclusive: bool = Field(default=False, description="本账号只由 publisher 发布；出现别的帖子就告警")
    options: dict[str, SingleLine] = Field(default_factory=dict, description="某个适配器自己的选项，见该适配器的说明")


PositiveInt = Annotated[int, Field(ge=1)]


class LimitEntry(StrictModel):
    min_interval: DurationValue | None = Field(default=None, description="同一登录两次发布的最短间隔")
    per_hour: PositiveInt | None = Field(default=None, description="任意一小时内最多发布几条")
    per_day: PositiveInt | None = Field(default=None, description="任意一天内最多发布几条")
    request_timeout: DurationValue | None = Field(default=None, description="一次调用最长多久")
    lease_timeout: DurationValue | None = Field(
        default=None, description="一次任务的占用时间；须大于 request_timeout、小于 visibility_window"
    )
    visibility_window: DurationValue | None = Field(default=None, description="多久之后平台的结果一定可见")
    first_check_after: DurationValue | None = Field(default=None, description="结果不明时，第一次回查前等多久")
    retry_first: DurationValue | None = Field(default=None, description="第一次重试前等多久")
    platform_clock_tolerance: DurationValue | None = Field(default=None, description="本机与平台时钟的最大误差")


class DashboardEntry(StrictModel):
    listen: SingleLine = Field(default="127.0.0.1:8700", description="监听地址，写成 地址:端口")


class CallbacksEntry(StrictModel):
    listen: SingleLine | None = Field(
        default=None, description="监听地址，写成 地址:端口，如 127.0.0.1:8701；不写就不接收。须由反向代理从公网转来"
    )


class AuditEntry(StrictModel):
    checkpoint_file: SingleLine = Field(
        default=AuditSettings().checkpoint_file,
        description="审计锚点文件；路径从工作区算起，最好放在另一块盘或只能追加的地方",
    )
    syslog: bool = Field(default=False, description="锚点同时写入系统日志（/dev/log），便于转到另一台主机保存")


class SettingsFile(StrictModel):
    environment: Literal["live", "drill"] = Field(
        default="live", description="live 正式；drill 演练，只能连接本机的模拟器"
    )
    timezone: SingleLine = Field(default="Asia/Shanghai", description="时区；文件中不带时差的时间都按它理解")
    database: SingleLine = Field(default=DEFAULT_DATABASE, description="数据库：sqlite:///路径 或 postgresql://…")
    plan_days: Annotated[int, Field(ge=1, le=366)] = Field(default=2, description="提前几天把要发的内容登记入库")
    days_kept: Annotated[int, Field(ge=180, le=36500)] = Field(
        default=400, description="结束多少天之后，删去文字、图片、读取记录和阅读数；谁收到了什么、结果和审计永久保留"
    )
    secrets_dir: SingleLine | None = Field(default=None, description="存放密钥文件的文件夹，一个密钥一个文件")
    public_ip: SingleLine | None = Field(default=None, description="本机对外的公网 IPv4；正式环境的微博账号必需")
    dashboard: DashboardEntry = Field(default_factory=DashboardEntry, description="管理页面")
    callbacks: CallbacksEntry = Field(
        default_factory=CallbacksEntry, description="接收平台的事件推送（微信），让审核结果早几分钟知道"
    )
    audit: AuditEntry = Field(default_factory=AuditEntry, description="审计链的锚点写到哪里")
    approvals: dict[str, list[dict[str, Any]]] = Field(default_factory=dict, description="审批环节；本版本尚不支持")
    limits: dict[str, LimitEntry] = Field(default_factory=dict, description="按平台的限额和等待时间")
    region: dict[str, dict[str, str]] = Field(default_factory=dict, description="地区资料，供模板使用；键可自定")
    groups: dict[str, list[SingleLine]] = Field(default_factory=dict, description="账号分组")
    account: list[AccountEntry] = Field(default_factory=list, description="账号")


def settings_schema() -> dict[str, Any]:
    """Describe publisher.toml as a JSON Schema, for editors."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", **SettingsFile.model_json_schema()}
