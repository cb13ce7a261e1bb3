"""What is made in a folder of two system users is for their group, and nowhere else."""

import stat

import pytest

from publisher.runtime.shared_files import share


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("folder", "before", "after"),
    [
        (0o2770, 0o600, 0o660),
        (0o2750, 0o600, 0o640),
        (0o2700, 0o600, 0o600),
        (0o2777, 0o600, 0o660),
        (0o770, 0o600, 0o600),
        (0o750, 0o640, 0o640),
        (0o2750, 0o660, 0o660),
    ],
)
def test_a_file_gets_the_groups_rights_of_a_shared_folder(tmp_path, folder, before, after):
    """The setgid bit shares a folder; others than the group get nothing, and no right is taken away."""
    file = tmp_path / "file"
    file.touch(before)
    file.chmod(before)
    tmp_path.chmod(folder)
    share(file)
    assert mode_of(file) == after


def test_a_folder_made_in_a_shared_folder_is_entered_by_the_group(tmp_path):
    """It keeps the setgid bit that it has by its own folder, so what is made in it is shared too."""
    tmp_path.chmod(0o2770)
    (tmp_path / "media").mkdir(0o700)
    share(tmp_path / "media")
    assert mode_of(tmp_path / "media") == 0o2770
