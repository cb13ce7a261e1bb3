"""Addresses of alert channels: bots, e-mail, HTTP. No call is made here.

A further service for bots is a row of BOTS, and the function that composes its messages.
"""

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import getaddresses
from functools import partial
from urllib.parse import (
    SplitResult,
    parse_qs,
    parse_qsl,
    quote,
    unquote,
    urlencode,
    urlsplit,
)

from publisher.config import Environment
from publisher.domain.addresses import is_loopback
from publisher.domain.errors import Problem

MAX_SCHEME_CHARACTERS = 20
WEBHOOKS = ("json", "jsons")
"""The schemes of addresses with a host. In those of other services a token has its place."""
MAIL_OPTIONS = frozenset({"from", "to", "smtp", "mode"})
MAIL_PORTS = {"insecure": 25, "starttls": 587, "ssl": 465}
"""The modes of a connection to a mail server, each with its usual port."""
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_MAILBOX = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")
_URL_SIGNS = "%/:?#[]@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    ids: Sequence[str]
    title: str
    body: str
    is_problem: bool

    @property
    def text(self) -> str:
        return f"{self.title}\n{self.body}"


Call = tuple[str, Mapping[str, object]]
"""The URL to call, and the JSON to post."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """A receiver of JSON. A bot accepts with a code or with a text, and others by the status alone."""

    host: str
    compose: Callable[[AlertMessage], Call]
    headers: Mapping[str, str] = field(default_factory=dict)
    is_bot: bool = False
    accepting_text: str = ""
    """The whole answer by which a bot accepts. Empty for a bot that answers with a code."""
    is_clear: bool = False
    """True if a message could be read on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailTarget:
    """A mail server, and the sender and the recipients as a mail's header names them."""

    host: str
    port: int
    mode: str
    user: str | None
    password: str | None
    sender: str
    recipients: str

    @property
    def is_clear(self) -> bool:
        """True if a password could be read on its way."""
        return self.mode == "insecure" and self.password is not None


Target = HttpTarget | MailTarget


@dataclass(frozen=True, slots=True)
class Bot:
    """A service for bots. `prefix` and a token are the address that its console shows."""

    prefix: str
    compose: Callable[[str, str, AlertMessage], Call]
    """Takes the bot's address, and its secret or an empty text."""
    is_signed: bool = True
    """True if a bot of this service may have a secret, to sign its messages."""
    token: re.Pattern[str] = _TOKEN
    """The form of a token, with the `/` between its parts if it has several."""
    accepting_text: str = ""
    """The whole answer of a service that accepts with a text. Empty for JSON with a code."""


def compose_wecom(url: str, _secret: str, message: AlertMessage) -> Call:
    return url, {"msgtype": "text", "text": {"content": message.text}}


def compose_dingtalk(url: str, secret: str, message: AlertMessage) -> Call:
    """Sign in the query: milliseconds and secret, keyed by the secret (open.dingtalk.com)."""
    if secret:
        now = str(round(time.time() * 1000))
        url += "&" + urlencode(
            {"timestamp": now, "sign": sign(secret, f"{now}\n{secret}")}
        )
    return url, {"msgtype": "text", "text": {"content": message.text}}


def compose_feishu(url: str, secret: str, message: AlertMessage) -> Call:
    """Sign in the JSON: an empty text, keyed by seconds and secret (open.feishu.cn)."""
    payload = {"msg_type": "text", "content": {"text": message.text}}
    if secret:
        now = str(round(time.time()))
        payload |= {"timestamp": now, "sign": sign(f"{now}\n{secret}", "")}
    return url, payload


def sign(key: str, text: str) -> str:
    """Return the HMAC-SHA256 of a text in base64."""
    return b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()


def compose_webhook(url: str, message: AlertMessage) -> Call:
    """Return the call of a receiver of one's own."""
    kind = "failure" if message.is_problem else "info"
    words = {"title": message.title, "message": message.body}
    return url, {"version": "1.0", **words, "type": kind, "ids": list(message.ids)}


BOTS = {
    "wecombot": Bot(
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=",
        compose_wecom,
        is_signed=False,
    ),
    "dingtalk": Bot(
        "https://oapi.dingtalk.com/robot/send?access_token=", compose_dingtalk
    ),
    "feishu": Bot("https://open.feishu.cn/open-apis/bot/v2/hook/", compose_feishu),
}
"""The services for bots, by the scheme of their addresses."""


def parse_address(url: str) -> Target | Problem:
    """Return the target of a channel's address, or the problem with nothing of it but its scheme.

    A bot's address may be the one that its console shows.
    """
    for scheme, bot in BOTS.items():
        if url.startswith(bot.prefix):
            url = f"{scheme}://{url.removeprefix(bot.prefix)}"
    try:
        parts = urlsplit(url)
        if parse := PARSERS.get(parts.scheme):
            return parse(parts)
    except ValueError:  # of urlsplit too
        return Problem(code="channel_bad_address")
    is_shown = parts.scheme.isascii() and len(parts.scheme) <= MAX_SCHEME_CHARACTERS
    facts = {"value": parts.scheme if is_shown else "", "choices": ", ".join(PARSERS)}
    return Problem(code="channel_bad_scheme", facts=facts)


def parse_bot(bot: Bot, parts: SplitResult) -> HttpTarget:
    """Return the target of `scheme://TOKEN` or `scheme://SECRET@TOKEN`. Raises ValueError."""
    secret, _at, token = parts.netloc.rpartition("@")
    token += parts.path.rstrip("/")
    _require(bot.token.fullmatch(token) and not parts.query)
    _require(bot.is_signed or not secret)
    compose = partial(bot.compose, bot.prefix + token, unquote(secret))
    return HttpTarget(
        host=urlsplit(bot.prefix).netloc,
        compose=compose,
        is_bot=True,
        accepting_text=bot.accepting_text,
    )


def parse_webhook(parts: SplitResult) -> HttpTarget:
    """Return the target of `jsons://USER:PASSWORD@HOST/PATH?QUERY`. Raises ValueError.

    Names with a sign before them meant headers and fields in earlier versions, and are refused.
    """
    is_clear, host = parts.scheme == "json", _find_host(parts)
    _require(not re.search(r"(^|&)[-+:]", parts.query))
    user, _at, netloc = parts.netloc.rpartition("@")
    headers = {"authorization": f"Basic {b64encode(unquote(user).encode()).decode()}"}
    called = parts._replace(
        scheme="http" if is_clear else "https", netloc=netloc, fragment=""
    )
    return HttpTarget(
        host=host,
        compose=partial(compose_webhook, quote(called.geturl(), safe=_URL_SIGNS)),
        headers=headers if user else {},
        is_clear=is_clear,
    )


def parse_mail(parts: SplitResult) -> MailTarget:
    """Return the target of `mailtos://USER:PASSWORD@HOST:PORT?from=&to=`. Raises ValueError.

    `to` may have several recipients, and `smtp` names a server other than HOST.
    """
    options = parse_qs(parts.query.replace("+", "%2B"))
    usual_mode = "ssl" if parts.port == MAIL_PORTS["ssl"] else "starttls"
    [host] = options.get("smtp", [_find_host(parts)])
    [mode] = options.get(
        "mode", [usual_mode if parts.scheme == "mailtos" else "insecure"]
    )
    _require(
        _HOST.fullmatch(host) and mode in MAIL_PORTS and options.keys() <= MAIL_OPTIONS
    )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    recipients = ", ".join(options.get("to", ()))
    own = user if "@" in user else f"{user}@{parts.hostname}"
    [sender] = options.get("from", [own if user else recipients])
    mailboxes = [
        mailbox for _name, mailbox in getaddresses([sender, recipients or sender])
    ]
    _require(
        all(map(_MAILBOX.fullmatch, mailboxes)) and len(getaddresses([sender])) == 1
    )
    return MailTarget(
        host=host,
        port=parts.port or MAIL_PORTS[mode],
        mode=mode,
        user=user if password else None,
        password=password or None,
        sender=sender,
        recipients=recipients or sender,
    )


PARSERS: Mapping[str, Callable[[SplitResult], Target]] = {
    **{scheme: partial(parse_bot, bot) for scheme, bot in BOTS.items()},
    **dict.fromkeys(("mailto", "mailtos"), parse_mail),
    **dict.fromkeys(WEBHOOKS, parse_webhook),
}
"""The schemes of channels. Each function raises ValueError for an address that it cannot use."""


def _find_host(parts: SplitResult) -> str:
    """Return the host of an address. Raises ValueError if there is none, or for a bad port."""
    host = parts.hostname or ""
    _require(_HOST.fullmatch(host) and parts.port != 0)
    return host


def _require(is_right: object) -> None:
    if not is_right:
        raise ValueError


def find_target_problem(
    target: Target, leads_to: Sequence[str], environment: Environment
) -> Problem | None:
    """Return why no message may go to the hosts or addresses where a target leads.

    In clear, and in a drill, a message stays on this machine.
    """
    if all(map(is_loopback, leads_to)):
        return None
    if environment is Environment.DRILL:
        return Problem(code="channel_not_loopback")
    return Problem(code="channel_not_https") if target.is_clear else None


def list_secret_parts(url: str) -> Iterator[str]:
    """Yield the parts of an address that prove a right to send there.

    These parts appear alone in others' words. For mail it is the password alone: posts may name the
    addresses of the agency.
    """
    yield url
    try:
        parts = urlsplit(url)
    except ValueError:  # `parse_address` reports it
        return
    is_mail = parts.scheme.startswith("mailto")
    yield from map(
        unquote, filter(None, (None if is_mail else parts.username, parts.password))
    )
    yield from (
        value for name, value in parse_qsl(parts.query) if name == "pass" or not is_mail
    )
    if not is_mail:
        yield from map(unquote, parts.path.split("/"))
    if not is_mail and parts.scheme not in WEBHOOKS:
        yield parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
