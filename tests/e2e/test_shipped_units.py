"""Daemon and dashboard as the shipped units run them.

Each has its own user, and few writable folders.
"""

import asyncio
import io
import json
import os
import platform
import re
import signal
import stat
import subprocess
import sys
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import tomlkit
from PIL import Image

from publisher.app.open_store import open_store
from publisher.cli.workspace import (
    DemoWorkspace,
    create_workspace,
    demo_files,
    new_workspace_files,
    read_regions,
)
from publisher.config import load_settings
from publisher.domain.delivery import Actor, Role
from publisher.domain.user import parse_grant
from publisher.runtime.clock import Runtime
from publisher.secrets import Vault
from publisher.store.backup_record import BackupRecord
from publisher.store.people.users import NewSignIn
from publisher.testing.fakes import make_confirmed_runtime
from tests.ports import free_port
from tests.wait import wait_until
from tests.web.test_write import fields_of

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
INSTALLED = Path("/srv/publisher")
"""Where the units expect the workspace."""
USERS = {"publisher": 61001, "publisher-web": 61002}
GROUPS = {"publisher": 61001, "publisher-staff": 61003}
MOUNT = """
python=$1 workspace=$2; shift 2
umask 022
mount --make-rprivate /
mkdir -p /srv && mount -t tmpfs none /srv && mkdir /srv/publisher /srv/python
below=${python#/} top=/${below%%/*}
case $(stat -c %a "$top") in *[1357]) ;; *)
    mount --bind "$python" /srv/python && mount -t tmpfs -o mode=755 none "$top"
    mkdir -p "$python" && mount --bind /srv/python "$python" ;;
esac
mount --bind "$workspace" /srv/publisher
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done
shift
mount -o remount,bind,ro /srv/publisher
exec "$@"
"""
"""Puts the workspace where the units expect it, read-only but for some folders.

The writable folders are named before `--`. A Python in a home that only root may enter is put where
others reach it.
"""
ISOLATED = ("unshare", "--mount", "/bin/sh", "-eu", "-c", MOUNT, "sh")
REFUSE_CALLS = """
import ctypes, os, struct, sys
calls = [92, 93, 94, 140, 141, 260]
code = [(0x20, 0, 0, 0), *((0x15, len(calls) - place, 0, call) for place, call in enumerate(calls))]
code += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
installed = ctypes.create_string_buffer(\
struct.pack("HxxxxxxP", len(code), ctypes.addressof(program)))
if ctypes.CDLL(None).prctl(22, 2, installed, 0, 0):
    sys.exit("no filter of system calls")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Refuses chown and its kin, and setpriority, as the units' SystemCallFilter= does.

The numbers are of x86-64.
"""
WRITTEN = {
    "title": "假冒本局的转账电话",
    "data.summary": "公安机关没有“安全账户”，请立即挂断",
    "to": "all",
}
POST_WITH_PICTURE = {
    "kind": "warning",
    "title": "警惕刷单返利",
    "data.summary": "先垫钱的兼职都是诈骗",
    "data.signs": "拉进群\r\n\r\n先给小钱",
    "when": "once",
    "at_date": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}",
    "at_time": "09:00",
    "to": "all",
    "picture_alt": "红色",
    "do": "save",
}
IN_STORE = "beijing-tieba"
"""The account with its secret in the encrypted store."""
ADMIN = Actor(role=Role.PERSON, name="主管")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The contents of a shipped unit: its user, its command, and its writable folders."""

    user: str
    group: str
    command: str
    written: list[str]

    @classmethod
    def read(cls, name: str) -> "Unit":
        said = dict(
            re.findall(
                r"^(\w+)=(.*)$", (EXAMPLES / name).read_text("utf-8"), re.MULTILINE
            )
        )
        command = said["ExecStart"].rpartition(" ")[2]
        return cls(
            user=said["User"],
            group=said["Group"],
            command=command,
            written=said["ReadWritePaths"].split(),
        )

    def wrap(
        self, folder: Path, command: list[str], written: list[str] | None = None
    ) -> list[str]:
        """Return a command that runs as this unit's user, with its write permissions."""
        groups = ",".join(str(number) for number in GROUPS.values())
        own = [
            "setpriv",
            f"--reuid={USERS[self.user]}",
            f"--regid={GROUPS[self.group]}",
            f"--groups={groups}",
        ]
        own += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        own += (
            [sys.executable, "-I", "-c", REFUSE_CALLS]
            if platform.machine() == "x86_64"
            else []
        )
        return [
            *ISOLATED,
            sys.base_prefix,
            str(folder),
            *(self.written if written is None else written),
            "--",
            *own,
            *command,
        ]


@dataclass(slots=True, kw_only=True)
class Installation:
    """An installed workspace, its two services, and the sessions of its users."""

    folder: Path
    address: str
    sessions: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def run(self, unit: Unit, written: list[str] | None = None, **environment: str):
        """Run a service; yield its process."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "publisher",
            "--lang",
            "en",
            "-C",
            str(INSTALLED),
            unit.command,
        ]
        with (self.folder.parent / f"{unit.command}.log").open("ab") as log:
            process = subprocess.Popen(
                unit.wrap(self.folder, command, written),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **{
                        name: value
                        for name, value in os.environ.items()
                        if name != "TMPDIR"
                    },
                    **environment,
                },
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()

    def log(self, command: str) -> str:
        return (self.folder.parent / f"{command}.log").read_text("utf-8")

    def client(self, name: str) -> httpx.Client:
        cookies = {"publisher_session": self.sessions[name]}
        return httpx.Client(
            base_url=self.address, cookies=cookies, trust_env=False, timeout=60
        )

    def is_served(self) -> bool:
        try:
            return (
                httpx.get(f"{self.address}/login", trust_env=False).status_code == 200
            )
        except httpx.HTTPError:
            return False

    def runs(self) -> bool:
        return (
            httpx.get(
                f"{self.address}/healthz", trust_env=False, timeout=60
            ).status_code
            == 200
        )

    def succeeds(self, unit: Unit, test: str) -> bool:
        """Return True if a test of the shell succeeds as this unit's user."""
        command = unit.wrap(self.folder, ["/bin/sh", "-c", test])
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


def make_folders(root: Path, simulator_url: str, port: int) -> Path:
    """Create the workspace as docs/installation.md does, apart from its owner."""
    demo = DemoWorkspace(
        regions=read_regions()[:1],
        simulator_url=simulator_url,
        dashboard_listen=f"127.0.0.1:{port}",
    )
    create_workspace(root / "workspace", {**new_workspace_files(), **demo_files(demo)})
    folder = root / "workspace"
    settings = tomllib.loads((folder / "publisher.toml").read_text("utf-8"))
    settings = {
        "staff_dir": "staff",
        "database": "sqlite:///var/db/publisher.db",
        **settings,
    }
    (folder / "publisher.toml").write_text(tomlkit.dumps(settings), "utf-8")
    (folder / "staff").mkdir()
    for name in ("schedule.toml", "schedule.schema.json", "media"):
        (folder / name).rename(folder / "staff" / name)
    (folder / "staff" / "schedule.toml").write_text("# 计划\n", "utf-8")
    (folder / "var" / "db").mkdir()
    (folder / "secrets" / "user-key").write_text('{"key": "%s="}' % ("A" * 43), "utf-8")
    secret = folder / "secrets" / IN_STORE
    Vault(folder=folder / "var").write(IN_STORE, json.loads(secret.read_text("utf-8")))
    secret.unlink()
    return folder


async def add_people(folder: Path) -> dict[str, str]:
    """Add two officers on duty, a writer and an approver; return their sessions."""
    sessions = {}
    async with open_store(await load_settings(folder), Runtime()) as store:
        await store.users.add(ADMIN.name, [parse_grant("admin")], ADMIN)
        for name, grant in (("王", "author"), ("李", "approver"), ("赵", "operator")):
            link = await store.users.add(name, [parse_grant(grant)], ADMIN)
            actor = Actor(role=Role.PERSON, name=name)
            await store.users.activate(
                link, NewSignIn(password_hash="none"), lambda _name, actor=actor: actor
            )
            await store.duty.add(name, ADMIN, "内线 8112")
            sessions[name] = await store.sign_ins.start_session(
                name, "address 127.0.0.1", actor
            )
    return sessions


def set_owners(folder: Path) -> None:
    """Give all files the owners, groups and modes of the manual."""
    own, web = USERS["publisher"], USERS["publisher-web"]
    for path in [folder, *folder.rglob("*")]:
        inside = path.relative_to(folder).parts
        if inside[:1] == ("staff",):
            os.chown(path, web, GROUPS["publisher-staff"])
            path.chmod(0o2770 if path.is_dir() else 0o660)
        elif inside[:2] == ("var", "db"):
            os.chown(path, own, GROUPS["publisher"])
            path.chmod(0o2770 if path.is_dir() else 0o660)
        else:
            os.chown(path, own, GROUPS["publisher"])
            is_private = (
                inside[:1] in {("var",), ("secrets",)} and path.name != "user-key"
            )
            path.chmod(0o750 if path.is_dir() else 0o600 if is_private else 0o640)
    (folder / "var").chmod(0o2750)


@pytest.fixture
def installation(tmp_path_factory, simulator):
    if (
        os.geteuid() != 0
        or subprocess.run(
            [*ISOLATED[:2], "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("NO ROOT: other users and mounts cannot be made")
    root, port = tmp_path_factory.mktemp("installed"), free_port()
    folder = make_folders(root, simulator.url, port)
    sessions = asyncio.run(add_people(folder))
    set_owners(folder)
    return Installation(
        folder=folder, address=f"http://127.0.0.1:{port}", sessions=sessions
    )


DAEMON, WEB = Unit.read("publisher.service"), Unit.read("publisher-web.service")


def test_under_the_shipped_units_people_save_upload_and_send_an_emergency(
    installation, simulator
):
    """The writable folders of the two services are enough for people's work.

    People save, upload and send an emergency. The dashboard may write neither settings nor secrets.
    """
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "JPEG")
    with installation.run(DAEMON), installation.run(WEB):
        wait_until(installation.is_served, 60, "the dashboard")
        wait_until(installation.runs, 60, "the daemon")
        with installation.client("王") as author, installation.client("李") as approver:
            files = {"picture": ("a.jpg", picture.getvalue(), "image/jpeg")}
            saved = author.post("/write", data=POST_WITH_PICTURE, files=files)
            assert saved.headers.get("location", saved.text).startswith("/posts/")
            preview = author.post("/urgent", data={**WRITTEN, "do": "preview"})
            sent = author.post("/urgent", data=fields_of(preview.text) | {"do": "save"})
            assert sent.headers.get("location", sent.text).startswith("/urgent/")
            page = approver.get(sent.headers["location"])
            released = approver.post(
                sent.headers["location"], data=fields_of(page.text)
            )
            assert released.status_code == 303, released.text
        wait_until(
            lambda: is_published(simulator, WRITTEN["data.summary"]),
            60,
            "the emergency",
        )
    staff, journal = (
        installation.folder / "staff",
        installation.folder / "var" / "intents.jsonl",
    )
    first, second = tomllib.loads((staff / "schedule.toml").read_text("utf-8"))["post"]
    kept = (staff / first["images"][0]["file"]).stat()
    assert (kept.st_uid, kept.st_gid) == (
        USERS["publisher-web"],
        GROUPS["publisher-staff"],
    )
    assert stat.S_IMODE(kept.st_mode) == 0o660
    assert (
        second["urgent"],
        stat.S_IMODE((staff / "schedule.toml").stat().st_mode),
    ) == (
        True,
        0o660,
    )
    assert (journal.stat().st_uid, stat.S_IMODE(journal.stat().st_mode)) == (
        USERS["publisher"],
        0o640,
    )
    assert not re.search(
        "right_missing|PermissionError",
        installation.log("web") + installation.log("run"),
    )
    for written in (
        "publisher.toml",
        "templates",
        "var",
        "var/vault.json",
        "var/intents.jsonl",
        ".",
    ):
        assert not installation.succeeds(WEB, f"test -w {INSTALLED}/{written}"), written
    secrets = [
        path
        for path in (installation.folder / "secrets").iterdir()
        if path.name != "user-key"
    ]
    for secret in (
        *(f"secrets/{path.name}" for path in secrets),
        "var/vault.json",
        "var/vault-key",
    ):
        assert not installation.succeeds(WEB, f"test -r {INSTALLED}/{secret}"), secret
    assert installation.succeeds(WEB, f"test -r {INSTALLED}/secrets/user-key")


def is_published(simulator, words: str) -> bool:
    return words in json.dumps(simulator.get("/_sim/posts"), ensure_ascii=False)


def test_a_dashboard_that_cannot_save_says_so_and_does_the_rest(installation):
    """A dashboard that cannot save says so and does the rest.

    Where the unit leaves the staff's folder read-only, an alert names it, and the typed text stays.
    """
    with installation.run(WEB, written=[str(INSTALLED / "var" / "db")]):
        wait_until(installation.is_served, 60, "the dashboard")
        with installation.client("王") as author:
            alerts = author.get("/alerts").text
            refused = author.post(
                "/write", data={**POST_WITH_PICTURE, "picture_alt": ""}
            )
            assert author.get("/today").status_code == 200
    assert f"{INSTALLED}/staff" in alerts
    assert "publisher-web" in alerts or str(USERS["publisher-web"]) in alerts
    assert refused.status_code == 409
    assert POST_WITH_PICTURE["title"] in refused.text


def test_the_daemon_removes_the_secret_that_the_dashboard_cannot_read(installation):
    """The daemon removes a secret that the dashboard cannot read.

    The person that hands an account over clicks on a page. The order is carried out by the daemon,
    as it has the secrets.
    """
    path = f"/accounts/{IN_STORE}/offboard"
    with (
        installation.run(DAEMON),
        installation.run(WEB),
        installation.client("赵") as operator,
    ):
        wait_until(installation.is_served, 60, "the dashboard")
        wait_until(
            lambda: "Where the secret" not in operator.get(path).text,
            60,
            "the daemon's report",
        )
        begun = operator.post(
            path, data={"reason": "移交宣传科"}, follow_redirects=True
        )
        done = operator.post(path, data=fields_of(begun.text), follow_redirects=True)
    assert "All that publisher can do" in done.text
    assert IN_STORE not in Vault(folder=installation.folder / "var").list_names()


@pytest.mark.parametrize("unit", [DAEMON, WEB], ids=lambda unit: unit.command)
def test_a_process_that_cannot_write_the_database_says_which_folder(installation, unit):
    """Neither service starts, and each names the folder and its own user."""
    with installation.run(unit, written=[]) as process:
        assert process.wait(60) == 3
    assert re.search(
        rf"system user {USERS[unit.user]} may not write {INSTALLED}/var",
        installation.log(unit.command),
    )


def test_a_daemon_that_starts_the_dashboard_gives_it_no_secret(installation):
    """With one service for both, that may write var and the staff's folder, people save as well."""
    settings = installation.folder / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace("enabled = false", "enabled = true"),
        "utf-8",
    )
    folders = [str(INSTALLED / "var"), str(INSTALLED / "staff")]
    secrets = {
        "PUBLISHER_SECRET_BEIJING_WEIBO": '{"access_token": "of-weibo"}',
        "PUBLISHER_VAULT_KEY": "of-the-store",
    }
    with installation.run(DAEMON, written=folders, **secrets):
        wait_until(installation.is_served, 60, "the dashboard")
        wait_until(installation.runs, 60, "the daemon")
        [given] = [
            read_environment(process)
            for process in find_processes("web", "--supervised")
        ]
        with installation.client("王") as author:
            saved = author.post("/write", data={**POST_WITH_PICTURE, "picture_alt": ""})
            assert saved.headers.get("location", saved.text).startswith("/posts/")
    assert {name for name in given if "SECRET" in name or "VAULT" in name} == {
        "PUBLISHER_SECRET_USER_KEY"
    }
    saved_file = (installation.folder / "staff" / "schedule.toml").stat()
    assert (saved_file.st_uid, stat.S_IMODE(saved_file.st_mode)) == (
        USERS["publisher"],
        0o660,
    )


async def look_for_backup(folder: Path, *, forget: bool = False) -> list[str]:
    """Look at the record of backups as a daemon does. Return the codes of the open alerts.

    With `forget` the last backup is three days old.
    """
    settings = await load_settings(folder)
    async with open_store(settings, make_confirmed_runtime()) as store:
        if forget:
            old = datetime.now(UTC) - timedelta(days=3)
            await store.last_backup.record(BackupRecord(at=old, place="h:/old"))
        await store.last_backup.update(settings.backup_max_age)
        return [alert.code for alert in await store.queries.alerts()]


def test_the_shipped_backup_keeps_a_copy_and_ends_the_alert(installation):
    """Its writable folders are enough for the copy and for its record in the database."""
    backups = installation.folder / "backups"
    backups.mkdir()
    os.chown(backups, USERS["publisher"], GROUPS["publisher"])
    place = str(INSTALLED / "backups")
    said = (EXAMPLES / "publisher-backup.service").read_text("utf-8")
    [arguments] = re.findall(
        rf"^ExecStart=.*/publisher -C {INSTALLED} (.*)$", said, re.MULTILINE
    )
    given = arguments.replace("/var/backups/publisher", place).split()
    command = [sys.executable, "-P", "-m", "publisher", "-C", str(INSTALLED), *given]
    written = [str(INSTALLED / "var"), place]
    assert asyncio.run(look_for_backup(installation.folder, forget=True)) == [
        "backup_overdue"
    ]
    done = subprocess.run(
        DAEMON.wrap(installation.folder, command, written),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={key: value for key, value in os.environ.items() if key != "TMPDIR"},
    )
    assert done.returncode == 0, done.stderr
    [copy] = backups.iterdir()
    assert copy.stat().st_uid == USERS["publisher"]
    assert asyncio.run(look_for_backup(installation.folder)) == []


def find_processes(*ending: str) -> list[Path]:
    """Return the folders in /proc of the processes with this command.

    The command ends with these words and names the workspace.
    """
    return [
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if (words := read_words(folder / "cmdline"))[-len(ending) :] == list(ending)
        and str(INSTALLED) in words
    ]


def read_words(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").rstrip("\0").split("\0")
    except OSError:  # the process has ended
        return []


def read_environment(folder: Path) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in read_words(folder / "environ"))
