"""The adapters against the simulated platforms, beyond the conformance kit."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from adapters.weibo import WEIBO
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Blocked,
    Deleted,
    Healthy,
    NotFound,
    Published,
    Submitted,
    Unknown,
)
from publisher.simulator import create_app
from tests.adapters.conftest import OLDEST_IDS, context_over

HOST = "http://127.0.0.1:8710"


@pytest.fixture
def simulated():
    transport = httpx.ASGITransport(app=create_app())
    return (
        lambda secret: context_over(transport, lambda: secret),
        httpx.AsyncClient(transport=transport, base_url=HOST),
    )


@pytest.fixture
async def weibo(simulated):
    context, control = simulated
    given = await control.post(
        "/_sim/accounts",
        json={"platform": "weibo", "account": "1404376560", "name": "x"},
    )
    account = Account(
        id=AccountId("beijing-weibo"),
        platform=Platform("weibo"),
        identity="1404376560",
        secret="w",
        base_url=HOST,
        public_ip="203.0.113.7",
    )
    yield WEIBO.create(account, context(given.json())), control
    await control.aclose()


@pytest.fixture
async def tieba(simulated):
    context, control = simulated
    wanted = {
        "platform": "tieba",
        "account": "tb.1.beijing",
        "name": "平安发布",
        "forums": ["天气"],
    }
    given = await control.post("/_sim/accounts", json=wanted)
    account = Account(
        id=AccountId("beijing-tieba"),
        platform=Platform("tieba"),
        identity="tb.1.beijing",
        secret="t",
        base_url=HOST,
        forum="天气",
        has_accepted_risk=True,
    )
    yield TIEBA.create(account, context(given.json())), control
    await control.aclose()


def current_request(make, platform, **words):
    since = datetime.now(UTC) - timedelta(minutes=2)
    return make(
        platform,
        baseline=Baseline(newest_id=OLDEST_IDS.get(platform), taken_at=since),
        **words,
    )


async def inject_fault(control, **fault):
    reply = await control.post(
        "/_sim/faults", json={"platform": "*", "account": "*", "endpoint": "*", **fault}
    )
    assert reply.status_code == 200


LINK = "https://example.gov.cn/n/K7QM-4R2T"
WEIBO_TEXT = f"【警惕“退款客服”诈骗】编号K7QM-4R2T {LINK}"
SHARE = "/2/statuses/share.json"
ADD = "/c/c/thread/add_pc"


async def test_weibo_from_probe_to_retraction(weibo, make_request, picture):
    """A login is probed, a post published with its picture, found by its marker, and deleted."""
    adapter, _ = weibo
    send_request = current_request(
        make_request, "weibo", text=WEIBO_TEXT, link=LINK, pictures=(picture,)
    )
    assert isinstance(await adapter.check_health(), Healthy)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Published)
    assert (await adapter.find_post(send_request)) == Published(
        receipt=outcome.receipt, is_text_confirmed=True
    )
    assert await adapter.retract(outcome.receipt) == Deleted()
    assert await adapter.retract(outcome.receipt) == Deleted()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"kind": "duplicate"}, Unknown, id="F37"),
        pytest.param({"kind": "wrong_account"}, Blocked, id="F38"),
        pytest.param({"kind": "captcha"}, Blocked, id="F49"),
        pytest.param({"kind": "api_error", "code": 20032}, Submitted, id="F39"),
    ],
)
async def test_weibo_faults(weibo, make_request, fault, expected):
    """Each answer of the simulated Weibo gets the outcome of its code."""
    adapter, control = weibo
    await inject_fault(control, endpoint=SHARE, fault=fault)
    send_request = current_request(make_request, "weibo", text=WEIBO_TEXT, link=LINK)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, expected)
    if isinstance(outcome, Submitted):
        assert isinstance(await adapter.check_ticket(outcome.ticket), Published)


async def test_tieba_from_probe_to_retraction(tieba, make_request, picture):
    """A thread goes from probe to retraction.

    A session is probed and a thread is opened with its picture. The thread is seen without a
    session, found, and deleted.
    """
    adapter, _ = tieba
    send_request = current_request(
        make_request, "tieba", text="〔K7QM-4R2T〕\r\n不转账。", pictures=(picture,)
    )
    assert isinstance(await adapter.check_health(), Healthy)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    finding = await adapter.check_ticket(outcome.ticket)
    assert isinstance(finding, Published)
    found = await adapter.find_post(send_request)
    assert isinstance(found, Submitted)
    assert await adapter.check_ticket(found.ticket) == finding
    assert await adapter.retract(finding.receipt) == Deleted()
    assert isinstance(await adapter.check_ticket(outcome.ticket), NotFound)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"kind": "captcha"}, Blocked, id="F49"),
        pytest.param({"kind": "api_error", "code": "230008"}, Submitted, id="F46"),
    ],
)
async def test_tieba_faults(tieba, make_request, fault, expected):
    """Each answer of the simulated Tieba gets the outcome of its code."""
    adapter, control = tieba
    await inject_fault(control, endpoint=ADD, fault=fault)
    send_request = current_request(
        make_request, "tieba", text="〔K7QM-4R2T〕\r\n不转账。"
    )
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, expected)
    if isinstance(outcome, Submitted):
        assert isinstance(await adapter.check_ticket(outcome.ticket), Published)


async def test_tieba_review_that_never_ends_f47(tieba, make_request):
    """F47: a thread in review is seen by its author only, and so is not published."""
    adapter, control = tieba
    await inject_fault(
        control,
        endpoint=ADD,
        fault={"kind": "review", "verdict": "hold", "seconds": 3600},
    )
    send_request = current_request(
        make_request, "tieba", text="〔K7QM-4R2T〕\r\n不转账。"
    )
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    assert isinstance(await adapter.check_ticket(outcome.ticket), NotFound)
