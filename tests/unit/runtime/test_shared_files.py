"""Files made in a folder of two system users are for their group only."""

import os
import stat

import pytest

from publisher.runtime.shared_files import open_plain, share


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
def test_a_file_gets_the_groups_rights_of_a_shared_folder(
    tmp_path, folder, before, after
):
    """The setgid bit shares a folder with its group.

    Others get nothing, and no right is taken away.
    """
    file = tmp_path / "file"
    file.touch(before)
    file.chmod(before)
    tmp_path.chmod(folder)
    share(file)
    assert mode_of(file) == after


def test_a_folder_made_in_a_shared_folder_is_entered_by_the_group(tmp_path):
    """A folder made in a shared folder keeps its setgid bit.

    Its content is therefore shared too.
    """
    tmp_path.chmod(0o2770)
    (tmp_path / "media").mkdir(0o700)
    share(tmp_path / "media")
    assert mode_of(tmp_path / "media") == 0o2770


@pytest.mark.parametrize(
    "plant",
    [lambda link, to: link.symlink_to(to), lambda link, to: link.hardlink_to(to)],
)
def test_what_a_link_leads_to_is_not_shared(tmp_path, plant):
    """The other user of a shared folder may have put it there, to a file that it may not read."""
    secret, shared = tmp_path / "vault-key", tmp_path / "db"
    shared.mkdir()
    shared.chmod(0o2770)
    secret.touch(0o600)
    plant(shared / "file", secret)
    share(shared / "file")
    assert mode_of(secret) == 0o600


def test_a_link_to_a_folder_is_not_shared(tmp_path):
    """Nor is the folder."""
    secrets, shared = tmp_path / "secrets", tmp_path / "db"
    secrets.mkdir(0o700)
    shared.mkdir()
    shared.chmod(0o2770)
    (shared / "media").symlink_to(secrets)
    share(shared / "media")
    assert mode_of(secrets) == 0o700


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe"])
def test_only_a_plain_file_is_opened(tmp_path, kind):
    """The target of a link keeps its text, also where it would be truncated.

    A pipe is not waited for.
    """
    secret, file = tmp_path / "vault.json", tmp_path / "file"
    secret.write_text("kept", "ascii")
    {
        "symbolic": file.symlink_to,
        "hard": file.hardlink_to,
        "pipe": lambda _to: os.mkfifo(file),
    }[kind](secret)
    for mode in ("w", "a", "r"):
        with (
            pytest.raises(OSError, match=r"file"),
            open(file, mode, encoding="ascii", opener=open_plain),
        ):
            pass
    assert secret.read_text("ascii") == "kept"


def test_a_plain_file_is_written_from_the_beginning(tmp_path):
    """With the opener `w` still truncates."""
    (tmp_path / "file").write_text("longer", "ascii")
    with open(tmp_path / "file", "w", encoding="ascii", opener=open_plain) as file:
        file.write("new")
    assert (tmp_path / "file").read_text("ascii") == "new"
