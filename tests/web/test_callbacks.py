"""The address that platforms call, and its answers.

A message only ever makes publisher read sooner.
"""

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
from publisher.config import Settings
from publisher.contract import CallbackEvent
from publisher.domain.account import Account, AccountId, LoginId, Mode, Platform
from publisher.domain.delivery import State
from publisher.domain.post import DeliveryId
from publisher.domain.results import Submitted
from publisher.store.db.tables import AUDIT
from publisher.store.monitor.adapter_state import StoredAdapterState
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME
from publisher.web.http.callbacks import (
    CHECK_NOW_INTERVAL,
    CallbackEndpoint,
    CallbackHandler,
    SeenNonces,
    bind_socket,
    check_now,
    make_endpoint_finder,
)
from publisher.web.http.server import MAX_BODY_BYTES, HttpServer
from tests.adapters.test_wechat_callback import (
    AES_KEY,
    APP_ID,
    FINISHED,
    PLAIN,
    SEALED,
    SENT,
    encrypted,
    plain,
)

PATH = "/callback/wechat/a"
LATER = START_TIME + timedelta(seconds=20)
JOB = "2247500001"


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path / 'publisher.db'}"


class CallbackFixture:
    """The address of account `a`, over a database with one delivery.

    The delivery waits for the job that FINISHED reports.
    """

    def __init__(self, store, runtime, secret):
        self.store = store
        self.checked = []
        account = Account(
            id=AccountId("a"), platform=Platform("wechat"), identity=APP_ID, secret="w"
        )
        endpoint = CallbackEndpoint(
            account=account, callbacks=WeChatCallbacks(), secret=secret
        )

        async def read_sooner(endpoint, hint):
            number = await check_now(store.outbox, endpoint, hint)
            self.checked.append((hint.job_id, number))
            return number

        def find(platform, account):
            return endpoint if (platform, account) == ("wechat", "a") else None

        self.place = bind_socket("127.0.0.1:0")
        self.port = self.place.getsockname()[1]
        self.listener = CallbackHandler(
            find_endpoint=find, check_now=read_sooner, now=runtime.now
        )
        self.server = HttpServer(
            listening_socket=self.place, handler=self.listener.handle
        )
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}")

    async def push(self, message, **changes):
        body = changes.get("body", message.body)
        return await self.client.post(
            changes.get("path", PATH), params=dict(message.query), content=body
        )

    async def begin(self, message, path=PATH):
        """Send the head of a message alone, and return the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (
            f"POST {path}?{urlencode(message.query)} HTTP/1.1\r\n"
            "Host: ear.example\r\nContent-Length: 9\r\n\r\n"
        )
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def delivery(self):
        [found] = await self.store.queries.deliveries()
        return found

    async def entries(self):
        query = select(AUDIT.c.id)
        return len(
            await self.store.database.read(
                lambda connection: connection.execute(query).all()
            )
        )


@pytest.fixture
async def open_callbacks(open_store, runtime):
    async with AsyncExitStack() as stack:
        yield partial(make_callbacks, open_store, runtime, stack)


async def make_callbacks(open_store, runtime, stack, secret, name=JOB):
    store = await open_store(make_policy("a"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    [lease] = await store.outbox.claim(1)
    await store.outbox.record_intent(lease)
    ticket = encode_ticket(PendingJob(name=name, delivery=DeliveryId(1), polls=0))
    await store.outbox.record_outcome(
        lease, Submitted(ticket=ticket, check_again_at=LATER)
    )
    callbacks = CallbackFixture(store, runtime, secret)
    await stack.enter_async_context(callbacks.server.serving())
    stack.callback(callbacks.listener.rejection_log.close)
    await stack.enter_async_context(callbacks.client)
    return callbacks


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
async def test_a_finished_job_is_read_at_once(open_callbacks, secret, message, name):
    """The next read is due at once; state, version and audit log stay as they were."""
    callbacks = await open_callbacks(secret, name)
    before, entries = await callbacks.delivery(), await callbacks.entries()
    answer = await callbacks.push(message)
    assert (answer.status_code, answer.text) == (200, "success")
    after = await callbacks.delivery()
    assert (before.next_action_at, after.next_action_at) == (LATER, START_TIME)
    assert (after.state, after.version, after.updated_at) == (
        State.SUBMITTED,
        before.version,
        before.updated_at,
    )
    assert await callbacks.entries() == entries
    assert len(await callbacks.store.outbox.due_readbacks([State.SUBMITTED], 10)) == 1


@pytest.mark.parametrize(
    ("job", "kept"),
    [("7", {"said:7": "no\ufffd"}), ("7\ud83d", {})],
    ids=["reason", "job"],
)
async def test_f31_what_an_event_says_is_stored_as_far_as_it_can_be(
    open_callbacks, job, kept
):
    """F31: half an emoji in a reason is replaced.

    A damaged name of a job names none, and the message is accepted.
    """
    callbacks = await open_callbacks(PLAIN)
    event = CallbackEvent(job_id=job, reason="no\ud83d")
    account = Account(
        id=AccountId("a"), platform=Platform("wechat"), identity=APP_ID, secret="w"
    )
    endpoint = CallbackEndpoint(
        account=account, callbacks=WeChatCallbacks(), secret=PLAIN
    )
    assert await check_now(callbacks.store.outbox, endpoint, event) == 0
    state = StoredAdapterState(database=callbacks.store.database, login=account.login)
    assert {
        key: value for key in ("said:7",) if (value := await state.get(key))
    } == kept


@pytest.mark.parametrize(
    ("secret", "message", "changes", "status"),
    [
        (PLAIN, plain(FINISHED, token="guessed"), {}, 403),
        (PLAIN, plain(FINISHED, at=START_TIME - timedelta(minutes=6)), {}, 403),
        (SEALED, plain(FINISHED), {}, 403),
        (SEALED, encrypted(FINISHED, app_id="wx0000000000000002"), {}, 403),
        (SEALED, encrypted(FINISHED, key="b" + AES_KEY[1:]), {}, 403),
        (PLAIN, plain(FINISHED), {"body": b"x" * (MAX_BODY_BYTES + 1)}, 413),
        (
            PLAIN,
            plain(FINISHED),
            {
                "body": b"<!DOCTYPE xml [<!ENTITY a 'aaaa'>]><xml><Event>&a;</Event></xml>"
            },
            403,
        ),
        (PLAIN, plain(FINISHED), {"body": b"<xml>"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/callback/weibo/a"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/callback/wechat/b"}, 403),
        (PLAIN, plain(FINISHED), {"path": "/"}, 403),
        (PLAIN, plain(FINISHED.replace(JOB, "2247500002")), {}, 200),
        (PLAIN, plain("<xml><Event>subscribe</Event></xml>"), {}, 200),
    ],
)
async def test_an_invalid_message_changes_nothing(
    open_callbacks, secret, message, changes, status
):
    """An invalid message changes nothing: the delivery waits on.

    It is forged, stale, unencrypted, foreign, oversized, broken, misdirected or irrelevant.
    """
    callbacks = await open_callbacks(secret)
    assert (await callbacks.push(message, **changes)).status_code == status
    assert (await callbacks.delivery()).next_action_at == LATER


async def test_the_reason_of_a_failure_is_stored_for_the_read(open_callbacks):
    """WeChat's reason for a failure decides nothing.

    It is used when the read finds that the delivery failed.
    """
    callbacks = await open_callbacks(SEALED, "mass-3147400001")
    assert (
        await callbacks.push(encrypted(SENT.replace("send success", "err(20008)")))
    ).status_code == 200
    notes = StoredAdapterState(
        database=callbacks.store.database, login=LoginId("wechat/w")
    )
    assert await notes.get("said:mass-3147400001") == "20008"
    assert (await callbacks.delivery()).state is State.SUBMITTED


async def test_f90_a_repeated_message_has_one_read_at_most(open_callbacks):
    """F90: a repeated message triggers nothing, and its body is not read.

    It is accepted, so that it is not sent again.
    """
    callbacks = await open_callbacks(PLAIN)
    answers = await asyncio.gather(
        *(callbacks.push(plain(FINISHED)) for _ in range(10))
    )
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (200, "success")
    }
    assert callbacks.checked == [(JOB, 1)]
    assert (await callbacks.begin(plain(FINISHED))).endswith(b"success")
    assert (
        await callbacks.push(plain(FINISHED), body=plain(SENT).body)
    ).status_code == 200
    assert callbacks.checked == [(JOB, 1)]


async def test_f90_one_job_is_read_sooner_once_in_ten_seconds(open_callbacks, runtime):
    """F90: even correctly signed messages, each with its own nonce, do not trigger more reads."""
    callbacks = await open_callbacks(PLAIN)
    for nonce in "abc":
        assert (await callbacks.push(plain(FINISHED, nonce=nonce))).status_code == 200
    assert callbacks.checked == [(JOB, 1)]
    runtime.advance_time(CHECK_NOW_INTERVAL)
    assert (await callbacks.push(plain(FINISHED, nonce="d"))).status_code == 200
    assert callbacks.checked == [(JOB, 1), (JOB, 1)]


async def test_a_failed_message_may_be_sent_again(open_callbacks, monkeypatch):
    """A message that meets an internal error is answered with 500.

    It is processed when it is sent again.
    """
    callbacks = await open_callbacks(PLAIN)
    with monkeypatch.context() as broken:
        broken.setattr(callbacks.store.database, "write", None)
        assert (await callbacks.push(plain(FINISHED))).status_code == 500
    assert (await callbacks.push(plain(FINISHED))).status_code == 200
    assert callbacks.checked == [(JOB, 1)]


async def test_f90_no_body_is_read_before_a_signature(open_callbacks):
    """F90: a forged, stale or misdirected message is refused by its head.

    The answer is the same for each, without a redirect.
    """
    callbacks = await open_callbacks(SEALED)
    forged, good = encrypted(FINISHED, token="guessed"), encrypted(FINISHED)
    stale = encrypted(FINISHED, at=START_TIME - timedelta(minutes=6))
    answers = [await callbacks.begin(message) for message in (forged, stale)]
    answers += [
        await callbacks.begin(good, path)
        for path in ("/callback/wechat/b", "/callback/weibo/a", f"{PATH}/", "/")
    ]
    assert len(set(answers)) == 1
    assert answers[0].startswith(b"HTTP/1.1 403 ")
    assert b"ear.example" not in answers[0]


async def test_the_address_answers_the_echo(open_callbacks):
    """A signed echo request is answered; an unsigned one is not, and other methods do not exist."""
    callbacks = await open_callbacks(PLAIN)
    query = dict(plain("").query)
    answer = await callbacks.client.get(PATH, params=query | {"echostr": "8412"})
    assert (answer.status_code, answer.text) == (200, "8412")
    assert (
        await callbacks.client.get(
            PATH, params=query | {"echostr": "8412", "nonce": "x"}
        )
    ).status_code == 403
    assert (await callbacks.client.delete(PATH)).status_code == 403


def test_only_accounts_that_expect_messages_have_an_address(tmp_path):
    """Only accounts that expect messages have an address.

    They are known to the settings, not off, on a platform with callbacks, with a token in a
    readable secret.
    """

    def account(name, platform, mode=Mode.API):
        return Account(
            id=AccountId(name),
            platform=Platform(platform),
            identity=name,
            secret=name,
            mode=mode,
        )

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
    heard = {
        (platform, name)
        for platform in ("wechat", "weibo")
        for name in names
        if find(platform, name)
    }
    assert heard == {("wechat", "ours"), ("wechat", "by-hand")}


def test_f90_a_secret_is_read_once_a_second(tmp_path):
    """F90: forged messages do not keep publisher reading secrets.

    A changed token counts a second later.
    """
    account = Account(
        id=AccountId("ours"),
        platform=Platform("wechat"),
        identity="ours",
        secret="ours",
    )
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
    monkeypatch.setattr("publisher.web.http.callbacks.MAX_NONCES", 2)
    seen = SeenNonces()
    for nonce in "abc":
        seen.add("x", nonce, START_TIME)
    assert [seen.seen_at("x", nonce) for nonce in "abc"] == [
        None,
        START_TIME,
        START_TIME,
    ]
