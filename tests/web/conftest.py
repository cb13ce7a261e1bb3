"""The dashboard in this process.

A drill of two regions, a manual clock, and a client for each user.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from publisher.app.application import Application, open_application
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
from publisher.store.people.users import NewSignIn
from publisher.testing.fakes import FakeRuntime
from publisher.web.dashboard import create_dashboard

ADMIN = Actor(role=Role.PERSON, name="主管")
TAG = re.compile(r"<[a-z](?:[^<>\"]|\"[^\"]*\")*>")
TEXT_AREA = re.compile(r"(<textarea.*?</textarea>)", re.DOTALL)
CODED = {b"content-length", b"content-encoding"}
"""Headers that hold for the bytes as sent."""
ADDRESS = "http://127.0.0.1:8700"


def join_lines(page: str) -> str:
    """Write each tag on one line, without a line break beside it."""

    def join_tag(tag: re.Match[str]) -> str:
        joined = re.sub(
            r'"[^"]*"|\s+', lambda part: part[0] if part[0][0] == '"' else " ", tag[0]
        )
        return joined.removesuffix(" >") + ">" if joined.endswith(" >") else joined

    page = TAG.sub(join_tag, page)
    return re.sub(r"(?<=>)\s*\n\s*|\s*\n\s*(?=<)", "", page)


class OneLineTags(httpx.ASGITransport):
    """Shows each tag of a page on one line and no line break beside it, as templates wrap them."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not response.headers.get("content-type", "").startswith("text/html"):
            return response
        parts = TEXT_AREA.split((await response.aread()).decode())
        page = "".join(
            part if part.startswith("<textarea") else join_lines(part) for part in parts
        )
        return httpx.Response(
            response.status_code,
            headers=[
                item for item in response.headers.raw if item[0].lower() not in CODED
            ],
            content=page.encode(),
            extensions=response.extensions,
        )


@dataclass(slots=True, kw_only=True)
class WebSite:
    """A dashboard and its users.

    `application` gives the store, to arrange and to look.
    """

    application: Application
    app: Starlette
    runtime: FakeRuntime
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def store(self):
        return self.application.store

    @property
    def actor(self):
        """Return the administrator, to act in the store as."""
        return ADMIN

    def client(self, cookies=None, address="127.0.0.1"):
        """Return the client of a visitor without a session."""
        transport = OneLineTags(
            self.app, raise_app_exceptions=False, client=(address, 40000)
        )
        client = httpx.AsyncClient(
            transport=transport, base_url=ADDRESS, cookies=cookies
        )
        self.clients.append(client)
        return client

    async def add_user(self, name, *grants):
        """Add a user with these roles, such as `author@north`, and return the unused link."""
        if not await self.store.users.exist():
            await self.store.users.add(ADMIN.name, [parse_grant("admin")], ADMIN)
        return await self.store.users.add(
            name, [parse_grant(grant) for grant in grants], ADMIN
        )

    async def begin_setup(self, client, link):
        """Let a browser open a one-time link and begin with it; return the resulting page."""
        await client.post("/setup", data={"link": link})
        await client.post("/setup/begin", data={"link": link})
        return await client.get("/setup/form")

    async def signed_in(self, *grants, name=None):
        """Return the client of a user with these roles.

        The name is that of the first role unless given.
        """
        name = name or grants[0].partition("@")[0].partition(":")[0]
        link = await self.add_user(name, *grants)
        actor = Actor(role=Role.PERSON, name=name)
        await self.store.users.activate(
            link, NewSignIn(password_hash="none"), lambda _name: actor
        )
        session = await self.store.sign_ins.start_session(
            name, "address 127.0.0.1", actor
        )
        return self.client({"publisher_session": session})


@pytest.fixture(autouse=True)
def _cheap_workspaces(cheap_workspaces: None) -> None:
    pass


MakeWorkspace = Callable[[Path], Path]


@cache
def drill_files(regions: int) -> Mapping[str, bytes]:
    """Return the files of a drill of some regions.

    Writing its settings takes a tenth of a second.
    """
    demo = DemoWorkspace(
        regions=read_regions()[:regions], simulator_url="http://127.0.0.1:9"
    )
    return {
        **new_workspace_files(),
        **demo_files(demo),
        "schedule.toml": b"post = []\n",
    }


def make_workspace(folder: Path, regions: int = 2, staff_dir: str = "") -> Path:
    """Create a drill of some regions without any server for their platforms.

    The files of staff may be in their own folder.
    """
    create_workspace(folder, drill_files(regions))
    if staff_dir:
        (folder / staff_dir).mkdir()
        for name in ("schedule.toml", "media"):
            (folder / name).rename(folder / staff_dir / name)
        settings = folder / "publisher.toml"
        settings.write_text(
            f'staff_dir = "{staff_dir}"\n{settings.read_text("utf-8")}', "utf-8"
        )
    return folder


@pytest.fixture
def staff_dir():
    """Return the name of the staff's folder; without one it is the workspace."""
    return ""


@pytest.fixture
def regions():
    """Return the number of regions of the drill, each with three accounts."""
    return 2


@pytest.fixture
async def site(tmp_path, sqlite_template, regions, staff_dir) -> AsyncIterator[WebSite]:
    """Yield a dashboard with an empty database."""
    folder = await asyncio.to_thread(
        make_workspace, tmp_path / "drill", regions, staff_dir
    )
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    runtime = FakeRuntime()
    async with open_application(
        await load_settings(folder), runtime, can_send=False
    ) as application:
        opened = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        yield opened
        for client in opened.clients:
            await client.aclose()
