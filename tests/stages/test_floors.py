"""A text of several floors on its way: with a platform that behaves, with one that does not, and by hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters._http import LoginHttp
from adapters.assisted import AssistedAdapter
from adapters.tieba import TIEBA
from adapters.tieba.traits import TRAITS as TIEBA_TRAITS
from publisher.contract import AdapterKit
from publisher.domain.account import Account, AccountId, Mode, Platform
from publisher.domain.delivery import State
from publisher.domain.outcome import Busy, HoldReason, Published, Rejected, Unknown
from publisher.domain.post import ONCE, OccurrenceKey, PostId
from publisher.domain.rendition import floor_sign, marker_for
from publisher.domain.terms import Terms
from publisher.reconciling import reconcile_due
from publisher.reviewing import Ruling, person, rule
from publisher.simulator import create_app
from publisher.store.board import Board
from publisher.store.orders import Orders
from publisher.store.parcels import last_parcels
from publisher.store.tasks import Tasks
from publisher.testing.builders import PATIENCE, QUOTA, file_posts, post_of, terms_of
from publisher.testing.fakes import START, TRAITS, FakeAdapter
from tests.adapters.conftest import Notes, NoTokens
from tests.stages.test_delivering import beat, run_on, state_of

A = AccountId("a")
HOST = "http://127.0.0.1:8710"
ME = "tb.1.beijing"


async def stage(open_desk, *, may_resend=True, mode=Mode.API):
    """Give a desk with one account that carries floors, and its platform."""
    terms = terms_of("a", traits=replace(TRAITS, most_floors=4, may_resend=may_resend))
    desk = await open_desk(replace(terms, account=replace(terms.account, mode=mode)))
    fake = FakeAdapter(now=desk.books.world.now, traits=terms.traits)
    return desk, fake, {A: fake}


def texts(fake):
    return [held.text for held in fake.posts.values()]


def wanted(total=3):
    marker = marker_for(OccurrenceKey(post=PostId("p"), label=ONCE), A)
    return [f"警惕诈骗〔{marker.code}〕", *(f"{floor_sign(marker, n, total)}其{n}" for n in range(2, total + 1))]


async def test_floors_go_out_one_after_the_other(open_desk, world):
    """All of it is published as one delivery, each floor once and in its order."""
    desk, fake, adapters = await stage(open_desk)
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    await run_on(desk, adapters, world, minutes=5)
    delivery = await state_of(desk)
    assert (delivery.state, delivery.receipt.remote_id, texts(fake)) == (State.PUBLISHED, "1", wanted())
    assert [parcel.under and parcel.under.remote_id for parcel in fake.calls] == [None, "1", "1"]


async def test_f24_a_floor_whose_reply_is_lost_is_found_again(open_desk, world):
    """Neither the post nor the floor is sent a second time."""
    desk, fake, adapters = await stage(open_desk)
    fake.script.extend([fake.lose_reply, fake.lose_reply, Busy(code="busy", reason="")])
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    await run_on(desk, adapters, world, minutes=6)
    assert ((await state_of(desk)).state, texts(fake), len(fake.calls)) == (State.PUBLISHED, wanted(), 4)


async def test_f21_a_floor_that_came_to_nothing_is_sent_again_where_that_is_allowed(open_desk, world):
    """After proven absence, once, and each floor for itself."""
    desk, fake, adapters = await stage(open_desk)
    fake.script.extend([Unknown(reason="lost"), fake_post(fake), Unknown(reason="lost")])
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=1)
    await run_on(desk, adapters, world, minutes=30)
    assert ((await state_of(desk)).state, texts(fake), len(fake.calls)) == (State.PUBLISHED, wanted(2), 4)


def fake_post(fake):
    return lambda parcel: Published(receipt=fake.post(parcel))


async def held_floor(open_desk, world):
    """Give a delivery whose second floor of three is not there, on a platform that forbids a second call."""
    desk, fake, adapters = await stage(open_desk, may_resend=False)
    fake.script.extend([fake_post(fake), Unknown(reason="lost")])
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    await run_on(desk, adapters, world, minutes=14)
    held = await state_of(desk)
    assert (held.state, held.reason, held.floors_done) == (State.HELD, HoldReason.ABSENT, 1)
    return desk, fake, adapters, held


async def test_a_person_sends_the_floor_again(open_desk, world):
    """`resend` speaks of the floor: the post is not sent again, and what follows goes on."""
    desk, fake, adapters, held = await held_floor(open_desk, world)
    await rule(desk.outbox, held, Ruling.RESEND, by="li", reason="not there")
    await run_on(desk, adapters, world, minutes=3)
    assert ((await state_of(desk)).state, texts(fake)) == (State.PUBLISHED, wanted())


async def test_a_person_says_that_the_floor_is_there(open_desk, world):
    """`live` looks; what it shows counts, and the next floor goes out. With a second person their word counts."""
    desk, fake, adapters, held = await held_floor(open_desk, world)
    after = await rule(
        desk.outbox, held, Ruling.PUBLISHED, by="li", second="wang", reason="both saw it", url="https://x.cn"
    )
    assert (after.state, after.floors_done, after.receipt.remote_id) == (State.DUE, 2, "1")
    await run_on(desk, adapters, world, minutes=3)
    assert ((await state_of(desk)).state, texts(fake)) == (State.PUBLISHED, [wanted()[0], wanted()[2]])


async def test_a_person_leaves_half_of_it_or_takes_it_down(open_desk, world):
    """`not-published` leaves the question open, `cancel` what is live, and a retraction nothing (F77)."""
    desk, fake, adapters, held = await held_floor(open_desk, world)
    asked = await rule(desk.outbox, held, Ruling.NOT_PUBLISHED, by="li", reason="not there")
    assert (asked.state, asked.reason) == (State.HELD, HoldReason.INCOMPLETE)
    left = await rule(desk.outbox, asked, Ruling.CANCEL, by="li", reason="enough")
    assert (left.state, left.is_incomplete) == (State.PUBLISHED, True)
    await run_on(desk, adapters, world, minutes=3)
    assert (len(fake.calls), len(fake.posts)) == (2, 1)
    await Orders(desk.books).retract("p", None, person("li"), "wrong")
    await run_on(desk, adapters, world, minutes=1)
    assert ((await state_of(desk)).state, fake.posts) == (State.RETRACTED, {})


async def test_f45_a_refused_floor_is_told(open_desk, world):
    """Its words are refused for good: the post stands, and a person is asked, with an alert."""
    desk, fake, adapters = await stage(open_desk)
    fake.script.extend([fake_post(fake), Rejected(code="20021", reason="illegal")])
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=2)
    await run_on(desk, adapters, world, minutes=3)
    assert ((await state_of(desk)).reason, len(fake.calls)) == (HoldReason.INCOMPLETE, 2)
    assert [alert.code for alert in await Board(desk.books).alerts()] == ["held.incomplete"]


async def test_floors_by_hand_are_a_task_each(open_desk, world):
    """A person is handed one floor at a time, with the post to go under, and each is looked for."""
    desk, fake, _adapters = await stage(open_desk, mode=Mode.ASSISTED)
    adapters = {A: AssistedAdapter(own=fake, now=world.now)}
    await file_posts(desk.registry, post_of("p", ["a"], START), floors=1)
    tasks = Tasks(desk.books)
    for number, text in enumerate(wanted(2)):
        await run_on(desk, adapters, world, minutes=1)
        [task] = await tasks.open()
        assert (task.floor, task.text) == (number, text)
        doubts = await desk.outbox.doubts([State.SUBMITTED], 10)
        parcel = doubts[0].parcel if doubts else await parcel_of(desk)
        fake.post(replace(parcel, is_by_hand=True))
        await tasks.report(task.delivery.id, "https://fake.example/1", person("li"))
        await beat(desk, adapters)
    assert ((await state_of(desk)).state, len(fake.calls)) == (State.PUBLISHED, 0)


async def parcel_of(desk):
    """Give the parcel of the only delivery's newest attempt."""
    delivery = await state_of(desk)
    return await desk.books.database.read(lambda connection: last_parcels(desk.books, connection, [delivery])[0])


@pytest.fixture
async def simulated(open_desk, world) -> AsyncIterator:
    """Give the desk and adapter of a Tieba account on a simulator, and the way to its control endpoints."""
    world.clock = datetime.now(UTC)
    transport = httpx.ASGITransport(app=create_app())
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        account = Account(
            id=A,
            platform=Platform("tieba"),
            identity=ME,
            secret="t",
            base_url=HOST,
            forum="天气",
            has_accepted_risk=True,
        )
        made = await control.post("/_sim/accounts", json={"platform": "tieba", "account": ME, "forums": ["天气"]})
        http = LoginHttp(
            transport=transport,
            deadline=timedelta(seconds=5),
            monotonic=world.monotonic,
            failpoint=lambda _name: None,
            allow=lambda host: host == "127.0.0.1",
            sleep=nothing,
        )
        kit = AdapterKit(
            http=http, secret=made.json, tokens=NoTokens(), notes=Notes(), now=world.now, failpoint=nothing
        )
        desk = await open_desk(Terms(account=account, traits=TIEBA_TRAITS, quota=QUOTA, patience=PATIENCE))
        yield desk, {A: TIEBA.create(account, kit)}, control


async def nothing(_what: object) -> None:
    return


async def acts(control):
    log = (await control.get("/_sim/log")).json()
    return [(entry["post_id"], entry.get("thread")) for entry in log if entry["kind"] == "act"]


async def test_f24_every_lost_reply_on_tieba_is_found_by_reading(simulated, world):
    """Thread and floors are adopted by what anybody sees of them; none is made twice."""
    desk, adapters, control = simulated
    fault = {"platform": "tieba", "fault": {"kind": "status", "code": 504, "acts": True}}
    for endpoint in ("/c/c/thread/add_pc", "/c/c/post/add_pc"):
        await control.post("/_sim/faults", json={**fault, "endpoint": endpoint, "times": 2})
    await file_posts(desk.registry, post_of("p", ["a"], world.now(), title="警惕诈骗电话"), floors=2)
    await beat(desk, adapters)
    await run_on(desk, adapters, world, minutes=10)
    delivery = await state_of(desk)
    [thread] = (await control.get("/_sim/posts")).json()
    assert (delivery.state, delivery.attempts, delivery.receipt.remote_id) == (State.PUBLISHED, 3, thread["id"])
    assert [under for _, under in await acts(control)] == [None, thread["id"], thread["id"]]


async def test_f46_a_floor_in_review_keeps_the_next_one_waiting(simulated, world):
    """Seen by its author only, it is not published; when it passes, the rest follows."""
    desk, adapters, control = simulated
    hold = {"kind": "review", "verdict": "hold", "seconds": 9999}
    await control.post("/_sim/faults", json={"endpoint": "/c/c/post/add_pc", "times": 1, "fault": hold})
    await file_posts(desk.registry, post_of("p", ["a"], world.now(), title="警惕诈骗电话"), floors=2)
    await run_on(desk, adapters, world, minutes=10)
    waiting = await state_of(desk)
    assert (waiting.state, waiting.floors_done, len(await acts(control))) == (State.SUBMITTED, 1, 2)
    await control.post("/_sim/review", json={"account": ME, "verdict": "pass"})
    await run_on(desk, adapters, world, minutes=40, step=timedelta(minutes=1))
    assert (await state_of(desk)).state is State.PUBLISHED


async def test_a_thread_that_is_gone_takes_no_floor(simulated, world):
    """F48: removed between two floors: the next is refused, the account goes on, and a person decides."""
    desk, adapters, control = simulated
    await control.post("/_sim/settings", json={"tieba_gap": 0})
    await file_posts(desk.registry, post_of("p", ["a"], world.now(), title="警惕诈骗电话"), floors=1)
    await beat(desk, adapters)
    world.pass_time(timedelta(seconds=10))
    await reconcile_due(desk.outbox, adapters, 10)
    assert (await state_of(desk)).state is State.DUE
    [thread] = (await control.get("/_sim/posts")).json()
    await control.delete(f"/_sim/posts/{thread['id']}")
    await run_on(desk, adapters, world, minutes=2)
    held = await state_of(desk)
    assert (held.state, held.reason) == (State.HELD, HoldReason.INCOMPLETE)
    assert await Board(desk.books).pauses() == []
    await Orders(desk.books).retract("p", None, person("li"), "gone anyway")
    await run_on(desk, adapters, world, minutes=1)
    assert (await state_of(desk)).state is State.RETRACTED
