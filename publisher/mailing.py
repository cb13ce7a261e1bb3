"""The head of the audit goes out by mail once a day, to people who cannot write the database."""

import asyncio
import contextlib
import errno
import smtplib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from enum import StrEnum
from functools import partial
from typing import BinaryIO

from publisher.domain.chain import Anchor
from publisher.domain.excerpt import spell_anchor
from publisher.messages import LANGS, Messages
from publisher.store.audit import Audit
from publisher.store.mailing import MAIL, note_mailed, take_mail
from publisher.telemetry import log
from publisher.vault import SecretError

DEADLINE = 20.0
"""Seconds for a whole mail, less than a stopping daemon gives to what it has in hand."""
SILENCE = 10.0
"""Seconds for one answer of the server."""
LONGEST_TALK = 256 * 1024
"""Bytes that a server may say before it is left: a reply may have any number of lines."""
FAILED = "audit_anchor_failed"


class Security(StrEnum):
    """How a server is spoken to."""

    TLS = "tls"
    STARTTLS = "starttls"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Where the head is mailed to, and by which server. `password` is read when needed; without a user none is.

    `sign` signs the anchor, and raises SecretError.
    """

    to: str
    sender: str
    host: str
    port: int
    security: Security
    zone: tzinfo
    user: str | None = None
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)
    sign: Callable[[Anchor], Anchor] = lambda head: head


async def mail_head(audit: Audit, mail: Mail | None, deadline: float = DEADLINE) -> None:
    """Mail the audit's head if it has moved and a day has passed; a failure is told, and tried again in an hour."""
    if mail is None:
        await audit.calm(MAIL)
        return
    head = await take_mail(audit)
    if head is None:
        return
    try:
        head = await asyncio.to_thread(mail.sign, head)
    except SecretError as error:
        log.error(FAILED, error=error.code, number=None)
        failure: str | None = "audit_key"
    else:
        failure = await _send_within(mail, head, deadline)
    if failure is not None:
        await audit.tell(FAILED, failure, MAIL)
        return
    await note_mailed(audit, head)
    await audit.calm(MAIL)
    log.info("audit_anchor_mailed", sequence=head.sequence)


def compose(head: Anchor, mail: Mail) -> EmailMessage:
    """Write the mail: the head in words of both languages, and as a line that `audit verify --anchors` reads."""
    message = EmailMessage()
    at = datetime.fromisoformat(head.at)
    time = at.astimezone(mail.zone).isoformat(timespec="seconds")
    facts = {"database": head.database, "sequence": head.sequence, "hash": head.hash, "time": time}
    words = [Messages(lang).say("audit_mail", **facts) for lang in LANGS]
    message["From"], message["To"] = mail.sender, mail.to
    message["Subject"] = " · ".join(Messages(lang).say("audit_mail_subject", **facts) for lang in LANGS)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join([*words, spell_anchor(head)]) + "\n", cte="base64")
    return message


async def _send_within(mail: Mail, head: Anchor, deadline: float) -> str | None:
    """Send in a thread that nobody waits for longer than the deadline, nor at the end of the process.

    Returns the code of what went wrong, None for nothing.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()

    def settle(failure: str | None) -> None:
        if not answer.done():
            answer.set_result(failure)

    def work() -> None:
        failure = _try(mail, head)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=work, name="mail", daemon=True).start()
    try:
        return await asyncio.wait_for(answer, deadline)
    except TimeoutError:
        log.error(FAILED, error="TimeoutError", number=None)
        return "mail_unreachable"


def _try(mail: Mail, head: Anchor) -> str | None:
    """Send, and name what went wrong. What the server said may repeat the password, and is kept nowhere."""
    password = mail.password() if mail.user else None
    if mail.user and not password:
        return "mail_no_password"
    try:
        _send(mail, head, password)
    except (OSError, ValueError) as error:  # SMTPException is an OSError; no ASCII in a password is a ValueError
        number = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
        log.error(FAILED, error=type(error).__name__, number=number)
        return _code_of(error)
    return None


def _send(mail: Mail, head: Anchor, password: str | None) -> None:
    trust = ssl.create_default_context()
    is_wrapped = mail.security is Security.TLS
    connect = partial(_WrappedClient, context=trust) if is_wrapped else _Client
    client = connect(mail.host, mail.port, timeout=SILENCE)
    try:
        if mail.security is Security.STARTTLS:
            client.starttls(context=trust)
        if mail.user and password:
            client.login(mail.user, password)
        client.send_message(compose(head, mail))
        with contextlib.suppress(OSError):  # it has the mail already
            client.quit()
    finally:
        client.close()


class _Ear:
    """Hears a server out, but not for ever."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, LONGEST_TALK

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, "")
        return line

    def close(self) -> None:
        self._file.close()


class _Client(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Ear(self.sock.makefile("rb"))
        return super().getreply()


class _WrappedClient(_Client, smtplib.SMTP_SSL):
    """One that speaks TLS from the first byte on."""


def _code_of(error: OSError | ValueError) -> str:
    match error:
        case smtplib.SMTPAuthenticationError():
            return "mail_login_refused"
        case smtplib.SMTPNotSupportedError():
            return "mail_not_offered"
        case ssl.SSLError():
            return "mail_untrusted"
        case smtplib.SMTPServerDisconnected():
            return "mail_unreachable"
        case smtplib.SMTPException() | ValueError():
            return "mail_refused"
        case _:
            return "mail_unreachable"
