"""The installation manual's commands, run in an empty root; the container file, only read.

No container engine is needed.
"""

import base64
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from publisher.cli import COMMANDS

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "installation.md"
CONTAINERFILE = ROOT / "docs" / "examples" / "Containerfile"
BLOCK = re.compile(
    r"<!-- (runs|runs with the daemon|does not run: [^>]+) -->\n```sh\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
BLOCKS = BLOCK.findall(MANUAL.read_text("utf-8"))
SOURCE = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "THIRD_PARTY_NOTICES.md",
    "schedule.toml",
    "publisher",
    "adapters",
    "templates",
    "docs/examples",
)
RELEASES = ("0.1.0", "0.2.0")
PATIENCE = 900

MOUNT = """
root=$1
mount --make-rprivate /
for name in usr {python}; do
    mkdir -p "$root/$name" && mount --rbind "/$name" "$root/$name" && \
mount -o remount,bind,ro "$root/$name"
done
for name in bin sbin lib lib64; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$root/$name"
    elif [ -d "/$name" ]; then mkdir "$root/$name" && mount --rbind "/$name" "$root/$name"; fi
done
mkdir "$root/bin.local" && cp -a /usr/local/bin/. "$root/bin.local" && \
mount --bind "$root/bin.local" "$root/usr/local/bin"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" /bin/sh -eu /steps/all
"""
"""Makes a folder the root of later commands.

The system's programs are read-only, but for a copy of /usr/local/bin. None of its settings or data
are there.
"""
START = """
setpriv --reuid publisher --regid publisher --init-groups \\
    /opt/publisher/.venv/bin/publisher -C /srv/publisher run 2>/run/log &
daemon=$!
until sh -eu /steps/health.sh; do kill -0 "$daemon" || { cat /run/log >&2; exit 1; }; done
setpriv --reuid publisher-web --regid publisher --init-groups \\
    /opt/publisher/.venv/bin/publisher --lang en -C /srv/publisher web 2>/run/web.log &
web=$!
until grep -q web_listening /run/web.log; do \
kill -0 "$web" || { cat /run/web.log >&2; exit 1; }; sleep 0.2; done
if grep right_missing /run/web.log >&2; then exit 1; fi
"""
STOP = 'kill "$web" "$daemon" && wait "$web" && wait "$daemon"'


def health_check() -> list[str]:
    """Return the command of the container file's health check."""
    return json.loads(
        re.findall(
            r"^HEALTHCHECK .*? CMD (\[.*\])$",
            CONTAINERFILE.read_text("utf-8"),
            re.MULTILINE,
        )[0]
    )


def test_every_shell_block_says_whether_it_is_run():
    """No command of the manual escapes the test without a reason beside it."""
    assert len(BLOCKS) == MANUAL.read_text("utf-8").count("```sh\n")
    assert [kind for kind, _ in BLOCKS].count("runs") > 5


@pytest.mark.parametrize(
    "block", [block for _, block in BLOCKS], ids=range(len(BLOCKS))
)
def test_each_block_is_valid_shell(block):
    """A shell can read each block, also one that is not run."""
    done = subprocess.run(
        ["/bin/sh", "-n"], input=block, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", [MANUAL, CONTAINERFILE], ids=lambda path: path.name)
def test_the_commands_that_are_named_exist(path):
    """Blocks that cannot be run here name commands of publisher all the same."""
    text = path.read_text("utf-8")
    if path == MANUAL:
        text = "".join(block for _kind, block in BLOCKS)
    named = re.findall(
        r"(?:^|publisher(?:\", \"| )-C(?:\", \"| )/srv/)publisher(?:\", \"| )([a-z][a-z-]*)",
        text,
        re.MULTILINE,
    )
    assert named
    assert set(named) <= set(COMMANDS)


def pack(distribution: importlib.metadata.Distribution, folder: Path) -> str:
    """Write an installed distribution's wheel, without scripts; return the line that pins it.

    Its files have no time, so a package that two lists pin is the same each time.
    """
    info = next(
        file.parts[0]
        for file in distribution.files
        if file.parts[0].endswith(".dist-info")
    )
    tag = re.findall(r"^Tag: (.+)$", distribution.read_text("WHEEL"), re.MULTILINE)[-1]
    record = []
    file = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    made_here = {
        f"{info}/{name}"
        for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    }
    with zipfile.ZipFile(file, "w") as wheel:
        for path in distribution.files:
            if (
                path.parts[0] != ".."
                and "__pycache__" not in path.parts
                and str(path) not in made_here
            ):
                content = path.locate().read_bytes()
                digest = (
                    base64.urlsafe_b64encode(hashlib.sha256(content).digest())
                    .rstrip(b"=")
                    .decode()
                )
                record.append(f'"{path}",sha256={digest},{len(content)}')
                wheel.writestr(zipfile.ZipInfo(str(path)), content)
        listed = "\n".join([*record, f"{info}/RECORD,,\n"])
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), listed)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{distribution.name}=={distribution.version} --hash=sha256:{digest}\n"


def packed_dependencies(folder: Path) -> dict[str, str]:
    """Write the wheels of all pinned and installed packages; return the lines of each pin file."""
    installed = {
        item.name.lower().replace("_", "-"): item
        for item in importlib.metadata.distributions()
    }
    pinned = {
        name: re.findall(
            r"^([\w.-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE
        )
        for name in ("constraints.txt", "constraints-build.txt")
    }
    return {
        name: "".join(
            pack(installed[package], folder)
            for package in packages
            if package in installed
        )
        for name, packages in pinned.items()
    }


def unpack_releases(root: Path, pins: dict[str, str]) -> None:
    """Put the source of two releases into a root, with the wheels of their dependencies.

    The wheels of each are beside the first's.
    """
    for release in RELEASES:
        source = root / "opt" / f"publisher-{release}"
        for name in SOURCE:
            path = ROOT / name
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                path, source / name, ignore=ignored
            ) if path.is_dir() else shutil.copy(path, source / name)
        settings = (source / "pyproject.toml").read_text("utf-8")
        settings = re.sub(
            r'^version = ".*"$',
            f'version = "{release}"',
            settings,
            count=1,
            flags=re.MULTILINE,
        )
        (source / "pyproject.toml").write_text(settings, "utf-8")
        for name, lines in pins.items():
            (source / name).write_text(lines, "utf-8")
    (root / "opt" / f"publisher-{RELEASES[1]}" / "wheels").symlink_to("/wheels")


def prepare_root(root: Path) -> None:
    """Make the folders and the few files of a fresh system in a root."""
    for folder in (
        "dev",
        "proc",
        "etc/systemd/system",
        "opt",
        "root",
        "run",
        "srv",
        "tmp",
        "var/backups",
        "wheels",
        "steps",
    ):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", "utf-8")
    (root / "etc" / "group").write_text("root:x:0:\n", "utf-8")
    (root / "etc" / "nsswitch.conf").write_text(
        "passwd: files\ngroup: files\n", "utf-8"
    )
    for name in ("login.defs", "ld.so.cache", "pam.d", "security"):
        path = Path("/etc") / name
        if path.is_dir():
            shutil.copytree(path, root / "etc" / name)
        elif path.exists():
            shutil.copy(path, root / "etc" / name)


def steps() -> dict[str, str]:
    """Return the scripts for the root, by name: the manual's blocks, and the health check.

    The health check is the container's.
    """
    scripts = {}
    for number, (kind, _) in enumerate(BLOCKS):
        if kind == "runs":
            scripts[f"{number:02}"] = f"sh -eu /steps/{number:02}.sh"
        elif kind == "runs with the daemon":
            scripts[f"{number:02}"] = (
                f"{START}sh -eu /steps/{number:02}.sh\n{STOP}\n! sh -eu /steps/health.sh"
            )
    return scripts


@pytest.mark.extra
@pytest.mark.long(seconds=90)
def test_the_manuals_commands_work_in_an_empty_root(tmp_path):
    """The commands lead from no user and program to an upgraded daemon, back, and to a new root.

    The new root only has the records.
    """
    probe = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
    if (
        os.geteuid() != 0
        or subprocess.run([*probe, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("NO ROOT: users, mounts and an empty root cannot be made")
    root = tmp_path / "root"
    prepare_root(root)
    unpack_releases(root, packed_dependencies(root / "wheels"))
    for number, (_, block) in enumerate(BLOCKS):
        (root / "steps" / f"{number:02}.sh").write_text(block, "utf-8")
    shell, option, code = health_check()
    assert (shell, option) == ("/bin/sh", "-c")
    (root / "steps" / "health.sh").write_text(code + "\n", "utf-8")
    ordered = "".join(
        f"echo '== {name}' >&2\n{script}\n" for name, script in steps().items()
    )
    (root / "steps" / "all").write_text(ordered, "utf-8")
    python = Path(sys.base_prefix)
    done = subprocess.run(
        [
            *probe,
            "/bin/sh",
            "-eu",
            "-c",
            MOUNT.format(python="" if python == Path("/usr") else str(python)[1:]),
            "sh",
            root,
        ],
        env={
            "PATH": f"{python}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": "/wheels",
            "PIP_NO_CACHE_DIR": "1",
            # compiling sixty packages, three times, takes longer than all else
            "PIP_NO_COMPILE": "1",
            "PIP_NO_INDEX": "1",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert re.findall(
        r"^(\d+\.\d+\.\d+) \(wheel [0-9a-f]{12}\)$", done.stdout, re.MULTILINE
    ) == list(RELEASES)
    assert "publisher" not in (root / "etc" / "passwd").read_text("utf-8")
    assert [
        *(root / "srv").iterdir(),
        *(root / "etc" / "systemd" / "system").iterdir(),
    ] == []
    kept = {path.name for path in (root / "var" / "backups" / "publisher").iterdir()}
    assert {
        "last.db",
        "audit-anchors.log",
        "audit-anchors.newest",
        "intents.jsonl",
        "publisher.toml",
    } <= kept


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the container file, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE.read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_the_container_runs_without_root_and_keeps_its_records():
    """The image has its own user, a volume for the records, and a signal for an orderly stop."""
    last = instructions()[
        max(i for i, (name, _) in enumerate(instructions()) if name == "FROM") :
    ]
    found = dict(last)
    assert re.search(rf"useradd .*--uid [1-9]\d+ .*\b{found['USER']}\b", found["RUN"])
    assert json.loads(found["VOLUME"]) == ["/srv/publisher/var"]
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(found["ENTRYPOINT"])[0].startswith("/opt/publisher/.venv/bin/")
    assert json.loads(found["CMD"])[-1] == "run"


def test_the_manual_owns_the_containers_folders_by_its_numbers():
    """User and group of the image have the manual's numbers for the host's folders and secrets."""
    [made] = [
        words for name, words in instructions() if name == "RUN" and "useradd" in words
    ]
    groups = {
        name: number
        for number, name in re.findall(r"groupadd --system --gid (\d+) ([\w-]+)", made)
    }
    users = {
        name: number
        for number, name in re.findall(
            r"useradd --system --uid (\d+) .*?nologin ([\w-]+)", made
        )
    }
    manual = MANUAL.read_text("utf-8")
    named = {
        *re.findall(r"install -d -o (\d+) -g (\d+)", manual),
        *re.findall(r"chown -R (\d+):(\d+)", manual),
    }
    made_here = {
        (users[user], groups[group])
        for user, group in re.findall(r"install -d -o ([\w-]+) -g ([\w-]+)", made)
    }
    assert named == made_here
    assert re.findall(r"--secret \S+,uid=(\d+),", manual) == [users["publisher"]]
    assert re.findall(r"podman run .*?--user ([\w-]+)", manual) == ["publisher-web"]


def test_the_container_copies_files_that_exist_and_pins_what_it_installs():
    """Every file copied from the source exists, and dependencies come with their hashes."""
    copied = [
        words.split()[:-1]
        for name, words in instructions()
        if name == "COPY" and "--from" not in words
    ]
    assert [
        file for files in copied for file in files if not (ROOT / file).exists()
    ] == []
    installs = [
        words
        for name, words in instructions()
        if name == "RUN" and "pip install" in words
    ]
    assert installs
    assert all(
        "--no-deps" in words and ("--require-hashes" in words or words.endswith(".whl"))
        for words in installs
    )
    environments = [
        words.partition("pip install")[0].split()[-1]
        for words in installs
        if "constraints" in words
    ]
    assert environments == ["/opt/publisher/.venv/bin/", "/build/bin/"], (
        "what builds is not where it runs"
    )
