"""No process of publisher leaks secrets: no core file, no keys, nothing on the screen."""

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios

import pytest

from publisher.app.build import describe_build
from publisher.domain.addresses import has_password
from publisher.secrets import Vault
from tests.cli.conftest import publisher_command
from tests.wait import PATIENCE_SECONDS

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
SECRET = {"app_key": "1", "app_secret": "canary-of-the-terminal"}


def unlimit_cores():
    resource.setrlimit(
        resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2
    )


@contextlib.contextmanager
def begun(*arguments, says, **how):
    """Run a command; it has printed the given text when the block begins."""
    with subprocess.Popen(
        publisher_command("--lang", "en", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **how,
    ) as process:
        try:
            assert any(says in line for line in iter(process.stdout.readline, ""))
            yield process
        finally:
            process.kill()


@pytest.mark.long
def test_i19_a_crash_leaves_no_core_file(tmp_path):
    """I19: a process may write no core file under any shell limit, and writes none in a crash."""
    with begun(
        "simulate",
        "--listen",
        "127.0.0.1:0",
        says="http://",
        preexec_fn=unlimit_cores,
        cwd=tmp_path,
    ) as process:
        if sys.platform == "linux":
            assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
        process.send_signal(signal.SIGSEGV)
        _pid, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGSEGV
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


@LINUX
def test_i19_no_other_process_of_the_user_may_read_its_memory():
    """I19: the kernel passes no core to a program under any limit.

    It lets nobody trace the process.
    """
    code = "import ctypes; from publisher.cli import harden_process; harden_process(); "
    asked = subprocess.run(
        [sys.executable, "-c", code + "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"],
        capture_output=True,
        check=True,
    )
    assert asked.stdout.strip() == b"0"


@pytest.mark.long
def test_i19_no_keys_of_encrypted_connections_are_written(drill, tmp_path):
    """I19: SSLKEYLOGFILE has no effect, although doctor sets up encrypted calls."""
    keys = tmp_path / "keys.log"
    asked = subprocess.run(
        publisher_command("-C", drill, "doctor"),
        env={**os.environ, "SSLKEYLOGFILE": str(keys)},
        capture_output=True,
        check=False,
    )
    assert asked.returncode == 1
    assert not keys.exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://publisher:canary-of-a-password@db.example/publisher",
        "postgresql://:canary-of-a-password@db.example/publisher",
        "postgresql+psycopg://publisher@db.example/publisher?sslmode=require&password=canary-of-a-password",
    ],
)
@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_i19_a_password_on_the_command_line_is_refused(run, workspace, url, lang):
    """I19: `move-database` refuses an address with a password, names the place for it.

    It does not repeat the password.
    """
    refused = run("--lang", lang, "-C", workspace, "move-database", url, "--by", "li")
    assert refused.code == 2
    assert ".pgpass" in refused.err
    assert "canary-of" not in refused.out + refused.err


class Installed:
    """The metadata of a distribution with an origin."""

    version = "0.1.0"

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.origin


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        (None, "0.1.0"),
        ("not JSON", "0.1.0"),
        ('{"url": "file:///x", "dir_info": {"editable": true}}', "0.1.0"),
        (
            '{"vcs_info": {"vcs": "git", "commit_id": "3f0c9a51d27e88b4aa"}}',
            "0.1.0 (commit 3f0c9a51d27e)",
        ),
        (
            '{"archive_info": {"hashes": {"sha256": "8d1a77c0e4b2ffff"}}}',
            "0.1.0 (wheel 8d1a77c0e4b2)",
        ),
        ('{"archive_info": {"hash": "sha256=8d"}, "vcs_info": []}', "0.1.0"),
    ],
)
def test_the_version_names_the_build_where_the_installer_has_recorded_it(origin, shown):
    """Two builds of one version differ in their commit or in the hash of their wheel."""
    assert describe_build(Installed(origin)) == shown


def test_an_address_without_a_password_is_none():
    """A user alone, an empty password, and other parameters are no password."""
    assert not any(
        map(
            has_password,
            [
                "postgresql://u@h/d",
                "postgresql://u:@/d?host=/run/x",
                "sqlite:///var/x.db",
                "postgresql:///d?passfile=x",
            ],
        )
    )


@pytest.mark.long
def test_i19_a_pasted_secret_is_not_shown(workspace):
    """I19: a secret pasted into `secret set` on a terminal is stored and not shown.

    Echo is on again afterwards.
    """
    (
        workspace / "secrets" / "weibo-beijing"
    ).unlink()  # it would be used before the encrypted store
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with begun(
        "-C", workspace, "secret", "set", "weibo-beijing", says="Paste", stdin=theirs
    ) as process:
        os.write(ours, json.dumps(SECRET).encode() + b"\n\x04")
        assert process.wait(PATIENCE_SECONDS) == 0
    assert termios.tcgetattr(theirs) == before
    os.set_blocking(ours, False)
    with contextlib.suppress(BlockingIOError):
        assert b"canary" not in os.read(ours, 4096)
    assert Vault(folder=workspace / "var").read("weibo-beijing") == SECRET
    for end in (ours, theirs):
        os.close(end)
