"""Pinyin for search and for suggested ids."""

import pytest

from publisher.web.kit.pinyin import spell_syllables


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("重庆市公安局", "chongqingshigonganju"),
        ("平安长沙", "pinganchangsha"),
        ("厦门反诈中心", "xiamenfanzhazhongxin"),
        ("长宁 96110", "changning 96110"),
        ("贵州六安", "guizhouluan"),
    ],
)
def test_places_are_spelled_as_people_read_them(text, spelled):
    """A place with a character of several readings is found by the usual one."""
    assert "".join(spell_syllables(text)) == spelled


def test_other_characters_can_be_left_out():
    """An id is made of the syllables alone."""
    assert spell_syllables("冒充客服（二）！", errors="ignore") == [
        "mao",
        "chong",
        "ke",
        "fu",
        "er",
    ]
