"""A proxy before the simulator that can repeat each request in its answer.

The module also searches for secrets.
"""

import base64
import contextlib
import html
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, quote_plus

import httpx

CODES = {"weibo": 10004, "wechat": 40164, "tieba": 4010}
"""Error codes with a platform message that is kept."""
WORDS = {
    "weibo": ("error_code", "error"),
    "wechat": ("errcode", "errmsg"),
    "tieba": ("error_code", "error_msg"),
}
SHORT_LIVED = ("access_token", "tbs")


class Proxy(ThreadingHTTPServer):
    """A proxy between publisher and the platforms; `answers` is forward, page, words or nothing."""

    def __init__(self, simulator: httpx.Client) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.simulator = simulator
        self.answers = "forward"
        self.seen: set[str] = set()
        """Short-lived secrets that the platforms have issued."""
        self.answered: list[str] = []
        """How each request was answered."""
        self.released = threading.Event()


def platform_of(path: str) -> str:
    if path.startswith(("/cgi-bin/", "/datacube/")):
        return "wechat"
    return "weibo" if path.startswith(("/2/", "/oauth2/", "/proxy/")) else "tieba"


class Handler(BaseHTTPRequestHandler):
    """Answers one request as its server's proxy is configured."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.answered.append(self.server.answers)
        match self.server.answers:
            case "page":
                self._answer(
                    502,
                    "text/html",
                    f"<html><pre>{html.escape(self._echo(body))}</pre></html>".encode(),
                )
            case "words":
                platform = platform_of(self.path)
                code, words = WORDS[platform]
                reported = {code: CODES[platform], words: self._echo(body)}
                self._answer(200, "application/json", json.dumps(reported).encode())
            case "nothing":
                self.server.released.wait(3)
            case _:
                self._forward(body)

    do_POST = do_GET  # noqa: N815 # the name that the server asks for

    def _echo(self, body: bytes) -> str:
        """Repeat the request, the most secret part first.

        Only the beginning of a platform's message is kept.
        """
        reported = {
            name: value
            for name, value in self.headers.items()
            if name in {"authorization", "cookie"}
        }
        end_of_body = body.decode("utf-8", "replace")[-300:]
        return f"{self.path[-150:]} {reported} {end_of_body} {self.headers} {self.path}"

    def _forward(self, body: bytes) -> None:
        reply = self.server.simulator.request(
            self.command, self.path, content=body, headers=self.headers.items()
        )
        with contextlib.suppress(ValueError, AttributeError):  # no JSON, or no object
            secrets = {str(reply.json().get(name) or "") for name in SHORT_LIVED}
            self.server.seen |= {secret for secret in secrets if len(secret) >= 16}
        self._answer(
            reply.status_code,
            reply.headers.get("content-type", "text/html"),
            reply.content,
        )

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def proxy_to(simulator: httpx.Client) -> Iterator[Proxy]:
    """Run a proxy to the simulator."""
    with Proxy(simulator) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield proxy
        proxy.released.set()
        proxy.shutdown()
        thread.join(20)


def forms_of(secret: str) -> set[bytes]:
    """Return a secret and its first half in every encoding of their possible appearance."""
    found: set[bytes] = set()
    for part in (secret, secret[: max(12, len(secret) // 2)]):
        raw = part.encode()
        found |= {
            raw,
            quote(part, safe="").encode(),
            quote(part).encode(),
            quote_plus(part).encode(),
        }
        found |= {
            raw.hex().encode(),
            raw.hex().upper().encode(),
            json.dumps(part)[1:-1].encode(),
        }
        found |= {part.encode("utf-16-le"), raw[::-1]}
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # inside a longer base64 text: the letters that do not depend on the bytes around it
            found |= {
                encode(b"x" * shift + raw)[
                    4 if shift else 0 : (shift + len(raw)) // 3 * 4
                ]
                for shift in range(3)
            }
    return found


def leaks(places: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Return each place that contains any form of a secret, with the secret's owner."""
    forms = {name: forms_of(secret) for name, secret in secrets.items()}
    return [
        f"{name} in {place}: {content[max(0, content.index(form) - 80) : content.index(form)]!r}"
        for place, content in places.items()
        for name, spelled in forms.items()
        for form in spelled
        if form in content
    ]
