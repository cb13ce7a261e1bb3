"""Sign-in: by password and second factor, or by a one-time link.

The tests also cover its limits, and the forms that an expired session keeps.
"""

import asyncio
import html
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from publisher import web
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import SignInError
from publisher.domain.user import RefusalKind, SignInFactor
from publisher.engine.authentication import activate_user, make_second_factor
from publisher.engine.decisions import named_person
from publisher.store.people.users import NewSignIn
from publisher.web import dashboard
from publisher.web.kit import limits
from publisher.web.kit.access import (
    MAX_RESUMED_CHARACTERS,
    PASSWORD_FIELDS,
    SECRET_FIELDS,
    read_kept_form,
)
from publisher.web.kit.limits import Limits
from publisher.web.kit.site import MAX_PENDING_OF_USER
from tests.wait import eventually
from tests.web.conftest import ADMIN

PASSWORD = "马路边上有一棵很老的槐树"
SEED = re.compile(r"<code>([A-Z2-7]{32})</code>")


async def add_activated(site, name="作者", *grants, with_factor=False):
    """Add a user with a password and, if requested, a second factor; return its secret."""
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
    """A password opens the requested page, with a cookie that scripts cannot read."""
    await add_activated(site)
    client = site.client()
    asked = await client.get("/pause?next=/today")
    answer = await client.post(
        "/login", data={"name": "作者", "password": PASSWORD, "next": "/pause"}
    )
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
        await client.post(
            "/login",
            data={"name": name, "password": "x"},
            headers={"accept-language": "zh"},
        )
        for name in ("作者", "无此人")
    ]
    pages = [re.sub(r'value="[^"]*"', "", answer.text) for answer in wrong]
    assert [answer.status_code for answer in wrong] == [422, 422]
    assert pages[0] == pages[1]


async def test_waits_do_not_show_who_is_a_user(site):
    """The page for an unknown name equals the page for a user, attempt by attempt."""
    await add_activated(site)
    # the time that the attempts take is no matter
    site.app.state.site.limits._monotonic = lambda: 0.0
    found = {}
    for name, address in (("作者", "10.0.0.1"), ("无此人", "10.0.0.2")):
        client = site.client(address=address)
        answers = [
            await client.post("/login", data={"name": name, "password": "x"})
            for _ in range(8)
        ]
        found[name] = [(answer.status_code, read_problem(answer)) for answer in answers]
    assert found["作者"] == found["无此人"]
    assert found["作者"][-1][0] == 429


def read_problem(answer):
    found = re.search(r'data-testid="problem-login">([^<]*)<', answer.text)
    return found and found[1]


async def test_failed_sign_ins_are_shown_at_the_next_one(site):
    """Failed sign-ins are shown once, at the next sign-in of the user.

    The page has their number since the last time, the times, and the addresses.
    """
    await add_activated(site)
    attacker, owner = site.client(address="10.0.0.1"), site.client(address="10.1.2.3")
    for _ in range(2):
        await attacker.post("/login", data={"name": "作者", "password": "x"})
    await owner.post("/login", data={"name": "作者", "password": PASSWORD})
    page, later = await owner.get("/today"), await owner.get("/today")
    assert "有 2 次登录没有成功" in page.text
    assert "来自 10.0.0.1" in page.text
    assert "次登录没有成功" not in later.text


async def test_what_is_refused_leaves_a_trace(site):
    """Each refusal leaves a trace in the audit and the figures.

    It is a wrong password, a page without a role for it, or a wrong token.
    """
    client = await site.signed_in("viewer")
    await client.get("/people")
    await client.post("/login", data={"name": "viewer", "password": "x"})
    await site.client(address="10.0.0.1").get(
        "/metrics", headers={"authorization": "Bearer publisher-wrong"}
    )
    entries = await site.store.queries.audit_history("user:viewer")
    assert [
        (entry.event, entry.detail["source"])
        for entry in entries
        if entry.event.endswith("_refused")
    ] == [
        ("action_refused", "address 127.0.0.1"),
        ("password_refused", "address 127.0.0.1"),
    ]
    assert (
        "密码不对（一小时内第 1 次，来自 address 127.0.0.1）"
        in (await client.get("/audit")).text
    )
    figures = (await client.get("/metrics")).text
    found = dict(
        re.findall(
            r'^publisher_refusals_total{kind="(\w+)"} (\S+)$', figures, re.MULTILINE
        )
    )
    assert found == {
        "password": "1.0",
        "code": "0.0",
        "token": "1.0",
        "permission": "1.0",
        "approval": "0.0",
    }


async def test_a_burst_of_refusals_is_shown_as_an_alert(site):
    """The page of alerts names the user, the number and the last source."""
    client = await site.signed_in("operator")
    attempts = site.store.users.attempts
    await attempts.record_refusal(RefusalKind.CODE, "operator", "address 10.0.0.1", 7)
    await attempts.record_refusal(
        RefusalKind.PASSWORD, "nobody", "address 10.0.0.2", 12
    )
    page = (await client.get("/alerts")).text
    assert (
        "operator 的密码输对之后，验证码一小时内错了 7 次，最近一次来自 address 10.0.0.1"
        in page
    )
    assert "? 的登录一小时内失败了 12 次" in page
    assert "nobody" not in page


async def test_the_last_refusals_of_a_burst_are_written_by_the_dashboard_itself(
    site, monkeypatch
):
    """Also where none follows, and after the database was away for a moment."""
    monkeypatch.setattr(dashboard, "REFUSALS_INTERVAL_SECONDS", 0.01)
    client, attempts, warnings = (
        await site.signed_in("viewer"),
        site.store.users.attempts,
        [],
    )
    monkeypatch.setattr(
        dashboard.log, "warning", lambda event, **_facts: warnings.append(event)
    )
    for _ in range(3):
        await client.get("/people")
    site.runtime.advance_time(timedelta(seconds=1))

    async def fail(_attempts):
        raise OSError

    async def is_written():
        return (await site.store.dashboard.figures()).refusals == {"permission": 3}

    with monkeypatch.context() as broken:
        broken.setattr(type(attempts), "write_waiting", fail)
        writing = asyncio.create_task(dashboard.write_refusals(site.app.state.site))
        await eventually(lambda: "refusals_not_written" in warnings, 5)
    await eventually(is_written, 5)
    writing.cancel()


async def test_who_knows_one_password_pushes_out_no_sign_in_of_others(site):
    """A known password pushes out no sign-in of others.

    However often it is typed, few of its sign-ins wait for a code at once. Sign-ins of others stay.
    """
    await add_activated(site, with_factor=True)
    owner = site.client()
    await owner.post("/login", data={"name": "作者", "password": PASSWORD})
    pending = site.app.state.site.sign_ins.pending
    [key] = pending.find_keys(lambda _each: True)
    waiting = pending.get(key)
    for number in range(MAX_PENDING_OF_USER):
        other = replace(waiting, user=replace(waiting.user, name="别人"))
        pending.set(f"other {number}", other)
    await add_activated(site, "别人", with_factor=True)
    await site.client(address="10.0.0.1").post(
        "/login", data={"name": "别人", "password": PASSWORD}
    )
    others = pending.find_keys(lambda each: each.user.name == "别人")
    assert len(others) == MAX_PENDING_OF_USER
    assert pending.get("other 0") is None
    assert (await owner.get("/login/code")).status_code == 200


async def test_a_code_for_a_replaced_password_opens_nothing(site):
    """Between password and code the user was reset: the sign-in begins again."""
    secret = await add_activated(site, with_factor=True)
    client = site.client()
    await client.post("/login", data={"name": "作者", "password": PASSWORD})
    await site.store.users.disable("作者", site.actor)
    await site.store.users.enable("作者", site.actor)
    site.runtime.advance_time(timedelta(seconds=30))
    answer = await client.post(
        "/login/code", data={"code": pyotp.TOTP(secret).at(site.runtime.now())}
    )
    assert answer.status_code == 401
    assert "请重新登录" in read_problem(answer)
    assert (await client.get("/today")).status_code == 303
    assert (await client.get("/login/code")).headers["location"] == "/login"


async def test_a_flood_of_attempts_locks_nobody_else_out(site):
    """Too many attempts have to wait; the same user signs in from elsewhere meanwhile."""
    await add_activated(site)
    attacker, owner = site.client(), site.client(address="10.1.2.3")
    statuses = [
        (
            await attacker.post("/login", data={"name": "作者", "password": "x"})
        ).status_code
        for _ in range(8)
    ]
    answer = await owner.post("/login", data={"name": "作者", "password": PASSWORD})
    assert statuses[-1] == 429
    assert answer.status_code == 303


async def test_a_neighbour_locks_nobody_out_of_a_browser_they_have_used(site):
    """A neighbour locks nobody out of a browser they have used.

    Failures of others at the same address count apart. A cookie of another user, or a made-up one,
    helps nobody.
    """
    await add_activated(site)
    await add_activated(site, "另一人")
    owner, neighbour, newcomer = site.client(), site.client(), site.client()
    for name in ("另一人", "作者"):
        await owner.post("/login", data={"name": name, "password": PASSWORD})
        await owner.post("/logout")
    for number in range(40):
        await neighbour.post(
            "/login", data={"name": f"无此人{number}", "password": "x"}
        )
    newcomer.cookies.set(
        "publisher_browser", "made-up~" + owner.cookies["publisher_browser"][:-2]
    )
    refused = await newcomer.post(
        "/login", data={"name": "第三人", "password": PASSWORD}
    )
    answers = [
        await owner.post("/login", data={"name": name, "password": PASSWORD})
        for name in ("作者", "另一人")
    ]
    assert refused.status_code == 429
    assert [answer.status_code for answer in answers] == [303, 303]


async def test_guesses_in_a_browser_that_is_known_are_counted(site):
    """Its cookie is no way round the limits of a name."""
    await add_activated(site)
    client = site.client()
    await client.post("/login", data={"name": "作者", "password": PASSWORD})
    await client.post("/logout")
    answers = [
        (
            await client.post("/login", data={"name": "作者", "password": "x"})
        ).status_code
        for _ in range(8)
    ]
    assert answers[0] == 422
    assert answers[-1] == 429


async def test_a_flood_from_many_addresses_locks_nobody_out(site):
    """However many sign-ins wait, one from an address that has sent none before is answered."""
    await add_activated(site)
    floods = [site.client(address=f"10.0.0.{number}") for number in range(25)]
    wrong = [
        asyncio.create_task(client.post("/login", data={"name": "无", "password": "x"}))
        for client in floods
    ]
    await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
    answer = await site.client(address="10.1.2.3").post(
        "/login", data={"name": "作者", "password": PASSWORD}
    )
    assert answer.status_code == 303
    assert {each.status_code for each in await asyncio.gather(*wrong)} == {422}


def wait_for_attempt(counted, address, name):
    """Return the seconds that a refused attempt has to wait; 0 if it is admitted."""
    try:
        counted.require_attempt(address, name)
    except SignInError as error:
        return int(error.facts["seconds"])
    return 0


def test_each_attempt_counts_for_a_minute():
    """The sixth of a name within a minute waits until the first is a minute old.

    What was refused does not count. Another name, or the same from elsewhere, counts apart.
    """
    now = 100.0
    counted = Limits(_monotonic=lambda: now)
    for instant in (100.0, 110.0, 110.0, 120.0, 130.5):
        now = instant
        assert wait_for_attempt(counted, "office", "somebody") == 0
    assert [wait_for_attempt(counted, "office", "somebody") for _ in range(3)] == [
        30
    ] * 3
    assert wait_for_attempt(counted, "office", "another") == 0
    assert wait_for_attempt(counted, "elsewhere", "somebody") == 0
    now = 159.9
    assert wait_for_attempt(counted, "office", "somebody") == 1
    now = 160.0
    assert [wait_for_attempt(counted, "office", "somebody") for _ in range(2)] == [
        0,
        10,
    ]


def test_an_address_has_thirty_attempts_a_minute_for_all_names():
    """Other addresses are admitted meanwhile, and this one after a minute."""
    now = 0.0
    counted = Limits(_monotonic=lambda: now)
    waits = [
        wait_for_attempt(counted, "office", f"name-{number}") for number in range(31)
    ]
    assert waits == [0] * 30 + [60]
    assert wait_for_attempt(counted, "elsewhere", "name-0") == 0
    now = 60.0
    assert wait_for_attempt(counted, "office", "name-30") == 0


def test_a_success_forgets_the_attempts_of_its_name_there():
    """Somebody who signed in at last has all attempts again, and others none more."""
    counted = Limits(_monotonic=lambda: 0.0)
    for name in ("somebody", "another"):
        for _ in range(5):
            assert wait_for_attempt(counted, "office", name) == 0
    counted.note_success("office", "somebody")
    waits = [
        wait_for_attempt(counted, "office", name) for name in ("somebody", "another")
    ]
    assert waits == [0, 60]


def test_only_so_many_names_and_addresses_are_counted(monkeypatch):
    """Beyond these the one that was quiet longest is forgotten, not one that goes on."""
    monkeypatch.setattr(limits, "MAX_KEYS", 5)
    monkeypatch.setattr(limits, "MAX_ATTEMPTS_OF_ADDRESS", 1)
    counted = Limits(_monotonic=lambda: 0.0)
    waits = [
        wait_for_attempt(counted, address, "somebody")
        for address in (
            "first",
            "second",
            "first",
            "third",
            "fourth",
            "first",
            "second",
        )
    ]
    assert waits == [0, 0, 60, 0, 0, 60, 0]


async def test_a_flood_waits_for_who_has_tried_less():
    """Sign-ins from staff's addresses come before all, then from addresses with fewer tries.

    Of equals the last comes first.
    """
    counted, order = Limits(), []
    counted.note_success("office", "somebody")

    async def sign_in(address):
        counted.require_attempt(address, "somebody")
        async with counted.turn(address):
            order.append(address)
            await asyncio.sleep(0)

    await asyncio.gather(
        *(
            sign_in(address)
            for address in ["flood", "flood", "early", "office", "late", "office"]
        )
    )
    assert order == ["flood", "office", "office", "late", "early", "flood"]


async def test_a_flood_with_a_right_password_waits_as_well():
    """A flood with a right password waits as well.

    An address with a successful sign-in comes first for a few attempts. After these it has the most
    tries.
    """
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
        waiting = [
            asyncio.create_task(sign_in(address)) for address in ("flood", "user")
        ]
        await asyncio.sleep(0)
    await asyncio.gather(first, *waiting)
    assert order == ["flood", "user", "flood"]


async def test_where_too_many_wait_the_flood_comes_again(monkeypatch):
    """With too many waiting, an address with many tries loses its place to a newer one.

    A visitor that leaves makes room.
    """
    monkeypatch.setattr(limits, "MAX_WAITING", 2)
    counted = Limits()

    async def sign_in(address):
        counted.require_attempt(address, "somebody")
        async with counted.turn(address):
            return address

    counted.require_attempt("flood", "somebody")
    async with counted.turn("flood"):
        attempts = [
            asyncio.create_task(sign_in(address))
            for address in ["flood", "gone", "user"]
        ]
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
    first, shown = (
        await site.begin_setup(client, link),
        await site.begin_setup(client, link),
    )
    secret = SEED.search(shown.text)[1]
    assert secret in first.text
    form = {
        "password": PASSWORD,
        "password_again": PASSWORD,
        "code": pyotp.TOTP(secret).at(site.runtime.now()),
    }
    done = await client.post("/setup/form", data=form)
    again = await site.client().post("/setup", data={"link": link})
    assert (done.status_code, done.headers["location"]) == (303, "/today")
    assert again.status_code == 404
    assert (await site.store.users.get("作者")).has_second_factor


async def test_whoever_only_opens_a_link_sees_nothing_and_binds_nothing(site):
    """Opening a link alone shows nothing and binds nothing: the user can still begin.

    A scanner of mail opens every address, and may even run its script.
    """
    link = await site.add_user("作者", "author")
    scanner, client = site.client(), site.client()
    opened = [
        await scanner.get("/setup"),
        await scanner.get("/setup/form"),
        await scanner.post(
            "/setup", data={"link": f"http://127.0.0.1:8700/setup#{link}"}
        ),
    ]
    assert [page.status_code for page in opened] == [200, 404, 200]
    assert [SEED.search(page.text) for page in opened] == [None] * 3
    assert "我是作者，开始" in opened[2].text
    assert SEED.search((await site.begin_setup(client, link)).text)


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
async def test_a_second_browser_sees_no_seed_and_administrators_get_an_alert(
    site, lang
):
    """A second browser sees no seed, and administrators get an alert.

    A thief of the link reads neither seed nor codes, and cannot go on, before and after its user is
    done.
    """
    link = await site.add_user("作者", "author")
    client, thief = site.client(), site.client(address="10.1.2.3")
    seed = SEED.search((await site.begin_setup(client, link)).text)[1]
    opened = await thief.post(f"/setup?lang={lang}", data={"link": link})
    begun = await thief.post("/setup/begin", data={"link": link})
    form = await thief.post(
        "/setup/form",
        data={"password": PASSWORD, "password_again": PASSWORD, "skip": "1"},
    )
    assert [page.status_code for page in (opened, begun, form)] == [409, 409, 404]
    assert 'data-testid="page-link-elsewhere"' in opened.text
    assert [seed in page.text for page in (opened, begun, form)] == [False] * 3
    assert [
        (alert.code, alert.subject) for alert in await site.store.queries.alerts()
    ] == [("link_opened_elsewhere", "user:作者")]
    history = await site.store.queries.audit_history("user:作者")
    assert [entry.event for entry in history] == [
        "user_added",
        "link_begun",
        "link_refused",
        "link_refused",
    ]
    assert not (await site.store.users.get("作者")).has_password


async def test_a_new_link_ends_what_another_browser_has_begun(site):
    """A new link ends the work of another browser: its holder has nothing.

    This is the administrator's answer to a stolen link. The alert is over.
    """
    link = await site.add_user("作者", "author")
    thief, client = site.client(), site.client()
    stolen = SEED.search((await site.begin_setup(thief, link)).text)[1]
    await client.post("/setup", data={"link": link})
    new = await site.store.users.reset("作者", ADMIN)
    form = {
        "password": PASSWORD,
        "password_again": PASSWORD,
        "code": pyotp.TOTP(stolen).at(site.runtime.now()),
    }
    assert (await thief.post("/setup/form", data=form)).status_code == 404
    assert SEED.search((await site.begin_setup(client, new)).text)[1] != stolen
    assert "link_opened_elsewhere" not in {
        alert.code for alert in await site.store.queries.alerts()
    }


async def test_the_secret_of_a_link_is_in_no_address(site):
    """The secret of a link is in no address, as proxies log paths and queries.

    No route takes it there, and no page leads to such an address.
    """
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


async def open_known_browser(site, name="作者"):
    """Return a browser where a person has signed in before, and out again."""
    client = site.client()
    await client.post("/login", data={"name": name, "password": PASSWORD})
    await client.post("/logout")
    return client


async def test_others_at_an_address_keep_nobody_from_a_one_time_link(site):
    """The holder of a link sets up a sign-in after a flood of wrong ones from the address."""
    link = await site.add_user("作者", "author")
    for number in range(31):
        await site.client().post("/login", data={"name": f"x{number}", "password": "x"})
    client = site.client()
    await site.begin_setup(client, link)
    answer = await client.post("/setup/form", data={"password": "short"})
    assert answer.status_code == 422


async def test_f90_a_form_of_an_unknown_browser_is_not_sent_back(site):
    """An outsider gets the sign-in, and nothing of a large form: neither at once nor after it."""
    await add_activated(site)
    client, large = site.client(), "x" * 100_000
    answers = [
        await client.post("/pause", data={"reason": large}),
        await client.post("/login", data={"name": "x", "resume": f"reason={large}"}),
    ]
    assert [answer.status_code for answer in answers] == [401, 422]
    assert [answer for answer in answers if len(answer.content) > 50_000] == []


async def test_what_was_sent_after_the_session_had_ended_is_kept(site):
    """A form sent after the session had ended is kept, with all its fields.

    It is shown again after the sign-in.
    """
    await add_activated(site)
    client = await open_known_browser(site)
    refused = await client.post(
        "/pause", data={"reason": "账号被盗 & 急", "next": "/today"}
    )
    resumed = re.search(r'name="resume" value="([^"]*)"', refused.text)[1].replace(
        "&amp;", "&"
    )
    form = {"name": "作者", "password": PASSWORD, "next": "/pause", "resume": resumed}
    shown = await client.post("/login", data=form)
    assert refused.status_code == 401
    assert 'action="/pause"' in shown.text
    assert 'name="reason" value="账号被盗 &amp; 急"' in shown.text
    assert await site.store.queries.pauses() == []


HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


async def test_the_next_person_at_a_screen_sends_no_words_of_another_unseen(site):
    """A post is shown in its form before it is saved; an approval is given on its page again."""
    await add_activated(site)
    client, pages = await open_known_browser(site), []
    for path, form in (
        ("/write", {"title": "别人写的", "do": "save"}),
        ("/approve/p", {"fingerprint": "0" * 64}),
    ):
        refused = await client.post(path, data=form)
        kept = {
            name: html.unescape(value) for name, value in HIDDEN.findall(refused.text)
        }
        pages.append(
            await site.client(dict(client.cookies)).post(
                "/login", data={**kept, "name": "作者", "password": PASSWORD}
            )
        )
    assert 'name="do" value="refresh"' in pages[0].text
    assert "以 作者 的名义" in pages[0].text
    assert (pages[1].status_code, "0" * 64 in pages[1].text) == (303, False)


async def test_who_was_reset_hears_of_it_beside_a_form_that_was_kept(site):
    """A user after a reset is informed of it beside a form that was kept.

    The form is shown first, and says that the sign-in was reset. Failed sign-ins are for the next
    time.
    """
    link = await site.add_user("作者", "author")
    await site.store.users.activate(link, NewSignIn(password_hash="none"), named_person)
    link = await site.store.users.reset("作者", ADMIN, [SignInFactor.PASSWORD])
    key = site.app.state.site.load_user_key
    await activate_user(
        site.store.users, link, PASSWORD, by=named_person, load_user_key=key
    )
    await add_activated(site, "李")
    cookies = dict((await open_known_browser(site, "李")).cookies)
    form = {"name": "作者", "next": "/pause"}
    shown = [
        await site.client(cookies).post(
            "/login", data={**form, **more}, follow_redirects=True
        )
        for more in (
            {"password": "x" * 12},
            {"password": PASSWORD, "resume": "reason=x"},
            {"password": PASSWORD},
        )
    ]
    said = [
        re.findall(
            r'data-testid="notice">.*?<span>(.*?)</span>', answer.text, re.DOTALL
        )
        for answer in shown
    ]
    assert said[1] == ["您的登录被重置过"]
    assert "有 1 次登录没有成功" in said[2][0]
    assert 'data-testid="reset"' in shown[2].text


async def test_no_password_is_kept_after_the_session_had_ended(site):
    """A form with passwords is not kept after the session had ended.

    It is to be filled in again. None of its fields is on the page that asks to sign in.
    """
    await add_activated(site)
    client, typed = await open_known_browser(site), "typed-just-now"
    form = {"old": typed, "password": typed, "password_again": typed}
    answers = [
        await client.post(
            "/me/password",
            data=form,
            headers={"referer": "http://127.0.0.1:8700/me?x=1"},
        ),
        await client.post(
            "/me/tokens", data={"scope": "view", "token_password": typed}
        ),
        await client.post("/resume", data={"code": typed, "reason": "x"}),
    ]
    following = [
        re.search(r'name="next" value="([^"]*)"', answer.text)[1] for answer in answers
    ]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert [answer.text for answer in answers if typed in answer.text] == []
    assert following == ["/me", "/today", "/resume"]
    assert "resume" in re.findall(r'name="(\w+)"', answers[2].text)


def test_every_secret_field_is_known():
    """Every field that a template requests as a password or a code is known as secret.

    It is never kept in a form that waits for a sign-in.
    """
    templates = [
        path.read_text("utf-8") for path in Path(web.__file__).parent.rglob("*.html")
    ]
    named = {
        name
        for text in templates
        for name in re.findall(r'field\(\s*"(\w+)"[^}]*type="password"', text)
    }
    assert named == PASSWORD_FIELDS
    assert any(re.search(r'field\(\s*"code"', text) for text in templates)
    assert PASSWORD_FIELDS | {"code"} == SECRET_FIELDS


async def test_signing_out_ends_the_session(site):
    """After signing out the cookie of before opens nothing."""
    client = await site.signed_in("author")
    cookies = dict(client.cookies)
    await client.post("/logout")
    assert (await site.client(cookies).get("/today")).status_code == 303


def test_f90_a_kept_form_has_as_many_fields_as_a_form():
    """A manipulated one with a hundred thousand fields is none, instead of a page of its fields."""
    assert read_kept_form("title=%E8%AD%A6&body=") == [("title", "警"), ("body", "")]
    assert read_kept_form("a=&" * 100_000) == ()
    assert read_kept_form("a" * MAX_RESUMED_CHARACTERS + "=1") == ()
