"""A workspace with one account on a Mastodon server, and publisher's commands in it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

SETTINGS = """
environment = "drill"
secrets_dir = "secrets"
[limits.mastodon]
min_interval = "100ms"
request_timeout = "5s"
lease_timeout = "8s"
visibility_window = "9s"
first_check_after = "500ms"
retry_first = "300ms"
platform_clock_tolerance = "1s"
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "110"
tip_link = "https://tips.example/110"
[[account]]
id = "beijing"
platform = "mastodon"
identity = "{identity}"
region = "110000"
secret = "mastodon"
base_url = "{base_url}"
"""
TIMEOUT_SECONDS = 240


def write_workspace(
    folder: Path, schedule: str, *, identity: str, base_url: str
) -> None:
    (folder / "publisher.toml").write_text(
        SETTINGS.format(identity=identity, base_url=base_url)
    )
    (folder / "schedule.toml").write_text(schedule)


async def publisher(
    folder: Path, *arguments: str, failpoints: str = ""
) -> tuple[int | None, str, str]:
    """Run a command; return its exit status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "publisher", "-C", str(folder), *arguments,
        env={**os.environ, "PUBLISHER_FAILPOINTS": failpoints}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(), errors.decode()
