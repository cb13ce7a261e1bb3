"""Texts that an edit replaced: those are kept that were sent or reviewed, the others are not."""

from dataclasses import replace

from sqlalchemy import select

from publisher.domain.results import NotSent
from publisher.engine.planner import apply_schedule
from publisher.store.db.tables import DELIVERY, RENDERED_POST
from tests.engine.test_approvals import RULES, approve
from tests.engine.test_planner import cron, entry, planner  # noqa: F401 # the fixture


async def texts(planner):  # noqa: F811 # as above
    """Return the hashes of all kept texts, and of those that deliveries have now."""

    def read(connection):
        return (
            set(connection.scalars(select(RENDERED_POST.c.fingerprint))),
            set(connection.scalars(select(DELIVERY.c.rendered_hash))),
        )

    return await planner.store.database.read(read)


async def edit(planner, text, *titles):  # noqa: F811 # as above
    """File a text, then the same with other titles one after the other."""
    await apply_schedule(planner, text, "f")
    first, _present = await texts(planner)
    for title in titles:
        await apply_schedule(planner, text.replace("警惕退款诈骗", title), "f")
    return first


async def test_edits_of_a_repeating_post_do_not_fill_the_database(planner):  # noqa: F811 # as above
    """However often a post is edited, each delivery has one text."""
    await edit(planner, cron("p", "0 9 * * *"), "二", "三", "警惕退款诈骗", "四")
    kept, present = await texts(planner)
    assert kept == present
    assert len(kept) == len(await planner.store.queries.deliveries()) > 2


async def test_a_text_of_a_call_is_kept(planner):  # noqa: F811 # as above
    """Edits after a call that never left do not delete the text that it would have sent."""
    await apply_schedule(planner, entry("p", to='["a"]'), "f")
    await planner.store.maintenance.promote_due()
    [lease] = await planner.store.outbox.claim(10)
    await planner.store.outbox.record_intent(lease)
    await planner.store.outbox.record_outcome(lease, NotSent(reason="connect_failed"))
    called, _present = await texts(planner)
    await edit(planner, entry("p", to='["a"]'), "二", "三")
    kept, present = await texts(planner)
    assert called < kept
    assert called.isdisjoint(present)


async def test_a_reviewed_text_is_kept_to_compare_the_next_with_it(planner):  # noqa: F811 # as above
    """Of several edits the approved text stays, and the one that waits now."""
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    text = entry("p", at="2026-11-26T10:00:00+08:00")
    approved = await edit(approving, text)
    await approve(approving.store, "p")
    await edit(approving, text, "二", "三")
    kept, present = await texts(approving)
    assert kept == approved | present
    assert len(kept) == 4
