"""The simulated Tieba: restrictions of accounts and forums, and variants of its responses."""

import pytest

from tests.simulator.tieba_calls import FORUM, ME, OTHER


@pytest.mark.parametrize(
    ("standing", "expected", "shown"),
    [
        (
            {"block_stat": 2, "days_tofree": 10},
            "220012",
            {"block_stat": "2", "days_tofree": "10"},
        ),
        (
            {"block_stat": 3, "days_tofree": 3},
            "3250004",
            {"block_stat": "3", "days_tofree": "3"},
        ),
        ({"block_stat": 3, "forum": FORUM}, "3250004", {"block_stat": "3"}),
        ({"vcode_stat": 1}, "5", {"vcode_stat": "1"}),
    ],
)
async def test_a_ban_refuses_an_account(tieba, standing, expected, shown):
    """A ban refuses threads and replies alike.

    The response contains the account's restrictions.
    """
    tid = (await tieba.as_(OTHER).thread())["tid"]
    await tieba.settings(tieba_standing={ME: standing})
    for answer in (await tieba.thread(), await tieba.reply(tid)):
        assert answer["error_code"] == expected
        assert answer["anti_stat"].items() >= shown.items()
        assert (answer["info"] or {"need_vcode": "0"})["need_vcode"] == (
            "1" if expected == "5" else "0"
        )
    assert len(await tieba.posts()) == 1


async def test_a_ban_in_one_forum_leaves_the_others(tieba):
    """Elsewhere the account writes as before."""
    await tieba.settings(tieba_standing={ME: {"block_stat": 3, "forum": "别的"}})
    assert (await tieba.thread())["error_code"] == "0"


async def test_a_captcha_is_required_whatever_is_sent(tieba):
    """No solution is accepted."""
    await tieba.settings(tieba_standing={ME: {"vcode_stat": 1}})
    assert (await tieba.thread(vcode="abcd", vcode_md5="ab12cd34"))["info"][
        "need_vcode"
    ] == "1"


async def test_a_hidden_account_gets_a_success(tieba):
    """A hidden account's threads and replies are visible to itself alone.

    Only the restrictions in the response show it.
    """
    await tieba.settings(tieba_standing={ME: {"hide_stat": 1}})
    made = await tieba.thread()
    assert (made["error_code"], made["anti_stat"]["hide_stat"]) == ("0", "1")
    assert [
        (await tieba.as_(who).page(made["tid"]))["error_code"] for who in ("", ME)
    ] == [273, 0]
    await tieba.reply(made["tid"])
    assert [each["visible"] for each in await tieba.posts()] == [False, False]
    kinds = [each["kind"] for each in (await tieba.sim.get("/_sim/log")).json()]
    assert (kinds.count("act"), kinds.count("visible")) == (2, 0)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"closed": True}, "340001"),
        ({"read_only": True}, "230705"),
        ({"blacklist": [ME]}, "400013"),
        ({"followers_only": True}, "340012"),
        ({"levels": True}, "1990032"),
    ],
)
async def test_a_forum_can_refuse_an_account(tieba, state, expected):
    """Each reason has its code."""
    place = await tieba.place()
    await tieba.settings(tieba_forums={FORUM: state}, tieba_standing={ME: {"level": 2}})
    assert (await tieba.thread(**place))["error_code"] == expected
    assert await tieba.posts() == []


async def test_a_closed_forum_has_no_id(tieba):
    """Its id is 0."""
    await tieba.settings(tieba_forums={FORUM: {"closed": True}})
    assert await tieba.fid() == "0"


async def test_forbidden_words_are_named(tieba):
    """220015 with the words found, and no captcha."""
    await tieba.settings(tieba_words=["退款", "客服", "无关"])
    refused = await tieba.thread()
    assert (refused["error_code"], refused["info"]["confilter_hitwords"]) == (
        "220015",
        ["退款", "客服"],
    )
    assert refused["info"]["need_vcode"] == "0"


async def test_writing_too_fast_is_refused(tieba):
    """230871 until the gap has passed; another account is not affected."""
    await tieba.settings(tieba_gap=60)
    tid = (await tieba.thread())["tid"]
    assert (await tieba.reply(tid))["error_code"] == "230871"
    assert (await tieba.as_(OTHER).reply(tid))["error_code"] == "0"
    await tieba.sim.post("/_sim/clock", json={"shift": 61})
    assert (await tieba.reply(tid))["error_code"] == "0"


async def test_a_picture_is_one_chunk(tieba):
    """A second chunk, or one that is not the last, is refused."""
    for changes in ({"chunkNo": "2"}, {"isFinish": "0"}):
        assert (await tieba.upload(**changes))["error_code"] == "2230201"


async def test_numbers_can_be_text(tieba):
    """Every number of a response, in reads as well."""
    tid = (await tieba.thread())["tid"]
    await tieba.settings(tieba_types="text")
    page = await tieba.page(tid)
    assert (page["error_code"], page["thread"]["id"], page["thread"]["reply_num"]) == (
        "0",
        tid,
        "0",
    )


async def test_texts_can_be_numbers(tieba):
    """The code of a response and the ids."""
    await tieba.settings(tieba_types="numbers")
    made = await tieba.thread()
    assert (made["error_code"], type(made["tid"]), type(made["pid"])) == (0, int, int)


async def test_ids_can_be_in_data(tieba):
    """The fault no_id removes them from there, too."""
    await tieba.settings(tieba_ids_in="data")
    made = await tieba.thread()
    assert ("tid" in made, made["data"]["tid"].isdecimal()) == (False, True)
    await tieba.fault("/c/c/thread/add_pc", kind="no_id")
    assert (await tieba.thread())["data"] == {}


async def test_the_charset_can_be_gbk(tieba):
    """The bytes stay UTF-8."""
    await tieba.settings(tieba_charset="gbk")
    answer = await tieba.sim.get(
        "/f/commit/share/fnameShareApi", params={"fname": FORUM}
    )
    assert "GBK" in answer.headers["content-type"]
    assert b'"fid"' in answer.content


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            {"kind": "expire_token"},
            {"no": 265, "err_code": 230265, "error": "用户未登录", "data": None},
        ),
        ({"kind": "captcha"}, {"no": 4011, "err_code": 224011, "error": None}),
    ],
)
async def test_the_former_site_refuses_with_two_codes(tieba, fault, expected):
    """A short and a long one; a captcha comes without text, with `need_vcode`."""
    await tieba.fault("/dc/common/tbs", **fault)
    answer = (await tieba.sim.get("/dc/common/tbs", headers=tieba.cookies)).json()
    assert answer.items() >= expected.items()
    assert (answer["data"] or {"vcode": {"need_vcode": 0}})["vcode"]["need_vcode"] == (
        fault["kind"] == "captcha"
    )
