"""The Weibo adapter: its calls byte by byte, every code of its table, and what a look proves."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.weibo import WEIBO
from adapters.weibo.api import decode_created_at, encode_short_id, get_next_full_hour, make_receipt
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
from publisher.i18n import load_catalogue

UID = "1404376560"
POST_ID = "5316149214569024"
LINK = "https://example.gov.cn/n/K7QM-4R2T"
TEXT = f"【警惕“退款客服”诈骗】不转账、不透露验证码。编号K7QM-4R2T {LINK}"
SHARE = "https://api.weibo.com/2/statuses/share.json"
TIMELINE = "https://api.weibo.com/2/statuses/user_timeline.json"
SHOW = "https://api.weibo.com/2/statuses/show.json"
NOT_THERE = httpx.Response(400, json={"error_code": 20101, "error": "target weibo does not exist!"})
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
def weibo(bench):
    desk = bench({"access_token": "2.00TOKEN", "app_key": "1352222456", "app_secret": "x"})
    return WEIBO.create(account(), desk.kit()), desk


@pytest.fixture
def parcel(parcel_of):
    return parcel_of("weibo", text=TEXT, link=LINK)


def status(post_id: str, text: str, at: datetime = MADE, uid: str = UID, **more) -> dict:
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


async def test_share_golden(weibo, parcel, golden, answer):
    """A text post is one form call, and its answer is published with number, address and time."""
    adapter, desk = weibo
    desk.router.post(SHARE).mock(return_value=answer("weibo/share"))
    outcome = await adapter.publish(parcel)
    golden("weibo/share", desk.requests[0])
    assert isinstance(outcome, Published)
    assert outcome.receipt.remote_id == POST_ID
    assert outcome.receipt.url == f"https://weibo.com/{UID}/{encode_short_id(POST_ID)}"
    assert outcome.receipt.published_at == MADE
    assert len(desk.requests) == 1


async def test_share_with_picture_golden(weibo, parcel_of, picture, golden, answer):
    """A picture goes along as the form part `pic`, in the same single call."""
    adapter, desk = weibo
    desk.router.post(SHARE).mock(return_value=answer("weibo/share"))
    outcome = await adapter.publish(parcel_of("weibo", text=TEXT, link=LINK, pictures=(picture,)))
    golden("weibo/share_picture", desk.requests[0])
    assert isinstance(outcome, Published)


async def test_timeline_golden(weibo, parcel, golden, answer):
    """A look lists the newest posts without a lower bound, and finds ours by the address behind its short link."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=answer("weibo/timeline"))
    finding = await adapter.find_post(parcel)
    golden("weibo/timeline", desk.requests[0])
    assert isinstance(finding, Published)
    assert finding.receipt.remote_id == POST_ID


async def test_show_golden(weibo, golden, answer):
    """A ticket that is a plain number reads that very post."""
    adapter, desk = weibo
    desk.router.get(SHOW).mock(return_value=answer("weibo/share"))
    finding = await adapter.check_ticket(Ticket(payload=POST_ID))
    golden("weibo/show", desk.requests[0])
    assert isinstance(finding, Published)


async def test_destroy_golden(weibo, golden, answer):
    """Taking down is one call whose answer is the post taken down, and one read that does not find it any more."""
    adapter, desk = weibo
    desk.router.post(DESTROY).mock(return_value=answer("weibo/share"))
    desk.router.get(SHOW).mock(return_value=NOT_THERE)
    receipt = Published(receipt=_receipt()).receipt
    assert await adapter.retract(receipt) == Deleted()
    golden("weibo/destroy", desk.requests[0])
    golden("weibo/show", desk.requests[1])


@pytest.mark.parametrize(
    ("shown", "reason"),
    [("weibo/share", "weibo_deletion_unconfirmed"), (httpx.Response(500), "server_error")],
)
async def test_a_removal_counts_when_it_was_read_f78(weibo, answer, shown, reason):
    """F78: the answer to a removal is no proof: while a read shows the post, or none can be made, it is not gone."""
    adapter, desk = weibo
    desk.router.post(DESTROY).mock(return_value=answer("weibo/share"))
    desk.router.get(SHOW).mock(return_value=answer(shown) if isinstance(shown, str) else shown)
    assert await adapter.retract(_receipt()) == Unknown(reason=reason)


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_removal_that_finds_no_post_counts_when_it_was_read_f48_f78(weibo, answer, is_live):
    """F48, F78: "no such post", once, ends no retraction: it counts when the read after it says so as well."""
    adapter, desk = weibo
    desk.router.post(DESTROY).mock(return_value=NOT_THERE)
    desk.router.get(SHOW).mock(return_value=answer("weibo/share") if is_live else NOT_THERE)
    assert await adapter.retract(_receipt()) == (Unknown(reason="weibo_deletion_unconfirmed") if is_live else Deleted())


async def test_token_info_golden(weibo, golden, answer):
    """A probe asks whose token it is and how long it lives."""
    adapter, desk = weibo
    desk.router.post(TOKEN_INFO).mock(return_value=answer("weibo/token_info"))
    assert await adapter.check_health() == Healthy(credentials_expire_at=desk.now + timedelta(seconds=157679471))
    golden("weibo/token_info", desk.requests[0])


def _receipt():
    from adapters.weibo.api import make_receipt  # noqa: PLC0415

    return make_receipt(POST_ID, UID, MADE)


async def test_unlisted_code_is_a_doubt_f34(weibo, parcel):
    """F34: a code that is not in the table proves nothing."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(400, json={"error_code": 29999, "error": "?"})
    assert await adapter.publish(parcel) == Unknown(reason="weibo_29999")


@pytest.mark.parametrize(("words", "kind"), [("text not find domain!", Rejected), ("appkey not bind domain!", Blocked)])
async def test_safe_domain(weibo, parcel, words, kind):
    """10017 is the text's fault where the link is missing, and the app's where no domain is approved."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(400, json={"error_code": 10017, "error": words})
    assert isinstance(await adapter.publish(parcel), kind)


async def test_rate_limit_rests_until_the_next_full_hour_f44(weibo, parcel):
    """F44: a full window rests until the next full hour of Beijing's clock; "out of limit" rests a whole hour."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(403, json={"error_code": 10023, "error": "x"})
    outcome = await adapter.publish(parcel)
    assert outcome == RateLimited(code="weibo_10023", until=datetime(2026, 11, 24, 5, tzinfo=UTC))
    desk.router.post(SHARE).respond(400, json={"error_code": 20016, "error": "x"})
    assert (await adapter.publish(parcel)).until == desk.now + timedelta(hours=1)
    assert get_next_full_hour(desk.now) > desk.now


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
async def test_too_many_requests_f26_f27(weibo, parcel, header, until):
    """F26, F27: a 429 rests as long as Retry-After says; a past, senseless or missing one names no time."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(429, headers=header, text="slow down")
    expected = desk.now + until if until else None
    assert await adapter.publish(parcel) == RateLimited(code="weibo_429", until=expected)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(httpx.Response(503, json={"error_code": 10002}), "server_error", id="F28-server-error"),
        pytest.param(httpx.Response(502, html="<html>"), "server_error", id="F29-gateway-page"),
        pytest.param(httpx.Response(200, html="<html>"), "bad_response", id="F30-html"),
        pytest.param(httpx.Response(200, content=b'{"id": 5'), "bad_response", id="F31-bad-json"),
        pytest.param(httpx.Response(200, json=[1]), "bad_response", id="F31-no-object"),
        pytest.param(httpx.Response(403, html="<html>"), "bad_response", id="F29-forbidden-page"),
        pytest.param(httpx.Response(200, json={"user": {"idstr": UID}}), "weibo_no_id", id="F33-no-id"),
        pytest.param(httpx.Response(200, json={"idstr": POST_ID}), "weibo_no_id", id="F33-no-user"),
        pytest.param(httpx.Response(302, headers={"location": "https://x/"}), "redirected", id="F35-redirect"),
    ],
)
async def test_anything_but_a_clear_answer_is_a_doubt(weibo, parcel, reply, reason):
    """F28 to F37: an unclear answer to the creating call is Unknown, after one call and no more."""
    adapter, desk = weibo
    desk.router.post(SHARE).mock(return_value=reply)
    assert await adapter.publish(parcel) == Unknown(reason=reason)
    assert len(desk.requests) == 1


@pytest.mark.parametrize("code", [20017, 20019, 20111])
async def test_words_said_to_be_there_already_f37(weibo, parcel, code):
    """F37: such an answer is a doubt that nothing may be sent after, and names itself."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(400, json={"error_code": code})
    assert await adapter.publish(parcel) == Unknown(reason=f"weibo_{code}", is_duplicate=True)


async def test_wrong_account_f38(weibo, parcel):
    """F38: an answer in another account's name stops the account."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(200, json=status(POST_ID, TEXT, uid="1999999999"))
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Blocked)
    assert outcome.hold_reason is HoldReason.WRONG_ACCOUNT
    assert outcome.reason == make_receipt(POST_ID, "1999999999", desk.now).url


async def test_nothing_is_sent_to_weibo_without_a_public_address(bench, parcel):
    """Weibo requires it for every post: without it a person decides, and no call is made."""
    desk = bench({"access_token": "t"})
    outcome = await WEIBO.create(account(public_ip=None), desk.kit()).publish(parcel)
    assert outcome == Blocked(code="weibo_no_public_ip", reason=account().id, hold_reason=HoldReason.PERMISSION)
    assert desk.requests == []


async def test_slow_server_is_followed_up_f39(weibo, parcel):
    """F39: 20032 is submitted; its ticket alone suffices to find the post later, and absence is reported as such."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(200, json={"error_code": 20032, "error": "Update success, while server slow"})
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Submitted)
    assert outcome.check_again_at == desk.now + timedelta(minutes=2)
    desk.router.get(TIMELINE).mock(side_effect=[listing(OLD), listing(status(POST_ID, TEXT), OLD)])
    assert await adapter.check_ticket(outcome.ticket) == NotFound(covered_since=parcel.baseline.taken_at)
    assert isinstance(await adapter.check_ticket(outcome.ticket), Published)
    assert desk.failpoints == []


async def test_token_refused_f40(weibo, parcel):
    """F40: a refused token is named as such, and nothing is repeated."""
    adapter, desk = weibo
    desk.router.post(SHARE).respond(403, json={"error_code": 21327, "error": "expired_token"})
    assert await adapter.publish(parcel) == CredentialExpired(reason="weibo_21327")
    desk.secret.clear()
    assert await adapter.publish(parcel) == CredentialExpired(reason="weibo_no_token")
    assert len(desk.requests) == 1


async def test_not_sent_passes_through_f19(weibo, parcel):
    """F19: proof of non-sending reaches the core as it is."""
    adapter, desk = weibo
    desk.router.post(SHARE).mock(side_effect=httpx.ConnectError("refused"))
    assert await adapter.publish(parcel) == NotSent(reason="connect_failed")


# --- looks ---


async def test_lost_reply_is_found_f24(weibo, parcel):
    """F24: the post of a lost reply is found by its marker, however the platform wrote it."""
    adapter, desk = weibo
    rewritten = "警惕退款客服诈骗 编号 k7qm - 4r2t http://t.cn/A6abCDeF"
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, rewritten), OLD))
    finding = await adapter.find_post(parcel)
    assert isinstance(finding, Published)
    assert finding.receipt.remote_id == POST_ID


async def test_the_address_alone_does_not_verify_the_words_f54(weibo, parcel):
    """F54: a post known by the address behind its link alone is ours, but its words were not seen."""
    adapter, desk = weibo
    link = [{"url_short": "http://t.cn/A6abCDeF", "url_ori": LINK}]
    garbled = status(POST_ID, "内容已被调整 http://t.cn/A6abCDeF", url_objects=link)
    desk.router.get(TIMELINE).mock(side_effect=[listing(garbled, OLD), listing(status(POST_ID, TEXT), OLD)])
    findings = [await adapter.find_post(parcel) for _ in range(2)]
    assert [finding.is_text_confirmed for finding in findings] == [False, True]


async def test_absence_needs_a_list_that_reaches_back_f53(weibo, parcel):
    """F53: five newer posts prove nothing, nor will later lists; one older than the baseline makes a look complete."""
    adapter, desk = weibo
    newer = [status(str(int(POST_ID) + 9 - n), f"别的{n}") for n in range(5)]
    desk.router.get(TIMELINE).mock(side_effect=[listing(*newer), listing(*newer[:4], OLD)])
    assert await adapter.find_post(parcel) == Unknown(reason="weibo_list_too_short", is_beyond_list=True)
    assert await adapter.find_post(parcel) == NotFound(covered_since=parcel.baseline.taken_at)


async def test_newest_known_id_bounds_a_look(weibo, parcel):
    """A post known before the call marks the end of the search, whatever its time says."""
    adapter, desk = weibo
    known = status("5316149214569001", "刚才的", MADE)
    desk.router.get(TIMELINE).mock(return_value=listing(known))
    before = replace(parcel, baseline=Baseline(newest_id="5316149214569001", taken_at=parcel.baseline.taken_at))
    assert isinstance(await adapter.find_post(before), NotFound)
    assert await adapter.find_post(parcel) == Unknown(reason="weibo_list_too_short")


@pytest.mark.parametrize(
    ("entries", "total"),
    [
        pytest.param([], 0, id="empty"),
        pytest.param([status(str(int(POST_ID) + n), "别的") for n in (9, 8, 7, 6)], 500, id="cut"),
        pytest.param([OLD, status(POST_ID, "别的")], 500, id="oldest-first"),
        pytest.param([OLD, *[status(str(int(POST_ID) + n), "别的") for n in (4, 3)]], 500, id="pinned-first"),
        pytest.param([*(status(str(int(POST_ID) + n), "别的") for n in (9, 5, 7)), OLD], 500, id="shuffled"),
    ],
)
async def test_lists_that_prove_nothing_f51_f53(weibo, parcel, entries, total):
    """F51, F53: an empty, reversed, shuffled or cut list is no absence."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=listing(*entries, total=total))
    assert await adapter.find_post(parcel) == Unknown(reason="weibo_list_too_short")


async def test_whole_small_account_is_complete(weibo, parcel):
    """A list that holds all the posts an account has is complete, though none is older than the baseline."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, "别的"), total=1))
    assert await adapter.find_post(parcel) == NotFound(covered_since=parcel.baseline.taken_at)


async def test_same_words_without_marker_f56(weibo, parcel):
    """F56: a newer post with our words but not our marker is a likeness, never ours."""
    adapter, desk = weibo
    by_hand = "【警惕“退款客服”诈骗】不转账、不透露验证码。编号 http://t.cn/A6abCDeF"
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, by_hand), OLD))
    assert await adapter.find_post(parcel) == PossibleMatch(
        remote_id=POST_ID, url=f"https://weibo.com/{UID}/{encode_short_id(POST_ID)}"
    )


@pytest.mark.parametrize(
    "shown", ["【警惕“退款客服”诈骗】", "【警惕“退款…", "【警惕“退款客服”诈骗】不转… 全文：http://t.cn/A6abCDeF", "…"]
)
async def test_a_shortened_text_goes_to_a_person_f54(weibo, parcel, shown):
    """F54: a list that shows the beginning of our words alone, its marker cut off, is no absence."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, shown), OLD))
    assert isinstance(await adapter.find_post(parcel), PossibleMatch)


@pytest.mark.parametrize("shown", ["【警惕“退款客服”诈骗】别的话", "【警惕“退款理赔…", "【警惕"])
async def test_a_common_beginning_is_no_likeness_f55(weibo, parcel, shown):
    """F55: a post that goes on differently within what is shown is not ours, nor is one of too few words."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, shown), OLD))
    assert isinstance(await adapter.find_post(parcel), NotFound)


async def test_a_list_that_shows_posts_twice_f53(weibo, parcel):
    """F53: ours shown twice is found once; an entry that takes another's place makes no list whole."""
    adapter, desk = weibo
    ours, other = status(POST_ID, TEXT), status(str(int(POST_ID) + 1), "别的")
    desk.router.get(TIMELINE).mock(return_value=listing(ours, ours, OLD))
    finding = await adapter.find_post(parcel)
    assert (finding.receipt.remote_id, finding.is_text_confirmed) == (POST_ID, True)
    newest = status(str(int(POST_ID) + 2), "别的")
    for entries in ((newest, other, other, OLD), (other, OLD, OLD)):
        desk.router.get(TIMELINE).mock(return_value=listing(*entries, total=len(entries)))
        assert await adapter.find_post(parcel) == Unknown(reason="weibo_list_too_short")
    desk.router.get(TIMELINE).mock(return_value=listing(other, other, total=2))
    assert await adapter.find_post(parcel) == Unknown(reason="weibo_list_too_short")


async def test_a_pinned_post_may_come_twice_f53(weibo, parcel):
    """F53: an account's pinned post stands on top and in its own place; the rest still reaches back."""
    adapter, desk = weibo
    pinned, newer = (status(str(int(POST_ID) + number), "别的") for number in (3, 7))
    desk.router.get(TIMELINE).mock(return_value=listing(pinned, newer, pinned, OLD))
    assert await adapter.find_post(parcel) == NotFound(covered_since=parcel.baseline.taken_at)


async def test_what_belongs_to_others_is_not_ours_f55(weibo, parcel):
    """F55: the same words of an earlier time, or of another delivery, are no match."""
    adapter, desk = weibo
    words = TEXT.replace("K7QM-4R2T", "")
    early = status("5316149214569000", words, MADE - timedelta(hours=3))
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, TEXT), early))
    owned = replace(parcel, owned_ids=frozenset({POST_ID}))
    assert await adapter.find_post(owned) == NotFound(covered_since=parcel.baseline.taken_at)


async def test_marker_on_an_older_post_goes_to_a_person(weibo, parcel):
    """Our marker on a post from before the call cannot be this attempt's: a person must look."""
    adapter, desk = weibo
    desk.router.get(TIMELINE).mock(return_value=listing(status(POST_ID, TEXT, MADE - timedelta(hours=2))))
    assert isinstance(await adapter.find_post(parcel), PossibleMatch)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (listing(status(POST_ID, TEXT, uid="1999999999"), OLD), "weibo_wrong_account"),
        (httpx.Response(403, json={"error_code": 10024, "error": "x"}), "weibo_10024"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(502), "server_error"),
        (httpx.Response(200, json={"statuses": None}), "bad_response"),
        (httpx.Response(200, json={"statuses": ["x"]}), "bad_response"),
        (httpx.Response(200, json={"statuses": [{"text": "x"}]}), "weibo_no_id"),
        (httpx.ReadTimeout("x"), "timeout"),
    ],
)
async def test_list_that_cannot_be_read_f52(weibo, parcel, reply, reason):
    """F52: an unreadable list, or somebody else's, is never absence."""
    adapter, desk = weibo
    if isinstance(reply, Exception):
        desk.router.get(TIMELINE).mock(side_effect=reply)
    else:
        desk.router.get(TIMELINE).mock(return_value=reply)
    assert await adapter.find_post(parcel) == Unknown(reason=reason)


# --- taking down, probing ---


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (httpx.Response(400, json={"error_code": 20102, "error": "x"}), Rejected(code="weibo_20102", reason="x")),
        (httpx.Response(403, json={"error_code": 10014, "error": "x"}), Rejected(code="weibo_10014", reason="x")),
        (httpx.Response(403, json={"error_code": 10024, "error": "x"}), Unknown(reason="weibo_10024")),
        (httpx.Response(400, json={"error_code": 29999, "error": "x"}), Unknown(reason="weibo_29999")),
        (httpx.Response(200, json=status("1", "x")), Unknown(reason="weibo_no_id")),
        (httpx.Response(500), Unknown(reason="server_error")),
    ],
)
async def test_retract_f78(weibo, reply, expected):
    """F78: a response that deletes nothing leaves the post as it was, and is reported as such."""
    adapter, desk = weibo
    desk.router.post(DESTROY).mock(return_value=reply)
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
    """F43: the health check distinguishes a working token, an expired one, another account's, and no knowledge."""
    adapter, desk = weibo
    desk.router.post(TOKEN_INFO).respond(200, json=body)
    assert isinstance(await adapter.check_health(), expected)


async def test_deleted_post_is_gone_f48(weibo):
    """F48: a post that was seen and is not there any more is gone; a failed read is not."""
    adapter, desk = weibo
    replies = [httpx.Response(400, json={"error_code": 20101}), httpx.Response(403, json={"error_code": 10024})]
    desk.router.get(SHOW).mock(side_effect=replies)
    assert await adapter.check_ticket(Ticket(payload=POST_ID)) == Deleted()
    assert await adapter.check_ticket(Ticket(payload=POST_ID)) == Unknown(reason="weibo_10024")


async def test_base_url_replaces_the_host(bench, parcel):
    """Where a base address is given, no call goes to the platform's own host."""
    desk = bench({"access_token": "t"})
    adapter = WEIBO.create(account(base_url="http://127.0.0.1:8710/", public_ip=None), desk.kit())
    desk.router.post("http://127.0.0.1:8710/2/statuses/share.json").respond(200, json=status(POST_ID, TEXT))
    assert isinstance(await adapter.publish(parcel), Published)
    assert b"rip=" not in desk.requests[0].content


# --- checking, addresses, declared facts ---


def codes_of(problems):
    return {problem.code for problem in problems}


async def test_check_names_what_weibo_refuses_f76(weibo, parcel, picture):
    """F76: length, missing or clinging link, pictures and topic marks are found before anything is sent.

    A person who posts manually needs no link, and may put it anywhere.
    """
    adapter, _ = weibo
    good = parcel.rendered
    assert WEIBO.validate(adapter.account, good) == ()
    bad = {
        "weibo_text_too_long": replace(good, text="雨" * 130 + f" {LINK}"),
        "weibo_no_link_template": replace(good, text="没有链接"),
        "weibo_link_not_apart": replace(good, text=f"见{LINK}详情"),
        "weibo_link_not_ascii": replace(good, text=f"见{LINK}/通报", link=f"{LINK}/通报"),
        "weibo_link_elsewhere": replace(
            good, text="见https://www.example.gov.cn/x", link="https://www.example.gov.cn/x"
        ),
        "weibo_too_many_images": replace(good, images=(picture, picture)),
        "weibo_image_type": replace(good, images=(replace(picture, media_type="image/bmp"),)),
        "weibo_image_size": replace(good, images=(replace(picture, size=5 * 1024 * 1024),)),
        "weibo_hashtag_dropped": replace(good, text=f"#防诈骗# {LINK}"),
    }
    for code, rendition in bad.items():
        problems = WEIBO.validate(adapter.account, rendition)
        assert codes_of(problems) == {code}
        assert problems[0].is_error == (code != "weibo_hashtag_dropped")
        assert code in load_catalogue()
    assert codes_of(WEIBO.validate(adapter.account, replace(good, link=None))) == {"weibo_no_link_template"}
    by_hand = account(mode=Mode.ASSISTED)
    for code in ("weibo_no_link_template", "weibo_link_not_apart"):
        assert WEIBO.validate(by_hand, bad[code]) == ()
    assert codes_of(WEIBO.validate(by_hand, bad["weibo_text_too_long"])) == {"weibo_text_too_long"}


async def test_two_pictures_are_never_sent_as_one(weibo, parcel_of, picture):
    """A parcel with more pictures than the call takes is refused, not thinned out."""
    adapter, desk = weibo
    outcome = await adapter.publish(parcel_of("weibo", text=TEXT, link=LINK, pictures=(picture, picture)))
    assert isinstance(outcome, Rejected)
    assert desk.requests == []


@pytest.mark.parametrize(
    ("mid", "short"),
    [("201110410216293360", "wr4mOFqpbO"), ("4154099588849643", "FmHnoB8cb"), ("5000000000000001", "O00000001")],
)
def test_address_of_a_post(mid, short):
    """A post's number is spelt in its address in groups of seven, each but the first padded."""
    assert encode_short_id(mid) == short


def test_time_in_a_number():
    """A post's number holds the second at which it was made."""
    assert decode_created_at("3504803600502730") == datetime(2012, 10, 24, 15, 49, 17, tzinfo=UTC)


def test_declared_patience_covers_the_platforms_delays():
    """The settle time outlasts the longest late act plus the longest listing lag, and the waits are in order."""
    traits = WEIBO.capabilities(account())
    timing = WEIBO.defaults.timing
    assert timing.has_valid_order
    assert traits.server_delay + traits.listing_lag <= timing.visibility_window
    assert traits.can_resend


def test_ticket_is_json_without_words_of_the_post(parcel):
    """A ticket holds what a later look needs, and nothing of the text."""
    from adapters.weibo.api import encode_ticket  # noqa: PLC0415

    facts = json.loads(encode_ticket(parcel, is_article=False).payload)
    assert set(facts) == {"marker", "newest_id", "since"}
