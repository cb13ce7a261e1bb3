"""F43: what an expired token has stopped goes on by itself once a new one works."""

from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.results import Blocked, CredentialExpired, HoldReason
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.monitor import check_logins_due
from publisher.testing.builders import make_policy
from tests.engine.test_credentials import CredentialScene

LI = named_person("li")
EXPIRED = CredentialExpired(reason="weibo_21327")


@pytest.fixture
async def scene(open_store, tmp_path):
    return CredentialScene(
        await open_store(
            make_policy("a", login="one"),
            make_policy("b", login="one"),
            make_policy("c"),
        ),
        tmp_path,
    )


async def expire(scene, outcome=EXPIRED):
    """Let the platform refuse the post `p` until its account is paused."""
    await probe(scene)
    scene.adapters["a"].script.extend([outcome, outcome])
    await scene.post("p")
    for _ in range(10):
        if await paused(scene):
            break
        scene.store.runtime.advance_time(timedelta(minutes=1))
        await scene.send()
    assert (await scene.delivery("p")).state is State.HELD


async def probe(scene, **renewed):
    """Check the logins, with a renewed secret or the same."""
    if renewed:
        for name in ("a", "b"):
            scene.put_secret(name, token=name, **renewed)
    for account in scene.store.policies.values():
        await scene.store.login_health.request_probe(account.account)
    await check_logins_due(scene.store, scene.adapters, 10, scene.credentials)


async def paused(scene):
    return sorted(pause.scope for pause in await scene.store.queries.pauses())


async def test_f43_what_a_token_has_stopped_goes_on_once_a_new_one_works(scene):
    """The pauses of the login end, the post goes out, and nobody has pressed anything.

    The same token ends nothing, though a check may find that it works. Both are in the audit.
    """
    await expire(scene)
    await probe(scene)
    assert await paused(scene) == ["account:a", "account:b"]

    await probe(scene, until="2027")
    assert await paused(scene) == []
    assert (await scene.delivery("p")).state is State.RETRYING
    scene.store.runtime.advance_time(timedelta(minutes=1))
    await scene.send()
    assert (await scene.delivery("p")).state is State.PUBLISHED
    assert [one.code for one in await scene.store.queries.alerts()] == []
    events = [one.event for one in await scene.store.queries.audit_history("p@a")]
    assert "sign_in_renewed" in events
    resumed = await scene.store.queries.audit_history("account:a")
    assert ("resumed", "login_checker") in [(one.event, one.name) for one in resumed]


async def test_a_token_that_does_not_work_ends_nothing(scene):
    """A new secret of another account, or one that is refused as well, is no renewal."""
    await expire(scene)
    for name in ("a", "b"):
        scene.put_secret(name, token="c")
    await probe(scene)
    scene.adapters["b"].answers.append(EXPIRED)
    await probe(scene, until="2027")
    assert await paused(scene) == ["account:a", "account:b"]
    assert (await scene.delivery("p")).state is State.HELD


async def test_a_pause_by_a_person_or_for_something_else_stays(scene):
    """A renewed token ends only what its predecessor began."""
    blocked = Blocked(code="captcha", reason="", hold_reason=HoldReason.CAPTCHA)
    await expire(scene, blocked)
    await scene.store.actions.pause("account:b", LI, "停发")
    await probe(scene, until="2027")
    assert await paused(scene) == ["account:a", "account:b"]

    await scene.store.actions.resume("account:a", LI)
    delivery = await scene.delivery("p")
    await resolve_delivery(
        scene.store, delivery, Resolution.RESEND, by=LI, reason="recognised"
    )
    scene.adapters["a"].script.clear()
    scene.adapters["a"].script.extend([EXPIRED, EXPIRED])
    for _ in range(10):
        scene.store.runtime.advance_time(timedelta(minutes=1))
        await scene.send()
    await probe(scene, until="2028")
    assert await paused(scene) == ["account:b"]


async def test_what_has_expired_meanwhile_is_left_to_a_person(scene):
    """A token renewed days later sends no old warning: the account goes on, the post is held."""
    await expire(scene)
    scene.store.runtime.advance_time(timedelta(days=3))
    await probe(scene, until="2027")
    assert await paused(scene) == []
    assert (await scene.delivery("p")).state is State.HELD
