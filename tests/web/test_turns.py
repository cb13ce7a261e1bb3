"""F90: requests begin in turns, so that a flood of one client waits for itself."""

import asyncio

import pytest

from publisher.web.kit.turns import (
    CHUNK_BYTES,
    LARGE_RESPONSE_BYTES,
    PLACES,
    PLACES_OF_USER,
    TURN,
    FairTurns,
    RequestTurn,
)


class Pages:
    """An application that is at work on requests until it is let go on."""

    def __init__(self):
        self.working, self.go_on = [], asyncio.Event()

    async def __call__(self, scope, receive, send):
        await receive()
        self.working.append(scope["path"])
        await self.go_on.wait()
        self.working.remove(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})


async def look_up(scope):
    return scope["looked up"]


class TurnSite:
    """Turns before pages, and the requests that were sent to them."""

    def __init__(self):
        self.pages = Pages()
        self.turns = FairTurns(
            self.pages,
            find_session=lambda scope: scope["session"],
            find_known_user=lambda scope: scope["user"],
            find_user=look_up,
        )
        self.sent = []

    async def send(
        self,
        path,
        *,
        user="",
        session="",
        peer="127.0.0.2",
        method="GET",
        receive=None,
        found="",
        reads=None,
    ):
        """Send a request, let everything go as far as it can, and return the request's scope."""
        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "user": user,
            "session": session,
            "client": (peer, 1),
        }
        scope["looked up"] = found

        async def receive_all():
            return {"type": "http.request", "more_body": False}

        async def ignore(_message):
            if reads is not None:
                await reads.wait()

        self.sent.append(
            asyncio.create_task(self.turns(scope, receive or receive_all, ignore))
        )
        await run_ready_tasks()
        return scope


async def run_ready_tasks():
    """Let all tasks go as far as they can: none waits for anything but others."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def site():
    site = TurnSite()
    yield site
    for task in site.sent:
        task.cancel()
    await asyncio.gather(*site.sent, return_exceptions=True)


async def test_a_flood_of_one_user_takes_no_place_of_another(site):
    """A flood of one user takes no place of another.

    Few requests of one user are worked on at once, and requests of others begin at once.
    """
    for number in range(20):
        await site.send(f"flood-{number}", user="囤")
    await site.send("pause", user="操作员")
    await site.send("login")
    assert site.pages.working == [
        *(f"flood-{number}" for number in range(PLACES)),
        "pause",
        "login",
    ]


async def test_clients_that_do_not_read_hold_no_place(site):
    """A response waits for its client; nobody else does."""
    site.pages.go_on.set()
    for number in range(2 * PLACES):
        await site.send(f"unread-{number}", reads=asyncio.Event())
    site.pages.go_on.clear()
    await site.send("login")
    assert site.pages.working == ["login"]


async def test_a_user_that_does_not_read_has_few_large_responses_in_memory():
    """A large response keeps its user's place until it is sent, in chunks; others go on."""
    made, chunks, reads = [], [], asyncio.Event()

    async def pages(scope, _receive, send):
        body = bytes(2 * LARGE_RESPONSE_BYTES)
        made.append(scope["user"])
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def send(message):
        await reads.wait()
        chunks.append(len(message.get("body", b"")))

    turns = FairTurns(
        pages,
        find_session=lambda scope: scope["session"],
        find_known_user=lambda scope: scope["user"],
        find_user=look_up,
    )
    scopes = [
        {
            "type": "http",
            "path": "/",
            "method": "GET",
            "user": user,
            "session": f"of {user}",
            "client": ("127.0.0.2", 1),
        }
        for user in ["囤"] * 20 + ["操作员"]
    ]
    sent = [asyncio.create_task(turns(scope, None, send)) for scope in scopes]
    await run_ready_tasks()
    assert made == ["囤"] * PLACES + ["操作员"]
    reads.set()
    await asyncio.gather(*sent)
    assert len(made) == 21
    assert max(chunks) == CHUNK_BYTES
    assert sum(chunks) == 21 * 2 * LARGE_RESPONSE_BYTES


async def test_a_stolen_session_takes_no_place_of_its_owners_next_one(site):
    """All sessions of a user together have few places, and one of them only a part of these."""
    for number in range(20):
        await site.send(f"stolen-{number}", user="值班", session="stolen")
    await site.send("pause", user="值班", session="new")
    assert site.pages.working == [
        *(f"stolen-{number}" for number in range(PLACES)),
        "pause",
    ]
    for number in range(20):
        await site.send(f"other-{number}", user="值班", session=str(number))
    assert len(site.pages.working) == PLACES_OF_USER
    site.pages.go_on.set()
    await run_ready_tasks()
    assert site.pages.working == []
    assert site.turns.of_users == {}


async def test_a_session_that_is_new_takes_no_place_of_others_once_it_is_looked_up(
    site,
):
    """A new session works in the places of its user once it is looked up.

    A user that signs in again and again takes no place of others.
    """
    for number in range(20):
        await site.send(f"flood-{number}", user=None, found="囤")
    await site.send("login")
    assert site.pages.working == [
        *(f"flood-{number}" for number in range(PLACES)),
        "login",
    ]


async def test_clients_without_a_session_get_places_in_turns(site):
    """Clients without a session get places in turns.

    A client with one request waits for one of each other client, not for all of theirs.
    """
    for number in range(20):
        await site.send(f"flood-{number}", peer="127.0.0.3")
    await site.send("login", peer="127.0.0.4")
    site.pages.go_on.set()
    site.pages.go_on.clear()
    await run_ready_tasks()
    assert "login" in site.pages.working
    assert len(site.pages.working) == PLACES


@pytest.mark.parametrize("end", ["gone", "cancelled"])
async def test_a_request_that_ends_in_the_queue_is_not_worked_on(site, end):
    """Its place in the queue goes to the next one."""
    for number in range(PLACES):
        await site.send(f"flood-{number}")
    waiting = await site.send("waiting")
    queued = waiting[TURN].is_queued
    await site.send("next")
    if end == "gone":
        waiting[TURN].end()
    else:
        site.sent[-2].cancel()
    site.pages.go_on.set()
    site.pages.go_on.clear()
    await run_ready_tasks()
    assert queued
    assert site.pages.working == ["next"]


async def test_a_request_whose_body_is_awaited_takes_no_place(site):
    """Slow forms hold up nobody; with its last part a form waits for its turn again."""
    body = asyncio.Event()

    async def receive_late():
        await body.wait()
        return {"type": "http.request", "more_body": False}

    for number in range(PLACES):
        await site.send(f"slow-{number}", method="POST", receive=receive_late)
    await site.send("quick")
    before = list(site.pages.working)
    body.set()
    await run_ready_tasks()
    assert before == ["quick"]
    assert len(site.pages.working) == PLACES


async def test_a_response_gives_its_place_back_with_its_first_part(site):
    """A live page that stays open takes none."""
    for number in range(PLACES):
        await site.send(f"live-{number}")
    site.pages.go_on.set()
    await run_ready_tasks()
    assert site.turns.of_others.taken.total() == 0


async def test_a_place_given_to_a_request_that_is_cancelled_at_once_goes_on(site):
    """A place given to a request that is cancelled at once goes on: no place is lost."""
    for number in range(PLACES):
        await site.send(f"flood-{number}")
    waiting: RequestTurn = (await site.send("waiting"))[TURN]
    await site.send("next")
    site.turns.of_others.give_back("127.0.0.2")
    site.sent[-2].cancel()
    await run_ready_tasks()
    assert not waiting.is_queued
    assert "next" in site.pages.working
