"""One process at a time has the lock of a file."""

import errno
import os

import pytest

from publisher.runtime.file_locks import hold_lock, is_still_at, lock_now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.lock"


def test_a_held_lock_is_free_for_nobody_until_it_ends(path):
    """The file stays; another process that asks for it now is refused, and later gets it."""
    with hold_lock(path), path.open() as other, pytest.raises(BlockingIOError):
        lock_now(other)
    with path.open() as other:
        lock_now(other)
        assert is_still_at(other.fileno(), path)


def test_a_lock_ends_with_an_error_of_its_holder(path):
    """The error passes on."""
    with pytest.raises(ZeroDivisionError), hold_lock(path):
        _never = 1 / 0
    with path.open() as other:
        lock_now(other)


def test_a_lock_file_is_private_and_no_link(path):
    """A link in its place is refused, and its target is not made."""
    with hold_lock(path):
        assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    path.symlink_to(path.with_name("target"))
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), hold_lock(path):
        pass
    assert not path.with_name("target").exists()


def test_a_path_leads_to_another_file_or_to_none(path):
    """An open file that was replaced or deleted is no longer at its path."""
    with path.open("w") as opened:
        path.with_name("new").touch()
        path.with_name("new").replace(path)
        assert not is_still_at(opened.fileno(), path)
        path.unlink()
        assert not is_still_at(opened.fileno(), path)
