"""A file is replaced in one step, and stays as it is until then."""

import os
import stat
from pathlib import Path

import pytest

from publisher.runtime.files import put_in_place, write_beside


@pytest.fixture
def file(tmp_path):
    """Return a file with old contents."""
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    return path


def fail(_opened):
    raise OSError(28, "No space left on device")


def test_f16_the_file_is_synced_before_its_new_name_and_the_folder_after_it(
    file, monkeypatch
):
    """F16: neither a half-written file nor the loss of its name is left by a power cut."""
    steps, fsync, replace = [], os.fsync, Path.replace

    def record_sync(descriptor):
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def record_rename(new, target):
        steps.append("rename")
        return replace(new, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_rename)
    new = write_beside(file, b"new")
    assert file.read_bytes() == b"old"
    put_in_place(new, file)
    assert file.read_bytes() == b"new"
    assert steps == [".kept.json.new", "rename", file.parent.name]


def test_a_failure_leaves_the_old_file_alone(file):
    """The old file stays, and nothing of the new one is left."""
    with pytest.raises(OSError, match="No space"):
        write_beside(file, b"new", prepare=fail)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_i19_the_remains_of_a_crash_are_not_written_into(file, kind):
    """I19: a readable file or a link in the way is removed; the new file is private."""
    remains, other = file.with_name(".kept.json.new"), file.with_name("other")
    other.write_bytes(b"another's")
    if kind == "file":
        remains.touch(0o644)
    else:
        remains.symlink_to(other)
    new = write_beside(file, b"new")
    assert stat.S_IMODE(new.lstat().st_mode) == 0o600
    assert (new.read_bytes(), other.read_bytes()) == (b"new", b"another's")


def test_the_mode_is_set_before_the_contents_are_there(file):
    """Nobody reads the contents under another mode than the one chosen for them."""
    seen = []

    def prepare(opened):
        seen.append(os.fstat(opened.fileno()).st_size)
        os.fchmod(opened.fileno(), 0o640)

    new = write_beside(file, b"new", prepare)
    assert (seen, stat.S_IMODE(new.stat().st_mode)) == ([0], 0o640)
