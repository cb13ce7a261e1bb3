"""A dictionary of limited size drops its oldest entries."""

import pytest

from publisher.runtime.bounded_dict import BoundedDict


@pytest.fixture
def full():
    """Return a full dictionary; its oldest key is `a`."""
    entries = BoundedDict(3)
    for number, key in enumerate("abc"):
        entries[key] = number
    return entries


def test_one_entry_more_drops_the_oldest(full):
    """The others stay, in the order in which they were set."""
    full["d"] = 3
    assert list(full.items()) == [("b", 1), ("c", 2), ("d", 3)]


def test_an_entry_that_is_set_again_is_the_newest(full):
    """It has the new value, and nothing is dropped for it."""
    full["a"] = 9
    assert list(full.items()) == [("b", 1), ("c", 2), ("a", 9)]
    full["d"] = 3
    assert list(full) == ["c", "a", "d"]


def test_reading_keeps_the_order(full):
    """An entry that is only read is dropped in its turn."""
    assert (full["a"], full.get("a"), full.setdefault("a", 5)) == (0, 0, 0)
    full["d"] = 3
    assert "a" not in full


@pytest.mark.parametrize(
    "add",
    [
        lambda entries: entries.setdefault("d", 3),
        lambda entries: entries.update(d=3),
        lambda entries: entries.__ior__({"d": 3}),
    ],
    ids=["setdefault", "update", "or"],
)
def test_no_way_in_passes_the_limit(full, add):
    """Each method that sets an entry drops the oldest one."""
    add(full)
    assert list(full) == ["b", "c", "d"]


def test_a_removed_entry_leaves_room(full):
    """After a removal one entry more fits."""
    del full["b"]
    full["d"] = 3
    assert list(full) == ["a", "c", "d"]
