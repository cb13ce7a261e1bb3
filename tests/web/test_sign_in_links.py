"""An expired sign-in is renewed from a page: a link to the account's owner, without a command."""

import re
import shutil
from datetime import timedelta
from html import unescape
from urllib.parse import urljoin

import httpx
import pytest
from structlog.testing import capture_logs

from publisher.app.application import open_application
from publisher.app.sign_in_links import carry_out_links
from publisher.config import load_settings
from publisher.domain.delivery import SENDER
from publisher.domain.results import CredentialExpired
from publisher.secrets import Vault
from publisher.store.db.rows import RENEWAL, pause_account
from publisher.testing.fakes import START_TIME, FakeRuntime
from publisher.web.dashboard import create_dashboard
from tests.alerts.test_notices import Receiver, make_notifier
from tests.wait import PATIENCE_SECONDS
from tests.web.conftest import WebSite, make_workspace

ACCOUNT, UID, OTHER = "beijing-weibo", "1404376560", "1999999999"
PAGE = f"/accounts/{ACCOUNT}"
APP = {"app_key": "1352222456", "app_secret": "s3cret-of-the-app"}
OLD_TOKEN = "old-token-of-the-account"
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def make_office(folder, simulator, redirect_uri=""):
    """Create a drill on the simulator whose secret is in the encrypted store."""
    make_workspace(folder)
    file = folder / "publisher.toml"
    text = file.read_text("utf-8").replace("http://127.0.0.1:9", simulator.url)
    entry, *rest = re.split(rf'(id = "{ACCOUNT}"\n)', text)
    rest[1] = re.sub(r'identity = "[^"]*"', f'identity = "{UID}"', rest[1], count=1)
    if redirect_uri:
        option = f'options = {{ redirect_uri = "{redirect_uri}" }}\n'
        rest[1] = rest[1].replace("base_url", f"{option}base_url", 1)
    file.write_text("".join([entry, *rest]), "utf-8")
    (folder / "secrets" / ACCOUNT).unlink()
    Vault(folder=folder / "var").write(ACCOUNT, {**APP, "access_token": OLD_TOKEN})
    simulator.post("/_sim/settings", {"weibo_app": "reviewed"})
    return folder


@pytest.fixture
def redirect_uri():
    """Return the page that the platform sends the owner back to; without one its own."""
    return ""


@pytest.fixture
async def site(tmp_path, sqlite_template, simulator, redirect_uri):
    """Yield a dashboard of an account that its platform refuses."""
    folder = make_office(tmp_path / "drill", simulator, redirect_uri)
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    settings, runtime = await load_settings(folder), FakeRuntime()
    async with open_application(settings, runtime, can_send=False) as application:
        opened = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        await expire(opened)
        yield opened
        for client in opened.clients:
            await client.aclose()


async def expire(site):
    """Let the platform refuse the account's token."""
    account = site.application.settings.accounts[ACCOUNT]
    refused = CredentialExpired(reason="weibo_21327")
    await site.store.login_health.record_probe(account, refused)


async def order(site, client=None):
    """Press the button as an operator, and let the daemon send the link. Return the client."""
    client = client or await site.signed_in("operator", name="王")
    await client.post(f"{PAGE}/sign-in")
    await carry_out_links(site.application)
    return client


async def sent_address(site):
    """Return the address in the message to the people who answer for the account."""
    [alert] = [
        one for one in await site.store.queries.alerts() if one.code == "sign_in_wanted"
    ]
    return alert.facts["address"]


async def consent(address, uid=UID, says="allow"):
    """Answer the platform's page as a user, and return the address the browser ends on."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as browser:
        page = await browser.get(address)
        form = {name: unescape(value) for name, value in HIDDEN.findall(page.text)}
        reported = await browser.post(
            urljoin(address, "/oauth2/authorize"),
            data={**form, "account": "", "other": uid, "answer": says},
        )
        return urljoin(address, reported.headers["location"])


def stored_token(site):
    vault = Vault(folder=site.application.settings.workspace / "var")
    return vault.read(ACCOUNT)["access_token"]


async def events(site):
    history = await site.store.queries.audit_history(f"account:{ACCOUNT}")
    return [(entry.event, entry.name) for entry in history]


async def test_the_owners_consent_renews_the_token_without_a_command(site):
    """The page says to whom the link went and until when; the consent becomes the token.

    Neither the state of the link nor a token is on a page, and the login is checked at once.
    """
    client = await order(site)
    page = (await client.get(PAGE)).text
    assert "王 已生成链接，09:30 前有效，只能用一次" in page
    address = await sent_address(site)
    state = re.search(r"state=([\w-]+)", address)[1]
    assert state not in page
    assert state not in (await client.get("/alerts")).text
    opened = await client.get(f"{PAGE}/sign-in")
    assert (opened.status_code, opened.headers["location"]) == (303, address)

    owner = site.client()
    ended_on = await consent(address)
    shown = await owner.get(f"/authorised?{ended_on.partition('?')[2]}")
    answer = unescape(re.search(r'name="answer" value="([^"]*)"', shown.text)[1])
    taken = await owner.post("/authorised", data={"answer": answer})
    assert "已收到" in taken.text
    assert stored_token(site) == OLD_TOKEN

    await carry_out_links(site.application)
    assert stored_token(site) not in {OLD_TOKEN, ""}
    assert "已重新授权" in (await client.get(PAGE)).text
    due = await site.store.login_health.claim_due_probes(99)
    assert ACCOUNT in [account.id for account in due]
    assert await events(site) == [
        ("sign_in_link_ordered", "王"),
        ("signed_in_by_link", "王"),
    ]
    assert not [
        one for one in await site.store.queries.alerts() if one.code == "sign_in_wanted"
    ]


async def test_a_state_is_good_once_for_half_an_hour_and_for_the_newest_link(site):
    """Another state, a used one, one of an older link and a late one change nothing."""
    client = await order(site)
    first = await consent(await sent_address(site))
    owner = site.client()

    async def give(answer):
        return (await owner.post("/authorised", data={"answer": answer})).status_code

    assert await give(first.replace("state=", "state=x")) == 404
    assert await give("code-alone") == 404
    site.runtime.advance_time(timedelta(minutes=2))
    await order(site, client)
    assert await give(first) == 404
    second = await consent(await sent_address(site))
    site.runtime.advance_time(timedelta(minutes=30))
    assert await give(second) == 404
    await carry_out_links(site.application)
    await order(site, await site.signed_in("operator", name="李"))
    third = await consent(await sent_address(site))
    assert await give(third) == 200
    assert await give(third) == 404
    await carry_out_links(site.application)
    assert stored_token(site) != OLD_TOKEN


async def test_the_consent_of_another_user_is_not_kept(site):
    """The uid that is read back has to be the account's; the page says why it was not done."""
    client = await order(site)
    ended_on = await consent(await sent_address(site), OTHER)
    await site.client().post("/authorised", data={"answer": ended_on})
    await carry_out_links(site.application)
    assert stored_token(site) == OLD_TOKEN
    page = (await client.get(PAGE)).text
    assert "另一个微博用户" in page
    assert ("sign_in_link_failed", "王") in await events(site)


async def test_a_refused_consent_and_an_interrupted_exchange_keep_the_old_token(site):
    """Nothing is asked twice: an exchange that a crash has cut off ends there."""
    client = await order(site)
    ended_on = await consent(await sent_address(site), says="deny")
    await client.post("/authorised", data={"answer": ended_on})
    await carry_out_links(site.application)
    assert "没有完成，原来的授权没有改动" in (await client.get(PAGE)).text
    site.runtime.advance_time(timedelta(minutes=2))
    await order(site, client)
    ended_on = await consent(await sent_address(site))
    await client.post("/authorised", data={"answer": ended_on})
    link = await site.store.sign_in_links.find(ACCOUNT)
    assert await site.store.sign_in_links.claim(link) == ended_on
    assert await site.store.sign_in_links.claim(link) is None
    await carry_out_links(site.application)
    assert "办理时中断了" in (await client.get(PAGE)).text
    assert stored_token(site) == OLD_TOKEN


async def test_only_who_answers_for_the_secret_of_an_account_may_send_it(site):
    """Others have the message to the operators. A platform without such a sign-in has no button."""
    for role in ("author", "approver", "viewer"):
        client = await site.signed_in(role)
        assert "act-sign-in" not in (await client.get(PAGE)).text
        answers = [
            await client.post(f"{PAGE}/sign-in"),
            await client.get(f"{PAGE}/sign-in"),
        ]
        assert [answer.status_code for answer in answers] == [403, 403]
    other = await site.signed_in("operator@shanghai-weibo", name="沪")
    assert (await other.post(f"{PAGE}/sign-in")).status_code == 404
    operator = await site.signed_in("operator")
    assert f'data-testid="act-sign-in-{ACCOUNT}"' in (await operator.get(PAGE)).text
    refused = await operator.post("/accounts/beijing-wechat/sign-in")
    assert refused.status_code == 409
    assert await site.store.sign_in_links.list() == []


async def test_a_double_press_sends_one_message(site):
    """The second press says that one was sent just now."""
    client = await order(site)
    address = await sent_address(site)
    await client.post(f"{PAGE}/sign-in")
    assert "链接刚刚发过" in (await client.get(PAGE)).text
    await carry_out_links(site.application)
    assert await sent_address(site) == address


async def test_the_link_is_in_the_message_and_in_no_log(site):
    """The operators' channel has the whole address; the daemon's log has none of it."""
    with capture_logs() as logged:
        await order(site)
    address, receiver = await sent_address(site), Receiver()
    await make_notifier(site.store, receiver).run()
    [body] = [body for _channel, _ids, _title, body in receiver.accepted]
    assert f"授权链接：{address}" in body
    assert "王" not in body
    assert {"alert_raised", "sign_in_link_sent"} <= {one["event"] for one in logged}
    assert "state=" not in str(logged)


async def test_the_button_is_where_the_expired_token_is_met(site):
    """It is in the to-do of Today and the inbox, for who may send it."""
    await site.store.database.write(pause_until_renewal)
    operator = await site.signed_in("operator", name="王")
    author = await site.signed_in("author")
    button = f'data-testid="act-sign-in-{ACCOUNT}"'
    for path in ("/today", "/inbox"):
        assert button in (await operator.get(path)).text
        assert button not in (await author.get(path)).text


def pause_until_renewal(transaction):
    """Pause the account as its sender does for a refused token."""
    pause_account(
        transaction,
        ACCOUNT,
        at=START_TIME,
        by=SENDER,
        reason="weibo_21327",
        ends_with=RENEWAL,
    )
