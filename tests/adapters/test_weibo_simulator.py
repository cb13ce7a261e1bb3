"""The Weibo adapter against the simulated platform, beyond the conformance kit."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.weibo import WEIBO
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.errors import Problem
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Blocked,
    Deleted,
    HoldReason,
    Published,
    Reach,
    Submitted,
    Unknown,
)
from publisher.simulator import create_app
from tests.adapters.conftest import OLDEST_IDS, context_over

HOST = "http://127.0.0.1:8710"
UID = "1404376560"
LINK = "https://example.gov.cn/n/K7QM-4R2T"
TEXT = f"【警惕“退款客服”诈骗】编号K7QM-4R2T {LINK}"


@pytest.fixture
async def platform():
    """Return a function that builds an adapter and a control client.

    The adapter is for a simulated account, and the client for the control endpoints.
    """
    transport = httpx.ASGITransport(app=create_app())

    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        wanted = {"platform": "weibo", "account": UID, "name": "平安发布"}
        secret = (await control.post("/_sim/accounts", json=wanted)).json()

        def speak(profile: str | None = None, **options: str):
            account = Account(
                id=AccountId("beijing-weibo"),
                platform=Platform("weibo"),
                identity=UID,
                secret="w",
                base_url=HOST,
                public_ip="203.0.113.7",
                profile=profile,
                options=options,
            )
            return WEIBO.create(account, context_over(transport, lambda: secret))

        yield speak, control


def fresh(make, **words):
    since = datetime.now(UTC) - timedelta(minutes=2)
    return make(
        "weibo",
        baseline=Baseline(newest_id=OLDEST_IDS["weibo"], taken_at=since),
        **words,
    )


async def test_metrics_of_published_posts_only(platform, make_request):
    """A published post is counted, a deleted one is left out."""
    speak, _ = platform
    adapter = speak()
    published = await adapter.publish(fresh(make_request, text=TEXT, link=LINK))
    assert isinstance(published, Published)
    figures = await adapter.read_metrics([published.receipt])
    assert not isinstance(figures, Unknown)
    reach = figures[published.receipt.remote_id]
    assert isinstance(reach, Reach)
    assert None not in {reach.reposts, reach.comments, reach.likes}
    assert await adapter.retract(published.receipt) == Deleted()
    assert await adapter.read_metrics([published.receipt]) == {}


async def test_recent_shows_ours_and_what_is_posted_by_hand(platform, make_request):
    """The account's newest posts are listed, of any origin, with a reader's URLs."""
    speak, control = platform
    adapter = speak()
    published = await adapter.publish(fresh(make_request, text=TEXT, link=LINK))
    assert isinstance(published, Published)
    await control.post(
        "/_sim/posts", json={"platform": "weibo", "account": UID, "text": "人工发布"}
    )
    sightings = await adapter.list_recent()
    assert not isinstance(sightings, Unknown)
    assert [item.text[:4] for item in sightings] == ["人工发布", "【警惕“"]
    assert sightings[1].url == published.receipt.url


@pytest.mark.parametrize(
    ("profile", "pictures"), [("update", 0), ("update", 1), ("biz", 0), ("biz", 9)]
)
async def test_granted_profiles_publish_and_find(
    platform, make_request, picture, profile, pictures
):
    """With its permission a profile publishes, finds its post, counts it, and deletes it."""
    speak, control = platform
    await control.post(
        "/_sim/settings", json={"weibo_grants": {UID: ["update", "biz"]}}
    )
    adapter = speak(profile)
    send_request = fresh(
        make_request, text="#防汛#不转账。编号K7QM-4R2T", pictures=(picture,) * pictures
    )
    published = await adapter.publish(send_request)
    assert isinstance(published, Published)
    found = await adapter.find_post(send_request)
    assert isinstance(found, Published)
    assert found.receipt == published.receipt
    (post,) = (await control.get("/_sim/posts")).json()
    assert (post["id"], len(post["images"])) == (published.receipt.remote_id, pictures)
    figures = await adapter.read_metrics([published.receipt])
    assert not isinstance(figures, Unknown)
    assert list(figures) == [published.receipt.remote_id]
    assert await adapter.retract(published.receipt) == Deleted()


async def test_an_ordinary_app_is_blocked(platform, make_request):
    """Without its permission a profile's call is refused, and nothing is made."""
    speak, control = platform
    blocked = await speak("update").publish(fresh(make_request, text="编号K7QM-4R2T"))
    assert isinstance(blocked, Blocked)
    assert (blocked.code, blocked.hold_reason) == ("weibo_10014", HoldReason.ACCOUNT)
    assert (await control.get("/_sim/posts")).json() == []


async def test_an_article_is_found_by_the_post_that_leads_to_it(platform, make_request):
    """A long text is sent as an article.

    The article is published once its post is seen.
    """
    speak, control = platform
    await control.post("/_sim/settings", json={"weibo_grants": {UID: ["article"]}})
    adapter = speak(None, article_cover="https://example.gov.cn/cover.png")
    send_request = fresh(
        make_request, text=f"{TEXT}\n" + "正规退款原路退回。" * 40, link=LINK
    )
    submitted = await adapter.publish(send_request)
    assert isinstance(submitted, Submitted)
    found = await adapter.check_ticket(submitted.ticket)
    assert isinstance(found, Published)
    (post,) = (await control.get("/_sim/posts")).json()
    assert found.receipt.remote_id == post["id"]
    assert "<p>" + "正规退款原路退回。" * 40 + "</p>" in post["html"]


async def test_a_person_signs_the_account_in(platform):
    """A person signs the account in.

    The address leads to the page, the page's answer becomes a token, and the token is this
    account's.
    """
    speak, control = platform
    adapter = speak()
    address = WEIBO.sign_in.build_authorization_url(
        adapter.account, adapter.context.secret(), "n0nce"
    )
    assert "平安发布" in (await control.get(address)).text
    asked = {
        name: values[0] for name, values in parse_qs(urlsplit(address).query).items()
    }
    answer = await control.post(
        "/oauth2/authorize", data={**asked, "account": UID, "answer": "allow"}
    )
    kept = await WEIBO.sign_in.exchange_code(
        adapter.account,
        adapter.context.secret(),
        answer.headers["location"],
        adapter.context.http,
    )
    assert not isinstance(kept, Problem)
    assert kept["access_token"] != adapter.context.secret()["access_token"]
    refused = await control.post(
        "/oauth2/authorize", data={**asked, "account": UID, "answer": "deny"}
    )
    problem = await WEIBO.sign_in.exchange_code(
        adapter.account,
        adapter.context.secret(),
        refused.headers["location"],
        adapter.context.http,
    )
    assert problem == Problem(code="weibo_21330")


async def test_metrics_grow(platform, make_request):
    """An hour later more people have seen the post."""
    speak, control = platform
    adapter = speak()
    published = await adapter.publish(fresh(make_request, text=TEXT, link=LINK))
    assert isinstance(published, Published)
    await control.post("/_sim/clock", json={"shift": 3600})
    figures = await adapter.read_metrics([published.receipt])
    assert not isinstance(figures, Unknown)
    reach = figures[published.receipt.remote_id]
    assert (reach.likes or 0) > (reach.reposts or 0) > (reach.comments or 0) > 0


async def test_a_post_under_review_is_hidden_until_it_passes_f47(
    platform, make_request
):
    """F47: 20053 is accepted.

    Until the review is over no list shows the post, and no list counts it.
    """
    speak, control = platform
    adapter = speak()
    share = {"platform": "weibo", "endpoint": "/2/statuses/share.json"}
    review = {"kind": "review", "seconds": 600, "announce": True}
    await control.post("/_sim/faults", json={**share, "fault": review})
    outcome = await adapter.publish(fresh(make_request, text=TEXT, link=LINK))
    assert isinstance(outcome, Submitted)
    assert isinstance(await adapter.check_ticket(outcome.ticket), Unknown)
    assert await adapter.list_recent() == []
    await control.post("/_sim/clock", json={"shift": 601})
    assert isinstance(await adapter.check_ticket(outcome.ticket), Published)
