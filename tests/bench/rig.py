"""What every figure is measured with: a workspace, the platform's double, publisher as a process."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = (str(ROOT / ".venv" / "bin" / "publisher"),)
FIRST_UID = 1_400_000_001

SETTINGS = """environment = "drill"
secrets_dir = "secrets"
public_ip = "192.0.2.1"

[limits.weibo]
min_interval = "0s"
per_hour = 1000
per_day = 1000
{limits}
[region.110000]
name = "第一区"
police = "第一区公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
"""
ACCOUNT = """
[[account]]
id = "a{number}"
platform = "weibo"
identity = "{uid}"
region = "110000"
secret = "a{number}"
base_url = "{base_url}"
link_template = "https://example.gov.cn/n/{{marker}}"
"""
POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗第{number:06d}期"
at = {at}
to = {to}
body = "正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。"
[post.data]
summary = "凡自称客服要求转账退款的都是诈骗，请挂断"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Double:
    """The running double."""

    base_url: str

    def calls(self) -> tuple[list[float], int]:
        """Give when each call's first byte came, in seconds of the epoch, and the most calls open on one login."""
        summary = httpx.get(f"{self.base_url}/calls", timeout=60, trust_env=False).json()
        return sorted(at for at, _login in summary["began"]), summary["most_open"]

    def marked(self) -> list[float]:
        """Give when the first byte of each call came whose body names the mark."""
        summary = httpx.get(f"{self.base_url}/calls", timeout=60, trust_env=False).json()
        return sorted(summary["marked"])

    def wait_for(self, number: int, seconds: float, glance: float = 0.2) -> None:
        """Wait until so many calls have come. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while len(self.calls()[0]) < number:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(self.calls()[0])} of {number} calls after {seconds} s")
            time.sleep(glance)


@contextlib.contextmanager
def double(delay: float = 0.0, mark: str = "") -> Iterator[Double]:
    """Run the platform's double in a process of its own; it remembers apart the calls whose body names `mark`."""
    command = [sys.executable, "-m", "tests.bench.double", str(delay), mark]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Double(base_url=f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.kill()


@contextlib.contextmanager
def workspace(accounts: int, base_url: str = "http://127.0.0.1:1", limits: str = "") -> Iterator[Path]:
    """Make a workspace with so many Weibo accounts, each with a login of its own; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="publisher-bench-") as name:
        folder = Path(name)
        for part in ("secrets", "templates", "var"):
            (folder / part).mkdir()
        parts = [SETTINGS.format(limits=limits)]
        for number in range(accounts):
            uid = FIRST_UID + number
            parts.append(ACCOUNT.format(number=number, uid=uid, base_url=base_url))
            secret = {"app_key": "1000000000", "app_secret": "drill", "access_token": str(uid)}
            (folder / "secrets" / f"a{number}").write_text(json.dumps(secret), "utf-8")
        (folder / "publisher.toml").write_text("".join(parts), "utf-8")
        yield folder


def schedule_of(posts: int, at: datetime | None, to: Sequence[Sequence[str]] = (("all",),)) -> str:
    """Write a schedule of so many posts, all at one instant (None: at once), to these targets in turn."""
    when = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if at else '"asap"'
    return "".join(
        POST.format(id=f"post-{number}", number=number, at=when, to=json.dumps(list(to[number % len(to)])))
        for number in range(posts)
    )


@contextlib.contextmanager
def daemon(folder: Path, publisher: Sequence[str], prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run publisher's daemon in a workspace; it is asked to stop at the end."""
    with (folder / "daemon.log").open("ab") as reported:
        process = subprocess.Popen(
            [*prefix, *publisher, "-C", str(folder), "run"], stdout=reported, stderr=reported, env={**os.environ}
        )
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=40)
            process.kill()
            process.wait()


def wait_for_words(folder: Path, words: str, seconds: float) -> None:
    """Wait until the daemon's log says so. Raises TimeoutError with its last lines."""
    until = time.monotonic() + seconds
    while words not in (text := (folder / "daemon.log").read_text("utf-8", "replace")):
        if time.monotonic() > until:
            raise TimeoutError(text[-2000:])
        time.sleep(0.05)
