"""WeChat's codes, each with its meaning for the one creating call."""

from datetime import UTC, datetime, timedelta

import pytest

from adapters.wechat.codes import CODES
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    RateLimited,
    Rejected,
    Unknown,
)
from tests.adapters.fakes_wechat import NOW, WeChatScene, error, send_request

MIDNIGHT = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)
_SAID = "said the platform"


def _codes(text):
    return [int(word) for word in text.split()]


def _all(text, outcome):
    return {code: outcome(code) for code in _codes(text)}


def _blocked(hold):
    return lambda code: Blocked(code=f"wechat_{code}", reason=_SAID, hold_reason=hold)


def _limited(until):
    return lambda code: RateLimited(code=f"wechat_{code}", until=until)


EXPECTED = {
    **_all(
        "40001 40014 40125 41001 42001",
        lambda code: CredentialExpired(reason=f"wechat_{code}"),
    ),
    **_all("40002 40013 40243 41002 41004", _blocked(HoldReason.AUTH)),
    **_all(
        "40164 48004 50002 50004 50005 53500 89501 89503 89506 89507",
        _blocked(HoldReason.ACCOUNT),
    ),
    **_all("48001 48003 48008 50001 61004 61007", _blocked(HoldReason.ACCOUNT)),
    **_all("53504 53505", _blocked(HoldReason.CAPTCHA)),
    **_all("45009", _limited(MIDNIGHT)),
    **_all("45102 45501", _limited(NOW + timedelta(hours=2))),
    **_all("53501", _limited(NOW + timedelta(minutes=30))),
    **_all("45011 45066", lambda code: Busy(code=f"wechat_{code}", reason=_SAID)),
    **_all(
        "40007 45065", lambda code: Unknown(reason=f"wechat_{code}", is_duplicate=True)
    ),
    **_all(
        "-1 40003 40031 40032 40059 40060 40130 45083 45084 45085 46001 48006"
        " 53404 53502 53600 76021 76022 88001 88002 88008",
        lambda code: Unknown(reason=f"wechat_{code}"),
    ),
    **_all(
        "40004 40005 40006 40008 40009 40012 40033 40035 40038 40066 40097 40113 40137 41005 41006"
        " 43002 43003 44001 44002 44003 44004 45001 45002 45003 45004 45005 45008 45028 45067 45103"
        " 45106 45110 45159 45166 47001 47002 53402 53503 87014 88000 200001",
        lambda code: Rejected(code=f"wechat_{code}", reason=_SAID),
    ),
}


@pytest.fixture
def scene():
    made = WeChatScene()
    made.works()
    return made


def test_no_code_is_without_a_test():
    """Each line of the table has an expected meaning here, and nothing else has one."""
    assert set(EXPECTED) == set(CODES)


@pytest.mark.parametrize("code", EXPECTED)
async def test_each_code_on_the_submission_f34(scene, code):
    """F34: each listed code has its expected outcome, and the submission is made exactly once."""
    scene.answers("freepublish/submit", error(code))
    assert await scene.adapter.publish(send_request()) == EXPECTED[code]
    assert len(scene.asked("freepublish/submit")) == 1


@pytest.mark.parametrize("code", EXPECTED)
async def test_each_code_on_the_mass_send_f34(scene, code):
    """F34: each listed code means the same for a mass send.

    The mass send is made exactly once and never becomes another call.
    """
    scene.profile = "mass"
    scene.answers("message/mass/sendall", error(code))
    assert await scene.adapter.publish(send_request(is_urgent=True)) == EXPECTED[code]
    assert len(scene.asked("message/mass/sendall")) == 1
    assert not scene.asked("freepublish/submit")
