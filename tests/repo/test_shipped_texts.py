"""What the program ships says nothing wrong: samples, templates, demo posts, messages, documentation."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path
    for pattern in (
        "*.md",
        "schedule.toml",
        "docs/**/*.md",
        "templates/**/*",
        "publisher/i18n/*.toml",
        "publisher/cli/**/*",
        "publisher/simulator/**/*",
    )
    for path in ROOT.glob(pattern)
    if path.suffix in {".md", ".toml", ".txt", ".html", ".py"}
)
WRONG_STATEMENTS = {
    # 12379 publishes warnings of emergencies (突发事件预警信息); warnings of fraud are sent from 12381
    r"预警信息统一发布号码",
    r"12379[^\n。；]*(?:诈骗|反诈|骗局)|(?:诈骗|反诈|骗局)[^\n。；]*12379",
    # 12381 sends messages; nobody is to call it
    r"(?:拨打|致电)\s*12381",
    # 96110 is 反诈劝阻咨询专线: it dissuades and advises; crimes are reported to 110
    r"反诈专线|反诈咨询电话",
    r"96110[^\n，；。]{0,8}(?:举报|报警)",
    # 12377 takes reports of harmful content; crimes online go to the police's site, other tips to the police
    r"举报\s*12377|12377[^\n，；。]{0,6}(?:报警|犯罪)",
    r'tip_line = "12377"',
    # buying drugs to use them is no trafficking: 贩卖就是贩毒
    r"买卖就是贩毒",
    # courts do hold hearings online, and police do publish wanted notices
    r"不会[^\n。；]{0,12}(?:电话|视频|网上)[^\n。；]{0,6}(?:办案|开庭|审理)",
    r"不会[^\n。；]{0,4}网上[^\n。；]{0,4}(?:发布?|发送|公布)[^\n。；]{0,4}(?:逮捕证|通缉令)",
    # parts of firearms have a rule of their own; the threshold of energy is that of firearms
    r"散件[^\n。；]{0,4}(?:，威力|威力达到|达到枪支认定)",
    # legal loans may have fees; a fee before the loan is paid out is the sign of fraud
    r"不收任何费用|任何费用都是|收费都是诈骗|要钱的都是诈骗",
    # a text is signed with the organ's full name, such as 北京市公安局
    r"警方",
    # national figures name the whole country and their source
    r"(?<!全国公安机关)共(?:清理|侦办|破获|打掉)",
    # a fraud is never over: 情况更新; an all-clear is for traffic, weather and missing persons
    r"预警解除|骗局解除|诈骗解除",
}
"""Regular expressions of what a police account must not publish, each group with its reason."""


def find_statements(text: str) -> list[str]:
    """Return the wrong statements in a text."""
    return [found[0] for pattern in WRONG_STATEMENTS for found in re.finditer(pattern, text)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_shipped_makes_a_wrong_statement(path):
    """No sample, template, message or page says what the table forbids."""
    assert find_statements(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "12379：全国预警信息统一发布号码；官方预警短信不索要验证码",
        "防范诈骗，留意 12379",
        "96110：全国反诈专线，可咨询、举报",
        "报警110，反诈咨询96110，举报12377。",
        "依托咪酯已列管，买卖就是贩毒。",
        "公检法机关不会通过电话、视频办案，不会在网上发送逮捕证、通缉令。",
        "有的“仿真枪”“气枪”和散件，威力达到枪支认定标准",
        "正规贷款在放款之前**不收任何费用**。",
        "发布：北京警方",
        "1月以来，共清理网上违法和有害信息",
        "假冒ETC认证短信预警解除",
    ],
)
def test_a_wrong_statement_is_found(text):
    """What was published in earlier samples is recognised."""
    assert find_statements(text)
