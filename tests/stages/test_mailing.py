"""The audit's head goes out by mail: once a day, in both languages, readable as anchors, and never in the way."""

import asyncio
import socket
import ssl
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from structlog.testing import capture_logs

from publisher.anchoring import anchors_of
from publisher.domain.chain import Anchor
from publisher.domain.excerpt import spell_anchor
from publisher.mailing import Security, compose, mail_head
from publisher.reviewing import person
from publisher.settings import parse_settings
from publisher.simulator.certificate import make_certificate
from publisher.store.audit import Audit
from publisher.store.board import Board
from publisher.store.mailing import AGAIN, DAY
from publisher.store.orders import Orders
from publisher.wiring.mailing import mail_of
from tests.stages.postoffice import USER, PostOffice

PASSWORD = "hunter2"
"""Shorter than what is struck out of logs by itself."""
MINUTE = timedelta(minutes=1)
HEAD = Anchor(database="公安.db", chain="c" * 64, sequence=7, hash="d" * 64, at="2026-11-25T01:00:00+00:00")
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def desk(open_desk):
    """Give books in which people have given orders."""
    desk = await open_desk()
    await move(desk)
    return desk


async def move(desk):
    """Let the head move."""
    orders = Orders(desk.books)
    await orders.pause("all", person("王"), "演练")
    await orders.resume("all", person("王"))


async def alerts(desk):
    return [(alert.code, alert.facts["reason"]) for alert in await Board(desk.books).alerts()]


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    """Give a server's side of TLS whose certificate this process trusts."""
    chain, key = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    side.load_cert_chain(chain, key)
    return side


async def test_the_head_is_mailed_once_a_day_and_only_when_it_has_moved(open_desk, desk, world):
    """A restart or another host sends none again; after a day it is sent if it is another one."""
    audit, other = Audit(desk.books), Audit((await open_desk(worker="worker-2")).books)
    async with PostOffice().open() as office:
        await asyncio.gather(mail_head(audit, office.mail()), mail_head(other, office.mail()))
        assert len(office.mails) == 1
        await move(desk)
        world.pass_time(DAY - MINUTE)
        await mail_head(other, office.mail())
        assert len(office.mails) == 1
        world.pass_time(MINUTE)
        await mail_head(audit, office.mail())
        assert len(office.mails) == 2
        world.pass_time(2 * DAY)
        await mail_head(audit, office.mail())
        assert len(office.mails) == 2
    head = await audit.head()
    assert head.hash in message_from_bytes(office.mails[1], policy=policy.default).get_content()
    assert await alerts(desk) == []


@on_sqlite
async def test_a_clock_that_was_far_ahead_does_not_silence_the_mail(desk, world):
    """F61: what was sent in a wrong future does not hold up what is due now."""
    async with PostOffice().open() as office:
        world.jump(timedelta(days=365))
        await mail_head(Audit(desk.books), office.mail())
        world.jump(-timedelta(days=365))
        await move(desk)
        await mail_head(Audit(desk.books), office.mail())
        assert len(office.mails) == 2


@on_sqlite
async def test_before_the_first_entry_nothing_is_mailed(open_books):
    """There is no head yet; and where nobody wants mail, nothing is noted."""
    async with PostOffice().open() as office:
        await mail_head(Audit(open_books()), office.mail())
        await mail_head(Audit(open_books()), None)
    assert office.commands == []


def test_the_words_say_what_and_how_to_compare():
    """Database, number, hash and local time in both languages, and how it is compared."""
    message = message_from_bytes(compose(HEAD, PostOffice().mail()).as_bytes(), policy=policy.default)
    words = message.get_content()
    assert message.get_content_type() == "text/plain"
    assert (message["From"], message["To"]) == (USER, "safe@example.gov.cn")
    assert "审计锚点" in message["Subject"]
    assert "audit anchor" in message["Subject"]
    for fact in ("公安.db", "2026-11-25T09:00:00+08:00", "d" * 64, "publisher audit verify --anchors"):
        assert words.count(fact) == 2 + (fact in spell_anchor(HEAD))
    assert "第 7 条" in words
    assert "number 7" in words
    assert words.splitlines()[-1] == spell_anchor(HEAD)


@pytest.mark.parametrize("passed_on", [False, True])
@pytest.mark.parametrize("cte", ["base64", "quoted-printable", "8bit"])
def test_a_saved_mail_is_read_as_anchors(tmp_path, cte, passed_on):
    """Whatever way the words travelled, and whether as the mail itself or attached to another."""
    message, file = compose(HEAD, PostOffice().mail()), tmp_path / "saved.eml"
    message.set_content(message.get_content(), cte=cte)
    if passed_on:
        outer = compose(HEAD, PostOffice().mail())
        outer.set_content("转发")
        outer.add_attachment(message)
        message = outer
    file.write_bytes(message.as_bytes(policy=policy.SMTP))
    assert [(item.chain, item.sequence, item.hash) for item in anchors_of(file)] == [(HEAD.chain, 7, HEAD.hash)]


def test_the_words_of_a_mail_or_its_line_alone_are_read_as_anchors(tmp_path):
    """What a mail program saves as text, even with a mark at its start, and what holds nothing."""
    words, file = compose(HEAD, PostOffice().mail()).get_content(), tmp_path / "saved.txt"
    for text, found in ((words, [HEAD]), (f"\ufeff{spell_anchor(HEAD)}", [HEAD]), ("你好\n{", []), ("", [])):
        file.write_text(text, "utf-8")
        assert list(anchors_of(file)) == found


@on_sqlite
@pytest.mark.parametrize("wrapped", [True, False])
async def test_login_and_mail_go_over_tls_only(desk, trusted, wrapped):
    """The password is said after the certificate has been verified, and not before."""
    office = PostOffice(trust=trusted, wrapped=wrapped, password=PASSWORD)
    security = Security.TLS if wrapped else Security.STARTTLS
    async with office.open():
        mail = office.mail(security=security, user=USER, password=lambda: PASSWORD)
        await mail_head(Audit(desk.books), mail)
    assert len(office.mails) == 1
    assert office.commands.index("AUTH") > (0 if wrapped else office.commands.index("STARTTLS"))
    assert await alerts(desk) == []


@on_sqlite
@pytest.mark.parametrize("wrapped", [True, False])
async def test_f20_a_certificate_that_does_not_hold_ends_it(desk, trusted, monkeypatch, wrapped):
    """F20: no mail and no password goes to a server that cannot prove who it is."""
    monkeypatch.delenv("SSL_CERT_FILE")
    office = PostOffice(trust=trusted, wrapped=wrapped, password=PASSWORD)
    security = Security.TLS if wrapped else Security.STARTTLS
    async with office.open():
        mail = office.mail(security=security, user=USER, password=lambda: PASSWORD)
        await mail_head(Audit(desk.books), mail)
    assert (office.mails, "AUTH" in office.commands) == ([], False)
    assert await alerts(desk) == [("audit_anchor_failed", "mail_untrusted")]


@on_sqlite
async def test_a_server_without_encryption_gets_nothing(desk):
    """A STARTTLS that somebody has taken out of the way does not lead to a mail in clear."""
    office = PostOffice(password=PASSWORD)
    async with office.open():
        mail = office.mail(security=Security.STARTTLS, user=USER, password=lambda: PASSWORD)
        await mail_head(Audit(desk.books), mail)
    assert (office.mails, "AUTH" in office.commands) == ([], False)
    assert await alerts(desk) == [("audit_anchor_failed", "mail_not_offered")]


@on_sqlite
async def test_i19_a_refused_login_is_told_without_the_password(desk, world):
    """I19: the server repeats the password in its answer; neither log nor alert does. It is tried again in an hour."""
    audit, office = Audit(desk.books), PostOffice(password=PASSWORD)
    async with office.open():
        with capture_logs() as told:
            await mail_head(audit, office.mail(user=USER, password=lambda: "wrong-hunter2"))
            await mail_head(audit, office.mail(user=USER, password=lambda: "wrong-hunter2"))
        assert len([verb for verb in office.commands if verb.startswith("REFUSED")]) == 1
        assert await alerts(desk) == [("audit_anchor_failed", "mail_login_refused")]
        assert [(entry["event"], entry["number"]) for entry in told] == [("audit_anchor_failed", 535)]
        assert "hunter2" not in f"{told} {await Board(desk.books).alerts()} {office.mail(password=lambda: PASSWORD)}"
        world.pass_time(AGAIN)
        await mail_head(audit, office.mail(user=USER, password=lambda: PASSWORD))
    assert len(office.mails) == 1
    assert await alerts(desk) == []


@on_sqlite
@pytest.mark.parametrize("password", [None, "", "密码"])
async def test_a_password_that_cannot_be_used_is_told(desk, password):
    """One that is missing, or that no login can carry, ends in the alert."""
    async with PostOffice(password=PASSWORD).open() as office:
        await mail_head(Audit(desk.books), office.mail(user=USER, password=lambda: password))
    wanted = "mail_refused" if password else "mail_no_password"
    assert (await alerts(desk), office.mails) == ([("audit_anchor_failed", wanted)], [])


@on_sqlite
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"GREETING": b"554 go away"}, "mail_refused"),
        ({"GREETING": b""}, "mail_unreachable"),
        ({"GREETING": None}, "mail_unreachable"),
        ({"MAIL": b"550 not you"}, "mail_refused"),
        ({"RCPT": b"550 nobody here"}, "mail_refused"),
        ({"DATA": b"452 full"}, "mail_refused"),
        ({"DONE": b"554 spam"}, "mail_refused"),
        ({"DONE": b""}, "mail_unreachable"),
        ({"EHLO": b"\xff\x00?"}, "mail_unreachable"),
        ({"GREETING": b"\r\n".join([b"220-" + b"x" * 1000] * 1000)}, "mail_unreachable"),
    ],
)
async def test_f21_whatever_a_server_does_ends_in_one_alert(desk, answers, reason):
    """F21: refusals, silence, a hang-up and nonsense are told, and nobody waits for longer than the deadline."""
    async with PostOffice(answers=answers).open() as office:
        await mail_head(Audit(desk.books), office.mail(), deadline=2.0)
    assert await alerts(desk) == [("audit_anchor_failed", reason)]


@on_sqlite
async def test_f19_a_dead_server_is_told_until_a_mail_has_gone(desk, world):
    """F19: nobody listens; the alert stands until the mail is sent, or is not wanted any more."""
    audit = Audit(desk.books)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        office = PostOffice(port=taken.getsockname()[1])
        await mail_head(audit, office.mail())
    assert await alerts(desk) == [("audit_anchor_failed", "mail_unreachable")]
    async with office.open():
        await mail_head(audit, office.mail())
        assert (len(office.mails), len(await alerts(desk))) == (0, 1)
        world.pass_time(AGAIN)
        await mail_head(audit, office.mail())
    assert (len(office.mails), await alerts(desk)) == (1, [])
    world.pass_time(DAY)
    await move(desk)
    await mail_head(audit, office.mail())
    assert len(await alerts(desk)) == 1
    await mail_head(audit, None)
    assert await alerts(desk) == []


@on_sqlite
@pytest.mark.parametrize("goodbye", [b"421 too busy", b""])
async def test_what_comes_after_the_mail_was_taken_does_not_matter(desk, goodbye):
    """A server that took the mail and is rude afterwards has taken it."""
    async with PostOffice(answers={"QUIT": goodbye}).open() as office:
        await mail_head(Audit(desk.books), office.mail())
    assert (len(office.mails), await alerts(desk)) == (1, [])


@pytest.mark.parametrize(
    ("server", "security"),
    [
        ("smtp.example.gov.cn:465", Security.TLS),
        ("smtp.example.gov.cn:587", Security.STARTTLS),
        ("smtp.example.gov.cn:25", Security.STARTTLS),
        ("127.0.0.1:25", Security.CLEAR),
        ("localhost:465", Security.TLS),
    ],
)
def test_only_a_server_on_this_machine_is_spoken_to_in_clear(tmp_path, monkeypatch, server, security):
    """The port says how; the password comes from wherever secrets are kept, when it is needed."""
    keys = f'to = "a@b.cn", from = "c@d.cn", server = "{server}", user = "c@d.cn", secret = "audit-mail"'
    mail = mail_of(parse_settings(f"[audit]\nmail = {{ {keys} }}\n", workspace=tmp_path))
    assert (mail.security, mail.sender, mail.to) == (security, "c@d.cn", "a@b.cn")
    assert mail.password() is None
    monkeypatch.setenv("PUBLISHER_SECRET_AUDIT_MAIL", '{"password": "hunter2"}')
    assert mail.password() == "hunter2"
    assert mail_of(parse_settings("plan_days = 2", workspace=tmp_path)) is None
