"""The circuit breaker: responses of an unknown shape, and responses that are not read."""

import asyncio
from datetime import timedelta

import pytest

from publisher.domain.results import Healthy, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due
from publisher.engine.sender import send_delivery
from publisher.store.deliveries.cooldowns import FAILURE_THRESHOLD, OPEN_DURATION
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_sender import run_jobs, stage

NAMES = [f"a{number}" for number in range(FAILURE_THRESHOLD)]
SCOPE = "platform:fake"


async def unknown_responses(open_desk, *names, reason="bad_response"):
    """Return a worker on whose platform every account has just got a response of an unknown shape."""
    desk, fake, adapters = await stage(open_desk, *(names or NAMES))
    fake.script.extend(Unknown(reason=reason) for _ in names or NAMES)
    await enqueue_posts(desk.post_store, make_post("p", list(names or NAMES), START_TIME))
    await run_jobs(desk, adapters)
    return desk, fake, adapters


async def reported(desk):
    return [alert.code for alert in await desk.store.queries.alerts()]


async def scopes(desk):
    return [pause.scope for pause in await desk.store.queries.pauses()]


async def test_f58_responses_of_an_unknown_shape_stop_the_platform(open_desk):
    """F58: after the threshold of responses in a row no further call is made there; people are alerted once."""
    desk, fake, adapters = await unknown_responses(open_desk)
    await enqueue_posts(desk.post_store, make_post("q", NAMES, START_TIME))
    await run_jobs(desk, adapters)
    assert len(fake.calls) == FAILURE_THRESHOLD
    assert (await scopes(desk), await reported(desk)) == ([SCOPE], ["circuit_breaker_open"])


@pytest.mark.parametrize("reason", ["timeout", "reset", "server_error"])
async def test_f58_silence_says_nothing_about_the_shape(open_desk, reason):
    """F58: an unreachable or failing platform is not taken for one that has changed."""
    desk, _fake, _adapters = await unknown_responses(open_desk, reason=reason)
    assert await scopes(desk) == []


async def test_f58_one_known_response_resets_the_count(open_desk):
    """F58: as many unknown responses, but not in a row, stop nothing."""
    desk, fake, adapters = await unknown_responses(open_desk, *NAMES[1:])
    await enqueue_posts(desk.post_store, make_post("q", [NAMES[1]], START_TIME))
    await run_jobs(desk, adapters)
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(desk.post_store, make_post("r", [NAMES[2]], START_TIME))
    await run_jobs(desk, adapters)
    assert await scopes(desk) == []


class Probed(FakeAdapter):
    """A platform with a scripted probe."""

    health = Healthy()

    async def check_health(self):
        return self.health


async def test_f58_a_good_probe_ends_the_stop_and_not_before_its_time(open_desk, world):
    """F58: a probe is made after the cooldown; a bad one is repeated, a good one closes the breaker."""
    desk, _fake, adapters = await unknown_responses(open_desk)
    checkups, probed = desk.store.login_health, Probed(now=world.now)
    probes = dict.fromkeys(adapters, probed)
    assert await check_logins_due(checkups.store, probes, 10) == 0
    probed.health = Unknown(reason="bad_response")
    for expected in ([SCOPE], []):
        world.advance_time(OPEN_DURATION)
        assert await check_logins_due(checkups.store, probes, 10) == FAILURE_THRESHOLD
        assert await scopes(desk) == expected
        probed.health = Healthy()
    assert "circuit_breaker_open" not in await reported(desk)


async def test_f58_the_next_unknown_response_stops_it_again(open_desk, world):
    """F58: after a good probe, one further response of that shape opens the breaker again."""
    desk, fake, adapters = await unknown_responses(open_desk)
    await desk.store.actions.resume(SCOPE, named_person("li"))
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(desk.post_store, make_post("q", [NAMES[0]], START_TIME))
    await desk.store.maintenance.run()
    [lease] = await desk.outbox.claim(1)
    await send_delivery(lease, desk.store, adapters, asyncio.Event())
    assert await scopes(desk) == [SCOPE]


async def test_f58_what_a_person_has_paused_no_probe_resumes(open_desk, world):
    """F58: a probe ends only the pause that the breaker made itself."""
    desk, _fake, adapters = await unknown_responses(open_desk, "a")
    await desk.store.actions.pause(SCOPE, named_person("li"), "a drill")
    world.advance_time(2 * OPEN_DURATION)
    await check_logins_due(desk.store, adapters, 10)
    assert await scopes(desk) == [SCOPE]


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        pytest.param("redirected", "response_redirected", id="F35"),
        pytest.param("body_too_large", "response_too_large", id="F36-huge"),
        pytest.param("response_encoded", "response_too_large", id="F36-compressed"),
    ],
)
async def test_a_response_that_is_not_read_is_alerted_until_the_outcome_is_known(open_desk, world, reason, alert):
    """A redirect or an endless response has an alert of its own, which ends when the account was read."""
    desk, fake, adapters = await stage(open_desk, "a")
    fake.script.append(lambda parcel: fake.lose_reply(parcel) and Unknown(reason=reason))
    await enqueue_posts(desk.post_store, make_post("p", ["a"], START_TIME))
    await run_jobs(desk, adapters)
    assert await reported(desk) == [alert]
    for _ in range(10):
        world.advance_time(timedelta(seconds=30))
        await run_jobs(desk, adapters)
    assert (await reported(desk), len(fake.calls)) == ([], 1)
