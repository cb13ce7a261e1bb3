"""Every line of Weibo's code table, against a second table that was written independently."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from adapters.weibo import WEIBO
from adapters.weibo.codes import CODES, to_message_key
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    RateLimited,
    Rejected,
    Submitted,
    Unknown,
)
from publisher.i18n import load_catalogue

SHARE = "https://api.weibo.com/2/statuses/share.json"
NEXT_HOUR = datetime(2026, 11, 24, 5, tzinfo=UTC)
DOUBT = "unknown"
DUPLICATE = "duplicate"
REFUSED = "rejected"
BUSY = "busy"
SIGN_IN = "credential"
SHOWN_LATER = "shown_later"
ACCOUNT, CAPTCHA = (
    HoldReason.ACCOUNT,
    HoldReason.CAPTCHA,
)

EXPECTED = {
    10001: DOUBT,
    10002: DOUBT,
    10003: DOUBT,
    10004: ACCOUNT,
    10005: ACCOUNT,
    10006: SIGN_IN,
    10007: ACCOUNT,
    10008: ACCOUNT,
    10009: DOUBT,
    10010: DOUBT,
    10011: DOUBT,
    10012: ACCOUNT,
    10013: ACCOUNT,
    10014: ACCOUNT,
    10016: ACCOUNT,
    10017: REFUSED,
    10018: REFUSED,
    10020: ACCOUNT,
    10021: ACCOUNT,
    10022: NEXT_HOUR,
    10023: NEXT_HOUR,
    10024: NEXT_HOUR,
    10025: DOUBT,
    11001: timedelta(hours=1),
    11002: DOUBT,
    11003: DOUBT,
    20001: ACCOUNT,
    20002: ACCOUNT,
    20003: ACCOUNT,
    20005: REFUSED,
    20006: REFUSED,
    20007: ACCOUNT,
    20008: REFUSED,
    20009: ACCOUNT,
    20012: REFUSED,
    20013: REFUSED,
    20014: BUSY,
    20015: ACCOUNT,
    20016: timedelta(hours=1),
    20017: DUPLICATE,
    20018: REFUSED,
    20019: DUPLICATE,
    20020: REFUSED,
    20021: REFUSED,
    20022: timedelta(hours=1),
    20023: ACCOUNT,
    20031: CAPTCHA,
    20032: SHOWN_LATER,
    20033: SIGN_IN,
    20049: REFUSED,
    20053: SHOWN_LATER,
    20101: DOUBT,
    20102: ACCOUNT,
    20104: ACCOUNT,
    20109: ACCOUNT,
    20111: DUPLICATE,
    20112: ACCOUNT,
    20121: ACCOUNT,
    21301: SIGN_IN,
    21302: SIGN_IN,
    21303: SIGN_IN,
    **dict.fromkeys(range(21305, 21314), ACCOUNT),
    21314: SIGN_IN,
    21315: SIGN_IN,
    21316: SIGN_IN,
    21317: SIGN_IN,
    21319: SIGN_IN,
    21320: ACCOUNT,
    21321: ACCOUNT,
    21322: ACCOUNT,
    21323: ACCOUNT,
    21324: ACCOUNT,
    21325: SIGN_IN,
    21326: ACCOUNT,
    21327: SIGN_IN,
    21328: ACCOUNT,
    21329: ACCOUNT,
    21330: SIGN_IN,
    21331: DOUBT,
    21332: SIGN_IN,
    21337: ACCOUNT,
    21405: DOUBT,
    21501: ACCOUNT,
    21504: ACCOUNT,
    21602: REFUSED,
    23201: DOUBT,
}

ACCOUNT_USED = Account(
    id=AccountId("beijing-weibo"),
    platform=Platform("weibo"),
    identity="1404376560",
    secret="weibo-beijing",
    public_ip="203.0.113.7",
)


def expected_outcome(code: int, now: datetime):
    """Return the outcome that the second table demands."""
    match EXPECTED[code]:
        case "unknown":
            return Unknown(reason=f"weibo_{code}")
        case "duplicate":
            return Unknown(reason=f"weibo_{code}", is_duplicate=True)
        case "rejected":
            return Rejected(code=f"weibo_{code}", reason="words")
        case "busy":
            return Busy(code=f"weibo_{code}", reason="words")
        case "credential":
            return CredentialExpired(reason=f"weibo_{code}")
        case HoldReason() as hold:
            return Blocked(code=f"weibo_{code}", reason="words", hold_reason=hold)
        case datetime() as until:
            return RateLimited(code=f"weibo_{code}", until=until)
        case timedelta() as rest:
            return RateLimited(code=f"weibo_{code}", until=now + rest)
        case _:
            return None


def test_no_line_of_the_table_is_without_a_test():
    """No line of the table is without a test.

    A code that is added to the table must be added here, with its meaning. No code here is without
    a line.
    """
    assert set(CODES) == set(EXPECTED)


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("spelling", [int, str])
async def test_each_code_of_the_table_f34(make_server, make_request, code, spelling):
    """F34: a listed code gives its outcome after one call, and has source, date and text.

    The code may be a number or a text.
    """
    server = make_server({"access_token": "t"})
    adapter = WEIBO.create(ACCOUNT_USED, server.context())
    server.router.post(SHARE).respond(
        400, json={"error_code": spelling(code), "error": "words", "request": "/2/x"}
    )
    outcome = await adapter.publish(make_request("weibo", text="编号K7QM-4R2T"))
    expected = expected_outcome(code, server.now)
    if expected is None:
        assert isinstance(outcome, Submitted)
        assert outcome.check_again_at == server.now + timedelta(minutes=2)
    else:
        assert outcome == expected
    assert set(load_catalogue()[to_message_key(code)]) >= {"zh_CN", "en"}
    assert CODES[code].source
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", CODES[code].read_on)
    assert date.fromisoformat(CODES[code].read_on)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", sorted(CODES))
async def test_a_failed_upload_is_never_unknown_f19(
    make_server, make_request, picture, code
):
    """F19: before the creating call no code is ever unknown: nothing was made."""
    server = make_server({"access_token": "t"})
    adapter = WEIBO.create(replace(ACCOUNT_USED, profile="biz"), server.context())
    server.router.post(
        "https://c.api.weibo.com/2/statuses/upload_pic/biz.json"
    ).respond(403, json={"error_code": code})
    outcome = await adapter.publish(
        make_request("weibo", text="编号K7QM-4R2T", pictures=(picture,))
    )
    assert not isinstance(outcome, Unknown | Submitted)
    assert len(server.requests) == 1
