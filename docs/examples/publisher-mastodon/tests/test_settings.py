"""`publisher check` loads the package, and shows in words what is wrong with an account, at its line."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT

SETTINGS = """
environment = "drill"
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
base_url = "http://127.0.0.1:9"
"""


async def check(folder, identity):
    """Return the exit status of `publisher check`, and what it wrote."""
    (folder / "publisher.toml").write_text(SETTINGS.format(identity=identity))
    (folder / "schedule.toml").write_text("post = []\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "publisher", "check", "-C", str(folder), "--lang", "en", stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_an_identity_without_a_server_is_shown_at_its_line(tmp_path):
    """NAME@SERVER is accepted; a name alone is an error at its line, in our own words."""
    status, output = await check(tmp_path, "police@social.example")
    assert status == 0, output
    status, output = await check(tmp_path, "police")
    assert status == 1, output
    assert "publisher.toml:12:" in output
    assert "identity must be NAME@SERVER" in output
