"""The adapter against the simulated Tieba; the two were written independently."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Blocked,
    Deleted,
    Healthy,
    HoldReason,
    NotFound,
    NotSent,
    Published,
    RateLimited,
    Reach,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.simulator import create_app
from tests.adapters.conftest import context_over

HOST = "http://127.0.0.1:8710"
ME = "tb.1.beijing"
ADD, FORUM = "/c/c/thread/add_pc", "/f/commit/share/fnameShareApi"
SYNC = "/c/s/pc/sync"


@dataclass
class SimulatedTieba:
    """One account on a simulated Tieba."""

    control: httpx.AsyncClient
    transport: httpx.ASGITransport
    secret: dict[str, str]
    account: Account = field(
        default_factory=lambda: Account(
            id=AccountId("beijing-tieba"),
            platform=Platform("tieba"),
            identity=ME,
            secret="t",
            base_url=HOST,
            forum="天气",
            has_accepted_risk=True,
        )
    )

    @property
    def adapter(self) -> Adapter:
        return TIEBA.create(
            self.account, context_over(self.transport, lambda: self.secret)
        )

    async def inject_fault(self, endpoint, times=1, **fault):
        rule = {
            "platform": "tieba",
            "account": "*",
            "endpoint": endpoint,
            "times": times,
            "fault": fault,
        }
        (await self.control.post("/_sim/faults", json=rule)).raise_for_status()

    async def settings(self, **changes):
        (await self.control.post("/_sim/settings", json=changes)).raise_for_status()

    async def posts(self):
        return (await self.control.get("/_sim/posts", params={"account": ME})).json()


@pytest.fixture
async def stage():
    transport = httpx.ASGITransport(app=create_app())
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        wanted = {
            "platform": "tieba",
            "account": ME,
            "name": "平安发布",
            "forums": ["天气"],
        }
        secret = (await control.post("/_sim/accounts", json=wanted)).json()
        yield SimulatedTieba(control, transport, secret)


@pytest.fixture
def send_request(make_request, picture):
    since = datetime.now(UTC) - timedelta(minutes=2)
    return make_request(
        "tieba",
        text="〔K7QM-4R2T〕\r\n不转账，不透露验证码。",
        pictures=(picture,),
        baseline=Baseline(newest_id=None, taken_at=since),
    )


async def test_from_probe_to_reach_and_retraction(stage, send_request):
    """A thread with its picture is seen by anybody, listed, measured, and deleted.

    A second deletion does no harm.
    """
    adapter = stage.adapter
    assert await adapter.check_health() == Healthy(identity="tb.1.beijing")
    taken = await adapter.publish(send_request)
    assert isinstance(taken, Submitted)
    seen = await adapter.check_ticket(taken.ticket)
    assert isinstance(seen, Published)
    assert seen.is_text_confirmed
    assert [sighting.remote_id for sighting in await adapter.list_recent()] == [
        seen.receipt.remote_id
    ]
    figures = {seen.receipt.remote_id: Reach(reads=0, reposts=0, comments=0, likes=0)}
    assert await adapter.read_metrics([seen.receipt]) == figures
    [made] = await stage.posts()
    assert len(made["images"]) == 1
    assert await adapter.retract(seen.receipt) == Deleted()
    assert await adapter.retract(seen.receipt) == Deleted()
    assert await adapter.read_metrics([seen.receipt]) == {}
    assert await adapter.list_recent() == []


@pytest.mark.parametrize("session", ["named", "flag"])
@pytest.mark.parametrize("authors", ["listed", "inline", "numbers"])
async def test_f54_our_threads_and_replies_are_ours_in_each_shape_of_the_site(
    stage, send_request, authors, session
):
    """F54: our threads and replies are found in each shape of the site, and no one else's.

    Authors are in the posts, beside them, or given as a number.
    """
    await stage.settings(tieba_authors=authors, tieba_session=session)
    adapter = stage.adapter
    assert await adapter.check_health() == Healthy(identity="tb.1.beijing")
    assert isinstance(await adapter.publish(send_request), Submitted)
    found = await stage.adapter.find_post(send_request)
    assert isinstance(found, Submitted)
    seen = await adapter.check_ticket(found.ticket)
    assert isinstance(seen, Published)
    assert [each.remote_id for each in await adapter.list_recent()] == [
        seen.receipt.remote_id
    ]
    other = replace(stage, account=replace(stage.account, identity="tb.1.other"))
    assert await other.adapter.check_ticket(
        Ticket(payload=seen.receipt.remote_id)
    ) == Unknown(reason="tieba_wrong_account")


@pytest.mark.parametrize("types", ["own", "text", "numbers"])
@pytest.mark.parametrize("ids_in", ["top", "data"])
@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
async def test_answers_in_all_variants(stage, send_request, types, ids_in, charset):
    """Numbers as text, ids under data, a header that says GBK: each is read correctly."""
    await stage.settings(tieba_types=types, tieba_ids_in=ids_in, tieba_charset=charset)
    adapter = stage.adapter
    taken = await adapter.publish(send_request)
    assert isinstance(taken, Submitted)
    seen = await adapter.check_ticket(taken.ticket)
    assert isinstance(seen, Published)
    assert isinstance(await adapter.find_post(send_request), Submitted)
    assert [sighting.remote_id for sighting in await adapter.list_recent()] == [
        seen.receipt.remote_id
    ]
    assert seen.receipt.remote_id in await adapter.read_metrics([seen.receipt])


@pytest.mark.parametrize(
    ("account_status", "expected"),
    [
        ({"block_stat": 2}, ("tieba_220012", HoldReason.ACCOUNT)),
        ({"block_stat": 3, "forum": "天气"}, ("tieba_3250004", HoldReason.ACCOUNT)),
        ({"vcode_stat": 1}, ("tieba_captcha", HoldReason.CAPTCHA)),
    ],
)
async def test_banned_or_under_captcha_f49(
    stage, send_request, account_status, expected
):
    """F49: a banned account, and one with an open captcha, is held for a person.

    Nothing is made.
    """
    await stage.settings(tieba_standing={ME: account_status})
    await stage.inject_fault(SYNC, kind="html")  # only the write itself shows it
    outcome = await stage.adapter.publish(send_request)
    assert isinstance(outcome, Blocked)
    assert (outcome.code, outcome.hold_reason) == expected
    assert await stage.posts() == []


@pytest.mark.parametrize(
    ("account_status", "expected"),
    [
        ({"block_stat": 2}, Blocked(code="tieba_banned", reason="")),
        ({"hide_stat": 1}, Blocked(code="tieba_hidden", reason="")),
        (
            {"vcode_stat": 1},
            Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA),
        ),
    ],
)
async def test_restrictions_of_the_account_are_known_before_f47_f49(
    stage, send_request, account_status, expected
):
    """F47 F49: the health check reports a ban, hidden posts and captchas in advance.

    It reports them before anything is sent.
    """
    await stage.settings(tieba_standing={ME: account_status})
    assert await stage.adapter.check_health() == expected
    assert await stage.adapter.publish(send_request) == expected
    assert await stage.posts() == []


async def test_hidden_from_everybody_f47(stage, send_request):
    """F47: where only the write shows that the thread is hidden, a person decides, with its URL."""
    await stage.settings(tieba_standing={ME: {"hide_stat": 1}})
    await stage.inject_fault(SYNC, kind="html")
    outcome = await stage.adapter.publish(send_request)
    [made] = await stage.posts()
    url = f"https://tieba.baidu.com/p/{made['id']}"
    assert outcome == Blocked(
        code="tieba_sent_hidden", reason=url, hold_reason=HoldReason.HIDDEN
    )
    found = await stage.adapter.find_post(send_request)
    assert isinstance(found, Submitted)
    assert isinstance(await stage.adapter.check_ticket(found.ticket), NotFound)
    assert await stage.adapter.list_recent() == []


@pytest.mark.parametrize(
    ("forum", "code"),
    [
        ({"closed": True}, "tieba_no_forum"),
        ({"blacklist": [ME]}, "tieba_400013"),
        ({"followers_only": True}, "tieba_340012"),
    ],
)
async def test_a_forum_that_is_closed(stage, send_request, forum, code):
    """A forum that is closed, or closed to this account, is held for a person."""
    await stage.settings(tieba_forums={"天气": forum})
    outcome = await stage.adapter.publish(send_request)
    assert (type(outcome), outcome.code, outcome.hold_reason) == (
        Blocked,
        code,
        HoldReason.ACCOUNT,
    )


async def test_a_forum_that_may_only_be_read(stage, send_request):
    """A forum that is read-only for now is tried again later."""
    await stage.settings(tieba_forums={"天气": {"read_only": True}})
    assert isinstance(await stage.adapter.publish(send_request), RateLimited)


async def test_rejected_words(stage, send_request):
    """Rejected words are named."""
    await stage.settings(tieba_words=["验证码"])
    outcome = await stage.adapter.publish(send_request)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "tieba_220015"
    assert "验证码" in outcome.reason


async def test_review_then_shown_f46(stage, send_request):
    """F46: a thread in review is seen by nobody, and published once the review lets it pass."""
    await stage.inject_fault(ADD, kind="review", verdict="hold", seconds=3600)
    taken = await stage.adapter.publish(send_request)
    assert isinstance(taken, Submitted)
    assert isinstance(await stage.adapter.check_ticket(taken.ticket), NotFound)
    [made] = await stage.posts()
    wanted = {"account": ME, "post_id": made["id"], "verdict": "pass"}
    (await stage.control.post("/_sim/review", json=wanted)).raise_for_status()
    assert isinstance(await stage.adapter.check_ticket(taken.ticket), Published)


async def test_a_forum_that_cannot_be_looked_up(stage, send_request):
    """A thread is sent although the forum lookup fails, if its number is configured.

    Without a configured number, nothing is sent.
    """
    found = await stage.control.get(FORUM, params={"fname": "天气", "ie": "utf-8"})
    await stage.inject_fault(FORUM, times=9, kind="html")
    assert isinstance(await stage.adapter.publish(send_request), NotSent)
    assert await stage.posts() == []
    number = str(found.json()["data"]["fid"])
    stage.account = replace(stage.account, options={"forum_id": number})
    assert isinstance(await stage.adapter.publish(send_request), Submitted)
    assert len(await stage.posts()) == 1
