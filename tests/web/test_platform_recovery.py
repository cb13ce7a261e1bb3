"""One button resumes the accounts of a platform that one cause has stopped."""

import re
from datetime import timedelta

import pytest

from publisher.domain.delivery import MAINTENANCE, State
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from tests.web.posts import POST, hidden_fields, plan, set_state

WHITELIST, PATH = "weibo_10004", "/platforms/weibo/resume"
FORM = f"{PATH}?reason={WHITELIST}"
WANG = named_person("王")
BUTTON = "act-recover-weibo"
STATE_ICON = re.compile(r'data-testid="notice".*?#(check|triangle-alert)"', re.DOTALL)


@pytest.fixture
def regions():
    return 3


@pytest.fixture
def weibo(site):
    """Return the accounts of one platform, one for each region."""
    accounts = site.application.settings.accounts.values()
    return [account.id for account in accounts if account.platform == "weibo"]


async def stop(site, *accounts, reason=WHITELIST):
    """Pause accounts as publisher itself does."""
    for account in accounts:
        known = site.application.settings.accounts[account]
        await site.store.actions.pause_account(known, MAINTENANCE, reason)


async def hold(site, *accounts, reason="account"):
    """Let the post be held on accounts."""
    await plan(site, POST)
    await set_state(site, State.HELD, *accounts, attempts=1, reason=reason)


async def paused(site):
    return {pause.scope for pause in await site.store.queries.pauses()}


async def states(site):
    found = await site.store.queries.deliveries(PostId("refund"))
    return {one.account: one.state for one in found}


async def recover(client, **ticked):
    """Send the form of the page; return the page that follows."""
    fields = hidden_fields((await client.get(FORM)).text, PATH)
    return await client.post(PATH, data={**fields, **ticked}, follow_redirects=True)


@pytest.mark.parametrize("page", ["/accounts", "/alerts"])
async def test_f50_a_cause_at_many_accounts_has_one_button(site, weibo, page):
    """F50: the button has the number of accounts, and asks first.

    A single account, and a pause by a person, have their own button.
    """
    client = await site.signed_in("operator", name="王")
    await stop(site, weibo[0])
    await site.store.actions.pause(f"account:{weibo[1]}", WANG, "停发")
    assert BUTTON not in (await client.get(page)).text
    await site.store.actions.resume(f"account:{weibo[1]}", WANG)
    await stop(site, *weibo[1:])
    shown = (await client.get(page)).text
    assert BUTTON in shown
    assert "恢复这 3 个账号" in shown
    assert BUTTON not in (await (await site.signed_in("viewer")).get(page)).text
    asked = (await client.get(FORM)).text
    assert "恢复 3 个账号" in asked
    assert await paused(site) == {f"account:{account}" for account in weibo}


@pytest.mark.parametrize("resends", [True, False])
async def test_f50_one_button_resumes_them_and_resends_if_wanted(site, weibo, resends):
    """F50: what was held for the cause is sent again only where the box is ticked."""
    await hold(site, *weibo)
    await stop(site, *weibo)
    client = await site.signed_in("operator", name="王")
    assert "因此没有发出的 3 条，同时再发" in (await client.get(FORM)).text
    done = await recover(client, **({"resend": "1"} if resends else {}))
    said = "已恢复 3 个账号，再发 3 条" if resends else "已恢复 3 个账号，马上检查登录"
    assert said in done.text
    assert STATE_ICON.search(done.text)[1] == "check"
    assert await paused(site) == set()
    wanted = State.DUE if resends else State.HELD
    found = await states(site)
    assert {found[account] for account in weibo} == {wanted}
    again = await client.post(PATH, data={"reason": WHITELIST, "seen_at": ""})
    assert again.status_code == 409


async def test_f50_an_operator_of_some_regions_resumes_only_their_accounts(site, weibo):
    """F50: the button counts the visitor's own accounts, and the page names no other."""
    own, (other, *_more) = weibo[:2], weibo[2:]
    await hold(site, *weibo)
    await stop(site, *weibo)
    client = await site.signed_in(*(f"operator@{account}" for account in own))
    pages = [(await client.get(path)).text for path in ("/accounts", FORM)]
    assert ["2 个账号" in page for page in pages] == [True, True]
    done = await recover(client, resend="1")
    assert "已恢复 2 个账号，再发 2 条" in done.text
    assert await paused(site) == {f"account:{other}"}
    assert (await states(site))[other] is State.HELD
    assert not any(other in page for page in [*pages, done.text])
    elsewhere = await site.signed_in("operator@beijing-tieba", name="李")
    viewer = await site.signed_in("viewer")
    sent = {"reason": WHITELIST, "seen_at": site.runtime.now().isoformat()}
    answers = [await one.post(PATH, data=sent) for one in (elsewhere, viewer)]
    assert [answer.status_code for answer in answers] == [404, 403]


async def test_f50_no_success_is_reported_while_a_pause_stays(site, weibo):
    """F50: a pause by a person, and one of another cause, stay, and are named."""
    first, *others = weibo
    await stop(site, *others)
    await site.store.actions.pause(f"account:{first}", WANG, "停发")
    client = await site.signed_in("operator", name="王")
    done = await recover(client)
    assert "还没有全部恢复：还有 1 个暂停没有解除" in done.text
    assert "已恢复 2 个账号" not in done.text
    assert STATE_ICON.search(done.text)[1] == "triangle-alert"
    assert await paused(site) == {f"account:{first}"}
    await site.store.actions.resume(f"account:{first}", WANG)
    await stop(site, *others)
    await site.store.actions.pause("platform:weibo", WANG, "停发")
    assert "还没有全部恢复" in (await recover(client)).text
    assert await paused(site) == {"platform:weibo"}


async def test_f50_what_was_not_shown_is_neither_resumed_nor_resent(site, weibo):
    """F50: an account that is paused after the page was drawn stays paused."""
    *shown, later = weibo
    await hold(site, *shown)
    await stop(site, *shown)
    client = await site.signed_in("operator", name="王")
    fields = hidden_fields((await client.get(FORM)).text, PATH)
    site.runtime.advance_time(timedelta(minutes=1))
    await stop(site, later)
    now = site.runtime.now()
    await set_state(site, State.HELD, shown[0], updated_at=now)
    await set_state(site, State.HELD, later, reason="account", updated_at=now)
    sent = {**fields, "resend": "1"}
    done = await client.post(PATH, data=sent, follow_redirects=True)
    assert "还没有全部恢复" in done.text
    assert await paused(site) == {f"account:{later}"}
    found = await states(site)
    assert [found[account] for account in weibo] == [State.HELD, State.DUE, State.HELD]


async def test_f50_what_needs_a_look_at_the_account_is_left(site, weibo):
    """F50: after a request for a captcha a person looks at each account first."""
    await hold(site, *weibo, reason="captcha")
    await stop(site, *weibo)
    client = await site.signed_in("operator", name="王")
    page = (await client.get(FORM)).text
    assert "3 条要先到账号上看" in page
    assert 'name="resend"' not in page
    done = await recover(client, resend="1")
    assert "还没有全部恢复：3 条要先到账号上看" in done.text
    assert set((await states(site)).values()) >= {State.HELD}
    assert await paused(site) == set()


async def test_two_causes_have_two_buttons(site, weibo):
    """Each button is for the accounts of one reason."""
    tieba = [
        account.id
        for account in site.application.settings.accounts.values()
        if account.platform == "tieba"
    ]
    await stop(site, *weibo[:2])
    await stop(site, *tieba, reason="secret_missing")
    client = await site.signed_in("operator", name="王")
    page = (await client.get("/accounts")).text
    assert re.findall(r'data-testid="act-recover-(\w+)"', page) == ["tieba", "weibo"]
    assert await paused(site) >= {f"account:{account}" for account in tieba}
    assert (await client.get("/platforms/wechat/resume")).status_code == 409
