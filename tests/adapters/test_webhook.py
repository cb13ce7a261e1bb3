"""The webhook adapter: its calls byte by byte, and every code of its table.

The tests also cover the proof that its reads give.
"""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.webhook import WEBHOOK, api
from adapters.webhook.adapter import interpret_refusal
from adapters.webhook.codes import CODES, WebhookErrorClass, to_message_key
from publisher.app.adapters import find_presence
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
    "id": "1001", "key": MARKER, "account": "police-site", "state": "live",
    "at": "2026-11-24T12:00:31+08:00", "url": "https://site.example/1001", "text": TEXT,
}  # fmt: skip


def account(**changes) -> Account:
    made = Account(
        id=AccountId("beijing-webhook"), platform=Platform("webhook"), identity="police-site",
        secret="h", options={"url": URL},
    )  # fmt: skip
    return replace(made, **changes)


def test_f96_an_account_at_another_receiver_is_another_one():
    """F96: an account at another receiver is another account.

    A post that one receiver lacks may exist on the receiver that took it.
    """
    here, there = account(), account(options={"url": "https://other.example"})
    assert str(find_presence(here, WEBHOOK)) == "police-site (site.example/hooks)"
    assert str(find_presence(there, WEBHOOK)) == "police-site (other.example)"


@pytest.fixture
def webhook(make_server):
    server = make_server({"key": KEY})
    return WEBHOOK.create(account(), server.context()), server


@pytest.fixture
def send_request(make_request):
    return make_request("webhook", text=TEXT, link="https://example.gov.cn/n/K7QM-4R2T")


def receipt(**changes) -> Receipt:
    return replace(
        Receipt(remote_id="1001", url="https://site.example/1001", published_at=NOON),
        **changes,
    )


async def test_publishes_with_key_and_signature(
    webhook, make_request, picture, golden, answer
):
    """A post is one signed call under the marker as its key, with the pictures inside.

    A complete answer is a receipt.
    """
    adapter, server = webhook
    server.router.post(f"{URL}/posts").mock(return_value=answer("webhook/post", 201))
    outcome = await adapter.publish(
        make_request("webhook", text=TEXT, pictures=(picture,))
    )
    assert outcome == Published(
        receipt=receipt(published_at=NOON + timedelta(seconds=1))
    )
    [request] = server.requests
    golden("webhook/post", request)


def test_the_key_is_never_shown():
    """The signing key is in no representation, and so in no log."""
    assert "hunter2" not in repr(
        api.WebhookEndpoint(base_url="https://site.example", secret="hunter2")
    )


async def test_the_signature_is_over_instant_method_path_and_body(
    webhook, send_request
):
    """A receiver that computes the signature the same way gets the same value."""
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(201, json=POST)
    await adapter.publish(send_request)
    [request] = server.requests
    at = request.headers["publisher-timestamp"]
    assert at == str(int(NOON.timestamp()))
    message = f"{at}\nPOST\n/hooks/posts\n".encode() + request.content
    digest = hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()
    assert request.headers["publisher-signature"] == f"v1={digest}"
    assert KEY not in repr(adapter)


async def test_an_earlier_post_under_the_key_is_adopted_f37(webhook, send_request):
    """409 with the post that has our key is proof of it, and no second post."""
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(409, json=POST)
    assert await adapter.publish(send_request) == Published(
        receipt=receipt(published_at=NOON + timedelta(seconds=1))
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"at": "2026-11-20T12:00:00+08:00"}, "webhook_key_used"),
        ({"state": "removed"}, "webhook_key_used"),
        ({"key": "OTHER"}, "webhook_other_key"),
        ({"id": None}, "webhook_incomplete"),
    ],
)
async def test_an_earlier_post_that_may_be_another_is_unknown_f37(
    webhook, send_request, changes, reason
):
    """A post under the key that is old, deleted, another's or incomplete is not adopted.

    Nothing is sent again.
    """
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(409, json=POST | changes)
    assert await adapter.publish(send_request) == Unknown(
        reason=reason, is_duplicate=True
    )


async def test_a_pending_post_is_followed(webhook, send_request):
    """Accepted but not visible yet is Submitted, and its ticket leads to the outcome."""
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(201, json=POST | {"state": "pending"})
    outcome = await adapter.publish(send_request)
    assert isinstance(outcome, Submitted)
    for state, expected in (
        ("pending", Submitted),
        ("live", Published),
        ("refused", Rejected),
        ("removed", Deleted),
    ):
        server.router.get(f"{URL}/posts/{MARKER}").respond(
            200, json=POST | {"state": state}
        )
        assert isinstance(await adapter.check_ticket(outcome.ticket), expected)


EXPECTED = {
    WebhookErrorClass.REJECTED: Rejected,
    WebhookErrorClass.RATE_LIMITED: RateLimited,
    WebhookErrorClass.BUSY: Busy,
    WebhookErrorClass.CREDENTIAL: CredentialExpired,
    WebhookErrorClass.ACCOUNT: Blocked,
    WebhookErrorClass.CAPTCHA: Blocked,
}


@pytest.mark.parametrize("code", sorted(CODES))
async def test_every_code_means_what_its_line_says(webhook, send_request, code):
    """Each listed code leads to its outcome, and has a text for staff."""
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(
        422, json={"error": code, "message": "why"}
    )
    assert isinstance(
        await adapter.publish(send_request), EXPECTED[CODES[code].error_class]
    )
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
async def test_anything_else_is_unknown_f28_f33_f34(
    webhook, send_request, status, body
):
    """An answer outside the protocol proves nothing, a server error least of all."""
    adapter, server = webhook
    server.router.post(f"{URL}/posts").respond(status, json=body)
    assert isinstance(await adapter.publish(send_request), Unknown)


async def test_a_limit_is_kept_f26_f27(webhook, send_request):
    """429 is a limit with or without a body, for as long as it says, else ten minutes."""
    adapter, server = webhook
    for headers, wait in (
        ({"retry-after": "90"}, 90),
        ({}, 600),
        ({"retry-after": "soon"}, 600),
    ):
        server.router.post(f"{URL}/posts").respond(429, headers=headers)
        expected = RateLimited(
            code="webhook_rate_limited", until=NOON + timedelta(seconds=wait)
        )
        assert await adapter.publish(send_request) == expected


@pytest.mark.parametrize(
    "read",
    [
        lambda adapter, send_request: adapter.find_post(send_request),
        lambda adapter, _send_request: adapter.check_ticket(Ticket(payload="1001")),
        lambda adapter, _send_request: adapter.retract(receipt()),
        lambda adapter, _send_request: adapter.check_health(),
        lambda adapter, _send_request: adapter.list_recent(),
        lambda adapter, _send_request: adapter.read_metrics([receipt()]),
    ],
)
async def test_a_limit_that_a_read_meets_is_reported_f26(webhook, send_request, read):
    """F26: a read or deletion answered with 429 reports the end of the limit.

    The receiver wants no call until then.
    """
    adapter, server = webhook
    server.router.route(url__startswith=URL).respond(429, headers={"retry-after": "90"})
    limit = RateLimited(code="webhook_rate_limited", until=NOON + timedelta(seconds=90))
    assert await read(adapter, send_request) == limit


async def test_another_account_is_recognised_f38(webhook, send_request):
    """An answer in another account's name blocks, and is never adopted by a read."""
    adapter, server = webhook
    foreign = POST | {"account": "other-site"}
    server.router.post(f"{URL}/posts").respond(201, json=foreign)
    outcome = await adapter.publish(send_request)
    assert outcome == Blocked(
        code="webhook_wrong_account",
        reason="other-site",
        hold_reason=HoldReason.WRONG_ACCOUNT,
    )
    server.router.get(f"{URL}/posts/{MARKER}").respond(200, json=foreign)
    assert await adapter.find_post(send_request) == Unknown(
        reason="webhook_wrong_account"
    )


async def test_find_reads_by_the_key_f24_f53(webhook, send_request, golden):
    """A post under our key is ours; a plain answer that there is none is absence.

    Any other 404 proves nothing.
    """
    adapter, server = webhook
    route = server.router.get(f"{URL}/posts/{MARKER}")
    route.respond(200, json=POST)
    found = await adapter.find_post(send_request)
    assert found == Published(
        receipt=receipt(published_at=NOON + timedelta(seconds=1)),
        is_text_confirmed=True,
    )
    golden("webhook/read", server.requests[0])
    route.respond(404, json={"error": "no_such_post", "name": MARKER})
    assert await adapter.find_post(send_request) == NotFound(
        covered_since=send_request.baseline.taken_at
    )
    for body in (
        {"error": "no_such_post"},
        {"error": "no_such_post", "name": "OTHER"},
        {"error": "not_found"},
        {},
    ):
        route.respond(404, json=body)
        assert isinstance(await adapter.find_post(send_request), Unknown)


async def test_an_older_or_owned_post_is_a_possible_match_f55(webhook, send_request):
    """A post under our key that is older, or another delivery's, is only a possible match."""
    adapter, server = webhook
    server.router.get(f"{URL}/posts/{MARKER}").respond(
        200, json=POST | {"at": "2026-11-20T12:00:00+08:00"}
    )
    alike = PossibleMatch(remote_id="1001", url="https://site.example/1001")
    assert await adapter.find_post(send_request) == alike
    server.router.get(f"{URL}/posts/{MARKER}").respond(200, json=POST)
    assert (
        await adapter.find_post(replace(send_request, owned_ids=frozenset({"1001"})))
        == alike
    )


async def test_follow_up_by_id_distinguishes_published_from_deleted_f48(webhook):
    """The id of a published post reads that post and no other."""
    adapter, server = webhook
    route = server.router.get(f"{URL}/posts/1001")
    route.respond(200, json=POST)
    assert isinstance(await adapter.check_ticket(Ticket(payload="1001")), Published)
    route.respond(200, json=POST | {"id": "1002"})
    assert await adapter.check_ticket(Ticket(payload="1001")) == Unknown(
        reason="webhook_other_key"
    )
    route.respond(404, json={"error": "no_such_post", "name": "1001"})
    assert await adapter.check_ticket(Ticket(payload="1001")) == Deleted()


async def test_retract_is_confirmed_by_the_receiver_f78(webhook, golden):
    """Only the receiver's explicit answer proves deletion.

    An id that a person gave may be wrong.
    """
    adapter, server = webhook
    route = server.router.delete(f"{URL}/posts/1001")
    route.respond(200, json=POST | {"state": "removed"})
    assert await adapter.retract(receipt()) == Deleted()
    golden("webhook/delete", server.requests[0])
    route.respond(200, json=POST)
    assert isinstance(await adapter.retract(receipt()), Unknown)
    route.respond(404, json={"error": "no_such_post", "name": "1001"})
    assert await adapter.retract(receipt()) == Deleted()
    assert isinstance(
        await adapter.retract(receipt(is_manually_confirmed=True)), Unknown
    )
    route.respond(403, json={"error": "forbidden", "message": "no"})
    assert await adapter.retract(receipt()) == Rejected(
        code="webhook_forbidden", reason="no"
    )


async def test_probe_compares_the_account_f43(webhook, golden):
    """The probe is healthy for our account, and blocked for another's.

    It gives the key's expiry where it is reported.
    """
    adapter, server = webhook
    route = server.router.get(f"{URL}/health")
    route.respond(
        200, json={"account": "police-site", "until": "2026-11-25T12:00:30+08:00"}
    )
    assert await adapter.check_health() == Healthy(
        credentials_expire_at=NOON + timedelta(days=1)
    )
    golden("webhook/health", server.requests[0])
    route.respond(200, json={"account": "other-site"})
    assert isinstance(await adapter.check_health(), Blocked)
    route.respond(401, json={"error": "bad_signature"})
    assert await adapter.check_health() == CredentialExpired(
        reason="webhook_bad_signature"
    )
    route.respond(503)
    assert await adapter.check_health() == Unknown(reason="server_error")


async def test_metrics_and_lists_may_be_missing(webhook, golden):
    """Metrics and lists are read where a receiver offers them, and are Unknown elsewhere."""
    adapter, server = webhook
    server.router.get(f"{URL}/reach").respond(
        200,
        json={
            "account": "police-site",
            "reach": {"1001": {"reads": 7, "likes": "x"}, "9": {"reads": 1}},
        },
    )
    assert await adapter.read_metrics([receipt()]) == {"1001": Reach(reads=7)}
    golden("webhook/reach", server.requests[0])
    server.router.get(f"{URL}/posts").respond(
        200,
        json={
            "account": "police-site",
            "posts": [POST | {"state": "removed"}, POST | {"id": "1002"}],
        },
    )
    [sighting] = await adapter.list_recent()
    assert (sighting.remote_id, sighting.text) == ("1002", TEXT)
    golden("webhook/recent", server.requests[1])
    server.router.get(f"{URL}/reach").respond(404, json={"error": "not_found"})
    server.router.get(f"{URL}/posts").respond(404)
    assert isinstance(await adapter.read_metrics([receipt()]), Unknown)
    assert isinstance(await adapter.list_recent(), Unknown)


async def test_nothing_is_sent_without_key_or_address(make_server, send_request):
    """Without a key the login is refused; without an address a person must give one.

    Nothing is called.
    """
    keyless, lost = make_server({"other": "x"}), make_server({"key": KEY})
    assert await WEBHOOK.create(account(), keyless.context()).publish(
        send_request
    ) == CredentialExpired(reason="webhook_no_key")
    adapter = WEBHOOK.create(account(options={}), lost.context())
    assert isinstance(await adapter.publish(send_request), Blocked)
    assert [problem.code for problem in WEBHOOK.check_account(adapter.account)] == [
        "webhook_no_address"
    ]
    assert [*keyless.requests, *lost.requests] == []


def test_check_names_what_is_too_much(webhook, send_request, picture):
    """Length, title, pictures: each has its code, and each code its text."""
    adapter, _server = webhook
    bad = replace(picture, media_type="image/bmp", size=6 * 1024 * 1024)
    rendered = replace(
        send_request.rendered, title=" ", text="公" * 20_001, images=(bad,) * 10
    )
    codes = {problem.code for problem in WEBHOOK.validate(adapter.account, rendered)}
    assert codes == {
        "webhook_title_length", "webhook_text_too_long", "webhook_too_many_images",
        "webhook_image_type", "webhook_image_size",
    }  # fmt: skip
    assert codes <= set(load_catalogue())


def test_an_option_makes_its_texts_articles():
    """A receiver that wants HTML says so in its account's options."""
    assert WEBHOOK.capabilities(
        account(options={"url": URL, "form": "article"})
    ).is_article
    assert not WEBHOOK.capabilities(account()).is_article


async def test_no_answer_breaks_a_read(webhook, send_request):
    """Anything else than JSON objects is Unknown, in every read."""
    adapter, server = webhook
    for content in (
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"posts": [1], "account": "police-site", "reach": []}',
    ):
        server.router.route().mock(return_value=httpx.Response(200, content=content))
        answers = [
            await adapter.find_post(send_request), await adapter.check_ticket(Ticket(payload="1")),
            await adapter.check_health(), await adapter.list_recent(),
            await adapter.read_metrics([receipt()]), await adapter.retract(receipt()),
        ]  # fmt: skip
        if b"account" in content:
            del answers[2]
        assert all(isinstance(answer, Unknown) for answer in answers), (
            content,
            answers,
        )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["live", MARKER, POST["at"]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*POST, "error", "name", "posts", "reach", "until"]),
            inner,
            max_size=8,
        )
    ),
    max_leaves=12,
)


@given(
    status=st.sampled_from([200, 201, 204, 302, 400, 401, 404, 409, 422, 429, 500]),
    value=JSON,
)
def test_decoders_return_a_value_for_every_answer(status, value):
    """Decoders return a value for every answer: an exception would hide a receiver's act."""
    answer = api.decode_response(
        HttpResponse(status=status, headers={}, body=json.dumps(value).encode()),
        200,
        201,
        409,
    )
    if isinstance(answer, api.Refusal):
        assert not isinstance(interpret_refusal(answer, NOON), Published | Submitted)
    elif not isinstance(answer, Unknown):
        assert isinstance(api.decode_post(answer), api.WebhookPost | Unknown)
        assert isinstance(
            api.decode_recent(answer, "police-site"), list | tuple | Unknown
        )
        assert isinstance(
            api.decode_reach(answer, "police-site", ["1001", MARKER]), dict | Unknown
        )
        assert isinstance(api.parse_time(answer.get("until")), datetime | None)


def test_the_golden_answer_is_json(answer):
    """The golden answer is the one that the page for receivers shows."""
    assert json.loads(answer("webhook/post").content)["key"] == MARKER
