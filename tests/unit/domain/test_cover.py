"""The parts of a picture that an article's cover shows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.cover import (
    COVER_RATIOS,
    MAX_ZOOM,
    CropPosition,
    cut_box,
    format_fractions,
    parse_fractions,
)

FRACTION = r"(?:0|1|0\.\d{1,6})"
SIZES = st.tuples(st.integers(100, 6000), st.integers(100, 6000))
POSITIONS = st.builds(
    CropPosition,
    x=st.integers(0, 100),
    y=st.integers(0, 100),
    zoom=st.integers(100, MAX_ZOOM),
)


@given(SIZES, st.sampled_from(sorted(COVER_RATIOS)), POSITIONS)
def test_a_part_lies_in_its_picture_and_has_the_ratio_of_its_shape(
    size, shape, position
):
    """The platform gets fractions from 0 to 1 with six digits at most, and shows no other part."""
    text = format_fractions(cut_box(*size, shape, position), *size)
    assert re.fullmatch("_".join([FRACTION] * 4), text)
    box = parse_fractions(text, *size)
    assert box.width / box.height == pytest.approx(COVER_RATIOS[shape], rel=0.01)
    assert box.left + box.width <= size[0] + 0.01
    assert box.top + box.height <= size[1] + 0.01


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (CropPosition(), "0.25_0_0.75_1"),
        (CropPosition(x=0), "0_0_0.5_1"),
        (CropPosition(x=100, y=100), "0.5_0_1_1"),
        (CropPosition(x=100, y=100, zoom=200), "0.75_0.5_1_1"),
    ],
)
def test_a_square_is_cut_from_a_wide_picture(position, expected):
    """A position is between two edges, and a zoom makes the part smaller."""
    assert format_fractions(cut_box(800, 400, "square", position), 800, 400) == expected
