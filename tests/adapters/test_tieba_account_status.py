"""What the Tieba adapter finds out before it writes: whose session it is, what stands against it, and which forum."""

import httpx
import pytest

from publisher.domain.results import Blocked, Healthy, HoldReason, NotFound, NotSent, Submitted, Unknown
from publisher.i18n import load_catalogue
from tests.adapters.fakes_tieba import (
    ADD,
    DELETE,
    FID,
    FORUM,
    LIST,
    OLD,
    PORTRAIT,
    RECEIPT,
    STANDING,
    TEXT,
    TITLE,
    desk_for,
    opened,
    standing,
    threads,
)

BANNED = Blocked(code="tieba_banned", reason="")
HIDDEN = Blocked(code="tieba_hidden", reason="")
CAPTCHA = Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA)
FOREIGN = Blocked(code="tieba_other_session", reason="tb.1.other", hold_reason=HoldReason.WRONG_ACCOUNT)


@pytest.fixture
def parcel(parcel_of):
    return parcel_of("tieba", text=TEXT, title=TITLE)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(standing(block_stat="2", days_tofree="3"), BANNED, id="banned"),
        pytest.param(standing(hide_stat=1), HIDDEN, id="hidden"),
        pytest.param(standing(vcode_stat="1"), CAPTCHA, id="captcha-on-every-post"),
        pytest.param(standing({"portrait": "tb.1.other"}, vcode_stat="1"), FOREIGN, id="another-session"),
    ],
)
async def test_a_person_sees_to_what_stands_against_the_account_f49(bench, parcel, answer, expected):
    """F49: a ban, hidden posts, a standing captcha or another's session are held before anything is written."""
    adapter, desk = desk_for(bench)
    desk.router.get(STANDING).mock(return_value=answer)
    assert await adapter.publish(parcel) == expected
    assert await adapter.check_health() == expected
    assert all(request.method == "GET" for request in desk.requests)
    assert set(load_catalogue()[expected.code]["hint"]) >= {"zh_CN", "en"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(standing(), id="nothing"),
        pytest.param(standing(block_stat="0", hide_stat=0, vcode_stat=None), id="calm"),
        pytest.param(standing(block_stat="3"), id="a-ban-in-some-forum"),
        pytest.param(standing({"portrait": f"{PORTRAIT}?t=1", "name": "平安发布"}), id="our-own-session"),
        pytest.param(standing({"name": "平安发布"}), id="only-a-name-beside-a-portrait"),
        pytest.param(httpx.Response(200, json={"error_code": 0, "anti": [], "user": None}), id="empty-lists"),
        pytest.param(httpx.Response(200, json={"error_code": "110001"}), id="refused"),
        pytest.param(httpx.Response(200, html="<html>"), id="html"),
        pytest.param(httpx.Response(503), id="server-error"),
    ],
)
async def test_what_says_nothing_holds_nothing_back(bench, parcel, answer):
    """Where nothing is said against the account, or nothing can be read, the thread is opened all the same."""
    adapter, desk = desk_for(bench)
    desk.router.get(STANDING).mock(return_value=answer)
    desk.router.post(ADD).respond(200, json=opened())
    assert isinstance(await adapter.publish(parcel), Submitted)
    assert await adapter.check_health() == Healthy()


async def test_a_user_name_is_compared_with_names(bench):
    """An identity that is a user name is compared with the session's names only."""
    adapter, desk = desk_for(bench, identity="平安发布")
    desk.router.get(STANDING).mock(return_value=standing({"portrait": PORTRAIT, "name": "x", "name_show": "平安发布"}))
    assert await adapter.check_health() == Healthy()
    desk.router.get(STANDING).mock(return_value=standing({"portrait": PORTRAIT, "name": "别人"}))
    assert await adapter.check_health() == Blocked(
        code="tieba_other_session", reason="别人", hold_reason=HoldReason.WRONG_ACCOUNT
    )


@pytest.mark.parametrize(
    "answer", [httpx.Response(502), httpx.Response(200, html="<html>"), httpx.Response(302), httpx.Response(403)]
)
async def test_the_number_that_was_set_steps_in(bench, parcel, answer):
    """Where the forum cannot be looked up, the operator's number is used; without one nothing is sent."""
    adapter, desk = desk_for(bench, options={"forum_id": str(FID)})
    desk.router.get(FORUM).mock(return_value=answer)
    desk.router.post(ADD).respond(200, json=opened())
    desk.router.get(LIST).mock(return_value=threads(OLD))
    assert isinstance(await adapter.publish(parcel), Submitted)
    assert dict(httpx.QueryParams(desk.requests[-1].content.decode()))["fid"] == str(FID)
    assert await adapter.find_post(parcel) == NotFound(covered_since=parcel.baseline.taken_at)
    other, desk = desk_for(bench)
    desk.router.get(FORUM).mock(return_value=answer)
    assert await other.publish(parcel) == NotSent(reason="tieba_not_prepared")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (0, Blocked(code="tieba_no_forum", reason="天气", hold_reason=HoldReason.PERMISSION)),
        (99, Blocked(code="tieba_forum_differs", reason="99", hold_reason=HoldReason.PERMISSION)),
    ],
)
async def test_a_number_that_was_set_never_outvotes_the_platform(bench, parcel, found, expected):
    """A forum that is gone or another one is a person's to see to; until then nothing is written or read."""
    adapter, desk = desk_for(bench, options={"forum_id": str(FID)})
    desk.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": found}})
    assert await adapter.publish(parcel) == expected
    assert await adapter.check_health() == expected
    unreadable = Unknown(reason=expected.code)
    assert [await adapter.find_post(parcel), await adapter.list_recent(), await adapter.retract(RECEIPT)] == [
        unreadable
    ] * 3
    assert not [request for request in desk.requests if str(request.url) in (ADD, DELETE)]
    assert expected.code in load_catalogue()
