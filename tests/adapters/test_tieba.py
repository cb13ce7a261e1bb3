"""The Tieba adapter: its calls byte by byte, and the possible answers to its creating call."""

import json
from datetime import timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from adapters.tieba.api import APP_SALT, PC_SALT, sign
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    NotSent,
    Published,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.i18n import load_catalogue
from tests.adapters.fakes_tieba import (
    ADD,
    AUTHOR,
    DELETE,
    FORUM,
    LIST,
    NOT_THERE,
    PAGE,
    RECEIPT,
    STANDING,
    TBS,
    TEXT,
    TID,
    TITLE,
    UPLOAD,
    account,
    account_status,
    opened,
    server_for,
)


@pytest.fixture
def tieba(make_server):
    return server_for(make_server)


@pytest.fixture
def send_request(make_request):
    return make_request("tieba", text=TEXT, title=TITLE)


@pytest.mark.parametrize(
    ("fields", "salt", "expected"),
    [
        (
            {"BDUSS": "B0", "fid": "1234", "is_frs_mask": "0", "tbs": "t0", "z": "42"},
            APP_SALT,
            "2c6a0556a7bd49c11343be8575f24d44",
        ),
        (
            {
                "_client_type": "20",
                "content": "测试",
                "ext": "",
                "fid": "1234",
                "kw": "天气",
                "subapp_type": "pc",
                "tbs": "t0",
                "title": "标题",
            },
            PC_SALT,
            "2c9681f519a676194488f2020d42a328",
        ),
    ],
)
def test_signature(fields, salt, expected):
    """Both kinds of client are signed over their fields, sorted by name.

    Empty fields are included, and the signature precedes any encoding.
    """
    assert sign(fields, salt) == expected
    assert sign({**fields, "sign": "x"}, salt) == expected


async def test_thread_golden(tieba, send_request, golden):
    """A thread is opened by one signed form.

    A new token, the account's status and the forum's number are read first.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=opened())
    outcome = await adapter.publish(send_request)
    for number, name_ in enumerate(["session", "account_status", "forum", "thread"]):
        golden(f"tieba/{name_}", server.requests[number])
    assert isinstance(outcome, Submitted)
    assert outcome.check_again_at == server.now + timedelta(seconds=5)
    assert json.loads(outcome.ticket.payload)["tid"] == TID
    assert len(server.requests) == 4


async def test_thread_with_pictures_golden(
    tieba, make_request, picture, golden, answer
):
    """Pictures are uploaded first, then a new token is fetched.

    Each picture has its markup on its own line below the text.
    """
    adapter, server = tieba
    server.router.post(UPLOAD).mock(return_value=answer("tieba/upload"))
    server.router.post(ADD).respond(200, json=opened())
    outcome = await adapter.publish(
        make_request("tieba", text=TEXT, title=TITLE, pictures=(picture, picture))
    )
    golden("tieba/upload", server.requests[3])
    golden("tieba/session", server.requests[5])
    golden("tieba/thread_pictures", server.requests[6])
    assert isinstance(outcome, Submitted)
    assert server.failpoints == ["media.after_upload", "media.after_upload"]


async def test_page_golden(tieba, golden, answer):
    """The thread is read without any cookie.

    A thread that anybody sees counts as published.
    """
    adapter, server = tieba
    server.router.post(PAGE).mock(return_value=answer("tieba/page"))
    finding = await adapter.check_ticket(Ticket(payload=TID))
    golden("tieba/page", server.requests[0])
    assert "cookie" not in server.requests[0].headers
    assert finding == Published(receipt=RECEIPT)


async def test_list_golden(tieba, send_request, golden, answer):
    """A search lists the account's own threads as the account.

    A thread that is found must be visible to others.
    """
    adapter, server = tieba
    server.router.get(STANDING).mock(return_value=account_status(AUTHOR))
    server.router.get(LIST).mock(return_value=answer("tieba/list"))
    finding = await adapter.find_post(send_request)
    golden("tieba/list", server.requests[1])
    assert isinstance(finding, Submitted)
    assert json.loads(finding.ticket.payload)["tid"] == TID
    assert finding.check_again_at == server.now


async def test_delete_golden(tieba, golden):
    """A deletion is the app's signed form with the session inside.

    One public read of the thread follows it.
    """
    adapter, server = tieba
    server.router.post(DELETE).respond(200, json={"error_code": "0"})
    server.router.post(PAGE).mock(return_value=NOT_THERE)
    assert await adapter.retract(RECEIPT) == Deleted()
    golden("tieba/delete", server.requests[2])
    golden("tieba/page", server.requests[3])


async def test_a_removal_counts_when_it_was_read_f78(tieba, answer):
    """F78: the answer to a deletion is no proof: a thread that anybody sees is not deleted."""
    adapter, server = tieba
    server.router.post(DELETE).respond(200, json={"error_code": "0"})
    server.router.post(PAGE).mock(return_value=answer("tieba/page"))
    assert await adapter.retract(RECEIPT) == Unknown(
        reason="tieba_deletion_unconfirmed"
    )
    server.router.post(PAGE).mock(return_value=httpx.Response(502))
    assert await adapter.retract(RECEIPT) == Unknown(reason="server_error")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(
            httpx.Response(200, json={"error_code": "999999"}),
            "tieba_999999",
            id="F34-unlisted",
        ),
        pytest.param(
            httpx.Response(500, json={"error_code": "230020"}),
            "server_error",
            id="F28-server-error",
        ),
        pytest.param(
            httpx.Response(502, html="<html>"), "server_error", id="F29-gateway"
        ),
        pytest.param(httpx.Response(200, html="<html>"), "bad_response", id="F30-html"),
        pytest.param(
            httpx.Response(200, content=b'{"error_code":"0","tid'),
            "bad_response",
            id="F31-bad-json",
        ),
        pytest.param(
            httpx.Response(200, json={"tid": TID}), "bad_response", id="F33-no-code"
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": "0"}), "tieba_no_id", id="F33-no-id"
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": 0, "tid": "0"}),
            "tieba_no_id",
            id="F33-zero-id",
        ),
        pytest.param(
            httpx.Response(302, headers={"location": "https://passport.baidu.com/"}),
            "redirected",
            id="F35-redirect",
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": "210009"}),
            "tieba_210009",
            id="busy-on-a-write",
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": "110001"}),
            "tieba_110001",
            id="F34-unknown-error",
        ),
    ],
)
async def test_an_unclear_answer_is_unknown(tieba, send_request, reply, reason):
    """F28 to F35: an unclear answer to the creating call is Unknown, after one creating call."""
    adapter, server = tieba
    server.router.post(ADD).mock(return_value=reply)
    assert await adapter.publish(send_request) == Unknown(reason=reason)
    assert [request.url.path for request in server.requests].count(
        "/c/c/thread/add_pc"
    ) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": "0", "info": {"need_vcode": "1"}},
        {"error_code": "5", "info": {"need_vcode": "1", "vcode_md5": "ab12"}},
        {
            "no": 4011,
            "err_code": 224011,
            "data": {"tid": 0, "vcode": {"need_vcode": 1}},
        },
    ],
)
async def test_captcha_f49(tieba, send_request, body):
    """F49: a demand for a captcha is held for a person, with any number."""
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Blocked)
    assert outcome.hold_reason is HoldReason.CAPTCHA


@pytest.mark.parametrize(
    "body",
    [
        opened(info={"need_vcode": "1"}),
        {"error_code": "220034", "tid": TID},
        {"error_code": "230020", "data": {"tid": int(TID)}},
        {
            "no": 12,
            "err_code": 220012,
            "data": {"tid": int(TID), "is_thread_visible": 0},
        },
    ],
)
async def test_a_rejection_that_names_a_thread_is_unknown(tieba, send_request, body):
    """A rejection that names a thread is not believed.

    The thread may exist, and a second one would double it.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=body)
    assert await adapter.publish(send_request) == Unknown(
        reason="tieba_refused_with_id"
    )
    assert "tieba_refused_with_id" in load_catalogue()


async def test_review_under_a_number_f46(tieba, send_request):
    """F46: a thread in review keeps the number in its response from the start."""
    adapter, server = tieba
    server.router.post(ADD).respond(200, json={"error_code": "230008", "tid": TID})
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.payload)["tid"] == TID


REFERENCE = {
    "taken": (
        {
            "error_code": "0",
            "tid": TID,
            "pid": "150000000001",
            "msg": "发送成功",
            "opgroup": "0",
        },
        Submitted,
    ),
    "captcha": (
        {
            "error_code": "5",
            "error_msg": "…",
            "info": {
                "need_vcode": "1",
                "vcode_md5": "ab12",
                "vcode_type": "4",
                "vcode_pic_url": "https://…",
            },
            "anti_stat": {
                "block_stat": "0",
                "hide_stat": "0",
                "vcode_stat": "1",
                "days_tofree": "0",
            },
        },
        Blocked(code="tieba_captcha", reason="…", hold_reason=HoldReason.CAPTCHA),
    ),
    "words": (
        {
            "error_code": "220015",
            "error_msg": "…",
            "info": {
                "need_vcode": "0",
                "confilter_hitwords": ["词A", "词B"],
                "access_state": [],
            },
        },
        Rejected(code="tieba_220015", reason="…：词A、词B"),
    ),
    "banned in one forum": (
        {
            "error_code": "3250004",
            "error_msg": "…",
            "anti_stat": {
                "block_stat": "3",
                "days_tofree": "3",
                "hide_stat": "0",
                "vcode_stat": "0",
            },
        },
        Blocked(code="tieba_3250004", reason="…"),
    ),
    "banned without a word": (
        {
            "no": 12,
            "err_code": 220012,
            "error": None,
            "data": {
                "tid": 0,
                "access_state": None,
                "vcode": {"need_vcode": 0},
                "is_thread_visible": 0,
            },
        },
        Blocked(code="tieba_220012", reason=""),
    ),
    "captcha of the former site": (
        {
            "no": 4011,
            "err_code": 224011,
            "error": None,
            "data": {
                "tid": 0,
                "vcode": {
                    "need_vcode": 1,
                    "str_reason": "请点击验证码完成发贴",
                    "captcha_code_type": 4,
                },
            },
        },
        Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA),
    ),
    "no permission": (
        {"no": 308, "err_code": 230308, "error": "用户没有权限", "data": None},
        Blocked(
            code="tieba_230308",
            reason="用户没有权限",
        ),
    ),
    "busy, whose short number means something else": (
        {"no": 9, "err_code": 210009, "error": "系统繁忙", "data": {}},
        Unknown(reason="tieba_210009"),
    ),
}


@pytest.mark.parametrize("case", REFERENCE)
async def test_answers_as_clients_have_seen_them(tieba, send_request, case):
    """Each answer that other clients have recorded gets the outcome it had."""
    adapter, server = tieba
    body, expected = REFERENCE[case]
    server.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(send_request)
    assert (
        isinstance(outcome, expected)
        if isinstance(expected, type)
        else outcome == expected
    )


async def test_captcha_fields_alone_mean_nothing(tieba, send_request):
    """An ordinary rejection keeps the meaning of its number if its captcha fields demand none."""
    adapter, server = tieba
    body = {
        "error_code": "220015",
        "error_msg": "含有敏感词",
        "info": {
            "need_vcode": "0",
            "vcode_md5": "ab",
            "confilter_hitwords": ["词A", "词B"],
        },
    }
    server.router.post(ADD).respond(200, json=body)
    assert await adapter.publish(send_request) == Rejected(
        code="tieba_220015", reason="含有敏感词：词A、词B"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": 0, "data": {"tid": int(TID)}},
        {"no": 0, "err_code": 0, "data": {"tid": int(TID), "is_thread_visible": 0}},
        opened(anti_stat={"hide_stat": "0"}),
        opened(data=None, info=[]),
    ],
)
async def test_taken_in_all_its_spellings(tieba, send_request, body):
    """A number is accepted at the top or under data, visible or not.

    Only a read proves that the thread is published.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.payload)["tid"] == TID


@pytest.mark.parametrize(
    "body",
    [
        opened(anti_stat={"hide_stat": "1"}),
        {"error_code": 0, "data": {"tid": int(TID), "anti_stat": {"hide_stat": 1}}},
    ],
)
async def test_taken_and_hidden_f47(tieba, send_request, body):
    """F47: an account with threads that nobody sees is reported immediately.

    No review would end that.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=body)
    url = f"https://tieba.baidu.com/p/{TID}"
    expected = Blocked(
        code="tieba_sent_hidden", reason=url, hold_reason=HoldReason.HIDDEN
    )
    assert await adapter.publish(send_request) == expected


async def test_body_is_utf8_under_a_gbk_header(tieba, send_request):
    """An answer is read as UTF-8, regardless of its header."""
    adapter, server = tieba
    content = json.dumps(opened(), ensure_ascii=False).encode()
    server.router.post(ADD).respond(
        200, headers={"content-type": "text/html; charset=GBK"}, content=content
    )
    assert isinstance(await adapter.publish(send_request), Submitted)


@pytest.mark.parametrize(
    ("code", "wait"), [("220034", 10), ("230871", 10), ("230705", 60)]
)
async def test_too_fast_f26_f27(tieba, send_request, code, wait):
    """F26, F27: each limit has its wait.

    Too fast waits ten minutes, a read-only forum an hour, and a 429 as long as it says, or else ten
    minutes.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json={"error_code": code})
    assert (await adapter.publish(send_request)).until == server.now + timedelta(
        minutes=wait
    )
    server.router.post(ADD).respond(429)
    assert (await adapter.publish(send_request)).until == server.now + timedelta(
        minutes=10
    )
    server.router.post(ADD).respond(429, headers={"Retry-After": "3"})
    assert (await adapter.publish(send_request)).until == server.now + timedelta(
        seconds=3
    )


# --- before the creating call ---


@pytest.mark.parametrize(
    ("url", "reply", "expected"),
    [
        (
            TBS,
            httpx.Response(200, json={"tbs": "x", "is_login": 0}),
            CredentialExpired(reason="tieba_not_signed_in"),
        ),
        (TBS, httpx.Response(200, html="<html>"), NotSent(reason="bad_response")),
        (
            TBS,
            httpx.Response(200, json={"error_code": "230265"}),
            CredentialExpired(reason="tieba_230265"),
        ),
        (
            TBS,
            httpx.Response(200, json={"error_code": "999999"}),
            NotSent(reason="tieba_999999"),
        ),
        (
            TBS,
            httpx.Response(302, headers={"location": "https://passport.baidu.com/v2"}),
            CredentialExpired(reason="tieba_not_signed_in"),
        ),
        (FORUM, httpx.Response(502), NotSent(reason="server_error")),
        (
            FORUM,
            httpx.Response(200, json={"no": 0, "data": []}),
            NotSent(reason="bad_response"),
        ),
        (
            FORUM,
            httpx.Response(200, json={"no": 0, "data": {"fid": 0}}),
            Blocked(code="tieba_no_forum", reason="天气"),
        ),
    ],
)
async def test_nothing_is_created_when_preparing_fails(
    tieba, send_request, url, reply, expected
):
    """Without session or forum there is no creating call, and so no unknown outcome."""
    adapter, server = tieba
    server.router.get(url).mock(return_value=reply)
    assert await adapter.publish(send_request) == expected
    assert all(request.method == "GET" for request in server.requests)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "connect_failed"),
        (httpx.ConnectTimeout("late"), "connect_timeout"),
        (httpx.ReadTimeout("late"), "timeout"),
        (httpx.ReadError("gone"), "reset"),
    ],
)
async def test_why_the_first_step_failed_is_reported_f18_f19_f20(
    tieba, send_request, error, reason
):
    """F18, F19, F20: a failed first step is reported with the transport's own reason.

    It found no connection, or got no reply.
    """
    adapter, server = tieba
    server.router.get(TBS).mock(side_effect=error)
    assert await adapter.publish(send_request) == NotSent(reason=reason)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            {"error_code": "2230204", "error_msg": "上传失败"},
            Busy(code="tieba_2230204", reason="上传失败"),
        ),
        (
            {"error_code": "2230201", "error_msg": "格式"},
            Rejected(code="tieba_2230201", reason="格式"),
        ),
        ({"error_code": "0"}, NotSent(reason="bad_response")),
    ],
)
async def test_upload_that_fails_creates_nothing_f75(
    tieba, make_request, picture, reply, expected
):
    """F75: without all its pictures uploaded no thread is opened."""
    adapter, server = tieba
    server.router.post(UPLOAD).respond(200, json=reply)
    assert (
        await adapter.publish(
            make_request("tieba", text=TEXT, title=TITLE, pictures=(picture,))
        )
        == expected
    )
    assert len(server.requests) == 4


async def test_a_captcha_wanted_for_a_picture_f49(tieba, make_request, picture):
    """F49: a captcha demanded for an upload is held for a person too, with any number."""
    adapter, server = tieba
    server.router.post(UPLOAD).respond(
        200, json={"error_code": "999999", "info": {"need_vcode": "1"}}
    )
    outcome = await adapter.publish(
        make_request("tieba", text=TEXT, title=TITLE, pictures=(picture,))
    )
    assert outcome == Blocked(
        code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA
    )


async def test_a_session_that_ends_while_pictures_are_uploaded(
    tieba, make_request, picture, answer
):
    """A session that has ended after the uploads keeps the thread from being opened."""
    adapter, server = tieba
    live, over = {"tbs": "x", "is_login": 1}, {"tbs": "x", "is_login": 0}
    server.router.get(TBS).mock(
        side_effect=[httpx.Response(200, json=live), httpx.Response(200, json=over)]
    )
    server.router.post(UPLOAD).mock(return_value=answer("tieba/upload"))
    outcome = await adapter.publish(
        make_request("tieba", text=TEXT, title=TITLE, pictures=(picture,))
    )
    assert outcome == CredentialExpired(reason="tieba_not_signed_in")
    assert ADD not in [str(request.url) for request in server.requests]


async def test_risk_not_accepted_and_no_session(make_server, send_request):
    """Without an accepted risk, or without a session, no call is made."""
    server = make_server({})
    outcome = await TIEBA.create(
        account(has_accepted_risk=False), server.context()
    ).publish(send_request)
    assert isinstance(outcome, Blocked)
    assert await TIEBA.create(account(), server.context()).publish(
        send_request
    ) == CredentialExpired(reason="tieba_no_session")
    assert server.requests == []


async def test_not_sent_passes_through_f19(tieba, send_request):
    """F19: proof that the creating call was not sent reaches the core unchanged.

    A timeout is Unknown.
    """
    adapter, server = tieba
    server.router.post(ADD).mock(
        side_effect=[httpx.ConnectError("x"), httpx.ReadTimeout("x")]
    )
    assert await adapter.publish(send_request) == NotSent(reason="connect_failed")
    assert await adapter.publish(send_request) == Unknown(reason="timeout")


async def test_nothing_of_a_device_is_invented(tieba, send_request):
    """No device id, behaviour token or client id is sent.

    The one field that asks for one is empty.
    """
    adapter, server = tieba
    server.router.post(ADD).respond(200, json=opened())
    await adapter.publish(send_request)
    form = dict(httpx.QueryParams(server.requests[-1].content.decode()))
    assert form["jt"] == ""
    assert not {"cuid", "_client_id", "z_id", "_phone_imei", "android_id"} & set(form)
    assert "acs-token" not in server.requests[-1].headers
