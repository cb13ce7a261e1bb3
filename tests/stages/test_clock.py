"""The machine's clock is set while a daemon runs: what is told, and what does not happen."""

import asyncio
from datetime import timedelta

import pytest

from publisher.daemon import Daemon
from publisher.delivering import deliver, deliver_due
from publisher.domain.delivery import State
from publisher.domain.outcome import Published, Unknown
from publisher.domain.post import PostId
from publisher.keeping import heed, keep
from publisher.messages import Messages
from publisher.reviewing import person
from publisher.settings import parse_settings
from publisher.store.alarms import CLOCK, Alarms
from publisher.store.board import Board
from publisher.store.intents import Declined
from publisher.store.orders import Orders
from publisher.store.rounds import HORIZON
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START
from publisher.wiring.application import _may_go, open_application
from tests.stages.test_delivering import beat, run_on, stage, state_of
from tests.stages.test_planning import SETTINGS, entry

HOUR = timedelta(hours=1)


async def told(books):
    return [(alert.code, *alert.facts.values()) for alert in await Board(books).alerts()]


async def test_f60_a_clock_that_goes_back_is_told(open_desk, world):
    """F60: more than two seconds are told, once; less is what clocks do."""
    desk = await open_desk()
    alarms = Alarms(desk.books)
    for jump, expected in ((timedelta(seconds=-1), []), (-HOUR, [("clock_back", "3600")])):
        world.jump(jump)
        await heed(alarms)
        await heed(alarms)
        assert await told(desk.books) == expected


async def test_f60_nothing_is_sent_twice_when_the_clock_goes_back(open_desk, world):
    """F60: what was sent before its instant came a second time is not sent again."""
    desk, fake, adapters = await stage(open_desk, "a")
    post = post_of("p", ["a"], START)
    await file_posts(desk.registry, post)
    await beat(desk, adapters)
    world.jump(-2 * HOUR)
    await file_posts(desk.registry, post)
    await run_on(desk, adapters, world, minutes=180, step=timedelta(minutes=10))
    assert len(fake.calls) == 1


async def test_f60_what_was_due_gives_its_login_back_until_it_is_due_again(open_desk, world):
    """F60: after the clock went back it does not wait with its login taken; what is urgent now goes out."""
    desk, _fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("routine", ["a"], START))
    await desk.rounds.ripen()
    world.jump(-HOUR)
    [lease] = await desk.outbox.claim(1)
    delivering = asyncio.create_task(deliver(lease, desk.outbox, adapters, asyncio.Event()))
    await asyncio.sleep(0)
    world.pass_time(HORIZON)
    async with asyncio.timeout(20):
        await delivering
    await file_posts(desk.registry, post_of("urgent", ["a"], world.now(), is_urgent=True))
    await beat(desk, adapters)
    assert (await state_of(desk, "urgent")).state is State.PUBLISHED


async def test_f60_a_pause_is_seen_before_the_first_byte_though_the_clock_has_gone_back(open_desk, world):
    """F60: a clock that went back cannot make an old intent look fresh; people are asked for once more."""
    desk, _fake, _adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    parcel = await desk.outbox.intend(lease)
    world.jump(-HOUR)
    assert await _may_go(desk.outbox, parcel)
    await Orders(desk.books).pause("all", person("li"), "drill")
    assert not await _may_go(desk.outbox, parcel)


@pytest.mark.parametrize("jump", [pytest.param(-HOUR, id="F60-back"), pytest.param(HOUR, id="F61-ahead")])
async def test_a_lease_in_hand_runs_by_the_clock_that_never_jumps(open_desk, world, jump):
    """A jump neither ends a call's lease nor stretches it: its result is taken in time, and a lost one is a doubt."""
    desk, fake, _adapters = await stage(open_desk, "a", "b")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    parcel = await desk.outbox.intend(lease)
    world.jump(jump)
    assert await desk.rounds.lapse() == 0
    after = await desk.outbox.settle(lease, Published(receipt=fake.post(parcel)))
    assert after.state is State.PUBLISHED
    await file_posts(desk.registry, post_of("q", ["b"], world.now()))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    world.jump(jump)
    world.pass_time(desk.books.patience("b").lease)
    assert await desk.rounds.lapse() == 1


async def outlived(open_desk, world):
    """Claim the one due delivery, and let its lease run out."""
    desk, fake, _adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    world.pass_time(lease.until - world.now())
    return desk, fake, lease


async def test_f15_a_round_on_its_way_does_not_end_the_lease_of_a_call_just_announced(open_desk, world):
    """F15: a worker that slept after its claim announces its call; a round begun before that leaves the call alone."""
    desk, fake, lease = await outlived(open_desk, world)
    parcel, ended = await asyncio.gather(desk.outbox.intend(lease), desk.rounds.lapse())
    assert ended == 0
    after = await desk.outbox.settle(lease, Published(receipt=fake.post(parcel)))
    assert after.state is State.PUBLISHED


async def test_f60_a_late_result_leaves_the_next_lease_in_hand(open_desk, world):
    """F60: whoever settles under a lost lease does not take the present one from under the clock that never jumps."""
    desk, _fake, lost = await outlived(open_desk, world)
    await desk.rounds.lapse()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    assert isinstance(await desk.outbox.intend(lost), Declined)
    world.jump(HOUR)
    assert await desk.rounds.lapse() == 0


async def test_f60_a_lease_of_nobody_here_runs_by_the_wall_clock(open_desk, world):
    """F60: what another worker has in hand is judged as before."""
    mine, other = await open_desk(worker="mine"), await open_desk(worker="other")
    await file_posts(mine.registry, post_of("p", ["a"], START))
    await mine.rounds.ripen()
    [lease] = await other.outbox.claim(1)
    assert await mine.rounds.lapse() == 0
    world.pass_time(lease.until - world.now())
    assert await mine.rounds.lapse() == 1


@pytest.fixture
async def daemon(tmp_path, world):
    """Give a daemon whose beats are called by hand, over a workspace of two Weibo accounts."""
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, world, sends=False) as application:
        yield Daemon(application, tmp_path / "schedule.toml", Messages(settings.lang), world.now())


async def posts_of(daemon):
    return {item.key.post for item in await daemon.application.board.deliveries()}


def write(daemon, *entries):
    daemon.schedule_file.write_text("".join(entries), "utf-8")


async def settled(daemon, world):
    """Let a daemon read its file though the world stands still."""
    reading = asyncio.create_task(daemon.read_schedule())
    for _ in range(500):
        await asyncio.sleep(0.01)
        world.pass_time(timedelta(seconds=1))
        if reading.done():
            break
    await reading


async def test_f61_planning_waits_for_a_person_when_the_clock_has_gone_far_ahead(daemon, world):
    """F61: nothing new is planned, no file is put in force, until a person resumes the clock."""
    await daemon.keep()
    world.jump(6 * 60 * timedelta(minutes=1))
    await daemon.keep()
    assert await told(daemon.application.board.books) == [("clock_ahead", "360")]
    write(daemon, entry("p"))
    await settled(daemon, world)
    await daemon.plan()
    assert await posts_of(daemon) == set()
    await daemon.application.orders.resume(CLOCK, person("li"))
    await settled(daemon, world)
    assert await posts_of(daemon) == {PostId("p")}
    assert await told(daemon.application.board.books) == []


async def test_f61_a_small_jump_stops_nothing(open_desk, world):
    """F61: five minutes are what a late time service may set right."""
    desk = await open_desk()
    alarms = Alarms(desk.books)
    world.jump(timedelta(minutes=5))
    await heed(alarms)
    assert (await alarms.is_clock_doubted(), await told(desk.books)) == (False, [])


@pytest.mark.parametrize("jump", [timedelta(minutes=3), HOUR])
async def test_f25_a_clock_set_ahead_makes_the_settle_time_no_shorter(open_desk, world, jump):
    """F25, F61: until the platform has had its time, by a clock that never jumps, no second call is made."""
    desk, fake, adapters = await stage(open_desk, "a")
    alarms = Alarms(desk.books)
    fake.script.append(Unknown(reason="timeout"))
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await beat(desk, adapters)
    world.pass_time(timedelta(minutes=1))
    world.jump(jump)
    await beat(desk, adapters)  # before anybody has seen to the clock
    await heed(alarms)
    await run_on(desk, adapters, world, minutes=8)
    assert len(fake.calls) == 1
    await run_on(desk, adapters, world, minutes=4)
    assert len(fake.calls) == 2


async def test_f61_what_is_late_by_the_new_clock_expires(open_desk, world):
    """F61: the rule for late posts applies to what was filed before: too late is not sent, and told."""
    desk, fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START + HOUR))
    world.jump(6 * HOUR)
    await keep(desk.rounds)
    await deliver_due(desk.outbox, adapters, 10, asyncio.Event())
    [delivery] = await Board(desk.books).deliveries(PostId("p"))
    assert (delivery.state, fake.calls) == (State.EXPIRED, [])
