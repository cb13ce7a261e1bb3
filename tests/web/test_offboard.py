"""The off-boarding of an account on pages."""

import re
from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest

from publisher.domain.account import Mode
from publisher.domain.delivery import Actor, Role, State
from publisher.engine import offboard as app_offboard
from publisher.engine.offboard import remove_ordered_secrets, report_all_secrets
from publisher.secrets import open_vault
from publisher.store.monitor.kept_secrets import SecretRemoval
from publisher.store.people.sign_ins import STEP_UP_LIFETIME
from publisher.web.accounts import offboard
from tests.web.posts import POST, plan, set_state
from tests.web.test_sign_in import PASSWORD, add_activated
from tests.web.test_write import fields_of

ACCOUNT = "beijing-weibo"
PATH = f"/accounts/{ACCOUNT}/offboard"


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    """No daemon runs here beside the page."""
    monkeypatch.setattr(offboard, "REMOVED_WITHIN_SECONDS", 0)


async def let_daemon_run(site):
    """Do the periodic work of the daemon, as it does every few seconds."""
    await remove_ordered_secrets(site.store, site.application.settings)
    await report_all_secrets(site.store, site.application.settings)


def steps(page):
    """Return the steps, each with True if it is done."""
    return {
        key: mark == "done"
        for mark, key in re.findall(
            r'<li class="(done|open)" data-testid="step-(\w+)"', page
        )
    }


async def test_an_account_is_taken_out_of_service_step_by_step(site):
    """An account is taken out of service step by step, and is off at once.

    Waiting deliveries are cancelled on request. Open ones keep the secret. The list goes on later.
    """
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.write(secret, {"access_token": "x"})
    await plan(site, POST, POST.replace('"refund"', '"other"'))
    await set_state(site, State.UNKNOWN, ACCOUNT, attempts=1)
    client = await site.signed_in("operator", name="王")
    assert "还不知道密钥" in (await client.get(PATH)).text
    await let_daemon_run(site)
    page = (await client.get(PATH)).text
    assert not any(steps(page).values())
    assert (await client.post(PATH, data={"cancel": "1"})).status_code == 422
    [seen] = re.findall(r'name="cancel" value="(\d+)"', page)
    # one waits as before, but another one
    await plan(site, POST, POST.replace('"refund"', '"third"'))
    stale = await client.post(PATH, data={"cancel": seen, "reason": "移交宣传科"})
    assert (stale.status_code, fields_of(stale.text)["reason"]) == (409, ["移交宣传科"])
    [newest] = re.findall(r'name="cancel" value="(\d+)"', stale.text)
    begun = await client.post(
        PATH, data={"cancel": newest, "reason": "移交宣传科"}, follow_redirects=True
    )
    wanted = {
        "off": True,
        "unresolved": False,
        "waiting": True,
        "secret": False,
        "entry": False,
        "revoke": False,
    }
    assert steps(begun.text) == wanted
    assert "移交或停用没有做完" in (await client.get(f"/accounts/{ACCOUNT}")).text
    assert vault.list_names() == [secret]

    await set_state(
        site,
        State.PUBLISHED,
        ACCOUNT,
        remote_id="1",
        url="",
        published_at=site.runtime.now(),
    )
    ordered = await client.post(
        PATH, data=fields_of((await client.get(PATH)).text), follow_redirects=True
    )
    assert steps(ordered.text) == {**wanted, "unresolved": True}
    assert "已要求删除" in ordered.text
    assert vault.list_names() == [secret]
    await let_daemon_run(site)
    done = await client.get(PATH)
    assert steps(done.text) == {**wanted, "unresolved": True, "secret": True}
    assert "confirm-offboard" not in done.text
    assert "移交或停用没有做完" not in (await client.get(f"/accounts/{ACCOUNT}")).text
    assert vault.list_names() == []
    [override] = await site.store.queries.mode_overrides()
    assert (override.account, override.mode, override.by, override.reason) == (
        ACCOUNT,
        Mode.OFF,
        "王",
        "移交宣传科",
    )


async def test_an_account_is_stopped_though_the_encrypted_store_is_damaged(site):
    """An account is stopped though the encrypted store is damaged.

    The order turns it off. The list names the problem of the store, and is not complete.
    """
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.file.write_bytes(b"{")
    await let_daemon_run(site)
    client = await site.signed_in("operator")
    begun = await client.post(
        PATH, data={"reason": "移交宣传科"}, follow_redirects=True
    )
    assert (steps(begun.text)["off"], steps(begun.text)["secret"]) == (True, False)
    assert "加密库的文件已损坏或被改动" in begun.text
    assert "confirm-offboard" in begun.text
    assert [
        override.mode for override in await site.store.queries.mode_overrides()
    ] == [Mode.OFF]


@pytest.mark.long
async def test_the_first_click_never_removes_a_secret(site):
    """Where nothing is open, too: the second one does, and its button says so."""
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.write(secret, {"access_token": "x"})
    await let_daemon_run(site)
    client = await site.signed_in("operator", name="王")
    first = fields_of((await client.get(PATH)).text) | {"reason": "移交宣传科"}
    begun = await client.post(PATH, data=first, follow_redirects=True)
    await client.post(PATH, data=first)
    await let_daemon_run(site)
    assert vault.list_names() == [secret]
    assert f"删除密钥 {secret}" in begun.text
    await client.post(PATH, data=fields_of(begun.text))
    await let_daemon_run(site)
    assert vault.list_names() == []
    assert steps((await client.get(PATH)).text)["secret"]
    [entry] = [
        one
        for one in await site.store.queries.audit_history(f"account:{ACCOUNT}")
        if one.event == "offboarded"
    ]
    assert entry.name == "王"


async def test_an_order_removes_nothing_once_the_account_is_used_again(site):
    """As after a restore of an older database: the daemon looks again, and forgets the order."""
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.write(secret, {"access_token": "x"})
    await site.store.kept_secrets.order(
        SecretRemoval(account=ACCOUNT, name="王", sign_in="session")
    )
    await let_daemon_run(site)
    assert vault.list_names() == [secret]
    assert await site.store.kept_secrets.orders() == []


async def test_done_is_said_only_of_what_is_done(site, monkeypatch):
    """The page does not say that a removal is done unless it is.

    The daemon also answers an order that it may not carry out: the account was turned on again
    meanwhile.
    """
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.write(secret, {"access_token": "x"})
    await let_daemon_run(site)
    client = await site.signed_in("operator", name="王")
    await client.post(
        PATH, data=fields_of((await client.get(PATH)).text) | {"reason": "移交宣传科"}
    )

    async def answer(store, order):
        await store.actions.set_mode(ACCOUNT, None, order.person, "留用")
        await store.kept_secrets.order(order)
        await let_daemon_run(site)
        return True

    monkeypatch.setattr(offboard, "order_removal", answer)
    shown = await client.post(
        PATH, data=fields_of((await client.get(PATH)).text), follow_redirects=True
    )
    assert vault.list_names() == [secret]
    assert "能做的都做完了" not in shown.text
    assert "的密钥没有删除" in shown.text


async def test_an_order_that_cannot_be_carried_out_holds_up_no_other(site):
    """An order that cannot be carried out holds up no other.

    One account is unknown by now, and the secret of another cannot be removed. The third is off all
    the same.
    """
    settings = site.application.settings
    vault, secret = open_vault(settings.workspace), settings.accounts[ACCOUNT].secret
    (settings.secrets_dir / secret).unlink()
    vault.write(secret, {"access_token": "x"})
    await site.store.actions.set_mode(
        ACCOUNT, Mode.OFF, Actor(role=Role.PERSON, name="王"), "移交"
    )
    for account in ("a-gone", ACCOUNT):
        await site.store.kept_secrets.order(
            SecretRemoval(account=account, name="王", sign_in="session")
        )
    await let_daemon_run(site)
    assert vault.list_names() == []
    assert await site.store.kept_secrets.orders() == []


async def test_a_store_that_cannot_be_written_holds_up_no_other_order(
    site, monkeypatch
):
    """The order stays, the job fails for all to see, and the next order is carried out."""
    settings, kept_secrets = site.application.settings, site.store.kept_secrets
    (first, second), asked = list(settings.accounts)[:2], []
    for account in (first, second):
        await kept_secrets.order(
            SecretRemoval(account=account, name="王", sign_in="session")
        )

    async def remove(_store, _settings, leaving):
        asked.append(leaving.account)
        if len(asked) == 1:
            raise OSError(28, "No space left on device")
        return False

    monkeypatch.setattr(app_offboard, "_remove_secret", remove)
    with pytest.raises(OSError, match="No space"):
        await remove_ordered_secrets(site.store, settings)
    assert sorted(asked) == sorted([first, second])
    assert [order.account for order in await kept_secrets.orders()] == [asked[0]]


async def test_a_secret_outside_the_store_is_left_to_people(site):
    """A secret outside the store is left to people.

    The page names its place, as the daemon reported it, also once the account is out of the
    settings.
    """
    await let_daemon_run(site)
    client = await site.signed_in("operator")
    begun = await client.post(
        PATH, data={"reason": "移交宣传科"}, follow_redirects=True
    )
    place = str(
        site.application.settings.secrets_dir
        / site.application.settings.accounts[ACCOUNT].secret
    )
    assert place in begun.text
    accounts = {
        key: value
        for key, value in site.application.settings.accounts.items()
        if key != ACCOUNT
    }
    await report_all_secrets(
        site.store, replace(site.application.settings, accounts=accounts)
    )
    report = await site.store.kept_secrets.read_report()
    assert place in report.elsewhere.values()


async def test_a_reason_typed_while_the_second_factor_lapses_is_kept(site):
    """A reason typed while the second factor lapses is kept.

    It is typed once. The form is there after a wrong code and a right one, and does nothing until
    it is sent.
    """
    secret = await add_activated(site, "王", "operator", with_factor=True)
    client = site.client()

    def code():
        return pyotp.TOTP(secret).at(site.runtime.now())

    await client.post("/login", data={"name": "王", "password": PASSWORD})
    site.runtime.advance_time(timedelta(seconds=60))
    await client.post("/login/code", data={"code": code()})
    site.runtime.advance_time(STEP_UP_LIFETIME)
    locked = await client.post(PATH, data={"reason": "移交 & 停用"})
    wrong = await client.post(
        "/me/step-up", data={**fields_of(locked.text), "code": "000000"}
    )
    shown = await client.post(
        "/me/step-up", data={**fields_of(wrong.text), "code": code()}
    )
    assert [locked.status_code, wrong.status_code, shown.status_code] == [422, 422, 200]
    assert await site.store.queries.mode_overrides() == []
    await client.post(PATH, data=fields_of(shown.text))
    [override] = await site.store.queries.mode_overrides()
    assert (override.account, override.reason) == (ACCOUNT, "移交 & 停用")


async def test_only_who_keeps_the_secrets_of_an_account_takes_it_out(site):
    """An author is refused, and an operator of another region does not find it."""
    author = await site.signed_in("author")
    other = await site.signed_in("operator@shanghai-weibo", name="李")
    answers = [
        await client.post(PATH, data={"reason": "x"}) for client in (author, other)
    ]
    assert [answer.status_code for answer in answers] == [403, 404]
    assert await site.store.queries.mode_overrides() == []


async def test_accounts_of_others_that_share_the_login_are_counted_alone(
    site, monkeypatch
):
    """A viewer of one region sees only that others share the login, not their accounts."""
    find = offboard.find_account

    async def find_shared(*arguments):
        return replace(
            await find(*arguments), shared_with=["beijing-tieba", "shanghai-weibo"]
        )

    monkeypatch.setattr(offboard, "find_account", find_shared)
    pages = []
    for name, role in (("王", "operator"), ("京", "operator@region:110000")):
        client = await site.signed_in(role, name=name)
        pages.append((await client.get(PATH)).text)
    assert ["shanghai-weibo" in page for page in pages] == [True, False]
    assert ["beijing-tieba" in page for page in pages] == [True, True]
    assert "1 个账号" in pages[1]
