"""The Tieba adapter: its calls byte by byte, every number of its table, and what counts as published."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.tieba import TIEBA
from adapters.tieba.codes import CODES, Kind, name
from adapters.tieba.signing import APP_SALT, PC_SALT, sign
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.outcome import (
    Blocked,
    Busy,
    CredentialExpired,
    Gone,
    HoldReason,
    Lookalike,
    Missing,
    NotSent,
    Published,
    RateLimited,
    Ready,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.messages import catalogue

PORTRAIT = "tb.1.abcdef.example"
TITLE = "警惕“退款客服”诈骗"
TEXT = "〔K7QM-4R2T〕\r\n不转账、不透露验证码。"
TID = "10990000001"
FID = 1234
WEB = "https://tieba.baidu.com"
TBS = f"{WEB}/dc/common/tbs"
FORUM = f"{WEB}/f/commit/share/fnameShareApi"
ADD = f"{WEB}/c/c/thread/add_pc"
UPLOAD = f"{WEB}/c/s/uploadPicture_pc"
LIST = f"{WEB}/c/u/feed/myThread"
PAGE = f"{WEB}/c/f/pb/page_pc"
DELETE = "https://tiebac.baidu.com/c/c/bawu/delthread"
MADE = datetime(2026, 11, 24, 4, 0, 31, tzinfo=UTC)
RECEIPT = Receipt(remote_id=TID, url=f"{WEB}/p/{TID}", live_at=MADE)


def account(**changes) -> Account:
    return replace(
        Account(
            id=AccountId("beijing-tieba"),
            platform=Platform("tieba"),
            identity=PORTRAIT,
            secret="tieba-beijing",
            forum="天气",
            has_accepted_risk=True,
        ),
        **changes,
    )


@pytest.fixture
def tieba(bench):
    desk = bench({"BDUSS": "B" * 192, "STOKEN": "S" * 64})
    desk.router.get(TBS).respond(200, json={"tbs": "17634e03cbe25e6e1674526199", "is_login": 1})
    desk.router.get(FORUM).respond(200, json={"no": 0, "error": "success", "data": {"fid": FID}})
    return TIEBA.create(account(), desk.kit()), desk


@pytest.fixture
def parcel(parcel_of):
    return parcel_of("tieba", text=TEXT, title=TITLE)


def opened(**more) -> dict:
    return {"error_code": "0", "tid": TID, "pid": "150000000001", "msg": "发送成功", "opgroup": "0", **more}


def entry(tid: str, title: str = "别的", text: str = "", at: datetime = MADE, fid: int = FID, **more) -> dict:
    info = {
        "id": int(tid),
        "tid": int(tid),
        "title": title,
        "create_time": int(at.timestamp()),
        "fid": fid,
        "abstract": [{"type": 0, "text": text}],
        "author_id": 77,
        **more,
    }
    return {"type": 1, "private": 0, "thread_info": info}


def threads(*entries: dict, has_more: int = 0) -> httpx.Response:
    return httpx.Response(200, json={"error_code": 0, "data": {"has_more": has_more, "list": list(entries)}})


def page(tid: str = TID, **thread) -> httpx.Response:
    body = {
        "error_code": 0,
        "thread": {"id": int(tid), "title": TITLE, "create_time": int(MADE.timestamp()), **thread},
        "first_floor": {"id": 150000000001, "content": [{"type": 0, "text": TEXT}]},
        "post_list": [],
    }
    return httpx.Response(200, json=body)


OLD = entry("10980000001", "旧闻", at=MADE - timedelta(hours=3))
NOT_THERE = httpx.Response(200, json={"error_code": "230273", "error_msg": "贴子已被删除"})


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
    """Both dialects are signed over their fields in order of name, empty ones included, before any encoding."""
    assert sign(fields, salt) == expected
    assert sign({**fields, "sign": "x"}, salt) == expected


async def test_thread_golden(tieba, parcel, golden):
    """A thread is opened by one signed form, after a fresh token and the forum's number."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json=opened())
    outcome = await adapter.publish(parcel)
    for number, name_ in enumerate(["session", "forum", "thread"]):
        golden(f"tieba/{name_}", desk.requests[number])
    assert isinstance(outcome, Submitted)
    assert outcome.look_again_at == desk.now + timedelta(seconds=5)
    assert json.loads(outcome.ticket.number)["tid"] == TID
    assert len(desk.requests) == 3


async def test_thread_with_pictures_golden(tieba, parcel_of, picture, golden, answer):
    """Pictures are uploaded first; each leaves a mark on a line of its own below the text."""
    adapter, desk = tieba
    desk.router.post(UPLOAD).mock(return_value=answer("tieba/upload"))
    desk.router.post(ADD).respond(200, json=opened())
    outcome = await adapter.publish(parcel_of("tieba", text=TEXT, title=TITLE, pictures=(picture, picture)))
    golden("tieba/upload", desk.requests[2])
    golden("tieba/thread_pictures", desk.requests[4])
    assert isinstance(outcome, Submitted)
    assert desk.failpoints == ["media.after_upload", "media.after_upload"]


async def test_page_golden(tieba, golden, answer):
    """Publication is read without any cookie, and what anybody sees counts as published."""
    adapter, desk = tieba
    desk.router.post(PAGE).mock(return_value=answer("tieba/page"))
    finding = await adapter.follow_up(Ticket(number=TID))
    golden("tieba/page", desk.requests[0])
    assert "cookie" not in desk.requests[0].headers
    assert finding == Published(receipt=RECEIPT)


async def test_list_golden(tieba, parcel, golden, answer):
    """A look lists the account's own threads as the account; what it finds still has to be seen by others."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(return_value=answer("tieba/list"))
    finding = await adapter.find(parcel)
    golden("tieba/list", desk.requests[1])
    assert isinstance(finding, Submitted)
    assert json.loads(finding.ticket.number)["tid"] == TID
    assert finding.look_again_at == desk.now


async def test_delete_golden(tieba, golden):
    """Taking down is the app's signed form with the session inside."""
    adapter, desk = tieba
    desk.router.post(DELETE).respond(200, json={"error_code": "0"})
    assert await adapter.retract(RECEIPT) == Gone()
    golden("tieba/delete", desk.requests[2])


EXPECTED = {
    Kind.REFUSED: Rejected,
    Kind.SLOW: RateLimited,
    Kind.CLOSED: RateLimited,
    Kind.BUSY: Busy,
    Kind.SIGN_IN: CredentialExpired,
    Kind.ACCOUNT: Blocked,
    Kind.PERMISSION: Blocked,
    Kind.CAPTCHA: Blocked,
    Kind.IN_REVIEW: Submitted,
    Kind.DOUBT: Unknown,
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("spell", [lambda code: {"error_code": code}, lambda code: {"error_code": str(code)}])
async def test_each_number_of_the_table_f34(tieba, parcel, code, spell):
    """F34: a listed number, as number or text, gives the outcome of its line, and has words in both languages."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json={**spell(code), "error_msg": "words", "info": []})
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, EXPECTED[CODES[code].kind])
    if isinstance(outcome, Blocked):
        assert outcome.hold.value == CODES[code].kind.value
    assert set(catalogue()[name(code)]) >= {"zh_CN", "en"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(httpx.Response(200, json={"error_code": "999999"}), "tieba_999999", id="F34-unlisted"),
        pytest.param(httpx.Response(500, json={"error_code": "230020"}), "server_error", id="F28-server-error"),
        pytest.param(httpx.Response(502, html="<html>"), "server_error", id="F29-gateway"),
        pytest.param(httpx.Response(200, html="<html>"), "bad_reply", id="F30-html"),
        pytest.param(httpx.Response(200, content=b'{"error_code":"0","tid'), "bad_reply", id="F31-bad-json"),
        pytest.param(httpx.Response(200, json={"tid": TID}), "bad_reply", id="F33-no-code"),
        pytest.param(httpx.Response(200, json={"error_code": "0"}), "tieba_no_id", id="F33-no-id"),
        pytest.param(httpx.Response(200, json={"error_code": 0, "tid": "0"}), "tieba_no_id", id="F33-zero-id"),
        pytest.param(
            httpx.Response(302, headers={"location": "https://passport.baidu.com/"}), "redirected", id="F35-redirect"
        ),
        pytest.param(httpx.Response(200, json={"error_code": "210009"}), "tieba_210009", id="busy-on-a-write"),
        pytest.param(httpx.Response(200, json={"error_code": "110001"}), "tieba_110001", id="F34-unknown-error"),
    ],
)
async def test_anything_but_a_clear_answer_is_a_doubt(tieba, parcel, reply, reason):
    """F28 to F35: an unclear answer to the creating call is Unknown, after one creating call and no more."""
    adapter, desk = tieba
    desk.router.post(ADD).mock(return_value=reply)
    assert await adapter.publish(parcel) == Unknown(reason=reason)
    assert [request.url.path for request in desk.requests].count("/c/c/thread/add_pc") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": "0", "tid": TID, "info": {"need_vcode": "1"}},
        {"error_code": "5", "info": {"need_vcode": "1", "vcode_md5": "ab12"}},
        {"no": 4011, "err_code": 224011, "data": {"tid": 0, "vcode": {"need_vcode": 1}}},
    ],
)
async def test_captcha_f49(tieba, parcel, body):
    """F49: a wanted captcha, whatever number comes with it, is held for a person."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Blocked)
    assert outcome.hold is HoldReason.CAPTCHA


async def test_captcha_fields_alone_mean_nothing(tieba, parcel):
    """An ordinary refusal that carries captcha fields without wanting one stays what its number says."""
    adapter, desk = tieba
    body = {
        "error_code": "220015",
        "error_msg": "含有敏感词",
        "info": {"need_vcode": "0", "vcode_md5": "ab", "confilter_hitwords": ["词A", "词B"]},
    }
    desk.router.post(ADD).respond(200, json=body)
    assert await adapter.publish(parcel) == Rejected(code="tieba_220015", reason="含有敏感词：词A、词B")


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": 0, "data": {"tid": int(TID)}},
        {"no": 0, "err_code": 0, "data": {"tid": int(TID), "is_thread_visible": 0}},
        opened(anti_stat={"hide_stat": "1"}),
        opened(data=None, info=[]),
    ],
)
async def test_taken_in_all_its_spellings(tieba, parcel, body):
    """Taken is taken, at the top or under data, visible or not; only a read tells whether it is published."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.number)["tid"] == TID


async def test_body_is_utf8_under_a_gbk_header(tieba, parcel):
    """An answer is read as UTF-8 whatever its header claims."""
    adapter, desk = tieba
    content = json.dumps(opened(), ensure_ascii=False).encode()
    desk.router.post(ADD).respond(200, headers={"content-type": "text/html; charset=GBK"}, content=content)
    assert isinstance(await adapter.publish(parcel), Submitted)


@pytest.mark.parametrize(("code", "wait"), [("220034", 10), ("230871", 10), ("230705", 60)])
async def test_too_fast_f26_f27(tieba, parcel, code, wait):
    """F26, F27: too fast rests ten minutes, a read-only forum an hour; a bare 429 rests as well."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json={"error_code": code})
    assert (await adapter.publish(parcel)).until == desk.now + timedelta(minutes=wait)
    desk.router.post(ADD).respond(429)
    assert isinstance(await adapter.publish(parcel), RateLimited)


# --- before the creating call ---


@pytest.mark.parametrize(
    ("url", "reply", "expected"),
    [
        (TBS, httpx.Response(200, json={"tbs": "x", "is_login": 0}), CredentialExpired(reason="tieba_not_signed_in")),
        (TBS, httpx.Response(200, html="<html>"), NotSent(reason="tieba_not_prepared")),
        (TBS, httpx.Response(200, json={"error_code": "230265"}), CredentialExpired(reason="tieba_230265")),
        (TBS, httpx.Response(200, json={"error_code": "999999"}), NotSent(reason="tieba_not_prepared")),
        (
            TBS,
            httpx.Response(302, headers={"location": "https://passport.baidu.com/v2"}),
            CredentialExpired(reason="tieba_not_signed_in"),
        ),
        (FORUM, httpx.Response(502), NotSent(reason="tieba_not_prepared")),
        (FORUM, httpx.Response(200, json={"no": 0, "data": []}), NotSent(reason="tieba_not_prepared")),
        (
            FORUM,
            httpx.Response(200, json={"no": 0, "data": {"fid": 0}}),
            Blocked(code="tieba_no_forum", reason="天气", hold=HoldReason.PERMISSION),
        ),
    ],
)
async def test_nothing_is_created_when_preparing_fails(tieba, parcel, url, reply, expected):
    """Without session or forum there is no creating call, and so no doubt."""
    adapter, desk = tieba
    desk.router.get(url).mock(return_value=reply)
    assert await adapter.publish(parcel) == expected
    assert all(request.method == "GET" for request in desk.requests)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "connect_failed"),
        (httpx.ConnectTimeout("late"), "connect_timeout"),
        (httpx.ReadTimeout("late"), "tieba_not_prepared"),
    ],
)
async def test_why_there_was_no_connection_is_told_f18_f19_f20(tieba, parcel, error, reason):
    """F18, F19, F20: where even the first step found no connection, the reason is the transport's own."""
    adapter, desk = tieba
    desk.router.get(TBS).mock(side_effect=error)
    assert await adapter.publish(parcel) == NotSent(reason=reason)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"error_code": "2230204", "error_msg": "上传失败"}, Busy(code="tieba_2230204", reason="上传失败")),
        ({"error_code": "2230201", "error_msg": "格式"}, Rejected(code="tieba_2230201", reason="格式")),
        ({"error_code": "0"}, NotSent(reason="tieba_not_prepared")),
    ],
)
async def test_upload_that_fails_creates_nothing_f75(tieba, parcel_of, picture, reply, expected):
    """F75: a picture that cannot be uploaded keeps the thread from being opened; it is never sent without."""
    adapter, desk = tieba
    desk.router.post(UPLOAD).respond(200, json=reply)
    assert await adapter.publish(parcel_of("tieba", text=TEXT, title=TITLE, pictures=(picture,))) == expected
    assert len(desk.requests) == 3


async def test_risk_not_accepted_and_no_session(bench, parcel):
    """Without an accepted risk, or without a session, not one call is made."""
    desk = bench({})
    outcome = await TIEBA.create(account(has_accepted_risk=False), desk.kit()).publish(parcel)
    assert isinstance(outcome, Blocked)
    assert await TIEBA.create(account(), desk.kit()).publish(parcel) == CredentialExpired(reason="tieba_no_session")
    assert desk.requests == []


async def test_not_sent_passes_through_f19(tieba, parcel):
    """F19: proof that the creating call was not sent reaches the core as it is; a timeout is a doubt."""
    adapter, desk = tieba
    desk.router.post(ADD).mock(side_effect=[httpx.ConnectError("x"), httpx.ReadTimeout("x")])
    assert await adapter.publish(parcel) == NotSent(reason="connect_failed")
    assert await adapter.publish(parcel) == Unknown(reason="timeout")


# --- following up ---


async def ticket_of(adapter, desk, parcel, body) -> Ticket:
    desk.router.post(ADD).respond(200, json=body)
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Submitted)
    return outcome.ticket


async def test_taken_but_seen_by_nobody_f39_f46(tieba, parcel):
    """F39, F46: while nobody sees a taken thread it is missing, and published once anybody does."""
    adapter, desk = tieba
    ticket = await ticket_of(adapter, desk, parcel, opened())
    desk.router.post(PAGE).mock(side_effect=[NOT_THERE, page()])
    assert await adapter.follow_up(ticket) == Missing(back_to=parcel.baseline.since)
    assert await adapter.follow_up(ticket) == Published(receipt=RECEIPT, has_seen_text=True)
    assert desk.failpoints == []


async def test_review_without_a_number_f47(tieba, parcel):
    """F47: a thread in review under no number is found by its marker, keeps its number, and is published when seen."""
    adapter, desk = tieba
    ticket = await ticket_of(adapter, desk, parcel, {"error_code": "230008", "error_msg": "审核"})
    desk.router.get(LIST).mock(side_effect=[threads(OLD), threads(entry(TID, TITLE, TEXT), OLD)])
    assert await adapter.follow_up(ticket) == Missing(back_to=parcel.baseline.since)
    desk.router.post(PAGE).mock(side_effect=[NOT_THERE, page()])
    numbered = await adapter.follow_up(ticket)
    assert isinstance(numbered, Submitted)
    assert isinstance(await adapter.follow_up(numbered.ticket), Published)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (NOT_THERE, Gone()),
        (page(is_deleted=1), Gone()),
        (page(tid="10990000099"), Unknown(reason="tieba_other_page")),
        (page(author={"portrait": "tb.1.other"}), Unknown(reason="tieba_wrong_account")),
        (httpx.Response(200, html="<html>"), Unknown(reason="bad_reply")),
        (httpx.Response(200, json={"error_code": "110001"}), Unknown(reason="tieba_110001")),
        (httpx.Response(200, json={"error_code": 0}), Unknown(reason="tieba_other_page")),
        (httpx.Response(503), Unknown(reason="server_error")),
    ],
)
async def test_live_thread_is_watched_f48(tieba, reply, expected):
    """F48: only the platform's own word makes a live thread gone; a page of another thread or account is no proof."""
    adapter, desk = tieba
    desk.router.post(PAGE).mock(return_value=reply)
    assert await adapter.follow_up(Ticket(number=TID)) == expected


async def test_page_without_numbers_is_known_by_its_marker(tieba, parcel):
    """A page that names no number counts when it carries our marker."""
    adapter, desk = tieba
    ticket = await ticket_of(adapter, desk, parcel, opened())
    floor = {"time": int(MADE.timestamp()), "content": [{"type": 0, "text": TEXT}]}
    desk.router.post(PAGE).respond(200, json={"error_code": 0, "first_floor": floor})
    assert await adapter.follow_up(ticket) == Published(receipt=RECEIPT, has_seen_text=True)


async def test_a_thread_without_our_words_is_live_but_not_verified_f54(tieba, parcel):
    """F54: a thread under our number whose words were changed is published; that its text was seen is not claimed."""
    adapter, desk = tieba
    ticket = await ticket_of(adapter, desk, parcel, opened())
    changed = page(title="内容已被调整").json() | {"first_floor": {"content": [{"type": 0, "text": "……"}]}}
    desk.router.post(PAGE).respond(200, json=changed)
    assert await adapter.follow_up(ticket) == Published(receipt=RECEIPT, has_seen_text=False)


# --- looks ---


async def test_lost_reply_is_found_f24(tieba, parcel):
    """F24: the thread of a lost reply is found by its marker, in the forum it was meant for and nowhere else."""
    adapter, desk = tieba
    ours, elsewhere = entry(TID, TITLE, "[ k7qm4r2t ] 不转账"), entry("10990000002", TITLE, TEXT, fid=99)
    desk.router.get(LIST).mock(return_value=threads(elsewhere, ours, OLD))
    finding = await adapter.find(parcel)
    assert isinstance(finding, Submitted)
    assert json.loads(finding.ticket.number)["tid"] == TID


async def test_pages_are_read_back_past_the_baseline_f53(tieba, parcel):
    """F53: a look reads page after page until a thread older than the baseline, then no further."""
    adapter, desk = tieba
    first = threads(*(entry(str(10990000100 - n)) for n in range(20)), has_more=1)
    desk.router.get(LIST).mock(side_effect=[first, threads(entry("10990000050"), OLD, has_more=1)])
    assert await adapter.find(parcel) == Missing(back_to=parcel.baseline.since)
    assert [request.url.params["pn"] for request in desk.requests[1:]] == ["1", "2"]


@pytest.mark.parametrize(
    "replies",
    [
        pytest.param([threads()], id="empty"),
        pytest.param([threads(entry("10990000003"), has_more=1), threads(has_more=1)], id="cut"),
        pytest.param([threads(OLD, entry("10990000003"), has_more=1), threads(has_more=0)], id="reversed-then-empty"),
    ],
)
async def test_lists_that_prove_nothing_f51(tieba, parcel, replies):
    """F51: an empty, cut or reversed list is no absence."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(side_effect=replies)
    finding = await adapter.find(parcel)
    assert finding == Unknown(reason="tieba_list_incomplete")


async def test_endless_list_is_given_up(tieba, parcel):
    """A list without end is read for ten pages and proves nothing."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(return_value=threads(entry("10990000003"), has_more=1))
    assert await adapter.find(parcel) == Unknown(reason="tieba_list_incomplete")
    assert len(desk.requests) == 11


async def test_same_words_without_marker_f54_f56(tieba, parcel):
    """F54, F56: the same title without our marker is a likeness for a person to judge."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(return_value=threads(entry(TID, TITLE, "别的内容"), OLD))
    assert await adapter.find(parcel) == Lookalike(remote_id=TID, url=f"{WEB}/p/{TID}")


async def test_what_belongs_to_others_is_not_ours_f55(tieba, parcel):
    """F55: the same words of an earlier time, or of another delivery, are no match."""
    adapter, desk = tieba
    early = entry("10980000001", TITLE, "不转账", at=MADE - timedelta(hours=3))
    desk.router.get(LIST).mock(return_value=threads(entry(TID, TITLE, TEXT), early))
    owned = replace(parcel, owned_ids=frozenset({TID}))
    assert await adapter.find(owned) == Missing(back_to=parcel.baseline.since)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (httpx.Response(200, json={"error_code": "230265"}), "tieba_230265"),
        (httpx.Response(302, headers={"location": "https://passport.baidu.com/"}), "tieba_not_signed_in"),
        (httpx.Response(200, json={"error_code": 0, "data": None}), "bad_reply"),
        (httpx.Response(200, json={"error_code": 0, "data": {"list": [{}]}}), "bad_reply"),
        (httpx.Response(200, json={"error_code": 0, "data": {"list": [{"thread_info": {}}]}}), "tieba_no_id"),
        (threads(entry(TID, TITLE, TEXT, author={"portrait": "tb.1.other"})), "tieba_wrong_account"),
        (httpx.Response(502), "server_error"),
    ],
)
async def test_list_that_cannot_be_read_f52(tieba, parcel, reply, reason):
    """F52: an unreadable list, or somebody else's, is never absence."""
    adapter, desk = tieba
    desk.router.get(LIST).mock(return_value=reply)
    assert await adapter.find(parcel) == Unknown(reason=reason)


# --- taking down, probing, checking ---


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"error_code": "230273"}, Gone()),
        ({"error_code": 273}, Gone()),
        ({"error_code": "230308", "error_msg": "x"}, Rejected(code="tieba_230308", reason="x")),
        ({"error_code": "220034"}, Unknown(reason="tieba_220034")),
        ({"error_code": "5", "info": {"need_vcode": "1"}}, Rejected(code="tieba_captcha", reason="")),
        ({}, Unknown(reason="bad_reply")),
        ([], Unknown(reason="bad_reply")),
    ],
)
async def test_retract_f78(tieba, reply, expected):
    """F78: only the platform's own word, done or not there, counts as gone."""
    adapter, desk = tieba
    desk.router.post(DELETE).respond(200, json=reply)
    assert await adapter.retract(RECEIPT) == expected


async def test_probe_f43(tieba):
    """F43: a probe tells a living session from a dead one, and a forum that is not there."""
    adapter, desk = tieba
    assert await adapter.probe() == Ready()
    desk.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": 0}})
    assert isinstance(await adapter.probe(), Blocked)
    desk.router.get(TBS).respond(200, json={"tbs": "x", "is_login": 0})
    assert isinstance(await adapter.probe(), CredentialExpired)


async def test_user_name_as_identity(bench, parcel):
    """An identity that is a user name is asked for, and recognised, as such."""
    desk = bench({"BDUSS": "B" * 192})
    desk.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": FID}})
    desk.router.get(LIST).mock(return_value=threads(entry(TID, TITLE, TEXT, author={"name": "平安发布"})))
    finding = await TIEBA.create(account(identity="平安发布"), desk.kit()).find(parcel)
    assert isinstance(finding, Submitted)
    assert desk.requests[1].url.params["un"] == "平安发布"


async def test_check_names_what_tieba_refuses_f76(tieba, parcel, picture):
    """F76: lengths, half-width brackets and pictures are found before anything is sent."""
    adapter, _ = tieba
    good = parcel.rendition
    assert adapter.check(good) == ()
    bad = {
        "tieba_title_length": replace(good, title="四个字儿"),
        "tieba_text_too_long": replace(good, text="雨" * 2001),
        "tieba_text_empty": replace(good, text=" "),
        "tieba_angle_brackets": replace(good, text="<b>"),
        "tieba_too_many_pictures": replace(good, pictures=(picture,) * 10),
        "tieba_picture_type": replace(good, pictures=(replace(picture, media_type="image/bmp"),)),
        "tieba_picture_size": replace(good, pictures=(replace(picture, size=11 * 1024 * 1024),)),
    }
    for code, rendition in bad.items():
        assert {problem.code for problem in adapter.check(rendition)} == {code}
        assert code in catalogue()
    assert {problem.code for problem in adapter.check(replace(good, title="雨" * 32))} == {"tieba_title_length"}
    owing = TIEBA.create(account(has_accepted_risk=False, forum=None), None)
    assert {problem.code for problem in owing.check(good)} == {"tieba_risk_not_accepted", "tieba_no_forum_set"}


def test_declared_patience_covers_the_platforms_delays():
    """The settle time outlasts the longest late act plus the longest listing lag; a second call is never allowed."""
    traits = TIEBA.create(account(), None).traits
    patience = TIEBA.defaults.patience
    assert patience.is_ordered
    assert traits.server_delay + traits.listing_lag <= patience.settle
    assert not traits.may_resend


async def test_nothing_of_a_device_is_invented(tieba, parcel):
    """No device id, behaviour token or client id leaves; the one field that asks for one is empty."""
    adapter, desk = tieba
    desk.router.post(ADD).respond(200, json=opened())
    await adapter.publish(parcel)
    form = dict(httpx.QueryParams(desk.requests[-1].content.decode()))
    assert form["jt"] == ""
    assert not {"cuid", "_client_id", "z_id", "_phone_imei", "android_id"} & set(form)
    assert "acs-token" not in desk.requests[-1].headers
