"""Differences are found in bounded time, for any input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.differences import MAX_COMPARISONS, compare_sequences

LETTERS = st.lists(st.sampled_from("abc"), max_size=40)


@given(LETTERS, LETTERS)
def test_the_parts_are_both_sequences(before, after):
    """The parts give both sequences in order and without a gap; equal parts are equal."""
    spans = list(compare_sequences(before, after))
    assert [item for span in spans for item in before[span.before]] == before
    assert [item for span in spans for item in after[span.after]] == after
    assert all(
        (before[span.before] == after[span.after]) is span.is_same for span in spans
    )


@pytest.mark.parametrize("number", [MAX_COMPARISONS, 20 * MAX_COMPARISONS])
def test_f90_a_long_difference_is_one_part(number):
    """A long difference is one part, and the equal items around it are still found.

    Comparing every two of its items would take hours.
    """
    spans = list(
        compare_sequences(
            ["x", "y", *["a", "a", "b"] * number, "z"],
            ["x", *["a", "b"] * number, "c", "z"],
        )
    )
    assert [span.is_same for span in spans] == [True, False, True]
