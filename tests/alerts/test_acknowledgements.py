"""An acknowledged alert comes back while its cause lasts; one about an event never does."""

from datetime import timedelta

import pytest

from publisher.domain.alert_classes import (
    ACKNOWLEDGEMENT_PERIODS,
    Urgency,
    classify,
)
from publisher.engine.decisions import named_person
from publisher.store.db.rows import raise_alert
from tests.alerts.test_notices import (
    DAY,
    HOUR,
    MINUTE,
    REFUSED,
    Receiver,
    close_alert,
    make_notifier,
    open_alert,
    pass_time,
)

WANG = named_person("王")
RETURNED = "有人确认后仍未解决"
EVENTS = """
    accounts_added_late approvals_voided attempt_orphaned break_glass
    cancelled.original_not_published clock_jumped_back expired.too_late external_post
    failed.weibo_20012 link_opened_elsewhere log_lines_dropped occurrences_missed posts_removed
    published_after_edit removed.removed_on_platform response_late sign_in_reset
    unauthorized_post users_suspended
""".split()  # noqa: SIM905 # a list a line would be long
FACTS = {"place": "x", "replica": "y"}


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
async def notifier(open_store, receiver):
    return make_notifier(await open_store(), receiver)


async def shown(store):
    """Let the daemon look for expired acknowledgements. Return the codes of the shown alerts."""
    await store.acknowledgements.expire()
    return [alert.code for alert in await store.queries.alerts()]


async def acknowledge(store):
    """Acknowledge all shown alerts."""
    for alert in await store.queries.alerts():
        assert await store.actions.dismiss_alert(alert.id, WANG)


@pytest.mark.parametrize(
    "code", [REFUSED, "replication_behind", "backup_overdue", "of_another_version"]
)
async def test_an_acknowledged_alert_comes_back_while_its_cause_lasts(
    notifier, receiver, code
):
    """It is shown again after the period of its class, with one notice.

    The list names the person that has acknowledged it; the notice does not.
    """
    store, period = notifier.store, classify(code).acknowledgement_period
    await open_alert(store, code, since="2026-11-25T00:00:00+00:00", **FACTS)
    await notifier.run()
    await acknowledge(store)
    await pass_time(notifier, period - MINUTE, step=period - MINUTE)
    assert await shown(store) == []
    before = len(receiver.kinds())
    store.runtime.advance_time(MINUTE)
    assert await shown(store) == [code]
    assert await store.queries.acknowledged_alerts() == []
    [alert] = await store.queries.alerts()
    assert (alert.dismissed_by, alert.returned_at) == ("王", store.runtime.now())
    await pass_time(notifier, 3 * MINUTE)
    assert receiver.kinds()[before:] == [("duty", RETURNED)]
    *_message, body = receiver.accepted[-1]
    assert "起一直没有解决" in body
    assert "王" not in body


async def test_a_returned_alert_is_acknowledged_and_escalated_like_a_new_one(
    notifier, receiver
):
    """The time until the second list is notified begins when the alert comes back."""
    store, period = notifier.store, ACKNOWLEDGEMENT_PERIODS[Urgency.URGENT]
    await open_alert(store)
    await notifier.run()
    await acknowledge(store)
    await pass_time(notifier, period, step=period)
    assert await shown(store) == [REFUSED]
    await pass_time(notifier, 14 * MINUTE)
    assert receiver.kinds()[-1] == ("duty", RETURNED)
    await pass_time(notifier, 2 * MINUTE)
    assert receiver.kinds()[-1] == ("chief", "无人确认")
    await acknowledge(store)
    await pass_time(notifier, period - 2 * MINUTE, step=10 * MINUTE)
    assert await shown(store) == []
    assert {kind for _channel, kind in receiver.kinds()[-2:]} == {"已有人确认"}
    await pass_time(notifier, 12 * MINUTE)
    assert await shown(store) == [REFUSED]


async def test_an_alert_that_is_over_does_not_come_back(notifier):
    store = notifier.store
    await open_alert(store)
    await acknowledge(store)
    await close_alert(store)
    store.runtime.advance_time(30 * DAY)
    assert await shown(store) == []


async def test_what_a_person_gives_back_is_no_return(notifier, receiver):
    """Whoever has acknowledged an alert cannot take that back once it has expired."""
    store = notifier.store
    await open_alert(store)
    await acknowledge(store)
    store.runtime.advance_time(ACKNOWLEDGEMENT_PERIODS[Urgency.URGENT])
    assert await shown(store) == [REFUSED]
    [alert] = await store.queries.alerts()
    assert not await store.actions.restore_alert(alert.id, WANG)


async def test_alerts_about_events_stay_acknowledged(notifier):
    """Nothing lasts of a failed post, a jump of the clock or a reset of a sign-in."""
    store = notifier.store

    def write(unit):
        for code in [*EVENTS, REFUSED]:
            raise_alert(unit, store.runtime.now(), code, code, {"post": "fog"})

    await store.database.write(write)
    await acknowledge(store)
    store.runtime.advance_time(6 * DAY)
    assert await shown(store) == [REFUSED]


async def test_a_clock_that_is_not_confirmed_brings_no_alert_back(notifier, runtime):
    """A clock that is a day ahead would show every acknowledged alert again."""
    store = notifier.store
    await open_alert(store)
    await acknowledge(store)
    runtime.jump_clock(timedelta(days=1))
    assert await shown(store) == []


async def test_other_facts_of_an_alert_end_its_acknowledgement(notifier):
    """An alert that changed is a new one: nobody has acknowledged it."""
    store = notifier.store
    await open_alert(store)
    await acknowledge(store)
    store.runtime.advance_time(2 * HOUR)
    assert await shown(store) == [REFUSED]
    await open_alert(store, reason="weibo_10004")
    [alert] = await store.queries.alerts()
    assert (alert.dismissed_at, alert.dismissed_by, alert.returned_at) == (None,) * 3
