"""The middleware of every request.

Other sites are refused, and every response limits the browser's use of it.
"""

import asyncio

import pytest

from publisher.web.http import middleware
from publisher.web.http.middleware import (
    CONTENT_SECURITY_POLICY,
    HEADERS,
    MAX_BODY_BYTES,
)
from tests.wait import eventually

UPLOAD_HEADERS = {"content-type": "multipart/form-data; boundary=x"}
UPLOAD = (
    b'--x\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
    + b"x" * (MAX_BODY_BYTES + 1)
)


async def test_other_sites_change_nothing(site):
    """A form of another site, or of another port of this machine, is refused.

    A form of our own pages is not.
    """
    client = await site.signed_in("author")
    refused = [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:9999"},
    ]
    statuses = [
        (await client.post("/pause", headers=headers)).status_code
        for headers in refused
    ]
    assert statuses == [403, 403, 403]
    assert await site.store.queries.pauses() == []
    own = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8700"}
    assert (await client.post("/pause", headers=own)).status_code == 303


OWN, OTHER, PROXIED = (
    "http://own.example:8700",
    "https://evil.example",
    "https://fabu.example",
)


@pytest.mark.parametrize(
    ("method", "headers", "is_allowed"),
    [
        ("GET", {"sec-fetch-site": "cross-site", "origin": OTHER}, True),
        ("HEAD", {"origin": OTHER}, True),
        ("OPTIONS", {"origin": OTHER}, True),
        ("POST", {}, True),
        ("POST", {"sec-fetch-site": "same-origin", "origin": OWN}, True),
        ("POST", {"sec-fetch-site": "none"}, True),
        ("POST", {"sec-fetch-site": "same-site", "origin": OWN}, False),
        ("POST", {"sec-fetch-site": "cross-site"}, False),
        ("POST", {"sec-fetch-site": "", "origin": OWN}, False),
        ("POST", {"sec-fetch-site": "another"}, False),
        ("POST", {"origin": OWN}, True),
        ("POST", {"origin": OTHER}, False),
        ("POST", {"origin": "http://own.example"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": "null", "host": ""}, False),
        ("POST", {"origin": ""}, False),
        ("PUT", {"origin": OTHER}, False),
        ("DELETE", {"sec-fetch-site": "cross-site"}, False),
        ("get", {"origin": OTHER}, False),
        ("POST", {"origin": PROXIED}, True),
        ("POST", {"sec-fetch-site": "cross-site", "origin": PROXIED}, True),
        ("POST", {"origin": f"{PROXIED}.evil.example"}, False),
    ],
)
async def test_what_changes_something_comes_from_our_own_pages(
    method, headers, is_allowed
):
    """Sec-Fetch-Site decides, and where a browser sends none, Origin.

    Requests that change nothing pass, as do those of no browser and of the address behind a proxy.
    """
    reached, sent = [], []

    async def app(*_arguments):
        reached.append(True)

    async def send(message):
        sent.append(message.get("status"))

    given = {"host": "own.example:8700"} | headers
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "headers": raw}
    await middleware.SameOrigin(app, trusted_origins={PROXIED})(scope, None, send)
    assert (reached, sent[:1]) == (([True], []) if is_allowed else ([], [403]))


async def test_another_server_on_this_machine_reads_nothing(site):
    """Another server on this machine reads nothing, not even by a page of its port.

    All ports of a host share their cookies.
    """
    client = await site.signed_in("author")
    other = await client.get("/today", headers={"sec-fetch-site": "same-site"})
    foreign_name = await client.get("/today", headers={"host": "rebound.example:8700"})
    link_in_a_chat = await client.get(
        "/today", headers={"sec-fetch-site": "cross-site"}
    )
    assert other.status_code == foreign_name.status_code == 403
    assert link_in_a_chat.status_code == 200


async def test_every_response_limits_the_browser(site):
    """Pages and refusals carry the policy that lets no script but ours run."""
    client = await site.signed_in("author")
    answers = [
        await client.get("/today"),
        await client.get("/none"),
        await client.get("/login"),
    ]
    assert {answer.headers["content-security-policy"] for answer in answers} == {
        CONTENT_SECURITY_POLICY
    }
    assert {answer.headers["x-content-type-options"] for answer in answers} == {
        "nosniff"
    }
    assert "style=" not in answers[0].text


async def fail(*_arguments, **_named):
    raise RuntimeError


async def answer_with_500(site, monkeypatch):
    client = await site.signed_in("author")
    monkeypatch.setattr(site.store.queries, "titles", fail)
    monkeypatch.setattr(site.store.audit, "search", fail)
    return await client.get("/audit")


async def answer_without_database(site, monkeypatch):
    client = await site.signed_in("author")
    monkeypatch.setattr(site.store.sign_ins, "find_session", fail)
    return await client.get("/today")


async def answer_in_a_flood(site, monkeypatch):
    client = site.client()
    answers = [
        await client.post("/login", data={"name": "x", "password": "y"})
        for _ in range(12)
    ]
    return answers[-1]


ASKED = {
    400: lambda client: client.post(
        "/login", content=b"--x\r\nbad", headers={"content-type": "multipart/form-data"}
    ),
    403: lambda client: client.post(
        "/pause", headers={"origin": "https://evil.example"}
    ),
    404: lambda client: client.get("/static/none/none.css"),
    405: lambda client: client.put("/pause"),
    413: lambda client: client.post("/pause", data={"reason": "x" * 2**20}),
}


@pytest.mark.parametrize(("status", "ask"), ASKED.items(), ids=ASKED)
async def test_every_refusal_limits_the_browser(site, status, ask):
    """Every refusal has the headers of all other responses.

    It comes from routes, bodies or static files.
    """
    answer = await ask(await site.signed_in("author"))
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert ("allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(
    ("status", "ask"),
    [(500, answer_with_500), (500, answer_without_database), (429, answer_in_a_flood)],
)
async def test_every_error_limits_the_browser(site, monkeypatch, status, ask):
    """An error of ours has the headers too, and a reference.

    This holds even where the database gives no page.
    """
    answer = await ask(site, monkeypatch)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["content-type"].startswith("text/")


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"http://[",
        b"http://[::1",
        b"http://127.0.0.1:9999",
        b"http://127.0.0.1",
        b"\xff",
        "http://警".encode(),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bad_origin_is_refused_and_no_error(site, method, origin):
    """A bad origin gets a refusal with the usual headers, not an error.

    A browser would never send it, or only for another page.
    """
    client = await site.signed_in("author")
    answer = await client.request(method, "/pause", headers=[(b"origin", origin)])
    assert answer.status_code == 403
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert await site.store.queries.pauses() == []


@pytest.mark.parametrize("header", [b"host", b"sec-fetch-site"])
async def test_a_header_that_is_no_ascii_is_refused(site, header):
    """A header with any byte is compared, and no error."""
    client = await site.signed_in("author")
    answer = await client.request("POST", "/pause", headers=[(header, b"\xff")])
    assert answer.status_code == 403


async def test_pages_and_pictures_stay_in_no_browsers_files(site):
    """Pages and pictures are not kept by the browser.

    On a machine that several people use the next one finds nothing. Only files of ours are kept.
    """
    client = await site.signed_in("author", "auditor")
    answers = [
        await client.get(path) for path in ("/today", "/me", "/audit/export", "/none")
    ]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


async def test_signing_out_clears_what_the_browser_keeps(site):
    """Signing out clears cookie, cache and storage; a person's display preferences stay."""
    client = await site.signed_in("author")
    answer = await client.post("/logout")
    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    assert answer.headers["set-cookie"].startswith('publisher_session=""')


async def test_static_files_are_kept_for_a_year(site):
    """An address of a file carries its hash, and browsers need not ask again."""
    client = await site.signed_in("author")
    page = (await client.get("/today")).text
    path = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    answer = await client.get(path)
    assert answer.status_code == 200
    assert "max-age=31536000" in answer.headers["cache-control"]
    assert (await client.get(path.replace("/style", "/none"))).status_code == 404


@pytest.mark.parametrize(
    "content", ["reason=" + "x" * 2**20, "&" * 3_000], ids=["bytes", "fields"]
)
async def test_a_body_larger_than_any_form_is_refused(site, content):
    """More than a form of ours can hold is not read."""
    client = await site.signed_in("author")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/pause", content=content, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("charset", ["punycode", "utf-7", '"undefined"'])
async def test_f90_no_request_chooses_how_its_fields_are_decoded(site, charset):
    """Some codecs take the square of a field's length, and the whole dashboard would wait."""
    headers = {"content-type": f"multipart/form-data; charset={charset}; boundary=x"}
    content = (
        b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--x--\r\n'
    )
    answer = await site.client().post("/login", content=content, headers=headers)
    assert answer.status_code == 415


async def test_who_goes_before_the_end_of_a_form_is_no_error(site):
    """A visitor that leaves before the end of a form is no error.

    A flood of forms that never end, and are closed for others, fills no log with failures of ours.
    """
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [
        (b"host", b"127.0.0.1:8700"),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "headers": headers,
        "query_string": b"",
    }
    await site.app(scope, receive, send)
    assert [message.get("status") for message in sent] == [400, None]


async def test_pages_exist_in_both_languages(site):
    """The language is chosen by any page's address, and kept."""
    client = await site.signed_in("author")
    english = await client.get("/today?lang=en")
    kept = await client.get("/pause")
    assert '<html lang="en"' in english.text
    assert "Pause everything?" in kept.text
    assert "暂停" not in kept.text


async def test_what_people_type_is_never_markup(site):
    """A reason, a name of a search and a path come back as text, of all that people type."""
    client = await site.signed_in("operator", "admin")
    typed = '<img src=x onerror="alert(1)">'
    await client.post("/pause", data={"reason": typed})
    pages = [
        await client.get(path, params={"q": typed, "by": typed})
        for path in ("/today", "/audit", "/search", "/me")
    ]
    assert any("&lt;img src=x" in page.text for page in pages)
    assert [page.url.path for page in pages if "<img src=x" in page.text] == []


async def test_no_other_site_may_read_and_no_other_method_does_anything(site):
    """No origin is allowed to read a response, and there is no TRACE and no list of files."""
    client = await site.signed_in("author")
    answers = [
        await client.get("/today", headers={"origin": "http://127.0.0.1:8700"}),
        await client.options(
            "/today", headers={"access-control-request-method": "POST"}
        ),
        await client.request("TRACE", "/today"),
        await client.get("/static/"),
        await client.get("/static/vendor/"),
    ]
    assert [answer.status_code for answer in answers] == [200, 405, 405, 404, 404]
    assert [
        name
        for answer in answers
        for name in answer.headers
        if name.startswith("access-control")
    ] == []


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
    ],
)
async def test_a_sign_in_leads_to_no_other_site(site, target):
    """The target in an address decides only between pages of ours."""
    client = await site.signed_in("author")
    answer = await client.get("/login", params={"next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/today")


async def test_only_forms_with_pictures_take_large_bodies(site):
    """Only forms with pictures take large bodies.

    Nobody fills the disk through another form, signed in or not.
    """
    await site.add_user("王", "author")
    client = site.client()
    paths = ("/login", "/write/any/delete", "/write/check", "/write")
    answers = [
        await client.post(
            path, content=UPLOAD + b"\r\n--x--\r\n", headers=UPLOAD_HEADERS
        )
        for path in paths
    ]
    assert [answer.status_code for answer in answers] == [413, 413, 401, 401]


async def test_f90_bodies_that_are_never_finished_take_little_memory(site, monkeypatch):
    """Beyond a few of an address, and a few more of all without a session, they are refused.

    Small forms are not.
    """
    monkeypatch.setattr(middleware, "MAX_UNFINISHED_EACH", 1)
    monkeypatch.setattr(middleware, "MAX_UNFINISHED", 2)
    go, begun, statuses, tasks = asyncio.Event(), [], {}, []

    async def send(name, size):
        yield b"name=" + b"x" * size
        begun.append(name)  # it is asked for more
        await go.wait()
        yield b"&password=y"

    async def post(name, size):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await peers[name[0]].post(
            "/login", content=send(name, size), headers=headers
        )
        statuses[name] = answer.status_code

    peers = {
        name: site.client(address=f"10.0.0.{number}")
        for number, name in enumerate("abc", 1)
    }
    peers["x"] = await site.signed_in("author", name="x")
    for name, size in (
        ("a1", 99_999),
        ("a2", 99_999),
        ("b1", 99_999),
        ("c1", 99_999),
        ("c2", 999),
        ("x1", 99_999),
    ):
        tasks.append(asyncio.create_task(post(name, size)))
        await eventually(lambda: len(begun) + len(statuses) == len(tasks), 5)
    assert statuses == {"a2": 503, "c1": 503}
    go.set()
    await asyncio.gather(*tasks)
    assert {name for name, status in statuses.items() if status == 503} == {"a2", "c1"}


async def test_so_many_uploads_are_received_at_once(site, monkeypatch):
    """The number of simultaneous uploads is bounded.

    A user has a few, and so have all visitors without a session together. They take no place of
    users, not even of a later one.
    """
    monkeypatch.setattr(middleware, "MAX_UPLOADS_EACH", 2)
    monkeypatch.setattr(middleware, "MAX_UPLOADS", 3)
    monkeypatch.setattr(middleware, "MAX_UPLOADS_WITHOUT_SESSION", 3)
    go, begun, statuses, tasks = asyncio.Event(), [], {}, []

    async def send(name):
        yield UPLOAD
        begun.append(name)  # it is asked for more
        await go.wait()
        yield b"\r\n--x--\r\n"

    async def upload(name):
        answer = await peers[name[0]].post(
            "/write", content=send(name), headers=UPLOAD_HEADERS
        )
        statuses[name] = answer.status_code

    peers = {
        name: site.client(address=f"10.0.0.{number}")
        for number, name in enumerate("abc", 1)
    }
    peers |= {name: await site.signed_in("author", name=name) for name in "xyz"}
    for name in ("a1", "a2", "a3", "b1", "c1", "x1", "x2", "x3", "y1", "z1"):
        tasks.append(asyncio.create_task(upload(name)))
        await eventually(lambda: len(begun) + len(statuses) == len(tasks), 5)
    text = (await peers["a"].post("/write", data={"title": "x"})).status_code
    refused = {name for name, status in statuses.items() if status == 503}
    go.set()
    await asyncio.gather(*tasks)
    await upload("c2")
    await upload("x4")
    assert refused == {"a3", "c1", "x3", "z1"}
    assert {name for name, status in statuses.items() if status == 503} == refused
    assert text == 401
