"""The simulated Weibo: lists, counts that grow, error codes, and every fault on every call."""

import json

import httpx
import pytest

from publisher.simulator import create_app
from publisher.simulator.faults import FAULT_KINDS
from publisher.simulator.weibo import ENDPOINTS
from publisher.simulator.weibo.responses import ERROR_TEXTS

UID, OTHER = "1404376560", "1404376561"
LINK = "https://example.gov.cn/n/1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
HOUR = 3600
GRANTS = ["update", "biz", "article"]
LISTS = ("user_timeline", "user_timeline/biz", "count", "count/biz")


@pytest.fixture
async def sim():
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        await settings(client, weibo_grants={UID: GRANTS}, weibo_duplicates="off")
        yield client


@pytest.fixture
async def ids(sim):
    """Return the ids of three posts, oldest first."""
    return [(await share(sim, n)).json()["idstr"] for n in range(3)]


async def settings(sim, **values):
    assert (await sim.post("/_sim/settings", json=values)).status_code == 200


async def share(sim, n):
    return await sim.post(
        "/2/statuses/share.json", data={"access_token": UID, "status": f"{n} {LINK}"}
    )


async def get(sim, name, user=UID, **query):
    return await sim.get(
        f"/2/statuses/{name}.json", params={"access_token": user, **query}
    )


async def listed(sim, name="user_timeline", **query):
    return [
        each["idstr"] for each in (await get(sim, name, **query)).json()["statuses"]
    ]


async def pass_time(sim, seconds):
    await sim.post("/_sim/clock", json={"shift": seconds})


async def test_metrics_grow_with_time(sim, ids):
    """They begin at zero and never fall; the list, the post, the page and all counts agree."""
    before = (await get(sim, "count", ids=ids[0])).json()[0]
    assert before == {"id": int(ids[0]), "comments": 0, "reposts": 0, "attitudes": 0}
    seen = []
    for _ in range(3):
        await pass_time(sim, 2 * HOUR)
        seen.append((await get(sim, "count", ids=ids[0])).json()[0])
    for name in ("comments", "reposts", "attitudes"):
        figures = [each[name] for each in seen]
        assert 0 < figures[0] < figures[1] < figures[2]
    status = (await get(sim, "show", id=ids[0])).json()
    reported = [
        status[f"{name}_count"] for name in ("comments", "reposts", "attitudes")
    ]
    assert reported == [seen[-1][name] for name in ("comments", "reposts", "attitudes")]
    assert (
        f"转发 {seen[-1]['reposts']}<"
        in (await sim.get(f"/_sim/feed/weibo/{UID}?post={ids[0]}")).text
    )


async def test_business_counts_are_text(sim, ids):
    """Business calls return numbers as text, and name the attitudes `likes`."""
    await pass_time(sim, HOUR)
    plain = (await get(sim, "count", ids=ids[0])).json()[0]
    business = (await get(sim, "count/biz", ids=ids[0])).json()[0]
    assert business == {
        "id": ids[0],
        **{name: str(plain[name]) for name in ("comments", "reposts")},
    } | {"likes": str(plain["attitudes"])}
    assert (await get(sim, "count/biz", user="8", ids=ids[0])).json()[
        "error_code"
    ] == 10014


async def test_counts_omit_deleted_posts(sim, ids):
    """Unknown and deleted posts are omitted; none, too many and no ids at all have their codes."""
    await sim.delete(f"/_sim/posts/{ids[1]}")
    counted = (await get(sim, "count", ids=f"{ids[0]},{ids[1]},1,{ids[2]}")).json()
    assert [str(each["id"]) for each in counted] == [ids[0], ids[2]]
    assert (await get(sim, "count")).json()["error_code"] == 10016
    assert (await get(sim, "count", ids=",")).json()["error_code"] == 20001
    assert (await get(sim, "count", ids=",".join(["1"] * 101))).json()[
        "error_code"
    ] == 20009


async def test_the_business_list_is_longer(sim):
    """It has no cap but the count of a hundred, and its cursor names the next older post."""
    ids = [(await share(sim, n)).json()["idstr"] for n in range(8)]
    assert await listed(sim) == ids[:2:-1]
    assert await listed(sim, "user_timeline/biz") == ids[::-1]
    page = (await get(sim, "user_timeline/biz", count=3, page=2)).json()
    assert [each["idstr"] for each in page["statuses"]] == ids[4:1:-1]
    assert (page["next_cursor"], page["previous_cursor"], page["total_number"]) == (
        int(ids[1]),
        0,
        8,
    )
    assert (await get(sim, "user_timeline/biz", user="8")).json()["error_code"] == 10014


@pytest.mark.parametrize("name", ["destroy", "destroy/biz"])
async def test_deletion(sim, ids, name):
    """The deleted status is returned; the page shows it as deleted, lists and counts omit it."""
    path = f"/2/statuses/{name}.json"
    assert (await sim.post(path, data={"access_token": UID})).json()[
        "error_code"
    ] == 10016
    assert (await sim.post(path, data={"access_token": UID, "id": ids[0]})).json()[
        "idstr"
    ] == ids[0]
    assert (await sim.post(path, data={"access_token": UID, "id": ids[0]})).json()[
        "error_code"
    ] == 20101
    assert await listed(sim) == [ids[2], ids[1]]
    page = (await sim.get(f"/_sim/feed/weibo/{UID}")).text
    assert page.count('<span class="note removed">已删除</span>') == 1
    assert (await sim.get(path, params={"access_token": UID, "id": ids[1]})).json()[
        "error_code"
    ] == 10021


async def test_reading_the_rate_limit_is_free(sim):
    """The remaining calls fall with other calls only, and a revoked token is refused there too."""
    await settings(sim, weibo_per_day=100, weibo_per_hour=30, weibo_per_ip=1000)
    await share(sim, 1)
    path = f"/2/account/rate_limit_status.json?access_token={UID}"
    for _ in range(2):
        left = (await sim.get(path)).json()
        assert (left["user_limit"], left["remaining_user_hits"]) == (100, 99)
        assert (left["ip_limit"], left["remaining_ip_hits"]) == (1000, 999)
        assert left["api_rate_limits"][0]["remaining_hits"] == 29
    await sim.get(f"/oauth2/revokeoauth2?access_token={UID}")
    assert (await sim.get(path)).json()["error_code"] == 21321


@pytest.mark.parametrize("code", sorted(ERROR_TEXTS))
async def test_every_code_has_the_platforms_format(sim, code):
    """Each code of the table can be injected.

    It is a number and a text beside the path that was called.
    """
    fault = {"kind": "api_error", "code": code}
    await sim.post("/_sim/faults", json={"platform": "weibo", "fault": fault})
    answer = await share(sim, 1)
    body = answer.json()
    assert (body["request"], body["error_code"]) == ("/2/statuses/share.json", code)
    assert body["error"]
    assert "{" not in body["error"]
    assert answer.status_code in (400, 403)
    assert len((await sim.get("/_sim/posts")).json()) == (
        1 if code in (20032, 20053) else 0
    )


def calls(ids):
    """Return every endpoint with a valid call.

    A call has method, path, parameters, and True if it creates a post.
    """
    words, mine = {"status": f"新 {LINK}"}, {"id": ids[0]}
    article = {
        "title": "t",
        "content": "c",
        "cover": "https://a.cn/c.png",
        "text": f"新 {LINK}",
    }
    writing = {
        f"/2/statuses/{name}.json": words
        for name in ("share", "update", "upload", "update/biz")
    }
    stored = {
        "/2/statuses/upload_url_text/biz.json": words | {"url": "https://a.cn/a.png"}
    }
    made = [
        ("POST", path, form, True)
        for path, form in {
            **writing,
            **stored,
            "/proxy/article/publish.json": article,
        }.items()
    ]
    counted = {"ids": ",".join(ids)}
    read = {
        "/2/statuses/user_timeline.json": {},
        "/2/statuses/user_timeline/biz.json": {},
        "/2/statuses/show.json": mine,
        "/2/statuses/count.json": counted,
        "/2/statuses/count/biz.json": counted,
        "/2/account/rate_limit_status.json": {},
    }
    other = [
        ("POST", "/2/statuses/destroy.json", mine, False),
        ("POST", "/2/statuses/destroy/biz.json", {"id": ids[1]}, False),
        ("POST", "/2/statuses/upload_pic/biz.json", {}, False),
        ("POST", "/oauth2/get_token_info", {}, False),
        (
            "POST",
            "/oauth2/revokeoauth2",
            {},
            False,
        ),  # last: the token is dead from here on
    ]
    return [
        *made,
        *[("GET", path, query, False) for path, query in read.items()],
        *other,
    ]


async def make(sim, method, path, given):
    """Call as a client would; None when the connection was reset."""
    given = {"access_token": UID, **given}
    files = (
        {"pic": ("a.png", PNG, "image/png")}
        if "/upload" in path and "url" not in given
        else None
    )
    try:
        if method == "GET":
            return await sim.get(path, params=given)
        return await sim.post(path, data=given, files=files)
    except ConnectionResetError:
        return None


async def test_every_endpoint_responds(sim, ids):
    """Without faults each call of the table succeeds.

    Except for signing in, the simulator serves no other calls.
    """
    table = calls(ids)
    for method, path, given, _ in table:
        answer = await make(sim, method, path, given)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
    signing_in = {
        f"/oauth2/{name}" for name in ("authorize", "default.html", "access_token")
    }
    assert {path for _, path, _, _ in table} | signing_in == set(ENDPOINTS)


CUT = ("drop_before", "drop_after", "act_late", "truncate", "drip")
REFUSED = {
    "api_error": 10009,
    "captcha": 20031,
    "duplicate": 20019,
    "expire_token": 21327,
}
ACTS = FAULT_KINDS - set(REFUSED) - {"drop_before", "act_late", "html", "status"}
FACTS = {
    "api_error": {"code": 10009},
    "drip": {"bytes_per_second": 1e6},
    "delay": {"seconds": 0},
    "act_late": {"seconds": 3600},
}


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(FAULT_KINDS))
async def test_every_fault_on_every_call(sim, ids, kind):
    """Each kind affects each endpoint as documented.

    It acts once or not at all, and is logged with its call.
    """
    for method, path, given, makes_post in calls(ids):
        fault = {"kind": kind, **FACTS.get(kind, {})}
        before = len((await sim.get("/_sim/posts")).json())
        since = (await sim.get("/_sim/log")).json()[-1]["seq"]
        rule = {
            "platform": "weibo",
            "account": UID,
            "endpoint": path,
            "nth": [1],
            "fault": fault,
        }
        await sim.post("/_sim/faults", json=rule)
        answer = await make(sim, method, path, given)
        record = (await sim.get(f"/_sim/log?since={since}")).json()
        assert record[0]["fault"] == kind, path
        assert len((await sim.get("/_sim/posts")).json()) - before == (
            1 if makes_post and kind in ACTS else 0
        ), path
        assert (answer is None) == (kind in CUT), path
        if answer is not None:
            check(kind, answer, path)


def check(kind, answer, path):
    """Check the effect of each kind on the response."""
    if kind in REFUSED:
        assert answer.json()["error_code"] == REFUSED[kind], path
    elif kind == "status":
        assert (answer.status_code, answer.content) == (503, b"")
    elif kind == "html":
        assert (answer.status_code, answer.headers["content-type"][:9]) == (
            200,
            "text/html",
        )
    elif kind == "bad_json":
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    elif kind == "wrong_account":
        assert UID not in answer.text, path
    elif kind == "no_id":
        entries = answer.json() if isinstance(answer.json(), list) else [answer.json()]
        entries += [each for entry in entries for each in entry.get("statuses", [])]
        assert not {"id", "idstr", "mid", "pic_id"} & {
            key for entry in entries for key in entry
        }, path


@pytest.mark.parametrize(
    ("kind", "shown"), [("empty_list", 0), ("list_late", 0), ("reorder", 3)]
)
@pytest.mark.parametrize("name", LISTS)
async def test_faults_apply_to_lists(sim, ids, name, kind, shown):
    """A list is empty, without the newest, or reversed; counts are lists as well."""
    path = f"/2/statuses/{name}.json"
    query = {"access_token": UID, "ids": ",".join(ids)}
    straight = (await sim.get(path, params=query)).json()
    await sim.post(
        "/_sim/faults",
        json={"platform": "weibo", "endpoint": path, "fault": {"kind": kind}},
    )
    bent = (await sim.get(path, params=query)).json()
    if isinstance(straight, dict):
        straight, bent = straight["statuses"], bent["statuses"]
    assert len(straight) == 3
    assert bent == straight[::-1][:shown]


@pytest.mark.parametrize(
    "path", ["/2/statuses/update/biz.json", "/2/statuses/upload_url_text/biz.json"]
)
async def test_posts_are_held_rewritten_and_late(sim, ids, path):
    """Calls with a grant behave alike: held, rewritten and late.

    A review responds 20032, the text changes, and the post appears later.
    """
    form = {"access_token": UID, "status": "注意  防范", "url": "https://a.cn/a.png"}

    async def spoiled(**fault):
        await sim.post(
            "/_sim/faults", json={"platform": "weibo", "endpoint": path, "fault": fault}
        )
        answer = (await sim.post(path, data=form)).json()
        await sim.delete("/_sim/faults")
        return answer

    assert (await spoiled(kind="review", verdict="hold"))["error_code"] == 20032
    assert (await spoiled(kind="rewrite", how="spaces"))["text"] == "注意 防范"
    late = await spoiled(kind="list_late", seconds=60)
    assert late["idstr"] not in await listed(sim)
    await pass_time(sim, 61)
    assert late["idstr"] in await listed(sim)
