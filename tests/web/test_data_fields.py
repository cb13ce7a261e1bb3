"""The fields of templates in the form: an input for each type, none lost, each error at its own."""

import html
import re

import pytest

from publisher.domain.values import FORM_EXAMPLES, FORM_TYPES, FieldForm
from publisher.rendering.templates import TemplateSample
from publisher.web.write.post_form import read_delay
from publisher.web.write.typed_fields import make_field
from tests.web.test_post_form import SAMPLES
from tests.web.test_write import fields_of, file, posts, without_waiting  # noqa: F401 # fixtures

NEW = {
    "kind": "bulletin",
    "template": "case",
    "title": "一张“传票”险让她转走12万元",
    "when": "once",
    "at_date": "2026-12-20",
    "at_time": "09:00",
    "to": "all",
}
CASE = {
    "data.person.name": "李某",
    "data.person.sex": "女",
    "data.person.age": "63",
    "data.person.alias": "",
    "data.place": "青禾区",
    "data.day": "2026-12-18",
    "data.story": "接到“公安局”视频电话，要她把钱转到“安全账户”",
    "data.saved": "120,000",
    "data.source": "示例市公安局反诈中心",
    "data.editor": "小陈",
    "data.checker": "王某",
}
TYPES = {
    "data.types.name": ["刷单返利", "", "冒充客服"],
    "data.types.value": ["18", "", "7"],
    "data.types.before": ["20", "", ""],
}


def words_of(page, test_id):
    """Return the words of an element without elements in it."""
    found = re.search(
        rf'<p [^>]*data-testid="{test_id}"[^>]*>(.*?)</p>', page, re.DOTALL
    )
    return html.unescape(found[1]).strip()


def read_rooms(page):
    """Return the words of each counter, and its field's limit, by the field."""
    found = re.findall(
        r'data-testid="left-([^"]*)"[^>]*data-left="(-?\d+)" data-length="(\d+)".*?<span[^>]*>(.*?)</span>',
        page,
        re.DOTALL,
    )
    return {
        key: (words, str(int(left) + int(length))) for key, left, length, words in found
    }


@pytest.mark.parametrize("kind", sorted(FORM_TYPES))
def test_each_type_is_read_as_its_inputs_were_filled(kind):
    """The type's reader takes what the inputs send."""
    form = FieldForm(type=kind, choices={"a": "甲"})
    field = make_field(TemplateSample(needs={"key": ""}, forms={"key": form}), "key")
    value = FORM_EXAMPLES[kind] or "a"
    filled = field.fill(value)
    assert filled.keys() == set(field.names)
    assert field.read(filled) == value


@pytest.mark.parametrize("name", sorted(SAMPLES))
async def test_a_page_sends_each_template_as_it_was_filled(site, file, name):  # noqa: F811
    """The inputs of the page hold all values of a template, and send them back unchanged."""
    sample = SAMPLES[name]
    kind = (
        sample.kinds
        or [name if name in {"update", "all-clear", "correction"} else "warning"]
    )[0]
    author = await site.signed_in("author", name="王")
    fields = {**NEW, "kind": kind, "template": name, "do": "refresh"}
    for key, value in sample.data.items():
        fields |= make_field(sample, key).fill(value)
    page = (await author.post("/write", data=fields)).text
    sent = fields_of(page)
    data = {
        key: value
        for key in sample.data
        if (value := make_field(sample, key).read(sent)) is not None
    }
    assert data == sample.data


async def test_a_case_is_saved_with_the_types_of_its_template(site, file):  # noqa: F811
    """The file has a person, a day and a sum, and the page shows each as it is printed."""
    author = await site.signed_in("author", name="王")
    check = await author.post("/write/check", data={**NEW, **CASE})
    assert words_of(check.text, "printed-person") == "印成：李某（女，63岁）"
    assert words_of(check.text, "printed-day") == "印成：12月18日"
    assert words_of(check.text, "printed-saved") == "印成：12万元"
    answer = await author.post("/write", data={**NEW, **CASE, "do": "save"})
    assert answer.status_code == 303, answer.text
    data = posts(file)[1]["data"]
    assert data["person"] == {"name": "李某", "sex": "女", "age": 63}
    assert (f"{data['day']}", data["saved"]) == ("2026-12-18", 120_000)


async def test_another_template_and_back_loses_no_field(site, file):  # noqa: F811
    """Without script too: what belongs to another template stays in the form."""
    author = await site.signed_in("author", name="王")
    sent = {**NEW, **CASE, **TYPES, "template": "weekly", "drawn": "bulletin case"}
    page = (await author.post("/write", data={**sent, "do": "refresh"})).text
    assert 'id="f-data.person"' not in page
    sent = {**fields_of(page), "template": ["case"], "do": ["refresh"]}
    assert sent["data.types.name"][:3] == TYPES["data.types.name"]
    page = (await author.post("/write", data=sent)).text
    kept = fields_of(page)
    assert {name: kept[name] for name in CASE} == {
        name: [value] for name, value in CASE.items()
    }
    assert kept["data.types.value"][:3] == TYPES["data.types.value"]


async def test_another_kind_brings_its_own_template(site, file):  # noqa: F811
    """The check draws the fields again, once, for the kind that was chosen."""
    author = await site.signed_in("author", name="王")
    sent = {**NEW, **CASE, "kind": "warning", "drawn": "bulletin case"}
    check = (await author.post("/write/check", data=sent)).text
    assert '<input type="hidden" name="drawn" value="warning warning">' in check
    assert 'name="data.seen_here"' in check
    assert '<h1 id="write-heading">写一条预警</h1>' in check
    again = (
        await author.post(
            "/write/check",
            data={**sent, "template": "warning", "drawn": "warning warning"},
        )
    ).text
    assert 'name="data.seen_here"' not in again


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"expires_for": "default", "expires_date": "2026-12-24"}, None),
        ({"expires_for": "7d"}, "2026-12-27 09:00"),
        ({"expires_for": "6h"}, "2026-12-20 15:00"),
        ({"expires_for": "own", "expires_date": "2026-12-24"}, "2026-12-24 23:59"),
        ({"expires_for": "3d", "at_date": "9999-12-31"}, None),
    ],
)
async def test_an_expiry_is_chosen_as_a_duration(site, file, choice, expected):  # noqa: F811
    """It counts from the time of the post, and another one is typed."""
    author = await site.signed_in("author", name="王")
    await author.post("/write", data={**NEW, **CASE, **choice, "do": "save"})
    saved = [
        f"{post['expires']:%Y-%m-%d %H:%M}" for post in posts(file) if "expires" in post
    ]
    assert saved == [expected] * (expected is not None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_delay_for": "default", "max_delay": "3h"}, {}),
        ({"max_delay_for": "2h", "max_delay": "3h"}, {"max_delay": "2h"}),
        ({"max_delay_for": "own", "max_delay": "3h"}, {"max_delay": "3h"}),
        ({"max_delay": "3h"}, {"max_delay": "3h"}),
    ],
)
def test_a_delay_is_chosen_or_typed(fields, expected):
    """A typed one counts only where somebody chose to type it."""
    assert read_delay({name: [value] for name, value in fields.items()}) == expected


async def test_each_field_says_how_much_more_it_takes(site, file):  # noqa: F811
    """Its own limit counts, or what the text of a platform has left if that is less."""
    author = await site.signed_in("author", name="王")
    sent = {**NEW, **CASE, "data.signs": "一\n二", "data.lesson": "一" * 20}
    rooms = read_rooms((await author.post("/write/check", data=sent)).text)
    assert rooms["signs"] == ("还可写 4 条", "6")
    assert re.fullmatch(r"微博 还可写 \d 字", rooms["story"][0])
    long = {**sent, "data.place": "青" * 30}
    rooms = read_rooms((await author.post("/write/check", data=long)).text)
    assert rooms["lesson"][0].startswith("微博 多了")
    own = {**long, "text.weibo": "另写的一句"}
    rooms = read_rooms((await author.post("/write/check", data=own)).text)
    assert rooms["story"] == ("还可写 21 字", "45")
    assert rooms["text.weibo"][0].startswith("还可写 ")


async def test_rows_can_be_added_without_script(site, file):  # noqa: F811
    """The button draws more blank rows, up to the most that the field takes."""
    author = await site.signed_in("author", name="王")
    sent = {**NEW, "template": "weekly", "do": "refresh"}
    rows = []
    for _press in range(7):
        page = (await author.post("/write", data=sent)).text
        sent = {**fields_of(page), "do": ["refresh"]}
        rows.append(len(sent["data.types.name"]))
    assert rows == [3, 4, 5, 6, 7, 8, 8]


async def test_an_age_may_carry_its_unit(site, file):  # noqa: F811 # a fixture
    """62岁 is the age 62."""
    author = await site.signed_in("author", name="王")
    page = await author.post("/write", data=NEW | CASE | {"data.person.age": "62岁"})
    assert page.status_code == 303, page.text
    post = posts(file)[-1]
    assert post["data"]["person"]["age"] == 62


@pytest.mark.parametrize("kind", ["notice", "tip"])
async def test_a_kind_for_two_approvers_says_so_beside_the_button(site, kind):
    """With fewer of them it is said by the kind's name, also while nothing else is wrong."""
    author = await site.signed_in("author", name="王")
    page = (await author.get(f"/write?kind={kind}")).text
    said = re.findall(r'data-testid="lacks-two">([^<]*)', page)
    assert [text.partition("应由两人审批")[0] for text in said] == ["警情"] * (
        kind == "notice"
    )


async def test_the_empty_preview_names_the_fields_that_it_lacks(site):
    """Each blank field that is needed, and each wrong one, by its label."""
    author = await site.signed_in("author", name="王")
    page = (await author.get("/write?kind=warning")).text
    [said] = re.findall(r'data-testid="lacking">([^<]*)', page)
    assert "标题" in said
    assert "摘要" in said


async def test_a_region_without_a_preview_is_named_with_its_error(site):
    """The others keep theirs; each account's own length stands at its text."""
    author = await site.signed_in("author", name="王")
    fields = NEW | CASE | {"region.310000.data.day": "去年"}
    page = (await author.post("/write/check", data=fields)).text
    said = page.partition('data-testid="unshown">')[2].partition("</div>")[0]
    assert "还没有样子的地区：上海" in said
    assert said.count("<p>上海 ") == 1
    assert 'data-testid="preview-weibo"' in page
    whole = (await author.post("/write/check", data=NEW | CASE)).text
    assert 'data-testid="unshown"' not in whole
    [number] = re.findall(r'data-testid="length-weibo">(\d+) / ', whole)
    assert re.search(rf"<small>\w+的最长.*?count-weibo\">{number} / ", whole)


async def test_the_writer_of_a_new_form_is_its_editor(site):
    """The name can be taken out again; a template that needs no editor gets none."""
    author = await site.signed_in("author", name="王")
    page = (await author.get("/write?kind=notice")).text
    assert fields_of(page)["data.editor"] == ["王"]
    other = fields_of((await author.get("/write?kind=warning")).text)
    assert not any(other.get("data.editor", ()))
    fields = {**fields_of(page), "data.editor": "", "do": "refresh"}
    page = (await author.post("/write", data=fields)).text
    assert fields_of(page)["data.editor"] == [""]


async def test_the_regions_with_own_words_are_counted_while_they_are_written(site):
    """A check answers with the regions that have words now, none of an earlier moment."""
    author = await site.signed_in("author", name="王")
    fields = NEW | CASE | {"region.310000.data.place": "浦东新区"}
    page = (await author.post("/write/check", data=fields)).text
    [said] = re.findall(r'data-testid="own-regions">(.*?)</p>', page, re.DOTALL)
    assert "1 个地区" in said
    assert "上海" in said
    page = (await author.post("/write/check", data=NEW | CASE)).text
    assert 'data-testid="own-regions" hidden>' in page


async def test_a_checker_is_chosen_among_those_who_may_approve(site):
    """The field offers the names of others who may approve on the writer's accounts."""
    await site.add_user("李", "approver")
    await site.add_user("周", "approver@shanghai-tieba")
    await site.add_user("吴", "author")
    for writer, grant, names in (
        ("郑", "author@beijing-weibo", {"李"}),
        ("王", "author", {"李", "周"}),
    ):
        client = await site.signed_in(grant, name=writer)
        page = (await client.get("/write?kind=notice")).text
        [offered] = re.findall('<datalist id="checkers">(.*?)</datalist>', page)
        assert set(re.findall('value="([^"]+)"', offered)) == names
