"""A text too long for one part continues in further ones, and loses nothing."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.post import Marker, format_part_prefix
from publisher.rendering.text_split import split_text
from tests.unit.rendering.rendering_fixtures import post_of, render_for, traits_of

MARKER = Marker(code="K7QM-4R2T")
TRAITS = replace(traits_of("tieba"), text_limit=60, max_extra_parts=3)
PARAGRAPH = "凡是要求共享屏幕的都是诈骗。请立即挂断电话！"
words = st.lists(
    st.sampled_from(
        [
            PARAGRAPH,
            "不转账。",
            "他说：“快！”",
            "核实？\r\n",
            "\r\n\r\n",
            "退款原路退回；",
            "https://a.cn/?n=1。",
        ]
    ),
    max_size=40,
)


def bare(text: str) -> str:
    return "".join(text.split())


def test_a_text_that_fits_stays_whole():
    """Up to the limit a text has one part.

    Where a platform has no further parts, a text is never split.
    """
    assert split_text("雨" * 60, MARKER, TRAITS) == ("雨" * 60,)
    long = f"{PARAGRAPH}\r\n\r\n" * 9
    assert split_text(long, MARKER, replace(TRAITS, max_extra_parts=0)) == (long,)


def test_the_first_part_leaves_room_for_the_pictures():
    """The pictures are in the first part and take some of its limit.

    The further parts have their full length.
    """
    traits = replace(TRAITS, picture_length=4)
    assert split_text("雨" * 52, MARKER, traits, 2) == ("雨" * 52,)
    text = f"{PARAGRAPH}\r\n\r\n{PARAGRAPH}\r\n\r\n{PARAGRAPH}"
    assert len(split_text(text, MARKER, traits, 0)[0]) > len(PARAGRAPH)
    first, *others = split_text(text, MARKER, traits, 5)
    assert first == PARAGRAPH
    assert others == [
        f"{format_part_prefix(MARKER, number, 3)}\r\n{PARAGRAPH}" for number in (2, 3)
    ]


def test_paragraphs_come_first_then_sentences():
    """A text is split between paragraphs.

    It is split between sentences of a paragraph only where half a part would be wasted.
    """
    text = f"{PARAGRAPH}\r\n\r\n{PARAGRAPH}\r\n\r\n{PARAGRAPH}"
    assert split_text(text, MARKER, TRAITS) == [
        f"{PARAGRAPH}\r\n\r\n{PARAGRAPH}",
        f"{format_part_prefix(MARKER, 2, 2)}\r\n{PARAGRAPH}",
    ]
    first, second = split_text(f"短句。\r\n\r\n{PARAGRAPH * 3}", MARKER, TRAITS)
    assert first == f"短句。\r\n\r\n{PARAGRAPH * 2}"
    assert second == f"{format_part_prefix(MARKER, 2, 2)}\r\n{PARAGRAPH}"


@pytest.mark.parametrize(
    "text", ["雨" * 61, f"{PARAGRAPH}\r\n\r\n" * 20, f"不转账。{'雨' * 61}"]
)
def test_a_text_that_no_parts_hold_is_left_whole(text):
    """F76: a text is never cut inside a sentence or into too many parts.

    The check refuses it then.
    """
    assert split_text(text, MARKER, TRAITS) == (text,)


@given(words)
def test_nothing_is_lost_and_nothing_too_long(parts):
    """The parts hold the whole text in order, each fits, and each has its prefix."""
    text = "".join(parts).strip()
    parts = split_text(text, MARKER, TRAITS)
    if len(parts) == 1:
        return
    prefixes = [
        format_part_prefix(MARKER, number, len(parts))
        for number in range(2, len(parts) + 1)
    ]
    assert all(
        part.startswith(f"{prefix}\r\n") or "\r\n" not in text
        for part, prefix in zip(parts[1:], prefixes, strict=True)
    )
    reported = [
        parts[0],
        *(
            part.removeprefix(prefix)
            for part, prefix in zip(parts[1:], prefixes, strict=True)
        ),
    ]
    assert bare("".join(reported)) == bare(text)
    assert max(map(len, parts)) <= TRAITS.text_limit
    assert all(re.search(r"[。！？；”]\s*$", part) for part in reported)


def test_a_rendered_post_has_its_parts(shipped):
    """F76: a long Tieba post has its number near the start of the first part.

    The tip line is in some part.
    """
    body = "\n\n".join(PARAGRAPH * 8 for _ in range(18))
    rendered = render_for("tieba", post_of(body=body), shipped)
    assert len(rendered.extra_parts) == 1
    assert rendered.marker.is_in(rendered.text[:60])
    assert rendered.extra_parts[0].startswith(format_part_prefix(rendered.marker, 2, 2))
    assert "12377" in "".join(rendered.all_parts)
    assert all(len(part) <= 2000 for part in rendered.all_parts)
    assert render_for("weibo", post_of(body=body), shipped).extra_parts == ()
