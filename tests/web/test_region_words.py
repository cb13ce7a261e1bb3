"""Write: the words of single regions are kept, shown, added, changed and taken away."""

import tomllib

import pytest

from publisher.engine.planner import apply_schedule
from tests.web.test_write import (
    FILE,
    NEW,
    fields_of,
    file,  # noqa: F401 # a fixture
    posts,
    without_waiting,  # noqa: F401 # a fixture
)

OWN = """[post.region.310000]  # 上海
title = "上海的标题"
data.summary = "上海只说这一句"
"""
FAMILY = FILE + OWN


@pytest.fixture
async def author(site, file):  # noqa: F811 # the fixture
    """Return an author, with a family in the file."""
    file.write_text(FAMILY, "utf-8")
    return await site.signed_in("author", name="王")


async def open_form(author, **changes):
    page = await author.get("/posts/weekly/edit")
    assert page.status_code == 200, page.text
    return {**fields_of(page.text), "do": "save", **changes}


async def test_a_saved_family_keeps_the_words_of_its_regions(author, file):  # noqa: F811
    """A change of the common title leaves every region's table as it was written."""
    fields = await open_form(author, title="每周防骗提示")
    answer = await author.post("/write", data=fields)
    assert answer.status_code == 303, answer.text
    assert file.read_text("utf-8") == FAMILY.replace("每周反诈提示", "每周防骗提示")


async def test_the_form_shows_and_changes_a_regions_words(author, file):  # noqa: F811
    """A changed title is written where it stood; an emptied field is common again."""
    fields = await open_form(author)
    assert fields["region.310000.title"] == ["上海的标题"]
    assert fields["region.310000.data.summary"] == ["上海只说这一句"]
    changed = {"region.310000.title": "上海的新标题", "region.310000.data.summary": ""}
    answer = await author.post("/write", data={**fields, **changed})
    assert answer.status_code == 303, answer.text
    [post] = posts(file)
    assert post["region"] == {"310000": {"title": "上海的新标题"}}
    assert "# 上海" in file.read_text("utf-8")


async def test_words_for_another_region_are_added_as_a_table(author, file):  # noqa: F811
    """The chosen region gets inputs, and a table of its own in the file."""
    fields = await open_form(author, do="refresh", region_code="110000")
    shown = fields_of((await author.post("/write", data=fields)).text)
    assert shown["region.110000.title"] == [""]
    added = {
        **shown,
        "do": "save",
        "region.110000.body": "北京另有正文",
        "region.110000.data.summary": "北京的一句",
    }
    answer = await author.post("/write", data=added)
    assert answer.status_code == 303, answer.text
    [post] = posts(file)
    assert post["region"]["110000"] == {
        "body": "北京另有正文",
        "data": {"summary": "北京的一句"},
    }
    assert (
        post["region"]["310000"] == tomllib.loads(FAMILY)["post"][0]["region"]["310000"]
    )
    assert "[post.region.110000]" in file.read_text("utf-8")


async def test_an_ordinary_post_becomes_a_family_in_the_form(site, file):  # noqa: F811
    """A new post gets words for one region, as a table."""
    author = await site.signed_in("author", name="王")
    new = {**NEW, "region.310000.title": "上海另有标题"}
    answer = await author.post("/write", data=new)
    assert answer.status_code == 303, answer.text
    assert posts(file)[1]["region"] == {"310000": {"title": "上海另有标题"}}
    assert "[post.region.310000]" in file.read_text("utf-8")


async def test_a_problem_stands_at_the_regions_words(author, file):  # noqa: F811
    """Words for a region that the post does not reach are refused where they were typed."""
    fields = await open_form(author, **{"region.999999.title": "没有的地区"})
    answer = await author.post("/write", data=fields)
    assert answer.status_code == 422
    assert 'data-testid="problem-region.999999"' in answer.text
    assert file.read_text("utf-8") == FAMILY


async def test_a_regions_words_are_not_shown_to_the_other_region(site, author):
    """An author of one region neither edits nor copies the words of another."""
    other = await site.signed_in("author@region:110000", name="京")
    for path in (
        "/posts/weekly/edit",
        "/posts/weekly.310000/edit",
        "/posts/weekly/remove",
    ):
        assert (await other.get(path)).status_code == 404
    copy = (await other.get("/write?like=weekly")).text
    assert ("每周反诈提示" in copy, "上海" in copy) == (True, False)
    assert "上海的标题" in (await author.get("/write?like=weekly")).text


async def test_a_region_has_the_inputs_of_its_template(author, file):  # noqa: F811
    """A person is typed for a region in parts, as for all; the chosen region is where one lands."""
    fields = await open_form(author, do="region", region_code="110000", title="改题目")
    chosen = await author.post("/write", data=fields)
    assert chosen.headers["location"].endswith("#f-region.110000")
    kind = {"kind": "bulletin", "template": "case", "region_code": "110000"}
    names = {"name": "赵某", "sex": "女", "age": "62"}
    sent = {f"region.110000.data.person.{part}": text for part, text in names.items()}
    refused = await author.post("/write", data={**NEW, **kind, **sent, "do": "save"})
    shown = fields_of(refused.text)
    assert shown["region.110000.data.person.name"] == ["赵某"]
    assert 'data-testid="field-region.110000.person-age-1"' in refused.text


async def test_a_copy_of_one_region_is_an_ordinary_post_with_its_words(site, author):
    """It is for that region's accounts, and only its own people may begin it."""
    await apply_schedule(site.application.planner, FAMILY, "schedule.toml")
    copy = fields_of((await author.get("/write?like=weekly.310000")).text)
    assert copy["title"] == ["上海的标题"]
    assert copy["data.summary"] == ["上海只说这一句"]
    assert sorted(copy["to"]) == ["shanghai-tieba", "shanghai-wechat", "shanghai-weibo"]
    assert not [name for name in copy if name.startswith("region.3")]
    other = await site.signed_in("author@region:110000", name="京")
    assert (await other.get("/write?like=weekly.310000")).status_code == 404
