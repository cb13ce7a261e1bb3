"""The dashboard on a public address.

It uses its own TLS, or runs behind a reverse proxy that brings it.
"""

import asyncio
import contextlib
import shutil
import ssl

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.testing.fakes import FakeRuntime
from publisher.web import process
from publisher.web.dashboard import create_dashboard
from publisher.web.http.middleware import security_headers
from publisher.web.kit import limits
from publisher.web.process import serve_dashboard
from tests.alerts.receivers import make_certificate
from tests.ports import free_port
from tests.web.conftest import WebSite, make_workspace
from tests.web.test_sign_in import PASSWORD, add_activated

PATIENCE = 90
"""Seconds until something must have happened, on a machine that is busy with other tests."""
NAME = "localhost"


@pytest.fixture
def workspace(tmp_path, sqlite_template):
    """Return a drill with an empty database."""
    folder = make_workspace(tmp_path / "drill")
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    return folder


@contextlib.asynccontextmanager
async def serving(folder, entry):
    """Serve the dashboard as `publisher web` does, for a user with a password.

    The entry is in its settings.
    """
    with (folder / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[dashboard]\n{entry}\n")
    settings, runtime, listening = (
        await load_settings(folder),
        FakeRuntime(),
        asyncio.Event(),
    )
    async with open_application(settings, runtime, can_send=False) as application:
        site = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        await add_activated(site)
    served = asyncio.create_task(
        serve_dashboard(
            settings, runtime, report=lambda *_code, **_facts: listening.set()
        )
    )
    try:
        await asyncio.wait_for(listening.wait(), PATIENCE)
        yield
    finally:
        served.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await served


def write_certificates(folder):
    """Write certificate and key of a host, signed by an authority of our own.

    Return a context that trusts the authority.
    """
    root_key, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    root = make_certificate("authority", root_key, None)
    certificate = make_certificate(NAME, key, (root, root_key))
    (folder / "tls.pem").write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
    )
    plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "tls.key").write_bytes(key.private_bytes(*plain))
    return ssl.create_default_context(
        cadata=root.public_bytes(serialization.Encoding.PEM).decode()
    )


async def sign_in(client, password=PASSWORD, **headers):
    return await client.post(
        "/login", data={"name": "作者", "password": password}, headers=headers
    )


async def test_by_its_own_certificate_nothing_goes_in_clear(workspace):
    """With its own certificate the dashboard sends nothing in clear.

    The cookie is bound to this host and to TLS. Another site changes nothing, and plain HTTP gets
    no answer.
    """
    trusted, port = write_certificates(workspace), free_port()
    entry = (
        f'listen = "127.0.0.1:{port}"\ncertificate = "tls.pem"\nkey = "tls.key"\n'
        f'url = "https://{NAME}:{port}"'
    )
    async with (
        serving(workspace, entry),
        httpx.AsyncClient(
            base_url=f"https://{NAME}:{port}", verify=trusted, timeout=PATIENCE
        ) as client,
    ):
        entered = await sign_in(client, origin=f"https://{NAME}:{port}")
        today = await client.get("/today")
        foreign = await client.post(
            "/pause", headers={"origin": "https://evil.example"}
        )
        wish = await client.get("/me?theme=dark")
        no_http = await ask_in_bytes(port, b"GET /\r\n\r\n", trusted)
        left = await client.post(
            "/logout", headers={"origin": f"https://{NAME}:{port}"}
        )
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/login")
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith("__Host-publisher_session=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert (entered.status_code, today.status_code, foreign.status_code) == (
        303,
        200,
        403,
    )
    assert "max-age" in today.headers["strict-transport-security"]
    assert no_http.startswith(b"HTTP/1.1 400")
    assert all(
        f"\r\n{name}: {value}\r\n".encode() in no_http
        for name, value in security_headers(is_secure=True).items()
    )
    kept = {
        name: cookie
        for answer in (wish, left)
        for name, cookie in read_cookies(answer).items()
    }
    assert kept.keys() == {"__Host-publisher_theme", "__Host-publisher_session"}
    assert all(
        {"Secure", "HttpOnly", "Path=/"} <= attributes for attributes in kept.values()
    )


async def test_f90_handshakes_that_do_not_end_are_bounded(workspace, monkeypatch):
    """F90: clients that begin TLS and send nothing close their own connections.

    Others are answered.
    """
    monkeypatch.setattr(process, "MAX_HANDSHAKES", 5)
    trusted, port = write_certificates(workspace), free_port()
    entry = (
        f'listen = "127.0.0.1:{port}"\ncertificate = "tls.pem"\nkey = "tls.key"\n'
        f'url = "https://{NAME}:{port}"'
    )
    async with (
        serving(workspace, entry),
        httpx.AsyncClient(
            base_url=f"https://{NAME}:{port}", verify=trusted, timeout=PATIENCE
        ) as client,
    ):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        closed = [
            await asyncio.wait_for(reader.read(), PATIENCE)
            for reader, _writer in silent[:3]
        ]
        answer = await client.get("/login")
        monkeypatch.setattr(process, "HANDSHAKE_SECONDS", 0.1)
        late, writer = await asyncio.open_connection("127.0.0.1", port)
        after_the_time = await asyncio.wait_for(late.read(), PATIENCE)
        for each in [writer, *(writer for _reader, writer in silent)]:
            each.close()
    assert closed == [b""] * 3
    assert answer.status_code == 200
    assert after_the_time == b""


async def ask_in_bytes(port, request, trusted):
    """Return the whole answer to some bytes."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trusted, server_hostname=NAME
    )
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def read_cookies(answer):
    """Return the attributes of the cookies that an answer sets, by name."""
    parts = [line.split("; ") for line in answer.headers.get_list("set-cookie")]
    return {first.partition("=")[0]: set(attributes) for first, *attributes in parts}


@contextlib.asynccontextmanager
async def proxying(port, *, says_proto="https"):
    """Pass requests on to a port like a reverse proxy, with the address of each client.

    Yield the proxy's port.
    """

    async def pass_on(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        client = writer.get_extra_info("peername")[0]
        known = next(
            (
                line.partition(": ")[2]
                for line in lines
                if line.lower().startswith("x-forwarded-for")
            ),
            "",
        )
        kept = [
            line
            for line in lines[1:-2]
            if not line.lower().startswith(("x-forwarded", "connection"))
        ]
        added = [
            f"X-Forwarded-For: {', '.join(filter(None, [known, client]))}",
            f"X-Forwarded-Proto: {says_proto}",
            "Connection: close",
        ]
        length = next(
            (
                int(line.partition(": ")[2])
                for line in lines
                if line.lower().startswith("content-length")
            ),
            0,
        )
        behind, ahead = await asyncio.open_connection("127.0.0.1", port)
        ahead.write("\r\n".join([lines[0], *kept, *added, "", ""]).encode("latin-1"))
        ahead.write(await reader.readexactly(length))
        writer.write(await behind.read())
        for each in (ahead, writer):
            each.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_behind_a_proxy_each_client_counts_for_itself(workspace, monkeypatch):
    """Behind a proxy each client counts for itself.

    The proxy's word on the client's address is believed, a client's own is not, and nobody gets
    past the proxy.
    """
    monkeypatch.setattr(limits, "MAX_ATTEMPTS_OF_NAME", 1)
    port, url = free_port(), "https://fabu.example.gov.cn"
    own = {"host": "fabu.example.gov.cn", "origin": url}

    def open_client(place, address):
        transport = httpx.AsyncHTTPTransport(local_address=address)
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{place}", transport=transport, timeout=PATIENCE
        )

    async with (
        serving(
            workspace,
            f'listen = "127.0.0.1:{port}"\nproxy = "127.0.0.1"\nurl = "{url}"',
        ),
        proxying(port) as https,
        proxying(port, says_proto="http") as http,
        open_client(https, "127.0.0.2") as other,
        open_client(https, "127.0.0.3") as author,
        open_client(http, "127.0.0.3") as in_clear,
        open_client(port, "127.0.0.9") as past,
    ):
        wrong = [
            await sign_in(
                other, "falsch", **own, **{"x-forwarded-for": f"10.0.0.{number}"}
            )
            for number in range(3)
        ]
        entered = await sign_in(author, **own)
        session = entered.headers["set-cookie"].partition(";")[0]
        today = await author.get("/today", headers={**own, "cookie": session})
        foreign = await author.post(
            "/pause",
            headers={**own, "cookie": session, "origin": "https://evil.example"},
        )
        forged = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"}
        refused = [await sign_in(in_clear, **own), await sign_in(past, **own, **forged)]
        metrics = await author.get("/metrics", headers=own)
    assert [answer.status_code for answer in wrong] == [422, 429, 429]
    assert entered.headers["set-cookie"].startswith("__Host-publisher_session=")
    assert (entered.status_code, today.status_code, foreign.status_code) == (
        303,
        200,
        403,
    )
    assert [(answer.status_code, url in answer.text) for answer in refused] == [
        (403, True),
        (403, True),
    ]
    assert metrics.status_code == 401
