"""The Tieba side of the simulator: session, threads, public reading."""

import hashlib

import httpx
import pytest

from publisher.simulator import create_app
from publisher.simulator.tieba.sign_in import APP_SALT, WEB_SALT, sign

ME = "tb.1.abcd"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
COMMON = {"subapp_type": "pc", "_client_type": "20"}


@pytest.fixture
async def sim():
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        yield client


def cookies(who=ME):
    return {"Cookie": f"BDUSS={who}; STOKEN=x"}


async def tbs(sim, who=ME):
    return (await sim.get("/dc/common/tbs", headers=cookies(who))).json()["tbs"]


async def fid(sim, name="示例"):
    answer = await sim.get("/f/commit/share/fnameShareApi", params={"fname": name, "ie": "utf-8"})
    return answer.json()["data"]["fid"]


async def fields(sim, who=ME, **changes):
    asked = {
        "kw": "示例",
        "fid": str(await fid(sim)),
        "title": "警惕退款客服诈骗",
        "content": "第一行\r\n〔2026-118〕第二行",
        "is_pictxt": "1",
        "tbs": await tbs(sim, who),
        **COMMON,
        **changes,
    }
    return {**asked, "sign": sign(asked, WEB_SALT)}


async def add(sim, who=ME, **changes):
    data = await fields(sim, who, **changes)
    return (await sim.post("/c/c/thread/add_pc", data=data, headers=cookies(who))).json()


async def my_threads(sim, portrait=ME, who=ME, **more):
    query = {"pn": "1", "rn": "20", "portrait": portrait, "type": "1", "un": "", **COMMON, **more}
    headers = cookies(who) if who else {}
    return (
        await sim.get("/c/u/feed/myThread", params={**query, "sign": sign(query, WEB_SALT)}, headers=headers)
    ).json()


async def page(sim, tid, who=None):
    data = {"kz": tid, "pn": "1", "lz": "0", "r": "2", "tbs": "", **COMMON}
    data["sign"] = sign(data, WEB_SALT)
    return (await sim.post("/c/f/pb/page_pc", data=data, headers=cookies(who) if who else {})).json()


async def delete(sim, tid, who=ME, forum=None):
    data = {"BDUSS": who, "fid": str(forum or await fid(sim)), "z": tid, "tbs": await tbs(sim, who), "is_frs_mask": "0"}
    return (await sim.post("/c/c/bawu/delthread", data={**data, "sign": sign(data, APP_SALT)})).json()


async def upload(sim, data=PNG):
    asked = {"chunkNo": "1", "isFinish": "1", "width": "20", "height": "10", "tbs": await tbs(sim), **COMMON}
    asked["sign"] = sign({**asked, "chunk": "[object File]"}, WEB_SALT)
    files = {"chunk": ("a.png", data, "image/png")}
    return (await sim.post("/c/s/uploadPicture_pc", data=asked, files=files, headers=cookies())).json()


def test_signatures_are_those_of_the_clients():
    """Both dialects sign as recorded."""
    app = {"BDUSS": "B0", "fid": "1234", "is_frs_mask": "0", "tbs": "t0", "z": "42"}
    web = {**COMMON, "content": "测试", "ext": "", "fid": "1234", "kw": "天气", "tbs": "t0", "title": "标题"}
    assert sign(app, APP_SALT) == "2c6a0556a7bd49c11343be8575f24d44"
    assert sign(web, WEB_SALT) == "2c9681f519a676194488f2020d42a328"


async def test_a_session_shows_in_tbs_and_sync(sim):
    """is_login tells a session from none; the token has 26 hexadecimal characters either way."""
    signed_in = (await sim.get("/dc/common/tbs", headers=cookies())).json()
    assert signed_in["is_login"] == 1
    assert len(signed_in["tbs"]) == 26
    assert (await sim.get("/dc/common/tbs")).json()["is_login"] == 0
    query = {**COMMON, "sign": sign(COMMON, WEB_SALT)}
    user = (await sim.get("/c/s/pc/sync", params=query, headers=cookies())).json()["user"]
    assert (user["is_login"], user["portrait"]) == (1, ME)


async def test_forums_have_stable_numbers(sim):
    """In open mode each name is a forum; without a name there is none; closed, only known ones are."""
    assert await fid(sim) == await fid(sim) != await fid(sim, "别的")
    assert await fid(sim, "") == 0
    await sim.post("/_sim/settings", json={"open": False})
    assert await fid(sim) == 0
    await sim.post("/_sim/accounts", json={"platform": "tieba", "account": ME, "forums": ["示例"]})
    assert await fid(sim) > 0


async def test_a_thread_is_public_at_once(sim):
    """Accepted with tid and pid, listed for its author, readable without any cookie."""
    made = await add(sim)
    assert made["error_code"] == "0"
    (entry,) = (await my_threads(sim))["data"]["list"]
    info = entry["thread_info"]
    assert (str(info["tid"]), info["title"], info["fname"]) == (made["tid"], "警惕退款客服诈骗", "示例")
    seen = await page(sim, made["tid"])
    assert seen["error_code"] == 0
    assert seen["first_floor"]["author"]["portrait"] == ME
    assert seen["first_floor"]["content"] == [{"type": 0, "text": "第一行\n〔2026-118〕第二行"}]
    assert (str(seen["thread"]["id"]), str(seen["first_floor"]["id"])) == (made["tid"], made["pid"])


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
async def test_each_check_has_its_code(sim, changes, expected):
    """Every refusal carries its code as text, and creates nothing."""
    assert (await add(sim, **changes))["error_code"] == expected
    assert (await sim.get("/_sim/posts")).json() == []


async def test_signature_and_session_come_first(sim):
    """A wrong signature is 110001, a missing session 100023 or 230265."""
    data = await fields(sim)
    wrong = {**data, "sign": "0" * 32}
    assert (await sim.post("/c/c/thread/add_pc", data=wrong, headers=cookies())).json()["error_code"] == "110001"
    assert (await sim.post("/c/c/thread/add_pc", data=data)).json()["error_code"] == "100023"
    await sim.post("/_sim/settings", json={"open": False})
    assert (await sim.post("/c/c/thread/add_pc", data=data, headers=cookies())).json()["error_code"] == "230265"
    upper = {**data, "sign": data["sign"].upper()}
    await sim.post("/_sim/settings", json={"open": True})
    assert (await sim.post("/c/c/thread/add_pc", data=upper, headers=cookies())).json()["error_code"] == "0"


async def test_anothers_tbs_is_refused(sim):
    """A token belongs to one account."""
    assert (await add(sim, tbs=await tbs(sim, "tb.1.other")))["error_code"] == "230308"


async def test_pictures_are_uploaded_and_shown_in_place(sim):
    """The mark becomes a picture between the texts; the post lists its digest."""
    picture = await upload(sim)
    assert picture["error_code"] == "0"
    made = await add(sim, content=f"上\r\n#(pic,{picture['picId']},20,10)\r\n下")
    content = (await page(sim, made["tid"]))["first_floor"]["content"]
    assert [(each["type"], each.get("text")) for each in content] == [(0, "上"), (3, None), (0, "下")]
    assert (await sim.get("/_sim/posts")).json()[0]["images"] == [hashlib.sha256(PNG).hexdigest()]
    assert (await upload(sim, b"text"))["error_code"] == "2230201"


async def test_a_thread_is_taken_down_by_its_author_only(sim):
    """Another is refused; afterwards it is gone for all."""
    tid = (await add(sim))["tid"]
    assert (await delete(sim, tid, who="tb.1.other"))["error_code"] == "230308"
    assert (await delete(sim, tid, forum=1))["error_code"] == "230308"
    assert (await delete(sim, tid))["error_code"] == "0"
    assert (await delete(sim, tid))["error_code"] == "230273"
    assert (await page(sim, tid))["error_code"] == 273
    assert (await my_threads(sim))["data"]["list"] == []


async def test_a_thread_in_review_is_seen_by_its_author_alone(sim):
    """Accepted with a number, yet missing to everybody else until it passes."""
    await sim.post("/_sim/faults", json={"platform": "tieba", "fault": {"kind": "review", "seconds": 30}})
    tid = (await add(sim))["tid"]
    assert (await page(sim, tid))["error_code"] == 273
    assert (await page(sim, tid, ME))["error_code"] == 0
    assert len((await my_threads(sim))["data"]["list"]) == 1
    assert (await my_threads(sim, who=None))["data"]["list"] == []
    await sim.post("/_sim/clock", json={"shift": 31})
    assert (await page(sim, tid))["error_code"] == 0


async def test_a_review_may_be_announced(sim):
    """With `announce` the answer is 230008 and names no thread."""
    await sim.post("/_sim/faults", json={"fault": {"kind": "review", "verdict": "hold", "announce": True}})
    made = await add(sim)
    assert made["error_code"] == "230008"
    assert "tid" not in made
    assert len((await sim.get("/_sim/posts")).json()) == 1


async def test_lists_are_paged(sim):
    """rn and pn choose, has_more tells of the rest, newest first."""
    tids = [(await add(sim, title=f"第{n}个主题标题"))["tid"] for n in range(3)]
    first = (await my_threads(sim, rn="2"))["data"]
    assert [str(each["thread_info"]["tid"]) for each in first["list"]] == tids[:0:-1]
    assert first["has_more"] == 1
    second = (await my_threads(sim, rn="2", pn="2"))["data"]
    assert (len(second["list"]), second["has_more"]) == (1, 0)


@pytest.mark.parametrize(("kind", "expected"), [("captcha", "5"), ("duplicate", "220034"), ("expire_token", "230265")])
async def test_refusals_come_in_the_platforms_shape(sim, kind, expected):
    """A captcha says need_vcode, and no refusal creates anything."""
    await sim.post(
        "/_sim/faults", json={"platform": "tieba", "endpoint": "/c/c/thread/add_pc", "fault": {"kind": kind}}
    )
    made = await add(sim)
    assert made["error_code"] == expected
    assert (made["info"] or {}).get("need_vcode") == ("1" if kind == "captcha" else None)
    assert (await sim.get("/_sim/posts")).json() == []


async def test_credentials_act_as_their_account(sim):
    """A BDUSS of 192 characters acts as the portrait it was made for, under its name."""
    made = {"platform": "tieba", "account": ME, "name": "示例公安", "forums": ["示例"]}
    secret = (await sim.post("/_sim/accounts", json=made)).json()
    assert (len(secret["BDUSS"]), len(secret["STOKEN"])) == (192, 64)
    tid = (await add(sim, who=secret["BDUSS"]))["tid"]
    author = (await page(sim, tid))["first_floor"]["author"]
    assert (author["portrait"], author["name_show"]) == (ME, "示例公安")


async def test_unknown_paths_are_an_error(sim):
    """What is not played answers 110001."""
    assert (await sim.post("/c/c/post/add_pc")).json()["error_code"] == "110001"
