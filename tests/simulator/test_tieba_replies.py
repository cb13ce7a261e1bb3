"""The simulated Tieba: replies, comments, paging, deletion."""

import contextlib

import httpx
import pytest

from publisher.simulator import create_app
from tests.simulator.tieba_calls import ME, OTHER, Tieba, replies


async def test_replies_are_read_back_page_by_page(tieba):
    """Each reply has the next number, and pages state their count.

    `lz` selects the author's own replies.
    """
    tid = (await tieba.thread())["tid"]
    for number in range(2, 6):
        who = tieba if number % 2 else tieba.as_(OTHER)
        assert (await who.reply(tid, f"第{number}层"))["error_code"] == "0"
    page = await tieba.page(tid, rn="2")
    assert replies(page) == [(1, "第一行\n〔2026-118〕第二行"), (2, "第2层")]
    assert (
        page["page"]["total_page"],
        page["page"]["has_more"],
        page["thread"]["reply_num"],
    ) == (
        3,
        1,
        4,
    )
    last = await tieba.page(tid, rn="2", pn="3")
    assert (replies(last), last["page"]["has_more"], last["page"]["has_prev"]) == (
        [(5, "第5层")],
        0,
        1,
    )
    assert [number for number, _ in replies(await tieba.page(tid, lz="1"))] == [1, 3, 5]


async def test_a_reply_is_no_second_post(tieba):
    """Posts are listed without replies; a reply's log entry has its own id and names its thread."""
    tid = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]
    posts = (await tieba.sim.get("/_sim/posts")).json()
    assert [(post["id"], post["visible"]) for post in posts] == [(tid, True)]
    acts = [
        entry
        for entry in (await tieba.sim.get("/_sim/log")).json()
        if entry["kind"] == "act"
    ]
    assert [(entry["post_id"], entry.get("thread")) for entry in acts] == [
        (tid, None),
        (pid, tid),
    ]
    await tieba.sim.delete(f"/_sim/posts/{tid}")
    assert [(post["id"], post["visible"]) for post in await tieba.posts()] == [
        (tid, False),
        (pid, False),
    ]


async def test_a_comment_belongs_to_its_reply(tieba):
    """A comment has no number of its own and is counted by the reply.

    A comment on it belongs to the same reply.
    """
    tid = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]
    answer = (await tieba.as_(OTHER).reply(tid, "谢谢提醒", quote_id=pid))["pid"]
    await tieba.reply(tid, "不客气", quote_id=answer)
    page = await tieba.page(tid)
    assert [each["sub_post_number"] for each in page["post_list"]] == [0, 2]
    reply = (await tieba.page(tid, with_floor="1", floor_rn="1"))["post_list"][1]
    assert [
        each["content"][0]["text"] for each in reply["sub_post_list"]["sub_post_list"]
    ] == ["谢谢提醒"]


async def test_comments_disappear_with_their_reply(tieba):
    """When the reply is removed, its comments are neither shown nor counted."""
    tid = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]
    await tieba.as_(OTHER).reply(tid, "谢谢提醒", quote_id=pid)
    await tieba.sim.delete(f"/_sim/posts/{pid}")
    page = await tieba.page(tid)
    assert (page["thread"]["reply_num"], len(page["post_list"])) == (0, 1)
    assert (await tieba.threads())[0]["thread_info"]["reply_num"] == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tid": "1"}, "230273"),
        ({"fid": "1"}, "230274"),
        ({"tbs": "0" * 26}, "230308"),
        ({"content": " "}, "230020"),
        ({"content": "长" * 2001}, "230046"),
        ({"content": "<b>"}, "2000"),
        ({"quote_id": "77"}, "230273"),
    ],
)
async def test_an_invalid_reply_has_its_code(tieba, changes, expected):
    """Every refusal carries its code as text, and creates nothing."""
    tid = (await tieba.thread())["tid"]
    assert (await tieba.reply(changes.pop("tid", tid), **changes))[
        "error_code"
    ] == expected
    assert len(await tieba.posts()) == 1


async def test_a_reply_names_the_forum_of_its_thread(tieba):
    """Forum and thread must belong together."""
    tid = (await tieba.thread())["tid"]
    elsewhere = {"kw": "别的", "fid": await tieba.fid("别的")}
    assert (await tieba.reply(tid, **elsewhere))["error_code"] == "230273"


async def test_a_reply_is_deleted_by_its_author_only(tieba):
    """The gap in the numbers stays, and the next reply continues them."""
    tid = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]

    async def delete(who):
        fields = {
            "fid": await tieba.fid(),
            "z": tid,
            "pid": pid,
            "tbs": await who.tbs(),
        }
        return (await who.app("/c/c/bawu/delpost", **fields))["error_code"]

    assert [
        await delete(tieba.as_(OTHER)),
        await delete(tieba),
        await delete(tieba),
    ] == [
        "230308",
        "0",
        "230273",
    ]
    assert [number for number, _ in replies(await tieba.page(tid))] == [1]
    await tieba.reply(tid, "三楼")
    assert [number for number, _ in replies(await tieba.page(tid))] == [1, 3]
    assert [each["removed"] for each in await tieba.posts()] == [False, True, False]


async def test_a_first_post_is_deleted_only_with_its_thread(tieba):
    """delpost with the first post's id removes nothing."""
    made = await tieba.thread()
    fields = {
        "fid": await tieba.fid(),
        "z": made["tid"],
        "pid": made["pid"],
        "tbs": await tieba.tbs(),
    }
    assert (await tieba.app("/c/c/bawu/delpost", **fields))["error_code"] == "230273"
    assert (await tieba.page(made["tid"]))["error_code"] == 0


async def test_a_reply_in_review_is_seen_by_its_author_alone(tieba):
    """Until it passes; it keeps its number."""
    tid = (await tieba.thread())["tid"]
    await tieba.fault("/c/c/post/add_pc", kind="review", seconds=30)
    await tieba.reply(tid)
    assert [len(replies(await tieba.as_(who).page(tid))) for who in ("", ME)] == [1, 2]
    await tieba.sim.post("/_sim/clock", json={"shift": 31})
    assert replies(await tieba.as_("").page(tid))[1] == (2, "二楼的更正")


async def test_a_reply_can_appear_late(tieba):
    """A reply created under list_late appears when its time has come."""
    tid = (await tieba.thread())["tid"]
    await tieba.fault("/c/c/post/add_pc", kind="list_late", seconds=30)
    await tieba.reply(tid)
    assert len(replies(await tieba.page(tid))) == 1
    await tieba.sim.post("/_sim/clock", json={"shift": 31})
    assert len(replies(await tieba.page(tid))) == 2


async def test_replies_are_listed_with_their_thread(tieba):
    """Type 2 is a reply, type 3 a comment; both disappear with the thread."""
    tid = (await tieba.as_(OTHER).thread())["tid"]
    pid = (await tieba.reply(tid))["pid"]
    await tieba.reply(tid, "补充", quote_id=pid)
    listed = await tieba.threads(kind="2")
    assert [
        (each["type"], each["post_info"]["content"][0]["text"]) for each in listed
    ] == [
        (3, "补充"),
        (2, "二楼的更正"),
    ]
    assert {each["thread_info"]["tid"] for each in listed} == {int(tid)}
    assert await tieba.threads() == []
    fields = {"fid": await tieba.fid(), "z": tid, "tbs": await tieba.as_(OTHER).tbs()}
    await tieba.as_(OTHER).app("/c/c/bawu/delthread", **fields)
    assert await tieba.threads(kind="2") == []


async def test_a_page_shows_replies_and_removals(tieba):
    """The public page has each reply, its comments, and a note on each removal.

    A list counts replies.
    """
    tid = (await tieba.thread())["tid"]
    pid = (await tieba.reply(tid, "更正内容"))["pid"]
    by_hand = {"platform": "tieba", "account": OTHER, "text": "路过", "thread": tid}
    await tieba.sim.post("/_sim/posts", json=by_hand)
    await tieba.as_(OTHER).reply(tid, "收到", quote_id=pid)
    await tieba.sim.delete(f"/_sim/posts/{pid}")
    shown = (await tieba.sim.get(f"/_sim/feed/tieba/{ME}", params={"post": tid})).text
    assert shown.count('data-testid="reply"') == 3
    assert shown.count('data-testid="comment"') == 1
    assert (
        "更正内容" in shown,
        "已删除" in shown,
        "3楼" in shown,
        shown.count("楼主"),
    ) == (
        True,
        True,
        True,
        2,
    )
    listed = (await tieba.sim.get(f"/_sim/feed/tieba/{ME}")).text
    assert listed.count('data-testid="post"') == 1
    assert '<span class="replies">3</span>' in listed


async def test_an_external_reply_needs_its_thread(tieba):
    """An unknown thread is a 400."""
    wanted = {"platform": "tieba", "account": OTHER, "text": "路过", "thread": "77"}
    assert (await tieba.sim.post("/_sim/posts", json=wanted)).status_code == 400


async def test_replies_survive_a_restart(tmp_path):
    """A kept state contains the replies and continues their numbers."""

    @contextlib.asynccontextmanager
    async def running():
        app = create_app(tmp_path)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://sim"
        ) as client:
            yield Tieba(client)
        app.simulator_state.files.close()

    async with running() as tieba:
        tid = (await tieba.thread())["tid"]
        await tieba.reply(tid)
    async with running() as tieba:
        await tieba.reply(tid, "重启后")
        assert [number for number, _ in replies(await tieba.page(tid))] == [1, 2, 3]
