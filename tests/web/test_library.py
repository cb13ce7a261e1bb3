"""The pictures of the last year's posts, offered to the writers of their regions."""

import hashlib
import os
import re
from datetime import timedelta

import pytest

from publisher.engine.pictures import DIGEST_DIGITS, remove_unused_pictures
from publisher.store.people.drafts import LIBRARY_AGE
from tests.cli.posts import warning
from tests.web.posts import SOON, plan
from tests.web.test_write import (
    NEW,
    draw_picture,
    fields_of,
    fields_of_rows,
    file,  # noqa: F401 # the fixture
    without_waiting,  # noqa: F401 # the fixture
)

DATA = {
    name: draw_picture(colour)["picture"][1]
    for name, colour in (("beijing", "red"), ("shanghai", "blue"), ("both", "green"))
}
PATHS = {
    name: f"media/2026-11-{hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]}.png"
    for name, data in DATA.items()
}


def pictured(name, to, alt):
    images = f'images = [{{ file = "{PATHS[name]}", alt = "{alt}" }}]\n[post.data]'
    entry = warning(name, to=f'["{to}"]', when=SOON).replace("[post.data]", images)
    return re.sub(r'title = ".*"', f'title = "提醒 {name}"', entry)


@pytest.fixture
async def library(site, file):  # noqa: F811 # the fixture
    """Plan three posts with pictures, one for each region and one for both."""
    for name, path in PATHS.items():
        (file.parent / path).write_bytes(DATA[name])
    entries = (
        pictured("beijing", "region:110000", "转账截图"),
        pictured("shanghai", "region:310000", "冒充客服"),
        pictured("both", "all", "四个步骤"),
    )
    await plan(site, *entries)
    return file


def offered(page):
    return set(re.findall(r'name="item" value="([^"]+)"', page.text))


async def open_library(client, text="", form=NEW):
    return await client.post(
        "/write", data={**form, "do": "library", "library_text": text}
    )


async def test_a_picture_of_an_earlier_post_is_added_to_the_form(site, library):
    """Nothing typed is lost on the way, and the description comes along."""
    author = await site.signed_in("author", name="王")
    page = await open_library(author)
    assert offered(page) == {*PATHS.values()}
    form = {**fields_of(page.text), "item": PATHS["both"], "do": "choose"}
    chosen = await author.post("/write", data=form)
    [draft] = await site.store.drafts.list("王")
    assert chosen.headers["location"] == f"/write/{draft.id}#f-images"
    shown = fields_of((await author.get(f"/write/{draft.id}")).text)
    assert shown["image_file"] == [PATHS["both"]]
    assert shown["image_alt"] == ["四个步骤"]
    assert shown["title"] == [NEW["title"]]
    assert not {"item", "library_text"} & shown.keys()
    again = await author.post("/write", data={**form, "draft": draft.id, **shown})
    assert again.status_code == 303
    assert len(await site.store.drafts.list("王")) == 1


async def test_an_edit_keeps_its_post_on_the_way_through_the_library(site, library):
    """The form of an edit stays one of its post."""
    author = await site.signed_in("author", name="王")
    form = fields_of((await author.get("/posts/weekly/edit")).text)
    page = await open_library(author, form=form)
    back = await author.post("/write", data={**fields_of(page.text), "do": "refresh"})
    assert fields_of(back.text)["base"] == form["base"]
    assert fields_of(back.text)["start"] == form["start"]
    assert await site.store.drafts.list("王") == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shanghai", {"shanghai"}),
        ("SHANGHAI", {"shanghai"}),
        ("转账", {"beijing"}),
        ("提醒", {"beijing", "shanghai", "both"}),
        ("没有", set()),
    ],
)
async def test_pictures_are_found_by_title_and_description(site, library, text, found):
    """The search takes a part of either, in any case."""
    author = await site.signed_in("author")
    page = await open_library(author, text)
    assert offered(page) == {PATHS[name] for name in found}


async def test_a_writer_sees_the_pictures_of_own_regions_only(site, library):
    """Neither the list nor a forged choice has a picture of posts for other regions alone."""
    author = await site.signed_in("author@region:110000", name="王")
    page = await open_library(author, form={**NEW, "to": "region:110000"})
    assert offered(page) == {PATHS["beijing"], PATHS["both"]}
    assert "冒充客服" not in page.text
    form = {**fields_of(page.text), "item": PATHS["shanghai"], "do": "choose"}
    forged = await author.post("/write", data=form)
    assert fields_of_rows(forged.text) == []


async def test_a_picture_without_its_file_is_not_offered(site, library):
    """A picture that is gone, or a link, cannot be chosen."""
    author = await site.signed_in("author")
    (library.parent / PATHS["beijing"]).unlink()
    assert PATHS["beijing"] not in offered(await open_library(author))


async def test_the_clean_up_keeps_the_library_for_a_year(site, library):
    """A post that left the schedule keeps its picture, and is offered until the year is over."""
    author = await site.signed_in("author")
    await plan(site, "post = []")
    site.runtime.advance_time(LIBRARY_AGE - timedelta(days=2))
    other = draw_picture("white")["picture"][1]
    unused = library.parent / PATHS["both"].replace(
        PATHS["both"][14:26], hashlib.sha256(other).hexdigest()[:DIGEST_DIGITS]
    )
    unused.write_bytes(other)
    for each in (library.parent / "media").iterdir():
        os.utime(each, (0, 0))
    assert await remove_unused_pictures(site.application.planner, library) == 1
    assert not unused.exists()
    author = await site.signed_in("author", name="李")
    assert offered(await open_library(author)) == {*PATHS.values()}
    site.runtime.advance_time(timedelta(days=4))
    author = await site.signed_in("author", name="张")
    assert offered(await open_library(author)) == set()
