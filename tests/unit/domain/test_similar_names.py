"""One person has one name, however it is typed."""

import pytest

from publisher.domain.characters import find_invisible, is_same_name, name_skeleton

SAME = [
    ("zhang", "Zhang"),
    ("zhang", "ZHANG"),
    ("zhang", "ｚｈａｎｇ"),
    ("zhang", "zhаng"),  # Cyrillic а
    ("ZHANG", "ΖΗΑΝG"),  # Greek capitals
    ("xiao", "хіао"),  # Cyrillic letters only
    ("wang", "ᴡang".replace("ᴡ", "ԝ")),
    ("zhang", "zh\u200bang"),
    ("zhang", "zhang\ufe0f"),
    ("zhang", "zh\u00adang"),
    ("zhang", "𝐳𝐡𝐚𝐧𝐠"),
    ("li", "1i"),
    ("Li", "LI"),
    ("Li", "Iі"),
    ("zhao", "zha0"),
    ("ming", "rning"),
    ("张三", "张　三"),
    ("张三", "张 三"),
    ("王力", "王カ"),
    ("⼦轩", "子轩"),  # a radical instead of the character
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_look_alikes_are_one_name(one, other):
    """Case, width, look-alike letters and invisible characters make no second person."""
    assert is_same_name(one, other)
    assert is_same_name(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("zhang", "zhao"),
        ("张三", "张二"),
        ("王", "玉"),
        ("李", "季"),
        ("approver1", "approver2"),
        ("li", "lu"),
    ],
)
def test_two_people_stay_two(one, other):
    """Names that look different are different people's."""
    assert not is_same_name(one, other)


def test_a_skeleton_is_its_own_skeleton():
    """A skeleton is not reduced further, so that the order of comparing does not matter."""
    for one, other in SAME:
        assert name_skeleton(name_skeleton(one)) == name_skeleton(one)
        assert name_skeleton(name_skeleton(other)) == name_skeleton(other)


@pytest.mark.parametrize(
    "letter",
    [
        "\u200b",
        "\u202e",
        "\u3164",
        "\u115f",
        "\ufe0f",
        "\u034f",
        "\x1b",
        "\x9b",
        "\u2028",
        "\U000e0041",
        "\u2800",
    ],
)
def test_invisible_characters_are_found_with_their_position(letter):
    """Control characters and invisible ones are not allowed in a name."""
    assert find_invisible(f"王{letter}力") == (2, letter)


def test_ordinary_names_are_accepted():
    """Chinese and Latin names, with points, accents and single spaces, are accepted."""
    for name in (
        "王力",
        "Wang Li",
        "阿依古丽·买买提",
        "José",
        "o'neil",
        "zhang.san@example",
    ):
        assert find_invisible(name) is None
