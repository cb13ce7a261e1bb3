"""The machine's clock is set, while a daemon runs or before it starts: what is told, and what does not happen."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from publisher.daemon import Daemon
from publisher.delivering import deliver, deliver_due
from publisher.domain.delivery import State
from publisher.domain.outcome import Gone, Published, RateLimited, Unknown
from publisher.domain.patience import DEATH_SPREAD
from publisher.domain.post import PostId
from publisher.keeping import heed, keep, settle_the_dead
from publisher.messages import Messages
from publisher.reviewing import person
from publisher.settings import parse_settings
from publisher.store.alarms import ALERT_AFTER, Alarms, tell_again
from publisher.store.board import Board
from publisher.store.breaker import PUZZLING
from publisher.store.intents import Declined
from publisher.store.orders import Orders
from publisher.store.rounds import HORIZON
from publisher.store.rows import HEALTH, LOGIN, PAUSE, WATCH
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START, FakeAdapter
from publisher.wiring.application import _may_go, open_application
from tests.stages.test_delivering import beat, run_on, stage, state_of
from tests.stages.test_planning import SETTINGS, entry

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def told(books):
    return [(alert.code, *alert.facts.values()) for alert in await Board(books).alerts()]


def confirm(world):
    world.confirm_clock(world.clocks())


@pytest.mark.parametrize(("jump", "code"), [(-HOUR, "clock_back"), (HOUR, "clock_ahead")], ids=["F60", "F61"])
async def test_a_clock_that_is_set_is_told(open_desk, world, jump, code):
    """F60, F61: more than two seconds are told, once; less is what clocks do."""
    desk = await open_desk()
    alarms = Alarms(desk.books)
    for by, expected in ((timedelta(seconds=1), []), (jump, [(code, "worker-1", f"{3600 + jump // HOUR}")])):
        world.jump(by)
        await heed(alarms)
        await heed(alarms)
        assert await told(desk.books) == expected


async def test_people_are_alerted_while_the_clock_stays_in_doubt(open_desk, world):
    """F60, F61: after ten seconds, with what the platforms' clocks say where that is known; until it is confirmed."""
    desk = await open_desk()
    alarms = Alarms(desk.books)
    world.jump(HOUR)
    await heed(alarms)
    jumped = ("clock_ahead", "worker-1", "3600")
    for seconds, expected in ((9, [jumped]), (2, [jumped, ("clock_unconfirmed", "worker-1")])):
        world.pass_time(timedelta(seconds=seconds))
        await heed(alarms)
        assert sorted(await told(desk.books)) == sorted(expected)
    world.hear_date("Wed, 25 Nov 2026 01:00:11 GMT", world.monotonic())
    await heed(alarms)
    await heed(alarms)
    assert sorted(await told(desk.books)) == [jumped, ("clock_wrong", "worker-1", "+3600")]
    for date, apart in (("01:00:06", 3600), ("00:30:11", 5400)):  # a platform some seconds behind; a clock set on
        world.hear_date(f"Wed, 25 Nov 2026 {date} GMT", world.monotonic())
        await heed(alarms)
        assert sorted(await told(desk.books)) == [jumped, ("clock_wrong", "worker-1", f"+{apart}")]
    confirm(world)
    await heed(alarms)
    assert await told(desk.books) == [jumped]


async def test_an_alert_of_the_life_before_ends_when_the_clock_is_confirmed(open_desk, world):
    """Whoever starts next closes what its predecessor left open."""
    desk = await open_desk()
    world.doubt_clock()
    world.pass_time(ALERT_AFTER)
    await heed(Alarms(desk.books))
    assert [code for code, *_ in await told(desk.books)] == ["clock_unconfirmed"]
    confirm(world)
    await heed(Alarms(desk.books))
    assert await told(desk.books) == []


async def test_f60_nothing_is_sent_twice_when_the_clock_goes_back(open_desk, world):
    """F60: what was sent before its instant came a second time is not sent again."""
    desk, fake, adapters = await stage(open_desk, "a")
    post = post_of("p", ["a"], START)
    await file_posts(desk.registry, post)
    await beat(desk, adapters)
    world.jump(-2 * HOUR)
    confirm(world)
    await file_posts(desk.registry, post)
    await run_on(desk, adapters, world, minutes=180, step=timedelta(minutes=10))
    assert len(fake.calls) == 1


async def test_f60_what_was_due_gives_its_login_back_until_it_is_due_again(open_desk, world):
    """F60: after the clock went back it does not wait with its login taken; what is urgent now goes out."""
    desk, _fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("routine", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    world.jump(-HOUR)
    confirm(world)
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
    await file_posts(desk.registry, replace(post_of("p", ["a"], START - 2 * HOUR), max_delay=5 * HOUR))
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
    confirm(world)
    await file_posts(desk.registry, post_of("q", ["b"], world.now()))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    world.jump(jump)
    world.pass_time(desk.books.patience("b").lease_timeout)
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
    world.pass_time(DEATH_SPREAD)
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


@pytest.mark.parametrize("jump", [pytest.param(-HOUR, id="F60-back"), pytest.param(6 * HOUR, id="F61-ahead")])
async def test_planning_waits_until_the_clock_is_confirmed(daemon, world, jump):
    """F60, F61: nothing new is planned, no file is put in force; once the clock is confirmed, both happen at once."""
    world.jump(jump)
    write(daemon, entry("p"))
    await settled(daemon, world)
    await daemon.plan()
    assert await posts_of(daemon) == set()
    confirm(world)
    confirming = asyncio.create_task(daemon.confirm_clock())
    while not confirming.done():
        await asyncio.sleep(0.01)
        world.pass_time(timedelta(seconds=1))
    await confirming
    assert await posts_of(daemon) == {PostId("p")}


async def doubted(open_desk, world):
    """Let a call end without an outcome."""
    desk, fake, adapters = await stage(open_desk, "a")
    fake.script.append(Unknown(reason="timeout"))
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await beat(desk, adapters)
    return desk, fake, adapters


@pytest.mark.parametrize("jump", [timedelta(minutes=3), HOUR])
async def test_f25_a_clock_set_ahead_makes_the_settle_time_no_shorter(open_desk, world, jump):
    """F25, F61: until the platform has had its time, by a clock that never jumps, no second call is made."""
    desk, fake, adapters = await doubted(open_desk, world)
    world.pass_time(MINUTE)
    world.jump(jump)
    await beat(desk, adapters)
    confirm(world)
    await run_on(desk, adapters, world, minutes=8)
    assert len(fake.calls) == 1
    await run_on(desk, adapters, world, minutes=4)
    assert len(fake.calls) == 2


async def test_f61_a_list_read_by_a_clock_in_doubt_proves_nothing(open_desk, world):
    """F61: what it shows is taken, what it does not show is no absence; afterwards two looks are needed as ever."""
    desk, _fake, adapters = await doubted(open_desk, world)
    world.jump(HOUR)
    await run_on(desk, adapters, world, minutes=12)
    assert ((await state_of(desk)).state, (await state_of(desk)).reason) == (State.UNKNOWN, "clock_in_doubt")
    world.jump(-HOUR)
    confirm(world)
    await beat(desk, adapters)
    assert (await state_of(desk)).state is State.UNKNOWN
    world.pass_time(MINUTE)
    await beat(desk, adapters)
    assert (await state_of(desk)).reason == "absence_shown"


class Lagging(FakeAdapter):
    """A platform that calls gone whatever it is asked for."""

    async def find(self, parcel):
        return Gone()


async def test_f61_a_clock_in_doubt_makes_two_words_that_it_is_gone_out_of_none(open_desk, world):
    """F48, F61: reads must be apart, and nobody can say how far these were; what stands afterwards is live."""
    desk, fake, adapters = await stage(open_desk, "a")
    fake.script.append(fake.lose_reply)
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await beat(desk, adapters)
    adapters = {"a": Lagging(now=world.now)}
    world.jump(HOUR)
    for _ in range(3):
        world.pass_time(MINUTE)
        await beat(desk, adapters)
        world.jump(HOUR)
    assert (await state_of(desk)).state is State.UNKNOWN


async def test_f61_a_doubt_that_people_gave_up_after_a_clock_was_ahead_is_read_soon(open_desk, world):
    """F61: the next look was dated hours ahead; an order that comes before the keeper does hides nothing of that."""
    desk, _fake, adapters = await doubted(open_desk, world)
    world.jump(8 * HOUR)
    await run_on(desk, adapters, world, minutes=12)
    world.jump(-8 * HOUR)
    confirm(world)
    await Orders(desk.books).withdraw("p", person("li"), "test")
    await run_on(desk, adapters, world, minutes=3)
    assert (await state_of(desk)).state is State.CANCELLED


async def test_f61_a_doubt_that_settles_while_the_clock_is_in_doubt_does_not_expire(open_desk, world):
    """F61: what follows from absence may depend on the instant, so it waits for a clock that is confirmed."""
    desk, fake, adapters = await doubted(open_desk, world)
    world.jump(30 * HOUR)
    await run_on(desk, adapters, world, minutes=12)
    assert ((await state_of(desk)).state, len(fake.calls)) == (State.UNKNOWN, 1)
    world.jump(-30 * HOUR)
    confirm(world)
    await run_on(desk, adapters, world, minutes=2)
    assert len(fake.calls) == 2


async def restarted(open_desk, world, jump):
    """Set the clock within the second before a kill: nobody has noticed; then start again, with a clock in doubt."""
    world.jump(jump)
    world.doubt_clock()
    world.jumps.clear()
    desk = await open_desk()
    await settle_the_dead(desk.rounds)
    return desk


async def test_f61_a_clock_that_is_ahead_at_start_ends_no_doubt(open_desk, world):
    """F25, F61: it makes no second call, nor once it is set right, before the settle time is over."""
    _desk, fake, adapters = await doubted(open_desk, world)
    desk = await restarted(open_desk, world, 15 * MINUTE)
    await run_on(desk, adapters, world, minutes=5)
    assert ((await state_of(desk)).state, len(fake.calls)) == (State.UNKNOWN, 1)
    world.jump(-15 * MINUTE)
    confirm(world)
    await run_on(desk, adapters, world, minutes=4)
    assert len(fake.calls) == 1
    await run_on(desk, adapters, world, minutes=4)
    assert len(fake.calls) == 2


async def test_f08_an_end_dated_in_doubt_counts_from_when_the_process_knew_of_it(open_desk, world):
    """F08: where the clock was in doubt when the call ended, the settle time runs once more, and no longer."""
    desk, fake, _adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    desk = await restarted(open_desk, world, -HOUR)
    world.pass_time(5 * MINUTE)
    world.jump(HOUR)
    confirm(world)
    await run_on(desk, {"a": fake}, world, minutes=4)
    assert fake.calls == []
    await run_on(desk, {"a": fake}, world, minutes=2)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("jump", [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(8 * HOUR, id="F61-ahead")])
async def test_a_doubt_dated_by_a_wrong_clock_is_ended_as_soon_as_another(open_desk, world, jump):
    """F60, F61: set right, it is neither read again in hours only, nor given to a person at once."""
    desk, fake, _adapters = await stage(open_desk, "a")
    fake.findings.extend([Unknown(reason="unreadable")] * 3)
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    desk = await restarted(open_desk, world, jump)
    await run_on(desk, {"a": fake}, world, minutes=2)
    world.jump(-jump)
    confirm(world)
    await run_on(desk, {"a": fake}, world, minutes=20)
    assert (await state_of(desk)).state is State.PUBLISHED


@pytest.mark.parametrize("is_announced", [False, True])
async def test_f61_what_a_death_left_due_by_a_clock_ahead_goes_out_once_it_is_set_right(open_desk, world, is_announced):
    """F61: with or without an intent, it does not wait for the hours by which the clock was ahead."""
    desk, fake, _adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    if is_announced:
        await desk.outbox.intend(lease)
    desk = await restarted(open_desk, world, 8 * HOUR)
    await run_on(desk, {"a": fake}, world, minutes=2)
    assert fake.calls == []
    world.jump(-8 * HOUR)
    confirm(world)
    await run_on(desk, {"a": fake}, world, minutes=20)
    assert ((await state_of(desk)).state, len(fake.calls)) == (State.PUBLISHED, 1)


@pytest.mark.parametrize("jump", [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(8 * HOUR, id="F61-ahead")])
@pytest.mark.parametrize("is_noticed", [True, False])
async def test_nothing_is_sent_or_expires_by_a_clock_in_doubt(open_desk, world, jump, is_noticed):
    """F60, F61: neither by one that was wrong at start nor by one that was set; set right, all goes at its instant."""
    desk, fake, adapters = await stage(open_desk, "a")
    soon = post_of("soon", ["a"], START + 5 * MINUTE)
    await file_posts(desk.registry, soon, post_of("later", ["a"], START + 8 * HOUR))
    world.jump(jump)
    if not is_noticed:
        world.doubt_clock()
    await run_on(desk, adapters, world, minutes=2)
    states = {delivery.state for delivery in await Board(desk.books).deliveries()}
    assert (fake.calls, states) == ([], {State.PENDING})
    world.jump(-jump)
    confirm(world)
    await run_on(desk, adapters, world, minutes=4)
    assert [parcel.intended_at - START for parcel in fake.calls] == [5 * MINUTE]


async def test_f61_what_is_claimed_gets_no_intent_once_the_clock_is_set(open_desk, world):
    """F61: it is given back, and claimed again when the clock is confirmed."""
    desk, _fake, _adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    world.jump(MINUTE)
    assert await desk.outbox.intend(lease) == Declined(guard="clock_unconfirmed")
    assert await desk.outbox.claim(1) == []
    confirm(world)
    assert len(await desk.outbox.claim(1)) == 1


async def test_f61_other_hosts_leases_are_left_alone_by_a_clock_in_doubt(open_desk, world):
    """F61: a host whose clock went ahead does not take work out of another's hand."""
    mine, other = await open_desk(worker="mine"), await open_desk(worker="other")
    await file_posts(mine.registry, post_of("p", ["a"], START))
    await mine.rounds.ripen()
    assert len(await other.outbox.claim(1)) == 1
    world.jump(HOUR)
    assert await mine.rounds.lapse() == 0
    confirm(world)
    assert await mine.rounds.lapse() == 1


async def test_f61_what_is_late_by_a_confirmed_clock_expires(open_desk, world):
    """F61: the rule for late posts applies to what was filed before: too late is not sent, and told."""
    desk, fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START + HOUR))
    world.jump(6 * HOUR)
    confirm(world)
    await keep(desk.rounds)
    await deliver_due(desk.outbox, adapters, 10, asyncio.Event())
    await keep(desk.rounds)
    [delivery] = await Board(desk.books).deliveries(PostId("p"))
    assert (delivery.state, fake.calls) == (State.EXPIRED, [])


YEAR_AHEAD = timedelta(days=400)


@pytest.mark.parametrize("jump", [pytest.param(-8 * HOUR, id="F60-back"), pytest.param(YEAR_AHEAD, id="F61-ahead")])
async def test_a_limit_met_by_a_clock_in_doubt_ends_when_its_time_is_over(open_desk, world, jump):
    """F26, F60, F61, I15: it is kept to by the clock that never jumps, and dated once the wall clock is confirmed."""
    desk, fake, adapters = await stage(open_desk, "a")
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await desk.rounds.ripen()
    [lease] = await desk.outbox.claim(1)
    await desk.outbox.intend(lease)
    desk = await restarted(open_desk, world, jump)
    world.pass_time(MINUTE)
    fake.findings.append(RateLimited(code="often", until=world.now() + 30 * MINUTE))
    await beat(desk, adapters)
    assert not fake.findings
    world.jump(-jump)
    confirm(world)
    await file_posts(desk.registry, post_of("urgent", ["a"], world.now(), is_urgent=True))
    await run_on(desk, adapters, world, minutes=29)
    assert fake.calls == []
    await run_on(desk, adapters, world, minutes=2)
    assert (await state_of(desk, "urgent")).state is State.PUBLISHED


async def test_f26_i15_a_limit_met_in_doubt_keeps_back_the_other_reads_of_its_login(open_desk, world):
    """F26, I15: no other delivery of the login is read, though the limit cannot be dated yet."""
    desk, fake, adapters = await doubted(open_desk, world)
    world.jump(HOUR)
    desk.books.note_limit("fake/a", 30 * MINUTE, is_for_reads=True)
    fake.findings.append(Unknown(reason="unreadable"))
    await run_on(desk, adapters, world, minutes=29)
    assert fake.findings
    await run_on(desk, adapters, world, minutes=2)
    assert not fake.findings


async def test_f61_waits_that_only_a_wrong_clock_can_have_written_are_cut(open_desk, world):
    """F61: no platform's limit and no quota lasts longer than a day, and nobody is probed or watched less often."""
    desk, _fake, _adapters = await stage(open_desk, "a")
    far = world.now() + YEAR_AHEAD
    waits = dict.fromkeys(("rests_until", "routine_until", "floors_until", "reads_until", "limited_until"), far)

    def write(unit):
        unit.connection.execute(update(LOGIN).values(waits))
        unit.connection.execute(insert(HEALTH).values(login="fake/a", next_at=far))
        unit.connection.execute(insert(WATCH).values(account="a", next_at=far))
        unit.connection.execute(insert(PAUSE).values(scope="platform:fake", at=far, by="deliverer", reason=PUZZLING))

    await desk.books.database.write(write)
    world.doubt_clock()
    confirm(world)
    await desk.rounds.redate()

    def read(connection):
        [login] = connection.execute(select(*(LOGIN.c[name] for name in waits)))
        return [
            *login,
            *(connection.scalar(select(column)) for column in (HEALTH.c.next_at, WATCH.c.next_at, PAUSE.c.at)),
        ]

    now = world.now()
    assert await desk.books.database.read(read) == [now + 24 * HOUR] * 5 + [now] * 3


async def test_f61_an_alert_dated_in_the_future_silences_no_later_one(open_desk, world):
    """F61: what was told by a clock that was ahead is told again."""
    desk = await open_desk()
    for at in (world.now() + YEAR_AHEAD, world.now(), world.now()):
        await desk.books.database.write(lambda unit, at=at: tell_again(unit, at, "log_dropped", {"number": "1"}))
    assert await told(desk.books) == [("log_dropped", "1")] * 2
