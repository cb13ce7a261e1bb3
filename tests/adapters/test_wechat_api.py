"""WeChat's calls: golden pairs, malformed answers, addresses of pictures."""

import base64
import json
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wechat import adapter as metrics
from adapters.wechat import api
from adapters.wechat import mass_send as mass_api
from publisher.contract import HttpResponse
from tests.adapters.fakes_wechat import BASE, COVER, INSIDE, article, picture

FIELDS = (
    "errcode", "msg_id", "msg_data_id", "msg_status", "list", "msgid", "detail_list",
    "stat_date", "read_user",
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["²", "45065", 45065]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=20,
)
REPLIES = st.builds(
    HttpResponse,
    status=st.sampled_from([200, 429, 502]),
    headers=st.just({}),
    body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
)
GOLDEN = Path(__file__).parent / "golden" / "wechat"
MASS = mass_api.MassSendId(msg_id="3147400001", data_id="2455800001")
CALLS = {
    "stable_token": (
        api.encode_token(BASE, "wx1", "s3cret", is_forced=False),
        api.decode_token,
    ),
    "add_material": (
        api.encode_cover(BASE, "T1", picture(COVER), COVER),
        api.decode_media_id,
    ),
    "uploadimg": (
        api.encode_picture(BASE, "T1", picture(INSIDE), INSIDE),
        api.decode_picture,
    ),
    "draft_add": (
        api.encode_draft_add(BASE, "T1", article(), "<section>客服</section>", "COVER"),
        api.decode_media_id,
    ),
    "draft_get": (api.encode_draft_get(BASE, "T1", "DRAFT"), api.decode_articles),
    "draft_batchget": (api.encode_drafts(BASE, "T1", 20), api.decode_drafts),
    "freepublish_submit": (api.encode_submit(BASE, "T1", "DRAFT"), api.decode_submit),
    "freepublish_get": (api.encode_job(BASE, "T1", "2650100001"), api.decode_job),
    "freepublish_batchget": (api.encode_published(BASE, "T1", 0), api.decode_published),
    "freepublish_getarticle": (
        api.encode_article(BASE, "T1", "A1"),
        api.decode_articles,
    ),
    "freepublish_delete": (api.encode_delete(BASE, "T1", "A1"), api.decode_success),
    "mass_sendall": (
        mass_api.encode_mass_send(BASE, "T1", "DRAFT", None, "key"),
        mass_api.decode_mass_send,
    ),
    "mass_sendall_tag": (
        mass_api.encode_mass_send(BASE, "T1", "DRAFT", 2, "key"),
        mass_api.decode_mass_send,
    ),
    "mass_get": (
        mass_api.encode_mass_status(BASE, "T1", MASS),
        mass_api.decode_mass_status,
    ),
    "mass_delete": (mass_api.encode_mass_delete(BASE, "T1", MASS), api.decode_success),
    "mass_preview": (
        mass_api.encode_preview(BASE, "T1", "DRAFT", "zhangsan"),
        api.decode_success,
    ),
    "getarticletotaldetail": (
        metrics.encode_reach(BASE, "T1", date(2026, 11, 24)),
        metrics.decode_reach,
    ),
}


def _reply(body, status=200, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status=status, headers=headers, body=data)


def _plain(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if is_dataclass(value):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | bool | None) else str(value)


def _as_data(call):
    return {
        "method": call.method,
        "url": call.url,
        "query": dict(call.query),
        "headers": dict(call.headers),
        "json": json.loads(call.content) if call.content else None,
        "uploads": [_plain(upload) for upload in call.uploads],
    }


@pytest.mark.parametrize("name", CALLS)
def test_golden_pair(name):
    """Each call is written, and its answer read, exactly as in its golden pair."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    call, decode = CALLS[name]
    assert _as_data(call) == golden["call"]
    if call.content is not None:  # the bytes, the order of the keys included
        assert (
            call.content
            == json.dumps(
                golden["call"]["json"], ensure_ascii=False, separators=(",", ":")
            ).encode()
        )
    assert _plain(decode(_reply(golden["reply"]))) == golden["means"]


def test_every_golden_pair_is_used():
    """Every golden pair belongs to a call that is made."""
    assert {path.stem for path in GOLDEN.iterdir()} == set(CALLS)


def test_text_is_sent_as_raw_utf8():
    """Chinese text is sent unescaped: escaped characters would be shown to readers."""
    call, _ = CALLS["draft_add"]
    assert "警惕“退款客服”诈骗".encode() in call.content
    assert b"\\u" not in call.content


def test_secrets_stay_out_of_representations():
    """Neither token nor secret is in the representations that a log would show.

    A log may show a call or a grant.
    """
    call, _ = CALLS["stable_token"]
    grant = api.decode_token(
        _reply({"access_token": "canary-token", "expires_in": 7200})
    )
    assert "s3cret" not in repr(call)
    assert "T1" not in repr(CALLS["draft_get"][0])
    assert "canary-token" not in repr(grant)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"<html>login</html>", 200, "wechat_unreadable"),
        (b'{"errcode":0', 200, "wechat_unreadable"),
        (b"[" * 100_000, 200, "wechat_unreadable"),
        (b"\xff\xfe", 200, "wechat_unreadable"),
        ([1], 200, "wechat_incomplete"),
        ({"errcode": "soon"}, 200, "wechat_incomplete"),
        ({"errcode": 0, "errmsg": "ok"}, 200, "wechat_incomplete"),
        ({"publish_id": ""}, 200, "wechat_incomplete"),
        ({"publish_id": 0}, 200, "wechat_incomplete"),
        ({"publish_id": 1}, 502, "server_error"),
        ({"errcode": 45009}, 503, "server_error"),
        ({"publish_id": 1}, 403, "wechat_http_error"),
        ({"publish_id": 1}, 302, "wechat_http_error"),
    ],
)
def test_no_answer_of_this_api(body, status, reason):
    """F28 F29 F30 F31 F33: only a complete answer with an id is a success.

    Anything else is unreadable.
    """
    assert api.decode_submit(_reply(body, status)) == api.UnreadableResponse(
        reason=reason
    )


def test_numbers_may_be_text():
    """An id is the same as number or text, and a code counts as text too."""
    assert api.decode_submit(_reply({"publish_id": "2650100001"})) == "2650100001"
    assert (
        api.decode_submit(_reply({"publish_id": 2650100001, "errcode": "0"}))
        == "2650100001"
    )
    assert api.decode_submit(_reply({"errcode": "45009"})) == api.ApiError(
        code=45009, message=""
    )


@given(REPLIES)
def test_no_answer_makes_a_decoder_raise(reply):
    """F31: decoders of mass sends and metrics never raise, for any answer.

    They return the promised type.
    """
    trouble = api.ApiError | api.TooManyRequests | api.UnreadableResponse
    assert isinstance(mass_api.decode_mass_send(reply), str | trouble)
    assert isinstance(mass_api.decode_mass_status(reply), str | trouble)
    assert isinstance(metrics.decode_reach(reply), dict | trouble)


def test_only_the_addresses_change():
    """A picture's address replaces its hash, escaped.

    Every other byte stays, look-alikes included.
    """
    sha256 = "a" * 64
    other = f"media:{sha256}"
    before = (
        f'<p title="{other}">{other}\u00a0&nbsp;</p>\r\n'
        f'<img  alt="a > b" src="media:{sha256}" data-w="9"/><IMG>'
    )
    after = api.insert_picture_urls(before, {sha256: 'http://m/x?a=1&b="'})
    assert after == before.replace(
        f'src="media:{sha256}"', 'src="http://m/x?a=1&amp;b=&quot;"'
    )
    assert api.find_pictures(before) == (sha256,)
