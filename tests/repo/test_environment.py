"""The set-up on a bare machine: the pip of `venv`, no uv, a small project, packages in a folder."""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.long(seconds=30)

ROOT = Path(__file__).parents[2]
PATIENCE = 180
UNSERVED = "http://127.0.0.1:9/simple"
PROJECT = (
    '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
)
BACKEND = """
import os, pathlib, signal, time, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    trap = pathlib.Path("trap")
    if trap.exists():
        trap.unlink()
        os.killpg(int(pathlib.Path("group").read_text()), signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)
    slow = pathlib.Path("slow")
    if slow.exists():
        slow.unlink()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path("builder").write_text(str(os.getpid()))
        os.killpg(int(pathlib.Path("group").read_text()), signal.SIGTERM)
        time.sleep(600)  # it hangs
    with zipfile.ZipFile(os.path.join(folder, "publisher-1.0-py3-none-any.whl"), "w") as wheel:
        info = "publisher-1.0.dist-info"
        wheel.writestr("publisher.pth", os.getcwd())
        wheel.writestr(f"{info}/METADATA", \
"Metadata-Version: 2.1\\nName: publisher\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", \
"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "publisher-1.0-py3-none-any.whl"
"""
SCRIPT = """#!/bin/sh
set -eu
echo $$ > group
pinned=${PINNED:-pins.txt}
. "$(dirname "$0")/setup.sh"
exec .venv/bin/python -c 'import lamp, socket_of_lamp; print(lamp.VERSION)'
"""


def wheel_of(folder: Path, name: str, version: str, requires: str = "") -> str:
    """Write a package into a folder; return the line that pins it."""
    record, info = [], f"{name}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        f"Provides-Extra: bright\n{requires}"
    )
    contents = {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}.py": f"VERSION = '{version}'\n",
    }
    for path, text in contents.items():
        digest = (
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            .rstrip(b"=")
            .decode()
        )
        record.append(f"{path},sha256={digest},{len(text)}")
    file = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in (
            contents | {f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,"])}
        ).items():
            wheel.writestr(path, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


class Project:
    """A small project with our set-up. A dependency has a newer release than the pinned one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts", "publisher", "wheels"):
            (folder / name).mkdir()
        for name in ("setup.sh", "make_environment.py"):
            shutil.copy(ROOT / "scripts" / name, folder / "scripts")
        (folder / "scripts" / "shine").write_text(SCRIPT, "utf-8")
        (folder / "pyproject.toml").write_text(PROJECT, "utf-8")
        (folder / "backend.py").write_text(BACKEND, "utf-8")
        (folder / "publisher" / "__init__.py").touch()
        wheels = folder / "wheels"
        pins = wheel_of(
            wheels, "socket_of_lamp", "1.0", "Requires-Dist: lamp[bright]>=1\n"
        )
        pins += wheel_of(wheels, "lamp", "1.0")
        wheel_of(wheels, "lamp", "2.0")
        (folder / "pins.txt").write_text(pins, "utf-8")

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the project's script where there is no uv and no index but the folder."""
        bare = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHON": sys.executable,
            "LC_ALL": "C.UTF-8",
        }
        bare["PIP_USER"] = "1"
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return subprocess.run(
            ["/bin/sh", "scripts/shine"],
            cwd=self.folder,
            env=bare | offline | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )


@pytest.fixture(scope="module")
def project_after_kill(tmp_path_factory):
    """Return a project with a killed first set-up, and the results of two more calls.

    The kill came halfway through a package.
    """
    project = Project(tmp_path_factory.mktemp("project"))
    (project.folder / "trap").touch()
    killed = project.run()
    for half in (project.folder / ".venv").rglob("lamp.py"):
        half.write_text("", "utf-8")
    return SimpleNamespace(
        project=project, killed=killed, repaired=project.run(), again=project.run()
    )


def test_a_newer_release_of_a_dependency_does_not_matter(project_after_kill):
    """The pinned version is installed, although the index has a newer one for a requirement.

    The requirement has an extra.
    """
    assert project_after_kill.repaired.returncode == 0, (
        project_after_kill.repaired.stderr
    )
    assert project_after_kill.repaired.stdout == "1.0\n"


def test_a_set_up_that_was_killed_is_repaired_by_the_next_call(project_after_kill):
    """A package that was half written at the kill of the set-up is complete after the next call."""
    assert project_after_kill.killed.returncode == -signal.SIGKILL
    assert "installing publisher" in project_after_kill.killed.stderr
    assert "making the Python environment" in project_after_kill.repaired.stderr
    assert project_after_kill.repaired.stdout == "1.0\n"


def is_running(process: int) -> bool:
    """Return True if a process still runs.

    A dead one stays in the table until its exit status is read.
    """
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text("utf-8")
    except FileNotFoundError:
        return False


def test_a_terminated_set_up_ends_all_that_it_started(project_after_kill):
    """An installer's child that ignores the signal is killed. None runs beside the next call."""
    (project_after_kill.project.folder / "slow").touch()
    shutil.copy(
        project_after_kill.project.folder / "pins.txt",
        project_after_kill.project.folder / "same.txt",
    )
    done = project_after_kill.project.run(PINNED="same.txt")
    builder = int((project_after_kill.project.folder / "builder").read_text("ascii"))
    assert done.returncode == -signal.SIGTERM
    assert not is_running(builder)


def test_steps_are_shown_in_both_languages_and_a_finished_set_up_says_nothing(
    project_after_kill,
):
    """Each step is named in Chinese and English. A finished set-up shows nothing, does nothing."""
    assert (
        "正在安装锁定的依赖（pins.txt） / installing the pinned packages (pins.txt) …"
        in project_after_kill.repaired.stderr
    )
    assert (project_after_kill.again.stdout, project_after_kill.again.stderr) == (
        "1.0\n",
        "",
    )


def test_without_a_network_the_set_up_says_what_to_do(project_after_kill):
    """Without the index the call fails with pip's own message, and advice in both languages."""
    (project_after_kill.project.folder / "more.txt").write_text(
        f"absent==1.0 --hash=sha256:{'0' * 64}\n", "utf-8"
    )
    lonely = {
        "PIP_NO_INDEX": "0",
        "PIP_INDEX_URL": UNSERVED,
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
    }
    done = project_after_kill.project.run(PINNED="more.txt", **lonely)
    assert done.returncode == 2
    assert "No matching distribution found for absent==1.0" in done.stderr
    assert "请检查网络和代理" in done.stderr
    assert "Check network and proxy" in done.stderr


def test_an_environment_of_another_folder_is_left_alone(tmp_path):
    """A linked .venv is neither emptied nor filled, and the message says how to go on."""
    project, kept = Project(tmp_path), tmp_path / "other" / "file"
    kept.parent.mkdir()
    kept.touch()
    (project.folder / ".venv").symlink_to(kept.parent)
    done = project.run()
    assert done.returncode == 2
    assert "Remove the link" in done.stderr
    assert [*kept.parent.iterdir()] == [kept]


def test_a_python_without_venv_says_what_to_install(tmp_path):
    """Debian packages venv separately: the call fails, and names the package in both languages."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "ensurepip.py").write_text("raise ImportError", "utf-8")
    done = Project(tmp_path).run(PYTHONPATH=str(tmp_path / "without"))
    assert done.returncode == 2
    package = (
        f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv"
    )
    assert done.stderr.count(package) == 2
    assert "安装没有完成。" in done.stderr
