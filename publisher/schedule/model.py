"""The format of schedule.toml: every key, its default and its meaning."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from publisher.config import MEDIA_FOLDER
from publisher.domain.cover import MAX_ZOOM, CropPosition
from publisher.domain.kinds import KINDS, PostKind, list_kinds
from publisher.domain.post import PostImage, WarningLevel
from publisher.domain.user import MAX_NAME_CHARACTERS
from publisher.tomlfile.validate import (
    DATETIME_SCHEMA,
    DateTimeValue,
    DurationValue,
    FileSchema,
    Identifier,
    NonBlankText,
    SingleLine,
    StrictModel,
    parse_datetime,
)

ASAP = "asap"
MAX_TITLE_CHARS = 120
"""Each platform's own, shorter limit is checked on the final text."""
MAX_IMAGES = 20
"""Maximum images per post: twice the number that any platform accepts."""
MAX_ALT_CHARACTERS = 500
MAX_CRON_CHARACTERS = 100


_BACKSLASHES = str.maketrans(
    {"\\": "/", "\t": "/t", "\n": "/n", "\b": "/b", "\f": "/f", "\r": "/r"}
)
"""A backslash, also where TOML took it and the letter after it for an escape, as a slash."""


def parse_media_path(value: object) -> str:
    """Validate the path of an image below media/, without reading the file."""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "")
    if (slashed := value.translate(_BACKSLASHES)) != value:
        raise PydanticCustomError("backslash_in_path", "", {"example": slashed[:80]})
    parts = value.split("/")
    if (
        parts[0] != MEDIA_FOLDER
        or len(parts) < 2
        or {"", ".", ".."} & set(parts)
        or set(':*?"<>|\0') & set(value)
    ):
        raise PydanticCustomError("outside_media", "", {"value": value[:80]})
    return value


AtTime: TypeAlias = Annotated[
    datetime | str,
    PlainValidator(lambda value: ASAP if value == ASAP else parse_datetime(value)),
    WithJsonSchema({"anyOf": [*DATETIME_SCHEMA["anyOf"], {"const": ASAP}]}),
]
MediaPath: TypeAlias = Annotated[
    str,
    PlainValidator(parse_media_path),
    WithJsonSchema({"type": "string", "pattern": "^media/"}),
]


ShortName: TypeAlias = Annotated[SingleLine, Field(max_length=MAX_NAME_CHARACTERS)]


def parse_crop(value: object) -> CropPosition:
    """Return the position of a cover's crop: left to right, top to bottom, zoom, in per cent."""
    match value:
        case [int(x), int(y), int(zoom)] if (
            bool not in map(type, (x, y, zoom))
            and 0 <= x <= 100
            and 0 <= y <= 100
            and 100 <= zoom <= MAX_ZOOM
        ):
            return CropPosition(x=x, y=y, zoom=zoom)
    raise PydanticCustomError("bad_crop", "", {"value": str(value)[:80]})


CropValue: TypeAlias = Annotated[
    CropPosition,
    PlainValidator(parse_crop),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": MAX_ZOOM},
            "minItems": 3,
            "maxItems": 3,
        }
    ),
]


class ImageEntry(StrictModel):
    file: MediaPath = Field(description="图片文件，须放在 media/ 文件夹内")
    alt: Annotated[SingleLine, Field(max_length=MAX_ALT_CHARACTERS)] = Field(
        description="图片说明，供看不到图片的人阅读"
    )
    crop_wide: CropValue | None = Field(
        default=None,
        description="作文章封面时宽图裁哪里：[左右, 上下, 放大]，都是百分数",
    )
    crop_square: CropValue | None = Field(
        default=None,
        description="作文章封面时方图裁哪里：[左右, 上下, 放大]，都是百分数",
    )

    def to_image(self) -> PostImage:
        return PostImage(
            file=self.file,
            alt=self.alt,
            crop_wide=self.crop_wide,
            crop_square=self.crop_square,
        )

    def list_hashed(self) -> Sequence[object]:
        """Return the fields for a post's hash; a picture without a crop has none of it."""
        wide, square = [
            crop and [crop.x, crop.y, crop.zoom]
            for crop in (self.crop_wide, self.crop_square)
        ]
        return [self.file, self.alt, *([wide, square] if wide or square else ())]


class RegionEntry(StrictModel):
    title: Annotated[SingleLine, Field(max_length=MAX_TITLE_CHARS)] | None = Field(
        default=None, description="这个地区的标题，不写就用共同的"
    )
    body: str | None = Field(default=None, description="这个地区的正文，不写就用共同的")
    text: dict[str, NonBlankText] = Field(
        default_factory=dict, description="这个地区按平台另写的正文"
    )
    data: dict[str, Any] = Field(
        default_factory=dict, description="这个地区的模板内容，逐项代替共同的"
    )


_FOLLOW_UPS = "、".join(
    row.name["zh_CN"] for row in KINDS.values() if row.needs_original
)


class PostEntry(StrictModel):
    id: Identifier = Field(
        description="编号，全文件唯一且不再改动；字母、数字、- 和 _，最多 80 个字符"
    )
    kind: PostKind = Field(
        strict=False,
        description=f"类型：{list_kinds()}",
    )
    template: ShortName = Field(description="模板名称，即 templates/ 下的文件夹名")
    author: ShortName = Field(description="撰稿人")
    follows: Identifier | None = Field(
        default=None, description=f"所跟进的原稿编号；{_FOLLOW_UPS}必填"
    )
    level: Annotated[WarningLevel, Field(strict=False)] | None = Field(
        default=None, description="预警级别：red 红、orange 橙、yellow 黄、blue 蓝"
    )
    title: Annotated[SingleLine, Field(max_length=MAX_TITLE_CHARS)] = Field(
        description="标题，一行"
    )
    body: str = Field(default="", description="正文，可用 Markdown，可省略")
    at: AtTime | None = Field(
        default=None,
        description='发布时间，如 2026-11-25T09:00:00；或 "asap"：读到后立即发布一次',
    )
    cron: Annotated[SingleLine, Field(max_length=MAX_CRON_CHARACTERS)] | None = Field(
        default=None,
        description='重复发布的时间，五段 cron，如 "0 9 * * mon"；与 at 二选一',
    )
    evergreen: bool = Field(
        default=False,
        description="备用内容：不写时间，账号快到更新时限时由人安排（publisher evergreen）",
    )
    since: DateTimeValue | None = Field(
        default=None, alias="from", description="重复发布从何时开始；只与 cron 连用"
    )
    until: DateTimeValue | None = Field(
        default=None, description="重复发布到何时为止；只与 cron 连用"
    )
    days: Literal["all", "working"] | None = Field(
        default=None,
        description="all 每天；working 仅工作日（含调休上班日）；只与 cron 连用",
    )
    to: Annotated[list[SingleLine], Field(min_length=1)] = Field(
        description='发给谁：账号代号、分组名、"platform:平台"、"region:110000" 或 "all"'
    )
    expires: DateTimeValue | None = Field(
        default=None, description="过了这个时间就不再发布；默认为发布时间后 24 小时"
    )
    max_delay: DurationValue = Field(
        default=timedelta(minutes=30),
        description='最多允许迟发多久，如 "30m"、"2h"；默认 30 分钟',
    )
    urgent: bool = Field(
        default=False,
        description="紧急：优先发布，可用预留额度；有的平台要账号获准才推送给关注者",
    )
    images: list[ImageEntry] = Field(
        default_factory=list, max_length=MAX_IMAGES, description="配图，最多 20 张"
    )
    text: dict[str, NonBlankText] = Field(
        default_factory=dict, description="按平台另写的正文，写成 平台 = “…”"
    )
    data: dict[str, Any] = Field(default_factory=dict, description="模板需要的其他内容")
    region: dict[str, RegionEntry] = Field(
        default_factory=dict,
        description="各地区自己的标题、正文和内容：[post.region.110000]",
    )


POST_KEYS = frozenset(
    info.alias or name for name, info in PostEntry.model_fields.items()
)


class ScheduleFile(StrictModel):
    post: list[PostEntry] = Field(
        default_factory=list, description="要发布的内容，每条以 [[post]] 开头"
    )


def schedule_schema() -> dict[str, Any]:
    """Return the JSON Schema of schedule.toml, for editors."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **ScheduleFile.model_json_schema(schema_generator=FileSchema),
    }
