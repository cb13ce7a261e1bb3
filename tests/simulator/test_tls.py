"""The simulator over TLS: one state behind two ports."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys

import httpx
import pytest

from publisher.simulator import CertificateError, TlsListener, serve
from publisher.simulator.server import make_certificate

PATIENCE = 60


@pytest.fixture
async def ports(tmp_path):
    """Yield the plain port, the TLS port and the certificate."""
    loop = asyncio.get_running_loop()
    plain, tls = loop.create_future(), loop.create_future()
    door = TlsListener(
        host="127.0.0.1", port=0, on_ready=lambda *reported: tls.set_result(reported)
    )
    task = asyncio.create_task(
        serve("127.0.0.1", 0, tmp_path, plain.set_result, tls=door)
    )
    yield (
        await asyncio.wait_for(plain, PATIENCE),
        *await asyncio.wait_for(tls, PATIENCE),
    )
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_both_ports_serve_one_state(ports):
    """A post by the plain port is read through the other.

    The certificate of the other port covers the platforms' hosts.
    """
    plain, tls, chain = ports
    trust = ssl.create_default_context(cafile=str(chain))
    wanted = {"platform": "tieba", "account": "tb.1.abcd", "title": "题", "text": "文"}
    async with httpx.AsyncClient(verify=trust) as client:
        await client.post(f"http://127.0.0.1:{plain}/_sim/posts", json=wanted)
        seen = await client.get(
            f"https://127.0.0.1:{tls}/_sim/posts",
            extensions={"sni_hostname": "tieba.baidu.com"},
        )
    assert [each["title"] for each in seen.json()] == ["题"]


async def test_a_reset_over_tls(ports):
    """It reaches the caller as a reset, and the call has acted."""
    plain, tls, chain = ports
    trust = ssl.create_default_context(cafile=str(chain))
    rule = {"endpoint": "/dc/common/tbs", "fault": {"kind": "drop_after"}}
    async with httpx.AsyncClient(verify=trust) as client:
        await client.post(f"http://127.0.0.1:{plain}/_sim/faults", json=rule)
        with pytest.raises(httpx.TransportError):
            await client.get(f"https://127.0.0.1:{tls}/dc/common/tbs")


def test_without_openssl_there_is_no_certificate(tmp_path, monkeypatch):
    """A missing program and a failing one have different reasons.

    Only the owner can read the key.
    """
    chain, key = make_certificate(tmp_path, "sim.example")
    assert key.stat().st_mode & 0o077 == 0
    assert "BEGIN CERTIFICATE" in chain.read_text()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CertificateError, match="missing"):
        make_certificate(tmp_path, "sim.example")
    (tmp_path / "openssl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "openssl").chmod(0o700)
    with pytest.raises(CertificateError, match="failed"):
        make_certificate(tmp_path, "sim.example")


@pytest.mark.long
def test_simulate_serves_over_tls_as_well(tmp_path):
    """`--tls-listen` prints the address and the certificate, and both servers end together."""
    options = [
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
        "--state",
        str(tmp_path / "state"),
    ]
    command = [sys.executable, "-m", "publisher", "--lang", "en", "simulate", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stdout.readline() + process.stdout.readline()
        address = next(
            word for word in said.split() if word.startswith("https://127.0.0.1:")
        )
        trust = ssl.create_default_context(
            cafile=str(tmp_path / "state" / "simulator.crt")
        )
        assert (
            httpx.get(f"{address}/dc/common/tbs", verify=trust).json()["is_login"] == 0
        )
        process.send_signal(signal.SIGTERM)
        assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")


def test_simulate_reports_a_missing_openssl(tmp_path):
    """With a message and exit code 1; nothing is served."""
    command = [
        sys.executable,
        "-m",
        "publisher",
        "--lang",
        "en",
        "simulate",
        "--tls-listen",
        "127.0.0.1:0",
    ]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [*command, "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "openssl" in done.stderr
