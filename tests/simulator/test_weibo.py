"""The simulated Weibo: share, its checks, and reading back."""

import pytest

from publisher.simulator.weibo.responses import encode_bid
from publisher.simulator.weibo.text import count_characters, strip_topics

SHARE = "/2/statuses/share.json"
LINK = "https://example.gov.cn/n/1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
NOON = 515483463


async def share(sim, text=f"警告 {LINK}", user="140437", **more):
    return await sim.post(
        SHARE, data={"access_token": user, "status": text, "rip": "211.156.0.1"}, **more
    )


async def timeline(sim, user="140437", **query):
    answer = await sim.get(
        "/2/statuses/user_timeline.json", params={"access_token": user, **query}
    )
    return answer.json()["statuses"]


def code(answer):
    return answer.json()["error_code"]


async def settings(sim, **values):
    assert (await sim.post("/_sim/settings", json=values)).status_code == 200


async def test_share_returns_the_status(sim):
    """Its ids agree, and its second can be computed from them."""
    await sim.post("/_sim/clock", json={"shift": 0})
    status = (await share(sim)).json()
    assert status["idstr"] == status["mid"] == str(status["id"])
    post = (await sim.get("/_sim/posts?account=140437")).json()[0]
    assert (status["id"] >> 22) + NOON == int(post["created"])
    assert status["user"]["idstr"] == "140437"
    assert status["created_at"].split()[4] == "+0800"
    assert "original_pic" not in status


async def test_links_are_shortened(sim):
    """The stored text has a t.cn code of 20 units, url_objects the original link."""
    status = (await share(sim)).json()
    short = status["url_objects"][0]
    assert short["url_ori"] == LINK
    assert len(short["url_short"]) == 20
    assert status["text"] == f"警告 {short['url_short']}"


async def test_topics_lose_their_marks(sim):
    """`#topic#` is published without its marks."""
    assert (
        (await share(sim, f"#暴雨# 注意 {LINK}")).json()["text"].startswith("暴雨 注意")
    )
    assert strip_topics("https://a.cn/#x# y") == "https://a.cn/#x# y"


async def test_a_picture_is_stored_and_named(sim):
    """A multipart share keeps the picture's bytes and lists its digest."""
    status = (await share(sim, files={"pic": ("a.png", PNG, "image/png")})).json()
    post = (await sim.get("/_sim/posts")).json()[0]
    assert post["images"][0] in status["original_pic"]
    media = await sim.get(f"/_sim/media/{post['images'][0]}")
    assert media.content == PNG
    assert media.headers["content-type"] == "image/png"


@pytest.mark.parametrize("where", ["body", "query", "header"])
async def test_the_token_can_be_in_three_places(sim, where):
    """Body, query and `Authorization: OAuth2` all authenticate a call."""
    status = {"status": f"x {LINK}"}
    if where == "body":
        answer = await sim.post(SHARE, data={**status, "access_token": "7"})
    elif where == "query":
        answer = await sim.post(SHARE, params={"access_token": "7"}, data=status)
    else:
        answer = await sim.post(
            SHARE, data=status, headers={"Authorization": "OAuth2 7"}
        )
    assert answer.json()["user"]["idstr"] == "7"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"status": f"x {LINK}"}, 10006),
        ({"access_token": "7"}, 10016),
        ({"access_token": "7", "status": "  "}, 20008),
        ({"access_token": "7", "status": "雨" * 141 + LINK}, 20012),
        ({"access_token": "7", "status": "雨" * 141}, 20012),
        ({"access_token": "7", "status": "没有链接"}, 10017),
        ({"access_token": "7", "status": f"x {LINK}", "pic": "no file"}, 20007),
    ],
)
async def test_each_check_has_its_code(sim, data, expected):
    """Every refusal of share has the documented code, and nothing is created.

    The earliest check wins.
    """
    answer = await sim.post(SHARE, data=data)
    assert code(answer) == expected
    assert answer.status_code == 400
    assert (await sim.get("/_sim/posts")).json() == []


@pytest.mark.parametrize(
    ("data", "expected"), [(b"BM0000", 20005), (PNG + b"0" * 5 * 1024 * 1024, 20006)]
)
async def test_pictures_are_checked(sim, data, expected):
    """A picture of another type or of 5 MB and more is refused."""
    assert code(await share(sim, files={"pic": ("a", data, "image/png")})) == expected


async def test_other_methods_and_paths_are_refused(sim):
    """A GET on share is 10021, an unknown path is 10020."""
    assert code(await sim.get(SHARE, params={"access_token": "7"})) == 10021
    assert (
        code(
            await sim.get(
                "/2/statuses/home_timeline.json", params={"access_token": "7"}
            )
        )
        == 10020
    )


async def test_strict_settings_refuse_more(sim):
    """Strict rip and bound domains each refuse calls that are accepted by default."""
    await settings(sim, weibo_rip="strict", weibo_safe_domains=["example.gov.cn"])
    assert (
        code(await sim.post(SHARE, data={"access_token": "7", "status": f"x {LINK}"}))
        == 10016
    )
    assert code(await share(sim, "x https://www.example.gov.cn/")) == 10017
    assert (await share(sim)).status_code == 200


async def test_a_repetition_is_refused_within_its_window(sim):
    """Only the account's last existing text counts, for ten minutes."""
    first = (await share(sim)).json()
    assert code(await share(sim)) == 20019
    assert (await share(sim, user="other")).status_code == 200
    await sim.post(
        "/2/statuses/destroy.json",
        data={"access_token": "140437", "id": first["idstr"]},
    )
    assert (await share(sim)).status_code == 200
    await sim.post("/_sim/clock", json={"shift": 601})
    assert (await share(sim)).status_code == 200
    await share(sim, f"又一条 {LINK}")
    assert (await share(sim)).status_code == 200


async def test_quotas_count_on_fixed_windows(sim):
    """Publishing over the hourly or daily limit is refused.

    The refusal lasts until the window of Beijing's clock ends.
    """
    await settings(sim, weibo_per_hour=1)
    await share(sim, f"1 {LINK}")
    assert code(await share(sim, f"2 {LINK}")) == 10024
    await sim.post("/_sim/clock", json={"shift": 3600})
    assert (await share(sim, f"2 {LINK}")).status_code == 200
    await settings(sim, weibo_per_hour=0, weibo_per_day=1)
    await sim.post("/_sim/clock", json={"shift": 86400})
    await timeline(sim)
    assert code(await share(sim, f"3 {LINK}")) == 10023


async def test_closed_mode_knows_only_registered_tokens(sim):
    """With open mode off an unknown token is refused and a registered one works."""
    await settings(sim, open=False)
    answer = await share(sim)
    assert (code(answer), answer.status_code) == (21332, 403)
    named = {"platform": "weibo", "account": "140437", "name": "平安"}
    secret = (await sim.post("/_sim/accounts", json=named)).json()
    status = (await share(sim, user=secret["access_token"])).json()
    assert (status["user"]["idstr"], status["user"]["screen_name"]) == (
        "140437",
        "平安",
    )


async def test_the_timeline_shows_the_newest_five(sim):
    """An ordinary app sees five posts, newest first; count and page choose among them."""
    ids = [(await share(sim, f"{n} {LINK}")).json()["idstr"] for n in range(7)]
    newest = ids[:1:-1]
    assert [each["idstr"] for each in await timeline(sim)] == newest
    assert [each["idstr"] for each in await timeline(sim, count=2, page=2)] == newest[
        2:4
    ]


async def test_show_destroy_and_count_agree(sim):
    """A destroyed post is gone from show and count; only its owner may destroy it."""
    mine = (await share(sim)).json()["idstr"]
    query = {"access_token": "140437", "id": mine}
    assert (await sim.get("/2/statuses/show.json", params=query)).json()[
        "idstr"
    ] == mine
    counted = {"access_token": "140437", "ids": f"{mine},1"}
    assert len((await sim.get("/2/statuses/count.json", params=counted)).json()) == 1
    assert (
        code(
            await sim.post(
                "/2/statuses/destroy.json", data={**query, "access_token": "8"}
            )
        )
        == 20102
    )
    assert (await sim.post("/2/statuses/destroy.json", data=query)).json()[
        "idstr"
    ] == mine
    assert code(await sim.post("/2/statuses/destroy.json", data=query)) == 20101
    assert code(await sim.get("/2/statuses/show.json", params=query)) == 20101
    assert (await sim.get("/2/statuses/count.json", params=counted)).json() == []


async def test_token_and_rate_limit_can_be_read(sim):
    """get_token_info returns user and lifetime, rate_limit_status the rest of the quota."""
    info = (
        await sim.post("/oauth2/get_token_info", data={"access_token": "140437"})
    ).json()
    assert info["uid"] == 140437
    assert info["expire_in"] > 0
    assert code(await sim.post("/oauth2/get_token_info", data={})) == 10006
    await settings(sim, weibo_per_hour=30)
    await share(sim)
    rate = (
        await sim.get(
            "/2/account/rate_limit_status.json", params={"access_token": "140437"}
        )
    ).json()
    assert rate["api_rate_limits"][0]["remaining_hits"] == 29


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("ab", 1),
        ("雨a", 2),
        ("雨" * 140, 140),
        ("a" * 281, 141),
        ("a\r\nb", 2),
        ("25°25°", 3),
        ("😀", 2),
        ("👨‍👩‍👧", 8),
        ("https://a.gov.cn", 10),
        ("http://a.gov.cn/" + "x" * 125, 11),
        ("http://a.gov.cn/" + "x" * 184, 40),
        ("http://t.cn/A6abCDeF", 10),
        ("http://weibo.com/" + "x" * 24, 21),
        ("http://weibo.com/" + "x" * 25, 10),
        ("http://yjj-x.gov.cn/a", 11),
        ("http://localhost/x", 9),
        ("http://a.gov.cn/1详情", 12),
        ("http://a.gov.cn/1 http://a.gov.cn/1", 21),
        ("雨" * 130 + "https://a.gov.cn/1", 140),
        ("雨" * 131 + "https://a.gov.cn/1", 141),
    ],
)
def test_length_is_counted_as_by_the_composer(text, expected):
    """The count agrees with the platform's own composer."""
    assert count_characters(text) == expected


@pytest.mark.parametrize(
    ("mid", "expected"),
    [
        ("201110410216293360", "wr4mOFqpbO"),
        ("4154099588849643", "FmHnoB8cb"),
        ("5000000000000001", "O00000001"),
    ],
)
def test_urls_are_the_platforms(mid, expected):
    """A post's URL is its id in groups of seven digits, padded in base 62."""
    assert encode_bid(mid) == expected
