"""Metrics, the newest posts, and how few of a day's reads are spent on them."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.weibo import WEIBO
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.post_list import MAX_LIST_ENTRIES
from publisher.domain.results import (
    ObservedPost,
    RateLimited,
    Reach,
    Receipt,
    Ticket,
    Unknown,
)
from tests.adapters.conftest import NOON

UID = "1404376560"
COUNT = "https://api.weibo.com/2/statuses/count.json"
TIMELINE = "https://api.weibo.com/2/statuses/user_timeline.json"
SHOW = "https://api.weibo.com/2/statuses/show.json"
DESTROY = "https://api.weibo.com/2/statuses/destroy.json"
TOKEN_INFO = "https://api.weibo.com/oauth2/get_token_info"
NUMBER = 5316149214569024
MADE = datetime(2026, 11, 24, 4, 0, 31, tzinfo=UTC)
FULL_HOUR = datetime(2026, 11, 24, 5, tzinfo=UTC)


def account(profile: str | None = None) -> Account:
    return Account(
        id=AccountId("beijing-weibo"),
        platform=Platform("weibo"),
        identity=UID,
        secret="w",
        profile=profile,
    )


@pytest.fixture
def weibo(make_server):
    server = make_server({"access_token": "2.00TOKEN"})
    return WEIBO.create(account(), server.context()), server


def receipts(*numbers: int) -> list[Receipt]:
    return [
        Receipt(remote_id=str(number), url="x", published_at=MADE) for number in numbers
    ]


def post(number: int, text: str) -> dict:
    made = "Tue Nov 24 12:00:31 +0800 2026"
    return {
        "created_at": made,
        "idstr": str(number),
        "text": text,
        "user": {"idstr": UID},
    }


async def test_counts_golden(weibo, golden, answer):
    """One call counts many posts.

    A figure that the platform leaves out, or was not asked for, is missing.
    """
    adapter, server = weibo
    server.router.get(COUNT).mock(return_value=answer("weibo/count"))
    figures = await adapter.read_metrics(receipts(5316149214569024, 5316149214569025))
    golden("weibo/count", server.requests[0])
    assert figures == {"5316149214569024": Reach(reposts=2, comments=1, likes=3)}


async def test_a_hundred_posts_are_one_call(weibo):
    """Metrics are read for a hundred posts per call, and no call is made for none."""
    adapter, server = weibo
    server.router.get(COUNT).respond(200, json=[])
    assert await adapter.read_metrics([]) == {}
    assert await adapter.read_metrics(receipts(*range(150))) == {}
    assert [
        len(request.url.params["ids"].split(",")) for request in server.requests
    ] == [100, 50]


async def test_business_counts_have_other_names(make_server):
    """The business call gives texts, and names likes differently."""
    server = make_server({"access_token": "t"})
    adapter = WEIBO.create(account("biz"), server.context())
    body = [{"id": "7", "comments": "1", "reposts": "20", "likes": "300"}]
    server.router.get("https://c.api.weibo.com/2/statuses/count/biz.json").respond(
        200, json=body
    )
    assert await adapter.read_metrics(receipts(7)) == {
        "7": Reach(reposts=20, comments=1, likes=300)
    }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (httpx.Response(403, json={"error_code": 10014, "error": "x"}), "weibo_10014"),
        (httpx.Response(200, json={"error_code": 10023, "error": "x"}), "weibo_10023"),
        (httpx.Response(200, json={"id": 1}), "bad_response"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(502), "server_error"),
    ],
)
async def test_counts_that_cannot_be_read(weibo, reply, reason):
    """A response that is no list of counts proves nothing about any post."""
    adapter, server = weibo
    server.router.get(COUNT).mock(return_value=reply)
    assert await adapter.read_metrics(receipts(1)) == Unknown(reason=reason)


async def test_recent_posts_come_newest_first(weibo):
    """The account's own list is returned newest first, a pinned post in its place."""
    adapter, server = weibo
    listed = [
        post(5000000000000001, "置顶"),
        post(5316149214569024, "新"),
        post(5316149214569020, "旧"),
    ]
    server.router.get(TIMELINE).respond(
        200, json={"statuses": listed, "total_number": 3}
    )
    sightings = await adapter.list_recent()
    assert not isinstance(sightings, Unknown)
    assert [item.text for item in sightings] == ["新", "旧", "置顶"]
    assert sightings[2] == ObservedPost(
        remote_id="5000000000000001",
        url=f"https://weibo.com/{UID}/O00000001",
        published_at=MADE,
        text="置顶",
    )


async def test_recent_posts_that_cannot_be_read(weibo):
    """A list of another account is no list."""
    adapter, server = weibo
    foreign = {**post(1, "x"), "user": {"idstr": "1"}}
    server.router.get(TIMELINE).respond(200, json={"statuses": [foreign]})
    assert await adapter.list_recent() == Unknown(reason="weibo_wrong_account")


async def test_without_token_nothing_is_read(weibo):
    """A login without token makes no call."""
    adapter, server = weibo
    server.secret.clear()
    assert await adapter.list_recent() == Unknown(reason="weibo_no_token")
    assert await adapter.read_metrics(receipts(1)) == Unknown(reason="weibo_no_token")
    assert server.requests == []


async def test_spare_reads_end_before_the_day_f44(weibo, make_request):
    """F44: monitoring and metrics stop after a share of the day's reads.

    Unknown outcomes and tokens are still read.
    """
    adapter, server = weibo
    server.router.post(TOKEN_INFO).respond(
        200, json={"uid": int(UID), "appkey": "1", "expire_in": 3600}
    )
    server.router.get(TIMELINE).respond(
        200, json={"statuses": [post(1, "x")], "total_number": 1}
    )
    for _ in range(25):
        assert not isinstance(await adapter.list_recent(), Unknown)
    assert await adapter.list_recent() == Unknown(reason="weibo_reads_reserved")
    assert await adapter.read_metrics(receipts(1)) == Unknown(
        reason="weibo_reads_reserved"
    )
    assert not isinstance(await adapter.check_health(), Unknown)
    assert not isinstance(
        await adapter.find_post(make_request("weibo", text="x")), Unknown
    )
    assert len(server.requests) == 27
    server.now += timedelta(hours=12)
    assert not isinstance(await adapter.list_recent(), Unknown)


async def test_readbacks_count_as_reads_f44(weibo, make_request):
    """F44: read-backs of unknown outcomes count as reads of the day.

    The same reads are not spent a second time on monitoring.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).respond(
        200, json={"statuses": [post(1, "x")], "total_number": 1}
    )
    for _ in range(25):
        await adapter.find_post(make_request("weibo", text="x"))
    assert await adapter.list_recent() == Unknown(reason="weibo_reads_reserved")


async def test_business_reads_are_not_counted(make_server):
    """A business login has calls in plenty."""
    server = make_server({"access_token": "t"})
    adapter = WEIBO.create(account("biz"), server.context())
    url = "https://c.api.weibo.com/2/statuses/user_timeline/biz.json"
    server.router.get(url).respond(200, json={"statuses": []})
    for _ in range(40):
        assert await adapter.list_recent() == []


@pytest.mark.parametrize(
    ("reply", "limit"),
    [
        (
            httpx.Response(403, json={"error_code": 10022}),
            RateLimited(code="weibo_10022", until=FULL_HOUR),
        ),
        (
            httpx.Response(403, json={"error_code": 10023}),
            RateLimited(code="weibo_10023", until=FULL_HOUR),
        ),
        (
            httpx.Response(429, headers={"retry-after": "90"}),
            RateLimited(code="weibo_429", until=NOON + timedelta(seconds=90)),
        ),
        (httpx.Response(429), RateLimited(code="weibo_429", until=None)),
    ],
)
@pytest.mark.parametrize(
    "meeting",
    [
        (TIMELINE, lambda adapter, send_request: adapter.find_post(send_request)),
        (TIMELINE, lambda adapter, _send_request: adapter.list_recent()),
        (
            SHOW,
            lambda adapter, _send_request: adapter.check_ticket(
                Ticket(payload=str(NUMBER))
            ),
        ),
        (
            COUNT,
            lambda adapter, _send_request: adapter.read_metrics([receipts(NUMBER)[0]]),
        ),
        (DESTROY, lambda adapter, _send_request: adapter.retract(receipts(NUMBER)[0])),
        (TOKEN_INFO, lambda adapter, _send_request: adapter.check_health()),
    ],
)
async def test_a_limit_that_a_read_meets_is_reported_f26_f27(
    weibo, make_request, meeting, reply, limit
):
    """F26, F27: a limit on all calls of the address or the user is reported from any read."""
    (adapter, server), (address, read) = weibo, meeting
    server.router.route(url__startswith=address).mock(return_value=reply)
    assert await read(adapter, make_request("weibo", text="不转账。")) == limit
    assert len(server.requests) == 1


async def test_a_list_longer_than_any_is_not_taken_f36(weibo):
    """F36: a list of more posts than were asked for is no list: nothing of it is stored."""
    adapter, server = weibo
    statuses = [
        post(NUMBER + number, "转发微博") for number in range(MAX_LIST_ENTRIES + 1)
    ]
    answer = httpx.Response(
        200, json={"statuses": statuses, "total_number": len(statuses)}
    )
    server.router.get(TIMELINE).mock(return_value=answer)
    assert await adapter.list_recent() == Unknown(reason="bad_response")
