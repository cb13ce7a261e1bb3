"""The address that platforms call: what it answers, and that it never does more than let us read sooner."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import select

from adapters.wechat.api import PendingJob, encode_ticket
from adapters.wechat.callback import WeChatCallbacks
from publisher.app.callbacks import CallbackEndpoint, make_endpoint_finder
from publisher.app.callbacks import check_now as hasten_by
from publisher.config import Settings
from publisher.domain.account import Account, AccountId, LoginId, Mode, Platform
from publisher.domain.delivery import State
from publisher.domain.post import DeliveryId
from publisher.domain.results import Submitted
from publisher.store.db.tables import AUDIT
from publisher.store.monitor.adapter_state import StoredAdapterState
from publisher.store.queries.queries import Queries
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME
from publisher.web.callbacks import CHECK_NOW_INTERVAL, CallbackHandler, SeenNonces, bind_socket
from publisher.web.server import MAX_BODY_BYTES, HttpServer
from tests.adapters.test_wechat_callback import AES_KEY, APP_ID, FINISHED, PLAIN, SEALED, SENT, encrypted, plain

PATH = "/callback/wechat/a"
LATER = START_TIME + timedelta(seconds=20)
JOB = "2247500001"


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path / 'publisher.db'}"


class Hall:
    """The address of account `a`, over databases in which its one delivery waits for the job that FINISHED reports."""

    def __init__(self, desk, world, secret):
        self.desk = desk
        self.checked = []
        account = Account(id=AccountId("a"), platform=Platform("wechat"), identity=APP_ID, secret="w")
        ear = CallbackEndpoint(account=account, callbacks=WeChatCallbacks(), secret=secret)

        async def hasten(ear, hint):
            number = await hasten_by(desk.outbox, ear, hint)
            self.checked.append((hint.job_id, number))
            return number

        def find(platform, account):
            return ear if (platform, account) == ("wechat", "a") else None

        self.place = bind_socket("127.0.0.1:0")
        self.port = self.place.getsockname()[1]
        self.listener = CallbackHandler(find_endpoint=find, check_now=hasten, now=world.now)
        self.server = HttpServer(listening_socket=self.place, handler=self.listener.handle)
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}")

    async def push(self, message, **changes):
        body = changes.get("body", message.body)
        return await self.client.post(changes.get("path", PATH), params=dict(message.query), content=body)

    async def begin(self, message, path=PATH):
        """Send the head of a message alone, and give all that is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST {path}?{urlencode(message.query)} HTTP/1.1\r\nHost: ear.example\r\nContent-Length: 9\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def delivery(self):
        [found] = await Queries(self.desk.store).deliveries()
        return found

    async def entries(self):
        query = select(AUDIT.c.id)
        return len(await self.desk.store.database.read(lambda connection: connection.execute(query).all()))


@pytest.fixture
async def open_hall(open_desk, world):
    async with AsyncExitStack() as stack:
        yield partial(make_hall, open_desk, world, stack)


async def make_hall(open_desk, world, stack, secret, name=JOB):
    desk = await open_desk(make_policy("a"))
    await enqueue_posts(desk.post_store, make_post("p", ["a"], START_TIME))
    await desk.maintenance.promote_due()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.record_intent(lease)
    ticket = encode_ticket(PendingJob(name=name, delivery=DeliveryId(1), looks=0))
    await desk.outbox.record_outcome(lease, Submitted(ticket=ticket, check_again_at=LATER))
    hall = Hall(desk, world, secret)
    await stack.enter_async_context(hall.server.serving())
    stack.callback(hall.listener.rejection_log.close)
    await stack.enter_async_context(hall.client)
    return hall


@pytest.mark.parametrize(
    ("secret", "message", "name"),
    [
        (PLAIN, plain(FINISHED), JOB),
        (SEALED, encrypted(FINISHED), JOB),
        (PLAIN, plain(SENT), "mass-3147400001-2455800001"),
        (SEALED, encrypted(SENT), "mass-3147400001"),
    ],
    ids=["plain", "sealed", "plain mass", "sealed mass"],
)
async def test_a_finished_job_is_read_at_once(open_hall, secret, message, name):
    """The next read falls due at once; state, version and audit stay as they were."""
    hall = await open_hall(secret, name)
    before, entries = await hall.delivery(), await hall.entries()
    answer = await hall.push(message)
    assert (answer.status_code, answer.text) == (200, "success")
    after = await hall.delivery()
    assert (before.next_action_at, after.next_action_at) == (LATER, START_TIME)
    assert (after.state, after.version, after.updated_at) == (State.SUBMITTED, before.version, before.updated_at)
    assert await hall.entries() == entries
    assert len(await hall.desk.outbox.due_readbacks([State.SUBMITTED], 10)) == 1


@pytest.mark.parametrize(
    ("secret", "message", "changes", "status"),
    [
        (PLAIN, plain(FINISHED, token="guessed"), {}, 403),
        (PLAIN, plain(FINISHED, at=START_TIME - timedelta(minutes=6)), {}, 403),
        (SEALED, plain(FINISHED), {}, 403),
        (SEALED, encrypted(FINISHED, app_id="wx0000000000000002"), {}, 403),
        (SEALED, encrypted(FINISHED, key="b" + AES_KEY[1:]), {}, 403),
        (PLAIN, plain(FINISHED), {"body": b"x" * (MAX_BODY_BYTES + 1)}, 413),
        (PLAIN, plain(FINISHED), {"body": b"<!DOCTYPE xml [<!ENTITY a 'aaaa'>]><xml><Event>&a;</Event></xml>"}, 403),
        (PLAIN, plain(FINISHED), {"body": b"<xml>"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/callback/weibo/a"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/callback/wechat/b"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/"}, 403),
        (PLAIN, plain(FINISHED.replace(JOB, "2247500002")), {}, 200),
        (PLAIN, plain("<xml><Event>subscribe</Event></xml>"), {}, 200),
    ],
)
async def test_an_invalid_message_changes_nothing(open_hall, secret, message, changes, status):
    """Forged, stale, unsealed, foreign, oversized, broken, misdirected or irrelevant: the delivery waits on."""
    hall = await open_hall(secret)
    assert (await hall.push(message, **changes)).status_code == status
    assert (await hall.delivery()).next_action_at == LATER


async def test_the_reason_of_a_failure_is_stored_for_the_read(open_hall):
    """What WeChat says of a failure decides nothing, and is at hand when the read finds that it failed."""
    hall = await open_hall(SEALED, "mass-3147400001")
    assert (await hall.push(encrypted(SENT.replace("send success", "err(20008)")))).status_code == 200
    notes = StoredAdapterState(database=hall.desk.store.database, login=LoginId("wechat/w"))
    assert await notes.get("said:mass-3147400001") == "20008"
    assert (await hall.delivery()).state is State.SUBMITTED


async def test_f90_a_repeated_message_has_one_read_at_most(open_hall):
    """F90: again, it triggers nothing, its body is not even read, and it is not refused, lest it is sent once more."""
    hall = await open_hall(PLAIN)
    answers = await asyncio.gather(*(hall.push(plain(FINISHED)) for _ in range(10)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "success")}
    assert hall.checked == [(JOB, 1)]
    assert (await hall.begin(plain(FINISHED))).endswith(b"success")
    assert (await hall.push(plain(FINISHED), body=plain(SENT).body)).status_code == 200
    assert hall.checked == [(JOB, 1)]


async def test_f90_one_job_is_read_sooner_once_in_ten_seconds(open_hall, world):
    """F90: even messages that are rightly signed, each with a nonce of its own, do not make us read on and on."""
    hall = await open_hall(PLAIN)
    for nonce in "abc":
        assert (await hall.push(plain(FINISHED, nonce=nonce))).status_code == 200
    assert hall.checked == [(JOB, 1)]
    world.advance_time(CHECK_NOW_INTERVAL)
    assert (await hall.push(plain(FINISHED, nonce="d"))).status_code == 200
    assert hall.checked == [(JOB, 1), (JOB, 1)]


async def test_a_failed_message_may_be_sent_again(open_hall, monkeypatch):
    """A message that met trouble of ours is answered with 500, and heard when it comes again."""
    hall = await open_hall(PLAIN)
    with monkeypatch.context() as broken:
        broken.setattr(hall.desk.store.database, "write", None)
        assert (await hall.push(plain(FINISHED))).status_code == 500
    assert (await hall.push(plain(FINISHED))).status_code == 200
    assert hall.checked == [(JOB, 1)]


async def test_f90_no_body_is_read_before_a_signature(open_hall):
    """F90: what is forged, stale or for nobody is refused by its head, all in the same words, with no redirect."""
    hall = await open_hall(SEALED)
    forged, good = encrypted(FINISHED, token="guessed"), encrypted(FINISHED)
    stale = encrypted(FINISHED, at=START_TIME - timedelta(minutes=6))
    answers = [await hall.begin(message) for message in (forged, stale)]
    answers += [await hall.begin(good, path) for path in ("/callback/wechat/b", "/callback/weibo/a", f"{PATH}/", "/")]
    assert len(set(answers)) == 1
    assert answers[0].startswith(b"HTTP/1.1 403 ")
    assert b"ear.example" not in answers[0]


async def test_the_address_answers_the_echo(open_hall):
    """A signed question is echoed; an unsigned one is not, and other methods are none."""
    hall = await open_hall(PLAIN)
    query = dict(plain("").query)
    answer = await hall.client.get(PATH, params=query | {"echostr": "8412"})
    assert (answer.status_code, answer.text) == (200, "8412")
    assert (await hall.client.get(PATH, params=query | {"echostr": "8412", "nonce": "x"})).status_code == 403
    assert (await hall.client.delete(PATH)).status_code == 403


def test_only_accounts_that_expect_messages_have_an_address(tmp_path):
    """Known to the settings, not off, on a platform that reports itself, with a token in a secret that can be read."""

    def account(name, platform, mode=Mode.API):
        return Account(id=AccountId(name), platform=Platform(platform), identity=name, secret=name, mode=mode)

    accounts = [
        account("ours", "wechat"),
        account("tokenless", "wechat"),
        account("secretless", "wechat"),
        account("away", "wechat", Mode.OFF),
        account("by-hand", "wechat", Mode.ASSISTED),
        account("other", "weibo"),
    ]
    for name in ("ours", "away", "by-hand", "other"):
        (tmp_path / name).write_text(json.dumps(PLAIN))
    (tmp_path / "tokenless").write_text('{"app_id": "a", "app_secret": "b"}')
    find = make_endpoint_finder(
        Settings(
            workspace=tmp_path,
            timezone=ZoneInfo("Asia/Shanghai"),
            database="sqlite:///x",
            accounts={item.id: item for item in accounts},
            secrets_dir=tmp_path,
        )
    )
    names = [item.id for item in accounts] + [AccountId("nobody")]
    heard = {(platform, name) for platform in ("wechat", "weibo") for name in names if find(platform, name)}
    assert heard == {("wechat", "ours"), ("wechat", "by-hand")}


def test_f90_a_secret_is_read_once_a_second(tmp_path):
    """F90: forged messages do not keep us reading secrets; a token that was changed serves a second later."""
    account = Account(id=AccountId("ours"), platform=Platform("wechat"), identity="ours", secret="ours")
    settings = Settings(
        workspace=tmp_path,
        timezone=ZoneInfo("Asia/Shanghai"),
        database="sqlite:///x",
        accounts={account.id: account},
        secrets_dir=tmp_path,
    )
    times = iter([0.0, 0.0, 0.9, 1.0, 1.0])
    find = make_endpoint_finder(settings, partial(next, times))
    assert find("wechat", "ours") is None
    (tmp_path / "ours").write_text(json.dumps(PLAIN))
    assert find("wechat", "ours") is None
    assert find("wechat", "ours").secret == PLAIN


def test_only_so_many_messages_are_remembered(monkeypatch):
    """Memory stays bounded: the oldest is forgotten first, and would be stale by then."""
    monkeypatch.setattr("publisher.web.callbacks.MAX_NONCES", 2)
    seen = SeenNonces()
    for nonce in "abc":
        seen.add("x", nonce, START_TIME)
    assert [seen.seen_at("x", nonce) for nonce in "abc"] == [None, START_TIME, START_TIME]
