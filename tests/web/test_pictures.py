"""Pictures of the form: shrunk as they are added, shown small, put in another order."""

import io
import json
import re

import pytest
from PIL import Image

from publisher.engine import pictures
from tests.web.test_write import (
    NEW,
    draw_picture,
    fields_of,
    fields_of_rows,
    file,  # noqa: F401 # the fixture
    posts,
    without_waiting,  # noqa: F401 # the fixture
)

GRAIN = 80
MAX_BYTES = 1_000_000
"""WeChat takes less than a megabyte inside an article."""


def draw_photo(size=(2400, 1600), *, orientation=1, quality=95):
    """Return a photo as a phone takes it: grainy, with the place and the camera's orientation."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "secret place"
    data = io.BytesIO()
    image = Image.effect_noise(size, GRAIN).convert("RGB")
    image.save(data, "JPEG", exif=exif, quality=quality)
    return data.getvalue()


def as_upload(data, name="photo.jpg"):
    return {"picture": (name, data, "image/jpeg")}


def find_size(page, number=1):
    """Return the words about the size of a picture in the form."""
    found = re.search(rf'data-testid="size-{number}">(.*?)</p>', page, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1])).strip()


@pytest.mark.long
async def test_a_large_picture_is_shrunk_and_the_author_is_informed(site, file):  # noqa: F811
    """The form says from which size to which, also in the draft; the file is upright and clean.

    It is added by the check of the page: a phone's photo is longer than any other form.
    """
    author = await site.signed_in("author", name="王")
    photo = draw_photo(orientation=6)
    assert len(photo) > 2 * MAX_BYTES
    added = await author.post("/write/check", data=NEW, files=as_upload(photo))
    [path] = fields_of_rows(added.text)
    kept = (file.parent / path).read_bytes()
    with Image.open(io.BytesIO(kept)) as image:
        width, height = image.size
        assert (image.format, image.getexif().get(0x0112)) == ("JPEG", None)
    assert len(kept) <= MAX_BYTES
    assert width < 1600
    assert width / height == pytest.approx(1600 / 2400, abs=0.01)
    assert b"secret place" not in kept
    was = f"原来是 1600 × 2400 像素，{len(photo) / 1_000_000:.1f} MB"
    now = f"{width} × {height} 像素，"
    assert now in find_size(added.text)
    assert was in find_size(added.text)
    [draft] = await site.store.drafts.list("王")
    shown = await author.get(f"/write/{draft.id}")
    assert was in find_size(shown.text)
    fields = {**fields_of(shown.text), "image_alt": "四个步骤", "do": "save"}
    assert (await author.post("/write", data=fields)).status_code == 303
    assert posts(file)[1]["images"] == [{"file": path, "alt": "四个步骤"}]


async def test_a_picture_that_fits_keeps_its_bytes(site, file):  # noqa: F811
    """Nothing is enlarged or encoded again, and nothing is said about another size."""
    author = await site.signed_in("author")
    plain = draw_picture()
    added = await author.post("/write/check", data=NEW, files=plain)
    [path] = fields_of_rows(added.text)
    assert (file.parent / path).read_bytes() == plain["picture"][1]
    assert find_size(added.text).endswith("40 × 30 像素，1 KB")


async def test_a_picture_beyond_all_limits_is_refused_at_its_field(
    site,
    file,  # noqa: F811
    monkeypatch,
):
    """Too many bytes, and more pixels than are decoded, have a problem, and nothing is kept."""
    monkeypatch.setattr(pictures, "MAX_UPLOAD_BYTES", 20_000)
    before = {*(file.parent / "media").iterdir()}
    author = await site.signed_in("author")
    data = io.BytesIO()
    Image.new("1", (9000, 9000)).save(data, "PNG")
    for bad in (draw_photo((600, 400)), data.getvalue()):
        refused = await author.post("/write/check", data=NEW, files=as_upload(bad))
        assert "problem-images" in refused.text
        assert fields_of_rows(refused.text) == []
    assert {*(file.parent / "media").iterdir()} == before


@pytest.mark.long
async def test_nine_pictures_are_shown_small(site, file):  # noqa: F811
    """The page of nine photos asks for less than a megabyte of pictures, and once a day only."""
    author = await site.signed_in("author", name="王")
    page = ""
    for number in range(9):
        photo = draw_photo((900 + number, 600))
        form = fields_of(page) if page else NEW
        await author.post("/write/check", data=form, files=as_upload(photo))
        [draft] = await site.store.drafts.list("王")
        page = (await author.get(f"/write/{draft.id}")).text
    sources = re.findall(r'src="(/write/pictures/[^"]+)"', page)
    answers = [await author.get(source) for source in sources]
    assert len(answers) == 9
    assert sum(len(answer.content) for answer in answers) < MAX_BYTES
    assert {answer.headers["cache-control"] for answer in answers} == {
        "private, max-age=86400"
    }
    with Image.open(io.BytesIO(answers[0].content)) as small:
        assert small.width / small.height == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize(
    ("move", "order"),
    [
        ("up media/b.png", "bac"),
        ("down media/b.png", "acb"),
        ("up media/a.png", "abc"),
        ("down media/c.png", "abc"),
        ("up media/none.png", "abc"),
        ("sideways media/b.png", "abc"),
    ],
)
async def test_a_picture_changes_places_with_its_neighbour(site, file, move, order):  # noqa: F811
    """Each picture takes its description along; a move beyond an end changes nothing."""
    author = await site.signed_in("author", name="王")
    form = {
        **NEW,
        "image_file": [f"media/{name}.png" for name in "abc"],
        "image_alt": [*"abc"],
        "move": move,
    }
    del form["do"]
    moved = await author.post("/write", data=form)
    [draft] = await site.store.drafts.list("王")
    content = json.loads(draft.content)
    assert moved.headers["location"] == f"/write/{draft.id}#f-images"
    assert content["image_file"] == [f"media/{name}.png" for name in order]
    assert content["image_alt"] == [*order]
    assert "move" not in content


async def test_the_cut_of_a_cover_is_written_and_shown_again(site, file):  # noqa: F811
    """The sliders are in the entry once they are moved, in the draft, and in an edit."""
    author = await site.signed_in("author", name="王")
    added = await author.post("/write/check", data=NEW, files=draw_picture())
    [path] = fields_of_rows(added.text)
    [draft] = await site.store.drafts.list("王")
    form = fields_of((await author.get(f"/write/{draft.id}")).text)
    slider = f"crop.{path}"
    assert form[slider] == ["50", "50", "100", "50", "50", "100"]
    moved = {**form, slider: ["50", "0", "100", "50", "50", "100"], "image_alt": "图"}
    await author.post("/write", data={**moved, "do": "draft"})
    again = await author.get(f"/write/{draft.id}")
    assert fields_of(again.text)[slider] == moved[slider]
    assert 'viewBox="0.0 0.0 40.0 17.02"' in again.text
    saved = await author.post("/write", data={**moved, "do": "save"})
    assert saved.status_code == 303
    [image] = posts(file)[1]["images"]
    assert image["crop_wide"] == [50, 0, 100]
    assert "crop_square" not in image
    edit = fields_of((await author.get(f"/posts/{posts(file)[1]['id']}/edit")).text)
    assert edit[slider] == moved[slider]
    centred = {**edit, slider: form[slider], "do": "save"}
    assert (await author.post("/write", data=centred)).status_code == 303
    assert "crop_wide" not in posts(file)[1]["images"][0]


@pytest.mark.parametrize("value", ["-1", "101", "x", "9" * 400])
async def test_a_forged_slider_is_refused_or_ignored(site, file, value):  # noqa: F811
    """No page fails, and nothing of it is written."""
    author = await site.signed_in("author", name="王")
    added = await author.post("/write/check", data=NEW, files=draw_picture())
    [path] = fields_of_rows(added.text)
    form = {**NEW, "image_file": path, "image_alt": "图"}
    cut = {f"crop.{path}": [value, "50", "100", "50", "50", "100"]}
    refused = await author.post("/write", data={**form, **cut})
    few = await author.post("/write", data={**form, f"crop.{path}": [value]})
    assert refused.status_code == 422
    assert few.status_code == 303
    assert "crop_wide" not in posts(file)[1]["images"][0]


async def test_a_picture_without_description_is_refused_by_the_name_of_its_field(
    site,
    file,  # noqa: F811
):
    """The form says beforehand that it is needed, and a save names the field in words."""
    author = await site.signed_in("author")
    added = await author.post("/write/check", data=NEW, files=draw_picture())
    [path] = fields_of_rows(added.text)
    assert "图片说明（必填）" in added.text
    form = {**NEW, "image_file": path, "image_alt": "", "do": "save"}
    refused = await author.post("/write", data=form)
    assert refused.status_code == 422
    assert "“图片说明”不能为空" in refused.text
    assert "“alt”" not in refused.text
