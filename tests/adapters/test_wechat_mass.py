"""Mass sends on WeChat: one key, one call, read by its id, its page deleted."""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from adapters.wechat import WECHAT
from adapters.wechat.mass_send import MassSendId, parse_mass_send_id
from publisher.domain.account import AccountId
from publisher.domain.post import Baseline, OccurrenceKey, PostId, derive_marker
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    NotFound,
    NotSent,
    Published,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from tests.adapters.fakes_wechat import (
    NOW,
    SINCE,
    WeChatScene,
    article,
    drafted,
    error,
    other,
    page,
    send_request,
)

SEND, STATUS, DELETE = "message/mass/sendall", "message/mass/get", "message/mass/delete"
NAME = "mass-3147400001-2455800001"
TICKET = Ticket(payload=json.dumps({"name": NAME, "delivery": 7, "polls": 0}))
RECEIPT = Receipt(remote_id=NAME, url="", published_at=NOW)


@pytest.fixture
def scene():
    made = WeChatScene(profile="mass")
    made.works()
    return made


def _status(word):
    return {"msg_id": 3147400001, "msg_status": word}


def _urgent(**changes):
    return send_request(is_urgent=True, **changes)


async def test_an_urgent_post_is_a_mass_send(scene):
    """The draft of an urgent post is sent to all followers in one call under a key.

    The call is followed up by the returned id.
    """
    outcome = await scene.adapter.publish(_urgent())
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.payload) == {
        "name": NAME,
        "delivery": 7,
        "polls": 0,
    }
    assert outcome.check_again_at == NOW + timedelta(seconds=15)
    [body] = scene.bodies(SEND)
    assert body["filter"] == {"is_to_all": True}
    assert body["mpnews"] == {"media_id": "DRAFT"}
    assert len(body["clientmsgid"]) == 32
    assert not scene.asked("freepublish/submit")


async def test_a_tag_narrows_the_mass_send(scene):
    """Where the account names a tag, only its followers receive the mass send."""
    scene.options = {"tag_id": "2"}
    assert isinstance(await scene.adapter.publish(_urgent()), Submitted)
    assert scene.bodies(SEND)[0]["filter"] == {"is_to_all": False, "tag_id": 2}


@pytest.mark.parametrize(
    ("profile", "is_urgent"), [("mass", False), ("publish", True), (None, True)]
)
async def test_followers_are_notified_only_of_urgent_posts(scene, profile, is_urgent):
    """A post that is not urgent is published without a notification.

    So is a post of an account without mass sends.
    """
    scene.profile = profile
    method = WECHAT.call_method(scene.adapter.account, article(), is_urgent=is_urgent)
    assert isinstance(
        await scene.adapter.publish(send_request(is_urgent=is_urgent, method=method)),
        Submitted,
    )
    assert len(scene.asked("freepublish/submit")) == 1
    assert not scene.asked(SEND)


@pytest.mark.parametrize(
    ("profile", "notifies"), [("mass", True), ("publish", False), (None, False)]
)
def test_an_account_says_whether_it_notifies(scene, profile, notifies):
    """Followers are notified of an urgent post only where the profile allows mass sends.

    The capabilities say so.
    """
    scene.profile = profile
    assert WECHAT.capabilities(scene.adapter.account).notifies_followers is notifies


@pytest.mark.parametrize(
    ("profile", "options", "code"),
    [
        ("share", {}, "wechat_profile_unknown"),
        ("mass", {"tag_id": "beijing"}, "wechat_tag_invalid"),
        ("mass", {"tag_id": "²"}, "wechat_tag_invalid"),
        ("mass", {"tag_id": ""}, "wechat_tag_invalid"),
    ],
)
async def test_a_wrong_setting_is_reported_and_stops_the_account(
    scene, profile, options, code
):
    """The check reports an invalid profile or tag, and nothing is sent with it."""
    scene.profile, scene.options = profile, options
    assert [
        problem.code for problem in WECHAT.check_account(scene.adapter.account)
    ] == [code]
    outcome = await scene.adapter.publish(_urgent())
    assert outcome == Blocked(code=code, reason="beijing-wechat")
    assert not scene.router.calls


async def test_the_key_is_noted_before_the_call(scene):
    """A repeat within WeChat's memory uses the first attempt's key, after any outcome."""
    scene.answers(SEND, httpx.ReadTimeout("late"))
    assert await scene.adapter.publish(_urgent()) == Unknown(reason="timeout")
    scene.now = NOW + timedelta(hours=22)
    await scene.adapter.publish(_urgent(attempt=2))
    first, second = scene.bodies(SEND)
    assert first["clientmsgid"] == second["clientmsgid"]
    assert json.loads(scene.state.values["mass:7"])["key"] == first["clientmsgid"]


async def test_a_key_that_wechat_forgets_is_not_used_again(scene):
    """After 23 hours a new key is made.

    The draft that still exists then protects from a second mass send.
    """
    scene.answers(SEND, error(45028))
    await scene.adapter.publish(_urgent())
    scene.now = NOW + timedelta(hours=23)
    await scene.adapter.publish(_urgent(attempt=2))
    first, second = scene.bodies(SEND)
    assert first["clientmsgid"] != second["clientmsgid"]


async def test_f87_a_key_that_the_database_has_lost_is_made_again(scene):
    """F85, F87: a key that the database has lost is made again.

    After a failover or a restore that lost key and draft, WeChat still recognises the repeat for a
    day.
    """
    await scene.adapter.publish(_urgent())
    scene.state.values.clear()
    assert await scene.adapter.find_post(_urgent()) == NotFound(
        covered_since=SINCE, can_resend=True
    )
    await scene.adapter.publish(_urgent(attempt=2, delivery=9))
    assert len({body["clientmsgid"] for body in scene.bodies(SEND)}) == 1
    scene.state.values.clear()
    scene.now = NOW + timedelta(hours=23)
    assert await scene.adapter.find_post(_urgent()) == NotFound(
        covered_since=SINCE, can_resend=False
    )


@pytest.mark.parametrize("profile", ["mass", "publish"])
@pytest.mark.parametrize("is_urgent", [True, False])
@pytest.mark.parametrize(
    ("method", "can_resend"), [("mass", True), ("freepublish", False), ("", False)]
)
async def test_f99_a_second_call_is_judged_by_how_the_first_was_made(
    scene, profile, is_urgent, method, can_resend
):
    """F99: a key protects a mass send.

    The post's present urgency and the account's present profile do not matter.
    """
    await scene.adapter.publish(send_request(is_urgent=True, method=method))
    scene.profile = profile
    asked = send_request(is_urgent=is_urgent, method=method)
    assert await scene.adapter.find_post(asked) == NotFound(
        covered_since=SINCE, can_resend=can_resend
    )
    scene.answers("draft/get", error(40007))
    gone = Unknown(reason="wechat_draft_consumed", is_beyond_list=can_resend)
    assert await scene.adapter.find_post(asked) == gone


async def test_f99_a_second_call_has_the_key_of_the_first_or_does_not_follow(scene):
    """F99: a second mass send has the key of the first or is not made.

    Once WeChat may have forgotten the first key, a second mass send would not be recognised as one.
    """
    scene.answers(SEND, httpx.ReadTimeout("late"))
    await scene.adapter.publish(_urgent())
    scene.now = NOW + timedelta(hours=22)
    assert await scene.adapter.find_post(_urgent()) == NotFound(
        covered_since=SINCE, can_resend=True
    )
    scene.now = NOW + timedelta(hours=23)
    assert await scene.adapter.find_post(_urgent()) == NotFound(
        covered_since=SINCE, can_resend=False
    )


@pytest.mark.parametrize(
    ("profile", "is_urgent", "method"),
    [
        ("mass", True, "mass"),
        ("mass", False, "freepublish"),
        ("publish", True, "freepublish"),
        (None, True, "freepublish"),
    ],
)
def test_the_method_of_a_call_follows_from_profile_and_urgency(
    scene, profile, is_urgent, method
):
    """The call stored with an attempt is the call that is made then."""
    scene.profile = profile
    assert (
        WECHAT.call_method(scene.adapter.account, article(), is_urgent=is_urgent)
        == method
    )


async def test_deliveries_have_different_keys(scene):
    """Two deliveries never share a key, or the second would be taken for the first."""
    key = OccurrenceKey(post=PostId("other"), occurrence="once")
    rendered = replace(
        article(), marker=derive_marker(key, AccountId("beijing-wechat"))
    )
    await scene.adapter.publish(_urgent())
    await scene.adapter.publish(_urgent(delivery=8, rendered=rendered))
    assert len({body["clientmsgid"] for body in scene.bodies(SEND)}) == 2


async def test_a_known_key_leads_to_the_first_mass_send_f37(scene):
    """F37: where WeChat knows the key and names the first mass send, that one is followed up."""
    scene.answers(SEND, error(45065) | {"msg_id": 3147400002})
    outcome = await scene.adapter.publish(_urgent())
    assert isinstance(outcome, Submitted)
    assert json.loads(outcome.ticket.payload)["name"] == "mass-3147400002"


@pytest.mark.parametrize(
    "more", [{}, {"msg_id": 0}, {"msg_id": "soon"}, {"msg_id": "²"}, {"msg_id": None}]
)
async def test_a_known_key_without_a_number_is_unknown_f37(scene, more):
    """F37: where WeChat knows the key but names no mass send, nothing is sent again.

    A copy may be published.
    """
    scene.answers(SEND, error(45065) | more)
    assert await scene.adapter.publish(_urgent()) == Unknown(
        reason="wechat_45065", is_duplicate=True
    )


async def test_a_quota_that_is_used_up(scene):
    """Without mass sends left a person is alerted.

    Nothing is published silently, and routine posts go on.
    """
    scene.answers(SEND, error(45028))
    outcome = await scene.adapter.publish(_urgent())
    assert isinstance(outcome, Rejected)
    assert outcome.code == "wechat_45028"
    assert not scene.asked("freepublish/submit")
    assert isinstance(await scene.adapter.publish(send_request(delivery=8)), Submitted)


async def test_a_refused_second_mass_send_is_unknown_f25(scene):
    """F25: refused on a second attempt, the first one may have been published."""
    scene.answers(SEND, error(45159))
    assert await scene.adapter.publish(_urgent(attempt=2)) == Unknown(
        reason="wechat_45159"
    )


async def test_a_consumed_draft_is_not_mass_sent_again_f24(scene):
    """F24: a draft that left the box was sent; no second call follows."""
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("draft/get", error(40007))
    assert await scene.adapter.publish(_urgent(attempt=2)) == Unknown(
        reason="wechat_draft_consumed", is_duplicate=True
    )
    assert not scene.asked(SEND)


async def test_a_token_refused_on_the_mass_send_f40(scene):
    """F40: the token is renewed, and the next attempt sends the same draft under the same key."""
    scene.answers("stable_token", {"access_token": "T2", "expires_in": 7200})
    scene.answers(SEND, error(42001), {"errcode": 0, "msg_id": 1})
    assert await scene.adapter.publish(_urgent()) == CredentialExpired(
        reason="wechat_42001"
    )
    assert isinstance(await scene.adapter.publish(_urgent(attempt=2)), Submitted)
    assert [request.url.params["access_token"] for request in scene.asked(SEND)] == [
        "T1",
        "T2",
    ]
    assert len({body["clientmsgid"] for body in scene.bodies(SEND)}) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.ConnectError("refused"), NotSent(reason="connect_failed")),
        (
            httpx.Response(502, html="<h1>Bad Gateway</h1>"),
            Unknown(reason="server_error"),
        ),
        (
            httpx.Response(200, text='{"errcode":0,"msg_'),
            Unknown(reason="wechat_unreadable"),
        ),
        ({"errcode": 0, "errmsg": "ok"}, Unknown(reason="wechat_incomplete")),
        ({"errcode": 0, "msg_id": "soon"}, Unknown(reason="wechat_incomplete")),
        (error(99999), Unknown(reason="wechat_99999")),
    ],
)
async def test_an_unclear_answer_to_a_mass_send_is_unknown(scene, answer, outcome):
    """F24 F28 F30 F31 F33: without a complete answer a mass send is unknown.

    It is made exactly once.
    """
    scene.answers(SEND, answer)
    assert await scene.adapter.publish(_urgent()) == outcome
    assert len(scene.asked(SEND)) == 1


@pytest.mark.parametrize(
    ("word", "finding"),
    [
        ("SEND_SUCCESS", Published(receipt=RECEIPT)),
        ("SEND_FAIL", Rejected(code="wechat_mass_failed", reason="3147400001")),
        ("DELETE", Deleted()),
        ("SEND_LATER", Unknown(reason="wechat_unknown_status")),
    ],
)
async def test_each_status_of_a_mass_send(scene, word, finding):
    """F45 F46 F48: each status of a mass send has its outcome.

    An unknown status proves nothing.
    """
    scene.answers(STATUS, _status(word))
    assert await scene.adapter.check_ticket(TICKET) == finding
    assert scene.bodies(STATUS) == [{"msg_id": "3147400001"}]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("20008", "wechat_mass_20008"),
        ("40002", "wechat_mass_40002"),
        ("20431", "wechat_mass_failed"),
    ],
)
async def test_why_a_mass_send_failed_f46(scene, said, code):
    """F46: a failure that was read has its cause from the callback.

    A callback alone decides nothing.
    """
    scene.state.values["said:mass-3147400001"] = said
    scene.answers(STATUS, _status("SEND_FAIL"))
    assert await scene.adapter.check_ticket(TICKET) == Rejected(
        code=code, reason="3147400001"
    )
    scene.answers(STATUS, _status("SEND_SUCCESS"))
    assert await scene.adapter.check_ticket(TICKET) == Published(receipt=RECEIPT)


async def test_a_mass_send_in_progress_is_read_with_growing_pauses_f47(scene):
    """F47: an unfinished mass send stays submitted and is read with growing pauses.

    It is in progress, or waits for the administrator.
    """
    scene.answers(STATUS, _status("SENDING"))
    first = await scene.adapter.check_ticket(TICKET)
    assert isinstance(first, Submitted)
    second = await scene.adapter.check_ticket(first.ticket)
    assert isinstance(second, Submitted)
    assert first.check_again_at < second.check_again_at


@pytest.mark.parametrize(
    "answer", [error(40059), error(45009), httpx.Response(502), {"msg_id": 1}]
)
async def test_a_status_that_cannot_be_read_f52(scene, answer):
    """F52: a status that cannot be read decides nothing."""
    scene.answers(STATUS, answer)
    assert isinstance(await scene.adapter.check_ticket(TICKET), Unknown)


async def test_a_published_mass_send_is_found_by_its_number(scene):
    """No list shows a mass send: a search for a published one reads its status.

    It never calls the mass send missing.
    """
    scene.answers(
        STATUS, _status("SEND_SUCCESS"), _status("SEND_SUCCESS"), _status("DELETE")
    )
    await scene.adapter.check_ticket(TICKET)
    assert await scene.adapter.find_post(_urgent()) == Published(receipt=RECEIPT)
    assert await scene.adapter.find_post(_urgent()) == Deleted()
    assert not scene.asked("freepublish/batchget")


async def test_a_lost_answer_of_a_mass_send_f24(scene):
    """F24: with the draft gone from the box, a mass send with a lost answer stays unknown.

    It may be published, and no list shows it.
    """
    scene.answers(SEND, httpx.ReadTimeout("late"))
    await scene.adapter.publish(_urgent())
    # the draft still exists
    assert await scene.adapter.find_post(_urgent()) == NotFound(covered_since=SINCE)
    scene.answers("draft/get", error(40007))
    assert await scene.adapter.find_post(_urgent()) == Unknown(
        reason="wechat_draft_consumed", is_beyond_list=True
    )


async def test_a_mass_send_is_no_baseline_of_the_list(scene):
    """F52: a newest post that is a mass send leaves the list of articles as complete.

    No list shows a mass send.
    """
    scene.answers("freepublish/batchget", page(other("A2")))
    looked_for = send_request(baseline=Baseline(newest_id=NAME, taken_at=SINCE))
    assert await scene.adapter.find_post(looked_for) == NotFound(
        covered_since=SINCE, can_resend=False
    )


async def test_a_mass_send_is_deleted(scene):
    """A mass send is deleted as a whole, and counts as deleted when its status says so."""
    scene.answers(STATUS, _status("DELETE"))
    scene.answers(DELETE, {"errcode": 0, "errmsg": "ok"})
    assert await scene.adapter.retract(RECEIPT) == Deleted()
    assert scene.bodies(DELETE) == [{"msg_id": 3147400001, "article_idx": 0}]


async def test_a_stray_status_skips_no_deletion_of_a_mass_send_f48_f78(scene):
    """F48, F78: one status that calls a published mass send deleted skips no deletion.

    It neither ends the retraction nor skips the call.
    """
    scene.answers(STATUS, _status("DELETE"), _status("SEND_SUCCESS"))
    scene.answers(DELETE, error(45009))
    assert await scene.adapter.retract(RECEIPT) == Unknown(reason="wechat_45009")
    assert len(scene.asked(DELETE)) == 1


@pytest.mark.parametrize(
    ("answer", "after", "removal"),
    [
        ({"errcode": 0}, "SEND_SUCCESS", Unknown(reason="wechat_deletion_unconfirmed")),
        (error(40060), "DELETE", Deleted()),
        (error(40060), "SEND_SUCCESS", Unknown(reason="wechat_deletion_unconfirmed")),
        (error(40059), "SEND_SUCCESS", Unknown(reason="wechat_40059")),
        (error(48001), "SEND_SUCCESS", Unknown(reason="wechat_48001")),
        (
            error(40035),
            "SEND_SUCCESS",
            Rejected(code="wechat_40035", reason="said the platform"),
        ),
        ({"errcode": 0}, "STRANGE", Unknown(reason="wechat_unknown_status")),
    ],
)
async def test_a_deletion_is_reported_by_its_status(scene, answer, after, removal):
    """The status after the deletion counts, not the answer to it."""
    scene.answers(STATUS, _status(after))
    scene.answers(DELETE, answer)
    assert await scene.adapter.retract(RECEIPT) == removal


@pytest.mark.parametrize(
    "mass", [MassSendId(msg_id="1"), MassSendId(msg_id="1", data_id="2")]
)
def test_names_are_read_as_they_are_spelled(mass):
    """A mass send's remote id leads back to it."""
    assert parse_mass_send_id(mass.remote_id) == mass


@pytest.mark.parametrize(
    "remote_id",
    [
        "",
        "A1",
        "mass",
        "mass-",
        "mass-x",
        "mass-1-2-3",
        "mass-²",
        "2650100001",
        "by-word-7",
    ],
)
def test_other_ids_are_no_mass_sends(remote_id):
    """An article's id, or anything else, is never taken for a mass send."""
    assert parse_mass_send_id(remote_id) is None
