"""A planned post for the tests of pages, put into any state."""

import re

from sqlalchemy import update

from publisher.engine.planner import apply_schedule
from publisher.store.db.tables import DELIVERY
from tests.cli.posts import warning

SOON, LATER = "at = 2026-11-25T10:00:00+08:00", "at = 2026-11-26T10:00:00+08:00"
POST = warning("refund", to='["platform:weibo", "platform:tieba"]', when=SOON)


def this_evening(site):
    """Return the last second of the workspace's day: what is due then stands on Today."""
    now = site.runtime.now().astimezone(site.application.settings.timezone)
    return now.replace(hour=23, minute=59, second=59, microsecond=0)


async def plan(site, *entries):
    """Accept a schedule of these entries."""
    await apply_schedule(site.application.planner, "\n".join(entries), "schedule.toml")
    return await site.store.queries.deliveries()


async def set_state(site, state, *accounts, post="refund", **values):
    """Put the post's deliveries on these accounts into a state, regardless of its cause.

    Without accounts, the deliveries on all accounts are changed.
    """
    statement = (
        update(DELIVERY)
        .where(DELIVERY.c.post == post)
        .values(state=state.value, **values)
    )
    if accounts:
        statement = statement.where(DELIVERY.c.account.in_(accounts))
    await site.store.database.write(lambda unit: unit.connection.execute(statement))


def hidden_fields(page, action):
    """Return the hidden fields of the form of an action on a page."""
    [form] = re.findall(
        rf'<form [^>]*method="post" action="{re.escape(action)}"[^>]*>(.*?)</form>',
        page,
        re.DOTALL,
    )[:1]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
