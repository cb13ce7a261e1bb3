"""The shipped texts are correct: samples, templates, demo posts, messages, documentation."""

import re
from pathlib import Path

import pytest

from publisher.i18n import load_catalogue

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path
    for pattern in (
        "*.md",
        "schedule.toml",
        "docs/**/*.md",
        "templates/**/*",
        "publisher/i18n/*.toml",
        "adapters/*/messages.toml",
        "publisher/cli/**/*",
        "publisher/simulator/**/*",
        "publisher/config.py",
        "publisher/schedule/model.py",
    )
    for path in ROOT.glob(pattern)
    if path.suffix in {".md", ".toml", ".txt", ".html", ".py"}
)
WRONG_STATEMENTS = {
    # 12379 publishes warnings of emergencies (突发事件预警信息);
    # warnings of fraud are sent from 12381
    r"预警信息统一发布号码",
    r"12379[^\n。；]*(?:诈骗|反诈|骗局)|(?:诈骗|反诈|骗局)[^\n。；]*12379",
    # 12381 sends messages; nobody is to call it
    r"(?:拨打|致电)\s*12381",
    # 96110 is 反诈劝阻咨询专线: it dissuades and advises; crimes are reported to 110
    r"反诈专线|反诈咨询电话",
    r"96110[^\n，；。]{0,8}(?:举报|报警)",
    # 12377 takes reports of harmful content;
    # crimes online go to the police's site, other tips to the police
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
"""Regular expressions of statements forbidden to a police account, in groups with reasons."""


def find_statements(text: str) -> list[str]:
    """Return the wrong statements in a text."""
    return [
        found[0] for pattern in WRONG_STATEMENTS for found in re.finditer(pattern, text)
    ]


def test_nothing_shipped_makes_a_wrong_statement():
    """No sample, template, message or page has a statement that the table forbids."""
    assert SHIPPED
    assert {
        path: found
        for path in SHIPPED
        if (found := find_statements(path.read_text("utf-8")))
    } == {}


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
    """A wrong statement of earlier samples is recognised."""
    assert find_statements(text)


FOR_STAFF = [
    path
    for path in SHIPPED
    if path.suffix in {".md", ".toml", ".txt", ".html"}
    or path.name in {"config.py", "model.py", "page_texts.py"}
]
OLD_WORDS = {
    # a person's finding, not a judgment: 人工认定; a command is run, not ordered: 执行
    r"裁定|重新下令|下令",
    # 心跳, 通俗的话, 明确不做的事, 目前的限制
    r"最近一次动静|平常话|从不做的事|没有承诺的事",
    # a key of a file is 项; keys of encryption and keyboards are other words
    r"(?<!关)键(?!盘)",
    # 无法识别, 平台返回信息, 手动, 后续, 帖子
    r"看不懂|认不出|原话|亲手|续报|续发|贴子|发贴|删贴|回贴|新贴",
    # the product has one name
    r"系统(?:会|正在|继续核|不会|无从)|(?:本|在)系统中|程序(?:会|不会|靠|已经|没有|自己|内部|带来)",
}
"""Words that staff no longer see, each group with its replacements."""


def test_no_old_word_is_shown():
    """Messages, samples and pages call each thing by its present name."""
    texts = {path: path.read_text("utf-8") for path in FOR_STAFF}
    assert texts
    found = {
        (path, old[0])
        for path, text in texts.items()
        for word in OLD_WORDS
        for old in re.finditer(word, text)
    }
    assert found == set()


COUNTED = re.compile(
    r"\{(?:number|total|posts|accounts|rendered_posts|warnings|errors|entries|rows|filed|days|attempts|times|minutes)\}"
    r" (?:\w+ )?(?:posts|deliveries|accounts|entries|rows|days|times|minutes|problems|places|lines"
    r"|parts|answers)\b"
)
NEVER_ONE = {
    "account_circuit_breaker_open",
    "circuit_breaker_open",
    "correct_one_only",
    "event_times",
    "job_failing",
    "large_removal",
    "large_removal_ahead",
    "notice_account_number",
    "notice_channel_number",
    "notice_host_number",
    "older_line",
    "parts_abandoned",
    "parts_all_published",
    "too_many",
}
"""Messages with a count that is never one."""


def test_counts_read_well_for_one():
    """No English message puts a plural after a count that may be one."""
    found = {
        code for code, entry in load_catalogue().items() if COUNTED.search(entry["en"])
    }
    assert found - NEVER_ONE == set()


def test_both_languages_end_alike():
    """A message or hint ends with a full stop in both languages, or in neither."""
    texts = [
        (code, text)
        for code, entry in load_catalogue().items()
        for text in (entry, entry.get("hint"))
        if text
    ]
    assert [
        code
        for code, text in texts
        if text["zh_CN"].strip().endswith(("。", "？"))
        != text["en"].strip().endswith((".", "?"))
    ] == []
