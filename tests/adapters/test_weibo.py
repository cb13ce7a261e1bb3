"""The Weibo adapter: its calls byte by byte, and every code of its table.

The tests also cover the proof that its reads give.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.weibo import WEIBO
from adapters.weibo.api import (
    decode_created_at,
    encode_short_id,
    get_next_full_hour,
    make_receipt,
)
from publisher.domain.account import Account, AccountId, Mode, Platform
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    Healthy,
    HoldReason,
    NotFound,
    NotSent,
    PossibleMatch,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.calls import call_adapter
from publisher.i18n import load_catalogue

UID = "1404376560"
POST_ID = "5316149214569024"
LINK = "https://example.gov.cn/n/K7QM-4R2T"
TEXT = f"【警惕“退款客服”诈骗】不转账、不透露验证码。编号K7QM-4R2T {LINK}"
SHARE = "https://api.weibo.com/2/statuses/share.json"
TIMELINE = "https://api.weibo.com/2/statuses/user_timeline.json"
SHOW = "https://api.weibo.com/2/statuses/show.json"
NOT_THERE = httpx.Response(
    400, json={"error_code": 20101, "error": "target weibo does not exist!"}
)
DESTROY = "https://api.weibo.com/2/statuses/destroy.json"
TOKEN_INFO = "https://api.weibo.com/oauth2/get_token_info"
MADE = datetime(2026, 11, 24, 4, 0, 31, tzinfo=UTC)


def account(**changes) -> Account:
    return replace(
        Account(
            id=AccountId("beijing-weibo"),
            platform=Platform("weibo"),
            identity=UID,
            secret="weibo-beijing",
            link_template="https://example.gov.cn/n/{marker}",
            public_ip="203.0.113.7",
        ),
        **changes,
    )


@pytest.fixture
def weibo(make_server):
    server = make_server(
        {"access_token": "2.00TOKEN", "app_key": "1352222456", "app_secret": "x"}
    )
    return WEIBO.create(account(), server.context()), server


@pytest.fixture
def send_request(make_request):
    return make_request("weibo", text=TEXT, link=LINK)


def status(
    post_id: str, text: str, at: datetime = MADE, uid: str = UID, **more
) -> dict:
    return {
        "created_at": at.astimezone().strftime("%a %b %d %H:%M:%S %z %Y"),
        "id": int(post_id),
        "idstr": post_id,
        "mid": post_id,
        "text": text,
        "user": {"id": int(uid), "idstr": uid},
        **more,
    }


def listing(*entries: dict, total: int = 500) -> httpx.Response:
    return httpx.Response(200, json={"statuses": list(entries), "total_number": total})


OLD = status("5316149214569000", "旧闻", MADE - timedelta(hours=3))
OLDER = status("5316149214568000", "更旧的", MADE - timedelta(hours=4))


async def test_share_golden(weibo, send_request, golden, answer):
    """A text post is one form call, and its answer is published with id, address and time."""
    adapter, server = weibo
    server.router.post(SHARE).mock(return_value=answer("weibo/share"))
    outcome = await adapter.publish(send_request)
    golden("weibo/share", server.requests[0])
    assert isinstance(outcome, Published)
    assert outcome.receipt.remote_id == POST_ID
    assert outcome.receipt.url == f"https://weibo.com/{UID}/{encode_short_id(POST_ID)}"
    assert outcome.receipt.published_at == MADE
    assert len(server.requests) == 1


async def test_share_with_picture_golden(weibo, make_request, picture, golden, answer):
    """A picture is sent as the form part `pic`, in the same single call."""
    adapter, server = weibo
    server.router.post(SHARE).mock(return_value=answer("weibo/share"))
    outcome = await adapter.publish(
        make_request("weibo", text=TEXT, link=LINK, pictures=(picture,))
    )
    golden("weibo/share_picture", server.requests[0])
    assert isinstance(outcome, Published)


async def test_timeline_golden(weibo, send_request, golden, answer):
    """A search lists the newest posts without a lower bound.

    It finds our post by the address behind its short link.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=answer("weibo/timeline"))
    finding = await adapter.find_post(send_request)
    golden("weibo/timeline", server.requests[0])
    assert isinstance(finding, Published)
    assert finding.receipt.remote_id == POST_ID


async def test_show_golden(weibo, golden, answer):
    """A ticket that is a plain id reads that very post."""
    adapter, server = weibo
    server.router.get(SHOW).mock(return_value=answer("weibo/share"))
    finding = await adapter.check_ticket(Ticket(payload=POST_ID))
    golden("weibo/show", server.requests[0])
    assert isinstance(finding, Published)


async def test_destroy_golden(weibo, golden, answer):
    """A deletion is one call and one read.

    The answer to the call is the deleted post, and the read does not find it any more.
    """
    adapter, server = weibo
    server.router.post(DESTROY).mock(return_value=answer("weibo/share"))
    server.router.get(SHOW).mock(return_value=NOT_THERE)
    receipt = Published(receipt=_receipt()).receipt
    assert await adapter.retract(receipt) == Deleted()
    golden("weibo/destroy", server.requests[0])
    golden("weibo/show", server.requests[1])


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("weibo/share", "weibo_deletion_unconfirmed"),
        (httpx.Response(500), "server_error"),
    ],
)
async def test_a_removal_counts_when_it_was_read_f78(weibo, answer, shown, reason):
    """F78: the answer to a deletion is no proof.

    While a read shows the post, or fails, the post is not gone.
    """
    adapter, server = weibo
    server.router.post(DESTROY).mock(return_value=answer("weibo/share"))
    server.router.get(SHOW).mock(
        return_value=answer(shown) if isinstance(shown, str) else shown
    )
    assert await adapter.retract(_receipt()) == Unknown(reason=reason)


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_removal_that_finds_no_post_counts_when_it_was_read_f48_f78(
    weibo, answer, is_live
):
    """F48, F78: "no such post" alone ends no retraction.

    It counts when the read afterwards confirms it.
    """
    adapter, server = weibo
    server.router.post(DESTROY).mock(return_value=NOT_THERE)
    server.router.get(SHOW).mock(
        return_value=answer("weibo/share") if is_live else NOT_THERE
    )
    assert await adapter.retract(_receipt()) == (
        Unknown(reason="weibo_deletion_unconfirmed") if is_live else Deleted()
    )


async def test_token_info_golden(weibo, golden, answer):
    """A probe reads the owner of the token and its remaining life."""
    adapter, server = weibo
    server.router.post(TOKEN_INFO).mock(return_value=answer("weibo/token_info"))
    assert await adapter.check_health() == Healthy(
        credentials_expire_at=server.now + timedelta(seconds=157679471)
    )
    golden("weibo/token_info", server.requests[0])


def _receipt():
    from adapters.weibo.api import make_receipt  # noqa: PLC0415

    return make_receipt(POST_ID, UID, MADE)


async def test_unlisted_code_is_unknown_f34(weibo, send_request):
    """F34: a code that is not in the table proves nothing."""
    adapter, server = weibo
    server.router.post(SHARE).respond(400, json={"error_code": 29999, "error": "?"})
    assert await adapter.publish(send_request) == Unknown(reason="weibo_29999")


async def test_f31_f45_a_refusal_cut_within_an_emoji_is_a_refusal(weibo, send_request):
    """F31, F45: the code of a refusal counts although its message ends in half an emoji.

    The core can store the refusal. Weibo's message may end in this way.
    """
    adapter, server = weibo
    reply = {
        "error_code": 20018,
        "error": "包含非法内容 \ud83d",
        "request": "/2/statuses/share.json",
    }
    server.router.post(SHARE).respond(400, content=json.dumps(reply).encode())
    outcome = await call_adapter(adapter.publish(send_request), timedelta(seconds=5))
    assert outcome == Rejected(code="weibo_20018", reason="包含非法内容 \ufffd")


@pytest.mark.parametrize(
    ("words", "kind"),
    [("text not find domain!", Rejected), ("appkey not bind domain!", Blocked)],
)
async def test_safe_domain(weibo, send_request, words, kind):
    """10017 is the text's fault where the link is missing.

    It is the app's fault where no domain is approved.
    """
    adapter, server = weibo
    server.router.post(SHARE).respond(400, json={"error_code": 10017, "error": words})
    assert isinstance(await adapter.publish(send_request), kind)


async def test_rate_limit_lasts_until_the_next_full_hour_f44(weibo, send_request):
    """F44: a full window waits until the next full hour in Beijing.

    "Out of limit" waits a whole hour.
    """
    adapter, server = weibo
    server.router.post(SHARE).respond(403, json={"error_code": 10023, "error": "x"})
    outcome = await adapter.publish(send_request)
    assert outcome == RateLimited(
        code="weibo_10023", until=datetime(2026, 11, 24, 5, tzinfo=UTC)
    )
    server.router.post(SHARE).respond(400, json={"error_code": 20016, "error": "x"})
    assert (await adapter.publish(send_request)).until == server.now + timedelta(
        hours=1
    )
    assert get_next_full_hour(server.now) > server.now


@pytest.mark.parametrize(
    ("header", "until"),
    [
        ({"retry-after": "90"}, timedelta(seconds=90)),
        ({"retry-after": "Tue, 24 Nov 2026 04:10:30 GMT"}, timedelta(minutes=10)),
        ({"retry-after": "Tue, 24 Nov 2020 04:10:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999999999999999"}, timedelta(days=366)),
        ({"retry-after": "31536000"}, timedelta(days=365)),
        ({}, None),
    ],
)
async def test_too_many_requests_f26_f27(weibo, send_request, header, until):
    """F26, F27: a 429 waits as long as Retry-After says.

    A past, invalid or missing one names no time.
    """
    adapter, server = weibo
    server.router.post(SHARE).respond(429, headers=header, text="slow down")
    expected = server.now + until if until else None
    assert await adapter.publish(send_request) == RateLimited(
        code="weibo_429", until=expected
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(
            httpx.Response(503, json={"error_code": 10002}),
            "server_error",
            id="F28-server-error",
        ),
        pytest.param(
            httpx.Response(502, html="<html>"), "server_error", id="F29-gateway-page"
        ),
        pytest.param(httpx.Response(200, html="<html>"), "bad_response", id="F30-html"),
        pytest.param(
            httpx.Response(200, content=b'{"id": 5'), "bad_response", id="F31-bad-json"
        ),
        pytest.param(httpx.Response(200, json=[1]), "bad_response", id="F31-no-object"),
        pytest.param(
            httpx.Response(403, html="<html>"), "bad_response", id="F29-forbidden-page"
        ),
        pytest.param(
            httpx.Response(200, json={"user": {"idstr": UID}}),
            "weibo_no_id",
            id="F33-no-id",
        ),
        pytest.param(
            httpx.Response(200, json={"idstr": POST_ID}),
            "weibo_no_id",
            id="F33-no-user",
        ),
        pytest.param(
            httpx.Response(302, headers={"location": "https://x/"}),
            "redirected",
            id="F35-redirect",
        ),
    ],
)
async def test_an_unclear_answer_is_unknown(weibo, send_request, reply, reason):
    """F28 to F37: an unclear answer to the creating call is Unknown, after one call and no more."""
    adapter, server = weibo
    server.router.post(SHARE).mock(return_value=reply)
    assert await adapter.publish(send_request) == Unknown(reason=reason)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [20017, 20019, 20111])
async def test_text_reported_as_duplicate_f37(weibo, send_request, code):
    """F37: such an answer is Unknown, with its own reason, and nothing may be sent after it."""
    adapter, server = weibo
    server.router.post(SHARE).respond(400, json={"error_code": code})
    assert await adapter.publish(send_request) == Unknown(
        reason=f"weibo_{code}", is_duplicate=True
    )


async def test_wrong_account_f38(weibo, send_request):
    """F38: an answer in another account's name stops the account."""
    adapter, server = weibo
    server.router.post(SHARE).respond(200, json=status(POST_ID, TEXT, uid="1999999999"))
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Blocked)
    assert outcome.hold_reason is HoldReason.WRONG_ACCOUNT
    assert outcome.reason == make_receipt(POST_ID, "1999999999", server.now).url


async def test_nothing_is_sent_to_weibo_without_a_public_address(
    make_server, send_request
):
    """Weibo requires it for every post: without it a person decides, and no call is made."""
    server = make_server({"access_token": "t"})
    outcome = await WEIBO.create(account(public_ip=None), server.context()).publish(
        send_request
    )
    assert outcome == Blocked(
        code="weibo_no_public_ip",
        reason=account().id,
    )
    assert server.requests == []


async def test_slow_server_is_followed_up_f39(weibo, send_request):
    """F39: 20032 is submitted, and its ticket alone suffices to find the post later.

    Absence is reported as such.
    """
    adapter, server = weibo
    server.router.post(SHARE).respond(
        200, json={"error_code": 20032, "error": "Update success, while server slow"}
    )
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    assert outcome.check_again_at == server.now + timedelta(minutes=2)
    server.router.get(TIMELINE).mock(
        side_effect=[listing(OLD, OLDER), listing(status(POST_ID, TEXT), OLD)]
    )
    assert await adapter.check_ticket(outcome.ticket) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    assert isinstance(await adapter.check_ticket(outcome.ticket), Published)
    assert server.failpoints == []


async def test_token_refused_f40(weibo, send_request):
    """F40: a refused token is reported as such, and nothing is repeated."""
    adapter, server = weibo
    server.router.post(SHARE).respond(
        403, json={"error_code": 21327, "error": "expired_token"}
    )
    assert await adapter.publish(send_request) == CredentialExpired(
        reason="weibo_21327"
    )
    server.secret.clear()
    assert await adapter.publish(send_request) == CredentialExpired(
        reason="weibo_no_token"
    )
    assert len(server.requests) == 1


async def test_not_sent_passes_through_f19(weibo, send_request):
    """F19: proof that nothing was sent reaches the core unchanged."""
    adapter, server = weibo
    server.router.post(SHARE).mock(side_effect=httpx.ConnectError("refused"))
    assert await adapter.publish(send_request) == NotSent(reason="connect_failed")


# --- reading ---


async def test_lost_reply_is_found_f24(weibo, send_request):
    """F24: the post of a lost reply is found by its marker, however the platform wrote it."""
    adapter, server = weibo
    rewritten = "警惕退款客服诈骗 编号 k7qm - 4r2t http://t.cn/A6abCDeF"
    server.router.get(TIMELINE).mock(
        return_value=listing(status(POST_ID, rewritten), OLD)
    )
    finding = await adapter.find_post(send_request)
    assert isinstance(finding, Published)
    assert finding.receipt.remote_id == POST_ID


async def test_the_address_alone_does_not_verify_the_text_f54(weibo, send_request):
    """F54: a post known only by the address behind its link is ours.

    Its text is not verified.
    """
    adapter, server = weibo
    link = [{"url_short": "http://t.cn/A6abCDeF", "url_ori": LINK}]
    garbled = status(POST_ID, "内容已被调整 http://t.cn/A6abCDeF", url_objects=link)
    server.router.get(TIMELINE).mock(
        side_effect=[listing(garbled, OLD), listing(status(POST_ID, TEXT), OLD)]
    )
    findings = [await adapter.find_post(send_request) for _ in range(2)]
    assert [finding.is_text_confirmed for finding in findings] == [False, True]


async def test_absence_needs_a_list_that_reaches_back_f53(weibo, send_request):
    """F53: five newer posts prove nothing, nor will later lists.

    One post older than the baseline makes a read complete.
    """
    adapter, server = weibo
    newer = [status(str(int(POST_ID) + 9 - n), f"别的{n}") for n in range(5)]
    server.router.get(TIMELINE).mock(
        side_effect=[listing(*newer), listing(*newer[:4], OLD)]
    )
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short", is_beyond_list=True
    )
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


async def test_one_old_post_may_be_a_pinned_one_f53(weibo, send_request):
    """F53: a list cut after its first entry proves no absence, as that may be pinned.

    A whole account does prove it.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(side_effect=[listing(OLD), listing(OLD, total=1)])
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short"
    )
    assert isinstance(await adapter.find_post(send_request), NotFound)


async def test_newest_known_id_bounds_a_read(weibo, send_request):
    """A post known before the call marks the end of the search, regardless of its time."""
    adapter, server = weibo
    known = status("5316149214569001", "刚才的", MADE)
    server.router.get(TIMELINE).mock(
        return_value=listing(status(POST_ID, "别的"), known)
    )
    before = replace(
        send_request,
        baseline=Baseline(
            newest_id="5316149214569001", taken_at=send_request.baseline.taken_at
        ),
    )
    assert isinstance(await adapter.find_post(before), NotFound)
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short"
    )


@pytest.mark.parametrize(
    ("entries", "total"),
    [
        pytest.param([], 0, id="empty"),
        pytest.param(
            [status(str(int(POST_ID) + n), "别的") for n in (9, 8, 7, 6)], 500, id="cut"
        ),
        pytest.param([OLD, status(POST_ID, "别的")], 500, id="oldest-first"),
        pytest.param(
            [OLD, *[status(str(int(POST_ID) + n), "别的") for n in (4, 3)]],
            500,
            id="pinned-first",
        ),
        pytest.param(
            [*(status(str(int(POST_ID) + n), "别的") for n in (9, 5, 7)), OLD],
            500,
            id="shuffled",
        ),
    ],
)
async def test_lists_that_prove_nothing_f51_f53(weibo, send_request, entries, total):
    """F51, F53: an empty, reversed, shuffled or cut list is no absence."""
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(*entries, total=total))
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short"
    )


async def test_whole_small_account_is_complete(weibo, send_request):
    """A list that holds all the posts of an account is complete.

    This holds although no post is older than the baseline.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(
        return_value=listing(status(POST_ID, "别的"), total=1)
    )
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


async def test_same_text_without_marker_f56(weibo, send_request):
    """F56: a newer post with our text but not our marker is a possible match, never ours."""
    adapter, server = weibo
    by_hand = "【警惕“退款客服”诈骗】不转账、不透露验证码。编号 http://t.cn/A6abCDeF"
    server.router.get(TIMELINE).mock(
        return_value=listing(status(POST_ID, by_hand), OLD)
    )
    assert await adapter.find_post(send_request) == PossibleMatch(
        remote_id=POST_ID, url=f"https://weibo.com/{UID}/{encode_short_id(POST_ID)}"
    )


@pytest.mark.parametrize(
    "shown",
    [
        "【警惕“退款客服”诈骗】",
        "【警惕“退款…",
        "【警惕“退款客服”诈骗】不转… 全文：http://t.cn/A6abCDeF",
        "…",
    ],
)
async def test_a_shortened_text_goes_to_a_person_f54(weibo, send_request, shown):
    """F54: a list that shows only the beginning of our text, without its marker, is no absence."""
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, shown), OLD))
    assert isinstance(await adapter.find_post(send_request), PossibleMatch)


@pytest.mark.parametrize(
    "shown", ["【警惕“退款客服”诈骗】别的话", "【警惕“退款理赔…", "【警惕"]
)
async def test_a_common_beginning_is_no_match_f55(weibo, send_request, shown):
    """F55: a post that goes on differently within the shown text is not ours.

    Nor is a post with too few words.
    """
    adapter, server = weibo
    server.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, shown), OLD))
    assert isinstance(await adapter.find_post(send_request), NotFound)


async def test_a_list_that_shows_posts_twice_f53(weibo, send_request):
    """F53: ours shown twice is found once; an entry that replaces another makes no list whole."""
    adapter, server = weibo
    ours, other = status(POST_ID, TEXT), status(str(int(POST_ID) + 1), "别的")
    server.router.get(TIMELINE).mock(return_value=listing(ours, ours, OLD))
    finding = await adapter.find_post(send_request)
    assert (finding.receipt.remote_id, finding.is_text_confirmed) == (POST_ID, True)
    newest = status(str(int(POST_ID) + 2), "别的")
    for entries in ((newest, other, other, OLD), (other, OLD, OLD)):
        server.router.get(TIMELINE).mock(
            return_value=listing(*entries, total=len(entries))
        )
        assert await adapter.find_post(send_request) == Unknown(
            reason="weibo_list_too_short"
        )
    server.router.get(TIMELINE).mock(return_value=listing(other, other, total=2))
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short"
    )


async def test_a_pinned_post_may_come_twice_f53(weibo, send_request):
    """F53: an account's pinned post is on top and in its own place; the rest still reaches back."""
    adapter, server = weibo
    pinned, newer = (status(str(int(POST_ID) + number), "别的") for number in (3, 7))
    server.router.get(TIMELINE).mock(return_value=listing(pinned, newer, pinned, OLD))
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


async def test_a_post_of_another_delivery_is_not_ours_f55(weibo, send_request):
    """F55: the same text of an earlier time, or of another delivery, is no match."""
    adapter, server = weibo
    words = TEXT.replace("K7QM-4R2T", "")
    early = status("5316149214569000", words, MADE - timedelta(hours=3))
    server.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, TEXT), early))
    owned = replace(send_request, owned_ids=frozenset({POST_ID}))
    assert await adapter.find_post(owned) == NotFound(
        covered_since=send_request.baseline.taken_at
    )


async def test_marker_on_an_older_post_goes_to_a_person(weibo, send_request):
    """Our marker on a post from before the call cannot be this attempt's: a person must decide."""
    adapter, server = weibo
    server.router.get(TIMELINE).mock(
        return_value=listing(status(POST_ID, TEXT, MADE - timedelta(hours=2)))
    )
    assert isinstance(await adapter.find_post(send_request), PossibleMatch)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (listing(status(POST_ID, TEXT, uid="1999999999"), OLD), "weibo_wrong_account"),
        (httpx.Response(403, json={"error_code": 10024, "error": "x"}), "weibo_10024"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(502), "server_error"),
        (httpx.Response(503, json={"error_code": 10022, "error": "x"}), "server_error"),
        (httpx.Response(503, json={"error_code": 10024, "error": "x"}), "server_error"),
        (httpx.Response(200, json={"statuses": None}), "bad_response"),
        (httpx.Response(200, json={"statuses": ["x"]}), "bad_response"),
        (httpx.Response(200, json={"statuses": [{"text": "x"}]}), "weibo_no_id"),
        (httpx.ReadTimeout("x"), "timeout"),
    ],
)
async def test_list_that_cannot_be_read_f52(weibo, send_request, reply, reason):
    """F52: an unreadable list, or another account's, is never absence."""
    adapter, server = weibo
    if isinstance(reply, Exception):
        server.router.get(TIMELINE).mock(side_effect=reply)
    else:
        server.router.get(TIMELINE).mock(return_value=reply)
    assert await adapter.find_post(send_request) == Unknown(reason=reason)


# --- deleting, probing ---


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            httpx.Response(400, json={"error_code": 20102, "error": "x"}),
            Rejected(code="weibo_20102", reason="x"),
        ),
        (
            httpx.Response(403, json={"error_code": 10014, "error": "x"}),
            Rejected(code="weibo_10014", reason="x"),
        ),
        (
            httpx.Response(403, json={"error_code": 10024, "error": "x"}),
            Unknown(reason="weibo_10024"),
        ),
        (
            httpx.Response(400, json={"error_code": 29999, "error": "x"}),
            Unknown(reason="weibo_29999"),
        ),
        (httpx.Response(200, json=status("1", "x")), Unknown(reason="weibo_no_id")),
        (httpx.Response(500), Unknown(reason="server_error")),
        (
            httpx.Response(503, json={"error_code": 20102, "error": "x"}),
            Unknown(reason="server_error"),
        ),
    ],
)
async def test_retract_f78(weibo, reply, expected):
    """F78: a response that deletes nothing leaves the post as it was, and is reported as such."""
    adapter, server = weibo
    server.router.post(DESTROY).mock(return_value=reply)
    assert await adapter.retract(_receipt()) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"uid": UID, "appkey": "1352222456", "expire_in": "60"}, Healthy),
        ({"uid": int(UID), "appkey": 1352222456, "expires_in": 60}, Healthy),
        ({"uid": int(UID), "appkey": 1352222456, "expire_in": -5}, CredentialExpired),
        ({"uid": 1, "appkey": 1352222456, "expire_in": 60}, Blocked),
        ({"uid": int(UID), "appkey": 1, "expire_in": 60}, Blocked),
        ({"uid": int(UID), "appkey": 1352222456}, Unknown),
        ({"error_code": 21332, "error": "invalid_access_token"}, CredentialExpired),
        ({"error_code": 10004, "error": "IP limit"}, Blocked),
        ({"error_code": 29999, "error": "?"}, Unknown),
    ],
)
async def test_probe_f43(weibo, body, expected):
    """F43: the health check distinguishes four cases.

    They are a working token, an expired one, another account's, and no knowledge.
    """
    adapter, server = weibo
    server.router.post(TOKEN_INFO).respond(200, json=body)
    assert isinstance(await adapter.check_health(), expected)


async def test_deleted_post_is_gone_f48(weibo):
    """F48: a post that was seen and is not there any more is gone; a failed read is not."""
    adapter, server = weibo
    replies = [
        httpx.Response(400, json={"error_code": 20101}),
        httpx.Response(403, json={"error_code": 10024}),
    ]
    server.router.get(SHOW).mock(side_effect=replies)
    assert await adapter.check_ticket(Ticket(payload=POST_ID)) == Deleted()
    assert await adapter.check_ticket(Ticket(payload=POST_ID)) == Unknown(
        reason="weibo_10024"
    )
    server.router.get(SHOW).mock(
        side_effect=None, return_value=httpx.Response(503, json={"error_code": 20101})
    )
    assert await adapter.check_ticket(Ticket(payload=POST_ID)) == Unknown(
        reason="server_error"
    )


async def test_base_url_replaces_the_host(make_server, send_request):
    """Where a base address is configured, no call is made to the platform's own host."""
    server = make_server({"access_token": "t"})
    adapter = WEIBO.create(
        account(base_url="http://127.0.0.1:8710/", public_ip=None), server.context()
    )
    server.router.post("http://127.0.0.1:8710/2/statuses/share.json").respond(
        200, json=status(POST_ID, TEXT)
    )
    assert isinstance(await adapter.publish(send_request), Published)
    assert b"rip=" not in server.requests[0].content


# --- checking, addresses, capabilities ---


def codes_of(problems):
    return {problem.code for problem in problems}


async def test_check_names_what_weibo_rejects_f76(weibo, send_request, picture):
    """F76: length, link, pictures and topic marks are checked before anything is sent.

    A missing or glued link is a problem. A person that posts manually needs no link, and may put it
    anywhere.
    """
    adapter, _ = weibo
    good = send_request.rendered
    assert WEIBO.validate(adapter.account, good) == ()
    bad = {
        "weibo_text_too_long": replace(good, text="雨" * 130 + f" {LINK}"),
        "weibo_no_link_template": replace(good, text="没有链接"),
        "weibo_link_not_apart": replace(good, text=f"见{LINK}详情"),
        "weibo_link_not_ascii": replace(
            good, text=f"见{LINK}/通报", link=f"{LINK}/通报"
        ),
        "weibo_link_elsewhere": replace(
            good,
            text="见https://www.example.gov.cn/x",
            link="https://www.example.gov.cn/x",
        ),
        "weibo_too_many_images": replace(good, images=(picture, picture)),
        "weibo_image_type": replace(
            good, images=(replace(picture, media_type="image/bmp"),)
        ),
        "weibo_image_size": replace(
            good, images=(replace(picture, size=5 * 1024 * 1024),)
        ),
        "weibo_hashtag_dropped": replace(good, text=f"#防诈骗# {LINK}"),
    }
    for code, rendered in bad.items():
        problems = WEIBO.validate(adapter.account, rendered)
        assert codes_of(problems) == {code}
        assert problems[0].is_error == (code != "weibo_hashtag_dropped")
        assert code in load_catalogue()
    assert codes_of(WEIBO.validate(adapter.account, replace(good, link=None))) == {
        "weibo_no_link_template"
    }
    by_hand = account(mode=Mode.ASSISTED)
    for code in ("weibo_no_link_template", "weibo_link_not_apart"):
        assert WEIBO.validate(by_hand, bad[code]) == ()
    assert codes_of(WEIBO.validate(by_hand, bad["weibo_text_too_long"])) == {
        "weibo_text_too_long"
    }


async def test_two_pictures_are_never_sent_as_one(weibo, make_request, picture):
    """A request with more pictures than the call takes is rejected, not reduced."""
    adapter, server = weibo
    outcome = await adapter.publish(
        make_request("weibo", text=TEXT, link=LINK, pictures=(picture, picture))
    )
    assert isinstance(outcome, Rejected)
    assert server.requests == []


@pytest.mark.parametrize(
    ("mid", "short"),
    [
        ("201110410216293360", "wr4mOFqpbO"),
        ("4154099588849643", "FmHnoB8cb"),
        ("5000000000000001", "O00000001"),
    ],
)
def test_address_of_a_post(mid, short):
    """A post's id is written in its address in groups of seven, each but the first padded."""
    assert encode_short_id(mid) == short


def test_time_in_an_id():
    """A post's id holds the second of its creation."""
    assert decode_created_at("3504803600502730") == datetime(
        2012, 10, 24, 15, 49, 17, tzinfo=UTC
    )


def test_declared_timing_covers_the_platforms_delays():
    """The visibility window outlasts the longest late effect plus the longest list delay.

    The waits are in order.
    """
    traits = WEIBO.capabilities(account())
    timing = WEIBO.defaults.timing
    assert timing.has_valid_order
    assert traits.server_delay + traits.listing_lag <= timing.visibility_window
    assert traits.can_resend


def test_ticket_is_json_without_text_of_the_post(send_request):
    """A ticket holds the facts that a later read needs, and nothing of the text."""
    from adapters.weibo.api import encode_ticket  # noqa: PLC0415

    facts = json.loads(encode_ticket(send_request, is_article=False).payload)
    assert set(facts) == {"marker", "newest_id", "since"}
