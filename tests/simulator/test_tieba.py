"""The simulated Tieba: session, threads, public reading."""

import hashlib

import pytest

from publisher.simulator.tieba.sign_in import APP_SALT, WEB_SALT, sign
from tests.simulator.tieba_calls import (
    FORUM,
    ME,
    OTHER,
    PC_FIELDS,
    PNG,
    TEXT,
    TITLE,
    signed,
)


async def delete(tieba, tid, forum=None):
    fields = {
        "fid": forum or await tieba.fid(),
        "z": tid,
        "tbs": await tieba.tbs(),
        "is_frs_mask": "0",
    }
    return (await tieba.app("/c/c/bawu/delthread", **fields))["error_code"]


async def show(tieba, tid, who=""):
    return await tieba.as_(who).page(tid)


def test_signatures_are_those_of_the_clients():
    """Both clients' signatures are as recorded."""
    app = {"BDUSS": "B0", "fid": "1234", "is_frs_mask": "0", "tbs": "t0", "z": "42"}
    web = {
        **PC_FIELDS,
        "content": "测试",
        "ext": "",
        "fid": "1234",
        "kw": "天气",
        "tbs": "t0",
        "title": "标题",
    }
    assert sign(app, APP_SALT) == "2c6a0556a7bd49c11343be8575f24d44"
    assert sign(web, WEB_SALT) == "2c9681f519a676194488f2020d42a328"


async def test_a_session_shows_in_tbs_and_sync(tieba):
    """is_login is 1 with a session; the token has 26 hexadecimal characters either way."""
    signed_in = (await tieba.sim.get("/dc/common/tbs", headers=tieba.cookies)).json()
    assert (signed_in["is_login"], len(signed_in["tbs"])) == (1, 26)
    assert (await tieba.sim.get("/dc/common/tbs")).json()["is_login"] == 0
    synced = (
        await tieba.sim.get(
            "/c/s/pc/sync", params=signed(PC_FIELDS), headers=tieba.cookies
        )
    ).json()
    assert (synced["user"]["is_login"], synced["user"]["portrait"]) == (1, ME)


async def test_forums_have_stable_numbers(tieba):
    """In open mode each name is a forum; without a name there is none.

    In closed mode, only known names are forums.
    """
    assert await tieba.fid() == await tieba.fid() != await tieba.fid("别的")
    assert await tieba.fid("") == "0"
    await tieba.settings(open=False)
    assert await tieba.fid() == "0"
    await tieba.sim.post(
        "/_sim/accounts", json={"platform": "tieba", "account": ME, "forums": [FORUM]}
    )
    assert await tieba.fid() != "0"


async def test_a_thread_is_public_at_once(tieba):
    """Accepted with tid and pid, listed for its author, readable without any cookie."""
    made = await tieba.thread()
    assert made["error_code"] == "0"
    (entry,) = await tieba.threads()
    info = entry["thread_info"]
    assert (str(info["tid"]), info["title"], info["fname"]) == (
        made["tid"],
        TITLE,
        FORUM,
    )
    seen = await show(tieba, made["tid"])
    assert seen["error_code"] == 0
    assert seen["thread"]["author"]["portrait"] == ME
    assert [user["id"] for user in seen["user_list"]] == [
        seen["first_floor"]["author_id"]
    ]
    assert seen["first_floor"]["content"] == [
        {"type": 0, "text": TEXT.replace("\r\n", "\n")}
    ]
    assert (str(seen["thread"]["id"]), str(seen["first_floor"]["id"])) == (
        made["tid"],
        made["pid"],
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tbs": "0" * 26}, "230308"),
        ({"kw": ""}, "230274"),
        ({"fid": "1"}, "230274"),
        ({"title": "短"}, "230020"),
        ({"title": "长" * 32}, "220011"),
        ({"content": " "}, "230020"),
        ({"content": "长" * 2001}, "230046"),
        ({"content": "a <b> c"}, "2000"),
        ({"content": "#(pic,1,2,3)\n" * 10}, "230809"),
        ({"content": "x #(pic,1,2,3)"}, "230961"),
    ],
)
async def test_each_check_has_its_code(tieba, changes, expected):
    """Every refusal carries its code as text, and creates nothing."""
    assert (await tieba.thread(**changes))["error_code"] == expected
    assert await tieba.posts() == []


async def test_signature_and_session_come_first(tieba):
    """A wrong signature is 110001, a missing session 100023 or 230265."""

    async def code(fields, headers=None):
        return (
            await tieba.sim.post("/c/c/thread/add_pc", data=fields, headers=headers)
        ).json()["error_code"]

    data = signed({**PC_FIELDS, **await tieba.place(), "title": TITLE, "content": TEXT})
    assert await code({**data, "sign": "0" * 32}, tieba.cookies) == "110001"
    assert await code(data) == "100023"
    await tieba.settings(open=False)
    assert await code(data, tieba.cookies) == "230265"
    await tieba.settings(open=True)
    assert await code({**data, "sign": data["sign"].upper()}, tieba.cookies) == "0"


async def test_anothers_tbs_is_refused(tieba):
    """A token belongs to one account."""
    assert (await tieba.thread(tbs=await tieba.as_(OTHER).tbs()))[
        "error_code"
    ] == "230308"


async def test_pictures_are_uploaded_and_shown_in_place(tieba):
    """The markup becomes a picture between the texts; the post lists its digest."""
    picture = await tieba.upload()
    assert picture["error_code"] == "0"
    made = await tieba.thread(content=f"上\r\n#(pic,{picture['picId']},20,10)\r\n下")
    content = (await show(tieba, made["tid"]))["first_floor"]["content"]
    assert [(each["type"], each.get("text")) for each in content] == [
        (0, "上"),
        (3, None),
        (0, "下"),
    ]
    assert (await tieba.posts())[0]["images"] == [hashlib.sha256(PNG).hexdigest()]
    assert (await tieba.upload(b"text"))["error_code"] == "2230201"


async def test_a_thread_is_deleted_by_its_author_only(tieba):
    """Another account is refused; afterwards the thread is gone for all."""
    tid = (await tieba.thread())["tid"]
    assert await delete(tieba.as_(OTHER), tid) == "230308"
    assert await delete(tieba, tid, forum="1") == "230308"
    assert [await delete(tieba, tid) for _ in range(2)] == ["0", "230273"]
    assert (await show(tieba, tid))["error_code"] == 273
    assert await tieba.threads() == []


async def test_a_thread_in_review_is_seen_by_its_author_alone(tieba):
    """It is accepted with an id, yet missing for everybody else until it passes."""
    await tieba.fault("*", kind="review", seconds=30)
    tid = (await tieba.thread())["tid"]
    assert [(await show(tieba, tid, who))["error_code"] for who in ("", ME)] == [273, 0]
    assert [len(await tieba.as_(who).threads()) for who in (ME, "")] == [1, 0]
    await tieba.sim.post("/_sim/clock", json={"shift": 31})
    assert (await show(tieba, tid))["error_code"] == 0


async def test_a_review_may_be_announced(tieba):
    """With `announce` the response is 230008 and contains no id."""
    await tieba.fault("*", kind="review", verdict="hold", announce=True)
    made = await tieba.thread()
    assert (made["error_code"], "tid" in made, len(await tieba.posts())) == (
        "230008",
        False,
        1,
    )


async def test_lists_are_paged(tieba):
    """rn and pn choose the page, has_more is set before the last one, newest first."""
    tids = [(await tieba.thread(title=f"第{n}个主题标题"))["tid"] for n in range(3)]
    first, second = [await tieba.thread_list(rn="2", pn=page) for page in ("1", "2")]
    assert [str(each["thread_info"]["tid"]) for each in first["list"]] == tids[:0:-1]
    assert (first["has_more"], len(second["list"]), second["has_more"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("captcha", "5"), ("duplicate", "220034"), ("expire_token", "230265")],
)
async def test_refusals_have_the_platforms_format(tieba, kind, expected):
    """A captcha sets need_vcode, and no refusal creates anything."""
    await tieba.fault("/c/c/thread/add_pc", kind=kind)
    made = await tieba.thread()
    assert made["error_code"] == expected
    assert (made["info"] or {}).get("need_vcode") == (
        "1" if kind == "captcha" else None
    )
    assert await tieba.posts() == []


async def test_credentials_act_as_their_account(tieba):
    """A BDUSS of 192 characters acts as the portrait it was made for, under its name."""
    made = {"platform": "tieba", "account": ME, "name": "示例公安", "forums": [FORUM]}
    secret = (await tieba.sim.post("/_sim/accounts", json=made)).json()
    assert (len(secret["BDUSS"]), len(secret["STOKEN"])) == (192, 64)
    tid = (await tieba.as_(secret["BDUSS"]).thread())["tid"]
    author = (await show(tieba, tid))["thread"]["author"]
    assert (author["portrait"], author["name_show"]) == (ME, "示例公安")


async def test_unknown_paths_are_an_error(tieba):
    """An unknown path is 110001."""
    assert (await tieba.sim.post("/c/c/post/unknown")).json()["error_code"] == "110001"
