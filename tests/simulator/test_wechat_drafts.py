"""The simulated WeChat: types of drafts, stored pictures, limits."""

import hashlib
import io

import httpx
import pytest
from PIL import Image

from publisher.simulator import create_app
from tests.simulator.wechat_calls import (
    PNG,
    article,
    begin_day,
    call,
    change_settings,
    cover,
    draft,
    posts,
    shift,
    stable,
    submit,
    upload,
)


@pytest.fixture
async def sim():
    transport = httpx.ASGITransport(create_app(), client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        yield client


def image(width, height):
    made = io.BytesIO()
    Image.new("RGB", (width, height)).save(made, "PNG")
    return made.getvalue()


async def newspic(sim, token, **changes):
    names = [{"image_media_id": await cover(sim, token)} for _ in range(2)]
    info = {"image_list": names}
    return {
        "article_type": "newspic",
        "title": "防骗提醒",
        "content": "第一行\n第二行",
        "image_info": info,
        **changes,
    }


async def add(sim, token, one):
    return await call(sim, token, "draft/add", {"articles": [one]})


async def test_pictures_are_published_with_their_text(sim, token):
    """A newspic keeps its pictures in order and reads back as one.

    Its page shows pictures and text.
    """
    one = await newspic(sim, token)
    name = (await add(sim, token, one))["media_id"]
    (kept,) = (await call(sim, token, "draft/get", {"media_id": name}))["news_item"]
    assert (kept["article_type"], kept["image_info"]) == ("newspic", one["image_info"])
    assert "thumb_media_id" not in kept
    await submit(sim, token, name)
    await shift(sim, 1)
    (post,) = await posts(sim)
    assert (post["images"], post["visible"]) == (
        [hashlib.sha256(PNG).hexdigest()],
        True,
    )
    page = (await sim.get("/_sim/feed/wechat/wx1", params={"post": post["id"]})).text
    assert page.count('data-testid="picture"') == 2
    assert "第一行\n第二行" in page


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title": ""}, 40035),
        ({"title": "题" * 21}, 45003),
        ({"content": ""}, 44004),
        ({"content": "字" * 1001}, 45002),
        ({"image_info": {}}, 41006),
        ({"image_info": {"image_list": [{"image_media_id": "x"}]}}, 40007),
        ({"image_info": {"image_list": [{"image_media_id": "x"}] * 21}}, 40035),
        ({"article_type": "video"}, 40035),
    ],
)
async def test_newspics_are_checked(sim, token, changes, expected):
    """Each limit of a newspic has its code."""
    assert (await add(sim, token, await newspic(sim, token, **changes)))[
        "errcode"
    ] == expected


@pytest.mark.parametrize(("size", "expected"), [((1, 1), 53402), ((600, 600), None)])
async def test_a_tiny_cover_cannot_be_cropped(sim, token, size, expected):
    """A picture of one pixel is refused as a cover."""
    thumb = (
        await upload(sim, token, "material/add_material", image(*size), type="image")
    ).json()["media_id"]
    answer = await add(sim, token, await article(sim, token, thumb_media_id=thumb))
    assert answer.get("errcode") == expected


async def test_a_draft_is_changed_in_place(sim, token):
    """One article is replaced under the same id; `articles` is no list, the index must exist."""
    name, other = await draft(sim, token), await article(sim, token, title="更正")
    changed = {"media_id": name, "index": 0, "articles": other}
    assert (await call(sim, token, "draft/update", changed))["errcode"] == 0
    assert (await call(sim, token, "draft/get", {"media_id": name}))["news_item"][0][
        "title"
    ] == "更正"
    for wrong, code in (
        ({"articles": [other]}, 47001),
        ({"media_id": "x"}, 40007),
        ({"index": 1}, 40035),
        ({"articles": {**other, "title": ""}}, 40035),
    ):
        assert (await call(sim, token, "draft/update", {**changed, **wrong}))[
            "errcode"
        ] == code


async def test_a_submitted_draft_cannot_be_changed(sim, token):
    """A draft that stays until its job has ended is neither changed nor deleted meanwhile."""
    await change_settings(sim, wechat_consume="finish")
    name, other = await draft(sim, token), await article(sim, token)
    await submit(sim, token, name)
    assert (
        await call(sim, token, "draft/update", {"media_id": name, "articles": other})
    )["errcode"] == 53401
    assert (await call(sim, token, "draft/delete", {"media_id": name}))[
        "errcode"
    ] == 53401


async def test_the_library_lists_returns_and_deletes(sim, token):
    """Permanent pictures are counted, listed newest first, returned and deleted."""
    names = [await cover(sim, token) for _ in range(2)]
    count = await sim.get(
        "/cgi-bin/material/get_materialcount", params={"access_token": token}
    )
    assert count.json()["image_count"] == 2
    listed = await call(
        sim,
        token,
        "material/batchget_material",
        {"type": "image", "offset": 0, "count": 20},
    )
    assert [item["media_id"] for item in listed["item"]] == names[::-1]
    query = {"access_token": token}
    given = await sim.post(
        "/cgi-bin/material/get_material", params=query, json={"media_id": names[0]}
    )
    assert given.content == PNG
    assert (await call(sim, token, "material/del_material", {"media_id": names[0]}))[
        "errcode"
    ] == 0
    assert (await call(sim, token, "material/get_material", {"media_id": names[0]}))[
        "errcode"
    ] == 40007
    assert (await call(sim, token, "material/batchget_material", {"type": "x"}))[
        "errcode"
    ] == 40004


async def test_a_temporary_picture_lasts_three_days(sim, token):
    """It is returned until then, and is no cover."""
    name = (await upload(sim, token, "media/upload", type="image")).json()["media_id"]
    assert (await add(sim, token, await article(sim, token, thumb_media_id=name)))[
        "errcode"
    ] == 40007
    query = {"access_token": token, "media_id": name}
    assert (await sim.get("/cgi-bin/media/get", params=query)).content == PNG
    await shift(sim, 3 * 86_400)
    query["access_token"] = (await stable(sim))["access_token"]
    assert (await sim.get("/cgi-bin/media/get", params=query)).json()[
        "errcode"
    ] == 40007


async def test_tokens_are_for_listed_addresses(sim):
    """Another address is refused and named; a token already issued works from anywhere."""
    token = (await stable(sim))["access_token"]
    await change_settings(sim, wechat_addresses=["127.0.0.1"])
    refused = await stable(sim)
    assert refused["errcode"] == 40164
    assert refused["errmsg"].startswith(
        "invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist rid: "
    )
    assert "errcode" not in await call(sim, token, "draft/batchget")
    await change_settings(sim, wechat_addresses=["192.0.2.7"])
    assert "access_token" in await stable(sim)


async def test_a_refresh_is_forced_twenty_times_a_day(sim):
    """The next one is over the limit; one that came too soon does not count."""
    await begin_day(sim)
    await stable(sim)
    for _ in range(20):
        await stable(sim, force=True)
        await shift(sim, 31)
        assert "access_token" in await stable(sim, force=True)
    await shift(sim, 31)
    assert (await stable(sim, force=True))["errcode"] == 45009
    assert "access_token" in await stable(sim)


async def test_the_platforms_quotas_can_apply(sim, token):
    """By the setting, its own limits apply until the day is over."""
    await change_settings(sim, wechat_quotas="platform")
    for _ in range(10):
        assert (await call(sim, token, "freepublish/delete"))["errcode"] == 53600
    assert (await call(sim, token, "freepublish/delete"))["errcode"] == 45009
    await shift(sim, 24 * 3600)
    token = (await stable(sim))["access_token"]
    assert (await call(sim, token, "freepublish/delete"))["errcode"] == 53600


async def test_an_unverified_account_drafts_only(sim, token):
    """Publishing, mass sends and statistics are refused; the draft box works."""
    await change_settings(sim, wechat_verified=False)
    name = await draft(sim, token)
    assert (await submit(sim, token, name))["errcode"] == 48001
    assert (await call(sim, token, "message/mass/sendall"))["errcode"] == 48001
    assert (await call(sim, token, "draft/get", {"media_id": name}))["news_item"]


async def test_a_body_without_a_length_has_no_file(sim, token):
    """A chunked body is refused as if there were no data."""

    async def pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="media"; filename="a.png"\r\n\r\n'
        yield PNG + b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    query = {"access_token": token, "type": "image"}
    for path in ("media/uploadimg", "media/upload", "material/add_material"):
        answer = await sim.post(
            f"/cgi-bin/{path}", params=query, content=pieces(), headers=headers
        )
        assert answer.json()["errcode"] == 41005


@pytest.mark.parametrize(
    ("field", "crop", "expected"),
    [
        ("pic_crop_235_1", "0_0.1_1_0.951064", None),
        ("pic_crop_1_1", "0.25_0_0.75_1", None),
        ("pic_crop_1_1", "", None),
        ("pic_crop_1_1", "0.25_0_0.75", 53402),
        ("pic_crop_1_1", "0.25_0_0.7500001_1", 53402),
        ("pic_crop_1_1", "0.75_0_0.25_1", 53402),
        ("pic_crop_1_1", "-0.1_0_0.4_1", 53402),
        ("pic_crop_1_1", "0_0_1_1", 53402),
        ("pic_crop_235_1", "0.25_0_0.75_1", 53402),
        ("pic_crop_1_1", 1, 53402),
    ],
)
async def test_a_cover_is_cut_to_the_ratio_of_the_field(
    sim, token, field, crop, expected
):
    """A crop is a part of the cover in the shape of its field; the draft keeps it."""
    thumb = (
        await upload(sim, token, "material/add_material", image(800, 400), type="image")
    ).json()["media_id"]
    one = await article(sim, token, thumb_media_id=thumb, **{field: crop})
    answer = await add(sim, token, one)
    assert answer.get("errcode") == expected
    if crop and expected is None:
        name = {"media_id": answer["media_id"]}
        [kept] = (await call(sim, token, "draft/get", name))["news_item"]
        assert kept[field] == crop
