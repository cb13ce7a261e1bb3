"""Delivery of alert messages by HTTP and mail. Loaded with the first message, as it costs time.

It takes nothing from the environment and follows no redirect.
"""

import json
import socket
import ssl
from contextlib import aclosing, suppress
from email.message import EmailMessage
from email.utils import localtime, make_msgid

import aiosmtplib
import httpx

from adapters._http import find_cause, load_tls_context, resolve
from publisher.app.alert_addresses import (
    AlertMessage,
    HttpTarget,
    MailTarget,
    Target,
    find_target_problem,
)
from publisher.config import Settings
from publisher.domain.addresses import is_loopback, parse_host
from publisher.domain.errors import Problem

MAX_REPLY_BYTES = 64 * 1024
QUIT_TIMEOUT_SECONDS = 1.0
"""How long a mail server may take to say goodbye: it has accepted the message before."""
HEADERS = {
    "accept-encoding": "identity",
    "connection": "close",
    "user-agent": "publisher",
}
BOT_CODES = ("errcode", "code", "StatusCode")
"""The fields of a bot's code: WeCom and DingTalk, Feishu, and Feishu's earlier interface."""
RATE_LIMIT_CODES = frozenset({429, 11232, 45009, 130101})
"""The codes for too many messages: of HTTP, Feishu, WeCom and DingTalk."""
FEISHU_BAD_REQUEST = 9499
"""Feishu's code for a request that it does not accept, and also for too many of them."""


async def deliver(
    target: Target, message: AlertMessage, settings: Settings
) -> Problem | None:
    """Deliver a message; return why it is not accepted, or None. Raises the libraries' errors.

    A failure of TLS is none of these: it is returned with its own reason.
    """
    try:
        return await reach(target, message, settings)
    except Exception as error:
        if (problem := find_tls_problem(error)) is not None:
            return problem
        raise


def find_tls_problem(error: Exception) -> Problem | None:
    """Return the failure of TLS that led to an error: of the certificate, or of the rest of it."""
    failure = find_cause(error, ssl.SSLError)
    if failure is None:
        return None
    if isinstance(failure, ssl.SSLCertVerificationError):
        facts = {"said": failure.verify_message}
        return Problem(code="channel_certificate_refused", facts=facts)
    return Problem(code="channel_without_tls", facts={"said": failure.reason or ""})


async def reach(
    target: Target, message: AlertMessage, settings: Settings
) -> Problem | None:
    """Deliver a message to an allowed address; return why it is not accepted, or None.

    A proxy would take an address of this machine for its own, so these are reached without it.
    """
    is_direct = isinstance(target, MailTarget) or is_loopback(target.host)
    proxy = None if is_direct else settings.alerts.proxy
    problem = find_target_problem(target, [target.host], settings.environment)
    if problem is None:
        # the libraries' own lookups block a thread that all parts of the daemon share
        addresses = await resolve(parse_host(proxy or "") or target.host)
        problem = find_target_problem(target, addresses, settings.environment)
    if problem is not None:
        return problem
    if isinstance(target, MailTarget):
        return await send_mail(target, message)
    return await post(target, message, proxy, settings)


async def post(
    target: HttpTarget, message: AlertMessage, proxy_url: str | None, settings: Settings
) -> Problem | None:
    """Post a message; return its refusal, or None. Only MAX_REPLY_BYTES of an answer are read."""
    url, payload = target.compose(message)
    request = httpx.Request(
        "POST", url, json=payload, headers={**HEADERS, **target.headers}
    )
    tls_context, proxy = load_tls_context(), None
    if settings.alerts.ca_file:
        ca_file = settings.workspace / settings.alerts.ca_file
        tls_context = ssl.create_default_context(cafile=ca_file)
    if proxy_url:
        is_encrypted = proxy_url.startswith("https:")
        proxy = httpx.Proxy(
            proxy_url, ssl_context=tls_context if is_encrypted else None
        )
    async with httpx.AsyncHTTPTransport(verify=tls_context, proxy=proxy) as transport:
        response, content = await transport.handle_async_request(request), b""
        async with aclosing(response):
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) >= MAX_REPLY_BYTES:
                    break
    return find_refusal(target, response.status_code, content)


def find_refusal(target: HttpTarget, status: int, content: bytes) -> Problem | None:
    """Return a receiver's refusal: by status or, with a bot's status of success, by its answer.

    Only of a bot's answer are the words shown: a page is of no use in an alert.
    """
    if 300 <= status < 400:
        return Problem(code="channel_redirected", facts={"status": str(status)})
    text = content.decode("utf-8", "replace") if target.is_bot else ""
    if not 200 <= status < 300:
        return refuse(status, text)
    if not target.is_bot:
        return None
    if target.accepting_text:
        is_accepted = text.strip() == target.accepting_text
        return None if is_accepted else refuse(status, text)
    try:
        reply = json.loads(content)
        code = next(reply[name] for name in BOT_CODES if name in reply)
        said = reply.get("errmsg") or reply.get("msg") or ""
    except (ValueError, TypeError, AttributeError, StopIteration):
        return refuse(status, text)
    return refuse(code, said) if code != 0 else None


def refuse(code: object, said: object = "") -> Problem:
    """Return the problem of a channel that works, and does not accept this message, or not now."""
    is_too_many = code == FEISHU_BAD_REQUEST and "too many" in str(said).lower()
    is_for_now = is_too_many or (isinstance(code, int) and code in RATE_LIMIT_CODES)
    name = "channel_rate_limited" if is_for_now else "channel_refused"
    return Problem(code=name, facts={"code": str(code), "said": str(said)})


async def send_mail(target: MailTarget, message: AlertMessage) -> Problem | None:
    """Hand a message to a mail server; return its refusal, or None.

    If some of the recipients are refused, the others have the message.
    """
    name = (
        socket.gethostname()
    )  # not what DNS says: the library would ask in a shared thread
    client = aiosmtplib.SMTP(
        hostname=target.host,
        port=target.port,
        username=target.user,
        password=target.password,
        local_hostname=name if "." in name else "[127.0.0.1]",
        timeout=None,
        use_tls=target.mode == "ssl",
        start_tls=target.mode == "starttls",
    )
    try:
        await client.connect()
        refused, _said = await client.send_message(write_mail(target, message))
        with suppress(aiosmtplib.SMTPException):
            await client.quit(timeout=QUIT_TIMEOUT_SECONDS)
    except aiosmtplib.SMTPRecipientsRefused as error:
        return refuse(error.recipients[0].code, error.recipients[0].message)
    except aiosmtplib.SMTPResponseException as error:
        return refuse(error.code, error.message)
    finally:
        client.close()
    if not refused:
        return None
    code, said = next(iter(refused.values()))
    facts = {"number": str(len(refused)), "code": str(code), "said": said}
    return Problem(code="channel_partly_refused", facts=facts)


def write_mail(target: MailTarget, message: AlertMessage) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = target.sender, target.recipients
    mail["Subject"] = " ".join(message.title.split())
    mail["Date"] = localtime()
    mail["Message-ID"] = make_msgid(domain=target.host)
    mail.set_content(message.body, cte="base64")
    return mail
