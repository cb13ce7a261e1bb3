"""The circuit breaker: responses of an unknown shape, and responses that are not read."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import AccountId, Mode
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import Healthy, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due
from publisher.engine.sender import send_delivery
from publisher.store.deliveries.cooldowns import FAILURE_THRESHOLD, OPEN_DURATION
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter
from tests.engine.test_sender import run_jobs, stage

NAMES = [f"a{number}" for number in range(FAILURE_THRESHOLD)]
SCOPE = "platform:fake"


async def unknown_responses(open_store, *names, reason="bad_response"):
    """Return a worker on a platform with a response of an unknown shape for every account.

    Every account has just got it.
    """
    store, fake, adapters = await stage(open_store, *(names or NAMES))
    fake.script.extend(Unknown(reason=reason) for _ in names or NAMES)
    await enqueue_posts(store.posts, make_post("p", list(names or NAMES), START_TIME))
    await run_jobs(store, adapters)
    return store, fake, adapters


async def reported(store):
    return [alert.code for alert in await store.queries.alerts()]


async def scopes(store):
    return [pause.scope for pause in await store.queries.pauses()]


async def test_f58_responses_of_an_unknown_shape_stop_the_platform(open_store):
    """F58: after the threshold of responses in a row the platform gets no further call.

    People are alerted once.
    """
    store, fake, adapters = await unknown_responses(open_store)
    await enqueue_posts(store.posts, make_post("q", NAMES, START_TIME))
    await run_jobs(store, adapters)
    assert len(fake.calls) == FAILURE_THRESHOLD
    assert (await scopes(store), await reported(store)) == (
        [SCOPE],
        ["circuit_breaker_open"],
    )


@pytest.mark.parametrize(
    "reason", ["timeout", "reset", "response_truncated", "server_error"]
)
async def test_f58_silence_says_nothing_about_the_shape(open_store, reason):
    """F58: an unreachable or failing platform is not taken for one that has changed."""
    store, _fake, _adapters = await unknown_responses(open_store, reason=reason)
    assert await scopes(store) == []


async def test_f58_one_known_response_resets_the_count(open_store):
    """F58: as many unknown responses, but not in a row, stop nothing."""
    store, fake, adapters = await unknown_responses(open_store, *NAMES[1:])
    await enqueue_posts(store.posts, make_post("q", [NAMES[1]], START_TIME))
    await run_jobs(store, adapters)
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(store.posts, make_post("r", [NAMES[2]], START_TIME))
    await run_jobs(store, adapters)
    assert await scopes(store) == []


@pytest.mark.long
async def test_f58_a_private_server_holds_up_its_own_accounts_alone(
    open_store, runtime
):
    """F58: unreadable answers of one account's own server pause the accounts of that server."""
    servers = {"a": "one.example.cn", "b": "one.example.cn", "c": "two.example.cn"}
    policies = [
        replace(make_policy(name), server=server) for name, server in servers.items()
    ]
    store = await open_store(*policies)
    fake = FakeAdapter(now=runtime.now)
    adapters = dict.fromkeys(servers, fake)
    for number in range(FAILURE_THRESHOLD):
        fake.script.append(Unknown(reason="bad_response"))
        await enqueue_posts(
            store.posts, make_post(f"p{number}", ["ab"[number % 2]], START_TIME)
        )
        await run_jobs(store, adapters)
        runtime.advance_time(timedelta(minutes=1))
    assert sorted(await scopes(store)) == ["account:a", "account:b"]
    assert await reported(store) == ["account_circuit_breaker_open"] * 2
    await enqueue_posts(store.posts, make_post("q", ["a", "c"], runtime.now()))
    await run_jobs(store, adapters)
    found = {
        item.account: item.state
        for item in await store.queries.deliveries(post=PostId("q"))
    }
    assert found == {"a": State.DUE, "c": State.PUBLISHED}
    runtime.advance_time(OPEN_DURATION)
    await check_logins_due(store, dict.fromkeys(servers, Probed(now=runtime.now)), 10)
    assert (await scopes(store), await reported(store)) == ([], [])


async def stop_servers(open_store, runtime, *manual):
    """Let a private server and the platform itself answer unreadably.

    People post by hand on the accounts `manual`. The others of the server are `own` and `other`.
    """
    server = "one.example.cn"
    own = [replace(make_policy(name), server=server) for name in ("own", "other")]
    store = await open_store(*own, make_policy("shared"))
    for account in manual:
        await set_assisted(store, account)
    fake = FakeAdapter(now=runtime.now)
    for number in range(FAILURE_THRESHOLD):
        for account in ("own", "shared"):
            fake.script.append(Unknown(reason="bad_response"))
            post = make_post(f"{account}-{number}", [account], START_TIME)
            await enqueue_posts(store.posts, post)
            await run_jobs(store, dict.fromkeys(("own", "other", "shared"), fake))
        runtime.advance_time(timedelta(minutes=1))
    return store


async def set_assisted(store, account):
    await store.actions.set_mode(
        AccountId(account), Mode.ASSISTED, named_person("li"), "a drill"
    )


async def record_healthy(store, runtime, account):
    """Record a good check of an account's login after the shortest length of a pause."""
    runtime.advance_time(OPEN_DURATION)
    checked = store.policies[AccountId(account)].account
    await store.login_health.record_probe(checked, Healthy())


@pytest.mark.long
async def test_f58_accounts_that_people_post_on_are_not_paused_with_their_server(
    open_store, runtime
):
    """F58: nobody checks the login of such an account, so nothing would end its pause."""
    store = await stop_servers(open_store, runtime, "other")
    assert sorted(await scopes(store)) == ["account:own", SCOPE]


@pytest.mark.long
async def test_f58_a_good_check_ends_the_pauses_of_its_server_alone(
    open_store, runtime
):
    """F58: also of an account that people post on since; the platform's own pages stay paused."""
    store = await stop_servers(open_store, runtime)
    await set_assisted(store, "other")
    await record_healthy(store, runtime, "own")
    assert await scopes(store) == [SCOPE]
    await record_healthy(store, runtime, "shared")
    assert (await scopes(store), await reported(store)) == ([], [])


class Probed(FakeAdapter):
    """A platform with a scripted probe."""

    health = Healthy()

    async def check_health(self):
        return self.health


async def test_f58_a_good_probe_ends_the_stop_and_not_before_its_time(
    open_store, runtime
):
    """F58: a probe is made after the cooldown; only a good one closes the breaker.

    A bad probe is repeated.
    """
    store, _fake, adapters = await unknown_responses(open_store)
    checkups, probed = store.login_health, Probed(now=runtime.now)
    probes = dict.fromkeys(adapters, probed)
    assert await check_logins_due(checkups.store, probes, 10) == 0
    probed.health = Unknown(reason="bad_response")
    for expected in ([SCOPE], []):
        runtime.advance_time(OPEN_DURATION)
        assert await check_logins_due(checkups.store, probes, 10) == FAILURE_THRESHOLD
        assert await scopes(store) == expected
        probed.health = Healthy()
    assert "circuit_breaker_open" not in await reported(store)


async def test_f58_the_next_unknown_response_stops_it_again(open_store, runtime):
    """F58: after a good probe, one further response of that shape opens the breaker again."""
    store, fake, adapters = await unknown_responses(open_store)
    await store.actions.resume(SCOPE, named_person("li"))
    fake.script.append(Unknown(reason="bad_response"))
    await enqueue_posts(store.posts, make_post("q", [NAMES[0]], START_TIME))
    await store.maintenance.run()
    [lease] = await store.outbox.claim(1)
    await send_delivery(lease, store, adapters, asyncio.Event())
    assert await scopes(store) == [SCOPE]


async def test_f58_no_probe_resumes_a_pause_by_a_person(open_store, runtime):
    """F58: a probe ends only the pause that the breaker made itself."""
    store, _fake, adapters = await unknown_responses(open_store, "a")
    await store.actions.pause(SCOPE, named_person("li"), "a drill")
    runtime.advance_time(2 * OPEN_DURATION)
    await check_logins_due(store, adapters, 10)
    assert await scopes(store) == [SCOPE]


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        pytest.param("redirected", "response_redirected", id="F35"),
        pytest.param("body_too_large", "response_too_large", id="F36-huge"),
        pytest.param("response_encoded", "response_too_large", id="F36-compressed"),
    ],
)
async def test_a_response_that_is_not_read_is_alerted_until_the_outcome_is_known(
    open_store, runtime, reason, alert
):
    """A redirect or an endless response has its own alert until the account was read."""
    store, fake, adapters = await stage(open_store, "a")
    fake.script.append(
        lambda request: fake.lose_reply(request) and Unknown(reason=reason)
    )
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await run_jobs(store, adapters)
    assert await reported(store) == [alert]
    for _ in range(10):
        runtime.advance_time(timedelta(seconds=30))
        await run_jobs(store, adapters)
    assert (await reported(store), len(fake.calls)) == ([], 1)
