"""The systemd units in docs/examples/, as systemd itself checks them."""

import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from publisher.rendering.child import MAX_MEMORY_BYTES

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
UNIT, WEB_UNIT = EXAMPLES / "publisher.service", EXAMPLES / "publisher-web.service"
WATCHDOG = EXAMPLES / "publisher-watchdog.service"
BACKUP = EXAMPLES / "publisher-backup.service"
MOST_EXPOSED = {UNIT: 1.7, WEB_UNIT: 1.4, WATCHDOG: 1.5, BACKUP: 1.5}
TIMERS = [unit.with_suffix(".timer") for unit in (WATCHDOG, BACKUP)]
"""The daemon asks the kernel about the clock and sees the schedule's owner: 0.2 each."""
MOST_THREADS = 100
"""Measured: 15 on two processors.

Add at most 32 more of Python's own on many processors, and one for each name that is resolved.
"""
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments, unit):
    return subprocess.run(
        [str(ANALYZE), *arguments, str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unit", MOST_EXPOSED, ids=lambda unit: unit.stem)
def test_the_unit_has_a_low_exposure(unit):
    """A compromised process has only its network and folder: an exposure of at most 1.7 of 10."""
    judged = analyze("security", "--offline=true", "--no-pager", unit=unit)
    found = re.search(
        rf"exposure level for {unit.stem}\.service: ([0-9.]+)", judged.stdout
    )
    assert found, judged.stderr
    assert float(found[1]) <= MOST_EXPOSED[unit], judged.stdout


@pytest.mark.parametrize("unit", [UNIT, WEB_UNIT], ids=lambda unit: unit.stem)
def test_the_unit_limits_resources_but_not_a_normal_run(unit):
    """The renderer may use all of its limit beside a large daemon. A runaway process is ended.

    A large daemon has many accounts.
    """
    limits = dict(
        re.findall(
            r"^(MemoryMax|TasksMax)=(\d+)", unit.read_text("utf-8"), re.MULTILINE
        )
    )
    assert int(limits["MemoryMax"]) * 2**30 >= MAX_MEMORY_BYTES + 512 * 2**20
    assert int(limits["TasksMax"]) >= MOST_THREADS


@pytest.mark.parametrize("unit", [*MOST_EXPOSED, *TIMERS], ids=lambda unit: unit.name)
def test_the_unit_is_valid(unit):
    """systemd knows every option of the unit and accepts every value."""
    judged = analyze("verify", "--man=no", unit=unit)
    assert (judged.returncode, judged.stderr) == (0, "")


def backup_commands(workspace, folder):
    """Return the commands of the backup's unit, with other paths, as systemd splits them."""
    text = BACKUP.read_text("utf-8")
    lines = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert not [line for line in lines if re.search(r"[*?|<>$;&]", line)], "no shell"
    return [
        shlex.split(
            line.replace("/srv/publisher", str(workspace)).replace(
                "/var/backups/publisher", str(folder)
            )
        )
        for line in lines
    ]


@pytest.mark.parametrize("has_vault", [True, False])
def test_the_backup_has_the_files_and_the_encrypted_secrets_but_no_key(
    tmp_path, has_vault
):
    """The unit's own commands copy what a new host needs, and neither keys nor the password."""
    workspace, folder = tmp_path / "workspace", tmp_path / "backups"
    folder.mkdir()
    kept = ["publisher.toml", "staff/schedule.toml", "templates/weibo.txt"]
    vault = ["var/vault.json"] if has_vault else []
    for name in [*kept, *vault, "var/vault-key", "secrets/user-key", ".pgpass"]:
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(name, "utf-8")
    first, *others = backup_commands(workspace, folder)
    assert first[1].endswith("publisher")
    for command in others:
        subprocess.run(command, check=True, cwd="/", umask=0o077)
    with tarfile.open(folder / "files.tar.gz") as archive:
        names = [member.name[2:] for member in archive if member.isfile()]
    assert sorted(names) == kept
    copies = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    assert copies == {"files.tar.gz": 0} | ({"vault.json": 0} if has_vault else {})


def test_the_backup_may_write_where_its_commands_do():
    """The unit has write access to the database and the folder of the backups, and no other."""
    text = BACKUP.read_text("utf-8")
    assert "\nReadWritePaths=/srv/publisher/var /var/backups/publisher\n" in text
    assert "\nUMask=0077\n" in text
