"""The channels of alerts: their messages, their limits and their time limits."""

import base64
import hmac
import json
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from email import message_from_string
from functools import partial
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from publisher.app import alert_addresses, alert_channels, alert_delivery
from publisher.app.alert_addresses import PARSERS, WEBHOOKS, Bot, parse_bot
from publisher.app.alert_channels import (
    AlertChannels,
    find_channel_problems,
    list_secret_parts,
)
from publisher.config import parse_settings
from publisher.i18n import Messages
from publisher.runtime.redaction import redact_text
from tests.alerts.receivers import ConnectProxy, MailServer, Webhook, serving
from tests.ports import free_port

WECOM_KEY = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"
DING_TOKEN = "66cc7a4f0d0b4a5fb2a4c1d5e6f70819"
FEISHU_TOKEN = "1d7fb6e2-73ba-4d5d-9d2c-9c1e0b1c7f11"
WORDS = {
    "ids": ["7-1"],
    "title": "publisher 提醒 7",
    "body": "雾天提醒 在 北京 等待人工处理",
}
MUCH_TIME = 60.0


@pytest.fixture
def channels_of(tmp_path):
    """Return a function that gives the channels of a workspace: one of each address."""

    def make(*urls, extra="", environment="live"):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        for number, url in enumerate(urls):
            (tmp_path / "secrets" / f"hook-{number}").write_text(
                json.dumps({"url": url}), "utf-8"
            )
        names = "\n".join(f'c{number} = "hook-{number}"' for number in range(len(urls)))
        text = (
            f'environment = "{environment}"\nsecrets_dir = "secrets"\n'
            f'[alerts]\nfirst = ["c0"]\n{extra}\n[alerts.channels]\n{names}\n'
        )
        return AlertChannels(parse_settings(text, workspace=tmp_path))

    return make


@dataclass(frozen=True, kw_only=True)
class BotService:
    """A service with a fixed address: the operator's text, the called address, its answer."""

    url: str
    called: tuple[str, str]
    fine: dict[str, object]
    refused: dict[str, object]


BOTS = {
    "wecom": BotService(
        url=f"wecombot://{WECOM_KEY}",
        called=("qyapi.weixin.qq.com", f"/cgi-bin/webhook/send?key={WECOM_KEY}"),
        fine={"errcode": 0, "errmsg": "ok"},
        refused={"errcode": 40008, "errmsg": "invalid message type"},
    ),
    "dingtalk": BotService(
        url=f"https://oapi.dingtalk.com/robot/send?access_token={DING_TOKEN}",
        called=("oapi.dingtalk.com", f"/robot/send?access_token={DING_TOKEN}"),
        fine={"errcode": 0, "errmsg": "ok"},
        refused={"errcode": 310000, "errmsg": "keywords not in content"},
    ),
    "feishu": BotService(
        url=f"https://open.feishu.cn/open-apis/bot/v2/hook/{FEISHU_TOKEN}",
        called=("open.feishu.cn", f"/open-apis/bot/v2/hook/{FEISHU_TOKEN}"),
        fine={"code": 0, "msg": "success", "data": {}},
        refused={"code": 9499, "msg": "Bad Request", "data": {}},
    ),
}


@pytest.mark.parametrize("bot", BOTS.values(), ids=BOTS)
async def test_a_bot_gets_the_message_and_its_refusal_counts(
    channels_of, tmp_path, bot
):
    """The message arrives at the service's own address.

    A code other than 0, or a page, is no acceptance.
    """
    with serving(ConnectProxy(tmp_path, bot.fine)) as proxy:
        channels = channels_of(
            bot.url, extra=f'proxy = "{proxy.url}"\nca_file = "ca.pem"'
        )
        assert await channels.send("c0", **WORDS) is None
        [(host, path, message)] = proxy.requests
        assert (host, path.rstrip("/")) == bot.called
        assert WORDS["body"] in json.dumps(message, ensure_ascii=False)
        proxy.reply = bot.refused
        problem = await channels.send("c0", **WORDS)
        assert problem.code == "channel_refused"
        assert problem.facts["code"] == str(
            bot.refused.get("errcode") or bot.refused.get("code")
        )
        proxy.reply = "welcome"
        assert (await channels.send("c0", **WORDS)).code == "channel_refused"


@pytest.mark.parametrize(
    ("bot", "reply"),
    [
        ("wecom", {"errcode": 45009, "errmsg": "api freq out of limit"}),
        ("dingtalk", {"errcode": 130101, "errmsg": "send too fast"}),
        ("feishu", {"code": 11232, "msg": "frequency limited psm"}),
        ("feishu", {"code": 9499, "msg": "too many request"}),
    ],
)
async def test_f50_a_bot_that_has_had_too_many_messages_refuses_no_words(
    channels_of, tmp_path, bot, reply
):
    """F50: the answer of a rate limit is another problem than a refused message."""
    with serving(ConnectProxy(tmp_path, reply)) as proxy:
        channels = channels_of(
            BOTS[bot].url, extra=f'proxy = "{proxy.url}"\nca_file = "ca.pem"'
        )
        problem = await channels.send("c0", **WORDS)
        assert problem.code == "channel_rate_limited"


SIGNING_SECRET = "SEC+a/b=" * 4
"""A secret with characters that an address has to encode."""


def make_signature(key, text):
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()


def check_dingtalk(path, _message):
    """Return True if DingTalk accepts the query: time and secret, keyed by the secret."""
    query = {name: value for name, [value] in parse_qs(urlsplit(path).query).items()}
    now = query["timestamp"]
    is_recent = abs(int(now) / 1000 - time.time()) < MUCH_TIME
    return is_recent and query["sign"] == make_signature(
        SIGNING_SECRET, f"{now}\n{SIGNING_SECRET}"
    )


def check_feishu(_path, message):
    """Return True if Feishu accepts the body: nothing, keyed by time and secret."""
    now = message["timestamp"]
    is_recent = abs(int(now) - time.time()) < MUCH_TIME
    return is_recent and message["sign"] == make_signature(
        f"{now}\n{SIGNING_SECRET}", ""
    )


@pytest.mark.parametrize(
    ("scheme", "token", "accepts"),
    [("dingtalk", DING_TOKEN, check_dingtalk), ("feishu", FEISHU_TOKEN, check_feishu)],
)
async def test_a_bot_with_a_secret_gets_signed_messages(
    channels_of, tmp_path, scheme, token, accepts
):
    """The receiver decodes the query once, as the services do, and checks the signature."""
    url = f"{scheme}://{quote(SIGNING_SECRET, safe='')}@{token}"
    with serving(ConnectProxy(tmp_path, BOTS[scheme].fine)) as proxy:
        channels = channels_of(url, extra=f'proxy = "{proxy.url}"\nca_file = "ca.pem"')
        assert await channels.send("c0", **WORDS) is None
        [(_host, path, message)] = proxy.requests
    assert token in path
    assert accepts(path, message)
    assert {SIGNING_SECRET, token} <= set(list_secret_parts(url))


TEXT_PREFIX = "https://hooks.example.gov.cn/services/"
TEXT_KEY = "XXXXabcdXXXXabcdXXXXabcd"
TEXT_TOKEN = f"T024BE7LH/B024BE7LJ/{TEXT_KEY}"


@pytest.fixture
def text_service(monkeypatch):
    """A service of one row: tokens of three parts, and `ok` as the answer that accepts."""
    bot = Bot(
        TEXT_PREFIX,
        lambda url, _secret, message: (url, {"text": message.text}),
        is_signed=False,
        token=re.compile(r"[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+"),
        accepting_text="ok",
    )
    monkeypatch.setitem(alert_addresses.BOTS, "textbot", bot)
    monkeypatch.setitem(alert_addresses.PARSERS, "textbot", partial(parse_bot, bot))


@pytest.mark.parametrize(
    "url",
    [f"textbot://{TEXT_TOKEN}", f"{TEXT_PREFIX}{TEXT_TOKEN}"],
    ids=["scheme", "console"],
)
@pytest.mark.usefixtures("text_service")
async def test_a_bot_may_accept_with_a_text(channels_of, tmp_path, url):
    """Only the row's text is an acceptance. Other answers are shown without the token."""
    with serving(ConnectProxy(tmp_path, b"ok\n")) as proxy:
        channels = channels_of(url, extra=f'proxy = "{proxy.url}"\nca_file = "ca.pem"')
        assert await channels.send("c0", **WORDS) is None
        sent = {"text": f"{WORDS['title']}\n{WORDS['body']}"}
        assert proxy.requests == [
            ("hooks.example.gov.cn", f"/services/{TEXT_TOKEN}", sent)
        ]
        for proxy.status, proxy.reply, said in (
            (403, f"invalid_token {TEXT_KEY}".encode(), "invalid_token …"),
            (200, b"welcome", "welcome"),
            (500, b"ok", "ok"),
        ):
            problem = await channels.send("c0", **WORDS)
            assert problem.code == "channel_refused"
            assert problem.facts == {"code": str(proxy.status), "said": said}


@pytest.mark.parametrize(
    "url",
    ["textbot://T024BE7LH", f"textbot://secret@{TEXT_TOKEN}", f"{TEXT_PREFIX}T0/B0"],
)
@pytest.mark.usefixtures("text_service")
def test_a_token_has_the_form_of_its_row(channels_of, url):
    """A part of a token, or a secret for a service without signatures, is a wrong address."""
    [problem] = find_channel_problems(channels_of(url).settings)
    assert problem.code == "channel_bad_address"


@pytest.mark.parametrize("bot", BOTS.values(), ids=BOTS)
async def test_the_words_of_an_error_status_are_shown(channels_of, tmp_path, bot):
    """A bot's words at an error status say why, cut and without the token."""
    token = re.split("[/=]", bot.url)[-1]
    with serving(ConnectProxy(tmp_path, f"no {token} here ".encode() * 99)) as proxy:
        proxy.status = 400
        channels = channels_of(
            bot.url, extra=f'proxy = "{proxy.url}"\nca_file = "ca.pem"'
        )
        problem = await channels.send("c0", **WORDS)
    assert (problem.code, problem.facts["code"]) == ("channel_refused", "400")
    assert problem.facts["said"].startswith("no … here")
    assert token not in problem.facts["said"]
    assert len(problem.facts["said"]) == alert_channels.MAX_SAID_CHARACTERS


async def test_a_webhook_gets_ids_that_are_the_same_each_time(channels_of):
    """A receiver recognizes a message that comes twice."""
    with serving(Webhook()) as hook:
        channels = channels_of(hook.url)
        for _ in range(2):
            assert await channels.send("c0", **WORDS) is None
    assert [
        (message["title"], message["message"], message["ids"])
        for message in hook.accepted
    ] == [(WORDS["title"], WORDS["body"], WORDS["ids"])] * 2


async def test_a_mail_is_delivered(channels_of):
    """The subject and the text arrive.

    A refused recipient is a failure with the server's own code.
    """
    with serving(MailServer()) as server:
        assert await channels_of(server.url).send("c0", **WORDS) is None
        [mail] = server.messages
        assert (
            message_from_string(mail).get_payload(decode=True).decode().strip()
            == WORDS["body"]
        )
        server.refuses = True
        problem = await channels_of(server.url).send("c0", **WORDS)
        assert (problem.code, problem.facts["code"]) == ("channel_refused", "550")


async def test_a_mail_that_some_recipients_cannot_get_is_not_sent_again(channels_of):
    """The others have it: the answer says so, and how many are refused."""
    with serving(MailServer()) as server:
        server.refused_recipient = "gone@police.cn"
        url = f"{server.url}&to=gone@police.cn"
        problem = await channels_of(url).send("c0", **WORDS)
    assert len(server.messages) == 1
    assert (problem.code, problem.facts["number"], problem.facts["code"]) == (
        "channel_partly_refused",
        "1",
        "550",
    )


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("error", "channel_refused"),
        ("redirect", "channel_redirected"),
        ("cut", "channel_unreachable"),
    ],
    ids=["error", "redirect", "cut"],
)
async def test_an_error_a_redirect_and_half_an_answer_are_failures(
    channels_of, answer, code
):
    """None is taken for an acceptance, and a redirect is not followed."""
    with serving(Webhook(answer)) as hook:
        assert (await channels_of(hook.url).send("c0", **WORDS)).code == code
        assert len(hook.requests) == 1


async def test_nothing_listening_is_a_failure(channels_of):
    """A refused connection ends at once."""
    problem = await channels_of(f"json://127.0.0.1:{free_port()}/").send("c0", **WORDS)
    assert (problem.code, problem.facts["error"]) == (
        "channel_unreachable",
        "ConnectError",
    )


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
async def test_f20_an_untrusted_certificate_is_named(channels_of, tmp_path, lang):
    """F20: a receiver, or proxy, with an untrusted certificate is no receiver that is away."""
    with serving(ConnectProxy(tmp_path, {})) as proxy:
        channels = channels_of(
            f"wecombot://{WECOM_KEY}", extra=f'proxy = "{proxy.url}"'
        )
        problem = await channels.send("c0", **WORDS)
    assert problem.code == "channel_certificate_refused"
    word = {"zh_CN": "证书", "en": "certificate"}[lang]
    assert word in Messages(lang).format_problem(problem)


async def test_f20_a_receiver_without_tls_is_named(channels_of):
    """F20: a receiver that speaks no TLS is not said to have a bad certificate."""
    with serving(Webhook()) as hook:
        address = hook.url.replace("json://", "jsons://")
        problem = await channels_of(address).send("c0", **WORDS)
    assert problem.code == "channel_without_tls"


@pytest.mark.parametrize("kind", ["hang", "drip", "mail"])
async def test_a_channel_that_hangs_or_drips_is_cut_off(channels_of, monkeypatch, kind):
    """After the deadline the call has failed, although the channel goes on."""
    monkeypatch.setattr(alert_channels, "SEND_TIMEOUT_SECONDS", 0.5)
    with serving(MailServer(drips=True) if kind == "mail" else Webhook(kind)) as server:
        channels = channels_of(server.url)
        began = time.monotonic()
        problem = await channels.send("c0", **WORDS)
        assert problem.code == "channel_timeout"
        assert 0.4 < time.monotonic() - began < MUCH_TIME


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    channels_of, monkeypatch, tmp_path
):
    """Only the proxy of the settings is, and no password file is read."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with serving(Webhook()) as hook:
        assert await channels_of(hook.url).send("c0", **WORDS) is None
    assert "Authorization" not in hook.headers[0]


async def test_an_address_cannot_switch_on_what_is_switched_off(channels_of):
    """`redirect=yes` in an address changes nothing."""
    with serving(Webhook("redirect")) as hook:
        assert (
            await channels_of(f"{hook.url}?redirect=yes").send("c0", **WORDS)
        ).code == "channel_redirected"
        assert len(hook.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "jsons://example.gov.cn/hook",
        f"wecombot://{WECOM_KEY}",
        "mailto://127.0.0.1?smtp=mail.police.cn&to=a@b.cn",
    ],
)
async def test_a_drill_reaches_this_machine_only(channels_of, url):
    """Any other target is refused before a connection, by `check` as an error."""
    channels = channels_of(url, environment="drill")
    assert (await channels.send("c0", **WORDS)).code == "channel_not_loopback"
    assert [problem.code for problem in find_channel_problems(channels.settings)] == [
        "channel_not_loopback"
    ]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nosuch://a/b/c", "channel_bad_scheme"),
        ("https://example.gov.cn/hook", "channel_bad_scheme"),
        ("json://example.gov.cn/hook", "channel_not_https"),
        ("mailto://duty:secret@mail.example.gov.cn", "channel_not_https"),
        (
            "mailto://duty:secret@127.0.0.1?smtp=mail.example.gov.cn",
            "channel_not_https",
        ),
        (
            "mailtos://duty:secret@mail.example.gov.cn?mode=insecure",
            "channel_not_https",
        ),
        ("mailtos://duty:secret@mail.example.gov.cn?pgp=yes", "channel_bad_address"),
        ("wecombot://secret@key", "channel_bad_address"),
        ("jsons://example.gov.cn/hook?+Token=x", "channel_bad_address"),
        ("wecombot://", "channel_bad_address"),
        ("json://[::1", "channel_bad_address"),
    ],
)
def test_a_wrong_address_is_named_with_its_line(channels_of, url, code):
    """The problem has file, line and key, and nothing of the address but its scheme."""
    channels = channels_of(url)
    [problem] = find_channel_problems(channels.settings)
    assert (problem.code, problem.location.line, problem.location.path) == (
        code,
        7,
        "alerts.channels.c0",
    )
    assert problem.is_error
    assert "example.gov.cn" not in str(problem.facts)


def test_of_a_mail_address_only_the_password_is_a_secret():
    """Of a mail address only the password is a secret: a post may name the agency's mailbox.

    Of other services every part may prove the sender.
    """
    mail = "mailtos://duty:korrekt-pferd@mail.gaj.gov.cn?from=alarm@gaj.gov.cn&to=chef@gaj.gov.cn&pass=another-one"
    assert set(list_secret_parts(mail)) == {mail, "korrekt-pferd", "another-one"}
    assert "token-of-a-hook" in set(
        list_secret_parts("jsons://example.gov.cn/hook?key=token-of-a-hook")
    )


@pytest.mark.parametrize(
    "scheme", sorted(PARSERS.keys() - {*WEBHOOKS, "mailto", "mailtos"})
)
def test_the_token_of_a_service_is_a_secret(scheme):
    """In the address of each service, a token in place of the host is redacted alone too."""
    assert {"t0ken", "u5er"} <= set(list_secret_parts(f"{scheme}://u5er@t0ken"))


def test_a_missing_secret_is_a_warning(channels_of, tmp_path):
    """It may come later; a secret without an address is named too."""
    channels = channels_of("json://127.0.0.1/")
    (tmp_path / "secrets" / "hook-0").write_text('{"address": "x"}', "utf-8")
    [problem] = find_channel_problems(channels.settings)
    assert (problem.code, problem.is_error) == ("secret_without_url", False)
    (tmp_path / "secrets" / "hook-0").unlink()
    [problem] = find_channel_problems(channels.settings)
    assert (problem.code, problem.is_error) == ("secret_missing", False)


async def test_no_part_of_an_address_is_shown(channels_of):
    """The key of an address is redacted wherever it appears alone, as in a service's own words."""
    channels = channels_of(
        f"wecombot://{WECOM_KEY}", extra=f'proxy = "http://127.0.0.1:{free_port()}"'
    )
    problem = await channels.send("c0", **WORDS)
    assert problem.code == "channel_unreachable"
    assert WECOM_KEY not in str(problem.facts)
    assert redact_text(f"invalid key {WECOM_KEY}") == "invalid key …"


def test_the_libraries_of_messages_are_imported_late():
    """Importing the module loads neither httpx nor aiosmtplib.

    Every command that reads settings imports it.
    """
    code = (
        "import sys, publisher.app.alert_channels; "
        "print({'httpx', 'aiosmtplib'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=MUCH_TIME,
        check=True,
    )
    assert found.stdout == "set()\n"


async def test_this_machine_is_reached_without_the_proxy(channels_of):
    """A proxy elsewhere would take 127.0.0.1 for itself, and read the message."""
    with serving(Webhook()) as hook:
        channels = channels_of(
            hook.url, extra=f'proxy = "http://127.0.0.1:{free_port()}"'
        )
        assert await channels.send("c0", **WORDS) is None


async def test_a_name_that_leads_elsewhere_gets_nothing_in_clear(
    channels_of, monkeypatch
):
    """The resolved address decides, not the name."""

    async def resolve(_host):
        return ["192.0.2.1"]

    monkeypatch.setattr(alert_delivery, "resolve", resolve)
    problem = await channels_of("json://localhost/hook").send("c0", **WORDS)
    assert problem.code == "channel_not_https"


async def test_a_mail_goes_to_several_recipients(channels_of):
    """One mail names all of them."""
    with serving(MailServer()) as server:
        url = server.url + ",chief@police.cn"
        assert await channels_of(url).send("c0", **WORDS) is None
    [mail] = server.messages
    assert message_from_string(mail)["To"] == "duty@police.cn,chief@police.cn"


async def test_a_name_that_hangs_in_the_resolver_is_a_timeout(channels_of, monkeypatch):
    """The lookup hangs in a thread that neither the daemon's work nor its end waits for."""
    monkeypatch.setattr(alert_channels, "SEND_TIMEOUT_SECONDS", 0.3)
    released = threading.Event()
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_args, **_more: released.wait(MUCH_TIME) and []
    )
    problem = await channels_of("jsons://hook.example.gov.cn/").send("c0", **WORDS)
    lookups = [
        one for one in threading.enumerate() if one.name.startswith("resolver hook")
    ]
    released.set()
    assert problem.code == "channel_timeout"
    assert [one.daemon for one in lookups] == [True]
