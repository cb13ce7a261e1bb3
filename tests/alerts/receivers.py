"""The receivers of alerts in tests: a webhook, a mail server and a CONNECT proxy.

The proxy stands in place of the services for bots.
"""

import contextlib
import datetime as dt
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DRIP_SECONDS = 0.2


class Webhook(ThreadingHTTPServer):
    """A receiver on this machine; `answer` is its treatment of a request.

    The treatments are accept, error, redirect, hang, drip and cut.
    """

    daemon_threads = True

    def __init__(self, answer: str = "accept", name: str = "duty") -> None:
        super().__init__(("127.0.0.1", 0), WebhookHandler)
        self.answer, self.name = answer, name
        self.log: list[dict[str, object]] = []
        """The received requests in the form that the checker of runs reads."""
        self.requests: list[dict[str, object]] = []
        self.accepted: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/hook"

    def ids(self) -> list[str]:
        """Return the ids of all notices that were accepted, in order."""
        return [key for message in self.accepted for key in message["ids"]]

    def handle_error(self, *_: object) -> None:
        return


class WebhookHandler(BaseHTTPRequestHandler):
    """Answers one request as its server is set."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server, answer = self.server, self.server.answer
        server.requests.append(message)
        accepted = {"at": time.time(), "is_accepted": answer == "accept"}
        server.log += [
            {"channel": server.name, "key": key, **accepted} for key in message["ids"]
        ]
        server.headers.append(dict(self.headers))
        if answer == "accept":
            server.accepted.append(message)
        if answer == "hang":
            server.released.wait(60)
            return
        status = {"error": 500, "redirect": 307}.get(answer, 200)
        self.send_response(status)
        if answer == "redirect":
            self.send_header(
                "location", f"http://127.0.0.1:{server.server_port}/elsewhere"
            )
        body = b"x" * 500 if answer == "drip" else b"{}"
        self.send_header("content-length", str(len(body) + (answer == "cut")))
        self.end_headers()
        for byte in body:
            if answer == "drip" and server.released.wait(DRIP_SECONDS):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        return


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server on this machine.

    With `drips` it sends its greeting a letter at a time, without end.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *, drips: bool = False, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.drips, self.refuses = drips, refuses
        self.refused_recipient = ""
        self.messages: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.server_address[1]}?from=publisher@police.cn&to=duty@police.cn"

    def handle_error(self, *_: object) -> None:
        return


class MailHandler(socketserver.StreamRequestHandler):
    """Speaks as much of SMTP as a client needs to deliver a message."""

    def handle(self) -> None:
        while self.server.drips and not self.server.released.wait(DRIP_SECONDS):
            self.wfile.write(b"2")
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline().decode().strip():
            word = line[:4].upper()
            if word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (data := self.rfile.readline()) not in {b".\r\n", b""}:
                    lines.append(data.decode())
                self.server.messages.append("".join(lines))
            unknown = self.server.refused_recipient
            is_unknown = bool(unknown) and unknown in line
            if word == "RCPT" and (self.server.refuses or is_unknown):
                self.wfile.write(b"550 no such user\r\n")
            else:
                self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 fine\r\n")


class ConnectProxy(socketserver.ThreadingTCPServer):
    """A proxy that takes every CONNECT and answers itself for the host.

    It has a certificate of its own authority. `reply` is answered as JSON, or as it is if it is
    bytes, with the status `status`.
    """

    daemon_threads = True

    def __init__(self, folder: Path, reply: object) -> None:
        super().__init__(("127.0.0.1", 0), ConnectHandler)
        self.reply, self.status = reply, 200
        self.requests: list[tuple[str, str, dict[str, object]]] = []
        """Host, path and message of each request."""
        self.folder, self.ca_file = folder, folder / "ca.pem"
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca = make_certificate("test authority", self.ca_key, None)
        self.ca_file.write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def context_for(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make_certificate(host, key, (self.ca, self.ca_key))
        file = self.folder / f"{host}.pem"
        plain = serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def handle_error(self, *_: object) -> None:
        return


class ConnectHandler(socketserver.StreamRequestHandler):
    """Answers one CONNECT and one request in the tunnel."""

    def handle(self) -> None:
        host = self.rfile.readline().split()[1].decode().partition(":")[0]
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 connected\r\n\r\n")
        with self.server.context_for(host).wrap_socket(
            self.connection, server_side=True
        ) as tunnel:
            stream = tunnel.makefile("rwb")
            path = stream.readline().split()[1].decode()
            headers = dict(
                line.decode().strip().lower().split(": ", 1)
                for line in iter(stream.readline, b"\r\n")
            )
            message = json.loads(stream.read(int(headers["content-length"])))
            self.server.requests.append((host, path, message))
            reply, status = self.server.reply, self.server.status
            body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            head = b"HTTP/1.1 %d Answer\r\nContent-Length: %d\r\n\r\n"
            stream.write(head % (status, len(body)) + body)
            stream.flush()


def make_certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: tuple | None
) -> x509.Certificate:
    """Return a certificate for a host, or of an authority if nobody issues it."""
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority, signing_key = issuer or (None, key)
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=issuer is None, crl_sign=issuer is None,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(authority.subject if authority else named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
        )
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                signing_key.public_key()
            ),
            critical=False,
        )
    )
    if issuer:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
    return builder.sign(signing_key, hashes.SHA256())


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    """Run a server in a thread."""
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}
    )
    thread.start()
    try:
        yield server
    finally:
        getattr(server, "released", threading.Event()).set()
        server.shutdown()
        server.server_close()
        thread.join(20)
