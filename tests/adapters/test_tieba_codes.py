"""Every line of Tieba's code table, against a second table that was written independently."""

import re
from datetime import date, timedelta

import pytest

from adapters.tieba.codes import CODES, THREAD_GONE_CODES, to_message_key
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    HoldReason,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.i18n import load_catalogue
from tests.adapters.fakes_tieba import (
    ADD,
    DELETE,
    NOT_THERE,
    PAGE,
    RECEIPT,
    TEXT,
    TITLE,
    UPLOAD,
    server_for,
)

DOUBT, REFUSED, BUSY, SIGN_IN, REVIEW = (
    "unknown",
    "rejected",
    "busy",
    "credential",
    "review",
)
ACCOUNT, CAPTCHA = (
    HoldReason.ACCOUNT,
    HoldReason.CAPTCHA,
)
SLOW, CLOSED = timedelta(minutes=10), timedelta(hours=1)

EXPECTED = {
    **dict.fromkeys([1, 4, 265, 2101, 100023, 230004, 230265, 260005], SIGN_IN),
    **dict.fromkeys(
        [5, 6, 38, 39, 40, 257, 4011, 224011, 3250012, 3250021, 3250023], CAPTCHA
    ),
    **dict.fromkeys([227001, 3250026, 224010, 4010, 7001, 238010], ACCOUNT),
    **dict.fromkeys([8, 9, 12, 220012, 13, 230013, 340016, 230889], ACCOUNT),
    **dict.fromkeys([3250001, 3250002, 3250003, 3250004, 3250013], ACCOUNT),
    **dict.fromkeys(
        [400013, 308, 230308, 340012, 1990032, 269, 274, 230274, 340001, 340006],
        ACCOUNT,
    ),
    **dict.fromkeys([706, 230277, 230278, 230901, 271, 273, 230273], ACCOUNT),
    **dict.fromkeys([34, 220034, 230871, 239103], SLOW),
    230705: CLOSED,
    2230204: BUSY,
    **dict.fromkeys(
        [220015, 2000, 232000, 232001, 232007, 2007, 230962, 230963], REFUSED
    ),
    **dict.fromkeys(
        [
            230020,
            220011,
            230046,
            230902,
            *range(230808, 230816),
            230961,
            3300001,
            3300003,
        ],
        REFUSED,
    ),
    **dict.fromkeys([2230201, 2230211], REFUSED),
    230008: REVIEW,
    **dict.fromkeys(
        [110001, 210009, 101, 300000, 1130032, 110000, 110004, 1990043, 2260001], DOUBT
    ),
}


def expected_outcome(code, now):
    match EXPECTED[code]:
        case HoldReason() as hold:
            return Blocked(code=to_message_key(code), reason="words", hold_reason=hold)
        case timedelta() as wait:
            return RateLimited(code=to_message_key(code), until=now + wait)
        case "unknown":
            return Unknown(reason=to_message_key(code))
        case "credential":
            return CredentialExpired(reason=to_message_key(code))
        case "busy":
            return Busy(code=to_message_key(code), reason="words")
        case "rejected":
            return Rejected(code=to_message_key(code), reason="words")
    return None


def test_both_tables_name_the_same_numbers():
    """A number without a line in the second table would have no test, and so fails here."""
    assert set(CODES) == set(EXPECTED)
    assert set(CODES) >= THREAD_GONE_CODES


@pytest.mark.parametrize("spell", [int, str])
@pytest.mark.parametrize("code", sorted(CODES))
async def test_each_number_of_the_table_f34(make_server, make_request, code, spell):
    """F34: a listed number gives its line's outcome after one creating call, and has a text.

    It may be a number or a text.
    """
    adapter, server = server_for(make_server)
    server.router.post(ADD).respond(
        200, json={"error_code": spell(code), "error_msg": "words", "info": []}
    )
    outcome = await adapter.publish(make_request("tieba", text=TEXT, title=TITLE))
    expected = expected_outcome(code, server.now)
    if expected is None:
        assert isinstance(outcome, Submitted)
        assert outcome.check_again_at == server.now + timedelta(minutes=5)
    else:
        assert outcome == expected
    assert [request.url.path for request in server.requests].count(
        "/c/c/thread/add_pc"
    ) == 1


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_line_has_a_source_and_a_remedy(code):
    """Each line has a source, the day it was read, and a text with a hint in both languages."""
    assert CODES[code].source
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", CODES[code].read_on)
    assert date.fromisoformat(CODES[code].read_on)
    entry = load_catalogue()[to_message_key(code)]
    assert set(entry) >= {"zh_CN", "en", "hint"}
    assert set(entry["hint"]) >= {"zh_CN", "en"}


@pytest.mark.parametrize("code", sorted(CODES))
async def test_a_failed_upload_is_never_unknown_f19_f75(
    make_server, make_request, picture, code
):
    """F19, F75: before the creating call no number makes the outcome unknown.

    Nothing was made yet.
    """
    adapter, server = server_for(make_server)
    server.router.post(UPLOAD).respond(200, json={"error_code": code})
    outcome = await adapter.publish(
        make_request("tieba", text=TEXT, title=TITLE, pictures=(picture,))
    )
    assert not isinstance(outcome, Unknown | Submitted)
    assert "/c/c/thread/add_pc" not in [request.url.path for request in server.requests]


@pytest.mark.parametrize("code", sorted(CODES))
async def test_only_numbers_of_a_missing_thread_report_a_deletion_f78(
    make_server, code
):
    """F78: of all numbers, only the numbers of a missing thread say that it is deleted."""
    adapter, server = server_for(make_server)
    server.router.post(DELETE).respond(200, json={"error_code": code})
    server.router.post(PAGE).mock(return_value=NOT_THERE)
    assert isinstance(await adapter.retract(RECEIPT), Deleted) == (
        code in THREAD_GONE_CODES
    )
