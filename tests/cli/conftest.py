"""Fixtures for the command tests: a runner, workspaces, a simulator and the daemon's part."""

import asyncio
import io
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog

from publisher.app.application import Application, open_application
from publisher.cli import run_command
from publisher.cli.workspace import (
    DemoWorkspace,
    create_workspace,
    demo_files,
    new_workspace_files,
    postpone_schedule,
    read_regions,
)
from publisher.config import load_settings
from publisher.domain.results import Blocked, HoldReason, Outcome, Published, Receipt
from publisher.engine.checkpoints import build_checkpoint_targets, write_checkpoint
from publisher.runtime.clock import Runtime
from publisher.runtime.logs import close_log
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.posts import NINE_TODAY, warning, write_schedule
from tests.simulator_process import SimulatorProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _cheap_workspaces(cheap_workspaces: None) -> None:
    pass


Run = Callable[..., CommandResult]
PUBLIC_IP = 'public_ip = "211.156.0.1"'
CITIES = (("110000", "beijing", "北京"), ("120000", "tianjin", "天津"))
REGION = """
[region.{code}]
name = "{city}"
police = "{city}市公安局"
hotline = "110"
tip_line = "110"
tip_link = "https://tips.{slug}.gov.cn/tips"
"""
ACCOUNT = """
[[account]]
id = "{slug}-{platform}"
platform = "{platform}"
identity = "{identity}"
region = "{code}"
secret = "{platform}-{slug}"
{more}"""
SECRET = b'{"app_key": "k", "app_id": "a", "app_secret": "s"}'
"""A secret with the fields of Weibo and of WeChat."""
BY = ("--by", "王", "--reason", "试验")
TO_WEIBO = '["platform:weibo"]'
PUBLISHED = Published(
    receipt=Receipt(
        remote_id="1",
        url="https://weibo.com/1/a",
        published_at=datetime.fromtimestamp(0).astimezone(),
    )
)
CAPTCHA = Blocked(code="weibo_20031", reason="verify", hold_reason=HoldReason.CAPTCHA)
NOTHING_CLAIMED = "no delivery could be claimed: none is due, or what is due is paused or in a cooldown"


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Restore the log settings of the process, so that no later test writes to this stream."""
    kept = structlog.get_config() if structlog.is_configured() else None
    yield
    if kept is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**kept)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    log_as_before: None,
) -> Run:
    """Return a function that runs a command in this process.

    It leaves out the option -C of the commands that messages name, so that they read as in the
    folder itself.
    """
    monkeypatch.delenv("PUBLISHER_LANG", raising=False)

    def run_here(*arguments: str | Path) -> CommandResult:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        close_log()
        captured = capsys.readouterr()
        option = (
            f"publisher -C {arguments[1]} "
            if arguments[:1] == ("-C",)
            else "publisher "
        )
        out, err = (text.replace(option, "publisher ") for text in captured)
        return CommandResult(code=code, out=out, err=err)

    return run_here


def publisher_command(*arguments: str | Path) -> list[str]:
    """Return the command line that runs publisher in a process of its own."""
    return [sys.executable, "-m", "publisher", *map(str, arguments)]


def format_live_settings() -> str:
    """Return settings of two regions with Weibo and WeChat, and one Tieba account that is off."""
    parts = [f'environment = "live"\nsecrets_dir = "secrets"\n{PUBLIC_IP}\n']
    parts += [
        REGION.format(code=code, slug=slug, city=city) for code, slug, city in CITIES
    ]
    parts.append(
        "\n[groups]\n"
        'north = ["beijing-weibo", "beijing-wechat", "tianjin-weibo", "tianjin-wechat"]\n'
    )
    for number, (code, slug, city) in enumerate(CITIES, 1):
        accounts = {
            "weibo": (
                f"100000000{number}",
                f'link_template = "https://tips.{slug}.gov.cn/n/{{marker}}"\n',
            ),
            "wechat": (f"wx000000000000000{number}", ""),
        }
        if slug == "beijing":
            accounts["tieba"] = (f"平安{city}", f'forum = "{city}"\nmode = "off"\n')
        for platform, (identity, more) in accounts.items():
            parts.append(
                ACCOUNT.format(
                    slug=slug,
                    platform=platform,
                    identity=identity,
                    code=code,
                    more=more,
                )
            )
    return "".join(parts)


@cache
def live_files() -> Mapping[str, bytes]:
    """Return the files of `workspace`; to write the demo's settings takes a tenth of a second."""
    demo = demo_files(DemoWorkspace(regions=[], simulator_url=""))
    content = {name: data for name, data in demo.items() if name.startswith("media/")}
    schedule = postpone_schedule(demo["schedule.toml"].decode(), NINE_TODAY)
    settings = format_live_settings()
    secrets = {
        f"secrets/{name}": SECRET for name in re.findall(r'secret = "(.+)"', settings)
    }
    own = {"schedule.toml": schedule.encode(), "publisher.toml": settings.encode()}
    return {**new_workspace_files(), **content, **secrets, **own}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a live workspace of two regions with accounts, their secrets, and the demo's posts."""
    create_workspace(tmp_path / "workspace", live_files())
    return tmp_path / "workspace"


@cache
def drill_files(address: str, regions: int = 1) -> Mapping[str, bytes]:
    """Return the files of a drill workspace of some regions.

    Its schedule is empty and there is no pause between two posts.
    """
    files = {
        **new_workspace_files(),
        **demo_files(
            DemoWorkspace(regions=read_regions()[:regions], simulator_url=address)
        ),
    }
    settings = re.sub(
        rb'min_interval = "\w+"', b'min_interval = "0s"', files["publisher.toml"]
    )
    settings += b"\n[dashboard]\nenabled = false\n"
    return {**files, "publisher.toml": settings, "schedule.toml": b"post = []\n"}


def make_drill(folder: Path, address: str, regions: int = 1) -> Path:
    """Create a drill workspace with its platforms at an address."""
    create_workspace(folder, drill_files(address, regions))
    return folder


@pytest.fixture
def drill(tmp_path: Path) -> Path:
    """Return a drill workspace with platforms that nobody serves."""
    return make_drill(tmp_path / "drill", "http://127.0.0.1:9")


@pytest.fixture
def simulated_drill(tmp_path: Path, simulator: SimulatorProcess) -> Path:
    """Return a drill workspace with empty platforms served by the simulator."""
    return make_drill(tmp_path / "drill", simulator.url)


@pytest.fixture
def due_post(run: Run, drill: Path) -> Path:
    """Return the drill with one post, `refund`, filed and due on one account."""
    write_schedule(drill, warning("refund", to=TO_WEIBO))
    assert run("-C", drill, "send", "refund", "--by", "王").code == 0
    return drill


@pytest.fixture
def run_on_database(drill: Path) -> Callable[..., Any]:
    """Return a function that runs an action on the drill's database, opened as by a daemon."""

    async def run_action(action: Callable[[Application], Awaitable[Any]]) -> Any:
        async with open_application(
            await load_settings(drill), make_confirmed_runtime(), can_send=True
        ) as application:
            return await action(application)

    return lambda action: asyncio.run(run_action(action))


@pytest.fixture
def deliver(run_on_database: Callable[..., Any]) -> Callable[[Outcome], None]:
    """Return a function that sends due deliveries with an outcome as a daemon would.

    It fails without any due delivery.
    """

    def send_all(outcome: Outcome) -> None:
        async def send(application: Application) -> int:
            await application.store.maintenance.promote_due()
            leases = await application.store.outbox.claim(10)
            for lease in leases:
                await application.store.outbox.record_intent(lease)
                await application.store.outbox.record_outcome(lease, outcome)
            return len(leases)

        if not run_on_database(send):
            pytest.fail(NOTHING_CLAIMED)

    return send_all


def state_of(run: Run, workspace: Path) -> Any:
    """Return the state that `status` shows for the last delivery."""
    return run("-C", workspace, "status", "--json").json["deliveries"][-1]["state"]


async def write_drill_checkpoint(folder: Path) -> None:
    """Write the checkpoint of a workspace's audit, as a daemon does."""
    settings = await load_settings(folder)
    async with open_application(settings, Runtime(), can_send=False) as application:
        await write_checkpoint(
            application.store.audit, build_checkpoint_targets(settings)
        )


@pytest.fixture
def typed(monkeypatch):
    """Return a function that puts a text on standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))
