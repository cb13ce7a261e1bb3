"""Answers that nobody understands, and answers that are not read."""

import asyncio
from datetime import timedelta

import pytest

from publisher.domain.results import Healthy, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.maintenance import run_maintenance
from publisher.engine.monitor import check_logins_due
from publisher.engine.sender import send_delivery
from publisher.store.deliveries.cooldowns import FAILURE_THRESHOLD, OPEN_DURATION
from publisher.store.monitor.login_health import LoginHealthStore
from publisher.store.plan.actions import OperatorActions
from publisher.store.queries.queries import Queries
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_sender import beat, stage

NAMES = [f"a{number}" for number in range(FAILURE_THRESHOLD)]
SCOPE = "platform:fake"


async def puzzled(open_desk, *names, reason="bad_response"):
    """Give a desk on whose platform every account has just had an answer of a new shape."""
    desk, fake, adapters = await stage(open_desk, *(names or NAMES))
    fake.script.extend(Unknown(reason=reason) for _ in names or NAMES)
    await enqueue_posts(desk.post_store, make_post("p", list(names or NAMES), START_TIME))
    await beat(desk, adapters)
    return desk, fake, adapters


async def reported(desk):
    return [alert.code for alert in await Queries(desk.store).alerts()]


async def scopes(desk):
    return [pause.scope for pause in await Queries(desk.store).pauses()]


async def test_f58_answers_of_a_new_shape_stop_the_platform(open_desk):
    """F58: after so many in a row no further call is made there; people are alerted once."""
    desk, fake, adapters = await puzzled(open_desk)
    await enqueue_posts(desk.post_store, make_post("q", NAMES, START_TIME))
    await beat(desk, adapters)
    assert len(fake.calls) == FAILURE_THRESHOLD
    assert (await scopes(desk), await reported(desk)) == ([SCOPE], ["circuit_breaker_open"])


@pytest.mark.parametrize("reason", ["timeout", "reset", "server_error"])
async def test_f58_silence_says_nothing_about_the_shape(open_desk, reason):
    """F58: a platform in trouble, or out of reach, is not taken for one that has changed."""
    desk, _fake, _adapters = await puzzled(open_desk, reason=reason)
    assert await scopes(desk) == []


async def test_f58_one_answer_that_is_understood_begins_the_count_anew(open_desk):
    """F58: as many puzzling answers, but not in a row, stop nothing."""
    desk, fake, adapters = await puzzled(open_desk, *NAMES[1:])
    await enqueue_posts(desk.post_store, make_post("q", [NAMES[1]], START_TIME))
    await beat(desk, adapters)
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(desk.post_store, make_post("r", [NAMES[2]], START_TIME))
    await beat(desk, adapters)
    assert await scopes(desk) == []


class Probed(FakeAdapter):
    """A platform whose probe answers as reported."""

    health = Healthy()

    async def check_health(self):
        return self.health


async def test_f58_a_good_probe_ends_the_stop_and_not_before_its_time(open_desk, world):
    """F58: a probe is made after the rest; a bad one is repeated, a good one lets calls go again."""
    desk, _fake, adapters = await puzzled(open_desk)
    checkups, probed = LoginHealthStore(desk.store), Probed(now=world.now)
    probes = dict.fromkeys(adapters, probed)
    assert await check_logins_due(checkups, probes, 10) == 0
    probed.health = Unknown(reason="bad_response")
    for expected in ([SCOPE], []):
        world.advance_time(OPEN_DURATION)
        assert await check_logins_due(checkups, probes, 10) == FAILURE_THRESHOLD
        assert await scopes(desk) == expected
        probed.health = Healthy()
    assert "circuit_breaker_open" not in await reported(desk)


async def test_f58_the_next_answer_of_that_shape_stops_it_again(open_desk, world):
    """F58: one call is what it costs to learn that nothing has got better."""
    desk, fake, adapters = await puzzled(open_desk)
    await OperatorActions(desk.store).resume(SCOPE, named_person("li"))
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(desk.post_store, make_post("q", [NAMES[0]], START_TIME))
    await run_maintenance(desk.maintenance)
    [lease] = await desk.outbox.claim(1)
    await send_delivery(lease, desk.outbox, adapters, asyncio.Event())
    assert await scopes(desk) == [SCOPE]


async def test_f58_what_a_person_has_paused_no_probe_resumes(open_desk, world):
    """F58: only the stop that was made by itself ends by itself."""
    desk, _fake, adapters = await puzzled(open_desk, "a")
    await OperatorActions(desk.store).pause(SCOPE, named_person("li"), "a drill")
    world.advance_time(2 * OPEN_DURATION)
    await check_logins_due(LoginHealthStore(desk.store), adapters, 10)
    assert await scopes(desk) == [SCOPE]


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        pytest.param("redirected", "response_redirected", id="F35"),
        pytest.param("body_too_large", "response_too_large", id="F36-huge"),
        pytest.param("response_encoded", "response_too_large", id="F36-compressed"),
    ],
)
async def test_an_answer_that_is_not_read_is_told_until_the_doubt_ends(open_desk, world, reason, alert):
    """A redirect or an endless answer is a doubt with an alert of its own, over when the account was read."""
    desk, fake, adapters = await stage(open_desk, "a")
    fake.script.append(lambda parcel: fake.lose_reply(parcel) and Unknown(reason=reason))
    await enqueue_posts(desk.post_store, make_post("p", ["a"], START_TIME))
    await beat(desk, adapters)
    assert await reported(desk) == [alert]
    for _ in range(10):
        world.advance_time(timedelta(seconds=30))
        await beat(desk, adapters)
    assert (await reported(desk), len(fake.calls)) == ([], 1)
