"""The form by types in a real browser: fields that follow the template, rows, and pasted words."""

import asyncio
import tomllib

import pytest
from playwright.async_api import expect

from tests.browser.test_approval_story import (
    DESK,
    PATIENCE_MS,
    browsers,
    complaints,
    serving,
)
from tests.e2e.test_browser import BROWSER
from tests.web.test_write import file, without_waiting  # noqa: F401 # fixtures

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        BROWSER is None,
        reason="NO BROWSER: no chromium on PATH, and PUBLISHER_CHROMIUM names none",
    ),
]

PASTE = """(field, contents) => {
  const clipboardData = new DataTransfer();
  Object.entries(contents).forEach(([type, text]) => clipboardData.setData(type, text));
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
  field.focus();
  field.dispatchEvent(event);
}"""
"""Pastes into a field as a browser does with a clipboard of several formats."""
EXCEL = """<html xmlns:x="urn:schemas-microsoft-com:office:excel"><body><table>
<tr><td>类型</td><td>本周</td><td>上周</td></tr>
<tr><td class=xl65>刷单返利</td><td class=xl66 align=right>1,018</td><td>20</td></tr>
<tr><td>冒充客服</td><td>7</td><td></td></tr>
<tr><td>虚假贷款</td><td>6</td><td>9</td></tr>
<tr><td>冒充公检法</td><td>5</td><td>9</td></tr>
</table></body></html>"""
TEXT = "刷单返利\t18\t20\r\n冒充客服\t7\t\r\n"
WORD = """<html><head><style>p.MsoNormal {margin:0cm}</style></head><body lang=ZH-CN>
<!--StartFragment-->
<h1><span style='font-family:黑体'>骗子怎么说</span><o:p></o:p></h1>
<p class=MsoNormal><span style='font-size:16.0pt'>对方先报出<b>订单信息</b>，再让您<span
lang=EN-US>下载</span>软件。</span><o:p></o:p></p>
<p class=MsoListParagraph style='text-indent:-18pt;mso-list:l0 level1 lfo1'><span
style='mso-list:Ignore'>1.<span>&nbsp;&nbsp; </span></span>挂断电话</p>
<p class=MsoListParagraph style='text-indent:-18pt;mso-list:l0 level1 lfo1'><span
style='mso-list:Ignore'>2.<span>&nbsp;&nbsp; </span></span>在平台内核实</p>
<p class=MsoNormal>见<a href="https://fb.example.gov.cn/v">核验网站</a>。</p>
<script>alert(1)</script>
<!--EndFragment--></body></html>"""
WORD_AS_MARKDOWN = """## 骗子怎么说

对方先报出**订单信息**，再让您下载软件。

1. 挂断电话
1. 在平台内核实

见[核验网站](https://fb.example.gov.cn/v)。"""
ARTICLE = """<section data-tools="135编辑器" style="padding: 10px;"><section style="color: red;">
<p style="text-align: center;"><span style="font-weight: bold;">防范提示</span></p></section>
<section><ul class="list"><li><p>不转账*</p></li><li><section><span>不共享屏幕</span></section></li></ul>
<p>一行<br/>又一行</p><p><img src="https://mmbiz.qpic.cn/x"/></p><p><br/></p>
<p style="display:none">看不见</p><p>完</p></section></section>"""
ARTICLE_AS_MARKDOWN = r"""**防范提示**

- 不转账\*
- 不共享屏幕

一行
又一行

完"""


async def open_template(page, address, kind, template):
    """Choose a template of a kind from an empty page."""
    await page.goto(f"{address}/write")
    await page.get_by_test_id(f"field-kind-{kind}").check(force=True)
    choice = page.get_by_test_id(f"field-template-{template}")
    await choice.check(force=True, timeout=PATIENCE_MS)


async def read_rows(page, parts, key="types"):
    rows = await page.locator(f"#f-data\\.{key} .parts").count()
    return [
        [
            await page.get_by_test_id(f"field-{key}-{part}-{number}").input_value()
            for part in parts
        ]
        for number in range(1, rows + 1)
    ]


async def test_cells_of_a_table_become_rows(site, file):  # noqa: F811 # the fixtures
    """A copied range fills name, number and earlier number; its head goes nowhere.

    There are as many rows as it needs, and a text of one word is pasted as always.
    """
    parts = ("name", "value", "before")
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await open_template(page, address, "bulletin", "weekly")
        first = page.get_by_test_id("field-types-name-1")
        await first.evaluate(PASTE, {"text/html": EXCEL, "text/plain": TEXT})
        assert await read_rows(page, parts) == [
            ["刷单返利", "1018", "20"],
            ["冒充客服", "7", ""],
            ["虚假贷款", "6", "9"],
            ["冒充公检法", "5", "9"],
        ]
        await page.get_by_test_id("act-add-types").click()
        last = page.get_by_test_id("field-types-name-5")
        await expect(last).to_be_focused()
        await last.evaluate(PASTE, {"text/plain": TEXT})
        assert (await read_rows(page, parts))[4:] == [
            ["刷单返利", "18", "20"],
            ["冒充客服", "7", ""],
        ]
        await last.evaluate(PASTE, {"text/plain": "一个词"})
        assert await last.input_value() == "刷单返利"
        printed = page.get_by_test_id("printed-types")
        await expect(printed).to_have_text("", timeout=PATIENCE_MS)
        assert await complaints(page) == []


@pytest.mark.parametrize(
    ("copied", "markdown"),
    [(WORD, WORD_AS_MARKDOWN), (ARTICLE, ARTICLE_AS_MARKDOWN)],
    ids=["word", "article"],
)
async def test_words_of_another_editor_become_markdown(site, file, copied, markdown):  # noqa: F811 # the fixtures
    """Headings, stress, lists, links and paragraphs stay, and all else is left out."""
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await page.goto(f"{address}/write")
        body = page.get_by_test_id("field-body")
        await body.evaluate(PASTE, {"text/html": copied, "text/plain": "不同"})
        assert await body.input_value() == markdown
        await page.keyboard.press("Control+z")
        assert await body.input_value() == ""
        await body.evaluate(PASTE, {"text/plain": "别处的一句话"})
        assert await body.input_value() == ""  # the browser itself pastes it


async def test_fields_follow_the_template_and_keep_their_content(site, file):  # noqa: F811 # the fixtures
    """A case is written, another template looked at, and the case is saved with its types."""
    async with serving(site.app) as address, browsers(site, address) as enter:
        page = await enter("王", "author", DESK)
        await open_template(page, address, "bulletin", "case")
        for field, words in {
            "title": "一张“传票”险让她转走12万元",
            "person-name-1": "李某",
            "person-age-1": "63",
            "place": "青禾区",
            "day": "2026-11-20",
            "story": "接到“公安局”视频电话，险些转账",
            "saved": "120000",
            "source": "示例市公安局反诈中心",
            "editor": "小陈",
            "checker": "王某",
        }.items():
            await page.get_by_test_id(f"field-{field}").fill(words, timeout=PATIENCE_MS)
        await page.get_by_test_id("field-person-sex-1").select_option("女")
        await expect(page.get_by_test_id("printed-saved")).to_have_text(
            "印成：12万元", timeout=PATIENCE_MS
        )
        await page.get_by_test_id("field-template-weekly").check(force=True)
        total = page.get_by_test_id("field-total-value-1")
        await expect(total).to_be_visible(timeout=PATIENCE_MS)
        await page.get_by_test_id("field-template-case").check(force=True)
        story = page.get_by_test_id("field-story")
        await expect(story).to_have_value(
            "接到“公安局”视频电话，险些转账", timeout=PATIENCE_MS
        )
        left = page.get_by_test_id("left-story")
        await expect(left).to_contain_text("还可写")
        before = await left.inner_text()
        await story.press("End")
        await story.press_sequentially("了")
        assert await left.inner_text() != before  # at once, without an answer
        await page.get_by_test_id("act-save").click()
        await expect(page.get_by_test_id("notice")).to_be_visible(timeout=PATIENCE_MS)
        assert await complaints(page) == []
    text = await asyncio.to_thread(file.read_text, "utf-8")
    data = tomllib.loads(text)["post"][-1]["data"]
    assert data["person"] == {"name": "李某", "sex": "女", "age": 63}
    assert data["saved"] == 120_000
