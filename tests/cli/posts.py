"""Posts for the tests of the command line."""

from pathlib import Path

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


def warning(name: str = "refund", when: str = "at = 2027-01-05T09:00:00", to: str = '["all"]') -> str:
    """Return the text of one warning."""
    return WARNING.format(id=name, when=when, to=to)


def write_schedule(workspace: Path, *posts: str) -> Path:
    """Write a schedule of these posts into a workspace."""
    file = workspace / "schedule.toml"
    file.write_text("".join(posts) or "post = []\n", "utf-8")
    return file
