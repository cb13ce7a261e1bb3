"""The daemon in a real process, while nobody reads its log."""

import fcntl
import os
import select
import subprocess
import sys

from tests.e2e.test_run import post

SMALL = 4096
START_SECONDS = 60


def read_until(pipe: int, words: str) -> bool:
    """Read a pipe until it has had these words; False once nothing comes any more."""
    seen = b""
    while words.encode() not in seen:
        if not select.select([pipe], [], [], START_SECONDS)[0]:
            return False
        seen += os.read(pipe, SMALL)
    return True


def fill(pipe: int) -> None:
    """Fill a pipe completely, through a non-blocking descriptor of our own."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(own, b"\n" * SMALL)
    except BlockingIOError:
        os.close(own)


def test_f91_posts_are_sent_while_nobody_reads_the_log(workspace, wait_until):
    """F91: posts are sent while nobody reads the log.

    With the pipe behind the log full, the daemon still reads the schedule and publishes on every
    account.
    """
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL)
    command = [sys.executable, "-m", "publisher", "-C", str(workspace.folder), "run"]
    workspace.write_schedule("")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writing) as daemon:
        try:
            assert read_until(reading, "守护进程已启动")
            fill(writing)
            workspace.write_schedule(post("p"))
            wait_until(lambda: list(workspace.states().values()) == ["published"] * 6)
        finally:
            daemon.kill()
            os.close(writing)
            os.close(reading)
