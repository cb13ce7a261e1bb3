"""The adapter against the simulated WeChat; the two were written independently."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.wechat import WECHAT
from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import Baseline, DeliveryId, Marker
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    Healthy,
    NotFound,
    PossibleMatch,
    Published,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.simulator import create_app
from publisher.testing.conformance.harness import MemoryAdapterState
from tests.adapters.conftest import Tokens, context_over
from tests.adapters.fakes_wechat import APP_ID, article, send_request

HOST = "http://127.0.0.1:8710"
SUBMIT = "/cgi-bin/freepublish/submit"
LIST = "/cgi-bin/freepublish/batchget"
SEND = "/cgi-bin/message/mass/sendall"


@dataclass
class SimulatedWeChat:
    """One account on a simulated WeChat, and everything that survives a crash."""

    control: httpx.AsyncClient
    transport: httpx.ASGITransport
    secret: dict[str, str]
    tokens: Tokens = field(default_factory=Tokens)
    state: MemoryAdapterState = field(default_factory=MemoryAdapterState)
    profile: str | None = None
    days_on: int = 0

    @property
    def adapter(self) -> Adapter:
        context = context_over(
            self.transport,
            lambda: self.secret,
            tokens=self.tokens,
            state=self.state,
            now=lambda: datetime.now(UTC) + timedelta(days=self.days_on),
        )
        account = Account(
            id=AccountId("beijing-wechat"),
            platform=Platform("wechat"),
            identity=APP_ID,
            secret="w",
            base_url=HOST,
            profile=self.profile,
        )
        return WECHAT.create(account, context)

    async def inject_fault(self, endpoint, times=1, **fault):
        rule = {
            "platform": "wechat",
            "account": "*",
            "endpoint": endpoint,
            "times": times,
            "fault": fault,
        }
        assert (await self.control.post("/_sim/faults", json=rule)).status_code == 200

    async def pass_time(self, seconds):
        await self.control.post("/_sim/clock", json={"shift": seconds})

    async def posts(self):
        return (
            await self.control.get("/_sim/posts", params={"account": APP_ID})
        ).json()


@pytest.fixture
async def stage():
    transport = httpx.ASGITransport(app=create_app())
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        wanted = {"platform": "wechat", "account": APP_ID, "name": "平安发布"}
        secret = (await control.post("/_sim/accounts", json=wanted)).json()
        await control.post("/_sim/settings", json={"wechat_review_seconds": 60})
        yield SimulatedWeChat(control=control, transport=transport, secret=secret)


def current_request(**changes):
    since = datetime.now(UTC) - timedelta(minutes=2)
    return send_request(baseline=Baseline(newest_id=None, taken_at=since), **changes)


async def test_from_probe_to_retraction(stage):
    """A login goes from probe to retraction.

    It is probed. An article is published with its pictures, reviewed, found by its marker, and
    deleted.
    """
    assert WECHAT.validate(stage.adapter.account, article()) == ()
    assert await stage.adapter.check_health() == Healthy()
    outcome = await stage.adapter.publish(current_request())
    assert isinstance(outcome, Submitted)
    assert isinstance(await stage.adapter.check_ticket(outcome.ticket), Submitted)
    await stage.pass_time(61)
    live = await stage.adapter.check_ticket(outcome.ticket)
    found = await stage.adapter.find_post(current_request())
    assert isinstance(live, Published)
    assert isinstance(found, Published)
    assert found.receipt.remote_id == live.receipt.remote_id
    assert found.receipt.url == live.receipt.url
    [post] = await stage.posts()
    assert post["title"] == article().title
    assert len(post["images"]) == 2
    assert await stage.adapter.retract(live.receipt) == Deleted()
    assert await stage.adapter.retract(live.receipt) == Deleted()
    assert await stage.adapter.check_ticket(outcome.ticket) == Deleted()
    assert await stage.adapter.find_post(current_request()) == Deleted()


@pytest.mark.parametrize("when", ["accept", "finish"])
async def test_a_lost_reply_f24(stage, when):
    """F24: a submission with a lost reply is found when it is published.

    No second one is made.
    """
    await stage.control.post("/_sim/settings", json={"wechat_consume": when})
    await stage.inject_fault(SUBMIT, kind="status", code=504, acts=True)
    assert await stage.adapter.publish(current_request()) == Unknown(
        reason="server_error"
    )
    second = await stage.adapter.publish(current_request(attempt=2))
    is_gone = when == "accept"
    assert second == Unknown(
        reason="wechat_draft_consumed" if is_gone else "wechat_53503",
        is_duplicate=is_gone,
    )
    await stage.pass_time(61)
    assert isinstance(await stage.adapter.find_post(current_request()), Published)
    assert len(await stage.posts()) == 1


async def test_a_lost_request(stage):
    """A submission that never arrived leaves its draft in the box.

    A second attempt submits the same draft.
    """
    await stage.inject_fault(SUBMIT, kind="status", code=504)
    assert isinstance(await stage.adapter.publish(current_request()), Unknown)
    assert isinstance(await stage.adapter.find_post(current_request()), NotFound)
    assert isinstance(
        await stage.adapter.publish(current_request(attempt=2)), Submitted
    )
    assert len(await stage.posts()) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"kind": "duplicate"}, Unknown, id="F37"),
        pytest.param({"kind": "expire_token"}, CredentialExpired, id="F40"),
        pytest.param({"kind": "api_error", "code": 53503}, Rejected, id="F45"),
        pytest.param({"kind": "captcha"}, Blocked, id="F49"),
        pytest.param({"kind": "api_error", "code": 48004}, Blocked, id="F50"),
    ],
)
async def test_faults_of_the_submission(stage, fault, expected):
    """Each answer of the simulated WeChat gets the outcome of its code."""
    await stage.inject_fault(SUBMIT, **fault)
    assert isinstance(await stage.adapter.publish(current_request()), expected)


async def test_an_expired_token_f40(stage):
    """F40: after one refresh the next attempt submits the existing draft."""
    await stage.inject_fault(SUBMIT, kind="expire_token")
    assert isinstance(await stage.adapter.publish(current_request()), CredentialExpired)
    assert isinstance(
        await stage.adapter.publish(current_request(attempt=2)), Submitted
    )
    assert len(await stage.posts()) == 1


@pytest.mark.parametrize("endpoint", ["/cgi-bin/media/uploadimg", "/cgi-bin/draft/add"])
async def test_a_token_that_expires_during_an_attempt_f41(stage, endpoint):
    """F41: a token that expires before the submission is renewed within the same attempt."""
    await stage.inject_fault(endpoint, kind="expire_token")
    assert isinstance(await stage.adapter.publish(current_request()), Submitted)


async def test_a_rejection_in_review_f46(stage):
    """F46: an article that review rejects is rejected, and is in no list."""
    await stage.inject_fault(SUBMIT, kind="review", seconds=1, verdict="refuse")
    outcome = await stage.adapter.publish(current_request())
    assert isinstance(outcome, Submitted)
    await stage.pass_time(2)
    assert isinstance(await stage.adapter.check_ticket(outcome.ticket), Rejected)
    assert await stage.adapter.find_post(current_request()) == Unknown(
        reason="wechat_draft_consumed"
    )


async def test_removed_by_the_platform_f48(stage):
    """F48: an article that the platform deleted is gone."""
    outcome = await stage.adapter.publish(current_request())
    assert isinstance(outcome, Submitted)
    await stage.pass_time(61)
    [post] = await stage.posts()
    await stage.control.delete(f"/_sim/posts/{post['id']}")
    assert await stage.adapter.check_ticket(outcome.ticket) == Deleted()
    assert await stage.adapter.find_post(current_request()) == Deleted()


async def test_posted_by_hand_f56(stage):
    """F56: the same text posted by hand leads to a person."""
    by_hand = {
        "platform": "wechat",
        "account": APP_ID,
        "title": article().title,
        "text": article().summary,
    }
    await stage.control.post("/_sim/posts", json=by_hand)
    assert isinstance(await stage.adapter.find_post(current_request()), PossibleMatch)


@pytest.mark.parametrize("kind", ["html", "bad_json", "empty_list"])
async def test_an_unreadable_list_f52(stage, kind):
    """F52: a broken list, or an empty one of an account with articles, is never absence."""
    old = {"platform": "wechat", "account": APP_ID, "title": "旧文", "text": "别的"}
    known = (await stage.control.post("/_sim/posts", json=old)).json()["id"]
    since = datetime.now(UTC) + timedelta(minutes=2)
    looked_for = send_request(baseline=Baseline(newest_id=known, taken_at=since))
    assert await stage.adapter.find_post(looked_for) == NotFound(
        covered_since=since, can_resend=False
    )
    await stage.inject_fault(LIST, times=9, kind=kind)
    assert isinstance(await stage.adapter.find_post(looked_for), Unknown)


async def test_a_list_in_another_order_f53(stage):
    """F53: the order of the list does not matter."""
    outcome = await stage.adapter.publish(current_request())
    assert isinstance(outcome, Submitted)
    await stage.pass_time(61)
    for number in range(70):
        other = {
            "platform": "wechat",
            "account": APP_ID,
            "title": f"旧文{number}",
            "text": "别的",
        }
        await stage.control.post("/_sim/posts", json=other)
    assert isinstance(await stage.adapter.find_post(current_request()), Published)
    await stage.inject_fault(LIST, times=9, kind="reorder")
    assert isinstance(await stage.adapter.find_post(current_request()), Published)


async def test_from_mass_send_to_retraction(stage):
    """An urgent post is sent to all followers, is known by its id, and its page is deleted."""
    stage.profile = "mass"
    outcome = await stage.adapter.publish(current_request(is_urgent=True))
    assert isinstance(outcome, Submitted)
    assert isinstance(await stage.adapter.check_ticket(outcome.ticket), Submitted)
    await stage.pass_time(61)
    live = await stage.adapter.check_ticket(outcome.ticket)
    assert isinstance(live, Published)
    assert isinstance(
        await stage.adapter.find_post(current_request(is_urgent=True)), Published
    )
    [post] = await stage.posts()
    assert live.receipt.remote_id == f"mass-{post['id']}-{post['extra']['publish_id']}"
    assert post["extra"]["mass"]["sent"] == 1000
    assert await stage.adapter.retract(live.receipt) == Deleted()
    assert await stage.adapter.retract(live.receipt) == Deleted()
    assert await stage.adapter.check_ticket(outcome.ticket) == Deleted()


async def test_a_lost_reply_of_a_mass_send_f24(stage):
    """F24: where the draft still exists, a repeat with the same key gets the first id.

    Nobody is notified twice.
    """
    stage.profile = "mass"
    await stage.control.post(
        "/_sim/settings",
        json={"wechat_consume": "finish", "wechat_review_seconds": 600},
    )
    await stage.inject_fault(SEND, kind="status", code=504, acts=True)
    assert isinstance(
        await stage.adapter.publish(current_request(is_urgent=True)), Unknown
    )
    await stage.control.post("/_sim/settings", json={"wechat_consume": "accept"})
    second = await stage.adapter.publish(current_request(is_urgent=True, attempt=2))
    assert not isinstance(second, Submitted)
    await stage.pass_time(61)
    third = await stage.adapter.publish(current_request(is_urgent=True, attempt=2))
    assert isinstance(third, Submitted)
    [post] = await stage.posts()
    assert f"mass-{post['id']}" in third.ticket.payload


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"wechat_kind": "subscription", "wechat_mass_per_day": 1}, Rejected),
        ({"wechat_verified": False}, Blocked),
    ],
)
async def test_a_mass_send_too_many_f44(stage, settings, expected):
    """F44: a mass send above the limit is held for a person.

    It is a second one of the day, or one of an account without the right.
    """
    stage.profile = "mass"
    assert isinstance(
        await stage.adapter.publish(current_request(is_urgent=True)), Submitted
    )
    await stage.control.post("/_sim/settings", json=settings)
    another = article(marker=Marker(code="2RT4-Q7MK"))
    other = current_request(is_urgent=True, delivery=DeliveryId(8), rendered=another)
    assert isinstance(await stage.adapter.publish(other), expected)
    assert len(await stage.posts()) == 1


async def test_an_unlisted_address_f50(stage):
    """F50: where the account's IP list lacks our address, a person is alerted.

    Nothing is created.
    """
    await stage.control.post("/_sim/settings", json={"wechat_addresses": ["192.0.2.7"]})
    assert isinstance(await stage.adapter.check_health(), Blocked)
    assert isinstance(await stage.adapter.publish(current_request()), Blocked)
    assert await stage.posts() == []


async def test_metrics_of_articles(stage):
    """Metrics of a publication and of a mass send are read in the days after."""
    stage.profile = "mass"
    outcomes = [await stage.adapter.publish(current_request())]
    outcomes.append(
        await stage.adapter.publish(
            current_request(is_urgent=True, delivery=DeliveryId(8))
        )
    )
    await stage.pass_time(61)
    receipts = [
        (await stage.adapter.check_ticket(outcome.ticket)).receipt
        for outcome in outcomes
    ]
    assert await stage.adapter.read_metrics(receipts) == {}
    stage.days_on = 3
    stage.tokens = Tokens()
    await stage.pass_time(timedelta(days=3).total_seconds())
    metrics = await stage.adapter.read_metrics(receipts)
    assert set(metrics) == {receipt.remote_id for receipt in receipts}
    assert all(reach.reads > 0 for reach in metrics.values())
