"""The rejections of the Tieba adapter before anything is sent, and its capabilities."""

from dataclasses import replace

import pytest

from adapters.tieba import TIEBA
from publisher.domain.account import Mode
from publisher.i18n import load_catalogue
from tests.adapters.fakes_tieba import TEXT, TITLE, account, server_for


@pytest.fixture
def tieba(make_server):
    return server_for(make_server)


@pytest.fixture
def send_request(make_request):
    return make_request("tieba", text=TEXT, title=TITLE)


async def test_check_names_what_tieba_rejects_f76(tieba, send_request, picture):
    """F76: lengths, half-width brackets and pictures are found before anything is sent."""
    adapter, _ = tieba
    good = send_request.rendered
    assert TIEBA.validate(adapter.account, good) == ()
    bad = {
        "tieba_title_length": replace(good, title="四个字儿"),
        "tieba_text_too_long": replace(good, text="雨" * 2001),
        "tieba_text_empty": replace(good, text=" "),
        "tieba_angle_brackets": replace(good, text="<b>"),
        "tieba_markup": replace(good, text="报警请拨 #(滑稽) 110"),
        "tieba_too_many_images": replace(good, images=(picture,) * 10),
        "tieba_image_type": replace(
            good, images=(replace(picture, media_type="image/bmp"),)
        ),
        "tieba_image_size": replace(
            good, images=(replace(picture, size=11 * 1024 * 1024),)
        ),
    }
    for code, rendered in bad.items():
        assert {
            problem.code for problem in TIEBA.validate(adapter.account, rendered)
        } == {code}
        assert code in load_catalogue()
    owing = account(has_accepted_risk=False, forum=None, options={"forum_id": "天气"})
    owed = {"tieba_risk_not_accepted", "tieba_no_forum_set", "tieba_forum_id"}
    assert {problem.code for problem in TIEBA.check_account(owing)} == owed
    by_hand = account(has_accepted_risk=False, mode=Mode.ASSISTED)
    assert (
        TIEBA.check_account(by_hand) == []
    )  # the risk is that of the unofficial interface
    assert owed <= set(load_catalogue())


@pytest.mark.parametrize("given", ["0", "-5", "12a", "１２", "²", ""])
def test_a_forums_number_is_a_number(given):
    """A forum's number must be positive and in plain digits."""
    [problem] = TIEBA.check_account(account(options={"forum_id": given}))
    assert (problem.code, problem.facts["key"]) == (
        "tieba_forum_id",
        "options.forum_id",
    )


@pytest.mark.parametrize(
    ("title", "is_right"),
    [
        ("四个字儿", False),
        ("五个字的题", True),
        ("  四个字儿  ", False),
        ("雨" * 31, True),
        ("雨" * 32, False),
        ("😀" * 4, False),
        ("😀" * 15 + "雨", True),
        ("😀" * 16, False),
    ],
)
def test_title_length(tieba, send_request, title, is_right):
    """A title has 5 to 31 characters, by the less favourable count.

    An emoji counts at least one and at most two.
    """
    adapter, _ = tieba
    codes = [
        problem.code
        for problem in TIEBA.validate(
            adapter.account, replace(send_request.rendered, title=title)
        )
    ]
    assert codes == ([] if is_right else ["tieba_title_length"])


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("雨" * 2000, 2000),
        ("雨" * 2001, 2001),
        ("a" * 2001, 2001),
        ("雨" * 1998 + "\r\n", 2000),
        ("雨" * 1999 + "\r\n", 2001),
        ("😀" * 1000, 2000),
        ("😀" * 1000 + "雨", 2001),
    ],
)
def test_text_length(tieba, send_request, text, length):
    """A text has up to 2000 characters, with line breaks counted as they are sent.

    A longer one is rejected, never cut.
    """
    adapter, _ = tieba
    assert TIEBA.capabilities(adapter.account).count_text(text) == length
    problems = TIEBA.validate(
        adapter.account, replace(send_request.rendered, text=text)
    )
    assert [problem.code for problem in problems] == (
        ["tieba_text_too_long"] if length > 2000 else []
    )
    assert all(
        problem.facts == {"length": str(length), "limit": "2000", "more": "4"}
        for problem in problems
    )


@pytest.mark.parametrize(("pictures", "room"), [(0, 2000), (1, 1996), (9, 1964)])
def test_a_text_leaves_room_for_its_pictures(
    tieba, send_request, picture, pictures, room
):
    """Each picture takes four characters of the limit.

    They are its markup, and the line break that joins it to the text.
    """
    adapter, _ = tieba
    good = replace(
        send_request.rendered, text="雨" * room, images=(picture,) * pictures
    )
    assert TIEBA.validate(adapter.account, good) == ()
    [problem] = TIEBA.validate(adapter.account, replace(good, text="雨" * (room + 1)))
    assert problem.facts == {"length": str(room + 1), "limit": str(room), "more": "4"}


def test_declared_timing_covers_the_platforms_delays():
    """The visibility window covers the longest late effect plus the longest list delay.

    No second call is allowed.
    """
    traits = TIEBA.capabilities(account())
    timing = TIEBA.defaults.timing
    assert timing.has_valid_order
    assert traits.server_delay + traits.listing_lag <= timing.visibility_window
    assert not traits.can_resend
