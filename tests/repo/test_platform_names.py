"""The core names no platform: special rules of a platform come from its adapter."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from adapters import BUILT_IN_ADAPTERS

ROOT = Path(__file__).parents[2]
CORE = ROOT / "publisher"
SUFFIXES = {".py", ".toml", ".html", ".css", ".md", ".txt"}
EXEMPT = (
    "app/alert_addresses.py",
    "simulator/",
    "cli/commands/demo.py",
    "cli/drill.py",
    "cli/workspace.py",
    "cli/workspace_files/",
)
"""Files that may name a platform.

They are the alert channels with hosts of their own, and the simulator. They also include the files
that fill a workspace for it, and the examples of a new workspace.
"""
MORE_NAMES = ("weixin", "baidu", "贴吧", "微信", "公众号", "百度")


@cache
def find_names() -> re.Pattern[str]:
    """Return a pattern for the names of the built-in platforms, as code and people write them.

    WeCom, 企业微信, is a chat for offices, where alerts go, and no platform.
    """
    names = {*BUILT_IN_ADAPTERS, *MORE_NAMES}
    for platform in BUILT_IN_ADAPTERS:
        texts = tomllib.loads(
            (ROOT / "adapters" / platform / "messages.toml").read_text("utf-8")
        )
        names |= {*texts[f"platform_{platform}"].values()}
    return re.compile(
        f"(?<!企业)(?:{'|'.join(map(re.escape, sorted(names)))})", re.IGNORECASE
    )


def find_mentions(text: str) -> list[str]:
    return find_names().findall(text)


def test_the_core_names_no_platform():
    """No code, text, page or file name has a platform. Only the demo and the simulator may."""
    files = [path for path in sorted(CORE.rglob("*")) if path.suffix in SUFFIXES]
    core = [
        path for path in files if not str(path.relative_to(CORE)).startswith(EXEMPT)
    ]
    assert len(core) > 100
    found = {
        f"{path.relative_to(ROOT)}:{number}: {mention}"
        for path in core
        for number, line in enumerate(
            (str(path.relative_to(CORE)) + "\n" + path.read_text("utf-8")).split("\n")
        )
        for mention in find_mentions(line)
    }
    assert found == set()


@pytest.mark.parametrize(
    "text",
    [
        "Weibo",
        'platform == "tieba"',
        "adapters_wechat",
        "微信公众号",
        "webhooks",
        "weibo.com",
    ],
)
def test_a_platforms_name_is_found(text):
    """In code and in texts, in either language."""
    assert find_mentions(text)


def test_other_words_are_no_platforms():
    """Words of the core that only look alike."""
    assert find_mentions("a web server, a hook, a forum; 论坛、网站") == []
