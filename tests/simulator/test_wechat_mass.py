"""The simulated WeChat: mass sends, their keys and quotas, tags, and statistics."""

import json
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from publisher.simulator import create_app
from tests.simulator.wechat_calls import (
    call,
    change_settings,
    draft,
    posts,
    send,
    shift,
    stable,
    submit,
)

BEIJING = timezone(timedelta(hours=8))
DAY = 86_400


async def until_noon(sim, *, months=0, days=0):
    """Shift the clock to noon in Beijing, and return a valid token.

    The noon is days later or in the middle of a later month.
    """
    shifted = (await sim.post("/_sim/clock", json={"shift": 0})).json()["now"]
    now = datetime.fromtimestamp(shifted, BEIJING)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(
        days=days
    )
    for _ in range(months):
        noon = (noon.replace(day=28) + timedelta(days=7)).replace(day=15)
    await shift(sim, noon.timestamp() - shifted)
    return (await stable(sim))["access_token"]


async def status(sim, token, number):
    return (await call(sim, token, "message/mass/get", {"msg_id": str(number)})).get(
        "msg_status"
    )


async def test_a_mass_send_is_one_article_in_no_list(sim, token):
    """A mass send is one article in no list: first sending, then sent.

    Its draft is gone, its page is public, and the list of published articles omits it.
    """
    name = await draft(sim, token)
    sent = await send(sim, token, name)
    assert sent["errmsg"] == "send job submission success"
    assert await status(sim, token, sent["msg_id"]) == "SENDING"
    assert (await call(sim, token, "draft/get", {"media_id": name}))["errcode"] == 40007
    assert (await submit(sim, token, name))["errcode"] == 40007
    await shift(sim, 1)
    assert await status(sim, token, sent["msg_id"]) == "SEND_SUCCESS"
    assert (await call(sim, token, "freepublish/batchget"))["total_count"] == 0
    assert (
        await call(
            sim, token, "freepublish/getarticle", {"article_id": str(sent["msg_id"])}
        )
    )["errcode"] == 53600
    (post,) = await posts(sim)
    assert (post["id"], post["visible"]) == (str(sent["msg_id"]), True)
    assert f"mid={sent['msg_data_id']}&idx=1" in post["url"]
    log = (await sim.get("/_sim/log")).json()
    assert [
        each["post_id"] for each in log if each["kind"] == "act" and each["post_id"]
    ] == [post["id"]]


async def test_a_key_sends_once(sim, token):
    """A key sends once: an early repeat is refused, a later one gets the first id.

    The first id is returned for a day. The key is checked before the draft.
    """
    name = await draft(sim, token)
    first = await send(sim, token, name, clientmsgid="k")
    assert (await send(sim, token, name, clientmsgid="k"))["errcode"] == 45066
    await shift(sim, 61)
    again = await send(sim, token, name, clientmsgid="k")
    assert (again["errcode"], again["msg_id"], "msg_data_id" in again) == (
        45065,
        first["msg_id"],
        False,
    )
    await shift(sim, DAY)
    token = (await stable(sim))["access_token"]
    assert (await send(sim, token, await draft(sim, token), clientmsgid="k"))[
        "errcode"
    ] == 0
    assert len(await posts(sim)) == 2


async def test_a_known_key_can_send_again(sim, token):
    """With `accept`, neither key nor draft prevents a second mass send."""
    await change_settings(
        sim, wechat_repeats="accept", wechat_consume="finish", wechat_review_seconds=600
    )
    name = await draft(sim, token)
    assert [
        (await send(sim, token, name, clientmsgid="k"))["errcode"] for _ in range(2)
    ] == [0, 0]
    assert len(await posts(sim)) == 2


async def test_without_a_key_the_same_text_is_sent_once(sim, token):
    """A digest of audience and content stands in for the key; 65 bytes are too long for a key."""
    said = {
        "filter": {"is_to_all": True},
        "msgtype": "text",
        "text": {"content": "提醒"},
    }
    assert (await call(sim, token, "message/mass/sendall", said))["errcode"] == 0
    await shift(sim, 61)
    assert (await call(sim, token, "message/mass/sendall", said))["errcode"] == 45065
    assert (
        await call(
            sim, token, "message/mass/sendall", {**said, "text": {"content": "其他"}}
        )
    )["errcode"] == 0
    assert (
        await call(
            sim, token, "message/mass/sendall", {**said, "clientmsgid": "k" * 65}
        )
    )["errcode"] == 45067


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"filter": {}}, 45159),
        ({"filter": None}, 40035),
        ({"filter": {"is_to_all": False, "tag_id": 77}}, 45159),
        ({"msgtype": "music"}, 40008),
        ({"mpnews": {}}, 41006),
        ({"mpnews": {"media_id": "x"}}, 40007),
        ({"msgtype": "text", "text": {"content": ""}}, 44004),
        (
            {
                "msgtype": "text",
                "text": {"content": '<a href="https://example.gov.cn">x</a>'},
            },
            40066,
        ),
    ],
)
async def test_mass_sends_are_checked(sim, token, changes, expected):
    """Each error in audience or content has its code, and nothing is sent."""
    assert (await send(sim, token, await draft(sim, token), **changes))[
        "errcode"
    ] == expected
    assert await posts(sim) == []


async def test_a_tag_has_members(sim, token):
    """Tags are created and filled; a mass send to one reaches its members."""
    made = await call(sim, token, "tags/create", {"tag": {"name": "网格员"}})
    assert made["tag"] == {"id": 100, "name": "网格员"}
    assert (await call(sim, token, "tags/create", {"tag": {"name": "网格员"}}))[
        "errcode"
    ] == 45157
    people = (
        await sim.get("/cgi-bin/user/get", params={"access_token": token})
    ).json()["data"]["openid"]
    assert len(people) == 1000
    wanted = {"tagid": 100, "openid_list": people[:3]}
    assert (await call(sim, token, "tags/members/batchtagging", wanted))["errcode"] == 0
    assert (
        await call(sim, token, "tags/members/batchtagging", {**wanted, "tagid": 5})
    )["errcode"] == 45159
    tags = (await sim.get("/cgi-bin/tags/get", params={"access_token": token})).json()[
        "tags"
    ]
    assert tags[1] == {"id": 100, "name": "网格员", "count": 3}
    await send(
        sim, token, await draft(sim, token), filter={"is_to_all": False, "tag_id": 100}
    )
    assert (await posts(sim))[0]["extra"]["mass"]["sent"] == 3


async def test_a_list_has_at_least_two_receivers(sim, token):
    """Open ids are counted and checked; subscription accounts may not send to them."""
    people = (
        await sim.get("/cgi-bin/user/get", params={"access_token": token})
    ).json()["data"]["openid"]

    async def to(names):
        body = {"touser": names, "msgtype": "text", "text": {"content": "提醒"}}
        return (await call(sim, token, "message/mass/send", body))["errcode"]

    assert [await to(people[:1]), await to(["x", "y"]), await to(people[:2])] == [
        40130,
        40003,
        0,
    ]
    await change_settings(sim, wechat_kind="subscription")
    assert await to(people[2:4]) == 48001


async def test_a_subscription_account_sends_once_a_day(sim):
    """A second mass send is refused until midnight, for any audience."""
    await change_settings(sim, wechat_kind="subscription", wechat_mass_per_day=1)
    token = await until_noon(sim)
    assert (await send(sim, token, await draft(sim, token)))["errcode"] == 0
    second = await draft(sim, token)
    assert (await send(sim, token, second, filter={"is_to_all": False, "tag_id": 2}))[
        "errcode"
    ] == 45028
    token = await until_noon(sim, days=1)
    assert (await send(sim, token, second))["errcode"] == 0


async def test_a_service_account_reaches_a_follower_four_times_a_month(sim):
    """The fifth send to all is refused, one to a tag reaches nobody; next month it does."""
    await change_settings(sim, wechat_mass_per_month=4)
    token = await until_noon(sim, months=1)
    people = (
        await sim.get("/cgi-bin/user/get", params={"access_token": token})
    ).json()["data"]["openid"]
    await call(
        sim, token, "tags/members/batchtagging", {"tagid": 2, "openid_list": people[:5]}
    )
    for _ in range(4):
        assert (await send(sim, token, await draft(sim, token)))["errcode"] == 0
    fifth, starred = await draft(sim, token), {"is_to_all": False, "tag_id": 2}
    assert (await send(sim, token, fifth))["errcode"] == 45028
    assert (await send(sim, token, fifth, filter=starred))["errcode"] == 0
    assert (await posts(sim))[-1]["extra"]["mass"]["sent"] == 0
    token = await until_noon(sim, months=1)
    await send(sim, token, await draft(sim, token), filter=starred)
    assert (await posts(sim))[-1]["extra"]["mass"]["sent"] == 5


async def test_a_sent_page_is_deleted(sim, token):
    """By id, with all its articles; the status says so, and readers see it."""
    number = (await send(sim, token, await draft(sim, token)))["msg_id"]
    assert (await call(sim, token, "message/mass/delete", {"msg_id": number}))[
        "errcode"
    ] == 40059
    await shift(sim, 1)
    assert await status(sim, token, number) == "SEND_SUCCESS"
    assert (await call(sim, token, "message/mass/delete", {"msg_id": number}))[
        "errcode"
    ] == 0
    assert await status(sim, token, number) == "DELETE"
    assert "已删除" in (await sim.get("/_sim/feed/wechat/wx1")).text


async def test_a_preview_leaves_the_draft(sim, token):
    """It is sent to one person by WeChat name or open id, has an id, and creates no post."""
    name = await draft(sim, token)
    said = {"msgtype": "mpnews", "mpnews": {"media_id": name}}
    seen = await call(
        sim, token, "message/mass/preview", {**said, "towxname": "pengjing"}
    )
    assert (seen["errcode"], seen["errmsg"]) == (0, "preview success")
    assert (await call(sim, token, "message/mass/preview", {**said, "touser": "x"}))[
        "errcode"
    ] == 40003
    assert (await call(sim, token, "draft/get", {"media_id": name}))["news_item"]
    assert await posts(sim) == []


async def test_the_first_response_can_report_a_known_key(sim, token):
    """A call repeated inside the platform is sent once, and the response contains its id."""
    rule = {
        "endpoint": "*/sendall",
        "nth": [1],
        "fault": {"kind": "api_error", "code": 45065, "acts": True},
    }
    await sim.post("/_sim/faults", json=rule)
    answer = await send(sim, token, await draft(sim, token), clientmsgid="k")
    assert (answer["errcode"], [str(answer["msg_id"])]) == (
        45065,
        [post["id"] for post in await posts(sim)],
    )


# --- statistics ---


async def figures(sim, token, name, begin, end=None):
    query, body = (
        {"access_token": token},
        {"begin_date": begin, "end_date": end or begin},
    )
    return (
        await sim.post(f"/datacube/{name}", params=query, content=json.dumps(body))
    ).json()


@pytest.fixture
async def published(sim):
    """Yield a token, the day and the ids of two articles.

    One is published and one mass-sent, at noon two days later.
    """
    token = await until_noon(sim)
    job = await submit(sim, token, await draft(sim, token))
    mass = await send(sim, token, await draft(sim, token))
    await sim.post(
        "/_sim/posts", json={"platform": "weibo", "account": "1", "text": "别的"}
    )
    today = datetime.fromtimestamp((await posts(sim))[0]["created"], BEIJING).date()
    token = await until_noon(sim, days=2)
    return token, today, job["msg_data_id"], mass["msg_data_id"]


async def test_articles_are_summed_up_by_days(sim, published):
    """Each article has its message id and index, and its way of publication.

    Its metrics only grow.
    """
    token, today, job, mass = published
    reported = await figures(sim, token, "getarticletotaldetail", today.isoformat())
    assert [(each["msgid"], each["publish_type"]) for each in reported["list"]] == [
        (f"{job}_1", 1),
        (f"{mass}_1", 0),
    ]
    assert reported["is_delay"] is False
    lines = reported["list"][0]["detail_list"]
    assert [line["stat_date"] for line in lines] == [
        (today + timedelta(days=n)).isoformat() for n in range(2)
    ]
    assert 0 < lines[0]["read_user"] < lines[1]["read_user"]
    assert (
        sum(each["user_count"] for each in lines[0]["read_user_source"])
        == lines[0]["read_user"]
    )


async def test_the_old_statistics_allow_one_day(sim, published):
    """They have fields of their own, and refuse a range of days."""
    token, today, job, mass = published
    reported = await figures(sim, token, "getarticlesummary", today.isoformat())
    assert [each["msgid"] for each in reported["list"]] == [f"{job}_1", f"{mass}_1"]
    assert all(each["int_page_read_user"] > 0 for each in reported["list"])
    span = (today.isoformat(), (today + timedelta(days=1)).isoformat())
    assert (await figures(sim, token, "getarticlesummary", *span))["errcode"] == 61501


async def test_statistics_come_a_day_late(sim, published):
    """Today, invalid and too early days are refused; before eight, yesterday is not ready."""
    token, today, *_ = published
    now = today + timedelta(days=2)
    days = (today.isoformat(), now.isoformat())
    assert (await figures(sim, token, "getarticletotaldetail", now.isoformat()))[
        "errcode"
    ] == 61501
    assert (await figures(sim, token, "getarticletotaldetail", "2025-10-31"))[
        "errcode"
    ] == 61501
    assert (await figures(sim, token, "getarticletotaldetail", "gestern"))[
        "errcode"
    ] == 61500
    await shift(sim, 19 * 3600)
    token = (await stable(sim))["access_token"]
    late = await figures(sim, token, "getarticletotaldetail", *days)
    assert (late["is_delay"], len(late["list"][0]["detail_list"])) == (True, 2)
    await shift(sim, 2 * 3600)
    token = (await stable(sim))["access_token"]
    reported = await figures(sim, token, "getarticletotaldetail", *days)
    assert (reported["is_delay"], len(reported["list"][0]["detail_list"])) == (False, 3)


async def test_a_restart_keeps_keys(tmp_path):
    """Ids, keys and tags survive it; a running job still ends."""
    numbers = []
    for _ in range(2):
        app = create_app(tmp_path)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://sim"
        ) as sim:
            await shift(sim, 61 * len(numbers))
            token = (await stable(sim))["access_token"]
            if not numbers:
                await call(sim, token, "tags/create", {"tag": {"name": "网格员"}})
            answer = await send(sim, token, await draft(sim, token), clientmsgid="k")
            numbers.append(answer["msg_id"])
            tags = (
                await sim.get("/cgi-bin/tags/get", params={"access_token": token})
            ).json()["tags"]
            assert len(tags) == 2
            assert (
                await status(sim, token, numbers[0])
                == ("SENDING", "SEND_SUCCESS")[len(numbers) - 1]
            )
        app.simulator_state.files.close()
    assert numbers[0] == numbers[1]
