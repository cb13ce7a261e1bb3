"""An appeal that is past its last day and still online is an alert: on both databases."""

from dataclasses import replace
from datetime import timedelta

from publisher.domain.kinds import PostKind
from publisher.domain.results import Published
from publisher.engine.decisions import named_person
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME
from tests.store.test_follow_ups import LIVE, open_codes, send

LAST_DAY = START_TIME + timedelta(days=10)
LI = named_person("li")


def make_appeal():
    appeal = make_post("bicycle", ["a"], START_TIME)
    return replace(appeal, kind=PostKind.APPEAL, expires_at=LAST_DAY)


async def publish_appeal(open_store):
    store = await open_store()
    await enqueue_posts(store.posts, make_appeal())
    await send(store, LIVE)
    await store.appeals.update()
    assert await open_codes(store) == []
    store.runtime.advance_time(timedelta(days=10))
    await store.appeals.update()
    assert await open_codes(store) == ["appeal_over"]
    return store


async def test_an_appeal_past_its_last_day_is_one_alert(open_store):
    """A person who leaves it as it is dismisses the alert for good."""
    store = await publish_appeal(open_store)
    [alert] = await store.queries.alerts()
    assert alert.facts["number"] == "1"
    await store.actions.dismiss_alert(alert.id, LI)
    await store.appeals.update()
    assert await open_codes(store) == []


async def test_the_alert_of_an_appeal_ends_with_its_update(open_store):
    """A published follow-up says that it is over."""
    store = await publish_appeal(open_store)
    now = store.runtime.now()
    update = make_post("found", ["a"], now, title="车已找到", follows="bicycle")
    await enqueue_posts(store.posts, replace(update, kind=PostKind.UPDATE))
    receipt = replace(LIVE.receipt, remote_id="2")
    await send(store, Published(receipt=receipt))
    await store.appeals.update()
    assert await open_codes(store) == []
