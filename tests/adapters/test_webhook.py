"""The webhook adapter: its calls byte by byte, every code of its table, and what its reads prove."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import BUILT_IN_ADAPTERS
from adapters.webhook import WEBHOOK, api
from adapters.webhook.adapter import interpret_refusal
from adapters.webhook.codes import CODES, WebhookErrorClass, to_message_key
from publisher import config
from publisher.contract import HttpResponse
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    Healthy,
    HoldReason,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.i18n import load_catalogue
from tests.adapters.conftest import MARKER, NOON

URL = "https://site.example/hooks"
KEY = "planted-key-1234567890"
TEXT = f"预警提示｜通报编号 {MARKER}\n退款诈骗高发"
POST = {
    "id": "1001", "key": MARKER, "account": "police-site", "state": "live", "at": "2026-11-24T12:00:31+08:00",
    "url": "https://site.example/1001", "text": TEXT,
}  # fmt: skip


def account(**changes) -> Account:
    made = Account(
        id=AccountId("beijing-webhook"), platform=Platform("webhook"), identity="police-site", secret="h",
        options={"url": URL},
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def webhook(bench):
    desk = bench({"key": KEY})
    return WEBHOOK.create(account(), desk.kit()), desk


@pytest.fixture
def parcel(parcel_of):
    return parcel_of("webhook", text=TEXT, link="https://example.gov.cn/n/K7QM-4R2T")


def receipt(**changes) -> Receipt:
    return replace(Receipt(remote_id="1001", url="https://site.example/1001", published_at=NOON), **changes)


def test_both_lists_of_built_in_platforms_agree():
    """What settings accept is what there are adapters for."""
    assert set(BUILT_IN_ADAPTERS) == config.BUILT_IN_PLATFORMS


async def test_publishes_with_key_and_signature(webhook, parcel_of, picture, golden, answer):
    """One signed call under the marker as its key, pictures inside; a complete answer is a receipt."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").mock(return_value=answer("webhook/post", 201))
    outcome = await adapter.publish(parcel_of("webhook", text=TEXT, pictures=(picture,)))
    assert outcome == Published(receipt=receipt(published_at=NOON + timedelta(seconds=1)))
    [request] = desk.requests
    golden("webhook/post", request)


def test_the_key_is_never_shown():
    """What signs the calls stands in no representation, and so in no log."""
    assert "hunter2" not in repr(api.WebhookEndpoint(base_url="https://site.example", secret="hunter2"))


async def test_the_signature_is_over_instant_method_path_and_body(webhook, parcel):
    """A receiver that computes the same gets the same."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(201, json=POST)
    await adapter.publish(parcel)
    [request] = desk.requests
    at = request.headers["publisher-timestamp"]
    assert at == str(int(NOON.timestamp()))
    message = f"{at}\nPOST\n/hooks/posts\n".encode() + request.content
    digest = hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()
    assert request.headers["publisher-signature"] == f"v1={digest}"
    assert KEY not in repr(adapter)


async def test_an_earlier_post_under_the_key_is_adopted_f37(webhook, parcel):
    """409 with the post that has our key is proof of it, and no second post."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(409, json=POST)
    assert await adapter.publish(parcel) == Published(receipt=receipt(published_at=NOON + timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"at": "2026-11-20T12:00:00+08:00"}, "webhook_key_used"),
        ({"state": "removed"}, "webhook_key_used"),
        ({"key": "OTHER"}, "webhook_other_key"),
        ({"id": None}, "webhook_incomplete"),
    ],
)
async def test_an_earlier_post_that_may_be_another_is_a_doubt_f37(webhook, parcel, changes, reason):
    """What the key brings is not adopted when it is old, gone, another's or incomplete; nothing is sent again."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(409, json=POST | changes)
    assert await adapter.publish(parcel) == Unknown(reason=reason, is_duplicate=True)


async def test_a_pending_post_is_followed(webhook, parcel):
    """Taken but not shown yet is Submitted, and its ticket leads to the end."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(201, json=POST | {"state": "pending"})
    outcome = await adapter.publish(parcel)
    assert isinstance(outcome, Submitted)
    for state, expected in (("pending", Submitted), ("live", Published), ("refused", Rejected), ("removed", Deleted)):
        desk.router.get(f"{URL}/posts/{MARKER}").respond(200, json=POST | {"state": state})
        assert isinstance(await adapter.check_ticket(outcome.ticket), expected)


EXPECTED = {
    WebhookErrorClass.REJECTED: Rejected,
    WebhookErrorClass.RATE_LIMITED: RateLimited,
    WebhookErrorClass.BUSY: Busy,
    WebhookErrorClass.CREDENTIAL: CredentialExpired,
    WebhookErrorClass.ACCOUNT: Blocked,
    WebhookErrorClass.PERMISSION: Blocked,
    WebhookErrorClass.CAPTCHA: Blocked,
}


@pytest.mark.parametrize("code", sorted(CODES))
async def test_every_code_means_what_its_line_says(webhook, parcel, code):
    """Each listed code leads to its outcome, and staff find words for it."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(422, json={"error": code, "message": "why"})
    assert isinstance(await adapter.publish(parcel), EXPECTED[CODES[code].error_class])
    assert to_message_key(code) in load_catalogue()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, POST),
        (201, {}),
        (201, POST | {"at": "yesterday"}),
        (201, POST | {"at": "2026-11-24T12:00:31"}),
        (201, POST | {"state": "refused"}),
        (201, POST | {"key": "OTHER"}),
        (400, {}),
        (404, {"error": ["no_such_post"]}),
        (422, {"error": "not_in_the_table"}),
        (422, {"error": "Not A Code\n"}),
        (500, {"error": "refused"}),
        (503, {"error": "busy"}),
    ],
)
async def test_anything_else_is_a_doubt_f28_f33_f34(webhook, parcel, status, body):
    """An answer that is not agreed on proves nothing, a server error least of all."""
    adapter, desk = webhook
    desk.router.post(f"{URL}/posts").respond(status, json=body)
    assert isinstance(await adapter.publish(parcel), Unknown)


async def test_a_limit_is_kept_f26_f27(webhook, parcel):
    """429 is a limit with or without a body, for as long as it says, else ten minutes."""
    adapter, desk = webhook
    for headers, wait in (({"retry-after": "90"}, 90), ({}, 600), ({"retry-after": "soon"}, 600)):
        desk.router.post(f"{URL}/posts").respond(429, headers=headers)
        expected = RateLimited(code="webhook_rate_limited", until=NOON + timedelta(seconds=wait))
        assert await adapter.publish(parcel) == expected


@pytest.mark.parametrize(
    "read",
    [
        lambda adapter, parcel: adapter.find_post(parcel),
        lambda adapter, _parcel: adapter.check_ticket(Ticket(payload="1001")),
        lambda adapter, _parcel: adapter.retract(receipt()),
        lambda adapter, _parcel: adapter.check_health(),
        lambda adapter, _parcel: adapter.list_recent(),
        lambda adapter, _parcel: adapter.read_metrics([receipt()]),
    ],
)
async def test_a_limit_that_a_read_meets_is_reported_f26(webhook, parcel, read):
    """F26: a read or removal that is answered with 429 says until when the receiver wants no call."""
    adapter, desk = webhook
    desk.router.route(url__startswith=URL).respond(429, headers={"retry-after": "90"})
    limit = RateLimited(code="webhook_rate_limited", until=NOON + timedelta(seconds=90))
    assert await read(adapter, parcel) == limit


async def test_another_account_is_told_apart_f38(webhook, parcel):
    """An answer in another account's name blocks, and is never adopted by a read."""
    adapter, desk = webhook
    foreign = POST | {"account": "other-site"}
    desk.router.post(f"{URL}/posts").respond(201, json=foreign)
    outcome = await adapter.publish(parcel)
    assert outcome == Blocked(code="webhook_wrong_account", reason="other-site", hold_reason=HoldReason.WRONG_ACCOUNT)
    desk.router.get(f"{URL}/posts/{MARKER}").respond(200, json=foreign)
    assert await adapter.find_post(parcel) == Unknown(reason="webhook_wrong_account")


async def test_find_asks_for_the_key_f24_f53(webhook, parcel, golden):
    """What has our key is ours; a plain answer that nothing has it is absence; any other 404 is nothing."""
    adapter, desk = webhook
    route = desk.router.get(f"{URL}/posts/{MARKER}")
    route.respond(200, json=POST)
    found = await adapter.find_post(parcel)
    assert found == Published(receipt=receipt(published_at=NOON + timedelta(seconds=1)), is_text_confirmed=True)
    golden("webhook/read", desk.requests[0])
    route.respond(404, json={"error": "no_such_post", "name": MARKER})
    assert await adapter.find_post(parcel) == NotFound(covered_since=parcel.baseline.taken_at)
    for body in ({"error": "no_such_post"}, {"error": "no_such_post", "name": "OTHER"}, {"error": "not_found"}, {}):
        route.respond(404, json=body)
        assert isinstance(await adapter.find_post(parcel), Unknown)


async def test_find_asks_a_person_about_what_is_old_or_owned_f55(webhook, parcel):
    """A post under our key that stood there before, or is another delivery's, is only alike."""
    adapter, desk = webhook
    desk.router.get(f"{URL}/posts/{MARKER}").respond(200, json=POST | {"at": "2026-11-20T12:00:00+08:00"})
    alike = PossibleMatch(remote_id="1001", url="https://site.example/1001")
    assert await adapter.find_post(parcel) == alike
    desk.router.get(f"{URL}/posts/{MARKER}").respond(200, json=POST)
    assert await adapter.find_post(replace(parcel, owned_ids=frozenset({"1001"}))) == alike


async def test_follow_up_by_id_tells_live_from_gone_f48(webhook):
    """The number of a live post reads that post and no other."""
    adapter, desk = webhook
    route = desk.router.get(f"{URL}/posts/1001")
    route.respond(200, json=POST)
    assert isinstance(await adapter.check_ticket(Ticket(payload="1001")), Published)
    route.respond(200, json=POST | {"id": "1002"})
    assert await adapter.check_ticket(Ticket(payload="1001")) == Unknown(reason="webhook_other_key")
    route.respond(404, json={"error": "no_such_post", "name": "1001"})
    assert await adapter.check_ticket(Ticket(payload="1001")) == Deleted()


async def test_retract_is_confirmed_by_the_receiver_f78(webhook, golden):
    """Gone is what the receiver says outright; a number that a person gave may be wrong."""
    adapter, desk = webhook
    route = desk.router.delete(f"{URL}/posts/1001")
    route.respond(200, json=POST | {"state": "removed"})
    assert await adapter.retract(receipt()) == Deleted()
    golden("webhook/delete", desk.requests[0])
    route.respond(200, json=POST)
    assert isinstance(await adapter.retract(receipt()), Unknown)
    route.respond(404, json={"error": "no_such_post", "name": "1001"})
    assert await adapter.retract(receipt()) == Deleted()
    assert isinstance(await adapter.retract(receipt(is_manually_confirmed=True)), Unknown)
    route.respond(403, json={"error": "forbidden", "message": "no"})
    assert await adapter.retract(receipt()) == Rejected(code="webhook_forbidden", reason="no")


async def test_probe_compares_the_account_f43(webhook, golden):
    """Healthy for our account, with the key's expiry where it is reported; blocked for another's."""
    adapter, desk = webhook
    route = desk.router.get(f"{URL}/health")
    route.respond(200, json={"account": "police-site", "until": "2026-11-25T12:00:30+08:00"})
    assert await adapter.check_health() == Healthy(credentials_expire_at=NOON + timedelta(days=1))
    golden("webhook/health", desk.requests[0])
    route.respond(200, json={"account": "other-site"})
    assert isinstance(await adapter.check_health(), Blocked)
    route.respond(401, json={"error": "bad_signature"})
    assert await adapter.check_health() == CredentialExpired(reason="webhook_bad_signature")
    route.respond(503)
    assert await adapter.check_health() == Unknown(reason="server_error")


async def test_reach_and_recent_may_be_missing(webhook, golden):
    """Figures and lists are read where a receiver offers them, and are Unknown where it does not."""
    adapter, desk = webhook
    desk.router.get(f"{URL}/reach").respond(
        200, json={"account": "police-site", "reach": {"1001": {"reads": 7, "likes": "x"}, "9": {"reads": 1}}}
    )
    assert await adapter.read_metrics([receipt()]) == {"1001": Reach(reads=7)}
    golden("webhook/reach", desk.requests[0])
    desk.router.get(f"{URL}/posts").respond(
        200, json={"account": "police-site", "posts": [POST | {"state": "removed"}, POST | {"id": "1002"}]}
    )
    [sighting] = await adapter.list_recent()
    assert (sighting.remote_id, sighting.text) == ("1002", TEXT)
    golden("webhook/recent", desk.requests[1])
    desk.router.get(f"{URL}/reach").respond(404, json={"error": "not_found"})
    desk.router.get(f"{URL}/posts").respond(404)
    assert isinstance(await adapter.read_metrics([receipt()]), Unknown)
    assert isinstance(await adapter.list_recent(), Unknown)


async def test_nothing_goes_without_key_or_address(bench, parcel):
    """Without a key the sign-in is missing, without an address a person must give one; nothing is called."""
    keyless, lost = bench({"other": "x"}), bench({"key": KEY})
    assert await WEBHOOK.create(account(), keyless.kit()).publish(parcel) == CredentialExpired(reason="webhook_no_key")
    adapter = WEBHOOK.create(account(options={}), lost.kit())
    assert isinstance(await adapter.publish(parcel), Blocked)
    assert [problem.code for problem in WEBHOOK.validate(adapter.account, parcel.rendered)] == ["webhook_no_address"]
    assert [*keyless.requests, *lost.requests] == []


def test_check_names_what_is_too_much(webhook, parcel, picture):
    """Length, title, pictures: each has its code, and each code its words."""
    adapter, _desk = webhook
    bad = replace(picture, media_type="image/bmp", size=6 * 1024 * 1024)
    rendition = replace(parcel.rendered, title=" ", text="公" * 20_001, images=(bad,) * 10)
    codes = {problem.code for problem in WEBHOOK.validate(adapter.account, rendition)}
    assert codes == {
        "webhook_title_length", "webhook_text_too_long", "webhook_too_many_images", "webhook_image_type",
        "webhook_image_size",
    }  # fmt: skip
    assert codes <= set(load_catalogue())


def test_an_option_makes_its_texts_articles():
    """A receiver that wants HTML says so in its account's options."""
    assert WEBHOOK.capabilities(account(options={"url": URL, "form": "article"})).is_article
    assert not WEBHOOK.capabilities(account()).is_article


async def test_no_answer_breaks_a_read(webhook, parcel):
    """Whatever comes instead of JSON objects is Unknown, everywhere."""
    adapter, desk = webhook
    for content in (b"", b"null", b"[]", b"{", b"\xff", b'{"posts": [1], "account": "police-site", "reach": []}'):
        desk.router.route().mock(return_value=httpx.Response(200, content=content))
        answers = [
            await adapter.find_post(parcel), await adapter.check_ticket(Ticket(payload="1")),
            await adapter.check_health(), await adapter.list_recent(),
            await adapter.read_metrics([receipt()]), await adapter.retract(receipt()),
        ]  # fmt: skip
        if b"account" in content:
            del answers[2]
        assert all(isinstance(answer, Unknown) for answer in answers), (content, answers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["live", MARKER, POST["at"]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*POST, "error", "name", "posts", "reach", "until"]), inner, max_size=8)
    ),
    max_leaves=12,
)


@given(status=st.sampled_from([200, 201, 204, 302, 400, 401, 404, 409, 422, 429, 500]), value=JSON)
def test_whatever_is_answered_decoders_give_a_value(status, value):
    """An exception in a decoder would hide what a receiver did."""
    answer = api.decode_response(
        HttpResponse(status=status, headers={}, body=json.dumps(value).encode()), 200, 201, 409
    )
    if isinstance(answer, api.Refusal):
        assert not isinstance(interpret_refusal(answer, NOON), Published | Submitted)
    elif not isinstance(answer, Unknown):
        assert isinstance(api.decode_post(answer), api.WebhookPost | Unknown)
        assert isinstance(api.decode_recent(answer, "police-site"), list | tuple | Unknown)
        assert isinstance(api.decode_reach(answer, "police-site", ["1001", MARKER]), dict | Unknown)
        assert isinstance(api.get_key_expiry(answer), datetime | None)


def test_the_golden_answer_is_json(answer):
    """The pair's answer is the one that the page for receivers shows."""
    assert json.loads(answer("webhook/post").content)["key"] == MARKER
