"""Alert channels: WeCom, DingTalk, Feishu, e-mail, HTTP. Only this module imports apprise, late.

It imports apprise not before a send. apprise blocks, and takes proxies and passwords from the
environment. So each message is sent in a thread of its own, given up after SEND_TIMEOUT_SECONDS.
The parts that its plugins send with are replaced by parts of this module.
"""

import asyncio
import contextlib
import json
import logging
import re
import smtplib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from publisher.config import Environment, Settings
from publisher.domain.addresses import is_loopback
from publisher.domain.errors import Problem, Severity
from publisher.runtime.logs import log
from publisher.runtime.redaction import redact_text, register_secrets
from publisher.secrets import SecretError, open_vault, read_secret
from publisher.tomlfile.validate import UnlocatedProblem

URL_FIELD = "url"
"""The field of a channel's secret that holds its address."""
SEND_TIMEOUT_SECONDS = 10.0
"""After this a channel has not answered; its connection is cut."""
CONNECT_TIMEOUT_SECONDS = 5.0
MAX_REPLY_BYTES = 64 * 1024
MIN_SMTP_ERROR = 400
"""RFC 5321: replies from 400 on are failures, for now or for good."""
MAX_SCHEME_CHARACTERS = 20
MAX_SAID_CHARACTERS = 120
"""How much of a channel's own words is shown."""
PLUGINS = {
    "wecombot": ("apprise.plugins.wecombot", "NotifyWeComBot"),
    "dingtalk": ("apprise.plugins.dingtalk", "NotifyDingTalk"),
    "feishu": ("apprise.plugins.feishu", "NotifyFeishu"),
    "mailto": ("apprise.plugins.email", "NotifyEmail"),
    "mailtos": ("apprise.plugins.email", "NotifyEmail"),
    "json": ("apprise.plugins.custom_json", "NotifyJSON"),
    "jsons": ("apprise.plugins.custom_json", "NotifyJSON"),
}
"""The schemes of channels, each with its plugin. Loading all apprise plugins would take seconds."""
BOT_SCHEMES = frozenset({"wecombot", "dingtalk", "feishu"})
"""Services with a fixed address.

They answer a refusal with status 200 and a code other than 0.
"""
BOT_CODES = ("errcode", "code", "StatusCode")
"""The fields of that code: WeCom and DingTalk, Feishu, and Feishu's earlier interface."""
_COPIED_ADDRESSES = {
    re.compile(
        r"https://qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=([\w-]+)"
    ): "wecombot://{}",
    re.compile(r"https://oapi\.dingtalk\.com/robot/send\?access_token=([\w-]+)"): "dingtalk://{}",
    re.compile(r"https://open\.feishu\.cn/open-apis/bot/v2/hook/([\w-]+)"): "feishu://{}",
}
"""The addresses that the services' own consoles show, and the same for apprise."""


@dataclass(slots=True, kw_only=True)
class _Call:
    """One message on its way: its channel's allowed targets, and the reply."""

    settings: Settings
    is_bot: bool
    failure: Problem | None = None
    cut_http: Callable[[], None] = lambda: None
    smtp: smtplib.SMTP | None = None

    def refuse(self, reason: str, **facts: object) -> None:
        """Remember the first reason why the message was not accepted, without any secret."""
        shown = {name: redact_text(str(fact))[:MAX_SAID_CHARACTERS] for name, fact in facts.items()}
        self.failure = self.failure or Problem(code=reason, facts=shown)

    def require_reachable(self, host: str) -> None:
        """Raise ConnectionRefusedError for a host other than this machine in a drill."""
        if self.settings.environment is Environment.DRILL and not is_loopback(host):
            self.refuse("channel_not_loopback")
            raise ConnectionRefusedError

    def cut(self) -> None:
        """End the connection, so that the thread ends."""
        self.refuse("channel_timeout", seconds=f"{SEND_TIMEOUT_SECONDS:.0f}")
        self.cut_http()
        with contextlib.suppress(OSError, AttributeError):
            getattr(self.smtp, "sock").shutdown(socket.SHUT_RDWR)  # noqa: B009 # None before and after a connection


_current_call: ContextVar[_Call] = ContextVar("current_call")


@dataclass(slots=True)
class AlertChannels:
    """The channels of a workspace. Each sends one message at a time."""

    settings: Settings
    _busy: set[str] = field(default_factory=set)
    """The channels with a running thread."""

    async def send(
        self, channel: str, *, ids: Sequence[str], title: str, body: str, is_problem: bool = True
    ) -> Problem | None:
        """Send a message; return the reason if it is not accepted, or None.

        Takes SEND_TIMEOUT_SECONDS at most. `ids` are the same when it is sent again; a receiver of
        JSON gets them.
        """
        # its thread hangs where nothing can cut it, as in the resolver: another one would too
        if channel in self._busy:
            return Problem(code="channel_timeout", facts={"seconds": f"{SEND_TIMEOUT_SECONDS:.0f}"})
        try:
            url = await asyncio.to_thread(read_channel_url, self.settings, channel)
        except SecretError as error:
            return Problem(code=error.code, facts=error.facts)
        if problem := find_address_problem(url, self.settings.environment):
            return problem
        await asyncio.to_thread(_load_plugin, urlsplit(url).scheme)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        call = _Call(settings=self.settings, is_bot=urlsplit(url).scheme in BOT_SCHEMES)

        def work() -> None:
            send_message(url, ids, {"title": title, "body": body}, call, is_problem=is_problem)
            self._busy.discard(channel)
            # the process ends without waiting for this thread
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.cancel)

        self._busy.add(channel)
        try:
            threading.Thread(target=work, name=f"alert-{channel}", daemon=True).start()
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await asyncio.wait([ended])
        except TimeoutError:
            call.cut()
        except RuntimeError as error:  # no thread can be started
            self._busy.discard(channel)
            call.refuse("channel_unreachable", error=type(error).__name__)
        return call.failure


def send_message(
    url: str, ids: Sequence[str], words: Mapping[str, str], call: _Call, *, is_problem: bool
) -> None:
    """Send a message with its channel's plugin.

    `call` has the reason why it was not accepted.
    """
    _current_call.set(call)
    try:
        plugin_class, common = _load_plugin(urlsplit(url).scheme)
        parsed = plugin_class.parse_url(url)
        parsed |= {"redirect": False, "verify": True, "format": "text"}
        # the connection is cut before
        parsed |= {
            "cto": CONNECT_TIMEOUT_SECONDS,
            "rto": 2 * SEND_TIMEOUT_SECONDS,
        }
        plugin = plugin_class(**parsed)
        if hasattr(plugin, "payload_extras"):  # JSON for a receiver of one's own
            plugin.payload_extras["ids"] = list(ids)
        kind = common.NotifyType.FAILURE if is_problem else common.NotifyType.INFO
        if not plugin.notify(**words, notify_type=kind):
            call.refuse("channel_unreachable", error="")
    except Exception as error:  # noqa: BLE001 # whatever a plugin raises, the message was not accepted
        log.warning("alert_channel_failed", error=type(error).__name__)
        call.refuse("channel_unreachable", error=type(error).__name__)


@cache
def _load_plugin(scheme: str) -> tuple[Any, Any]:
    """Import the plugin for a scheme, and replace its means of sending.

    Return it, and apprise's constants.
    """
    logging.getLogger("apprise").disabled = True  # its lines have addresses, which are secrets
    module_name, class_name = PLUGINS[scheme]
    module = import_module(module_name)
    if scheme.startswith("mailto"):
        replaced, stand_in = import_module("apprise.plugins.email.smtp"), make_smtp_stand_in()
        replaced.smtplib = stand_in  # type: ignore[attr-defined] # a module takes any attribute
    else:
        module.requests = make_requests_stand_in()  # type: ignore[attr-defined] # same
    return getattr(module, class_name), import_module("apprise.common")


def make_smtp_stand_in() -> SimpleNamespace:
    """Return the stand-in for smtplib in apprise.

    Its connections can be cut, and remember the last reply.
    """

    class _Smtp(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            call = _current_call.get()
            call.require_reachable(host)
            call.smtp = self
            return super()._get_socket(host, port, timeout)  # type: ignore[misc,no-any-return] # typeshed leaves it out

        def getreply(self) -> tuple[int, bytes]:
            code, words = super().getreply()
            if code >= MIN_SMTP_ERROR:
                _current_call.get().refuse(
                    "channel_refused", code=code, said=words.decode("utf-8", "replace")
                )
            return code, words

    class _SmtpTls(_Smtp, smtplib.SMTP_SSL):
        pass

    return SimpleNamespace(SMTP=_Smtp, SMTP_SSL=_SmtpTls)


def make_requests_stand_in() -> SimpleNamespace:
    """Return the stand-in for requests in apprise.

    It takes nothing from the environment and follows no redirect.
    """
    import requests  # noqa: PLC0415 # not before a send
    from apprise.utils.http import ConnectionTracker, track_connections, tracked_session  # noqa: PLC0415 # same
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 # same

    def request(method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401 # options of requests
        call, tracker = _current_call.get(), ConnectionTracker()
        call.cut_http = tracker.cut_off
        alerts = call.settings.alerts
        call.require_reachable(urlsplit(url).hostname or "")
        with tracked_session() as session, track_connections(tracker):
            session.trust_env = False
            session.headers["Accept-Encoding"] = "identity"
            session.proxies = {"http": alerts.proxy, "https": alerts.proxy} if alerts.proxy else {}
            if alerts.ca_file:
                options["verify"] = str(call.settings.workspace / alerts.ca_file)
            try:
                reply = session.request(
                    method, url, **{**options, "stream": True, "allow_redirects": False}
                )
                content = reply.raw.read(MAX_REPLY_BYTES, decode_content=False)
            except (requests.RequestException, HTTPError, OSError) as error:
                call.refuse("channel_unreachable", error=type(error).__name__)
                raise requests.RequestException from None
            if reply.raw.length_remaining and len(content) < MAX_REPLY_BYTES:
                call.refuse("channel_unreachable", error="IncompleteRead")
            reply._content = content  # noqa: SLF001 # what the plugin reads is bounded
            find_refusal(call, reply.status_code, content)
            return reply

    return SimpleNamespace(
        request=request,
        post=partial(request, "POST"),
        codes=requests.codes,
        RequestException=requests.RequestException,
    )


def find_refusal(call: _Call, status: int, content: bytes) -> None:
    """Remember a channel's refusal: by status or, for a service for bots, by its code."""
    if 300 <= status < 400:
        call.refuse("channel_redirected", status=status)
    elif not 200 <= status < 300:
        call.refuse("channel_refused", code=status, said="")
    elif call.is_bot:
        try:
            reply = json.loads(content)
            code = next(reply[name] for name in BOT_CODES if name in reply)
            said = reply.get("errmsg") or reply.get("msg") or ""
        except (ValueError, TypeError, AttributeError, StopIteration):
            code, said = status, content.decode("utf-8", "replace")
            call.refuse("channel_refused", code=code, said=said)
        else:
            if code != 0:
                call.refuse("channel_refused", code=code, said=said)


def read_channel_url(settings: Settings, channel: str) -> str:
    """Return a channel's apprise address; redact it from now on. Raises SecretError."""
    name = settings.alerts.channels[channel]
    fields = read_secret(
        name, secrets_dir=settings.secrets_dir, vault=open_vault(settings.workspace)
    )
    if URL_FIELD not in fields:
        raise SecretError("secret_without_url", name, (URL_FIELD,))
    url = fields[URL_FIELD].strip()
    register_secrets(list_secret_parts(url), holder=f"channel {channel}")
    for copied, address in _COPIED_ADDRESSES.items():
        if found := copied.fullmatch(url):
            return address.format(found[1])
    return url


def list_secret_parts(url: str) -> Iterator[str]:
    """Yield the parts of an address that prove a right to send there.

    These parts appear alone in others' words. For mail it is the password alone: posts may name the
    addresses of the agency.
    """
    yield url
    try:
        parts = urlsplit(url)
    except ValueError:  # `find_address_problem` reports it
        return
    is_mail = parts.scheme.startswith("mailto")
    yield from map(unquote, filter(None, (None if is_mail else parts.username, parts.password)))
    yield from (value for name, value in parse_qsl(parts.query) if name == "pass" or not is_mail)
    if not is_mail:
        yield from map(unquote, parts.path.split("/"))
    if parts.scheme in BOT_SCHEMES:
        yield parts.netloc.rpartition("@")[2]


def find_address_problem(url: str, environment: Environment) -> Problem | None:
    """Return the problem of a channel's address, without any part of it except its scheme."""
    try:
        parts = urlsplit(url)
        hosts = {
            parts.hostname or "",
            *(value for name, value in parse_qsl(parts.query) if name == "smtp"),
        }
    except ValueError:
        return Problem(code="channel_bad_address")
    if parts.scheme not in PLUGINS:
        scheme = (
            parts.scheme
            if parts.scheme.isascii() and len(parts.scheme) <= MAX_SCHEME_CHARACTERS
            else ""
        )
        return Problem(
            code="channel_bad_scheme", facts={"value": scheme, "choices": ", ".join(PLUGINS)}
        )
    if not parts.hostname:
        return Problem(code="channel_bad_address")
    if environment is Environment.DRILL and not all(map(is_loopback, hosts)):
        return Problem(code="channel_not_loopback")
    is_plain = parts.scheme == "json" or (parts.scheme == "mailto" and parts.password)
    if is_plain and not is_loopback(parts.hostname):
        return Problem(code="channel_not_https")
    return None


def find_channel_problems(settings: Settings) -> Sequence[Problem]:
    """Return the problems of the alert channels' secrets. One not yet readable is a warning."""
    problems = []
    for channel in settings.alerts.channels:
        severity = Severity.ERROR
        try:
            found = find_address_problem(read_channel_url(settings, channel), settings.environment)
        except SecretError as error:
            severity, found = Severity.WARNING, Problem(code=error.code, facts=error.facts)
        if found is not None:
            path = ("alerts", "channels", channel)
            [located] = settings.locate_problems(
                [UnlocatedProblem(path=path, code=found.code, facts=found.facts)]
            )
            problems.append(replace(located, severity=severity))
    return problems
