"""The simulated Tieba against independent clients, and against a request recorded byte by byte."""

import asyncio
import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from publisher.simulator import TlsListener, serve
from tests.simulator.tieba_calls import PNG, Tieba

PATIENCE = 60
SCRIPT = Path(__file__).with_name("with_aiotieba.py")
ME, OTHER, FORUM = "tb.1.golden", "tb.1.citizen", "示例"
TITLE, TEXT = "警惕退款客服诈骗", "正规退款原路退回。\r\n〔2026-118〕"
READ_PB_PAGE = 273

PC_THREAD = (
    b"POST /c/c/thread/add_pc HTTP/1.1\r\n"
    b"Host: tieba.baidu.com\r\n"
    b"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
    b"Origin: https://tieba.baidu.com\r\n"
    b"Referer: https://tieba.baidu.com/f?kw=%E7%A4%BA%E4%BE%8B&ie=utf-8\r\n"
    b"Cookie: BDUSS=tb.1.golden; STOKEN=none\r\n"
    b"Connection: close\r\n"
    b"Content-Length: 423\r\n\r\n"
    b"kw=%E7%A4%BA%E4%BE%8B&fid=31360955"
    b"&title=%E8%AD%A6%E6%83%95%E9%80%80%E6%AC%BE%E5%AE%A2%E6%9C%8D%E8%AF%88%E9%AA%97"
    b"&content=%E6%AD%A3%E8%A7%84%E9%80%80%E6%AC%BE%E5%8E%9F%E8%B7%AF%E9%80%80%E5%9B%9E%E3%80%82"
    b"%0D%0A%E3%80%942026-118%E3%80%95&is_pictxt=1&ext=%7B%22is_hide%22%3Anull%2C%22needImage%22%3A%221%22%7D"
    b"&post_prefix=&jt=&tbs=d10e260ec256e1591700000000&subapp_type=pc&_client_type=20"
    b"&sign=8079593967d87c6c2340ab9118531cd7"
)
"""The new editor's call, with a token of the year 2023.

Tokens do not grow old unless the settings say so.
"""


@dataclass
class TcpSimulator:
    """A simulator over TCP and over TLS, and its control."""

    plain: int
    tls: int
    http: httpx.AsyncClient

    async def control(self, path, body=None):
        answer = await (
            self.http.get(path) if body is None else self.http.post(path, json=body)
        )
        assert answer.status_code == 200
        return answer.json()

    async def send(self, request):
        """Send bytes as they are; return status line and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.plain)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0], body

    async def run(self, python, **asked):
        """Run a client and return its report."""
        reported = {**asked, "plain": self.plain, "tls": self.tls, "forum": FORUM}
        process = await asyncio.create_subprocess_exec(
            python,
            SCRIPT,
            json.dumps(reported),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0
        return json.loads(out.splitlines()[-1])


@pytest.fixture
async def simulated():
    loop = asyncio.get_running_loop()
    plain, tls = loop.create_future(), loop.create_future()
    door = TlsListener(
        host="127.0.0.1",
        port=0,
        on_ready=lambda port, _certificate: tls.set_result(port),
    )
    task = asyncio.create_task(serve("127.0.0.1", 0, None, plain.set_result, tls=door))
    ports = [await asyncio.wait_for(port, PATIENCE) for port in (plain, tls)]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}") as http:
        yield TcpSimulator(*ports, http)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def secret(simulated):
    account = {
        "platform": "tieba",
        "account": ME,
        "name": "示例公安",
        "forums": [FORUM],
    }
    return await simulated.control("/_sim/accounts", account)


@pytest.fixture
async def thread(simulated):
    """A thread, created by the golden request."""
    _, body = await simulated.send(PC_THREAD)
    return int(json.loads(body)["tid"])


async def test_the_golden_request_creates_a_thread(simulated):
    """The recorded bytes are accepted; a changed text breaks their signature."""
    status, body = await simulated.send(PC_THREAD.replace(b"%E6%AD%A3", b"%E6%AD%A4"))
    assert (status, json.loads(body)["error_code"]) == (b"HTTP/1.1 200 OK", "110001")
    status, body = await simulated.send(PC_THREAD)
    assert (status, json.loads(body)["error_code"]) == (b"HTTP/1.1 200 OK", "0")
    (post,) = await simulated.control("/_sim/posts")
    assert (post["account"], post["title"], post["id"]) == (
        ME,
        TITLE,
        json.loads(body)["tid"],
    )
    assert TEXT.startswith(post["text"])


async def test_aiotieba_reads_and_deletes(simulated, secret, thread, environment):
    """The newest release signs in, and reads forum, thread, replies and users.

    It deletes a reply and the thread.
    """
    python = environment("aiotieba-4.8.2", ["aiotieba==4.8.2"])
    # the one shape that it reads in lists
    await simulated.control("/_sim/settings", {"tieba_authors": "inline"})
    agency = Tieba(simulated.http, secret["BDUSS"])
    mark = f"#(pic,{(await agency.upload(PNG))['picId']},40,30)"
    pids = [int((await agency.reply(str(thread), f"二楼\r\n{mark}"))["pid"])]
    await agency.as_(OTHER).reply(str(thread), "谢谢提醒", quote_id=str(pids[0]))
    for author, text in ((OTHER, "三楼"), (ME, "四楼")):
        reply = {
            "platform": "tieba",
            "account": author,
            "text": text,
            "thread": str(thread),
        }
        pids.append(int((await simulated.control("/_sim/posts", reply))["id"]))
    reported = await simulated.run(python, **secret, do="read", tid=thread, pid=pids[0])
    first = [TEXT.replace("\r\n", "\n"), ME]
    assert (reported["version"], reported["errors"]) == ("4.8.2", [])
    assert (reported["me"][1:], reported["fid"]) == ([ME, "示例公安", 1], 31360955)
    assert reported["listed"] == [[thread, TITLE, ME, 4]]
    assert reported["thread"][:2] + reported["thread"][3:] == [thread, TITLE, FORUM]
    assert reported["floors"] == [[150000000001, 1, *first], [pids[0], 2, "二楼", ME]]
    digest = hashlib.sha256(PNG).hexdigest()
    assert reported["images"] == [
        [f"http://tiebapic.baidu.com/forum/pic/item/{digest}.jpg", 40, 30, digest]
    ]
    assert (reported["pages"], reported["second"]) == (
        [2, True, 2, False],
        [[3, "三楼", []], [4, "四楼", []]],
    )
    assert reported["answers"] == ["二楼", [["谢谢提醒", OTHER]]]
    assert [each[:3] for each in reported["mine"]] == [[thread, TITLE, 150000000001]]
    assert reported["said"] == [[pids[2], thread, "四楼"], [pids[0], thread, "二楼"]]
    assert reported["on_pc"] == [[pids[2], TITLE, "四楼"], [pids[0], TITLE, "二楼"]]
    assert (reported["deleted"], reported["after"], reported["missing"]) == (
        [True, True],
        [1, 3, 4],
        READ_PB_PAGE,
    )
    removed = [
        each["id"]
        for each in await simulated.control("/_sim/posts?floors=1")
        if each["removed"]
    ]
    assert sorted(removed) == sorted([str(thread), str(pids[0])])


async def test_the_last_aiotieba_with_replies_writes_them(
    simulated, secret, thread, environment
):
    """The client fetches client ids, nickname and token by itself.

    Its replies read back in their order.
    """
    python = environment("aiotieba-4.7.1", ["aiotieba==4.7.1"])
    reported = await simulated.run(
        python, **secret, do="reply", tid=thread, texts=["更正：损失数字有误", "补充"]
    )
    assert (reported["version"], reported["added"], reported["errors"]) == (
        "4.7.1",
        [True, True],
        [],
    )
    assert reported["floors"][1:] == [[2, "更正：损失数字有误"], [3, "补充"]]
    assert [
        each["account"] for each in await simulated.control("/_sim/posts?floors=1")
    ] == [ME] * 3


@pytest.mark.parametrize(
    "case",
    [
        ({"kind": "api_error", "code": 220034}, ["TiebaServerError", 220034]),
        ({"kind": "captcha", "code": 0}, ["TiebaValueError", None]),
        ({"kind": "drop_after"}, None),
    ],
    ids=["too fast", "captcha", "lost"],
)
async def test_aiotieba_understands_refusals(
    simulated, secret, thread, environment, case
):
    """A code is a server error, a captcha is recognised, a lost response leaves a reply behind."""
    fault, error = case
    python = environment("aiotieba-4.7.1", ["aiotieba==4.7.1"])
    await simulated.control(
        "/_sim/faults", {"endpoint": "/c/c/post/add", "fault": fault}
    )
    reported = await simulated.run(
        python, **secret, do="reply", tid=thread, texts=["更正"]
    )
    assert reported["added"] == [False]
    assert error is None or reported["errors"] == [error]
    assert len(reported["floors"]) == (2 if fault["kind"] == "drop_after" else 1)
