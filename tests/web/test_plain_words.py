"""Pages of staff have words: no shell command, no file name, no code."""

import html
import re
from datetime import timedelta

import pytest

from publisher.domain.alert_classes import ALERT_CLASSES
from publisher.domain.delivery import MAINTENANCE, State
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HoldReason,
    RateLimited,
    TransportReason,
    Unknown,
)
from publisher.i18n import LANGUAGES, Messages, command_pattern, load_catalogue
from publisher.i18n.plain import SHELL
from publisher.store.db.rows import raise_alert
from publisher.web.routes import ROUTES
from tests.cli.posts import write_schedule
from tests.web.posts import POST, plan, set_state
from tests.web.test_buttons import COMMAND_LINE_ONLY

ROLES = ("approver", "author", "viewer")
COMMAND = re.compile(f"{command_pattern().pattern}|{SHELL}")
FILE = re.compile(r"\b[\w-]+\.(?:toml|jsonl?|db|py)\b")
CODE = re.compile(r"(?<![\w@./-])[a-z]+(?:_[a-z0-9]+)+(?![\w@./-])")
WORDS = {
    *HoldReason,
    *State,
    "timeout",
    "reset",
    "credential_expired",
    "rate_limited",
}
"""Codes that are spelt like words: none stands in a Chinese text."""
TAG = re.compile(
    r"<(script|style|textarea|code)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.DOTALL
)
SPOKEN = re.compile(r'(?:aria-label|title|placeholder|alt)="([^"]*)"')
FACTS = {
    "account": "beijing-weibo", "accounts": "beijing-weibo", "post": "refund", "posts": "refund",
    "reason": "weibo_21327", "number": "3", "count": "3", "host": "一号机", "hosts": "一号机",
    "worker": "一号机", "workers": "一号机", "until": "2026-11-26T10:00:00+08:00",
    "due": "2026-11-25T10:00:00+08:00", "since": "2026-11-25T09:00:00+08:00", "days": "3",
    "platform": "weibo", "channel": "值班群", "stages": "终审", "user": "王", "name": "王",
    "secret": "weibo-one", "url": "https://example.gov.cn/1", "by": "王", "job": "send",
    "seconds": "90", "command": "status", "red_on": "2026-12-01",
    "sent_as": "1", "identity": "2",
}  # fmt: skip
"""Facts for any alert."""


def visible(page):
    """Return the text that people see or hear of a page."""
    spoken = " | ".join(SPOKEN.findall(page))
    return html.unescape(f"{TAG.sub(' | ', page)} {spoken}")


def find_jargon(text, lang="zh_CN"):
    """Return the commands, names of files and codes in a text."""
    found = [*(item[0] for item in COMMAND.finditer(text)), *FILE.findall(text)]
    found += CODE.findall(text)
    if lang == "zh_CN":
        found += [
            word
            for word in re.findall(r"(?<![\w@./:#-])[a-z-]+(?![\w@./:#-])", text)
            if word in WORDS
        ]
    return found


def paths():
    """Return the pages of staff, with the names of what there is."""
    names = {
        "post": "refund",
        "occurrence": "once",
        "account": "beijing-weibo",
        "platform": "weibo",
        "name": "author",
    }
    found = {}
    for route in ROUTES:
        missing = set(re.findall(r"\{(\w+)\}", route.path)) - names.keys()
        if route.method == "GET" and not missing and route.permission is not None:
            path = route.path.format(**names)
            if route.name not in {
                "events",
                "root",
                "logout",
                "export_audit",
                "metrics",
            }:
                found[route.name] = path
    return found


async def look(site, client, only=None, lang="zh_CN"):
    """Return the jargon on each page that a visitor may open, refusals included."""
    found = {}
    for name, path in paths().items():
        if only is not None and name not in only:
            continue
        answer = await client.get(path, params={"lang": lang.partition("_")[0]})
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        if jargon := find_jargon(visible(answer.text), lang):
            found[path] = jargon
    return found


@pytest.fixture
async def busy(site):
    """A post, written in the schedule, and an alert of every code."""
    write_schedule(site.application.settings.workspace, POST)
    await plan(site, POST)
    now = site.runtime.now()

    def raise_all(transaction):
        for code in sorted(ALERT_CLASSES):
            state = f"{code}.weibo_20021" if code in {"held", "failed"} else code
            raise_alert(transaction, now, state, "refund@beijing-weibo", FACTS)

    await site.store.database.write(raise_all)
    return site


@pytest.mark.long
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("role", ROLES)
async def test_no_page_has_a_command_a_file_or_a_code(busy, role, lang):
    """Every page of a role in words, with an alert of every code, and no daemon that runs."""
    client = await busy.signed_in(role)
    assert await look(busy, client, lang=lang) == {}


@pytest.mark.long(seconds=20)
@pytest.mark.parametrize("lang", LANGUAGES)
async def test_no_state_of_a_delivery_is_shown_as_a_code(busy, lang):
    """Held for each reason, refused, late, being checked: the pages say it in words."""
    client, found = await busy.signed_in("author"), {}
    states = [(State.HELD, reason.value) for reason in HoldReason]
    states += [(State.RETRYING, reason.value) for reason in TransportReason]
    states += [
        (State.FAILED, "weibo_20021"),
        (State.FAILED, "weibo_99999"),
        (State.EXPIRED, "too_late"),
        (State.CANCELLED, "removed_from_schedule"),
        (State.UNKNOWN, "timeout"),
        (State.REMOVED, "removed_on_platform"),
        (State.RETRACTING, None),
        (State.SUBMITTED, None),
    ]
    only = {"post", "delivery", "inbox", "today", "posts", "account", "texts"}
    for state, reason in states:
        await set_state(busy, state, "beijing-weibo", reason=reason, attempts=1)
        if wrong := await look(busy, client, only, lang):
            found[state, reason] = wrong
    assert found == {}


@pytest.mark.long
@pytest.mark.parametrize(
    "health",
    [
        CredentialExpired(reason="weibo_21327"),
        CredentialExpired(reason="secret_missing"),
        Blocked(code="weibo_10004", reason="IP limit 1.2.3.4"),
        RateLimited(code="weibo_10023", until=None),
        Unknown(reason="timeout"),
    ],
    ids=["expired", "missing", "blocked", "limited", "unknown"],
)
async def test_no_trouble_of_an_account_is_shown_as_a_code(site, health):
    """An expired token, a pause by publisher: the pages of accounts and the inbox have words."""
    await plan(site, POST)
    account = site.application.settings.accounts["beijing-weibo"]
    await site.store.login_health.record_probe(account, health)
    client = await site.signed_in("author")
    reason = (
        getattr(health, "reason", "")
        if not isinstance(health, Blocked)
        else health.code
    )
    found = await look(
        site, client, {"account", "accounts", "alerts", "today", "inbox"}
    )
    await site.store.actions.pause_account(
        account, MAINTENANCE, reason or "weibo_10023"
    )
    site.runtime.advance_time(timedelta(minutes=1))
    found |= await look(
        site, client, {"account", "accounts", "alerts", "today", "inbox", "post"}
    )
    assert found == {}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_for_staff_has_a_command_or_a_file_of_settings(lang):
    """Any text that a page may show: what needs the host is left to the operators, in a sentence."""
    words, left = Messages(lang, names_buttons=True, names_host=False), {}
    for code in load_catalogue():
        if COMMAND_LINE_ONLY.fullmatch(code):
            continue
        for text in (words.translate(code), words.hint(code)):
            if COMMAND.search(text) or re.search(r"(?:schedule|publisher)\.toml", text):
                left[code] = text
    assert left == {}


async def test_an_operator_still_reads_the_commands(busy):
    """People that work on the host are shown what they have to type there."""
    client = await busy.signed_in("operator")
    assert "publisher doctor" in visible((await client.get("/alerts")).text)


@pytest.mark.parametrize("state", [State.PUBLISHED, State.CANCELLED, State.PENDING])
async def test_a_refusal_names_the_state_in_words(site, state):
    """What cannot be done says how things are, not the code of that."""
    write_schedule(site.application.settings.workspace, POST)
    await plan(site, POST)
    await set_state(site, state)
    client = await site.signed_in("author", "operator", name="王")
    place = "/deliveries/refund/once/beijing-weibo"
    refused = [
        await client.get(f"{place}/resolve?ruling=resend"),
        await client.get(f"{place}/resend"),
        await client.get("/write?like=refund&only=refused"),
    ]
    assert {answer.status_code for answer in refused} == {409}
    assert [find_jargon(visible(answer.text)) for answer in refused] == [[], [], []]


async def test_a_file_that_is_refused_is_shown_in_words(site):
    """The banner and the form of a writer call the file by what it is."""
    write_schedule(site.application.settings.workspace, "[[post]\nbroken")
    client = await site.signed_in("author")
    found = await look(site, client, {"write", "urgent", "today", "posts", "calendar"})
    saved = await client.post("/write", data={"title": "x", "do": "save"})
    assert found == {}
    assert find_jargon(visible(saved.text)) == []
