"""Posts for the tests of the command line."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

WARNING = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗"
{when}
to = {to}
[post.data]
summary = "正规退款原路退回，不用转账"
signs = ["来电能准确说出您的订单"]
advice = ["先挂断，再到购物平台内核实"]
level_basis = "本单位规定"
"""


NINE_TODAY = datetime.now(ZoneInfo("Asia/Shanghai")).replace(
    hour=9, minute=0, second=0, microsecond=0, tzinfo=None
)


def in_days(days: int) -> str:
    """Return the instant of a post: nine o'clock, so many days from now."""
    return f"at = {(NINE_TODAY + timedelta(days=days)).isoformat()}"


def warning(name: str = "refund", when: str = in_days(36), to: str = '["all"]') -> str:
    """Return the text of one warning."""
    return WARNING.format(id=name, when=when, to=to)


def write_schedule(workspace: Path, *posts: str) -> Path:
    """Write a schedule of these posts into a workspace."""
    file = workspace / "schedule.toml"
    file.write_text("".join(posts) or "post = []\n", "utf-8")
    return file
