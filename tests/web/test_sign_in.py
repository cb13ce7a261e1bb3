"""Sign-in: by password and second factor, by a one-time link, its limits, and what an expired session keeps."""

import asyncio
import re
from datetime import timedelta

import pyotp
import pytest

from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import SignInError
from publisher.engine.authentication import activate_user, make_second_factor
from publisher.web import limits
from publisher.web.limits import Limits
from tests.web.conftest import ADMIN

PASSWORD = "马路边上有一棵很老的槐树"
SEED = re.compile(r"<code>([A-Z2-7]{32})</code>")


async def add_activated(site, name="作者", *grants, with_factor=False):
    """Add a user who has set up his password and, if asked for, a second factor; return its secret."""
    link = await site.add_user(name, *(grants or ("author",)))
    factor = make_second_factor(name) if with_factor else None
    await activate_user(
        site.store.users,
        link,
        PASSWORD,
        by=lambda _name: Actor(role=Role.PERSON, name=name),
        second_factor=factor,
        code=pyotp.TOTP(factor.secret).at(site.runtime.now()) if factor else "",
        load_user_key=site.app.state.site.load_user_key,
    )
    return factor.secret if factor else ""


async def test_a_password_opens_the_page_that_was_asked_for(site):
    """A user who signs in gets to where he wanted to, with a cookie that scripts cannot read."""
    await add_activated(site)
    client = site.client()
    asked = await client.get("/pause?next=/today")
    answer = await client.post("/login", data={"name": "作者", "password": PASSWORD, "next": "/pause"})
    assert asked.headers["location"] == "/login?next=%2Fpause%3Fnext%3D%2Ftoday"
    assert (answer.status_code, answer.headers["location"]) == (303, "/pause")
    assert "HttpOnly; Path=/; SameSite=lax" in answer.headers["set-cookie"]
    assert (await client.get("/today")).status_code == 200


async def test_a_second_factor_is_asked_for(site):
    """With a second factor the password alone opens nothing; a code does, and only once."""
    secret = await add_activated(site, with_factor=True)
    client = site.client()
    await client.post("/login", data={"name": "作者", "password": PASSWORD})
    without_code = await client.get("/today")
    wrong = await client.post("/login/code", data={"code": "000000"})
    site.runtime.advance_time(timedelta(seconds=60))
    code = pyotp.TOTP(secret).at(site.runtime.now())
    right = await client.post("/login/code", data={"code": code})
    assert without_code.status_code == 303
    assert wrong.status_code == 422
    assert right.headers["location"] == "/today"
    assert (await client.get("/today")).status_code == 200


async def test_a_wrong_name_and_a_wrong_password_look_alike(site):
    """The answer does not reveal whether a user exists."""
    await add_activated(site)
    client = site.client()
    wrong = [
        await client.post("/login", data={"name": name, "password": "x"}, headers={"accept-language": "zh"})
        for name in ("作者", "无此人")
    ]
    pages = [re.sub(r'value="[^"]*"', "", answer.text) for answer in wrong]
    assert [answer.status_code for answer in wrong] == [422, 422]
    assert pages[0] == pages[1]


async def test_a_flood_of_attempts_locks_nobody_else_out(site):
    """Too many attempts have to wait; the same user signs in from elsewhere meanwhile."""
    await add_activated(site)
    attacker, owner = site.client(), site.client(address="10.1.2.3")
    statuses = [(await attacker.post("/login", data={"name": "作者", "password": "x"})).status_code for _ in range(8)]
    answer = await owner.post("/login", data={"name": "作者", "password": PASSWORD})
    assert statuses[-1] == 429
    assert answer.status_code == 303


async def test_a_flood_from_many_addresses_locks_nobody_out(site):
    """However many sign-ins wait, one from an address that has sent none before is answered."""
    await add_activated(site)
    floods = [site.client(address=f"10.0.0.{number}") for number in range(25)]
    wrong = [asyncio.create_task(client.post("/login", data={"name": "无", "password": "x"})) for client in floods]
    await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
    answer = await site.client(address="10.1.2.3").post("/login", data={"name": "作者", "password": PASSWORD})
    assert answer.status_code == 303
    assert {each.status_code for each in await asyncio.gather(*wrong)} == {422}


async def test_a_flood_waits_for_who_has_tried_less():
    """Staff's addresses come before all, then those that have tried less; of equals the last comes first."""
    counted, order = Limits(), []
    counted.note_success("office", "somebody")

    async def sign_in(address):
        counted.require_attempt(address, "somebody")
        async with counted.turn(address):
            order.append(address)
            await asyncio.sleep(0)

    await asyncio.gather(*(sign_in(address) for address in ["flood", "flood", "early", "office", "late", "office"]))
    assert order == ["flood", "office", "office", "late", "early", "flood"]


async def test_a_flood_with_a_right_password_waits_as_well():
    """An address from which somebody has signed in comes first for a few attempts; after these it has tried most."""
    counted, order = Limits(), []
    counted.note_success("flood", "somebody")

    async def sign_in(address):
        async with counted.turn(address):
            order.append(address)

    for number in range(limits.MAX_KNOWN_ATTEMPTS):
        counted.require_attempt("flood", f"user-{number}")
    async with counted.turn("another"):
        first = asyncio.create_task(sign_in("flood"))
        await asyncio.sleep(0)
        counted.require_attempt("flood", "somebody")
        waiting = [asyncio.create_task(sign_in(address)) for address in ("flood", "user")]
        await asyncio.sleep(0)
    await asyncio.gather(first, *waiting)
    assert order == ["flood", "user", "flood"]


async def test_where_too_many_wait_the_flood_comes_again(monkeypatch):
    """The place of an address that has tried often goes to one that has not, and who leaves makes room."""
    monkeypatch.setattr(limits, "MAX_WAITING", 2)
    counted = Limits()

    async def sign_in(address):
        counted.require_attempt(address, "somebody")
        async with counted.turn(address):
            return address

    counted.require_attempt("flood", "somebody")
    async with counted.turn("flood"):
        attempts = [asyncio.create_task(sign_in(address)) for address in ["flood", "gone", "user"]]
        with pytest.raises(SignInError) as refused:
            await attempts[0]
        attempts[1].cancel()
        await asyncio.wait(attempts[1:2])
        attempts.append(asyncio.create_task(sign_in("another")))
        await asyncio.sleep(0)
    assert refused.value.code == "sign_in_delayed"
    assert await asyncio.gather(*attempts[2:]) == ["user", "another"]


async def test_a_one_time_link_is_used_up_by_its_form_only(site):
    """Opening the link changes nothing; its form sets password and second factor, once."""
    link = await site.add_user("作者", "author")
    client = site.client()
    first, shown = await site.begin_setup(client, link), await site.begin_setup(client, link)
    secret = SEED.search(shown.text)[1]
    assert secret in first.text
    form = {"password": PASSWORD, "password_again": PASSWORD, "code": pyotp.TOTP(secret).at(site.runtime.now())}
    done = await client.post("/setup/form", data=form)
    again = await site.client().post("/setup", data={"link": link})
    assert (done.status_code, done.headers["location"]) == (303, "/today")
    assert again.status_code == 404
    assert (await site.store.users.get("作者")).has_second_factor


async def test_whoever_only_opens_a_link_sees_nothing_and_binds_nothing(site):
    """A scanner of mail opens every address, and may even run its script: the user can still begin."""
    link = await site.add_user("作者", "author")
    scanner, client = site.client(), site.client()
    opened = [
        await scanner.get("/setup"),
        await scanner.get("/setup/form"),
        await scanner.post("/setup", data={"link": f"http://127.0.0.1:8700/setup#{link}"}),
    ]
    assert [page.status_code for page in opened] == [200, 404, 200]
    assert [SEED.search(page.text) for page in opened] == [None] * 3
    assert "我是作者，开始" in opened[2].text
    assert SEED.search((await site.begin_setup(client, link)).text)


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
async def test_a_second_browser_sees_no_seed_and_administrators_get_an_alert(site, lang):
    """Who has copied the link reads neither seed nor codes, and cannot go on, before and after its user is done."""
    link = await site.add_user("作者", "author")
    client, thief = site.client(), site.client(address="10.1.2.3")
    seed = SEED.search((await site.begin_setup(client, link)).text)[1]
    opened = await thief.post(f"/setup?lang={lang}", data={"link": link})
    begun = await thief.post("/setup/begin", data={"link": link})
    form = await thief.post("/setup/form", data={"password": PASSWORD, "password_again": PASSWORD, "skip": "1"})
    assert [page.status_code for page in (opened, begun, form)] == [409, 409, 404]
    assert 'data-testid="page-link-elsewhere"' in opened.text
    assert [seed in page.text for page in (opened, begun, form)] == [False] * 3
    assert [(alert.code, alert.subject) for alert in await site.store.queries.alerts()] == [
        ("link_opened_elsewhere", "user:作者")
    ]
    history = await site.store.queries.audit_history("user:作者")
    assert [entry.event for entry in history] == ["user_added", "link_begun", "link_refused", "link_refused"]
    assert not (await site.store.users.get("作者")).has_password


async def test_a_new_link_ends_what_another_browser_has_begun(site):
    """The administrator's answer to a stolen link: who holds the old one has nothing, and the alert is over."""
    link = await site.add_user("作者", "author")
    thief, client = site.client(), site.client()
    stolen = SEED.search((await site.begin_setup(thief, link)).text)[1]
    await client.post("/setup", data={"link": link})
    new = await site.store.users.reset("作者", ADMIN)
    form = {"password": PASSWORD, "password_again": PASSWORD, "code": pyotp.TOTP(stolen).at(site.runtime.now())}
    assert (await thief.post("/setup/form", data=form)).status_code == 404
    assert SEED.search((await site.begin_setup(client, new)).text)[1] != stolen
    assert "link_opened_elsewhere" not in {alert.code for alert in await site.store.queries.alerts()}


async def test_the_secret_of_a_link_is_in_no_address(site):
    """Proxies log paths and queries: no route takes it there, and no page leads to such an address."""
    link = await site.add_user("作者", "author")
    client = site.client()
    assert (await client.get(f"/setup/{link}")).status_code == 404
    asked = await client.get("/setup", params={"link": link})
    opened = await client.post("/setup", data={"link": link})
    begun = await client.post("/setup/begin", data={"link": link})
    assert "我是作者" not in asked.text
    assert re.findall(rf'(?:href|action|src)="[^"#]*{link}', opened.text) == []
    assert begun.headers["location"] == "/setup/form"
    assert link not in (await client.get("/setup/form")).text


async def test_a_drill_on_this_machine_can_be_entered_by_the_link_alone(site):
    """In a drill that only this machine reaches, the one-time link signs in without a password."""
    link = await site.add_user("作者", "author")
    client = site.client()
    await site.begin_setup(client, link)
    answer = await client.post("/setup/form", data={"skip": "1"})
    assert answer.headers["location"] == "/today"
    assert (await client.get("/today")).status_code == 200


async def test_what_was_sent_after_the_session_had_ended_is_kept(site):
    """A form whose sender has to sign in first is shown again afterwards, with all that was in it."""
    await add_activated(site)
    client = site.client()
    refused = await client.post("/pause", data={"reason": "账号被盗 & 急", "next": "/today"})
    resumed = re.search(r'name="resume" value="([^"]*)"', refused.text)[1].replace("&amp;", "&")
    form = {"name": "作者", "password": PASSWORD, "next": "/pause", "resume": resumed}
    shown = await client.post("/login", data=form)
    assert refused.status_code == 401
    assert 'action="/pause"' in shown.text
    assert 'name="reason" value="账号被盗 &amp; 急"' in shown.text
    assert await site.store.queries.pauses() == []


async def test_signing_out_ends_the_session(site):
    """After signing out the cookie of before opens nothing."""
    client = await site.signed_in("author")
    cookies = dict(client.cookies)
    await client.post("/logout")
    assert (await site.client(cookies).get("/today")).status_code == 303
