"""The needs of a post are checked before it is due.

Each cause has one alert, and the alert ends with it.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from publisher.domain.account import Mode, RateLimit
from publisher.domain.plan import Plan
from publisher.domain.post import RenderedImage, RenderedRevision
from publisher.domain.preflight import LAST_LEAD
from publisher.domain.results import Blocked, CredentialExpired, Healthy, Unknown
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due
from publisher.store.db.tables import MEDIA
from publisher.store.monitor.preflight import MAX_PICTURES_READ
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
)
from publisher.testing.fakes import START_TIME, FakeAdapter

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DUE = START_TIME + 30 * HOUR
PICTURE = b"the bytes of a picture"
PICTURE_HASH = hashlib.sha256(PICTURE).hexdigest()


@dataclass(slots=True)
class CheckedPlatform(FakeAdapter):
    """A platform that answers checks as its scene says, and counts them."""

    scene: "PreflightScene | None" = None
    name: str = ""

    async def check_health(self):
        self.scene.asked[self.name] += 1
        return self.scene.health


class PreflightScene:
    """Accounts, their platform, and the jobs that check it every half minute."""

    def __init__(self, store):
        self.store, self.runtime = store, store.runtime
        self.asked = Counter()
        self.health = Healthy()
        self.adapters = {
            name: CheckedPlatform(now=self.runtime.now, scene=self, name=name)
            for name in store.policies
        }

    async def run_until(self, instant, step=5 * MINUTE):
        """Run the jobs until an instant; return the codes of all alerts open meanwhile.

        The codes are in the order of their first sight.
        """
        seen = {}
        while self.runtime.now() < instant:
            await self.store.preflight.run()
            await check_logins_due(self.store, self.adapters, 50)
            await self.store.preflight.run()
            for alert in await self.store.queries.alerts():
                seen.setdefault(alert.id, alert.code)
            self.runtime.advance_time(step)
        return list(seen.values())

    async def open_codes(self):
        return [alert.code for alert in await self.store.queries.alerts()]


async def scene_with_posts(open_store, *accounts, login=None, due=DUE, rate_limit=None):
    policies = [make_policy(name, login=login) for name in accounts]
    if rate_limit:
        policies = [replace(item, rate_limit=rate_limit) for item in policies]
    scene = PreflightScene(await open_store(*policies))
    await enqueue_posts(scene.store.posts, make_post("p", accounts, due))
    return scene


async def test_a_login_is_checked_at_each_time_before_a_post(open_store):
    """A login is asked once after each of the times before a post.

    Nothing else asks it in the last six hours.
    """
    scene = await scene_with_posts(open_store, "a")
    await scene.run_until(DUE - 5 * HOUR, step=3 * HOUR)
    asked = []
    for before in (3 * HOUR, 59 * MINUTE, 30 * MINUTE, 5 * MINUTE, 3 * MINUTE):
        already = scene.asked["a"]
        scene.runtime.advance_time(DUE - before - scene.runtime.now())
        await scene.run_until(scene.runtime.now() + 2 * MINUTE, step=MINUTE)
        asked.append(scene.asked["a"] - already)
    assert asked == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("health", "code"),
    [
        pytest.param(
            CredentialExpired(reason="weibo_21327"), "login_refused", id="sign-in"
        ),
        pytest.param(
            Blocked(code="wechat_48001", reason="no right"),
            "account_blocked",
            id="permission",
        ),
        pytest.param(
            Blocked(code="wechat_40164", reason="1.2.3.4"),
            "account_blocked",
            id="address",
        ),
        pytest.param(Unknown(reason="timeout"), "platform_unreachable", id="host"),
    ],
)
async def test_a_login_that_does_not_work_is_one_alert_until_it_does(
    open_store, health, code
):
    """Fifty accounts of one login are one cause with one alert.

    The alert is raised once and ends when the cause is over.
    """
    names = [f"a{number}" for number in range(50)]
    scene = await scene_with_posts(open_store, *names, login="shared")
    await scene.run_until(START_TIME + HOUR, step=HOUR)
    scene.health = health
    seen = await scene.run_until(DUE - 20 * HOUR, step=HOUR)
    assert (seen, await scene.open_codes()) == ([code], [code])
    scene.health = Healthy()
    await scene.run_until(DUE - 19 * HOUR, step=HOUR)
    assert await scene.open_codes() == []


async def test_a_host_that_nobody_needs_within_a_day_raises_no_alert(open_store):
    """A login that cannot be checked matters once a post needs it."""
    scene = await scene_with_posts(open_store, "a", due=START_TIME + 90 * HOUR)
    scene.health = Unknown(reason="timeout")
    assert await scene.run_until(START_TIME + 20 * HOUR, step=HOUR) == []


async def test_the_logins_of_a_platform_that_cannot_be_reached_are_one_cause(
    open_store,
):
    """The alert says how many there are, and names the first post."""
    scene = await scene_with_posts(open_store, "a", "b", "c")
    scene.health = Unknown(reason="timeout")
    await scene.run_until(DUE - 20 * HOUR, step=30 * MINUTE)
    [alert] = await scene.store.queries.alerts()
    assert alert.code == "platform_unreachable"
    assert (alert.facts["number"], alert.facts["reason"], alert.facts["post"]) == (
        "3",
        "timeout",
        "p",
    )


async def test_a_quota_that_leaves_no_room_is_alerted_a_day_ahead(open_store):
    """Two calls an hour are too few for three posts on accounts of one login.

    Without one of the accounts the alert ends.
    """
    limit = RateLimit(min_interval=timedelta(0), per_hour=2, per_day=10, urgent_share=0)
    scene = await scene_with_posts(
        open_store, "a", "b", "c", login="shared", rate_limit=limit
    )
    assert await scene.run_until(DUE - 24 * HOUR, step=HOUR) == []
    assert await scene.run_until(DUE - 22 * HOUR, step=HOUR) == ["quota_short"]
    [alert] = await scene.store.queries.alerts()
    assert (alert.facts["account"], alert.facts["number"]) == ("c", "1")
    await scene.store.actions.set_mode("b", Mode.OFF, named_person("li"), "test")
    await scene.store.preflight.run()
    assert await scene.open_codes() == []


async def test_what_waits_already_uses_the_quota_first(open_store):
    """A backlog of one leaves room for one of two posts in the hour."""
    limit = RateLimit(min_interval=timedelta(0), per_hour=2, per_day=2, urgent_share=0)
    scene = await scene_with_posts(
        open_store, "a", "b", login="shared", rate_limit=limit
    )
    await scene.run_until(DUE - 23 * HOUR, step=HOUR)
    assert await scene.open_codes() == []
    await enqueue_posts(
        scene.store.posts, make_post("waits", ["a"], scene.runtime.now())
    )
    await scene.store.maintenance.promote_due()
    await scene.store.preflight.run()
    assert await scene.open_codes() == ["quota_short"]


async def file_with_pictures(store, *pictures):
    """File a post with these pictures."""
    media = {hashlib.sha256(data).hexdigest(): ("image/png", data) for data in pictures}
    images = [
        RenderedImage(
            sha256=key, media_type="image/png", size=9, width=3, height=3, alt="图"
        )
        for key in media
    ]
    draft = make_rendered_delivery(make_post("p", ["a"], DUE), DUE)
    [rendered] = draft.revision.rendered_posts
    revision = RenderedRevision(
        content_hash="p", rendered_posts=(replace(rendered, images=tuple(images)),)
    )
    draft = replace(draft, revision=revision)
    commit = PlanCommit(
        plan=Plan(planned=(draft.planned,)),
        rendered=[draft],
        posts=[draft.planned.post],
    )
    await store.posts.commit_plan(replace(commit, media=media))


@pytest.mark.parametrize("is_there", [True, False], ids=["damaged", "missing"])
async def test_a_picture_that_cannot_be_read_is_alerted_until_it_can(
    open_store, is_there
):
    """Wrong or missing bytes of a picture are found before the post is due."""
    scene = PreflightScene(await open_store(make_policy("a")))
    await file_with_pictures(scene.store, PICTURE)
    assert await scene.run_until(DUE - 2 * HOUR, step=HOUR) == []
    is_it = MEDIA.c.sha256 == PICTURE_HASH
    spoil = (
        update(MEDIA).where(is_it).values(data=b"torn")
        if is_there
        else delete(MEDIA).where(is_it)
    )
    await scene.store.database.write(lambda unit: unit.connection.execute(spoil))
    assert await scene.run_until(DUE - 10 * MINUTE) == ["picture_unreadable"]
    restart = PreflightScene(scene.store)
    assert await restart.run_until(DUE - 6 * MINUTE, step=MINUTE) == [
        "picture_unreadable"
    ]
    row = {
        "sha256": PICTURE_HASH,
        "media_type": "image/png",
        "data": PICTURE,
        "shown_until": DUE,
    }
    repair = (
        update(MEDIA).where(is_it).values(data=PICTURE)
        if is_there
        else insert(MEDIA).values(row)
    )
    await scene.store.database.write(lambda unit: unit.connection.execute(repair))
    await scene.store.preflight.run()
    assert await scene.open_codes() == []


@pytest.mark.parametrize(
    "are_torn", [slice(-1, None), slice(None)], ids=["the last", "all"]
)
async def test_of_many_pictures_each_is_read_before_the_post_is_due(
    open_store, are_torn
):
    """The next run reads the pictures that one run leaves unread.

    This holds though nothing has changed, and though many are alerted.
    """
    pictures = [b"picture %d" % number for number in range(MAX_PICTURES_READ + 5)]
    scene = PreflightScene(await open_store(make_policy("a")))
    await file_with_pictures(scene.store, *pictures)
    await scene.run_until(DUE - 6 * MINUTE, step=HOUR)
    torn = {hashlib.sha256(data).hexdigest() for data in pictures[are_torn]}
    spoil = update(MEDIA).where(MEDIA.c.sha256.in_(torn)).values(data=b"torn")
    await scene.store.database.write(lambda unit: unit.connection.execute(spoil))
    scene.runtime.advance_time(DUE - LAST_LEAD - scene.runtime.now())
    for _run in range(2):
        await scene.store.preflight.run()
        scene.runtime.advance_time(MINUTE / 2)
    assert {alert.subject for alert in await scene.store.queries.alerts()} == {
        f"picture:{key}" for key in torn
    }
