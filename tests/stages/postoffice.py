"""A mail server of our own, as strict or as broken as a test wants it."""

import asyncio
import base64
import contextlib
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from publisher.mailing import Mail, Security

USER = "audit@example.gov.cn"
ZONE = ZoneInfo("Asia/Shanghai")


@dataclass
class PostOffice:
    """Takes mails on 127.0.0.1. `answers` replace what it says to a command; None falls silent, b"" hangs up."""

    trust: object = None
    wrapped: bool = False
    password: str | None = None
    answers: dict[str, bytes | None] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def open(self):
        self.over = asyncio.Event()
        trust = self.trust if self.wrapped else None
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=trust)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.over.set()
            server.close()
            await server.wait_closed()

    def mail(self, **changes):
        """Give the mail settings that lead here."""
        known = {"to": "safe@example.gov.cn", "sender": USER, "host": "127.0.0.1", "port": self.port}
        return Mail(**{**known, "security": Security.CLEAR, "zone": ZONE, **changes})

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError, EOFError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _talk(self, reader, writer):
        verb, is_private = "GREETING", self.wrapped
        while verb:
            self.commands.append(verb)
            said = self.answers.get(verb, self._answer(verb, is_private))
            if said is None:
                await self.over.wait()
            if not said:
                return
            writer.write(said + b"\r\n")
            await writer.drain()
            if verb == "QUIT":
                return
            if verb == "DATA" and said.startswith(b"354"):
                raw = await reader.readuntil(b"\r\n.\r\n")
                verb = "DONE"
                self.mails.append(raw[:-3].replace(b"\r\n..", b"\r\n."))
                continue
            if verb == "STARTTLS" and said.startswith(b"220"):
                await writer.start_tls(self.trust)
                is_private = True
            line = (await reader.readline()).decode()
            verb = line.split(" ")[0].strip().upper()
            if verb == "AUTH":
                verb = self._judge(line)

    def _judge(self, line):
        _empty, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
        return "AUTH" if (user, password) == (USER, self.password) else f"REFUSED {line.split()[2]} {password}"

    def _answer(self, verb, is_private):
        extras = ["AUTH PLAIN"] * (self.password is not None)
        extras += ["STARTTLS"] * (self.trust is not None and not is_private)
        hello = "\r\n".join([*(f"250-{extra}" for extra in extras), "250 8BITMIME"])
        fixed = {"GREETING": "220 ready", "EHLO": f"250-hello\r\n{hello}", "AUTH": "235 welcome", "DATA": "354 go on"}
        fixed |= {"STARTTLS": "220 go on", "QUIT": "221 bye"}
        refused = verb.replace("REFUSED", "535 no such login:")
        return (refused if verb.startswith("REFUSED") else fixed.get(verb, "250 fine")).encode()
