"""A workspace of Weibo accounts, its schedule, and publisher's daemon in it."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.process import running
from tests.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = (str(Path(sys.executable).with_name("publisher")),)
FIRST_UID = 1_400_000_001
PUBLIC_IP = "192.0.2.1"
NO_PLATFORM = "http://127.0.0.1:1"
LOG = "daemon.log"
STARTED = "own_leases_expired"
"""The event that follows the end of an earlier process's leases."""
ACCEPTED = "schedule_accepted"

SETTINGS = """environment = "drill"
dashboard = {{ {dashboard} }}
secrets_dir = "secrets"
public_ip = "{public_ip}"
{settings}
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
title = "警惕“退款客服”诈骗第{id}期"
at = {at}
to = {to}
{more}[post.data]
summary = "凡自称客服要求转账退款的都是诈骗，请挂断"
"""
BODY = (
    'body = "正规退款原路退回，不需要转账。'
    '自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。"\n'
)
NO_BODY = ""
"""For schedules of many thousand posts: a file may have 4 MB."""


@contextlib.contextmanager
def workspace(
    accounts: int,
    base_url: str = NO_PLATFORM,
    *,
    database: str | None = None,
    limits: str = "",
    dashboard: str = "enabled = false",
) -> Iterator[Path]:
    """Make a workspace with so many Weibo accounts, each with its own login; remove it afterwards.

    `database` is the URL of a PostgreSQL; otherwise the database is an SQLite file. `limits` are
    further lines of settings. Without `dashboard`, its settings, no pages are served.
    """
    with tempfile.TemporaryDirectory(prefix="publisher-bench-") as name:
        folder = Path(name)
        for part in ("secrets", "templates", "var"):
            (folder / part).mkdir()
        parts = [
            SETTINGS.format(
                public_ip=PUBLIC_IP,
                settings=f'database = "{database}"' if database else "",
                limits=limits,
                dashboard=dashboard,
            )
        ]
        parts += [add_account(folder, number, base_url) for number in range(accounts)]
        (folder / "publisher.toml").write_text("".join(parts), "utf-8")
        yield folder


def add_account(folder: Path, number: int, base_url: str) -> str:
    """Write the secret of an account; return the account's entry in the settings."""
    uid = uid_of(f"a{number}")
    secret = {"app_key": "1000000000", "app_secret": "drill", "access_token": uid}
    (folder / "secrets" / f"a{number}").write_text(json.dumps(secret), "utf-8")
    return ACCOUNT.format(number=number, uid=uid, base_url=base_url)


def uid_of(account: str) -> str:
    """Return the platform's number of a workspace's account. It is its token as well."""
    return str(FIRST_UID + int(account.removeprefix("a")))


def write_schedule(folder: Path, *parts: str) -> None:
    """Replace the workspace's schedule in one step."""
    new = folder / "schedule.toml.new"
    new.write_text("".join(parts), "utf-8")
    new.rename(folder / "schedule.toml")


def format_post(
    post: str, at: datetime | None, to: Sequence[str] = ("all",), more: str = BODY
) -> str:
    """Return one post of a schedule. Without an instant it is due at once.

    `more` are further lines.
    """
    when = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if at else '"asap"'
    return POST.format(id=post, at=when, to=json.dumps(list(to)), more=more)


def format_posts(
    posts: int,
    at: datetime | None,
    to: Sequence[Sequence[str]] = (("all",),),
    more: str = BODY,
) -> str:
    """Return so many posts, all due at one instant, to these recipients in turn."""
    return "".join(
        format_post(f"post-{number}", at, to[number % len(to)], more)
        for number in range(posts)
    )


@contextlib.contextmanager
def daemon(
    folder: Path, publisher: Sequence[str] = PUBLISHER
) -> Iterator[subprocess.Popen[bytes]]:
    """Start publisher's daemon in a workspace; it is asked to stop at the end."""
    with (
        (folder / LOG).open("ab") as log,
        running([*publisher, "-C", folder, "run"], stdout=log, stderr=log) as process,
    ):
        yield process


def wait_for_event(
    folder: Path, event: str, timeout: float = 60, count: int = 1
) -> None:
    """Wait until the daemon has logged an event so many times. Raises TimeoutError."""
    log = folder / LOG
    wait_until(
        lambda: log.read_text("utf-8", "replace").count(event) >= count, timeout, event
    )
