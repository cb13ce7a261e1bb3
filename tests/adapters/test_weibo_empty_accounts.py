"""F53: accounts without older posts.

Their empty list proves absence where Weibo's own count does.
"""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from adapters.weibo import WEIBO
from publisher.domain.post import Baseline
from publisher.domain.results import (
    NotFound,
    Published,
    RateLimited,
    Submitted,
    Unknown,
)
from tests.adapters.test_weibo import (
    LINK,
    OLD,
    POST_ID,
    SHARE,
    TEXT,
    TIMELINE,
    account,
    listing,
    status,
)

TOO_SHORT = Unknown(reason="weibo_list_too_short")
LOST = Unknown(reason="reset")


@pytest.fixture
def weibo(make_server):
    server = make_server(
        {"access_token": "2.00TOKEN", "app_key": "1352222456", "app_secret": "x"}
    )
    server.router.post(SHARE).respond(502)
    return WEIBO.create(account(), server.context()), server


@pytest.fixture
def first_request(make_request):
    """The first attempt on an account without any published post of ours."""
    request = make_request("weibo", text=TEXT, link=LINK)
    return replace(
        request, baseline=Baseline(newest_id=None, taken_at=request.baseline.taken_at)
    )


def paths(server):
    return [request.url.path.rpartition("/")[2] for request in server.requests]


async def test_a_count_of_nought_before_and_after_the_call_proves_absence(
    weibo, first_request
):
    """F53: a count of nought before and after the call proves absence.

    The list is read once before the account's first call. Later it is empty, and so is the account.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    await adapter.publish(first_request)
    assert paths(server) == ["user_timeline.json", "share.json"]
    assert await adapter.find_post(first_request) == NotFound(
        covered_since=first_request.baseline.taken_at
    )


@pytest.mark.parametrize("known", ["newest", "owned"])
async def test_an_empty_list_proves_nothing_where_a_post_of_ours_is_known(
    weibo, first_request, known
):
    """F53: an empty list proves nothing where a post of ours is on the account.

    A list that shows no post is a fault, regardless of an older list.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    await adapter.publish(first_request)
    baseline = replace(first_request.baseline, newest_id=POST_ID)
    facts = (
        {"baseline": baseline}
        if known == "newest"
        else {"owned_ids": frozenset({POST_ID})}
    )
    assert await adapter.find_post(replace(first_request, **facts)) == TOO_SHORT


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (httpx.Response(200, json=status(POST_ID, TEXT)), Published),
        (httpx.Response(200, json={"error_code": 20032, "error": "x"}), Submitted),
    ],
    ids=["published", "in review"],
)
async def test_an_accepted_post_ends_the_proof(weibo, first_request, reply, outcome):
    """F53: after an accepted call an empty list no longer proves that the account has no posts."""
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    server.router.post(SHARE).mock(return_value=reply)
    assert isinstance(await adapter.publish(first_request), outcome)
    assert adapter.memory.tried_for == set()
    assert await adapter.find_post(replace(first_request, delivery=2)) == TOO_SHORT


async def test_a_note_that_cannot_be_stored_costs_no_outcome(
    weibo, first_request, monkeypatch
):
    """F53: an outage of the database must not make an accepted post unknown.

    A note that cannot be stored costs no outcome.
    """
    adapter, server = weibo
    server.router.post(SHARE).respond(200, json=status(POST_ID, TEXT))
    server.router.get(TIMELINE).mock(return_value=listing(total=0))

    async def fail(_state, key, _value):
        if key.startswith("account:"):
            raise OSError

    monkeypatch.setattr(type(adapter.context.state), "set", fail)
    assert isinstance(await adapter.publish(first_request), Published)


async def test_a_count_of_nought_after_the_call_alone_proves_nothing(
    weibo, first_request
):
    """F53: a count of nought after the call alone proves nothing.

    The earlier posts are not known, and the list may come back empty by a fault.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    assert await adapter.find_post(first_request) == TOO_SHORT


@pytest.mark.parametrize(
    "before", [listing(total=3), listing(OLD, total=1)], ids=["counted", "listed"]
)
async def test_an_account_that_had_posts_is_never_proven_empty(
    weibo, first_request, before
):
    """F53: an account that had older posts is never proven empty.

    A later list and its count do not change that.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(side_effect=[before, listing(total=0)])
    await adapter.publish(first_request)
    assert await adapter.find_post(first_request) == TOO_SHORT


async def test_a_list_that_comes_back_empty_beside_a_count_proves_nothing(
    weibo, first_request
):
    """F53: the platform itself counts a post that its list does not show."""
    adapter, server = weibo
    server.router.get(TIMELINE).mock(side_effect=[listing(total=0), listing(total=1)])
    await adapter.publish(first_request)
    assert await adapter.find_post(first_request) == TOO_SHORT


async def test_a_read_counts_for_later_calls_of_its_account_alone(weibo, first_request):
    """F53, F96: a read counts for later calls of its account alone.

    It counts neither for a call made before it, nor for another account behind the same secret.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    await adapter.publish(first_request)
    earlier = replace(
        first_request, intended_at=first_request.intended_at - timedelta(seconds=1)
    )
    assert await adapter.find_post(earlier) == TOO_SHORT
    other = WEIBO.create(account(identity="1999999999"), adapter.context)
    assert await other.find_post(first_request) == TOO_SHORT


async def test_the_account_is_read_once_only(weibo, first_request):
    """A list that was read before is not read again.

    With a post of ours on the account none is read at all.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    await adapter.list_recent()
    await adapter.publish(first_request)
    await adapter.publish(replace(first_request, delivery=2))
    known = replace(
        first_request,
        delivery=3,
        baseline=replace(first_request.baseline, newest_id=POST_ID),
    )
    await adapter.publish(known)
    assert paths(server) == ["user_timeline.json", *["share.json"] * 3]
    assert isinstance(
        await adapter.find_post(replace(first_request, delivery=2)), NotFound
    )


async def test_a_read_that_fails_holds_no_post_up(weibo, first_request):
    """F52: it only leaves the proof out, and is not tried again for that delivery."""
    adapter, server = weibo
    server.router.get(TIMELINE).respond(502)
    assert isinstance(await adapter.publish(first_request), Unknown)
    assert isinstance(await adapter.publish(replace(first_request, attempt=2)), Unknown)
    assert paths(server)[-2:] == ["share.json", "share.json"]
    server.router.get(TIMELINE).mock(return_value=listing(total=0))
    assert await adapter.find_post(first_request) == TOO_SHORT


async def test_a_limit_on_the_login_stops_the_call_too_f44(weibo, first_request):
    """F44: Weibo wants no more calls of the login: the creating call is not made either."""
    adapter, server = weibo
    server.router.get(TIMELINE).respond(
        403, json={"error_code": 10023, "error": "out of rate limit"}
    )
    assert isinstance(await adapter.publish(first_request), RateLimited)
    assert paths(server) == ["user_timeline.json"]
