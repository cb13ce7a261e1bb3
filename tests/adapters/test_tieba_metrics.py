"""Metrics of Tieba's threads, and the threads of the account."""

from datetime import timedelta

import httpx
import pytest

from publisher.domain.results import ObservedPost, RateLimited, Reach, Receipt, Unknown
from tests.adapters.fakes_tieba import (
    LIST,
    MADE,
    NOT_THERE,
    OLD,
    PAGE,
    RECEIPT,
    TEXT,
    TID,
    TITLE,
    WEB,
    entry,
    page,
    server_for,
    threads,
)

FIGURES = {"reply_num": 3, "view_num": "900", "agree": {"agree_num": 2}, "share_num": 0}
REACH = Reach(reads=900, reposts=0, comments=3, likes=2)


@pytest.fixture
def tieba(make_server):
    return server_for(make_server)


def receipts(number: int) -> list[Receipt]:
    return [
        Receipt(remote_id=str(int(TID) + n), url="", published_at=MADE)
        for n in range(number)
    ]


async def test_metrics_are_read_without_a_cookie(tieba):
    """Metrics are read without a cookie.

    A missing value is None, and a value given as text is a number.
    """
    adapter, server = tieba
    server.router.post(PAGE).mock(
        side_effect=[page(**FIGURES), page(agree_num="7", view_num=-1)]
    )
    assert await adapter.read_metrics([RECEIPT]) == {TID: REACH}
    assert await adapter.read_metrics([RECEIPT]) == {TID: Reach(likes=7)}
    assert all("cookie" not in request.headers for request in server.requests)


async def test_views_are_in_one_of_two_places(tieba):
    """Views are beside the thread or in it; the field that is not used holds 0."""
    adapter, server = tieba
    body = page(view_num=0).json() | {"thread_freq_num": "901"}
    server.router.post(PAGE).respond(200, json=body)
    assert await adapter.read_metrics([RECEIPT]) == {TID: Reach(reads=901)}


async def test_threads_that_are_deleted_or_of_others_are_left_out(tieba):
    """A deleted thread, and pages of other threads and people, have no metrics.

    The other threads have theirs.
    """
    adapter, server = tieba
    one, two, three, four = receipts(4)
    external = page(three.remote_id, author={"portrait": "tb.1.other"})
    server.router.post(PAGE).mock(
        side_effect=[NOT_THERE, page(TID), external, page(four.remote_id, **FIGURES)]
    )
    assert await adapter.read_metrics([one, two, three, four]) == {
        four.remote_id: REACH
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(503), "server_error"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(200, json={"error_code": "110001"}), "tieba_110001"),
    ],
)
async def test_an_error_ends_the_reading(make_server, answer, reason):
    """An unreadable answer is Unknown and ends the reading.

    Metrics that came before it are kept.
    """
    adapter, server = server_for(make_server)
    server.router.post(PAGE).mock(return_value=answer)
    assert await adapter.read_metrics(receipts(3)) == Unknown(reason=reason)
    asked = {request.content for request in server.requests}
    assert len(asked) == 1
    server.router.post(PAGE).mock(side_effect=[page(**FIGURES), *[answer] * 3])
    assert await adapter.read_metrics(receipts(3)) == {TID: REACH}


@pytest.mark.parametrize(
    ("answer", "code", "rest"),
    [
        (
            httpx.Response(200, json={"error_code": "239103"}),
            "tieba_239103",
            timedelta(minutes=10),
        ),
        (
            httpx.Response(429, headers={"retry-after": "90"}),
            "tieba_429",
            timedelta(seconds=90),
        ),
    ],
)
async def test_a_limit_ends_the_reading_and_is_reported_f26(
    make_server, answer, code, rest
):
    """F26: at a limit no further thread is read, and the login gets a cooldown."""
    adapter, server = server_for(make_server)
    server.router.post(PAGE).mock(side_effect=[page(**FIGURES), answer])
    assert await adapter.read_metrics(receipts(3)) == RateLimited(
        code=code, until=server.now + rest
    )


async def test_few_threads_at_a_time(tieba):
    """No more than ten threads are read at one time; none requested, none read."""
    adapter, server = tieba
    server.router.post(PAGE).mock(return_value=NOT_THERE)
    assert await adapter.read_metrics(receipts(11)) == {}
    assert len(server.requests) == 10
    assert await adapter.read_metrics([]) == {}
    assert len(server.requests) == 10


async def test_recent_threads_of_the_forum(tieba):
    """The account's threads in its forum are listed, newest first.

    Threads of other forums, and hidden or deleted ones, are left out.
    """
    adapter, server = tieba
    later = entry("10990000005", "后来的", "……", at=MADE + timedelta(minutes=1))
    hidden = {**entry("10990000006"), "private": 1}
    server.router.get(LIST).mock(
        return_value=threads(
            OLD,
            entry(TID, TITLE, TEXT),
            later,
            entry("10990000007", fid=99),
            hidden,
            entry("10990000008", is_deleted="1"),
        )
    )
    seen = await adapter.list_recent()
    assert [each.remote_id for each in seen] == ["10990000005", TID, "10980000001"]
    assert seen[1] == ObservedPost(
        remote_id=TID, url=f"{WEB}/p/{TID}", published_at=MADE, text=f"{TITLE}\n{TEXT}"
    )
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(502), "server_error"),
        (httpx.Response(200, json={"error_code": "230265"}), "tieba_230265"),
        (threads(entry(TID, author={"portrait": "tb.1.other"})), "tieba_wrong_account"),
    ],
)
async def test_a_list_that_cannot_be_read_shows_nothing(tieba, answer, reason):
    """An unreadable list, or another account's, is Unknown and no empty account."""
    adapter, server = tieba
    server.router.get(LIST).mock(return_value=answer)
    assert await adapter.list_recent() == Unknown(reason=reason)
