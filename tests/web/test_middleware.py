"""What every request passes: other sites are refused, and every response limits what a browser does with it."""

import asyncio

from publisher.web import middleware
from publisher.web.middleware import CONTENT_SECURITY_POLICY, MAX_BODY_BYTES
from tests.wait import eventually

UPLOAD_HEADERS = {"content-type": "multipart/form-data; boundary=x"}
UPLOAD = b'--x\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + b"x" * (
    MAX_BODY_BYTES + 1
)


async def test_other_sites_change_nothing(site):
    """A form of another site, or of another port of this machine, is refused; one of our own pages is not."""
    client = await site.signed_in("author")
    refused = [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:9999"},
    ]
    statuses = [(await client.post("/pause", headers=headers)).status_code for headers in refused]
    assert statuses == [403, 403, 403]
    assert await site.store.queries.pauses() == []
    own = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8700"}
    assert (await client.post("/pause", headers=own)).status_code == 303


async def test_another_server_on_this_machine_reads_nothing(site):
    """All ports of a host share their cookies, so even a read by a page of another port is refused."""
    client = await site.signed_in("author")
    other = await client.get("/today", headers={"sec-fetch-site": "same-site"})
    foreign_name = await client.get("/today", headers={"host": "rebound.example:8700"})
    link_in_a_chat = await client.get("/today", headers={"sec-fetch-site": "cross-site"})
    assert other.status_code == foreign_name.status_code == 403
    assert link_in_a_chat.status_code == 200


async def test_every_response_limits_the_browser(site):
    """Pages and refusals carry the policy that lets no script but ours run."""
    client = await site.signed_in("author")
    answers = [await client.get("/today"), await client.get("/none"), await client.get("/login")]
    assert {answer.headers["content-security-policy"] for answer in answers} == {CONTENT_SECURITY_POLICY}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    assert "style=" not in answers[0].text


async def test_static_files_are_kept_for_a_year(site):
    """An address of a file carries its hash, and browsers need not ask again."""
    client = await site.signed_in("author")
    page = (await client.get("/today")).text
    path = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    answer = await client.get(path)
    assert answer.status_code == 200
    assert "max-age=31536000" in answer.headers["cache-control"]
    assert (await client.get(path.replace("/style", "/none"))).status_code == 404


async def test_a_body_larger_than_any_form_is_refused(site):
    """More than a form of ours can hold is not read."""
    client = await site.signed_in("author")
    answer = await client.post("/pause", data={"reason": "x" * 2**20})
    assert answer.status_code == 413


async def test_who_goes_before_the_end_of_a_form_is_no_error(site):
    """A flood of forms that never end, and are closed for others, fills no log with failures of ours."""
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8700"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers, "query_string": b""}
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


async def test_only_forms_with_pictures_take_large_bodies(site):
    """Elsewhere nobody fills the disk with what no form has, signed in or not."""
    await site.add_user("王", "author")
    client = site.client()
    paths = ("/login", "/write/check", "/write")
    answers = [await client.post(path, content=UPLOAD + b"\r\n--x--\r\n", headers=UPLOAD_HEADERS) for path in paths]
    assert [answer.status_code for answer in answers] == [413, 413, 401]


async def test_so_many_uploads_are_received_at_once(site, monkeypatch):
    """A peer has a few, all peers some more; a refused one may come again, and forms without pictures do not count."""
    monkeypatch.setattr(middleware, "MAX_UPLOADS_PER_PEER", 2)
    monkeypatch.setattr(middleware, "MAX_UPLOADS", 3)
    await site.add_user("王", "author")
    go, begun, statuses, tasks = asyncio.Event(), [], {}, []

    async def send(name):
        yield UPLOAD
        begun.append(name)  # it is asked for more
        await go.wait()
        yield b"\r\n--x--\r\n"

    async def upload(name):
        answer = await peers[name[0]].post("/write", content=send(name), headers=UPLOAD_HEADERS)
        statuses[name] = answer.status_code

    peers = {name: site.client(address=f"10.0.0.{number}") for number, name in enumerate("abc", 1)}
    for name in ("a1", "a2", "a3", "b1", "c1"):
        tasks.append(asyncio.create_task(upload(name)))
        await eventually(lambda: len(begun) + len(statuses) == len(tasks), 5)
    text = (await peers["a"].post("/write", data={"title": "x"})).status_code
    go.set()
    await asyncio.gather(*tasks)
    await upload("c2")
    assert statuses == {"a1": 401, "a2": 401, "a3": 503, "b1": 401, "c1": 503, "c2": 401}
    assert text == 401
