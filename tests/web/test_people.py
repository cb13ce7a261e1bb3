"""People and one's own settings.

The permission to change each person, secrets that are shown once, and effects that end at once.
"""

import re
from dataclasses import replace

import pyotp
import pytest

from publisher.config import Environment
from publisher.domain.user import (
    PERSONAL_PERMISSIONS,
    Permission,
    SignInFactor,
    UserState,
)
from publisher.engine.authentication import hash_password
from publisher.store.people import users
from publisher.store.people.users import NewSignIn
from tests.web.conftest import ADMIN

PASSWORD = "eleven-officers-read-it-twice"


@pytest.fixture
async def admin(site):
    """Return the client of an administrator without a second factor."""
    return await site.signed_in("admin", name="管")


async def sign_in(site, name, *grants):
    """Add a user with a password, and return the client of a session of that user."""
    link = await site.add_user(name, *grants)
    await site.store.users.activate(
        link,
        NewSignIn(password_hash=await hash_password(PASSWORD)),
        lambda _name: ADMIN,
    )
    session = await site.store.sign_ins.start_session(name, "address 127.0.0.1", ADMIN)
    return site.client({"publisher_session": session})


async def test_a_person_is_added_with_roles_and_a_link_that_is_shown_once(site, admin):
    """The link opens the first sign-in; on the next page it is gone, and no page has it before."""
    form = {
        "name": "李",
        "role": ["approver", "viewer", ""],
        "targets": ["north", "", ""],
        "stages": ["初审", "", ""],
    }
    added = await admin.post("/people", data=form)
    assert (added.status_code, added.headers["location"]) == (303, "/people/%E6%9D%8E")
    first, second = await admin.get("/people/李"), await admin.get("/people/李")
    assert 'data-testid="link"' in first.text
    assert "/setup#" not in second.text
    link = first.text.partition("/setup#")[2].partition("<")[0]
    opened = await site.begin_setup(site.client(), link)
    assert opened.status_code == 200
    assert {page.headers["cache-control"] for page in (first, opened)} == {"no-store"}
    user = await site.store.users.get("李")
    assert [str(grant) for grant in user.grants] == ["approver:初审@north", "viewer"]
    assert 'data-testid="person-李"' in (await admin.get("/people")).text


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"name": "", "role": ["viewer"], "targets": [""], "stages": [""]}, "请写姓名"),
        (
            {"name": "李", "role": [""], "targets": [""], "stages": [""]},
            "请至少选一个角色",
        ),
        (
            {"name": "李", "role": ["author"], "targets": ["nowhere"], "stages": [""]},
            "nowhere",
        ),
        (
            {"name": "李", "role": ["author"], "targets": [""], "stages": ["初审"]},
            "初审",
        ),
        ({"name": "管", "role": ["author"], "targets": [""], "stages": [""]}, "管"),
    ],
)
async def test_what_is_wrong_stands_at_the_form(site, admin, form, problem):
    """Nobody is added, and the page says why with 422."""
    before = [user.name for user in await site.store.users.list()]
    answer = await admin.post("/people", data=form)
    assert (answer.status_code, problem in answer.text) == (422, True)
    assert [user.name for user in await site.store.users.list()] == before


async def test_who_is_disabled_is_out_at_once_and_can_come_back(site, admin):
    """The session of the person ends with the click; enabling it again asks for a new sign-in."""
    li = await site.signed_in("author", name="李")
    assert (await li.get("/today")).status_code == 200
    assert (await admin.post("/people/李/disable")).status_code == 303
    assert (await li.get("/today")).status_code == 303
    assert (await admin.post("/people/李/enable")).status_code == 303
    assert (await site.store.users.get("李")).is_enabled
    assert (await li.get("/today")).status_code == 303


async def test_leaving_shows_what_ends_and_ends_it(site, admin):
    """Leaving shows the sessions, tokens and duty that end, and ends them.

    The person stays in the list as one that has left.
    """
    await site.signed_in("author", name="李")
    await site.store.duty.add("李", ADMIN)
    await site.store.sign_ins.issue_token("李", {Permission.VIEW}, ADMIN)
    await site.store.actions.record_action(
        "secret_stored", "secret:weibo-key", person("李"), {}
    )
    page = await admin.get("/people/李/leave")
    assert "登录中的浏览器 1 个，令牌 1 个" in page.text
    assert "<code>weibo-key</code>" in page.text
    assert (await admin.post("/people/李/leave")).status_code == 303
    assert (await site.store.users.get("李")).state is UserState.LEFT
    assert await site.store.duty.officers() == []
    assert "rotation_due" in {alert.code for alert in await site.store.queries.alerts()}


def person(name):
    return type(ADMIN)(role=ADMIN.role, name=name)


async def test_the_duty_list_is_kept_by_administrators(site, admin):
    """The duty list is kept by administrators, with a click for each change.

    A person that is not enabled is refused with the reason.
    """
    await site.signed_in("approver", name="李")
    form = {"name": "李", "phone": " 内线  8112 ", "on": "1"}
    assert (await admin.post("/people/duty", data=form)).status_code == 303
    assert [officer.label for officer in await site.store.duty.officers()] == [
        "李 内线 8112"
    ]
    assert "今日值班　李 内线 8112" in (await admin.get("/today")).text
    assert (await admin.post("/people/duty", data={"name": "李"})).status_code == 303
    assert await site.store.duty.officers() == []
    await site.store.users.disable("李", ADMIN)
    refused = await admin.post("/people/duty", data={"name": "李", "on": "1"})
    assert (refused.status_code, 'data-testid="problem-duty"' in refused.text) == (
        409,
        True,
    )


async def test_roles_are_changed_and_the_last_administrator_stays(site, admin):
    """New roles count for the next click.

    Nobody can leave the workspace without an administrator.
    """
    li = await site.signed_in("viewer", name="李")
    assert (await li.get("/people")).status_code == 403
    form = {"role": ["admin"], "targets": [""], "stages": [""]}
    assert (await admin.post("/people/李/roles", data=form)).status_code == 303
    assert (await li.get("/people")).status_code == 200
    form = {"role": ["viewer"], "targets": [""], "stages": [""]}
    assert (await admin.post("/people/李/roles", data=form)).status_code == 303
    last = await admin.post("/people/管/roles", data=form)
    assert last.status_code == 422


async def test_everybody_sees_and_ends_the_own_sessions_and_tokens(site):
    """Everybody sees and ends their own sessions and tokens.

    A form with any number never reaches the sessions and tokens of others.
    """
    li, wang = await sign_in(site, "李", "viewer"), await sign_in(site, "王", "viewer")
    issued = await li.post(
        "/me/tokens", data={"scope": "view", "token_password": PASSWORD}
    )
    assert issued.status_code == 303
    first, second = await li.get("/me"), await li.get("/me")
    assert 'data-testid="token"' in first.text
    assert 'data-testid="token"' not in second.text
    [token] = await site.store.sign_ins.tokens_of("李")
    await wang.post("/me/tokens/end", data={"token": token.id})
    assert len(await site.store.sign_ins.tokens_of("李")) == 1
    assert (
        await li.post("/me/tokens/end", data={"token": token.id})
    ).status_code == 303
    assert await site.store.sign_ins.tokens_of("李") == []
    [session] = await site.store.sign_ins.sessions_of("李")
    await wang.post("/me/sessions", data={"session": session.id})
    assert (await li.get("/me")).status_code == 200
    assert (await li.post("/me/sessions", data={"session": session.id})).headers[
        "location"
    ] == "/login"
    assert (await li.get("/me")).status_code == 303


async def test_a_password_takes_the_old_one(site):
    """A wrong old one changes nothing; a new one ends all sessions."""
    li = await sign_in(site, "李", "viewer")
    new = {"password": f"{PASSWORD}-now", "password_again": f"{PASSWORD}-now"}
    assert (
        await li.post("/me/password", data={"old": "wrong wrong wrong", **new})
    ).status_code == 422
    assert (
        await li.post(
            "/me/password", data={"old": PASSWORD, **new, "password_again": "x"}
        )
    ).status_code == 422
    assert (
        await li.post("/me/password", data={"old": PASSWORD, **new})
    ).status_code == 303
    assert (await li.get("/me")).status_code == 303
    answer = await site.client().post(
        "/login", data={"name": "李", "password": f"{PASSWORD}-now"}
    )
    assert answer.status_code == 303


async def test_a_token_takes_the_password(site):
    """A new token takes the password.

    A person at an unlocked screen cannot take a token along.
    """
    li = await sign_in(site, "李", "viewer")
    for data in (
        {"scope": "view", "token_password": "wrong wrong wrong"},
        {"token_password": PASSWORD},
    ):
        assert (await li.post("/me/tokens", data=data)).status_code == 422
    assert await site.store.sign_ins.tokens_of("李") == []


async def test_a_token_of_live_operation_is_for_nothing_that_takes_a_person(site):
    """Neither the page nor a forged form issues one that approves, administers or recovers."""
    li = await sign_in(site, "李", "approver", "admin")
    live = replace(site.application.settings, environment=Environment.LIVE)
    site.app.state.site.application = replace(site.application, settings=live)
    page = await li.get("/me")
    assert 'data-testid="field-scope-stop"' in page.text
    assert [
        scope
        for scope in PERSONAL_PERMISSIONS
        if f'data-testid="field-scope-{scope}"' in page.text
    ] == []
    issued = await li.post(
        "/me/tokens", data={"scope": ["approve", "stop"], "token_password": PASSWORD}
    )
    assert issued.status_code == 303
    assert [token.scope for token in await site.store.sign_ins.tokens_of("李")] == [
        {Permission.STOP}
    ]


async def test_language_theme_and_keys_are_remembered(site):
    """A choice is kept by the browser, and the next page shows it."""
    li = await site.signed_in("viewer", name="李")
    for query in ("lang=en", "theme=dark", "size=large", "keys=off"):
        assert (await li.get(f"/me?{query}")).status_code == 200
    page = await li.get("/me")
    assert '<html lang="en" data-theme="dark" data-size="large"' in page.text
    assert ' data-keys="off">' in page.text


async def test_a_reset_takes_another_administrator_who_then_gets_the_link(site, admin):
    """A reset takes another administrator, and this administrator gets the link.

    The requester sees no confirmation button and no link. The user is informed.
    """
    other = await site.signed_in("admin", name="副")
    li = await sign_in(site, "李", "approver")
    requested = await admin.post("/people/李/reset")
    assert requested.headers["location"] == "/people"
    [request] = await site.store.user_changes.requests()
    path = f"/people/requests/{request.id}/confirm"
    own, others = await admin.get("/people"), await other.get("/people")
    assert [path in page.text for page in (own, others)] == [False, True]
    assert "重置 李 的密码" in others.text
    refused = await admin.post(path)
    assert (refused.status_code, "另一位管理员" in refused.text) == (409, True)
    assert (await li.get("/me")).status_code == 200
    await other.post(path)
    shown = await other.get("/people/李")
    assert 'data-testid="link"' in shown.text
    assert (await li.get("/me")).status_code == 303
    link = shown.text.partition("/setup#")[2].partition("<")[0]
    client = site.client()
    await site.begin_setup(client, link)
    site.app.state.site.sign_ins.setups.clear()
    page = await client.get("/setup/form")
    secret = page.text.partition("<code>")[2].partition("</code>")[0]
    code = pyotp.TOTP(secret).at(site.runtime.now())
    done = await client.post(
        "/setup/form",
        data={"password": PASSWORD, "password_again": PASSWORD, "code": code},
    )
    assert done.headers["location"] == "/me/resets?next=%2Ftoday"
    shown = await client.get("/me/resets?next=/today")
    assert (
        "管 重置了您的密码，副 确认" in shown.text,
        'href="/today"' in shown.text,
    ) == (
        True,
        True,
    )


async def set_up(site, client, link, password):
    """Set up a sign-in with password and second factor, as the holder of the link does."""
    page = await site.begin_setup(client, link)
    code = pyotp.TOTP(page.text.partition("<code>")[2].partition("</code>")[0]).at(
        site.runtime.now()
    )
    form = {"password": password, "password_again": password, "code": code}
    assert (await client.post("/setup/form", data=form)).status_code == 303


async def test_who_adds_a_viewer_alone_holds_no_sign_in_of_an_author(site, admin):
    """An administrator that adds a viewer alone holds no sign-in of an author.

    The requester's own set-up of the sign-in ends with the promotion. The confirmer sees the new
    link.
    """
    other = await site.signed_in("admin", name="副")
    thief = site.client()
    form = {"targets": [""], "stages": [""]}
    await admin.post("/people", data={"name": "李", "role": ["viewer"], **form})
    page = (await admin.get("/people/李")).text
    await set_up(site, thief, page.partition("/setup#")[2].partition("<")[0], PASSWORD)
    assert (await thief.get("/me")).status_code == 200
    assert (
        'data-testid="renews"' in page,
        'data-testid="renews"' in (await admin.get("/people/管")).text,
    ) == (
        True,
        False,
    )
    requested = await admin.post("/people/李/roles", data={"role": ["author"], **form})
    assert requested.headers["location"] == "/people"
    [request] = await site.store.user_changes.requests()
    assert "要用新的链接重新设置" in (await other.get("/people")).text
    confirmed = await other.post(f"/people/requests/{request.id}/confirm")
    shown = (await other.get(confirmed.headers["location"])).text
    assert ('data-testid="link"' in shown, "原来的登录已作废" in shown) == (True, True)
    assert "/setup#" not in (await admin.get("/people/李")).text
    assert (await thief.get("/me")).status_code == 303
    refused = await site.client().post(
        "/login", data={"name": "李", "password": PASSWORD}
    )
    assert refused.status_code == 422
    await set_up(
        site,
        site.client(),
        shown.partition("/setup#")[2].partition("<")[0],
        f"{PASSWORD}-now",
    )
    user = await site.store.users.get("李")
    assert (user.has_password, [str(grant) for grant in user.grants]) == (
        True,
        ["author"],
    )


async def test_a_forged_form_gets_no_token_beyond_the_roles(site):
    """A forged form gets no token beyond the roles.

    The form offers the permissions of the roles. Any other permission is refused, and no token is
    issued.
    """
    li = await sign_in(site, "李", "viewer")
    assert 'data-testid="field-scope-write"' not in (await li.get("/me")).text
    refused = await li.post(
        "/me/tokens", data={"scope": ["view", "write"], "token_password": PASSWORD}
    )
    assert (refused.status_code, "您的角色没有这些权限" in refused.text) == (422, True)
    assert await site.store.sign_ins.tokens_of("李") == []


async def test_an_administrator_does_not_give_himself_roles_alone(site, admin):
    """An administrator gives neither himself nor a helper of his own roles alone.

    A declined request leaves all as it was.
    """
    other = await site.signed_in("admin", name="副")
    roles = {"role": ["admin", "approver"], "targets": ["", ""], "stages": ["", ""]}
    await admin.post("/people/管/roles", data=roles)
    await admin.post(
        "/people",
        data={"name": "帮", "role": ["author"], "targets": [""], "stages": [""]},
    )
    assert {
        request.change.user for request in await site.store.user_changes.requests()
    } == {
        "管",
        "帮",
    }
    for request in await site.store.user_changes.requests():
        assert (
            await other.post(f"/people/requests/{request.id}/decline")
        ).status_code == 303
        assert (
            await other.post(f"/people/requests/{request.id}/confirm")
        ).status_code == 409
    assert [str(grant) for grant in (await site.store.users.get("管")).grants] == [
        "admin"
    ]
    assert "帮" not in {user.name for user in await site.store.users.list()}


async def test_a_reset_phone_leaves_the_password_to_be_typed(site, admin):
    """The link of a reset second factor asks for the password.

    A wrong password is refused, and the QR code is new.
    """
    await sign_in(site, "李", "viewer")
    await site.store.users.reset("李", ADMIN)
    link = await site.store.users.reset("李", ADMIN, {SignInFactor.PASSWORD})
    sign_in_data = NewSignIn(
        password_hash=await hash_password(PASSWORD), totp_secret="sealed"
    )
    await site.store.users.activate(link, sign_in_data, lambda _name: ADMIN)
    assert "act-reset-factor" in (await admin.get("/people/李")).text
    await admin.post("/people/李/reset", data={"second_factor": "1"})
    link = (
        (await admin.get("/people/李")).text.partition("/setup#")[2].partition("<")[0]
    )
    client = site.client()
    page = await site.begin_setup(client, link)
    assert (
        'autocomplete="current-password"' in page.text,
        "password_again" in page.text,
    ) == (
        True,
        False,
    )
    code = pyotp.TOTP(page.text.partition("<code>")[2].partition("</code>")[0]).at(
        site.runtime.now()
    )
    wrong = await client.post(
        "/setup/form", data={"password": "wrong wrong wrong", "code": code}
    )
    skipped = await client.post("/setup/form", data={"skip": "1"})
    assert [answer.status_code for answer in (wrong, skipped)] == [422, 422]
    refused = await site.client().post(
        "/login", data={"name": "李", "password": PASSWORD}
    )
    assert (refused.status_code, "一次性链接" in refused.text) == (422, True)
    assert (
        await client.post("/setup/form", data={"password": PASSWORD, "code": code})
    ).status_code == 303


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "..",
        ".",
        "a\\b",
        "a%2Fb",
        "a?b",
        "a#b",
        "长" * 65,
        "Planner",
        "uid 0",
        "—",
        "ALL",
        "系统",
    ],
)
async def test_a_name_that_breaks_addresses_or_is_no_persons_is_refused(
    site, admin, name
):
    """A user name that stands for another page, or for the program, is refused.

    The form names the refusal.
    """
    answer = await admin.post(
        "/people", data={"name": name, "role": "viewer", "stages": "", "targets": ""}
    )
    assert answer.status_code == 422
    assert "不能有 / \\ % ? #" in answer.text
    assert name not in {user.name for user in await site.store.users.list()}


@pytest.mark.parametrize("name", ["a/b", "..", "a%2Fb", "x/leave", "a?b", "c.d e"])
async def test_the_page_of_a_user_is_found_whatever_the_name(
    site, admin, monkeypatch, name
):
    """The page of a user is found under any name.

    A user with a name from before the refusal of such names can be disabled, and let go.
    """
    monkeypatch.setattr(users, "is_usable_name", lambda _name: True)
    await site.add_user(name, "viewer")
    [path] = re.findall(
        r'<a href="(/people/[^"]+)">' + re.escape(name),
        (await admin.get("/people")).text,
    )
    page = await admin.get(path)
    [disable] = re.findall(r'action="([^"]+/disable)"', page.text)
    disabled = await admin.post(disable)
    left = await admin.post(f"{path}/leave")
    assert page.status_code == 200
    assert disabled.headers["location"] == path
    assert left.headers["location"] == path
    assert (await site.store.users.get(name)).state is UserState.LEFT


async def test_an_administrator_of_one_region_sees_no_request(site, admin):
    """An administrator of one region sees no request.

    Requests name people of all regions, so only people with permission to confirm read them.
    """
    await site.signed_in("admin", name="副")
    limited = await site.signed_in("admin@region:110000", name="区")
    await admin.post(
        "/people",
        data={"name": "帮", "role": ["author"], "targets": [""], "stages": [""]},
    )
    seen = [
        "增加 帮" in (await client.get("/people")).text for client in (admin, limited)
    ]
    assert seen == [True, False]
