"""A real server that speaks Mastodon's API: snac (package snac2 of Debian).

It listens on a port of this machine, without TLS.
"""

import http.client
import json
import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from publisher.testing.conformance import PlatformPost

USERNAME = "police"
DEADLINE_SECONDS = 60
MAX_STARTS, PROBE_SECONDS = 5, 5
REDIRECT = "urn:ietf:wg:oauth:2.0:oob"


@dataclass(kw_only=True)
class Snac:
    """A running server with one account, as the conformance kit sees it.

    Its clock cannot be moved.
    """

    port: int
    password: str = field(repr=False)
    token: str = field(default="", repr=False)
    seen: dict[str, PlatformPost] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def identity(self) -> str:
        return f"{USERNAME}@localhost:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        authorization: str = "",
        timeout: float = DEADLINE_SECONDS,
    ) -> tuple[int, str]:
        """Make a call as any client would."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"authorization": authorization} if authorization else {}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(
                method, path, urlencode(form) if form is not None else None, headers
            )
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def list_statuses(self) -> list[dict[str, Any]]:
        """Return what anybody sees of the account, newest first: no token is sent."""
        status, body = self.call("GET", f"/api/v1/accounts/{USERNAME}/statuses")
        assert status == 200, body
        listed: list[dict[str, Any]] = json.loads(body)
        return listed

    async def posts(self) -> list[PlatformPost]:
        shown = {status["id"]: status for status in self.list_statuses()}
        for status_id, status in shown.items():
            self.seen[status_id] = PlatformPost(
                remote_id=status_id,
                is_published=True,
                is_public=status["visibility"] == "public",
                picture_count=len(status["media_attachments"]),
                text=status["text"],
            )
        gone = {"is_published": False, "is_public": False}
        return [
            post if post.remote_id in shown else replace(post, **gone)
            for post in self.seen.values()
        ]

    async def remove(self, remote_id: str) -> None:
        """Delete a post by the form of snac's own page: there is no call for it."""
        [url] = [
            status["url"]
            for status in self.list_statuses()
            if status["id"] == remote_id
        ]
        basic = b64encode(f"{USERNAME}:{self.password}".encode()).decode()
        form = {"id": url, "actor": "", "group": "", "action": "Delete"}
        status, body = self.call(
            "POST", f"/{USERNAME}/admin/action", form, f"Basic {basic}"
        )
        assert status == 303, body

    async def post_manually(self, title: str, text: str) -> str:
        form = {"status": f"{title}\n\n{text}", "visibility": "public"}
        status, body = self.call(
            "POST", "/api/v1/statuses", form, f"Bearer {self.token}"
        )
        assert status == 200, body
        created: dict[str, str] = json.loads(body)
        return created["id"]


@contextmanager
def serve_snac(folder: Path) -> Iterator[Snac]:
    """Make an instance in this new folder, with one account, and serve it.

    Its log is `snac.log` in there. Another program may take the port before snac does: then there
    is another instance, on another port.
    """
    program = shutil.which("snac")
    assert program is not None
    folder.mkdir(parents=True)
    for number in range(MAX_STARTS):
        instance = folder / f"instance-{number}"
        server = _make_instance(program, instance)
        with (folder / "snac.log").open("a") as log:
            process = subprocess.Popen(
                [program, "httpd", str(instance)], stdout=log, stderr=log
            )
        try:
            if _has_answered(server, process):
                server.token = _sign_in(server)
                yield server
                return
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)
    raise AssertionError((folder / "snac.log").read_text())


def _make_instance(program: str, folder: Path) -> Snac:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers = f"127.0.0.1\n{port}\nlocalhost:{port}\n\n\n"  # address, port, host, prefix, e-mail
    _run([program, "init", str(folder)], answers)
    settings = json.loads((folder / "server.json").read_text())
    settings |= {
        "protocol": "http",
        "disable_inbox_collection": True,
        "disable_email_notifications": True,
    }
    (folder / "server.json").write_text(json.dumps(settings))
    said = _run([program, "adduser", str(folder), USERNAME], f"{USERNAME}\n")
    return Snac(port=port, password=said.partition("password is ")[2].split()[0])


def _has_answered(server: Snac, process: subprocess.Popen[bytes]) -> bool:
    """Wait until snac answers; return False if it ends, as it does where its port is taken."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            status, body = server.call("GET", "/api/v1/instance", timeout=PROBE_SECONDS)
            if status == 200 and "snac" in body:
                return True
        assert time.monotonic() < deadline, "snac does not answer"
        time.sleep(0.1)  # snac does not say when it listens
    return False


def _sign_in(server: Snac) -> str:
    """Return a token of the account, by the three steps that every client of Mastodon makes."""
    form = {
        "client_name": "publisher",
        "redirect_uris": REDIRECT,
        "scopes": "read write",
    }
    app = json.loads(server.call("POST", "/api/v1/apps", form)[1])
    form = {
        "login": USERNAME,
        "passwd": server.password,
        "redir": REDIRECT,
        "cid": app["client_id"],
        "state": "",
    }
    code = server.call("POST", "/oauth/x-snac-login", form)[1].strip()
    client = {
        "client_id": app["client_id"],
        "client_secret": app["client_secret"],
        "redirect_uri": REDIRECT,
    }
    status, body = server.call(
        "POST",
        "/oauth/token",
        {**client, "grant_type": "authorization_code", "code": code},
    )
    assert status == 200, body
    token: str = json.loads(body)["access_token"]
    return token


def _run(command: list[str], answers: str) -> str:
    done = subprocess.run(
        command,
        input=answers,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    return done.stdout + done.stderr
