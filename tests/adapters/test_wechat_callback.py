"""WeChat's messages: the facts that are read from them.

Messages that prove nothing are refused.
"""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wechat.api import PendingJob, encode_ticket
from adapters.wechat.callback import (
    WeChatCallbacks,
    compute_signature,
    decrypt_message,
    parse_xml,
)
from publisher.contract import CallbackEvent, CallbackRequest
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.errors import Problem
from publisher.domain.post import DeliveryId
from publisher.domain.results import Ticket
from publisher.simulator.wechat.callbacks import encrypt

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
APP_ID, TOKEN = "wx0000000000000001", "simtoken"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
ACCOUNT = Account(
    id=AccountId("beijing-wechat"),
    platform=Platform("wechat"),
    identity=APP_ID,
    secret="w",
)
PLAIN = {"app_id": APP_ID, "app_secret": "s", "callback_token": TOKEN}
SEALED = PLAIN | {"encoding_aes_key": AES_KEY}
VECTOR = (
    "Q3stYC6hdFzMh9T8HCvyDH8rV9sxtGipw/VmHAPJHrzg/hCz0Kt7vDt+1Jwg/ZcaGWb42QdpjCNltexM0vfp"
    "LRDUmaZ/tVIOmwaRiUZphYmoj6s9PTu6Yh4B1ur6mfuc"
)
FINISHED = (
    "<xml><ToUserName><![CDATA[gh_x]]></ToUserName>"
    "<FromUserName><![CDATA[mphelper]]></FromUserName>"
    "<CreateTime>1764000000</CreateTime><MsgType><![CDATA[event]]></MsgType>"
    "<Event><![CDATA[PUBLISHJOBFINISH]]></Event>"
    "<PublishEventInfo><publish_id>2247500001</publish_id><publish_status>2</publish_status>"
    "<fail_idx>1</fail_idx><fail_idx>2</fail_idx></PublishEventInfo></xml>"
)
SENT = (
    "<xml><Event><![CDATA[MASSSENDJOBFINISH]]></Event>"
    "<MsgID>3147400001</MsgID><Status>send success</Status></xml>"
)
callbacks = WeChatCallbacks()


def stamp(at=NOW, nonce="n0nce"):
    return {"timestamp": str(int(at.timestamp())), "nonce": nonce}


def plain(body, *, at=NOW, nonce="n0nce", token=TOKEN):
    """Return a message of the plain mode, as WeChat signs it."""
    query = stamp(at, nonce)
    return CallbackRequest(
        query=query | {"signature": compute_signature(token, *query.values())},
        body=body.encode(),
    )


def encrypted(text, *, app_id=APP_ID, key=AES_KEY, token=TOKEN, at=NOW):
    """Return a message of the encrypted mode, made by the simulator's code."""
    query, inside = stamp(at), encrypt(text, key, app_id)
    signed = compute_signature(token, *query.values(), inside)
    body = f"<xml><ToUserName>gh_x</ToUserName><Encrypt><![CDATA[{inside}]]></Encrypt></xml>"
    query |= {
        "signature": compute_signature(token, *query.values()),
        "encrypt_type": "aes",
        "msg_signature": signed,
    }
    return CallbackRequest(query=query, body=body.encode())


def read(secret, message):
    return callbacks.parse(ACCOUNT, secret, message, NOW)


def code(answer):
    assert isinstance(answer, Problem), answer
    return answer.code


def test_signature_and_encryption_match_another_client():
    """A published pair of message and signature decrypts to its text and AppID."""
    assert (
        compute_signature(TOKEN, "1700000000", "n0nce")
        == "2913e9e6ba69b4cc869b3cf12031f795d85e7fda"
    )
    assert (
        compute_signature(TOKEN, "1700000000", "n0nce", VECTOR)
        == "5c5eb66ec7bff666c4133aafa9f6c4ec2b60f6d4"
    )
    text = b"<xml><Event><![CDATA[PUBLISHJOBFINISH]]></Event></xml>"
    assert decrypt_message(VECTOR, AES_KEY) == (text, APP_ID.encode())


def test_the_address_is_proved_by_its_echo():
    """Only a current request signed with the token gets its echo back."""
    greeting = plain("")
    asked = dataclasses.replace(greeting, query=greeting.query | {"echostr": "8412"})
    assert callbacks.verify_endpoint(ACCOUNT, PLAIN, asked, NOW) == "8412"
    assert callbacks.verify_endpoint(ACCOUNT, SEALED, asked, NOW) == "8412"
    assert (
        code(
            callbacks.verify_endpoint(
                ACCOUNT, PLAIN | {"callback_token": "other"}, asked, NOW
            )
        )
        == "callback_unsigned"
    )
    assert (
        code(
            callbacks.verify_endpoint(ACCOUNT, PLAIN, asked, NOW + timedelta(minutes=6))
        )
        == "callback_stale"
    )
    assert (
        code(callbacks.verify_endpoint(ACCOUNT, PLAIN, greeting, NOW))
        == "callback_unreadable"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("err(20008)", "20008"),
        ("err(20431)", ""),
        ("send fail", ""),
        ("err(20008) or so", ""),
        ("send success", ""),
    ],
)
def test_why_a_mass_send_failed_is_passed_on(status, said):
    """Only the numbers that WeChat lists are passed on; a made-up word is not."""
    answer = read(SEALED, encrypted(SENT.replace("send success", status)))
    assert isinstance(answer, CallbackEvent)
    assert (answer.job_id, answer.reason) == ("mass-3147400001", said)


@pytest.mark.parametrize(
    ("body", "number"), [(FINISHED, "2247500001"), (SENT, "mass-3147400001")]
)
def test_both_modes_report_what_has_ended(body, number):
    """The hint names the job as tickets do, in plain and in encrypted messages."""
    for answer in (read(PLAIN, plain(body)), read(SEALED, encrypted(body))):
        assert isinstance(answer, CallbackEvent)
        assert answer.job_id == number


@pytest.mark.parametrize(
    "body",
    [
        "<xml><MsgType>text</MsgType><Content>PUBLISHJOBFINISH</Content></xml>",
        "<xml><Event>subscribe</Event></xml>",
        "<xml><Event>PUBLISHJOBFINISH</Event></xml>",
        "<xml><Event>MASSSENDJOBFINISH</Event></xml>",
    ],
)
def test_other_messages_are_ignored(body):
    """Followers' messages and events without a number are accepted, and ignored."""
    assert read(PLAIN, plain(body)) is None


def test_a_message_must_be_signed_with_our_token():
    """Another token, a changed time, a missing or malformed signature: each is a forgery."""
    good = plain(FINISHED)
    forged = [
        plain(FINISHED, token="guessed"),
        dataclasses.replace(good, query=good.query | {"timestamp": "1"}),
        dataclasses.replace(good, query=good.query | {"signature": ""}),
        dataclasses.replace(good, query=good.query | {"signature": "签名"}),
        dataclasses.replace(good, query={}),
    ]
    assert {code(read(PLAIN, message)) for message in forged} == {"callback_unsigned"}


@pytest.mark.parametrize("secret", [PLAIN, SEALED], ids=["plain", "encrypted"])
def test_f90_no_body_is_parsed_before_the_query_is_verified(secret, monkeypatch):
    """F90: in both modes a forged or stale query is refused without reading the body."""
    monkeypatch.setattr("adapters.wechat.callback.parse_xml", None)
    good = encrypted(FINISHED)
    forged = dataclasses.replace(good, query=good.query | {"signature": "0" * 40})
    unsigned = dataclasses.replace(
        good,
        query={name: good.query[name] for name in good.query if name != "signature"},
    )
    assert (
        code(read(secret, forged))
        == code(read(secret, unsigned))
        == "callback_unsigned"
    )
    assert (
        code(read(secret, encrypted(FINISHED, at=NOW - timedelta(minutes=6))))
        == "callback_stale"
    )


def test_a_query_that_is_verified_gives_its_nonce():
    """Time and nonce identify a message, independent of the text under its signature."""
    first, second = (
        callbacks.verify(ACCOUNT, SEALED, encrypted(body).query, NOW)
        for body in (FINISHED, SENT)
    )
    assert first == second == f"{int(NOW.timestamp())}/n0nce"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_message_of_another_time_is_stale(minutes):
    """Correctly signed, but minutes old: it may be a replay."""
    assert (
        code(read(PLAIN, plain(FINISHED, at=NOW + timedelta(minutes=minutes))))
        == "callback_stale"
    )
    assert (
        code(read(SEALED, encrypted(FINISHED, at=NOW + timedelta(minutes=minutes))))
        == "callback_stale"
    )


def test_with_a_key_plain_messages_are_refused():
    """With a key configured only encrypted messages count.

    A plain one with an intercepted signature is refused.
    """
    assert code(read(SEALED, plain(FINISHED))) == "callback_unsigned"


def test_an_encrypted_message_must_be_signed_ours_and_whole():
    """A message under another token, key or AppID, or one that was changed, cannot be decrypted."""
    good = encrypted(FINISHED)
    changed = dataclasses.replace(
        good, body=good.body.replace(b"[CDATA[", b"[CDATA[AAAA")
    )
    assert (
        code(read(SEALED, encrypted(FINISHED, token="guessed"))) == "callback_unsigned"
    )
    assert code(read(SEALED, changed)) == "callback_unsigned"
    assert (
        code(read(SEALED, encrypted(FINISHED, app_id="wx0000000000000002")))
        == "callback_wrong_account"
    )
    assert (
        code(read(SEALED, encrypted(FINISHED, key="b" + AES_KEY[1:])))
        == "callback_unreadable"
    )
    assert (
        code(read(SEALED | {"encoding_aes_key": "short"}, good))
        == "callback_unreadable"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<xml><Event>x</Event>",
        b"\xff\xfe<xml/>",
        b'<!DOCTYPE xml [<!ENTITY a "aaaa">]><xml>&a;</xml>',
        b'<?xml version="1.0"?><!DOCTYPE xml SYSTEM "http://127.0.0.1/x"><xml/>',
        b"<a>" * 20 + b"</a>" * 20,
        b"<a>" + b"<b/>" * 3000 + b"</a>",
    ],
)
def test_invalid_xml_is_refused(body):
    """Broken, deep, huge, or with declarations that could expand: none of it is read."""
    assert parse_xml(body) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(body):
    """For any bytes the answer is a value, never an exception."""
    query = plain("").query | {"msg_signature": "x"}
    for secret in (PLAIN, SEALED):
        assert not isinstance(
            callbacks.parse(
                ACCOUNT, secret, CallbackRequest(query=query, body=body), NOW
            ),
            CallbackEvent,
        )


@given(st.text(max_size=200))
def test_any_encrypted_message_is_answered(text):
    """A correctly signed message may still contain anything."""
    assert decrypt_message(text, AES_KEY) is None
    inside = callbacks.parse(ACCOUNT, SEALED, encrypted(text), NOW)
    assert inside is None or isinstance(inside, Problem)


def test_a_hint_means_only_its_own_ticket():
    """A hint means only its own ticket.

    Publications match by their id, mass sends by theirs, whether or not the ticket has the
    statistics' id.
    """

    def ticket(name):
        return encode_ticket(PendingJob(name=name, delivery=DeliveryId(7), polls=2))

    job, mass = (
        CallbackEvent(job_id="2247500001"),
        CallbackEvent(job_id="mass-3147400001"),
    )
    assert callbacks.matches(job, ticket("2247500001"))
    assert callbacks.matches(mass, ticket("mass-3147400001-2455800001"))
    assert callbacks.matches(mass, ticket("mass-3147400001"))
    others = [
        ticket("2247500002"),
        ticket("mass-2247500001"),
        ticket("mass-3147400002-1"),
        Ticket(payload="task"),
    ]
    assert not any(
        callbacks.matches(hint, other) for hint in (job, mass) for other in others
    )
    assert not callbacks.matches(
        CallbackEvent(job_id="3147400001"), ticket("mass-3147400001")
    )


def test_without_a_token_nothing_is_expected():
    """An account without a token in its secret has no callback address."""
    assert callbacks.is_configured(PLAIN)
    assert not callbacks.is_configured({"app_id": APP_ID, "app_secret": "s"})
