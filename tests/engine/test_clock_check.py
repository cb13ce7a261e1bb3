"""The proofs of a right clock: the kernel, the dates of replies, a person.

The tests also state the facts that do not confirm it.
"""

import asyncio
import itertools
from datetime import timedelta
from email.utils import format_datetime

import pytest

from publisher.domain.account import AccountId, Mode
from publisher.domain.errors import RefusedError
from publisher.domain.results import Healthy, RateLimited
from publisher.engine.clock_check import (
    FAST_POLL_SECONDS,
    SLOW_POLL_SECONDS,
    ClockCheck,
)
from publisher.engine.decisions import named_person
from publisher.runtime.clock import CLOCK_JUMP_THRESHOLD, SERVER_DATE_TOLERANCE, Runtime
from publisher.store.deliveries.cooldowns import Cooldown, extend_cooldowns
from publisher.store.system_alerts import CLOCK_ALERT_DELAY
from publisher.testing.builders import make_policy
from publisher.testing.fakes import START_TIME, FakeAdapter

SECOND = timedelta(seconds=1)


def date(instant):
    return format_datetime(instant, usegmt=True)


@pytest.fixture
def unconfirmed_runtime(runtime):
    """Return a runtime with an unconfirmed clock."""
    runtime.mark_clock_unconfirmed()
    return runtime


@pytest.mark.parametrize(
    ("apart", "took", "is_right"),
    [
        pytest.param(timedelta(0), SECOND, True, id="right"),
        pytest.param(
            -SERVER_DATE_TOLERANCE, timedelta(0), True, id="as-far-ahead-as-is-allowed"
        ),
        pytest.param(
            SERVER_DATE_TOLERANCE, timedelta(0), True, id="as-far-behind-as-is-allowed"
        ),
        pytest.param(
            -SERVER_DATE_TOLERANCE - SECOND, timedelta(0), False, id="F61-ahead"
        ),
        pytest.param(
            SERVER_DATE_TOLERANCE + SECOND, timedelta(0), False, id="F60-behind"
        ),
        pytest.param(
            timedelta(0),
            SERVER_DATE_TOLERANCE + SECOND,
            False,
            id="a-reply-too-slow-to-tell",
        ),
    ],
)
def test_a_reply_confirms_the_clock_within_the_tolerance(
    unconfirmed_runtime, apart, took, is_right
):
    """F60, F61: a reply's date must fit both ends of the call to confirm the clock.

    A contradiction is kept for people.
    """
    began = unconfirmed_runtime.monotonic()
    unconfirmed_runtime.advance_time(took)
    unconfirmed_runtime.check_server_date(date(START_TIME + apart), began)
    assert unconfirmed_runtime.is_clock_confirmed() is is_right
    assert unconfirmed_runtime.server_clock_offset == (
        None if is_right or took else -apart
    )


@pytest.mark.parametrize("reported", ["", "soon", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_an_invalid_date_says_nothing(unconfirmed_runtime, reported):
    """A date that cannot be parsed neither confirms nor contradicts."""
    unconfirmed_runtime.check_server_date(reported, unconfirmed_runtime.monotonic())
    assert (
        unconfirmed_runtime.is_clock_confirmed(),
        unconfirmed_runtime.server_clock_offset,
    ) == (
        False,
        None,
    )


@pytest.mark.parametrize(
    "sign", [pytest.param(-1, id="F60"), pytest.param(1, id="F61")]
)
def test_a_set_clock_is_unconfirmed_at_once(runtime, sign):
    """F60, F61: no job need run in between; the usual drift is no reason for doubt."""
    runtime.jump_clock(sign * CLOCK_JUMP_THRESHOLD)
    assert runtime.is_clock_confirmed()
    runtime.jump_clock(sign * SECOND)
    assert (runtime.is_clock_confirmed(), runtime.clock_jumps) == (
        False,
        [sign * (CLOCK_JUMP_THRESHOLD + SECOND)],
    )


def test_a_reading_from_before_the_clock_was_set_confirms_nothing(unconfirmed_runtime):
    """F61: a reading from before a jump counts only if the clock is set back to the same time."""
    reading = unconfirmed_runtime.read_clocks()
    unconfirmed_runtime.jump_clock(60 * SECOND)
    unconfirmed_runtime.confirm_clock(reading)
    assert not unconfirmed_runtime.is_clock_confirmed()
    unconfirmed_runtime.jump_clock(-60 * SECOND)
    unconfirmed_runtime.confirm_clock(reading)
    assert unconfirmed_runtime.is_clock_confirmed()


def test_the_real_runtime_begins_unconfirmed_and_asks_its_kernel(monkeypatch):
    """The kernel's statement counts where it gives one, and nothing fails where it does not."""
    runtime = Runtime()
    assert not runtime.is_clock_confirmed()
    answer = runtime.is_kernel_clock_synchronized()
    runtime.confirm_from_kernel()
    assert runtime.is_clock_confirmed() is answer
    monkeypatch.setattr("ctypes.CDLL", lambda *_args, **_options: object())
    assert Runtime().is_kernel_clock_synchronized() is False


def test_a_process_stopped_between_two_readings_takes_them_again():
    """A frozen process sees no jump where there was none."""

    class Stopped(Runtime):
        readings = iter([0.0, 40.0, 41.0, 41.1])

        def monotonic(self):
            return next(self.readings)

    stopped = Stopped.__new__(Stopped)
    assert stopped.read_clocks().monotonic_seconds == 41.1


async def test_f60_a_clock_that_is_set_back_prolongs_no_sleep():
    """F60: a sleep until an instant lasts no longer than the instant was away."""
    start = Runtime().now()

    class SetBack(Runtime):
        readings = itertools.chain(
            [start, start], itertools.repeat(start - 8 * 3600 * SECOND)
        )

        def now(self):
            return next(self.readings)

    sleep = asyncio.create_task(SetBack().sleep_until(start + SECOND / 50))
    assert await asyncio.wait([sleep], timeout=60) == ({sleep}, set())


class TimeAdapter(FakeAdapter):
    """An adapter with a probe that reports its platform's time.

    An answer without a date has no effect.
    """

    def __init__(self, runtime, reports=None):
        super().__init__(now=runtime.now)
        self.runtime, self.reports, self.probes = runtime, reports, 0

    async def check_health(self):
        self.probes += 1
        if self.reports is not None:
            self.runtime.check_server_date(
                date(self.runtime.now() + self.reports), self.runtime.monotonic()
            )
        return Healthy()


class UnansweredAdapter(TimeAdapter):
    """An adapter with a probe that gets no answer."""

    async def check_health(self):
        self.probes += 1
        await asyncio.Event().wait()


async def check_of(open_store, runtime, *names, **adapters):
    """Return a clock check over these accounts.

    Accounts without an adapter of their own report no date.
    """
    store = await open_store(*(make_policy(name) for name in names))
    every = {
        AccountId(name): adapters.get(name) or TimeAdapter(runtime) for name in names
    }
    return ClockCheck(store=store, adapters=every), store


async def test_the_kernel_confirms_without_any_read(open_store, unconfirmed_runtime):
    """Where the kernel confirms the clock, no platform is asked."""
    check, _store = await check_of(open_store, unconfirmed_runtime, "a")
    unconfirmed_runtime.is_synchronized = True
    assert await check.confirm()
    assert check.adapters["a"].probes == 0


async def test_f61_the_kernel_does_not_overrule_a_platform(
    open_store, unconfirmed_runtime
):
    """F61: the kernel does not confirm a clock that a platform has contradicted.

    Only setting it, another platform or a person confirms it.
    """
    check, _store = await check_of(
        open_store,
        unconfirmed_runtime,
        "a",
        a=TimeAdapter(unconfirmed_runtime, -60 * SECOND),
    )
    assert not await check.confirm()
    unconfirmed_runtime.is_synchronized = True
    assert not await check.confirm()
    unconfirmed_runtime.jump_clock(-60 * SECOND)
    assert await check.confirm()


async def test_one_platform_that_answers_is_enough(open_store, unconfirmed_runtime):
    """The others may be silent; only reads are made, and they are given up in the end."""
    adapters = {name: UnansweredAdapter(unconfirmed_runtime) for name in "abcdefg"} | {
        "c": TimeAdapter(unconfirmed_runtime, timedelta(0))
    }
    check, _store = await check_of(
        open_store, unconfirmed_runtime, *adapters, **adapters
    )
    assert await check.confirm()
    assert [adapter.calls for adapter in adapters.values()] == [[]] * 7
    await check.stop()
    assert check._running_polls == set()


async def test_every_login_has_its_turn(open_store, unconfirmed_runtime):
    """A few logins are asked at a time, and the next ones a little later.

    The last one may be the only one that answers.
    """
    names = [*"abcdefg"]
    check, _store = await check_of(
        open_store,
        unconfirmed_runtime,
        *names,
        g=TimeAdapter(unconfirmed_runtime, timedelta(0)),
    )
    assert not await check.confirm()
    assert sum(adapter.probes for adapter in check.adapters.values()) == 5
    unconfirmed_runtime.advance_time(timedelta(seconds=FAST_POLL_SECONDS))
    assert await check.confirm()


async def test_a_platform_that_contradicts_confirms_nothing(
    open_store, unconfirmed_runtime
):
    """F61: asking it again does not help; once the clock is set, it is asked at once."""
    check, _store = await check_of(
        open_store,
        unconfirmed_runtime,
        "a",
        a=TimeAdapter(unconfirmed_runtime, -60 * SECOND),
    )
    for _ in range(3):
        assert not await check.confirm()
    assert (check.adapters["a"].probes, unconfirmed_runtime.server_clock_offset) == (
        1,
        60 * SECOND,
    )
    unconfirmed_runtime.jump_clock(-60 * SECOND)
    check.adapters["a"].reports = timedelta(0)
    assert await check.confirm()


async def test_a_person_confirms_the_clock(open_store, unconfirmed_runtime):
    """A person's confirmation counts where no platform answers, until the clock is set again."""
    check, store = await check_of(open_store, unconfirmed_runtime, "a")
    assert not await check.confirm()
    unconfirmed_runtime.advance_time(SECOND)
    assert (
        await store.actions.confirm_clock(named_person("li"))
        == unconfirmed_runtime.read_clocks()
    )
    assert await check.confirm()
    unconfirmed_runtime.jump_clock(60 * SECOND)
    assert not await check.confirm()


async def test_f61_a_person_does_not_overrule_a_platform(
    open_store, unconfirmed_runtime
):
    """F60, F61: a person overrules a platform neither in the command nor in the daemon.

    An alert of the daemon makes no difference.
    """
    check, store = await check_of(
        open_store,
        unconfirmed_runtime,
        "a",
        a=TimeAdapter(unconfirmed_runtime, -60 * SECOND),
    )
    await check.ask_every_site()
    with pytest.raises(RefusedError, match="clock_contradicted") as refused:
        await store.actions.confirm_clock(named_person("li"))
    assert refused.value.facts == {"seconds": "+60"}
    unconfirmed_runtime.advance_time(CLOCK_ALERT_DELAY)
    await store.system_alerts.update()
    unconfirmed_runtime.server_clock_offset = (
        None  # as in another process, which reaches no platform
    )
    with pytest.raises(RefusedError, match="clock_contradicted"):
        await store.actions.confirm_clock(named_person("li"))
    unconfirmed_runtime.server_clock_offset = 60 * SECOND
    unconfirmed_runtime.accept_confirmation(unconfirmed_runtime.read_clocks())
    assert not unconfirmed_runtime.is_clock_confirmed()


@pytest.mark.parametrize(
    "apart", [pytest.param(-60, id="F61-ahead"), pytest.param(60, id="F60-behind")]
)
async def test_a_platform_that_contradicts_later_ends_a_persons_confirmation(
    open_store, unconfirmed_runtime, apart
):
    """F60, F61: a later contradiction by a platform ends a person's confirmation.

    Platforms are asked on. The confirmation does not count again, and people are alerted.
    """
    check, store = await check_of(open_store, unconfirmed_runtime, "a")
    await store.actions.confirm_clock(named_person("li"))
    assert await check.confirm()
    assert not unconfirmed_runtime.is_clock_proven()
    check.adapters["a"].reports = apart * SECOND
    unconfirmed_runtime.advance_time(timedelta(seconds=FAST_POLL_SECONDS))
    await check.confirm()
    await asyncio.gather(*check._running_polls)
    assert not await check.confirm()
    unconfirmed_runtime.advance_time(CLOCK_ALERT_DELAY)
    await store.system_alerts.update()
    alerts = [
        (alert.code, alert.facts["seconds"]) for alert in await store.queries.alerts()
    ]
    assert alerts == [("clock_wrong", f"{-apart:+d}")]


async def test_a_platform_or_the_kernel_may_prove_what_a_person_has_confirmed(
    open_store, unconfirmed_runtime
):
    """From then on nothing is asked any more."""
    check, store = await check_of(open_store, unconfirmed_runtime, "a")
    await store.actions.confirm_clock(named_person("li"))
    assert await check.confirm()
    unconfirmed_runtime.is_synchronized = True
    assert await check.confirm()
    assert unconfirmed_runtime.is_clock_proven()


async def test_every_site_is_asked_before_a_person_confirms(
    open_store, unconfirmed_runtime
):
    """F61: accounts that say nothing do not hide one that does."""
    adapters = {name: TimeAdapter(unconfirmed_runtime) for name in "ab"} | {
        "c": TimeAdapter(unconfirmed_runtime, -60 * SECOND)
    }
    check, _store = await check_of(
        open_store, unconfirmed_runtime, *adapters, **adapters
    )
    await check.ask_every_site()
    assert [adapter.probes for adapter in adapters.values()] == [1, 1, 1]
    assert unconfirmed_runtime.server_clock_offset == 60 * SECOND


async def test_a_confirmation_from_before_the_jump_does_not_count(open_store, runtime):
    """It was given for the clock as it was then; one of an earlier boot does not count either."""
    check, store = await check_of(open_store, runtime, "a")
    runtime.advance_time(60 * SECOND)
    await store.actions.confirm_clock(named_person("li"))
    runtime.advance_time(SECOND)
    runtime.mark_clock_unconfirmed()
    assert not await check.confirm()
    runtime.clock += 60 * SECOND
    await store.actions.confirm_clock(named_person("li"))
    runtime.clock -= 120 * SECOND  # as after a reboot: the monotonic clock starts again
    runtime.mark_clock_unconfirmed()
    assert not await check.confirm()


async def test_accounts_that_nobody_posts_on_are_not_asked(
    open_store, unconfirmed_runtime
):
    """Manual accounts are read only where there are no others; disabled ones never are."""
    check, store = await check_of(
        open_store,
        unconfirmed_runtime,
        "a",
        "b",
        a=TimeAdapter(unconfirmed_runtime, timedelta(0)),
        b=TimeAdapter(unconfirmed_runtime, timedelta(0)),
    )
    for account, mode in (("a", Mode.OFF), ("b", Mode.ASSISTED)):
        await store.actions.set_mode(
            AccountId(account), mode, named_person("li"), "quiet"
        )
    assert await check.confirm()
    assert (check.adapters["a"].probes, check.adapters["b"].probes) == (0, 1)


async def set_cooldown(store, login, until):
    def write(unit):
        extend_cooldowns(
            unit, [Cooldown(login=login, reads_cooldown_until=until)], START_TIME
        )

    await store.database.write(write)


@pytest.mark.parametrize(
    ("rest", "probes"),
    [
        pytest.param(60 * SECOND, 0, id="a-limit-of-the-life-before"),
        pytest.param(2 * 86400 * SECOND, 1, id="longer-than-any-limit"),
    ],
)
async def test_i15_a_login_in_cooldown_is_not_asked_for_the_time(
    open_store, unconfirmed_runtime, rest, probes
):
    """I15: a login in cooldown is not called before its end.

    A limit that only a slow clock can show is none.
    """
    check, store = await check_of(
        open_store,
        unconfirmed_runtime,
        "a",
        a=TimeAdapter(unconfirmed_runtime, timedelta(0)),
    )
    await set_cooldown(store, "fake/a", START_TIME + rest)
    assert await check.confirm() is bool(probes)
    assert check.adapters["a"].probes == probes
    unconfirmed_runtime.advance_time(rest)
    assert await check.confirm()


class Dated(TimeAdapter):
    """An adapter that asks its platform for the time by a call without credentials."""

    asked = 0

    async def fetch_time(self):
        self.asked += 1
        self.runtime.check_server_date(
            date(self.runtime.now()), self.runtime.monotonic()
        )


@pytest.mark.parametrize(("kind", "is_asked"), [(TimeAdapter, False), (Dated, True)])
async def test_i15_a_login_in_cooldown_is_asked_only_without_credentials(
    open_store, unconfirmed_runtime, kind, is_asked
):
    """I15: during a cooldown no login is probed for the time."""
    own = kind(unconfirmed_runtime, timedelta(0))
    check, store = await check_of(open_store, unconfirmed_runtime, "a", a=own)
    await set_cooldown(store, "fake/a", START_TIME + 60 * SECOND)
    assert await check.confirm() is is_asked
    assert own.probes == 0


class Limited(TimeAdapter):
    """An adapter with a probe that meets a limit of a minute."""

    async def check_health(self):
        self.probes += 1
        return RateLimited(code="often", until=self.runtime.now() + 60 * SECOND)


async def test_i15_a_login_that_wants_no_calls_is_left_out_of_the_check(
    open_store, unconfirmed_runtime
):
    """F26, I15: it is asked again at the end of its limit, by the monotonic clock."""
    check, _store = await check_of(
        open_store, unconfirmed_runtime, "a", a=Limited(unconfirmed_runtime)
    )
    for _ in range(29):
        await check.confirm()
        unconfirmed_runtime.advance_time(timedelta(seconds=FAST_POLL_SECONDS))
    assert check.adapters["a"].probes == 1
    unconfirmed_runtime.advance_time(timedelta(seconds=SLOW_POLL_SECONDS))
    await check.confirm()
    assert check.adapters["a"].probes == 2
