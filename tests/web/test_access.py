"""Who may open which page: the table of routes for every role, sessions, and requests of other sites."""

import pytest

from publisher.domain.user import User, UserRole, may_somewhere, parse_grant
from publisher.web.routes import ROUTES


def reaches(role, permission):
    return may_somewhere(User(name="x", grants=(parse_grant(role),)), permission)


def path_of(route):
    """Return a path of the route, with names of things that do not exist."""
    return "/".join("none" if part.startswith("{") else part for part in route.path.split("/"))


@pytest.mark.parametrize("role", UserRole)
async def test_each_role_reaches_what_the_table_gives_it(site, role):
    """For every row of the table, a role is let in if it has the permission, and is refused otherwise."""
    wrong = []
    for route in ROUTES:
        if route.permission is None or route.name in {"log_out", "events"}:  # one ends the session, one never ends
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
        "/pause?next=//[",
    ],
)
async def test_an_address_that_makes_no_sense_is_no_error(site, path):
    """What nobody can mean is passed over."""
    client = await site.signed_in("operator")
    assert (await client.get(path)).status_code == 200


async def test_without_a_session_only_the_sign_in_is_open(site):
    """Who has not signed in is sent to the sign-in, and a form that was posted is not carried out."""
    await site.add_user("作者", "author")
    client = site.client()
    answers = {
        (route.method, route.path): (await client.request(route.method, path_of(route))).status_code
        for route in ROUTES
        if route.permission is not None
    }
    assert {status for (method, _path), status in answers.items() if method == "GET"} == {303}
    assert {status for (method, _path), status in answers.items() if method == "POST"} == {401}
    assert await site.store.queries.pauses() == []
