"""Answers that nobody understands, and answers that are not read."""

import asyncio
from datetime import timedelta

import pytest

from publisher.delivering import deliver
from publisher.domain.outcome import Ready, Unknown
from publisher.keeping import keep
from publisher.reviewing import person
from publisher.store.board import Board
from publisher.store.breaker import IN_A_ROW, REST
from publisher.store.checkups import Checkups
from publisher.store.orders import Orders
from publisher.testing.builders import file_posts, post_of
from publisher.testing.fakes import START, FakeAdapter
from publisher.watching import probe_due
from tests.stages.test_delivering import beat, stage

NAMES = [f"a{number}" for number in range(IN_A_ROW)]
SCOPE = "platform:fake"


async def puzzled(open_desk, *names, reason="bad_reply"):
    """Give a desk on whose platform every account has just had an answer of a new shape."""
    desk, fake, adapters = await stage(open_desk, *(names or NAMES))
    fake.script.extend(Unknown(reason=reason) for _ in names or NAMES)
    await file_posts(desk.registry, post_of("p", list(names or NAMES), START))
    await beat(desk, adapters)
    return desk, fake, adapters


async def told(desk):
    return [alert.code for alert in await Board(desk.books).alerts()]


async def scopes(desk):
    return [pause.scope for pause in await Board(desk.books).pauses()]


async def test_f58_answers_of_a_new_shape_stop_the_platform(open_desk):
    """F58: after so many in a row no further call is made there; people are told once."""
    desk, fake, adapters = await puzzled(open_desk)
    await file_posts(desk.registry, post_of("q", NAMES, START))
    await beat(desk, adapters)
    assert len(fake.calls) == IN_A_ROW
    assert (await scopes(desk), await told(desk)) == ([SCOPE], ["platform_unreadable"])


@pytest.mark.parametrize("reason", ["timeout", "reset", "server_error"])
async def test_f58_silence_says_nothing_about_the_shape(open_desk, reason):
    """F58: a platform in trouble, or out of reach, is not taken for one that has changed."""
    desk, _fake, _adapters = await puzzled(open_desk, reason=reason)
    assert await scopes(desk) == []


async def test_f58_one_answer_that_is_understood_begins_the_count_anew(open_desk):
    """F58: as many puzzling answers, but not in a row, stop nothing."""
    desk, fake, adapters = await puzzled(open_desk, *NAMES[1:])
    await file_posts(desk.registry, post_of("q", [NAMES[1]], START))
    await beat(desk, adapters)
    fake.script.append(Unknown(reason="bad_reply"))
    await file_posts(desk.registry, post_of("r", [NAMES[2]], START))
    await beat(desk, adapters)
    assert await scopes(desk) == []


class Probed(FakeAdapter):
    """A platform whose probe answers as told."""

    health = Ready()

    async def probe(self):
        return self.health


async def test_f58_a_good_probe_ends_the_stop_and_not_before_its_time(open_desk, world):
    """F58: a probe is made after the rest; a bad one is repeated, a good one lets calls go again."""
    desk, _fake, adapters = await puzzled(open_desk)
    checkups, probed = Checkups(desk.books), Probed(now=world.now)
    probes = dict.fromkeys(adapters, probed)
    assert await probe_due(checkups, probes, 10) == 0
    probed.health = Unknown(reason="bad_reply")
    for expected in ([SCOPE], []):
        world.pass_time(REST)
        assert await probe_due(checkups, probes, 10) == IN_A_ROW
        assert await scopes(desk) == expected
        probed.health = Ready()
    assert "platform_unreadable" not in await told(desk)


async def test_f58_the_next_answer_of_that_shape_stops_it_again(open_desk, world):
    """F58: one call is what it costs to learn that nothing has got better."""
    desk, fake, adapters = await puzzled(open_desk)
    await Orders(desk.books).resume(SCOPE, person("li"))
    fake.script.append(Unknown(reason="bad_reply"))
    await file_posts(desk.registry, post_of("q", [NAMES[0]], START))
    await keep(desk.rounds)
    [lease] = await desk.outbox.claim(1)
    await deliver(lease, desk.outbox, adapters, asyncio.Event())
    assert await scopes(desk) == [SCOPE]


async def test_f58_what_a_person_has_paused_no_probe_resumes(open_desk, world):
    """F58: only the stop that was made by itself ends by itself."""
    desk, _fake, adapters = await puzzled(open_desk, "a")
    await Orders(desk.books).pause(SCOPE, person("li"), "a drill")
    world.pass_time(2 * REST)
    await probe_due(Checkups(desk.books), adapters, 10)
    assert await scopes(desk) == [SCOPE]


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        pytest.param("redirected", "answer_redirected", id="F35"),
        pytest.param("body_too_large", "answer_too_large", id="F36-huge"),
        pytest.param("reply_encoded", "answer_too_large", id="F36-compressed"),
    ],
)
async def test_an_answer_that_is_not_read_is_told_until_the_doubt_ends(open_desk, world, reason, alert):
    """A redirect or an endless answer is a doubt with an alert of its own, over when the account was read."""
    desk, fake, adapters = await stage(open_desk, "a")
    fake.script.append(lambda parcel: fake.lose_reply(parcel) and Unknown(reason=reason))
    await file_posts(desk.registry, post_of("p", ["a"], START))
    await beat(desk, adapters)
    assert await told(desk) == [alert]
    for _ in range(10):
        world.pass_time(timedelta(seconds=30))
        await beat(desk, adapters)
    assert (await told(desk), len(fake.calls)) == ([], 1)
