"""A small context to read schedules in."""

from zoneinfo import ZoneInfo

from publisher.domain.account import Account, AccountId, Mode, Platform, RegionCode
from publisher.domain.errors import InputError
from publisher.domain.post import PostId
from publisher.schedule.load import ScheduleContext

ZONE = ZoneInfo("Asia/Shanghai")


def account(
    name: str, platform: str, region: str | None = None, mode: Mode = Mode.API
) -> Account:
    return Account(
        id=AccountId(name),
        platform=Platform(platform),
        identity=name,
        secret=name,
        region=RegionCode(region) if region else None,
        mode=mode,
    )


ACCOUNTS = (
    account("beijing-weibo", "weibo", "110000"),
    account("beijing-wechat", "wechat", "110000"),
    account("tianjin-weibo", "weibo", "120000"),
    account("tianjin-tieba", "tieba", "120000", Mode.OFF),
)
CONTEXT = ScheduleContext(
    timezone=ZONE,
    accounts={item.id: item for item in ACCOUNTS},
    groups={"north": (AccountId("tianjin-weibo"), AccountId("beijing-weibo"))},
    templates={"warning": None, "update": None},
    platforms=("weibo", "wechat", "tieba"),
    known_posts={PostId("older-post")},
    data_keys={"warning": ("summary", "advice")},
)


def post(**changes: str) -> str:
    """Return one post; a change replaces a line by its key, or drops it when blank."""
    lines = {
        "id": 'id = "scam-1"',
        "kind": 'kind = "warning"',
        "template": 'template = "warning"',
        "author": 'author = "zhang"',
        "title": 'title = "警惕“退款客服”诈骗"',
        "at": "at = 2026-11-25T09:00:00",
        "to": 'to = ["all"]',
    }
    lines |= changes
    return "\n".join(["[[post]]", *filter(None, lines.values())]) + "\n"


def reported(error: InputError) -> list[tuple[int, int, str, str]]:
    """Return line, column, path and code of each problem."""
    return [
        (
            problem.location.line,
            problem.location.column,
            problem.location.path,
            problem.code,
        )
        for problem in error.problems
        if problem.location is not None
    ]
