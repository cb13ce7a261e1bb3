"""Each fault of the simulator, in process and on a real socket."""

import asyncio
import contextlib
import hashlib
import json
import threading

import httpx
import pytest

from publisher.simulator import create_app, serve
from publisher.simulator.app import PLATFORMS, _remove_keys
from tests.wait import eventually

SHARE = "/2/statuses/share.json"
TIMELINE = "/2/statuses/user_timeline.json"
LINK = "https://example.gov.cn/n/1"
PATIENCE = 60


@pytest.fixture
async def port(tmp_path):
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve("127.0.0.1", 0, tmp_path / "state", on_ready=ready.set_result)
    )
    yield await asyncio.wait_for(ready, PATIENCE)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def served(port):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE
    ) as client:
        yield client


async def fault(sim, kind, rule=None, **facts):
    spec = {
        "platform": "weibo",
        "nth": [1],
        **(rule or {}),
        "fault": {"kind": kind, **facts},
    }
    answer = await sim.post("/_sim/faults", json=spec)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def share(sim, n=1, user="7"):
    return await sim.post(SHARE, data={"access_token": user, "status": f"{n} {LINK}"})


async def timeline(sim):
    return [
        each["idstr"]
        for each in (await sim.get(TIMELINE, params={"access_token": "7"})).json()[
            "statuses"
        ]
    ]


async def log(sim, since=0):
    return (await sim.get(f"/_sim/log?since={since}")).json()


async def kinds(sim):
    return [entry["kind"] for entry in await log(sim)]


async def posts(sim):
    return (await sim.get("/_sim/posts")).json()


async def until(condition):
    """Wait for a condition, for a bounded time."""
    await eventually(condition, PATIENCE)


async def test_drop_before_cuts_and_does_nothing(sim):
    """The call is logged, nothing is created, no response is sent."""
    await fault(sim, "drop_before")
    with pytest.raises(ConnectionResetError):
        await share(sim)
    assert await kinds(sim) == ["recv"]


async def test_drop_after_acts_and_cuts(sim):
    """The post exists though its author got no response."""
    await fault(sim, "drop_after")
    with pytest.raises(ConnectionResetError):
        await share(sim)
    assert await kinds(sim) == ["recv", "act", "visible"]
    assert len(await timeline(sim)) == 1


async def test_act_late_acts_when_its_time_has_come(sim):
    """The connection is reset at once, the post appears once, later."""
    await fault(sim, "act_late", seconds=30)
    with pytest.raises(ConnectionResetError):
        await share(sim)
    assert await posts(sim) == []
    await sim.post("/_sim/clock", json={"shift": 31})
    assert len(await posts(sim)) == 1
    (act,) = [entry for entry in await log(sim) if entry["kind"] == "act"]
    assert act["fault"] == "act_late"


async def test_act_late_needs_no_further_call(served):
    """It happens without another call."""
    await fault(served, "act_late", seconds=0.05)
    with pytest.raises(httpx.TransportError):
        await share(served)

    async def acted():
        return "act" in await kinds(served)

    await until(acted)


@pytest.mark.long
async def test_delay_acts_first_and_responds_late(served):
    """The post exists while its response still waits."""
    await fault(served, "delay", seconds=60)
    waiting = asyncio.create_task(share(served))

    async def acted():
        return len(await posts(served)) == 1

    await until(acted)
    assert not waiting.done()
    waiting.cancel()


async def test_delay_can_wait_before_it_acts(sim):
    """With `when: before` the act comes after the wait."""
    await fault(sim, "delay", seconds=0.01, when="before")
    assert (await share(sim)).status_code == 200
    recv, act = (await log(sim))[:2]
    assert act["t"] - recv["t"] >= 0.01


async def test_list_late_on_a_post_hides_it_from_lists(sim):
    """The post exists but is not listed until later; becoming visible is logged."""
    await fault(sim, "list_late", seconds=60)
    assert (await share(sim)).status_code == 200
    assert await timeline(sim) == []
    assert not (await posts(sim))[0]["visible"]
    assert "visible" not in await kinds(sim)
    await sim.post("/_sim/clock", json={"shift": 61})
    assert len(await timeline(sim)) == 1
    assert "visible" in await kinds(sim)


async def test_a_read_can_report_a_live_post_as_deleted(sim):
    """`gone`: a read by id reports a deletion, once.

    The list shows the post, and nothing is logged.
    """
    number = (await share(sim)).json()["idstr"]
    show = {"access_token": "7", "id": number}
    await fault(sim, "gone", {"endpoint": "/2/statuses/show.json", "times": 1})
    assert (await sim.get("/2/statuses/show.json", params=show)).json()[
        "error_code"
    ] == 20101
    assert (await sim.get("/2/statuses/show.json", params=show)).json()[
        "idstr"
    ] == number
    assert await timeline(sim) == [number]
    assert "removed" not in await kinds(sim)


@pytest.mark.parametrize(
    ("how", "shown"), [("twice", (1, 1, 0, 0)), ("again", (1, 0, 1, 0))]
)
async def test_a_list_shows_items_twice(sim, how, shown):
    """With `twice` an item comes twice in a row.

    With `again` the list is repeated after its end.
    """
    ids = [(await share(sim, n)).json()["idstr"] for n in range(2)]
    await fault(sim, "reorder", {"endpoint": TIMELINE}, how=how)
    assert await timeline(sim) == [ids[place] for place in shown]


@pytest.mark.parametrize("ending", ["…", "...全文", ""])
async def test_a_list_shows_an_excerpt(sim, ending):
    """Only the list is cut, and shows no link and no annotation; the post is unchanged."""
    words = "凡自称客服要求转账退款的都是诈骗，请挂断。"
    said = {
        "access_token": "7",
        "status": f"{words} {LINK}",
        "annotations": '[{"marker":"K7QM"}]',
    }
    made = (await sim.post(SHARE, data=said)).json()
    await fault(
        sim,
        "rewrite",
        {"endpoint": TIMELINE},
        how="excerpt",
        characters=10,
        ending=ending,
    )
    (shown,) = (await sim.get(TIMELINE, params={"access_token": "7"})).json()[
        "statuses"
    ]
    assert (shown["idstr"], shown["text"]) == (made["idstr"], words[:10] + ending)
    assert not shown["url_objects"]
    assert "annotations" not in shown
    (post,) = await posts(sim)
    assert words in post["shown"]


async def test_garbled_responses_follow_a_real_act(sim):
    """bad_json, no_id and wrong_account damage the response to a post that was created."""
    await fault(sim, "bad_json")
    with pytest.raises(json.JSONDecodeError):
        (await share(sim, 1)).json()
    await fault(sim, "no_id")
    status = (await share(sim, 2)).json()
    assert not {"id", "idstr", "mid"} & status.keys()
    await fault(sim, "wrong_account", to="999")
    assert (await share(sim, 3)).json()["user"] == {
        **(await share(sim, 4)).json()["user"],
        "id": 999,
        "idstr": "999",
        "screen_name": "999",
        "name": "999",
    }
    assert {post["account"] for post in await posts(sim)} == {"7"}
    assert len(await posts(sim)) == 4


@pytest.mark.parametrize("acts", [False, True])
async def test_status_acts_only_if_asked(sim, acts):
    """A bare HTTP status with headers stands for a gateway before or behind the platform."""
    await fault(sim, "status", code=429, headers={"Retry-After": "30"}, acts=acts)
    answer = await share(sim)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert len(await posts(sim)) == int(acts)


async def test_an_error_may_hide_a_success(sim):
    """20032 means done; other codes act if asked."""
    await fault(sim, "api_error", code=20032)
    assert (await share(sim, 1)).json()["error_code"] == 20032
    await fault(sim, "api_error", code=10001, acts=True)
    assert (await share(sim, 2)).json()["error_code"] == 10001
    assert len(await posts(sim)) == 2


async def test_a_review_on_weibo_hides_the_post(sim):
    """In review the response is 20032, and nobody sees the post until the verdict."""
    await fault(sim, "review", seconds=30)
    assert (await share(sim)).json()["error_code"] == 20032
    assert await timeline(sim) == []
    await sim.post("/_sim/clock", json={"shift": 31})
    assert len(await timeline(sim)) == 1


async def test_a_review_can_be_held_and_decided_by_hand(sim):
    """Held for good, then refused: logged as removed, never visible."""
    await fault(sim, "review", verdict="hold")
    await share(sim)
    await sim.post("/_sim/clock", json={"shift": 10**6})
    (post,) = await posts(sim)
    assert post["state"] == "review"
    judged = await sim.post(
        "/_sim/review",
        json={"account": "7", "post_id": post["id"], "verdict": "refuse"},
    )
    assert judged.json() == {"judged": [post["id"]]}
    assert (await kinds(sim))[-1] == "removed"
    assert not (await posts(sim))[0]["visible"]


@pytest.mark.parametrize(
    "how", ["spaces", "emoji", "tail", "punctuation", "width", "short", "garble"]
)
async def test_texts_can_be_rewritten(sim, how):
    """The stored text differs from the text sent; the response shows the stored one."""
    await fault(sim, "rewrite", how=how)
    text = f"１2,  注意😀 {LINK}"
    status = (await sim.post(SHARE, data={"access_token": "7", "status": text})).json()
    (post,) = await posts(sim)
    assert status["text"] == post["text"]
    assert post["extra"]["sent"] == text
    assert post["text"] != text.replace(LINK, status["url_objects"][0]["url_short"])


async def test_rules_fire_by_number_times_and_target(sim):
    """nth counts matching calls only, times caps, account and platform narrow."""
    await fault(
        sim, "captcha", {"nth": [2, 3], "times": 1, "account": "7", "endpoint": SHARE}
    )
    codes = [(await share(sim, n)).json().get("error_code") for n in range(4)]
    assert codes == [None, 20031, None, None]
    assert (await share(sim, 9, user="8")).status_code == 200
    (rule,) = (await sim.get("/_sim/faults")).json()
    assert (rule["seen"], rule["fired"]) == (4, 1)
    assert (await sim.request("DELETE", "/_sim/faults")).json() == {"cleared": 1}


async def test_probability_is_reproducible(sim):
    """The same seed fires at the same calls, neither never nor always."""
    runs = []
    for _ in range(2):
        await sim.post("/_sim/reset")
        await fault(sim, "captcha", {"nth": "every", "probability": 0.5, "seed": 4})
        runs.append([(await share(sim, n)).status_code for n in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 400}


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": {"kind": "nonsense"}},
        {},
        {"fault": {"kind": "rewrite", "how": "?"}},
        {"fault": {"kind": "reorder", "how": "?"}},
        {"fault": {"kind": "api_error"}},
        {"fault": {"kind": "api_error", "code": "soon"}},
    ],
)
async def test_a_wrong_rule_is_refused(sim, rule):
    """An invalid rule is a 400 with its reason."""
    answer = await sim.post("/_sim/faults", json=rule)
    assert answer.status_code == 400
    assert "fault." in answer.json()["error"]


# --- on a real socket ---


async def test_the_log_records_when_a_request_began(port, served):
    """`began` is the arrival of the head, `t` that of the whole body."""
    body = b"access_token=7&status=1"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {SHARE} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(
        f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    await writer.drain()
    await served.get("/_sim/log")
    writer.write(body)
    await reader.read()
    writer.close()
    (heard,) = [entry for entry in await log(served) if entry["kind"] == "recv"]
    assert heard["began"] < heard["t"]


async def talk(port, n=1):
    """Share once over a bare socket.

    Return all bytes received, and True if the connection was reset.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = f"access_token=7&status={n}+{LINK}".encode()
    head = f"POST {SHARE} HTTP/1.1\r\nHost: sim\r\nContent-Length: {len(body)}\r\n"
    writer.write(
        head.encode()
        + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        + body
    )
    got = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65536), PATIENCE):
            got += piece
    except ConnectionResetError:
        return got, True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return got, False


@pytest.mark.parametrize(
    ("kind", "created"), [("drop_before", 0), ("drop_after", 1), ("act_late", 0)]
)
async def test_a_cut_is_a_reset_on_the_wire(served, port, kind, created):
    """No byte comes back, no error page, and the connection is reset."""
    await fault(served, kind, seconds=60)
    assert await talk(port) == (b"", True)
    assert len(await posts(served)) == created


async def test_truncate_sends_less_than_announced(served, port):
    """The whole length is announced, half of the body is sent, then the connection ends."""
    await fault(served, "truncate")
    got, _ = await talk(port)
    head, _, body = got.partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert b" 200 " in head
    assert len(body) == promised // 2
    await fault(served, "truncate")
    with pytest.raises(httpx.RemoteProtocolError):
        await share(served, 2)


async def test_drip_is_slow_and_never_ends_well(served, port):
    """Bytes come in small pieces, the last one never."""
    await fault(served, "drip", bytes_per_second=20000)
    got, _ = await talk(port)
    head, _, body = got.partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == promised - 1
    await fault(served, "drip", bytes_per_second=20000, complete=True)
    assert (await share(served, 2)).json()["idstr"]


async def test_the_server_continues_after_resets(served):
    """A reset connection does not affect the next one."""
    for n in range(5):
        await fault(served, "drop_after")
        with pytest.raises(httpx.TransportError):
            await share(served, n)
        await served.request("DELETE", "/_sim/faults")
    assert (await share(served, 9)).status_code == 200
    assert len(await posts(served)) == 6


# --- the record ---


async def test_a_call_is_recorded_in_order(sim):
    """recv, act, visible, reply, with the hash of the body as received."""
    request = sim.build_request(
        "POST", SHARE, data={"access_token": "7", "status": f"x {LINK}"}
    )
    answer = await sim.send(request)
    entries = await log(sim)
    assert [entry["kind"] for entry in entries] == ["recv", "act", "visible", "reply"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4]
    assert entries[0]["body_sha256"] == hashlib.sha256(request.content).hexdigest()
    assert entries[1]["post_id"] == answer.json()["idstr"]
    assert (entries[3]["status"], entries[3]["endpoint"], entries[3]["account"]) == (
        200,
        SHARE,
        "7",
    )
    assert await log(sim, since=3) == entries[3:]


async def test_the_response_waits_for_the_disk(tmp_path):
    """While the log is not synced, the response is not sent."""
    app = create_app(tmp_path)
    disk, asked, may = app.simulator_state.files, threading.Event(), threading.Event()
    write = disk._write

    def slowly(batch):
        asked.set()
        may.wait(PATIENCE)
        write(batch)

    disk._write = slowly
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sim"
    ) as sim:
        waiting = asyncio.create_task(share(sim))
        await asyncio.to_thread(asked.wait, PATIENCE)
        assert not waiting.done()
        may.set()
        assert (await waiting).status_code == 200
    lines = [
        json.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()
    ]
    assert [line["kind"] for line in lines] == ["recv", "act", "visible", "reply"]
    disk.close()


@pytest.mark.parametrize(
    ("platform", "body"),
    [
        (
            "weibo",
            {"statuses": [{"id": 1, "idstr": "1", "text": "雨"}], "total_number": 1},
        ),
        (
            "wechat",
            {
                "item": [{"article_id": "a", "content": {"news_item": []}}],
                "total_count": 1,
            },
        ),
        (
            "tieba",
            {
                "data": {
                    "list": [{"thread_info": {"tid": 1, "title": "雨"}}],
                    "has_more": 0,
                }
            },
        ),
    ],
)
def test_ids_are_missing_from_lists_too(platform, body):
    """The fault no_id finds the ids of a list in the format of each platform.

    It leaves the rest.
    """
    left = json.dumps(_remove_keys(body, PLATFORMS[platform].id_keys))
    assert not [key for key in PLATFORMS[platform].id_keys if f'"{key}"' in left]
    assert left != json.dumps(body)
    assert all(key in left for key in body)
