"""Replies on Tieba.

The call that adds one, its possible responses, and its appearance in the thread.
"""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from publisher.domain.post import format_part_prefix
from publisher.domain.results import (
    Blocked,
    HoldReason,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.i18n import load_catalogue
from tests.adapters.conftest import NOON
from tests.adapters.fakes_tieba import (
    AUTHOR,
    MADE,
    NOT_THERE,
    NUMBER,
    PAGE,
    PORTRAIT,
    RECEIPT,
    TEXT,
    TID,
    TITLE,
    WEB,
    server_for,
)

REPLY = f"{WEB}/c/c/post/add_pc"
PID = "150000000002"
SECOND = "（接上层，2/2）〔K7QM-4R2T〕\r\n遇到可疑电话，请拨打96110。"
SEEN_URL = f"{WEB}/p/{TID}?pid={PID}#{PID}"


@pytest.fixture
def tieba(make_server):
    return server_for(make_server)


@pytest.fixture
def send_request(make_request, picture):
    whole = make_request("tieba", text=TEXT, title=TITLE, pictures=(picture,))
    return replace(
        whole,
        rendered=replace(whole.rendered, extra_parts=(SECOND,)),
        images=(),
        attempt=2,
        part=1,
        parent=RECEIPT,
    )


def taken(**more) -> dict:
    return {
        "error_code": "0",
        "tid": TID,
        "pid": PID,
        "msg": "发送成功",
        "opgroup": "0",
        **more,
    }


def said(pid: str, text: str, number: int = 2, **more) -> dict:
    reply = {
        "id": int(pid),
        "floor": number,
        "time": int(MADE.timestamp()) + 130,
        "author_id": NUMBER,
    }
    return {**reply, "content": [{"type": 0, "text": text}], **more}


def thread(*replies: dict, has_more: int = 0, people: tuple = ()) -> httpx.Response:
    first = said("150000000001", TEXT, 1)
    body = {
        "error_code": 0,
        "thread": {
            "id": int(TID),
            "title": TITLE,
            "create_time": int(MADE.timestamp()),
            "author": AUTHOR,
        },
        "first_floor": first,
        "page": {"has_more": has_more},
        "post_list": [first, *replies],
        "user_list": list(people),
    }
    return httpx.Response(200, json=body)


async def test_reply_golden(tieba, send_request, golden):
    """A reply is one signed form with the thread's number.

    Nothing is uploaded, and accepted is not yet visible.
    """
    adapter, server = tieba
    server.router.post(REPLY).respond(200, json=taken())
    outcome = await adapter.publish(send_request)
    golden("tieba/reply", server.requests[3])
    assert len(server.requests) == 4
    assert isinstance(outcome, Submitted)
    assert outcome.check_again_at == server.now + timedelta(seconds=5)
    facts = {
        "floor_of": TID,
        "pid": PID,
        "marker": send_request.marker.code,
        "since": "2026-11-24T03:58:30+00:00",
    }
    assert json.loads(outcome.ticket.payload) == facts


async def test_replies_golden(tieba, send_request, golden, answer):
    """A reply is searched without any cookie, among the thread author's replies.

    A reply that anybody sees is published.
    """
    adapter, server = tieba
    server.router.post(PAGE).mock(return_value=answer("tieba/replies"))
    finding = await adapter.find_post(send_request)
    golden("tieba/replies", server.requests[0])
    assert "cookie" not in server.requests[0].headers
    receipt = Receipt(
        remote_id=PID, url=SEEN_URL, published_at=MADE + timedelta(seconds=130)
    )
    assert finding == Published(receipt=receipt, is_text_confirmed=True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error_code": "0"}, Unknown(reason="tieba_no_id")),
        ({"error_code": "0", "tid": TID}, Unknown(reason="tieba_no_id")),
        ({"error_code": "999999"}, Unknown(reason="tieba_999999")),
        ({"error_code": "230020", "pid": PID}, Unknown(reason="tieba_refused_with_id")),
        (
            {"error_code": "220015", "tid": TID},
            Rejected(code="tieba_220015", reason=""),
        ),
        (
            {"error_code": "220034"},
            RateLimited(code="tieba_220034", until=NOON + timedelta(minutes=10)),
        ),
        (
            {"error_code": "5", "info": {"need_vcode": "1"}},
            Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA),
        ),
        (
            {"error_code": "400013"},
            Blocked(code="tieba_400013", reason=""),
        ),
    ],
)
async def test_each_response_to_a_reply(tieba, send_request, body, expected):
    """F33, F34, F45, F49: a reply's number proves its acceptance.

    A thread's number in a refusal proves nothing.
    """
    adapter, server = tieba
    server.router.post(REPLY).respond(200, json=body)
    assert await adapter.publish(send_request) == expected
    assert [request.url.path for request in server.requests].count(
        "/c/c/post/add_pc"
    ) == 1


@pytest.mark.parametrize("code", [271, 273, 706, 230273, 230277, 230278, 230901])
async def test_a_restriction_of_the_thread_stops_no_account(tieba, send_request, code):
    """A thread that is deleted, closed or full rejects this reply.

    The account goes on elsewhere.
    """
    adapter, server = tieba
    server.router.post(REPLY).respond(
        200, json={"error_code": str(code), "error_msg": "…"}
    )
    assert await adapter.publish(send_request) == Rejected(
        code=f"tieba_{code}", reason="…"
    )


async def test_in_review_under_no_number_yet(tieba, send_request):
    """F46: a reply in review is searched by its prefix."""
    adapter, server = tieba
    server.router.post(REPLY).respond(200, json={"error_code": "230008"})
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    server.router.post(PAGE).mock(return_value=thread())
    assert isinstance(await adapter.check_ticket(outcome.ticket), NotFound)
    server.router.post(PAGE).mock(return_value=thread(said(PID, SECOND)))
    assert (await adapter.check_ticket(outcome.ticket)).receipt.remote_id == PID


async def test_only_our_own_reply_is_ours(tieba, send_request):
    """F54, F56: no quote by others and no other reply of ours counts as this reply.

    Our text without its prefix is a possible match.
    """
    adapter, server = tieba
    other = {"portrait": "tb.1.someone", "name": "路人"}
    third = format_part_prefix(send_request.rendered.marker, 3, 3) + "\r\n别的"
    people = (
        {"id": NUMBER, "portrait": f"{PORTRAIT}?t=1"},
        {"id": 78, "portrait": "tb.1.other"},
    )
    for page in (
        thread(said(PID, SECOND, author=other)),
        thread(said(PID, SECOND, author_id=78), people=people),
        thread(said(PID, third)),
        thread(said(PID, "〔K7QM-4R2T〕 谢谢")),
    ):
        server.router.post(PAGE).mock(return_value=page)
        assert await adapter.find_post(send_request) == NotFound(
            covered_since=send_request.baseline.taken_at
        )
    server.router.post(PAGE).mock(return_value=thread(said(PID, SECOND), people=people))
    assert isinstance(await adapter.find_post(send_request), Published)
    server.router.post(PAGE).mock(
        return_value=thread(said(PID, "遇到可疑电话，请拨打96110。"))
    )
    assert await adapter.find_post(send_request) == PossibleMatch(
        remote_id=PID, url=SEEN_URL
    )
    for cut in (SECOND[:12] + "…", "遇到可疑电话，请拨…", "遇到可疑电话，请拨打96"):
        server.router.post(PAGE).mock(return_value=thread(said(PID, cut)))
        assert await adapter.find_post(send_request) == PossibleMatch(
            remote_id=PID, url=SEEN_URL
        )


async def test_f52_f54_a_reply_without_a_readable_author_is_not_ours(
    tieba, send_request
):
    """F52, F54: a reply without a named author is not ours.

    The thread that shows it proves no absence.
    """
    adapter, server = tieba
    for unnamed in (
        said(PID, SECOND, author_id=78),
        said("150000000009", "别的楼层", author_id=None),
    ):
        server.router.post(PAGE).mock(return_value=thread(unnamed))
        assert await adapter.find_post(send_request) == Unknown(
            reason="tieba_no_author"
        )
    named = thread(said(PID, SECOND), said("150000000009", "别的楼层", 3, author_id=78))
    server.router.post(PAGE).mock(return_value=named)
    assert isinstance(await adapter.find_post(send_request), Published)


async def test_a_thread_of_many_pages_is_read_to_its_end(tieba, send_request):
    """F53: absence needs the last page; a thread that does not end proves nothing."""
    adapter, server = tieba
    other, later = (
        said("150000000009", "别的楼层", 3),
        said("150000000010", "别的楼层", 4),
    )
    server.router.post(PAGE).mock(
        side_effect=[thread(other, has_more=1), thread(later)]
    )
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    server.router.post(PAGE).mock(
        side_effect=[thread(other, has_more=1), thread(other)]
    )
    assert await adapter.find_post(send_request) == Unknown(
        reason="tieba_list_incomplete"
    )
    server.router.post(PAGE).mock(
        side_effect=[thread(other, has_more=1), thread(said(PID, SECOND))]
    )
    assert isinstance(await adapter.find_post(send_request), Published)
    server.router.post(PAGE).mock(
        side_effect=lambda _request: thread(other, has_more=1)
    )
    assert await adapter.find_post(send_request) == Unknown(
        reason="tieba_list_incomplete"
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (NOT_THERE, "tieba_thread_not_visible"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(502), "server_error"),
        (
            httpx.Response(
                200,
                json={
                    "error_code": 0,
                    "thread": {"id": 1},
                    "post_list": [],
                    "page": {},
                },
            ),
            "tieba_other_page",
        ),
        (
            httpx.Response(
                200,
                json={
                    "error_code": 0,
                    "thread": {"id": int(TID), "author": AUTHOR},
                    "post_list": [],
                },
            ),
            "bad_response",
        ),
    ],
)
async def test_what_cannot_be_read_is_no_absence(tieba, send_request, reply, reason):
    """F52: a thread that is not shown, or not in full, proves nothing about its replies."""
    adapter, server = tieba
    server.router.post(PAGE).mock(return_value=reply)
    assert await adapter.find_post(send_request) == Unknown(reason=reason)


async def test_a_thread_without_a_number(tieba, send_request):
    """A thread without a number, confirmed as published by a person, is read by its address.

    The number is taken from the address. Without a number in it, no call is made.
    """
    adapter, server = tieba
    by_word = replace(RECEIPT, remote_id="by-word-1", is_manually_confirmed=True)
    server.router.post(REPLY).respond(200, json=taken())
    assert isinstance(
        await adapter.publish(replace(send_request, parent=by_word)), Submitted
    )
    nowhere = replace(
        send_request, parent=replace(by_word, url="https://example.gov.cn/")
    )
    assert await adapter.publish(nowhere) == Rejected(
        code="tieba_thread_id_unknown", reason="https://example.gov.cn/"
    )
    assert await adapter.find_post(nowhere) == Unknown(reason="tieba_thread_id_unknown")
    assert {"tieba_thread_id_unknown", "tieba_thread_not_visible"} <= set(
        load_catalogue()
    )
    assert len(server.requests) == 4


async def test_check_reads_every_reply_f76(tieba, send_request):
    """F76: a problem in a reply is found before anything is sent."""
    adapter, _ = tieba
    for code, parts in {
        "tieba_text_too_long": ("雨" * 2001,),
        "tieba_angle_brackets": ("<b>",),
        "tieba_markup": (SECOND, "#(滑稽)"),
        "tieba_text_empty": (SECOND, " "),
    }.items():
        assert [
            problem.code
            for problem in TIEBA.validate(
                adapter.account, replace(send_request.rendered, extra_parts=parts)
            )
        ] == [code]
    assert [
        problem.code
        for problem in TIEBA.validate(
            adapter.account, replace(send_request.rendered, extra_parts=(SECOND,) * 5)
        )
    ] == ["tieba_text_too_long"]
    assert TIEBA.validate(adapter.account, send_request.rendered) == ()
