"""The simulated Weibo: the calls that need a grant, and its checks of a text."""

import json
from urllib.parse import quote

import pytest

UID = "1404376560"
LINK = "https://example.gov.cn/n/1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
GRANTS = ["update", "biz", "article"]
ARTICLE = "/proxy/article/publish.json"
WORDS = {
    "title": "警惕退款诈骗",
    "content": "<p>100%+ 正规</p>",
    "cover": "https://example.gov.cn/c.png",
    "text": "【警惕】编号K7QM-4R2T",
}
GRANTED = {
    "/2/statuses/update.json": "update",
    "/2/statuses/upload.json": "update",
    "/2/statuses/update/biz.json": "biz",
    "/2/statuses/upload_url_text/biz.json": "biz",
    "/2/statuses/upload_pic/biz.json": "biz",
    ARTICLE: "article",
}


@pytest.fixture
async def granted(sim):
    """Return a simulator with one account that has every grant but long texts."""
    await settings(sim, weibo_grants={UID: GRANTS})
    return sim


async def settings(sim, **values):
    assert (await sim.post("/_sim/settings", json=values)).status_code == 200


async def call(sim, name, picture=None, **form):
    files = {"pic": ("a.png", picture, "image/png")} if picture else None
    path = name if name.startswith("/") else f"/2/statuses/{name}.json"
    return (
        await sim.post(path, data={"access_token": UID, **form}, files=files)
    ).json()


async def code(sim, name, picture=None, **form):
    return (await call(sim, name, picture, **form)).get("error_code")


async def posts(sim):
    return (await sim.get("/_sim/posts")).json()


async def write(sim, **words):
    """Publish an article; its content is encoded before the form is."""
    return await call(
        sim,
        ARTICLE,
        **{
            name: quote(text) if name == "content" else text
            for name, text in words.items()
        },
    )


@pytest.mark.parametrize(("path", "grant"), GRANTED.items())
async def test_an_ordinary_app_can_only_share(sim, path, grant):
    """Without its grant a call is 10014 before any parameter is read.

    With it the parameters are checked.
    """
    refused = await sim.post(path, data={"access_token": UID})
    assert (refused.status_code, refused.json()["error_code"]) == (403, 10014)
    await settings(sim, weibo_grants={"*": [grant]})
    assert (await sim.post(path, data={"access_token": UID})).json().get(
        "error_code"
    ) != 10014
    assert await posts(sim) == []


@pytest.mark.parametrize("name", ["update", "update/biz"])
async def test_update_needs_no_link_and_keeps_topics(granted, name):
    """The text is published unchanged, and the status returns the annotations."""
    note = json.dumps([{"type": "pub", "k": "d1"}])
    status = await call(granted, name, status="#暴雨预警# 注意", annotations=note)
    assert status["text"] == "#暴雨预警# 注意"
    assert status["annotations"] == [{"type": "pub", "k": "d1"}]
    single = await call(granted, name, status="注意", annotations='{"k": 1}')
    assert single["annotations"] == [{"k": 1}]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({}, 10016),
        ({"status": " "}, 20008),
        ({"status": "雨" * 141}, 20012),
        ({"status": "x", "annotations": "no json"}, 10017),
        ({"status": "x", "annotations": '"' + "n" * 511 + '"'}, 10017),
    ],
)
async def test_each_parameter_has_its_code(granted, form, expected):
    """An invalid parameter is refused, and nothing is created."""
    assert await code(granted, "update", **form) == expected
    assert await posts(granted) == []


async def test_upload_needs_its_picture(granted):
    """Without a picture it is 20007, with one the status names it."""
    assert await code(granted, "upload", status="x") == 20007
    assert await code(granted, "upload", b"BM00", status="x") == 20005
    status = await call(granted, "upload", PNG, status="x")
    assert len(status["pic_urls"]) == 1


async def test_up_to_nine_stored_pictures(granted):
    """Stored pictures are in the post in their order.

    A tenth, another account's or an unknown one is refused.
    """
    wanted = [PNG + bytes([n]) for n in range(9)]
    stored = [await call(granted, "upload_pic/biz", data) for data in wanted]
    numbers = [each["pic_id"] for each in stored]
    assert all(
        numbers[0] in stored[0][f"{size}_pic"]
        for size in ("thumbnail", "bmiddle", "original")
    )
    assert await posts(granted) == []
    name = "upload_url_text/biz"
    status = await call(
        granted, name, status="x", pic_id=",".join(numbers), url="ignored"
    )
    assert len(status["pic_urls"]) == 9
    (post,) = await posts(granted)
    assert [
        (await granted.get(f"/_sim/media/{each}")).content for each in post["images"]
    ] == wanted
    assert (
        await code(granted, name, status="y", pic_id=",".join([*numbers, numbers[0]]))
        == 10017
    )
    assert await code(granted, name, status="y", pic_id="unknown") == 10017
    await settings(granted, weibo_grants={"*": GRANTS})
    assert (
        await code(granted, name, status="y", pic_id=numbers[0], access_token="8")
        == 10017
    )
    page = (await granted.get(f"/_sim/feed/weibo/{UID}")).text
    assert page.count("/_sim/media/") == 9


async def test_a_picture_by_url(granted):
    """A URL stands for a picture, and the simulator does not fetch it.

    Without either it is 10016.
    """
    assert await code(granted, "upload_url_text/biz", status="x") == 10016
    assert (
        await code(granted, "upload_url_text/biz", status="x", url="ftp://a.cn/a.png")
        == 10017
    )
    status = await call(
        granted, "upload_url_text/biz", status="x", url="https://a.cn/a.png"
    )
    assert len(status["pic_urls"]) == 1
    (post,) = await posts(granted)
    assert (await granted.get(f"/_sim/media/{post['images'][0]}")).headers[
        "content-type"
    ] == "image/png"


async def test_pictures_to_store_are_checked(granted):
    """Without a picture, or with one of another type, nothing is stored."""
    assert await code(granted, "upload_pic/biz") == 20007
    assert await code(granted, "upload_pic/biz", b"RIFF") == 20005


async def test_long_texts_need_a_grant(granted):
    """Over 140 characters a text needs is_longtext and the grant.

    Over the long limit it is 20049.
    """
    name = "upload_url_text/biz"
    long = {"status": "雨" * 1500, "url": "https://a.cn/a.png", "is_longtext": "1"}
    assert await code(granted, name, **long) == 20012
    await settings(granted, weibo_grants={UID: [*GRANTS, "long_text"]})
    assert await code(granted, name, **{**long, "is_longtext": "0"}) == 20012
    assert await code(granted, name, **{**long, "status": "雨" * 2001}) == 20049
    assert (
        await code(granted, "upload", PNG, status="雨" * 200, is_longtext="1") == 20012
    )
    status = await call(granted, name, **long)
    assert (status["isLongText"], status["text"]) == (True, long["status"])


async def test_an_article_and_its_post(granted):
    """The response names both the article and its post.

    The post has the text and the article's URL, and the page shows the article.
    """
    answer = await write(granted, **WORDS)
    data = answer["data"]
    assert (answer["code"], answer["msg"]) == ("100000", "")
    assert data["object_id"] == f"1022:2309404{data['mid']}"
    assert data["url"] == f"https://weibo.com/ttarticle/p/show?id=2309404{data['mid']}"
    (post,) = await posts(granted)
    assert (post["id"], post["title"], post["html"]) == (
        data["mid"],
        WORDS["title"],
        WORDS["content"],
    )
    listed = await granted.get(
        "/2/statuses/user_timeline.json", params={"access_token": UID}
    )
    (status,) = listed.json()["statuses"]
    assert status["text"].startswith(WORDS["text"] + " http://t.cn/")
    assert status["url_objects"][0]["url_ori"] == data["url"]
    assert WORDS["title"] in (await granted.get(f"/_sim/feed/weibo/{UID}")).text
    assert (
        "<p>100%+ 正规</p>"
        in (await granted.get(f"/_sim/feed/weibo/{UID}?post={data['mid']}")).text
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"title": ""}, "title"),
        ({"title": "字" * 33}, "title"),
        ({"content": ""}, "content"),
        ({"content": "字" * 90_001}, "content"),
        ({"cover": "c.png"}, "cover"),
        ({"text": "字" * 1901}, "text"),
    ],
)
async def test_an_articles_parameters_are_named(granted, changed, named):
    """An invalid parameter is 10008 in the article's own envelope, with HTTP 200.

    It creates nothing.
    """
    answer = await write(granted, **(WORDS | changed))
    assert (answer["code"], answer["msg"], answer["data"]) == (
        "10008",
        f"param {named} invalid",
        "",
    )
    assert await posts(granted) == []


async def test_articles_can_need_rip(granted):
    """With strict rip it is a required parameter."""
    await settings(granted, weibo_rip="strict")
    assert (await write(granted, **WORDS))["msg"] == "param rip invalid"


@pytest.mark.parametrize(
    ("fault", "made", "shown"),
    [
        ({"kind": "api_error", "code": 11003, "acts": True}, 1, ("code", "11003")),
        ({"kind": "api_error", "code": 11002}, 0, ("code", "11002")),
        ({"kind": "api_error", "code": 10024}, 0, ("error_code", 10024)),
        ({"kind": "no_id"}, 1, ("data", {})),
        ({"kind": "captcha"}, 0, ("error_code", 20031)),
        ({"kind": "expire_token"}, 0, ("error_code", 21327)),
    ],
)
async def test_faults_apply_to_articles(granted, fault, made, shown):
    """Errors of the article call keep its envelope, all others have the usual body."""
    await granted.post(
        "/_sim/faults", json={"platform": "weibo", "endpoint": ARTICLE, "fault": fault}
    )
    answer = await write(granted, **WORDS)
    assert answer[shown[0]] == shown[1]
    assert len(await posts(granted)) == made


async def test_limits_by_address_and_by_call(granted):
    """10022 is one address's hour, 10024 names the call; business calls count by address only."""
    await settings(granted, weibo_per_hour=1, weibo_per_day=3)
    assert await code(granted, "update", status="1") is None
    refused = await call(granted, "update", status="2")
    assert (refused["error_code"], refused["error"]) == (
        10024,
        "User requests for (/statuses/update) out of rate limit!",
    )
    assert await code(granted, "update/biz", status="3") is None
    assert await code(granted, "update/biz", status="4") is None
    await settings(granted, weibo_per_ip=1)
    assert await code(granted, "update/biz", status="5") is None
    assert await code(granted, "update/biz", status="6", access_token="8") == 10014
    refused = await granted.post(
        "/2/statuses/update/biz.json", data={"access_token": UID, "status": "6"}
    )
    assert (refused.status_code, refused.json()["error_code"]) == (403, 10022)
    await granted.post("/_sim/clock", json={"shift": 3600})
    assert await code(granted, "update", status="7") is None
