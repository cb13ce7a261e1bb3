"""The simulated Tieba: the app's forms and Protocol Buffers."""

import re

import pytest

from publisher.simulator.tieba.protobuf import decode, encode
from tests.simulator.protobuf_format import at, message, read_message, text_at
from tests.simulator.tieba_calls import APP, FORUM, ME, OTHER, TEXT, TITLE, signed

PB_PAGE, PB_REPLY, USERPOST, FRS_PAGE, PROFILE = (
    "302001",
    "302002",
    "303002",
    "301001",
    "303012",
)


def error(answer):
    return at(answer, 1, 1) or 0


# --- signing in ---


async def test_the_app_signs_in_by_form(tieba):
    """Its token is valid for a write; the id is text; `|null` may follow the session."""
    data = signed({"_client_version": "22.12.1.0", "bdusstoken": f"{ME}|null"}, APP)
    answer = (await tieba.sim.post("/c/s/login", data=data)).json()
    assert (answer["error_code"], answer["user"]["portrait"]) == ("0", ME)
    assert answer["user"]["id"].isdecimal()
    assert (await tieba.thread(tbs=answer["anti"]["tbs"]))["error_code"] == "0"


async def test_a_bad_sign_in_is_refused(tieba):
    """A wrong signature is 110001, an unknown session 1."""
    wrong = {"bdusstoken": ME, "sign": "0" * 32}
    assert (await tieba.sim.post("/c/s/login", data=wrong)).json()[
        "error_code"
    ] == "110001"
    await tieba.settings(open=False)
    unknown = signed({"bdusstoken": ME}, APP)
    assert (await tieba.sim.post("/c/s/login", data=unknown)).json()[
        "error_code"
    ] == "1"


async def test_each_client_type_has_its_own_salt(tieba):
    """A form of the app signed with the PC site's salt is refused, and vice versa.

    PC calls name their type.
    """
    data = {"BDUSS": ME, "title": TITLE, "content": TEXT, **await tieba.place()}
    assert (await tieba.sim.post("/c/c/bawu/delthread", data=signed(data))).json()[
        "error_code"
    ] == "110001"
    sent = await tieba.sim.post(
        "/c/c/thread/add_pc", data=signed(data, APP), headers=tieba.cookies
    )
    assert sent.json()["error_code"] == "110001"
    unnamed = await tieba.sim.post(
        "/c/c/thread/add_pc", data=signed(data), headers=tieba.cookies
    )
    assert unnamed.json()["error_code"] == "110001"
    assert await tieba.posts() == []


async def test_the_apps_small_reads(tieba):
    """Client ids and nickname."""
    made = {"platform": "tieba", "account": ME, "name": "示例公安", "forums": [FORUM]}
    await tieba.sim.post("/_sim/accounts", json=made)
    assert re.fullmatch(
        r"wappc_\d{13}_\d{3}", (await tieba.app("/c/s/sync"))["client"]["client_id"]
    )
    assert (await tieba.app("/c/s/initNickname"))["user_info"][
        "user_name"
    ] == "示例公安"


# --- writing by form ---


# --- messages ---


async def test_a_reply_by_message(tieba):
    """Ids come back as text, the captcha's field as `0`.

    The thread reads back without a session.
    """
    made = await tieba.thread()
    tid, pid = made["tid"], made["pid"]
    reply = await tieba.say(tid, "补充")
    assert (error(reply), text_at(reply, 2, 14, 3), at(reply, 2, 15, 7)) == (0, "0", 0)
    assert (text_at(reply, 2, 2), text_at(reply, 2, 3).isdecimal()) == (tid, True)
    page = await tieba.message(
        "/c/f/pb/page", PB_PAGE, message((4, int(tid)), (13, 30), (18, 1))
    )
    said = [(at(each, 3), text_at(each, 5, 2)) for each in read_message(at(page, 2))[6]]
    assert said == [(1, TEXT.replace("\r\n", "\n")), (2, "补充")]
    assert (text_at(page, 2, 8, 3), at(page, 2, 8, 52), text_at(page, 2, 2, 2)) == (
        TITLE,
        int(pid),
        FORUM,
    )
    assert text_at(page, 2, 13, 4) == ME


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"content": " "}, 230020),
        ({"content": "a <b> c"}, 232000),
        ({"fid": "1"}, 230274),
        ({"content": "长" * 2001}, 230046),
    ],
)
async def test_refusals_come_as_messages(tieba, changes, expected):
    """The error is in field 1, `need_vcode` is never empty, and there are no ids."""
    refused = await tieba.say((await tieba.thread())["tid"], "补充", **changes)
    assert (error(refused), text_at(refused, 2, 14, 3), at(refused, 2, 2)) == (
        expected,
        "0",
        None,
    )
    assert len(await tieba.posts()) == 1


@pytest.mark.parametrize(
    ("part", "cmd"), [("file", PB_PAGE), ("data", USERPOST), ("data", "")]
)
async def test_a_message_needs_its_part_and_its_number(tieba, part, cmd):
    """Another part's name or another `cmd` is 110001."""
    tid = (await tieba.thread())["tid"]
    page = await tieba.message("/c/f/pb/page", cmd, message((4, int(tid))), part=part)
    assert error(page) == 110001


async def test_an_invalid_message_is_refused(tieba):
    """Truncated bytes are 110001."""
    files = {"data": ("file", b"\x0a\x7f\x01", None)}
    headers = {"x_bd_data_type": "protobuf"}
    answer = await tieba.sim.post(
        "/c/f/pb/page", params={"cmd": PB_PAGE}, files=files, headers=headers
    )
    assert error(read_message(answer.content)) == 110001


async def test_a_missing_thread_has_its_code_in_a_message(tieba):
    """It is 273, as on the PC site."""
    assert (
        error(await tieba.message("/c/f/pb/page", PB_PAGE, message((4, 77), (18, 1))))
        == 273
    )


async def test_users_and_forums_are_read_by_message(tieba):
    """A forum's threads, a user's threads and replies, a profile."""
    made = await tieba.thread()
    await tieba.reply(made["tid"])
    listed = await tieba.message(
        "/c/f/frs/page", FRS_PAGE, message((1, FORUM), (2, 30), (15, 0))
    )
    assert (text_at(listed, 2, 7, 3), at(listed, 2, 7, 1), at(listed, 2, 7, 4)) == (
        TITLE,
        int(made["tid"]),
        1,
    )
    assert (str(at(listed, 2, 2, 1)), text_at(listed, 2, 17, 4)) == (
        await tieba.fid(),
        ME,
    )
    uid = at(listed, 2, 7, 56)
    mine = await tieba.message(
        "/c/u/feed/userpost", USERPOST, message((1, uid), (4, 1), (26, 1), (33, 1))
    )
    assert (at(mine, 2, 1, 2), text_at(mine, 2, 1, 7), text_at(mine, 2, 1, 6)) == (
        int(made["tid"]),
        TITLE,
        FORUM,
    )
    said = await tieba.message(
        "/c/u/feed/userpost", USERPOST, message((1, uid), (26, 1))
    )
    assert text_at(said, 2, 1, 8, 1, 2) == "二楼的更正"
    profile = await tieba.message(
        "/c/u/user/profile", PROFILE, message((1, uid), (6, 1))
    )
    assert (
        text_at(profile, 2, 1, 4),
        at(profile, 2, 1, 37),
        at(profile, 2, 1, 87),
    ) == (ME, 2, 1)


async def test_comments_are_read_by_message(tieba):
    """By the id of their reply or of one comment; a reply of another thread is missing."""
    tid = (await tieba.thread())["tid"]
    elsewhere = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]
    answer = (await tieba.as_(OTHER).reply(tid, "谢谢提醒", quote_id=pid))["pid"]
    for name in ((2, int(pid)), (3, int(answer))):
        read = await tieba.message(
            "/c/f/pb/floor", PB_REPLY, message((1, int(tid)), name, (4, 1))
        )
        assert (
            text_at(read, 2, 4, 2, 2),
            text_at(read, 2, 4, 7, 4),
            at(read, 2, 3, 3),
        ) == (
            "谢谢提醒",
            OTHER,
            2,
        )
    read = await tieba.message(
        "/c/f/pb/floor", PB_REPLY, message((1, int(elsewhere)), (2, int(pid)), (4, 1))
    )
    assert error(read) == 273


async def test_a_message_can_lack_its_ids(tieba):
    """`no_id` acts and omits both ids."""
    tid = (await tieba.thread())["tid"]
    await tieba.fault("/c/c/post/add", kind="no_id")
    made = await tieba.say(tid, "补充")
    assert (error(made), at(made, 2, 2), at(made, 2, 3)) == (0, None, None)
    assert len(await tieba.posts()) == 2


@pytest.mark.parametrize(
    ("fault", "expected", "wanted"),
    [({"kind": "captcha"}, 5, "1"), ({"kind": "captcha", "code": 0}, 0, "1")],
)
async def test_a_captcha_shows_in_a_message(tieba, fault, expected, wanted):
    """`need_vcode` is set with any code."""
    tid = (await tieba.thread())["tid"]
    await tieba.fault("/c/c/post/add", **fault)
    refused = await tieba.say(tid, "补充")
    assert (error(refused), text_at(refused, 2, 14, 3), at(refused, 2, 15, 8)) == (
        expected,
        wanted,
        1,
    )


def test_the_codec_agrees_with_the_format():
    """Encoded by hand and by the simulator, a message is the same bytes.

    Negative numbers take ten.
    """
    shape = {"number": 1, "text": 2, "inner": (3, {"flag": 200})}
    value = {"number": 300, "text": "测", "inner": {"flag": 1}}
    written = message((1, 300), (2, "测"), (3, message((200, 1))))
    assert encode(shape, value) == written
    assert decode(shape, written) == value
    assert encode({"number": 1}, {"number": -1}) == b"\x08" + b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x0a\x05ab",
        b"\x00\x01",
        b"\x0b",
        b"\x80" * 11,
        b"\x0d\x01",
        b"\x0a\x01\xff",
    ],
)
def test_the_codec_refuses_invalid_messages(data):
    """Truncated, without a field number, of an unknown wire type, or no UTF-8."""
    with pytest.raises(ValueError, match=r"."):
        decode({"text": 1}, data)
