"""The checks of the Tieba adapter before it writes.

It checks the session's user, the account's restrictions, and the forum.
"""

from urllib.parse import parse_qsl

import httpx
import pytest

from adapters.tieba import api
from publisher.domain.results import (
    Blocked,
    Healthy,
    HoldReason,
    NotFound,
    NotSent,
    Submitted,
    Unknown,
)
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
    SIGN_IN,
    STANDING,
    TEXT,
    TITLE,
    account_status,
    opened,
    server_for,
    threads,
)

BANNED = Blocked(code="tieba_banned", reason="")
HIDDEN = Blocked(code="tieba_hidden", reason="")
CAPTCHA = Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA)
FOREIGN = Blocked(
    code="tieba_other_session",
    reason="tb.1.other",
    hold_reason=HoldReason.WRONG_SECRET,
)

UNNAMED = Unknown(reason="tieba_session_unnamed")
OURS = Healthy(identity=PORTRAIT)


@pytest.fixture
def send_request(make_request):
    return make_request("tieba", text=TEXT, title=TITLE)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(
            account_status(block_stat="2", days_tofree="3"), BANNED, id="banned"
        ),
        pytest.param(account_status(hide_stat=1), HIDDEN, id="hidden"),
        pytest.param(
            account_status(vcode_stat="1"), CAPTCHA, id="captcha-on-every-post"
        ),
        pytest.param(
            account_status({"portrait": "tb.1.other"}, vcode_stat="1"),
            FOREIGN,
            id="another-session",
        ),
    ],
)
async def test_restrictions_of_the_account_are_held_for_a_person_f49(
    make_server, send_request, answer, expected
):
    """F49: a restriction of the account is held for a person before anything is written.

    It is a ban, hidden posts, an open captcha, or another's session.
    """
    adapter, server = server_for(make_server)
    server.router.get(STANDING).mock(return_value=answer)
    assert await adapter.publish(send_request) == expected
    assert await adapter.check_health() == expected
    assert all(request.method == "GET" for request in server.requests)
    assert set(load_catalogue()[expected.code]["hint"]) >= {"zh_CN", "en"}


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        pytest.param(account_status(), UNNAMED, id="nothing"),
        pytest.param(
            account_status(block_stat="0", hide_stat=0, vcode_stat=None),
            UNNAMED,
            id="calm",
        ),
        pytest.param(
            account_status({"portrait": PORTRAIT}, block_stat="3"),
            OURS,
            id="a-ban-in-some-forum",
        ),
        pytest.param(
            account_status({"portrait": f"{PORTRAIT}?t=1", "name": "平安发布"}),
            OURS,
            id="our-own-session",
        ),
        pytest.param(
            account_status({"name": "平安发布"}),
            UNNAMED,
            id="only-a-name-beside-a-portrait",
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": 0, "anti": [], "user": None}),
            UNNAMED,
            id="empty-lists",
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": "110001"}),
            Unknown(reason="tieba_110001"),
            id="refused",
        ),
        pytest.param(
            httpx.Response(200, html="<html>"),
            Unknown(reason="bad_response"),
            id="html",
        ),
        pytest.param(
            httpx.Response(503), Unknown(reason="server_error"), id="server-error"
        ),
    ],
)
async def test_f98_only_a_session_that_is_named_is_healthy(
    make_server, send_request, answer, health
):
    """F98: an unreadable status stops no thread, but does not name the session's account."""
    adapter, server = server_for(make_server)
    server.router.get(STANDING).mock(return_value=answer)
    server.router.post(SIGN_IN).mock(return_value=account_status())
    server.router.post(ADD).respond(200, json=opened())
    assert isinstance(await adapter.publish(send_request), Submitted)
    assert await adapter.check_health() == health
    assert "tieba_session_unnamed" in load_catalogue()


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        pytest.param(
            account_status({"id": "77", "name": "平安发布", "portrait": PORTRAIT}),
            OURS,
            id="our-own-session",
        ),
        pytest.param(
            account_status({"portrait": "tb.1.other"}), FOREIGN, id="another-session"
        ),
        pytest.param(
            httpx.Response(200, json={"error_code": "1"}),
            Unknown(reason="tieba_1"),
            id="refused",
        ),
        pytest.param(
            httpx.Response(503), Unknown(reason="server_error"), id="server-error"
        ),
    ],
)
async def test_f98_a_session_that_the_site_does_not_name_is_named_by_the_app(
    make_server, answer, health
):
    """F98: a session that the site does not name is named by the app's sign-in.

    The site may say only that somebody is signed in; the app uses the same session.
    """
    adapter, server = server_for(make_server)
    server.router.get(STANDING).mock(return_value=account_status({"is_login": 1}))
    server.router.post(SIGN_IN).mock(return_value=answer)
    assert await adapter.check_health() == health
    form = dict(parse_qsl(server.requests[-1].content.decode()))
    assert form["bdusstoken"]
    assert form["sign"] == api.sign(form, api.APP_SALT)


@pytest.mark.parametrize(
    ("user", "reported"),
    [
        ({"portrait": f"{PORTRAIT}?t=1", "name": "平安发布"}, PORTRAIT),
        ({"name": "平安发布"}, None),
    ],
    ids=["portrait", "name alone"],
)
async def test_the_session_reports_its_portrait_also_to_a_user_name_f97(
    make_server, user, reported
):
    """F97: the session reports its portrait also to a user name.

    By this report, an account by its user name and one by its portrait are known to be the same.
    """
    adapter, server = server_for(make_server, identity="平安发布")
    server.router.get(STANDING).mock(return_value=account_status(user))
    assert await adapter.check_health() == Healthy(identity=reported)


async def test_a_user_name_is_compared_with_names(make_server):
    """An identity that is a user name is compared with the session's names only."""
    adapter, server = server_for(make_server, identity="平安发布")
    server.router.get(STANDING).mock(
        return_value=account_status(
            {"portrait": PORTRAIT, "name": "x", "name_show": "平安发布"}
        )
    )
    assert isinstance(await adapter.check_health(), Healthy)
    server.router.get(STANDING).mock(
        return_value=account_status({"portrait": PORTRAIT, "name": "别人"})
    )
    assert await adapter.check_health() == Blocked(
        code="tieba_other_session", reason="别人", hold_reason=HoldReason.WRONG_SECRET
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(502), "server_error"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(302), "bad_response"),
        (httpx.Response(403), "bad_response"),
    ],
)
async def test_the_configured_number_is_the_fallback(
    make_server, send_request, answer, reason
):
    """Where the forum cannot be looked up, the configured number is used.

    Without a configured number nothing is sent.
    """
    adapter, server = server_for(make_server, options={"forum_id": str(FID)})
    server.router.get(FORUM).mock(return_value=answer)
    server.router.post(ADD).respond(200, json=opened())
    server.router.get(LIST).mock(return_value=threads(OLD))
    assert isinstance(await adapter.publish(send_request), Submitted)
    assert dict(httpx.QueryParams(server.requests[-1].content.decode()))["fid"] == str(
        FID
    )
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    other, server = server_for(make_server)
    server.router.get(FORUM).mock(return_value=answer)
    assert await other.publish(send_request) == NotSent(reason=reason)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            0,
            Blocked(code="tieba_no_forum", reason="天气"),
        ),
        (
            99,
            Blocked(
                code="tieba_forum_differs",
                reason="99",
            ),
        ),
    ],
)
async def test_a_configured_number_never_overrules_the_platform(
    make_server, send_request, found, expected
):
    """A forum that is deleted or different needs a person.

    Until then nothing is written or read.
    """
    adapter, server = server_for(make_server, options={"forum_id": str(FID)})
    server.router.get(FORUM).respond(200, json={"no": 0, "data": {"fid": found}})
    assert await adapter.publish(send_request) == expected
    assert await adapter.check_health() == expected
    unreadable = Unknown(reason=expected.code)
    assert [
        await adapter.find_post(send_request),
        await adapter.list_recent(),
        await adapter.retract(RECEIPT),
    ] == [unreadable] * 3
    assert not [
        request for request in server.requests if str(request.url) in (ADD, DELETE)
    ]
    assert expected.code in load_catalogue()
