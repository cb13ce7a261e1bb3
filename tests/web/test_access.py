"""Access to pages.

The table of routes for every role, sessions, and requests of other sites.
"""

import asyncio

import pytest
from sqlalchemy import select

from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.user import User, UserRole, may_somewhere, parse_grant
from publisher.engine.decisions import named_person
from publisher.store.db.tables import AUDIT
from publisher.web.kit import limits
from publisher.web.kit.site import MAX_AUDIT_READERS
from publisher.web.routes import ROUTES
from tests.cli.posts import WARNING, warning
from tests.web.posts import POST, SOON, plan

CORRECTION = WARNING.replace(
    'kind = "warning"', 'kind = "correction"\nfollows = "refund"'
)


def reaches(role, permission):
    return may_somewhere(User(name="x", grants=(parse_grant(role),)), permission)


def path_of(route):
    """Return a path of the route, with names of things that do not exist."""
    return "/".join(
        "none" if part.startswith("{") else part for part in route.path.split("/")
    )


@pytest.mark.long
@pytest.mark.parametrize("role", UserRole)
async def test_each_role_reaches_what_the_table_gives_it(site, role):
    """For every row of the table, a role with the permission is let in.

    Any other role is refused.
    """
    wrong = []
    for route in ROUTES:
        # one ends the session, one never ends
        if route.permission is None or route.name in {
            "log_out",
            "events",
        }:
            continue
        client = site.clients[0] if site.clients else await site.signed_in(role)
        answer = await client.request(route.method, path_of(route))
        if (answer.status_code == 403) is reaches(role, route.permission):
            wrong.append((route.method, route.path, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [
        "/today?day=9999-12-31",
        "/today?day=0001-01-01",
        "/posts?before=0001-01-01T00:00:00%2B14:00",
        "/calendar?month=9999-12",
        "/audit?to=9999-12-31",
        "/audit?before=999999999999999999",
        "/pause?next=//[",
    ],
)
async def test_an_address_that_makes_no_sense_is_no_error(site, path):
    """An address that makes no sense is ignored, without an error."""
    client = await site.signed_in("operator")
    assert (await client.get(path)).status_code == 200


async def test_what_no_database_stores_is_refused(site):
    """U+0000 in an address, a query or a form is refused.

    It is no internal error with any database, and nothing is done.
    """
    client = await site.signed_in("operator")
    answers = [
        await client.get("/posts/p%00"),
        await client.get("/search?q=a&q=%00"),
        await client.post("/pause", data={"reason": "x\0"}),
        await site.client().post("/login", data={"name": "li\0", "password": "y"}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert await site.store.queries.pauses() == []


@pytest.mark.long
async def test_opening_a_page_changes_nothing(site):
    """Opening any page changes nothing.

    A link of another site, opened by a browser that is signed in, causes no action of a person.
    """
    client = await site.signed_in("admin", "operator", "author", "approver", "auditor")
    before = await site.store.dashboard.audit_number()
    for route in ROUTES:
        if route.method == "GET" and route.name != "events":
            await client.get(path_of(route), headers={"sec-fetch-site": "cross-site"})
    assert await site.store.dashboard.audit_number() == before


async def test_without_a_session_only_the_sign_in_is_open(site):
    """A visitor without a session is sent to the sign-in.

    A form that was posted is not carried out.
    """
    await site.add_user("作者", "author")
    client = site.client()
    answers = {
        (route.method, route.path): (
            await client.request(route.method, path_of(route))
        ).status_code
        for route in ROUTES
        if route.permission is not None
    }
    assert answers.pop(("GET", "/events")) == 401
    assert {
        status for (method, _path), status in answers.items() if method == "GET"
    } == {303}
    assert {
        status for (method, _path), status in answers.items() if method == "POST"
    } == {401}
    assert await site.store.queries.pauses() == []


async def test_a_picture_is_sent_to_who_may_see_a_text_that_has_it(site):
    """A picture is sent only to a viewer of a text that has it.

    Its hash is no key: neither for a viewer of other regions only, nor in the name of another text.
    """
    await plan(site, warning("refund", when=SOON))
    texts = await site.store.occurrences.renditions(
        OccurrenceKey(post=PostId("refund"), occurrence="once")
    )
    [beijing] = [text for text in texts if text.account == "beijing-wechat"]
    [weibo] = [text for text in texts if text.account == "beijing-weibo"]
    path, elsewhere = (
        f"/media/{text.fingerprint}/{beijing.images[0].sha256}"
        for text in (beijing, weibo)
    )
    own = await site.signed_in("viewer@region:110000")
    other = await site.signed_in("viewer@shanghai-weibo", name="远")
    answers = [await own.get(path), await own.get(elsewhere), await other.get(path)]
    assert [answer.status_code for answer in answers] == [200, 404, 404]
    assert answers[0].headers["content-type"].startswith("image/")


async def test_who_sees_one_region_reads_no_title_and_no_number_of_another(site):
    """A viewer of one region reads no title and no number of another.

    A chain leaves out the posts for other regions, and the calendar counts on the viewer's own
    accounts.
    """
    correction = CORRECTION.format(id="fix", when=SOON, to='["beijing-weibo"]')
    await plan(
        site, POST, correction, warning("second", to='["beijing-weibo"]', when=SOON)
    )
    pages = {}
    for name in ("beijing-weibo", "shanghai-weibo"):
        client = await site.signed_in(f"viewer@{name}", name=name)
        pages[name] = [
            (await client.get(path)).text for path in ("/posts/refund", "/calendar")
        ]
    assert ['href="/posts/fix"' in post for post, _calendar in pages.values()] == [
        True,
        False,
    ]
    assert ["1 个账号同时 3 条" in calendar for _post, calendar in pages.values()] == [
        True,
        False,
    ]
    assert [
        "3 / " in calendar.partition('id="quota"')[2]
        for _post, calendar in pages.values()
    ] == [True, False]


async def test_a_post_that_was_sent_in_a_region_stays_visible_there(site):
    """Also once the schedule names that region no more."""
    await plan(site, POST)
    await plan(site, warning("refund", to='["platform:tieba"]', when=SOON))
    client = await site.signed_in("viewer@beijing-weibo")
    assert (await client.get("/posts/refund")).status_code == 200


async def test_f90_an_act_on_several_counts_as_so_many(site, monkeypatch):
    """Each item of an act on several counts, and each written remark; an empty one does not."""
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_SESSION", 4)
    await plan(site, POST)
    client = await site.signed_in("operator", "approver")
    several = {"item": [f"refund {number}" for number in range(3)], "reason": "演练"}
    remarks = {f"remark.{number}": "" for number in range(9)}
    answers = [
        await client.post("/bulk/retract", data=several),
        await client.post("/approve/refund/return", data=remarks),
        await client.post("/posts/refund/pause", data={"reason": "演练"}),
    ]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]


async def test_f90_a_stolen_session_uses_up_no_actions_of_its_owner(site, monkeypatch):
    """The owner signs in again and pauses; all sessions of a user have a limit as well."""
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_SESSION", 2)
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_USER", 6)
    await site.signed_in("operator", name="李")
    clients = [
        site.client(
            {
                "publisher_session": await site.store.sign_ins.start_session(
                    "李", "address 127.0.0.1", named_person("李")
                )
            }
        )
        for _number in range(4)
    ]
    answers = [
        [
            (await client.post("/pause", data={"reason": "演练"})).status_code
            for _number in range(3)
        ]
        for client in clients
    ]
    assert answers == [[303, 303, 429]] * 3 + [[429] * 3]


async def test_f90_one_large_act_of_a_stolen_session_leaves_its_owner_the_rest(site):
    """It counts for the user no more than a session has, and pauses and sign-outs by themselves."""
    thief = await site.signed_in("operator", "author", name="李")
    session = await site.store.sign_ins.start_session(
        "李", "address 127.0.0.1", named_person("李")
    )
    owner = site.client({"publisher_session": session})
    items = {"item": [str(number) for number in range(1_500)]}
    for _number in range(2):
        await thief.post("/posts/nothing/pause", data=items)
    for path in ("/urgent", "/me/sessions", "/pause", "/logout"):
        answer = await owner.post(path, data={"reason": "真"})
        assert answer.status_code != 429, path


async def test_f90_pauses_have_a_number_of_their_own(site, monkeypatch):
    """However much else the sessions of a user have done, the owner can pause everything."""
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_SESSION", 1)
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_USER", 1)
    client = await site.signed_in("operator")
    answers = [
        await client.post(path, data={"reason": "演练"})
        for path in ("/posts/nothing/pause", "/posts/nothing/pause", "/pause")
    ]
    assert [answer.status_code for answer in answers] == [404, 429, 303]


async def test_f90_one_user_fills_no_audit(site, monkeypatch):
    """Beyond a number a minute nothing is done. The page says so, and others go on."""
    monkeypatch.setattr(limits, "MAX_ACTIONS_OF_SESSION", 4)
    client = await site.signed_in("operator")
    other = await site.signed_in("operator", name="other")
    answers = [
        await client.post("/pause", data={"reason": "演练"}) for _number in range(6)
    ]
    assert [answer.status_code for answer in answers] == [303] * 4 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert "什么都没有做" in answers[-1].text
    of_user = select(AUDIT.c.id).where(
        AUDIT.c.name == "operator", AUDIT.c.event == "paused"
    )
    entries = await site.store.database.read(
        lambda connection: connection.scalars(of_user).all()
    )
    assert len(entries) == 4
    assert (await other.post("/pause", data={"reason": "演练"})).status_code == 303


async def test_f90_searches_of_the_audit_leave_readers_to_others(site):
    """Only so many pages of the audit read at once; another waits, and other pages do not."""
    client = await site.signed_in("operator")
    readers = site.app.state.site.audit_readers
    for _number in range(MAX_AUDIT_READERS):
        await readers.acquire()
    waiting = asyncio.create_task(client.get("/audit"))
    assert (await client.get("/today")).status_code == 200
    assert not waiting.done()
    readers.release()
    assert (await waiting).status_code == 200
