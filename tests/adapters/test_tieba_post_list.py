"""How the Tieba adapter finds, monitors and deletes its threads."""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from publisher.domain.post_list import MAX_LIST_ENTRIES
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    Healthy,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from tests.adapters.fakes_tieba import (
    ADD,
    AUTHOR,
    DELETE,
    FID,
    FORUM,
    LIST,
    MADE,
    NOT_THERE,
    NUMBER,
    OLD,
    PAGE,
    PORTRAIT,
    RECEIPT,
    STANDING,
    TBS,
    TEXT,
    TID,
    TITLE,
    WEB,
    account,
    account_status,
    entry,
    opened,
    page,
    server_for,
    threads,
)


@pytest.fixture
def tieba(make_server):
    return server_for(make_server)


@pytest.fixture
def send_request(make_request):
    return make_request("tieba", text=TEXT, title=TITLE)


async def ticket_of(adapter, server, send_request, body) -> Ticket:
    server.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    return outcome.ticket


async def test_taken_but_seen_by_nobody_f39_f46(tieba, send_request):
    """F39, F46: an accepted thread is missing while nobody sees it.

    It is published once anybody does.
    """
    adapter, server = tieba
    ticket = await ticket_of(adapter, server, send_request, opened())
    server.router.post(PAGE).mock(side_effect=[NOT_THERE, page()])
    assert await adapter.check_ticket(ticket) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    assert await adapter.check_ticket(ticket) == Published(
        receipt=RECEIPT, is_text_confirmed=True
    )
    assert server.failpoints == []


async def test_review_without_a_number_f47(tieba, send_request):
    """F47: a thread in review without a number is found by its marker.

    It keeps its number, and is published when seen.
    """
    adapter, server = tieba
    ticket = await ticket_of(
        adapter, server, send_request, {"error_code": "230008", "error_msg": "审核"}
    )
    server.router.get(LIST).mock(
        side_effect=[threads(OLD), threads(entry(TID, TITLE, TEXT), OLD)]
    )
    assert await adapter.check_ticket(ticket) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    server.router.post(PAGE).mock(side_effect=[NOT_THERE, page()])
    numbered = await adapter.check_ticket(ticket)
    assert isinstance(numbered, Submitted)
    assert isinstance(await adapter.check_ticket(numbered.ticket), Published)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (NOT_THERE, Deleted()),
        (page(is_deleted=1), Deleted()),
        (page(tid="10990000099"), Unknown(reason="tieba_other_page")),
        (
            page(author={"portrait": "tb.1.other"}),
            Unknown(reason="tieba_wrong_account"),
        ),
        (httpx.Response(200, html="<html>"), Unknown(reason="bad_response")),
        (
            httpx.Response(200, json={"error_code": "110001"}),
            Unknown(reason="tieba_110001"),
        ),
        (
            httpx.Response(200, json={"error_code": 0}),
            Unknown(reason="tieba_other_page"),
        ),
        (httpx.Response(503), Unknown(reason="server_error")),
    ],
)
async def test_published_thread_is_monitored_f48(tieba, reply, expected):
    """F48: only the platform's own answer makes a published thread deleted.

    A page of another thread proves nothing.
    """
    adapter, server = tieba
    server.router.post(PAGE).mock(return_value=reply)
    assert await adapter.check_ticket(Ticket(payload=TID)) == expected


async def test_page_without_numbers_is_known_by_its_marker(tieba, send_request):
    """A page that names no number counts when it carries our marker."""
    adapter, server = tieba
    ticket = await ticket_of(adapter, server, send_request, opened())
    first_post = {
        "time": int(MADE.timestamp()),
        "content": [{"type": 0, "text": TEXT}],
        "author": AUTHOR,
    }
    server.router.post(PAGE).respond(
        200, json={"error_code": 0, "first_floor": first_post}
    )
    assert await adapter.check_ticket(ticket) == Published(
        receipt=RECEIPT, is_text_confirmed=True
    )


async def test_a_thread_without_our_text_is_published_but_not_verified_f54(
    tieba, send_request
):
    """F54: a thread under our number with a changed text is published.

    Its text does not count as verified.
    """
    adapter, server = tieba
    ticket = await ticket_of(adapter, server, send_request, opened())
    changed = page(title="内容已被调整").json() | {
        "first_floor": {"content": [{"type": 0, "text": "……"}]}
    }
    server.router.post(PAGE).respond(200, json=changed)
    assert await adapter.check_ticket(ticket) == Published(
        receipt=RECEIPT, is_text_confirmed=False
    )


# --- reading ---


async def test_lost_reply_is_found_f24(tieba, send_request):
    """F24: the thread of a lost reply is found by its marker, only in its intended forum."""
    adapter, server = tieba
    ours = entry(TID, TITLE, "[ k7qm4r2t ] 不转账")
    elsewhere = entry("10990000002", TITLE, TEXT, fid=99)
    server.router.get(LIST).mock(return_value=threads(elsewhere, ours, OLD))
    finding = await adapter.find_post(send_request)
    assert isinstance(finding, Submitted)
    assert json.loads(finding.ticket.payload)["tid"] == TID


async def test_pages_are_read_back_past_the_baseline_f53(tieba, send_request):
    """F53: a search reads page after page until a thread older than the baseline.

    It reads no further.
    """
    adapter, server = tieba
    first = threads(*(entry(str(10990000100 - n)) for n in range(20)), has_more=1)
    server.router.get(LIST).mock(
        side_effect=[first, threads(entry("10990000050"), OLD, has_more=1)]
    )
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    assert [request.url.params["pn"] for request in server.requests[1:]] == ["1", "2"]


@pytest.mark.parametrize(
    "replies",
    [
        pytest.param([threads()], id="empty"),
        pytest.param(
            [threads(entry("10990000003"), has_more=1), threads(has_more=1)], id="cut"
        ),
        pytest.param(
            [threads(OLD, entry("10990000003"), has_more=1), threads(has_more=0)],
            id="reversed-then-empty",
        ),
    ],
)
async def test_lists_that_prove_nothing_f51(tieba, send_request, replies):
    """F51: an empty, cut or reversed list is no absence."""
    adapter, server = tieba
    server.router.get(LIST).mock(side_effect=replies)
    finding = await adapter.find_post(send_request)
    assert finding == Unknown(reason="tieba_list_incomplete")


async def test_endless_list_is_given_up(tieba, send_request):
    """An endless list is read for ten pages and proves nothing."""
    adapter, server = tieba
    server.router.get(LIST).mock(return_value=threads(entry("10990000003"), has_more=1))
    assert await adapter.find_post(send_request) == Unknown(
        reason="tieba_list_incomplete"
    )
    assert len(server.requests) == 11


async def test_same_text_without_marker_f54_f56(tieba, send_request):
    """F54, F56: the same title without our marker is a possible match for a person to judge."""
    adapter, server = tieba
    server.router.get(LIST).mock(
        return_value=threads(entry(TID, TITLE, "别的内容"), OLD)
    )
    assert await adapter.find_post(send_request) == PossibleMatch(
        remote_id=TID, url=f"{WEB}/p/{TID}"
    )


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("警惕“退款…", ""),
        ("警惕“退款…", "不转…"),
        ("警惕“退款客服”诈骗", "不转"),
        ("", "不转账、不透露验…"),
    ],
)
async def test_a_shortened_thread_goes_to_a_person_f54(
    tieba, send_request, title, text
):
    """F54: a list that cuts title or abstract, the marker with it, shows no absence."""
    adapter, server = tieba
    server.router.get(LIST).mock(return_value=threads(entry(TID, title, text), OLD))
    assert await adapter.find_post(send_request) == PossibleMatch(
        remote_id=TID, url=f"{WEB}/p/{TID}"
    )


@pytest.mark.parametrize(
    ("title", "text"),
    [("警惕“退款…", "别的内容"), (f"{TITLE}第二期", ""), ("警惕", "")],
)
async def test_a_common_beginning_is_no_match_f55(tieba, send_request, title, text):
    """F55: a thread with a title that only begins like ours is no match.

    Its title goes on differently, or says too little.
    """
    adapter, server = tieba
    server.router.get(LIST).mock(return_value=threads(entry(TID, title, text), OLD))
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


async def test_a_list_that_shows_threads_twice_f53(tieba, send_request):
    """F53: our thread shown twice is found once.

    Pages that repeat each other never end, and prove nothing.
    """
    adapter, server = tieba
    ours, other = entry(TID, TITLE, TEXT), entry("10990000003")
    server.router.get(LIST).mock(side_effect=[threads(ours, ours, OLD)])
    finding = await adapter.find_post(send_request)
    assert isinstance(finding, Submitted)
    for replies in (
        [threads(other, other, OLD)],
        [threads(other, has_more=1), threads(other, OLD)],
    ):
        server.router.get(LIST).mock(side_effect=replies)
        assert await adapter.find_post(send_request) == Unknown(
            reason="tieba_list_incomplete"
        )


async def test_a_post_of_another_delivery_is_not_ours_f55(tieba, send_request):
    """F55: the same text of an earlier time, or of another delivery, is no match."""
    adapter, server = tieba
    early = entry("10980000001", TITLE, "不转账", at=MADE - timedelta(hours=3))
    server.router.get(LIST).mock(return_value=threads(entry(TID, TITLE, TEXT), early))
    owned = replace(send_request, owned_ids=frozenset({TID}))
    assert await adapter.find_post(owned) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (httpx.Response(200, json={"error_code": "230265"}), "tieba_230265"),
        (
            httpx.Response(302, headers={"location": "https://passport.baidu.com/"}),
            "tieba_not_signed_in",
        ),
        (httpx.Response(200, json={"error_code": 0, "data": None}), "bad_response"),
        (
            httpx.Response(200, json={"error_code": 0, "data": {"list": [{}]}}),
            "bad_response",
        ),
        (
            httpx.Response(
                200, json={"error_code": 0, "data": {"list": [{"thread_info": {}}]}}
            ),
            "tieba_no_id",
        ),
        (
            threads(entry(TID, TITLE, TEXT, author={"portrait": "tb.1.other"})),
            "tieba_wrong_account",
        ),
        (httpx.Response(502), "server_error"),
    ],
)
async def test_list_that_cannot_be_read_f52(tieba, send_request, reply, reason):
    """F52: an unreadable list, or another account's, is never absence."""
    adapter, server = tieba
    server.router.get(LIST).mock(return_value=reply)
    assert await adapter.find_post(send_request) == Unknown(reason=reason)


OTHER = {"id": 78, "name": "路人", "portrait": "tb.1.other"}


def _unnamed(*entries: dict, users: tuple = ()) -> httpx.Response:
    """Return a list as the site serves it.

    It has posts with the number of their author, and perhaps the users beside them.
    """
    for each in entries:
        each["thread_info"].pop("author", None)
    body = threads(*entries).json()
    return httpx.Response(
        200,
        json={
            **body,
            "data": {**body["data"], **({"user_list": users} if users else {})},
        },
    )


@pytest.mark.parametrize("users", [(AUTHOR,), ()])
async def test_f54_a_listed_thread_is_ours_by_the_number_of_its_author(
    tieba, send_request, users
):
    """F54: a listed thread is ours by the number of its author.

    The users beside it, or our session, identify the owner of that number.
    """
    adapter, server = tieba
    server.router.get(STANDING).mock(return_value=account_status(AUTHOR))
    server.router.get(LIST).mock(
        return_value=_unnamed(entry(TID, TITLE, TEXT), OLD, users=users)
    )
    assert isinstance(await adapter.find_post(send_request), Submitted)
    await adapter.find_post(send_request)
    asked = [
        request for request in server.requests if str(request.url).startswith(STANDING)
    ]
    assert len(asked) == (0 if users else 1)


@pytest.mark.parametrize(
    ("user", "users", "said"),
    [
        ({}, (), (NUMBER, "tieba_no_author")),
        (OTHER, (), (NUMBER, "tieba_no_author")),
        ({"id": NUMBER}, (), (NUMBER, "tieba_no_author")),
        (AUTHOR, (), (None, "tieba_no_author")),
        (AUTHOR, (AUTHOR,), (78, "tieba_no_author")),
        (AUTHOR, (AUTHOR, OTHER), (78, "tieba_wrong_account")),
    ],
)
async def test_f52_f54_a_thread_without_a_readable_author_is_not_ours(
    tieba, send_request, user, users, said
):
    """F52, F54: a thread without a named author is not our post.

    Its list proves no absence.
    """
    (adapter, server), (author_id, reason) = tieba, said
    server.router.get(STANDING).mock(return_value=account_status(user))
    for listed in (
        entry(TID, TITLE, TEXT, author_id=author_id),
        entry("10989999999", author_id=author_id),
    ):
        server.router.get(LIST).mock(return_value=_unnamed(listed, users=users))
        assert await adapter.find_post(send_request) == Unknown(reason=reason)
        assert await adapter.list_recent() == Unknown(reason=reason)


@pytest.mark.parametrize("is_there", [True, False])
async def test_f54_one_entry_without_an_author_hides_no_thread_of_ours(
    tieba, send_request, is_there
):
    """F52, F54: an entry without an author does not hide our thread beside it.

    Without ours, the entry may be it, so nothing is proven.
    """
    adapter, server = tieba
    stray = entry("10990000002", author={}, author_id=None)
    server.router.get(LIST).mock(
        return_value=threads(
            stray, *([entry(TID, TITLE, TEXT)] if is_there else []), OLD
        )
    )
    found = await adapter.find_post(send_request)
    assert (
        isinstance(found, Submitted)
        if is_there
        else found == Unknown(reason="tieba_no_author")
    )
    assert await adapter.list_recent() == Unknown(reason="tieba_no_author")


async def test_f26_a_limit_on_the_search_for_our_number_is_reported(
    tieba, send_request
):
    """F26: a 429 to the call for the account's number is the result of the whole read."""
    adapter, server = tieba
    server.router.get(STANDING).respond(429, headers={"retry-after": "90"})
    server.router.get(LIST).mock(return_value=_unnamed(OLD))
    limit = RateLimited(code="tieba_429", until=server.now + timedelta(seconds=90))
    assert await adapter.find_post(send_request) == limit


@pytest.mark.parametrize(
    ("author", "users", "expected"),
    [
        ({}, (), Unknown(reason="tieba_no_author")),
        ({"author_id": NUMBER}, (), Unknown(reason="tieba_no_author")),
        ({"author_id": NUMBER}, (OTHER,), Unknown(reason="tieba_no_author")),
        ({"author_id": 78}, (AUTHOR, OTHER), Unknown(reason="tieba_wrong_account")),
        ({"author_id": NUMBER}, (AUTHOR,), Published(receipt=RECEIPT)),
        ({"author": {"portrait": PORTRAIT}}, (), Published(receipt=RECEIPT)),
    ],
)
async def test_f54_a_page_is_ours_where_it_names_us_as_the_author(
    tieba, author, users, expected
):
    """F54: a thread is ours by its author, inline or in the list of users.

    A page that names nobody proves nothing.
    """
    adapter, server = tieba
    shown = page().json()
    del shown["thread"]["author"]
    shown["first_floor"] |= author
    server.router.post(PAGE).respond(200, json={**shown, "user_list": users})
    assert await adapter.check_ticket(Ticket(payload=TID)) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            {"error_code": "230308", "error_msg": "x"},
            Rejected(code="tieba_230308", reason="x"),
        ),
        ({"error_code": "220034"}, Unknown(reason="tieba_220034")),
        (
            {"error_code": "5", "info": {"need_vcode": "1"}},
            Rejected(code="tieba_captcha", reason=""),
        ),
        ({}, Unknown(reason="bad_response")),
        ([], Unknown(reason="bad_response")),
    ],
)
async def test_retract_f78(tieba, reply, expected):
    """F78: a response that deletes nothing leaves the thread as it was, and is reported as such."""
    adapter, server = tieba
    server.router.post(DELETE).respond(200, json=reply)
    assert await adapter.retract(RECEIPT) == expected


@pytest.mark.parametrize("code", ["230273", 273])
@pytest.mark.parametrize("is_live", [True, False])
async def test_a_removal_that_finds_no_thread_counts_when_it_was_read_f48_f78(
    tieba, code, is_live
):
    """F48, F78: "no such thread" alone ends no retraction.

    It counts when the page read afterwards confirms it.
    """
    adapter, server = tieba
    server.router.post(DELETE).respond(200, json={"error_code": code})
    server.router.post(PAGE).mock(return_value=page() if is_live else NOT_THERE)
    assert await adapter.retract(RECEIPT) == (
        Unknown(reason="tieba_deletion_unconfirmed") if is_live else Deleted()
    )


async def test_probe_f43(tieba):
    """F43: the health check distinguishes three cases.

    They are a valid session, an expired one, and a forum that does not exist.
    """
    adapter, server = tieba
    server.router.get(STANDING).mock(return_value=account_status(AUTHOR))
    assert await adapter.check_health() == Healthy(identity=PORTRAIT)
    server.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": 0}})
    assert isinstance(await adapter.check_health(), Blocked)
    server.router.get(TBS).respond(200, json={"tbs": "x", "is_login": 0})
    assert isinstance(await adapter.check_health(), CredentialExpired)


@pytest.mark.parametrize("spot", [TBS, STANDING, FORUM, LIST])
async def test_a_limit_before_the_thread_delays_it_f26(tieba, send_request, spot):
    """F26: a 429 before the creating call is its outcome, with its end; no call follows it."""
    adapter, server = tieba
    server.router.get(spot).respond(429, headers={"retry-after": "90"})
    limit = RateLimited(code="tieba_429", until=server.now + timedelta(seconds=90))
    answer = await (
        adapter.find_post(send_request)
        if spot == LIST
        else adapter.publish(send_request)
    )
    assert answer == limit
    assert str(server.requests[-1].url).startswith(spot)


async def test_a_limit_on_a_removal_is_reported_f26(tieba):
    """F26: a deletion that is answered with 429 is repeated at its end."""
    adapter, server = tieba
    server.router.post(DELETE).respond(429, headers={"retry-after": "90"})
    assert await adapter.retract(RECEIPT) == RateLimited(
        code="tieba_429", until=server.now + timedelta(seconds=90)
    )


async def test_user_name_as_identity(make_server, send_request):
    """An identity that is a user name is requested, and recognised, as such."""
    server = make_server({"BDUSS": "B" * 192})
    server.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": FID}})
    server.router.get(LIST).mock(
        return_value=threads(entry(TID, TITLE, TEXT, author={"name": "平安发布"}))
    )
    finding = await TIEBA.create(
        account(identity="平安发布"), server.context()
    ).find_post(send_request)
    assert isinstance(finding, Submitted)
    assert server.requests[1].url.params["un"] == "平安发布"


async def test_a_list_longer_than_any_proves_nothing_f36(tieba, send_request):
    """F36: a page of more threads than any page has is no list."""
    adapter, server = tieba
    entries = [
        entry(str(10990000003 + number)) for number in range(MAX_LIST_ENTRIES + 1)
    ]
    server.router.get(LIST).mock(return_value=threads(*entries, has_more=0))
    assert await adapter.find_post(send_request) == Unknown(reason="bad_response")
