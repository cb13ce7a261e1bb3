"""How far Tieba's threads have come, and what stands on the account."""

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
    desk_for,
    entry,
    page,
    threads,
)

FIGURES = {"reply_num": 3, "view_num": "900", "agree": {"agree_num": 2}, "share_num": 0}
REACH = Reach(reads=900, reposts=0, comments=3, likes=2)


@pytest.fixture
def tieba(bench):
    return desk_for(bench)


def receipts(number: int) -> list[Receipt]:
    return [Receipt(remote_id=str(int(TID) + n), url="", published_at=MADE) for n in range(number)]


async def test_reach_is_what_anybody_is_shown(tieba):
    """Figures are read without a cookie; a missing one is None, and one given as text is a number."""
    adapter, desk = tieba
    desk.router.post(PAGE).mock(side_effect=[page(**FIGURES), page(agree_num="7", view_num=-1)])
    assert await adapter.read_metrics([RECEIPT]) == {TID: REACH}
    assert await adapter.read_metrics([RECEIPT]) == {TID: Reach(likes=7)}
    assert all("cookie" not in request.headers for request in desk.requests)


async def test_views_stand_in_one_of_two_places(tieba):
    """Views stand beside the thread or in it; the field that is not used holds 0."""
    adapter, desk = tieba
    body = page(view_num=0).json() | {"thread_freq_num": "901"}
    desk.router.post(PAGE).respond(200, json=body)
    assert await adapter.read_metrics([RECEIPT]) == {TID: Reach(reads=901)}


async def test_threads_that_are_gone_or_strange_are_left_out(tieba):
    """A thread that is gone, and pages of other threads and people, have no figures; the rest have theirs."""
    adapter, desk = tieba
    one, two, three, four = receipts(4)
    external = page(three.remote_id, author={"portrait": "tb.1.other"})
    desk.router.post(PAGE).mock(side_effect=[NOT_THERE, page(TID), external, page(four.remote_id, **FIGURES)])
    assert await adapter.read_metrics([one, two, three, four]) == {four.remote_id: REACH}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(503), "server_error"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(200, json={"error_code": "110001"}), "tieba_110001"),
    ],
)
async def test_trouble_ends_the_reading(bench, answer, reason):
    """What cannot be read is Unknown and keeps us from asking on; figures that came before it are kept."""
    adapter, desk = desk_for(bench)
    desk.router.post(PAGE).mock(return_value=answer)
    assert await adapter.read_metrics(receipts(3)) == Unknown(reason=reason)
    asked = {request.content for request in desk.requests}
    assert len(asked) == 1
    desk.router.post(PAGE).mock(side_effect=[page(**FIGURES), *[answer] * 3])
    assert await adapter.read_metrics(receipts(3)) == {TID: REACH}


@pytest.mark.parametrize(
    ("answer", "code", "rest"),
    [
        (httpx.Response(200, json={"error_code": "239103"}), "tieba_239103", timedelta(minutes=10)),
        (httpx.Response(429, headers={"retry-after": "90"}), "tieba_429", timedelta(seconds=90)),
    ],
)
async def test_a_limit_ends_the_reading_and_is_reported_f26(bench, answer, code, rest):
    """F26: where Tieba wants no more calls, no thread is asked for after that, and the login is to rest."""
    adapter, desk = desk_for(bench)
    desk.router.post(PAGE).mock(side_effect=[page(**FIGURES), answer])
    assert await adapter.read_metrics(receipts(3)) == RateLimited(code=code, until=desk.now + rest)


async def test_few_threads_at_a_time(tieba):
    """No more than ten threads are read at one time; none asked for, none read."""
    adapter, desk = tieba
    desk.router.post(PAGE).mock(return_value=NOT_THERE)
    assert await adapter.read_metrics(receipts(11)) == {}
    assert len(desk.requests) == 10
    assert await adapter.read_metrics([]) == {}
    assert len(desk.requests) == 10


async def test_recent_threads_of_the_forum(tieba):
    """The account's threads in its forum, newest first; not those of other forums, nor what is hidden or taken down."""
    adapter, desk = tieba
    later = entry("10990000005", "后来的", "……", at=MADE + timedelta(minutes=1))
    hidden = {**entry("10990000006"), "private": 1}
    desk.router.get(LIST).mock(
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
    assert seen[1] == ObservedPost(remote_id=TID, url=f"{WEB}/p/{TID}", published_at=MADE, text=f"{TITLE}\n{TEXT}")
    assert len(desk.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(502), "server_error"),
        (httpx.Response(200, json={"error_code": "230265"}), "tieba_230265"),
        (threads(entry(TID, author={"portrait": "tb.1.other"})), "tieba_wrong_account"),
    ],
)
async def test_a_list_that_cannot_be_read_shows_nothing(tieba, answer, reason):
    """An unreadable list, or somebody else's, is Unknown and no empty account."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(return_value=answer)
    assert await adapter.list_recent() == Unknown(reason=reason)
